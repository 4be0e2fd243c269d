/* Holds, retention, plans to erase, and what is left of what was erased. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/state_internal.h"
#include "raft/state/test/kit.h"

#define T0 INT64_C(1700000000000000)
#define MINUTE INT64_C(60000000)

static struct et_state_view *view(struct kit *k)
{
	struct et_state_view *v = et_state_view_open(k->s);

	assert_non_null(v);
	return v;
}

struct made {
	uint64_t id;
	const char *from;
	int64_t start_us; /* 0: T0 */
	int64_t end_us;	  /* 0: two seconds later */
	uint64_t call;
	const char *sip;
};

static void make(struct kit *k, const struct made *m)
{
	int64_t start_us = m->start_us != 0 ? m->start_us : T0;
	struct kit_call call = { .id = m->id,
				 .start_us = start_us,
				 .from = m->from,
				 .to = "4711",
				 .call = m->call,
				 .sip_call_id = m->sip };
	Et__Recording r = ET__RECORDING__INIT;

	assert_int_equal(kit_open_call(k, 1, &call), 0);
	assert_int_equal(kit_segment_open(k, 1, m->id, 1), 0);
	assert_int_equal(
		kit_segment_seal(k, 1, m->id, 1, ET__SEGMENT_STATE__SEGMENT_SEALED, m->id, 3), 0);
	r.id = kit_id(m->id);
	r.state = ET__RECORDING_STATE__SEALED;
	r.end_us = m->end_us != 0 ? m->end_us : start_us + 2000000;
	assert_int_equal(kit_tell_recording(k, 1, KIT_CLOSE, &r), 0);
}

static int state_of(struct kit *k, uint64_t id)
{
	struct et_state_view *v = view(k);
	Et__Recording *r = NULL;

	assert_int_equal(et_state_get_recording(v, kit_id(id).data, &r), 0);
	int state = (int)r->state;
	et__recording__free_unpacked(r, NULL);
	(void)et_state_view_close(v);
	return state;
}

#define SEALED ET__RECORDING_STATE__SEALED
#define ERASED ET__RECORDING_STATE__ERASED

/* ---- Holds ---- */

static int count_hold(void *arg, const Et__Hold *h)
{
	(void)h;
	++*(unsigned *)arg;
	return 0;
}

static unsigned holds_over(struct kit *k, uint64_t id)
{
	struct et_state_view *v = view(k);
	Et__Recording *r = NULL;
	unsigned count = 0;

	assert_int_equal(et_state_get_recording(v, kit_id(id).data, &r), 0);
	assert_int_equal(et_state_each_hold_over(v, r, count_hold, &count), 0);
	et__recording__free_unpacked(r, NULL);
	(void)et_state_view_close(v);
	return count;
}

static void a_scope_holds_what_is_there_and_what_comes(void **state)
{
	struct kit *k = *state;
	Et__HoldScope scope = ET__HOLD_SCOPE__INIT;
	char number[] = "4930*";
	uint64_t before;

	kit_cluster(k);
	make(k, &(struct made){ .id = 5, .from = "49301" });
	make(k, &(struct made){ .id = 6, .from = "4940" });
	scope.number = number;
	scope.to_us = T0 + MINUTE;
	before = kit_counts(k).holds;
	assert_int_equal(kit_hold_scope(k, 70, &scope), 0);
	assert_int_equal(kit_hold_scope(k, 70, &scope), ET_EEXISTS);
	make(k, &(struct made){ .id = 7, .from = "49302" });
	make(k, &(struct made){ .id = 8, .from = "49303", .start_us = T0 + MINUTE });
	assert_int_equal(kit_counts(k).holds, before + 1);
	assert_int_equal(kit_erase(k, 5), ET_EPOLICY);
	assert_non_null(strstr(k->result->text, "case 118"));
	assert_int_equal(kit_erase(k, 7), ET_EPOLICY); /* it came later */
	assert_int_equal(kit_erase(k, 6), 0);	       /* another number */
	assert_int_equal(kit_erase(k, 8), 0);	       /* another time */
	assert_int_equal(holds_over(k, 7), 1);
	assert_int_equal(kit_hold_add(k, 71, 7), 0);
	assert_int_equal(holds_over(k, 7), 2);
	assert_int_equal(kit_hold_release(k, 70), 0);
	assert_int_equal(kit_hold_release(k, 70), 0);
	assert_int_equal(kit_counts(k).holds, before + 1);
	assert_int_equal(kit_erase(k, 5), 0);
	assert_int_equal(kit_erase(k, 7), ET_EPOLICY); /* its own stands */
	assert_int_equal(kit_hold_release(k, 71), 0);
	assert_int_equal(kit_erase(k, 7), 0);
}

static void holds_survive_a_restart(void **state)
{
	struct kit *k = *state;
	Et__HoldScope scope = ET__HOLD_SCOPE__INIT;
	char sip[] = "abc@pbx";
	struct et_error error;

	kit_cluster(k);
	make(k, &(struct made){ .id = 5, .from = "1", .sip = sip });
	scope.sip_call_id = sip;
	assert_int_equal(kit_hold_scope(k, 70, &scope), 0);
	assert_int_equal(et_state_flush(k->s, &error), 0);
	(void)et_state_close(k->s);
	k->s = kit_open(k->db);
	assert_int_equal(kit_erase(k, 5), ET_EPOLICY);
	assert_int_equal(kit_hold_release(k, 70), 0);
	assert_int_equal(kit_erase(k, 5), 0);
}

static int agent(struct kit *k, int64_t from_us, const char *number, bool withdrawn)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__AgentSet set = ET__AGENT_SET__INIT;
	Et__Agent a = ET__AGENT__INIT;
	char id[] = "a042";
	char text[32];
	char *numbers[] = { text };

	(void)snprintf(text, sizeof(text), "%s", number);
	a.id = id;
	a.valid_from_us = from_us;
	a.withdrawn = withdrawn;
	a.numbers = numbers;
	a.n_numbers = 1;
	set.agent = &a;
	c.body_case = ET__COMMAND__BODY_AGENT_SET;
	c.agent_set = &set;
	return kit_apply(k, &c);
}

static void a_hold_of_an_agent_is_never_narrowed_by_what_is_told_later(void **state)
{
	struct kit *k = *state;
	Et__HoldScope scope = ET__HOLD_SCOPE__INIT;
	char id[] = "a042";

	kit_cluster(k);
	make(k, &(struct made){ .id = 5, .from = "100" });
	make(k, &(struct made){ .id = 6, .from = "200" });
	make(k, &(struct made){ .id = 7, .from = "300" });
	assert_int_equal(agent(k, T0 - MINUTE, "100", false), 0);
	scope.agent = id;
	assert_int_equal(kit_hold_scope(k, 70, &scope), 0);
	assert_int_equal(agent(k, T0 - MINUTE, "200", false), 0); /* told anew: another number */
	assert_int_equal(agent(k, T0 - MINUTE, "200", true), 0);  /* and that it was an error */
	assert_int_equal(kit_erase(k, 5), ET_EPOLICY);
	assert_int_equal(kit_erase(k, 6), ET_EPOLICY);
	assert_int_equal(kit_erase(k, 7), 0);
}

static void hostile_holds_are_refused(void **state)
{
	struct kit *k = *state;
	Et__HoldScope scope = ET__HOLD_SCOPE__INIT;
	char star[] = "*";
	char site[] = "prg";

	kit_cluster(k);
	assert_int_equal(kit_hold_scope(k, 70, &scope), ET_EMALFORMED); /* says nothing */
	scope.number = star;
	assert_int_equal(kit_hold_scope(k, 70, &scope), ET_EMALFORMED);
	et__hold_scope__init(&scope);
	scope.from_us = T0;
	scope.to_us = T0;
	assert_int_equal(kit_hold_scope(k, 70, &scope), ET_EMALFORMED);
	scope.to_us = 0;
	scope.site = site;
	for (uint64_t i = 0; i < 128; i++) {
		assert_int_equal(kit_hold_scope(k, 1000 + i, &scope), 0);
	}
	assert_int_equal(kit_hold_scope(k, 2000, &scope), ET_ELIMIT);
	assert_int_equal(kit_hold_release(k, 1000), 0);
	assert_int_equal(kit_hold_scope(k, 2000, &scope), 0);
}

/* ---- Retention ---- */

static int retention(struct kit *k, int64_t keep_us, int64_t erase_us, const char *number)
{
	static uint32_t revision;
	Et__Command c = ET__COMMAND__INIT;
	Et__PolicySet set = ET__POLICY_SET__INIT;
	Et__Policy p = ET__POLICY__INIT;
	Et__RetentionRule rule = ET__RETENTION_RULE__INIT;
	Et__RetentionRule *rules[] = { &rule };
	char texts[3][32] = { "retention", "mifid", "" };
	char *numbers[] = { texts[2] };
	struct et_state_view *v = view(k);
	Et__Policy *known = NULL;

	revision = 0;
	if (et_state_get_policy(v, ET_STATE_RETENTION, &known) == 0) {
		revision = known->revision;
		et__policy__free_unpacked(known, NULL);
	}
	(void)et_state_view_close(v);
	(void)snprintf(texts[2], sizeof(texts[2]), "%s", number);
	p.name = texts[0];
	rule.name = texts[1];
	rule.keep_us = keep_us;
	rule.erase_after_us = erase_us;
	rule.numbers = numbers;
	rule.n_numbers = 1;
	p.retention = rules;
	p.n_retention = 1;
	set.policy = &p;
	set.expect_revision = revision;
	c.body_case = ET__COMMAND__BODY_POLICY_SET;
	c.policy_set = &set;
	return kit_apply(k, &c);
}

static void what_must_be_kept_is_not_erased_before_its_time(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(kit_tick(k, T0), 0);
	make(k, &(struct made){ .id = 5, .from = "4930" });
	make(k, &(struct made){ .id = 6, .from = "77" });
	/* A recorder with a wrong clock: it ended in 1970, says its node. */
	make(k, &(struct made){ .id = 7, .from = "4931", .start_us = 1, .end_us = 2 });
	assert_int_equal(retention(k, 6 * MINUTE, 0, "493*"), 0);
	assert_int_equal(kit_erase(k, 5), ET_EPOLICY);
	assert_non_null(strstr(k->result->text, "mifid"));
	assert_int_equal(kit_erase(k, 7), ET_EPOLICY);
	assert_int_equal(kit_erase(k, 6), 0);
	/* A leader's clock far ahead moves the cluster's time by minutes only. */
	assert_int_equal(kit_tick(k, T0 + 100000 * MINUTE), 0);
	assert_int_equal(kit_erase(k, 5), ET_EPOLICY);
	assert_int_equal(kit_tick(k, T0 + 6 * MINUTE + 1), 0);
	assert_int_equal(kit_erase(k, 5), ET_EPOLICY); /* it ended two seconds later */
	assert_int_equal(kit_erase(k, 7), 0);	       /* counted from when its end was told */
	assert_int_equal(kit_tick(k, T0 + 6 * MINUTE + 2000000), 0);
	assert_int_equal(kit_erase(k, 5), 0);
}

struct dues {
	uint64_t count;
	uint64_t stop_at;
};

static int due_one(void *arg, const Et__Recording *r)
{
	struct dues *d = arg;

	(void)r;
	if (d->count == d->stop_at) {
		return 3;
	}
	d->count++;
	return 0;
}

static void what_is_due_is_found_in_pieces(void **state)
{
	struct kit *k = *state;
	struct dues d = { 0, 2 };
	Et__Policy *policy = NULL;
	uint8_t at[16] = { 0 };
	bool more = true;
	unsigned looks = 0;

	kit_cluster(k);
	assert_int_equal(kit_tick(k, T0), 0);
	for (uint64_t id = 10; id < 20; id++) {
		make(k, &(struct made){ .id = id, .from = id % 2 == 0 ? "4930" : "77" });
	}
	assert_int_equal(retention(k, MINUTE, 3 * MINUTE, "4930"), 0);
	struct et_state_view *v = view(k);
	assert_int_equal(et_state_get_policy(v, ET_STATE_RETENTION, &policy), 0);
	assert_int_equal(et_state_each_due(v, policy, T0 + 3 * MINUTE, at, 100, due_one, &d, &more),
			 0);
	assert_int_equal(d.count, 0); /* two seconds to go */
	assert_false(more);
	int64_t now = T0 + 3 * MINUTE + 2000000;
	memset(at, 0, sizeof(at));
	assert_int_equal(et_state_each_due(v, policy, now, at, 100, due_one, &d, &more), 3);
	assert_int_equal(d.count, 2); /* full: the third is met again */
	assert_true(more);
	d.stop_at = 100;
	for (more = true; more; looks++) {
		assert_int_equal(et_state_each_due(v, policy, now, at, 3, due_one, &d, &more), 0);
	}
	assert_int_equal(d.count, 5);
	assert_in_range(looks, 2, 4);
	et__policy__free_unpacked(policy, NULL);
	(void)et_state_view_close(v);
}

/* ---- Plans ---- */

#define ITEMS 4
struct plan_kit {
	Et__Plan plan;
	Et__PlanItem items[ITEMS];
	Et__PlanItem *list[ITEMS];
	uint8_t ids[ITEMS][16];
	char texts[ITEMS][16];
	char kind[16];
	char policy[16];
};

static void plan_add(struct plan_kit *p, uint64_t recording, const char *action)
{
	size_t i = p->plan.n_items++;

	et__plan_item__init(&p->items[i]);
	memcpy(p->ids[i], kit_id(recording).data, 16);
	(void)snprintf(p->texts[i], sizeof(p->texts[i]), "%s", action);
	p->items[i].recording = (ProtobufCBinaryData){ 16, p->ids[i] };
	p->items[i].action = p->texts[i];
	p->list[i] = &p->items[i];
}

static void plan_begin(struct plan_kit *p, uint64_t id, uint32_t revision)
{
	*p = (struct plan_kit){ .kind = "erase", .policy = "retention" };
	et__plan__init(&p->plan);
	p->plan.id = kit_id(id);
	p->plan.kind = p->kind;
	p->plan.policy = p->policy;
	p->plan.policy_revision = revision;
	p->plan.items = p->list;
}

static int plan_put(struct kit *k, Et__Plan *plan)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__PlanPut put = ET__PLAN_PUT__INIT;

	put.plan = plan;
	c.body_case = ET__COMMAND__BODY_PLAN_PUT;
	c.plan_put = &put;
	return kit_apply(k, &c);
}

static int plan_apply(struct kit *k, const Et__Plan *plan)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__PlanApply apply = ET__PLAN_APPLY__INIT;
	uint8_t hash[32];

	assert_int_equal(et_state_plan_hash(plan, hash), 0);
	apply.plan = plan->id;
	apply.hash = (ProtobufCBinaryData){ 32, hash };
	c.body_case = ET__COMMAND__BODY_PLAN_APPLY;
	c.plan_apply = &apply;
	return kit_apply(k, &c);
}

static int audit_is(void *arg, const Et__AuditEvent *e)
{
	assert_string_equal(e->action, "recording.erase");
	assert_string_equal(e->outcome, "ok");
	++*(unsigned *)arg;
	return 0;
}

static void a_plan_erases_all_that_it_says_or_nothing(void **state)
{
	struct kit *k = *state;
	struct plan_kit p;
	Et__Plan *done = NULL;
	Et__Recording *r = NULL;
	unsigned events = 0;

	kit_cluster(k);
	for (uint64_t id = 5; id < 8; id++) {
		make(k, &(struct made){ .id = id, .from = "1" });
	}
	assert_int_equal(kit_hold_add(k, 70, 7), 0);
	plan_begin(&p, 60, 0);
	plan_add(&p, 5, "erase");
	plan_add(&p, 6, "erase");
	plan_add(&p, 5, "erase"); /* twice */
	plan_add(&p, 7, "exempt");
	assert_int_equal(plan_put(k, &p.plan), 0);
	assert_int_equal(kit_hold_add(k, 71, 6), 0); /* the world moves */
	assert_int_equal(plan_apply(k, &p.plan), ET_ESTALE);
	assert_int_equal(state_of(k, 5), SEALED);
	assert_int_equal(kit_hold_release(k, 71), 0);
	assert_int_equal(retention(k, 100 * MINUTE, 0, "9"), 0); /* another policy */
	assert_int_equal(plan_apply(k, &p.plan), ET_ESTALE);
	assert_int_equal(state_of(k, 5), SEALED);
	plan_begin(&p, 61, 1);
	plan_add(&p, 5, "erase");
	plan_add(&p, 6, "erase");
	plan_add(&p, 5, "erase");
	plan_add(&p, 7, "exempt");
	assert_int_equal(plan_put(k, &p.plan), 0);
	assert_int_equal(plan_apply(k, &p.plan), 0);
	assert_int_equal(k->result->number, 2);
	assert_int_equal(state_of(k, 5), ERASED);
	assert_int_equal(state_of(k, 6), ERASED);
	assert_int_equal(state_of(k, 7), SEALED);
	assert_int_equal(plan_apply(k, &p.plan), ET_ESTALE); /* once */

	struct et_state_view *v = view(k);
	assert_int_equal(et_state_get_plan(v, kit_id(61).data, &done), 0);
	assert_string_equal(done->state, "applied");
	assert_int_equal(done->audit_last, done->audit_first + 1);
	assert_int_equal(
		et_state_each_audit(v, done->audit_first, done->audit_last, audit_is, &events), 0);
	assert_int_equal(events, 2);
	assert_int_equal(et_state_get_recording(v, kit_id(6).data, &r), 0);
	assert_int_equal(r->erased_audit, done->audit_last);
	assert_int_equal(r->erased_index, done->applied_index);
	et__recording__free_unpacked(r, NULL);
	et__plan__free_unpacked(done, NULL);
	(void)et_state_view_close(v);
	assert_true(kit_audit_verify(k->s) > 0);
}

static void plans_that_mix_what_they_do_are_refused(void **state)
{
	struct kit *k = *state;
	struct plan_kit p;

	kit_cluster(k);
	make(k, &(struct made){ .id = 5, .from = "1" });
	plan_begin(&p, 60, 0);
	plan_add(&p, 5, "evict");
	assert_int_equal(plan_put(k, &p.plan), ET_EREFUSED);
	plan_begin(&p, 60, 0);
	plan_add(&p, 5, "erase");
	(void)snprintf(p.kind, sizeof(p.kind), "archive");
	assert_int_equal(plan_put(k, &p.plan), ET_EREFUSED);
	plan_begin(&p, 60, 0);
	plan_add(&p, 99, "erase"); /* never heard of */
	assert_int_equal(plan_put(k, &p.plan), 0);
	assert_int_equal(plan_apply(k, &p.plan), ET_ESTALE);
}

/* ---- What is left ---- */

static const char *const needles[] = { "4930secret", "secret@pbx", "secretword", "10.9.8.7" };

static int needle_each(void *arg, struct et_view key, struct et_view value)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(needles); i++) {
		size_t size = strlen(needles[i]);
		if (memmem(key.data, key.size, needles[i], size) != NULL ||
		    memmem(value.data, value.size, needles[i], size) != NULL) {
			++*(unsigned *)arg;
		}
	}
	return 0;
}

/* In every family, the index and its tail too. */
static unsigned needles_in(struct kit *k)
{
	struct et_state_view *v = kit_indexed(k->s);
	struct key all = { 0 };
	unsigned count = 0;

	for (int cf = 0; cf < CF_COUNT; cf++) {
		assert_int_equal(view_walk(v, (enum state_cf)cf, &all, NULL, needle_each, &count),
				 0);
	}
	(void)et_state_view_close(v);
	return count;
}

static int note(struct kit *k, uint64_t id, uint64_t recording, uint64_t call, const char *sip)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__NoteAdd add = ET__NOTE_ADD__INIT;
	Et__Note n = ET__NOTE__INIT;
	Et__Subject about = ET__SUBJECT__INIT;
	char text[] = "says secretword";
	char sip_text[32];

	(void)snprintf(sip_text, sizeof(sip_text), "%s", sip != NULL ? sip : "");
	if (recording != 0) {
		about.recording = kit_id(recording);
	}
	if (call != 0) {
		about.call = kit_id(call);
	}
	about.sip_call_id = sip_text;
	n.id = kit_id(id);
	n.text = text;
	add.about = &about;
	add.note = &n;
	c.body_case = ET__COMMAND__BODY_NOTE_ADD;
	c.note_add = &add;
	return kit_apply(k, &c);
}

static void stream_tell(struct kit *k, uint64_t id)
{
	Et__Recording r = ET__RECORDING__INIT;
	Et__Stream s = ET__STREAM__INIT;
	Et__Stream *list[] = { &s };
	Et__Session session = ET__SESSION__INIT;
	Et__Participant third = ET__PARTICIPANT__INIT;
	Et__Participant *participants[] = { &third };
	char src[] = "10.9.8.7:5004";
	char name[] = "Secretword Nowak"; /* words are indexed in small letters */
	char number[] = "4930secret3";
	char aor[] = "sip:secret@pbx";

	s.ssrc = 7;
	s.src = src;
	r.id = kit_id(id);
	r.streams = list;
	r.n_streams = 1;
	third.name = name;
	third.number = number;
	third.aor = aor;
	session.revision = 1;
	session.participants = participants;
	session.n_participants = 1;
	r.session = &session;
	assert_int_equal(kit_tell_recording(k, 1, KIT_UPDATE, &r), 0);
}

static void a_hold_of_a_number_covers_every_participant_of_a_session(void **state)
{
	struct kit *k = *state;
	Et__HoldScope scope = ET__HOLD_SCOPE__INIT;
	char number[] = "*secret3";

	kit_cluster(k);
	make(k, &(struct made){ .id = 5, .from = "1" });
	scope.number = number;
	assert_int_equal(kit_hold_scope(k, 90, &scope), 0);
	assert_int_equal(holds_over(k, 5), 0);
	stream_tell(k, 5);
	assert_int_equal(holds_over(k, 5), 1);
	assert_int_equal(kit_erase(k, 5), ET_EPOLICY);
}

static void numbers_words_and_addresses_go_with_the_recording(void **state)
{
	struct kit *k = *state;
	uint8_t before[32];
	uint8_t after[32];
	struct et_error error;
	bool more;

	kit_cluster(k);
	make(k, &(struct made){ .id = 5, .from = "4930secret", .call = 50, .sip = "secret@pbx" });
	make(k, &(struct made){ .id = 6, .from = "1", .call = 50 });
	stream_tell(k, 5);
	assert_int_equal(note(k, 80, 5, 0, NULL), 0);
	assert_int_equal(note(k, 81, 0, 50, NULL), 0);
	assert_int_equal(note(k, 82, 0, 0, "secret@pbx"), 0);
	assert_true(needles_in(k) > 6);
	struct et_state_counts had = kit_counts(k);
	assert_int_equal(kit_erase(k, 5), 0);
	/* What was told of the call is of the other recording, too: it alone stays. */
	assert_in_range(needles_in(k), 1, 3);
	assert_int_equal(kit_counts(k).erased, had.erased + 1);
	assert_int_equal(kit_counts(k).recordings, had.recordings);
	assert_int_equal(note(k, 83, 5, 0, NULL), ET_EREFUSED);
	assert_int_equal(kit_erase(k, 6), 0);
	assert_int_equal(needles_in(k), 0);

	/* An index that is made anew says the same. */
	kit_index_digest(k->s, before);
	assert_int_equal(et_state_index_rebuild(k->s, &error), 0);
	do {
		assert_int_equal(et_state_index_step(k->s, 1, &more, &error), 0);
	} while (more);
	kit_index_digest(k->s, after);
	assert_memory_equal(before, after, 32);

	/* The proof stays: which, when, by whom, and that no key is left. */
	struct et_state_view *v = view(k);
	Et__Recording *r = NULL;
	Et__Segment *g = NULL;
	assert_int_equal(et_state_get_recording(v, kit_id(5).data, &r), 0);
	assert_int_equal(r->start_us, T0);
	assert_int_equal(r->node, 1);
	assert_true(r->erased_us > 0 && r->erased_index > 0 && r->erased_audit > 0);
	assert_int_equal(r->n_streams + r->call.len, 0);
	assert_int_equal(et_state_get_segment(v, kit_id(5).data, 1, 1, &g), 0);
	assert_true(g->wrap->erased && g->root.len == 32);
	et__segment__free_unpacked(g, NULL);
	et__recording__free_unpacked(r, NULL);
	(void)et_state_view_close(v);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		T(a_scope_holds_what_is_there_and_what_comes),
		T(holds_survive_a_restart),
		T(a_hold_of_an_agent_is_never_narrowed_by_what_is_told_later),
		T(hostile_holds_are_refused),
		T(what_must_be_kept_is_not_erased_before_its_time),
		T(what_is_due_is_found_in_pieces),
		T(a_plan_erases_all_that_it_says_or_nothing),
		T(plans_that_mix_what_they_do_are_refused),
		T(a_hold_of_a_number_covers_every_participant_of_a_session),
		T(numbers_words_and_addresses_go_with_the_recording),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
