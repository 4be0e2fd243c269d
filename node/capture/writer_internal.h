/* The writer: recordings in, tapes and events out. It owns the tapes and runs the callback.
 *
 *   writer.c     what a sink gets, by slot; records; updates; time
 *   note.c       what a tape says besides its packets
 *   segment.c    a tape's life: key, marker, header, events, footer, what fails
 *   pad.c        tapes whose records tell nothing by their lengths
 *   ring.c       calls on demand: tapes under keys that nobody else has, kept or lost
 *   openlog.c    which tapes are open, for the next start
 *   ack.c        what waits for a sync, and the sync itself
 *   recover.c    tapes that a crash left open
 *
 *   NONE ──open──▶ OPEN ──close──▶ (footer) ──sync──▶ acknowledged
 *                   │  ▲
 *                   ▼  │ every 5 s, a new segment under a new key
 *                  BROKEN (disk full, write error)
 *   REFUSED: the callback or the disk refused; nothing is written for it.
 *
 * Files, under the media folder:
 *   tapes/<yyyy>/<mm>/<dd>/<recording>-g<generation>-s<segment>.evtm
 *   ring/<recording>-g<generation>-s<segment>.evtm           of calls that nobody kept (yet)
 *   calls/open-<number>.log    what is open: openlog.c
 *   calls/table                what goes on: table.c
 *   calls/reserve              space that footers may use when the disk is full
 *
 * Threads: one owner, but for et_writer_sync(), et_writer_set_kek() and the atomics. */
#ifndef ET_NODE_CAPTURE_WRITER_INTERNAL_H
#define ET_NODE_CAPTURE_WRITER_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "node/capture/engine_internal.h"
#include "node/tape/checkpoint.h"
#include "node/tape/media.h"
#include "node/tape/tape.h"
#include "node/tape/wrap.h"

enum {
	ET_RECORD_BYTES = 16 * 1024, /* a record is sealed at this size */
	ET_RELATIVE_MAX = 128,	     /* "tapes/2026/11/22/<36>-g1-s1.evtm" and a NUL */
	ET_SLOT_KEYS_MAX = 4,	     /* pages of secret memory; eight keys of AES-128 fit in one */
	ET_GENERATION = 1,	     /* re-encryption makes others */
	ET_RING_PARTS_MAX = ET_SECRET_SIZE_MAX / ET_DEK_SIZE, /* their keys fit in one page */
};

#define ET_RECORD_US 1000000LL /* ... or at this age */
#define ET_RETRY_US 5000000LL  /* after which what failed is tried again */

enum { ET_PROBLEM_WRITE, ET_PROBLEM_SYNC, ET_PROBLEM_KINDS }; /* of et_writer_problem() */

enum et_slot_state { ET_SLOT_NONE, ET_SLOT_OPEN, ET_SLOT_BROKEN, ET_SLOT_REFUSED };

/* What is told about a recording when its last tape is durable. */
struct et_closing {
	struct et_facts facts;
	uint32_t count;
	struct et_capture_stream streams[];
};

/* A tape whose footer could not be written yet, or whose seal waits for a sync. */
struct et_ack {
	struct et_ack *next;
	uint64_t sequence; /* durable when this was synced */
	bool has_segment;
	struct et_openlog *log; /* borrowed: where it stands as open; or NULL */
	struct et_tape *tape;	/* owned: its footer is still to be written; else NULL */
	struct et_capture_segment segment;
	char file[ET_RELATIVE_MAX];
	struct et_closing *closing; /* owned: told after the segment; or NULL */
};

/* A tape of a ring. */
struct et_ring_part {
	struct et_capture_segment segment; /* `file` is not set */
	int64_t last_us;		   /* of its media */
	bool sealed;			   /* it has its footer */
	struct et_openlog *log; /* borrowed: where it stands as open; NULL: not kept (yet) */
	char file[ET_RELATIVE_MAX];
};

/* What there is of a call on demand: ring.c. */
struct et_ring {
	struct et_ring *next; /* the next one whose call is over */
	struct et_slot *slot; /* borrowed; NULL: the call is over */
	uint32_t count;
	struct et_ring_part parts[ET_RING_PARTS_MAX]; /* oldest first */
	struct et_secret *keys; /* owned: the DEK of part n at n * ET_DEK_SIZE, zeros behind them */
	int64_t reach_us;
	bool has_open;	       /* the last part is the slot's tape */
	bool has_media;	       /* ... with media in it */
	bool kept;	       /* RECORDING_OPEN was accepted: it is a recording */
	uint32_t told;	       /* parts whose SEGMENT_OPEN was accepted */
	struct et_keep wanted; /* `who` is not empty: somebody keeps it, and it failed so far */
	int64_t retry_us;

	/* When the call is over: */
	struct et_closing *closing;	    /* owned */
	struct et_capture_session *session; /* owned; or NULL */
	int64_t until_us;		    /* it can be kept until then */
};

struct et_slot {
	enum et_slot_state state;
	bool told; /* RECORDING_OPEN was accepted (or the recording is older than this process) */
	bool restored;
	uint32_t segment;
	int64_t t0_us;
	int64_t last_us; /* of media */
	int64_t retry_us;
	int64_t broken_us;	      /* since when nothing is written */
	struct et_tape *tape;	      /* owned */
	struct et_openlog *log;	      /* borrowed: where it stands as open; NULL: nowhere */
	struct et_ring *ring;	      /* owned: on demand, and not (wholly) kept; else NULL */
	struct et_tape_state *course; /* owned: of the tape, for its checkpoints; NULL: no memory */
	int64_t checkpoint_us;	      /* media time of the last checkpoint, or of the begin */
	int64_t second_us;	      /* of a padded tape: end of the second at hand; else never */
	uint32_t gathered;	      /* packets in the block of that second */
	bool varies;		      /* a codec was heard whose lengths tell something */
	struct et_media_encoder encoder; /* up to here what a packet looks at: fetched ahead */
	char file[ET_RELATIVE_MAX];
	struct et_facts facts;
	struct et_capture_session *session; /* owned; NULL: none, or none since the start */
	struct et_capture_stream *streams;  /* owned; of this incarnation, by number from first */
	uint32_t stream_count;
	uint32_t stream_room;
	/* KEYS plaintexts for the next segments, each behind its 16-bit size. */
	struct et_secret *keys[ET_SLOT_KEYS_MAX]; /* owned; NULL: not in use */
	uint16_t keys_size[ET_SLOT_KEYS_MAX];
	uint32_t keys_last;
	uint8_t room[ET_RECORD_BYTES + ET_MEDIA_PACKET_OVERHEAD]; /* lent to the encoder */
};

/* A log of open tapes. */
struct et_openlog {
	struct et_openlog *next; /* the next newer one */
	uint32_t number;
	int fd; /* owned */
	uint64_t size;
	uint32_t refs;		/* tapes that stand in it as open */
	uint64_t dead_sequence; /* when this was synced, the file may go; 0: not dead */
};

struct et_writer_config {
	const char *media; /* copied; NULL: count only, nothing is written */
	uint64_t node;
	const char *site;		  /* copied */
	const struct et_secret *sign_key; /* borrowed for the writer's life */
	uint32_t kek_id;
	uint32_t kek_version;
	uint8_t kek_public[32];
	uint32_t calls; /* slots */
	uint64_t free_reserve_bytes;
	uint64_t demand_bytes; /* of all rings */
	bool live;	       /* arrival times are those of the clock */
	struct et_capture_padding padding;
	et_capture_event_fn on_event; /* or NULL */
	void *arg;
};

struct et_writer {
	struct et_writer_config config;
	char media[PATH_MAX];
	char site[ET_CAPTURE_SITE_MAX];
	char day[ET_RELATIVE_MAX]; /* the folder that was made last */
	struct et_buffer record;   /* owned: where all tapes seal */
	uint8_t sign_public[32];   /* of config.sign_key, if has_sign_public */
	bool has_sign_public;
	int media_fd;
	struct et_slot **slots; /* owned; NULL: not in use */
	struct et_pool slot_pool;
	int64_t now_us;
	int64_t polled_us;
	int64_t problem_us[ET_PROBLEM_KINDS]; /* monotonic: when PROBLEM was told last, by kind */
	bool reserve_used;

	struct et_openlog *logs; /* owned; oldest first */
	struct et_openlog *log;	 /* the last of them; NULL: none yet */
	struct et_ack *acks;	 /* owned; oldest first */
	struct et_ack **acks_end;
	struct et_ack *unfinished; /* owned */
	uint32_t unfinished_count;
	struct et_ring *rings; /* owned: of calls that are over; oldest first */
	uint32_t ring_count;
	int64_t told_tick_us;
	bool told_failure;

	pthread_mutex_t kek_mutex; /* over the four below */
	uint32_t kek_version;
	uint32_t
		kek_opening; /* of the segment that is being opened and was not told yet; 0: none */
	uint8_t kek_public[32];

	/* Written by the owner, or by who syncs; read by any. */
	_Atomic uint32_t *segments; /* by slot: the last segment in use */
	_Atomic uint64_t written;   /* footers written */
	_Atomic uint64_t synced;    /* of them durable */
	_Atomic int64_t synced_us;  /* when the last good sync began */
	_Atomic uint64_t sync_failures;
	_Atomic int sync_code; /* of the first failure; 0: none */
	_Atomic uint64_t free_bytes;
	_Atomic bool refuse; /* free space is below the reserve */
	_Atomic uint64_t refused_journal;
	_Atomic uint64_t refused_writer;
	_Atomic uint64_t dropped;
	_Atomic uint64_t tape_bytes;
	_Atomic uint64_t tape_packets;
	_Atomic uint64_t recovered;
	_Atomic uint64_t demand_calls;
	_Atomic uint64_t demand_used; /* bytes */
	_Atomic uint64_t demand_kept;
	_Atomic uint64_t demand_dropped;
	_Atomic uint64_t demand_cut;
	_Atomic int64_t demand_cut_us;
	_Atomic uint64_t demand_failed;
};

/* Folders are made; the store's filesystem is opened. */
int et_writer_new(const struct et_writer_config *config, struct et_writer **ret,
		  struct et_error *reterr) ET_MUST_CHECK;
/* What is not finished stays for recovery. */
struct et_writer *et_writer_free(struct et_writer *w);
void et_writer_set_kek(struct et_writer *w, uint32_t version, const uint8_t public_key[32]);
uint32_t et_writer_kek_version(struct et_writer *w);
/* The segment that was being opened is told, or given up. */
void et_writer_opened(struct et_writer *w);
/* No segment will be told any more that is sealed to a version before this one. Any thread. */
bool et_writer_kek_settled(struct et_writer *w, uint32_t version);

/* As struct et_sink has them; they never say ET_ELIMIT. */
void et_writer_open(struct et_writer *w, uint32_t slot, const struct et_facts *facts,
		    bool restored);
void et_writer_stream(struct et_writer *w, uint32_t slot, const struct et_capture_stream *stream);
void et_writer_media(struct et_writer *w, uint32_t slot, const struct et_media_packet *packet);
/* As et_sink.ahead, for et_writer_media(). */
void et_writer_ahead(const struct et_writer *w, uint32_t slot, uint32_t stream, int step);
void et_writer_meta(struct et_writer *w, uint32_t slot, struct et_view plain);
void et_writer_keys(struct et_writer *w, uint32_t slot, struct et_view plain);
/* Keep a call on demand; keep->ask is answered, if there is one. */
void et_writer_keep(struct et_writer *w, const struct et_keep *keep);
/* A segment of its own for keys of a recording that is over. */
void et_writer_late(struct et_writer *w, const struct et_late_keys *late, struct et_view plain);
/* Told with each update that follows. */
void et_writer_session(struct et_writer *w, uint32_t slot,
		       const struct et_capture_session *session);
void et_writer_update(struct et_writer *w, uint32_t slot, const struct et_facts *facts,
		      const struct et_capture_stream *streams, uint32_t count);
void et_writer_close(struct et_writer *w, uint32_t slot, const struct et_facts *facts,
		     const struct et_capture_stream *streams, uint32_t count);

/* Seal what is old enough, tell what is durable, try again what failed. */
void et_writer_poll(struct et_writer *w, int64_t now_us);

/* Footers on all open tapes; their recordings stay open. */
void et_writer_finish(struct et_writer *w);

/* The tick: sync the filesystem; what was written before it is durable then. Any one thread. */
void et_writer_sync(struct et_writer *w);

/* The writer's part of the counters; media_dropped is added to. Any thread. */
void et_writer_tell_metrics(const struct et_writer *w, struct et_capture_metrics *ret);

/* Put together an RTP packet for the tape. A header with more than the fixed part is kept whole. */
struct et_media_packet et_writer_packet(uint32_t stream, const struct et_rtp *rtp,
					const struct et_packet *packet);
struct et_media_packet et_writer_rtcp(uint32_t stream, const struct et_packet *packet);

/* ---- Between the writer's files -------------------------------------------------------------- */

int et_writer_tell(struct et_writer *w, enum et_capture_event_kind kind,
		   const struct et_facts *facts, const struct et_capture_stream *streams,
		   uint32_t count, const struct et_capture_segment *segment, bool restored);
/* An update with what is known of its recording session (or NULL). */
int et_writer_tell_session(struct et_writer *w, const struct et_facts *facts,
			   const struct et_capture_stream *streams, uint32_t count,
			   const struct et_capture_session *session);
void et_writer_problem(struct et_writer *w, int kind, int code, const char *text);

/* note.c: what a tape says besides its packets */
void et_note_begin(struct et_writer *w, struct et_slot *s); /* what each segment says first */
void et_note_stream(struct et_writer *w, struct et_slot *s, const struct et_capture_stream *stream);
void et_note_keys(struct et_writer *w, struct et_slot *s, struct et_view plain);
void et_note_kept(struct et_writer *w, struct et_slot *s); /* in the midst of a segment */
/* Pauses that began or ended since the facts were as `before`. */
void et_note_pauses(struct et_writer *w, struct et_slot *s, const struct et_facts *before);

/* writer.c: nothing is written for it since `since_us`; a new segment is tried in a while */
void et_slot_break(struct et_writer *w, struct et_slot *s, int64_t since_us);
/* ... or, when the writer ends, none: its tape is finished */
void et_slot_end(struct et_writer *w, struct et_slot *s);

/* segment.c */
bool et_segment_open(struct et_writer *w, uint32_t slot);
void et_segment_append(struct et_writer *w, struct et_slot *s, enum et_tape_kind kind,
		       int64_t at_us, const void *plain, size_t size);
void et_segment_flush(struct et_writer *w, struct et_slot *s);
/* What was appended is no more, nor will what comes be: the tape takes its footer, and later a new
 * one is tried. */
void et_segment_fail(struct et_writer *w, struct et_slot *s, int code,
		     const struct et_error *error);
/* What a reader needs to begin here. */
void et_segment_checkpoint(struct et_writer *w, struct et_slot *s, int64_t at_us);
uint32_t et_segment_ms(const struct et_slot *s, int64_t at_us); /* since t0, as tapes have it */
/* The footer; `closing` (or NULL) is given away. */
void et_segment_finish(struct et_writer *w, struct et_slot *s, struct et_closing *closing);
int et_segment_seal(struct et_writer *w, struct et_ack *ack);
void et_writer_path(const struct et_writer *w, const char *relative, char ret[PATH_MAX]);
/* Where a segment lies under the media folder, of a ring or for good; the folder is there then. */
int et_segment_name(struct et_writer *w, const struct et_facts *f, uint32_t segment, bool ring,
		    char ret[ET_RELATIVE_MAX], struct et_error *reterr) ET_MUST_CHECK;
/* The slot's tape, with its header; fills ret->dek and ret->header_hash. */
int et_segment_create(struct et_writer *w, struct et_slot *s, const struct et_secret *dek,
		      struct et_capture_segment *ret, struct et_error *reterr) ET_MUST_CHECK;
/* The DEK of ret->dek, sealed to the KEK; et_writer_opened() when it is told, or given up. */
int et_segment_wrap(struct et_writer *w, const uint8_t recording[16], const struct et_secret *dek,
		    struct et_capture_segment *ret, struct et_error *reterr) ET_MUST_CHECK;
void et_reserve_make(struct et_writer *w);
void et_reserve_use(struct et_writer *w);

/* pad.c */
/* A codec that the recording has from here on, as a stream names it; one in a META plaintext. */
void et_pad_codec(struct et_writer *w, struct et_slot *s, const char *codec);
void et_pad_meta(struct et_writer *w, struct et_slot *s, struct et_view plain);
/* Pad the slot's tape from here on, if it is to be and is not yet. */
void et_segment_pad(struct et_writer *w, struct et_slot *s);
/* Of a padded tape: the second at hand is over, and perhaps some more. */
void et_segment_second(struct et_writer *w, struct et_slot *s);
/* ... the call is over: its last block. The tape may be gone then, as by et_segment_fail(). */
void et_segment_settle(struct et_writer *w, struct et_slot *s);

/* ring.c */
bool et_ring_new(struct et_slot *s); /* as its facts say; false: no memory */
/* The slot's next tape, which has its name. */
int et_ring_begin(struct et_writer *w, struct et_slot *s, struct et_capture_segment *segment,
		  struct et_error *reterr) ET_MUST_CHECK;
void et_ring_end(struct et_writer *w, struct et_slot *s); /* its tape takes no more */
void et_ring_turn(struct et_writer *w, uint32_t slot);	  /* on to the next tape, if it is time */
/* The call is over; `closing` (needed) is given away. */
void et_ring_over(struct et_writer *w, struct et_slot *s, struct et_closing *closing);
void et_ring_poll(struct et_writer *w);
void et_ring_finish(struct et_writer *w); /* nobody can keep anything any more */
struct et_ring *et_ring_free(struct et_writer *w, struct et_ring *r);

/* openlog.c */
int et_openlog_begin(struct et_writer *w, uint32_t number, struct et_error *reterr) ET_MUST_CHECK;
void et_openlog_end(struct et_writer *w);
int et_openlog_open(struct et_writer *w, const char *file, uint32_t segment,
		    const struct et_facts *facts, struct et_openlog **ret) ET_MUST_CHECK;
void et_openlog_close(struct et_writer *w, const char *file, uint32_t segment,
		      const struct et_closing *closing);
void et_openlog_done(struct et_writer *w, struct et_openlog *log, const char *file);
void et_openlog_sweep(struct et_writer *w); /* remove logs that nobody needs */

/* ack.c */
void et_ack_push(struct et_writer *w, struct et_ack *ack);
void et_ack_poll(struct et_writer *w);
void et_ack_free(struct et_ack *ack);

/* recover.c */

/* A tape that was open when the process died. */
struct et_recovered {
	char file[ET_RELATIVE_MAX];
	uint8_t recording[16];
	uint32_t segment;
	int64_t last_us;	    /* of its last record */
	bool closed;		    /* its call was over */
	struct et_closing *closing; /* owned: what the log knows */
};

struct et_recovery {
	struct et_recovered *tapes; /* owned */
	uint32_t count;
	uint32_t room;
};

/* Read the logs of before, and begin one: before anything is opened. */
int et_openlog_start(struct et_writer *w, struct et_recovery *ret,
		     struct et_error *reterr) ET_MUST_CHECK;
int et_writer_recover(struct et_writer *w, struct et_recovery *ret,
		      struct et_error *reterr) ET_MUST_CHECK;
/* RECORDING_CLOSE for recordings that `is_live` does not know: nobody continues them. */
void et_writer_close_orphans(struct et_writer *w, struct et_recovery *r,
			     bool (*is_live)(void *arg, const uint8_t id[16]), void *arg);
void et_recovery_release(struct et_recovery *r);
/* For et_engine_restore(). */
int64_t et_recovery_gap(void *recovery, const uint8_t id[16], uint32_t *segment);

#endif
