/* The folder <state>/identity.
 *
 *   identity := "EVTI" | version 1 | cluster id 16 | node 8 | cluster | name | site | sign public
 * 32 | box of the TLS key | box of the signing seed | certificate | CA bundle | SHA-256 of all that
 * stands before 32 members  := "EVTL" | version 1 | index 8 | made_us 8 | count 4 | member* |
 * signature of the CA over all that stands before member   := node 8 | roles 4 | SPKI hash 32 |
 * sign public 32 | name | site | address
 *
 * Texts: length 1 and bytes; boxes, certificates, signature: length 4 and bytes. Big-endian. */
#include <stdio.h>

#include "node/crypto/box.h"
#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "node/tls/cert_internal.h"
#include "node/tls/wire_internal.h"

#define FILE_VERSION 1
#define FILE_BYTES_MAX (256UL * 1024)
#define PATH_BYTES 1024
#define BOX_BYTES_MAX (ET_SECRET_SIZE_MAX + ET_BOX_OVERHEAD_SIZE)
#define CA_BYTES_MAX (16UL * ET_CERT_MAX)
#define MEMBER_BYTES_MIN 79
#define LABEL_TLS "identity/tls"
#define LABEL_SIGN "identity/sign"

static int path_of(const char *folder, const char *name, char path[PATH_BYTES],
		   struct et_error *reterr)
{
	int n = snprintf(path, PATH_BYTES, "%s/%s", folder, name);
	return n < PATH_BYTES ? 0 : et_fail(reterr, -ENAMETOOLONG, "'%s'", folder);
}

static int add_box(struct et_buffer *b, const struct et_secret *root, const char *label,
		   const struct et_secret *secret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer box = { 0 };

	int rc = et_box_seal(root, label, secret, &box, reterr);
	wire_add_bytes(b, &box);
	return rc;
}

int et_identity_save(const char *folder, const struct et_secret *root, const struct et_identity *id,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };
	char path[PATH_BYTES];
	uint8_t hash[ET_SHA256_SIZE];

	et_buffer_add(&b, "EVTI", 4);
	et_buffer_add8(&b, FILE_VERSION);
	et_buffer_add(&b, id->cluster_id, sizeof(id->cluster_id));
	et_buffer_add64(&b, id->node);
	wire_add_text(&b, id->cluster);
	wire_add_text(&b, id->name);
	wire_add_text(&b, id->site);
	et_buffer_add(&b, id->sign_public, sizeof(id->sign_public));
	int rc = add_box(&b, root, LABEL_TLS, id->tls_key, reterr);
	rc = rc < 0 ? rc : add_box(&b, root, LABEL_SIGN, id->sign_key, reterr);
	if (rc < 0) {
		return rc;
	}
	wire_add_bytes(&b, &id->cert);
	wire_add_bytes(&b, &id->ca);
	if (!b.failed) {
		et_sha256(b.data, b.size, hash);
		et_buffer_add(&b, hash, sizeof(hash));
	}
	if (b.failed) {
		return et_fail(reterr, -ENOMEM, "save the node's identity");
	}
	rc = et_file_mkdirs(folder, reterr);
	rc = rc < 0 ? rc : path_of(folder, "identity", path, reterr);
	return rc < 0 ? rc : et_file_publish(path, b.data, b.size, 0600, reterr);
}

/* Read the file; its end is a checksum of it. */
static int read_checked(const char *path, struct et_buffer *ret, struct et_error *reterr)
{
	uint8_t hash[ET_SHA256_SIZE];

	int rc = et_file_read(path, FILE_BYTES_MAX, ret, reterr);
	if (rc < 0) {
		return rc == -ENOENT ? et_fail(reterr, ET_ENOTFOUND, "'%s'", path) : rc;
	}
	if (ret->size < 5 + sizeof(hash) || memcmp(ret->data, "EVTI", 4) != 0) {
		return et_fail_plain(reterr, ET_ECORRUPT, "'%s' is no identity of a node", path);
	}
	if (ret->data[4] != FILE_VERSION) {
		return et_fail(reterr, ET_EVERSION, "'%s'", path);
	}
	ret->size -= sizeof(hash);
	et_sha256(ret->data, ret->size, hash);
	if (memcmp(ret->data + ret->size, hash, sizeof(hash)) != 0) {
		return et_fail(reterr, ET_ECORRUPT, "'%s'", path);
	}
	return 0;
}

static int read_box(struct et_reader *r, const struct et_secret *root, const char *label,
		    const char *path, struct et_secret **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer box = { 0 };

	if (!wire_read_bytes(r, BOX_BYTES_MAX, &box)) {
		return et_fail(reterr, ET_ECORRUPT, "'%s'", path);
	}
	int rc = et_box_open(root, label, (struct et_view){ box.data, box.size }, ret, reterr);
	if (rc < 0) {
		return et_fail_plain(reterr, rc,
				     "the keys in '%s' do not open with this node root: is it the "
				     "root of another node?",
				     path);
	}
	return 0;
}

static bool read_names(struct et_reader *r, struct et_identity *id)
{
	const uint8_t *cluster_id = et_read_bytes(r, sizeof(id->cluster_id));
	id->node = et_read64(r);
	(void)(wire_read_text(r, id->cluster, sizeof(id->cluster)) &&
	       wire_read_text(r, id->name, sizeof(id->name)) &&
	       wire_read_text(r, id->site, sizeof(id->site)));
	const uint8_t *sign_public = et_read_bytes(r, sizeof(id->sign_public));
	if (r->failed) {
		return false;
	}
	memcpy(id->cluster_id, cluster_id, sizeof(id->cluster_id));
	memcpy(id->sign_public, sign_public, sizeof(id->sign_public));
	return true;
}

static bool skip_box(struct et_reader *r)
{
	uint32_t size = et_read32(r);

	return size <= BOX_BYTES_MAX && et_read_bytes(r, size) != NULL;
}

int et_identity_peek(const char *folder, struct et_identity *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };
	struct et_identity id = { 0 };
	char path[PATH_BYTES];

	int rc = path_of(folder, "identity", path, reterr);
	rc = rc < 0 ? rc : read_checked(path, &b, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_reader r = et_reader_of(b.data + 5, b.size - 5);
	if (!read_names(&r, &id) || !skip_box(&r) || !skip_box(&r) ||
	    !wire_read_bytes(&r, ET_CERT_MAX, &id.cert) ||
	    !wire_read_bytes(&r, CA_BYTES_MAX, &id.ca) || et_reader_left(&r) != 0) {
		et_identity_release(&id);
		return et_fail(reterr, ET_ECORRUPT, "'%s'", path);
	}
	*ret = id;
	return 0;
}

int et_identity_load(const char *folder, const struct et_secret *root, struct et_identity *ret,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };
	struct et_identity id = { 0 };
	char path[PATH_BYTES];
	uint8_t public_key[32];

	int rc = path_of(folder, "identity", path, reterr);
	rc = rc < 0 ? rc : read_checked(path, &b, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_reader r = et_reader_of(b.data + 5, b.size - 5);
	if (!read_names(&r, &id)) {
		return et_fail(reterr, ET_ECORRUPT, "'%s'", path);
	}
	rc = read_box(&r, root, LABEL_TLS, path, &id.tls_key, reterr);
	rc = rc < 0 ? rc : read_box(&r, root, LABEL_SIGN, path, &id.sign_key, reterr);
	if (rc == 0 && (!wire_read_bytes(&r, ET_CERT_MAX, &id.cert) ||
			!wire_read_bytes(&r, CA_BYTES_MAX, &id.ca) || et_reader_left(&r) != 0)) {
		rc = et_fail(reterr, ET_ECORRUPT, "'%s'", path);
	}
	rc = rc < 0 ? rc : et_ed25519_public(id.sign_key, public_key, reterr);
	if (rc == 0 && memcmp(public_key, id.sign_public, sizeof(public_key)) != 0) {
		rc = et_fail(reterr, ET_ECORRUPT, "'%s'", path);
	}
	if (rc < 0) {
		et_identity_release(&id);
		return rc;
	}
	*ret = id;
	return 0;
}

/* ---- Members ---- */

void et_member_list_release(struct et_member_list *l)
{
	free(l->members);
	*l = (struct et_member_list){ 0 };
}

int et_member_list_sign(const struct et_member_list *l, const struct et_secret *ca_key,
			struct et_buffer *ret)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer signature = { 0 };
	size_t start = ret->size;

	if (l->count > ET_MEMBERS_MAX) {
		return ET_ELIMIT;
	}
	et_buffer_add(ret, "EVTL", 4);
	et_buffer_add8(ret, FILE_VERSION);
	et_buffer_add64(ret, l->index);
	et_buffer_add64(ret, (uint64_t)l->made_us);
	et_buffer_add32(ret, (uint32_t)l->count);
	for (size_t i = 0; i < l->count; i++) {
		const struct et_member *m = &l->members[i];
		et_buffer_add64(ret, m->node);
		et_buffer_add32(ret, m->roles);
		et_buffer_add(ret, m->spki_hash, sizeof(m->spki_hash));
		et_buffer_add(ret, m->sign_public, sizeof(m->sign_public));
		wire_add_text(ret, m->name);
		wire_add_text(ret, m->site);
		wire_add_text(ret, m->address);
	}
	if (ret->failed) {
		return -ENOMEM;
	}
	int rc = et_ca_sign(ca_key, (struct et_view){ ret->data + start, ret->size - start },
			    &signature);
	if (rc < 0) {
		return rc;
	}
	wire_add_bytes(ret, &signature);
	return ret->failed ? -ENOMEM : 0;
}

static bool member_read(struct et_reader *r, struct et_member *m)
{
	m->node = et_read64(r);
	m->roles = et_read32(r) & ET_ROLES_ALL;
	const uint8_t *spki_hash = et_read_bytes(r, sizeof(m->spki_hash));
	const uint8_t *sign_public = et_read_bytes(r, sizeof(m->sign_public));
	if (sign_public == NULL || !wire_read_text(r, m->name, sizeof(m->name)) ||
	    !wire_read_text(r, m->site, sizeof(m->site)) ||
	    !wire_read_text(r, m->address, sizeof(m->address))) {
		return false;
	}
	memcpy(m->spki_hash, spki_hash, sizeof(m->spki_hash));
	memcpy(m->sign_public, sign_public, sizeof(m->sign_public));
	return true;
}

int et_member_list_parse(struct et_view bytes, struct et_view ca_bundle, struct et_member_list *ret,
			 struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer signature = { 0 };
	struct et_reader r = et_reader_of(bytes.data, bytes.size);
	struct et_member_list l = { 0 };

	const uint8_t *magic = et_read_bytes(&r, 4);
	if (magic == NULL || memcmp(magic, "EVTL", 4) != 0) {
		return et_fail_plain(reterr, ET_EMALFORMED, "not a list of members");
	}
	if (et_read8(&r) != FILE_VERSION) {
		return et_fail(reterr, ET_EVERSION, "the list of members");
	}
	l.index = et_read64(&r);
	l.made_us = (int64_t)et_read64(&r);
	size_t count = et_read32(&r);
	if (r.failed || count > ET_MEMBERS_MAX || et_reader_left(&r) / MEMBER_BYTES_MIN < count) {
		return et_fail_plain(reterr, ET_EMALFORMED, "a list of %zu members", count);
	}
	l.members = calloc(count > 0 ? count : 1, sizeof(*l.members));
	if (l.members == NULL) {
		return et_fail(reterr, -ENOMEM, "read the list of members");
	}
	while (l.count < count && member_read(&r, &l.members[l.count])) {
		l.count++;
	}
	struct et_view body = { bytes.data, bytes.size - et_reader_left(&r) };
	int rc = 0;
	if (l.count < count || !wire_read_bytes(&r, 1024, &signature) || et_reader_left(&r) != 0) {
		rc = et_fail_plain(reterr, ET_EMALFORMED, "the list of members ends too early");
	} else if (et_ca_verify(ca_bundle, body,
				(struct et_view){ signature.data, signature.size }) < 0) {
		rc = et_fail_plain(reterr, ET_EUNTRUSTED,
				   "the list of members is not signed by the cluster's CA");
	}
	if (rc < 0) {
		et_member_list_release(&l);
		return rc;
	}
	*ret = l;
	return 0;
}

int et_member_list_save(const char *folder, struct et_view packed, struct et_error *reterr)
{
	char path[PATH_BYTES];

	int rc = et_file_mkdirs(folder, reterr);
	rc = rc < 0 ? rc : path_of(folder, "members", path, reterr);
	return rc < 0 ? rc : et_file_publish(path, packed.data, packed.size, 0600, reterr);
}

int et_member_list_load(const char *folder, struct et_view ca_bundle, struct et_member_list *ret,
			struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };
	char path[PATH_BYTES];

	int rc = path_of(folder, "members", path, reterr);
	rc = rc < 0 ? rc : et_file_read(path, FILE_BYTES_MAX, &b, reterr);
	if (rc < 0) {
		return rc == -ENOENT ? et_fail(reterr, ET_ENOTFOUND, "'%s'", path) : rc;
	}
	return et_member_list_parse((struct et_view){ b.data, b.size }, ca_bundle, ret, reterr);
}
