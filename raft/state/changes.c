/* Changes of the index: see changes_internal.h.
 *
 * A key lies in its row behind its change's first bytes, so that a pointer to it is all that must
 * be sorted. */
#include "raft/state/changes_internal.h"

enum { CHANGE_HEAD = 8, LIST_MIN = 256, AHEAD = 8 };

#define TAG_AGAIN 0x100 /* of a sort_key, beside its change's kind */

/* ---- Rows ---- */

void change_add(struct et_buffer *to, enum tail_kind kind, enum state_cf cf, const uint8_t *key,
		size_t key_size, const uint8_t *value, size_t value_size)
{
	uint8_t *p = et_buffer_reserve(to, CHANGE_HEAD + key_size + value_size);

	if (p == NULL) {
		return;
	}
	p[0] = (uint8_t)kind;
	p[1] = cf == CF_LIVE;
	et_put16(p + 2, (uint16_t)key_size);
	et_put32(p + 4, (uint32_t)value_size);
	memcpy(p + CHANGE_HEAD, key, key_size);
	if (value_size > 0) {
		memcpy(p + CHANGE_HEAD + key_size, value, value_size);
	}
	to->size += CHANGE_HEAD + key_size + value_size;
}

void row_make(struct et_buffer *row, const struct et_buffer *ids, const struct et_buffer *changes)
{
	(void)et_buffer_reserve(row, 4 + ids->size + changes->size);
	et_buffer_add32(row, (uint32_t)(ids->size / ROW_ID_SIZE));
	et_buffer_add(row, ids->data, ids->size);
	et_buffer_add(row, changes->data, changes->size);
}

const uint8_t *row_ids(struct et_view row, size_t *ret_count)
{
	if (row.size < 4 || (row.size - 4) / ROW_ID_SIZE < et_get32(row.data)) {
		return NULL;
	}
	*ret_count = et_get32(row.data);
	return row.data + 4;
}

/* ---- In order ---- */

static bool list_grow(struct change_list *l, size_t count)
{
	if (count <= l->capacity) {
		return true;
	}
	size_t capacity = l->capacity > 0 ? l->capacity : LIST_MIN;
	while (capacity < count) {
		capacity *= 2;
	}
	struct sort_key *p = realloc(l->list, capacity * sizeof(*p));
	if (p == NULL) {
		return false;
	}
	l->list = p;
	l->capacity = capacity;
	return true;
}

/* The next change of a row. */
static int change_read(struct changes *x, struct et_reader *r, bool again)
{
	const uint8_t *p = et_read_bytes(r, CHANGE_HEAD);

	if (p == NULL || p[0] > TAIL_CHANGE) {
		return ET_ECORRUPT;
	}
	struct change_list *l = p[1] != 0 ? &x->live : &x->find;
	uint32_t size = et_get16(p + 2);
	const uint8_t *key = et_read_bytes(r, size + (size_t)et_get32(p + 4));
	if (key == NULL || size == 0 || size > STATE_KEY_MAX) {
		return ET_ECORRUPT;
	}
	if (!list_grow(l, l->count + 1)) {
		return -ENOMEM;
	}
	l->list[l->count++] = (struct sort_key){ .key = key,
						 .size = size,
						 .tag = p[0] | (again ? TAG_AGAIN : 0U) };
	return 0;
}

int changes_read(struct changes *x, struct et_view row, bool again)
{
	size_t ids;
	const uint8_t *from = row_ids(row, &ids);
	int rc = from != NULL ? 0 : ET_ECORRUPT;

	if (rc == 0) {
		from += ids * ROW_ID_SIZE;
		struct et_reader r = et_reader_of(from, (size_t)(row.data + row.size - from));
		while (rc == 0 && et_reader_left(&r) > 0) {
			rc = change_read(x, &r, again);
		}
	}
	return rc;
}

static void list_settle(struct change_list *l, struct sort_key *spare)
{
	size_t kept = 0;

	keys_sort(l->list, spare, l->count);
	for (size_t i = 0; i < l->count;) {
		uint32_t first = l->list[i].tag;
		size_t end = i + 1;
		while (end < l->count && sort_key_same(&l->list[i], &l->list[end])) {
			end++;
		}
		const struct sort_key *last = &l->list[end - 1];
		if ((uint8_t)last->tag != TAIL_DELETE || first != TAIL_NEW) {
			l->list[kept++] = *last;
		}
		i = end;
	}
	l->count = kept;
}

int changes_settle(struct changes *x)
{
	if (!list_grow(&x->spare, x->find.count) || !list_grow(&x->spare, x->live.count)) {
		return -ENOMEM;
	}
	list_settle(&x->find, x->spare.list);
	list_settle(&x->live, x->spare.list);
	return 0;
}

struct change change_at(const struct change_list *list, size_t i)
{
	const struct sort_key *k = &list->list[i];

	if (i + AHEAD < list->count) {
		const struct sort_key *next = &list->list[i + AHEAD];
		__builtin_prefetch(next->key - CHANGE_HEAD);
		__builtin_prefetch(next->key + next->size);
	}
	return (struct change){ .kind = (uint8_t)k->tag,
				.key = (const char *)k->key,
				.key_size = k->size,
				.value = (const char *)k->key + k->size,
				.value_size = et_get32(k->key - 4) };
}

void changes_clear(struct changes *x)
{
	x->find.count = x->live.count = 0;
}

void changes_release(struct changes *x)
{
	free(x->find.list);
	free(x->live.list);
	free(x->spare.list);
	*x = (struct changes){ 0 };
}
