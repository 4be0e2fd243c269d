/* A recording of some segments on disk, and a supplier of tapes and keys that can be told to fail.
 */
#ifndef ET_NODE_PLAYBACK_TEST_PLAYBACK_FIXTURE_H
#define ET_NODE_PLAYBACK_TEST_PLAYBACK_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "node/playback/playback.h"
#include "node/srtp/ring.h"
#include "node/tape/keys.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"

enum { SEGMENTS = 3, SECONDS = 4, PTIME = 160, PER_SEGMENT = SECONDS * 50 };

#define T0_US ((int64_t)1700000000 * 1000000)

struct fixture {
	char dir[64];
	char paths[SEGMENTS][96];
	struct et_secret *deks[SEGMENTS];
	struct et_secret *seed;
	struct et_playback_segment segments[SEGMENTS];
	struct et_playback_config config;
	bool missing[SEGMENTS];
	bool no_key[SEGMENTS];
	bool is_padded;	   /* tapes in blocks: test_seek.c */
	bool is_protected; /* as SRTP: the key stands in the first segment only */
	bool keyless;	   /* ... and in none at all */
	bool keys_behind;  /* ... behind its media */
	bool handshake;	   /* ... but the DTLS handshake that made it does */
	struct et_srtp *senders[2];
	struct et_srtp *first; /* owned; seals the caller's first packet. NULL: the sender does */
	/* What a party says (its code); NULL: said(). And what follows a second's media, or NULL.
	 */
	uint8_t (*say)(unsigned party, uint32_t n);
	void (*behind)(struct et_tape *t, uint32_t second, uint32_t t_ms);
	bool (*loses)(unsigned party, uint32_t n); /* packets that did not come; NULL: none */
	int open;				   /* sources that are open now */
	int16_t *heard;
	size_t frames;
	size_t frames_max;
};

/* What party p says at sample n: never silence. */
static inline uint8_t said(unsigned party, uint32_t n)
{
	uint32_t x = (n + 1) * 2654435761U ^ (party + 1) * 0x9E3779B9U;
	x = (x ^ x >> 15) * 0x85EBCA6BU;
	uint8_t code = (uint8_t)(x >> 13);
	return code == 0x7F || code == 0xFF || code == 0xD5 || code == 0x55 ? 0x11 : code;
}

static inline int open_segment(void *arg, const struct et_playback_segment *segment,
			       struct et_tape_source *ret, struct et_error *reterr)
{
	struct fixture *f = arg;
	if (f->missing[segment->segment - 1]) {
		return et_fail(reterr, ET_ENOTFOUND, "copy of segment %u", segment->segment);
	}
	int rc = et_tape_source_open(f->paths[segment->segment - 1], ret, reterr);
	f->open += rc == 0;
	return rc;
}

static inline void close_segment(void *arg, struct et_tape_source *source)
{
	struct fixture *f = arg;
	f->open--;
	et_tape_source_close(source);
}

static inline int open_key(void *arg, const struct et_tape_header *header, struct et_secret **ret,
			   struct et_error *reterr)
{
	struct fixture *f = arg;
	if (f->no_key[header->segment - 1]) {
		return et_fail(reterr, ET_ENOKEY, "segment %u", header->segment);
	}
	*ret = et_secret_copy(et_secret_bytes(f->deks[header->segment - 1]), 32);
	return *ret != NULL ? 0 : -ENOMEM;
}

static inline int hear(void *arg, const int16_t *samples, size_t frames)
{
	struct fixture *f = arg;
	assert_true(f->frames + frames <= f->frames_max);
	memcpy(f->heard + f->frames * 2, samples, frames * 4);
	f->frames += frames;
	return 0;
}

/* The key of a party's SRTP, and the line of its description. */
static inline void srtp_key(unsigned party, uint8_t material[30])
{
	for (unsigned i = 0; i < 30; i++) {
		material[i] = (uint8_t)(0x41 + i * 5 + party);
	}
}

static inline void put_keys(struct et_tape *t, uint32_t t_ms)
{
	struct et_buffer keys = { 0 };
	for (unsigned party = 0; party < 2; party++) {
		uint8_t material[30];
		srtp_key(party, material);
		struct et_keys_item item = {
			.type = ET_KEYS_SRTP,
			.origin = 1,
			.party = (uint8_t)party,
			.suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80,
			.material = { material, sizeof(material) },
		};
		assert_int_equal(et_keys_add(&keys, &item), 0);
	}
	assert_int_equal(et_tape_append(t, ET_TAPE_KEYS, t_ms, keys.data, keys.size, NULL), 0);
	et_buffer_release(&keys);
}

/* The handshake of the caller, whose master secret is zeros. */
static inline struct et_keys_item handshake_item(void)
{
	struct et_keys_item item = {
		.type = ET_KEYS_DTLS,
		.party = 0,
		.suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80,
		.version = 0xFEFD,
		.cipher = 0xC02B,
	};
	memset(item.client_random, 0xC1, sizeof(item.client_random));
	memset(item.server_random, 0x5E, sizeof(item.server_random));
	return item;
}

static inline void put_handshake(struct et_tape *t, uint32_t t_ms)
{
	struct et_buffer keys = { 0 };
	const struct et_keys_item item = handshake_item();
	assert_int_equal(et_keys_add(&keys, &item), 0);
	assert_int_equal(et_tape_append(t, ET_TAPE_KEYS, t_ms, keys.data, keys.size, NULL), 0);
	et_buffer_release(&keys);
}

static inline void put_meta(struct fixture *f, struct et_tape *t, uint32_t t_ms)
{
	static const char sip[] = "INVITE sip:b SIP/2.0\r\n\r\na=Crypto:1 X INLINE:S3cr3t+/=|2^20;"
				  "inline:An0ther|1:1 KDR=0\r\na=x:inline:kept\r\n";
	struct et_buffer meta = { 0 };
	for (unsigned party = 0; party < 2; party++) {
		struct et_meta_item item = { .type = ET_META_STREAM };
		item.stream.stream = party;
		item.stream.ssrc = 0x1000 + party;
		item.stream.party = (uint8_t)party;
		item.stream.payload_type = party == 0 ? 0 : 8;
		item.stream.channels = 1;
		item.stream.clock_rate = 8000;
		item.stream.codec = et_view_of(party == 0 ? "PCMU" : "PCMA");
		item.stream.src = et_view_of("192.0.2.1:4000");
		item.stream.dst = et_view_of("192.0.2.2:5000");
		item.stream.srtp = et_view_of(f->is_protected ? "SRTP" : "");
		assert_int_equal(et_meta_add(&meta, &item), 0);
		item = (struct et_meta_item){ .type = ET_META_CODEC };
		item.codec.stream = party;
		item.codec.payload_type = 101;
		item.codec.clock_rate = 8000;
		item.codec.codec = et_view_of("telephone-event");
		assert_int_equal(et_meta_add(&meta, &item), 0);
	}
	struct et_meta_item item = { .type = ET_META_SIP };
	item.sip.time_us = T0_US;
	item.sip.src = et_view_of("192.0.2.1:5060");
	item.sip.dst = et_view_of("192.0.2.2:5060");
	item.sip.text = et_view_of(sip);
	assert_int_equal(et_meta_add(&meta, &item), 0);
	assert_int_equal(et_tape_append(t, ET_TAPE_META, t_ms, meta.data, meta.size, NULL), 0);
	et_buffer_release(&meta);
}

static inline void put_second(struct fixture *f, struct et_tape *t, uint32_t second, uint32_t t_ms)
{
	struct et_media_encoder e = { 0 };
	for (uint32_t n = second * 50; n < (second + 1) * 50; n++) {
		for (unsigned party = 0; party < 2; party++) {
			if (f->loses != NULL && f->loses(party, n)) {
				continue;
			}
			uint32_t room[(12 + 4 + PTIME + ET_SRTP_OVERHEAD_MAX) / 4] = { 0 };
			uint8_t *payload = (uint8_t *)room;
			size_t size = 12 + 4 + PTIME;
			payload[0] = 0x81; /* V2, one CSRC */
			bool whole = n % 50 == 7;
			for (uint32_t i = 0; i < PTIME; i++) {
				const uint32_t at = n * PTIME + i;
				payload[16 + i] =
					f->say != NULL ? f->say(party, at) : said(party, at);
			}
			payload[1] = party == 0 ? 0 : 8;
			et_put16(payload + 2, (uint16_t)n);
			et_put32(payload + 4, n * PTIME);
			et_put32(payload + 8, 0x1000 + party);
			size_t head = 16;
			if (f->is_protected) {
				if (!whole) { /* without the CSRC */
					payload[0] = 0x80;
					size -= 4;
					head = 12;
					memmove(payload + 12, payload + 16, PTIME);
				}
				struct et_srtp *sender = f->senders[party];
				sender = n == 0 && party == 0 && f->first != NULL ? f->first
										  : sender;
				assert_int_equal(et_srtp_seal_rtp(sender, payload, &size), 0);
			}
			struct et_media_packet p = {
				.stream = party,
				.whole = whole,
				.payload_type = party == 0 ? 0 : 8,
				.sequence = (uint16_t)n,
				.timestamp = n * PTIME,
				.arrival_us = T0_US + (int64_t)n * 20000 + party * 10000,
				.payload = { whole ? payload : payload + head,
					     whole ? size : size - head },
			};
			assert_int_equal(et_media_encoder_add(&e, &p, ET_TAPE_PLAIN_MAX), 0);
		}
	}
	assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, t_ms, e.plain.data, e.plain.size, NULL),
			 0);
	et_media_encoder_release(&e);
}

static inline void put_segment(struct fixture *f, uint32_t number)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_header header = { .recording = { 9 },
					 .generation = 1,
					 .segment = number + 1,
					 .t0_us = T0_US + (int64_t)number * SECONDS * 1000000 };
	const struct et_tape_signer signer = { .node = 1, .seed = f->seed, .now_us = T0_US };
	struct et_tape_seal seal;

	char dir[sizeof(f->dir)]; /* A copy: gcc sees the array and its text as one object. */
	memcpy(dir, f->dir, sizeof(dir));
	(void)snprintf(f->paths[number], sizeof(f->paths[number]), "%s/%u.evtm", dir, number);
	assert_int_equal(et_secret_random(32, &f->deks[number], NULL), 0);
	assert_int_equal(et_tape_create(f->paths[number], &header, f->deks[number], &t, NULL), 0);
	put_meta(f, t, 0);
	const bool keys = f->is_protected && number == 0 && !f->keyless;
	if (keys && !f->keys_behind) {
		put_keys(t, 0);
	}
	if (f->handshake) {
		put_handshake(t, 0);
	}
	for (uint32_t second = 0; second < SECONDS; second++) {
		put_second(f, t, number * SECONDS + second, second * 1000);
		if (f->behind != NULL) {
			f->behind(t, number * SECONDS + second, second * 1000);
		}
	}
	if (keys && f->keys_behind) {
		put_keys(t, SECONDS * 1000);
	}
	assert_int_equal(et_tape_finish(t, &signer, &seal, NULL), 0);
	struct et_playback_segment *s = &f->segments[number];
	*s = (struct et_playback_segment){
		.generation = 1, .segment = number + 1, .t0_us = header.t0_us, .has_root = true
	};
	memcpy(s->root, seal.root, 32);
	memcpy(s->header_hash, header.hash, 32);
	memcpy(s->seal_hash, seal.seal_hash, 32);
}

static inline struct fixture *fixture_new(bool is_protected, bool keyless)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->is_protected = is_protected;
	f->keyless = keyless;
	for (unsigned party = 0; is_protected && party < 2; party++) {
		uint8_t material[30];
		srtp_key(party, material);
		struct et_srtp_key key = {
			.suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80,
			.material = { material, sizeof(material) },
		};
		assert_int_equal(et_srtp_new(&key, 0x1000 + party, &f->senders[party], NULL), 0);
		et_srtp_seal_from(f->senders[party], 3 * party); /* one is joined in its midst */
	}
	return f;
}

static inline int fixture_fill(struct fixture *f, void **state)
{
	uint8_t public_key[32];
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(f->dir, sizeof(f->dir), "%.40s/et_play.XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(et_ed25519_generate(&f->seed, public_key, NULL), 0);
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		put_segment(f, i);
	}
	f->config = (struct et_playback_config){
		.recording = { 9 },
		.segments = f->segments,
		.segment_count = SEGMENTS,
		.supply = { open_segment, close_segment, open_key, f },
		.verify = true,
	};
	f->frames_max = (size_t)8000 * 60;
	f->heard = calloc(f->frames_max, 4);
	assert_non_null(f->heard);
	*state = f;
	return 0;
}

static inline int set_up(void **state)
{
	return fixture_fill(fixture_new(false, false), state);
}

static inline int set_up_protected(void **state)
{
	return fixture_fill(fixture_new(true, false), state);
}

static inline int set_up_keys_behind(void **state)
{
	struct fixture *f = fixture_new(true, false);

	f->keys_behind = true;
	return fixture_fill(f, state);
}

static inline int set_up_keyless(void **state)
{
	return fixture_fill(fixture_new(true, true), state);
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(f->open, 0); /* Every source was closed. */
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		assert_int_equal(unlink(f->paths[i]), 0);
		f->deks[i] = et_secret_free(f->deks[i]);
	}
	f->seed = et_secret_free(f->seed);
	assert_int_equal(rmdir(f->dir), 0);
	for (unsigned party = 0; party < 2; party++) {
		f->senders[party] = et_srtp_free(f->senders[party]);
		f->first = et_srtp_free(f->first);
	}
	free(f->heard);
	free(f);
	return 0;
}

/* Change one byte of a tape on disk. */
static inline void flip(const char *path, long at)
{
	FILE *file = fopen(path, "r+b");
	assert_non_null(file);
	assert_int_equal(fseek(file, at, SEEK_SET), 0);
	int c = fgetc(file);
	assert_int_equal(fseek(file, at, SEEK_SET), 0);
	assert_int_equal(fputc(c ^ 1, file), c ^ 1);
	assert_int_equal(fclose(file), 0);
}

#endif
