#include "raft/command/command_internal.h"

/* Wire types of Protocol Buffers ("Encoding", section "Message Structure"). */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct scan {
	uint32_t parts;
	uint32_t unknown;
};

/* NOLINTBEGIN(misc-no-recursion): at most ET_COMMAND_DEPTH_MAX deep. */

static bool message_scan(struct scan *s, const ProtobufCMessageDescriptor *d, struct et_reader r,
			 unsigned depth);

static bool bytes_scan(struct scan *s, const ProtobufCFieldDescriptor *f, const uint8_t *data,
		       size_t size, unsigned depth)
{
	if (f == NULL) {
		return true;
	}
	if (f->type == PROTOBUF_C_TYPE_STRING) {
		return size == 0 || memchr(data, 0, size) == NULL;
	}
	if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
		return message_scan(s, f->descriptor, et_reader_of(data, size), depth + 1);
	}
	return true;
}

static bool field_scan(struct scan *s, const ProtobufCMessageDescriptor *d, struct et_reader *r,
		       unsigned depth)
{
	uint64_t tag = et_read_varint(r);
	uint64_t number = tag >> 3;
	if (r->failed || number == 0 || number > 0x1fffffff) {
		return false;
	}
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field(d, (unsigned)number);
	s->unknown += f == NULL;
	s->parts++;
	if (s->unknown > ET_COMMAND_UNKNOWN_MAX || s->parts > ET_COMMAND_PARTS_MAX) {
		return false;
	}

	switch (tag & 7) {
	case WIRE_VARINT:
		(void)et_read_varint(r);
		return !r->failed;
	case WIRE_64:
		return et_read_bytes(r, 8) != NULL;
	case WIRE_32:
		return et_read_bytes(r, 4) != NULL;
	case WIRE_BYTES: {
		uint64_t size = et_read_varint(r);
		if (r->failed || size > et_reader_left(r)) {
			return false;
		}
		const uint8_t *data = et_read_bytes(r, (size_t)size);
		return data != NULL && bytes_scan(s, f, data, (size_t)size, depth);
	}
	default:
		return false; /* groups: not in proto3 */
	}
}

static bool message_scan(struct scan *s, const ProtobufCMessageDescriptor *d, struct et_reader r,
			 unsigned depth)
{
	if (depth > ET_COMMAND_DEPTH_MAX) {
		return false;
	}
	while (et_reader_left(&r) > 0) {
		if (!field_scan(s, d, &r, depth)) {
			return false;
		}
	}
	return true;
}

/* NOLINTEND(misc-no-recursion) */

int et_command_scan(const ProtobufCMessageDescriptor *d, const void *data, size_t size,
		    struct et_error *reterr)
{
	struct scan s = { 0 };

	if (!message_scan(&s, d, et_reader_of(data, size), 1)) {
		return et_fail(reterr, ET_EMALFORMED, "bytes of a %s", d->short_name);
	}
	return 0;
}

uint32_t et_command_schema(struct et_view packed)
{
	struct et_reader r = et_reader_of(packed.data, packed.size);
	uint64_t schema = 0;

	while (et_reader_left(&r) > 0 && !r.failed) {
		uint64_t tag = et_read_varint(&r);
		switch (tag & 7) {
		case WIRE_VARINT: {
			uint64_t value = et_read_varint(&r);
			schema = tag >> 3 == 5 ? value
					       : schema; /* Command.schema; the last counts */
			break;
		}
		case WIRE_64:
			(void)et_read_bytes(&r, 8);
			break;
		case WIRE_32:
			(void)et_read_bytes(&r, 4);
			break;
		case WIRE_BYTES: {
			uint64_t size = et_read_varint(&r);
			r.failed |= size > et_reader_left(&r);
			(void)(r.failed ? NULL : et_read_bytes(&r, (size_t)size));
			break;
		}
		default:
			r.failed = true;
			break;
		}
	}
	return schema > UINT32_MAX ? UINT32_MAX : (uint32_t)schema;
}
