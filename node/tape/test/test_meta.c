#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "node/crypto/hash.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"

#define T INT64_C(1700000000000000)

static void assert_text(struct et_view v, const char *text)
{
	assert_int_equal(v.size, strlen(text));
	assert_memory_equal(v.data, text, v.size);
}

static void add_all(struct et_buffer *b)
{
	struct et_meta_item i = { .type = ET_META_STREAM };
	i.stream.stream = 63;
	i.stream.ssrc = 0xDEADBEEF;
	i.stream.party = 1;
	i.stream.payload_type = 8;
	i.stream.channels = 1;
	i.stream.clock_rate = 8000;
	i.stream.codec = et_view_of("PCMA");
	i.stream.src = et_view_of("[2001:db8::1]:4000");
	i.stream.dst = et_view_of("192.0.2.2:5000");
	i.stream.srtp = et_view_of("AEAD_AES_128_GCM");
	assert_int_equal(et_meta_add(b, &i), 0);
	i = (struct et_meta_item){ .type = ET_META_CODEC };
	i.codec.stream = 63;
	i.codec.payload_type = 101;
	i.codec.clock_rate = 8000;
	i.codec.codec = et_view_of("telephone-event");
	i.codec.fmtp = et_view_of("0-15");
	assert_int_equal(et_meta_add(b, &i), 0);
	i = (struct et_meta_item){ .type = ET_META_SDP };
	i.sdp.time_us = T;
	i.sdp.party = 1;
	i.sdp.text = et_view_of("v=0\r\n");
	assert_int_equal(et_meta_add(b, &i), 0);
	i = (struct et_meta_item){ .type = ET_META_SIP };
	i.sip.time_us = -T;
	i.sip.src = et_view_of("a");
	i.sip.dst = et_view_of("");
	i.sip.text = et_view_of("BYE sip:x SIP/2.0\r\n\r\n");
	assert_int_equal(et_meta_add(b, &i), 0);
	i = (struct et_meta_item){ .type = ET_META_FACT };
	i.fact.time_us = T + 1;
	i.fact.party = 255;
	i.fact.key = et_view_of("agent");
	i.fact.value = et_view_of("42");
	assert_int_equal(et_meta_add(b, &i), 0);
	i = (struct et_meta_item){ .type = ET_META_MARK };
	i.mark.what = ET_MARK_GAP;
	i.mark.from_us = T;
	i.mark.to_us = T + 5;
	i.mark.cause = et_view_of("recorder-restart");
	assert_int_equal(et_meta_add(b, &i), 0);
	assert_false(b->failed);
}

static void every_item_comes_back(void **state)
{
	struct et_buffer b = { 0 };
	struct et_meta_reader r;
	struct et_meta_item i;

	(void)state;
	add_all(&b);
	assert_int_equal(et_meta_reader_init(&r, (struct et_view){ b.data, b.size }, NULL), 0);
	assert_int_equal(et_meta_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.type, ET_META_STREAM);
	assert_int_equal(i.stream.stream, 63);
	assert_int_equal(i.stream.ssrc, 0xDEADBEEF);
	assert_int_equal(i.stream.party, 1);
	assert_int_equal(i.stream.payload_type, 8);
	assert_int_equal(i.stream.clock_rate, 8000);
	assert_text(i.stream.codec, "PCMA");
	assert_text(i.stream.src, "[2001:db8::1]:4000");
	assert_text(i.stream.dst, "192.0.2.2:5000");
	assert_text(i.stream.srtp, "AEAD_AES_128_GCM");
	assert_int_equal(et_meta_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.type, ET_META_CODEC);
	assert_int_equal(i.codec.payload_type, 101);
	assert_text(i.codec.codec, "telephone-event");
	assert_text(i.codec.fmtp, "0-15");
	assert_int_equal(et_meta_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.sdp.time_us, T);
	assert_text(i.sdp.text, "v=0\r\n");
	assert_int_equal(et_meta_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.sip.time_us, -T);
	assert_text(i.sip.dst, "");
	assert_text(i.sip.text, "BYE sip:x SIP/2.0\r\n\r\n");
	assert_int_equal(et_meta_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.fact.party, 255);
	assert_text(i.fact.value, "42");
	assert_int_equal(et_meta_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.mark.what, ET_MARK_GAP);
	assert_int_equal(i.mark.to_us, T + 5);
	assert_text(i.mark.cause, "recorder-restart");
	assert_int_equal(et_meta_reader_next(&r, &i, NULL), 0);
	et_buffer_release(&b);
}

static void what_a_later_version_adds_is_passed_over(void **state)
{
	/* An item of type 99, then a mark with three more bytes behind its cause. */
	static const uint8_t plain[] = { 1,  99, 2, 0xAA, 0xBB, ET_META_MARK,
					 21, 3,	 0, 0,	  0,	0,
					 0,  0,	 0, 1,	  0,	0,
					 0,  0,	 0, 0,	  0,	2,
					 0,  7,	 8, 9 };
	struct et_meta_reader r;
	struct et_meta_item i;

	(void)state;
	assert_int_equal(et_meta_reader_init(&r, (struct et_view){ plain, sizeof(plain) }, NULL),
			 0);
	assert_int_equal(et_meta_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.type, 99);
	assert_int_equal(i.raw.size, 2);
	assert_memory_equal(i.raw.data, "\xAA\xBB", 2);
	assert_int_equal(et_meta_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.mark.what, ET_MARK_GAP);
	assert_int_equal(i.mark.from_us, 1);
	assert_int_equal(i.mark.to_us, 2);
	assert_int_equal(i.raw.size, 21);
	assert_int_equal(et_meta_reader_next(&r, &i, NULL), 0);
}

static void every_truncation_is_refused(void **state)
{
	struct et_buffer b = { 0 };
	struct et_meta_reader r;
	struct et_meta_item i;
	int whole = 0;

	(void)state;
	add_all(&b);
	for (size_t size = 0; size < b.size; size++) {
		uint8_t *exact = malloc(size + 1); /* So that a sanitizer sees the edge. */
		assert_non_null(exact);
		memcpy(exact, b.data, size);
		int rc = et_meta_reader_init(&r, (struct et_view){ exact, size }, NULL);
		while (rc == 0 && (rc = et_meta_reader_next(&r, &i, NULL)) == 1) {
			rc = 0;
		}
		assert_true(rc == 0 || rc == ET_EMALFORMED);
		whole += rc == 0;
		free(exact);
	}
	assert_int_equal(whole,
			 6); /* Only where an item ends: behind the version and five items. */
	b.data[0] = 2;
	assert_int_equal(et_meta_reader_init(&r, (struct et_view){ b.data, b.size }, NULL),
			 ET_EVERSION);
	et_buffer_release(&b);
}

static void refuses_what_cannot_be_read_back(void **state)
{
	struct et_buffer b = { 0 };
	uint8_t *text = calloc(1, ET_META_TEXT_MAX + 1);
	struct et_meta_item i = { .type = ET_META_SDP };

	(void)state;
	assert_non_null(text);
	i.sdp.text = (struct et_view){ text, ET_META_TEXT_MAX + 1 };
	assert_int_equal(et_meta_add(&b, &i), -EINVAL);
	i.sdp.text.size--;
	assert_int_equal(et_meta_add(&b, &i), 0);
	i = (struct et_meta_item){ .type = ET_META_STREAM };
	i.stream.stream = ET_MEDIA_STREAMS_MAX;
	assert_int_equal(et_meta_add(&b, &i), -EINVAL);
	i.stream.stream = 256; /* Would be 0 in a byte. */
	assert_int_equal(et_meta_add(&b, &i), -EINVAL);
	i = (struct et_meta_item){ .type = 7 };
	assert_int_equal(et_meta_add(&b, &i), -EINVAL);
	i.type = 0;
	assert_int_equal(et_meta_add(&b, &i), -EINVAL);
	free(text);
	et_buffer_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_item_comes_back),
		cmocka_unit_test(what_a_later_version_adds_is_passed_over),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(refuses_what_cannot_be_read_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
