/* A restore from a backup: entries that one node makes for itself, before anybody can reach it.
 *
 *   BEGIN  the node becomes the only member, under a number that nobody ever had; all others are
 *          removed, every token is revoked, the epoch goes up; nothing else is applied from here on
 *   ERASE  erasures that were made after the backup are made again; holds do not matter: it was
 *          decided then, and what the ledger says is destroyed is destroyed
 *   END    the cluster begins */
#include <stdio.h>

#include "raft/state/state_internal.h"

int restore_admit(struct apply *a)
{
	const Et__Command *c = a->c;
	bool restoring = a->s->cluster->restoring;

	if (c->body_case != ET__COMMAND__BODY_RESTORE_STEP) {
		return refuse(a, ET_EREFUSED, "a restore of the catalogue is being made");
	}
	bool begins = c->restore_step->kind == ET__RESTORE_STEP__KIND__BEGIN;
	if (begins == restoring) {
		return refuse(a, ET_EREFUSED,
			      restoring ? "the restore was begun" : "no restore was begun");
	}
	return 0;
}

/* ---- BEGIN ---- */

static int found_add(void *arg, struct et_view key, struct et_view value)
{
	struct found *f = arg;
	ProtobufCMessage **list = realloc(f->list, (f->count + 1) * sizeof(*list));

	(void)key;
	if (list == NULL) {
		return -ENOMEM;
	}
	f->list = list;
	list[f->count] = protobuf_c_message_unpack(f->d, NULL, value.size, value.data);
	if (list[f->count] == NULL) {
		return ET_ECORRUPT;
	}
	f->count++;
	return 0;
}

int found_all(struct apply *a, enum state_cf cf, struct found *f)
{
	struct key all = { 0 };

	return view_walk(a->v, cf, &all, NULL, found_add, f);
}

void found_release(struct found *f)
{
	for (size_t i = 0; i < f->count; i++) {
		protobuf_c_message_free_unpacked(f->list[i], NULL);
	}
	free(f->list);
}

static int members_remove(struct apply *a)
{
	struct found f = { .d = &et__node__descriptor };
	char reason[] = "the catalogue was restored from a backup";

	int rc = found_all(a, CF_NODE, &f);
	for (size_t i = 0; i < f.count && rc == 0; i++) {
		Et__Node after = *(const Et__Node *)f.list[i];
		if (node_is_member(&after)) {
			after.state = ET__NODE_STATE__REMOVED;
			after.reason = reason;
			rc = node_put(a, &after);
		}
	}
	found_release(&f);
	return rc;
}

static int tokens_revoke(struct apply *a)
{
	struct found f = { .d = &et__token__descriptor };

	int rc = found_all(a, CF_TOKEN, &f);
	for (size_t i = 0; i < f.count && rc == 0; i++) {
		Et__Token after = *(const Et__Token *)f.list[i];
		struct key key = key_of(after.id.data, 16);
		after.revoked = true;
		rc = state_put_message(a->s, CF_TOKEN, &key, &after);
	}
	found_release(&f);
	return rc;
}

static int begin_check(struct apply *a, const Et__RestoreStep *step)
{
	const Et__Cluster *c = a->s->cluster;

	if (step->expect_epoch != c->epoch) {
		return refuse(a, ET_ESTALE, "the cluster's epoch is %u", c->epoch);
	}
	if (step->node == NULL || step->node->id < c->next_node_id ||
	    step->node->id != a->c->op->node) {
		return refuse(a, ET_EREFUSED, "a restore is made by one node, which is a new one");
	}
	if (step->node->spki_hash.len != 32) {
		return refuse(a, ET_EREFUSED, "the node needs its key");
	}
	return grants_check(a, step->grants, step->n_grants, step->node);
}

static int restore_begin(struct apply *a, const Et__RestoreStep *step)
{
	Et__Cluster after = *a->s->cluster;

	int rc = begin_check(a, step);
	if (rc < 0) {
		return rc;
	}
	Et__Node node = *step->node;
	node.state = ET__NODE_STATE__ACTIVE;
	node.joined_us = apply_time(a);
	after.epoch++;
	after.restoring = true;
	after.restored_us = after.cluster_time_us;
	after.restored_index = a->index;
	after.erasures_missing = step->erasures_missing;
	after.next_node_id = node.id + 1;
	a->o->result.number = after.epoch;
	rc = ca_restore(a, step->grants, step->n_grants, &after);
	rc = rc < 0 ? rc : members_remove(a);
	rc = rc < 0 ? rc : tokens_revoke(a);
	rc = rc < 0 ? rc : site_ensure(a, node.site);
	rc = rc < 0 ? rc : node_put(a, &node);
	rc = rc < 0 ? rc : grants_put(a, step->grants, step->n_grants);
	if (rc == 0 && step->certificate != NULL) {
		Et__Certificate certificate = *step->certificate;
		certificate.node = node.id;
		rc = certificate_put(a, &certificate);
	}
	return rc < 0 ? rc : cluster_put(a, &after);
}

/* ---- ERASE ---- */

static int erase_again(struct apply *a, const Et__Erasure *e)
{
	ET_CLEANUP(message_freep) Et__Recording *known = NULL;
	char hex[33];
	char detail[96];

	int rc = et_state_get_recording(a->v, e->recording.data, &known);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	if (known != NULL && known->state == ET__RECORDING_STATE__ERASED) {
		return 0; /* the backup has it */
	}
	a->o->result.number++;
	rc = recording_erase(a, e->recording.data, known, e->time_us > 0 ? e->time_us : 1,
			     a->index);
	et_hex(e->recording.data, 16, hex);
	(void)snprintf(detail, sizeof(detail), "again: erased at index %llu before the restore",
		       (unsigned long long)e->index);
	return rc < 0 ? rc : audit_append(a, "recording.erase", hex, detail, 0, NULL);
}

static int restore_erase(struct apply *a, const Et__RestoreStep *step)
{
	int rc = 0;

	for (size_t i = 0; i < step->n_erasures && rc == 0; i++) {
		rc = erase_again(a, step->erasures[i]);
	}
	return rc;
}

static int restore_end(struct apply *a)
{
	Et__Cluster after = *a->s->cluster;

	after.restoring = false;
	a->o->result.number = after.epoch;
	return cluster_put(a, &after);
}

int apply_restore_step(struct apply *a)
{
	const Et__RestoreStep *step = a->c->restore_step;

	switch ((int)step->kind) {
	case ET__RESTORE_STEP__KIND__BEGIN:
		return restore_begin(a, step);
	case ET__RESTORE_STEP__KIND__ERASE:
		return restore_erase(a, step);
	case ET__RESTORE_STEP__KIND__END:
		return restore_end(a);
	default:
		return refuse(a, ET_EREFUSED, "no such step of a restore");
	}
}
