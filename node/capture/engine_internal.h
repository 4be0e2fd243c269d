/* The engine: datagrams in, calls and streams out. It owns the call table, never waits, never
 * touches a file; what is to be kept goes to a sink.
 *
 *   engine.c     frames in, classes and counters, time
 *   ahead.c      frames that come next: what they will touch is fetched
 *   tcp.c        TCP: segments to messages
 *   turn.c       TURN: what is inside
 *   dialog.c     SIP messages: calls, their states, the addresses that SDP names
 *   legs.c       the dialogs of a fork; whom a BYE ends
 *   match.c      RTP: which call's addresses fit
 *   stream.c     RTP: streams, and what is kept until it is known whose it is
 *   keys.c       SRTP: keys from signalling, whether one fits
 *   handshake.c  ... from DTLS, when its secret comes
 *   call.c       a call's life: rule, admission, opening, facts, closing
 *   demand.c     calls on demand: who keeps them
 *   tones.c      key presses as sound: silence before they are written
 *   table.c      saving and restoring the call table
 *
 * Threads: one owner. */
#ifndef ET_NODE_CAPTURE_ENGINE_INTERNAL_H
#define ET_NODE_CAPTURE_ENGINE_INTERNAL_H

#include <stdatomic.h>

#include "node/audio/dtmf.h"
#include "node/base/bytes.h"
#include "node/base/fetch.h"
#include "node/base/pool.h"
#include "node/capture/capture.h"
#include "node/capture/packet_internal.h"
#include "node/capture/table_internal.h"
#include "node/capture/tcp_internal.h"
#include "node/capture/turn_internal.h"
#include "node/keylog/keylog.h"
#include "node/rtp/rtp.h"
#include "node/rtp/source.h"
#include "node/sip/sdp.h"
#include "node/sip/sip.h"
#include "node/siprec/metadata.h"
#include "node/srtp/ring.h"
#include "node/tape/meta.h"

enum {
	ET_CALLS_DEFAULT = 8192,
	ET_CALL_ENDPOINTS_MAX = 24,
	ET_ENDPOINT_FORMATS_MAX = 12,
	ET_ENDPOINT_SSRCS_MAX = 4,
	ET_STREAM_TYPES_MAX = 8,
	ET_CALL_PENDING_BYTES_MAX = 24 * 1024, /* SIP kept before the recording is opened */
	ET_PACKET_SIZE_MAX = 65535,	       /* bytes of a datagram */
	ET_CHAIN_MAX = 256,		       /* calls that are looked at for one address */
	ET_TAG_TEXT = 64,		       /* of a dialog, and a NUL */
	ET_CALL_DIALOGS_MAX = 8,	       /* branches of a fork that are told apart */
	ET_CALL_SENT_MAX = 16,		       /* transactions of its INVITE */
	ET_NO_MEDIA = 0xFF,		       /* no m-line */
	ET_SINK_STEPS = 2,		       /* of et_sink.ahead */
	ET_ENGINE_BATCH = 16, /* frames looked at ahead: their lines fit the first cache */
};

/* ---- What a sink gets ------------------------------------------------------------------------ */

/* A recording's facts without its streams; copied between threads as it is. */
struct et_facts {
	uint8_t id[16];
	uint8_t call[16];
	int64_t start_us;
	int64_t answer_us;
	int64_t end_us;
	enum et_capture_state state;
	uint32_t segment; /* the last that was used, after a restart; 0: none */
	uint64_t capture_drops;
	uint32_t gap_count;
	struct et_capture_gap gaps[ET_CAPTURE_GAPS_MAX];
	char from[64];
	char to[64];
	char from_uri[128];
	char to_uri[128];
	char sip_call_id[256];
	char rule[64];
	enum et_rule_direction direction; /* 0: not known */
	char problem[128];
	bool problem_srtp; /* it is about keys, which may come yet */
	enum et_keys_state keys;
	enum et_rule_tones tones; /* what its rule says of them; DEFAULT: an older table did not */
	char joined[48];	  /* why it has the `call` of another leg; "": it has its own */
	char pause_cause[ET_CAPTURE_CAUSE_MAX]; /* of the last pause: for the tape's mark */
	int64_t ring_us;     /* on demand, and not kept: how far its ring reaches; else 0 */
	int64_t keep_for_us; /* ... and after its end */
	char kept[ET_CAPTURE_WHO_MAX]; /* on demand: who keeps it; "": nobody yet */
	int64_t kept_us;
};

/* Somebody waits for it. The writer's: it calls done() once, as the last thing. */
struct et_keep_ask {
	void (*done)(struct et_keep_ask *ask, int code);
	void *arg; /* borrowed */
	struct et_capture_kept result;
};

/* A call on demand is to be kept. */
struct et_keep {
	uint8_t recording[16];
	char who[ET_CAPTURE_WHO_MAX];
	int64_t at_us;
	struct et_keep_ask *ask; /* borrowed until done(); NULL: keys did it */
};

struct et_stream;
struct et_tones;

/* All pointers are views for the call. Results: 0; ET_ELIMIT: no room now, try again later. */
/* The secret of its DTLS handshake came when the recording was closed. */
struct et_late_keys {
	uint8_t recording[16];
	int64_t start_us;
	enum et_keys_state state; /* with them */
	uint8_t salt;		  /* spreads the numbers of segments */
};

struct et_sink {
	void *arg; /* borrowed */
	int (*open)(void *arg, uint32_t slot, const struct et_facts *facts, bool restored);
	int (*stream)(void *arg, uint32_t slot, const struct et_capture_stream *stream);
	int (*media)(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
		     const struct et_packet *packet);
	int (*rtcp)(void *arg, uint32_t slot, uint32_t stream, const struct et_packet *packet);
	int (*meta)(void *arg, uint32_t slot, struct et_view plain);
	int (*keys)(void *arg, uint32_t slot,
		    struct et_view plain); /* a KEYS plaintext: a secret */
	/* Metadata of a recording session; NULL: the sink does not care. After open(). */
	int (*session)(void *arg, uint32_t slot, const struct et_capture_session *session);
	int (*update)(void *arg, uint32_t slot, const struct et_facts *facts,
		      const struct et_capture_stream *streams, uint32_t count);
	/* Somebody keeps it; NULL: the sink keeps all. Also of calls that were closed. */
	int (*keep)(void *arg, const struct et_keep *keep);
	/* Keys of a recording that is over; NULL: the sink does not care. */
	int (*late)(void *arg, const struct et_late_keys *late,
		    struct et_view plain); /* a KEYS plaintext: a secret */
	/* `opened`: open() came before. */
	int (*close)(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
		     const struct et_capture_stream *streams, uint32_t count);
	/* A packet of this stream comes soon: fetch what media() will touch into the caches. Called
	 * with step 0 to ET_SINK_STEPS - 1 for some packets side by side: each step follows what
	 * the one before fetched. Changes nothing; NULL: there is nothing to fetch. */
	void (*ahead)(void *arg, uint32_t slot, uint32_t stream, int step);
};

/* ---- Objects --------------------------------------------------------------------------------- */

struct et_format {
	char name[20];
	uint32_t clock_hz;
	uint8_t payload_type;
	uint8_t channels;
};

/* What an offer inside of a call says of an address, until it is answered: refused, it never was
 * (RFC 3261, section 14.1). */
enum et_offer { ET_OFFER_NONE, ET_OFFER_NEW, ET_OFFER_OLD };

/* A dialog of a call, by the callee's tag. */
struct et_dialog {
	uint64_t id;
	bool confirmed; /* answered */
	bool acked;	/* ... and the caller took it */
	bool over;	/* BYE */
};

/* An address that SDP of a call names (or that a stream taught us). */
struct et_endpoint {
	struct et_link link;	  /* by address and port */
	struct et_endpoint *next; /* owned: of the call */
	struct et_call *call;	  /* borrowed: its owner */
	uint8_t address[16];
	uint8_t told_by[16]; /* who sent the SDP: at another hop of the signalling other addresses
				hold */
	uint16_t port;
	uint16_t rtcp_port;
	uint8_t side;  /* who receives there: 0 caller, 1 callee */
	uint8_t media; /* index of its m-line; 0xFF: learned */
	bool fax;
	bool is_srtp;
	bool is_secure;	  /* protected in any case; else a key that fits decides */
	uint8_t offer;	  /* enum et_offer */
	uint32_t offered; /* CSeq of that offer */
	uint64_t dialog;  /* id of the leg whose it is; 0: of all */
	int64_t until_us; /* 0: in force */
	char suite[32];	  /* SRTP */
	uint32_t format_count;
	struct et_format formats[ET_ENDPOINT_FORMATS_MAX];
	uint32_t ssrc_count;
	uint32_t ssrcs[ET_ENDPOINT_SSRCS_MAX];
};

/* No padding: hashed and compared as bytes. */
struct et_stream_key {
	uint8_t src[16];
	uint8_t dst[16];
	uint16_t sport;
	uint16_t dport;
	uint32_t ssrc;
};

/* Can key presses be heard in it and taken out (tones.c)? */
enum et_stream_sound {
	ET_SOUND_OTHER,
	ET_SOUND_ULAW, /* G.711: a byte a sample */
	ET_SOUND_ALAW,
	ET_SOUND_NONE, /* no sound in which keys are: events, comfort noise */
};

struct et_stream_type {
	uint8_t payload_type;
	bool aux;      /* events, comfort noise: no codec of its own */
	uint8_t sound; /* enum et_stream_sound */
	uint32_t clock_hz;
};

struct et_stream {
	struct et_link link;	/* by key */
	struct et_stream *next; /* owned: of the call, newest first */
	struct et_call *call;	/* borrowed: its owner */
	struct et_stream_key key;
	/* What each packet looks at stands here, in few cache lines: ahead.c fetches them. */
	uint32_t number;
	uint8_t type_last;
	uint8_t type_count;
	uint8_t checks;	     /* packets on which keys are still to be tried */
	bool announced;	     /* the sink knows it */
	bool handshake_told; /* its handshake of DTLS is in the tape, or there is none */
	bool frozen;	     /* from before a restart: counts only */
	int64_t last_us;
	struct et_stream_type types[ET_STREAM_TYPES_MAX];
	struct et_rtp_source source; /* its `seen` last */
	int64_t first_us;
	uint32_t clock_hz;
	uint8_t party;
	uint8_t media; /* index of its m-line; ET_NO_MEDIA: not known */
	uint8_t payload_type;
	bool has_codec;
	uint8_t spurts;	    /* of talk behind silence in which nothing was sent; SPURTS: told */
	uint64_t unwritten; /* packets that arrived in a pause, or were digits */
	uint32_t digit_timestamp; /* of the last key press that was dropped */
	bool has_digit;
	uint32_t press_timestamp; /* of the last key press that was looked at */
	bool has_press;
	struct et_tones *tones; /* owned; NULL: nothing was held back */
	uint64_t silenced;	/* packets in which a key press was made silent */
	int64_t checks_wait_us; /* not before: its handshake's secret is waited for */
	enum et_capture_opened opened;
	struct et_srtp_stream opening;
	struct {
		uint64_t above; /* keys by hand up to this number were tried */
		uint64_t below; /* ... and of this pass from this one on; 0: it begins */
		uint8_t passes;
	} given;
	enum et_capture_association association;
	char codec[32];
	char srtp[32];
	struct et_capture_stream *old; /* owned: counts of a frozen stream */
};

enum et_decision {
	ET_DECISION_RECORD,
	ET_DECISION_RULE,    /* a rule says no */
	ET_DECISION_REFUSED, /* admission */
};

/* What makes a call of a recording client's session: all of its media comes from one side, and the
 * metadata tells whose it is. */
struct et_session {
	struct et_siprec_metadata known;
	struct {
		char label[32];
		uint8_t party;
	} media[ET_SDP_MEDIA_MAX]; /* by index of the m-line */
	uint32_t media_count;
	uint32_t revision; /* of `known`; 0: no metadata came */
	uint32_t told;	   /* the revision that the sink has */
	bool has_parties;  /* facts name participants, not client and server */
};

struct et_pause {
	int64_t from_us;  /* 0: never paused */
	int64_t to_us;	  /* 0: it goes on */
	int64_t until_us; /* it ends by itself */
	uint64_t packets; /* in all pauses of the call */
};

struct et_call {
	struct et_link link; /* by Call-ID; calls without signalling are not linked */
	/* What each packet of media looks at, up to `facts`: ahead.c fetches it. */
	uint32_t slot;
	bool superseded; /* ended, and another call names one of its addresses */
	bool opened;
	bool drop_digits;		     /* its rule says so */
	bool drop_tones;		     /* ... of tones (facts.tones): DROP or STRICT */
	const struct et_rule_pause *by_keys; /* borrowed from the rules; NULL: keys pause nothing */
	const struct et_rule_ring *keep_keys; /* ... NULL: keys keep nothing (any more) */
	int64_t media_us;		      /* last RTP packet */
	struct et_pause pause;
	struct et_facts facts;
	struct et_endpoint *endpoints; /* owned */
	struct et_stream *streams;     /* owned */
	uint32_t endpoint_count;
	uint32_t stream_count;
	size_t call_id_size;
	uint64_t call_id_hash;	      /* of the whole Call-ID, which facts may cut */
	char caller_tag[ET_TAG_TEXT]; /* as et_leg_tag() writes it */
	uint32_t invite_cseq;
	uint32_t sent_vias;   /* of the transactions in `sent`: the fewest that were seen */
	uint16_t sent_failed; /* bit: refused */
	uint8_t sent_count;
	uint8_t dialog_count;
	uint64_t sent[ET_CALL_SENT_MAX]; /* ids of branches */
	struct et_dialog dialogs[ET_CALL_DIALOGS_MAX];
	enum et_decision decision;
	int rule;     /* its number; -1: the default */
	bool counted; /* under its rule, by this process */
	bool linked;
	bool media_only;
	bool answered;
	bool cancelled;
	bool ended; /* BYE, or a final refusal */
	bool bye;
	bool restored;
	struct et_link join_link; /* by both numbers */
	bool join_linked;
	const char *keep_wanted; /* static: by whose keys; there was no room to say so; or NULL */
	int64_t keep_wanted_us;
	struct et_rule_presses presses[2]; /* of caller and callee */
	bool cannot_fire;		   /* by_keys or keep_keys, and no key opens its events */
	bool paused_by_lack;		   /* ... so it is paused */
	uint32_t pressed_cseq;		   /* of the last INFO that was looked at */
	uint32_t digit_cseq;		   /* of the last digit in SIP that was dropped */
	const char *cannot_drop; /* static: from what tones cannot be dropped, so far; or NULL */
	char tone_key;		 /* the last press that was dropped, in any of its streams; '\0' */
	int64_t tone_us;	 /* ... and when */
	bool provisional; /* a rule on headers stood before the one that fired: not known then */
	bool dirty;	  /* facts changed since the last update */
	int64_t seen_us;  /* last SIP message */
	int64_t updated_us;
	uint64_t drops_before;
	uint64_t dropped;	    /* packets that found no room on the way to the tape */
	struct et_srtp_ring *keys;  /* owned; NULL: none */
	uint64_t keys_told;	    /* number of the last one that the sink has */
	struct et_session *session; /* owned; NULL: nobody sends it to us */
	struct et_buffer pending;   /* owned: META plaintexts, each behind its 32-bit size */
};

struct et_held {
	struct et_held *next;
	int64_t time_us;
	uint32_t size;
	uint8_t data[];
};

/* An RTP flow that is not proven, or whose call is not known. */
struct et_candidate {
	struct et_link link; /* by key */
	struct et_candidate *older;
	struct et_candidate *newer;
	struct et_stream_key key;
	struct et_held *head; /* owned */
	struct et_held *tail;
	uint32_t packets;
	uint32_t in_order;
	size_t bytes;
	int64_t first_us;
	uint16_t next_sequence;
};

/* ---- The engine ------------------------------------------------------------------------------ */

struct et_engine_config {
	const struct et_capture_config *capture; /* rules, ports, limits: copied */
	const struct et_sink *sink;		 /* copied */
	bool deterministic;			 /* ids and seeds come from the input */
	const uint8_t *origin; /* borrowed: SHA-256 of the input, for its ids; or NULL */
	/* Any thread writes, the engine reads; may be NULL. */
	const _Atomic bool *refuse;   /* free space is below the reserve */
	const _Atomic bool *draining; /* the node is to be emptied: no new calls */
	const _Atomic uint64_t *kernel_drops;
	const _Atomic uint32_t *segments; /* by slot: the last segment in use */
	const struct et_srtp_ring *given; /* borrowed: keys by hand, of any party; or NULL */
	const struct et_keylog *keylog;	  /* borrowed: of the engine's thread; NULL: none */
	bool keylog_grows;		  /* what it lacks may still come */
	bool keep_openers;		  /* for et_engine_plain() */
	/* A call is decided about, with what is known of it; NULL: nobody asks. */
	void (*decided)(void *arg, const struct et_rule_facts *facts, const char *sip_call_id);
	void *decided_arg;
};

/* Addresses of our own sockets: what is overheard of them is not ours to record again. */
struct et_own_addresses {
	struct {
		uint8_t address[16];
		uint16_t port;
	} listens[ET_CAPTURE_LISTENS_MAX];
	uint32_t listen_count;
	uint8_t media[16];
	uint16_t port_first; /* 0: none */
	uint16_t port_last;
};

struct et_engine {
	struct et_engine_config config;
	struct et_capture_limits limits;
	struct et_sink sink;
	struct et_rules rules;
	bool has_sample; /* a rule asks for a share of the calls */
	char site[ET_CAPTURE_SITE_MAX];
	uint64_t rule_calls[ET_RULES_MAX + 1];
	uint64_t sip_ports[65536 / 64]; /* bit: port */
	struct et_own_addresses own;

	struct et_capture_packets packets;
	uint64_t calls_total;
	uint64_t calls_refused_disk;
	uint64_t calls_refused_limit;
	uint64_t calls_refused_rule;
	uint64_t calls_refused_drain;
	uint64_t media_dropped;
	uint64_t tones_silenced; /* packets */
	uint64_t tones_cannot;	 /* calls */
	struct et_dtmf dtmf;
	int16_t g711[2][256]; /* what codes of µ-law and A-law mean */
	uint64_t demand_lost; /* calls whose ring a restart lost */
	uint64_t sip_not_kept;

	int64_t now_us;	   /* of packets, and of the clock: never goes back */
	int64_t packet_us; /* of the packet in hand: facts of a call take this one, for the clock
			    * may be ahead of a ring that is read late; now_us for timers */
	int64_t swept_us;
	bool table_changed; /* dialogs changed since et_engine_save() */
	uint64_t id_count;

	struct et_defrag *defrag;
	struct et_tcp *tcp;	    /* owned */
	struct et_turn *turn;	    /* owned */
	struct et_table streams;    /* struct et_stream by key */
	struct et_table endpoints;  /* struct et_endpoint by address and port */
	struct et_table calls;	    /* struct et_call by Call-ID */
	struct et_table candidates; /* struct et_candidate by key */
	struct et_pool call_pool;
	struct et_pool stream_pool;
	struct et_call **slots; /* owned: by slot; NULL: free */
	uint32_t *free_slots;	/* owned: a stack */
	uint32_t free_count;
	uint32_t call_count;
	uint32_t media_only_count; /* of them */
	uint32_t stream_count;
	uint32_t hand; /* of the clock that looks for half-open calls to give up */
	struct et_candidate *oldest;
	struct et_candidate *newest;
	uint32_t candidate_count;
	size_t candidate_bytes;
	size_t pending_bytes; /* of all calls */
	struct et_sdp sdp;    /* scratch */
	struct et_capture_stream scratch[ET_CAPTURE_STREAMS_MAX];

	const struct et_agents *agents; /* borrowed; NULL: not known */
	struct et_table joins; /* calls by both numbers; no buckets: no rule asks for them */
	struct et_handshake *handshakes; /* owned; NULL: no handshake of DTLS was seen */
	struct et_table handshake_table; /* ... by both addresses */
	uint32_t handshake_next[2]; /* the oldest: gives way; of those that SDP names, others */
	uint32_t handshakes_over;   /* of them, of calls that are over without a secret */
	int64_t openers_since_us;   /* openers that were made in this second */
	uint32_t openers_made;
	const struct et_packet *plain_of; /* borrowed: the packet that is open in plain_room */
	size_t plain_size;
	uint32_t plain_room[ET_PACKET_SIZE_MAX / 4 + 1];
};

int et_engine_new(const struct et_engine_config *config, struct et_engine **ret,
		  struct et_error *reterr) ET_MUST_CHECK;
struct et_engine *et_engine_free(struct et_engine *e);

/* One captured frame: counted, once. */
void et_engine_frame(struct et_engine *e, const struct et_frame *frame);

/* The same for some, one after the other, with a look ahead (ahead.c): the way when there are more
 * than one. */
void et_engine_frames(struct et_engine *e, const struct et_frame *frames, size_t count);

/* A datagram of a media socket of our own: counted, once. */
void et_engine_own_media(struct et_engine *e, const struct et_packet *p);

/* Something came in at `time_us` by a socket of our own; the caller counts what it is. */
void et_engine_arrival(struct et_engine *e, int64_t time_us);

/* Timers; `now_us` may not go back. */
void et_engine_clock(struct et_engine *e, int64_t now_us);

/* The engine's part of the counters. */
void et_engine_tell(const struct et_engine *e, struct et_capture_metrics *ret);

/* Nothing more comes: decide on what waits; `close_calls`: and close all calls. */
void et_engine_finish(struct et_engine *e, bool close_calls);

/* The call table, for the next start; and back. Restored calls are opened again (a new segment)
 * with a gap from `died_us` of their recording, which `gap_from` tells (0: not known). */
void et_engine_save(struct et_engine *e, struct et_buffer *ret);
int et_engine_restore(struct et_engine *e, struct et_view saved,
		      int64_t (*gap_from)(void *arg, const uint8_t id[16], uint32_t *segment),
		      void *arg, struct et_error *reterr) ET_MUST_CHECK;

/* Pause or go on: see et_capture_pause(). ET_ENOTFOUND. */
int et_engine_pause(struct et_engine *e, const uint8_t recording[16], bool pause, const char *cause,
		    int64_t max_us, struct et_capture_pause *ret);

/* Keep a call on demand: see et_capture_keep(). 0: the sink answers keep->ask (needed), also for
 * what the engine does not know any more. 1: keep->ask->result says it, and done() is not called:
 * the call was not opened yet. ET_ELIMIT: the sink had no room, and knows nothing of it. */
int et_engine_keep(struct et_engine *e, const struct et_keep *keep);

/* From the sink's media(): what the packet of this stream is without its protection; *ret stays as
 * it is when there is none. false: it cannot be opened. With config.keep_openers only. */
bool et_engine_plain(struct et_engine *e, uint32_t slot, uint32_t stream, const struct et_packet *p,
		     struct et_rtp *ret);

/* ---- Between the engine's files -------------------------------------------------------------- */

/* call.c */
/* `signalled`: SIP tells of it. NULL: no room (counted). */
struct et_call *et_call_new(struct et_engine *e, bool signalled);
void et_call_link(struct et_engine *e, struct et_call *c, struct et_view call_id);
struct et_call *et_call_find(struct et_engine *e, struct et_view call_id);
/* Rule and admission. `invite`: the request, whose headers are known; NULL: there is none. */
void et_call_decide(struct et_engine *e, struct et_call *c, const struct et_view *invite);
/* An INVITE of a call whose decision is provisional. */
void et_call_decide_again(struct et_engine *e, struct et_call *c, const struct et_view *invite);
bool et_call_open(struct et_engine *e, struct et_call *c); /* true: it is open */
void et_call_meta(struct et_engine *e, struct et_call *c, const struct et_meta_item *item);
void et_call_close(struct et_engine *e, struct et_call *c);
void et_call_sweep(struct et_engine *e, struct et_call *c);
void et_call_update(struct et_engine *e, struct et_call *c);
struct et_call *et_call_of(const struct et_engine *e, const uint8_t recording[16]); /* or NULL */
void et_facts_gap(struct et_facts *f, int64_t from_us, int64_t to_us, const char *cause);
/* The one that began when `like` did, for the same cause; NULL: none. */
const struct et_capture_gap *et_facts_find_gap(const struct et_facts *f,
					       const struct et_capture_gap *like);
void et_copy_text(char *ret, size_t size, struct et_view text);
void et_make_id(struct et_engine *e, const struct et_call *c, uint8_t ret[16]);

/* pause.c */
extern const char *const et_gap_paused; /* the cause of its gaps: compared as a pointer */
bool et_call_is_paused(const struct et_call *c);
/* What arrived then is not to be kept. Ends a pause whose time is over. */
bool et_call_drops(struct et_engine *e, struct et_call *c, int64_t time_us);
bool et_call_keeps_message(struct et_engine *e, struct et_call *c, int64_t time_us,
			   enum et_sip_method method);
void et_call_pause_end(struct et_engine *e, struct et_call *c, int64_t at_us);
void et_call_pause_sweep(struct et_engine *e, struct et_call *c);

/* demand.c */
extern const char *const et_gap_before;		  /* the cause of its gap: compared as a pointer */
bool et_call_is_waiting(const struct et_call *c); /* on demand, and nobody kept it */
/* As its rule says, from now on. */
void et_call_on_demand(struct et_call *c, const struct et_rule_ring *ring);
void et_call_keep_by_keys(struct et_engine *e, struct et_call *c, uint8_t side, int64_t at_us);
void et_call_keep_sweep(struct et_engine *e, struct et_call *c);

/* join.c: the call's id, by the rules of joining; `invite` NULL: it was not seen. */
#define ET_JOIN_STEPS_MAX 64		 /* that a look among equal numbers may take */
bool et_joins_make(struct et_engine *e); /* false: no memory */
void et_call_join(struct et_engine *e, struct et_call *c, const struct et_view *invite);
void et_call_unjoin(struct et_engine *e, struct et_call *c);

/* press.c: keys that pause a call whose rule says so. */
void et_press_rtp(struct et_engine *e, struct et_stream *s, const struct et_rtp *rtp,
		  const struct et_packet *p);
void et_press_message(struct et_engine *e, struct et_call *c, uint8_t side, int64_t time_us,
		      const struct et_sip *m);

/* pause.c */
void et_call_pause_begin(struct et_engine *e, struct et_call *c, int64_t at_us, const char *cause,
			 int64_t max_us);

/* tones.c: key presses as sound that the call's rule drops. */
enum et_stream_sound et_tones_sound(const char *name, uint32_t clock_hz, uint8_t channels);
void et_tones_init(struct et_engine *e);
/* They cannot be taken out of this packet (noted), and so it is not to be written. */
bool et_tones_refuses(struct et_engine *e, struct et_stream *s, const struct et_packet *p);
/* A packet on its way to the sink, by et_stream_media(): held for a while. */
void et_tones_media(struct et_engine *e, struct et_stream *s, const struct et_rtp *rtp,
		    const struct et_packet *p);
/* What is held goes out; what nothing follows, too. */
void et_tones_flush(struct et_engine *e, struct et_stream *s);
void et_tones_flush_call(struct et_engine *e, struct et_call *c);
void et_tones_sweep(struct et_engine *e, struct et_call *c);
void et_tones_problem(struct et_call *c);	    /* adds to what is said */
const char *et_tones_hindrance(const char *text);   /* `cannot_drop` that reads so; NULL: none */
struct et_tones *et_tones_free(struct et_tones *t); /* NULL is allowed; returns NULL */

/* stream.c: a packet goes to the sink, or is counted as dropped. */
void et_stream_media(struct et_engine *e, struct et_stream *s, const struct et_rtp *rtp,
		     const struct et_packet *p);

/* digits.c: is it a telephone event, by what SDP says? */
bool et_digits_is_event(const struct et_stream *s, uint8_t type);
/* digits.c: a key press that the call's rule drops. Marks the tape, once for each. */
bool et_digits_drops(struct et_engine *e, struct et_stream *s, const struct et_rtp *rtp,
		     const struct et_packet *p);
bool et_digits_drops_message(struct et_engine *e, struct et_call *c, int64_t time_us,
			     const struct et_sip *m);

/* text.c: a view of the facts, for an event. */
void et_facts_tell(const struct et_facts *facts, const struct et_capture_stream *streams,
		   uint32_t count, uint64_t node, const char *site,
		   struct et_capture_recording *ret);

/* table.c: pieces of the format, also of the log of open tapes. `cause` of a gap that is read
 * is one of the static texts. */
void et_table_add_text(struct et_buffer *b, const char *text);
void et_table_read_text(struct et_reader *r, char *ret, size_t size);
void et_facts_save(struct et_buffer *b, const struct et_facts *f);
void et_facts_read(struct et_reader *r, struct et_facts *f);
void et_stream_save(struct et_buffer *b, const struct et_capture_stream *s);
void et_stream_read(struct et_reader *r, struct et_capture_stream *ret);

/* engine.c: what SDP says of an address; NULL: nothing. */
const struct et_endpoint *et_endpoint_at(struct et_engine *e, const uint8_t address[16],
					 uint16_t port);

/* dialog.c */
void et_dialog_message(struct et_engine *e, const struct et_packet *p, const struct et_sip *m);
struct et_endpoint *et_endpoint_add(struct et_engine *e, struct et_call *c, uint8_t side,
				    const uint8_t address[16], uint16_t port);
void et_endpoint_remove(struct et_engine *e, struct et_endpoint *ep);
struct et_link *et_endpoint_first(struct et_engine *e, const uint8_t address[16], uint16_t port,
				  uint64_t *ret_hash);

/* legs.c */
void et_leg_tag(struct et_view tag, char ret[ET_TAG_TEXT]);
/* The callee's tag of a message; false: its tags are not of this call. */
bool et_leg_of(const struct et_call *c, const struct et_sip *m, struct et_view *ret);
uint64_t et_leg_id(const struct et_engine *e, struct et_view tag); /* 0: no tag */
void et_leg_note(struct et_call *c, uint64_t id, bool confirmed);
bool et_leg_known(const struct et_call *c, uint64_t id);
bool et_leg_confirmed(const struct et_call *c, uint64_t id); /* id 0: any */
void et_leg_ack(const struct et_engine *e, struct et_call *c, const struct et_sip *m);
bool et_leg_bye(const struct et_engine *e, struct et_call *c,
		const struct et_sip *m); /* true: the call is over */
bool et_leg_bye_refused(const struct et_engine *e, struct et_call *c,
			const struct et_sip *m); /* true: it is not */
/* An INVITE without a tag of To; `first`: of another CSeq than those before. */
void et_leg_sent(const struct et_engine *e, struct et_call *c, const struct et_sip *m, bool first);
bool et_leg_failed(const struct et_engine *e, struct et_call *c,
		   const struct et_sip *m); /* true: the call has */
/* session.c: calls that a recording client sends us */
enum et_session_result {
	ET_SESSION_TAKEN,
	ET_SESSION_RULE,	 /* a rule says: not recorded */
	ET_SESSION_DRAIN,	 /* the node is to be emptied */
	ET_SESSION_DISK,	 /* free space is below the reserve */
	ET_SESSION_FULL,	 /* no room for a call */
	ET_SESSION_TAKEN_BEFORE, /* another call has this Call-ID */
};

/* An INVITE that can be answered with 200, with the metadata in it (or NULL; `problem` then says
 * why not, or is NULL). It is kept, its description read. */
enum et_session_result et_session_begin(struct et_engine *e, const struct et_packet *p,
					const struct et_sip *m,
					const struct et_siprec_metadata *metadata,
					const char *problem, uint32_t *ret_slot);
/* Its call; NULL: it is over. */
struct et_call *et_session_call(struct et_engine *e, uint32_t slot, const uint8_t id[16]);
/* More metadata, at the time of the packet in hand. */
void et_session_metadata(struct et_engine *e, struct et_call *c,
			 const struct et_siprec_metadata *metadata);
/* A message that we sent: kept, and read as any other. */
void et_session_sent(struct et_engine *e, const struct et_packet *p);
/* One side described a media line. */
void et_session_describe(struct et_call *c, uint32_t media, const struct et_sdp_media *m);
/* The channel of what comes in on a media line. */
uint8_t et_session_party(const struct et_call *c, uint8_t media);
/* What the sink does not have yet. */
void et_session_tell(struct et_engine *e, struct et_call *c);

/* keys.c */
void et_keys_from_description(struct et_engine *e, struct et_call *c, uint8_t side,
			      const struct et_sdp_media *m);
void et_keys_add_to(struct et_engine *e, struct et_call *c, const struct et_srtp_entry *entry);
void et_keys_tell(struct et_engine *e, struct et_call *c); /* what the sink does not have yet */
void et_keys_begin_stream(struct et_engine *e, struct et_stream *s, const struct et_endpoint *own);
void et_keys_check(struct et_engine *e, struct et_stream *s, const struct et_packet *p);
void et_keys_problem(struct et_call *c);
void et_keys_tell_handshake(struct et_engine *e, struct et_stream *s, const struct et_packet *p);
/* The call is closed: whose secret did not come, may come yet. */
void et_keys_call_over(struct et_engine *e, const struct et_call *c);
/* A call on demand that is closed is kept after all: late secrets are worth something. */
void et_keys_kept(struct et_engine *e, const uint8_t recording[16]);
/* Now and then: secrets of calls that are over. */
void et_keys_late(struct et_engine *e);
/* Keys were added to config.given: streams that are closed are tried again. */
void et_keys_given_came(struct et_engine *e);
void et_keys_handshake(struct et_engine *e, const struct et_packet *p); /* DTLS */
void et_handshakes_free(struct et_engine *e);

/* stream.c */
void et_stream_rtp(struct et_engine *e, const struct et_packet *p);
void et_stream_rtcp(struct et_engine *e, const struct et_packet *p);
/* Addresses were added to a call: look at what waits. */
void et_stream_rematch(struct et_engine *e, const struct et_call *c);
void et_stream_remove(struct et_engine *e, struct et_stream *s);
void et_stream_describe(const struct et_stream *s, struct et_capture_stream *ret);
bool et_stream_announce(struct et_engine *e, struct et_stream *s);
void et_candidates_sweep(struct et_engine *e, bool all);
void et_candidates_free(struct et_engine *e);

#endif
