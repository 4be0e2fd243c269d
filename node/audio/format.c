#include "node/audio/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/format_internal.h"
#include "node/audio/wav.h"
#include "node/io/clock.h"

/* ---- WAV: no state ---- */

static int64_t wav_size(const struct et_audio_about *about)
{
	return (int64_t)(ET_WAV_HEADER_SIZE + about->frames * ET_WAV_FRAME_SIZE +
			 (about->concealed ? ET_WAV_LABEL_SIZE : 0));
}

/* Its header, and what stands behind its samples when it has a label. */
static int wav_head(const struct et_audio_about *about, uint8_t header[ET_WAV_HEADER_SIZE],
		    uint8_t label[ET_WAV_LABEL_SIZE])
{
	int rc = et_wav_header(about->frames, about->rate, header);
	return rc == 0 && about->concealed ? et_wav_label(header, label) : rc;
}

static int wav_begin(struct et_audio_writer *w, struct et_error *reterr)
{
	uint8_t header[ET_WAV_HEADER_SIZE];
	uint8_t label[ET_WAV_LABEL_SIZE];

	int rc = wav_head(&w->about, header, label);
	if (rc < 0) {
		return et_fail_plain(reterr, rc,
				     "WAV file of more than 4 GiB: ask for flac, or for a span");
	}
	return audio_give(w, header, sizeof(header), reterr);
}

static int wav_write(struct et_audio_writer *w, const int16_t *samples, size_t frames,
		     struct et_error *reterr)
{
	uint8_t bytes[1024 * ET_WAV_FRAME_SIZE];
	int rc = 0;

	while (frames > 0 && rc == 0) {
		const size_t n = frames < 1024 ? frames : 1024;
		et_wav_frames(samples, n, bytes);
		rc = audio_give(w, bytes, n * ET_WAV_FRAME_SIZE, reterr);
		samples += n * ET_MIX_CHANNELS;
		frames -= n;
	}
	return rc;
}

static int wav_end(struct et_audio_writer *w, struct et_error *reterr)
{
	uint8_t header[ET_WAV_HEADER_SIZE];
	uint8_t label[ET_WAV_LABEL_SIZE];

	if (!w->about.concealed) {
		return 0;
	}
	(void)wav_head(&w->about, header, label); /* as at the begin */
	return audio_give(w, label, sizeof(label), reterr);
}

static const struct audio_writer_kind audio_wav = {
	.size = wav_size, .begin = wav_begin, .write = wav_write, .end = wav_end
};

/* ---- The table ---- */

static const struct et_audio_format formats[] = {
	{ "wav", "audio/wav", &audio_wav },
	{ "flac", "audio/flac", &audio_flac },
	{ "opus", "audio/ogg; codecs=opus", &audio_opus },
	{ "mp3", "audio/mpeg", &audio_mp3 },
};

const struct et_audio_format *et_audio_format_find(const char *name)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(formats); i++) {
		if (strcmp(formats[i].name, name) == 0) {
			return &formats[i];
		}
	}
	return NULL;
}

int64_t et_audio_size(const struct et_audio_format *format, const struct et_audio_about *about)
{
	return format->kind->size != NULL ? format->kind->size(about) : -1;
}

/* ---- Writers ---- */

int audio_give(struct et_audio_writer *w, const void *data, size_t size, struct et_error *reterr)
{
	int rc = size > 0 ? w->sink(w->arg, data, size) : 0;
	return rc < 0 ? et_fail(reterr, rc, "write %s file", w->format->name) : 0;
}

size_t audio_tags(const struct et_audio_about *about, struct audio_tag ret[AUDIO_TAGS])
{
	char id[ET_UUID_TEXT_SIZE];
	char start[ET_TIME_TEXT_SIZE];
	size_t n = 0;

	et_uuid_format(about->recording, id);
	et_time_format(about->start_us, start);
	ret[n].name = "RECORDING";
	(void)snprintf(ret[n++].text, AUDIO_TAG_TEXT, "%s", id);
	ret[n].name = "START";
	(void)snprintf(ret[n++].text, AUDIO_TAG_TEXT, "%s", start);
	ret[n].name = "COMMENT";
	(void)snprintf(
		ret[n++].text, AUDIO_TAG_TEXT,
		"A derivative, made by evertape. The original is evidence; this file is not.");
	if (about->incomplete) {
		ret[n].name = "INCOMPLETE";
		(void)snprintf(ret[n++].text, AUDIO_TAG_TEXT,
			       "Parts of the recording could not be had: they are silence here.");
	}
	if (about->concealed) {
		ret[n].name = "CONCEALED";
		(void)snprintf(ret[n++].text, AUDIO_TAG_TEXT,
			       "Sound that was lost on its way to the recorder is made up here.");
	}
	return n;
}

int et_audio_writer_new(const struct et_audio_format *format, const struct et_audio_about *about,
			et_audio_sink sink, void *arg, struct et_audio_writer **ret,
			struct et_error *reterr)
{
	if (about->rate != 8000 && about->rate != 16000 && about->rate != 48000) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED, "%s file of %u Hz", format->name,
				     about->rate);
	}
	ET_CLEANUP(et_audio_writer_freep) struct et_audio_writer *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "%s file", format->name);
	}
	*w = (struct et_audio_writer){
		.format = format, .about = *about, .sink = sink, .arg = arg
	};
	int rc = format->kind->begin(w, reterr);
	if (rc < 0) {
		return rc;
	}
	*ret = ET_TAKE(w);
	return 0;
}

int et_audio_writer_write(struct et_audio_writer *w, const int16_t *samples, size_t frames,
			  struct et_error *reterr)
{
	if (frames > w->about.frames - w->frames) {
		return et_fail_plain(reterr, ET_EINTEGRITY, "%s file: more frames than announced",
				     w->format->name);
	}
	w->frames += frames;
	return w->format->kind->write(w, samples, frames, reterr);
}

int et_audio_writer_end(struct et_audio_writer *w, struct et_error *reterr)
{
	if (w->frames != w->about.frames) {
		return et_fail_plain(reterr, ET_EINTEGRITY, "%s file: fewer frames than announced",
				     w->format->name);
	}
	return w->format->kind->end(w, reterr);
}

struct et_audio_writer *et_audio_writer_free(struct et_audio_writer *w)
{
	if (w != NULL) {
		if (w->format->kind->free != NULL) {
			w->format->kind->free(w->state);
		}
		free(w);
	}
	return NULL;
}
