/* Tapes that the catalogue knows by root and seal hash: verified before they are packed, and known
 * there by the hash of their bytes that comes with the copy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "archive/mover/test/world.h"
#include "node/crypto/sign.h"
#include "node/tape/tape.h"

/* A real one, on the disk of node 1. */
static struct tape tape_write(const struct world *w, uint8_t number, const struct et_secret *seed)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *writer = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	ET_CLEANUP(et_buffer_release) struct et_buffer whole = { 0 };
	struct tape t = tape_make(w, number, 1);
	struct et_tape_header header = {
		.generation = 1, .segment = 1, .kek_version = 1, .node = 1, .t0_us = START_US
	};
	const struct et_tape_signer signer = { .node = 1, .seed = seed, .now_us = START_US };
	struct et_tape_seal seal;
	uint8_t plain[200] = { number };

	assert_int_equal(et_file_mkdirs_of(t.path, NULL), 0);
	memcpy(header.recording, t.id, 16);
	assert_int_equal(et_secret_random(32, &dek, NULL), 0);
	assert_int_equal(et_tape_create(t.path, &header, dek, &writer, NULL), 0);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(
			et_tape_append(writer, ET_TAPE_MEDIA, i, plain, sizeof(plain), NULL), 0);
	}
	assert_int_equal(et_tape_finish(writer, &signer, &seal, NULL), 0);
	assert_int_equal(et_file_read(t.path, 1U << 20, &whole, NULL), 0);
	free(t.bytes);
	t.size = whole.size;
	t.bytes = whole.data;
	whole = (struct et_buffer){ 0 };
	et_sha256(t.bytes, t.size, t.sha256);
	memcpy(t.root, seal.root, 32);
	memcpy(t.seal_hash, seal.seal_hash, 32);
	memcpy(t.header_hash, header.hash, 32);
	t.by_seal = true;
	return t;
}

static struct tape tape_told(struct world *w, uint8_t number, const struct et_secret *seed)
{
	struct tape t = tape_write(w, number, seed);

	tape_open(w, &t);
	tape_seal(w, &t);
	return t;
}

/* The tape's file under a footer that somebody else made: it proves itself. */
static void sign_anew(const struct tape *t)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *other = NULL;
	uint8_t public_key[32];
	const off_t body = (off_t)(t->size - ET_TAPE_TRAILER_SIZE);
	struct et_tape_recovery recovery;

	assert_int_equal(et_ed25519_generate(&other, public_key, NULL), 0);
	const struct et_tape_signer signer = { .node = 1, .seed = other, .now_us = START_US };
	assert_int_equal(truncate(t->path, body), 0);
	assert_int_equal(et_tape_recover(t->path, &signer, NULL, &recovery, NULL), 0);
	assert_memory_equal(recovery.seal.root, t->root, 32);
	assert_int_equal(recovery.seal.size_bytes, t->size);
}

static void change(const char *path, off_t at)
{
	uint8_t byte;

	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	assert_int_equal(close(fd), 0);
}

static void archives_what_is_known_by_its_seal(void **state)
{
	struct world *w = *state;
	ET_CLEANUP(et_secret_freep) struct et_secret *seed = NULL;
	ET_CLEANUP(et_buffer_release) struct et_buffer bytes = { 0 };
	uint8_t public_key[32];
	char path[512];
	struct et_mover_verify verify = { 0 };
	struct et_error e = { 0 };

	assert_int_equal(et_ed25519_generate(&seed, public_key, NULL), 0);
	struct tape good = tape_told(w, 1, seed);
	struct tape older = tape_record(w, 2, 5000);
	struct tape rotten = tape_told(w, 3, seed);
	struct tape forged = tape_told(w, 4, seed);
	change(rotten.path, 777);
	sign_anew(&forged);
	assert_int_equal(policy_set(w, GO, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);

	expect_archived(w, &good);
	expect_archived(w, &older);
	const struct tape *const bad[] = { &rotten, &forged };
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		assert_false(copy_at(w, bad[i], "target:cold").found);
		assert_int_equal(copy_at(w, bad[i], "node:1").state, ET__COPY__STATE__BAD);
	}
	/* The older one is known by the hash of its segment. */
	struct copy_seen there = copy_at(w, &good, "target:cold");
	assert_true(there.has_hash);
	assert_memory_equal(there.hash, good.sha256, 32);
	assert_false(copy_at(w, &older, "target:cold").has_hash);
	assert_int_equal(et_mover_verify(w->mover, &verify, &e), 0);
	assert_int_equal(verify.copies, 2);
	assert_int_equal(verify.bytes, good.size + older.size);
	(void)snprintf(path, sizeof(path), "%s/fetched", w->media);
	assert_int_equal(et_mover_fetch(w->mover, good.id, 1, 1, path, &e), 0);
	assert_int_equal(et_file_read(path, 1U << 20, &bytes, &e), 0);
	assert_int_equal(bytes.size, good.size);
	assert_memory_equal(bytes.data, good.bytes, good.size);

	/* What rots in the bucket is found by it, by a fetch and by a verification. */
	(void)snprintf(path, sizeof(path), "%s/%s", w->store, there.object);
	change(path, (off_t)there.offset + 1234);
	(void)snprintf(path, sizeof(path), "%s/again", w->media);
	assert_int_equal(et_mover_fetch(w->mover, good.id, 1, 1, path, &e), ET_EINTEGRITY);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(copy_at(w, &good, "target:cold").state, ET__COPY__STATE__BAD);
	verify = (struct et_mover_verify){ .recording = good.id };
	assert_int_equal(et_mover_verify(w->mover, &verify, &e), ET_EINTEGRITY);
	assert_int_equal(verify.bad, 1);
	free(good.bytes);
	free(older.bytes);
	free(rotten.bytes);
	free(forged.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(archives_what_is_known_by_its_seal, set_up,
						tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
