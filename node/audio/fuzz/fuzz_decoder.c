/* Any payloads to any decoder, some of them lost: no more samples than there is room for. */
#include <stdlib.h>
#include <string.h>

#include "node/audio/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	const char *name;
	uint32_t clock_rate;
	const char *fmtp;
} kinds[] = { { "G722", 8000, "" },
	      { "GSM", 8000, "" },
	      { "G729", 8000, "" },
	      { "opus", 48000, "" },
	      { "speex", 8000, "" },
	      { "speex", 16000, "" },
	      { "speex", 32000, "" },
	      { "AMR", 8000, "" },
	      { "AMR", 8000, "octet-align=1" },
	      { "AMR-WB", 16000, "" },
	      { "G726-24", 8000, "" },
	      { "AAL2-G726-40", 8000, "" },
	      { "L16", 8000, "" },
	      { "MP3", 8000, "" },
	      { "FLAC", 8000, "" },
	      { "OGG-OPUS", 48000, "gain=-512" },
	      { "GSM-WAV", 8000, "" },
	      { "F64", 8000, "" },
	      { "OGG-OPUS", 48000, "gain=0; streams=2" } };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int16_t samples[ET_CODEC_SAMPLES_MAX];
	struct et_reader r = et_reader_of(data, size);
	struct et_decoder *d = NULL;

	if (size < 3 || size > 3000) {
		return 0;
	}
	const size_t kind = et_read8(&r) % ET_ARRAY_SIZE(kinds);
	const struct et_codec *codec =
		et_codec_find(kinds[kind].name, strlen(kinds[kind].name), kinds[kind].clock_rate);
	if (codec == NULL || et_decoder_new(codec, kinds[kind].fmtp, &d, NULL) < 0) {
		abort();
	}
	while (et_reader_left(&r) > 1) {
		struct et_view payload = { .size = et_read8(&r) };
		payload.size =
			payload.size < et_reader_left(&r) ? payload.size : et_reader_left(&r);
		payload.data = et_read_bytes(&r, payload.size);
		if (et_reader_left(&r) % 3 == 1 && payload.size % 4 == 0 &&
		    et_codec_has_voices(codec)) {
			et_decoder_pick(d, ET_CHANNEL_RIGHT);
		}
		if (et_reader_left(&r) % 5 == 1 && et_codec_conceals(codec)) {
			const size_t lost = 80 * (1 + et_reader_left(&r) % 40);
			const size_t told = et_decoder_told(d, payload);
			const bool next = et_reader_left(&r) % 2 == 1;
			const size_t made = et_decoder_conceal(
				d, next ? payload : (struct et_view){ NULL, 0 }, samples, lost);
			if (told > ET_CODEC_SAMPLES_MAX || (made != 0 && made != lost)) {
				abort();
			}
		}
		const size_t max = payload.size % 2 == 0 ? ET_CODEC_SAMPLES_MAX : 500;
		if (et_decoder_decode(d, payload, samples, max) > max) {
			abort();
		}
	}
	et_decoder_free(d);
	return 0;
}
