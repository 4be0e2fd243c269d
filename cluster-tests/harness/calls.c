#include "cluster-tests/harness/calls.h"

#include <stdio.h>
#include <string.h>

#include "node/base/bytes.h"

enum {
	FRAME_MAX = 2048,
	ETHER_SIZE = 14,
	IP_SIZE = 20,
	UDP_SIZE = 8,
	RTP_SIZE = 12,
	PACKET_US = 20000,
	RATE = 50, /* packets a second */
	LATE_US = 21000,
	SIP_PORT = 5060,
};

struct out {
	FILE *f;
	const struct et_made_config *config;
	struct et_made_counts counts;
	uint16_t ip_id;
	bool failed;
};

/* splitmix64: a hash of a counter, of which every bit looks random. */
static uint64_t mix(uint64_t x)
{
	x += 0x9E3779B97F4A7C15ULL;
	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
	return x ^ (x >> 31);
}

static uint64_t word(uint32_t seed, uint32_t call, uint32_t party, uint64_t index)
{
	return mix(mix((uint64_t)seed << 32 | call << 1 | party) ^ index);
}

uint8_t et_made_code(uint32_t seed, uint32_t call, uint32_t party, uint64_t sample)
{
	return (uint8_t)(word(seed, call, party, sample / 8) >> (sample % 8 * 8));
}

enum et_made_fate et_made_fate(const struct et_made_config *config, uint32_t call, uint32_t party,
			       uint32_t number)
{
	uint32_t dice = (uint32_t)(word(~config->seed, call, party, number) % 1000);
	if (dice < config->loss_permille) {
		return ET_MADE_LOST;
	}
	dice -= config->loss_permille;
	if (dice < config->reorder_permille) {
		/* Only behind one that comes itself: else it is not late. */
		bool last = number + 1 >= config->seconds * RATE;
		uint32_t next = (uint32_t)(word(~config->seed, call, party, number + 1) % 1000);
		bool follows = next >= config->loss_permille + config->reorder_permille;
		return !last && follows ? ET_MADE_LATE : ET_MADE_SENT;
	}
	dice -= config->reorder_permille;
	return dice < config->duplicate_permille ? ET_MADE_TWICE : ET_MADE_SENT;
}

/* ---- Packets --------------------------------------------------------------------------------- */

static void put_le32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static void put(struct out *o, const void *data, size_t size)
{
	o->failed = o->failed || fwrite(data, 1, size, o->f) != size;
}

static uint16_t checksum(const uint8_t *p, size_t size)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < size; i += 2) {
		sum += et_get16(p + i);
	}
	while (sum >> 16 != 0) {
		sum = (sum & 0xFFFF) + (sum >> 16);
	}
	return (uint16_t)~sum;
}

static uint32_t address_of(uint32_t call, uint32_t party)
{
	return 10U << 24 | (party + 1) << 16 | call;
}

static uint16_t port_of(uint32_t party)
{
	return party == 0 ? 10000 : 20000;
}

/* A datagram from `party` to the other one. */
static void write_packet(struct out *o, int64_t us, uint32_t call, uint32_t party, uint16_t sport,
			 uint16_t dport, const void *data, size_t size)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };
	uint8_t frame[FRAME_MAX];
	uint8_t head[16];
	memcpy(frame, macs, sizeof(macs));
	uint8_t *p = frame + sizeof(macs);
	if (o->config->vlan != 0) {
		et_put16(p, 0x8100);
		et_put16(p + 2, o->config->vlan);
		p += 4;
	}
	et_put16(p, 0x0800);
	p += 2;
	memset(p, 0, IP_SIZE + UDP_SIZE);
	p[0] = 0x45;
	et_put16(p + 2, (uint16_t)(IP_SIZE + UDP_SIZE + size));
	et_put16(p + 4, ++o->ip_id);
	p[6] = 0x40;
	p[8] = 64;
	p[9] = 17;
	et_put32(p + 12, address_of(call, party));
	et_put32(p + 16, address_of(call, 1 - party));
	et_put16(p + 10, checksum(p, IP_SIZE));
	p += IP_SIZE;
	et_put16(p, sport);
	et_put16(p + 2, dport);
	et_put16(p + 4, (uint16_t)(UDP_SIZE + size));
	p += UDP_SIZE;
	memcpy(p, data, size);
	p += size;

	uint32_t length = (uint32_t)(p - frame);
	put_le32(head, (uint32_t)(us / 1000000));
	put_le32(head + 4, (uint32_t)(us % 1000000));
	put_le32(head + 8, length);
	put_le32(head + 12, length);
	put(o, head, sizeof(head));
	put(o, frame, length);
	o->counts.packets++;
}

/* ---- SIP ------------------------------------------------------------------------------------- */

static int make_sdp(const struct out *o, uint32_t call, uint32_t party, char *ret, size_t size)
{
	uint32_t a = address_of(call, party);
	int type = o->config->alaw ? 8 : 0;
	return snprintf(ret, size,
			"v=0\r\no=- %u 1 IN IP4 10.%u.%u.%u\r\ns=-\r\nc=IN IP4 10.%u.%u.%u\r\nt=0 "
			"0\r\nm=audio %u RTP/AVP %d 101\r\na=rtpmap:%d %s/8000\r\na=rtpmap:101 "
			"telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n",
			call, a >> 16 & 255, a >> 8 & 255, a & 255, a >> 16 & 255, a >> 8 & 255,
			a & 255, port_of(party), type, type, o->config->alaw ? "PCMA" : "PCMU");
}

/* `first`: "INVITE", "SIP/2.0 200 OK", ... */
static void write_sip(struct out *o, int64_t us, uint32_t call, uint32_t party, const char *first,
		      const char *cseq, bool with_sdp)
{
	char body[512] = "";
	char text[1536];
	char line[64];
	bool request = strncmp(first, "SIP/2.0", 7) != 0;
	int body_size = with_sdp ? make_sdp(o, call, party, body, sizeof(body)) : 0;
	(void)snprintf(line, sizeof(line),
		       request ? "%s sip:callee%06u@made.example SIP/2.0" : "%s", first, call);
	int n = snprintf(text, sizeof(text),
			 "%s\r\nVia: SIP/2.0/UDP 10.1.0.1:5060;branch=z9hG4bK-%u-%c\r\n"
			 "Max-Forwards: 70\r\nFrom: \"Caller %06u\" "
			 "<sip:caller%06u@made.example>;tag=a%u\r\n"
			 "To: <sip:callee%06u@made.example>%s\r\nCall-ID: call-%06u@made\r\n"
			 "CSeq: %s\r\n%sContent-Length: %d\r\n\r\n%s",
			 line, call, cseq[0], call, call, call, call,
			 strcmp(first, "INVITE") == 0 ? "" : ";tag=b", call, cseq,
			 with_sdp ? "Content-Type: application/sdp\r\n" : "", body_size, body);
	write_packet(o, us, call, party, SIP_PORT, SIP_PORT, text, (size_t)n);
	o->counts.sip++;
}

static void write_setup(struct out *o)
{
	uint32_t calls = o->config->calls;
	for (uint32_t i = 0; i < calls; i++) {
		int64_t us = ET_MADE_START_US + (int64_t)i * 1000000 / calls;
		write_sip(o, us, i, 0, "INVITE", "1 INVITE", true);
		write_sip(o, us, i, 1, "SIP/2.0 100 Trying", "1 INVITE", false);
		write_sip(o, us, i, 1, "SIP/2.0 183 Session Progress", "1 INVITE",
			  o->config->answered_late);
		if (!o->config->answered_late) {
			write_sip(o, us, i, 1, "SIP/2.0 200 OK", "1 INVITE", true);
			write_sip(o, us, i, 0, "ACK", "1 ACK", false);
		}
	}
}

static void write_late_answer(struct out *o, int64_t us)
{
	for (uint32_t i = 0; i < o->config->calls; i++) {
		write_sip(o, us, i, 1, "SIP/2.0 200 OK", "1 INVITE", true);
		write_sip(o, us, i, 0, "ACK", "1 ACK", false);
	}
}

static void write_end(struct out *o, int64_t us)
{
	uint32_t calls = o->config->calls;
	for (uint32_t i = 0; i < calls; i++) {
		int64_t at = us + (int64_t)i * 1000000 / calls;
		write_sip(o, at, i, 0, "BYE", "2 BYE", false);
		write_sip(o, at, i, 1, "SIP/2.0 200 OK", "2 BYE", false);
	}
}

/* ---- RTP ------------------------------------------------------------------------------------- */

static void write_rtp(struct out *o, int64_t us, uint32_t call, uint32_t party, uint32_t number)
{
	uint8_t p[RTP_SIZE + ET_MADE_SAMPLES];
	p[0] = 0x80;
	p[1] = (uint8_t)((number == 0 ? 0x80 : 0) | (o->config->alaw ? 8 : 0));
	et_put16(p + 2, (uint16_t)(65000 + call + number)); /* wraps soon */
	et_put32(p + 4, number * ET_MADE_SAMPLES + call * 7);
	et_put32(p + 8, (party == 0 ? 0xA0000000U : 0xB0000000U) | call);
	uint64_t first = (uint64_t)number * ET_MADE_SAMPLES;
	for (uint32_t i = 0; i < ET_MADE_SAMPLES; i += 8) {
		uint64_t eight = word(o->config->seed, call, party, (first + i) / 8);
		for (uint32_t k = 0; k < 8; k++) {
			p[RTP_SIZE + i + k] = (uint8_t)(eight >> (k * 8));
		}
	}
	write_packet(o, us, call, party, port_of(party), port_of(1 - party), p, sizeof(p));
	o->counts.rtp++;
}

static int64_t time_of(const struct out *o, uint32_t call, uint32_t party, uint32_t number)
{
	return ET_MADE_MEDIA_US + (int64_t)number * PACKET_US +
	       (int64_t)(2 * call + party) * PACKET_US / (2 * (int64_t)o->config->calls);
}

/* Packet `number`, and the one before it where that is late. */
static void write_turn(struct out *o, uint32_t call, uint32_t party, uint32_t number)
{
	int64_t us = time_of(o, call, party, number);
	enum et_made_fate fate = et_made_fate(o->config, call, party, number);
	if (fate == ET_MADE_LOST) {
		o->counts.lost++;
	} else if (fate != ET_MADE_LATE) {
		write_rtp(o, us, call, party, number);
	}
	if (fate == ET_MADE_TWICE) {
		write_rtp(o, us, call, party, number);
		o->counts.duplicate++;
	}
	if (number > 0 && et_made_fate(o->config, call, party, number - 1) == ET_MADE_LATE) {
		write_rtp(o, us, call, party, number - 1);
		o->counts.late++;
	}
}

static void write_media(struct out *o)
{
	uint32_t turns = o->config->seconds * RATE;
	for (uint32_t k = 0; k < turns; k++) {
		for (uint32_t i = 0; i < o->config->calls; i++) {
			write_turn(o, i, 0, k);
			write_turn(o, i, 1, k);
		}
		if (o->config->answered_late && k == RATE - 1) {
			write_late_answer(o, ET_MADE_MEDIA_US + (int64_t)RATE * PACKET_US);
		}
	}
}

int et_made_write(const char *path, const struct et_made_config *config, struct et_made_counts *ret,
		  struct et_error *reterr)
{
	uint8_t head[24] = { 0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0 };
	struct out o = { .config = config };
	if (config->calls == 0 || config->calls > ET_MADE_CALLS_MAX || config->seconds == 0) {
		return et_fail(reterr, ET_EUSAGE, "calls 1..%d, and at least a second",
			       ET_MADE_CALLS_MAX);
	}
	o.f = fopen(path, "wbe");
	if (o.f == NULL) {
		return et_fail(reterr, -errno, "create '%s'", path);
	}
	put_le32(head + 16, 65535);
	put_le32(head + 20, 1); /* Ethernet */
	put(&o, head, sizeof(head));
	if (!config->without_sip) {
		write_setup(&o);
	}
	write_media(&o);
	if (!config->without_sip && !config->without_bye) {
		write_end(&o, ET_MADE_MEDIA_US + (int64_t)config->seconds * 1000000 + LATE_US);
	}
	bool failed = fclose(o.f) != 0 || o.failed;
	*ret = o.counts;
	return failed ? et_fail(reterr, -EIO, "write '%s'", path) : 0;
}
