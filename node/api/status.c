/* What the cluster is doing: status, doctor, nodes, sites, replication, capture, /healthz,
 * /metrics.
 *
 * Any node answers for all: the catalogue says who the members are, the daemon what each last said
 * of itself. Nothing is called well that is not known to be. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/losses_internal.h"
#include "node/api/members_internal.h"
#include "node/io/clock.h"

#define HEARD_MAX_MS 5000 /* what a node said longer ago is not how it stands now */

/* ---- Members ---- */

const json_t *api_live_of(const json_t *live, uint64_t id)
{
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)(uintptr_t)live, i, one)
	{
		if ((uint64_t)et_json_get_int(one, "id", 0) == id) {
			return one;
		}
	}
	return NULL;
}

bool api_live_is_fresh(const json_t *live)
{
	return et_json_get_int(live, "heard_ms", INT64_MAX) <= HEARD_MAX_MS;
}

json_t *api_live_nodes(struct api_call *call)
{
	const struct et_api_backend *b = &call->api->config.backend;
	return api_backend_array(b->nodes, b->arg);
}

static const char *const node_states[] = { "joining", "active", "draining", "removed", "revoked" };

/* voter, standby or spare, as Raft has it now; none: it is not in Raft's configuration. */
static const char *raft_role(const struct et_catalog_status *raft, const Et__Node *node)
{
	static const char *const names[] = { "standby", "voter", "spare" };
	for (uint32_t i = 0; i < raft->member_count; i++) {
		if (raft->members[i].node == node->id) {
			return (unsigned)raft->members[i].role < 3 ? names[raft->members[i].role]
								   : "";
		}
	}
	return "none";
}

/* What Raft's configuration is being brought to. */
static const char *wanted_role(const Et__Node *node)
{
	if (api_node_is_gone(node)) {
		return "none";
	}
	return api_node_has_role(node, "voter") || api_node_has_role(node, "witness") ? "voter"
	       : api_node_has_role(node, "standby")				      ? "standby"
										      : "spare";
}

/* The step that the leader takes with this node, or waits for; or what is still to come. */
static json_t *change_json(const struct api_picture *p, const json_t *live, const Et__Node *node)
{
	const json_t *change = json_object_get(api_live_of(live, p->raft.leader), "change");
	char text[300];
	if (change != NULL && (uint64_t)et_json_get_int(change, "node", 0) == node->id) {
		const char *why = et_json_get_text(change, "why", "");
		(void)snprintf(text, sizeof(text), "%s%s%.200s",
			       et_json_get_text(change, "step", ""), *why != '\0' ? ": " : "", why);
		return et_json_text(text);
	}
	if (strcmp(raft_role(&p->raft, node), wanted_role(node)) != 0) {
		return json_string("to come");
	}
	return json_string("");
}

static json_t *site_lag(const struct api_picture *p, const char *site)
{
	for (uint32_t i = 0; p->has_sync && i < p->sync.site_count; i++) {
		if (strcmp(p->sync.sites[i].site, site) == 0) {
			int64_t oldest = p->sync.sites[i].oldest_us;
			int64_t lag = oldest > 0 ? (et_clock_now_us() - oldest) / 1000 : 0;
			return json_integer(lag > 0 ? lag : 0);
		}
	}
	return json_null();
}

static void node_add_certificate(const struct et_state_view *v, json_t *o, uint64_t node)
{
	Et__Certificate *certificate = NULL;
	if (et_state_get_certificate(v, node, &certificate) == 0) {
		et_json_set(o, "cert_expires", api_time(certificate->not_after_us));
		et__certificate__free_unpacked(certificate, NULL);
	} else {
		et_json_set(o, "cert_expires", json_null());
	}
}

struct key_count {
	const struct et_state_view *view;
	uint64_t node;
	unsigned living;
	unsigned held;
};

static void key_count_add(struct key_count *c, const char *secret)
{
	c->living++;
	c->held += et_state_has_grant(c->view, secret, c->node);
}

static int key_count_kek(void *arg, const Et__Kek *kek)
{
	char name[24];
	if (kek->state != ET__KEK_STATE__KEK_DESTROYED &&
	    kek->state != ET__KEK_STATE__KEK_DESTROY_SCHEDULED) {
		(void)snprintf(name, sizeof(name), "kek:%u", (unsigned)kek->version);
		key_count_add(arg, name);
	}
	return 0;
}

/* How many of the living keys a vault node can open; others hold none. Another vault node grants
 * what it lacks. */
static void node_add_keys(const struct et_state_view *v, json_t *o, const Et__Node *node)
{
	struct key_count c = { .view = v, .node = node->id };
	char name[ET_STATE_CA_SECRET_SIZE];
	Et__Cluster *cluster = NULL;
	if (!api_node_is_gone(node) && api_node_has_role(node, "vault")) {
		(void)et_state_each_kek(v, key_count_kek, &c);
		if (et_state_get_cluster(v, &cluster) == 0) {
			et_state_ca_secret(et_state_ca_number(cluster, 0), name);
			key_count_add(&c, name);
			et__cluster__free_unpacked(cluster, NULL);
		}
	}
	et_json_set(o, "keys", json_integer(c.held));
	et_json_set(o, "keys_missing", json_integer(c.living - c.held));
}

json_t *api_node_json(const struct et_state_view *v, const struct api_picture *p,
		      const json_t *live, const Et__Node *node)
{
	unsigned state = (unsigned)node->state;
	json_t *o = json_object();
	json_t *roles = json_array();
	for (size_t i = 0; i < node->n_roles; i++) {
		et_json_add(roles, et_json_text(node->roles[i]));
	}
	/* What it said of itself first; what the catalogue says has the last word. */
	const json_t *said = api_live_of(live, node->id);
	if (said != NULL) {
		(void)json_object_update(o, (json_t *)(uintptr_t)said);
		(void)json_object_del(o, "raft_peers"); /* GET /v1/raft has it, and the change */
	}
	et_json_set(o, "change", change_json(p, live, node));
	et_json_set(o, "id", et_json_u64(node->id));
	et_json_set(o, "name", et_json_text(node->name));
	et_json_set(o, "site", et_json_text(node->site));
	et_json_set(o, "role", json_string(raft_role(&p->raft, node)));
	et_json_set(o, "wanted_role", json_string(wanted_role(node)));
	et_json_set(o, "witness", json_boolean(api_node_has_role(node, "witness")));
	et_json_set(o, "leader", json_boolean(p->raft.leader == node->id));
	et_json_set(o, "roles", roles);
	et_json_set(o, "state", json_string(state < 5 ? node_states[state] : "unknown"));
	et_json_set(o, "capture_stopped", json_boolean(node->capture_stopped));
	et_json_set(o, "reason", et_json_text(node->reason));
	et_json_set(o, "address", et_json_text(node->address));
	et_json_set(o, "api_address", et_json_text(node->api_address));
	et_json_set(o, "joined", api_time(node->joined_us));
	et_json_set(o, "lag_ms", site_lag(p, node->site));
	if (json_object_get(o, "version") == NULL) {
		et_json_set(o, "version", et_json_text(node->version));
	}
	if (json_object_get(o, "reachable") == NULL) {
		et_json_set(o, "reachable", json_false());
	}
	node_add_certificate(v, o, node->id);
	node_add_keys(v, o, node);
	return o;
}

struct node_list {
	json_t *list;
	const json_t *live;
	const struct api_picture *picture;
	const struct et_state_view *view;
};

/* Who is gone is shown as long as Raft's configuration still has it. */
static int add_node(void *arg, const Et__Node *node)
{
	struct node_list *l = arg;
	if (!api_node_is_gone(node) || strcmp(raft_role(&l->picture->raft, node), "none") != 0) {
		et_json_add(l->list, api_node_json(l->view, l->picture, l->live, node));
	}
	return 0;
}

static json_t *nodes_json(struct api_call *call, const struct et_state_view *v,
			  const struct api_picture *p)
{
	ET_CLEANUP(et_json_freep) json_t *live = api_live_nodes(call);
	struct node_list l = { .list = json_array(), .live = live, .picture = p, .view = v };
	(void)et_state_each_node(v, add_node, &l);
	return l.list;
}

/* ---- Sites ---- */

static json_t *find_named(json_t *list, const char *name)
{
	size_t i;
	json_t *o;
	json_array_foreach(list, i, o)
	{
		if (strcmp(et_json_get_text(o, "name", ""), name) == 0) {
			return o;
		}
	}
	return NULL;
}

static json_t *site_named(json_t *sites, const char *name)
{
	json_t *o = find_named(sites, name);
	if (o == NULL) {
		o = json_object();
		et_json_set(o, "name", et_json_text(name));
		et_json_set(o, "nodes", json_array());
		et_json_add(sites, o);
	}
	return o;
}

static int add_site(void *arg, const Et__Site *site)
{
	json_t *o = site_named(arg, site->name);
	et_json_set(o, "description", et_json_text(site->description));
	return 0;
}

void api_add_lag(json_t *o, const struct et_sync_site *s)
{
	int64_t lag = s->oldest_us > 0 ? (et_clock_now_us() - s->oldest_us) / 1000 : 0;
	et_json_set(o, "pending_segments", et_json_u64(s->pending_segments));
	et_json_set(o, "pending_bytes", et_json_u64(s->pending_bytes));
	et_json_set(o, "lag_ms", json_integer(lag > 0 ? lag : 0));
}

static json_t *sites_json(const struct et_state_view *v, const json_t *nodes,
			  const struct api_picture *p)
{
	json_t *sites = json_array();
	size_t i;
	json_t *node;
	(void)et_state_each_site(v, add_site, sites);
	json_array_foreach((json_t *)(uintptr_t)nodes, i, node)
	{
		json_t *site = site_named(sites, et_json_get_text(node, "site", ""));
		et_json_add(json_object_get(site, "nodes"),
			    json_incref(json_object_get(node, "name")));
	}
	for (uint32_t s = 0; p->has_sync && s < p->sync.site_count; s++) {
		api_add_lag(site_named(sites, p->sync.sites[s].site), &p->sync.sites[s]);
	}
	return sites;
}

/* ---- /v1/status ---- */

static int count_pending(void *arg, const Et__Command *command)
{
	*(uint64_t *)arg += command->body_case == ET__COMMAND__BODY_RECORDING_OPEN;
	return 0;
}

static json_t *recordings_json(struct api_call *call, const struct et_state_counts *c)
{
	const struct et_api_backend *b = &call->api->config.backend;
	uint64_t pending = 0;
	if (b->pending != NULL) {
		(void)b->pending(b->arg, count_pending, &pending);
	}
	json_t *o = json_object();
	et_json_set(o, "total", et_json_u64(c->recordings));
	et_json_set(o, "capturing", et_json_u64(c->capturing));
	et_json_set(o, "sealed", et_json_u64(c->sealed));
	et_json_set(o, "lost", et_json_u64(c->lost));
	et_json_set(o, "erased", et_json_u64(c->erased));
	et_json_set(o, "segments", et_json_u64(c->segments));
	et_json_set(o, "copies", et_json_u64(c->copies));
	et_json_set(o, "archived_segments", et_json_u64(c->archived_segments));
	et_json_set(o, "pending", et_json_u64(pending));
	return o;
}

static int status_fresh(struct api_call *call)
{
	json_t *o = json_object();
	json_t *codes = json_array();
	struct et_error why = { 0 };
	int rc = api_detached(call->api, &why);
	api_code_add(codes, api_detached_code(call->api), why.next, "%s", why.text);
	et_json_set(o, "initialised", json_boolean(rc != ET_EUNINITIALISED));
	et_json_set(o, "cluster", et_json_text(call->api->config.cluster));
	et_json_set(o, "node", et_json_text(call->api->config.name));
	et_json_set(o, "site", et_json_text(call->api->config.site));
	et_json_set(o, "version", et_json_text(call->api->config.version));
	et_json_set(o, "health", json_string("degraded"));
	et_json_set(o, "leader", json_string(""));
	et_json_set(o, "codes", codes);
	et_json_set(o, "nodes", json_array());
	et_json_set(o, "sites", json_array());
	return api_json(call, 200, o);
}

static json_t *quorum_json(const struct et_catalog_status *r)
{
	json_t *o = json_object();
	et_json_set(o, "voters", json_integer(r->voters));
	et_json_set(o, "reachable", json_integer(r->reachable_voters));
	et_json_set(o, "has_quorum", json_boolean(r->has_quorum));
	return o;
}

/* What search reads, on this node. */
static json_t *index_json(const struct et_state_index_status *x)
{
	json_t *o = json_object();
	et_json_set(o, "complete", json_boolean(x->complete));
	et_json_set(o, "rebuilding", json_boolean(x->rebuilding));
	et_json_set(o, "done", et_json_u64(x->done));
	et_json_set(o, "total", et_json_u64(x->total));
	et_json_set(o, "bytes", et_json_u64(x->bytes));
	return o;
}

int api_status(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	struct et_state_counts counts = { 0 };
	struct et_state_index_status index = { 0 };
	struct api_nodes names;
	if (!atomic_load(&call->api->attached)) {
		return status_fresh(call);
	}
	ET_CLEANUP(api_picture_freep) struct api_picture *p = api_picture_take(call->api);
	int rc = p == NULL ? et_fail(reterr, -ENOMEM, "status") : api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_state_counts(v, &counts);
	rc = rc < 0 ? rc : et_state_index_status(v, &index);
	if (rc < 0) {
		return et_fail(reterr, rc, "counters of the catalogue");
	}
	api_nodes_load(v, &names);
	json_t *nodes = nodes_json(call, v, p);
	json_t *sites = sites_json(v, nodes, p);
	json_t *codes = api_codes(call, p);
	json_t *survives = api_survives_json(call, v, p, &counts);
	json_t *audit = json_object();
	et_json_set(audit, "events", et_json_u64(counts.audit_events));

	json_t *o = json_object();
	et_json_set(o, "initialised", json_true());
	et_json_set(o, "cluster", et_json_text(call->api->config.cluster));
	et_json_set(o, "node", et_json_text(call->api->config.name));
	et_json_set(o, "health", json_string(api_health_of(codes)));
	et_json_set(o, "codes", codes);
	et_json_set(o, "leader", et_json_text(api_node_name(&names, p->raft.leader)));
	et_json_set(o, "term", et_json_u64(p->raft.term));
	et_json_set(o, "applied", et_json_u64(et_state_view_index(v)));
	et_json_set(o, "cluster_time", api_time(p->raft.cluster_time_us));
	et_json_set(o, "quorum", quorum_json(&p->raft));
	et_json_set(o, "survives", survives);
	et_json_set(o, "sites", sites);
	et_json_set(o, "nodes", nodes);
	et_json_set(o, "recordings", recordings_json(call, &counts));
	et_json_set(o, "holds", et_json_u64(counts.holds));
	et_json_set(o, "index", index_json(&index));
	et_json_set(o, "audit", audit);
	return api_json(call, 200, o);
}

/* ---- The search index made anew ---- */

#define REBUILD_TIMEOUT_MS 20000

static void on_rebuild(void *arg, int code, uint64_t recordings)
{
	struct api_wait *w = arg;
	w->index = recordings;
	api_wait_answer(w, code);
}

int api_rebuild_index(struct api_call *call, struct et_error *reterr)
{
	struct api_wait *w = api_wait_new(call->api);

	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "the search index");
	}
	int rc = et_catalog_reindex_from(call->api->services.catalog, on_rebuild, w);
	if (rc < 0) {
		api_wait_unref(w);
	} else {
		rc = api_wait_for(call->api, w, REBUILD_TIMEOUT_MS);
	}
	uint64_t total = rc < 0 ? 0 : w->index;
	api_wait_unref(w);
	if (rc < 0) {
		return et_fail(reterr, rc, "make the search index anew");
	}
	json_t *o = json_object();
	et_json_set(o, "node", et_json_text(call->api->config.name));
	et_json_set(o, "total", et_json_u64(total));
	return api_json(call, 200, o);
}

/* ---- Parts of it ---- */

int api_nodes_list(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	ET_CLEANUP(api_picture_freep) struct api_picture *p = api_picture_take(call->api);
	int rc = p == NULL ? et_fail(reterr, -ENOMEM, "nodes") : api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "nodes", nodes_json(call, v, p));
	return api_json(call, 200, o);
}

int api_sites(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	ET_CLEANUP(api_picture_freep) struct api_picture *p = api_picture_take(call->api);
	int rc = p == NULL ? et_fail(reterr, -ENOMEM, "sites") : api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *nodes = nodes_json(call, v, p);
	json_t *o = json_object();
	et_json_set(o, "sites", sites_json(v, nodes, p));
	return api_json(call, 200, o);
}

/* One row a source, for the table; all that the daemon says beside it. */
static json_t *capture_rows(const json_t *capture)
{
	json_t *rows = json_array();
	const json_t *counters = json_object_get(capture, "counters");
	size_t i;
	json_t *source;
	json_array_foreach(json_object_get(capture, "sources"), i, source)
	{
		const char *interface = et_json_get_text(source, "interface", "");
		int64_t refused = et_json_get_int(counters, "refused_disk", 0) +
				  et_json_get_int(counters, "refused_limit", 0) +
				  et_json_get_int(counters, "refused_journal", 0) +
				  et_json_get_int(counters, "refused_writer", 0);
		json_t *row = json_object();
		et_json_set(row, "node", json_incref(json_object_get(capture, "node")));
		et_json_set(
			row, "source",
			et_json_text(
				*interface != '\0' ? interface : et_json_get_text(source, "file", "")));
		et_json_set(row, "filter", json_incref(json_object_get(source, "filter")));
		et_json_set(row, "state",
			    json_string(et_json_get_bool(counters, "running", false) ? "running"
										     : "stopped"));
		et_json_set(row, "calls_live",
			    json_integer(
				    (json_int_t)json_array_size(json_object_get(capture, "live"))));
		et_json_set(row, "calls_total",
			    json_integer(et_json_get_int(counters, "calls_total", 0)));
		et_json_set(row, "packets_total",
			    json_integer(et_json_get_int(counters, "packets", 0)));
		et_json_set(row, "drops",
			    json_integer(et_json_get_int(counters, "kernel_dropped", 0) +
					 et_json_get_int(counters, "media_dropped", 0)));
		et_json_set(row, "calls_refused", json_integer(refused));
		et_json_add(rows, row);
	}
	return rows;
}

int api_capture(struct api_call *call, struct et_error *reterr)
{
	const struct et_api_backend *b = &call->api->config.backend;
	(void)reterr;
	json_t *capture = b->capture != NULL ? b->capture(b->arg) : NULL;
	if (!json_is_object(capture)) {
		json_decref(capture);
		capture = json_object();
	}
	json_t *o = json_object();
	et_json_set(o, "captures", capture_rows(capture));
	et_json_set(o, "this_node", capture);
	return api_json(call, 200, o);
}

int api_cluster(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	struct et_catalog_status raft;
	Et__Cluster *c = NULL;
	int rc = api_view(call, &v, reterr);
	if (rc == 0) {
		rc = et_state_get_cluster(v, &c);
		rc = rc < 0 ? et_fail(reterr, rc, "cluster") : 0;
	}
	if (rc < 0) {
		return rc;
	}
	et_catalog_status(call->api->services.catalog, &raft);
	ET_CLEANUP(et_buffer_release) struct et_buffer pem = { 0 };
	for (size_t i = 0; i < c->n_ca_certs; i++) {
		api_pem(&c->ca_certs[i], &pem);
	}
	json_t *o = json_object();
	et_json_set(o, "name", et_json_text(c->name));
	et_json_set(o, "id", api_uuid(&c->id));
	et_json_set(o, "created", api_time(c->created_us));
	et_json_set(o, "schema_version", json_integer(c->schema));
	et_json_set(o, "cluster_time", api_time(c->cluster_time_us));
	et_json_set(o, "quorum", quorum_json(&raft));
	et_json_set(o, "ca_pem", et_json_text_n(pem.data, pem.size));
	et__cluster__free_unpacked(c, NULL);
	return api_json(call, 200, o);
}

/* ---- Doctor ---- */

static void ET_PRINTF(5, 6) check_add(json_t *checks, const char *check, const char *result,
				      const char *next, const char *fmt, ...)
{
	char detail[300];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	json_t *o = json_object();
	et_json_set(o, "check", et_json_text(check));
	et_json_set(o, "result", json_string(result));
	et_json_set(o, "detail", et_json_text(detail));
	et_json_set(o, "next", et_json_text(next));
	et_json_add(checks, o);
}

static bool doctor_audit(json_t *checks, const struct et_state_view *v)
{
	struct et_error e = { 0 };
	uint64_t events = 0;
	uint8_t head[32];
	int rc = et_state_audit_verify(v, &events, head, &e);
	check_add(checks, "audit chain", rc == 0 ? "ok" : "bad",
		  rc == 0 ? "" : "evertape audit verify", "%s",
		  rc == 0 ? "every event fits the one before" : e.text);
	return rc == 0;
}

#define DIGEST_WAIT_MS 20000 /* for all members to say what they have */

/* Have the members compare their states at an index of now (raft/catalog/digest.c). *ret_index gets
 * where. */
static int doctor_ask(struct api_call *call, const struct et_state_view *v, uint64_t *ret_index,
		      struct et_error *reterr)
{
	Et__DigestCheck check = ET__DIGEST_CHECK__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	uint8_t digest[32];

	int rc = et_state_digest(v, &check.index, digest);
	if (rc < 0) {
		return et_fail(reterr, rc, "state digest");
	}
	check.digest = (ProtobufCBinaryData){ sizeof(digest), digest };
	command.body_case = ET__COMMAND__BODY_DIGEST_CHECK;
	command.digest_check = &check;
	*ret_index = check.index;
	return api_propose(call, &command, "doctor", &result, reterr);
}

static void doctor_wait(struct api_call *call, uint64_t index, struct et_catalog_status *ret)
{
	int64_t until_us = et_clock_mono_us() + DIGEST_WAIT_MS * 1000;

	et_catalog_status(call->api->services.catalog, ret);
	while (ret->agreed_index < index && !ret->disputed && !ret->diverged &&
	       et_clock_mono_us() < until_us && !atomic_load(&call->api->stopping)) {
		(void)poll(NULL, 0, 50); /* the interval between two looks */
		et_catalog_status(call->api->services.catalog, ret);
	}
}

/* false: states differ. */
static bool doctor_digests(struct api_call *call, json_t *checks, const struct et_state_view *v)
{
	struct et_catalog_status s;
	struct et_error e = { 0 };
	uint64_t index = 0;
	uint32_t keepers = 0; /* a spare keeps no catalogue */

	if (doctor_ask(call, v, &index, &e) < 0) {
		check_add(checks, "state digest", "unknown", "evertape status", "%s", e.text);
		return true;
	}
	doctor_wait(call, index, &s);
	if (s.disputed || s.diverged) {
		check_add(checks, "state digest", "bad",
			  s.disputed ? "evertape explain STATE_DISPUTED"
				     : "evertape explain STATE_DIVERGED",
			  s.disputed ? "states differ at index %" PRIu64 ", no majority agrees"
				     : "this node's state at index %" PRIu64
				       " is not that of the majority",
			  index);
		return false;
	}
	for (uint32_t i = 0; i < s.member_count; i++) {
		keepers += s.members[i].role != ET_CATALOG_SPARE;
	}
	for (uint32_t i = 0; i < s.odd_count; i++) {
		check_add(checks, "state digest", "bad", "evertape explain STATE_DIVERGED",
			  "node %" PRIu64 " has another state than the majority", s.odd[i]);
	}
	if (s.odd_count == 0 && s.agreed_index >= index) {
		bool all = s.agreed_nodes >= keepers;
		check_add(checks, "state digest", all ? "ok" : "unknown",
			  all ? "" : "evertape node list",
			  "%u of %u members have the same at index %" PRIu64, s.agreed_nodes,
			  keepers, s.agreed_index);
	} else if (s.odd_count == 0) {
		check_add(checks, "state digest", "unknown", "evertape doctor --deep",
			  "no majority answered for index %" PRIu64 " in time", index);
	}
	return s.odd_count == 0;
}

int api_doctor(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	bool deep;
	bool sound = true;
	int rc = api_param_bool(&call->request, "deep", &deep, reterr);
	if (rc == 0) {
		rc = api_view(call, &v, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(api_picture_freep) struct api_picture *p = api_picture_take(call->api);
	if (p == NULL) {
		return et_fail(reterr, -ENOMEM, "doctor");
	}
	ET_CLEANUP(et_json_freep) json_t *codes = api_codes(call, p);
	json_t *checks = json_array();
	size_t i;
	json_t *code;
	check_add(checks, "quorum", p->raft.has_quorum ? "ok" : "bad",
		  p->raft.has_quorum ? "" : "evertape node list", "%u of %u voters reachable",
		  p->raft.reachable_voters, p->raft.voters);
	json_array_foreach(codes, i, code)
	{
		check_add(checks, et_json_get_text(code, "code", ""),
			  et_json_get_text(code, "level", ""), et_json_get_text(code, "next", ""),
			  "%s%s%s", et_json_get_text(code, "node", ""),
			  json_object_get(code, "node") != NULL ? ": " : "",
			  et_json_get_text(code, "detail", ""));
	}
	if (deep) {
		bool chain = doctor_audit(checks, v);
		sound = doctor_digests(call, checks, v) && chain;
	}
	json_t *o = json_object();
	et_json_set(o, "well", json_boolean(sound && strcmp(api_health_of(codes), "ok") == 0));
	et_json_set(o, "integrity_failure", json_boolean(!sound));
	et_json_set(o, "checks", checks);
	return api_json(call, 200, o);
}
