/* Hostile frames, beside the calls of bench-live: SIP with changed bytes, cut, with a header
 * without end, with hundreds of headers, noise that begins as SIP; RTP by its looks, noise,
 * fragments that never come whole, lengths that cannot be. Each is another one; none has an address
 * of a call.
 *
 * Threads: pure. */
#ifndef ET_CLUSTER_TESTS_BENCH_LIVE_FLOOD_H
#define ET_CLUSTER_TESTS_BENCH_LIVE_FLOOD_H

#include <stddef.h>
#include <stdint.h>

#define LIVE_FLOOD_FRAME 1442 /* bytes, at most */

/* The frame `number` (the same number, the same frame) into `to`; returns its size. */
size_t live_flood_frame(uint8_t *to, size_t size, uint32_t number);

#endif
