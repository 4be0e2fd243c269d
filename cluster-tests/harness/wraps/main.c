/* labwraps JOURNAL NODE KEK-VERSION KEK-PUBLIC-HEX COUNT: see wraps.h. Never installed. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/harness/wraps/wraps.h"

static bool hex_read(const char *text, uint8_t ret[32])
{
	if (strlen(text) != 64) {
		return false;
	}
	for (size_t i = 0; i < 32; i++) {
		unsigned byte = 0;
		if (sscanf(text + i * 2, "%2x", &byte) != 1) {
			return false;
		}
		ret[i] = (uint8_t)byte;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct et_error e = { 0 };
	struct et_labwraps w = { 0 };

	if (argc != 6 || !hex_read(argv[4], w.kek_public)) {
		(void)fputs("usage: labwraps JOURNAL NODE KEK-VERSION KEK-PUBLIC-HEX COUNT\n",
			    stderr);
		return 2;
	}
	w.journal = argv[1];
	w.node = strtoul(argv[2], NULL, 10);
	w.kek_version = (uint32_t)strtoul(argv[3], NULL, 10);
	w.count = strtoul(argv[5], NULL, 10);
	int rc = et_labwraps_write(&w, &e);
	if (rc < 0) {
		(void)fprintf(stderr, "labwraps: %s\n", e.text);
		return et_exit_code(rc);
	}
	return 0;
}
