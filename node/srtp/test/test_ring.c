/* Rings of keys, streams that find their key in them, tables of keys by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/srtp/given.h"

#define SSRC 0x01020304U

static struct et_srtp_entry entry_of(uint8_t *material, uint8_t id, uint8_t party)
{
	memset(material, id, 30);
	return (struct et_srtp_entry){
		.key = { .suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80, .material = { material, 30 } },
		.origin = ET_SRTP_ORIGIN_SDES,
		.party = party,
		.tag = id,
	};
}

static struct et_srtp_ring *ring_of(uint32_t max)
{
	struct et_srtp_ring *r = NULL;
	assert_int_equal(et_srtp_ring_new(max, &r, NULL), 0);
	return r;
}

static int add(struct et_srtp_ring *r, uint8_t id, uint8_t party)
{
	uint8_t material[30];
	struct et_srtp_entry entry = entry_of(material, id, party);
	return et_srtp_ring_add(r, &entry);
}

/* A packet of key `id` in `room`, with this sequence number. */
static size_t packet_of(uint8_t id, uint16_t sequence, uint32_t room[64])
{
	uint8_t material[30];
	struct et_srtp_entry entry = entry_of(material, id, 0);
	struct et_srtp *s = NULL;
	uint8_t *p = (uint8_t *)room;
	size_t size = 52;

	memset(room, 0x55, 64 * sizeof(*room));
	p[0] = 0x80;
	p[1] = 0;
	et_put16(p + 2, sequence);
	et_put32(p + 8, SSRC);
	assert_int_equal(et_srtp_new(&entry.key, SSRC, &s, NULL), 0);
	assert_int_equal(et_srtp_seal_rtp(s, p, &size), 0);
	(void)et_srtp_free(s);
	return size;
}

static int open_one(struct et_srtp_stream *s, const struct et_srtp_ring *r, uint8_t party,
		    uint8_t id, uint16_t sequence)
{
	uint32_t packet[64];
	uint32_t ret[64];
	size_t ret_size = 0;
	size_t size = packet_of(id, sequence, packet);
	int rc = et_srtp_stream_open(s, r, party, SSRC, (uint8_t *)packet, size, (uint8_t *)ret,
				     &ret_size);
	if (rc == 0) {
		assert_int_equal(ret_size, 52);
		assert_int_equal(((uint8_t *)ret)[51], 0x55);
	}
	return rc;
}

static void a_key_is_kept_once_and_the_oldest_gives_way(void **state)
{
	(void)state;
	struct et_srtp_ring *r = ring_of(20);

	assert_int_equal(et_srtp_ring_count(NULL), 0);
	assert_int_equal(et_srtp_ring_serial(NULL), 0);
	for (int round = 0; round < 2; round++) {
		for (uint8_t id = 1; id <= 10; id++) {
			assert_int_equal(add(r, id, 0), round == 0 ? 1 : 0);
			assert_int_equal(add(r, id, 1), round == 0 ? 1 : 0);
		}
	}
	assert_int_equal(et_srtp_ring_count(r), 20);
	assert_int_equal(add(r, 11, 0), 1);
	assert_int_equal(et_srtp_ring_count(r), 20);
	assert_int_equal(et_srtp_ring_serial(r), 21);
	struct et_srtp_entry e = et_srtp_ring_at(r, 0);
	assert_int_equal(e.tag, 1);
	assert_int_equal(e.party, 1);
	e = et_srtp_ring_at(r, 19);
	assert_int_equal(e.tag, 11);
	assert_int_equal(e.key.material.data[29], 11);
	uint8_t material[46] = { 0 };
	e = entry_of(material, 1, 0);
	e.key.material.size = 31;
	assert_int_equal(et_srtp_ring_add(r, &e), ET_EMALFORMED);
	e.key.suite = (enum et_srtp_suite)77;
	assert_int_equal(et_srtp_ring_add(r, &e), ET_EUNSUPPORTED);
	e = entry_of(material, 1, 0);
	e.key.mki = (struct et_view){ material, 17 };
	assert_int_equal(et_srtp_ring_add(r, &e), ET_ELIMIT);
	(void)et_srtp_ring_free(r);
	assert_null(et_srtp_ring_free(NULL));
}

static void a_stream_finds_its_key_and_follows_a_new_one(void **state)
{
	(void)state;
	struct et_srtp_ring *r = ring_of(8);
	struct et_srtp_stream s = { .opener = NULL };
	struct et_srtp_entry e;

	assert_int_equal(open_one(&s, NULL, 0, 2, 1), ET_ENOKEY);
	assert_int_equal(open_one(&s, r, 0, 2, 1), ET_ENOKEY);
	assert_int_equal(add(r, 1, 0), 1);
	assert_int_equal(add(r, 2, 0), 1);
	assert_int_equal(add(r, 3, 0), 1);
	assert_int_equal(add(r, 4, 1), 1); /* the other side's */
	assert_true(et_srtp_ring_has(r, 1, SSRC));
	assert_false(et_srtp_ring_has(r, 2, SSRC));
	assert_int_equal(open_one(&s, r, 0, 2, 1), 0);
	assert_true(et_srtp_stream_entry(&s, r, &e));
	assert_int_equal(e.tag, 2);
	assert_int_equal(open_one(&s, r, 0, 2, 1), ET_EEXISTS);
	assert_int_equal(open_one(&s, r, 0, 4, 2), ET_ENOKEY);
	assert_int_equal(open_one(&s, r, 0, 2, 3), 0);
	assert_int_equal(add(r, 5, 0), 1); /* a re-INVITE */
	assert_int_equal(open_one(&s, r, 0, 2, 4), 0);
	assert_int_equal(open_one(&s, r, 0, 5, 5), 0);
	assert_int_equal(s.suite, ET_SRTP_AES_CM_128_HMAC_SHA1_80);
	assert_int_equal(s.opened, 4);
	et_srtp_stream_release(&s);
	(void)et_srtp_ring_free(r);
}

static void a_key_that_comes_late_is_tried_at_once(void **state)
{
	(void)state;
	struct et_srtp_ring *r = ring_of(8);
	struct et_srtp_stream s = { .opener = NULL };

	assert_int_equal(add(r, 1, 0), 1);
	for (uint16_t i = 0; i < 5; i++) { /* between the failures at which keys are tried again */
		assert_int_equal(open_one(&s, r, 0, 9, i), ET_ENOKEY);
	}
	assert_int_equal(add(r, 9, ET_SRTP_PARTY_ANY), 1);
	assert_int_equal(open_one(&s, r, 0, 9, 6), 0);
	et_srtp_stream_release(&s);
	(void)et_srtp_ring_free(r);
}

#define KEY_A "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"

static int read_table(struct et_srtp_ring *r, const char *text, struct et_error *e)
{
	return et_srtp_given_read((struct et_view){ (const uint8_t *)text, strlen(text) }, r, e);
}

static void a_table_gives_keys(void **state)
{
	(void)state;
	struct et_srtp_ring *r = ring_of(8);
	struct et_error e;

	assert_int_equal(
		read_table(
			r,
			"ssrc\tsuite\tkey\n# a comment\n\n"
			"0xCAFE\tAES_CM_128_HMAC_SHA1_80\t" KEY_A "\n"
			"*\taead_aes_128_gcm\t+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\tcallee\r\n"
			" 17 \tAES_CM_128_HMAC_SHA1_32\t" KEY_A "\tcaller",
			&e),
		0);
	assert_int_equal(et_srtp_ring_count(r), 3);
	struct et_srtp_entry x = et_srtp_ring_at(r, 0);
	assert_true(x.has_ssrc && x.ssrc == 0xCAFE && x.party == ET_SRTP_PARTY_ANY);
	assert_memory_equal(x.key.material.data, "YS___semctl () {", 16);
	x = et_srtp_ring_at(r, 1);
	assert_true(!x.has_ssrc && x.party == 1 && x.key.suite == ET_SRTP_AEAD_AES_128_GCM);
	x = et_srtp_ring_at(r, 2);
	assert_true(x.has_ssrc && x.ssrc == 17 && x.party == 0);
	(void)et_srtp_ring_free(r);
}

static void a_wrong_table_is_refused_by_line_and_without_its_keys(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *says;
	} tables[] = {
		{ "\nx\tAES_CM_128_HMAC_SHA1_80\t" KEY_A, "line 2: its first field" },
		{ "0x1FFFFFFFF\tAES_CM_128_HMAC_SHA1_80\t" KEY_A, "its first field" },
		{ "1\tF8_128_HMAC_SHA1_80\t" KEY_A, "its second field" },
		{ "1\tAES_CM_128_HMAC_SHA1_80", "its third field" },
		{ "1\tAES_CM_128_HMAC_SHA1_80\t" KEY_A KEY_A, "its third field" },
		{ "1\tAES_256_CM_HMAC_SHA1_80\t" KEY_A, "have not the length" },
		{ "1\tAES_CM_128_HMAC_SHA1_80\t" KEY_A "\tbob", "its fourth field" },
	};
	struct et_error e;

	for (size_t i = 0; i < ET_ARRAY_SIZE(tables); i++) {
		struct et_srtp_ring *r = ring_of(8);
		assert_int_equal(read_table(r, tables[i].text, &e), ET_EMALFORMED);
		assert_non_null(strstr(e.text, tables[i].says));
		assert_null(strstr(e.text, "WVNf"));
		assert_int_equal(et_srtp_ring_count(r), 0);
		(void)et_srtp_ring_free(r);
	}
}

static void a_table_may_be_a_file(void **state)
{
	(void)state;
	char path[] = "/tmp/et_given.XXXXXX";
	struct et_srtp_ring *r = ring_of(8);
	struct et_error e;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_true(dprintf(fd, "1\tAES_CM_128_HMAC_SHA1_80\t%s\nbad", KEY_A) > 0);
	assert_int_equal(et_srtp_given_load(path, r, &e), ET_EMALFORMED);
	assert_non_null(strstr(e.text, path));
	assert_int_equal(et_srtp_ring_count(r), 1);
	assert_int_equal(ftruncate(fd, ET_SRTP_GIVEN_BYTES_MAX), 0);
	assert_int_equal(et_srtp_given_load(path, r, &e), ET_ELIMIT);
	(void)close(fd);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(et_srtp_given_load(path, r, &e), -ENOENT);
	(void)et_srtp_ring_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_kept_once_and_the_oldest_gives_way),
		cmocka_unit_test(a_stream_finds_its_key_and_follows_a_new_one),
		cmocka_unit_test(a_key_that_comes_late_is_tried_at_once),
		cmocka_unit_test(a_table_gives_keys),
		cmocka_unit_test(a_wrong_table_is_refused_by_line_and_without_its_keys),
		cmocka_unit_test(a_table_may_be_a_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
