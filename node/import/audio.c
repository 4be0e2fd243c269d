/* An audio file into one tape. What node/medium cuts it into goes into MEDIA and FILE records in
 * the order of the file; checkpoints and INDEX are those of a recorder. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/import/import_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/medium/medium.h"
#include "node/rtp/rtp.h"
#include "node/tape/checkpoint.h"
#include "node/tape/file.h"
#include "node/tape/meta.h"

enum {
	READ_BYTES = 65536,
	RECORD_BYTES = 16384, /* as a recorder: a record is sealed at this size, */
	RECORD_US = 1000000,  /* or at this age */
	BESIDE_BYTES = 65536, /* of the file that are no media, in one record, */
	BESIDE_PADDED = 2048, /* in an item of a block */
};

struct audio {
	const struct et_import_config *config;
	const struct et_import_order *order;
	struct et_import *m;
	struct et_import_segment *segment; /* of m */
	struct et_tape *tape;		   /* owned */
	struct et_tape_state *course;	   /* owned */
	struct et_media_encoder encoder;
	struct et_buffer beside; /* bytes that wait for their record; begin at */
	uint64_t beside_at;
	uint64_t bytes; /* of the file, in records or waiting */
	int64_t t0_us;
	int64_t last_us;
	int64_t checkpoint_us;
	struct et_medium_about about;
	struct et_error error; /* of a callback */
};

/* ---- Records ---- */

static uint32_t ms_at(const struct audio *a, int64_t at_us)
{
	const int64_t ms = (at_us - a->t0_us) / 1000;

	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static int append(struct audio *a, enum et_tape_kind kind, int64_t at_us, struct et_view plain)
{
	return et_tape_append(a->tape, kind, ms_at(a, at_us), plain.data, plain.size, &a->error);
}

static int append_meta(struct audio *a, const struct et_meta_item *items, size_t count)
{
	struct et_buffer plain = { 0 };
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = et_meta_add(&plain, &items[i]);
	}
	const struct et_view v = { plain.data, plain.size };
	rc = rc == 0 && plain.failed ? -ENOMEM : rc;
	rc = rc < 0 ? et_fail(&a->error, rc, "metadata of a tape")
		    : append(a, ET_TAPE_META, a->t0_us, v);
	if (rc == 0) {
		et_tape_state_meta(a->course, v);
	}
	et_buffer_release(&plain);
	return rc;
}

static int append_file(struct audio *a, const struct et_file_item *item)
{
	struct et_buffer plain = { .secret = true };

	int rc = et_file_add(&plain, item);
	rc = rc == 0 && plain.failed ? -ENOMEM : rc;
	rc = rc < 0 ? et_fail(&a->error, rc, "file record of a tape")
		    : append(a, ET_TAPE_FILE, a->last_us,
			     (struct et_view){ plain.data, plain.size });
	et_buffer_release(&plain);
	return rc;
}

/* Of a padded tape in small pieces: a picture in front of the sound must not make its blocks large.
 */
static int beside_flush(struct audio *a)
{
	const size_t most = et_tape_is_padded(a->tape) ? BESIDE_PADDED : BESIDE_BYTES;
	int rc = 0;

	for (size_t at = 0; rc == 0 && at < a->beside.size; at += most) {
		const size_t left = a->beside.size - at;
		const struct et_file_item item = {
			.type = ET_FILE_BYTES,
			.offset = a->beside_at + at,
			.bytes = { a->beside.data + at, left < most ? left : most },
		};
		rc = append_file(a, &item);
	}
	a->beside.size = 0;
	return rc;
}

static int checkpoint_append(struct audio *a, int64_t at_us)
{
	struct et_buffer plain = { 0 };
	int rc = 0;

	a->checkpoint_us = at_us;
	if (et_tape_state_write(a->course, &plain) == 0 && !plain.failed) {
		rc = append(a, ET_TAPE_CHECKPOINT, at_us,
			    (struct et_view){ plain.data, plain.size });
	}
	et_buffer_release(&plain);
	return rc;
}

static int media_flush(struct audio *a)
{
	struct et_media_encoder *e = &a->encoder;

	if (e->packets == 0) {
		return 0;
	}
	const int64_t at_us = e->first_us;
	int rc = append(a, ET_TAPE_MEDIA, at_us, (struct et_view){ e->plain.data, e->plain.size });
	et_media_encoder_reset(e);
	if (rc == 0 && !et_tape_is_padded(a->tape) &&
	    at_us - a->checkpoint_us >= ET_CHECKPOINT_EVERY_US) {
		rc = checkpoint_append(a, at_us);
	}
	return rc;
}

/* Of a padded tape: a packet comes at `at_us`, and seconds before it are over. */
static int second_turn(struct audio *a, int64_t at_us)
{
	const uint32_t end_ms = et_tape_second_end(a->tape);
	const uint32_t now_ms = ms_at(a, at_us);

	if (now_ms < end_ms) {
		return 0;
	}
	int rc = media_flush(a);
	rc = rc < 0 ? rc : et_tape_tick(a->tape, now_ms, &a->error);
	const int64_t begin_us = a->t0_us + (int64_t)(now_ms - now_ms % ET_TAPE_BLOCK_MS) * 1000;
	return rc < 0 || begin_us - a->checkpoint_us < ET_CHECKPOINT_EVERY_US
		       ? rc
		       : checkpoint_append(a, begin_us);
}

/* ---- What the tape says first ---- */

static struct et_view text_view(const char *text)
{
	return et_view_of(text != NULL ? text : "");
}

static int medium_write(struct audio *a)
{
	struct et_file_item item = {
		.type = ET_FILE_MEDIUM,
		.medium = {
			.size_bytes = a->order->size_bytes,
			.channels = a->about.channels,
			.sample_bytes = a->about.sample_bytes,
			.swapped = a->about.swapped,
			.format = text_view(a->about.format),
			.name = text_view(a->order->name),
		},
	};

	memcpy(item.medium.sha256, a->order->sha256, 32);
	item.medium.name.size =
		item.medium.name.size < ET_FILE_TEXT_MAX ? item.medium.name.size : ET_FILE_TEXT_MAX;
	return append_file(a, &item);
}

static int streams_write(struct audio *a)
{
	struct et_meta_item items[3];
	size_t count = a->about.channels;

	for (uint32_t i = 0; i < a->about.channels; i++) {
		items[i] = (struct et_meta_item){
			.type = ET_META_STREAM,
			.stream = {
				.stream = i,
				.ssrc = i + 1,
				.party = (uint8_t)i,
				.payload_type = a->about.payload_type,
				.channels = a->about.voices,
				.clock_rate = a->about.clock_rate,
				.codec = text_view(a->about.codec),
			},
		};
	}
	if (a->about.fmtp != NULL) {
		items[count++] = (struct et_meta_item){
			.type = ET_META_CODEC,
			.codec = {
				.payload_type = a->about.payload_type,
				.channels = a->about.voices,
				.clock_rate = a->about.clock_rate,
				.codec = text_view(a->about.codec),
				.fmtp = text_view(a->about.fmtp),
			},
		};
	}
	return append_meta(a, items, count);
}

static void fact_set(const struct audio *a, struct et_meta_item *item, uint8_t party,
		     const char *key, const char *value)
{
	*item = (struct et_meta_item){
		.type = ET_META_FACT,
		.fact = { .time_us = a->t0_us,
			  .party = party,
			  .key = text_view(key),
			  .value = text_view(value) },
	};
}

/* What was told of it, for whoever has only the tape and its key. */
static int told_write(struct audio *a)
{
	const struct et_told *t = a->order->told;
	enum { MOST = 6 + ET_TOLD_FACTS_MAX + ET_TOLD_TAGS_MAX };
	struct et_meta_item *items = calloc(MOST, sizeof(*items));
	char(*texts)[96] = calloc(2 * ET_TOLD_FACTS_MAX, sizeof(*texts));
	const struct {
		const char *key, *value;
		uint8_t party;
	} rows[] = { { "number", t->from, 0 },	      { "number", t->to, 1 },
		     { "sip-call-id", t->call, 255 }, { "told-agent", t->agent, 255 },
		     { "told-site", t->site, 255 },   { "told-direction", t->direction, 255 } };
	size_t count = 0;

	if (items == NULL || texts == NULL) {
		free(items);
		free(texts);
		return et_fail(&a->error, -ENOMEM, "metadata of a tape");
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		if (rows[i].value[0] != '\0') {
			fact_set(a, &items[count++], rows[i].party, rows[i].key, rows[i].value);
		}
	}
	for (size_t i = 0; i < t->fact_count; i++) {
		const struct et_told_fact *f = &t->facts[i];
		char *number = texts[2 * i + 1];
		(void)snprintf(texts[2 * i], sizeof(texts[0]), "told:%s", f->key);
		(void)snprintf(number, sizeof(texts[0]), "%" PRId64, f->number);
		fact_set(a, &items[count++], 255, texts[2 * i],
			 f->type == ET_TOLD_TEXT ? f->text : number);
	}
	for (size_t i = 0; i < t->tag_count; i++) {
		fact_set(a, &items[count++], 255, "told-tag", t->tags[i]);
	}
	int rc = count > 0 ? append_meta(a, items, count) : 0;
	free(items);
	free(texts);
	return rc;
}

/* ---- The tape ---- */

/* As a recorder names it: by the day on which it began. */
static int tape_path(struct audio *a, const uint8_t id[16], char ret[IMPORT_PATH_MAX])
{
	char text[ET_UUID_TEXT_SIZE];
	struct tm tm = { 0 };
	const time_t seconds = (time_t)(a->t0_us / 1000000);

	if (gmtime_r(&seconds, &tm) == NULL) {
		memset(&tm, 0, sizeof(tm));
	}
	et_uuid_format(id, text);
	(void)snprintf(a->segment->file, sizeof(a->segment->file),
		       "tapes/%04d/%02d/%02d/%s-g1-s1.evtm", (tm.tm_year + 1900) % 10000,
		       (tm.tm_mon + 1) % 100, tm.tm_mday % 100, text);
	import_job_path(a->m, a->segment->file, ret);
	return et_file_mkdirs_of(ret, &a->error);
}

static int tape_begin(struct audio *a)
{
	struct et_tape_header *h = &a->segment->header;
	char path[IMPORT_PATH_MAX];

	*h = (struct et_tape_header){
		.generation = 1,
		.segment = 1,
		.kek_id = a->config->kek_id,
		.kek_version = a->config->kek_version,
		.node = a->config->node,
		.t0_us = a->t0_us,
	};
	et_file_recording_id(a->order->sha256, 1, h->recording);
	et_random(&h->dek_id, sizeof(h->dek_id));
	a->course = et_tape_state_new(a->t0_us);
	const struct et_capture_padding *pad = &a->config->padding;
	const bool wanted =
		pad->which == ET_PADDING_ALWAYS ||
		(pad->which == ET_PADDING_AUTO && !et_rtp_codec_is_steady(a->about.codec));
	int rc = a->course == NULL ? et_fail(&a->error, -ENOMEM, "tape") : 0;
	rc = rc < 0 ? rc : et_secret_random(ET_DEK_SIZE, &a->segment->dek, &a->error);
	rc = rc < 0 ? rc : tape_path(a, h->recording, path);
	rc = rc < 0 ? rc : et_tape_create(path, h, a->segment->dek, &a->tape, &a->error);
	if (rc == 0 && wanted) {
		et_tape_pad(a->tape, pad->bytes != 0 ? pad->bytes : ET_TAPE_BLOCK_DEFAULT, 0);
	}
	return rc;
}

static int tape_end(struct audio *a)
{
	const struct et_tape_signer signer = {
		.node = a->config->node,
		.seed = a->config->sign_key,
		.now_us = et_clock_now_us(),
	};
	struct et_buffer plain = { 0 };

	int rc = media_flush(a);
	rc = rc < 0 ? rc : beside_flush(a);
	if (rc == 0 && et_tape_state_write(a->course, &plain) == 0 && !plain.failed) {
		rc = et_tape_end(a->tape, ms_at(a, a->last_us),
				 (struct et_view){ plain.data, plain.size }, &a->error);
	}
	et_buffer_release(&plain);
	rc = rc < 0 ? rc : et_tape_finish(a->tape, &signer, &a->segment->seal, &a->error);
	if (rc == 0 && fsync(et_tape_fd(a->tape)) < 0) {
		rc = et_fail(&a->error, -errno, "sync a tape");
	}
	return rc;
}

/* ---- Of node/medium ---- */

static int on_about(void *arg, const struct et_medium_about *about)
{
	struct audio *a = arg;

	a->about = *about;
	a->m->untimed = about->clock_rate == 0;
	(void)snprintf(a->m->format, sizeof(a->m->format), "%s", about->format);
	int rc = tape_begin(a);
	rc = rc < 0 ? rc : medium_write(a);
	rc = rc < 0 ? rc : streams_write(a);
	return rc < 0 ? rc : told_write(a);
}

static int on_packet(void *arg, const struct et_medium_packet *p)
{
	struct audio *a = arg;
	struct et_media_encoder *e = &a->encoder;
	struct et_capture_stream *s = &a->m->streams[p->stream];
	const struct et_media_packet packet = {
		.stream = p->stream,
		.payload_type = a->about.payload_type,
		.sequence = p->sequence,
		.timestamp = p->timestamp,
		.arrival_us = a->t0_us + p->offset_us,
		.payload = p->payload,
	};

	int rc = beside_flush(a);
	rc = rc < 0 ? rc : second_turn(a, packet.arrival_us);
	if (rc == 0 && e->packets > 0 &&
	    (packet.arrival_us - e->first_us >= RECORD_US ||
	     e->plain.size + p->payload.size + ET_MEDIA_PACKET_OVERHEAD > RECORD_BYTES)) {
		rc = media_flush(a);
	}
	if (rc < 0) {
		return rc;
	}
	et_tape_state_packet(a->course, &packet);
	a->last_us = packet.arrival_us;
	a->bytes += p->payload.size;
	s->first_us = s->packets++ == 0 ? packet.arrival_us : s->first_us;
	s->last_us = packet.arrival_us;
	rc = et_media_encoder_add(e, &packet, ET_TAPE_PLAIN_MAX);
	return rc < 0 ? et_fail(&a->error, rc, "media of a tape") : 0;
}

static int on_bytes(void *arg, struct et_view bytes)
{
	struct audio *a = arg;

	int rc = media_flush(a);
	if (rc == 0 && a->beside.size + bytes.size > BESIDE_BYTES) {
		rc = beside_flush(a);
	}
	if (a->beside.size == 0) {
		a->beside_at = a->bytes;
	}
	et_buffer_add(&a->beside, bytes.data, bytes.size);
	a->bytes += bytes.size;
	return rc == 0 && a->beside.failed ? et_fail(&a->error, -ENOMEM, "tape") : rc;
}

/* Before the packet in which they stand: on_packet() flushes nothing but media. */
static int on_splice(void *arg, uint32_t at, struct et_view bytes)
{
	struct audio *a = arg;
	const struct et_file_item item = { .type = ET_FILE_SPLICE, .offset = at, .bytes = bytes };

	int rc = media_flush(a);
	rc = rc < 0 ? rc : beside_flush(a);
	a->bytes += bytes.size;
	return rc < 0 ? rc : append_file(a, &item);
}

/* ---- The whole ---- */

static int medium_read(struct audio *a, struct import_input *in, struct et_view begin,
		       struct et_medium *medium)
{
	uint8_t *bytes = malloc(READ_BYTES);
	ssize_t n = 0;

	int rc = bytes == NULL ? et_fail(&a->error, -ENOMEM, "import")
			       : et_medium_feed(medium, begin, &a->error);
	while (rc == 0 && (n = import_read(in, bytes, READ_BYTES, &a->error)) > 0) {
		rc = et_medium_feed(medium, (struct et_view){ bytes, (size_t)n }, &a->error);
	}
	rc = rc == 0 && n < 0 ? (int)n : rc;
	rc = rc < 0 ? rc : et_medium_end(medium, &a->error);
	if (bytes != NULL) {
		explicit_bzero(bytes, READ_BYTES);
	}
	free(bytes);
	return rc;
}

/* As a recorder would tell of it. */
static void recording_fill(struct audio *a, int64_t duration_us)
{
	struct et_import *m = a->m;
	const struct et_told *t = a->order->told;

	for (uint32_t i = 0; i < a->about.channels; i++) {
		struct et_capture_stream *s = &m->streams[i];
		s->number = i;
		s->ssrc = i + 1;
		s->party = (uint8_t)i;
		s->payload_type = a->about.payload_type;
		s->clock_hz = a->about.clock_rate;
		(void)snprintf(s->codec, sizeof(s->codec), "%s/%u", a->about.codec,
			       a->about.clock_rate);
		s->codec[a->about.clock_rate == 0 ? strcspn(s->codec, "/") : strlen(s->codec)] =
			'\0';
	}
	m->audio = (struct et_capture_recording){
		.node = a->config->node,
		.site = t->site,
		.start_us = a->t0_us,
		.answer_us = a->t0_us,
		.end_us = a->t0_us + (duration_us > 0 ? duration_us : 1),
		.from = t->from,
		.to = t->to,
		.from_uri = "",
		.to_uri = "",
		.sip_call_id = t->call,
		.rule = "",
		.direction = t->direction,
		.joined = "",
		.problem = m->problem,
		.state = ET_CALL_ANSWERED,
		.streams = m->streams,
		.stream_count = a->about.channels,
	};
	memcpy(m->audio.id, a->segment->header.recording, 16);
	if (!et_uuid_parse(t->call, m->audio.call)) {
		memcpy(m->audio.call, m->audio.id, 16);
	} else {
		m->audio.sip_call_id = "";
	}
	m->recordings[0].captured = &m->audio;
	m->recordings[0].packets = m->streams[0].packets + m->streams[1].packets;
}

static int audio_run(struct audio *a, struct import_input *in, struct et_view begin)
{
	const struct et_medium_sink sink = { on_about, on_packet, on_bytes, on_splice, a };
	ET_CLEANUP(et_medium_freep) struct et_medium *medium = NULL;

	int rc = et_medium_new(&sink, &medium);
	if (rc < 0) {
		return et_fail(&a->error, rc, "import");
	}
	rc = medium_read(a, in, begin, medium);
	rc = rc < 0 ? rc : import_read_end(in, &a->error);
	rc = rc < 0 ? rc : tape_end(a);
	if (rc == 0) {
		a->tape = et_tape_close(a->tape);
		(void)snprintf(a->m->problem, sizeof(a->m->problem), "%s",
			       et_medium_problem(medium));
		recording_fill(a, et_medium_duration_us(medium));
		rc = import_check_audio(a->m, a->segment, a->order->sha256, &a->error);
	}
	return rc;
}

int import_audio(const struct et_import_config *config, struct import_input *in,
		 struct et_view begin, struct et_import *m, struct et_error *reterr)
{
	if (in->order->size_bytes > ET_IMPORT_AUDIO_MAX) {
		return et_fail_plain(reterr, ET_ELIMIT, "an audio file of more than 8 GiB");
	}
	struct audio *a = calloc(1, sizeof(*a));
	m->recordings = calloc(1, sizeof(*m->recordings));
	m->recording_count = m->recordings != NULL;
	struct et_import_segment *segment =
		m->recordings != NULL ? calloc(1, sizeof(*segment)) : NULL;
	if (a == NULL || segment == NULL) {
		free(a);
		return et_fail(reterr, -ENOMEM, "import");
	}
	m->recordings[0] =
		(struct et_import_recording){ .part = 1, .segments = segment, .segment_count = 1 };
	const int64_t told_us = in->order->told->start_us;
	*a = (struct audio){ .config = config, .order = in->order, .m = m, .segment = segment };
	a->t0_us = told_us != 0 ? told_us : in->order->start_us;
	a->last_us = a->checkpoint_us = a->t0_us;
	a->beside.secret = true;
	a->encoder.plain.secret = true;
	int rc = audio_run(a, in, begin);
	if (rc < 0 && reterr != NULL) {
		*reterr = a->error;
	}
	a->tape = et_tape_close(a->tape);
	a->course = et_tape_state_free(a->course);
	et_media_encoder_release(&a->encoder);
	et_buffer_release(&a->beside);
	free(a);
	return rc;
}
