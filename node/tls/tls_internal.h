/* Inside node/tls: the endpoint, its connections, and what they share across threads.
 *
 *   tls.c      the endpoint: listener, dispatch by protocol, connect, recheck, stop
 *   conn.c     a connection's life: handshake, welcome, hand-over, close, detach and attach
 *   pump.c     a connection's bytes: socket <-> ring buffers <-> OpenSSL <-> owner
 *   context.c  OpenSSL contexts, the BIO, and the judgement of a peer
 *   guard.c    limits on strangers: handshakes at a time and a second for each address, log lines
 */
#ifndef ET_NODE_TLS_TLS_INTERNAL_H
#define ET_NODE_TLS_TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "node/tls/tls.h"

#define HANDSHAKE_TIMEOUT_MS 5000
#define LINGER_TIMEOUT_MS 5000
#define HANDSHAKES_MAX 256	     /* accepted and not yet authenticated */
#define HANDSHAKES_OF_ADDRESS_MAX 64 /* ... from one IP address */
#define HANDSHAKES_PER_S 100	     /* from one IP address, after a burst of */
#define HANDSHAKES_BURST 200
#define RECORD_BYTES 16384	   /* of plaintext; the most of TLS */
#define IN_BYTES_MIN (32UL * 1024) /* ring of received ciphertext: grows when a read fills it */
#define IN_BYTES_MAX (256UL * 1024)
#define READ_BYTES (64UL * 1024)	     /* the most plaintext in one on_read */
#define OUT_BYTES_SOFT (256UL * 1024)	     /* stop sealing above: 16 records a write */
#define OUT_BYTES_MAX (512UL * 1024)	     /* the BIO refuses above */
#define TURN_BYTES_MAX (1024UL * 1024)	     /* of one connection, before others have their turn */
#define QUEUE_BYTES_MAX (64UL * 1024 * 1024) /* an owner that queues more is cut with ET_ELIMIT */
#define LINGER_BYTES_MAX (4UL * 1024 * 1024) /* thrown away while we wait for the peer's close */
#define REKEY_BYTES (UINT64_C(64) << 30)     /* RFC 8446, section 5.5 */

/* The byte that an acceptor sends when it has judged the peer. */
enum welcome { WELCOME = 1, REFUSED_UNTRUSTED = 2 };

/* What the endpoint and connections on other threads' loops have in common. */
struct tls_shared {
	atomic_uint references;
	atomic_uint_fast64_t bytes_in;
	atomic_uint_fast64_t bytes_out;
	/* Guards the list below and `fd` and `next` of what is in it. A lock, though threads
	 * otherwise meet in queues only: a revocation must cut a connection that lives on a loop
	 * which may be busy, and it must find that connection alive. */
	pthread_mutex_t mutex;
	struct et_tls_conn *detached; /* borrowed */
};

struct tls_shared *tls_shared_new(void);
struct tls_shared *tls_shared_ref(struct tls_shared *s);
void tls_shared_unref(struct tls_shared *s);

/* Contexts for one identity. */
struct tls_contexts {
	SSL_CTX *server; /* owned */
	SSL_CTX *client; /* owned */
};

/* What the callbacks of a context need; lives as long as the endpoint. */
struct tls_alpn {
	bool (*is_served)(void *arg, const char *alpn);
	/* et_tls_config.recorded, with the endpoint's counters kept. */
	bool (*recorded)(void *arg, const struct et_cert_info *leaf);
	void *arg;
};

int tls_contexts_make(const struct et_identity *identity, const struct tls_alpn *alpn,
		      struct tls_contexts *ret, struct et_error *reterr) ET_MUST_CHECK;
void tls_contexts_release(struct tls_contexts *c);
/* For a joiner: no certificate; the server's chain must end at a CA with this key hash (borrowed
 * as long as the context lives). */
SSL_CTX *tls_context_pinned(const uint8_t ca_hash[32]);
/* An SSL that reads and writes through the connection's buffers; NULL: no memory. */
SSL *tls_ssl_new(SSL_CTX *ctx, struct et_tls_conn *conn);
/* Is the CA of this key in the bundle? */
bool tls_bundle_has(struct et_view bundle, const uint8_t spki_hash[32]);
/* Who the peer is, by its verified certificate: fills `peer` but for the address. */
int tls_judge(const SSL *ssl, const char *cluster, struct et_tls_peer *peer,
	      uint8_t ret_ca_hash[32], struct et_error *reterr) ET_MUST_CHECK;

/* Bytes with a moving start; data[start, end) is in use. */
struct tls_bytes {
	uint8_t *data; /* owned */
	size_t start;
	size_t end;
	size_t capacity;
};

static inline size_t tls_bytes_used(const struct tls_bytes *b)
{
	return b->end - b->start;
}
/* Room for `size` at the end; NULL: no memory. */
uint8_t *tls_bytes_reserve(struct tls_bytes *b, size_t size);
void tls_bytes_consume(struct tls_bytes *b, size_t size);
void tls_bytes_release(struct tls_bytes *b);

/*   CONNECT ─▶ HANDSHAKE ─▶ WELCOME ─▶ READY ─▶ FLUSH ─▶ LINGER ─▶ (freed)
 *   (client)   (accepted)   (client)    └─────────────────────────▶ (freed)
 * Until READY the endpoint (or join.c) owns the connection; from then on its taker, until it closes
 * it. FLUSH and LINGER belong to nobody: queued bytes are sent, the other side closes, or a timer
 * ends it. */
enum conn_state { CONN_CONNECT, CONN_HANDSHAKE, CONN_WELCOME, CONN_READY, CONN_FLUSH, CONN_LINGER };

/* The loop's part of a connection. Freed when its handles are closed, which is after the
 * connection was closed or detached: `conn` is NULL then, and whoever called back must look. */
struct conn_io {
	uv_poll_t poll;
	uv_idle_t idle;		  /* runs when something was asked for outside the poll callback */
	uv_timer_t timer;	  /* handshake, linger */
	struct et_tls_conn *conn; /* borrowed; NULL: closed or detached */
	struct et_tls_node *node; /* borrowed; NULL: not counted by an endpoint */
	int events;		  /* what is polled for now */
	int open_handles;
	uint8_t plain[READ_BYTES]; /* what on_read is given; lives through its callback */
};

struct et_tls_conn {
	struct et_tls_conn *prev; /* borrowed: list of the endpoint, or of the detached ones */
	struct et_tls_conn *next;
	struct tls_shared *shared; /* a reference */
	struct et_tls_node *node;  /* borrowed; NULL once detached, and for a joiner */
	struct conn_io *io;	   /* owned until let go; NULL while detached */
	SSL *ssl;		   /* owned */
	int fd;			   /* owned */
	enum conn_state state;
	bool server;
	bool is_detached; /* is in shared->detached */
	bool started;
	bool paused;
	bool guarded;	     /* counted as a stranger by node->guard */
	bool member_refused; /* by the member check, not by its certificate */
	bool broken;	     /* sending has failed; what arrived before is still read */
	bool eof;	     /* the peer will send no more ciphertext */
	bool ended;	     /* end_code is known; told by on_end once all was delivered */
	bool end_told;
	atomic_bool cut; /* by a recheck, maybe from another thread */
	int end_code;
	int socket_error;		    /* -errno of the socket, or 0 */
	char want_cluster[ET_NAME_MAX + 1]; /* joiner: of the token */
	uint64_t want_node;		    /* client: who must answer; 0: anyone */
	char alpn[24];
	struct et_tls_peer peer;
	uint8_t ca_hash[32]; /* of the key of the CA that vouches for it; zeros: unchained, join */
	struct et_tls_conn_cb cb;

	/* Until READY: called once, with 0 (the callee takes the connection), or a code (the
	 * connection is gone). */
	void (*ready)(void *arg, struct et_tls_conn *conn, int code, const struct et_error *why);
	void *ready_arg;

	struct tls_bytes in;	/* ciphertext received */
	struct tls_bytes queue; /* plaintext to be sealed */
	struct tls_bytes out;	/* ciphertext to be sent */
	uint64_t sealed_bytes;	/* since the last key update */
	uint64_t lingered_bytes;
	size_t drain_below;
	void (*on_drain)(void *arg);
	void *drain_arg;
};

/* conn.c */
struct conn_spec {
	uv_loop_t *loop;
	struct et_tls_node *node; /* may be NULL */
	struct tls_shared *shared;
	SSL_CTX *ctx;
	int fd; /* taken over, on failure too */
	bool server;
	uint64_t want_node;
	const char *alpn;    /* client */
	const char *address; /* of the peer */
	void (*ready)(void *arg, struct et_tls_conn *conn, int code, const struct et_error *why);
	void *ready_arg;
};
int tls_conn_new(const struct conn_spec *spec, struct et_tls_conn **ret) ET_MUST_CHECK;
/* Give up before READY: `ready` is called with the code. Frees conn. */
void tls_conn_fail(struct et_tls_conn *conn, int code, const struct et_error *why);
/* The connection is over: its owner is told through on_end, later. */
void tls_conn_end(struct et_tls_conn *conn, int code);
/* Release at once; nobody is told. */
void tls_conn_drop(struct et_tls_conn *conn);
/* Have a turn soon. */
void tls_conn_kick(struct et_tls_conn *conn);
/* After the handshake: judge, welcome, hand over. false: the connection is gone. */
bool tls_conn_step(struct et_tls_conn *conn);

/* pump.c */
void tls_pump_on_poll(uv_poll_t *poll, int status, int events);
void tls_pump_on_idle(uv_idle_t *idle);
/* Send what is sealed; true if all is sent or the socket is full, false: the socket failed. */
bool tls_pump_flush(struct et_tls_conn *conn);
BIO_METHOD *tls_bio_method(void);

/* guard.c: what strangers may take. */
struct tls_guard;
struct tls_guard *tls_guard_new(void);
void tls_guard_free(struct tls_guard *g);
/* May this address ("ip:port") begin a handshake now? If so it is counted until tls_guard_done().
 */
bool tls_guard_admit(struct tls_guard *g, const char *address);
void tls_guard_done(struct tls_guard *g, const char *address);
/* Log a refusal, once a minute for each address. */
void tls_guard_log(struct tls_guard *g, const char *address, const char *cause,
		   const struct et_error *why);

/* address.c */
struct sockaddr_storage;
/* "ip:port" or "[ip6]:port"; false: it is not that. */
bool tls_address_parse(const char *text, struct sockaddr_storage *ret, unsigned *ret_size);
void tls_address_format(const struct sockaddr_storage *a, char ret[ET_ADDRESS_MAX]);

/* tls.c */
struct rpc;
struct join_server;

struct tls_handler {
	const char *alpn; /* static */
	et_tls_accept_fn fn;
	void *arg;
};

struct et_tls_node {
	uv_loop_t *loop; /* borrowed */
	struct tls_shared *shared;
	struct tls_contexts contexts;
	struct tls_alpn alpn;
	struct et_buffer ca;	 /* owned: the bundle in use */
	struct tls_guard *guard; /* owned */
	char cluster[ET_NAME_MAX + 1];
	int (*check)(void *arg, const struct et_tls_peer *peer, const char *alpn,
		     struct et_error *reterr);
	bool (*recorded)(void *arg, uint64_t node, const uint8_t spki_hash[32]);
	void *check_arg;
	char address[ET_ADDRESS_MAX];
	int listen_fd;
	int spare_fd; /* given up for a moment when there are no descriptors left */
	uv_poll_t *listener;
	struct tls_handler handlers[4];
	struct et_tls_conn *conns; /* those on this loop */
	unsigned open_ios;	   /* of connections on this loop, until their handles are closed */
	struct et_tls_counts counts;
	struct rpc *rpc;	  /* owned */
	struct join_server *join; /* owned; NULL: not served */
	bool stopping;
	bool listener_closed;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* Count and log a refusal of a peer. */
void tls_node_refused(struct et_tls_node *t, const struct et_tls_conn *conn, int code,
		      const struct et_error *why);
/* A handle of a connection is gone: the stop may be over. Last statement of a callback. */
void tls_node_io_closed(struct et_tls_node *t);
/* The stop may be over: free everything then. Last statement of a callback. */
void tls_node_maybe_closed(struct et_tls_node *t);
int tls_node_check(struct et_tls_node *t, const struct et_tls_peer *peer, const char *alpn,
		   struct et_error *reterr) ET_MUST_CHECK;

/* rpc.c */
struct rpc *rpc_new(struct et_tls_node *t);
/* The endpoint is up: make the handles. */
void rpc_begin(struct rpc *r);
/* Close every connection, end every call. */
void rpc_stop(struct rpc *r);
/* True when no handle of it is left. */
bool rpc_is_closed(const struct rpc *r);
void rpc_free(struct rpc *r);
void rpc_accept(void *arg, struct et_tls_conn *conn);

/* join.c */
void join_server_stop(struct join_server *j);
void join_server_free(struct join_server *j);

#endif
