/* The HTTP API, its Unix socket, and the console.
 *
 * Happy path: a connection's head is read on the API thread (libwebsockets), which finds the
 * endpoint, authenticates, and reads a bounded body; a worker does the work (reads views of the
 * catalogue, proposes, decodes audio) and hands the answer back in pieces; the API thread writes
 * them as the client takes them.
 *
 * Promises
 *   - No state-changing answer says success before the command was applied on this node.
 *   - Audio is given out only after an audit event that names it was committed; without a quorum
 * the answer is ET_ENOQUORUM and no sample.
 *   - An error is JSON: {"schema","code","what","where","why","next"}; code is a name of
 * node/base/err.h.
 *   - Answers from the catalogue say how they were read: X-Evertape-Read (local or linearizable),
 *     X-Evertape-Index (applied log index), X-Evertape-Age-Ms (since this node last heard a
 *     majority; 0: it hears one now).
 *   - Secrets (tokens, escrow shares) are in one answer once, are never logged, and are wiped.
 *
 * Who may: on the Unix socket (0600) root and the daemon's user are administrators, by SO_PEERCRED.
 * Over HTTPS a bearer token whose SHA-256 is in the catalogue says which roles it has. The
 * console's files need no token, its data does.
 *
 * Before there is a cluster: GET /healthz, GET /v1/status, POST /v1/cluster/init and
 * POST /v1/node/join, on the Unix socket only.
 *
 * Bounds: connections, bytes of head and body, requests waiting, bytes of an answer not yet taken
 * by its client; a client that takes nothing for 30 s is cut. Long work (audio, verification) has
 * workers of its own.
 *
 * Endpoints: openapi.yaml beside this file.
 *
 * Threads: one API thread and a few workers inside. et_api_*() on the main loop's thread. The
 * backend's functions run on workers, several at once; they may wait for the main loop, so the main
 * loop must never wait for the API. */
#ifndef ET_NODE_API_API_H
#define ET_NODE_API_API_H

#include "archive/mover/mover.h"
#include "node/base/err.h"
#include "node/base/secret.h"
#include "node/io/post.h"
#include "node/keeper/keeper.h"
#include "node/medium/told.h"
#include "node/text/json.h"
#include "node/tls/identity.h"
#include "raft/backup/backup.h"
#include "raft/catalog/catalog.h"
#include "replication/sync/sync.h"

#define ET_API_HEAD_MAX 8192		    /* bytes of request line and headers */
#define ET_API_BODY_MAX (1024 * 1024)	    /* bytes of a request's body */
#define ET_API_FILE_MAX (INT64_C(64) << 30) /* bytes of a file that is imported */
#define ET_API_IMPORTS_MAX 2		    /* at a time */
#define ET_API_CONNECTIONS_MAX 256	    /* the default */
#define ET_API_CALLS_MAX 1000		    /* calls in progress that one answer lists */

struct et_api;

/* ---- What the daemon alone knows or can do. All of it runs on workers; any may be NULL. ---- */

struct et_api_init {
	const char *cluster;	   /* view: the name asked for; NULL: that of the configuration */
	unsigned escrow_threshold; /* 0: 3 */
	unsigned escrow_shares;	   /* 0: 5 */
};

struct et_api_init_answer {
	uint64_t node;
	struct et_secret *shares[ET_ESCROW_SHARES_MAX]; /* owned: texts without a NUL */
	unsigned share_count;
	struct et_secret *token; /* owned: the first administrator's API token, or NULL */
};

/* What became of a command that was told (facts, tags, notes, agents). */
struct et_api_told {
	bool committed; /* applied; else it is durable here, and goes on */
	uint64_t index; /* log index, when committed */
};

/* To pause a recording that this node makes, or to go on with it. */
struct et_api_pause {
	const uint8_t *recording; /* 16 bytes; borrowed, as the texts */
	bool pause;
	const char *principal;
	const char *reason;
	int64_t max_us; /* it goes on by itself; 0: as the node's configuration says */
};

struct et_api_paused {
	bool paused;
	bool changed;
	int64_t from_us;
	int64_t to_us;
	int64_t until_us;
	uint64_t packets; /* not written in all its pauses */
};

/* To keep a call on demand of this node. */
struct et_api_keep {
	const uint8_t *recording; /* 16 bytes; borrowed, as the texts; NULL: */
	const char *sip_call_id;
	const char *principal;
};

struct et_api_kept {
	uint8_t recording[16];
	bool changed;	  /* else it was a recording already */
	int64_t start_us; /* of the call */
	int64_t from_us;  /* of what there is */
	int64_t end_us;	  /* 0: it goes on */
};

/* Keys of SRTP that were found to open a recording that is over. */
struct et_api_late_keys {
	const uint8_t *recording; /* 16 bytes; borrowed, as all of it */
	const char *beside;	  /* file of another segment of it */
	struct et_view plain;	  /* a KEYS record's plaintext: secret */
	uint32_t state;		  /* enum et_keys_state, with them */
	int64_t after_us;	  /* end of the recording */
	const char *principal;
};

struct et_api_late_keys_kept {
	uint32_t segment;
	bool committed; /* else it is durable here, and goes on */
};

/* A file that is to become recordings. All borrowed for the call. */
struct et_api_import {
	uint8_t sha256[32];
	uint64_t size_bytes;
	const char *name;
	int64_t start_us;	    /* of audio, when its metadata does not say */
	const struct et_told *told; /* metadata, checked */
	Et__Fact **facts;	    /* what of it goes into the catalogue */
	size_t fact_count;
	Et__Tag **tags;
	size_t tag_count;
	const char *principal;
	const char *reason;
	ssize_t (*read)(void *arg, void *data, size_t size, struct et_error *reterr);
	void *read_arg;
};

/* What became of it. */
struct et_api_imported {
	json_t *recordings; /* owned by the caller: [{id, part, state}]; state: imported, pending,
			     * known, erased */
	char format[32];
	char problem[256];
	uint64_t packets;      /* of a capture: all, */
	uint64_t packets_left; /* and those that might have been somebody's and are in no recording
				*/
	bool is_capture;
};

struct et_api_backend {
	/* Make the cluster; returns when its first entry is committed. ET_EEXISTS: there is one. */
	int (*init_cluster)(void *arg, const struct et_api_init *request,
			    struct et_api_init_answer *ret, struct et_error *reterr);
	/* Join by token text through the member at `address` (NULL: those in the token). */
	int (*join)(void *arg, const char *token, const char *address, uint64_t *ret_node,
		    struct et_error *reterr);
	/* What this node knows of all members, itself among them: a new array of objects, each with
	 * "id" and as much as is known of: live_calls, drops, disk_free_bytes, lag_ms, applied,
	 * cert_expires, version, heard_ms (age of the knowledge), reachable; of one that never
	 * answered known_ms (it is asked for so long). Joined by "id" with what the catalogue
	 * says. */
	json_t *(*nodes)(void *arg);
	/* Health of the cluster as this node sees it: a new array of {code, detail, next, node?}.
	 * The API adds what it sees in the catalogue itself. */
	json_t *(*health)(void *arg);
	/* Capture of this node: a new object; see openapi.yaml. */
	json_t *(*capture)(void *arg);
	/* Commands of this node's journal that are not committed yet, oldest first. `command` is a
	 * view. A non-zero result of `fn` ends it and is returned. */
	int (*pending)(void *arg, int (*fn)(void *fn_arg, const Et__Command *command),
		       void *fn_arg);
	/* Ask a member (0: this node) for what only it knows, or to do what only it can: `question`
	 * is {"what": "config" | "capture" | "renew" | "scrub" | "scrub-stop" | "repair", ...}, see
	 * node/daemon/ask.c. *ret is the caller's. ET_EUNREACHABLE: it does not answer;
	 * ET_EUNSUPPORTED: its build cannot. */
	int (*ask)(void *arg, uint64_t node, const char *address, const json_t *question,
		   json_t **ret, struct et_error *reterr);
	/* Journal a create command durably and bring it into the catalogue: needs no quorum. Fills
	 * command->op; principal, reason and schema are set. NULL: such commands are proposed. */
	int (*tell)(void *arg, Et__Command *command, struct et_api_told *ret,
		    struct et_error *reterr);
	/* In force and synced on this node's disk when it returns 0. ET_ENOTFOUND: this node does
	 * not record it (any more). */
	int (*pause)(void *arg, const struct et_api_pause *request, struct et_api_paused *ret,
		     struct et_error *reterr);
	/* A recording, and synced on this node's disk, when it returns 0. ET_ENOTFOUND: this node
	 * has no such call (any more). */
	int (*keep)(void *arg, const struct et_api_keep *request, struct et_api_kept *ret,
		    struct et_error *reterr);
	/* Keep keys in a small segment of their own, sealed and synced here: a new DEK, and in the
	 * catalogue as other segments are, when it returns 0. ET_ELIMIT: this node has added too
	 * many to this recording. */
	int (*late_keys)(void *arg, const struct et_api_late_keys *request,
			 struct et_api_late_keys_kept *ret, struct et_error *reterr);
	/* Make recordings of a file: sealed and verified here, synced, and in the journal when it
	 * returns 0. ET_EUNSUPPORTED, ET_EINTEGRITY, -ENOSPC, ET_EUSAGE: as et_import() says. */
	int (*import)(void *arg, const struct et_api_import *request, struct et_api_imported *ret,
		      struct et_error *reterr);
	/* The recording was erased: return when its tombstone is durable in this node's ledger of
	 * erasures. */
	int (*erased)(void *arg, const uint8_t recording[16], struct et_error *reterr);
	/* A backup of the catalogue into `sink`, which waits for its client. */
	int (*backup)(void *arg, et_backup_sink sink, void *sink_arg, struct et_error *reterr);
	/* More lines for /metrics: et_api_metric(). */
	void (*metrics)(void *arg, struct et_buffer *ret);
	void *arg; /* borrowed until et_api_stop() has called back */
};

/* ---- Life ---- */

struct et_api_config {
	struct et_postbox *postbox; /* of the main loop; borrowed until stopped */
	const char *socket_path;    /* copied; an old socket file there is replaced */
	const char *listen;	    /* "ip:port" for HTTPS; copied; "" or NULL: none */
	const char *certificate; /* PEM file (chain) of the operator; "" or NULL: the node's own */
	const char *key;	 /* PEM file, 0600 or less */
	const char *console;	 /* serve the console from this folder; NULL: the one built in */
	const char *media;	 /* media folder: <media>/cache/ holds what is fetched to listen */
	const char *version;
	const char *cluster; /* configured names, for the time before there is a cluster */
	const char *name;
	const char *site;
	uint32_t connections; /* 0: ET_API_CONNECTIONS_MAX */
	bool member; /* of a cluster: until it is attached it is starting, not without one */
	const struct et_error
		*locked; /* why the node root does not open, or NULL; borrowed: lives longer */
	struct et_api_backend backend;
};

/* Start: the Unix socket answers from here on, without a cluster. -EADDRINUSE: another process
 * answers on the socket. */
int et_api_start(const struct et_api_config *config, struct et_api **ret,
		 struct et_error *reterr) ET_MUST_CHECK;

/* The node is a member now. Everything is borrowed until et_api_stop() has called back; only
 * catalog, state and identity are needed, what is NULL answers ET_EUNSUPPORTED. Starts HTTPS. */
struct et_api_services {
	struct et_catalog *catalog;
	struct et_state *state;
	struct et_keeper *keeper;
	struct et_sync *sync;
	struct et_mover *mover;
	const struct et_identity *identity; /* copied */
	uint64_t node;
};
int et_api_attach(struct et_api *api, const struct et_api_services *services,
		  struct et_error *reterr) ET_MUST_CHECK;

/* A renewed identity: new HTTPS connections use its certificate. */
int et_api_set_identity(struct et_api *api, const struct et_identity *identity,
			struct et_error *reterr) ET_MUST_CHECK;

/* An operator's certificate for HTTPS, with its key and chain. */
struct et_api_certificate;

/* Read two PEM files (blocks; any thread). *ret is the caller's; *ret_not_after_us: its end.
 * ET_EUNTRUSTED: no certificate with its key, or a key with a passphrase. -ENOMEM. */
int et_api_certificate_load(const char *file, const char *key, struct et_api_certificate **ret,
			    int64_t *ret_not_after_us, struct et_error *reterr) ET_MUST_CHECK;
struct et_api_certificate *et_api_certificate_free(struct et_api_certificate *c); /* or NULL */
/* It takes the place of config.certificate: handshakes that begin from then on show it. Owned from
 * here on. */
void et_api_set_certificate(struct et_api *api, struct et_api_certificate *certificate);

/* What a health code means: "note", "degraded" (also of one that is not known), "at_risk". */
const char *et_api_code_level(const char *code);

/* As Prometheus reads it: a metric without labels, or the head of one, whose lines follow. */
void et_api_metric(struct et_buffer *ret, const char *name, const char *type, const char *help,
		   uint64_t value);
void et_api_metric_head(struct et_buffer *ret, const char *name, const char *type,
			const char *help);

/* For the catalogue's on_applied: feeds GET /v1/changes. Cheap. Any thread. */
void et_api_on_applied(struct et_api *api, uint64_t index, const Et__Command *command,
		       const Et__Result *result);

/* The port that HTTPS listens on (for port 0), or 0. */
uint16_t et_api_port(const struct et_api *api);

/* Stop: no more requests; those that wait for the catalogue get ET_ECLOSED; connections are closed.
 * `closed` runs once, on the main loop, when every thread has ended; `api` is freed then. Call it
 * before any service is stopped. */
void et_api_stop(struct et_api *api, void (*closed)(void *arg), void *arg);

/* ---- API tokens ---- */

/* A new API token: "evapi1." base64url(id 16 | secret 32). *ret is what the catalogue keeps (no
 * secret; caller frees with et__token__free_unpacked), *ret_text what its holder gets, once. Roles:
 * admin, operator, listener, unmasker, teller, importer, reader, auditor. */
int et_api_token_make(const char *name, const char *const *roles, size_t role_count,
		      int64_t expires_us, Et__Token **ret, struct et_secret **ret_text,
		      struct et_error *reterr) ET_MUST_CHECK;

#endif
