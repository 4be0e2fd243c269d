/* Any plaintext: the reader stays inside it, every item can be written again, and the weave gives
 * out no more than it was given. */
#include <stdlib.h>

#include "node/tape/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *arg, const void *data, size_t size)
{
	size_t *sum = arg;
	*sum += size + (((const uint8_t *)data)[size - 1] & 0); /* it can be read */
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_buffer b = { .data = NULL };
	struct et_file_reader r;
	struct et_file_item i;
	size_t sum = 0;
	struct et_weave w = { .sink = count, .arg = &sum };
	int rc = et_file_reader_init(&r, (struct et_view){ data, size }, NULL);

	while (rc == 0 && (rc = et_file_reader_next(&r, &i, NULL)) == 1) {
		rc = 0;
		if ((i.type == ET_FILE_MEDIUM || i.type == ET_FILE_BYTES) &&
		    (et_file_add(&b, &i) < 0 || b.failed)) {
			abort();
		}
	}
	if (b.size > size + 1) {
		abort();
	}
	et_buffer_release(&b);
	(void)et_weave_file(&w, (struct et_view){ data, size }, NULL);
	for (uint32_t s = 0; s < 3 && size > 0; s++) {
		const struct et_media_packet p = { .stream = s % 2, .payload = { data, size } };
		(void)et_weave_packet(&w, &p);
	}
	if (sum != w.size_bytes || sum > 5 * size) {
		abort();
	}
	et_weave_release(&w);
	return 0;
}
