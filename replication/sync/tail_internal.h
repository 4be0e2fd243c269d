/* Live tails: what other nodes' open segments have grown, kept here while they grow.
 *
 * Promise: of every open segment that this node will fetch when it is sealed (replication/plan), it
 * keeps, from about a second after the capturing node wrote them, the whole records that are there,
 * in <media>/tails/<recording>-g<n>-s<n>.tail. Such a file is no copy: nothing counts on it, no
 * reader opens it, and its loss loses nothing that is not lost otherwise. What it is for: a sealed
 * segment is then fetched from where the tail ends, and of a call whose recorder is gone for ever,
 * the tail is what there is: tail_seal.c makes it the segment.
 *
 *   LOOK ──worker: is it open, and ours?──▶ FOLLOW ──round──▶ ASKED ──answer──▶ WRITE ─┐
 *    ▲ ▲                                      ▲ │                                      │
 *    │ │                                      └─┼──────────────────────────────────────┘
 *    │ └── it was sealed, members changed ──────┘
 *    └── its seal is known ──▶ handed over to <media>/incoming/, where the fetch finds it ──▶ gone
 *
 * Happy path: SegmentOpen of another node is applied -> a look says that it is this node's to fetch
 * -> each interval one TAIL for up to 256 segments of a source, with the offset of each -> GROWN
 * for each -> a worker keeps whole records that are records of that tape (header hash of the
 * catalogue, number, CRC), and writes them -> SegmentSeal is applied -> the file is renamed to what
 * a fetch finds as arrived before; the fetch judges it by the leaf hashes under the committed root.
 *
 * Possible failure modes are
 *   - the connection breaks, this process dies: the next question names the offset that is safe; a
 *     file of before is read from its begin and ends at the first record that is none;
 *   - the source lacks it, has less than is here (a crash cut it), or sends what is no record of it
 *     (another header): what is here stays as it is, and the source is asked again with back-off
 *     (1 s to 60 s) until the catalogue knows the seal, which judges;
 *   - the source sends more than was asked for: the connection ends;
 *   - a lying source that makes whole records: it can fill the disk by what it may send (as it may
 *     by recording), and its bytes do not survive the comparison with the committed root;
 *   - the disk is full: no tails until fetches go on, too;
 *   - what was sealed has fewer records than are here (its source lost its end, or another's tail
 *     was sealed), or the disk does not read how many are: the file goes into quarantine, for a
 *     person to compare;
 *   - too many open segments (ET_SYNC_TAILS_MAX): the others are fetched when they are sealed;
 *   - the source's build does not know tails (its HELLO): it is asked again after a minute.
 *
 * The source sends what is in its file, also what it has not synced yet: a tail that is longer than
 * what a power cut leaves at the source is the better of the two. A segment whose SegmentOpen is
 * not committed (no quorum) is not tailed.
 *
 * Bounds: one question at a time to a source, and to ET_SYNC_TAIL_ASKING at once; of an answer at
 * most ET_SYNC_TAIL_WINDOW and one chunk are in memory. Limits: class `tail`.
 *
 * Threads: the sync thread; a worker has what a question's answer brought, alone. */
#ifndef ET_REPLICATION_SYNC_TAIL_INTERNAL_H
#define ET_REPLICATION_SYNC_TAIL_INTERNAL_H

#include <uv.h>

#include "replication/sync/look_internal.h"
#include "replication/sync/store_internal.h"
#include "replication/sync/wire_internal.h"

#define ET_SYNC_TAIL_SOURCES 64	      /* nodes */
#define ET_SYNC_TAIL_ASKING 8	      /* of them at once */
#define ET_SYNC_TAIL_WINDOW (4 << 20) /* bytes of one answer */
#define ET_SYNC_TAIL_BUCKETS 4096     /* for ET_SYNC_TAILS_MAX tails: two in each */
#define ET_SYNC_TAIL_SEALS 8	      /* of nodes that are gone, at once */

struct link;
struct tail_seal;
struct tail_source;

enum tail_state {
	TAIL_LOOK,    /* to be looked at */
	TAIL_LOOKING, /* a worker has it */
	TAIL_FOLLOW,
	TAIL_ASKED, /* it is in the question under way */
	TAIL_WRITE, /* a worker has what came */
	TAIL_SEAL,  /* it is being made the segment: tail_seal.c */
	TAIL_KEPT,  /* its source is gone, or it is another's to fetch: it stays as it is */
};

struct tail {
	struct et_key key;
	struct tail *next;	/* in s->tails.list */
	struct tail *next_hash; /* in its bucket */
	enum tail_state state;
	bool answered;		    /* by the question that is just over */
	bool stale;		    /* look at it as soon as it is free */
	bool opened;		    /* what was here of it before is known */
	bool whole;		    /* its footer was seen: its seal comes */
	bool nothing;		    /* the source has no more of it than is here, or no such file */
	struct tail_source *source; /* in s->tails.sources; NULL: not known */
	bool has_expected;
	uint8_t expected[32]; /* its header hash, as the catalogue has it */
	bool has_header;
	uint8_t header_hash[32];
	uint64_t good; /* bytes here: header and whole records */
	uint32_t records;
	bool lost;		     /* its source was removed */
	bool placed;		     /* with lost: a crash left it where copies lie */
	char file[ET_SYNC_FILE_MAX]; /* with lost: where its copies lie */
	int64_t current_us;	     /* monotonic: as of when it had all that the source had */
	int64_t due_us;		     /* monotonic */
	uint32_t failures;	     /* in a row, for back-off */
};

/* What came of one segment. */
struct tail_part {
	struct tail *tail;	    /* borrowed; NULL: it was taken away meanwhile */
	uint64_t offset;	    /* that was asked for */
	struct et_wire_block *body; /* owned; NULL: not answered */
	bool more;

	/* The worker's. */
	int code;      /* 0, or what is wrong with what came: ET_ECORRUPT, a code of the source */
	int disk_code; /* ... with the disk here */
	uint64_t good;
	uint32_t records;
	bool whole;
};

enum tail_source_state {
	TAIL_SOURCE_IDLE,
	TAIL_SOURCE_CONNECT,
	TAIL_SOURCE_ASKED,
	TAIL_SOURCE_WRITE
};

struct tail_source {
	struct et_sync *s; /* borrowed */
	struct et_look_source node;
	enum tail_source_state state;
	struct link *link; /* borrowed; while CONNECT and ASKED */
	uint64_t stream;
	int64_t asked_us, progress_us;		   /* monotonic */
	int64_t pause_us;			   /* monotonic: it is left alone until then */
	struct tail_part parts[ET_WIRE_TAILS_MAX]; /* of the question under way */
	uint32_t count, answered;
	uint32_t window;
	uint64_t bytes; /* of the answer so far */
	uv_work_t work;
};

struct tails {
	int64_t interval_us;			    /* 0: off */
	struct tail *list, **last;		    /* owned */
	struct tail *buckets[ET_SYNC_TAIL_BUCKETS]; /* the same, by key: a scan that finds 8,192
						     * would search the list 170 ms */
	uint32_t count;
	struct tail_source *sources[ET_SYNC_TAIL_SOURCES]; /* owned */
	uint32_t source_count;
	struct tail **looked;	    /* owned: of the look that runs */
	struct tail *copies;	    /* owned: the worker's, of them */
	struct et_look_tail *looks; /* owned */
	uint32_t look_count;
	uv_work_t look_work;
	bool looking;
	struct tail_seal *seals; /* owned: those that run */
	uint32_t seal_count;
	struct et_sync_tails st;
};

/* ---- For the others (tail.c) ---- */

int et_tail_init(struct et_sync *s, struct et_error *reterr) ET_MUST_CHECK;
void et_tail_release(struct et_sync *s);
/* It was opened by another node, or its file is here from before. */
void et_tail_touch(struct et_sync *s, const struct et_key *key);
/* It was sealed. true: it is handed over first; et_table_touch() follows by itself. */
bool et_tail_sealed(struct et_sync *s, const struct et_key *key);
/* Members changed, or this node has just started: these are open now. */
void et_tail_scanned(struct et_sync *s, const struct et_key *keys, size_t count);
void et_tail_tick(struct et_sync *s, int64_t now_us);
void et_tail_run(struct et_sync *s); /* look at what is to be looked at */
void et_tail_stop(struct et_sync *s);

/* ---- Asking (tail_ask.c) ---- */

/* Is the source free, and has it segments that are due? Then ask. */
void et_tail_ask(struct et_sync *s, struct tail_source *from);
void et_tail_link_greeted(struct link *l); /* the source's HELLO has come */
void et_tail_link_lost(struct link *l);
void et_tail_stalled(struct tail_source *from);
/* Take the body over; false: the source broke the protocol. */
bool et_tail_grown(struct link *l, struct et_wire_frame *frame);
/* ERROR or BUSY for a question; false: it is none's of ours. */
bool et_tail_refused(struct link *l, const struct et_wire_frame *frame);

/* ---- On the disk (tail_file.c); workers ---- */

/* How much of `bytes`, which follow part->good, is header and whole records; part->records goes on
 * with them. part->code: it is no record that follows; part->whole: it is the footer. Pure. */
size_t et_tail_judge(struct tail_part *part, struct et_view bytes);

/* Judge what came of a segment and write it behind what is there. */
void et_tail_file_take(const char *media, struct tail_part *part);
/* How much of it is here from before. What is not of this tape goes. Negative: the disk does not
 * say. */
int et_tail_file_open(const char *media, struct tail *t) ET_MUST_CHECK;
/* Into quarantine: it is longer than what was sealed. */
void et_tail_file_set_aside(const char *media, const struct et_key *key);
/* To <media>/incoming/, unless something has arrived there. */
void et_tail_file_hand_over(const char *media, const struct et_key *key);
void et_tail_file_drop(const char *media, const struct et_key *key);
/* The segments that have files in <media>/tails/. */
int et_tail_file_each(const char *media, void (*fn)(void *arg, const struct et_key *key), void *arg,
		      struct et_error *reterr) ET_MUST_CHECK;

/* Is there something where its copies lie? */
bool et_tail_file_is_placed(const char *media, const char *file);
void et_tail_file_path(const char *media, const struct et_key *key, char path[ET_STORE_PATH_MAX]);

/* ---- Of nodes that are gone (tail_seal.c) ---- */

void et_tail_seal_next(struct et_sync *s); /* begin with the next, as many as may run at once */
void et_tail_seal_release(struct et_sync *s);

/* ---- Answering (tail_serve.c) ---- */

struct tail_answer;

struct tail_answer *et_tail_answer_new(struct et_sync *s, uint64_t node, uint64_t stream,
				       const struct et_wire_block *body); /* NULL: no memory */
void et_tail_answer_free(struct tail_answer *a);
bool et_tail_answer_done(const struct tail_answer *a);
bool et_tail_answer_ready(const struct tail_answer *a); /* something is to be taken */
/* Read on, until about half a megabyte is there. Worker. */
int et_tail_answer_read(struct tail_answer *a, struct et_error *reterr) ET_MUST_CHECK;
/* What was read, as frames; *ret_bytes: of tapes in it. Empty afterwards. */
struct et_buffer et_tail_answer_take(struct tail_answer *a, uint64_t *ret_bytes);

#endif
