/* Who a node is: keys, certificate, the CA bundle, and how they are made and kept.
 *
 * Folder <state>/identity (0700):
 *   identity   names, both private keys (each a box under the node root: never in the clear on
 *              disk), certificate and CA bundle, checksum: one file, replaced as a whole, so that
 *              key and certificate always belong together
 *   members    the list of members, signed by the CA
 *
 * Certificates: P-256 ECDSA, 72 h by default, not-before five minutes back (a sixth
 * of a short life), SAN URI
 * spiffe://CLUSTER/site/SITE/node/ID, EKU client and server. Root: P-256, 10 years, CA:TRUE pathlen
 * 0.
 *
 * Threads: pure, but for load and save, which wait for the disk. */
#ifndef ET_NODE_TLS_IDENTITY_H
#define ET_NODE_TLS_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/role.h"
#include "node/base/secret.h"

#define ET_CERT_MAX 2048  /* bytes of a DER certificate or request of ours */
#define ET_ADDRESS_MAX 64 /* bytes of "ip:port" with its NUL */

/* "voter", ... of bit number 0 to ET_ROLES - 1; static. */
const char *et_role_name(unsigned bit);
/* The bit of a word; 0: no role of ours. */
uint32_t et_role_of(const char *name);

struct et_identity {
	char cluster[ET_NAME_MAX + 1];
	uint8_t cluster_id[16];
	uint64_t node;
	char name[ET_NAME_MAX + 1];
	char site[ET_NAME_MAX + 1];
	struct et_secret *tls_key;  /* owned: PKCS#8 DER of the P-256 key */
	struct et_secret *sign_key; /* owned: Ed25519 seed, 32 bytes */
	uint8_t sign_public[32];
	struct et_buffer cert; /* owned: DER, leaf */
	struct et_buffer ca; /* owned: DER certificates one after the other; the first one issues */
};

/* Two fresh keys; cert empty until issued. */
int et_identity_make(const char *cluster, const char *name, const char *site,
		     struct et_identity *ret, struct et_error *reterr) ET_MUST_CHECK;
void et_identity_release(struct et_identity *id);
int et_identity_copy(const struct et_identity *from, struct et_identity *ret) ET_MUST_CHECK;

/* Load or save under `folder`, secrets sealed with the node root. ET_ENOTFOUND: none there (a fresh
 * node); ET_ECORRUPT, ET_EKEYPERM: a wrong root or a damaged file. */
int et_identity_load(const char *folder, const struct et_secret *root, struct et_identity *ret,
		     struct et_error *reterr) ET_MUST_CHECK;
/* What it says without its secrets: names, numbers, the public key, certificate and CAs. Nothing
 * says yet that it is true: the file is authenticated by its secrets only. */
int et_identity_peek(const char *folder, struct et_identity *ret,
		     struct et_error *reterr) ET_MUST_CHECK;
int et_identity_save(const char *folder, const struct et_secret *root, const struct et_identity *id,
		     struct et_error *reterr) ET_MUST_CHECK;

/* The cluster CA. `key` is PKCS#8 DER; it lives only in grants to vault nodes and in memory. */
int et_ca_make(const char *cluster, struct et_secret **ret_key, struct et_buffer *ret_cert,
	       struct et_error *reterr) ET_MUST_CHECK;

/* A certificate request (PKCS#10 DER) for the identity's TLS key. */
int et_identity_request(const struct et_identity *id, struct et_buffer *ret,
			struct et_error *reterr) ET_MUST_CHECK;

/* Is the certificate signed by that CA? */
bool et_cert_is_of(struct et_view cert, struct et_view ca);
/* Is it the key of the bundle's first CA? */
bool et_ca_key_is_of(const struct et_secret *ca_key, struct et_view bundle);

/* Issue a leaf for the key in `request`; the SAN is what the caller says, never what was asked for.
 */
struct et_cert_subject {
	const char *cluster;
	const char *site;
	uint64_t node;
};
int et_ca_issue(const struct et_secret *ca_key, struct et_view ca_cert, struct et_view request,
		const struct et_cert_subject *subject, int64_t now_us, int64_t life_us,
		struct et_buffer *ret_cert, uint8_t ret_spki_hash[32],
		struct et_error *reterr) ET_MUST_CHECK;

/* What a certificate says. Foreign bytes: bounded and checked. */
struct et_cert_info {
	char cluster[ET_NAME_MAX + 1];
	char site[ET_NAME_MAX + 1];
	uint64_t node;
	uint8_t serial[20];
	size_t serial_size;
	uint8_t spki_hash[32];
	int64_t not_before_us;
	int64_t not_after_us;
};
int et_cert_parse(struct et_view der, struct et_cert_info *ret,
		  struct et_error *reterr) ET_MUST_CHECK;
int et_cert_spki_hash(struct et_view der, uint8_t ret[32]) ET_MUST_CHECK;

/* A member, as far as a node must know it before its catalogue is there. */
struct et_member {
	uint64_t node;
	char name[ET_NAME_MAX + 1];
	char site[ET_NAME_MAX + 1];
	char address[ET_ADDRESS_MAX];
	uint32_t roles;
	uint8_t spki_hash[32];
	uint8_t sign_public[32];
};

#define ET_MEMBERS_MAX 1024

/* Who was an active member at log index `index`; signed by the CA when packed. */
struct et_member_list {
	uint64_t index;
	int64_t made_us;
	struct et_member *members; /* owned */
	size_t count;
};
void et_member_list_release(struct et_member_list *l);
/* Pack, and sign with the CA key. */
int et_member_list_sign(const struct et_member_list *l, const struct et_secret *ca_key,
			struct et_buffer *ret) ET_MUST_CHECK;
/* Foreign bytes: bounded, checked, and signed by a CA of the bundle, or ET_EUNTRUSTED. */
int et_member_list_parse(struct et_view bytes, struct et_view ca_bundle, struct et_member_list *ret,
			 struct et_error *reterr) ET_MUST_CHECK;
/* <folder>/members, durably. */
int et_member_list_save(const char *folder, struct et_view packed,
			struct et_error *reterr) ET_MUST_CHECK;
int et_member_list_load(const char *folder, struct et_view ca_bundle, struct et_member_list *ret,
			struct et_error *reterr) ET_MUST_CHECK;

/* The private number of a P-256 key (32 bytes), and the key of it: what an escrow holds. */
int et_ca_key_number(const struct et_secret *ca_key, struct et_secret **ret,
		     struct et_error *reterr) ET_MUST_CHECK;
int et_ca_key_of_number(const struct et_secret *number, struct et_secret **ret,
			struct et_error *reterr) ET_MUST_CHECK;

/* Sign and verify with the CA key (KEK public halves, the member list). */
int et_ca_sign(const struct et_secret *ca_key, struct et_view data,
	       struct et_buffer *ret_signature) ET_MUST_CHECK;
int et_ca_verify(struct et_view ca_bundle, struct et_view data,
		 struct et_view signature) ET_MUST_CHECK;

#endif
