/* Whole frames of MP3 are heard, and whatever comes, a stream does not slip. The fixture: 440 Hz,
 * 12000 high, 8 kHz, 8 kbit/s, 30 frames of 72 bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/codec.h"

enum { FRAMES = 30, FRAME = 72, SAMPLES = 576, SETTLED = 4, TWO_FRAMES = 12, TWO_FRAME = 144 };

static int load(void **state)
{
	uint8_t *bytes = malloc(FRAMES * FRAME);
	FILE *f = fopen("fixtures/tone-440.mp3", "rb");

	assert_non_null(bytes);
	assert_non_null(f);
	assert_int_equal(fread(bytes, FRAME, FRAMES, f), FRAMES);
	(void)fclose(f);
	*state = bytes;
	return 0;
}

static int unload(void **state)
{
	free(*state);
	return 0;
}

static struct et_decoder *decoder(void)
{
	struct et_decoder *d = NULL;
	const struct et_codec *codec = et_codec_find("MP3", 3, 8000);

	assert_non_null(codec);
	assert_false(et_codec_is_stateless(codec));
	assert_int_equal(et_decoder_new(codec, "", &d, NULL), 0);
	return d;
}

/* How much of the sound is 440 Hz. */
static double purity(const int16_t *pcm, size_t n)
{
	double power = 0;
	double re = 0;
	double im = 0;

	for (size_t i = 0; i < n; i++) {
		const double angle = 2 * M_PI * 440 * (double)i / 8000;
		power += (double)pcm[i] * pcm[i];
		re += pcm[i] * cos(angle);
		im += pcm[i] * sin(angle);
	}
	return 2 * (re * re + im * im) / ((double)n * power);
}

static void frames_are_heard(void **state)
{
	const uint8_t *bytes = *state;
	struct et_decoder *d = decoder();
	static int16_t pcm[FRAMES * SAMPLES];
	int16_t highest = 0;

	for (size_t i = 0; i < FRAMES; i++) {
		assert_int_equal(et_decoder_decode(d, (struct et_view){ bytes + i * FRAME, FRAME },
						   pcm + i * SAMPLES, ET_CODEC_SAMPLES_MAX),
				 SAMPLES);
	}
	for (size_t i = SETTLED * SAMPLES; i < FRAMES * SAMPLES; i++) {
		highest = pcm[i] > highest ? pcm[i] : highest;
	}
	assert_in_range(highest, 9000, 16000);
	assert_true(purity(pcm + SETTLED * SAMPLES, (FRAMES - SETTLED) * SAMPLES) > 0.95);
	(void)et_decoder_free(d);
}

static void nothing_slips(void **state)
{
	const uint8_t *bytes = *state;
	struct et_decoder *d = decoder();
	uint8_t frame[FRAME];
	int16_t pcm[ET_CODEC_SAMPLES_MAX];
	uint32_t x = 1;

	for (size_t i = 0; i < 2000; i++) { /* damaged behind their heads */
		memcpy(frame, bytes + i % FRAMES * FRAME, FRAME);
		for (size_t k = 4; k < FRAME && i % 3 != 0; k++) {
			x = x * 1664525U + 1013904223U;
			frame[k] = (uint8_t)(x >> 24);
		}
		assert_int_equal(et_decoder_decode(d, (struct et_view){ frame, FRAME }, pcm,
						   ET_CODEC_SAMPLES_MAX),
				 SAMPLES);
	}
	/* What is no frame of this rate is nothing. */
	memcpy(frame, bytes, FRAME);
	frame[1] = 0xFB;
	assert_int_equal(et_decoder_decode(d, (struct et_view){ frame, FRAME }, pcm, 4096), 0);
	assert_int_equal(et_decoder_decode(d, (struct et_view){ frame, 3 }, pcm, 4096), 0);
	assert_int_equal(et_decoder_decode(d, (struct et_view){ bytes, FRAME }, pcm, SAMPLES - 1),
			 0);
	(void)et_decoder_free(d);
}

/* Two channels: 440 Hz at the left, 1000 at the right; 16 kbit/s, frames of 144 bytes. */
static void one_channel_can_be_picked(void **state)
{
	static uint8_t bytes[TWO_FRAMES * TWO_FRAME];
	static int16_t pcm[TWO_FRAMES * SAMPLES];
	FILE *f = fopen("fixtures/two-tones.mp3", "rb");
	(void)state;

	assert_non_null(f);
	assert_int_equal(fread(bytes, TWO_FRAME, TWO_FRAMES, f), TWO_FRAMES);
	(void)fclose(f);
	for (int channel = ET_CHANNEL_BOTH; channel <= ET_CHANNEL_RIGHT; channel++) {
		struct et_decoder *d = decoder();
		et_decoder_pick(d, (enum et_channel)channel);
		for (size_t i = 0; i < TWO_FRAMES; i++) {
			assert_int_equal(et_decoder_decode(d,
							   (struct et_view){ bytes + i * TWO_FRAME,
									     TWO_FRAME },
							   pcm + i * SAMPLES, ET_CODEC_SAMPLES_MAX),
					 SAMPLES);
		}
		const double pure =
			purity(pcm + SETTLED * SAMPLES, (TWO_FRAMES - SETTLED) * SAMPLES);
		print_message("channel %d: %.3f\n", channel, pure);
		assert_true(channel == ET_CHANNEL_LEFT	  ? pure > 0.95
			    : channel == ET_CHANNEL_RIGHT ? pure < 0.05
							  : pure > 0.3 && pure < 0.7);
		(void)et_decoder_free(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(frames_are_heard, load, unload),
		cmocka_unit_test_setup_teardown(nothing_slips, load, unload),
		cmocka_unit_test(one_channel_can_be_picked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
