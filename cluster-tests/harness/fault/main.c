#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tests/harness/fault/fault.h"
#include "node/base/log.h"

static int run_nodes(char **argv, int argc)
{
	static struct fault_nodes f;
	size_t count = strtoul(argv[3], NULL, 10);

	if (count == 0 || count > FAULT_NODES_MAX || argc != 4 + (int)count) {
		return 2;
	}
	fault_nodes_init(&f, argv[2], count, &argv[4]);
	f.tail = strncmp(argv[1], "tail-", 5) == 0;
	if (f.tail) {
		return strcmp(argv[1], "tail-form") == 0 ? fault_tail_form(&f) : fault_work(&f);
	}
	if (strcmp(argv[1], "form") == 0) {
		return fault_form(&f);
	}
	return strcmp(argv[1], "work") == 0 ? fault_work(&f) : fault_check(&f);
}

int main(int argc, char **argv)
{
	et_log_set_level(ET_LOG_ERROR);
	if (argc == 3 && strcmp(argv[1], "journal-work") == 0) {
		return fault_journal_work(argv[2]);
	}
	if (argc == 3 && strcmp(argv[1], "journal-check") == 0) {
		return fault_journal_check(argv[2]);
	}
	if (argc >= 5 && (strcmp(argv[1], "form") == 0 || strcmp(argv[1], "work") == 0 ||
			  strcmp(argv[1], "check") == 0)) {
		return run_nodes(argv, argc);
	}
	if (argc == 7 && (strcmp(argv[1], "tail-form") == 0 || strcmp(argv[1], "tail-work") == 0)) {
		return run_nodes(argv, argc);
	}
	(void)fprintf(stderr,
		      "usage: powerloss form|work|check FOLDER COUNT ADDRESS...\n"
		      "       powerloss tail-form|tail-work FOLDER 3 ADDRESS ADDRESS ADDRESS\n"
		      "       powerloss journal-work|journal-check FOLDER\n");
	return 2;
}
