/* Signature Version 4 of AWS ("Signature Calculations for the Authorization Header: Transferring
 * Payload in a Single Chunk", Amazon S3 API reference). Made here because libcurl 7.88's own is
 * wrong for some paths and queries.
 *
 * Threads: pure functions. */
#ifndef ET_ARCHIVE_BUCKET_S3_SIGN_H
#define ET_ARCHIVE_BUCKET_S3_SIGN_H

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/secret.h"

/* Views. `name` is in lower case; `value` has no blanks at its ends. */
struct s3_header {
	const char *name;
	const char *value;
};

/* Views. */
struct s3_signing {
	const char *method;
	const char *path;		 /* from '/', encoded with s3_encode() */
	const char *query;		 /* "a=1&b=2": sorted by name, encoded; "" for none */
	const struct s3_header *headers; /* those that are signed, sorted by name; with host */
	size_t header_count;
	const char *payload_hash; /* hexadecimal SHA-256 */
	const char *region;
	const char *key_id;
	const struct et_secret *secret;
	const char *time; /* s3_time() */
};

/* "20130524T000000Z" and a NUL */
#define S3_TIME_SIZE 17
void s3_time(int64_t us, char ret[S3_TIME_SIZE]);

/* The value of the header Authorization, with a NUL. -ENOMEM, or what OpenSSL says. */
int s3_sign(const struct s3_signing *signing, struct et_buffer *ret,
	    struct et_error *reterr) ET_MUST_CHECK;

/* Add `text` percent-encoded as AWS wants it: all but [A-Za-z0-9-._~], and '/' where it is kept. */
void s3_encode(struct et_buffer *ret, const char *text, bool keep_slash);

#endif
