/* The replicated state: RocksDB, changed by apply alone.
 *
 * Happy path: the state thread hands each committed entry to et_state_apply(), in log order; apply
 * checks preconditions, writes all that follows from the entry into one WriteBatch together with
 * `applied = index`, and answers with one result a command. Everybody else reads.
 *
 * Promises
 *   - Deterministic: same entries, same bytes in every column family that counts, same digest, on
 *     every node. No clock, random number, locale, float, pointer or hash order in apply.
 *   - Exactly once: a command whose op id was applied before changes nothing and yields its first
 *     result (while it is in the window; older ones yield ET_EEXISTS).
 *   - A refused command changes nothing but op window, audit chain (if it is an audited one) and
 *     digest; its result says why.
 *   - After a crash the database is that of some applied index, never between two.
 * Failures
 *   - RocksDB cannot write: the process must stop (-EIO from apply is final).
 *   - An entry of a newer schema than this build: ET_EVERSION; the node must stop, not skip.
 *
 * What apply says of each command (preconditions, refusals) stands in README.md. In short:
 *   - Without ClusterInit everything but it and Noop is ET_EUNINITIALISED; a command whose op id is
 * of a node that is no member is ET_EDENIED.
 *   - CopyAdd and CopyEvict take or refuse each copy by itself: code 0: all taken; ET_EDEGRADED:
 * some were refused; else all. result->refused lists the positions of those refused.
 *
 * Threads: one writer (the state thread); any number of readers. */
#ifndef ET_RAFT_STATE_STATE_H
#define ET_RAFT_STATE_STATE_H

#include <stdbool.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "raft/command/command.h"

struct et_state;

/* Open or create the database in folder `path`. ET_ECORRUPT, -EIO, ET_EVERSION (another format). */
int et_state_open(const char *path, struct et_state **ret, struct et_error *reterr) ET_MUST_CHECK;
struct et_state *et_state_close(struct et_state *s); /* NULL is allowed; returns NULL */

/* ---- Writer ---- */

/* Go over to the database in folder `path` (a checkpoint that came from another node), between two
 * groups. Readers go on: views that are open stay with the old database, which is closed with the
 * last of them; new ones see the new one. On failure nothing has changed. Failures as those of
 * et_state_open(). */
int et_state_replace(struct et_state *s, const char *path, struct et_error *reterr) ET_MUST_CHECK;

/* What apply says of the command at `position` of the entry. `command` and `result` are views.
 * `command` is NULL when its bytes are not a command (result->code ET_EMALFORMED). A command that
 * was applied before comes with its first result: result->index is lower than `index` then. */
typedef void (*et_state_result_fn)(void *arg, uint64_t index, uint32_t position,
				   const Et__Command *command, const Et__Result *result);

/* Apply a committed entry, or (entry.size 0) an index without commands (barrier, configuration).
 * index must be applied + 1, or is skipped when <= applied (returns 0); a hole is ET_ECORRUPT.
 * Bytes that are no entry change nothing but applied and digest. ET_EVERSION: nothing of the entry
 * was applied; what the group holds so far can be committed. Other errors are final. The write is
 * durable against a crash of the process only after et_state_flush(); Raft's log is the write-ahead
 * log. Writes of several entries may be grouped: begin, apply..., commit. `fn` runs inside commit,
 * after the write. The bytes are not kept past et_state_commit(): the caller may free them then. */
void et_state_begin(struct et_state *s);
int et_state_apply(struct et_state *s, uint64_t index, struct et_view entry,
		   struct et_error *reterr) ET_MUST_CHECK;
int et_state_commit(struct et_state *s, et_state_result_fn fn, void *arg,
		    struct et_error *reterr) ET_MUST_CHECK;

uint64_t et_state_applied(const struct et_state *s); /* any thread: as of the last commit */

/* A consistent copy by hard links in the new folder `path`, synced; *ret_index: its applied index.
 */
int et_state_checkpoint(struct et_state *s, const char *path, uint64_t *ret_index,
			struct et_error *reterr) ET_MUST_CHECK;
int et_state_flush(struct et_state *s, struct et_error *reterr) ET_MUST_CHECK;

/* ---- Readers (any thread) ---- */

/* A consistent view of one applied index. Cheap; do not hold it for minutes. NULL: no memory, or
 * the database cannot be read. All views are closed before et_state_close(). */
struct et_state_view;
struct et_state_view *et_state_view_open(struct et_state *s);
struct et_state_view *et_state_view_close(struct et_state_view *v); /* returns NULL */
uint64_t et_state_view_index(const struct et_state_view *v);

/* The running digest of `applied`: SHA-256 chain over received entry bytes and index, and a 64-bit
 * sum of every put and delete that apply made. Equal index => equal digest on every node. */
int et_state_digest(const struct et_state_view *v, uint64_t *ret_index,
		    uint8_t ret[32]) ET_MUST_CHECK;

/* SHA-256 over every key and value of every column family: for tests and `doctor --deep`. Reads the
 * whole database. */
int et_state_content_digest(const struct et_state_view *v, uint8_t ret[32]) ET_MUST_CHECK;

/* Point reads. ET_ENOTFOUND. On success the caller owns *ret, and frees it with the generated
 * et__<type>__free_unpacked(*ret, NULL). */
int et_state_get_cluster(const struct et_state_view *v, Et__Cluster **ret) ET_MUST_CHECK;
int et_state_get_recording(const struct et_state_view *v, const uint8_t id[16],
			   Et__Recording **ret) ET_MUST_CHECK;
int et_state_get_segment(const struct et_state_view *v, const uint8_t recording[16],
			 uint32_t generation, uint32_t segment, Et__Segment **ret) ET_MUST_CHECK;
int et_state_get_node(const struct et_state_view *v, uint64_t id, Et__Node **ret) ET_MUST_CHECK;
int et_state_get_kek(const struct et_state_view *v, uint32_t version, Et__Kek **ret) ET_MUST_CHECK;
int et_state_get_grant(const struct et_state_view *v, const char *secret, uint64_t node,
		       Et__Grant **ret) ET_MUST_CHECK;
int et_state_get_certificate(const struct et_state_view *v, uint64_t node,
			     Et__Certificate **ret) ET_MUST_CHECK;
int et_state_get_token(const struct et_state_view *v, const uint8_t id[16],
		       Et__Token **ret) ET_MUST_CHECK;
int et_state_get_policy(const struct et_state_view *v, const char *name,
			Et__Policy **ret) ET_MUST_CHECK;
int et_state_get_plan(const struct et_state_view *v, const uint8_t id[16],
		      Et__Plan **ret) ET_MUST_CHECK;
int et_state_get_job(const struct et_state_view *v, const uint8_t id[16],
		     Et__Job **ret) ET_MUST_CHECK;

/* Walks: `fn` gets each record in key order; the record is a view, valid during the call. A
 * non-zero result of `fn` ends the walk and is returned. */
#define ET_STATE_EACH(name, Type)                                                                  \
	int et_state_each_##name(const struct et_state_view *v,                                    \
				 int (*fn)(void *arg, const Type *record), void *arg)
ET_STATE_EACH(node, Et__Node);
ET_STATE_EACH(site, Et__Site);
ET_STATE_EACH(kek, Et__Kek);
ET_STATE_EACH(grant, Et__Grant);
ET_STATE_EACH(certificate, Et__Certificate);
ET_STATE_EACH(token, Et__Token);
ET_STATE_EACH(policy, Et__Policy);
ET_STATE_EACH(plan, Et__Plan);
ET_STATE_EACH(job, Et__Job);
ET_STATE_EACH(hold, Et__Hold);	     /* all, released ones too, by recording */
ET_STATE_EACH(segment, Et__Segment); /* all, by recording */
ET_STATE_EACH(copy, Et__Copy);	     /* all, by recording */

/* Of one recording, in order of generation and segment (and place). */
int et_state_each_segment_of(const struct et_state_view *v, const uint8_t recording[16],
			     int (*fn)(void *arg, const Et__Segment *record), void *arg);
int et_state_each_copy_of(const struct et_state_view *v, const uint8_t recording[16],
			  int (*fn)(void *arg, const Et__Copy *record), void *arg);
int et_state_each_hold_of(const struct et_state_view *v, const uint8_t recording[16],
			  int (*fn)(void *arg, const Et__Hold *record), void *arg);
/* Jobs that are not done, of one node. */
int et_state_each_job_of(const struct et_state_view *v, uint64_t node,
			 int (*fn)(void *arg, const Et__Job *record), void *arg);

/* Search for recordings, newest start first. All conditions must hold; zeros and NULL mean any. */
struct et_state_query {
	int64_t from_us;    /* start >= */
	int64_t to_us;	    /* start < */
	const char *number; /* caller or called: exact, or prefix with a trailing '*' */
	const char *site;
	uint64_t node;
	int state; /* enum Et__RecordingState, or -1 for any */
	const char *sip_call_id;
	const uint8_t *call; /* 16 bytes, or NULL */
	const char *cursor;  /* "" or NULL: from the beginning; else what the last page returned */
	uint32_t limit;	     /* 1..1000 */
};
#define ET_STATE_CURSOR_SIZE 128

/* Calls `fn` for each hit; a result of `fn` that is not 0 ends the page and is returned. `cursor`
 * gets where to go on, or "" at the end. A page may have fewer hits than `limit`, even none, and
 * still a cursor: one page looks at 50,000 recordings at most. Stable: what was there when the
 * first page was read is neither missed nor given twice. ET_EMALFORMED: a bad cursor, or one of
 * another query. */
int et_state_search(const struct et_state_view *v, const struct et_state_query *query,
		    int (*fn)(void *arg, const Et__Recording *record), void *arg,
		    char cursor[ET_STATE_CURSOR_SIZE]);

/* Counters kept by apply: recordings by state, segments, verified copies, segments with a verified
 * copy at a target, audit events, standing holds. */
struct et_state_counts {
	uint64_t recordings, capturing, sealed, lost, erased, segments, copies, archived_segments,
		audit_events, holds;
};
int et_state_counts(const struct et_state_view *v, struct et_state_counts *ret) ET_MUST_CHECK;

/* Audit events first..last (inclusive; last 0: to the end). */
int et_state_each_audit(const struct et_state_view *v, uint64_t first, uint64_t last,
			int (*fn)(void *arg, const Et__AuditEvent *record), void *arg);
/* Recompute the chain. 0, or ET_EINTEGRITY with the number of the first event that does not fit. */
int et_state_audit_verify(const struct et_state_view *v, uint64_t *ret_events, uint8_t ret_head[32],
			  struct et_error *reterr);
/* The hash of one event as the chain defines it; also for `audit verify FILE`. */
void et_state_audit_hash(const Et__AuditEvent *event, uint8_t ret[32]);

/* Was this op applied? true and its result (caller frees), while in the window. */
bool et_state_op_result(const struct et_state_view *v, const Et__OpId *op, Et__Result **ret);

/* The hash of a plan's items, as PlanPut checks it: SHA-256 over the packed items, in order. */
int et_state_plan_hash(const Et__Plan *plan, uint8_t ret[32]) ET_MUST_CHECK;

/* true when at least one other verified copy, at a target or at a node that is still a member,
 * makes it safe to lose the one at `place` (holds do not matter: a hold protects against erasure,
 * not against moving). */
bool et_state_copy_is_spare(const struct et_state_view *v, const uint8_t recording[16],
			    uint32_t generation, uint32_t segment, const char *place);

#endif
