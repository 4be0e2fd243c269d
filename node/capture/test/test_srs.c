/* The recording server over real sockets of the loopback, with a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

static int on_open(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	struct fixture *f = arg;
	(void)slot;
	(void)restored;
	f->facts = *facts;
	f->opened++;
	return 0;
}

static int on_stream(void *arg, uint32_t slot, const struct et_capture_stream *stream)
{
	struct fixture *f = arg;
	(void)slot;
	assert_true(f->stream_count < 16);
	f->streams[f->stream_count++] = *stream;
	return 0;
}

static int on_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
		    const struct et_packet *packet)
{
	struct fixture *f = arg;
	(void)slot;
	(void)rtp;
	(void)packet;
	f->media[stream]++;
	return 0;
}

static int on_meta(void *arg, uint32_t slot, struct et_view plain)
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

static int on_keys(void *arg, uint32_t slot, struct et_view plain)
{
	struct fixture *f = arg;
	(void)slot;
	(void)plain;
	f->keys++;
	return 0;
}

static int on_session(void *arg, uint32_t slot, const struct et_capture_session *session)
{
	struct fixture *f = arg;
	(void)slot;
	f->session = *session;
	f->sessions++;
	return 0;
}

static int on_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
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

static int client_open(int type)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in in;
	socklen_t size = sizeof(in);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
	return ntohs(in.sin_port);
}

/* A range that is this process's own, so that tests may run beside each other. */
static uint16_t first_port(void)
{
	return (uint16_t)(30000 + (unsigned)getpid() % 500 * 60);
}

static struct fixture *make(uint32_t sessions, uint32_t connections)
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

static void done(struct fixture *f)
{
	assert_each_counted_once(f->e);
	(void)et_srs_free(f->s);
	(void)et_engine_free(f->e);
	(void)close(f->client);
	free(f);
}

/* ---- The client ------------------------------------------------------------------------------ */

static void run(struct fixture *f, int64_t us)
{
	f->mono_us += us;
	while (et_srs_read(f->s, f->mono_us)) {
	}
	et_srs_clock(f->s, f->mono_us);
}

static void send_to(int fd, uint16_t port, const void *data, size_t size)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(sendto(fd, data, size, 0, (struct sockaddr *)&in, sizeof(in)), size);
}

/* The next message from the server; "" when none comes. Static. */
static const char *receive(int fd)
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

static const char *ask(struct fixture *f, const char *text)
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

static const char *message_text(const struct fixture *f, const struct message *m)
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

static void tag_of(const char *answer, char ret[40])
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
static uint16_t media_port(const char *answer, int n)
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

static struct dialog invite(struct fixture *f)
{
	struct dialog d;
	const char *answer = ask(f, message_text(f, &first));
	assert_begins(answer, "SIP/2.0 200 OK\r\n");
	tag_of(answer, d.tag);
	d.ports[0] = media_port(answer, 0);
	d.ports[1] = media_port(answer, 1);
	struct message ack = { .method = "ACK",
			       .call_id = "one",
			       .to_tag = d.tag,
			       .cseq = 1,
			       .branch = 2,
			       .headers = "" };
	assert_string_equal(ask(f, message_text(f, &ack)), "");
	return d;
}

static void rtp(int fd, uint16_t port, uint16_t sequence, uint32_t ssrc, uint8_t type)
{
	uint8_t packet[172] = { 0x80, type };
	et_put16(packet + 2, sequence);
	et_put32(packet + 4, sequence * 160U);
	et_put32(packet + 8, ssrc);
	send_to(fd, port, packet, sizeof(packet));
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void takes_a_session_to_its_end(void **state)
{
	struct fixture *f = make(8, 8);
	(void)state;
	const char *answer = ask(f, message_text(f, &first));
	assert_begins(answer, "SIP/2.0 200 OK\r\n");
	assert_has(answer, ";received=127.0.0.1");
	assert_has(answer, ";+sip.srs");
	assert_has(answer, "a=label:1\r\na=recvonly\r\n");
	assert_has(answer, "a=label:2\r\na=recvonly\r\n");
	struct dialog d;
	tag_of(answer, d.tag);
	d.ports[0] = media_port(answer, 0);
	d.ports[1] = media_port(answer, 1);
	assert_int_equal(d.ports[0] % 2, 0);
	assert_true(d.ports[0] != d.ports[1]);
	assert_int_equal(f->opened, 1);
	/* whom the first line carries is the caller; both are known before the first packet */
	assert_string_equal(f->facts.from, "222");
	assert_string_equal(f->facts.to, "+420111");
	assert_string_equal(f->facts.sip_call_id, "one");
	assert_int_equal(f->session.participant_count, 2);
	assert_string_equal(f->session.participants[0].name, "Ann");
	assert_string_equal(f->session.participants[0].labels, "2");
	assert_int_equal(f->session.participants[0].party, 1);
	assert_true(f->session.start_us > 0);
	assert_has(f->kept, "255 siprec-session: s\n");
	assert_has(f->kept, "1 siprec-participant: id=a state=joined labels=2 joined= left= "
			    "aor=sip:+420111@h name=Ann\n");

	struct message ack = { .method = "ACK",
			       .call_id = "one",
			       .to_tag = d.tag,
			       .cseq = 1,
			       .branch = 2,
			       .headers = "" };
	assert_string_equal(ask(f, message_text(f, &ack)), "");
	int second = client_open(SOCK_DGRAM);
	for (uint16_t i = 0; i < 40; i++) {
		rtp(f->client, d.ports[0], i, 7, 0);
		rtp(second, d.ports[1], i, 7, 8); /* the same SSRC on purpose */
	}
	run(f, 20000);
	assert_int_equal(f->stream_count, 2);
	for (uint32_t i = 0; i < 2; i++) {
		bool is_first = strcmp(f->streams[i].codec, "PCMU/8000") == 0;
		assert_int_equal(f->streams[i].party, is_first ? 0 : 1);
		assert_int_equal(f->streams[i].association, ET_ASSOCIATION_SDP);
		assert_int_equal(f->media[i], 40);
	}
	struct message bye = { .method = "BYE",
			       .call_id = "one",
			       .to_tag = d.tag,
			       .cseq = 2,
			       .branch = 3,
			       .headers = "" };
	assert_begins(ask(f, message_text(f, &bye)), "SIP/2.0 200 OK\r\n");
	assert_begins(ask(f, message_text(f, &bye)), "SIP/2.0 200 OK\r\n"); /* again: the same */
	rtp(f->client, d.ports[0], 40, 7, 0);				    /* on its way */
	run(f, 1000);
	assert_int_equal(f->media[0] + f->media[1], 81);
	run(f, 3 * SECOND_US);
	assert_int_equal(f->s->session_count, 0);
	et_engine_clock(f->e, et_clock_now_us() + 10 * SECOND_US);
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->facts.state, ET_CALL_ANSWERED);
	assert_int_equal(f->e->packets.rtp, 81);
	(void)close(second);
	done(f);
}

static void sends_its_answer_until_it_is_confirmed(void **state)
{
	struct fixture *f = make(8, 8);
	(void)state;
	char answer[4096];
	(void)snprintf(answer, sizeof(answer), "%s", ask(f, message_text(f, &first)));
	assert_string_equal(ask(f, message_text(f, &first)), answer); /* the INVITE again */
	assert_int_equal(f->e->call_count, 1);
	run(f, 400000);
	assert_string_equal(receive(f->client), "");
	run(f, 200000); /* T1 */
	assert_string_equal(receive(f->client), answer);
	run(f, 500000);
	assert_string_equal(receive(f->client), "");
	run(f, 500000); /* 2 T1 */
	assert_string_equal(receive(f->client), answer);
	int again = 0;
	for (int i = 0; i < 300; i++) {
		run(f, 100000);
		again += receive(f->client)[0] != '\0';
	}
	assert_in_range(again, 7, 9); /* 2 s, then every 4 s */
	run(f, 2 * SECOND_US);	      /* 64 T1: nobody is there; we end it, and say so again */
	const char *bye = receive(f->client);
	assert_begins(bye, "BYE sip:src@127.0.0.1:");
	assert_has(bye, "From: <sip:srs@127.0.0.1>;tag=");
	assert_has(bye, "To: <sip:src@127.0.0.1>;tag=c\r\n");
	char branch[64];
	(void)snprintf(branch, sizeof(branch), "%.30s", strstr(bye, "z9hG4bK"));
	branch[strcspn(branch, ";")] = '\0';
	run(f, 600000);
	assert_begins(receive(f->client), "BYE ");
	char ok[512];
	(void)snprintf(ok, sizeof(ok),
		       "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=%s\r\nCSeq: 1 BYE\r\n\r\n",
		       branch);
	assert_string_equal(ask(f, ok), "");
	run(f, 600000 * 4);
	assert_string_equal(receive(f->client), "");
	run(f, 3 * SECOND_US);
	assert_int_equal(f->s->session_count, 0);
	assert_true(f->e->slots[0] == NULL || f->e->slots[0]->ended);
	done(f);
}

static void a_session_changes(void **state)
{
	struct fixture *f = make(8, 8);
	(void)state;
	struct dialog d = invite(f);
	uint32_t before = f->session.revision;
	struct message m = { .method = "UPDATE",
			     .call_id = "one",
			     .to_tag = d.tag,
			     .cseq = 2,
			     .branch = 10,
			     .headers = "",
			     .metadata =
				     "<recording " NS "><datamode>partial</datamode>"
				     "<participant participant_id='c'><nameID aor='tel:333'/>"
				     "</participant><stream stream_id='z'><label>3</label>"
				     "</stream><participantstreamassoc participant_id='c'>"
				     "<send>z</send></participantstreamassoc>"
				     "<participantsessionassoc participant_id='b'>"
				     "<disassociate-time>2026-11-30T01:01:00Z</disassociate-time>"
				     "</participantsessionassoc></recording>" };
	const char *answer = ask(f, message_text(f, &m));
	assert_begins(answer, "SIP/2.0 200 OK\r\n");
	assert_lacks(answer, "m=audio");
	uint32_t revision = f->session.revision;
	assert_true(revision > before);
	assert_int_equal(f->session.participant_count, 3);
	assert_true(f->session.participants[1].gone);
	assert_string_equal(f->session.participants[2].number, "333");
	assert_string_equal(f->session.participants[2].labels, "3");
	assert_has(f->kept, "siprec-participant: id=b state=left");

	/* one line more; the others keep their ports, and their packets their streams */
	m = (struct message){ .method = "INVITE",
			      .call_id = "one",
			      .to_tag = d.tag,
			      .cseq = 3,
			      .branch = 11,
			      .headers = "",
			      .sdp = SDP "m=audio 4004 RTP/AVP 0\r\na=label:3\r\n" };
	answer = ask(f, message_text(f, &m));
	assert_begins(answer, "SIP/2.0 200 OK\r\n");
	assert_int_equal(media_port(answer, 0), d.ports[0]);
	assert_int_equal(media_port(answer, 1), d.ports[1]);
	d.ports[2] = media_port(answer, 2);
	assert_has(answer, " 2 IN IP4"); /* a new version of the description */
	m = (struct message){ .method = "ACK",
			      .call_id = "one",
			      .to_tag = d.tag,
			      .cseq = 3,
			      .branch = 12,
			      .headers = "" };
	assert_string_equal(ask(f, message_text(f, &m)), "");
	for (uint16_t i = 0; i < 3; i++) {
		rtp(f->client, d.ports[i], i, i, i == 1 ? 8 : 0);
	}
	run(f, 1000);
	assert_int_equal(f->stream_count, 3);
	assert_int_equal(f->e->packets.rtp, 3);

	/* held: the same ports; nothing of a line that ended */
	m = (struct message){
		.method = "UPDATE",
		.call_id = "one",
		.to_tag = d.tag,
		.cseq = 4,
		.branch = 13,
		.headers = "",
		.sdp = "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\n"
		       "a=inactive\r\nm=audio 0 RTP/AVP 8\r\nm=audio 0 RTP/AVP 0\r\n"
	};
	answer = ask(f, message_text(f, &m));
	assert_begins(answer, "SIP/2.0 200 OK\r\n");
	assert_int_equal(media_port(answer, 0), d.ports[0]);
	assert_int_equal(media_port(answer, 1), 0);
	assert_has(answer, "a=inactive");

	m = (struct message){ .method = "OPTIONS",
			      .call_id = "one",
			      .to_tag = d.tag,
			      .cseq = 5,
			      .branch = 14,
			      .headers = "" };
	assert_has(ask(f, message_text(f, &m)), "Supported: siprec");
	m = (struct message){ .method = "INFO",
			      .call_id = "one",
			      .to_tag = d.tag,
			      .cseq = 6,
			      .branch = 15,
			      .headers = "" };
	assert_begins(ask(f, message_text(f, &m)), "SIP/2.0 405 ");
	m.method = "UPDATE"; /* behind the others */
	m.cseq = 4;
	m.branch = 16;
	assert_begins(ask(f, message_text(f, &m)), "SIP/2.0 500 ");
	m.cseq = 7;
	m.branch = 17;
	m.metadata = "<recording>";
	assert_begins(ask(f, message_text(f, &m)), "SIP/2.0 400 ");
	assert_int_equal(f->session.revision, revision);
	m.cseq = 8;
	m.branch = 18;
	m.metadata = NULL;
	m.sdp = "v=0\r\nm=audio 0 RTP/AVP 0\r\n"; /* fewer lines, and none */
	assert_begins(ask(f, message_text(f, &m)), "SIP/2.0 488 ");
	et_srs_leave(f->s);
	assert_begins(receive(f->client), "BYE ");
	assert_true(f->e->slots[0] != NULL && f->e->slots[0]->ended);
	done(f);
}

static void refuse_one(struct fixture *f, struct message m, const char *want)
{
	static unsigned n = 1000;
	char id[32];
	uint32_t calls = f->e->call_count;
	(void)snprintf(id, sizeof(id), "refused-%u", ++n);
	m.call_id = strcmp(m.call_id, "one") == 0 ? id : m.call_id;
	m.branch = n;
	const char *answer = ask(f, message_text(f, &m));
	if (strncmp(answer, want, strlen(want)) != 0) {
		print_message("%s: %s\n", want, answer);
	}
	assert_begins(answer, want);
	if (strcmp(m.method, "INVITE") == 0) {
		assert_begins(ask(f, message_text(f, &m)), want); /* the same to the same */
		m.method = "ACK";
		assert_string_equal(ask(f, message_text(f, &m)), "");
		run(f, 1500000);
		assert_string_equal(receive(f->client), ""); /* confirmed: not again */
	}
	assert_int_equal(f->e->call_count, calls);
}

static void refuses_what_it_cannot_take(void **state)
{
	struct fixture *f = make(8, 8);
	struct message m = first;
	(void)state;
	m.headers = "Require: siprec, timer\r\n";
	refuse_one(f, m, "SIP/2.0 420 Bad Extension\r\n");
	char option[1200] = "Require: ";
	memset(option + 9, 'x', sizeof(option) - 12); /* too long to be told back */
	memcpy(option + sizeof(option) - 3, "\r\n", 3);
	m.headers = option;
	refuse_one(f, m, "SIP/2.0 420 Bad Extension\r\n");
	m.headers = "Content-Length: 7\r\n"; /* and the true one */
	refuse_one(f, m, "SIP/2.0 400 ");
	m = first;
	m.sdp = "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n";
	refuse_one(f, m, "SIP/2.0 488 ");
	m.sdp = "v=0\r\nc=IN IP4 127.0.0.1\r\nm=application 4000 TCP/MSRP *\r\n";
	refuse_one(f, m, "SIP/2.0 488 ");
	m.sdp = "no";
	refuse_one(f, m, "SIP/2.0 400 ");
	m.sdp = NULL;
	refuse_one(f, m, "SIP/2.0 488 ");
	m = first;
	m.headers = "Content-Encoding: gzip\r\n";
	refuse_one(f, m, "SIP/2.0 415 ");
	m = first;
	m.metadata = "<recording " NS "><participant participant_id='a'>"
		     "<nameID aor='sip:9991@h'/></participant></recording>";
	refuse_one(f, m, "SIP/2.0 403 ");
	f->refuse = true;
	refuse_one(f, first, "SIP/2.0 503 ");
	m = first;
	m.branch = 5;
	m.call_id = "again";
	const char *answer = ask(f, message_text(f, &m));
	assert_has(answer, "Retry-After: 60\r\n");
	f->refuse = false;
	m = first;
	m.method = "BYE";
	m.to_tag = ";tag=none";
	refuse_one(f, m, "SIP/2.0 481 ");
	m.method = "CANCEL";
	refuse_one(f, m, "SIP/2.0 481 ");
	m.method = "REGISTER";
	m.to_tag = "";
	refuse_one(f, m, "SIP/2.0 405 ");
	m.method = "FETCH";
	refuse_one(f, m, "SIP/2.0 501 ");
	m.method = "OPTIONS";
	refuse_one(f, m, "SIP/2.0 200 ");
	assert_begins(ask(f, "INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKq;"
			     "rport\r\n\r\n"),
		      "SIP/2.0 400 ");
	assert_string_equal(ask(f, "INVITE sip:x SIP/2.0\r\nCall-ID: x\r\n\r\n"), "");

	assert_int_equal(f->opened, 0);
	struct dialog d = invite(f);
	(void)d;
	m = first; /* the same dialog by another way */
	m.branch = 99;
	assert_begins(ask(f, message_text(f, &m)), "SIP/2.0 482 ");
	m = first;
	m.method = "CANCEL";
	assert_begins(ask(f, message_text(f, &m)), "SIP/2.0 200 "); /* too late, and said so */
	assert_int_equal(f->s->session_count, 1);
	done(f);
}

/* Who reads the call sees the same: the first. */
static void of_two_descriptions_the_first_counts(void **state)
{
	struct fixture *f = make(8, 8);
	struct message m = first;
	(void)state;
	m.sdp = "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\na=label:1\r\n"
		"--b\r\nContent-Type: application/sdp\r\n\r\n"
		"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 4002 RTP/AVP 97\r\na=label:9\r\n";
	const char *answer = ask(f, message_text(f, &m));
	assert_begins(answer, "SIP/2.0 200 OK\r\n");
	assert_has(answer, "a=label:1\r\n");
	assert_lacks(answer, "m=video");
	done(f);
}

static void bad_metadata_costs_no_call(void **state)
{
	static const char *const bad[] = {
		"<recording><participant>",
		"<!DOCTYPE r [<!ENTITY a 'x'>]><recording>&a;</recording>",
		"\xff\xfe\xff",
		"",
	};
	struct fixture *f = make(8, 8);
	(void)state;
	for (unsigned i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		char id[16];
		struct message m = first;
		(void)snprintf(id, sizeof(id), "bad-%u", i);
		m.call_id = id;
		m.branch = 50 + i;
		m.metadata = bad[i];
		assert_begins(ask(f, message_text(f, &m)), "SIP/2.0 200 OK\r\n");
	}
	assert_int_equal(f->opened, 4);
	assert_begins(f->e->slots[0]->facts.problem, "SIPREC: recording metadata: ");
	assert_string_equal(f->facts.from, "src"); /* nobody is known */
	done(f);
}

static void what_strangers_send_is_counted_and_not_kept(void **state)
{
	struct fixture *f = make(8, 8);
	(void)state;
	struct dialog d = invite(f);
	int stranger = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in in = { .sin_family = AF_INET };
	in.sin_addr.s_addr = htonl(0x7F000002);
	assert_int_equal(bind(stranger, (struct sockaddr *)&in, sizeof(in)), 0);
	for (uint16_t i = 0; i < 5; i++) {
		rtp(stranger, d.ports[0], i, 1, 0);
	}
	send_to(f->client, d.ports[0], "hello", 5);
	send_to(f->client, d.ports[0], "", 0);
	send_to(f->client, f->s->listens[0].port, "\r\n\r\n", 4);
	send_to(f->client, f->s->listens[0].port, "GET / HTTP/1.1\r\n\r\n", 18);
	run(f, 1000);
	assert_int_equal(f->e->packets.unclaimed[ET_UNCLAIMED_RTP_STRANGER], 5);
	assert_int_equal(f->e->packets.unclaimed[ET_UNCLAIMED_MALFORMED_RTP], 2);
	assert_int_equal(f->e->packets.other[ET_OTHER_KEEPALIVE], 1);
	assert_int_equal(f->e->packets.unclaimed[ET_UNCLAIMED_MALFORMED_SIP], 1);
	assert_int_equal(f->stream_count, 0);

	/* overheard on an interface, it is not taken twice */
	engine_datagram_at(f->e, f->e->now_us, 1, 4000, 2, 5060, "x", 1);
	memcpy(f->e->own.media, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x02", 16);
	engine_datagram_at(f->e, f->e->now_us, 1, 4000, 2, f->e->own.port_first, "x", 1);
	assert_int_equal(f->e->packets.other[ET_OTHER_SIPREC], 1);
	(void)close(stranger);
	done(f);
}

static void floods_are_bounded(void **state)
{
	struct fixture *f = make(4, 2);
	(void)state;
	int full = 0;
	for (unsigned i = 0; i < 12; i++) {
		char id[16];
		struct message m = first;
		(void)snprintf(id, sizeof(id), "flood-%u", i);
		m.call_id = id;
		m.branch = 2000 + i;
		full += strncmp(ask(f, message_text(f, &m)), "SIP/2.0 503 ", 12) == 0;
	}
	assert_int_equal(full, 8);
	assert_int_equal(f->s->session_count, 4);
	for (unsigned i = 0; i < 6000; i++) {
		struct message m = first;
		m.method = i % 2 == 0 ? "INVITE" : "BYE";
		m.headers = "Require: none\r\n";
		m.branch = 10000 + i;
		const char *answer = ask(f, message_text(f, &m));
		while (strncmp(answer, "SIP/2.0 420 ", 12) != 0) { /* 200 and 503 come again */
			assert_begins(answer, "SIP/2.0 ");
			answer = receive(f->client);
		}
	}
	assert_true(f->s->transaction_count <= ET_SRS_TRANSACTIONS);
	run(f, 40 * SECOND_US); /* nobody confirms */
	run(f, 100000);
	assert_true(f->s->transaction_count == 0);
	while (receive(f->client)[0] != '\0') {
	}

	/* more connections than there is room for: one without session gives way */
	int c[4];
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(f->s->listens[1].port) };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 4; i++) {
		c[i] = client_open(SOCK_STREAM);
		assert_int_equal(connect(c[i], (struct sockaddr *)&in, sizeof(in)), 0);
		run(f, 1000);
	}
	assert_int_equal(f->s->connection_count, 2);
	assert_int_equal(f->s->evicted, 2);
	run(f, 400 * SECOND_US); /* silent ones go */
	assert_int_equal(f->s->connection_count, 0);
	for (int i = 0; i < 4; i++) {
		(void)close(c[i]);
	}
	done(f);
}

/* All 30 pairs are in use: the next offer is refused, and when calls end there is room again. */
static void media_ports_run_out_and_come_back(void **state)
{
	struct fixture *f = make(32, 2);
	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 17; i++) {
			char id[16];
			struct message m = first;
			(void)snprintf(id, sizeof(id), "ports-%u-%u", round, i);
			m.call_id = id;
			m.branch = 3000 + round * 100 + i;
			assert_begins(ask(f, message_text(f, &m)),
				      i < 15 ? "SIP/2.0 200 " : "SIP/2.0 503 ");
		}
		assert_int_equal(f->s->pairs_open, 30);
		et_srs_leave(f->s);
		run(f, 100 * SECOND_US);
		run(f, 100 * SECOND_US);
		assert_int_equal(f->s->session_count, 0);
		assert_int_equal(f->s->pairs_open, 0);
		while (receive(f->client)[0] != '\0') {
		}
	}
	done(f);
}

/* Via and Record-Route come back in what is answered, and that is kept for half a minute. */
static void what_is_kept_of_strangers_is_bounded_in_bytes(void **state)
{
	struct fixture *f = make(4, 2);
	static char headers[20000];
	struct message m = first;
	(void)state;
	memset(headers, 'x', sizeof(headers) - 1);
	memcpy(headers, "Record-Route: ", 14);
	memcpy(headers + sizeof(headers) - 3, "\r\n", 3);
	m.headers = headers;
	assert_begins(ask(f, message_text(f, &m)), "SIP/2.0 503 ");
	assert_int_equal(f->s->session_count, 0);

	memcpy(headers, "Require: x\r\nVia: ", 17);
	for (unsigned i = 0; i < 1000; i++) {
		m.branch = 5000 + i;
		(void)ask(f, message_text(f, &m));
		while (receive(f->client)[0] != '\0') {
		}
		assert_true(f->s->response_bytes <= ET_SRS_REJECTION_BYTES + 65536);
	}
	assert_true(f->s->transaction_count > 100 && f->s->transaction_count < 1000);
	m = first;
	m.branch = 4000;
	assert_begins(ask(f, message_text(f, &m)),
		      "SIP/2.0 200 "); /* there is room for a session */
	run(f, 40 * SECOND_US);
	run(f, 40 * SECOND_US);
	assert_int_equal(f->s->transaction_count, 0);
	assert_int_equal(f->s->response_bytes, 0);
	done(f);
}

static void speaks_over_a_stream(void **state)
{
	struct fixture *f = make(8, 8);
	(void)state;
	int c = client_open(SOCK_STREAM);
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(f->s->listens[1].port) };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(c, (struct sockaddr *)&in, sizeof(in)), 0);
	struct message m = first;
	m.transport = "TCP";
	char text[8192];
	(void)snprintf(text, sizeof(text), "%s", message_text(f, &m));
	size_t n = strlen(text);
	for (size_t i = 0; i < n; i += 100) { /* in small pieces */
		size_t piece = n - i < 100 ? n - i : 100;
		assert_int_equal(send(c, text + i, piece, 0), piece);
		run(f, 1000);
	}
	const char *answer = receive(c);
	assert_begins(answer, "SIP/2.0 200 OK\r\n");
	assert_has(answer, ";transport=tcp>;+sip.srs");
	char tag[40];
	tag_of(answer, tag);

	/* two messages in one segment, and a keep-alive, which is answered */
	struct message ack = { .method = "ACK",
			       .call_id = "one",
			       .to_tag = tag,
			       .cseq = 1,
			       .branch = 2,
			       .headers = "",
			       .transport = "TCP" };
	(void)snprintf(text, sizeof(text), "%s", message_text(f, &ack));
	struct message bye = { .method = "BYE",
			       .call_id = "one",
			       .to_tag = tag,
			       .cseq = 2,
			       .branch = 3,
			       .headers = "",
			       .transport = "TCP" };
	n = strlen(text);
	(void)snprintf(text + n, sizeof(text) - n, "%s", message_text(f, &bye));
	assert_int_equal(send(c, text, strlen(text), 0), strlen(text));
	run(f, 1000);
	assert_begins(receive(c), "SIP/2.0 200 OK\r\n");
	assert_int_equal(send(c, "\r\n\r\n", 4, 0), 4);
	run(f, 1000);
	assert_string_equal(receive(c), "\r\n");
	assert_int_equal(f->e->packets.sip, 3);
	assert_int_equal(send(c, "what is this, then? no SIP\r\n\r\n", 30, 0), 30);
	run(f, 1000);
	assert_int_equal(f->s->connection_count, 0);
	assert_int_equal(f->e->packets.unclaimed[ET_UNCLAIMED_MALFORMED_SIP], 1);
	(void)close(c);
	done(f);
}

static void a_silent_session_ends(void **state)
{
	struct fixture *f = make(8, 8);
	(void)state;
	struct dialog d = invite(f);
	rtp(f->client, d.ports[0], 1, 1, 0);
	run(f, 1000);
	et_engine_clock(f->e, et_clock_now_us() + 12 * SECOND_US); /* media_timeout_s is 10 */
	assert_int_equal(f->closed, 1);
	assert_int_equal(f->facts.state, ET_CALL_PARTIAL);
	run(f, 100000);
	assert_begins(receive(f->client), "BYE ");
	assert_int_equal(f->s->sessions[0]->alive, false);
	run(f, 40 * SECOND_US);
	run(f, 100000);
	assert_int_equal(f->s->session_count, 0);
	done(f);
}

static void protected_media_is_agreed_on(void **state)
{
	struct fixture *f = make(8, 8);
	struct message m = first;
	(void)state;
	m.sdp = "v=0\r\nc=IN IP4 127.0.0.1\r\n"
		"m=audio 4000 RTP/SAVP 0\r\na=label:1\r\n"
		"a=crypto:1 UNKNOWN_SUITE inline:AAAA\r\n"
		"a=crypto:2 AES_CM_128_HMAC_SHA1_80 "
		"inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
		"m=audio 4002 RTP/SAVP 8\r\na=label:2\r\n"
		"a=crypto:1 AEAD_AES_256_GCM "
		"inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=\r\n";
	const char *answer = ask(f, message_text(f, &m));
	assert_begins(answer, "SIP/2.0 200 OK\r\n");
	assert_has(answer, "RTP/SAVP 0\r\n");
	assert_has(answer, "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:");
	const char *line = strstr(answer, "a=crypto:1 AEAD_AES_256_GCM inline:");
	assert_non_null(line);
	assert_int_equal(strcspn(line, "\r"), strlen("a=crypto:1 AEAD_AES_256_GCM inline:") + 60);
	assert_lacks(answer, "WVNfX19z"); /* a key of our own */
	assert_int_equal(f->keys, 2);
	done(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_a_session_to_its_end),
		cmocka_unit_test(sends_its_answer_until_it_is_confirmed),
		cmocka_unit_test(a_session_changes),
		cmocka_unit_test(refuses_what_it_cannot_take),
		cmocka_unit_test(of_two_descriptions_the_first_counts),
		cmocka_unit_test(bad_metadata_costs_no_call),
		cmocka_unit_test(what_strangers_send_is_counted_and_not_kept),
		cmocka_unit_test(floods_are_bounded),
		cmocka_unit_test(media_ports_run_out_and_come_back),
		cmocka_unit_test(what_is_kept_of_strangers_is_bounded_in_bytes),
		cmocka_unit_test(speaks_over_a_stream),
		cmocka_unit_test(a_silent_session_ends),
		cmocka_unit_test(protected_media_is_agreed_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
