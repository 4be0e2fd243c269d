/* Tapes and proofs on the command line: no cluster, no key, and exit 9 for any change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "node/tape/tape.h"
#include "ops/cli/cli.h"

enum { RECORDS = 9 };

struct fixture {
	char folder[64];
	char tape[96];
	char proof[96];
	char root[65];
	char signer[65];
	char *out;
	char *err;
};

static int run(struct fixture *f, const char *fmt, ...) ET_PRINTF(2, 3);
static int run(struct fixture *f, const char *fmt, ...)
{
	char line[512];
	char *argv[32] = { (char *)(uintptr_t) "evertape" };
	size_t out_size;
	size_t err_size;
	int argc = 1;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (char *save = NULL, *w = strtok_r(line, " ", &save); w != NULL;
	     w = strtok_r(NULL, " ", &save)) {
		argv[argc++] = w;
	}
	free(f->out);
	free(f->err);
	FILE *out = open_memstream(&f->out, &out_size);
	FILE *err = open_memstream(&f->err, &err_size);
	assert_non_null(out);
	assert_non_null(err);
	int code = et_cli_main(argc, argv, out, err);
	(void)fclose(out);
	(void)fclose(err);
	return code;
}

static void hex(const uint8_t bytes[32], char ret[65])
{
	for (size_t i = 0; i < 32; i++) {
		(void)snprintf(ret + i * 2, 3, "%02x", bytes[i]);
	}
}

static void make_tape(struct fixture *f, bool sealed)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *seed = NULL;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_header header = { .recording = { 7 }, .generation = 1, .segment = 3 };
	struct et_tape_seal seal;
	uint8_t public_key[32];

	(void)unlink(f->tape);
	assert_int_equal(et_secret_random(32, &dek, NULL), 0);
	assert_int_equal(et_ed25519_generate(&seed, public_key, NULL), 0);
	assert_int_equal(et_tape_create(f->tape, &header, dek, &t, NULL), 0);
	for (uint32_t n = 0; n < RECORDS; n++) {
		assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, n * 1000, "plaintext", 9, NULL),
				 0);
	}
	if (sealed) {
		const struct et_tape_signer signer = { .node = 5, .seed = seed, .now_us = 1 };
		assert_int_equal(et_tape_finish(t, &signer, &seal, NULL), 0);
		hex(seal.root, f->root);
		hex(public_key, f->signer);
	}
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/et_cli_tape.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->tape, sizeof(f->tape), "%s/a.evtm", f->folder);
	(void)snprintf(f->proof, sizeof(f->proof), "%s/a.evtp", f->folder);
	make_tape(f, true);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)unlink(f->tape);
	(void)unlink(f->proof);
	assert_int_equal(rmdir(f->folder), 0); /* Nothing else was left in it. */
	free(f->out);
	free(f->err);
	free(f);
	return 0;
}

static struct et_buffer load(const char *path)
{
	struct et_buffer b = { 0 };
	assert_int_equal(et_file_read(path, 1U << 20, &b, NULL), 0);
	return b;
}

static void store(const char *path, const struct et_buffer *b)
{
	FILE *file = fopen(path, "wbe");
	assert_non_null(file);
	assert_int_equal(fwrite(b->data, 1, b->size, file), b->size);
	assert_int_equal(fclose(file), 0);
}

static void a_file_is_verified_without_a_cluster(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, "recording verify --ciphertext %s -o json", f->tape), 0);
	assert_non_null(strstr(f->out, "\"result\": \"ok\""));
	assert_non_null(strstr(f->out, f->root));
	assert_int_equal(run(f, "recording verify --ciphertext %s --root %s --signer %s", f->tape,
			     f->root, f->signer),
			 0);
	assert_int_equal(run(f, "recording verify --ciphertext %s --root %s", f->tape, f->signer),
			 9);
	assert_int_equal(run(f, "recording verify --ciphertext %s --signer %s", f->tape, f->root),
			 9);
	assert_int_equal(run(f, "recording verify --ciphertext %s --root 12", f->tape), 2);
	assert_int_equal(run(f, "recording verify %s", f->tape), 2); /* an id, without the option */

	struct et_buffer b = load(f->tape);
	b.data[200] ^= 1;
	store(f->tape, &b);
	assert_int_equal(run(f, "recording verify --ciphertext %s -o json", f->tape), 9);
	assert_non_null(strstr(f->out, "\"result\": \"bad\""));
	assert_non_null(strstr(f->out, "record 0 of 9 is damaged"));
	et_buffer_release(&b);

	make_tape(f, false);
	assert_int_equal(run(f, "recording verify --ciphertext %s -o json", f->tape), 6);
	assert_non_null(strstr(f->out, "\"result\": \"open\""));
	assert_non_null(strstr(f->out, "\"good_records\": 9"));
}

static void an_excerpt_is_proved_and_any_change_exits_9(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, "proof %s --from 2s --to 4s --out %s", f->tape, f->proof), 0);
	assert_int_equal(run(f, "verify-proof %s -o json", f->proof), 0);
	assert_non_null(strstr(f->out, "\"first_record\": 2"));
	assert_non_null(strstr(f->out, "\"records\": 2"));
	assert_non_null(strstr(f->out, "\"from_ms\": 2000"));
	assert_non_null(strstr(f->out, f->root));
	assert_int_equal(
		run(f, "verify-proof %s --root %s --signer %s", f->proof, f->root, f->signer), 0);
	assert_int_equal(run(f, "verify-proof %s --root %s", f->proof, f->signer), 9);

	struct et_buffer b = load(f->proof);
	for (size_t at = 0; at < b.size; at++) {
		b.data[at] ^= (uint8_t)(1U << at % 8);
		store(f->proof, &b);
		assert_int_equal(run(f, "verify-proof %s", f->proof), 9);
		b.data[at] ^= (uint8_t)(1U << at % 8);
	}
	et_buffer_add8(&b, 0);
	store(f->proof, &b);
	assert_int_equal(run(f, "verify-proof %s", f->proof), 9);
	for (b.size -= 1; b.size > 0;) {
		b.size--;
		store(f->proof, &b);
		assert_int_equal(run(f, "verify-proof %s", f->proof), 9);
	}
	et_buffer_release(&b);
	assert_int_equal(run(f, "verify-proof %s", f->tape), 9);
	assert_int_equal(run(f, "proof %s --from 4s --to 2s --out %s", f->tape, f->proof), 2);
	assert_int_equal(run(f, "proof %s --from 1h --out %s", f->tape, f->proof), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_is_verified_without_a_cluster, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_excerpt_is_proved_and_any_change_exits_9, set_up,
						tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
