/* Inside node/api: a call, from its connection to its answer, and what handlers use.
 *
 *   API thread                          worker
 *   head read -> route, body -> submit ─▶ api_dispatch(): authenticate, handler
 *   writeable <─ ready queue <─────────── api_begin(), api_write()..., api_end()
 *
 * A call is shared by the two and counted; `mutex` guards what both touch. The connection may go
 * away at any time: `gone` is then set, api_write() says ET_ECLOSED, and the last one frees.
 *
 * Threads: noted at each part. */
#ifndef ET_NODE_API_API_INTERNAL_H
#define ET_NODE_API_API_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/api/api.h"
#include "node/api/pieces_internal.h"
#include "node/api/request.h"
#include "node/api/survey_internal.h"
#include "node/base/queue.h"

#define API_QUEUED_MAX (4 * 1024 * 1024) /* bytes of an answer that its client has not taken */
#define API_STALL_S 30			 /* a client that takes nothing for so long is cut */
#define API_WAITING_MAX 128		 /* calls that wait for a worker, each pool */
#define API_TICKETS_MAX 1024
#define API_CHANGES_MAX 8192
#define API_PROPOSE_MS 10000
#define API_INDEX_WAIT_MS 1000 /* for a search; typically it is a few */

/* What a caller may do. */
enum api_right {
	API_READ = 1,	  /* see the catalogue */
	API_LISTEN = 2,	  /* hear recordings */
	API_AUDIT = 4,	  /* read the audit log */
	API_OPERATE = 8,  /* verify, plan */
	API_ADMIN = 16,	  /* change policy, nodes, tokens; apply plans */
	API_TELL = 32,	  /* facts, tags, notes, agents */
	API_UNMASK = 64,  /* hear and export what a rule masks */
	API_IMPORT = 128, /* make recordings of files */
	API_ALL = 255,
};

struct api_call;

struct api_route {
	const char *method;
	const char *path; /* "/v1/recordings/ * /audio" without the spaces: a star is one segment */
	unsigned rights;  /* all of them; 0: anyone */
	bool slow;	  /* for the slow pool */
	bool fresh;	  /* answers before there is a cluster too */
	bool local;	  /* on the Unix socket only */
	int (*run)(struct api_call *call, struct et_error *reterr);
};

extern const struct api_route api_routes[]; /* routes.c; ends with a NULL method */

struct api_header {
	const char *name; /* static, with its colon, lower-case */
	char value[256];
};
#define API_HEADERS_MAX 12

struct api_call {
	struct api_call *next;	    /* in a pool's queue */
	struct et_queue_node ready; /* in the API thread's queue */
	struct et_api *api;	    /* borrowed */
	atomic_int refs;

	/* Of the request: written before it is submitted, read only after. */
	const struct api_route *route;
	struct api_request request;
	struct et_buffer body;	 /* owned; may hold a token: wiped */
	char authorization[128]; /* wiped */
	char range[64];
	char expect_cluster[64];
	char if_none_match[80];
	bool is_local; /* the Unix socket */
	uid_t uid;     /* its peer */

	/* Of the worker. */
	unsigned rights;
	char principal[96];	    /* "local:uid=0", "token:NAME" */
	struct et_state_view *view; /* owned; NULL until api_view() */
	bool indexed;		    /* the view is for a search, see api_view_indexed() */
	const char *read;	    /* "local" or "linearizable" */
	uint64_t read_index;	    /* of the view: all entries up to it */
	int64_t read_age_ms;	    /* 0 for linearizable; -1: no leader was ever heard */
	struct api_header headers[API_HEADERS_MAX];
	size_t header_count;

	/* Of the API thread. */
	struct lws *wsi; /* borrowed; NULL: the connection is gone */
	bool head_sent;
	bool is_held; /* its reading stands still: follows `held` */

	/* Guarded by mutex. */
	pthread_mutex_t mutex;
	pthread_cond_t taken; /* the client took something, or is gone */
	struct api_pieces out;
	bool queued_ready; /* stands in the ready queue */
	bool begun;	   /* status, type and length are valid */
	bool ended;	   /* no more pieces will come */
	bool broken;	   /* the answer cannot be completed: cut the connection */
	bool streams;	   /* the body is read as it comes: stream.c; what follows is of it */
	bool held;	   /* the client is to wait: enough is here */
	uint64_t in_left;  /* bytes still to come */
	struct api_pieces in;
	pthread_cond_t came; /* there is more of it, or no more will come */
	bool gone;
	unsigned status;
	char type[64];
	int64_t length; /* of the body; -1: not known */
};

/* ---- call.c: any thread ---- */
struct api_call *api_call_new(struct et_api *api);
void api_call_ref(struct api_call *call);
void api_call_unref(struct api_call *call);
void api_call_gone(struct api_call *call); /* API thread */

/* ---- Answering: worker. Each but api_write() once. ---- */
void api_header(struct api_call *call, const char *name, const char *fmt, ...) ET_PRINTF(3, 4);
void api_begin(struct api_call *call, unsigned status, const char *type, int64_t length);
/* Waits while the client has too much before it. ET_ECLOSED: it is gone or the API stops. */
int api_write(struct api_call *call, const void *data, size_t size);
void api_end(struct api_call *call);
void api_break(struct api_call *call); /* after api_begin(): the rest cannot be given */
/* The whole answer; takes `document` over and adds "schema". Returns 0. */
int api_json(struct api_call *call, unsigned status, json_t *document);
void api_answer_error(struct api_call *call, int code, const struct et_error *e);
unsigned api_http_status(int code);

/* ---- stream.c: a body that is read as it comes, for the one route that takes files ---- */
bool api_streams(const struct api_route *route);
/* API thread: `size` bytes will come. */
void api_stream_begin(struct api_call *call, uint64_t size);
/* API thread: 0 or -ENOMEM. When enough is here it holds the client, and tells the API thread. */
int api_stream_put(struct api_call *call, const void *data, size_t size) ET_MUST_CHECK;
/* API thread: is the client to wait? */
bool api_stream_is_held(struct api_call *call);
/* Worker: bytes that were not read yet, here or still to come. */
uint64_t api_stream_left(struct api_call *call);
/* Worker: 1 to `size` bytes; 0: that was all. ET_ECLOSED: the client is gone, or the API stops. */
ssize_t api_read(struct api_call *call, void *data, size_t size);
/* Under the call's mutex: tell the API thread (call.c). */
void api_notify(struct api_call *call);

/* ---- pool.c ---- */
#define API_POOL_MAX 8
/* Calls that wait for one of several workers (a queue of node/base has one receiver). */
struct api_pool {
	pthread_mutex_t mutex;
	pthread_cond_t filled;
	struct api_call *first; /* owned: one reference each */
	struct api_call *last;
	size_t count;
	bool closed;
	pthread_t threads[API_POOL_MAX];
	unsigned thread_count;
};
int api_pool_start(struct api_pool *pool, unsigned threads) ET_MUST_CHECK;
/* Takes a reference. ET_EBUSY: too many wait; ET_ECLOSED. */
int api_pool_push(struct api_pool *pool, struct api_call *call) ET_MUST_CHECK;
void api_pool_close(struct api_pool *pool); /* what waits is dropped */
void api_pool_join(struct api_pool *pool);  /* waits for the workers */

/* Wait for the main loop or another service. One object a question, shared by who asks and who
 * answers: whoever is last frees it. */
struct api_wait {
	pthread_mutex_t mutex;
	pthread_cond_t woken;
	atomic_int refs;
	bool done;
	bool cancelled;
	bool seen; /* of the one who asked: the answer came in time, its fields are valid */
	int code;
	uint64_t number; /* from here on: what the answer says */
	uint64_t index;
	uint8_t id[16];
	struct et_error error;
	char text[1024];
	struct et_secret *secret;     /* owned */
	json_t *list;		      /* owned by who asks, after done; see recordings.c */
	struct api_wait *next, *prev; /* in et_api.waits, guarded by et_api.mutex */
};
struct api_wait *api_wait_new(struct et_api *api);
void api_wait_answer(struct api_wait *w, int code); /* once, by who answers; unrefs */
/* The code; ET_ECLOSED: the API stops; -ETIMEDOUT. The caller then reads fields and unrefs. */
int api_wait_for(struct et_api *api, struct api_wait *w, int timeout_ms);
void api_wait_unref(struct api_wait *w);
void api_waits_cancel(struct et_api *api);

/* ---- access.c: worker ---- */
int api_authenticate(struct api_call *call, struct et_error *reterr) ET_MUST_CHECK;
/* The view of this call: local, or linearizable with ?read=linearizable. Adds the headers that say
 * so; api_json() says the same under "read". */
int api_view(struct api_call *call, struct et_state_view **ret,
	     struct et_error *reterr) ET_MUST_CHECK;
/* As api_view(), for searches: waits up to API_INDEX_WAIT_MS until the index, which is written
 * behind apply, has what is applied. If that is not enough, searches say that they are not
 * complete.
 */
int api_view_indexed(struct api_call *call, struct et_state_view **ret,
		     struct et_error *reterr) ET_MUST_CHECK;
/* A view in which everything is that was committed before the call, and for searches, too; whatever
 * was open is closed. */
int api_view_fresh(struct api_call *call, struct et_state_view **ret,
		   struct et_error *reterr) ET_MUST_CHECK;
/* Before long work: a view must not be held for minutes. */
void api_view_release(struct api_call *call);
/* Commit a command on behalf of the caller: fills op, principal, reason. *ret (may be NULL) gets
 * number, id and index of the result. */
struct api_result {
	uint64_t number;
	uint64_t index;
	uint8_t id[16];
};
int api_propose(struct api_call *call, Et__Command *command, const char *reason,
		struct api_result *ret, struct et_error *reterr) ET_MUST_CHECK;
/* Commit an audit event; *ret_number is its number. */
int api_audit(struct api_call *call, const char *action, const char *target, const char *detail,
	      const char *reason, uint64_t *ret_number, struct et_error *reterr) ET_MUST_CHECK;
/* The body as a JSON object with only these keys; an empty body is {}. */
int api_body(struct api_call *call, const char *const *known, size_t known_count, json_t **ret,
	     struct et_error *reterr) ET_MUST_CHECK;
/* The UUID in the path's star. */
int api_path_id(struct api_call *call, uint8_t ret[16], struct et_error *reterr) ET_MUST_CHECK;
/* The reason that must be in a body: a view into it. */
int api_need_reason(const json_t *body, const char **ret, struct et_error *reterr) ET_MUST_CHECK;
/* For what is for good: the reason, and the cluster's name, typed. */
int api_need_confirm(struct api_call *call, const json_t *body, const char **ret_reason,
		     struct et_error *reterr) ET_MUST_CHECK;
/* ET_EPOLICY when this node hears no majority. */
int api_need_quorum(struct api_call *call, struct et_error *reterr) ET_MUST_CHECK;
/* The plan in the path's star, to erase or of the archive: the caller's. */
int api_plan_find(struct api_call *call, bool erase, Et__Plan **ret,
		  struct et_error *reterr) ET_MUST_CHECK;
/* Of the policy in force; 0: there is none. */
uint32_t api_policy_revision(const struct et_state_view *v, const char *name);
/* Answer with the policy `name`, which people call the `word` policy. */
int api_policy_answer(struct api_call *call, const char *name, const char *word,
		      struct et_error *reterr) ET_MUST_CHECK;
/* Whoever holds a ticket may hear its recording until it ends: an <audio> element sends no
 * Authorization header. Every use stands under one audit event. */
struct api_ticket {
	uint8_t id[16]; /* random */
	uint8_t recording[16];
	uint64_t audit;
	int64_t expires_us; /* monotonic; 0: free */
	char principal[96];
};

/* ---- json.c: pieces of answers; views in, new values out ---- */
struct api_nodes { /* names of nodes by id */
	struct {
		uint64_t id;
		char name[64];
		char site[64];
	} nodes[256];
	size_t count;
};
void api_nodes_load(const struct et_state_view *v, struct api_nodes *ret);
const char *api_node_name(const struct api_nodes *nodes, uint64_t id); /* "" when unknown */
json_t *api_time(int64_t us);					       /* null for 0 */
json_t *api_uuid(const ProtobufCBinaryData *id);
json_t *api_segment_name(uint32_t generation, uint32_t segment); /* "g1-s2" */
json_t *api_exempt_json(const Et__Plan *plan); /* [{recording, why}] of a plan to erase */
json_t *api_recording_json(const struct et_state_view *v, const struct api_nodes *nodes,
			   const Et__Recording *r, bool pending, bool details);
json_t *api_copy_json(const struct api_nodes *nodes, const Et__Copy *copy);
json_t *api_audit_json(const Et__AuditEvent *e);
/* enum et_keys_state as a word. */
const char *api_keys_word(uint32_t state);
json_t *api_policy_json(const Et__Policy *p);

/* ---- The process ---- */
struct et_api {
	struct et_api_config config; /* text is owned (see api.c) */
	char *texts;		     /* owned: what config's pointers point into */

	/* Services: written once on the main loop, under mutex, before `attached`. */
	struct et_api_services services;
	atomic_bool attached;
	atomic_bool stopping;

	/* API thread. */
	struct lws_context *context;
	struct lws_vhost *https;
	void *ssl_ctx;			      /* SSL_CTX of https; borrowed from lws */
	struct et_api_certificate *operators; /* owned; API thread: what HTTPS shows, or NULL */
	pthread_t thread;
	bool thread_runs;
	struct et_queue ready;
	unsigned connections;
	int64_t started_us;

	struct api_pool quick;
	struct api_pool slow;

	pthread_mutex_t mutex; /* for what follows */
	pthread_cond_t listening;
	struct et_identity identity; /* owned; valid with has_identity */
	bool has_identity;
	bool identity_changed;
	struct et_api_certificate *given; /* owned: to be taken as `operators`; or NULL */
	bool want_https;
	int https_code; /* 1: under way; 0: listens; negative */
	uint16_t port;
	struct api_wait *waits;
	struct api_ticket tickets[API_TICKETS_MAX];
	struct {
		uint64_t index;
		char name[24];
		char target[64];
	} changes[API_CHANGES_MAX]; /* ring of what was applied last */
	uint64_t change_count;

	struct survey survey;

	pthread_mutex_t late_keys; /* held while keys are tried and kept (late_keys.c) */

	atomic_uint imports; /* under way */
	atomic_uint_fast64_t requests;
	atomic_uint_fast64_t errors;
	atomic_uint_fast64_t denied;

	struct et_post closed_post;
	void (*closed)(void *arg);
	void *closed_arg;
	pthread_t stopper;
};

/* server.c: API thread. */
int api_server_start(struct et_api *api, struct et_error *reterr) ET_MUST_CHECK;
void api_server_wake(struct et_api *api); /* any thread */
void api_server_stop(struct et_api *api); /* waits for the thread */
/* operator.c: has the operator given a certificate for HTTPS? Any thread. */
bool api_certificate_is_given(const struct et_api *api);
/* API thread: HTTPS (an SSL_CTX) shows it from here on. Reads the files. ET_EUNTRUSTED. */
int api_certificate_start(struct et_api *api, void *ssl_ctx, struct et_error *reterr) ET_MUST_CHECK;
/* API thread, under the mutex: what was given since is shown. */
void api_certificate_take(struct et_api *api);
/* routes.c: worker. */
const struct api_route *api_route_find(const char *method, const char *path, bool *ret_known);
void api_dispatch(struct api_call *call);

/* ---- Handlers ---- */
typedef int api_handler(struct api_call *call, struct et_error *reterr);
api_handler api_healthz, api_metrics, api_status, api_doctor, api_rebuild_index, api_cluster,
	api_nodes_list, api_sites, api_capture; /* status.c */
api_handler api_init_cluster, api_join, api_node_token, api_token_create, api_tokens,
	api_token_revoke, api_certs, api_audit_list, api_audit_verify, api_changes; /* admin.c */
api_handler api_site_set, api_site_removal, api_site_remove;			    /* sites.c */
api_handler api_config, api_capture_now, api_cert_renew;			    /* ask.c */
api_handler api_node_show, api_node_roles, api_node_drain, api_node_holdings,
	api_node_remove;					  /* members.c */
api_handler api_raft_peers, api_raft_transfer, api_raft_snapshot; /* raft.c */
api_handler api_recordings, api_recording, api_recording_where,
	api_recording_verify; /* recordings.c */
api_handler api_facts_add, api_tags_set, api_note_add, api_told_get, api_agent_set,
	api_agents;					    /* told.c */
api_handler api_ticket, api_audio, api_peaks, api_original; /* audio.c, sound.c, original.c */
api_handler api_recording_proof;			    /* proof.c */
api_handler api_policy_get, api_policy_put, api_plan_make, api_plan_get, api_plan_apply,
	api_archive_status, api_archive_verify; /* archive.c */
api_handler api_recording_why;			/* why.c */
api_handler api_archive_restore;		/* archive.c */
api_handler api_policy_revisions, api_policy_at, api_retention_revisions,
	api_retention_at;					   /* policies.c */
api_handler api_targets, api_target_test;			   /* targets.c */
api_handler api_upgrade_plan, api_upgrade_apply, api_schema_probe; /* upgrade.c */
api_handler api_keys, api_key_rotate, api_key_schedule, api_key_set, api_key_touches,
	api_key_escrow;						/* keys.c */
api_handler api_recording_join, api_recording_split;		/* legs.c */
api_handler api_ca, api_ca_rotate, api_ca_abort, api_ca_finish; /* ca.c */
api_handler api_backup;						/* backup.c */
api_handler api_recording_erase, api_erasure_plan, api_erasure_get, api_erasure_apply; /* erase.c */
api_handler api_recording_redact;		       /* redact.c */
api_handler api_recording_keys;			       /* late_keys.c */
api_handler api_import, api_import_find;	       /* import.c */
api_handler api_recording_pause, api_recording_resume; /* pause.c */
api_handler api_recording_keep, api_capture_keep;      /* keep.c */
/* pause.c: an event that is durable here, and in the chain as soon as it can be: no quorum. */
int api_audit_durably(struct api_call *call, const char *action, const char *target,
		      const char *detail, const char *reason, struct et_api_told *ret,
		      struct et_error *reterr);
json_t *api_audited_json(const struct et_api_told *told);	      /* {pending, index} of it */
api_handler api_erasure_certificate;				      /* certificate.c */
api_handler api_holds, api_hold_add, api_hold_release;		      /* holds.c */
api_handler api_retention_get, api_retention_put, api_retention_plan; /* retention.c */
api_handler api_replication, api_replication_queue, api_limits, api_limit_set,
	api_limit_remove;						   /* replication.c */
api_handler api_scrub, api_scrub_start, api_repair_plan, api_repair_apply; /* repair.c */
api_handler api_console, api_openapi;					   /* console.c */

/* admin.c: what a command was about, for the feed of changes: "recording UUID", "node 3", "". */
void api_change_target(const Et__Command *command, const Et__Result *result, char *ret,
		       size_t size);
/* told.c: the type of a fact by its name; -1: there is none of that name. */
int api_fact_type(const char *name);
/* told.c: what counts of what was told of a recording, into `o`. */
void api_told_json(const struct et_state_view *v, const Et__Recording *r, json_t *o);
/* recordings.c: ids (16 bytes each) of all committed recordings that fit the call's parameters,
 * which are those of a search, at most `most`; *ret_more: there are more. A call without any
 * condition is refused, and so is an index that is behind (ET_EBUSY). */
int api_recordings_match(struct api_call *call, size_t most, struct et_buffer *ids, bool *ret_more,
			 struct et_error *reterr) ET_MUST_CHECK;
/* holds.c: the holds that stand over a recording, as an array. */
json_t *api_holds_over(const struct et_state_view *v, const Et__Recording *r);
/* retention.c: what retention says of a recording: {since, keep_until, keep_rule, erase_at,
 * erase_rule, exempt}. */
json_t *api_retention_json(const struct et_state_view *v, const Et__Recording *r,
			   int64_t cluster_time_us);
/* recordings.c: the record of a recording, committed or pending here. */
int api_recording_find(struct api_call *call, const uint8_t id[16], Et__Recording **ret,
		       bool *ret_pending, struct et_error *reterr) ET_MUST_CHECK;
/* admin.c: the text of a secret, for the one who asked for it. */
json_t *api_secret_json(const struct et_secret *s);
/* keys.c: what the life of keys shows. */
void api_codes_of_keys(struct api_call *call, json_t *codes);
void api_codes_of_ca(struct api_call *call, json_t *codes);
/* json.c: add a certificate (DER) as PEM (RFC 7468). */
void api_pem(const ProtobufCBinaryData *der, struct et_buffer *ret);

/* Checks that the services are there. */
int api_need(const void *service, const char *name, struct et_error *reterr) ET_MUST_CHECK;

#endif
