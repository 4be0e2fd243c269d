/* Any plaintext: the reader stays inside it, and every key that it reads can be written again. */
#include <stdlib.h>

#include "node/tape/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_buffer b = { .data = NULL };
	struct et_keys_reader r;
	struct et_keys_item i;
	int rc = et_keys_reader_init(&r, (struct et_view){ data, size }, NULL);

	while (rc == 0 && (rc = et_keys_reader_next(&r, &i, NULL)) == 1) {
		rc = 0;
		if ((i.type == ET_KEYS_SRTP || i.type == ET_KEYS_DTLS) &&
		    (et_keys_add(&b, &i) < 0 || b.failed)) {
			abort();
		}
	}
	if (b.size > size + 1) {
		abort();
	}
	et_buffer_release(&b);
	return 0;
}
