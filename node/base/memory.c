#include "node/base/memory.h"

#include <malloc.h>

enum {
	KEEP_BYTES = 64 * 1024 * 1024,
	HEAP_STEP_BYTES = 4 * 1024 * 1024, /* a heap grows by at least so much */
	ALONE_BYTES = 4 * 1024 * 1024,	   /* from here on with a mapping of its own */
};

void et_memory_keep(void)
{
	(void)mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
	(void)mallopt(M_TOP_PAD, HEAP_STEP_BYTES);
	(void)mallopt(M_MMAP_THRESHOLD, ALONE_BYTES);
}
