/* Keys of SRTP that come when a recording is over.
 *
 * Happy path: the recording has ended ─▶ audit event (the recording is opened to try the keys) ─▶
 * what is offered is tried on its first packets ─▶ what fits is kept in a segment of its own ─▶
 * audit event of that ─▶ answer.
 *
 * One after the other at a node: who comes second waits, and is told of what the first one opened,
 * so that `keys` of the recording is what all of them come to.
 *
 * The body is the offer itself, not JSON: it is wiped with the call, and nothing else ever has it.
 * Errors and events name lines, never what stands in them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/api/playback_internal.h"
#include "node/io/clock.h"
#include "node/playback/fit.h"

const char *api_keys_word(uint32_t state)
{
	static const char *const words[] = { "untold", "missing", "partly", "complete" };

	return state < ET_ARRAY_SIZE(words) ? words[state] : "unknown";
}

/* Where the keys of a live recording go is its recorder, and a node keeps them. */
static int keys_possible(struct api_call *call, struct et_error *reterr)
{
	uint8_t id[16];
	Et__Recording *r = NULL;
	bool pending = false;

	if (call->api->config.backend.late_keys == NULL) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED, "this node keeps no keys");
	}
	int rc = api_path_id(call, id, reterr);
	rc = rc < 0 ? rc : api_recording_find(call, id, &r, &pending, reterr);
	if (rc == 0 && r->state == ET__RECORDING_STATE__CAPTURING) {
		rc = et_fail_plain(reterr, ET_EREFUSED,
				   "it is still being recorded: give the keys to its recorder "
				   "(key-log, key-socket), or wait for its end");
	}
	et__recording__free_unpacked(r, NULL);
	return rc;
}

static const char *beside(const struct api_playback *p)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->records[i]->file[0] != '\0') {
			return p->records[i]->file;
		}
	}
	return "";
}

static json_t *refused_json(const struct et_fit *fit)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < fit->refused && i < ET_FIT_REFUSED_MAX; i++) {
		et_json_add(list, json_integer(fit->refused_lines[i]));
	}
	return list;
}

static int answer(struct api_playback *p, const struct et_fit *fit,
		  const struct et_api_late_keys_kept *kept, uint64_t audit)
{
	char id[ET_UUID_TEXT_SIZE];
	json_t *o = json_object();

	et_uuid_format(p->recording, id);
	et_json_set(o, "id", json_string(id));
	et_json_set(o, "keys", json_string(api_keys_word(fit->state)));
	et_json_set(o, "segment", api_segment_name(1, kept->segment));
	et_json_set(o, "pending", json_boolean(!kept->committed));
	et_json_set(o, "keys_added", json_integer(fit->keys));
	et_json_set(o, "streams", json_integer(fit->streams));
	et_json_set(o, "streams_opened_before", json_integer(fit->opened_before));
	et_json_set(o, "streams_opened_now", json_integer(fit->opened_now));
	et_json_set(o, "lines_refused", json_integer(fit->refused));
	et_json_set(o, "refused", refused_json(fit));
	et_json_set(o, "problem", et_json_text(fit->summary.problem));
	et_json_set(o, "audit", et_json_u64(audit));
	return api_json(p->call, 200, o);
}

static int keep(struct api_playback *p, struct et_buffer *plain, const struct et_fit *fit,
		struct et_error *reterr)
{
	struct api_call *call = p->call;
	const struct et_api_backend *b = &call->api->config.backend;
	const struct et_api_late_keys request = {
		.recording = p->recording,
		.beside = beside(p),
		.plain = { plain->data, plain->size },
		.state = fit->state,
		.after_us = p->end_us,
		.principal = call->principal,
	};
	struct et_api_late_keys_kept kept = { 0 };
	char id[ET_UUID_TEXT_SIZE];
	char detail[160];
	uint64_t audit = 0;

	int rc = b->late_keys(b->arg, &request, &kept, reterr);
	if (rc < 0) {
		return rc;
	}
	et_uuid_format(p->recording, id);
	(void)snprintf(detail, sizeof(detail),
		       "%u keys open %u of %u streams; segment %u; lines refused: %u", fit->keys,
		       fit->opened_now + fit->opened_before, fit->streams, kept.segment,
		       fit->refused);
	rc = api_audit(call, "recording.keys-added", id, detail,
		       api_param(&call->request, "reason"), &audit, reterr);
	return rc < 0 ? rc : answer(p, fit, &kept, audit);
}

/* Under api->late_keys. */
static int keys_add(struct api_call *call, bool table, struct et_error *reterr)
{
	ET_CLEANUP(api_playback_release) struct api_playback p = { 0 };
	const struct et_view body = { call->body.data, call->body.size };
	const struct et_view none = { NULL, 0 };
	struct et_buffer plain = { 0 };
	struct et_fit fit;

	int rc = keys_possible(call, reterr);
	rc = rc < 0 ? rc
		    : api_playback_open(call, &p, "recording.keys",
					table ? "a table of keys is tried" : "a key log is tried",
					reterr);
	if (rc < 0) {
		return rc;
	}
	const struct et_fit_offer offer = {
		.table = table ? body : none,
		.keylog = table ? none : body,
		.now_us = et_clock_now_us(),
	};
	rc = et_playback_fit(&p.config, &offer, &plain, &fit, reterr);
	rc = rc < 0 ? rc : keep(&p, &plain, &fit, reterr);
	if (plain.data != NULL) {
		explicit_bzero(plain.data, plain.capacity);
	}
	et_buffer_release(&plain);
	return rc;
}

int api_recording_keys(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "kind", "reason" };
	const char *kind = api_param(&call->request, "kind");
	const char *reason = api_param(&call->request, "reason");
	const bool table = kind != NULL && strcmp(kind, "srtp-keys") == 0;

	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0 && !table && (kind == NULL || strcmp(kind, "keylog") != 0)) {
		rc = et_fail_plain(reterr, ET_EUSAGE, "kind is keylog or srtp-keys");
	}
	if (rc == 0 && (reason == NULL || *reason == '\0' || call->body.size == 0)) {
		rc = et_fail_plain(reterr, ET_EUSAGE,
				   call->body.size == 0 ? "the body holds no keys"
							: "it needs a reason");
	}
	if (rc < 0) {
		return rc;
	}
	(void)pthread_mutex_lock(&call->api->late_keys);
	rc = keys_add(call, table, reterr);
	(void)pthread_mutex_unlock(&call->api->late_keys);
	return rc;
}
