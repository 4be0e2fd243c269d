/* Dialogs message by message, on an engine that writes everything down. */
#ifndef ET_NODE_CAPTURE_TEST_DIALOG_KIT_H
#define ET_NODE_CAPTURE_TEST_DIALOG_KIT_H

#include "node/capture/test/engine_kit.h"

enum { CALLER = 1, CALLEE = 2, OTHER = 3, PROXY = 5, PORT = 4000 };

struct message {
	const char *first;  /* line */
	const char *cseq;   /* "1 INVITE" */
	const char *from;   /* tag */
	const char *to;	    /* tag; NULL: none */
	uint16_t port;	    /* of a description; 0: there is none */
	uint8_t at;	    /* ... its host; 0: the sender */
	const char *lines;  /* more of the description */
	const char *codec;  /* its payload types; NULL: 0 */
	const char *more;   /* headers */
	const char *id;	    /* Call-ID; NULL: "1" */
	const char *via;    /* branch; NULL: "t" and the CSeq */
	bool below;	    /* of the proxy: one more Via */
	const char *user;   /* of From; NULL: alice */
	const char *callee; /* of To; NULL: bob */
};

static inline void send_message(struct fixture *f, uint8_t from, uint8_t to,
				const struct message *m)
{
	char text[3000];
	char body[600] = "";
	if (m->port > 0) {
		(void)snprintf(body, sizeof(body),
			       "v=0\r\nc=IN IP4 10.0.0.%u\r\nm=audio %u RTP/AVP %s\r\n%s",
			       m->at != 0 ? m->at : from, m->port,
			       m->codec != NULL ? m->codec : "0", m->lines != NULL ? m->lines : "");
	}
	int n = snprintf(
		text, sizeof(text),
		"%s\r\nVia: SIP/2.0/UDP h;branch=%s%c\r\n%sFrom: <sip:%s@x>;tag=%s\r\n"
		"To: <sip:%s@x>%s%s\r\nCall-ID: %s\r\nCSeq: %s\r\n%s%sContent-Length: "
		"%zu\r\n\r\n%s",
		m->first, m->via != NULL ? m->via : "t", m->cseq[0],
		m->below ? "Via: SIP/2.0/UDP up;branch=up\r\n" : "",
		m->user != NULL ? m->user : "alice", m->from, m->callee != NULL ? m->callee : "bob",
		m->to != NULL ? ";tag=" : "", m->to != NULL ? m->to : "",
		m->id != NULL ? m->id : "1", m->cseq, m->more != NULL ? m->more : "",
		m->port > 0 ? "Content-Type: application/sdp\r\n" : "", strlen(body), body);
	assert_true(n > 0 && (size_t)n < sizeof(text));
	engine_datagram_at(f->engine, f->now_us, from, 5060, to, 5060, text, (size_t)n);
	f->now_us += 1000;
}

#define SAY(f, from_host, to_host, line, number, tag, ...)                                         \
	send_message(f, from_host, to_host,                                                        \
		     &(struct message){ .first = line, .cseq = number, .from = tag, __VA_ARGS__ })

#define INVITE "INVITE sip:bob@x SIP/2.0"
#define BYE "BYE sip:bob@x SIP/2.0"
#define OK "SIP/2.0 200 OK"

/* As tear_down() of the engine, and nothing was lost on the way. */
static inline int all_kept(void **state)
{
	struct fixture *f = *state;
	et_engine_finish(f->engine, true);
	assert_int_equal(f->engine->packets.rtp, f->media);
	return tear_down(state);
}

#define DIALOG(name) cmocka_unit_test_setup_teardown(name, set_up, all_kept)

#endif
