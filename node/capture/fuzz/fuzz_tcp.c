/* TCP reassembly: segments of two connections, in any order, with gaps, overlaps and forged flags.
 * A segment has eight bytes of its own before its payload: whose it is and its flags, the time that
 * has passed, how far it is from where its direction is, what it acknowledges, its length. Each is
 * counted once, what waits stays in its bounds, and nothing waits at the end. The key log has
 * secrets for the client random of all zeros, so that TLS is read too. */
#include <stdio.h>
#include <stdlib.h>

#include "node/capture/fuzz/again.h"
#include "node/capture/test/sink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TCP_BYTES = 4096, HEAD = 8, STEP_US = 20000, FAR = 3 << 20 };

static void add_secret(struct et_keylog *k, const char *label, int digits)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "%s %064d %0*d\n", label, 0, digits, 0);
	if (n < 0 || et_keylog_add(k, line, (size_t)n) < 0) {
		abort();
	}
}

static struct et_engine *make(void)
{
	static struct et_rules none = { .otherwise = ET_RULE_SKIP };
	struct et_capture_config capture = {
		.rules = &none,
		.limits = {
			.calls = 4,
			.streams = 4,
			.candidates = 4,
			.fragments = 4,
			.tcp_connections = 3,
			.turn_allocations = 4,
			.tcp_message_bytes = 1024,
			.tcp_bytes = TCP_BYTES,
		},
	};
	struct et_sink sink = sink_of(NULL);
	struct et_keylog *keylog = NULL;
	struct et_engine *e = NULL;

	if (et_keylog_new(16, 0, &keylog, NULL) < 0) {
		abort();
	}
	add_secret(keylog, "CLIENT_RANDOM", 96);
	add_secret(keylog, "CLIENT_TRAFFIC_SECRET_0", 64);
	add_secret(keylog, "SERVER_TRAFFIC_SECRET_0", 64);
	add_secret(keylog, "SERVER_HANDSHAKE_TRAFFIC_SECRET", 64);
	struct et_engine_config config = {
		.capture = &capture, .sink = &sink, .keylog = keylog, .deterministic = true
	};
	if (et_engine_new(&config, &e, NULL) < 0) {
		abort();
	}
	return e;
}

/* Where each direction of each connection is. */
struct ends {
	uint32_t next[4][2];
};

/* Bits of the first byte: 0 direction, 1-2 connection, 3 SYN, 4 FIN, 5 RST, 6 ACK, 7 cut by the
 * snapshot length. A distance of INT16_MIN: far away. */
static void segment(struct et_engine *e, struct ends *ends, const uint8_t head[HEAD],
		    const uint8_t *payload, uint32_t size)
{
	int side = head[0] & 1;
	int which = head[0] >> 1 & 3;
	uint32_t *next = &ends->next[which][side];
	int16_t away = (int16_t)et_get16(head + 2);
	struct et_packet p = {
		.time_us = e->now_us + head[1] * (int64_t)STEP_US,
		.sport = (uint16_t)(side == 0 ? 40000 + which : 5060),
		.dport = (uint16_t)(side == 0 ? 5060 : 40000 + which),
		.payload = payload,
		.size = size,
		.is_tcp = true,
		.is_cut = (head[0] & 128) != 0,
		.tcp_flags = (uint8_t)((head[0] & 8) >> 2 | (head[0] & 16) >> 4 |
				       (head[0] & 32) >> 3 | (head[0] & 64) >> 2),
		.seq = *next + (away == INT16_MIN ? FAR : (uint32_t)away),
		.ack = ends->next[which][1 - side] + et_get16(head + 4) - INT16_MAX,
	};
	p.src[15] = (uint8_t)side;
	p.dst[15] = (uint8_t)(1 - side);
	et_engine_arrival(e, p.time_us);
	et_tcp_packet(e, &p, which != 3);
	*next = p.seq + size + ((head[0] & 8) != 0 ? 1 : 0);
	if (et_capture_counted(&e->packets) != e->packets.total ||
	    et_tcp_held(e->tcp) > TCP_BYTES) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct et_engine *e;
	struct ends ends = { .next = { { 1, UINT32_MAX - 100 } } };
	struct et_reader r = et_reader_of(data, size);

	if (e == NULL) {
		e = make();
	}
	et_engine_clock(e, 1700000000000000);
	while (et_reader_left(&r) >= HEAD) {
		const uint8_t *head = et_read_bytes(&r, HEAD);
		size_t n = et_get16(head + 6) % 2048;
		n = n < et_reader_left(&r) ? n : et_reader_left(&r);
		/* Of its own, so that a read behind it is seen. */
		uint8_t *copy = malloc(n == 0 ? 1 : n);
		const uint8_t *bytes = et_read_bytes(&r, n);
		if (copy == NULL || bytes == NULL) {
			abort();
		}
		memcpy(copy, bytes, n);
		segment(e, &ends, head, copy, (uint32_t)n);
		free(copy);
	}
	et_engine_finish(e, true);
	if (e->packets.pending != 0 || et_tcp_held(e->tcp) != 0 ||
	    et_capture_counted(&e->packets) != e->packets.total) {
		abort();
	}
	et_engine_again(e, 4);
	return 0;
}
