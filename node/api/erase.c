/* Erasing a recording: a committed entry that destroys its keys, after the holds were looked at. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

/* The name of the cluster must be typed: it is for good. */
static int confirm_check(struct api_call *call, const json_t *body, struct et_error *reterr)
{
	const char *typed = et_json_get_text(body, "confirm", "");

	if (*et_json_get_text(body, "reason", "") == '\0') {
		return et_fail_plain(reterr, ET_EUSAGE, "erasing needs a reason");
	}
	if (strcmp(typed, call->api->config.cluster) != 0) {
		return et_fail_plain(
			reterr, ET_EUSAGE,
			"erasing is for good: confirm with the cluster's name, which is "
			"not \"%.60s\"",
			typed);
	}
	return 0;
}

int api_recording_erase(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason", "confirm" };
	const struct et_api_backend *b = &call->api->config.backend;
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__RecordingErase erase = ET__RECORDING_ERASE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	uint8_t id[16];
	char text[ET_UUID_TEXT_SIZE];

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_path_id(call, id, reterr);
	rc = rc < 0 ? rc : confirm_check(call, body, reterr);
	if (rc < 0) {
		return rc;
	}
	erase.recording = (ProtobufCBinaryData){ sizeof(id), id };
	command.body_case = ET__COMMAND__BODY_RECORDING_ERASE;
	command.recording_erase = &erase;
	rc = api_propose(call, &command, et_json_get_text(body, "reason", ""), &result, reterr);
	if (rc < 0) {
		return rc;
	}
	/* A backup must not bring it back: the tombstone is outside of the catalogue before the
	 * answer is given. */
	if (b->erased != NULL) {
		rc = b->erased(b->arg, id, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	et_uuid_format(id, text);
	json_t *o = json_object();
	et_json_set(o, "id", et_json_text(text));
	et_json_set(o, "state", json_string("erased"));
	et_json_set(o, "index", et_json_u64(result.number));
	return api_json(call, 200, o);
}
