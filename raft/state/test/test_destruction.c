/* What destroys needs its preconditions, and what is destroyed stays so, whatever comes in whatever
 * order: sound commands and hostile ones, old ones that are sent again by another incarnation,
 * entries that come twice, a database that is opened again in between. After each entry the state
 * is compared with the one before, against rules that know nothing of how apply decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/command/schema.h"
#include "raft/state/test/destruction.h"

/* ---- Commands ---- */

/* All that a command points to; one at a time. */
struct room {
	Et__Command c;
	Et__Recording recording;
	Et__RecordingOpen recording_open;
	Et__RecordingClose recording_close;
	Et__Segment segment;
	Et__Wrap wrap;
	Et__SegmentOpen segment_open;
	Et__SegmentSeal segment_seal;
	Et__Copy copy;
	Et__Copy *copies[1];
	Et__CopyAdd copy_add;
	Et__CopyBad copy_bad;
	Et__CopyEvict copy_evict;
	Et__Hold hold;
	Et__HoldScope scope;
	Et__HoldAdd hold_add;
	Et__HoldRelease hold_release;
	Et__RecordingErase erase;
	Et__RecordingRedact redact;
	Et__GenerationPut put;
	Et__GenerationFinish finish;
	Et__Kek kek;
	Et__Grant grants[3];
	Et__Grant *grant_list[3];
	Et__KekAdd kek_add;
	Et__KekSet kek_set;
	Et__KekReport report;
	Et__Rewrap rewrap;
	Et__Rewrap *rewraps[1];
	Et__KekRewrap kek_rewrap;
	Et__Policy policy;
	Et__RetentionRule rule;
	Et__RetentionRule *rule_list[1];
	Et__PolicySet policy_set;
	Et__Plan plan;
	Et__PlanItem item;
	Et__PlanItem *items[1];
	Et__PlanPut plan_put;
	Et__PlanApply plan_apply;
	Et__Tick tick;
	uint8_t old_hash[32];
	char text[3][64];
	uint64_t node;
};

/* Mostly of the one that would be right. */
static unsigned pick(struct game *g, unsigned right, unsigned count)
{
	return dice_one_in(&g->dice, 5) ? (unsigned)dice_below(&g->dice, count) : right;
}

static void wrap_fill(struct game *g, Et__Wrap *w, uint64_t dek, uint32_t version)
{
	et__wrap__init(w);
	w->dek = dek;
	w->kek_version = version;
	w->enc = kit_hash(dice_roll(&g->dice));
	w->ciphertext = kit_bytes(48, dice_roll(&g->dice) | 1);
}

/* The newest generation of a segment, from 0; GENERATIONS: there is none. */
static unsigned newest_of(const struct seen *s, unsigned r, unsigned segment)
{
	for (unsigned n = GENERATIONS; n > 0; n--) {
		if (s->g[r][n - 1][segment].there) {
			return n - 1;
		}
	}
	return GENERATIONS;
}

static void say_recorder(struct game *g, struct room *m, unsigned r, unsigned segment)
{
	static char file[] = "tapes/a.evtm";

	m->node = dice_one_in(&g->dice, 20) ? 3 : 2;
	switch (dice_below(&g->dice, 4)) {
	case 0:
	case 1:
		et__recording__init(&m->recording);
		m->recording.id = kit_id(rec_id(r));
		m->recording.start_us = T0;
		m->recording.from = strcpy(m->text[0], r % 2 == 0 ? "100" : "200");
		if (dice_one_in(&g->dice, 2)) {
			et__recording_open__init(&m->recording_open);
			m->recording_open.recording = &m->recording;
			m->c.body_case = ET__COMMAND__BODY_RECORDING_OPEN;
			m->c.recording_open = &m->recording_open;
		} else {
			et__recording_close__init(&m->recording_close);
			m->recording.state = ET__RECORDING_STATE__SEALED;
			m->recording.end_us = T0 + 20 * SECOND;
			m->recording_close.recording = &m->recording;
			m->c.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
			m->c.recording_close = &m->recording_close;
		}
		return;
	case 2:
		et__segment__init(&m->segment);
		et__segment_open__init(&m->segment_open);
		wrap_fill(g, &m->wrap, r * 10 + segment,
			  pick(g, g->now.active, VERSIONS - 1) % VERSIONS);
		m->wrap.kek_version = m->wrap.kek_version == 0 ? 1 : m->wrap.kek_version;
		m->segment.recording = kit_id(rec_id(r));
		m->segment.generation = 1;
		m->segment.segment = segment + 1;
		m->segment.node = m->node;
		m->segment.wrap = &m->wrap;
		m->segment.header_hash = kit_hash(5);
		m->segment.t0_us = T0 + segment * 10 * SECOND;
		m->segment.file = file;
		m->segment_open.segment = &m->segment;
		m->c.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
		m->c.segment_open = &m->segment_open;
		return;
	default:
		et__segment_seal__init(&m->segment_seal);
		m->segment_seal.recording = kit_id(rec_id(r));
		m->segment_seal.generation = 1;
		m->segment_seal.segment = segment + 1;
		m->segment_seal.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
		m->segment_seal.root = kit_hash(pick(g, 1, 3));
		m->segment_seal.object_hash = kit_hash(9);
		m->segment_seal.records = 3;
		m->segment_seal.size_bytes = 100;
		m->c.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
		m->c.segment_seal = &m->segment_seal;
		return;
	}
}

static void say_copy(struct game *g, struct room *m, unsigned r, unsigned segment)
{
	static char object[] = "packs/1.evpk";
	static char why[] = "bit rot";
	unsigned generation = newest_of(&g->now, r, segment);

	m->node = 1 + dice_below(&g->dice, 3);
	et__copy__init(&m->copy);
	m->copies[0] = &m->copy;
	m->copy.recording = kit_id(rec_id(r));
	m->copy.generation = 1 + pick(g, generation, GENERATIONS) % GENERATIONS;
	m->copy.segment = segment + 1;
	(void)snprintf(m->text[0], sizeof(m->text[0]), "node:%llu", (unsigned long long)m->node);
	m->copy.place = m->text[0];
	if (dice_one_in(&g->dice, 6)) {
		m->copy.place = strcpy(m->text[0], "target:cold");
		m->copy.object = object;
	}
	uint64_t what = dice_below(&g->dice, 16);
	if (what < 13) {
		et__copy_add__init(&m->copy_add);
		m->copy_add.copies = m->copies;
		m->copy_add.n_copies = 1;
		m->c.body_case = ET__COMMAND__BODY_COPY_ADD;
		m->c.copy_add = &m->copy_add;
	} else if (what < 15) {
		et__copy_evict__init(&m->copy_evict);
		m->copy_evict.copies = m->copies;
		m->copy_evict.n_copies = 1;
		m->c.body_case = ET__COMMAND__BODY_COPY_EVICT;
		m->c.copy_evict = &m->copy_evict;
	} else {
		et__copy_bad__init(&m->copy_bad);
		m->copy_bad.copy = &m->copy;
		m->copy_bad.why = why;
		m->c.body_case = ET__COMMAND__BODY_COPY_BAD;
		m->c.copy_bad = &m->copy_bad;
	}
}

static void say_hold(struct game *g, struct room *m, unsigned r)
{
	static char matter[] = "case";
	unsigned at = (unsigned)dice_below(&g->dice, 3);

	for (unsigned i = 0; i < HOLDS && !g->rules.holds[at].standing; i++) {
		if (g->rules.holds[i].standing && !dice_one_in(&g->dice, 4)) {
			at = i;
		}
	}
	if (g->rules.holds[at].standing) {
		et__hold_release__init(&m->hold_release);
		m->hold_release.id = (ProtobufCBinaryData){ 16, g->hold_ids[at] };
		m->c.body_case = ET__COMMAND__BODY_HOLD_RELEASE;
		m->c.hold_release = &m->hold_release;
		return;
	}
	et__hold_add__init(&m->hold_add);
	et__hold__init(&m->hold);
	/* A new id each time: one that was released is known. */
	m->hold.id = kit_id(500 + at + (g->k->index << 8));
	m->hold.matter = matter;
	if (dice_one_in(&g->dice, 4)) {
		et__hold_scope__init(&m->scope);
		m->scope.number = strcpy(m->text[0], "100*");
		m->hold.scope = &m->scope;
	} else {
		m->hold.recording = kit_id(rec_id(r));
	}
	m->hold_add.hold = &m->hold;
	m->c.body_case = ET__COMMAND__BODY_HOLD_ADD;
	m->c.hold_add = &m->hold_add;
}

static void say_generation(struct game *g, struct room *m, unsigned r, unsigned segment)
{
	static char file[] = "tapes/b.evtm";
	unsigned n = newest_of(&g->now, r, segment);
	const struct seen_segment *old = n < GENERATIONS ? &g->now.g[r][n][segment] : NULL;

	m->node = 1 + dice_below(&g->dice, 3);
	if (old == NULL || n + 1 >= GENERATIONS || dice_one_in(&g->dice, 3)) {
		et__generation_finish__init(&m->finish);
		m->finish.recording = kit_id(rec_id(r));
		m->finish.segment = segment + 1;
		m->finish.generation = 1 + (uint32_t)dice_below(&g->dice, GENERATIONS);
		m->c.body_case = ET__COMMAND__BODY_GENERATION_FINISH;
		m->c.generation_finish = &m->finish;
		return;
	}
	uint64_t due = 0;
	for (unsigned i = 0; i < g->now.r[r].redactions && due == 0; i++) {
		const struct seen_redaction *d = &g->now.r[r].redaction[i];
		due = d->asked > old->redacted ? d->asked : 0;
	}
	et__generation_put__init(&m->put);
	et__segment__init(&m->segment);
	wrap_fill(g, &m->wrap, dice_roll(&g->dice), pick(g, g->now.active, VERSIONS));
	m->segment.recording = kit_id(rec_id(r));
	m->segment.generation = n + 2;
	m->segment.segment = segment + 1;
	m->segment.node = m->node;
	m->segment.wrap = &m->wrap;
	m->segment.header_hash = m->segment.object_hash = kit_hash(6);
	m->segment.t0_us = old->t0_us;
	m->segment.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	m->segment.root = kit_hash(dice_roll(&g->dice));
	m->segment.records = 3;
	m->segment.size_bytes = 100;
	m->segment.file = file;
	m->segment.link = kit_bytes(64, 1);
	m->put.segment = &m->segment;
	m->put.old_root = (ProtobufCBinaryData){ 32, g->now.g[r][n][segment].root };
	m->put.redaction = dice_one_in(&g->dice, 6) ? dice_below(&g->dice, 50) : due;
	m->put.made_of = n + 1;
	m->c.body_case = ET__COMMAND__BODY_GENERATION_PUT;
	m->c.generation_put = &m->put;
}

static void say_kek_add(struct game *g, struct room *m, uint32_t version)
{
	(void)snprintf(m->text[0], sizeof(m->text[0]), "kek:%u", version);
	et__kek_add__init(&m->kek_add);
	et__kek__init(&m->kek);
	m->kek.version = version;
	m->kek.public_key = kit_hash(version);
	m->kek.state =
		dice_one_in(&g->dice, 3) ? ET__KEK_STATE__KEK_PENDING : ET__KEK_STATE__KEK_ACTIVE;
	m->kek_add.kek = &m->kek;
	m->kek_add.grants = m->grant_list;
	m->kek_add.n_grants = 3;
	for (unsigned i = 0; i < 3; i++) {
		et__grant__init(&m->grants[i]);
		m->grant_list[i] = &m->grants[i];
		m->grants[i].secret = m->text[0];
		m->grants[i].node = i + 1;
		m->grants[i].enc = kit_hash(i);
		m->grants[i].ciphertext = kit_bytes(48, i);
		m->grants[i].seal_public = kit_hash(version * 10 + i);
	}
	m->c.body_case = ET__COMMAND__BODY_KEK_ADD;
	m->c.kek_add = &m->kek_add;
}

static void say_rewrap(struct game *g, struct room *m, unsigned r, unsigned segment)
{
	unsigned n = newest_of(&g->now, r, segment);
	struct et_state_view *v = et_state_view_open(g->k->s);
	Et__Segment *known = NULL;

	et__kek_rewrap__init(&m->kek_rewrap);
	et__rewrap__init(&m->rewrap);
	m->rewraps[0] = &m->rewrap;
	m->rewrap.recording = kit_id(rec_id(r));
	m->rewrap.generation = n < GENERATIONS ? n + 1 : 1;
	m->rewrap.segment = segment + 1;
	memset(m->old_hash, 0, sizeof(m->old_hash));
	uint64_t dek = 1;
	m->kek_rewrap.from = 1;
	if (et_state_get_segment(v, m->rewrap.recording.data, m->rewrap.generation, segment + 1,
				 &known) == 0 &&
	    known->wrap != NULL) {
		et_state_wrap_hash(known->wrap, m->old_hash);
		dek = known->wrap->dek;
		m->kek_rewrap.from = known->wrap->kek_version;
	}
	et__segment__free_unpacked(known, NULL);
	(void)et_state_view_close(v);
	m->kek_rewrap.to = pick(g, g->now.active, VERSIONS);
	wrap_fill(g, &m->wrap, dek, m->kek_rewrap.to);
	m->rewrap.old_hash = (ProtobufCBinaryData){ 32, m->old_hash };
	m->rewrap.wrap = &m->wrap;
	m->kek_rewrap.items = m->rewraps;
	m->kek_rewrap.n_items = 1;
	m->c.body_case = ET__COMMAND__BODY_KEK_REWRAP;
	m->c.kek_rewrap = &m->kek_rewrap;
}

static void say_key(struct game *g, struct room *m, unsigned r, unsigned segment)
{
	uint32_t newest = 0;

	for (uint32_t i = 1; i < VERSIONS; i++) {
		newest = g->now.kek[i].state >= 0 ? i : newest;
	}
	m->node = 1 + dice_below(&g->dice, 3);
	uint64_t what = dice_below(&g->dice, 8);
	if (what == 0 && newest + 1 < VERSIONS && dice_one_in(&g->dice, 12)) {
		say_kek_add(g, m, newest + 1);
		return;
	}
	switch (what) {
	case 0:
	case 1:
	case 2:
		et__kek_set__init(&m->kek_set);
		m->kek_set.version = 1 + (uint32_t)dice_below(&g->dice, VERSIONS - 1);
		m->kek_set.state = (Et__KekState)dice_below(&g->dice, 6);
		m->kek_set.expect = g->now.kek[m->kek_set.version].state >= 0
					    ? (Et__KekState)g->now.kek[m->kek_set.version].state
					    : ET__KEK_STATE__KEK_ACTIVE;
		/* Compromise is for good: seldom. */
		if (m->kek_set.state == ET__KEK_STATE__KEK_COMPROMISED &&
		    !dice_one_in(&g->dice, 10)) {
			m->kek_set.state = ET__KEK_STATE__KEK_DESTROYED;
		}
		m->c.body_case = ET__COMMAND__BODY_KEK_SET;
		m->c.kek_set = &m->kek_set;
		return;
	case 3:
		et__kek_report__init(&m->report);
		m->report.drained = pick(g, g->now.active, VERSIONS);
		m->c.body_case = ET__COMMAND__BODY_KEK_REPORT;
		m->c.kek_report = &m->report;
		return;
	default:
		say_rewrap(g, m, r, segment);
		return;
	}
}

static void say_policy(struct game *g, struct room *m)
{
	static char name[] = "retention";
	static char rule[] = "all";

	et__policy_set__init(&m->policy_set);
	et__policy__init(&m->policy);
	et__retention_rule__init(&m->rule);
	m->rule.name = rule;
	m->rule.keep_us = dice_one_in(&g->dice, 2) ? 0 : 3600 * SECOND;
	m->rule_list[0] = &m->rule;
	m->policy.name = name;
	m->policy.retention = m->rule_list;
	m->policy.n_retention = 1;
	m->policy_set.policy = &m->policy;
	m->policy_set.expect_revision = g->rules.policy;
	m->c.body_case = ET__COMMAND__BODY_POLICY_SET;
	m->c.policy_set = &m->policy_set;
}

static void say_plan(struct game *g, struct room *m, unsigned r)
{
	static char kind[] = "erase";

	et__plan__init(&m->plan);
	et__plan_item__init(&m->item);
	if (dice_one_in(&g->dice, 2)) {
		et__plan_put__init(&m->plan_put);
		m->items[0] = &m->item;
		m->item.action = kind;
		m->item.recording = kit_id(rec_id(r));
		m->plan.id = kit_id(7000 + ++g->plan);
		m->plan.kind = kind;
		m->plan.items = m->items;
		m->plan.n_items = 1;
		assert_int_equal(et_state_plan_hash(&m->plan, g->plan_hash), 0);
		m->plan_put.plan = &m->plan;
		m->c.body_case = ET__COMMAND__BODY_PLAN_PUT;
		m->c.plan_put = &m->plan_put;
	} else {
		et__plan_apply__init(&m->plan_apply);
		m->plan_apply.plan = kit_id(7000 + g->plan);
		m->plan_apply.hash = (ProtobufCBinaryData){ 32, g->plan_hash };
		m->c.body_case = ET__COMMAND__BODY_PLAN_APPLY;
		m->c.plan_apply = &m->plan_apply;
	}
}

static void say_destruction(struct game *g, struct room *m, unsigned r)
{
	m->node = 1 + dice_below(&g->dice, 3);
	switch (dice_below(&g->dice, 8)) {
	case 0:
		if (!dice_one_in(&g->dice, 24)) {
			break;
		}
		et__recording_erase__init(&m->erase);
		m->erase.recording = kit_id(rec_id(r));
		m->c.body_case = ET__COMMAND__BODY_RECORDING_ERASE;
		m->c.recording_erase = &m->erase;
		return;
	case 1:
		if (!dice_one_in(&g->dice, 12)) {
			break;
		}
		say_plan(g, m, r);
		return;
	case 2:
		say_policy(g, m);
		return;
	case 3:
		et__tick__init(&m->tick);
		m->tick.time_us = g->now.now_us + (int64_t)dice_below(&g->dice, 300) * SECOND;
		m->c.body_case = ET__COMMAND__BODY_TICK;
		m->c.tick = &m->tick;
		return;
	case 4:
	case 5:
		say_hold(g, m, r);
		return;
	default:
		break;
	}
	et__recording_redact__init(&m->redact);
	m->redact.recording = kit_id(rec_id(r));
	m->redact.from_us = T0 + (dice_one_in(&g->dice, 2) ? 0 : 12 * SECOND);
	m->redact.to_us = m->redact.from_us + (int64_t)(1 + dice_below(&g->dice, 3)) * SECOND;
	m->c.body_case = ET__COMMAND__BODY_RECORDING_REDACT;
	m->c.recording_redact = &m->redact;
}

static void say(struct game *g, struct room *m)
{
	unsigned r = (unsigned)dice_below(&g->dice, RECORDINGS);
	unsigned segment = (unsigned)dice_below(&g->dice, SEGMENTS);

	et__command__init(&m->c);
	switch (dice_below(&g->dice, 12)) {
	case 0:
	case 1: /* the second segment comes late, if at all */
		say_recorder(g, m, r, dice_one_in(&g->dice, 40));
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		say_copy(g, m, r, segment);
		break;
	case 6:
	case 7:
	case 8:
		say_generation(g, m, r, segment);
		break;
	case 9:
		say_key(g, m, r, segment);
		break;
	default:
		say_destruction(g, m, r);
		break;
	}
}

/* ---- Playing ---- */

/* What the rules must know of a command that was taken. */
static void note(struct game *g, const Et__Command *c)
{
	for (unsigned i = 0; i < HOLDS; i++) {
		if (c->body_case == ET__COMMAND__BODY_HOLD_RELEASE && g->rules.holds[i].standing &&
		    memcmp(c->hold_release->id.data, g->hold_ids[i], 16) == 0) {
			g->rules.holds[i].standing = false;
		}
	}
	if (c->body_case == ET__COMMAND__BODY_HOLD_ADD) {
		unsigned at = 0;
		while (at < HOLDS && g->rules.holds[at].standing) {
			at++;
		}
		assert_true(at < HOLDS);
		g->rules.holds[at].standing = true;
		memcpy(g->hold_ids[at], c->hold_add->hold->id.data, 16);
		g->rules.holds[at].recording = RECORDINGS;
		for (unsigned r = 0; r < RECORDINGS && c->hold_add->hold->scope == NULL; r++) {
			if (memcmp(c->hold_add->hold->recording.data, kit_id(rec_id(r)).data, 16) ==
			    0) {
				g->rules.holds[at].recording = r;
			}
		}
	} else if (c->body_case == ET__COMMAND__BODY_POLICY_SET) {
		g->rules.policy++;
		g->rules.keep_us = c->policy_set->policy->retention[0]->keep_us;
	}
}

static void keep(struct game *g, uint64_t node, const Et__Command *c)
{
	size_t at = g->old_count++ % OLD;

	et_buffer_release(&g->old[at]);
	g->old[at] = (struct et_buffer){ 0 };
	uint8_t *p = et_buffer_reserve(&g->old[at], et__command__get_packed_size(c) + 1);
	assert_non_null(p);
	g->old[at].size = et__command__pack(c, p);
	g->old_node[at] = node;
}

static void step(struct game *g)
{
	struct room *m = calloc(1, sizeof(*m));
	Et__Command *old = NULL;
	struct seen after;

	assert_non_null(m);
	if (dice_one_in(&g->dice, 200)) { /* a restart */
		(void)et_state_close(g->k->s);
		g->k->s = kit_open(g->k->db);
	}
	if (dice_one_in(&g->dice, 12) && g->k->log_count > 20) { /* an entry comes twice */
		const struct kit_entry *e = &g->k->log[dice_below(&g->dice, g->k->log_count)];
		struct et_buffer copy = { 0 };
		et_buffer_add(&copy, e->data, e->size);
		kit_apply_bytes(g->k, copy.data, copy.size);
		et_buffer_release(&copy);
		look(g, &after);
		assert_memory_equal(&after, &g->now, sizeof(after));
		free(m);
		return;
	}
	if (dice_one_in(&g->dice, 6) && g->old_count > 20) { /* what was wanted long ago */
		size_t at = dice_below(&g->dice, g->old_count < OLD ? g->old_count : OLD);
		old = et__command__unpack(NULL, g->old[at].size, g->old[at].data);
		assert_non_null(old);
		m->node = g->old_node[at];
	} else {
		say(g, m);
		keep(g, m->node, &m->c);
	}
	Et__Command *c = old != NULL ? old : &m->c;
	char *principal = c->principal;
	int code = kit_apply_from(g->k, m->node, c);
	c->principal = principal;
	look(g, &after);
	g->refused += code < 0;
	check(g, &g->now, &after, c);
	if (code == 0) {
		note(g, c);
	}
	g->now = after;
	et__command__free_unpacked(old, NULL);
	free(m);
}

static void play(struct kit *k, uint64_t seed, unsigned steps, struct game *total)
{
	struct game *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->k = k;
	g->dice.state = seed * 2 + 1;
	kit_cluster(k);
	kit_upgrade(k, 1, ET_COMMAND_SCHEMA);
	look(g, &g->now);
	for (unsigned i = 0; i < steps; i++) {
		step(g);
	}
	total->erased += g->erased;
	total->finished += g->finished;
	total->rewrapped += g->rewrapped;
	total->refused += g->refused;
	total->destroyed += g->destroyed;
	total->late += g->late;
	for (size_t i = 0; i < OLD; i++) {
		et_buffer_release(&g->old[i]);
	}
	free(g);
}

static void nothing_is_destroyed_without_its_reasons_and_nothing_comes_back(void **state)
{
	struct kit *k = *state;
	struct game total = { 0 };
	const char *told = getenv("ET_SEED");
	uint64_t first = told != NULL ? strtoull(told, NULL, 10) : 1;
	uint64_t count = told != NULL ? 1 : 12;

	for (uint64_t seed = first; seed < first + count; seed++) {
		struct et_state *own = k->s;
		char db[sizeof(k->db)];
		(void)snprintf(db, sizeof(db), "%s", k->db);
		(void)snprintf(k->db, sizeof(k->db), "%s/seed-%u", k->folder, (unsigned)seed);
		print_message("ET_SEED=%llu\n", (unsigned long long)seed);
		k->s = kit_open(k->db);
		k->index = 0;
		kit_log_clear(k);
		memset(k->seq, 0, sizeof(k->seq));
		play(k, seed, 3000, &total);
		(void)et_state_close(k->s);
		k->s = own;
		(void)snprintf(k->db, sizeof(k->db), "%s", db);
	}
	print_message(
		"erased %u, finished %u, rewrapped %u, KEKs destroyed %u, late %u; refused %u\n",
		total.erased, total.finished, total.rewrapped, total.destroyed, total.late,
		total.refused);
	/* Else nothing was tested. */
	if (told == NULL) {
		assert_true(total.erased > 10 && total.finished > 10 && total.rewrapped > 10 &&
			    total.destroyed > 0 && total.late > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			nothing_is_destroyed_without_its_reasons_and_nothing_comes_back, kit_set_up,
			kit_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
