#include <stdio.h>

#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/tls/cert_internal.h"
#include "node/tls/join.h"
#include "node/tls/wire_internal.h"

#define PREFIX "evt1."
#define PREFIX_BYTES (sizeof(PREFIX) - 1)
#define TOKEN_VERSION 1
#define CHECK_BYTES 4
/* The text with its prefix is a secret, so it fits one. */
#define TOKEN_BYTES_MAX ((ET_SECRET_SIZE_MAX - PREFIX_BYTES) / 4 * 3)

int et_join_token_make(struct et_join_token *ret, struct et_error *reterr)
{
	struct et_join_token t = { 0 };

	int rc = et_ed25519_generate(&t.seed, t.public_key, reterr);
	if (rc < 0) {
		return rc;
	}
	et_uuid7(t.id);
	*ret = t;
	return 0;
}

void et_join_token_release(struct et_join_token *t)
{
	(void)et_secret_free(t->seed);
	*t = (struct et_join_token){ 0 };
}

/* A buffer of fixed size in a secret: what is built from a seed must not lie about on the heap. */
struct scratch {
	uint8_t *p;
	size_t size;
	size_t room;
	bool failed;
};

static void scratch_add(struct scratch *s, const void *data, size_t size)
{
	if (s->failed || size > s->room - s->size) {
		s->failed = true;
		return;
	}
	memcpy(s->p + s->size, data, size);
	s->size += size;
}

static void scratch_add_text(struct scratch *s, const char *text)
{
	uint8_t size = (uint8_t)strlen(text);
	scratch_add(s, &size, 1);
	scratch_add(s, text, size);
}

int et_join_token_format(const struct et_join_token *t, struct et_secret **ret,
			 struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *binary = et_secret_new(TOKEN_BYTES_MAX);
	ET_CLEANUP(et_secret_freep) struct et_secret *text = et_secret_new(ET_SECRET_SIZE_MAX);
	const uint8_t version = TOKEN_VERSION;
	const uint8_t count = (uint8_t)t->address_count;
	uint8_t expires[8];
	uint8_t roles[2];
	uint8_t hash[32];

	if (binary == NULL || text == NULL) {
		return et_fail(reterr, -ENOMEM, "format a join token");
	}
	et_assert(t->address_count <= ET_JOIN_ADDRESSES_MAX);
	struct scratch s = { .p = et_secret_edit(binary), .room = TOKEN_BYTES_MAX };
	et_put64(expires, (uint64_t)t->expires_us);
	et_put16(roles, (uint16_t)t->roles);
	scratch_add(&s, &version, 1);
	scratch_add(&s, t->id, sizeof(t->id));
	scratch_add(&s, et_secret_bytes(t->seed), 32);
	scratch_add(&s, expires, sizeof(expires));
	scratch_add(&s, t->ca_hash, sizeof(t->ca_hash));
	scratch_add_text(&s, t->cluster);
	scratch_add_text(&s, t->site);
	scratch_add(&s, roles, sizeof(roles));
	scratch_add(&s, &count, 1);
	for (size_t i = 0; i < t->address_count; i++) {
		scratch_add_text(&s, t->addresses[i]);
	}
	if (!s.failed) {
		et_sha256(s.p, s.size, hash);
		scratch_add(&s, hash, CHECK_BYTES);
	}
	if (s.failed) {
		return et_fail_plain(reterr, ET_ELIMIT,
				     "the names and addresses are too long for a join token: give "
				     "it fewer addresses");
	}
	char *out = (char *)et_secret_edit(text);
	memcpy(out, PREFIX, PREFIX_BYTES);
	et_base64(s.p, s.size, out + PREFIX_BYTES);
	*ret = et_secret_copy(out, strnlen(out, ET_SECRET_SIZE_MAX));
	return *ret != NULL ? 0 : et_fail(reterr, -ENOMEM, "format a join token");
}

static bool token_read(struct et_reader *r, struct et_join_token *t, const uint8_t **seed)
{
	const uint8_t *id = et_read_bytes(r, sizeof(t->id));
	*seed = et_read_bytes(r, 32);
	t->expires_us = (int64_t)et_read64(r);
	const uint8_t *ca_hash = et_read_bytes(r, sizeof(t->ca_hash));
	if (ca_hash == NULL || !wire_read_text(r, t->cluster, sizeof(t->cluster)) ||
	    !wire_read_text(r, t->site, sizeof(t->site))) {
		return false;
	}
	memcpy(t->id, id, sizeof(t->id));
	memcpy(t->ca_hash, ca_hash, sizeof(t->ca_hash));
	t->roles = et_read16(r);
	t->address_count = et_read8(r);
	if (t->address_count > ET_JOIN_ADDRESSES_MAX || (t->roles & ~ET_ROLES_ALL) != 0) {
		return false;
	}
	for (size_t i = 0; i < t->address_count; i++) {
		if (!wire_read_text(r, t->addresses[i], sizeof(t->addresses[i]))) {
			return false;
		}
	}
	return !r->failed && et_reader_left(r) == 0 && et_name_is_valid(t->cluster) &&
	       et_name_is_valid(t->site);
}

static int token_parse(const uint8_t *p, size_t size, struct et_join_token *ret,
		       struct et_error *reterr)
{
	struct et_join_token t = { 0 };
	const uint8_t *seed = NULL;
	uint8_t hash[32];

	if (size < 1 + CHECK_BYTES) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the join token is cut short: copy all of it");
	}
	et_sha256(p, size - CHECK_BYTES, hash);
	if (memcmp(p + size - CHECK_BYTES, hash, CHECK_BYTES) != 0) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the join token is damaged (its check does not fit): copy "
				     "all of it again");
	}
	if (p[0] != TOKEN_VERSION) {
		return et_fail(reterr, ET_EVERSION, "the join token");
	}
	struct et_reader r = et_reader_of(p + 1, size - 1 - CHECK_BYTES);
	if (!token_read(&r, &t, &seed)) {
		return et_fail_plain(reterr, ET_EMALFORMED, "the join token makes no sense");
	}
	t.seed = et_secret_copy(seed, 32);
	if (t.seed == NULL) {
		return et_fail(reterr, -ENOMEM, "read the join token");
	}
	int rc = et_ed25519_public(t.seed, t.public_key, reterr);
	if (rc < 0) {
		et_join_token_release(&t);
		return rc;
	}
	*ret = t;
	return 0;
}

int et_join_token_parse(const char *text, size_t size, int64_t now_us, struct et_join_token *ret,
			struct et_error *reterr)
{
	while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' ')) {
		size--;
	}
	if (size < PREFIX_BYTES || memcmp(text, PREFIX, PREFIX_BYTES) != 0) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "this is no join token: one begins with '" PREFIX "' and is "
				     "made by 'evertape node token'");
	}
	ET_CLEANUP(et_secret_freep) struct et_secret *binary = et_secret_new(TOKEN_BYTES_MAX);
	if (binary == NULL) {
		return et_fail(reterr, -ENOMEM, "read the join token");
	}
	ssize_t n = et_unbase64(text + PREFIX_BYTES, size - PREFIX_BYTES, et_secret_edit(binary),
				TOKEN_BYTES_MAX);
	if (n < 0) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the join token is damaged: it holds a character that does "
				     "not belong there, or is too long");
	}
	int rc = token_parse(et_secret_bytes(binary), (size_t)n, ret, reterr);
	if (rc == 0 && now_us != 0 && ret->expires_us <= now_us) {
		char when[ET_TIME_TEXT_SIZE];
		et_time_format(ret->expires_us, when);
		et_join_token_release(ret);
		(void)et_fail_plain(reterr, ET_EDENIED, "the join token expired at %s", when);
		(void)et_fail_next(reterr, "evertape node token (on a member of the cluster)");
		return ET_EDENIED;
	}
	return rc;
}
