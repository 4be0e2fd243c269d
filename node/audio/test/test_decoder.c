#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "node/audio/test/encoders.h"

enum { PACKETS = 100, SAMPLES_MAX = PACKETS * 960 };

/* Of each codec: how like the sound what is heard of it must be, and how loud. */
static const struct {
	const char *name;
	uint32_t clock_rate;
	const char *fmtp;
	double least; /* correlation at the best delay */
} codecs[] = {
	{ "PCMU", 8000, "", 0.999 },
	{ "PCMA", 8000, "", 0.999 },
	{ "L16", 8000, "", 0.99999 },
	{ "L16", 16000, "", 0.99999 },
	{ "L16", 48000, "", 0.99999 },
	{ "G722", 8000, "", 0.99 },
	{ "GSM", 8000, "", 0.9 },
	{ "G729", 8000, "", 0.75 },
	{ "opus", 48000, "", 0.98 },
	{ "speex", 8000, "", 0.75 },
	{ "speex", 16000, "", 0.75 },
	{ "speex", 32000, "", 0.75 },
	{ "AMR", 8000, "octet-align=1", 0.75 },
	{ "AMR", 8000, "mode-set=7; octet-align=0", 0.75 },
	{ "AMR-WB", 16000, "octet-align=1", 0.75 },
	{ "AMR-WB", 16000, "", 0.75 },
	{ "G726-16", 8000, "", 0.8 },
	{ "G726-24", 8000, "", 0.95 },
	{ "G726-32", 8000, "", 0.98 },
	{ "G726-40", 8000, "", 0.99 },
	{ "AAL2-G726-16", 8000, "", 0.85 },
	{ "AAL2-G726-24", 8000, "", 0.95 },
	{ "AAL2-G726-32", 8000, "", 0.98 },
	{ "AAL2-G726-40", 8000, "", 0.99 },
};

/* Something like a voice: harmonics of 320 Hz that rise and fall (far from the low cut of G.729,
 * which turns the phase). */
static void voice_make(int16_t *pcm, size_t n, uint32_t rate)
{
	for (size_t i = 0; i < n; i++) {
		const double t = (double)i / rate;
		double sum = 0;
		for (int k = 1; k <= 8; k++) {
			sum += sin(2 * M_PI * 320 * k * t + k) / k;
		}
		pcm[i] = (int16_t)lrint(4000 * sum * (0.6 + 0.4 * sin(2 * M_PI * 3 * t)));
	}
}

/* At the delay up to 30 ms where it is highest; *ret_gain: how loud it is heard. */
static double correlation(const int16_t *said, const int16_t *heard, size_t n, uint32_t rate,
			  double *ret_gain)
{
	double best = -1;

	for (size_t delay = 0; delay < rate * 30 / 1000; delay++) {
		double both = 0;
		double one = 0;
		double other = 0;
		for (size_t i = rate / 5; i + delay < n; i++) {
			both += (double)said[i] * heard[i + delay];
			one += (double)said[i] * said[i];
			other += (double)heard[i + delay] * heard[i + delay];
		}
		const double now = both / sqrt(one * other + 1);
		if (now > best) {
			best = now;
			*ret_gain = sqrt(other / one);
		}
	}
	return best;
}

static void each_codec_is_heard_as_it_was_said(void **state)
{
	static int16_t said[SAMPLES_MAX];
	static int16_t heard[SAMPLES_MAX];

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(codecs); i++) {
		const struct et_codec *codec =
			et_codec_find(codecs[i].name, strlen(codecs[i].name), codecs[i].clock_rate);
		struct et_decoder *d = NULL;
		struct encoder e;
		double gain = 0;

		assert_non_null(codec);
		const size_t frame = codec->rate / 50;
		voice_make(said, PACKETS * frame, codec->rate);
		encoder_open(&e, codec, strstr(codecs[i].fmtp, "align=1") != NULL);
		assert_int_equal(et_decoder_new(codec, codecs[i].fmtp, &d, NULL), 0);
		for (size_t p = 0; p < PACKETS; p++) {
			uint8_t payload[2000];
			const size_t size = encode(&e, said + p * frame, payload);
			assert_int_equal(et_decoder_decode(d, (struct et_view){ payload, size },
							   heard + p * frame, SAMPLES_MAX),
					 frame);
		}
		const double like = correlation(said, heard, PACKETS * frame, codec->rate, &gain);
		print_message("%-13s %5u Hz: %.5f, gain %.2f\n", codec->name, codec->rate, like,
			      gain);
		assert_true(like >= codecs[i].least);
		assert_true(gain > 0.7 && gain < 1.3);
		et_decoder_free(d);
		encoder_close(&e);
	}
}

/* The size tells the layout, whatever was told of it. */
static void amr_of_either_layout_is_heard(void **state)
{
	static const char *const names[] = { "AMR", "AMR-WB" };
	static const char *const told[] = { "", "octet-align=1" };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		const char *name = names[i / 2];
		const struct et_codec *codec = et_codec_find(name, strlen(name), 0);
		int16_t pcm[320] = { 0 };
		uint8_t payload[2000];
		struct et_decoder *d = NULL;
		struct encoder e;

		assert_int_equal(et_decoder_new(codec, told[i % 2], &d, NULL), 0);
		encoder_open(&e, codec, i % 2 == 0);
		const size_t size = encode(&e, pcm, payload);
		assert_int_equal(et_decoder_decode(d, (struct et_view){ payload, size }, pcm, 320),
				 codec->rate / 50);
		et_decoder_free(d);
		encoder_close(&e);
	}
}

static void amr_says_nothing_where_nothing_was_sent(void **state)
{
	static const uint8_t nothing[] = { 0xF0, 0x7C }; /* aligned: FT 15, Q 1 */
	static const uint8_t wrong[] = { 0xF0, 0x4C };	 /* FT 9 */
	int16_t pcm[160] = { 1, 2, 3 };
	struct et_decoder *d = NULL;

	(void)state;
	assert_int_equal(et_decoder_new(et_codec_find("amr", 3, 8000), "octet-align=1", &d, NULL),
			 0);
	assert_int_equal(et_decoder_decode(d, (struct et_view){ nothing, 2 }, pcm, 160), 160);
	for (size_t i = 0; i < 160; i++) {
		assert_int_equal(pcm[i], 0);
	}
	assert_int_equal(et_decoder_decode(d, (struct et_view){ wrong, 2 }, pcm, 160), 0);
	assert_int_equal(et_decoder_decode(d, (struct et_view){ nothing, 1 }, pcm, 160), 0);
	assert_int_equal(et_decoder_decode(d, (struct et_view){ nothing, 0 }, pcm, 160), 0);
	et_decoder_free(d);
}

static void parameters_without_a_decoder_are_refused(void **state)
{
	static const char *const fmtp[] = { "crc=1", "octet-align=1;interleaving=30",
					    "robust-sorting=1", "channels=2" };
	struct et_decoder *d = NULL;
	struct et_error error;

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(fmtp); i++) {
		assert_int_equal(et_decoder_new(et_codec_find("AMR", 3, 0), fmtp[i], &d, &error),
				 ET_EUNSUPPORTED);
		assert_null(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_codec_is_heard_as_it_was_said),
		cmocka_unit_test(amr_of_either_layout_is_heard),
		cmocka_unit_test(amr_says_nothing_where_nothing_was_sent),
		cmocka_unit_test(parameters_without_a_decoder_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
