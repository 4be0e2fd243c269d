/* How a new machine becomes a member: token, request, reply, over evertape-join/1.
 *
 *   token text := "evt1." base64url( version 1 | id 16 | seed 32 | expiry 8 | CA SPKI hash 32
 *                 | cluster | site | roles 2 | address count 1 | addresses | check 4 )
 *                 names and addresses: length 1 and bytes; check: first bytes of the SHA-256 of all
 *                 that stands before
 *   frame      := length32 (of what follows) | body       one request, one reply, then close
 *
 * The joiner connects without a certificate. It trusts the server when the server's chain ends at
 * the CA that the token names, and proves that it holds the token by an Ed25519 signature of the
 * token's key over "evertape join/1" | TLS exporter 32 | SHA-256 of the request: the seed never
 * travels, and the signature fits no other connection. The role comes from the token.
 *
 * A request is idempotent by its hash: the same bytes get the same node. So the joiner makes its
 * request once, keeps it with its keys (et_join_request_save), and repeats it until answered.
 *
 * Failures: ET_EUNREACHABLE, -ETIMEDOUT; ET_EUNTRUSTED: the server's chain does not end at the CA
 * of the token; else what the cluster said (ET_EDENIED: token unknown, used up, revoked, expired).
 *
 * Threads: pure functions, but for et_join_call() and et_join_serve(): loop thread only. */
#ifndef ET_NODE_TLS_JOIN_H
#define ET_NODE_TLS_JOIN_H

#include "node/tls/identity.h"
#include "node/tls/tls.h"

#define ET_JOIN_ADDRESSES_MAX 4
#define ET_JOIN_REQUEST_MAX 8192	  /* bytes of a packed request */
#define ET_JOIN_REPLY_MAX (1024UL * 1024) /* bytes of a packed reply */

struct et_join_token {
	uint8_t id[16];
	struct et_secret *seed; /* owned: Ed25519 seed, 32 bytes */
	uint8_t public_key[32]; /* of the seed; what the catalogue keeps */
	int64_t expires_us;
	uint8_t ca_hash[32]; /* SHA-256 of the CA's SubjectPublicKeyInfo */
	char cluster[ET_NAME_MAX + 1];
	char site[ET_NAME_MAX + 1];
	uint32_t roles; /* enum et_role bits */
	char addresses[ET_JOIN_ADDRESSES_MAX][ET_ADDRESS_MAX];
	size_t address_count;
};

/* A fresh id and seed; the caller fills in the rest. */
int et_join_token_make(struct et_join_token *ret, struct et_error *reterr) ET_MUST_CHECK;
void et_join_token_release(struct et_join_token *t);
/* The text, without a NUL: a secret, as it holds the seed. Owned by the caller. */
int et_join_token_format(const struct et_join_token *t, struct et_secret **ret,
			 struct et_error *reterr) ET_MUST_CHECK;
/* Read a text. ET_EMALFORMED: not of that form, or damaged (its check does not fit); ET_EVERSION: a
 * newer form; ET_EDENIED: expired at `now_us` (0: do not judge). reterr says which. */
int et_join_token_parse(const char *text, size_t size, int64_t now_us, struct et_join_token *ret,
			struct et_error *reterr) ET_MUST_CHECK;

struct et_join_request {
	uint8_t token[16];
	char name[ET_NAME_MAX + 1];
	char site[ET_NAME_MAX + 1];   /* wish; "": the token's */
	uint32_t roles;		      /* wish; 0: the token's */
	char address[ET_ADDRESS_MAX]; /* own cluster port */
	char api_address[ET_ADDRESS_MAX];
	char version[32];
	char store_uuid[40];
	uint32_t schema;	 /* highest command schema that its build understands */
	struct et_buffer csr;	 /* owned: PKCS#10 DER */
	uint8_t sign_public[32]; /* Ed25519 */
	uint8_t seal_public[32]; /* X25519 */

	/* Filled by parsing (and by the server that took the connection). */
	uint8_t hash[32];     /* SHA-256 of the packed request: its identity */
	uint8_t exporter[32]; /* of the connection that it came on */
	uint8_t signature[64];
	struct et_buffer bytes; /* owned: the packed request */
};

void et_join_request_release(struct et_join_request *r);
/* The bytes that are hashed, sent and kept. */
int et_join_request_pack(const struct et_join_request *r, struct et_buffer *ret,
			 struct et_error *reterr) ET_MUST_CHECK;
/* Foreign bytes: bounded, checked; without exporter and signature. */
int et_join_request_parse(struct et_view bytes, struct et_join_request *ret,
			  struct et_error *reterr) ET_MUST_CHECK;
/* With hash, exporter and signature: how one member hands a request to another (ET_RPC_JOIN). */
int et_join_forward_pack(const struct et_join_request *r, struct et_buffer *ret) ET_MUST_CHECK;
int et_join_forward_parse(struct et_view bytes, struct et_join_request *ret,
			  struct et_error *reterr) ET_MUST_CHECK;
/* Did the holder of the token's key sign this request on this connection? ET_EUNTRUSTED: no. */
int et_join_request_verify(const struct et_join_request *r, const uint8_t token_public[32],
			   struct et_error *reterr) ET_MUST_CHECK;

struct et_join_reply {
	int code; /* 0: admitted; else the code and text of the refusal */
	char text[256];
	uint64_t node;
	uint8_t cluster_id[16];
	char cluster[ET_NAME_MAX + 1];
	char site[ET_NAME_MAX + 1];
	uint32_t roles;
	uint32_t kek_id;
	uint32_t kek_version;
	uint8_t kek_public[32];
	struct et_buffer kek_signature; /* owned: of the CA */
	struct et_buffer cert;		/* owned: DER leaf */
	struct et_buffer ca;		/* owned: DER bundle */
	struct et_buffer members;	/* owned: packed, CA-signed member list (identity.h) */
};

void et_join_reply_release(struct et_join_reply *r);
int et_join_reply_pack(const struct et_join_reply *r, struct et_buffer *ret) ET_MUST_CHECK;
int et_join_reply_parse(struct et_view bytes, struct et_join_reply *ret,
			struct et_error *reterr) ET_MUST_CHECK;

/* ---- The joiner ---- */

/* Send `request` (packed; copied) to each address of the token in turn, or to `address` alone when
 * it is not NULL, until one answers. `cb` runs exactly once, never inside the call; `reply` is a
 * view, NULL when nobody answered (`why` then says what was tried). timeout_ms is for each address.
 * The reply's certificate was checked against the token's CA and the request's key when code 0. */
typedef void (*et_join_fn)(void *arg, int code, const struct et_join_reply *reply,
			   const struct et_error *why);
int et_join_call(uv_loop_t *loop, const struct et_join_token *token, const char *address,
		 struct et_view request, uint32_t timeout_ms, et_join_fn cb, void *arg,
		 struct et_error *reterr) ET_MUST_CHECK;

/* ---- The member that is asked ---- */

struct et_join_answer; /* one answer to give, now or later, exactly once */

/* `request` is a view valid during the call; not verified yet: only the catalogue knows the token.
 */
typedef void (*et_join_serve_fn)(void *arg, const struct et_join_request *request,
				 struct et_join_answer *answer);
/* Take evertape-join/1. At most 5 requests a second and 16 at a time; others are refused with
 * ET_EBUSY before anything is parsed. */
int et_join_serve(struct et_tls_node *t, et_join_serve_fn fn, void *arg,
		  struct et_error *reterr) ET_MUST_CHECK;
/* Answer and free; the joiner may be gone: that is fine. */
void et_join_answer(struct et_join_answer *answer, const struct et_join_reply *reply);

#endif
