#include <string.h>
#include <unistd.h>

#include "cluster-tests/bench/catchup/catchup.h"

int main(int argc, char **argv)
{
	char program[1024];

	if (argc == 5 && strcmp(argv[1], "--node") == 0) {
		return catchup_node_main(argv[2], argv[3], argv[4]);
	}
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	if (n < 0) {
		return 1;
	}
	program[n] = '\0';
	return catchup_run(program, argc, argv);
}
