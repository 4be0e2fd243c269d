/* Any bytes, cut anywhere: what is judged to be a key is taken as one, and nothing else is. */
#include <stdlib.h>

#include "node/srtp/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sink {
	struct et_keylog *keylog;
	struct et_srtp_ring *ring;
	uint64_t last;
};

static int each(void *arg, uint64_t number, struct et_view line, const char *wrong)
{
	struct sink *s = arg;

	if (number != s->last + 1 || (wrong != NULL) != (line.data == NULL)) {
		abort();
	}
	s->last = number;
	if (wrong != NULL) {
		return 0;
	}
	struct et_buffer b = { 0 };
	et_buffer_add(&b, line.data, line.size);
	et_buffer_add8(&b, '\n');
	struct et_keylog_counts before = et_keylog_counts(s->keylog);
	bool table = et_key_lines_take((struct et_view){ b.data, b.size }, s->keylog, s->ring);
	struct et_keylog_counts after = et_keylog_counts(s->keylog);
	if (!table && after.kept != before.kept + 1) {
		abort();
	}
	et_buffer_release(&b);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_key_feed *f = NULL;
	struct sink s = { .last = 0 };

	if (et_key_feed_new(&f, NULL) < 0 || et_keylog_new(4, 0, &s.keylog, NULL) < 0 ||
	    et_srtp_ring_new(4, &s.ring, NULL) < 0) {
		abort();
	}
	size_t first = size > 0 ? data[0] % (size + 1) : 0;
	if (et_key_feed_add(f, data, first, each, &s) < 0 ||
	    et_key_feed_add(f, data + first, size - first, each, &s) < 0) {
		abort();
	}
	(void)et_key_feed_free(f);
	(void)et_keylog_free(s.keylog);
	(void)et_srtp_ring_free(s.ring);
	return 0;
}
