#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cluster-tests/bench/tape/bench.h"
#include "node/base/fd.h"
#include "node/crypto/aead.h"
#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/tape/checkpoint.h"
#include "node/tape/media.h"
#include "node/tape/reader.h"

enum {
	RECORD = 16384, /* bytes of plaintext of a full record, */
	SEALED = RECORD + ET_TAPE_RECORD_HEAD_SIZE + ET_TAPE_TAG_SIZE, /* and of it on the tape */
	RECORDS = 1024, /* of the long tape: 16 MiB */
	ROUNDS_MAX = 101,
	CALL_SECONDS = 180,
	PACKETS_PER_S = 50,	 /* of one party */
	READ_CHUNK = 8 * SEALED, /* what a reader of tapes has at a time: whole records */
	PAYLOAD = 160,		 /* bytes of G.711 in 20 ms */
};

#define T0_US 1700000000000000LL

struct bench {
	const struct et_tape_bench_config *config;
	struct et_secret *dek;	/* owned */
	struct et_secret *seed; /* owned */
	struct et_tape_signer signer;
	uint8_t *plain;	 /* owned: RECORD bytes of noise */
	uint8_t *sealed; /* owned: SEALED bytes */
	uint8_t public_key[32];
	char path[256];
};

/* CPU time of this thread, seconds. */
static double cpu_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int order(const void *a, const void *b)
{
	const double x = *(const double *)a;
	const double y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* From CPU seconds a round to rates. */
static struct et_rate rate_of(double *seconds, uint32_t rounds, double bytes)
{
	qsort(seconds, rounds, sizeof(*seconds), order);
	return (struct et_rate){ .best = bytes / seconds[0] / 1e6,
				 .median = bytes / seconds[rounds / 2] / 1e6 };
}

/* CPU seconds of each round, of what is measured. Primitives and tapes take turns in each: a
 * machine that is slower for a while is so for both. */
struct rounds {
	double aes_seal[ROUNDS_MAX];
	double aes_open[ROUNDS_MAX];
	double sha[ROUNDS_MAX];
	double crc[ROUNDS_MAX];
	double write[ROUNDS_MAX];
	double read[ROUNDS_MAX];
	double seal[ROUNDS_MAX];
	double opened[ROUNDS_MAX];
	double verified[ROUNDS_MAX];
	double object_bytes;
};

/* ---- Primitives ------------------------------------------------------------------------------ */

static int aead_once(struct bench *b, struct et_aead *cipher, bool open, double *ret_s)
{
	const uint8_t aad[48] = { 1 };
	const struct et_view view = { aad, sizeof(aad) };
	uint8_t nonce[ET_AEAD_NONCE_SIZE] = { 0 };
	static uint8_t opened[RECORD];

	int rc = et_aead_seal(cipher, nonce, view, b->plain, RECORD, b->sealed, NULL);
	const double begin = cpu_now();
	for (uint32_t i = 0; i < RECORDS && rc == 0; i++) {
		rc = open ? et_aead_open(cipher, nonce, view, b->sealed, RECORD + ET_AEAD_TAG_SIZE,
					 opened, NULL)
			  : et_aead_seal(cipher, nonce, view, b->plain, RECORD, b->sealed, NULL);
	}
	*ret_s = cpu_now() - begin;
	return rc;
}

static void hashes_once(const struct bench *b, struct et_sha256 *h, double *ret_sha_s,
			double *ret_crc_s)
{
	uint8_t hash[ET_SHA256_SIZE];
	volatile uint32_t kept = 0;

	double begin = cpu_now();
	for (uint32_t n = 0; n < RECORDS; n++) {
		et_sha256_add(h, b->sealed, SEALED);
		et_sha256_end(h, hash);
	}
	*ret_sha_s = cpu_now() - begin;
	begin = cpu_now();
	for (uint32_t n = 0; n < RECORDS; n++) {
		kept = kept + et_crc32c(n, b->sealed, SEALED);
	}
	*ret_crc_s = cpu_now() - begin;
}

/* A record at a time, where the tape has it: pages that are half written cost the kernel more. */
static int write_once(struct bench *b, double *ret_s, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep)
	int fd = open(b->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	const double begin = cpu_now();
	for (uint32_t n = 0; n < RECORDS; n++) {
		const off_t at = ET_TAPE_HEADER_SIZE + (off_t)n * SEALED;
		if (fd < 0 || pwrite(fd, b->sealed, SEALED, at) != SEALED) {
			return et_fail(reterr, -errno, "write '%s'", b->path);
		}
	}
	*ret_s = cpu_now() - begin;
	(void)unlink(b->path);
	return 0;
}

static int primitives_once(struct bench *b, struct et_aead *cipher, struct et_sha256 *h,
			   struct rounds *r, uint32_t i, struct et_error *reterr)
{
	int rc = aead_once(b, cipher, false, &r->aes_seal[i]);
	rc = rc < 0 ? rc : aead_once(b, cipher, true, &r->aes_open[i]);
	if (rc < 0) {
		return et_fail(reterr, rc, "bench-tape");
	}
	hashes_once(b, h, &r->sha[i], &r->crc[i]);
	/* Twice, as the tape that comes next gets the pages that the one before gave back. */
	rc = write_once(b, &r->write[i], reterr);
	return rc < 0 ? rc : write_once(b, &r->write[i], reterr);
}

/* ---- Tapes ----------------------------------------------------------------------------------- */

static struct et_tape_header header_of(void)
{
	return (struct et_tape_header){ .recording = { 1 },
					.generation = 1,
					.segment = 1,
					.kek_id = 1,
					.kek_version = 1,
					.dek_id = 1,
					.node = 1,
					.t0_us = T0_US };
}

static int seal_once(struct bench *b, double *ret_s, struct et_error *reterr)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_header header = header_of();
	struct et_tape_seal seal;

	const double begin = cpu_now();
	int rc = et_tape_create(b->path, &header, b->dek, &t, reterr);
	for (uint32_t n = 0; n < RECORDS && rc == 0; n++) {
		rc = et_tape_append(t, ET_TAPE_MEDIA, n * 1000, b->plain, RECORD, reterr);
	}
	rc = rc < 0 ? rc : et_tape_finish(t, &b->signer, &seal, reterr);
	*ret_s = cpu_now() - begin;
	return rc;
}

static int open_once(struct bench *b, const struct et_tape_source *source, double *ret_s,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	struct et_tape_record record;

	const double begin = cpu_now();
	int rc = et_tape_reader_new(source, b->dek, &r, reterr);
	while (rc == 0 && (rc = et_tape_reader_next(r, &record, reterr)) == 1) {
		rc = 0;
	}
	*ret_s = cpu_now() - begin;
	return rc;
}

static int verify_once(const struct et_tape_source *source, double *ret_s, struct et_error *reterr)
{
	struct et_tape_report report;

	const double begin = cpu_now();
	int rc = et_tape_verify(source, NULL, &report, reterr);
	*ret_s = cpu_now() - begin;
	return rc;
}

/* What reading costs alone: the tape is longer than the caches that the primitives run in. A record
 * lies at another place of its page than the one before, as for a reader: a copy whose ends lie at
 * one place of their pages waits for itself. */
static int read_once(const struct et_tape_source *source, double *ret_s, struct et_error *reterr)
{
	static uint8_t chunk[READ_CHUNK];
	int rc = 0;

	const double begin = cpu_now();
	for (uint64_t at = 0; at < source->size && rc == 0; at += sizeof(chunk)) {
		const uint64_t left = source->size - at;
		rc = source->read(source->arg, at, chunk,
				  left < sizeof(chunk) ? (size_t)left : sizeof(chunk), reterr);
	}
	*ret_s = cpu_now() - begin;
	return rc;
}

static int tapes_once(struct bench *b, struct rounds *r, uint32_t i, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer object = { 0 };

	int rc = seal_once(b, &r->seal[i], reterr);
	rc = rc < 0 ? rc : et_file_read(b->path, 1U << 30, &object, reterr);
	(void)unlink(b->path);
	const struct et_view view = { object.data, object.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	r->object_bytes = (double)object.size;
	/* Once before: the pages of memory are there then. */
	rc = rc < 0 ? rc : open_once(b, &source, &r->opened[i], reterr);
	rc = rc < 0 ? rc : open_once(b, &source, &r->opened[i], reterr);
	rc = rc < 0 ? rc : verify_once(&source, &r->verified[i], reterr);
	return rc < 0 ? rc : read_once(&source, &r->read[i], reterr);
}

static void rounds_tell(struct rounds *r, uint32_t rounds, struct et_tape_bench *ret)
{
	const double plain = (double)RECORD * RECORDS;
	const double sealed = (double)SEALED * RECORDS;

	ret->aes_gcm_seal = rate_of(r->aes_seal, rounds, plain);
	ret->aes_gcm_open = rate_of(r->aes_open, rounds, plain);
	ret->sha256 = rate_of(r->sha, rounds, sealed);
	ret->crc32c = rate_of(r->crc, rounds, sealed);
	ret->file_write = rate_of(r->write, rounds, sealed);
	ret->read = rate_of(r->read, rounds, r->object_bytes);
	ret->seal = rate_of(r->seal, rounds, plain);
	ret->open = rate_of(r->opened, rounds, plain);
	ret->verify = rate_of(r->verified, rounds, r->object_bytes);
}

/* `openssl speed` before the first round, in the middle, and behind the last. */
static int measure_rounds(struct bench *b, struct et_tape_bench *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_aead_freep) struct et_aead *cipher = NULL;
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *h = et_sha256_new();
	const uint32_t rounds = b->config->rounds;
	static struct rounds r;

	int rc = h != NULL ? et_aead_new(b->dek, &cipher, reterr)
			   : et_fail(reterr, -ENOMEM, "bench-tape");
	et_openssl_begin(&ret->openssl);
	et_openssl_measure(&ret->openssl, RECORD, SEALED);
	for (uint32_t i = 0; i < rounds && rc == 0; i++) {
		rc = primitives_once(b, cipher, h, &r, i, reterr);
		rc = rc < 0 ? rc : tapes_once(b, &r, i, reterr);
		if (i == rounds / 2) {
			et_openssl_measure(&ret->openssl, RECORD, SEALED);
		}
	}
	et_openssl_measure(&ret->openssl, RECORD, SEALED);
	if (rc == 0) {
		rounds_tell(&r, rounds, ret);
	}
	return rc;
}

/* ---- A call ---------------------------------------------------------------------------------- */

struct call {
	struct et_tape *tape;
	struct et_media_encoder *encoder;
	struct et_tape_state *state;
	int64_t checkpoint_us;
	struct et_tape_bench *counts;
};

/* A CHECKPOINT, or INDEX and END. */
static int call_checkpoint(struct call *c, uint32_t t_ms, bool end, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };

	int rc = et_tape_state_write(c->state, &b);
	if (rc < 0 || b.failed) {
		return et_fail(reterr, rc < 0 ? rc : -ENOMEM, "bench-tape");
	}
	return end ? et_tape_end(c->tape, t_ms, (struct et_view){ b.data, b.size }, reterr)
		   : et_tape_append(c->tape, ET_TAPE_CHECKPOINT, t_ms, b.data, b.size, reterr);
}

static int call_flush(struct call *c, struct et_error *reterr)
{
	struct et_media_encoder *e = c->encoder;
	int rc = 0;

	if (e->packets > 0) {
		const uint32_t t_ms = (uint32_t)((e->first_us - T0_US) / 1000);
		rc = et_tape_append(c->tape, ET_TAPE_MEDIA, t_ms, e->plain.data, e->plain.size,
				    reterr);
		c->counts->call_plain_bytes += e->plain.size;
		const int64_t first_us = e->first_us;
		et_media_encoder_reset(e);
		if (rc == 0 && first_us - c->checkpoint_us >= ET_CHECKPOINT_EVERY_US) {
			c->checkpoint_us = first_us;
			rc = call_checkpoint(c, t_ms, false, reterr);
		}
	}
	return rc;
}

/* As the recorder does it: a record at 16 KiB or after a second, a checkpoint each 30 s. */
static int call_packet(struct bench *b, struct call *c, uint32_t number, uint32_t party,
		       struct et_error *reterr)
{
	const struct et_media_packet p = {
		.stream = party,
		.sequence = (uint16_t)number,
		.timestamp = number * PAYLOAD,
		.arrival_us = T0_US + number * 20000LL + party * 3000 +
			      number * 7919 % 1000, /* a network's jitter */
		.payload = { b->plain + number * 37 % (RECORD - PAYLOAD), PAYLOAD },
	};
	int rc = 0;

	if (c->encoder->packets > 0 && p.arrival_us - c->encoder->first_us >= 1000000) {
		rc = call_flush(c, reterr);
	}
	rc = rc < 0 ? rc : et_media_encoder_add(c->encoder, &p, RECORD);
	if (rc == ET_ELIMIT) {
		rc = call_flush(c, reterr);
		rc = rc < 0 ? rc : et_media_encoder_add(c->encoder, &p, RECORD);
	}
	et_tape_state_packet(c->state, &p);
	c->counts->call_payload_bytes += PAYLOAD;
	return rc;
}

static int call_once(struct bench *b, struct et_tape_bench *counts, double *ret_s,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_media_encoder encoder = { 0 };
	struct et_tape_header header = header_of();
	struct et_tape_seal seal = { 0 };
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *state = et_tape_state_new(T0_US);
	struct call c = {
		.encoder = &encoder, .state = state, .checkpoint_us = T0_US, .counts = counts
	};

	counts->call_plain_bytes = 0;
	counts->call_payload_bytes = 0;
	const double begin = cpu_now();
	int rc = et_tape_create(b->path, &header, b->dek, &t, reterr);
	c.tape = t;
	for (uint32_t i = 0; i < CALL_SECONDS * PACKETS_PER_S * 2 && rc == 0; i++) {
		rc = call_packet(b, &c, i / 2, i % 2, reterr);
	}
	rc = rc < 0 ? rc : call_flush(&c, reterr);
	rc = rc < 0 ? rc : call_checkpoint(&c, CALL_SECONDS * 1000, true, reterr);
	rc = rc < 0 ? rc : et_tape_finish(t, &b->signer, &seal, reterr);
	*ret_s = cpu_now() - begin;
	counts->call_object_bytes = seal.size_bytes;
	counts->call_records = (uint32_t)seal.records;
	et_media_encoder_release(&encoder);
	(void)unlink(b->path);
	return rc;
}

static double ms_between(const struct timeval *a, const struct timeval *b)
{
	return (double)(b->tv_sec - a->tv_sec) * 1e3 + (double)(b->tv_usec - a->tv_usec) / 1e3;
}

static int measure_calls(struct bench *b, struct et_tape_bench *ret, struct et_error *reterr)
{
	double *seconds = calloc(b->config->calls, sizeof(*seconds));
	int rc = seconds != NULL ? 0 : et_fail(reterr, -ENOMEM, "bench-tape");

	struct rusage before;
	struct rusage after;

	(void)getrusage(RUSAGE_THREAD, &before);
	for (uint32_t i = 0; i < b->config->calls && rc == 0; i++) {
		rc = call_once(b, ret, &seconds[i], reterr);
	}
	if (rc == 0) {
		qsort(seconds, b->config->calls, sizeof(*seconds), order);
		ret->call_ms_best = seconds[0] * 1e3;
		ret->call_ms_median = seconds[b->config->calls / 2] * 1e3;
		(void)getrusage(RUSAGE_THREAD, &after);
		ret->call_user_ms =
			ms_between(&before.ru_utime, &after.ru_utime) / b->config->calls;
		ret->call_kernel_ms =
			ms_between(&before.ru_stime, &after.ru_stime) / b->config->calls;
	}
	free(seconds);
	return rc;
}

static int bench_begin(struct bench *b, struct et_error *reterr)
{
	b->plain = malloc(RECORD);
	b->sealed = calloc(1, SEALED);
	if (b->plain == NULL || b->sealed == NULL) {
		return et_fail(reterr, -ENOMEM, "bench-tape");
	}
	et_random(b->plain, RECORD);
	int rc = et_secret_random(32, &b->dek, reterr);
	rc = rc < 0 ? rc : et_ed25519_generate(&b->seed, b->public_key, reterr);
	b->signer = (struct et_tape_signer){
		.node = 1, .seed = b->seed, .now_us = 1, .public_key = b->public_key
	};
	return rc;
}

int et_tape_bench_run(const struct et_tape_bench_config *config, struct et_tape_bench *ret,
		      struct et_error *reterr)
{
	struct bench b = { .config = config };

	et_assert(config->rounds > 0 && config->rounds <= ROUNDS_MAX && config->calls > 0);
	*ret = (struct et_tape_bench){ 0 };
	(void)snprintf(b.path, sizeof(b.path), "%.200s/bench-tape.evtm", config->folder);
	int rc = bench_begin(&b, reterr);
	rc = rc < 0 ? rc : measure_rounds(&b, ret, reterr);
	rc = rc < 0 ? rc : measure_calls(&b, ret, reterr);
	(void)unlink(b.path);
	(void)et_secret_free(b.dek);
	(void)et_secret_free(b.seed);
	free(b.plain);
	free(b.sealed);
	return rc;
}
