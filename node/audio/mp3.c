/* MPEG audio layer III through libmpg123: a payload is one whole frame, and each gives as many
 * samples as a frame has, silence where nothing can be heard in it: so a stream never slips. */
#include <mpg123.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/codec_internal.h"

enum { FRAME_SAMPLES = 1152, OLD_SAMPLES = 576, HEAD = 4 };

/* Samples of a frame at `rate`, by its header (ISO 11172-3, 2.4.1.3); 0: it is none. */
static size_t frame_samples(struct et_view p, uint32_t rate)
{
	static const uint32_t rates[3] = { 44100, 48000, 32000 };

	if (p.size < HEAD || p.data[0] != 0xFF || (p.data[1] & 0xE6) != 0xE2) {
		return 0;
	}
	const unsigned version = p.data[1] >> 3 & 3; /* 3: MPEG 1, 2: 2, 0: 2.5 */
	const unsigned index = p.data[2] >> 2 & 3;
	if (version == 1 || index == 3 ||
	    rates[index] >> (version == 3   ? 0
			     : version == 2 ? 1
					    : 2) !=
		    rate) {
		return 0;
	}
	return version == 3 ? FRAME_SAMPLES : OLD_SAMPLES;
}

struct mp3 {
	mpg123_handle *handle; /* owned */
	uint32_t rate;
};

static void mp3_close(void *state)
{
	struct mp3 *m = state;

	mpg123_delete(m->handle);
	free(m);
}

static int mp3_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	const long flags = MPG123_MONO_MIX | MPG123_QUIET | MPG123_IGNORE_INFOFRAME |
			   MPG123_NO_READAHEAD | MPG123_SKIP_ID3V2 | MPG123_NO_FRANKENSTEIN;
	struct mp3 *m = calloc(1, sizeof(*m));

	(void)fmtp;
	if (m == NULL) {
		return -ENOMEM;
	}
	m->rate = codec->rate;
	m->handle = mpg123_new(NULL, NULL);
	if (m->handle == NULL || mpg123_param(m->handle, MPG123_FLAGS, flags, 0) != MPG123_OK ||
	    mpg123_format_none(m->handle) != MPG123_OK ||
	    mpg123_format(m->handle, (long)codec->rate, MPG123_MONO, MPG123_ENC_SIGNED_16) !=
		    MPG123_OK ||
	    mpg123_open_feed(m->handle) != MPG123_OK) {
		mp3_close(m);
		return -ENOMEM;
	}
	*ret = m;
	return 0;
}

static void mp3_pick(void *state, enum et_channel channel)
{
	static const long flags[] = { [ET_CHANNEL_BOTH] = MPG123_MONO_MIX,
				      [ET_CHANNEL_LEFT] = MPG123_MONO_LEFT,
				      [ET_CHANNEL_RIGHT] = MPG123_MONO_RIGHT };
	struct mp3 *m = state;

	(void)mpg123_param(m->handle, MPG123_REMOVE_FLAGS, MPG123_FORCE_MONO, 0);
	(void)mpg123_param(m->handle, MPG123_ADD_FLAGS, flags[channel], 0);
}

static size_t mp3_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	struct mp3 *m = state;
	const size_t wanted = frame_samples(payload, m->rate);
	uint8_t *out = (uint8_t *)samples;
	size_t have = 0;
	int rc = MPG123_NEW_FORMAT;

	if (wanted == 0 || wanted > max) {
		return 0;
	}
	if (mpg123_feed(m->handle, payload.data, payload.size) != MPG123_OK) {
		rc = MPG123_ERR;
	}
	while (rc == MPG123_NEW_FORMAT && have < 2 * wanted) {
		size_t done = 0;
		rc = mpg123_read(m->handle, out + have, 2 * wanted - have, &done);
		have += done;
	}
	memset(out + have, 0, 2 * wanted - have);
	return wanted;
}

const struct codec_kind codec_mp3 = {
	.open = mp3_open, .close = mp3_close, .decode = mp3_payload, .pick = mp3_pick
};
