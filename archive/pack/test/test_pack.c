#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "archive/pack/pack.h"
#include "node/crypto/hash.h"

static const char *const texts[] = { "first tape", "", "the third one" };

struct pack {
	struct et_pack_entry entries[3];
	struct et_buffer bytes;
	uint8_t sha256[32];
};

static void pack_make(struct pack *p)
{
	uint8_t header[ET_PACK_HEADER_SIZE];
	struct et_buffer tail = { 0 };
	uint64_t size = 0;
	*p = (struct pack){ 0 };
	for (unsigned i = 0; i < 3; i++) {
		memset(p->entries[i].recording, (int)(0x11 * (i + 1)), 16);
		p->entries[i].generation = 1;
		p->entries[i].segment = i + 1;
		p->entries[i].size = strlen(texts[i]);
		et_sha256(texts[i], strlen(texts[i]), p->entries[i].sha256);
	}
	assert_int_equal(et_pack_layout(p->entries, 3, header, &tail, &size), 0);
	et_buffer_add(&p->bytes, header, sizeof(header));
	for (unsigned i = 0; i < 3; i++) {
		et_buffer_add(&p->bytes, texts[i], strlen(texts[i]));
	}
	et_buffer_add(&p->bytes, tail.data, tail.size);
	et_buffer_release(&tail);
	assert_int_equal(p->bytes.size, size);
	et_sha256(p->bytes.data, p->bytes.size, p->sha256);
}

struct seen {
	struct et_pack_entry entries[8];
	unsigned count;
};

static int seen_take(void *arg, const struct et_pack_entry *entry)
{
	struct seen *s = arg;
	assert_true(s->count < 8);
	s->entries[s->count++] = *entry;
	return 0;
}

static int pack_open(const struct et_buffer *bytes, struct seen *seen)
{
	struct et_pack_trailer trailer;
	if (bytes->size < ET_PACK_TRAILER_SIZE) {
		return ET_EMALFORMED;
	}
	int rc = et_pack_read_trailer(bytes->data + bytes->size - ET_PACK_TRAILER_SIZE, bytes->size,
				      &trailer, NULL);
	return rc < 0 ? rc
		      : et_pack_read_index(&trailer, bytes->data + trailer.index_offset,
					   trailer.index_size, seen_take, seen, NULL);
}

static void opens_without_a_catalogue(void **state)
{
	(void)state;
	struct pack p;
	struct seen seen = { 0 };
	pack_make(&p);
	assert_int_equal(pack_open(&p.bytes, &seen), 0);
	assert_int_equal(seen.count, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_memory_equal(&seen.entries[i], &p.entries[i], sizeof(p.entries[i]));
		assert_memory_equal(p.bytes.data + seen.entries[i].offset, texts[i],
				    strlen(texts[i]));
	}
	et_buffer_release(&p.bytes);
}

/* The vector of ops/doc/formats/pack.md. */
static void has_the_name_that_the_format_says(void **state)
{
	(void)state;
	struct pack p;
	char hex[65];
	char key[ET_PACK_KEY_SIZE];
	pack_make(&p);
	et_hex(p.sha256, 32, hex);
	assert_int_equal(p.bytes.size, 311);
	assert_string_equal(hex,
			    "4c426ce1c5f6f4362daba4b421aaafa87c50d762cf12949993cfcbc308986f3c");
	et_pack_key(p.sha256, 1795356302123456, "evpk", key);
	assert_non_null(strstr(key, "packs/2026/11/"));
	assert_non_null(strstr(key, ".evpk"));
	et_buffer_release(&p.bytes);
}

static void refuses_any_flipped_bit_behind_the_members(void **state)
{
	(void)state;
	struct pack p;
	pack_make(&p);
	size_t index = p.entries[2].offset + p.entries[2].size;
	for (size_t i = index * 8; i < p.bytes.size * 8; i++) {
		struct seen seen = { 0 };
		p.bytes.data[i / 8] ^= (uint8_t)(1U << (i % 8));
		assert_true(pack_open(&p.bytes, &seen) < 0);
		assert_int_equal(seen.count, 0);
		p.bytes.data[i / 8] ^= (uint8_t)(1U << (i % 8));
	}
	et_buffer_release(&p.bytes);
}

static void refuses_a_pack_that_was_cut(void **state)
{
	(void)state;
	struct pack p;
	pack_make(&p);
	struct et_buffer cut = p.bytes;
	for (cut.size = 0; cut.size < p.bytes.size; cut.size++) {
		struct seen seen = { 0 };
		assert_true(pack_open(&cut, &seen) < 0);
	}
	et_buffer_release(&p.bytes);
}

static void refuses_members_that_do_not_fit(void **state)
{
	(void)state;
	struct pack p;
	struct seen seen = { 0 };
	pack_make(&p);
	size_t index = p.entries[2].offset + p.entries[2].size;
	struct et_pack_trailer t = { .index_offset = index, .index_size = 3 * ET_PACK_ENTRY_SIZE };
	et_put64(p.bytes.data + index + 24, 17); /* offset of the first: a hole before it */
	et_sha256(p.bytes.data + index, t.index_size, t.index_sha256);
	assert_int_equal(
		et_pack_read_index(&t, p.bytes.data + index, t.index_size, seen_take, &seen, NULL),
		ET_EMALFORMED);
	et_put64(p.bytes.data + index + 24, 16);
	et_put64(p.bytes.data + index + 32, UINT64_MAX - 3); /* its size: around the end */
	et_sha256(p.bytes.data + index, t.index_size, t.index_sha256);
	assert_int_equal(
		et_pack_read_index(&t, p.bytes.data + index, t.index_size, seen_take, &seen, NULL),
		ET_EMALFORMED);
	et_buffer_release(&p.bytes);
}

static void index_object_says_the_same(void **state)
{
	(void)state;
	struct pack p;
	struct seen seen = { 0 };
	struct et_buffer object = { 0 };
	uint64_t size = 0;
	uint8_t hash[32];
	pack_make(&p);
	assert_int_equal(et_pack_write_index_object(p.entries, 3, p.bytes.size, p.sha256, &object),
			 0);
	assert_int_equal(et_pack_read_index_object(object.data, object.size, &size, hash, seen_take,
						   &seen, NULL),
			 0);
	assert_int_equal(size, p.bytes.size);
	assert_memory_equal(hash, p.sha256, 32);
	assert_int_equal(seen.count, 3);
	assert_memory_equal(seen.entries, p.entries, sizeof(p.entries));
	for (size_t i = 0; i < object.size * 8; i++) {
		struct seen none = { 0 };
		object.data[i / 8] ^= (uint8_t)(1U << (i % 8));
		assert_true(et_pack_read_index_object(object.data, object.size, &size, hash,
						      seen_take, &none, NULL) < 0);
		object.data[i / 8] ^= (uint8_t)(1U << (i % 8));
	}
	et_buffer_release(&object);
	et_buffer_release(&p.bytes);
}

static void refuses_no_members_and_too_many(void **state)
{
	(void)state;
	uint8_t header[ET_PACK_HEADER_SIZE];
	struct et_buffer tail = { 0 };
	uint64_t size;
	struct et_pack_entry one = { .size = UINT64_MAX };
	assert_int_equal(et_pack_layout(&one, 0, header, &tail, &size), ET_ELIMIT);
	assert_int_equal(et_pack_layout(&one, 1, header, &tail, &size), ET_ELIMIT);
	assert_int_equal(et_pack_layout(&one, ET_PACK_MEMBERS_MAX + 1, header, &tail, &size),
			 ET_ELIMIT);
	et_buffer_release(&tail);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_without_a_catalogue),
		cmocka_unit_test(has_the_name_that_the_format_says),
		cmocka_unit_test(refuses_any_flipped_bit_behind_the_members),
		cmocka_unit_test(refuses_a_pack_that_was_cut),
		cmocka_unit_test(refuses_members_that_do_not_fit),
		cmocka_unit_test(index_object_says_the_same),
		cmocka_unit_test(refuses_no_members_and_too_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
