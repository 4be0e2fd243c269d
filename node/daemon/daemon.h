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

#endif
