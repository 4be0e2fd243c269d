/* What the catalogue says about segments, turned into decisions for this node. Reads only; may wait
 * for RocksDB: workers only.
 *
 * Threads: any; a view is opened and closed inside each call. */
#ifndef ET_REPLICATION_SYNC_LOOK_INTERNAL_H
#define ET_REPLICATION_SYNC_LOOK_INTERNAL_H

#include "raft/state/state.h"
#include "replication/plan/plan.h"
#include "replication/sync/intake_internal.h"
#include "replication/sync/sync.h"

#define ET_LOOK_BATCH 256
#define ET_LOOK_SOURCES_MAX 8
#define ET_SYNC_TAILS_MAX 8192 /* open segments: as many as a node records by default */

struct et_key {
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
};

struct et_look_source {
	uint64_t node;
	char site[64];
	char address[64];
};

struct et_look_result {
	struct et_key key;
	int code; /* 0; ET_ENOTFOUND: no such segment, not sealed, erased; others: of the catalogue
		   */
	/* With code 0: */
	struct et_expect expect;
	char file[ET_SYNC_FILE_MAX];
	int64_t sealed_us;
	int turn;      /* et_plan_turn() of this node */
	bool own_copy; /* this node holds a verified one */
	bool archived;
	enum et_sync_class klass;
	uint64_t missing; /* bit i: site i of the job lacks a copy */
	uint32_t source_count;
	struct et_look_source sources[ET_LOOK_SOURCES_MAX]; /* nodes, best first */
	uint32_t bad_count;
	uint64_t bad[ET_LOOK_SOURCES_MAX]; /* nodes whose copies are bad or lost */
};

struct et_look {
	struct et_state *state; /* borrowed */
	uint64_t node;		/* this one */
	uint32_t count;
	struct et_look_result *results; /* borrowed; in: key; out: the rest */

	/* Out. */
	uint64_t index;	   /* of the view */
	char own_site[64]; /* of this node; "" while the catalogue does not know it */
	uint32_t site_count;
	char sites[ET_SYNC_SITES_MAX][64];
};

void et_look_run(struct et_look *look);

/* All segments that lack a copy somewhere, by recording (so the oldest first); at most `max`. */
struct et_scan {
	struct et_state *state; /* borrowed */
	uint64_t node;		/* this one */
	size_t max;

	/* Out. */
	struct et_key *keys; /* the caller frees */
	size_t count;
	bool more; /* there are others */
	struct et_key
		*opens; /* that other nodes have open, or that this one sealed for a node that is
			 * gone and did not close yet; at most ET_SYNC_TAILS_MAX; likewise */
	size_t open_count;
	uint64_t index;
	char own_site[64];
};
int et_look_scan(struct et_scan *scan, struct et_error *reterr) ET_MUST_CHECK;

/* What is to be done about the tail of a segment. */
enum et_look_tail_verdict {
	ET_LOOK_TAIL_FOLLOW, /* it is open, and this node's to fetch */
	ET_LOOK_TAIL_FETCH,  /* it is sealed, and this node may have to fetch it */
	ET_LOOK_TAIL_KEEP,   /* its source is gone, or it is another's to fetch */
	ET_LOOK_TAIL_DROP,   /* nobody needs it here */
};
struct et_look_tail {
	struct et_key key;

	/* Out. */
	int code; /* of the catalogue; ET_ENOTFOUND: it knows no such segment */
	enum et_look_tail_verdict verdict;
	bool has_header_hash;
	uint8_t header_hash[32];
	struct et_look_source source; /* with FOLLOW: who captures it */
	uint64_t sealed_records;      /* with FETCH, and DROP of what is sealed; else UINT64_MAX */
	/* With KEEP: who captured it was removed, and the cluster's schema lets this node say what
	 * it has of it. It has not, or not yet closed the recording. */
	bool lost;
	char file[ET_SYNC_FILE_MAX];
};
void et_look_tails(struct et_state *state, uint64_t node, struct et_look_tail *tails, size_t count);

/* This node's verified copies of a recording: expectations and files, at most `max`. */
struct et_look_own {
	struct et_expect expect;
	char file[ET_SYNC_FILE_MAX];
};
int et_look_own(struct et_state *state, uint64_t node, const uint8_t recording[16],
		struct et_look_own **ret, size_t *ret_count, struct et_error *reterr) ET_MUST_CHECK;

/* The policy that limits transfers, and what it is to be read by. */
struct et_look_policy {
	struct et_state *state; /* borrowed */
	uint64_t node;		/* this one */

	/* Out. */
	int code;
	char own_site[64];
	uint32_t sharers;  /* nodes of this site that take copies */
	uint32_t revision; /* 0: there is no such policy */
	char *text;	   /* the caller frees; NULL without one */
};
void et_look_policy(struct et_look_policy *job);

/* May `node` be given media: is it an active member that stores some? */
bool et_look_may_read(struct et_state *state, uint64_t node);

#endif
