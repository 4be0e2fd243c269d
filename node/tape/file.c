#include "node/tape/file.h"

#include <string.h>

#include "node/crypto/hash.h"
#include "node/tape/items_internal.h"

enum {
	FILE_VERSION = 1,
	MEDIUM_HEAD = 8 + 32 + 3,
	FLAG_SWAPPED = 1,
	SPLICED_MAX = 131072, /* bytes that wait for one packet */
};

/* ---- Items ---- */

static bool medium_is_good(const struct et_file_medium *m)
{
	return (m->channels == 1 || m->channels == 2) &&
	       ((m->sample_bytes >= 1 && m->sample_bytes <= 4) || m->sample_bytes == 8) &&
	       m->format.size <= ET_FILE_TEXT_MAX && m->name.size <= ET_FILE_TEXT_MAX;
}

static void medium_add(struct et_buffer *plain, const struct et_file_medium *m)
{
	et_tape_item_begin(plain, FILE_VERSION, ET_FILE_MEDIUM,
			   MEDIUM_HEAD + 2 + m->format.size + m->name.size);
	et_buffer_add64(plain, m->size_bytes);
	et_buffer_add(plain, m->sha256, sizeof(m->sha256));
	et_buffer_add8(plain, m->channels);
	et_buffer_add8(plain, m->sample_bytes);
	et_buffer_add8(plain, m->swapped ? FLAG_SWAPPED : 0);
	et_buffer_add8(plain, (uint8_t)m->format.size);
	et_buffer_add(plain, m->format.data, m->format.size);
	et_buffer_add8(plain, (uint8_t)m->name.size);
	et_buffer_add(plain, m->name.data, m->name.size);
}

int et_file_add(struct et_buffer *plain, const struct et_file_item *item)
{
	if (item->type == ET_FILE_MEDIUM && medium_is_good(&item->medium)) {
		medium_add(plain, &item->medium);
		return 0;
	}
	if ((item->type != ET_FILE_BYTES && item->type != ET_FILE_SPLICE) ||
	    item->bytes.size == 0 || item->bytes.size > ET_FILE_BYTES_MAX) {
		return -EINVAL;
	}
	et_tape_item_begin(plain, FILE_VERSION, item->type, 8 + item->bytes.size);
	et_buffer_add64(plain, item->offset);
	et_buffer_add(plain, item->bytes.data, item->bytes.size);
	return 0;
}

int et_file_reader_init(struct et_file_reader *r, struct et_view plain, struct et_error *reterr)
{
	return et_tape_items_init(&r->reader, plain, FILE_VERSION, "file", reterr);
}

static struct et_view text_get(struct et_reader *r)
{
	const size_t size = et_read8(r);
	const uint8_t *data = et_read_bytes(r, size);

	return (struct et_view){ data, data != NULL ? size : 0 };
}

static bool medium_get(struct et_reader *r, struct et_file_medium *m)
{
	m->size_bytes = et_read64(r);
	const uint8_t *hash = et_read_bytes(r, sizeof(m->sha256));
	if (hash != NULL) {
		memcpy(m->sha256, hash, sizeof(m->sha256));
	}
	m->channels = et_read8(r);
	m->sample_bytes = et_read8(r);
	m->swapped = (et_read8(r) & FLAG_SWAPPED) != 0;
	m->format = text_get(r);
	m->name = text_get(r);
	return !r->failed && medium_is_good(m);
}

static bool bytes_get(struct et_reader *r, struct et_file_item *i)
{
	i->offset = et_read64(r);
	const size_t size = et_reader_left(r);
	if (r->failed || size == 0 || size > ET_FILE_BYTES_MAX) {
		return false;
	}
	i->bytes = (struct et_view){ et_read_bytes(r, size), size };
	return true;
}

int et_file_reader_next(struct et_file_reader *r, struct et_file_item *ret, struct et_error *reterr)
{
	struct et_view value = { NULL, 0 };
	uint32_t type = 0;

	int rc = et_tape_items_next(&r->reader, "file", &type, &value, reterr);
	if (rc <= 0) {
		return rc;
	}
	*ret = (struct et_file_item){ .type = type };
	struct et_reader inner = et_reader_of(value.data, value.size);
	if ((type == ET_FILE_MEDIUM && !medium_get(&inner, &ret->medium)) ||
	    ((type == ET_FILE_BYTES || type == ET_FILE_SPLICE) && !bytes_get(&inner, ret))) {
		r->reader.failed = true;
		return et_fail(reterr, ET_EMALFORMED, "%s in a file record",
			       type == ET_FILE_MEDIUM ? "medium" : "bytes");
	}
	return 1;
}

/* ---- Ids ---- */

#define YEAR_2000_MS UINT64_C(946684800000)
#define YEARS_20_MS UINT64_C(631152000000)

void et_file_recording_id(const uint8_t sha256[32], uint32_t part, uint8_t ret[16])
{
	uint8_t input[12 + 32 + 4] = "evtm/1 file";
	uint8_t hash[32];

	memcpy(input + 12, sha256, 32);
	et_put32(input + 44, part);
	et_sha256(input, sizeof(input), hash);
	const uint64_t ms = YEAR_2000_MS + et_get64(hash) % YEARS_20_MS;
	et_put64(ret, ms << 16);
	memcpy(ret + 6, hash + 8, 10);
	ret[6] = (uint8_t)(0x80 | (ret[6] & 0x0F));
	ret[8] = (uint8_t)(0x80 | (ret[8] & 0x3F));
}

/* ---- The weave ---- */

static int weave_give(struct et_weave *w, const void *data, size_t size)
{
	w->size_bytes += size;
	return size > 0 ? w->sink(w->arg, data, size) : 0;
}

static void medium_take(struct et_weave *w, const struct et_file_medium *m)
{
	w->medium = *m;
	w->medium.format = w->medium.name = (struct et_view){ NULL, 0 };
	memcpy(w->format, m->format.data, m->format.size);
	w->format[m->format.size] = '\0';
	memcpy(w->name, m->name.data, m->name.size);
	w->name[m->name.size] = '\0';
	w->has_medium = true;
	w->left.secret = w->room.secret = w->spliced.secret = true;
}

/* They wait for their packet. */
static int splice_take(struct et_weave *w, const struct et_file_item *item)
{
	w->broken = w->broken || !w->has_medium || item->offset > ET_MEDIA_PACKET_MAX ||
		    w->spliced.size > SPLICED_MAX || w->medium.channels != 1 ||
		    w->medium.sample_bytes != 1;
	if (w->broken) {
		return 0;
	}
	et_buffer_add32(&w->spliced, (uint32_t)item->offset);
	et_buffer_add32(&w->spliced, (uint32_t)item->bytes.size);
	et_buffer_add(&w->spliced, item->bytes.data, item->bytes.size);
	return w->spliced.failed ? -ENOMEM : 0;
}

/* A payload with what stands within it. */
static int weave_spliced(struct et_weave *w, struct et_view payload)
{
	struct et_reader r = et_reader_of(w->spliced.data, w->spliced.size);
	size_t from = 0;
	int rc = 0;

	while (rc == 0 && !w->broken && et_reader_left(&r) > 0) {
		const size_t at = et_read32(&r);
		const size_t size = et_read32(&r);
		const uint8_t *bytes = et_read_bytes(&r, size);
		if (at < from || at > payload.size) {
			w->broken = true;
			break;
		}
		rc = weave_give(w, payload.data + from, at - from);
		rc = rc < 0 ? rc : weave_give(w, bytes, size);
		from = at;
	}
	w->spliced.size = 0;
	return rc < 0 || w->broken ? rc : weave_give(w, payload.data + from, payload.size - from);
}

int et_weave_file(struct et_weave *w, struct et_view plain, struct et_error *reterr)
{
	struct et_file_reader r;
	struct et_file_item item;

	int rc = et_file_reader_init(&r, plain, reterr);
	while (rc == 0 && (rc = et_file_reader_next(&r, &item, reterr)) == 1) {
		rc = 0;
		if (item.type == ET_FILE_MEDIUM && !w->has_medium) {
			medium_take(w, &item.medium);
		} else if (item.type == ET_FILE_BYTES) {
			w->broken = w->broken || !w->has_medium || w->has_left ||
				    item.offset != w->size_bytes || w->spliced.size > 0;
			rc = w->broken ? 0 : weave_give(w, item.bytes.data, item.bytes.size);
		} else if (item.type == ET_FILE_SPLICE) {
			rc = splice_take(w, &item);
		}
	}
	return rc;
}

/* `channels` payloads of equal size, a sample of each in turn. */
static int weave_samples(struct et_weave *w, const uint8_t *const *payloads, size_t size)
{
	const size_t channels = w->medium.channels;
	const size_t bytes = w->medium.sample_bytes;

	w->room.size = 0;
	uint8_t *out = et_buffer_reserve(&w->room, size * channels + 1);
	if (out == NULL) {
		return -ENOMEM;
	}
	for (size_t at = 0; at < size; at += bytes) {
		for (size_t c = 0; c < channels; c++) {
			for (size_t b = 0; b < bytes; b++) {
				const size_t from = w->medium.swapped ? bytes - 1 - b : b;
				*out++ = payloads[c][at + from];
			}
		}
	}
	return weave_give(w, out - size * channels, size * channels);
}

static int weave_pair(struct et_weave *w, const struct et_media_packet *p)
{
	if (p->stream == 0) {
		w->broken = w->broken || w->has_left;
		w->has_left = true;
		w->left_timestamp = p->timestamp;
		w->left.size = 0;
		et_buffer_add(&w->left, p->payload.data, p->payload.size);
		return w->left.failed ? -ENOMEM : 0;
	}
	w->broken = w->broken || p->stream != 1 || !w->has_left ||
		    w->left_timestamp != p->timestamp || w->left.size != p->payload.size;
	w->has_left = false;
	if (w->broken) {
		return 0;
	}
	const uint8_t *const both[] = { w->left.data, p->payload.data };
	return weave_samples(w, both, p->payload.size);
}

int et_weave_packet(struct et_weave *w, const struct et_media_packet *p)
{
	const uint8_t *const one[] = { p->payload.data };

	if (!w->has_medium) {
		return 0;
	}
	w->broken =
		w->broken || p->rtcp || p->whole || p->payload.size % w->medium.sample_bytes != 0;
	if (w->broken) {
		return 0;
	}
	if (w->medium.channels == 2) {
		return weave_pair(w, p);
	}
	w->broken = p->stream != 0;
	if (!w->broken && w->spliced.size > 0) {
		return weave_spliced(w, p->payload);
	}
	return w->broken ? 0 : weave_samples(w, one, p->payload.size);
}

bool et_weave_is_whole(const struct et_weave *w)
{
	return w->has_medium && !w->broken && !w->has_left && w->spliced.size == 0 &&
	       w->size_bytes == w->medium.size_bytes;
}

void et_weave_release(struct et_weave *w)
{
	et_buffer_release(&w->left);
	et_buffer_release(&w->room);
	et_buffer_release(&w->spliced);
}
