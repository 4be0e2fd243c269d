#include "archive/bucket/probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/base/bytes.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"

#define PROBE_SIZE 4096
#define RANGE_AT 1000
#define RANGE_SIZE 100
#define LOCK_US (5 * INT64_C(1000000))
#define UNLOCK_PATIENCE_US (20 * INT64_C(1000000)) /* after the lock's end */
#define UNLOCK_PAUSE_US (500 * INT64_C(1000))
#define SECOND_US INT64_C(1000000)

struct run {
	struct et_probe *p;
	struct et_bucket_config config;
	struct et_bucket *b; /* owned */
	uint8_t content[PROBE_SIZE];
	uint8_t sha256[32];
	char key[64];
	char locked_key[64];
	bool put;	       /* the object at `key` may be there */
	bool locked_put;       /* and that at `locked_key` */
	int64_t lock_until_us; /* by the server's clock */
	int64_t began_us;      /* the step under way, monotonic */
};

const char *et_probe_result_name(enum et_probe_result result)
{
	static const char *const names[] = {
		[ET_PROBE_OK] = "ok", [ET_PROBE_FAILED] = "failed", [ET_PROBE_SKIPPED] = "skipped"
	};
	return names[result];
}

/* ---- Steps ---- */

static struct et_probe_step *step_add(struct run *r, const char *name, enum et_probe_result result)
{
	et_assert(r->p->step_count < ET_PROBE_STEPS_MAX);
	struct et_probe_step *s = &r->p->steps[r->p->step_count++];
	int64_t now = et_clock_mono_us();
	*s = (struct et_probe_step){ .name = name, .result = result };
	if (result != ET_PROBE_SKIPPED) {
		s->took_us = now - r->began_us;
	}
	r->began_us = now;
	return s;
}

ET_PRINTF(3, 4) static void step_ok(struct run *r, const char *name, const char *fmt, ...)
{
	struct et_probe_step *s = step_add(r, name, ET_PROBE_OK);
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(s->text, sizeof(s->text), fmt, ap);
	va_end(ap);
}

static void step_skip(struct run *r, const char *name, const char *why)
{
	struct et_probe_step *s = step_add(r, name, ET_PROBE_SKIPPED);
	(void)snprintf(s->text, sizeof(s->text), "%s", why);
}

/* `next`: what to type, unless the error knows better. */
static void step_fail(struct run *r, const char *name, const struct et_error *e, const char *next)
{
	struct et_probe_step *s = step_add(r, name, ET_PROBE_FAILED);
	s->code = e->code < 0 ? e->code : -EIO;
	(void)snprintf(s->text, sizeof(s->text), "%s", e->text);
	(void)snprintf(s->next, sizeof(s->next), "%s", e->next[0] != '\0' ? e->next : next);
}

static bool is_s3(const struct run *r)
{
	return r->config.type != ET_BUCKET_DIR;
}

static bool is_https(const struct run *r)
{
	return strncmp(r->config.endpoint, "https:", 6) == 0;
}

/* ---- Settings, credentials, the way there ---- */

static int open_store(struct run *r)
{
	struct et_error e = { 0 };
	const char *name = is_s3(r) ? "credentials" : "folder";
	int rc = et_bucket_check(&r->config, &e);
	if (rc < 0) {
		step_fail(r, "settings", &e, "evertape archive policy validate FILE");
		return rc;
	}
	step_ok(r, "settings", "%s", is_s3(r) ? r->config.endpoint : r->config.path);
	rc = et_bucket_open(&r->config, &r->b, &e);
	if (rc < 0) {
		if (rc == ET_EKEYPERM) {
			(void)et_fail_next(&e, "chmod 0400 %.160s", r->config.credentials);
		}
		step_fail(r, name, &e, is_s3(r) ? "ls -l on the credentials file" : "");
		return rc;
	}
	step_ok(r, name, "%s: %s", is_s3(r) ? r->config.credentials : r->config.path,
		is_s3(r) ? "private, and a key id and a secret are in it" : "is there");
	return 0;
}

static int list_nothing(void *arg, const char *key, uint64_t size)
{
	(void)arg;
	(void)key;
	(void)size;
	return 1; /* one is enough */
}

/* How far did the first request come? Each step before the one that failed is ok. */
static int reach(struct run *r)
{
	struct et_error e = { 0 };
	int rc = et_bucket_list(r->b, "test/", NULL, list_nothing, NULL, &e);
	rc = rc > 0 ? 0 : rc;
	if (!is_s3(r)) {
		if (rc < 0) {
			step_fail(r, "list", &e, "");
		}
		return rc;
	}
	if (rc == ET_EUNREACHABLE) {
		step_fail(r, "endpoint", &e,
			  "is endpoint (or region) right, the server up, a firewall "
			  "between?");
		return rc;
	}
	step_ok(r, "endpoint", "%s answers", r->config.endpoint);
	if (rc == ET_EUNTRUSTED) {
		step_fail(r, "tls", &e,
			  "set ca-file to the PEM of the CA that signed the server's "
			  "certificate");
		return rc;
	}
	if (!is_https(r)) {
		step_skip(r, "tls", "plain http: nobody proves who the server is");
	} else if (r->config.type == ET_BUCKET_S3V2) {
		step_skip(r, "tls", "s3v2 verifies no certificate (insecure-tls)");
	} else {
		step_ok(r, "tls", "the certificate is trusted (%s)",
			r->config.ca_file != NULL ? r->config.ca_file : "the system's CAs");
	}
	if (rc < 0 && rc != ET_ENOTFOUND) {
		step_fail(r, "access", &e,
			  "compare key id and secret with the server's; may they list "
			  "the bucket?");
		return rc;
	}
	step_ok(r, "access", "the server knows the key");
	if (rc == ET_ENOTFOUND) {
		step_fail(r, "bucket", &e, "make the bucket, with Object Lock if a rule locks");
		return rc;
	}
	step_ok(r, "bucket", "%s", r->config.bucket);
	return 0;
}

/* A wrong clock is worked around by the client; dates of locks and retention are not. */
static void look_at_clock(struct run *r)
{
	int64_t apart = 0;
	if (r->b == NULL || !et_bucket_apart(r->b, &apart)) {
		step_skip(r, "clock", is_s3(r) ? "the server told no time" : "a folder has none");
		return;
	}
	long long seconds = (llabs(apart) + SECOND_US / 2) / SECOND_US;
	if (seconds > ET_PROBE_CLOCK_MAX_S) {
		struct et_error e = { 0 };
		(void)et_fail_plain(&e, ET_EREFUSED,
				    "this machine's clock is %lld s %s the server's", seconds,
				    apart > 0 ? "behind" : "ahead of");
		step_fail(r, "clock", &e, "chronyc tracking (or: timedatectl)");
		return;
	}
	step_ok(r, "clock", "%lld s apart", seconds);
}

/* ---- The object ---- */

static int content_read(void *arg, uint64_t offset, void *data, size_t size)
{
	const struct run *r = arg;
	et_assert(offset <= PROBE_SIZE && size <= PROBE_SIZE - offset);
	memcpy(data, r->content + offset, size);
	return 0;
}

static void content_make(struct run *r)
{
	uint8_t id[16];
	char text[ET_UUID_TEXT_SIZE];
	et_random(r->content, sizeof(r->content));
	et_sha256(r->content, sizeof(r->content), r->sha256);
	et_uuid7(id);
	et_uuid_format(id, text);
	(void)snprintf(r->key, sizeof(r->key), "test/%s", text);
	(void)snprintf(r->locked_key, sizeof(r->locked_key), "test/%s-locked", text);
}

static int put_object(struct run *r)
{
	struct et_error e = { 0 };
	struct et_bucket_put put = { .key = r->key,
				     .size = PROBE_SIZE,
				     .sha256 = r->sha256,
				     .read = content_read,
				     .arg = r,
				     .if_absent = true };
	int rc = et_bucket_put(r->b, &put, &e);
	/* Without an answer it may be there all the same. */
	r->put = rc == 0 || (rc != ET_EDENIED && rc != ET_ENOTFOUND && rc != ET_EEXISTS);
	if (rc < 0) {
		step_fail(r, "put", &e,
			  rc == ET_EDENIED		    ? "allow the key to put objects"
			  : r->config.storage_class != NULL ? "has the server this storage class?"
							    : "");
		return rc;
	}
	step_ok(r, "put", "%s, %d bytes", r->key, PROBE_SIZE);
	return 0;
}

static int head_object(struct run *r, struct et_bucket_object *ret)
{
	struct et_error e = { 0 };
	int rc = et_bucket_head(r->b, r->key, ret, &e);
	if (rc == 0 && ret->size != PROBE_SIZE) {
		rc = et_fail_plain(&e, ET_EINTEGRITY, "the server says that it has %llu bytes",
				   (unsigned long long)ret->size);
	}
	if (rc < 0) {
		step_fail(r, "head", &e, "");
		return rc;
	}
	step_ok(r, "head", "%llu bytes%s", (unsigned long long)ret->size,
		ret->version[0] != '\0' ? ", a versioned bucket" : "");
	return 0;
}

struct range {
	uint8_t data[RANGE_SIZE];
	size_t size;
};

static int range_take(void *arg, const void *data, size_t size)
{
	struct range *range = arg;
	if (size > sizeof(range->data) - range->size) {
		return ET_EMALFORMED;
	}
	memcpy(range->data + range->size, data, size);
	range->size += size;
	return 0;
}

static void read_object(struct run *r)
{
	struct et_error e = { 0 };
	struct range range = { .size = 0 };
	int rc = et_bucket_verify(r->b, r->key, PROBE_SIZE, r->sha256, &e);
	if (rc < 0) {
		step_fail(r, "get", &e, rc == ET_EDENIED ? "allow the key to get objects" : "");
	} else {
		step_ok(r, "get", "every byte is as it was put");
	}
	rc = et_bucket_get(r->b, r->key, RANGE_AT, RANGE_SIZE, range_take, &range, &e);
	if (rc == 0 && (range.size != RANGE_SIZE ||
			memcmp(range.data, r->content + RANGE_AT, RANGE_SIZE) != 0)) {
		rc = et_fail_plain(&e, ET_EINTEGRITY, "other bytes came than were asked for");
	}
	if (rc < 0) {
		step_fail(r, "range", &e, "playback reads ranges: the server must answer them");
	} else {
		step_ok(r, "range", "bytes %d to %d", RANGE_AT, RANGE_AT + RANGE_SIZE - 1);
	}
}

static int list_find(void *arg, const char *key, uint64_t size)
{
	const struct run *r = arg;
	return strcmp(key, r->key) == 0 && size == PROBE_SIZE ? 1 : 0;
}

static void list_object(struct run *r)
{
	struct et_error e = { 0 };
	int rc = et_bucket_list(r->b, r->key, NULL, list_find, r, &e);
	if (rc == 0) {
		rc = et_fail_plain(&e, ET_EINTEGRITY, "the object is not in the list");
	}
	if (rc < 0) {
		step_fail(r, "list", &e, "a restore lists ledgers: the key must be allowed to");
	} else {
		step_ok(r, "list", "the object is in it");
	}
}

static void look_at_class(struct run *r, const struct et_bucket_object *object)
{
	const char *wanted = r->config.storage_class;
	const char *found = object->storage_class[0] != '\0' ? object->storage_class : "STANDARD";
	struct et_error e = { 0 };
	if (wanted == NULL) {
		step_skip(r, "storage-class", "the policy asks for none");
	} else if (strcmp(wanted, found) != 0) {
		(void)et_fail_plain(&e, ET_EREFUSED, "asked for %s, the server says %s", wanted,
				    found);
		step_fail(r, "storage-class", &e, "has the server (or its zone) this class?");
	} else {
		step_ok(r, "storage-class", "%s", found);
	}
}

/* ---- Object Lock ---- */

static int64_t server_now(const struct run *r)
{
	int64_t apart = 0;
	(void)et_bucket_apart(r->b, &apart);
	return et_clock_now_us() + apart;
}

static int lock_put(struct run *r, struct et_error *e)
{
	struct et_bucket_object object = { 0 };
	r->lock_until_us = server_now(r) + LOCK_US;
	struct et_bucket_put put = { .key = r->locked_key,
				     .size = PROBE_SIZE,
				     .sha256 = r->sha256,
				     .read = content_read,
				     .arg = r,
				     .if_absent = true,
				     .lock = r->p->lock,
				     .lock_until_us = r->lock_until_us };
	int rc = et_bucket_put(r->b, &put, e);
	r->locked_put = rc == 0 || rc == ET_EUNREACHABLE;
	rc = rc < 0 ? rc : et_bucket_head(r->b, r->locked_key, &object, e);
	if (rc == 0 &&
	    (object.lock != r->p->lock || object.lock_until_us < r->lock_until_us - SECOND_US)) {
		rc = et_fail_plain(
			e, ET_EPOLICY,
			"the server took the object and shows %s: it would not be protected",
			object.lock == ET_LOCK_NONE ? "no lock" : "another lock");
	}
	return rc;
}

static int locked_delete(struct run *r, struct et_error *e)
{
	struct et_bucket_object object = { 0 };
	int rc = et_bucket_head(r->b, r->locked_key, &object, e);
	if (rc < 0) {
		return rc;
	}
	if (object.version[0] == '\0') {
		return et_bucket_delete(r->b, r->locked_key, e);
	}
	return et_bucket_delete_version(r->b, r->locked_key, object.version, e);
}

static void lock_test(struct run *r)
{
	static const char make[] =
		"make the bucket anew with Object Lock: it cannot be turned on later "
		"everywhere";
	struct et_error e = { 0 };
	if (r->p->lock == ET_LOCK_NONE) {
		step_skip(r, "lock", "no rule of the policy locks here");
		return;
	}
	int rc = lock_put(r, &e);
	if (rc < 0) {
		step_fail(r, "lock", &e, make);
		return;
	}
	step_ok(r, "lock", "%s, read back",
		r->p->lock == ET_LOCK_COMPLIANCE ? "compliance" : "governance");
	rc = locked_delete(r, &e);
	if (rc == 0 && server_now(r) >= r->lock_until_us) {
		step_skip(r, "lock-holds", "the answer took longer than the lock of the test");
		r->locked_put = false;
	} else if (rc == 0) {
		r->locked_put = false;
		(void)et_fail_plain(&e, ET_EPOLICY, "a locked object could be deleted");
		step_fail(r, "lock-holds", &e, "");
	} else if (rc != ET_EPOLICY) {
		step_fail(r, "lock-holds", &e, "");
	} else {
		step_ok(r, "lock-holds", "a deletion was refused");
	}
}

/* ---- Leave nothing ---- */

static int object_delete(struct run *r)
{
	struct et_bucket_object object = { 0 };
	struct et_error e = { 0 };
	int rc = et_bucket_head(r->b, r->key, &object, &e);
	if (rc == 0) {
		rc = object.version[0] != '\0'
			     ? et_bucket_delete_version(r->b, r->key, object.version, &e)
			     : et_bucket_delete(r->b, r->key, &e);
		rc = rc < 0 ? rc : et_bucket_head(r->b, r->key, &object, &e);
		if (rc == 0) {
			rc = et_fail_plain(&e, ET_EREFUSED, "it was deleted, and is still there");
		}
	}
	if (rc == ET_ENOTFOUND) {
		step_ok(r, "delete", "it is gone");
		return 0;
	}
	step_fail(r, "delete", &e, "archiving needs no deletion; delete the object by hand");
	return rc;
}

/* The lock is for seconds; whoever waits for its end asks the server, not the clock. */
static bool locked_object_delete(struct run *r)
{
	struct timespec pause = { .tv_nsec = UNLOCK_PAUSE_US * 1000 };
	int64_t patience =
		et_clock_mono_us() + (r->lock_until_us - server_now(r)) + UNLOCK_PATIENCE_US;
	int rc = ET_EPOLICY;
	while (rc == ET_EPOLICY && et_clock_mono_us() < patience) {
		rc = locked_delete(r, NULL);
		if (rc == ET_EPOLICY) {
			(void)nanosleep(&pause, NULL);
		}
	}
	return rc == 0 || rc == ET_ENOTFOUND;
}

static void leave(struct run *r)
{
	size_t used = 0;
	r->began_us = et_clock_mono_us();
	if (r->put && object_delete(r) < 0) {
		used = (size_t)snprintf(r->p->left, sizeof(r->p->left), "%s", r->key);
	}
	if (r->locked_put && !locked_object_delete(r)) {
		char until[ET_TIME_TEXT_SIZE];
		et_time_format(r->lock_until_us, until);
		(void)snprintf(r->p->left + used, sizeof(r->p->left) - used,
			       "%s%s (locked until %s)", used > 0 ? ", " : "", r->locked_key,
			       until);
	}
}

/* The folder that the put made; what others have in it keeps it. */
static void folder_remove(const struct run *r)
{
	char path[1024];
	const char *prefix = r->config.prefix != NULL ? r->config.prefix : "";
	int n = snprintf(path, sizeof(path), "%s/%s%stest", r->config.path, prefix,
			 *prefix != '\0' ? "/" : "");
	if (n > 0 && n < (int)sizeof(path)) {
		(void)rmdir(path);
	}
}

static int first_failure(const struct et_probe *p)
{
	for (size_t i = 0; i < p->step_count; i++) {
		if (p->steps[i].result == ET_PROBE_FAILED) {
			return p->steps[i].code;
		}
	}
	return 0;
}

int et_bucket_probe(struct et_probe *p)
{
	struct run r = { .p = p, .config = *p->config };
	struct et_bucket_object object = { 0 };
	r.config.connect_ms = 5000;
	r.config.attempts = 2;
	r.began_us = et_clock_mono_us();
	p->step_count = 0;
	p->left[0] = '\0';
	int rc = open_store(&r);
	if (rc == 0) {
		rc = reach(&r);
		look_at_clock(&r);
	}
	if (rc == 0) {
		content_make(&r);
		rc = put_object(&r);
	}
	if (rc == 0 && head_object(&r, &object) == 0) {
		read_object(&r);
		list_object(&r);
		look_at_class(&r, &object);
	}
	if (rc == 0) {
		lock_test(&r);
	}
	if (r.b != NULL) {
		leave(&r);
	}
	if (r.b != NULL && !is_s3(&r)) {
		folder_remove(&r);
	}
	r.b = et_bucket_close(r.b);
	return first_failure(p);
}
