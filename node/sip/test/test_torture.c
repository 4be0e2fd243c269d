/* The 49 messages of RFC 4475, "Session Initiation Protocol (SIP) Torture Test Messages", sections
 * 3.1.1.1 to 3.4.1, by their names there: what somebody who listens makes of each, as a datagram
 * and on a stream.
 *
 * torture/NAME is the message bit by bit, as the RFC's text and its appendix A state it (where the
 * two differ, which is in line ends of dblreq and mpart01 and in a host name of trws, the appendix;
 * baddn with the empty line that the appendix lacks). The RFC says what an endpoint or a proxy has
 * to do; one who listens answers nothing, and the call goes on or not without him. So what an
 * endpoint could make sense of is read, and what it would refuse is read where there is one way to:
 * a refusal that follows is seen, and ends the call. Only what is no message of SIP/2.0 is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/err.h"
#include "node/sip/framer.h"
#include "node/sip/sip.h"

#define NO_CSEQ UINT32_MAX

enum { TEXT_SIZE_MAX = 8192 };

struct torture {
	const char *name;
	const char *section;
	uint16_t status; /* 0: a request */
	enum et_sip_method method;
	const char *call_id; /* ...* : begins so, and is longer */
	uint32_t cseq;
	const char *from;
	const char *from_tag;
	const char *to;
	const char *to_tag;
	size_t body;
	uint32_t framed; /* messages that a stream of it gives */
	bool refused;
	bool truncated;
	bool bad_length;
	const char *why;
};

/* clang-format off */
static const struct torture messages[] = {
	{ "wsinv", "3.1.1.1", 0, ET_SIP_INVITE, "wsinv.ndaksdj@192.0.2.1", 9, "jdrosen", "98asjd8", "vivekg", "1918181833n", 150, 1, .why = "folded, odd white space, escapes in quotes: all of it is read" },
	{ "intmeth", "3.1.1.2", 0, ET_SIP_UNKNOWN, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{", 139122385, "mundane", "_token~1'+`*%!-.", "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*", "", 0, 1, .why = "an unknown method is kept as such; NUL, ; and ? are in the names" },
	{ "esc01", "3.1.1.3", 0, ET_SIP_INVITE, "esc01.239409asdfakjkn23onasd0-3234", 234234, "I%20have%20spaces", "938", "%75se%72", "", 150, 1, .why = "escapes stay in views; the engine takes them off names" },
	{ "escnull", "3.1.1.4", 0, ET_SIP_REGISTER, "escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd", 14398234, "null-%00-null", "839923423", "null-%00-null", "", 0, 1, .why = "an escaped NUL does not cut a name" },
	{ "esc02", "3.1.1.5", 0, ET_SIP_UNKNOWN, "esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf", 29344, "resource", "f232jadfj23", "resource", "", 0, 1, .why = "IN%56ITE and C%6Fntact are not what they unescape to" },
	{ "lwsdisp", "3.1.1.6", 0, ET_SIP_OPTIONS, "lwsdisp.1234abcd@funky.example.com", 60, "caller", "323", "user", "", 0, 1, .why = "a mistake of the grammar of RFC 3261" },
	{ "longreq", "3.1.1.7", 0, ET_SIP_INVITE, "longreq.onereallyreallyreallyreallyreall*", 3882340, "amazinglylongcallernameamazinglylongcall*", "1298298298298298298298298298298298298298*", "user", "", 150, 1, .why = "nothing is too long for a view; two tags that share their front differ" },
	{ "dblreq", "3.1.1.8", 0, ET_SIP_REGISTER, "dblreq.0ha0isndaksdj99sdfafnl3lk233412", 8, "j.user", "43251j3j324", "j.user", "", 0, 2, .why = "a datagram is one message, what follows is noise; a stream goes on with the next, whose length is 3 bytes short" },
	{ "semiuri", "3.1.1.9", 0, ET_SIP_OPTIONS, "semiuri.0ha0isndaksdj", 8, "caller", "33242", "j_user", "", 0, 1, .why = "its parameters are in the Request-URI only" },
	{ "transports", "3.1.1.10", 0, ET_SIP_OPTIONS, "transports.kijh4akdnaqjkwendsasfdj", 60, "caller", "323", "user", "", 0, 1, .why = "Via is not looked at" },
	{ "mpart01", "3.1.1.11", 0, ET_SIP_MESSAGE, "3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..", 1, "fluffy", "2fb0dcc9", "kumiko", "", 553, 1, .why = "NULs in the body: its length counts" },
	{ "unreason", "3.1.1.12", 200, ET_SIP_INVITE, "unreason.1234ksdfak3j2erwedfsASdf", 35, "user", "11141343", "user", "2229", 154, 1, .why = "a call joined in its middle" },
	{ "noreason", "3.1.1.13", 100, ET_SIP_INVITE, "noreason.asndj203insdf99223ndf", 35, "user", "39ansfi3", "user", "902jndnke3", 0, 1, .why = "a call joined in its middle" },
	{ "badinv01", "3.1.2.1", 0, ET_SIP_INVITE, "badinv01.0ha0isndaksdjasdf3234nas", 8, "caller", "134161461246", "j.user", "", 152, 1, .why = "an endpoint says 400; who hears it need not: nothing that counts is unclear" },
	{ "clerr", "3.1.2.2", 0, ET_SIP_INVITE, "clerr.0ha0isndaksdjweiafasdk3", 8, "caller", "93942939o2", "j.user", "", 154, 0, .truncated = true, .why = "a datagram ends; a stream waits (the caller: 30 s), there is no better" },
	{ "ncl", "3.1.2.3", 0, ET_SIP_INVITE, "ncl.0ha0isndaksdj2193423r542w35", 0, "caller", "32394234", "j.user", "", 152, 1, .bad_length = true, .why = "no length at all: to the end of the datagram, to the next start line of the stream" },
	{ "scalar02", "3.1.2.4", 0, ET_SIP_REGISTER, "scalar02.23o0pd9vanlq3wnrlnewofjas9ui32", NO_CSEQ, "user", "239232jh3", "user", "", 0, 1, .why = "no CSeq rather than a wrong one" },
	{ "scalarlg", "3.1.2.5", 503, ET_SIP_OPTIONS, "scalarlg.noase0of0234hn2qofoaf0232aewf2394r", NO_CSEQ, "other", "2easdjfejw", "user", "", 0, 1, .why = "no CSeq rather than a wrong one; its method is good" },
	{ "quotbal", "3.1.2.6", 0, ET_SIP_INVITE, "quotbal.aksdj", 8, "caller", "93334", "j.user", "", 152, 1, .why = "the quote is taken as closed before <" },
	{ "ltgtruri", "3.1.2.7", 0, ET_SIP_INVITE, "ltgtruri.1@192.0.2.5", 1, "caller", "39291", "user", "", 159, 1, .why = "the brackets stay in the URI, which names nobody here" },
	{ "lwsruri", "3.1.2.8", 0, ET_SIP_INVITE, "lwsruri.asdfasdoeoi2323-asdfwrn23-asd834rk423", 2130706432, "caller", "231413434", "user", "3xfe-9921883-z9f", 159, 1, .why = "the space stays in the URI, which names nobody here" },
	{ "lwsstart", "3.1.2.9", 0, ET_SIP_INVITE, "lwsstart.dfknq234oi243099adsdfnawe3@example.com", 1893884, "caller", "8814", "user", "", 150, 1, .why = "spaces are no part of the URI" },
	{ "trws", "3.1.2.10", 0, ET_SIP_OPTIONS, "trws.oicu34958239neffasdhr2345r", 238923, "local-resource", "329429089", "remote-target", "", 0, 1, .why = "spaces at the end of a line are nothing" },
	{ "escruri", "3.1.2.11", 0, ET_SIP_INVITE, "escruri.23940-asdfhj-aje3br-234q098w-fawerh2q-h4n5", 149209342, "caller", "341518", "user", "", 150, 1, .why = "nothing in a URI becomes a header" },
	{ "baddate", "3.1.2.12", 0, ET_SIP_INVITE, "baddate.239423mnsadf3j23lj42--sedfnm234", 1392934, "caller", "2234923", "user", "", 150, 1, .why = "Date is not looked at" },
	{ "regbadct", "3.1.2.13", 0, ET_SIP_REGISTER, "regbadct.k345asrl3fdbv@10.0.0.1", 1, "user", "998332", "user", "", 0, 1, .why = "Contact names nobody here" },
	{ "badaspec", "3.1.2.14", 0, ET_SIP_OPTIONS, "badaspec.sdf0234n2nds0a099u23h3hnnw009cdkne3", 3923239, "a.g.bell", "433423", "t.watson", "", 0, 1, .why = "spaces inside < > are no part of it" },
	{ "baddn", "3.1.2.15", 0, ET_SIP_OPTIONS, "baddn.31415@c.example.com", 3923239, "a.g.bell", "43", "t.watson", "", 0, 1, .why = "what stands before < is a name" },
	{ "badvers", "3.1.2.16", .refused = true, .why = "SIP/7.0 is not what is read here" },
	{ "mismatch01", "3.1.2.17", 0, ET_SIP_OPTIONS, "mismatch01.dj0234sxdfl3", 8, "caller", "34525", "j.user", "", 0, 1, .why = "a request is what its start line says: no call" },
	{ "mismatch02", "3.1.2.18", 0, ET_SIP_UNKNOWN, "mismatch02.dj0234sxdfl3", 8, "caller", "34525", "j.user", "", 138, 1, .why = "so no call, though there is a description" },
	{ "bigcode", "3.1.2.19", .refused = true, .why = "no status: dropped, as the RFC has it" },
	{ "badbranch", "3.2.1", 0, ET_SIP_OPTIONS, "badbranch.sadonfo23i420jv0as0derf3j3n", 8, "caller", "33242", "user", "", 0, 1, .why = "transactions are not told by branches" },
	{ "insuf", "3.3.1", 0, ET_SIP_INVITE, "", 193942, "", "", "", "", 152, 1, .why = "read, and without a Call-ID of no call" },
	{ "unkscm", "3.3.2", 0, ET_SIP_OPTIONS, "unkscm.nasdfasser0q239nwsdfasdkl34", 3923423, "caller", "384", "user", "", 0, 1, .why = "the Request-URI names nobody here" },
	{ "novelsc", "3.3.3", 0, ET_SIP_OPTIONS, "novelsc.asdfasser0q239nwsdfasdkl34", 3923423, "caller", "384", "user", "", 0, 1, .why = "the Request-URI names nobody here" },
	{ "unksm2", "3.3.4", 0, ET_SIP_REGISTER, "unksm2.daksdj@hyphenated-host.example.com", 234902, "http://www.example.com", "3234233", "isbn:2983792873", "", 0, 1, .why = "a URI that is not SIP names itself" },
	{ "bext01", "3.3.5", 0, ET_SIP_OPTIONS, "bext01.0ha0isndaksdj", 8, "caller", "242etr", "j_user", "", 0, 1, .why = "what is required is between others" },
	{ "invut", "3.3.6", 0, ET_SIP_INVITE, "invut.0ha0isndaksdjadsfij34n23d", 235448, "caller", "8392034", "j.user", "", 40, 1, .why = "a call without a description that is read" },
	{ "regaut01", "3.3.7", 0, ET_SIP_REGISTER, "regaut01.0ha0isndaksdj", 9338, "j.user", "87321hj23128", "j.user", "", 0, 1, .why = "credentials are between others" },
	{ "multi01", "3.3.8", 0, ET_SIP_INVITE, "multi01.98asdh@192.0.2.1", 5, "caller", "3413415", "user", "", 154, 1, .why = "the first of each counts" },
	{ "mcl01", "3.3.9", 0, ET_SIP_OPTIONS, "mcl01.fhn2323orihawfdoa3o4r52o3irsdf", 15932, "other", "3923942", "user", "", 67, 1, .bad_length = true, .why = "two lengths are none, as with ncl" },
	{ "bcast", "3.3.10", 200, ET_SIP_INVITE, "bcast.0384840201234ksdfak3j2erwedfsASdf", 35, "user", "11141343", "user", "2229", 154, 1, .why = "an endpoint drops it for its Via; who hears it cannot know whose it is" },
	{ "zeromf", "3.3.11", 0, ET_SIP_OPTIONS, "zeromf.jfasdlfnm2o2l43r5u0asdfas", 39234321, "caller", "3ghsd41", "user", "", 0, 1, .why = "it arrived here" },
	{ "cparam01", "3.3.12", 0, ET_SIP_REGISTER, "cparam01.70710@saturn.example.com", 2, "watson", "DkfVgjkrtMwaerKKpe", "watson", "", 0, 1, .why = "a registration is no call" },
	{ "cparam02", "3.3.13", 0, ET_SIP_REGISTER, "cparam02.70710@saturn.example.com", 3, "watson", "838293", "watson", "", 0, 1, .why = "a registration is no call" },
	{ "regescrt", "3.3.14", 0, ET_SIP_REGISTER, "regescrt.k345asrl3fdbv@192.0.2.1", 14398234, "user", "8", "user", "", 0, 1, .why = "a registration is no call" },
	{ "sdp01", "3.3.15", 0, ET_SIP_INVITE, "sdp01.ndaksdj9342dasdd", 8, "caller", "234", "j_user", "", 150, 1, .why = "what is accepted is between others" },
	{ "inv2543", "3.4.1", 0, ET_SIP_INVITE, "inv2543.1717@ift.client.example.com", 56, "+13035551111", "", "+16505552222", "", 105, 1, .why = "no tag, no length: RFC 2543" },
};
/* clang-format on */

static size_t load(const char *name, uint8_t ret[TEXT_SIZE_MAX])
{
	char path[64];
	(void)snprintf(path, sizeof(path), "torture/%s", name);
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	size_t size = fread(ret, 1, TEXT_SIZE_MAX, f);
	(void)fclose(f);
	assert_true(size > 0 && size < TEXT_SIZE_MAX);
	return size;
}

static bool is(struct et_view view, const char *text)
{
	size_t size = strlen(text);
	if (size > 0 && text[size - 1] == '*' && view.size > size) {
		return memcmp(view.data, text, size - 1) == 0;
	}
	return view.size == size && (size == 0 || memcmp(view.data, text, size) == 0);
}

/* What of it is not as expected; NULL: nothing. */
static const char *differs(const struct torture *t, const struct et_sip *m, size_t size)
{
	return m->is_request != (t->status == 0) || m->status != t->status ? "start line"
	       : m->method != t->method					   ? "method"
	       : !is(m->call_id, t->call_id)				   ? "Call-ID"
	       : m->has_cseq != (t->cseq != NO_CSEQ)			   ? "CSeq"
	       : m->has_cseq && m->cseq != t->cseq			   ? "CSeq"
	       : !is(m->from.user, t->from)				   ? "From"
	       : !is(m->from.tag, t->from_tag)				   ? "tag of From"
	       : !is(m->to.user, t->to)					   ? "To"
	       : !is(m->to.tag, t->to_tag)				   ? "tag of To"
	       : m->body.size != t->body				   ? "body"
	       : m->truncated != t->truncated				   ? "truncated"
	       : m->bad_content_length != t->bad_length			   ? "Content-Length"
	       : m->message_size > size					   ? "size"
									   : NULL;
}

static void each_is_read_as_somebody_who_listens_has_to(void **state)
{
	(void)state;
	uint8_t text[TEXT_SIZE_MAX];
	assert_int_equal(ET_ARRAY_SIZE(messages), 49);
	for (size_t i = 0; i < ET_ARRAY_SIZE(messages); i++) {
		const struct torture *t = &messages[i];
		size_t size = load(t->name, text);
		uint8_t *copy = malloc(size); /* of its size: a read behind it is seen */
		struct et_sip m = { .status = 0 };
		assert_non_null(copy);
		memcpy(copy, text, size);
		assert_int_equal(et_sip_probe(copy, size), !t->refused);
		int rc = et_sip_parse(copy, size, &m);
		const char *wrong = (rc < 0) != t->refused ? "whether it is one"
				    : t->refused	   ? NULL
							   : differs(t, &m, size);
		if (wrong != NULL) {
			fail_msg("%s (%s): %s; expected is: %s", t->name, t->section, wrong,
				 t->why);
		}
		free(copy);
	}
}

static void on_message(void *arg, struct et_view m)
{
	struct et_sip parsed;
	assert_int_equal(et_sip_parse(m.data, m.size, &parsed), 0);
	(*(uint32_t *)arg)++;
}

/* Alone on a stream, in one piece and byte by byte. Then, behind it, a message that must not be
 * lost: but behind one that promises more than it has, where it is a part of that. */
static void each_is_framed(void **state)
{
	(void)state;
	static const char next[] = "\r\nOPTIONS sip:b@x SIP/2.0\r\nCall-ID: next\r\n"
				   "Content-Length: 0\r\n\r\n";
	uint8_t text[TEXT_SIZE_MAX];
	for (size_t i = 0; i < ET_ARRAY_SIZE(messages); i++) {
		const struct torture *t = &messages[i];
		size_t size = load(t->name, text);
		/* Without a length its end is what is here: that takes the piece as a whole. */
		bool no_length = t->bad_length || strcmp(t->name, "inv2543") == 0;
		for (size_t step = no_length ? size : 1; step <= size; step += size - 1) {
			struct et_framer_counts counts = { .messages = 0 };
			struct et_framer f = { .message_max = 65536, .counts = &counts };
			uint32_t count = 0;
			for (size_t at = 0; at < size; at += step) {
				size_t n = size - at < step ? size - at : step;
				(void)et_framer_feed(&f, text + at, n, on_message, &count);
			}
			if (count != t->framed) {
				fail_msg("%s (%s): %u messages of a stream in pieces of %zu",
					 t->name, t->section, count, step);
			}
			(void)et_framer_feed(&f, (const uint8_t *)next, sizeof(next) - 1,
					     on_message, &count);
			if (count != t->framed + (t->truncated ? 0 : 1)) {
				fail_msg("%s (%s): the next message is lost", t->name, t->section);
			}
			et_framer_release(&f);
		}
	}
}

/* A listener that took one of two lengths could be told that a message is in the body of another,
 * or that a part of a body is a message. */
static void of_two_lengths_none_counts(void **state)
{
	(void)state;
	static const struct {
		const char *headers;
		bool good;
	} cases[] = {
		{ "Content-Length: 4\r\nl: 4\r\n", true },
		{ "Content-Length: 4\r\nl: 5\r\n", false },
		{ "Content-Length: 4\r\nContent-Length: five\r\n", false },
		{ "Content-Length: 4, 4\r\n", false },
		{ "Content-Length: 4x\r\n", false },
		{ "Content-Length: +4\r\n", false },
		{ "Content-Length:\r\n", false },
		{ "Content-Length: -4\r\nContent-Length: 4\r\n", false },
		{ "Content-Length: 4294967300\r\n", false },
		{ "Content-Length: 0004\r\n", true },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		char text[256];
		struct et_sip m;
		int n = snprintf(text, sizeof(text), "INVITE sip:b@x SIP/2.0\r\n%s\r\nv=0\nmore",
				 cases[i].headers);
		assert_int_equal(et_sip_parse((const uint8_t *)text, (size_t)n, &m), 0);
		assert_int_equal(m.has_content_length, cases[i].good);
		assert_int_equal(m.bad_content_length, !cases[i].good);
		assert_int_equal(m.body.size, cases[i].good ? 4 : 8);
		assert_false(m.truncated);
	}
}

#define assert_text(view, text) assert_true(is(view, text))

static struct et_view view_of(const char *text)
{
	return (struct et_view){ (const uint8_t *)text, strlen(text) };
}

static void names_and_numbers_are_what_stands_for_them(void **state)
{
	(void)state;
	uint8_t out[32];
	assert_text(et_sip_party(view_of("<sip:user;par=u%40x@h>")).user, "user;par=u%40x");
	assert_text(et_sip_party(view_of("<sip:+420(123)45;phone-context=e@h>")).user,
		    "+420(123)45");
	assert_text(et_sip_party(view_of("<sip:%2B420123;isub=1@h;user=phone>")).user, "%2B420123");
	assert_text(et_sip_party(view_of("sip:what?/who@h;tag=1")).user, "what?/who");
	assert_text(et_sip_party(view_of("<sip:h;lr?a=b>")).user, "h");
	assert_text(et_sip_party(view_of("sip:a@h;tag=1, sip:b@h;tag=2")).tag, "1");
	assert_int_equal(et_sip_party(view_of("sip:a@h, sip:b@h;tag=2")).tag.size, 0);

	assert_int_equal(et_sip_unescape(view_of("%75se%72"), out, sizeof(out)), 4);
	assert_memory_equal(out, "user", 4);
	assert_int_equal(et_sip_unescape(view_of("a%00b"), out, sizeof(out)), 3);
	assert_memory_equal(out, "a\0b", 3);
	assert_int_equal(et_sip_unescape(view_of("value%25%34%31"), out, sizeof(out)), 8);
	assert_memory_equal(out, "value%41", 8); /* once, not again */
	assert_int_equal(et_sip_unescape(view_of("%Z%4%"), out, sizeof(out)), 5);
	assert_memory_equal(out, "%Z%4%", 5);
	assert_int_equal(et_sip_unescape(view_of("%41%42%43"), out, 2), 2);
	assert_memory_equal(out, "AB", 2);
}

static void the_topmost_via_alone_names_the_branch(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP "
		"b;branch=2\r\n\r\n",
		"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a, SIP/2.0/UDP b;branch=2\r\n\r\n",
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		struct et_sip m;
		assert_int_equal(et_sip_parse((const uint8_t *)texts[i], strlen(texts[i]), &m), 0);
		assert_int_equal(m.via_branch.size, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_read_as_somebody_who_listens_has_to),
		cmocka_unit_test(each_is_framed),
		cmocka_unit_test(of_two_lengths_none_counts),
		cmocka_unit_test(names_and_numbers_are_what_stands_for_them),
		cmocka_unit_test(the_topmost_via_alone_names_the_branch),
	};
	return cmocka_run_group_tests_name("node/sip/torture", tests, NULL, NULL);
}
