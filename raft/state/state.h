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

/* Inside `fn` only, and at most once a call: the command that it was called with is the caller's
 * from now on (et_command_free()). Without it, it is freed when `fn` has returned. */
Et__Command *et_state_take_command(struct et_state *s);
/* The running digest as it was at `index`, while that is one of the last 8,192 entries that this
 * process applied. Writer's thread only. */
bool et_state_digest_at(const struct et_state *s, uint64_t index, uint8_t ret[32]);

uint64_t et_state_applied(const struct et_state *s); /* any thread: as of the last commit */

/* A consistent copy by hard links in the new folder `path`, synced. Any thread, while groups go on
 * being applied: it is the database as a kill at some moment of this call would leave it, with all
 * that was applied before the call; *ret_index: its applied index. Its index may have a tail, which
 * whoever opens it writes. */
int et_state_checkpoint(struct et_state *s, const char *path, uint64_t *ret_index,
			struct et_error *reterr) ET_MUST_CHECK;
int et_state_flush(struct et_state *s, struct et_error *reterr) ET_MUST_CHECK;

/* ---- Readers (any thread) ---- */

/* A consistent view of one applied index. Cheap; do not hold it for minutes. NULL: no memory, or
 * the database cannot be read. All views are closed before et_state_close(). */
struct et_state_view;
struct et_state_view *et_state_view_open(struct et_state *s);
/* As et_state_view_open(), for searches: the index is written a little behind apply, so first wait,
 * at most `wait_ms`, until it has all that is applied now. Searches of this view say `complete`
 * when it does. */
struct et_state_view *et_state_view_open_indexed(struct et_state *s, uint32_t wait_ms);
struct et_state_view *et_state_view_close(struct et_state_view *v); /* returns NULL */
uint64_t et_state_view_index(const struct et_state_view *v);
/* Up to where its searches miss nothing, if they say `complete`. */
uint64_t et_state_view_searched(const struct et_state_view *v);

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
/* The committed schema; 0: no cluster yet, or it cannot be read. It never becomes less. */
uint32_t et_state_schema(struct et_state *s);
int et_state_get_recording(const struct et_state_view *v, const uint8_t id[16],
			   Et__Recording **ret) ET_MUST_CHECK;
int et_state_get_segment(const struct et_state_view *v, const uint8_t recording[16],
			 uint32_t generation, uint32_t segment, Et__Segment **ret) ET_MUST_CHECK;
int et_state_get_node(const struct et_state_view *v, uint64_t id, Et__Node **ret) ET_MUST_CHECK;
int et_state_get_kek(const struct et_state_view *v, uint32_t version, Et__Kek **ret) ET_MUST_CHECK;
int et_state_get_grant(const struct et_state_view *v, const char *secret, uint64_t node,
		       Et__Grant **ret) ET_MUST_CHECK;
/* Is there one, that can be read? */
bool et_state_has_grant(const struct et_state_view *v, const char *secret, uint64_t node);
int et_state_get_certificate(const struct et_state_view *v, uint64_t node,
			     Et__Certificate **ret) ET_MUST_CHECK;
int et_state_get_token(const struct et_state_view *v, const uint8_t id[16],
		       Et__Token **ret) ET_MUST_CHECK;
int et_state_get_policy(const struct et_state_view *v, const char *name,
			Et__Policy **ret) ET_MUST_CHECK;
/* The policy as it was at `revision`, which may be the one in force. ET_ENOTFOUND also for what is
 * not kept: further back than ET_STATE_POLICY_KEPT, or replaced before ET_SCHEMA_POLICY_REVISIONS.
 */
#define ET_STATE_POLICY_KEPT 100
int et_state_get_policy_at(const struct et_state_view *v, const char *name, uint32_t revision,
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
/* Was a recording moved into its call by hand? NULL is allowed. Then `was` is the call that it came
 * from. */
bool et_hand_moved(const Et__Hand *hand);

/* The recordings of one call, and those that were moved out of it by hand, at most 64 of them, the
 * newest first. */
int et_state_each_of_call(const struct et_state_view *v, const uint8_t call[16],
			  int (*fn)(void *arg, const Et__Recording *record), void *arg);
ET_STATE_EACH(kek, Et__Kek);
ET_STATE_EACH(grant, Et__Grant);
ET_STATE_EACH(certificate, Et__Certificate);
ET_STATE_EACH(token, Et__Token);
ET_STATE_EACH(plan, Et__Plan);
ET_STATE_EACH(job, Et__Job);
ET_STATE_EACH(hold, Et__Hold);	     /* all, released ones too, by recording */
ET_STATE_EACH(segment, Et__Segment); /* all, by recording */
/* All, by recording. A verified copy on a removed node is shown as lost. */
ET_STATE_EACH(copy, Et__Copy);
/* All segments by recording, and with et_state_copies_of(), inside `fn`, the copies of the one at
 * hand: two walks side by side through millions, that leave no trace in the block cache. A result
 * of `fn` that is not 0 ends the walk and is returned. */
struct et_state_copies;
int et_state_each_segment_beside(const struct et_state_view *v,
				 int (*fn)(void *arg, const Et__Segment *record,
					   struct et_state_copies *copies),
				 void *arg);
/* Once for each segment at most; those on removed nodes as above. */
int et_state_copies_of(struct et_state_copies *copies, const Et__Segment *segment,
		       int (*fn)(void *arg, const Et__Copy *record), void *arg);

/* Of one recording, in order of generation and segment (and place); copies on removed nodes as
 * above. */
int et_state_each_segment_of(const struct et_state_view *v, const uint8_t recording[16],
			     int (*fn)(void *arg, const Et__Segment *record), void *arg);
int et_state_each_copy_of(const struct et_state_view *v, const uint8_t recording[16],
			  int (*fn)(void *arg, const Et__Copy *record), void *arg);
/* Recordings that have segments, each once, in order of id (so of time), behind `after` (zeros:
 * from the first). A result of `fn` that is not 0 ends the walk and is returned. */
int et_state_each_recorded(const struct et_state_view *v, const uint8_t after[16],
			   int (*fn)(void *arg, const uint8_t recording[16]), void *arg);
int et_state_each_hold_of(const struct et_state_view *v, const uint8_t recording[16],
			  int (*fn)(void *arg, const Et__Hold *record), void *arg);
/* Holds that stand over a recording: its own, then those whose scope it is in. Of an erased one:
 * none. */
int et_state_each_hold_over(const struct et_state_view *v, const Et__Recording *r,
			    int (*fn)(void *arg, const Et__Hold *record), void *arg);
/* Jobs that are not done, of one node. */
int et_state_each_job_of(const struct et_state_view *v, uint64_t node,
			 int (*fn)(void *arg, const Et__Job *record), void *arg);

/* ---- Retention and erasure ---- */

#define ET_STATE_RETENTION "retention" /* the policy whose `retention` apply obeys */
#define ET_STATE_ERASE_MAX 500	       /* recordings that one plan erases, in one entry */

/* What the rules come to for one recording. Names are views of the policy. */
struct et_state_retention {
	int64_t since_us; /* all is counted from here: its end, or when that was told, if later */
	int64_t keep_until_us; /* 0: no minimum */
	const char *keep_rule; /* NULL: none */
	int64_t erase_at_us;   /* not before the minimum; 0: never by itself */
	const char *erase_rule;
};
/* Pure. `policy` NULL: there is none. */
void et_state_retention(const Et__Policy *policy, const Et__Recording *r,
			struct et_state_retention *ret);

/* What keeps a recording from being erased at this cluster time: what apply looks at, too. */
enum et_state_exempt {
	ET_EXEMPT_NOT,
	ET_EXEMPT_ERASED,
	ET_EXEMPT_CAPTURING,
	ET_EXEMPT_HOLD,
	ET_EXEMPT_RETENTION,
};
struct et_state_exemption {
	enum et_state_exempt why;
	int64_t until_us; /* RETENTION */
	char text[200];	  /* a sentence for people; "" for NOT */
};
int et_state_exempt(const struct et_state_view *v, const Et__Policy *policy, const Et__Recording *r,
		    int64_t cluster_time_us, struct et_state_exemption *ret) ET_MUST_CHECK;

/* Recordings behind *at (zeros: from the first), in order of id: at most `most` are looked at, `fn`
 * gets those whose time to go has come (held ones, too), and *at goes along. A result of `fn` that
 * is not 0 ends the walk before that recording and is returned. false in *ret_more: that was the
 * last. */
int et_state_each_due(const struct et_state_view *v, const Et__Policy *policy,
		      int64_t cluster_time_us, uint8_t at[16], uint32_t most,
		      int (*fn)(void *arg, const Et__Recording *record), void *arg,
		      bool *ret_more) ET_MUST_CHECK;

/* ---- What is told of calls ---- */

/* All that was told of one subject, old versions with it. ET_ENOTFOUND: nothing. */
int et_state_get_told(const struct et_state_view *v, const Et__Subject *about,
		      Et__Told **ret) ET_MUST_CHECK;
/* What is told of a recording: by its id, its call, its SIP Call-ID, in this order (at most three).
 */
int et_state_each_told_of(const struct et_state_view *v, const Et__Recording *r,
			  int (*fn)(void *arg, const Et__Told *record), void *arg);
/* Is this the version that counts? (Fact: the last of its key, not withdrawn; note: the last of its
 * id, not withdrawn; a tag: not cleared.) `i` is its position in told->facts, ->notes, ->tags. */
bool et_told_fact_counts(const Et__Told *told, size_t i);
bool et_told_note_counts(const Et__Told *told, size_t i);
/* Does the fact's time of validity overlap the recording? Search counts only those that do. */
bool et_told_fact_is_of(const Et__Fact *fact, const Et__Recording *r);

/* All versions of all agents (id NULL) or of one, by id and valid_from_us; superseded tellings of
 * the same valid_from_us come before the one that counts. */
int et_state_each_agent(const struct et_state_view *v, const char *id,
			int (*fn)(void *arg, const Et__Agent *record), void *arg);
/* Each version that counts of each agent, by id, and how long it does: [from, to). */
int et_state_each_agent_span(const struct et_state_view *v,
			     int (*fn)(void *arg, const Et__Agent *agent, int64_t from_us,
				       int64_t to_us),
			     void *arg);
/* The version that counts of the agent who used this number at this time. Where several agents
 * claim it, the one whose version began last. ET_ENOTFOUND: nobody. The caller frees *ret. */
int et_state_agent_at(const struct et_state_view *v, const char *number, int64_t time_us,
		      Et__Agent **ret) ET_MUST_CHECK;

/* ---- Search ---- */

struct et_state_fact_is {
	const char *key;
	int type;	  /* enum Et__FactType; text and phone are alike */
	const char *text; /* TEXT, PHONE: exact bytes */
	int64_t number;	  /* INTEGER, TIME, BOOL */
};

/* Search for recordings, newest start first. All conditions must hold; zeros and NULL mean any. */
struct et_state_query {
	int64_t from_us;    /* start >= */
	int64_t to_us;	    /* start < */
	const char *number; /* caller or called: exact, prefix ("+4202*") or suffix ("*1234"); "" is
			       any */
	const char *site;
	uint64_t node;
	int state; /* enum Et__RecordingState, or -1 for any */
	const char *sip_call_id;
	const uint8_t *call; /* 16 bytes, or NULL */
	const char *cursor;  /* "" or NULL: from the beginning; else what the last page returned */
	uint32_t limit;	     /* 1..1000 */

	/* Who used one of the recording's numbers when it started, or whom a fact `agent` (`team`)
	 * names. Resolved by the validity of the agents' versions, at the time of the search. */
	const char *agent; /* id */
	const char *team;
	const char *const *tags; /* each of them, exact; at most 8 */
	size_t tag_count;
	const struct et_state_fact_is *facts; /* each of them; at most 8 */
	size_t fact_count;
	/* Words: each must occur in a note, a text fact, a tag, or a SIP user; at most 8 words. A
	 * word is a run of letters and digits, compared in lower case (A-Z, Latin-1, Latin
	 * Extended-A, Greek, Cyrillic; all else as it is), by its first 48 bytes. */
	const char *text;
	int64_t duration_min_us; /* end - start, of recordings that ended */
	int64_t duration_max_us; /* 0: any */
};
#define ET_STATE_CURSOR_SIZE 128
#define ET_STATE_CONDITIONS_MAX 8 /* tags, facts, words: of each */

/* What a page says of itself. */
struct et_state_found {
	char cursor[ET_STATE_CURSOR_SIZE]; /* where to go on; "": that was all */
	uint32_t found;			   /* hits of this page */
	uint32_t looked_at;		   /* steps that it took */
	bool complete; /* false: hits may be missing, for the index is being built for the first
			* time, or does not have all that the view has (or was opened for) yet */
	bool total_is_exact;
	uint64_t total; /* hits of this page and all behind it: exact, or an estimate from below */
};

/* Calls `fn` for each hit; a result of `fn` that is not 0 ends the page and is returned. A page may
 * have fewer hits than `limit`, even none, and still a cursor: the work of one page is bounded.
 * Stable: what was there when the first page was read is neither missed nor given twice.
 * ET_EMALFORMED: a bad cursor, or one of another query. ET_ELIMIT: more conditions than are
 * allowed. *ret is always filled in. */
int et_state_search(const struct et_state_view *v, const struct et_state_query *query,
		    int (*fn)(void *arg, const Et__Recording *record), void *arg,
		    struct et_state_found *ret);

/* The indexes are made of records. What apply changes in them is written behind it, in bulk, by a
 * thread of the state's: at the latest five seconds later, or when apply is 40 MiB of changes ahead
 * (then it waits), and at once when somebody waits for it. An erasure is told when the index has
 * it. Hits are always right by the view's records; what is missing is told (`complete`).
 *
 * They can be made anew while apply and search go on: searches use the old ones until the new ones
 * are whole. It survives a restart. */
struct et_state_index_status {
	bool complete; /* searches see all */
	bool rebuilding;
	uint64_t done;	/* recordings in the new index */
	uint64_t total; /* recordings there are */
	uint64_t bytes; /* of the indexes on disk, about */
};
int et_state_index_status(const struct et_state_view *v,
			  struct et_state_index_status *ret) ET_MUST_CHECK;
/* SHA-256 over the index that searches use: equal for equal records, however it came to be. */
int et_state_index_digest(const struct et_state_view *v, uint8_t ret[32]) ET_MUST_CHECK;

/* Writer, between two groups. Begin (again: from the start), then step until *ret_more is false;
 * each step puts at most `count` recordings into the new index. et_state_open() begins by itself
 * when the database has no index of this build's layout; et_state_index_pending() says whether
 * there is something to step. */
int et_state_index_rebuild(struct et_state *s, struct et_error *reterr) ET_MUST_CHECK;
int et_state_index_step(struct et_state *s, uint32_t count, bool *ret_more,
			struct et_error *reterr) ET_MUST_CHECK;
bool et_state_index_pending(const struct et_state *s); /* any thread */
/* Any thread. While it is held no files are made for the index: what it must have goes through the
 * memtables. For a disk that is nearly full. */
void et_state_index_hold(struct et_state *s, bool hold);

/* Counters kept by apply: recordings by state, segments, verified copies, segments with a verified
 * copy at a target, audit events, standing holds; and what is told of calls. */
struct et_state_counts {
	uint64_t recordings, capturing, sealed, lost, erased, segments;
	uint64_t copies; /* verified; those on nodes that were removed later with them */
	uint64_t archived_segments, audit_events, holds;
	uint64_t facts, tags, notes; /* tellings that were taken, edits and withdrawals with them */
	uint64_t agents;	     /* versions of agents */
	uint64_t waiting;	     /* subjects told of that no recording fits yet */
	uint64_t forgotten;	     /* of those, given up unmatched to make room for newer ones */
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

/* ---- Keys ---- */

/* "active", ... */
const char *et_state_kek_state(int state);
/* What rules the life of KEK versions: as it was set, or all zeros. The caller frees *ret. */
int et_state_get_key_ring(const struct et_state_view *v, Et__KeyRing **ret) ET_MUST_CHECK;
int64_t et_state_rotate_us(const Et__KeyRing *ring); /* negative: never */
int64_t et_state_destroy_after_us(const Et__KeyRing *ring);
uint32_t et_state_rewrap_rate(const Et__KeyRing *ring); /* a second */

/* How many wrapped DEKs are on this version: exact. */
int et_state_wraps(const struct et_state_view *v, uint32_t version, uint64_t *ret) ET_MUST_CHECK;
/* Segments behind *at (zeros: from the first), in order: at most `most` are looked at, `fn` gets
 * those whose wrap is on `version`, and *at goes along. false in *ret_more: that was the last. */
struct et_state_place {
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
};
int et_state_each_wrapped(const struct et_state_view *v, uint32_t version,
			  struct et_state_place *at, uint32_t most,
			  int (*fn)(void *arg, const Et__Segment *segment), void *arg,
			  bool *ret_more) ET_MUST_CHECK;
/* SHA-256("evertape wrap/1" | DEK id 8 | KEK version 4 | length of enc 4 | enc | ciphertext). */
void et_state_wrap_hash(const Et__Wrap *wrap, uint8_t ret[32]);

/* What keeps a version from being destroyed; apply looks at the same. */
enum et_state_await {
	ET_AWAIT_WRAPS,	  /* `number` wrapped DEKs are on it */
	ET_AWAIT_TIME,	  /* cluster time `number` has not come */
	ET_AWAIT_JOURNAL, /* `node` may still speak of a wrap to it */
	ET_AWAIT_KEY,	  /* the key that opens `node`'s grant of it opens other grants too */
};
typedef int (*et_state_await_fn)(void *arg, enum et_state_await await, uint64_t node,
				 uint64_t number);
/* A result of `fn` that is not 0 ends the walk and is returned. */
int et_state_each_await(const struct et_state_view *v, const Et__Kek *kek, et_state_await_fn fn,
			void *arg);

/* ---- CAs ---- */

/* "settled", "wanted", "trust", "issue"; "start", "abort", "finish". */
const char *et_state_ca_phase(int phase);
const char *et_state_ca_ask(int ask);
/* The name of a CA's key in grants: "ca", "ca:2". */
#define ET_STATE_CA_SECRET_SIZE 16
void et_state_ca_secret(uint32_t number, char ret[ET_STATE_CA_SECRET_SIZE]);
/* The number of Cluster.ca_certs[at]; 0: there is none. The first one issues. */
uint32_t et_state_ca_number(const Et__Cluster *c, size_t at);
/* The rotation that is under way, or was the last one; all zeros: there was none. The caller frees
 * *ret. */
int et_state_get_ca_ring(const struct et_state_view *v, Et__CaRing **ret) ET_MUST_CHECK;

/* What the present phase of a rotation waits for; apply looks at the same. */
enum et_state_ca_await {
	ET_CA_AWAIT_MAKE,	 /* a vault node makes the new CA */
	ET_CA_AWAIT_HOLDERS,	 /* only `number` vault nodes hold the key of the one that stays */
	ET_CA_AWAIT_TRUST,	 /* node `number` has not said that it trusts the new one */
	ET_CA_AWAIT_KEK,	 /* KEK version `number` is not signed by the one that stays */
	ET_CA_AWAIT_CERTIFICATE, /* node `number` has no certificate of the one that stays */
};
typedef int (*et_state_ca_await_fn)(void *arg, enum et_state_ca_await await, uint64_t number);
/* A result of `fn` that is not 0 ends the walk and is returned. */
int et_state_each_ca_await(const struct et_state_view *v, const Et__CaRing *ring,
			   et_state_ca_await_fn fn, void *arg);

/* ---- Newer generations ---- */

/* Is it what readers take? An older one may still be opened while its successor gets its copies, by
 * nobody but the node that makes the successor. */
static inline bool et_state_segment_is_newest(const Et__Segment *g)
{
	return g->replaced_by == 0;
}

enum et_state_due {
	ET_DUE_MAKE,   /* `segment` is to be replaced, for `redaction` (NULL: its KEK version) */
	ET_DUE_FINISH, /* it was replaced, and its key is to go */
};
/* What is due of a recording, in order of generation and segment. The records are views, valid
 * during the call. A result of `fn` that is not 0 ends the walk and is returned. */
typedef int (*et_state_due_fn)(void *arg, enum et_state_due due, const Et__Segment *segment,
			       const Et__Redaction *redaction);
int et_state_each_generation_due_of(const struct et_state_view *v, const uint8_t recording[16],
				    et_state_due_fn fn, void *arg);
/* Recordings, by id, behind `after` (NULL: from the first), of which something may be due. */
int et_state_each_generation_due(const struct et_state_view *v, const uint8_t *after,
				 int (*fn)(void *arg, const uint8_t recording[16]), void *arg);
/* What the newest generation of this replaced one still lacks before the old key may go; apply asks
 * the same. "" in `ret`: nothing. */
#define ET_STATE_LACKS_SIZE 160
int et_state_generation_lacks(const struct et_state_view *v, const Et__Segment *old,
			      char ret[ET_STATE_LACKS_SIZE]) ET_MUST_CHECK;

/* Was this op applied? true and its result (caller frees), while in the window. */
bool et_state_op_result(const struct et_state_view *v, const Et__OpId *op, Et__Result **ret);

/* The hash of a plan's items, as PlanPut checks it: SHA-256 over the packed items, in order. */
int et_state_plan_hash(const Et__Plan *plan, uint8_t ret[32]) ET_MUST_CHECK;

/* true when at least one other verified copy, at a target or at a member that does not drain,
 * makes it safe to lose the one at `place` (holds do not matter: a hold protects against erasure,
 * not against moving). */
bool et_state_copy_is_spare(const struct et_state_view *v, const uint8_t recording[16],
			    uint32_t generation, uint32_t segment, const char *place);

/* The last log index at which a copy may have stopped counting: evicted, bad, or its node drained,
 * removed or another. What was counted at this index or later still holds, but for what came. 0:
 * never; UINT64_MAX: it cannot be read. */
uint64_t et_state_copies_moved(const struct et_state_view *v);

#endif
