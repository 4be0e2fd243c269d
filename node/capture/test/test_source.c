/* Capture files: what they say of time is not believed without bounds; frames come in batches, as
 * they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/capture/source_internal.h"

enum { FRAMES_MAX = 8 };

struct fixture {
	char path[32];
	int fd;
	uint32_t count;
	int64_t times_us[FRAMES_MAX];
};

static void add(struct fixture *f, const void *data, size_t size)
{
	assert_int_equal(write(f->fd, data, size), size);
}

static void add32(struct fixture *f, uint32_t v)
{
	add(f, &v, sizeof(v));
}

/* pcapng (draft-tuexen-opsawg-pcapng), in the byte order of this machine: one section, one
 * interface that counts time in seconds. */
static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	(void)strcpy(f->path, "/tmp/et_source.XXXXXX");
	f->fd = mkstemp(f->path);
	assert_true(f->fd >= 0);
	const uint32_t section[] = { 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, UINT32_MAX, UINT32_MAX, 28 };
	add(f, section, sizeof(section));
	const uint8_t resolution[] = { 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0 }; /* if_tsresol: 10^0 */
	add32(f, 1);
	add32(f, 32);
	add32(f, 1); /* Ethernet */
	add32(f, 65535);
	add(f, resolution, sizeof(resolution));
	add32(f, 32);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	(void)close(f->fd);
	assert_int_equal(unlink(f->path), 0);
	free(f);
	return 0;
}

static void add_frame(struct fixture *f, uint64_t time)
{
	add32(f, 6);
	add32(f, 36);
	add32(f, 0);
	add32(f, (uint32_t)(time >> 32));
	add32(f, (uint32_t)time);
	add32(f, 4);
	add32(f, 4);
	add32(f, 0);
	add32(f, 36);
}

static void on_frames(void *arg, const struct et_frame *frames, size_t count)
{
	struct fixture *f = arg;
	assert_in_range(count, 1, ET_SOURCE_BATCH);
	assert_true(f->count + count <= FRAMES_MAX);
	for (size_t i = 0; i < count; i++) {
		f->times_us[f->count++] = frames[i].time_us;
	}
}

static void times_are_from_1970_to_9999(void **state)
{
	struct fixture *f = *state;
	struct et_source *s = NULL;
	add_frame(f, 1700000000);
	add_frame(f, INT64_MAX);
	add_frame(f, INT64_MAX / 1000000 + 1);
	add_frame(f, UINT64_MAX);
	add_frame(f, 253402300799);
	assert_int_equal(et_source_open_file(f->path, &s, NULL), 0);
	assert_int_equal(et_source_read(s, FRAMES_MAX, on_frames, f, NULL), 5);
	(void)et_source_close(s);
	assert_int_equal(f->times_us[0], 1700000000000000);
	assert_int_equal(f->times_us[1], 253402300799000000);
	assert_int_equal(f->times_us[2], 253402300799000000);
	assert_int_equal(f->times_us[3], 0);
	assert_int_equal(f->times_us[4], 253402300799000000);
}

/* Of 0 to 60,000 bytes: some fit a batch, some are handed over alone. */
static uint32_t size_of(uint32_t n)
{
	return n % 7 == 6 ? n * 997 % 60001 : n * 31 % 400;
}

static void add_sized(struct fixture *f, uint32_t n)
{
	static uint8_t bytes[60004];
	const uint32_t size = size_of(n);
	const uint32_t padded = (size + 3) / 4 * 4;
	memset(bytes, (int)(n + 1), padded);
	add32(f, 6);
	add32(f, 32 + padded);
	add32(f, 0);
	add32(f, 0);
	add32(f, n);
	add32(f, size);
	add32(f, size + n % 2);
	add(f, bytes, padded);
	add32(f, 32 + padded);
}

static void see_sized(void *arg, const struct et_frame *frames, size_t count)
{
	struct fixture *f = arg;
	assert_in_range(count, 1, ET_SOURCE_BATCH);
	for (size_t i = 0; i < count; i++, f->count++) {
		assert_int_equal(frames[i].time_us, (int64_t)f->count * 1000000);
		assert_int_equal(frames[i].size, size_of(f->count));
		assert_int_equal(frames[i].wire_size, size_of(f->count) + f->count % 2);
		for (uint32_t k = 0; k < frames[i].size; k++) {
			assert_true(frames[i].data[k] == (uint8_t)(f->count + 1));
		}
	}
}

/* The last one is cut in the middle: those before it come all the same. */
static void frames_come_in_order_as_they_are(void **state)
{
	struct fixture *f = *state;
	struct et_source *s = NULL;
	struct et_error e;
	int rc = 0;
	for (uint32_t n = 0; n < 300; n++) {
		add_sized(f, n);
	}
	assert_int_equal(ftruncate(f->fd, lseek(f->fd, 0, SEEK_CUR) - 2), 0);
	assert_int_equal(et_source_open_file(f->path, &s, NULL), 0);
	while ((rc = et_source_read(s, 50, see_sized, f, &e)) > 0) {
		assert_in_range(rc, 1, 50);
	}
	assert_int_equal(rc, ET_ETRUNCATED);
	assert_int_equal(f->count, 299);
	struct et_source_stats stats;
	et_source_stats(s, &stats);
	assert_int_equal(stats.read, 299); /* those of the last call, too, which failed */
	(void)et_source_close(s);
}

/* ---- Plain files ---- */

enum { PLAIN_COUNT = 2000, PLAIN_SNAPSHOT = 70000, FILE_HEAD = 24 };

/* pcap 2.4, microseconds, Ethernet, in the byte order of this machine. */
static void add_plain_head(struct fixture *f, uint32_t magic)
{
	const uint32_t head[] = { magic, 2 | 4U << 16, 0, 0, PLAIN_SNAPSHOT, 1 };
	assert_int_equal(ftruncate(f->fd, 0), 0);
	assert_int_equal(lseek(f->fd, 0, SEEK_SET), 0);
	add(f, head, sizeof(head));
}

/* Most have what a packet has; some are longer than a piece of the file, and than the snapshot. */
static uint32_t plain_size(uint32_t n)
{
	return n % 97 == 96 ? 60000 + n * 7 : n * 31 % 400;
}

static void add_plain(struct fixture *f, uint32_t n)
{
	static uint8_t bytes[100000];
	memset(bytes, (int)(n + 1), plain_size(n));
	add32(f, n);
	add32(f, n == 7 ? 1000000 : n); /* no microseconds: 0 */
	add32(f, plain_size(n));
	add32(f, plain_size(n) + n % 2);
	add(f, bytes, plain_size(n));
}

static void see_plain(void *arg, const struct et_frame *frames, size_t count)
{
	struct fixture *f = arg;
	assert_in_range(count, 1, ET_SOURCE_BATCH);
	for (size_t i = 0; i < count; i++, f->count++) {
		const uint32_t n = f->count;
		const uint32_t size = plain_size(n);
		assert_int_equal(frames[i].link_type, 1);
		assert_int_equal(frames[i].time_us, n * INT64_C(1000000) + (n == 7 ? 0 : n));
		assert_int_equal(frames[i].size, size < PLAIN_SNAPSHOT ? size : PLAIN_SNAPSHOT);
		assert_int_equal(frames[i].wire_size, size + n % 2);
		for (uint32_t k = 0; k < frames[i].size; k++) {
			assert_true(frames[i].data[k] == (uint8_t)(n + 1));
		}
	}
}

static int read_all(struct fixture *f, struct et_error *e)
{
	struct et_source *s = NULL;
	int rc = et_source_open_file(f->path, &s, e);
	assert_int_equal(rc, 0);
	f->count = 0;
	while ((rc = et_source_read(s, 50, see_plain, f, e)) > 0) {
		assert_in_range(rc, 1, 50);
	}
	(void)et_source_close(s);
	return rc;
}

static void a_plain_file_is_read_frame_by_frame(void **state)
{
	struct fixture *f = *state;
	struct et_error e;
	add_plain_head(f, 0xA1B2C3D4);
	for (uint32_t n = 0; n < PLAIN_COUNT; n++) {
		add_plain(f, n);
	}
	assert_int_equal(read_all(f, &e), 0);
	assert_int_equal(f->count, PLAIN_COUNT);
}

/* Wherever it is cut: what is whole comes first. */
static void a_plain_file_that_is_cut_says_so(void **state)
{
	struct fixture *f = *state;
	struct et_error e;
	add_plain_head(f, 0xA1B2C3D4);
	add_plain(f, 0);
	add_plain(f, 1);
	const off_t whole = lseek(f->fd, 0, SEEK_CUR);
	const off_t first = FILE_HEAD + 16 + (off_t)plain_size(0);
	for (off_t at = whole - 1; at > first; at--) {
		assert_int_equal(ftruncate(f->fd, at), 0);
		assert_int_equal(read_all(f, &e), ET_ETRUNCATED);
		assert_int_equal(f->count, 1);
		assert_non_null(strstr(e.text, f->path));
	}
	assert_int_equal(ftruncate(f->fd, first), 0);
	assert_int_equal(read_all(f, &e), 0);
	assert_int_equal(f->count, 1);
}

static void a_frame_of_a_plain_file_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct et_error e;
	add_plain_head(f, 0xA1B2C3D4);
	add_plain(f, 0);
	const uint32_t head[] = { 1, 1, 262145, 262145 };
	add(f, head, sizeof(head));
	assert_int_equal(read_all(f, &e), ET_EMALFORMED);
	assert_int_equal(f->count, 1);
	assert_non_null(strstr(e.text, "262145"));
}

/* Nanoseconds: not a plain one, and read all the same. */
static void other_files_are_libpcaps(void **state)
{
	struct fixture *f = *state;
	struct et_error e;
	add_plain_head(f, 0xA1B23C4D);
	add32(f, 0);
	add32(f, 999);
	add32(f, 0);
	add32(f, 0);
	assert_int_equal(read_all(f, &e), 0);
	assert_int_equal(f->count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(times_are_from_1970_to_9999),	   TEST(frames_come_in_order_as_they_are),
		TEST(a_plain_file_is_read_frame_by_frame), TEST(a_plain_file_that_is_cut_says_so),
		TEST(a_frame_of_a_plain_file_is_bounded),  TEST(other_files_are_libpcaps)
	};
	return cmocka_run_group_tests_name("node/capture/source", tests, NULL, NULL);
}
