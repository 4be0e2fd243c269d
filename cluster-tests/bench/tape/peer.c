#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/bench/tape/bench.h"

/* "+F:<n>:<name>:<bytes a second>", the last line of `openssl speed -mr`. Its divisor is the user
 * time of the process. 0: it could not be run. */
static double speed(const char *options, uint32_t bytes)
{
	char command[160];
	char line[256];
	double rate = 0;

	(void)snprintf(command, sizeof(command),
		       "openssl speed -mr -seconds 1 -bytes %u %.60s 2>/dev/null", bytes, options);
	FILE *f = popen(command, "re"); /* No word of it comes from outside. */
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		const char *last = strrchr(line, ':');
		if (strncmp(line, "+F:", 3) == 0 && last != NULL) {
			rate = strtod(last + 1, NULL) / 1e6;
		}
	}
	if (f != NULL) {
		(void)pclose(f);
	}
	return rate;
}

void et_openssl_begin(struct et_openssl_rates *r)
{
	*r = (struct et_openssl_rates){ .count = 0 };
}

void et_openssl_measure(struct et_openssl_rates *r, uint32_t plain_bytes, uint32_t sealed_bytes)
{
	const double seal = speed("-evp aes-256-gcm", plain_bytes);
	const double open = speed("-decrypt -evp aes-256-gcm", plain_bytes);
	const double sha = speed("-evp sha256", sealed_bytes);

	if (r->count < ET_OPENSSL_RUNS && seal > 0 && open > 0 && sha > 0) {
		r->seal[r->count] = seal;
		r->open[r->count] = open;
		r->sha256[r->count] = sha;
		r->count++;
	}
}

static int order(const void *a, const void *b)
{
	const double x = *(const double *)a;
	const double y = *(const double *)b;
	return x < y ? -1 : x > y;
}

double et_openssl_median(const double *runs, uint32_t count)
{
	double sorted[ET_OPENSSL_RUNS];

	if (count == 0) {
		return 0;
	}
	memcpy(sorted, runs, count * sizeof(*runs));
	qsort(sorted, count, sizeof(*sorted), order);
	return sorted[count / 2];
}
