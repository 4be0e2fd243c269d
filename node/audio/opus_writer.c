/* Ogg (RFC 3533) with Opus (RFC 7845), through libogg and libopus.
 *
 *   page 0   OpusHead: mapping family 1, two streams, none coupled: one voice each
 *   page 1   OpusTags
 *   pages    packets of 20 ms, a second's worth each; the granule counts samples of 48 kHz
 *
 * The encoder is behind by its lookahead: so much is the pre-skip, and silence is put behind the
 * samples until the last of them came out. The last granule says where they end (section 4.4).
 *
 * The serial number is the end of the recording's id, which is random. */
#include <ogg/ogg.h>
#include <opus/opus.h>
#include <opus/opus_multistream.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/format_internal.h"

enum {
	PACKETS_A_SECOND = 50,
	UNIT = 48000 / PACKETS_A_SECOND, /* samples of a packet, of the highest rate: of granules */
	PACKET_MAX = ET_MIX_CHANNELS * 1275 + 16, /* bytes: of two streams of 20 ms (RFC 6716) */
};

struct opus {
	OpusMSEncoder *encoder; /* owned */
	ogg_stream_state ogg;	/* owned */
	bool has_ogg;
	uint32_t skip;	  /* samples of 48 kHz before the sound */
	uint32_t held;	  /* frames in `pcm` */
	uint64_t packets; /* of sound */
	int16_t pcm[UNIT * ET_MIX_CHANNELS];
	uint8_t packet[PACKET_MAX];
};

static void opus_free(void *state)
{
	struct opus *o = state;

	if (o == NULL) {
		return;
	}
	if (o->encoder != NULL) {
		opus_multistream_encoder_destroy(o->encoder);
	}
	if (o->has_ogg) {
		(void)ogg_stream_clear(&o->ogg);
	}
	explicit_bzero(o->pcm, sizeof(o->pcm));
	explicit_bzero(o->packet, sizeof(o->packet));
	free(o);
}

/* Bits a second of a voice. */
static opus_int32 bits_of(uint32_t rate)
{
	return rate == 8000 ? 24000 : rate == 16000 ? 32000 : 64000;
}

/* The pages that are ready; with `all` what waits becomes one, too. */
static int pages_give(struct et_audio_writer *w, bool all, struct et_error *reterr)
{
	struct opus *o = w->state;
	ogg_page page;
	int rc = 0;

	while (rc == 0 &&
	       (all ? ogg_stream_flush(&o->ogg, &page) : ogg_stream_pageout(&o->ogg, &page)) != 0) {
		rc = audio_give(w, page.header, (size_t)page.header_len, reterr);
		rc = rc < 0 ? rc : audio_give(w, page.body, (size_t)page.body_len, reterr);
	}
	return rc;
}

static int packet_put(struct opus *o, const uint8_t *data, size_t size, int64_t granule,
		      bool is_first, bool is_last, struct et_error *reterr)
{
	/* What is put in is copied; libogg has no const. */
	union {
		const uint8_t *in;
		unsigned char *out;
	} bytes = { data };
	ogg_packet packet = { .packet = bytes.out,
			      .bytes = (long)size,
			      .b_o_s = is_first,
			      .e_o_s = is_last,
			      .granulepos = granule };

	return ogg_stream_packetin(&o->ogg, &packet) == 0 ? 0
							  : et_fail(reterr, -ENOMEM, "Ogg page");
}

/* ---- What stands before the sound; numbers are little-endian ---- */

static void put_little(struct et_buffer *b, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		et_buffer_add8(b, (uint8_t)(v >> (8 * i)));
	}
}

static void head_make(const struct et_audio_writer *w, struct et_buffer *b)
{
	const struct opus *o = w->state;

	et_buffer_add(b, "OpusHead", 8);
	et_buffer_add8(b, 1); /* version */
	et_buffer_add8(b, ET_MIX_CHANNELS);
	put_little(b, o->skip, 2);
	put_little(b, w->about.rate, 4);
	put_little(b, 0, 2);		    /* gain */
	et_buffer_add8(b, 1);		    /* mapping family: the order of Vorbis */
	et_buffer_add8(b, ET_MIX_CHANNELS); /* streams */
	et_buffer_add8(b, 0);		    /* of them coupled */
	et_buffer_add8(b, 0);		    /* left: the first one */
	et_buffer_add8(b, 1);
}

static void tags_make(const struct et_audio_writer *w, struct et_buffer *b)
{
	const char *vendor = opus_get_version_string();
	struct audio_tag tags[AUDIO_TAGS];
	const size_t count = audio_tags(&w->about, tags);

	et_buffer_add(b, "OpusTags", 8);
	put_little(b, strlen(vendor), 4);
	et_buffer_add(b, vendor, strlen(vendor));
	put_little(b, count, 4);
	for (size_t i = 0; i < count; i++) {
		put_little(b, strlen(tags[i].name) + 1 + strlen(tags[i].text), 4);
		et_buffer_printf(b, "%s=%s", tags[i].name, tags[i].text);
	}
}

static int heads_give(struct et_audio_writer *w, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer head = { 0 };
	ET_CLEANUP(et_buffer_release) struct et_buffer tags = { 0 };

	head_make(w, &head);
	tags_make(w, &tags);
	if (head.failed || tags.failed) {
		return et_fail(reterr, -ENOMEM, "Ogg Opus file");
	}
	int rc = packet_put(w->state, head.data, head.size, 0, true, false, reterr);
	rc = rc < 0 ? rc : pages_give(w, true, reterr);
	rc = rc < 0 ? rc : packet_put(w->state, tags.data, tags.size, 0, false, false, reterr);
	return rc < 0 ? rc : pages_give(w, true, reterr);
}

static int opus_begin(struct et_audio_writer *w, struct et_error *reterr)
{
	static const unsigned char mapping[ET_MIX_CHANNELS] = { 0, 1 };
	const uint8_t *id = w->about.recording;
	struct opus *o = calloc(1, sizeof(*o));
	opus_int32 behind = 0;
	int code = OPUS_ALLOC_FAIL;

	w->state = o;
	if (o != NULL) {
		o->has_ogg = ogg_stream_init(&o->ogg, (int)et_get32(id + 12)) == 0;
		o->encoder = opus_multistream_encoder_create(
			(opus_int32)w->about.rate, ET_MIX_CHANNELS, ET_MIX_CHANNELS, 0, mapping,
			OPUS_APPLICATION_AUDIO, &code);
	}
	if (o == NULL || !o->has_ogg || o->encoder == NULL) {
		return et_fail(reterr, -ENOMEM, "Ogg Opus file");
	}
	code = opus_multistream_encoder_ctl(
		o->encoder, OPUS_SET_BITRATE(ET_MIX_CHANNELS * bits_of(w->about.rate)));
	if (code == OPUS_OK) {
		code = opus_multistream_encoder_ctl(o->encoder, OPUS_GET_LOOKAHEAD(&behind));
	}
	if (code != OPUS_OK) {
		return et_fail_plain(reterr, ET_EINTEGRITY, "the Opus encoder says: %s",
				     opus_strerror(code));
	}
	o->skip = (uint32_t)behind * (48000 / w->about.rate);
	return heads_give(w, reterr);
}

/* ---- The sound ---- */

/* Where the sound ends, as granules count. */
static uint64_t end_of(const struct et_audio_writer *w)
{
	const struct opus *o = w->state;

	return o->skip + w->about.frames * (48000 / w->about.rate);
}

/* What is held becomes a packet; it is as long as one. */
static int packet_make(struct et_audio_writer *w, bool is_last, struct et_error *reterr)
{
	struct opus *o = w->state;
	const uint64_t end = end_of(w);
	const int n =
		opus_multistream_encode(o->encoder, o->pcm, (int)o->held, o->packet, PACKET_MAX);

	if (n < 0) {
		return et_fail_plain(reterr, ET_EINTEGRITY, "the Opus encoder says: %s",
				     opus_strerror(n));
	}
	o->held = 0;
	o->packets++;
	int rc = packet_put(o, o->packet, (size_t)n, (int64_t)(is_last ? end : o->packets * UNIT),
			    false, is_last, reterr);
	if (rc < 0) {
		return rc;
	}
	return pages_give(w, is_last || o->packets % PACKETS_A_SECOND == 0, reterr);
}

static int opus_write(struct et_audio_writer *w, const int16_t *samples, size_t frames,
		      struct et_error *reterr)
{
	const uint32_t whole = w->about.rate / PACKETS_A_SECOND;
	struct opus *o = w->state;
	int rc = 0;

	while (frames > 0 && rc == 0) {
		const size_t room = whole - o->held;
		const size_t n = frames < room ? frames : room;
		memcpy(o->pcm + (size_t)o->held * ET_MIX_CHANNELS, samples,
		       n * ET_MIX_CHANNELS * sizeof(*samples));
		o->held += (uint32_t)n;
		samples += n * ET_MIX_CHANNELS;
		frames -= n;
		rc = o->held == whole ? packet_make(w, false, reterr) : 0;
	}
	return rc;
}

/* There is always something left: as much as the encoder is behind. */
static int opus_end(struct et_audio_writer *w, struct et_error *reterr)
{
	const uint32_t whole = w->about.rate / PACKETS_A_SECOND;
	struct opus *o = w->state;
	const uint64_t end = end_of(w);
	int rc = 0;

	while (rc == 0 && o->packets * UNIT < end) {
		memset(o->pcm + (size_t)o->held * ET_MIX_CHANNELS, 0,
		       (size_t)(whole - o->held) * ET_MIX_CHANNELS * sizeof(*o->pcm));
		o->held = whole;
		rc = packet_make(w, (o->packets + 1) * UNIT >= end, reterr);
	}
	return rc;
}

const struct audio_writer_kind audio_opus = {
	.begin = opus_begin, .write = opus_write, .end = opus_end, .free = opus_free
};
