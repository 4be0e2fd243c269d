/* Search over a database that lies on the disk, so that sizes decide how it is searched: whichever
 * plan it is, cold and warm, the answers are those of a plain list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/test/random.h"

#define CALLS 6000
#define QUERIES 200
#define T0 INT64_C(1700000000000000)
#define MINUTE INT64_C(60000000)

struct call {
	uint8_t id[16];
	int64_t start_us, end_us;
	char from[32], to[64];
	uint64_t node;
};

/* Most call a user by words: some are frequent, and the two wings of the house seldom come
 * together, so that a long list gives little. */
static const char *const words[][3] = {
	{ "anna", "jan", "eva" },
	{ "front", "back", "upper" },
	{ "north", "south", "north.south" },
};

static struct call calls[CALLS];

static int newest_first(const void *a, const void *b)
{
	const struct call *x = a;
	const struct call *y = b;

	if (x->start_us != y->start_us) {
		return x->start_us > y->start_us ? -1 : 1;
	}
	return memcmp(x->id, y->id, 16);
}

/* Two months, half a day and more between the calls of one number; ids in no order. */
static void calls_make(struct kit *k, struct dice *d)
{
	for (size_t i = 0; i < CALLS; i++) {
		struct call *c = &calls[i];
		Et__Recording r = ET__RECORDING__INIT;
		c->start_us = T0 + (int64_t)i * 29 * MINUTE;
		c->end_us = c->start_us + (int64_t)dice_below(d, 1200) * 1000000;
		c->node = 1 + dice_below(d, 20) / 9; /* the third has a tenth of them */
		(void)snprintf(c->from, sizeof(c->from), "+4206%02u%04u",
			       (unsigned)dice_below(d, 12), (unsigned)dice_below(d, 300));
		(void)snprintf(c->to, sizeof(c->to), "%u", 4000 + (unsigned)dice_below(d, 50));
		if (!dice_one_in(d, 5)) {
			(void)snprintf(c->to, sizeof(c->to), "%s.%s.%s",
				       words[0][dice_below(d, 1 + dice_below(d, 3))],
				       words[1][dice_below(d, 3)],
				       words[2][dice_one_in(d, 60) ? 2 : dice_below(d, 2)]);
		}
		for (size_t b = 0; b < 16; b += 8) {
			et_put64(c->id + b, dice_roll(d));
		}
		r.id = r.call = (ProtobufCBinaryData){ 16, c->id };
		r.start_us = c->start_us;
		r.end_us = c->end_us;
		r.from = c->from;
		r.to = c->to;
		assert_int_equal(kit_tell_recording(k, c->node, KIT_CLOSE, &r), 0);
	}
	qsort(calls, CALLS, sizeof(calls[0]), newest_first);
}

static const char *site_of(uint64_t node)
{
	return node == 1 ? "prg" : node == 2 ? "site-0" : "site-1";
}

static bool number_fits(const char *wanted, const char *number)
{
	size_t n = strlen(wanted);
	size_t size = strlen(number);

	if (wanted[n - 1] == '*') {
		return strncmp(wanted, number, n - 1) == 0;
	}
	if (wanted[0] == '*') {
		return size >= n - 1 && strcmp(number + size - (n - 1), wanted + 1) == 0;
	}
	return strcmp(wanted, number) == 0;
}

/* Words of the lists, with something between them. */
static bool words_fit(const char *text, const char *to)
{
	char list[64];
	char *at = list;
	char *word;

	(void)snprintf(list, sizeof(list), "%s", text);
	while ((word = strsep(&at, " .")) != NULL) {
		if (strstr(to, word) == NULL) {
			return false;
		}
	}
	return true;
}

static bool call_fits(const struct et_state_query *q, const struct call *c)
{
	int64_t duration = c->end_us - c->start_us;

	return c->start_us >= q->from_us && (q->to_us == 0 || c->start_us < q->to_us) &&
	       (q->number == NULL || number_fits(q->number, c->from) ||
		number_fits(q->number, c->to)) &&
	       (q->site == NULL || strcmp(q->site, site_of(c->node)) == 0) &&
	       (q->text == NULL || words_fit(q->text, c->to)) && duration >= q->duration_min_us &&
	       (q->duration_max_us == 0 || duration <= q->duration_max_us);
}

/* Two to four words, alone or with another condition. */
static void text_random(struct dice *d, struct et_state_query *q, char text[64])
{
	size_t first = dice_below(d, 3);
	size_t size = 0;

	for (size_t w = first; w < 3; w++) {
		size += (size_t)snprintf(
			text + size, 64 - size, "%s%s", w > first ? " " : "",
			words[w][w == 2 && !dice_one_in(d, 4) ? 2 : dice_below(d, 3)]);
	}
	q->text = text;
	q->site = dice_one_in(d, 2) ? site_of(1 + dice_below(d, 3)) : NULL;
	q->duration_min_us = dice_one_in(d, 4) ? INT64_C(600000000) : 0;
	q->number = dice_one_in(d, 4) ? "+4206*" : NULL;
}

static void duration_random(struct dice *d, struct et_state_query *q)
{
	int64_t least = dice_one_in(d, 3) ? 0 : (int64_t)(256 + dice_below(d, 800)) * 1000000;
	int64_t most = least + (int64_t)(1 + dice_below(d, least == 0 ? 8 : 800)) * 1000000;

	q->duration_min_us = least;
	q->duration_max_us = least == 0 || dice_one_in(d, 2) ? most : 0;
	q->site = dice_one_in(d, 4) ? site_of(1 + dice_below(d, 3)) : NULL;
}

static void query_random(struct dice *d, struct et_state_query *q, char number[64])
{
	const struct call *c = &calls[dice_below(d, CALLS)];
	int64_t month = INT64_C(43200) * MINUTE;

	*q = (struct et_state_query){ .state = -1, .limit = 5 + (uint32_t)dice_below(d, 90) };
	if (!dice_one_in(d, 3)) {
		q->from_us = T0 + (int64_t)dice_below(d, 50) * 1440 * MINUTE;
		q->to_us = q->from_us + month / (1 + (int64_t)dice_below(d, 8));
	}
	switch (dice_below(d, 9)) {
	case 0:
		(void)snprintf(number, 32, "%s", c->from);
		break;
	case 1:
		(void)snprintf(number, 32, "*%s", c->from + 7 + dice_below(d, 3));
		break;
	case 2:
		q->site = site_of(c->node);
		return;
	case 3:
	case 4:
		duration_random(d, q);
		return;
	case 5:
	case 6:
		text_random(d, q, number);
		return;
	default:
		(void)snprintf(number, 32, "%.*s*", 3 + (int)dice_below(d, 7), c->from);
		break;
	}
	q->number = number;
}

struct hits {
	uint8_t ids[CALLS][16];
	size_t count;
};

static int hit(void *arg, const Et__Recording *r)
{
	struct hits *h = arg;

	assert_true(h->count < CALLS);
	memcpy(h->ids[h->count++], r->id.data, 16);
	return 0;
}

static void pages_read(const struct et_state_view *v, struct et_state_query *q, struct hits *h)
{
	struct et_state_found found;
	char cursor[ET_STATE_CURSOR_SIZE];

	h->count = 0;
	do {
		size_t before = h->count;
		assert_int_equal(et_state_search(v, q, hit, h, &found), 0);
		assert_true(found.complete && h->count - before <= q->limit);
		assert_int_equal(found.found, h->count - before);
		memcpy(cursor, found.cursor, sizeof(cursor));
		q->cursor = cursor;
	} while (found.cursor[0] != '\0');
	q->cursor = NULL;
}

static void answers_equal_the_list(const struct kit *k, uint64_t seed)
{
	static struct hits h;
	struct dice d = { seed };
	struct et_state_view *v = kit_indexed(k->s);

	assert_non_null(v);
	for (int i = 0; i < QUERIES; i++) {
		struct et_state_query q;
		char number[64];
		size_t expected = 0;
		query_random(&d, &q, number);
		pages_read(v, &q, &h);
		for (size_t c = 0; c < CALLS; c++) {
			if (call_fits(&q, &calls[c])) {
				assert_true(expected < h.count);
				assert_memory_equal(h.ids[expected], calls[c].id, 16);
				expected++;
			}
		}
		assert_int_equal(h.count, expected);
	}
	(void)et_state_view_close(v);
}

static void every_plan_gives_the_same_cold_and_warm(void **state)
{
	struct kit *k = *state;
	struct dice d = { 4711 };
	struct et_error e;

	kit_cluster(k);
	calls_make(k, &d);
	answers_equal_the_list(k, 1); /* in memory: no size is known */
	assert_int_equal(et_state_flush(k->s, &e), 0);
	k->s = et_state_close(k->s);
	k->s = kit_open(k->db);
	for (uint64_t seed = 2; seed < 5; seed++) {
		answers_equal_the_list(k, seed);
	}
	answers_equal_the_list(k, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_plan_gives_the_same_cold_and_warm, kit_set_up,
						kit_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
