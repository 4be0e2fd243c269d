/* Inside the keeper.
 *
 *   root.c     the node root
 *   keys.c     the key folder
 *   sealing.c  which KEK version is sealed to
 *   secrets.c  grants: sealing and opening KEK secrets and the CA key
 *   escrow.c   shares as text
 *   init.c     the material of a new cluster
 *   members.c  who is a member
 *   keeper.c   the running keeper: start, stop, health, the minute's round
 *   open.c     opening a DEK, here or at a vault node
 *   admit.c    admitting a joiner
 *   renew.c    certificates
 *   verify.c   tags of recovered tapes
 *   grants.c   grants for vault nodes that lack them
 *   rotate.c   the life of KEK versions: this node's keys, new versions, states
 *              (rotate_internal.h)
 *   ca.c       the life of CAs: what this node trusts, new CAs, steps of a rotation
 *   rewrap.c   moving wrapped DEKs to the active version
 *   generations.c  making segments anew: redaction, re-encryption (generations_internal.h)
 */
#ifndef ET_NODE_KEEPER_KEEPER_INTERNAL_H
#define ET_NODE_KEEPER_KEEPER_INTERNAL_H

#include <stdatomic.h>

#include "node/keeper/keeper.h"
#include "node/tls/rpc.h"

#define PATH_BYTES 1024
#define KEYS_MAX 64    /* KEK versions that a node's folder may hold keys for */
#define SECRETS_MAX 64 /* living KEK versions, and the CA */
#define VAULTS_MAX 16  /* nodes that are asked in turn */
#define RPC_TIMEOUT_MS 5000
#define PROPOSE_TIMEOUT_MS 15000
#define READ_TIMEOUT_MS 5000
#define INIT_KEK 1
#define CERT_LIFE_US (72LL * 3600 * 1000000)

static inline void et_buffer_releasep(struct et_buffer *b)
{
	et_buffer_release(b);
}

static inline struct et_view view_of(const struct et_buffer *b)
{
	return (struct et_view){ b->data, b->size };
}

/* ---- keys.c ---- */

struct node_key {
	uint32_t version; /* of the KEK that it was made for */
	uint8_t public_key[32];
	struct et_secret *secret; /* owned */
};

struct node_keys {
	struct node_key keys[KEYS_MAX];
	size_t count;
};

int node_keys_load(const char *state_folder, const struct et_secret *root, struct node_keys *ret,
		   struct et_error *reterr) ET_MUST_CHECK;
void node_keys_release(struct node_keys *k);
/* NULL: no key of this public half. */
const struct et_secret *node_keys_find(const struct node_keys *k, ProtobufCBinaryData public_key);

/* What the key folder is to hold: keys for these versions, and those that open what is sealed to
 * them. All others are wiped. */
struct keys_order {
	uint32_t wanted[KEYS_MAX];
	size_t wanted_count;
	uint8_t keep[KEYS_MAX * 2][32]; /* public halves */
	size_t keep_count;
	bool keep_all;
};
bool keys_order_keeps(const struct keys_order *o, const struct node_key *key);
/* Bring the folder in that order (waits for the disk); *ret is what is in it then. */
int node_keys_order(const char *state_folder, const struct et_secret *root,
		    const struct keys_order *order, struct node_keys *ret, unsigned *ret_wiped,
		    struct et_error *reterr) ET_MUST_CHECK;

/* ---- sealing.c ---- */

/* The file <state>/keys/sealing, whatever its signature is worth. ET_EUNTRUSTED: it has none;
 * ET_ECORRUPT. */
int sealing_parse(struct et_view file, struct et_keeper_sealing *ret) ET_MUST_CHECK;
/* Are these the CAs that the catalogue trusts? */
bool bundle_is_of(struct et_view ca_bundle, const Et__Cluster *cluster);

/* ---- secrets.c ---- */

/* "kek:VERSION" */
#define SECRET_NAME_BYTES 16
void kek_secret_name(uint32_t version, char ret[SECRET_NAME_BYTES]);
/* The node's key for a KEK version: the one that it has published, else its only one. NULL: it has
 * none. */
const uint8_t *seal_key_of(const Et__Node *node, uint32_t version);
/* Seal `secret` to a node's key. The caller owns *ret (et__grant__free_unpacked). */
int grant_make(const char *name, const struct et_secret *secret, uint64_t node,
	       const uint8_t seal_public[32], Et__Grant **ret,
	       struct et_error *reterr) ET_MUST_CHECK;
int grant_open(const Et__Grant *grant, const struct node_keys *keys, struct et_secret **ret,
	       struct et_error *reterr) ET_MUST_CHECK;
/* The secret of that name, by this node's grant in the catalogue. ET_ENOKEY: it has none. */
int secret_open(const struct et_state_view *v, const char *name, uint64_t node,
		const struct node_keys *keys, struct et_secret **ret,
		struct et_error *reterr) ET_MUST_CHECK;
/* The CA that issues. */
struct issuer {
	uint32_t number;
	char name[SECRET_NAME_BYTES]; /* of its key in grants */
	Et__Cluster *cluster;	      /* owned */
	struct et_view cert;	      /* in that */
};
int issuer_find(const struct et_state_view *v, struct issuer *ret,
		struct et_error *reterr) ET_MUST_CHECK;
void issuer_release(struct issuer *i);
/* Its key, by this node's grant. ET_ENOKEY: it has none. */
int issuer_key(const struct et_state_view *v, const struct issuer *i, uint64_t node,
	       const struct node_keys *keys, struct et_secret **ret,
	       struct et_error *reterr) ET_MUST_CHECK;
/* The bytes that the CA signs for a KEK version. */
#define KEK_SIGNED_BYTES 48
void kek_signed_bytes(uint32_t version, const uint8_t public_key[32],
		      uint8_t ret[KEK_SIGNED_BYTES]);
/* All living secrets that this node can open, sealed to another vault node's key. */
struct grant_list {
	Et__Grant *grants[SECRETS_MAX];
	size_t count;
};
void grant_list_release(struct grant_list *l);
int grants_for_node(const struct et_state_view *v, uint64_t self, const struct node_keys *keys,
		    uint64_t node, const uint8_t seal_public[32], struct grant_list *ret,
		    struct et_error *reterr) ET_MUST_CHECK;

/* ---- escrow.c ---- */
int escrow_split(uint32_t kek_version, const struct et_secret *kek, const struct et_secret *ca_key,
		 unsigned threshold, unsigned count, struct et_secret **shares,
		 struct et_error *reterr) ET_MUST_CHECK;

/* ---- Fields of protobuf messages that own their memory; abort without memory ---- */
void pb_text(char **field, const char *text);
void pb_bytes(ProtobufCBinaryData *field, const void *data, size_t size);
void pb_roles(size_t *n, char ***field, uint32_t roles);
uint32_t roles_of(size_t n, char *const *words);
bool node_is_vault(const Et__Node *node); /* a member with that role */

/* ---- members.c ---- */
/* The members as the catalogue has them, signed. */
int members_pack(const struct et_state_view *v, const struct et_secret *ca_key,
		 struct et_buffer *ret, struct et_error *reterr) ET_MUST_CHECK;

/* ---- keeper.c ---- */

#define LINGER_MS 4000 /* more than the leader waits before it takes a removed node out of Raft */

struct et_keeper {
	uv_loop_t *loop;
	struct et_postbox *postbox;
	struct et_catalog *catalog;
	struct et_state *state;
	struct et_tls_node *tls;
	struct et_identity identity; /* owned */
	struct et_secret *root;	     /* owned */
	struct node_keys keys;
	bool root_on_disk;
	char state_folder[PATH_BYTES];
	char media_folder[PATH_BYTES];
	int64_t cert_life_us;
	void (*on_identity)(void *arg, const struct et_identity *identity);
	void *arg;

	uv_timer_t timer;
	uv_timer_t linger; /* a node was removed in peace: its connections end then */
	unsigned pending;  /* operations whose callbacks have not run */
	bool stopping;
	unsigned timers_closed;
	void (*closed)(void *arg);
	void *closed_arg;

	bool renewing;	   /* the identity is being renewed, or saved */
	bool bundle_saved; /* the CAs that are trusted are on disk, as far as is known */
	bool ca_looking;   /* a look is to come */
	struct vouched {
		uint32_t version;
		uint8_t public_key[32];
	} vouched[KEYS_MAX]; /* KEK versions that a CA had signed while it was trusted (ca.c) */
	size_t vouched_count;
	struct {
		unsigned what;
		unsigned phase;
		uint32_t number;
		int64_t since_us; /* monotonic */
	} ca_due;		  /* the step that was due at the last look (ca.c) */
	int64_t not_before_us;
	int64_t not_after_us;
	int64_t renew_again_us; /* monotonic: not before */
	int64_t renew_wait_us;	/* after the next failure, doubled */

	bool granting;		/* a GrantAdd is under way */
	bool grants_looking;	/* a look is to come */
	unsigned grants_missed; /* rounds in which some were missing */

	uv_timer_t rotate_timer;
	struct rotation {
		bool looking;	/* a look is to come */
		bool ordering;	/* the key folder is being brought in order */
		bool proposing; /* a step of ours is under way */
		bool current;	/* since the start a majority has said what is committed */
		bool asking;	/* for that */
		uint32_t drained;
		struct {
			unsigned what;
			uint32_t version;
			uint64_t left;
			int64_t since_us; /* monotonic */
		} due;			  /* the step that was due at the last look */
	} rotation;
	struct rewrap *rewrap; /* owned: rewrap.c */

	struct generations *generations; /* owned: generations.c */

	struct verify *verify; /* owned: verify.c */

	struct {
		atomic_bool cert_expired, vault_single, vault_without_grant, is_vault;
		atomic_uint_fast64_t rewrapped, rewrap_failed, keys_wiped;
		atomic_int_fast64_t cert_not_after_us;
		atomic_uint_fast64_t deks_opened, deks_refused, tapes_verified, tapes_bad, renewals,
			renewal_failures, joins, joins_refused;
	} health;
};

/* One operation more or less; the stop waits for all. The latter is a last statement. */
void keeper_begin(struct et_keeper *k);
void keeper_end(struct et_keeper *k);
/* Run `fn` from the loop, not now. Counts as an operation until `fn` has run. */
void keeper_defer(struct et_keeper *k, void (*fn)(void *arg), void *arg);
/* Take the times of the certificate in use. */
void keeper_note_certificate(struct et_keeper *k);

/* Vault nodes that can open `secret`, other than this one: connected ones and those of this site
 * first. */
struct vault {
	uint64_t node;
	char address[ET_ADDRESS_MAX];
	int rank;
};
size_t keeper_vaults(struct et_keeper *k, const struct et_state_view *v, const char *secret,
		     struct vault ret[VAULTS_MAX]);

/* Ask vault nodes in turn until one answers with something else than that it cannot be reached or
 * lacks the key. `body` is copied. */
typedef void (*ask_fn)(void *arg, int code, struct et_view body);
void keeper_ask_vaults(struct et_keeper *k, const char *secret, enum et_rpc_method method,
		       struct et_view body, uint32_t timeout_ms, ask_fn fn, void *arg);

/* ... those that hold the key of the CA that issues. */
void keeper_ask_issuers(struct et_keeper *k, enum et_rpc_method method, struct et_view body,
			uint32_t timeout_ms, ask_fn fn, void *arg);

/* ---- grants.c ---- */
void grants_round(struct et_keeper *k); /* every 10 s: stand-ins count these */
void grants_look(struct et_keeper *k);	/* soon: something has changed */

/* ---- rotate.c ---- */
void rotate_look(struct et_keeper *k);	/* soon: something has changed */
void rotate_start(struct et_keeper *k); /* its timer */
/* Propose a step; `fn` (may be NULL) hears of it. One at a time. */
void rotate_propose(struct et_keeper *k, Et__Command *command, const char *reason,
		    void (*fn)(struct et_keeper *k, int code, const Et__Result *result));

/* Has a majority said, since the start, what is committed? Asks when it has not. */
bool rotate_is_current(struct et_keeper *k);

/* ---- ca.c ---- */
void ca_look(struct et_keeper *k);  /* soon: something has changed */
void ca_round(struct et_keeper *k); /* every second */
/* Is the certificate of another CA than it ought to be? */
bool ca_wants_renewal(struct et_keeper *k, const struct et_state_view *v);
void cluster_bundle(const Et__Cluster *cluster, struct et_buffer *ret);

/* ---- rewrap.c ---- */
struct rewrap *rewrap_new(struct et_keeper *k);
void rewrap_free(struct rewrap *r); /* NULL is allowed */
/* Move some wraps from `from` to the active version, if the rate allows it now. */
void rewrap_step(struct et_keeper *k, const struct et_state_view *v, uint32_t from, uint32_t active,
		 const uint8_t active_public[32], uint32_t rate);
/* What is left on the version did not open lately. */
bool rewrap_is_put_off(const struct rewrap *r, uint32_t version);

/* ---- generations.c ---- */
struct generations *generations_new(struct et_keeper *k);
void generations_free(struct generations *g); /* NULL is allowed */
void generations_round(struct et_keeper *k);  /* every second, and when something is asked for */

/* ---- open.c, admit.c, renew.c, verify.c ---- */
void open_serve(struct et_keeper *k);
/* The DEK of this wrap, whatever took the segment's place: for who makes that. */
int wrap_open(struct et_keeper *k, const struct et_state_view *v, const Et__Segment *segment,
	      struct et_secret **ret, struct et_error *reterr) ET_MUST_CHECK;
/* The DEK of a segment by this node's grants; no audit check here. ET_EPOLICY: erased or replaced.
 */
int open_local(struct et_keeper *k, const struct et_state_view *v, const uint8_t recording[16],
	       uint32_t generation, uint32_t segment, struct et_secret **ret,
	       struct et_error *reterr) ET_MUST_CHECK;
int admit_serve(struct et_keeper *k, struct et_error *reterr) ET_MUST_CHECK;
void renew_serve(struct et_keeper *k);
void renew_round(struct et_keeper *k); /* every second, and when a CA has changed */
/* Fill a certificate record from DER; `ca` is the number of the CA that issued it. */
int certificate_record(struct et_view der, uint64_t node, uint32_t ca, Et__Certificate **ret,
		       struct et_error *reterr) ET_MUST_CHECK;
struct verify *verify_new(struct et_keeper *k);
void verify_free(struct verify *v);
void verify_look_at(struct et_keeper *k, const uint8_t recording[16], uint32_t generation,
		    uint32_t segment);
void verify_round(struct et_keeper *k);
void verify_rescan(struct et_keeper *k);

/* What certificates are judged and made by: cluster time, which one wrong clock cannot move. Before
 * the first tick, the own clock. */
int64_t keeper_now_us(const struct et_keeper *k);

#endif
