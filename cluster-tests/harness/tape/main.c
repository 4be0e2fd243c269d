/* labtape: tapes for tests. Never installed.
 *
 *   labtape damage [--whole] [--records N] [--bytes N] [--seed N] [--bits] [--dir DIR] [--json]
 *       damages a made tape at every byte, in every way, and counts what came of it; --whole: as
 *       --records 12 --bytes 1000 --bits
 *   labtape write FILE [--ends] [--seed N] [--records N] [--bytes N]
 *       writes a sealed tape (--ends: with checkpoints, INDEX and END) and prints its DEK, its root
 *       and the SHA-256 of each plaintext
 *   labtape call FILE [--padded] [--seed N]
 *       writes the sealed tape of a call in which every item and flag of the format occurs, and
 *       prints its packets (made.h), its DEK and its root
 *
 *   labtape prove FILE --from MS --to MS [--leaves] [--seed N] [--records N] [--bytes N]
 *       writes the proof of an excerpt of the tape that `write` would write
 *
 * Exit: 0 all as promised, 1 not, 2 usage, others: of the error. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tests/harness/tape/damage.h"
#include "cluster-tests/harness/tape/made.h"
#include "node/crypto/hash.h"
#include "node/io/file.h"
#include "node/tape/proof.h"

struct arguments {
	struct et_damage_config damage;
	struct et_proof_span span;
	bool json;
	bool ends;
	bool padded;
};

static int usage(void)
{
	(void)fputs(
		"usage: labtape damage [--whole] [--records N] [--bytes N] [--seed N] [--bits] "
		"[--dir DIR] [--json]\n"
		"       labtape write FILE [--ends] [--seed N] [--records N] [--bytes N]\n"
		"       labtape call FILE [--padded] [--seed N]\n"
		"       labtape prove FILE --from MS --to MS [--leaves] [--seed N] [--records N] "
		"[--bytes N]\n",
		stderr);
	return 2;
}

static bool number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end = NULL;

	*ret = strtoull(text, &end, 10);
	return *text != '\0' && *end == '\0' && *ret > 0 && *ret <= max;
}

static bool arguments_read(int argc, char **argv, struct arguments *a)
{
	uint64_t n = 0;

	for (int i = 0; i < argc; i++) {
		const char *name = argv[i];
		if (strcmp(name, "--whole") == 0) {
			a->damage.records = 12;
			a->damage.bytes = 1000;
			a->damage.bits = true;
		} else if (strcmp(name, "--leaves") == 0) {
			a->span.leaves = true;
		} else if (strcmp(name, "--padded") == 0) {
			a->padded = true;
		} else if (strcmp(name, "--bits") == 0) {
			a->damage.bits = true;
		} else if (strcmp(name, "--json") == 0) {
			a->json = true;
		} else if (strcmp(name, "--ends") == 0) {
			a->ends = true;
		} else if (i + 1 == argc) {
			return false;
		} else if (strcmp(name, "--dir") == 0) {
			a->damage.folder = argv[++i];
		} else if (strcmp(name, "--from") == 0 && number(argv[++i], UINT32_MAX, &n)) {
			a->span.from_ms = (uint32_t)n;
		} else if (strcmp(name, "--to") == 0 && number(argv[++i], UINT32_MAX, &n)) {
			a->span.to_ms = (uint32_t)n;
		} else if (strcmp(name, "--seed") == 0 && number(argv[++i], UINT64_MAX, &n)) {
			a->damage.seed = n;
		} else if (strcmp(name, "--records") == 0 &&
			   number(argv[++i], ET_MADE_RECORDS_MAX - 2, &n)) {
			a->damage.records = (uint32_t)n;
		} else if (strcmp(name, "--bytes") == 0 &&
			   number(argv[++i], ET_TAPE_PLAIN_MAX, &n)) {
			a->damage.bytes = (uint32_t)n;
		} else {
			return false;
		}
	}
	return true;
}

static void print_json(const struct et_damage_result *r)
{
	(void)printf("{\"schema\":\"evertape/lab/v1\",\"object_bytes\":%" PRIu64
		     ",\"body_bytes\":%" PRIu64 ",\"records\":%u,\"tried\":%" PRIu64
		     ",\"wrong\":%" PRIu64 ",\"kinds\":[",
		     r->object_bytes, r->body_bytes, r->records, r->tried, r->wrong);
	for (uint32_t i = 0; i < r->kind_count; i++) {
		const struct et_damage_tally *t = &r->kinds[i];
		(void)printf("%s{\"name\":\"%s\",\"promise\":\"%s\",\"tried\":%" PRIu64
			     ",\"wrong\":%" PRIu64 "}",
			     i > 0 ? "," : "", t->name, t->promise, t->tried, t->wrong);
	}
	(void)printf("]}\n");
}

static void print_table(const struct et_damage_result *r)
{
	(void)printf("a tape of %" PRIu64 " bytes, %u records in %" PRIu64 " bytes\n",
		     r->object_bytes, r->records, r->body_bytes);
	for (uint32_t i = 0; i < r->kind_count; i++) {
		const struct et_damage_tally *t = &r->kinds[i];
		(void)printf("%-44s %7" PRIu64 " tried  %5" PRIu64 " wrong   %s\n", t->name,
			     t->tried, t->wrong, t->promise);
		if (t->wrong > 0) {
			(void)printf("    the first: %s\n", t->first_wrong);
		}
	}
	(void)printf("%" PRIu64 " tried, %" PRIu64 " wrong\n", r->tried, r->wrong);
}

static int run_damage(const struct arguments *a)
{
	static struct et_damage_result result;
	struct et_error e = { 0 };

	int rc = et_damage_run(&a->damage, &result, &e);
	if (rc < 0) {
		(void)fprintf(stderr, "labtape: %s\n", e.text);
		return et_exit_code(rc);
	}
	if (a->json) {
		print_json(&result);
	} else {
		print_table(&result);
	}
	return result.wrong == 0 ? 0 : 1;
}

static void print_hex(const char *name, const uint8_t *bytes, size_t size)
{
	(void)printf("%s ", name);
	for (size_t i = 0; i < size; i++) {
		(void)printf("%02x", bytes[i]);
	}
	(void)printf("\n");
}

static void print_made(const struct et_made_tape *made)
{
	print_hex("dek", et_secret_bytes(made->dek), 32);
	print_hex("root", made->seal.root, 32);
	print_hex("seal", made->seal.seal_hash, 32);
	print_hex("signer", made->sign_public, 32);
}

static int run_write(const char *path, const struct arguments *a, bool call)
{
	static struct et_made_tape made;
	static uint8_t plain[ET_TAPE_PLAIN_MAX];
	uint8_t hash[32];
	struct et_error e = { 0 };

	int rc = call ? et_made_call_tape(path, a->damage.seed, a->padded, stdout, &made, &e)
		      : et_made_tape(path, a->damage.seed, a->damage.records, a->damage.bytes,
				     a->ends, &made, &e);
	if (rc < 0) {
		(void)fprintf(stderr, "labtape: %s\n", e.text);
	} else {
		print_made(&made);
		for (uint32_t n = 0; n < made.records && !call; n++) {
			et_made_plain(&made, n, plain);
			et_sha256(plain, made.sizes[n], hash);
			print_hex("plain", hash, sizeof(hash));
		}
	}
	et_made_release(&made);
	return rc < 0 ? et_exit_code(rc) : 0;
}

static int run_prove(const char *path, const struct arguments *a)
{
	static struct et_made_tape made;
	struct et_buffer b = { 0 };
	struct et_error e = { 0 };
	uint8_t head[ET_PROOF_FILE_HEAD_SIZE];

	int rc = et_made_tape(path, a->damage.seed, a->damage.records, a->damage.bytes, false,
			      &made, &e);
	const struct et_view view = { made.object.data, made.object.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	et_proof_head(1, head);
	et_buffer_add(&b, head, sizeof(head));
	rc = rc < 0 ? rc : et_tape_prove(&source, &a->span, NULL, &b, &e);
	rc = rc < 0 ? rc : et_file_publish(path, b.data, b.size, 0600, &e);
	if (rc < 0) {
		(void)fprintf(stderr, "labtape: %s\n", e.text);
	} else {
		print_made(&made);
	}
	et_buffer_release(&b);
	et_made_release(&made);
	return rc < 0 ? et_exit_code(rc) : 0;
}

int main(int argc, char **argv)
{
	/* In memory where there is some: each try syncs its file. */
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
	struct arguments a = { .damage = { .folder = tmp != NULL ? tmp : "/tmp",
					   .seed = 1,
					   .records = 8,
					   .bytes = 60 } };

	if (argc >= 2 && strcmp(argv[1], "damage") == 0 && arguments_read(argc - 2, argv + 2, &a)) {
		return run_damage(&a);
	}
	if (argc >= 3 && strcmp(argv[1], "write") == 0 && arguments_read(argc - 3, argv + 3, &a)) {
		return run_write(argv[2], &a, false);
	}
	if (argc >= 3 && strcmp(argv[1], "call") == 0 && arguments_read(argc - 3, argv + 3, &a)) {
		return run_write(argv[2], &a, true);
	}
	if (argc >= 3 && strcmp(argv[1], "prove") == 0 && arguments_read(argc - 3, argv + 3, &a) &&
	    a.span.from_ms < a.span.to_ms) {
		return run_prove(argv[2], &a);
	}
	return usage();
}
