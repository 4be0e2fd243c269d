/* Where passphrases and PINs are read, and what Argon2id makes of a passphrase. */
#include <argon2.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/root/root_internal.h"

int root_credential_path(const char *name, char ret[ET_ROOT_PATH_MAX + 1], struct et_error *reterr)
{
	const char *folder = secure_getenv("CREDENTIALS_DIRECTORY");

	if (folder == NULL || folder[0] != '/') {
		(void)et_fail_plain(reterr, ET_ENOTFOUND,
				    "credential '%s': this process was started without credentials",
				    name);
		return et_fail_next(reterr,
				    "LoadCredentialEncrypted=%s in the unit (systemctl "
				    "edit evertaped)",
				    name);
	}
	int n = snprintf(ret, ET_ROOT_PATH_MAX + 1, "%s/%s", folder, name);
	return n < 0 || n > ET_ROOT_PATH_MAX ? et_fail(reterr, -ENAMETOOLONG, "'%s'", folder) : 0;
}

/* A line into `secret`, whose size is the room; its length, without its end, is returned. */
static ssize_t line_read(int fd, struct et_secret *secret)
{
	uint8_t *to = et_secret_edit(secret);
	size_t size = 0;

	while (size < et_secret_size(secret)) {
		ssize_t n = read(fd, to + size, 1); /* what follows the line is another's */
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return -errno;
		}
		if (n == 0 || to[size] == '\n') {
			return (ssize_t)(size > 0 && to[size - 1] == '\r' ? size - 1 : size);
		}
		size++;
	}
	return ET_ELIMIT;
}

static int line_take(int fd, const char *what, const char *where, struct et_secret **ret,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *room = et_secret_new(ET_SECRET_SIZE_MAX);

	if (room == NULL) {
		return et_fail(reterr, -ENOMEM, "%s", what);
	}
	ssize_t size = line_read(fd, room);
	if (size <= 0) {
		return size < 0 ? et_fail(reterr, (int)size, "read the %s from %s", what, where)
				: et_fail_plain(reterr, ET_EROOTSECRET, "%s: no %s is there", where,
						what);
	}
	*ret = et_secret_copy(et_secret_bytes(room), (size_t)size);
	return *ret != NULL ? 0 : et_fail(reterr, -ENOMEM, "%s", what);
}

static int from_file(const char *path, const char *what, struct et_secret **ret,
		     struct et_error *reterr)
{
	char where[ET_ROOT_PATH_MAX + 8];
	struct stat st;

	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int rc = errno == ENOENT ? ET_ENOTFOUND : -errno; /* not: there is no root yet */
		(void)et_fail(reterr, rc, "%s in '%s'", what, path);
		return et_fail_next(reterr, "put the %s there, mode 0400", what);
	}
	if ((st.st_mode & 077) != 0 || (st.st_uid != geteuid() && st.st_uid != 0)) {
		(void)et_fail_plain(reterr, ET_EKEYPERM,
				    "the %s in '%s' is not private: mode %04o, user %u", what, path,
				    (unsigned)st.st_mode & 07777, (unsigned)st.st_uid);
		return et_fail_next(reterr, "chmod 0400 '%.150s'", path);
	}
	(void)snprintf(where, sizeof(where), "'%s'", path);
	return line_take(fd, what, where, ret, reterr);
}

/* All that this process has opened itself is closed on exec: another is not what was handed over.
 */
static int from_fd(int fd, const char *what, struct et_secret **ret, struct et_error *reterr)
{
	char where[32];
	int flags = fcntl(fd, F_GETFD);

	(void)snprintf(where, sizeof(where), "fd:%d", fd);
	if (flags < 0 || (flags & FD_CLOEXEC) != 0) {
		(void)et_fail_plain(reterr, ET_ENOTFOUND,
				    "%s: no such descriptor was handed to this process", where);
		return et_fail_next(reterr, "evertaped CONFIG %d< FILE", fd);
	}
	return line_take(fd, what, where, ret, reterr);
}

static int terminal_ask(int fd, const char *prompt, const char *what, struct et_secret **ret,
			struct et_error *reterr)
{
	struct termios old;

	if (tcgetattr(fd, &old) < 0) {
		return et_fail(reterr, -errno, "terminal");
	}
	struct termios quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	quiet.c_lflag |= ICANON;
	(void)tcsetattr(fd, TCSAFLUSH, &quiet);
	(void)dprintf(fd, "%s%s: ", prompt, what);
	int rc = line_take(fd, what, "the terminal", ret, reterr);
	(void)tcsetattr(fd, TCSAFLUSH, &old);
	(void)dprintf(fd, "\n");
	return rc;
}

static int from_terminal(const char *what, bool twice, struct et_secret **ret,
			 struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	ET_CLEANUP(et_secret_freep) struct et_secret *first = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *second = NULL;

	if (fd < 0) {
		(void)et_fail_plain(reterr, ET_ENOTFOUND,
				    "the %s is to come from a terminal, and there is none", what);
		return et_fail_next(reterr, "start evertaped in the foreground, or use "
					    "credential:NAME or file:/run/...");
	}
	int rc = terminal_ask(fd, "", what, &first, reterr);
	rc = rc < 0 || !twice ? rc : terminal_ask(fd, "again, the ", what, &second, reterr);
	if (rc == 0 && twice && !et_secret_equal(first, second)) {
		rc = et_fail_plain(reterr, ET_EROOTSECRET, "that was not the same %s twice", what);
	}
	if (rc == 0) {
		*ret = ET_TAKE(first);
	}
	return rc;
}

int root_secret_read(const struct et_root_source *source, const char *what, bool twice,
		     struct et_secret **ret, struct et_error *reterr)
{
	char path[ET_ROOT_PATH_MAX + 1];
	int rc;

	switch (source->kind) {
	case ET_ROOT_FROM_FILE:
		return from_file(source->name, what, ret, reterr);
	case ET_ROOT_FROM_CREDENTIAL:
		rc = root_credential_path(source->name, path, reterr);
		return rc < 0 ? rc : from_file(path, what, ret, reterr);
	case ET_ROOT_FROM_FD:
		return from_fd(source->fd, what, ret, reterr);
	case ET_ROOT_FROM_TERMINAL:
		return from_terminal(what, twice, ret, reterr);
	default:
		et_unreachable();
	}
}

int root_stretch(const struct et_secret *passphrase, const struct et_root_cost *cost,
		 const uint8_t salt[SALT_SIZE], struct et_secret **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = et_secret_new(ET_ROOT_SIZE);

	if (key == NULL) {
		return et_fail(reterr, -ENOMEM, "passphrase");
	}
	int rc = argon2id_hash_raw(cost->passes, cost->memory_kib, /* parallelism= */ 1,
				   et_secret_bytes(passphrase), et_secret_size(passphrase), salt,
				   SALT_SIZE, et_secret_edit(key), ET_ROOT_SIZE);
	if (rc == ARGON2_MEMORY_ALLOCATION_ERROR) {
		return et_fail(reterr, -ENOMEM, "Argon2id needs %u MiB for a moment",
			       cost->memory_kib / 1024);
	}
	if (rc != ARGON2_OK) {
		return et_fail_plain(reterr, -EIO, "Argon2id: %s", argon2_error_message(rc));
	}
	*ret = ET_TAKE(key);
	return 0;
}
