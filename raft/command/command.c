#include <stddef.h>
#include <stdlib.h>

#include "raft/command/command_internal.h"

/* ---- Memory: all of a command in one piece, as a rule ----
 *
 * protobuf-c allocates each text and each sub-message by itself, and walks all of it again to free
 * it. Apply does that for every command of every node: it was a seventh of its time. The parts are
 * put one behind the other here, the Command first; they all go at once. */

#define PIECE_MIN 1024

struct piece {
	struct piece *next;
	size_t used, size;
	_Alignas(max_align_t) uint8_t data[];
};

struct command_memory {
	struct piece *first; /* the one with the Command in front; behind it the one being filled */
	size_t want;	     /* of the next piece */
	bool failed;
};

static struct piece *piece_new(size_t size)
{
	struct piece *p = malloc(sizeof(*p) + size);

	if (p != NULL) {
		*p = (struct piece){ .size = size };
	}
	return p;
}

static void pieces_free(struct piece *p)
{
	while (p != NULL) {
		struct piece *next = p->next;
		free(p);
		p = next;
	}
}

/* What is larger than is left gets a piece of its own, or of a new one twice as large. */
static void *memory_alloc(void *arg, size_t size)
{
	struct command_memory *m = arg;
	struct piece *p = m->first != NULL && m->first->next != NULL ? m->first->next : m->first;

	size = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	if (p == NULL || size > p->size - p->used) {
		struct piece *more = piece_new(size > m->want ? size : m->want);
		if (more == NULL) {
			m->failed = true;
			return NULL;
		}
		m->want *= 2;
		if (p == NULL) {
			m->first = more;
		} else {
			more->next = m->first->next;
			m->first->next = more;
		}
		p = more;
	}
	void *ret = p->data + p->used;
	p->used += size;
	return ret;
}

static void memory_free(void *arg, void *part)
{
	(void)arg;
	(void)part; /* with all the others */
}

int et_command_unpack(const void *data, size_t size, Et__Command **ret, struct et_error *reterr)
{
	if (size == 0 || size > ET_COMMAND_SIZE_MAX) {
		return et_fail(reterr, ET_EMALFORMED, "a command of %zu bytes", size);
	}
	int rc = et_command_scan(&et__command__descriptor, data, size, reterr);
	if (rc < 0) {
		return rc;
	}
	struct command_memory m = { .want = PIECE_MIN + 2 * size };
	ProtobufCAllocator memory = { memory_alloc, memory_free, &m };
	Et__Command *c = et__command__unpack(&memory, size, data);
	if (c == NULL) {
		pieces_free(m.first);
		return m.failed ? et_fail(reterr, -ENOMEM, "a command of %zu bytes", size)
				: et_fail(reterr, ET_EMALFORMED, "bytes of a Command");
	}
	et_assert((const uint8_t *)c == m.first->data);
	rc = et_command_check(c, reterr);
	if (rc < 0) {
		et_command_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

void et_command_free(Et__Command *command)
{
	if (command != NULL) {
		pieces_free((struct piece *)(void *)((uint8_t *)command -
						     offsetof(struct piece, data)));
	}
}

int et_command_pack(const Et__Command *command, struct et_buffer *ret)
{
	size_t size = et__command__get_packed_size(command);

	if (size > ET_COMMAND_SIZE_MAX) {
		return ET_ELIMIT;
	}
	uint8_t *p = et_buffer_reserve(ret, size);
	if (p == NULL) {
		return -ENOMEM;
	}
	size_t packed = et__command__pack(command, p);
	et_assert(packed == size);
	ret->size += size;
	return 0;
}

/* Indexed by the field number of the body. */
static const char *const body_names[] = {
	[ET__COMMAND__BODY__NOT_SET] = "none",
	[ET__COMMAND__BODY_NOOP] = "noop",
	[ET__COMMAND__BODY_RECORDING_OPEN] = "recording.open",
	[ET__COMMAND__BODY_SEGMENT_OPEN] = "segment.open",
	[ET__COMMAND__BODY_SEGMENT_SEAL] = "segment.seal",
	[ET__COMMAND__BODY_RECORDING_UPDATE] = "recording.update",
	[ET__COMMAND__BODY_RECORDING_CLOSE] = "recording.close",
	[ET__COMMAND__BODY_COPY_ADD] = "copy.add",
	[ET__COMMAND__BODY_COPY_BAD] = "copy.bad",
	[ET__COMMAND__BODY_COPY_EVICT] = "copy.evict",
	[ET__COMMAND__BODY_CLUSTER_INIT] = "cluster.init",
	[ET__COMMAND__BODY_TOKEN_ADD] = "token.add",
	[ET__COMMAND__BODY_TOKEN_REVOKE] = "token.revoke",
	[ET__COMMAND__BODY_NODE_JOIN] = "node.join",
	[ET__COMMAND__BODY_NODE_UPDATE] = "node.update",
	[ET__COMMAND__BODY_NODE_REMOVE] = "node.remove",
	[ET__COMMAND__BODY_CERTIFICATE_ADD] = "certificate.add",
	[ET__COMMAND__BODY_GRANT_ADD] = "grant.add",
	[ET__COMMAND__BODY_KEK_ADD] = "kek.add",
	[ET__COMMAND__BODY_POLICY_SET] = "policy.set",
	[ET__COMMAND__BODY_HOLD_ADD] = "hold.add",
	[ET__COMMAND__BODY_HOLD_RELEASE] = "hold.release",
	[ET__COMMAND__BODY_PLAN_PUT] = "plan.put",
	[ET__COMMAND__BODY_PLAN_APPLY] = "plan.apply",
	[ET__COMMAND__BODY_JOB_UPDATE] = "job.update",
	[ET__COMMAND__BODY_AUDIT_ADD] = "audit.add",
	[ET__COMMAND__BODY_TICK] = "tick",
	[ET__COMMAND__BODY_SITE_SET] = "site.set",
	[ET__COMMAND__BODY_FACT_ADD] = "fact.add",
	[ET__COMMAND__BODY_TAG_SET] = "tag.set",
	[ET__COMMAND__BODY_NOTE_ADD] = "note.add",
	[ET__COMMAND__BODY_AGENT_SET] = "agent.set",
	[ET__COMMAND__BODY_NODE_ROLES] = "node.roles",
	[ET__COMMAND__BODY_NODE_DRAIN] = "node.drain",
	[ET__COMMAND__BODY_DIGEST_CHECK] = "digest.check",
	[ET__COMMAND__BODY_CLUSTER_UPGRADE] = "cluster.upgrade",
	[ET__COMMAND__BODY_RECORDING_ERASE] = "recording.erase",
	[ET__COMMAND__BODY_RESTORE_STEP] = "restore.step",
	[ET__COMMAND__BODY_RECORDING_REDACT] = "recording.redact",
	[ET__COMMAND__BODY_GENERATION_PUT] = "generation.put",
	[ET__COMMAND__BODY_SCHEMA_PROBE] = "schema.probe",
	[ET__COMMAND__BODY_KEK_ROTATE] = "kek.rotate",
	[ET__COMMAND__BODY_KEK_SET] = "kek.set",
	[ET__COMMAND__BODY_KEK_REPORT] = "kek.report",
	[ET__COMMAND__BODY_KEK_REWRAP] = "kek.rewrap",
	[ET__COMMAND__BODY_KEY_SCHEDULE] = "key.schedule",
	[ET__COMMAND__BODY_KEK_ESCROW] = "kek.escrow",
	[ET__COMMAND__BODY_GENERATION_FINISH] = "generation.finish",
	[ET__COMMAND__BODY_CA_ROTATE] = "ca.rotate",
	[ET__COMMAND__BODY_CA_STEP] = "ca.step",
	[ET__COMMAND__BODY_CA_REPORT] = "ca.report",
	[ET__COMMAND__BODY_CA_SIGN] = "ca.sign",
	[ET__COMMAND__BODY_RECORDING_IMPORT] = "recording.import",
	[ET__COMMAND__BODY_RECORDINGS_JOIN] = "recordings.join",
	[ET__COMMAND__BODY_RECORDING_SPLIT] = "recording.split",
	[ET__COMMAND__BODY_SITE_REMOVE] = "site.remove",
};

const char *et_command_name(const Et__Command *command)
{
	size_t body = (size_t)command->body_case;
	const char *name = body < ET_ARRAY_SIZE(body_names) ? body_names[body] : NULL;

	return name != NULL ? name : "none";
}

bool et_command_is_create(const Et__Command *command)
{
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_RECORDING_OPEN:
	case ET__COMMAND__BODY_SEGMENT_OPEN:
	case ET__COMMAND__BODY_SEGMENT_SEAL:
	case ET__COMMAND__BODY_RECORDING_UPDATE:
	case ET__COMMAND__BODY_RECORDING_CLOSE:
	case ET__COMMAND__BODY_FACT_ADD:
	case ET__COMMAND__BODY_TAG_SET:
	case ET__COMMAND__BODY_NOTE_ADD:
	case ET__COMMAND__BODY_AGENT_SET:
	case ET__COMMAND__BODY_RECORDING_IMPORT:
		return true;
	default:
		return false;
	}
}

bool et_command_is_destructive(const Et__Command *command)
{
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_COPY_EVICT:
	case ET__COMMAND__BODY_NODE_REMOVE:
	case ET__COMMAND__BODY_TOKEN_REVOKE:
	case ET__COMMAND__BODY_POLICY_SET:
	case ET__COMMAND__BODY_HOLD_RELEASE:
	case ET__COMMAND__BODY_PLAN_APPLY:
	case ET__COMMAND__BODY_CLUSTER_UPGRADE:
	case ET__COMMAND__BODY_RECORDING_ERASE:
	case ET__COMMAND__BODY_RECORDING_REDACT:
	case ET__COMMAND__BODY_GENERATION_FINISH:
	case ET__COMMAND__BODY_KEK_SET:
	case ET__COMMAND__BODY_SITE_REMOVE:
		return true;
	default:
		return false;
	}
}
