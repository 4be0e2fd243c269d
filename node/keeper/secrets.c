/* Grants.
 *
 *   info := "evertape grant/1"        aad := node 8 | name ("kek:1", "ca", "ca:2")
 *
 * A grant moved to another node or name does not open. */
#include <stdio.h>
#include <string.h>

#include "node/crypto/hpke.h"
#include "node/keeper/keeper_internal.h"

#define INFO "evertape grant/1"
#define KEK_LABEL "evertape kek"

static struct et_view grant_info(void)
{
	return (struct et_view){ (const uint8_t *)INFO, sizeof(INFO) - 1 };
}

static size_t grant_aad(uint64_t node, const char *name, uint8_t ret[8 + SECRET_NAME_BYTES])
{
	size_t size = strnlen(name, SECRET_NAME_BYTES);

	et_put64(ret, node);
	memcpy(ret + 8, name, size);
	return 8 + size;
}

void kek_secret_name(uint32_t version, char ret[SECRET_NAME_BYTES])
{
	(void)snprintf(ret, SECRET_NAME_BYTES, "kek:%u", version);
}

const uint8_t *seal_key_of(const Et__Node *node, uint32_t version)
{
	for (size_t i = 0; i < node->n_seal_keys; i++) {
		if (node->seal_keys[i]->version == version) {
			return node->seal_keys[i]->public_key.data;
		}
	}
	return node->seal_public.len == 32 ? node->seal_public.data : NULL;
}

void kek_signed_bytes(uint32_t version, const uint8_t public_key[32], uint8_t ret[KEK_SIGNED_BYTES])
{
	const size_t label = sizeof(KEK_LABEL) - 1;
	_Static_assert(sizeof(KEK_LABEL) - 1 + 4 + 32 <= KEK_SIGNED_BYTES, "it fits");

	memset(ret, 0, KEK_SIGNED_BYTES);
	memcpy(ret, KEK_LABEL, label);
	et_put32(ret + label, version);
	memcpy(ret + label + 4, public_key, 32);
}

int et_keeper_kek_verify(const Et__Kek *kek, struct et_view ca_bundle, struct et_error *reterr)
{
	uint8_t bytes[KEK_SIGNED_BYTES];

	if (kek->public_key.len != 32) {
		return et_fail_plain(reterr, ET_EMALFORMED, "KEK %u has no key", kek->version);
	}
	kek_signed_bytes(kek->version, kek->public_key.data, bytes);
	if (et_ca_verify(ca_bundle, (struct et_view){ bytes, sizeof(bytes) },
			 (struct et_view){ kek->signature.data, kek->signature.len }) < 0) {
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "KEK %u is not signed by the cluster's CA", kek->version);
	}
	return 0;
}

int grant_make(const char *name, const struct et_secret *secret, uint64_t node,
	       const uint8_t seal_public[32], Et__Grant **ret, struct et_error *reterr)
{
	uint8_t aad[8 + SECRET_NAME_BYTES];
	uint8_t enc[ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_SECRET_SIZE_MAX + ET_HPKE_OVERHEAD_SIZE];
	size_t aad_size = grant_aad(node, name, aad);

	int rc = et_hpke_seal(seal_public, grant_info(), (struct et_view){ aad, aad_size }, secret,
			      enc, ciphertext, reterr);
	if (rc < 0) {
		return rc;
	}
	Et__Grant *g = calloc(1, sizeof(*g));
	et_assert(g != NULL);
	et__grant__init(g);
	pb_text(&g->secret, name);
	g->node = node;
	pb_bytes(&g->enc, enc, sizeof(enc));
	pb_bytes(&g->ciphertext, ciphertext, et_secret_size(secret) + ET_HPKE_OVERHEAD_SIZE);
	pb_bytes(&g->seal_public, seal_public, 32);
	*ret = g;
	return 0;
}

int grant_open(const Et__Grant *grant, const struct node_keys *keys, struct et_secret **ret,
	       struct et_error *reterr)
{
	uint8_t aad[8 + SECRET_NAME_BYTES];
	const struct et_secret *key = node_keys_find(keys, grant->seal_public);

	if (key == NULL) {
		return et_fail_plain(reterr, ET_ENOKEY,
				     "the grant of '%.15s' is sealed to a key that is not in this "
				     "node's key folder",
				     grant->secret);
	}
	if (grant->enc.len != ET_HPKE_ENC_SIZE) {
		return et_fail(reterr, ET_EINTEGRITY, "the grant of '%.15s'", grant->secret);
	}
	size_t aad_size = grant_aad(grant->node, grant->secret, aad);
	return et_hpke_open(key, grant->enc.data, grant_info(), (struct et_view){ aad, aad_size },
			    (struct et_view){ grant->ciphertext.data, grant->ciphertext.len }, ret,
			    reterr);
}

int secret_open(const struct et_state_view *v, const char *name, uint64_t node,
		const struct node_keys *keys, struct et_secret **ret, struct et_error *reterr)
{
	Et__Grant *grant = NULL;

	int rc = et_state_get_grant(v, name, node, &grant);
	if (rc < 0) {
		return et_fail_plain(reterr, rc == ET_ENOTFOUND ? ET_ENOKEY : rc,
				     "node %llu holds no grant of '%s'", (unsigned long long)node,
				     name);
	}
	rc = grant_open(grant, keys, ret, reterr);
	et__grant__free_unpacked(grant, NULL);
	return rc;
}

int issuer_find(const struct et_state_view *v, struct issuer *ret, struct et_error *reterr)
{
	*ret = (struct issuer){ 0 };
	int rc = et_state_get_cluster(v, &ret->cluster);
	if (rc == 0 && ret->cluster->n_ca_certs == 0) {
		rc = ET_ECORRUPT;
	}
	if (rc < 0) {
		issuer_release(ret);
		return et_fail(reterr, rc, "the cluster's CA");
	}
	ret->number = et_state_ca_number(ret->cluster, 0);
	et_state_ca_secret(ret->number, ret->name);
	ret->cert =
		(struct et_view){ ret->cluster->ca_certs[0].data, ret->cluster->ca_certs[0].len };
	return 0;
}

void issuer_release(struct issuer *i)
{
	et__cluster__free_unpacked(i->cluster, NULL);
	*i = (struct issuer){ 0 };
}

int issuer_key(const struct et_state_view *v, const struct issuer *i, uint64_t node,
	       const struct node_keys *keys, struct et_secret **ret, struct et_error *reterr)
{
	return secret_open(v, i->name, node, keys, ret, reterr);
}

void grant_list_release(struct grant_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		et__grant__free_unpacked(l->grants[i], NULL);
	}
	l->count = 0;
}

struct grants_search {
	const struct et_state_view *v;
	uint64_t self;
	const struct node_keys *keys;
	uint64_t node;
	const uint8_t *seal_public;
	struct grant_list *list;
	struct et_error *reterr;
};

static int grants_add(struct grants_search *s, const char *name)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *secret = NULL;

	if (s->list->count >= SECRETS_MAX) {
		return et_fail(s->reterr, ET_ELIMIT, "too many KEK versions");
	}
	int rc = secret_open(s->v, name, s->self, s->keys, &secret, s->reterr);
	if (rc < 0) {
		return rc;
	}
	rc = grant_make(name, secret, s->node, s->seal_public, &s->list->grants[s->list->count],
			s->reterr);
	s->list->count += rc == 0;
	return rc;
}

static int grants_add_kek(void *arg, const Et__Kek *kek)
{
	char name[SECRET_NAME_BYTES];

	if (kek->state == ET__KEK_STATE__KEK_DESTROYED ||
	    kek->state == ET__KEK_STATE__KEK_DESTROY_SCHEDULED) {
		return 0;
	}
	kek_secret_name(kek->version, name);
	return grants_add(arg, name);
}

/* The one that issues; the other one, while there is one, comes by grants.c if it is not here. */
static int grants_add_cas(struct grants_search *s)
{
	char name[SECRET_NAME_BYTES];
	struct issuer issuer;

	int rc = issuer_find(s->v, &issuer, s->reterr);
	if (rc < 0) {
		return rc;
	}
	rc = grants_add(s, issuer.name);
	uint32_t other = et_state_ca_number(issuer.cluster, 1);
	et_state_ca_secret(other, name);
	if (rc == 0 && other != 0 && et_state_has_grant(s->v, name, s->self)) {
		rc = grants_add(s, name);
	}
	issuer_release(&issuer);
	return rc;
}

int grants_for_node(const struct et_state_view *v, uint64_t self, const struct node_keys *keys,
		    uint64_t node, const uint8_t seal_public[32], struct grant_list *ret,
		    struct et_error *reterr)
{
	struct grants_search s = { v, self, keys, node, seal_public, ret, reterr };

	ret->count = 0;
	int rc = et_state_each_kek(v, grants_add_kek, &s);
	rc = rc < 0 ? rc : grants_add_cas(&s);
	if (rc < 0) {
		grant_list_release(ret);
	}
	return rc;
}
