/* The API of a member: pausing a recording and going on with it, over a recorder that is a fake:
 * what it is asked for, what a client is told, what the audit log says, and who is refused. */
#include "node/api/test/member.h"

/* The recorder. Its answers are set before a request and read after it: the request waits for them.
 */
static struct {
	int code;
	struct et_api_paused answer;
	int asked;
	bool pause;
	int64_t max_us;
	char reason[64];
	char principal[64];
	uint8_t recording[16];
} recorder;

static int fake_pause(void *arg, const struct et_api_pause *request, struct et_api_paused *ret,
		      struct et_error *reterr)
{
	(void)arg;
	recorder.asked++;
	recorder.pause = request->pause;
	recorder.max_us = request->max_us;
	memcpy(recorder.recording, request->recording, 16);
	(void)snprintf(recorder.reason, sizeof(recorder.reason), "%s", request->reason);
	(void)snprintf(recorder.principal, sizeof(recorder.principal), "%s", request->principal);
	*ret = recorder.answer;
	return recorder.code < 0 ? et_fail_plain(reterr, recorder.code, "the recorder says no") : 0;
}

static int set_up_recorder(void **state)
{
	static const struct et_api_backend backend = { .pause = fake_pause };
	member_backend = &backend;
	return group_set_up(state);
}

static void recorder_answers(int code, bool paused, bool changed)
{
	memset(&recorder, 0, sizeof(recorder));
	recorder.code = code;
	recorder.answer = (struct et_api_paused){
		.paused = paused,
		.changed = changed,
		.from_us = code == 0 ? 1700000000000000 : 0,
		.to_us = paused ? 0 : 1700000005000000,
		.until_us = paused ? 1700000900000000 : 0,
		.packets = 250,
	};
}

static const char *path_of(const char *id, const char *verb)
{
	static char path[120];
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/%s", id, verb);
	return path;
}

#define POST(name, path, body) ASK(name, "POST", path, body, NULL, false)

/* How many events of this action the audit log has, and the last one. */
static size_t events_of(const char *action, const json_t *events, const json_t **ret)
{
	size_t n = 0;
	size_t i = 0;
	const json_t *e = NULL;
	json_array_foreach(events, i, e)
	{
		if (strcmp(et_json_get_text(e, "action", ""), action) == 0) {
			*ret = e;
			n++;
		}
	}
	return n;
}

static void a_pause_is_asked_of_the_recorder_and_told(void **state)
{
	(void)state;
	recorder_answers(0, true, true);
	POST(a, path_of(the->id, "pause"), "{\"reason\":\"card number\",\"max_ms\":60000}");
	assert_int_equal(a.status, 200);
	assert_int_equal(recorder.asked, 1);
	assert_true(recorder.pause);
	assert_int_equal(recorder.max_us, 60000000);
	assert_string_equal(recorder.reason, "card number");
	assert_true(recorder.principal[0] != '\0');
	assert_memory_equal(recorder.recording, the->recording, 16);
	assert_true(et_json_get_bool(a.json, "paused", false));
	assert_true(et_json_get_bool(a.json, "changed", false));
	assert_string_equal(et_json_get_text(a.json, "from", ""), "2023-11-14T22:13:20.000000Z");
	assert_true(json_is_null(json_object_get(a.json, "to")));
	assert_string_equal(et_json_get_text(a.json, "until", ""), "2023-11-14T22:28:20.000000Z");
	assert_int_equal(et_json_get_int(a.json, "packets", 0), 250);
	assert_string_equal(et_json_get_text(a.json, "survives", ""), "local");
	const json_t *audit = json_object_get(a.json, "audit");
	assert_false(et_json_get_bool(audit, "pending", true));
	assert_true(et_json_get_int(audit, "index", 0) > 0);

	recorder_answers(0, false, true);
	POST(b, path_of(the->id, "resume"), "{\"reason\":\"taken\"}");
	assert_int_equal(b.status, 200);
	assert_false(recorder.pause);
	assert_int_equal(recorder.max_us, 0); /* as the node's configuration says */
	assert_false(et_json_get_bool(b.json, "paused", true));
	assert_string_equal(et_json_get_text(b.json, "to", ""), "2023-11-14T22:13:25.000000Z");
	assert_true(json_is_null(json_object_get(b.json, "until")));
}

static void each_request_is_in_the_audit_log(void **state)
{
	const json_t *event = NULL;
	(void)state;
	GET(before, "/v1/audit?from=1");
	size_t pauses =
		events_of("recording.pause", json_object_get(before.json, "events"), &event);
	size_t resumes =
		events_of("recording.resume", json_object_get(before.json, "events"), &event);

	recorder_answers(0, true, false);
	POST(a, path_of(the->id, "pause"), "{\"reason\":\"again\"}");
	recorder_answers(0, false, false);
	POST(b, path_of(the->id, "resume"), "{\"reason\":\"and again\"}");
	assert_true(a.status == 200 && b.status == 200);
	GET(after, "/v1/audit?from=1");
	const json_t *events = json_object_get(after.json, "events");
	assert_int_equal(events_of("recording.resume", events, &event), resumes + 1);
	assert_int_equal(events_of("recording.pause", events, &event), pauses + 1);
	assert_string_equal(et_json_get_text(event, "target", ""), the->id);
	assert_string_equal(et_json_get_text(event, "reason", ""), "again");
	assert_non_null(strstr(et_json_get_text(event, "detail", ""), "was paused already"));
	assert_non_null(strstr(et_json_get_text(event, "detail", ""), "250 packets"));
}

static void what_is_no_request_never_reaches_the_recorder(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"reason\":\"\"}",
		"{\"reason\":7}",
		"{\"reason\":\"r\",\"max_ms\":-1}",
		"{\"reason\":\"r\",\"max_ms\":86400001}",
		"{\"reason\":\"r\",\"for\":\"ever\"}",
		"[]",
		"",
	};
	(void)state;
	recorder_answers(0, true, true);
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		POST(a, path_of(the->id, "pause"), bad[i]);
		if (a.status != 400) {
			fail_msg("%s: %ld", bad[i], a.status);
		}
	}
	POST(resume, path_of(the->id, "resume"), "{\"reason\":\"r\",\"max_ms\":1000}");
	assert_int_equal(resume.status, 400); /* there is nothing to limit */
	POST(nobody, path_of("no-id", "pause"), "{\"reason\":\"r\"}");
	assert_true(nobody.status == 400 || nobody.status == 404);
	assert_int_equal(recorder.asked, 0);
}

static void who_does_not_record_it_says_so(void **state)
{
	(void)state;
	recorder_answers(ET_ENOTFOUND, false, false);
	POST(gone, path_of(the->id, "pause"), "{\"reason\":\"r\"}");
	assert_code(&gone, 409, "ET_EREFUSED");
	assert_non_null(
		strstr(et_json_get_text(gone.json, "why", ""), "is not being recorded any more"));
	POST(unknown, path_of("01a201f2-afb3-7c1e-8000-0123456789ab", "resume"),
	     "{\"reason\":\"r\"}");
	assert_code(&unknown, 404, "ET_ENOTFOUND");
}

static void a_pause_that_did_not_come_to_be_leaves_no_event(void **state)
{
	const json_t *event = NULL;
	(void)state;
	GET(before, "/v1/audit?from=1");
	size_t pauses =
		events_of("recording.pause", json_object_get(before.json, "events"), &event);
	recorder_answers(-ENOMEM, false, false);
	POST(a, path_of(the->id, "pause"), "{\"reason\":\"r\"}");
	assert_true(a.status >= 500);
	GET(none, "/v1/audit?from=1");
	assert_int_equal(events_of("recording.pause", json_object_get(none.json, "events"), &event),
			 pauses);

	/* In force, and not durable: refused, and told. */
	recorder.answer.from_us = 1700000000000000;
	recorder.answer.paused = true;
	recorder.answer.changed = true;
	recorder.code = -EIO;
	POST(b, path_of(the->id, "pause"), "{\"reason\":\"r\"}");
	assert_true(b.status >= 500);
	GET(one, "/v1/audit?from=1");
	assert_int_equal(events_of("recording.pause", json_object_get(one.json, "events"), &event),
			 pauses + 1);
	assert_non_null(strstr(et_json_get_text(event, "detail", ""), "not saved"));
}

static void readers_may_not(void **state)
{
	char token[160];
	(void)state;
	recorder_answers(0, true, true);
	ASK(made, "POST", "/v1/tokens", "{\"name\":\"reader\",\"roles\":[\"reader\"]}", NULL,
	    false);
	(void)snprintf(token, sizeof(token), "%s", et_json_get_text(made.json, "token", ""));
	ASK(no, "POST", path_of(the->id, "pause"), "{\"reason\":\"r\"}", bearer(token), true);
	assert_int_equal(no.status, 403);
	assert_int_equal(recorder.asked, 0);
	ASK(op, "POST", "/v1/tokens", "{\"name\":\"operator\",\"roles\":[\"operator\"]}", NULL,
	    false);
	(void)snprintf(token, sizeof(token), "%s", et_json_get_text(op.json, "token", ""));
	ASK(yes, "POST", path_of(the->id, "pause"), "{\"reason\":\"r\"}", bearer(token), true);
	assert_int_equal(yes.status, 200);
	assert_int_equal(recorder.asked, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pause_is_asked_of_the_recorder_and_told),
		cmocka_unit_test(each_request_is_in_the_audit_log),
		cmocka_unit_test(what_is_no_request_never_reaches_the_recorder),
		cmocka_unit_test(who_does_not_record_it_says_so),
		cmocka_unit_test(a_pause_that_did_not_come_to_be_leaves_no_event),
		cmocka_unit_test(readers_may_not),
	};
	return cmocka_run_group_tests(tests, set_up_recorder, group_tear_down);
}
