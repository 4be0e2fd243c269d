/* The journal: this node's create commands that are not committed yet, durable.
 *
 * Happy path: the writer thread appends a command before the first tape record that it covers; the
 * same syncfs tick makes both durable; the main loop proposes it; when it is committed the main
 * loop says so, and a journal file whose commands are all committed is removed.
 *
 * Files: <folder>/<number>-<incarnation>.journal (hexadecimal), append-only, numbered in the order
 * they were begun; one incarnation (one start of the process) begins a new one, and goes on in a
 * further one when the present one has ET_JOURNAL_FILE_BYTES. Byte by byte in
 * ops/doc/formats/journal.md.
 *
 * Failures
 *   - A torn tail (crash): cut off at the last whole record.
 *   - Anything else that does not check: the whole records that are left are written again,
 *     durably, into a file of their own, and the damaged file is kept aside as *.corrupt, never
 *     removed: et_journal_kept_aside() counts them, for a health code.
 *   - No space, or another write error, on append: the file is cut back to its last whole record
 *     and the command is refused. A reserve on the filesystem is the caller's.
 *
 * Op ids: node, incarnation (random, per start), sequence from 1 without holes. Commands recovered
 * from an older incarnation keep their op ids. Op floor: the sequence below which all commands of
 * the incarnation were committed when this one was made; the catalogue forgets those.
 *
 * Threads: append, committed, pending, each_pending: any thread (one lock inside, held for a memory
 * copy and one read(2) or write(2); `fn` of each_pending runs without it). The others before
 * threads start or after they end. */
#ifndef ET_RAFT_JOURNAL_JOURNAL_H
#define ET_RAFT_JOURNAL_JOURNAL_H

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "raft/command/command.h"

#define ET_JOURNAL_FILE_BYTES (4LL * 1024 * 1024)   /* then the next file is begun */
#define ET_JOURNAL_BYTES_MAX (1024LL * 1024 * 1024) /* all files: days of calls, cut off */
#define ET_JOURNAL_PENDING_MAX (1024UL * 1024)	    /* commands that are not committed */

struct et_journal;

/* Open the folder (created 0700), read what earlier incarnations left, begin a new incarnation. */
int et_journal_open(const char *folder, uint64_t node, struct et_journal **ret,
		    struct et_error *reterr) ET_MUST_CHECK;
struct et_journal *et_journal_close(struct et_journal *j); /* NULL is allowed; returns NULL */

/* Fill in *command->op (the caller's; node, incarnation, next sequence, floor) and append the
 * command. op->incarnation becomes a view into `j` if it was empty; 16 bytes that are there already
 * are overwritten. `packed` (may be NULL) gets the packed bytes, for the proposer. -ENOSPC, -EIO,
 * ET_ELIMIT (a constant above) and ET_EMALFORMED are final for this command: it must not be acted
 * upon, and used up no sequence. Durable after the next successful sync of the filesystem. */
int et_journal_append(struct et_journal *j, Et__Command *command, struct et_buffer *packed,
		      struct et_error *reterr) ET_MUST_CHECK;

/* Commands that were found at open, or appended since, and are not committed: oldest first. What is
 * appended meanwhile may or may not be among them. A negative result of `fn` ends the walk and is
 * returned. ET_ECORRUPT, -EIO: a record can no longer be read back. */
int et_journal_each_pending(struct et_journal *j,
			    int (*fn)(void *arg, const Et__Command *command, struct et_view packed),
			    void *arg) ET_MUST_CHECK;
size_t et_journal_pending(struct et_journal *j); /* how many */

/* This op is committed (or refused by apply: it will never be anything else). Unknown ops are fine.
 */
void et_journal_committed(struct et_journal *j, const Et__OpId *op);

/* The op ids of this start. */
void et_journal_incarnation(const struct et_journal *j, uint8_t ret[16]);

/* Damaged files in the folder. */
size_t et_journal_kept_aside(const struct et_journal *j);

#endif
