#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "node/io/clock.h"
#include "node/tls/cert_internal.h"
#include "node/tls/tls_internal.h"

#define CIPHERS "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define SKEW_US (10LL * 60 * 1000000) /* a certificate may begin so far in our future */
#define ALPN_COUNT_MAX 16

static const char *const protocols[] = { ET_ALPN_RAFT, ET_ALPN_RPC, ET_ALPN_SYNC, ET_ALPN_JOIN };

static SSL_CTX *context_new(const SSL_METHOD *method)
{
	char groups[] = "X25519:P-256"; /* OpenSSL's macro takes no constant. */
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(ctx, CIPHERS) != 1 ||
	    SSL_CTX_set1_groups_list(ctx, groups) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					       SSL_OP_NO_COMPRESSION);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					    SSL_MODE_NO_AUTO_CHAIN);
	return ctx;
}

/* Trust the bundle, and leave the times of certificates to tls_judge(). */
static bool context_trust(SSL_CTX *ctx, struct et_view bundle)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	int count = 0;
	bool bad = false;

	(void)X509_STORE_set_flags(store, X509_V_FLAG_NO_CHECK_TIME);
	while (bundle.size > 0) {
		ET_CLEANUP(et_x509_freep) X509 *cert = et_cert_next(&bundle, &bad);
		if (cert == NULL || X509_STORE_add_cert(store, cert) != 1) {
			return false;
		}
		count++;
	}
	SSL_CTX_set_verify_depth(ctx, 2);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return count > 0;
}

static bool context_own(SSL_CTX *ctx, const struct et_identity *identity)
{
	struct et_view der = { identity->cert.data, identity->cert.size };
	bool bad = false;

	ET_CLEANUP(et_x509_freep) X509 *cert = et_cert_next(&der, &bad);
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *key = et_key_of(identity->tls_key);
	return cert != NULL && key != NULL && SSL_CTX_use_certificate(ctx, cert) == 1 &&
	       SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
}

/* A chain that leads to no CA of ours is good all the same when its key is the recorded one of a
 * member: the handshake proves that the peer has it. */
static int verify_member(X509_STORE_CTX *ctx, void *arg)
{
	const struct tls_alpn *alpn = arg;
	struct et_cert_info leaf;

	if (X509_verify_cert(ctx) == 1) {
		return 1;
	}
	const X509 *cert = X509_STORE_CTX_get0_cert(ctx);
	bool known = alpn->recorded != NULL && cert != NULL &&
		     et_cert_read(cert, &leaf, NULL) == 0 && alpn->recorded(alpn->arg, &leaf);
	ERR_clear_error();
	if (!known) {
		return 0;
	}
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct et_tls_conn *conn = BIO_get_data(SSL_get_rbio(ssl));
	conn->peer.unchained = true;
	X509_STORE_CTX_set_error(ctx, X509_V_OK);
	return 1;
}

/* A joiner knows our CA by its hash only, and has no certificate yet: show it the CA, ask for
 * none. */
static bool prepare_join(SSL *ssl)
{
	STACK_OF(X509_OBJECT) *trusted =
		X509_STORE_get0_objects(SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)));

	SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	for (int i = 0; i < sk_X509_OBJECT_num(trusted); i++) {
		X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(trusted, i));
		if (ca != NULL && SSL_add1_chain_cert(ssl, ca) != 1) {
			return false;
		}
	}
	return true;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size,
		   const unsigned char *in, unsigned in_size, void *arg)
{
	const struct tls_alpn *alpn = arg;
	struct et_reader r = et_reader_of(in, in_size);

	for (int i = 0; i < ALPN_COUNT_MAX && et_reader_left(&r) > 0; i++) {
		uint8_t size = et_read8(&r);
		const uint8_t *name = et_read_bytes(&r, size);
		for (size_t p = 0; name != NULL && p < ET_ARRAY_SIZE(protocols); p++) {
			if (strlen(protocols[p]) != size || memcmp(protocols[p], name, size) != 0 ||
			    !alpn->is_served(alpn->arg, protocols[p])) {
				continue;
			}
			if (strcmp(protocols[p], ET_ALPN_JOIN) == 0 && !prepare_join(ssl)) {
				return SSL_TLSEXT_ERR_ALERT_FATAL;
			}
			*out = name;
			*out_size = size;
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int tls_contexts_make(const struct et_identity *identity, const struct tls_alpn *alpn,
		      struct tls_contexts *ret, struct et_error *reterr)
{
	struct et_cert_info info;
	struct et_view der = { identity->cert.data, identity->cert.size };
	struct et_view ca = { identity->ca.data, identity->ca.size };
	struct tls_contexts c = { 0 };

	int rc = et_cert_parse(der, &info, reterr);
	if (rc < 0) {
		return rc;
	}
	if (info.node != identity->node || strcmp(info.cluster, identity->cluster) != 0 ||
	    strcmp(info.site, identity->site) != 0) {
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "the certificate is of node %llu of cluster %s, site %s; this "
				     "node is %llu of cluster %s, site %s",
				     (unsigned long long)info.node, info.cluster, info.site,
				     (unsigned long long)identity->node, identity->cluster,
				     identity->site);
	}
	c.server = context_new(TLS_server_method());
	c.client = context_new(TLS_client_method());
	if (c.server == NULL || c.client == NULL || !context_trust(c.server, ca) ||
	    !context_trust(c.client, ca) || !context_own(c.server, identity) ||
	    !context_own(c.client, identity)) {
		tls_contexts_release(&c);
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "key, certificate and CA bundle do not hold together: %s",
				     et_openssl_reason());
	}
	union {
		const struct tls_alpn *in;
		void *out;
	} arg = { .in = alpn };
	SSL_CTX_set_alpn_select_cb(c.server, on_alpn, arg.out);
	SSL_CTX_set_cert_verify_callback(c.server, verify_member, arg.out);
	SSL_CTX_set_cert_verify_callback(c.client, verify_member, arg.out);
	*ret = c;
	return 0;
}

void tls_contexts_release(struct tls_contexts *c)
{
	SSL_CTX_free(c->server);
	SSL_CTX_free(c->client);
	*c = (struct tls_contexts){ 0 };
}

/* Verify the server's chain with the CA among what it sent whose key has the pinned hash. */
static int verify_pinned(X509_STORE_CTX *ctx, void *arg)
{
	const uint8_t *pin = arg;
	STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(ctx);
	STACK_OF(X509) *trusted = sk_X509_new_null();
	uint8_t hash[32];
	int ok = 0;

	for (int i = 0; trusted != NULL && i < sk_X509_num(sent); i++) {
		X509 *cert = sk_X509_value(sent, i);
		if (X509_check_ca(cert) == 1 && et_cert_read_spki(cert, hash) == 0 &&
		    CRYPTO_memcmp(hash, pin, sizeof(hash)) == 0) {
			(void)sk_X509_push(trusted, cert);
		}
	}
	if (trusted != NULL && sk_X509_num(trusted) > 0) {
		X509_STORE_CTX_set0_trusted_stack(ctx, trusted);
		X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx),
					    X509_V_FLAG_NO_CHECK_TIME);
		ok = X509_verify_cert(ctx) == 1;
	} else {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
	}
	sk_X509_free(trusted); /* The verified chain holds its own references. */
	return ok;
}

SSL_CTX *tls_context_pinned(const uint8_t ca_hash[32])
{
	union {
		const uint8_t *in;
		void *out;
	} arg = { .in = ca_hash };
	SSL_CTX *ctx = context_new(TLS_client_method());

	if (ctx != NULL) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
		SSL_CTX_set_cert_verify_callback(ctx, verify_pinned, arg.out);
	}
	return ctx;
}

SSL *tls_ssl_new(SSL_CTX *ctx, struct et_tls_conn *conn)
{
	SSL *ssl = SSL_new(ctx);
	BIO *bio = BIO_new(tls_bio_method());

	if (ssl == NULL || bio == NULL) {
		SSL_free(ssl);
		(void)BIO_free(bio);
		return NULL;
	}
	BIO_set_data(bio, conn);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	return ssl;
}

/* Is any certificate of the verified chain past its end? */
static bool chain_is_expired(const SSL *ssl, int64_t now_us)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	int64_t end_us = 0;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		if (!et_cert_read_end(sk_X509_value(chain, i), &end_us) || end_us < now_us) {
			return true;
		}
	}
	return false;
}

/* The key of the chain's end. */
static void chain_end(const SSL *ssl, uint8_t ret[32])
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	int count = sk_X509_num(chain);

	if (count < 2 || et_cert_read_spki(sk_X509_value(chain, count - 1), ret) < 0) {
		memset(ret, 0, 32);
	}
}

bool tls_bundle_has(struct et_view bundle, const uint8_t spki_hash[32])
{
	uint8_t hash[32];
	bool bad = false;

	while (bundle.size > 0) {
		ET_CLEANUP(et_x509_freep) X509 *ca = et_cert_next(&bundle, &bad);
		if (ca == NULL || et_cert_read_spki(ca, hash) < 0) {
			break;
		}
		if (memcmp(hash, spki_hash, sizeof(hash)) == 0) {
			return true;
		}
	}
	return false;
}

int tls_judge(const SSL *ssl, const char *cluster, struct et_tls_peer *peer,
	      uint8_t ret_ca_hash[32], struct et_error *reterr)
{
	const X509 *cert = SSL_get0_peer_certificate(ssl);
	struct et_cert_info info;
	int64_t now_us = et_clock_now_us();

	if (cert == NULL || SSL_get_verify_result(ssl) != X509_V_OK) {
		return et_fail_plain(
			reterr, ET_EUNTRUSTED, "certificate: %s",
			cert == NULL ? "none"
				     : X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
	}
	if (et_cert_read(cert, &info, reterr) < 0) {
		return ET_EUNTRUSTED;
	}
	if (strcmp(info.cluster, cluster) != 0) {
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "the certificate is of cluster '%s', not of '%s'",
				     info.cluster, cluster);
	}
	peer->node = info.node;
	_Static_assert(sizeof(peer->site) == sizeof(info.site), "one size of names");
	memcpy(peer->site, info.site, sizeof(peer->site));
	memcpy(peer->spki_hash, info.spki_hash, sizeof(peer->spki_hash));
	/* Not yet valid here is what a clock that is behind makes of a good one: judged as an end.
	 */
	peer->expired =
		info.not_before_us > now_us + SKEW_US ||
		(peer->unchained ? info.not_after_us < now_us : chain_is_expired(ssl, now_us));
	if (!peer->unchained) {
		chain_end(ssl, ret_ca_hash);
	}
	return 0;
}
