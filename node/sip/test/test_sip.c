/* SIP messages: as real stacks send them, compact and folded ones, and such as nobody should send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/base/err.h"
#include "node/sip/sip.h"

static struct et_sip parse(const char *text)
{
	struct et_sip m;
	assert_true(et_sip_probe((const uint8_t *)text, strlen(text)));
	assert_int_equal(et_sip_parse((const uint8_t *)text, strlen(text), &m), 0);
	return m;
}

#define assert_view(view, text)                                                                    \
	do {                                                                                       \
		assert_int_equal((view).size, strlen(text));                                       \
		assert_memory_equal((view).data, text, strlen(text));                              \
	} while (0)

static void reads_an_invite(void **state)
{
	(void)state;
	struct et_sip m =
		parse("INVITE sip:bob@biloxi.com SIP/2.0\r\n"
		      "Via: SIP/2.0/UDP pc33.atlanta.com:5060;branch=z9hG4bK776;rport\r\n"
		      "Via: SIP/2.0/UDP other;branch=z9hG4bKno\r\n"
		      "Max-Forwards: 70\r\n"
		      "To: Bob <sip:bob@biloxi.com>\r\n"
		      "From: \"Alice, \\\"A\\\" <x>\" <sip:+420123;phone-context=e@atlanta.com;"
		      "user=phone>;tag=1928301774\r\n"
		      "Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n"
		      "CSeq: 314159 INVITE\r\n"
		      "Contact: <sip:alice@pc33.atlanta.com>\r\n"
		      "User-Agent: test\r\n"
		      "Content-Type: application/sdp\r\n"
		      "Content-Length: 4\r\n\r\nv=0\nxxx");
	assert_true(m.is_request);
	assert_int_equal(m.method, ET_SIP_INVITE);
	assert_view(m.request_uri, "sip:bob@biloxi.com");
	assert_view(m.via_branch, "z9hG4bK776");
	assert_view(m.from.user, "+420123");
	assert_view(m.from.tag, "1928301774");
	assert_view(m.from.display, "Alice, \\\"A\\\" <x>");
	assert_view(m.to.display, "Bob");
	assert_view(m.to.user, "bob");
	assert_int_equal(m.to.tag.size, 0);
	assert_view(m.call_id, "a84b4c76e66710@pc33.atlanta.com");
	assert_int_equal(m.cseq, 314159);
	assert_view(m.content_type, "application/sdp");
	assert_view(m.body, "v=0\n");
	assert_false(m.truncated);
	assert_int_equal(m.header_count, 11);
}

static void reads_compact_folded_and_odd_ones(void **state)
{
	(void)state;
	struct et_sip m = parse("\r\n\r\nSIP/2.0 180\tRinging there\n"
				"v :SIP/2.0/UDP h;branch = z9\n"
				"f:\n sip:a@b ;\n tag=x1\n"
				"T: tel:+1-201-555;phone-context=c;tag=y\n"
				"i:\r\n\tabc@def  \n"
				"CSEQ  :  7 \n INVITE\n"
				"l: 0\n\n");
	assert_false(m.is_request);
	assert_int_equal(m.status, 180);
	assert_int_equal(m.method, ET_SIP_INVITE);
	assert_view(m.via_branch, "z9");
	assert_view(m.from.user, "a");
	assert_view(m.from.tag, "x1");
	assert_view(m.to.user, "+1-201-555");
	assert_view(m.call_id, "abc@def");
	assert_int_equal(m.cseq, 7);
}

static void says_what_is_cut(void **state)
{
	(void)state;
	struct et_sip m =
		parse("BYE sip:a@b SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 99\r\n\r\nabc");
	assert_true(m.truncated);
	assert_view(m.body, "abc");
	m = parse("BYE sip:a@b SIP/2.0\r\nCall-ID: 1\r\nCSe");
	assert_true(m.truncated);
	assert_view(m.call_id, "1");
	assert_int_equal(m.body.size, 0);
}

static void keeps_unknown_methods(void **state)
{
	(void)state;
	struct et_sip m = parse("!interesting-Method0123456789_*+`.%t'~ sip:x SIP/2.0\r\n\r\n");
	assert_int_equal(m.method, ET_SIP_UNKNOWN);
	assert_int_equal(m.method_text.size, 38);
}

static void refuses_what_is_not_sip(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"SIP/2.0 \r\n\r\n",
		"SIP/2.0 99 Low\r\n\r\n",
		"SIP/2.0 700 High\r\n\r\n",
		"SIP/2.0 2x0 No\r\n\r\n",
		"SIP/2.0200 OK\r\n\r\n",
		"INVITE SIP/2.0\r\n\r\n",
		"INVITE sip:a SIP/3.0\r\n\r\n",
		"INVITE sip:a SIP/2.0x\r\n\r\n",
		("A-Method-Of-Far-More-Than-Sixty-Four-Characters-Is-Not-What-Anybody-Sends sip:a "
		 "SIP/2.0\r\n\r\n"),
		"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n",
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		struct et_sip m = { .status = 4711 };
		assert_false(et_sip_probe((const uint8_t *)texts[i], strlen(texts[i])));
		assert_int_equal(et_sip_parse((const uint8_t *)texts[i], strlen(texts[i]), &m),
				 ET_EMALFORMED);
		assert_int_equal(m.status, 4711);
	}
}

static void stops_at_too_many_headers(void **state)
{
	(void)state;
	static char text[64 * 1024];
	size_t n = (size_t)snprintf(text, sizeof(text), "OPTIONS sip:a SIP/2.0\r\n");
	for (int i = 0; i < 2 * ET_SIP_HEADERS_MAX; i++) {
		n += (size_t)snprintf(text + n, sizeof(text) - n, "X: y\r\n");
	}
	(void)snprintf(text + n, sizeof(text) - n, "Call-ID: far\r\n\r\n");
	struct et_sip m = parse(text);
	assert_int_equal(m.header_count, ET_SIP_HEADERS_MAX);
	assert_true(m.truncated);
	assert_int_equal(m.call_id.size, 0);
}

static void never_tells_a_password(void **state)
{
	(void)state;
	struct et_view v = { (const uint8_t *)"<sip:alice:secret@h>", 20 };
	assert_view(et_sip_party(v).user, "alice");

	/* Quotes that do not close, as some send them. */
	static const char broken[] = "\\\"arik\\\" <sip:816666@x>;tag=6433";
	struct et_sip_party p =
		et_sip_party((struct et_view){ (const uint8_t *)broken, sizeof(broken) - 1 });
	assert_view(p.user, "816666");
	assert_view(p.tag, "6433");
}

static void finds_a_header_by_name(void **state)
{
	static const char text[] = "INVITE sip:bob@b SIP/2.0\r\n"
				   "v: SIP/2.0/UDP one\r\n"
				   "x-queue : sales\r\n"
				   " and more\r\n"
				   "Via: SIP/2.0/UDP two\r\n"
				   "X-Queue:support\n"
				   "Call-ID: 1\r\n"
				   "\r\n"
				   "X-Body: not a header\r\n";
	struct et_view message = { (const uint8_t *)text, sizeof(text) - 1 };
	struct et_view v;
	(void)state;
	assert_true(et_sip_header(message, "X-Queue", 0, &v));
	assert_view(v, "sales\r\n and more");
	assert_true(et_sip_header(message, "X-QUEUE", 1, &v));
	assert_view(v, "support");
	assert_false(et_sip_header(message, "X-Queue", 2, &v));
	assert_true(et_sip_header(message, "Via", 0, &v));
	assert_view(v, "SIP/2.0/UDP one");
	assert_true(et_sip_header(message, "v", 1, &v));
	assert_view(v, "SIP/2.0/UDP two");
	assert_false(et_sip_header(message, "X-Body", 0, &v));
	assert_false(et_sip_header((struct et_view){ message.data, 0 }, "Via", 0, &v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_an_invite),
		cmocka_unit_test(reads_compact_folded_and_odd_ones),
		cmocka_unit_test(says_what_is_cut),
		cmocka_unit_test(keeps_unknown_methods),
		cmocka_unit_test(refuses_what_is_not_sip),
		cmocka_unit_test(stops_at_too_many_headers),
		cmocka_unit_test(never_tells_a_password),
		cmocka_unit_test(finds_a_header_by_name),
	};
	return cmocka_run_group_tests_name("node/sip/sip", tests, NULL, NULL);
}
