/* The daemon as a function: read the configuration, run until told to stop, return the exit code.
 *
 * Threads: call it from the main thread, once. */
#ifndef ET_NODE_DAEMON_DAEMON_H
#define ET_NODE_DAEMON_DAEMON_H

#define ET_DAEMON_VERSION "0.1.0"

/* Runs until SIGTERM or SIGINT; errors go to the log (standard error). Exit code of the process. */
int et_daemon_run(const char *config_path);

/* Let this node's log go on with it as the only voter; says loudly what that means. Exit code. */
int et_daemon_recover(const char *state, const char *confirm);

/* Say on standard error what is wrong with a configuration file. Exit code. */
int et_daemon_check(const char *config_path);

/* Make a one-node cluster of a new epoch from a backup, while no daemon runs here. Says on standard
 * output, in JSON, what was restored, on standard error what is wrong. Exit code. */
struct et_restore_options {
	const char *config;
	const char *file; /* a base backup, or a folder of base backups and logs */
	const char *at; /* a log index, or a time: go on to there by the logs; NULL: as far as they
			   go */
	const char *confirm; /* the cluster's name */
	const char
		*shares; /* file with escrow shares, one a line; "-": standard input; NULL: none */
	const char *ledgers[16]; /* files or folders to look for ledgers of erasures in */
	unsigned ledger_count;
	_Bool accept_missing; /* no ledger, or too old a one: go on all the same */
};
int et_daemon_restore(const struct et_restore_options *options);

#endif
