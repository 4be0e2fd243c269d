#include "node/base/pool.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define IS_WATCHED true
#else
#define IS_WATCHED false
#endif

enum { LINE = 64, CHUNK_BYTES = 2 * 1024 * 1024 };

/* In front of the objects. */
struct et_pool_chunk {
	struct et_pool_chunk *next;
	uint8_t rest[LINE - sizeof(struct et_pool_chunk *)];
};

void et_pool_init(struct et_pool *p, size_t size)
{
	et_assert(size > 0 && size <= ET_POOL_OBJECT_MAX);
	/* An odd number of lines apart: else the same field of many objects is in few sets of a
	 * cache. */
	const size_t lines = ((size + LINE - 1) / LINE) | 1;
	*p = (struct et_pool){ .size = lines * LINE };
}

/* At a multiple of its size, or the kernel cannot make one page of it. */
static bool chunk_add(struct et_pool *p)
{
	uint8_t *all = mmap(NULL, (size_t)2 * CHUNK_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED) {
		return false;
	}
	const size_t front = (CHUNK_BYTES - (uintptr_t)all % CHUNK_BYTES) % CHUNK_BYTES;
	if (front > 0) {
		(void)munmap(all, front);
	}
	(void)munmap(all + front + CHUNK_BYTES, CHUNK_BYTES - front);
	struct et_pool_chunk *chunk = (struct et_pool_chunk *)(void *)(all + front);
	(void)madvise(chunk, CHUNK_BYTES, MADV_HUGEPAGE);
	chunk->next = p->chunks;
	p->chunks = chunk;
	p->carved = sizeof(*chunk);
	return true;
}

void *et_pool_take(struct et_pool *p)
{
	void *object = p->spare;

	if (IS_WATCHED) {
		object = calloc(1, p->size);
	} else if (object != NULL) {
		memcpy(&p->spare, object, sizeof(p->spare));
		memset(object, 0, sizeof(p->spare));
	} else if ((p->chunks != NULL && p->carved + p->size <= CHUNK_BYTES) || chunk_add(p)) {
		object = (uint8_t *)p->chunks + p->carved;
		p->carved += p->size;
	}
	p->taken += object != NULL;
	return object;
}

void et_pool_give(struct et_pool *p, void *object)
{
	if (object == NULL) {
		return;
	}
	et_assert(p->taken > 0);
	p->taken--;
	explicit_bzero(object, p->size);
	if (IS_WATCHED) {
		free(object);
		return;
	}
	memcpy(object, &p->spare, sizeof(p->spare));
	p->spare = object;
}

void et_pool_release(struct et_pool *p)
{
	et_assert(p->taken == 0);
	while (p->chunks != NULL) {
		struct et_pool_chunk *chunk = p->chunks;
		p->chunks = chunk->next;
		(void)munmap(chunk, CHUNK_BYTES);
	}
	p->spare = NULL;
}
