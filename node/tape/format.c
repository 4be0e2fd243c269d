#include "node/tape/format_internal.h"

#include "node/crypto/sign.h"

static const uint8_t header_magic[4] = { 'E', 'V', 'T', 'M' };
static const uint8_t leaves_magic[4] = { 'E', 'V', 'T', 'L' };
static const uint8_t trailer_magic[4] = { 'E', 'V', 'T', 'F' };
static const uint8_t end_magic[4] = { 'E', 'V', 'T', 'E' };
static const char signature_context[] = "evtm/1 footer"; /* signed with its NUL */
static const char seal_context[] = "evtm/1 seal";	 /* hashed with its NUL */

static void header_hash(const uint8_t *bytes, uint8_t ret[ET_TAPE_HASH_SIZE])
{
	et_sha256(bytes, ET_TAPE_HEADER_SIZE - ET_TAPE_HASH_SIZE, ret);
}

void et_tape_header_format(const struct et_tape_header *header, uint8_t ret[ET_TAPE_HEADER_SIZE])
{
	memset(ret, 0, ET_TAPE_HEADER_SIZE);
	memcpy(ret, header_magic, sizeof(header_magic));
	ret[4] = ET_TAPE_VERSION;
	ret[5] = ET_TAPE_SUITE;
	memcpy(ret + 8, header->recording, sizeof(header->recording));
	et_put32(ret + 24, header->generation);
	et_put32(ret + 28, header->segment);
	memcpy(ret + 32, header->salt, sizeof(header->salt));
	memcpy(ret + 64, header->commitment, sizeof(header->commitment));
	et_put32(ret + 96, header->kek_id);
	et_put32(ret + 100, header->kek_version);
	et_put64(ret + 104, header->dek_id);
	et_put64(ret + 112, header->node);
	et_put64(ret + 120, (uint64_t)header->t0_us);
	header_hash(ret, ret + 128);
}

int et_tape_header_parse(const uint8_t bytes[ET_TAPE_HEADER_SIZE], struct et_tape_header *ret,
			 struct et_error *reterr)
{
	uint8_t hash[ET_TAPE_HASH_SIZE];

	if (memcmp(bytes, header_magic, sizeof(header_magic)) != 0) {
		return et_fail(reterr, ET_EMALFORMED, "this is not a tape");
	}
	if (bytes[4] != ET_TAPE_VERSION || bytes[5] != ET_TAPE_SUITE) {
		return et_fail(reterr, ET_EVERSION, "tape of version %u, suite %u", bytes[4],
			       bytes[5]);
	}
	header_hash(bytes, hash);
	if (memcmp(bytes + 128, hash, sizeof(hash)) != 0) {
		return et_fail(reterr, ET_ECORRUPT, "header of a tape");
	}
	if (et_get16(bytes + 6) != 0) {
		return et_fail(reterr, ET_EVERSION, "tape with flags 0x%x", et_get16(bytes + 6));
	}
	if (et_get32(bytes + 24) == 0 || et_get32(bytes + 28) == 0) {
		return et_fail(reterr, ET_EMALFORMED, "tape of generation %u, segment %u",
			       et_get32(bytes + 24), et_get32(bytes + 28));
	}
	memcpy(ret->recording, bytes + 8, sizeof(ret->recording));
	ret->generation = et_get32(bytes + 24);
	ret->segment = et_get32(bytes + 28);
	memcpy(ret->salt, bytes + 32, sizeof(ret->salt));
	memcpy(ret->commitment, bytes + 64, sizeof(ret->commitment));
	ret->kek_id = et_get32(bytes + 96);
	ret->kek_version = et_get32(bytes + 100);
	ret->dek_id = et_get64(bytes + 104);
	ret->node = et_get64(bytes + 112);
	ret->t0_us = (int64_t)et_get64(bytes + 120);
	memcpy(ret->hash, hash, sizeof(hash));
	return 0;
}

int et_tape_commit(const struct et_secret *dek, const uint8_t salt[32],
		   uint8_t ret[ET_TAPE_HASH_SIZE], struct et_error *reterr)
{
	return et_hkdf_sha256_public(dek, (struct et_view){ salt, 32 }, et_view_of("evtm/1 commit"),
				     ret, ET_TAPE_HASH_SIZE, reterr);
}

int et_tape_cipher(const struct et_secret *dek, const uint8_t salt[32], struct et_aead **ret,
		   struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;

	int rc = et_hkdf_sha256(dek, (struct et_view){ salt, 32 }, et_view_of("evtm/1 chunk"),
				ET_AEAD_KEY_SIZE, &key, reterr);
	return rc < 0 ? rc : et_aead_new(key, ret, reterr);
}

int et_tape_unlock(const struct et_tape_header *header, const struct et_secret *dek,
		   struct et_aead **ret, struct et_error *reterr)
{
	uint8_t commitment[ET_TAPE_HASH_SIZE];

	if (et_secret_size(dek) != ET_AEAD_KEY_SIZE) { /* It came from elsewhere. */
		return et_fail_plain(reterr, ET_ENOKEY, "a key of %zu bytes opens no tape",
				     et_secret_size(dek));
	}
	int rc = et_tape_commit(dek, header->salt, commitment, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!et_equal_constant_time(commitment, header->commitment, sizeof(commitment))) {
		return et_fail_plain(reterr, ET_ENOKEY, "the key is not that of this tape");
	}
	return et_tape_cipher(dek, header->salt, ret, reterr);
}

void et_tape_nonce(uint32_t seq, uint8_t ret[ET_AEAD_NONCE_SIZE])
{
	memset(ret, 0, ET_AEAD_NONCE_SIZE);
	et_put32(ret + 8, seq);
}

void et_tape_aad(const uint8_t hash[ET_TAPE_HASH_SIZE], const uint8_t *head,
		 uint8_t ret[ET_TAPE_HASH_SIZE + TAPE_HEAD_CRC_AT])
{
	memcpy(ret, hash, ET_TAPE_HASH_SIZE);
	memcpy(ret + ET_TAPE_HASH_SIZE, head, TAPE_HEAD_CRC_AT);
}

uint32_t et_tape_crc(const uint8_t hash[ET_TAPE_HASH_SIZE], const uint8_t *record, size_t size)
{
	uint32_t crc = et_crc32c(0, hash, ET_TAPE_HASH_SIZE);
	crc = et_crc32c(crc, record, TAPE_HEAD_CRC_AT);
	return et_crc32c(crc, record + ET_TAPE_RECORD_HEAD_SIZE, size - ET_TAPE_RECORD_HEAD_SIZE);
}

int et_tape_head_parse(const uint8_t p[ET_TAPE_RECORD_HEAD_SIZE], uint32_t seq,
		       struct et_tape_record_head *ret)
{
	const uint32_t length = et_get32(p + 4);

	*ret = (struct et_tape_record_head){ .kind = p[2], .flags = p[3] };
	if (et_get16(p) != TAPE_RECORD_MAGIC || et_get32(p + 8) != seq ||
	    length <= ET_TAPE_TAG_SIZE || length > ET_TAPE_PLAIN_MAX + ET_TAPE_TAG_SIZE) {
		return ET_ECORRUPT;
	}
	ret->seq = seq;
	ret->t_ms = et_get32(p + 12);
	ret->size = ET_TAPE_RECORD_HEAD_SIZE + length;
	return 0;
}

int et_tape_record_check(const uint8_t hash[ET_TAPE_HASH_SIZE], uint32_t seq, struct et_view bytes,
			 struct et_tape_record_head *ret)
{
	*ret = (struct et_tape_record_head){ 0 };
	if (bytes.size < ET_TAPE_RECORD_HEAD_SIZE) {
		return ET_ETRUNCATED;
	}
	int rc = et_tape_head_parse(bytes.data, seq, ret);
	if (rc < 0) {
		return rc;
	}
	if (bytes.size < ret->size) {
		return ET_ETRUNCATED;
	}
	uint32_t crc = et_get32(bytes.data + TAPE_HEAD_CRC_AT);
	return et_tape_crc(hash, bytes.data, ret->size) == crc ? 0 : ET_ECORRUPT;
}

void et_tape_leaf(struct et_view record, uint8_t ret[ET_TAPE_HASH_SIZE])
{
	et_merkle_leaf(record.data, record.size, ret);
}

/* Header hash and trailer: the header follows from the one; the records, by their root, and the
 * rest of the footer from the other. */
static void seal_hash(const uint8_t hash[ET_TAPE_HASH_SIZE],
		      const uint8_t trailer[ET_TAPE_TRAILER_SIZE], uint8_t ret[ET_TAPE_HASH_SIZE])
{
	uint8_t bytes[sizeof(seal_context) + ET_TAPE_HASH_SIZE + ET_TAPE_TRAILER_SIZE];

	memcpy(bytes, seal_context, sizeof(seal_context));
	memcpy(bytes + sizeof(seal_context), hash, ET_TAPE_HASH_SIZE);
	memcpy(bytes + sizeof(seal_context) + ET_TAPE_HASH_SIZE, trailer, ET_TAPE_TRAILER_SIZE);
	et_sha256(bytes, sizeof(bytes), ret);
}

/* What the node signs: context, header hash, the trailer up to the signature. */
struct signed_bytes {
	uint8_t bytes[sizeof(signature_context) + ET_TAPE_HASH_SIZE + TAPE_SIGNED_SIZE];
};

static struct signed_bytes trailer_signed(const uint8_t hash[ET_TAPE_HASH_SIZE],
					  const uint8_t *trailer)
{
	struct signed_bytes s;

	memcpy(s.bytes, signature_context, sizeof(signature_context));
	memcpy(s.bytes + sizeof(signature_context), hash, ET_TAPE_HASH_SIZE);
	memcpy(s.bytes + sizeof(signature_context) + ET_TAPE_HASH_SIZE, trailer, TAPE_SIGNED_SIZE);
	return s;
}

static uint64_t footer_size(uint64_t records)
{
	return ET_TAPE_FOOTER_HEAD_SIZE + records * ET_TAPE_HASH_SIZE + ET_TAPE_TRAILER_SIZE;
}

int et_tape_footer_make(const uint8_t hash[ET_TAPE_HASH_SIZE], const uint8_t *leaves,
			const struct et_tape_signer *signer, struct et_tape_seal *seal,
			struct et_buffer *ret, struct et_error *reterr)
{
	uint8_t t[ET_TAPE_TRAILER_SIZE] = { 0 };

	et_assert(seal->records <= ET_TAPE_RECORDS_MAX);
	seal->signer = signer->node;
	seal->signed_us = signer->now_us;
	seal->size_bytes = seal->body_bytes + footer_size(seal->records);
	int rc = 0;
	if (signer->public_key != NULL) {
		memcpy(seal->signer_public, signer->public_key, sizeof(seal->signer_public));
	} else {
		rc = et_ed25519_public(signer->seed, seal->signer_public, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	memcpy(t, trailer_magic, sizeof(trailer_magic));
	t[4] = ET_TAPE_VERSION;
	t[5] = ET_TAPE_SUITE;
	et_put16(t + 6, (uint16_t)seal->flags);
	et_put32(t + 8, (uint32_t)seal->records);
	et_put32(t + 12, seal->last_ms);
	et_put64(t + 16, seal->body_bytes);
	memcpy(t + 24, seal->root, sizeof(seal->root));
	et_put64(t + 56, (uint64_t)seal->signed_us);
	et_put64(t + 64, seal->signer);
	memcpy(t + 72, seal->signer_public, sizeof(seal->signer_public));
	struct signed_bytes s = trailer_signed(hash, t);
	rc = et_ed25519_sign(signer->seed, (struct et_view){ s.bytes, sizeof(s.bytes) },
			     t + TAPE_SIGNED_SIZE, reterr);
	if (rc < 0) {
		return rc;
	}
	et_put64(t + 168, seal->size_bytes);
	et_put32(t + 184, et_crc32c(0, t, 184));
	memcpy(t + 188, end_magic, sizeof(end_magic));
	seal_hash(hash, t, seal->seal_hash);

	et_buffer_add(ret, leaves_magic, sizeof(leaves_magic));
	et_buffer_add32(ret, (uint32_t)seal->records);
	et_buffer_add(ret, leaves, seal->records * ET_TAPE_HASH_SIZE);
	et_buffer_add(ret, t, sizeof(t));
	return ret->failed ? et_fail(reterr, -ENOMEM, "footer of a tape") : 0;
}

int et_tape_trailer_parse(const uint8_t bytes[ET_TAPE_TRAILER_SIZE],
			  const uint8_t hash[ET_TAPE_HASH_SIZE], uint64_t size_bytes,
			  struct et_tape_seal *ret, struct et_error *reterr)
{
	bool begins = memcmp(bytes, trailer_magic, sizeof(trailer_magic)) == 0;
	bool ends = memcmp(bytes + 188, end_magic, sizeof(end_magic)) == 0;

	if (!begins && !ends) {
		return et_fail_plain(reterr, ET_ETRUNCATED, "the tape has no footer");
	}
	if (!begins || !ends || et_get32(bytes + 184) != et_crc32c(0, bytes, 184)) {
		return et_fail_plain(reterr, ET_EINTEGRITY, "the tape's footer is damaged");
	}
	const uint64_t records = et_get32(bytes + 8);
	const uint64_t body = et_get64(bytes + 16);
	if (bytes[4] != ET_TAPE_VERSION || bytes[5] != ET_TAPE_SUITE ||
	    (et_get16(bytes + 6) & ~(ET_TAPE_RECOVERED | ET_TAPE_UNVERIFIED)) != 0 ||
	    et_get64(bytes + 176) != 0) {
		return et_fail(reterr, ET_EVERSION, "footer of version %u, flags 0x%x", bytes[4],
			       et_get16(bytes + 6));
	}
	if (records > ET_TAPE_RECORDS_MAX || body < ET_TAPE_HEADER_SIZE || body > size_bytes ||
	    size_bytes - body != footer_size(records) || et_get64(bytes + 168) != size_bytes) {
		return et_fail_plain(reterr, ET_EINTEGRITY,
				     "the tape's lengths are not those of its footer");
	}
	struct signed_bytes s = trailer_signed(hash, bytes);
	int rc = et_ed25519_verify(bytes + 72, (struct et_view){ s.bytes, sizeof(s.bytes) },
				   bytes + TAPE_SIGNED_SIZE, NULL);
	if (rc < 0) {
		return et_fail_plain(reterr, rc == -ENOMEM ? rc : ET_EINTEGRITY,
				     "the tape's signature does not fit");
	}
	*ret = (struct et_tape_seal){
		.records = records,
		.body_bytes = body,
		.size_bytes = size_bytes,
		.last_ms = et_get32(bytes + 12),
		.flags = et_get16(bytes + 6),
		.signed_us = (int64_t)et_get64(bytes + 56),
		.signer = et_get64(bytes + 64),
	};
	memcpy(ret->root, bytes + 24, sizeof(ret->root));
	memcpy(ret->signer_public, bytes + 72, sizeof(ret->signer_public));
	seal_hash(hash, bytes, ret->seal_hash);
	return 0;
}

static bool differs(const uint8_t *expected, const uint8_t *found, size_t size)
{
	return expected != NULL && memcmp(expected, found, size) != 0;
}

const char *et_tape_header_unexpected(const struct et_tape_header *h,
				      const struct et_tape_expect *e)
{
	return e != NULL && (differs(e->recording, h->recording, sizeof(h->recording)) ||
			     (e->generation != 0 && e->generation != h->generation) ||
			     (e->segment != 0 && e->segment != h->segment) ||
			     differs(e->header_hash, h->hash, sizeof(h->hash)))
		       ? "it is another tape than expected"
		       : NULL;
}

const char *et_tape_seal_unexpected(const struct et_tape_seal *s, const struct et_tape_expect *e)
{
	if (e != NULL && differs(e->signer_public, s->signer_public, sizeof(s->signer_public))) {
		return "it is signed by another key than expected";
	}
	if (e != NULL && differs(e->root, s->root, sizeof(s->root))) {
		return "its root is not the one expected";
	}
	if (e != NULL && differs(e->seal_hash, s->seal_hash, sizeof(s->seal_hash))) {
		return "its footer is not the one expected";
	}
	return NULL;
}
