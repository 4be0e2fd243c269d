/* Newer generations of segments: what apply takes and refuses, and what is due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "raft/command/schema.h"
#include "raft/state/test/kit.h"

#define T0 INT64_C(1700000000000000)
#define S INT64_C(1000000)

static int redact(struct kit *k, uint64_t recording, int64_t from_us, int64_t to_us)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__RecordingRedact r = ET__RECORDING_REDACT__INIT;
	static char reason[] = "a card number";

	r.recording = kit_id(recording);
	r.from_us = from_us;
	r.to_us = to_us;
	c.reason = reason;
	c.body_case = ET__COMMAND__BODY_RECORDING_REDACT;
	c.recording_redact = &r;
	return kit_apply(k, &c);
}

struct put {
	uint64_t node;
	uint64_t recording;
	uint32_t generation;
	uint32_t segment;
	uint64_t root;
	uint64_t old_root;
	uint64_t redaction;
	uint32_t kek;
	uint32_t made_of; /* 0: the one before */
	bool bare;	  /* without its link */
	bool by_seal;	  /* with its seal hash, not that of all bytes */
	bool by_nothing;  /* without both */
	int64_t t0_us;
};

static int put(struct kit *k, struct put p)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__GenerationPut body = ET__GENERATION_PUT__INIT;
	Et__Segment g = ET__SEGMENT__INIT;
	Et__Wrap w = ET__WRAP__INIT;
	static char file[] = "tapes/new.evtm";
	static char uuid[] = "store";

	w.dek = 4711;
	w.kek_version = p.kek;
	w.enc = kit_hash(p.root + 1);
	w.ciphertext = kit_bytes(48, p.root + 2);
	g.recording = kit_id(p.recording);
	g.generation = p.generation;
	g.segment = p.segment;
	g.node = p.node;
	g.wrap = &w;
	g.header_hash = kit_hash(p.root + 3);
	g.t0_us = p.t0_us;
	g.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	g.root = kit_hash(p.root);
	g.records = 3;
	g.size_bytes = 999;
	g.sealed_us = T0 + 9 * S;
	if (!p.by_nothing) {
		*(p.by_seal ? &g.seal_hash : &g.object_hash) = kit_hash(p.root + 4);
	}
	g.file = file;
	g.made_index = 1; /* not its to say */
	g.replaced_by = 5;
	g.redacted = UINT64_MAX;
	if (!p.bare) {
		g.link = kit_bytes(100, p.root + 5);
	}
	body.segment = &g;
	body.old_root = kit_hash(p.old_root);
	body.redaction = p.redaction;
	body.made_of = p.made_of != 0 ? p.made_of : p.generation > 1 ? p.generation - 1 : 1;
	body.store_uuid = uuid;
	c.body_case = ET__COMMAND__BODY_GENERATION_PUT;
	c.generation_put = &body;
	return kit_apply_from(k, p.node, &c);
}

static int finish(struct kit *k, uint64_t recording, uint32_t generation, uint32_t segment)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__GenerationFinish f = ET__GENERATION_FINISH__INIT;

	f.recording = kit_id(recording);
	f.generation = generation;
	f.segment = segment;
	c.body_case = ET__COMMAND__BODY_GENERATION_FINISH;
	c.generation_finish = &f;
	return kit_apply(k, &c);
}

static int copy_of(struct kit *k, uint64_t node, uint64_t recording, uint32_t generation,
		   const char *place)
{
	Et__Copy c;
	kit_copy(&c, recording, 1, place);
	c.generation = generation;
	return kit_copies(k, node, false, &c, 1);
}

static void close_call(struct kit *k, uint64_t id)
{
	Et__Recording r = ET__RECORDING__INIT;

	r.id = kit_id(id);
	r.start_us = T0;
	r.end_us = T0 + 60 * S;
	assert_int_equal(kit_tell_recording(k, 2, KIT_CLOSE, &r), 0);
}

/* Recording `id`, captured by node 2 and ended, one segment (root 7) with copies at 2 and 3. */
static void call(struct kit *k, uint64_t id)
{
	kit_sealed_segment(k, id);
	close_call(k, id);
	assert_int_equal(kit_copy_add(k, 3, id, 1, "node:3"), 0);
}

static struct put sound(uint64_t id)
{
	return (struct put){ .node = 3,
			     .recording = id,
			     .generation = 2,
			     .segment = 1,
			     .root = 50,
			     .old_root = 7,
			     .kek = 1,
			     .t0_us = T0 };
}

/* A cluster with recording `id`, whose first second was asked to be left out: generation 2 is
 * there, at node 3. */
static struct put redacted(struct kit *k, uint64_t id)
{
	struct put p = sound(id);

	kit_cluster(k);
	call(k, id);
	assert_int_equal(redact(k, id, T0, T0 + S), 0);
	p.redaction = k->index;
	assert_int_equal(put(k, p), 0);
	return p;
}

static void it_comes_with_a_hash_of_the_schema(void **state)
{
	struct kit *k = *state;
	struct put p = sound(1);

	kit_cluster(k);
	call(k, 1);
	assert_int_equal(redact(k, 1, T0, T0 + S), 0);
	p.redaction = k->index;
	p.by_seal = true;
	assert_int_equal(put(k, p), ET_EVERSION);
	kit_upgrade(k, 1, ET_SCHEMA_SEAL_HASH);
	p.by_nothing = true;
	assert_int_equal(put(k, p), ET_EREFUSED);
	p.by_nothing = false;
	assert_int_equal(put(k, p), 0);
}

struct due {
	unsigned make, finish, redaction;
};

static int due_count(void *arg, enum et_state_due due, const Et__Segment *g, const Et__Redaction *r)
{
	struct due *d = arg;
	(void)g;
	d->make += due == ET_DUE_MAKE;
	d->finish += due == ET_DUE_FINISH;
	d->redaction += r != NULL;
	return 0;
}

static int one_more(void *arg, const uint8_t recording[16])
{
	(void)recording;
	++*(unsigned *)arg;
	return 0;
}

static void assert_due(struct kit *k, uint64_t id, unsigned make, unsigned finish_, unsigned rows)
{
	struct due d = { 0 };
	unsigned found = 0;
	struct et_state_view *v = et_state_view_open(k->s);

	assert_int_equal(et_state_each_generation_due_of(v, kit_id(id).data, due_count, &d), 0);
	assert_int_equal(et_state_each_generation_due(v, NULL, one_more, &found), 0);
	(void)et_state_view_close(v);
	assert_int_equal(d.make, make);
	assert_int_equal(d.finish, finish_);
	assert_int_equal(found, rows);
}

static Et__Segment *segment(struct kit *k, uint64_t id, uint32_t generation)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Segment *g = NULL;

	assert_int_equal(et_state_get_segment(v, kit_id(id).data, generation, 1, &g), 0);
	(void)et_state_view_close(v);
	return g;
}

static uint64_t segment_redacted(struct kit *k, uint64_t id)
{
	Et__Segment *g = segment(k, id, 2);
	uint64_t asked = g->redacted;

	et__segment__free_unpacked(g, NULL);
	return asked;
}

static uint64_t wraps(struct kit *k, uint32_t version)
{
	struct et_state_view *v = et_state_view_open(k->s);
	uint64_t n = 0;

	assert_int_equal(et_state_wraps(v, version, &n), 0);
	(void)et_state_view_close(v);
	return n;
}

static void a_redaction_is_refused_where_it_must_be(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(redact(k, 10, T0, T0 + S), ET_ENOTFOUND);
	kit_sealed_segment(k, 10);
	assert_int_equal(redact(k, 10, T0, T0 + S), ET_EREFUSED); /* still being made */
	close_call(k, 10);
	assert_int_equal(redact(k, 10, T0 + S, T0 + S), ET_EREFUSED);
	assert_int_equal(redact(k, 10, T0 - 90 * S, T0 - 80 * S), ET_ENOTFOUND);
	assert_int_equal(kit_hold_add(k, 70, 10), 0);
	assert_int_equal(redact(k, 10, T0, T0 + S), ET_EPOLICY);
	assert_int_equal(kit_hold_release(k, 70), 0);
	assert_int_equal(kit_segment_open(k, 2, 10, 2), 0); /* and not sealed */
	assert_int_equal(redact(k, 10, T0, T0 + S), ET_EREFUSED);
	assert_due(k, 10, 0, 0, 0);
	call(k, 11);
	assert_int_equal(kit_erase(k, 11), 0);
	assert_int_equal(redact(k, 11, T0, T0 + S), ET_EREFUSED);
	call(k, 12);
	assert_int_equal(redact(k, 12, T0, T0 + S), 0);
	uint64_t asked = k->index;
	assert_int_equal(k->result->number, asked);
	assert_int_equal(redact(k, 12, T0, T0 + S), 0); /* once */
	assert_int_equal(k->result->number, asked);
	assert_due(k, 12, 1, 0, 1);
}

static void a_generation_comes_whole_and_for_a_reason(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	call(k, 10);
	struct put p = sound(10);
	assert_int_equal(put(k, p), ET_EREFUSED); /* nobody asked, and nothing is compromised */
	p.redaction = 3;
	assert_int_equal(put(k, p), ET_ESTALE);
	assert_int_equal(redact(k, 10, T0 + S, T0 + 2 * S), 0);
	p.redaction = k->index;

	struct put bad = p;
	bad.old_root = 8;
	assert_int_equal(put(k, bad), ET_ESTALE);
	bad = p;
	bad.generation = 3;
	assert_int_equal(put(k, bad), ET_ENOTFOUND);
	bad = p;
	bad.generation = 1;
	assert_int_equal(put(k, bad), ET_EREFUSED);
	bad = p;
	bad.bare = true;
	assert_int_equal(put(k, bad), ET_EREFUSED);
	bad = p;
	bad.kek = 2;
	assert_int_equal(put(k, bad), ET_ESTALE);
	bad = p;
	bad.t0_us = T0 + 1;
	assert_int_equal(put(k, bad), ET_EREFUSED);
	assert_int_equal(kit_hold_add(k, 70, 10), 0);
	assert_int_equal(put(k, p), ET_EPOLICY);
	assert_int_equal(kit_hold_release(k, 70), 0);
	assert_int_equal(wraps(k, 1), 1);

	assert_int_equal(put(k, p), 0);
	Et__Segment *g = segment(k, 10, 2);
	assert_int_equal(g->made_index, k->index);
	assert_int_equal(g->replaced_by, 0);
	et__segment__free_unpacked(g, NULL);
	g = segment(k, 10, 1);
	assert_int_equal(g->replaced_by, 2);
	assert_false(g->wrap->erased);
	et__segment__free_unpacked(g, NULL);
	assert_int_equal(wraps(k, 1), 2);
	assert_due(k, 10, 0, 1, 1);

	assert_int_equal(put(k, p), 0); /* told again */
	struct put second = p;		/* another worker was slower */
	second.node = 1;
	second.root = 60;
	assert_int_equal(put(k, second), ET_ESTALE);
	assert_int_equal(wraps(k, 1), 2);
	assert_int_equal(kit_segment_open(k, 2, 10, 1), 0); /* a journal that comes late */
	g = segment(k, 10, 1);
	assert_int_equal(g->replaced_by, 2);
	et__segment__free_unpacked(g, NULL);
}

static void the_old_key_waits_for_copies_and_holds(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	call(k, 10);
	assert_int_equal(copy_of(k, 1, 10, 1, "target:cold"), 0);
	assert_int_equal(finish(k, 10, 1, 1), ET_EREFUSED); /* nothing took its place */
	assert_int_equal(redact(k, 10, T0, T0 + S), 0);
	struct put p = sound(10);
	p.redaction = k->index;
	assert_int_equal(put(k, p), 0);
	assert_int_equal(finish(k, 10, 1, 1), ET_EPOLICY); /* site-0 (node 2) has none of it */
	assert_int_equal(copy_of(k, 2, 10, 2, "node:2"), 0);
	assert_int_equal(finish(k, 10, 1, 1), ET_EPOLICY); /* the target has none */
	assert_int_equal(copy_of(k, 1, 10, 2, "target:cold"), 0);
	assert_int_equal(kit_hold_add(k, 70, 10), 0);
	assert_int_equal(finish(k, 10, 1, 1), ET_EPOLICY);
	assert_int_equal(kit_hold_release(k, 70), 0);
	assert_int_equal(finish(k, 10, 2, 1), ET_EREFUSED); /* the newest never */
	assert_int_equal(wraps(k, 1), 2);
	assert_int_equal(finish(k, 10, 1, 1), 0);
	assert_int_equal(wraps(k, 1), 1);
	assert_int_equal(finish(k, 10, 1, 1), 0); /* it is gone */
	assert_int_equal(finish(k, 10, 9, 1), ET_ENOTFOUND);
	assert_due(k, 10, 0, 0, 0);

	Et__Segment *g = segment(k, 10, 1);
	assert_true(g->wrap->erased);
	assert_int_equal(g->wrap->ciphertext.len, 0);
	et__segment__free_unpacked(g, NULL);
	g = segment(k, 10, 2);
	assert_false(g->wrap->erased);
	et__segment__free_unpacked(g, NULL);
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Recording *r = NULL;
	assert_int_equal(et_state_get_recording(v, kit_id(10).data, &r), 0);
	assert_int_equal(r->n_redactions, 1);
	assert_true(r->redactions[0]->done_index > 0);
	assert_string_equal(r->redactions[0]->reason, "a card number");
	et__recording__free_unpacked(r, NULL);
	(void)et_state_view_close(v);
	assert_int_equal(copy_of(k, 3, 10, 1, "node:3"), ET_EREFUSED); /* late, of what is gone */
}

static int evicted(void *arg, const Et__Copy *c)
{
	unsigned *n = arg;
	n[0] += c->generation == 1 && c->state == ET__COPY__STATE__EVICTED;
	n[1] += c->generation == 1 && c->state == ET__COPY__STATE__VERIFIED;
	n[2] += c->generation == 2 && c->state == ET__COPY__STATE__VERIFIED;
	return 0;
}

static void old_copies_at_nodes_are_evicted(void **state)
{
	struct kit *k = *state;
	unsigned n[3] = { 0 };

	(void)redacted(k, 10);
	assert_int_equal(copy_of(k, 2, 10, 2, "node:2"), 0);
	assert_int_equal(finish(k, 10, 1, 1), 0);
	struct et_state_view *v = et_state_view_open(k->s);
	assert_int_equal(et_state_each_copy_of(v, kit_id(10).data, evicted, n), 0);
	(void)et_state_view_close(v);
	assert_int_equal(n[0], 2);
	assert_int_equal(n[1], 0);
	assert_int_equal(n[2], 2);
	assert_int_equal(kit_counts(k).copies, 2);
}

/* A second redaction, while the first one's old key is still there: a chain of three. */
static void a_chain_is_finished_by_its_newest(void **state)
{
	struct kit *k = *state;

	struct put p = redacted(k, 10);
	assert_int_equal(redact(k, 10, T0 + 5 * S, T0 + 6 * S), 0);
	assert_due(k, 10, 1, 1, 1);
	struct put q = p;
	q.redaction = k->index;
	q.generation = 3;
	q.root = 80;
	q.old_root = 50;
	assert_int_equal(put(k, q), 0);
	assert_due(k, 10, 0, 2, 1);
	assert_int_equal(copy_of(k, 2, 10, 3, "node:2"), 0);
	assert_int_equal(finish(k, 10, 1, 1), 0);
	assert_due(k, 10, 0, 1, 1);
	assert_int_equal(finish(k, 10, 2, 1), 0);
	assert_due(k, 10, 0, 0, 0);
	assert_int_equal(wraps(k, 1), 1);
}

/* Two are asked for before anything is done: neither may be passed over by the other's generation,
 * nor by a re-encryption. */
static void redactions_that_wait_together_are_done_one_by_one(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	call(k, 10);
	assert_int_equal(redact(k, 10, T0, T0 + S), 0);
	uint64_t first = k->index;
	assert_int_equal(redact(k, 10, T0 + 5 * S, T0 + 6 * S), 0);
	uint64_t second = k->index;
	struct put p = sound(10);
	p.redaction = second;
	assert_int_equal(put(k, p), ET_ESTALE);
	p.redaction = 0;
	assert_int_equal(put(k, p), ET_ESTALE);
	p.redaction = first;
	assert_int_equal(put(k, p), 0);
	assert_due(k, 10, 1, 1, 1);
	p.generation = 3;
	p.old_root = p.root;
	p.root = 70;
	assert_int_equal(put(k, p), ET_ESTALE);
	p.redaction = second;
	assert_int_equal(put(k, p), 0);
	assert_due(k, 10, 0, 2, 1);
}

/* Of the same call, from a journal that was away when the span was left out. */
static void what_comes_late_of_a_span_is_made_anew(void **state)
{
	struct kit *k = *state;

	(void)redacted(k, 7);
	assert_int_equal(copy_of(k, 2, 7, 2, "node:2"), 0);
	assert_int_equal(finish(k, 7, 1, 1), 0);
	assert_due(k, 7, 0, 0, 0);
	uint64_t asked = segment_redacted(k, 7);

	/* A schema before passes it over. */
	assert_int_equal(kit_segment_open(k, 2, 7, 2), 0);
	assert_int_equal(kit_segment_seal(k, 2, 7, 2, ET__SEGMENT_STATE__SEGMENT_SEALED, 9, 3), 0);
	assert_due(k, 7, 0, 0, 0);
	kit_upgrade(k, 1, ET_SCHEMA_LATE_REDACTED);
	assert_int_equal(kit_segment_open(k, 2, 7, 3), 0);
	assert_due(k, 7, 1, 0, 0); /* the second one; nothing has asked for a look yet */
	assert_int_equal(kit_segment_seal(k, 2, 7, 3, ET__SEGMENT_STATE__SEGMENT_SEALED, 10, 3), 0);
	assert_due(k, 7, 2, 0, 1);
	struct put p = sound(7);
	p.segment = 3;
	p.old_root = 10;
	p.root = 60;
	assert_int_equal(put(k, p), ET_ESTALE); /* not for no reason */
	p.redaction = asked;
	assert_int_equal(put(k, p), 0);
	assert_due(k, 7, 1, 1, 1);
}

static void what_comes_late_beside_the_span_stays_as_it_is(void **state)
{
	struct kit *k = *state;

	(void)redacted(k, 7);
	kit_upgrade(k, 1, ET_SCHEMA_LATE_REDACTED);
	assert_int_equal(copy_of(k, 2, 7, 2, "node:2"), 0);
	assert_int_equal(finish(k, 7, 1, 1), 0);
	assert_int_equal(kit_segment_open_at(k, 2, 7, 2, T0 + 100 * S), 0);
	assert_int_equal(kit_segment_seal(k, 2, 7, 2, ET__SEGMENT_STATE__SEGMENT_SEALED, 9, 3), 0);
	assert_due(k, 7, 0, 0, 0); /* and nobody is told to look, again and again */
}

static int copy_bad(struct kit *k, uint64_t node, uint64_t recording, uint32_t generation,
		    const char *place)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__CopyBad bad = ET__COPY_BAD__INIT;
	Et__Copy copy;
	static char why[] = "gone";

	kit_copy(&copy, recording, 1, place);
	copy.generation = generation;
	bad.copy = &copy;
	bad.why = why;
	c.body_case = ET__COMMAND__BODY_COPY_BAD;
	c.copy_bad = &bad;
	return kit_apply_from(k, node, &c);
}

/* The maker's disk dies before anybody has copied what it made. */
static void what_is_lost_with_its_maker_is_made_again_of_the_old_one(void **state)
{
	struct kit *k = *state;

	struct put p = redacted(k, 10);
	struct put q = p;
	q.node = 2;
	q.generation = 3;
	q.made_of = 1;
	q.root = 90;
	assert_due(k, 10, 0, 1, 1);
	assert_int_equal(put(k, q), ET_ESTALE); /* generation 2 is there */
	assert_int_equal(copy_bad(k, 3, 10, 2, "node:3"), 0);
	assert_due(k, 10, 1, 0, 1);
	assert_int_equal(finish(k, 10, 1, 1), ET_EPOLICY);
	assert_int_equal(put(k, q), 0);
	assert_due(k, 10, 0, 2, 1);
	assert_int_equal(copy_of(k, 3, 10, 3, "node:3"), 0);
	assert_int_equal(finish(k, 10, 1, 1), 0);
	assert_int_equal(finish(k, 10, 2, 1), 0);
	assert_due(k, 10, 0, 0, 0);
	assert_int_equal(wraps(k, 1), 1);
}

static void an_erasure_wins(void **state)
{
	struct kit *k = *state;

	struct put p = redacted(k, 10);
	assert_int_equal(kit_erase(k, 10), 0);
	assert_int_equal(wraps(k, 1), 0);
	assert_due(k, 10, 0, 0, 0);
	p.generation = 3;
	p.old_root = 50;
	assert_int_equal(put(k, p), ET_EREFUSED);
	assert_int_equal(finish(k, 10, 1, 1), 0);
}

static void a_recorder_makes_first_generations_only(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;

	kit_cluster(k);
	call(k, 10);
	seal.recording = kit_id(10);
	seal.generation = 2;
	seal.segment = 1;
	seal.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	seal.root = kit_hash(1);
	seal.size_bytes = 5;
	c.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	c.segment_seal = &seal;
	assert_int_equal(kit_apply_from(k, 2, &c), ET_EREFUSED);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(it_comes_with_a_hash_of_the_schema),
		TEST(a_redaction_is_refused_where_it_must_be),
		TEST(a_generation_comes_whole_and_for_a_reason),
		TEST(the_old_key_waits_for_copies_and_holds),
		TEST(old_copies_at_nodes_are_evicted),
		TEST(a_chain_is_finished_by_its_newest),
		TEST(what_comes_late_of_a_span_is_made_anew),
		TEST(what_comes_late_beside_the_span_stays_as_it_is),
		TEST(redactions_that_wait_together_are_done_one_by_one),
		TEST(what_is_lost_with_its_maker_is_made_again_of_the_old_one),
		TEST(an_erasure_wins),
		TEST(a_recorder_makes_first_generations_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
