#include "node/tls/rpc_internal.h"

void rpc_parser_release(struct rpc_parser *p)
{
	tls_bytes_release(&p->rest);
}

void rpc_frame_header(const struct rpc_frame *frame, size_t body_size,
		      uint8_t ret[4 + RPC_HEADER_BYTES])
{
	et_put32(ret, (uint32_t)(RPC_HEADER_BYTES + body_size));
	ret[4] = (uint8_t)frame->kind;
	et_put16(ret + 5, frame->method);
	et_put64(ret + 7, frame->id);
	et_put32(ret + 15, (uint32_t)frame->code);
}

/* The first frame of [data, data + size). Returns its whole size, 0 when it is not complete yet, or
 * ET_EMALFORMED. */
static ssize_t frame_read(const uint8_t *data, size_t size, struct rpc_frame *ret)
{
	if (size < 4) {
		return 0;
	}
	size_t length = et_get32(data);
	if (length < RPC_HEADER_BYTES || length > RPC_HEADER_BYTES + ET_RPC_BODY_MAX) {
		return ET_EMALFORMED; /* Before a byte of it is waited for. */
	}
	if (size - 4 < length) {
		return 0;
	}
	const uint8_t kind = data[4];
	*ret = (struct rpc_frame){
		.kind = kind == RPC_REQUEST ? RPC_REQUEST : RPC_ANSWER,
		.method = et_get16(data + 5),
		.id = et_get64(data + 7),
		.code = (int32_t)et_get32(data + 15),
		.body = { data + 4 + RPC_HEADER_BYTES, length - RPC_HEADER_BYTES },
	};
	if ((kind != RPC_REQUEST && kind != RPC_ANSWER) || ret->code > 0 ||
	    (kind == RPC_REQUEST && ret->code != 0)) {
		return ET_EMALFORMED;
	}
	return (ssize_t)(4 + length);
}

/* Frames that are complete in [data, data + size); *used: how far they reach. */
static int feed_complete(const uint8_t *data, size_t size, size_t *used,
			 int (*fn)(void *arg, const struct rpc_frame *frame), void *arg)
{
	struct rpc_frame frame;

	for (;;) {
		ssize_t n = frame_read(data + *used, size - *used, &frame);
		if (n <= 0) {
			return (int)n;
		}
		*used += (size_t)n;
		int rc = fn(arg, &frame);
		if (rc != 0) {
			return rc;
		}
	}
}

int rpc_parser_feed(struct rpc_parser *p, const uint8_t *data, size_t size,
		    int (*fn)(void *arg, const struct rpc_frame *frame), void *arg)
{
	size_t used = 0;
	int rc = 0;

	if (tls_bytes_used(&p->rest) == 0) { /* Most frames are never copied. */
		rc = feed_complete(data, size, &used, fn, arg);
		if (rc != 0) {
			return rc;
		}
		data += used;
		size -= used;
	}
	if (size == 0) {
		return 0;
	}
	uint8_t *room = tls_bytes_reserve(&p->rest, size);
	if (room == NULL) {
		return -ENOMEM;
	}
	memcpy(room, data, size);
	p->rest.end += size;
	used = 0;
	rc = feed_complete(p->rest.data + p->rest.start, tls_bytes_used(&p->rest), &used, fn, arg);
	if (rc == 0) {
		tls_bytes_consume(&p->rest, used);
	}
	return rc;
}
