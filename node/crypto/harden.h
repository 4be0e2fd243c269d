/* What a process does at its start so that its memory does not leave it.
 *
 * Threads: once, before threads start and before OpenSSL is used. */
#ifndef ET_NODE_CRYPTO_HARDEN_H
#define ET_NODE_CRYPTO_HARDEN_H

#include "node/base/err.h"

/* No core file (RLIMIT_CORE 0), no ptrace by others of the same user and no readable /proc/PID/mem
 * (PR_SET_DUMPABLE 0). As much memory as the hard limit allows may be locked; failing to lock is no
 * error. What OpenSSL frees is wiped first: ET_EBUSY when OpenSSL was in use before; all others are
 * -errno. The second time it does nothing more. */
int et_harden_process(struct et_error *reterr) ET_MUST_CHECK;

#endif
