/* Responses, parts of bodies and answers, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/sip/server.h"

static struct et_view view(const char *text)
{
	return (struct et_view){ (const uint8_t *)text, strlen(text) };
}

static const char request[] =
	"INVITE sip:srs@h SIP/2.0\r\n"
	"v: SIP/2.0/UDP 10.0.0.1:5060 ; rport;branch=z9hG4bK1, SIP/2.0/UDP b\r\n"
	"Via: SIP/2.0/UDP c\r\n"
	"Record-Route: <sip:p;lr>\r\n"
	"Require: siprec,\r\n 100rel\r\n"
	"f: <sip:a@h>;tag=1\r\n"
	"To: Bob\r\n <sip:srs@h>\r\n"
	"i: call\r\n"
	"CSeq: 7 INVITE\r\n\r\nbody: none\r\n";

static void a_reply_repeats_what_binds_it(void **state)
{
	struct et_buffer b = { .data = NULL };
	struct et_sip_reply reply = {
		.status = 200,
		.reason = "OK",
		.to_tag = "ours",
		.received = "192.0.2.9",
		.rport = 6000,
		.dialog = true,
		.headers = "Contact: <sip:x>\r\n",
		.content_type = "application/sdp",
		.body = view("v=0\r\n"),
	};
	(void)state;
	et_sip_reply_write(view(request), &reply, &b);
	et_buffer_add8(&b, 0);
	assert_string_equal((char *)b.data,
			    "SIP/2.0 200 OK\r\n"
			    "Via: SIP/2.0/UDP 10.0.0.1:5060 ; rport=6000;branch=z9hG4bK1"
			    ";received=192.0.2.9, SIP/2.0/UDP b\r\n"
			    "Via: SIP/2.0/UDP c\r\n"
			    "Record-Route: <sip:p;lr>\r\n"
			    "From: <sip:a@h>;tag=1\r\n"
			    "To: Bob   <sip:srs@h>;tag=ours\r\n"
			    "Call-ID: call\r\n"
			    "CSeq: 7 INVITE\r\n"
			    "Contact: <sip:x>\r\n"
			    "Content-Type: application/sdp\r\n"
			    "Content-Length: 5\r\n\r\nv=0\r\n");
	et_buffer_release(&b);
}

static void a_tag_that_is_there_stays(void **state)
{
	struct et_buffer b = { .data = NULL };
	struct et_sip_reply reply = { .status = 481, .reason = "No", .to_tag = "x" };
	(void)state;
	et_sip_reply_write(view("BYE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP a;rport=1\r\n"
				"Record-Route: <sip:p>\r\nTo: <sip:b>;tag=y\r\n\r\n"),
			   &reply, &b);
	et_buffer_add8(&b, 0);
	assert_string_equal((char *)b.data, "SIP/2.0 481 No\r\nVia: SIP/2.0/UDP a;rport=1\r\n"
					    "To: <sip:b>;tag=y\r\nContent-Length: 0\r\n\r\n");
	et_buffer_release(&b);
}

static void lists_are_read_across_lines(void **state)
{
	struct et_view value;
	(void)state;
	assert_true(et_sip_header_has(view(request), "Require", "siprec"));
	assert_true(et_sip_header_has(view(request), "Require", "100REL"));
	assert_false(et_sip_header_has(view(request), "Require", "rel"));
	assert_false(et_sip_header(view(request), "body", 0, &value));
	assert_true(et_sip_header(view(request), "Via", 0, &value));
}

static void finds_the_parts_of_a_body(void **state)
{
	struct et_sip_part p[ET_SIP_PARTS_MAX];
	(void)state;
	uint32_t n =
		et_sip_parts(view("multipart/mixed; boundary=\"a-b\""),
			     view("preamble\r\n--a-b\r\nContent-Type: application/sdp\r\n\r\n"
				  "v=0\r\n--a-bx\r\n\r\n--a-b \r\n"
				  "content-type: application/rs-metadata+xml; charset=utf-8\r\n"
				  "Content-Disposition: recording-session\r\n\r\n<recording/>"
				  "\r\n--a-b--\r\nepilogue\r\n--a-b\r\n\r\nno"),
			     p, ET_SIP_PARTS_MAX);
	assert_int_equal(n, 2);
	assert_true(et_sip_is(p[0].type, "application/sdp"));
	assert_int_equal(p[0].body.size, strlen("v=0\r\n--a-bx\r\n"));
	assert_true(et_sip_is(p[1].type, "application/rs-metadata+xml"));
	assert_true(et_sip_is(p[1].disposition, "recording-session"));
	assert_true(et_sip_is(p[1].body, "<recording/>"));

	n = et_sip_parts(view("application/sdp;x=y"), view("v=0\r\n"), p, ET_SIP_PARTS_MAX);
	assert_int_equal(n, 1);
	assert_true(et_sip_is(p[0].type, "application/sdp"));
	assert_int_equal(et_sip_parts(view("application/sdp"), view(""), p, 1), 0);
	assert_int_equal(et_sip_parts(view("multipart/mixed;boundary=q"), view("no"), p, 1), 0);
	n = et_sip_parts(view("multipart/mixed;boundary=q"), view("--q\n\nx"), p, 1);
	assert_int_equal(n, 1); /* never closed */
	assert_true(et_sip_is(p[0].body, "x"));
}

static void answers_each_media_line_in_order(void **state)
{
	static const char offer[] = "v=0\r\no=src 1 1 IN IP4 10.0.0.1\r\ns=-\r\n"
				    "c=IN IP4 10.0.0.1\r\nt=3 4\r\n"
				    "m=audio 4000/2 RTP/AVP 0 96\r\na=rtpmap:96 opus/48000/2\r\n"
				    "a=fmtp:96 useinbandfec=1\r\na=label:1\r\na=sendonly\r\n"
				    "m=video 4002 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\n"
				    "m=audio 4004 RTP/SAVP 8\r\na=label:2\r\na=inactive\r\n";
	struct et_sdp sdp;
	struct et_buffer b = { .data = NULL };
	struct et_sdp_answer a = {
		.session = 5,
		.version = 6,
		.address = "10.0.0.9",
		.media = { { .port = 20000, .rtcp_mux = true },
			   { .port = 0 },
			   { .port = 20002, .inactive = true, .crypto = "1 X inline:y" } },
	};
	(void)state;
	assert_int_equal(et_sdp_parse(view(offer), &sdp), 0);
	assert_true(et_sip_is(sdp.media[2].label, "2"));
	et_sdp_answer_write(view(offer), &sdp, &a, &b);
	et_buffer_add8(&b, 0);
	assert_string_equal((char *)b.data,
			    "v=0\r\no=evertape 5 6 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\n"
			    "t=3 4\r\n"
			    "m=audio 20000 RTP/AVP 0 96\r\na=rtpmap:96 opus/48000/2\r\n"
			    "a=fmtp:96 useinbandfec=1\r\na=label:1\r\na=rtcp-mux\r\na=recvonly\r\n"
			    "m=video 0 RTP/AVP 97\r\n"
			    "m=audio 20002 RTP/SAVP 8\r\na=label:2\r\na=crypto:1 X inline:y\r\n"
			    "a=inactive\r\n");
	et_buffer_release(&b);
}

/* Lines that the parser takes for none are none here either: the answers would move to others. */
static void what_is_no_media_line_has_no_answer(void **state)
{
	static const char offer[] =
		"v=0\r\nt=0 0\r\nM=audio 1 RTP/AVP 0\r\n m=audio 2 RTP/AVP 0\r\n"
		"m=audio 4000 RTP/AVP 8\r\na=label:1\r\n";
	struct et_sdp sdp;
	struct et_buffer b = { .data = NULL };
	struct et_sdp_answer a = { .address = "10.0.0.9", .media = { { .port = 20000 } } };
	(void)state;
	assert_int_equal(et_sdp_parse(view(offer), &sdp), 0);
	assert_int_equal(sdp.media_count, 1);
	et_sdp_answer_write(view(offer), &sdp, &a, &b);
	et_buffer_add8(&b, 0);
	assert_non_null(strstr((char *)b.data, "\r\nm=audio 20000 RTP/AVP 8\r\na=label:1\r\n"));
	assert_null(strstr((char *)b.data, "AVP 0"));
	et_buffer_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reply_repeats_what_binds_it),
		cmocka_unit_test(a_tag_that_is_there_stays),
		cmocka_unit_test(lists_are_read_across_lines),
		cmocka_unit_test(finds_the_parts_of_a_body),
		cmocka_unit_test(answers_each_media_line_in_order),
		cmocka_unit_test(what_is_no_media_line_has_no_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
