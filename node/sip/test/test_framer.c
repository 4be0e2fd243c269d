/* Messages out of streams: cut anywhere, several in one piece, lost pieces, wrong lengths;
 * WebSocket upgraded, joined in the middle, masked, in fragments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/sip/framer.h"

struct fixture {
	struct et_framer f;
	struct et_framer_counts counts;
	uint32_t count;
	char last[4096]; /* the message that came last */
	char all[65536]; /* all of them */
	size_t all_size;
};

static int set_up(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	assert_non_null(x);
	x->f.message_max = 1024;
	x->f.counts = &x->counts;
	*state = x;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *x = *state;
	assert_int_equal(x->counts.messages, x->count);
	et_framer_release(&x->f);
	assert_int_equal(et_framer_held(&x->f), 0);
	free(x);
	return 0;
}

static void on_message(void *arg, struct et_view m)
{
	struct fixture *x = arg;
	x->count++;
	assert_true(m.size < sizeof(x->last) && x->all_size + m.size < sizeof(x->all));
	memcpy(x->last, m.data, m.size);
	x->last[m.size] = '\0';
	memcpy(x->all + x->all_size, m.data, m.size);
	x->all_size += m.size;
}

/* A copy of exactly that size: a read behind it is seen. */
static unsigned feed(struct fixture *x, const void *data, size_t size)
{
	uint8_t *copy = malloc(size == 0 ? 1 : size);
	assert_non_null(copy);
	memcpy(copy, data, size);
	unsigned flags = et_framer_feed(&x->f, copy, size, on_message, x);
	free(copy);
	return flags;
}

static unsigned text(struct fixture *x, const char *s)
{
	return feed(x, s, strlen(s));
}

#define INVITE "INVITE sip:b@x SIP/2.0\r\nVia: SIP/2.0/TCP a\r\nCall-ID: 1\r\nl: 5\r\n\r\nv=0\r\n"
#define TRYING "SIP/2.0 100 Trying\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n"

static void a_message_may_be_cut_anywhere(void **state)
{
	struct fixture *x = *state;
	static const char stream[] = INVITE TRYING "\r\n\r\n" INVITE;
	for (size_t at = 1; at < sizeof(stream) - 1; at++) {
		(void)feed(x, stream, at);
		(void)feed(x, stream + at, sizeof(stream) - 1 - at);
		assert_int_equal(x->count, 3 * at);
		assert_string_equal(x->last, INVITE);
		assert_int_equal(et_framer_held(&x->f), 0);
		x->all_size = 0;
	}
	uint32_t before = x->count;
	for (size_t i = 0; i < sizeof(stream) - 1; i++) { /* byte by byte */
		(void)feed(x, stream + i, 1);
	}
	assert_int_equal(x->count, before + 3);
	assert_int_equal(x->counts.resyncs, 0);
	assert_int_equal(x->counts.cut, 0);
}

static void empty_lines_between_messages_are_keepalives(void **state)
{
	struct fixture *x = *state;
	assert_int_equal(text(x, "\r\n\r\n"), ET_FRAMED_KEEPALIVE);
	assert_int_equal(text(x, INVITE), ET_FRAMED_MESSAGE);
	assert_int_equal(text(x, "\r\n"), ET_FRAMED_KEEPALIVE);
	assert_int_equal(text(x, "\r\n" TRYING), ET_FRAMED_KEEPALIVE | ET_FRAMED_MESSAGE);
	assert_int_equal(x->count, 2);
}

static void a_stream_joined_in_its_middle_is_found_at_a_start_line(void **state)
{
	struct fixture *x = *state;
	/* "SIP/2.0" stands in a Via too, and a line that is cut at the end is not lost. */
	assert_int_equal(text(x, "ia: SIP/2.0/TCP b\r\nVia: SIP/2.0/TCP a\r\n\r\nbody\r\nSIP/"),
			 ET_FRAMED_LOST);
	assert_int_equal(text(x, "2.0 100 Trying\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n"),
			 ET_FRAMED_MESSAGE);
	assert_string_equal(x->last, TRYING);
	assert_int_equal(x->counts.resyncs, 1);
}

static void a_gap_costs_the_message_it_is_in(void **state)
{
	struct fixture *x = *state;
	(void)text(x, "INVITE sip:b@x SIP/2.0\r\nCall-ID: 1\r\nl: 50\r\n\r\nv=0\r\n");
	assert_true(et_framer_held(&x->f) > 0);
	et_framer_gap(&x->f, 10);
	assert_int_equal(et_framer_held(&x->f), 0);
	(void)text(x, "o=- 1 2\r\na=x\r\n" TRYING INVITE);
	assert_int_equal(x->count, 2);
	assert_int_equal(x->counts.cut, 1);
	assert_string_equal(x->last, INVITE);
}

static void a_length_that_cannot_be_is_bounded(void **state)
{
	struct fixture *x = *state;
	/* 4 GB: not a length; the body ends at the next start line. */
	(void)text(x, "INVITE sip:b@x SIP/2.0\r\nContent-Length: 4294967296\r\n\r\nv=0\r\n" TRYING);
	assert_int_equal(x->count, 2);
	assert_int_equal(x->counts.no_length, 1);
	/* 2 GB: its headers are handed out, then the next start line is looked for. */
	(void)text(x, "INVITE sip:b@x SIP/2.0\r\nContent-Length: 2147483647\r\n\r\nv=0\r\n" TRYING);
	assert_int_equal(x->count, 4);
	assert_int_equal(x->counts.too_long, 1);
	/* Somewhat too long: passed over exactly, start lines in it among them, over a gap too. */
	char line[101];
	memset(line, 'x', 98);
	memcpy(line + 98, "\r\n", 3);
	assert_int_equal(text(x, "INVITE sip:b@x SIP/2.0\r\nContent-Length: 2000\r\n\r\n"),
			 ET_FRAMED_MESSAGE);
	for (int i = 0; i < 18; i++) {
		assert_int_equal(text(x, line), ET_FRAMED_SKIPPED);
	}
	et_framer_gap(&x->f, 100);
	(void)text(x, "SIP/2.0 200 OK\r\nCall-ID: evil\r\n\r\n");
	line[66] = '\r';
	line[67] = '\n';
	line[68] = '\0';
	(void)text(x, line);
	assert_int_equal(x->count, 5);
	assert_int_equal(text(x, TRYING), ET_FRAMED_MESSAGE);
	assert_int_equal(x->count, 6);
	/* Headers without an end. */
	(void)text(x, "INVITE sip:b@x SIP/2.0\r\n");
	for (int i = 0; i < 100; i++) {
		(void)text(x, line);
		assert_true(et_framer_held(&x->f) <= 4096);
	}
	assert_int_equal(x->counts.too_long, 3);
	assert_int_equal(text(x, TRYING), ET_FRAMED_MESSAGE);
}

static void what_is_no_sip_is_lost_without_being_kept(void **state)
{
	struct fixture *x = *state;
	uint8_t b[1400];
	for (size_t i = 0; i < sizeof(b); i++) {
		b[i] = (uint8_t)(i * 37 + (i >> 3));
	}
	for (int i = 0; i < 50; i++) {
		(void)feed(x, b, sizeof(b));
		assert_true(et_framer_held(&x->f) <= 4096);
	}
	assert_int_equal(x->count, 0);
	assert_false(et_framer_recognise(b, sizeof(b)));
	static const char http[] = "GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n";
	assert_false(et_framer_recognise((const uint8_t *)http, sizeof(http) - 1));
	assert_true(et_framer_recognise((const uint8_t *)INVITE, sizeof(INVITE) - 1));
	assert_true(et_framer_recognise((const uint8_t *)TRYING, sizeof(TRYING) - 1));
}

/* ---- WebSocket ------------------------------------------------------------------------------- */

static size_t frame(uint8_t *p, uint8_t first, bool masked, const char *payload)
{
	size_t size = strlen(payload);
	size_t at = 2;
	p[0] = first;
	p[1] = (uint8_t)((masked ? 0x80 : 0) | (size < 126 ? size : 126));
	if (size >= 126) {
		et_put16(p + 2, (uint16_t)size);
		at = 4;
	}
	if (masked) {
		memcpy(p + at, "\x12\x34\x56\x78", 4);
		at += 4;
	}
	for (size_t i = 0; i < size; i++) {
		p[at + i] = (uint8_t)(payload[i] ^ (masked ? "\x12\x34\x56\x78"[i % 4] : 0));
	}
	return at + size;
}

#define UPGRADE                                                                                    \
	"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"             \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n"           \
	"Sec-WebSocket-Version: 13\r\n\r\n"

static void a_websocket_is_read_from_its_upgrade(void **state)
{
	struct fixture *x = *state;
	uint8_t b[4096];
	size_t n = strlen(UPGRADE);
	memcpy(b, UPGRADE, n);
	assert_true(et_framer_recognise(b, n));
	n += frame(b + n, 0x89, true, "ping");
	n += frame(b + n, 0x01, true, "INVITE sip:b@x SIP/2.0\r\nCall-ID: 1\r\n");
	n += frame(b + n, 0x8A, true, "");	      /* between its fragments */
	n += frame(b + n, 0x80, true, "\r\nv=0\r\n"); /* no Content-Length: the message is whole */
	n += frame(b + n, 0x82, true, TRYING);
	n += frame(b + n, 0x81, true, "\r\n\r\n");
	for (size_t at = 1; at <= n; at++) {
		et_framer_release(&x->f);
		(void)feed(x, b, at);
		unsigned flags = feed(x, b + at, n - at);
		assert_int_equal(flags & ET_FRAMED_LOST, 0);
		assert_int_equal(x->count, 2 * at);
		assert_string_equal(x->last, TRYING);
		assert_int_equal(et_framer_held(&x->f), 0);
		x->all_size = 0;
	}
}

static void a_websocket_may_be_joined_in_its_middle_and_after_a_gap(void **state)
{
	struct fixture *x = *state;
	uint8_t b[4096];
	size_t n = frame(b, 0x81, false, TRYING);
	assert_true(et_framer_recognise(b, n));
	assert_int_equal(feed(x, b, n), ET_FRAMED_MESSAGE);
	(void)feed(x, b, 10);
	et_framer_gap(&x->f, 0);
	assert_int_equal(feed(x, b + 20, n - 20), ET_FRAMED_LOST);
	assert_int_equal(feed(x, b, n), ET_FRAMED_MESSAGE);
	assert_int_equal(x->count, 2);
	assert_int_equal(x->counts.cut, 1);
}

static void compressed_and_endless_websocket_messages_are_passed_over(void **state)
{
	struct fixture *x = *state;
	uint8_t b[4096];
	char big[600];
	size_t n = frame(b, 0x81, false, TRYING);
	(void)feed(x, b, n);
	n = frame(b, 0xC1, false, TRYING);
	assert_int_equal(feed(x, b, n), ET_FRAMED_WEBSOCKET);
	assert_int_equal(x->counts.compressed, 1);

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	n = frame(b, 0x01, false, big);
	(void)feed(x, b, n);
	for (int i = 0; i < 20; i++) { /* fragments without an end */
		n = frame(b, 0x00, false, big);
		(void)feed(x, b, n);
		assert_true(et_framer_held(&x->f) <= 4096);
	}
	n = frame(b, 0x80, false, big);
	(void)feed(x, b, n);
	assert_int_equal(x->counts.too_long, 1);
	n = frame(b, 0x81, false, TRYING);
	assert_int_equal(feed(x, b, n), ET_FRAMED_MESSAGE);

	/* 2^62 bytes in one frame. */
	static const uint8_t endless[] = { 0x81, 127, 0x40, 0, 0, 0, 0, 0, 0, 0, 'x' };
	(void)feed(x, endless, sizeof(endless));
	assert_int_equal(feed(x, b, n), ET_FRAMED_MESSAGE);
	assert_int_equal(x->count, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_message_may_be_cut_anywhere),
		TEST(empty_lines_between_messages_are_keepalives),
		TEST(a_stream_joined_in_its_middle_is_found_at_a_start_line),
		TEST(a_gap_costs_the_message_it_is_in),
		TEST(a_length_that_cannot_be_is_bounded),
		TEST(what_is_no_sip_is_lost_without_being_kept),
		TEST(a_websocket_is_read_from_its_upgrade),
		TEST(a_websocket_may_be_joined_in_its_middle_and_after_a_gap),
		TEST(compressed_and_endless_websocket_messages_are_passed_over),
	};
	return cmocka_run_group_tests_name("node/sip/framer", tests, NULL, NULL);
}
