#include "node/playback/fit.h"

#include <stdlib.h>
#include <string.h>

#include "node/keylog/keylog.h"
#include "node/playback/walk_internal.h"
#include "node/srtp/dtls.h"
#include "node/srtp/given.h"

enum {
	KEYS_MAX = 256,	      /* in the tapes; accepted */
	OFFERED_MAX = 1024,   /* lines of the table, and two keys for each handshake */
	HANDSHAKES_MAX = 128, /* of a recording */
	STREAMS_MAX = 256,    /* of a recording, told apart */
	CHECK_PACKETS = 16,   /* of a stream in a segment */
	SECRETS_MAX = 8192,   /* of a key log */
	TRIES_MAX = 16384,    /* about 2 ms each, when the rollover counter is not known */
};

_Static_assert(KEYS_MAX *ET_KEYS_ITEM_MAX <= ET_TAPE_PLAIN_MAX, "they fit in one record");

struct stream {
	uint32_t ssrc;
	uint8_t party;
	char src[WALK_ADDRESS_MAX];
	char dst[WALK_ADDRESS_MAX];
	bool is_protected;
	bool before; /* opened by a key in the tapes */
	bool now;
	uint32_t tries; /* packets of this segment */
	struct et_srtp_stream known;
	struct et_srtp_stream offered;
};

struct fit {
	struct et_fit *result;
	struct et_srtp_ring *known;   /* owned, as the next three */
	struct et_srtp_ring *offered; /* the tag of a key of the table is its line */
	struct et_srtp_ring *accepted;
	struct et_keylog *keylog;
	struct et_keys_item handshakes[HANDSHAKES_MAX]; /* without views */
	uint8_t mki[HANDSHAKES_MAX][16];
	uint32_t handshake_count;
	struct stream *streams; /* owned */
	uint32_t stream_count;
	int number[ET_PLAYBACK_STREAMS_MAX]; /* of the segment's streams; -1: not looked up, -2:
						too many */
	bool line_fits[ET_SRTP_RING_MAX + 1];
	uint32_t lines;
	uint32_t tries_left;
	bool line_is_key[ET_SRTP_RING_MAX + 1];
	uint32_t room[WALK_ROOM / 4 + 1];
	uint32_t plain[WALK_ROOM / 4 + 1];
};

/* ---- What the tapes know ---- */

static int handshake_take(struct fit *f, const struct et_keys_item *i)
{
	for (uint32_t n = 0; n < f->handshake_count; n++) {
		const struct et_keys_item *h = &f->handshakes[n];
		if (memcmp(h->client_random, i->client_random, sizeof(h->client_random)) == 0 &&
		    memcmp(h->server_random, i->server_random, sizeof(h->server_random)) == 0) {
			return 0; /* each segment says it again */
		}
	}
	if (f->handshake_count == HANDSHAKES_MAX || i->mki.size > sizeof(f->mki[0])) {
		return 0;
	}
	uint32_t n = f->handshake_count++;
	f->handshakes[n] = *i;
	if (i->mki.size > 0) {
		memcpy(f->mki[n], i->mki.data, i->mki.size);
	}
	f->handshakes[n].mki.data = f->mki[n];
	return 0;
}

static int take_keys(void *arg, struct et_view plain, struct et_error *reterr)
{
	struct fit *f = arg;
	struct et_keys_reader r;
	struct et_keys_item i;

	int rc = et_keys_reader_init(&r, plain, reterr);
	while (rc == 0 && (rc = et_keys_reader_next(&r, &i, reterr)) == 1) {
		const struct et_srtp_entry entry = walk_key_entry(&i);
		rc = 0;
		if (i.type == ET_KEYS_DTLS) {
			rc = handshake_take(f, &i);
		} else if (i.type == ET_KEYS_SRTP &&
			   et_srtp_ring_add(f->known, &entry) == -ENOMEM) {
			rc = et_fail(reterr, -ENOMEM, "SRTP keys");
		}
	}
	return rc;
}

static int collect(struct fit *f, const struct et_playback_config *config, struct et_error *reterr)
{
	const struct walk_visitor visitor = { .keys = take_keys, .arg = f };

	return et_playback_walk(config, &visitor, &f->result->summary, reterr);
}

/* ---- What is offered ---- */

static int line_take(struct fit *f, struct et_view line, struct et_error *reterr)
{
	struct et_srtp_ring *one = NULL;
	struct et_error why = { .text = "" };

	int rc = et_srtp_ring_new(1, &one, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_srtp_given_read(line, one, &why);
	if (rc == 0 && et_srtp_ring_count(one) == 1) {
		struct et_srtp_entry entry = et_srtp_ring_at(one, 0);
		entry.tag = f->lines;
		rc = et_srtp_ring_add(f->offered, &entry);
		f->line_is_key[f->lines] = true;
	} else if (rc < 0) { /* "line 1: ..." of one line */
		const char *text = strchr(why.text, ':');
		(void)et_fail_plain(reterr, rc, "line %u%s", f->lines, text != NULL ? text : "");
	}
	(void)et_srtp_ring_free(one);
	return rc < 0 ? rc : 0;
}

static int table_read(struct fit *f, struct et_view text, struct et_error *reterr)
{
	while (text.size > 0) {
		const uint8_t *end = memchr(text.data, '\n', text.size);
		const size_t size = end != NULL ? (size_t)(end - text.data) + 1 : text.size;
		if (f->lines == ET_SRTP_RING_MAX / 2) {
			return et_fail_plain(reterr, ET_ELIMIT, "more than %u lines", f->lines);
		}
		f->lines++;
		int rc = line_take(f, (struct et_view){ text.data, size }, reterr);
		if (rc < 0) {
			return rc;
		}
		text.data += size;
		text.size -= size;
	}
	return 0;
}

/* The keys of both sides, when the handshake's secret was offered. */
static int derive(struct fit *f, const struct et_keys_item *h, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *material = NULL;
	struct et_dtls_hello client = { .is_client = true };
	struct et_dtls_hello server = { .version = h->version,
					.cipher = h->cipher,
					.suite = (enum et_srtp_suite)h->suite };
	struct et_view secret;

	memcpy(client.random, h->client_random, sizeof(client.random));
	memcpy(server.random, h->server_random, sizeof(server.random));
	if (!et_keylog_find(f->keylog, ET_KEYLOG_MASTER_SECRET, client.random, &secret)) {
		return 0;
	}
	int rc = et_dtls_srtp_keys(&client, &server, secret, &material, reterr);
	if (rc == ET_EUNSUPPORTED) {
		return 0; /* its streams stay closed */
	}
	f->result->handshakes_open += rc == 0;
	for (uint8_t side = 0; side < 2 && rc >= 0; side++) {
		const size_t size = et_secret_size(material) / 2;
		const struct et_srtp_entry entry = {
			.key = { .suite = server.suite,
				 .material = { et_secret_bytes(material) + side * size, size },
				 .mki = h->mki },
			.origin = ET_SRTP_ORIGIN_DTLS,
			.party = h->party > 1 ? ET_SRTP_PARTY_ANY : h->party ^ side,
		};
		rc = et_srtp_ring_add(f->offered, &entry);
	}
	return rc == -ENOMEM ? et_fail(reterr, rc, "SRTP keys") : 0;
}

static int offer_read(struct fit *f, const struct et_fit_offer *offer, struct et_error *reterr)
{
	int rc = table_read(f, offer->table, reterr);

	rc = rc < 0 ? rc : et_keylog_add(f->keylog, offer->keylog.data, offer->keylog.size);
	rc = rc < 0 ? rc : et_keylog_end(f->keylog);
	for (uint32_t i = 0; i < f->handshake_count && rc == 0; i++) {
		rc = derive(f, &f->handshakes[i], reterr);
	}
	f->result->handshakes = f->handshake_count;
	return rc;
}

/* ---- Trying ---- */

static int try_begin(void *arg, struct walk_segment *segment, struct et_error *reterr)
{
	struct fit *f = arg;

	(void)segment;
	(void)reterr;
	for (size_t i = 0; i < ET_PLAYBACK_STREAMS_MAX; i++) {
		f->number[i] = -1;
	}
	for (uint32_t i = 0; i < f->stream_count; i++) {
		f->streams[i].tries = 0;
	}
	return 0;
}

static int try_meta(void *arg, struct walk_segment *segment, const struct et_meta_item *item,
		    struct et_error *reterr)
{
	struct fit *f = arg;

	(void)segment;
	(void)reterr;
	if (item->type == ET_META_STREAM) {
		f->number[item->stream.stream] = -1; /* another source under this number */
	}
	return 0;
}

static int find_stream(struct fit *f, const struct walk_stream *s, uint32_t number)
{
	const uint32_t ssrc = s->described ? s->ssrc : number;

	for (uint32_t i = 0; i < f->stream_count; i++) {
		const struct stream *k = &f->streams[i];
		if (k->ssrc == ssrc && k->party == s->party && strcmp(k->src, s->src) == 0 &&
		    strcmp(k->dst, s->dst) == 0) {
			return (int)i;
		}
	}
	if (f->stream_count == STREAMS_MAX) {
		return -2;
	}
	struct stream *t = &f->streams[f->stream_count];
	*t = (struct stream){ .ssrc = ssrc, .party = s->party };
	memcpy(t->src, s->src, sizeof(t->src));
	memcpy(t->dst, s->dst, sizeof(t->dst));
	return (int)f->stream_count++;
}

/* It opens: it is the recording's from now on. */
static int accept(struct fit *f, struct stream *t, struct et_error *reterr)
{
	struct et_srtp_entry entry;

	if (!et_srtp_stream_entry(&t->offered, f->offered, &entry)) {
		return 0;
	}
	if (entry.origin == ET_SRTP_ORIGIN_GIVEN) {
		f->line_fits[entry.tag] = true;
		entry.has_ssrc = true;
		entry.ssrc = t->ssrc;
		entry.tag = 0;
	}
	entry.party = t->party;
	int rc = et_srtp_ring_add(f->accepted, &entry);
	return rc < 0 ? et_fail(reterr, rc, "SRTP key") : 0;
}

static bool opens(struct et_srtp_stream *s, const struct et_srtp_ring *ring, const struct stream *t,
		  struct et_view packet, uint8_t *room)
{
	size_t size = 0;

	return et_srtp_stream_open(s, ring, t->party, t->ssrc, packet.data, packet.size, room,
				   &size) == 0 &&
	       et_srtp_stream_is_sure(s);
}

static int try_packet(void *arg, struct walk_segment *segment, const struct walk_type *type,
		      const struct et_media_packet *p, struct et_error *reterr)
{
	struct fit *f = arg;
	const struct walk_stream *s = &segment->streams[p->stream];
	int *number = &f->number[p->stream];
	uint8_t *plain = (uint8_t *)f->plain;

	(void)type;
	if (p->rtcp) {
		return 0;
	}
	*number = *number == -1 ? find_stream(f, s, p->stream) : *number;
	struct stream *t = *number >= 0 ? &f->streams[*number] : NULL;
	if (t == NULL || t->before || t->now || t->tries == CHECK_PACKETS) {
		return 0;
	}
	t->tries++;
	t->is_protected = t->is_protected || s->is_protected;
	struct et_view whole = et_playback_whole(t->ssrc, p, (uint8_t *)f->room);
	t->before = opens(&t->known, f->known, t, whole, plain);
	if (t->before) {
		return 0;
	}
	if (f->tries_left == 0) {
		return et_fail_plain(reterr, ET_ELIMIT,
				     "too many keys for too many closed streams: name the source "
				     "(ssrc) of each key, or give fewer at a time");
	}
	const uint32_t made = t->offered.made;
	t->offered.most = f->tries_left;
	t->now = opens(&t->offered, f->offered, t, whole, plain);
	f->tries_left -= t->offered.made - made;
	return t->now ? accept(f, t, reterr) : 0;
}

static int try_all(struct fit *f, const struct et_playback_config *config, struct et_error *reterr)
{
	const struct walk_visitor visitor = {
		.begin = try_begin, .meta = try_meta, .packet = try_packet, .arg = f
	};

	return et_playback_walk(config, &visitor, &f->result->summary, reterr);
}

/* ---- What came of it ---- */

static void sum_up(struct fit *f)
{
	struct et_fit *r = f->result;

	for (uint32_t i = 0; i < f->stream_count; i++) {
		const struct stream *t = &f->streams[i];
		r->streams += t->is_protected || t->before || t->now;
		r->opened_before += t->before;
		r->opened_now += t->now;
	}
	for (uint32_t i = 1; i <= f->lines; i++) {
		if (f->line_is_key[i] && !f->line_fits[i]) {
			if (r->refused < ET_FIT_REFUSED_MAX) {
				r->refused_lines[r->refused] = i;
			}
			r->refused++;
		}
	}
	const uint32_t opened = r->opened_before + r->opened_now;
	r->keys = et_srtp_ring_count(f->accepted);
	r->state = r->streams == 0	 ? ET_KEYS_UNTOLD
		   : opened == 0	 ? ET_KEYS_MISSING
		   : opened < r->streams ? ET_KEYS_PARTLY
					 : ET_KEYS_COMPLETE;
}

static int refuse(const struct et_fit *r, struct et_error *reterr)
{
	if (r->streams == 0) {
		return et_fail_plain(reterr, ET_EREFUSED, "nothing in the recording is protected");
	}
	if (r->opened_before == r->streams) {
		return et_fail_plain(reterr, ET_EREFUSED,
				     "the keys that it has open all of its streams already");
	}
	if (r->refused > 0) {
		return et_fail_plain(reterr, ET_EREFUSED,
				     "no key fits: that of line %u opens none of the %u streams "
				     "that are closed%s",
				     r->refused_lines[0], r->streams - r->opened_before,
				     r->refused > 1 ? ", nor do the others" : "");
	}
	return et_fail_plain(
		reterr, ET_EREFUSED,
		r->handshakes_open > 0 ? "no key fits: the secrets of its handshakes open none of "
					 "its streams"
		: r->handshakes > 0 ? "no key fits: the secret of none of its %u DTLS handshakes "
				      "is there"
				    : "no key fits: no DTLS handshake of it was recorded (%u), so "
				      "a key log cannot open it; a table of keys can",
		r->handshakes);
}

static int pack(const struct fit *f, int64_t now_us, struct et_buffer *ret, struct et_error *reterr)
{
	const uint32_t count = et_srtp_ring_count(f->accepted);

	if (et_buffer_reserve(ret, (size_t)count * ET_KEYS_ITEM_MAX) == NULL) {
		return et_fail(reterr, -ENOMEM, "SRTP keys");
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct et_srtp_entry entry = et_srtp_ring_at(f->accepted, i);
		const struct et_keys_item item = {
			.type = ET_KEYS_SRTP,
			.time_us = now_us,
			.origin = (uint8_t)entry.origin,
			.party = entry.party,
			.suite = (uint8_t)entry.key.suite,
			.has_ssrc = entry.has_ssrc,
			.ssrc = entry.ssrc,
			.mki = entry.key.mki,
			.material = entry.key.material,
		};
		int rc = et_keys_add(ret, &item);
		et_assert(rc == 0 && !ret->failed);
	}
	return 0;
}

static void fit_free(struct fit *f)
{
	for (uint32_t i = 0; f->streams != NULL && i < f->stream_count; i++) {
		et_srtp_stream_release(&f->streams[i].known);
		et_srtp_stream_release(&f->streams[i].offered);
	}
	free(f->streams);
	(void)et_srtp_ring_free(f->known);
	(void)et_srtp_ring_free(f->offered);
	(void)et_srtp_ring_free(f->accepted);
	(void)et_keylog_free(f->keylog);
	explicit_bzero(f->plain, sizeof(f->plain));
	free(f);
}

static int fit_new(struct et_fit *result, struct fit **ret, struct et_error *reterr)
{
	struct fit *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		return et_fail(reterr, -ENOMEM, "SRTP keys");
	}
	f->result = result;
	f->streams = calloc(STREAMS_MAX, sizeof(*f->streams));
	int rc = f->streams == NULL ? et_fail(reterr, -ENOMEM, "SRTP keys") : 0;
	rc = rc < 0 ? rc : et_srtp_ring_new(KEYS_MAX, &f->known, reterr);
	rc = rc < 0 ? rc : et_srtp_ring_new(OFFERED_MAX, &f->offered, reterr);
	rc = rc < 0 ? rc : et_srtp_ring_new(KEYS_MAX, &f->accepted, reterr);
	rc = rc < 0 ? rc : et_keylog_new(SECRETS_MAX, 0, &f->keylog, reterr);
	if (rc < 0) {
		fit_free(f);
		return rc;
	}
	*ret = f;
	return 0;
}

int et_playback_fit(const struct et_playback_config *config, const struct et_fit_offer *offer,
		    struct et_buffer *ret_plain, struct et_fit *ret, struct et_error *reterr)
{
	struct fit *f = NULL;

	*ret = (struct et_fit){ 0 };
	int rc = fit_new(ret, &f, reterr);
	if (rc < 0) {
		return rc;
	}
	f->tries_left = offer->tries_max != 0 ? offer->tries_max : TRIES_MAX;
	rc = collect(f, config, reterr);
	rc = rc < 0 ? rc : offer_read(f, offer, reterr);
	rc = rc < 0 ? rc : try_all(f, config, reterr);
	if (rc == 0) {
		sum_up(f);
		rc = ret->keys == 0 ? refuse(ret, reterr)
				    : pack(f, offer->now_us, ret_plain, reterr);
	}
	fit_free(f);
	return rc;
}
