#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/crypto/box.h"
#include "node/crypto/sign.h"
#include "node/crypto/test/test_util.h"

static void opens_under_the_same_root_and_label_only(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *other = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *plain = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *back = NULL;
	struct et_buffer box = { 0 };
	struct et_error e;

	(void)state;
	assert_int_equal(et_secret_random(32, &root, &e), 0);
	assert_int_equal(et_secret_random(32, &other, &e), 0);
	assert_int_equal(et_secret_random(138, &plain, &e), 0);
	assert_int_equal(et_box_seal(root, "identity/tls", plain, &box, &e), 0);
	assert_int_equal(box.size, 138 + ET_BOX_OVERHEAD_SIZE);
	const struct et_view view = { box.data, box.size };
	assert_int_equal(et_box_open(root, "identity/tls", view, &back, &e), 0);
	assert_true(et_secret_equal(plain, back));

	back = et_secret_free(back);
	assert_int_equal(et_box_open(other, "identity/tls", view, &back, &e), ET_ECORRUPT);
	assert_int_equal(et_box_open(root, "identity/sign", view, &back, &e), ET_ECORRUPT);
	assert_int_equal(et_box_open(root, "", view, &back, &e), ET_ECORRUPT);
	for (size_t i = 0; i < box.size; i++) {
		int want = i == 4 || i == 5 ? ET_EVERSION : ET_ECORRUPT;
		box.data[i] ^= 1;
		assert_int_equal(et_box_open(root, "identity/tls", view, &back, &e), want);
		box.data[i] ^= 1;
	}
	for (size_t size = 0; size < box.size; size++) {
		assert_int_equal(et_box_open(root, "identity/tls",
					     (struct et_view){ box.data, size }, &back, &e),
				 ET_ECORRUPT);
	}
	assert_null(back);
	et_buffer_release(&box);
}

static void the_longest_secret_fits_and_two_boxes_differ(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = et_secret_new(32);
	ET_CLEANUP(et_secret_freep) struct et_secret *plain = et_secret_new(ET_SECRET_SIZE_MAX);
	ET_CLEANUP(et_secret_freep) struct et_secret *back = NULL;
	struct et_buffer a = { 0 };
	struct et_buffer b = { 0 };

	(void)state;
	assert_int_equal(et_box_seal(root, "x", plain, &a, NULL), 0);
	assert_int_equal(et_box_seal(root, "x", plain, &b, NULL), 0);
	assert_memory_not_equal(a.data + ET_BOX_OVERHEAD_SIZE - 16,
				b.data + ET_BOX_OVERHEAD_SIZE - 16, ET_SECRET_SIZE_MAX);
	assert_int_equal(et_box_open(root, "x", (struct et_view){ a.data, a.size }, &back, NULL),
			 0);
	assert_true(et_secret_equal(plain, back));
	et_buffer_release(&a);
	et_buffer_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_under_the_same_root_and_label_only),
		cmocka_unit_test(the_longest_secret_fits_and_two_boxes_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
