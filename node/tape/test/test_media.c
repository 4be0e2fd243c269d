#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/tape/media.h"
#include "node/tape/tape.h"

static void assert_packet(const struct et_media_packet *a, const struct et_media_packet *b)
{
	assert_int_equal(a->stream, b->stream);
	assert_int_equal(a->marker, b->marker);
	assert_int_equal(a->whole, b->whole);
	assert_int_equal(a->rtcp, b->rtcp);
	assert_int_equal(a->payload_type, b->payload_type);
	assert_int_equal(a->sequence, b->sequence);
	assert_int_equal(a->timestamp, b->timestamp);
	assert_int_equal(a->arrival_us, b->arrival_us);
	assert_int_equal(a->payload.size, b->payload.size);
	assert_memory_equal(a->payload.data, b->payload.data, a->payload.size);
}

/* What goes in comes out, packet by packet. */
static void assert_round_trip(const struct et_media_packet *packets, size_t count)
{
	struct et_media_encoder e = { 0 };
	struct et_media_decoder d;
	struct et_media_packet p;

	for (size_t i = 0; i < count; i++) {
		assert_int_equal(et_media_encoder_add(&e, &packets[i], ET_TAPE_PLAIN_MAX), 0);
	}
	assert_int_equal(e.packets, count);
	assert_int_equal(e.first_us, packets[0].arrival_us);
	assert_int_equal(e.last_us, packets[count - 1].arrival_us);
	assert_int_equal(
		et_media_decoder_init(&d, (struct et_view){ e.plain.data, e.plain.size }, NULL), 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(et_media_decoder_next(&d, &p, NULL), 1);
		assert_packet(&p, &packets[i]);
	}
	assert_int_equal(et_media_decoder_next(&d, &p, NULL), 0);
	et_media_encoder_release(&e);
}

static const uint8_t bytes[2048] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

static void every_oddity_comes_back(void **state)
{
	const struct et_media_packet packets[] = {
		{ .stream = 0,
		  .sequence = 65535,
		  .timestamp = 0xFFFFFFF0,
		  .arrival_us = 1700000000000000,
		  .payload_type = 127,
		  .payload = { bytes, 160 } },
		{ .stream = 0,
		  .sequence = 0,
		  .timestamp = 0x90,
		  .arrival_us = 1700000000020000,
		  .payload_type = 127,
		  .payload = { bytes, 160 } },
		/* Reordered, back in time, empty, another type. */
		{ .stream = 0,
		  .sequence = 65534,
		  .timestamp = 0xFFFFFF50,
		  .arrival_us = 1,
		  .payload_type = 0,
		  .payload = { bytes, 0 } },
		{ .stream = 63,
		  .marker = true,
		  .sequence = 7,
		  .arrival_us = INT64_MAX,
		  .payload_type = 8,
		  .payload = { bytes, 1 } },
		{ .stream = 63,
		  .whole = true,
		  .sequence = 7,
		  .arrival_us = INT64_MIN,
		  .payload_type = 8,
		  .payload = { bytes, 2048 } },
		{ .stream = 63, .rtcp = true, .arrival_us = 0, .payload = { bytes, 28 } },
		{ .stream = 1, .rtcp = true, .arrival_us = -5, .payload = { bytes, 0 } },
		{ .stream = 63,
		  .sequence = 32775,
		  .timestamp = 0x80000000,
		  .arrival_us = 5,
		  .payload_type = 8,
		  .payload = { bytes, 2048 } },
		{ .stream = 63,
		  .sequence = 8,
		  .timestamp = 0,
		  .arrival_us = 5,
		  .payload_type = 8,
		  .payload = { bytes, 2048 } },
	};

	(void)state;
	assert_round_trip(packets, ET_ARRAY_SIZE(packets));
	for (size_t i = 0; i < ET_ARRAY_SIZE(packets); i++) {
		assert_round_trip(packets + i, 1); /* Alone, too. */
	}
}

static void random_packets_come_back(void **state)
{
	struct et_media_packet packets[60];

	(void)state;
	srand(11);
	for (int round = 0; round < 300; round++) {
		for (size_t i = 0; i < ET_ARRAY_SIZE(packets); i++) {
			bool rtcp = rand() % 20 == 0;
			packets[i] = (struct et_media_packet){
				.stream = (uint32_t)rand() % (round % 2 ? 3 : ET_MEDIA_STREAMS_MAX),
				.rtcp = rtcp,
				.marker = !rtcp && rand() % 2,
				.whole = !rtcp && rand() % 9 == 0,
				.payload_type =
					(uint8_t)(rtcp ? 0 : rand() % (rand() % 5 ? 2 : 128)),
				.sequence =
					rtcp ? 0 : (uint16_t)(rand() % 3 ? i : (unsigned)rand()),
				.timestamp = rtcp ? 0 : (uint32_t)rand() * (rand() % 2 ? 1U : 3U),
				.arrival_us = rand() % 2 ? (int64_t)i * 10000 : rand() * 1000000LL,
				.payload = { bytes, (size_t)(rand() % 4 ? 160 : rand() % 200) },
			};
		}
		assert_round_trip(packets, ET_ARRAY_SIZE(packets));
	}
}

static void a_g711_packet_costs_five_bytes(void **state)
{
	struct et_media_encoder e = { 0 };

	(void)state;
	for (uint32_t n = 0; n < 50; n++) {
		for (uint32_t stream = 0; stream < 2; stream++) {
			const struct et_media_packet p = {
				.stream = stream,
				.sequence = (uint16_t)n,
				.timestamp = n * 160,
				.arrival_us = 1700000000000000 + (int64_t)n * 20000 + stream * 9000,
				.payload = { bytes, 160 }
			};
			assert_int_equal(et_media_encoder_add(&e, &p, ET_TAPE_PLAIN_MAX), 0);
		}
	}
	/* The record's head, the streams' first two packets, and 5 for each. */
	assert_true(e.plain.size <= 9 + 2 * 12 + 100 * 165);
	et_media_encoder_release(&e);
}

static void a_full_record_refuses_and_stays_as_it_was(void **state)
{
	struct et_media_encoder e = { 0 };
	struct et_media_decoder d;
	struct et_media_packet p = { .payload = { bytes, 1000 } };
	int count = 0;
	int rc;

	(void)state;
	while ((rc = et_media_encoder_add(&e, &p, 16384)) == 0) {
		p.sequence++;
		count++;
	}
	assert_int_equal(rc, ET_ELIMIT);
	assert_int_equal(e.packets, count);
	assert_true(e.plain.size <= 16384);
	assert_int_equal(
		et_media_decoder_init(&d, (struct et_view){ e.plain.data, e.plain.size }, NULL), 0);
	for (int i = 0; i < count; i++) {
		assert_int_equal(et_media_decoder_next(&d, &p, NULL), 1);
	}
	assert_int_equal(et_media_decoder_next(&d, &p, NULL), 0);
	et_media_encoder_reset(&e);
	p = (struct et_media_packet){ .stream = ET_MEDIA_STREAMS_MAX, .payload = { bytes, 1 } };
	assert_int_equal(et_media_encoder_add(&e, &p, 16384), -EINVAL);
	p = (struct et_media_packet){ .payload_type = 128, .payload = { bytes, 1 } };
	assert_int_equal(et_media_encoder_add(&e, &p, 16384), -EINVAL);
	assert_int_equal(e.plain.size, 0);
	et_media_encoder_release(&e);
}

/* A packet that is whole in itself always fits a record of the limit that writers use. */
static void the_largest_datagram_fits_an_empty_record(void **state)
{
	struct et_media_encoder e = { 0 };
	uint8_t *payload = calloc(1, ET_MEDIA_PACKET_MAX);
	const struct et_media_packet p = { .whole = true,
					   .payload = { payload, ET_MEDIA_PACKET_MAX } };

	(void)state;
	assert_non_null(payload);
	assert_int_equal(et_media_encoder_add(&e, &p, ET_TAPE_PLAIN_MAX), 0);
	et_media_encoder_release(&e);
	free(payload);
}

static void every_truncation_and_a_newer_version_are_refused(void **state)
{
	struct et_media_encoder e = { 0 };
	struct et_media_packet p = { .payload = { bytes, 20 } };

	(void)state;
	assert_int_equal(et_media_encoder_add(&e, &p, 1000), 0);
	p.sequence = 9;
	assert_int_equal(et_media_encoder_add(&e, &p, 1000), 0);
	for (size_t size = 0; size < e.plain.size; size++) {
		struct et_media_decoder d;
		int packets = 0;
		uint8_t *exact = malloc(size + 1); /* So that a sanitizer sees the edge. */
		assert_non_null(exact);
		memcpy(exact, e.plain.data, size);
		int rc = et_media_decoder_init(&d, (struct et_view){ exact, size }, NULL);
		while (rc == 0 && (rc = et_media_decoder_next(&d, &p, NULL)) == 1) {
			packets++;
			rc = 0;
		}
		assert_true(packets <= 1);
		assert_true(rc == ET_EMALFORMED || (rc == 0 && (size == 9 || packets == 1)));
		free(exact);
	}
	struct et_media_decoder d;
	e.plain.data[0] = 2;
	assert_int_equal(
		et_media_decoder_init(&d, (struct et_view){ e.plain.data, e.plain.size }, NULL),
		ET_EVERSION);
	et_media_encoder_release(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_oddity_comes_back),
		cmocka_unit_test(random_packets_come_back),
		cmocka_unit_test(a_g711_packet_costs_five_bytes),
		cmocka_unit_test(a_full_record_refuses_and_stays_as_it_was),
		cmocka_unit_test(the_largest_datagram_fits_an_empty_record),
		cmocka_unit_test(every_truncation_and_a_newer_version_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
