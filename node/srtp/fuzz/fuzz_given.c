/* Any bytes as a table of keys: what gets into the ring has the sizes of its suite. */
#include <stdlib.h>

#include "node/srtp/given.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_srtp_ring *ring = NULL;
	struct et_error e = { .text = "" };

	if (et_srtp_ring_new(3, &ring, NULL) < 0) {
		abort();
	}
	int rc = et_srtp_given_read((struct et_view){ data, size }, ring, &e);
	if (rc < 0 && e.text[0] == '\0') {
		abort();
	}
	for (uint32_t i = 0; i < et_srtp_ring_count(ring); i++) {
		struct et_srtp_entry entry = et_srtp_ring_at(ring, i);
		if (entry.key.material.size !=
		    et_srtp_key_size(entry.key.suite) + et_srtp_salt_size(entry.key.suite)) {
			abort();
		}
	}
	(void)et_srtp_ring_free(ring);
	return 0;
}
