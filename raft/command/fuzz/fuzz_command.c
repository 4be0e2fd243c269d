/* Bytes as a command: refused, or read; what was read packs to bytes that read and pack the same.
 */
#include "raft/command/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Et__Command *first = NULL;
	Et__Command *second = NULL;
	struct et_buffer once = { 0 };
	struct et_buffer twice = { 0 };
	struct et_error error;

	(void)et_command_schema((struct et_view){ data, size });
	if (et_command_unpack(data, size, &first, &error) == 0) {
		et_assert(et_command_check(first, &error) == 0);
		et_assert(et_command_name(first) != NULL);
		int rc = et_command_pack(first, &once);
		et_assert(rc == 0 || rc == ET_ELIMIT);
		if (rc == 0) {
			rc = et_command_unpack(once.data, once.size, &second, &error);
			et_assert(rc == 0);
			rc = et_command_pack(second, &twice);
			et_assert(rc == 0 && once.size == twice.size);
			et_assert(memcmp(once.data, twice.data, once.size) == 0);
		}
	}
	et_command_free(first);
	et_command_free(second);
	et_buffer_release(&once);
	et_buffer_release(&twice);
	return 0;
}
