#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "node/crypto/hash.h"
#include "node/playback/walk_internal.h"

enum { OUT_BUFFER = 32768 };

/* One file that is being written. Not in use: hash is NULL. */
struct out {
	int fd;			/* owned */
	struct et_sha256 *hash; /* owned */
	struct et_buffer pending;
	struct et_playback_file file;
};

struct export
{
	const char *folder; /* borrowed */
	int (*each)(void *arg, const struct et_playback_file *file);
	void *arg;
	struct out raw[ET_PLAYBACK_STREAMS_MAX];
	struct out csv[ET_PLAYBACK_STREAMS_MAX];
	struct out meta;
};

static int out_open(const struct export *x, struct out *o, struct et_error *reterr)
{
	char path[PATH_MAX];

	int n = snprintf(path, sizeof(path), "%s/%s", x->folder, o->file.name);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", x->folder);
	}
	o->hash = et_sha256_new();
	if (o->hash == NULL) {
		return et_fail(reterr, -ENOMEM, "export '%s'", path);
	}
	o->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (o->fd < 0) {
		return et_fail(reterr, -errno, "create '%s'", path);
	}
	return 0;
}

static int out_flush(struct out *o, struct et_error *reterr)
{
	const uint8_t *p = o->pending.data;
	size_t left = o->pending.size;

	if (o->pending.failed) {
		return et_fail(reterr, -ENOMEM, "export '%s'", o->file.name);
	}
	et_sha256_add(o->hash, p, left);
	while (left > 0) {
		ssize_t n = write(o->fd, p, left);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return et_fail(reterr, n < 0 ? -errno : -EIO, "write '%s'", o->file.name);
		}
		p += n;
		left -= (size_t)n;
	}
	o->file.size_bytes += o->pending.size;
	o->pending.size = 0;
	return 0;
}

static int out_add(struct out *o, const void *data, size_t size, struct et_error *reterr)
{
	et_buffer_add(&o->pending, data, size);
	return o->pending.failed || o->pending.size >= OUT_BUFFER ? out_flush(o, reterr) : 0;
}

static void out_release(struct out *o)
{
	if (o->hash != NULL && o->fd >= 0) {
		(void)close(o->fd);
	}
	o->hash = et_sha256_free(o->hash);
	if (o->pending.data != NULL) {
		explicit_bzero(o->pending.data, o->pending.capacity);
	}
	et_buffer_release(&o->pending);
	o->file = (struct et_playback_file){ 0 };
}

/* Durable, hashed and told of. */
static int out_finish(const struct export *x, struct out *o, struct et_error *reterr)
{
	if (o->hash == NULL) {
		return 0;
	}
	int rc = out_flush(o, reterr);
	if (rc == 0 && fsync(o->fd) < 0) {
		rc = et_fail(reterr, -errno, "sync '%s'", o->file.name);
	}
	if (rc == 0) {
		et_sha256_end(o->hash, o->file.sha256);
		rc = x->each != NULL ? x->each(x->arg, &o->file) : 0;
		if (rc < 0) {
			rc = et_fail(reterr, rc, "export '%s'", o->file.name);
		}
	}
	out_release(o);
	return rc;
}

/* A name that is safe in a file name: letters, digits and dashes. */
static void safe_name(const char *name, char ret[WALK_NAME_MAX])
{
	size_t n = 0;

	for (; name[n] != '\0' && n < WALK_NAME_MAX - 1; n++) {
		const char c = name[n];
		const bool safe = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
				  (c >= 'a' && c <= 'z') || c == '-';
		ret[n] = safe ? c : '-';
	}
	ret[n] = '\0';
}

static int export_begin(void *arg, struct walk_segment *segment, struct et_error *reterr)
{
	struct export *x = arg;
	char id[2 * 16 + 1];

	(void)snprintf(x->meta.file.name, sizeof(x->meta.file.name), "s%03" PRIu32 "-meta.txt",
		       segment->known->segment);
	int rc = out_open(x, &x->meta, reterr);
	if (rc < 0) {
		return rc;
	}
	et_hex(segment->header->recording, 16, id);
	et_buffer_printf(&x->meta.pending,
			 "tape recording=%s generation=%" PRIu32 " segment=%" PRIu32
			 " node=%" PRIu64 " t0_us=%" PRId64 "\n",
			 id, segment->header->generation, segment->header->segment,
			 segment->header->node, segment->header->t0_us);
	return 0;
}

/* A short text on its line: printable ASCII, the rest as '?'. */
static void put_word(struct et_buffer *b, const char *key, struct et_view text)
{
	et_buffer_printf(b, " %s=", key);
	for (size_t i = 0; i < text.size && i < 1024; i++) {
		const uint8_t c = text.data[i];
		et_buffer_add8(b, c > 0x20 && c < 0x7F ? c : '?');
	}
}

/* Does `text` begin with this, in any case? */
static bool begins(const uint8_t *text, size_t size, const char *word)
{
	size_t n = strlen(word);
	return size >= n && strncasecmp((const char *)text, word, n) == 0;
}

/* A '*' for every character of a key ("inline:KEY|2^20|1:4") on the lines that give one. */
static void hide_keys(uint8_t *text, size_t size)
{
	static const char mark[] = "inline:";
	bool line_begins = true;
	bool is_crypto = false;

	for (size_t i = 0; i < size; i++) {
		is_crypto = line_begins ? begins(text + i, size - i, "a=crypto:") : is_crypto;
		line_begins = text[i] == '\n' || text[i] == '\r';
		if (!is_crypto || !begins(text + i, size - i, mark)) {
			continue;
		}
		i += sizeof(mark) - 1;
		while (i < size && text[i] > ' ' && text[i] != '|' && text[i] != ';') {
			text[i++] = '*';
		}
		i--;
	}
}

/* A long text as it was received, its length before it; without keys. */
static void put_text(struct et_buffer *b, struct et_view text)
{
	et_buffer_printf(b, " length=%zu\n", text.size);
	et_buffer_add(b, text.data, text.size);
	if (!b->failed) {
		hide_keys(b->data + b->size - text.size, text.size);
	}
	et_buffer_add8(b, '\n');
}

static int export_meta(void *arg, struct walk_segment *segment, const struct et_meta_item *item,
		       struct et_error *reterr)
{
	struct export *x = arg;
	struct et_buffer *b = &x->meta.pending;

	(void)segment;
	switch (item->type) {
	case ET_META_STREAM:
		et_buffer_printf(b,
				 "stream number=%u ssrc=0x%08x party=%u payload_type=%u clock=%u",
				 item->stream.stream, item->stream.ssrc, item->stream.party,
				 item->stream.payload_type, item->stream.clock_rate);
		put_word(b, "codec", item->stream.codec);
		put_word(b, "src", item->stream.src);
		put_word(b, "dst", item->stream.dst);
		if (item->stream.srtp.size > 0) {
			put_word(b, "srtp", item->stream.srtp);
			et_buffer_printf(b, " payload=protected keys=withheld");
		}
		et_buffer_add8(b, '\n');
		break;
	case ET_META_CODEC:
		et_buffer_printf(b, "codec stream=%u payload_type=%u clock=%u", item->codec.stream,
				 item->codec.payload_type, item->codec.clock_rate);
		put_word(b, "codec", item->codec.codec);
		put_word(b, "fmtp", item->codec.fmtp);
		et_buffer_add8(b, '\n');
		break;
	case ET_META_SDP:
		et_buffer_printf(b, "sdp time_us=%" PRId64 " party=%u", item->sdp.time_us,
				 item->sdp.party);
		put_text(b, item->sdp.text);
		break;
	case ET_META_SIP:
		et_buffer_printf(b, "sip time_us=%" PRId64, item->sip.time_us);
		put_word(b, "src", item->sip.src);
		put_word(b, "dst", item->sip.dst);
		put_text(b, item->sip.text);
		break;
	case ET_META_FACT:
		et_buffer_printf(b, "fact time_us=%" PRId64 " party=%u", item->fact.time_us,
				 item->fact.party);
		put_word(b, "key", item->fact.key);
		put_text(b, item->fact.value);
		break;
	case ET_META_MARK:
		et_buffer_printf(b, "mark what=%u from_us=%" PRId64 " to_us=%" PRId64,
				 item->mark.what, item->mark.from_us, item->mark.to_us);
		put_word(b, "cause", item->mark.cause);
		et_buffer_add8(b, '\n');
		break;
	default:
		et_buffer_printf(b, "unknown type=%u", item->type);
		put_text(b, item->raw);
		break;
	}
	return out_add(&x->meta, NULL, 0, reterr);
}

/* The two files of a stream, with its first packet. */
static int export_stream(struct export *x, const struct walk_segment *segment,
			 const struct walk_type *type, uint32_t stream, struct et_error *reterr)
{
	static const char columns[] =
		"seq,timestamp,arrival_us,payload_type,marker,offset,length,kind\n";
	struct out *raw = &x->raw[stream];
	struct out *csv = &x->csv[stream];
	char codec[WALK_NAME_MAX];

	safe_name(type != NULL && type->name[0] != '\0' ? type->name : "unknown", codec);
	(void)snprintf(raw->file.name, sizeof(raw->file.name),
		       "s%03" PRIu32 "-stream%02" PRIu32 "-%s.raw", segment->known->segment, stream,
		       codec);
	(void)snprintf(csv->file.name, sizeof(csv->file.name),
		       "s%03" PRIu32 "-stream%02" PRIu32 "-%s.csv", segment->known->segment, stream,
		       codec);
	int rc = out_open(x, raw, reterr);
	if (rc == 0) {
		rc = out_open(x, csv, reterr);
	}
	return rc == 0 ? out_add(csv, columns, sizeof(columns) - 1, reterr) : rc;
}

static int export_packet(void *arg, struct walk_segment *segment, const struct walk_type *type,
			 const struct et_media_packet *packet, struct et_error *reterr)
{
	struct export *x = arg;
	struct out *raw = &x->raw[packet->stream];
	struct out *csv = &x->csv[packet->stream];

	int rc = raw->hash == NULL ? export_stream(x, segment, type, packet->stream, reterr) : 0;
	if (rc < 0) {
		return rc;
	}
	const char *kind = packet->rtcp ? "rtcp" : packet->whole ? "whole" : "rtp";
	const uint64_t offset = raw->file.size_bytes + raw->pending.size;
	et_buffer_printf(&csv->pending, "%u,%" PRIu32 ",%" PRId64 ",%u,%d,%" PRIu64 ",%zu,%s\n",
			 packet->sequence, packet->timestamp, packet->arrival_us,
			 packet->payload_type, packet->marker ? 1 : 0, offset, packet->payload.size,
			 kind);
	rc = out_add(csv, NULL, 0, reterr);
	return rc == 0 ? out_add(raw, packet->payload.data, packet->payload.size, reterr) : rc;
}

static int export_end(void *arg, struct walk_segment *segment, struct et_error *reterr)
{
	struct export *x = arg;

	(void)segment;
	int rc = out_finish(x, &x->meta, reterr);
	for (size_t i = 0; i < ET_PLAYBACK_STREAMS_MAX && rc == 0; i++) {
		rc = out_finish(x, &x->raw[i], reterr);
		if (rc == 0) {
			rc = out_finish(x, &x->csv[i], reterr);
		}
	}
	return rc;
}

int et_playback_export_original(const struct et_playback_config *config, const char *folder,
				int (*each)(void *arg, const struct et_playback_file *file),
				void *arg, struct et_playback_summary *ret, struct et_error *reterr)
{
	struct export *x = calloc(1, sizeof(*x));
	if (x == NULL) {
		return et_fail(reterr, -ENOMEM, "export");
	}
	x->folder = folder;
	x->each = each;
	x->arg = arg;
	const struct walk_visitor visitor = { .begin = export_begin,
					      .meta = export_meta,
					      .packet = export_packet,
					      .end = export_end,
					      .arg = x };

	int rc = et_playback_walk(config, &visitor, ret, reterr);
	out_release(&x->meta);
	for (size_t i = 0; i < ET_PLAYBACK_STREAMS_MAX; i++) {
		out_release(&x->raw[i]);
		out_release(&x->csv[i]);
	}
	free(x);
	return rc;
}
