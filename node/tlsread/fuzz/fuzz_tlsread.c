/* Both ends of a connection, in pieces: the first byte of a piece says whose it is (bit 0), whether
 * a gap is before it (bit 1); the second how long it is. The key log has secrets for the client
 * random of all zeros, so that records get as far as decryption. Whatever comes: memory stays
 * bounded, and nothing is handed out that no key opened. */
#include <stdio.h>
#include <stdlib.h>

#include "node/tlsread/tlsread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_plain(void *arg, int from, int64_t time_us, struct et_view plain)
{
	(void)time_us;
	(void)arg;
	if (from < 0 || from > 1 || plain.size > 16384 + 2048) {
		abort();
	}
}

static void add(struct et_keylog *k, const char *label, int digits)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "%s %064d %0*d\n", label, 0, digits, 0);
	if (n < 0 || et_keylog_add(k, line, (size_t)n) < 0) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_keylog *keylog = NULL;
	struct et_tlsread *t = NULL;
	struct et_reader r = et_reader_of(data, size);
	if (et_keylog_new(16, 0, &keylog, NULL) < 0 || et_tlsread_new(&t) < 0) {
		abort();
	}
	add(keylog, "CLIENT_RANDOM", 96);
	add(keylog, "CLIENT_TRAFFIC_SECRET_0", 64);
	add(keylog, "SERVER_TRAFFIC_SECRET_0", 64);
	add(keylog, "SERVER_HANDSHAKE_TRAFFIC_SECRET", 64);
	while (et_reader_left(&r) >= 2) {
		uint8_t how = et_read8(&r);
		size_t n = et_read8(&r);
		n = n < et_reader_left(&r) ? n : et_reader_left(&r);
		/* Of its own, so that a read behind it is seen. */
		uint8_t *copy = malloc(n == 0 ? 1 : n);
		const uint8_t *bytes = et_read_bytes(&r, n);
		if (copy == NULL || bytes == NULL) {
			abort();
		}
		memcpy(copy, bytes, n);
		if ((how & 2) != 0) {
			et_tlsread_gap(t, how & 1);
		}
		(void)et_tlsread_recognise(copy, n);
		(void)et_tlsread_feed(t, keylog, how & 1, 1, copy, n, on_plain, NULL);
		free(copy);
		if (et_tlsread_held(t, 0) + et_tlsread_held(t, 1) > (size_t)512 * 1024) {
			abort();
		}
	}
	(void)et_tlsread_free(t);
	(void)et_keylog_free(keylog);
	return 0;
}
