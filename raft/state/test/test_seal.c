/* What is told of a seal beside its root: the hash of all bytes under a schema before 3, the seal
 * hash from then on; and the hash of an archived copy's bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/state_internal.h"
#include "raft/state/test/kit.h"

#define T0 INT64_C(1700000000000000)

enum { ROOT = 7, OBJECT = 8, SEAL = 9, MEMBER = 10 };

static const ProtobufCBinaryData nothing;

static void assert_hash(const ProtobufCBinaryData *found, ProtobufCBinaryData want)
{
	assert_int_equal(found->len, want.len);
	if (want.len > 0) {
		assert_memory_equal(found->data, want.data, want.len);
	}
}

/* But for the audit event of a refusal. */
static void assert_unchanged(const struct kit *k, struct et_state_counts before)
{
	before.audit_events = k->s->counts.audit_events;
	assert_memory_equal(&before, &k->s->counts, sizeof(before));
}

static int seal(struct kit *k, uint64_t recording, ProtobufCBinaryData object,
		ProtobufCBinaryData seal_hash)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__SegmentSeal s = ET__SEGMENT_SEAL__INIT;
	static char uuid[] = "store";

	s.recording = kit_id(recording);
	s.generation = s.segment = 1;
	s.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	s.root = kit_hash(ROOT);
	s.records = 3;
	s.size_bytes = 1000;
	s.sealed_us = T0;
	s.object_hash = object;
	s.seal_hash = seal_hash;
	s.store_uuid = uuid;
	c.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	c.segment_seal = &s;
	return kit_apply_from(k, 2, &c);
}

static void assert_segment(struct kit *k, uint64_t recording, ProtobufCBinaryData object,
			   ProtobufCBinaryData seal_hash)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Segment *g = NULL;

	assert_int_equal(et_state_get_segment(v, kit_id(recording).data, 1, 1, &g), 0);
	(void)et_state_view_close(v);
	assert_hash(&g->object_hash, object);
	assert_hash(&g->seal_hash, seal_hash);
	et__segment__free_unpacked(g, NULL);
}

static void a_seal_hash_waits_for_its_schema(void **state)
{
	struct kit *k = *state;
	const struct kit_call calls[] = { { .id = 1, .start_us = T0 },
					  { .id = 2, .start_us = T0 } };

	kit_cluster(k);
	assert_int_equal(et_state_schema(k->s), 1);
	for (size_t i = 0; i < ET_ARRAY_SIZE(calls); i++) {
		assert_int_equal(kit_open_call(k, 2, &calls[i]), 0);
		assert_int_equal(kit_segment_open(k, 2, calls[i].id, 1), 0);
	}
	struct et_state_counts before = k->s->counts;
	assert_int_equal(seal(k, 1, nothing, kit_hash(SEAL)), ET_EVERSION);
	assert_unchanged(k, before);
	kit_upgrade(k, 1, ET_SCHEMA_SEAL_HASH - 1);
	before = k->s->counts;
	assert_int_equal(seal(k, 1, kit_hash(OBJECT), kit_hash(SEAL)), ET_EVERSION);
	assert_unchanged(k, before);
	assert_int_equal(seal(k, 1, kit_hash(OBJECT), nothing), 0);
	assert_segment(k, 1, kit_hash(OBJECT), nothing);

	kit_upgrade(k, ET_SCHEMA_SEAL_HASH - 1, ET_SCHEMA_SEAL_HASH);
	assert_int_equal(et_state_schema(k->s), ET_SCHEMA_SEAL_HASH);
	assert_int_equal(seal(k, 2, nothing, kit_hash(SEAL)), 0);
	assert_segment(k, 2, nothing, kit_hash(SEAL));
	assert_segment(k, 1, kit_hash(OBJECT), nothing);
	assert_int_equal(kit_copy_add(k, 3, 2, 1, "node:3"), 0);
}

/* From a journal that was away while the cluster was upgraded. */
static void a_seal_of_before_is_taken_after_the_upgrade(void **state)
{
	struct kit *k = *state;
	const struct kit_call call = { .id = 1, .start_us = T0 };

	kit_cluster(k);
	kit_upgrade(k, 1, ET_COMMAND_SCHEMA);
	assert_int_equal(kit_open_call(k, 2, &call), 0);
	assert_int_equal(kit_segment_open(k, 2, 1, 1), 0);
	assert_int_equal(seal(k, 1, kit_hash(OBJECT), nothing), 0);
	assert_segment(k, 1, kit_hash(OBJECT), nothing);
}

/* A segment is opened before it has a seal: what an opening says of one counts for nothing. */
static void an_opening_brings_no_seal_hash(void **state)
{
	struct kit *k = *state;
	const struct kit_call call = { .id = 1, .start_us = T0 };
	Et__Command c = ET__COMMAND__INIT;
	Et__SegmentOpen open = ET__SEGMENT_OPEN__INIT;
	Et__Segment g = ET__SEGMENT__INIT;
	Et__Wrap w = ET__WRAP__INIT;

	kit_cluster(k);
	assert_int_equal(kit_open_call(k, 2, &call), 0);
	w.kek_version = 1;
	w.enc = kit_hash(1);
	w.ciphertext = kit_bytes(48, 2);
	g.recording = kit_id(1);
	g.generation = g.segment = 1;
	g.node = 2;
	g.wrap = &w;
	g.header_hash = kit_hash(3);
	g.seal_hash = kit_hash(SEAL);
	open.segment = &g;
	c.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	c.segment_open = &open;
	assert_int_equal(kit_apply_from(k, 2, &c), ET_EVERSION);
	kit_upgrade(k, 1, ET_COMMAND_SCHEMA);
	assert_int_equal(kit_apply_from(k, 2, &c), 0);
	assert_segment(k, 1, nothing, nothing);
}

static void assert_copy(struct kit *k, const char *place, ProtobufCBinaryData member)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Copy asked;
	Et__Copy *c = NULL;

	kit_copy(&asked, 1, 1, place);
	struct key key = key_copy(&asked);
	assert_int_equal(view_get_message(v, CF_COPY, &key, &et__copy__descriptor, &c), 0);
	(void)et_state_view_close(v);
	assert_hash(&c->member_hash, member);
	et__copy__free_unpacked(c, NULL);
}

static void an_archived_copy_brings_the_hash_of_its_bytes(void **state)
{
	struct kit *k = *state;
	static char object[] = "packs/1";
	Et__Copy c;

	kit_cluster(k);
	kit_sealed_segment(k, 1);
	kit_copy(&c, 1, 1, "target:cold");
	c.object = object;
	c.member_hash = kit_hash(MEMBER);
	assert_int_equal(kit_copies(k, 2, false, &c, 1), ET_EVERSION);
	kit_upgrade(k, 1, ET_COMMAND_SCHEMA);
	assert_int_equal(kit_copies(k, 2, false, &c, 1), 0);
	assert_copy(k, "target:cold", kit_hash(MEMBER));

	kit_copy(&c, 1, 1, "node:3"); /* it is no member of a pack */
	c.member_hash = kit_hash(MEMBER);
	assert_int_equal(kit_copies(k, 3, false, &c, 1), 0);
	assert_copy(k, "node:3", nothing);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_seal_hash_waits_for_its_schema),
		TEST(a_seal_of_before_is_taken_after_the_upgrade),
		TEST(an_opening_brings_no_seal_hash),
		TEST(an_archived_copy_brings_the_hash_of_its_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
