#include "node/crypto/sha256_pair.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#endif

enum { BLOCK = 64 };

/* A hash as FIPS 180-4 has it: eight words, a block that is being filled, the length so far. */
struct lane {
	uint32_t words[8];
	uint8_t block[BLOCK];
	size_t fill;	/* bytes in block; < BLOCK */
	uint64_t bytes; /* of the message so far */
};

struct et_sha256_pair {
	bool fast;
	struct lane lanes[2];	/* fast: the long one, the piece */
	struct et_sha256 *slow; /* owned; else: the long one */
	struct et_sha256 *slow_piece;
};

#if defined(__x86_64__)

static const uint32_t initial_words[8] = { 0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
					   0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19 };

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
	0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4,
	0xAB1C5ED5, 0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE,
	0x9BDC06A7, 0xC19BF174, 0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F,
	0x4A7484AA, 0x5CB0A9DC, 0x76F988DA, 0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7,
	0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967, 0x27B70A85, 0x2E1B2138, 0x4D2C6DFC,
	0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85, 0xA2BFE8A1, 0xA81A664B,
	0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070, 0x19A4C116,
	0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
	0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7,
	0xC67178F2
};

#define SHA_TARGET __attribute__((target("sha,avx,sse4.1,ssse3")))

/* The words as the instructions want them: a, b, e, f in one register, c, d, g, h in the other. */
struct registers {
	__m128i abef;
	__m128i cdgh;
};

SHA_TARGET static inline struct registers registers_load(const uint32_t words[8])
{
	__m128i abcd = _mm_loadu_si128((const __m128i_u *)words);
	__m128i efgh = _mm_loadu_si128((const __m128i_u *)(words + 4));

	abcd = _mm_shuffle_epi32(abcd, 0xB1); /* c d a b, lowest last */
	efgh = _mm_shuffle_epi32(efgh, 0x1B);
	return (struct registers){ .abef = _mm_alignr_epi8(abcd, efgh, 8),
				   .cdgh = _mm_blend_epi16(efgh, abcd, 0xF0) };
}

SHA_TARGET static inline void registers_store(struct registers r, uint32_t words[8])
{
	const __m128i feba = _mm_shuffle_epi32(r.abef, 0x1B);
	const __m128i dchg = _mm_shuffle_epi32(r.cdgh, 0xB1);

	_mm_storeu_si128((__m128i_u *)words, _mm_blend_epi16(feba, dchg, 0xF0));
	_mm_storeu_si128((__m128i_u *)(words + 4), _mm_alignr_epi8(dchg, feba, 8));
}

SHA_TARGET static inline __m128i four_words(const uint8_t *p, int n)
{
	const __m128i big_endian = _mm_set_epi64x(0x0C0D0E0F08090A0B, 0x0405060700010203);

	return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i_u *)(p + (size_t)n * 16)),
				big_endian);
}

/* Four rounds with the message words `w`. */
SHA_TARGET static inline void four_rounds(struct registers *r, __m128i w, int n)
{
	const __m128i k = _mm_load_si128((const __m128i *)(round_constants + (size_t)n * 4));
	const __m128i wk = _mm_add_epi32(w, k);

	r->cdgh = _mm_sha256rnds2_epu32(r->cdgh, r->abef, wk);
	r->abef = _mm_sha256rnds2_epu32(r->abef, r->cdgh, _mm_shuffle_epi32(wk, 0x0E));
}

/* The four message words sixteen behind: w[0] becomes w[4] of the schedule. */
SHA_TARGET static inline __m128i next_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3)
{
	const __m128i t = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));

	return _mm_sha256msg2_epu32(t, w3);
}

SHA_TARGET static void blocks_one(uint32_t words[8], const uint8_t *p, size_t count)
{
	struct registers r = registers_load(words);

	for (; count > 0; count--, p += BLOCK) {
		const struct registers before = r;
		__m128i w[4] = { four_words(p, 0), four_words(p, 1), four_words(p, 2),
				 four_words(p, 3) };
#pragma GCC unroll 16
		for (int n = 0; n < 16; n++) {
			four_rounds(&r, w[n & 3], n);
			if (n < 12) {
				w[n & 3] = next_words(w[n & 3], w[(n + 1) & 3], w[(n + 2) & 3],
						      w[(n + 3) & 3]);
			}
		}
		r.abef = _mm_add_epi32(r.abef, before.abef);
		r.cdgh = _mm_add_epi32(r.cdgh, before.cdgh);
	}
	registers_store(r, words);
}

/* As above, for two messages side by side. */
SHA_TARGET static void blocks_two(uint32_t words_a[8], const uint8_t *a, uint32_t words_b[8],
				  const uint8_t *b, size_t count)
{
	struct registers ra = registers_load(words_a);
	struct registers rb = registers_load(words_b);

	for (; count > 0; count--, a += BLOCK, b += BLOCK) {
		const struct registers before_a = ra;
		const struct registers before_b = rb;
		__m128i wa[4] = { four_words(a, 0), four_words(a, 1), four_words(a, 2),
				  four_words(a, 3) };
		__m128i wb[4] = { four_words(b, 0), four_words(b, 1), four_words(b, 2),
				  four_words(b, 3) };
#pragma GCC unroll 16
		for (int n = 0; n < 16; n++) {
			four_rounds(&ra, wa[n & 3], n);
			four_rounds(&rb, wb[n & 3], n);
			if (n < 12) {
				wa[n & 3] = next_words(wa[n & 3], wa[(n + 1) & 3], wa[(n + 2) & 3],
						       wa[(n + 3) & 3]);
				wb[n & 3] = next_words(wb[n & 3], wb[(n + 1) & 3], wb[(n + 2) & 3],
						       wb[(n + 3) & 3]);
			}
		}
		ra.abef = _mm_add_epi32(ra.abef, before_a.abef);
		ra.cdgh = _mm_add_epi32(ra.cdgh, before_a.cdgh);
		rb.abef = _mm_add_epi32(rb.abef, before_b.abef);
		rb.cdgh = _mm_add_epi32(rb.cdgh, before_b.cdgh);
	}
	registers_store(ra, words_a);
	registers_store(rb, words_b);
}

/* cpuid is slow under a hypervisor: once. */
bool et_sha256_pair_is_fast(void)
{
	static atomic_int known; /* 0: not asked yet, 1: no, 2: yes */
	int k = atomic_load_explicit(&known, memory_order_relaxed);

	if (k == 0) {
		unsigned a;
		unsigned b;
		unsigned c;
		unsigned d;
		bool sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
		k = sha && __builtin_cpu_supports("avx") ? 2 : 1;
		atomic_store_explicit(&known, k, memory_order_relaxed);
	}
	return k == 2;
}

static void lane_begin(struct lane *l)
{
	memcpy(l->words, initial_words, sizeof(l->words));
	l->fill = 0;
	l->bytes = 0;
}

/* Bytes of `data` that complete the block at hand, hashed; how many those were. */
static size_t lane_fill(struct lane *l, const uint8_t *data, size_t size)
{
	size_t n = 0;

	if (l->fill > 0) {
		n = BLOCK - l->fill < size ? BLOCK - l->fill : size;
		memcpy(l->block + l->fill, data, n);
		l->fill += n;
		if (l->fill == BLOCK) {
			blocks_one(l->words, l->block, 1);
			l->fill = 0;
		}
	}
	return n;
}

/* What is left behind the whole blocks; with a block at hand there is nothing left. */
static void lane_keep(struct lane *l, const uint8_t *data, size_t size)
{
	et_assert(size < BLOCK && (size == 0 || l->fill == 0));
	if (size > 0) {
		memcpy(l->block, data, size);
		l->fill = size;
	}
}

static void lane_add(struct lane *l, const uint8_t *data, size_t size)
{
	l->bytes += size;
	const size_t n = lane_fill(l, data, size);
	const size_t count = (size - n) / BLOCK;
	if (count > 0) {
		blocks_one(l->words, data + n, count);
	}
	lane_keep(l, data + n + count * BLOCK, size - n - count * BLOCK);
}

static void lanes_add(struct lane *a, struct lane *b, const uint8_t *data, size_t size)
{
	a->bytes += size;
	b->bytes += size;
	size_t at_a = lane_fill(a, data, size);
	size_t at_b = lane_fill(b, data, size);
	const size_t count_a = (size - at_a) / BLOCK;
	const size_t count_b = (size - at_b) / BLOCK;
	const size_t both = count_a < count_b ? count_a : count_b;
	if (both > 0) {
		blocks_two(a->words, data + at_a, b->words, data + at_b, both);
	}
	if (count_a > both) {
		blocks_one(a->words, data + at_a + both * BLOCK, count_a - both);
	}
	if (count_b > both) {
		blocks_one(b->words, data + at_b + both * BLOCK, count_b - both);
	}
	at_a += count_a * BLOCK;
	at_b += count_b * BLOCK;
	lane_keep(a, data + at_a, size - at_a);
	lane_keep(b, data + at_b, size - at_b);
}

/* 0x80, zeros, the length in bits. */
static void lane_end(struct lane *l, uint8_t ret[ET_SHA256_SIZE])
{
	const uint64_t bits = l->bytes * 8;

	l->block[l->fill++] = 0x80;
	if (l->fill > BLOCK - 8) {
		memset(l->block + l->fill, 0, BLOCK - l->fill);
		blocks_one(l->words, l->block, 1);
		l->fill = 0;
	}
	memset(l->block + l->fill, 0, BLOCK - 8 - l->fill);
	et_put64(l->block + BLOCK - 8, bits);
	blocks_one(l->words, l->block, 1);
	for (size_t i = 0; i < ET_ARRAY_SIZE(l->words); i++) {
		et_put32(ret + i * 4, l->words[i]);
	}
	lane_begin(l);
}

#else

bool et_sha256_pair_is_fast(void)
{
	return false;
}

#endif

static struct et_sha256_pair *pair_new(bool fast)
{
	struct et_sha256_pair *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		return NULL;
	}
	p->fast = fast;
#if defined(__x86_64__)
	lane_begin(&p->lanes[0]);
	lane_begin(&p->lanes[1]);
#endif
	if (!fast) {
		p->slow = et_sha256_new();
		p->slow_piece = et_sha256_new();
		if (p->slow == NULL || p->slow_piece == NULL) {
			return et_sha256_pair_free(p);
		}
	}
	return p;
}

struct et_sha256_pair *et_sha256_pair_new(void)
{
	return pair_new(et_sha256_pair_is_fast());
}

struct et_sha256_pair *et_sha256_pair_new_slow(void)
{
	return pair_new(false);
}

struct et_sha256_pair *et_sha256_pair_free(struct et_sha256_pair *p)
{
	if (p != NULL) {
		(void)et_sha256_free(p->slow);
		(void)et_sha256_free(p->slow_piece);
		free(p);
	}
	return NULL;
}

void et_sha256_pair_add(struct et_sha256_pair *p, const void *data, size_t size)
{
#if defined(__x86_64__)
	if (p->fast) {
		lane_add(&p->lanes[0], data, size);
		return;
	}
#endif
	et_sha256_add(p->slow, data, size);
}

void et_sha256_pair_piece(struct et_sha256_pair *p, uint8_t prefix, const void *data, size_t size,
			  uint8_t ret[ET_SHA256_SIZE])
{
#if defined(__x86_64__)
	if (p->fast) {
		struct lane *piece = &p->lanes[1];
		piece->block[0] = prefix;
		piece->fill = 1;
		piece->bytes = 1;
		lanes_add(&p->lanes[0], piece, data, size);
		lane_end(piece, ret);
		return;
	}
#endif
	et_sha256_add(p->slow, data, size);
	et_sha256_add(p->slow_piece, &prefix, 1);
	et_sha256_add(p->slow_piece, data, size);
	et_sha256_end(p->slow_piece, ret);
}

void et_sha256_pair_end(struct et_sha256_pair *p, uint8_t ret[ET_SHA256_SIZE])
{
#if defined(__x86_64__)
	if (p->fast) {
		lane_end(&p->lanes[0], ret);
		return;
	}
#endif
	et_sha256_end(p->slow, ret);
}
