/* Requests and replies of evertape-join/1.
 *
 *   request := version 1 | token 16 | name | site | roles 4 | address | api address | version text
 *              | store uuid | schema 4 | sign public 32 | seal public 32 | CSR
 *   forward := exporter 32 | signature 64 | request
 *   reply   := version 1 | code 4 | text | node 8 | cluster id 16 | cluster | site | roles 4
 *              | kek id 4 | kek version 4 | kek public 32 | kek signature | cert | ca | members
 *
 * Texts: length 1 and bytes; CSR, signature, certificates, members: length 4 and bytes. */
#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/tls/cert_internal.h"
#include "node/tls/join.h"
#include "node/tls/join_internal.h"
#include "node/tls/wire_internal.h"

#define MESSAGE_VERSION 1
#define CA_BYTES_MAX (16UL * ET_CERT_MAX)
#define MEMBERS_BYTES_MAX (512UL * 1024)

void et_join_request_release(struct et_join_request *r)
{
	et_buffer_release(&r->csr);
	et_buffer_release(&r->bytes);
	*r = (struct et_join_request){ 0 };
}

int et_join_request_pack(const struct et_join_request *r, struct et_buffer *ret,
			 struct et_error *reterr)
{
	size_t start = ret->size;

	et_buffer_add8(ret, MESSAGE_VERSION);
	et_buffer_add(ret, r->token, sizeof(r->token));
	wire_add_text(ret, r->name);
	wire_add_text(ret, r->site);
	et_buffer_add32(ret, r->roles);
	wire_add_text(ret, r->address);
	wire_add_text(ret, r->api_address);
	wire_add_text(ret, r->version);
	wire_add_text(ret, r->store_uuid);
	et_buffer_add32(ret, r->schema);
	et_buffer_add(ret, r->sign_public, sizeof(r->sign_public));
	et_buffer_add(ret, r->seal_public, sizeof(r->seal_public));
	wire_add_bytes(ret, &r->csr);
	if (ret->failed) {
		return et_fail(reterr, -ENOMEM, "pack a join request");
	}
	if (ret->size - start > ET_JOIN_REQUEST_MAX) {
		return et_fail(reterr, ET_ELIMIT, "a join request of %zu bytes", ret->size - start);
	}
	return 0;
}

static bool request_read(struct et_reader *r, struct et_join_request *q)
{
	const uint8_t *token = et_read_bytes(r, sizeof(q->token));
	if (token == NULL || !wire_read_text(r, q->name, sizeof(q->name)) ||
	    !wire_read_text(r, q->site, sizeof(q->site))) {
		return false;
	}
	memcpy(q->token, token, sizeof(q->token));
	q->roles = et_read32(r);
	if (!wire_read_text(r, q->address, sizeof(q->address)) ||
	    !wire_read_text(r, q->api_address, sizeof(q->api_address)) ||
	    !wire_read_text(r, q->version, sizeof(q->version)) ||
	    !wire_read_text(r, q->store_uuid, sizeof(q->store_uuid))) {
		return false;
	}
	q->schema = et_read32(r);
	const uint8_t *sign_public = et_read_bytes(r, sizeof(q->sign_public));
	const uint8_t *seal_public = et_read_bytes(r, sizeof(q->seal_public));
	if (seal_public == NULL || !wire_read_bytes(r, ET_CERT_MAX, &q->csr)) {
		return false;
	}
	memcpy(q->sign_public, sign_public, sizeof(q->sign_public));
	memcpy(q->seal_public, seal_public, sizeof(q->seal_public));
	return et_reader_left(r) == 0 && (q->roles & ~ET_ROLES_ALL) == 0 &&
	       et_name_is_valid(q->name) && (q->site[0] == '\0' || et_name_is_valid(q->site));
}

int et_join_request_parse(struct et_view bytes, struct et_join_request *ret,
			  struct et_error *reterr)
{
	struct et_join_request q = { 0 };
	struct et_reader r = et_reader_of(bytes.data, bytes.size);

	if (bytes.size == 0 || bytes.size > ET_JOIN_REQUEST_MAX) {
		return et_fail_plain(reterr, ET_EMALFORMED, "a join request of %zu bytes",
				     bytes.size);
	}
	if (et_read8(&r) != MESSAGE_VERSION) {
		return et_fail(reterr, ET_EVERSION, "the join request");
	}
	if (!request_read(&r, &q)) {
		et_join_request_release(&q);
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the join request has a field out of bounds");
	}
	et_sha256(bytes.data, bytes.size, q.hash);
	et_buffer_add(&q.bytes, bytes.data, bytes.size);
	if (q.bytes.failed) {
		et_join_request_release(&q);
		return et_fail(reterr, -ENOMEM, "read a join request");
	}
	*ret = q;
	return 0;
}

int et_join_forward_pack(const struct et_join_request *r, struct et_buffer *ret)
{
	et_buffer_add(ret, r->exporter, sizeof(r->exporter));
	et_buffer_add(ret, r->signature, sizeof(r->signature));
	et_buffer_add(ret, r->bytes.data, r->bytes.size);
	return ret->failed ? -ENOMEM : 0;
}

int et_join_forward_parse(struct et_view bytes, struct et_join_request *ret,
			  struct et_error *reterr)
{
	const size_t before = sizeof(ret->exporter) + sizeof(ret->signature);

	if (bytes.size < before) {
		return et_fail_plain(reterr, ET_EMALFORMED, "a join request of %zu bytes",
				     bytes.size);
	}
	struct et_view request = { bytes.data + before, bytes.size - before };
	int rc = et_join_request_parse(request, ret, reterr);
	if (rc == 0) {
		memcpy(ret->exporter, bytes.data, sizeof(ret->exporter));
		memcpy(ret->signature, bytes.data + sizeof(ret->exporter), sizeof(ret->signature));
	}
	return rc;
}

void join_signed_bytes(const uint8_t exporter[32], const uint8_t hash[32],
		       uint8_t ret[JOIN_SIGNED_BYTES])
{
	memcpy(ret, JOIN_SIGNED_LABEL, sizeof(JOIN_SIGNED_LABEL) - 1);
	memcpy(ret + sizeof(JOIN_SIGNED_LABEL) - 1, exporter, 32);
	memcpy(ret + sizeof(JOIN_SIGNED_LABEL) - 1 + 32, hash, 32);
}

int et_join_request_verify(const struct et_join_request *r, const uint8_t token_public[32],
			   struct et_error *reterr)
{
	uint8_t bytes[JOIN_SIGNED_BYTES];

	join_signed_bytes(r->exporter, r->hash, bytes);
	if (et_ed25519_verify(token_public, (struct et_view){ bytes, sizeof(bytes) }, r->signature,
			      NULL) < 0) {
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "the join request is not signed with the token's key");
	}
	return 0;
}

void et_join_reply_release(struct et_join_reply *r)
{
	et_buffer_release(&r->kek_signature);
	et_buffer_release(&r->cert);
	et_buffer_release(&r->ca);
	et_buffer_release(&r->members);
	*r = (struct et_join_reply){ 0 };
}

int et_join_reply_pack(const struct et_join_reply *r, struct et_buffer *ret)
{
	char text[256];

	memcpy(text, r->text, sizeof(text) - 1);
	text[255] = '\0';
	for (char *p = text; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7F) {
			*p = ' ';
		}
	}
	et_buffer_add8(ret, MESSAGE_VERSION);
	et_buffer_add32(ret, (uint32_t)r->code);
	wire_add_text(ret, text);
	et_buffer_add64(ret, r->node);
	et_buffer_add(ret, r->cluster_id, sizeof(r->cluster_id));
	wire_add_text(ret, r->cluster);
	wire_add_text(ret, r->site);
	et_buffer_add32(ret, r->roles);
	et_buffer_add32(ret, r->kek_id);
	et_buffer_add32(ret, r->kek_version);
	et_buffer_add(ret, r->kek_public, sizeof(r->kek_public));
	wire_add_bytes(ret, &r->kek_signature);
	wire_add_bytes(ret, &r->cert);
	wire_add_bytes(ret, &r->ca);
	wire_add_bytes(ret, &r->members);
	return ret->failed ? -ENOMEM : ret->size > ET_JOIN_REPLY_MAX ? ET_ELIMIT : 0;
}

static bool reply_read(struct et_reader *r, struct et_join_reply *q)
{
	q->code = (int32_t)et_read32(r);
	if (!wire_read_text(r, q->text, sizeof(q->text))) {
		return false;
	}
	q->node = et_read64(r);
	const uint8_t *cluster_id = et_read_bytes(r, sizeof(q->cluster_id));
	if (cluster_id == NULL || !wire_read_text(r, q->cluster, sizeof(q->cluster)) ||
	    !wire_read_text(r, q->site, sizeof(q->site))) {
		return false;
	}
	memcpy(q->cluster_id, cluster_id, sizeof(q->cluster_id));
	q->roles = et_read32(r) & ET_ROLES_ALL;
	q->kek_id = et_read32(r);
	q->kek_version = et_read32(r);
	const uint8_t *kek_public = et_read_bytes(r, sizeof(q->kek_public));
	if (kek_public == NULL || q->code > 0) {
		return false;
	}
	memcpy(q->kek_public, kek_public, sizeof(q->kek_public));
	return wire_read_bytes(r, 1024, &q->kek_signature) &&
	       wire_read_bytes(r, ET_CERT_MAX, &q->cert) &&
	       wire_read_bytes(r, CA_BYTES_MAX, &q->ca) &&
	       wire_read_bytes(r, MEMBERS_BYTES_MAX, &q->members) && et_reader_left(r) == 0;
}

int et_join_reply_parse(struct et_view bytes, struct et_join_reply *ret, struct et_error *reterr)
{
	struct et_join_reply q = { 0 };
	struct et_reader r = et_reader_of(bytes.data, bytes.size);

	if (bytes.size == 0 || et_read8(&r) != MESSAGE_VERSION) {
		return et_fail(reterr, ET_EVERSION, "the reply to the join request");
	}
	if (!reply_read(&r, &q)) {
		et_join_reply_release(&q);
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the reply to the join request has a field out of bounds");
	}
	*ret = q;
	return 0;
}
