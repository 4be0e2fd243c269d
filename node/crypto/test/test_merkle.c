#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/crypto/merkle.h"
#include "node/crypto/test/test_util.h"

enum { LEAVES_MAX = 70 };

static uint8_t leaves[LEAVES_MAX][ET_SHA256_SIZE];

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEAVES_MAX; i++) {
		uint8_t data = (uint8_t)i;
		et_merkle_leaf(&data, 1, leaves[i]);
	}
	return 0;
}

/* The roots of the well-known tree of eight inputs of Certificate Transparency's own tests. */
static void follows_rfc_6962(void **state)
{
	static const char *const inputs[] = { "",
					      "00",
					      "10",
					      "2021",
					      "3031",
					      "40414243",
					      "5051525354555657",
					      "606162636465666768696a6b6c6d6e6f" };
	static const char *const roots[] = {
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	};
	struct et_merkle m = { 0 };
	uint8_t root[ET_SHA256_SIZE];

	(void)state;
	et_merkle_root(&m, root);
	assert_memory_equal(
		root,
		unhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").data, 32);
	for (size_t i = 0; i < ET_ARRAY_SIZE(inputs); i++) {
		struct et_view input = unhex(inputs[i]);
		uint8_t leaf[ET_SHA256_SIZE];
		et_merkle_leaf(input.data, input.size, leaf);
		et_merkle_add(&m, leaf);
		et_merkle_root(&m, root);
		assert_memory_equal(root, unhex(roots[i]).data, sizeof(root));
	}
}

static void every_leaf_of_every_tree_is_proved_and_no_other(void **state)
{
	uint8_t path[ET_MERKLE_PATH_SIZE_MAX + ET_SHA256_SIZE] = { 0 };
	uint8_t root[ET_SHA256_SIZE];

	(void)state;
	for (uint64_t count = 1; count <= LEAVES_MAX; count++) {
		et_merkle_root_of(leaves[0], count, root);
		for (uint64_t index = 0; index < count; index++) {
			size_t n = et_merkle_proof(leaves[0], count, index, path);
			assert_int_equal(
				et_merkle_verify(leaves[index], index, count, path, n, root), 0);
			uint64_t other = (index + 1) % LEAVES_MAX;
			assert_int_equal(
				et_merkle_verify(leaves[other], index, count, path, n, root),
				ET_EINTEGRITY);
			assert_int_equal(
				et_merkle_verify(leaves[index], index, count, path, n + 1, root),
				ET_EINTEGRITY);
			if (n > 0) {
				assert_int_equal(et_merkle_verify(leaves[index], index, count, path,
								  n - 1, root),
						 ET_EINTEGRITY);
				path[(n - 1) * ET_SHA256_SIZE] ^= 1;
				assert_int_equal(et_merkle_verify(leaves[index], index, count, path,
								  n, root),
						 ET_EINTEGRITY);
			}
			assert_int_equal(
				et_merkle_verify(leaves[index], count, count, path, n, root),
				ET_EINTEGRITY);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_rfc_6962),
		cmocka_unit_test(every_leaf_of_every_tree_is_proved_and_no_other),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
