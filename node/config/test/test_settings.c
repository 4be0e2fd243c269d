/* What is in force, where it was said, what differs, and the same as a file again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/config/config.h"

static const char file[] =
	"cluster: acme-voice\n"
	"node: {name: prg-1, site: prg, roles: [voter, vault, capture, api]}\n"
	"listen: {cluster: 10.1.0.11:7400, api: 0.0.0.0:7443}\n"
	"data:\n"
	"  state: /var/lib/evertape/state\n"
	"  media: /var/lib/evertape/media\n"
	"  root: file:/etc/evertape/root.key\n"
	"capture:\n"
	"  - {interface: eth1, sip-ports: [5060, 5080]}\n"
	"  - interface: eth2\n"
	"    key-log: /run/sbc/tls.keys\n"
	"recording:\n"
	"  own-numbers: [\"1000-1999\"]\n"
	"  rules:\n"
	"    - {name: private, from: \"1001\", action: skip}\n"
	"    - {name: claims, direction: inbound, header: {X-Queue: \"claims*\"}, action: record}\n"
	"raft: {profile: wan}\n"
	"limits: {ring: 1024MiB}\n";

struct settings {
	struct et_config *c; /* owned */
	json_t *list;	     /* owned */
};

static void settings_release(struct settings *s)
{
	free(s->c);
	json_decref(s->list);
}

static struct settings settings_of(const char *text)
{
	struct settings s = { .c = calloc(1, sizeof(*s.c)) };
	struct et_error e = { 0 };

	assert_non_null(s.c);
	if (et_config_parse("a.yaml", text, strlen(text), s.c, &e) < 0) {
		fail_msg("%s", e.text);
	}
	s.list = et_config_settings(s.c, text, strlen(text));
	return s;
}

#define SETTINGS(s, text) ET_CLEANUP(settings_release) struct settings s = settings_of(text)

static void assert_setting(const json_t *list, const char *key, const char *value, const char *at)
{
	const json_t *o = et_config_setting(list, key);

	assert_non_null(o);
	char *text = json_dumps(json_object_get(o, "value"), JSON_ENCODE_ANY | JSON_COMPACT);
	assert_string_equal(text, value);
	free(text);
	assert_string_equal(et_json_get_text(o, "source", ""), at != NULL ? "file" : "default");
	assert_string_equal(et_json_get_text(o, "at", "-"), at != NULL ? at : "-");
}

static void each_value_has_its_source(void **state)
{
	SETTINGS(s, file);

	(void)state;
	assert_setting(s.list, "cluster", "\"acme-voice\"", "a.yaml:1");
	assert_setting(s.list, "node.roles", "[\"voter\",\"vault\",\"capture\",\"api\"]",
		       "a.yaml:2");
	assert_setting(s.list, "listen.advertise", "\"10.1.0.11:7400\"", NULL);
	assert_setting(s.list, "data.media", "\"/var/lib/evertape/media\"", "a.yaml:6");
	assert_setting(s.list, "capture[0].sip-ports", "[5060,5080]", "a.yaml:9");
	assert_setting(s.list, "capture[0].filter", "\"\"", NULL);
	assert_setting(s.list, "capture[1].interface", "\"eth2\"", "a.yaml:10");
	assert_setting(s.list, "capture[1].sip-ports", "[5060]", NULL);
	assert_setting(s.list, "recording.rules[0]",
		       "{\"name\":\"private\",\"from\":\"1001\",\"action\":\"skip\"}", "a.yaml:15");
	assert_setting(s.list, "recording.max-pause", "\"15m\"", NULL);
	assert_setting(s.list, "limits.ring", "\"1GiB\"", "a.yaml:18");
	assert_setting(s.list, "limits.live-calls", "8192", NULL);
	assert_setting(s.list, "raft.election", "\"3s\"", "a.yaml:17"); /* by its profile */
	assert_null(et_config_setting(s.list, "siprec.sessions"));
}

static void a_secret_shows_where_it_lies_and_nothing_else(void **state)
{
	SETTINGS(s, file);
	static const char *const keys[] = { "data.root", "tls.api-key", "capture[1].key-log" };

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(keys); i++) {
		const json_t *o = et_config_setting(s.list, keys[i]);
		assert_non_null(o);
		assert_true(et_json_get_bool(o, "secret", false));
	}
	assert_setting(s.list, "data.root", "\"file:/etc/evertape/root.key\"", "a.yaml:7");
	assert_false(et_json_get_bool(et_config_setting(s.list, "data.state"), "secret", true));
}

static char *replaced(const char *what, const char *by)
{
	const char *p = strstr(file, what);
	char *text = calloc(1, sizeof(file) + strlen(by) + 1);

	assert_non_null(p);
	assert_non_null(text);
	(void)snprintf(text, sizeof(file) + strlen(by) + 1, "%.*s%s%s", (int)(p - file), file, by,
		       p + strlen(what));
	return text;
}

/* The only difference when `what` of the file becomes `by`: "key applies before -> after". */
static void assert_change(const char *what, const char *by, const char *change)
{
	char *text = replaced(what, by);
	char is[512];
	SETTINGS(a, file);
	SETTINGS(b, text);
	ET_CLEANUP(et_json_freep) json_t *diff = et_config_diff(a.list, b.list);

	free(text);
	assert_int_equal(json_array_size(diff), *change != '\0' ? 1 : 0);
	if (*change == '\0') {
		return;
	}
	const json_t *o = json_array_get(diff, 0);
	char *before = json_dumps(json_object_get(o, "before"), JSON_ENCODE_ANY | JSON_COMPACT);
	char *after = json_dumps(json_object_get(o, "after"), JSON_ENCODE_ANY | JSON_COMPACT);
	(void)snprintf(is, sizeof(is), "%s %s %s -> %s", et_json_get_text(o, "key", ""),
		       et_json_get_text(o, "applies", ""), before, after);
	free(before);
	free(after);
	assert_string_equal(is, change);
}

static void a_difference_says_how_it_comes_into_force(void **state)
{
	(void)state;
	assert_change("limits: {ring: 1024MiB}", "limits: {ring: 1GiB}", "");
	assert_change("limits: {ring: 1024MiB}", "limits: {ring: 1GiB, sync-rate: 2MiB}",
		      "limits.sync-rate reload \"0B\" -> \"2MiB\"");
	assert_change("limits: {ring: 1024MiB}", "limits: {ring: 1GiB}\nlog: {level: debug}",
		      "log.level reload \"info\" -> \"debug\"");
	assert_change("10.1.0.11:7400, api", "10.1.0.11:7400, advertise: 1.2.3.4:7400, api",
		      "listen.advertise restart \"10.1.0.11:7400\" -> \"1.2.3.4:7400\"");
	assert_change("site: prg", "site: brq", "node.site never \"prg\" -> \"brq\"");
	assert_change("action: skip}", "digits: drop, action: skip}",
		      "recording.rules[0] restart "
		      "{\"name\":\"private\",\"from\":\"1001\",\"action\":\"skip\"} -> "
		      "{\"name\":\"private\",\"from\":\"1001\",\"digits\":\"drop\",\"action\":"
		      "\"skip\"}");
	assert_change("{name: private, from: \"1001\",", "{from: 1001, name: private,", "");
	assert_change("    key-log: /run/sbc/tls.keys\n", "",
		      "capture[1].key-log restart \"/run/sbc/tls.keys\" -> null");
}

/* The list as a file reads back to the same list; `text` is any configuration. */
static void assert_reads_back(const char *text, bool defaults)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer page = { 0 };
	SETTINGS(a, text);

	et_config_settings_yaml(a.list, defaults, &page);
	et_buffer_add8(&page, 0);
	assert_false(page.failed);
	SETTINGS(b, (const char *)page.data);
	ET_CLEANUP(et_json_freep) json_t *diff = et_config_diff(a.list, b.list);
	if (json_array_size(diff) > 0) {
		fail_msg("%s\n%s", json_dumps(diff, JSON_INDENT(1)), (const char *)page.data);
	}
}

static void as_a_file_it_means_the_same(void **state)
{
	(void)state;
	for (unsigned defaults = 0; defaults < 2; defaults++) {
		assert_reads_back(file, defaults == 1);
		assert_reads_back(et_config_defaults_text(), defaults == 1);
	}
}

/* Every key that the page of defaults names, in a comment or not, is shown when it is not said. */
static void no_default_is_forgotten(void **state)
{
	static const char *const keys[] = {
		"listen.advertise",
		"recording.default",
		"recording.digits",
		"recording.max-pause",
		"recording.setup-timeout",
		"recording.media-timeout",
		"recording.media-only-timeout",
		"raft.election",
		"raft.heartbeat",
		"placement.copies-per-site",
		"placement.tail",
		"limits.live-calls",
		"limits.disk-reserve",
		"limits.ring",
		"limits.writer-queue",
		"limits.cache",
		"limits.sync-rate",
		"limits.snapshot-rate",
		"limits.api-connections",
		"tls.certificate-life",
		"log.level",
	};
	SETTINGS(all, et_config_defaults_text());
	SETTINGS(s, file);
	size_t i;
	json_t *o;

	(void)state;
	for (i = 0; i < ET_ARRAY_SIZE(keys); i++) {
		assert_non_null(et_config_setting(s.list, keys[i]));
	}
	json_array_foreach(all.list, i, o)
	{
		const char *key = et_json_get_text(o, "key", "");
		bool part_of_list = strchr(key, '[') != NULL;
		bool has_default = strcmp(key, "node.roles") != 0 &&
				   strcmp(key, "raft.profile") != 0 &&
				   json_is_string(json_object_get(o, "value"));
		if (!part_of_list && has_default && et_config_setting(s.list, key) == NULL) {
			fail_msg("%s has a default, and config show does not know it", key);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_value_has_its_source),
		cmocka_unit_test(a_secret_shows_where_it_lies_and_nothing_else),
		cmocka_unit_test(a_difference_says_how_it_comes_into_force),
		cmocka_unit_test(as_a_file_it_means_the_same),
		cmocka_unit_test(no_default_is_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
