#include <stdlib.h>
#include <string.h>

#include "replication/sync/wire_internal.h"

#define DATA_BODY_MIN 9 /* an offset and a byte */
#define LEAVES_HEAD 8
#define WANT_SIZE (16 + 4 + 4 + 8 + 32 + 4)
#define HELLO_SIZE (2 + 8 + 2 + 4)
#define TAIL_HEAD 4
#define TAIL_SIZE (16 + 4 + 4 + 8)
#define GROWN_HEAD 16

/* What a frame of each type must look like. */
static const struct rule {
	bool by_puller;
	bool by_source;
	bool on_stream;	   /* else on stream 0 */
	uint16_t flags;	   /* those that exist */
	uint32_t min, max; /* body */
} rules[ET_WIRE_TYPES] = {
	[ET_WIRE_HELLO] = { true, true, false, 0, 12, 64 },
	[ET_WIRE_WANT] = { true, false, true, ET_WIRE_WANT_LEAVES | ET_WIRE_WANT_DATA, WANT_SIZE,
			   WANT_SIZE },
	[ET_WIRE_LEAVES] = { false, true, true, 0, LEAVES_HEAD,
			     LEAVES_HEAD + 32 * ET_WIRE_LEAVES_MAX },
	[ET_WIRE_DATA] = { false, true, true, 0, DATA_BODY_MIN, ET_WIRE_BODY_MAX },
	[ET_WIRE_EOF] = { false, true, true, 0, 40, 40 },
	[ET_WIRE_CREDIT] = { true, false, true, 0, 4, 4 },
	[ET_WIRE_CANCEL] = { true, false, true, 0, 0, 0 },
	[ET_WIRE_ERROR] = { false, true, true, 0, 4, 4 + ET_WIRE_TEXT_MAX },
	[ET_WIRE_BUSY] = { false, true, true, 0, 4, 4 },
	[ET_WIRE_PING] = { true, true, false, ET_WIRE_PING_ANSWER, 8, 8 },
	[ET_WIRE_TAIL] = { true, false, true, 0, TAIL_HEAD + TAIL_SIZE,
			   TAIL_HEAD + TAIL_SIZE *ET_WIRE_TAILS_MAX },
	[ET_WIRE_GROWN] = { false, true, true, ET_WIRE_GROWN_MORE, GROWN_HEAD, ET_WIRE_BODY_MAX },
};

void et_wire_parser_init(struct et_wire_parser *p, enum et_wire_side from)
{
	memset(p, 0, sizeof(*p));
	p->from = from;
}

void et_wire_parser_release(struct et_wire_parser *p)
{
	free(p->frame.body);
	p->frame.body = NULL;
}

/* The header is complete: judge it before a byte is allocated for its body. */
static int parser_header(struct et_wire_parser *p, struct et_error *reterr)
{
	uint32_t length = et_get32(p->header);
	unsigned type = p->header[4];
	unsigned klass = p->header[5];
	unsigned flags = et_get16(p->header + 6);
	uint64_t stream = et_get64(p->header + 8);

	if (type == 0 || type >= ET_WIRE_TYPES) {
		return et_fail(reterr, ET_EMALFORMED, "sync frame of type %u", type);
	}
	const struct rule *rule = &rules[type];
	if (length < 12 || length - 12 < rule->min || length - 12 > rule->max) {
		return et_fail(reterr, ET_EMALFORMED, "sync frame of type %u: length %u", type,
			       length);
	}
	if (p->from == ET_WIRE_PULLER ? !rule->by_puller : !rule->by_source) {
		return et_fail(reterr, ET_EMALFORMED, "sync frame of type %u from the wrong side",
			       type);
	}
	if (klass > 4 || (flags & ~(unsigned)rule->flags) != 0 ||
	    (stream != 0) != rule->on_stream) {
		return et_fail(reterr, ET_EMALFORMED, "sync frame of type %u: class %u, flags %x",
			       type, klass, flags);
	}
	if (p->greeted == (type == ET_WIRE_HELLO)) {
		return et_fail(reterr, ET_EMALFORMED, "sync frame of type %u %s the greeting", type,
			       p->greeted ? "after" : "before");
	}

	struct et_wire_block *body = malloc(sizeof(*body) + length - 12);
	if (body == NULL) {
		return et_fail(reterr, -ENOMEM, "sync frame");
	}
	body->size = length - 12;
	p->frame = (struct et_wire_frame){ .type = (enum et_wire_type)type,
					   .klass = (uint8_t)klass,
					   .flags = (uint16_t)flags,
					   .stream = stream,
					   .body = body };
	p->body_have = 0;
	return 0;
}

/* The body is complete. */
static int parser_frame(struct et_wire_parser *p, struct et_wire_frame *ret,
			struct et_error *reterr)
{
	if (p->frame.type == ET_WIRE_HELLO) {
		unsigned version = et_get16(p->frame.body->data);
		if (version != ET_WIRE_VERSION) {
			return et_fail(reterr, ET_EVERSION, "the peer speaks sync version %u",
				       version);
		}
		p->greeted = true;
	}
	*ret = p->frame;
	p->frame.body = NULL;
	p->header_size = 0;
	return 1;
}

static int parser_step(struct et_wire_parser *p, const uint8_t *data, size_t size, size_t *used,
		       struct et_wire_frame *ret, struct et_error *reterr)
{
	*used = 0;
	if (p->header_size < ET_WIRE_HEADER) {
		size_t part = ET_WIRE_HEADER - p->header_size;
		part = part < size ? part : size;
		memcpy(p->header + p->header_size, data, part);
		p->header_size += part;
		*used = part;
		if (p->header_size < ET_WIRE_HEADER) {
			return 0;
		}
		int rc = parser_header(p, reterr);
		if (rc < 0) {
			return rc;
		}
	}

	struct et_wire_block *body = p->frame.body;
	size_t part = body->size - p->body_have;
	part = part < size - *used ? part : size - *used;
	memcpy(body->data + p->body_have, data + *used, part);
	p->body_have += part;
	*used += part;
	return p->body_have < body->size ? 0 : parser_frame(p, ret, reterr);
}

int et_wire_parse(struct et_wire_parser *p, const uint8_t *data, size_t size, size_t *used,
		  struct et_wire_frame *ret, struct et_error *reterr)
{
	if (p->failed) {
		*used = 0;
		return et_fail(reterr, ET_EMALFORMED, "sync connection");
	}
	if (size == 0) {
		*used = 0;
		return 0;
	}
	int rc = parser_step(p, data, size, used, ret, reterr);
	p->failed = rc < 0;
	return rc;
}

bool et_wire_read_hello(const struct et_wire_block *body, struct et_wire_hello *ret)
{
	ret->node = et_get64(body->data + 2);
	ret->streams = et_get16(body->data + 10);
	ret->features = body->size >= HELLO_SIZE ? et_get32(body->data + 12) : 0;
	return ret->node != 0 && ret->streams != 0;
}

bool et_wire_read_want(const struct et_wire_block *body, struct et_wire_want *ret)
{
	struct et_reader r = et_reader_of(body->data, body->size);
	memcpy(ret->recording, et_read_bytes(&r, 16), 16);
	ret->generation = et_read32(&r);
	ret->segment = et_read32(&r);
	ret->offset = et_read64(&r);
	memcpy(ret->root, et_read_bytes(&r, 32), 32);
	ret->window_bytes = et_read32(&r);
	et_assert(!r.failed); /* The rule fixes the size. */
	return ret->generation != 0 && ret->segment != 0 && ret->offset <= INT64_MAX &&
	       ret->window_bytes <= ET_WIRE_WINDOW_MAX;
}

bool et_wire_read_leaves(const struct et_wire_block *body, struct et_wire_leaves *ret)
{
	size_t rest = body->size - LEAVES_HEAD;

	ret->total = et_get32(body->data);
	ret->first = et_get32(body->data + 4);
	ret->count = (uint32_t)(rest / 32);
	ret->hashes = body->data + LEAVES_HEAD;
	return rest % 32 == 0 && ret->total <= ET_WIRE_RECORDS_MAX && ret->first <= ret->total &&
	       ret->count <= ret->total - ret->first;
}

void et_wire_read_eof(const struct et_wire_block *body, struct et_wire_eof *ret)
{
	ret->size_bytes = et_get64(body->data);
	memcpy(ret->root, body->data + 8, 32);
}

uint32_t et_wire_read_tails(const struct et_wire_block *body, uint32_t *ret_window)
{
	uint32_t count = (uint32_t)((body->size - TAIL_HEAD) / TAIL_SIZE);
	struct et_wire_tail t;
	bool ok = (body->size - TAIL_HEAD) % TAIL_SIZE == 0;

	*ret_window = et_get32(body->data);
	for (uint32_t i = 0; i < count && ok; i++) {
		et_wire_read_tail(body, i, &t);
		ok = t.generation != 0 && t.segment != 0 && t.offset <= INT64_MAX;
	}
	return ok && *ret_window > 0 && *ret_window <= ET_WIRE_WINDOW_MAX ? count : 0;
}

void et_wire_read_tail(const struct et_wire_block *body, uint32_t entry, struct et_wire_tail *ret)
{
	struct et_reader r = et_reader_of(body->data, body->size);
	(void)et_read_bytes(&r, TAIL_HEAD + (size_t)entry * TAIL_SIZE);
	memcpy(ret->recording, et_read_bytes(&r, 16), 16);
	ret->generation = et_read32(&r);
	ret->segment = et_read32(&r);
	ret->offset = et_read64(&r);
	et_assert(!r.failed); /* et_wire_read_tails() has counted them. */
}

bool et_wire_read_grown(const struct et_wire_block *body, struct et_wire_grown *ret)
{
	ret->entry = et_get32(body->data);
	ret->code = (int32_t)et_get32(body->data + 4);
	ret->offset = et_get64(body->data + 8);
	ret->bytes = (struct et_view){ body->data + GROWN_HEAD, body->size - GROWN_HEAD };
	return ret->entry < ET_WIRE_TAILS_MAX && ret->code <= 0 && ret->offset <= INT64_MAX &&
	       (ret->code == 0 || ret->bytes.size == 0);
}

void et_wire_add_header(struct et_buffer *out, enum et_wire_type type, uint8_t klass,
			uint16_t flags, uint64_t stream, size_t body_size)
{
	et_assert(body_size <= ET_WIRE_BODY_MAX);
	et_buffer_add32(out, (uint32_t)(12 + body_size));
	et_buffer_add8(out, (uint8_t)type);
	et_buffer_add8(out, klass);
	et_buffer_add16(out, flags);
	et_buffer_add64(out, stream);
}

void et_wire_add_hello(struct et_buffer *out, const struct et_wire_hello *hello)
{
	et_wire_add_header(out, ET_WIRE_HELLO, 0, 0, 0, HELLO_SIZE);
	et_buffer_add16(out, ET_WIRE_VERSION);
	et_buffer_add64(out, hello->node);
	et_buffer_add16(out, hello->streams);
	et_buffer_add32(out, hello->features);
}

void et_wire_add_want(struct et_buffer *out, uint64_t stream, uint8_t klass, uint16_t flags,
		      const struct et_wire_want *want)
{
	et_wire_add_header(out, ET_WIRE_WANT, klass, flags, stream, WANT_SIZE);
	et_buffer_add(out, want->recording, 16);
	et_buffer_add32(out, want->generation);
	et_buffer_add32(out, want->segment);
	et_buffer_add64(out, want->offset);
	et_buffer_add(out, want->root, 32);
	et_buffer_add32(out, want->window_bytes);
}

void et_wire_add_leaves(struct et_buffer *out, uint64_t stream, uint8_t klass, uint32_t total,
			uint32_t first, uint32_t count, const uint8_t *hashes)
{
	et_wire_add_header(out, ET_WIRE_LEAVES, klass, 0, stream, LEAVES_HEAD + (size_t)count * 32);
	et_buffer_add32(out, total);
	et_buffer_add32(out, first);
	et_buffer_add(out, hashes, (size_t)count * 32);
}

void et_wire_add_eof(struct et_buffer *out, uint64_t stream, uint8_t klass,
		     const struct et_wire_eof *eof)
{
	et_wire_add_header(out, ET_WIRE_EOF, klass, 0, stream, 40);
	et_buffer_add64(out, eof->size_bytes);
	et_buffer_add(out, eof->root, 32);
}

void et_wire_add_credit(struct et_buffer *out, uint64_t stream, uint32_t bytes)
{
	et_wire_add_header(out, ET_WIRE_CREDIT, 0, 0, stream, 4);
	et_buffer_add32(out, bytes);
}

void et_wire_add_cancel(struct et_buffer *out, uint64_t stream)
{
	et_wire_add_header(out, ET_WIRE_CANCEL, 0, 0, stream, 0);
}

void et_wire_add_error(struct et_buffer *out, uint64_t stream, int code, const char *text)
{
	size_t size = strnlen(text, ET_WIRE_TEXT_MAX);
	et_wire_add_header(out, ET_WIRE_ERROR, 0, 0, stream, 4 + size);
	et_buffer_add32(out, (uint32_t)code);
	et_buffer_add(out, text, size);
}

void et_wire_add_busy(struct et_buffer *out, uint64_t stream, uint32_t retry_ms)
{
	et_wire_add_header(out, ET_WIRE_BUSY, 0, 0, stream, 4);
	et_buffer_add32(out, retry_ms);
}

void et_wire_add_ping(struct et_buffer *out, uint64_t token, bool answer)
{
	et_wire_add_header(out, ET_WIRE_PING, 0, answer ? ET_WIRE_PING_ANSWER : 0, 0, 8);
	et_buffer_add64(out, token);
}

void et_wire_add_tails(struct et_buffer *out, uint64_t stream, uint32_t window, uint32_t count)
{
	et_wire_add_header(out, ET_WIRE_TAIL, 0, 0, stream, TAIL_HEAD + (size_t)count * TAIL_SIZE);
	et_buffer_add32(out, window);
}

void et_wire_add_tail(struct et_buffer *out, const struct et_wire_tail *tail)
{
	et_buffer_add(out, tail->recording, 16);
	et_buffer_add32(out, tail->generation);
	et_buffer_add32(out, tail->segment);
	et_buffer_add64(out, tail->offset);
}

void et_wire_add_grown(struct et_buffer *out, uint64_t stream, uint16_t flags,
		       const struct et_wire_grown *grown)
{
	et_wire_add_header(out, ET_WIRE_GROWN, 0, flags, stream, GROWN_HEAD + grown->bytes.size);
	et_buffer_add32(out, grown->entry);
	et_buffer_add32(out, (uint32_t)grown->code);
	et_buffer_add64(out, grown->offset);
	et_buffer_add(out, grown->bytes.data, grown->bytes.size);
}
