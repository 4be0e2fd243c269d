/* The messages of RFC 4475 (node/sip/test/torture) through the engine, as datagrams and over TCP:
 * an INVITE begins a call, and nothing else does; each packet is counted once; calls beside them
 * live. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node/capture/test/sink.h"

enum { TEXT_SIZE_MAX = 8192, SEGMENT = 700 };

/* Those that begin a call. All others begin none: other methods, no Call-ID, no SIP/2.0. */
static const struct {
	const char *name;
	const char *from;
	const char *to;
	uint32_t addresses; /* that its description names */
	bool datagram;	    /* as one, too; else over TCP only */
	bool stream;
} calls[] = {
	{ "wsinv", "jdrosen", "vivekg", 2, true, true },
	{ "esc01", "I have spaces", "user", 2, true, true },
	{ "longreq", "amazinglylongcallernameamazinglylongcallernameamazinglylongcall", "user", 2,
	  true, true },
	{ "dblreq", "caller", "joe", 1, false, true }, /* its m= of video is none: "m =" */
	{ "unreason", "user", "user", 2, true, true }, /* joined in its middle, as the next two */
	{ "noreason", "user", "user", 0, true, true },
	{ "bcast", "user", "user", 2, true, true },
	{ "badinv01", "caller", "j.user", 2, true, true },
	{ "clerr", "caller", "j.user", 2, true, false }, /* a stream waits for the rest */
	{ "ncl", "caller", "j.user", 2, true, true },
	{ "quotbal", "caller", "j.user", 2, true, true },
	{ "ltgtruri", "caller", "user", 2, true, true },
	{ "lwsruri", "caller", "user", 2, true, true },
	{ "lwsstart", "caller", "user", 2, true, true },
	{ "escruri", "caller", "user", 2, true, true },
	{ "baddate", "caller", "user", 2, true, true },
	{ "invut", "caller", "j.user", 0, true, true },
	{ "multi01", "caller", "user", 2, true, true },
	{ "sdp01", "caller", "j_user", 2, true, true },
	{ "inv2543", "+13035551111", "+16505552222", 1, true, true },
};

struct fixture {
	struct et_engine *engine;
	struct et_capture_config config;
	int64_t now_us;
	char paths[64][64];
	uint32_t count;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	glob_t found;
	assert_non_null(f);
	f->now_us = 1700000000000000LL;
	assert_int_equal(glob("../../sip/test/torture/*", 0, NULL, &found), 0);
	assert_int_equal(found.gl_pathc, 49);
	for (; f->count < found.gl_pathc; f->count++) {
		(void)snprintf(f->paths[f->count], sizeof(f->paths[0]), "%s",
			       found.gl_pathv[f->count]);
	}
	globfree(&found);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static void begin(struct fixture *f)
{
	struct et_sink sink = sink_of(f);
	struct et_engine_config config = {
		.capture = &f->config,
		.sink = &sink,
		.deterministic = true,
	};
	assert_int_equal(et_engine_new(&config, &f->engine, NULL), 0);
}

static void end(struct fixture *f)
{
	et_engine_finish(f->engine, true);
	assert_each_counted_once(f->engine);
	assert_int_equal(f->engine->packets.pending, 0);
	assert_int_equal(f->engine->call_count, 0);
	f->engine = et_engine_free(f->engine);
}

static size_t load(const char *path, uint8_t ret[TEXT_SIZE_MAX])
{
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	size_t size = fread(ret, 1, TEXT_SIZE_MAX, file);
	(void)fclose(file);
	assert_true(size > 0 && size < TEXT_SIZE_MAX);
	return size;
}

/* What was begun is what the table says. */
static void check(const struct fixture *f, const char *path, bool stream)
{
	const char *name = strrchr(path, '/') + 1;
	for (size_t i = 0; i < ET_ARRAY_SIZE(calls); i++) {
		if (strcmp(calls[i].name, name) != 0 ||
		    !(stream ? calls[i].stream : calls[i].datagram)) {
			continue;
		}
		const struct et_call *c = f->engine->slots[0];
		if (f->engine->call_count != 1) {
			fail_msg("%s: %u calls", name, f->engine->call_count);
		}
		assert_string_equal(c->facts.from, calls[i].from);
		assert_string_equal(c->facts.to, calls[i].to);
		assert_int_equal(c->endpoint_count, calls[i].addresses);
		return;
	}
	if (f->engine->call_count != 0) {
		fail_msg("%s: it begins a call", name);
	}
}

static void as_datagrams(void **state)
{
	struct fixture *f = *state;
	uint8_t text[TEXT_SIZE_MAX];
	for (uint32_t i = 0; i < f->count; i++) {
		size_t size = load(f->paths[i], text);
		const char *name = strrchr(f->paths[i], '/') + 1;
		bool is_sip = strcmp(name, "badvers") != 0 && strcmp(name, "bigcode") != 0;
		begin(f);
		engine_datagram_at(f->engine, f->now_us, 1, 5060, 2, 5060, text, size);
		check(f, f->paths[i], false);
		assert_int_equal(f->engine->packets.sip, is_sip);
		assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_MALFORMED_SIP], !is_sip);
		end(f);
	}
}

/* In segments of SEGMENT bytes, behind a SYN. */
static void send_stream(struct fixture *f, uint16_t port, const uint8_t *data, size_t size)
{
	for (size_t at = 0; at <= size; at += SEGMENT) {
		bool syn = at == 0;
		for (int turn = syn ? 0 : 1; turn < 2; turn++) {
			uint8_t p[40 + SEGMENT] = { 0x45 };
			size_t n = turn == 0 ? 0 : size - at < SEGMENT ? size - at : SEGMENT;
			et_put16(p + 2, (uint16_t)(40 + n));
			p[8] = 64;
			p[9] = 6;
			et_put32(p + 12, 0x0A000001U);
			et_put32(p + 16, 0x0A000002U);
			et_put16(p + 20, port);
			et_put16(p + 22, 5060);
			et_put32(p + 24, turn == 0 ? 1000 : (uint32_t)(1001 + at));
			p[32] = 5 << 4;
			p[33] = turn == 0 ? 2 : 16;
			memcpy(p + 40, data + at, n);
			struct et_frame frame = {
				.link_type = DLT_RAW,
				.time_us = f->now_us,
				.data = p,
				.size = (uint32_t)(40 + n),
				.wire_size = (uint32_t)(40 + n),
			};
			et_engine_frame(f->engine, &frame);
			assert_each_counted_once(f->engine);
			f->now_us += 100;
		}
	}
}

static void over_tcp(void **state)
{
	struct fixture *f = *state;
	uint8_t text[TEXT_SIZE_MAX];
	for (uint32_t i = 0; i < f->count; i++) {
		size_t size = load(f->paths[i], text);
		begin(f);
		send_stream(f, 30000, text, size);
		check(f, f->paths[i], true);
		end(f);
	}
}

/* All of them between the messages of a call, from its own addresses, which suffers nothing. */
static void a_call_among_them_is_whole(void **state)
{
	static const char *const messages[] = {
		"INVITE sip:b@x SIP/2.0\r\nFrom: <sip:a@x>;tag=a\r\nTo: <sip:b@x>\r\nCall-ID: "
		"good\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 "
		"10.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\n",
		"SIP/2.0 200 OK\r\nFrom: <sip:a@x>;tag=a\r\nTo: <sip:b@x>;tag=b\r\nCall-ID: "
		"good\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 "
		"10.0.0.2\r\nm=audio 4000 RTP/AVP 0\r\n",
	};
	struct fixture *f = *state;
	uint8_t text[TEXT_SIZE_MAX];
	uint8_t rtp[172] = { 0x80, 0 };
	begin(f);
	for (uint32_t m = 0; m < 2; m++) {
		engine_datagram_at(f->engine, f->now_us, (uint8_t)(1 + m), 5060, (uint8_t)(2 - m),
				   5060, messages[m], strlen(messages[m]));
	}
	for (uint32_t i = 0; i < f->count; i++) {
		size_t size = load(f->paths[i], text);
		engine_datagram_at(f->engine, f->now_us, 1, 5060, 2, 5060, text, size);
		send_stream(f, (uint16_t)(30000 + i), text, size);
		et_put16(rtp + 2, (uint16_t)i);
		et_put32(rtp + 4, i * 160);
		engine_datagram_at(f->engine, f->now_us, 1, 4000, 2, 4000, rtp, sizeof(rtp));
	}
	const struct et_call *good =
		et_call_find(f->engine, (struct et_view){ (const uint8_t *)"good", 4 });
	assert_non_null(good);
	assert_true(good->answered && !good->ended);
	assert_int_equal(good->stream_count, 1);
	assert_int_equal(good->streams->source.packets, 49);
	assert_int_equal(f->engine->call_count, 1 + ET_ARRAY_SIZE(calls));
	end(f);
}

/* ---- A flood --------------------------------------------------------------------------------- */

enum { GOOD = 200, FLOOD = 50000, TICKS = 50 };

struct flood {
	struct fixture *f;
	uint64_t random;
	uint64_t media; /* of good calls, that reached the sink */
	uint8_t texts[64][TEXT_SIZE_MAX];
	size_t sizes[64];
};

static int take_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
		      const struct et_packet *packet)
{
	struct flood *x = arg;
	(void)slot;
	(void)stream;
	(void)rtp;
	(void)packet;
	x->media++;
	return 0;
}

/* SplitMix64 */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15U;
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
	return z ^ (z >> 31);
}

static void good_calls(struct flood *x)
{
	for (uint32_t i = 0; i < GOOD; i++) {
		for (uint32_t m = 0; m < 2; m++) {
			char text[400];
			int n = snprintf(text, sizeof(text),
					 "%s\r\nFrom: <sip:a@x>;tag=a\r\nTo: <sip:b@x>%s\r\n"
					 "Call-ID: good%u\r\nCSeq: 1 INVITE\r\nContent-Type: "
					 "application/sdp\r\n\r\nv=0\r\nc=IN IP4 10.0.0.%u\r\n"
					 "m=audio %u RTP/AVP 0\r\n",
					 m == 0 ? "INVITE sip:b@x SIP/2.0" : "SIP/2.0 200 OK",
					 m == 0 ? "" : ";tag=b", i, m + 1, 4000 + 2 * i);
			engine_datagram_at(x->f->engine, x->f->now_us, (uint8_t)(1 + m), 5060,
					   (uint8_t)(2 - m), 5060, text, (size_t)n);
		}
	}
}

/* A torture message with some of its bytes changed; each third with a Call-ID of its own. */
static void hostile(struct flood *x, uint32_t number)
{
	uint8_t text[TEXT_SIZE_MAX];
	uint32_t which = (uint32_t)(next(&x->random) % x->f->count);
	size_t size = x->sizes[which];
	memcpy(text, x->texts[which], size);
	for (uint32_t i = (uint32_t)(next(&x->random) % 4); i > 0; i--) {
		text[next(&x->random) % size] = (uint8_t)next(&x->random);
	}
	if (number % 3 == 0) {
		size = (size_t)snprintf((char *)text, sizeof(text),
					"INVITE sip:b@x SIP/2.0\r\nCall-ID: evil%u\r\nCSeq: 1 "
					"INVITE\r\nContent-Length: -1\r\n\r\nv=0",
					number);
	}
	engine_datagram_at(x->f->engine, x->f->now_us, 66, 5060, (uint8_t)(1 + number % 2), 5060,
			   text, size);
}

/* Two seconds of 200 calls, and 50,000 messages a second beside them, which also fill the table. */
static void a_flood_of_malformed_messages_costs_no_packet(void **state)
{
	struct fixture *f = *state;
	struct flood *x = calloc(1, sizeof(*x));
	assert_non_null(x);
	x->f = f;
	for (uint32_t i = 0; i < f->count; i++) {
		x->sizes[i] = load(f->paths[i], x->texts[i]);
	}
	struct et_sink sink = sink_of(x);
	sink.media = take_media;
	struct et_engine_config config = {
		.capture = &f->config,
		.sink = &sink,
		.deterministic = true,
	};
	assert_int_equal(et_engine_new(&config, &f->engine, NULL), 0);
	good_calls(x);
	struct timespec from;
	struct timespec to;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	for (uint32_t tick = 0; tick < 2 * TICKS; tick++) {
		for (uint32_t i = 0; i < GOOD; i++) {
			uint16_t port = (uint16_t)(4000 + 2 * i);
			uint8_t rtp[172] = { 0x80, 0 };
			et_put16(rtp + 2, (uint16_t)tick);
			et_put32(rtp + 4, tick * 160);
			et_put32(rtp + 8, i);
			engine_datagram_at(f->engine, f->now_us, 1, port, 2, port, rtp,
					   sizeof(rtp));
			engine_datagram_at(f->engine, f->now_us, 2, port, 1, port, rtp,
					   sizeof(rtp));
			for (uint32_t k = 0; k < FLOOD / TICKS / GOOD; k++) {
				hostile(x, (tick * GOOD + i) * (FLOOD / TICKS / GOOD) + k);
			}
		}
		f->now_us += 20000;
	}
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	assert_int_equal(x->media, 2 * GOOD * 2 * TICKS);
	assert_int_equal(f->engine->packets.rtp, x->media);
	assert_int_equal(f->engine->media_dropped, 0);
	assert_true(f->engine->calls_refused_limit > 0);
	for (uint32_t i = 0; i < GOOD; i++) {
		char id[16];
		int n = snprintf(id, sizeof(id), "good%u", i);
		const struct et_call *c =
			et_call_find(f->engine, (struct et_view){ (const uint8_t *)id, (size_t)n });
		assert_non_null(c);
		assert_int_equal(c->stream_count, 2);
		assert_true(c->answered && !c->ended);
	}
	print_message("%u messages and %llu packets of %u calls in 2 s: %.0f ms of CPU\n",
		      2 * FLOOD, (unsigned long long)x->media, GOOD,
		      (double)(to.tv_sec - from.tv_sec) * 1e3 +
			      (double)(to.tv_nsec - from.tv_nsec) / 1e6);
	end(f);
	free(x);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(as_datagrams),
		TEST(over_tcp),
		TEST(a_call_among_them_is_whole),
		TEST(a_flood_of_malformed_messages_costs_no_packet),
	};
	return cmocka_run_group_tests_name("node/capture/torture", tests, NULL, NULL);
}
