#include <limits.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "node/tls/cert_internal.h"

#define SPKI_MAX 1024 /* bytes; a P-256 key takes 91, RSA of 4096 bits 550 */
#define URI_MAX 256   /* bytes of a SAN URI */

const char *et_openssl_reason(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
	ERR_clear_error();
	return reason != NULL ? reason : "no reason given";
}

int et_cert_read_spki(const X509 *cert, uint8_t ret[32])
{
	X509_PUBKEY *key = X509_get_X509_PUBKEY(cert);
	uint8_t der[SPKI_MAX];
	uint8_t *p = der;

	int size = key != NULL ? i2d_X509_PUBKEY(key, NULL) : -1;
	if (size <= 0 || (size_t)size > sizeof(der) || i2d_X509_PUBKEY(key, &p) != size) {
		ERR_clear_error();
		return ET_EMALFORMED;
	}
	(void)SHA256(der, (size_t)size, ret);
	return 0;
}

static bool time_of(const ASN1_TIME *t, int64_t *ret_us)
{
	struct tm tm;

	if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1) {
		ERR_clear_error();
		return false;
	}
	*ret_us = (int64_t)timegm(&tm) * 1000000;
	return true;
}

bool et_cert_read_end(const X509 *cert, int64_t *ret_us)
{
	return time_of(X509_get0_notAfter(cert), ret_us);
}

/* The bytes of [*p, end) up to `stop`, as a name; false: too long, or not a name. */
static bool take_name(const char **p, const char *end, const char *stop, char ret[ET_NAME_MAX + 1])
{
	size_t stop_size = strlen(stop);
	const char *at = memmem(*p, (size_t)(end - *p), stop, stop_size);

	if (at == NULL || (size_t)(at - *p) > ET_NAME_MAX) {
		return false;
	}
	size_t size = (size_t)(at - *p);
	memcpy(ret, *p, size);
	ret[size] = '\0';
	*p = at + stop_size;
	return strlen(ret) == size && et_name_is_valid(ret);
}

/* spiffe://CLUSTER/site/SITE/node/ID and nothing else. */
static bool uri_read(const char *uri, size_t size, struct et_cert_info *ret)
{
	static const char scheme[] = "spiffe://";
	const char *p = uri;
	const char *end = uri + size;

	if (size > URI_MAX || size < sizeof(scheme) - 1 ||
	    memcmp(p, scheme, sizeof(scheme) - 1) != 0) {
		return false;
	}
	p += sizeof(scheme) - 1;
	if (!take_name(&p, end, "/site/", ret->cluster) ||
	    !take_name(&p, end, "/node/", ret->site)) {
		return false;
	}
	if (p == end || *p == '0') { /* One way only to write a number: from 1, no leading zero. */
		return false;
	}
	uint64_t node = 0;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9' || node > (UINT64_MAX - 9) / 10) {
			return false;
		}
		node = node * 10 + (uint64_t)(*p - '0');
	}
	ret->node = node;
	return true;
}

/* Exactly one URI, in the form of ours; names of other kinds (DNS, for browsers) do not count. */
static bool san_read(const X509 *cert, struct et_cert_info *ret)
{
	int critical = 0;
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
	bool found = false;
	bool good = names != NULL;

	for (int i = 0; good && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type != GEN_URI) {
			continue;
		}
		const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
		int size = ASN1_STRING_length(uri);
		good = !found && size > 0 &&
		       uri_read((const char *)ASN1_STRING_get0_data(uri), (size_t)size, ret);
		found = true;
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return good && found;
}

int et_cert_read(const X509 *cert, struct et_cert_info *ret, struct et_error *reterr)
{
	struct et_cert_info info = { 0 };
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	int serial_size = serial != NULL ? ASN1_STRING_length((const ASN1_STRING *)serial) : 0;

	if (serial_size <= 0 || (size_t)serial_size > sizeof(info.serial)) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the certificate's serial number has %d bytes", serial_size);
	}
	memcpy(info.serial, ASN1_STRING_get0_data((const ASN1_STRING *)serial),
	       (size_t)serial_size);
	info.serial_size = (size_t)serial_size;
	if (!time_of(X509_get0_notBefore(cert), &info.not_before_us) ||
	    !time_of(X509_get0_notAfter(cert), &info.not_after_us)) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the certificate's times cannot be read");
	}
	if (et_cert_read_spki(cert, info.spki_hash) < 0) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the certificate's public key cannot be read");
	}
	if (!san_read(cert, &info)) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the certificate names no node "
				     "(one spiffe://CLUSTER/site/SITE/node/ID is expected)");
	}
	*ret = info;
	return 0;
}

X509 *et_cert_next(struct et_view *bundle, bool *bad)
{
	const uint8_t *p = bundle->data;

	*bad = false;
	if (bundle->size == 0) {
		return NULL;
	}
	long size = bundle->size <= LONG_MAX ? (long)bundle->size : LONG_MAX;
	X509 *cert = d2i_X509(NULL, &p, size);
	if (cert == NULL) {
		ERR_clear_error();
		*bad = true;
		return NULL;
	}
	bundle->size -= (size_t)(p - bundle->data);
	bundle->data = p;
	return cert;
}

/* One certificate and nothing after it. */
static X509 *cert_of(struct et_view der)
{
	bool bad = false;

	if (der.size > ET_CERT_MAX) {
		return NULL;
	}
	X509 *cert = et_cert_next(&der, &bad);
	if (cert != NULL && der.size != 0) {
		X509_free(cert);
		return NULL;
	}
	return cert;
}

int et_cert_parse(struct et_view der, struct et_cert_info *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_x509_freep) X509 *cert = cert_of(der);
	if (cert == NULL) {
		return et_fail_plain(reterr, ET_EMALFORMED, "not one certificate in DER");
	}
	return et_cert_read(cert, ret, reterr);
}

int et_cert_spki_hash(struct et_view der, uint8_t ret[32])
{
	ET_CLEANUP(et_x509_freep) X509 *cert = cert_of(der);
	if (cert == NULL) {
		return ET_EMALFORMED;
	}
	return et_cert_read_spki(cert, ret);
}
