/* The service from inside: what its parts share. Everything here belongs to the sync thread, except
 * where it says otherwise.
 *
 *   sync.c   start, stop, what comes from other threads
 *   table.c  the segments that lack copies, and when to do something about each
 *   pull.c   fetching one segment ...      link.c   connections and their frames
 *   pull_disk.c  ... onto the disk
 *   serve.c  sending segments to others    ack.c    commands proposed until they are answered
 *   check.c  verifying own copies          status.c sites, the published status
 *   gate.c   limits, as the catalogue says queue.c  what waits, and why
 *   scrub.c  verifying all own copies, by and by
 *   tail.c   live tails: tail_internal.h
 *   repair.c what lacks copies, and trying again at once */
#ifndef ET_REPLICATION_SYNC_SYNC_INTERNAL_H
#define ET_REPLICATION_SYNC_SYNC_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "node/tls/tls.h"
#include "replication/limit/limit.h"
#include "replication/sync/look_internal.h"
#include "replication/sync/store_internal.h"
#include "replication/sync/sync.h"
#include "replication/sync/tail_internal.h"
#include "replication/sync/wire_internal.h"

#define ET_SYNC_TICK_MS 200
#define ET_SYNC_ACK_MS 100
#define ET_SYNC_STREAMS_MAX 64		 /* served at once on one connection */
#define ET_SYNC_LINKS_MAX 512		 /* connections, both directions */
#define ET_SYNC_QUEUED_MAX (1024 * 1024) /* bytes that TLS has not yet handed to the kernel */
#define ET_SYNC_TABLE_MAX (1024 * 1024)	 /* segments that are waited for at once */
#define ET_SYNC_NEAR_MAX 256		 /* of a class, that hold what a look found: 2 KB each */
#define ET_SYNC_BACKOFF_MAX_MS 60000
#define ET_SYNC_FULL_MS 30000
#define ET_SYNC_IDLE_MS 60000  /* an idle connection is closed then */
#define ET_SYNC_PING_MS 5000   /* of silence while something is awaited */
#define ET_SYNC_DEAD_MS 15000  /* of silence: the connection is given up */
#define ET_SYNC_STALL_MS 30000 /* a source that answers pings and sends nothing */

struct pull;
struct serve;

/* ---- Sites (status.c) ---- */

/* What may pass now, and how fast. */
struct gate {
	bool set;	/* else another one decides */
	bool paused;	/* nothing passes */
	uint64_t rate;	/* bytes a second; 0: no limit */
	int64_t tokens; /* bytes that may pass now; 0 and less: wait */
};

/* Of one direction: of a class that a limit names, and of the others together. */
struct gates {
	struct gate klass[ET_SYNC_CLASSES];
	struct gate shared;
};

struct site {
	struct et_sync_site st;	       /* the numbers that are published */
	struct gate base_in, base_out; /* limits.sync-rate of this node, where no limit decides */
	struct gates out;	       /* limits to this site */
	uint64_t last_in, last_out;    /* bytes at the last tick */
};

struct site *et_sync_site_of(struct et_sync *s, const char *name); /* NULL: too many */
void et_sync_site_error(struct et_sync *s, struct site *site, int code, const char *text);
void et_sync_status_tick(struct et_sync *s);
void et_sync_status_publish(struct et_sync *s);
/* Statistics only. */
void et_sync_count_received(struct et_sync *s, struct site *site, uint8_t klass, uint64_t bytes);

/* ---- Gates (gate.c) ---- */

/* The catalogue's limits, as they were last read. */
struct limits {
	struct et_limits *read; /* owned; NULL: not yet */
	uint32_t revision;	/* of the policy; 0: there is none */
	char error[160];	/* why those of a newer revision are not in force, or "" */
	uint32_t sharers;	/* nodes of this site that take copies: each has its part */
	struct gates in;	/* to this site */
	int64_t judged_us;	/* monotonic: when gates last followed the time of day */
	bool due, looking;
	uv_work_t work;
	struct et_look_policy look; /* the one that runs */
	struct et_limits *parsed;   /* owned; of it */
	struct et_error parse_error;
};

/* May bytes of a class pass now? `site` is the peer's; NULL: yes. */
bool et_gate_may_send(struct et_sync *s, struct site *site, uint8_t klass);
bool et_gate_may_receive(struct et_sync *s, struct site *site, uint8_t klass);
bool et_gate_is_paused(struct et_sync *s, struct site *site, uint8_t klass); /* to receive */
uint64_t et_gate_rate(struct et_sync *s, struct site *site, uint8_t klass);  /* likewise; 0: none */
/* Does a limit name the class, to this site? */
bool et_gate_is_named(const struct et_sync *s, uint8_t klass);
/* They pass: what is owed is made good before the next. Receiving is counted when credit is given;
 * negative: some of it was not used. */
void et_gate_sent(struct et_sync *s, struct site *site, uint8_t klass, uint64_t bytes);
void et_gate_granted(struct et_sync *s, struct site *site, uint8_t klass, int64_t bytes);
void et_gate_tick(struct et_sync *s, int64_t now_us, int64_t elapsed_us);
void et_gate_init(struct et_sync *s);
/* Limits or members have changed: read them again. */
void et_gate_look(struct et_sync *s);
void et_gate_release(struct et_sync *s);

/* ---- Links (link.c) ---- */

enum link_state { LINK_CONNECTING, LINK_OPEN, LINK_DEAD };

struct link {
	struct et_sync *s; /* borrowed */
	struct link *next; /* in s->links or s->dead */
	enum link_state state;
	bool outbound; /* we pull; else they do */
	bool fast;     /* for classes 0 and 1 */
	uint64_t id;   /* names it to the main thread while it connects */
	uint64_t node;
	struct site *site;	  /* in s->sites */
	struct et_tls_conn *conn; /* owned; NULL while connecting */
	struct et_wire_parser parser;
	uint64_t next_stream;
	struct pull *pulls;   /* that use it */
	struct serve *serves; /* owned */
	uint32_t pull_count, serve_count;
	struct tail_source *tail; /* borrowed: it asks for tails here; or NULL */
	uint32_t features;	  /* of the peer's HELLO */
	int64_t last_in_us, idle_since_us, pinged_us; /* monotonic */
	bool drain_armed;
	bool broken; /* a frame could not be made: there was no memory */
};

/* The open or connecting link to a node that fits the class best; makes one where that helps. NULL:
 * cannot be had now (the node was down a moment ago, too many connections). */
struct link *et_link_get(struct et_sync *s, const struct et_look_source *source,
			 enum et_sync_class klass);
void et_link_accepted(struct et_sync *s, struct et_tls_conn *conn);
void et_link_connected(struct et_sync *s, uint64_t id, int code, struct et_tls_conn *conn);
void et_link_send(struct link *l, struct et_buffer *frame); /* empties `frame` */
/* End it: its pulls learn `code`, its streams end. It is freed later, from the loop. */
void et_link_kill(struct link *l, int code, const char *text);
void et_link_tick(struct et_sync *s, int64_t now_us);
void et_link_reap(struct et_sync *s);
void et_link_kill_all(struct et_sync *s);

/* ---- Serving (serve.c) ---- */

/* false: the peer broke the protocol. */
bool et_serve_want(struct link *l, uint8_t klass, uint16_t flags, uint64_t stream,
		   const struct et_wire_want *want);
bool et_serve_tail(struct link *l, uint64_t stream, const struct et_wire_block *body);
bool et_serve_credit(struct link *l, uint64_t stream, uint32_t bytes); /* false: too much */
void et_serve_cancel(struct link *l, uint64_t stream);
void et_serve_end_all(struct link *l);
void et_serve_pump(struct link *l);

/* ---- Pulling (pull.c) ---- */

enum pull_purpose { PULL_REPLICA, PULL_CACHE };

enum pull_state {
	PULL_OPEN,
	PULL_CONNECT,
	PULL_LEAVES,
	PULL_CHECK,
	PULL_DATA,
	PULL_FLUSH,
	PULL_CUT,
	PULL_PUBLISH,
	PULL_END,
};

/* Somebody who waits for et_sync_fetch(). */
struct fetch {
	struct et_post post;
	struct et_sync *s; /* borrowed */
	struct fetch *next;
	struct et_key key;
	et_sync_fetch_cb cb;
	void *arg;
	uv_work_t work;
	struct et_look look;
	struct et_look_result result;
	char path[ET_STORE_PATH_MAX];
	bool have; /* a file is there already */
};

struct pull {
	struct et_sync *s; /* borrowed */
	struct pull *next; /* in s->pulls */
	struct et_key key;
	enum pull_purpose purpose;
	enum pull_state state;
	struct et_look_result look; /* expectations and sources */
	struct et_intake intake;
	uint32_t source;   /* which one is being asked */
	struct link *link; /* borrowed, NULL between sources */
	struct pull *next_on_link;
	uint64_t stream;
	int fd;		/* of the partial file; -1 */
	bool has_part;	/* it holds bytes that were not checked yet */
	bool published; /* the file was there already */
	bool canceled;
	bool put_back;	     /* ... because its class is paused */
	bool quiet;	     /* it failed before: that is in the log already */
	uint64_t began;	     /* intake.good when this pull began */
	bool lied;	     /* a source sent what was not recorded */
	uint32_t window;     /* of the source that is being asked */
	uint32_t granted;    /* credit that the source may still use */
	uint32_t to_credit;  /* written, not yet granted again */
	int64_t progress_us; /* monotonic: when something last came */
	struct et_wire_block *writes, **writes_tail; /* owned, waiting to be written */
	size_t write_at;			     /* bytes of the first block that are written */
	bool writing;
	uv_fs_t fs;
	uv_work_t work;
	int work_code;
	struct et_error work_error;
	int code; /* the last failure */
	struct et_error error;
	struct fetch *waiters; /* owned */
	char part[ET_STORE_PATH_MAX];
	char path[ET_STORE_PATH_MAX];
};

/* Begin; the table or the waiters learn the end. 0 or -ENOMEM, ET_EMALFORMED (nothing started). */
int et_pull_start(struct et_sync *s, const struct et_look_result *look, enum pull_purpose purpose,
		  struct fetch *waiter, struct et_error *reterr) ET_MUST_CHECK;
struct pull *et_pull_find(struct et_sync *s, const struct et_key *key, enum pull_purpose purpose);
void et_pull_link_open(struct link *l); /* its handshake is over */
/* A frame for a pull's stream; takes the body over. false: the source broke the protocol. */
bool et_pull_frame(struct link *l, struct et_wire_frame *frame);
void et_pull_link_lost(struct pull *p, int code, const char *text);
void et_pull_tick(struct et_sync *s, int64_t now_us);
/* May so many more replicas of the class be under way? One that a limit names has half of the
 * transfers at most: it may be slow, and the others must not wait behind it. */
bool et_pull_has_room(const struct et_sync *s, uint8_t klass, uint32_t more);
/* Replicas under way of classes that are paused, or that have more than their room, go back to the
 * table; the youngest first. */
void et_pull_put_back(struct et_sync *s);
void et_pull_cancel_all(struct et_sync *s);

/* ---- For listeners (fetch.c) ---- */

void et_fetch_run(struct fetch *f);
/* Call back and free. */
void et_fetch_end(struct fetch *f, int code, const char *path, const struct et_error *error);

/* ---- The table (table.c) ---- */

enum item_state { ITEM_WAIT, ITEM_LOOK, ITEM_READY, ITEM_PULL, ITEM_ACK };

struct item {
	struct et_key key;
	struct item *next_hash;
	struct item *next_ready;
	enum item_state state;
	bool picked;	   /* of far: it is looked at again, for near */
	bool stale;	   /* something was applied while it was being looked at */
	size_t heap;	   /* its place in the heap while it waits */
	int64_t due_us;	   /* monotonic */
	int64_t since_us;  /* monotonic: known since; stand-ins count from here */
	uint32_t failures; /* rounds that failed, for back-off */
	uint64_t missing;  /* bit i: s->sites[i] lacks a copy */
	bool own;	   /* it is this node's turn */
	enum et_sync_class klass;
	bool gone; /* no node and no archive has a good copy */
	int code;  /* of the last round that failed; ET_ENOTFOUND: no node holds a copy */
	uint64_t size_bytes;
	int64_t sealed_us;
	uint64_t from;		     /* the first node to be asked, as of the last look; 0: none */
	struct site *from_site;	     /* in s->sites; NULL likewise */
	struct et_look_result *look; /* owned; while READY and near */
};

struct line {
	struct item *first, **last;
};

/* What is READY of one class, in order. A look takes 2 KB and a backlog may be long: only those
 * that are near hold theirs, the others are looked at again when near has room. */
struct ready {
	struct line near, far;
	uint32_t near_count, picked; /* picked: on their way from far to near */
};

struct table {
	struct item **buckets; /* owned */
	size_t bucket_count, count;
	struct item **heap; /* owned; the earliest due first */
	size_t heap_count, heap_capacity;
	struct ready ready[ET_SYNC_CLASSES];
	size_t ready_stale;  /* READY, and touched since */
	struct et_look look; /* the one that runs */
	uv_work_t look_work;
	bool looking;
	uv_work_t scan_work;
	bool scanning, scan_again;
	struct et_scan scan; /* the one that runs */
	uint64_t scan_index; /* of the last one that went well */
	int scan_code;
	struct et_error scan_error;
	int64_t scan_due_us; /* monotonic; 0: none */
};

int et_table_init(struct et_sync *s, struct et_error *reterr) ET_MUST_CHECK;
void et_table_release(struct et_sync *s);
void et_table_touch(struct et_sync *s, const struct et_key *key); /* something happened to it */
void et_table_scan_soon(struct et_sync *s, uint32_t delay_ms);
/* What has changed while it is held up by a pause is looked at again. */
void et_table_refresh(struct et_sync *s);
/* What waits (NULL: all of it) is looked at now, as if it had not failed. */
void et_table_hurry(struct et_sync *s, const uint8_t *ids, size_t count);
/* `progress`: it has more of it than before. */
void et_table_pulled(struct et_sync *s, const struct et_key *key, int code, bool progress);
void et_table_acknowledged(struct et_sync *s, const struct et_key *key);
void et_table_run(struct et_sync *s); /* start what can be started */
/* Every item; `fn` on the sync thread. */
void et_table_each(const struct table *t, void (*fn)(void *arg, const struct item *i), void *arg);

/* ---- What waits (queue.c) ---- */

void et_sync_queue_count(struct et_sync *s); /* into s->queue, and the lag into s->sites */

/* ---- Proposals (ack.c) ---- */

struct proposal;
struct ack_copy {
	struct et_key key;
	uint64_t size_bytes;
};
struct acks {
	struct ack_copy *copies; /* owned: published, not yet proposed */
	size_t count, capacity;
	uv_timer_t timer;
	bool timer_running;
	uint8_t incarnation[16];
	uint64_t seq;
	struct proposal *proposals; /* owned: not yet answered */
	uint64_t unanswered;	    /* copies in them */
};
void et_ack_init(struct et_sync *s);
void et_ack_add(struct et_sync *s, const struct et_look_result *look);
/* CopyBad for this node's copy. It takes one off s->bads_untold when it is committed. */
void et_ack_bad(struct et_sync *s, const struct et_expect *expect, const char *why);
/* Another command (its op id is filled in here), repeated until it is answered for good: then
 * `done` (or NULL). false: no memory; it will not run. */
bool et_ack_command(struct et_sync *s, const Et__Command *command,
		    void (*done)(struct et_sync *s, void *arg, int code), void *arg);
void et_ack_tick(struct et_sync *s, int64_t now_us);
void et_ack_stop(struct et_sync *s);   /* sync thread: no more */
void et_ack_orphan(struct et_sync *s); /* main thread, after the sync thread has ended */

/* ---- Checks (check.c) ---- */

struct check {
	struct et_post post;
	struct et_sync *s; /* borrowed */
	uint8_t recording[16];
	et_sync_check_cb cb;
	void *arg;
	uv_work_t work;
	struct et_look_own *owns;     /* owned */
	struct et_sync_check *checks; /* owned */
	size_t count;
	int code;
	struct et_error error;
};
void et_check_run(struct check *c);
/* Verify one copy. Where it is bad (and is so the second time, and the catalogue still counts it)
 * its file goes to quarantine, and s->bads_untold grows. `pace` may be NULL. Workers. *ret also
 * gets
 *   ET_ESTALE   the catalogue does not count it as this node's any more
 *   -EAGAIN     it does not verify, and the catalogue cannot be asked: nothing was done about it
 *   -ENODEV     the media folder is not this node's store, or its disk does not answer
 *   ET_ECLOSED  `pace` said no */
void et_check_copy(struct et_sync *s, const struct et_look_own *own,
		   const struct et_store_pace *pace, struct et_sync_check *ret);
bool et_check_is_bad(int code);
/* Of a bad one: log, count, tell the catalogue. */
void et_check_tell(struct et_sync *s, const struct et_look_own *own,
		   const struct et_sync_check *check);

/* ---- Scrub (scrub.c) ---- */

struct scrub {
	pthread_t thread;
	bool thread_runs;
	int64_t every_us; /* 0: only when asked */
	uint64_t rate;	  /* the default */
	int64_t (*fresh_us)(void *arg);
	void *fresh_arg;
	int64_t started_us; /* monotonic: the service */
	/* Its thread's. */
	struct et_error error;
	uint64_t at_pass; /* the pass that it is at */

	/* Both. */
	pthread_mutex_t mutex;
	pthread_cond_t asked;
	bool stop;
	struct et_sync_scrub st;
	uint8_t safe[16]; /* the cursor that is saved */
	bool unsaved;	  /* begun, changed or ended, and not in the file yet */
	int64_t free_us;  /* monotonic: the rate is used up until then */
	int64_t saved_us; /* monotonic */
	int save_code;
};
void et_scrub_init(struct et_sync *s, const struct et_sync_config *config);
void et_scrub_begin(struct et_sync *s);
void et_scrub_end(struct et_sync *s); /* sync thread: waits for its thread */
void et_scrub_release(struct et_sync *s);

/* ---- The service (sync.c) ---- */

struct et_sync {
	/* Fixed at start. */
	uv_loop_t *main_loop;
	struct et_postbox *main_box;
	struct et_tls_node *tls;
	struct et_state *state;
	et_sync_propose_fn propose;
	void *propose_arg;
	uint64_t node;
	const struct et_secret *sign_key; /* borrowed; or NULL */
	char *media;			  /* owned */
	char store_uuid[ET_NAME_MAX + 1], site[ET_NAME_MAX + 1];
	uint32_t transfers, bulk_connections, window_bytes, stand_in_ms, backoff_ms;
	uint64_t cache_bytes;

	/* The main thread's. */
	uv_async_t ended;    /* the sync thread is over */
	struct et_post last; /* behind everything that the sync thread posted */
	bool stop_asked, thread_runs;
	void (*closed)(void *arg);
	void *closed_arg;
	struct connect *connects; /* asked for, not answered */

	/* The sync thread's. */
	uv_thread_t thread;
	uv_loop_t loop;
	struct et_postbox box;
	uv_timer_t tick;
	uv_check_t round;
	uint32_t works; /* in libuv's pool, for us */
	struct site sites[ET_SYNC_SITES_MAX];
	uint32_t site_count;
	struct link *links, *dead;
	uint32_t link_count;
	uint64_t next_link;
	struct down {
		uint64_t node;
		int64_t until_us;
	} down[64]; /* nodes that did not answer */
	struct pull *pulls;
	uint32_t pull_count, replica_count;
	struct table table;
	struct limits limits;
	struct scrub scrub;
	struct tails tails;
	struct et_sync_queue queue;
	uint64_t class_bytes[ET_SYNC_CLASSES]; /* received since the last tick */
	struct acks acks;
	uint32_t serving;
	uint64_t bad_copies;
	int64_t full_until_us; /* monotonic; 0: the disk is not full */
	int64_t ticked_us, counted_us;

	/* Both. */
	atomic_bool stopping;	 /* set by the sync thread; long work in a worker ends for it */
	atomic_uint bads_untold; /* copies found bad whose CopyBad is not committed */
	atomic_bool rescan;	 /* a message did not fit: look at everything again */
	pthread_mutex_t status_mutex;
	struct et_sync_status status;
};

/* Ask the main thread for a connection; et_link_connected() is called with its end. */
int et_sync_connect(struct et_sync *s, uint64_t link, uint64_t node,
		    const char *address) ET_MUST_CHECK;
/* A worker for us; counted, so that stopping waits for it. */
int et_sync_work(struct et_sync *s, uv_work_t *work, uv_work_cb run,
		 uv_after_work_cb after) ET_MUST_CHECK;
void et_sync_work_done(struct et_sync *s); /* first in every `after` */

static inline bool et_key_equal(const struct et_key *a, const struct et_key *b)
{
	return memcmp(a->recording, b->recording, 16) == 0 && a->generation == b->generation &&
	       a->segment == b->segment;
}

static inline uint32_t et_key_hash(const struct et_key *key)
{
	/* Ids are random in their lower half. */
	uint64_t h =
		et_get64(key->recording + 8) ^ ((uint64_t)key->generation << 20 | key->segment);
	h *= UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(h >> 32);
}

#endif
