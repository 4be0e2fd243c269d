#include <string.h>
#include <unistd.h>

#include "node/playback/walk_internal.h"
#include "node/rtp/rtp.h"

/* What the mix knows a stream by: it goes on over segments. */
struct identity {
	uint32_t ssrc;
	uint8_t party;
	char src[WALK_ADDRESS_MAX];
	char dst[WALK_ADDRESS_MAX];
};

struct render {
	struct et_mix *mix; /* owned */
	et_mix_sink sink;   /* the caller's */
	void *sink_arg;
	uint64_t skip; /* frames before the range */
	uint64_t left; /* frames of the range still to come */
	bool done;     /* the range is complete: -ECANCELED came from here */
	struct identity known[ET_MIX_STREAMS_MAX];
	size_t known_count;
	int mix_stream[ET_PLAYBACK_STREAMS_MAX]; /* of the segment's streams; -1: not looked up yet,
						    -2: too many */
};

static int see_nothing(void *arg, struct walk_segment *segment, struct et_error *reterr)
{
	(void)arg;
	(void)segment;
	(void)reterr;
	return 0;
}

/* Between the mix and the caller: cuts the range out. */
static int render_range(void *arg, const int16_t *samples, size_t frames)
{
	struct render *r = arg;

	if (frames <= r->skip) {
		r->skip -= frames;
		return 0;
	}
	samples += r->skip * ET_MIX_CHANNELS;
	frames -= (size_t)r->skip;
	r->skip = 0;
	if (frames > r->left) {
		frames = (size_t)r->left;
	}
	int rc = frames > 0 ? r->sink(r->sink_arg, samples, frames) : 0;
	r->left -= frames;
	if (rc == 0 && r->left == 0) {
		r->done = true;
		return -ECANCELED;
	}
	return rc;
}

static int render_begin(void *arg, struct walk_segment *segment, struct et_error *reterr)
{
	struct render *r = arg;

	(void)segment;
	(void)reterr;
	for (size_t i = 0; i < ET_PLAYBACK_STREAMS_MAX; i++) {
		r->mix_stream[i] = -1;
	}
	return 0;
}

static int render_meta(void *arg, struct walk_segment *segment, const struct et_meta_item *item,
		       struct et_error *reterr)
{
	struct render *r = arg;

	(void)segment;
	(void)reterr;
	if (item->type == ET_META_STREAM) {
		r->mix_stream[item->stream.stream] = -1; /* Another source under this number. */
	}
	return 0;
}

/* The mix's stream for a segment's; -2: there are too many. */
static int render_stream(struct render *r, const struct walk_segment *segment, uint32_t stream)
{
	const struct walk_stream *s = &segment->streams[stream];
	struct identity id = { .ssrc = s->described ? s->ssrc : stream, .party = s->party };

	memcpy(id.src, s->src, sizeof(id.src));
	memcpy(id.dst, s->dst, sizeof(id.dst));
	for (size_t i = 0; i < r->known_count; i++) {
		const struct identity *k = &r->known[i];
		if (k->ssrc == id.ssrc && k->party == id.party && strcmp(k->src, id.src) == 0 &&
		    strcmp(k->dst, id.dst) == 0) {
			return (int)i;
		}
	}
	if (r->known_count == ET_MIX_STREAMS_MAX) {
		return -2;
	}
	r->known[r->known_count] = id;
	return (int)r->known_count++;
}

static int render_packet(void *arg, struct walk_segment *segment, const struct walk_type *type,
			 const struct et_media_packet *packet, struct et_error *reterr)
{
	struct render *r = arg;
	struct et_view payload = packet->payload;

	if (type == NULL || !type->audio || type->codec == NULL) {
		return 0;
	}
	if (packet->whole) {
		struct et_rtp rtp;
		if (et_rtp_parse(payload.data, (uint32_t)payload.size, &rtp) < 0) {
			return 0; /* Kept as it came; nothing in it can be heard. */
		}
		payload = (struct et_view){ rtp.payload, rtp.payload_size };
	}
	int *stream = &r->mix_stream[packet->stream];
	if (*stream == -1) {
		*stream = render_stream(r, segment, packet->stream);
	}
	if (*stream < 0) {
		return et_fail(reterr, ET_ELIMIT, "recording of more than %d streams",
			       ET_MIX_STREAMS_MAX);
	}
	const struct et_mix_packet p = { .stream = (uint32_t)*stream,
					 .party = segment->streams[packet->stream].party,
					 .marker = packet->marker,
					 .sequence = packet->sequence,
					 .timestamp = packet->timestamp,
					 .arrival_us = packet->arrival_us,
					 .codec = type->codec,
					 .fmtp = type->fmtp,
					 .payload = payload };
	int rc = et_mix_add(r->mix, &p);
	return rc < 0 ? et_fail(reterr, rc, "play") : 0;
}

/* ---- The rate ---- */

static int rate_meta(void *arg, struct walk_segment *segment, const struct et_meta_item *item,
		     struct et_error *reterr)
{
	(void)item;
	return see_nothing(arg, segment, reterr);
}

static int rate_packet(void *arg, struct walk_segment *segment, const struct walk_type *type,
		       const struct et_media_packet *packet, struct et_error *reterr)
{
	uint32_t *rate = arg;

	(void)segment;
	(void)packet;
	(void)reterr;
	if (type != NULL && type->audio && type->codec != NULL) {
		const uint32_t needed = et_mix_rate_for(type->codec);
		*rate = needed > *rate ? needed : *rate;
	}
	return 0;
}

static int rate_find(const struct et_playback_config *config, uint32_t *ret,
		     struct et_playback_summary *ret_summary, struct et_error *reterr)
{
	const struct walk_visitor visitor = { .begin = see_nothing,
					      .meta = rate_meta,
					      .packet = rate_packet,
					      .end = see_nothing,
					      .arg = ret };

	*ret = 8000;
	return et_playback_walk(config, &visitor, ret_summary, reterr);
}

/* ---- Samples ---- */

int et_playback_render(const struct et_playback_config *config, uint64_t first_frame,
		       uint64_t frame_count, et_mix_sink sink, void *sink_arg,
		       struct et_playback_summary *ret, struct et_error *reterr)
{
	const int64_t origin = config->origin_us != 0 || config->segment_count == 0
				       ? config->origin_us
				       : config->segments[0].t0_us;
	uint32_t rate = config->rate;
	int rc = rate != 0 ? 0 : rate_find(config, &rate, ret, reterr);
	if (rc < 0) {
		return rc;
	}
	struct render *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return et_fail(reterr, -ENOMEM, "play");
	}
	r->sink = sink;
	r->sink_arg = sink_arg;
	r->skip = first_frame;
	r->left = frame_count;
	const struct walk_visitor visitor = { .begin = render_begin,
					      .meta = render_meta,
					      .packet = render_packet,
					      .end = see_nothing,
					      .opens = true,
					      .arg = r };

	rc = et_mix_new(origin, rate, render_range, r, &r->mix, reterr);
	if (rc == 0) {
		rc = et_playback_walk(config, &visitor, ret, reterr);
	}
	if (rc == 0) {
		rc = et_mix_finish(r->mix, config->end_us);
		if (rc < 0 && !r->done) {
			rc = et_fail(reterr, rc, "play");
		}
	}
	if (r->mix != NULL) {
		ret->mix = et_mix_stats(r->mix);
		ret->frames = ret->mix.frames;
		ret->rate = rate;
	}
	if (r->done) {
		rc = 0;
	}
	r->mix = et_mix_free(r->mix);
	free(r);
	return rc;
}

static int hear_nothing(void *arg, const int16_t *samples, size_t frames)
{
	(void)arg;
	(void)samples;
	(void)frames;
	return 0;
}

int et_playback_measure(const struct et_playback_config *config, struct et_playback_summary *ret,
			struct et_error *reterr)
{
	return et_playback_render(config, 0, UINT64_MAX, hear_nothing, NULL, ret, reterr);
}

/* A sink that says what went wrong, not only that. */
struct wav_sink {
	struct et_wav wav;
	struct et_error error;
};

static int write_wav(void *arg, const int16_t *samples, size_t frames)
{
	struct wav_sink *s = arg;

	return et_wav_write(&s->wav, samples, frames, &s->error);
}

int et_playback_export_wav(const struct et_playback_config *config, const char *path,
			   struct et_playback_summary *ret, struct et_error *reterr)
{
	struct et_playback_config known = *config;
	struct wav_sink s = { 0 };

	int rc = known.rate != 0 ? 0 : rate_find(config, &known.rate, ret, reterr);
	if (rc == 0) {
		rc = et_wav_create(&s.wav, path, known.rate, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	rc = et_playback_render(&known, 0, UINT64_MAX, write_wav, &s, ret, reterr);
	if (rc == 0) {
		rc = et_wav_finish(&s.wav, reterr);
	} else if (s.error.code == rc && reterr != NULL) {
		*reterr = s.error;
	}
	et_wav_close(&s.wav);
	if (rc < 0) {
		(void)unlink(path);
	}
	return rc;
}

static int add_peaks(void *arg, const int16_t *samples, size_t frames)
{
	et_peaks_add(arg, samples, frames);
	return 0;
}

int et_playback_peaks(const struct et_playback_config *config, struct et_peak *ret, uint32_t count,
		      struct et_playback_summary *ret_summary, struct et_error *reterr)
{
	struct et_playback_config known = *config;
	struct et_peaks peaks;

	int rc = et_playback_measure(config, ret_summary, reterr);
	if (rc < 0) {
		return rc;
	}
	known.rate = ret_summary->rate;
	et_peaks_init(&peaks, ret, count, ret_summary->frames);
	return et_playback_render(&known, 0, UINT64_MAX, add_peaks, &peaks, ret_summary, reterr);
}
