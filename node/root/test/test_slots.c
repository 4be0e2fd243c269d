#include "node/crypto/hash.h"
#include "node/root/test/fixture.h"

static struct root_slots two(void)
{
	struct root_slots s = { .count = 2 };

	s.slots[0] = (struct root_slot){ .kind = ET_ROOT_PKCS11,
					 .mechanism = MECHANISM_GCM,
					 .serial = "0123456789abcdef",
					 .wrapped_size = 48 };
	memset(s.slots[0].wrapped, 7, 48);
	memset(s.slots[0].iv, 8, sizeof(s.slots[0].iv));
	memset(s.slots[0].box, 9, sizeof(s.slots[0].box));
	s.slots[1] = (struct root_slot){ .kind = ET_ROOT_PASSPHRASE,
					 .cost = { .memory_kib = 262144, .passes = 3 } };
	memset(s.slots[1].salt, 5, sizeof(s.slots[1].salt));
	return s;
}

static struct et_view pack(const struct root_slots *s, struct et_buffer *b)
{
	assert_int_equal(root_slots_pack(s, b), 0);
	return (struct et_view){ b->data, b->size };
}

/* The bytes of ops/doc/formats/root.md: they must never change. */
static void the_format_stays(void **state)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	const struct root_slots s = two();
	struct et_view v = pack(&s, &b);

	(void)state;
	assert_int_equal(ET_ROOT_PASSPHRASE, 2);
	assert_int_equal(ET_ROOT_PKCS11, 3);
	assert_int_equal(v.size, 6 + (1 + 1 + 16 + 16 + 1 + 48 + 84) + (1 + 4 + 4 + 32 + 84) + 32);
	assert_memory_equal(v.data,
			    "EVRS\x01\x02\x03\x01"
			    "0123456789abcdef\x08",
			    25);
	assert_memory_equal(v.data + 6 + 167, "\x02\x00\x04\x00\x00\x00\x00\x00\x03\x05", 10);
}

static void what_is_packed_is_parsed(void **state)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	const struct root_slots s = two();
	struct root_slots back;
	struct et_error e;

	(void)state;
	assert_int_equal(root_slots_parse(pack(&s, &b), &back, &e), 0);
	assert_int_equal(back.count, 2);
	assert_memory_equal(&back.slots[0], &s.slots[0], sizeof(s.slots[0]));
	assert_memory_equal(&back.slots[1], &s.slots[1], sizeof(s.slots[1]));
}

/* Each bit of each byte, and each length. */
static void damage_is_found(void **state)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	const struct root_slots s = two();
	struct et_view v = pack(&s, &b);
	struct root_slots back;
	struct et_error e;

	(void)state;
	for (size_t i = 0; i < v.size * 8; i++) {
		b.data[i / 8] ^= (uint8_t)(1U << i % 8);
		int rc = root_slots_parse(v, &back, &e);
		assert_true(rc == ET_ECORRUPT || rc == ET_EVERSION);
		b.data[i / 8] ^= (uint8_t)(1U << i % 8);
	}
	for (size_t size = 0; size < v.size; size++) {
		assert_int_equal(root_slots_parse((struct et_view){ v.data, size }, &back, &e),
				 ET_ECORRUPT);
	}
}

static void refused(struct root_slots s)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	struct root_slots back;
	struct et_error e;

	assert_int_equal(root_slots_parse(pack(&s, &b), &back, &e), ET_ECORRUPT);
	assert_int_equal(back.count, 0);
}

/* With a hash that fits: what a hostile file may ask for. */
static void bounds_are_kept(void **state)
{
	struct root_slots s = two();

	(void)state;
	s.slots[1].cost.memory_kib = MEMORY_KIB_MAX + 1;
	refused(s);
	s.slots[1].cost.memory_kib = MEMORY_KIB_MIN - 1;
	refused(s);
	s = two();
	s.slots[1].cost.passes = PASSES_MAX + 1;
	refused(s);
	s.slots[1].cost.passes = 0;
	refused(s);
	s = two();
	s.slots[0].mechanism = 3;
	refused(s);
	s = two();
	s.slots[0].wrapped_size = 0;
	refused(s);
	s = two();
	s.slots[0].serial[3] = '\x1b';
	refused(s);
	s = two();
	s.count = 0;
	refused(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_format_stays),
		cmocka_unit_test(what_is_packed_is_parsed),
		cmocka_unit_test(damage_is_found),
		cmocka_unit_test(bounds_are_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
