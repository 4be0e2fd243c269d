#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/catalog/test/member.h"

#define S INT64_C(1000000)
#define YEAR (INT64_C(365) * 86400 * S)

static void timing_must_fit_the_distance(void **state)
{
	(void)state;
	assert_true(et_cat_timing_fits(1000, 50, 0)); /* not known yet */
	assert_true(et_cat_timing_fits(1000, 50, 50000));
	assert_false(et_cat_timing_fits(1000, 50, 50001)); /* longer than a heartbeat */
	assert_false(et_cat_timing_fits(1000, 50, 100000));
	assert_true(et_cat_timing_fits(3000, 300, 100000));
	assert_true(et_cat_timing_fits(3000, 300, 300000));
	assert_false(et_cat_timing_fits(2999, 300, 300000)); /* not ten in an election timeout */
}

static void a_busy_moment_is_no_distance(void **state)
{
	int64_t rtt = et_cat_rtt_add(0, 900);

	(void)state;
	assert_int_equal(rtt, 900);
	rtt = et_cat_rtt_add(rtt, 100900); /* once: an eighth of it */
	assert_int_equal(rtt, 13400);
	assert_int_equal(et_cat_rtt_add(rtt, 800), 800);
	for (int i = 0; i < 40; i++) { /* a line that became longer is seen in the end */
		rtt = et_cat_rtt_add(rtt, 100000);
	}
	assert_true(rtt > 99000 && rtt <= 100000);
}

static void a_majority_must_agree(void **state)
{
	int64_t offset = -1;

	(void)state;
	assert_true(et_cat_clock_agree((int64_t[]){ 0 }, 1, 1, &offset));
	assert_int_equal(offset, 0);
	assert_true(et_cat_clock_agree((int64_t[]){ 0, S }, 2, 3, &offset));
	assert_true(offset == 0 || offset == S);
	/* One clock is a year ahead: it moves nothing, also when it is the asker's own. */
	assert_true(et_cat_clock_agree((int64_t[]){ 0, S / 10, YEAR }, 3, 3, &offset));
	assert_true(offset <= S / 10);
	assert_true(et_cat_clock_agree((int64_t[]){ 0, -YEAR, S / 10 - YEAR }, 3, 3, &offset));
	assert_true(offset <= S / 10 - YEAR && offset >= -YEAR);
	/* No two agree. */
	assert_false(et_cat_clock_agree((int64_t[]){ 0, 5 * S, 10 * S }, 3, 3, &offset));
	assert_false(et_cat_clock_agree((int64_t[]){ 0, 3 * S }, 2, 3, &offset));
	/* Half is no majority. */
	assert_false(et_cat_clock_agree((int64_t[]){ 0, 0, 9 * S, 9 * S }, 4, 4, &offset));
	assert_false(et_cat_clock_agree((int64_t[]){ 0 }, 1, 3, &offset));
	assert_false(et_cat_clock_agree(NULL, 0, 1, &offset));
	/* Exactly two seconds still agree. */
	assert_true(et_cat_clock_agree((int64_t[]){ 0, 2 * S, 50 * S }, 3, 3, &offset));
	assert_false(et_cat_clock_agree((int64_t[]){ 0, 2 * S + 1, 50 * S }, 3, 3, &offset));
	/* Far out, without overflow. */
	assert_false(
		et_cat_clock_agree((int64_t[]){ 0, INT64_MAX / 2, INT64_MIN / 2 }, 3, 3, &offset));
}

static int64_t cluster_time(struct cluster *c)
{
	struct et_catalog_status s;

	et_catalog_status(c->nodes[0].catalog, &s);
	return s.cluster_time_us;
}

static void cluster_time_goes_on(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));
	struct answer a = { 0 };

	(void)state;
	cluster_open(c, 1);
	cluster_form(c);
	assert_int_equal(cluster_time(c), 0); /* There is no cluster yet. */
	init_cluster(c, &a);
	RUN_UNTIL(c, a.calls == 1);
	assert_int_equal(a.code, 0);
	RUN_UNTIL(c, cluster_time(c) != 0);
	int64_t first = cluster_time(c);
	assert_true(first <= et_clock_now_us() && first > et_clock_now_us() - 10 * S);
	(void)must_propose(&c->nodes[0]); /* Not idle: within a second or so. */
	RUN_UNTIL(c, cluster_time(c) > first);
	int64_t last = cluster_time(c);

	catalog_close(&c->nodes[0]);
	catalog_open(&c->nodes[0]);
	assert_true(cluster_time(c) >= last); /* It is in the state. */
	cluster_close(c);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timing_must_fit_the_distance),
		cmocka_unit_test(a_busy_moment_is_no_distance),
		cmocka_unit_test(a_majority_must_agree),
		cmocka_unit_test(cluster_time_goes_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
