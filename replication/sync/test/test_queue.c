/* Limits of transfers, and what waits for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>

#include "replication/sync/sync_internal.h"
#include "replication/sync/test/kit.h"

static bool in_force(struct cluster *c, const struct node *n)
{
	return status_of(n).limits_revision == c->state.policy_revision;
}

/* A node at prg and one at brq, which heeds the policy. */
static void begin_under(struct cluster *c, const char *text, struct node **prg, struct node **brq)
{
	*prg = node_add(c, "prg");
	*brq = node_add(c, "brq");
	policy_set(c, text);
	sync_start(*prg);
	sync_start(*brq);
	run_until(c, in_force(c, *brq));
}

static struct et_sync_queued waiting(const struct node *n, enum et_sync_class klass,
				     enum et_sync_why why)
{
	return status_of(n).queue.rows[klass][why];
}

static uint64_t waiting_all(const struct node *n)
{
	const struct et_sync_status st = status_of(n);
	uint64_t segments = 0;
	for (int k = 0; k < ET_SYNC_CLASSES; k++) {
		for (int w = 0; w < ET_SYNC_WHYS; w++) {
			segments += st.queue.rows[k][w].segments;
		}
	}
	return segments;
}

/* Until all of them are at `to`; how long that took. */
static int64_t arrive(struct cluster *c, const struct node *to, size_t first, size_t count)
{
	int64_t begin = et_clock_mono_us();
	for (size_t i = first; i < first + count; i++) {
		run_until(c, fake_has(&c->state, i, to->id));
	}
	return et_clock_mono_us() - begin;
}

static void keeps_to_a_limit_with_one_segment_and_with_many(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;

	begin_under(c, "  - {to: brq, rate: 400kB}\n", &prg, &brq);
	size_t segment = segment_seal(c, prg, 50, 16000);  /* 800 kB: two seconds */
	assert_true(arrive(c, brq, segment, 1) > 1400000); /* a burst of a quarter of a second */
	assert_same_file(c, prg, brq, segment);

	/* As many bytes in segments that are smaller than the first window of each. */
	for (int i = 0; i < 40; i++) {
		segment = segment_seal(c, prg, 2, 10000);
	}
	assert_true(arrive(c, brq, segment - 39, 40) > 1400000);
	assert_int_equal(status_of(brq).queue.gone_segments, 0);

	/* The other way nothing is limited, and what is taken away holds no more. */
	int64_t begin = et_clock_mono_us();
	segment = segment_seal(c, brq, 200, 16000);
	run_until(c, fake_has(&c->state, segment, prg->id));
	policy_set(c, "  - {to: prg, rate: 64KiB}\n");
	run_until(c, in_force(c, brq));
	segment = segment_seal(c, prg, 200, 16000); /* 3.2 MB */
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_true(et_clock_mono_us() - begin < 8000000);
}

static void a_listener_does_not_wait_for_a_limit(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct fetched f;

	begin_under(c, "  - {to: brq, rate: pause}\n", &prg, &brq);
	size_t segment = segment_seal(c, prg, 40, 16000);
	run_until(c, waiting(brq, ET_SYNC_NEW, ET_SYNC_PAUSED).segments == 1);
	fetch(c, brq, segment, &f);
	run_until(c, is_fetched(&f, 1));
	assert_int_equal(f.code, 0);
	assert_false(fake_has(&c->state, segment, brq->id));

	/* What it says of it. */
	struct et_sync_status st = status_of(brq);
	assert_int_equal(st.queue.rows[ET_SYNC_NEW][ET_SYNC_PAUSED].bytes,
			 c->state.segments[segment].expect.size_bytes);
	assert_int_equal(st.queue.rows[ET_SYNC_NEW][ET_SYNC_PAUSED].oldest_us, segment + 1);
	assert_int_equal(st.queue.oldest_count, 1);
	assert_memory_equal(st.queue.oldest[0].recording,
			    c->state.segments[segment].expect.recording, 16);
	assert_int_equal(st.queue.oldest[0].why, ET_SYNC_PAUSED);
	assert_int_equal(st.queue.oldest[0].from, prg->id);
	assert_int_equal(waiting_all(prg), 0);

	policy_set(c, "  - {to: brq, rate: none}\n");
	run_until(c, fake_has(&c->state, segment, brq->id));
	run_until(c, waiting_all(brq) == 0);
}

static void what_is_paused_still_follows_the_catalogue(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;

	begin_under(c, "  - {to: brq, rate: pause}\n", &prg, &brq);
	size_t segment = segment_seal(c, prg, 3, 1000);
	run_until(c, waiting(brq, ET_SYNC_NEW, ET_SYNC_PAUSED).segments == 1);

	/* Its only copy rots, and brq hears of it. */
	Et__Command command = ET__COMMAND__INIT;
	Et__CopyBad bad = ET__COPY_BAD__INIT;
	Et__Copy copy = ET__COPY__INIT;
	fake_copy_set(&c->state, segment, prg->id, ET__COPY__STATE__BAD);
	copy.recording = (ProtobufCBinaryData){ 16, c->state.segments[segment].expect.recording };
	copy.generation = copy.segment = 1;
	bad.copy = &copy;
	command.body_case = ET__COMMAND__BODY_COPY_BAD;
	command.copy_bad = &bad;
	tell_all(c, &command);
	run_until(c, waiting(brq, ET_SYNC_REPAIR, ET_SYNC_NO_COPY).segments == 1);
	assert_int_equal(status_of(brq).queue.gone_segments, 1);
}

static void a_pause_stops_what_is_under_way_and_loses_nothing_of_it(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;

	begin_under(c, "  - {to: brq, rate: 200kB}\n", &prg, &brq);
	size_t segment = segment_seal(c, prg, 60, 16000); /* 960 kB: five seconds */
	run_until(c, status_of(brq).queue.oldest_count == 1 &&
			     status_of(brq).queue.oldest[0].done_bytes > 100000);
	policy_set(c, "  - {to: brq, rate: pause}\n");
	run_until(c, waiting(brq, ET_SYNC_NEW, ET_SYNC_PAUSED).segments == 1);
	assert_int_equal(status_of(brq).transfers, 0);
	uint64_t had = site_of(brq, "prg").received_bytes;
	assert_true(had < 900000);

	policy_set(c, "  - {to: brq, rate: none}\n");
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
	/* It went on where it was, but for what was on its way to the disk. */
	uint64_t whole = c->state.segments[segment].expect.size_bytes;
	run_until(c, site_of(brq, "prg").received_bytes >= whole);
	assert_in_range(site_of(brq, "prg").received_bytes, whole, whole + 300000);
}

static void a_long_queue_forgets_nothing(void **state)
{
	enum { ALL = ET_SYNC_NEAR_MAX + 60 }; /* more than hold what a look found */
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;

	begin_under(c, "  - {to: brq, rate: pause}\n", &prg, &brq);
	size_t first = segment_seal(c, prg, 1, 100);
	for (size_t i = first + 1; i < first + ALL; i++) {
		(void)segment_seal(c, prg, 1, 100);
	}
	run_until(c, waiting(brq, ET_SYNC_NEW, ET_SYNC_PAUSED).segments == ALL);
	assert_int_equal(status_of(brq).queue.oldest[0].from, prg->id);
	assert_int_equal(waiting_all(brq), ALL);
	policy_set(c, "  - {to: brq, rate: none}\n");
	(void)arrive(c, brq, first, ALL);
	run_until(c, waiting_all(brq) == 0 && is_settled(brq));
}

static void fetches_nothing_before_it_knows_the_limits(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	policy_set(c, "  - {to: brq, rate: pause}\n");
	size_t segment = segment_seal(c, prg, 1, 100);
	c->state.policy_unread = true;
	sync_start(prg);
	sync_start(brq);
	run_until(c, waiting(brq, ET_SYNC_NEW, ET_SYNC_PAUSED).segments == 1);
	assert_int_equal(status_of(brq).limits_revision, 0);
	pthread_mutex_lock(&c->state.mutex);
	c->state.policy_unread = false;
	pthread_mutex_unlock(&c->state.mutex);
	run_until(c, in_force(c, brq));
	assert_false(fake_has(&c->state, segment, brq->id));
	policy_set(c, "  - {to: brq, rate: 1 furlong}\n"); /* What cannot be read at a start ... */
	sync_stop(brq);
	sync_stop(prg);
	sync_start(prg);
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id)); /* ... holds nothing up. */
	run_until(c, status_of(brq).limits_error[0] != '\0');
}

static void a_slow_class_does_not_hold_up_the_others(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	size_t slow[12];

	/* Bad copies make them repairs, and all transfers are theirs. */
	policy_set(c, "  - {to: brq, rate: 64KiB}\n");
	for (size_t i = 0; i < ET_ARRAY_SIZE(slow); i++) {
		slow[i] = segment_seal(c, prg, 100, 16000);
		fake_copy_set(&c->state, slow[i], brq->id, ET__COPY__STATE__BAD);
	}
	sync_start(prg);
	sync_start(brq);
	run_until(c, status_of(brq).transfers == 8);
	policy_set(c, "  - {to: brq, rate: 64KiB, class: repair}\n"); /* These may trickle only. */
	run_until(c, in_force(c, brq) && waiting(brq, ET_SYNC_REPAIR, ET_SYNC_TURN).segments > 0 &&
			     status_of(brq).transfers == 4);
	size_t fresh = segment_seal(c, prg, 100, 16000);
	assert_true(arrive(c, brq, fresh, 1) < 10000000);
	assert_false(fake_has(&c->state, slow[0], brq->id));
	assert_in_range(waiting(brq, ET_SYNC_REPAIR, ET_SYNC_TURN).segments, 8, 12);
}

static void a_policy_that_cannot_be_read_changes_nothing(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;

	begin_under(c, "  - {to: brq, rate: pause}\n", &prg, &brq);
	policy_set(c, "  - {to: brq, rate: none, window: \"daily Mars/Base\"}\n");
	run_until(c, status_of(brq).limits_error[0] != '\0');
	assert_non_null(strstr(status_of(brq).limits_error, "Mars/Base"));
	assert_int_equal(status_of(brq).limits_revision, 1);
	size_t segment = segment_seal(c, prg, 1, 100);
	run_until(c, waiting(brq, ET_SYNC_NEW, ET_SYNC_PAUSED).segments == 1);
	policy_set(c, "  - {to: brq, rate: none}\n");
	run_until(c, fake_has(&c->state, segment, brq->id));
	run_until(c, status_of(brq).limits_error[0] == '\0');
}

static void the_nodes_of_a_site_share_its_limit(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *one = node_add(c, "brq");
	struct node *two = node_add(c, "brq");
	size_t first = 0;

	c->tuning.stand_in_ms = 60000;
	policy_set(c, "  - {to: brq, rate: 800kB}\n");
	sync_start(prg);
	sync_start(one);
	sync_start(two);
	run_until(c, in_force(c, one) && in_force(c, two));
	/* By hash to one or the other: 400 kB/s each. */
	for (int i = 0; i < 16; i++) {
		size_t segment = segment_seal(c, prg, 10, 10000); /* 1.6 MB together */
		first = i == 0 ? segment : first;
	}
	int64_t begin = et_clock_mono_us();
	for (size_t i = first; i < first + 16; i++) {
		run_until(c, fake_has(&c->state, i, one->id) || fake_has(&c->state, i, two->id));
	}
	assert_true(et_clock_mono_us() - begin > 1200000);
}

static void says_why_each_is_not_moving(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	/* Nobody answers for it. */
	c->tuning.backoff_ms = 60000;
	size_t unheard = segment_seal(c, prg, 1, 100);
	sync_start(brq);
	run_until(c, waiting(brq, ET_SYNC_NEW, ET_SYNC_NO_ROUTE).segments == 1);
	assert_int_equal(status_of(brq).queue.gone_segments, 0);

	/* Nobody has it. */
	size_t gone = segment_seal(c, prg, 1, 100);
	run_until(c, waiting_all(brq) == 2);
	fake_copy_set(&c->state, gone, prg->id, ET__COPY__STATE__BAD);
	et_sync_on_replaced(brq->sync);
	sync_stop(brq);
	sync_start(brq);
	run_until(c, status_of(brq).queue.gone_segments == 1 && waiting_all(brq) == 2);
	bool repair = waiting(brq, ET_SYNC_REPAIR, ET_SYNC_NO_COPY).segments == 1;
	assert_true(repair);
	sync_stop(brq);
	fake_copy_set(&c->state, gone, prg->id, ET__COPY__STATE__VERIFIED);

	/* There is no room for it. */
	struct rlimit old;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	size_t large = segment_seal(c, prg, 20, 16000);
	struct rlimit low = { .rlim_cur = 100000, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	sync_start(prg);
	sync_start(brq);
	run_until(c, status_of(brq).disk_full && waiting_all(brq) >= 1 &&
			     waiting(brq, ET_SYNC_NEW, ET_SYNC_DISK_FULL).segments >= 1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	sync_stop(brq);

	/* What comes is not what was recorded. */
	char path[600];
	path_of(c, prg, large, path);
	/* Behind what has arrived already. */
	flip(path, c->state.segments[large].expect.size_bytes - 40000);
	sync_start(brq);
	run_until(c, waiting(brq, ET_SYNC_NEW, ET_SYNC_WRONG_HASH).segments == 1 &&
			     waiting_all(brq) == 1);
	assert_true(fake_has(&c->state, unheard, brq->id) && fake_has(&c->state, gone, brq->id));
	assert_int_equal(status_of(brq).queue.oldest[0].code, ET_EINTEGRITY);
}

static void what_is_not_committed_is_said_to_wait_for_that(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	c->refuse_quorum = 1000;
	sync_start(prg);
	sync_start(brq);
	size_t segment = segment_seal(c, prg, 1, 100);
	run_until(c, waiting(brq, ET_SYNC_NEW, ET_SYNC_COMMIT).segments == 1);
	c->refuse_quorum = 0;
	run_until(c, fake_has(&c->state, segment, brq->id));
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cluster_open, cluster_close)
	const struct CMUnitTest tests[] = {
		TEST(keeps_to_a_limit_with_one_segment_and_with_many),
		TEST(a_listener_does_not_wait_for_a_limit),
		TEST(a_pause_stops_what_is_under_way_and_loses_nothing_of_it),
		TEST(what_is_paused_still_follows_the_catalogue),
		TEST(a_long_queue_forgets_nothing),
		TEST(fetches_nothing_before_it_knows_the_limits),
		TEST(a_slow_class_does_not_hold_up_the_others),
		TEST(a_policy_that_cannot_be_read_changes_nothing),
		TEST(the_nodes_of_a_site_share_its_limit),
		TEST(says_why_each_is_not_moving),
		TEST(what_is_not_committed_is_said_to_wait_for_that),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]); /* One of them, by name. */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
