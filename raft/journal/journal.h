/* The journal: this node's create commands that are not committed yet, durable.
 *
 * Happy path: the writer thread appends a command before the first tape record that it covers; the
 * same syncfs tick makes both durable; the main loop proposes it; when it is committed the main
 * loop says so, and a journal file whose commands are all committed is removed.
 *
 * File: <folder>/<incarnation hex>.journal, append-only, one incarnation (one start of the process)
 * each. Byte by byte in ops/doc/formats/journal.md. A torn tail (crash) is cut off at the last
 * whole record; anything else that does not check is ET_ECORRUPT and the file is kept aside, never
 * removed.
 *
 * Op ids: node, incarnation (random, per start), sequence from 1. Commands recovered from an older
 * incarnation keep their op ids.
 *
 * Threads: et_journal_append() and et_journal_committed() may be called from any thread (one lock
 * inside, held for a memory copy and a write(2)); the others before threads start or after they
 * end. */
#ifndef ET_RAFT_JOURNAL_JOURNAL_H
#define ET_RAFT_JOURNAL_JOURNAL_H

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "raft/command/command.h"

struct et_journal;

/* Open the folder (created 0700), read what earlier incarnations left, begin a new incarnation. */
int et_journal_open(const char *folder, uint64_t node, struct et_journal **ret,
		    struct et_error *reterr) ET_MUST_CHECK;
struct et_journal *et_journal_close(struct et_journal *j); /* returns NULL */

/* Fill in command->op (node, incarnation, next sequence) and append it. `packed` (may be NULL) gets
 * the packed bytes, for the proposer. -ENOSPC and -EIO are final for this command: it must not be
 * acted upon. Durable after the next successful sync of the filesystem. */
int et_journal_append(struct et_journal *j, Et__Command *command, struct et_buffer *packed,
		      struct et_error *reterr) ET_MUST_CHECK;

/* Commands that were found at open, or appended since, and are not committed: oldest first. */
int et_journal_each_pending(struct et_journal *j,
			    int (*fn)(void *arg, const Et__Command *command, struct et_view packed),
			    void *arg) ET_MUST_CHECK;
size_t et_journal_pending(struct et_journal *j); /* how many */

/* This op is committed (or refused by apply: it will never be anything else). Unknown ops are fine.
 */
void et_journal_committed(struct et_journal *j, const Et__OpId *op);

#endif
