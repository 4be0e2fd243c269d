/* A tape with plaintexts as the recorder writes them: every kind of item and every flag of a
 * packet. */
#include <stdio.h>
#include <string.h>

#include "cluster-tests/harness/tape/made.h"
#include "node/crypto/hash.h"
#include "node/tape/checkpoint.h"
#include "node/tape/keys.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"

enum { PACKETS = 400, RECORD_MAX = 2000 };

static void print_packet(FILE *out, const struct et_media_packet *p)
{
	uint8_t hash[32];
	char hex[65] = "";

	et_sha256(p->payload.data, p->payload.size, hash);
	for (size_t i = 0; i < sizeof(hash); i++) {
		(void)snprintf(hex + i * 2, 3, "%02x", hash[i]);
	}
	(void)fprintf(out, "packet %u %d %d %d %u %u %u %lld %zu %s\n", p->stream, p->rtcp,
		      p->whole, p->marker, p->payload_type, p->sequence, p->timestamp,
		      (long long)p->arrival_us, p->payload.size, hex);
}

/* Packet `n` of the call: regular ones, and among them every exception that has a flag. */
static struct et_media_packet packet_of(const struct et_made_tape *m, uint32_t n, uint8_t *payload)
{
	const uint32_t number = n / 2;
	struct et_media_packet p = {
		.stream = n % 2 == 0 ? 0 : 63,
		.marker = number % 50 == 0,
		.payload_type = number % 40 == 39 ? 101
				: n % 2 == 0	  ? 0
						  : 8,
		.sequence = (uint16_t)(65500 + number + (number % 31 == 30 ? 2 : 0) -
				       (number % 37 == 36 ? 3 : 0)),
		.timestamp = 4294960000U + number * 160 + (number > 100 ? 77777 : 0) -
			     (number % 37 == 36 ? 480 : 0),
		.arrival_us = m->header.t0_us + number * 20000LL - (number % 23 == 22 ? 25000 : 0) +
			      n % 2 * 3,
		.payload = { payload, number % 29 == 28	  ? 0
				      : number % 13 == 12 ? 33
							  : 20 },
	};

	if (number % 60 == 59) { /* whole RTCP */
		p = (struct et_media_packet){ .stream = p.stream,
					      .rtcp = true,
					      .arrival_us = p.arrival_us,
					      .payload = { payload, 28 } };
	} else if (number % 60 == 58) {
		p.whole = true;
		p.payload.size = 40;
	}
	et_made_content(m->seed, n, payload, 64);
	return p;
}

static struct et_view text(const char *t)
{
	return et_view_of(t);
}

static int meta_all(struct et_tape *t, const struct et_made_tape *m, struct et_tape_state *state,
		    struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	const int64_t t0 = m->header.t0_us;
	struct et_meta_item items[6] = {
		{ .type = ET_META_STREAM }, { .type = ET_META_CODEC }, { .type = ET_META_SDP },
		{ .type = ET_META_SIP },    { .type = ET_META_FACT },  { .type = ET_META_MARK },
	};
	int rc = 0;

	items[0].stream.ssrc = 0xCAFEBABE;
	items[0].stream.channels = 1;
	items[0].stream.clock_rate = 8000;
	items[0].stream.codec = text("PCMU");
	items[0].stream.src = text("192.0.2.1:4000");
	items[0].stream.dst = text("192.0.2.2:5000");
	items[0].stream.srtp = text("AES_CM_128_HMAC_SHA1_80");
	items[1].codec.stream = 63;
	items[1].codec.payload_type = 101;
	items[1].codec.channels = 1;
	items[1].codec.clock_rate = 8000;
	items[1].codec.codec = text("telephone-event");
	items[1].codec.fmtp = text("0-15");
	items[2].sdp.time_us = t0;
	items[2].sdp.party = 1;
	items[2].sdp.text = text("v=0\r\n");
	items[3].sip.time_us = t0 - 1;
	items[3].sip.src = text("192.0.2.1:5060");
	items[3].sip.dst = text("192.0.2.2:5060");
	items[3].sip.text = text("INVITE sip:b@example.net SIP/2.0\r\n\r\n");
	items[4].fact.time_us = t0 + 5;
	items[4].fact.party = 255;
	items[4].fact.key = text("from");
	items[4].fact.value = text("alice");
	items[5].mark.what = ET_MARK_PAUSE;
	items[5].mark.from_us = t0 + 1000000;
	items[5].mark.cause = text("card");
	for (size_t i = 0; i < ET_ARRAY_SIZE(items) && rc == 0; i++) {
		rc = et_meta_add(&b, &items[i]);
	}
	if (rc < 0 || b.failed) {
		return et_fail(reterr, rc < 0 ? rc : -ENOMEM, "made call");
	}
	et_tape_state_meta(state, (struct et_view){ b.data, b.size });
	return et_tape_append(t, ET_TAPE_META, 0, b.data, b.size, reterr);
}

/* Two keys: of a crypto line, and with all that a key may have. */
static int keys_all(struct et_tape *t, const struct et_made_tape *m, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	uint8_t material[44];
	const struct et_keys_item items[] = {
		{ .type = ET_KEYS_SRTP,
		  .time_us = m->header.t0_us,
		  .origin = 1,
		  .suite = 1,
		  .tag = 7,
		  .material = { material, 30 } },
		{ .type = ET_KEYS_SRTP,
		  .time_us = m->header.t0_us - 1,
		  .origin = 2,
		  .party = 255,
		  .suite = 6,
		  .has_ssrc = true,
		  .ssrc = 0xCAFEBABE,
		  .mki = { material, 4 },
		  .material = { material, 44 } },
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(material); i++) {
		material[i] = (uint8_t)i;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(items) && rc == 0; i++) {
		rc = et_keys_add(&b, &items[i]);
	}
	if (rc < 0 || b.failed) {
		return et_fail(reterr, rc < 0 ? rc : -ENOMEM, "made call");
	}
	return et_tape_append(t, ET_TAPE_KEYS, 0, b.data, b.size, reterr);
}

struct call {
	struct et_tape *tape;
	const struct et_made_tape *made;
	struct et_tape_state *state;
	struct et_media_encoder encoder;
	uint32_t records; /* of MEDIA */
};

static uint32_t call_ms(const struct call *c)
{
	const int64_t ms = (c->encoder.first_us - c->made->header.t0_us) / 1000;

	return ms < 0 ? 0 : (uint32_t)ms;
}

/* The record that is full; behind every second a checkpoint. */
static int call_flush(struct call *c, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	struct et_media_encoder *e = &c->encoder;

	if (e->packets == 0) {
		return 0;
	}
	const uint32_t second = call_ms(c) / ET_TAPE_BLOCK_MS;
	int rc = et_tape_append(c->tape, ET_TAPE_MEDIA, call_ms(c), e->plain.data, e->plain.size,
				reterr);
	if (rc == 0 && ++c->records % 2 == 0) { /* Of a padded tape behind the block. */
		rc = et_tape_tick(c->tape, (second + 1) * ET_TAPE_BLOCK_MS, reterr);
		rc = rc < 0 ? rc : et_tape_state_write(c->state, &b);
		rc = rc < 0 ? rc
			    : et_tape_append(c->tape, ET_TAPE_CHECKPOINT, call_ms(c), b.data,
					     b.size, reterr);
	}
	et_media_encoder_reset(e);
	return rc;
}

static int call_end(struct call *c, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };

	int rc = et_tape_state_write(c->state, &b);
	return rc < 0 ? rc : et_tape_end(c->tape, 0, (struct et_view){ b.data, b.size }, reterr);
}

static int call_packets(struct call *c, FILE *out, struct et_error *reterr)
{
	uint8_t payload[64];
	int rc = 0;

	for (uint32_t n = 0; n < PACKETS && rc == 0; n++) {
		const struct et_media_packet p = packet_of(c->made, n, payload);
		rc = et_media_encoder_add(&c->encoder, &p, RECORD_MAX);
		if (rc == ET_ELIMIT) {
			rc = call_flush(c, reterr);
			rc = rc < 0 ? rc : et_media_encoder_add(&c->encoder, &p, RECORD_MAX);
		}
		et_tape_state_packet(c->state, &p);
		print_packet(out, &p);
	}
	return rc < 0 ? rc : call_flush(c, reterr);
}

int et_made_call(struct et_tape *t, struct et_made_tape *m, FILE *out, struct et_error *reterr)
{
	struct call c = { .tape = t, .made = m };

	c.state = et_tape_state_new(m->header.t0_us);
	int rc = c.state != NULL ? meta_all(t, m, c.state, reterr)
				 : et_fail(reterr, -ENOMEM, "made call");
	rc = rc < 0 ? rc : keys_all(t, m, reterr);
	if (rc == 0) {
		et_tape_state_keys(c.state);
		rc = call_packets(&c, out, reterr);
	}
	rc = rc < 0 ? rc : call_end(&c, reterr);
	et_media_encoder_release(&c.encoder);
	(void)et_tape_state_free(c.state);
	return rc;
}
