/* Any file in pieces of any size: all its bytes come out again, each once, in order, and what comes
 * does not depend on how it was cut. */
#include <stdlib.h>
#include <string.h>

#include "node/medium/medium.h"
#include "node/tape/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

struct run {
	struct et_weave weave;
	const uint8_t *data;
	size_t size;
	size_t at;
	uint64_t calls;
	uint32_t packets;
	uint64_t places; /* a sum of where they are */
	enum et_medium_kind kind;
};

static int on_bytes_again(void *arg, const void *data, size_t size)
{
	struct run *r = arg;
	if (size > r->size - r->at || memcmp(r->data + r->at, data, size) != 0) {
		abort();
	}
	r->at += size;
	return 0;
}

static void item(struct run *r, const struct et_file_item *i)
{
	struct et_buffer b = { 0 };
	if (et_file_add(&b, i) < 0 || b.failed ||
	    et_weave_file(&r->weave, (struct et_view){ b.data, b.size }, NULL) < 0) {
		abort();
	}
	et_buffer_release(&b);
}

static int on_about(void *arg, const struct et_medium_about *a)
{
	struct run *r = arg;
	const struct et_file_item i = { .type = ET_FILE_MEDIUM,
					.medium = { .size_bytes = r->size,
						    .channels = a->channels,
						    .sample_bytes = a->sample_bytes,
						    .swapped = a->swapped } };
	item(r, &i);
	r->kind = a->kind;
	return 0;
}

static int on_packet(void *arg, const struct et_medium_packet *p)
{
	struct run *r = arg;
	const struct et_media_packet packet = { .stream = p->stream,
						.timestamp = p->timestamp,
						.payload = p->payload };
	if ((p->payload.size == 0 && r->kind != ET_MEDIUM_OGG) ||
	    p->payload.size > ET_MEDIUM_PACKET_MAX || p->offset_us < 0) {
		abort();
	}
	r->packets++;
	r->places = r->places * 31 + (uint64_t)p->offset_us + p->timestamp + p->sequence;
	return et_weave_packet(&r->weave, &packet);
}

static int on_bytes(void *arg, struct et_view bytes)
{
	struct run *r = arg;
	const struct et_file_item i = { .type = ET_FILE_BYTES,
					.offset = r->weave.size_bytes,
					.bytes = bytes };
	item(r, &i);
	return 0;
}

static int on_splice(void *arg, uint32_t at, struct et_view bytes)
{
	struct run *r = arg;
	const struct et_file_item i = { .type = ET_FILE_SPLICE, .offset = at, .bytes = bytes };
	item(r, &i);
	return 0;
}

static int run(const uint8_t *data, size_t size, size_t piece, struct run *ret)
{
	struct et_medium *m;
	const struct et_medium_sink sink = { on_about, on_packet, on_bytes, on_splice, ret };

	*ret = (struct run){ .weave = { .sink = on_bytes_again }, .data = data, .size = size };
	ret->weave.arg = ret;
	if (et_medium_new(&sink, &m) < 0) {
		abort();
	}
	int rc = 0;
	for (size_t at = 0; at < size && rc == 0; at += piece) {
		const size_t n = size - at < piece ? size - at : piece;
		rc = et_medium_feed(m, (struct et_view){ data + at, n }, NULL);
	}
	rc = rc < 0 ? rc : et_medium_end(m, NULL);
	if (rc == 0 && (ret->at != size || !et_weave_is_whole(&ret->weave))) {
		abort();
	}
	(void)et_medium_free(m);
	et_weave_release(&ret->weave);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t pieces[] = { 1, 61, 4096, 1 << 20 };
	struct run first;
	struct run other;
	int rc = run(data, size, pieces[3], &first);

	for (size_t i = size > 16384 ? 2 : size > 2048 ? 1 : 0; i < 3; i++) {
		if (run(data, size, pieces[i], &other) != rc || other.packets != first.packets ||
		    other.places != first.places) {
			abort();
		}
	}
	return 0;
}

/* ---- Pages of Ogg: their check sums keep a fuzzer out ---- */

static uint32_t sum_of(const uint8_t *p, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i++) {
		sum ^= (uint32_t)p[i] << 24;
		for (int bit = 0; bit < 8; bit++) {
			sum = sum << 1 ^ ((sum >> 31) * 0x04C11DB7U);
		}
	}
	return sum;
}

/* Makes the page at `p` whole again; returns its size, or 1: there is none. */
static size_t page_mend(uint8_t *p, size_t left)
{
	if (left < 27 || memcmp(p, "OggS", 4) != 0 || left < (size_t)27 + p[26]) {
		return 1;
	}
	size_t size = (size_t)27 + p[26];
	for (size_t i = 0; i < p[26]; i++) {
		size += p[27 + i];
	}
	if (size > left) {
		return 1;
	}
	memset(p + 22, 0, 4);
	const uint32_t sum = sum_of(p, size);
	for (unsigned i = 0; i < 4; i++) {
		p[22 + i] = (uint8_t)(sum >> 8 * i);
	}
	return size;
}

/* What is changed fits its check sums mostly. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, max);
	for (size_t at = 0; seed % 8 != 0 && at < size;) {
		at += page_mend(data + at, size - at);
	}
	return size;
}
