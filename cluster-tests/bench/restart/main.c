/* bench-fill: for restart.py, a node with ten million calls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/bench/restart/fill.h"

int main(int argc, char **argv)
{
	struct et_error e = { 0 };

	if (argc == 4 && strcmp(argv[1], "graft") == 0) {
		return bench_graft(argv[2], argv[3]) < 0 ? 1 : 0;
	}
	bool grafted = argc == 6 && strcmp(argv[5], "grafted") == 0;
	uint64_t calls = argc >= 5 ? strtoull(argv[3], NULL, 10) : 0;
	unsigned every = argc >= 5 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
	if ((argc != 5 && !grafted) || calls == 0 || every == 0) {
		(void)fprintf(stderr,
			      "usage: bench-fill STATE ADDRESS CALLS CALLS-PER-SEGMENT [grafted]\n"
			      "       bench-fill graft NODES-DATABASE CALLS-DATABASE\n");
		return 2;
	}
	if (bench_fill(argv[1], argv[2], calls, every, grafted, &e) < 0) {
		(void)fprintf(stderr, "bench-fill: %s\n", e.text);
		return 1;
	}
	return 0;
}
