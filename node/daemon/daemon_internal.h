/* The process: what it consists of, and in which order its parts live.
 *
 *   FRESH ──cluster init / node join──▶ STARTING ──▶ RUNNING ──signal──▶ STOPPING ──▶ (exit)
 *     └───────────────────────────────────────────signal─────────────────────▲
 *
 *   LOCKED: a member whose node root does not open (locked.c): capture, journal, the Unix socket;
 *   until it is stopped.
 * FRESH: no identity; only the API on the Unix socket. STARTING: everything but capture, which
 * needs the public half of an active KEK; after a restart the local catalogue has it at once, so a
 * recorder that is cut off records.
 *
 * Threads: everything here belongs to the main loop, but for what is atomic or says otherwise. */
#ifndef ET_NODE_DAEMON_DAEMON_INTERNAL_H
#define ET_NODE_DAEMON_DAEMON_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "archive/mover/mover.h"
#include "node/api/api.h"
#include "node/capture/capture.h"
#include "node/config/config.h"
#include "node/daemon/events.h"
#include "node/daemon/live.h"
#include "node/daemon/member_plan.h"
#include "node/daemon/notify.h"
#include "node/daemon/proposer.h"
#include "node/daemon/retention.h"
#include "node/io/post.h"
#include "node/keeper/keeper.h"
#include "node/root/root.h"
#include "node/tls/tls.h"
#include "raft/backup/backup.h"
#include "raft/catalog/catalog.h"
#include "raft/journal/journal.h"
#include "replication/sync/sync.h"

enum daemon_phase { DAEMON_FRESH, DAEMON_LOCKED, DAEMON_STARTING, DAEMON_RUNNING, DAEMON_STOPPING };

#define DAEMON_PEERS_MAX 256 /* members whose status is kept */

/* What a member last said of itself (ET_RPC_STATUS). */
struct daemon_peer {
	uint64_t node;
	int64_t known_us; /* monotonic: asked since then */
	int64_t heard_us; /* likewise; 0: never */
	bool asking;
	bool seen;	/* at the poll that goes on */
	bool is_member; /* by the catalogue, at the last poll; else its slot may go to another */
	char *json;	/* owned; NULL: never heard */
};

/* What is in force, and where it was said. */
struct daemon_settings {
	json_t *list;	      /* owned: et_config_settings() */
	int64_t read_us;      /* when the file was read */
	struct timespec file; /* its modification time before that */
};

struct et_daemon {
	struct et_config config;
	struct daemon_settings settings; /* in force */
	uv_loop_t loop;
	struct et_postbox postbox;
	uv_signal_t sigterm;
	uv_signal_t sigint;
	uv_signal_t sighup;
	uv_timer_t second;	 /* once a second: peers, membership, health */
	bool reloading;		 /* reload.c: the file is being read */
	bool reload_again;	 /* it was asked for meanwhile */
	struct et_notify notify; /* the service manager, if there is one */
	enum daemon_phase phase;
	int exit_code;

	char version[32];
	char identity_folder[ET_CONFIG_PATH_MAX + 16];
	char store_uuid[40];
	struct et_secret *root; /* owned; NULL while FRESH or LOCKED */
	struct et_error locked; /* why the root did not open; code 0: it did */
	struct et_identity identity;
	struct et_api *api;

	/* Of a member; NULL before. */
	struct et_members *members;
	struct et_tls_node *tls;
	struct et_catalog *catalog;
	struct et_state *state;
	struct et_keeper *keeper;
	struct et_journal *journal;
	struct et_proposer *proposer;
	struct et_events events;
	struct et_sync *sync;
	struct et_mover *mover;
	struct et_capture *capture;
	uint32_t kek_version;	      /* that capture seals to; 0: capture was not started */
	struct et_keeper_sealing kek; /* that this node seals to; version 0: none yet */
	uint32_t kek_id;	      /* of the cluster's KEKs */
	struct {
		bool loaded;
		struct et_keeper_sealing
			floor;	  /* not before this one, whatever the catalogue says */
		uint32_t drained; /* told to the keeper */
		bool untrusted;	  /* the file was not believed, and is not written anew yet */
		uint32_t refused; /* active in the catalogue, and not signed; 0: none */
		bool looking;
		uv_work_t work;
		struct et_keeper_sealing looked; /* of the look under way */
		struct et_buffer bundle;	 /* owned: the CAs that it must be signed by */
		int code;
	} keys;
	atomic_bool
		imports_left; /* of a killed process: tapes that may be known, or not (import.c) */
	atomic_bool agents_changed; /* in the catalogue, since the recorder was told */
	struct et_live live;
	struct daemon_backup *backup;	/* owned: backup.c */
	struct daemon_pitr *pitr;	/* owned: pitr.c; NULL: the log is not shipped */
	struct et_retention *retention; /* owned; NULL: it never led */

	uint64_t refused_logged; /* calls refused for want of space, as the log has told */

	int64_t renewed_us; /* monotonic: when somebody asked for a certificate and got it; 0: never
			     */

	bool membership_busy;	 /* a change of the Raft configuration is under way */
	struct member_step step; /* on the leader: what is done, or what it waits for */
	int64_t step_since_us;
	struct {
		uint64_t node;
		int64_t since_us; /* monotonic */
	} gone[64];		  /* by node modulo 64: since when it is known to be removed */
	bool recovery_told;	  /* nothing to tell, or it is in the audit log */
	bool recovery_telling;
	bool removed;	/* the catalogue says that this node is no member any more */
	bool announced; /* NodeUpdate with our address and version was proposed */
	struct daemon_peer peers[DAEMON_PEERS_MAX];
	size_t peer_count;
	struct daemon_setup
		*setup;		   /* owned: keys and request of a join that was not answered yet */
	atomic_bool setup_busy;	   /* an init or join is under way */
	struct daemon_tell *tells; /* borrowed: API workers that wait for an answer (tell.c) */
	int stop_step;
	uv_work_t stop_work;
	/* Owned; taken over by stop.c, so that the loop finds them no more while they end. */
	struct et_capture *stop_capture;
	struct et_mover *stop_mover;
};

/* start.c: bring up everything that needs an identity. */
int daemon_start_member(struct et_daemon *d, struct et_error *reterr) ET_MUST_CHECK;
/* limits.sync-rate, as it is now (0: none), for the links to all other sites. */
void daemon_set_rates(struct et_daemon *d);
/* daemon.c: the API serves the whole cluster from here on. */
int daemon_attach_api(struct et_daemon *d, struct et_error *reterr) ET_MUST_CHECK;
/* Journal and events; without a proposer what is told stays in the journal. */
int daemon_open_journal(struct et_daemon *d, struct et_error *reterr) ET_MUST_CHECK;
int daemon_start_capture(struct et_daemon *d, const struct et_keeper_sealing *pick,
			 struct et_error *reterr) ET_MUST_CHECK;
/* locked.c: d->locked says why the root does not open. Names and number for what follows; an error:
 * this node cannot record so, and the reason is that of d->locked. */
int daemon_peek_locked(struct et_daemon *d, struct et_error *reterr) ET_MUST_CHECK;
int daemon_start_locked(struct et_daemon *d, struct et_error *reterr) ET_MUST_CHECK;
/* Start capture when the catalogue knows an active KEK; otherwise later. */
void daemon_try_capture(struct et_daemon *d);

/* stop.c: take everything down, in order; the loop ends then. */
void daemon_stop(struct et_daemon *d, int exit_code);

/* store.c: the media folder and its UUID; the state folder's subfolders. */
int daemon_open_store(struct et_daemon *d, struct et_error *reterr) ET_MUST_CHECK;

/* keys.c: when is nothing left here that was sealed to an earlier KEK version? Each second. */
void daemon_watch_keys(struct et_daemon *d);
/* What this node seals to now: what a CA that it trusts has signed, and not before the version that
 * it has promised to seal to. false: nothing yet. */
bool daemon_keys_find(struct et_daemon *d, struct et_keeper_sealing *ret);

/* setup.c: cluster init and join, from the API (any thread; they wait for the main loop). */
int daemon_setup_init(struct et_daemon *d, const struct et_api_init *request,
		      struct et_api_init_answer *ret, struct et_error *reterr);
int daemon_setup_join(struct et_daemon *d, const char *token, const char *address,
		      uint64_t *ret_node, struct et_error *reterr);

/* A cluster init that was begun and not finished lies in the identity folder. */
bool daemon_setup_unfinished(const struct et_daemon *d);
void daemon_setup_release(struct et_daemon *d);

/* membership.c: the leader makes Raft's configuration follow the catalogue, a step at a time. */
void daemon_reconcile_members(struct et_daemon *d);
/* recover.c: the audit event of a recovery, first thing after it. */
void daemon_tell_recovery(struct et_daemon *d);
/* Do what the catalogue says of this node itself: draining, removal. */
void daemon_obey(struct et_daemon *d);
/* Add to this node's status what the leader knows of Raft's members and of the change under way. */
void daemon_add_membership(struct et_daemon *d, const struct et_catalog_status *status,
			   json_t *object);
/* Tell the catalogue our present address, version and store. */
void daemon_announce(struct et_daemon *d);

/* status.c: what this node knows of itself, and what the others said. */
void daemon_poll_peers(struct et_daemon *d);
void daemon_serve_status(struct et_daemon *d);
json_t *daemon_own_status(struct et_daemon *d);
/* replication.c: what this node's queue and its scrub are, into its status and its codes. */
void daemon_add_replication(const struct et_daemon *d, const struct et_sync_status *st,
			    json_t *object, json_t *codes);
/* "scrub", "scrub-stop", "repair" of ask.c's questions: *ret is {"done": BOOL, "pass": N}. */
int daemon_do_replication(struct et_daemon *d, const json_t *question, json_t **ret,
			  struct et_error *reterr) ET_MUST_CHECK;
/* Each second: calls that were refused for want of space are told in the log. */
void daemon_watch_capture(struct et_daemon *d);
void daemon_release_peers(struct et_daemon *d);

/* metrics.c: for et_api_backend.metrics, on API workers. */
void daemon_metrics(void *arg, struct et_buffer *out);

/* backend.c: what the API asks of the daemon. */
void daemon_fill_backend(struct et_daemon *d, struct et_api_backend *ret);

/* tell.c: a create command of the API, into the journal and towards the catalogue. */
int daemon_tell(void *arg, Et__Command *command, struct et_api_told *ret,
		struct et_error *reterr) ET_MUST_CHECK;

/* agents.c: who uses which number, for the recorder's rules. Now; and each second, if it changed.
 */
void daemon_tell_agents(struct et_daemon *d);
void daemon_watch_agents(struct et_daemon *d);

/* late.c: on API workers. */
int daemon_late_keys(void *arg, const struct et_api_late_keys *request,
		     struct et_api_late_keys_kept *ret, struct et_error *reterr);

/* ask.c: for et_api_backend.ask, on API workers; and what other members ask. */
int daemon_ask(void *arg, uint64_t node, const char *address, const json_t *question, json_t **ret,
	       struct et_error *reterr);
void daemon_serve_questions(struct et_daemon *d);

/* picture.c: on the loop. New objects. */
json_t *daemon_time_json(int64_t us); /* RFC 3339; null for 0 */
json_t *daemon_config_json(struct et_daemon *d);
json_t *daemon_capture_json(struct et_daemon *d, size_t calls); /* at most so many of them */
json_t *daemon_call_json(const Et__Recording *r);		/* a call in progress, in short */
/* status.c: calls by the rule that fired. */
json_t *daemon_rule_calls(const struct et_rules *rules, const struct et_capture_metrics *m);

/* reload.c: SIGHUP. What can change while it runs is taken from the file, the rest is told. */
void daemon_reload(struct et_daemon *d);
/* Read the configuration (blocks). On success ret->list is the caller's. As et_config_load(). */
int daemon_read_config(const char *path, struct et_config *config, struct daemon_settings *ret,
		       struct et_error *reterr) ET_MUST_CHECK;
/* Read the operator's certificate for HTTPS, off the loop, and let the API show it. `fn` runs on
 * the loop, once, perhaps inside the call. ET_ENOTFOUND: there is none; with another code the one
 * before stays. */
typedef void daemon_certificate_fn(void *arg, int code, int64_t not_after_us, const char *why);
void daemon_read_certificate(struct et_daemon *d, daemon_certificate_fn *fn, void *arg);

/* A view, as a command has it. */
static inline ProtobufCBinaryData daemon_bytes(const uint8_t *data, size_t size)
{
	return (ProtobufCBinaryData){ size, (uint8_t *)(uintptr_t)data };
}

/* sealer.c: on API workers. */
struct daemon_sealer {
	struct et_identity identity;  /* owned; node 0: not asked yet */
	struct et_keeper_sealing kek; /* of now */
	uint32_t kek_id;
};
/* Zeroed before; asked again it has the KEK of then. ET_EUNINITIALISED, ET_ECLOSED. */
int daemon_sealer_ask(struct et_daemon *d, struct daemon_sealer *s) ET_MUST_CHECK;

/* What the catalogue is told of a tape that was sealed, beside its root. Views into itself. */
struct daemon_hash {
	uint8_t bytes[32];
	ProtobufCBinaryData seal;   /* from schema 3 on; empty before, */
	ProtobufCBinaryData object; /* when it is the SHA-256 of the file; else empty */
};
/* Under this committed schema, of the tape at `path`, which has that seal hash. The file is read
 * when the schema is an older one. Any thread. */
int daemon_hash_of(uint32_t schema, const char *path, const uint8_t seal_hash[32],
		   struct daemon_hash *ret, struct et_error *reterr) ET_MUST_CHECK;

/* import.c: on API workers. What a killed process left is swept before the API serves. */
int daemon_import(void *arg, const struct et_api_import *request, struct et_api_imported *ret,
		  struct et_error *reterr);
void daemon_import_sweep(struct et_daemon *d);

/* keep.c: on API workers. */
int daemon_keep(void *arg, const struct et_api_keep *request, struct et_api_kept *ret,
		struct et_error *reterr);
/* pause.c: on API workers. */
int daemon_pause(void *arg, const struct et_api_pause *request, struct et_api_paused *ret,
		 struct et_error *reterr);
/* tell.c: does this code of daemon_tell() say that apply refused the command? It changed nothing
 * then, and will not. After any other failure the journal may have it. */
bool daemon_is_refusal(int code);
/* On the loop: a journalled command was answered for good. */
void daemon_tell_answered(struct et_daemon *d, const Et__Command *command, int code,
			  const Et__Result *result);
/* backup.c: the ledger of erasures, and backups for the API. */
int daemon_backup_start(struct et_daemon *d, struct et_error *reterr) ET_MUST_CHECK;
void daemon_backup_stop(struct et_daemon *d); /* waits for its thread */
void daemon_backup_release(struct et_daemon *d);
void daemon_backup_wake(struct et_daemon *d); /* something was erased */
/* Any thread that may wait: durable in this node's ledgers. */
int daemon_backup_erased(struct et_daemon *d, const uint8_t recording[16],
			 struct et_error *reterr) ET_MUST_CHECK;
int daemon_identity_copy(struct et_daemon *d, struct et_identity *ret) ET_MUST_CHECK;

/* pitr.c: the log goes into a folder, entry by entry. */
int daemon_pitr_make(struct et_daemon *d, struct et_error *reterr) ET_MUST_CHECK;
int daemon_pitr_start(struct et_daemon *d, struct et_error *reterr) ET_MUST_CHECK;
void daemon_pitr_stop(struct et_daemon *d); /* waits for its thread */
void daemon_pitr_release(struct et_daemon *d);
void daemon_pitr_entry(struct et_daemon *d, uint64_t index, struct et_view entry,
		       const uint8_t digest[32]); /* the state thread */

int daemon_backup_write(struct et_daemon *d, et_backup_sink sink, void *arg,
			struct et_error *reterr) ET_MUST_CHECK;

/* wait.c: another thread waits for the loop. */
struct daemon_waiter {
	pthread_mutex_t mutex;
	pthread_cond_t woken;
	bool done;
	int code;
	struct et_error error; /* who wakes may fill it before */
};
void daemon_waiter_init(struct daemon_waiter *w);
void daemon_waiter_wake(struct daemon_waiter *w, int code); /* once */
int daemon_waiter_wait(struct daemon_waiter *w);	    /* its code */
void daemon_waiter_destroy(struct daemon_waiter *w);
/* Run fn(arg) on the main loop and wait for it; from another thread. ET_ECLOSED: going down. */
int daemon_on_loop(struct et_daemon *d, void (*fn)(void *arg), void *arg) ET_MUST_CHECK;

#endif
