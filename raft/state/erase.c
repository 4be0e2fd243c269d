/* Erasing a recording: its wrapped DEKs go, for good. What media is left anywhere can be opened by
 * nobody then.
 *
 * Tombstones always win: whatever comes late of an erased recording (an open that waited in a
 * journal) is refused. */
#include <stdio.h>

#include "raft/state/state_internal.h"

/* The wrapped key is gone from the record; what is left says which key it was. */
int segment_erase(struct apply *a, const Et__Segment *g)
{
	Et__Segment after = *g;
	Et__Wrap wrap = ET__WRAP__INIT;

	if (g->wrap != NULL) {
		wrap = *g->wrap;
	}
	wrap.enc = (ProtobufCBinaryData){ 0, NULL };
	wrap.ciphertext = (ProtobufCBinaryData){ 0, NULL };
	wrap.erased = true;
	after.wrap = &wrap;
	int rc = wraps_remove(a->s, g->wrap);
	return rc < 0 ? rc : segment_put(a, &after);
}

static int segments_erase(struct apply *a, const uint8_t id[16])
{
	struct segment_list l;

	int rc = segment_list_load(a->v, id, &l);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < l.count && rc == 0; i++) {
		rc = segment_erase(a, l.list[i]);
	}
	segment_list_release(&l);
	return rc;
}

/* What was told of it goes, and what was told of its call or its SIP Call-ID, unless another
 * recording carries that. `was` is the recording as it was, its links are gone already. */
static int told_erase(struct apply *a, const Et__Recording *was)
{
	Et__Subject subjects[TOLD_SUBJECTS];
	size_t count = told_subjects(was, subjects);
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = told_forget(a, &subjects[i]);
	}
	return rc;
}

/* What a tombstone keeps: which recording it was, of whom, when, and that it is erased. What names
 * people, what they said of it, and addresses go. `known` NULL: nothing is known of it; a tombstone
 * keeps late comers out. The caller appends the audit event next. */
int recording_erase(struct apply *a, const uint8_t id[16], const Et__Recording *known,
		    int64_t erased_us, uint64_t erased_index)
{
	Et__Recording after = ET__RECORDING__INIT;
	uint8_t bytes[16];

	memcpy(bytes, id, sizeof(bytes));
	after.id = (ProtobufCBinaryData){ sizeof(bytes), bytes };
	if (known != NULL) {
		after.node = known->node;
		after.site = known->site;
		after.start_us = known->start_us;
		after.end_us = known->end_us;
		after.ended_us = known->ended_us;
		after.opened_index = known->opened_index;
	}
	after.state = ET__RECORDING_STATE__ERASED;
	after.erased_us = erased_us;
	after.erased_index = erased_index;
	after.erased_audit = a->s->audit_number + 1;
	a->s->erased = true;
	int rc = generations_drop(a, id);
	rc = rc < 0 ? rc : segments_erase(a, id);
	rc = rc < 0 ? rc : recording_put(a, known, &after);
	return rc < 0 || known == NULL ? rc : told_erase(a, known);
}

/* ---- Is it to be? ---- */

static int hold_tell(void *arg, const Et__Hold *hold)
{
	char *matter = arg;

	(void)snprintf(matter, 80, "%.79s", hold->matter);
	return 1;
}

int recording_not_held(struct apply *a, const Et__Recording *known)
{
	char matter[80] = "";

	int rc = et_state_each_hold_over(a->v, known, hold_tell, matter);
	return rc == 1 ? refuse(a, ET_EPOLICY, "a hold stands: matter '%s'", matter) : rc;
}

static int retention_policy(struct apply *a, Et__Policy **ret)
{
	int rc = et_state_get_policy(a->v, ET_STATE_RETENTION, ret);

	return rc == ET_ENOTFOUND ? 0 : rc;
}

/* The cluster's time, as it was ticked: never a clock's. */
static int64_t erase_time(const struct apply *a)
{
	return a->s->cluster != NULL ? a->s->cluster->cluster_time_us : 0;
}

int apply_recording_erase(struct apply *a)
{
	ProtobufCBinaryData id = a->c->recording_erase->recording;
	ET_CLEANUP(message_freep) Et__Recording *known = NULL;
	ET_CLEANUP(message_freep) Et__Policy *policy = NULL;
	struct et_state_exemption e;

	result_id(a, id);
	int rc = et_state_get_recording(a->v, id.data, &known);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the recording is not known");
	}
	rc = rc < 0 ? rc : retention_policy(a, &policy);
	rc = rc < 0 ? rc : et_state_exempt(a->v, policy, known, erase_time(a), &e);
	if (rc < 0) {
		return rc;
	}
	switch (e.why) {
	case ET_EXEMPT_ERASED:
		a->o->result.number = known->erased_index;
		return 0; /* it is */
	case ET_EXEMPT_CAPTURING:
		return refuse(a, ET_EREFUSED, "%s", e.text);
	case ET_EXEMPT_HOLD:
	case ET_EXEMPT_RETENTION:
		return refuse(a, ET_EPOLICY, "%s", e.text);
	case ET_EXEMPT_NOT:
		break;
	}
	a->o->result.number = a->index;
	return recording_erase(a, id.data, known, apply_time(a), a->index);
}

/* ---- By plan: what the plan says is checked and done within one entry, all of it or nothing ----
 */

bool plan_erases(const Et__Plan *plan)
{
	return strcmp(plan->kind, "erase") == 0;
}

int erase_plan_check(struct apply *a, const Et__Plan *plan)
{
	size_t erases = 0;
	size_t exempts = 0;

	for (size_t i = 0; i < plan->n_items; i++) {
		erases += strcmp(plan->items[i]->action, "erase") == 0;
		exempts += strcmp(plan->items[i]->action, "exempt") == 0;
	}
	if (plan_erases(plan) ? erases + exempts != plan->n_items : erases + exempts != 0) {
		return refuse(a, ET_EREFUSED,
			      "a plan to erase has items to erase or exempt, and "
			      "no other plan has");
	}
	if (erases > ET_STATE_ERASE_MAX) {
		return refuse(a, ET_ELIMIT, "a plan erases at most %d recordings",
			      ET_STATE_ERASE_MAX);
	}
	return 0;
}

static int erase_stale(struct apply *a, const Et__PlanItem *item, const char *why)
{
	char hex[33];

	et_hex(item->recording.data, 16, hex);
	return refuse(a, ET_ESTALE, "%s: %.160s", hex, why);
}

int erase_item_check(struct apply *a, const Et__Plan *plan, const Et__PlanItem *item)
{
	ET_CLEANUP(message_freep) Et__Recording *known = NULL;
	ET_CLEANUP(message_freep) Et__Policy *policy = NULL;
	struct et_state_exemption e;

	if (!plan_erases(plan)) {
		return refuse(a, ET_EREFUSED, "only a plan to erase erases");
	}
	int rc = et_state_get_recording(a->v, item->recording.data, &known);
	if (rc == ET_ENOTFOUND) {
		return erase_stale(a, item, "not there");
	}
	rc = rc < 0 ? rc : retention_policy(a, &policy);
	rc = rc < 0 ? rc : et_state_exempt(a->v, policy, known, erase_time(a), &e);
	if (rc < 0) {
		return rc;
	}
	return e.why != ET_EXEMPT_NOT ? erase_stale(a, item, e.text) : 0;
}

static int erase_one(struct apply *a, const Et__Plan *plan, const Et__PlanItem *item,
		     uint64_t *ret_audit)
{
	ET_CLEANUP(message_freep) Et__Recording *known = NULL;
	char hex[33];
	char by[33];
	char detail[160];

	int rc = et_state_get_recording(a->v, item->recording.data, &known);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? ET_ECORRUPT : rc;
	}
	if (known->state == ET__RECORDING_STATE__ERASED) {
		return 0; /* the plan names it twice */
	}
	rc = recording_erase(a, item->recording.data, known, apply_time(a), a->index);
	et_hex(item->recording.data, 16, hex);
	et_hex(plan->id.data, 16, by);
	(void)snprintf(detail, sizeof(detail), "plan %s%s%.63s", by,
		       item->rule[0] != '\0' ? ", retention rule " : "", item->rule);
	if (rc == 0) {
		a->o->result.number++;
		rc = audit_append(a, "recording.erase", hex, detail, 0, ret_audit);
	}
	return rc;
}

int erase_plan_carry_out(struct apply *a, Et__Plan *plan)
{
	if (a->c->plan_apply->n_jobs > 0) {
		return refuse(a, ET_EREFUSED, "a plan to erase makes no jobs");
	}
	a->o->result.number = 0;
	plan->applied_us = apply_time(a);
	plan->applied_index = a->index;
	for (size_t i = 0; i < plan->n_items; i++) {
		uint64_t number = 0;
		if (strcmp(plan->items[i]->action, "erase") != 0) {
			continue;
		}
		int rc = erase_one(a, plan, plan->items[i], &number);
		if (rc < 0) {
			return rc;
		}
		if (number != 0) {
			plan->audit_first = plan->audit_first == 0 ? number : plan->audit_first;
			plan->audit_last = number;
		}
	}
	(void)snprintf(a->o->text, sizeof(a->o->text), "%llu recordings erased",
		       (unsigned long long)a->o->result.number);
	return 0;
}

int recording_not_erased(struct apply *a, ProtobufCBinaryData id, Et__Recording **ret)
{
	int rc = et_state_get_recording(a->v, id.data, ret);
	if (rc == 0 && (*ret)->state == ET__RECORDING_STATE__ERASED) {
		return refuse(a, ET_EREFUSED, "the recording is erased");
	}
	return rc == ET_ENOTFOUND ? 0 : rc;
}
