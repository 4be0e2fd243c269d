#include "node/daemon/events.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/crypto/hash.h"
#include "node/daemon/daemon_internal.h"
#include "node/daemon/hashmap.h"
#include "node/io/clock.h"

struct facts {
	UT_hash_handle hh;
	uint8_t recording[16];
	uint8_t hash[32]; /* of what the catalogue was told, without statistics */
};

struct message {
	struct et_post post;
	struct et_events *events; /* borrowed */
	struct et_buffer packed;  /* owned: a command, or a recording */
	uint8_t recording[16];
	enum { MESSAGE_COMMAND, MESSAGE_LIVE, MESSAGE_ENDED } kind;
};

enum { RECORD_TEXTS = 8 + ET_CAPTURE_STREAMS_MAX + 3 + 5 * ET_CAPTURE_PARTICIPANTS_MAX };

/* What raft/command/rules.c allows for these fields, bytes. */
enum {
	NUMBER_BYTES_MAX = 255,
	URI_BYTES_MAX = 500,
	CODEC_BYTES_MAX = 60,
	PROBLEM_BYTES_MAX = 500,
	ID_BYTES_MAX = 60
};

/* A recording with the arrays that its pointers need. */
struct record {
	Et__Recording recording;
	Et__Stream streams[ET_CAPTURE_STREAMS_MAX];
	Et__Stream *stream_list[ET_CAPTURE_STREAMS_MAX];
	Et__Gap gaps[ET_CAPTURE_GAPS_MAX];
	Et__Gap *gap_list[ET_CAPTURE_GAPS_MAX];
	Et__Session session;
	Et__Participant participants[ET_CAPTURE_PARTICIPANTS_MAX];
	Et__Participant *participant_list[ET_CAPTURE_PARTICIPANTS_MAX];
	struct et_buffer texts[RECORD_TEXTS]; /* owned: foreign text, made fit for its field */
	size_t text_count;
};

/* protobuf-c takes char *, and does not write through it. */
static char *text(const char *s)
{
	static char empty[] = "";
	union {
		const char *in;
		char *out;
	} u = { .in = s };
	return s != NULL ? u.out : empty;
}

static ProtobufCBinaryData bytes(const uint8_t *data, size_t size)
{
	union {
		const uint8_t *in;
		uint8_t *out;
	} u = { .in = data };
	return (ProtobufCBinaryData){ .len = size, .data = u.out };
}

/* A header of a SIP message is a stranger's: cut it, and make it UTF-8. */
static char *foreign(struct record *r, const char *s, size_t max)
{
	et_assert(r->text_count < RECORD_TEXTS);
	struct et_buffer *b = &r->texts[r->text_count++];

	*b = (struct et_buffer){ 0 };
	if (s == NULL || *s == '\0') {
		return text("");
	}
	et_command_text(s, strlen(s), max, b);
	return b->failed ? text("") : (char *)b->data;
}

static void record_release(struct record *r)
{
	for (size_t i = 0; i < r->text_count; i++) {
		et_buffer_release(&r->texts[i]);
	}
}

static void record_fill_streams(struct record *r, const struct et_capture_recording *from)
{
	r->recording.n_streams = from->stream_count;
	r->recording.streams = r->stream_list;
	for (uint32_t i = 0; i < from->stream_count; i++) {
		const struct et_capture_stream *s = &from->streams[i];
		Et__Stream *to = &r->streams[i];
		et__stream__init(to);
		to->ssrc = s->ssrc;
		to->src = text(s->src);
		to->dst = text(s->dst);
		to->codec = foreign(r, s->codec, CODEC_BYTES_MAX);
		to->association = text(et_capture_association_text(s->association));
		to->packets = s->packets;
		to->lost = s->lost;
		to->duplicate = s->duplicate;
		to->late = s->late;
		to->silenced = s->silenced;
		to->first_us = s->first_us;
		to->last_us = s->last_us;
		to->party = s->party;
		to->stream = s->number;
		to->jitter_us = s->jitter_us;
		r->stream_list[i] = to;
	}
}

static void record_fill_session(struct record *r, const struct et_capture_session *from)
{
	Et__Session *to = &r->session;

	et_assert(from->participant_count <= ET_CAPTURE_PARTICIPANTS_MAX);
	et__session__init(to);
	to->id = foreign(r, from->id, ID_BYTES_MAX);
	to->group = foreign(r, from->group, ID_BYTES_MAX);
	to->sip_session = foreign(r, from->sip_session, NUMBER_BYTES_MAX);
	to->start_us = from->start_us;
	to->stop_us = from->stop_us;
	to->revision = from->revision;
	to->n_participants = from->participant_count;
	to->participants = r->participant_list;
	for (uint32_t i = 0; i < from->participant_count; i++) {
		const struct et_capture_participant *p = &from->participants[i];
		Et__Participant *who = &r->participants[i];
		et__participant__init(who);
		who->id = foreign(r, p->id, ID_BYTES_MAX);
		who->aor = foreign(r, p->aor, URI_BYTES_MAX);
		who->number = foreign(r, p->number, NUMBER_BYTES_MAX);
		who->name = foreign(r, p->name, NUMBER_BYTES_MAX);
		who->labels = foreign(r, p->labels, NUMBER_BYTES_MAX);
		who->party = p->party;
		who->joined_us = p->joined_us;
		who->left_us = p->left_us;
		who->gone = p->gone;
		r->participant_list[i] = who;
	}
	r->recording.session = to;
}

static void record_fill(struct record *r, const struct et_capture_recording *from)
{
	Et__Recording *to = &r->recording;

	et_assert(from->stream_count <= ET_CAPTURE_STREAMS_MAX);
	et_assert(from->gap_count <= ET_CAPTURE_GAPS_MAX);
	et__recording__init(to);
	r->text_count = 0;
	to->id = bytes(from->id, 16);
	to->call = bytes(from->call, 16);
	to->node = from->node;
	to->site = text(from->site);
	to->state =
		from->end_us == 0 ? ET__RECORDING_STATE__CAPTURING : ET__RECORDING_STATE__SEALED;
	to->start_us = from->start_us;
	to->answer_us = from->answer_us;
	to->end_us = from->end_us;
	to->from = foreign(r, from->from, NUMBER_BYTES_MAX);
	to->to = foreign(r, from->to, NUMBER_BYTES_MAX);
	to->from_uri = foreign(r, from->from_uri, URI_BYTES_MAX);
	to->to_uri = foreign(r, from->to_uri, URI_BYTES_MAX);
	to->sip_call_id = foreign(r, from->sip_call_id, URI_BYTES_MAX);
	to->call_state = text(et_capture_state_text(from->state));
	to->rule = text(from->rule);
	to->direction = text(from->direction);
	to->problem = foreign(r, from->problem, PROBLEM_BYTES_MAX);
	to->capture_drops = from->capture_drops;
	to->keys = from->keys;
	to->joined = text(from->joined);
	to->tones = from->tones;
	to->kept = foreign(r, from->kept, NUMBER_BYTES_MAX);
	to->kept_us = from->kept_us;
	record_fill_streams(r, from);
	if (from->session != NULL) {
		record_fill_session(r, from->session);
	}
	to->n_gaps = from->gap_count;
	to->gaps = r->gap_list;
	for (uint32_t i = 0; i < from->gap_count; i++) {
		et__gap__init(&r->gaps[i]);
		r->gaps[i].from_us = from->gaps[i].from_us;
		r->gaps[i].to_us = from->gaps[i].to_us;
		r->gaps[i].cause = text(from->gaps[i].cause);
		r->gap_list[i] = &r->gaps[i];
	}
}

int et_events_recording(const struct et_capture_recording *from,
			int (*fn)(void *arg, Et__Recording *r), void *arg)
{
	struct record r;

	record_fill(&r, from);
	int rc = fn(arg, &r.recording);
	record_release(&r);
	return rc;
}

/* ---- To the loop
 * --------------------------------------------------------------------------------- */

static void message_free(struct message *m)
{
	et_buffer_release(&m->packed);
	free(m);
}

static void on_message(struct et_post *post)
{
	struct message *m = ET_CONTAINER_OF(post, struct message, post);
	const struct et_events_config *config = &m->events->config;

	if (m->kind == MESSAGE_COMMAND) {
		config->on_command(config->arg, (struct et_view){ m->packed.data, m->packed.size });
	} else if (m->kind == MESSAGE_ENDED) {
		config->on_live(config->arg, m->recording, NULL);
	} else {
		Et__Recording *record = et__recording__unpack(NULL, m->packed.size, m->packed.data);
		if (record != NULL) {
			config->on_live(config->arg, m->recording, record);
			et__recording__free_unpacked(record, NULL);
		}
	}
	message_free(m);
}

/* Takes over `packed`. */
static int events_send(struct et_events *events, int kind, const uint8_t recording[16],
		       struct et_buffer *packed)
{
	struct message *m = calloc(1, sizeof(*m));
	if (m == NULL) {
		et_buffer_release(packed);
		return -ENOMEM;
	}
	m->post.fn = on_message;
	m->events = events;
	m->kind = kind;
	m->packed = *packed;
	*packed = (struct et_buffer){ 0 };
	memcpy(m->recording, recording, 16);
	int rc = et_post(events->config.postbox, &m->post);
	if (rc < 0) {
		message_free(m);
	}
	return rc;
}

/* Members with an older schema do not know how many packets were silenced. */
static void record_for_schema(const struct et_events *events, struct record *r)
{
	bool any = false;

	for (size_t i = 0; i < r->recording.n_streams; i++) {
		any = any || r->streams[i].silenced > 0;
	}
	if (!any || events->config.schema(events->config.arg) >= ET_SCHEMA_SILENCED) {
		return;
	}
	for (size_t i = 0; i < r->recording.n_streams; i++) {
		r->streams[i].silenced = 0;
	}
}

static int events_commit(struct et_events *events, Et__Command *command,
			 const uint8_t recording[16])
{
	char principal[32];
	(void)snprintf(principal, sizeof(principal), "node:%llu",
		       (unsigned long long)events->config.node);
	command->principal = principal;
	command->proposed_us = et_clock_now_us();
	command->schema = et_schema_needed(command);

	struct et_buffer packed = { 0 };
	struct et_error error;
	Et__OpId op = ET__OP_ID__INIT;
	command->op = &op;
	int rc = et_journal_append(events->config.journal, command, &packed, &error);
	command->op = NULL;
	if (rc < 0) {
		et_buffer_release(&packed);
		atomic_fetch_add(&events->refused, 1);
		et_err("journal.refused", "command=%s error=\"%s\"", et_command_name(command),
		       error.text);
		return rc;
	}
	rc = events_send(events, MESSAGE_COMMAND, recording, &packed);
	if (rc < 0) {
		atomic_fetch_add(&events->stuck, 1);
		et_err("journal.stuck",
		       "command=%s: it is in the journal, and proposed at the next start",
		       et_command_name(command));
	}
	return 0;
}

/* ---- What changed
 * -------------------------------------------------------------------------------- */

/* A hash over what is said of a recording, without what grows while it runs. */
static void record_hash(const Et__Recording *r, uint8_t ret[32])
{
	Et__Recording facts = *r;
	Et__Stream streams[ET_CAPTURE_STREAMS_MAX];
	Et__Stream *list[ET_CAPTURE_STREAMS_MAX];

	for (size_t i = 0; i < r->n_streams; i++) {
		streams[i] = *r->streams[i];
		streams[i].packets = streams[i].lost = streams[i].duplicate = streams[i].late = 0;
		streams[i].first_us = streams[i].last_us = 0;
		streams[i].jitter_us = 0;
		streams[i].silenced = 0;
		list[i] = &streams[i];
	}
	facts.streams = list;
	facts.capture_drops = 0;

	struct et_buffer packed = { 0 };
	uint8_t *p = et_buffer_reserve(&packed, et__recording__get_packed_size(&facts));
	memset(ret, 0, 32);
	if (p != NULL) {
		size_t size = et__recording__pack(&facts, p);
		et_sha256(p, size, ret);
	}
	et_buffer_release(&packed);
}

/* Is there anything new for the catalogue in it? Remembers it. */
static bool facts_changed(struct et_events *events, const Et__Recording *r)
{
	uint8_t hash[32];
	struct facts *facts = NULL;

	record_hash(r, hash);
	HASH_FIND(hh, events->facts, r->id.data, 16, facts);
	if (facts == NULL) {
		facts = calloc(1, sizeof(*facts));
		if (facts == NULL) {
			return true;
		}
		memcpy(facts->recording, r->id.data, 16);
		HASH_ADD(hh, events->facts, recording, 16, facts);
	} else if (memcmp(facts->hash, hash, 32) == 0) {
		return false;
	}
	memcpy(facts->hash, hash, 32);
	return true;
}

static void facts_forget(struct et_events *events, const uint8_t recording[16])
{
	struct facts *facts = NULL;

	HASH_FIND(hh, events->facts, recording, 16, facts);
	if (facts != NULL) {
		HASH_DEL(events->facts, facts);
		free(facts);
	}
}

/* ---- One function for each kind of event
 * --------------------------------------------------------- */

static void events_live(struct et_events *events, const Et__Recording *record)
{
	struct et_buffer packed = { 0 };
	uint8_t *p = et_buffer_reserve(&packed, et__recording__get_packed_size(record));
	if (p != NULL) {
		packed.size = et__recording__pack(record, p);
		(void)events_send(events, MESSAGE_LIVE, record->id.data, &packed);
	}
}

static int on_recording_open(struct et_events *events, const struct et_capture_event *ev)
{
	struct record r;
	Et__RecordingOpen body = ET__RECORDING_OPEN__INIT;
	Et__Command command = ET__COMMAND__INIT;

	record_fill(&r, ev->recording);
	record_for_schema(events, &r);
	body.recording = &r.recording;
	command.body_case = ET__COMMAND__BODY_RECORDING_OPEN;
	command.recording_open = &body;
	int rc = events_commit(events, &command, ev->recording->id);
	if (rc == 0) {
		(void)facts_changed(events, &r.recording);
		events_live(events, &r.recording);
	}
	record_release(&r);
	return rc;
}

static int on_recording_update(struct et_events *events, const struct et_capture_event *ev)
{
	struct record r;
	Et__RecordingUpdate body = ET__RECORDING_UPDATE__INIT;
	Et__Command command = ET__COMMAND__INIT;

	record_fill(&r, ev->recording);
	events_live(events, &r.recording);
	int rc = 0;
	if (facts_changed(events, &r.recording)) {
		record_for_schema(events, &r);
		body.recording = &r.recording;
		command.body_case = ET__COMMAND__BODY_RECORDING_UPDATE;
		command.recording_update = &body;
		rc = events_commit(events, &command, ev->recording->id);
	}
	record_release(&r);
	return rc;
}

static int on_recording_close(struct et_events *events, const struct et_capture_event *ev)
{
	struct record r;
	struct et_buffer nothing = { 0 };
	Et__RecordingClose body = ET__RECORDING_CLOSE__INIT;
	Et__Command command = ET__COMMAND__INIT;

	record_fill(&r, ev->recording);
	facts_forget(events, ev->recording->id);
	(void)events_send(events, MESSAGE_ENDED, ev->recording->id, &nothing);
	record_for_schema(events, &r);
	body.recording = &r.recording;
	command.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
	command.recording_close = &body;
	int rc = events_commit(events, &command, ev->recording->id);
	record_release(&r);
	return rc;
}

static int on_segment_open(struct et_events *events, const struct et_capture_event *ev)
{
	const struct et_capture_segment *s = ev->segment;
	Et__Wrap wrap = ET__WRAP__INIT;
	Et__Segment segment = ET__SEGMENT__INIT;
	Et__SegmentOpen body = ET__SEGMENT_OPEN__INIT;
	Et__Command command = ET__COMMAND__INIT;

	wrap.dek = s->dek;
	wrap.kek_version = s->kek_version;
	wrap.enc = bytes(s->wrap_enc, sizeof(s->wrap_enc));
	wrap.ciphertext = bytes(s->wrap_sealed, sizeof(s->wrap_sealed));
	segment.recording = bytes(s->recording, 16);
	segment.generation = s->generation;
	segment.segment = s->segment;
	segment.node = events->config.node;
	segment.wrap = &wrap;
	segment.header_hash = bytes(s->header_hash, sizeof(s->header_hash));
	segment.t0_us = s->t0_us;
	segment.state = ET__SEGMENT_STATE__SEGMENT_OPEN;
	segment.file = text(s->file);
	segment.keys = s->keys;
	body.segment = &segment;
	command.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	command.segment_open = &body;
	return events_commit(events, &command, s->recording);
}

static void seal_hash(const struct et_events *events, const struct et_capture_segment *s,
		      struct daemon_hash *ret)
{
	char path[PATH_MAX];
	struct et_error why;

	(void)snprintf(path, sizeof(path), "%s/%s", events->config.media, s->file);
	int rc = daemon_hash_of(events->config.schema(events->config.arg), path, s->seal_hash, ret,
				&why);
	if (rc < 0) { /* Its root is known: no reason to keep the recording from the catalogue. */
		et_warn("segment.unhashed", "file=\"%s\" error=\"%s\"", s->file, why.text);
	}
}

static int on_segment_sealed(struct et_events *events, const struct et_capture_event *ev)
{
	const struct et_capture_segment *s = ev->segment;
	Et__SegmentSeal body = ET__SEGMENT_SEAL__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct daemon_hash hash;

	seal_hash(events, s, &hash);

	body.recording = bytes(s->recording, 16);
	body.generation = s->generation;
	body.segment = s->segment;
	body.state = s->seal == ET_SEAL_SEALED ? ET__SEGMENT_STATE__SEGMENT_SEALED
					       : ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED;
	body.root = bytes(s->root, sizeof(s->root));
	body.records = s->records;
	body.size_bytes = s->size_bytes;
	body.sealed_us = s->sealed_us;
	body.seal_hash = hash.seal;
	body.block_bytes = s->block_bytes;
	body.object_hash = hash.object;
	body.store_uuid = text(events->config.store_uuid);
	command.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	command.segment_seal = &body;
	return events_commit(events, &command, s->recording);
}

/* A call on demand: shown as long as somebody may keep it, and noted nowhere. */
static void on_ring(struct et_events *events, const struct et_capture_event *ev)
{
	struct record r;

	record_fill(&r, ev->recording);
	events_live(events, &r.recording);
	record_release(&r);
}

static void on_ring_lost(struct et_events *events, const struct et_capture_event *ev)
{
	struct et_buffer nothing = { 0 };

	(void)events_send(events, MESSAGE_ENDED, ev->recording->id, &nothing);
}

static void on_problem(struct et_events *events, const struct et_capture_event *ev)
{
	char quoted[256];

	atomic_store(&events->problem_code, ev->code);
	et_err("capture.problem", "code=%s text=%s", et_errname(ev->code),
	       et_log_quote(ev->text != NULL ? ev->text : "", quoted, sizeof(quoted)));
}

bool et_events_may_pad(void *arg)
{
	const struct et_events *events = arg;

	return events->config.schema(events->config.arg) >= ET_SCHEMA_PADDED;
}

int et_events_on_capture(void *arg, const struct et_capture_event *ev)
{
	struct et_events *events = arg;

	switch (ev->kind) {
	case ET_CAPTURE_RECORDING_OPEN:
		return on_recording_open(events, ev);
	case ET_CAPTURE_SEGMENT_OPEN:
		return on_segment_open(events, ev);
	case ET_CAPTURE_RECORDING_UPDATE:
		return on_recording_update(events, ev);
	case ET_CAPTURE_SEGMENT_SEALED:
		return on_segment_sealed(events, ev);
	case ET_CAPTURE_RECORDING_CLOSE:
		return on_recording_close(events, ev);
	case ET_CAPTURE_RING:
		on_ring(events, ev);
		return 0;
	case ET_CAPTURE_RING_LOST:
		on_ring_lost(events, ev);
		return 0;
	case ET_CAPTURE_TICK:
		atomic_store(&events->synced_us, ev->time_us);
		atomic_store(&events->problem_code, 0);
		return 0;
	case ET_CAPTURE_PROBLEM:
		on_problem(events, ev);
		return 0;
	}
	et_unreachable();
}

void et_events_init(struct et_events *events, const struct et_events_config *config)
{
	*events = (struct et_events){ .config = *config };
}

void et_events_release(struct et_events *events)
{
	struct facts *facts;
	struct facts *next;

	HASH_ITER(hh, events->facts, facts, next)
	{
		HASH_DEL(events->facts, facts);
		free(facts);
	}
}
