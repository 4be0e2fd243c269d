/* Memory that is needed soon: begin to fetch it into the caches, and do not wait for it.
 *
 * A miss costs some 100 ns; side by side many of them cost little more than one. Any address will
 * do: nothing is read that the program can see.
 *
 * Threads: any. */
#ifndef ET_NODE_BASE_FETCH_H
#define ET_NODE_BASE_FETCH_H

#include <stddef.h>
#include <stdint.h>

#define ET_CACHE_LINE 64 /* bytes */

/* The cache lines of `size` bytes at `p`; 0: none. */
static inline void et_fetch(const void *p, size_t size)
{
	const char *at = p;
	const size_t first = (uintptr_t)at % ET_CACHE_LINE;

	for (size_t done = 0; size > 0 && done < first + size; done += ET_CACHE_LINE) {
		__builtin_prefetch(at + done - first, 1);
	}
}

#endif
