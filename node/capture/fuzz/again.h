/* For fuzzers: an engine that serves one input after the other. */
#ifndef ET_NODE_CAPTURE_FUZZ_AGAIN_H
#define ET_NODE_CAPTURE_FUZZ_AGAIN_H

#include "node/capture/engine_internal.h"

/* As new, but for its seed and what was allocated for good: what one input did must not be seen by
 * the next, and an engine is too dear to be made for each. The sink must take what is closed. */
static inline void et_engine_again(struct et_engine *e, uint32_t turn_allocations)
{
	for (int i = 0; i < 100 && e->call_count > 0; i++) {
		et_engine_finish(e, true); /* again where the sink had no room to open it */
	}
	et_engine_finish(e, true);
	et_assert(e->call_count == 0 && e->media_only_count == 0 && e->packets.pending == 0);
	et_handshakes_free(e);
	e->turn = et_turn_free(e->turn);
	e->turn = et_turn_new(turn_allocations, 7);
	et_assert(e->turn != NULL);
	e->packets = (struct et_capture_packets){ .total = 0 };
	e->now_us = 0;
	e->packet_us = 0;
	e->swept_us = 0;
	e->id_count = 0;
	e->hand = 0;
	e->handshake_next[0] = 0;
	e->handshake_next[1] = 0;
	e->openers_since_us = 0;
	e->openers_made = 0;
	e->plain_of = NULL;
}

#endif
