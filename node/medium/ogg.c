/* Ogg (RFC 3533) with one stream of Opus (RFC 7845) or Vorbis (Vorbis I, appendix A). Numbers are
 * little-endian.
 *
 *   page := "OggS" | version 1 | flags 1 | granule 8 | serial 4 | number 4 | CRC 4 | count 1
 *           | a length a segment 1 * count | segments
 *
 * A packet is segments up to the first one that is shorter than 255; it may go on in the next page
 * of its stream: then what stands between is spliced into its payload. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/medium/medium_internal.h"

enum {
	PAGE_HEAD = 27,
	PAGE_GOES_ON = 1, /* flags: it begins within a packet */
	PAGE_FIRST = 2,
	PAGE_LAST = 4,
	LACING = 255,
	RATE = 48000,	     /* of Opus */
	OPUS_HEAD = 19,	     /* bytes */
	OPUS_UNIT = 120,     /* samples: 2.5 ms, the shortest frame */
	OPUS_SAMPLES = 5760, /* of a packet, at most */
	VORBIS_HEADS = 3,
	OPUS_HEADS = 2,
	BETWEEN_MAX = 65536, /* bytes of the file within a packet */
	FAILURES_MAX = 256,
	GAP_MAX_S = 3600, /* more than that is no gap, but a wrong number */
};

/* ---- Pages ---- */

struct page {
	const uint8_t *head; /* a view: its head, the segments behind it */
	size_t head_size;
	size_t size; /* of all */
	uint8_t flags;
	int64_t granule; /* -1: no packet ends in it */
	uint32_t serial;
	uint32_t number;
};

static uint32_t little32(const uint8_t *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

/* x^32 + ... as in Ethernet, from the highest bit, from 0; the sum itself counts as zeros. */
static uint32_t crc32_of(const uint8_t *p, size_t size)
{
	static const uint32_t table[16] = {
		0x00000000, 0x04C11DB7, 0x09823B6E, 0x0D4326D9, 0x130476DC, 0x17C56B6B,
		0x1A864DB2, 0x1E475005, 0x2608EDB8, 0x22C9F00F, 0x2F8AD6D6, 0x2B4BCB61,
		0x350C9B64, 0x31CD86D3, 0x3C8EA00A, 0x384FBDBD,
	};
	uint32_t crc = 0;

	for (size_t i = 0; i < size; i++) {
		const uint8_t byte = i >= 22 && i < 26 ? 0 : p[i];
		crc = crc << 4 ^ table[crc >> 28 ^ byte >> 4];
		crc = crc << 4 ^ table[crc >> 28 ^ (byte & 15)];
	}
	return crc;
}

/* 1: a whole page; 0: more bytes are needed; -1: none here; -2: one that is damaged. */
static int page_read(struct et_view v, struct page *ret)
{
	const uint8_t *p = v.data;

	if (memcmp(p, "OggS", v.size < 4 ? v.size : 4) != 0 || (v.size > 4 && p[4] != 0)) {
		return -1;
	}
	if (v.size < PAGE_HEAD || v.size < (size_t)PAGE_HEAD + p[26]) {
		return 0;
	}
	*ret = (struct page){ .head = p,
			      .head_size = (size_t)PAGE_HEAD + p[26],
			      .flags = p[5],
			      .granule =
				      (int64_t)((uint64_t)little32(p + 10) << 32 | little32(p + 6)),
			      .serial = little32(p + 14),
			      .number = little32(p + 18) };
	ret->size = ret->head_size;
	for (size_t i = PAGE_HEAD; i < ret->head_size; i++) {
		ret->size += p[i];
	}
	if (v.size < ret->size) {
		return 0;
	}
	return crc32_of(p, ret->size) == little32(p + 22) ? 1 : -2;
}

/* The next piece of a packet within a page. Before the first one *segment is PAGE_HEAD and *at the
 * end of the head. False: there is none. */
static bool piece_next(const struct page *page, size_t *segment, size_t *at, struct et_view *ret,
		       bool *ret_ends)
{
	const size_t begin = *at;
	uint8_t length = LACING;

	if (*segment == page->head_size) {
		return false;
	}
	while (*segment < page->head_size && length == LACING) {
		length = page->head[(*segment)++];
		*at += length;
	}
	*ret = (struct et_view){ page->head + begin, *at - begin };
	*ret_ends = length < LACING;
	return true;
}

/* ---- What it is ---- */

/* Streams of a voice each that a packet has: 1, or 2 (left, right) of which none is coupled; 0: it
 * is not played (RFC 7845, section 5.1.1). */
static unsigned opus_streams(struct et_view head)
{
	const uint8_t *p = head.data;
	const uint8_t channels = p[9];

	if (channels < 1 || channels > 2 || p[18] > 1) {
		return 0;
	}
	if (p[18] == 0 || (head.size > OPUS_HEAD && p[19] == 1)) {
		return 1;
	}
	return channels == 2 && head.size >= OPUS_HEAD + 4 && p[19] == 2 && p[20] == 0 &&
			       p[21] == 0 && p[22] == 1
		       ? 2
		       : 0;
}

/* Section 5.1 of RFC 7845. *ret has a state already. */
static bool opus_describe(struct et_view head, struct et_medium_about *ret, struct ogg_state *o)
{
	const uint8_t *p = head.data;

	(void)snprintf(ret->format, sizeof(ret->format), "Ogg Opus");
	if (head.size < OPUS_HEAD || (p[8] & 0xF0) != 0) {
		return false;
	}
	const uint8_t channels = p[9];
	const unsigned streams = opus_streams(head);
	const int gain = (int16_t)(uint16_t)(p[17] << 8 | p[16]);
	if (streams == 0) {
		(void)snprintf(ret->format, sizeof(ret->format), "Ogg Opus %u ch", channels);
		return false;
	}
	o->is_opus = true;
	o->heads_left = OPUS_HEADS;
	o->skip = (uint32_t)p[11] << 8 | p[10];
	o->total = -(int64_t)o->skip;
	o->early_left = (o->skip + OPUS_UNIT - 1) / OPUS_UNIT;
	(void)snprintf(ret->codec, sizeof(ret->codec), "OGG-OPUS");
	ret->payload_type = 106;
	ret->clock_rate = RATE;
	ret->voices = channels;
	if (gain != 0 || streams != 1) {
		(void)snprintf(o->fmtp, sizeof(o->fmtp), "gain=%d%s", gain,
			       streams == 2 ? "; streams=2" : "");
	}
	return true;
}

/* The third header says how long packets are. -ENOMEM; 0: it is not played. */
static int vorbis_describe(struct et_view identity, struct et_view setup,
			   struct et_medium_about *ret, struct ogg_state *o)
{
	(void)snprintf(ret->format, sizeof(ret->format), "Ogg Vorbis");
	int rc = et_vorbis_new(identity, setup, &o->vorbis);
	if (rc < 0) {
		return rc == -ENOMEM ? rc : 0;
	}
	const uint32_t rate = et_vorbis_rate(o->vorbis);
	const uint32_t channels = et_vorbis_channels(o->vorbis);
	if (channels > 2 || !medium_rate_is_played(rate)) {
		(void)snprintf(ret->format, sizeof(ret->format), "Ogg Vorbis %u Hz %u ch", rate,
			       channels);
		return 0;
	}
	o->heads_left = VORBIS_HEADS;
	o->early_left = 1;
	et_vorbis_fmtp(identity, setup, o->fmtp);
	(void)snprintf(ret->codec, sizeof(ret->codec), "VORBIS");
	ret->payload_type = 107;
	ret->clock_rate = rate;
	ret->voices = (uint8_t)channels;
	return 1;
}

/* The headers of the first stream: packets of its first pages. */
struct heads {
	struct et_buffer packet; /* the one at hand */
	struct et_buffer identity;
	uint32_t count;
};

static int head_take(struct heads *h, struct et_medium_about *ret, struct ogg_state *o)
{
	const struct et_view v = { h->packet.data, h->packet.size };

	if (h->packet.failed || h->identity.failed) {
		return -ENOMEM;
	}
	if (h->count++ == 0) {
		if (v.size >= 8 && memcmp(v.data, "OpusHead", 8) == 0) {
			return opus_describe(v, ret, o) ? 1 : -1;
		}
		if (v.size != ET_VORBIS_IDENTITY_SIZE || memcmp(v.data, "\1vorbis", 7) != 0) {
			const bool is_speex = v.size >= 8 && memcmp(v.data, "Speex   ", 8) == 0;
			const bool is_flac = v.size >= 5 && memcmp(v.data,
								   "\x7F"
								   "FLAC",
								   5) == 0;
			(void)snprintf(ret->format, sizeof(ret->format), "Ogg%s",
				       is_speex	 ? " Speex"
				       : is_flac ? " FLAC"
						 : "");
			return -1;
		}
		et_buffer_add(&h->identity, v.data, v.size);
		return 0;
	}
	if (h->count < VORBIS_HEADS) {
		return 0;
	}
	int rc = vorbis_describe((struct et_view){ h->identity.data, h->identity.size }, v, ret, o);
	return rc == 0 ? -1 : rc;
}

static int heads_read(struct et_view v, struct heads *h, struct et_medium_about *ret,
		      struct ogg_state *o)
{
	struct page page;
	struct et_view piece;
	size_t begin = 0;
	bool ends;

	while (begin < v.size) {
		int rc = page_read((struct et_view){ v.data + begin, v.size - begin }, &page);
		if (rc != 1) {
			return rc < 0 ? -1 : 0;
		}
		if (begin == 0) {
			o->serial = page.serial;
		}
		size_t segment = PAGE_HEAD;
		size_t at = page.head_size;
		while (page.serial == o->serial &&
		       piece_next(&page, &segment, &at, &piece, &ends)) {
			et_buffer_add(&h->packet, piece.data, piece.size);
			rc = ends ? head_take(h, ret, o) : 0;
			if (rc != 0) {
				return rc;
			}
			h->packet.size = ends ? 0 : h->packet.size;
		}
		begin += page.size;
	}
	return 0;
}

int ogg_know(struct et_view begin, struct et_medium_about *ret, struct ogg_state **ret_state)
{
	struct ogg_state *o = calloc(1, sizeof(*o));
	struct heads heads = { .count = 0 };

	*ret = (struct et_medium_about){ .kind = ET_MEDIUM_OTHER,
					 .format = "Ogg",
					 .channels = 1,
					 .voices = 1,
					 .sample_bytes = 1 };
	if (o == NULL) {
		return -ENOMEM;
	}
	o->part.secret = o->between.secret = true;
	int rc = heads_read(begin, &heads, ret, o);
	et_buffer_release(&heads.packet);
	et_buffer_release(&heads.identity);
	if (rc != 1) {
		(void)ogg_free(o);
		return rc;
	}
	ret->kind = ET_MEDIUM_OGG;
	ret->fmtp = o->fmtp[0] != '\0' ? o->fmtp : NULL;
	*ret_state = o;
	return 1;
}

struct ogg_state *ogg_free(struct ogg_state *o)
{
	if (o != NULL) {
		et_buffer_release(&o->part);
		et_buffer_release(&o->between);
		(void)et_vorbis_free(o->vorbis);
		free(o);
	}
	return NULL;
}

/* ---- Packets ---- */

/* Samples of an Opus packet by its first bytes (RFC 6716, section 3.1 and 3.2); 0: none. */
static uint32_t opus_samples(struct et_view p)
{
	static const uint16_t silk[] = { 480, 960, 1920, 2880 };
	const uint32_t config = p.data[0] >> 3;
	const uint32_t frame = config < 12   ? silk[config & 3]
			       : config < 16 ? 480U << (config & 1)
					     : 120U << (config & 3);
	uint32_t frames = (p.data[0] & 3) == 0 ? 1 : 2;

	if ((p.data[0] & 3) == 3) {
		frames = p.size > 1 ? p.data[1] & 63 : 0;
	}
	return frame * frames <= OPUS_SAMPLES ? frame * frames : 0;
}

/* Is it a packet of sound? *ret: its samples. */
static bool sound_is(struct ogg_state *o, struct et_view payload, uint32_t *ret)
{
	if (o->heads_left > 0) {
		o->heads_left--;
		return false;
	}
	if (payload.size == 0 || payload.size > ET_MEDIUM_PACKET_MAX) {
		return false;
	}
	if (o->is_opus) {
		*ret = opus_samples(payload);
		return *ret > 0;
	}
	const uint32_t window = et_vorbis_window(o->vorbis, payload);
	*ret = o->window != 0 ? o->window / 4 + window / 4 : 0;
	o->window = window != 0 ? window : o->window;
	return window != 0;
}

/* What waits goes out as bytes, in the order of the file; of the packet there is nothing left. */
static int part_give_up(struct et_medium *m)
{
	struct ogg_state *o = m->ogg;
	uint32_t from = 0;
	uint32_t spliced = 0;
	int rc = 0;

	if (!o->in_packet) {
		return 0;
	}
	for (uint32_t i = 0; i < o->splice_count && rc == 0; i++) {
		const uint32_t at = o->splices[i].at;
		rc = medium_bytes(m, o->part.data + from, at - from);
		rc = rc < 0 ? rc : medium_bytes(m, o->between.data + spliced, o->splices[i].size);
		from = at;
		spliced += o->splices[i].size;
	}
	rc = rc < 0 ? rc : medium_bytes(m, o->part.data + from, o->part.size - from);
	o->part.size = o->between.size = 0;
	o->splice_count = 0;
	o->in_packet = false;
	return rc;
}

/* The packet that waits is too long: it is kept beside, as is what comes of it yet. It counts as
 * one, by its begin: the headers are counted, and text may have a picture in it. */
static int part_pass(struct et_medium *m)
{
	struct ogg_state *o = m->ogg;
	uint32_t samples;

	o->passing = true;
	o->lost += sound_is(o, (struct et_view){ o->part.data, o->part.size }, &samples);
	return part_give_up(m);
}

/* Bytes of the file that are in no packet: they may stand within one. */
static int beside(struct et_medium *m, const uint8_t *data, size_t size)
{
	struct ogg_state *o = m->ogg;

	if (!o->in_packet) {
		return medium_bytes(m, data, size);
	}
	const bool goes_on =
		o->splice_count > 0 && o->splices[o->splice_count - 1].at == o->part.size;
	if (o->between.size + size > BETWEEN_MAX ||
	    (!goes_on && o->splice_count == OGG_SPLICES_MAX)) {
		int rc = part_pass(m);
		return rc < 0 ? rc : medium_bytes(m, data, size);
	}
	if (!goes_on) {
		o->splices[o->splice_count].at = (uint32_t)o->part.size;
		o->splices[o->splice_count++].size = 0;
	}
	o->splices[o->splice_count - 1].size += (uint32_t)size;
	et_buffer_add(&o->between, data, size);
	return o->between.failed ? -ENOMEM : 0;
}

/* An empty packet: the sound begins or ends there. */
static int mark_give(struct et_medium *m, uint16_t sequence)
{
	const struct et_medium_packet p = { .sequence = sequence,
					    .timestamp = (uint32_t)m->played,
					    .offset_us = et_medium_duration_us(m),
					    .payload = { m->held.data, 0 } };
	return m->sink.packet(m->sink.arg, &p);
}

/* A packet of sound: `samples` of it belong behind those so far. The first one of Vorbis has none,
 * and stands before the begin. */
static int sound_give(struct et_medium *m, struct et_view payload, uint32_t samples)
{
	struct ogg_state *o = m->ogg;
	const int64_t place = samples > 0 ? o->total : o->total - 1;
	const uint8_t *between = o->between.data;
	struct et_medium_packet p = { .timestamp = (uint32_t)place,
				      .offset_us = et_medium_duration_us(m),
				      .payload = payload };
	int rc = o->packets++ == 0 ? mark_give(m, m->sequence++) : 0;

	for (uint32_t i = 0; i < o->splice_count && rc == 0; i++) {
		rc = m->sink.splice(m->sink.arg, o->splices[i].at,
				    (struct et_view){ between, o->splices[i].size });
		between += o->splices[i].size;
	}
	p.sequence = place < 0 ? (uint16_t) - (int32_t)o->early_left-- : m->sequence++;
	rc = rc < 0 ? rc : m->sink.packet(m->sink.arg, &p);
	o->total += samples;
	o->tail[o->packets % OGG_TAIL] = samples;
	m->played = o->total > 0 ? (uint64_t)o->total : 0;
	return rc;
}

static int packet_end(struct et_medium *m, struct et_view piece)
{
	struct ogg_state *o = m->ogg;
	struct et_view payload = piece;
	uint32_t samples = 0;
	int rc;

	if (o->passing) {
		o->passing = false;
		return medium_bytes(m, piece.data, piece.size);
	}
	if (o->in_packet) {
		et_buffer_add(&o->part, piece.data, piece.size);
		if (o->part.failed) {
			return -ENOMEM;
		}
		payload = (struct et_view){ o->part.data, o->part.size };
	}
	if (sound_is(o, payload, &samples)) {
		rc = sound_give(m, payload, samples);
		o->part.size = o->between.size = 0;
		o->splice_count = 0;
		o->in_packet = false;
		return rc;
	}
	return o->in_packet ? part_give_up(m) : medium_bytes(m, piece.data, piece.size);
}

/* A packet goes on in the next page: this much of it is here. */
static int packet_go_on(struct et_medium *m, struct et_view piece)
{
	struct ogg_state *o = m->ogg;

	if (o->passing) {
		return medium_bytes(m, piece.data, piece.size);
	}
	o->in_packet = true;
	et_buffer_add(&o->part, piece.data, piece.size);
	if (o->part.failed) {
		return -ENOMEM;
	}
	return o->part.size > ET_MEDIUM_PACKET_MAX ? part_pass(m) : 0;
}

/* ---- The stream ---- */

/* What the page says of the samples up to its end. */
static int granule_take(struct et_medium *m, const struct page *page)
{
	struct ogg_state *o = m->ogg;
	const bool is_last = (page->flags & PAGE_LAST) != 0;
	int64_t counted;
	int64_t said;
	uint64_t tail = 0;

	if (page->granule < 0 || o->packets == 0) {
		return 0;
	}
	if (!o->has_base) {
		counted = o->total + o->skip;
		o->has_base = true;
		o->base = page->granule > counted ? page->granule - counted : 0;
	}
	if (!is_last || __builtin_sub_overflow(page->granule - o->base, (int64_t)o->skip, &said) ||
	    said < 0) {
		return 0;
	}
	for (size_t i = 0; i < OGG_TAIL; i++) {
		tail += o->tail[i];
	}
	if (said < o->total && (uint64_t)(o->total - said) <= tail) {
		/* Before the last packet its number is an old one: time does not go back. */
		const bool in_last = said >= o->total - o->tail[o->packets % OGG_TAIL];
		m->played = (uint64_t)said;
		return mark_give(m, (uint16_t)(in_last ? m->sequence : m->sequence - 1));
	}
	o->said = (uint64_t)said;
	return 0;
}

/* Samples of the packets that end in the page. */
static int64_t page_samples(struct ogg_state *o, const struct page *page)
{
	const uint32_t window = o->window;
	struct et_view begun = { o->part.data, o->in_packet ? o->part.size : 0 };
	size_t segment = PAGE_HEAD;
	size_t at = page->head_size;
	bool passing = o->passing;
	struct et_view piece;
	int64_t all = 0;
	bool ends;

	while (piece_next(page, &segment, &at, &piece, &ends)) {
		uint32_t samples = 0;
		if (ends && !passing && sound_is(o, begun.size > 0 ? begun : piece, &samples)) {
			all += samples;
		}
		begun.size = 0;
		passing = passing && !ends;
	}
	o->window = window;
	return all;
}

/* Pages were missing before this one, and it says how many samples there are up to its end: it
 * belongs behind silence. */
static void gap_take(struct et_medium *m, const struct page *page)
{
	struct ogg_state *o = m->ogg;
	const int64_t most = (int64_t)GAP_MAX_S * m->about.clock_rate;
	int64_t place;

	if (!o->has_gap || o->heads_left > 0 || page->granule < 0) {
		return;
	}
	o->has_gap = false;
	if (!o->has_base || __builtin_sub_overflow(page->granule - o->base,
						   o->skip + page_samples(o, page), &place)) {
		return;
	}
	if (place > o->total && place - o->total <= most) {
		o->missing += (uint64_t)(place - o->total);
		o->total = place;
	}
}

/* Is the page one of the stream, and the next one? What was within a packet before a gap is no
 * packet. */
static int page_follow(struct et_medium *m, const struct page *page)
{
	struct ogg_state *o = m->ogg;
	const bool follows = o->has_page && page->number == o->page + 1;
	const bool goes_on = (page->flags & PAGE_GOES_ON) != 0;
	int rc = 0;

	if (o->has_page && !follows) {
		o->lost += !o->in_junk; /* that is told already */
		o->has_gap = true;
	}
	o->in_junk = false;
	o->has_page = true;
	o->page = page->number;
	if (o->in_packet && (!follows || !goes_on)) {
		rc = part_give_up(m);
	}
	o->passing = goes_on && (o->passing || !o->in_packet);
	gap_take(m, page);
	return rc;
}

static int page_take(struct et_medium *m, const struct page *page)
{
	struct ogg_state *o = m->ogg;
	size_t segment = PAGE_HEAD;
	size_t at = page->head_size;
	struct et_view piece;
	bool ends;

	if (o->over || page->serial != o->serial) {
		o->chained = o->chained || (o->over && (page->flags & PAGE_FIRST) != 0);
		return beside(m, page->head, page->size);
	}
	int rc = page_follow(m, page);
	rc = rc < 0 ? rc : beside(m, page->head, page->head_size);
	while (rc == 0 && piece_next(page, &segment, &at, &piece, &ends)) {
		rc = ends ? packet_end(m, piece) : packet_go_on(m, piece);
	}
	rc = rc < 0 ? rc : granule_take(m, page);
	if (rc == 0 && (page->flags & PAGE_LAST) != 0) {
		o->over = true;
		rc = part_give_up(m);
	}
	return rc;
}

/* No page: up to where one may begin. */
static ssize_t junk_take(struct et_medium *m, struct et_view held, size_t at)
{
	struct ogg_state *o = m->ogg;

	o->lost += !o->over && !o->in_junk;
	o->in_junk = true;
	while (at < held.size &&
	       memcmp(held.data + at, "OggS", held.size - at < 4 ? held.size - at : 4) != 0) {
		at++;
	}
	int rc = beside(m, held.data, at);
	return rc < 0 ? rc : (ssize_t)at;
}

ssize_t ogg_take(struct et_medium *m, struct et_view held, bool last)
{
	struct ogg_state *o = m->ogg;
	struct page page;

	int found = page_read(held, &page);
	if (found == 0 && !last) {
		return 0;
	}
	if (found != 1) {
		/* It may lie about its length: look within it, but not for ever. */
		return junk_take(m, held,
				 found == -2 && o->failures++ >= FAILURES_MAX ? page.size : 1);
	}
	int rc = page_take(m, &page);
	return rc < 0 ? rc : (ssize_t)page.size;
}

int ogg_end(struct et_medium *m)
{
	return part_give_up(m);
}
