/* Why is a recording recorded, kept, archived, held, where it is? One answer, each statement with
 * its source: the rule that fired, policies by their revision, holds, the catalogue. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/rule/rule.h"

struct why {
	struct api_call *call;
	const struct et_state_view *v;
	const Et__Recording *r;
	struct api_nodes nodes;
	json_t *list; /* owned */
};

/* One statement; times of 0 are null. */
ET_PRINTF(6, 7)
static void say(struct why *w, const char *about, const char *source, int64_t since_us,
		int64_t until_us, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_t *o = json_object();
	et_json_set(o, "about", json_string(about));
	et_json_set(o, "what", et_json_text(text));
	et_json_set(o, "source", et_json_text(source));
	et_json_set(o, "since", api_time(since_us));
	et_json_set(o, "until", api_time(until_us));
	et_json_add(w->list, o);
}

/* ---- Recorded ---- */

static void say_recorded(struct why *w)
{
	const Et__Recording *r = w->r;
	const char *node = api_node_name(&w->nodes, r->node);
	char source[160];
	(void)snprintf(source, sizeof(source), "recording.rules of %.64s, when the call began",
		       node);
	if (r->rule[0] == '\0') {
		say(w, "recorded", "catalogue", r->start_us, r->end_us,
		    "captured by %.64s; which rule decided is not noted", node);
	} else if (strcmp(r->rule, "default") == 0) {
		say(w, "recorded", source, r->start_us, r->end_us,
		    "no rule of %.64s fired: its default is to record", node);
	} else {
		say(w, "recorded", source, r->start_us, r->end_us, "rule \"%.64s\" of %.64s fired",
		    r->rule, node);
	}
	if (r->kept[0] != '\0') {
		say(w, "recorded", "its recorder (by request: audit log, recording.keep)",
		    r->kept_us, 0, "on demand: kept by %.256s", r->kept);
	}
	for (size_t i = 0; i < r->n_gaps; i++) {
		bool paused = strcmp(r->gaps[i]->cause, "paused") == 0;
		say(w, "gap",
		    paused ? "a pause: by request (audit log), or by keys of a rule"
			   : "its recorder",
		    r->gaps[i]->from_us, r->gaps[i]->to_us, "%s: %.200s",
		    paused ? "nothing was written" : "something is missing", r->gaps[i]->cause);
	}
	if (r->tones >= ET_RULE_TONES_DROP) {
		uint64_t silenced = 0;
		for (size_t i = 0; i < r->n_streams; i++) {
			silenced += r->streams[i]->silenced;
		}
		say(w, "dropped", "its recorder", r->start_us, r->end_us,
		    "key presses in the audio were silence before it was written: %" PRIu64
		    " packets, marked in the tape",
		    silenced);
	}
	if (r->tones > ET_RULE_TONES_KEEP) {
		say(w, "masked", source, r->start_us, r->end_us,
		    "key presses in the audio are silence to whoever hears it; with the role "
		    "unmasker, tones=keep and a reason they are not");
	}
	if (r->problem[0] != '\0') {
		say(w, "problem", "its recorder", 0, 0, "%.600s", r->problem);
	}
}

/* ---- Written ---- */

static int say_padded(void *arg, const Et__Segment *s)
{
	struct why *w = arg;

	if (s->block_bytes > 0 && s->replaced_by == 0) {
		say(w, "padded", "its recorder (tapes: {padding: ...})", s->t0_us, 0,
		    "segment %" PRIu32 ": what of it has lengths that would tell who speaks when "
		    "is written in blocks of one size, one a second, at last of %" PRIu32 " bytes",
		    s->segment, s->block_bytes);
	}
	return 0;
}

/* ---- Held, kept, erased ---- */

static int say_hold(void *arg, const Et__Hold *h)
{
	struct why *w = arg;
	char source[256];
	(void)snprintf(source, sizeof(source), "hold \"%.128s\" by %.96s", h->matter, h->principal);
	say(w, "held", source, h->placed_us, 0, "%s: %.600s",
	    h->scope != NULL ? "a hold of conditions covers it" : "it is held", h->reason);
	return 0;
}

static void say_retention(struct why *w, const Et__Policy *policy, int64_t now_us)
{
	struct et_state_retention retention;
	struct et_state_exemption e;
	char source[96] = "no retention policy is in force";
	if (policy != NULL) {
		(void)snprintf(source, sizeof(source), "retention policy, revision %u",
			       policy->revision);
	}
	et_state_retention(policy, w->r, &retention);
	if (retention.keep_rule != NULL) {
		say(w, "kept", source, retention.since_us, retention.keep_until_us,
		    "rule \"%.64s\": must be kept%s", retention.keep_rule,
		    retention.keep_until_us <= now_us ? " (that is over)" : "");
	} else {
		say(w, "kept", source, 0, 0, "nothing asks to keep it");
	}
	if (retention.erase_rule != NULL) {
		say(w, "erased", source, retention.since_us, retention.erase_at_us,
		    "rule \"%.64s\": goes by itself then", retention.erase_rule);
	} else {
		say(w, "erased", source, 0, 0, "nothing erases it by itself");
	}
	if (et_state_exempt(w->v, policy, w->r, now_us, &e) == 0 && e.text[0] != '\0') {
		say(w, "erased", "catalogue", 0, 0, "may not be erased now: %.600s", e.text);
	}
}

static int say_rest(struct why *w, int64_t now_us)
{
	Et__Policy *policy = NULL;
	if (w->r->state == ET__RECORDING_STATE__ERASED) {
		char source[64];
		(void)snprintf(source, sizeof(source), "audit event %" PRIu64, w->r->erased_audit);
		say(w, "erased", source, w->r->erased_us, 0,
		    "it was erased: its keys are destroyed");
		return 0;
	}
	int rc = et_state_each_hold_over(w->v, w->r, say_hold, w);
	rc = rc < 0 ? rc : et_state_get_policy(w->v, ET_STATE_RETENTION, &policy);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	if (w->r->state == ET__RECORDING_STATE__CAPTURING) {
		say(w, "kept", "catalogue", 0, 0, "it is being made: retention begins at its end");
	} else {
		say_retention(w, policy, now_us);
	}
	if (policy != NULL) {
		et__policy__free_unpacked(policy, NULL);
	}
	return 0;
}

/* ---- Archived ---- */

static int say_archived(struct why *w, int64_t now_us, struct et_error *reterr)
{
	char source[96];
	uint32_t revision = api_policy_revision(w->v, ET_ARCHIVE_POLICY);
	struct et_archive_summary *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "why");
	}
	int rc = et_archive_plan_of(w->v, w->r->id.data, now_us, s, reterr);
	(void)snprintf(source, sizeof(source), "archive policy, revision %u", revision);
	if (rc == ET_ENOTFOUND) {
		say(w, "archived", "no archive policy is in force", 0, 0, "stays where it is");
		rc = 0;
	}
	for (size_t i = 0; i < s->row_count && rc == 0; i++) {
		const struct et_archive_summary_row *row = &s->rows[i];
		bool rule = row->rule[0] != '\0';
		say(w, "archived", source, 0, 0,
		    "%s%s%s%s%s%s: %s (%" PRIu64 " segments, %" PRIu64 " bytes)",
		    rule ? "rule \"" : "", row->rule, rule ? "\", " : "",
		    et_archive_action_name(row->action), row->target[0] != '\0' ? ", target " : "",
		    row->target, row->why, row->segments, row->bytes);
	}
	free(s);
	return rc;
}

/* ---- Where it is ---- */

#define PLACES_MAX 64
struct places {
	struct why *w;
	struct {
		char place[80];
		int64_t since_us;
		uint64_t copies;
		uint64_t bytes;
	} items[PLACES_MAX];
	size_t count;
};

static int place_take(void *arg, const Et__Copy *copy)
{
	struct places *p = arg;
	size_t i = 0;
	if (copy->state != ET__COPY__STATE__VERIFIED) {
		return 0;
	}
	while (i < p->count && strcmp(p->items[i].place, copy->place) != 0) {
		i++;
	}
	if (i == PLACES_MAX || strlen(copy->place) >= sizeof(p->items[0].place)) {
		return 0;
	}
	if (i == p->count) {
		p->count++;
		(void)snprintf(p->items[i].place, sizeof(p->items[i].place), "%s", copy->place);
	}
	p->items[i].copies++;
	p->items[i].bytes += copy->size_bytes;
	if (copy->verified_us > p->items[i].since_us) {
		p->items[i].since_us = copy->verified_us;
	}
	return 0;
}

static int say_places(struct why *w)
{
	struct places p = { .w = w, .count = 0 };
	int rc = et_state_each_copy_of(w->v, w->r->id.data, place_take, &p);
	for (size_t i = 0; i < p.count; i++) {
		unsigned long long node = 0;
		const char *name = p.items[i].place;
		if (sscanf(name, "node:%llu", &node) == 1 &&
		    *api_node_name(&w->nodes, node) != '\0') {
			name = api_node_name(&w->nodes, node);
		}
		say(w, "placed", "copies that were verified", p.items[i].since_us, 0,
		    "%.80s: %" PRIu64 " segments, %" PRIu64 " bytes", name, p.items[i].copies,
		    p.items[i].bytes);
	}
	if (p.count == 0) {
		say(w, "placed", "catalogue", 0, 0, "no verified copy is known");
	}
	return rc;
}

int api_recording_why(struct api_call *call, struct et_error *reterr)
{
	uint8_t id[16];
	struct et_catalog_status raft;
	Et__Recording *r = NULL;
	bool pending = false;
	int rc = api_path_id(call, id, reterr);
	rc = rc < 0 ? rc : api_recording_find(call, id, &r, &pending, reterr);
	if (rc < 0) {
		return rc;
	}
	struct why w = { .call = call, .v = call->view, .r = r, .list = json_array() };
	api_nodes_load(w.v, &w.nodes);
	et_catalog_status(call->api->services.catalog, &raft);
	say_recorded(&w);
	rc = et_state_each_segment_of(w.v, id, say_padded, &w);
	if (rc == 0 && pending) {
		say(&w, "placed", "journal of this node", 0, 0,
		    "not committed yet: only this node knows it");
	} else if (rc == 0) {
		rc = say_rest(&w, raft.cluster_time_us);
		if (rc == 0 && r->state != ET__RECORDING_STATE__ERASED) {
			rc = say_archived(&w, raft.cluster_time_us, reterr);
		}
		rc = rc < 0 ? rc : say_places(&w);
	}
	if (rc == 0) {
		json_t *o = json_object();
		et_json_set(o, "id", api_uuid(&r->id));
		et_json_set(o, "cluster_time", api_time(raft.cluster_time_us));
		et_json_set(o, "statements", json_incref(w.list));
		rc = api_json(call, 200, o);
	} else {
		(void)et_fail(reterr, rc, "why");
	}
	json_decref(w.list);
	et__recording__free_unpacked(r, NULL);
	return rc;
}
