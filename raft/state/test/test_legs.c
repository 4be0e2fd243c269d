/* Legs that are joined and split by hand, and what is told afterwards; what is told of tones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/command/schema.h"
#include "raft/state/test/random.h"

#define T INT64_C(1700000000000000)

static int join(struct kit *k, size_t count, const uint64_t *ids)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__RecordingsJoin join = ET__RECORDINGS_JOIN__INIT;
	ProtobufCBinaryData list[ET_COMMAND_JOIN_MAX];

	for (size_t i = 0; i < count; i++) {
		list[i] = kit_id(ids[i]);
	}
	join.recordings = list;
	join.n_recordings = count;
	c.body_case = ET__COMMAND__BODY_RECORDINGS_JOIN;
	c.recordings_join = &join;
	return kit_apply(k, &c);
}

#define JOIN(k, ...)                                                                               \
	join(k, sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t),                      \
	     (const uint64_t[]){ __VA_ARGS__ })

static int split(struct kit *k, uint64_t id)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__RecordingSplit split = ET__RECORDING_SPLIT__INIT;

	split.recording = kit_id(id);
	c.body_case = ET__COMMAND__BODY_RECORDING_SPLIT;
	c.recording_split = &split;
	return kit_apply(k, &c);
}

/* A leg of node 1 whose recorder told this call, and the rule why. */
static int tell(struct kit *k, uint64_t id, uint64_t call, const char *joined, enum kit_tell how)
{
	Et__Recording r = ET__RECORDING__INIT;
	char text[32];

	(void)snprintf(text, sizeof(text), "%s", joined);
	r.id = kit_id(id);
	r.call = kit_id(call);
	r.start_us = T + (int64_t)id;
	r.joined = text;
	return kit_tell_recording(k, 1, how, &r);
}

static void open_legs(struct kit *k)
{
	kit_cluster(k);
	kit_upgrade(k, 1, ET_SCHEMA_LEGS);
	assert_int_equal(tell(k, 1, 101, "", KIT_OPEN), 0);
	assert_int_equal(tell(k, 2, 102, "header X-Call-ID", KIT_OPEN), 0);
	assert_int_equal(tell(k, 3, 102, "header X-Call-ID", KIT_OPEN), 0);
	assert_int_equal(tell(k, 4, 104, "", KIT_OPEN), 0);
}

struct found {
	uint64_t ids; /* bits */
};

static int add(void *arg, const Et__Recording *r)
{
	struct found *f = arg;
	for (uint64_t id = 1; id < 64; id++) {
		if (memcmp(kit_id(id).data, r->id.data, 16) == 0) {
			f->ids |= UINT64_C(1) << id;
		}
	}
	return 0;
}

/* Which recordings a call finds, a bit each. */
static uint64_t legs(struct kit *k, ProtobufCBinaryData call)
{
	struct found f = { 0 };
	struct et_state_view *v = et_state_view_open(k->s);
	assert_int_equal(et_state_each_of_call(v, call.data, add, &f), 0);
	(void)et_state_view_close(v);
	return f.ids;
}

static Et__Recording *get(struct kit *k, uint64_t id)
{
	Et__Recording *r = NULL;
	struct et_state_view *v = et_state_view_open(k->s);
	assert_int_equal(et_state_get_recording(v, kit_id(id).data, &r), 0);
	(void)et_state_view_close(v);
	return r;
}

static bool is_in(struct kit *k, uint64_t id, ProtobufCBinaryData call)
{
	Et__Recording *r = get(k, id);
	bool is = r->call.len == 16 && memcmp(r->call.data, call.data, 16) == 0;
	et__recording__free_unpacked(r, NULL);
	return is;
}

#define BIT(n) (UINT64_C(1) << (n))

static void calls_become_one_with_all_their_legs(void **state)
{
	struct kit *k = *state;
	open_legs(k);
	assert_int_equal(JOIN(k, 1, 2), 0);
	assert_int_equal(legs(k, kit_id(101)), BIT(1) | BIT(2) | BIT(3));
	assert_int_equal(legs(k, kit_id(102)), BIT(2) | BIT(3)); /* found as before, too */
	assert_int_equal(legs(k, kit_id(104)), BIT(4));
	Et__Recording *r = get(k, 3);
	assert_non_null(r->hand);
	assert_int_equal(r->hand->what, ET__HAND_KIND__HAND_JOINED);
	assert_memory_equal(r->hand->was.data, kit_id(102).data, 16);
	assert_true(r->hand->at_index > 0);
	et__recording__free_unpacked(r, NULL);
	/* Once more: nothing changes. A third call: it comes along. */
	struct kit_sums before;
	kit_sum(k->s, &before);
	assert_int_equal(JOIN(k, 2, 1, 3), 0);
	assert_int_equal(k->result->number, 0);
	assert_int_equal(JOIN(k, 4, 3), 0);
	assert_int_equal(k->result->number, 3);
	assert_int_equal(legs(k, kit_id(104)), BIT(1) | BIT(2) | BIT(3) | BIT(4));
	/* What its recorder told last is what it is found by. */
	assert_int_equal(legs(k, kit_id(102)), BIT(2) | BIT(3));
	(void)kit_audit_verify(k->s);
}

static void nothing_told_later_undoes_it(void **state)
{
	struct kit *k = *state;
	open_legs(k);
	assert_int_equal(JOIN(k, 1, 2), 0);
	assert_int_equal(split(k, 3), 0);
	assert_int_equal(tell(k, 2, 102, "header X-Call-ID", KIT_UPDATE), 0);
	assert_int_equal(tell(k, 3, 102, "numbers", KIT_CLOSE), 0);
	assert_true(is_in(k, 2, kit_id(101)));
	assert_true(is_in(k, 3, kit_id(3)));
	assert_int_equal(legs(k, kit_id(3)), BIT(3));
	assert_int_equal(legs(k, kit_id(102)), BIT(2));
}

static void a_leg_that_a_rule_joins_later_goes_where_the_others_went(void **state)
{
	struct kit *k = *state;
	open_legs(k);
	assert_int_equal(JOIN(k, 1, 2), 0);
	assert_int_equal(tell(k, 5, 102, "header X-Call-ID", KIT_OPEN), 0);
	assert_true(is_in(k, 5, kit_id(101)));
	Et__Recording *r = get(k, 5);
	assert_int_equal(r->hand->what, ET__HAND_KIND__HAND_FOLLOWS);
	et__recording__free_unpacked(r, NULL);
	/* When all that moved are split, there is nobody to follow. */
	assert_int_equal(split(k, 2), 0);
	assert_int_equal(split(k, 3), 0);
	assert_int_equal(split(k, 5), 0);
	assert_int_equal(tell(k, 6, 102, "header X-Call-ID", KIT_CLOSE), 0);
	assert_true(is_in(k, 6, kit_id(102)));
	assert_int_equal(legs(k, kit_id(102)), BIT(6));
}

static void one_is_split_and_may_be_joined_again(void **state)
{
	struct kit *k = *state;
	open_legs(k);
	assert_int_equal(split(k, 2), 0);
	assert_int_equal(k->result->number, 1);
	assert_true(is_in(k, 2, kit_id(2)));
	assert_int_equal(legs(k, kit_id(102)), BIT(3));
	assert_int_equal(split(k, 2), 0); /* it is alone */
	assert_int_equal(k->result->number, 0);
	assert_int_equal(split(k, 4), 0);
	assert_int_equal(k->result->number, 0);
	assert_true(is_in(k, 4, kit_id(104)));
	assert_int_equal(JOIN(k, 3, 2), 0);
	assert_int_equal(legs(k, kit_id(102)), BIT(2) | BIT(3));
	assert_int_equal(split(k, 3), 0); /* the one that was first may leave, too */
	assert_int_equal(legs(k, kit_id(102)), BIT(2));
}

static void who_left_is_not_fetched_back(void **state)
{
	struct kit *k = *state;
	open_legs(k);
	assert_int_equal(split(k, 3), 0);
	assert_int_equal(JOIN(k, 4, 3), 0); /* 3 is found by its own call now */
	assert_int_equal(JOIN(k, 1, 2), 0);
	assert_true(is_in(k, 3, kit_id(104)));
	assert_true(is_in(k, 2, kit_id(101)));
}

/* A fact "order" about a call, or (0) about the SIP Call-ID "one@pbx". */
static int fact_add(struct kit *k, uint64_t call, const char *value)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__FactAdd told = ET__FACT_ADD__INIT;
	Et__Subject about = ET__SUBJECT__INIT;
	Et__Fact fact = ET__FACT__INIT;
	Et__Fact *list[] = { &fact };
	char texts[4][16] = { "order", "", "crm", "one@pbx" };

	(void)snprintf(texts[1], sizeof(texts[1]), "%s", value);
	if (call != 0) {
		about.call = kit_id(call);
	} else {
		about.sip_call_id = texts[3];
	}
	fact.key = texts[0];
	fact.text = texts[1];
	fact.source = texts[2];
	told.about = &about;
	told.facts = list;
	told.n_facts = 1;
	c.body_case = ET__COMMAND__BODY_FACT_ADD;
	c.fact_add = &told;
	return kit_apply(k, &c);
}

/* Which recordings search finds by that fact. */
static uint64_t with_fact(struct kit *k, const char *value)
{
	struct et_state_view *v = kit_indexed(k->s);
	const struct et_state_fact_is is = { .key = "order", .text = value };
	const struct et_state_query q = { .state = -1, .limit = 10, .facts = &is, .fact_count = 1 };
	struct found f = { 0 };
	struct et_state_found found;

	assert_int_equal(et_state_search(v, &q, add, &f, &found), 0);
	(void)et_state_view_close(v);
	return f.ids;
}

static void what_was_told_of_the_call_stays_with_it(void **state)
{
	struct kit *k = *state;
	open_legs(k);
	assert_int_equal(fact_add(k, 102, "A-17"), 0);
	assert_int_equal(JOIN(k, 1, 2), 0);
	assert_int_equal(with_fact(k, "A-17"), BIT(2) | BIT(3));
}

/* Of a leg that moved each of its subjects counts by itself, whichever is told of last. */
static void what_is_told_of_either_call_is_found(void **state)
{
	struct kit *k = *state;
	Et__Recording r = ET__RECORDING__INIT;
	char sip[] = "one@pbx";
	open_legs(k);
	r.id = kit_id(2);
	r.sip_call_id = sip;
	assert_int_equal(kit_tell_recording(k, 1, KIT_UPDATE, &r), 0);
	assert_int_equal(JOIN(k, 1, 2), 0);
	assert_int_equal(fact_add(k, 101, "A"), 0);
	assert_int_equal(fact_add(k, 102, "B"), 0);
	assert_int_equal(fact_add(k, 0, "C"), 0);
	assert_int_equal(fact_add(k, 102, "D"), 0);
	assert_int_equal(with_fact(k, "A"), BIT(1) | BIT(2) | BIT(3));
	assert_int_equal(with_fact(k, "B"), 0); /* told anew */
	assert_int_equal(with_fact(k, "C"), BIT(2));
	assert_int_equal(with_fact(k, "D"), BIT(2) | BIT(3));
}

static int told_count(void *arg, const Et__Told *told)
{
	(void)told;
	++*(unsigned *)arg;
	return 0;
}

static void a_leg_that_comes_back_is_where_its_recorder_told(void **state)
{
	struct kit *k = *state;
	unsigned told = 0;
	open_legs(k);
	assert_int_equal(fact_add(k, 102, "A"), 0);
	assert_int_equal(JOIN(k, 1, 2), 0);
	assert_int_equal(tell(k, 5, 102, "", KIT_OPEN), 0); /* by no rule: it stays */
	assert_int_equal(JOIN(k, 5, 2), 0);
	assert_int_equal(legs(k, kit_id(102)), BIT(1) | BIT(2) | BIT(3) | BIT(5));
	assert_int_equal(legs(k, kit_id(101)), BIT(1));
	Et__Recording *r = get(k, 2);
	assert_int_equal(r->hand->what, ET__HAND_KIND__HAND_JOINED);
	assert_int_equal(r->hand->was.len, 0);
	struct et_state_view *v = et_state_view_open(k->s);
	assert_int_equal(et_state_each_told_of(v, r, told_count, &told), 0);
	assert_int_equal(told, 1); /* not once more by the call that it came from */
	(void)et_state_view_close(v);
	et__recording__free_unpacked(r, NULL);
	assert_int_equal(tell(k, 6, 102, "numbers", KIT_OPEN), 0);
	r = get(k, 6);
	assert_null(r->hand); /* there is nobody to follow */
	et__recording__free_unpacked(r, NULL);
}

/* A call may have the id of one of its recordings: of an import, or since that one was split. */
static void the_one_that_names_the_call_may_leave_it(void **state)
{
	struct kit *k = *state;
	open_legs(k);
	assert_int_equal(split(k, 2), 0);
	assert_int_equal(JOIN(k, 2, 3), 0);
	assert_int_equal(legs(k, kit_id(2)), BIT(2) | BIT(3));
	assert_int_equal(split(k, 2), 0);
	assert_int_equal(k->result->number, 1);
	assert_int_equal(legs(k, kit_id(2)), BIT(3));
	assert_int_equal(legs(k, k->result->id), BIT(2));
	assert_int_equal(split(k, 2), 0);
	assert_int_equal(k->result->number, 0);
}

static void who_is_alone_stays_and_who_is_one_of_many_leaves(void **state)
{
	struct kit *k = *state;
	open_legs(k);
	assert_int_equal(JOIN(k, 1, 2), 0);
	assert_int_equal(tell(k, 5, 102, "", KIT_OPEN), 0);
	assert_int_equal(split(k, 5), 0); /* others were there, and are found by it */
	assert_int_equal(k->result->number, 0);
	assert_true(is_in(k, 5, kit_id(102)));
	for (uint64_t id = 10; id < 10 + 70; id++) {
		assert_int_equal(tell(k, id, 110, "numbers", KIT_OPEN), 0);
	}
	assert_int_equal(split(k, 12), 0);
	assert_int_equal(k->result->number, 1);
	assert_true(is_in(k, 12, kit_id(12)));
}

static void before_every_member_knows_it_it_is_refused(void **state)
{
	struct kit *k = *state;
	kit_cluster(k);
	assert_int_equal(tell(k, 1, 101, "", KIT_OPEN), 0);
	assert_int_equal(tell(k, 2, 102, "", KIT_OPEN), 0);
	assert_int_equal(JOIN(k, 1, 2), ET_EVERSION);
	assert_int_equal(split(k, 1), ET_EVERSION);
}

/* What becomes of key presses: a recording that was to be masked stays so, and an older member's
 * records are as before. */
static void tones_never_become_less(void **state)
{
	struct kit *k = *state;
	static const uint32_t told[] = { 2, 1, 2, 1, 0, 3, 2 };
	static const uint32_t stands[] = { 0, 0, 2, 2, 2, 3, 3 };
	enum { KNOWS = 2, COUNTS = 5 }; /* from here on, what the committed schema lets be kept */
	Et__Recording r = ET__RECORDING__INIT;
	Et__Stream s = ET__STREAM__INIT;
	Et__Stream *list[] = { &s };
	r.streams = list;
	r.n_streams = 1;
	kit_cluster(k);
	for (size_t i = 0; i < ET_ARRAY_SIZE(told); i++) {
		if (i == KNOWS) {
			kit_upgrade(k, 1, ET_SCHEMA_TONES);
		} else if (i == COUNTS) {
			kit_upgrade(k, ET_SCHEMA_TONES, ET_SCHEMA_SILENCED);
		}
		r.id = kit_id(1);
		r.tones = told[i];
		s.packets = i + 1;
		s.silenced = i + 1;
		if (i < COUNTS) { /* they would keep what they do not know: nobody tells them */
			assert_int_equal(
				kit_tell_recording(k, 1, i == 0 ? KIT_OPEN : KIT_UPDATE, &r),
				ET_EVERSION);
			s.silenced = 0;
		}
		assert_int_equal(kit_tell_recording(k, 1, i == 0 ? KIT_OPEN : KIT_UPDATE, &r), 0);
		Et__Recording *now = get(k, 1);
		assert_int_equal(now->tones, stands[i]);
		assert_int_equal(now->streams[0]->packets, i + 1);
		assert_int_equal(now->streams[0]->silenced, i >= COUNTS ? i + 1 : 0);
		et__recording__free_unpacked(now, NULL);
	}
}

static void what_cannot_be_joined_is_refused(void **state)
{
	struct kit *k = *state;
	open_legs(k);
	assert_int_equal(JOIN(k, 1, 9), ET_ENOTFOUND);
	assert_int_equal(split(k, 9), ET_ENOTFOUND);
	assert_int_equal(tell(k, 4, 104, "", KIT_CLOSE), 0);
	assert_int_equal(kit_erase(k, 4), 0);
	assert_int_equal(JOIN(k, 1, 4), ET_EREFUSED);
	assert_int_equal(split(k, 4), ET_EREFUSED);
	for (uint64_t id = 10; id < 10 + 62; id++) {
		assert_int_equal(tell(k, id, 110, "numbers", KIT_OPEN), 0);
	}
	assert_int_equal(JOIN(k, 10, 1), 0);
	assert_int_equal(JOIN(k, 1, 2), ET_ELIMIT); /* 63 and two more */
	assert_true(is_in(k, 2, kit_id(102)));
	(void)kit_audit_verify(k->s);
}

static void an_erasure_takes_it_out(void **state)
{
	struct kit *k = *state;
	open_legs(k);
	assert_int_equal(JOIN(k, 1, 2), 0);
	assert_int_equal(tell(k, 2, 102, "", KIT_CLOSE), 0);
	assert_int_equal(kit_erase(k, 2), 0);
	assert_int_equal(legs(k, kit_id(101)), BIT(1) | BIT(3));
	assert_int_equal(legs(k, kit_id(102)), BIT(3));
	Et__Recording *r = get(k, 2);
	assert_null(r->hand);
	et__recording__free_unpacked(r, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(calls_become_one_with_all_their_legs),
		TEST(nothing_told_later_undoes_it),
		TEST(a_leg_that_a_rule_joins_later_goes_where_the_others_went),
		TEST(one_is_split_and_may_be_joined_again),
		TEST(who_left_is_not_fetched_back),
		TEST(what_was_told_of_the_call_stays_with_it),
		TEST(what_is_told_of_either_call_is_found),
		TEST(a_leg_that_comes_back_is_where_its_recorder_told),
		TEST(the_one_that_names_the_call_may_leave_it),
		TEST(who_is_alone_stays_and_who_is_one_of_many_leaves),
		TEST(before_every_member_knows_it_it_is_refused),
		TEST(tones_never_become_less),
		TEST(what_cannot_be_joined_is_refused),
		TEST(an_erasure_takes_it_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
