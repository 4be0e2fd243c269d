/* Keys, and reading and writing records. */
#include <endian.h>
#include <stdio.h>

#include "raft/state/overlay_internal.h"

/* ---- Keys ---- */

void key_add(struct key *k, const void *data, size_t size)
{
	et_assert(size <= sizeof(k->data) - k->size); /* raft/command bounds every part */
	if (size > 0) {
		memcpy(k->data + k->size, data, size);
		k->size += size;
	}
}

void key_add8(struct key *k, uint8_t v)
{
	key_add(k, &v, 1);
}

void key_add32(struct key *k, uint32_t v)
{
	uint8_t bytes[4];

	et_put32(bytes, v);
	key_add(k, bytes, sizeof(bytes));
}

void key_add64(struct key *k, uint64_t v)
{
	uint8_t bytes[8];

	et_put64(bytes, v);
	key_add(k, bytes, sizeof(bytes));
}

void key_add_text(struct key *k, const char *text)
{
	key_add(k, text, strlen(text) + 1);
}

void key_add_place(struct key *k, const Et__Recording *r)
{
	key_add64(k, UINT64_MAX - (uint64_t)r->start_us);
	key_add(k, r->id.data, 16);
}

struct key key_of(const void *data, size_t size)
{
	struct key k;

	k.size = 0;
	key_add(&k, data, size);
	return k;
}

struct key key_u32(uint32_t v)
{
	struct key k;

	k.size = 0;
	key_add32(&k, v);
	return k;
}

struct key key_u64(uint64_t v)
{
	struct key k;

	k.size = 0;
	key_add64(&k, v);
	return k;
}

struct key key_text(const char *text)
{
	return key_of(text, strlen(text));
}

struct key key_policy_at(const char *name, uint32_t revision)
{
	struct key k;

	k.size = 0;
	key_add_text(&k, name);
	key_add32(&k, revision);
	return k;
}

struct key key_meta(const char *name)
{
	return key_text(name);
}

struct key key_tag(char tag)
{
	return key_of(&tag, 1);
}

struct key key_segment(const uint8_t recording[16], uint32_t generation, uint32_t segment)
{
	struct key k = key_of(recording, 16);

	key_add32(&k, generation);
	key_add32(&k, segment);
	return k;
}

struct key key_copy(const Et__Copy *c)
{
	struct key k = key_segment(c->recording.data, c->generation, c->segment);

	key_add(&k, c->place, strlen(c->place));
	return k;
}

struct key key_grant(const char *secret, uint64_t node)
{
	struct key k;

	k.size = 0;
	key_add_text(&k, secret);
	key_add64(&k, node);
	return k;
}

/* ---- Reading ---- */

int state_status(char *error, struct et_error *reterr, const char *what)
{
	if (error == NULL) {
		return 0;
	}
	int code = -EIO;
	if (strstr(error, "Corruption") != NULL) {
		code = ET_ECORRUPT;
	} else if (strstr(error, "No space") != NULL) {
		code = -ENOSPC;
	} else if (strstr(error, "lock") != NULL || strstr(error, "LOCK") != NULL) {
		code = ET_EBUSY;
	}
	et_fail(reterr, code, "%s: %.300s", what, error);
	rocksdb_free(error);
	return code;
}

/* A value where it lies: in the overlay, or pinned in RocksDB. */
struct value {
	const uint8_t *data;
	size_t size;
	rocksdb_pinnableslice_t *pin; /* owned, or NULL */
};

static void value_release(struct value *v)
{
	if (v->pin != NULL) {
		rocksdb_pinnableslice_destroy(v->pin);
	}
}

static int view_look(const struct et_state_view *v, enum state_cf cf, const struct key *key,
		     struct value *ret)
{
	char *error = NULL;

	*ret = (struct value){ 0 };
	if (v->overlay != NULL) {
		const struct overlay_entry *e = overlay_find(v->overlay, cf, key->data, key->size);
		if (e != NULL) {
			ret->data = e->value;
			ret->size = e->value_size;
			return e->deleted ? ET_ENOTFOUND : 0;
		}
		if (cf == CF_RECORDING && key->size == 16 &&
		    newest_lacks(&v->state->newest, key->data)) {
			return ET_ENOTFOUND;
		}
	}
	ret->pin = rocksdb_get_pinned_cf(v->database->db, v->options, v->database->cf[cf],
					 (const char *)key->data, key->size, &error);
	if (error != NULL) {
		return state_status(error, NULL, "read");
	}
	if (ret->pin == NULL) {
		return ET_ENOTFOUND;
	}
	ret->data = (const uint8_t *)rocksdb_pinnableslice_value(ret->pin, &ret->size);
	return 0;
}

int view_get(const struct et_state_view *v, enum state_cf cf, const struct key *key,
	     struct et_buffer *ret)
{
	ET_CLEANUP(value_release) struct value value;

	int rc = view_look(v, cf, key, &value);
	if (rc < 0) {
		return rc;
	}
	et_buffer_add(ret, value.data, value.size);
	return ret->failed ? -ENOMEM : 0;
}

int view_get_message(const struct et_state_view *v, enum state_cf cf, const struct key *key,
		     const ProtobufCMessageDescriptor *d, void *ret)
{
	ET_CLEANUP(value_release) struct value value;

	int rc = view_look(v, cf, key, &value);
	if (rc < 0) {
		return rc;
	}
	ProtobufCMessage *m = protobuf_c_message_unpack(d, NULL, value.size, value.data);
	if (m == NULL) {
		return ET_ECORRUPT;
	}
	memcpy(ret, &m, sizeof(void *)); /* the caller's pointer, of whichever message type */
	return 0;
}

void message_freep(void *message)
{
	ProtobufCMessage *m;

	memcpy(&m, message, sizeof(void *));
	if (m != NULL) {
		protobuf_c_message_free_unpacked(m, NULL);
	}
}

/* Two walks at once: through the database, and through what the group has written, which hides
 * what the database has of the same key. */
struct walk {
	rocksdb_iterator_t *it;
	const struct overlay_list *list; /* NULL: readers have none */
	size_t at;
	const struct key *prefix;
};

static bool walk_is_in(const struct walk *w, const uint8_t *key, size_t size)
{
	return size >= w->prefix->size && memcmp(key, w->prefix->data, w->prefix->size) == 0;
}

static const struct overlay_entry *walk_overlay(const struct walk *w)
{
	if (w->list == NULL || w->at == w->list->count) {
		return NULL;
	}
	const struct overlay_entry *e = w->list->entries[w->at];
	return walk_is_in(w, e->key, e->key_size) ? e : NULL;
}

static bool walk_base(const struct walk *w, struct et_view *ret)
{
	if (!rocksdb_iter_valid(w->it)) {
		return false;
	}
	ret->data = (const uint8_t *)rocksdb_iter_key(w->it, &ret->size);
	return walk_is_in(w, ret->data, ret->size);
}

static int view_order(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
	int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
	return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

/* Call `fn` for what comes next, and step over it. false: the walk is over. */
static bool walk_step(struct walk *w, view_walk_fn fn, void *arg, int *ret)
{
	struct et_view key;
	struct et_view value;
	bool in_base = walk_base(w, &key);
	const struct overlay_entry *e = walk_overlay(w);

	if (!in_base && e == NULL) {
		return false;
	}
	int order = 1;
	if (e != NULL) {
		order = in_base ? view_order(e->key, e->key_size, key.data, key.size) : -1;
	}
	if (order > 0) {
		value.data = (const uint8_t *)rocksdb_iter_value(w->it, &value.size);
		*ret = fn(arg, key, value);
	} else {
		w->at++;
		if (!e->deleted) {
			*ret = fn(arg, (struct et_view){ e->key, e->key_size },
				  (struct et_view){ e->value, e->value_size });
		}
	}
	if (order >= 0) {
		rocksdb_iter_next(w->it);
	}
	return true;
}

rocksdb_readoptions_t *read_options(void)
{
	rocksdb_readoptions_t *o = rocksdb_readoptions_create();

	rocksdb_readoptions_set_total_order_seek(o, 1);
	return o;
}

rocksdb_iterator_t *view_iterator(const struct et_state_view *v, enum state_cf cf)
{
	return rocksdb_create_iterator_cf(v->database->db, v->options, v->database->cf[cf]);
}

int iterator_status(const rocksdb_iterator_t *it)
{
	char *error = NULL;

	rocksdb_iter_get_error(it, &error);
	return state_status(error, NULL, "read");
}

int view_walk_by(const struct et_state_view *v, rocksdb_iterator_t *it, enum state_cf cf,
		 const struct key *prefix, const struct key *from, view_walk_fn fn, void *arg)
{
	const struct key *begin = from != NULL ? from : prefix;
	struct walk w = { .it = it, .prefix = prefix };
	int rc = 0;

	rocksdb_iter_seek(w.it, (const char *)begin->data, begin->size);
	if (v->overlay != NULL) {
		w.list = overlay_sorted(v->overlay, cf);
		w.at = overlay_seek(w.list, begin->data, begin->size);
	}
	while (rc == 0 && walk_step(&w, fn, arg, &rc)) {
	}
	int status = iterator_status(w.it);
	return status < 0 ? status : rc;
}

int view_walk(const struct et_state_view *v, enum state_cf cf, const struct key *prefix,
	      const struct key *from, view_walk_fn fn, void *arg)
{
	rocksdb_iterator_t *it = view_iterator(v, cf);

	int rc = view_walk_by(v, it, cf, prefix, from, fn, arg);
	rocksdb_iter_destroy(it);
	return rc;
}

struct message_walk {
	const ProtobufCMessageDescriptor *d;
	view_message_fn fn;
	void *arg;
};

static int message_walk_each(void *arg, struct et_view key, struct et_view value)
{
	const struct message_walk *w = arg;

	(void)key;
	ProtobufCMessage *m = protobuf_c_message_unpack(w->d, NULL, value.size, value.data);
	if (m == NULL) {
		return ET_ECORRUPT;
	}
	int rc = w->fn(w->arg, m);
	protobuf_c_message_free_unpacked(m, NULL);
	return rc;
}

int view_walk_messages(const struct et_state_view *v, enum state_cf cf, const struct key *prefix,
		       const ProtobufCMessageDescriptor *d, view_message_fn fn, void *arg)
{
	struct message_walk w = { d, fn, arg };

	return view_walk(v, cf, prefix, NULL, message_walk_each, &w);
}

/* ---- Writing ---- */

/* Every put and delete goes into the digest of its entry, in order: as a sum of 64 bits, for what
 * it must catch is an apply that went another way on one machine, not a forger. The words are read
 * as little-endian, whatever the machine. */
__extension__ typedef unsigned __int128 sum_product;

static uint64_t sum_fold(uint64_t sum, uint64_t word)
{
	sum_product p = (sum_product)(sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);

	return (uint64_t)p ^ (uint64_t)(p >> 64) ^ word;
}

static uint64_t sum_add(uint64_t sum, const uint8_t *p, size_t size)
{
	uint64_t word;

	for (; size >= sizeof(word); p += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum = sum_fold(sum, le64toh(word));
	}
	if (size > 0) {
		word = 0;
		memcpy(&word, p, size);
		sum = sum_fold(sum, le64toh(word));
	}
	return sum;
}

void digest_note(struct et_state *s, const uint8_t *data, size_t size)
{
	s->write_sum = sum_add(sum_fold(s->write_sum, size), data, size);
}

static void digest_add(struct et_state *s, uint8_t kind, enum state_cf cf, const struct key *key,
		       const uint8_t *value, size_t size)
{
	uint64_t head = (uint64_t)kind << 56 | (uint64_t)cf << 48 | (uint64_t)key->size << 32 |
			(uint64_t)(uint32_t)size;

	uint64_t sum = sum_fold(s->write_sum, head);
	sum = sum_add(sum, key->data, key->size);
	s->write_sum = sum_add(sum, value, size);
	if (cf == CF_NODE) {
		nodes_forget(s);
	}
}

/* A failed allocation is sticky in the overlay: et_state_apply() ends with it. */
void state_put(struct et_state *s, enum state_cf cf, const struct key *key, const void *value,
	       size_t size)
{
	et_assert(s->in_group);
	uint8_t *to = overlay_put(&s->overlay, cf, key->data, key->size, size);
	if (to != NULL) {
		if (size > 0) {
			memcpy(to, value, size);
		}
		digest_add(s, 1, cf, key, to, size);
	}
}

int state_put_message(struct et_state *s, enum state_cf cf, const struct key *key,
		      const void *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);

	et_assert(s->in_group);
	uint8_t *to = overlay_put(&s->overlay, cf, key->data, key->size, size);
	if (to == NULL) {
		return -ENOMEM;
	}
	size_t packed = protobuf_c_message_pack(message, to);
	et_assert(packed == size);
	digest_add(s, 1, cf, key, to, size);
	return 0;
}

void state_delete(struct et_state *s, enum state_cf cf, const struct key *key)
{
	et_assert(s->in_group);
	overlay_delete(&s->overlay, cf, key->data, key->size);
	digest_add(s, 2, cf, key, NULL, 0);
}
