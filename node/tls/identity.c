#include <openssl/err.h>
#include <stdio.h>

#include "node/crypto/sign.h"
#include "node/tls/cert_internal.h"

static const char *const role_names[ET_ROLES] = { "voter", "standby", "spare", "witness",
						  "vault", "capture", "api" };

const char *et_role_name(unsigned bit)
{
	et_assert(bit < ET_ROLES);
	return role_names[bit];
}

uint32_t et_role_of(const char *name)
{
	for (unsigned i = 0; i < ET_ROLES; i++) {
		if (strcmp(role_names[i], name) == 0) {
			return 1U << i;
		}
	}
	return 0;
}

static int take_name(char ret[ET_NAME_MAX + 1], const char *name, const char *what,
		     struct et_error *reterr)
{
	if (!et_name_is_valid(name)) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "'%.80s' is not a name of a %s: use 1 to %d of a-z 0-9 -",
				     name, what, ET_NAME_MAX);
	}
	memcpy(ret, name, strlen(name) + 1);
	return 0;
}

int et_identity_make(const char *cluster, const char *name, const char *site,
		     struct et_identity *ret, struct et_error *reterr)
{
	struct et_identity id = { 0 };

	int rc = take_name(id.cluster, cluster, "cluster", reterr);
	rc = rc < 0 ? rc : take_name(id.name, name, "node", reterr);
	rc = rc < 0 ? rc : take_name(id.site, site, "site", reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_key_make(&id.tls_key);
	if (rc < 0) {
		return et_fail(reterr, rc, "make the node's TLS key");
	}
	rc = et_ed25519_generate(&id.sign_key, id.sign_public, reterr);
	if (rc < 0) {
		et_identity_release(&id);
		return rc;
	}
	*ret = id;
	return 0;
}

void et_identity_release(struct et_identity *id)
{
	(void)et_secret_free(id->tls_key);
	(void)et_secret_free(id->sign_key);
	et_buffer_release(&id->cert);
	et_buffer_release(&id->ca);
	*id = (struct et_identity){ 0 };
}

int et_identity_copy(const struct et_identity *from, struct et_identity *ret)
{
	struct et_identity id = *from;

	id.cert = (struct et_buffer){ 0 };
	id.ca = (struct et_buffer){ 0 };
	id.tls_key = from->tls_key == NULL ? NULL
					   : et_secret_copy(et_secret_bytes(from->tls_key),
							    et_secret_size(from->tls_key));
	id.sign_key = from->sign_key == NULL ? NULL
					     : et_secret_copy(et_secret_bytes(from->sign_key),
							      et_secret_size(from->sign_key));
	et_buffer_add(&id.cert, from->cert.data, from->cert.size);
	et_buffer_add(&id.ca, from->ca.data, from->ca.size);
	if ((id.tls_key == NULL) != (from->tls_key == NULL) ||
	    (id.sign_key == NULL) != (from->sign_key == NULL) || id.cert.failed || id.ca.failed) {
		et_identity_release(&id);
		return -ENOMEM;
	}
	*ret = id;
	return 0;
}

int et_identity_request(const struct et_identity *id, struct et_buffer *ret,
			struct et_error *reterr)
{
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *key = et_key_of(id->tls_key);
	ET_CLEANUP(et_x509_req_freep) X509_REQ *request = X509_REQ_new();

	if (key == NULL || request == NULL || X509_REQ_set_version(request, 0) != 1 ||
	    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_UTF8,
				       (const uint8_t *)id->name, -1, -1, 0) != 1 ||
	    X509_REQ_set_pubkey(request, key) != 1 ||
	    X509_REQ_sign(request, key, EVP_sha256()) <= 0) {
		return et_fail_plain(reterr, -ENOMEM, "make a certificate request: %s",
				     et_openssl_reason());
	}
	int size = i2d_X509_REQ(request, NULL);
	uint8_t *p = size > 0 ? et_buffer_reserve(ret, (size_t)size) : NULL;
	if (p == NULL || i2d_X509_REQ(request, &p) != size) {
		ERR_clear_error();
		return et_fail(reterr, -ENOMEM, "make a certificate request");
	}
	ret->size += (size_t)size;
	return 0;
}
