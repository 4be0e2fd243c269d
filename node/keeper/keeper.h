/* The keeper: everything that needs a key other than the one in use by the recorder.
 *
 *   node root        opens <state>/keys and <state>/identity; never leaves this process
 *   <state>/keys     one X25519 key per KEK version, made for it, sealed under the root, wiped with
 *                    it: grants are sealed to its public half
 *   grant            "kek:VERSION" or "ca": the secret, sealed (HPKE) to a vault node's key
 *   escrow           k of n shares of KEK secret and CA key, as text; shown once, never stored
 *
 * Opening a DEK leaves a trace first: the caller names a committed audit event that names the
 * recording, and the node that opens checks it, whoever asks. A vault node opens by itself; another
 * asks a vault node (ET_RPC_OPEN_DEK), which answers with the DEK sealed to the asker's key.
 *
 * Failures: ET_ENOKEY: no grant for that KEK version here, or no vault node has it; ET_EDENIED: no
 * such audit event; ET_EUNREACHABLE: no vault node answers; ET_EPOLICY: the DEK is erased;
 * ET_EINTEGRITY: the wrap does not open with that key.
 *
 * Threads: the loop's thread, but for the pure functions (marked) and what is marked any. */
#ifndef ET_NODE_KEEPER_KEEPER_H
#define ET_NODE_KEEPER_KEEPER_H

#include "node/base/secret.h"
#include "node/tls/identity.h"
#include "node/tls/join.h"
#include "node/tls/tls.h"
#include "raft/backup/backup.h"
#include "raft/catalog/catalog.h"
#include "raft/command/command.h"
#include "raft/state/state.h"

#define ET_ESCROW_SHARES_MAX 16

/* ---- Key folder (waits for the disk) ---- */

/* Make the X25519 key of this node for `kek_version`, sealed in <state>/keys, or load the one that
 * is there: idempotent. */
int et_keeper_key_make(const char *state_folder, const struct et_secret *root, uint32_t kek_version,
		       uint8_t ret_public[32], struct et_error *reterr) ET_MUST_CHECK;

/* The KEK version that this node seals to at least, whatever its catalogue says after a restart, in
 * this epoch of the cluster (a restore from a backup may go back behind it). The file is not
 * secret, but its key is what recordings are sealed to: it is believed only with the CA's signature
 * over version and key, which the catalogue has of each version. The epoch is not signed, and an
 * older file of this node can be put back: then the node seals to an older version of the cluster's
 * own, if at all (the catalogue's wins when it is newer). */
#define ET_KEEPER_SIGNATURE_MAX 80 /* bytes; P-256, DER */

struct et_keeper_sealing {
	uint32_t version;
	uint32_t epoch;
	uint8_t public_key[32];
	uint32_t kek_id; /* of the cluster's keys */
	uint8_t signature[ET_KEEPER_SIGNATURE_MAX];
	size_t signature_size;
};
/* -ENOENT: never saved. ET_EUNTRUSTED: no CA of the bundle has signed it, or it is the unsigned
 * file of an earlier build. ET_ECORRUPT. *ret is untouched then. */
int et_keeper_sealing_load(const char *state_folder, struct et_view ca_bundle,
			   struct et_keeper_sealing *ret, struct et_error *reterr) ET_MUST_CHECK;
/* ET_EUNTRUSTED: what could not be loaded again is not saved. */
int et_keeper_sealing_save(const char *state_folder, struct et_view ca_bundle,
			   const struct et_keeper_sealing *sealing,
			   struct et_error *reterr) ET_MUST_CHECK;

/* What is to be sealed to now: the active version of the catalogue, if a CA of the bundle has
 * signed it, or if it is `known` (version and key; may be NULL), which was found good before. Not
 * behind `known` in the same epoch. Where the active one is neither, everybody goes on with
 * `known`, or with the newest version that was active and that a CA of the bundle has signed;
 * *ret_refused (may be NULL) is the number of the active one then, else 0. It is 0, too, while the
 * bundle is not the catalogue's of now: then it cannot be judged. ET_EUNINITIALISED  there is no
 * cluster, or no active version, yet ET_EUNTRUSTED      no version is good */
int et_keeper_sealing_find(const struct et_state_view *v, struct et_view ca_bundle,
			   const struct et_keeper_sealing *known, struct et_keeper_sealing *ret,
			   uint32_t *ret_refused, struct et_error *reterr) ET_MUST_CHECK;

/* ---- Cluster init (pure, but for randomness) ---- */

struct et_keeper_init_config {
	const char *cluster; /* all borrowed for the call */
	const char *name;
	const char *site;
	uint32_t roles; /* enum et_role bits; must hold vault and voter */
	const char *address;
	const char *api_address; /* may be "" */
	const char *version;
	const char *store_uuid;
	uint8_t seal_public[32];   /* from et_keeper_key_make(.., 1, ..) */
	unsigned escrow_threshold; /* k, 0: 3 */
	unsigned escrow_shares;	   /* n, 0: 5 */
	int64_t cert_life_us;	   /* 0: 72 h */
	int64_t now_us;
};

struct et_keeper_init {
	struct et_identity identity; /* owned: with certificate and CA bundle, ready to be saved */
	Et__Command *command;	     /* owned: its body is cluster_init; op is not set */
	struct et_secret *shares[ET_ESCROW_SHARES_MAX]; /* owned: text "evs1-..." without a NUL */
	unsigned share_count;
	struct et_buffer members; /* owned: packed and signed member list, ready to be saved */
};

/* Keys, CA, KEK 1, grants, certificate and escrow of a new cluster. The first node is number 1. */
int et_keeper_make_init(const struct et_keeper_init_config *config, struct et_keeper_init *ret,
			struct et_error *reterr) ET_MUST_CHECK;
void et_keeper_init_release(struct et_keeper_init *init);

/* Put KEK secret and CA key together again from `count` shares (texts, NUL-ended). ET_EMALFORMED: a
 * share is mistyped (its check does not fit); ET_EUSAGE: too few, or of different sets. */
int et_keeper_escrow_join(const char *const *shares, size_t count, uint32_t *ret_kek_version,
			  struct et_secret **ret_kek, struct et_secret **ret_ca_key,
			  struct et_error *reterr) ET_MUST_CHECK;

/* Was this KEK version signed by a CA of the bundle? Check before sealing to it. ET_EUNTRUSTED. */
int et_keeper_kek_verify(const Et__Kek *kek, struct et_view ca_bundle,
			 struct et_error *reterr) ET_MUST_CHECK;

/* ---- Backups (pure, but for randomness and the members file) ---- */

/* Begin a backup: its head names this node, the KEK that is sealed to (et_keeper_sealing_find(),
 * with its failures) and the grants; the data key is wrapped to that KEK, so that a vault node, or
 * k escrow shares of it, open the backup. ET_ESTALE: a base, while the CA changes: who vouches for
 * this node would not be the CA of the catalogue in it. */
int et_keeper_backup_begin(const struct et_state_view *v, const struct et_identity *id,
			   const char *identity_folder, enum et_backup_kind kind, uint64_t index,
			   const uint8_t digest[32], et_backup_sink sink, void *arg,
			   struct et_backup_writer **ret, struct et_error *reterr) ET_MUST_CHECK;

/* What a restore has: all owned; et_keeper_restore_release(). */
struct et_keeper_restore {
	struct et_secret *kek;
	struct et_secret *ca_key;
	struct et_identity identity; /* of the node that restores: a new one */
	struct et_buffer members;    /* its signed list */
	Et__Command *command;	     /* RestoreStep BEGIN, without op */
};
void et_keeper_restore_release(struct et_keeper_restore *r);

/* KEK and CA key: from `count` escrow shares, or (0) by a grant in the head that a key in
 * <state>/keys opens. Checks that the backup's maker is a node whom that CA has named. ET_ENOKEY,
 * ET_EUNTRUSTED, and those of et_keeper_escrow_join(). */
int et_keeper_restore_keys(const struct et_backup_head *head, const char *state_folder,
			   const struct et_secret *root, const char *const *shares, size_t count,
			   struct et_keeper_restore *ret, struct et_error *reterr) ET_MUST_CHECK;
/* Is `sign_public` of `node` in a list that the CA has signed, and is it the CA of `ca_key`? */
int et_keeper_backup_trust(const struct et_secret *ca_key, struct et_view ca,
			   struct et_view members, uint64_t node, const uint8_t sign_public[32],
			   struct et_error *reterr) ET_MUST_CHECK;
/* Identity, certificate, grants and first command of the node that restores, with number `node`;
 * the CA is the one that issues in the restored catalogue (ET_ECORRUPT: the key is another one's).
 */
int et_keeper_restore_begin(struct et_keeper_restore *r, const struct et_backup_head *head,
			    const Et__Cluster *cluster, const struct et_keeper_init_config *config,
			    uint64_t node, struct et_error *reterr) ET_MUST_CHECK;

/* The other living KEK versions of the restored catalogue: each that a key in <state>/keys opens,
 * by whichever vault node's grant, is granted to the node that restores, in r->command (after
 * et_keeper_restore_begin(), which grants version `known` and the CA). *ret_missing: those that
 * stay closed: what was recorded under them plays again when a vault node's keys, or that version's
 * shares, are found. */
int et_keeper_restore_grants(struct et_keeper_restore *r, const struct et_state_view *v,
			     const char *state_folder, const struct et_secret *root, uint32_t known,
			     unsigned *ret_missing, struct et_error *reterr) ET_MUST_CHECK;

/* ---- Who is a member: for et_tls_config.check, before and after the catalogue is there ---- */

struct et_members;

/* `folder` is <state>/identity: its CA-signed list serves until a state is set that is newer. */
int et_members_open(const char *folder, const struct et_identity *identity, struct et_members **ret,
		    struct et_error *reterr) ET_MUST_CHECK;
struct et_members *et_members_close(struct et_members *m); /* NULL is allowed; returns NULL */
/* From now on the catalogue decides (borrowed; NULL: no longer). */
void et_members_set_state(struct et_members *m, struct et_state *state);
/* For et_tls_config.check; `arg` is the et_members. An active member (joining and draining ones
 * too), with the recorded key and site. Whom a lagging catalogue does not know yet, though a CA of
 * the bundle vouches for it with a valid certificate and a number that is not yet given out here,
 * may speak raft and rpc, so that this node can catch up. */
int et_members_check(void *arg, const struct et_tls_peer *peer, const char *alpn,
		     struct et_error *reterr);
/* For et_tls_config.recorded: the recorded key of an active member (joining and draining ones too),
 * as far as is known here. Such a peer is let in whatever CA its certificate is of, so that who was
 * away through a rotation of the CA comes back; it must pass et_members_check() as well. */
bool et_members_recorded(void *arg, uint64_t node, const uint8_t spki_hash[32]);
/* "ip:port" of a member's cluster port, from the catalogue or the list; false: unknown. */
bool et_members_address(struct et_members *m, uint64_t node, char ret[ET_ADDRESS_MAX]);

/* ---- The running keeper ---- */

struct et_keeper;

struct et_keeper_config {
	uv_loop_t *loop;
	struct et_postbox *postbox;	    /* of that loop */
	struct et_catalog *catalog;	    /* borrowed */
	struct et_tls_node *tls;	    /* borrowed */
	const struct et_identity *identity; /* copied */
	const struct et_secret *root;	    /* copied */
	bool root_on_disk;		    /* for the health code ROOT_ON_DISK */
	const char *state_folder;	    /* <state>; copied */
	const char *media_folder;	    /* copied; for the tags of recovered tapes */
	int64_t cert_life_us;		    /* 0: 72 h */
	/* A renewed certificate is committed, saved, and in use. May be NULL. */
	void (*on_identity)(void *arg, const struct et_identity *identity);
	void *arg;
};

/* Serves ET_RPC_OPEN_DEK, ET_RPC_RENEW, ET_RPC_JOIN and evertape-join/1 from here on. A vault node
 * gives other vault nodes the grants that they lack (grants.c), by itself. */
int et_keeper_start(const struct et_keeper_config *config, struct et_keeper **ret,
		    struct et_error *reterr) ET_MUST_CHECK;
/* Before the catalogue and TLS are stopped; `closed` runs once, when everything is released. */
void et_keeper_stop(struct et_keeper *k, void (*closed)(void *arg), void *arg);

/* Feed every applied command (from et_catalog_config.on_applied): removals and revocations cut
 * connections, recovered tapes are looked at. */
void et_keeper_on_applied(struct et_keeper *k, uint64_t index, const Et__Command *command,
			  const Et__Result *result);

/* From et_catalog_config.on_replaced: the state jumped, look at all of it again. */
void et_keeper_on_replaced(struct et_keeper *k);

/* Open the DEK of a segment. `audit` is the number of a committed audit event whose target is the
 * recording's UUID (or its recording and more words after a space), whose action is
 * "recording.play", ".export", ".listen", ".waveform", ".peaks", ".verify", ".keys", ".unmask" or
 * "segment.verify", made by this node within the last hour of cluster time. `cb` runs exactly once,
 * never inside the call, on the loop; `dek` (32 bytes) is borrowed for the call, NULL unless code
 * is 0. */
typedef void (*et_keeper_dek_fn)(void *arg, int code, const struct et_secret *dek,
				 const struct et_error *why);
void et_keeper_open_dek(struct et_keeper *k, const uint8_t recording[16], uint32_t generation,
			uint32_t segment, uint64_t audit, et_keeper_dek_fn cb, void *arg);
/* The same from any thread; `cb` runs on the loop. ET_ELIMIT, ET_ECLOSED: it will not run. */
int et_keeper_open_dek_from(struct et_keeper *k, const uint8_t recording[16], uint32_t generation,
			    uint32_t segment, uint64_t audit, et_keeper_dek_fn cb,
			    void *arg) ET_MUST_CHECK;

/* Admit a joiner: check token and signature against the catalogue, allocate the node's number,
 * issue its certificate (grants too when it is to be a vault), commit NodeJoin, and build the
 * reply. Any vault node can; another hands the request to one. Idempotent by the request's hash.
 * `cb` runs exactly once, never inside the call; `reply` is a view. */
typedef void (*et_keeper_admit_fn)(void *arg, const struct et_join_reply *reply);
void et_keeper_admit(struct et_keeper *k, const struct et_join_request *request,
		     et_keeper_admit_fn cb, void *arg);

/* Renew this node's certificate now (done by itself at 2/3 of its life). `cb` (may be NULL) runs
 * exactly once, never inside the call; `why` is a sentence when code is not 0. */
void et_keeper_renew(struct et_keeper *k, void (*cb)(void *arg, int code, const char *why),
		     void *arg);
/* One is under way, or the identity is being saved: wait before you ask for another. */
bool et_keeper_is_renewing(const struct et_keeper *k);

/* This node will never again speak of a wrap to a KEK version below `version`: nothing like it is
 * in its journal, and its recorder seals to that version or a later one, also after a restart
 * (et_keeper_sealing_save()). The keeper tells the catalogue. */
void et_keeper_set_drained(struct et_keeper *k, uint32_t version);

/* Split the active KEK and the CA key into escrow shares, and record that it was done. Needs both
 * grants here (ET_ENOKEY). From any thread; `cb` runs on the loop, exactly once after 0, with
 * shares (borrowed for the call) when code is 0. ET_ELIMIT, ET_ECLOSED: it will not run. 2 <=
 * threshold
 * <= shares <= ET_ESCROW_SHARES_MAX. */
struct et_keeper_shares {
	uint32_t kek_version;
	unsigned threshold;
	unsigned count;
	struct et_secret *shares[ET_ESCROW_SHARES_MAX]; /* texts without a NUL */
};
typedef void (*et_keeper_shares_fn)(void *arg, int code, const struct et_keeper_shares *shares,
				    const struct et_error *why);
int et_keeper_escrow_issue_from(struct et_keeper *k, unsigned threshold, unsigned shares,
				et_keeper_shares_fn cb, void *arg) ET_MUST_CHECK;

/* Health as data, for `status`. Any thread. */
struct et_keeper_health {
	bool cert_expired;	  /* CERT_EXPIRED */
	bool root_on_disk;	  /* ROOT_ON_DISK: a vault node whose root lies on its disks */
	bool vault_single;	  /* VAULT_SINGLE: fewer than two vault nodes hold the active KEK */
	bool vault_without_grant; /* VAULT_NO_GRANT: this vault node cannot open the active KEK */
	int64_t cert_not_after_us;
	uint64_t deks_opened, deks_refused, tapes_verified, tapes_bad, renewals, renewal_failures,
		joins, joins_refused;
	uint64_t rewrapped;	/* wraps that this node moved to another KEK version */
	uint64_t rewrap_failed; /* wraps that it could not open or seal */
	uint64_t keys_wiped;	/* of its key folder */
};
void et_keeper_health(struct et_keeper *k, struct et_keeper_health *ret);

#endif
