/* Which losses are survived: a table of clusters and what must be said of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/survives_internal.h"
#include "node/base/defs.h"

/* A cluster in a line: "NAME@SITE:FLAGS ...", NAME one letter; v votes, s stores media, k opens
 * every key, 1 opens only the first, c records a call, ! does not answer. Places: "SET=SEGMENTS".
 * What is expected: for each loss "+", or what is lacking, of v, k, c; nodes as one word. */
struct cluster_case {
	const char *what;
	const char *nodes;
	const char *places;
	const char *lag; /* "SITE=PENDING ..." or "?" when nobody knows */
	unsigned newer;
	bool uncounted;
	const char *node;  /* any one node */
	const char *site;  /* any one site */
	const char *sites; /* "SITE:VERDICT ..." */
	const char *why;   /* of the first that is not survived: a part of it; NULL: any */
};

static const struct cluster_case cases[] = {
	{ .what = "one node",
	  .nodes = "a@x:vsk",
	  .places = "a=5",
	  .node = "vkc",
	  .site = "vkc",
	  .sites = "x:vkc",
	  .why = "one node only" },
	{ .what = "two voters: the loss of either stops changes",
	  .nodes = "a@x:vsk b@x:vsk",
	  .places = "ab=5",
	  .node = "v",
	  .site = "vkc",
	  .sites = "x:vkc",
	  .why = "not a: votes (1 of 2 would be left, 2 are needed)" },
	{ .what = "three in one site, each segment at its recorder",
	  .nodes = "a@x:vsk b@x:vsk c@x:vsk",
	  .places = "a=5 b=1",
	  .node = "c",
	  .site = "vkc",
	  .sites = "x:vkc",
	  .why = "not a: copies (5 segments are nowhere else); not b: copies (1 segments" },
	{ .what = "three in one site, nothing recorded yet",
	  .nodes = "a@x:vsk b@x:vsk c@x:vsk",
	  .node = "+",
	  .site = "vk",
	  .sites = "x:vk",
	  .why = "one site only" },
	{ .what = "2 + 1: the site with two voters is not survived",
	  .nodes = "a@x:vsk b@x:vsk c@y:vsk",
	  .places = "ac=5 bc=4",
	  .lag = "x=0 y=0",
	  .node = "+",
	  .site = "v",
	  .sites = "x:v y:+",
	  .why = "not x: votes (1 of 3 would be left, 2 are needed)" },
	{ .what = "2 + 2 + witness: everything, but for the vault at one site",
	  .nodes = "a@x:vsk b@x:vs c@y:vs d@y:vs w@z:v",
	  .places = "ac=5 bd=4",
	  .node = "k",
	  .site = "k",
	  .sites = "x:k y:+ z:+",
	  .why = "not a: keys (nobody left could open kek:1)" },
	{ .what = "2 + 2 + witness",
	  .nodes = "a@x:vsk b@x:vs c@y:vsk d@y:vs w@z:v",
	  .places = "ac=5 bd=4",
	  .node = "+",
	  .site = "+",
	  .sites = "x:+ y:+ z:+" },
	{ .what = "2 + 2 + 2",
	  .nodes = "a@x:vsk b@x:vs c@y:vsk d@y:vs e@z:vs f@z:vs",
	  .places = "ace=5 bdf=4",
	  .node = "+",
	  .site = "+",
	  .sites = "x:+ y:+ z:+" },
	{ .what = "2 + 2 without a third site: neither",
	  .nodes = "a@x:vsk b@x:vs c@y:vsk d@y:vs",
	  .places = "ac=5",
	  .node = "+",
	  .site = "v",
	  .sites = "x:v y:v" },
	{ .what = "2 + 2 + 2, a voter dead: any one node, but not every site",
	  .nodes = "a@x:vsk b@x:vs c@y:vsk d@y:vs! e@z:vs f@z:vs",
	  .places = "ace=5 bdf=4",
	  .node = "+",
	  .site = "v",
	  .sites = "x:v y:+ z:v" },
	{ .what = "three voters, one dead: no further loss, but of the dead",
	  .nodes = "a@x:vsk b@y:vsk c@z:vsk!",
	  .places = "abc=5",
	  .node = "v",
	  .site = "v",
	  .sites = "x:v y:v z:+",
	  .why = "not a: votes (1 of 3 would be left, 2 are needed); not b" },
	{ .what = "a site dead, with the only other copies",
	  .nodes = "a@x:vsk b@x:vsk c@y:vsk! d@y:vs! w@z:v",
	  .places = "ac=5",
	  .node = "vc",
	  .site = "vkc",
	  .sites = "x:vkc y:+ z:v",
	  .why = "not a: votes (2 of 5 would be left, 3 are needed), copies (5 segments" },
	{ .what = "no majority: nothing is survived, and the reason is that",
	  .nodes = "a@x:vsk b@y:vsk! c@z:vsk!",
	  .places = "abc=5",
	  .node = "vkc",
	  .site = "vkc",
	  .sites = "x:vkc y:v z:v",
	  .why = "there is no majority now: 1 of 3 voters answer, 2 are needed" },
	{ .what = "the only vault does not answer",
	  .nodes = "a@x:vsk! b@y:vs c@z:vs",
	  .places = "abc=5",
	  .node = "vk",
	  .site = "vk",
	  .sites = "x:k y:vk z:vk",
	  .why = "nobody who answers can open kek:1 now" },
	{ .what = "the second vault lacks a grant of the newest key",
	  .nodes = "a@x:vsk b@y:vs1 c@z:vs",
	  .places = "abc=5",
	  .node = "k",
	  .site = "k",
	  .sites = "x:k y:+ z:+",
	  .why = "nobody left could open ca" },
	{ .what = "two vaults that only together open everything",
	  .nodes = "a@x:vsk b@y:vs1 c@z:vs2",
	  .places = "abc=5",
	  .node = "+",
	  .site = "+",
	  .sites = "x:+ y:+ z:+" },
	{ .what = "a segment that is on no machine that answers",
	  .nodes = "a@x:vsk b@y:vsk c@z:vsk d@z:s!",
	  .places = "abc=5 d=2",
	  .node = "c",
	  .site = "c",
	  .sites = "x:c y:c z:c",
	  .why = "2 segments are at no machine that answers" },
	{ .what = "all copies are evicted but those at one site",
	  .nodes = "a@x:vsk b@y:vsk c@z:vsk",
	  .places = "abc=5 b=7",
	  .node = "c",
	  .site = "c",
	  .sites = "x:+ y:c z:+",
	  .why = "7 segments are nowhere else" },
	{ .what = "a standby lags: its site lacks what was sealed since",
	  .nodes = "a@x:vsk b@x:vsk c@y:vsk s@y:s",
	  .places = "ac=5",
	  .lag = "x=0 y=3",
	  .newer = 3,
	  .node = "c",
	  .site = "vc",
	  .sites = "x:vc y:+",
	  .why = "3 new segments may be nowhere else yet" },
	{ .what = "new segments, and a third site that has them all",
	  .nodes = "a@x:vsk b@y:vsk c@z:vsk",
	  .places = "abc=5",
	  .lag = "x=0 y=3 z=0",
	  .newer = 3,
	  .node = "+",
	  .site = "+",
	  .sites = "x:+ y:+ z:+" },
	{ .what = "new segments, and nobody knows where",
	  .nodes = "a@x:vsk b@y:vsk c@z:vsk",
	  .places = "abc=5",
	  .lag = "?",
	  .newer = 3,
	  .node = "c",
	  .site = "c",
	  .sites = "x:c y:c z:c" },
	{ .what = "new segments matter not to a witness",
	  .nodes = "a@x:vsk b@y:vsk w@z:v",
	  .places = "ab=5",
	  .lag = "x=1 y=1",
	  .newer = 2,
	  .node = "c",
	  .site = "c",
	  .sites = "x:c y:c z:+" },
	{ .what = "not counted yet: no claim",
	  .nodes = "a@x:vsk b@y:vsk c@z:vsk",
	  .uncounted = true,
	  .node = "c",
	  .site = "c",
	  .sites = "x:c y:c z:c",
	  .why = "not counted yet" },
	{ .what = "a spare and a standby have no vote",
	  .nodes = "a@x:vsk b@y:sk c@z:s",
	  .places = "abc=5",
	  .node = "v",
	  .site = "v",
	  .sites = "x:v y:+ z:+",
	  .why = "not a: votes (0 of 1 would be left, 1 are needed)" },
};

struct made {
	struct survive_view v;
	struct survive_node nodes[32];
	struct survive_place places[16];
	struct survive_site sites[8];
};

static size_t node_named(const struct made *m, char name)
{
	for (size_t i = 0; i < m->v.node_count; i++) {
		if (m->nodes[i].name[0] == name) {
			return i;
		}
	}
	fail_msg("no node %c", name);
	return 0;
}

static void make_node(struct made *m, const char *word)
{
	struct survive_node *n = &m->nodes[m->v.node_count++];
	char flags[16] = "";

	n->id = m->v.node_count;
	assert_true(sscanf(word, "%1[a-z]@%7[a-z]:%15s", n->name, n->site, flags) >= 2);
	n->votes = strchr(flags, 'v') != NULL;
	n->stores = strchr(flags, 's') != NULL;
	n->answers = strchr(flags, '!') == NULL;
	n->live_calls = strchr(flags, 'c') != NULL;
	n->opens = strchr(flags, 'k') != NULL	? UINT64_MAX
		   : strchr(flags, '1') != NULL ? 1
		   : strchr(flags, '2') != NULL ? 2
						: 0;
}

static void make_place(struct made *m, const char *word)
{
	struct survive_place *p = &m->places[m->v.place_count++];
	const char *equals = strchr(word, '=');

	for (const char *c = word; c < equals; c++) {
		size_t i = node_named(m, *c);
		p->at.bits[i / 64] |= UINT64_C(1) << (i % 64);
	}
	p->segments = strtoull(equals + 1, NULL, 10);
}

static void make_site(struct made *m, const char *word)
{
	struct survive_site *s = &m->sites[m->v.site_count];
	int pending;

	if (sscanf(word, "%7[a-z]=%d", s->name, &pending) == 2) {
		s->pending = (uint64_t)pending;
		m->v.site_count++;
		m->v.pending_known = true;
	}
}

static void each_word(struct made *m, const char *text,
		      void (*make)(struct made *m, const char *word))
{
	char copy[256];
	char *rest = copy;
	char *word;

	(void)snprintf(copy, sizeof(copy), "%s", text != NULL ? text : "");
	while ((word = strsep(&rest, " ")) != NULL) {
		if (*word != '\0') {
			make(m, word);
		}
	}
}

static void make(const struct cluster_case *c, struct made *m)
{
	*m = (struct made){ .v = { .nodes = m->nodes,
				   .places = m->places,
				   .sites = m->sites,
				   .secrets = { "kek:1", "ca" },
				   .secret_count = 2,
				   .copies_known = !c->uncounted,
				   .newer = c->newer } };
	each_word(m, c->nodes, make_node);
	each_word(m, c->places, make_place);
	each_word(m, c->lag, make_site);
}

static const char *verdict(const struct survive_loss *l)
{
	static char text[8];

	(void)snprintf(text, sizeof(text), "%s%s%s%s", l->votes ? "" : "v", l->keys ? "" : "k",
		       l->copies ? "" : "c", l->votes && l->keys && l->copies ? "+" : "");
	return text;
}

static void every_cluster_of_the_table_is_judged_right(void **state)
{
	struct survive_loss losses[SURVIVE_LOSSES_MAX];
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		const struct cluster_case *c = &cases[i];
		struct made m;
		char sites[128] = "";
		const char *why = NULL;
		make(c, &m);
		size_t count = survive_losses(&m.v, losses, ET_ARRAY_SIZE(losses));
		print_message("%s\n", c->what);
		assert_string_equal(losses[0].loss, "any one node");
		assert_string_equal(losses[1].loss, "any one site");
		for (size_t l = 0; l < count; l++) {
			bool alone = l == 0 ? m.v.node_count < 2 : l == 1 && count < 4;
			print_message("  %-14s %-3s %s\n", losses[l].loss,
				      losses[l].survives ? "yes" : "no", losses[l].why);
			assert_true(losses[l].why[0] != '\0');
			assert_true(!losses[l].survives ||
				    (strcmp(verdict(&losses[l]), "+") == 0 && !alone));
			if (!losses[l].survives && why == NULL) {
				why = losses[l].why;
			}
			if (l >= 2) {
				size_t used = strlen(sites);
				(void)snprintf(sites + used, sizeof(sites) - used, "%s%s:%s",
					       used > 0 ? " " : "", losses[l].loss + 5,
					       verdict(&losses[l]));
			}
		}
		if (strcmp(verdict(&losses[0]), c->node) != 0 ||
		    strcmp(verdict(&losses[1]), c->site) != 0 || strcmp(sites, c->sites) != 0 ||
		    (c->why != NULL && (why == NULL || strstr(why, c->why) == NULL))) {
			print_error("want %s, %s, %s, \"%s\"\n", c->node, c->site, c->sites,
				    c->why != NULL ? c->why : "");
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
}

/* Whatever is lost: with one machine more that is silent, nothing more is survived. */
static void silence_never_makes_it_better(void **state)
{
	struct survive_loss before[SURVIVE_LOSSES_MAX];
	struct survive_loss after[SURVIVE_LOSSES_MAX];

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		struct made m;
		make(&cases[i], &m);
		size_t count = survive_losses(&m.v, before, ET_ARRAY_SIZE(before));
		for (size_t n = 0; n < m.v.node_count; n++) {
			bool answers = m.nodes[n].answers;
			m.nodes[n].answers = false;
			(void)survive_losses(&m.v, after, ET_ARRAY_SIZE(after));
			for (size_t l = 0; l < count; l++) {
				assert_true(before[l].survives || !after[l].survives);
			}
			m.nodes[n].answers = answers;
		}
	}
}

static void a_live_call_is_named(void **state)
{
	static const struct cluster_case c = { .nodes = "a@x:vskc b@y:vsk c@z:vsk" };
	struct survive_loss losses[SURVIVE_LOSSES_MAX];
	struct made m;

	(void)state;
	make(&c, &m);
	assert_int_equal(survive_losses(&m.v, losses, ET_ARRAY_SIZE(losses)), 5);
	assert_true(losses[0].survives);
	assert_non_null(strstr(losses[0].why, "1 live calls"));
	assert_non_null(strstr(losses[2].why, "1 live calls"));
	assert_null(strstr(losses[3].why, "live calls"));
}

/* 256 nodes with long names at 256 sites: sentences are cut, nothing else. */
static void the_largest_cluster_fits(void **state)
{
	static struct survive_node nodes[SURVIVE_NODES_MAX];
	static struct survive_loss losses[SURVIVE_LOSSES_MAX];
	const struct survive_view v = { .nodes = nodes, .node_count = SURVIVE_NODES_MAX };

	(void)state;
	for (size_t i = 0; i < SURVIVE_NODES_MAX; i++) {
		nodes[i] = (struct survive_node){ .id = i + 1, .votes = i < 1, .answers = true };
		(void)snprintf(nodes[i].name, sizeof(nodes[i].name), "%059zu", i);
		(void)snprintf(nodes[i].site, sizeof(nodes[i].site), "%059zu", i);
	}
	assert_int_equal(survive_losses(&v, losses, SURVIVE_LOSSES_MAX), SURVIVE_LOSSES_MAX);
	assert_false(losses[0].survives);
	assert_int_equal(survive_losses(&v, losses, 3), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cluster_of_the_table_is_judged_right),
		cmocka_unit_test(silence_never_makes_it_better),
		cmocka_unit_test(a_live_call_is_named),
		cmocka_unit_test(the_largest_cluster_fits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
