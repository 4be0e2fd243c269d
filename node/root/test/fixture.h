/* A state folder, a folder of secrets, and a place in them. */
#ifndef ET_NODE_ROOT_TEST_FIXTURE_H
#define ET_NODE_ROOT_TEST_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/root/root_internal.h"

struct fixture {
	char dir[64];
	char old[256]; /* the working folder before */
	char spec[600];
	struct et_root_place place;
	struct et_error e;
};

static const struct et_root_cost cheap = { .memory_kib = MEMORY_KIB_MIN, .passes = 1 };

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/et_root.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_non_null(getcwd(f->old, sizeof(f->old)));
	assert_int_equal(chdir(f->dir), 0);
	f->place = (struct et_root_place){ .spec = f->spec, .state = f->dir, .cost = cheap };
	*state = f;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	assert_int_equal(chdir(f->old), 0);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static inline void put(const char *path, const char *text)
{
	(void)unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0400);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
}

static inline struct et_secret *load(struct fixture *f)
{
	struct et_secret *s = NULL;

	if (et_root_load(&f->place, &s, &f->e) < 0) {
		fail_msg("%s", f->e.text);
	}
	return s;
}

static inline void loads(struct fixture *f, const struct et_secret *root)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *s = load(f);

	assert_true(et_secret_equal(s, root));
}

/* Fails so, with a sentence that has `text` in it; nothing is changed by it. */
static inline void refuses(struct fixture *f, int code, const char *text)
{
	struct et_secret *s = NULL;

	int rc = et_root_load(&f->place, &s, &f->e);
	if (rc != code || strstr(f->e.text, text) == NULL) {
		fail_msg("%s: %d (%s), want %s: %s", f->spec, rc, et_errname(rc), et_errname(code),
			 f->e.text);
	}
	assert_null(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
