/* Key logs: lines of every label, in pieces that end anywhere; what is not a line; the bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "node/keylog/keylog.h"

#define RANDOM_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define RANDOM_B "FF0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
#define SECRET_32 "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
#define SECRET_48 SECRET_32 "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"

static const char whole[] = "# a comment\n"
			    "CLIENT_RANDOM " RANDOM_A " " SECRET_48 "\n"
			    "\n"
			    "SERVER_HANDSHAKE_TRAFFIC_SECRET " RANDOM_A " " SECRET_32 "\r\n"
			    "CLIENT_HANDSHAKE_TRAFFIC_SECRET " RANDOM_A " " SECRET_32 "\n"
			    "CLIENT_TRAFFIC_SECRET_0 " RANDOM_B " " SECRET_32 "\n"
			    "SERVER_TRAFFIC_SECRET_0 " RANDOM_B " " SECRET_48 " \n"
			    "CLIENT_EARLY_TRAFFIC_SECRET " RANDOM_B " " SECRET_48 "\n"
			    "EXPORTER_SECRET " RANDOM_B " " SECRET_48;

static struct et_keylog *log_new(uint32_t max)
{
	struct et_keylog *k = NULL;
	assert_int_equal(et_keylog_new(max, 0x1234567890ABCDEF, &k, NULL), 0);
	return k;
}

static void random_of(const char *text, uint8_t ret[ET_KEYLOG_RANDOM_SIZE])
{
	assert_true(et_unhex(text, strlen(text), ret, ET_KEYLOG_RANDOM_SIZE));
}

static void assert_found(const struct et_keylog *k, enum et_keylog_label label, const char *random,
			 size_t size)
{
	uint8_t key[ET_KEYLOG_RANDOM_SIZE];
	struct et_view secret;

	random_of(random, key);
	assert_true(et_keylog_find(k, label, key, &secret));
	assert_int_equal(secret.size, size);
	for (size_t i = 0; i < size; i++) {
		assert_int_equal(secret.data[i], 0xA0 + i);
	}
}

static void assert_absent(const struct et_keylog *k, enum et_keylog_label label, const char *random)
{
	uint8_t key[ET_KEYLOG_RANDOM_SIZE];
	struct et_view secret;

	random_of(random, key);
	assert_false(et_keylog_find(k, label, key, &secret));
}

static void assert_whole(const struct et_keylog *k)
{
	assert_found(k, ET_KEYLOG_MASTER_SECRET, RANDOM_A, 48);
	assert_found(k, ET_KEYLOG_SERVER_HANDSHAKE, RANDOM_A, 32);
	assert_found(k, ET_KEYLOG_CLIENT_HANDSHAKE, RANDOM_A, 32);
	assert_found(k, ET_KEYLOG_CLIENT_TRAFFIC, RANDOM_B, 32);
	assert_found(k, ET_KEYLOG_SERVER_TRAFFIC, RANDOM_B, 48);
	assert_found(k, ET_KEYLOG_EXPORTER, RANDOM_B, 48);
	assert_absent(k, ET_KEYLOG_MASTER_SECRET, RANDOM_B);
	assert_absent(k, ET_KEYLOG_EXPORTER, RANDOM_A);
	struct et_keylog_counts counts = et_keylog_counts(k);
	assert_int_equal(counts.kept, 6);
	assert_int_equal(counts.other, 3);
	assert_int_equal(counts.malformed, 0);
	assert_int_equal(counts.forgotten, 0);
}

static void lines_may_come_in_pieces_of_any_size(void **state)
{
	(void)state;
	static const size_t pieces[] = { 1, 7, 100, sizeof(whole) };

	for (size_t p = 0; p < sizeof(pieces) / sizeof(*pieces); p++) {
		struct et_keylog *k = log_new(16);
		size_t size = strlen(whole);
		for (size_t at = 0; at < size; at += pieces[p]) {
			size_t n = size - at < pieces[p] ? size - at : pieces[p];
			assert_int_equal(et_keylog_add(k, whole + at, n), 0);
		}
		assert_absent(k, ET_KEYLOG_EXPORTER, RANDOM_B); /* Its line may go on. */
		assert_int_equal(et_keylog_end(k), 0);
		assert_int_equal(et_keylog_end(k), 0);
		assert_whole(k);
		(void)et_keylog_free(k);
	}
}

static void a_file_is_read_on_after_it_grew(void **state)
{
	(void)state;
	int fd = memfd_create("keylog", MFD_CLOEXEC);
	int writer = dup(fd);
	assert_true(fd >= 0 && writer >= 0);
	struct et_keylog *k = log_new(16);
	struct et_error e;

	off_t at = 0;
	for (size_t done = 0, size = strlen(whole); done < size;) {
		size_t n = size - done < 150 ? size - done : 150;
		assert_int_equal(pwrite(writer, whole + done, n, at), (ssize_t)n);
		done += n;
		at += (off_t)n;
		assert_int_equal(et_keylog_read(k, fd, &e), 0);
	}
	assert_int_equal(et_keylog_end(k), 0);
	assert_whole(k);
	(void)close(writer);
	(void)close(fd);
	assert_int_equal(et_keylog_read(k, fd, &e), -EBADF);
	assert_non_null(strstr(e.text, "key log"));
	(void)et_keylog_free(k);
}

static void what_is_not_a_secret_is_counted(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"CLIENT_RANDOM",
		"CLIENT_RANDOM ",
		"CLIENT_RANDOM " RANDOM_A,
		"CLIENT_RANDOM " RANDOM_A " " SECRET_32,
		"CLIENT_RANDOM " RANDOM_A " " SECRET_48 "00",
		"CLIENT_RANDOM " RANDOM_A " " SECRET_48 "0",
		"CLIENT_RANDOM " RANDOM_A "  " SECRET_48,
		"CLIENT_RANDOM " RANDOM_A "00 " SECRET_48,
		"CLIENT_RANDOM g" RANDOM_A " " SECRET_48,
		"CLIENT_RANDOM " RANDOM_A " " SECRET_32 "c0c1c2c3c4c5c6c7c8c9cacbcccdcexf",
		"EXPORTER_SECRET " RANDOM_A " " SECRET_48 SECRET_32,
		"EXPORTER_SECRET " RANDOM_A " a0",
	};
	struct et_keylog *k = log_new(8);

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(et_keylog_add(k, bad[i], strlen(bad[i])), 0);
		assert_int_equal(et_keylog_add(k, "\n", 1), 0);
		assert_int_equal(et_keylog_counts(k).malformed, i + 1);
	}
	/* A line without an end takes no memory, and does not spoil the next. */
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(et_keylog_add(k, whole, 10), 0);
	}
	assert_int_equal(et_keylog_add(k, "\n", 1), 0);
	assert_int_equal(et_keylog_counts(k).malformed, 13);
	assert_int_equal(et_keylog_counts(k).kept, 0);
	assert_int_equal(et_keylog_add(k, whole, strlen(whole)), 0);
	assert_found(k, ET_KEYLOG_MASTER_SECRET, RANDOM_A, 48);
	(void)et_keylog_free(k);
}

static void add_numbered(struct et_keylog *k, unsigned i, const char *secret)
{
	char line[256];
	(void)snprintf(line, sizeof(line), "CLIENT_RANDOM %064x %s\n", i, secret);
	assert_int_equal(et_keylog_add(k, line, strlen(line)), 0);
}

static void a_full_log_forgets_what_came_first(void **state)
{
	(void)state;
	struct et_keylog *k = log_new(100);
	char random[65];

	for (unsigned i = 0; i < 250; i++) {
		add_numbered(k, i, SECRET_48);
		add_numbered(k, i, SECRET_48); /* Said twice is kept once. */
	}
	assert_int_equal(et_keylog_counts(k).forgotten, 150);
	for (unsigned i = 0; i < 250; i++) {
		(void)snprintf(random, sizeof(random), "%064x", i);
		if (i < 150) {
			assert_absent(k, ET_KEYLOG_MASTER_SECRET, random);
		} else {
			assert_found(k, ET_KEYLOG_MASTER_SECRET, random, 48);
		}
	}
	(void)et_keylog_free(k);
}

static void the_later_of_two_secrets_holds(void **state)
{
	(void)state;
	struct et_keylog *k = log_new(1);

	add_numbered(k, 7, SECRET_32 "00000000000000000000000000000000");
	add_numbered(k, 7, SECRET_48);
	char random[65];
	(void)snprintf(random, sizeof(random), "%064x", 7U);
	assert_found(k, ET_KEYLOG_MASTER_SECRET, random, 48);
	assert_int_equal(et_keylog_counts(k).forgotten, 0);
	(void)et_keylog_free(k);
	assert_null(et_keylog_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_may_come_in_pieces_of_any_size),
		cmocka_unit_test(a_file_is_read_on_after_it_grew),
		cmocka_unit_test(what_is_not_a_secret_is_counted),
		cmocka_unit_test(a_full_log_forgets_what_came_first),
		cmocka_unit_test(the_later_of_two_secrets_holds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
