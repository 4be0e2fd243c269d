/* Between audio.c, which opens a playback, and what is sent of one (audio.c, original.c).
 *
 * Threads: a worker each. */
#ifndef ET_NODE_API_PLAYBACK_INTERNAL_H
#define ET_NODE_API_PLAYBACK_INTERNAL_H

#include "node/api/api_internal.h"
#include "node/playback/playback.h"

/* One playback. */
struct api_playback {
	struct api_call *call;
	uint8_t recording[16];
	uint64_t audit;			      /* number of the event that allows it */
	struct et_playback_segment *segments; /* owned */
	Et__Segment **records;		      /* owned: what the catalogue knows of each */
	bool *at_a_node;		      /* owned: a node holds it */
	size_t count;
	int64_t end_us;
	struct et_playback_config config;
	struct et_playback_summary summary;
	uint64_t from_ms; /* the span that is wanted */
	uint64_t to_ms;	  /* UINT64_MAX: to the end */
};

/* Find the recording named in the path, its segments, and the audit event that allows hearing it:
 * that of a ticket, or a new one (`action`, `detail`), committed before this returns.
 *
 * Where its rule says so, key presses are masked (config.mask_tones), unless the request says
 * tones=keep: that takes API_UNMASK and a reason, and its event is "recording.unmask". */
int api_playback_open(struct api_call *call, struct api_playback *p, const char *action,
		      const char *detail, struct et_error *reterr) ET_MUST_CHECK;
/* As above, of what is given out as it was received: ET_EPOLICY when key presses would have to be
 * masked. */
int api_playback_open_whole(struct api_call *call, struct api_playback *p, const char *action,
			    const char *detail, struct et_error *reterr) ET_MUST_CHECK;

/* tones.c: what of the recording's key presses is heard; sets config.mask_tones, and *action when
 * hearing them is an event of its own. `whole`: what is given out cannot be masked. */
int api_tones_decide(struct api_playback *p, const Et__Recording *r, bool whole,
		     const char **action, struct et_error *reterr) ET_MUST_CHECK;
void api_playback_release(struct api_playback *p);
/* Headers that say whether all of it is there, and if not, why. `read`: all that is sent was read
 * once, and every record checks; without that nobody knows ("unread"). */
void api_playback_headers(struct api_call *call, const struct et_playback_summary *s, bool read);

#endif
