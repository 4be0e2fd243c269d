/* The table of endpoints. openapi.yaml says the same in more words. */
#include <string.h>

#include "node/api/api_internal.h"
#include "node/api/picture_internal.h"

const struct api_route api_routes[] = {
	{ "GET", "/healthz", 0, false, true, false, api_healthz },
	{ "GET", "/metrics", API_READ, false, true, false, api_metrics },
	{ "GET", "/v1/status", API_READ, false, true, false, api_status },
	{ "GET", "/v1/openapi.yaml", 0, false, true, false, api_openapi },
	{ "POST", "/v1/cluster/init", API_ADMIN, true, true, true, api_init_cluster },
	{ "POST", "/v1/node/join", API_ADMIN, true, true, true, api_join },

	{ "GET", "/v1/doctor", API_READ, true, false, false, api_doctor },
	{ "POST", "/v1/doctor/rebuild-index", API_ADMIN, true, false, false, api_rebuild_index },
	{ "GET", "/v1/cluster", API_READ, false, false, false, api_cluster },
	{ "GET", "/v1/cluster/upgrade", API_READ, false, false, false, api_upgrade_plan },
	{ "POST", "/v1/cluster/upgrade", API_ADMIN, false, false, false, api_upgrade_apply },
	{ "GET", "/v1/cluster/backup", API_ADMIN, true, false, false, api_backup },
	{ "POST", "/v1/cluster/probe", API_ADMIN, false, false, false, api_schema_probe },
	{ "GET", "/v1/nodes", API_READ, false, false, false, api_nodes_list },
	{ "POST", "/v1/nodes/token", API_ADMIN, false, false, false, api_node_token },
	{ "GET", "/v1/nodes/*", API_READ, false, false, false, api_node_show },
	{ "GET", "/v1/nodes/*/holdings", API_READ, true, false, false, api_node_holdings },
	{ "POST", "/v1/nodes/*/roles", API_ADMIN, true, false, false, api_node_roles },
	{ "POST", "/v1/nodes/*/drain", API_ADMIN, true, false, false, api_node_drain },
	{ "POST", "/v1/nodes/*/remove", API_ADMIN, true, false, false, api_node_remove },
	{ "GET", "/v1/raft", API_READ, true, false, false, api_raft_peers },
	{ "POST", "/v1/raft/transfer", API_ADMIN, true, false, false, api_raft_transfer },
	{ "POST", "/v1/raft/snapshot", API_ADMIN, true, false, false, api_raft_snapshot },
	{ "GET", "/v1/sites", API_READ, false, false, false, api_sites },
	{ "PUT", "/v1/sites/*", API_ADMIN, false, false, false, api_site_set },
	{ "GET", "/v1/sites/*/removal", API_READ, true, false, false, api_site_removal },
	{ "POST", "/v1/sites/*/remove", API_ADMIN, true, false, false, api_site_remove },
	{ "GET", "/v1/replication", API_READ, false, false, false, api_replication },
	{ "GET", "/v1/replication/queue", API_READ, false, false, false, api_replication_queue },
	{ "GET", "/v1/replication/scrub", API_READ, false, false, false, api_scrub },
	{ "POST", "/v1/replication/scrub", API_ADMIN, true, false, false, api_scrub_start },
	{ "POST", "/v1/replication/repair/plan", API_READ, true, false, false, api_repair_plan },
	{ "POST", "/v1/replication/repair", API_ADMIN, true, false, false, api_repair_apply },
	{ "GET", "/v1/replication/limits", API_READ, false, false, false, api_limits },
	{ "POST", "/v1/replication/limits", API_ADMIN, false, false, false, api_limit_set },
	{ "POST", "/v1/replication/limits/remove", API_ADMIN, false, false, false,
	  api_limit_remove },
	{ "GET", "/v1/capture", API_READ, false, false, false, api_capture },
	{ "GET", "/v1/capture/now", API_READ, true, true, false, api_capture_now },
	{ "GET", "/v1/config", API_READ, true, true, false, api_config },

	{ "GET", "/v1/recordings", API_READ, false, false, false, api_recordings },
	{ "GET", "/v1/recordings/*", API_READ, false, false, false, api_recording },
	{ "GET", "/v1/recordings/*/where", API_READ, false, false, false, api_recording_where },
	{ "GET", "/v1/recordings/*/why", API_READ, false, false, false, api_recording_why },
	{ "POST", "/v1/recordings/*/verify", API_OPERATE, true, false, false,
	  api_recording_verify },
	{ "POST", "/v1/recordings/*/erase", API_ADMIN, true, false, false, api_recording_erase },
	{ "POST", "/v1/recordings/*/redact", API_ADMIN, true, false, false, api_recording_redact },
	{ "POST", "/v1/recordings/*/join", API_OPERATE, true, false, false, api_recording_join },
	{ "POST", "/v1/recordings/*/split", API_OPERATE, true, false, false, api_recording_split },
	{ "POST", "/v1/recordings/*/keys", API_ADMIN, true, false, false, api_recording_keys },
	{ "POST", "/v1/recordings/*/keep", API_OPERATE, true, false, false, api_recording_keep },
	{ "POST", "/v1/capture/keep", API_OPERATE, true, false, false, api_capture_keep },
	{ "POST", "/v1/recordings/*/pause", API_OPERATE, true, false, false, api_recording_pause },
	{ "POST", "/v1/recordings/*/resume", API_OPERATE, true, false, false,
	  api_recording_resume },
	{ "POST", "/v1/recordings/*/ticket", API_LISTEN, false, false, false, api_ticket },
	{ "GET", "/v1/recordings/*/audio", API_LISTEN, true, false, false, api_audio },
	{ "GET", "/v1/recordings/*/peaks", API_LISTEN, true, false, false, api_peaks },
	{ "GET", "/v1/recordings/*/original", API_LISTEN, true, false, false, api_original },
	{ "GET", "/v1/recordings/*/proof", API_OPERATE, true, false, false, api_recording_proof },

	{ "GET", "/v1/imports/*", API_READ, false, false, false, api_import_find },
	{ "POST", "/v1/imports", API_IMPORT, true, false, false, api_import },

	{ "POST", "/v1/erasures", API_OPERATE, true, false, false, api_erasure_plan },
	{ "GET", "/v1/erasures/*", API_READ, false, false, false, api_erasure_get },
	{ "POST", "/v1/erasures/*/apply", API_ADMIN, true, false, false, api_erasure_apply },
	{ "GET", "/v1/erasures/*/certificate", API_AUDIT, true, false, false,
	  api_erasure_certificate },
	{ "GET", "/v1/holds", API_READ, true, false, false, api_holds },
	{ "POST", "/v1/holds", API_OPERATE, true, false, false, api_hold_add },
	{ "POST", "/v1/holds/release", API_ADMIN, true, false, false, api_hold_release },
	{ "GET", "/v1/retention/policy", API_READ, false, false, false, api_retention_get },
	{ "PUT", "/v1/retention/policy", API_ADMIN, false, false, false, api_retention_put },
	{ "GET", "/v1/retention/policy/revisions", API_READ, true, false, false,
	  api_retention_revisions },
	{ "GET", "/v1/retention/policy/revisions/*", API_READ, false, false, false,
	  api_retention_at },
	{ "GET", "/v1/retention/plan", API_READ, true, false, false, api_retention_plan },

	{ "GET", "/v1/told", API_READ, false, false, false, api_told_get },
	{ "POST", "/v1/facts", API_TELL, true, false, false, api_facts_add },
	{ "POST", "/v1/tags", API_TELL, true, false, false, api_tags_set },
	{ "POST", "/v1/notes", API_TELL, true, false, false, api_note_add },
	{ "GET", "/v1/agents", API_READ, false, false, false, api_agents },
	{ "POST", "/v1/agents", API_TELL, true, false, false, api_agent_set },

	{ "GET", "/v1/archive/policy", API_READ, false, false, false, api_policy_get },
	{ "PUT", "/v1/archive/policy", API_ADMIN, false, false, false, api_policy_put },
	{ "GET", "/v1/archive/policy/revisions", API_READ, true, false, false,
	  api_policy_revisions },
	{ "GET", "/v1/archive/policy/revisions/*", API_READ, false, false, false, api_policy_at },
	{ "POST", "/v1/archive/plans", API_OPERATE, true, false, false, api_plan_make },
	{ "GET", "/v1/archive/plans/*", API_READ, false, false, false, api_plan_get },
	{ "POST", "/v1/archive/plans/*/apply", API_ADMIN, true, false, false, api_plan_apply },
	{ "POST", "/v1/archive/restore", API_ADMIN, true, false, false, api_archive_restore },
	{ "GET", "/v1/archive/targets", API_READ, false, false, false, api_targets },
	{ "POST", "/v1/archive/targets/*/test", API_OPERATE, true, false, false, api_target_test },
	{ "GET", "/v1/archive/status", API_READ, false, false, false, api_archive_status },
	{ "POST", "/v1/archive/verify", API_OPERATE, true, false, false, api_archive_verify },

	{ "GET", "/v1/keys", API_READ, false, false, false, api_keys },
	{ "POST", "/v1/keys/rotate", API_ADMIN, false, false, false, api_key_rotate },
	{ "POST", "/v1/keys/schedule", API_ADMIN, false, false, false, api_key_schedule },
	{ "POST", "/v1/keys/escrow", API_ADMIN, true, false, true, api_key_escrow },
	{ "GET", "/v1/keys/*/touches", API_READ, true, false, false, api_key_touches },
	{ "POST", "/v1/keys/*/state", API_ADMIN, false, false, false, api_key_set },
	{ "GET", "/v1/certs", API_READ, false, false, false, api_certs },
	{ "POST", "/v1/certs/renew", API_ADMIN, true, false, false, api_cert_renew },
	{ "GET", "/v1/ca", API_READ, false, false, false, api_ca },
	{ "POST", "/v1/ca/rotate", API_ADMIN, false, false, false, api_ca_rotate },
	{ "POST", "/v1/ca/abort", API_ADMIN, false, false, false, api_ca_abort },
	{ "POST", "/v1/ca/finish", API_ADMIN, false, false, false, api_ca_finish },
	{ "GET", "/v1/audit", API_AUDIT, false, false, false, api_audit_list },
	{ "POST", "/v1/audit/verify", API_AUDIT, true, false, false, api_audit_verify },
	{ "GET", "/v1/tokens", API_ADMIN, false, false, false, api_tokens },
	{ "POST", "/v1/tokens", API_ADMIN, false, false, false, api_token_create },
	{ "POST", "/v1/tokens/*/revoke", API_ADMIN, false, false, false, api_token_revoke },
	{ "GET", "/v1/changes", API_READ, false, false, false, api_changes },

	{ "GET", "/", 0, false, true, false, api_console },
	{ "GET", "/console/*", 0, false, true, false, api_console },
	{ NULL, NULL, 0, false, false, false, NULL },
};

const struct api_route *api_route_find(const char *method, const char *path, bool *ret_known)
{
	*ret_known = false;
	for (const struct api_route *r = api_routes; r->method != NULL; r++) {
		if (!api_path_fits(r->path, path)) {
			continue;
		}
		*ret_known = true;
		if (strcmp(r->method, method) == 0) {
			return r;
		}
	}
	return NULL;
}

static int cluster_expected(struct api_call *call, struct et_error *reterr)
{
	const char *name = call->api->config.cluster;
	if (call->expect_cluster[0] == '\0' || strcmp(call->expect_cluster, name) == 0) {
		return 0;
	}
	return et_fail_plain(reterr, ET_EREFUSED, "this node is of cluster %s, not of %.63s", name,
			     call->expect_cluster);
}

static int call_run(struct api_call *call, struct et_error *reterr)
{
	if (!call->route->fresh && !atomic_load(&call->api->attached)) {
		return api_detached(call->api, reterr);
	}
	int rc = api_authenticate(call, reterr);
	if (rc == 0) {
		rc = cluster_expected(call, reterr);
	}
	return rc < 0 ? rc : call->route->run(call, reterr);
}

void api_dispatch(struct api_call *call)
{
	struct et_error e = { 0 };
	(void)atomic_fetch_add(&call->api->requests, 1);
	int rc = call_run(call, &e);
	if (rc >= 0) {
		et_assert(call->ended);
		return;
	}
	if (call->begun) {
		api_break(call);
	} else {
		api_answer_error(call, rc, &e);
	}
}
