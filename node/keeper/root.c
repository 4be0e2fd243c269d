#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "node/keeper/keeper.h"

#define SPEC_FILE "file:"

static const char *root_path(const char *spec, struct et_error *reterr)
{
	if (strncmp(spec, SPEC_FILE, sizeof(SPEC_FILE) - 1) != 0 ||
	    spec[sizeof(SPEC_FILE) - 1] != '/') {
		(void)et_fail_plain(reterr, ET_EUNSUPPORTED,
				    "node root '%.100s': only file:/path is supported", spec);
		return NULL;
	}
	return spec + sizeof(SPEC_FILE) - 1;
}

int et_keeper_root_load(const char *spec, struct et_secret **ret, struct et_error *reterr)
{
	const char *path = root_path(spec, reterr);
	struct stat st;

	if (path == NULL) {
		return ET_EUNSUPPORTED;
	}
	if (lstat(path, &st) < 0) {
		return et_fail(reterr, -errno, "node root '%s'", path);
	}
	if (!S_ISREG(st.st_mode)) {
		return et_fail_plain(reterr, ET_EKEYPERM, "node root '%s' is not a regular file",
				     path);
	}
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		return et_fail_plain(reterr, ET_EKEYPERM,
				     "node root '%s' belongs to user %u, not to this one (%u) or "
				     "root",
				     path, (unsigned)st.st_uid, (unsigned)geteuid());
	}
	if ((st.st_mode & 07177) != 0) {
		(void)et_fail_plain(reterr, ET_EKEYPERM,
				    "node root '%s' has mode %04o; it must be 0400", path,
				    (unsigned)st.st_mode & 07777);
		return et_fail_next(reterr, "chmod 0400 '%s'", path);
	}
	return et_secret_load(path, ET_ROOT_SIZE, ret, reterr);
}

int et_keeper_root_make(const char *spec, struct et_secret **ret, struct et_error *reterr)
{
	const char *path = root_path(spec, reterr);

	if (path == NULL) {
		return ET_EUNSUPPORTED;
	}
	if (access(path, F_OK) == 0) {
		return et_fail(reterr, ET_EEXISTS, "node root '%s'", path);
	}
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	int rc = et_secret_random(ET_ROOT_SIZE, &root, reterr);
	rc = rc < 0 ? rc : et_file_publish(path, et_secret_bytes(root), ET_ROOT_SIZE, 0400, reterr);
	if (rc < 0) {
		return rc;
	}
	*ret = ET_TAKE(root);
	return 0;
}
