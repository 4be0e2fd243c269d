/* A stream of bytes, fed in pieces with gaps between. The first byte of a piece says how long it is
 * (0: a gap, and its length). Whatever comes: messages begin as SIP, memory stays bounded, and the
 * whole stream in one piece gives no message that is not in it. */
#include <stdlib.h>

#include "node/base/bytes.h"
#include "node/sip/framer.h"
#include "node/sip/sip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_MAX = 1024 };

static void on_message(void *arg, struct et_view message)
{
	uint64_t *count = arg;
	struct et_sip m;
	if (message.size == 0 || message.size > MESSAGE_MAX + 4096 ||
	    et_sip_parse(message.data, message.size, &m) < 0) {
		abort();
	}
	(*count)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_framer_counts counts = { .messages = 0 };
	struct et_framer f = { .message_max = MESSAGE_MAX, .counts = &counts };
	struct et_reader r = et_reader_of(data, size);
	uint64_t messages = 0;

	while (et_reader_left(&r) > 0) {
		size_t n = et_read8(&r);
		if (n == 0) {
			et_framer_gap(&f, et_read8(&r));
			continue;
		}
		n = n < et_reader_left(&r) ? n : et_reader_left(&r);
		/* Of its own, so that a read behind it is seen. */
		uint8_t *copy = malloc(n == 0 ? 1 : n);
		const uint8_t *bytes = et_read_bytes(&r, n);
		if (copy == NULL || bytes == NULL) {
			abort();
		}
		memcpy(copy, bytes, n);
		(void)et_framer_recognise(copy, n);
		(void)et_framer_feed(&f, copy, n, on_message, &messages);
		free(copy);
		if (et_framer_held(&f) > (size_t)8 * MESSAGE_MAX || messages != counts.messages) {
			abort();
		}
	}
	et_framer_release(&f);
	return 0;
}
