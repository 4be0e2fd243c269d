/* The API of a member: holds, retention, plans to erase, certificates; who may do which of it. */
#include <errno.h>
#include <semaphore.h>

#include "node/api/test/member.h"

struct remote {
	sem_t done;
	int code;
};

static void on_remote(void *arg, int code, const Et__Result *result)
{
	struct remote *r = arg;
	(void)result;
	r->code = code;
	(void)sem_post(&r->done);
}

/* The fixture's recording ends. */
static void recording_close(void)
{
	Et__Recording r = ET__RECORDING__INIT;
	Et__RecordingClose body = ET__RECORDING_CLOSE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct remote remote = { 0 };
	r.id = (ProtobufCBinaryData){ 16, the->recording };
	r.node = 1;
	r.end_us = et_clock_now_us();
	r.state = ET__RECORDING_STATE__SEALED;
	body.recording = &r;
	command.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
	command.recording_close = &body;
	command.principal = (char *)(uintptr_t) "node:1";
	command.schema = ET_COMMAND_SCHEMA;
	assert_int_equal(sem_init(&remote.done, 0, 0), 0);
	assert_int_equal(et_catalog_propose_from(the->catalog, &command, 20000, on_remote, &remote),
			 0);
	while (sem_wait(&remote.done) < 0) { /* it always answers: 20 s at most */
		assert_int_equal(errno, EINTR);
	}
	(void)sem_destroy(&remote.done);
	assert_int_equal(remote.code, 0);
}

static struct answer post(const char *path, const char *body)
{
	return ask("POST", path, body, NULL, false);
}
#define POST(name, path, body) ET_CLEANUP(answer_release) struct answer name = post(path, body)

static const char *of_recording(const char *before, const char *after)
{
	static char text[400];
	(void)snprintf(text, sizeof(text), "%s%s%s", before, the->id, after);
	return text;
}

static void a_hold_says_what_it_is_of(void **state)
{
	static const char *const bad[] = {
		"{\"name\":\"x\",\"scope\":{\"number\":\"49*\"}}",	       /* no reason */
		"{\"reason\":\"r\",\"scope\":{\"number\":\"49*\"}}",	       /* no name */
		"{\"name\":\"x\",\"reason\":\"r\"}",			       /* of nothing */
		"{\"name\":\"x\",\"reason\":\"r\",\"recordings\":[]}",	       /* of nothing */
		"{\"name\":\"x\",\"reason\":\"r\",\"scope\":\"49*\"}",	       /* no object */
		"{\"name\":\"x\",\"reason\":\"r\",\"scope\":{\"tag\":\"y\"}}", /* unknown */
		"{\"name\":\"x\",\"reason\":\"r\",\"scope\":{\"from\":\"soon\"}}",
		"{\"name\":\"x\",\"reason\":\"r\",\"scope\":{}}", /* all there is */
	};
	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		POST(a, "/v1/holds", bad[i]);
		if (a.status != 400) {
			fail_msg("%s: %ld", bad[i], a.status);
		}
	}
	GET(none, "/v1/holds?all=true");
	assert_int_equal(json_array_size(json_object_get(none.json, "holds")), 0);
}

static void what_is_held_is_shown_and_not_erased(void **state)
{
	(void)state;
	recording_close();
	POST(placed, "/v1/holds",
	     of_recording("{\"name\":\"case 1\",\"reason\":\"court\",\"recordings\":[\"",
			  "\",\"01a201f2-afb3-7c1e-8000-0123456789ab\"]}"));
	assert_int_equal(placed.status, 201);
	assert_int_equal(et_json_get_int(placed.json, "placed", 0), 1);
	assert_int_equal(json_array_size(json_object_get(placed.json, "refused")), 1);
	POST(again, "/v1/holds",
	     of_recording("{\"name\":\"case 1\",\"reason\":\"court\",\"recordings\":[\"", "\"]}"));
	assert_int_equal(et_json_get_int(again.json, "stood_already", 0), 1);
	GET(shown, of_recording("/v1/recordings/", ""));
	const json_t *holds = json_object_get(shown.json, "holds");
	assert_int_equal(json_array_size(holds), 1);
	assert_string_equal(et_json_get_text(json_array_get(holds, 0), "name", ""), "case 1");
	POST(refused, of_recording("/v1/recordings/", "/erase"),
	     "{\"reason\":\"r\",\"confirm\":\"acme\"}");
	assert_code(&refused, 403, "ET_EPOLICY");
	POST(plan, "/v1/erasures", of_recording("{\"recordings\":[\"", "\"]}"));
	assert_int_equal(plan.status, 201);
	assert_string_equal(et_json_get_text(plan.json, "plan", "?"), "");
	const json_t *exempt = json_array_get(json_object_get(plan.json, "exempt"), 0);
	assert_non_null(strstr(et_json_get_text(exempt, "why", ""), "case 1"));
}

static void roles_place_release_and_erase(void **state)
{
	static const struct {
		const char *method;
		const char *path;
		const char *body;
		bool operator_may;
	} rows[] = {
		{ "POST", "/v1/holds", "{}", true }, /* 400: it may, but this says nothing */
		{ "POST", "/v1/erasures", "{}", true },
		{ "POST", "/v1/holds/release", "{\"hold\":\"case 1\",\"reason\":\"r\"}", false },
		{ "POST", "/v1/erasures/01a201f2-afb3-7c1e-8000-0123456789ab/apply", "{}", false },
		{ "GET", "/v1/erasures/01a201f2-afb3-7c1e-8000-0123456789ab/certificate", NULL,
		  false },
		{ "PUT", "/v1/retention/policy", "{\"text\":\"rules: []\",\"reason\":\"r\"}",
		  false },
	};
	char token[160];
	(void)state;
	ASK(made, "POST", "/v1/tokens", "{\"name\":\"op\",\"roles\":[\"operator\"]}", NULL, false);
	(void)snprintf(token, sizeof(token), "%s", et_json_get_text(made.json, "token", ""));
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		ASK(a, rows[i].method, rows[i].path, rows[i].body, bearer(token), true);
		assert_int_equal(a.status, rows[i].operator_may ? 400 : 403);
	}
	GET(still, "/v1/holds");
	assert_int_equal(json_array_size(json_object_get(still.json, "holds")), 1);
}

static void retention_is_read_checked_and_obeyed(void **state)
{
	(void)state;
	ASK(bad, "PUT", "/v1/retention/policy",
	    "{\"reason\":\"r\",\"text\":\"rules:\\n  - {name: a, keeep: 1d}\\n\"}", NULL, false);
	assert_int_equal(bad.status, 400);
	assert_non_null(strstr(et_json_get_text(bad.json, "why", ""), "did you mean"));
	GET(none, "/v1/retention/policy");
	assert_int_equal(none.status, 404);
	ASK(put, "PUT", "/v1/retention/policy",
	    "{\"reason\":\"r\",\"text\":\"rules:\\n  - {name: mifid, keep: 5d}\\n\"}", NULL, false);
	assert_int_equal(put.status, 200);
	assert_int_equal(et_json_get_int(put.json, "revision", 0), 1);
	ASK(stale, "PUT", "/v1/retention/policy",
	    "{\"reason\":\"r\",\"text\":\"rules: []\",\"expect_revision\":0}", NULL, false);
	assert_code(&stale, 409, "ET_ESTALE");
	POST(released, "/v1/holds/release", "{\"hold\":\"case 1\",\"reason\":\"over\"}");
	assert_int_equal(et_json_get_int(released.json, "released", 0), 1);
	POST(twice, "/v1/holds/release", "{\"hold\":\"case 1\",\"reason\":\"over\"}");
	assert_code(&twice, 404, "ET_ENOTFOUND");
	POST(refused, of_recording("/v1/recordings/", "/erase"),
	     "{\"reason\":\"r\",\"confirm\":\"acme\"}");
	assert_code(&refused, 403, "ET_EPOLICY");
	assert_non_null(strstr(et_json_get_text(refused.json, "why", ""), "mifid"));
	GET(shown, of_recording("/v1/recordings/", ""));
	const json_t *r = json_object_get(shown.json, "retention");
	assert_string_equal(et_json_get_text(r, "keep_rule", ""), "mifid");
	ASK(off, "PUT", "/v1/retention/policy", "{\"reason\":\"r\",\"text\":\"rules: []\"}", NULL,
	    false);
	assert_int_equal(off.status, 200);
	GET(plan, "/v1/retention/plan");
	assert_int_equal(et_json_get_int(plan.json, "erase", -1), 0);
}

static void a_plan_erases_and_is_certified(void **state)
{
	char path[200];
	char plan[ET_UUID_TEXT_SIZE];
	(void)state;
	POST(all, "/v1/erasures", "{}");
	assert_int_equal(all.status, 400); /* everything is no choice */
	POST(made, "/v1/erasures", of_recording("{\"recordings\":[\"", "\"]}"));
	assert_int_equal(made.status, 201);
	(void)snprintf(plan, sizeof(plan), "%s", et_json_get_text(made.json, "plan", ""));
	(void)snprintf(path, sizeof(path), "/v1/archive/plans/%s/apply", plan);
	POST(elsewhere, path, "{\"reason\":\"r\"}"); /* the archive's way has no confirmation */
	assert_code(&elsewhere, 404, "ET_ENOTFOUND");
	(void)snprintf(path, sizeof(path), "/v1/erasures/%s/certificate", plan);
	GET(early, path);
	assert_true(early.status >= 400);
	(void)snprintf(path, sizeof(path), "/v1/erasures/%s/apply", plan);
	POST(unsure, path, "{\"reason\":\"r\",\"confirm\":\"another\"}");
	assert_int_equal(unsure.status, 400);
	POST(done, path, "{\"reason\":\"GDPR\",\"confirm\":\"acme\"}");
	assert_int_equal(done.status, 200);
	assert_int_equal(et_json_get_int(done.json, "erased", 0), 1);
	POST(twice, path, "{\"reason\":\"GDPR\",\"confirm\":\"acme\"}");
	assert_code(&twice, 409, "ET_ESTALE");
	(void)snprintf(path, sizeof(path), "/v1/erasures/%s/certificate", plan);
	GET(certificate, path);
	assert_int_equal(certificate.status, 200);
	const json_t *body = json_object_get(certificate.json, "body");
	assert_int_equal(json_array_size(json_object_get(body, "erasures")), 1);
	assert_int_equal(json_array_size(json_object_get(body, "events")), 1);
	assert_string_equal(
		et_json_get_text(json_array_get(json_object_get(body, "events"), 0), "reason", ""),
		"GDPR");
	GET(of_one, of_recording("/v1/erasures/", "/certificate"));
	assert_int_equal(of_one.status, 200);
	GET(shown, of_recording("/v1/recordings/", ""));
	assert_string_equal(et_json_get_text(shown.json, "state", ""), "erased");
	assert_string_equal(et_json_get_text(shown.json, "from", "?"), "");
	POST(late, "/v1/holds",
	     of_recording("{\"name\":\"late\",\"reason\":\"r\",\"recordings\":[\"", "\"]}"));
	assert_int_equal(json_array_size(json_object_get(late.json, "refused")), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hold_says_what_it_is_of),
		cmocka_unit_test(what_is_held_is_shown_and_not_erased),
		cmocka_unit_test(roles_place_release_and_erase),
		cmocka_unit_test(retention_is_read_checked_and_obeyed),
		cmocka_unit_test(a_plan_erases_and_is_certified),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
