/* Commands: the records that Raft replicates, and how they travel.
 *
 * The schema is command.proto; the generated structs (Et__Command, Et__Recording, ...) are used as
 * they are. This header adds what protobuf-c does not give: bounded decoding, validation, and the
 * pack of several commands in one log entry.
 *
 *   entry := "ETC1" count32 { size32 command } zeros to a multiple of 8       (big-endian)
 *
 * Threads: pure functions. */
#ifndef ET_RAFT_COMMAND_COMMAND_H
#define ET_RAFT_COMMAND_COMMAND_H

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "raft/command/command.pb-c.h"
#include "raft/command/schema.h"

/* The newest semantics that this build understands; schema.h. */
#define ET_COMMAND_SCHEMA et_schema_build()
#define ET_COMMAND_SIZE_MAX 1048576 /* bytes; an archive plan is the largest */
#define ET_ENTRY_SIZE_MAX 2097152   /* bytes; packing stops at ET_ENTRY_SIZE_SOFT */
#define ET_ENTRY_SIZE_SOFT 262144

#define ET_COMMAND_STREAMS_MAX 256   /* of one recording */
#define ET_COMMAND_GAPS_MAX 1024     /* of one recording */
#define ET_COMMAND_REDACTIONS_MAX 64 /* of one recording */
#define ET_COMMAND_PARTICIPANTS_MAX 16
#define ET_COMMAND_JOIN_MAX 16	/* recordings that one command joins */
#define ET_COMMAND_PLACE_MAX 80 /* bytes of a copy's place */

#define ET_COMMAND_TOLD_TEXT_MAX 4096 /* bytes of a fact's or a note's text */
#define ET_COMMAND_TOLD_MAX 1024 /* facts, tags or notes of one subject, old versions with them */
#define ET_COMMAND_TOLD_SIZE_MAX 65536	/* bytes of all that is told of one subject */
#define ET_COMMAND_AGENT_NUMBERS_MAX 32 /* of one version of an agent */

/* Read one command. On success the caller owns *ret: et_command_free(). ET_EMALFORMED: not a
 * command, or a field out of bounds (ids that are not 16 bytes, text over its limit or not UTF-8,
 * no body); the limits stand in rules.c. Memory is bounded before it is taken: at most 65,536 parts
 * (sub-messages, list elements), 64 unknown fields, 6 levels. Fields of a newer schema are kept and
 * packed again. -ENOMEM is never told as ET_EMALFORMED, which each node that applies it must find
 * alike. */
int et_command_unpack(const void *data, size_t size, Et__Command **ret,
		      struct et_error *reterr) ET_MUST_CHECK;
/* Of et_command_unpack() only: its parts lie in one piece of memory with it, so none of them may be
 * freed or taken away by itself. NULL is allowed. */
void et_command_free(Et__Command *command);

/* Add the packed bytes. -ENOMEM, or ET_ELIMIT over ET_COMMAND_SIZE_MAX. */
int et_command_pack(const Et__Command *command, struct et_buffer *ret) ET_MUST_CHECK;

/* The schema that packed bytes ask for, also when nothing else of them is understood; 0: they do
 * not say. */
uint32_t et_command_schema(struct et_view packed);

/* Check what et_command_unpack() checks, for a command that was made here. */
int et_command_check(const Et__Command *command, struct et_error *reterr) ET_MUST_CHECK;

/* Does the text hold what may be a payment card number: 13 to 19 digits that pass the Luhn check
 * and do not begin with 0 or 1, as they are or in groups (space, '-', '.')? Facts (but those of
 * type PHONE), notes, tags and attributes that do are ET_EMALFORMED for all functions here: card
 * digits never enter the catalogue. The error names the field, never the digits. */
bool et_command_has_card(const char *text);

/* Make foreign text (a SIP header) fit for a field: at most `max` bytes, what is not UTF-8 and what
 * controls a terminal becomes '?', and a NUL ends it (counted in ret->size, not in `max`). */
void et_command_text(const char *text, size_t size, size_t max, struct et_buffer *ret);

/* "recording.open", "copy.add", ...: the stable word for the body; static. */
const char *et_command_name(const Et__Command *command);

/* Create commands may be made without quorum and are journalled; the others need it at once. */
bool et_command_is_create(const Et__Command *command);

/* Commands that take something away: refused while it is not clear whose state is right. */
bool et_command_is_destructive(const Et__Command *command);

/* Build an entry: begin (an empty buffer), add packed commands, end. Check entry->failed then. */
void et_entry_begin(struct et_buffer *entry);
void et_entry_add(struct et_buffer *entry, const void *command, size_t size);
void et_entry_end(struct et_buffer *entry);

/* Walk an entry. `fn` gets a view of each packed command; a negative result ends the walk and is
 * returned. ET_EMALFORMED: not an entry; `fn` was not called then, not even for its good part. */
int et_entry_each(const void *entry, size_t size,
		  int (*fn)(void *arg, uint32_t position, struct et_view command),
		  void *arg) ET_MUST_CHECK;

#endif
