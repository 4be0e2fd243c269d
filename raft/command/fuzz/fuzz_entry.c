/* Bytes as an entry: refused whole, or walked; what was walked makes the same entry again. */
#include "raft/command/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int entry_add(void *arg, uint32_t position, struct et_view command)
{
	struct et_buffer *b = arg;
	Et__Command *c = NULL;

	(void)position;
	et_assert(command.size > 0);
	et_entry_add(b, command.data, command.size);
	if (et_command_unpack(command.data, command.size, &c, NULL) == 0) {
		et_command_free(c);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_buffer again = { 0 };

	et_entry_begin(&again);
	if (et_entry_each(data, size, entry_add, &again) == 0) {
		et_entry_end(&again);
		et_assert(!again.failed && again.size == size);
		et_assert(memcmp(again.data, data, size) == 0);
	}
	et_buffer_release(&again);
	return 0;
}
