/* For machines: /healthz and /metrics (Prometheus' text format). */
#include <inttypes.h>
#include <string.h>

#include "node/api/picture_internal.h"
#include "node/io/clock.h"
#include "replication/limit/limit.h"

int api_healthz(struct api_call *call, struct et_error *reterr)
{
	struct et_catalog_status raft = { 0 };
	bool attached = atomic_load(&call->api->attached);
	(void)reterr;
	if (attached) {
		et_catalog_status(call->api->services.catalog, &raft);
	}
	/* Ready: a member that hears a majority. Recording goes on without one: see the reasons. */
	bool ready = attached && raft.has_quorum;
	json_t *reasons = json_array();
	if (!attached) {
		et_json_add(reasons, json_string(api_detached_code(call->api)));
	} else if (!ready) {
		et_json_add(reasons, json_string("NO_QUORUM"));
	}
	json_t *o = json_object();
	et_json_set(o, "ready", json_boolean(ready));
	et_json_set(o, "reasons", reasons);
	et_json_set(o, "version", et_json_text(call->api->config.version));
	return api_json(call, ready ? 200 : 503, o);
}

void et_api_metric_head(struct et_buffer *b, const char *name, const char *type, const char *help)
{
	et_buffer_printf(b, "# HELP evertape_%s %s\n# TYPE evertape_%s %s\n", name, help, name,
			 type);
}

void et_api_metric(struct et_buffer *b, const char *name, const char *type, const char *help,
		   uint64_t value)
{
	et_api_metric_head(b, name, type, help);
	et_buffer_printf(b, "evertape_%s %" PRIu64 "\n", name, value);
}

/* The catalogue's files between nodes, and the loop that Raft lives on. */
static void metrics_snapshot(const struct et_catalog_status *r, struct et_buffer *b)
{
	et_api_metric(b, "raft_snapshot_index", "gauge", "Log index of the last snapshot.",
		      r->snapshot_index);
	et_api_metric(b, "raft_snapshot_installing", "gauge",
		      "1 while another node's catalogue is being fetched.", r->installing);
	et_api_metric(b, "raft_snapshot_pulled_bytes_total", "counter",
		      "Catalogue files fetched from other nodes.", r->snapshot_pulled_bytes);
	et_api_metric(b, "raft_snapshot_reused_bytes_total", "counter",
		      "Catalogue files that were here already when they were needed.",
		      r->snapshot_reused_bytes);
	et_api_metric(b, "raft_snapshot_served_bytes_total", "counter",
		      "Catalogue files given to other nodes.", r->snapshot_served_bytes);
	et_api_metric_head(b, "loop_stall_seconds", "gauge",
			   "Longest turn of the loop within the last one to two minutes.");
	et_buffer_printf(b, "evertape_loop_stall_seconds %.6f\n", (double)r->loop_stall_us / 1e6);
}

static void metrics_catalog(struct et_api *api, struct et_buffer *b)
{
	struct et_catalog_status r;
	struct et_state_counts c = { 0 };
	struct et_state_view *v = et_state_view_open(api->services.state);
	et_catalog_status(api->services.catalog, &r);
	bool counted = v != NULL && et_state_counts(v, &c) == 0;
	(void)et_state_view_close(v);
	et_api_metric(b, "raft_term", "gauge", "Raft term.", r.term);
	et_api_metric(b, "raft_applied_index", "gauge", "Log index applied here.", r.applied);
	et_api_metric(b, "raft_commit_index", "gauge", "Log index committed.", r.commit_index);
	et_api_metric(b, "raft_is_leader", "gauge", "1 when this node leads.", r.is_leader);
	et_api_metric(b, "raft_has_quorum", "gauge", "1 when this node hears a majority.",
		      r.has_quorum);
	et_api_metric(b, "raft_voters", "gauge", "Voters of the cluster.", r.voters);
	et_api_metric(b, "raft_voters_reachable", "gauge", "Voters heard.", r.reachable_voters);
	et_api_metric(b, "raft_waiting_proposals", "gauge", "Proposals without an answer.",
		      r.waiting);
	metrics_snapshot(&r, b);
	if (!counted) {
		return; /* better no number than a wrong one */
	}
	et_api_metric(b, "recordings", "gauge", "Recordings in the catalogue.", c.recordings);
	et_api_metric(b, "recordings_capturing", "gauge", "Recordings being captured.",
		      c.capturing);
	et_api_metric(b, "segments", "gauge", "Segments in the catalogue.", c.segments);
	et_api_metric(b, "segments_archived", "gauge", "Segments with an archive copy.",
		      c.archived_segments);
	et_api_metric(b, "copies", "gauge", "Verified copies, those on removed nodes with them.",
		      c.copies);
	et_api_metric(b, "audit_events", "gauge", "Audit events.", c.audit_events);
}

/* A label value: quotes, backslashes and line ends are escaped. */
static void label(struct et_buffer *b, const char *name, const char *value)
{
	et_buffer_printf(b, "%s=\"", name);
	for (const char *p = value; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\') {
			et_buffer_add8(b, '\\');
		}
		et_buffer_add8(b, *p == '\n' ? ' ' : (uint8_t)*p);
	}
	et_buffer_add8(b, '"');
}

static void metric_site(struct et_buffer *b, const char *name, const char *site, uint64_t value)
{
	et_buffer_printf(b, "evertape_%s{", name);
	label(b, "site", site);
	et_buffer_printf(b, "} %" PRIu64 "\n", value);
}

/* The same code of the same member twice would be the same sample twice: Prometheus refuses that.
 */
static bool said_before(const json_t *codes, size_t i, const char *code, const char *node)
{
	for (size_t k = 0; k < i; k++) {
		const json_t *o = json_array_get(codes, k);
		if (strcmp(et_json_get_text(o, "code", ""), code) == 0 &&
		    strcmp(et_json_get_text(o, "node", ""), node) == 0) {
			return true;
		}
	}
	return false;
}

/* Every health code that `evertape status` shows now, of the whole cluster as this node sees it. */
static void metrics_health(struct api_call *call, const struct api_picture *p, struct et_buffer *b)
{
	ET_CLEANUP(et_json_freep) json_t *codes = api_codes(call, p);
	size_t i;
	json_t *o;

	et_api_metric_head(b, "health_code", "gauge", "1 for each health code that holds now.");
	json_array_foreach(codes, i, o)
	{
		const char *code = et_json_get_text(o, "code", "");
		const char *node = et_json_get_text(o, "node", "");
		if (said_before(codes, i, code, node)) {
			continue;
		}
		et_buffer_printf(b, "evertape_health_code{");
		label(b, "code", code);
		et_buffer_add8(b, ',');
		label(b, "level", et_json_get_text(o, "level", "degraded"));
		et_buffer_add8(b, ',');
		label(b, "member", node);
		et_buffer_printf(b, "} 1\n");
	}
}

static void metrics_sync(const struct et_sync_status *s, struct et_buffer *b)
{
	et_api_metric_head(b, "site_pending_segments", "gauge",
			   "Sealed segments that a site lacks.");
	for (uint32_t i = 0; i < s->site_count; i++) {
		metric_site(b, "site_pending_segments", s->sites[i].site,
			    s->sites[i].pending_segments);
	}
	et_api_metric_head(b, "site_lag_seconds", "gauge", "Age of the oldest of them.");
	for (uint32_t i = 0; i < s->site_count; i++) {
		int64_t oldest = s->sites[i].oldest_us;
		int64_t lag = oldest > 0 ? (et_clock_now_us() - oldest) / 1000000 : 0;
		metric_site(b, "site_lag_seconds", s->sites[i].site, lag > 0 ? (uint64_t)lag : 0);
	}
	et_api_metric(b, "sync_bad_copies_total", "counter", "Copies that did not verify.",
		      s->bad_copies);
	et_api_metric(b, "sync_gone_segments", "gauge",
		      "Segments without a good copy on any node or in the archive.",
		      s->queue.gone_segments);
	et_api_metric(b, "tails", "gauge",
		      "Open segments of other sites that are kept here as they grow.",
		      s->tails.count);
	et_api_metric(b, "tail_bytes", "gauge", "Of them here.", s->tails.bytes);
	et_api_metric(b, "tail_lag_seconds", "gauge",
		      "How long ago the worst of them was last known to be complete.",
		      (uint64_t)(s->tails.lag_ms / 1000));
	et_api_metric(b, "tails_kept", "gauge",
		      "Tails whose source was removed, or that are another node's to fetch.",
		      s->tails.kept);
	et_api_metric(b, "tails_sealed_total", "counter",
		      "Tails of removed nodes that were committed as their segments.",
		      s->tails.sealed);
	et_api_metric(b, "tail_errors_total", "counter",
		      "Answers about tails that were refusals, or no records.", s->tails.errors);
	et_api_metric_head(
		b, "sync_waiting_segments", "gauge",
		"Segments that this node is to fetch, by class and by why they do not move.");
	for (int k = 0; k < ET_SYNC_CLASSES; k++) {
		for (int w = 0; w < ET_SYNC_WHYS; w++) {
			et_buffer_printf(
				b, "evertape_sync_waiting_segments{class=\"%s\",why=\"%s\"} %llu\n",
				et_limit_class_name(k), et_sync_why_name((enum et_sync_why)w),
				(unsigned long long)s->queue.rows[k][w].segments);
		}
	}
}

static void metrics_scrub(struct et_sync *sync, struct et_buffer *b)
{
	struct et_sync_scrub s;

	et_sync_scrub_status(sync, &s);
	et_api_metric(b, "scrub_running", "gauge", "1 while all copies are read again.", s.running);
	et_api_metric(b, "scrub_pass_copies", "gauge",
		      "Copies verified in that pass, or the last one.", s.copies);
	et_api_metric(b, "scrub_pass_bad", "gauge", "Of them, those that did not verify.", s.bad);
	et_api_metric(b, "scrub_ended_seconds", "gauge",
		      "End of the last whole pass, Unix time; 0: none.",
		      (uint64_t)(s.ended_us / 1000000));
}

int api_metrics(struct api_call *call, struct et_error *reterr)
{
	struct et_api *api = call->api;
	const struct et_api_backend *backend = &api->config.backend;
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	et_api_metric(&b, "api_requests_total", "counter", "API requests.",
		      atomic_load(&api->requests));
	et_api_metric(&b, "api_errors_total", "counter", "API answers that are errors.",
		      atomic_load(&api->errors));
	et_api_metric(&b, "api_denied_total", "counter", "API requests without the right.",
		      atomic_load(&api->denied));
	et_api_metric(&b, "uptime_seconds", "gauge", "Since this process started.",
		      (uint64_t)((et_clock_mono_us() - api->started_us) / 1000000));
	if (atomic_load(&api->attached)) {
		metrics_catalog(api, &b);
		ET_CLEANUP(api_picture_freep) struct api_picture *p = api_picture_take(api);
		if (p != NULL && p->has_sync) {
			metrics_sync(&p->sync, &b);
			metrics_scrub(api->services.sync, &b);
		}
		if (p != NULL) {
			metrics_health(call, p, &b);
		}
	}
	if (backend->metrics != NULL) {
		backend->metrics(backend->arg, &b);
	}
	if (b.failed) {
		return et_fail(reterr, -ENOMEM, "metrics");
	}
	api_begin(call, 200, "text/plain; version=0.0.4; charset=utf-8", (int64_t)b.size);
	(void)api_write(call, b.data, b.size);
	api_end(call);
	return 0;
}
