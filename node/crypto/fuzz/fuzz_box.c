/* Any bytes as a sealed box: they open only if they were sealed under this root, which only the box
 * in the corpus was. */
#include <stdlib.h>

#include "node/crypto/box.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct et_secret *root; /* 32 bytes 0x42 */
	struct et_secret *plain = NULL;
	struct et_error e;

	if (root == NULL) {
		uint8_t bytes[32];
		memset(bytes, 0x42, sizeof(bytes));
		root = et_secret_copy(bytes, sizeof(bytes));
	}
	int rc = et_box_open(root, "fuzz", (struct et_view){ data, size }, &plain, &e);
	if (rc == 0 && et_secret_size(plain) != size - ET_BOX_OVERHEAD_SIZE) {
		abort();
	}
	if (rc != 0 && rc != ET_ECORRUPT && rc != ET_EVERSION) {
		abort();
	}
	plain = et_secret_free(plain);
	return 0;
}
