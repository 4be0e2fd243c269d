/* Frames of evertape-sync/1: bytes in, frames out, and back. Pure; foreign bytes.
 *
 *   OFFSET SIZE
 *        0    4  length of what follows: 12 + body
 *        4    1  type
 *        5    1  class (enum et_sync_class)
 *        6    2  flags, by type
 *        8    8  stream; 0 for the connection itself
 *       16       body, at most ET_WIRE_BODY_MAX bytes; its bounds depend on the type
 *
 * All integers are big-endian. The node that connects is the puller (it says WANT); the one that
 * accepts is the source. A frame that the other side may not send, or a body out of its bounds,
 * ends the connection. The format is described in ops/doc/formats/sync.md. */
#ifndef ET_REPLICATION_SYNC_WIRE_INTERNAL_H
#define ET_REPLICATION_SYNC_WIRE_INTERNAL_H

#include <stdbool.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_WIRE_VERSION 1
#define ET_WIRE_HEADER 16			  /* bytes */
#define ET_WIRE_BODY_MAX (256 * 1024)		  /* bytes */
#define ET_WIRE_LEAVES_MAX 4096			  /* leaf hashes in one frame */
#define ET_WIRE_TEXT_MAX 256			  /* bytes of the text of an error */
#define ET_WIRE_RECORDS_MAX (1U << 20)		  /* of one segment: twelve days of a call */
#define ET_WIRE_WINDOW_MAX (64U << 20)		  /* bytes of credit that a source honours */
#define ET_WIRE_TAILS_MAX 256			  /* open segments in one question */
#define ET_WIRE_GROWN_MAX (ET_WIRE_BODY_MAX - 16) /* bytes of one of them in one answer */

enum et_wire_type {
	ET_WIRE_HELLO = 1,  /* both, first: version16 | node64 | streams16 | features32 */
	ET_WIRE_WANT = 2,   /* puller: recording16 | generation32 | segment32 | offset64 | root32 |
			     * window32 */
	ET_WIRE_LEAVES = 3, /* source: total32 | first32 | 32 bytes each */
	ET_WIRE_DATA = 4,   /* source: offset64 | bytes */
	ET_WIRE_EOF = 5,    /* source: size64 | root32 */
	ET_WIRE_CREDIT = 6, /* puller: bytes32 */
	ET_WIRE_CANCEL = 7, /* puller: empty */
	ET_WIRE_ERROR = 8,  /* source: code32 (of node/base/err.h) | text */
	ET_WIRE_BUSY = 9,   /* source: retry_ms32 */
	ET_WIRE_PING = 10,  /* both: token64; flag ANSWER */
	ET_WIRE_TAIL =
		11, /* puller: window32 | recording16 generation32 segment32 offset64, each */
	ET_WIRE_GROWN = 12, /* source: entry32 (of TAIL) | code32 | offset64 | bytes; flag MORE */
	ET_WIRE_TYPES = 13,
};

#define ET_WIRE_WANT_LEAVES 1U /* WANT: the leaf hashes first */
#define ET_WIRE_WANT_DATA 2U   /* WANT: records and footer, from the offset on */
#define ET_WIRE_PING_ANSWER 1U
#define ET_WIRE_GROWN_MORE 1U /* GROWN: it goes on behind these bytes */

#define ET_WIRE_HELLO_TAILS 1U /* HELLO: it answers TAIL */

/* Who may send what. */
enum et_wire_side { ET_WIRE_PULLER, ET_WIRE_SOURCE };

/* A received body: given away as a whole, so that it is copied only once on its way to the disk. */
struct et_wire_block {
	struct et_wire_block *next; /* for its owner's list */
	size_t size;
	uint8_t data[];
};

struct et_wire_frame {
	enum et_wire_type type;
	uint8_t klass;
	uint16_t flags;
	uint64_t stream;
	struct et_wire_block *body; /* owned by whoever got the frame: free() */
};

struct et_wire_parser {
	enum et_wire_side from; /* whose frames these are */
	bool greeted;		/* HELLO was there */
	/* Private. */
	uint8_t header[ET_WIRE_HEADER];
	size_t header_size;
	struct et_wire_frame frame;
	size_t body_have;
	bool failed;
};

void et_wire_parser_init(struct et_wire_parser *p, enum et_wire_side from);
void et_wire_parser_release(struct et_wire_parser *p);

/* Take bytes. *used tells how many were taken. Returns 1 when *ret is a frame, 0 when all was taken
 * and more is needed, negative when this is not the protocol (sticky):
 *   ET_EMALFORMED  an unknown type, a body out of bounds, a frame that this side may not send
 *   ET_EVERSION    a HELLO of another version
 *   -ENOMEM */
int et_wire_parse(struct et_wire_parser *p, const uint8_t *data, size_t size, size_t *used,
		  struct et_wire_frame *ret, struct et_error *reterr) ET_MUST_CHECK;

struct et_wire_hello {
	uint64_t node;
	uint16_t streams;  /* how many at once it serves on one connection */
	uint32_t features; /* ET_WIRE_HELLO_...; 0 of a peer that knows none */
};
struct et_wire_want {
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
	uint64_t offset;
	uint8_t root[32];
	uint32_t window_bytes;
};
struct et_wire_leaves {
	uint32_t total;
	uint32_t first;
	uint32_t count;
	const uint8_t *hashes; /* a view into the body */
};
struct et_wire_eof {
	uint64_t size_bytes;
	uint8_t root[32];
};
struct et_wire_tail { /* one of TAIL */
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
	uint64_t offset;
};
struct et_wire_grown {
	uint32_t entry;
	int32_t code; /* 0, or negative: why there are no bytes */
	uint64_t offset;
	struct et_view bytes; /* a view into the body */
};

/* Read a body whose size the parser has checked. false: a value out of bounds. */
bool et_wire_read_hello(const struct et_wire_block *body, struct et_wire_hello *ret);
bool et_wire_read_want(const struct et_wire_block *body, struct et_wire_want *ret);
bool et_wire_read_leaves(const struct et_wire_block *body, struct et_wire_leaves *ret);
void et_wire_read_eof(const struct et_wire_block *body, struct et_wire_eof *ret);
/* How many a TAIL names; 0: values out of bounds. Then each of them. */
uint32_t et_wire_read_tails(const struct et_wire_block *body, uint32_t *ret_window);
void et_wire_read_tail(const struct et_wire_block *body, uint32_t entry, struct et_wire_tail *ret);
bool et_wire_read_grown(const struct et_wire_block *body, struct et_wire_grown *ret);

/* Write frames to the end of `out` (sticky failure: out->failed). */
void et_wire_add_header(struct et_buffer *out, enum et_wire_type type, uint8_t klass,
			uint16_t flags, uint64_t stream, size_t body_size);
void et_wire_add_hello(struct et_buffer *out, const struct et_wire_hello *hello);
void et_wire_add_want(struct et_buffer *out, uint64_t stream, uint8_t klass, uint16_t flags,
		      const struct et_wire_want *want);
void et_wire_add_leaves(struct et_buffer *out, uint64_t stream, uint8_t klass, uint32_t total,
			uint32_t first, uint32_t count, const uint8_t *hashes);
void et_wire_add_eof(struct et_buffer *out, uint64_t stream, uint8_t klass,
		     const struct et_wire_eof *eof);
void et_wire_add_credit(struct et_buffer *out, uint64_t stream, uint32_t bytes);
void et_wire_add_cancel(struct et_buffer *out, uint64_t stream);
void et_wire_add_error(struct et_buffer *out, uint64_t stream, int code, const char *text);
void et_wire_add_busy(struct et_buffer *out, uint64_t stream, uint32_t retry_ms);
void et_wire_add_ping(struct et_buffer *out, uint64_t token, bool answer);
/* TAIL with `count` entries; they follow, each by et_wire_add_tail(). */
void et_wire_add_tails(struct et_buffer *out, uint64_t stream, uint32_t window, uint32_t count);
void et_wire_add_tail(struct et_buffer *out, const struct et_wire_tail *tail);
void et_wire_add_grown(struct et_buffer *out, uint64_t stream, uint16_t flags,
		       const struct et_wire_grown *grown);

#endif
