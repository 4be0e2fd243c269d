/* Capture: from packets on the wire (or in a file) to sealed tapes and events.
 *
 * This module knows no Raft and no catalogue. It takes an immutable configuration, reads packets,
 * finds calls (SIP over UDP, TCP and WebSocket, with SDP; RTP without signalling by rule), writes
 * one tape per recording, and says what happened through one callback. `evertape capture replay`
 * runs the same engine over a file: see replay.h.
 *
 * Promises:
 *   - every packet that reaches the engine belongs to a stream or is counted with a reason:
 *     total = sip + rtp + rtcp + other + sum(unclaimed), each packet once;
 *   - RECORDING_OPEN and SEGMENT_OPEN of a tape come before its first record is written; if the
 *     callback refuses one of them, nothing of that call is written and it is counted as not
 *     recorded;
 *   - SEGMENT_SEALED comes only after a successful sync that began after the footer was written;
 *     after a failed sync nothing is acknowledged any more (ET_CAPTURE_PROBLEM says so) until the
 *     process was started again and has checked the store;
 *   - the plain DEK never leaves this module and dies with the segment's writer;
 *   - a call whose rule says on-demand is written into a ring, under keys that are in locked memory
 *     and nowhere else (ring.c): nothing is told of it but ET_CAPTURE_RING. It becomes a recording
 *     when somebody keeps it, with what the ring still has; else its keys are wiped.
 *
 * Threads inside: one ring thread, which polls all interfaces and owns the call table (it parses
 * and looks up, and never touches a file); one writer thread, which owns the tapes and runs the
 * callback; one sync thread (a syncfs a second). They meet in a bounded queue. A full queue drops
 * media with the reason "writer_full"; it never grows.
 *
 * Beside what it overhears, capture is a recording server (SIPREC, RFC 7866): recording clients
 * send it sessions on sockets of its own, which the ring thread polls too. What arrives there is a
 * packet like any other: counted once, kept as received.
 *
 * What is not built here yet: PACKET_FANOUT.
 */
#ifndef ET_NODE_CAPTURE_CAPTURE_H
#define ET_NODE_CAPTURE_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "node/base/err.h"
#include "node/base/secret.h"
#include "node/rule/rule.h"
#include "node/tape/keys.h"

/* ---- What it is told ------------------------------------------------------------------------- */

#define ET_CAPTURE_SOURCES_MAX 16
#define ET_CAPTURE_RINGS_MAX 16
#define ET_CAPTURE_SIP_PORTS_MAX 256
#define ET_CAPTURE_SITE_MAX 64
#define ET_CAPTURE_LISTENS_MAX 8

struct et_capture_source {
	const char *interface; /* "eth1"; or NULL: a file */
	const char *file;      /* a pcap or pcapng file, read once at full speed; or NULL */
	const char *filter;    /* BPF; NULL or "": everything. Must let IP fragments pass. */
	const char *keylog;    /* a TLS key log, followed as it grows: opens SIP over TLS; or NULL.
				* Its secrets serve all sources */
	uint32_t rings;	       /* of an interface: the kernel spreads flows over so many; 0: 1 */
};

/* Zero means: the default, which stands behind. */
struct et_capture_limits {
	uint32_t calls;		       /* live calls: 8,192 */
	uint32_t streams;	       /* live streams: 32,768 */
	uint32_t streams_per_call;     /* 32, and never more than ET_CAPTURE_STREAMS_MAX */
	uint32_t candidates;	       /* RTP flows that are not proven or not claimed yet: 1,024 */
	uint32_t candidate_packets;    /* kept for each: 128 */
	size_t candidate_bytes;	       /* kept for all: 16 MiB */
	uint32_t fragments;	       /* datagrams being reassembled: 256 */
	uint32_t tcp_connections;      /* TCP connections that are read: 4,096 */
	uint32_t tcp_message_bytes;    /* a SIP message over TCP; early segments too: 65,536 */
	size_t tcp_bytes;	       /* what waits in all of them: 32 MiB */
	uint32_t turn_allocations;     /* TURN allocations whose addresses are known: 4,096 */
	size_t queue_bytes;	       /* between ring and writer: 32 MiB */
	size_t ring_bytes;	       /* each kernel ring of an interface: 64 MiB */
	uint64_t free_reserve_bytes;   /* below it new calls are refused: 256 MiB */
	uint64_t demand_bytes;	       /* of all rings of calls on demand: 8 GiB */
	uint32_t media_timeout_s;      /* an answered call without media ends: 14,400 */
	uint32_t media_only_timeout_s; /* RTP without signalling that stopped ends: 30 */
	uint32_t setup_timeout_s;      /* an INVITE without a final answer ends: 240 */
	uint32_t max_pause_s;	       /* a pause ends by itself: 900 */
};

enum et_capture_transport { ET_TRANSPORT_UDP, ET_TRANSPORT_TCP, ET_TRANSPORT_TLS };

/* The recording server. Addresses are those of this machine, never wildcards: they stand in what
 * peers are told, and passive capture leaves out what has them. */
struct et_capture_siprec {
	struct {
		enum et_capture_transport transport;
		const char *address; /* "10.1.0.11:5060", "[fd00::1]:5060" */
	} listens[ET_CAPTURE_LISTENS_MAX];
	uint32_t listen_count; /* 0: there is no recording server */
	const char *media;     /* the IP address that media is received at */
	uint16_t port_first;   /* of media: an even port for RTP and the next one for RTCP */
	uint16_t port_last;
	uint32_t sessions;	 /* at a time; 0: 1,024 */
	uint32_t connections;	 /* TCP and TLS, at a time; 0: 256 */
	const char *certificate; /* TLS: PEM files; NULL without a listen of that kind */
	const char *key;
	const struct et_range *allow; /* who may record here: of others nothing is read */
	uint32_t allow_count;	      /* 0: any address may */
	const char *client_ca;	      /* TLS: PEM; NULL: clients need no certificate */
};

/* Where keys of SRTP and TLS are given while calls run (keysock_internal.h). */
struct et_capture_key_socket {
	const char *path; /* NULL: there is none */
	mode_t mode;	  /* of the file: none for others */
	bool has_group;
	gid_t group; /* of the file; its members may give keys */
};

struct et_capture_event;

/* Runs on the writer thread (replay: on the caller's). Pointers inside `ev` are borrowed until it
 * returns. A negative result for RECORDING_OPEN or SEGMENT_OPEN refuses the recording; for the
 * other kinds the result is ignored. */
typedef int (*et_capture_event_fn)(void *arg, const struct et_capture_event *ev);

/* Which tapes are padded (et_tape_pad(), decision 0122): those of which lengths would tell who
 * speaks when. Once it was begun, all that comes of the recording is padded, later segments, too.
 */
enum et_padding {
	ET_PADDING_AUTO, /* from the first codec on that is not steady (et_rtp_codec_is_steady()) */
	ET_PADDING_NONE,
	ET_PADDING_ALWAYS, /* from the first record on */
};

struct et_capture_padding {
	enum et_padding which;
	uint32_t bytes; /* a second, to begin with; 0: ET_TAPE_BLOCK_DEFAULT */
	/* May it be? Not before all members can read it. Asked with the `arg` of the configuration,
	 * on the writer's thread, some times a second; NULL: yes. */
	bool (*allowed)(void *arg);
};

/* Everything here is borrowed for et_capture_start() only, except sign_key and on_event's arg,
 * which must live until et_capture_stop() has returned. */
struct et_capture_config {
	struct et_capture_source sources[ET_CAPTURE_SOURCES_MAX];
	uint32_t source_count;
	uint16_t sip_ports[ET_CAPTURE_SIP_PORTS_MAX]; /* none: 5060. SIP is looked for on these
						       * ports, and known by its start line on
						       * others */
	uint32_t sip_port_count;
	const char *media; /* the media folder */
	uint64_t node;
	const char *site;
	/* Ed25519 seed, 32 bytes: signs the footers. NULL: the node's key is not open. Tapes are
	 * written as ever and get no footer; nothing is told of their ends: for the next start they
	 * are tapes that a crash left, whole ones. */
	const struct et_secret *sign_key;
	uint32_t kek_id;
	uint32_t kek_version;
	uint8_t kek_public[32]; /* X25519 */
	/* Which calls are recorded (node/rule/rule.h); NULL: all, by "default". Evaluated
	 *   - when a call begins: at its INVITE, or at a 2xx to one that was not seen (headers are
	 *     not known then); RTP without signalling when it has proven to be a call;
	 *   - once more at the next INVITE of its dialog, when a rule on headers stood before the
	 *     one that fired and headers were not known. A recording that was opened goes on. */
	const struct et_rules *rules;
	struct et_capture_limits limits;
	struct et_capture_siprec siprec;
	struct et_capture_key_socket key_socket;
	struct et_capture_padding padding;
	et_capture_event_fn on_event;
	void *arg;
};

/* ---- What it tells --------------------------------------------------------------------------- */

#define ET_CAPTURE_STREAMS_MAX 32
#define ET_CAPTURE_GAPS_MAX 64
#define ET_CAPTURE_ADDRESS_TEXT 56 /* "[ipv6]:port" and a NUL */

enum et_capture_state {
	ET_CALL_LIVE,	  /* set up, or going on */
	ET_CALL_ANSWERED, /* ended after an answer */
	ET_CALL_FAILED,	  /* refused by a final answer */
	ET_CALL_CANCELLED,
	ET_CALL_PARTIAL,    /* its end (or its answer) was never seen */
	ET_CALL_MEDIA_ONLY, /* RTP without signalling */
};

/* "live", "answered", ...: static. */
const char *et_capture_state_text(enum et_capture_state state);

enum et_capture_association {
	ET_ASSOCIATION_SDP,	 /* SDP names the address, and only one call has it */
	ET_ASSOCIATION_SSRC,	 /* SDP names the SSRC */
	ET_ASSOCIATION_INFERRED, /* by time, by the other direction, or without signalling */
};

const char *et_capture_association_text(enum et_capture_association a);

enum et_capture_opened {
	ET_OPENED_UNKNOWN, /* not protected, or not tried yet */
	ET_OPENED_NO,	   /* no key that is known opens it */
	ET_OPENED_YES,
};

/* One RTP source. Counts are packets. */
struct et_capture_stream {
	uint32_t number; /* its number in the tape, from 0, over all segments */
	uint32_t ssrc;
	char src[ET_CAPTURE_ADDRESS_TEXT];
	char dst[ET_CAPTURE_ADDRESS_TEXT];
	char codec[32]; /* "PCMU/8000", "" when unknown */
	char srtp[32];	/* suite as SDP names it, "SRTP", "DTLS-SRTP"; "" for plain RTP */
	enum et_capture_opened opened;
	enum et_capture_association association;
	uint8_t payload_type; /* of the codec: the first that is not telephone-event or noise */
	uint8_t party;	      /* 0 caller, 1 callee: the channel of an export */
	uint32_t clock_hz;
	uint64_t packets; /* received, duplicates among them */
	uint64_t lost;	  /* expected - unique */
	uint64_t duplicate;
	uint64_t late;	   /* arrived after a higher sequence number */
	uint64_t silenced; /* of `packets`: a key press in it was made silent (tones: drop) */
	uint32_t jitter_us;
	int64_t first_us;
	int64_t last_us;
};

struct et_capture_gap {
	int64_t from_us;
	int64_t to_us;
	const char *cause; /* "recorder-restart", "disk-full", "writer_full", "paused",
			    * "before-ring" (on demand: what its ring had no more when it was kept):
			    * static. to_us of a pause that goes on is 0 */
};

#define ET_CAPTURE_PARTICIPANTS_MAX 16

/* Of the session that a recording client sends (RFC 7865). Texts are a stranger's. */
struct et_capture_participant {
	char id[48];
	char aor[256];	 /* "sip:+420…@example.com" */
	char number[64]; /* its user part */
	char name[128];
	char labels[96];   /* of the streams that it is heard in: "1,3" */
	uint8_t party;	   /* channel of an export */
	int64_t joined_us; /* 0: not told */
	int64_t left_us;   /* 0: it takes part, or nobody told when it left */
	bool gone;
};

struct et_capture_session {
	char id[48];
	char group[48];
	char sip_session[128]; /* RFC 7989 */
	int64_t start_us;      /* of the session that is recorded, as told; 0: not told */
	int64_t stop_us;
	uint32_t revision; /* grows with each metadata, also over restarts */
	struct et_capture_participant participants[ET_CAPTURE_PARTICIPANTS_MAX];
	uint32_t participant_count;
};

struct et_capture_recording {
	uint8_t id[16];
	uint8_t call[16];
	uint64_t node;
	const char *site;
	int64_t start_us;
	int64_t answer_us; /* 0: not answered */
	int64_t end_us;	   /* 0: still capturing */
	const char *from;  /* user part, or "" */
	const char *to;
	const char *from_uri;
	const char *to_uri;
	const char *sip_call_id;
	const char *rule;      /* the rule that fired, "default" */
	const char *direction; /* by the own numbers of the rules; "": there are none */
	const char *kept; /* on demand: who decided to keep it: "keys of caller", a principal; "":
			   * recorded from its beginning, or not kept (yet) */
	int64_t kept_us;
	const char *joined; /* why `call` is that of other legs: "header NAME", "numbers"; "" */
	enum et_rule_tones tones; /* what becomes of key presses in its audio */
	const char *problem;	  /* "" or what a listener must know */
	enum et_keys_state keys;  /* do the keys that are known open what is protected? */
	enum et_capture_state state;
	uint64_t capture_drops; /* by the kernel while it ran: they may concern it */
	const struct et_capture_stream *streams;
	uint32_t stream_count;
	const struct et_capture_gap *gaps;
	uint32_t gap_count;
	const struct et_capture_session *session; /* NULL: none, or it was told before */
};

enum et_capture_seal { ET_SEAL_SEALED, ET_SEAL_RECOVERED_UNVERIFIED };

struct et_capture_segment {
	uint8_t recording[16];
	uint32_t generation; /* from 1 */
	uint32_t segment;    /* from 1 */
	int64_t t0_us;
	const char *file; /* relative to the media folder: "tapes/2026/11/22/…-g1-s1.evtm" */
	enum et_keys_state keys; /* of one that holds keys that came when the recording was over */

	/* SEGMENT_OPEN */
	uint32_t kek_id;
	uint32_t kek_version;
	uint64_t dek;		 /* DEK id */
	uint8_t wrap_enc[32];	 /* HPKE: encapsulated key */
	uint8_t wrap_sealed[48]; /* HPKE: ciphertext */
	uint8_t header_hash[32];

	/* SEGMENT_SEALED */
	enum et_capture_seal seal;
	uint8_t root[32];
	uint64_t records;
	uint64_t size_bytes;
	int64_t sealed_us;
	uint8_t seal_hash[32];
	uint32_t block_bytes; /* of a padded one: its largest block; 0: it is not padded */
};

enum et_capture_event_kind {
	ET_CAPTURE_RECORDING_OPEN,   /* recording */
	ET_CAPTURE_SEGMENT_OPEN,     /* segment (and recording) */
	ET_CAPTURE_RECORDING_UPDATE, /* recording: facts learnt later; statistics at most every 5 s
				      */
	ET_CAPTURE_SEGMENT_SEALED,   /* segment: durable */
	ET_CAPTURE_RECORDING_CLOSE,  /* recording: final; after the SEGMENT_SEALED of its last tape
				      */
	ET_CAPTURE_RING,	     /* recording: it goes into a ring; not to be noted anywhere */
	ET_CAPTURE_RING_LOST,	     /* recording: nobody kept it, and nobody can any more */
	ET_CAPTURE_TICK,	     /* time_us: all that was written before it is synced */
	ET_CAPTURE_PROBLEM,	     /* code, text */
};

struct et_capture_event {
	enum et_capture_event_kind kind;
	int64_t time_us;
	bool restored; /* RECORDING_UPDATE, SEGMENT_OPEN: continued after a restart */
	const struct et_capture_recording *recording;
	const struct et_capture_segment *segment;
	int code;	  /* PROBLEM: ET_E* or -errno */
	const char *text; /* PROBLEM */
};

/* ---- Counters -------------------------------------------------------------------------------- */

/* Recognised, and not ours. */
#define ET_CAPTURE_OTHER_MAP(X)                                                                    \
	X(ARP, "arp")                                                                              \
	X(LINK, "link") /* another protocol over the link layer */                                 \
	X(TCP, "tcp")	/* a connection that is not read: no SIP in it, on no SIP port */          \
	X(TCP_CONTROL, "tcp_control") /* of one that is: no payload */                             \
	X(TCP_AGAIN, "tcp_again")     /* of one that is: nothing that was not there before */      \
	X(TLS, "tls")		      /* of a TLS connection that is read: handshake, no SIP */    \
	X(WEBSOCKET, "websocket")     /* upgrade, control frames, compressed messages */           \
	X(ICMP, "icmp")                                                                            \
	X(IP, "ip")   /* another protocol over IP */                                               \
	X(UDP, "udp") /* a datagram that is neither SIP nor RTP nor RTCP */                        \
	X(ZRTP, "zrtp")                                                                            \
	X(STUN, "stun")                                                                            \
	X(DTLS, "dtls")                                                                            \
	X(TURN, "turn")		  /* something in a TURN channel or indication that is no media */ \
	X(KEEPALIVE, "keepalive") /* too short for SIP, on its port */                             \
	X(SIPREC, "siprec")	/* overheard on its way from or to our recording server, which has \
				 * it already */                                                   \
	X(T38, "t38")		/* on an address that SDP names for fax */                         \
	X(FRAGMENT, "fragment") /* part of a datagram that was put together; its last piece        \
				 * is counted as what the datagram is */

/* Might have been ours. */
#define ET_CAPTURE_UNCLAIMED_MAP(X)                                                                \
	X(LINK_UNKNOWN, "link_unknown") /* a link layer that is not read */                        \
	X(TRUNCATED, "truncated")	/* the snapshot length cut it */                           \
	X(MALFORMED_IP, "malformed_ip")                                                            \
	X(MALFORMED_UDP, "malformed_udp")                                                          \
	X(MALFORMED_TCP, "malformed_tcp")                                                          \
	X(MALFORMED_TUNNEL, "malformed_tunnel") /* GRE, ERSPAN */                                  \
	X(TUNNEL_DEPTH, "tunnel_depth")		/* tunnels in tunnels, too many */                 \
	X(TCP_GAP, "tcp_gap")			/* of a message that a lost segment ended */       \
	X(TCP_UNSYNCED, "tcp_unsynced")		/* behind a gap, before the next start line */     \
	X(TCP_LIMIT, "tcp_limit")		/* no room for it */                               \
	X(TLS_NO_KEY, "tls_no_key")		/* TLS that no secret of the key log opens */      \
	X(TLS_FAILED, "tls_failed") /* a TLS record that is not authentic, or lost its place */    \
	X(TCP_STRAY, "tcp_stray")   /* far outside of the connection's window */                   \
	X(MALFORMED_SIP, "malformed_sip") /* starts as SIP, cannot be read */                      \
	X(SIPREC_DENIED, "siprec_denied") /* to the recording server, from an address that may     \
					   * not record */                                         \
	X(MALFORMED_RTP, "malformed_rtp") /* on a media address, is not RTP */                     \
	X(FRAGMENT_INCOMPLETE, "fragment_incomplete")                                              \
	X(FRAGMENT_BAD, "fragment_bad") /* overlapping, or longer than a datagram */               \
	X(FRAGMENT_LIMIT, "fragment_limit")                                                        \
	X(RTP_UNPROVEN, "rtp_unproven") /* looks like RTP, too few to be sure */                   \
	X(RTP_LIMIT_CANDIDATES, "rtp_limit_candidates")                                            \
	X(RTP_LIMIT_STREAMS, "rtp_limit_streams")                                                  \
	X(RTP_LIMIT_CALLS, "rtp_limit_calls")                                                      \
	X(RTP_PAUSED, "paused")		  /* its recording was paused */                           \
	X(RTP_DIGITS, "digits")		  /* telephone events that a rule drops */                 \
	X(RTP_TONES, "tones")		  /* of which a rule cannot drop key presses, and says     \
					   * that it is not to be written then */                  \
	X(RTP_RULE, "rtp_rule")		  /* a rule says: not recorded */                          \
	X(RTP_REFUSED, "rtp_refused")	  /* its call was refused by admission */                  \
	X(RTP_AFTER_END, "rtp_after_end") /* its call is over */                                   \
	X(RTP_STRANGER, "rtp_stranger")	  /* to a recording session, from an address that is not   \
					   * its client's */                                       \
	X(RTCP_UNKNOWN, "rtcp_malformed")

enum et_capture_other {
#define ET_CAPTURE_ENUM_(name, text) ET_OTHER_##name,
	ET_CAPTURE_OTHER_MAP(ET_CAPTURE_ENUM_)
#undef ET_CAPTURE_ENUM_
		ET_OTHER_COUNT
};

enum et_capture_unclaimed {
#define ET_CAPTURE_ENUM_(name, text) ET_UNCLAIMED_##name,
	ET_CAPTURE_UNCLAIMED_MAP(ET_CAPTURE_ENUM_)
#undef ET_CAPTURE_ENUM_
		ET_UNCLAIMED_COUNT
};

const char *et_capture_other_text(enum et_capture_other reason);
const char *et_capture_unclaimed_text(enum et_capture_unclaimed reason);

struct et_capture_packets {
	uint64_t total;
	uint64_t sip;
	uint64_t rtp; /* in streams */
	uint64_t rtcp;
	uint64_t other[ET_OTHER_COUNT];
	uint64_t unclaimed[ET_UNCLAIMED_COUNT];
	uint64_t pending; /* kept until they are claimed or given up: one of the above later */
};

/* sip + rtp + rtcp + other + sum(unclaimed) + pending: `total`, if each was counted once. */
uint64_t et_capture_counted(const struct et_capture_packets *p);

/* One interface, or file. */
struct et_capture_source_metrics {
	char name[64];	   /* of the interface; of a file, the end of its path */
	bool open;	   /* false: it went away (and is tried again), or the file is read */
	uint64_t packets;  /* that the engine has read */
	uint64_t received; /* by the kernel, for it */
	uint64_t dropped;  /* for want of room in the ring */
	uint64_t interface_dropped; /* by the card, where it tells */
	uint64_t waiting;	    /* packets in the ring that are not read yet: how full it is */
};

struct et_capture_metrics {
	struct et_capture_source_metrics sources[ET_CAPTURE_SOURCES_MAX];
	uint32_t source_count;
	struct et_capture_packets packets; /* total = all the others, pending among them */
	uint64_t kernel_received;	   /* all interfaces */
	uint64_t kernel_dropped;	   /* by the kernel's ring */
	uint64_t interface_dropped;	   /* by the card, where it tells */
	uint64_t calls_live;
	uint64_t calls_total;
	uint64_t streams_live;
	uint64_t calls_refused_disk;	       /* admission: free space below the reserve */
	uint64_t calls_refused_limit;	       /* limits.calls */
	uint64_t calls_refused_rule;	       /* a rule says: not recorded */
	uint64_t rule_calls[ET_RULES_MAX + 1]; /* by the rule that fired; [their count]: default */
	uint64_t calls_refused_drain;	       /* the node drains */
	uint64_t calls_refused_journal;	       /* the callback refused */
	uint64_t calls_refused_writer;	       /* a tape could not be opened */
	uint64_t tcp_connections;	       /* TCP connections that are read, now */
	uint64_t tcp_messages;		       /* SIP messages out of them, WebSocket among them */
	uint64_t tcp_gaps;		       /* holes in a stream that were given up */
	uint64_t tcp_resyncs;		       /* streams found again at a start line */
	uint64_t tcp_cut;		       /* messages that lost their end */
	uint64_t tcp_too_long;		       /* messages longer than limits.tcp_message_bytes */
	uint64_t tcp_no_length;	       /* messages without a Content-Length that can be read */
	uint64_t tcp_evicted;	       /* given up because a pool was full */
	uint64_t websocket_compressed; /* messages under permessage-deflate: not read */
	uint64_t keys_given;	       /* through the key socket */
	uint64_t keys_wrong;	       /* lines of it that are no keys */
	uint64_t keys_refused;	       /* connections to it: not allowed, or too many */
	uint64_t siprec_sessions;      /* recording sessions, now */
	uint64_t siprec_total;	       /* ... taken since the start */
	uint64_t siprec_refused; /* INVITEs of recording clients that were answered 4xx or 5xx */
	uint64_t siprec_connections; /* TCP and TLS, now */
	uint64_t siprec_evicted;     /* connections closed to make room, or not let in */
	uint64_t siprec_denied;	     /* datagrams and connections of who may not record: another
				      * address, or over TLS no certificate that checks */
	uint64_t siprec_resent;	     /* responses and requests that were sent again */
	uint64_t demand_calls;	     /* on demand, not kept, now; those that ended among them */
	uint64_t demand_bytes;	     /* of their rings, on disk */
	uint64_t demand_kept;	     /* calls that somebody kept */
	uint64_t demand_dropped;     /* ... that nobody kept */
	uint64_t demand_cut;	     /* parts of rings given up before their time: limits, disk */
	int64_t demand_cut_us;	     /* when last; 0: never */
	uint64_t demand_lost;	     /* calls whose ring was lost by a restart */
	uint64_t demand_failed;	     /* keeps that failed; they are tried again */
	uint64_t media_dropped;	 /* packets in streams, dropped before their tape: writer_full, disk
				  * full, not recorded */
	uint64_t tones_silenced; /* packets in which a key press was made silent */
	uint64_t tones_cannot;	 /* calls with audio that a rule cannot drop key presses from */
	uint64_t tape_bytes;	 /* written */
	uint64_t tape_packets;
	uint64_t queue_bytes; /* between ring and writer, now */
	uint64_t queue_limit_bytes;
	uint64_t sync_failures;
	int64_t synced_us;     /* when the last good sync began; 0: none yet */
	uint64_t free_bytes;   /* of the media filesystem, at the last tick */
	uint64_t recovered;    /* tapes recovered at start */
	bool acknowledging;    /* false after a failed sync */
	bool sources_finished; /* files are read to their end, or all interfaces are gone */
};

/* ---- Life ------------------------------------------------------------------------------------ */

struct et_capture;
struct et_tls_server; /* node/tls/server.h */

/* Recover tapes that a crash left open (their SEGMENT_SEALED comes through the callback, from the
 * writer thread, flagged recovered-unverified), restore the call table, open the sources, start the
 * threads. On failure nothing runs.
 *   -EPERM          the interface needs CAP_NET_RAW
 *   -ENODEV, -ENOENT  no such interface or file
 *   ET_EUSAGE       a filter that does not compile, or a configuration that makes no sense */
int et_capture_start(const struct et_capture_config *config, struct et_capture **ret,
		     struct et_error *reterr) ET_MUST_CHECK;

/* Stop reading, seal and sync what is open (SEGMENT_SEALED comes for each), save the call table,
 * end the threads, free. Live calls are not closed: the next start continues them. NULL is allowed.
 * Returns NULL. Not from the callback. */
struct et_capture *et_capture_stop(struct et_capture *c);

/* New segments use this KEK version from now on. Any thread. */
void et_capture_set_kek(struct et_capture *c, uint32_t kek_version, const uint8_t kek_public[32]);
/* Has the last ET_CAPTURE_SEGMENT_OPEN of an earlier version been told? Any thread. */
bool et_capture_kek_settled(struct et_capture *c, uint32_t kek_version);

/* Who uses which number from now on, for rules; `agents` is given away (NULL: it is not known).
 * Calls that have begun stay as they are. Any thread. */
void et_capture_set_agents(struct et_capture *c, struct et_agents *agents);

/* TLS handshakes of SIPREC clients that begin from now on are with `server` (its files were read
 * again), which is given away; without a recording server it is freed. Any thread. */
void et_capture_set_tls(struct et_capture *c, struct et_tls_server *server);

/* While it drains new calls are not recorded (and counted so); live ones go on to their end. Any
 * thread. */
void et_capture_set_draining(struct et_capture *c, bool draining);

/* A recording's last pause. Times are of packets. */
struct et_capture_pause {
	bool paused;
	bool changed;	  /* by this call; else it was so already */
	int64_t from_us;  /* of the last pause; 0: it was never paused */
	int64_t to_us;	  /* 0: it goes on */
	int64_t until_us; /* it ends by itself then */
	uint64_t packets; /* not written, in all its pauses */
};

#define ET_CAPTURE_CAUSE_MAX 160 /* bytes, with the NUL */

/* Pause a live recording of this recorder, or go on with it. While it is paused, packets of media
 * (RTP, RTCP) that arrive are counted as "paused" and written nowhere, and of SIP only what makes
 * the dialog is kept. `cause` goes into the tape's mark; `max_us` (0: limits.max_pause_s) is when
 * it goes on by itself, at most the limit. A pause of what is paused changes nothing, not even that
 * moment.
 *
 * It is in force when this returns, and the state is synced to the media filesystem: a recorder
 * that is killed or loses power after that starts again with the recording paused. On failure of
 * that sync the pause is in force all the same, and the error says so.
 *
 * Blocks, some ms and a sync. Any thread but capture's own.
 *   ET_ENOTFOUND  this recorder has no such live recording
 *   ET_ECLOSED    capture is being stopped
 *   -ETIMEDOUT    no answer in 10 s: it may be in force; ask again
 *   others        it is in force, but could not be saved */
int et_capture_pause(struct et_capture *c, const uint8_t recording[16], bool pause,
		     const char *cause, int64_t max_us, struct et_capture_pause *ret,
		     struct et_error *reterr) ET_MUST_CHECK;

/* What was kept of a call on demand. */
struct et_capture_kept {
	bool changed; /* by this call; else it was kept, or recorded from its beginning, before */
	int64_t start_us; /* of the call; 0 with an error: it is not kept */
	int64_t from_us;  /* what is kept begins there; 0: not known any more */
	int64_t end_us;	  /* 0: it goes on, and is recorded to its end */
};

#define ET_CAPTURE_WHO_MAX 64 /* bytes, with the NUL */

/* Keep a call that its rule records on demand: while it runs, or as long after its end as its rule
 * says. `who` stands in the recording. What is kept is told as of any recording: RECORDING_OPEN,
 * SEGMENT_OPEN of each tape; it promises what any recording does.
 *
 * It is a recording, and synced to the media filesystem, when this returns: a recorder that is
 * killed or loses power after that loses at most its last second.
 *
 * Blocks, some ms and a sync. Any thread but capture's own.
 *   ET_ENOTFOUND  this recorder has no such call, or nobody kept it in time
 *   ET_ELIMIT     the recorder has no room to be asked now: ask again
 *   ET_ECLOSED    capture is being stopped
 *   -ETIMEDOUT    no answer in 10 s: it may be kept; ask again
 *   others        ret->start_us is 0: the journal or the disk refused; it is tried again every 5 s,
 *                 as long as the ring has something of the call. Else it is kept, and the sync
 *                 failed */
int et_capture_keep(struct et_capture *c, const uint8_t recording[16], const char *who,
		    struct et_capture_kept *ret, struct et_error *reterr) ET_MUST_CHECK;

/* A copy of the counters, at most a second old. Any thread. */
void et_capture_metrics(struct et_capture *c, struct et_capture_metrics *ret);

#endif
