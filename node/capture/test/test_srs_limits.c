/* The recording server and what it does not take: requests that it refuses, strangers, floods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/srs_kit.h"

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

/* Of a stranger nothing is read, and he hears nothing. */
static void only_who_may_records(void **state)
{
	struct fixture *f = make(8, 8);
	(void)state;
	f->s->allow = calloc(1, sizeof(*f->s->allow));
	assert_non_null(f->s->allow);
	f->s->allow_count = 1;
	assert_true(et_range_parse("127.1.0.0/16", &f->s->allow[0]));
	struct message m = {
		.method = "OPTIONS",
		.call_id = "x",
		.to_tag = "",
		.cseq = 1,
		.branch = 1,
		.headers = "",
		.transport = "UDP",
	};
	assert_string_equal(ask(f, message_text(f, &m)), "");
	assert_int_equal(f->s->denied, 1);
	assert_int_equal(f->e->packets.unclaimed[ET_UNCLAIMED_SIPREC_DENIED], 1);

	int c = client_open(SOCK_STREAM);
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(f->s->listens[1].port) };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(c, (struct sockaddr *)&in, sizeof(in)), 0);
	run(f, 1000);
	char byte;
	assert_int_equal(recv(c, &byte, 1, 0), 0); /* closed */
	assert_int_equal(f->s->denied, 2);
	assert_int_equal(f->s->connection_count, 0);
	(void)close(c);

	assert_true(et_range_parse("127.0.0.0/8", &f->s->allow[0]));
	assert_begins(ask(f, message_text(f, &m)), "SIP/2.0 200 OK\r\n");
	assert_int_equal(f->s->denied, 2);
	done(f);
}

/* Handshakes that may begin, of `n` from addresses that differ in their last byte, or from one. */
static unsigned begun_from(struct fixture *f, const char *text, unsigned n, bool differ)
{
	struct et_range r;
	unsigned begun = 0;
	assert_true(et_range_parse(text, &r));
	for (unsigned i = 0; i < n; i++) {
		begun += et_srs_may_shake_hands(f->s, r.address);
		r.address[15] = (uint8_t)(r.address[15] + (differ ? 1 : 0));
	}
	return begun;
}

/* Whose certificate it is shows late: strangers do not use up what the client needs. */
static void strangers_leave_handshakes_to_who_is_known(void **state)
{
	struct fixture *f = make(8, 8);
	struct et_range client;
	(void)state;
	f->s->mono_us += 2 * SECOND_US;
	assert_int_equal(begun_from(f, "10.0.0.9", 1000, false), 10);
	assert_int_equal(begun_from(f, "fd00::1", 1000, true), 10); /* one network */
	assert_int_equal(begun_from(f, "10.0.0.1", 1, false), 1);
	assert_true(et_range_parse("10.0.0.1", &client));
	et_srs_shook_hands(f->s, client.address);
	assert_int_equal(begun_from(f, "10.1.0.1", 200, true), 4); /* 25 of all strangers */
	assert_int_equal(begun_from(f, "10.0.0.1", 1000, false), 25);

	f->s->mono_us += SECOND_US;
	assert_int_equal(begun_from(f, "10.1.0.1", 200, true), 25);
	assert_int_equal(begun_from(f, "10.0.0.1", 1000, false), 25);

	/* the one that came last longest ago is forgotten */
	for (uint8_t i = 0; i < ET_SRS_KNOWN; i++) {
		et_srs_shook_hands(f->s, client.address);
		et_srs_shook_hands(f->s, (const uint8_t[16]){ [1] = 7, [15] = i });
	}
	assert_int_equal(f->s->known_count, ET_SRS_KNOWN);
	f->s->mono_us += SECOND_US;
	assert_int_equal(begun_from(f, "10.0.0.1", 20, false), 20);
	assert_int_equal(begun_from(f, "7::", 20, false), 10);
	assert_int_equal(begun_from(f, "7::1", 100, false), 20);
	done(f);
}

/* A client keeps its connection for the next call, whoever else connects and says nothing. */
static void who_only_connects_pushes_nobody_out(void **state)
{
	struct fixture *f = make(4, 2);
	(void)state;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(f->s->listens[1].port) };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	struct message m = first;
	m.method = "OPTIONS";
	m.transport = "TCP";
	m.headers = "";
	m.sdp = NULL;
	m.metadata = NULL;
	int c[6];
	for (unsigned i = 0; i < ET_ARRAY_SIZE(c); i++) {
		c[i] = client_open(SOCK_STREAM);
		assert_int_equal(connect(c[i], (struct sockaddr *)&in, sizeof(in)), 0);
		const char *text = i == 0 ? message_text(f, &m) : "\r\n";
		assert_int_equal(send(c[i], text, strlen(text), 0), (ssize_t)strlen(text));
		run(f, 1000);
		run(f, 1000);
	}
	assert_int_equal(f->s->evicted, 4);
	assert_begins(receive(c[0]), "SIP/2.0 200 OK\r\n");
	m.branch = 2;
	const char *again = message_text(f, &m);
	assert_int_equal(send(c[0], again, strlen(again), 0), (ssize_t)strlen(again));
	run(f, 1000);
	assert_begins(receive(c[0]), "SIP/2.0 200 OK\r\n");
	for (unsigned i = 0; i < ET_ARRAY_SIZE(c); i++) {
		(void)close(c[i]);
	}
	done(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_it_cannot_take),
		cmocka_unit_test(of_two_descriptions_the_first_counts),
		cmocka_unit_test(bad_metadata_costs_no_call),
		cmocka_unit_test(what_strangers_send_is_counted_and_not_kept),
		cmocka_unit_test(floods_are_bounded),
		cmocka_unit_test(media_ports_run_out_and_come_back),
		cmocka_unit_test(what_is_kept_of_strangers_is_bounded_in_bytes),
		cmocka_unit_test(only_who_may_records),
		cmocka_unit_test(strangers_leave_handshakes_to_who_is_known),
		cmocka_unit_test(who_only_connects_pushes_nobody_out),
	};
	return cmocka_run_group_tests_name("node/capture/srs_limits", tests, NULL, NULL);
}
