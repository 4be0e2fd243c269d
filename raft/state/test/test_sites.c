/* A site goes when nobody is there and no policy names it; what was recorded there stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/test/kit.h"

static int site_set(struct kit *k, const char *name)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__SiteSet body = ET__SITE_SET__INIT;
	Et__Site site = ET__SITE__INIT;

	site.name = (char *)(uintptr_t)name;
	site.description = (char *)(uintptr_t) "what people read";
	body.site = &site;
	c.body_case = ET__COMMAND__BODY_SITE_SET;
	c.site_set = &body;
	return kit_apply(k, &c);
}

static int site_remove(struct kit *k, const char *name, uint32_t archive_revision)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__SiteRemove body = ET__SITE_REMOVE__INIT;

	body.name = (char *)(uintptr_t)name;
	body.archive_revision = archive_revision;
	c.body_case = ET__COMMAND__BODY_SITE_REMOVE;
	c.site_remove = &body;
	return kit_apply(k, &c);
}

static int policy_set(struct kit *k, const char *name, const char *retention_site, uint32_t expect)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__PolicySet set = ET__POLICY_SET__INIT;
	Et__Policy p = ET__POLICY__INIT;
	Et__RetentionRule rule = ET__RETENTION_RULE__INIT;
	Et__RetentionRule *rules[] = { &rule };
	char *sites[] = { (char *)(uintptr_t) "lon", (char *)(uintptr_t)retention_site };

	p.name = (char *)(uintptr_t)name;
	p.text = (char *)(uintptr_t) "rules: []\n";
	rule.name = (char *)(uintptr_t) "mifid";
	rule.sites = sites;
	rule.n_sites = 2;
	rule.keep_us = 1000000;
	if (retention_site != NULL) {
		p.retention = rules;
		p.n_retention = 1;
	}
	set.policy = &p;
	set.expect_revision = expect;
	c.body_case = ET__COMMAND__BODY_POLICY_SET;
	c.policy_set = &set;
	return kit_apply(k, &c);
}

static int site_token(struct kit *k, uint64_t id, const char *site)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__TokenAdd add = ET__TOKEN_ADD__INIT;
	Et__Token t = ET__TOKEN__INIT;
	char *roles[] = { (char *)(uintptr_t) "voter" };

	t.id = kit_id(id);
	t.kind = (char *)(uintptr_t) "join";
	t.public_key = kit_hash(id);
	t.roles = roles;
	t.n_roles = 1;
	t.site = (char *)(uintptr_t)site;
	t.expires_us = INT64_C(1800000000000000);
	t.uses_left = 2;
	add.token = &t;
	c.body_case = ET__COMMAND__BODY_TOKEN_ADD;
	c.token_add = &add;
	return kit_apply(k, &c);
}

static int node_goes(struct kit *k, uint64_t node)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeRemove body = ET__NODE_REMOVE__INIT;

	body.node = node;
	body.loss_accepted = true;
	body.force = true;
	c.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	c.node_remove = &body;
	return kit_apply(k, &c);
}

static int count_name(void *arg, const Et__Site *site)
{
	const char **name = arg;
	return strcmp(site->name, *name) == 0 ? 1 : 0;
}

static bool is_there(struct kit *k, const char *name)
{
	struct et_state_view *v = et_state_view_open(k->s);
	int rc = et_state_each_site(v, count_name, &name);

	(void)et_state_view_close(v);
	assert_true(rc >= 0);
	return rc == 1;
}

static void a_site_without_users_goes_and_may_come_back(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	kit_upgrade(k, 1, ET_SCHEMA_SITE_REMOVE);
	assert_int_equal(site_set(k, "brq"), 0);
	assert_true(is_there(k, "brq"));
	assert_int_equal(site_remove(k, "brq", 0), 0);
	assert_false(is_there(k, "brq"));
	assert_int_equal(site_remove(k, "brq", 0), ET_ENOTFOUND);
	assert_int_equal(site_set(k, "brq"), 0);
	assert_true(is_there(k, "brq"));
	assert_true(is_there(k, "prg"));
}

/* A build of schema 1 does not know the command: it must never meet one. */
static void an_older_cluster_refuses_it(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(site_set(k, "brq"), 0);
	assert_int_equal(site_remove(k, "brq", 0), ET_EVERSION);
	assert_true(is_there(k, "brq"));
}

static void a_site_stays_while_a_node_is_there(void **state)
{
	struct kit *k = *state;
	const struct kit_call call = { .id = 5, .start_us = 1700000000000000 };
	struct et_state_view *v;
	Et__Recording *r = NULL;

	kit_cluster(k); /* node 3 is at site-1 */
	kit_upgrade(k, 1, ET_SCHEMA_SITE_REMOVE);
	assert_int_equal(kit_open_call(k, 3, &call), 0);
	assert_int_equal(site_remove(k, "site-1", 0), ET_EPOLICY);
	assert_string_equal(k->result->text, "node 'node-3' is there");
	assert_int_equal(node_goes(k, 3), 0);
	assert_int_equal(site_remove(k, "site-1", 0), 0);
	assert_false(is_there(k, "site-1"));
	assert_int_equal(site_remove(k, "prg", 0), ET_EPOLICY);

	v = et_state_view_open(k->s); /* where it was recorded stays true */
	assert_int_equal(et_state_get_recording(v, kit_id(5).data, &r), 0);
	assert_string_equal(r->site, "site-1");
	et__recording__free_unpacked(r, NULL);
	(void)et_state_view_close(v);
}

static void a_site_stays_while_a_policy_names_it(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	kit_upgrade(k, 1, ET_SCHEMA_SITE_REMOVE);
	assert_int_equal(site_set(k, "brq"), 0);
	assert_int_equal(policy_set(k, "retention", "brq", 0), 0);
	assert_int_equal(site_remove(k, "brq", 0), ET_EPOLICY);
	assert_string_equal(k->result->text, "rule 'mifid' of the retention policy names it");
	assert_int_equal(policy_set(k, "retention", "prg", 1), 0);
	assert_int_equal(policy_set(k, "archive", NULL, 0), 0);
	assert_int_equal(site_remove(k, "brq", 0), ET_ESTALE); /* nobody has read that one */
	assert_true(is_there(k, "brq"));
	assert_int_equal(site_remove(k, "brq", 1), 0);
	assert_false(is_there(k, "brq"));
}

static void join_tokens_for_it_are_revoked(void **state)
{
	struct kit *k = *state;
	struct et_state_view *v;
	Et__Token *t = NULL;

	kit_cluster(k);
	kit_upgrade(k, 1, ET_SCHEMA_SITE_REMOVE);
	assert_int_equal(site_set(k, "brq"), 0);
	assert_int_equal(site_token(k, 901, "brq"), 0);
	assert_int_equal(site_token(k, 902, "prg"), 0);
	assert_int_equal(site_remove(k, "brq", 0), 0);
	v = et_state_view_open(k->s);
	for (uint64_t id = 901; id <= 902; id++) {
		assert_int_equal(et_state_get_token(v, kit_id(id).data, &t), 0);
		assert_int_equal(t->revoked, id == 901);
		et__token__free_unpacked(t, NULL);
	}
	(void)et_state_view_close(v);
	assert_int_not_equal(kit_node_join(k, 901, 4, 4), 0);
	assert_false(is_there(k, "brq"));
}

static int last_event(void *arg, const Et__AuditEvent *e)
{
	(void)snprintf(arg, 128, "%s %s", e->action, e->target);
	return 0;
}

static void it_stands_in_the_audit_log(void **state)
{
	struct kit *k = *state;
	char text[128] = "";

	kit_cluster(k);
	kit_upgrade(k, 1, ET_SCHEMA_SITE_REMOVE);
	assert_int_equal(site_set(k, "brq"), 0);
	assert_int_equal(site_remove(k, "brq", 0), 0);
	struct et_state_view *v = et_state_view_open(k->s);
	assert_int_equal(et_state_each_audit(v, 1, UINT64_MAX, last_event, text), 0);
	(void)et_state_view_close(v);
	assert_string_equal(text, "site.remove brq");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_site_without_users_goes_and_may_come_back),
		TEST(an_older_cluster_refuses_it),
		TEST(a_site_stays_while_a_node_is_there),
		TEST(a_site_stays_while_a_policy_names_it),
		TEST(join_tokens_for_it_are_revoked),
		TEST(it_stands_in_the_audit_log),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
