/* What a process does at its start so that its memory does not leave it.
 *
 * Threads: once, before threads start. */
#ifndef ET_NODE_CRYPTO_HARDEN_H
#define ET_NODE_CRYPTO_HARDEN_H

#include "node/base/err.h"

/* No core file (RLIMIT_CORE 0), no ptrace by others of the same user and no readable /proc/PID/mem
 * (PR_SET_DUMPABLE 0), As much memory as the hard
 * limit allows may be locked. Failing to lock is no error; the others are. */
int et_harden_process(struct et_error *reterr) ET_MUST_CHECK;

#endif
