/* The credentials file of an S3 target, on each node that talks to it. Either two lines,
 *
 *   AKIAEXAMPLE
 *   wJalrXUtnFEMI/...
 *
 * or the profile form of AWS's tools, of which the section [default] is read:
 *
 *   [default]
 *   aws_access_key_id = AKIAEXAMPLE
 *   aws_secret_access_key = wJalrXUtnFEMI/...
 *
 * Temporary credentials (session tokens) are not supported: nobody would renew them.
 * The file is a regular file of mode 0400 or 0600, of root or of the user of the process.
 *
 * Threads: pure functions; the struct belongs to one thread. */
#ifndef ET_ARCHIVE_BUCKET_CREDENTIALS_H
#define ET_ARCHIVE_BUCKET_CREDENTIALS_H

#include "node/base/secret.h"

struct et_credentials {
	char key_id[129];
	struct et_secret *secret; /* owned */
};

/* ET_EKEYPERM: others can read it; ET_EMALFORMED; -ENOENT, ... */
int et_credentials_load(const char *path, struct et_credentials *ret,
			struct et_error *reterr) ET_MUST_CHECK;
/* `name` is the file's, for messages, which never hold a value. */
int et_credentials_parse(const char *name, const char *text, size_t size,
			 struct et_credentials *ret, struct et_error *reterr) ET_MUST_CHECK;
void et_credentials_release(struct et_credentials *c); /* zeros are fine */

#endif
