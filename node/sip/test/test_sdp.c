/* Session descriptions: a call, a call with everything, hold, refusal, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/base/err.h"
#include "node/sip/sdp.h"

static struct et_view view(const char *text)
{
	return (struct et_view){ (const uint8_t *)text, strlen(text) };
}

static struct et_sdp parse(const char *text)
{
	struct et_sdp sdp;
	assert_int_equal(et_sdp_parse(view(text), &sdp), 0);
	return sdp;
}

#define assert_view(view, text)                                                                    \
	do {                                                                                       \
		assert_int_equal((view).size, strlen(text));                                       \
		assert_memory_equal((view).data, text, strlen(text));                              \
	} while (0)

static void reads_an_offer(void **state)
{
	(void)state;
	static const uint8_t session[16] = {
		[10] = 0xFF, [11] = 0xFF, [12] = 192, [13] = 0, [14] = 2, [15] = 1
	};
	static const uint8_t own[16] = { 0x20, 0x01, 0x0D, 0xB8, [15] = 2 };
	struct et_sdp sdp =
		parse("v=0\r\no=- 1 2 IN IP4 x\r\ns=-\r\nc=IN IP4 192.0.2.1/127\r\n"
		      "t=0 0\r\na=sendonly\r\n"
		      "m=audio 49170/2 RTP/AVP 0 8 96 101\r\n"
		      "a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n"
		      "a=ptime:20\r\na=rtcp:5000 IN IP4 192.0.2.9\r\n"
		      "a=ssrc:1234 cname:a\r\na=ssrc:1234 msid:b\r\na=ssrc:5\r\n"
		      "m=video 0 RTP/SAVP 31\r\nc=IN IP6 2001:db8::2\r\na=inactive\r\n"
		      "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc|2^20\r\n"
		      "m=image 5004 udptl t38\r\n");
	assert_int_equal(sdp.media_count, 3);
	const struct et_sdp_media *m = &sdp.media[0];
	assert_int_equal(m->kind, ET_SDP_AUDIO);
	assert_int_equal(m->port, 49170);
	assert_true(m->is_rtp && m->has_address && !m->is_srtp);
	assert_memory_equal(m->address, session, 16);
	assert_int_equal(m->direction, ET_SDP_SENDONLY);
	assert_int_equal(m->format_count, 4);
	assert_int_equal(m->formats[1].payload_type, 8);
	assert_int_equal(m->formats[1].name.size, 0);
	assert_view(m->formats[2].name, "opus");
	assert_int_equal(m->formats[2].clock_hz, 48000);
	assert_int_equal(m->formats[2].channels, 2);
	assert_int_equal(m->formats[3].channels, 1);
	assert_int_equal(m->ptime_ms, 20);
	assert_int_equal(m->rtcp_port, 5000);
	assert_int_equal(m->ssrc_count, 2);
	m = &sdp.media[1];
	assert_int_equal(m->port, 0);
	assert_true(m->is_srtp);
	assert_memory_equal(m->address, own, 16);
	assert_int_equal(m->direction, ET_SDP_INACTIVE);
	assert_view(m->crypto[0].suite, "AES_CM_128_HMAC_SHA1_80");
	assert_view(m->crypto[0].key, "inline:abc|2^20");
	m = &sdp.media[2];
	assert_int_equal(m->kind, ET_SDP_IMAGE);
	assert_false(m->is_rtp);
	assert_int_equal(m->format_count, 0);
}

static void a_fingerprint_of_the_session_is_for_all(void **state)
{
	(void)state;
	struct et_sdp sdp = parse("v=0\na=fingerprint:sha-256 AA:BB\nm=audio 1 RTP/AVP 0\n"
				  "m=audio 2 UDP/TLS/RTP/SAVPF 0\na=rtcp-mux\n");
	assert_true(sdp.media[0].is_srtp && sdp.media[1].is_srtp);
	assert_view(sdp.media[0].fingerprint, "sha-256 AA:BB");
	assert_true(sdp.media[1].rtcp_mux && sdp.media[1].is_rtp);
}

static uint32_t keys_of(const char *line, struct et_sdp_key keys[ET_SDP_KEYS_MAX])
{
	char text[1024];
	(void)snprintf(text, sizeof(text), "v=0\nm=audio 1 RTP/AVP 0\na=crypto:%s\n", line);
	struct et_sdp sdp = parse(text);
	assert_int_equal(sdp.media[0].crypto_count, 1);
	assert_true(sdp.media[0].is_srtp && !sdp.media[0].is_secure);
	return et_sdp_crypto_keys(&sdp.media[0].crypto[0], keys);
}

#define KEY_A "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz" /* RFC 4568, section 6.1 */
#define KEY_B "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"

static void crypto_lines_give_keys_with_lifetime_and_mki(void **state)
{
	(void)state;
	static const uint8_t mki[] = { 0, 0, 4, 42 };
	struct et_sdp_key keys[ET_SDP_KEYS_MAX];

	assert_int_equal(keys_of("1 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A
				 "|2^20|1066:4;inline:" KEY_B "|2^20|2:1 FEC_ORDER=FEC_SRTP",
				 keys),
			 2);
	assert_int_equal(keys[0].material_size, 30);
	assert_memory_equal(keys[0].material, "YS___semctl () {\t220;}\n}\nunles", 30);
	assert_int_equal(keys[0].mki_size, 4);
	assert_memory_equal(keys[0].mki, mki, 4);
	assert_int_equal(keys[1].mki_size, 1);
	assert_int_equal(keys[1].mki[0], 2);
	assert_memory_equal(keys[1].material, "=-n@%^x!Bjufr9)?,#5h\\`=&]{qiPQ", 30);
	/* GCM with '+', '/' and padding; MKI without lifetime; neither. */
	assert_int_equal(
		keys_of("2 AEAD_AES_128_GCM inline:+/+/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
			keys),
		0);
	assert_int_equal(
		keys_of("2 AEAD_AES_128_GCM inline:+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==|7:2",
			keys),
		1);
	assert_int_equal(keys[0].material[0], 0xFB);
	assert_int_equal(keys[0].material[1], 0xFF);
	assert_int_equal(keys[0].mki_size, 2);
	assert_int_equal(keys_of("3 X inline:" KEY_A "|2^31", keys), 1);
	assert_int_equal(keys[0].mki_size, 0);
}

static void what_cannot_be_opened_gives_no_key(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"1 AES_CM_128_HMAC_SHA1_80",
		"1 AES_CM_128_HMAC_SHA1_80 inline:",
		"1 AES_CM_128_HMAC_SHA1_80 inline:=",
		"1 AES_CM_128_HMAC_SHA1_80 inline:a*b",
		"1 AES_CM_128_HMAC_SHA1_80 uri:" KEY_A,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A KEY_A,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A "|1:",
		"1 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A "|1:17",
		"1 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A "|256:1",
		"1 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A "|x:1",
		"1 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A " UNENCRYPTED_SRTP",
		"1 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A " WSH=64 UNAUTHENTICATED_SRTP",
		"1 AES_CM_128_HMAC_SHA1_80 inline:" KEY_A " KDR=4",
	};
	struct et_sdp_key keys[ET_SDP_KEYS_MAX];

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		assert_int_equal(keys_of(lines[i], keys), 0);
	}
	assert_int_equal(keys_of("1 X inline:" KEY_A " KDR=0 UNENCRYPTED_SRTCP", keys), 1);
	assert_int_equal(keys_of("1 X inline:" KEY_A ";inline:" KEY_A ";inline:" KEY_A
				 ";inline:" KEY_A ";inline:" KEY_A,
				 keys),
			 ET_SDP_KEYS_MAX);
}

static void nonsense_is_no_address_and_no_number(void **state)
{
	(void)state;
	struct et_sdp sdp = parse("v=0\nc=IN IP4 host.example\nm=audio 99999 RTP/AVP 0 128 x 0\n"
				  "a=rtpmap:300 x/1\na=rtpmap:97 y/99999999999\na=ssrc:zz\n"
				  "m=\nm=audio\nq\n=\n");
	assert_false(sdp.media[0].has_address);
	assert_int_equal(sdp.media[0].port, 0);
	assert_int_equal(sdp.media[0].format_count, 2); /* 0, and 97 of its rtpmap */
	assert_int_equal(sdp.media[0].formats[1].clock_hz, 0);
	assert_int_equal(sdp.media_count, 3);
}

static void what_does_not_fit_is_clipped(void **state)
{
	(void)state;
	static char text[16 * 1024];
	size_t n = (size_t)snprintf(text, sizeof(text), "v=0\nc=IN IP4 192.0.2.1\n");
	for (int i = 0; i < 3 * ET_SDP_MEDIA_MAX; i++) {
		n += (size_t)snprintf(text + n, sizeof(text) - n, "m=audio %d RTP/AVP", 1000 + i);
		for (int k = 0; k < 128; k++) {
			n += (size_t)snprintf(text + n, sizeof(text) - n, " %d", k);
		}
		n += (size_t)snprintf(text + n, sizeof(text) - n, "\nc=IN IP4 192.0.2.%d\n", i);
	}
	struct et_sdp sdp = parse(text);
	assert_int_equal(sdp.media_count, ET_SDP_MEDIA_MAX);
	assert_int_equal(sdp.media[0].format_count, ET_SDP_FORMATS_MAX);
	assert_true(sdp.clipped);
	/* Lines of a section that did not fit are not taken for another's. */
	assert_int_equal(sdp.media[ET_SDP_MEDIA_MAX - 1].address[15], ET_SDP_MEDIA_MAX - 1);
}

static void finds_it_in_a_multipart_body(void **state)
{
	(void)state;
	struct et_view found;
	const char *body = "--b\r\nContent-Type: application/isup\r\n\r\n\x01\x02\r\n"
			   "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=x\r\n--b--\r\n";
	assert_true(et_sdp_find(view("multipart/mixed;boundary=b"), view(body), &found));
	assert_view(found, "v=0\r\ns=x\r\n");
	assert_false(et_sdp_find(view("text/plain"), view("hello v=0"), &found));
	assert_true(et_sdp_find(view(""), view("\r\nv=0\r\n"), &found));
	struct et_sdp sdp;
	assert_int_equal(et_sdp_parse(view("s=x"), &sdp), ET_EMALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_an_offer),
		cmocka_unit_test(a_fingerprint_of_the_session_is_for_all),
		cmocka_unit_test(crypto_lines_give_keys_with_lifetime_and_mki),
		cmocka_unit_test(what_cannot_be_opened_gives_no_key),
		cmocka_unit_test(nonsense_is_no_address_and_no_number),
		cmocka_unit_test(what_does_not_fit_is_clipped),
		cmocka_unit_test(finds_it_in_a_multipart_body),
	};
	return cmocka_run_group_tests_name("node/sip/sdp", tests, NULL, NULL);
}
