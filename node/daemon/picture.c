/* What this node is told (its settings) and what its capture does now, as JSON: `config show`,
 * `capture show`.
 *
 * Threads: the loop. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/tape/keys.h"

json_t *daemon_time_json(int64_t us)
{
	char text[ET_TIME_TEXT_SIZE];

	et_time_format(us, text);
	return us > 0 ? json_string(text) : json_null();
}

/* ---- Settings ---- */

static bool roles_differ(const Et__Node *node, const json_t *said)
{
	size_t i;
	json_t *role;

	if (node->n_roles != json_array_size(said)) {
		return true;
	}
	json_array_foreach((json_t *)(uintptr_t)said, i, role)
	{
		bool found = false;
		for (size_t r = 0; r < node->n_roles; r++) {
			found = found || strcmp(node->roles[r], json_string_value(role)) == 0;
		}
		if (!found) {
			return true;
		}
	}
	return false;
}

/* Roles are the catalogue's: what the file says of them counts when the node is made. */
static json_t *roles_json(struct et_daemon *d, const json_t *setting)
{
	struct et_state_view *v = et_state_view_open(d->state);
	json_t *said = json_object_get(setting, "value");
	Et__Node *node = NULL;
	json_t *o = json_deep_copy(setting);

	if (v != NULL && et_state_get_node(v, d->identity.node, &node) == 0 &&
	    roles_differ(node, said)) {
		json_t *roles = json_array();
		for (size_t i = 0; i < node->n_roles; i++) {
			et_json_add(roles, et_json_text(node->roles[i]));
		}
		et_json_set(o, "value", roles);
		et_json_set(o, "source", json_string("cluster"));
		et_json_set(o, "said", json_incref(said));
	}
	et__node__free_unpacked(node, NULL);
	(void)et_state_view_close(v);
	return o;
}

json_t *daemon_config_json(struct et_daemon *d)
{
	json_t *list = json_array();
	json_t *o = json_object();
	struct stat st;
	size_t i;
	json_t *setting;

	json_array_foreach(d->settings.list, i, setting)
	{
		bool roles = strcmp(et_json_get_text(setting, "key", ""), "node.roles") == 0;
		et_json_add(list, roles && d->state != NULL ? roles_json(d, setting)
							    : json_incref(setting));
	}
	bool same = stat(d->config.file, &st) == 0 &&
		    st.st_mtim.tv_sec == d->settings.file.tv_sec &&
		    st.st_mtim.tv_nsec == d->settings.file.tv_nsec;
	et_json_set(o, "node", et_json_text(d->config.name));
	et_json_set(o, "file", et_json_text(d->config.file));
	et_json_set(o, "read_at", daemon_time_json(d->settings.read_us));
	et_json_set(o, "file_changed", json_boolean(!same));
	et_json_set(o, "settings", list);
	return o;
}

/* ---- Capture: calls ---- */

struct calls {
	const Et__Recording **list; /* owned; views: all of them */
	size_t count;
	size_t room;
	uint64_t paused;
	uint64_t keys_missing; /* some of what is protected cannot be opened */
	uint64_t answered;
	int64_t oldest_us;
};

static bool is_paused(const Et__Recording *r)
{
	for (size_t i = 0; i < r->n_gaps; i++) {
		if (r->gaps[i]->to_us == 0 && strcmp(r->gaps[i]->cause, "paused") == 0) {
			return true;
		}
	}
	return false;
}

static bool lacks_keys(const Et__Recording *r)
{
	return r->keys == ET_KEYS_MISSING || r->keys == ET_KEYS_PARTLY;
}

static void take_call(void *arg, const Et__Recording *r)
{
	struct calls *c = arg;

	if (c->list != NULL && c->count < c->room) {
		c->list[c->count++] = r;
	}
	c->paused += is_paused(r);
	c->keys_missing += lacks_keys(r);
	c->answered += r->answer_us > 0;
	if (c->oldest_us == 0 || r->start_us < c->oldest_us) {
		c->oldest_us = r->start_us;
	}
}

static int by_start(const void *a, const void *b)
{
	const Et__Recording *const *x = a;
	const Et__Recording *const *y = b;
	int64_t d = (*x)->start_us - (*y)->start_us;

	return d < 0 ? -1 : d > 0 ? 1 : memcmp((*x)->id.data, (*y)->id.data, 16);
}

json_t *daemon_call_json(const Et__Recording *r)
{
	json_t *o = json_object();
	char id[ET_UUID_TEXT_SIZE];
	uint64_t packets = 0;
	uint64_t lost = 0;

	for (size_t i = 0; i < r->n_streams; i++) {
		packets += r->streams[i]->packets;
		lost += r->streams[i]->lost;
	}
	et_uuid_format(r->id.data, id);
	et_json_set(o, "id", json_string(id));
	et_json_set(o, "from", et_json_text(r->from));
	et_json_set(o, "to", et_json_text(r->to));
	et_json_set(o, "start", daemon_time_json(r->start_us));
	et_json_set(o, "rule", et_json_text(r->rule));
	et_json_set(o, "packets", et_json_u64(packets));
	et_json_set(o, "lost", et_json_u64(lost));
	et_json_set(o, "paused", json_boolean(is_paused(r)));
	return o;
}

static json_t *call_json(const Et__Recording *r, int64_t now_us)
{
	static const char *const keys[] = { "untold", "missing", "partly", "complete" };
	json_t *o = daemon_call_json(r);

	et_json_set(o, "sip_call_id", et_json_text(r->sip_call_id));
	et_json_set(o, "direction", et_json_text(r->direction));
	et_json_set(o, "duration_ms",
		    json_integer(now_us > r->start_us ? (now_us - r->start_us) / 1000 : 0));
	et_json_set(o, "answered", json_boolean(r->answer_us > 0));
	et_json_set(o, "streams", json_integer((json_int_t)r->n_streams));
	et_json_set(o, "keys",
		    json_string(r->keys < ET_ARRAY_SIZE(keys) ? keys[r->keys] : "unknown"));
	et_json_set(o, "keys_missing", json_boolean(lacks_keys(r)));
	et_json_set(o, "siprec", json_boolean(r->session != NULL));
	et_json_set(o, "problem", et_json_text(r->problem));
	return o;
}

/* Calls in progress: what they come to, and the oldest `most` of them. */
static void add_calls(struct et_daemon *d, json_t *o, const struct et_capture_metrics *m,
		      size_t most)
{
	struct calls c = { .room = d->live.count };
	const int64_t now_us = et_clock_now_us();
	json_t *calls = json_object();
	json_t *refused = json_object();

	c.list = most > 0 ? calloc(d->live.count + 1, sizeof(*c.list)) : NULL;
	et_live_each(&d->live, take_call, &c);
	et_json_set(calls, "live", et_json_u64(m->calls_live));
	et_json_set(calls, "recording", json_integer((json_int_t)d->live.count));
	et_json_set(calls, "answered", et_json_u64(c.answered));
	et_json_set(calls, "paused", et_json_u64(c.paused));
	et_json_set(calls, "keys_missing", et_json_u64(c.keys_missing));
	et_json_set(calls, "oldest", daemon_time_json(c.oldest_us));
	et_json_set(calls, "limit", et_json_u64(d->config.limits.live_calls));
	et_json_set(calls, "total", et_json_u64(m->calls_total));
	et_json_set(refused, "disk", et_json_u64(m->calls_refused_disk));
	et_json_set(refused, "limit", et_json_u64(m->calls_refused_limit));
	et_json_set(refused, "journal", et_json_u64(m->calls_refused_journal));
	et_json_set(refused, "writer", et_json_u64(m->calls_refused_writer));
	et_json_set(refused, "drain", et_json_u64(m->calls_refused_drain));
	et_json_set(refused, "rule", et_json_u64(m->calls_refused_rule));
	et_json_set(calls, "refused", refused);
	et_json_set(o, "calls", calls);
	if (c.list != NULL) {
		json_t *list = json_array();
		qsort(c.list, c.count, sizeof(*c.list), by_start);
		for (size_t i = 0; i < c.count && i < most; i++) {
			et_json_add(list, call_json(c.list[i], now_us));
		}
		et_json_set(o, "in_progress", list);
		et_json_set(o, "more",
			    json_integer((json_int_t)(c.count > most ? c.count - most : 0)));
		free(c.list);
	}
}

/* ---- Capture: packets ---- */

static json_t *counts_json(const uint64_t *counts, int count, const char *(*name)(int which))
{
	json_t *o = json_object();

	for (int i = 0; i < count; i++) {
		if (counts[i] > 0) {
			et_json_set(o, name(i), et_json_u64(counts[i]));
		}
	}
	return o;
}

static const char *other_name(int which)
{
	return et_capture_other_text((enum et_capture_other)which);
}

static const char *unclaimed_name(int which)
{
	return et_capture_unclaimed_text((enum et_capture_unclaimed)which);
}

static json_t *packets_json(const struct et_capture_packets *p)
{
	json_t *o = json_object();

	et_json_set(o, "total", et_json_u64(p->total));
	et_json_set(o, "sip", et_json_u64(p->sip));
	et_json_set(o, "rtp", et_json_u64(p->rtp));
	et_json_set(o, "rtcp", et_json_u64(p->rtcp));
	et_json_set(o, "pending", et_json_u64(p->pending));
	et_json_set(o, "other", counts_json(p->other, ET_OTHER_COUNT, other_name));
	et_json_set(o, "unclaimed", counts_json(p->unclaimed, ET_UNCLAIMED_COUNT, unclaimed_name));
	return o;
}

static json_t *sources_json(const struct et_daemon *d, const struct et_capture_metrics *m)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < d->config.capture_count; i++) {
		const struct et_config_capture *c = &d->config.captures[i];
		const bool is_file = c->interface[0] == '\0';
		const struct et_capture_source_metrics *s = &m->sources[i];
		json_t *o = json_object();
		et_json_set(o, "name", et_json_text(is_file ? c->file : c->interface));
		et_json_set(o, "kind", json_string(is_file ? "file" : "interface"));
		et_json_set(o, "filter", et_json_text(c->filter));
		if (!is_file) {
			et_json_set(o, "rings", et_json_u64(c->rings));
		}
		if (i < m->source_count) {
			et_json_set(o, "open", json_boolean(s->open));
			et_json_set(o, "packets", et_json_u64(s->packets));
			et_json_set(o, "received", et_json_u64(s->received));
			et_json_set(o, "dropped", et_json_u64(s->dropped));
			et_json_set(o, "interface_dropped", et_json_u64(s->interface_dropped));
			et_json_set(o, "waiting", et_json_u64(s->waiting));
		} else {
			et_json_set(o, "open", json_false());
		}
		et_json_add(list, o);
	}
	return list;
}

/* ---- Capture: the rest ---- */

static json_t *writer_json(const struct et_daemon *d, const struct et_capture_metrics *m)
{
	json_t *o = json_object();

	et_json_set(o, "queue_bytes", et_json_u64(m->queue_bytes));
	et_json_set(o, "queue_limit_bytes", et_json_u64(m->queue_limit_bytes));
	et_json_set(o, "dropped_packets", et_json_u64(m->media_dropped));
	et_json_set(o, "written_packets", et_json_u64(m->tape_packets));
	et_json_set(o, "written_bytes", et_json_u64(m->tape_bytes));
	et_json_set(o, "synced_at", daemon_time_json(m->synced_us));
	et_json_set(o, "sync_failures", et_json_u64(m->sync_failures));
	et_json_set(o, "acknowledging", json_boolean(d->capture == NULL || m->acknowledging));
	et_json_set(o, "recovered_tapes", et_json_u64(m->recovered));
	et_json_set(o, "free_bytes", et_json_u64(m->free_bytes));
	et_json_set(o, "reserve_bytes", et_json_u64(d->config.limits.disk_reserve_bytes));
	et_json_set(o, "journal_pending",
		    et_json_u64(d->journal != NULL ? et_journal_pending(d->journal) : 0));
	return o;
}

static json_t *siprec_json(const struct et_daemon *d, const struct et_capture_metrics *m)
{
	static const char *const schemes[] = { "udp", "tcp", "tls" };
	const struct et_config_siprec *s = &d->config.siprec;
	json_t *listens = json_array();
	json_t *o = json_object();

	for (uint32_t i = 0; i < s->listen_count; i++) {
		et_json_add(listens, json_sprintf("%s://%s", schemes[s->listens[i].transport],
						  s->listens[i].address));
	}
	et_json_set(o, "listen", listens);
	et_json_set(o, "sessions", et_json_u64(m->siprec_sessions));
	et_json_set(o, "sessions_limit", et_json_u64(s->sessions));
	et_json_set(o, "sessions_total", et_json_u64(m->siprec_total));
	et_json_set(o, "refused", et_json_u64(m->siprec_refused));
	et_json_set(o, "connections", et_json_u64(m->siprec_connections));
	et_json_set(o, "evicted", et_json_u64(m->siprec_evicted));
	et_json_set(o, "denied", et_json_u64(m->siprec_denied));
	et_json_set(o, "resent", et_json_u64(m->siprec_resent));
	return o;
}

static json_t *tcp_json(const struct et_capture_metrics *m)
{
	json_t *o = json_object();

	et_json_set(o, "connections", et_json_u64(m->tcp_connections));
	et_json_set(o, "messages", et_json_u64(m->tcp_messages));
	et_json_set(o, "gaps", et_json_u64(m->tcp_gaps));
	et_json_set(o, "cut", et_json_u64(m->tcp_cut));
	et_json_set(o, "too_long", et_json_u64(m->tcp_too_long));
	et_json_set(o, "evicted", et_json_u64(m->tcp_evicted));
	et_json_set(o, "websocket_compressed", et_json_u64(m->websocket_compressed));
	return o;
}

static json_t *keys_json(const struct et_daemon *d, const struct et_capture_metrics *m)
{
	json_t *o = json_object();

	et_json_set(o, "socket", et_json_text(d->config.key_socket.path));
	et_json_set(o, "given", et_json_u64(m->keys_given));
	et_json_set(o, "wrong", et_json_u64(m->keys_wrong));
	et_json_set(o, "refused", et_json_u64(m->keys_refused));
	return o;
}

json_t *daemon_capture_json(struct et_daemon *d, size_t calls)
{
	struct et_capture_metrics m = { 0 };
	json_t *o = json_object();

	if (d->capture != NULL) {
		et_capture_metrics(d->capture, &m);
	}
	et_json_set(o, "node", et_json_text(d->config.name));
	et_json_set(o, "site", et_json_text(d->config.site));
	et_json_set(o, "time", daemon_time_json(et_clock_now_us()));
	et_json_set(o, "running", json_boolean(d->capture != NULL));
	et_json_set(o, "interfaces", sources_json(d, &m));
	et_json_set(o, "packets", packets_json(&m.packets));
	add_calls(d, o, &m, calls);
	et_json_set(o, "streams", et_json_u64(m.streams_live));
	et_json_set(o, "rules", daemon_rule_calls(&d->config.rules, &m));
	et_json_set(o, "writer", writer_json(d, &m));
	et_json_set(o, "siprec", siprec_json(d, &m));
	et_json_set(o, "tcp", tcp_json(&m));
	et_json_set(o, "keys", keys_json(d, &m));
	return o;
}
