#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tests/bench/commit/commit.h"

int main(int argc, char **argv)
{
	char program[1024];

	if (argc == 7 && strcmp(argv[1], "--node") == 0) {
		return bench_node_main(argv[2], argv[3], argv[4], argv[5], argv[6]);
	}
	if (argc == 6 && strcmp(argv[1], "--apply") == 0) { /* FOLDER BATCH GROUP COMMANDS */
		return bench_apply(argv[2], (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]),
				   (unsigned)atoi(argv[5]), getenv("NOOP") != NULL);
	}
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	if (n < 0) {
		return 1;
	}
	program[n] = '\0';
	return bench_run(program, argc, argv);
}
