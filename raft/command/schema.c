#include "raft/command/schema.h"

#include <stddef.h>

#ifdef ET_SCHEMA_TEST
#define BUILD 2
#else
#define BUILD 1
#endif

/* Bodies that schema 1 does not know. */
static const struct {
	int body;
	uint32_t schema;
} newer[] = {
	{ ET__COMMAND__BODY_SCHEMA_PROBE, 2 },
};

uint32_t et_schema_build(void)
{
	return BUILD;
}

uint32_t et_schema_needed(const Et__Command *command)
{
	for (size_t i = 0; i < sizeof(newer) / sizeof(newer[0]); i++) {
		if (newer[i].body == (int)command->body_case) {
			return newer[i].schema;
		}
	}
	return 1;
}
