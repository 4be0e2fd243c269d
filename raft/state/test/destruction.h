/* What test_destruction.c sees of the state, and the rules that each change must keep to. They know
 * nothing of how apply decides. */
#ifndef ET_RAFT_STATE_TEST_DESTRUCTION_H
#define ET_RAFT_STATE_TEST_DESTRUCTION_H

#include "raft/state/test/kit.h"
#include "raft/state/test/random.h"

#define T0 INT64_C(1700000000000000)
#define SECOND INT64_C(1000000)
#define MARGIN SECOND /* packets may lie so far beside their tape's times */

enum { RECORDINGS = 4, SEGMENTS = 2, GENERATIONS = 4, VERSIONS = 5, HOLDS = 64, OLD = 128 };

/* ---- What is seen of the state ---- */

struct seen_segment {
	bool there, live, erased, sealed;
	uint32_t kek, replaced_by;
	uint64_t dek, wrap; /* of the ciphertext */
	uint64_t redacted;
	int64_t t0_us;
	unsigned copies; /* verified, at members and targets */
	uint8_t root[32];
};

struct seen_redaction {
	int64_t from_us, to_us;
	uint64_t asked;
	bool done;
};

struct seen {
	struct seen_segment g[RECORDINGS][GENERATIONS][SEGMENTS];
	struct {
		bool there, erased, ended;
		int64_t end_us;
		char from[16];
		unsigned redactions;
		struct seen_redaction redaction[8];
	} r[RECORDINGS];
	struct {
		int state; /* -1: none */
		bool compromised;
		unsigned grants;
	} kek[VERSIONS];
	uint32_t active;
	int64_t now_us;
};

/* What the test itself knows, from what was taken. */
struct rules {
	struct {
		bool standing;
		unsigned recording; /* RECORDINGS: of the scope "100*" */
	} holds[HOLDS];
	int64_t keep_us;
	uint32_t policy;
};

struct game {
	struct kit *k;
	struct dice dice;
	struct seen now;
	struct rules rules;
	struct et_buffer old[OLD]; /* packed commands */
	uint64_t old_node[OLD];
	size_t old_count;
	uint8_t plan_hash[32];
	uint8_t hold_ids[HOLDS][16]; /* of those that stand */
	unsigned plan;
	unsigned erased, finished, rewrapped, refused, destroyed, late;
};

static inline uint64_t rec_id(unsigned r)
{
	return 100 + r;
}

static inline int look_grant(void *arg, const Et__Grant *g)
{
	struct seen *s = arg;
	unsigned version = 0;

	if (sscanf(g->secret, "kek:%u", &version) == 1 && version < VERSIONS) {
		s->kek[version].grants++;
	}
	return 0;
}

static inline int look_kek(void *arg, const Et__Kek *kek)
{
	struct seen *s = arg;

	assert_true(kek->version < VERSIONS);
	s->kek[kek->version].state = (int)kek->state;
	s->kek[kek->version].compromised = kek->compromised;
	s->active = kek->state == ET__KEK_STATE__KEK_ACTIVE ? kek->version : s->active;
	return 0;
}

struct looking {
	struct seen *s;
	unsigned r;
};

static inline int look_segment(void *arg, const Et__Segment *g)
{
	struct looking *l = arg;

	assert_true(g->generation >= 1 && g->generation <= GENERATIONS && g->segment >= 1 &&
		    g->segment <= SEGMENTS);
	struct seen_segment *to = &l->s->g[l->r][g->generation - 1][g->segment - 1];
	to->there = true;
	to->live = g->wrap != NULL && !g->wrap->erased && g->wrap->ciphertext.len > 0;
	to->erased = g->wrap != NULL && g->wrap->erased;
	to->sealed = g->root.len == 32;
	to->replaced_by = g->replaced_by;
	to->redacted = g->redacted;
	to->t0_us = g->t0_us;
	if (to->sealed) {
		memcpy(to->root, g->root.data, 32);
	}
	if (g->wrap != NULL) {
		to->kek = g->wrap->kek_version;
		to->dek = g->wrap->dek;
		to->wrap = to->live ? et_get64(g->wrap->ciphertext.data) : 0;
		assert_true(!to->erased || g->wrap->ciphertext.len == 0);
	}
	return 0;
}

static inline int look_copy(void *arg, const Et__Copy *c)
{
	struct looking *l = arg;

	if (c->state == ET__COPY__STATE__VERIFIED) {
		l->s->g[l->r][c->generation - 1][c->segment - 1].copies++;
	}
	return 0;
}

static inline void look_recording(const struct et_state_view *v, struct seen *s, unsigned number)
{
	Et__Recording *r = NULL;
	struct looking l = { s, number };
	uint8_t id[16];

	memcpy(id, kit_id(rec_id(number)).data, 16);
	assert_int_equal(et_state_each_segment_of(v, id, look_segment, &l), 0);
	assert_int_equal(et_state_each_copy_of(v, id, look_copy, &l), 0);
	if (et_state_get_recording(v, id, &r) < 0) {
		return;
	}
	s->r[number].there = true;
	s->r[number].erased = r->state == ET__RECORDING_STATE__ERASED;
	s->r[number].ended = r->state != ET__RECORDING_STATE__CAPTURING;
	s->r[number].end_us = r->end_us > r->ended_us ? r->end_us : r->ended_us;
	(void)snprintf(s->r[number].from, sizeof(s->r[0].from), "%s", r->from);
	for (size_t i = 0; i < r->n_redactions && i < 8; i++) {
		const Et__Redaction *d = r->redactions[i];
		s->r[number].redaction[i] =
			(struct seen_redaction){ d->from_us, d->to_us, d->asked_index,
						 d->done_index != 0 };
		s->r[number].redactions++;
	}
	et__recording__free_unpacked(r, NULL);
}

static inline void look(struct game *g, struct seen *s)
{
	struct et_state_view *v = et_state_view_open(g->k->s);
	Et__Cluster *cluster = NULL;

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < VERSIONS; i++) {
		s->kek[i].state = -1;
	}
	for (unsigned i = 0; i < RECORDINGS; i++) {
		look_recording(v, s, i);
	}
	assert_int_equal(et_state_each_kek(v, look_kek, s), 0);
	assert_int_equal(et_state_each_grant(v, look_grant, s), 0);
	assert_int_equal(et_state_get_cluster(v, &cluster), 0);
	s->now_us = cluster->cluster_time_us;
	et__cluster__free_unpacked(cluster, NULL);
	(void)et_state_view_close(v);
}

/* ---- The rules ---- */

static inline bool is_held(const struct game *g, const struct seen *before, unsigned r)
{
	for (size_t i = 0; i < HOLDS; i++) {
		if (g->rules.holds[i].standing && (g->rules.holds[i].recording == r ||
						   (g->rules.holds[i].recording == RECORDINGS &&
						    strncmp(before->r[r].from, "100", 3) == 0))) {
			return true;
		}
	}
	return false;
}

static inline bool may_erase(const struct game *g, const struct seen *before, unsigned r)
{
	return before->r[r].there && before->r[r].ended && !is_held(g, before, r) &&
	       (g->rules.keep_us == 0 || before->now_us >= before->r[r].end_us + g->rules.keep_us);
}

/* Of one segment: the key goes, moves, or stays. */
static inline void check_key(struct game *g, const struct seen *before, const struct seen *after,
			     unsigned r, unsigned generation, unsigned segment)
{
	const struct seen_segment *a = &before->g[r][generation][segment];
	const struct seen_segment *b = &after->g[r][generation][segment];

	assert_true(!a->there || b->there);
	if (a->erased) { /* A tombstone stays. */
		assert_true(b->erased && !b->live);
		return;
	}
	if (b->live) { /* What is there can be opened by somebody. */
		assert_true(b->kek < VERSIONS &&
			    after->kek[b->kek].state != ET__KEK_STATE__KEK_DESTROYED);
	}
	if (a->live && b->erased) {
		if (after->r[r].erased) {
			assert_true(may_erase(g, before, r));
			return;
		}
		/* Else another generation has taken its place, and can be read somewhere. */
		assert_false(is_held(g, before, r));
		unsigned newest = generation;
		while (after->g[r][newest][segment].replaced_by != 0) {
			newest = after->g[r][newest][segment].replaced_by - 1;
			assert_true(newest < GENERATIONS);
		}
		assert_true(newest > generation);
		assert_true(after->g[r][newest][segment].live);
		assert_true(after->g[r][newest][segment].copies > 0);
		g->finished++;
	} else if (a->live && (b->wrap != a->wrap || b->kek != a->kek)) {
		assert_true(b->live && b->dek == a->dek);
		assert_int_equal(before->kek[b->kek].state, ET__KEK_STATE__KEK_ACTIVE);
		assert_false(before->kek[a->kek].compromised);
		g->rewrapped++;
	} else {
		assert_true(!a->live || b->live);
	}
}

static inline int due_told(void *arg, enum et_state_due due, const Et__Segment *g,
			   const Et__Redaction *d)
{
	(void)g;
	*(unsigned *)arg += due == ET_DUE_MAKE && d != NULL;
	return 0;
}

static inline int row_told(void *arg, const uint8_t recording[16])
{
	(void)recording;
	++*(unsigned *)arg;
	return 0;
}

/* What was to be left out is in nothing that can be opened, once it is said to be done; what comes
 * late is made anew, too. */
static inline void check_redactions(struct game *g, const struct seen *s, unsigned r)
{
	unsigned due = 0;

	for (unsigned i = 0; i < s->r[r].redactions; i++) {
		const struct seen_redaction *d = &s->r[r].redaction[i];
		for (unsigned n = 0; n < GENERATIONS * SEGMENTS; n++) {
			const struct seen_segment *b = &s->g[r][n / SEGMENTS][n % SEGMENTS];
			const struct seen_segment *next = &s->g[r][0][1];
			int64_t end_us = n % SEGMENTS == 0 && next->there ? next->t0_us : INT64_MAX;
			due += d->done && b->live && b->sealed && b->replaced_by == 0 &&
			       b->t0_us - MARGIN < d->to_us && end_us > d->from_us - MARGIN &&
			       b->redacted < d->asked;
		}
	}
	g->late += due > 0;
	if (due > 0 && !s->r[r].erased) { /* Then somebody is told to. */
		unsigned told = 0;
		struct et_state_view *v = et_state_view_open(g->k->s);
		assert_int_equal(
			et_state_each_generation_due_of(v, kit_id(rec_id(r)).data, due_told, &told),
			0);
		assert_true(told > 0);
		told = 0;
		assert_int_equal(et_state_each_generation_due(v, NULL, row_told, &told), 0);
		assert_true(told > 0);
		(void)et_state_view_close(v);
	}
}

static inline void check(struct game *g, const struct seen *before, const struct seen *after,
			 const Et__Command *c)
{
	for (unsigned r = 0; r < RECORDINGS; r++) {
		assert_true(!before->r[r].erased || after->r[r].erased);
		if (!before->r[r].erased && after->r[r].erased) {
			assert_true(may_erase(g, before, r));
			assert_true(c->body_case == ET__COMMAND__BODY_RECORDING_ERASE ||
				    c->body_case == ET__COMMAND__BODY_PLAN_APPLY);
			g->erased++;
		}
		for (unsigned n = 0; n < GENERATIONS * SEGMENTS; n++) {
			const struct seen_segment *a = &before->g[r][n / SEGMENTS][n % SEGMENTS];
			const struct seen_segment *b = &after->g[r][n / SEGMENTS][n % SEGMENTS];
			check_key(g, before, after, r, n / SEGMENTS, n % SEGMENTS);
			assert_false(after->r[r].erased && b->live);
			/* The last copy goes with its key, or because somebody lost it. */
			assert_true(a->copies == 0 || b->copies > 0 || b->erased ||
				    c->body_case == ET__COMMAND__BODY_COPY_BAD);
		}
		check_redactions(g, after, r);
	}
	for (unsigned i = 1; i < VERSIONS; i++) {
		bool was = before->kek[i].state == ET__KEK_STATE__KEK_DESTROYED;
		bool is = after->kek[i].state == ET__KEK_STATE__KEK_DESTROYED;
		assert_true(!was || is);
		assert_true(!is || after->kek[i].grants == 0);
		assert_true(!before->kek[i].compromised || after->kek[i].compromised);
		g->destroyed += is && !was;
	}
}

#endif
