/* The index behind apply: what it lacks is told and made good, whatever comes in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/tail_internal.h"
#include "raft/state/test/random.h"

#define T0 INT64_C(1700000000000000)

static void tune(struct et_state *s, bool paused, size_t bulk_bytes)
{
	struct tail_tuning tuning = tail_tuning(s->tail);

	tuning.paused = paused;
	tuning.bulk_bytes = bulk_bytes;
	tuning.linger_ms = 3600 * 1000;
	tail_tune(s->tail, &tuning);
}

static void call_open(struct kit *k, uint64_t id)
{
	const struct kit_call call = { .id = id, .start_us = T0, .from = "+420111", .to = "carol" };

	assert_int_equal(kit_open_call(k, 1, &call), 0);
}

static void call_close(struct kit *k, uint64_t id)
{
	Et__Recording r = ET__RECORDING__INIT;

	r.id = kit_id(id);
	r.end_us = T0 + 60000000;
	r.state = ET__RECORDING_STATE__SEALED;
	assert_int_equal(kit_tell_recording(k, 1, KIT_CLOSE, &r), 0);
}

static int tag(struct kit *k, uint64_t id, const char *name, bool cleared)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__TagSet set = ET__TAG_SET__INIT;
	Et__Subject about = ET__SUBJECT__INIT;
	Et__Tag t = ET__TAG__INIT;
	Et__Tag *list[] = { &t };
	char text[32];

	(void)snprintf(text, sizeof(text), "%s", name);
	about.recording = kit_id(id);
	t.name = text;
	t.cleared = cleared;
	set.about = &about;
	set.tags = list;
	set.n_tags = 1;
	c.body_case = ET__COMMAND__BODY_TAG_SET;
	c.tag_set = &set;
	return kit_apply(k, &c);
}

static int hit(void *arg, const Et__Recording *r)
{
	(void)r;
	(*(size_t *)arg)++;
	return 0;
}

/* How many hits; whether that is all. */
static size_t ask(const struct et_state_view *v, const struct et_state_query *q, bool *ret_complete)
{
	struct et_state_found found;
	size_t hits = 0;

	assert_int_equal(et_state_search(v, q, hit, &hits, &found), 0);
	*ret_complete = found.complete;
	return hits;
}

static void assert_asked(struct et_state_view *v, const struct et_state_query *q, size_t hits,
			 bool complete)
{
	bool is_complete;

	assert_non_null(v);
	assert_int_equal(ask(v, q, &is_complete), hits);
	assert_int_equal(is_complete, complete);
	(void)et_state_view_close(v);
}

static void what_is_not_in_yet_is_told(void **state)
{
	struct kit *k = *state;
	const struct et_state_query number = { .state = -1, .number = "+420111" };
	const struct et_state_query capturing = { .state = ET__RECORDING_STATE__CAPTURING };

	kit_cluster(k);
	tune(k->s, true, TAIL_BULK_BYTES);
	assert_asked(et_state_view_open(k->s), &number, 0, true); /* there is nothing */
	call_open(k, 5);
	assert_asked(et_state_view_open(k->s), &number, 0, false);
	assert_asked(et_state_view_open_indexed(k->s, 1), &number, 0, false);
	tune(k->s, false, TAIL_BULK_BYTES);
	assert_asked(kit_indexed(k->s), &number, 1, true);
	assert_asked(et_state_view_open(k->s), &number, 1, true);
	/* What came after the view was asked for is not missed. */
	tune(k->s, true, TAIL_BULK_BYTES);
	struct et_state_view *v = kit_indexed(k->s);
	call_open(k, 6);
	assert_asked(v, &number, 1, true);
	/* A hit is right even then: by its record and not by its entries. */
	call_close(k, 5);
	assert_asked(et_state_view_open(k->s), &capturing, 0, false);
	tune(k->s, false, TAIL_BULK_BYTES);
	assert_asked(kit_indexed(k->s), &capturing, 1, true); /* the second one */
}

static void a_tag_that_went_is_no_hit(void **state)
{
	struct kit *k = *state;
	const char *const names[] = { "vip" };
	const struct et_state_query by_tag = { .state = -1, .tags = names, .tag_count = 1 };
	const struct et_state_query by_word = { .state = -1, .text = "vip" };
	const struct et_state_query by_words = { .state = -1, .text = "late vip" };

	kit_cluster(k);
	call_open(k, 5);
	call_open(k, 6);
	assert_int_equal(tag(k, 5, "vip", false), 0);
	assert_int_equal(tag(k, 6, "vip", false), 0);
	assert_int_equal(tag(k, 5, "late", false), 0);
	assert_int_equal(tag(k, 6, "late", false), 0);
	assert_asked(kit_indexed(k->s), &by_tag, 2, true);
	assert_asked(kit_indexed(k->s), &by_words, 2, true);
	tune(k->s, true, TAIL_BULK_BYTES);
	assert_int_equal(tag(k, 5, "vip", true), 0);
	assert_asked(et_state_view_open(k->s), &by_tag, 1, false);
	assert_asked(et_state_view_open(k->s), &by_word, 1, false);
	assert_asked(et_state_view_open(k->s), &by_words, 1, false); /* "late" leads */
}

static void an_erasure_is_in_the_index_before_it_is_told(void **state)
{
	struct kit *k = *state;
	const struct et_state_query sealed = { .state = ET__RECORDING_STATE__SEALED };
	const struct et_state_query erased = { .state = ET__RECORDING_STATE__ERASED };

	kit_cluster(k);
	tune(k->s, true, TAIL_BULK_BYTES);
	call_open(k, 5);
	call_close(k, 5);
	call_open(k, 6); /* what came before it is in, too */
	assert_true(tail_bytes(k->s->tail) > 0);
	assert_int_equal(kit_erase(k, 5), 0);
	assert_int_equal(tail_bytes(k->s->tail), 0);
	assert_asked(et_state_view_open(k->s), &sealed, 0, true);
	assert_asked(et_state_view_open(k->s), &erased, 1, true);
}

static void apply_waits_for_an_index_that_is_far_behind(void **state)
{
	struct kit *k = *state;
	struct tail_tuning tuning;
	size_t longest = 0;

	kit_cluster(k);
	tune(k->s, false, SIZE_MAX); /* nothing is due */
	tuning = tail_tuning(k->s->tail);
	tuning.max_bytes = 4000;
	tail_tune(k->s->tail, &tuning);
	for (uint64_t i = 0; i < 200; i++) {
		call_open(k, 100 + i);
		size_t bytes = tail_bytes(k->s->tail);
		longest = bytes > longest ? bytes : longest;
	}
	assert_true(longest > 3000 && longest < 4000 + 1000); /* and one group */
}

static void play(struct kit *k, struct dice_game *g, size_t entries)
{
	struct et_buffer entry = { 0 };

	for (size_t i = 0; i < entries; i++) {
		dice_entry(g, k, &entry);
		kit_apply_bytes(k, entry.data, entry.size);
	}
	et_buffer_release(&entry);
}

static void replay(struct et_state *s, const struct kit *k, uint64_t from)
{
	struct et_error error;

	for (uint64_t i = from; i < k->log_count; i++) {
		et_state_begin(s);
		assert_int_equal(et_state_apply(s, i + 1,
						(struct et_view){ k->log[i].data, k->log[i].size },
						&error),
				 0);
		assert_int_equal(et_state_commit(s, NULL, NULL, &error), 0);
	}
}

/* By files or batches, in many parts or few: the same index, byte for byte. */
static void how_it_is_written_does_not_matter(void **state)
{
	struct kit *k = *state;
	struct dice_game *g = malloc(sizeof(*g));
	static const size_t bulks[] = { 1, 10000, 1000000, SIZE_MAX };
	struct kit_sums first;

	assert_non_null(g);
	kit_cluster(k);
	kit_upgrade(k, 1, ET_COMMAND_SCHEMA);
	dice_begin(g, 21);
	play(k, g, 300);
	kit_sum(k->s, &first);
	for (size_t i = 0; i < ET_ARRAY_SIZE(bulks); i++) {
		struct kit_sums sums;
		char path[128];
		(void)snprintf(path, sizeof(path), "%s/other-%d", k->folder, (int)i);
		struct et_state *s = kit_open(path);
		tune(s, false, bulks[i]);
		replay(s, k, 0);
		kit_assert_same_index(s, k->s);
		kit_sum(s, &sums);
		kit_assert_equal(&first, &sums); /* and the state knows nothing of it */
		assert_true(bulks[i] > 1 || tail_files(s->tail) > 0);
		assert_true(bulks[i] < SIZE_MAX || tail_files(s->tail) == 0);
		(void)et_state_close(s);
	}
	free(g);
}

/* No file on a disk that is nearly full. */
static void held_it_makes_no_files(void **state)
{
	struct kit *k = *state;
	const struct et_state_query number = { .state = -1, .number = "+420111" };

	kit_cluster(k);
	tune(k->s, false, 1);
	et_state_index_hold(k->s, true);
	call_open(k, 5);
	assert_asked(kit_indexed(k->s), &number, 1, true);
	assert_int_equal(tail_files(k->s->tail), 0);
	et_state_index_hold(k->s, false);
	call_open(k, 6);
	assert_asked(kit_indexed(k->s), &number, 2, true);
	assert_int_equal(tail_files(k->s->tail), 1);
}

static void assert_index_made_anew_is_the_same(struct et_state *s)
{
	struct et_error error;
	uint8_t by_apply[32];
	uint8_t anew[32];
	bool more = true;

	kit_index_digest(s, by_apply);
	assert_int_equal(et_state_index_rebuild(s, &error), 0);
	while (more) {
		assert_int_equal(et_state_index_step(s, 5, &more, &error), 0);
	}
	kit_index_digest(s, anew);
	assert_memory_equal(by_apply, anew, 32);
}

/* Taken in by a process that died before the rows went: a key that came with one of them and goes
 * with a later group must not stay, although a key that comes and goes is otherwise left out. */
static void rows_that_are_written_again_lose_no_deletion(void **state)
{
	struct kit *k = *state;
	const struct et_state_query capturing = { .state = ET__RECORDING_STATE__CAPTURING };
	const char *const names[] = { "vip" };
	const struct et_state_query by_tag = { .state = -1, .tags = names, .tag_count = 1 };
	struct et_error error;

	kit_cluster(k);
	call_open(k, 5);
	call_open(k, 7);
	for (int again = 0; again < 2; again++) { /* in a file, in a batch */
		uint64_t id = 5 + 2 * (uint64_t)again;
		assert_int_equal(et_state_flush(k->s, &error), 0);
		struct tail_tuning tuning = tail_tuning(k->s->tail);
		tuning.rows_stay = true;
		tuning.bulk_bytes = again == 0 ? 1 : TAIL_BULK_BYTES;
		tail_tune(k->s->tail, &tuning);
		assert_int_equal(tag(k, id, "vip", false), 0);
		assert_int_equal(et_state_flush(k->s, &error),
				 0); /* it is in, and its row is there */
		k->s = et_state_close(k->s);
		k->s = kit_open(k->db);
		tune(k->s, true, TAIL_BULK_BYTES);
		assert_asked(et_state_view_open(k->s), &by_tag, 1, false);
		assert_int_equal(tag(k, id, "vip", true), 0);
		call_close(k, id);
		tune(k->s, false, TAIL_BULK_BYTES);
		assert_asked(kit_indexed(k->s), &by_tag, 0, true);
		assert_asked(kit_indexed(k->s), &capturing, 1 - (size_t)again, true);
		assert_index_made_anew_is_the_same(k->s);
	}
}

static void a_checkpoint_has_its_tail(void **state)
{
	struct kit *k = *state;
	const struct et_state_query number = { .state = -1, .number = "+420111" };
	struct et_error error;
	char path[128];
	uint64_t at;

	(void)snprintf(path, sizeof(path), "%s/checkpoint", k->folder);
	kit_cluster(k);
	tune(k->s, true, TAIL_BULK_BYTES);
	call_open(k, 5);
	assert_int_equal(et_state_checkpoint(k->s, path, &at, &error), 0);
	assert_int_equal(at, et_state_applied(k->s));
	call_open(k, 6); /* of the former database: not of the one that is taken */
	assert_asked(et_state_view_open(k->s), &number, 0, false);
	assert_int_equal(et_state_replace(k->s, path, &error), 0);
	assert_true(tail_bytes(k->s->tail) > 0);
	assert_asked(et_state_view_open(k->s), &number, 0, false);
	tune(k->s, false, TAIL_BULK_BYTES);
	assert_asked(kit_indexed(k->s), &number, 1, true);
	replay(k->s, k, at);
	assert_asked(kit_indexed(k->s), &number, 2, true);
}

enum { COPIES = 4 };

struct copier {
	struct et_state *s;
	char paths[COPIES][128];
	uint64_t begun[COPIES], at[COPIES];
	int rc;
	struct et_error error;
	atomic_bool ended;
};

static void *copier_main(void *arg)
{
	struct copier *c = arg;

	for (size_t i = 0; i < COPIES && c->rc == 0; i++) {
		c->begun[i] = et_state_applied(c->s);
		c->rc = et_state_checkpoint(c->s, c->paths[i], &c->at[i], &c->error);
	}
	atomic_store(&c->ended, true);
	return NULL;
}

/* As a kill at any moment would leave it: no record without its index, no index without its record,
 * and exactly what its index says was applied. */
static void checkpoints_beside_apply_are_whole(void **state)
{
	struct kit *k = *state;
	static struct copier c;
	struct dice_game *g = malloc(sizeof(*g));
	struct et_buffer entry = { 0 };
	struct kit_sums whole;
	pthread_t thread;

	assert_non_null(g);
	dice_begin(g, 11);
	kit_cluster(k);
	tune(k->s, false, 4096); /* many files, each behind a flush */
	c.s = k->s;
	for (size_t i = 0; i < COPIES; i++) {
		(void)snprintf(c.paths[i], sizeof(c.paths[i]), "%s/copy-%zu", k->folder, i);
	}
	assert_int_equal(pthread_create(&thread, NULL, copier_main, &c), 0);
	for (size_t i = 0; i < 200 || (!atomic_load(&c.ended) && i < 20000); i++) {
		dice_entry(g, k, &entry);
		kit_apply_bytes(k, entry.data, entry.size);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (c.rc < 0) {
		fail_msg("%s", c.error.text);
	}
	assert_true(c.at[COPIES - 1] > c.begun[0]); /* they were beside each other */
	kit_sum(k->s, &whole);
	for (size_t i = 0; i < COPIES; i++) {
		struct et_state *s = kit_open(c.paths[i]);
		struct kit_sums other;
		assert_true(c.at[i] >= c.begun[i]);
		assert_int_equal(et_state_applied(s), c.at[i]);
		assert_index_made_anew_is_the_same(s);
		replay(s, k, c.at[i]);
		kit_sum(s, &other);
		kit_assert_equal(&whole, &other);
		kit_assert_same_index(s, k->s);
		(void)et_state_close(s);
	}
	et_buffer_release(&entry);
	free(g);
}

/* What a build of the former layout left: its index is made anew, and no row of before it counts.
 */
static void an_index_of_the_former_layout_is_made_anew(void **state)
{
	struct kit *k = *state;
	struct et_error error;
	uint8_t right[32];
	uint8_t anew[32];
	uint8_t bytes[31] = { 0, 0, 0, 1, 0, 1 };
	const char key = (char)0xff;
	char path[128];
	char *failed = NULL;
	bool more = true;

	(void)snprintf(path, sizeof(path), "%s/other", k->folder);
	kit_cluster(k);
	for (uint64_t id = 5; id < 30; id++) {
		call_open(k, id);
		assert_int_equal(tag(k, id, "vip", false), 0);
	}
	kit_index_digest(k->s, right);
	tune(k->s, true, TAIL_BULK_BYTES);
	call_open(k, 77);
	call_close(k, 5);
	assert_true(tail_bytes(k->s->tail) > 0); /* these rows stay */
	rocksdb_put_cf(k->s->database->db, k->s->write_options, k->s->database->cf[CF_FIND], &key,
		       1, (const char *)bytes, sizeof(bytes), &failed);
	assert_null(failed);
	assert_int_equal(database_flush(k->s->database, path, &error), 0);
	k->s = et_state_close(k->s);
	k->s = kit_open(k->db);
	assert_int_equal(tail_bytes(k->s->tail), 0);
	assert_true(et_state_index_pending(k->s));
	while (more) {
		assert_int_equal(et_state_index_step(k->s, 7, &more, &error), 0);
	}
	kit_index_digest(k->s, anew);
	assert_memory_not_equal(anew, right, 32); /* something was told meanwhile */
	struct et_state *s = kit_open(path);
	replay(s, k, 0);
	kit_assert_same_index(s, k->s);
	(void)et_state_close(s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_not_in_yet_is_told),
		TEST(a_tag_that_went_is_no_hit),
		TEST(an_erasure_is_in_the_index_before_it_is_told),
		TEST(apply_waits_for_an_index_that_is_far_behind),
		TEST(how_it_is_written_does_not_matter),
		TEST(held_it_makes_no_files),
		TEST(rows_that_are_written_again_lose_no_deletion),
		TEST(a_checkpoint_has_its_tail),
		TEST(checkpoints_beside_apply_are_whole),
		TEST(an_index_of_the_former_layout_is_made_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
