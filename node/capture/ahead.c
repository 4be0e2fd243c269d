/* Frames that come next.
 *
 * With a thousand calls under way a packet finds nothing of its stream, call and tape in the
 * caches: some twenty lines, behind pointers that lead from one to the next. Waiting for them was
 * half of all CPU time beside other work, a fifth alone. So frames are taken in batches, and before
 * the first of them is worked on, the lines of all are fetched side by side, a pointer further with
 * each step.
 *
 * It is a guess: a plain look at the frame (no tunnel, no fragment, no label), of a stream that is
 * known already. Nothing is changed by it; who is not guessed waits as before. */
#include <pcap/dlt.h>

#include "node/capture/engine_internal.h"

enum {
	ETHER_SIZE = 14,
	VLAN_SIZE = 4,
	IPV4_SIZE = 20,
	UDP_SIZE = 8,
	RTP_SIZE = 12,
};

/* What is known of a frame that is to come. */
struct ahead {
	uint64_t hash;
	struct et_stream *stream; /* borrowed; NULL: not guessed */
	uint32_t slot;
};

/* true: *key is that of an RTP packet in it, if it is one. */
static bool frame_key(const struct et_frame *frame, struct et_stream_key *key)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };
	const uint8_t *p = frame->data;
	uint32_t head = ETHER_SIZE;

	if (frame->link_type != DLT_EN10MB ||
	    frame->size < ETHER_SIZE + VLAN_SIZE + IPV4_SIZE + UDP_SIZE + RTP_SIZE) {
		return false;
	}
	if (et_get16(p + 12) == 0x8100) {
		head += VLAN_SIZE;
	}
	p += head;
	if (et_get16(p - 2) != 0x0800 || p[0] != 0x45 || p[9] != 17 ||
	    (et_get16(p + 6) & 0x3FFF) != 0 || p[IPV4_SIZE + UDP_SIZE] >> 6 != 2) {
		return false;
	}
	memcpy(key->src, mapped, sizeof(mapped));
	memcpy(key->src + sizeof(mapped), p + 12, 4);
	memcpy(key->dst, mapped, sizeof(mapped));
	memcpy(key->dst + sizeof(mapped), p + 16, 4);
	key->sport = et_get16(p + 20);
	key->dport = et_get16(p + 22);
	key->ssrc = et_get32(p + IPV4_SIZE + UDP_SIZE + 8);
	return true;
}

/* The bucket, the stream, its call, its slot at the sink: each is looked at one step after it was
 * fetched. */
static void step_bucket(const struct et_engine *e, const struct et_frame *frame, struct ahead *a)
{
	struct et_stream_key key;

	a->stream = NULL;
	a->hash = 0;
	if (frame_key(frame, &key)) {
		a->hash = et_hash(e->streams.seed, &key, sizeof(key));
		__builtin_prefetch(&e->streams.buckets[a->hash & e->streams.mask]);
	}
}

static void step_stream(const struct et_engine *e, struct ahead *a)
{
	struct et_link *l = a->hash != 0 ? et_table_first(&e->streams, a->hash) : NULL;

	if (l != NULL) {
		a->stream = ET_CONTAINER_OF(l, struct et_stream, link);
		et_fetch(a->stream, offsetof(struct et_stream, source.seen));
	}
}

static void step_call(struct ahead *a)
{
	struct et_stream *s = a->stream;

	if (s != NULL && s->link.hash != a->hash) { /* two of a bucket: the second, or none */
		struct et_link *l = s->link.next;
		s = l != NULL ? ET_CONTAINER_OF(l, struct et_stream, link) : NULL;
		a->stream = s != NULL && s->link.hash == a->hash ? s : NULL;
		s = a->stream;
	}
	if (s != NULL) {
		const uint64_t next = (uint64_t)(s->source.highest + 1) % ET_RTP_WINDOW;
		__builtin_prefetch(&s->source.seen[next / 64], 1);
		et_fetch(s->call, offsetof(struct et_call, facts));
	}
}

static void step_slot(struct ahead *a)
{
	if (a->stream != NULL) {
		a->slot = a->stream->call->slot;
	}
}

static void engine_look_ahead(const struct et_engine *e, const struct et_frame *frames,
			      size_t count)
{
	struct ahead all[ET_ENGINE_BATCH];

	for (size_t i = 0; i < count; i++) {
		step_bucket(e, &frames[i], &all[i]);
	}
	for (size_t i = 0; i < count; i++) {
		step_stream(e, &all[i]);
	}
	for (size_t i = 0; i < count; i++) {
		step_call(&all[i]);
	}
	for (size_t i = 0; i < count; i++) {
		step_slot(&all[i]);
	}
	for (int step = 0; e->sink.ahead != NULL && step < ET_SINK_STEPS; step++) {
		for (size_t i = 0; i < count; i++) {
			if (all[i].stream != NULL) {
				e->sink.ahead(e->sink.arg, all[i].slot, all[i].stream->number,
					      step);
			}
		}
	}
}

void et_engine_frames(struct et_engine *e, const struct et_frame *frames, size_t count)
{
	for (size_t at = 0; at < count; at += ET_ENGINE_BATCH) {
		const size_t left = count - at;
		const size_t n = left < ET_ENGINE_BATCH ? left : ET_ENGINE_BATCH;
		engine_look_ahead(e, frames + at, n);
		for (size_t i = 0; i < n; i++) {
			et_engine_frame(e, &frames[at + i]);
		}
	}
}
