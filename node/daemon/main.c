/* evertaped: one node of an evertape cluster.
 *
 *   evertaped CONFIG            run until SIGTERM or SIGINT
 *   evertaped --check CONFIG    read the configuration and say what is wrong with it
 *   evertaped --raft-recover STATE [CLUSTER]   for `evertape raft recover`: see there
 *   evertaped --version
 *
 * Exit: 0 stopped as asked; else as the CLI (2 usage, 4 denied, 1 failed). */
#include <stdio.h>
#include <string.h>

#include "node/daemon/daemon.h"

static int usage(void)
{
	(void)fputs("usage: evertaped CONFIG | --check CONFIG | --version | --raft-recover STATE "
		    "[CLUSTER]\n",
		    stderr);
	return 2;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("evertaped %s\n", ET_DAEMON_VERSION);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "--check") == 0) {
		return et_daemon_check(argv[2]);
	}
	if ((argc == 3 || argc == 4) && strcmp(argv[1], "--raft-recover") == 0) {
		return et_daemon_recover(argv[2], argc == 4 ? argv[3] : NULL);
	}
	if (argc != 2 || argv[1][0] == '-') {
		return usage();
	}
	return et_daemon_run(argv[1]);
}
