/* The manager's side is a datagram socket of our own. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/daemon/notify.h"

#define WAIT_MS 20000 /* for what must come */

struct fixture {
	char folder[32];
	char path[64];
	int manager;
	uv_loop_t loop;
	struct et_notify notify;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/et_notify.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->path, sizeof(f->path), "%s/socket", f->folder);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
	f->manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(f->manager >= 0);
	assert_int_equal(bind(f->manager, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", f->path, 1), 0);
	assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
	assert_int_equal(unsetenv("WATCHDOG_PID"), 0);
	assert_int_equal(uv_loop_init(&f->loop), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	et_notify_watch_stop(&f->notify);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	(void)close(f->manager);
	(void)unlink(f->path);
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

/* The next datagram into `text`, waiting at most `wait_ms`; false: none came. */
static bool hear(const struct fixture *f, int wait_ms, char text[512])
{
	struct pollfd p = { .fd = f->manager, .events = POLLIN };

	if (poll(&p, 1, wait_ms) != 1) {
		return false;
	}
	ssize_t n = recv(f->manager, text, 511, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	return true;
}

static void ask_watchdog(unsigned interval_us, long pid)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%u", interval_us);
	assert_int_equal(setenv("WATCHDOG_USEC", text, 1), 0);
	(void)snprintf(text, sizeof(text), "%ld", pid);
	assert_int_equal(setenv("WATCHDOG_PID", text, 1), 0);
}

/* Nothing else is in this loop: the timer keeps it alive here. */
static void stay(struct fixture *f)
{
	uv_ref((uv_handle_t *)&f->notify.timer);
}

static void says_ready_with_a_status(void **state)
{
	char text[512];

	et_notify_ready("member %s of %s", "prg-1", "acme");
	assert_true(hear(*state, WAIT_MS, text));
	assert_string_equal(text, "READY=1\nSTATUS=member prg-1 of acme");
}

static void says_a_status_without_ready(void **state)
{
	char text[512];

	et_notify_status("recording");
	assert_true(hear(*state, WAIT_MS, text));
	assert_string_equal(text, "STATUS=recording");
}

static void says_that_it_stops(void **state)
{
	char text[512];

	et_notify_stopping();
	assert_true(hear(*state, WAIT_MS, text));
	assert_string_equal(text, "STOPPING=1");
}

static void says_nothing_without_a_manager(void **state)
{
	struct fixture *f = *state;
	char text[512];

	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
	et_notify_ready("member");
	et_notify_stopping();
	assert_int_equal(et_notify_watch_start(&f->notify, &f->loop), 0);
	assert_false(f->notify.watching);
	assert_false(hear(f, 0, text));
}

static void gives_signs_of_life_while_the_loop_turns(void **state)
{
	struct fixture *f = *state;
	char text[512];
	int signs = 0;

	ask_watchdog(40000, getpid());
	assert_int_equal(et_notify_watch_start(&f->notify, &f->loop), 0);
	assert_true(f->notify.watching);
	stay(f);
	while (signs < 5) {
		(void)uv_run(&f->loop, UV_RUN_ONCE);
		while (hear(f, 0, text)) {
			assert_string_equal(text, "WATCHDOG=1");
			signs++;
		}
	}
}

static void a_stuck_loop_gives_no_sign_of_life(void **state)
{
	struct fixture *f = *state;
	char text[512];

	ask_watchdog(20000, getpid());
	assert_int_equal(et_notify_watch_start(&f->notify, &f->loop), 0);
	stay(f);
	(void)uv_run(&f->loop, UV_RUN_NOWAIT);
	while (hear(f, 0, text)) {
	}
	/* The loop stands for ten intervals: the manager hears nothing. */
	assert_false(hear(f, 200, text));
	(void)uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_true(hear(f, WAIT_MS, text));
}

static void a_watchdog_for_another_process_is_not_ours(void **state)
{
	struct fixture *f = *state;

	ask_watchdog(20000, (long)getppid());
	assert_int_equal(et_notify_watch_start(&f->notify, &f->loop), 0);
	assert_false(f->notify.watching);
}

static void a_manager_that_went_away_is_no_error(void **state)
{
	struct fixture *f = *state;

	(void)unlink(f->path);
	et_notify_ready("member");
	ask_watchdog(20000, getpid());
	assert_int_equal(et_notify_watch_start(&f->notify, &f->loop), 0);
	stay(f);
	(void)uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_true(f->notify.watching);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(says_ready_with_a_status, set_up, tear_down),
		cmocka_unit_test_setup_teardown(says_a_status_without_ready, set_up, tear_down),
		cmocka_unit_test_setup_teardown(says_that_it_stops, set_up, tear_down),
		cmocka_unit_test_setup_teardown(says_nothing_without_a_manager, set_up, tear_down),
		cmocka_unit_test_setup_teardown(gives_signs_of_life_while_the_loop_turns, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_stuck_loop_gives_no_sign_of_life, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_watchdog_for_another_process_is_not_ours, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_manager_that_went_away_is_no_error, set_up,
						tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
