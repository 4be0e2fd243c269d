/* An engine for tests and fuzzers: a sink that takes everything and keeps nothing, of which a test
 * replaces what it looks at; datagrams; and that each packet was counted once. */
#ifndef ET_NODE_CAPTURE_TEST_SINK_H
#define ET_NODE_CAPTURE_TEST_SINK_H

#include <pcap/dlt.h>
#include <stdlib.h>
#include <string.h>

#include "node/capture/engine_internal.h"

static inline int sink_open(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	(void)arg;
	(void)slot;
	(void)facts;
	(void)restored;
	return 0;
}

static inline int sink_stream(void *arg, uint32_t slot, const struct et_capture_stream *stream)
{
	(void)arg;
	(void)slot;
	(void)stream;
	return 0;
}

static inline int sink_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
			     const struct et_packet *packet)
{
	(void)arg;
	(void)slot;
	(void)stream;
	(void)rtp;
	(void)packet;
	return 0;
}

static inline int sink_rtcp(void *arg, uint32_t slot, uint32_t stream,
			    const struct et_packet *packet)
{
	(void)arg;
	(void)slot;
	(void)stream;
	(void)packet;
	return 0;
}

static inline int sink_record(void *arg, uint32_t slot, struct et_view plain)
{
	(void)arg;
	(void)slot;
	(void)plain;
	return 0;
}

static inline int sink_update(void *arg, uint32_t slot, const struct et_facts *facts,
			      const struct et_capture_stream *streams, uint32_t count)
{
	(void)arg;
	(void)slot;
	(void)facts;
	(void)streams;
	(void)count;
	return 0;
}

static inline int sink_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
			     const struct et_capture_stream *streams, uint32_t count)
{
	(void)opened;
	return sink_update(arg, slot, facts, streams, count);
}

static inline struct et_sink sink_of(void *arg)
{
	return (struct et_sink){
		.arg = arg,
		.open = sink_open,
		.stream = sink_stream,
		.media = sink_media,
		.rtcp = sink_rtcp,
		.meta = sink_record,
		.keys = sink_record,
		.update = sink_update,
		.close = sink_close,
	};
}

/* Over raw IPv4: 10.0.0.`from`:sport to 10.0.0.`to`:dport. In memory of its size, so that a
 * sanitizer sees a read behind it. */
static inline void engine_datagram_at(struct et_engine *e, int64_t time_us, uint8_t from,
				      uint16_t sport, uint8_t to, uint16_t dport, const void *data,
				      size_t size)
{
	uint8_t *p = calloc(1, 28 + size);

	et_assert(p != NULL);
	p[0] = 0x45;
	et_put16(p + 2, (uint16_t)(28 + size));
	p[8] = 64;
	p[9] = 17;
	et_put32(p + 12, 0x0A000000U + from);
	et_put32(p + 16, 0x0A000000U + to);
	et_put16(p + 20, sport);
	et_put16(p + 22, dport);
	et_put16(p + 24, (uint16_t)(8 + size));
	memcpy(p + 28, data, size);
	struct et_frame frame = {
		.link_type = DLT_RAW,
		.time_us = time_us,
		.data = p,
		.size = (uint32_t)(28 + size),
		.wire_size = (uint32_t)(28 + size),
	};
	et_engine_frame(e, &frame);
	free(p);
}

/* In tests. */
#define assert_each_counted_once(e)                                                                \
	assert_int_equal(et_capture_counted(&(e)->packets), (e)->packets.total)

#endif
