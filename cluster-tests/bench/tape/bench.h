/* bench-tape: what sealing, opening and verifying cost beside the primitives that they are made of,
 * in CPU time of one thread.
 *
 * Threads: one. */
#ifndef ET_CLUSTER_TESTS_BENCH_TAPE_BENCH_H
#define ET_CLUSTER_TESTS_BENCH_TAPE_BENCH_H

#include "node/base/bytes.h"
#include "node/base/err.h"

/* Best and median of the rounds, in MB (10^6 bytes) per CPU second. */
struct et_rate {
	double best;
	double median;
};

struct et_tape_bench_config {
	const char *folder; /* for the tapes: memory, so that no disk is measured */
	uint32_t rounds;    /* of each figure, in turn */
	uint32_t calls;	    /* of 180 s a round */
};

enum { ET_OPENSSL_RUNS = 3 };

/* What `openssl speed` tells, MB per CPU second; runs that told nothing are not among them. */
struct et_openssl_rates {
	double seal[ET_OPENSSL_RUNS]; /* aes-256-gcm */
	double open[ET_OPENSSL_RUNS]; /* aes-256-gcm -decrypt */
	double sha256[ET_OPENSSL_RUNS];
	uint32_t count;
};

struct et_tape_bench {
	/* The primitives, a record at a time, in this process. */
	struct et_rate aes_gcm_seal;
	struct et_rate aes_gcm_open;
	struct et_rate sha256;
	struct et_rate crc32c;
	struct et_rate file_write; /* pwrite(2) of records, where the tape has them */
	struct et_rate read;	   /* a tape in memory through its source, as a reader reads it */
	struct et_openssl_rates openssl;

	/* Tapes, per byte of plaintext (seal, open) or of the object (verify). */
	struct et_rate seal;
	struct et_rate open;
	struct et_rate verify;

	/* A call of 180 s: two parties of G.711, packet by packet, to the footer. */
	double call_ms_best; /* CPU */
	double call_ms_median;
	double call_user_ms; /* mean, as the kernel accounts it */
	double call_kernel_ms;
	uint64_t call_plain_bytes;
	uint64_t call_object_bytes;
	uint32_t call_records;
	uint64_t call_payload_bytes;
};

/* To hear second 3000 of an hour's tape of two parties of G.711: survey and render. */
struct et_seek_bench {
	uint64_t object_bytes;
	uint64_t bytes_read;
	double ms_best; /* wall; the tape is in memory */
	double ms_median;
};

/* `which`: 0 with checkpoints and INDEX, 1 without the INDEX, 2 without any. */
int et_seek_bench_run(const char *folder, int which, struct et_seek_bench *ret,
		      struct et_error *reterr) ET_MUST_CHECK;

int et_tape_bench_run(const struct et_tape_bench_config *config, struct et_tape_bench *ret,
		      struct et_error *reterr) ET_MUST_CHECK;

void et_openssl_begin(struct et_openssl_rates *r);
/* Run it once more, the cipher with `plain_bytes` at a time, the hash with `sealed_bytes`. */
void et_openssl_measure(struct et_openssl_rates *r, uint32_t plain_bytes, uint32_t sealed_bytes);
/* The median of the runs; 0: there is no openssl. */
double et_openssl_median(const double *runs, uint32_t count);

#endif
