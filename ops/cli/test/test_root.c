/* evertape key root: what it says, and that a change that is killed at any system call leaves a
 * root that opens by what the configuration names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/config/config.h"
#include "node/root/root.h"
#include "ops/cli/cli.h"

#define SOFTHSM "/usr/lib/softhsm/libsofthsm2.so"
#define ROOT_BYTES "0123456789abcdef0123456789ABCDEF"

struct fixture {
	char dir[64];
	char config[96];
	char file[96]; /* specifications */
	char pass[96];
	char token[256];
};

static void shell(const char *fmt, ...) ET_PRINTF(1, 2);
static void shell(const char *fmt, ...)
{
	char command[2048];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	if (system(command) != 0) {
		fail_msg("%s", command);
	}
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char text[128];

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/et_cli_root.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->config, sizeof(f->config), "%s/evertape.yaml", f->dir);
	(void)snprintf(f->file, sizeof(f->file), "file:%s/root.key", f->dir);
	(void)snprintf(f->pass, sizeof(f->pass), "passphrase:file:%s/pass", f->dir);
	(void)snprintf(f->token, sizeof(f->token),
		       "pkcs11:token=hsm;object=evertape-root?module-path=" SOFTHSM
		       "&pin-source=file:%s/pin",
		       f->dir);
	shell("cd %s && umask 077 && mkdir clean && cd clean && mkdir state tokens && "
	      "printf '" ROOT_BYTES "' > root.key && printf 'a long passphrase' > pass && "
	      "printf 1234 > pin && printf 'directories.tokendir = %s/tokens\\n' > softhsm.conf && "
	      "printf 'cluster: a\\nnode: {name: n, site: s, roles: [voter]}\\n"
	      "listen: {cluster: 10.0.0.1:7400}\\n"
	      "data: {state: %s/state, media: %s/media, root: \"%s\"} # here\\n' > evertape.yaml "
	      "&& "
	      "cp -a . ..",
	      f->dir, f->dir, f->dir, f->dir, f->file);
	(void)snprintf(text, sizeof(text), "%s/softhsm.conf", f->dir);
	assert_int_equal(setenv("SOFTHSM2_CONF", text, 1), 0);
	shell("softhsm2-util --init-token --free --label hsm --pin 1234 --so-pin 5678 >/dev/null "
	      "&& "
	      "cp -a %s/tokens %s/clean/",
	      f->dir, f->dir);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	shell("rm -rf %s", f->dir);
	free(f);
	return 0;
}

/* evertape key root ... --config; its exit code. What it says goes to out and err in the folder. */
static int run(const struct fixture *f, const char *verb, const char *spec)
{
	const char *argv[] = { "evertape", "key",  "root",     verb, "--config", f->config,
			       "--memory", "8MiB", "--passes", "1",  spec };
	char path[96];
	bool change = strcmp(verb, "change") == 0;

	(void)snprintf(path, sizeof(path), "%s/out", f->dir);
	FILE *out = fopen(path, "we");
	(void)snprintf(path, sizeof(path), "%s/err", f->dir);
	FILE *err = fopen(path, "we");
	assert_non_null(out);
	assert_non_null(err);
	if (!change) {
		argv[6] = spec;
	}
	int code = et_cli_main(change	      ? 11
			       : spec != NULL ? 7
					      : 6,
			       (char **)(uintptr_t)argv, out, err);
	(void)fclose(out);
	(void)fclose(err);
	return code;
}

static void said(const struct fixture *f, const char *file, const char *text)
{
	char path[96];
	char all[4096] = "";

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, file);
	FILE *in = fopen(path, "re");
	assert_non_null(in);
	all[fread(all, 1, sizeof(all) - 1, in)] = '\0';
	(void)fclose(in);
	if (strstr(all, text) == NULL) {
		fail_msg("\"%s\" is not in: %s", text, all);
	}
}

/* By what the configuration names, as evertaped would. *ret_spec is what that is. */
static bool opens(const struct fixture *f, char ret_spec[ET_ROOT_SPEC_MAX + 1])
{
	static struct et_config c;
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct et_root_place place = { .spec = c.root, .state = c.state };
	struct et_error e;

	if (et_config_load(f->config, &c, &e) < 0 || et_root_load(&place, &root, &e) < 0) {
		fail_msg("%s", e.text);
	}
	memcpy(ret_spec, c.root, sizeof(c.root));
	return memcmp(et_secret_bytes(root), ROOT_BYTES, ET_ROOT_SIZE) == 0;
}

static void becomes(const struct fixture *f, const char *spec)
{
	char is[ET_ROOT_SPEC_MAX + 1];

	if (run(f, "change", spec) != 0) {
		said(f, "err", "it worked");
	}
	assert_true(opens(f, is));
	assert_string_equal(is, spec);
}

static bool exists(const struct fixture *f, const char *name)
{
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return access(path, F_OK) == 0;
}

static void each_provider_follows_each(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(run(f, "show", NULL), 0);
	said(f, "out", f->file);
	becomes(f, f->pass);
	assert_false(exists(f, "root.key"));
	said(f, "err", "its bytes may remain");
	assert_int_equal(run(f, "show", "--open"), 0);
	said(f, "out", "passphrase");
	said(f, "out", "8.0 MiB");
	becomes(f, f->token);
	assert_int_equal(run(f, "show", "--open"), 0);
	said(f, "out", "AES-GCM");
	becomes(f, f->token); /* again: sealed anew */
	said(f, "err", "it was kept so before");
	becomes(f, f->file);
	assert_false(exists(f, "state/root.slots"));
	becomes(f, f->token);
	becomes(f, f->pass);
	becomes(f, f->file);
}

static void what_fails_changes_nothing(void **state)
{
	const struct fixture *f = *state;
	char is[ET_ROOT_SPEC_MAX + 1];

	shell("printf short > %s/pass", f->dir);
	assert_int_equal(run(f, "change", f->pass), 2);
	said(f, "err", "at least 12 bytes");
	shell("printf 0000 > %s/pin", f->dir);
	assert_int_equal(run(f, "change", f->token), 4);
	said(f, "err", "PIN of token 'hsm' is wrong");
	assert_int_equal(run(f, "change", "credential:none"), 5);
	said(f, "err", "without credentials");
	assert_int_equal(run(f, "change", "passphrase:hunter2"), 2);
	assert_true(opens(f, is));
	assert_string_equal(is, f->file);
	assert_true(exists(f, "root.key"));
	assert_false(exists(f, "state/root.slots"));
}

/* ---- Killed ---- */

static void clean(const struct fixture *f)
{
	shell("cd %s && rm -rf state tokens root.key* evertape.yaml* && cp -a clean/. .", f->dir);
}

/* Between two of the others nothing changes on a disk. */
static bool matters(uint64_t call)
{
	static const uint64_t calls[] = { SYS_open,   SYS_openat,   SYS_write,	   SYS_pwrite64,
					  SYS_rename, SYS_renameat, SYS_unlink,	   SYS_unlinkat,
					  SYS_fsync,  SYS_fchmod,   SYS_fchown,	   SYS_ftruncate,
					  SYS_clone,  SYS_wait4,    SYS_exit_group };

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i] == call) {
			return true;
		}
	}
	return false;
}

/* It, and the process that it has for the token, which dies with it. */
static void wait_all(void)
{
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {
	}
}

/* Run the change in a child that is killed before its call number `at` of those that matter; false:
 * it ended before. */
static bool change_killed(const struct fixture *f, const char *spec, unsigned at)
{
	struct __ptrace_syscall_info info;
	int signal_number = 0;
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) {
			_exit(99);
		}
		(void)raise(SIGSTOP);
		_exit(run(f, "change", spec));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD), 0);
	for (unsigned calls = 0; calls <= at;) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, child, NULL, signal_number), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		if (WIFEXITED(status)) {
			assert_int_equal(WEXITSTATUS(status), 0);
			return false;
		}
		assert_true(WIFSTOPPED(status));
		signal_number = WSTOPSIG(status);
		if (signal_number == (SIGTRAP | 0x80)) {
			signal_number = 0;
			assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) >
				    0);
			calls += info.op == PTRACE_SYSCALL_INFO_ENTRY && matters(info.entry.nr);
		}
	}
	assert_int_equal(kill(child, SIGKILL), 0);
	wait_all();
	return true;
}

/* Killed before each of its system calls that matter: what the configuration names then opens, and
 * the command, given again, comes to its end. */
static void survives(const struct fixture *f, const char *from, const char *to)
{
	char is[ET_ROOT_SPEC_MAX + 1];
	unsigned killed = 0;
	unsigned old = 0;

	for (bool more = true; more; killed += more) {
		clean(f);
		if (strcmp(from, f->file) != 0) {
			becomes(f, from);
		}
		more = change_killed(f, to, killed);
		assert_true(opens(f, is));
		assert_true(strcmp(is, from) == 0 || (strcmp(is, to) == 0 && old > 0));
		old += strcmp(is, from) == 0;
		if (killed % 8 == 0 || !more) {
			becomes(f, to);
		}
	}
	assert_true(killed > 20 && old > 10 && killed > old); /* it was killed on both sides */
	print_message(
		"killed at each of %u system calls: %u times the old way opened, %u times the "
		"new one\n",
		killed, old, killed - old);
}

static void a_change_from_file_to_passphrase_survives_kills(void **state)
{
	const struct fixture *f = *state;
	survives(f, f->file, f->pass);
}

static void a_change_from_passphrase_to_token_survives_kills(void **state)
{
	const struct fixture *f = *state;
	survives(f, f->pass, f->token);
}

static void a_change_from_token_to_file_survives_kills(void **state)
{
	const struct fixture *f = *state;
	survives(f, f->token, f->file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* for wait_all() */
	const struct CMUnitTest tests[] = {
		TEST(each_provider_follows_each),
		TEST(what_fails_changes_nothing),
		TEST(a_change_from_file_to_passphrase_survives_kills),
		TEST(a_change_from_passphrase_to_token_survives_kills),
		TEST(a_change_from_token_to_file_survives_kills),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
