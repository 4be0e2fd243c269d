/* Requests and answers between nodes, over evertape-rpc/1.
 *
 * One connection a direction and pair, made when first needed and kept. Frame (big-endian):
 *   length32 (of what follows) | kind8 (1 request, 2 answer) | method16 | id64 | code32 | body
 * A body is at most ET_RPC_BODY_MAX. Requests in flight to one peer are bounded; an answer may come
 * in any order. A request may be delivered and its answer lost: what must happen once carries an op
 * id.
 *
 * Threads: loop thread only. */
#ifndef ET_NODE_TLS_RPC_H
#define ET_NODE_TLS_RPC_H

#include "node/tls/tls.h"

#define ET_RPC_BODY_MAX (4UL * 1024 * 1024) /* bytes */
#define ET_RPC_IN_FLIGHT_MAX 4096	    /* a peer */

enum et_rpc_method {
	ET_RPC_PING = 1,
	ET_RPC_PROPOSE = 2,    /* raft/catalog */
	ET_RPC_READ_INDEX = 3, /* raft/catalog */
	ET_RPC_TERM = 4,       /* raft/catalog */
	ET_RPC_SNAPSHOT = 5,   /* raft/catalog: list and read checkpoint files */
	ET_RPC_OPEN_DEK = 6,   /* node/keeper */
	ET_RPC_STATUS = 7,     /* node/daemon: JSON of a node for `status` */
	ET_RPC_RENEW = 8,      /* node/keeper: certificate renewal */
	ET_RPC_CLOCK = 9,      /* raft/catalog: the peer's clock, for cluster time */
	ET_RPC_PENDING = 10,   /* node/daemon: pending recordings of a node */
	ET_RPC_JOIN = 11,      /* node/keeper: a join request, handed to a vault node */
	ET_RPC_ASK = 12,       /* node/daemon: an operator's question at another node */
	ET_RPC_TRANSFER = 20,  /* raft/catalog: hand leadership over; to the leader */
	ET_RPC_DIGEST = 27,    /* raft/catalog: the state's running digest at an index */
	ET_RPC_METHODS = 32,
};

struct et_rpc_reply; /* one answer to give, now or later, exactly once */

/* Serve a method. `body` is a view valid during the call. Handlers answer with et_rpc_reply(). */
typedef void (*et_rpc_fn)(void *arg, const struct et_tls_peer *peer, struct et_view body,
			  struct et_rpc_reply *reply);
void et_rpc_serve(struct et_tls_node *t, enum et_rpc_method method, et_rpc_fn fn, void *arg);

/* Answer; `code` 0 or an error code, body copied. The peer may be gone: that is fine. Frees reply.
 */
void et_rpc_reply(struct et_rpc_reply *reply, int code, const void *body, size_t size);

/* Call. `cb` runs exactly once, never inside the call. code: 0, the handler's, ET_EUNREACHABLE
 * (never sent), ET_EUNKNOWN (sent, no answer), ET_EUNTRUSTED (another answers there, or we are no
 * member for it), ET_ELIMIT, ET_ECLOSED (the endpoint is stopping: do not try again). `body` is a
 * view. */
typedef void (*et_rpc_cb)(void *arg, int code, struct et_view body);
void et_rpc_call(struct et_tls_node *t, uint64_t node, const char *address,
		 enum et_rpc_method method, const void *body, size_t size, uint32_t timeout_ms,
		 et_rpc_cb cb, void *arg);

/* Is there a live connection to that node in either direction? For status. */
bool et_rpc_is_connected(const struct et_tls_node *t, uint64_t node);

#endif
