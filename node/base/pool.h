/* Objects of one size that lie close together, in huge pages where the kernel gives them.
 *
 * With a thousand calls under way a packet touches half a dozen objects that nothing touched for
 * some ms. From malloc() each lies in a page of its own, and to find out where a page is costs more
 * than to fetch the line that is wanted; in a virtual machine, where pages lie in pages, twice so:
 * a quarter of the CPU time of capture. 2 MiB hold a hundred calls, and the kernel is asked to make
 * one page of them (madvise; where it is told never to, they are small pages as before).
 *
 * Invariants: an object begins at a cache line; it is all zeros when it is taken, for it is wiped
 * when it is given back. What was taken once stays with the pool until that is released.
 *
 * Under AddressSanitizer each object comes from calloc(), so that it sees who uses what is gone.
 *
 * Threads: one owner. */
#ifndef ET_NODE_BASE_POOL_H
#define ET_NODE_BASE_POOL_H

#include <stddef.h>

#include "node/base/defs.h"

#define ET_POOL_OBJECT_MAX ((size_t)1024 * 1024) /* bytes */

struct et_pool_chunk;

/* All fields are private. */
struct et_pool {
	size_t size;		      /* of an object, and how far they are apart */
	size_t taken;		      /* objects that were not given back */
	size_t carved;		      /* bytes of the newest chunk that are, or were, objects */
	struct et_pool_chunk *chunks; /* owned; newest first */
	void *spare;		      /* given back; the first word of each leads to the next */
};

/* For objects of `size` bytes (1 to ET_POOL_OBJECT_MAX). Takes no memory yet. */
void et_pool_init(struct et_pool *p, size_t size);

/* An object, all zeros; the caller owns it, and gives it back before the pool is released. NULL: no
 * memory. */
void *et_pool_take(struct et_pool *p) ET_MUST_CHECK;

/* Wiped, and may be taken again. NULL is allowed. */
void et_pool_give(struct et_pool *p, void *object);

/* The memory goes back to the kernel. All objects were given back. A pool that is all zeros is
 * allowed. */
void et_pool_release(struct et_pool *p);

#endif
