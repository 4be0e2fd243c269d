#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/audio/codec.h"

/* ITU-T G.711, tables 1 and 2: the values of the decision levels, scaled to 16 bits. */
static void decodes_as_the_tables_of_g711_say(void **state)
{
	static const struct {
		uint8_t code;
		int16_t sample;
	} ulaw[] = { { 0x80, 32124 }, { 0x00, -32124 }, { 0xFF, 0 },   { 0x7F, 0 },
		     { 0xFE, 8 },     { 0x7E, -8 },	{ 0xF0, 120 }, { 0xEF, 132 },
		     { 0x8F, 16764 }, { 0x9F, 8316 } },
	  alaw[] = { { 0xD5, 8 },   { 0x55, -8 },  { 0xAA, 32256 }, { 0x2A, -32256 },
		     { 0xDA, 248 }, { 0xC5, 264 }, { 0x85, 4224 } };

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(ulaw); i++) {
		assert_int_equal(et_ulaw_decode(ulaw[i].code), ulaw[i].sample);
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(alaw); i++) {
		assert_int_equal(et_alaw_decode(alaw[i].code), alaw[i].sample);
	}
}

static void every_code_survives_decoding_and_encoding(void **state)
{
	(void)state;
	for (unsigned code = 0; code < 256; code++) {
		/* 0x7F is the negative zero of µ-law: it sounds like 0xFF. */
		uint8_t want = code == 0x7F ? 0xFF : (uint8_t)code;
		assert_int_equal(et_ulaw_encode(et_ulaw_decode((uint8_t)code)), want);
		assert_int_equal(et_alaw_encode(et_alaw_decode((uint8_t)code)), code);
	}
}

static void no_sample_is_far_from_its_code(void **state)
{
	(void)state;
	for (int s = INT16_MIN; s <= INT16_MAX; s++) {
		int magnitude = s < 0 ? -s : s;
		int step = magnitude < 256 ? 16 : magnitude / 16;
		int u = et_ulaw_decode(et_ulaw_encode((int16_t)s));
		int a = et_alaw_decode(et_alaw_encode((int16_t)s));
		assert_true(abs(u - s) <= (magnitude > 32635 ? 700 : step));
		assert_true(abs(a - s) <= step);
	}
}

static void finds_codecs_by_name_and_type(void **state)
{
	(void)state;
	assert_non_null(et_codec_find("PCMU", 4, 8000));
	assert_ptr_equal(et_codec_find("pcma", 4, 0), et_codec_static(8));
	assert_ptr_equal(et_codec_find("PCMU", 4, 0), et_codec_static(0));
	assert_null(et_codec_find("PCMU", 3, 8000));
	assert_null(et_codec_find("PCMU", 4, 16000));
	assert_int_equal(et_codec_find("OPUS", 4, 48000)->rate, 48000);
	assert_int_equal(et_codec_static(9)->rate, 16000);
	assert_ptr_equal(et_codec_static(18), et_codec_find("G729", 4, 8000));
	assert_null(et_codec_find("iLBC", 4, 8000));
	assert_null(et_codec_static(4));
	assert_true(et_codec_is_stateless(et_codec_static(8)));
	assert_false(et_codec_is_stateless(et_codec_static(3)));
}

static void decodes_no_more_than_there_is_room_for(void **state)
{
	const uint8_t payload[4] = { 0xFE, 0x7E, 0xFE, 0x7E };
	int16_t samples[3] = { 1, 1, 1 };
	struct et_decoder *d = NULL;

	(void)state;
	assert_int_equal(et_decoder_new(et_codec_static(0), "", &d, NULL), 0);
	assert_int_equal(et_decoder_decode(d, (struct et_view){ payload, 4 }, samples, 2), 2);
	et_decoder_free(d);
	assert_int_equal(samples[0], 8);
	assert_int_equal(samples[1], -8);
	assert_int_equal(samples[2], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_as_the_tables_of_g711_say),
		cmocka_unit_test(every_code_survives_decoding_and_encoding),
		cmocka_unit_test(no_sample_is_far_from_its_code),
		cmocka_unit_test(finds_codecs_by_name_and_type),
		cmocka_unit_test(decodes_no_more_than_there_is_room_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
