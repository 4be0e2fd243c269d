/* Moves sealed segments between nodes, over evertape-sync/1 (ops/doc/formats/sync.md).
 *
 * The destination pulls. Every node learns from its own catalogue which segments lack a copy at
 * which site; replication/plan says which node of the site fetches, and whom it asks in which
 * order.
 *
 * Happy path: et_sync_on_applied(SegmentSeal) -> the segment enters the table of incomplete ones
 * -> it is this node's turn -> WANT to the best source -> leaf hashes, checked against the root in
 * the catalogue -> records, each hashed on arrival against its leaf, written to
 * <media>/incoming/ -> the whole verified (structure, root, seal hash) -> fsync, rename to
 * <media>/<segment.file>, fsync of the folder -> CopyAdd, batched up to 100 ms -> the table
 * forgets it.
 *
 * Possible failure modes are
 *   - the connection breaks: what has arrived stays in <media>/incoming/; the next attempt checks
 *     it against the leaves and goes on at the first record that is missing;
 *   - a source lies, lacks it, or is busy: the next source; after the last one, again with
 *     back-off (1 s to 60 s), for ever;
 *   - the first choice of a site does not deliver: its stand-ins take over, 30 s each;
 *   - the disk is full: nothing is fetched for 30 s, the error stands in the status;
 *   - no quorum: the file is here and verified, CopyAdd is repeated with its op id until it is
 *     committed.
 *
 * Nothing is ever made visible under <media>/tapes/ that was not verified as a whole.
 *
 * Open segments of other nodes are tailed: what this node will fetch when they are sealed, it keeps
 * as it grows, in <media>/tails/ (tail_internal.h). A tail is no copy. When its recorder was
 * removed, it becomes the segment (tail_seal.c).
 *
 * What it does not do yet: fetching from the archive (a caller of et_sync_fetch() that gets
 * ET_ENOTFOUND asks archive/mover), pending commands travelling with segments.
 *
 * Threads: the service runs a loop of its own. Functions say where they may be called. */
#ifndef ET_REPLICATION_SYNC_SYNC_H
#define ET_REPLICATION_SYNC_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/io/post.h"
#include "raft/command/command.h"
#include "raft/state/state.h"

struct et_sync;
struct et_tls_node;

#define ET_SYNC_SITES_MAX 64
#define ET_SYNC_FILE_MAX 512 /* bytes of a path below a media folder, with the NUL */

/* The classes of traffic; lower is more urgent and goes first. */
enum et_sync_class {
	ET_SYNC_TAIL = 0,      /* an open segment as it grows */
	ET_SYNC_REPLAY = 1,    /* somebody waits to hear it */
	ET_SYNC_NEW = 2,       /* freshly sealed */
	ET_SYNC_REPAIR = 3,    /* instead of a bad or lost copy */
	ET_SYNC_REBALANCE = 4, /* everything else */
	ET_SYNC_CLASSES = 5,
};

/* Proposes a command; called on the sync thread. It copies the command, and runs `cb` exactly once,
 * later, on the main loop: et_catalog_propose_from() with its catalogue as `arg` is this. Negative:
 * `cb` will not run. */
typedef int (*et_sync_propose_fn)(void *arg, const Et__Command *command, uint32_t timeout_ms,
				  void (*cb)(void *arg, int code, const Et__Result *result),
				  void *cb_arg);

struct et_sync_config {
	uv_loop_t *loop;	    /* the main loop, on which `tls` lives */
	struct et_postbox *postbox; /* of that loop */
	struct et_tls_node *tls;    /* borrowed until et_sync_stop() has called back */
	struct et_state *state;	    /* borrowed, likewise */
	et_sync_propose_fn propose;
	void *propose_arg;
	uint64_t node;			  /* this one */
	const char *media;		  /* the media folder; copied */
	const struct et_secret *sign_key; /* of this node, borrowed: seals the tails of nodes that
					   * are gone; NULL: they are kept */
	const char *store_uuid;		  /* of it; copied */

	uint32_t transfers;	   /* at once; 0: 8 */
	uint32_t bulk_connections; /* to one node; 0: 2 (one more serves replay) */
	uint32_t window_bytes;	   /* in flight of one transfer; 0: 4 MiB */
	uint32_t stand_in_ms;	   /* grace for each node before a stand-in; 0: 30000 */
	uint32_t backoff_ms;	   /* the first pause after a failed round; 0: 1000 */
	uint32_t tail_ms;	   /* open segments of other nodes are tailed so often; 0: never */
	uint64_t cache_bytes;	   /* of <media>/cache/; 0: 1 GiB */
	int64_t scrub_every_us;	   /* all copies are verified so often; 0: when asked */
	uint64_t scrub_rate;	   /* bytes a second that it reads; 0: 20 MiB */
	/* As of when the catalogue here is complete (et_catalog_status.fresh_us); 0: not since the
	 * start, as while a log is replayed: no scrub goes by it. Any thread. NULL: it always is.
	 */
	int64_t (*fresh_us)(void *arg);
	void *fresh_arg;
};

/* Start: takes ALPN evertape-sync/1 of `tls`, makes incoming/, cache/ and quarantine/, and scans
 * the catalogue for incomplete segments. Main loop only. */
int et_sync_start(const struct et_sync_config *config, struct et_sync **ret,
		  struct et_error *reterr) ET_MUST_CHECK;

/* Stop; `closed` runs once, on the main loop, when everything is released. Requests that wait get
 * ET_ECLOSED before. Call it before et_tls_stop() and before the catalogue is stopped; no thread
 * may call any function of this header from then on. Main loop only. */
void et_sync_stop(struct et_sync *s, void (*closed)(void *arg), void *arg);

/* Tell it what was applied: the on_applied callback of the catalogue. Cheap. Main loop only. */
void et_sync_on_applied(struct et_sync *s, uint64_t index, const Et__Command *command,
			const Et__Result *result);

/* The state jumped (a checkpoint was installed): look at all of it again. Any thread. */
void et_sync_on_replaced(struct et_sync *s);

/* Bytes a second to and from the nodes of `site`, 0 for no limit: the base, for what no limit of
 * the policy `replication` (replication/limit) decides. Any thread. */
int et_sync_set_rate(struct et_sync *s, const char *site, uint64_t bytes_per_s) ET_MUST_CHECK;

/* Where the ciphertext of a segment lies. `path` (absolute, a view) is a verified file: this node's
 * own copy, or one that was fetched from a peer into <media>/cache/ (class replay). It is not
 * deleted for at least a minute: open it.
 *   ET_ENOTFOUND     no node holds it: the archive may; or there is no such segment
 *   ET_EUNREACHABLE  nodes hold it, none of them answered
 *   ET_EINTEGRITY    what they sent was not what was recorded
 * `cb` runs exactly once, on the sync thread, never inside the call. Any thread. */
typedef void (*et_sync_fetch_cb)(void *arg, int code, const char *path,
				 const struct et_error *error);
int et_sync_fetch(struct et_sync *s, const uint8_t recording[16], uint32_t generation,
		  uint32_t segment, et_sync_fetch_cb cb, void *arg) ET_MUST_CHECK;

/* Verify this node's copies of a recording against the catalogue, byte for byte. A bad one is moved
 * to <media>/quarantine/, CopyBad is proposed, and placement fetches it anew. */
struct et_sync_check {
	uint32_t generation;
	uint32_t segment;
	int code; /* 0; ET_EINTEGRITY; ET_ENOTFOUND: the file is missing; -EIO ... */
	char file[ET_SYNC_FILE_MAX]; /* below the media folder */
	int64_t record;		     /* the first bad record, or -1: none, header or footer */
	uint64_t offset;	     /* where in the file it begins */
	uint64_t size_bytes;
	uint32_t block_bytes; /* of a padded one, as far as it is good: its largest block */
	char text[256];	      /* the reason, in words */
	char quarantine[ET_SYNC_FILE_MAX]; /* where the bad file is now, or "" */
};
/* `code`: 0 all good, ET_EINTEGRITY at least one bad, ET_ENOTFOUND this node holds no copy.
 * `checks` is a view. Runs exactly once, on the sync thread, never inside the call. Any thread. */
typedef void (*et_sync_check_cb)(void *arg, int code, const struct et_sync_check *checks,
				 size_t count);
int et_sync_check_local(struct et_sync *s, const uint8_t recording[16], et_sync_check_cb cb,
			void *arg) ET_MUST_CHECK;

/* Scrub: all copies of this node, verified against the catalogue by and by, as above; it goes on
 * where it was after a restart (scrub.c says how). Any thread. */
struct et_sync_scrub {
	bool running;
	uint64_t pass;		/* number of the pass that runs, or of the last one; 0: none yet */
	int64_t first_us;	/* since when this store is scrubbed by schedule */
	int64_t begun_us;	/* of that pass */
	int64_t ended_us;	/* of the last one that came to its end; 0: none */
	int64_t next_us;	/* when the next begins by itself; 0: it does not, or one runs */
	uint64_t rate;		/* bytes a second */
	uint64_t copies, bytes; /* verified in that pass; after kill -9 some may count twice */
	uint64_t bad;		/* of them */
	uint8_t at[16];	 /* the recording behind which it goes on: ids are in order of time */
	bool late;	 /* no pass came to its end for two intervals */
	char by[96];	 /* who asked for it; "schedule" */
	char error[160]; /* it cannot go on, and tries each minute: why; or "" */
};
/* Begin a pass, or give the one that runs another rate (0: the configured one). Neither this nor
 * stopping waits for the disk: the scrub's thread saves it, and a kill before that undoes it. */
void et_sync_scrub_start(struct et_sync *s, uint64_t rate, const char *by);
/* End the pass that runs; false: none does. */
bool et_sync_scrub_stop(struct et_sync *s);
void et_sync_scrub_status(struct et_sync *s, struct et_sync_scrub *ret);

/* ---- Repair ---- */

#define ET_SYNC_REPAIR_SITES 8
#define ET_SYNC_REPAIR_NODES 8

/* A segment that has fewer good copies than placement wants. */
struct et_sync_repair_item {
	uint8_t recording[16];
	uint32_t generation, segment;
	uint64_t size_bytes;
	enum et_sync_class klass;
	uint32_t site_count;
	char sites[ET_SYNC_REPAIR_SITES][64]; /* that lack one; more are not named */
	uint32_t source_count;
	uint64_t sources[ET_SYNC_REPAIR_NODES]; /* nodes that it can come from, best first */
	uint32_t bad_count;
	uint64_t bad[ET_SYNC_REPAIR_NODES]; /* nodes whose copy is bad, or lost with its disk */
	bool archived;			    /* a good one is in the archive */
	bool gone;			    /* there is no good copy: it cannot be repaired */
};
/* Each of them, of these recordings (16 bytes each) or (count 0) of all, the oldest first. Reads
 * the catalogue: for all, seconds in a large one. *ret_more: there are others behind the first
 * million. A result of `fn` that is not 0 ends it and is returned. Any thread that may wait. */
int et_sync_repair_each(struct et_state *state, const uint8_t *ids, size_t count,
			int (*fn)(void *arg, const struct et_sync_repair_item *item), void *arg,
			bool *ret_more, struct et_error *reterr) ET_MUST_CHECK;
/* Repair those now that are this node's to repair: no pause after failures is waited for, and what
 * lies in quarantine and verifies again takes its old place. It begins; et_sync_get_status() says
 * how it goes. Any thread. */
int et_sync_repair(struct et_sync *s, const uint8_t *ids, size_t count) ET_MUST_CHECK;

/* For `replication lag`, /metrics and health. Lag is that of the whole cluster, as far as this
 * node's catalogue knows; transfers are this node's own. */
struct et_sync_site {
	char site[64];
	uint64_t pending_segments; /* sealed, and this site lacks a copy */
	uint64_t pending_bytes;
	int64_t oldest_us;     /* sealed_us of the oldest of them, 0: none; the lag is now - this */
	uint64_t own_segments; /* of them, those that are this node's turn now */
	uint64_t received_bytes, sent_bytes; /* with nodes of this site, since the start */
	uint64_t received_segments;	     /* verified and published */
	uint64_t receive_bytes_per_s, send_bytes_per_s; /* over the last seconds */
	uint64_t errors;
	char last_error[160];
	int64_t last_error_us;
	uint64_t rate_limit; /* the base: bytes a second; 0: none */
};

/* What waits for this node to fetch it, and why it does not move. */
enum et_sync_why {
	ET_SYNC_MOVING,
	ET_SYNC_LIMITED,    /* under way, and its rate is used up for the moment */
	ET_SYNC_TURN,	    /* others go first */
	ET_SYNC_PAUSED,	    /* by a limit */
	ET_SYNC_DISK_FULL,  /* this node's */
	ET_SYNC_NO_ROUTE,   /* nodes hold it, and none answered */
	ET_SYNC_WRONG_HASH, /* what they sent is not what was recorded */
	ET_SYNC_NO_COPY,    /* no node holds a good one */
	ET_SYNC_FAILED,	    /* otherwise: the code says how */
	ET_SYNC_COMMIT,	    /* it is here and verified; its CopyAdd is not committed yet */
	ET_SYNC_WHYS,
};
const char *et_sync_why_name(enum et_sync_why why); /* "moving", "no-route", ... */

/* Tails of open segments here. Lag is how far the worst of them may be behind its source: since
 * when it is not known to have had all of it. */
struct et_sync_tails {
	bool on;
	uint64_t count, bytes;	   /* followed, and of them here */
	int64_t lag_ms;		   /* 0: none is followed */
	uint64_t kept, kept_bytes; /* whose source is gone, or that are another node's to fetch */
	uint64_t errors;      /* since the start: bytes that were no records, codes of sources */
	uint64_t handed_over; /* since the start: to the fetch of a sealed segment */
	uint64_t sealed;      /* likewise: committed as segments of a node that is gone */
};

#define ET_SYNC_OLDEST_MAX 20

struct et_sync_waiting {
	uint8_t recording[16];
	uint32_t generation, segment;
	enum et_sync_class klass;
	enum et_sync_why why;
	uint64_t size_bytes;
	uint64_t done_bytes; /* of an attempt that runs: verified */
	int64_t sealed_us;
	uint64_t from; /* the node that is asked, or will be; 0: not known */
	int code;      /* how the last round failed, or 0 */
};
struct et_sync_queued {
	uint64_t segments, bytes; /* that are not here yet */
	int64_t oldest_us;	  /* sealed_us of the oldest, 0: none */
};
struct et_sync_queue {
	struct et_sync_queued rows[ET_SYNC_CLASSES][ET_SYNC_WHYS];
	uint64_t bytes_per_s[ET_SYNC_CLASSES]; /* received, over the last seconds */
	uint32_t oldest_count;
	struct et_sync_waiting oldest[ET_SYNC_OLDEST_MAX]; /* the oldest first */
	/* Of the whole cluster: segments of which no node and no archive has a good copy. */
	uint64_t gone_segments, gone_bytes;
};

struct et_sync_status {
	struct et_sync_site sites[ET_SYNC_SITES_MAX];
	uint32_t site_count;
	uint32_t transfers; /* running, receiving */
	uint32_t serving;   /* streams being sent to others */
	uint32_t connections;
	uint64_t unacknowledged; /* published here, CopyAdd not yet committed */
	uint64_t scanned_index;	 /* the whole catalogue was looked at up to here; 0: not yet */
	uint64_t bad_copies;	 /* found by checks since the start */
	bool disk_full;
	bool bbr; /* this kernel gives it */
	struct et_sync_queue queue;
	struct et_sync_tails tails;
	uint32_t limits_revision; /* of the policy that is in force here; 0: none */
	char limits_error[160];	  /* why a newer one is not, or "" */
};
/* A copy made at most 200 ms ago (lag: 2 s while more than 10,000 segments wait). Any thread. */
void et_sync_get_status(struct et_sync *s, struct et_sync_status *ret);

#endif
