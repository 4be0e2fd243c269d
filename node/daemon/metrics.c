/* What the daemon adds to /metrics: capture, the journal, the cluster port, its certificate.
 *
 * Threads: API workers; numbers are taken on the loop. */
#include <stddef.h>

#include "node/daemon/daemon_internal.h"

struct metrics_ask {
	struct et_daemon *daemon;
	struct et_capture_metrics capture;
	uint64_t pending;
	uint64_t stuck;
	uint64_t refused;
	struct et_tls_counts tls;
	struct et_keeper_health keeper;
};

#define AT(member) offsetof(struct metrics_ask, member)

/* Plain ones. All of them are uint64_t. */
static const struct {
	const char *name;
	const char *type;
	const char *help;
	size_t offset;
} rows[] = {
	{ "capture_packets_total", "counter", "Packets that reached the engine.",
	  AT(capture.packets.total) },
	{ "capture_sip_packets_total", "counter", "SIP messages.", AT(capture.packets.sip) },
	{ "capture_rtp_packets_total", "counter", "RTP packets in streams.",
	  AT(capture.packets.rtp) },
	{ "capture_rtcp_packets_total", "counter", "RTCP packets.", AT(capture.packets.rtcp) },
	{ "capture_tcp_connections", "gauge", "TCP connections that are read.",
	  AT(capture.tcp_connections) },
	{ "capture_tcp_messages_total", "counter", "SIP messages that came over TCP or WebSocket.",
	  AT(capture.tcp_messages) },
	{ "capture_tcp_gaps_total", "counter", "Holes in TCP streams that were given up.",
	  AT(capture.tcp_gaps) },
	{ "capture_tcp_cut_messages_total", "counter", "SIP messages over TCP that lost a part.",
	  AT(capture.tcp_cut) },
	{ "capture_tcp_too_long_messages_total", "counter",
	  "SIP messages over TCP of which only the headers were read.", AT(capture.tcp_too_long) },
	{ "capture_tcp_evicted_total", "counter",
	  "TCP streams that were given up because a pool was full.", AT(capture.tcp_evicted) },
	{ "capture_websocket_compressed_total", "counter",
	  "WebSocket messages under permessage-deflate: not read.",
	  AT(capture.websocket_compressed) },
	{ "capture_kernel_dropped_packets_total", "counter",
	  "Packets that the kernel's ring had no room for.", AT(capture.kernel_dropped) },
	{ "capture_media_dropped_packets_total", "counter",
	  "Packets of streams that did not reach a tape.", AT(capture.media_dropped) },
	{ "capture_tones_silenced_packets_total", "counter",
	  "Packets in which a key press was made silent before they were written.",
	  AT(capture.tones_silenced) },
	{ "capture_tones_cannot_drop_calls_total", "counter",
	  "Calls with audio that a rule cannot drop key presses from.", AT(capture.tones_cannot) },
	{ "capture_calls_live", "gauge", "Calls being recorded.", AT(capture.calls_live) },
	{ "capture_calls_total", "counter", "Calls seen.", AT(capture.calls_total) },
	{ "capture_calls_refused_disk_total", "counter",
	  "Calls not recorded: free space below the reserve.", AT(capture.calls_refused_disk) },
	{ "capture_calls_refused_journal_total", "counter",
	  "Calls not recorded: the journal refused.", AT(capture.calls_refused_journal) },
	{ "capture_keys_given_total", "counter", "Keys that came through the key socket.",
	  AT(capture.keys_given) },
	{ "capture_keys_wrong_total", "counter", "Lines of the key socket that are no keys.",
	  AT(capture.keys_wrong) },
	{ "capture_keys_refused_total", "counter",
	  "Connections to the key socket that were not allowed, or too many.",
	  AT(capture.keys_refused) },
	{ "siprec_sessions", "gauge", "Recording sessions of SIPREC clients, now.",
	  AT(capture.siprec_sessions) },
	{ "siprec_sessions_total", "counter",
	  "Recording sessions that were taken from SIPREC clients.", AT(capture.siprec_total) },
	{ "siprec_refused_total", "counter", "Recording sessions that were refused (4xx, 5xx).",
	  AT(capture.siprec_refused) },
	{ "siprec_connections", "gauge", "TCP and TLS connections of SIPREC clients.",
	  AT(capture.siprec_connections) },
	{ "siprec_evicted_total", "counter",
	  "Connections that were closed to make room, or not let in.", AT(capture.siprec_evicted) },
	{ "siprec_denied_total", "counter",
	  "Datagrams and connections of who may not record here (siprec: allow, client-ca).",
	  AT(capture.siprec_denied) },
	{ "siprec_resent_total", "counter", "SIP messages that were sent again.",
	  AT(capture.siprec_resent) },
	{ "tape_written_bytes_total", "counter", "Bytes written to tapes.",
	  AT(capture.tape_bytes) },
	{ "media_sync_failures_total", "counter", "Failed syncs of the media disk.",
	  AT(capture.sync_failures) },
	{ "media_free_bytes", "gauge", "Free space of the media disk.", AT(capture.free_bytes) },
	{ "journal_pending_commands", "gauge", "Commands that are not committed yet.",
	  AT(pending) },
	{ "journal_stuck_commands_total", "counter", "Commands that wait for the next start.",
	  AT(stuck) },
	{ "journal_refused_commands_total", "counter", "Commands the journal refused.",
	  AT(refused) },
	{ "capture_on_demand_calls", "gauge",
	  "Calls on demand that nobody kept (yet) and that can be kept.",
	  AT(capture.demand_calls) },
	{ "capture_on_demand_bytes", "gauge", "Of their rings, on disk.",
	  AT(capture.demand_bytes) },
	{ "capture_on_demand_kept_total", "counter", "Calls on demand that somebody kept.",
	  AT(capture.demand_kept) },
	{ "capture_on_demand_dropped_total", "counter",
	  "Calls on demand that nobody kept: their keys are wiped.", AT(capture.demand_dropped) },
	{ "capture_on_demand_cut_total", "counter",
	  "Parts of rings given up before their time: limits.on-demand, or the disk.",
	  AT(capture.demand_cut) },
	{ "capture_on_demand_lost_total", "counter",
	  "Calls on demand whose ring was lost by a restart.", AT(capture.demand_lost) },
	{ "capture_on_demand_failed_total", "counter",
	  "Tries to keep a call that the journal or the disk refused.", AT(capture.demand_failed) },
};

static void add_reasons(struct et_buffer *out, const struct et_capture_packets *p)
{
	et_api_metric_head(out, "capture_unclaimed_packets_total", "counter",
			   "Packets that might have been ours, by reason.");
	for (int i = 0; i < ET_UNCLAIMED_COUNT; i++) {
		et_buffer_printf(out,
				 "evertape_capture_unclaimed_packets_total{reason=\"%s\"} %llu\n",
				 et_capture_unclaimed_text((enum et_capture_unclaimed)i),
				 (unsigned long long)p->unclaimed[i]);
	}
	et_api_metric_head(out, "capture_other_packets_total", "counter",
			   "Packets of other kinds.");
	for (int i = 0; i < ET_OTHER_COUNT; i++) {
		et_buffer_printf(out, "evertape_capture_other_packets_total{kind=\"%s\"} %llu\n",
				 et_capture_other_text((enum et_capture_other)i),
				 (unsigned long long)p->other[i]);
	}
}

static void add_rules(struct et_buffer *out, const struct et_rules *rules,
		      const struct et_capture_metrics *m)
{
	et_api_metric_head(out, "capture_rule_calls_total", "counter",
			   "Calls by the recording rule that fired; action skip: not recorded.");
	for (uint32_t i = 0; i <= rules->count; i++) {
		const bool is_rule = i < rules->count;
		et_buffer_printf(
			out, "evertape_capture_rule_calls_total{rule=\"%s\",action=\"%s\"} %llu\n",
			is_rule ? rules->rules[i].name : "default",
			et_rule_action_text(is_rule ? rules->rules[i].action : rules->otherwise),
			(unsigned long long)m->rule_calls[i]);
	}
}

/* Who came to the cluster port, and this node's certificate. */
static void add_identity(struct et_buffer *out, const struct et_tls_counts *t,
			 const struct et_keeper_health *k)
{
	const struct {
		const char *cause;
		uint64_t count;
	} refused[] = {
		{ "untrusted", t->refused_untrusted }, { "member", t->refused_member },
		{ "protocol", t->refused_protocol },   { "busy", t->refused_busy },
		{ "timeout", t->handshake_timeouts },  { "broken", t->handshakes_broken },
	};

	et_api_metric(out, "cluster_accepted_total", "counter",
		      "Connections to the cluster port that were let in.", t->accepted);
	et_api_metric_head(out, "cluster_refused_total", "counter",
			   "Connections to the cluster port that were refused, by cause.");
	for (size_t i = 0; i < ET_ARRAY_SIZE(refused); i++) {
		et_buffer_printf(out, "evertape_cluster_refused_total{cause=\"%s\"} %llu\n",
				 refused[i].cause, (unsigned long long)refused[i].count);
	}
	et_api_metric(out, "cluster_cut_total", "counter",
		      "Connections that were cut: their node was removed, or their CA left trust.",
		      t->cut);
	et_api_metric(out, "cluster_unchained_total", "counter",
		      "Members that were let in by their recorded key alone: no CA that is trusted "
		      "vouched for them.",
		      t->unchained);
	et_api_metric(out, "certificate_renewals_total", "counter",
		      "Renewals of this node's certificate.", k->renewals);
	et_api_metric(out, "certificate_renewal_failures_total", "counter",
		      "Renewals that failed, and are tried again.", k->renewal_failures);
	et_api_metric(out, "certificate_expires_seconds", "gauge",
		      "End of this node's certificate, Unix time.",
		      (uint64_t)(k->cert_not_after_us / 1000000));
}

static void metrics_on_loop(void *arg)
{
	struct metrics_ask *ask = arg;
	struct et_daemon *d = ask->daemon;

	if (d->capture != NULL) {
		et_capture_metrics(d->capture, &ask->capture);
	}
	ask->pending = d->journal != NULL ? et_journal_pending(d->journal) : 0;
	ask->stuck = atomic_load(&d->events.stuck);
	ask->refused = atomic_load(&d->events.refused);
	if (d->keeper != NULL) {
		et_tls_counts(d->tls, &ask->tls);
		et_keeper_health(d->keeper, &ask->keeper);
	}
}

void daemon_metrics(void *arg, struct et_buffer *out)
{
	struct metrics_ask ask = { .daemon = arg };

	if (daemon_on_loop(arg, metrics_on_loop, &ask) < 0) {
		return;
	}
	add_identity(out, &ask.tls, &ask.keeper);
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		const void *value = (const char *)&ask + rows[i].offset;
		et_api_metric(out, rows[i].name, rows[i].type, rows[i].help,
			      *(const uint64_t *)value);
	}
	add_reasons(out, &ask.capture.packets);
	add_rules(out, &ask.daemon->config.rules, &ask.capture);
}
