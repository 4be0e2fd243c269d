/* The API of a member: keeping a call on demand, over a recorder that is a fake: what it is asked
 * for, what a client is told, what the audit log says, and who is refused. */
#include "node/api/test/member.h"

/* The recorder. Its answers are set before a request and read after it: the request waits for them.
 */
static struct {
	int code;
	struct et_api_kept answer;
	int asked;
	bool by_id;
	uint8_t recording[16];
	char sip_call_id[64];
	char principal[64];
} recorder;

static int fake_keep(void *arg, const struct et_api_keep *request, struct et_api_kept *ret,
		     struct et_error *reterr)
{
	(void)arg;
	recorder.asked++;
	recorder.by_id = request->recording != NULL;
	if (recorder.by_id) {
		memcpy(recorder.recording, request->recording, 16);
		memcpy(recorder.answer.recording, request->recording, 16);
	} else {
		(void)snprintf(recorder.sip_call_id, sizeof(recorder.sip_call_id), "%s",
			       request->sip_call_id);
	}
	(void)snprintf(recorder.principal, sizeof(recorder.principal), "%s", request->principal);
	*ret = recorder.answer;
	return recorder.code < 0 ? et_fail_plain(reterr, recorder.code, "the recorder says no") : 0;
}

static int set_up_recorder(void **state)
{
	static const struct et_api_backend backend = { .keep = fake_keep };
	member_backend = &backend;
	return group_set_up(state);
}

static void recorder_answers(int code, bool changed)
{
	memset(&recorder, 0, sizeof(recorder));
	recorder.code = code;
	recorder.answer = (struct et_api_kept){
		.recording = { 1, 2, 3 },
		.changed = changed,
		.start_us = 1700000000000000,
		.from_us = 1700000060500000,
	};
}

#define ID "01a201f2-afb3-7c1e-8000-0123456789ab"
#define POST(name, path, body) ASK(name, "POST", path, body, NULL, false)

/* How many events of this action the audit log has, and the last one. */
static size_t keeps(const json_t *events, const json_t **ret)
{
	size_t n = 0;
	size_t i = 0;
	const json_t *e = NULL;
	json_array_foreach(events, i, e)
	{
		if (strcmp(et_json_get_text(e, "action", ""), "recording.keep") == 0) {
			*ret = e;
			n++;
		}
	}
	return n;
}

static void a_call_is_kept_by_its_id_and_told(void **state)
{
	const json_t *event = NULL;
	(void)state;
	GET(before, "/v1/audit?from=1");
	size_t n = keeps(json_object_get(before.json, "events"), &event);
	recorder_answers(0, true);
	POST(a, "/v1/recordings/" ID "/keep", "{\"reason\":\"complaint\"}");
	assert_int_equal(a.status, 200);
	assert_true(recorder.by_id);
	assert_true(recorder.principal[0] != '\0');
	assert_string_equal(et_json_get_text(a.json, "id", ""), ID);
	assert_true(et_json_get_bool(a.json, "kept", false));
	assert_true(et_json_get_bool(a.json, "changed", false));
	assert_int_equal(et_json_get_int(a.json, "missing_ms", 0), 60500);
	assert_string_equal(et_json_get_text(a.json, "from", ""), "2023-11-14T22:14:20.500000Z");
	assert_true(json_is_null(json_object_get(a.json, "end")));
	assert_string_equal(et_json_get_text(a.json, "survives", ""), "local");
	assert_true(json_is_array(json_object_get(a.json, "other_recorders")));
	assert_true(et_json_get_text(a.json, "node", "")[0] != '\0');
	GET(after, "/v1/audit?from=1");
	assert_int_equal(keeps(json_object_get(after.json, "events"), &event), n + 1);
	assert_string_equal(et_json_get_text(event, "target", ""), ID);
	assert_string_equal(et_json_get_text(event, "reason", ""), "complaint");
	assert_non_null(strstr(et_json_get_text(event, "detail", ""), "60500 ms"));
}

static void a_call_is_kept_by_its_call_id(void **state)
{
	(void)state;
	recorder_answers(0, true);
	POST(a, "/v1/capture/keep", "{\"sip_call_id\":\"a84b@pbx/7\",\"reason\":\"r\"}");
	assert_int_equal(a.status, 200);
	assert_false(recorder.by_id);
	assert_string_equal(recorder.sip_call_id, "a84b@pbx/7");
	assert_string_equal(et_json_get_text(a.json, "id", ""),
			    "01020300-0000-0000-0000-000000000000");
}

static void who_has_no_such_call_says_so(void **state)
{
	const json_t *event = NULL;
	(void)state;
	recorder_answers(ET_ENOTFOUND, false);
	GET(before, "/v1/audit?from=1");
	size_t n = keeps(json_object_get(before.json, "events"), &event);
	POST(a, "/v1/recordings/" ID "/keep", "{\"reason\":\"r\"}");
	assert_code(&a, 404, "ET_ENOTFOUND");
	assert_non_null(strstr(et_json_get_text(a.json, "why", ""), "another recorder"));
	POST(b, "/v1/capture/keep", "{\"sip_call_id\":\"x\",\"reason\":\"r\"}");
	assert_code(&b, 404, "ET_ENOTFOUND");
	GET(after, "/v1/audit?from=1");
	assert_int_equal(keeps(json_object_get(after.json, "events"), &event), n);

	/* What is in the catalogue is kept: nothing is to be done, and the request is told. */
	char path[120];
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/keep", the->id);
	POST(c, path, "{\"reason\":\"r\"}");
	assert_int_equal(c.status, 200);
	assert_false(et_json_get_bool(c.json, "changed", true));
	GET(told, "/v1/audit?from=1");
	assert_int_equal(keeps(json_object_get(told.json, "events"), &event), n + 1);
	assert_non_null(strstr(et_json_get_text(event, "detail", ""), "was a recording already"));
}

static void a_recorder_that_cannot_leaves_no_event(void **state)
{
	const json_t *event = NULL;
	(void)state;
	GET(before, "/v1/audit?from=1");
	size_t n = keeps(json_object_get(before.json, "events"), &event);
	recorder_answers(-ENOSPC, true);
	recorder.answer.start_us = 0;
	POST(a, "/v1/recordings/" ID "/keep", "{\"reason\":\"r\"}");
	assert_true(a.status >= 500);
	recorder.answer.start_us = 1700000000000000; /* kept, and not durable: refused, and told */
	POST(b, "/v1/recordings/" ID "/keep", "{\"reason\":\"r\"}");
	assert_true(b.status >= 500);
	GET(one, "/v1/audit?from=1");
	assert_int_equal(keeps(json_object_get(one.json, "events"), &event), ++n);
	assert_non_null(strstr(et_json_get_text(event, "detail", ""), "not saved"));
	recorder.answer.start_us = 0;
	POST(c, "/v1/recordings/" ID "/keep", "{\"reason\":\"r\"}");
	assert_true(c.status >= 400);
	GET(after, "/v1/audit?from=1");
	assert_int_equal(keeps(json_object_get(after.json, "events"), &event), n);
}

static void what_is_no_request_never_reaches_the_recorder(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"reason\":\"\"}",
		"{\"reason\":\"r\",\"sip_call_id\":\"\"}",
		"{\"reason\":\"r\",\"sip_call_id\":7}",
		"{\"sip_call_id\":\"x\"}",
		"{\"reason\":\"r\",\"sip_call_id\":\"x\",\"for\":\"ever\"}",
		"[]",
		"",
	};
	(void)state;
	recorder_answers(0, true);
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		POST(a, "/v1/capture/keep", bad[i]);
		if (a.status != 400) {
			fail_msg("%s: %ld", bad[i], a.status);
		}
		POST(b, "/v1/recordings/" ID "/keep", bad[i]);
		if (b.status != 400) {
			fail_msg("%s: %ld", bad[i], b.status);
		}
	}
	assert_int_equal(recorder.asked, 0);
}

static void readers_may_not(void **state)
{
	char token[160];
	(void)state;
	recorder_answers(0, true);
	ASK(made, "POST", "/v1/tokens", "{\"name\":\"reader\",\"roles\":[\"reader\"]}", NULL,
	    false);
	(void)snprintf(token, sizeof(token), "%s", et_json_get_text(made.json, "token", ""));
	ASK(no, "POST", "/v1/recordings/" ID "/keep", "{\"reason\":\"r\"}", bearer(token), true);
	assert_int_equal(no.status, 403);
	ASK(nor, "POST", "/v1/capture/keep", "{\"sip_call_id\":\"x\",\"reason\":\"r\"}",
	    bearer(token), true);
	assert_int_equal(nor.status, 403);
	assert_int_equal(recorder.asked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_is_kept_by_its_id_and_told),
		cmocka_unit_test(a_call_is_kept_by_its_call_id),
		cmocka_unit_test(who_has_no_such_call_says_so),
		cmocka_unit_test(a_recorder_that_cannot_leaves_no_event),
		cmocka_unit_test(what_is_no_request_never_reaches_the_recorder),
		cmocka_unit_test(readers_may_not),
	};
	return cmocka_run_group_tests(tests, set_up_recorder, group_tear_down);
}
