#include "node/tape/keys.h"

#include "node/tape/items_internal.h"

enum { KEYS_VERSION = 1, MKI_MAX = 128, MATERIAL_MAX = 64, HEAD_SIZE = 20, DTLS_HEAD_SIZE = 14 };

static void dtls_add(struct et_buffer *plain, const struct et_keys_item *item)
{
	et_tape_item_begin(plain, KEYS_VERSION, item->type,
			   DTLS_HEAD_SIZE + 2 * ET_KEYS_RANDOM_SIZE + 1 + item->mki.size);
	et_buffer_add64(plain, (uint64_t)item->time_us);
	et_buffer_add8(plain, item->party);
	et_buffer_add8(plain, item->suite);
	et_buffer_add16(plain, item->version);
	et_buffer_add16(plain, item->cipher);
	et_buffer_add(plain, item->client_random, ET_KEYS_RANDOM_SIZE);
	et_buffer_add(plain, item->server_random, ET_KEYS_RANDOM_SIZE);
	et_buffer_add8(plain, (uint8_t)item->mki.size);
	et_buffer_add(plain, item->mki.data, item->mki.size);
}

int et_keys_add(struct et_buffer *plain, const struct et_keys_item *item)
{
	if (item->mki.size > MKI_MAX ||
	    (item->type == ET_KEYS_SRTP ? item->material.size > MATERIAL_MAX
					: item->type != ET_KEYS_DTLS)) {
		return -EINVAL;
	}
	if (item->type == ET_KEYS_DTLS) {
		dtls_add(plain, item);
		return 0;
	}
	et_tape_item_begin(plain, KEYS_VERSION, item->type,
			   HEAD_SIZE + 2 + item->mki.size + item->material.size);
	et_buffer_add64(plain, (uint64_t)item->time_us);
	et_buffer_add8(plain, item->origin);
	et_buffer_add8(plain, item->party);
	et_buffer_add8(plain, item->suite);
	et_buffer_add8(plain, item->has_ssrc);
	et_buffer_add32(plain, item->has_ssrc ? item->ssrc : 0);
	et_buffer_add32(plain, item->tag);
	et_buffer_add8(plain, (uint8_t)item->mki.size);
	et_buffer_add(plain, item->mki.data, item->mki.size);
	et_buffer_add8(plain, (uint8_t)item->material.size);
	et_buffer_add(plain, item->material.data, item->material.size);
	return 0;
}

int et_keys_reader_init(struct et_keys_reader *r, struct et_view plain, struct et_error *reterr)
{
	return et_tape_items_init(&r->reader, plain, KEYS_VERSION, "keys", reterr);
}

static struct et_view short_get(struct et_reader *r, size_t max)
{
	size_t size = et_read8(r);
	struct et_view v = { NULL, 0 };

	r->failed = r->failed || size > max;
	if (!r->failed) {
		v.data = et_read_bytes(r, size);
		v.size = v.data != NULL ? size : 0;
	}
	return v;
}

static bool srtp_get(struct et_reader *r, struct et_keys_item *i)
{
	i->time_us = (int64_t)et_read64(r);
	i->origin = et_read8(r);
	i->party = et_read8(r);
	i->suite = et_read8(r);
	uint8_t has_ssrc = et_read8(r);
	i->has_ssrc = has_ssrc == 1;
	i->ssrc = et_read32(r);
	i->tag = et_read32(r);
	i->mki = short_get(r, MKI_MAX);
	i->material = short_get(r, MATERIAL_MAX);
	return !r->failed && has_ssrc <= 1;
}

static bool dtls_get(struct et_reader *r, struct et_keys_item *i)
{
	i->time_us = (int64_t)et_read64(r);
	i->party = et_read8(r);
	i->suite = et_read8(r);
	i->version = et_read16(r);
	i->cipher = et_read16(r);
	const uint8_t *client = et_read_bytes(r, ET_KEYS_RANDOM_SIZE);
	const uint8_t *server = et_read_bytes(r, ET_KEYS_RANDOM_SIZE);
	if (client != NULL && server != NULL) {
		memcpy(i->client_random, client, ET_KEYS_RANDOM_SIZE);
		memcpy(i->server_random, server, ET_KEYS_RANDOM_SIZE);
	}
	i->mki = short_get(r, MKI_MAX);
	return !r->failed;
}

int et_keys_reader_next(struct et_keys_reader *r, struct et_keys_item *ret, struct et_error *reterr)
{
	struct et_view value = { NULL, 0 };
	uint32_t type = 0;

	int rc = et_tape_items_next(&r->reader, "keys", &type, &value, reterr);
	if (rc <= 0) {
		return rc;
	}
	*ret = (struct et_keys_item){ .type = type };
	struct et_reader inner = et_reader_of(value.data, value.size);
	if ((type == ET_KEYS_SRTP && !srtp_get(&inner, ret)) ||
	    (type == ET_KEYS_DTLS && !dtls_get(&inner, ret))) {
		r->reader.failed = true;
		return et_fail(reterr, ET_EMALFORMED, "%s in a keys record",
			       type == ET_KEYS_SRTP ? "SRTP key" : "handshake");
	}
	return 1;
}
