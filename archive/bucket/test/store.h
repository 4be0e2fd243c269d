/* What the tests of stores share: a folder, contents that can be recomputed, and programs of the
 * harness that serve while a test runs. */
#ifndef ET_ARCHIVE_BUCKET_TEST_STORE_H
#define ET_ARCHIVE_BUCKET_TEST_STORE_H

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "archive/bucket/bucket.h"
#include "archive/bucket/probe.h"
#include "node/crypto/hash.h"

extern char **environ;

static inline void folder_make(char path[64])
{
	strcpy(path, "/tmp/et_bucket.XXXXXX");
	assert_non_null(mkdtemp(path));
}

static inline void folder_remove(const char *path)
{
	char *argv[] = { (char[]){ "rm" }, (char[]){ "-rf" }, strdup(path), NULL };
	pid_t pid;
	assert_int_equal(posix_spawnp(&pid, "rm", NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	free(argv[2]);
}

static inline void file_write(const char *folder, const char *name, const char *text, mode_t mode)
{
	char path[512];
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
}

/* Content that follows from a seed: byte i of it. */
struct content {
	uint32_t seed;
	uint64_t size;
	uint8_t sha256[32];
	unsigned reads;
	int fail; /* what read answers, when not 0 */
};

static inline uint8_t content_byte(const struct content *c, uint64_t i)
{
	uint64_t x = (i / 4 + 1) * 0x9e3779b97f4a7c15ULL + c->seed * 0x2545f4914f6cdd1dULL;
	x ^= x >> 29;
	return (uint8_t)(x >> (8 * (i % 4)));
}

static inline int content_read(void *arg, uint64_t offset, void *data, size_t size)
{
	struct content *c = arg;
	uint8_t *p = data;
	c->reads++;
	if (c->fail != 0) {
		return c->fail;
	}
	assert_true(offset + size <= c->size);
	for (size_t i = 0; i < size; i++) {
		p[i] = content_byte(c, offset + i);
	}
	return 0;
}

static inline struct content content_of(uint32_t seed, uint64_t size)
{
	struct content c = { .seed = seed, .size = size };
	struct et_sha256 *h = et_sha256_new();
	uint8_t chunk[4096];
	for (uint64_t at = 0; at < size;) {
		size_t n = size - at < sizeof(chunk) ? (size_t)(size - at) : sizeof(chunk);
		(void)content_read(&c, at, chunk, n);
		et_sha256_add(h, chunk, n);
		at += n;
	}
	et_sha256_end(h, c.sha256);
	h = et_sha256_free(h);
	c.reads = 0;
	return c;
}

static inline struct et_bucket_put put_of(const char *key, struct content *c)
{
	return (struct et_bucket_put){
		.key = key, .size = c->size, .sha256 = c->sha256, .read = content_read, .arg = c
	};
}

/* A sink that compares with the content from `at` on. */
struct compare {
	const struct content *content;
	uint64_t at;
	uint64_t taken;
	bool differs;
	int answer;
};

static inline int compare_take(void *arg, const void *data, size_t size)
{
	struct compare *c = arg;
	const uint8_t *p = data;
	for (size_t i = 0; i < size; i++) {
		c->differs = c->differs || p[i] != content_byte(c->content, c->at + i);
	}
	c->at += size;
	c->taken += size;
	return c->answer;
}

/* The step of that name; fails when the probe did not come to it. */
static inline const struct et_probe_step *step_of(const struct et_probe *p, const char *name)
{
	for (size_t i = 0; i < p->step_count; i++) {
		if (strcmp(p->steps[i].name, name) == 0) {
			return &p->steps[i];
		}
	}
	fail_msg("there is no step '%s'", name);
	return NULL;
}

/* It failed at `name` first, and says why and what to do; nothing of it is the secret. */
static inline void failed_at(const struct et_probe *p, const char *name, int code)
{
	const struct et_probe_step *failed = NULL;
	for (size_t i = 0; i < p->step_count && failed == NULL; i++) {
		failed = p->steps[i].result == ET_PROBE_FAILED ? &p->steps[i] : NULL;
	}
	assert_non_null(failed);
	assert_string_equal(failed->name, name);
	assert_int_equal(failed->code, code);
	assert_true(failed->text[0] != '\0');
	assert_null(strstr(failed->text, "secretsecret"));
}

/* Start a program with its output in a pipe; the first line it prints goes to `line`. Its exit code
 * when it ended without one, else 0. `ret_input` (may be NULL) gets the end of its standard input.
 */
static inline int program_start(char *const argv[], char *line, size_t size, pid_t *ret_pid,
				int *ret_input)
{
	int ends[2];
	int input[2] = { -1, -1 };
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	posix_spawn_file_actions_t actions;
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[1], 1), 0);
	if (ret_input != NULL) {
		assert_int_equal(pipe2(input, O_CLOEXEC), 0);
		assert_int_equal(posix_spawn_file_actions_adddup2(&actions, input[0], 0), 0);
		*ret_input = input[1];
	}
	assert_int_equal(posix_spawnp(ret_pid, argv[0], &actions, NULL, argv, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(ends[1]);
	(void)close(input[0]);
	size_t used = 0;
	char c;
	while (used + 1 < size && read(ends[0], &c, 1) == 1 && c != '\n') {
		line[used++] = c;
	}
	line[used] = '\0';
	(void)close(ends[0]);
	if (used == 0) {
		int status = 0;
		assert_int_equal(waitpid(*ret_pid, &status, 0), *ret_pid);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
	}
	return 0;
}

/* The value of "name=value" in `line`. */
static inline void line_value(const char *line, const char *name, char *ret, size_t size)
{
	char prefix[32];
	(void)snprintf(prefix, sizeof(prefix), "%s=", name);
	const char *at = strstr(line, prefix);
	assert_non_null(at);
	at += strlen(prefix);
	size_t n = strcspn(at, " \n");
	assert_true(n < size);
	memcpy(ret, at, n);
	ret[n] = '\0';
}

#endif
