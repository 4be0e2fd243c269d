/* The audit chain: every link holds the hash of the one before it. */
#include <stdio.h>

#include "raft/state/state_internal.h"

void et_state_audit_hash(const Et__AuditEvent *event, uint8_t ret[32])
{
	Et__AuditEvent bare = *event;
	uint8_t tag = 2;

	bare.hash = (ProtobufCBinaryData){ 0, NULL };
	size_t size = et__audit_event__get_packed_size(&bare);
	uint8_t *packed = malloc(size + 1);
	struct et_sha256 *sha = et_sha256_new();
	et_assert(packed != NULL && sha != NULL); /* a chain without a link must not go on */
	(void)et__audit_event__pack(&bare, packed);
	et_sha256_add(sha, &tag, 1);
	et_sha256_add(sha, bare.prev_hash.data, bare.prev_hash.len);
	et_sha256_add(sha, packed, size);
	et_sha256_end(sha, ret);
	(void)et_sha256_free(sha);
	free(packed);
}

int audit_append(struct apply *a, const char *action, const char *target, const char *detail,
		 int code, uint64_t *ret_number)
{
	struct et_state *s = a->s;
	Et__AuditEvent e = ET__AUDIT_EVENT__INIT;
	uint8_t hash[32];
	char texts[5][1100];

	(void)snprintf(texts[0], sizeof(texts[0]), "%s", a->c->principal);
	(void)snprintf(texts[1], sizeof(texts[1]), "%s", action);
	(void)snprintf(texts[2], sizeof(texts[2]), "%s", target);
	(void)snprintf(texts[3], sizeof(texts[3]), "%s", a->c->reason);
	(void)snprintf(texts[4], sizeof(texts[4]), "%s", detail);
	e.number = s->audit_number + 1;
	e.index = a->index;
	e.time_us = s->cluster != NULL ? s->cluster->cluster_time_us : 0;
	e.proposed_us = a->c->proposed_us;
	e.node = a->c->op->node;
	e.principal = texts[0];
	e.action = texts[1];
	e.target = texts[2];
	e.reason = texts[3];
	e.detail = texts[4];
	char ok[] = "ok";
	char partial[] = "partial";
	char refused[] = "refused";
	e.outcome = code == 0 ? ok : code == ET_EDEGRADED ? partial : refused;
	e.prev_hash = (ProtobufCBinaryData){ sizeof(s->audit_hash), s->audit_hash };
	et_state_audit_hash(&e, hash);
	e.hash = (ProtobufCBinaryData){ sizeof(hash), hash };

	struct key key = key_u64(e.number);
	int rc = state_put_message(s, CF_AUDIT, &key, &e);
	if (rc < 0) {
		return rc;
	}
	s->audit_number = e.number;
	memcpy(s->audit_hash, hash, sizeof(hash));
	s->counts.audit_events++;
	if (ret_number != NULL) {
		*ret_number = e.number;
	}
	return 0;
}

struct audit_walk {
	uint64_t last;
	int (*fn)(void *arg, const Et__AuditEvent *record);
	void *arg;
};

#define WALK_ENDED 1

static int audit_each(void *arg, struct et_view key, struct et_view value)
{
	const struct audit_walk *w = arg;

	if (key.size != 8) {
		return ET_ECORRUPT;
	}
	if (w->last != 0 && et_get64(key.data) > w->last) {
		return WALK_ENDED;
	}
	Et__AuditEvent *e = et__audit_event__unpack(NULL, value.size, value.data);
	if (e == NULL) {
		return ET_ECORRUPT;
	}
	int rc = w->fn(w->arg, e);
	et__audit_event__free_unpacked(e, NULL);
	return rc;
}

int et_state_each_audit(const struct et_state_view *v, uint64_t first, uint64_t last,
			int (*fn)(void *arg, const Et__AuditEvent *record), void *arg)
{
	struct audit_walk w = { last, fn, arg };
	struct key all = { 0 };
	struct key from = key_u64(first);

	if (last != 0 && last < first) {
		return 0;
	}
	int rc = view_walk(v, CF_AUDIT, &all, &from, audit_each, &w);
	return rc == WALK_ENDED ? 0 : rc;
}

struct audit_check {
	uint64_t next;
	uint8_t head[32];
	uint64_t bad;
};

static int audit_check_each(void *arg, struct et_view key, struct et_view value)
{
	struct audit_check *c = arg;
	uint8_t hash[32];

	Et__AuditEvent *e = et__audit_event__unpack(NULL, value.size, value.data);
	bool good = e != NULL && key.size == 8 && et_get64(key.data) == c->next &&
		    e->number == c->next && e->prev_hash.len == 32 && e->hash.len == 32 &&
		    memcmp(e->prev_hash.data, c->head, 32) == 0;
	if (good) {
		et_state_audit_hash(e, hash);
		good = memcmp(e->hash.data, hash, sizeof(hash)) == 0 &&
		       et__audit_event__get_packed_size(e) == value.size;
		memcpy(c->head, hash, sizeof(hash));
	}
	if (e != NULL) {
		et__audit_event__free_unpacked(e, NULL);
	}
	if (!good) {
		c->bad = c->next;
		return ET_EINTEGRITY;
	}
	c->next++;
	return 0;
}

int et_state_audit_verify(const struct et_state_view *v, uint64_t *ret_events, uint8_t ret_head[32],
			  struct et_error *reterr)
{
	struct audit_check c = { .next = 1 };
	struct key all = { 0 };
	struct key head_key = key_meta("audit");
	ET_CLEANUP(et_buffer_release) struct et_buffer head = { 0 };

	int rc = view_walk(v, CF_AUDIT, &all, NULL, audit_check_each, &c);
	if (rc == ET_EINTEGRITY) {
		return et_fail(reterr, rc, "audit event %llu", (unsigned long long)c.bad);
	}
	if (rc < 0) {
		return et_fail(reterr, rc, "read the audit chain");
	}
	rc = view_get(v, CF_META, &head_key, &head);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return et_fail(reterr, rc, "read the head of the audit chain");
	}
	bool ends_well = rc == ET_ENOTFOUND
				 ? c.next == 1
				 : head.size == 40 && et_get64(head.data) == c.next - 1 &&
					   memcmp(head.data + 8, c.head, 32) == 0;
	if (!ends_well) {
		return et_fail(reterr, ET_EINTEGRITY, "audit event %llu is missing",
			       (unsigned long long)c.next);
	}
	*ret_events = c.next - 1;
	memcpy(ret_head, c.head, sizeof(c.head));
	return 0;
}
