/* The S3 store with Signature V2, on libs3 2.0, which is not to be believed. What was measured, and
 * what is done about it (each has its test in test_s3v2.c):
 *
 *   a PUT answered by an HTML error page says OK        → HEAD: size and MD5 must be there
 *   a PUT without "100 Continue" says ConnectionFailed  → HEAD decides here too
 *   a PUT never delivers an ETag                        → the same HEAD
 *   a truncated GET says OK                             → bytes are counted against HEAD's length
 *   a truncated list says OK, and "not truncated"       → a list ends with two empty pages, not
 * with what libs3 says NextMarker may be empty                             → the last key is the
 * marker SlowDown is "not retryable", resets InternalError   → what may be repeated is decided here
 *   ' ' becomes '+', "a/../b" is normalised             → such keys do not exist (et_bucket_key_ok)
 *   no connect timeout                                  → a connection is tried first
 *   TLS peers are not verified                          → https only with insecure-tls (bucket.c)
 *   content is neither signed nor hashed                → Content-MD5, and SHA-256 of the source
 *   HEAD's errors have no code                          → the text names what it may be
 *
 * Left as it is: an answer with a document type declaration costs libs3 a few hundred bytes for
 * ever. A stalled server is noticed by libs3 after about 20 s; et_bucket_cancel() waits for that.
 * Objects are put one after the other. */
#include <libs3.h>
#include <netdb.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "archive/bucket/bucket_internal.h"
#include "node/base/bytes.h"
#include "node/base/fd.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"

struct bucket_s3v2 {
	struct et_bucket base;
	struct et_credentials credentials; /* owned; the secret has a NUL at its end */
	S3BucketContext context;	   /* views into the two above */
	char port[8];
	char address[256]; /* host without brackets */
};

/* One request, and what came of it. */
struct v2_call {
	struct bucket_s3v2 *s;
	const char *what;
	const char *name;
	S3Status status;
	int local_code; /* what sink or source said */
	char detail[192];

	bool has_properties;
	uint64_t length;
	char etag[96]; /* as the server sent it, with quotes */

	struct et_bucket_put *put;
	uint64_t sent;

	et_bucket_sink sink;
	void *sink_arg;
	uint64_t expected;
	uint64_t delivered;

	int (*list)(void *arg, const char *name, uint64_t size);
	void *list_arg;
	char last[BUCKET_NAME_MAX + 1];
	uint64_t entries;
	int list_result;
};

static struct bucket_s3v2 *v2_of(struct et_bucket *b)
{
	return ET_CONTAINER_OF(b, struct bucket_s3v2, base);
}

/* ---- What libs3 calls ---- */

static S3Status on_properties(const S3ResponseProperties *properties, void *arg)
{
	struct v2_call *c = arg;
	c->has_properties = true;
	c->length = properties->contentLength;
	if (properties->eTag != NULL && strlen(properties->eTag) < sizeof(c->etag)) {
		(void)snprintf(c->etag, sizeof(c->etag), "%s", properties->eTag);
	}
	return S3StatusOK;
}

static void on_complete(S3Status status, const S3ErrorDetails *details, void *arg)
{
	struct v2_call *c = arg;
	c->status = status;
	if (details == NULL || details->message == NULL) {
		return;
	}
	size_t i = 0;
	for (; details->message[i] != '\0' && i + 1 < sizeof(c->detail); i++) {
		char ch = details->message[i];
		c->detail[i] = (char)(ch >= ' ' && ch <= '~' ? ch : '?');
	}
	c->detail[i] = '\0';
}

static int on_put_data(int size, char *buffer, void *arg)
{
	struct v2_call *c = arg;
	uint64_t left = c->put->size - c->sent;
	size_t n = (uint64_t)size < left ? (size_t)size : (size_t)left;
	if (n == 0) {
		return 0;
	}
	int rc = bucket_is_cancelled(&c->s->base) ? ET_ECLOSED
						  : c->put->read(c->put->arg, c->sent, buffer, n);
	if (rc < 0) {
		c->local_code = rc;
		return -1;
	}
	c->sent += n;
	return (int)n;
}

static S3Status on_get_data(int size, const char *buffer, void *arg)
{
	struct v2_call *c = arg;
	if ((uint64_t)size > c->expected - c->delivered) {
		c->local_code = ET_EUNSUPPORTED; /* the server ignores ranges */
		return S3StatusAbortedByCallback;
	}
	int rc = bucket_is_cancelled(&c->s->base) ? ET_ECLOSED
						  : c->sink(c->sink_arg, buffer, (size_t)size);
	if (rc < 0) {
		c->local_code = rc;
		return S3StatusAbortedByCallback;
	}
	c->delivered += (uint64_t)size;
	return S3StatusOK;
}

static S3Status on_list(int truncated, const char *next, int count,
			const S3ListBucketContent *contents, int prefixes, const char **prefix,
			void *arg)
{
	(void)truncated;
	(void)next;
	(void)prefixes;
	(void)prefix;
	struct v2_call *c = arg;
	for (int i = 0; i < count; i++) {
		c->entries++;
		size_t size = strlen(contents[i].key);
		if (size > BUCKET_NAME_MAX) {
			continue;
		}
		if (strcmp(contents[i].key, c->last) <= 0) {
			c->local_code = ET_EMALFORMED; /* it would never end */
			return S3StatusAbortedByCallback;
		}
		memcpy(c->last, contents[i].key, size + 1);
		c->list_result = c->list(c->list_arg, contents[i].key, contents[i].size);
		if (c->list_result != 0) {
			c->local_code = ET_ECLOSED;
			return S3StatusAbortedByCallback;
		}
	}
	return S3StatusOK;
}

static const S3ResponseHandler plain_handler = { on_properties, on_complete };
static const S3PutObjectHandler put_handler = { { on_properties, on_complete }, on_put_data };
static const S3GetObjectHandler get_handler = { { on_properties, on_complete }, on_get_data };
static const S3ListBucketHandler list_handler = { { on_properties, on_complete }, on_list };

/* ---- What a status means ---- */

static int code_of(S3Status status)
{
	switch ((int)status) {
	case S3StatusOK:
		return 0;
	case S3StatusOutOfMemory:
		return -ENOMEM;
	case S3StatusErrorNoSuchKey:
	case S3StatusErrorNoSuchBucket:
	case S3StatusHttpErrorNotFound:
		return ET_ENOTFOUND;
	case S3StatusErrorAccessDenied:
	case S3StatusErrorInvalidAccessKeyId:
	case S3StatusErrorSignatureDoesNotMatch:
	case S3StatusErrorRequestTimeTooSkewed:
	case S3StatusHttpErrorForbidden:
		return ET_EDENIED;
	case S3StatusErrorBadDigest:
	case S3StatusErrorPreconditionFailed:
	case S3StatusErrorInvalidRange:
		return ET_EINTEGRITY;
	case S3StatusErrorMethodNotAllowed:
	case S3StatusErrorNotImplemented:
		return ET_EUNSUPPORTED;
	case S3StatusErrorBucketAlreadyExists:
		return ET_EEXISTS;
	case S3StatusErrorEntityTooLarge:
		return ET_ELIMIT;
	case S3StatusInternalError:
	case S3StatusNameLookupError:
	case S3StatusFailedToConnect:
	case S3StatusServerFailedVerification:
	case S3StatusConnectionFailed:
	case S3StatusXmlParseFailure:
	case S3StatusErrorIncompleteBody:
	case S3StatusErrorInternalError:
	case S3StatusErrorOperationAborted:
	case S3StatusErrorPermanentRedirect:
	case S3StatusErrorRedirect:
	case S3StatusErrorTemporaryRedirect:
	case S3StatusHttpErrorMovedTemporarily:
	case S3StatusErrorRequestTimeout:
	case S3StatusErrorSlowDown:
	case S3StatusErrorUnknown:
	case S3StatusHttpErrorConflict:
	case S3StatusHttpErrorUnknown:
		return ET_EUNREACHABLE;
	default:
		return ET_EREFUSED;
	}
}

static bool may_help_again(int code)
{
	return code == ET_EUNREACHABLE || code == ET_EINTEGRITY;
}

static int call_fail(const struct v2_call *c, int code, struct et_error *reterr)
{
	const char *hint = c->status == S3StatusHttpErrorForbidden
				   ? " (wrong key, clock or policy: HEAD does not say which)"
				   : "";
	return et_fail(reterr, code, "%s '%s': libs3 says %s%s%s%s", c->what, c->name,
		       S3_get_status_name(c->status), c->detail[0] == '\0' ? "" : ", ", c->detail,
		       hint);
}

/* ---- One request ---- */

static int connect_wait(int fd, const struct addrinfo *a, uint32_t timeout_ms)
{
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
		return 0;
	}
	if (errno != EINPROGRESS) {
		return -errno;
	}
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error = ETIMEDOUT;
	socklen_t size = sizeof(error);
	if (poll(&p, 1, (int)timeout_ms) == 1 &&
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
		error = errno;
	}
	return -error;
}

/* libs3 would wait for a connection as long as the kernel does. */
static int can_connect(struct bucket_s3v2 *s)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *list = NULL;
	int rc = -EHOSTUNREACH;
	if (getaddrinfo(s->address, s->port, &hints, &list) != 0) {
		return rc;
	}
	for (const struct addrinfo *a = list; a != NULL && rc < 0; a = a->ai_next) {
		ET_CLEANUP(et_fd_closep)
		int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		rc = fd < 0 ? -errno : connect_wait(fd, a, s->base.settings.connect_ms);
	}
	freeaddrinfo(list);
	return rc;
}

/* Begin a request: 0, or why it cannot be sent. */
static int call_begin(struct v2_call *c, struct et_error *reterr)
{
	c->status = S3StatusInternalError;
	c->local_code = 0;
	c->has_properties = false;
	c->etag[0] = '\0';
	c->detail[0] = '\0';
	if (bucket_is_cancelled(&c->s->base)) {
		return et_fail(reterr, ET_ECLOSED, "the store");
	}
	int rc = can_connect(c->s);
	if (rc < 0) {
		return et_fail_plain(reterr, ET_EUNREACHABLE, "%s '%s': connect to %s: %s", c->what,
				     c->name, c->s->base.settings.host, et_strerror(rc));
	}
	return 0;
}

static int call_code(const struct v2_call *c, struct et_error *reterr)
{
	if (c->local_code < 0) {
		return et_fail(reterr, c->local_code, "%s '%s'", c->what, c->name);
	}
	int code = code_of(c->status);
	return code < 0 ? call_fail(c, code, reterr) : 0;
}

/* Wait before the next attempt. false: that was the last. */
static bool again(struct bucket_s3v2 *s, uint32_t *attempt, int code)
{
	if (!may_help_again(code) || *attempt >= s->base.settings.attempts) {
		return false;
	}
	(*attempt)++;
	int64_t until = et_clock_mono_us() + bucket_pause_us(&s->base.settings, *attempt);
	for (int64_t left = until - et_clock_mono_us(); left > 0 && !bucket_is_cancelled(&s->base);
	     left = until - et_clock_mono_us()) {
		(void)poll(NULL, 0, (int)(left / 1000 < 100 ? left / 1000 + 1 : 100));
	}
	return true;
}

/* ---- Head ---- */

static int head_once(struct v2_call *c, struct et_error *reterr)
{
	int rc = call_begin(c, reterr);
	if (rc < 0) {
		return rc;
	}
	S3_head_object(&c->s->context, c->name, NULL, &plain_handler, c);
	rc = call_code(c, reterr);
	if (rc == 0 && (!c->has_properties || c->etag[0] == '\0')) {
		return et_fail(reterr, ET_EUNREACHABLE, "HEAD '%s': an answer without ETag",
			       c->name);
	}
	return rc;
}

static int head_call(struct bucket_s3v2 *s, const char *name, struct v2_call *ret,
		     struct et_error *reterr)
{
	uint32_t attempt = 1;
	int rc;
	do {
		*ret = (struct v2_call){ .s = s, .what = "HEAD", .name = name };
		rc = head_once(ret, reterr);
	} while (again(s, &attempt, rc));
	return rc;
}

/* The ETag without its quotes. */
static void etag_text(const char *etag, char ret[96])
{
	size_t size = strlen(etag);
	size_t skip = size >= 2 && etag[0] == '"' && etag[size - 1] == '"' ? 1 : 0;
	memcpy(ret, etag + skip, size - 2 * skip);
	ret[size - 2 * skip] = '\0';
}

static int v2_head(struct et_bucket *b, const char *name, struct et_bucket_object *ret,
		   struct et_error *reterr)
{
	struct v2_call c;
	int rc = head_call(v2_of(b), name, &c, reterr);
	if (rc < 0) {
		return rc;
	}
	ret->size = c.length;
	etag_text(c.etag, ret->etag);
	return 0;
}

/* ---- Get ---- */

/* What is left of the range, from the object that HEAD saw. */
static int get_once(struct v2_call *c, const char *etag, uint64_t offset, uint64_t length,
		    struct et_error *reterr)
{
	S3GetConditions same = { .ifModifiedSince = -1,
				 .ifNotModifiedSince = -1,
				 .ifMatchETag = etag };
	int rc = call_begin(c, reterr);
	if (rc < 0) {
		return rc;
	}
	c->expected = length;
	S3_get_object(&c->s->context, c->name, &same, offset + c->delivered, length - c->delivered,
		      NULL, &get_handler, c);
	rc = call_code(c, reterr);
	if (rc == 0 && c->delivered != length) {
		return et_fail_plain(reterr, ET_EUNREACHABLE,
				     "GET '%s': the answer ended after %llu of %llu bytes", c->name,
				     (unsigned long long)c->delivered, (unsigned long long)length);
	}
	return rc;
}

static int v2_get(struct et_bucket *b, const char *name, uint64_t offset, uint64_t length,
		  et_bucket_sink sink, void *arg, struct et_error *reterr)
{
	struct bucket_s3v2 *s = v2_of(b);
	struct v2_call head;
	int rc = head_call(s, name, &head, reterr);
	if (rc < 0) {
		return rc;
	}
	if (length == ET_BUCKET_TO_END && offset <= head.length) {
		length = head.length - offset;
	}
	if (offset > head.length || length > head.length - offset) {
		return et_fail(reterr, ET_EINTEGRITY, "object '%s' has %llu bytes only", name,
			       (unsigned long long)head.length);
	}
	struct v2_call c = { .s = s, .what = "GET", .name = name, .sink = sink, .sink_arg = arg };
	uint32_t attempt = 1;
	while (c.delivered < length) { /* libs3 takes 0 for "to the end" */
		rc = get_once(&c, head.etag, offset, length, reterr);
		if (rc == 0 || c.local_code < 0 || !again(s, &attempt, rc)) {
			break;
		}
	}
	return rc;
}

/* ---- Put ---- */

/* MD5 for the server, and is the source what the caller hashed? */
static int source_md5(struct et_bucket_put *put, uint8_t ret[16])
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *sha = et_sha256_new();
	EVP_MD_CTX *md5 = EVP_MD_CTX_new();
	uint8_t *chunk = malloc(BUCKET_CHUNK_SIZE);
	bool ok = sha != NULL && md5 != NULL && chunk != NULL;
	int rc = ok ? 0 : -ENOMEM;
	if (rc == 0 && EVP_DigestInit_ex(md5, EVP_md5(), NULL) != 1) {
		rc = ET_EUNSUPPORTED; /* a FIPS provider without it */
	}
	for (uint64_t at = 0; rc == 0 && at < put->size;) {
		size_t n = put->size - at < BUCKET_CHUNK_SIZE ? (size_t)(put->size - at)
							      : BUCKET_CHUNK_SIZE;
		rc = put->read(put->arg, at, chunk, n);
		if (rc == 0) {
			et_sha256_add(sha, chunk, n);
			rc = EVP_DigestUpdate(md5, chunk, n) == 1 ? 0 : -ENOMEM;
		}
		at += n;
	}
	uint8_t found[32];
	if (rc == 0) {
		et_sha256_end(sha, found);
		rc = EVP_DigestFinal_ex(md5, ret, NULL) == 1 ? 0 : -ENOMEM;
	}
	if (rc == 0 && memcmp(found, put->sha256, 32) != 0) {
		rc = ET_EINTEGRITY;
	}
	EVP_MD_CTX_free(md5);
	free(chunk);
	return rc < 0 ? et_fail(&put->error, rc, "put '%s': the source", put->key) : 0;
}

/* Is the object there, with this size and content? 0, ET_ENOTFOUND, ET_EEXISTS (another), ... */
static int put_look(struct bucket_s3v2 *s, struct et_bucket_put *put, const char *name,
		    const uint8_t md5[16])
{
	struct v2_call head;
	char etag[96];
	char hex[33];
	int rc = head_call(s, name, &head, &put->error);
	put->requests++;
	if (rc < 0) {
		return rc;
	}
	if (head.length != put->size) {
		return et_fail(&put->error, ET_EEXISTS,
			       "put '%s': an object of %llu bytes is there", put->key,
			       (unsigned long long)head.length);
	}
	etag_text(head.etag, etag);
	et_hex(md5, 16, hex);
	if (strcasecmp(etag, hex) == 0) {
		return 0;
	}
	put->requests += 2; /* Not every server's ETag is an MD5: read it. */
	return bucket_compare(&s->base, name, put->size, put->sha256, &put->error);
}

static int put_once(struct v2_call *c, const char *md5_text)
{
	S3PutProperties properties = { .md5 = md5_text, .expires = -1 };
	c->sent = 0;
	int rc = call_begin(c, &c->put->error);
	if (rc < 0) {
		return rc;
	}
	c->put->requests++;
	S3_put_object(&c->s->context, c->name, c->put->size, &properties, NULL, &put_handler, c);
	return call_code(c, &c->put->error);
}

static int put_one(struct bucket_s3v2 *s, struct et_bucket_put *put)
{
	char name[BUCKET_NAME_MAX + 1];
	uint8_t md5[16];
	char md5_text[32];
	bucket_name(&s->base, put->key, name);
	int rc = source_md5(put, md5);
	if (rc < 0) {
		return rc;
	}
	rc = put_look(s, put, name, md5);
	if (rc == 0 && put->if_absent) {
		return et_fail(&put->error, ET_EEXISTS, "put '%s'", put->key);
	}
	if (rc != ET_ENOTFOUND) {
		return rc;
	}
	(void)EVP_EncodeBlock((unsigned char *)md5_text, md5, sizeof(md5));
	struct v2_call c = { .s = s, .what = "PUT", .name = name, .put = put };
	uint32_t attempt = 1;
	do {
		rc = put_once(&c, md5_text);
		if (c.local_code < 0 || (rc < 0 && !may_help_again(rc))) {
			return rc;
		}
		/* Whatever libs3 says: is it there? */
		struct et_error said = put->error;
		int found = put_look(s, put, name, md5);
		if (found != ET_ENOTFOUND) {
			return found;
		}
		if (rc == 0) {
			rc = et_fail(&put->error, ET_EUNREACHABLE,
				     "PUT '%s': libs3 says OK, but the object is not there", name);
		} else {
			put->error = said;
		}
	} while (again(s, &attempt, rc));
	return rc;
}

static int v2_put_many(struct et_bucket *b, struct et_bucket_put *puts, size_t count,
		       uint32_t parallel)
{
	(void)parallel;
	for (size_t i = 0; i < count; i++) {
		puts[i].code = put_one(v2_of(b), &puts[i]);
	}
	return 0;
}

/* ---- List ---- */

static int v2_list(struct et_bucket *b, const char *prefix, const char *after,
		   int (*fn)(void *arg, const char *name, uint64_t size), void *arg,
		   struct et_error *reterr)
{
	struct bucket_s3v2 *s = v2_of(b);
	struct v2_call c = { .s = s, .what = "LIST", .name = prefix, .list = fn, .list_arg = arg };
	(void)snprintf(c.last, sizeof(c.last), "%s", after);
	uint32_t attempt = 1;
	for (unsigned empty = 0; empty < 2;) {
		char marker[BUCKET_NAME_MAX + 1];
		(void)snprintf(marker, sizeof(marker), "%s", c.last);
		c.entries = 0;
		int rc = call_begin(&c, reterr);
		if (rc == 0) {
			S3_list_bucket(&s->context, prefix, marker[0] == '\0' ? NULL : marker, NULL,
				       1000, NULL, &list_handler, &c);
			if (c.list_result != 0) {
				return c.list_result;
			}
			rc = call_code(&c, reterr);
		}
		if (rc < 0 && (c.local_code < 0 || !again(s, &attempt, rc))) {
			return rc;
		}
		if (rc == 0) {
			attempt = 1;
			empty = c.entries == 0 ? empty + 1 : 0;
		}
	}
	return 0;
}

/* ---- Delete, make ---- */

static int v2_remove(struct et_bucket *b, const char *name, struct et_error *reterr)
{
	struct bucket_s3v2 *s = v2_of(b);
	uint32_t attempt = 1;
	int rc;
	do {
		struct v2_call c = { .s = s, .what = "DELETE", .name = name };
		rc = call_begin(&c, reterr);
		if (rc == 0) {
			S3_delete_object(&s->context, name, NULL, &plain_handler, &c);
			rc = call_code(&c, reterr);
		}
		if (rc == 0 || rc == ET_ENOTFOUND) {
			struct v2_call head;
			rc = head_call(s, name, &head, reterr);
			if (rc == ET_ENOTFOUND) {
				return 0;
			}
			rc = rc == 0 ? et_fail(reterr, ET_EUNREACHABLE,
					       "DELETE '%s': libs3 says OK, but it is there", name)
				     : rc;
		}
	} while (again(s, &attempt, rc));
	return rc;
}

int bucket_s3v2_make(struct et_bucket *b, struct et_error *reterr)
{
	struct bucket_s3v2 *s = v2_of(b);
	const S3BucketContext *x = &s->context;
	struct v2_call c = { .s = s, .what = "make bucket", .name = x->bucketName };
	int rc = call_begin(&c, reterr);
	if (rc < 0) {
		return rc;
	}
	S3_create_bucket(x->protocol, x->accessKeyId, x->secretAccessKey, x->hostName,
			 x->bucketName, S3CannedAclPrivate, NULL, NULL, &plain_handler, &c);
	if (c.status == S3StatusErrorBucketAlreadyOwnedByYou) {
		return 0;
	}
	rc = call_code(&c, reterr);
	if (rc < 0) {
		return rc;
	}
	struct v2_call look = { .s = s, .what = "look at bucket", .name = x->bucketName };
	rc = call_begin(&look, reterr);
	if (rc < 0) {
		return rc;
	}
	S3_test_bucket(x->protocol, x->uriStyle, x->accessKeyId, x->secretAccessKey, x->hostName,
		       x->bucketName, 0, NULL, NULL, &plain_handler, &look);
	return call_code(&look, reterr);
}

/* ---- Open, close ---- */

static void v2_close(struct et_bucket *b)
{
	et_credentials_release(&v2_of(b)->credentials);
}

static const struct bucket_ops v2_ops = {
	.put_many = v2_put_many,
	.get = v2_get,
	.head = v2_head,
	.list = v2_list,
	.remove = v2_remove,
	.close = v2_close,
};

static pthread_once_t s3_once = PTHREAD_ONCE_INIT;
static S3Status s3_ready;

static void s3_begin(void)
{
	s3_ready = S3_initialize("evertape", S3_INIT_ALL, NULL);
}

/* libs3 wants a NUL behind the secret. */
static int credentials_terminate(struct et_credentials *c)
{
	size_t size = et_secret_size(c->secret);
	struct et_secret *s = size + 1 > ET_SECRET_SIZE_MAX ? NULL : et_secret_new(size + 1);
	if (s == NULL) {
		return -ENOMEM;
	}
	memcpy(et_secret_edit(s), et_secret_bytes(c->secret), size);
	(void)et_secret_free(c->secret);
	c->secret = s;
	return 0;
}

static void v2_context(struct bucket_s3v2 *s)
{
	const struct bucket_settings *x = &s->base.settings;
	s->context = (S3BucketContext){
		.hostName = x->host,
		.bucketName = x->bucket,
		.protocol = x->tls ? S3ProtocolHTTPS : S3ProtocolHTTP,
		.uriStyle = x->virtual_host ? S3UriStyleVirtualHost : S3UriStylePath,
		.accessKeyId = s->credentials.key_id,
		.secretAccessKey = (const char *)et_secret_bytes(s->credentials.secret),
	};
	(void)snprintf(s->port, sizeof(s->port), "%u", x->port);
	bool v6 = x->host_name[0] == '[';
	(void)snprintf(s->address, sizeof(s->address), "%.*s",
		       (int)(strlen(x->host_name) - (v6 ? 2 : 0)), x->host_name + (v6 ? 1 : 0));
}

int bucket_s3v2_open(struct bucket_settings *settings, struct et_bucket **ret,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_credentials_release) struct et_credentials credentials = { 0 };
	(void)pthread_once(&s3_once, s3_begin);
	if (s3_ready != S3StatusOK) {
		return et_fail(reterr, -ENOMEM, "libs3");
	}
	int rc = et_credentials_load(settings->credentials, &credentials, reterr);
	if (rc < 0) {
		return rc;
	}
	struct bucket_s3v2 *s = calloc(1, sizeof(*s));
	if (s == NULL || credentials_terminate(&credentials) < 0) {
		free(s);
		return et_fail(reterr, -ENOMEM, "bucket");
	}
	s->base.ops = &v2_ops;
	s->base.settings = *settings;
	*settings = (struct bucket_settings){ 0 };
	s->credentials = credentials;
	credentials = (struct et_credentials){ 0 };
	v2_context(s);
	*ret = &s->base;
	return 0;
}
