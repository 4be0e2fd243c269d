/* What marks say of silences that are none of the network's: a pause, a recorder that was not
 * there, what was dropped by policy, or redacted. Nothing is made up there. They are read
 * beforehand: a mark may stand far behind the media that it is about. */
#include "node/playback/walk_internal.h"

enum { BEHIND_US = 1000000 };

struct marks {
	struct et_mix *mix; /* borrowed */
	int64_t origin_us;
	int64_t until_us; /* marks of what lies behind it are of no interest */
	uint32_t rate;
	bool is_paused;
	int64_t paused_us;
};

static int64_t frame_of(const struct marks *m, int64_t time_us)
{
	const int64_t most = ET_MIX_DURATION_MAX_MS * INT64_C(1000);
	int64_t since;

	if (__builtin_sub_overflow(time_us, m->origin_us, &since)) {
		since = time_us < m->origin_us ? -most : most;
	}
	since = since > most ? most : since < -most ? -most : since;
	return since * (m->rate / 1000) / 1000;
}

static void leave(struct marks *m, int64_t from_us, int64_t to_us)
{
	et_mix_leave(m->mix, frame_of(m, from_us), frame_of(m, to_us) + 1);
}

static void mark_take(struct marks *m, uint8_t what, int64_t from_us, int64_t to_us)
{
	const bool is_moment = to_us == 0;

	switch (what) {
	case ET_MARK_PAUSE:
		if (is_moment) {
			m->paused_us = m->is_paused ? m->paused_us : from_us;
			m->is_paused = true;
			break;
		}
		leave(m, from_us, to_us);
		m->is_paused = m->is_paused && from_us < m->paused_us; /* Is it the same one? */
		break;
	case ET_MARK_RESUME:
		leave(m, m->is_paused ? m->paused_us : INT64_MIN, from_us);
		m->is_paused = false;
		break;
	case ET_MARK_GAP:
	case ET_MARK_DROPPED:
	case ET_MARK_REDACTED:
		leave(m, from_us, is_moment ? from_us : to_us);
		break;
	default:
		break;
	}
}

static int marks_begin(void *arg, struct walk_segment *segment, struct et_error *reterr)
{
	const struct marks *m = arg;

	(void)reterr;
	return segment->known->t0_us > m->until_us ? -ECANCELED : 0;
}

static int marks_meta(void *arg, struct walk_segment *segment, const struct et_meta_item *item,
		      struct et_error *reterr)
{
	(void)segment;
	(void)reterr;
	if (item->type == ET_META_MARK) {
		mark_take(arg, item->mark.what, item->mark.from_us, item->mark.to_us);
	}
	return 0;
}

int et_playback_leave(const struct et_playback_config *config, struct et_mix *mix, uint32_t rate,
		      int64_t from_us, int64_t until_us)
{
	struct et_playback_summary ignored; /* The playback itself tells what is wrong. */
	struct marks m = { .mix = mix, .origin_us = config->origin_us, .rate = rate };
	const struct walk_visitor visitor = {
		.begin = marks_begin, .meta = marks_meta, .from_us = from_us, .arg = &m
	};

	if (__builtin_add_overflow(until_us, ET_MIX_LATE_MS * 1000 + BEHIND_US, &m.until_us)) {
		m.until_us = INT64_MAX;
	}
	int rc = et_playback_walk(config, &visitor, &ignored, NULL);
	if (m.is_paused) {
		leave(&m, m.paused_us, INT64_MAX);
	}
	return rc == -ENOMEM ? rc : 0;
}
