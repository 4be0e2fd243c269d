#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/srtp/feed.h"

#define RANDOM "abababababababababababababababababababababababababababababababab"
#define SECRET                                                                                     \
	"0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"                         \
	"2122232425262728292a2b2c2d2e2f30"
#define LOG_LINE "CLIENT_RANDOM " RANDOM " " SECRET
#define TABLE_LINE                                                                                 \
	"0x1234\tAES_CM_128_HMAC_SHA1_80\tAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e\tcaller"

struct seen {
	struct et_keylog *keylog;
	struct et_srtp_ring *ring;
	uint64_t keys;
	uint64_t nothing;
	uint64_t wrong;
	char text[128]; /* the last */
	bool stop;
};

static int each(void *arg, uint64_t number, struct et_view line, const char *wrong)
{
	struct seen *s = arg;

	assert_int_equal(number, s->keys + s->nothing + s->wrong + 1);
	if (wrong == NULL) {
		char copy[ET_KEY_LINE_MAX + 2];
		memcpy(copy, line.data, line.size);
		copy[line.size] = '\n';
		(void)et_key_lines_take((struct et_view){ (uint8_t *)copy, line.size + 1 },
					s->keylog, s->ring);
		s->keys++;
	} else if (wrong[0] == '\0') {
		s->nothing++;
	} else {
		s->wrong++;
		(void)snprintf(s->text, sizeof(s->text), "%s", wrong);
	}
	return s->stop ? ET_ECLOSED : 0;
}

static int set_up(void **state)
{
	static struct seen s;

	s = (struct seen){ .keys = 0 };
	assert_int_equal(et_keylog_new(4, 0, &s.keylog, NULL), 0);
	assert_int_equal(et_srtp_ring_new(4, &s.ring, NULL), 0);
	*state = &s;
	return 0;
}

static int tear_down(void **state)
{
	struct seen *s = *state;

	(void)et_keylog_free(s->keylog);
	(void)et_srtp_ring_free(s->ring);
	return 0;
}

static void keys_of_both_kinds_come_through_cut_anywhere(void **state)
{
	static const char text[] =
		"# of the SBC\r\n" LOG_LINE "\r\n\n" TABLE_LINE "\n" LOG_LINE "\n";
	struct seen *s = *state;
	struct et_key_feed *f = NULL;
	struct et_view secret;
	uint8_t random[32];

	assert_int_equal(et_key_feed_new(&f, NULL), 0);
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		assert_int_equal(et_key_feed_add(f, text + i, 1, each, s), 0);
	}
	assert_int_equal(s->keys, 3);
	assert_int_equal(s->nothing, 2);
	assert_int_equal(s->wrong, 0);
	memset(random, 0xAB, sizeof(random));
	assert_true(et_keylog_find(s->keylog, ET_KEYLOG_MASTER_SECRET, random, &secret));
	assert_int_equal(secret.size, 48);
	assert_int_equal(et_srtp_ring_count(s->ring), 1);
	assert_int_equal(et_srtp_ring_at(s->ring, 0).ssrc, 0x1234);
	assert_int_equal(et_srtp_ring_at(s->ring, 0).party, 0);
	(void)et_key_feed_free(f);
}

static void what_is_no_key_is_said_without_it(void **state)
{
	struct seen *s = *state;
	struct et_key_feed *f = NULL;
	char longest[2000];

	assert_int_equal(et_key_feed_new(&f, NULL), 0);
	assert_int_equal(et_key_feed_add(f, "CLIENT_RANDOM S3CRET\n", 21, each, s), 0);
	assert_int_equal(s->wrong, 1);
	assert_null(strstr(s->text, "S3CRET"));
	assert_int_equal(et_key_feed_add(f, "1\tAES_CM_128_HMAC_SHA1_80\tS3CRET\n", 33, each, s),
			 0);
	assert_int_equal(s->wrong, 2);
	assert_null(strstr(s->text, "S3CRET"));
	assert_null(strstr(s->text, "line"));
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(et_key_feed_add(f, longest, sizeof(longest), each, s), 0);
	assert_int_equal(et_key_feed_add(f, longest, sizeof(longest), each, s), 0);
	assert_int_equal(et_key_feed_add(f, "\n" LOG_LINE "\n", strlen(LOG_LINE) + 2, each, s), 0);
	assert_int_equal(s->wrong, 3);
	assert_string_equal(s->text, "it is longer than 480 bytes");
	assert_int_equal(s->keys, 1);
	assert_int_equal(et_key_feed_add(f, "OTHER_LABEL 00 11\n", 18, each, s), 0);
	assert_int_equal(s->nothing, 1);
	s->stop = true;
	assert_int_equal(et_key_feed_add(f, "\n\n", 2, each, s), ET_ECLOSED);
	assert_int_equal(s->nothing, 2);
	(void)et_key_feed_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keys_of_both_kinds_come_through_cut_anywhere,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_key_is_said_without_it, set_up,
						tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
