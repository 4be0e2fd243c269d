#include "node/crypto/merkle.h"

#include <string.h>

static void merkle_node(const uint8_t left[ET_SHA256_SIZE], const uint8_t right[ET_SHA256_SIZE],
			uint8_t ret[ET_SHA256_SIZE])
{
	uint8_t bytes[1 + 2 * ET_SHA256_SIZE] = { 0x01 };

	memcpy(bytes + 1, left, ET_SHA256_SIZE);
	memcpy(bytes + 1 + ET_SHA256_SIZE, right, ET_SHA256_SIZE);
	et_sha256(bytes, sizeof(bytes), ret);
}

void et_merkle_leaf(const void *data, size_t size, uint8_t ret[ET_SHA256_SIZE])
{
	struct et_sha256 *h = et_sha256_new();

	et_assert(h != NULL); /* As et_sha256(): no hash, no going on. */
	et_merkle_leaf_in(h, data, size, ret);
	(void)et_sha256_free(h);
}

void et_merkle_leaf_in(struct et_sha256 *h, const void *data, size_t size,
		       uint8_t ret[ET_SHA256_SIZE])
{
	et_sha256_add(h, "\0", 1);
	et_sha256_add(h, data, size);
	et_sha256_end(h, ret);
}

/* peaks[level] is the root of a full subtree of 2^level leaves when that bit of count is set. A new
 * leaf carries like a binary addition. */
void et_merkle_add(struct et_merkle *m, const uint8_t leaf[ET_SHA256_SIZE])
{
	uint8_t carry[ET_SHA256_SIZE];
	unsigned level = 0;

	et_assert(m->count < UINT64_C(1) << ET_MERKLE_DEPTH_MAX);
	memcpy(carry, leaf, sizeof(carry));
	for (uint64_t bits = m->count; (bits & 1) != 0; bits >>= 1) {
		merkle_node(m->peaks[level], carry, carry);
		level++;
	}
	memcpy(m->peaks[level], carry, sizeof(carry));
	m->count++;
}

void et_merkle_root(const struct et_merkle *m, uint8_t ret[ET_SHA256_SIZE])
{
	bool begun = false;

	if (m->count == 0) {
		et_sha256(NULL, 0, ret);
		return;
	}
	for (unsigned level = 0; level <= ET_MERKLE_DEPTH_MAX; level++) {
		if ((m->count >> level & 1) == 0) {
			continue;
		}
		if (!begun) {
			memcpy(ret, m->peaks[level], ET_SHA256_SIZE);
			begun = true;
		} else {
			merkle_node(m->peaks[level], ret, ret);
		}
	}
}

void et_merkle_root_of(const uint8_t *leaves, uint64_t count, uint8_t ret[ET_SHA256_SIZE])
{
	struct et_merkle m = { 0 };

	for (uint64_t i = 0; i < count; i++) {
		et_merkle_add(&m, leaves + i * ET_SHA256_SIZE);
	}
	et_merkle_root(&m, ret);
}

size_t et_merkle_proof(const uint8_t *leaves, uint64_t count, uint64_t index,
		       uint8_t ret[ET_MERKLE_PATH_SIZE_MAX])
{
	size_t depth = 0;

	et_assert(index < count);
	et_assert(count <= UINT64_C(1) << ET_MERKLE_DEPTH_MAX);
	while (count > 1) { /* From the root down: the sibling of the half that holds the leaf. */
		uint64_t left = 1;
		while (left * 2 < count) {
			left *= 2;
		}
		et_assert(depth < ET_MERKLE_DEPTH_MAX);
		if (index < left) {
			et_merkle_root_of(leaves + left * ET_SHA256_SIZE, count - left,
					  ret + depth * ET_SHA256_SIZE);
			count = left;
		} else {
			et_merkle_root_of(leaves, left, ret + depth * ET_SHA256_SIZE);
			leaves += left * ET_SHA256_SIZE;
			index -= left;
			count -= left;
		}
		depth++;
	}
	for (size_t i = 0; i < depth / 2; i++) { /* Lowest first. */
		uint8_t *a = ret + i * ET_SHA256_SIZE;
		uint8_t *b = ret + (depth - 1 - i) * ET_SHA256_SIZE;
		uint8_t held[ET_SHA256_SIZE];
		memcpy(held, a, sizeof(held));
		memcpy(a, b, sizeof(held));
		memcpy(b, held, sizeof(held));
	}
	return depth;
}

/* RFC 9162, section 2.1.3.2: the same trees, the algorithm spelt out. */
int et_merkle_verify(const uint8_t leaf[ET_SHA256_SIZE], uint64_t index, uint64_t count,
		     const uint8_t *path, size_t path_count, const uint8_t root[ET_SHA256_SIZE])
{
	uint8_t hash[ET_SHA256_SIZE];

	if (index >= count) {
		return ET_EINTEGRITY;
	}
	uint64_t node = index;
	uint64_t last = count - 1;
	memcpy(hash, leaf, sizeof(hash));
	for (size_t i = 0; i < path_count; i++) {
		if (last == 0) {
			return ET_EINTEGRITY;
		}
		if ((node & 1) != 0 || node == last) {
			merkle_node(path + i * ET_SHA256_SIZE, hash, hash);
			while ((node & 1) == 0 && node != 0) {
				node >>= 1;
				last >>= 1;
			}
		} else {
			merkle_node(hash, path + i * ET_SHA256_SIZE, hash);
		}
		node >>= 1;
		last >>= 1;
	}
	bool same = last == 0 && et_equal_constant_time(hash, root, sizeof(hash));
	return same ? 0 : ET_EINTEGRITY;
}

/* ---- Ranges -----------------------------------------------------------------------------------
 */

/* A walk over the subtrees, from left to right; leaves first..end are the range. */
struct range {
	uint64_t first;
	uint64_t end;
	const uint8_t *leaves; /* all of them; NULL: only count */
	const uint8_t *inside; /* of the range; when a root is made */
	const uint8_t *given;  /* the next hash from outside */
	uint8_t *ret;	       /* where the next hash goes */
	size_t size;
};

static uint64_t left_size(uint64_t size)
{
	uint64_t left = 1;

	while (left * 2 < size) {
		left *= 2;
	}
	return left;
}

static void range_outside(struct range *r, uint64_t low, uint64_t size)
{
	if (r->first <= low && low + size <= r->end) {
		return;
	}
	if (r->end <= low || low + size <= r->first) {
		if (r->leaves != NULL) {
			et_merkle_root_of(r->leaves + low * ET_SHA256_SIZE, size,
					  r->ret + r->size * ET_SHA256_SIZE);
		}
		r->size++;
		return;
	}
	const uint64_t left = left_size(size); /* size > 1: a leaf is inside or outside */
	range_outside(r, low, left);
	range_outside(r, low + left, size - left);
}

size_t et_merkle_range_size(uint64_t count, uint64_t first, uint64_t n)
{
	struct range r = { .first = first, .end = first + n };

	et_assert(n > 0 && count <= UINT64_C(1) << ET_MERKLE_DEPTH_MAX);
	et_assert(first < count && n <= count - first);
	range_outside(&r, 0, count);
	return r.size;
}

void et_merkle_range_proof(const uint8_t *leaves, uint64_t count, uint64_t first, uint64_t n,
			   uint8_t *ret)
{
	struct range r = { .first = first, .end = first + n, .leaves = leaves, .ret = ret };

	et_assert(n > 0 && first < count && n <= count - first);
	range_outside(&r, 0, count);
}

static void range_root(struct range *r, uint64_t low, uint64_t size, uint8_t ret[ET_SHA256_SIZE])
{
	uint8_t right[ET_SHA256_SIZE];

	if (r->first <= low && low + size <= r->end) {
		et_merkle_root_of(r->inside + (low - r->first) * ET_SHA256_SIZE, size, ret);
	} else if (r->end <= low || low + size <= r->first) {
		memcpy(ret, r->given, ET_SHA256_SIZE);
		r->given += ET_SHA256_SIZE;
	} else {
		const uint64_t left = left_size(size);
		range_root(r, low, left, ret);
		range_root(r, low + left, size - left, right);
		merkle_node(ret, right, ret);
	}
}

void et_merkle_range_root(uint64_t count, uint64_t first, const uint8_t *range, uint64_t n,
			  const uint8_t *outside, uint8_t ret[ET_SHA256_SIZE])
{
	struct range r = { .first = first, .end = first + n, .inside = range, .given = outside };

	et_assert(n > 0 && first < count && n <= count - first);
	range_root(&r, 0, count, ret);
}
