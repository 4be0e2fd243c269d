/* Buckets: where archived objects lie. One interface, three stores.
 *
 *   dir   a mounted file system
 *   s3    S3 with Signature V4, on libcurl (TLS verified, payload hash signed)
 *   s3v2  S3 with Signature V2, on libs3, for appliances that speak nothing newer; libs3 2.0
 * reports some failures as success, so each operation is checked by HEAD, length and hash
 *
 * Promises, the same for every store (test_conformance.c holds them to it):
 *   - a put that returned 0 is an object of exactly that size, and its content is what the caller
 *     hashed: a source whose bytes do not fit `sha256` leaves no object;
 *   - a put never changes an object into different content where the store can tell (ET_EEXISTS);
 *     putting the same content again is 0, so that a put may be repeated after any failure;
 *   - a get that returned 0 delivered exactly the bytes asked for, in order; error pages, short
 *     answers and redirects are failures;
 *   - failures that a repetition may cure (no connection, 5xx, SlowDown, a reset, a stall) are
 *     repeated here, `attempts` times with growing pauses, and then ET_EUNREACHABLE.
 * What is promised is what the store says; that it can be read is for et_bucket_verify() to show.
 *
 * Errors
 *   ET_EUNREACHABLE  no answer, or 5xx, after the last attempt
 *   ET_EUNTRUSTED    TLS: the server cannot prove who it is
 *   ET_EDENIED       credentials, clock or permission: the text has the server's code
 *   ET_ENOTFOUND     no such object or bucket
 *   ET_EEXISTS       there is another object at this key
 *   ET_EINTEGRITY    the content is not what was put, or the source is not what was hashed
 *   ET_EPOLICY       a lock forbids it
 *   ET_EUNSUPPORTED  this store, or this server, cannot do it
 *   ET_EMALFORMED    bad key or configuration, or an answer that is not S3
 *   ET_ECLOSED       et_bucket_cancel()
 *   -ENOSPC, -EIO... from the file system of a directory
 *
 * Keys: 1 to 512 characters of [A-Za-z0-9._/-], without a leading or trailing '/', and without
 * segments that are empty or begin with '.'.
 *
 * Threads: a bucket belongs to one thread, which may wait; et_bucket_cancel() from any. Open one
 * for each thread. */
#ifndef ET_ARCHIVE_BUCKET_BUCKET_H
#define ET_ARCHIVE_BUCKET_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

#define ET_BUCKET_KEY_MAX 512 /* characters; S3 allows 1024, which leaves room for `prefix` */
#define ET_BUCKET_TO_END UINT64_MAX

struct et_bucket;

enum et_bucket_type { ET_BUCKET_DIR, ET_BUCKET_S3, ET_BUCKET_S3V2 };

enum et_bucket_lock { ET_LOCK_NONE, ET_LOCK_GOVERNANCE, ET_LOCK_COMPLIANCE };

/* All text is borrowed for the call of et_bucket_open(). NULL means "not given". */
struct et_bucket_config {
	enum et_bucket_type type;
	const char *path; /* dir: its root, an absolute path of an existing folder */

	const char *endpoint;	 /* "https://host[:port]" or "http://host[:port]" */
	const char *region;	 /* s3; NULL: "us-east-1" */
	const char *bucket;	 /* 3 to 63 characters */
	const char *prefix;	 /* of all keys; a key without a trailing '/', which is added */
	bool virtual_host;	 /* bucket.host/key instead of host/bucket/key */
	const char *ca_file;	 /* PEM; NULL: the system's */
	const char *credentials; /* path of a file: see credentials.h */
	bool insecure_tls; /* s3v2 with https: libs3 verifies no certificate, say that you know */
	const char *storage_class; /* s3; NULL: the bucket's default */

	uint32_t connect_ms; /* 0: 10 s */
	uint32_t stall_ms;   /* no byte moves; rounded up to seconds. 0: 10 s */
	uint32_t attempts;   /* 0: 5 */
	uint32_t pause_ms;   /* before the second attempt; doubled up to 64 times it. 0: 250 */
};

/* Check the configuration, read the credentials, open the folder; no request is sent. On success
 * the caller owns *ret. ET_EKEYPERM: others can read the credentials. ET_ENOTFOUND: no folder. */
int et_bucket_open(const struct et_bucket_config *config, struct et_bucket **ret,
		   struct et_error *reterr) ET_MUST_CHECK;

/* Checks everything that et_bucket_open() checks without looking at files. */
int et_bucket_check(const struct et_bucket_config *config, struct et_error *reterr) ET_MUST_CHECK;

struct et_bucket *et_bucket_close(struct et_bucket *b); /* NULL is allowed; returns NULL */

static inline void et_bucket_closep(struct et_bucket **b)
{
	*b = et_bucket_close(*b);
}

/* End what is running, and every later call, with ET_ECLOSED. Any thread; `b` must be open. */
void et_bucket_cancel(struct et_bucket *b);

bool et_bucket_key_ok(const char *key);

/* Make the store itself: the folder, or the bucket (with_lock: versioned, with Object Lock). 0 if
 * it is there already and ours. et_bucket_open() of a folder that is missing fails: use this
 * instead, before. */
int et_bucket_make(const struct et_bucket_config *config, bool with_lock,
		   struct et_error *reterr) ET_MUST_CHECK;

/* One object to put. The caller fills it in; everything is borrowed until the put returns. */
struct et_bucket_put {
	const char *key;
	uint64_t size;	       /* bytes, at most 5 GiB (a single PUT) */
	const uint8_t *sha256; /* of the content, 32 bytes */
	/* Exactly `size` bytes at `offset`: 0 or negative. May be called for the same bytes again.
	 */
	int (*read)(void *arg, uint64_t offset, void *data, size_t size);
	void *arg;
	bool if_absent; /* an object at the key is ET_EEXISTS, even when it is equal */
	enum et_bucket_lock lock;
	int64_t lock_until_us; /* UTC; with a lock */

	/* Result. */
	int code;	       /* 0 or why not */
	struct et_error error; /* when code != 0 */
	uint32_t requests;     /* sent for it, repetitions included */
};

int et_bucket_put(struct et_bucket *b, struct et_bucket_put *put,
		  struct et_error *reterr) ET_MUST_CHECK;

/* Put `count` objects, up to `parallel` at a time (s3; the other stores one after the other). Each
 * has its own result. 0 when all are 0, else the code of the first that failed. */
int et_bucket_put_many(struct et_bucket *b, struct et_bucket_put *puts, size_t count,
		       uint32_t parallel, struct et_error *reterr) ET_MUST_CHECK;

/* Takes the next bytes; a negative result ends the transfer and is returned. */
typedef int (*et_bucket_sink)(void *arg, const void *data, size_t size);

/* `length` bytes at `offset` (ET_BUCKET_TO_END: the rest). A range that the object does not have is
 * ET_EINTEGRITY: whoever asks knows the size from the catalogue. */
int et_bucket_get(struct et_bucket *b, const char *key, uint64_t offset, uint64_t length,
		  et_bucket_sink sink, void *arg, struct et_error *reterr) ET_MUST_CHECK;

struct et_bucket_object {
	uint64_t size;
	char etag[96];		  /* without quotes; dir: "" */
	char storage_class[32];	  /* "" : the default */
	enum et_bucket_lock lock; /* as read back from the server */
	int64_t lock_until_us;
	bool legal_hold;
	char version[128]; /* s3, of a versioned bucket; "": it has none */
};

int et_bucket_head(struct et_bucket *b, const char *key, struct et_bucket_object *ret,
		   struct et_error *reterr) ET_MUST_CHECK;

/* Read the whole object: size and SHA-256 must be these (ET_EINTEGRITY). A directory's file is read
 * from the disk, not from the page cache, where the kernel lets us ask for it. */
int et_bucket_verify(struct et_bucket *b, const char *key, uint64_t size, const uint8_t sha256[32],
		     struct et_error *reterr) ET_MUST_CHECK;

/* All keys that begin with `prefix` and lie after `after` ("" or NULL: all), in byte order. A
 * non-zero result of `fn` ends the walk and is returned. */
int et_bucket_list(struct et_bucket *b, const char *prefix, const char *after,
		   int (*fn)(void *arg, const char *key, uint64_t size), void *arg,
		   struct et_error *reterr) ET_MUST_CHECK;

/* 0 also when there was none. ET_EPOLICY: locked. In a versioned bucket this leaves a marker and
 * the version. */
int et_bucket_delete(struct et_bucket *b, const char *key, struct et_error *reterr) ET_MUST_CHECK;

/* Delete this version of an object for good, without a marker: `version` as et_bucket_head() said.
 * 0 also when there was none. ET_EPOLICY: locked. ET_EUNSUPPORTED: the store has no versions. */
int et_bucket_delete_version(struct et_bucket *b, const char *key, const char *version,
			     struct et_error *reterr) ET_MUST_CHECK;

/* The server's clock minus ours, as of its last answer that had a date (whole seconds). false: this
 * store tells none, or has not answered yet. */
bool et_bucket_apart(struct et_bucket *b, int64_t *ret_us);

#endif
