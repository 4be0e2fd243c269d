#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/bench/tape/bench.h"

/* "+F:<n>:<name>:<bytes a second>", the last line of `openssl speed -mr`. */
double et_openssl_speed(const char *algorithm)
{
	char command[160];
	char line[256];
	double rate = 0;

	(void)snprintf(command, sizeof(command),
		       "openssl speed -mr -seconds 2 -bytes 16384 -evp %.40s 2>/dev/null",
		       algorithm);
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
