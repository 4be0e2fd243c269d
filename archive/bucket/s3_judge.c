/* What an answer means. Pure: no I/O. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "archive/bucket/s3_http.h"
#include "archive/bucket/s3_xml.h"

#define SKEW_MIN_US (60LL * 1000000) /* below that a refusal is not about the clock */

/* ---- Headers ---- */

static void copy_value(char *ret, size_t size, const char *value, size_t value_size)
{
	if (value_size >= size) {
		value_size = 0; /* too long to be true */
	}
	for (size_t i = 0; i < value_size; i++) {
		ret[i] = (char)(value[i] >= ' ' && value[i] <= '~' ? value[i] : '?');
	}
	ret[value_size] = '\0';
}

static void copy_etag(char *ret, size_t size, const char *value, size_t value_size)
{
	if (value_size >= 2 && value[0] == '"' && value[value_size - 1] == '"') {
		value++;
		value_size -= 2;
	}
	copy_value(ret, size, value, value_size);
}

static int64_t number_of(const char *value, size_t size, int64_t fallback)
{
	int64_t v = 0;
	for (size_t i = 0; i < size; i++) {
		if (value[i] < '0' || value[i] > '9' || i >= 18) {
			return fallback;
		}
		v = v * 10 + (value[i] - '0');
	}
	return size == 0 ? fallback : v;
}

#define YEAR_10000_S 253402300800 /* a date behind it is none: et_time_format() ends there */

static void answer_header(struct s3_answer *a, const char *name, size_t name_size,
			  const char *value, size_t size)
{
#define IS(text) (name_size == sizeof(text) - 1 && strncasecmp(name, text, name_size) == 0)
	if (IS("etag")) {
		copy_etag(a->etag, sizeof(a->etag), value, size);
	} else if (IS("content-length")) {
		a->content_length = number_of(value, size, -1);
	} else if (IS("content-range")) {
		copy_value(a->content_range, sizeof(a->content_range), value, size);
	} else if (IS("date")) {
		char text[64];
		copy_value(text, sizeof(text), value, size);
		time_t t = curl_getdate(text, NULL);
		a->date_us = t > 0 && t < YEAR_10000_S ? (int64_t)t * 1000000 : 0;
	} else if (IS("retry-after")) {
		int64_t s = number_of(value, size, 0);
		a->retry_after_ms = (uint32_t)((s > 30 ? 30 : s) * 1000);
	} else if (IS("x-amz-storage-class")) {
		copy_value(a->storage_class, sizeof(a->storage_class), value, size);
	} else if (IS("x-amz-object-lock-mode")) {
		copy_value(a->lock_mode, sizeof(a->lock_mode), value, size);
	} else if (IS("x-amz-object-lock-retain-until-date")) {
		copy_value(a->lock_until, sizeof(a->lock_until), value, size);
	} else if (IS("x-amz-object-lock-legal-hold")) {
		copy_value(a->legal_hold, sizeof(a->legal_hold), value, size);
	} else if (IS("x-amz-bucket-region")) {
		copy_value(a->region, sizeof(a->region), value, size);
	} else if (IS("x-amz-version-id")) {
		copy_value(a->version, sizeof(a->version), value, size);
	}
#undef IS
}

void s3_answer_line(struct s3_answer *a, const char *line, size_t size)
{
	if (size >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		*a = (struct s3_answer){ .content_length =
						 -1 }; /* after a 100 comes the real one */
		return;
	}
	const char *colon = memchr(line, ':', size);
	if (colon == NULL) {
		return;
	}
	const char *value = colon + 1;
	size_t value_size = size - (size_t)(value - line);
	while (value_size > 0 && (*value == ' ' || *value == '\t')) {
		value++;
		value_size--;
	}
	while (value_size > 0 && (unsigned char)value[value_size - 1] <= ' ') {
		value_size--;
	}
	answer_header(a, line, (size_t)(colon - line), value, value_size);
}

struct range {
	uint64_t first;
	uint64_t last;
	uint64_t total; /* UINT64_MAX: not known */
};

/* Digits up to `end`, which is stepped over. */
static bool digits_read(const char **text, char end, uint64_t *ret)
{
	const char *stop = strchr(*text, end);
	if (stop == NULL) {
		return false;
	}
	int64_t v = number_of(*text, (size_t)(stop - *text), -1);
	*text = stop + 1;
	*ret = (uint64_t)v;
	return v >= 0;
}

/* "bytes 0-9/100", or "bytes 0-9/" and a star. */
static bool range_parse(const struct s3_answer *a, struct range *ret)
{
	const char *text = a->content_range;
	if (a->status != 206 || strncmp(text, "bytes ", 6) != 0) {
		return false;
	}
	text += 6;
	if (!digits_read(&text, '-', &ret->first) || !digits_read(&text, '/', &ret->last)) {
		return false;
	}
	int64_t total = number_of(text, strlen(text), -1);
	ret->total = total < 0 ? UINT64_MAX : (uint64_t)total;
	return true;
}

bool s3_answer_is_range(const struct s3_answer *a, uint64_t offset, uint64_t length)
{
	struct range range;
	return range_parse(a, &range) && range.first == offset && range.last == offset + length - 1;
}

/* Does the answer say that the object ends inside the range that was asked for? */
static bool answer_is_short(const struct s3_request *r)
{
	struct range range;
	return r->ranged && range_parse(&r->answer, &range) && range.total < r->offset + r->length;
}

/* ---- Judgement ---- */

static enum s3_verdict fail(struct s3_request *r, enum s3_verdict verdict, int code,
			    const char *text)
{
	r->code = et_fail(&r->error, code, "%s '%s': %s", r->method,
			  r->name == NULL ? "bucket" : r->name, text);
	return verdict;
}

static enum s3_verdict judge_transport(struct s3_request *r, CURLcode result)
{
	const char *text = curl_easy_strerror(result);
	switch ((int)result) {
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		return fail(r, S3_FAILED, ET_EUNTRUSTED, text);
	case CURLE_OUT_OF_MEMORY:
		return fail(r, S3_FAILED, -ENOMEM, text);
	case CURLE_ABORTED_BY_CALLBACK:
		return fail(r, S3_AGAIN, ET_EUNREACHABLE, "no byte has moved for too long");
	case CURLE_WRITE_ERROR:
		return fail(r, S3_AGAIN, ET_EUNREACHABLE,
			    "an answer that does not fit the request");
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_NOT_BUILT_IN:
		return fail(r, S3_FAILED, ET_EUNSUPPORTED, text);
	default:
		return fail(r, S3_AGAIN, ET_EUNREACHABLE, text);
	}
}

static bool is_one_of(const char *code, const char *const *codes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(code, codes[i]) == 0) {
			return true;
		}
	}
	return false;
}

static enum s3_verdict judge_refusal(struct s3_request *r, const char *text)
{
	static const char *const again[] = { "RequestTimeout",
					     "OperationAborted",
					     "SlowDown",
					     "ConditionalRequestConflict",
					     "InternalError",
					     "ServiceUnavailable",
					     "IncompleteBody",
					     "BadDigest",
					     "XAmzContentSHA256Mismatch",
					     "Throttling" };
	const char *code = r->s3_code;
	if (strcmp(code, "BadDigest") == 0 || strcmp(code, "XAmzContentSHA256Mismatch") == 0) {
		return fail(r, S3_AGAIN, ET_EINTEGRITY, text);
	}
	if (is_one_of(code, again, ET_ARRAY_SIZE(again))) {
		return fail(r, S3_AGAIN, ET_EUNREACHABLE, text);
	}
	switch (r->answer.status) {
	case 401:
	case 403:
		return fail(r, S3_FAILED, ET_EDENIED, text);
	case 404:
		return fail(r, S3_FAILED, ET_ENOTFOUND, text);
	case 412:
		return r->ranged ? fail(r, S3_FAILED, ET_EINTEGRITY, "changed while it was read")
				 : fail(r, S3_FAILED, ET_EEXISTS, text);
	case 416:
		return fail(r, S3_FAILED, ET_EINTEGRITY, "shorter than it should be");
	case 405:
	case 501:
		return fail(r, S3_FAILED, ET_EUNSUPPORTED, text);
	case 409:
		return fail(r, S3_FAILED, ET_EEXISTS, text);
	case 408:
	case 429:
		return fail(r, S3_AGAIN, ET_EUNREACHABLE, text);
	case 413:
		return fail(r, S3_FAILED, ET_ELIMIT, text);
	default:
		break;
	}
	if (r->answer.status >= 500) {
		return fail(r, S3_AGAIN, ET_EUNREACHABLE, text);
	}
	if (strcmp(code, "AuthorizationHeaderMalformed") == 0 ||
	    strcmp(code, "InvalidAccessKeyId") == 0) {
		return fail(r, S3_FAILED, ET_EDENIED, text);
	}
	return fail(r, S3_FAILED, ET_EREFUSED, text);
}

/* A refusal while the clocks are apart: sign with the server's time, once. */
static bool judge_skew(struct s3_request *r)
{
	int64_t apart = r->answer.date_us - r->signed_us;
	bool suspect = r->answer.status == 403 || strcmp(r->s3_code, "RequestTimeTooSkewed") == 0 ||
		       strcmp(r->s3_code, "RequestExpired") == 0;
	if (!suspect || r->skew_tried || r->answer.date_us == 0 || llabs(apart) < SKEW_MIN_US) {
		return false;
	}
	r->skew_tried = true;
	r->http->skew_us += apart;
	return true;
}

static enum s3_verdict judge_status(struct s3_request *r)
{
	struct s3_xml_error e;
	bool is_error = s3_xml_error(r->content.data == NULL ? (const void *)"" : r->content.data,
				     r->content.size, &e);
	char text[384];
	(void)snprintf(r->s3_code, sizeof(r->s3_code), "%s", e.code);
	(void)snprintf(text, sizeof(text), "HTTP status %ld%s%s%s%s", r->answer.status,
		       is_error ? ", " : "", e.code, e.message[0] != '\0' ? ": " : "", e.message);
	if (r->answer.status >= 200 && r->answer.status < 300) {
		if (is_error) {
			return fail(r, S3_AGAIN, ET_EUNREACHABLE, text);
		}
		r->code = 0;
		return S3_DONE;
	}
	if (r->answer.status >= 300 && r->answer.status < 400) {
		const char *region = e.region[0] != '\0' ? e.region : r->answer.region;
		size_t used = strlen(text);
		(void)snprintf(text + used, sizeof(text) - used,
			       ": a redirect is not followed; wrong endpoint or region%s%s",
			       region[0] != '\0' ? ", the bucket is in " : "", region);
		return fail(r, S3_FAILED, ET_EUNREACHABLE, text);
	}
	if (judge_skew(r)) {
		return fail(r, S3_AGAIN, ET_EDENIED, "the clocks are apart");
	}
	return judge_refusal(r, text);
}

enum s3_verdict s3_judge(struct s3_request *r, CURLcode result)
{
	r->s3_code[0] = '\0';
	if (r->local_code < 0) {
		r->code = et_fail(&r->error, r->local_code, "%s '%s'", r->method,
				  r->name == NULL ? "bucket" : r->name);
		return S3_FAILED;
	}
	if (atomic_load(r->http->cancelled)) {
		return fail(r, S3_FAILED, ET_ECLOSED, "ended");
	}
	if (r->ranged && r->answer.status == 200) {
		return fail(r, S3_FAILED, ET_EUNSUPPORTED, "the server ignores ranges");
	}
	if (answer_is_short(r)) {
		return fail(r, S3_FAILED, ET_EINTEGRITY, "shorter than it should be");
	}
	bool refused = r->answer.status >= 300; /* said while the body was still on its way */
	if (result != CURLE_OK && !refused) {
		return judge_transport(r, result);
	}
	if (r->content.failed) {
		return fail(r, S3_FAILED, -ENOMEM, "answer");
	}
	if (!refused && r->ranged && r->delivered != r->length) {
		return fail(r, S3_AGAIN, ET_EUNREACHABLE, "not the range that was asked for");
	}
	return judge_status(r);
}
