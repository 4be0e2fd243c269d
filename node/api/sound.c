/* The sound of a recording: WAV with ranges, files of other formats, peaks.
 *
 * Happy path: api_playback_open() (audio.c) -> survey (length and rate, by the INDEX of the tapes)
 * -> read what is to be sent once (every tag is checked; not for a player, which asks for ranges)
 * -> head -> samples, as the format has them. What cannot be had is silence, and the head says so:
 * X-Evertape-Complete and X-Evertape-Problem. What can be had no longer when it is sent breaks the
 * answer off: who gets it to its end has what its head announced. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/playback_internal.h"

#define PEAKS_DEFAULT 800
#define PEAKS_MAX 4000

/* ---- Ranges of a WAV file ---- */

/* Bytes [first, last] of a WAV file of some frames of a recording, made as it is sent. */
struct wav {
	struct api_call *call;
	const struct et_playback_part *part; /* borrowed: what the file has */
	uint64_t skip; /* bytes of the frames at hand that lie before the range */
	uint64_t left; /* bytes still to be sent */
};

static int wav_sink(void *arg, const int16_t *samples, size_t frames)
{
	struct wav *w = arg;
	uint8_t bytes[1024 * ET_WAV_FRAME_SIZE];
	while (frames > 0 && w->left > 0) {
		size_t n = frames < 1024 ? frames : 1024;
		et_wav_frames(samples, n, bytes);
		uint64_t size = n * ET_WAV_FRAME_SIZE;
		uint64_t skip = w->skip < size ? w->skip : size;
		uint64_t take = size - skip < w->left ? size - skip : w->left;
		int rc = api_write(w->call, bytes + skip, (size_t)take);
		if (rc < 0) {
			return rc;
		}
		w->skip -= skip;
		w->left -= take;
		samples += 2 * n;
		frames -= n;
	}
	return 0;
}

/* What a summary of an earlier request said of the length still holds: silence fills the rest. */
static int wav_pad(struct wav *w)
{
	static const uint8_t zeros[4096];
	while (w->left > 0) {
		size_t n = w->left < sizeof(zeros) ? (size_t)w->left : sizeof(zeros);
		int rc = api_write(w->call, zeros, n);
		if (rc < 0) {
			return rc;
		}
		w->left -= n;
	}
	return 0;
}

/* What of a piece of the file, which stands at `at`, lies in [first, last]. */
static int piece_send(struct api_call *call, const uint8_t *piece, uint64_t size, uint64_t at,
		      uint64_t first, uint64_t last)
{
	const uint64_t from = first > at ? first : at;
	const uint64_t to = last + 1 < at + size ? last + 1 : at + size;
	return from < to ? api_write(call, piece + (from - at), (size_t)(to - from)) : 0;
}

/* Those of its samples: bytes [first, last] behind the header. */
static int samples_send(struct api_playback *p, struct wav *w, uint64_t first, uint64_t last,
			struct et_error *reterr)
{
	struct et_playback_summary summary;
	uint64_t first_frame = w->part->first_frame + first / ET_WAV_FRAME_SIZE;
	w->left = last - first + 1;
	w->skip = first % ET_WAV_FRAME_SIZE;
	uint64_t count = (w->skip + w->left + ET_WAV_FRAME_SIZE - 1) / ET_WAV_FRAME_SIZE;
	p->config.rate = w->part->rate;
	int rc = et_playback_render(&p->config, first_frame, count, wav_sink, w, &summary, reterr);
	return rc < 0 ? rc : wav_pad(w);
}

static uint64_t label_size(const struct api_playback *p)
{
	return p->config.conceal ? ET_WAV_LABEL_SIZE : 0;
}

static int wav_send(struct api_playback *p, struct wav *w, uint64_t first, uint64_t last,
		    struct et_error *reterr)
{
	const uint64_t end = ET_WAV_HEADER_SIZE + w->part->frames * ET_WAV_FRAME_SIZE;
	uint8_t header[ET_WAV_HEADER_SIZE];
	uint8_t label[ET_WAV_LABEL_SIZE];
	int rc = et_wav_header(w->part->frames, w->part->rate, header);
	if (rc == 0 && p->config.conceal) {
		rc = et_wav_label(header, label);
	}
	rc = rc < 0 ? rc : piece_send(p->call, header, sizeof(header), 0, first, last);
	if (rc == 0 && first < end && last >= ET_WAV_HEADER_SIZE) {
		const uint64_t from = first > ET_WAV_HEADER_SIZE ? first : ET_WAV_HEADER_SIZE;
		const uint64_t to = last < end ? last : end - 1;
		rc = samples_send(p, w, from - ET_WAV_HEADER_SIZE, to - ET_WAV_HEADER_SIZE, reterr);
	}
	return rc < 0 ? rc : piece_send(p->call, label, label_size(p), end, first, last);
}

static void sound_headers(struct api_playback *p, bool read)
{
	api_playback_headers(p->call, &p->summary, read);
	api_header(p->call, "x-evertape-tones:", "%s", p->config.mask_tones ? "masked" : "kept");
	api_header(p->call, "x-evertape-losses:", "%s", p->config.conceal ? "concealed" : "silent");
	if (p->config.conceal && read) {
		api_header(p->call, "x-evertape-concealed-ms:", "%" PRIu64,
			   p->summary.concealed / (p->summary.rate / 1000));
	}
}

static int range_send(struct api_playback *p, const struct et_playback_part *part,
		      struct et_error *reterr)
{
	struct api_call *call = p->call;
	struct wav w = { .call = call, .part = part };
	uint64_t size = ET_WAV_HEADER_SIZE + part->frames * ET_WAV_FRAME_SIZE + label_size(p);
	uint64_t first = 0;
	uint64_t last = size - 1;
	if (part->frames > ET_WAV_FRAMES_MAX - label_size(p) / ET_WAV_FRAME_SIZE) {
		return et_fail_plain(reterr, ET_ELIMIT, "the recording is too long for a WAV file");
	}
	int range = api_range_parse(call->range, size, &first, &last);
	sound_headers(p, false);
	api_header(call, "accept-ranges:", "bytes");
	if (range < 0) {
		api_header(call, "content-range:", "bytes */%" PRIu64, size);
		api_begin(call, 416, "audio/wav", 0);
		api_end(call);
		return 0;
	}
	if (range > 0) {
		api_header(call, "content-range:", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first,
			   last, size);
	}
	api_begin(call, range > 0 ? 206 : 200, "audio/wav", (int64_t)(last - first + 1));
	int rc = wav_send(p, &w, first, last, reterr);
	if (rc == 0) {
		api_end(call);
	}
	return rc;
}

/* ---- Files ---- */

struct file {
	struct api_playback *p;
	const struct et_audio_format *format;
	int64_t size; /* bytes, or -1 */
	bool begun;
};

/* Nothing is sent before the first byte came: until then an error can be answered. */
static int file_write(void *arg, const void *data, size_t size)
{
	struct file *f = arg;
	struct api_call *call = f->p->call;
	if (!f->begun) {
		f->begun = true;
		sound_headers(f->p, true);
		if (f->size >= 0) { /* WAV: range_send() */
			api_header(call, "accept-ranges:", "bytes");
		}
		api_begin(call, 200, f->format->content_type, f->size);
	}
	return api_write(call, data, size);
}

static int file_send(struct api_playback *p, const struct et_playback_part *part,
		     const struct et_audio_format *format, struct et_error *reterr)
{
	const struct et_audio_about about = { .rate = part->rate,
					      .frames = part->frames,
					      .concealed = p->config.conceal };
	struct file f = { .p = p, .format = format, .size = et_audio_size(format, &about) };
	int rc = et_playback_export(&p->config, part, format, file_write, &f, reterr);
	if (rc == 0) {
		api_end(p->call);
	}
	return rc;
}

/* Which frames are wanted; with `read`, read once: the summary tells of them then. */
static int sound_measure(struct api_playback *p, bool read, struct et_playback_part *ret,
			 struct et_error *reterr)
{
	int rc = et_playback_survey(&p->config, &p->summary, reterr);
	if (rc < 0) {
		return rc;
	}
	const uint64_t all = p->summary.frames;
	ret->rate = p->summary.rate;
	et_playback_span(p->from_ms, p->to_ms, ret->rate, all, &ret->first_frame, &ret->frames);
	if (ret->frames == 0 && p->from_ms > 0) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "from_ms is behind the end: the recording has %" PRIu64 " ms",
				     all / (ret->rate / 1000));
	}
	return read ? et_playback_read(&p->config, ret, p->to_ms == UINT64_MAX, &p->summary, reterr)
		    : 0;
}

/* from_ms and to_ms, and how the audit log tells them. */
static int span_params(struct api_playback *p, const struct api_request *request, const char *what,
		       char ret_detail[96], struct et_error *reterr)
{
	int rc = api_param_uint(request, "from_ms", 0, UINT32_MAX, 0, &p->from_ms, reterr);
	rc = rc < 0 ? rc
		    : api_param_uint(request, "to_ms", 1, UINT32_MAX, UINT64_MAX, &p->to_ms,
				     reterr);
	if (rc < 0) {
		return rc;
	}
	if (p->from_ms >= p->to_ms) {
		return et_fail_plain(reterr, ET_EUSAGE, "to_ms is to be more than from_ms");
	}
	if (p->to_ms != UINT64_MAX) {
		(void)snprintf(ret_detail, 96, "%s from %" PRIu64 " ms to %" PRIu64 " ms", what,
			       p->from_ms, p->to_ms);
	} else if (p->from_ms > 0) {
		(void)snprintf(ret_detail, 96, "%s from %" PRIu64 " ms", what, p->from_ms);
	} else {
		(void)snprintf(ret_detail, 96, "%s", what);
	}
	return 0;
}

/* What is asked for: a file of which format (WAV, if it does not say), for which purpose. */
static int sound_params(const struct api_request *request, const struct et_audio_format **ret,
			bool *ret_export, struct et_error *reterr)
{
	static const char *const known[] = { "purpose", "reason", "ticket", "read",  "from_ms",
					     "to_ms",	"tones",  "format", "losses" };
	const char *purpose = api_param(request, "purpose");
	const char *format = api_param(request, "format");
	*ret = et_audio_format_find(format != NULL ? format : "wav");
	*ret_export = purpose != NULL && strcmp(purpose, "export") == 0;
	int rc = api_params_check(request, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0 && purpose != NULL && !*ret_export && strcmp(purpose, "play") != 0) {
		rc = et_fail_plain(reterr, ET_EUSAGE, "purpose is play or export");
	}
	if (rc == 0 && *ret == NULL) {
		rc = et_fail_plain(reterr, ET_EUSAGE, "format is one of: " ET_AUDIO_FORMATS);
	}
	return rc;
}

/* Are losses to be concealed? The audit log tells it. */
static int losses_param(const struct api_request *request, char detail[96], bool *ret,
			struct et_error *reterr)
{
	const char *losses = api_param(request, "losses");
	*ret = losses != NULL && strcmp(losses, "conceal") == 0;
	if (losses != NULL && !*ret && strcmp(losses, "silence") != 0) {
		return et_fail_plain(reterr, ET_EUSAGE, "losses is silence or conceal");
	}
	if (*ret) {
		const size_t used = strlen(detail);
		(void)snprintf(detail + used, 96 - used, ", losses concealed");
	}
	return 0;
}

int api_audio(struct api_call *call, struct et_error *reterr)
{
	ET_CLEANUP(api_playback_release) struct api_playback p = { 0 };
	struct et_playback_part part = { 0 };
	const struct et_audio_format *format;
	char detail[96];
	bool export;
	bool conceal;
	int rc = sound_params(&call->request, &format, &export, reterr);
	rc = rc < 0 ? rc : span_params(&p, &call->request, format->name, detail, reterr);
	rc = rc < 0 ? rc : losses_param(&call->request, detail, &conceal, reterr);
	if (rc < 0) {
		return rc;
	}
	/* Of others than WAV, where a byte stands is known when those before it were made. */
	const bool range = call->range[0] != '\0' && strcmp(format->name, "wav") == 0;
	rc = api_playback_open(call, &p, export ? "recording.export" : "recording.play", detail,
			       reterr);
	p.config.conceal = conceal;
	rc = rc < 0 ? rc : sound_measure(&p, !range, &part, reterr);
	if (rc < 0) {
		return rc;
	}
	return range ? range_send(&p, &part, reterr) : file_send(&p, &part, format, reterr);
}

/* ---- Peaks ---- */

int api_peaks(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = {
		"count", "reason", "ticket", "read", "from_ms", "to_ms"
	};
	ET_CLEANUP(api_playback_release) struct api_playback p = { 0 };
	uint64_t count;
	uint64_t frames = 0;
	char detail[96];
	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = api_param_uint(&call->request, "count", 1, PEAKS_MAX, PEAKS_DEFAULT, &count,
				    reterr);
	}
	rc = rc < 0 ? rc : span_params(&p, &call->request, "peaks", detail, reterr);
	if (rc == 0) {
		rc = api_playback_open(call, &p, "recording.play", detail, reterr);
	}
	struct et_peak *peaks = rc == 0 ? calloc((size_t)count, sizeof(*peaks)) : NULL;
	if (rc == 0 && peaks == NULL) {
		rc = et_fail(reterr, -ENOMEM, "peaks");
	}
	if (rc == 0) {
		rc = et_playback_peaks(&p.config, p.from_ms, p.to_ms, peaks, (uint32_t)count,
				       &frames, &p.summary, reterr);
	}
	if (rc < 0) {
		free(peaks);
		return rc;
	}
	json_t *channels = json_array();
	for (int c = 0; c < 2; c++) {
		json_t *channel = json_array();
		for (uint64_t i = 0; i < count; i++) {
			et_json_add(channel, json_integer(peaks[i].low[c]));
			et_json_add(channel, json_integer(peaks[i].high[c]));
		}
		et_json_add(channels, channel);
	}
	free(peaks);
	api_playback_headers(call, &p.summary, true);
	json_t *o = json_object();
	et_json_set(o, "from_ms", et_json_u64(p.from_ms));
	et_json_set(o, "duration_ms", json_integer((json_int_t)(frames / (p.summary.rate / 1000))));
	et_json_set(o, "rate", json_integer(p.summary.rate));
	et_json_set(o, "frames", et_json_u64(frames));
	et_json_set(o, "channels", channels);
	et_json_set(o, "tones", json_string(p.config.mask_tones ? "masked" : "kept"));
	et_json_set(o, "problem", et_json_text(p.summary.problem));
	return api_json(call, 200, o);
}
