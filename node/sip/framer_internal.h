/* Frames of WebSocket, for the framer.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_SIP_FRAMER_INTERNAL_H
#define ET_NODE_SIP_FRAMER_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum {
	FRAMER_START, /* zero: nothing is known yet */
	FRAMER_SIP,
	FRAMER_SCAN,
	FRAMER_SKIP,
	FRAMER_UPGRADE,
	FRAMER_WEBSOCKET,
	FRAMER_WEBSOCKET_SCAN,
	FRAMER_MODES,
};

/* A step's result: another mode, look again. */
#define STEP_AGAIN SIZE_MAX

/* RFC 6455, section 5.2. */
enum {
	ET_WS_CONTINUE = 0,
	ET_WS_TEXT = 1,
	ET_WS_BINARY = 2,
	ET_WS_CLOSE = 8, /* it and what is above: control */
	ET_WS_PING = 9,
	ET_WS_PONG = 10,
};

struct et_ws_frame {
	uint64_t size;	/* of the payload */
	uint32_t head;	/* bytes before it */
	uint8_t opcode; /* one of those above */
	uint8_t rsv;	/* bits 4, 2, 1; 4: compressed */
	bool fin;
	bool masked;
	uint8_t mask[4];
};

/* The frame at the front: 1; 0: its header needs more bytes; -1: it is none. */
int et_ws_frame(const uint8_t *data, size_t size, struct et_ws_frame *ret);

/* The first `size` bytes of its payload, in place. */
void et_ws_unmask(const struct et_ws_frame *frame, uint8_t *payload, size_t size);

#endif
