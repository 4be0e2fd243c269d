/* Any bytes as a key log, in two pieces: what is found has a size that its label allows, and the
 * same bytes in one piece give the same counts. */
#include <stdlib.h>

#include "node/keylog/keylog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct et_keylog *log_of(const uint8_t *data, size_t size, size_t piece)
{
	struct et_keylog *k;

	if (et_keylog_new(3, 1, &k, NULL) < 0 || et_keylog_add(k, data, piece) < 0 ||
	    et_keylog_add(k, data + piece, size - piece) < 0 || et_keylog_end(k) < 0) {
		abort();
	}
	return k;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t random[ET_KEYLOG_RANDOM_SIZE] = { 0 };
	struct et_keylog *a = log_of(data, size, size / 2);
	struct et_keylog *b = log_of(data, size, 0);
	struct et_keylog_counts x = et_keylog_counts(a);
	struct et_keylog_counts y = et_keylog_counts(b);
	struct et_view secret;

	if (memcmp(&x, &y, sizeof(x)) != 0 || x.forgotten > x.kept) {
		abort();
	}
	for (int label = ET_KEYLOG_MASTER_SECRET; label <= ET_KEYLOG_EXPORTER; label++) {
		if (et_keylog_find(a, (enum et_keylog_label)label, random, &secret) &&
		    (secret.size < 32 || secret.size > ET_KEYLOG_SECRET_MAX)) {
			abort();
		}
	}
	(void)et_keylog_free(a);
	(void)et_keylog_free(b);
	return 0;
}
