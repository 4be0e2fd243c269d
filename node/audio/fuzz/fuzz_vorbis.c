/* Any headers and packets of Vorbis: refused, or heard within bounds of memory.
 *
 *   input := size of the setup 2 | identity 30 | setup | (size 1 | packet)* */
#include <stdlib.h>
#include <string.h>

#include "node/audio/codec.h"
#include "node/audio/vorbis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const char *fmtp, uint32_t rate, struct et_view packets, enum et_channel channel)
{
	static int16_t samples[ET_CODEC_SAMPLES_MAX];
	const struct et_codec *codec = et_codec_find("VORBIS", 6, rate);
	struct et_reader r = et_reader_of(packets.data, packets.size);
	struct et_decoder *d = NULL;

	if (codec == NULL || et_decoder_new(codec, fmtp, &d, NULL) < 0) {
		return;
	}
	et_decoder_pick(d, channel);
	while (et_reader_left(&r) > 1) {
		struct et_view payload = { .size = et_read8(&r) };
		payload.size =
			payload.size < et_reader_left(&r) ? payload.size : et_reader_left(&r);
		payload.data = et_read_bytes(&r, payload.size);
		const size_t max = payload.size % 2 == 0 ? ET_CODEC_SAMPLES_MAX : 500;
		if (et_decoder_decode(d, payload, samples, max) > max) {
			abort();
		}
	}
	et_decoder_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char fmtp[ET_VORBIS_FMTP_MAX];
	struct et_reader r = et_reader_of(data, size);
	struct et_vorbis *v = NULL;
	const size_t setup_size = et_read16(&r);
	const struct et_view identity = { et_read_bytes(&r, ET_VORBIS_IDENTITY_SIZE),
					  ET_VORBIS_IDENTITY_SIZE };
	const struct et_view setup = { et_read_bytes(&r, setup_size), setup_size };

	if (r.failed || et_vorbis_new(identity, setup, &v) < 0) {
		return 0;
	}
	const struct et_view packets = { data + size - et_reader_left(&r), et_reader_left(&r) };
	et_vorbis_fmtp(identity, setup, fmtp);
	decode(fmtp, et_vorbis_rate(v), packets, ET_CHANNEL_LEFT);
	decode(fmtp, et_vorbis_rate(v), packets, ET_CHANNEL_BOTH);
	(void)et_vorbis_free(v);
	return 0;
}
