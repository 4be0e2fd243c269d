#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/text/yaml.h"

static struct et_yaml *parse(const char *text)
{
	struct et_yaml *y = NULL;
	struct et_error e = { 0 };
	int rc = et_yaml_parse("f.yaml", text, strlen(text), &y, &e);
	if (rc != 0) {
		print_error("%s\n", e.text);
	}
	assert_int_equal(rc, 0);
	return y;
}

static void refused(const char *text, int code, const char *sentence)
{
	struct et_yaml *y = NULL;
	struct et_error e = { 0 };
	assert_int_equal(et_yaml_parse("f.yaml", text, strlen(text), &y, &e), code);
	assert_null(y);
	assert_string_equal(e.text, sentence);
}

static void keeps_scalars_as_text_with_their_positions(void **state)
{
	(void)state;
	ET_CLEANUP(et_yaml_freep)
	struct et_yaml *y = parse("site: no\nlist:\n  - 010\n  - \"two words\"\nmap: {a: 1.0}\n");
	const struct et_yaml_node *root = et_yaml_root(y);
	assert_int_equal(root->kind, ET_YAML_MAP);
	assert_int_equal(root->count, 3);

	const struct et_yaml_node *site = et_yaml_get(root, "site");
	assert_string_equal(site->text, "no");
	assert_int_equal(site->line, 1);
	assert_int_equal(site->column, 7);
	assert_int_equal(site->key_column, 1);

	const struct et_yaml_node *list = et_yaml_get(root, "list");
	assert_int_equal(list->kind, ET_YAML_LIST);
	assert_string_equal(list->first->text, "010");
	assert_true(list->first->plain);
	assert_string_equal(list->first->next->text, "two words");
	assert_false(list->first->next->plain);
	assert_int_equal(list->first->next->line, 4);

	const struct et_yaml_node *a = et_yaml_get(et_yaml_get(root, "map"), "a");
	assert_string_equal(a->text, "1.0");
	assert_null(et_yaml_get(root, "none"));
	assert_null(et_yaml_get(NULL, "none"));
}

static void an_empty_document_is_an_empty_map(void **state)
{
	(void)state;
	const char *const texts[] = { "", "\n", "# only a comment\n", "---\n", "\xef\xbb\xbf" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		ET_CLEANUP(et_yaml_freep) struct et_yaml *y = parse(texts[i]);
		assert_int_equal(et_yaml_root(y)->kind, ET_YAML_MAP);
		assert_int_equal(et_yaml_root(y)->count, 0);
	}
}

static void refuses_what_would_mislead_a_reader(void **state)
{
	(void)state;
	refused("a: 1\nb: 2\na: 3\n", ET_EMALFORMED,
		"f.yaml:3:1: duplicate key \"a\" (first on line 1)");
	refused("a: &x 1\n", ET_EMALFORMED,
		"f.yaml:1:7: anchors (&) are not allowed: write the value where it is used");
	refused("a: !!int 1\n", ET_EMALFORMED, "f.yaml:1:10: tags (!) are not allowed");
	refused("a: 1\n---\nb: 2\n", ET_EMALFORMED, "f.yaml:2:1: a second document (---)");
	refused("[a]: 1\n", ET_EMALFORMED, "f.yaml:1:1: a key must be text");
	refused("a: 1\n%M-\n", ET_EMALFORMED, "f.yaml:2:1: directives (%) are not allowed");
	refused("a: 1\r%TAG", ET_EMALFORMED, "f.yaml:1:6: directives (%) are not allowed");
	refused("a: \xff\n", ET_EMALFORMED, "f.yaml:1:4: this is not UTF-8 (0xff)");
	refused("a: \x01\n", ET_EMALFORMED, "f.yaml:1:4: a control character (0x01)");
}

static void syntax_errors_say_where(void **state)
{
	(void)state;
	struct et_yaml *y = NULL;
	struct et_error e = { 0 };
	const char text[] = "a: 1\nb: {c: 2\n";
	assert_int_equal(et_yaml_parse("f.yaml", text, strlen(text), &y, &e), ET_EMALFORMED);
	assert_memory_equal(e.text, "f.yaml:", 7);
	assert_in_range(e.text[7], '1', '9');
}

static void refuses_what_is_too_big(void **state)
{
	(void)state;
	char deep[64];
	memset(deep, '[', 20);
	memset(deep + 20, ']', 20);
	deep[40] = '\0';
	refused(deep, ET_ELIMIT, "f.yaml:1:17: nested deeper than 16 levels");

	static char many[ET_YAML_SIZE_MAX + 4];
	for (size_t i = 0; i < sizeof(many); i += 4) {
		memcpy(many + i, "- 1\n", 4);
	}
	struct et_yaml *y = NULL;
	assert_int_equal(et_yaml_parse("f", many, sizeof(many), &y, NULL), ET_ELIMIT);
	assert_int_equal(et_yaml_parse("f", many, ET_YAML_SIZE_MAX, &y, NULL), ET_ELIMIT);
	assert_int_equal(et_yaml_parse("f", many, 4 * 16000, &y, NULL), 0);
	assert_int_equal(et_yaml_root(y)->count, 16000);
	et_yaml_free(y);
}

static void readers_say_what_they_expected(void **state)
{
	(void)state;
	ET_CLEANUP(et_yaml_freep)
	struct et_yaml *y = parse("n: 7\nbig: 70\nd: 72h\ns: 10GiB\nb: true\nname: prg-1\n"
				  "word: s4\nlist: [1]\nafterr: 1\nquoted: \"7\"\n");
	const struct et_yaml_node *root = et_yaml_root(y);
	struct et_error e = { 0 };

	uint64_t n;
	assert_int_equal(et_yaml_uint(et_yaml_get(root, "n"), 1, 10, &n, &e), 0);
	assert_int_equal(n, 7);
	assert_int_equal(et_yaml_uint(et_yaml_get(root, "big"), 1, 10, &n, &e), ET_EMALFORMED);
	assert_string_equal(e.text,
			    "f.yaml:2:6: big must be a whole number from 1 to 10, not \"70\"");
	assert_int_equal(et_yaml_uint(et_yaml_get(root, "quoted"), 1, 10, &n, &e), ET_EMALFORMED);
	assert_int_equal(et_yaml_uint(et_yaml_get(root, "list"), 1, 10, &n, &e), ET_EMALFORMED);
	assert_string_equal(e.text,
			    "f.yaml:8:7: list must be a whole number from 1 to 10, not a list");

	int64_t us;
	assert_int_equal(et_yaml_duration(et_yaml_get(root, "d"), 1, INT64_MAX, &us, &e), 0);
	assert_int_equal(us, INT64_C(72) * 3600 * 1000000);
	assert_int_equal(et_yaml_duration(et_yaml_get(root, "d"), 1, 1000000, &us, &e),
			 ET_EMALFORMED);
	assert_string_equal(e.text, "f.yaml:3:4: d must be a duration from 1us to 1s, not \"72h\"");

	uint64_t bytes;
	assert_int_equal(et_yaml_bytes(et_yaml_get(root, "s"), 0, UINT64_MAX, &bytes, &e), 0);
	assert_int_equal(bytes, UINT64_C(10) << 30);

	bool b = false;
	assert_int_equal(et_yaml_bool(et_yaml_get(root, "b"), &b, &e), 0);
	assert_true(b);
	assert_int_equal(et_yaml_bool(et_yaml_get(root, "n"), &b, &e), ET_EMALFORMED);

	const char *name;
	assert_int_equal(et_yaml_name(et_yaml_get(root, "name"), &name, &e), 0);
	assert_string_equal(name, "prg-1");

	size_t which;
	const char *const kinds[] = { "dir", "s3", "s3v2" };
	assert_int_equal(et_yaml_choice(et_yaml_get(root, "word"), kinds, 3, &which, &e),
			 ET_EMALFORMED);
	assert_string_equal(e.text, "f.yaml:7:7: word must be one of dir, s3, s3v2 "
				    "(did you mean s3?), not \"s4\"");

	const char *const known[] = { "n",    "big",  "d",    "s",	"b",
				      "name", "word", "list", "quoted", "after" };
	assert_int_equal(et_yaml_check_keys(root, known, ET_ARRAY_SIZE(known), &e), ET_EMALFORMED);
	assert_string_equal(e.text, "f.yaml:9:1: unknown key \"afterr\" (did you mean \"after\"?)");

	const struct et_yaml_node *node;
	assert_int_equal(et_yaml_need(root, "gone", &node, &e), ET_EMALFORMED);
	assert_string_equal(e.text, "f.yaml:1:1: the key \"gone\" is missing");
}

static void a_file_that_is_not_there_is_named(void **state)
{
	(void)state;
	struct et_yaml *y = NULL;
	struct et_error e = { 0 };
	assert_int_equal(et_yaml_load("/nonexistent/a.yaml", &y, &e), -ENOENT);
	assert_string_equal(e.text, "open '/nonexistent/a.yaml': No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_scalars_as_text_with_their_positions),
		cmocka_unit_test(an_empty_document_is_an_empty_map),
		cmocka_unit_test(refuses_what_would_mislead_a_reader),
		cmocka_unit_test(syntax_errors_say_where),
		cmocka_unit_test(refuses_what_is_too_big),
		cmocka_unit_test(readers_say_what_they_expected),
		cmocka_unit_test(a_file_that_is_not_there_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
