/* To hear a second of an hour's tape, as `GET audio` with a Range does it: how long is it, at which
 * rate, and then the samples. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tests/bench/tape/bench.h"
#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/playback/playback.h"
#include "node/tape/checkpoint.h"

enum {
	HOUR_S = 3600,
	AT_S = 3000,
	PAYLOAD = 160,
	PACKETS_PER_S = 50, /* of one party */
	TRIES = 11,
};

#define T0_US 1700000000000000LL

enum ending { ENDS, NO_INDEX, NO_CHECKPOINTS };

struct hour {
	char path[256];
	struct et_secret *dek;	     /* owned */
	struct et_secret *seed;	     /* owned */
	struct et_tape *tape;	     /* owned */
	struct et_tape_state *state; /* owned */
	struct et_media_encoder encoder;
	enum ending ending;
	struct et_tape_source file;
	uint64_t bytes; /* read of it */
	uint64_t size;	/* of it */
};

static int describe(struct hour *h, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };

	for (unsigned party = 0; party < 2; party++) {
		const struct et_meta_item item = {
			.type = ET_META_STREAM,
			.stream = { .stream = party,
				    .ssrc = 1 + party,
				    .party = (uint8_t)party,
				    .channels = 1,
				    .clock_rate = 8000,
				    .codec = { (const uint8_t *)"PCMU", 4 } },
		};
		int rc = et_meta_add(&b, &item);
		if (rc < 0 || b.failed) {
			return et_fail(reterr, -ENOMEM, "bench-tape");
		}
	}
	et_tape_state_meta(h->state, (struct et_view){ b.data, b.size });
	return et_tape_append(h->tape, ET_TAPE_META, 0, b.data, b.size, reterr);
}

static int add_second(struct hour *h, uint32_t second, struct et_error *reterr)
{
	uint8_t payload[PAYLOAD];
	int rc = 0;

	et_media_encoder_reset(&h->encoder);
	for (uint32_t i = 0; i < 2 * PACKETS_PER_S && rc == 0; i++) {
		const uint32_t n = second * PACKETS_PER_S + i / 2;
		const struct et_media_packet p = { .stream = i % 2,
						   .sequence = (uint16_t)n,
						   .timestamp = n * PAYLOAD,
						   .arrival_us =
							   T0_US + n * 20000LL + n * 7919 % 1000,
						   .payload = { payload, PAYLOAD } };
		memset(payload, (int)(n * 31 + i), sizeof(payload));
		rc = et_media_encoder_add(&h->encoder, &p, ET_TAPE_PLAIN_MAX);
		et_tape_state_packet(h->state, &p);
	}
	return rc < 0 ? rc
		      : et_tape_append(h->tape, ET_TAPE_MEDIA, second * 1000, h->encoder.plain.data,
				       h->encoder.plain.size, reterr);
}

static int add_checkpoint(struct hour *h, uint32_t ms, bool end, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };

	int rc = et_tape_state_write(h->state, &b);
	if (rc < 0 || b.failed) {
		return et_fail(reterr, rc < 0 ? rc : -ENOMEM, "bench-tape");
	}
	return end ? et_tape_end(h->tape, ms, (struct et_view){ b.data, b.size }, reterr)
		   : et_tape_append(h->tape, ET_TAPE_CHECKPOINT, ms, b.data, b.size, reterr);
}

static int hour_write(struct hour *h, struct et_error *reterr)
{
	struct et_tape_header header = {
		.recording = { 1 }, .generation = 1, .segment = 1, .t0_us = T0_US
	};
	const struct et_tape_signer signer = { .node = 1, .seed = h->seed, .now_us = T0_US };
	struct et_tape_seal seal;

	h->state = et_tape_state_new(T0_US);
	int rc = h->state != NULL ? 0 : et_fail(reterr, -ENOMEM, "bench-tape");
	rc = rc < 0 ? rc : et_tape_create(h->path, &header, h->dek, &h->tape, reterr);
	rc = rc < 0 ? rc : describe(h, reterr);
	for (uint32_t s = 0; s < HOUR_S && rc == 0; s++) {
		rc = add_second(h, s, reterr);
		if (rc == 0 && s % 30 == 29 && h->ending != NO_CHECKPOINTS) {
			rc = add_checkpoint(h, s * 1000, false, reterr);
		}
	}
	if (rc == 0 && h->ending == ENDS) {
		rc = add_checkpoint(h, HOUR_S * 1000, true, reterr);
	}
	rc = rc < 0 ? rc : et_tape_finish(h->tape, &signer, &seal, reterr);
	h->tape = et_tape_close(h->tape);
	h->state = et_tape_state_free(h->state);
	et_media_encoder_release(&h->encoder);
	return rc;
}

/* ---- Heard ---- */

static int hour_read(void *arg, uint64_t offset, void *data, size_t size, struct et_error *reterr)
{
	struct hour *h = arg;

	h->bytes += size;
	return h->file.read(h->file.arg, offset, data, size, reterr);
}

static int hour_open(void *arg, const struct et_playback_segment *segment,
		     struct et_tape_source *ret, struct et_error *reterr)
{
	struct hour *h = arg;

	(void)segment;
	int rc = et_tape_source_open(h->path, &h->file, reterr);
	h->size = h->file.size;
	*ret = h->file;
	ret->read = hour_read;
	ret->arg = h;
	return rc;
}

static void hour_close(void *arg, struct et_tape_source *source)
{
	struct hour *h = arg;

	(void)source;
	et_tape_source_close(&h->file);
}

static int hour_key(void *arg, const struct et_tape_header *header, struct et_secret **ret,
		    struct et_error *reterr)
{
	const struct hour *h = arg;

	(void)header;
	*ret = et_secret_copy(et_secret_bytes(h->dek), et_secret_size(h->dek));
	return *ret != NULL ? 0 : et_fail(reterr, -ENOMEM, "bench-tape");
}

static int hear(void *arg, const int16_t *samples, size_t frames)
{
	uint64_t *count = arg;

	(void)samples;
	*count += frames;
	return 0;
}

static int hear_once(struct hour *h, uint64_t first, uint64_t frames, struct et_error *reterr)
{
	const struct et_playback_segment segment = { .generation = 1,
						     .segment = 1,
						     .t0_us = T0_US };
	struct et_playback_config config = { .recording = { 1 },
					     .segments = &segment,
					     .segment_count = 1,
					     .supply = { hour_open, hour_close, hour_key, h } };
	struct et_playback_summary s;
	uint64_t heard = 0;

	int rc = et_playback_survey(&config, &s, reterr);
	config.rate = s.rate;
	rc = rc < 0 ? rc : et_playback_render(&config, first, frames, hear, &heard, &s, reterr);
	if (rc == 0 && frames != UINT64_MAX && heard != frames) {
		rc = et_fail_plain(reterr, ET_EINTEGRITY, "the second was not heard");
	}
	return rc;
}

static int order(const void *a, const void *b)
{
	const double x = *(const double *)a;
	const double y = *(const double *)b;
	return x < y ? -1 : x > y;
}

int et_seek_bench_run(const char *folder, int which, struct et_seek_bench *ret,
		      struct et_error *reterr)
{
	struct hour h = { .ending = (enum ending)which };
	uint8_t public_key[32];
	double ms[TRIES];

	(void)snprintf(h.path, sizeof(h.path), "%.200s/bench-hour.evtm", folder);
	(void)unlink(h.path);
	int rc = et_secret_random(32, &h.dek, reterr);
	rc = rc < 0 ? rc : et_ed25519_generate(&h.seed, public_key, reterr);
	rc = rc < 0 ? rc : hour_write(&h, reterr);
	for (uint32_t i = 0; i < TRIES && rc == 0; i++) {
		h.bytes = 0;
		const int64_t begin = et_clock_mono_us();
		rc = hear_once(&h, (uint64_t)AT_S * 8000, 8000, reterr);
		ms[i] = (double)(et_clock_mono_us() - begin) / 1000;
	}
	if (rc == 0) {
		qsort(ms, TRIES, sizeof(ms[0]), order);
		ret->object_bytes = h.size;
		ret->bytes_read = h.bytes;
		ret->ms_best = ms[0];
		ret->ms_median = ms[TRIES / 2];
	}
	(void)unlink(h.path);
	(void)et_secret_free(h.dek);
	(void)et_secret_free(h.seed);
	return rc;
}
