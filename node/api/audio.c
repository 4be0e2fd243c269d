/* What it takes to hear a recording: its segments, their keys, the audit event that allows it, and
 * tickets. (The sound itself: sound.c. The original payload: original.c.)
 *
 * Where a segment comes from: the file here, a peer (replication/sync puts it into <media>/cache/),
 * or the archive (archive/mover, into the same folder). Its key comes from node/keeper, which
 * checks the audit event itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/api/playback_internal.h"
#include "node/io/clock.h"

#define FETCH_TIMEOUT_MS 120000
#define KEY_TIMEOUT_MS 20000
#define TICKET_LIFE_US (INT64_C(30) * 60 * 1000000)

void api_playback_release(struct api_playback *p)
{
	for (size_t i = 0; i < p->count; i++) {
		et__segment__free_unpacked(p->records[i], NULL);
	}
	free(p->records);
	free(p->at_a_node);
	free(p->segments);
}

/* ---- Segments ---- */

static void on_fetched(void *arg, int code, const char *path, const struct et_error *error)
{
	struct api_wait *w = arg;
	if (path != NULL) {
		(void)snprintf(w->text, sizeof(w->text), "%s", path);
	}
	if (error != NULL) {
		w->error = *error;
	}
	api_wait_answer(w, code);
}

/* A file here or at a peer. */
static int fetch_from_nodes(struct api_playback *p, const struct et_playback_segment *s,
			    char path[512], struct et_error *reterr)
{
	struct et_api *api = p->call->api;
	struct api_wait *w = api_wait_new(api);
	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "fetch a segment");
	}
	int rc = et_sync_fetch(api->services.sync, p->recording, s->generation, s->segment,
			       on_fetched, w);
	if (rc < 0) {
		api_wait_unref(w);
	} else {
		rc = api_wait_for(api, w, FETCH_TIMEOUT_MS);
	}
	if (rc == 0) {
		int n = snprintf(path, 512, "%s", w->text);
		rc = n < 512 ? 0 : et_fail(reterr, -ENAMETOOLONG, "file of segment %u", s->segment);
	} else if (w->seen && w->error.text[0] != '\0') {
		(void)et_fail_plain(reterr, rc, "%s", w->error.text);
	} else {
		(void)et_fail(reterr, rc, "fetch segment %u", s->segment);
	}
	api_wait_unref(w);
	return rc;
}

static int fetch_from_archive(struct api_playback *p, const struct et_playback_segment *s,
			      char path[512], struct et_error *reterr)
{
	struct et_api *api = p->call->api;
	char id[ET_UUID_TEXT_SIZE];
	et_uuid_format(p->recording, id);
	(void)snprintf(path, 512, "%s/cache/%s-g%u-s%u.archive.evtm", api->config.media, id,
		       s->generation, s->segment);
	if (access(path, R_OK) == 0) {
		return 0; /* was checked when it came; its tags are checked again below */
	}
	return et_mover_fetch(api->services.mover, p->recording, s->generation, s->segment, path,
			      reterr);
}

/* Notes which segments a node holds: of the others, only the archive is worth asking. */
static int look_for_node(void *arg, const Et__Copy *copy)
{
	struct api_playback *p = arg;
	bool at_a_node =
		copy->state == ET__COPY__STATE__VERIFIED && strncmp(copy->place, "node:", 5) == 0;
	for (size_t i = 0; at_a_node && i < p->count; i++) {
		if (copy->generation == p->segments[i].generation &&
		    copy->segment == p->segments[i].segment) {
			p->at_a_node[i] = true;
		}
	}
	return 0;
}

static const Et__Segment *record_of(const struct api_playback *p,
				    const struct et_playback_segment *s)
{
	return p->records[s - p->segments];
}

static int open_segment(void *arg, const struct et_playback_segment *s, struct et_tape_source *ret,
			struct et_error *reterr)
{
	struct api_playback *p = arg;
	struct et_api *api = p->call->api;
	const Et__Segment *record = record_of(p, s);
	char path[512] = "";
	int rc = et_fail(reterr, ET_ENOTFOUND, "segment %u", s->segment);
	if (record->state == ET__SEGMENT_STATE__SEGMENT_OPEN &&
	    record->node == api->services.node) { /* it grows here: as far as it is there */
		int n = snprintf(path, sizeof(path), "%s/%s", api->config.media, record->file);
		bool inside = n > 0 && n < (int)sizeof(path) && strstr(record->file, "..") == NULL;
		return inside ? et_tape_source_open(path, ret, reterr)
			      : et_fail(reterr, ET_EMALFORMED, "file of segment %u", s->segment);
	}
	if (api->services.sync != NULL && p->at_a_node[s - p->segments]) {
		rc = fetch_from_nodes(p, s, path, reterr);
	}
	if (rc < 0 && api->services.mover != NULL && rc != ET_ECLOSED) {
		struct et_error archive = { 0 };
		int code = fetch_from_archive(p, s, path, &archive);
		if (code == 0 || rc == ET_ENOTFOUND) {
			rc = code;
			if (code < 0 && reterr != NULL) {
				*reterr = archive;
			}
		}
	}
	if (rc < 0) {
		return rc;
	}
	return et_tape_source_open(path, ret, reterr);
}

static void close_segment(void *arg, struct et_tape_source *source)
{
	(void)arg;
	et_tape_source_close(source);
}

/* ---- Keys ---- */

static void on_dek(void *arg, int code, const struct et_secret *dek, const struct et_error *why)
{
	struct api_wait *w = arg;
	if (code == 0 && dek != NULL) {
		w->secret = et_secret_copy(et_secret_bytes(dek), et_secret_size(dek));
		code = w->secret == NULL ? -ENOMEM : 0;
	} else if (why != NULL) {
		w->error = *why;
	}
	api_wait_answer(w, code);
}

static int open_key(void *arg, const struct et_tape_header *header, struct et_secret **ret,
		    struct et_error *reterr)
{
	struct api_playback *p = arg;
	struct et_api *api = p->call->api;
	struct api_wait *w = api_wait_new(api);
	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "open a key");
	}
	int rc = et_keeper_open_dek_from(api->services.keeper, p->recording, header->generation,
					 header->segment, p->audit, on_dek, w);
	if (rc < 0) {
		api_wait_unref(w);
	} else {
		rc = api_wait_for(api, w, KEY_TIMEOUT_MS);
	}
	if (rc == 0) {
		*ret = ET_TAKE(w->secret);
	} else if (w->seen && w->error.text[0] != '\0') {
		(void)et_fail_plain(reterr, rc, "%s", w->error.text);
	} else {
		(void)et_fail(reterr, rc, "open the key of segment %u", header->segment);
	}
	api_wait_unref(w);
	return rc;
}

/* ---- What is to be played ---- */

static bool is_played(const Et__Segment *s)
{
	return et_state_segment_is_newest(s) && s->state != ET__SEGMENT_STATE__SEGMENT_LOST;
}

static int count_segment(void *arg, const Et__Segment *s)
{
	struct api_playback *p = arg;
	(void)s;
	p->count++;
	return 0;
}

/* Walks go by generation, a recording by segment. */
static void segments_order(struct api_playback *p)
{
	for (size_t i = 1; i < p->count; i++) {
		const struct et_playback_segment s = p->segments[i];
		Et__Segment *record = p->records[i];
		size_t at = i;
		for (; at > 0 && p->segments[at - 1].segment > s.segment; at--) {
			p->segments[at] = p->segments[at - 1];
			p->records[at] = p->records[at - 1];
		}
		p->segments[at] = s;
		p->records[at] = record;
	}
}

static int take_segment(void *arg, const Et__Segment *s)
{
	struct api_playback *p = arg;
	if (!is_played(s)) {
		return 0;
	}
	size_t size = et__segment__get_packed_size(s);
	uint8_t *bytes = malloc(size + 1);
	if (bytes == NULL) {
		return -ENOMEM;
	}
	(void)et__segment__pack(s, bytes);
	Et__Segment *copy = et__segment__unpack(NULL, size, bytes);
	free(bytes);
	if (copy == NULL) {
		return -ENOMEM;
	}
	struct et_playback_segment *out = &p->segments[p->count];
	*out = (struct et_playback_segment){ .generation = s->generation,
					     .segment = s->segment,
					     .t0_us = s->t0_us };
	if (s->root.len == 32) {
		out->has_root = true;
		memcpy(out->root, s->root.data, 32);
	}
	if (s->header_hash.len == 32) {
		memcpy(out->header_hash, s->header_hash.data, 32);
	}
	if (s->seal_hash.len == 32) {
		memcpy(out->seal_hash, s->seal_hash.data, 32);
	}
	if (s->object_hash.len == 32) {
		memcpy(out->object_hash, s->object_hash.data, 32);
	}
	p->records[p->count++] = copy;
	return 0;
}

static int playback_collect(struct api_playback *p, const struct et_state_view *v,
			    struct et_error *reterr)
{
	(void)et_state_each_segment_of(v, p->recording, count_segment, p);
	size_t all = p->count;
	p->count = 0;
	if (all == 0 || all > ET_PLAYBACK_SEGMENTS_MAX) {
		return et_fail_plain(reterr, all == 0 ? ET_ENOTFOUND : ET_ELIMIT,
				     "the recording has %zu segments", all);
	}
	p->segments = calloc(all, sizeof(*p->segments));
	p->records = calloc(all, sizeof(*p->records));
	p->at_a_node = calloc(all, sizeof(*p->at_a_node));
	int rc = p->segments == NULL || p->records == NULL || p->at_a_node == NULL
			 ? -ENOMEM
			 : et_state_each_segment_of(v, p->recording, take_segment, p);
	if (rc < 0) {
		return et_fail(reterr, rc, "segments of the recording");
	}
	segments_order(p);
	(void)et_state_each_copy_of(v, p->recording, look_for_node, p);
	p->config = (struct et_playback_config){
		.segments = p->segments,
		.segment_count = p->count,
		.supply = { .open_segment = open_segment,
			    .close_segment = close_segment,
			    .open_key = open_key,
			    .arg = p },
		.end_us = p->end_us,
	};
	memcpy(p->config.recording, p->recording, 16);
	return 0;
}

/* ---- Tickets ---- */

static int ticket_find(struct api_call *call, const char *text, const uint8_t recording[16],
		       uint64_t *ret_audit)
{
	struct et_api *api = call->api;
	uint8_t id[16];
	int rc = ET_EDENIED;
	if (!et_unhex(text, strlen(text), id, 16)) {
		return rc;
	}
	int64_t now = et_clock_mono_us();
	(void)pthread_mutex_lock(&api->mutex);
	for (size_t i = 0; i < API_TICKETS_MAX; i++) {
		struct api_ticket *t = &api->tickets[i];
		unsigned diff = 0;
		for (size_t j = 0; j < 16; j++) {
			diff |= (unsigned)(t->id[j] ^ id[j]);
		}
		if (diff == 0 && t->expires_us > now && memcmp(t->recording, recording, 16) == 0) {
			*ret_audit = t->audit;
			(void)snprintf(call->principal, sizeof(call->principal), "%s",
				       t->principal);
			rc = 0;
		}
	}
	(void)pthread_mutex_unlock(&api->mutex);
	return rc;
}

static void ticket_put(struct et_api *api, const struct api_ticket *ticket)
{
	size_t oldest = 0;
	(void)pthread_mutex_lock(&api->mutex);
	for (size_t i = 1; i < API_TICKETS_MAX; i++) {
		if (api->tickets[i].expires_us < api->tickets[oldest].expires_us) {
			oldest = i;
		}
	}
	api->tickets[oldest] = *ticket;
	(void)pthread_mutex_unlock(&api->mutex);
}

/* The event that allows this call to hear the recording: that of its ticket, or a new one. */
static int hearing_allowed(struct api_call *call, const uint8_t recording[16], const char *action,
			   const char *detail, uint64_t *ret_audit, struct et_error *reterr)
{
	const char *ticket = api_param(&call->request, "ticket");
	char id[ET_UUID_TEXT_SIZE];
	if (ticket != NULL && ticket_find(call, ticket, recording, ret_audit) < 0) {
		return et_fail_plain(reterr, ET_EDENIED, "this ticket is unknown or over");
	}
	if (ticket != NULL) {
		return 0;
	}
	et_uuid_format(recording, id);
	int rc = api_audit(call, action, id, detail, api_param(&call->request, "reason"), ret_audit,
			   reterr);
	if (rc == -ETIMEDOUT) {
		return et_fail_plain(reterr, ET_ENOQUORUM,
				     "nobody hears a recording without a trace, and none can be "
				     "committed: no quorum");
	}
	return rc;
}

int api_ticket(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct api_ticket ticket = { .expires_us = et_clock_mono_us() + TICKET_LIFE_US };
	char id[ET_UUID_TEXT_SIZE];
	char text[33];
	Et__Recording *r = NULL;
	bool pending;
	int rc = api_body(call, known, 1, &body, reterr);
	if (rc == 0) {
		rc = api_path_id(call, ticket.recording, reterr);
	}
	if (rc == 0) {
		rc = api_recording_find(call, ticket.recording, &r, &pending, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et__recording__free_unpacked(r, NULL);
	et_uuid_format(ticket.recording, id);
	rc = api_audit(call, "recording.play", id, "ticket", et_json_get_text(body, "reason", ""),
		       &ticket.audit, reterr);
	if (rc < 0) {
		return rc;
	}
	et_random(ticket.id, sizeof(ticket.id));
	(void)snprintf(ticket.principal, sizeof(ticket.principal), "%s", call->principal);
	ticket_put(call->api, &ticket);
	et_hex(ticket.id, 16, text);
	json_t *o = json_object();
	et_json_set(o, "ticket", json_string(text));
	et_json_set(o, "expires_in_ms", json_integer(TICKET_LIFE_US / 1000));
	et_json_set(o, "audit", et_json_u64(ticket.audit));
	return api_json(call, 201, o);
}

/* ---- Opening a playback ---- */

static int playback_open(struct api_call *call, struct api_playback *p, bool whole,
			 const char *action, const char *detail, struct et_error *reterr)
{
	Et__Recording *r = NULL;
	bool pending;
	p->call = call;
	int rc = api_need(call->api->services.keeper, "keeper", reterr);
	if (rc == 0) {
		rc = api_path_id(call, p->recording, reterr);
	}
	if (rc == 0) {
		rc = api_recording_find(call, p->recording, &r, &pending, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	p->end_us = r->end_us;
	bool erased = r->state == ET__RECORDING_STATE__ERASED;
	if (pending || erased) {
		rc = et_fail_plain(reterr, pending ? ET_ENOQUORUM : ET_EPOLICY, "%s",
				   pending ? "the recording is not committed yet: nobody hears it "
					     "without a trace"
					   : "the recording was erased");
	}
	rc = rc < 0 ? rc : playback_collect(p, call->view, reterr);
	rc = rc < 0 ? rc : api_tones_decide(p, r, whole, &action, reterr);
	et__recording__free_unpacked(r, NULL);
	api_view_release(call); /* a listener may take hours */
	if (rc == 0) {
		rc = hearing_allowed(call, p->recording, action, detail, &p->audit, reterr);
	}
	return rc;
}

int api_playback_open(struct api_call *call, struct api_playback *p, const char *action,
		      const char *detail, struct et_error *reterr)
{
	return playback_open(call, p, false, action, detail, reterr);
}

int api_playback_open_whole(struct api_call *call, struct api_playback *p, const char *action,
			    const char *detail, struct et_error *reterr)
{
	return playback_open(call, p, true, action, detail, reterr);
}

void api_playback_headers(struct api_call *call, const struct et_playback_summary *s, bool read)
{
	uint32_t missing = s->segments_missing + s->segments_no_key + s->segments_damaged;
	bool complete = et_playback_is_complete(s);
	api_header(call, "x-evertape-complete:", "%s",
		   !complete ? "false"
		   : read    ? "true"
			     : "unread");
	if (!complete) {
		api_header(call, "x-evertape-problem:", "%s",
			   s->problem[0] != '\0' ? s->problem : "parts cannot be decoded");
	}
	api_header(call, "x-evertape-segments:", "%u of %u", s->segments - missing, s->segments);
}
