/* The cluster CA: made once, issues leaves, signs what nodes must believe before they have a
 * catalogue. */
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "node/io/clock.h"
#include "node/tls/cert_internal.h"

#define CA_LIFE_DAYS 3650
#define BACKDATE_US (5LL * 60 * 1000000)
#define BACKDATE_PART 6	  /* of its life, at most: two thirds of a short one are not over at once */
#define SIGNATURE_MAX 128 /* bytes; ECDSA P-256 in DER takes at most 72 */
#define BUNDLE_COUNT_MAX 16

EVP_PKEY *et_key_of(const struct et_secret *pkcs8)
{
	const uint8_t *p = et_secret_bytes(pkcs8);
	EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &p, (long)et_secret_size(pkcs8));
	ERR_clear_error();
	return key;
}

/* PKCS#8 DER of a key. */
static struct et_secret *key_pack(EVP_PKEY *key)
{
	PKCS8_PRIV_KEY_INFO *info = key != NULL ? EVP_PKEY2PKCS8(key) : NULL;
	int size = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, NULL) : -1;

	struct et_secret *s =
		size > 0 && size <= ET_SECRET_SIZE_MAX ? et_secret_new((size_t)size) : NULL;
	if (s != NULL) {
		uint8_t *p = et_secret_edit(s);
		if (i2d_PKCS8_PRIV_KEY_INFO(info, &p) != size) {
			s = et_secret_free(s);
		}
	}
	PKCS8_PRIV_KEY_INFO_free(info);
	ERR_clear_error();
	return s;
}

int et_key_make(struct et_secret **ret)
{
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
	struct et_secret *s = key_pack(key);

	if (s == NULL) {
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

int et_ca_key_number(const struct et_secret *ca_key, struct et_secret **ret,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *key = et_key_of(ca_key);
	BIGNUM *number = NULL;

	struct et_secret *s = et_secret_new(32);
	if (s == NULL || key == NULL ||
	    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &number) != 1 ||
	    BN_bn2binpad(number, et_secret_edit(s), 32) != 32) {
		s = et_secret_free(s);
	}
	BN_clear_free(number);
	ERR_clear_error();
	if (s == NULL) {
		return et_fail_plain(reterr, ET_ECORRUPT, "the CA key is no key of P-256");
	}
	*ret = s;
	return 0;
}

/* The public point of a private number. */
static size_t point_of(const BIGNUM *number, uint8_t ret[65])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = group != NULL ? EC_POINT_new(group) : NULL;
	size_t size = 0;

	if (point != NULL && BN_is_zero(number) == 0 &&
	    BN_cmp(number, EC_GROUP_get0_order(group)) < 0 &&
	    EC_POINT_mul(group, point, number, NULL, NULL, NULL) == 1) {
		size = EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, ret, 65,
					  NULL);
	}
	EC_POINT_free(point);
	EC_GROUP_free(group);
	return size;
}

int et_ca_key_of_number(const struct et_secret *number, struct et_secret **ret,
			struct et_error *reterr)
{
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *key = NULL;
	BIGNUM *n = BN_secure_new();
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	uint8_t point[65];
	struct et_secret *s = NULL;

	if (n != NULL && build != NULL && ctx != NULL && et_secret_size(number) == 32 &&
	    BN_bin2bn(et_secret_bytes(number), 32, n) != NULL &&
	    point_of(n, point) == sizeof(point) &&
	    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point,
					     sizeof(point)) == 1 &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, n) == 1) {
		params = OSSL_PARAM_BLD_to_param(build);
	}
	if (params != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) == 1) {
		s = key_pack(key);
	}
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(ctx);
	BN_clear_free(n);
	ERR_clear_error();
	if (s == NULL) {
		return et_fail_plain(reterr, ET_ECORRUPT, "that is no private key of P-256");
	}
	*ret = s;
	return 0;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = e != NULL && X509_add_ext(cert, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok;
}

static bool set_serial(X509 *cert)
{
	uint8_t bytes[16];

	et_random(bytes, sizeof(bytes));
	bytes[0] = (uint8_t)((bytes[0] & 0x7F) | 0x40); /* Positive, and always of 16 bytes. */
	BIGNUM *n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	bool ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
	BN_free(n);
	return ok;
}

static bool set_times(X509 *cert, int64_t from_us, int64_t to_us)
{
	return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(from_us / 1000000)) != NULL &&
	       ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(to_us / 1000000)) != NULL;
}

static bool set_name(X509_NAME *name, const char *organisation, const char *common)
{
	return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const uint8_t *)organisation,
					  -1, -1, 0) == 1 &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)common, -1,
					  -1, 0) == 1;
}

static int add_der(const X509 *cert, struct et_buffer *ret)
{
	int size = i2d_X509(cert, NULL);
	uint8_t *p = size > 0 && size <= ET_CERT_MAX ? et_buffer_reserve(ret, (size_t)size) : NULL;

	if (p == NULL || i2d_X509(cert, &p) != size) {
		ERR_clear_error();
		return size > ET_CERT_MAX ? ET_ELIMIT : -ENOMEM;
	}
	ret->size += (size_t)size;
	return 0;
}

static bool ca_fill(X509 *cert, EVP_PKEY *key, const char *cluster, int64_t now_us)
{
	return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
	       set_times(cert, now_us - BACKDATE_US,
			 now_us + CA_LIFE_DAYS * INT64_C(86400000000)) &&
	       set_name(X509_get_subject_name(cert), cluster, "evertape cluster CA") &&
	       X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1 &&
	       X509_set_pubkey(cert, key) == 1 &&
	       add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	       add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	       add_extension(cert, cert, NID_subject_key_identifier, "hash") &&
	       X509_sign(cert, key, EVP_sha256()) > 0;
}

int et_ca_make(const char *cluster, struct et_secret **ret_key, struct et_buffer *ret_cert,
	       struct et_error *reterr)
{
	if (!et_name_is_valid(cluster)) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "'%.80s' is not a cluster name: use 1 to %d of a-z 0-9 -",
				     cluster, ET_NAME_MAX);
	}
	ET_CLEANUP(et_secret_freep) struct et_secret *pkcs8 = NULL;
	int rc = et_key_make(&pkcs8);
	if (rc < 0) {
		return et_fail(reterr, rc, "make the CA key");
	}
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *key = et_key_of(pkcs8);
	ET_CLEANUP(et_x509_freep) X509 *cert = X509_new();
	if (key == NULL || cert == NULL || !ca_fill(cert, key, cluster, et_clock_now_us())) {
		return et_fail_plain(reterr, -ENOMEM, "make the CA certificate: %s",
				     et_openssl_reason());
	}
	rc = add_der(cert, ret_cert);
	if (rc < 0) {
		return et_fail(reterr, rc, "make the CA certificate");
	}
	*ret_key = ET_TAKE(pkcs8);
	return 0;
}

/* The key of a request that is well formed, signed by itself, and of the one kind that we issue
 * for. */
static EVP_PKEY *request_key(struct et_view der, struct et_error *reterr)
{
	const uint8_t *p = der.data;
	char group[32] = "";

	if (der.size == 0 || der.size > ET_CERT_MAX) {
		(void)et_fail_plain(reterr, ET_EMALFORMED, "a certificate request of %zu bytes",
				    der.size);
		return NULL;
	}
	ET_CLEANUP(et_x509_req_freep) X509_REQ *request = d2i_X509_REQ(NULL, &p, (long)der.size);
	if (request == NULL || p != der.data + der.size) {
		(void)et_fail_plain(reterr, ET_EMALFORMED, "not a certificate request: %s",
				    et_openssl_reason());
		return NULL;
	}
	EVP_PKEY *key = X509_REQ_get_pubkey(request);
	if (key == NULL || EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1 ||
	    strcmp(group, "prime256v1") != 0) {
		EVP_PKEY_free(key);
		ERR_clear_error();
		(void)et_fail_plain(reterr, ET_EMALFORMED,
				    "the certificate request's key is not of P-256");
		return NULL;
	}
	if (X509_REQ_verify(request, key) != 1) {
		EVP_PKEY_free(key);
		ERR_clear_error();
		(void)et_fail_plain(reterr, ET_EUNTRUSTED,
				    "the certificate request is not signed by its own key");
		return NULL;
	}
	return key;
}

static bool leaf_fill(X509 *cert, X509 *issuer, EVP_PKEY *public_key, EVP_PKEY *ca_key,
		      const struct et_cert_subject *subject)
{
	char uri[256];
	char common[64];

	(void)snprintf(uri, sizeof(uri), "critical,URI:spiffe://%s/site/%s/node/%llu",
		       subject->cluster, subject->site, (unsigned long long)subject->node);
	(void)snprintf(common, sizeof(common), "node %llu", (unsigned long long)subject->node);
	return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
	       set_name(X509_get_subject_name(cert), subject->cluster, common) &&
	       X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1 &&
	       X509_set_pubkey(cert, public_key) == 1 &&
	       add_extension(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(cert, issuer, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(cert, issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       add_extension(cert, issuer, NID_subject_alt_name, uri) &&
	       add_extension(cert, issuer, NID_subject_key_identifier, "hash") &&
	       add_extension(cert, issuer, NID_authority_key_identifier, "keyid") &&
	       X509_sign(cert, ca_key, EVP_sha256()) > 0;
}

int et_ca_issue(const struct et_secret *ca_key, struct et_view ca_cert, struct et_view request,
		const struct et_cert_subject *subject, int64_t now_us, int64_t life_us,
		struct et_buffer *ret_cert, uint8_t ret_spki_hash[32], struct et_error *reterr)
{
	bool bad = false;

	if (!et_name_is_valid(subject->cluster) || !et_name_is_valid(subject->site) ||
	    subject->node == 0 || life_us <= 0) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "a certificate needs a cluster, a site, a node and a life");
	}
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *public_key = request_key(request, reterr);
	if (public_key == NULL) {
		return ET_EMALFORMED;
	}
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *key = et_key_of(ca_key);
	ET_CLEANUP(et_x509_freep) X509 *issuer = et_cert_next(&ca_cert, &bad);
	if (key == NULL || issuer == NULL || X509_check_private_key(issuer, key) != 1) {
		ERR_clear_error();
		return et_fail_plain(reterr, ET_ECORRUPT,
				     "the CA's key does not belong to its certificate");
	}
	ET_CLEANUP(et_x509_freep) X509 *cert = X509_new();
	int64_t back_us =
		life_us / BACKDATE_PART < BACKDATE_US ? life_us / BACKDATE_PART : BACKDATE_US;
	if (cert == NULL || !set_times(cert, now_us - back_us, now_us + life_us) ||
	    !leaf_fill(cert, issuer, public_key, key, subject)) {
		return et_fail_plain(reterr, -ENOMEM, "issue a certificate: %s",
				     et_openssl_reason());
	}
	int rc = et_cert_read_spki(cert, ret_spki_hash);
	rc = rc < 0 ? rc : add_der(cert, ret_cert);
	return rc < 0 ? et_fail(reterr, rc, "issue a certificate") : 0;
}

int et_cert_check_issued(struct et_view cert, struct et_view bundle, const uint8_t ca_hash[32],
			 struct et_view request, struct et_error *reterr)
{
	bool bad = false;
	uint8_t hash[32];

	ET_CLEANUP(et_x509_freep) X509 *leaf = et_cert_next(&cert, &bad);
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *key = request_key(request, reterr);
	if (leaf == NULL || key == NULL) {
		return et_fail_plain(reterr, ET_EMALFORMED, "no certificate, or no request");
	}
	if (EVP_PKEY_eq(X509_get0_pubkey(leaf), key) != 1) {
		ERR_clear_error();
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "the certificate that was issued is for another key");
	}
	while (bundle.size > 0) {
		ET_CLEANUP(et_x509_freep) X509 *ca = et_cert_next(&bundle, &bad);
		if (ca == NULL || et_cert_read_spki(ca, hash) < 0) {
			break;
		}
		bool ours = memcmp(hash, ca_hash, sizeof(hash)) == 0 &&
			    X509_verify(leaf, X509_get0_pubkey(ca)) == 1;
		ERR_clear_error();
		if (ours) {
			return 0;
		}
	}
	return et_fail_plain(reterr, ET_EUNTRUSTED,
			     "the certificate that was issued is not of the token's CA");
}

bool et_cert_is_of(struct et_view cert, struct et_view ca)
{
	bool bad = false;

	ET_CLEANUP(et_x509_freep) X509 *leaf = et_cert_next(&cert, &bad);
	ET_CLEANUP(et_x509_freep) X509 *issuer = et_cert_next(&ca, &bad);
	bool is =
		leaf != NULL && issuer != NULL && X509_verify(leaf, X509_get0_pubkey(issuer)) == 1;
	ERR_clear_error();
	return is;
}

bool et_ca_key_is_of(const struct et_secret *ca_key, struct et_view bundle)
{
	bool bad = false;

	ET_CLEANUP(et_pkey_freep) EVP_PKEY *key = et_key_of(ca_key);
	ET_CLEANUP(et_x509_freep) X509 *ca = et_cert_next(&bundle, &bad);
	bool is = key != NULL && ca != NULL && X509_check_private_key(ca, key) == 1;
	ERR_clear_error();
	return is;
}

int et_ca_sign(const struct et_secret *ca_key, struct et_view data, struct et_buffer *ret_signature)
{
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *key = et_key_of(ca_key);
	ET_CLEANUP(et_md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *p = et_buffer_reserve(ret_signature, SIGNATURE_MAX);
	size_t size = SIGNATURE_MAX;

	if (key == NULL) {
		return ET_ECORRUPT;
	}
	if (ctx == NULL || p == NULL ||
	    EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(ctx, p, &size, data.data, data.size) != 1) {
		ERR_clear_error();
		return -ENOMEM;
	}
	ret_signature->size += size;
	return 0;
}

int et_ca_verify(struct et_view ca_bundle, struct et_view data, struct et_view signature)
{
	bool bad = false;

	for (int i = 0; i < BUNDLE_COUNT_MAX && ca_bundle.size > 0; i++) {
		ET_CLEANUP(et_x509_freep) X509 *cert = et_cert_next(&ca_bundle, &bad);
		if (cert == NULL) {
			return ET_EMALFORMED;
		}
		ET_CLEANUP(et_md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		int ok = ctx != NULL &&
			 EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL,
					      X509_get0_pubkey(cert)) == 1 &&
			 EVP_DigestVerify(ctx, signature.data, signature.size, data.data,
					  data.size) == 1;
		ERR_clear_error();
		if (ok) {
			return 0;
		}
	}
	return ET_EUNTRUSTED;
}
