/* bench-tape [ROUNDS]: seal, open and verify beside their primitives, and seeking; prints one JSON
 * object.
 * Default: 21 rounds. Exit 1: it could not be measured. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tests/bench/tape/bench.h"

static void print_rate(const char *name, struct et_rate r)
{
	(void)printf("\"%s\":{\"best\":%.0f,\"median\":%.0f},", name, r.best, r.median);
}

/* What is left when each byte goes through one after the other. */
static double after(double a, double b)
{
	return 1 / (1 / a + 1 / b);
}

static void print_seek(const char *name, const struct et_seek_bench *s)
{
	(void)printf("\"%s\":{\"object_bytes\":%llu,\"bytes_read\":%llu,\"ms\":{\"best\":%.2f,"
		     "\"median\":%.2f}}",
		     name, (unsigned long long)s->object_bytes, (unsigned long long)s->bytes_read,
		     s->ms_best, s->ms_median);
}

struct bounds {
	double seal; /* to a file */
	double open;
	double verify;
};

/* What the format asks for: each byte through the cipher and one hash (its leaf). Writing the file
 * and reading it are in the bounds; the CRC is not. */
static struct bounds bounds_of(const struct et_tape_bench *t, double seal, double open,
			       double sha256)
{
	return (struct bounds){
		.seal = after(after(seal, sha256), t->file_write.median),
		.open = after(open, t->read.median),
		.verify = after(sha256, t->read.median),
	};
}

static void print_bounds(const char *name, const struct et_tape_bench *t, struct bounds b)
{
	(void)printf("\"%s\":{\"seal_to_file\":%.0f,\"open\":%.0f,\"verify\":%.0f,\"share\":{"
		     "\"seal_to_file\":%.3f,\"open\":%.3f,\"verify\":%.3f}}",
		     name, b.seal, b.open, b.verify, t->seal.median / b.seal,
		     t->open.median / b.open, t->verify.median / b.verify);
}

static void print_bench(const struct et_tape_bench *t, const struct et_seek_bench seeks[3])
{
	const struct et_openssl_rates *o = &t->openssl;
	const double seal = et_openssl_median(o->seal, o->count);
	const double open = et_openssl_median(o->open, o->count);
	const double sha256 = et_openssl_median(o->sha256, o->count);

	(void)printf("{\"schema\":\"evertape/bench/v1\",\"bench\":\"tape\",\"unit\":\"MB per CPU "
		     "second\",\"primitives\":{");
	print_rate("aes_256_gcm_seal", t->aes_gcm_seal);
	print_rate("aes_256_gcm_open", t->aes_gcm_open);
	print_rate("sha256", t->sha256);
	print_rate("crc32c", t->crc32c);
	print_rate("file_write", t->file_write);
	print_rate("read", t->read);
	(void)printf("\"openssl_speed\":{\"runs\":%u,\"aes_256_gcm_seal\":%.0f,"
		     "\"aes_256_gcm_open\":%.0f,\"sha256\":%.0f}},\"tape\":{",
		     o->count, seal, open, sha256);
	print_rate("seal_to_file", t->seal);
	print_rate("open", t->open);
	print_rate("verify", t->verify);
	if (o->count > 0) {
		print_bounds("bound_by_openssl_speed", t, bounds_of(t, seal, open, sha256));
		(void)printf(",");
	}
	print_bounds(
		"bound_by_own_primitives", t,
		bounds_of(t, t->aes_gcm_seal.median, t->aes_gcm_open.median, t->sha256.median));
	(void)printf("},");
	(void)printf("\"call_180_s\":{\"cpu_ms\":{\"best\":%.3f,\"median\":%.3f},"
		     "\"mean_user_ms\":%.3f,\"mean_kernel_ms\":%.3f,\"records\":%u,\"payload_"
		     "bytes\":%llu,"
		     "\"plaintext_bytes\":%llu,\"object_bytes\":%llu,\"overhead\":%.5f},",
		     t->call_ms_best, t->call_ms_median, t->call_user_ms, t->call_kernel_ms,
		     t->call_records, (unsigned long long)t->call_payload_bytes,
		     (unsigned long long)t->call_plain_bytes,
		     (unsigned long long)t->call_object_bytes,
		     (double)t->call_object_bytes / (double)t->call_plain_bytes - 1);
	(void)printf("\"second_3000_of_an_hour\":{");
	print_seek("index", &seeks[0]);
	(void)printf(",");
	print_seek("checkpoints_only", &seeks[1]);
	(void)printf(",");
	print_seek("none", &seeks[2]);
	(void)printf("}}\n");
}

int main(int argc, char **argv)
{
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
	struct et_tape_bench_config config = { .folder = tmp != NULL ? tmp : "/tmp",
					       .rounds = 21,
					       .calls = 101 };
	struct et_tape_bench bench;
	struct et_seek_bench seeks[3];
	struct et_error error = { 0 };

	if (argc > 1) {
		config.rounds = (uint32_t)strtoul(argv[1], NULL, 10);
	}
	if (argc > 2 || config.rounds == 0 || config.rounds > 101) {
		(void)fputs("usage: bench-tape [ROUNDS]  (1 to 101)\n", stderr);
		return 2;
	}
	int rc = et_tape_bench_run(&config, &bench, &error);
	for (int i = 0; i < 3 && rc == 0; i++) {
		rc = et_seek_bench_run(config.folder, i, &seeks[i], &error);
	}
	if (rc < 0) {
		(void)fprintf(stderr, "bench-tape: %s\n", error.text);
		return 1;
	}
	print_bench(&bench, seeks);
	return 0;
}
