/* Links: from a SIP Call-ID and from a call to their recordings.
 *
 *   'i' SIP Call-ID NUL, place     'c' call 16, place
 *
 * in the family `link`. A recording that was moved into its call by hand is found by the call that
 * it came from, too. */
#include "raft/state/state_internal.h"

enum { LINKS_MAX = 3 }; /* of one recording */

struct key link_of_call(ProtobufCBinaryData call)
{
	struct key k = key_tag('c');

	key_add(&k, call.data, call.len);
	return k;
}

struct key link_of_sip(const char *sip_call_id)
{
	struct key k = key_tag('i');

	key_add_text(&k, sip_call_id);
	return k;
}

/* ---- Writing ---- */

static size_t links_make(const Et__Recording *r, struct key links[LINKS_MAX])
{
	size_t count = 0;

	if (r != NULL && r->sip_call_id[0] != '\0') {
		links[count++] = link_of_sip(r->sip_call_id);
	}
	if (r != NULL && r->call.len == 16) {
		links[count++] = link_of_call(r->call);
	}
	if (r != NULL && et_hand_moved(r->hand)) {
		links[count++] = link_of_call(r->hand->was);
	}
	for (size_t i = 0; i < count; i++) {
		key_add_place(&links[i], r);
	}
	return count;
}

static bool links_have(const struct key *links, size_t count, const struct key *k)
{
	for (size_t i = 0; i < count; i++) {
		if (links[i].size == k->size && memcmp(links[i].data, k->data, k->size) == 0) {
			return true;
		}
	}
	return false;
}

bool links_update(struct et_state *s, const Et__Recording *before, const Et__Recording *after)
{
	struct key old[LINKS_MAX];
	struct key new[LINKS_MAX];
	size_t old_count = links_make(before, old);
	size_t new_count = links_make(after, new);
	bool more = false;

	for (size_t i = 0; i < old_count; i++) {
		if (!links_have(new, new_count, &old[i])) {
			state_delete(s, CF_LINK, &old[i]);
		}
	}
	for (size_t i = 0; i < new_count; i++) {
		if (!links_have(old, old_count, &new[i])) {
			state_put(s, CF_LINK, &new[i], "", 0);
			more = true;
		}
	}
	return more;
}

/* ---- Reading ---- */

static bool linked_have(const struct linked *l, const uint8_t id[16])
{
	for (size_t i = 0; i < l->count; i++) {
		if (memcmp(l->ids[i], id, 16) == 0) {
			return true;
		}
	}
	return false;
}

static int linked_add(void *arg, struct et_view key, struct et_view value)
{
	struct linked *l = arg;

	(void)value;
	if (key.size < 16) {
		return ET_ECORRUPT;
	}
	const uint8_t *id = key.data + key.size - 16;
	if (linked_have(l, id)) {
		return 0;
	}
	if (l->count == LINKED_MAX) {
		l->too_many = true;
		return 1;
	}
	memcpy(l->ids[l->count++], id, 16);
	return 0;
}

int linked_read(const struct et_state_view *v, const struct key *link, struct linked *ret)
{
	int rc = view_walk(v, CF_LINK, link, NULL, linked_add, ret);

	return rc < 0 ? rc : 0;
}

int et_state_each_of_call(const struct et_state_view *v, const uint8_t call[16],
			  int (*fn)(void *arg, const Et__Recording *record), void *arg)
{
	struct linked l = { .count = 0 };
	struct key link = key_tag('c');

	key_add(&link, call, 16);
	int rc = linked_read(v, &link, &l);
	for (size_t i = 0; i < l.count && rc == 0; i++) {
		Et__Recording *r = NULL;
		rc = et_state_get_recording(v, l.ids[i], &r);
		rc = rc == 0 ? fn(arg, r) : rc == ET_ENOTFOUND ? 0 : rc;
		message_freep(&r);
	}
	return rc;
}

/* ---- Filters: all of a key but the place ---- */

static char *link_prefix(void *state, const char *key, size_t size, size_t *ret_size)
{
	(void)state;
	*ret_size = size - PLACE_SIZE;
	return (char *)(uintptr_t)key;
}

static unsigned char link_has_prefix(void *state, const char *key, size_t size)
{
	(void)state;
	return size > PLACE_SIZE && (key[0] == 'i' || key[0] == 'c');
}

static unsigned char link_in_range(void *state, const char *prefix, size_t size)
{
	(void)state;
	(void)prefix;
	(void)size;
	return 0; /* RocksDB asks this no more */
}

static const char *link_filter_name(void *state)
{
	(void)state;
	return "evertape.link"; /* tables keep it: another rule needs another name */
}

static void link_filter_end(void *state)
{
	(void)state;
}

rocksdb_slicetransform_t *links_filter(void)
{
	return rocksdb_slicetransform_create(NULL, link_filter_end, link_prefix, link_has_prefix,
					     link_in_range, link_filter_name);
}
