/* The recording server: a SIP user agent that takes recording sessions (RFC 7866) over UDP, TCP and
 * TLS, and the sockets that their media arrives at.
 *
 *   srs.c          what arrives: connections and datagrams; it is counted and handed on
 *   srs_admit.c    who may come in
 *   srs_port.c     addresses, and what is bound to them: listens, media ports
 *   uas.c          requests and what is answered; transactions (RFC 3261, section 17.2)
 *   srs_session.c  sessions: their dialogs, and BYE from us
 *   srs_offer.c    offers and answers
 *
 *   request ──▶ transaction known? ──yes──▶ its response again
 *                  │ no
 *                  ▼
 *   INVITE: offer, metadata, room, rule, disk ──▶ 200 (again until ACK, at most 32 s) ──▶ session
 *                                             └─▶ 4xx, 5xx (again until ACK, over UDP)
 *   session ──BYE──▶ its ports stay open for late packets ──2 s──▶ gone
 *      └──its call is over (silence), or no ACK, or the recorder stops──▶ BYE from us
 *
 * All answers are given at once: there are no provisional ones, and nothing waits for a disk.
 * Everything is bounded: sessions, transactions (rejections beyond the bound are answered without
 * being remembered), connections, bytes that wait for a peer. Tags of responses are hashes with a
 * random seed, so a flood makes no state.
 *
 * Who may record: with a list of addresses nothing of any other is read or answered: its datagrams
 * are counted, its connections closed before a byte of TLS. With a CA of clients a connection over
 * TLS needs a certificate of it. What is not admitted is counted (siprec_denied), not logged: a
 * stranger would write our log.
 *
 * Threads: the engine's. Times: `mono_us` for timers; packets have the kernel's. */
#ifndef ET_NODE_CAPTURE_SRS_INTERNAL_H
#define ET_NODE_CAPTURE_SRS_INTERNAL_H

#include <sys/socket.h>

#include "node/capture/engine_internal.h"
#include "node/sip/framer.h"
#include "node/sip/server.h"
#include "node/text/units.h"
#include "node/tls/server.h"

enum {
	ET_SRS_TAG_SIZE = 17, /* 16 digits and a NUL */
	ET_SRS_TRANSACTIONS = 4096,
	ET_SRS_REJECTIONS = 3072,    /* of them at most for what makes no session */
	ET_SRS_STRANGERS = 25,	     /* handshakes of a second (srs_admit.c) */
	ET_SRS_KNOWN = 32,	     /* addresses of clients that are remembered */
	ET_SRS_BACKLOG = 64,	     /* connections that wait to be taken */
	ET_SRS_SESSION_TEXT = 16384, /* bytes that are kept of who is at the other end */
};

/* Bytes of the responses that transactions keep: Via and Record-Route of a stranger are in them. */
#define ET_SRS_RESPONSE_BYTES ((size_t)32 * 1024 * 1024)
#define ET_SRS_REJECTION_BYTES ((size_t)16 * 1024 * 1024)

/* RFC 3261, table 4. */
#define T1_US 500000LL
#define LIFE_US (64 * T1_US)

/* How a message came, and how an answer goes back. */
struct et_srs_peer {
	uint32_t listen;
	uint32_t connection; /* TCP: its place, and which of those that were there */
	uint64_t serial;     /* 0: UDP */
	uint8_t address[16];
	uint16_t port;
};

struct et_srs_listen {
	enum et_capture_transport transport;
	int fd; /* owned */
	uint8_t address[16];
	uint16_t port;
	uint32_t dropped; /* by the kernel, as it told last */
};

struct et_srs_connection {
	int fd; /* owned; -1: not in use */
	struct et_srs_peer peer;
	struct et_framer framer;
	struct et_tls_server_end *tls; /* owned; NULL: plain */
	struct et_buffer out;	       /* what waits to be sent, from out_at */
	size_t out_at;
	bool broken; /* to be closed after the event in hand */
	bool is_in;  /* its handshake was finished, or over TCP a message came */
	bool wants_out;
	uint32_t sessions; /* that were made over it, and live */
	int64_t seen_us;   /* the last whole message, or the start */
	int64_t part_us;   /* when what the framer holds began; 0: it holds nothing */
};

struct et_srs_media {
	int rtp;  /* owned; -1: none */
	int rtcp; /* owned; -1: none */
	uint16_t port;
	uint32_t dropped[2]; /* by the kernel, as it told last: RTP, RTCP */
	enum et_srtp_suite suite;
	char key[72]; /* ours, base64: the answer needs one, nothing is sent with it */
};

struct et_srs_session {
	struct et_link link; /* by Call-ID, while its dialog lives */
	uint32_t index;
	bool alive;    /* its dialog lives */
	uint32_t slot; /* of its call */
	uint8_t id[16];
	struct et_buffer call_id; /* owned */
	struct et_buffer remote;  /* owned: From of the INVITE, with the tag */
	struct et_buffer local;	  /* owned: To of it, without */
	struct et_buffer target;  /* owned: URI in Contact */
	struct et_buffer routes;  /* owned: Route lines for requests of ours */
	char local_tag[ET_SRS_TAG_SIZE];
	char remote_tag[128];
	uint32_t remote_cseq;
	struct et_srs_peer peer; /* of the last request */
	struct et_srs_media media[ET_SDP_MEDIA_MAX];
	uint32_t media_count;
	uint64_t sdp_id;
	uint64_t sdp_version;
	struct et_buffer answer; /* owned: the description that is in force */
	int64_t ends_us;	 /* not alive: when it is forgotten */
	struct et_buffer bye;	 /* owned: a request of ours that waits for its answer */
	char bye_branch[32];
	int64_t bye_us; /* when it is sent again */
	int64_t bye_interval_us;
};

struct et_srs_transaction {
	struct et_link link;		 /* by key */
	struct et_srs_transaction *next; /* all of them */
	struct et_srs_transaction **place;
	uint64_t key[2]; /* hashes of what names it (RFC 3261, section 17.2.3) */
	bool invite;
	bool success; /* 2xx to INVITE: until ACK, and no longer */
	bool confirmed;
	uint32_t cseq;
	struct et_srs_session *session; /* borrowed; NULL: none was made */
	struct et_srs_peer peer;
	struct et_buffer response; /* owned */
	int64_t resend_us;	   /* 0: not by itself */
	int64_t interval_us;
	int64_t ends_us;
};

struct et_srs {
	struct et_engine *engine; /* borrowed */
	int epoll;		  /* owned */
	struct et_srs_listen listens[ET_CAPTURE_LISTENS_MAX];
	uint32_t listen_count;
	struct et_range *allow; /* owned; NULL: any address may record */
	uint32_t allow_count;
	uint8_t media_address[16];
	char media_text[64];
	uint16_t port_first;
	uint16_t port_last;
	uint16_t port_next;
	struct et_srs_connection *connections; /* owned */
	uint32_t connection_max;
	uint32_t connection_count;
	uint64_t serial;
	struct et_tls_server *tls;   /* owned; NULL: no listen speaks it */
	int64_t handshakes_since_us; /* of those that began in this second: */
	uint32_t handshakes;
	uint8_t strangers[ET_SRS_STRANGERS][16]; /* where those of them came from that are not: */
	uint32_t stranger_count;
	uint8_t known[ET_SRS_KNOWN][16]; /* addresses that a handshake was finished with, the last
					  * one first */
	uint32_t known_count;
	struct et_framer_counts framed;
	struct et_srs_session **sessions; /* owned: by index; NULL: free */
	uint32_t session_max;
	uint32_t session_count;
	struct et_table by_call_id;
	struct et_table by_key;
	struct et_srs_transaction *transactions; /* owned */
	uint32_t transaction_count;
	size_t response_bytes; /* of all of them */
	uint32_t pairs_open;   /* port pairs of media */
	uint64_t seeds[3];
	int64_t mono_us;
	int64_t swept_us;
	uint8_t *room;	   /* owned: datagrams and segments as they are read */
	struct et_sdp sdp; /* scratch */

	uint64_t kernel_dropped;
	uint64_t total;
	uint64_t refused;
	uint64_t evicted;
	uint64_t denied;
	uint64_t resent;
};

/* Binds all of it; the engine learns which addresses are ours. -EADDRINUSE, -EADDRNOTAVAIL,
 * ET_EUSAGE (an address or a range that makes no sense), ... */
int et_srs_new(const struct et_capture_siprec *config, struct et_engine *e, int64_t mono_us,
	       struct et_srs **ret, struct et_error *reterr) ET_MUST_CHECK;
struct et_srs *et_srs_free(struct et_srs *s);

/* For connections from now on; owned. Freed when no listen speaks TLS. */
void et_srs_set_tls(struct et_srs *s, struct et_tls_server *server);
int et_srs_fd(const struct et_srs *s); /* readable: there is something to read */
/* What is there now, within bounds. true: there may be more at once. */
bool et_srs_read(struct et_srs *s, int64_t mono_us);
void et_srs_clock(struct et_srs *s, int64_t mono_us);
/* The recorder stops: BYE to all, once. */
void et_srs_leave(struct et_srs *s);
void et_srs_tell(const struct et_srs *s, struct et_capture_metrics *ret);

/* ---- Between the files ----------------------------------------------------------------------- */

/* srs.c */
void et_srs_send(struct et_srs *s, const struct et_srs_peer *peer, struct et_view message);
void et_srs_count_session(struct et_srs *s, const struct et_srs_peer *peer, int by);

/* srs_admit.c */

bool et_srs_may_record(const struct et_srs *s, const uint8_t address[16]);
/* May a handshake begin now that comes from there? 50 a second may. Whose certificate it is shows
 * later: of strangers 25 may, 10 from one address, so that those who are known find room. */
bool et_srs_may_shake_hands(struct et_srs *s, const uint8_t address[16]);
void et_srs_shook_hands(struct et_srs *s, const uint8_t address[16]); /* it was finished */

/* srs_port.c */

bool et_srs_is_ipv4(const uint8_t address[16]);
/* What an epoll event is about: of a listen, a connection or a session its number; of media the
 * line. */
enum et_srs_event { ET_SRS_LISTEN = 1, ET_SRS_CONNECTION, ET_SRS_RTP, ET_SRS_RTCP };

static inline uint64_t et_srs_tag(enum et_srs_event event, uint32_t a, uint32_t b)
{
	return (uint64_t)event << 56 | (uint64_t)a << 8 | b;
}

/* `again`: it is watched, and `out` changed. 0, or -errno. */
int et_srs_watch(struct et_srs *s, int fd, uint64_t tag, bool out, bool again);
void et_srs_close_fd(int *fd); /* -1: it is not open; and is -1 then */
/* An address of 16 bytes (IPv4: mapped) for the kernel, and what the kernel gave as one. */
socklen_t et_srs_sockaddr(const uint8_t address[16], uint16_t port, struct sockaddr_storage *ret);
void et_srs_address(const struct sockaddr_storage *from, uint8_t address[16], uint16_t *port);
/* The i-th listen of `config`; ET_EUSAGE, or what the kernel says. */
int et_srs_listen_open(struct et_srs *s, const struct et_capture_siprec *config, uint32_t i,
		       struct et_error *reterr) ET_MUST_CHECK;
/* The address and the ports that media arrives at; ET_EUSAGE. */
int et_srs_media_range(struct et_srs *s, const struct et_capture_siprec *config,
		       struct et_error *reterr) ET_MUST_CHECK;
/* A port pair, the RTCP one too unless `mux`. false: none is free. */
bool et_srs_media_open(struct et_srs *s, struct et_srs_session *x, uint32_t media, bool mux);
void et_srs_media_close(struct et_srs *s, struct et_srs_media *m);

/* srs_session.c */
struct et_srs_session *et_srs_session_new(struct et_srs *s); /* NULL: no room */
void et_srs_session_free(struct et_srs *s, struct et_srs_session *x);
/* Its dialog is over; late packets of its media are still taken. */
void et_srs_session_unlink(struct et_srs *s, struct et_srs_session *x);
/* The live one of this dialog. `any_tag`: whatever its tags are. */
struct et_srs_session *et_srs_session_find(struct et_srs *s, const struct et_sip *m, bool any_tag);
/* Who is at the other end of the dialog (RFC 3261, section 12.1.1), from its INVITE; `tag` is ours.
 * false: no memory, a tag that is too long, more than ET_SRS_SESSION_TEXT in all. */
bool et_srs_session_learn(struct et_srs_session *x, const struct et_sip *m, struct et_view text,
			  const struct et_srs_peer *peer, const char tag[ET_SRS_TAG_SIZE]);
void et_srs_session_bye(struct et_srs *s, struct et_srs_session *x); /* we end it */
void et_srs_on_response(struct et_srs *s, const struct et_sip *m);   /* to a BYE of ours */

/* srs_offer.c: answer an offer, into x->answer. ET_EMALFORMED; ET_EUNSUPPORTED: nothing in it can
 * be received; ET_ELIMIT: no port is free; -ENOMEM. */
int et_srs_negotiate(struct et_srs *s, struct et_srs_session *x, struct et_view offer);

static inline struct et_view view_of(const struct et_buffer *b)
{
	return (struct et_view){ b->data, b->size };
}

static inline bool view_is(const struct et_buffer *b, struct et_view v)
{
	return b->size == v.size && (v.size == 0 || memcmp(b->data, v.data, v.size) == 0);
}

/* An empty view may point nowhere. */
static inline uint64_t hash_of(uint64_t seed, struct et_view v)
{
	return v.size > 0 ? et_hash(seed, v.data, v.size) : seed;
}

/* uas.c */
void et_uas_message(struct et_srs *s, const struct et_srs_peer *peer, const struct et_packet *p,
		    const struct et_sip *m);
void et_uas_sweep(struct et_srs *s);
void et_uas_leave(struct et_srs *s);
void et_uas_release(struct et_srs *s);

#endif
