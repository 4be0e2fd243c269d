/* Any packets in any order, with a mask behind the mix or without, losses concealed or not: what
 * comes out is whole, in order, and as long as the statistics say; the sum of the counters is the
 * number of packets. What is made up is told, and of codecs without a way of their own to make it
 * up, all else is as it is without. */
#include <stdlib.h>
#include <string.h>

#include "node/audio/mask.h"
#include "node/audio/mix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FRAMES_MAX = 8000 * 40 }; /* more than two rings: enough */

enum { AS_MASKED = 32, AS_CONCEALED = 64, AS_OWN = 128 }; /* the input's last byte */

struct run {
	uint64_t total;
	uint64_t made_count;
	int16_t samples[FRAMES_MAX * ET_MIX_CHANNELS];
	bool made[FRAMES_MAX * ET_MIX_CHANNELS];
};

static struct run runs[2];

static int hear(void *arg, const int16_t *samples, size_t frames)
{
	struct run *r = arg;

	if (r->total + frames > FRAMES_MAX) {
		return -EFBIG;
	}
	memcpy(r->samples + r->total * ET_MIX_CHANNELS, samples,
	       frames * ET_MIX_CHANNELS * sizeof(*samples));
	r->total += frames;
	return 0;
}

static void tell(void *arg, uint8_t channel, int64_t from, int64_t to)
{
	struct run *r = arg;

	if (channel >= ET_MIX_CHANNELS || from < (int64_t)r->total || to <= from) {
		abort();
	}
	r->made_count += (uint64_t)(to - from);
	for (int64_t f = from; f < to && f < FRAMES_MAX; f++) {
		r->made[f * ET_MIX_CHANNELS + channel] = true;
	}
}

static const struct et_codec *codec_of(uint8_t flags, bool own)
{
	static const uint8_t types[] = { 0, 8, 9, 3 }; /* G.711, G.722, GSM */
	static const char *const names[] = { "PCMU", "G729", "AMR", "opus" };
	const size_t at = (flags & 3) ^ (flags >> 7);

	return own ? et_codec_find(names[at], strlen(names[at]), 0) : et_codec_static(types[at]);
}

/* Returns how many packets were added, in *ret_rc how it went. */
static uint64_t packets_add(struct et_reader *r, struct et_mix *m, struct et_mask *mask,
			    bool conceals, bool own, int *ret_rc)
{
	uint64_t packets = 0;
	int64_t arrival = 0;
	int rc = 0;

	while (rc == 0 && et_reader_left(r) >= 12) {
		uint8_t flags = et_read8(r);
		int32_t delta = (int32_t)et_read32(r);
		struct et_mix_packet p = { .stream = flags & 3,
					   .party = flags >> 2 & 1,
					   .marker = (flags & 8) != 0,
					   .sequence = et_read16(r),
					   .timestamp = et_read32(r),
					   .codec = codec_of(flags, own) };
		arrival += (flags & 32) != 0 ? (int64_t)delta * 4000000 : delta;
		p.arrival_us = arrival;
		p.payload.size = et_read8(r);
		p.payload.size =
			p.payload.size < et_reader_left(r) ? p.payload.size : et_reader_left(r);
		p.payload.data = et_read_bytes(r, p.payload.size);
		const int64_t at = et_mix_where(m, p.stream, p.timestamp, p.arrival_us);
		if (mask != NULL && p.marker) {
			et_mask_span(mask, p.party, at, at + p.sequence);
		}
		if (conceals && (flags & 16) != 0) {
			et_mix_leave(m, at, at + p.sequence);
		}
		if ((flags & 64) != 0) {
			rc = et_mix_came(m, p.stream, p.sequence, p.timestamp, p.arrival_us);
			continue;
		}
		rc = et_mix_add(m, &p);
		packets++;
	}
	*ret_rc = rc;
	return packets;
}

/* 0: all of it was heard. */
static int run(const uint8_t *data, size_t size, bool conceals, struct run *r)
{
	struct et_reader reader = et_reader_of(data, size);
	struct et_mask *mask = NULL;
	struct et_mix *m = NULL;
	const uint8_t last = data[size - 1];
	/* Rings of 48 kHz are large, and slow here: seldom. */
	const uint32_t rate = last % 16 == 1 ? 48000 : last % 2 == 1 ? 16000 : 8000;

	r->total = 0;
	r->made_count = 0;
	memset(r->made, 0, conceals ? sizeof(r->made) : 0);
	if (((last & AS_MASKED) != 0 && et_mask_new(rate, hear, r, &mask, NULL) < 0) ||
	    et_mix_new(0, rate, mask != NULL ? et_mask_put : hear, mask != NULL ? (void *)mask : r,
		       &m, NULL) < 0 ||
	    (conceals && et_mix_conceal(m, mask != NULL ? et_mask_made : tell,
					mask != NULL ? (void *)mask : r) < 0)) {
		(void)et_mix_free(m);
		(void)et_mask_free(mask);
		return -ENOMEM;
	}
	if (mask != NULL) {
		et_mask_tell_made(mask, tell, r);
	}
	int rc;
	const uint64_t packets = packets_add(&reader, m, mask, conceals, (last & AS_OWN) != 0, &rc);
	if (rc == 0) {
		rc = et_mix_finish(m, 0);
		rc = rc == 0 && mask != NULL ? et_mask_finish(mask) : rc;
	}
	const struct et_mix_stats s = et_mix_stats(m);
	if (rc == 0 &&
	    (s.frames != r->total ||
	     s.packets + s.duplicates + s.too_late + s.out_of_range + s.undecodable != packets)) {
		abort();
	}
	if (rc == 0 &&
	    (mask == NULL ? s.concealed != r->made_count : s.concealed < r->made_count)) {
		abort();
	}
	(void)et_mix_free(m);
	(void)et_mask_free(mask);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > 4096) {
		return 0;
	}
	const uint8_t last = data[size - 1];
	const bool conceals = (last & AS_CONCEALED) != 0;
	int rc = run(data, size, conceals, &runs[0]);
	if (rc < 0 || !conceals || (last & AS_OWN) != 0) {
		return 0;
	}
	rc = run(data, size, false, &runs[1]);
	if (rc < 0 || runs[0].total != runs[1].total) {
		abort();
	}
	for (size_t i = 0; i < runs[0].total * ET_MIX_CHANNELS; i++) {
		if (runs[0].made[i] ? runs[1].samples[i] != 0
				    : runs[0].samples[i] != runs[1].samples[i]) {
			abort();
		}
	}
	return 0;
}
