#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/keeper/keeper_internal.h"

#define ROUND_MS 10000

/* ---- Operations under way ---- */

static void keeper_maybe_closed(struct et_keeper *k)
{
	if (!k->stopping || k->pending > 0 || k->timers_closed < 3) {
		return;
	}
	void (*closed)(void *arg) = k->closed;
	void *arg = k->closed_arg;

	verify_free(k->verify);
	rewrap_free(k->rewrap);
	generations_free(k->generations);
	node_keys_release(&k->keys);
	(void)et_secret_free(k->root);
	et_identity_release(&k->identity);
	free(k);
	if (closed != NULL) {
		closed(arg);
	}
}

void keeper_begin(struct et_keeper *k)
{
	k->pending++;
}

void keeper_end(struct et_keeper *k)
{
	et_assert(k->pending > 0);
	k->pending--;
	keeper_maybe_closed(k);
}

struct deferred {
	struct et_post post;
	struct et_keeper *k;
	void (*fn)(void *arg);
	void *arg;
};

static void on_deferred(struct et_post *post)
{
	struct deferred *d = ET_CONTAINER_OF(post, struct deferred, post);
	struct et_keeper *k = d->k;
	void (*fn)(void *arg) = d->fn;
	void *arg = d->arg;

	free(d);
	fn(arg);
	keeper_end(k);
}

void keeper_defer(struct et_keeper *k, void (*fn)(void *arg), void *arg)
{
	struct deferred *d = calloc(1, sizeof(*d));

	et_assert(d != NULL);
	*d = (struct deferred){ .post = { .fn = on_deferred }, .k = k, .fn = fn, .arg = arg };
	keeper_begin(k);
	int rc = et_post(k->postbox, &d->post);
	et_assert(rc == 0); /* A loop with 65,536 messages waiting is stuck: do not go on. */
}

/* ---- Vault nodes ---- */

bool node_is_vault(const Et__Node *node)
{
	return node->state != ET__NODE_STATE__REMOVED && node->state != ET__NODE_STATE__REVOKED &&
	       (roles_of(node->n_roles, node->roles) & ET_ROLE_VAULT) != 0;
}

struct vault_search {
	struct et_keeper *k;
	const struct et_state_view *v;
	const char *secret;
	struct vault *list;
	size_t count;
};

static int vault_look(void *arg, const Et__Node *node)
{
	struct vault_search *s = arg;

	if (node->id == s->k->identity.node || s->count >= VAULTS_MAX || !node_is_vault(node) ||
	    strlen(node->address) >= ET_ADDRESS_MAX ||
	    !et_state_has_grant(s->v, s->secret, node->id)) {
		return 0;
	}
	struct vault *vault = &s->list[s->count++];
	vault->node = node->id;
	memcpy(vault->address, node->address, strlen(node->address) + 1);
	vault->rank = (et_rpc_is_connected(s->k->tls, node->id) ? 2 : 0) +
		      (strcmp(node->site, s->k->identity.site) == 0 ? 1 : 0);
	return 0;
}

static int vault_compare(const void *a, const void *b)
{
	const struct vault *x = a;
	const struct vault *y = b;

	if (x->rank != y->rank) {
		return y->rank - x->rank;
	}
	return x->node < y->node ? -1 : x->node > y->node;
}

size_t keeper_vaults(struct et_keeper *k, const struct et_state_view *v, const char *secret,
		     struct vault ret[VAULTS_MAX])
{
	struct vault_search s = { k, v, secret, ret, 0 };

	(void)et_state_each_node(v, vault_look, &s);
	qsort(ret, s.count, sizeof(*ret), vault_compare);
	return s.count;
}

struct ask {
	struct et_keeper *k;
	struct vault vaults[VAULTS_MAX];
	size_t count;
	size_t next;
	enum et_rpc_method method;
	uint8_t *body; /* owned */
	size_t body_size;
	uint32_t timeout_ms;
	int code; /* of the last vault */
	ask_fn fn;
	void *arg;
};

static void ask_next(void *arg);

static void ask_finish(struct ask *a, int code, struct et_view body)
{
	struct et_keeper *k = a->k;

	a->fn(a->arg, code, body);
	free(a->body);
	free(a);
	keeper_end(k);
}

static void on_asked(void *arg, int code, struct et_view body)
{
	struct ask *a = arg;
	bool another = code == ET_EUNREACHABLE || code == ET_EUNKNOWN || code == ET_EUNTRUSTED ||
		       code == ET_ENOKEY || code == ET_EUNSUPPORTED || code == ET_ELIMIT;

	if (another && a->next < a->count && !a->k->stopping) {
		a->code = code;
		ask_next(a);
		return;
	}
	ask_finish(a, code, body);
}

static void ask_next(void *arg)
{
	struct ask *a = arg;

	if (a->next >= a->count || a->k->stopping) { /* There is nobody to ask. */
		ask_finish(a, a->k->stopping ? ET_ECLOSED : a->code, (struct et_view){ NULL, 0 });
		return;
	}
	const struct vault *vault = &a->vaults[a->next++];
	et_rpc_call(a->k->tls, vault->node, vault->address, a->method, a->body, a->body_size,
		    a->timeout_ms, on_asked, a);
}

void keeper_ask_vaults(struct et_keeper *k, const char *secret, enum et_rpc_method method,
		       struct et_view body, uint32_t timeout_ms, ask_fn fn, void *arg)
{
	struct ask *a = calloc(1, sizeof(*a));

	et_assert(a != NULL);
	*a = (struct ask){ .k = k,
			   .method = method,
			   .body = malloc(body.size + 1),
			   .body_size = body.size,
			   .timeout_ms = timeout_ms,
			   .code = ET_ENOKEY,
			   .fn = fn,
			   .arg = arg };
	et_assert(a->body != NULL);
	memcpy(a->body, body.data, body.size);
	struct et_state_view *v = et_state_view_open(k->state);
	a->count = keeper_vaults(k, v, secret, a->vaults);
	(void)et_state_view_close(v);
	keeper_begin(k);
	keeper_defer(k, ask_next, a);
}

void keeper_ask_issuers(struct et_keeper *k, enum et_rpc_method method, struct et_view body,
			uint32_t timeout_ms, ask_fn fn, void *arg)
{
	char name[SECRET_NAME_BYTES] = "ca";
	struct issuer issuer;

	struct et_state_view *v = et_state_view_open(k->state);
	if (issuer_find(v, &issuer, NULL) == 0) {
		memcpy(name, issuer.name, sizeof(name));
		issuer_release(&issuer);
	}
	(void)et_state_view_close(v);
	keeper_ask_vaults(k, name, method, body, timeout_ms, fn, arg);
}

/* ---- Health ---- */

struct health_search {
	const struct et_state_view *v;
	uint64_t self;
	uint32_t active;
	unsigned vaults; /* that hold the active KEK */
	bool self_is_vault;
	bool self_has_grant;
};

static int health_kek(void *arg, const Et__Kek *kek)
{
	struct health_search *s = arg;

	if (kek->state == ET__KEK_STATE__KEK_ACTIVE) {
		s->active = kek->version;
	}
	return 0;
}

static int health_node(void *arg, const Et__Node *node)
{
	struct health_search *s = arg;
	char name[SECRET_NAME_BYTES];

	if (!node_is_vault(node)) {
		return 0;
	}
	kek_secret_name(s->active, name);
	bool has = et_state_has_grant(s->v, name, node->id);
	s->vaults += has;
	if (node->id == s->self) {
		s->self_is_vault = true;
		s->self_has_grant = has;
	}
	return 0;
}

int64_t keeper_now_us(const struct et_keeper *k)
{
	struct et_catalog_status status;

	et_catalog_status(k->catalog, &status);
	return status.cluster_time_us > 0 ? status.cluster_time_us : et_clock_now_us();
}

static void health_round(struct et_keeper *k)
{
	struct et_state_view *v = et_state_view_open(k->state);
	struct health_search s = { .v = v, .self = k->identity.node };

	(void)et_state_each_kek(v, health_kek, &s);
	(void)et_state_each_node(v, health_node, &s);
	(void)et_state_view_close(v);
	atomic_store(&k->health.is_vault, s.self_is_vault);
	atomic_store(&k->health.vault_single, s.active != 0 && s.vaults < 2);
	atomic_store(&k->health.vault_without_grant,
		     s.active != 0 && s.self_is_vault && !s.self_has_grant);
	atomic_store(&k->health.cert_expired, k->not_after_us < keeper_now_us(k));
}

void keeper_note_certificate(struct et_keeper *k)
{
	struct et_cert_info info;

	if (et_cert_parse(view_of(&k->identity.cert), &info, NULL) == 0) {
		k->not_before_us = info.not_before_us;
		k->not_after_us = info.not_after_us;
		atomic_store(&k->health.cert_not_after_us, info.not_after_us);
		atomic_store(&k->health.cert_expired, info.not_after_us < keeper_now_us(k));
	}
}

void et_keeper_health(struct et_keeper *k, struct et_keeper_health *ret)
{
	*ret = (struct et_keeper_health){
		.cert_expired = atomic_load(&k->health.cert_expired),
		.root_on_disk = k->root_on_disk && atomic_load(&k->health.is_vault),
		.vault_single = atomic_load(&k->health.vault_single),
		.vault_without_grant = atomic_load(&k->health.vault_without_grant),
		.cert_not_after_us = atomic_load(&k->health.cert_not_after_us),
		.deks_opened = atomic_load(&k->health.deks_opened),
		.deks_refused = atomic_load(&k->health.deks_refused),
		.tapes_verified = atomic_load(&k->health.tapes_verified),
		.tapes_bad = atomic_load(&k->health.tapes_bad),
		.renewals = atomic_load(&k->health.renewals),
		.renewal_failures = atomic_load(&k->health.renewal_failures),
		.joins = atomic_load(&k->health.joins),
		.joins_refused = atomic_load(&k->health.joins_refused),
		.rewrapped = atomic_load(&k->health.rewrapped),
		.rewrap_failed = atomic_load(&k->health.rewrap_failed),
		.keys_wiped = atomic_load(&k->health.keys_wiped),
	};
}

/* ---- Start, rounds, stop ---- */

static void on_round(uv_timer_t *timer)
{
	struct et_keeper *k = timer->data;

	health_round(k);
	verify_round(k);
	grants_round(k);
}

static void on_linger(uv_timer_t *timer)
{
	struct et_keeper *k = timer->data;

	if (!k->stopping) {
		et_tls_recheck(k->tls);
	}
}

static bool folder_take(char ret[PATH_BYTES], const char *folder)
{
	int n = snprintf(ret, PATH_BYTES, "%s", folder != NULL ? folder : "");
	return n < PATH_BYTES;
}

static void keeper_abandon(struct et_keeper *k)
{
	verify_free(k->verify);
	rewrap_free(k->rewrap);
	generations_free(k->generations);
	node_keys_release(&k->keys);
	(void)et_secret_free(k->root);
	et_identity_release(&k->identity);
	free(k);
}

int et_keeper_start(const struct et_keeper_config *config, struct et_keeper **ret,
		    struct et_error *reterr)
{
	struct et_keeper *k = calloc(1, sizeof(*k));

	if (k == NULL) {
		return et_fail(reterr, -ENOMEM, "start the keeper");
	}
	k->loop = config->loop;
	k->postbox = config->postbox;
	k->catalog = config->catalog;
	k->state = et_catalog_state(config->catalog);
	k->tls = config->tls;
	k->root_on_disk = config->root_on_disk;
	k->cert_life_us = config->cert_life_us > 0 ? config->cert_life_us : CERT_LIFE_US;
	k->on_identity = config->on_identity;
	k->arg = config->arg;
	k->root = et_secret_copy(et_secret_bytes(config->root), et_secret_size(config->root));
	k->verify = verify_new(k);
	k->rewrap = rewrap_new(k);
	k->generations = generations_new(k);
	int rc = et_identity_copy(config->identity, &k->identity);
	if (rc < 0 || k->root == NULL || k->verify == NULL || k->rewrap == NULL ||
	    k->generations == NULL) {
		rc = et_fail(reterr, -ENOMEM, "start the keeper");
	} else if (!folder_take(k->state_folder, config->state_folder) ||
		   !folder_take(k->media_folder, config->media_folder)) {
		rc = et_fail(reterr, -ENAMETOOLONG, "start the keeper");
	}
	rc = rc < 0 ? rc : node_keys_load(k->state_folder, k->root, &k->keys, reterr);
	rc = rc < 0 ? rc : admit_serve(k, reterr);
	if (rc < 0) {
		keeper_abandon(k);
		return rc;
	}
	k->bundle_saved = true; /* that is where it came from */
	keeper_note_certificate(k);
	open_serve(k);
	renew_serve(k);
	(void)uv_timer_init(k->loop, &k->timer);
	(void)uv_timer_init(k->loop, &k->linger);
	k->timer.data = k->linger.data = k;
	(void)uv_timer_start(&k->timer, on_round, 100, ROUND_MS);
	rotate_start(k);
	health_round(k);
	*ret = k;
	return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct et_keeper *k = handle->data;

	k->timers_closed++;
	keeper_maybe_closed(k);
}

/* A request that comes when the keeper is going down. */
static void serve_closed(void *arg, const struct et_tls_peer *peer, struct et_view body,
			 struct et_rpc_reply *reply)
{
	(void)arg;
	(void)peer;
	(void)body;
	et_rpc_reply(reply, ET_EUNREACHABLE, NULL, 0);
}

void et_keeper_stop(struct et_keeper *k, void (*closed)(void *arg), void *arg)
{
	et_assert(!k->stopping);
	k->stopping = true;
	k->closed = closed;
	k->closed_arg = arg;
	et_rpc_serve(k->tls, ET_RPC_OPEN_DEK, serve_closed, NULL);
	et_rpc_serve(k->tls, ET_RPC_RENEW, serve_closed, NULL);
	et_rpc_serve(k->tls, ET_RPC_JOIN, serve_closed, NULL);
	if (et_join_serve(k->tls, NULL, NULL, NULL) < 0) {
		et_unreachable(); /* Taking a handler away needs nothing. */
	}
	uv_close((uv_handle_t *)&k->timer, on_timer_closed);
	uv_close((uv_handle_t *)&k->linger, on_timer_closed);
	uv_close((uv_handle_t *)&k->rotate_timer, on_timer_closed);
}

/* Copies that this node has got: a recovered tape may be among them. */
static void copies_look(struct et_keeper *k, const Et__CopyAdd *add)
{
	char place[32];

	if (!atomic_load(&k->health.is_vault)) {
		return;
	}
	(void)snprintf(place, sizeof(place), "node:%llu", (unsigned long long)k->identity.node);
	for (size_t i = 0; i < add->n_copies; i++) {
		const Et__Copy *copy = add->copies[i];
		if (strcmp(copy->place, place) == 0) {
			verify_look_at(k, copy->recording.data, copy->generation, copy->segment);
		}
	}
}

void et_keeper_on_applied(struct et_keeper *k, uint64_t index, const Et__Command *command,
			  const Et__Result *result)
{
	(void)index;
	if (result->code < 0 || k->stopping) {
		return;
	}
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_NODE_REMOVE:
		/* In peace: it may hear of its removal first; nothing new is let in meanwhile. */
		if (!command->node_remove->loss_accepted) {
			(void)uv_timer_start(&k->linger, on_linger, LINGER_MS, 0);
			break;
		}
		et_tls_recheck(k->tls);
		break;
	case ET__COMMAND__BODY_CERTIFICATE_ADD:
		et_tls_recheck(k->tls);
		ca_look(k);
		break;
	case ET__COMMAND__BODY_SEGMENT_SEAL: {
		const Et__SegmentSeal *seal = command->segment_seal;
		if (seal->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED) {
			verify_look_at(k, seal->recording.data, seal->generation, seal->segment);
		}
		break;
	}
	case ET__COMMAND__BODY_RECORDING_REDACT:
		generations_round(k);
		break;
	case ET__COMMAND__BODY_COPY_ADD:
		copies_look(k, command->copy_add);
		break;
	case ET__COMMAND__BODY_NODE_ROLES:
	case ET__COMMAND__BODY_KEK_ADD:
		health_round(k);
		grants_look(k);
		rotate_look(k);
		break;
	case ET__COMMAND__BODY_CLUSTER_INIT:
	case ET__COMMAND__BODY_NODE_JOIN:
	case ET__COMMAND__BODY_GRANT_ADD:
	case ET__COMMAND__BODY_KEK_SET:
		health_round(k);
		rotate_look(k);
		break;
	case ET__COMMAND__BODY_KEK_ROTATE:
	case ET__COMMAND__BODY_KEK_REPORT:
		rotate_look(k);
		break;
	case ET__COMMAND__BODY_CA_ROTATE:
	case ET__COMMAND__BODY_CA_STEP:
	case ET__COMMAND__BODY_CA_REPORT:
	case ET__COMMAND__BODY_CA_SIGN:
		ca_look(k);
		break;
	default:
		break;
	}
}

void et_keeper_on_replaced(struct et_keeper *k)
{
	if (!k->stopping) {
		et_tls_recheck(k->tls);
		health_round(k);
		verify_rescan(k);
		ca_look(k);
	}
}
