/* Strangers' messages to the recording server, one after the other: each is answered or not, none
 * makes more state than there is room for, and each packet is counted once. Addresses of the peer
 * are the loopback's discard port: nothing of it leaves the machine. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/capture/srs_internal.h"
#include "node/capture/test/sink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SESSIONS = 4, STEP_US = 300000 };

static int take_open(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	(void)arg;
	(void)slot;
	(void)restored;
	return strlen(facts->from) < sizeof(facts->from) ? 0 : ET_ELIMIT;
}

static int take_session(void *arg, uint32_t slot, const struct et_capture_session *session)
{
	(void)arg;
	(void)slot;
	et_assert(session->participant_count <= ET_CAPTURE_PARTICIPANTS_MAX);
	return 0;
}

static void message(struct et_srs *s, struct et_view text, int64_t now_us)
{
	struct et_srs_peer peer = { .address = { [10] = 0xFF, [11] = 0xFF, 127, 0, 0, 1 },
				    .port = 9 };
	struct et_sip m;
	struct et_packet p = {
		.time_us = now_us,
		.sport = peer.port,
		.dport = s->listens[0].port,
		.payload = text.data,
		.size = (uint32_t)text.size,
	};
	memcpy(p.src, peer.address, 16);
	memcpy(p.dst, s->listens[0].address, 16);
	et_engine_arrival(s->engine, now_us);
	s->engine->packets.sip++;
	if (et_sip_parse(text.data, text.size, &m) == 0) {
		et_uas_message(s, &peer, &p, &m);
	}
}

/* Messages behind their 16-bit sizes. */
static void feed(struct et_srs *s, const uint8_t *data, size_t size)
{
	struct et_reader r = et_reader_of(data, size);
	int64_t now_us = 1700000000000000;
	while (et_reader_left(&r) > 2) {
		size_t length = et_read16(&r);
		length = length < et_reader_left(&r) ? length : et_reader_left(&r);
		const uint8_t *bytes = et_read_bytes(&r, length);
		/* Of its own, so that a read behind it is seen. */
		uint8_t *copy = malloc(length + 1);
		if (copy == NULL || bytes == NULL) {
			abort();
		}
		memcpy(copy, bytes, length);
		uint8_t *own = realloc(copy, length == 0 ? 1 : length);
		now_us += STEP_US;
		message(s, (struct et_view){ own, length }, now_us);
		free(own);
		et_srs_clock(s, s->mono_us + STEP_US);
		et_assert(s->session_count <= SESSIONS);
		et_assert(s->transaction_count <= ET_SRS_TRANSACTIONS);
		et_assert(s->engine->call_count <= s->engine->limits.calls);
	}
}

/* One socket with timestamps for the life of the process: the kernel patches its own code for the
 * first and behind the last of them, which takes longer than all the rest. */
static void keep_timestamps(void)
{
	static int fd = -1;
	int on = 1;
	if (fd < 0) {
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		(void)setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	keep_timestamps();
	struct et_capture_config capture = {
		.limits = { .calls = 8,
			    .streams = 64,
			    .candidates = 4,
			    .fragments = 4,
			    .tcp_connections = 4,
			    .turn_allocations = 4 },
		.siprec = {
			.listens = { { ET_TRANSPORT_UDP, "127.0.0.1:0" } },
			.listen_count = 1,
			.media = "127.0.0.1",
			.port_first = (uint16_t)(10000 + (unsigned)getpid() % 400 * 100),
			.port_last = (uint16_t)(10099 + (unsigned)getpid() % 400 * 100),
			.sessions = SESSIONS,
			.connections = 1,
		},
	};
	struct et_sink sink = sink_of(NULL);
	sink.open = take_open;
	sink.session = take_session;
	struct et_engine_config config = { .capture = &capture, .sink = &sink };
	struct et_engine *e = NULL;
	struct et_srs *s = NULL;
	if (et_engine_new(&config, &e, NULL) < 0 ||
	    et_srs_new(&capture.siprec, e, 1000000, &s, NULL) < 0) {
		abort();
	}
	feed(s, data, size);
	et_srs_leave(s);
	et_srs_clock(s, s->mono_us + 100000000);
	et_srs_clock(s, s->mono_us + 100000000);
	et_assert(s->session_count == 0);
	(void)et_srs_free(s);
	et_engine_finish(e, true);
	et_assert(e->call_count == 0);
	(void)et_engine_free(e);
	return 0;
}
