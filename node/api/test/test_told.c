/* The API of a member: facts, tags, notes, agents, the search index, changes in order. */
#include "node/api/test/member.h"

static void told(const char *path, const char *body, long status)
{
	ASK(a, "POST", path, body, NULL, false);
	if (a.status != status) {
		fail_msg("%s %s: %ld %.*s", path, body, a.status, (int)a.body.size,
			 (const char *)a.body.data);
	}
}

static size_t hits(const char *query)
{
	char path[300];
	(void)snprintf(path, sizeof(path), "/v1/recordings?%s", query);
	GET(found, path);
	assert_int_equal(found.status, 200);
	assert_true(et_json_get_bool(found.json, "complete", false));
	return json_array_size(json_object_get(found.json, "recordings"));
}

static void what_is_told_is_shown_and_found(void **state)
{
	char body[400];
	char path[120];
	(void)state;
	(void)snprintf(body, sizeof(body),
		       "{\"about\":{\"recording\":\"%s\"},\"facts\":[{\"key\":\"order\",\"value\":"
		       "\"A-17\",\"source\":\"crm\"},{\"key\":\"amount\",\"value\":120}]}",
		       the->id);
	told("/v1/facts", body, 200);
	(void)snprintf(body, sizeof(body),
		       "{\"about\":{\"recording\":\"%s\"},\"set\":[\"complaint\"]}", the->id);
	told("/v1/tags", body, 200);
	(void)snprintf(body, sizeof(body),
		       "{\"about\":{\"recording\":\"%s\"},\"text\":\"Wants a REFUND soon\"}",
		       the->id);
	told("/v1/notes", body, 200);
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s", the->id);
	GET(shown, path);
	assert_int_equal(json_array_size(json_object_get(shown.json, "facts")), 2);
	assert_int_equal(json_array_size(json_object_get(shown.json, "tags")), 1);
	assert_int_equal(json_array_size(json_object_get(shown.json, "notes")), 1);
	assert_int_equal(hits("fact=order%3DA-17"), 1);
	assert_int_equal(hits("fact=order%3DA-18"), 0);
	assert_int_equal(hits("fact=amount:integer%3D120&tag=complaint"), 1);
	assert_int_equal(hits("tag=praise"), 0);
	assert_int_equal(hits("text=refund"), 1);
	assert_int_equal(hits("text=refunds"), 0);
}

static void the_search_index_is_made_anew(void **state)
{
	bool rebuilding = true;
	(void)state;
	ASK(begun, "POST", "/v1/doctor/rebuild-index", NULL, NULL, false);
	assert_int_equal(begun.status, 200);
	assert_string_equal(et_json_get_text(begun.json, "node", ""), "prg-1");
	int64_t total = et_json_get_int(begun.json, "total", -1);
	assert_true(total > 0);
	for (int i = 0; i < 10000 && rebuilding; i++) { /* each look takes its time */
		GET(status, "/v1/status");
		const json_t *index = json_object_get(status.json, "index");
		assert_true(et_json_get_bool(index, "complete", false));
		assert_true(et_json_get_int(index, "total", -1) >= total);
		rebuilding = et_json_get_bool(index, "rebuilding", true);
		assert_int_equal(hits("text=refund"), 1); /* the old one is there until then */
	}
	assert_false(rebuilding);
}

static void what_replaces_is_in_the_history(void **state)
{
	char body[400];
	char path[160];
	(void)state;
	(void)snprintf(body, sizeof(body),
		       "{\"about\":{\"recording\":\"%s\"},\"facts\":[{\"key\":\"order\",\"value\":"
		       "\"A-18\"}]}",
		       the->id);
	told("/v1/facts", body, 200);
	assert_int_equal(hits("fact=order%3DA-17"), 0);
	assert_int_equal(hits("fact=order%3DA-18"), 1);
	(void)snprintf(path, sizeof(path), "/v1/told?recording=%s", the->id);
	GET(now, path);
	assert_int_equal(json_array_size(json_object_get(now.json, "facts")), 2);
	(void)snprintf(path, sizeof(path), "/v1/told?recording=%s&history=true", the->id);
	GET(all, path);
	assert_int_equal(json_array_size(json_object_get(all.json, "facts")), 3);
}

static void agents_are_those_of_the_time(void **state)
{
	(void)state;
	told("/v1/agents",
	     "{\"id\":\"a1\",\"team\":\"claims\",\"numbers\":[\"4711\"],\"valid_from\":"
	     "\"2026-01-01\"}",
	     200);
	told("/v1/agents",
	     "{\"id\":\"a2\",\"team\":\"sales\",\"numbers\":[\"4711\"],\"valid_from\":"
	     "\"2026-06-01\"}",
	     200);
	GET(then, "/v1/agents?number=4711&at=2026-03-01");
	const json_t *one = json_array_get(json_object_get(then.json, "agents"), 0);
	assert_string_equal(et_json_get_text(one, "id", ""), "a1");
	GET(later, "/v1/agents?number=4711&at=2026-07-01");
	one = json_array_get(json_object_get(later.json, "agents"), 0);
	assert_string_equal(et_json_get_text(one, "id", ""), "a2");
	GET(list, "/v1/agents?team=claims");
	assert_int_equal(json_array_size(json_object_get(list.json, "agents")), 1);
}

static void bad_tellings_are_refused(void **state)
{
	static const struct {
		const char *path, *body;
	} cases[] = {
		{ "/v1/facts", "{}" },
		{ "/v1/facts", "{\"about\":{},\"facts\":[{\"key\":\"a\",\"value\":\"b\"}]}" },
		{ "/v1/facts", "{\"about\":{\"recording\":\"x\"},\"facts\":[]}" },
		{ "/v1/facts", "{\"about\":{\"sip_call_id\":\"x\"},\"facts\":[]}" },
		{ "/v1/facts", "{\"about\":{\"sip_call_id\":\"x\",\"call\":\"y\"},\"facts\":[{"
			       "\"key\":\"a\",\"value\":\"b\"}]}" },
		{ "/v1/facts", "{\"about\":{\"sip_call_id\":\"x\"},\"facts\":[{\"key\":\"a\","
			       "\"value\":1.5}]}" },
		{ "/v1/facts", "{\"about\":{\"sip_call_id\":\"x\"},\"facts\":[{\"key\":\"a\","
			       "\"value\":\"b\",\"type\":\"integer\"}]}" },
		{ "/v1/facts", "{\"about\":{\"sip_call_id\":\"x\"},\"facts\":[{\"key\":\"card\","
			       "\"value\":\"4111 1111 1111 1111\"}]}" },
		{ "/v1/tags", "{\"about\":{\"sip_call_id\":\"x\"}}" },
		{ "/v1/tags", "{\"about\":{\"sip_call_id\":\"x\"},\"set\":\"y\"}" },
		{ "/v1/notes", "{\"about\":{\"sip_call_id\":\"x\"}}" },
		{ "/v1/notes", "{\"about\":{\"sip_call_id\":\"x\"},\"text\":\"card "
			       "4111-1111-1111-1111\"}" },
		{ "/v1/agents", "{}" },
		{ "/v1/agents", "{\"id\":\"a\",\"valid_from\":\"yesterday\"}" },
	};
	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		ASK(a, "POST", cases[i].path, cases[i].body, NULL, false);
		if (a.status < 400 || a.status >= 500) {
			fail_msg("%s: %ld", cases[i].body, a.status);
		}
	}
	GET(none, "/v1/told");
	assert_code(&none, 400, "ET_EUSAGE");
	GET(bad, "/v1/recordings?fact=%3Dx");
	assert_code(&bad, 400, "ET_EUSAGE");
	GET(type, "/v1/recordings?fact=a:integer%3Dx");
	assert_code(&type, 400, "ET_EUSAGE");
}

static void changes_are_told_in_order(void **state)
{
	(void)state;
	GET(status, "/v1/status");
	char path[64];
	int64_t applied = et_json_get_int(status.json, "applied", 0);
	(void)snprintf(path, sizeof(path), "/v1/changes?after=%lld", (long long)applied);
	ASK(made, "POST", "/v1/tokens", "{\"name\":\"c\",\"roles\":[\"reader\"]}", NULL, false);
	assert_int_equal(made.status, 201);
	GET(changes, path);
	assert_int_equal(changes.status, 200);
	const json_t *list = json_object_get(changes.json, "changes");
	int64_t before = applied;
	bool seen = false;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		assert_true(et_json_get_int(one, "index", 0) >= before);
		before = et_json_get_int(one, "index", 0);
		seen = seen || strcmp(et_json_get_text(one, "change", ""), "token.add") == 0;
	}
	assert_true(seen);
	GET(old, "/v1/changes?after=0");
	assert_code(&old, 409,
		    "ET_ESTALE"); /* the first entries came before this process listened */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_told_is_shown_and_found),
		cmocka_unit_test(the_search_index_is_made_anew),
		cmocka_unit_test(what_replaces_is_in_the_history),
		cmocka_unit_test(agents_are_those_of_the_time),
		cmocka_unit_test(bad_tellings_are_refused),
		cmocka_unit_test(changes_are_told_in_order),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
