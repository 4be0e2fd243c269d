#include "node/medium/medium.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/medium/medium_internal.h"

#define DAY_US INT64_C(86400000000)

enum { BESIDE_MAX = 4096 }; /* bytes between frames: tags at the end have less */

/* ---- What it is ---- */

static bool begins(struct et_view v, size_t at, const char *text, size_t size)
{
	return v.size >= at + size && memcmp(v.data + at, text, size) == 0;
}

bool et_medium_is_capture(struct et_view v)
{
	static const char magics[][5] = {
		"\xA1\xB2\xC3\xD4", "\xD4\xC3\xB2\xA1", "\xA1\xB2\x3C\x4D",
		"\x4D\x3C\xB2\xA1", "\x0A\x0D\x0D\x0A",
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(magics); i++) {
		if (begins(v, 0, magics[i], 4)) {
			return true;
		}
	}
	return false;
}

/* The name of a format that is kept as it is, or NULL. */
static const char *other_name(struct et_view v)
{
	static const struct {
		size_t at;
		const char *magic;
		const char *name;
	} rows[] = {
		{ 4, "ftyp", "MP4" },
		{ 0, "#!AMR", "AMR-FILE" },
		{ 0, "caff", "CAF" },
		{ 0, "riff\x2E\x91\xCF\x11\xA5\xD6\x28\xDB", "W64" },
		{ 0, "\x30\x26\xB2\x75\x8E\x66\xCF\x11", "ASF" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		if (begins(v, rows[i].at, rows[i].magic, strlen(rows[i].magic))) {
			return rows[i].name;
		}
	}
	return NULL;
}

static void about_other(const char *format, const char *codec, struct et_medium_about *ret)
{
	*ret = (struct et_medium_about){
		.kind = ET_MEDIUM_OTHER,
		.payload_type = 127,
		.channels = 1,
		.voices = 1,
		.sample_bytes = 1,
	};
	(void)snprintf(ret->format, sizeof(ret->format), "%s", format);
	(void)snprintf(ret->codec, sizeof(ret->codec), "%s", codec);
}

/* 1: known; 0: more bytes are needed; -1: no audio that is known. */
static int pcm_know(struct et_medium *m, struct et_view v, bool last,
		    int (*read)(struct et_view begin, struct pcm_head *ret), const char *codec)
{
	struct pcm_head head;
	const int rc = read(v, &head);

	if (rc == 0 && !last) {
		return 0;
	}
	if (rc != 1) {
		about_other(head.about.format, codec, &m->about);
		return 1;
	}
	m->about = head.about;
	m->skip = head.head_bytes;
	m->data_left = head.data_bytes;
	m->to_the_end = head.to_the_end;
	m->frame_bytes = head.frame_bytes;
	m->frame_samples = head.frame_samples;
	return 1;
}

/* Of a reader of compressed audio: what it could not find out is kept as it is. */
static int known_or_other(struct et_medium *m, int rc, bool last, const char *codec)
{
	if (rc == -1 || (rc == 0 && last)) {
		m->skip = 0;
		char format[sizeof(m->about.format)];
		memcpy(format, m->about.format, sizeof(format));
		about_other(format[0] != '\0' ? format : codec, codec, &m->about);
		return 1;
	}
	return rc;
}

/* Where two frames follow each other, from `at` on: there the first one is. */
static int mp3_first(struct et_view v, size_t at, bool only_here, bool last, struct mp3_frame *ret)
{
	struct mp3_frame next;

	for (; v.size - at >= MP3_HEAD; at++) {
		if (mp3_frame_read(v.data + at, ret)) {
			if (v.size - at < ret->size + MP3_HEAD) {
				return last ? v.size - at >= ret->size : 0;
			}
			if (mp3_frame_read(v.data + at + ret->size, &next) &&
			    next.key == ret->key) {
				return 1;
			}
		}
		if (only_here) {
			return -1;
		}
	}
	return last ? -1 : 0;
}

static int mp3_know(struct et_medium *m, struct et_view v, bool last)
{
	struct mp3_frame frame;
	const uint64_t tag = v.size >= MP3_TAG_HEAD ? mp3_tag_size(v.data) : 0;
	int rc = 0;

	if (tag < v.size) {
		rc = mp3_first(v, (size_t)tag, tag == 0, last, &frame);
	}
	if (rc == 0 && !last) {
		return 0;
	}
	if (rc != 1) { /* a tag, and what is behind it is not found out */
		about_other("MP3, no frame found", "MP3-FILE", &m->about);
		return tag > 0 ? 1 : -1;
	}
	m->about = (struct et_medium_about){
		.kind = ET_MEDIUM_MP3,
		.format = "MP3",
		.codec = "MP3",
		.payload_type = 98,
		.clock_rate = frame.rate,
		.channels = 1,
		.voices = (uint8_t)frame.channels,
		.sample_bytes = 1,
	};
	m->first = frame;
	m->skip = tag;
	m->in_step = tag == 0;
	return 1;
}

static int know(struct et_medium *m, struct et_view v, bool last)
{
	const char *other;

	if (v.size < 12 && !last) {
		return 0;
	}
	if (et_medium_is_capture(v)) {
		m->about.kind = ET_MEDIUM_CAPTURE;
		return -1;
	}
	if (riff_is(v)) {
		return pcm_know(m, v, last, riff_read, "WAV");
	}
	if (aiff_is(v)) {
		return pcm_know(m, v, last, aiff_read, "AIFF");
	}
	if (au_is(v)) {
		return pcm_know(m, v, last, au_read, "AU");
	}
	if (begins(v, 0, "fLaC", 4)) {
		m->skip = 4;
		return known_or_other(m, flac_know(v, &m->about, &m->flac.info), last, "FLAC");
	}
	if (begins(v, 0, "OggS", 4)) {
		return known_or_other(m, ogg_know(v, &m->about, &m->ogg), last, "OGG");
	}
	other = other_name(v);
	if (other != NULL) {
		about_other(other, other, &m->about);
		return 1;
	}
	if (begins(v, 0, "ID3", 3) || (v.size >= MP3_HEAD && v.data[0] == 0xFF)) {
		return mp3_know(m, v, last);
	}
	return -1;
}

/* ---- Bytes ---- */

int medium_bytes(struct et_medium *m, const uint8_t *data, size_t size)
{
	int rc = 0;

	while (size > 0 && rc == 0) {
		const size_t n = size < MEDIUM_PIECE ? size : MEDIUM_PIECE;
		rc = m->sink.bytes(m->sink.arg, (struct et_view){ data, n });
		data += n;
		size -= n;
	}
	return rc;
}

static ssize_t other_take(struct et_medium *m, struct et_view held, bool last)
{
	size_t at = 0;
	int rc = 0;

	while (at < held.size && rc == 0 && (last || held.size - at >= MEDIUM_PIECE)) {
		const size_t left = held.size - at;
		const size_t n = left < MEDIUM_PIECE ? left : MEDIUM_PIECE;
		const struct et_medium_packet p = { .sequence = m->sequence++,
						    .payload = { held.data + at, n } };
		rc = m->sink.packet(m->sink.arg, &p);
		at += n;
	}
	return rc < 0 ? rc : (ssize_t)at;
}

static ssize_t take(struct et_medium *m, struct et_view held, bool last)
{
	if (m->skip > 0) {
		const size_t n = held.size < m->skip ? held.size : (size_t)m->skip;
		m->skip -= n;
		int rc = medium_bytes(m, held.data, n);
		return rc < 0 ? rc : (ssize_t)n;
	}
	switch ((int)m->about.kind) {
	case ET_MEDIUM_PCM:
		return pcm_take(m, held, last);
	case ET_MEDIUM_MP3:
		return mp3_take(m, held, last);
	case ET_MEDIUM_FLAC:
		return flac_take(m, held, last);
	case ET_MEDIUM_OGG:
		return ogg_take(m, held, last);
	default:
		return other_take(m, held, last);
	}
}

static int take_all(struct et_medium *m, bool last)
{
	size_t at = 0;

	while (at < m->held.size) {
		ssize_t n = take(m, (struct et_view){ m->held.data + at, m->held.size - at }, last);
		if (n < 0) {
			return (int)n;
		}
		if (n == 0) {
			break;
		}
		at += (size_t)n;
	}
	et_assert(!last || at == m->held.size);
	memmove(m->held.data, m->held.data + at, m->held.size - at);
	m->held.size -= at;
	return 0;
}

static int step(struct et_medium *m, bool last, struct et_error *reterr)
{
	if (!m->known) {
		const struct et_view v = { m->held.data, m->held.size < ET_MEDIUM_PEEK
								 ? m->held.size
								 : ET_MEDIUM_PEEK };
		const bool all = last || v.size == ET_MEDIUM_PEEK;
		if (!all && v.size < m->look_at) {
			return 0;
		}
		int rc = know(m, v, all);
		if (rc == 0) { /* when there is twice as much: not again for each byte that comes */
			m->look_at = 2 * v.size;
			return 0;
		}
		if (rc == -ENOMEM) {
			return et_fail(reterr, rc, "medium");
		}
		if (rc < 0) {
			return et_fail_plain(reterr, ET_EUNSUPPORTED,
					     m->about.kind == ET_MEDIUM_CAPTURE
						     ? "a capture file, where audio was expected"
						     : "no audio file that is known");
		}
		m->known = true;
		rc = m->sink.about(m->sink.arg, &m->about);
		if (rc < 0) {
			return rc;
		}
	}
	return take_all(m, last);
}

/* ---- Life ---- */

int et_medium_new(const struct et_medium_sink *sink, struct et_medium **ret)
{
	struct et_medium *m = calloc(1, sizeof(*m));
	if (m == NULL) {
		return -ENOMEM;
	}
	m->sink = *sink;
	m->held.secret = true;
	*ret = m;
	return 0;
}

struct et_medium *et_medium_free(struct et_medium *m)
{
	if (m != NULL) {
		et_buffer_release(&m->held);
		(void)ogg_free(m->ogg);
		explicit_bzero(m, sizeof(*m));
		free(m);
	}
	return NULL;
}

int et_medium_feed(struct et_medium *m, struct et_view bytes, struct et_error *reterr)
{
	et_buffer_add(&m->held, bytes.data, bytes.size);
	return m->held.failed ? et_fail(reterr, -ENOMEM, "medium") : step(m, false, reterr);
}

__attribute__((format(printf, 2, 3))) static void note(struct et_medium *m, const char *format, ...)
{
	va_list list;

	if (m->problem[0] == '\0') {
		va_start(list, format);
		(void)vsnprintf(m->problem, sizeof(m->problem), format, list);
		va_end(list);
	}
}

/* What is heard, and what the file says of it. */
static void say_samples(struct et_medium *m, uint64_t said)
{
	if (said != 0 && said != m->played) {
		note(m, "the file says that it has %" PRIu64 " samples; %" PRIu64 " are in it",
		     said, m->played);
	}
}

static void say_ogg(struct et_medium *m)
{
	if (m->ogg->missing > 0) {
		note(m,
		     "%" PRIu64 " pages of the file are damaged or missing: %" PRIu64
		     " samples are silence",
		     m->ogg->lost, m->ogg->missing);
	} else if (m->ogg->lost > 0) {
		note(m, "%" PRIu64 " pages of the file are damaged or missing", m->ogg->lost);
	}
	if (m->ogg->chained) {
		note(m, "another stream follows the first one: it is kept, not heard");
	}
	if (!m->ogg->over) {
		note(m, "the file ends before its last page");
	}
	say_samples(m, m->ogg->said);
}

static void say(struct et_medium *m)
{
	if (m->about.kind == ET_MEDIUM_OTHER) {
		note(m, "kept as it is (%s): nothing here plays it", m->about.format);
	} else if (m->about.kind == ET_MEDIUM_PCM && m->data_left > 0 && !m->to_the_end) {
		note(m, "the file ends before its header says");
	} else if (m->about.kind == ET_MEDIUM_OGG) {
		say_ogg(m);
	} else if (m->beside > BESIDE_MAX) {
		note(m, "%" PRIu64 " bytes of the file are no %s frame", m->beside,
		     m->about.format);
	}
	if (m->flac.missing > 0) {
		note(m, "%" PRIu64 " samples are missing or damaged: they are silence",
		     m->flac.missing);
	}
	if (m->about.kind == ET_MEDIUM_FLAC) {
		say_samples(m, m->flac.info.samples);
	}
	if (et_medium_duration_us(m) > DAY_US) {
		note(m, "longer than 24 hours: what lies behind them is kept, not heard");
	}
}

int et_medium_end(struct et_medium *m, struct et_error *reterr)
{
	int rc = step(m, true, reterr);

	rc = rc == 0 && m->ogg != NULL ? ogg_end(m) : rc;
	say(m);
	return rc;
}

int64_t et_medium_duration_us(const struct et_medium *m)
{
	const uint64_t rate = m->about.clock_rate;

	return rate == 0
		       ? 0
		       : (int64_t)(m->played / rate * 1000000 + m->played % rate * 1000000 / rate);
}

const char *et_medium_problem(const struct et_medium *m)
{
	return m->problem;
}
