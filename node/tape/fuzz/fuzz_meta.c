/* Any plaintext: the reader stays inside it, and every item that it knows can be written again. */
#include <stdlib.h>

#include "node/tape/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_buffer b = { 0 };
	struct et_meta_reader r;
	struct et_meta_item i;
	int rc = et_meta_reader_init(&r, (struct et_view){ data, size }, NULL);

	while (rc == 0 && (rc = et_meta_reader_next(&r, &i, NULL)) == 1) {
		rc = 0;
		if (i.raw.data < data || i.raw.data + i.raw.size > data + size) {
			abort();
		}
		if (i.type <= ET_META_MARK) {
			struct et_meta_reader own;
			struct et_meta_item back;
			b.size = 0;
			if (et_meta_add(&b, &i) < 0 || b.failed ||
			    et_meta_reader_init(&own, (struct et_view){ b.data, b.size }, NULL) <
				    0 ||
			    et_meta_reader_next(&own, &back, NULL) != 1 || back.type != i.type ||
			    back.raw.size > i.raw.size) {
				abort();
			}
		}
	}
	et_buffer_release(&b);
	return 0;
}
