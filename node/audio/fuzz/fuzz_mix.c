/* Any packets in any order, with a mask behind the mix or without: what comes out is whole, in
 * order, and as long as the statistics say; the sum of the counters is the number of packets. */
#include <stdlib.h>

#include "node/audio/mask.h"
#include "node/audio/mix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *arg, const int16_t *samples, size_t frames)
{
	uint64_t *total = arg;

	(void)samples;
	*total += frames;
	return *total > 8000U * 40 ? -EFBIG : 0; /* More than two rings: enough. */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t types[] = { 0, 8, 9, 3 }; /* G.711, G.722, GSM */
	struct et_reader r = et_reader_of(data, size);
	struct et_mix *m = NULL;
	uint64_t total = 0;
	uint64_t packets = 0;
	int64_t arrival = 0;
	int rc = 0;

	const uint8_t last = size > 0 ? data[size - 1] : 0;
	/* Rings of 48 kHz are large, and slow here: seldom. */
	const uint32_t rate = last % 16 == 1 ? 48000 : last % 2 == 1 ? 16000 : 8000;
	struct et_mask *mask = NULL;
	if (size > 4096 ||
	    ((last & 32) != 0 && et_mask_new(rate, count, &total, &mask, NULL) < 0) ||
	    et_mix_new(0, rate, mask != NULL ? et_mask_put : count,
		       mask != NULL ? (void *)mask : &total, &m, NULL) < 0) {
		(void)et_mask_free(mask);
		return 0;
	}
	while (rc == 0 && et_reader_left(&r) >= 12) {
		uint8_t flags = et_read8(&r);
		int32_t delta = (int32_t)et_read32(&r);
		struct et_mix_packet p = { .stream = flags & 3,
					   .party = flags >> 2 & 1,
					   .marker = (flags & 8) != 0,
					   .sequence = et_read16(&r),
					   .timestamp = et_read32(&r),
					   .codec = et_codec_static(
						   types[(flags & 3) ^ (flags >> 7)]) };
		arrival += (flags & 32) != 0 ? (int64_t)delta * 4000000 : delta;
		p.arrival_us = arrival;
		p.payload.size = et_read8(&r);
		p.payload.size =
			p.payload.size < et_reader_left(&r) ? p.payload.size : et_reader_left(&r);
		p.payload.data = et_read_bytes(&r, p.payload.size);
		if (mask != NULL && p.marker) {
			const int64_t at = et_mix_where(m, p.stream, p.timestamp, p.arrival_us);
			et_mask_span(mask, p.party, at, at + p.sequence);
		}
		rc = et_mix_add(m, &p);
		packets++;
	}
	if (rc == 0) {
		rc = et_mix_finish(m, 0);
		rc = rc == 0 && mask != NULL ? et_mask_finish(mask) : rc;
	}
	struct et_mix_stats s = et_mix_stats(m);
	if (rc == 0 &&
	    (s.frames != total ||
	     s.packets + s.duplicates + s.too_late + s.out_of_range + s.undecodable != packets)) {
		abort();
	}
	(void)et_mix_free(m);
	(void)et_mask_free(mask);
	return 0;
}
