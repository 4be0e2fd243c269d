/* Records of the catalogue as JSON. */
#include <stdio.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"
#include "node/rule/rule.h"
#include "node/tape/keys.h"

static int add_node(void *arg, const Et__Node *node)
{
	struct api_nodes *nodes = arg;
	if (nodes->count < ET_ARRAY_SIZE(nodes->nodes)) {
		nodes->nodes[nodes->count].id = node->id;
		(void)snprintf(nodes->nodes[nodes->count].name, 64, "%s", node->name);
		(void)snprintf(nodes->nodes[nodes->count].site, 64, "%s", node->site);
		nodes->count++;
	}
	return 0;
}

void api_nodes_load(const struct et_state_view *v, struct api_nodes *ret)
{
	ret->count = 0;
	(void)et_state_each_node(v, add_node, ret);
}

const char *api_node_name(const struct api_nodes *nodes, uint64_t id)
{
	for (size_t i = 0; i < nodes->count; i++) {
		if (nodes->nodes[i].id == id) {
			return nodes->nodes[i].name;
		}
	}
	return "";
}

json_t *api_time(int64_t us)
{
	char text[ET_TIME_TEXT_SIZE];
	if (us == 0) {
		return json_null();
	}
	et_time_format(us, text);
	return json_string(text);
}

json_t *api_uuid(const ProtobufCBinaryData *id)
{
	char text[ET_UUID_TEXT_SIZE];
	if (id->len != 16) {
		return json_null();
	}
	et_uuid_format(id->data, text);
	return json_string(text);
}

json_t *api_segment_name(uint32_t generation, uint32_t segment)
{
	char text[32];
	(void)snprintf(text, sizeof(text), "g%u-s%u", generation, segment);
	return json_string(text);
}

json_t *api_copy_json(const struct api_nodes *nodes, const Et__Copy *copy)
{
	static const char *const states[] = { "verified", "bad", "evicted", "lost" };
	json_t *o = json_object();
	unsigned long long node = 0;
	et_json_set(o, "segment", api_segment_name(copy->generation, copy->segment));
	et_json_set(o, "place", et_json_text(copy->place));
	if (sscanf(copy->place, "node:%llu", &node) == 1) {
		const char *name = api_node_name(nodes, node);
		et_json_set(o, "node", et_json_text(*name != '\0' ? name : copy->place));
		et_json_set(o, "site", et_json_text(copy->site));
	} else {
		const char *colon = strchr(copy->place, ':');
		et_json_set(o, "target", et_json_text(colon != NULL ? colon + 1 : copy->place));
		et_json_set(o, "object", et_json_text(copy->object));
		et_json_set(o, "offset", et_json_u64(copy->offset));
		et_json_set(o, "lock", et_json_text(copy->lock));
	}
	unsigned state = (unsigned)copy->state;
	et_json_set(o, "state", json_string(state < 4 ? states[state] : "unknown"));
	et_json_set(o, "verified_at", api_time(copy->verified_us));
	et_json_set(o, "size_bytes", et_json_u64(copy->size_bytes));
	return o;
}

/* What the copies of one recording come to. */
struct copies {
	const struct api_nodes *nodes;
	json_t *list;
	uint32_t segments;	     /* to be held */
	uint32_t archived_segments;  /* with a verified copy in a target; counted once each */
	uint32_t protected_segments; /* verified at two sites or more */
	/* Of the segment at hand: copies come in its order. */
	uint32_t generation, segment;
	const struct et_state_view *v;
	bool replaced_any; /* there are older generations: their copies do not count */
	bool replaced;	   /* that at hand is one */
	bool archived;
	char site[64];
	bool two_sites;
	uint32_t keys; /* enum et_keys_state, of the newest segment of late keys; 0: none */
	int64_t keys_us;
};

static void copies_segment_done(struct copies *c)
{
	c->archived_segments += c->archived && !c->replaced;
	c->protected_segments += c->two_sites && !c->replaced;
	c->archived = false;
	c->two_sites = false;
	c->site[0] = '\0';
}

static bool is_replaced(const struct et_state_view *v, const Et__Copy *copy)
{
	Et__Segment *segment = NULL;
	bool is = et_state_get_segment(v, copy->recording.data, copy->generation, copy->segment,
				       &segment) == 0 &&
		  !et_state_segment_is_newest(segment);
	et__segment__free_unpacked(segment, NULL);
	return is;
}

static int add_copy(void *arg, const Et__Copy *copy)
{
	struct copies *c = arg;
	if (copy->generation != c->generation || copy->segment != c->segment) {
		copies_segment_done(c);
		c->generation = copy->generation;
		c->segment = copy->segment;
		c->replaced = c->replaced_any && is_replaced(c->v, copy);
	}
	if (copy->state == ET__COPY__STATE__VERIFIED) {
		if (strncmp(copy->place, "target:", 7) == 0) {
			c->archived = true;
		} else if (c->site[0] == '\0') {
			(void)snprintf(c->site, sizeof(c->site), "%s", copy->site);
		} else if (strcmp(c->site, copy->site) != 0) {
			c->two_sites = true;
		}
	}
	et_json_add(c->list, api_copy_json(c->nodes, copy));
	return 0;
}

static int count_segment(void *arg, const Et__Segment *segment)
{
	struct copies *c = arg;
	bool newest = et_state_segment_is_newest(segment);
	c->segments += newest && segment->state != ET__SEGMENT_STATE__SEGMENT_LOST;
	c->replaced_any = c->replaced_any || !newest;
	if (newest && segment->keys != 0 && segment->t0_us >= c->keys_us &&
	    segment->state != ET__SEGMENT_STATE__SEGMENT_LOST &&
	    segment->state != ET__SEGMENT_STATE__SEGMENT_OPEN) {
		c->keys = segment->keys;
		c->keys_us = segment->t0_us;
	}
	return 0;
}

static const char *state_word(const Et__Recording *r, bool pending, const struct copies *c)
{
	switch (r->state) {
	case ET__RECORDING_STATE__CAPTURING:
		return "capturing";
	case ET__RECORDING_STATE__LOST:
		return "lost";
	case ET__RECORDING_STATE__ERASED:
		return "erased";
	case ET__RECORDING_STATE__SEALED:
	case _ET__RECORDING_STATE_IS_INT_SIZE:
	default:
		break;
	}
	if (pending) {
		return "sealed";
	}
	if (c->segments > 0 && c->archived_segments >= c->segments) {
		return "archived";
	}
	return c->segments > 0 && c->protected_segments >= c->segments ? "protected" : "committed";
}

static json_t *stream_json(const Et__Stream *s)
{
	char ssrc[16];
	json_t *o = json_object();
	(void)snprintf(ssrc, sizeof(ssrc), "0x%08x", s->ssrc);
	et_json_set(o, "stream", json_integer(s->stream));
	et_json_set(o, "ssrc", json_string(ssrc));
	et_json_set(o, "src", et_json_text(s->src));
	et_json_set(o, "dst", et_json_text(s->dst));
	et_json_set(o, "codec", et_json_text(s->codec));
	et_json_set(o, "association", et_json_text(s->association));
	et_json_set(o, "party", json_integer(s->party));
	et_json_set(o, "packets", et_json_u64(s->packets));
	et_json_set(o, "lost", et_json_u64(s->lost));
	et_json_set(o, "duplicate", et_json_u64(s->duplicate));
	et_json_set(o, "late", et_json_u64(s->late));
	et_json_set(o, "silenced", et_json_u64(s->silenced));
	et_json_set(o, "jitter_us", json_integer(s->jitter_us));
	et_json_set(o, "first_us", json_integer(s->first_us));
	et_json_set(o, "last_us", json_integer(s->last_us));
	return o;
}

static int add_segment(void *arg, const Et__Segment *segment)
{
	static const char *const states[] = { "open", "sealed", "recovered-unverified", "recovered",
					      "lost" };
	json_t *o = json_object();
	unsigned state = (unsigned)segment->state;
	et_json_set(o, "segment", api_segment_name(segment->generation, segment->segment));
	et_json_set(o, "state", json_string(state < 5 ? states[state] : "unknown"));
	et_json_set(o, "file", et_json_text(segment->file));
	et_json_set(o, "size_bytes", et_json_u64(segment->size_bytes));
	et_json_set(o, "records", et_json_u64(segment->records));
	et_json_set(o, "root", et_json_hex(segment->root.data, segment->root.len));
	if (segment->seal_hash.len > 0) {
		et_json_set(o, "seal_hash",
			    et_json_hex(segment->seal_hash.data, segment->seal_hash.len));
	}
	if (segment->object_hash.len > 0) {
		et_json_set(o, "sha256",
			    et_json_hex(segment->object_hash.data, segment->object_hash.len));
	}
	et_json_set(o, "block_bytes",
		    segment->block_bytes > 0 ? json_integer(segment->block_bytes) : json_null());
	et_json_set(o, "sealed", api_time(segment->sealed_us));
	et_json_set(o, "replaced_by",
		    segment->replaced_by != 0 ? json_integer(segment->replaced_by) : json_null());
	if (segment->link.len > 0) {
		et_json_set(o, "link", et_json_hex(segment->link.data, segment->link.len));
	}
	if (segment->wrap != NULL) {
		et_json_set(o, "kek_version", json_integer(segment->wrap->kek_version));
		et_json_set(o, "erased", json_boolean(segment->wrap->erased));
	}
	et_json_add(arg, o);
	return 0;
}

static json_t *redactions_json(const Et__Recording *r)
{
	json_t *list = json_array();
	for (size_t i = 0; i < r->n_redactions; i++) {
		const Et__Redaction *d = r->redactions[i];
		json_t *o = json_object();
		et_json_set(o, "id", et_json_u64(d->asked_index));
		et_json_set(o, "from", api_time(d->from_us));
		et_json_set(o, "to", api_time(d->to_us));
		et_json_set(o, "reason", et_json_text(d->reason));
		et_json_set(o, "principal", et_json_text(d->principal));
		et_json_set(o, "asked", api_time(d->asked_us));
		et_json_set(o, "done", api_time(d->done_us));
		et_json_add(list, o);
	}
	return list;
}

static json_t *participants_json(const Et__Session *s)
{
	json_t *list = json_array();
	for (size_t i = 0; s != NULL && i < s->n_participants; i++) {
		const Et__Participant *p = s->participants[i];
		json_t *who = json_object();
		et_json_set(who, "id", et_json_text(p->id));
		et_json_set(who, "aor", et_json_text(p->aor));
		et_json_set(who, "number", et_json_text(p->number));
		et_json_set(who, "name", et_json_text(p->name));
		et_json_set(who, "labels", et_json_text(p->labels));
		et_json_set(who, "party", json_integer(p->party));
		et_json_set(who, "joined", api_time(p->joined_us));
		et_json_set(who, "left", api_time(p->left_us));
		et_json_set(who, "gone", json_boolean(p->gone));
		et_json_add(list, who);
	}
	return list;
}

/* What a recording client told of the session that it sent. */
static json_t *session_json(const Et__Session *s)
{
	json_t *o = json_object();
	et_json_set(o, "id", et_json_text(s->id));
	et_json_set(o, "group", et_json_text(s->group));
	et_json_set(o, "sip_session", et_json_text(s->sip_session));
	et_json_set(o, "start", api_time(s->start_us));
	et_json_set(o, "stop", api_time(s->stop_us));
	et_json_set(o, "revision", json_integer(s->revision));
	return o;
}

/* Why it is a leg of its call. */
static const char *joined_word(const Et__Recording *r)
{
	const Et__HandKind what = r->hand != NULL ? r->hand->what : ET__HAND_KIND__HAND_NONE;

	return what == ET__HAND_KIND__HAND_JOINED  ? "by hand"
	       : what == ET__HAND_KIND__HAND_SPLIT ? ""
						   : r->joined;
}

/* Who grouped it by hand, and why; null: nobody. */
static json_t *hand_json(const Et__Hand *hand)
{
	static const char *const words[] = { "", "joined", "split", "follows" };
	json_t *o = json_object();

	if (hand == NULL || hand->what >= ET_ARRAY_SIZE(words)) {
		json_decref(o);
		return json_null();
	}
	et_json_set(o, "what", json_string(words[hand->what]));
	et_json_set(o, "was", api_uuid(&hand->was));
	et_json_set(o, "principal", et_json_text(hand->principal));
	et_json_set(o, "reason", et_json_text(hand->reason));
	et_json_set(o, "at", api_time(hand->at_us));
	et_json_set(o, "index", et_json_u64(hand->at_index));
	return o;
}

/* Another leg of its call. */
static int add_leg(void *arg, const Et__Recording *r)
{
	json_t *o = json_object();
	et_json_set(o, "id", api_uuid(&r->id));
	et_json_set(o, "start", api_time(r->start_us));
	et_json_set(o, "from", et_json_text(r->from));
	et_json_set(o, "to", et_json_text(r->to));
	et_json_set(o, "site", et_json_text(r->site));
	et_json_set(o, "joined", et_json_text(joined_word(r)));
	et_json_add(arg, o);
	return 0;
}

static json_t *legs_json(const struct et_state_view *v, const Et__Recording *r)
{
	json_t *all = json_array();
	json_t *others = json_array();
	json_t *leg;
	size_t i;
	char id[ET_UUID_TEXT_SIZE] = "";
	if (r->call.len == 16 && r->id.len == 16) {
		(void)et_state_each_of_call(v, r->call.data, add_leg, all);
		et_uuid_format(r->id.data, id);
	}
	json_array_foreach(all, i, leg)
	{
		if (strcmp(et_json_get_text(leg, "id", ""), id) != 0) {
			et_json_add(others, json_incref(leg));
		}
	}
	json_decref(all);
	return others;
}

/* What becomes of key presses in its audio; "": its recorder did not say. */
static const char *tones_word(const Et__Recording *r)
{
	return r->tones <= ET_RULE_TONES_STRICT ? et_rule_tones_text((enum et_rule_tones)r->tones)
						: "mask"; /* of a newer recorder: masked here */
}

static void add_details(const struct et_state_view *v, const Et__Recording *r, json_t *o)
{
	json_t *gaps = json_array();
	bool paused = false;
	json_t *segments = json_array();
	for (size_t i = 0; i < r->n_gaps; i++) {
		json_t *gap = json_object();
		et_json_set(gap, "from", api_time(r->gaps[i]->from_us));
		et_json_set(gap, "to", api_time(r->gaps[i]->to_us));
		et_json_set(gap, "cause", et_json_text(r->gaps[i]->cause));
		et_json_add(gaps, gap);
		paused = paused ||
			 (r->gaps[i]->to_us == 0 && r->state == ET__RECORDING_STATE__CAPTURING &&
			  strcmp(r->gaps[i]->cause, "paused") == 0);
	}
	if (r->id.len == 16) {
		(void)et_state_each_segment_of(v, r->id.data, add_segment, segments);
	}
	api_told_json(v, r, o);
	et_json_set(o, "answered", api_time(r->answer_us));
	et_json_set(o, "from_uri", et_json_text(r->from_uri));
	et_json_set(o, "to_uri", et_json_text(r->to_uri));
	et_json_set(o, "direction", et_json_text(r->direction));
	et_json_set(o, "rule", et_json_text(r->rule));
	et_json_set(o, "tones", et_json_text(tones_word(r)));
	et_json_set(o, "capture_drops", et_json_u64(r->capture_drops));
	et_json_set(o, "opened_index", et_json_u64(r->opened_index));
	if (r->state == ET__RECORDING_STATE__ERASED) {
		et_json_set(o, "erased", api_time(r->erased_us));
		et_json_set(o, "erased_index", et_json_u64(r->erased_index));
		et_json_set(o, "erased_audit", et_json_u64(r->erased_audit));
	}
	et_json_set(o, "gaps", gaps);
	et_json_set(o, "redactions", redactions_json(r));
	et_json_set(o, "paused", json_boolean(paused));
	et_json_set(o, "legs", legs_json(v, r));
	et_json_set(o, "hand", hand_json(r->hand));
	et_json_set(o, "segments", segments);
	et_json_set(o, "participants", participants_json(r->session));
	et_json_set(o, "session", r->session != NULL ? session_json(r->session) : json_null());
}

/* The file that it was made of; null for what a recorder captured. */
static json_t *imported_json(const Et__Imported *m)
{
	json_t *o = json_object();
	et_json_set(o, "name", et_json_text(m->name));
	et_json_set(o, "format", et_json_text(m->format));
	et_json_set(o, "sha256", et_json_hex(m->sha256.data, m->sha256.len));
	et_json_set(o, "size_bytes", et_json_u64(m->size_bytes));
	et_json_set(o, "part", json_integer(m->part));
	et_json_set(o, "parts", json_integer(m->parts));
	et_json_set(o, "untimed", json_boolean(m->untimed));
	et_json_set(o, "packets_left_out", et_json_u64(m->left_out));
	et_json_set(o, "by", et_json_text(m->principal));
	et_json_set(o, "at", api_time(m->imported_us));
	return o;
}

static json_t *duration(const Et__Recording *r)
{
	int64_t end = r->end_us;
	for (size_t i = 0; i < r->n_streams && end == 0; i++) {
		end = r->streams[i]->last_us > end ? r->streams[i]->last_us : end;
	}
	return end > r->start_us ? json_integer((end - r->start_us) / 1000) : json_null();
}

/* What the recorder said of missing keys is over when they came later. */
static void set_keys(const Et__Recording *r, const struct copies *c, json_t *o)
{
	const uint32_t state = c->keys != 0 ? c->keys : r->keys;
	const bool over = state == ET_KEYS_COMPLETE && strstr(r->problem, ET_KEYS_PROBLEM) != NULL;

	et_json_set(o, "keys",
		    state != ET_KEYS_UNTOLD ? json_string(api_keys_word(state)) : json_null());
	et_json_set(o, "problem", over ? json_string("") : et_json_text(r->problem));
}

json_t *api_recording_json(const struct et_state_view *v, const struct api_nodes *nodes,
			   const Et__Recording *r, bool pending, bool details)
{
	json_t *o = json_object();
	json_t *streams = json_array();
	struct copies copies = { .nodes = nodes, .list = json_array(), .v = v };
	if (r->id.len == 16) {
		(void)et_state_each_segment_of(v, r->id.data, count_segment, &copies);
		(void)et_state_each_copy_of(v, r->id.data, add_copy, &copies);
	}
	copies_segment_done(&copies);
	for (size_t i = 0; i < r->n_streams; i++) {
		et_json_add(streams, stream_json(r->streams[i]));
	}
	et_json_set(o, "id", api_uuid(&r->id));
	et_json_set(o, "call", api_uuid(&r->call));
	et_json_set(o, "joined", et_json_text(joined_word(r)));
	et_json_set(o, "kept", et_json_text(r->kept));
	et_json_set(o, "kept_at", api_time(r->kept_us));
	et_json_set(o, "start", api_time(r->start_us));
	et_json_set(o, "end", api_time(r->end_us));
	et_json_set(o, "duration_ms", duration(r));
	et_json_set(o, "from", et_json_text(r->from));
	et_json_set(o, "to", et_json_text(r->to));
	et_json_set(o, "site", et_json_text(r->site));
	et_json_set(o, "node", et_json_text(api_node_name(nodes, r->node)));
	et_json_set(o, "state", json_string(state_word(r, pending, &copies)));
	et_json_set(o, "call_state", et_json_text(r->call_state));
	et_json_set(o, "pending", json_boolean(pending));
	et_json_set(o, "holds", api_holds_over(v, r));
	et_json_set(o, "streams", streams);
	et_json_set(o, "copies", copies.list);
	et_json_set(o, "twin_of", json_null());
	et_json_set(o, "sip_call_id", et_json_text(r->sip_call_id));
	et_json_set(o, "imported", r->imported != NULL ? imported_json(r->imported) : json_null());
	set_keys(r, &copies, o);
	if (details) {
		add_details(v, r, o);
	}
	return o;
}

json_t *api_audit_json(const Et__AuditEvent *e)
{
	json_t *o = json_object();
	et_json_set(o, "number", et_json_u64(e->number));
	et_json_set(o, "index", et_json_u64(e->index));
	et_json_set(o, "time", api_time(e->time_us != 0 ? e->time_us : e->proposed_us));
	et_json_set(o, "time_us", json_integer(e->time_us));
	et_json_set(o, "proposed_us", json_integer(e->proposed_us));
	et_json_set(o, "node", et_json_u64(e->node));
	et_json_set(o, "principal", et_json_text(e->principal));
	et_json_set(o, "action", et_json_text(e->action));
	et_json_set(o, "target", et_json_text(e->target));
	et_json_set(o, "reason", et_json_text(e->reason));
	et_json_set(o, "outcome", et_json_text(e->outcome));
	et_json_set(o, "detail", et_json_text(e->detail));
	et_json_set(o, "prev_hash", et_json_hex(e->prev_hash.data, e->prev_hash.len));
	et_json_set(o, "hash", et_json_hex(e->hash.data, e->hash.len));
	return o;
}

json_t *api_policy_json(const Et__Policy *p)
{
	json_t *o = json_object();
	et_json_set(o, "name", et_json_text(p->name));
	et_json_set(o, "revision", json_integer(p->revision));
	et_json_set(o, "text", et_json_text(p->text));
	et_json_set(o, "hash", et_json_hex(p->hash.data, p->hash.len));
	et_json_set(o, "applied", api_time(p->applied_us));
	et_json_set(o, "principal", et_json_text(p->principal));
	return o;
}

json_t *api_exempt_json(const Et__Plan *plan)
{
	json_t *list = json_array();
	for (size_t i = 0; i < plan->n_items; i++) {
		if (strcmp(plan->items[i]->action, "exempt") == 0) {
			json_t *o = json_object();
			et_json_set(o, "recording", api_uuid(&plan->items[i]->recording));
			et_json_set(o, "why", et_json_text(plan->items[i]->why));
			et_json_add(list, o);
		}
	}
	return list;
}

void api_pem(const ProtobufCBinaryData *der, struct et_buffer *ret)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	et_buffer_printf(ret, "-----BEGIN CERTIFICATE-----\n");
	for (size_t i = 0; i < der->len; i += 3) {
		uint32_t v = (uint32_t)der->data[i] << 16;
		v |= i + 1 < der->len ? (uint32_t)der->data[i + 1] << 8 : 0;
		v |= i + 2 < der->len ? der->data[i + 2] : 0;
		for (size_t j = 0; j < 4; j++) {
			bool padding = i + j > der->len;
			et_buffer_add8(ret,
				       padding ? '=' : (uint8_t)digits[v >> (18 - 6 * j) & 63]);
		}
		if (i % 48 == 45 || i + 3 >= der->len) { /* 64 characters a line */
			et_buffer_add8(ret, '\n');
		}
	}
	et_buffer_printf(ret, "-----END CERTIFICATE-----\n");
}
