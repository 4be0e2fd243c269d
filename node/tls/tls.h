/* Mutual TLS 1.3 between nodes, on a libuv loop: one cluster port, four protocols by ALPN.
 *
 *   evertape-raft/1   a byte stream for raft/catalog
 *   evertape-rpc/1    requests and answers (rpc.h)
 *   evertape-sync/1   media (replication/sync), which takes the connection to its own loop
 *   evertape-join/1   no client certificate: a node that wants to become a member (join.h)
 *
 * Every connection but join: TLS 1.3, both sides authenticated against the cluster's CA bundle, the
 * peer's node id read from its SAN URI spiffe://CLUSTER/site/SITE/node/ID, and then the member
 * check (is it an active member, is this its recorded key). Expiry alone never refuses an active
 * member whose key is the recorded one, and neither does a CA that is trusted no more, or not yet:
 * the key in the certificate is what was recorded, and no CA can make another one of it. After the
 * handshake the acceptor sends one welcome byte; only then does a connect succeed: in TLS 1.3 the
 * client otherwise finishes before the server has judged it.
 *
 * Failures: a peer that fails any check is refused, logged once a minute for each peer address, and
 * counted by cause. ET_EUNTRUSTED: certificate or member check; ET_EUNREACHABLE: no connection;
 * -ETIMEDOUT: handshake longer than 5 s; ET_ECLOSED: the connection ended.
 *
 * TCP: TCP_USER_TIMEOUT 4 s, TCP_NODELAY, keep-alive, TCP_NOTSENT_LOWAT 128 KiB.
 * Performance: own BIO between OpenSSL and ring buffers, at least 4 records a write.
 *
 * Threads: loop thread only; a connection may be detached from one loop and attached to another. */
#ifndef ET_NODE_TLS_TLS_H
#define ET_NODE_TLS_TLS_H

#include <stdbool.h>
#include <uv.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/secret.h"
#include "node/tls/identity.h"

#define ET_ALPN_RAFT "evertape-raft/1"
#define ET_ALPN_RPC "evertape-rpc/1"
#define ET_ALPN_SYNC "evertape-sync/1"
#define ET_ALPN_JOIN "evertape-join/1"

struct et_tls_node; /* the endpoint of this process: identity, listener, connections */
struct et_tls_conn;

struct et_tls_peer {
	uint64_t node; /* 0 on join */
	char site[64];
	uint8_t spki_hash[32]; /* SHA-256 of its SubjectPublicKeyInfo */
	bool expired;	/* its certificate is outside of its time, by the clock here, and it was let
			   in all the same */
	bool unchained; /* no CA that is trusted here vouches for it: its recorded key alone does */
	char address[64]; /* "ip:port" of the socket's other end */
};

struct et_tls_config {
	uv_loop_t *loop;
	const struct et_identity *identity; /* copied; et_tls_set_identity() replaces it */
	const char *listen;		    /* "ip:port" */
	/* Is this peer a member now, with this key, and may it speak this protocol? 0, or
	 * ET_EUNTRUSTED with the cause in reterr. Runs on the loop, at each handshake of either
	 * direction. */
	int (*check)(void *arg, const struct et_tls_peer *peer, const char *alpn,
		     struct et_error *reterr);
	/* Is this the recorded key of a member? Asked when no CA that is trusted vouches for the
	 * peer, before `check`; NULL: such a peer is refused. */
	bool (*recorded)(void *arg, uint64_t node, const uint8_t spki_hash[32]);
	void *arg;
};

/* Start listening. ET_EUNTRUSTED: the identity does not hold together; -EADDRINUSE, ... */
int et_tls_start(const struct et_tls_config *config, struct et_tls_node **ret,
		 struct et_error *reterr) ET_MUST_CHECK;
/* Close the listener and every connection; `closed` runs once, when all is released. */
void et_tls_stop(struct et_tls_node *t, void (*closed)(void *arg), void *arg);
/* New connections use the new identity (renewal); old ones go on. */
int et_tls_set_identity(struct et_tls_node *t, const struct et_identity *identity,
			struct et_error *reterr) ET_MUST_CHECK;
/* Run the member check again on every connection, and cut those that fail (a removal was applied,
 * or a CA left trust: `unchained` is told anew). */
void et_tls_recheck(struct et_tls_node *t);

/* Take accepted connections of a protocol. `conn` is the handler's: it closes it. */
typedef void (*et_tls_accept_fn)(void *arg, struct et_tls_conn *conn);
void et_tls_handle(struct et_tls_node *t, const char *alpn, et_tls_accept_fn fn, void *arg);

/* Connect to member `node` at `address` ("ip:port"). `cb` runs exactly once, never inside the call;
 * conn is the caller's on 0. Refused with ET_EUNTRUSTED when another node answers there. */
typedef void (*et_tls_connect_fn)(void *arg, int code, struct et_tls_conn *conn);
void et_tls_connect(struct et_tls_node *t, uint64_t node, const char *address, const char *alpn,
		    et_tls_connect_fn cb, void *arg);

const struct et_tls_peer *et_tls_conn_peer(const struct et_tls_conn *conn);

/* Start delivering plaintext. `on_read` gets a view valid during the call; `on_end` runs once when
 * the connection ended by itself (code 0: orderly; else why), after the last on_read; close it
 * then. */
struct et_tls_conn_cb {
	void (*on_read)(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size);
	void (*on_end)(void *arg, struct et_tls_conn *conn, int code);
	void *arg;
};
void et_tls_conn_start(struct et_tls_conn *conn, const struct et_tls_conn_cb *cb);
/* Stop and go on delivering: back pressure reaches the peer through TCP. */
void et_tls_conn_pause(struct et_tls_conn *conn, bool paused);

/* Queue bytes (copied). Never fails by itself: a broken connection is told by on_end. */
void et_tls_conn_write(struct et_tls_conn *conn, const void *data, size_t size);
/* Bytes queued and not yet handed to the kernel; `on_drain` runs once when they fall to `below`. */
size_t et_tls_conn_queued(const struct et_tls_conn *conn);
void et_tls_conn_on_drain(struct et_tls_conn *conn, size_t below, void (*on_drain)(void *arg),
			  void *arg);

/* Close; queued bytes are sent first when `flush`. No callback runs after this returns. Frees conn.
 */
void et_tls_conn_close(struct et_tls_conn *conn, bool flush);

/* Move a connection to another thread's loop: detach on the old loop (before or after start; no
 * callback runs after), hand the pointer over, attach on the new one. */
void et_tls_conn_detach(struct et_tls_conn *conn);
int et_tls_conn_attach(struct et_tls_conn *conn, uv_loop_t *loop) ET_MUST_CHECK;

/* RFC 8446 7.5 exporter, for the join signature. */
int et_tls_conn_export(struct et_tls_conn *conn, const char *label, uint8_t *ret,
		       size_t size) ET_MUST_CHECK;

/* The listener's real address ("ip:port"): what port 0 became. Valid as long as `t`. */
const char *et_tls_address(const struct et_tls_node *t);

/* Choose the congestion control of this connection ("bbr"). -ENOENT: the kernel has none of that
 * name; the connection goes on with its own. */
int et_tls_conn_set_congestion(struct et_tls_conn *conn, const char *name) ET_MUST_CHECK;

/* Counters for /metrics. */
struct et_tls_counts {
	uint64_t accepted, connected, refused_untrusted, refused_member, refused_protocol,
		handshake_timeouts, bytes_in, bytes_out, refused_busy, cut, handshakes_broken;
	uint64_t unchained;	     /* let in by its recorded key alone */
	int64_t unchained_newest_us; /* not-before of the newest certificate of those; 0: none */
};
void et_tls_counts(const struct et_tls_node *t, struct et_tls_counts *ret);

#endif
