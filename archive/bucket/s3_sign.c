#include "archive/bucket/s3_sign.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node/crypto/hash.h"

#define SERVICE "s3"
#define DATE_SIZE 8 /* characters: "20130524" */

void s3_time(int64_t us, char ret[S3_TIME_SIZE])
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	et_assert(gmtime_r(&seconds, &tm) != NULL);
	et_assert(strftime(ret, S3_TIME_SIZE, "%Y%m%dT%H%M%SZ", &tm) == S3_TIME_SIZE - 1);
}

void s3_encode(struct et_buffer *ret, const char *text, bool keep_slash)
{
	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
		bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			     (*c >= '0' && *c <= '9') || *c == '-' || *c == '.' || *c == '_' ||
			     *c == '~' || (*c == '/' && keep_slash);
		if (plain) {
			et_buffer_add8(ret, *c);
		} else {
			et_buffer_printf(ret, "%%%02X", *c);
		}
	}
}

static void signed_headers(const struct s3_signing *s, struct et_buffer *ret)
{
	for (size_t i = 0; i < s->header_count; i++) {
		et_assert(i == 0 || strcmp(s->headers[i - 1].name, s->headers[i].name) < 0);
		et_buffer_printf(ret, "%s%s", i == 0 ? "" : ";", s->headers[i].name);
	}
}

/* Task 1: the canonical request, and its hash in hexadecimal. */
static int canonical_hash(const struct s3_signing *s, char ret[65])
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	et_buffer_printf(&text, "%s\n%s\n%s\n", s->method, s->path, s->query);
	for (size_t i = 0; i < s->header_count; i++) {
		et_buffer_printf(&text, "%s:%s\n", s->headers[i].name, s->headers[i].value);
	}
	et_buffer_printf(&text, "\n");
	signed_headers(s, &text);
	et_buffer_printf(&text, "\n%s", s->payload_hash);
	if (text.failed) {
		return -ENOMEM;
	}
	uint8_t hash[32];
	et_sha256(text.data, text.size, hash);
	et_hex(hash, sizeof(hash), ret);
	return 0;
}

/* One link of the key's chain: *key becomes HMAC(*key, text). */
static int chain(struct et_secret **key, struct et_view text, struct et_error *reterr)
{
	struct et_secret *next = et_secret_new(32);
	if (next == NULL) {
		return et_fail(reterr, -ENOMEM, "sign");
	}
	int rc = et_hmac_sha256(*key, text, et_secret_edit(next), reterr);
	if (rc < 0) {
		(void)et_secret_free(next);
		return rc;
	}
	(void)et_secret_free(*key);
	*key = next;
	return 0;
}

/* Task 3: the signing key of one day, region and service. */
static int signing_key(const struct s3_signing *s, struct et_secret **ret, struct et_error *reterr)
{
	size_t size = et_secret_size(s->secret);
	ET_CLEANUP(et_secret_freep)
	struct et_secret *key = size + 4 > ET_SECRET_SIZE_MAX ? NULL : et_secret_new(size + 4);
	if (key == NULL) {
		return et_fail(reterr, -ENOMEM, "sign");
	}
	memcpy(et_secret_edit(key), "AWS4", 4);
	memcpy(et_secret_edit(key) + 4, et_secret_bytes(s->secret), size);
	int rc = chain(&key, (struct et_view){ (const uint8_t *)s->time, DATE_SIZE }, reterr);
	rc = rc < 0 ? rc : chain(&key, et_view_of(s->region), reterr);
	rc = rc < 0 ? rc : chain(&key, et_view_of(SERVICE), reterr);
	rc = rc < 0 ? rc : chain(&key, et_view_of("aws4_request"), reterr);
	if (rc == 0) {
		*ret = ET_TAKE(key);
	}
	return rc;
}

int s3_sign(const struct s3_signing *s, struct et_buffer *ret, struct et_error *reterr)
{
	char hash[65];
	ET_CLEANUP(et_buffer_release) struct et_buffer to_sign = { 0 };
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	int rc = canonical_hash(s, hash);
	if (rc < 0) {
		return et_fail(reterr, rc, "sign");
	}
	et_buffer_printf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/" SERVICE "/aws4_request\n%s",
			 s->time, s->time, s->region, hash);
	rc = signing_key(s, &key, reterr);
	if (rc < 0 || to_sign.failed) {
		return rc < 0 ? rc : et_fail(reterr, -ENOMEM, "sign");
	}
	uint8_t signature[32];
	struct et_view view = { to_sign.data, to_sign.size };
	rc = et_hmac_sha256(key, view, signature, reterr);
	if (rc < 0) {
		return rc;
	}
	char hex[65];
	et_hex(signature, sizeof(signature), hex);
	et_buffer_printf(ret,
			 "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/" SERVICE
			 "/aws4_request,SignedHeaders=",
			 s->key_id, s->time, s->region);
	signed_headers(s, ret);
	et_buffer_printf(ret, ",Signature=%s", hex);
	et_buffer_add8(ret, 0);
	return ret->failed ? et_fail(reterr, -ENOMEM, "sign") : 0;
}
