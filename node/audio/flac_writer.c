/* FLAC (RFC 9639) through libFLAC, which cannot say the samples' MD5 before it has seen them all:
 * STREAMINFO goes out with the one that the caller knows. The sizes of the shortest and longest
 * frame stay 0, "unknown" (section 8.2). */
#include <FLAC/metadata.h>
#include <FLAC/stream_encoder.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/format_internal.h"

enum {
	MD5_AT = 26, /* bytes of the file before it: "fLaC", a block's head, and 18 of STREAMINFO */
	MD5_END = MD5_AT + 16,
	CHUNK = 1024, /* frames */
};

struct flac {
	FLAC__StreamEncoder *encoder;	/* owned */
	FLAC__StreamMetadata *comments; /* owned */
	struct et_audio_writer *writer;
	uint64_t at; /* bytes so far */
	int failed;  /* what the sink said */
	struct et_error error;
	FLAC__int32 frames[CHUNK * ET_MIX_CHANNELS];
};

static void flac_free(void *state)
{
	struct flac *f = state;

	if (f == NULL) {
		return;
	}
	if (f->encoder != NULL) {
		FLAC__stream_encoder_delete(f->encoder);
	}
	if (f->comments != NULL) {
		FLAC__metadata_object_delete(f->comments);
	}
	explicit_bzero(f->frames, sizeof(f->frames));
	free(f);
}

static FLAC__StreamEncoderWriteStatus on_bytes(const FLAC__StreamEncoder *encoder,
					       const FLAC__byte data[], size_t size,
					       uint32_t samples, uint32_t frame, void *arg)
{
	struct flac *f = arg;

	(void)encoder;
	(void)samples;
	(void)frame;
	while (size > 0 && f->failed == 0) {
		const bool in_md5 = f->at >= MD5_AT && f->at < MD5_END;
		const uint64_t end = f->at < MD5_AT ? MD5_AT : in_md5 ? MD5_END : UINT64_MAX;
		const size_t n = size < end - f->at ? size : (size_t)(end - f->at);
		f->failed = audio_give(f->writer,
				       in_md5 ? f->writer->about.md5 + (f->at - MD5_AT) : data, n,
				       &f->error);
		data += n;
		size -= n;
		f->at += n;
	}
	return f->failed == 0 ? FLAC__STREAM_ENCODER_WRITE_STATUS_OK
			      : FLAC__STREAM_ENCODER_WRITE_STATUS_FATAL_ERROR;
}

/* Why it went wrong: the sink knows, or the encoder. */
static int flac_fail(const struct flac *f, struct et_error *reterr)
{
	if (f->failed < 0) {
		if (reterr != NULL) {
			*reterr = f->error;
		}
		return f->failed;
	}
	return et_fail_plain(reterr, ET_EINTEGRITY, "the FLAC encoder says: %s",
			     FLAC__stream_encoder_get_resolved_state_string(f->encoder));
}

static bool comment_add(struct flac *f, const struct audio_tag *tag)
{
	FLAC__StreamMetadata_VorbisComment_Entry entry;

	return FLAC__metadata_object_vorbiscomment_entry_from_name_value_pair(&entry, tag->name,
									      tag->text) &&
	       FLAC__metadata_object_vorbiscomment_append_comment(f->comments, entry,
								  /* copy= */ false);
}

static int flac_begin(struct et_audio_writer *w, struct et_error *reterr)
{
	struct audio_tag tags[AUDIO_TAGS];
	const size_t count = audio_tags(&w->about, tags);
	struct flac *f = calloc(1, sizeof(*f));

	w->state = f;
	bool ok = f != NULL;
	if (ok) {
		f->writer = w;
		f->encoder = FLAC__stream_encoder_new();
		f->comments = FLAC__metadata_object_new(FLAC__METADATA_TYPE_VORBIS_COMMENT);
		ok = f->encoder != NULL && f->comments != NULL;
	}
	for (size_t i = 0; i < count && ok; i++) {
		ok = comment_add(f, &tags[i]);
	}
	if (!ok) {
		return et_fail(reterr, -ENOMEM, "FLAC file");
	}
	FLAC__StreamEncoder *e = f->encoder;
	ok = FLAC__stream_encoder_set_channels(e, ET_MIX_CHANNELS) &&
	     FLAC__stream_encoder_set_bits_per_sample(e, 16) &&
	     FLAC__stream_encoder_set_sample_rate(e, w->about.rate) &&
	     FLAC__stream_encoder_set_total_samples_estimate(e, w->about.frames) &&
	     FLAC__stream_encoder_set_verify(e, true) &&
	     FLAC__stream_encoder_set_metadata(e, &f->comments, 1) &&
	     FLAC__stream_encoder_init_stream(e, on_bytes, NULL, NULL, NULL, f) ==
		     FLAC__STREAM_ENCODER_INIT_STATUS_OK;
	return ok ? 0 : flac_fail(f, reterr);
}

static int flac_write(struct et_audio_writer *w, const int16_t *samples, size_t frames,
		      struct et_error *reterr)
{
	struct flac *f = w->state;

	while (frames > 0) {
		const size_t n = frames < CHUNK ? frames : CHUNK;
		for (size_t i = 0; i < n * ET_MIX_CHANNELS; i++) {
			f->frames[i] = samples[i];
		}
		if (!FLAC__stream_encoder_process_interleaved(f->encoder, f->frames, (uint32_t)n)) {
			return flac_fail(f, reterr);
		}
		samples += n * ET_MIX_CHANNELS;
		frames -= n;
	}
	return 0;
}

static int flac_end(struct et_audio_writer *w, struct et_error *reterr)
{
	struct flac *f = w->state;

	return FLAC__stream_encoder_finish(f->encoder) ? 0 : flac_fail(f, reterr);
}

const struct audio_writer_kind audio_flac = {
	.begin = flac_begin, .write = flac_write, .end = flac_end, .free = flac_free
};
