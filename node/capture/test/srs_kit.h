/* The recording server over real sockets of the loopback, with a clock that the test moves, and a
 * client of it. */
#ifndef ET_NODE_CAPTURE_TEST_SRS_KIT_H
#define ET_NODE_CAPTURE_TEST_SRS_KIT_H

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/capture/srs_internal.h"
#include "node/capture/test/sink.h"
#include "node/io/clock.h"
#include "node/tape/keys.h"

#define SECOND_US 1000000LL

struct fixture {
	struct et_engine *e;
	struct et_srs *s;
	_Atomic bool refuse;
	int64_t mono_us;
	int client; /* UDP */
	uint16_t port;
	/* What the sink was told. */
	struct et_capture_session session;
	int sessions;
	struct et_capture_stream streams[16];
	uint32_t stream_count;
	uint32_t media[16];
	struct et_facts facts; /* of the last open, update or close */
	int opened;
	int closed;
	int keys;
	char kept[16384]; /* facts that went to the tape, a line each */
};

static inline int on_open(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	struct fixture *f = arg;
	(void)slot;
	(void)restored;
	f->facts = *facts;
	f->opened++;
	return 0;
}

static inline int on_stream(void *arg, uint32_t slot, const struct et_capture_stream *stream)
{
	struct fixture *f = arg;
	(void)slot;
	assert_true(f->stream_count < 16);
	f->streams[f->stream_count++] = *stream;
	return 0;
}

static inline int on_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
			   const struct et_packet *packet)
{
	struct fixture *f = arg;
	(void)slot;
	(void)rtp;
	(void)packet;
	f->media[stream]++;
	return 0;
}

static inline int on_meta(void *arg, uint32_t slot, struct et_view plain)
{
	struct fixture *f = arg;
	struct et_meta_reader r;
	struct et_meta_item item;
	(void)slot;
	assert_int_equal(et_meta_reader_init(&r, plain, NULL), 0);
	while (et_meta_reader_next(&r, &item, NULL) == 1) {
		if (item.type == ET_META_FACT) {
			size_t used = strlen(f->kept);
			(void)snprintf(f->kept + used, sizeof(f->kept) - used, "%u %.*s: %.*s\n",
				       item.fact.party, (int)item.fact.key.size,
				       (const char *)item.fact.key.data, (int)item.fact.value.size,
				       (const char *)item.fact.value.data);
		}
	}
	return 0;
}

static inline int on_keys(void *arg, uint32_t slot, struct et_view plain)
{
	struct fixture *f = arg;
	(void)slot;
	(void)plain;
	f->keys++;
	return 0;
}

static inline int on_session(void *arg, uint32_t slot, const struct et_capture_session *session)
{
	struct fixture *f = arg;
	(void)slot;
	f->session = *session;
	f->sessions++;
	return 0;
}

static inline int on_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
			   const struct et_capture_stream *streams, uint32_t count)
{
	struct fixture *f = arg;
	(void)slot;
	(void)streams;
	(void)count;
	f->facts = *facts;
	f->closed += opened ? 1 : 0;
	return 0;
}

static inline int client_open(int type)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static inline uint16_t port_of(int fd)
{
	struct sockaddr_in in;
	socklen_t size = sizeof(in);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
	return ntohs(in.sin_port);
}

/* A range that is this process's own, so that tests may run beside each other. */
static inline uint16_t first_port(void)
{
	return (uint16_t)(30000 + (unsigned)getpid() % 500 * 60);
}

static inline struct fixture *make(uint32_t sessions, uint32_t connections)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	static const struct et_rules rules = {
		.count = 1,
		.rules = { { .name = "no-test",
			     .action = ET_RULE_SKIP,
			     .from = { .count = 1, .list = { { "999*" } } } } },
		.otherwise = ET_RULE_RECORD,
	};
	struct et_capture_config capture = {
		.rules = &rules,
		.limits = { .calls = 64, .media_timeout_s = 10 },
		.siprec = {
			.listens = { { ET_TRANSPORT_UDP, "127.0.0.1:0" },
				     { ET_TRANSPORT_TCP, "127.0.0.1:0" } },
			.listen_count = 2,
			.media = "127.0.0.1",
			.port_first = first_port(),
			.port_last = (uint16_t)(first_port() + 59),
			.sessions = sessions,
			.connections = connections,
		},
	};
	struct et_sink sink = sink_of(f);
	sink.open = on_open;
	sink.stream = on_stream;
	sink.media = on_media;
	sink.meta = on_meta;
	sink.keys = on_keys;
	sink.session = on_session;
	sink.close = on_close;
	struct et_engine_config config = { .capture = &capture,
					   .sink = &sink,
					   .refuse = &f->refuse };
	struct et_error error = { .text = "" };
	assert_int_equal(et_engine_new(&config, &f->e, &error), 0);
	f->mono_us = SECOND_US;
	int rc = et_srs_new(&capture.siprec, f->e, f->mono_us, &f->s, &error);
	if (rc < 0) {
		print_message("%s\n", error.text);
	}
	assert_int_equal(rc, 0);
	f->client = client_open(SOCK_DGRAM);
	f->port = port_of(f->client);
	return f;
}

static inline void done(struct fixture *f)
{
	assert_each_counted_once(f->e);
	(void)et_srs_free(f->s);
	(void)et_engine_free(f->e);
	(void)close(f->client);
	free(f);
}

/* ---- The client ------------------------------------------------------------------------------ */

static inline void run(struct fixture *f, int64_t us)
{
	f->mono_us += us;
	while (et_srs_read(f->s, f->mono_us)) {
	}
	et_srs_clock(f->s, f->mono_us);
}

static inline void send_to(int fd, uint16_t port, const void *data, size_t size)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(sendto(fd, data, size, 0, (struct sockaddr *)&in, sizeof(in)), size);
}

/* The next message from the server; "" when none comes. Static. */
static inline const char *receive(int fd)
{
	static char text[65536];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	text[0] = '\0';
	if (poll(&p, 1, 0) == 1) {
		ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
	}
	return text;
}

static inline const char *ask(struct fixture *f, const char *text)
{
	send_to(f->client, f->s->listens[0].port, text, strlen(text));
	run(f, 1000);
	return receive(f->client);
}

#define assert_begins(text, what) assert_memory_equal(text, what, strlen(what))
#define assert_has(text, what) assert_non_null(strstr(text, what))
#define assert_lacks(text, what) assert_null(strstr(text, what))

#define NS "xmlns='urn:ietf:params:xml:ns:recording:1'"
#define METADATA                                                                                   \
	"<recording " NS "><datamode>complete</datamode><group group_id='g'/>"                     \
	"<session session_id='s'><start-time>2026-11-30T01:00:00Z</start-time></session>"          \
	"<participant participant_id='a'><nameID aor='sip:+420111@h'><name>Ann</name></nameID>"    \
	"</participant><participant participant_id='b'><nameID aor='sip:222@h'/></participant>"    \
	"<stream stream_id='x'><label>1</label></stream>"                                          \
	"<stream stream_id='y'><label>2</label></stream>"                                          \
	"<participantstreamassoc participant_id='b'><send>x</send></participantstreamassoc>"       \
	"<participantstreamassoc participant_id='a'><send>y</send></participantstreamassoc>"       \
	"</recording>"
#define SDP                                                                                        \
	"v=0\r\no=c 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"                \
	"m=audio 4000 RTP/AVP 0\r\na=label:1\r\na=sendonly\r\n"                                    \
	"m=audio 4002 RTP/AVP 8\r\na=label:2\r\na=sendonly\r\n"

struct message {
	const char *method;
	const char *call_id;
	const char *to_tag; /* "" or ";tag=…" */
	unsigned cseq;
	unsigned branch;
	const char *headers;
	const char *sdp;      /* or NULL */
	const char *metadata; /* or NULL */
	const char *transport;
};

static inline const char *message_text(const struct fixture *f, const struct message *m)
{
	static char text[32768];
	static char body[16384];
	body[0] = '\0';
	size_t n = 0;
	if (m->sdp != NULL) {
		n += (size_t)snprintf(body + n, sizeof(body) - n,
				      "--b\r\nContent-Type: application/sdp\r\n\r\n%s\r\n", m->sdp);
	}
	if (m->metadata != NULL) {
		n += (size_t)snprintf(body + n, sizeof(body) - n,
				      "--b\r\nContent-Type: application/rs-metadata+xml\r\n"
				      "Content-Disposition: recording-session\r\n\r\n%s\r\n",
				      m->metadata);
	}
	if (n > 0) {
		n += (size_t)snprintf(body + n, sizeof(body) - n, "--b--\r\n");
	}
	(void)snprintf(text, sizeof(text),
		       "%s sip:srs@127.0.0.1 SIP/2.0\r\n"
		       "Via: SIP/2.0/%s 127.0.0.1:%u;branch=z9hG4bK%u;rport\r\n"
		       "From: <sip:src@127.0.0.1>;tag=c\r\nTo: <sip:srs@127.0.0.1>%s\r\n"
		       "Call-ID: %s\r\nCSeq: %u %s\r\nContact: <sip:src@127.0.0.1:%u>;+sip.src\r\n"
		       "%s%sContent-Length: %zu\r\n\r\n%s",
		       m->method, m->transport != NULL ? m->transport : "UDP", f->port, m->branch,
		       m->to_tag, m->call_id, m->cseq, m->method, f->port, m->headers,
		       n > 0 ? "Content-Type: multipart/mixed;boundary=b\r\n" : "", n, body);
	return text;
}

static inline void tag_of(const char *answer, char ret[40])
{
	const char *to = strstr(answer, "\r\nTo: ");
	assert_non_null(to);
	const char *tag = strstr(to, ";tag=");
	assert_non_null(tag);
	size_t n = strcspn(tag + 1, ";\r\n") + 1;
	assert_true(n < 40);
	memcpy(ret, tag, n);
	ret[n] = '\0';
}

/* The port of the n-th media line. */
static inline uint16_t media_port(const char *answer, int n)
{
	const char *line = answer;
	for (int i = 0; i <= n; i++) {
		line = strstr(line + 1, "\nm=audio ");
		assert_non_null(line);
	}
	return (uint16_t)strtoul(line + 9, NULL, 10);
}

static const struct message first = {
	.method = "INVITE",
	.call_id = "one",
	.to_tag = "",
	.cseq = 1,
	.branch = 1,
	.headers = "Require: siprec\r\n",
	.sdp = SDP,
	.metadata = METADATA,
};

struct dialog {
	char tag[40];
	uint16_t ports[3];
};

static inline struct dialog dialog_of(const char *answer)
{
	struct dialog d;
	tag_of(answer, d.tag);
	d.ports[0] = media_port(answer, 0);
	d.ports[1] = media_port(answer, 1);
	return d;
}

/* In the dialog that `first` began; its tag is a view. */
static inline struct message within(const char *tag, const char *method, unsigned cseq,
				    unsigned branch)
{
	return (struct message){ .method = method,
				 .call_id = first.call_id,
				 .to_tag = tag,
				 .cseq = cseq,
				 .branch = branch,
				 .headers = "" };
}

static inline void acknowledge(struct fixture *f, const struct dialog *d)
{
	struct message ack = within(d->tag, "ACK", 1, 2);
	assert_string_equal(ask(f, message_text(f, &ack)), "");
}

static inline struct dialog invite(struct fixture *f)
{
	const char *answer = ask(f, message_text(f, &first));
	assert_begins(answer, "SIP/2.0 200 OK\r\n");
	struct dialog d = dialog_of(answer);
	acknowledge(f, &d);
	return d;
}

static inline void rtp(int fd, uint16_t port, uint16_t sequence, uint32_t ssrc, uint8_t type)
{
	uint8_t packet[172] = { 0x80, type };
	et_put16(packet + 2, sequence);
	et_put32(packet + 4, sequence * 160U);
	et_put32(packet + 8, ssrc);
	send_to(fd, port, packet, sizeof(packet));
}

#endif
