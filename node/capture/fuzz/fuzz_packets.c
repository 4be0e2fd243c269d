/* The whole way of a packet: link layer, IP, fragments, tunnels, UDP, TCP, SIP, SDP, RTP, call
 * table. The input is a list of frames; each has two bytes of length, one that picks the link
 * layer (and now and then pauses calls), one for the time that has passed. Whatever comes: the
 * accounting identity holds, the limits are kept, and the call table can be saved and restored. */
#include <pcap/dlt.h>
#include <stdlib.h>

#include "node/capture/fuzz/again.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS = 8, TURN_ALLOCATIONS = 4 };

struct counts {
	uint64_t media;
	bool open[CALLS];
	uint64_t turn;
};

/* Now and then there is no room: the engine must live with it. */
static int room(struct counts *c)
{
	return ++c->turn % 7 == 0 ? ET_ELIMIT : 0;
}

static int take_open(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	struct counts *c = arg;
	(void)facts;
	(void)restored;
	if (slot >= CALLS || c->open[slot]) {
		abort();
	}
	int rc = room(c);
	c->open[slot] = rc == 0;
	return rc;
}

static int take_stream(void *arg, uint32_t slot, const struct et_capture_stream *stream)
{
	struct counts *c = arg;
	if (slot >= CALLS || !c->open[slot] || stream->number >= ET_CAPTURE_STREAMS_MAX) {
		abort();
	}
	return room(c);
}

static int take_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
		      const struct et_packet *packet)
{
	struct counts *c = arg;
	if (slot >= CALLS || !c->open[slot] || stream >= ET_CAPTURE_STREAMS_MAX ||
	    rtp->payload < packet->payload ||
	    rtp->payload + rtp->payload_size > packet->payload + packet->size) {
		abort();
	}
	c->media++;
	return room(c);
}

static int take_rtcp(void *arg, uint32_t slot, uint32_t stream, const struct et_packet *packet)
{
	const struct counts *c = arg;
	(void)packet;
	if (slot >= CALLS || !c->open[slot] || stream >= ET_CAPTURE_STREAMS_MAX) {
		abort();
	}
	return 0;
}

static int take_meta(void *arg, uint32_t slot, struct et_view plain)
{
	struct counts *c = arg;
	if (slot >= CALLS || !c->open[slot] || plain.size == 0) {
		abort();
	}
	return room(c);
}

static int take_update(void *arg, uint32_t slot, const struct et_facts *facts,
		       const struct et_capture_stream *streams, uint32_t count)
{
	struct counts *c = arg;
	(void)facts;
	(void)streams;
	if (slot >= CALLS || !c->open[slot] || count > ET_CAPTURE_STREAMS_MAX) {
		abort();
	}
	return room(c);
}

static int take_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
		      const struct et_capture_stream *streams, uint32_t count)
{
	struct counts *c = arg;
	(void)streams;
	if (slot >= CALLS || c->open[slot] != opened || count > ET_CAPTURE_STREAMS_MAX ||
	    facts->state == ET_CALL_LIVE) {
		abort();
	}
	c->open[slot] = false;
	return 0;
}

static int take_keep(void *arg, const struct et_keep *keep)
{
	if (keep->who[0] == '\0') {
		abort();
	}
	return room(arg);
}

static int64_t no_gap(void *arg, const uint8_t id[16], uint32_t *segment)
{
	(void)arg;
	(void)id;
	(void)segment;
	return 0;
}

static void check(const struct et_engine *e)
{
	if (et_capture_counted(&e->packets) != e->packets.total || e->call_count > CALLS ||
	    e->stream_count > e->limits.streams || e->candidate_count > e->limits.candidates ||
	    et_tcp_held(e->tcp) > e->limits.tcp_bytes) {
		abort();
	}
}

/* Keys pause calls, too, and keep them; tones are dropped. */
static const struct et_rules by_keys = {
	.otherwise = ET_RULE_RECORD,
	.tones = ET_RULE_TONES_STRICT,
	.count = 2,
	.rules = { { .name = "media",
		     .action = ET_RULE_RECORD,
		     .tones = ET_RULE_TONES_DROP,
		     .media_only = true },
		   { .name = "keys",
		     .action = ET_RULE_ON_DEMAND,
		     .ring = { .reach_us = 10000000, .keep_for_us = 1000000, .keep = "3" },
		     .pause = { .start = "1", .stop = "2", .without_key = true } } },
};

static struct et_engine *make(const struct et_sink *sink)
{
	struct et_capture_config capture = {
		.rules = &by_keys,
		.limits = {
			.calls = CALLS,
			.streams = 16,
			.streams_per_call = 4,
			.candidates = 4,
			.candidate_packets = 4,
			.fragments = 4,
			.tcp_connections = 4,
			.turn_allocations = TURN_ALLOCATIONS,
			.tcp_message_bytes = 1024,
			.tcp_bytes = 4096,
			.setup_timeout_s = 4,
			.media_only_timeout_s = 2,
			.media_timeout_s = 8,
		},
	};
	struct et_engine_config config = { .capture = &capture,
					   .sink = sink,
					   .deterministic = true };
	struct et_engine *e = NULL;
	if (et_engine_new(&config, &e, NULL) < 0) {
		abort();
	}
	return e;
}

/* Somebody keeps what can be kept; now and then there is no room to say so. */
static void keep_some(struct et_engine *e)
{
	for (uint32_t i = 1; i < CALLS; i += 2) {
		struct et_keep_ask ask = { .arg = NULL };
		struct et_keep keep = { .who = "fuzz", .at_us = e->now_us, .ask = &ask };
		struct et_call *c = e->slots[i];
		if (c == NULL || c->decision != ET_DECISION_RECORD) {
			continue;
		}
		memcpy(keep.recording, c->facts.id, 16);
		if (et_engine_keep(e, &keep) >= 0 && et_call_is_waiting(c)) {
			abort();
		}
	}
}

/* Whatever is recorded is paused, or goes on. */
static void toggle_pauses(struct et_engine *e)
{
	for (uint32_t i = 0; i < CALLS; i++) {
		struct et_capture_pause p;
		const struct et_call *c = e->slots[i];
		bool paused = c != NULL && et_call_is_paused(c);
		if (c != NULL && (c->opened || c->restored) &&
		    (et_engine_pause(e, c->facts.id, !paused, "fuzz", 300000, &p) < 0 ||
		     p.paused == paused)) {
			abort();
		}
	}
}

static void feed(struct et_engine *e, const uint8_t *data, size_t size)
{
	static const int links[] = { DLT_EN10MB, DLT_LINUX_SLL, DLT_LINUX_SLL2, DLT_NULL,
				     DLT_RAW,	 DLT_EN10MB,	DLT_RAW,	-1 };
	struct et_reader r = et_reader_of(data, size);
	int64_t now_us = 1700000000000000LL;
	while (et_reader_left(&r) >= 4) {
		uint32_t length = et_read16(&r);
		uint8_t link = et_read8(&r);
		now_us += (int64_t)et_read8(&r) * 20000;
		if (length > et_reader_left(&r)) {
			length = (uint32_t)et_reader_left(&r);
		}
		struct et_frame frame = {
			.link_type = links[link % ET_ARRAY_SIZE(links)],
			.time_us = now_us,
			.size = length,
			.wire_size = length + link / 64,
		};
		/* Of its own, so that a read behind it is seen. */
		uint8_t *copy = malloc(length == 0 ? 1 : length);
		const uint8_t *bytes = et_read_bytes(&r, length);
		if (copy == NULL || bytes == NULL) {
			abort();
		}
		memcpy(copy, bytes, length);
		frame.data = copy;
		if ((link >> 3 & 7) == 7) {
			toggle_pauses(e);
			keep_some(e);
		}
		et_engine_frames(e, &frame, 1);
		free(copy);
		check(e);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct counts counts;
	static struct counts again;
	static struct et_engine *e;
	static struct et_engine *restored;
	struct et_buffer table = { .data = NULL };
	struct et_sink sink = {
		.arg = &counts,
		.open = take_open,
		.stream = take_stream,
		.media = take_media,
		.rtcp = take_rtcp,
		.meta = take_meta,
		.keys = take_meta,
		.keep = take_keep,
		.update = take_update,
		.close = take_close,
	};
	if (e == NULL) {
		e = make(&sink);
		sink.arg = &again;
		restored = make(&sink);
	}
	counts = (struct counts){ .media = 0 };
	again = (struct counts){ .media = 0 };
	feed(e, data, size);
	et_engine_save(e, &table);
	if (table.failed || et_engine_restore(restored, (struct et_view){ table.data, table.size },
					      no_gap, NULL, NULL) < 0) {
		abort();
	}
	et_engine_clock(restored, 1800000000000000LL);
	et_engine_finish(restored, true);
	check(restored);
	et_engine_again(restored, TURN_ALLOCATIONS);
	et_buffer_release(&table);

	et_engine_finish(e, true);
	check(e);
	if (e->packets.pending != 0 || e->call_count != 0 || counts.media > e->packets.rtp) {
		abort();
	}
	et_engine_again(e, TURN_ALLOCATIONS);
	return 0;
}
