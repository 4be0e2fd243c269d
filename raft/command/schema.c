#include "raft/command/schema.h"

#include <stddef.h>

#ifndef ET_SCHEMA_BUILD
#define ET_SCHEMA_BUILD 2
#endif

/* Bodies that not every schema knows. */
static const struct {
	int body;
	uint32_t schema;
} newer[] = {
	{ ET__COMMAND__BODY_RECORDINGS_JOIN, ET_SCHEMA_LEGS },
	{ ET__COMMAND__BODY_RECORDING_SPLIT, ET_SCHEMA_LEGS },
	{ ET__COMMAND__BODY_RECORDING_IMPORT, ET_SCHEMA_IMPORT },
	{ ET__COMMAND__BODY_SITE_REMOVE, ET_SCHEMA_SITE_REMOVE },
	{ ET__COMMAND__BODY_SCHEMA_PROBE, 3 },
};

uint32_t et_schema_build(void)
{
	return ET_SCHEMA_BUILD;
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
