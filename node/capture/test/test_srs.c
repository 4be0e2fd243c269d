/* The recording server: sessions from their beginning to their end, over datagrams and streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/tcp.h>

#include "node/capture/test/srs_kit.h"

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
	const struct dialog d = dialog_of(answer);
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

	acknowledge(f, &d);
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
	struct message bye = within(d.tag, "BYE", 2, 3);
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

static int stream_open(const struct fixture *f)
{
	int c = client_open(SOCK_STREAM);
	int on = 1; /* what is sent is there at once */
	assert_int_equal(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(f->s->listens[1].port) };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(c, (struct sockaddr *)&in, sizeof(in)), 0);
	return c;
}

static void speaks_over_a_stream(void **state)
{
	struct fixture *f = make(8, 8);
	(void)state;
	int c = stream_open(f);
	struct message m = first;
	m.transport = "TCP";
	char text[32768];
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
	struct message ack = within(tag, "ACK", 1, 2);
	ack.transport = "TCP";
	(void)snprintf(text, sizeof(text), "%s", message_text(f, &ack));
	struct message bye = within(tag, "BYE", 2, 3);
	bye.transport = "TCP";
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

static void say(struct fixture *f, int c, const char *text, size_t size)
{
	assert_int_equal(send(c, text, size, 0), size);
	run(f, 1000); /* the connection is taken */
	run(f, 1000);
}

/* However long nothing was said: half a message has its own 30 seconds. */
static void half_a_message_is_waited_for(void **state)
{
	struct fixture *f = make(8, 8);
	struct message m = first;
	char tag[40];
	(void)state;
	int c = stream_open(f);
	m.transport = "TCP";
	const char *text = message_text(f, &m);
	say(f, c, text, strlen(text));
	tag_of(receive(c), tag);
	m = within(tag, "ACK", 1, 2);
	text = message_text(f, &m);
	say(f, c, text, strlen(text));
	run(f, 60 * SECOND_US);
	m = within(tag, "OPTIONS", 2, 3);
	text = message_text(f, &m);
	say(f, c, text, 100);
	run(f, 29 * SECOND_US);
	assert_int_equal(f->s->connection_count, 1);
	say(f, c, text + 100, strlen(text) - 100);
	assert_begins(receive(c), "SIP/2.0 200 OK\r\n");
	say(f, c, text, 100);
	run(f, 31 * SECOND_US);
	assert_int_equal(f->s->connection_count, 0);
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
		cmocka_unit_test(speaks_over_a_stream),
		cmocka_unit_test(half_a_message_is_waited_for),
		cmocka_unit_test(a_silent_session_ends),
		cmocka_unit_test(protected_media_is_agreed_on),
	};
	return cmocka_run_group_tests_name("node/capture/srs", tests, NULL, NULL);
}
