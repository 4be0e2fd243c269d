/* The sound of a recording, or a span of it, as a file. It is read twice: the first time to know
 * what the file's head says and whether all of it is there, the second time to write it. */
#include <string.h>

#include "node/audio/wav.h"
#include "node/crypto/md5.h"
#include "node/playback/walk_internal.h"

bool et_playback_is_complete(const struct et_playback_summary *s)
{
	return s->segments_missing + s->segments_no_key + s->segments_damaged == 0 &&
	       s->packets_no_decoder == 0 && s->mix.undecodable == 0 && s->problem[0] == '\0';
}

/* Between the mix and what is written; or nothing is. */
struct sound {
	struct et_md5 *md5;		/* owned */
	uint64_t left;			/* frames of the part still to come; more are not of it */
	struct et_audio_writer *writer; /* owned, or NULL */
	struct et_error error;		/* the writer's */
};

static int sound_take(void *arg, const int16_t *samples, size_t frames)
{
	struct sound *s = arg;
	uint8_t bytes[1024 * ET_WAV_FRAME_SIZE];
	int rc = 0;

	while (frames > 0 && s->left > 0 && rc == 0) {
		size_t n = frames < 1024 ? frames : 1024;
		n = n < s->left ? n : (size_t)s->left;
		et_wav_frames(samples, n, bytes);
		et_md5_add(s->md5, bytes, n * ET_WAV_FRAME_SIZE);
		if (s->writer != NULL) {
			rc = et_audio_writer_write(s->writer, samples, n, &s->error);
		}
		samples += n * ET_MIX_CHANNELS;
		frames -= n;
		s->left -= n;
	}
	return rc;
}

/* What was there the first time and is not now is silence. */
static int sound_pad(struct sound *s)
{
	static const int16_t silence[1024 * ET_MIX_CHANNELS];
	int rc = 0;

	while (s->left > 0 && rc == 0) {
		rc = sound_take(s, silence, s->left < 1024 ? (size_t)s->left : 1024);
	}
	return rc;
}

int et_playback_read(const struct et_playback_config *config, struct et_playback_part *part,
		     bool to_end, struct et_playback_summary *ret, struct et_error *reterr)
{
	struct et_playback_config known = *config;
	ET_CLEANUP(et_md5_freep) struct et_md5 *md5 = NULL;

	int rc = et_md5_new(&md5, reterr);
	if (rc < 0) {
		return rc;
	}
	struct sound s = { .md5 = md5, .left = part->frames };
	known.rate = part->rate;
	rc = et_playback_render(&known, part->first_frame, to_end ? UINT64_MAX : part->frames,
				sound_take, &s, ret, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)sound_pad(&s);
	et_md5_end(md5, part->md5);
	part->is_settled = ret->segments_unsealed == 0;
	part->is_complete = et_playback_is_complete(ret);
	return 0;
}

/* Is what was written what was read before? */
static int sound_check(struct sound *s, const struct et_playback_part *part,
		       const struct et_playback_summary *now, struct et_error *reterr)
{
	uint8_t md5[ET_MD5_SIZE];

	et_md5_end(s->md5, md5);
	if (!part->is_settled || memcmp(md5, part->md5, sizeof(md5)) == 0) {
		return 0;
	}
	return et_fail_plain(reterr, ET_ESTALE, "what was read is not what was read before%s%s",
			     now->problem[0] != '\0' ? ": " : "", now->problem);
}

static int sound_write(const struct et_playback_config *config, const struct et_playback_part *part,
		       struct sound *s, struct et_error *reterr)
{
	struct et_playback_summary now;

	int rc = et_playback_render(config, part->first_frame, part->frames, sound_take, s, &now,
				    reterr);
	rc = rc < 0 ? rc : sound_pad(s);
	if (rc < 0 && s->error.code == rc && reterr != NULL) {
		*reterr = s->error;
	}
	rc = rc < 0 ? rc : sound_check(s, part, &now, reterr);
	return rc < 0 ? rc : et_audio_writer_end(s->writer, reterr);
}

int et_playback_export(const struct et_playback_config *config, const struct et_playback_part *part,
		       const struct et_audio_format *format, et_audio_sink sink, void *arg,
		       struct et_error *reterr)
{
	struct et_playback_config known = *config;
	struct et_audio_about about = {
		.start_us = et_playback_origin(config) +
			    (int64_t)(part->first_frame * 1000000 / part->rate),
		.rate = part->rate,
		.frames = part->frames,
		.incomplete = !part->is_complete,
		.concealed = config->conceal,
	};
	struct sound s = { .left = part->frames };

	memcpy(about.recording, config->recording, sizeof(about.recording));
	if (part->is_settled) {
		memcpy(about.md5, part->md5, sizeof(about.md5));
	}
	known.rate = part->rate;
	int rc = et_md5_new(&s.md5, reterr);
	rc = rc < 0 ? rc : et_audio_writer_new(format, &about, sink, arg, &s.writer, reterr);
	rc = rc < 0 ? rc : sound_write(&known, part, &s, reterr);
	s.writer = et_audio_writer_free(s.writer);
	s.md5 = et_md5_free(s.md5);
	return rc;
}
