#include "raft/command/schema.h"

#include <stdbool.h>
#include <stddef.h>

#ifndef ET_SCHEMA_BUILD
#define ET_SCHEMA_BUILD 3
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
	{ ET__COMMAND__BODY_SCHEMA_PROBE, 4 },
};

uint32_t et_schema_build(void)
{
	return ET_SCHEMA_BUILD;
}

static bool segments_have_hash_or_blocks(Et__Segment *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i] != NULL && (list[i]->seal_hash.len > 0 || list[i]->block_bytes > 0)) {
			return true;
		}
	}
	return false;
}

static bool copies_have_member_hash(const Et__CopyAdd *add)
{
	for (size_t i = 0; i < add->n_copies; i++) {
		if (add->copies[i] != NULL && add->copies[i]->member_hash.len > 0) {
			return true;
		}
	}
	return false;
}

/* Fields that not every schema knows, in bodies that all know: hashes of seals, and of members of
 * packs; blocks of padded tapes. */
static bool has_seal_hash_or_blocks(const Et__Command *command)
{
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_SEGMENT_OPEN:
		return segments_have_hash_or_blocks(&command->segment_open->segment, 1);
	case ET__COMMAND__BODY_SEGMENT_SEAL:
		return command->segment_seal->seal_hash.len > 0 ||
		       command->segment_seal->block_bytes > 0;
	case ET__COMMAND__BODY_GENERATION_PUT:
		return segments_have_hash_or_blocks(&command->generation_put->segment, 1);
	case ET__COMMAND__BODY_RECORDING_IMPORT:
		return segments_have_hash_or_blocks(command->recording_import->segments,
						    command->recording_import->n_segments);
	case ET__COMMAND__BODY_COPY_ADD:
		return copies_have_member_hash(command->copy_add);
	default:
		return false;
	}
}

static bool streams_have_silenced(const Et__Recording *r)
{
	for (size_t i = 0; r != NULL && i < r->n_streams; i++) {
		if (r->streams[i] != NULL && r->streams[i]->silenced > 0) {
			return true;
		}
	}
	return false;
}

static bool has_silenced(const Et__Command *command)
{
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_RECORDING_OPEN:
		return streams_have_silenced(command->recording_open->recording);
	case ET__COMMAND__BODY_RECORDING_UPDATE:
		return streams_have_silenced(command->recording_update->recording);
	case ET__COMMAND__BODY_RECORDING_CLOSE:
		return streams_have_silenced(command->recording_close->recording);
	case ET__COMMAND__BODY_RECORDING_IMPORT:
		return streams_have_silenced(command->recording_import->recording);
	default:
		return false;
	}
}

uint32_t et_schema_needed(const Et__Command *command)
{
	const bool has_body = command->noop != NULL; /* else of its kind only is asked */

	_Static_assert(ET_SCHEMA_SEAL_HASH == ET_SCHEMA_PADDED, "one answer for both");
	if (has_body && has_seal_hash_or_blocks(command)) {
		return ET_SCHEMA_SEAL_HASH;
	}
	if (has_body && has_silenced(command)) {
		return ET_SCHEMA_SILENCED;
	}
	for (size_t i = 0; i < sizeof(newer) / sizeof(newer[0]); i++) {
		if (newer[i].body == (int)command->body_case) {
			return newer[i].schema;
		}
	}
	return 1;
}
