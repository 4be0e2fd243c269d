#include "node/root/test/fixture.h"

static void parses(const char *text, struct et_root_spec *ret)
{
	struct et_error e;

	if (et_root_spec_parse(text, ret, &e) < 0) {
		fail_msg("%s: %s", text, e.text);
	}
}

static void a_place_is_named_by_kind(void **state)
{
	struct et_root_spec s;

	(void)state;
	parses("file:/etc/evertape/root.key", &s);
	assert_int_equal(s.kind, ET_ROOT_FILE);
	assert_string_equal(s.source.name, "/etc/evertape/root.key");
	parses("credential:evertape-root", &s);
	assert_int_equal(s.kind, ET_ROOT_CREDENTIAL);
	assert_string_equal(s.source.name, "evertape-root");
	parses("passphrase:fd:3", &s);
	assert_int_equal(s.kind, ET_ROOT_PASSPHRASE);
	assert_int_equal(s.source.kind, ET_ROOT_FROM_FD);
	assert_int_equal(s.source.fd, 3);
	parses("passphrase:terminal", &s);
	assert_int_equal(s.source.kind, ET_ROOT_FROM_TERMINAL);
	parses("passphrase:credential:pass", &s);
	assert_int_equal(s.source.kind, ET_ROOT_FROM_CREDENTIAL);
	parses("passphrase:file:/run/evertape/pass", &s);
	assert_int_equal(s.source.kind, ET_ROOT_FROM_FILE);
}

/* RFC 7512, section 2.3: percent-encoding, attributes in any order, query behind '?'. */
static void a_token_is_named_by_its_uri(void **state)
{
	struct et_root_spec s;

	(void)state;
	parses("pkcs11:object=evertape-root;token=my%20hsm;serial=0f2;id=%01%00%fF;type=secret-key?"
	       "pin-source=file:/etc/pin&module-path=/usr/lib/m.so",
	       &s);
	assert_int_equal(s.kind, ET_ROOT_PKCS11);
	assert_string_equal(s.token, "my hsm");
	assert_string_equal(s.object, "evertape-root");
	assert_string_equal(s.serial, "0f2");
	assert_string_equal(s.module, "/usr/lib/m.so");
	assert_int_equal(s.id_size, 3);
	assert_memory_equal(s.id, "\x01\x00\xff", 3);
	assert_int_equal(s.source.kind, ET_ROOT_FROM_FILE);
	assert_string_equal(s.source.name, "/etc/pin");
}

static void what_is_not_whole_is_refused_with_a_sentence(void **state)
{
	static const struct {
		const char *text;
		const char *why;
	} bad[] = {
		{ "", "1 to 1024" },
		{ "/etc/root.key", "file:/PATH" },
		{ "file:relative", "absolute" },
		{ "file:/", "absolute" },
		{ "file:/a b", "without spaces" },
		{ "file:/a\"b", "quotes" },
		{ "credential:../x", "name without slashes" },
		{ "credential:", "name without slashes" },
		{ "passphrase:hunter2", "a secret comes from" },
		{ "passphrase:env:PASS", "a secret comes from" },
		{ "passphrase:fd:", "a secret comes from" },
		{ "passphrase:fd:3x", "descriptor" },
		{ "passphrase:fd:99999", "descriptor" },
		{ "pkcs11:", "needs token" },
		{ "pkcs11:token=a", "object=LABEL" },
		{ "pkcs11:token=a;object=b", "module-path" },
		{ "pkcs11:token=a;object=b?module-path=/m", "pin-source" },
		{ "pkcs11:token=a;object=b?module-path=m&pin-source=file:/p", "module-path" },
		{ "pkcs11:token=a;object=b?module-path=/m&pin-value=1234", "never stands" },
		{ "pkcs11:token=a;token=b;object=b?module-path=/m&pin-source=file:/p",
		  "each once" },
		{ "pkcs11:token=%4;object=b?module-path=/m&pin-source=file:/p", "percent" },
		{ "pkcs11:token=%00a;object=b?module-path=/m&pin-source=file:/p", "percent" },
		{ "pkcs11:token=a;object=b;slot=1?module-path=/m&pin-source=file:/p", "each once" },
		{ "pkcs11:token=123456789012345678901234567890123;object=b?module-path=/m&"
		  "pin-source=file:/p",
		  "takes token" },
		{ "pkcs11:token=a;object=b?module-path=/m&pin-source=1234", "a secret comes from" },
	};
	struct et_root_spec s;
	struct et_error e;

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		if (et_root_spec_parse(bad[i].text, &s, &e) != ET_EMALFORMED ||
		    strstr(e.text, bad[i].why) == NULL) {
			fail_msg("'%s': %s", bad[i].text, e.text);
		}
	}
	char long_path[ET_ROOT_SPEC_MAX + 2];
	memset(long_path, 'x', sizeof(long_path));
	memcpy(long_path, "file:/", 6);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(et_root_spec_parse(long_path, &s, &e), ET_EMALFORMED);
	long_path[ET_ROOT_PATH_MAX + 10] = '\0';
	assert_int_equal(et_root_spec_parse(long_path, &s, &e), ET_EMALFORMED);
}

/* A PIN that somebody wrote into it all the same is not repeated in the error, for that is logged.
 */
static void a_pin_in_it_is_not_repeated(void **state)
{
	struct et_root_spec s;
	struct et_error e;

	(void)state;
	assert_int_equal(et_root_spec_parse("pkcs11:token=a;object=b?pin-value=98765", &s, &e),
			 ET_EMALFORMED);
	assert_null(strstr(e.text, "98765"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_named_by_kind),
		cmocka_unit_test(a_token_is_named_by_its_uri),
		cmocka_unit_test(what_is_not_whole_is_refused_with_a_sentence),
		cmocka_unit_test(a_pin_in_it_is_not_repeated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
