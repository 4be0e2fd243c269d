#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/cli/untar.h"

struct fixture {
	char dir[64];
	char out[80];
	FILE *f;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	if (f == NULL) {
		return -1;
	}
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/et_untar.XXXXXX");
	if (mkdtemp(f->dir) == NULL) {
		return -1;
	}
	(void)snprintf(f->out, sizeof(f->out), "%s/out", f->dir);
	f->f = tmpfile();
	*state = f;
	return f->f != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];
	(void)fclose(f->f);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	int rc = system(command);
	free(f);
	return rc;
}

/* One ustar member; the checksum is right unless `bad`. */
static void member(FILE *f, const char *name, const char *content, char type, bool bad)
{
	char h[512] = { 0 };
	char block[512] = { 0 };
	size_t size = strlen(content);
	(void)snprintf(h, 100, "%s", name);
	(void)snprintf(h + 100, 8, "%07o", 0600U);
	(void)snprintf(h + 124, 12, "%011o", (unsigned)size);
	h[156] = type;
	memcpy(h + 257, "ustar\00000", 8);
	memset(h + 148, ' ', 8);
	unsigned sum = bad ? 1 : 0;
	for (size_t i = 0; i < 512; i++) {
		sum += (uint8_t)h[i];
	}
	(void)snprintf(h + 148, 8, "%06o", sum);
	memcpy(block, content, size);
	assert_int_equal(fwrite(h, 1, 512, f), 512);
	if (size > 0) {
		assert_int_equal(fwrite(block, 1, 512, f), 512);
	}
}

static void end(FILE *f)
{
	char zeros[1024] = { 0 };
	assert_int_equal(fwrite(zeros, 1, sizeof(zeros), f), sizeof(zeros));
	rewind(f);
}

static void unpacks_plain_files(void **state)
{
	struct fixture *f = *state;
	struct et_error e = { 0 };
	member(f->f, "manifest.json", "{}", '0', false);
	member(f->f, "s001-stream00-PCMU.raw", "payload", '0', false);
	end(f->f);
	assert_int_equal(et_untar(f->f, f->out, &e), 0);

	char path[160];
	char text[16] = "";
	struct stat st;
	(void)snprintf(path, sizeof(path), "%s/s001-stream00-PCMU.raw", f->out);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	FILE *in = fopen(path, "r");
	assert_non_null(in);
	assert_int_equal(fread(text, 1, sizeof(text), in), 7);
	assert_memory_equal(text, "payload", 7);
	(void)fclose(in);
	/* A second time nothing is overwritten. */
	rewind(f->f);
	assert_int_equal(et_untar(f->f, f->out, &e), -EEXIST);
}

static void refused(struct fixture *f, const char *name, char type, bool bad)
{
	struct et_error e = { 0 };
	rewind(f->f);
	assert_int_equal(ftruncate(fileno(f->f), 0), 0);
	member(f->f, name, "x", type, bad);
	end(f->f);
	assert_int_equal(et_untar(f->f, f->out, &e), ET_EMALFORMED);
	char path[160];
	(void)snprintf(path, sizeof(path), "%s/escaped", f->dir);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void refuses_what_would_leave_the_folder(void **state)
{
	struct fixture *f = *state;
	refused(f, "../escaped", '0', false);
	refused(f, "/tmp/escaped", '0', false);
	refused(f, ".hidden", '0', false);
	refused(f, "a b", '0', false);
	refused(f, "link", '2', false);
	refused(f, "folder", '5', false);
	refused(f, "good", '0', true);
}

static void says_when_the_stream_is_cut(void **state)
{
	struct fixture *f = *state;
	struct et_error e = { 0 };
	member(f->f, "a", "content", '0', false);
	rewind(f->f);
	assert_int_equal(et_untar(f->f, f->out, &e), ET_ETRUNCATED);
	rewind(f->f);
	assert_int_equal(ftruncate(fileno(f->f), 600), 0);
	assert_int_equal(et_untar(f->f, f->out, &e), -EEXIST);
	char path[160];
	(void)snprintf(path, sizeof(path), "%s/a", f->out);
	assert_int_equal(unlink(path), 0);
	rewind(f->f);
	assert_int_equal(et_untar(f->f, f->out, &e), ET_ETRUNCATED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(unpacks_plain_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses_what_would_leave_the_folder, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(says_when_the_stream_is_cut, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
