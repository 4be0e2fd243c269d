/* Any bytes as a saved call table: refused, or restored within the limits. The checksum is made
 * right, so that the fuzzer gets behind it. */
#include <stdlib.h>

#include "node/capture/engine_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int no_room(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	(void)arg;
	(void)slot;
	(void)facts;
	(void)restored;
	return ET_ELIMIT;
}

static int close_any(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
		     const struct et_capture_stream *streams, uint32_t count)
{
	(void)arg;
	(void)slot;
	(void)opened;
	(void)facts;
	(void)streams;
	if (count > ET_CAPTURE_STREAMS_MAX) {
		abort();
	}
	return 0;
}

static int64_t some_gap(void *arg, const uint8_t id[16], uint32_t *segment)
{
	(void)arg;
	*segment = id[0];
	return id[1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_capture_config capture = { .limits = { .calls = 8 } };
	struct et_sink sink = { .open = no_room, .close = close_any };
	struct et_engine_config config = { .capture = &capture,
					   .sink = &sink,
					   .deterministic = true };
	struct et_engine *e = NULL;
	uint8_t *copy = malloc(size + 4);
	if (copy == NULL || et_engine_new(&config, &e, NULL) < 0) {
		abort();
	}
	memcpy(copy, data, size);
	et_put32(copy + size, et_crc32c(0, data, size));
	int rc = et_engine_restore(e, (struct et_view){ copy, size + 4 }, some_gap, NULL, NULL);
	if (e->call_count > 8) {
		abort();
	}
	if (rc == 0) {
		struct et_buffer table = { .data = NULL };
		et_engine_save(e, &table);
		et_buffer_release(&table);
		et_engine_finish(e, true);
	}
	(void)et_engine_free(e);
	free(copy);
	return 0;
}
