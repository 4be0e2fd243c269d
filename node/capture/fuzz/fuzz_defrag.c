/* IP reassembly, beside a model of it. Four bytes make a fragment: whose it is and how much time
 * has passed; its offset; its size. What stands at a place of a datagram follows from the place, so
 * a datagram that comes out has to be that, in full. Each fragment is counted once. */
#include <stdlib.h>

#include "node/capture/engine_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IDS = 8, PACKET_MAX = 65535, PIECE_MAX = 255 * 8 + 7, STEP_US = 900000 };

/* What is to come out of the datagrams with each id. */
static uint8_t contents[IDS][PACKET_MAX + PIECE_MAX];

static void fill_contents(void)
{
	for (uint32_t id = 0; id < IDS; id++) {
		for (uint32_t i = 0; i < sizeof(contents[id]); i++) {
			contents[id][i] = (uint8_t)(i * 31 + (i >> 8) * 7 + id);
		}
	}
}

/* Bits 0-2: id; 3: more follow; 4: far out; 5: another protocol; 6-7: time. */
static void add(struct et_defrag *d, const uint8_t op[4], int64_t now_us,
		struct et_capture_packets *packets)
{
	struct et_fragment f = {
		.id = op[0] & 7U,
		.more = (op[0] & 8) != 0,
		.offset = op[1] * 8U * ((op[0] & 16) != 0 ? 32 : 1),
		.protocol = (op[0] & 32) != 0 ? 6 : 17,
		.size = op[2] * 8U + (op[3] & 7U),
		.time_us = now_us,
	};
	struct et_view whole;
	/* Of its own, so that a read behind it is seen. */
	uint8_t *copy = malloc(f.size == 0 ? 1 : f.size);
	if (copy == NULL) {
		abort();
	}
	memcpy(copy, contents[f.id] + f.offset, f.size);
	f.data = copy;
	packets->total++;
	if (et_defrag_add(d, &f, &whole, packets)) {
		packets->sip++; /* the last piece is counted by who gets the datagram */
		if (whole.size == 0 || whole.size > PACKET_MAX ||
		    memcmp(whole.data, contents[f.id], whole.size) != 0) {
			abort();
		}
	}
	free(copy);
	if (et_capture_counted(packets) != packets->total) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct et_defrag *defrag;
	struct et_capture_packets packets = { .total = 0 };
	int64_t now_us = 1700000000000000;

	if (defrag == NULL) {
		defrag = et_defrag_new(4, 0);
		fill_contents();
	}
	for (size_t at = 0; at + 4 <= size; at += 4) {
		now_us += (int64_t)(data[at] >> 6) * STEP_US;
		add(defrag, data + at, now_us, &packets);
	}
	et_defrag_expire(defrag, now_us, true, &packets);
	if (packets.pending != 0 || et_capture_counted(&packets) != packets.total) {
		abort();
	}
	return 0;
}
