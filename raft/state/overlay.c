/* What a group has written so far, in memory: apply reads through it, commit writes it out.
 *
 * Happy path: state_put() sets a key, later commands of the group find it by hash; at the end of
 * the group each family's keys are sorted and go into one WriteBatch, each key once, with its last
 * value. Sorted, neighbours in a memtable are inserted one after the other, which costs it a
 * fraction of inserting them at random; and a key that a group writes many times costs one insert.
 *
 * Memory: entries and bytes are kept from group to group, up to KEEP_BLOCKS of them. */
#include "raft/state/overlay_internal.h"

enum { BLOCK_BYTES = 256 * 1024, KEEP_BLOCKS = 32, SLOTS_MIN = 1024 };

struct overlay_block {
	struct overlay_block *next;
	size_t size;
	uint8_t data[];
};

/* ---- Bytes ---- */

static uint8_t *overlay_bytes(struct overlay *o, size_t size)
{
	if (o->block == NULL || o->used + size > o->block->size) {
		size_t want = size > BLOCK_BYTES ? size : BLOCK_BYTES;
		struct overlay_block *b = o->spare;
		if (want == BLOCK_BYTES && b != NULL) {
			o->spare = b->next;
			o->spare_count--;
		} else {
			b = malloc(sizeof(*b) + want);
			if (b == NULL) {
				o->failed = true;
				return NULL;
			}
			b->size = want;
		}
		b->next = o->block;
		o->block = b;
		o->used = 0;
	}
	uint8_t *p = o->block->data + o->used;
	o->used += size;
	return p;
}

static void overlay_blocks_keep(struct overlay *o)
{
	while (o->block != NULL) {
		struct overlay_block *b = o->block;
		o->block = b->next;
		if (b->size == BLOCK_BYTES && o->spare_count < KEEP_BLOCKS) {
			b->next = o->spare;
			o->spare = b;
			o->spare_count++;
		} else {
			free(b);
		}
	}
	o->used = 0;
}

/* ---- Keys ---- */

static uint32_t overlay_hash(enum state_cf cf, const void *key, size_t size)
{
	return et_crc32c((uint32_t)cf, key, size);
}

static bool entry_is(const struct overlay_entry *e, uint32_t hash, enum state_cf cf,
		     const void *key, size_t size)
{
	return e->hash == hash && e->cf == cf && e->key_size == size &&
	       memcmp(e->key, key, size) == 0;
}

/* The slot of a key, or the empty one where it belongs. There is always an empty one. */
static size_t slot_of(const struct overlay *o, uint32_t hash, enum state_cf cf, const void *key,
		      size_t size)
{
	size_t at = hash & (o->slot_count - 1);

	while (o->slots[at] != NULL && !entry_is(o->slots[at], hash, cf, key, size)) {
		at = (at + 1) & (o->slot_count - 1);
	}
	return at;
}

static bool slots_grow(struct overlay *o)
{
	size_t count = o->slot_count == 0 ? SLOTS_MIN : o->slot_count * 2;
	struct overlay_entry **slots = calloc(count, sizeof(struct overlay_entry *));

	if (slots == NULL) {
		o->failed = true;
		return false;
	}
	for (size_t i = 0; i < o->slot_count; i++) {
		if (o->slots[i] != NULL) {
			size_t at = o->slots[i]->hash & (count - 1);
			while (slots[at] != NULL) {
				at = (at + 1) & (count - 1);
			}
			slots[at] = o->slots[i];
			slots[at]->slot = at;
		}
	}
	free(o->slots);
	o->slots = slots;
	o->slot_count = count;
	return true;
}

static bool list_add(struct overlay *o, struct overlay_entry *e)
{
	struct overlay_list *l = &o->lists[e->cf];

	if (l->count == l->capacity) {
		size_t capacity = l->capacity == 0 ? 64 : l->capacity * 2;
		struct overlay_entry **p =
			realloc(l->entries, capacity * sizeof(struct overlay_entry *));
		if (p == NULL) {
			o->failed = true;
			return false;
		}
		l->entries = p;
		l->capacity = capacity;
	}
	l->entries[l->count++] = e;
	return true;
}

const struct overlay_entry *overlay_find(const struct overlay *o, enum state_cf cf, const void *key,
					 size_t size)
{
	if (o->count == 0) {
		return NULL;
	}
	return o->slots[slot_of(o, overlay_hash(cf, key, size), cf, key, size)];
}

static struct overlay_entry *overlay_entry(struct overlay *o, enum state_cf cf, const void *key,
					   size_t size)
{
	if (o->count * 2 >= o->slot_count && !slots_grow(o)) {
		return NULL;
	}
	uint32_t hash = overlay_hash(cf, key, size);
	size_t at = slot_of(o, hash, cf, key, size);
	if (o->slots[at] != NULL) {
		return o->slots[at];
	}
	size_t room = (sizeof(struct overlay_entry) + size + 15) / 16 * 16;
	struct overlay_entry *e = (void *)overlay_bytes(o, room);
	if (e == NULL) {
		return NULL;
	}
	*e = (struct overlay_entry){ .hash = hash, .cf = cf, .key_size = size };
	e->key = (const uint8_t *)(e + 1);
	memcpy(e + 1, key, size);
	key_heads(e->key, e->key_size, e->head);
	if (!list_add(o, e)) {
		return NULL;
	}
	o->slots[at] = e;
	e->slot = at;
	o->count++;
	return e;
}

uint8_t *overlay_put(struct overlay *o, enum state_cf cf, const void *key, size_t size,
		     size_t value_size)
{
	struct overlay_entry *e = overlay_entry(o, cf, key, size);

	if (e == NULL) {
		return NULL;
	}
	size_t room = (value_size + 15) / 16 * 16;
	uint8_t *value = room <= e->room ? e->value : overlay_bytes(o, room);
	if (value == NULL && room > 0) {
		return NULL;
	}
	static uint8_t none[1];
	e->value = value != NULL ? value : none;
	e->room = room > e->room ? room : e->room;
	e->value_size = value_size;
	e->deleted = false;
	return e->value;
}

void overlay_delete(struct overlay *o, enum state_cf cf, const void *key, size_t size)
{
	struct overlay_entry *e = overlay_entry(o, cf, key, size);

	if (e != NULL) {
		e->deleted = true;
	}
}

/* ---- Order ---- */

static int entry_compare(const struct overlay_entry *a, const struct overlay_entry *b)
{
	return keys_order(a->head, a->key, a->key_size, b->head, b->key, b->key_size);
}

static int entry_order(const void *a, const void *b)
{
	return entry_compare(*(struct overlay_entry *const *)a, *(struct overlay_entry *const *)b);
}

/* Put the last entry of `count` in its place among the others, which are sorted. */
static void list_insert(struct overlay_entry **entries, size_t count)
{
	struct overlay_entry *e = entries[count - 1];
	size_t low = 0;
	size_t high = count - 1;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (entry_compare(entries[middle], e) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	memmove(&entries[low + 1], &entries[low],
		(count - 1 - low) * sizeof(struct overlay_entry *));
	entries[low] = e;
}

const struct overlay_list *overlay_sorted(struct overlay *o, enum state_cf cf)
{
	struct overlay_list *l = &o->lists[cf];
	size_t fresh = l->count - l->sorted;

	if (fresh > 16) {
		qsort(l->entries, l->count, sizeof(l->entries[0]), entry_order);
	} else {
		for (size_t i = l->sorted; i < l->count; i++) {
			list_insert(l->entries, i + 1);
		}
	}
	l->sorted = l->count;
	return l;
}

size_t overlay_seek(const struct overlay_list *l, const void *key, size_t size)
{
	size_t low = 0;
	size_t high = l->count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct overlay_entry *e = l->entries[middle];
		size_t least = e->key_size < size ? e->key_size : size;
		int order = least > 0 ? memcmp(e->key, key, least) : 0;
		if (order < 0 || (order == 0 && e->key_size < size)) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

/* ---- Life ---- */

void overlay_clear(struct overlay *o)
{
	for (size_t i = 0; i < CF_COUNT; i++) {
		struct overlay_list *l = &o->lists[i];
		for (size_t k = 0; k < l->count; k++) {
			o->slots[l->entries[k]->slot] = NULL;
		}
		l->count = l->sorted = 0;
	}
	o->count = 0;
	o->failed = false;
	overlay_blocks_keep(o);
}

void overlay_release(struct overlay *o)
{
	overlay_clear(o);
	while (o->spare != NULL) {
		struct overlay_block *b = o->spare;
		o->spare = b->next;
		free(b);
	}
	for (size_t i = 0; i < CF_COUNT; i++) {
		free(o->lists[i].entries);
	}
	free(o->slots);
	*o = (struct overlay){ 0 };
}
