/* Frames to datagrams: link layers, VLANs, IPv6 extensions, cut frames, fragments in any order,
 * tunnels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pcap/dlt.h>
#include <string.h>

#include "node/base/bytes.h"
#include "node/capture/packet_internal.h"

struct fixture {
	struct et_defrag *defrag;
	struct et_capture_packets packets;
	struct et_packet p;
	int64_t now_us;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->defrag = et_defrag_new(4, 0);
	assert_non_null(f->defrag);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	et_defrag_expire(f->defrag, 0, true, &f->packets);
	assert_int_equal(f->packets.pending, 0);
	et_defrag_free(f->defrag);
	free(f);
	return 0;
}

static bool decode(struct fixture *f, int link, const uint8_t *data, size_t size, size_t wire)
{
	/* A copy of exactly that size: a read behind it is seen. */
	uint8_t *copy = malloc(size == 0 ? 1 : size);
	assert_non_null(copy);
	memcpy(copy, data, size);
	struct et_frame frame = {
		.link_type = link,
		.time_us = f->now_us,
		.data = copy,
		.size = (uint32_t)size,
		.wire_size = (uint32_t)wire,
	};
	bool is = et_packet_decode(&frame, f->defrag, &f->p, &f->packets);
	if (is) {
		assert_int_equal(f->p.size, 5);
		assert_memory_equal(f->p.payload, "hello", 5);
		assert_int_equal(f->p.sport, 1000);
		assert_int_equal(f->p.dport, 2000);
	}
	free(copy);
	return is;
}

/* IPv4 and UDP around "hello". */
static size_t ipv4(uint8_t *p)
{
	static const uint8_t bytes[] = {
		0x45, 0, 0, 33, 0,    1, 0,    0, 64, 17, 0, 0,	  10,  0,   0,	 1,   10,
		0,    0, 2, 3,	0xE8, 7, 0xD0, 0, 13, 0,  0, 'h', 'e', 'l', 'l', 'o',
	};
	memcpy(p, bytes, sizeof(bytes));
	return sizeof(bytes);
}

static void reads_every_link_layer(void **state)
{
	struct fixture *f = *state;
	uint8_t b[128] = { 0 };
	char text[ET_CAPTURE_ADDRESS_TEXT];

	et_put16(b + 12, 0x0800);
	size_t n = 14 + ipv4(b + 14);
	assert_true(decode(f, DLT_EN10MB, b, n, n));
	et_address_format(f->p.src, f->p.sport, text);
	assert_string_equal(text, "10.0.0.1:1000");
	assert_true(decode(f, DLT_EN10MB, b, n + 13, n + 13)); /* padding */

	et_put16(b + 12, 0x88A8);
	et_put16(b + 16, 0x8100);
	et_put16(b + 20, 0x0800);
	n = 22 + ipv4(b + 22);
	assert_true(decode(f, DLT_EN10MB, b, n, n));

	et_put16(b + 12, 0x8864);
	et_put16(b + 20, 0x0021);
	n = 22 + ipv4(b + 22);
	assert_true(decode(f, DLT_EN10MB, b, n, n));

	et_put16(b + 12, 0x8847);
	b[16] = 0;
	b[20] = 1;
	n = 22 + ipv4(b + 22);
	assert_true(decode(f, DLT_EN10MB, b, n, n));

	memset(b, 0, sizeof(b));
	et_put16(b + 14, 0x0800);
	n = 16 + ipv4(b + 16);
	assert_true(decode(f, DLT_LINUX_SLL, b, n, n));

	et_put16(b, 0x0800);
	n = 20 + ipv4(b + 20);
	assert_true(decode(f, DLT_LINUX_SLL2, b, n, n));

	memcpy(b, "\2\0\0\0", 4);
	n = 4 + ipv4(b + 4);
	assert_true(decode(f, DLT_NULL, b, n, n));
	memcpy(b, "\0\0\0\2", 4);
	assert_true(decode(f, DLT_LOOP, b, n, n));
	assert_true(decode(f, DLT_RAW, b + 4, n - 4, n - 4));
	assert_false(decode(f, 9999, b, n, n));
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_LINK_UNKNOWN], 1);
}

static void reads_ipv6_with_extensions(void **state)
{
	struct fixture *f = *state;
	uint8_t b[128] = { 0x60, 0, 0, 0, 0, 29, 0, 64, 0x20, 1, [23] = 1, [24] = 0xFE, [39] = 2 };
	uint8_t v4[64];
	char text[ET_CAPTURE_ADDRESS_TEXT];
	b[40] = 60; /* hop by hop, then destination options, then UDP */
	b[48] = 17;
	(void)ipv4(v4);
	memcpy(b + 56, v4 + 20, 13);
	assert_true(decode(f, DLT_RAW, b, 69, 69));
	et_address_format(f->p.dst, f->p.dport, text);
	assert_string_equal(text, "[fe00::2]:2000");
	for (size_t n = 0; n < 69; n++) {
		assert_false(decode(f, DLT_RAW, b, n, 69));
	}
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_TRUNCATED], 69);
}

static void tells_what_is_wrong(void **state)
{
	struct fixture *f = *state;
	uint8_t b[128];
	size_t n = ipv4(b);
	for (size_t i = 0; i < n; i++) { /* cut by the snapshot length */
		assert_false(decode(f, DLT_RAW, b, i, n));
	}
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_TRUNCATED], n);
	b[0] = 0x44;
	assert_false(decode(f, DLT_RAW, b, n, n));
	b[0] = 0x45;
	b[25] = 7;
	assert_false(decode(f, DLT_RAW, b, n, n));
	b[25] = 14;
	assert_false(decode(f, DLT_RAW, b, n, n));
	b[9] = 6;
	assert_false(decode(f, DLT_RAW, b, n, n));
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_MALFORMED_IP], 1);
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_MALFORMED_UDP], 2);
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_MALFORMED_TCP], 1);
}

/* ---- Tunnels --------------------------------------------------------------------------------- */

/* An IPv4 header of 20 bytes around `size` more, in front of them. */
static void ipv4_around(uint8_t *p, uint8_t protocol, size_t size)
{
	memset(p, 0, 20);
	p[0] = 0x45;
	et_put16(p + 2, (uint16_t)(20 + size));
	p[8] = 64;
	p[9] = protocol;
	p[12] = 192;
	p[16] = 192;
}

/* Every prefix of it is cut, never another thing. */
static void opens(struct fixture *f, const uint8_t *b, size_t n)
{
	char text[ET_CAPTURE_ADDRESS_TEXT];
	uint64_t before = f->packets.unclaimed[ET_UNCLAIMED_TRUNCATED];
	assert_true(decode(f, DLT_RAW, b, n, n));
	et_address_format(f->p.src, f->p.sport, text);
	assert_string_equal(text, "10.0.0.1:1000"); /* of the inner packet */
	for (size_t i = 0; i < n; i++) {
		assert_false(decode(f, DLT_RAW, b, i, n));
	}
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_TRUNCATED], before + n);
}

static void opens_ip_in_ip(void **state)
{
	struct fixture *f = *state;
	uint8_t b[128] = { 0 };
	size_t n = ipv4(b + 20);
	ipv4_around(b, 4, n);
	opens(f, b, 20 + n);

	memset(b, 0, sizeof(b)); /* IPv4 in IPv6 */
	n = ipv4(b + 40);
	b[0] = 0x60;
	et_put16(b + 4, (uint16_t)n);
	b[6] = 4;
	opens(f, b, 40 + n);

	memset(b, 0, sizeof(b)); /* IPv6 in IPv4 */
	uint8_t v4[64];
	(void)ipv4(v4);
	ipv4_around(b, 41, 53);
	b[20] = 0x60;
	et_put16(b + 24, 13);
	b[26] = 17;
	memcpy(b + 60, v4 + 20, 13);
	assert_true(decode(f, DLT_RAW, b, 73, 73));
}

static void opens_gre_and_erspan(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint8_t head[32];
		uint8_t size;
		bool ethernet;
	} kinds[] = {
		{ { 0x00, 0, 8, 0 }, 4, false },
		{ { 0x80, 0, 8, 0 }, 8, false },  /* a checksum */
		{ { 0xB0, 0, 8, 0 }, 16, false }, /* and a key, and a sequence number */
		{ { 0x20, 0, 0x65, 0x58 }, 8, true },
		{ { 0x00, 0, 0x88, 0xBE }, 4, true },			     /* ERSPAN I */
		{ { 0x10, 0, 0x88, 0xBE, [8] = 0x10 }, 16, true },	     /* II */
		{ { 0x10, 0, 0x22, 0xEB, [8] = 0x20 }, 20, true },	     /* III */
		{ { 0x10, 0, 0x22, 0xEB, [8] = 0x20, [19] = 1 }, 28, true }, /* with more */
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(kinds); i++) {
		uint8_t b[160] = { 0 };
		size_t at = 20U + kinds[i].size;
		memcpy(b + 20, kinds[i].head, kinds[i].size);
		if (kinds[i].ethernet) {
			et_put16(b + at + 12, 0x0800);
			at += 14;
		}
		size_t n = at + ipv4(b + at);
		ipv4_around(b, 47, n - 20);
		opens(f, b, n);
	}
	uint8_t b[160] = { [20] = 0x10, [22] = 0x88, [23] = 0xBE, [28] = 0x20 };
	ipv4_around(b, 47, 60);
	assert_false(decode(f, DLT_RAW, b, 80, 80)); /* an ERSPAN of no version that is known */
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_MALFORMED_TUNNEL], 1);
	b[21] = 1; /* PPTP */
	assert_false(decode(f, DLT_RAW, b, 80, 80));
	assert_int_equal(f->packets.other[ET_OTHER_IP], 1);
}

static void opens_vxlan_by_port_and_content(void **state)
{
	struct fixture *f = *state;
	uint8_t b[160] = { [28] = 0x08, [32] = 1 };
	size_t n = ipv4(b + 50);
	et_put16(b + 48, 0x0800);
	et_put16(b + 20, 50000);
	et_put16(b + 22, 4789);
	et_put16(b + 24, (uint16_t)(30 + n));
	ipv4_around(b, 17, 30 + n);
	opens(f, b, 50 + n);
	et_put16(b + 22, 8472);
	opens(f, b, 50 + n);

	/* Another protocol on that port is a datagram of its own. */
	uint8_t v4[64];
	size_t size = ipv4(v4);
	et_put16(v4 + 20, 1000);
	et_put16(v4 + 22, 4789);
	struct et_frame frame = { .link_type = DLT_RAW,
				  .data = v4,
				  .size = (uint32_t)size,
				  .wire_size = (uint32_t)size };
	assert_true(et_packet_decode(&frame, f->defrag, &f->p, &f->packets));
	assert_int_equal(f->p.dport, 4789);

	et_put16(b + 22, 4790); /* GPE around IP */
	b[28] = 0x0C;
	b[31] = 1;
	memmove(b + 36, b + 50, n);
	et_put16(b + 24, (uint16_t)(16 + n));
	ipv4_around(b, 17, 16 + n);
	opens(f, b, 36 + n);
}

static void tunnels_end_somewhere(void **state)
{
	struct fixture *f = *state;
	uint8_t b[256] = { 0 };
	for (int depth = 1; depth <= 8; depth++) {
		size_t at = (size_t)depth * 20;
		size_t n = ipv4(b + at);
		while (at > 0) {
			at -= 20;
			ipv4_around(b + at, 4, (size_t)depth * 20 - at - 20 + n);
		}
		n += (size_t)depth * 20;
		assert_int_equal(decode(f, DLT_RAW, b, n, n), depth <= 4);
	}
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_TUNNEL_DEPTH], 4);
}

static void a_tunnel_may_be_in_fragments_around_fragments(void **state)
{
	struct fixture *f = *state;
	uint8_t inner[64];
	uint8_t b[128];
	uint8_t v4[64];
	(void)ipv4(v4);
	for (int i = 0; i < 2; i++) { /* the inner packet in two pieces, each in two pieces */
		size_t payload = i == 0 ? 8 : 5;
		memcpy(inner, v4, 20);
		et_put16(inner + 2, (uint16_t)(20 + payload));
		inner[5] = 99;
		et_put16(inner + 6, i == 0 ? 0x2000 : 1);
		memcpy(inner + 20, v4 + 20 + (size_t)i * 8, payload);
		for (int k = 0; k < 2; k++) {
			size_t from = k == 0 ? 0 : 16;
			size_t size = k == 0 ? 16 : 4 + payload;
			ipv4_around(b, 4, size);
			b[5] = (uint8_t)(7 + i);
			et_put16(b + 6, k == 0 ? 0x2000 : 2);
			memcpy(b + 20, inner + from, size);
			assert_int_equal(decode(f, DLT_RAW, b, 20 + size, 20 + size),
					 i == 1 && k == 1);
		}
	}
	assert_int_equal(f->packets.other[ET_OTHER_FRAGMENT], 3);
	assert_int_equal(f->packets.pending, 0);
}

/* A piece of the UDP datagram in `v4`: `size` bytes from `offset`. */
static bool piece(struct fixture *f, const uint8_t *v4, uint8_t id, size_t offset, size_t size,
		  bool more)
{
	uint8_t b[128];
	memcpy(b, v4, 20);
	et_put16(b + 2, (uint16_t)(20 + size));
	b[5] = id;
	et_put16(b + 6, (uint16_t)((more ? 0x2000 : 0) | offset / 8));
	memcpy(b + 20, v4 + 20 + offset, size);
	return decode(f, DLT_RAW, b, 20 + size, 20 + size);
}

static void puts_fragments_together_in_any_order(void **state)
{
	struct fixture *f = *state;
	uint8_t v4[64];
	(void)ipv4(v4);
	assert_false(piece(f, v4, 1, 0, 8, true));
	assert_false(piece(f, v4, 1, 0, 8, true)); /* again */
	assert_true(piece(f, v4, 1, 8, 5, false));
	assert_int_equal(f->packets.other[ET_OTHER_FRAGMENT], 2);
	assert_false(piece(f, v4, 2, 8, 5, false));
	assert_true(piece(f, v4, 2, 0, 8, true));
	assert_int_equal(f->packets.other[ET_OTHER_FRAGMENT], 3);
	assert_int_equal(f->packets.pending, 0);
}

static void gives_up_bad_and_endless_fragments(void **state)
{
	struct fixture *f = *state;
	uint8_t v4[64] = { 0 };
	(void)ipv4(v4);
	assert_false(piece(f, v4, 1, 0, 16, true));
	assert_false(piece(f, v4, 1, 8, 8, true)); /* overlaps */
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_FRAGMENT_BAD], 2);
	for (uint8_t id = 10; id < 20; id++) {
		assert_false(piece(f, v4, id, 0, 8, true));
	}
	assert_int_equal(f->packets.pending, 4);
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_FRAGMENT_LIMIT], 6);
	f->now_us += 11000000;
	assert_false(piece(f, v4, 20, 0, 8, true));
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_FRAGMENT_INCOMPLETE], 4);
	assert_int_equal(f->packets.pending, 1);
}

/* RFC 8200, section 4.5: what is cut may begin with extension headers. */
static void fragments_may_hold_extension_headers(void **state)
{
	struct fixture *f = *state;
	uint8_t b[40 + 8 + 8 + 8 + 13] = { 0x60, [5] = 8 + 8 + 13, [6] = 44, [7] = 64 };
	uint8_t v4[64];
	(void)ipv4(v4);
	b[40] = 60; /* destination options, in the one fragment that there is */
	b[48] = 17;
	memcpy(b + 56, v4 + 20, 13);
	assert_true(decode(f, DLT_RAW, b, 69, 69));
	/* A second fragment header in what is whole: nobody sends that. */
	b[5] += 8;
	b[48] = 44;
	memmove(b + 64, b + 56, 13);
	memset(b + 56, 0, 8);
	b[56] = 17;
	assert_false(decode(f, DLT_RAW, b, 77, 77));
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_MALFORMED_IP], 1);
}

static void a_flood_of_halves_does_not_keep_out_a_datagram(void **state)
{
	struct fixture *f = *state;
	uint8_t v4[64] = { 0 };
	(void)ipv4(v4);
	for (uint8_t id = 10; id < 30; id++) {
		assert_false(piece(f, v4, id, 0, 8, true));
	}
	assert_false(piece(f, v4, 1, 0, 8, true));
	assert_false(piece(f, v4, 30, 0, 8, true));
	assert_true(piece(f, v4, 1, 8, 5, false));
	assert_int_equal(f->packets.unclaimed[ET_UNCLAIMED_FRAGMENT_LIMIT], 18);
	assert_int_equal(f->packets.pending, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_every_link_layer),
		TEST(reads_ipv6_with_extensions),
		TEST(tells_what_is_wrong),
		TEST(opens_ip_in_ip),
		TEST(opens_gre_and_erspan),
		TEST(opens_vxlan_by_port_and_content),
		TEST(tunnels_end_somewhere),
		TEST(a_tunnel_may_be_in_fragments_around_fragments),
		TEST(puts_fragments_together_in_any_order),
		TEST(gives_up_bad_and_endless_fragments),
		TEST(fragments_may_hold_extension_headers),
		TEST(a_flood_of_halves_does_not_keep_out_a_datagram),
	};
	return cmocka_run_group_tests_name("node/capture/packet", tests, NULL, NULL);
}
