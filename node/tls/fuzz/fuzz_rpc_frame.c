/* Frames of evertape-rpc/1 in any split: the first byte says how large the pieces are. */
#include "node/tls/rpc_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_frame(void *arg, const struct rpc_frame *frame)
{
	uint8_t *sum = arg;

	et_assert(frame->kind == RPC_REQUEST || frame->kind == RPC_ANSWER);
	et_assert(frame->body.size <= ET_RPC_BODY_MAX && frame->code <= 0);
	for (size_t i = 0; i < frame->body.size; i++) {
		*sum = (uint8_t)(*sum + frame->body.data[i]);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rpc_parser p = { 0 };
	uint8_t sum = 0;

	if (size == 0) {
		return 0;
	}
	size_t piece = (size_t)data[0] + 1;
	for (size_t i = 1; i < size; i += piece) {
		size_t n = size - i < piece ? size - i : piece;
		if (rpc_parser_feed(&p, data + i, n, on_frame, &sum) < 0) {
			break;
		}
	}
	rpc_parser_release(&p);
	return 0;
}
