/* Sorting keys: see sort_internal.h.
 *
 *   head    the next 7 bytes of a key, and how many are left of it: 8 of them are one number whose
 *           order is that of the bytes. It lies in the list, so comparing needs no memory but that
 *   run     keys that are alike so far: their heads are loaded and sorted; those of one head are
 *           a run again, 7 bytes further, unless nothing is left of them: then they are equal
 *   heads   many: by the highest byte in which they differ, and each part by itself; few: inserted
 *
 * Why 7 and not 8: with zeros behind its end "a" would have the head of "a\0". */
#include <string.h>

#include "raft/state/sort_internal.h"
#include "raft/state/state_internal.h"

enum {
	PIECE = 7,
	MORE = 8, /* in a head's last byte: more than PIECE bytes are left */
	DEPTH = STATE_KEY_MAX / PIECE + 1,
	FEW = 32, /* by measurement: 16 and 64 are a little slower */
};

static uint64_t head_of(const struct sort_key *k, size_t from)
{
	size_t left = k->size - from;
	uint64_t head = left;

	if (left > PIECE) {
		return (et_get64(k->key + from) & ~UINT64_C(0xff)) | MORE;
	}
	for (size_t i = 0; i < left; i++) {
		head |= (uint64_t)k->key[from + i] << (56 - 8 * i);
	}
	return head;
}

static void heads_insert(struct sort_key *list, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct sort_key k = list[i];
		size_t at = i;
		for (; at > 0 && list[at - 1].head > k.head; at--) {
			list[at] = list[at - 1];
		}
		list[at] = k;
	}
}

/* NOLINTBEGIN(misc-no-recursion): at most as deep as a head has bytes. */

static void heads_sort(struct sort_key *list, struct sort_key *spare, size_t count);

static void heads_part(struct sort_key *list, struct sort_key *spare, size_t count, unsigned shift)
{
	uint32_t ends[256] = { 0 };
	uint32_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		ends[(uint8_t)(list[i].head >> shift)]++;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(ends); i++) {
		uint32_t of = ends[i];
		ends[i] = sum;
		sum += of;
	}
	for (size_t i = 0; i < count; i++) { /* now each grows to its end */
		spare[ends[(uint8_t)(list[i].head >> shift)]++] = list[i];
	}
	memcpy(list, spare, count * sizeof(*list));
	for (size_t i = 0, from = 0; i < ET_ARRAY_SIZE(ends); from = ends[i++]) {
		heads_sort(list + from, spare, ends[i] - from);
	}
}

static void heads_sort(struct sort_key *list, struct sort_key *spare, size_t count)
{
	uint64_t differ = 0;
	bool in_order = true;

	if (count <= FEW) {
		heads_insert(list, count);
		return;
	}
	for (size_t i = 1; i < count; i++) {
		differ |= list[i].head ^ list[0].head;
		in_order = in_order && list[i - 1].head <= list[i].head;
	}
	if (!in_order) {
		unsigned highest = 63 - (unsigned)__builtin_clzll(differ);
		heads_part(list, spare, count, highest / 8 * 8);
	}
}

/* NOLINTEND(misc-no-recursion) */

/* A run of keys that are alike in all bytes before `from`. */
static void run_sort(struct sort_key *list, struct sort_key *spare, size_t count, size_t from)
{
	for (size_t i = 0; i < count; i++) {
		list[i].head = head_of(&list[i], from);
	}
	heads_sort(list, spare, count);
}

void keys_sort(struct sort_key *list, struct sort_key *spare, size_t count)
{
	size_t ends[DEPTH] = { count }; /* of the run that we are in, and of those that it is in */
	size_t depth = 0;

	run_sort(list, spare, count, 0);
	for (size_t at = 0; at < count;) {
		while (at == ends[depth]) {
			depth--;
		}
		size_t end = at + 1;
		while (end < ends[depth] && list[end].head == list[at].head) {
			end++;
		}
		if (end - at == 1 || (uint8_t)list[at].head < MORE) {
			at = end;
			continue;
		}
		depth++;
		et_assert(depth < DEPTH);
		ends[depth] = end;
		run_sort(list + at, spare, end - at, depth * PIECE);
	}
}

/* Equal keys came all the way in the same runs, so they have the same head. */
bool sort_key_same(const struct sort_key *a, const struct sort_key *b)
{
	return a->head == b->head && a->size == b->size && memcmp(a->key, b->key, a->size) == 0;
}
