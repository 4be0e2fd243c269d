#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "node/playback/walk_internal.h"

static void note(struct et_playback_summary *s, const struct et_playback_segment *known,
		 const char *text)
{
	if (s->problem[0] == '\0') {
		(void)snprintf(s->problem, sizeof(s->problem), "segment %u: %.200s", known->segment,
			       text);
	}
}

/* ---- The stream table -------------------------------------------------------------------------
 */

/* Text from outside as a C string: cut, without control characters. */
static void copy_text(char *ret, size_t size, struct et_view text)
{
	size_t n = text.size < size - 1 ? text.size : size - 1;

	for (size_t i = 0; i < n; i++) {
		ret[i] = text.data[i] > 0x20 && text.data[i] < 0x7F ? (char)text.data[i] : '?';
	}
	ret[n] = '\0';
}

/* The parameters of a codec; NULL: none, or no memory, and then it is decoded without, or not. */
static char *text_new(struct et_view text)
{
	const size_t size = (text.size < WALK_FMTP_MAX - 1 ? text.size : WALK_FMTP_MAX - 1) + 1;
	char *ret = text.size > 0 ? malloc(size) : NULL;

	if (ret != NULL) {
		copy_text(ret, size, text);
	}
	return ret;
}

static bool name_is_audio(const char *name)
{
	return strcasecmp(name, "telephone-event") != 0 && strcasecmp(name, "CN") != 0;
}

static struct walk_type *stream_type(struct walk_stream *s, uint8_t payload_type)
{
	for (size_t i = 0; i < s->type_count; i++) {
		if (s->types[i].payload_type == payload_type) {
			return &s->types[i];
		}
	}
	return NULL;
}

static void stream_describe(struct walk_stream *s, uint8_t payload_type, struct et_view name,
			    uint32_t clock_rate, uint8_t channels, struct et_view fmtp)
{
	struct walk_type *t = stream_type(s, payload_type);

	if (t == NULL) {
		if (s->type_count == WALK_TYPES_MAX) {
			return; /* Its packets stay exportable, and are counted as not decoded. */
		}
		t = &s->types[s->type_count++];
	}
	free(t->fmtp);
	*t = (struct walk_type){ .payload_type = payload_type, .fmtp = text_new(fmtp) };
	copy_text(t->name, sizeof(t->name), name);
	t->codec = name.size > 0 ? et_codec_find((const char *)name.data, name.size, clock_rate)
				 : et_codec_static(payload_type);
	if (strcasecmp(t->name, "L16") == 0 && channels > 1) {
		t->codec = NULL; /* It would sound half as fast. */
	}
	t->audio = name_is_audio(t->name) && payload_type != 13;
	t->has_voices = channels == 2 && t->codec != NULL && et_codec_has_voices(t->codec);
}

/* The type of a packet, also when no META told of it: static payload types have a meaning. */
static const struct walk_type *packet_type(struct walk_stream *s, uint8_t payload_type)
{
	struct walk_type *t = stream_type(s, payload_type);
	const struct et_codec *codec = et_codec_static(payload_type);

	if (t == NULL && codec != NULL) {
		stream_describe(
			s, payload_type,
			(struct et_view){ (const uint8_t *)codec->name, strlen(codec->name) },
			codec->clock_rate, 1, (struct et_view){ NULL, 0 });
		t = stream_type(s, payload_type);
	} else if (t == NULL && payload_type == 13) {
		stream_describe(s, payload_type, (struct et_view){ (const uint8_t *)"CN", 2 }, 0, 1,
				(struct et_view){ NULL, 0 });
		t = stream_type(s, payload_type);
	}
	return t;
}

static void take_item(struct walk_segment *segment, const struct et_meta_item *item,
		      struct et_playback_summary *summary)
{
	struct walk_stream *s;

	switch (item->type) {
	case ET_META_STREAM:
		s = &segment->streams[item->stream.stream];
		s->described = true;
		s->ssrc = item->stream.ssrc;
		s->party = item->stream.party & 1;
		copy_text(s->src, sizeof(s->src), item->stream.src);
		copy_text(s->dst, sizeof(s->dst), item->stream.dst);
		s->is_protected = item->stream.srtp.size > 0;
		stream_describe(s, item->stream.payload_type, item->stream.codec,
				item->stream.clock_rate, item->stream.channels,
				(struct et_view){ NULL, 0 });
		break;
	case ET_META_CODEC:
		stream_describe(&segment->streams[item->codec.stream], item->codec.payload_type,
				item->codec.codec, item->codec.clock_rate, item->codec.channels,
				item->codec.fmtp);
		break;
	case ET_META_MARK:
		summary->gaps += item->mark.what == ET_MARK_GAP;
		summary->pauses += item->mark.what == ET_MARK_PAUSE;
		break;
	default:
		break;
	}
}

/* ---- Records ----------------------------------------------------------------------------------
 */

int walk_meta(struct walk *w, struct et_view plain, struct et_error *reterr)
{
	struct et_meta_reader r;
	struct et_meta_item item;

	int rc = et_meta_reader_init(&r, plain, reterr);
	while (rc == 0 && (rc = et_meta_reader_next(&r, &item, reterr)) == 1) {
		take_item(w->segment, &item, w->summary);
		rc = 0;
		if (w->visitor->meta != NULL) {
			rc = w->visitor->meta(w->visitor->arg, w->segment, &item, reterr);
			w->stopped = w->stopped || rc < 0;
		}
	}
	return rc;
}

void walk_note_stream(struct walk *w, uint32_t stream)
{
	struct walk_stream *s = &w->segment->streams[stream];

	if (!s->described) {
		s->party = stream & 1;
	}
	if (!s->seen) {
		s->seen = true;
		w->summary->streams++;
		w->summary->streams_protected += s->is_protected;
	}
}

void walk_note_deaf(struct walk *w, struct walk_stream *s, uint64_t count)
{
	w->summary->packets_no_decoder += count;
	w->summary->streams_no_decoder += !s->deaf;
	s->deaf = true;
}

static bool type_is_deaf(const struct walk_type *type)
{
	return type == NULL || (type->audio && type->codec == NULL);
}

const struct walk_type *walk_note_type(struct walk *w, uint32_t stream, uint8_t payload_type)
{
	struct walk_stream *s = &w->segment->streams[stream];

	walk_note_stream(w, stream);
	const struct walk_type *type = packet_type(s, payload_type);
	if (type_is_deaf(type)) {
		walk_note_deaf(w, s, 1); /* At least. */
	}
	return type;
}

static int walk_media(struct walk *w, struct et_view plain, struct et_error *reterr)
{
	struct et_media_decoder d;
	struct et_media_packet p;

	int rc = et_media_decoder_init(&d, plain, reterr);
	while (rc == 0 && (rc = et_media_decoder_next(&d, &p, reterr)) == 1) {
		struct walk_stream *s = &w->segment->streams[p.stream];
		walk_note_stream(w, p.stream);
		const struct walk_type *type = p.rtcp ? NULL : packet_type(s, p.payload_type);
		bool skip = false;
		if (w->visitor->opens && !p.rtcp) {
			rc = walk_protected(w, s, &p, &skip, reterr);
			if (rc < 0) {
				return rc;
			}
		}
		if (!p.rtcp) {
			w->summary->packets++;
			if (!skip && type_is_deaf(type)) {
				walk_note_deaf(w, s, 1);
			}
		}
		rc = 0;
		if (!skip && w->visitor->packet != NULL) {
			rc = w->visitor->packet(w->visitor->arg, w->segment, type, &p, reterr);
			w->stopped = w->stopped || rc < 0;
		}
	}
	return rc;
}

static bool wants_keys(const struct walk *w)
{
	return w->visitor->opens || w->visitor->keys != NULL;
}

static int walk_records(struct walk *w, struct et_tape_reader *reader, struct et_error *reterr)
{
	struct et_tape_record record;

	for (;;) {
		int rc = et_tape_reader_next(reader, &record, reterr);
		if (rc <= 0) {
			return rc;
		}
		w->segment->last_us = w->segment->header->t0_us + (int64_t)record.t_ms * 1000;
		if (record.kind == ET_TAPE_META) {
			rc = walk_meta(w, record.plain, reterr);
		} else if (record.kind == ET_TAPE_MEDIA) {
			rc = walk_media(w, record.plain, reterr);
		} else if (record.kind == ET_TAPE_KEYS) {
			rc = wants_keys(w) ? walk_keys(w, record.plain, reterr) : 0;
		} else if (record.kind == ET_TAPE_FILE && w->visitor->file != NULL) {
			rc = w->visitor->file(w->visitor->arg, record.plain, reterr);
		} else {
			rc = 0; /* Checkpoints, kinds of later versions: nothing to hear in them. */
		}
		if (rc < 0) {
			return rc;
		}
	}
}

/* ---- Segments ---------------------------------------------------------------------------------
 */

static bool is_set(const uint8_t hash[32])
{
	static const uint8_t zero[32];
	return memcmp(hash, zero, 32) != 0;
}

static struct et_tape_expect expectation(const struct et_playback_config *config,
					 const struct et_playback_segment *known)
{
	return (struct et_tape_expect){
		.recording = config->recording,
		.generation = known->generation,
		.segment = known->segment,
		.header_hash = is_set(known->header_hash) ? known->header_hash : NULL,
		.root = known->has_root ? known->root : NULL,
		.seal_hash = is_set(known->seal_hash) ? known->seal_hash : NULL,
		.object_hash = is_set(known->object_hash) ? known->object_hash : NULL,
	};
}

/* Is this the tape that the catalogue means? With `verify`, all of it; else header and footer. */
static int check_tape(const struct et_playback_config *config,
		      const struct et_playback_segment *known, const struct et_tape_source *source,
		      struct et_tape_header *ret, struct et_error *reterr)
{
	const struct et_tape_expect expect = expectation(config, known);
	struct et_tape_report report;
	struct et_tape_seal seal;

	if (config->verify) {
		int rc = et_tape_verify(source, &expect, &report, reterr);
		*ret = report.header;
		/* An open tape has no root to compare: records show their own worth. */
		return rc == ET_ETRUNCATED && report.has_header && !known->has_root ? 0 : rc;
	}
	int rc = et_tape_footer_read(source, ret, &seal, reterr);
	if (rc == ET_ETRUNCATED && source->size >= ET_TAPE_HEADER_SIZE && !known->has_root) {
		rc = 0;
	} else if (rc == 0 && known->has_root && memcmp(seal.root, known->root, 32) != 0) {
		rc = et_fail_plain(reterr, ET_EINTEGRITY,
				   "its root is not the one in the "
				   "catalogue");
	} else if (rc == 0 && expect.seal_hash != NULL &&
		   memcmp(seal.seal_hash, expect.seal_hash, 32) != 0) {
		rc = et_fail_plain(reterr, ET_EINTEGRITY,
				   "its footer is not the one in the catalogue");
	}
	if (rc == 0 &&
	    (memcmp(ret->recording, config->recording, 16) != 0 ||
	     ret->generation != known->generation || ret->segment != known->segment ||
	     (expect.header_hash != NULL && memcmp(ret->hash, expect.header_hash, 32) != 0))) {
		rc = et_fail_plain(reterr, ET_EINTEGRITY,
				   "it is another tape than the catalogue says");
	}
	return rc;
}

/* Ready for the next segment. */
static void segment_clear(struct walk_segment *segment)
{
	for (size_t i = 0; i < ET_PLAYBACK_STREAMS_MAX; i++) {
		struct walk_stream *s = &segment->streams[i];
		et_srtp_stream_release(&s->opening);
		for (size_t k = 0; k < s->type_count; k++) {
			free(s->types[k].fmtp);
		}
	}
	memset(segment, 0, sizeof(*segment));
}

/* Of a segment of keys that came late. */
static int read_keys(struct walk *w, const struct et_tape_source *source,
		     const struct et_secret *dek, struct et_error *reterr)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *reader = NULL;
	struct et_tape_record record;

	int rc = et_tape_reader_new(source, dek, &reader, reterr);
	while (rc == 0 && (rc = et_tape_reader_next(reader, &record, reterr)) == 1) {
		rc = record.kind == ET_TAPE_KEYS ? walk_keys(w, record.plain, reterr) : 0;
	}
	return rc;
}

/* Is nothing of this segment wanted? Then it is there for the clocks and the summary. */
static bool is_passed(const struct walk *w, const struct et_playback_segment *known)
{
	const struct et_playback_segment *end = w->config->segments + w->config->segment_count;
	const struct et_playback_segment *next = known + 1;
	const int64_t from_us = w->visitor->from_us;

	while (next < end && et_keys_segment(next->segment)) {
		next++;
	}
	return from_us == INT64_MAX || (next < end && next->t0_us <= from_us);
}

/* The part of a tape that the visitor wants. */
static int walk_tape(struct walk *w, struct et_tape_reader *reader, bool passed,
		     struct et_error *reterr)
{
	const struct et_tape_seal *seal = et_tape_reader_seal(reader);
	const int64_t t0_us = w->segment->header->t0_us;
	const int64_t from_us = w->visitor->from_us;
	int rc = 0;

	if (passed || from_us > t0_us) {
		const int64_t ms = passed ? 0 : (from_us - t0_us) / 1000;
		rc = walk_seek(w, reader, passed, ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX,
			       reterr);
	}
	if (rc == 0 || rc == 1) {
		rc = walk_records(w, reader, reterr);
	}
	if (seal != NULL) {
		w->segment->last_us = t0_us + (int64_t)seal->last_ms * 1000;
	}
	return rc < 0 ? rc : 0;
}

static int play_tape(struct walk *w, const struct et_playback_segment *known,
		     const struct et_tape_source *source, const struct et_tape_header *header,
		     const struct et_secret *dek, struct et_error *reterr)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *reader = NULL;
	struct et_playback_summary *s = w->summary;

	int rc = et_tape_reader_new(source, dek, &reader, reterr);
	if (rc < 0) {
		return rc;
	}
	const struct et_tape_seal *seal = et_tape_reader_seal(reader);
	s->segments_unsealed += seal == NULL;
	s->segments_recovered += seal != NULL && (seal->flags & ET_TAPE_RECOVERED) != 0;
	segment_clear(w->segment);
	w->segment->known = known;
	w->segment->header = header;
	w->source = source;
	w->dek = dek;
	w->looked_ahead = false;
	if (w->visitor->begin != NULL) {
		rc = w->visitor->begin(w->visitor->arg, w->segment, reterr);
		if (rc < 0) {
			w->stopped = true;
			return rc;
		}
	}
	rc = walk_tape(w, reader, is_passed(w, known), reterr);
	if (w->stopped || w->visitor->end == NULL) {
		return rc;
	}
	int ended = w->visitor->end(w->visitor->arg, w->segment, reterr);
	w->stopped = ended < 0;
	return ended < 0 ? ended : rc;
}

/* One segment. A negative result with w->stopped ends all; without it, it was counted and said. */
static int walk_segment(struct walk *w, const struct et_playback_segment *known,
			struct et_error *reterr)
{
	const struct et_playback_supply *supply = &w->config->supply;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	struct et_playback_summary *s = w->summary;
	struct et_tape_source source = { 0 };
	struct et_tape_header header;

	s->segments++;
	int rc = supply->open_segment(supply->arg, known, &source, reterr);
	if (rc < 0) {
		s->segments_missing++;
		return rc;
	}
	rc = check_tape(w->config, known, &source, &header, reterr);
	if (rc < 0) {
		s->segments_damaged++;
	} else {
		rc = supply->open_key(supply->arg, &header, &dek, reterr);
		if (rc == 0) {
			rc = et_keys_segment(known->segment)
				     ? read_keys(w, &source, dek, reterr)
				     : play_tape(w, known, &source, &header, dek, reterr);
		}
		if (rc == ET_ENOKEY || (rc < 0 && dek == NULL)) {
			s->segments_no_key++;
		} else if (rc < 0 && !w->stopped) {
			s->segments_damaged++;
		}
	}
	supply->close_segment(supply->arg, &source);
	return rc;
}

int et_playback_walk(const struct et_playback_config *config, const struct walk_visitor *visitor,
		     struct et_playback_summary *ret, struct et_error *reterr)
{
	struct et_error e = { 0 };
	size_t played = 0;
	int first = 0;

	*ret = (struct et_playback_summary){ 0 };
	if (config->segment_count == 0 || config->segment_count > ET_PLAYBACK_SEGMENTS_MAX) {
		return et_fail(reterr, config->segment_count == 0 ? ET_ENOTFOUND : ET_ELIMIT,
			       "recording of %zu segments", config->segment_count);
	}
	struct walk_segment *segment = calloc(1, sizeof(*segment));
	if (segment == NULL) {
		return et_fail(reterr, -ENOMEM, "playback");
	}
	struct walk w = {
		.config = config, .visitor = visitor, .summary = ret, .segment = segment
	};
	for (size_t i = 0; i < config->segment_count && wants_keys(&w); i++) {
		const struct et_playback_segment *s = &config->segments[i];
		if (et_keys_segment(s->segment) && walk_segment(&w, s, &e) < 0) {
			note(ret, s, e.text); /* what it opens is closed, and says so */
		}
	}
	for (size_t i = 0; i < config->segment_count && !w.stopped; i++) {
		const uint64_t before = ret->packets;
		if (et_keys_segment(config->segments[i].segment)) {
			continue;
		}
		int rc = walk_segment(&w, &config->segments[i], &e);
		played += rc == 0 || ret->packets > before;
		first = first == 0 ? rc : first;
		if (rc < 0 && !w.stopped) {
			note(ret, &config->segments[i], e.text);
		}
		if (w.stopped) {
			first = rc;
		}
	}
	if (ret->streams_closed > 0 && ret->problem[0] == '\0') {
		(void)snprintf(ret->problem, sizeof(ret->problem),
			       "%u streams are protected (SRTP) and no key that is known opens %s",
			       ret->streams_closed, ret->streams_closed == 1 ? "it" : "them");
	}
	segment_clear(segment);
	free(segment);
	walk_protected_release(&w);
	if (w.stopped || played == 0) {
		if (reterr != NULL) {
			*reterr = e;
		}
		return first;
	}
	return 0;
}
