/* evertaped: one node of an evertape cluster.
 *
 *   evertaped CONFIG            run until SIGTERM or SIGINT; SIGHUP: what of the file can change
 *                               while it runs (reload.c)
 *   evertaped --check CONFIG    read the configuration and say what is wrong with it
 *   evertaped --raft-recover STATE [CLUSTER]   for `evertape raft recover`: see there
 *   evertaped --restore CONFIG FILE --confirm CLUSTER [--at POINT] [--shares FILE] [--ledger
 * PATH]...
 *             [--accept-missing-erasures]     what `evertape cluster restore` runs
 *   evertaped --version
 *
 * Exit: 0 stopped as asked; else as the CLI (2 usage, 4 denied, 1 failed). */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "node/base/defs.h"
#include "node/base/memory.h"
#include "node/daemon/daemon.h"
#include "node/text/json.h"

static int usage(void)
{
	(void)fputs("usage: evertaped CONFIG | --check CONFIG | --version | --raft-recover STATE "
		    "[CLUSTER]\n",
		    stderr);
	return 2;
}

static int restore(int argc, char **argv)
{
	struct et_restore_options o = { .config = argv[2], .file = argv[3] };

	for (int i = 4; i < argc; i++) {
		bool more = i + 1 < argc;
		if (strcmp(argv[i], "--accept-missing-erasures") == 0) {
			o.accept_missing = true;
		} else if (strcmp(argv[i], "--confirm") == 0 && more) {
			o.confirm = argv[++i];
		} else if (strcmp(argv[i], "--at") == 0 && more) {
			o.at = argv[++i];
		} else if (strcmp(argv[i], "--shares") == 0 && more) {
			o.shares = argv[++i];
		} else if (strcmp(argv[i], "--ledger") == 0 && more &&
			   o.ledger_count < ET_ARRAY_SIZE(o.ledgers)) {
			o.ledgers[o.ledger_count++] = argv[++i];
		} else {
			return 2;
		}
	}
	return et_daemon_restore(&o);
}

int main(int argc, char **argv)
{
	et_memory_keep();
	et_json_wipes();
	if (argc >= 4 && strcmp(argv[1], "--restore") == 0) {
		return restore(argc, argv);
	}
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
