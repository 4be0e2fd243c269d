/* Schema: which semantics of apply a build understands, and which of them a command needs.
 *
 * Cluster.schema is committed: apply follows it, whatever newer things a build knows. It is raised
 * by ClusterUpgrade, when all members have said (Node.schema) that their build understands the new
 * one. A command that needs a newer schema than the committed one is refused where it is proposed,
 * and again by apply; a node that meets a committed schema or an entry beyond its build stops.
 *
 *   schema  since   what it added
 *   1       0.1.0   everything in command.proto but what stands below
 *   2       0.1.0   PolicySet keeps what it replaces (decisions 0105, 0114)
 *                   Recording.tones (0109); Recording.kept, kept_us (0108)
 *                   RecordingsJoin, RecordingSplit, and whom new legs follow (0110)
 *                   RecordingImport (0106); SiteRemove (0111)
 *                   a segment that comes when a redaction is done is made anew for it (0114)
 *                   KekAdd, KekRewrap and GrantAdd are of vault nodes (0114)
 *   3       0.1.0   Segment.seal_hash, SegmentSeal.seal_hash in place of object_hash; an import
 *                   and a generation have one of them; Copy.member_hash (0115)
 *                   Stream.silenced (0118)
 *                   padded tapes: Segment.block_bytes, SegmentSeal.block_bytes (0122)
 *                   active members tell the end of what a removed node had open (0121)
 *   4       (tests) SchemaProbe; in binaries beside the real ones, never installed
 *
 * Apply that writes other records than before for the same command needs a schema, too: the running
 * digest covers what is written, and two builds would call each other diverged. What a
 * command brings as a whole (a Stream, a Segment, a Copy) keeps fields that a build does not know
 * (command.h): to leave them out in a newer one would be such a difference, so the command that
 * fills them needs the schema. Of a Recording what is not known is left out (raft/state/merge.c).
 *
 * This file's numbers are all that differs between the sets of binaries that tests of upgrades use
 * (schema.c is compiled again for each, with another ET_SCHEMA_BUILD).
 *
 * Threads: pure functions. */
#ifndef ET_RAFT_COMMAND_SCHEMA_H
#define ET_RAFT_COMMAND_SCHEMA_H

#include <stdint.h>

#include "raft/command/command.pb-c.h"

#define ET_SCHEMA_POLICY_REVISIONS 2
#define ET_SCHEMA_TONES 2
#define ET_SCHEMA_LEGS 2
#define ET_SCHEMA_IMPORT 2
#define ET_SCHEMA_SITE_REMOVE 2
#define ET_SCHEMA_KEPT 2
#define ET_SCHEMA_LATE_REDACTED 2
#define ET_SCHEMA_KEYS_OF_VAULTS 2
#define ET_SCHEMA_SEAL_HASH 3
#define ET_SCHEMA_LOST_TAILS 3
#define ET_SCHEMA_SILENCED 3
#define ET_SCHEMA_PADDED 3

/* The newest schema that this build understands. */
uint32_t et_schema_build(void);

/* The smallest schema that understands this command, by its body and by the fields that it fills:
 * what belongs in Command.schema. The body may be NULL: then by its kind. */
uint32_t et_schema_needed(const Et__Command *command);

#endif
