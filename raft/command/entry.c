#include "raft/command/command.h"

#define ENTRY_HEADER 8 /* "ETC1", count32 */

static const uint8_t entry_magic[4] = { 'E', 'T', 'C', '1' };

void et_entry_begin(struct et_buffer *entry)
{
	et_assert(entry->size == 0);
	et_buffer_add(entry, entry_magic, sizeof(entry_magic));
	et_buffer_add32(entry, 0);
}

void et_entry_add(struct et_buffer *entry, const void *command, size_t size)
{
	et_assert(size > 0 && size <= ET_COMMAND_SIZE_MAX);
	et_buffer_add32(entry, (uint32_t)size);
	et_buffer_add(entry, command, size);
	if (!entry->failed) {
		et_put32(entry->data + 4, et_get32(entry->data + 4) + 1);
	}
}

void et_entry_end(struct et_buffer *entry)
{
	static const uint8_t zeros[8];

	et_buffer_add(entry, zeros, (8 - entry->size % 8) % 8);
}

/* All of it must be well formed before anything is acted upon: the first walk only looks. */
static int entry_walk(struct et_view entry,
		      int (*fn)(void *arg, uint32_t position, struct et_view command), void *arg)
{
	struct et_reader r = et_reader_of(entry.data, entry.size);
	const uint8_t *magic = et_read_bytes(&r, sizeof(entry_magic));
	uint32_t count = et_read32(&r);

	if (r.failed || memcmp(magic, entry_magic, sizeof(entry_magic)) != 0) {
		return ET_EMALFORMED;
	}
	for (uint32_t i = 0; i < count; i++) {
		uint32_t size = et_read32(&r);
		if (r.failed || size == 0 || size > ET_COMMAND_SIZE_MAX) {
			return ET_EMALFORMED;
		}
		const uint8_t *data = et_read_bytes(&r, size);
		if (data == NULL) {
			return ET_EMALFORMED;
		}
		int rc = fn != NULL ? fn(arg, i, (struct et_view){ data, size }) : 0;
		if (rc < 0) {
			return rc;
		}
	}
	if (et_reader_left(&r) >= 8) {
		return ET_EMALFORMED;
	}
	while (et_reader_left(&r) > 0) {
		if (et_read8(&r) != 0) {
			return ET_EMALFORMED;
		}
	}
	return 0;
}

int et_entry_each(const void *entry, size_t size,
		  int (*fn)(void *arg, uint32_t position, struct et_view command), void *arg)
{
	struct et_view view = { entry, size };

	if (size < ENTRY_HEADER || size > ET_ENTRY_SIZE_MAX || size % 8 != 0) {
		return ET_EMALFORMED;
	}
	int rc = entry_walk(view, NULL, NULL);
	return rc < 0 ? rc : entry_walk(view, fn, arg);
}
