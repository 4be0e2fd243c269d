/* What search reads. */
#include "raft/state/state_internal.h"

struct index_keys {
	struct key keys[8];
	size_t count;
};

static void index_finish(struct index_keys *list, struct key *k, const Et__Recording *r)
{
	key_add_place(k, r);
	for (size_t i = 0; i < list->count; i++) {
		if (list->keys[i].size == k->size &&
		    memcmp(list->keys[i].data, k->data, k->size) == 0) {
			return; /* caller and called are the same number */
		}
	}
	et_assert(list->count < ET_ARRAY_SIZE(list->keys));
	list->keys[list->count++] = *k;
}

static void index_text(struct index_keys *list, char tag, const char *text, const Et__Recording *r)
{
	if (text[0] != '\0') {
		struct key k = key_tag(tag);
		key_add_text(&k, text);
		index_finish(list, &k, r);
	}
}

static void index_make(struct index_keys *list, const Et__Recording *r)
{
	struct key k = key_tag('t');

	list->count = 0;
	if (r == NULL) {
		return;
	}
	index_finish(list, &k, r);
	index_text(list, 'n', r->from, r);
	index_text(list, 'n', r->to, r);
	index_text(list, 's', r->site, r);
	k = key_tag('o');
	key_add64(&k, r->node);
	index_finish(list, &k, r);
	k = key_tag('x');
	key_add8(&k, (uint8_t)r->state);
	index_finish(list, &k, r);
}

static bool index_has(const struct index_keys *list, const struct key *k)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->keys[i].size == k->size &&
		    memcmp(list->keys[i].data, k->data, k->size) == 0) {
			return true;
		}
	}
	return false;
}

void index_update(struct et_state *s, const struct indexed *before, const struct indexed *after)
{
	struct index_keys old;
	struct index_keys new;

	index_make(&old, before != NULL ? before->r : NULL);
	index_make(&new, after->r);
	for (size_t i = 0; i < old.count; i++) {
		if (!index_has(&new, &old.keys[i])) {
			state_delete(s, CF_INDEX, &old.keys[i]);
		}
	}
	for (size_t i = 0; i < new.count; i++) {
		if (!index_has(&old, &new.keys[i])) {
			state_put(s, CF_INDEX, &new.keys[i], "", 0);
		}
	}
}
