#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/catalog/catalog_internal.h"

static void a_request_survives_the_way(void **state)
{
	const struct cat_request all[] = {
		{ .op = CAT_SNAPSHOT_OPEN, .index = UINT64_MAX },
		{ .op = CAT_SNAPSHOT_HASH, .id = 7, .name = "000012.sst" },
		{ .op = CAT_SNAPSHOT_READ,
		  .id = 7,
		  .name = "MANIFEST-000004",
		  .offset = 1 << 30,
		  .size = CAT_CHUNK_BYTES },
	};

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(all); i++) {
		struct et_buffer b = { 0 };
		struct cat_request q;
		et_cat_request_write(&all[i], &b);
		assert_true(et_cat_request_read((struct et_view){ b.data, b.size }, &q));
		assert_memory_equal(&q, &all[i], sizeof(q));
		for (size_t n = 0; n < b.size; n++) { /* Cut short anywhere, it is refused. */
			assert_false(et_cat_request_read((struct et_view){ b.data, n }, &q));
		}
		et_buffer_add8(&b, 0); /* So is one with more behind it. */
		assert_false(et_cat_request_read((struct et_view){ b.data, b.size }, &q));
		et_buffer_release(&b);
	}
}

static void names_lead_nowhere_else(void **state)
{
	static const char *const bad[] = { "",	  ".",	   "..",  "../x",    "a/b",
					   "a b", ".hide", "a\n", "\xc3\xa4" };

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		struct cat_request q = { .op = CAT_SNAPSHOT_HASH };
		struct et_buffer b = { 0 };
		(void)memcpy(q.name, bad[i], strlen(bad[i]) + 1);
		et_cat_request_write(&q, &b);
		assert_false(et_cat_request_read((struct et_view){ b.data, b.size }, &q));
		et_buffer_release(&b);
		assert_false(et_cat_file_name_is_plain(bad[i]));
	}
	assert_true(et_cat_file_name_is_plain("OPTIONS-000007"));
}

static void too_much_is_refused(void **state)
{
	struct cat_request q = { .op = CAT_SNAPSHOT_READ,
				 .name = "x",
				 .size = CAT_CHUNK_BYTES + 1 };
	struct et_buffer b = { 0 };
	struct cat_files f;

	(void)state;
	et_cat_request_write(&q, &b);
	assert_false(et_cat_request_read((struct et_view){ b.data, b.size }, &q));
	b.size = 0;
	et_buffer_add64(&b, 1);
	et_buffer_add64(&b, 2);
	et_buffer_add32(&b, UINT32_MAX); /* files, says the sender of twenty bytes */
	assert_false(et_cat_files_read((struct et_view){ b.data, b.size }, &f));
	b.size = 0;
	et_buffer_add64(&b, 1);
	et_buffer_add64(&b, 2);
	et_buffer_add32(&b, 2);
	for (int i = 0; i < 2; i++) { /* Together more than there is. */
		et_buffer_add8(&b, 1);
		et_buffer_add8(&b, 'a');
		et_buffer_add64(&b, INT64_MAX);
	}
	assert_false(et_cat_files_read((struct et_view){ b.data, b.size }, &f));
	et_buffer_release(&b);
}

static void a_greeting_may_come_in_pieces(void **state)
{
	uint8_t bytes[CAT_GREETING_MAX + 4];
	struct cat_greeting g = { 0 };
	size_t n = et_cat_greeting_make("10.1.0.11:7400", bytes);

	(void)state;
	for (size_t i = 0; i + 1 < n; i++) {
		const uint8_t *p = bytes + i;
		size_t one = 1;
		assert_int_equal(et_cat_greeting_take(&g, &p, &one), 0);
	}
	const uint8_t *p = bytes + n - 1;
	size_t left = 4; /* What follows is not touched. */
	assert_int_equal(et_cat_greeting_take(&g, &p, &left), 1);
	assert_int_equal(left, 3);
	assert_string_equal(g.address, "10.1.0.11:7400");

	static const char *const bad[] = { "ETR2\x05"
					   "a:b:c",
					   "ETR1\x01"
					   "x",
					   "ETR1\x03"
					   "x\0:",
					   "GET / HTTP/1.1" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		struct cat_greeting h = { 0 };
		const uint8_t *q = (const uint8_t *)bad[i];
		size_t size = i == 2 ? 8 : strlen(bad[i]);
		assert_int_equal(et_cat_greeting_take(&h, &q, &size), ET_EMALFORMED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_survives_the_way),
		cmocka_unit_test(names_lead_nowhere_else),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(a_greeting_may_come_in_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
