/* Legs of a call, by hand: joining what rules missed, splitting what they joined wrongly. What it
 * means is apply's (raft/state/legs.c); here ids come in, and the call as it is then goes out. */
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

static int body_ids(struct api_call *call, const json_t *body, uint8_t ids[ET_COMMAND_JOIN_MAX][16],
		    size_t *ret_count, struct et_error *reterr)
{
	const json_t *list = json_object_get(body, "with");
	const size_t count = json_array_size(list);

	int rc = api_path_id(call, ids[0], reterr);
	if (rc < 0) {
		return rc;
	}
	if (count == 0 || count >= ET_COMMAND_JOIN_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE, "with is a list of 1 to %d recordings",
				     ET_COMMAND_JOIN_MAX - 1);
	}
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(list, i));
		if (text == NULL || !et_uuid_parse(text, ids[i + 1])) {
			return et_fail_plain(reterr, ET_EUSAGE, "with[%zu] is no UUID", i);
		}
	}
	*ret_count = count + 1;
	return 0;
}

static int add_id(void *arg, const Et__Recording *r)
{
	et_json_add(arg, api_uuid(&r->id));
	return 0;
}

/* The call that came of it. `legs` is null when this node cannot say that it has all of it. */
static int answer(struct api_call *call, const struct api_result *result)
{
	json_t *o = json_object();
	json_t *legs = json_array();
	const ProtobufCBinaryData id = { 16, (uint8_t *)(uintptr_t)result->id };
	struct et_state_view *v;

	if (api_view_fresh(call, &v, NULL) < 0 ||
	    et_state_each_of_call(v, result->id, add_id, legs) < 0) {
		json_decref(legs);
		legs = json_null();
	}
	et_json_set(o, "call", api_uuid(&id));
	et_json_set(o, "moved", et_json_u64(result->number));
	et_json_set(o, "legs", legs);
	et_json_set(o, "index", et_json_u64(result->index));
	return api_json(call, 200, o);
}

int api_recording_join(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "with", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	uint8_t ids[ET_COMMAND_JOIN_MAX][16];
	ProtobufCBinaryData list[ET_COMMAND_JOIN_MAX];
	Et__RecordingsJoin join = ET__RECORDINGS_JOIN__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	const char *reason;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	rc = rc < 0 ? rc : body_ids(call, body, ids, &join.n_recordings, reterr);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < join.n_recordings; i++) {
		list[i] = (ProtobufCBinaryData){ 16, ids[i] };
	}
	join.recordings = list;
	command.body_case = ET__COMMAND__BODY_RECORDINGS_JOIN;
	command.recordings_join = &join;
	rc = api_propose(call, &command, reason, &result, reterr);
	return rc < 0 ? rc : answer(call, &result);
}

int api_recording_split(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__RecordingSplit split = ET__RECORDING_SPLIT__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	uint8_t id[16];
	const char *reason;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	rc = rc < 0 ? rc : api_path_id(call, id, reterr);
	if (rc < 0) {
		return rc;
	}
	split.recording = (ProtobufCBinaryData){ 16, id };
	command.body_case = ET__COMMAND__BODY_RECORDING_SPLIT;
	command.recording_split = &split;
	rc = api_propose(call, &command, reason, &result, reterr);
	return rc < 0 ? rc : answer(call, &result);
}
