/* SIP messages out of a stream of bytes: one direction of a TCP connection, or what TLS opened.
 *
 *   start ──start line──▶ sip ──not SIP──▶ scan ──start line behind a line end──▶ sip
 *     │                    └──body longer than message_max──▶ skip ──over──▶ sip
 *     └──HTTP upgrade──▶ upgrade ──headers end──▶ websocket ──not a frame──▶ start
 *
 * Over plain streams a message is as long as Content-Length says (RFC 3261, section 18.3; compact
 * form too); where there is none, or none that can be read, it ends before the next start line or
 * at the end of what is here. Empty lines between messages are keep-alives (RFC 5626, section
 * 4.4.1). Over WebSocket (RFC 6455, RFC 7118) a message is a message: masked or not, in fragments,
 * with control frames between them. A stream may be joined in its middle in both cases: the next
 * start line behind a line end is looked for, or a whole frame with a start line at the front of
 * what is fed. Compressed frames (RFC 7692) are passed over and counted.
 *
 * Bounded: never more than message_max and what is fed at once is kept (twice that in memory); a
 * body of up to 16 MiB that is longer than message_max is passed over (its headers are handed out),
 * of a longer one the end is looked for as after a loss. The bytes are a stranger's: nothing is
 * asserted about them.
 *
 * Threads: one owner. */
#ifndef ET_NODE_SIP_FRAMER_H
#define ET_NODE_SIP_FRAMER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"

/* What became of the bytes that were fed; bits. */
enum {
	ET_FRAMED_MESSAGE = 1,	 /* a message ended (or its headers did, and it was too long) */
	ET_FRAMED_SKIPPED = 2,	 /* body of a message that is too long */
	ET_FRAMED_KEEPALIVE = 4, /* empty lines between messages */
	ET_FRAMED_WEBSOCKET = 8, /* upgrade, control frames, compressed frames */
	ET_FRAMED_LOST = 16,	 /* no SIP, or a message without its beginning */
};

struct et_framer_counts {
	uint64_t messages;   /* handed out */
	uint64_t resyncs;    /* a start line was found again after other bytes */
	uint64_t too_long;   /* messages longer than message_max */
	uint64_t no_length;  /* messages without a Content-Length that can be read */
	uint64_t cut;	     /* messages that a gap or a limit ended */
	uint64_t compressed; /* WebSocket messages */
};

/* Zero-initialised but for message_max (bytes, >= 1024) and counts is a stream that begins. */
struct et_framer {
	size_t message_max;
	struct et_framer_counts *counts; /* borrowed; may be shared */

	/* private */
	struct et_buffer buffer;  /* what waits for more */
	struct et_buffer message; /* WebSocket: the fragments so far */
	size_t looked;		  /* of the buffer: no end of headers before */
	size_t need;		  /* bytes of the message at its front; 0: not known yet */
	uint64_t skip;		  /* bytes to pass over */
	uint8_t mode;
	uint8_t after;	 /* the mode behind `skip` */
	bool fragments;	 /* a WebSocket message has begun */
	bool compressed; /* ... and is compressed, or too long: not kept */
};

/* `message` is a view, valid for the call. */
typedef void (*et_framer_fn)(void *arg, struct et_view message);

/* Does a segment begin as a stream of SIP: a start line, an upgrade to WebSocket for SIP, or a
 * WebSocket frame with a start line in it? Cheap for what is something else. */
bool et_framer_recognise(const uint8_t *data, size_t size);

/* The next bytes. Returns bits of ET_FRAMED_*. */
unsigned et_framer_feed(struct et_framer *f, const uint8_t *data, size_t size, et_framer_fn fn,
			void *arg);

/* `size` bytes are missing here (0: nobody knows how many). */
void et_framer_gap(struct et_framer *f, uint64_t size);

/* Memory that it holds for a message that is not whole; 0: none waits. */
size_t et_framer_held(const struct et_framer *f);

/* Give its memory back: a stream that begins. */
void et_framer_release(struct et_framer *f);

#endif
