/* The steps by which Raft's configuration follows the catalogue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/base/defs.h"
#include "node/daemon/member_plan.h"

#define LAST 10000

/* Raft, a word a member: "1:v" voter, "2:s" standby, "3:p" spare; "!" cannot be reached, "<" is
 * more than MEMBER_LAG_MAX behind, "?" the leader does not know how far it is. */
static struct et_catalog_status raft_of(const char *text)
{
	struct et_catalog_status s = { .is_leader = true, .leader = 1, .last_index = LAST };

	for (const char *p = text; *p != '\0'; p += strcspn(p, " "), p += *p == ' ') {
		struct et_catalog_member *m = &s.members[s.member_count++];
		size_t size = strcspn(p, " ");
		m->node = (uint64_t)(p[0] - '0');
		m->role = p[2] == 'v'	? ET_CATALOG_VOTER
			  : p[2] == 's' ? ET_CATALOG_STANDBY
					: ET_CATALOG_SPARE;
		m->reachable = memchr(p, '!', size) == NULL;
		m->match_index = memchr(p, '?', size) != NULL	? 0
				 : memchr(p, '<', size) != NULL ? LAST - MEMBER_LAG_MAX - 1
								: LAST - MEMBER_LAG_MAX;
		s.voters += m->role == ET_CATALOG_VOTER;
	}
	return s;
}

/* The catalogue: "1:v", "2:s", "3:p", "4:x" gone; "~" lingers, "f" with force. */
static size_t wants_of(const char *text, struct member_want wants[16])
{
	size_t count = 0;

	for (const char *p = text; *p != '\0'; p += strcspn(p, " "), p += *p == ' ') {
		struct member_want *w = &wants[count++];
		size_t size = strcspn(p, " ");
		*w = (struct member_want){
			.node = (uint64_t)(p[0] - '0'),
			.gone = p[2] == 'x',
			.lingers = memchr(p, '~', size) != NULL,
			.force = memchr(p, 'f', size) != NULL,
			.role = p[2] == 'v'   ? ET_CATALOG_VOTER
				: p[2] == 's' ? ET_CATALOG_STANDBY
					      : ET_CATALOG_SPARE,
		};
		(void)snprintf(w->address, sizeof(w->address), "10.0.0.%c:7400", p[0]);
	}
	return count;
}

struct plan_case {
	const char *what;
	const char *raft;
	const char *wants;
	const char *step; /* "NODE NAME" or "" */
	const char *why;  /* NULL: it is taken; else a part of what it waits for */
	bool blocked;
};

static const struct plan_case cases[] = {
	{ "all is as it should be", "1:v 2:v 3:s", "1:v 2:v 3:s", "", NULL, false },
	{ "an empty catalogue wants nothing", "1:v", "", "", NULL, false },
	{ "a node that joined is added", "1:v", "1:v 2:v", "2 add", NULL, false },
	{ "a voter to be is a standby first", "1:v 2:p", "1:v 2:v", "2 standby", NULL, false },
	{ "a spare stays one", "1:v 2:p", "1:v 2:p", "", NULL, false },
	{ "a spare that cannot be reached becomes a standby all the same", "1:v 2:p!", "1:v 2:s",
	  "2 standby", NULL, false },
	{ "a standby that is level gets its vote", "1:v 2:s", "1:v 2:v", "2 voter", NULL, false },
	{ "one that is behind waits, and nobody need look", "1:v 2:s<", "1:v 2:v", "2 voter",
	  "it catches up: 4097 entries behind", false },
	{ "one of whom nothing is known waits", "1:v 2:s?", "1:v 2:v", "2 voter",
	  "it catches up: 10000 entries behind", false },
	{ "one that cannot be reached is for an operator to see", "1:v 2:s!", "1:v 2:v", "2 voter",
	  "it cannot be reached", true },
	{ "a voter steps down", "1:v 2:v 3:v", "1:v 2:v 3:s", "3 standby", NULL, false },
	{ "a voter becomes a spare at once", "1:v 2:v 3:v", "1:v 2:v 3:p", "3 spare", NULL, false },
	{ "a standby becomes a spare", "1:v 2:s", "1:v 2:p", "2 spare", NULL, false },
	{ "not when those left are no majority", "1:v 2:v 3:v!", "1:v 2:s 3:v", "2 standby",
	  "no majority", true },
	{ "but with force", "1:v 2:v 3:v!", "1:v 2:sf 3:v", "2 standby", NULL, false },
	{ "a dead voter goes, two of three are left", "1:v 2:v 3:v!", "1:v 2:v 3:x", "3 remove",
	  NULL, false },
	{ "two of five are dead: one may go", "1:v 2:v 3:v 4:v! 5:v!", "1:v 2:v 3:v 4:x 5:v",
	  "4 remove", NULL, false },
	{ "three of five are dead: none may go", "1:v 2:v 3:v! 4:v! 5:v!", "1:v 2:v 3:x 4:x 5:x",
	  "3 remove", "no majority", true },
	{ "three of five are dead, with force", "1:v 2:v 3:v! 4:v! 5:v!", "1:v 2:v 3:xf 4:x 5:x",
	  "3 remove", NULL, false },
	{ "a removed standby takes no vote away", "1:v 2:v! 3:s", "1:v 2:v 3:x", "3 remove", NULL,
	  false },
	{ "who is removed in peace hears of it first", "1:v 2:v 3:v", "1:v 2:v 3:x~", "3 remove",
	  "it hears of its removal first", false },
	{ "unless it cannot be reached", "1:v 2:v 3:v!", "1:v 2:v 3:x~", "3 remove", NULL, false },
	{ "who is gone and not in Raft is no work", "1:v", "1:v 2:x", "", NULL, false },
	{ "the new one gets its vote before the old one loses it", "1:v 2:v 3:v! 4:s",
	  "1:v 2:v 3:x 4:v", "4 voter", NULL, false },
	{ "what waits upwards does not hold up what goes downwards", "1:v 2:v 3:v 4:s!",
	  "1:v 2:v 3:x 4:v", "3 remove", NULL, false },
	{ "of two that wait the first upwards is named", "1:v 2:v 3:v! 4:s<", "1:v 2:s 3:v 4:v",
	  "4 voter", "catches up", false },
	{ "the only voter keeps its vote until another has one", "1:v 2:s", "1:s 2:v", "2 voter",
	  NULL, false },
	{ "and even with nobody to follow", "1:v", "1:s", "1 standby", "no majority", true },
};

static void every_situation_of_the_table_has_its_step(void **state)
{
	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		const struct plan_case *c = &cases[i];
		const struct et_catalog_status s = raft_of(c->raft);
		struct member_want wants[16];
		char text[64] = "";
		size_t count = wants_of(c->wants, wants);
		struct member_step step = member_next(&s, wants, count);
		print_message("%s\n", c->what);
		if (step.node != 0) {
			(void)snprintf(text, sizeof(text), "%d %s", (int)step.node, step.name);
		}
		assert_string_equal(text, c->step);
		assert_int_equal(step.kind != STEP_NONE, *c->step != '\0' && c->why == NULL);
		assert_int_equal(step.held, c->why != NULL);
		assert_int_equal(step.blocked, c->blocked);
		assert_true(c->why == NULL || strstr(step.why, c->why) != NULL);
	}
}

static void a_step_says_what_raft_needs(void **state)
{
	struct member_want wants[16];

	(void)state;
	struct et_catalog_status s = raft_of("1:v");
	struct member_step step = member_next(&s, wants, wants_of("1:v 2:v", wants));
	assert_int_equal(step.kind, STEP_ADD);
	assert_string_equal(step.address, "10.0.0.2:7400");
	s = raft_of("1:v 2:v 3:v");
	step = member_next(&s, wants, wants_of("1:v 2:v 3:p", wants));
	assert_int_equal(step.kind, STEP_ASSIGN);
	assert_int_equal(step.role, ET_CATALOG_SPARE);
	step = member_next(&s, wants, wants_of("1:v 2:v 3:x", wants));
	assert_int_equal(step.kind, STEP_REMOVE);
}

static void a_record_says_what_is_wanted(void **state)
{
	static const struct {
		const char *roles[3];
		enum et_catalog_role role;
	} table[] = {
		{ { "voter", "vault", "capture" }, ET_CATALOG_VOTER },
		{ { "capture", "api", "voter" }, ET_CATALOG_VOTER },
		{ { "witness" }, ET_CATALOG_VOTER },
		{ { "vault", "standby" }, ET_CATALOG_STANDBY },
		{ { "spare" }, ET_CATALOG_SPARE },
		{ { "vault", "store" }, ET_CATALOG_SPARE },
	};
	struct member_want w;

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(table); i++) {
		Et__Node node = ET__NODE__INIT;
		char *roles[3];
		for (size_t r = 0; r < 3 && table[i].roles[r] != NULL; r++) {
			roles[node.n_roles++] = (char *)(uintptr_t)table[i].roles[r];
		}
		char address[] = "10.0.0.1:7400";
		node.id = 7;
		node.roles = roles;
		node.address = address;
		member_want_of(&node, &w);
		assert_int_equal(w.node, 7);
		assert_int_equal(w.role, table[i].role);
		assert_string_equal(w.address, "10.0.0.1:7400");
		assert_false(w.gone || w.force || w.lingers);
		node.force = 1;
		node.state = ET__NODE_STATE__DRAINING;
		member_want_of(&node, &w);
		assert_true(w.force && !w.gone);
		node.state = ET__NODE_STATE__REMOVED;
		member_want_of(&node, &w);
		assert_true(w.gone);
		node.state = ET__NODE_STATE__REVOKED;
		member_want_of(&node, &w);
		assert_true(w.gone);
	}
}

static void a_quorum_is_counted_without_the_one_that_goes(void **state)
{
	static const struct {
		const char *raft;
		unsigned without;
		bool stays;
	} table[] = {
		{ "1:v", 0, true },
		{ "1:v", 1, false }, /* nobody is left */
		{ "1:v 2:v", 2, true },
		{ "1:v 2:v!", 0, false },
		{ "1:v 2:v!", 2, true },
		{ "1:v 2:v!", 1, false },
		{ "1:v 2:v 3:v!", 0, true },
		{ "1:v 2:v 3:v!", 2, false },
		{ "1:v 2:v 3:v!", 3, true },
		{ "1:v 2:v 3:s 4:p", 3, true }, /* it has no vote to lose */
		{ "1:v 2:v! 3:s 4:p", 2, true },
		{ "1:v 2:v! 3:s 4:p", 0, false }, /* standbys do not count */
	};

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(table); i++) {
		const struct et_catalog_status s = raft_of(table[i].raft);
		print_message("%s without %u\n", table[i].raft, table[i].without);
		assert_int_equal(member_quorum_stays(&s, table[i].without), table[i].stays);
	}
}

/* ---- Whatever the beginning, it comes to an end, and never costs a majority ---- */

static uint32_t dice(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

static bool has_quorum(const struct et_catalog_status *s)
{
	return member_quorum_stays(s, 0);
}

static void raft_take(struct et_catalog_status *s, const struct member_step *step)
{
	uint32_t at = 0;

	while (at < s->member_count && s->members[at].node != step->node) {
		at++;
	}
	switch (step->kind) {
	case STEP_ADD:
		assert_int_equal(at, s->member_count);
		s->members[s->member_count++] =
			(struct et_catalog_member){ .node = step->node,
						    .role = ET_CATALOG_SPARE,
						    .reachable = true,
						    .match_index = LAST };
		return;
	case STEP_ASSIGN:
		assert_true(at < s->member_count);
		s->members[at].role = step->role;
		return;
	case STEP_REMOVE:
		assert_true(at < s->member_count);
		s->members[at] = s->members[--s->member_count];
		return;
	case STEP_NONE:
		break;
	}
	fail();
}

static void situation_make(uint32_t *seed, struct et_catalog_status *s, struct member_want *wants,
			   size_t *count)
{
	char raft[64] = "1:v";
	char want[64] = "1:v";

	for (char node = '2'; node <= '7'; node++) {
		size_t used = strlen(raft);
		if (dice(seed) % 4 != 0) {
			(void)snprintf(raft + used, sizeof(raft) - used, " %c:%c%s", node,
				       "vvsp"[dice(seed) % 4], dice(seed) % 4 == 0 ? "!" : "");
		}
		used = strlen(want);
		(void)snprintf(want + used, sizeof(want) - used, " %c:%c", node,
			       "vvspx"[dice(seed) % 5]);
	}
	*s = raft_of(raft);
	*count = wants_of(want, wants);
}

static void steps_end_and_never_cost_the_majority(void **state)
{
	uint32_t seed = 1;
	unsigned reached = 0;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct et_catalog_status s;
		struct member_want wants[16];
		struct member_step step;
		size_t count;
		unsigned steps = 0;
		situation_make(&seed, &s, wants, &count);
		bool had = has_quorum(&s);
		for (;;) {
			step = member_next(&s, wants, count);
			if (step.kind == STEP_NONE) {
				break;
			}
			raft_take(&s, &step);
			assert_true(++steps < 64);
			assert_true(!had || has_quorum(&s));
			had = has_quorum(&s);
		}
		if (step.held) {
			assert_true(step.blocked && step.why[0] != '\0');
			continue;
		}
		reached++;
		for (uint32_t i = 0; i < s.member_count; i++) {
			const struct member_want *w = &wants[s.members[i].node - 1];
			assert_true(!w->gone && s.members[i].role == w->role);
		}
	}
	assert_true(reached > 5000); /* the dice must have met both ends */
	assert_true(reached < 19000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_situation_of_the_table_has_its_step),
		cmocka_unit_test(a_step_says_what_raft_needs),
		cmocka_unit_test(a_record_says_what_is_wanted),
		cmocka_unit_test(a_quorum_is_counted_without_the_one_that_goes),
		cmocka_unit_test(steps_end_and_never_cost_the_majority),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
