/* Apply: an entry's commands, one after the other.
 *
 * Happy path of a command: its op id is new, its node is a member, its preconditions hold; it
 * writes; its result goes to the op window; if it is an audited one, it becomes a link of the
 * audit chain. Each step reads only the state and the entry. */
#include <stdio.h>

#include "raft/state/state_internal.h"

bool code_is_final(int code)
{
	return code < 0 && (code > -5000 || code == ET_ECORRUPT);
}

int refuse(struct apply *a, int code, const char *fmt, ...)
{
	va_list ap;

	et_assert(!code_is_final(code));
	va_start(ap, fmt);
	(void)vsnprintf(a->o->text, sizeof(a->o->text), fmt, ap);
	va_end(ap);
	return code;
}

void result_id(struct apply *a, ProtobufCBinaryData id)
{
	et_assert(id.len == sizeof(a->o->id));
	memcpy(a->o->id, id.data, sizeof(a->o->id));
	a->o->result.id = (ProtobufCBinaryData){ sizeof(a->o->id), a->o->id };
}

int result_refused(struct apply *a, uint32_t position)
{
	Et__Result *r = &a->o->result;
	uint32_t *p = realloc(r->refused, (r->n_refused + 1) * sizeof(*p));

	if (p == NULL) {
		return -ENOMEM;
	}
	r->refused = p;
	r->refused[r->n_refused++] = position;
	return 0;
}

int64_t apply_time(const struct apply *a)
{
	int64_t now = a->s->cluster != NULL ? a->s->cluster->cluster_time_us : 0;

	return now > 0 ? now : 1; /* 0 means "not yet" in records */
}

bool node_is_member(const Et__Node *n)
{
	return n->state != ET__NODE_STATE__REMOVED && n->state != ET__NODE_STATE__REVOKED;
}

bool bytes_equal(ProtobufCBinaryData a, ProtobufCBinaryData b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

void nodes_forget(struct et_state *s)
{
	for (size_t i = 0; i < s->node_count; i++) {
		message_freep(&s->nodes[i].node);
	}
	s->node_count = 0;
}

int apply_node(struct apply *a, uint64_t id, const Et__Node **ret)
{
	struct et_state *s = a->s;
	Et__Node *node = NULL;

	for (size_t i = 0; i < s->node_count; i++) {
		if (s->nodes[i].id == id) {
			*ret = s->nodes[i].node;
			return 0;
		}
	}
	int rc = et_state_get_node(a->v, id, &node);
	if (rc < 0) {
		return rc;
	}
	if (s->node_count == NODES_CACHED) {
		nodes_forget(s);
	}
	s->nodes[s->node_count].id = id;
	s->nodes[s->node_count++].node = node;
	*ret = node;
	return 0;
}

int apply_member(struct apply *a, uint64_t id, Et__Node **ret)
{
	int rc = et_state_get_node(a->v, id, ret);

	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "node %llu is not known", (unsigned long long)id);
	}
	if (rc == 0 && !node_is_member(*ret)) {
		message_freep(ret);
		*ret = NULL;
		return refuse(a, ET_EREFUSED, "node %llu is removed", (unsigned long long)id);
	}
	return rc;
}

/* ---- The commands ---- */

static int apply_noop(struct apply *a)
{
	(void)a;
	return 0;
}

static int apply_audit_add(struct apply *a)
{
	const Et__AuditAdd *add = a->c->audit_add;

	return audit_append(a, add->action, add->target, add->detail, 0, &a->o->result.number);
}

enum audited {
	AUDIT_NEVER,  /* what machines do by themselves */
	AUDIT_ALWAYS, /* what an operator does, and what destroys */
	AUDIT_ITSELF, /* audit.add */
};

static const struct body {
	int (*apply)(struct apply *a);
	enum audited audited;
} bodies[] = {
	[ET__COMMAND__BODY_NOOP] = { apply_noop, AUDIT_NEVER },
	[ET__COMMAND__BODY_RECORDING_OPEN] = { apply_recording_open, AUDIT_NEVER },
	[ET__COMMAND__BODY_SEGMENT_OPEN] = { apply_segment_open, AUDIT_NEVER },
	[ET__COMMAND__BODY_SEGMENT_SEAL] = { apply_segment_seal, AUDIT_NEVER },
	[ET__COMMAND__BODY_RECORDING_UPDATE] = { apply_recording_update, AUDIT_NEVER },
	[ET__COMMAND__BODY_RECORDING_CLOSE] = { apply_recording_close, AUDIT_NEVER },
	[ET__COMMAND__BODY_COPY_ADD] = { apply_copy_add, AUDIT_NEVER },
	[ET__COMMAND__BODY_COPY_BAD] = { apply_copy_bad, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_COPY_EVICT] = { apply_copy_evict, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_CLUSTER_INIT] = { apply_cluster_init, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_TOKEN_ADD] = { apply_token_add, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_TOKEN_REVOKE] = { apply_token_revoke, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_NODE_JOIN] = { apply_node_join, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_NODE_UPDATE] = { apply_node_update, AUDIT_NEVER },
	[ET__COMMAND__BODY_NODE_REMOVE] = { apply_node_remove, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_CERTIFICATE_ADD] = { apply_certificate_add, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_GRANT_ADD] = { apply_grant_add, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_KEK_ADD] = { apply_kek_add, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_POLICY_SET] = { apply_policy_set, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_HOLD_ADD] = { apply_hold_add, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_HOLD_RELEASE] = { apply_hold_release, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_PLAN_PUT] = { apply_plan_put, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_PLAN_APPLY] = { apply_plan_apply, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_JOB_UPDATE] = { apply_job_update, AUDIT_NEVER },
	[ET__COMMAND__BODY_AUDIT_ADD] = { apply_audit_add, AUDIT_ITSELF },
	[ET__COMMAND__BODY_TICK] = { apply_tick, AUDIT_NEVER },
	[ET__COMMAND__BODY_SITE_SET] = { apply_site_set, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_FACT_ADD] = { apply_fact_add, AUDIT_NEVER }, /* keep their history */
	[ET__COMMAND__BODY_TAG_SET] = { apply_tag_set, AUDIT_NEVER },
	[ET__COMMAND__BODY_NOTE_ADD] = { apply_note_add, AUDIT_NEVER },
	[ET__COMMAND__BODY_AGENT_SET] = { apply_agent_set, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_NODE_ROLES] = { apply_node_roles, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_NODE_DRAIN] = { apply_node_drain, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_DIGEST_CHECK] = { apply_digest_check, AUDIT_NEVER },
	[ET__COMMAND__BODY_CLUSTER_UPGRADE] = { apply_cluster_upgrade, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_RECORDING_ERASE] = { apply_recording_erase, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_RESTORE_STEP] = { apply_restore_step, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_RECORDING_REDACT] = { apply_recording_redact, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_GENERATION_PUT] = { apply_generation_put, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_SCHEMA_PROBE] = { apply_noop, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_KEK_ROTATE] = { apply_kek_rotate, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_KEK_SET] = { apply_kek_set, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_KEK_REPORT] = { apply_kek_report, AUDIT_NEVER },
	[ET__COMMAND__BODY_KEK_REWRAP] = { apply_kek_rewrap, AUDIT_NEVER },
	[ET__COMMAND__BODY_KEY_SCHEDULE] = { apply_key_schedule, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_KEK_ESCROW] = { apply_kek_escrow, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_GENERATION_FINISH] = { apply_generation_finish, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_CA_ROTATE] = { apply_ca_rotate, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_CA_STEP] = { apply_ca_step, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_CA_REPORT] = { apply_ca_report, AUDIT_NEVER },
	[ET__COMMAND__BODY_CA_SIGN] = { apply_ca_sign, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_RECORDING_IMPORT] = { apply_recording_import, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_RECORDINGS_JOIN] = { apply_recordings_join, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_RECORDING_SPLIT] = { apply_recording_split, AUDIT_ALWAYS },
	[ET__COMMAND__BODY_SITE_REMOVE] = { apply_site_remove, AUDIT_ALWAYS },
};

/* ---- What an audited command was about: an id, a number, or a name ---- */

/* The id that an audited command is about. NULL: it is not about one. */
static const ProtobufCBinaryData *audit_id(const Et__Command *c)
{
	switch ((int)c->body_case) {
	case ET__COMMAND__BODY_COPY_BAD:
		return &c->copy_bad->copy->recording;
	case ET__COMMAND__BODY_COPY_EVICT:
		return c->copy_evict->n_copies > 0 ? &c->copy_evict->copies[0]->recording : NULL;
	case ET__COMMAND__BODY_TOKEN_ADD:
		return &c->token_add->token->id;
	case ET__COMMAND__BODY_TOKEN_REVOKE:
		return &c->token_revoke->id;
	case ET__COMMAND__BODY_HOLD_ADD:
		return c->hold_add->hold->scope == NULL ? &c->hold_add->hold->recording : NULL;
	case ET__COMMAND__BODY_HOLD_RELEASE:
		return &c->hold_release->id;
	case ET__COMMAND__BODY_PLAN_PUT:
		return &c->plan_put->plan->id;
	case ET__COMMAND__BODY_PLAN_APPLY:
		return &c->plan_apply->plan;
	case ET__COMMAND__BODY_RECORDING_ERASE:
		return &c->recording_erase->recording;
	case ET__COMMAND__BODY_RECORDING_REDACT:
		return &c->recording_redact->recording;
	case ET__COMMAND__BODY_RECORDINGS_JOIN:
		return c->recordings_join->n_recordings > 0 ? &c->recordings_join->recordings[0]
							    : NULL;
	case ET__COMMAND__BODY_RECORDING_SPLIT:
		return &c->recording_split->recording;
	case ET__COMMAND__BODY_GENERATION_PUT:
		return &c->generation_put->segment->recording;
	case ET__COMMAND__BODY_GENERATION_FINISH:
		return &c->generation_finish->recording;
	case ET__COMMAND__BODY_RECORDING_IMPORT:
		return &c->recording_import->recording->id;
	default:
		return NULL;
	}
}

/* A number that it is about, and of what. NULL: it is not about one. */
static const char *audit_number(const Et__Command *c, uint64_t *ret)
{
	switch ((int)c->body_case) {
	case ET__COMMAND__BODY_NODE_REMOVE:
		*ret = c->node_remove->node;
		return "node";
	case ET__COMMAND__BODY_NODE_ROLES:
		*ret = c->node_roles->node;
		return "node";
	case ET__COMMAND__BODY_NODE_DRAIN:
		*ret = c->node_drain->node;
		return "node";
	case ET__COMMAND__BODY_CERTIFICATE_ADD:
		*ret = c->certificate_add->certificate->node;
		return "node";
	case ET__COMMAND__BODY_KEK_ADD:
		*ret = c->kek_add->kek->version;
		return "kek";
	case ET__COMMAND__BODY_KEK_SET:
		*ret = c->kek_set->version;
		return "kek";
	case ET__COMMAND__BODY_KEK_ESCROW:
		*ret = c->kek_escrow->version;
		return "kek";
	case ET__COMMAND__BODY_CA_STEP:
		*ret = c->ca_step->number;
		return "ca";
	case ET__COMMAND__BODY_CA_SIGN:
		*ret = c->ca_sign->number;
		return "ca";
	case ET__COMMAND__BODY_CLUSTER_UPGRADE:
		*ret = c->cluster_upgrade->to;
		return "schema";
	default:
		return NULL;
	}
}

/* The name that it is about. "": it is not about one. */
static const char *audit_name(const Et__Command *c)
{
	switch ((int)c->body_case) {
	case ET__COMMAND__BODY_CLUSTER_INIT:
		return c->cluster_init->cluster->name;
	case ET__COMMAND__BODY_NODE_JOIN:
		return c->node_join->node->name;
	case ET__COMMAND__BODY_POLICY_SET:
		return c->policy_set->policy->name;
	case ET__COMMAND__BODY_HOLD_ADD: /* of a scope */
		return c->hold_add->hold->matter;
	case ET__COMMAND__BODY_SITE_SET:
		return c->site_set->site->name;
	case ET__COMMAND__BODY_SITE_REMOVE:
		return c->site_remove->name;
	case ET__COMMAND__BODY_AGENT_SET:
		return c->agent_set->agent->id;
	case ET__COMMAND__BODY_RESTORE_STEP:
		return c->restore_step->detail;
	case ET__COMMAND__BODY_CA_ROTATE:
		return et_state_ca_ask((int)c->ca_rotate->ask);
	case ET__COMMAND__BODY_SCHEMA_PROBE:
		return c->schema_probe->text;
	default:
		return "";
	}
}

/* What an audited command was about, as text. */
static void audit_target(const Et__Command *c, char *ret, size_t size)
{
	const ProtobufCBinaryData *id = audit_id(c);
	uint64_t number = 0;
	const char *kind = audit_number(c, &number);
	char hex[33] = "";

	if (id != NULL && id->len == 16) {
		et_hex(id->data, id->len, hex);
	}
	if (kind != NULL) {
		bool moves = c->body_case == ET__COMMAND__BODY_KEK_SET;
		(void)snprintf(ret, size, "%s:%llu%s%s", kind, (unsigned long long)number,
			       moves ? " " : "",
			       moves ? et_state_kek_state((int)c->kek_set->state) : "");
	} else {
		(void)snprintf(ret, size, "%s", id != NULL ? hex : audit_name(c));
	}
}

static int command_audit(struct apply *a, int code)
{
	const Et__Command *c = a->c;
	char target[600];

	switch (bodies[c->body_case].audited) {
	case AUDIT_NEVER:
		return 0;
	case AUDIT_ITSELF:
		return code < 0 ? audit_append(a, c->audit_add->action, c->audit_add->target,
					       a->o->text, code, NULL)
				: 0;
	case AUDIT_ALWAYS:
		audit_target(c, target, sizeof(target));
		return audit_append(a, et_command_name(c), target, a->o->text, code, NULL);
	}
	return 0;
}

/* ---- One command ---- */

bool schema_has(const struct apply *a, uint32_t schema)
{
	return a->s->cluster != NULL && a->s->cluster->schema >= schema;
}

/* Does the committed schema have this command? */
static int command_understood(struct apply *a)
{
	uint32_t needed = et_schema_needed(a->c);

	if (a->s->cluster != NULL && needed > a->s->cluster->schema) {
		return refuse(a, ET_EVERSION, "it needs schema %u, the cluster's is %u", needed,
			      a->s->cluster->schema);
	}
	return 0;
}

/* May this command be applied at all? Nothing is kept of those that may not. */
static int command_admit(struct apply *a)
{
	const Et__Command *c = a->c;

	if (a->s->cluster == NULL) {
		bool may = c->body_case == ET__COMMAND__BODY_CLUSTER_INIT ||
			   c->body_case == ET__COMMAND__BODY_NOOP;
		return may ? 0 : refuse(a, ET_EUNINITIALISED, "there is no cluster yet");
	}
	if (c->body_case == ET__COMMAND__BODY_RESTORE_STEP || a->s->cluster->restoring) {
		return restore_admit(a);
	}
	const Et__Node *node = NULL;
	int rc = apply_node(a, c->op->node, &node);
	if (rc == ET_ENOTFOUND || (rc == 0 && !node_is_member(node))) {
		rc = refuse(a, ET_EDENIED, "node %llu is not a member of the cluster",
			    (unsigned long long)c->op->node);
	}
	a->from_draining = rc == 0 && node->state == ET__NODE_STATE__DRAINING;
	return rc;
}

/* Whom a draining node's own words concern, and what takes a copy away. */
static bool command_moves_copies(const struct apply *a)
{
	switch ((int)a->c->body_case) {
	case ET__COMMAND__BODY_COPY_BAD:
	case ET__COMMAND__BODY_COPY_EVICT:
		return true;
	case ET__COMMAND__BODY_RECORDING_OPEN:
	case ET__COMMAND__BODY_SEGMENT_OPEN:
	case ET__COMMAND__BODY_SEGMENT_SEAL:
	case ET__COMMAND__BODY_COPY_ADD:
	case ET__COMMAND__BODY_RECORDING_IMPORT:
		return a->from_draining;
	default:
		return false;
	}
}

/* A command seen before: its first result. 1: it was, and is answered; 0: go on. */
static int command_replay(struct apply *a, struct incarnation *n)
{
	if (!window_has(&n->window, a->c->op->seq)) {
		return 0;
	}
	int rc = window_result(a, n, &a->o->first);
	if (rc == 0) {
		return 1;
	}
	if (rc != ET_ENOTFOUND) {
		return rc;
	}
	if (a->c->op->seq <= n->window.forced && et_command_is_create(a->c)) {
		return 0;
	}
	a->o->result.code = refuse(a, ET_EEXISTS, "applied before; its result is no longer kept");
	return 1;
}

static int command_apply(struct apply *a)
{
	struct incarnation *n = NULL;
	Et__Result *r = &a->o->result;

	int rc = command_admit(a);
	if (rc < 0) {
		r->code = rc;
		return code_is_final(rc) ? rc : 0;
	}
	rc = window_of(a, &n);
	rc = rc < 0 ? rc : command_replay(a, n);
	if (rc != 0) {
		return rc < 0 ? rc : 0;
	}
	et_assert((size_t)a->c->body_case < ET_ARRAY_SIZE(bodies));
	rc = command_understood(a);
	rc = rc < 0 ? rc : bodies[a->c->body_case].apply(a);
	if (code_is_final(rc)) {
		return rc;
	}
	r->code = rc;
	if ((rc == 0 || rc == ET_EDEGRADED) && command_moves_copies(a)) {
		(void)copies_moved(a);
	}
	rc = command_audit(a, r->code);
	return rc < 0 ? rc : window_store(a, n, r);
}

/* ---- One entry ---- */

static struct outcome *outcome_new(struct et_state *s, uint64_t index, uint32_t position)
{
	if (s->outcome_count == s->outcome_capacity) {
		size_t capacity = s->outcome_capacity > 0 ? s->outcome_capacity * 2 : 64;
		struct outcome *p = realloc(s->outcomes, capacity * sizeof(*p));
		if (p == NULL) {
			return NULL;
		}
		s->outcomes = p;
		s->outcome_capacity = capacity;
		for (size_t i = 0; i < s->outcome_count; i++) { /* they moved */
			struct outcome *o = &s->outcomes[i];
			o->result.text = o->text;
			if (o->result.id.len > 0) {
				o->result.id.data = o->id;
			}
		}
	}
	struct outcome *o = &s->outcomes[s->outcome_count++];
	memset(o, 0, sizeof(*o));
	o->index = index;
	o->position = position;
	et__result__init(&o->result);
	o->result.text = o->text;
	o->result.index = index;
	return o;
}

struct entry {
	struct et_state *s;
	uint64_t index;
	uint32_t newest_schema;
};

static int entry_command(void *arg, uint32_t position, struct et_view packed)
{
	const struct entry *e = arg;
	struct et_state *s = e->s;
	struct outcome *o = outcome_new(s, e->index, position);
	struct et_error error;

	if (o == NULL) {
		return -ENOMEM;
	}
	int rc = et_command_unpack(packed.data, packed.size, &o->command, &error);
	if (rc == ET_EMALFORMED) { /* deterministic: all nodes read the same bytes */
		o->result.code = rc;
		(void)snprintf(o->text, sizeof(o->text), "%.250s", error.text);
		return 0;
	}
	if (rc < 0) {
		return rc;
	}
	struct apply a = { s, &s->own, e->index, o->command, o, false };
	return command_apply(&a);
}

/* The schema is looked at before anything is applied: an entry is applied whole or not at all. */
static int entry_schema(void *arg, uint32_t position, struct et_view packed)
{
	struct entry *e = arg;
	uint32_t schema = et_command_schema(packed);

	(void)position;
	if (schema > e->newest_schema) {
		e->newest_schema = schema;
	}
	return 0;
}

static void digest_begin(struct et_state *s, uint64_t index, struct et_view entry)
{
	uint8_t head[16];

	et_put64(head, index);
	et_put64(head + 8, entry.size);
	et_sha256_reset(s->sha);
	et_sha256_add(s->sha, s->own.digest, sizeof(s->own.digest));
	et_sha256_add(s->sha, head, sizeof(head));
	et_sha256_add(s->sha, entry.data, entry.size);
	s->write_sum = 0;
}

static void digest_end(struct et_state *s)
{
	uint8_t sum[8];

	et_put64(sum, s->write_sum);
	et_sha256_add(s->sha, sum, sizeof(sum));
	et_sha256_end(s->sha, s->own.digest);
}

static void digest_remember(struct et_state *s)
{
	size_t slot = s->own.index % ET_ARRAY_SIZE(s->digests);

	s->digests[slot].index = s->own.index;
	memcpy(s->digests[slot].digest, s->own.digest, sizeof(s->own.digest));
}

bool et_state_digest_at(const struct et_state *s, uint64_t index, uint8_t ret[32])
{
	size_t slot = index % ET_ARRAY_SIZE(s->digests);

	if (index == 0 || s->digests[slot].index != index) {
		return false;
	}
	memcpy(ret, s->digests[slot].digest, 32);
	return true;
}

int et_state_apply(struct et_state *s, uint64_t index, struct et_view entry,
		   struct et_error *reterr)
{
	struct entry e = { .s = s, .index = index };
	int rc = 0;

	et_assert(s->in_group);
	if (s->failed < 0) {
		return et_fail(reterr, s->failed, "an earlier failure is final");
	}
	if (index <= s->own.index) {
		return 0;
	}
	if (s->own.index > 0) {
		digest_remember(s); /* where the database was opened */
	}
	if (index != s->own.index + 1) {
		s->failed =
			et_fail(reterr, ET_ECORRUPT, "entry %llu after %llu: the log has a hole",
				(unsigned long long)index, (unsigned long long)s->own.index);
		return s->failed;
	}
	if (entry.size > 0) {
		rc = et_entry_each(entry.data, entry.size, entry_schema, &e);
	}
	if (s->cluster != NULL && s->cluster->schema > ET_COMMAND_SCHEMA) {
		return et_fail(reterr, ET_EVERSION,
			       "the cluster was upgraded to schema %u, this build knows %u",
			       s->cluster->schema, ET_COMMAND_SCHEMA);
	}
	if (e.newest_schema > ET_COMMAND_SCHEMA) {
		return et_fail(reterr, ET_EVERSION, "entry %llu has schema %u, this build knows %u",
			       (unsigned long long)index, e.newest_schema, ET_COMMAND_SCHEMA);
	}
	digest_begin(s, index, entry);
	if (rc == 0 && entry.size > 0) {
		rc = et_entry_each(entry.data, entry.size, entry_command, &e);
	}
	rc = s->overlay.failed ? -ENOMEM : rc;
	if (rc < 0 && rc != ET_EMALFORMED) { /* bytes that are no entry change nothing */
		s->failed = et_fail(reterr, rc, "apply entry %llu", (unsigned long long)index);
		return rc;
	}
	digest_end(s);
	s->own.index = index;
	digest_remember(s);
	return 0;
}
