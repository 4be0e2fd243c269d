/* Random commands, some hostile: whatever they are, some things always hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/state_internal.h"
#include "raft/state/test/random.h"

/* ---- The op window against a plain set ---- */

#define SEQS 4000

static void the_window_is_a_set_with_a_short_memory(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct window w = { 0 };
		struct dice d = { seed };
		static bool applied[SEQS + 1];
		uint64_t head = 0;
		memset(applied, 0, sizeof(applied));
		for (int i = 0; i < 3000; i++) {
			uint64_t reach = seed % 3 == 0 ? 4 : 600;
			uint64_t seq =
				1 + (head > reach ? head - reach : 0) + dice_below(&d, reach);
			seq = seq > SEQS ? SEQS : seq;
			uint64_t floor = dice_one_in(&d, 50) ? dice_below(&d, seq + 3) : 0;
			bool known = window_has(&w, seq);
			/* What was applied is never forgotten. */
			assert_true(!applied[seq] || known);
			/* What was not, is new, unless it was given up or forced. */
			assert_true(applied[seq] || !known || seq <= w.watermark);
			window_add(&w, seq, floor);
			applied[seq] = true;
			assert_true(window_has(&w, seq));
			assert_true(w.forced <= w.watermark);
			assert_true(w.count <= WINDOW_RANGES_MAX);
			for (size_t n = 0; n < w.count; n++) {
				uint64_t before = n == 0 ? w.watermark : w.ranges[n - 1].last;
				assert_true(w.ranges[n].first > before + 1);
				assert_true(w.ranges[n].first <= w.ranges[n].last);
			}
			head = seq > head ? seq : head;
		}
	}
}

static void a_window_without_holes_is_a_number(void **state)
{
	struct window w = { 0 };

	(void)state;
	for (uint64_t seq = 1; seq <= 100; seq++) {
		window_add(&w, seq, 0);
	}
	assert_int_equal(w.watermark, 100);
	assert_int_equal(w.count, 0);
	window_add(&w, 105, 0);
	window_add(&w, 103, 0);
	assert_int_equal(w.count, 2);
	window_add(&w, 104, 0);
	assert_int_equal(w.count, 1);
	assert_false(window_has(&w, 102));
	window_add(&w, 106, 102); /* 101 is given up */
	assert_int_equal(w.watermark, 101);
	assert_int_equal(w.forced, 0);
	window_add(&w, 102, 0);
	assert_int_equal(w.watermark, 106);
	assert_int_equal(w.count, 0);
	window_add(&w, UINT64_MAX - 1, 0); /* hostile, not harmful */
	window_add(&w, UINT64_MAX, UINT64_MAX);
	assert_true(window_has(&w, UINT64_MAX));
	assert_true(window_has(&w, 107));
	w = (struct window){ 0 };
	window_add(&w, UINT64_MAX, 0);
	window_add(&w, 5, 0);
	window_add(&w, UINT64_MAX - 1, 0);
	window_add(&w, 1, 0);
	assert_int_equal(w.watermark, 1);
	assert_int_equal(w.count, 2);
	assert_true(window_has(&w, 5) && window_has(&w, UINT64_MAX - 1));
	assert_false(window_has(&w, 6) || window_has(&w, UINT64_MAX - 2));
}

/* ---- Whatever comes ---- */

struct tally {
	struct kit *kit;
	uint64_t taken[256]; /* by body */
	uint64_t refused[256];
};

static void tally_on_result(void *arg, uint64_t index, uint32_t position,
			    const Et__Command *command, const Et__Result *result)
{
	struct tally *t = arg;

	(void)index;
	(void)position;
	if (command != NULL) {
		assert_true(command->body_case < ET_ARRAY_SIZE(t->taken));
		(result->code == 0 ? t->taken : t->refused)[command->body_case]++;
	}
}

struct truth {
	const struct et_state_view *v;
	struct et_state_counts counts;
	uint64_t wraps[8]; /* by KEK version */
	struct {
		uint8_t id[16];
		int64_t start_us;
		int state;
	} recordings[64];
	size_t recording_count;
	uint64_t verified;
	uint64_t standing; /* verified copies at targets and members */
	uint64_t shown;	   /* ... as readers see them */
};

static int truth_recording(void *arg, const void *message)
{
	struct truth *t = arg;
	const Et__Recording *r = message;

	t->counts.recordings++;
	t->counts.capturing += r->state == ET__RECORDING_STATE__CAPTURING;
	t->counts.sealed += r->state == ET__RECORDING_STATE__SEALED;
	t->counts.lost += r->state == ET__RECORDING_STATE__LOST;
	t->counts.erased += r->state == ET__RECORDING_STATE__ERASED;
	assert_true(t->recording_count < ET_ARRAY_SIZE(t->recordings));
	memcpy(t->recordings[t->recording_count].id, r->id.data, 16);
	t->recordings[t->recording_count].state = (int)r->state;
	t->recordings[t->recording_count++].start_us = r->start_us;
	return 0;
}

static int truth_segment(void *arg, const Et__Segment *g)
{
	struct truth *t = arg;

	t->counts.segments++;
	if (g->wrap != NULL && !g->wrap->erased && g->wrap->kek_version < 8) {
		t->wraps[g->wrap->kek_version]++;
	}
	return 0;
}

static int truth_copy(void *arg, const void *message)
{
	struct truth *t = arg;
	const Et__Copy *c = message;
	Et__Segment *g = NULL;
	Et__Node *node = NULL;

	/* A copy is one of a sealed segment. */
	assert_int_equal(
		et_state_get_segment(t->v, c->recording.data, c->generation, c->segment, &g), 0);
	assert_int_equal(g->root.len, 32);
	if (c->state == ET__COPY__STATE__VERIFIED) {
		assert_int_equal(c->size_bytes, g->size_bytes);
		t->counts.copies++;
		bool gone = place_node(c->place) != 0 &&
			    et_state_get_node(t->v, place_node(c->place), &node) == 0 &&
			    !node_is_member(node);
		t->standing += !gone;
	}
	et__node__free_unpacked(node, NULL);
	et__segment__free_unpacked(g, NULL);
	return 0;
}

/* What lies on a removed node is not verified to readers. */
static int truth_shown(void *arg, const Et__Copy *c)
{
	struct truth *t = arg;

	t->shown += c->state == ET__COPY__STATE__VERIFIED;
	return 0;
}

static int truth_hold(void *arg, const Et__Hold *h)
{
	struct truth *t = arg;

	t->counts.holds += h->released_us == 0;
	return 0;
}

static int search_hit(void *arg, const Et__Recording *r)
{
	struct truth *t = arg;
	size_t found = 0;

	for (size_t i = 0; i < t->recording_count; i++) {
		found += memcmp(t->recordings[i].id, r->id.data, 16) == 0;
	}
	assert_int_equal(found, 1);
	t->verified++;
	return 0;
}

struct beside {
	uint32_t sum; /* of the copies, in their order */
	uint64_t segments, copies;
	uint64_t skipped; /* segments whose copies were not asked for */
	const Et__Segment *segment;
};

static int beside_copy(void *arg, const Et__Copy *c)
{
	struct beside *b = arg;
	uint8_t packed[4096];

	assert_true(et__copy__get_packed_size(c) <= sizeof(packed));
	if (b->segment != NULL) {
		assert_memory_equal(c->recording.data, b->segment->recording.data, 16);
		assert_int_equal(c->generation, b->segment->generation);
		assert_int_equal(c->segment, b->segment->segment);
	}
	b->sum = et_crc32c(b->sum, packed, et__copy__pack(c, packed));
	b->copies++;
	return 0;
}

static int beside_segment(void *arg, const Et__Segment *g, struct et_state_copies *copies)
{
	struct beside *b = arg;

	b->segment = g;
	return b->segments++ < b->skipped ? 0 : et_state_copies_of(copies, g, beside_copy, b);
}

static int beside_stop(void *arg, const Et__Segment *g, struct et_state_copies *copies)
{
	(void)arg;
	(void)g;
	(void)copies;
	return 77;
}

/* Two walks side by side tell what two walks tell. */
static void beside_check(const struct et_state_view *v)
{
	struct beside all = { 0 };
	struct beside beside = { 0 };

	assert_int_equal(et_state_each_copy(v, beside_copy, &all), 0);
	assert_int_equal(et_state_each_segment_beside(v, beside_segment, &beside), 0);
	assert_int_equal(beside.copies, all.copies);
	assert_int_equal(beside.sum, all.sum);
	struct beside late = { .skipped = beside.segments / 2 };
	assert_int_equal(et_state_each_segment_beside(v, beside_segment, &late), 0);
	assert_true(late.copies <= all.copies);
	if (beside.segments > 0) {
		assert_int_equal(et_state_each_segment_beside(v, beside_stop, NULL), 77);
	}
}

struct recorded {
	uint8_t at[16];
	uint32_t sum; /* of the ids, in their order */
	uint64_t count;
	uint64_t pause; /* after so many; 0: never */
};

static int recorded_take(void *arg, const uint8_t recording[16])
{
	struct recorded *r = arg;

	assert_true(memcmp(recording, r->at, 16) > 0); /* each once, in order */
	memcpy(r->at, recording, 16);
	r->sum = et_crc32c(r->sum, recording, 16);
	r->count++;
	return r->pause != 0 && r->count % r->pause == 0;
}

static int recorded_segment(void *arg, const Et__Segment *g)
{
	struct recorded *r = arg;

	return memcmp(g->recording.data, r->at, 16) == 0 ? 0
							 : recorded_take(arg, g->recording.data);
}

/* Whoever goes through the recordings in pieces meets each that has segments, once. */
static void recorded_check(const struct et_state_view *v)
{
	struct recorded all = { .count = 0 };
	struct recorded pieces = { .pause = 3 };
	int rc = 1;

	assert_int_equal(et_state_each_segment(v, recorded_segment, &all), 0);
	while (rc == 1) {
		uint8_t after[16];
		memcpy(after, pieces.at, sizeof(after));
		rc = et_state_each_recorded(v, after, recorded_take, &pieces);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(pieces.count, all.count);
	assert_int_equal(pieces.sum, all.sum);
}

/* Counters, indexes and chain say what the records say. */
static void truth_check(struct et_state *s)
{
	struct truth t = { .v = kit_indexed(s) };
	struct et_state_counts counts;
	struct key all = { 0 };
	struct et_state_found page;

	assert_non_null(t.v);
	assert_int_equal(view_walk_messages(t.v, CF_RECORDING, &all, &et__recording__descriptor,
					    truth_recording, &t),
			 0);
	assert_int_equal(et_state_each_segment(t.v, truth_segment, &t), 0);
	assert_int_equal(
		view_walk_messages(t.v, CF_COPY, &all, &et__copy__descriptor, truth_copy, &t), 0);
	assert_int_equal(et_state_each_copy(t.v, truth_shown, &t), 0);
	assert_int_equal(t.shown, t.standing);
	beside_check(t.v);
	recorded_check(t.v);
	assert_int_equal(et_state_each_hold(t.v, truth_hold, &t), 0);
	assert_int_equal(et_state_counts(t.v, &counts), 0);
	assert_int_equal(counts.recordings, t.counts.recordings);
	assert_int_equal(counts.capturing, t.counts.capturing);
	assert_int_equal(counts.sealed, t.counts.sealed);
	assert_int_equal(counts.lost, t.counts.lost);
	assert_int_equal(counts.erased, t.counts.erased);
	assert_int_equal(counts.segments, t.counts.segments);
	assert_int_equal(counts.copies, t.counts.copies);
	assert_int_equal(counts.holds, t.counts.holds);
	assert_int_equal(counts.audit_events, kit_audit_verify(s));
	for (uint32_t version = 1; version < 8; version++) {
		uint64_t wraps = 99;
		assert_int_equal(et_state_wraps(t.v, version, &wraps), 0);
		assert_int_equal(wraps, t.wraps[version]);
	}
	for (int state = -1; state < 4; state++) {
		struct et_state_query q = { .state = state, .limit = 1000 };
		uint64_t expected = 0;
		for (size_t i = 0; i < t.recording_count; i++) {
			expected += state < 0 || t.recordings[i].state == state;
		}
		t.verified = 0;
		assert_int_equal(et_state_search(t.v, &q, search_hit, &t, &page), 0);
		assert_int_equal(t.verified, expected);
	}
	(void)et_state_view_close((struct et_state_view *)(uintptr_t)t.v);
}

static void both_answers(const struct tally *t, size_t body)
{
	if (t->taken[body] == 0) {
		fail_msg("never taken: command %zu", body);
	}
	if (t->refused[body] == 0) {
		fail_msg("never refused: command %zu", body);
	}
}

static void records_counters_indexes_and_chain_agree(void **state)
{
	struct kit *k = *state;
	struct dice_game *g = malloc(sizeof(*g));
	struct et_buffer entry = { 0 };
	struct tally tally = { .kit = k };
	struct et_error error;

	assert_non_null(g);
	for (uint64_t seed = 100; seed < 106; seed++) {
		char path[128];
		(void)snprintf(path, sizeof(path), "%s/seed-%d", k->folder, (int)seed);
		struct et_state *own = k->s;
		k->s = kit_open(path);
		k->index = 0;
		memset(k->seq, 0, sizeof(k->seq));
		kit_cluster(k);
		if (seed % 2 == 0) { /* else what came with later schemas is refused */
			kit_upgrade(k, 1, ET_COMMAND_SCHEMA);
		}
		dice_begin(g, seed);
		for (int i = 0; i < 1500; i++) {
			dice_entry(g, k, &entry);
			kit_log(k, entry.data, entry.size);
			et_state_begin(k->s);
			if (et_state_apply(k->s, ++k->index,
					   (struct et_view){ entry.data, entry.size },
					   &error) < 0 ||
			    et_state_commit(k->s, tally_on_result, &tally, &error) < 0) {
				fail_msg("%s", error.text);
			}
			if (i % 100 == 99) {
				truth_check(k->s);
			}
		}
		(void)et_state_close(k->s);
		k->s = own;
	}
	k->index = 0;
	et_buffer_release(&entry);
	free(g);
	/* The dice must have met both answers of every command that has two. */
	for (size_t i = ET__COMMAND__BODY_NOOP; i <= ET__COMMAND__BODY_SITE_SET; i++) {
		if (i != ET__COMMAND__BODY_CLUSTER_INIT) {
			both_answers(&tally, i);
		}
	}
	both_answers(&tally, ET__COMMAND__BODY_RECORDING_IMPORT);
	both_answers(&tally, ET__COMMAND__BODY_RECORDINGS_JOIN);
	both_answers(&tally, ET__COMMAND__BODY_RECORDING_SPLIT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_window_is_a_set_with_a_short_memory),
		cmocka_unit_test(a_window_without_holes_is_a_number),
		TEST(records_counters_indexes_and_chain_agree),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
