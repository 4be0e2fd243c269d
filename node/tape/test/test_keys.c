/* KEYS: items come back, later versions are passed over, what is cut or too long is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/tape/keys.h"

static const uint8_t material[64] = { 1, 2, 3, [63] = 9 };

static struct et_keys_item item_of(size_t size, size_t mki_size)
{
	return (struct et_keys_item){
		.type = ET_KEYS_SRTP,
		.time_us = 1700000000000000,
		.origin = 1,
		.party = 1,
		.suite = 5,
		.has_ssrc = mki_size > 0,
		.ssrc = mki_size > 0 ? 0xCAFEBABE : 0,
		.tag = 7,
		.mki = { material, mki_size },
		.material = { material, size },
	};
}

static void assert_item(const struct et_keys_item *a, const struct et_keys_item *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->time_us, b->time_us);
	assert_int_equal(a->origin, b->origin);
	assert_int_equal(a->party, b->party);
	assert_int_equal(a->suite, b->suite);
	assert_int_equal(a->has_ssrc, b->has_ssrc);
	assert_int_equal(a->ssrc, b->ssrc);
	assert_int_equal(a->tag, b->tag);
	assert_int_equal(a->mki.size, b->mki.size);
	assert_int_equal(a->material.size, b->material.size);
	assert_memory_equal(a->material.data, b->material.data, b->material.size);
}

static void keys_come_back(void **state)
{
	(void)state;
	struct et_buffer b = { .data = NULL };
	struct et_keys_reader r;
	struct et_keys_item i;
	struct et_keys_item x = item_of(30, 0);
	struct et_keys_item y = item_of(64, 4);
	struct et_keys_item large = item_of(64, 64);

	assert_int_equal(et_keys_add(&b, &x), 0);
	/* The bytes that ops/doc/formats/tape.md shows. */
	static const uint8_t head[] = { 1, 1, 52, 0, 6, 0x0A, 0x24, 0x18, 0x1E, 0x40, 0, 1, 1,
					5, 0, 0,  0, 0, 0,    0,    0,	  0,	7,    0, 30 };
	assert_memory_equal(b.data, head, sizeof(head));
	assert_int_equal(b.size, sizeof(head) + 30);
	assert_int_equal(et_keys_add(&b, &y), 0);
	size_t before = b.size;
	assert_int_equal(et_keys_add(&b, &large), 0);
	assert_true(b.size - before < ET_KEYS_ITEM_MAX);
	assert_int_equal(et_keys_reader_init(&r, (struct et_view){ b.data, b.size }, NULL), 0);
	assert_int_equal(et_keys_reader_next(&r, &i, NULL), 1);
	assert_item(&i, &x);
	assert_int_equal(et_keys_reader_next(&r, &i, NULL), 1);
	assert_item(&i, &y);
	assert_int_equal(et_keys_reader_next(&r, &i, NULL), 1);
	assert_item(&i, &large);
	assert_int_equal(et_keys_reader_next(&r, &i, NULL), 0);
	et_buffer_release(&b);
}

static void what_a_later_version_adds_is_passed_over(void **state)
{
	(void)state;
	struct et_buffer b = { .data = NULL };
	struct et_keys_reader r;
	struct et_keys_item i;
	struct et_keys_item x = item_of(16, 0);

	et_buffer_add(&b, "\1\143\2zz", 5); /* an item of type 99 */
	assert_int_equal(et_keys_add(&b, &x), 0);
	b.data[6] = (uint8_t)(b.data[6] + 2); /* and two bytes behind the key */
	et_buffer_add(&b, "zz", 2);
	assert_int_equal(et_keys_reader_init(&r, (struct et_view){ b.data, b.size }, NULL), 0);
	assert_int_equal(et_keys_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.type, 99);
	assert_int_equal(et_keys_reader_next(&r, &i, NULL), 1);
	assert_item(&i, &x);
	assert_int_equal(et_keys_reader_next(&r, &i, NULL), 0);
	et_buffer_release(&b);
}

static void what_is_cut_or_too_long_is_refused(void **state)
{
	(void)state;
	struct et_buffer b = { .data = NULL };
	struct et_keys_reader r;
	struct et_keys_item i;
	struct et_keys_item x = item_of(46, 4);
	static const uint8_t zeros[129];

	assert_int_equal(et_keys_add(&b, &x), 0);
	for (size_t size = 0; size < b.size; size++) {
		uint8_t *exact = malloc(size + 1); /* So that a sanitizer sees the edge. */
		assert_non_null(exact);
		memcpy(exact, b.data, size);
		int rc = et_keys_reader_init(&r, (struct et_view){ exact, size }, NULL);
		rc = rc == 0 ? et_keys_reader_next(&r, &i, NULL) : rc;
		assert_int_equal(rc, size == 1 ? 0 : ET_EMALFORMED);
		free(exact);
	}
	b.data[0] = 2;
	assert_int_equal(et_keys_reader_init(&r, (struct et_view){ b.data, b.size }, NULL),
			 ET_EVERSION);
	x.mki = (struct et_view){ zeros, 129 };
	assert_int_equal(et_keys_add(&b, &x), -EINVAL);
	x.mki.size = 0;
	x.material = (struct et_view){ zeros, 65 };
	assert_int_equal(et_keys_add(&b, &x), -EINVAL);
	x = item_of(1, 0);
	x.type = 3;
	assert_int_equal(et_keys_add(&b, &x), -EINVAL);
	et_buffer_release(&b);
}

static void handshakes_come_back(void **state)
{
	(void)state;
	struct et_buffer b = { 0 };
	struct et_keys_reader r;
	struct et_keys_item i;
	uint8_t mki[4] = { 1, 2, 3, 4 };
	struct et_keys_item x = {
		.type = ET_KEYS_DTLS,
		.time_us = 1700000000000000,
		.party = 1,
		.suite = 1,
		.version = 0xFEFD,
		.cipher = 0xC02C,
		.mki = { mki, sizeof(mki) },
	};
	memset(x.client_random, 0xA1, sizeof(x.client_random));
	memset(x.server_random, 0xB2, sizeof(x.server_random));

	assert_int_equal(et_keys_add(&b, &x), 0);
	assert_true(b.size <= ET_KEYS_ITEM_MAX);
	assert_int_equal(et_keys_reader_init(&r, (struct et_view){ b.data, b.size }, NULL), 0);
	assert_int_equal(et_keys_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.type, ET_KEYS_DTLS);
	assert_int_equal(i.time_us, x.time_us);
	assert_int_equal(i.party, 1);
	assert_int_equal(i.suite, 1);
	assert_int_equal(i.version, 0xFEFD);
	assert_int_equal(i.cipher, 0xC02C);
	assert_memory_equal(i.client_random, x.client_random, 32);
	assert_memory_equal(i.server_random, x.server_random, 32);
	assert_int_equal(i.mki.size, 4);
	assert_memory_equal(i.mki.data, mki, 4);
	assert_int_equal(et_keys_reader_next(&r, &i, NULL), 0);

	b.data[2]--; /* the item's length: cut */
	b.size--;
	assert_int_equal(et_keys_reader_init(&r, (struct et_view){ b.data, b.size }, NULL), 0);
	assert_int_equal(et_keys_reader_next(&r, &i, NULL), ET_EMALFORMED);
	et_buffer_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_come_back),
		cmocka_unit_test(handshakes_come_back),
		cmocka_unit_test(what_a_later_version_adds_is_passed_over),
		cmocka_unit_test(what_is_cut_or_too_long_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
