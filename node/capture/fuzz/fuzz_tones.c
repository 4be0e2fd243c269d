/* Key presses that are dropped (tones.c): packets of a call of G.711, of whatever timestamps,
 * sizes, types and times. Each of them comes out once, in the order in which it came; of its bytes,
 * those of samples are silence or as they were, all others are as they were; what is held is
 * bounded.
 *
 * input := operation*
 * operation := what 1 | timestamp's step 2 | size 1 | ms 1 | samples: a pattern 1 */
#include <stdlib.h>
#include <string.h>

#include "node/capture/fuzz/again.h"
#include "node/capture/test/sink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SENT = 256, BYTES = 1500 };

static struct {
	uint32_t sent;
	uint32_t came;
	struct {
		uint32_t size;
		uint8_t bytes[BYTES];
	} packets[SENT];
} tape;

static int take_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
		      const struct et_packet *p)
{
	(void)arg;
	(void)slot;
	(void)stream;
	if (tape.came >= tape.sent || p->size != tape.packets[tape.came].size) {
		abort();
	}
	const uint8_t *was = tape.packets[tape.came++].bytes;
	for (uint32_t i = 0; i < p->size; i++) {
		const bool sample = p->payload + i >= rtp->payload &&
				    p->payload + i < rtp->payload + rtp->payload_size;
		const bool silent = (rtp->payload_type == 0 && p->payload[i] == 0xFF) ||
				    (rtp->payload_type == 8 && p->payload[i] == 0xD5);
		if (p->payload[i] != was[i] && !(sample && silent)) {
			abort();
		}
	}
	return 0;
}

static struct et_engine *make(void)
{
	static const struct et_rules rules = { .otherwise = ET_RULE_RECORD,
					       .tones = ET_RULE_TONES_DROP };
	struct et_sink sink = sink_of(NULL);
	struct et_capture_config capture = {
		.rules = &rules,
		.limits = { .calls = 4,
			    .streams = 16,
			    .fragments = 4,
			    .tcp_connections = 4,
			    .turn_allocations = 4 },
	};
	struct et_engine_config config = { .capture = &capture,
					   .sink = &sink,
					   .deterministic = true };
	struct et_engine *e = NULL;
	sink.media = take_media;
	if (et_engine_new(&config, &e, NULL) < 0) {
		abort();
	}
	return e;
}

static void datagram(struct et_engine *e, int64_t now_us, uint16_t port, const void *bytes,
		     size_t size)
{
	engine_datagram_at(e, now_us, 1, port, 2, port, bytes, size);
}

static void invite(struct et_engine *e, int64_t now_us)
{
	static const char text[] =
		"INVITE sip:b@x SIP/2.0\r\nFrom: <sip:a@x>;tag=a\r\nTo: <sip:b@x>\r\nCall-ID: 1\r\n"
		"CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 129\r\n\r\n"
		"v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 0 8 9 101\r\n"
		"a=rtpmap:101 telephone-event/8000\r\na=ssrc:10 cname:a\r\na=x-much-longer:1\r\n";
	datagram(e, now_us, 5060, text, sizeof(text) - 1);
}

/* One packet; its samples are two tones, noise, or one value. */
static void rtp(struct et_engine *e, int64_t now_us, uint32_t timestamp, uint32_t size,
		uint8_t what, uint8_t pattern)
{
	static const uint8_t types[] = { 0, 8, 0, 8, 0, 101, 9, 13 };
	uint8_t *p = tape.packets[tape.sent].bytes;
	uint32_t n = 12;
	p[0] = 0x80;
	p[1] = types[what & 7];
	et_put16(p + 2, (uint16_t)tape.sent);
	et_put32(p + 4, timestamp);
	et_put32(p + 8, 10);
	if ((what & 8) != 0) { /* an extension */
		p[0] = 0x90;
		et_put32(p + 12, 0xBEDE0001);
		et_put32(p + 16, 0x10FF0000U | pattern);
		n = 20;
	}
	for (uint32_t i = 0; i < size; i++) {
		const uint32_t at = timestamp + i;
		/* Squares of about 800 and 1333 Hz, or of other tones. */
		const bool high = at / (3 + (pattern & 3)) % 2 != at / (5 + (pattern >> 2 & 3)) % 2;
		p[n + i] = (what & 16) != 0   ? (uint8_t)(at * 2654435761U >> 24)
			   : (what & 32) != 0 ? pattern
			   : high	      ? 0x20
					      : 0xA0;
	}
	tape.packets[tape.sent].size = n + size;
	tape.sent++;
	datagram(e, now_us, 4000, p, n + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct et_engine *e;
	struct et_reader r = et_reader_of(data, size);
	int64_t now_us = 1700000000000000LL;
	uint32_t timestamp = 4000000000U;

	e = e != NULL ? e : make();
	tape.sent = tape.came = 0;
	invite(e, now_us);
	while (et_reader_left(&r) >= 6 && tape.sent < SENT) {
		const uint8_t what = et_read8(&r);
		const uint16_t step = et_read16(&r);
		const uint32_t length = et_read8(&r) * (what >> 6 == 3 ? 5U : 1U);
		const uint8_t ms = et_read8(&r);
		const uint8_t pattern = et_read8(&r);
		now_us += ms * 1000;
		timestamp += (uint32_t)(int16_t)step;
		if (what >> 6 == 2) {
			et_engine_clock(e, now_us + 400000);
			now_us += 400000;
		}
		rtp(e, now_us, timestamp, length, what, pattern);
		if (tape.sent - tape.came > 64 ||
		    et_capture_counted(&e->packets) != e->packets.total) {
			abort();
		}
	}
	et_engine_again(e, 4);
	if (tape.came != tape.sent) {
		abort();
	}
	return 0;
}
