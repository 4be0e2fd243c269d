/* The S3 store with Signature V4. What one request needs is in s3_http.c; here is what a put, a get
 * or a list are made of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/bucket/s3_http.h"
#include "archive/bucket/s3_xml.h"
#include "node/io/clock.h"

struct bucket_s3 {
	struct et_bucket base;
	struct s3_http http;
	bool no_conditions; /* the server answers If-None-Match with 501 (Swift) */
};

static struct bucket_s3 *s3_of(struct et_bucket *b)
{
	return ET_CONTAINER_OF(b, struct bucket_s3, base);
}

static void s3_close(struct et_bucket *b)
{
	s3_http_release(&s3_of(b)->http);
}

static void s3_wake(struct et_bucket *b)
{
	s3_http_wake(&s3_of(b)->http);
}

/* ---- Head ---- */

static int lock_of(const struct s3_answer *a, struct et_bucket_object *ret)
{
	ret->legal_hold = strcmp(a->legal_hold, "ON") == 0;
	if (a->lock_mode[0] == '\0') {
		return 0;
	}
	if (strcmp(a->lock_mode, "COMPLIANCE") == 0) {
		ret->lock = ET_LOCK_COMPLIANCE;
	} else if (strcmp(a->lock_mode, "GOVERNANCE") == 0) {
		ret->lock = ET_LOCK_GOVERNANCE;
	} else {
		return ET_EMALFORMED;
	}
	return et_time_parse(a->lock_until, &ret->lock_until_us) ? 0 : ET_EMALFORMED;
}

static int s3_head(struct et_bucket *b, const char *name, struct et_bucket_object *ret,
		   struct et_error *reterr)
{
	ET_CLEANUP(s3_request_release) struct s3_request r = { .method = "HEAD", .name = name };
	int rc = s3_http_one(&s3_of(b)->http, &r, reterr);
	if (rc < 0) {
		return rc;
	}
	if (r.answer.content_length < 0 || r.answer.etag[0] == '\0' ||
	    lock_of(&r.answer, ret) < 0) {
		return et_fail(reterr, ET_EMALFORMED, "HEAD '%s': no length, ETag or lock date",
			       name);
	}
	ret->size = (uint64_t)r.answer.content_length;
	memcpy(ret->etag, r.answer.etag, sizeof(ret->etag));
	memcpy(ret->storage_class, r.answer.storage_class, sizeof(ret->storage_class));
	memcpy(ret->version, r.answer.version, sizeof(ret->version));
	return 0;
}

/* ---- Get ---- */

static int s3_get(struct et_bucket *b, const char *name, uint64_t offset, uint64_t length,
		  et_bucket_sink sink, void *arg, struct et_error *reterr)
{
	ET_CLEANUP(s3_request_release)
	struct s3_request r = { .method = "GET",
				.name = name,
				.ranged = true,
				.offset = offset,
				.length = length,
				.sink = sink,
				.sink_arg = arg };
	if (length == ET_BUCKET_TO_END) {
		struct et_bucket_object object = { 0 };
		int rc = s3_head(b, name, &object, reterr);
		if (rc < 0) {
			return rc;
		}
		if (offset > object.size) {
			return et_fail(reterr, ET_EINTEGRITY, "object '%s' has %llu bytes only",
				       name, (unsigned long long)object.size);
		}
		r.length = object.size - offset;
		(void)snprintf(r.if_match, sizeof(r.if_match), "\"%s\"", object.etag);
	}
	return r.length == 0 ? 0 : s3_http_one(&s3_of(b)->http, &r, reterr);
}

/* ---- Put ---- */

struct s3_put {
	struct s3_request request;
	char name[BUCKET_NAME_MAX + 1];
	char lock_until[ET_TIME_TEXT_SIZE];
	char checksum[48];
};

/* Standard base64 (RFC 4648, section 4) of a SHA-256. */
static void checksum_text(const uint8_t sha256[32], char ret[48])
{
	et_base64(sha256, 32, ret);
	size_t size = strlen(ret);
	for (size_t i = 0; i < size; i++) {
		if (ret[i] == '-') {
			ret[i] = '+';
		} else if (ret[i] == '_') {
			ret[i] = '/';
		}
	}
	memcpy(ret + size, "=", 2);
}

static void put_prepare(struct bucket_s3 *s, struct s3_put *p, struct et_bucket_put *put)
{
	bucket_name(&s->base, put->key, p->name);
	p->request = (struct s3_request){ .method = "PUT", .name = p->name, .put = put };
	if (!s->no_conditions) {
		s3_request_header(&p->request, "if-none-match", "*");
	}
	if (s->base.settings.storage_class != NULL) {
		s3_request_header(&p->request, "x-amz-storage-class",
				  s->base.settings.storage_class);
	}
	if (put->lock != ET_LOCK_NONE) {
		et_time_format(put->lock_until_us, p->lock_until);
		checksum_text(put->sha256, p->checksum);
		s3_request_header(&p->request, "x-amz-object-lock-mode",
				  put->lock == ET_LOCK_COMPLIANCE ? "COMPLIANCE" : "GOVERNANCE");
		s3_request_header(&p->request, "x-amz-object-lock-retain-until-date",
				  p->lock_until);
		s3_request_header(&p->request, "x-amz-checksum-sha256", p->checksum);
	}
}

/* Something is at the name: the same content? */
static int put_again(struct et_bucket *b, struct s3_put *p, struct et_bucket_put *put)
{
	struct et_bucket_object object = { 0 };
	if (put->if_absent) {
		return et_fail(&put->error, ET_EEXISTS, "put '%s'", put->key);
	}
	int rc = s3_head(b, p->name, &object, &put->error);
	put->requests++;
	if (rc == 0 && object.size != put->size) {
		return et_fail(&put->error, ET_EEXISTS,
			       "put '%s': an object of %llu bytes is there", put->key,
			       (unsigned long long)object.size);
	}
	put->requests += rc == 0 ? 2 : 0;
	return rc < 0 ? rc : bucket_compare(b, p->name, put->size, put->sha256, &put->error);
}

/* The server knows no conditions: look first, then put. */
static int put_unconditionally(struct et_bucket *b, struct s3_put *p, struct et_bucket_put *put)
{
	struct et_bucket_object object = { 0 };
	int rc = s3_head(b, p->name, &object, &put->error);
	put->requests++;
	if (rc == 0) {
		return put_again(b, p, put);
	}
	if (rc != ET_ENOTFOUND) {
		return rc;
	}
	s3_request_release(&p->request);
	put_prepare(s3_of(b), p, put);
	rc = s3_http_one(&s3_of(b)->http, &p->request, &put->error);
	put->requests += p->request.attempts;
	return rc;
}

/* After the requests ran: what became of this one. */
static int put_finish(struct et_bucket *b, struct s3_put *p, struct et_bucket_put *put)
{
	int rc = p->request.code;
	put->requests = p->request.attempts;
	put->error = p->request.error;
	bool conditional = p->request.header_count > 0 &&
			   strcmp(p->request.headers[0].name, "if-none-match") == 0;
	if (rc == ET_EUNSUPPORTED && conditional && p->request.answer.status == 501) {
		s3_of(b)->no_conditions = true;
		rc = put_unconditionally(b, p, put);
	} else if (rc == ET_EEXISTS && p->request.answer.status == 412) {
		return put_again(b, p, put);
	}
	if (rc < 0) {
		return rc;
	}
	if (p->request.answer.etag[0] == '\0') { /* Only an object has one. */
		struct et_bucket_object object = { 0 };
		put->requests++;
		rc = s3_head(b, p->name, &object, &put->error);
		if (rc == 0 && object.size != put->size) {
			rc = et_fail(&put->error, ET_EINTEGRITY, "put '%s': not what was sent",
				     put->key);
		}
	}
	return rc;
}

static int s3_put_many(struct et_bucket *b, struct et_bucket_put *puts, size_t count,
		       uint32_t parallel)
{
	struct bucket_s3 *s = s3_of(b);
	struct s3_put *list = calloc(count, sizeof(*list));
	struct s3_request **requests = calloc(count, sizeof(*requests));
	for (size_t i = 0; i < count && list != NULL && requests != NULL; i++) {
		put_prepare(s, &list[i], &puts[i]);
		requests[i] = &list[i].request;
	}
	if (list != NULL && requests != NULL) {
		s3_http_run(&s->http, requests, count, parallel);
	}
	for (size_t i = 0; i < count; i++) {
		if (list == NULL || requests == NULL) {
			puts[i].code = et_fail(&puts[i].error, -ENOMEM, "put");
			continue;
		}
		puts[i].code = put_finish(b, &list[i], &puts[i]);
		s3_request_release(&list[i].request);
	}
	free(requests);
	free(list);
	return 0;
}

/* ---- List ---- */

struct list_page {
	int (*fn)(void *arg, const char *name, uint64_t size);
	void *arg;
	char last[BUCKET_NAME_MAX + 1]; /* the last name that can be ours */
	uint64_t entries;
};

static int list_page_take(void *arg, const char *key, uint64_t size)
{
	struct list_page *p = arg;
	p->entries++;
	size_t key_size = strlen(key);
	if (key_size <= BUCKET_NAME_MAX) {
		memcpy(p->last, key, key_size + 1);
		return p->fn(p->arg, key, size);
	}
	return 0;
}

static void list_query(struct et_buffer *q, const char *prefix, const char *after,
		       const char *token)
{
	if (token[0] != '\0') {
		et_buffer_printf(q, "continuation-token=");
		s3_encode(q, token, false);
		et_buffer_printf(q, "&");
	}
	et_buffer_printf(q, "list-type=2&max-keys=1000&prefix=");
	s3_encode(q, prefix, false);
	if (after[0] != '\0' && token[0] == '\0') {
		et_buffer_printf(q, "&start-after=");
		s3_encode(q, after, false);
	}
	et_buffer_add8(q, 0);
}

static int s3_list(struct et_bucket *b, const char *prefix, const char *after,
		   int (*fn)(void *arg, const char *name, uint64_t size), void *arg,
		   struct et_error *reterr)
{
	struct list_page page = { .fn = fn, .arg = arg };
	struct s3_xml_page xml = { .truncated = true, .fn = list_page_take, .arg = &page };
	(void)snprintf(page.last, sizeof(page.last), "%s", after);
	while (xml.truncated) {
		ET_CLEANUP(et_buffer_release) struct et_buffer query = { 0 };
		list_query(&query, prefix, page.last, xml.token);
		if (query.failed) {
			return et_fail(reterr, -ENOMEM, "list");
		}
		ET_CLEANUP(s3_request_release)
		struct s3_request r = { .method = "GET",
					.query = (const char *)query.data,
					.body_max = S3_XML_SIZE_MAX };
		int rc = s3_http_one(&s3_of(b)->http, &r, reterr);
		page.entries = 0;
		rc = rc < 0 ? rc : s3_xml_list(r.content.data, r.content.size, &xml, reterr);
		if (rc != 0) {
			return rc;
		}
		if (xml.truncated && page.entries == 0) { /* It would never end. */
			return et_fail(reterr, ET_EMALFORMED, "list: an empty page, and more");
		}
	}
	return 0;
}

/* ---- Delete, make ---- */

static int remove_run(struct et_bucket *b, const char *name, const char *query,
		      struct et_error *reterr)
{
	ET_CLEANUP(s3_request_release)
	struct s3_request r = { .method = "DELETE", .name = name, .query = query };
	int rc = s3_http_one(&s3_of(b)->http, &r, reterr);
	if (rc == ET_ENOTFOUND && strcmp(r.s3_code, "NoSuchBucket") != 0) {
		return 0;
	}
	struct et_bucket_object object = { 0 };
	if (rc == ET_EDENIED && s3_head(b, name, &object, NULL) == 0 &&
	    (object.lock != ET_LOCK_NONE || object.legal_hold)) {
		return et_fail(reterr, ET_EPOLICY, "delete '%s': it is locked", name);
	}
	return rc;
}

static int s3_remove(struct et_bucket *b, const char *name, struct et_error *reterr)
{
	return remove_run(b, name, NULL, reterr);
}

static int s3_remove_version(struct et_bucket *b, const char *name, const char *version,
			     struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer query = { 0 };
	et_buffer_printf(&query, "versionId=");
	s3_encode(&query, version, false);
	et_buffer_add8(&query, 0);
	return query.failed ? et_fail(reterr, -ENOMEM, "delete")
			    : remove_run(b, name, (const char *)query.data, reterr);
}

static bool s3_apart(struct et_bucket *b, int64_t *ret_us)
{
	const struct bucket_s3 *s = s3_of(b);
	*ret_us = s->http.apart_us;
	return s->http.apart_known;
}

int bucket_s3_make(struct et_bucket *b, bool with_lock, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer body = { 0 };
	ET_CLEANUP(s3_request_release) struct s3_request r = { .method = "PUT" };
	if (strcmp(b->settings.region, "us-east-1") != 0) {
		et_buffer_printf(&body,
				 "<CreateBucketConfiguration "
				 "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
				 "<LocationConstraint>%s</LocationConstraint>"
				 "</CreateBucketConfiguration>",
				 b->settings.region);
		r.body = (struct et_view){ body.data, body.size };
	}
	if (body.failed) {
		return et_fail(reterr, -ENOMEM, "make bucket");
	}
	if (with_lock) {
		s3_request_header(&r, "x-amz-bucket-object-lock-enabled", "true");
	}
	int rc = s3_http_one(&s3_of(b)->http, &r, reterr);
	if (rc == ET_EEXISTS && strcmp(r.s3_code, "BucketAlreadyOwnedByYou") == 0) {
		return 0;
	}
	return rc;
}

static const struct bucket_ops s3_ops = {
	.put_many = s3_put_many,
	.get = s3_get,
	.head = s3_head,
	.list = s3_list,
	.remove = s3_remove,
	.remove_version = s3_remove_version,
	.apart = s3_apart,
	.wake = s3_wake,
	.close = s3_close,
};

int bucket_s3_open(struct bucket_settings *settings, struct et_bucket **ret,
		   struct et_error *reterr)
{
	ET_CLEANUP(et_credentials_release) struct et_credentials credentials = { 0 };
	int rc = et_credentials_load(settings->credentials, &credentials, reterr);
	if (rc < 0) {
		return rc;
	}
	struct bucket_s3 *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "bucket");
	}
	rc = s3_http_init(&s->http, &s->base.settings, &s->base.cancelled, &credentials, reterr);
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->base.ops = &s3_ops;
	s->base.settings = *settings;
	*settings = (struct bucket_settings){ 0 };
	*ret = &s->base;
	return 0;
}
