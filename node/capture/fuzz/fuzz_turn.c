/* STUN and TURN: datagrams between two clients and a server, each behind a byte of length and one
 * that says between whom it goes. What is found inside is inside of the datagram. */
#include <stdlib.h>

#include "node/capture/turn_internal.h"
#include "node/rtp/rtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct et_packet *p, const struct et_packet *inside)
{
	const uint8_t *end = p->payload + p->size;
	if (inside->size == 0 || inside->payload < p->payload || inside->payload > end ||
	    inside->size > (size_t)(end - inside->payload)) {
		abort();
	}
}

/* Bit 0: from the server; 1-2: which client. */
static void datagram(struct et_turn *t, uint8_t whose, const uint8_t *data, uint32_t size)
{
	struct et_packet inside;
	struct et_packet p = {
		.src = { [10] = 0xFF, [11] = 0xFF, 192, 0, 2, 1 },
		.dst = { [10] = 0xFF, [11] = 0xFF, 192, 0, 2, 2 },
		.sport = (uint16_t)(whose & 1 ? 3478 : 40000 + (whose >> 1 & 3)),
		.dport = (uint16_t)(whose & 1 ? 40000 + (whose >> 1 & 3) : 3478),
		.payload = data,
		.size = size,
	};
	p.src[15] = whose & 1 ? 2 : 1;
	p.dst[15] = whose & 1 ? 1 : 2;
	bool found = et_rtp_classify(data, size) == ET_RTP_KIND_STUN
			     ? et_turn_stun(t, &p, &inside)
			     : et_turn_channel(t, &p, &inside);
	if (found) {
		look(&p, &inside);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_turn *t = et_turn_new(2, 0);
	struct et_reader r = et_reader_of(data, size);

	if (t == NULL) {
		abort();
	}
	while (et_reader_left(&r) >= 2) {
		size_t n = et_read8(&r);
		uint8_t whose = et_read8(&r);
		n = n < et_reader_left(&r) ? n : et_reader_left(&r);
		/* Of its own, so that a read behind it is seen. */
		uint8_t *copy = malloc(n == 0 ? 1 : n);
		const uint8_t *bytes = et_read_bytes(&r, n);
		if (copy == NULL || bytes == NULL) {
			abort();
		}
		memcpy(copy, bytes, n);
		datagram(t, whose, copy, (uint32_t)n);
		free(copy);
	}
	(void)et_turn_free(t);
	return 0;
}
