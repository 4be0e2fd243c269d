#include "archive/pack/pack.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node/crypto/hash.h"

#define VERSION 1
#define INDEX_OBJECT_HEAD_SIZE 56 /* bytes before its entries */

static const uint8_t end_magic[8] = { 'E', 'V', 'P', 'K', 'E', 'N', 'D', '1' };

static void header_write(const char magic[4], size_t count, uint8_t ret[ET_PACK_HEADER_SIZE])
{
	memset(ret, 0, ET_PACK_HEADER_SIZE);
	memcpy(ret, magic, 4);
	ret[4] = VERSION;
	et_put32(ret + 8, (uint32_t)count);
}

static void entry_write(const struct et_pack_entry *e, struct et_buffer *ret)
{
	et_buffer_add(ret, e->recording, sizeof(e->recording));
	et_buffer_add32(ret, e->generation);
	et_buffer_add32(ret, e->segment);
	et_buffer_add64(ret, e->offset);
	et_buffer_add64(ret, e->size);
	et_buffer_add(ret, e->sha256, sizeof(e->sha256));
}

int et_pack_layout(struct et_pack_entry *entries, size_t count, uint8_t header[ET_PACK_HEADER_SIZE],
		   struct et_buffer *tail, uint64_t *ret_size)
{
	uint64_t at = ET_PACK_HEADER_SIZE;
	if (count == 0 || count > ET_PACK_MEMBERS_MAX) {
		return ET_ELIMIT;
	}
	header_write("EVPK", count, header);
	size_t begin = tail->size;
	for (size_t i = 0; i < count; i++) {
		if (entries[i].size > INT64_MAX - at) {
			return ET_ELIMIT;
		}
		entries[i].offset = at;
		at += entries[i].size;
		entry_write(&entries[i], tail);
	}
	if (tail->failed) {
		return -ENOMEM;
	}
	uint8_t hash[32];
	size_t index_size = tail->size - begin;
	et_sha256(tail->data + begin, index_size, hash);
	et_buffer_add64(tail, at);
	et_buffer_add64(tail, index_size);
	et_buffer_add(tail, hash, sizeof(hash));
	et_buffer_add(tail, end_magic, sizeof(end_magic));
	if (tail->failed) {
		return -ENOMEM;
	}
	*ret_size = at + index_size + ET_PACK_TRAILER_SIZE;
	return 0;
}

int et_pack_read_trailer(const uint8_t trailer[ET_PACK_TRAILER_SIZE], uint64_t pack_size,
			 struct et_pack_trailer *ret, struct et_error *reterr)
{
	const uint8_t *magic = trailer + ET_PACK_TRAILER_SIZE - sizeof(end_magic);
	if (memcmp(magic, end_magic, sizeof(end_magic)) != 0) {
		bool newer = memcmp(magic, end_magic, sizeof(end_magic) - 1) == 0;
		return et_fail(reterr, newer ? ET_EVERSION : ET_EMALFORMED, "pack's trailer");
	}
	struct et_pack_trailer t = { .index_offset = et_get64(trailer),
				     .index_size = et_get64(trailer + 8) };
	memcpy(t.index_sha256, trailer + 16, sizeof(t.index_sha256));
	uint64_t room = pack_size - ET_PACK_HEADER_SIZE - ET_PACK_TRAILER_SIZE;
	bool fits = pack_size >= ET_PACK_HEADER_SIZE + ET_PACK_TRAILER_SIZE &&
		    t.index_size <= room && t.index_offset >= ET_PACK_HEADER_SIZE &&
		    t.index_offset == pack_size - ET_PACK_TRAILER_SIZE - t.index_size;
	if (!fits || t.index_size == 0 || t.index_size % ET_PACK_ENTRY_SIZE != 0 ||
	    t.index_size / ET_PACK_ENTRY_SIZE > ET_PACK_MEMBERS_MAX) {
		return et_fail(reterr, ET_EMALFORMED, "pack's trailer");
	}
	*ret = t;
	return 0;
}

static struct et_pack_entry entry_read(struct et_reader *r)
{
	struct et_pack_entry e = { 0 };
	const uint8_t *recording = et_read_bytes(r, sizeof(e.recording));
	if (recording != NULL) {
		memcpy(e.recording, recording, sizeof(e.recording));
	}
	e.generation = et_read32(r);
	e.segment = et_read32(r);
	e.offset = et_read64(r);
	e.size = et_read64(r);
	const uint8_t *hash = et_read_bytes(r, sizeof(e.sha256));
	if (hash != NULL) {
		memcpy(e.sha256, hash, sizeof(e.sha256));
	}
	return e;
}

/* Do the members fill [header, end) without holes? */
static bool entries_fit(struct et_view index, uint64_t end)
{
	struct et_reader r = et_reader_of(index.data, index.size);
	uint64_t at = ET_PACK_HEADER_SIZE;
	while (et_reader_left(&r) > 0) {
		struct et_pack_entry e = entry_read(&r);
		if (r.failed || e.offset != at || e.size > end - at) {
			return false;
		}
		at += e.size;
	}
	return at == end;
}

static int entries_each(struct et_view index,
			int (*fn)(void *arg, const struct et_pack_entry *entry), void *arg)
{
	struct et_reader r = et_reader_of(index.data, index.size);
	int rc = 0;
	while (rc == 0 && et_reader_left(&r) > 0) {
		struct et_pack_entry e = entry_read(&r);
		rc = fn(arg, &e);
	}
	return rc;
}

int et_pack_read_index(const struct et_pack_trailer *trailer, const void *index, size_t size,
		       int (*fn)(void *arg, const struct et_pack_entry *entry), void *arg,
		       struct et_error *reterr)
{
	uint8_t hash[32];
	et_sha256(index, size, hash);
	if (size != trailer->index_size || memcmp(hash, trailer->index_sha256, 32) != 0) {
		return et_fail(reterr, ET_EINTEGRITY, "pack's index");
	}
	struct et_view view = { index, size };
	if (!entries_fit(view, trailer->index_offset)) {
		return et_fail(reterr, ET_EMALFORMED, "pack's index");
	}
	return entries_each(view, fn, arg);
}

int et_pack_write_index_object(const struct et_pack_entry *entries, size_t count,
			       uint64_t pack_size, const uint8_t pack_sha256[32],
			       struct et_buffer *ret)
{
	uint8_t header[ET_PACK_HEADER_SIZE];
	size_t begin = ret->size;
	header_write("EVPX", count, header);
	et_buffer_add(ret, header, sizeof(header));
	et_buffer_add64(ret, pack_size);
	et_buffer_add(ret, pack_sha256, 32);
	for (size_t i = 0; i < count; i++) {
		entry_write(&entries[i], ret);
	}
	if (ret->failed) {
		return -ENOMEM;
	}
	uint8_t hash[32];
	et_sha256(ret->data + begin, ret->size - begin, hash);
	et_buffer_add(ret, hash, sizeof(hash));
	return ret->failed ? -ENOMEM : 0;
}

int et_pack_read_index_object(const void *data, size_t size, uint64_t *ret_pack_size,
			      uint8_t ret_pack_sha256[32],
			      int (*fn)(void *arg, const struct et_pack_entry *entry), void *arg,
			      struct et_error *reterr)
{
	const uint8_t *p = data;
	static const uint8_t zeros[4];
	if (size < INDEX_OBJECT_HEAD_SIZE + ET_PACK_ENTRY_SIZE + 32 || memcmp(p, "EVPX", 4) != 0) {
		return et_fail(reterr, ET_EMALFORMED, "index of a pack");
	}
	if (p[4] != VERSION) {
		return et_fail(reterr, ET_EVERSION, "index of a pack");
	}
	uint8_t hash[32];
	et_sha256(p, size - 32, hash);
	if (memcmp(hash, p + size - 32, 32) != 0) {
		return et_fail(reterr, ET_EINTEGRITY, "index of a pack");
	}
	struct et_view index = { p + INDEX_OBJECT_HEAD_SIZE, size - INDEX_OBJECT_HEAD_SIZE - 32 };
	uint64_t pack_size = et_get64(p + 16);
	uint64_t count = et_get32(p + 8);
	uint64_t tail = index.size + ET_PACK_TRAILER_SIZE;
	if (count > ET_PACK_MEMBERS_MAX || index.size != count * ET_PACK_ENTRY_SIZE ||
	    memcmp(p + 5, zeros, 3) != 0 || memcmp(p + 12, zeros, 4) != 0 || pack_size < tail ||
	    !entries_fit(index, pack_size - tail)) {
		return et_fail(reterr, ET_EMALFORMED, "index of a pack");
	}
	*ret_pack_size = pack_size;
	memcpy(ret_pack_sha256, p + 24, 32);
	return entries_each(index, fn, arg);
}

void et_pack_key(const uint8_t sha256[32], int64_t us, const char *ending,
		 char ret[ET_PACK_KEY_SIZE])
{
	char hex[65];
	struct tm tm = { 0 };
	time_t seconds = (time_t)(us / 1000000);
	et_hex(sha256, 32, hex);
	if (us < 0 || gmtime_r(&seconds, &tm) == NULL || tm.tm_year + 1900 > 9999) {
		tm = (struct tm){ .tm_year = 70 };
	}
	(void)snprintf(ret, ET_PACK_KEY_SIZE, "packs/%04u/%02u/%s.%.4s",
		       (unsigned)tm.tm_year + 1900U, (unsigned)tm.tm_mon + 1U, hex, ending);
}
