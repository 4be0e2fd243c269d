#include "archive/bucket/bucket.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/bucket/bucket_internal.h"
#include "node/base/bytes.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "node/io/file.h"

static bool is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '/' || c == '-';
}

bool et_bucket_key_ok(const char *key)
{
	size_t size = key == NULL ? 0 : strlen(key);
	if (size == 0 || size > ET_BUCKET_KEY_MAX || key[size - 1] == '/') {
		return false;
	}
	char before = '/';
	for (size_t i = 0; i < size; i++) {
		if (!is_key_char(key[i]) || (before == '/' && (key[i] == '/' || key[i] == '.'))) {
			return false;
		}
		before = key[i];
	}
	return true;
}

/* ---- Settings ---- */

static void settings_release(struct bucket_settings *s)
{
	free(s->path);
	free(s->host);
	free(s->host_name);
	free(s->region);
	free(s->bucket);
	free(s->prefix);
	free(s->ca_file);
	free(s->credentials);
	free(s->storage_class);
	*s = (struct bucket_settings){ 0 };
}

/* Printable ASCII without blanks and quotes: fit for a header and a URL's query. */
static bool is_plain(const char *text, size_t size_max)
{
	size_t size = strlen(text);
	if (size == 0 || size > size_max) {
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		if (!is_key_char(text[i]) && text[i] != '+' && text[i] != ':') {
			return false;
		}
	}
	return true;
}

static bool host_name_ok(const char *text, size_t size)
{
	if (size == 0 || size > 253) {
		return false;
	}
	bool v6 = text[0] == '[';
	if (v6 && (size < 4 || text[size - 1] != ']')) {
		return false;
	}
	for (size_t i = v6 ? 1 : 0; i < size - (v6 ? 1 : 0); i++) {
		char c = text[i];
		bool digit = c >= '0' && c <= '9';
		bool hex = digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (v6 ? !(hex || c == ':' || c == '.')
		       : !(letter || digit || c == '-' || c == '.')) {
			return false;
		}
	}
	return true;
}

static bool port_parse(const char *text, uint16_t *ret)
{
	unsigned port = 0;
	size_t digits = 0;
	for (; text[digits] >= '0' && text[digits] <= '9' && digits < 6; digits++) {
		port = port * 10 + (unsigned)(text[digits] - '0');
	}
	if (digits == 0 || text[digits] != '\0' || port == 0 || port > 65535) {
		return false;
	}
	*ret = (uint16_t)port;
	return true;
}

/* "https://host[:port]", nothing behind it. */
static int settings_endpoint(struct bucket_settings *s, const char *endpoint,
			     struct et_error *reterr)
{
	const char *rest = NULL;
	if (endpoint != NULL && strncmp(endpoint, "https://", 8) == 0) {
		s->tls = true;
		rest = endpoint + 8;
	} else if (endpoint != NULL && strncmp(endpoint, "http://", 7) == 0) {
		rest = endpoint + 7;
	} else {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "endpoint must be \"https://HOST[:PORT]\" or \"http://…\"");
	}
	const char *colon = strrchr(rest, ':');
	if (colon != NULL && strchr(colon, ']') != NULL) {
		colon = NULL; /* inside an IPv6 address */
	}
	size_t size = colon != NULL ? (size_t)(colon - rest) : strlen(rest);
	uint16_t own = s->tls ? 443 : 80;
	s->port = own;
	if (!host_name_ok(rest, size) || (colon != NULL && !port_parse(colon + 1, &s->port))) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "endpoint must be \"https://HOST[:PORT]\" without a path");
	}
	s->host_name = strndup(rest, size);
	struct et_buffer host = { 0 };
	et_buffer_add(&host, rest, size);
	if (s->port != own) {
		et_buffer_printf(&host, ":%u", s->port);
	}
	et_buffer_add8(&host, 0);
	s->host = (char *)host.data;
	return host.failed || s->host_name == NULL ? et_fail(reterr, -ENOMEM, "endpoint") : 0;
}

/* Names that a bucket may have (AWS; letters in upper case are not for new buckets). */
static bool bucket_name_ok(const char *name)
{
	size_t size = name == NULL ? 0 : strlen(name);
	if (size < 3 || size > 63 || strstr(name, "..") != NULL) {
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		char c = name[i];
		bool outer = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		bool edge = i == 0 || i == size - 1;
		if (!outer && (edge || (c != '-' && c != '.'))) {
			return false;
		}
	}
	return true;
}

static int text_copy(const char *text, char **ret)
{
	*ret = text == NULL ? NULL : strdup(text);
	return text != NULL && *ret == NULL ? -ENOMEM : 0;
}

static int settings_s3(struct bucket_settings *s, const struct et_bucket_config *c,
		       struct et_error *reterr)
{
	const char *region = c->region == NULL ? "us-east-1" : c->region;
	int rc = settings_endpoint(s, c->endpoint, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!bucket_name_ok(c->bucket)) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "bucket must be 3 to 63 of [a-z0-9.-], beginning and ending "
				     "with a letter or digit");
	}
	if (!is_plain(region, 64)) {
		return et_fail_plain(reterr, ET_EMALFORMED, "region is no region's name");
	}
	if (c->credentials == NULL || c->credentials[0] != '/') {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "credentials must be the absolute path of a file");
	}
	if (c->ca_file != NULL && (c->ca_file[0] != '/' || !s->tls)) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "ca-file must be an absolute path, and is for https only");
	}
	if (c->storage_class != NULL && !is_plain(c->storage_class, 31)) {
		return et_fail_plain(reterr, ET_EMALFORMED, "storage class is no class's name");
	}
	if (c->virtual_host && s->host_name[0] == '[') {
		return et_fail_plain(reterr, ET_EMALFORMED, "style vhost needs a host name");
	}
	if (text_copy(region, &s->region) < 0 || text_copy(c->bucket, &s->bucket) < 0 ||
	    text_copy(c->credentials, &s->credentials) < 0 ||
	    text_copy(c->ca_file, &s->ca_file) < 0 ||
	    text_copy(c->storage_class, &s->storage_class) < 0) {
		return et_fail(reterr, -ENOMEM, "bucket");
	}
	s->virtual_host = c->virtual_host;
	s->insecure_tls = c->insecure_tls;
	return 0;
}

/* What libs3 cannot do is refused here, not forgotten later. */
static int settings_s3v2(const struct bucket_settings *s, struct et_error *reterr)
{
	if (s->tls && !s->insecure_tls) {
		int rc = et_fail_plain(reterr, ET_EMALFORMED,
				       "type s3v2 cannot verify who the server is (libs3 2.0 "
				       "verifies no certificate)");
		(void)et_fail_next(reterr, "use type s3; or, on a network that you trust, add "
					   "insecure-tls: true");
		return rc;
	}
	if (s->ca_file != NULL) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "type s3v2 has no ca-file: libs3 verifies no certificate");
	}
	if (s->storage_class != NULL) {
		return et_fail_plain(reterr, ET_EMALFORMED, "type s3v2 has no storage class");
	}
	return 0;
}

static int settings_prefix(struct bucket_settings *s, const char *prefix, struct et_error *reterr)
{
	if (prefix != NULL && prefix[0] != '\0' && !et_bucket_key_ok(prefix)) {
		return et_fail_plain(
			reterr, ET_EMALFORMED,
			"prefix must be of [A-Za-z0-9._/-], without a '/' at its ends");
	}
	struct et_buffer text = { 0 };
	if (prefix != NULL && prefix[0] != '\0') {
		et_buffer_printf(&text, "%s/", prefix);
	}
	et_buffer_add8(&text, 0);
	s->prefix = (char *)text.data;
	return text.failed ? et_fail(reterr, -ENOMEM, "bucket") : 0;
}

static int settings_dir(struct bucket_settings *s, const struct et_bucket_config *c,
			struct et_error *reterr)
{
	if (c->path == NULL || c->path[0] != '/') {
		return et_fail_plain(reterr, ET_EMALFORMED, "path must be absolute");
	}
	if (c->storage_class != NULL) {
		return et_fail_plain(reterr, ET_EMALFORMED, "type dir has no storage class");
	}
	return text_copy(c->path, &s->path) < 0 ? et_fail(reterr, -ENOMEM, "bucket") : 0;
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
	return value == 0 ? fallback : value;
}

static int settings_make(const struct et_bucket_config *c, struct bucket_settings *s,
			 struct et_error *reterr)
{
	s->type = c->type;
	s->connect_ms = or_default(c->connect_ms, 10000);
	s->stall_ms = or_default(c->stall_ms, 10000);
	s->attempts = or_default(c->attempts, 5);
	s->pause_ms = or_default(c->pause_ms, 250);
	int rc = settings_prefix(s, c->prefix, reterr);
	if (rc == 0) {
		rc = c->type == ET_BUCKET_DIR ? settings_dir(s, c, reterr)
					      : settings_s3(s, c, reterr);
	}
	if (rc == 0 && c->type == ET_BUCKET_S3V2) {
		rc = settings_s3v2(s, reterr);
	}
	if (rc == 0 && c->insecure_tls && !(c->type == ET_BUCKET_S3V2 && s->tls)) {
		rc = et_fail_plain(reterr, ET_EMALFORMED,
				   "insecure-tls is for type s3v2 with https only");
	}
	return rc;
}

int et_bucket_check(const struct et_bucket_config *config, struct et_error *reterr)
{
	ET_CLEANUP(settings_release) struct bucket_settings s = { 0 };
	return settings_make(config, &s, reterr);
}

int et_bucket_open(const struct et_bucket_config *config, struct et_bucket **ret,
		   struct et_error *reterr)
{
	ET_CLEANUP(settings_release) struct bucket_settings s = { 0 };
	int rc = settings_make(config, &s, reterr);
	if (rc < 0) {
		return rc;
	}
	switch (s.type) {
	case ET_BUCKET_DIR:
		return bucket_dir_open(&s, ret, reterr);
	case ET_BUCKET_S3:
		return bucket_s3_open(&s, ret, reterr);
	case ET_BUCKET_S3V2:
		return bucket_s3v2_open(&s, ret, reterr);
	}
	et_unreachable();
}

int et_bucket_make(const struct et_bucket_config *config, bool with_lock, struct et_error *reterr)
{
	if (with_lock && config->type != ET_BUCKET_S3) {
		return et_fail(reterr, ET_EUNSUPPORTED, "Object Lock on a store of this type");
	}
	if (config->type == ET_BUCKET_DIR) {
		int rc = et_bucket_check(config, reterr);
		return rc < 0 ? rc : et_file_mkdirs(config->path, reterr);
	}
	ET_CLEANUP(et_bucket_closep) struct et_bucket *b = NULL;
	int rc = et_bucket_open(config, &b, reterr);
	if (rc < 0) {
		return rc;
	}
	return config->type == ET_BUCKET_S3 ? bucket_s3_make(b, with_lock, reterr)
					    : bucket_s3v2_make(b, reterr);
}

struct et_bucket *et_bucket_close(struct et_bucket *b)
{
	if (b != NULL) {
		b->ops->close(b);
		settings_release(&b->settings);
		free(b);
	}
	return NULL;
}

void et_bucket_cancel(struct et_bucket *b)
{
	atomic_store(&b->cancelled, true);
	if (b->ops->wake != NULL) {
		b->ops->wake(b);
	}
}

/* ---- Operations: what is the same for every store ---- */

void bucket_name(const struct et_bucket *b, const char *key, char ret[BUCKET_NAME_MAX + 1])
{
	size_t prefix = strlen(b->settings.prefix);
	size_t size = strlen(key);
	et_assert(prefix + size <= BUCKET_NAME_MAX);
	memcpy(ret, b->settings.prefix, prefix);
	memcpy(ret + prefix, key, size + 1);
}

int64_t bucket_pause_us(const struct bucket_settings *s, uint32_t attempt)
{
	et_assert(attempt >= 2);
	unsigned shift = attempt - 2 < 6 ? attempt - 2 : 6;
	int64_t us = ((int64_t)s->pause_ms * 1000) << shift;
	uint16_t chance;
	et_random(&chance, sizeof(chance));
	return us + us / 4 * chance / UINT16_MAX;
}

static int check_call(struct et_bucket *b, const char *key, struct et_error *reterr)
{
	if (bucket_is_cancelled(b)) {
		return et_fail(reterr, ET_ECLOSED, "the store");
	}
	if (!et_bucket_key_ok(key)) {
		return et_fail(reterr, ET_EMALFORMED, "object key");
	}
	return 0;
}

int et_bucket_put_many(struct et_bucket *b, struct et_bucket_put *puts, size_t count,
		       uint32_t parallel, struct et_error *reterr)
{
	int rc = 0;
	for (size_t i = 0; i < count && rc == 0; i++) {
		puts[i].code = 0;
		puts[i].requests = 0;
		rc = check_call(b, puts[i].key, reterr);
		if (rc == 0 && puts[i].size > BUCKET_OBJECT_SIZE_MAX) {
			rc = et_fail(reterr, ET_ELIMIT, "put '%s': more than 5 GiB", puts[i].key);
		}
		if (rc == 0 && puts[i].lock != ET_LOCK_NONE && b->settings.type != ET_BUCKET_S3) {
			rc = et_fail(reterr, ET_EUNSUPPORTED, "Object Lock on this store");
		}
	}
	if (rc == 0) {
		rc = b->ops->put_many(b, puts, count, parallel == 0 ? 1 : parallel);
	} else {
		for (size_t i = 0; i < count; i++) {
			puts[i].code = rc;
			puts[i].error = reterr != NULL ? *reterr : (struct et_error){ .code = rc };
		}
		return rc;
	}
	for (size_t i = 0; i < count; i++) {
		if (puts[i].code < 0) {
			if (reterr != NULL) {
				*reterr = puts[i].error;
			}
			return puts[i].code;
		}
	}
	return rc;
}

int et_bucket_put(struct et_bucket *b, struct et_bucket_put *put, struct et_error *reterr)
{
	return et_bucket_put_many(b, put, 1, 1, reterr);
}

int et_bucket_get(struct et_bucket *b, const char *key, uint64_t offset, uint64_t length,
		  et_bucket_sink sink, void *arg, struct et_error *reterr)
{
	char name[BUCKET_NAME_MAX + 1];
	int rc = check_call(b, key, reterr);
	if (rc < 0) {
		return rc;
	}
	if (length != ET_BUCKET_TO_END && offset > UINT64_MAX - length) {
		return et_fail(reterr, ET_EINTEGRITY, "get '%s': no such range", key);
	}
	bucket_name(b, key, name);
	return b->ops->get(b, name, offset, length, sink, arg, reterr);
}

int et_bucket_head(struct et_bucket *b, const char *key, struct et_bucket_object *ret,
		   struct et_error *reterr)
{
	char name[BUCKET_NAME_MAX + 1];
	int rc = check_call(b, key, reterr);
	if (rc < 0) {
		return rc;
	}
	bucket_name(b, key, name);
	struct et_bucket_object object = { 0 };
	rc = b->ops->head(b, name, &object, reterr);
	if (rc == 0) {
		*ret = object;
	}
	return rc;
}

int et_bucket_delete(struct et_bucket *b, const char *key, struct et_error *reterr)
{
	char name[BUCKET_NAME_MAX + 1];
	int rc = check_call(b, key, reterr);
	if (rc < 0) {
		return rc;
	}
	bucket_name(b, key, name);
	return b->ops->remove(b, name, reterr);
}

int et_bucket_delete_version(struct et_bucket *b, const char *key, const char *version,
			     struct et_error *reterr)
{
	char name[BUCKET_NAME_MAX + 1];
	int rc = check_call(b, key, reterr);
	if (rc < 0) {
		return rc;
	}
	if (b->ops->remove_version == NULL || version[0] == '\0') {
		return et_fail(reterr, ET_EUNSUPPORTED, "delete a version of '%s'", key);
	}
	bucket_name(b, key, name);
	return b->ops->remove_version(b, name, version, reterr);
}

bool et_bucket_apart(struct et_bucket *b, int64_t *ret_us)
{
	return b->ops->apart != NULL && b->ops->apart(b, ret_us);
}

/* ---- Verify ---- */

struct hash_sink {
	struct et_sha256 *hash; /* owned */
	uint64_t size;
};

static int hash_sink_take(void *arg, const void *data, size_t size)
{
	struct hash_sink *sink = arg;
	et_sha256_add(sink->hash, data, size);
	sink->size += size;
	return 0;
}

static int name_hash(struct et_bucket *b, const char *name, uint64_t *ret_size, uint8_t ret[32],
		     struct et_error *reterr)
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *hash = et_sha256_new();
	if (hash == NULL) {
		return et_fail(reterr, -ENOMEM, "verify");
	}
	struct hash_sink sink = { .hash = hash };
	int rc = b->ops->get(b, name, 0, ET_BUCKET_TO_END, hash_sink_take, &sink, reterr);
	if (rc == 0) {
		et_sha256_end(hash, ret);
		*ret_size = sink.size;
	}
	return rc;
}

int bucket_compare(struct et_bucket *b, const char *name, uint64_t size, const uint8_t sha256[32],
		   struct et_error *reterr)
{
	uint64_t found_size = 0;
	uint8_t found[32];
	int rc = name_hash(b, name, &found_size, found, reterr);
	if (rc < 0) {
		return rc;
	}
	if (found_size != size || memcmp(found, sha256, 32) != 0) {
		return et_fail(reterr, ET_EEXISTS, "put '%s': other content is there", name);
	}
	return 0;
}

int et_bucket_verify(struct et_bucket *b, const char *key, uint64_t size, const uint8_t sha256[32],
		     struct et_error *reterr)
{
	char name[BUCKET_NAME_MAX + 1];
	int rc = check_call(b, key, reterr);
	if (rc < 0) {
		return rc;
	}
	bucket_name(b, key, name);
	if (b->ops->drop_cache != NULL) {
		b->ops->drop_cache(b, name);
	}
	uint64_t found_size = 0;
	uint8_t found[32];
	rc = name_hash(b, name, &found_size, found, reterr);
	if (rc < 0) {
		return rc;
	}
	if (found_size != size) {
		return et_fail(reterr, ET_EINTEGRITY, "object '%s' has %llu bytes instead of %llu",
			       key, (unsigned long long)found_size, (unsigned long long)size);
	}
	if (memcmp(found, sha256, 32) != 0) {
		return et_fail(reterr, ET_EINTEGRITY, "object '%s' does not have its hash", key);
	}
	return 0;
}

/* ---- List ---- */

struct list_filter {
	const struct et_bucket *b;
	const char *after; /* with the prefix of the store */
	int (*fn)(void *arg, const char *key, uint64_t size);
	void *arg;
};

static int list_filter_take(void *arg, const char *name, uint64_t size)
{
	struct list_filter *f = arg;
	const char *prefix = f->b->settings.prefix;
	size_t prefix_size = strlen(prefix);
	if (strncmp(name, prefix, prefix_size) != 0 || strcmp(name, f->after) <= 0 ||
	    !et_bucket_key_ok(name + prefix_size)) {
		return 0;
	}
	return f->fn(f->arg, name + prefix_size, size);
}

int et_bucket_list(struct et_bucket *b, const char *prefix, const char *after,
		   int (*fn)(void *arg, const char *key, uint64_t size), void *arg,
		   struct et_error *reterr)
{
	prefix = prefix == NULL ? "" : prefix;
	after = after == NULL ? "" : after;
	if (bucket_is_cancelled(b)) {
		return et_fail(reterr, ET_ECLOSED, "the store");
	}
	bool plain = strlen(prefix) <= ET_BUCKET_KEY_MAX && strlen(after) <= ET_BUCKET_KEY_MAX;
	for (const char *c = prefix; plain && *c != '\0'; c++) {
		plain = is_key_char(*c);
	}
	if (!plain || (after[0] != '\0' && !et_bucket_key_ok(after))) {
		return et_fail(reterr, ET_EMALFORMED, "prefix of a list");
	}
	char name_prefix[BUCKET_NAME_MAX + 1];
	char name_after[BUCKET_NAME_MAX + 1];
	bucket_name(b, prefix, name_prefix);
	bucket_name(b, after, name_after);
	struct list_filter filter = {
		.b = b, .after = after[0] == '\0' ? "" : name_after, .fn = fn, .arg = arg
	};
	return b->ops->list(b, name_prefix, filter.after, list_filter_take, &filter, reterr);
}
