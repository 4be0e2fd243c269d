/* A look ahead changes nothing: the same packets, in the same order, whatever the batches are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/engine_kit.h"

enum { AHEAD_FRAMES = 600, AHEAD_FRAME_MAX = 14 + 4 + 20 + 8 + 12 + 160 };

/* Which packets a sink got, in which order. */
struct told {
	struct et_engine *engine;
	uint64_t media;
	uint64_t closed;
	uint64_t trace;
	uint64_t ahead[ET_SINK_STEPS];
};

static int told_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
		      const struct et_packet *packet)
{
	struct told *t = arg;
	(void)packet;
	t->media++;
	t->trace = t->trace * 31 + slot * 7 + stream * 3 + rtp->sequence;
	return 0;
}

static int told_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
		      const struct et_capture_stream *streams, uint32_t count)
{
	struct told *t = arg;
	(void)opened;
	(void)facts;
	(void)streams;
	t->closed++;
	t->trace = t->trace * 31 + slot + count;
	return 0;
}

static void told_ahead(void *arg, uint32_t slot, uint32_t stream, int step)
{
	struct told *t = arg;
	assert_non_null(t->engine->slots[slot]);
	assert_true(stream < t->engine->slots[slot]->stream_count);
	t->ahead[step]++;
}

/* RTP of one of 20 flows over Ethernet, some with a VLAN; some cut off. In memory of its size. */
static struct et_frame flow_frame(uint32_t n)
{
	const uint32_t flow = n % 20;
	const bool vlan = flow % 3 == 1;
	uint8_t *p = calloc(1, AHEAD_FRAME_MAX);
	uint8_t *ip = p + (vlan ? 18 : 14);

	assert_non_null(p);
	et_put16(p + 12, vlan ? 0x8100 : 0x0800);
	et_put16(ip - 2, 0x0800);
	ip[0] = 0x45;
	et_put16(ip + 2, 200);
	ip[8] = 64;
	ip[9] = 17;
	et_put32(ip + 12, 0x0A000001U + flow);
	et_put32(ip + 16, 0x0B000001U + flow);
	et_put16(ip + 20, 4000);
	et_put16(ip + 22, 5000);
	et_put16(ip + 24, 180);
	ip[28] = 0x80;
	et_put16(ip + 30, (uint16_t)(n / 20));
	et_put32(ip + 32, n / 20 * 160);
	et_put32(ip + 36, 0xABC0 + flow);
	struct et_frame frame = {
		.link_type = DLT_EN10MB,
		.time_us = INT64_C(1700000000000000) + n / 20 * 200000 +
			   (n > 400 ? INT64_C(90000000) : 0), /* calls end in the middle */
		.size = n % 37 == 5 ? n % 90 : (uint32_t)(ip - p) + 200,
		.wire_size = (uint32_t)(ip - p) + 200,
	};
	frame.data = realloc(p, frame.size > 0 ? frame.size : 1);
	assert_non_null(frame.data);
	return frame;
}

static void told_run(struct told *t, const struct et_frame *frames, size_t batch)
{
	const struct et_capture_config capture = { .limits.media_only_timeout_s = 30 };
	struct et_sink sink = sink_of(t);
	const struct et_engine_config config = { .capture = &capture,
						 .sink = &sink,
						 .deterministic = true };
	sink.media = told_media;
	sink.close = told_close;
	sink.ahead = told_ahead;
	assert_int_equal(et_engine_new(&config, &t->engine, NULL), 0);
	for (size_t at = 0; at < AHEAD_FRAMES; at += batch) {
		const size_t left = AHEAD_FRAMES - at;
		if (batch == 1) {
			et_engine_frame(t->engine, &frames[at]);
		} else {
			et_engine_frames(t->engine, frames + at, left < batch ? left : batch);
		}
	}
	et_engine_finish(t->engine, true);
	assert_each_counted_once(t->engine);
}

static void a_look_ahead_changes_nothing(void **state)
{
	static const size_t batches[] = { 2, 16, 17, AHEAD_FRAMES };
	struct et_frame frames[AHEAD_FRAMES];
	struct told one = { .media = 0 };

	(void)state;
	for (uint32_t n = 0; n < AHEAD_FRAMES; n++) {
		frames[n] = flow_frame(n);
	}
	told_run(&one, frames, 1);
	assert_int_equal(one.ahead[0], 0);
	assert_true(one.media > AHEAD_FRAMES / 2);
	assert_true(one.closed >= 40); /* 20 before the silence, 20 after it */
	for (size_t i = 0; i < ET_ARRAY_SIZE(batches); i++) {
		struct told t = { .media = 0 };
		told_run(&t, frames, batches[i]);
		assert_int_equal(t.media, one.media);
		assert_int_equal(t.closed, one.closed);
		assert_int_equal(t.trace, one.trace);
		assert_memory_equal(&t.engine->packets, &one.engine->packets,
				    sizeof(one.engine->packets));
		assert_true(t.ahead[0] > 0); /* It did look. */
		assert_int_equal(t.ahead[ET_SINK_STEPS - 1], t.ahead[0]);
		et_engine_free(t.engine);
	}
	et_engine_free(one.engine);
	for (uint32_t n = 0; n < AHEAD_FRAMES; n++) {
		free((void *)(uintptr_t)frames[n].data);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_look_ahead_changes_nothing),
	};
	return cmocka_run_group_tests_name("node/capture/ahead", tests, NULL, NULL);
}
