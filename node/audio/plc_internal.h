/* Sound that may have followed on what was heard, for codecs that have no such thing of their own:
 * spandsp's, much like ITU-T G.711, Appendix I. The last pitch period of it again and again,
 * fainter and fainter: after 50 ms there is silence. It has the band of telephony, at any rate.
 *
 * Threads: pure. */
#ifndef ET_NODE_AUDIO_PLC_INTERNAL_H
#define ET_NODE_AUDIO_PLC_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/defs.h"

enum { PLC_PAST_MS = 35, PLC_MADE_MS = 60 };

/* `count` samples of `rate` Hz (8000, 16000, 48000), at most PLC_MADE_MS of them, behind the
 * `past_count` ones before it, of which PLC_PAST_MS matter. 1: made; 0: 5 ms of a past are too
 * little to make something of. -ENOMEM. */
int plc_make(const int16_t *past, size_t past_count, uint32_t rate, int16_t *ret,
	     size_t count) ET_MUST_CHECK;

#endif
