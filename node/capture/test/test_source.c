/* Capture files: what they say of time is not believed without bounds. */
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

static void on_frame(void *arg, const struct et_frame *frame)
{
	struct fixture *f = arg;
	assert_true(f->count < FRAMES_MAX);
	f->times_us[f->count++] = frame->time_us;
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
	assert_int_equal(et_source_read(s, FRAMES_MAX, on_frame, f, NULL), 5);
	(void)et_source_close(s);
	assert_int_equal(f->times_us[0], 1700000000000000);
	assert_int_equal(f->times_us[1], 253402300799000000);
	assert_int_equal(f->times_us[2], 253402300799000000);
	assert_int_equal(f->times_us[3], 0);
	assert_int_equal(f->times_us[4], 253402300799000000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(times_are_from_1970_to_9999) };
	return cmocka_run_group_tests_name("node/capture/source", tests, NULL, NULL);
}
