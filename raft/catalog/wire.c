#include "raft/catalog/catalog_internal.h"

/* What other nodes send, apart from libraft's own messages and from entries (raft/command): pure
 * functions of bytes. serve.c and transport.c say what they mean. */

#define MAGIC "ETSNAP1"

bool et_cat_manifest_read(const void *data, size_t size, struct cat_manifest *ret)
{
	const uint8_t *p = data;

	if (p == NULL || size < CAT_MANIFEST_SIZE || memcmp(p, MAGIC, sizeof(MAGIC)) != 0) {
		return false;
	}
	ret->index = et_get64(p + 8);
	ret->checkpoint = et_get64(p + 16);
	ret->source = et_get64(p + 24);
	return true;
}

void et_cat_manifest_write(const struct cat_manifest *m, uint8_t ret[CAT_MANIFEST_SIZE])
{
	memcpy(ret, MAGIC, sizeof(MAGIC));
	et_put64(ret + 8, m->index);
	et_put64(ret + 16, m->checkpoint);
	et_put64(ret + 24, m->source);
}

int et_cat_greeting_take(struct cat_greeting *g, const uint8_t **data, size_t *size)
{
	while (*size > 0) {
		g->bytes[g->size++] = *(*data)++;
		(*size)--;
		if ((g->size == 4 && memcmp(g->bytes, "ETR1", 4) != 0) ||
		    (g->size == 5 && (g->bytes[4] == 0 || g->bytes[4] >= CAT_ADDRESS_SIZE))) {
			return ET_EMALFORMED;
		}
		if (g->size > 5 && g->size == 5U + g->bytes[4]) {
			memcpy(g->address, g->bytes + 5, g->bytes[4]);
			g->address[g->bytes[4]] = '\0';
			return strlen(g->address) == g->bytes[4] && strchr(g->address, ':') != NULL
				       ? 1
				       : ET_EMALFORMED;
		}
	}
	return 0;
}

size_t et_cat_greeting_make(const char *address, uint8_t ret[CAT_GREETING_MAX])
{
	size_t length = strlen(address);

	et_assert(length > 0 && length < CAT_ADDRESS_SIZE);
	memcpy(ret, "ETR1", 4);
	ret[4] = (uint8_t)length;
	memcpy(ret + 5, address, length);
	return 5 + length;
}

static bool name_is_plain(const char *name)
{
	if (name[0] == '.' || name[0] == '\0') {
		return false;
	}
	return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
	       strlen(name);
}

bool et_cat_file_name_is_plain(const char *name)
{
	return strlen(name) <= CAT_FILE_NAME_MAX && name_is_plain(name);
}

static bool name_read(struct et_reader *r, char ret[CAT_FILE_NAME_MAX + 1])
{
	size_t length = et_read8(r);
	const uint8_t *text = et_read_bytes(r, length);

	if (r->failed || length == 0 || length > CAT_FILE_NAME_MAX) {
		return false;
	}
	memcpy(ret, text, length);
	ret[length] = '\0';
	return strlen(ret) == length && name_is_plain(ret);
}

bool et_cat_request_read(struct et_view body, struct cat_request *ret)
{
	struct et_reader r = et_reader_of(body.data, body.size);

	*ret = (struct cat_request){ .op = et_read8(&r) };
	switch (ret->op) {
	case CAT_SNAPSHOT_OPEN:
		ret->index = et_read64(&r);
		break;
	case CAT_SNAPSHOT_READ:
	case CAT_SNAPSHOT_HASH:
		ret->id = et_read64(&r);
		if (!name_read(&r, ret->name)) {
			return false;
		}
		if (ret->op == CAT_SNAPSHOT_READ) {
			ret->offset = et_read64(&r);
			ret->size = et_read32(&r);
		}
		break;
	default:
		return false;
	}
	return !r.failed && et_reader_left(&r) == 0 && ret->offset <= INT64_MAX &&
	       ret->size <= CAT_CHUNK_BYTES;
}

void et_cat_request_write(const struct cat_request *q, struct et_buffer *ret)
{
	et_buffer_add8(ret, q->op);
	if (q->op == CAT_SNAPSHOT_OPEN) {
		et_buffer_add64(ret, q->index);
		return;
	}
	et_buffer_add64(ret, q->id);
	et_buffer_add8(ret, (uint8_t)strlen(q->name));
	et_buffer_add(ret, q->name, strlen(q->name));
	if (q->op == CAT_SNAPSHOT_READ) {
		et_buffer_add64(ret, q->offset);
		et_buffer_add32(ret, q->size);
	}
}

static bool files_read(struct et_reader *r, struct cat_files *ret)
{
	for (size_t i = 0; i < ret->count; i++) {
		struct cat_file *f = &ret->files[i];
		if (!name_read(r, f->name)) {
			return false;
		}
		f->size = et_read64(r);
		if (r->failed || f->size > INT64_MAX - ret->bytes) {
			return false;
		}
		ret->bytes += f->size;
	}
	return et_reader_left(r) == 0;
}

bool et_cat_files_read(struct et_view body, struct cat_files *ret)
{
	struct et_reader r = et_reader_of(body.data, body.size);

	*ret = (struct cat_files){ .id = et_read64(&r), .index = et_read64(&r) };
	ret->count = et_read32(&r);
	/* Each takes ten bytes at least: no more memory than the message pays for. */
	if (r.failed || ret->count == 0 || ret->count > CAT_FILES_MAX ||
	    ret->count > et_reader_left(&r) / 10) {
		ret->count = 0;
		return false;
	}
	ret->files = et_cat_alloc(ret->count * sizeof(*ret->files));
	if (!files_read(&r, ret)) {
		et_cat_files_release(ret);
		return false;
	}
	return true;
}

void et_cat_files_release(struct cat_files *f)
{
	free(f->files);
	*f = (struct cat_files){ 0 };
}
