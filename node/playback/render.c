#include <string.h>
#include <strings.h>

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
	struct et_mix *mix;   /* owned */
	struct et_mask *mask; /* owned; NULL: what is heard is what was said */
	et_mix_sink sink;     /* the caller's */
	void *sink_arg;
	uint32_t rate;	   /* Hz */
	int64_t origin_us; /* of frame 0 */
	int64_t from_us;   /* what arrived before it moves clocks and is not heard */
	uint64_t first;	   /* frame of the range, and behind it: */
	uint64_t end;
	uint64_t concealed; /* frames of it, of a channel */
	uint64_t skip;	    /* frames before the range */
	uint64_t left;	    /* frames of the range still to come */
	bool done;	    /* the range is complete: -ECANCELED came from here */
	struct identity known[ET_MIX_STREAMS_MAX];
	size_t known_count;
	/* Of the segment's streams; -1: not looked up yet, -2: too many. `other_stream`: of one
	 * with two voices, the right one. */
	int mix_stream[ET_PLAYBACK_STREAMS_MAX];
	int other_stream[ET_PLAYBACK_STREAMS_MAX];
};

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

static void render_made(void *arg, uint8_t channel, int64_t from, int64_t to)
{
	struct render *r = arg;
	const uint64_t begin = (uint64_t)from > r->first ? (uint64_t)from : r->first;
	const uint64_t end = (uint64_t)to < r->end ? (uint64_t)to : r->end;

	(void)channel;
	r->concealed += end > begin ? end - begin : 0;
}

static int render_begin(void *arg, struct walk_segment *segment, struct et_error *reterr)
{
	struct render *r = arg;

	(void)segment;
	(void)reterr;
	for (size_t i = 0; i < ET_PLAYBACK_STREAMS_MAX; i++) {
		r->mix_stream[i] = r->other_stream[i] = -1;
	}
	return 0;
}

/* ---- Key presses that others than the audio tell of -------------------------------------------
 * A gateway that makes events of tones needs some time to be sure: so long they are in the audio,
 * too. What an event's timestamp says is its begin may be late by as much. */
enum { EVENT_BEFORE_MS = 100, EVENT_BEHIND_MS = ET_MASK_GUARD_MS };

static void mask_between(struct render *r, uint8_t party, int64_t from, int64_t to)
{
	const int64_t per_ms = r->rate / 1000;

	et_mask_span(r->mask, party, from - EVENT_BEFORE_MS * per_ms,
		     to + EVENT_BEHIND_MS * per_ms);
}

/* A telephone event (RFC 4733, section 2.3): it began at the timestamp and lasted `duration`. */
static void mask_event(struct render *r, uint8_t party, uint32_t stream,
		       const struct et_media_packet *p, struct et_view event)
{
	if (event.size < 4) {
		return;
	}
	/* Of a clock of 8 kHz; one that is faster only makes it longer. */
	const int64_t lasted = (int64_t)(event.data[2] << 8 | event.data[3]) * r->rate / 8000;
	const int64_t began = et_mix_where(r->mix, stream, p->timestamp, p->arrival_us);
	mask_between(r, party, began, began + lasted);
}

/* A key that was not recorded, of whichever party: the mark is where its first event came. */
static void mask_dropped(struct render *r, const struct et_meta_item *item)
{
	static const char cause[] = ET_MARK_DIGIT_EVENT;
	int64_t since_us;

	if (item->mark.what != ET_MARK_DROPPED || item->mark.cause.size != sizeof(cause) - 1 ||
	    memcmp(item->mark.cause.data, cause, sizeof(cause) - 1) != 0 ||
	    __builtin_sub_overflow(item->mark.from_us, r->origin_us, &since_us) || since_us < 0 ||
	    since_us > ET_MIX_DURATION_MAX_MS * INT64_C(1000)) {
		return;
	}
	for (uint8_t party = 0; party < ET_MIX_CHANNELS; party++) {
		const int64_t at = since_us * (r->rate / 1000) / 1000;
		mask_between(r, party, at, at);
	}
}

static int render_meta(void *arg, struct walk_segment *segment, const struct et_meta_item *item,
		       struct et_error *reterr)
{
	struct render *r = arg;

	(void)segment;
	(void)reterr;
	if (item->type == ET_META_STREAM) {
		/* Another source under this number. */
		r->mix_stream[item->stream.stream] = r->other_stream[item->stream.stream] = -1;
	} else if (item->type == ET_META_MARK && r->mask != NULL) {
		mask_dropped(r, item);
	}
	return 0;
}

/* The mix's stream for what a party says in a segment's; -2: there are too many. */
static int stream_find(struct render *r, const struct walk_segment *segment, uint32_t stream,
		       uint8_t party)
{
	const struct walk_stream *s = &segment->streams[stream];
	struct identity id = { .ssrc = s->described ? s->ssrc : stream, .party = party };

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

/* Look up the mix's stream for a segment's, or both for one with two voices. */
static int render_stream(struct render *r, const struct walk_segment *segment, uint32_t stream,
			 bool has_voices, struct et_error *reterr)
{
	if (r->mix_stream[stream] == -1) {
		r->mix_stream[stream] =
			stream_find(r, segment, stream, segment->streams[stream].party);
	}
	if (has_voices && r->other_stream[stream] == -1) {
		r->other_stream[stream] =
			stream_find(r, segment, stream, !segment->streams[stream].party);
	}
	if (r->mix_stream[stream] == -2 || r->other_stream[stream] == -2) {
		return et_fail(reterr, ET_ELIMIT, "recording of more than %d streams",
			       ET_MIX_STREAMS_MAX);
	}
	return 0;
}

static int packet_give(struct render *r, const struct et_mix_packet *p)
{
	if (p->arrival_us < r->from_us) {
		et_mix_pass(r->mix, p);
		return 0;
	}
	return et_mix_add(r->mix, p);
}

/* Nothing of it is heard, but it was not lost. */
static int packet_note(struct render *r, const struct et_media_packet *p)
{
	const int stream = r->mix_stream[p->stream];

	if (p->rtcp || stream < 0) {
		return 0;
	}
	return et_mix_came(r->mix, (uint32_t)stream, p->sequence, p->timestamp, p->arrival_us);
}

static int render_packet(void *arg, struct walk_segment *segment, const struct walk_type *type,
			 const struct et_media_packet *packet, struct et_error *reterr)
{
	struct render *r = arg;
	struct et_view payload = packet->payload;
	const bool event =
		r->mask != NULL && type != NULL && strcasecmp(type->name, "telephone-event") == 0;

	if (type == NULL || !type->audio || type->codec == NULL) {
		int rc = packet_note(r, packet);
		if (rc < 0 || !event) {
			return rc < 0 ? et_fail(reterr, rc, "play") : 0;
		}
	}
	if (packet->whole) {
		struct et_rtp rtp;
		if (et_rtp_parse(payload.data, (uint32_t)payload.size, &rtp) < 0) {
			return 0; /* Kept as it came; nothing in it can be heard. */
		}
		payload = (struct et_view){ rtp.payload, rtp.payload_size };
	}
	int rc = render_stream(r, segment, packet->stream, type->has_voices, reterr);
	if (rc < 0) {
		return rc;
	}
	const uint32_t stream = (uint32_t)r->mix_stream[packet->stream];
	if (event) {
		mask_event(r, segment->streams[packet->stream].party, stream, packet, payload);
		return 0;
	}
	struct et_mix_packet p = { .stream = stream,
				   .party = segment->streams[packet->stream].party,
				   .marker = packet->marker,
				   .sequence = packet->sequence,
				   .timestamp = packet->timestamp,
				   .arrival_us = packet->arrival_us,
				   .codec = type->codec,
				   .fmtp = type->fmtp,
				   .payload = payload };
	p.channel = type->has_voices ? ET_CHANNEL_LEFT : ET_CHANNEL_BOTH;
	rc = packet_give(r, &p);
	if (rc == 0 && type->has_voices) { /* Decoded twice: a decoder hears one voice. */
		p.stream = (uint32_t)r->other_stream[packet->stream];
		p.party = !p.party;
		p.channel = ET_CHANNEL_RIGHT;
		rc = packet_give(r, &p);
	}
	return rc < 0 ? et_fail(reterr, rc, "play") : 0;
}

static int render_clock(void *arg, struct walk_segment *segment, uint32_t stream,
			const struct et_rtp_clock *clock, struct et_error *reterr)
{
	struct render *r = arg;

	const struct walk_stream *s = &segment->streams[stream];
	bool has_voices = false;

	for (size_t i = 0; i < s->type_count; i++) {
		has_voices = has_voices || s->types[i].has_voices;
	}
	int rc = render_stream(r, segment, stream, has_voices, reterr);
	if (rc < 0) {
		return rc;
	}
	et_mix_resume(r->mix, (uint32_t)r->mix_stream[stream], clock);
	if (has_voices) {
		et_mix_resume(r->mix, (uint32_t)r->other_stream[stream], clock);
	}
	return 0;
}

/* ---- The rate, and when it ends ---- */

struct survey {
	uint32_t rate;
	int64_t last_us; /* of the last record */
};

static void survey_type(void *arg, const struct walk_type *type)
{
	struct survey *s = arg;

	if (type != NULL && type->audio && type->codec != NULL) {
		const uint32_t needed = et_mix_rate_for(type->codec);
		s->rate = needed > s->rate ? needed : s->rate;
	}
}

static int survey_packet(void *arg, struct walk_segment *segment, const struct walk_type *type,
			 const struct et_media_packet *packet, struct et_error *reterr)
{
	(void)segment;
	(void)packet;
	(void)reterr;
	survey_type(arg, type);
	return 0;
}

static int survey_end(void *arg, struct walk_segment *segment, struct et_error *reterr)
{
	struct survey *s = arg;

	(void)reterr;
	s->last_us = segment->last_us > s->last_us ? segment->last_us : s->last_us;
	return 0;
}

static int survey_walk(const struct et_playback_config *config, struct survey *ret,
		       struct et_playback_summary *ret_summary, struct et_error *reterr)
{
	const struct walk_visitor visitor = { .packet = survey_packet,
					      .end = survey_end,
					      .from_us = INT64_MAX,
					      .seen = survey_type,
					      .arg = ret };

	*ret = (struct survey){ .rate = 8000 };
	return et_playback_walk(config, &visitor, ret_summary, reterr);
}

/* ---- Samples ---- */

/* What arrived before this has no part in the samples from `frame` on: a packet may come that late
 * (ET_MIX_LATE_MS), and a decoder with a memory may need that long; a mask's is shorter. 0: all
 * has. */
_Static_assert(ET_MASK_MEMORY_MS < ET_MIX_LATE_MS, "a range is masked as the whole is");
static int64_t heard_from(const struct et_playback_config *config, uint64_t frame, uint32_t rate)
{
	const uint64_t late = (uint64_t)ET_MIX_LATE_MS * rate / 1000;
	const uint64_t most = (uint64_t)ET_MIX_DURATION_MAX_MS * rate / 1000;

	frame = frame < most ? frame : most;
	return frame <= late
		       ? 0
		       : et_playback_origin(config) + (int64_t)((frame - late) * 1000000 / rate);
}

/* What was lost is made up, but for what is silent for a reason. */
static int render_conceal(struct render *r, const struct et_playback_config *config)
{
	struct et_playback_config known = *config;
	const uint64_t most = (uint64_t)ET_MIX_DURATION_MAX_MS * r->rate / 1000;
	const uint64_t end = r->end < most ? r->end : most;

	if (r->mask != NULL) {
		et_mask_tell_made(r->mask, render_made, r);
	}
	int rc = et_mix_conceal(r->mix, r->mask != NULL ? et_mask_made : render_made,
				r->mask != NULL ? (void *)r->mask : r);
	if (rc < 0) {
		return rc;
	}
	known.origin_us = r->origin_us;
	known.verify = false; /* It is, when it is played. */
	return et_playback_leave(&known, r->mix, r->rate, r->from_us,
				 r->origin_us + (int64_t)(end * 1000000 / r->rate));
}

/* The mix, and with it what masks it, ready for the first packet. */
static int render_open(struct render *r, const struct et_playback_config *config,
		       uint64_t first_frame, struct et_error *reterr)
{
	int rc = config->mask_tones ? et_mask_new(r->rate, render_range, r, &r->mask, reterr) : 0;

	if (rc == 0) {
		rc = et_mix_new(r->origin_us, r->rate, r->mask != NULL ? et_mask_put : render_range,
				r->mask != NULL ? (void *)r->mask : r, &r->mix, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	r->from_us = heard_from(config, first_frame, r->rate);
	if (r->from_us != 0) {
		const uint64_t late = (uint64_t)ET_MIX_LATE_MS * r->rate / 1000;
		et_mix_begin(r->mix, (int64_t)(first_frame < INT64_MAX ? first_frame - late : 0));
		const uint64_t before = et_mix_stats(r->mix).frames;
		r->skip = first_frame - before;
		if (r->mask != NULL) {
			et_mask_begin(r->mask, (int64_t)before);
		}
	}
	rc = config->conceal ? render_conceal(r, config) : 0;
	return rc < 0 ? et_fail(reterr, rc, "play") : 0;
}

int et_playback_render(const struct et_playback_config *config, uint64_t first_frame,
		       uint64_t frame_count, et_mix_sink sink, void *sink_arg,
		       struct et_playback_summary *ret, struct et_error *reterr)
{
	uint32_t rate = config->rate;
	struct survey survey;
	int rc = rate != 0 ? 0 : survey_walk(config, &survey, ret, reterr);
	if (rc < 0) {
		return rc;
	}
	rate = rate != 0 ? rate : survey.rate;
	struct render *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return et_fail(reterr, -ENOMEM, "play");
	}
	r->sink = sink;
	r->sink_arg = sink_arg;
	r->rate = rate;
	r->origin_us = et_playback_origin(config);
	r->first = first_frame;
	r->end = frame_count < UINT64_MAX - first_frame ? first_frame + frame_count : UINT64_MAX;
	r->skip = first_frame;
	r->left = frame_count;
	struct walk_visitor visitor = { .begin = render_begin,
					.meta = render_meta,
					.packet = render_packet,
					.opens = true,
					.clock = render_clock,
					.arg = r };

	rc = render_open(r, config, first_frame, reterr);
	if (rc == 0) {
		visitor.from_us = r->from_us;
		rc = et_playback_walk(config, &visitor, ret, reterr);
	}
	if (rc == 0) {
		rc = et_mix_finish(r->mix, config->end_us);
		if (rc == 0 && r->mask != NULL) {
			rc = et_mask_finish(r->mask);
		}
		if (rc < 0 && !r->done) {
			rc = et_fail(reterr, rc, "play");
		}
	}
	if (r->mix != NULL) {
		ret->mix = et_mix_stats(r->mix);
		ret->frames = ret->mix.frames;
		ret->rate = rate;
		ret->concealed = r->concealed;
	}
	if (r->done) {
		rc = 0;
	}
	if (r->mask != NULL) {
		ret->masked = et_mask_stats(r->mask);
	}
	r->mix = et_mix_free(r->mix);
	r->mask = et_mask_free(r->mask);
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

int et_playback_survey(const struct et_playback_config *config, struct et_playback_summary *ret,
		       struct et_error *reterr)
{
	struct et_playback_config known = *config;
	struct et_playback_summary end;
	struct survey survey;

	int rc = survey_walk(config, &survey, ret, reterr);
	if (rc < 0) {
		return rc;
	}
	known.rate = config->rate != 0 ? config->rate : survey.rate;
	known.conceal = false;
	const int64_t since_us = survey.last_us - et_playback_origin(config);
	const uint64_t last = since_us > 0 ? (uint64_t)since_us / 1000 * known.rate / 1000 : 0;
	rc = et_playback_render(&known, last, UINT64_MAX, hear_nothing, NULL, &end, reterr);
	if (rc == 0) {
		ret->frames = end.frames;
		ret->rate = known.rate;
		ret->mix = end.mix;
		ret->streams_closed = end.streams_closed;
		ret->packets_closed = end.packets_closed;
		if (ret->problem[0] == '\0') {
			memcpy(ret->problem, end.problem, sizeof(ret->problem));
		}
	}
	return rc;
}

static int add_peaks(void *arg, const int16_t *samples, size_t frames)
{
	et_peaks_add(arg, samples, frames);
	return 0;
}

static uint64_t frame_of_ms(uint64_t ms, uint32_t rate, uint64_t frames)
{
	const uint64_t most = (uint64_t)ET_MIX_DURATION_MAX_MS;
	const uint64_t frame = (ms < most ? ms : most) * rate / 1000;

	return ms < most && frame < frames ? frame : frames;
}

void et_playback_span(uint64_t from_ms, uint64_t to_ms, uint32_t rate, uint64_t frames,
		      uint64_t *ret_first, uint64_t *ret_count)
{
	const uint64_t end = frame_of_ms(to_ms, rate, frames);

	*ret_first = frame_of_ms(from_ms, rate, frames);
	*ret_count = end > *ret_first ? end - *ret_first : 0;
}

int et_playback_peaks(const struct et_playback_config *config, uint64_t from_ms, uint64_t to_ms,
		      struct et_peak *ret, uint32_t count, uint64_t *ret_frames,
		      struct et_playback_summary *ret_summary, struct et_error *reterr)
{
	struct et_playback_config known = *config;
	struct et_peaks peaks;
	uint64_t first;

	int rc = et_playback_survey(config, ret_summary, reterr);
	if (rc < 0) {
		return rc;
	}
	known.rate = ret_summary->rate;
	known.conceal = false;
	et_playback_span(from_ms, to_ms, known.rate, ret_summary->frames, &first, ret_frames);
	et_peaks_init(&peaks, ret, count, *ret_frames);
	if (*ret_frames == 0) {
		return 0;
	}
	return et_playback_render(&known, first, to_ms == UINT64_MAX ? UINT64_MAX : *ret_frames,
				  add_peaks, &peaks, ret_summary, reterr);
}
