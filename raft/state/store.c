/* Keys, and reading and writing records. */
#include <stdio.h>

#include "raft/state/state_internal.h"

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

int view_get(const struct et_state_view *v, enum state_cf cf, const struct key *key,
	     struct et_buffer *ret)
{
	char *error = NULL;
	size_t size = 0;
	char *value;

	if (v->batch != NULL) {
		value = rocksdb_writebatch_wi_get_from_batch_and_db_cf(
			v->batch, v->database->db, v->options, v->database->cf[cf],
			(const char *)key->data, key->size, &size, &error);
	} else {
		value = rocksdb_get_cf(v->database->db, v->options, v->database->cf[cf],
				       (const char *)key->data, key->size, &size, &error);
	}
	if (error != NULL) {
		return state_status(error, NULL, "read");
	}
	if (value == NULL) {
		return ET_ENOTFOUND;
	}
	et_buffer_add(ret, value, size);
	rocksdb_free(value);
	return ret->failed ? -ENOMEM : 0;
}

int view_get_message(const struct et_state_view *v, enum state_cf cf, const struct key *key,
		     const ProtobufCMessageDescriptor *d, void *ret)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer value = { 0 };

	int rc = view_get(v, cf, key, &value);
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

int view_walk(const struct et_state_view *v, enum state_cf cf, const struct key *prefix,
	      const struct key *from, view_walk_fn fn, void *arg)
{
	rocksdb_column_family_handle_t *handle = v->database->cf[cf];
	rocksdb_iterator_t *it = rocksdb_create_iterator_cf(v->database->db, v->options, handle);
	int rc = 0;

	if (v->batch != NULL) { /* takes over the first iterator */
		it = rocksdb_writebatch_wi_create_iterator_with_base_cf(v->batch, it, handle);
	}
	const struct key *begin = from != NULL ? from : prefix;
	rocksdb_iter_seek(it, (const char *)begin->data, begin->size);
	while (rc == 0 && rocksdb_iter_valid(it)) {
		struct et_view key;
		struct et_view value;
		key.data = (const uint8_t *)rocksdb_iter_key(it, &key.size);
		if (key.size < prefix->size || memcmp(key.data, prefix->data, prefix->size) != 0) {
			break;
		}
		value.data = (const uint8_t *)rocksdb_iter_value(it, &value.size);
		rc = fn(arg, key, value);
		rocksdb_iter_next(it);
	}
	char *error = NULL;
	rocksdb_iter_get_error(it, &error);
	rocksdb_iter_destroy(it);
	int status = state_status(error, NULL, "read");
	return status < 0 ? status : rc;
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

/* Every put and delete goes into the digest of its entry, in order. */
static void digest_add(struct et_state *s, uint8_t kind, enum state_cf cf, const struct key *key,
		       const void *value, size_t size)
{
	uint8_t head[10] = { kind, (uint8_t)cf };

	et_put32(head + 2, (uint32_t)key->size);
	et_put32(head + 6, (uint32_t)size);
	et_sha256_add(s->sha, head, sizeof(head));
	et_sha256_add(s->sha, key->data, key->size);
	et_sha256_add(s->sha, value, size);
}

void state_put(struct et_state *s, enum state_cf cf, const struct key *key, const void *value,
	       size_t size)
{
	et_assert(s->in_group);
	rocksdb_writebatch_wi_put_cf(s->batch, s->database->cf[cf], (const char *)key->data,
				     key->size, size > 0 ? value : "", size);
	digest_add(s, 1, cf, key, size > 0 ? value : "", size);
}

int state_put_message(struct et_state *s, enum state_cf cf, const struct key *key,
		      const void *message)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *p = et_buffer_reserve(&b, size > 0 ? size : 1);

	if (p == NULL) {
		return -ENOMEM;
	}
	b.size = protobuf_c_message_pack(message, p);
	et_assert(b.size == size);
	state_put(s, cf, key, b.data, b.size);
	return 0;
}

void state_delete(struct et_state *s, enum state_cf cf, const struct key *key)
{
	et_assert(s->in_group);
	rocksdb_writebatch_wi_delete_cf(s->batch, s->database->cf[cf], (const char *)key->data,
					key->size);
	digest_add(s, 2, cf, key, "", 0);
}
