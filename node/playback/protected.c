/* SRTP of a walk: the keys that lie in the tapes, and packets opened by them. */
#include <string.h>

#include "node/playback/walk_internal.h"
#include "node/rtp/rtp.h"
#include "node/tape/keys.h"

enum {
	KEYS_MAX = 256,	  /* of a recording; the oldest give way */
	PLAIN_AFTER = 64, /* packets that no key opens: it is no SRTP, unless META says so */
	ROOM_WORDS = WALK_ROOM / 4 + 1,
};

struct et_srtp_entry walk_key_entry(const struct et_keys_item *item)
{
	return (struct et_srtp_entry){
		.key = { .suite = (enum et_srtp_suite)item->suite,
			 .material = item->material,
			 .mki = item->mki },
		.origin = (enum et_srtp_origin)item->origin,
		.party = item->party,
		.has_ssrc = item->has_ssrc,
		.ssrc = item->ssrc,
		.tag = item->tag,
		.time_us = item->time_us,
	};
}

int walk_keys(struct walk *w, struct et_view plain, struct et_error *reterr)
{
	struct et_keys_reader r;
	struct et_keys_item i;

	if (w->visitor->keys != NULL) {
		return w->visitor->keys(w->visitor->arg, plain, reterr);
	}
	int rc = et_keys_reader_init(&r, plain, reterr);
	if (rc == 0 && w->keys == NULL) {
		rc = et_srtp_ring_new(KEYS_MAX, &w->keys, reterr);
	}
	while (rc == 0 && (rc = et_keys_reader_next(&r, &i, reterr)) == 1) {
		const struct et_srtp_entry entry = walk_key_entry(&i);
		rc = i.type == ET_KEYS_SRTP ? et_srtp_ring_add(w->keys, &entry) : 0;
		if (rc == -ENOMEM) {
			return et_fail(reterr, rc, "SRTP keys");
		}
		rc = 0; /* Suites of later versions: their streams stay closed. */
	}
	return rc;
}

int walk_look_ahead(struct walk *w, struct et_error *reterr)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *reader = NULL;
	struct et_tape_record record;
	struct et_error ignored; /* What is damaged shows when it is come to. */

	if (w->looked_ahead) {
		return 0;
	}
	w->looked_ahead = true;
	int rc = et_tape_reader_new(w->source, w->dek, &reader, reterr);
	if (rc < 0) {
		return rc;
	}
	while (et_tape_reader_next_of(reader, ET_TAPE_KEYS, &record, &ignored) == 1) {
		rc = walk_keys(w, record.plain, &ignored);
		if (rc == -ENOMEM) {
			return et_fail(reterr, rc, "SRTP keys");
		}
	}
	return 0;
}

struct et_view et_playback_whole(uint32_t ssrc, const struct et_media_packet *p, uint8_t *room)
{
	if (p->whole) {
		return p->payload;
	}
	room[0] = 0x80;
	room[1] = (uint8_t)((p->marker ? 0x80 : 0) | p->payload_type);
	et_put16(room + 2, p->sequence);
	et_put32(room + 4, p->timestamp);
	et_put32(room + 8, ssrc);
	memcpy(room + ET_RTP_HEADER_SIZE, p->payload.data, p->payload.size);
	return (struct et_view){ room, ET_RTP_HEADER_SIZE + p->payload.size };
}

enum walk_opened { WALK_PLAIN, WALK_OPENED, WALK_CLOSED, WALK_TWICE };

static int walk_open(struct walk *w, struct walk_stream *s, struct et_media_packet *p,
		     enum walk_opened *ret, struct et_error *reterr)
{
	struct et_rtp rtp;
	size_t size = 0;

	*ret = s->is_protected ? WALK_CLOSED : WALK_PLAIN;
	if (!s->is_protected && s->opening.failures >= PLAIN_AFTER) {
		return 0;
	}
	if (!et_srtp_ring_has(w->keys, s->party, s->ssrc)) {
		int rc = s->is_protected ? walk_look_ahead(w, reterr) : 0;
		if (rc < 0 || !et_srtp_ring_has(w->keys, s->party, s->ssrc)) {
			return rc;
		}
	}
	if (w->room == NULL) {
		w->room = malloc(2 * ROOM_WORDS * sizeof(*w->room));
		if (w->room == NULL) {
			return et_fail(reterr, -ENOMEM, "open SRTP");
		}
	}
	uint8_t *plain = (uint8_t *)(w->room + ROOM_WORDS);
	struct et_view whole = et_playback_whole(s->ssrc, p, (uint8_t *)w->room);
	int rc = et_srtp_stream_open(&s->opening, w->keys, s->party, s->ssrc, whole.data,
				     whole.size, plain, &size);
	if (rc < 0 && rc != ET_EEXISTS && s->is_protected && !w->looked_ahead) {
		rc = walk_look_ahead(w, reterr);
		if (rc < 0) {
			return rc;
		}
		rc = et_srtp_stream_open(&s->opening, w->keys, s->party, s->ssrc, whole.data,
					 whole.size, plain, &size);
	}
	if (rc == ET_EEXISTS) {
		*ret = WALK_TWICE;
	} else if (rc == 0 && et_rtp_parse(plain, (uint32_t)size, &rtp) == 0) {
		*ret = WALK_OPENED;
		s->is_protected = true;
		p->whole = false;
		p->payload = (struct et_view){ rtp.payload, rtp.payload_size };
	}
	return 0;
}

int walk_protected(struct walk *w, struct walk_stream *s, struct et_media_packet *p, bool *ret_skip,
		   struct et_error *reterr)
{
	enum walk_opened opened = WALK_PLAIN;
	const bool was_protected = s->is_protected;

	int rc = walk_open(w, s, p, &opened, reterr);
	w->summary->streams_protected += !was_protected && s->is_protected;
	if (opened == WALK_CLOSED) {
		w->summary->streams_closed += !s->closed;
		w->summary->packets_closed++;
		s->closed = true;
		walk_note_deaf(w, s, 1);
	}
	*ret_skip = opened == WALK_CLOSED || opened == WALK_TWICE;
	return rc;
}

void walk_protected_release(struct walk *w)
{
	w->keys = et_srtp_ring_free(w->keys);
	if (w->room != NULL) {
		explicit_bzero(w->room, 2 * ROOM_WORDS * sizeof(*w->room));
		free(w->room);
		w->room = NULL;
	}
}
