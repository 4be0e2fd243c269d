#include "cluster-tests/harness/tape/made.h"

#include <string.h>

#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "node/tape/reader.h"

/* SplitMix64 (Steele, Lea, Flood 2014): every seed gives other bytes, on every machine the same. */
static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15U;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
	return z ^ (z >> 31);
}

void et_made_content(uint64_t seed, uint32_t n, uint8_t *ret, size_t size)
{
	uint64_t state = seed * 1000003 + n;

	for (size_t i = 0; i < size; i++) {
		ret[i] = (uint8_t)mix(&state);
	}
}

bool et_made_is_checkpoint(uint32_t n)
{
	return n % 4 == 3;
}

void et_made_plain(const struct et_made_tape *m, uint32_t n, uint8_t *ret)
{
	const bool ends = m->tail[1].size > 0;
	const struct et_buffer *tail =
		ends && n + 2 >= m->records ? &m->tail[n + 2 - m->records] : NULL;

	if (tail != NULL) {
		memcpy(ret, tail->data, tail->size);
	} else {
		et_made_content(m->seed, n, ret, m->sizes[n]);
	}
}

static struct et_secret *secret_of(uint64_t seed, uint32_t which)
{
	struct et_secret *s = et_secret_new(32);

	if (s != NULL) {
		et_made_content(seed, UINT32_MAX - which, et_secret_edit(s), 32);
	}
	return s;
}

static enum et_tape_kind kind_of(uint32_t n, bool ends)
{
	return n == 0				  ? ET_TAPE_META
	       : ends && et_made_is_checkpoint(n) ? ET_TAPE_CHECKPOINT
						  : ET_TAPE_MEDIA;
}

static int made_records(struct et_tape *t, uint32_t bytes, bool ends, struct et_made_tape *m,
			struct et_error *reterr)
{
	uint8_t *plain = malloc(bytes);
	uint64_t state = m->seed;
	int rc = plain != NULL ? 0 : et_fail(reterr, -ENOMEM, "made tape");

	m->ends[0] = ET_TAPE_HEADER_SIZE;
	for (uint32_t n = 0; n < m->records && rc == 0; n++) {
		m->sizes[n] = 1 + (uint32_t)(mix(&state) % bytes);
		m->ends[n + 1] =
			m->ends[n] + ET_TAPE_RECORD_HEAD_SIZE + m->sizes[n] + ET_TAPE_TAG_SIZE;
		et_made_content(m->seed, n, plain, m->sizes[n]);
		rc = et_tape_append(t, kind_of(n, ends), n * 1000, plain, m->sizes[n], reterr);
	}
	free(plain);
	return rc;
}

static int made_begin(const char *path, uint64_t seed, struct et_made_tape *ret,
		      struct et_tape **ret_tape, struct et_error *reterr)
{
	ret->seed = seed;
	ret->dek = secret_of(seed, 1);
	ret->sign_seed = secret_of(seed, 2);
	if (ret->dek == NULL || ret->sign_seed == NULL) {
		return et_fail(reterr, -ENOMEM, "made tape");
	}
	int rc = et_ed25519_public(ret->sign_seed, ret->sign_public, reterr);
	ret->signer = (struct et_tape_signer){ .node = 7,
					       .seed = ret->sign_seed,
					       .now_us = 1700000060000000 };
	ret->header = (struct et_tape_header){ .generation = 1,
					       .segment = 1,
					       .kek_id = 1,
					       .kek_version = 1,
					       .dek_id = seed,
					       .node = 7,
					       .t0_us = 1700000000000000 };
	et_made_content(seed, UINT32_MAX, ret->header.recording, sizeof(ret->header.recording));
	return rc < 0 ? rc : et_tape_create(path, &ret->header, ret->dek, ret_tape, reterr);
}

static int made_end(const char *path, struct et_tape *t, struct et_made_tape *ret,
		    struct et_error *reterr)
{
	int rc = et_tape_finish(t, &ret->signer, &ret->seal, reterr);

	return rc < 0 ? rc : et_file_read(path, 1U << 30, &ret->object, reterr);
}

/* INDEX and END, which only the tape knows: read back. */
static int made_tail(struct et_made_tape *m, struct et_error *reterr)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	const struct et_view view = { m->object.data, m->object.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	struct et_tape_record record;

	int rc = et_tape_reader_new(&source, m->dek, &r, reterr);
	rc = rc < 0 ? rc : et_tape_reader_index(r, &record, reterr);
	for (uint32_t i = 0; i < 2 && rc == 1; i++) {
		m->sizes[m->records] = (uint32_t)record.plain.size;
		m->ends[m->records + 1] = m->ends[m->records] + ET_TAPE_RECORD_HEAD_SIZE +
					  record.plain.size + ET_TAPE_TAG_SIZE;
		m->records++;
		et_buffer_add(&m->tail[i], record.plain.data, record.plain.size);
		rc = i == 0 ? et_tape_reader_next(r, &record, reterr) : 1;
	}
	if (rc == 0 || (rc == 1 && m->ends[m->records] != m->seal.body_bytes)) {
		rc = et_fail_plain(reterr, ET_EINTEGRITY, "the made tape has no INDEX and END");
	}
	return rc < 0 ? rc : 0;
}

int et_made_tape(const char *path, uint64_t seed, uint32_t records, uint32_t bytes, bool ends,
		 struct et_made_tape *ret, struct et_error *reterr)
{
	static const uint8_t nothing[] = { 1, 1, 1, 1 }; /* a checkpoint of an empty META */
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;

	et_assert(records + (ends ? 2 : 0) <= ET_MADE_RECORDS_MAX);
	et_assert(bytes > 0 && bytes <= ET_TAPE_PLAIN_MAX);
	ret->records = records;
	int rc = made_begin(path, seed, ret, &t, reterr);
	rc = rc < 0 ? rc : made_records(t, bytes, ends, ret, reterr);
	if (rc == 0 && ends) {
		rc = et_tape_end(t, records * 1000, (struct et_view){ nothing, sizeof(nothing) },
				 reterr);
	}
	rc = rc < 0 ? rc : made_end(path, t, ret, reterr);
	return rc == 0 && ends ? made_tail(ret, reterr) : rc;
}

int et_made_call_tape(const char *path, uint64_t seed, bool padded, FILE *out,
		      struct et_made_tape *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;

	int rc = made_begin(path, seed, ret, &t, reterr);
	if (rc == 0 && padded) {
		et_tape_pad(t, ET_TAPE_BLOCK_MIN, 0);
	}
	rc = rc < 0 ? rc : et_made_call(t, ret, out, reterr);
	ret->records = t != NULL ? (uint32_t)et_tape_records(t) : 0;
	return rc < 0 ? rc : made_end(path, t, ret, reterr);
}

void et_made_release(struct et_made_tape *m)
{
	m->dek = et_secret_free(m->dek);
	m->sign_seed = et_secret_free(m->sign_seed);
	et_buffer_release(&m->object);
	et_buffer_release(&m->tail[0]);
	et_buffer_release(&m->tail[1]);
}
