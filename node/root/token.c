/* A call to a token, in a child process: fork, run, one answer through a pipe, exit.
 *
 *   parent                         child
 *   fork ───────────────────────▶  dlopen, C_Initialize, C_Login, C_Decrypt, ...
 *   poll(pipe, TIME_LIMIT_MS)  ◀── struct answer, and _exit()
 *   wait; kill when it is late
 *
 * The child's word is worth no more than the module's: codes are checked, texts are ended, and the
 * secret that it yields must open an authenticated box. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/root/root_internal.h"

#define TIME_LIMIT_MS 30000

struct answer {
	int code;
	struct et_error error;
	uint8_t secret[ET_ROOT_SIZE];
	struct root_slot slot;
};

_Noreturn static void child_run(struct token_job *job, int fd)
{
	struct answer *a =
		mmap(NULL, sizeof(*a), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGINT, SIG_DFL);
	if (a == MAP_FAILED) {
		_exit(1);
	}
	a->code = cryptoki_run(job, &a->error);
	memcpy(a->secret, job->secret, sizeof(a->secret));
	a->slot = job->slot;
	_exit(write(fd, a, sizeof(*a)) == (ssize_t)sizeof(*a) ? 0 : 1);
}

/* All of it within the time. 0: there; -ETIMEDOUT; -EPIPE: the child ended before. */
static int answer_read(int fd, struct answer *a)
{
	size_t size = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int n = poll(&p, 1, TIME_LIMIT_MS);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return n < 0 ? -errno : -ETIMEDOUT;
		}
		ssize_t got = read(fd, (uint8_t *)a + size, sizeof(*a) - size);
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got <= 0) {
			return got < 0 ? -errno : -EPIPE;
		}
		size += (size_t)got;
		if (size == sizeof(*a)) {
			return 0;
		}
	}
}

static int child_end(pid_t child, int rc, const char *module, struct et_error *reterr)
{
	int status = 0;

	if (rc == -ETIMEDOUT) {
		(void)kill(child, SIGKILL);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
	}
	if (rc == 0) {
		return 0;
	}
	if (rc == -ETIMEDOUT) {
		(void)et_fail_plain(reterr, ET_EMODULE,
				    "PKCS#11 module '%s' did not answer in %d s", module,
				    TIME_LIMIT_MS / 1000);
	} else if (WIFSIGNALED(status)) {
		(void)et_fail_plain(reterr, ET_EMODULE, "PKCS#11 module '%s' crashed: %s", module,
				    strsignal(WTERMSIG(status)));
	} else {
		(void)et_fail_plain(reterr, ET_EMODULE,
				    "PKCS#11 module '%s' ended the process that asked it", module);
	}
	return et_fail_next(reterr, "pkcs11-tool --module %.120s -T", module);
}

/* What the child says, as far as it can be true. */
static int answer_take(struct answer *a, struct token_job *job, struct et_error *reterr)
{
	a->error.text[sizeof(a->error.text) - 1] = '\0';
	a->error.next[sizeof(a->error.next) - 1] = '\0';
	if (a->code < 0) {
		if (reterr != NULL) {
			*reterr = a->error;
			reterr->code = a->code;
		}
		return a->code;
	}
	a->slot.serial[sizeof(a->slot.serial) - 1] = '\0';
	if (a->slot.wrapped_size > WRAPPED_MAX) {
		return et_fail(reterr, ET_EMODULE, "PKCS#11 module");
	}
	memcpy(job->secret, a->secret, sizeof(job->secret));
	job->slot = a->slot;
	return 0;
}

static int job_run(struct token_job *job, struct et_error *reterr)
{
	struct answer a = { 0 };
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC) < 0) {
		return et_fail(reterr, -errno, "ask the token");
	}
	pid_t child = fork();
	if (child == 0) {
		(void)close(pipes[0]);
		child_run(job, pipes[1]);
	}
	(void)close(pipes[1]);
	ET_CLEANUP(et_fd_closep) int fd = pipes[0];
	if (child < 0) {
		return et_fail(reterr, -errno, "ask the token");
	}
	int rc = child_end(child, answer_read(fd, &a), job->spec->module, reterr);
	rc = rc < 0 ? rc : answer_take(&a, job, reterr);
	explicit_bzero(&a, sizeof(a));
	return rc;
}

int root_token_wrap(const struct et_root_spec *spec, const struct et_secret *pin,
		    const struct et_secret *secret, struct root_slot *ret, struct et_error *reterr)
{
	struct token_job job = { .spec = spec, .pin = pin, .wraps = true };

	et_assert(et_secret_size(secret) == sizeof(job.secret));
	memcpy(job.secret, et_secret_bytes(secret), sizeof(job.secret));
	int rc = job_run(&job, reterr);
	if (rc == 0) {
		*ret = job.slot;
		ret->kind = ET_ROOT_PKCS11;
	}
	explicit_bzero(&job, sizeof(job));
	return rc;
}

int root_token_unwrap(const struct et_root_spec *spec, const struct et_secret *pin,
		      const struct root_slot *slot, struct et_secret **ret, struct et_error *reterr)
{
	struct token_job job = { .spec = spec, .pin = pin, .slot = *slot };

	int rc = job_run(&job, reterr);
	if (rc == 0) {
		*ret = et_secret_copy(job.secret, sizeof(job.secret));
		rc = *ret != NULL ? 0 : et_fail(reterr, -ENOMEM, "ask the token");
	}
	explicit_bzero(&job, sizeof(job));
	return rc;
}
