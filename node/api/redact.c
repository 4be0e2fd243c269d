/* Leaving a span of a recording out for good. The commit is the job: vault nodes make the segments
 * anew, and destroy the old keys when the new ones have the copies. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

struct span {
	uint8_t recording[16];
	int64_t from_us;
	int64_t to_us;
	int64_t begin_us; /* of the first segment: what the times of the body count from */
};

static int body_span(const json_t *body, struct span *s, struct et_error *reterr)
{
	int64_t from_ms = et_json_get_int(body, "from_ms", -1);
	int64_t to_ms = et_json_get_int(body, "to_ms", -1);

	if (from_ms < 0 || to_ms <= from_ms || to_ms > UINT32_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "from_ms and to_ms are milliseconds since the recording's "
				     "beginning, to_ms the later one");
	}
	s->from_us = from_ms * 1000;
	s->to_us = to_ms * 1000;
	return 0;
}

static int look_begin(void *arg, const Et__Segment *g)
{
	struct span *s = arg;

	if (s->begin_us == 0 || g->t0_us < s->begin_us) {
		s->begin_us = g->t0_us;
	}
	return 0;
}

/* Times of the recording to times of day, as playback has them. */
static int span_place(const struct et_state_view *v, struct span *s, struct et_error *reterr)
{
	int rc = et_state_each_segment_of(v, s->recording, look_begin, s);

	if (rc == 0 && s->begin_us == 0) {
		rc = ET_ENOTFOUND;
	}
	if (rc < 0) {
		return et_fail(reterr, rc, "segments of the recording");
	}
	s->from_us += s->begin_us;
	s->to_us += s->begin_us;
	return 0;
}

/* ---- What it would touch ---- */

struct touched {
	const struct span *s;
	const struct et_state_view *v;
	json_t *list;
	const Et__Segment *segment;
	json_t *places;
};

static int touched_copy(void *arg, const Et__Copy *c)
{
	struct touched *t = arg;

	if (c->generation == t->segment->generation && c->segment == t->segment->segment &&
	    c->state == ET__COPY__STATE__VERIFIED) {
		et_json_add(t->places, et_json_text(c->place));
	}
	return 0;
}

/* As apply judges it, but for the end of a segment, which is not in its record: none is left out.
 */
static int touched_segment(void *arg, const Et__Segment *g)
{
	struct touched *t = arg;
	json_t *o;

	if (!et_state_segment_is_newest(g) || g->t0_us >= t->s->to_us) {
		return 0;
	}
	o = json_object();
	t->segment = g;
	t->places = json_array();
	et_json_set(o, "segment", json_integer(g->segment));
	et_json_set(o, "generation", json_integer(g->generation));
	et_json_set(o, "begins", api_time(g->t0_us));
	et_json_set(o, "size_bytes", et_json_u64(g->size_bytes));
	et_json_set(o, "places", t->places);
	et_json_add(t->list, o);
	(void)et_state_each_copy_of(t->v, t->s->recording, touched_copy, t);
	return 0;
}

static void span_json(const struct span *s, json_t *o)
{
	char text[ET_UUID_TEXT_SIZE];

	et_uuid_format(s->recording, text);
	et_json_set(o, "id", et_json_text(text));
	et_json_set(o, "from", api_time(s->from_us));
	et_json_set(o, "to", api_time(s->to_us));
}

static int answer_plan(struct api_call *call, const struct span *s, const struct et_state_view *v)
{
	struct touched t = { .s = s, .v = v, .list = json_array() };
	json_t *o = json_object();

	(void)et_state_each_segment_of(v, s->recording, touched_segment, &t);
	span_json(s, o);
	et_json_set(o, "segments", t.list);
	return api_json(call, 200, o);
}

/* ---- Asking ---- */

static int propose_redaction(struct api_call *call, const char *reason, struct span *s,
			     struct et_error *reterr)
{
	Et__RecordingRedact redact = ET__RECORDING_REDACT__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;

	redact.recording = (ProtobufCBinaryData){ sizeof(s->recording), s->recording };
	redact.from_us = s->from_us;
	redact.to_us = s->to_us;
	command.body_case = ET__COMMAND__BODY_RECORDING_REDACT;
	command.recording_redact = &redact;
	int rc = api_propose(call, &command, reason, &result, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	span_json(s, o);
	et_json_set(o, "redaction", et_json_u64(result.number));
	et_json_set(o, "index", et_json_u64(result.index));
	return api_json(call, 202, o);
}

int api_recording_redact(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "from_ms", "to_ms", "reason", "confirm", "plan" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct span s = { .begin_us = 0 };
	Et__Recording *r = NULL;
	struct et_state_view *v;
	const char *reason = "";
	bool pending;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_path_id(call, s.recording, reterr);
	rc = rc < 0 ? rc : body_span(body, &s, reterr);
	rc = rc < 0 ? rc : api_recording_find(call, s.recording, &r, &pending, reterr);
	et__recording__free_unpacked(r, NULL);
	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	rc = rc < 0 ? rc : span_place(v, &s, reterr);
	if (rc < 0) {
		return rc;
	}
	if (json_is_true(json_object_get(body, "plan"))) {
		return answer_plan(call, &s, v);
	}
	api_view_release(call);
	rc = api_need_confirm(call, body, &reason, reterr);
	rc = rc < 0 ? rc : api_need_quorum(call, reterr);
	return rc < 0 ? rc : propose_redaction(call, reason, &s, reterr);
}
