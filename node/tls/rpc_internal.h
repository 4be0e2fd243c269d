/* Frames of evertape-rpc/1, apart from connections, so that a fuzzer reaches them. */
#ifndef ET_NODE_TLS_RPC_INTERNAL_H
#define ET_NODE_TLS_RPC_INTERNAL_H

#include "node/tls/rpc.h"
#include "node/tls/tls_internal.h"

#define RPC_HEADER_BYTES 15 /* behind the length: kind 1, method 2, id 8, code 4 */

enum rpc_kind { RPC_REQUEST = 1, RPC_ANSWER = 2 };

struct rpc_frame {
	enum rpc_kind kind;
	uint16_t method;
	uint64_t id;
	int32_t code;	     /* 0 or negative */
	struct et_view body; /* view */
};

/* Bytes of a frame that has not arrived completely; zero-initialised is empty. */
struct rpc_parser {
	struct tls_bytes rest;
};

void rpc_parser_release(struct rpc_parser *p);

/* Take bytes, and give every complete frame to `fn`; a result other than 0 of `fn` ends the walk
 * and is returned. ET_EMALFORMED: a length, kind or code that no peer of ours sends; -ENOMEM. The
 * parser must live until this returns. */
int rpc_parser_feed(struct rpc_parser *p, const uint8_t *data, size_t size,
		    int (*fn)(void *arg, const struct rpc_frame *frame), void *arg) ET_MUST_CHECK;

/* Write the 4 + RPC_HEADER_BYTES bytes that stand before a body of `body_size` bytes. */
void rpc_frame_header(const struct rpc_frame *frame, size_t body_size,
		      uint8_t ret[4 + RPC_HEADER_BYTES]);

#endif
