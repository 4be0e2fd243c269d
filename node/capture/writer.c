#include "node/capture/writer_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/io/file.h"

#define POLL_US 200000LL
#define PROBLEM_US 1000000LL

enum { AHEAD_BYTES = 192 }; /* of a record: a packet of 20 ms of G.711 */

/* ---- Life ------------------------------------------------------------------------------------ */

static int make_folders(struct et_writer *w, struct et_error *reterr)
{
	static const char *const folders[] = { "calls", "tapes", "ring" };
	char path[PATH_MAX];
	for (size_t i = 0; i < ET_ARRAY_SIZE(folders); i++) {
		et_writer_path(w, folders[i], path);
		int rc = et_file_mkdirs(path, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	w->media_fd = open(w->media, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->media_fd < 0) {
		return et_fail(reterr, -errno, "media folder '%s'", w->media);
	}
	et_reserve_make(w);
	return 0;
}

int et_writer_new(const struct et_writer_config *config, struct et_writer **ret,
		  struct et_error *reterr)
{
	struct et_writer *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "capture writer");
	}
	w->config = *config;
	w->media_fd = -1;
	w->now_us = config->live ? et_clock_now_us() : 0; /* what goes on begins now */
	w->acks_end = &w->acks;
	w->kek_version = config->kek_version;
	memcpy(w->kek_public, config->kek_public, sizeof(w->kek_public));
	(void)pthread_mutex_init(&w->kek_mutex, NULL);
	et_pool_init(&w->slot_pool, sizeof(struct et_slot));
	(void)snprintf(w->site, sizeof(w->site), "%s", config->site != NULL ? config->site : "");
	w->has_sign_public = config->sign_key != NULL &&
			     et_ed25519_public(config->sign_key, w->sign_public, NULL) == 0;
	w->slots = calloc(config->calls, sizeof(struct et_slot *));
	w->segments = calloc(config->calls, sizeof(*w->segments));
	int rc = w->slots == NULL || w->segments == NULL ? et_fail(reterr, -ENOMEM, "writer") : 0;
	if (rc == 0 && config->media != NULL) {
		int n = snprintf(w->media, sizeof(w->media), "%s", config->media);
		rc = n < 0 || n > PATH_MAX - 256 ? et_fail(reterr, -ENAMETOOLONG, "media folder")
						 : make_folders(w, reterr);
	}
	if (rc < 0) {
		et_writer_free(w);
		return rc;
	}
	*ret = w;
	return 0;
}

static void slot_free(struct et_writer *w, uint32_t slot)
{
	struct et_slot *s = w->slots[slot];
	if (s != NULL) {
		(void)et_tape_close(s->tape);
		(void)et_ring_free(w, s->ring);
		(void)et_tape_state_free(s->course);
		et_media_encoder_release(&s->encoder);
		for (size_t i = 0; i < ET_SLOT_KEYS_MAX; i++) {
			s->keys[i] = et_secret_free(s->keys[i]);
		}
		free(s->session);
		free(s->streams);
		et_pool_give(&w->slot_pool, s);
		w->slots[slot] = NULL;
		w->segments[slot] = 0;
	}
}

static void free_acks(struct et_ack *list)
{
	while (list != NULL) {
		struct et_ack *ack = list;
		list = ack->next;
		et_ack_free(ack);
	}
}

struct et_writer *et_writer_free(struct et_writer *w)
{
	if (w == NULL) {
		return NULL;
	}
	for (uint32_t i = 0; w->slots != NULL && i < w->config.calls; i++) {
		slot_free(w, i);
	}
	while (w->rings != NULL) {
		struct et_ring *r = w->rings;
		w->rings = r->next;
		(void)et_ring_free(w, r);
	}
	free_acks(w->acks);
	free_acks(w->unfinished);
	et_buffer_release(&w->record);
	et_openlog_end(w);
	if (w->media_fd >= 0) {
		(void)close(w->media_fd);
	}
	(void)pthread_mutex_destroy(&w->kek_mutex);
	et_pool_release(&w->slot_pool);
	free(w->slots);
	free(w->segments);
	free(w);
	return NULL;
}

void et_writer_set_kek(struct et_writer *w, uint32_t version, const uint8_t public_key[32])
{
	(void)pthread_mutex_lock(&w->kek_mutex);
	w->kek_version = version;
	memcpy(w->kek_public, public_key, sizeof(w->kek_public));
	(void)pthread_mutex_unlock(&w->kek_mutex);
}

uint32_t et_writer_kek_version(struct et_writer *w)
{
	(void)pthread_mutex_lock(&w->kek_mutex);
	uint32_t version = w->kek_version;
	(void)pthread_mutex_unlock(&w->kek_mutex);
	return version;
}

void et_writer_opened(struct et_writer *w)
{
	(void)pthread_mutex_lock(&w->kek_mutex);
	w->kek_opening = 0;
	(void)pthread_mutex_unlock(&w->kek_mutex);
}

bool et_writer_kek_settled(struct et_writer *w, uint32_t version)
{
	(void)pthread_mutex_lock(&w->kek_mutex);
	bool settled =
		w->kek_version >= version && (w->kek_opening == 0 || w->kek_opening >= version);
	(void)pthread_mutex_unlock(&w->kek_mutex);
	return settled;
}

/* ---- Telling --------------------------------------------------------------------------------- */

static int tell(struct et_writer *w, enum et_capture_event_kind kind, const struct et_facts *facts,
		const struct et_capture_stream *streams, uint32_t count,
		const struct et_capture_segment *segment, bool restored,
		const struct et_capture_session *session)
{
	struct et_capture_recording recording;
	struct et_capture_event ev = {
		.kind = kind,
		.time_us = et_clock_now_us(),
		.restored = restored,
		.segment = segment,
	};
	if (w->config.on_event == NULL) {
		return 0;
	}
	if (facts != NULL) {
		et_facts_tell(facts, streams, count, w->config.node, w->site, &recording);
		recording.session = session;
		ev.recording = &recording;
	}
	return w->config.on_event(w->config.arg, &ev);
}

int et_writer_tell(struct et_writer *w, enum et_capture_event_kind kind,
		   const struct et_facts *facts, const struct et_capture_stream *streams,
		   uint32_t count, const struct et_capture_segment *segment, bool restored)
{
	return tell(w, kind, facts, streams, count, segment, restored, NULL);
}

int et_writer_tell_session(struct et_writer *w, const struct et_facts *facts,
			   const struct et_capture_stream *streams, uint32_t count,
			   const struct et_capture_session *session)
{
	return tell(w, ET_CAPTURE_RECORDING_UPDATE, facts, streams, count, NULL, false, session);
}

/* At most one a second of each kind. */
void et_writer_problem(struct et_writer *w, int kind, int code, const char *text)
{
	int64_t now = et_clock_mono_us();
	if (w->config.on_event == NULL ||
	    (w->problem_us[kind] != 0 && now - w->problem_us[kind] < PROBLEM_US)) {
		return;
	}
	w->problem_us[kind] = now;
	struct et_capture_event ev = {
		.kind = ET_CAPTURE_PROBLEM,
		.time_us = et_clock_now_us(),
		.code = code,
		.text = text,
	};
	(void)w->config.on_event(w->config.arg, &ev);
}

/* ---- Slots ----------------------------------------------------------------------------------- */

void et_slot_break(struct et_writer *w, struct et_slot *s, int64_t since_us)
{
	s->state = ET_SLOT_BROKEN;
	s->broken_us = since_us;
	s->retry_us = w->now_us + ET_RETRY_US;
}

void et_slot_end(struct et_writer *w, struct et_slot *s)
{
	et_segment_finish(w, s, NULL);
	et_slot_break(w, s, w->now_us);
	s->retry_us = INT64_MAX;
}

void et_writer_open(struct et_writer *w, uint32_t slot, const struct et_facts *facts, bool restored)
{
	et_assert(slot < w->config.calls && w->slots[slot] == NULL);
	struct et_slot *s = et_pool_take(&w->slot_pool);
	if (s == NULL) {
		w->refused_writer++;
		return;
	}
	w->slots[slot] = s;
	s->facts = *facts;
	s->segment = facts->segment;
	s->restored = restored;
	s->told = restored;
	s->last_us = facts->start_us;
	if (w->now_us < facts->start_us) {
		w->now_us = facts->start_us;
	}
	if (w->config.media == NULL) {
		s->state = ET_SLOT_OPEN;
		return;
	}
	const bool on_demand = facts->ring_us != 0;
	if (on_demand && !et_ring_new(s)) {
		s->state = ET_SLOT_REFUSED;
		w->refused_writer++;
		return;
	}
	if (!et_segment_open(w, slot)) {
		et_slot_break(w, s, w->now_us);
		s->state = s->told || on_demand ? ET_SLOT_BROKEN : ET_SLOT_REFUSED;
	}
	if (on_demand) {
		(void)et_writer_tell(w, ET_CAPTURE_RING, facts, NULL, 0, NULL, false);
	}
}

static struct et_slot *slot_of(struct et_writer *w, uint32_t slot)
{
	et_assert(slot < w->config.calls);
	return w->slots[slot];
}

void et_writer_stream(struct et_writer *w, uint32_t slot, const struct et_capture_stream *stream)
{
	struct et_slot *s = slot_of(w, slot);
	if (s == NULL || s->state == ET_SLOT_REFUSED) {
		return;
	}
	if (s->stream_count == s->stream_room) {
		uint32_t room = s->stream_room == 0 ? 2 : s->stream_room * 2;
		struct et_capture_stream *streams = realloc(s->streams, room * sizeof(*s->streams));
		if (streams == NULL) {
			return; /* the tape lacks its description; the catalogue has it */
		}
		s->streams = streams;
		s->stream_room = room;
	}
	s->streams[s->stream_count++] = *stream;
	et_pad_codec(w, s, stream->codec);
	et_note_stream(w, s, stream);
}

void et_writer_keys(struct et_writer *w, uint32_t slot, struct et_view plain)
{
	struct et_slot *s = slot_of(w, slot);

	if (s == NULL || s->state == ET_SLOT_REFUSED || w->config.media == NULL) {
		return;
	}
	et_note_keys(w, s, plain);
}

/* Nothing could be written for a while: try a new segment now and then. */
static void retry(struct et_writer *w, uint32_t slot)
{
	struct et_slot *s = w->slots[slot];
	if (s->state != ET_SLOT_BROKEN || w->now_us < s->retry_us || w->refuse) {
		return;
	}
	struct et_facts before = s->facts;
	et_facts_gap(&s->facts, s->broken_us, w->now_us, "disk-full");
	if (!et_segment_open(w, slot)) {
		s->facts = before;
		et_slot_break(w, s, s->broken_us);
	}
}

struct et_media_packet et_writer_packet(uint32_t stream, const struct et_rtp *rtp,
					const struct et_packet *packet)
{
	/* CSRC, extension or padding; the bits of version and marker are not among them. */
	bool whole = (packet->payload[0] & 0x3F) != 0;
	return (struct et_media_packet){
		.stream = stream,
		.marker = rtp->marker,
		.whole = whole,
		.payload_type = rtp->payload_type,
		.sequence = rtp->sequence,
		.timestamp = rtp->timestamp,
		.arrival_us = packet->time_us,
		.payload = whole ? (struct et_view){ packet->payload, packet->size }
				 : (struct et_view){ rtp->payload, rtp->payload_size },
	};
}

struct et_media_packet et_writer_rtcp(uint32_t stream, const struct et_packet *packet)
{
	return (struct et_media_packet){
		.stream = stream,
		.rtcp = true,
		.arrival_us = packet->time_us,
		.payload = { packet->payload, packet->size },
	};
}

void et_writer_media(struct et_writer *w, uint32_t slot, const struct et_media_packet *packet)
{
	struct et_slot *s = slot_of(w, slot);
	if (packet->arrival_us > w->now_us) {
		w->now_us = packet->arrival_us;
	}
	if (s == NULL || s->state == ET_SLOT_REFUSED) {
		w->dropped++;
		return;
	}
	retry(w, slot);
	if (s->ring != NULL) {
		et_ring_turn(w, slot);
	}
	if (s->state != ET_SLOT_OPEN) {
		w->dropped++;
		return;
	}
	if (s->ring != NULL) {
		s->ring->has_media = true;
	}
	/* The owner alone adds to it: no need to lock the bus 2,000,000 times. */
	atomic_store_explicit(&w->tape_packets,
			      atomic_load_explicit(&w->tape_packets, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	if (s->tape == NULL) {
		return; /* count only */
	}
	s->last_us = packet->arrival_us;
	struct et_media_encoder *e = &s->encoder;
	if (packet->arrival_us >= s->second_us) {
		et_segment_second(w, s);
	} else if (e->packets > 0 && packet->arrival_us - e->first_us >= ET_RECORD_US) {
		et_segment_flush(w, s);
	}
	if (s->state != ET_SLOT_OPEN) { /* that failed */
		w->tape_packets--;
		w->dropped++;
		return;
	}
	size_t max = ET_RECORD_BYTES;
	int rc = et_media_encoder_add(e, packet, max);
	if (rc == ET_ELIMIT) {
		et_segment_flush(w, s);
		if (packet->payload.size + ET_MEDIA_PACKET_OVERHEAD > max) {
			max = packet->payload.size + ET_MEDIA_PACKET_OVERHEAD + 16;
		}
		rc = s->state == ET_SLOT_OPEN ? et_media_encoder_add(e, packet, max) : -EIO;
	}
	if (rc < 0) {
		w->tape_packets--;
		w->dropped++;
	}
}

/* The slot's head, and the stream's part of the encoder; the end of the record. Slots are given out
 * from the lowest up: their table is in the caches. */
void et_writer_ahead(const struct et_writer *w, uint32_t slot, uint32_t stream, int step)
{
	et_assert(slot < w->config.calls);
	const struct et_slot *s = w->slots[slot];
	if (s == NULL || stream >= ET_MEDIA_STREAMS_MAX) {
		return;
	}
	const struct et_buffer *plain = &s->encoder.plain;
	if (step == 0) {
		et_fetch(s, offsetof(struct et_slot, encoder.streams));
		et_fetch(&s->encoder.streams[stream], sizeof(s->encoder.streams[stream]));
	} else if (step == 1 && plain->capacity - plain->size >= AHEAD_BYTES) {
		et_fetch(plain->data + plain->size, AHEAD_BYTES);
	}
}

void et_writer_meta(struct et_writer *w, uint32_t slot, struct et_view plain)
{
	struct et_slot *s = slot_of(w, slot);
	if (s != NULL && s->state == ET_SLOT_OPEN && s->tape != NULL) {
		et_pad_meta(w, s, plain);
		et_segment_append(w, s, ET_TAPE_META, w->now_us, plain.data, plain.size);
	}
}

/* Facts of the engine; gaps that the writer added stay. */
static void take_facts(struct et_writer *w, struct et_slot *s, const struct et_facts *facts)
{
	struct et_facts own = s->facts;
	s->facts = *facts;
	for (uint32_t i = 0; i < own.gap_count; i++) {
		if (et_facts_find_gap(facts, &own.gaps[i]) == NULL) {
			et_facts_gap(&s->facts, own.gaps[i].from_us, own.gaps[i].to_us,
				     own.gaps[i].cause);
		}
	}
	if (s->facts.problem[0] == '\0' && !own.problem_srtp) {
		memcpy(s->facts.problem, own.problem, sizeof(own.problem));
	}
	et_note_pauses(w, s, &own);
}

void et_writer_update(struct et_writer *w, uint32_t slot, const struct et_facts *facts,
		      const struct et_capture_stream *streams, uint32_t count)
{
	struct et_slot *s = slot_of(w, slot);
	if (s == NULL || s->state == ET_SLOT_REFUSED || w->config.media == NULL) {
		return;
	}
	take_facts(w, s, facts);
	const bool waits = s->ring != NULL && !s->ring->kept;
	(void)tell(w, waits ? ET_CAPTURE_RING : ET_CAPTURE_RECORDING_UPDATE, &s->facts, streams,
		   count, NULL, s->restored, s->session);
}

void et_writer_session(struct et_writer *w, uint32_t slot, const struct et_capture_session *session)
{
	struct et_slot *s = slot_of(w, slot);
	if (s == NULL || s->state == ET_SLOT_REFUSED || w->config.media == NULL) {
		return;
	}
	if (s->session == NULL) {
		s->session = malloc(sizeof(*s->session));
	}
	if (s->session != NULL) {
		*s->session = *session;
	}
}

void et_writer_close(struct et_writer *w, uint32_t slot, const struct et_facts *facts,
		     const struct et_capture_stream *streams, uint32_t count)
{
	struct et_slot *s = slot_of(w, slot);
	if (s == NULL) {
		return;
	}
	take_facts(w, s, facts);
	if (s->state == ET_SLOT_BROKEN) {
		et_facts_gap(&s->facts, s->broken_us, w->now_us, "disk-full");
	}
	struct et_closing *closing = NULL;
	if ((s->told || s->ring != NULL) && s->state != ET_SLOT_REFUSED &&
	    w->config.media != NULL) {
		closing = malloc(sizeof(*closing) + count * sizeof(*streams));
	}
	if (closing != NULL) {
		closing->facts = s->facts;
		closing->count = count;
		if (count > 0) {
			memcpy(closing->streams, streams, count * sizeof(*streams));
		}
	}
	if (closing != NULL && s->ring != NULL) {
		et_ring_over(w, s, closing);
	} else if (closing != NULL) {
		et_segment_finish(w, s, closing);
	}
	slot_free(w, slot);
}

/* ---- Time ------------------------------------------------------------------------------------ */

void et_writer_poll(struct et_writer *w, int64_t now_us)
{
	if (w->config.live && now_us > w->now_us) {
		w->now_us = now_us;
	}
	et_ack_poll(w);
	if (w->now_us - w->polled_us < POLL_US) {
		return;
	}
	w->polled_us = w->now_us;
	if (w->config.media != NULL) {
		et_ring_poll(w);
	}
	for (uint32_t i = 0; i < w->config.calls; i++) {
		struct et_slot *s = w->slots[i];
		if (s == NULL || w->config.media == NULL) {
			continue;
		}
		if (s->state == ET_SLOT_BROKEN) {
			retry(w, i);
		} else if (w->now_us >= s->second_us) {
			et_segment_second(w, s);
		} else if (s->encoder.packets > 0 &&
			   w->now_us - s->encoder.first_us >= ET_RECORD_US) {
			et_segment_flush(w, s);
		}
		et_segment_pad(w, s);
	}
}

void et_writer_finish(struct et_writer *w)
{
	if (w->config.media != NULL) {
		et_ring_finish(w);
	}
	for (uint32_t i = 0; i < w->config.calls && w->config.media != NULL; i++) {
		struct et_slot *s = w->slots[i];
		if (s != NULL && s->state == ET_SLOT_OPEN) {
			et_slot_end(w, s);
		}
	}
}

void et_writer_tell_metrics(const struct et_writer *w, struct et_capture_metrics *ret)
{
	ret->calls_refused_journal = w->refused_journal;
	ret->calls_refused_writer = w->refused_writer;
	ret->media_dropped += w->dropped;
	ret->tape_bytes = w->tape_bytes;
	ret->tape_packets = w->tape_packets;
	ret->sync_failures = w->sync_failures;
	ret->synced_us = w->synced_us;
	ret->free_bytes = w->free_bytes;
	ret->recovered = w->recovered;
	ret->demand_calls = w->demand_calls;
	ret->demand_bytes = w->demand_used;
	ret->demand_kept = w->demand_kept;
	ret->demand_dropped = w->demand_dropped;
	ret->demand_cut = w->demand_cut;
	ret->demand_cut_us = w->demand_cut_us;
	ret->demand_failed = w->demand_failed;
	ret->acknowledging = w->sync_code == 0;
}
