/* Search against a plain list: every page, every filter, while the database grows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <poll.h>
#include <sys/resource.h>

#include "node/io/clock.h"
#include "raft/state/test/random.h"

#define CALLS 600
#define FLUSH_EACH 47 /* calls: more tables than are left alone */
#define T0 INT64_C(1700000000000000)

struct call {
	uint8_t id[16];
	int64_t start_us;
	char from[32], to[32], sip[32];
	uint64_t node, call;
	bool sealed;
};

static struct call calls[CALLS * 2];
static size_t call_count;

static void call_add(struct kit *k, struct dice *d)
{
	struct call *c = &calls[call_count];
	Et__Recording r = ET__RECORDING__INIT;

	c->start_us = T0 + (int64_t)dice_below(d, 300) * 1000; /* many at the same time */
	c->node = 1 + dice_below(d, 3);
	c->call = 1 + dice_below(d, 50);
	c->sealed = dice_one_in(d, 2);
	(void)snprintf(c->from, sizeof(c->from), "+420%u", (unsigned)dice_below(d, 40));
	(void)snprintf(c->to, sizeof(c->to), dice_one_in(d, 10) ? "%s" : "+421%s", c->from);
	(void)snprintf(c->sip, sizeof(c->sip), dice_one_in(d, 8) ? "%u@host.example" : "%u@host",
		       (unsigned)dice_below(d, 30)); /* one may begin another */
	for (size_t i = 0; i < 16; i += 8) {
		et_put64(c->id + i, dice_roll(d));
	}
	r.id = (ProtobufCBinaryData){ 16, c->id };
	r.call = kit_id(c->call);
	r.start_us = c->start_us;
	r.from = c->from;
	r.to = c->to;
	r.sip_call_id = c->sip;
	assert_int_equal(kit_tell_recording(k, c->node, c->sealed ? KIT_CLOSE : KIT_OPEN, &r), 0);
	call_count++;
}

static bool number_fits(const char *wanted, const char *number)
{
	size_t n = strlen(wanted);

	return n > 0 && wanted[n - 1] == '*' ? strncmp(wanted, number, n - 1) == 0
					     : strcmp(wanted, number) == 0;
}

static bool call_fits(const struct et_state_query *q, const struct call *c)
{
	return c->start_us >= q->from_us && (q->to_us == 0 || c->start_us < q->to_us) &&
	       (q->number == NULL || number_fits(q->number, c->from) ||
		number_fits(q->number, c->to)) &&
	       (q->site == NULL || strcmp(q->site, c->node == 1	  ? "prg"
						   : c->node == 2 ? "site-0"
								  : "site-1") == 0) &&
	       (q->node == 0 || q->node == c->node) &&
	       (q->state < 0 || (q->state == ET__RECORDING_STATE__SEALED) == c->sealed) &&
	       (q->sip_call_id == NULL || strcmp(q->sip_call_id, c->sip) == 0) &&
	       (q->call == NULL || memcmp(q->call, kit_id(c->call).data, 16) == 0);
}

static int newest_first(const void *a, const void *b)
{
	const struct call *x = a;
	const struct call *y = b;

	if (x->start_us != y->start_us) {
		return x->start_us > y->start_us ? -1 : 1;
	}
	return memcmp(x->id, y->id, 16);
}

struct hits {
	uint8_t ids[CALLS * 2][16];
	size_t count;
	size_t stop_at; /* 0: never */
};

static int hit(void *arg, const Et__Recording *r)
{
	struct hits *h = arg;

	assert_true(h->count < ET_ARRAY_SIZE(h->ids));
	memcpy(h->ids[h->count++], r->id.data, 16);
	return h->stop_at != 0 && h->count == h->stop_at ? 7 : 0;
}

static void query_random(struct dice *d, struct et_state_query *q, char number[32])
{
	static uint8_t id[16];
	static const char *const sites[] = { "prg", "site-0", "site-1", "nowhere" };
	static char sip[32];

	*q = (struct et_state_query){ .state = -1 };
	if (dice_one_in(d, 3)) {
		q->from_us = T0 + (int64_t)dice_below(d, 300) * 1000;
	}
	if (dice_one_in(d, 3)) {
		q->to_us = T0 + (int64_t)dice_below(d, 300) * 1000;
	}
	if (dice_one_in(d, 2)) {
		(void)snprintf(number, 32, dice_one_in(d, 2) ? "+420%u*" : "+420%u",
			       (unsigned)dice_below(d, 40));
		q->number = dice_one_in(d, 10) ? "*" : dice_one_in(d, 10) ? "+42*" : number;
	}
	q->site = dice_one_in(d, 4) ? sites[dice_below(d, 4)] : NULL;
	q->node = dice_one_in(d, 4) ? 1 + dice_below(d, 3) : 0;
	q->state = dice_one_in(d, 4) ? (int)dice_below(d, 2) : -1;
	if (dice_one_in(d, 8)) {
		memcpy(id, kit_id(1 + dice_below(d, 50)).data, 16);
		q->call = id;
	}
	if (dice_one_in(d, 8)) {
		(void)snprintf(sip, sizeof(sip), "%u@host", (unsigned)dice_below(d, 30));
		q->sip_call_id = sip;
	}
	q->limit = 1 + (uint32_t)dice_below(d, 60);
}

/* Every query over all its pages equals the list that was filtered and sorted by hand. What it
 * reads lies in memory, in tables that were just flushed, and in some that were merged. */
static void pages_equal_the_sorted_list(void **state)
{
	struct kit *k = *state;
	struct dice d = { 3 };
	struct hits *h = malloc(sizeof(*h));

	assert_non_null(h);
	call_count = 0;
	kit_cluster(k);
	while (call_count < CALLS) {
		call_add(k, &d);
		if (call_count % FLUSH_EACH == 0) {
			assert_int_equal(et_state_flush(k->s, NULL), 0);
		}
	}
	qsort(calls, call_count, sizeof(calls[0]), newest_first);
	struct et_state_view *v = kit_indexed(k->s);
	assert_non_null(v);
	for (int round = 0; round < 400; round++) {
		struct et_state_query q;
		char number[32];
		char cursor[ET_STATE_CURSOR_SIZE] = "";
		h->count = h->stop_at = 0;
		query_random(&d, &q, number);
		do {
			size_t before = h->count;
			q.cursor = cursor;
			struct et_state_found next;
			assert_int_equal(et_state_search(v, &q, hit, h, &next), 0);
			assert_true(h->count - before <= q.limit);
			memcpy(cursor, next.cursor, sizeof(cursor));
		} while (cursor[0] != '\0');
		size_t at = 0;
		for (size_t i = 0; i < call_count; i++) {
			if (call_fits(&q, &calls[i])) {
				assert_true(at < h->count);
				assert_memory_equal(h->ids[at], calls[i].id, 16);
				at++;
			}
		}
		assert_int_equal(at, h->count);
	}
	(void)et_state_view_close(v);
	free(h);
}

/* What was there at the first page is given once, whatever comes in between. */
static void cursors_are_stable_while_calls_come_in(void **state)
{
	struct kit *k = *state;
	struct dice d = { 4 };
	struct hits *h = malloc(sizeof(*h));
	char number[] = "+420*";

	assert_non_null(h);
	for (int round = 0; round < 2; round++) {
		struct et_state_query q = { .state = -1, .limit = 25 };
		char cursor[ET_STATE_CURSOR_SIZE] = "";
		q.number = round == 0 ? NULL : number;
		if (round == 0) {
			call_count = 0;
			kit_cluster(k);
			while (call_count < CALLS) {
				call_add(k, &d);
			}
		}
		size_t first = call_count;
		h->count = h->stop_at = 0;
		do {
			struct et_state_view *v = kit_indexed(k->s);
			struct et_state_found next;
			q.cursor = cursor;
			assert_int_equal(et_state_search(v, &q, hit, h, &next), 0);
			memcpy(cursor, next.cursor, sizeof(cursor));
			(void)et_state_view_close(v);
			for (int i = 0; i < 5 && call_count < ET_ARRAY_SIZE(calls); i++) {
				call_add(k, &d);
			}
		} while (cursor[0] != '\0');
		for (size_t i = 0; i < first; i++) {
			size_t times = 0;
			for (size_t n = 0; n < h->count; n++) {
				times += memcmp(h->ids[n], calls[i].id, 16) == 0;
			}
			bool wanted = q.number == NULL || number_fits(q.number, calls[i].from) ||
				      number_fits(q.number, calls[i].to);
			assert_int_equal(times, wanted);
		}
	}
	free(h);
}

static void foreign_cursors_are_refused(void **state)
{
	struct kit *k = *state;
	struct dice d = { 4 };
	struct hits *h = calloc(1, sizeof(*h));
	struct et_state_query q = { .state = -1, .limit = 3 };
	struct et_state_found page;
	struct et_state_found unused;
	char *cursor = page.cursor;

	assert_non_null(h);
	call_count = 0;
	kit_cluster(k);
	while (call_count < 10) {
		call_add(k, &d);
	}
	struct et_state_view *v = kit_indexed(k->s);
	assert_int_equal(et_state_search(v, &q, hit, h, &page), 0);
	assert_int_equal(h->count, 3);
	q.cursor = cursor;
	q.node = 1; /* another query */
	assert_int_equal(et_state_search(v, &q, hit, h, &unused), ET_EMALFORMED);
	q.node = 0;
	q.cursor = "x";
	assert_int_equal(et_state_search(v, &q, hit, h, &unused), ET_EMALFORMED);
	q.cursor = "%%%%";
	assert_int_equal(et_state_search(v, &q, hit, h, &unused), ET_EMALFORMED);
	cursor[strlen(cursor) - 1] = '\0';
	q.cursor = cursor;
	assert_int_equal(et_state_search(v, &q, hit, h, &unused), ET_EMALFORMED);
	/* The callback may end the page; the cursor goes on behind it. */
	q.cursor = NULL;
	h->count = 0;
	h->stop_at = 2;
	assert_int_equal(et_state_search(v, &q, hit, h, &page), 7);
	assert_int_equal(h->count, 2);
	h->stop_at = 0;
	q.cursor = cursor;
	q.limit = 1000;
	/* The limit is no part of the query: pages may differ in size. */
	assert_int_equal(et_state_search(v, &q, hit, h, &unused), 0);
	assert_int_equal(h->count, 10);
	char *big = malloc(2000);
	assert_non_null(big);
	memset(big, '1', 1999);
	big[1999] = '\0';
	q = (struct et_state_query){ .state = -1, .number = big };
	assert_int_equal(et_state_search(v, &q, hit, h, &unused), 0);
	assert_int_equal(h->count, 10);
	free(big);
	(void)et_state_view_close(v);
	free(h);
}

/* Whatever their order in the text: what a page looks at follows from the shorter of two lists. */
static void the_rarer_word_leads(void **state)
{
	static const char *const texts[] = { "alice bob", "bob alice" };
	struct kit *k = *state;
	struct et_state_query q = { .state = -1, .site = "prg", .limit = 50 };
	struct et_state_found page;
	struct dice d = { 6 };

	kit_cluster(k);
	for (uint64_t i = 0; i < 1000; i++) {
		Et__Recording r = ET__RECORDING__INIT;
		uint8_t id[16];
		char from[] = "alice@host";
		char to[16];
		(void)snprintf(to, sizeof(to), i % 100 == 7 ? "bob@host" : "4711");
		et_put64(id, dice_roll(&d));
		et_put64(id + 8, i);
		r.id = r.call = (ProtobufCBinaryData){ 16, id };
		r.start_us = T0 + (int64_t)i * 1000000;
		r.from = from;
		r.to = to;
		assert_int_equal(kit_tell_recording(k, 1, KIT_CLOSE, &r), 0);
	}
	assert_int_equal(et_state_flush(k->s, NULL), 0); /* sizes are those of tables */
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		struct et_state_view *v = kit_indexed(k->s);
		struct hits h = { .count = 0 };
		q.text = texts[i];
		int rc = et_state_search(v, &q, hit, &h, &page);
		(void)et_state_view_close(v);
		assert_int_equal(rc, 0);
		assert_int_equal(h.count, 10);
		assert_in_range(page.looked_at, 10, 500);
	}
}

/* A thread of this process that compacts and has the lowest priority. */
static bool compaction_gives_way(void)
{
	DIR *tasks = opendir("/proc/self/task");
	bool found = false;

	assert_non_null(tasks);
	for (struct dirent *d; !found && (d = readdir(tasks)) != NULL;) {
		char path[300];
		char name[32] = "";
		(void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", d->d_name);
		FILE *f = fopen(path, "re");
		if (f == NULL) {
			continue; /* "..", or it has ended */
		}
		bool is_one = fgets(name, sizeof(name), f) != NULL &&
			      strncmp(name, "rocksdb:low", 11) == 0;
		(void)fclose(f);
		found = is_one &&
			getpriority(PRIO_PROCESS, (id_t)strtoul(d->d_name, NULL, 10)) == 19;
	}
	(void)closedir(tasks);
	return found;
}

static void compactions_give_way_to_all_else(void **state)
{
	struct kit *k = *state;
	struct dice d = { 5 };

	call_count = 0;
	kit_cluster(k);
	while (call_count < CALLS) { /* more flushes than are left as they are */
		call_add(k, &d);
		if (call_count % FLUSH_EACH == 0) {
			assert_int_equal(et_state_flush(k->s, NULL), 0);
		}
	}
	int64_t until = et_clock_mono_us() + INT64_C(30000000);
	while (!compaction_gives_way()) {
		assert_true(et_clock_mono_us() < until);
		(void)poll(NULL, 0, 10); /* it runs beside us */
	}
	assert_true(getpriority(PRIO_PROCESS, 0) < 19); /* ours is as it was */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(pages_equal_the_sorted_list),
		TEST(cursors_are_stable_while_calls_come_in),
		TEST(foreign_cursors_are_refused),
		TEST(the_rarer_word_leads),
		TEST(compactions_give_way_to_all_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
