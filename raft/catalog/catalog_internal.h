/* Inside the catalogue: one struct, shared by files of one job each.
 *
 *   catalog.c    start, stop, the turn of the loop, status
 *   transport.c  raft's connections over mutual TLS
 *   guards.c     what stands between libraft and the world (G1 to G16)
 *   flow.c       what one message to a follower carries
 *   cut.c        a conflicting tail is cut off the log
 *   apply.c      the state thread
 *   propose.c    proposals of this node, and how they reach the log
 *   snapshot.c   snapshots as manifests, checkpoints, and the swap of the database
 *   serve.c      gives a checkpoint's files to a node that fell behind
 *   pull.c       gets them
 *   wire.c       the bytes of those messages
 *   read.c       linearizable reads
 *   tick.c       clocks and cluster time
 *   member.c     membership
 *   digest.c     is this node's state the same as the others'?
 *   rebuild.c    a database that is gone comes from another node
 *   status.c     what any thread may ask
 *   aio.c        what libraft asks of the kernel, done in another way
 *   crc.c        libraft's checksum of its log, made faster
 *   bootstrap.c  the first voter's log
 *
 * Everything here belongs to the loop's thread, except what the state thread's section names. */
#ifndef ET_RAFT_CATALOG_CATALOG_INTERNAL_H
#define ET_RAFT_CATALOG_CATALOG_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "node/base/log.h"
#include "node/base/queue.h"
#include "node/crypto/hash.h"
#include "node/tls/rpc.h"
#include "raft/catalog/catalog.h"

#define CAT_WAITING_MAX ((size_t)64 * 1024 * 1024)  /* bytes of own proposals without an answer */
#define CAT_WAITING_COUNT_MAX ((size_t)1 << 20)	    /* and how many */
#define CAT_INFLIGHT_MAX ((size_t)64 * 1024 * 1024) /* bytes appended and not committed */
#define CAT_QUEUE_MAX ((size_t)64 * 1024 * 1024)    /* bytes committed and not in RocksDB */
#define CAT_HELD_MAX ((size_t)256 * 1024 * 1024)    /* bytes of received entries held back */
#define CAT_UNSTORED_MAX ((size_t)64 * 1024 * 1024) /* bytes that the own disk has not taken */
#define CAT_WINDOW_BYTES ((size_t)16 * 1024 * 1024) /* on its way to a follower, about */
#define CAT_PART_BYTES ((size_t)1024 * 1024)	    /* of one AppendEntries */
#define CAT_TURN_BYTES ((size_t)2 * 1024 * 1024)    /* of entries taken in one turn of the loop */
#define CAT_ENTRY_OVERHEAD 64	 /* bytes that a log entry costs beside its content */
#define CAT_PIPELINE_DEPTH 16	 /* entries in flight before small ones wait for company */
#define CAT_PIPELINE_BYTES 65536 /* ... unless this much is waiting */
#define CAT_PIPELINE_WAIT_MS 5	 /* ... or this long */
#define CAT_FAR_US 20000	 /* an entry that takes so long to be committed has a long way */
#define CAT_FAR_DEPTH 256	 /* in place of CAT_PIPELINE_DEPTH then */
#define CAT_CROWD_BYTES 131072	 /* proposals that go out in pieces then */
#define CAT_PIECE_BYTES 8192
#define CAT_CROWD_PIECE_BYTES 65536 /* of more than that */
#define CAT_WINDOW_MAX 4096	    /* entries in flight to a follower (G8) */
#define CAT_PROPOSE_TIMEOUT_MS 10000
#define CAT_TIMER_MS 50
#define CAT_CHANGES_MAX 16
#define CAT_ADDRESS_SIZE 64
#define CAT_PATH_SIZE 1024
#define CAT_NAME_SIZE 96
#define CAT_FILES_MAX 65536
#define CAT_FILE_NAME_MAX 63
#define CAT_CHUNK_BYTES ((uint32_t)1024 * 1024)

/* A doubly linked list with a head; an element may be taken out without knowing its list. */
struct cat_link {
	struct cat_link *prev;
	struct cat_link *next;
};

static inline void cat_list_init(struct cat_link *head)
{
	head->prev = head->next = head;
}

static inline bool cat_list_is_empty(const struct cat_link *head)
{
	return head->next == head;
}

static inline void cat_list_add(struct cat_link *head, struct cat_link *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

static inline void cat_list_take(struct cat_link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	cat_list_init(link);
}

/* Move all of `from` to the empty `to`. */
static inline void cat_list_move(struct cat_link *from, struct cat_link *to)
{
	cat_list_init(to);
	while (!cat_list_is_empty(from)) {
		struct cat_link *link = from->next;
		cat_list_take(link);
		cat_list_add(to, link);
	}
}

/* ---- Messages (wire.c) ---- */

struct cat_manifest {
	uint64_t index;
	uint64_t checkpoint; /* applied index of the checkpoint, at or past `index` */
	uint64_t source;     /* node */
};
#define CAT_MANIFEST_SIZE 32

#define CAT_GREETING_MAX (5 + CAT_ADDRESS_SIZE)
struct cat_greeting {
	uint8_t bytes[CAT_GREETING_MAX];
	size_t size;
	char address[CAT_ADDRESS_SIZE];
};

enum { CAT_SNAPSHOT_OPEN = 1, CAT_SNAPSHOT_READ = 2, CAT_SNAPSHOT_HASH = 3 };

struct cat_request { /* for a checkpoint, or of it */
	uint8_t op;
	uint64_t index; /* OPEN */
	uint64_t id;
	char name[CAT_FILE_NAME_MAX + 1];
	uint64_t offset; /* READ */
	uint32_t size;
};

struct cat_file {
	char name[CAT_FILE_NAME_MAX + 1];
	uint64_t size;
};

struct cat_files { /* the answer to OPEN */
	uint64_t id;
	uint64_t index;
	struct cat_file *files; /* owned */
	size_t count;
	uint64_t bytes; /* of all */
};

bool et_cat_manifest_read(const void *data, size_t size, struct cat_manifest *ret);
void et_cat_manifest_write(const struct cat_manifest *m, uint8_t ret[CAT_MANIFEST_SIZE]);
/* Takes bytes until the greeting is complete (1), or there are no more (0), or ET_EMALFORMED. */
int et_cat_greeting_take(struct cat_greeting *g, const uint8_t **data, size_t *size);
size_t et_cat_greeting_make(const char *address, uint8_t ret[CAT_GREETING_MAX]);
bool et_cat_file_name_is_plain(const char *name);
bool et_cat_request_read(struct et_view body, struct cat_request *ret);
void et_cat_request_write(const struct cat_request *q, struct et_buffer *ret);
bool et_cat_files_read(struct et_view body, struct cat_files *ret);
void et_cat_files_release(struct cat_files *f);

/* ---- Jobs of the state thread (apply.c) ---- */

enum cat_job_kind { CAT_JOB_ENTRY, CAT_JOB_GAP, CAT_JOB_CALL, CAT_JOB_END };

struct cat_job {
	struct et_queue_node node;
	enum cat_job_kind kind;
	uint64_t index; /* of the entry, or the first of the gap */
	uint64_t last;	/* of the gap */
	size_t size;
	/* A call: `work` runs in the state thread, in order with the entries; then `after` on the
	 * loop, and the job is freed. */
	int (*work)(struct et_catalog *c, struct cat_job *job, struct et_error *reterr);
	void (*after)(struct et_catalog *c, struct cat_job *job);
	int code;
	struct et_error error;
	uint64_t result;
	char path[CAT_PATH_SIZE];
	void *arg;     /* borrowed */
	uint8_t *data; /* owned: the entry's bytes */
};

/* What apply said of one command. */
struct cat_op {
	uint64_t node;
	uint64_t seq;
	uint8_t incarnation[16];
};

struct cat_outcome {
	uint64_t index;
	struct cat_op op;
	uint64_t check_index; /* of a DigestCheck; else 0 */
	bool check_known;     /* this node still knew its digest there: `check_own` */
	uint8_t check_own[32];
	uint8_t check_told[32];
	uint32_t schema; /* of a ClusterInit or ClusterUpgrade that was applied; else 0 */
	bool is_tick;
	int64_t tick_us;
	Et__Result *result;   /* owned */
	Et__Command *command; /* owned; NULL when nobody asked for commands */
};

/* What the state thread sends back: a group of entries, or a call that is done. */
struct cat_done {
	struct et_queue_node node;
	struct cat_job *call; /* owned, or NULL */
	uint64_t applied;     /* after this group; 0: unchanged */
	size_t bytes;	      /* what leaves the queue */
	size_t count;
	size_t capacity;
	struct cat_outcome *outcomes; /* owned */
};

/* ---- A request to a peer that may outlive the catalogue (catalog.c) ---- */

struct cat_call {
	struct cat_link link;
	struct et_catalog *c; /* NULL: the catalogue is gone */
	void (*fn)(struct et_catalog *c, struct cat_call *call, int code, struct et_view body);
	uint64_t node;
	uint64_t tag;
	int64_t sent_us;
};

/* Work in libuv's pool; the catalogue waits for it when it stops. */
struct cat_work {
	uv_work_t work;
	/* libuv's queue orders the two threads; this says so to ThreadSanitizer, which does not see
	 * into libuv. */
	atomic_int handed_over;
	struct et_catalog *c;
	void (*run)(struct cat_work *w);
	void (*after)(struct cat_work *w);
};

/* ---- Received entries that wait (guards.c) ---- */

struct cat_held {
	struct cat_link link;
	struct raft_message message; /* owned: entries and their batch */
	char address[CAT_ADDRESS_SIZE];
	size_t bytes;
};

/* ---- A conflicting tail of the log (cut.c) ---- */

struct cat_cut {
	uint64_t next;	     /* the index that libraft's log appends next */
	uint64_t index;	     /* while marked: from here on nothing of the log is committed */
	uint64_t generation; /* cuts so far */
	bool marked;	     /* the marker is there, and what replaces the tail is not stored */
};

struct cat_install {
	bool active;		     /* a message is held */
	bool have_files;	     /* what it needs is on this disk */
	struct raft_message message; /* owned: configuration and data */
	char address[CAT_ADDRESS_SIZE];
	char path[CAT_PATH_SIZE]; /* the checkpoint for restore(), which takes it over; or "" */
	uint64_t path_index;	  /* its applied index */
};

/* ---- Clocks (tick.c) ---- */

struct cat_clock {
	uint64_t node;
	int64_t offset_us;
	int64_t at_us;	/* monotonic; 0: never asked */
	int64_t rtt_us; /* the least of late: a busy moment is no distance */
};
#define CAT_MEMBERS_MAX 32

/* ---- Space (space.c) ---- */

struct cat_room {
	uint64_t node;
	bool full;
	int64_t at_us; /* monotonic; 0: never heard */
};

struct cat_space {
	uint64_t reserve; /* bytes; 0: not watched */
	char path[CAT_PATH_SIZE];
	bool held;   /* the file is there */
	bool making; /* in libuv's pool */
	bool full;
	bool near;
	atomic_bool no_flush; /* full, for the state thread */
	int64_t looked_us;
	int64_t full_since_us;
	int64_t refused_until_us; /* the leader has refused for want of space */
	struct cat_room peers[CAT_MEMBERS_MAX];
	uint64_t (*probe)(const struct et_catalog *c); /* tests: free bytes; or NULL */
};

/* ---- Membership (member.c) ---- */

enum cat_change_kind { CAT_ADD, CAT_ASSIGN, CAT_REMOVE, CAT_TRANSFER };
enum cat_change_stage {
	CAT_STAGE_CHECK,
	CAT_STAGE_CATCH_UP,
	CAT_STAGE_QUIET,
	CAT_STAGE_BARRIER,
	CAT_STAGE_SUBMIT
};

struct cat_change {
	struct cat_link link;
	enum cat_change_kind kind;
	enum cat_change_stage stage;
	uint64_t node;
	char address[CAT_ADDRESS_SIZE];
	int role; /* RAFT_* */
	int step; /* the role of the step that is under way */
	int tries;
	int64_t deadline_us;
	int64_t quiet_deadline_us;
	et_catalog_cb cb;
	void *arg;
};

/* ---- Checkpoints of the own database (snapshot.c, serve.c) ---- */

struct cat_checkpoint {
	struct cat_link link;
	uint64_t id;	 /* of the folder's name: the same after a restart */
	uint64_t serial; /* higher: newer */
	uint64_t index;	 /* applied */
	char path[CAT_PATH_SIZE];
	int64_t pinned_until_us;
	bool is_gone;	  /* its files were removed under it */
	unsigned readers; /* requests in libuv's pool */
};

struct cat_pull;

/* Bytes a second: each take moves the time before which the next one waits. */
struct cat_rate {
	uint64_t per_s; /* 0: no limit */
	int64_t next_us;
};
#define CAT_RATE_MIN (UINT64_C(256) * 1024)
#define CAT_RATE_BURST_US 50000

static inline void cat_rate_take(struct cat_rate *r, uint64_t bytes, int64_t now_us)
{
	if (r->per_s > 0) {
		int64_t from_us = now_us - CAT_RATE_BURST_US;
		r->next_us = (r->next_us > from_us ? r->next_us : from_us) +
			     (int64_t)(bytes * 1000000 / r->per_s);
	}
}
/* What is on its way to a member (flow.c). */
struct cat_flow {
	raft_term term;	       /* of the leader that sent it: this node */
	raft_index before;     /* entries after this one */
	raft_index sent;       /* ... up to this one; 0: nothing is known to be on its way */
	raft_term sent_term;   /* of that entry */
	raft_index match;      /* the highest that was seen */
	raft_index asked;      /* somebody waits there for this one to be committed; 0: nobody */
	raft_index told;       /* the commit index that it was told last */
	unsigned char version; /* of libraft's messages */
	int64_t moved_us;      /* monotonic: when anything was last written, or `match` has moved */
	int64_t patience_us;   /* how long that may be before it is sent again */
	unsigned open;	       /* parts that wait to be written */
};

/* What is known of where a member is (operate.c). */
struct cat_seat {
	uint64_t node;			/* 0: free */
	int64_t contact_us;		/* monotonic: its last message; 0 never */
	unsigned turn;			/* which of its addresses is tried next */
	char greeted[CAT_ADDRESS_SIZE]; /* the address that it said itself, or "" */
	struct cat_flow flow;
};

/* ---- Digests (digest.c) ---- */

#define CAT_CHECKS 16 /* the last ones, for who asks */

enum cat_verdict {
	CAT_VERDICT_WAIT,     /* not enough answers */
	CAT_VERDICT_AGREES,   /* a majority of the voters has what this node has */
	CAT_VERDICT_WRONG,    /* a majority of the voters has something else */
	CAT_VERDICT_DISPUTED, /* no majority has the same */
};

struct cat_vote {
	uint64_t node;
	char address[CAT_ADDRESS_SIZE];
	bool is_voter;
	bool answered;
	bool asking;
	uint8_t digest[32];
};

struct cat_digests {
	struct {
		uint64_t index;
		uint8_t digest[32];
	} checks[CAT_CHECKS]; /* what this node had there */
	size_t check_count;   /* ever */
	uint64_t last_check;  /* index of the newest DigestCheck that was applied */

	bool polling;
	uint64_t index; /* of the poll, as all below */
	uint8_t own[32];
	int64_t deadline_us;
	int64_t ask_at_us;
	struct cat_vote votes[CAT_MEMBERS_MAX];
	size_t vote_count;

	bool disputed;
	bool diverged;
	bool told; /* on_diverged was called */
	int64_t tell_at_us;
	struct et_error why;
	uint64_t odd[CAT_MEMBERS_MAX]; /* nodes that differed when they were last heard */
	size_t odd_count;
	uint64_t agreed_index; /* the last index at which a majority agreed, this node with it */
	unsigned agreed_nodes;

	int64_t propose_at_us; /* the next check, if this node leads */
	uint64_t proposed_applied;
	bool proposing;
};

/* Jobs in a row, linked by their nodes. */
struct cat_jobs {
	struct et_queue_node *first, *last;
};

/* A database that was lost comes from another node; meanwhile entries wait (rebuild.c). */
struct cat_rebuild {
	bool active;
	uint64_t index;	      /* the state must be at least there */
	struct cat_jobs jobs; /* owned: what waits for it */
	unsigned source;      /* which of the others is asked */
	int64_t rotate_at_us;
};

struct et_catalog {
	/* What the caller gave. */
	uv_loop_t *loop;
	struct et_postbox *postbox; /* borrowed */
	struct et_tls_node *tls;    /* borrowed */
	uint64_t node;
	char address[CAT_ADDRESS_SIZE];
	char raft_folder[CAT_PATH_SIZE];
	char db_folder[CAT_PATH_SIZE];
	uint32_t election_ms;
	uint32_t heartbeat_ms;
	uint64_t snapshot_bytes;
	uint64_t space_reserve;
	void (*on_applied)(void *arg, uint64_t index, const Et__Command *command,
			   const Et__Result *result);
	void (*on_change)(void *arg);
	void (*on_replaced)(void *arg);
	void (*on_diverged)(void *arg, const struct et_error *why);
	void (*on_entry)(void *arg, uint64_t index, struct et_view entry, const uint8_t digest[32]);
	void *arg;

	/* libraft and what it was given. */
	struct raft raft;
	struct raft_io io;
	struct raft_fsm fsm;
	struct raft_uv_transport transport;
	struct raft_tracer tracer;
	bool raft_is_open; /* raft_init() succeeded, the close callback has not run */

	/* The loop's handles. */
	uv_prepare_t prepare;
	uv_idle_t idle; /* active: there is something to do in the next turn */
	uv_timer_t timer;
	uv_timer_t soon;  /* one shot: what waits for milliseconds */
	uv_async_t async; /* the state thread has sent something */
	int handles;	  /* open */
	bool queues_are_open;

	/* How long a turn takes (catalog.c). */
	uint64_t turn_ns;     /* when the last one began; 0: none has */
	uint64_t idle_ns;     /* what the loop had slept by then */
	uint64_t stall_ns[2]; /* the longest in this minute, and in the one before */
	uint64_t stall_begin_ns;
	uint64_t longest_ns;

	/* Stopping. */
	bool stopping;
	bool closing_handles;
	bool raft_closing;
	bool raft_closed;
	bool thread_ending;
	bool thread_ended;
	size_t works;	   /* in libuv's pool */
	atomic_uint posts; /* messages of other threads on their way */
	void (*closed)(void *arg);
	void *closed_arg;
	struct cat_link calls;

	/* transport.c */
	raft_uv_accept_cb accept_cb;
	raft_uv_transport_close_cb transport_close_cb;
	struct cat_link dials;
	struct cat_link pumps;
	size_t pumps_open;
	char *scratch; /* owned: 64 KiB, for reads */

	/* guards.c */
	int (*io_start)(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
			raft_io_recv_cb recv);
	int (*io_append)(struct raft_io *io, struct raft_io_append *req,
			 const struct raft_entry entries[], unsigned n, raft_io_append_cb cb);
	int (*io_send)(struct raft_io *io, struct raft_io_send *req,
		       const struct raft_message *message, raft_io_send_cb cb);
	int (*io_load)(struct raft_io *io, raft_term *term, raft_id *voted_for,
		       struct raft_snapshot **snapshot, raft_index *start_index,
		       struct raft_entry *entries[], size_t *n_entries);
	int (*io_truncate)(struct raft_io *io, raft_index index);
	int (*cut_put)(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
		       const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb);
	int (*io_snapshot_put)(struct raft_io *io, unsigned trailing,
			       struct raft_io_snapshot_put *req,
			       const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb);
	int (*io_snapshot_get)(struct raft_io *io, struct raft_io_snapshot_get *req,
			       raft_io_snapshot_get_cb cb);
	raft_io_recv_cb deliver;
	struct cat_link held;
	size_t held_bytes;
	int64_t segment_told_us; /* monotonic: when it was last said that a segment was not made */
	size_t turn_bytes;	 /* of entries, taken in this turn of the loop */
	size_t unstored_bytes;
	uint64_t entry_bytes_average;
	struct cat_install install;
	struct cat_cut cut;

	/* apply.c: the state thread. `state` is written by it alone. */
	struct et_state *state; /* owned */
	bool no_index;		/* the state thread's: the index could not be made anew */
	pthread_t thread;
	bool thread_is_running;
	struct et_queue jobs;
	struct et_queue done;
	uint64_t pushed;	  /* last index given to the state thread, or waiting for the log */
	struct cat_jobs unstored; /* owned: past the own log's end, in order */
	uint64_t applied;	  /* last index that it has told */
	size_t queue_bytes;	  /* given and not told */
	uint64_t log_bytes;	  /* since the last snapshot */
	struct cat_done *group;	  /* state thread: being filled */

	/* propose.c */
	struct cat_link proposals; /* in order */
	struct cat_link *cursor;   /* the first that is not sent in this term; may be the head */
	struct cat_link failed;	   /* callbacks that wait for the next turn */
	struct cat_link **buckets; /* owned: proposals by op */
	uint64_t last_number;	   /* of the newest proposal */
	uint64_t bunch;		   /* of what the callback proposes that runs, or ran last */
	uint64_t sent_number;	   /* up to here they are sent in this term */
	size_t proposals_count;
	size_t waiting_bytes;
	size_t unsent_bytes;
	size_t inflight_bytes;
	size_t inflight_count;
	int64_t commit_us; /* of entries, from append to commit: smoothed */
	int64_t next_deadline_us;
	int64_t flush_at_us;   /* small proposals wait until then; 0: none does */
	int64_t forward_at_us; /* not before */
	bool forwarding;
	bool disk_full;
	uint8_t incarnation[16];
	atomic_uint_fast64_t op_seq;
	struct cat_seen *seen; /* owned: incarnations that were proposed */
	size_t seen_count;

	/* Leadership, as of the last turn. */
	uint64_t leader;
	uint64_t term;
	int raft_state;
	uint64_t configuration_index;
	int64_t contact_us; /* monotonic: last sign of a leader */
	int64_t fresh_us;   /* monotonic: when this node had last applied all that it knew to be
			       committed */
	struct raft_barrier term_barrier;
	bool term_barrier_pending;
	uint64_t term_barrier_term;
	uint64_t ready_term; /* an entry of this term is committed: reads and changes are allowed */

	/* snapshot.c */
	bool snapshot_pending; /* checkpoint asked for, the put not yet called */
	uint64_t snapshot_index;
	uint64_t snapshot_log_bytes; /* of log_bytes, what the one under way covers */
	int64_t snapshot_at_us;	     /* not before */
	int64_t trim_at_us;
	char current[CAT_NAME_SIZE]; /* folder of the database */
	uint64_t checkpoint_serial;
	unsigned opens; /* checkpoints being made for others */
	struct cat_link checkpoints;
	struct cat_link gets;	 /* reads of the snapshot that failed: again at the next tick */
	struct cat_link formers; /* databases that were replaced */
	struct cat_link asks;	 /* who asked for a snapshot */

	/* serve.c */
	struct cat_link serves; /* requests that wait for their turn */
	size_t serves_waiting;
	unsigned serves_working; /* in libuv's pool */
	struct cat_rate serve_rate;
	struct cat_known *known; /* owned: hashes of files, by inode; NULL: none yet */
	uint64_t served_bytes;

	/* pull.c */
	struct cat_pull *pull; /* owned */
	uint32_t pull_generation;
	struct cat_rate pull_rate;
	int64_t pull_stall_us; /* a source that is silent for so long is left */
	bool partials_exist;   /* what was pulled and is not used, perhaps */
	bool partials_going;   /* being removed in libuv's pool */
	int64_t partials_us;   /* when they were last of use */
	bool pull_no_space;
	uint64_t pulled_bytes;
	uint64_t reused_bytes;

	/* read.c */
	struct cat_link reads;	     /* not asked for yet */
	struct cat_link round_reads; /* of the round under way */
	struct cat_link apply_waits; /* have an index, wait for the database */
	uint64_t round;
	uint64_t round_term;
	uint64_t round_index;
	unsigned round_acks;
	unsigned round_open; /* questions without an answer */
	bool round_active;
	int64_t read_at_us; /* not before */

	struct cat_digests digests; /* digest.c */
	struct cat_rebuild rebuild; /* rebuild.c */
	uint32_t digest_check_ms;
	uint32_t schema; /* the committed one; 0: no cluster yet */

	/* tick.c */
	struct cat_clock clocks[CAT_MEMBERS_MAX];
	int64_t clocks_asked_us;
	unsigned clocks_open; /* questions without an answer */
	bool tick_pending;
	bool cluster_exists;
	bool clock_skew;
	bool clock_off;
	int64_t clock_off_us;
	int64_t cluster_time_us;
	uint64_t commands_applied;
	uint64_t commands_at_tick;

	/* space.c */
	struct cat_space space;

	/* member.c */
	struct cat_link changes;
	struct raft_change raft_change;
	struct raft_barrier change_barrier;
	struct raft_transfer raft_transfer;
	bool change_busy;	 /* raft owes a callback */
	bool paused;		 /* no proposals while a change travels */
	int64_t stored_at_us;	 /* when the own disk last took an entry (G7) */
	int64_t hand_over_at_us; /* not before */

	/* operate.c */
	struct cat_seat seats[CAT_MEMBERS_MAX];
	bool (*address_of)(void *arg, uint64_t node, char ret[64]);

	/* Status: the only lock, held for a copy. */
	pthread_mutex_t status_mutex;
	struct et_catalog_status status;
};

/* catalog.c */
void et_cat_schedule(struct et_catalog *c); /* see to it that another turn comes at once */
void et_cat_soon(struct et_catalog *c, int64_t at_us); /* ... or at that monotonic time */
void et_cat_call(struct et_catalog *c, uint64_t node, const char *address,
		 enum et_rpc_method method, const void *body, size_t size, uint32_t timeout_ms,
		 void (*fn)(struct et_catalog *, struct cat_call *, int, struct et_view),
		 uint64_t tag);
void et_cat_work(struct et_catalog *c, struct cat_work *w);
const struct raft_server *et_cat_server(const struct et_catalog *c, uint64_t node);
bool et_cat_is_leader(const struct et_catalog *c);
void et_cat_maybe_closed(struct et_catalog *c);
int et_cat_post(struct et_catalog *c, struct et_post *post) ET_MUST_CHECK; /* any thread */
void et_cat_post_ended(struct et_catalog *c);
void *et_cat_alloc(size_t size); /* zeroed; ends the process without memory */

/* bootstrap.c: append the configuration of one voter to the log in `folder`, in a term that no
 * other log has. *ret_index: of that entry. Interrupted, it is to be done again. */
#define CAT_RECOVERY_TERMS UINT64_C(0x1000000)
int et_cat_recover_log(const char *folder, uint64_t node, const char *address, uint64_t *ret_index,
		       struct et_error *reterr) ET_MUST_CHECK;

/* operate.c */
struct cat_seat *et_cat_seat(struct et_catalog *c, uint64_t node);
/* The address to try now. `otherwise` is that of Raft's configuration, or NULL. */
void et_cat_address(struct et_catalog *c, uint64_t node, const char *otherwise,
		    char ret[CAT_ADDRESS_SIZE]);
void et_cat_address_failed(struct et_catalog *c, uint64_t node);
void et_cat_address_greeted(struct et_catalog *c, uint64_t node, const char *address);
void et_cat_serve_transfer(void *arg, const struct et_tls_peer *peer, struct et_view body,
			   struct et_rpc_reply *reply);

/* status.c */
void et_cat_status_update(struct et_catalog *c);

/* transport.c */
int et_cat_transport_init(struct et_catalog *c, struct et_error *reterr) ET_MUST_CHECK;
void et_cat_transport_serve(struct et_catalog *c);
bool et_cat_transport_has(const struct et_catalog *c, uint64_t node); /* a connection */

/* guards.c */
int et_cat_code(int raft_code);
_Noreturn void et_cat_fatal(const struct et_catalog *c, const char *fmt, ...) ET_PRINTF(2, 3);
void et_cat_guards_init(struct et_catalog *c);
void et_cat_guard_recv(struct raft_io *io, struct raft_message *message);
void et_cat_guards_turn(struct et_catalog *c);
void et_cat_guards_release(struct et_catalog *c);
void et_cat_window_adapt(struct et_catalog *c, size_t bytes, unsigned n);
bool et_cat_is_throttled(const struct et_catalog *c);
/* A checkpoint for the held InstallSnapshot, or the next one, is in `path`. Takes the folder over.
 */
void et_cat_install_ready(struct et_catalog *c, const char *path, uint64_t index);

/* flow.c */
void et_cat_flow_init(struct et_catalog *c);
void et_cat_flow_forget(struct et_catalog *c, uint64_t node); /* what was sent may be lost */
/* An answer, before libraft sees it. */
void et_cat_flow_result(struct et_catalog *c, const struct raft_message *message);
/* Leader: somebody at `node` waits until the entry `index` is committed, and is told at once. */
void et_cat_flow_ask(struct et_catalog *c, uint64_t node, raft_index index);
void et_cat_flow_turn(struct et_catalog *c);

/* cut.c */
void et_cat_cut_init(struct et_catalog *c);
/* Entries that were appended after `generation` cuts are stored; before libraft is told. */
void et_cat_cut_stored(struct et_catalog *c, uint64_t generation);
/* Before libraft opens the log: finish, or take back, a cut that was interrupted. ET_ECORRUPT: the
 * files are not what an interrupted cut can leave. */
int et_cat_cut_repair(const char *folder, struct et_error *reterr) ET_MUST_CHECK;
void et_cat_cut_done(const struct et_catalog *c); /* the log is open: what was set aside goes */

/* apply.c */
int et_cat_apply_init(struct et_catalog *c, struct et_error *reterr) ET_MUST_CHECK;
void et_cat_apply_release(struct et_catalog *c);
int et_cat_apply_start(struct et_catalog *c, struct et_error *reterr) ET_MUST_CHECK;
void et_cat_apply_turn(struct et_catalog *c);
void et_cat_jobs_add(struct cat_jobs *list, struct cat_job *job);
struct cat_job *et_cat_jobs_take(struct cat_jobs *list); /* the first; NULL: none */
void et_cat_jobs_release(struct cat_jobs *list);
bool et_cat_job_is_of_log(const struct cat_job *job); /* an entry, or a gap */
void et_cat_apply_stored(struct et_catalog *c);	      /* a snapshot stands for the own log */
void et_cat_apply_end(struct et_catalog *c);
int et_cat_fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result);
struct cat_job *et_cat_job_new(int (*work)(struct et_catalog *, struct cat_job *,
					   struct et_error *),
			       void (*after)(struct et_catalog *, struct cat_job *));
void et_cat_job_push(struct et_catalog *c, struct cat_job *job);

/* propose.c */
int et_cat_propose_init(struct et_catalog *c, struct et_error *reterr) ET_MUST_CHECK;
void et_cat_propose_release(struct et_catalog *c);
void et_cat_propose_turn(struct et_catalog *c);
void et_cat_propose_timeouts(struct et_catalog *c, int64_t now_us);
void et_cat_propose_complete(struct et_catalog *c, const struct cat_outcome *outcome);
void et_cat_propose_resend(struct et_catalog *c);
void et_cat_propose_fail_all(struct et_catalog *c, int code);
void et_cat_later(struct et_catalog *c, et_catalog_cb cb, void *arg, int code);
void et_cat_later_index(struct et_catalog *c, void (*cb)(void *, int, uint64_t), void *arg,
			int code);
void et_cat_serve_propose(void *arg, const struct et_tls_peer *peer, struct et_view body,
			  struct et_rpc_reply *reply);

/* aio.c */
void et_cat_aio_init(void); /* on the loop's thread */
typedef long (*cat_syscall)(long number, ...);
extern _Atomic(cat_syscall) et_cat_syscall_next; /* tests put theirs before it */

/* ---- libraft's checksum (crc.c) ---- */

unsigned __wrap_byteCrc32(const void *buf, size_t size, unsigned init);

/* snapshot.c */
int et_cat_snapshot_open_state(struct et_catalog *c, struct et_error *reterr) ET_MUST_CHECK;
void et_cat_snapshot_init(struct et_catalog *c);
void et_cat_snapshot_cleanup(struct et_catalog *c);
void et_cat_snapshot_release(struct et_catalog *c);
void et_cat_snapshot_watch(struct et_catalog *c);
void et_cat_snapshot_timer(struct et_catalog *c, int64_t now_us);
int et_cat_fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs);
int et_cat_fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf);
void et_cat_folder_remove(const char *path);
void et_cat_folder_remove_later(struct et_catalog *c, const char *path);
/* SHA-256 of a file, read piece by piece (in libuv's pool). */
int et_cat_file_hash(const char *path, uint8_t ret[ET_SHA256_SIZE]);
int et_cat_path_in_db(const struct et_catalog *c, const char *name, char path[CAT_PATH_SIZE]);
void et_cat_snapshot_fail_asks(struct et_catalog *c, int code);
/* A fresh path in the database's folder: "KIND-INDEX-RANDOM". */
void et_cat_snapshot_name(const struct et_catalog *c, const char *kind, uint64_t index,
			  char path[CAT_PATH_SIZE]);
/* Make one, of all that is in the state thread's queue at least; `after` finds code, error, and
 * path and result (its index). It calls et_cat_checkpoint_made() to keep it. */
void et_cat_checkpoint(struct et_catalog *c,
		       void (*after)(struct et_catalog *c, struct cat_job *job), void *arg);
struct cat_checkpoint *et_cat_checkpoint_made(struct et_catalog *c, const struct cat_job *job);

/* serve.c */
void et_cat_serve_turn(struct et_catalog *c);
void et_cat_serve_stop(struct et_catalog *c);
void et_cat_serve_snapshot(void *arg, const struct et_tls_peer *peer, struct et_view body,
			   struct et_rpc_reply *reply);

/* pull.c */
void et_cat_pull_start(struct et_catalog *c, uint64_t node, const char *address, uint64_t index);
void et_cat_pull_turn(struct et_catalog *c);
void et_cat_pull_timer(struct et_catalog *c, int64_t now_us);
/* At the start: a complete checkpoint that was not installed becomes a partial one again. */
void et_cat_pull_keep(struct et_catalog *c, const char *path);
void et_cat_pull_stop(struct et_catalog *c);
void et_cat_pull_progress(const struct et_catalog *c, uint64_t *ret_done, uint64_t *ret_all);

/* read.c */
void et_cat_read_turn(struct et_catalog *c);
void et_cat_read_timeouts(struct et_catalog *c, int64_t now_us);
void et_cat_read_applied(struct et_catalog *c);
void et_cat_read_fail_all(struct et_catalog *c, int code);
void et_cat_serve_read_index(void *arg, const struct et_tls_peer *peer, struct et_view body,
			     struct et_rpc_reply *reply);
void et_cat_serve_term(void *arg, const struct et_tls_peer *peer, struct et_view body,
		       struct et_rpc_reply *reply);

/* tick.c */
void et_cat_tick_init(struct et_catalog *c);
void et_cat_tick_timer(struct et_catalog *c, int64_t now_us);
void et_cat_serve_clock(void *arg, const struct et_tls_peer *peer, struct et_view body,
			struct et_rpc_reply *reply);
/* The time that a majority of `voters` agrees on within 2 s, as an offset to the own clock: the
 * middle of the largest group. offsets[n] are known clocks (the own 0 among them). false: none. */
bool et_cat_clock_agree(const int64_t *offsets, size_t n, size_t voters, int64_t *ret_offset_us);

/* Are these settings fit for this distance? Not when a heartbeat's answer takes longer than a
 * heartbeat (libraft then takes the follower for silent and sends one message at a time), nor when
 * fewer than ten round trips fit in an election timeout. */
bool et_cat_timing_fits(uint32_t election_ms, uint32_t heartbeat_ms, int64_t rtt_us);
/* The least of late: takes a shorter one at once, a longer one by an eighth of the difference. */
int64_t et_cat_rtt_add(int64_t known_us, int64_t rtt_us);

/* What is known of a node's clock since 15 s; NULL: nothing. */
const struct cat_clock *et_cat_clock_of(const struct et_catalog *c, uint64_t node, int64_t now_us);

/* space.c */
void et_cat_space_init(struct et_catalog *c, uint64_t reserve); /* before the database opens */
void et_cat_space_timer(struct et_catalog *c, int64_t now_us);
void et_cat_space_of_peer(struct et_catalog *c, uint64_t node, bool full);
void et_cat_space_refused(struct et_catalog *c);	/* by the leader */
bool et_cat_space_is_short(const struct et_catalog *c); /* here, or at a member that was heard */
/* digest.c */
void et_cat_digest_applied(struct et_catalog *c, const struct cat_outcome *outcome);
void et_cat_digest_timer(struct et_catalog *c, int64_t now_us);
void et_cat_serve_digest(void *arg, const struct et_tls_peer *peer, struct et_view body,
			 struct et_rpc_reply *reply);
/* What `own` is worth against the voters' answers; pure. `voters` is their number, this node's own
 * vote counts if it `is_voter`; `ended`: no more answers will come. */
enum cat_verdict et_cat_digest_judge(const uint8_t own[32], bool is_voter,
				     const struct cat_vote *votes, size_t count, size_t voters,
				     bool ended);
/* Refuses a node that was found to be wrong, until its database is removed. */
int et_cat_digest_check_marker(const struct et_catalog *c, struct et_error *reterr) ET_MUST_CHECK;

/* rebuild.c */
bool et_cat_rebuild_holds(struct et_catalog *c, struct cat_job *job);
int et_cat_rebuild_begin(struct et_catalog *c, struct et_error *reterr) ET_MUST_CHECK;
void et_cat_rebuild_timer(struct et_catalog *c, int64_t now_us);
bool et_cat_rebuild_ready(struct et_catalog *c, const char *path, uint64_t index);
void et_cat_rebuild_release(struct et_catalog *c);
void et_cat_replace(struct et_catalog *c, const char *path, uint64_t index); /* snapshot.c */

/* member.c */
void et_cat_member_turn(struct et_catalog *c);
void et_cat_member_timer(struct et_catalog *c, int64_t now_us);
void et_cat_member_fail_all(struct et_catalog *c, int code);

#endif
