#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/bytes.h"
#include "node/config/config.h"
#include "node/io/file.h"

#define REST_BEFORE                                                                                \
	"cluster: acme\nnode: {name: a, site: s, roles: [voter]}\n"                                \
	"listen: {cluster: 10.0.0.1:7400}\n"

struct fixture {
	char dir[64];
	char path[96];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/et_set.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/evertape.yaml", f->dir);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0); /* no temporary file is left */
	free(f);
	return 0;
}

/* `before` becomes `after`, byte by byte; NULL: refused, and it stays as it is. */
static void sets(struct fixture *f, const char *before, const char *after)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	struct et_error e;
	struct stat st;

	assert_int_equal(et_file_publish(f->path, before, strlen(before), 0640, &e), 0);
	int rc = et_config_set_root(f->path, "passphrase:fd:3", &e);
	if (rc != (after != NULL ? 0 : ET_EUNSUPPORTED)) {
		fail_msg("%d: %s", rc, e.text);
	}
	assert_int_equal(et_file_read(f->path, 65536, &b, NULL), 0);
	et_buffer_add8(&b, 0);
	assert_string_equal((const char *)b.data, after != NULL ? after : before);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void the_value_is_replaced_and_nothing_else(void **state)
{
	struct fixture *f = *state;

	sets(f, REST_BEFORE "data: {state: /s, media: /m, root: file:/r} # why\n# end\n",
	     REST_BEFORE "data: {state: /s, media: /m, root: \"passphrase:fd:3\"} # why\n# end\n");
	sets(f, REST_BEFORE "data:\n  root:   'file:/r'   # it\n  state: /s\n  media: /m\n",
	     REST_BEFORE "data:\n  root:   \"passphrase:fd:3\"   # it\n  state: /s\n  media: /m\n");
	sets(f, REST_BEFORE "data:\n  state: /s\n  media: /m\n  root: \"file:/r\"",
	     REST_BEFORE "data:\n  state: /s\n  media: /m\n  root: \"passphrase:fd:3\"");
	sets(f, "# p\xc5\x99\xc3\xad\n" REST_BEFORE "data: {state: /s, media: /m, root: file:/r}\n",
	     "# p\xc5\x99\xc3\xad\n" REST_BEFORE
	     "data: {state: /s, media: /m, root: \"passphrase:fd:3\"}\n");
}

static void what_is_not_found_again_is_left_alone(void **state)
{
	struct fixture *f = *state;

	sets(f, REST_BEFORE "data: {state: /s, media: /m, root: \"file:/\\x72\"}\n", NULL);
	sets(f, REST_BEFORE "data:\n  state: /s\n  media: /m\n  root: >-\n    file:/r\n", NULL);
	sets(f, REST_BEFORE "data: {state: \"/\xc5\x99\", media: /m, root: file:/r}\n",
	     REST_BEFORE "data: {state: \"/\xc5\x99\", media: /m, root: \"passphrase:fd:3\"}\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_value_is_replaced_and_nothing_else),
		TEST(what_is_not_found_again_is_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
