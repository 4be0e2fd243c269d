/* Policies, holds, plans, jobs: taken, refused, repeated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/state_internal.h"
#include "raft/state/test/kit.h"

static void a_policy_is_set_by_who_saw_the_last_one(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(kit_policy_set(k, "a: 1", 1), ET_ESTALE);
	assert_int_equal(kit_policy_set(k, "a: 1", 0), 0);
	assert_int_equal(k->result->number, 1);
	assert_int_equal(kit_policy_set(k, "a: 2", 0), ET_ESTALE);
	assert_int_equal(kit_policy_set(k, "a: 2", 1), 0);
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Policy *p = NULL;
	uint8_t hash[32];
	assert_int_equal(et_state_get_policy(v, "archive", &p), 0);
	assert_string_equal(p->text, "a: 2");
	et_sha256("a: 2", 4, hash);
	assert_memory_equal(p->hash.data, hash, 32);
	assert_string_equal(p->principal, "local:uid=0");
	et__policy__free_unpacked(p, NULL);
	(void)et_state_view_close(v);
}

static void policy_expect(struct kit *k, uint32_t revision, const char *text)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Policy *p = NULL;
	int rc = et_state_get_policy_at(v, "archive", revision, &p);
	assert_int_equal(rc, text != NULL ? 0 : ET_ENOTFOUND);
	if (text != NULL) {
		assert_string_equal(p->text, text);
		assert_int_equal(p->revision, revision);
		et__policy__free_unpacked(p, NULL);
	}
	(void)et_state_view_close(v);
}

static void policies_that_were_in_force_are_kept_for_a_while(void **state)
{
	struct kit *k = *state;
	char text[32];

	kit_cluster(k);
	kit_upgrade(k, 1, ET_SCHEMA_POLICY_REVISIONS);
	policy_expect(k, 1, NULL);
	for (uint32_t i = 1; i <= ET_STATE_POLICY_KEPT + 3; i++) {
		(void)snprintf(text, sizeof(text), "a: %u", i);
		assert_int_equal(kit_policy_set(k, text, i - 1), 0);
	}
	assert_int_equal(kit_policy_set(k, "a: 0", 7), ET_ESTALE); /* keeps nothing */
	policy_expect(k, ET_STATE_POLICY_KEPT + 3, "a: 103");
	policy_expect(k, ET_STATE_POLICY_KEPT + 2, "a: 102");
	policy_expect(k, 3, "a: 3");
	policy_expect(k, 2, NULL);
	policy_expect(k, ET_STATE_POLICY_KEPT + 4, NULL);
}

/* A build of schema 1 writes one record; so does this one as long as the cluster follows that. */
static void policies_are_kept_when_all_members_keep_them(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(kit_policy_set(k, "a: 1", 0), 0);
	assert_int_equal(kit_policy_set(k, "a: 2", 1), 0);
	policy_expect(k, 1, NULL);
	policy_expect(k, 2, "a: 2");
	kit_upgrade(k, 1, ET_SCHEMA_POLICY_REVISIONS);
	assert_int_equal(kit_policy_set(k, "a: 3", 2), 0);
	policy_expect(k, 1, NULL);
	policy_expect(k, 2, "a: 2");
	assert_int_equal(kit_policy_set(k, "a: 4", 3), 0);
	policy_expect(k, 3, "a: 3");
	policy_expect(k, 4, "a: 4");
}

static void holds_are_placed_and_released(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	kit_sealed_segment(k, 5);
	assert_int_equal(kit_hold_add(k, 70, 6), ET_ENOTFOUND);
	assert_int_equal(kit_hold_add(k, 70, 5), 0);
	assert_int_equal(kit_hold_add(k, 70, 5), ET_EEXISTS);
	assert_int_equal(kit_hold_add(k, 71, 5), 0);
	assert_int_equal(kit_counts(k).holds, 2);
	assert_int_equal(kit_hold_release(k, 72), ET_ENOTFOUND);
	assert_int_equal(kit_hold_release(k, 70), 0);
	assert_int_equal(kit_hold_release(k, 70), 0);
	assert_int_equal(kit_counts(k).holds, 1);
}

struct plan_kit {
	Et__Plan plan;
	Et__PlanItem items[2];
	Et__PlanItem *list[2];
	char texts[6][16];
};

static void plan_make(struct plan_kit *p, uint64_t id, const char *action, uint64_t node)
{
	et__plan__init(&p->plan);
	et__plan_item__init(&p->items[0]);
	(void)snprintf(p->texts[0], sizeof(p->texts[0]), "archive");
	(void)snprintf(p->texts[1], sizeof(p->texts[1]), "%s", action);
	(void)snprintf(p->texts[2], sizeof(p->texts[2]), "cold");
	p->plan.id = kit_id(id);
	p->plan.kind = p->texts[0];
	p->plan.policy = p->texts[0];
	p->plan.policy_revision = 1;
	p->items[0].action = p->texts[1];
	p->items[0].recording = kit_id(5);
	p->items[0].generation = 1;
	p->items[0].segment = 1;
	p->items[0].node = node;
	p->items[0].target = p->texts[2];
	p->list[0] = &p->items[0];
	p->plan.items = p->list;
	p->plan.n_items = 1;
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

static int plan_apply(struct kit *k, const struct plan_kit *p, uint64_t job, uint64_t job_node)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__PlanApply apply = ET__PLAN_APPLY__INIT;
	Et__Job j = ET__JOB__INIT;
	Et__Job *jobs[] = { &j };
	char kind[] = "archive-upload";
	uint8_t hash[32];

	assert_int_equal(et_state_plan_hash(&p->plan, hash), 0);
	apply.plan = p->plan.id;
	apply.hash = (ProtobufCBinaryData){ 32, hash };
	j.id = kit_id(job);
	j.kind = kind;
	j.node = job_node;
	j.items = p->plan.items;
	j.n_items = p->plan.n_items;
	apply.jobs = jobs;
	apply.n_jobs = 1;
	c.body_case = ET__COMMAND__BODY_PLAN_APPLY;
	c.plan_apply = &apply;
	return kit_apply(k, &c);
}

static void plans_fail_when_the_world_moved(void **state)
{
	struct kit *k = *state;
	struct plan_kit p;

	kit_cluster(k);
	kit_sealed_segment(k, 5);
	assert_int_equal(kit_policy_set(k, "a: 1", 0), 0);
	plan_make(&p, 60, "upload", 2);
	assert_int_equal(plan_apply(k, &p, 61, 2), ET_ENOTFOUND);
	assert_int_equal(plan_put(k, &p.plan), 0);
	assert_int_equal(plan_put(k, &p.plan), ET_EEXISTS);
	struct plan_kit other = p;
	other.list[0] = &other.items[0];
	other.plan.items = other.list;
	other.items[0].size_bytes = 1;
	assert_int_equal(plan_apply(k, &other, 61, 2), ET_ESTALE); /* not the plan that was put */
	assert_int_equal(plan_apply(k, &p, 61, 3), ET_EREFUSED);   /* not its node */

	assert_int_equal(kit_hold_add(k, 70, 5), 0);
	assert_int_equal(plan_apply(k, &p, 61, 2), ET_ESTALE); /* a hold came */
	plan_make(&p, 62, "upload", 2);
	assert_int_equal(plan_put(k, &p.plan), 0);
	assert_int_equal(kit_policy_set(k, "a: 2", 1), 0);
	assert_int_equal(plan_apply(k, &p, 61, 2), ET_ESTALE); /* the policy changed */

	plan_make(&p, 63, "evict", 2);
	p.plan.policy_revision = 2;
	assert_int_equal(plan_put(k, &p.plan), 0);
	assert_int_equal(plan_apply(k, &p, 61, 2), ET_ESTALE); /* the last copy */
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:3"), 0);
	assert_int_equal(plan_apply(k, &p, 61, 2), 0);
	assert_int_equal(plan_apply(k, &p, 64, 2), ET_ESTALE); /* applied */

	plan_make(&p, 65, "upload", 1);
	p.plan.policy_revision = 2;
	assert_int_equal(plan_put(k, &p.plan), 0);
	assert_int_equal(plan_apply(k, &p, 66, 1), ET_ESTALE); /* node 1 has no copy */
	plan_make(&p, 67, "upload", 2);
	p.plan.policy_revision = 2;
	p.items[0].size_bytes = 3000;
	assert_int_equal(plan_put(k, &p.plan), 0);
	assert_int_equal(plan_apply(k, &p, 66, 2), ET_ESTALE); /* another size */
	plan_make(&p, 68, "upload", 2);
	p.plan.policy_revision = 2;
	p.plan.hash = kit_hash(1);
	assert_int_equal(plan_put(k, &p.plan), ET_EINTEGRITY);
}

static int job_update(struct kit *k, uint64_t node, uint64_t job, const char *to)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__JobUpdate update = ET__JOB_UPDATE__INIT;
	char text[32];

	(void)snprintf(text, sizeof(text), "%s", to);
	update.job = kit_id(job);
	update.state = text;
	update.done_bytes = 5;
	c.body_case = ET__COMMAND__BODY_JOB_UPDATE;
	c.job_update = &update;
	return kit_apply_from(k, node, &c);
}

static int job_count(void *arg, const Et__Job *job)
{
	(void)job;
	++*(size_t *)arg;
	return 0;
}

static size_t jobs_of(struct kit *k, uint64_t node)
{
	struct et_state_view *v = et_state_view_open(k->s);
	size_t count = 0;

	assert_non_null(v);
	assert_int_equal(et_state_each_job_of(v, node, job_count, &count), 0);
	(void)et_state_view_close(v);
	return count;
}

static void jobs_move_only_forward(void **state)
{
	struct kit *k = *state;
	struct plan_kit p;

	kit_cluster(k);
	kit_sealed_segment(k, 5);
	assert_int_equal(kit_policy_set(k, "a: 1", 0), 0);
	plan_make(&p, 60, "upload", 2);
	assert_int_equal(plan_put(k, &p.plan), 0);
	assert_int_equal(plan_apply(k, &p, 61, 2), 0);
	assert_int_equal(jobs_of(k, 2), 1);
	assert_int_equal(jobs_of(k, 3), 0);
	assert_int_equal(job_update(k, 3, 61, "running"), ET_EDENIED);
	assert_int_equal(job_update(k, 2, 62, "running"), ET_ENOTFOUND);
	assert_int_equal(job_update(k, 2, 61, "done"), ET_EREFUSED);
	assert_int_equal(job_update(k, 2, 61, "asleep"), ET_EREFUSED);
	assert_int_equal(job_update(k, 2, 61, "running"), 0);
	assert_int_equal(job_update(k, 2, 61, "ready"), ET_EREFUSED);
	assert_int_equal(job_update(k, 2, 61, "failed"), 0);
	assert_int_equal(jobs_of(k, 2), 1);
	assert_int_equal(job_update(k, 2, 61, "running"), 0);
	assert_int_equal(job_update(k, 2, 61, "done"), 0);
	assert_int_equal(job_update(k, 2, 61, "done"), 0);
	assert_int_equal(job_update(k, 2, 61, "running"), ET_EREFUSED);
	assert_int_equal(jobs_of(k, 2), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_policy_is_set_by_who_saw_the_last_one),
		TEST(policies_that_were_in_force_are_kept_for_a_while),
		TEST(policies_are_kept_when_all_members_keep_them),
		TEST(holds_are_placed_and_released),
		TEST(plans_fail_when_the_world_moved),
		TEST(jobs_move_only_forward),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
