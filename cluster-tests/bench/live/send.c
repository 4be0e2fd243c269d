#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "cluster-tests/bench/live/flood.h"
#include "cluster-tests/bench/live/live.h"
#include "node/base/bytes.h"
#include "node/base/fd.h"
#include "node/io/clock.h"

enum {
	HEADS = 14 + 20 + 8, /* Ethernet, IPv4, UDP */
	RTP_HEAD = 12,
	PAYLOAD = 160, /* 20 ms */
	FRAME = HEADS + RTP_HEAD + PAYLOAD,
	BATCH = 64,
	SIP_PER_S = 1500,
	RTP_PORT = 10000,
	SIP_PORT = 5060,
	FLOOD_FRAMES = 16384, /* different ones, again and again */
	FLOOD_ROUND = 4096,   /* at most between two rounds of media */
};

struct party {
	uint8_t frame[FRAME];
	uint16_t sequence;
	uint32_t timestamp;
};

struct sender {
	const struct live_plan *plan;
	struct live_sent *sent;
	int fd;
	struct party *parties;		      /* owned: two for each call */
	uint8_t (*hostile)[LIVE_FLOOD_FRAME]; /* owned; NULL: no flood */
	uint16_t *hostile_size;		      /* owned */
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	int count;	/* in the batch */
	uint64_t paced; /* packets since `since_us` */
	int64_t since_us;
	uint64_t rate; /* of what is being sent; 0: no pace */
	int error;
};

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

static void put_heads(uint8_t *p, uint32_t call, uint32_t party, uint16_t port, size_t size)
{
	/* To nobody's address: the receiver's IP layer drops it at once, its ring has it. */
	static const uint8_t ethernet[14] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0 };
	memcpy(p, ethernet, sizeof(ethernet));
	uint8_t *ip = p + sizeof(ethernet);
	memset(ip, 0, 28);
	ip[0] = 0x45;
	et_put16(ip + 2, (uint16_t)(28 + size));
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = 17;
	et_put32(ip + 12, address_of(call, party));
	et_put32(ip + 16, address_of(call, 1 - party));
	et_put16(ip + 10, checksum(ip, 20));
	et_put16(ip + 20, port);
	et_put16(ip + 22, port);
	et_put16(ip + 24, (uint16_t)(8 + size));
}

/* ---- Out ---------------------------------------------------------------------------------------
 */

static void flush(struct sender *s)
{
	int done = 0;
	while (done < s->count && s->error == 0) {
		int n = sendmmsg(s->fd, s->messages + done, (unsigned)(s->count - done), 0);
		if (n > 0) {
			done += n;
		} else if (errno == ENOBUFS || errno == EAGAIN) {
			s->sent->retries++;
		} else if (errno != EINTR) {
			s->error = -errno;
		}
	}
	s->count = 0;
}

static void pace(struct sender *s)
{
	if (s->rate == 0) {
		return;
	}
	int64_t due_us = s->since_us + (int64_t)(s->paced * 1000000 / s->rate);
	int64_t ahead_us = due_us - et_clock_mono_us();
	if (ahead_us > 100) {
		struct timespec t = { ahead_us / 1000000, ahead_us % 1000000 * 1000 };
		(void)nanosleep(&t, NULL);
	}
}

static void set_rate(struct sender *s, uint64_t rate)
{
	flush(s);
	s->rate = rate;
	s->paced = 0;
	s->since_us = et_clock_mono_us();
}

/* `data` stays as it is until the batch is out. */
static void queue(struct sender *s, void *data, size_t size)
{
	s->parts[s->count] = (struct iovec){ data, size };
	s->messages[s->count] =
		(struct mmsghdr){ .msg_hdr = { .msg_iov = &s->parts[s->count], .msg_iovlen = 1 } };
	s->count++;
	s->paced++;
	if (s->count == BATCH) {
		pace(s);
		flush(s);
	}
}

/* ---- SIP ---------------------------------------------------------------------------------------
 */

static void send_sip(struct sender *s, uint32_t call, uint32_t party, const char *first,
		     const char *cseq, bool sdp)
{
	static uint8_t frames[BATCH][1400];
	char body[256] = "";
	uint8_t *frame = frames[s->count];
	bool request = strncmp(first, "SIP/2.0", 7) != 0;
	if (sdp) {
		(void)snprintf(body, sizeof(body),
			       "v=0\r\no=- %u 1 IN IP4 10.%u.%u.%u\r\ns=-\r\nc=IN IP4 "
			       "10.%u.%u.%u\r\nt=0 0\r\n"
			       "m=audio %d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n",
			       call, party + 1, call >> 8, call & 255, party + 1, call >> 8,
			       call & 255, RTP_PORT);
	}
	int n = snprintf(
		(char *)frame + HEADS, sizeof(frames[0]) - HEADS,
		"%s%s\r\nVia: SIP/2.0/UDP 10.1.%u.%u;branch=z9hG4bK%u%c\r\nMax-Forwards: 70\r\n"
		"From: <sip:1%06u@live.example>;tag=a%u\r\nTo: <sip:2%06u@live.example>%s\r\n"
		"Call-ID: live-%u@live.example\r\nCSeq: %s\r\n%sContent-Length: %zu\r\n\r\n%s",
		first, request ? " sip:callee@live.example SIP/2.0" : "", call >> 8, call & 255,
		call, cseq[0], call, call, call, strcmp(first, "INVITE") == 0 ? "" : ";tag=b", call,
		cseq, sdp ? "Content-Type: application/sdp\r\n" : "", strlen(body), body);
	put_heads(frame, call, party, SIP_PORT, (size_t)n);
	queue(s, frame, HEADS + (size_t)n);
	s->sent->sip++;
}

static void set_up(struct sender *s)
{
	set_rate(s, SIP_PER_S);
	for (uint32_t i = 0; i < s->plan->calls && s->error == 0; i++) {
		send_sip(s, i, 0, "INVITE", "1 INVITE", true);
		send_sip(s, i, 1, "SIP/2.0 200 OK", "1 INVITE", true);
		send_sip(s, i, 0, "ACK", "1 ACK", false);
	}
	flush(s);
}

static void end(struct sender *s)
{
	set_rate(s, SIP_PER_S);
	for (uint32_t i = 0; i < s->plan->calls && s->error == 0; i++) {
		send_sip(s, i, 0, "BYE", "2 BYE", false);
		send_sip(s, i, 1, "SIP/2.0 200 OK", "2 BYE", false);
	}
	flush(s);
}

/* ---- Media -------------------------------------------------------------------------------------
 */

static int parties_make(struct sender *s)
{
	uint32_t random = 1;
	s->parties = calloc((size_t)s->plan->calls * 2, sizeof(*s->parties));
	if (s->parties == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < s->plan->calls * 2; i++) {
		struct party *p = &s->parties[i];
		uint8_t *rtp = p->frame + HEADS;
		put_heads(p->frame, i / 2, i % 2, RTP_PORT, RTP_HEAD + PAYLOAD);
		rtp[0] = 0x80;
		et_put32(rtp + 8, 0x10000000U + i);
		for (int k = 0; k < PAYLOAD; k++) {
			random = random * 1664525 + 1013904223;
			rtp[RTP_HEAD + k] = (uint8_t)(random >> 24);
		}
	}
	return 0;
}

static void say(struct sender *s, struct party *p)
{
	uint8_t *rtp = p->frame + HEADS;
	et_put16(rtp + 2, p->sequence++);
	et_put32(rtp + 4, p->timestamp);
	et_put32(rtp + RTP_HEAD, p->timestamp); /* no two payloads of a stream are the same */
	p->timestamp += PAYLOAD;
	queue(s, p->frame, FRAME);
	s->sent->rtp++;
}

/* Those who begin to talk do so at the time that it is. */
static void take_turn(struct sender *s, uint32_t first, int64_t elapsed_us)
{
	for (uint32_t i = 0; i < s->plan->talking * 2; i++) {
		s->parties[(first * 2 + i) % (s->plan->calls * 2)].timestamp =
			(uint32_t)(elapsed_us / 125);
	}
}

static int hostile_make(struct sender *s)
{
	if (s->plan->flood == 0) {
		return 0;
	}
	s->hostile = calloc(FLOOD_FRAMES, sizeof(*s->hostile));
	s->hostile_size = calloc(FLOOD_FRAMES, sizeof(*s->hostile_size));
	if (s->hostile == NULL || s->hostile_size == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < FLOOD_FRAMES; i++) {
		s->hostile_size[i] = (uint16_t)live_flood_frame(s->hostile[i], LIVE_FLOOD_FRAME, i);
	}
	return 0;
}

/* What is due by now; it has no part in the pace of the media. */
static void flood(struct sender *s, int64_t elapsed_us)
{
	uint64_t due = (uint64_t)elapsed_us * s->plan->flood / 1000000;
	for (int i = 0; i < FLOOD_ROUND && s->sent->flood < due; i++) {
		uint64_t at = s->sent->flood++ % FLOOD_FRAMES;
		queue(s, s->hostile[at], s->hostile_size[at]);
		s->paced--;
	}
	flush(s);
}

static void talk(struct sender *s)
{
	const struct live_plan *plan = s->plan;
	uint32_t streams = plan->calls * 2;
	uint32_t first = 0;
	uint32_t turn = 0;
	int64_t elapsed_us = 0;

	set_rate(s, plan->rate);
	int64_t begin_us = s->since_us;
	while (elapsed_us < (int64_t)plan->seconds * 1000000 && s->error == 0) {
		for (uint32_t i = 0; i < plan->talking * 2; i++) {
			say(s, &s->parties[(first * 2 + i) % streams]);
		}
		flush(s); /* a party's frame is not changed before it is out */
		elapsed_us = et_clock_mono_us() - begin_us;
		flood(s, elapsed_us);
		if (plan->turn_s != 0 && elapsed_us / 1000000 / plan->turn_s != turn) {
			turn = (uint32_t)(elapsed_us / 1000000 / plan->turn_s);
			first = (first + plan->talking) % plan->calls;
			take_turn(s, first, elapsed_us);
		}
	}
	s->sent->media_s = (double)elapsed_us / 1e6;
}

int live_send(const struct live_plan *plan, const char *name, struct live_sent *ret,
	      struct et_error *reterr)
{
	int one = 1;
	struct sender s = { .plan = plan, .sent = ret };
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex(name) };
	*ret = (struct live_sent){ .sip = 0 };
	/* Protocol 0: nothing is received. */
	ET_CLEANUP(et_fd_closep) int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0) {
		return et_fail(reterr, -errno, "send on '%s'", name);
	}
	s.fd = fd;
	int rc = parties_make(&s);
	rc = rc < 0 ? rc : hostile_make(&s);
	if (rc == 0) {
		set_up(&s);
		talk(&s);
		end(&s);
	}
	free(s.parties);
	free(s.hostile);
	free(s.hostile_size);
	if (rc < 0) {
		return et_fail(reterr, rc, "%u calls", plan->calls);
	}
	return s.error == 0 ? 0 : et_fail(reterr, s.error, "send on '%s'", name);
}
