/* Keys through a socket: who may, what is answered, what the recorder gets, and its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/capture/keysock_internal.h"

#define GROUP 4711
#define TABLE_LINE "0x1234\tAES_CM_128_HMAC_SHA1_80\tAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e\n"

struct fixture {
	char dir[64];
	char path[96];
	struct et_keysock *sock;
	struct et_keylog *keylog;
	struct et_srtp_ring *ring;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/et_keysock.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(chmod(f->dir, 0755), 0);
	(void)snprintf(f->path, sizeof(f->path), "%.60s/keys.sock", f->dir);
	struct et_capture_key_socket config = { .path = f->path, .mode = 0600 };
	if (geteuid() == 0) {
		config.mode = 0660;
		config.has_group = true;
		config.group = GROUP;
	}
	assert_int_equal(et_keysock_new(&config, &f->sock, NULL), 0);
	assert_int_equal(et_keylog_new(1000, 0, &f->keylog, NULL), 0);
	assert_int_equal(et_srtp_ring_new(8, &f->ring, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	f->sock = et_keysock_free(f->sock);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(rmdir(f->dir), 0);
	(void)et_keylog_free(f->keylog);
	(void)et_srtp_ring_free(f->ring);
	free(f);
	return 0;
}

static int dial(const struct fixture *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int code = -errno;
		(void)close(fd);
		return code;
	}
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* The next `lines` lines of the answer; fewer when it is closed. */
static const char *hear(int fd, int lines)
{
	static char text[4096];
	size_t size = 0;

	while (lines > 0 && size < sizeof(text) - 1) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		assert_int_equal(poll(&p, 1, 10000), 1);
		ssize_t n = read(fd, text + size, 1);
		if (n <= 0) {
			break;
		}
		lines -= text[size++] == '\n';
	}
	text[size] = '\0';
	return text;
}

static void log_line(uint32_t n, char ret[256])
{
	(void)snprintf(ret, 256, "CLIENT_RANDOM %064x %096x\n", n, n + 1);
}

/* The answer comes before the recorder has it; the thread hands it on at once then. */
static bool taken(struct fixture *f)
{
	bool any = false;
	uint64_t kept = et_keylog_counts(f->keylog).kept;

	for (int i = 0; i < 10000; i++) {
		any = et_keysock_take(f->sock, f->keylog, f->ring);
		if (any || et_keylog_counts(f->keylog).kept > kept) {
			break;
		}
		assert_int_equal(usleep(1000), 0);
	}
	return any;
}

static void keys_reach_the_recorder(void **state)
{
	struct fixture *f = *state;
	struct et_view secret;
	char line[256];
	uint8_t random[32] = { 0 };
	int fd = dial(f);

	assert_true(fd >= 0);
	log_line(7, line);
	say(fd, line);
	assert_string_equal(hear(fd, 1), "ok\n");
	assert_false(taken(f));
	random[31] = 7;
	assert_true(et_keylog_find(f->keylog, ET_KEYLOG_MASTER_SECRET, random, &secret));
	say(fd, "# nothing\n" TABLE_LINE "CLIENT_RANDOM S3CRET\n");
	const char *heard = hear(fd, 2);
	assert_memory_equal(heard, "ok\nline 4: its label needs", 25);
	assert_null(strstr(heard, "S3CRET"));
	assert_true(taken(f));
	assert_int_equal(et_srtp_ring_at(f->ring, 0).ssrc, 0x1234);
	struct et_keysock_counts c = et_keysock_counts(f->sock);
	assert_int_equal(c.keys, 2);
	assert_int_equal(c.wrong, 1);
	assert_int_equal(c.refused, 0);
	(void)close(fd);
}

/* More than there is room for: nobody is read until it was taken, and nothing is lost. */
static void a_full_room_waits(void **state)
{
	struct fixture *f = *state;
	enum { LINES = 500 };
	char line[256];
	int fd = dial(f);
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) { /* gives without listening first */
		for (uint32_t i = 1; i <= LINES; i++) {
			log_line(i, line);
			size_t size = strlen(line);
			if (write(fd, line, size) != (ssize_t)size || hear(fd, 1)[0] != 'o') {
				_exit(1);
			}
		}
		_exit(0);
	}
	for (int i = 0; i < 20000 && et_keylog_counts(f->keylog).kept < LINES; i++) {
		(void)et_keysock_take(f->sock, f->keylog, f->ring);
		assert_int_equal(usleep(1000), 0);
	}
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(et_keylog_counts(f->keylog).kept, LINES);
	(void)close(fd);
}

static void connections_are_bounded(void **state)
{
	struct fixture *f = *state;
	int fds[9];
	char line[256];

	log_line(1, line);
	for (int i = 0; i < 9; i++) {
		fds[i] = dial(f);
		assert_true(fds[i] >= 0);
		if (i < 8) { /* it was taken when it is answered */
			say(fds[i], "x\ty\n");
			assert_memory_equal(hear(fds[i], 1), "line 1: ", 8);
		}
	}
	assert_string_equal(hear(fds[8], 1), "");
	assert_int_equal(et_keysock_counts(f->sock).refused, 1);
	for (int i = 0; i < 9; i++) {
		(void)close(fds[i]);
	}
}

/* As whom a child connects, and what becomes of it: 'o' for an answer, else '-'. */
static char asked_as(const struct fixture *f, uid_t uid, gid_t gid)
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0) {
			_exit(2);
		}
		int fd = dial(f);
		if (fd < 0) {
			_exit('-');
		}
		char line[256];
		log_line(1, line);
		if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0) {
			_exit('-');
		}
		_exit(hear(fd, 1)[0] == 'o' ? 'o' : '-');
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return (char)WEXITSTATUS(status);
}

static void only_those_who_may_give_keys(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, geteuid() == 0 ? 0660 : 0600);
	if (geteuid() != 0) {
		skip();
	}
	assert_int_equal(st.st_gid, GROUP);
	assert_int_equal(asked_as(f, 65534, GROUP), 'o');
	assert_int_equal(asked_as(f, 65534, 65534), '-');
	/* The file's rights alone would let this one in. */
	assert_int_equal(chmod(f->path, 0666), 0);
	assert_int_equal(asked_as(f, 65534, 65534), '-');
	assert_int_equal(et_keysock_counts(f->sock).refused, 1);
}

static void a_dead_socket_is_replaced_and_a_live_one_is_not(void **state)
{
	struct fixture *f = *state;
	const struct et_capture_key_socket config = { .path = f->path, .mode = 0600 };
	struct et_keysock *second = NULL;

	assert_int_equal(et_keysock_new(&config, &second, NULL), -EADDRINUSE);
	f->sock = et_keysock_free(f->sock);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	(void)close(fd); /* the file stays: its owner was killed */
	assert_int_equal(et_keysock_new(&config, &f->sock, NULL), 0);
	fd = dial(f);
	assert_true(fd >= 0);
	(void)close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(keys_reach_the_recorder),
		TEST(a_full_room_waits),
		TEST(connections_are_bounded),
		TEST(only_those_who_may_give_keys),
		TEST(a_dead_socket_is_replaced_and_a_live_one_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
