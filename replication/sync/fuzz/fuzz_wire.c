/* Frames from both sides, in pieces as the first byte says. */
#include <stdlib.h>

#include "replication/sync/wire_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const struct et_wire_frame *frame)
{
	struct et_wire_hello hello;
	struct et_wire_want want;
	struct et_wire_leaves leaves;
	struct et_wire_eof eof;
	struct et_wire_tail tail;
	struct et_wire_grown grown;
	uint32_t window;

	et_assert(frame->body->size <= ET_WIRE_BODY_MAX);
	if (frame->type == ET_WIRE_HELLO) {
		(void)et_wire_read_hello(frame->body, &hello);
	} else if (frame->type == ET_WIRE_WANT) {
		(void)et_wire_read_want(frame->body, &want);
	} else if (frame->type == ET_WIRE_LEAVES) {
		if (et_wire_read_leaves(frame->body, &leaves)) {
			et_assert((uint64_t)leaves.first + leaves.count <= leaves.total);
			et_assert(leaves.hashes + (size_t)leaves.count * 32 ==
				  frame->body->data + frame->body->size);
		}
	} else if (frame->type == ET_WIRE_EOF) {
		et_wire_read_eof(frame->body, &eof);
	} else if (frame->type == ET_WIRE_TAIL) {
		uint32_t count = et_wire_read_tails(frame->body, &window);
		et_assert(count <= ET_WIRE_TAILS_MAX);
		for (uint32_t i = 0; i < count; i++) {
			et_wire_read_tail(frame->body, i, &tail);
			et_assert(tail.generation > 0 && tail.segment > 0);
		}
	} else if (frame->type == ET_WIRE_GROWN && et_wire_read_grown(frame->body, &grown)) {
		et_assert(grown.bytes.data + grown.bytes.size ==
			  frame->body->data + frame->body->size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_wire_parser p;
	size_t piece = size > 0 ? (size_t)data[0] % 64 + 1 : 1;

	et_wire_parser_init(&p, size > 1 && data[1] % 2 == 0 ? ET_WIRE_PULLER : ET_WIRE_SOURCE);
	for (size_t at = 2; at < size;) {
		struct et_wire_frame frame;
		struct et_error error;
		size_t used = 0;
		size_t n = size - at < piece ? size - at : piece;
		int rc = et_wire_parse(&p, data + at, n, &used, &frame, &error);
		if (rc < 0) {
			break;
		}
		et_assert(used > 0 && used <= n);
		if (rc == 1) {
			look_at(&frame);
			free(frame.body);
		}
		at += used;
	}
	et_wire_parser_release(&p);
	return 0;
}
