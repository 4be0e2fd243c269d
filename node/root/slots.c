/* <state>/root.slots: the root, sealed in several ways. ops/doc/formats/root.md has it byte by
 * byte. */
#include <stdio.h>
#include <string.h>

#include "node/crypto/hash.h"
#include "node/io/file.h"
#include "node/root/root_internal.h"

enum {
	SLOTS_VERSION = 1,
	SLOTS_BYTES_MAX = 2048,
};

static int pack_slot(const struct root_slot *s, struct et_buffer *ret)
{
	et_buffer_add8(ret, s->kind);
	if (s->kind == ET_ROOT_PASSPHRASE) {
		et_buffer_add32(ret, s->cost.memory_kib);
		et_buffer_add32(ret, s->cost.passes);
		et_buffer_add(ret, s->salt, sizeof(s->salt));
	} else {
		et_buffer_add8(ret, s->mechanism);
		et_buffer_add(ret, s->serial, sizeof(s->serial) - 1);
		et_buffer_add(ret, s->iv, sizeof(s->iv));
		et_buffer_add8(ret, s->wrapped_size);
		et_buffer_add(ret, s->wrapped, s->wrapped_size);
	}
	et_buffer_add(ret, s->box, sizeof(s->box));
	return ret->failed ? -ENOMEM : 0;
}

int root_slots_pack(const struct root_slots *s, struct et_buffer *ret)
{
	uint8_t hash[ET_SHA256_SIZE];
	size_t start = ret->size;

	et_buffer_add(ret, "EVRS", 4);
	et_buffer_add8(ret, SLOTS_VERSION);
	et_buffer_add8(ret, (uint8_t)s->count);
	for (size_t i = 0; i < s->count; i++) {
		if (pack_slot(&s->slots[i], ret) < 0) {
			return -ENOMEM;
		}
	}
	et_sha256(ret->data + start, ret->size - start, hash);
	et_buffer_add(ret, hash, sizeof(hash));
	return ret->failed ? -ENOMEM : 0;
}

static void copy(struct et_reader *r, void *to, size_t size)
{
	const uint8_t *p = et_read_bytes(r, size);

	if (p != NULL) {
		memcpy(to, p, size);
	}
}

/* The bounds are the promise: no file makes a node take more memory or time than that. */
static bool parse_slot(struct et_reader *r, struct root_slot *ret)
{
	ret->kind = et_read8(r);
	if (ret->kind == ET_ROOT_PASSPHRASE) {
		ret->cost.memory_kib = et_read32(r);
		ret->cost.passes = et_read32(r);
		copy(r, ret->salt, sizeof(ret->salt));
		if (ret->cost.memory_kib < MEMORY_KIB_MIN ||
		    ret->cost.memory_kib > MEMORY_KIB_MAX || ret->cost.passes < 1 ||
		    ret->cost.passes > PASSES_MAX) {
			return false;
		}
	} else if (ret->kind == ET_ROOT_PKCS11) {
		ret->mechanism = et_read8(r);
		copy(r, ret->serial, sizeof(ret->serial) - 1);
		copy(r, ret->iv, sizeof(ret->iv));
		ret->wrapped_size = et_read8(r);
		if (ret->wrapped_size == 0 || ret->wrapped_size > WRAPPED_MAX ||
		    (ret->mechanism != MECHANISM_GCM && ret->mechanism != MECHANISM_CBC_PAD)) {
			return false;
		}
		copy(r, ret->wrapped, ret->wrapped_size);
		for (size_t i = 0; i < sizeof(ret->serial) - 1; i++) {
			char c = ret->serial[i];
			if (c != '\0' && (c < ' ' || c > '~')) {
				return false;
			}
		}
	} else {
		return false;
	}
	copy(r, ret->box, sizeof(ret->box));
	return !r->failed;
}

int root_slots_parse(struct et_view bytes, struct root_slots *ret, struct et_error *reterr)
{
	uint8_t hash[ET_SHA256_SIZE];

	*ret = (struct root_slots){ 0 };
	if (bytes.size < 6 + sizeof(hash) || bytes.size > SLOTS_BYTES_MAX ||
	    memcmp(bytes.data, "EVRS", 4) != 0) {
		return et_fail_plain(reterr, ET_ECORRUPT, "this is no file of sealed node roots");
	}
	if (bytes.data[4] != SLOTS_VERSION) {
		return et_fail(reterr, ET_EVERSION, "sealed node roots of version %u",
			       bytes.data[4]);
	}
	size_t body = bytes.size - sizeof(hash);
	et_sha256(bytes.data, body, hash);
	struct et_reader r = et_reader_of(bytes.data + 5, body - 5);
	uint8_t count = et_read8(&r);
	bool good = memcmp(hash, bytes.data + body, sizeof(hash)) == 0 && count > 0 &&
		    count <= ET_ROOT_SLOTS_MAX;
	for (uint8_t i = 0; good && i < count; i++) {
		good = parse_slot(&r, &ret->slots[i]);
	}
	if (!good || et_reader_left(&r) != 0) {
		*ret = (struct root_slots){ 0 };
		return et_fail_plain(reterr, ET_ECORRUPT,
				     "the file of sealed node roots is damaged");
	}
	ret->count = count;
	return 0;
}

static int slots_path(const char *state, char ret[ET_ROOT_PATH_MAX + 16], struct et_error *reterr)
{
	int n = snprintf(ret, ET_ROOT_PATH_MAX + 16, "%s/root.slots", state);
	return n < 0 || n >= ET_ROOT_PATH_MAX + 16 ? et_fail(reterr, -ENAMETOOLONG, "'%s'", state)
						   : 0;
}

int root_slots_load(const char *state, struct root_slots *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	char path[ET_ROOT_PATH_MAX + 16];
	struct et_error e;

	*ret = (struct root_slots){ 0 };
	int rc = slots_path(state, path, reterr);
	rc = rc < 0 ? rc : et_file_read(path, SLOTS_BYTES_MAX, &b, reterr);
	if (rc < 0) {
		return rc == ET_ELIMIT ? ET_ECORRUPT : rc;
	}
	rc = root_slots_parse((struct et_view){ b.data, b.size }, ret, &e);
	if (rc < 0) {
		(void)et_fail_plain(reterr, rc, "'%s': %.300s", path, e.text);
		return et_fail_next(
			reterr, "restore it from a backup of %.100s, or join the node anew", state);
	}
	return 0;
}

int root_slots_save(const char *state, const struct root_slots *s, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	char path[ET_ROOT_PATH_MAX + 16];

	int rc = slots_path(state, path, reterr);
	if (rc == 0 && root_slots_pack(s, &b) < 0) {
		rc = et_fail(reterr, -ENOMEM, "'%s'", path);
	}
	return rc < 0 ? rc : et_file_publish(path, b.data, b.size, 0600, reterr);
}
