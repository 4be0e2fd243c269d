#include "replication/sync/look_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/command/schema.h"
#include "replication/limit/limit.h"

#define COPIES_MAX 256 /* of one recording's segment; more are ignored */

/* The members as placement sees them, of one view. */
struct world {
	struct et_plan_node nodes[ET_PLAN_NODES_MAX];
	char sites[ET_PLAN_NODES_MAX][64];
	char addresses[ET_PLAN_NODES_MAX][64];
	bool gone[ET_PLAN_NODES_MAX]; /* removed, or revoked */
	size_t count;
	uint32_t schema; /* the committed one */
};

static bool node_serves(const Et__Node *node)
{
	return (node->state == ET__NODE_STATE__ACTIVE || node->state == ET__NODE_STATE__DRAINING) &&
	       et_plan_stores((const char *const *)node->roles, node->n_roles);
}

static int world_add(void *arg, const Et__Node *node)
{
	struct world *w = arg;

	if (w->count == ET_PLAN_NODES_MAX) {
		return 1;
	}
	size_t i = w->count++;
	(void)snprintf(w->sites[i], sizeof(w->sites[i]), "%s", node->site);
	(void)snprintf(w->addresses[i], sizeof(w->addresses[i]), "%s", node->address);
	w->gone[i] =
		node->state == ET__NODE_STATE__REMOVED || node->state == ET__NODE_STATE__REVOKED;
	w->nodes[i] = (struct et_plan_node){
		.id = node->id,
		.site = w->sites[i],
		.serves = node_serves(node),
		.accepts = node_serves(node) && node->state == ET__NODE_STATE__ACTIVE,
	};
	return 0;
}

static int world_read(const struct et_state_view *view, struct world *w)
{
	memset(w, 0, sizeof(*w));
	int rc = et_state_each_node(view, world_add, w);
	return rc < 0 ? rc : 0;
}

static void world_own_site(const struct world *w, uint64_t node, char ret[64])
{
	ret[0] = '\0';
	for (size_t i = 0; i < w->count; i++) {
		if (w->nodes[i].id == node) {
			memcpy(ret, w->sites[i], sizeof(w->sites[i]));
		}
	}
}

/* The copies of one segment, collected while walking those of its recording. */
struct copies {
	const Et__Segment *segment; /* borrowed */
	struct et_plan_copy copies[COPIES_MAX];
	size_t count;
	size_t held;
	bool archived;
	bool damaged; /* a copy was bad or lost */
};

static int copies_add(void *arg, const Et__Copy *copy)
{
	struct copies *c = arg;
	uint64_t node = 0;

	if (copy->generation != c->segment->generation || copy->segment != c->segment->segment) {
		return 0;
	}
	bool held = copy->state == ET__COPY__STATE__VERIFIED;
	if (strncmp(copy->place, "target:", 7) == 0) {
		c->archived = c->archived || held;
		return 0;
	}
	if (sscanf(copy->place, "node:%" SCNu64, &node) != 1 || c->count == COPIES_MAX) {
		return 0;
	}
	bool released = copy->state == ET__COPY__STATE__EVICTED;
	c->copies[c->count++] = (struct et_plan_copy){
		.node = node,
		.state = held	    ? ET_PLAN_COPY_HELD
			 : released ? ET_PLAN_COPY_RELEASED
				    : ET_PLAN_COPY_USELESS,
	};
	c->held += held;
	c->damaged = c->damaged || (!held && !released);
	return 0;
}

/* Is there something to move: sealed, not erased, and not replaced by a newer generation? */
static bool segment_moves(const Et__Segment *segment)
{
	bool sealed = segment->state == ET__SEGMENT_STATE__SEGMENT_SEALED ||
		      segment->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED ||
		      segment->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED;
	bool erased = segment->wrap != NULL && segment->wrap->erased;
	return sealed && !erased && et_state_segment_is_newest(segment) &&
	       segment->recording.len == 16 && segment->root.len == 32;
}

static struct et_plan plan_of(const struct world *w, const struct copies *c)
{
	const Et__Segment *segment = c->segment;
	struct et_plan plan = {
		.nodes = w->nodes,
		.node_count = w->count,
		.generation = segment->generation,
		.segment = segment->segment,
		.owner = segment->node,
		.held = c->copies,
		.held_count = c->count,
		.archived = c->archived,
	};
	memcpy(plan.recording, segment->recording.data, 16);
	return plan;
}

static void expect_of(const Et__Segment *segment, struct et_expect *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->recording, segment->recording.data, 16);
	ret->generation = segment->generation;
	ret->segment = segment->segment;
	memcpy(ret->root, segment->root.data, 32);
	ret->has_header_hash = segment->header_hash.len == 32;
	if (ret->has_header_hash) {
		memcpy(ret->header_hash, segment->header_hash.data, 32);
	}
	ret->has_seal_hash = segment->seal_hash.len == 32;
	if (ret->has_seal_hash) {
		memcpy(ret->seal_hash, segment->seal_hash.data, 32);
	}
	ret->has_object_hash = segment->object_hash.len == 32;
	if (ret->has_object_hash) {
		memcpy(ret->object_hash, segment->object_hash.data, 32);
	}
	ret->records = segment->records;
	ret->size_bytes = segment->size_bytes;
}

static void look_sources(struct et_look *look, const struct world *w, const struct et_plan *plan,
			 struct et_look_result *r)
{
	uint64_t nodes[ET_LOOK_SOURCES_MAX];
	size_t count = et_plan_sources(plan, look->node, nodes, ET_LOOK_SOURCES_MAX);

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < w->count; j++) {
			if (nodes[i] != ET_PLAN_ARCHIVE && w->nodes[j].id == nodes[i]) {
				struct et_look_source *source = &r->sources[r->source_count++];
				source->node = nodes[i];
				memcpy(source->site, w->sites[j], sizeof(source->site));
				memcpy(source->address, w->addresses[j], sizeof(source->address));
			}
		}
	}
}

/* The number of `site` in the job's list; ET_SYNC_SITES_MAX when it is full. */
static uint32_t look_site(struct et_look *look, const char *site)
{
	for (uint32_t i = 0; i < look->site_count; i++) {
		if (strcmp(look->sites[i], site) == 0) {
			return i;
		}
	}
	if (look->site_count < ET_SYNC_SITES_MAX) {
		(void)snprintf(look->sites[look->site_count], sizeof(look->sites[0]), "%s", site);
		return look->site_count++;
	}
	return ET_SYNC_SITES_MAX;
}

static void look_decide(struct et_look *look, const struct world *w, const Et__Segment *segment,
			const struct copies *copies, struct et_look_result *r)
{
	const char *missing[ET_PLAN_SITES_MAX];
	struct et_plan plan = plan_of(w, copies);

	expect_of(segment, &r->expect);
	(void)snprintf(r->file, sizeof(r->file), "%s", segment->file);
	r->sealed_us = segment->sealed_us;
	r->turn = et_plan_turn(&plan, look->node);
	r->archived = copies->archived;
	for (size_t i = 0; i < copies->count; i++) {
		r->own_copy = r->own_copy || (copies->copies[i].node == look->node &&
					      copies->copies[i].state == ET_PLAN_COPY_HELD);
	}
	for (size_t i = 0; i < copies->count && r->bad_count < ET_LOOK_SOURCES_MAX; i++) {
		if (copies->copies[i].state == ET_PLAN_COPY_USELESS) {
			r->bad[r->bad_count++] = copies->copies[i].node;
		}
	}
	/* What stands on one leg goes first. */
	r->klass = copies->damaged    ? ET_SYNC_REPAIR
		   : copies->held < 2 ? ET_SYNC_NEW
				      : ET_SYNC_REBALANCE;
	size_t count = et_plan_missing(&plan, missing);
	for (size_t i = 0; i < count; i++) {
		uint32_t site = look_site(look, missing[i]);
		if (site < ET_SYNC_SITES_MAX) {
			r->missing |= UINT64_C(1) << site;
		}
	}
	look_sources(look, w, &plan, r);
}

static void look_one(struct et_look *look, const struct et_state_view *view, const struct world *w,
		     struct et_look_result *r)
{
	Et__Segment *segment = NULL;
	struct copies copies = { 0 };

	r->code = et_state_get_segment(view, r->key.recording, r->key.generation, r->key.segment,
				       &segment);
	if (r->code < 0) {
		return;
	}
	copies.segment = segment;
	if (!segment_moves(segment)) {
		r->code = ET_ENOTFOUND;
	} else {
		int rc = et_state_each_copy_of(view, r->key.recording, copies_add, &copies);
		r->code = rc < 0 ? rc : 0;
	}
	if (r->code == 0) {
		look_decide(look, w, segment, &copies, r);
	}
	et__segment__free_unpacked(segment, NULL);
}

void et_look_run(struct et_look *look)
{
	struct world *w = malloc(sizeof(*w));
	struct et_state_view *view = et_state_view_open(look->state);

	int rc = w == NULL || view == NULL ? -ENOMEM : world_read(view, w);
	look->index = view != NULL ? et_state_view_index(view) : 0;
	look->site_count = 0;
	look->own_site[0] = '\0';
	if (rc == 0) {
		world_own_site(w, look->node, look->own_site);
	}
	for (size_t i = 0; rc == 0 && i < w->count; i++) {
		if (w->nodes[i].serves) {
			(void)look_site(look, w->sites[i]);
		}
	}
	for (uint32_t i = 0; i < look->count; i++) {
		struct et_key key = look->results[i].key;
		memset(&look->results[i], 0, sizeof(look->results[i]));
		look->results[i].key = key;
		look->results[i].code = rc;
		if (rc == 0) {
			look_one(look, view, w, &look->results[i]);
		}
	}
	(void)et_state_view_close(view);
	free(w);
}

/* ---- Tails ---- */

static bool segment_is_open(const Et__Segment *segment)
{
	return segment->state == ET__SEGMENT_STATE__SEGMENT_OPEN && segment->generation == 1 &&
	       segment->recording.len == 16 && segment->wrap != NULL && !segment->wrap->erased;
}

/* Was the node removed, or revoked? */
static bool world_lost(const struct world *w, uint64_t node)
{
	for (size_t i = 0; i < w->count; i++) {
		if (w->nodes[i].id == node) {
			return w->gone[i];
		}
	}
	return false;
}

/* Did `node` seal it for a recorder that is gone, and not close the recording yet? */
static bool segment_awaits_close(const struct et_state_view *view, const struct world *w,
				 uint64_t node, const Et__Segment *segment)
{
	Et__Recording *r = NULL;

	if (segment->node != node || segment->generation != 1 ||
	    segment->state != ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED ||
	    et_state_get_recording(view, segment->recording.data, &r) < 0) {
		return false;
	}
	bool awaits = r->state == ET__RECORDING_STATE__CAPTURING && world_lost(w, r->node);
	et__recording__free_unpacked(r, NULL);
	return awaits;
}

/* May this node say what it has of a lost node's segment? */
static void tail_lost(const struct world *w, uint64_t node, const Et__Segment *segment,
		      struct et_look_tail *t)
{
	bool accepts = false;

	for (size_t i = 0; i < w->count; i++) {
		accepts = accepts || (w->nodes[i].id == node && w->nodes[i].accepts);
	}
	t->lost = accepts && w->schema >= ET_SCHEMA_LOST_TAILS;
	(void)snprintf(t->file, sizeof(t->file), "%s", segment->file);
}

/* Whose it will be when it is sealed: then its owner holds it, and nobody else. */
static void tail_open(const struct world *w, uint64_t node, const Et__Segment *segment,
		      struct et_look_tail *t)
{
	const struct et_plan_copy held = { segment->node, ET_PLAN_COPY_HELD };
	struct copies copies = { .segment = segment, .copies = { held }, .count = 1 };
	struct et_plan plan = plan_of(w, &copies);

	t->verdict = ET_LOOK_TAIL_KEEP;
	for (size_t i = 0; i < w->count; i++) {
		if (w->nodes[i].id == segment->node && w->nodes[i].serves &&
		    et_plan_turn(&plan, node) == 0) {
			t->verdict = ET_LOOK_TAIL_FOLLOW;
			t->source.node = segment->node;
			memcpy(t->source.site, w->sites[i], sizeof(t->source.site));
			memcpy(t->source.address, w->addresses[i], sizeof(t->source.address));
		}
	}
	if (world_lost(w, segment->node)) {
		tail_lost(w, node, segment, t);
	}
}

static int tail_sealed(const struct et_state_view *view, const struct world *w, uint64_t node,
		       const Et__Segment *segment, struct et_look_tail *t)
{
	struct copies *copies = calloc(1, sizeof(*copies));
	if (copies == NULL) {
		return -ENOMEM;
	}
	copies->segment = segment;
	int rc = et_state_each_copy_of(view, t->key.recording, copies_add, copies);
	struct et_plan plan = plan_of(w, copies);
	bool turn = rc >= 0 && et_plan_turn(&plan, node) != ET_PLAN_NO_TURN;
	t->verdict = turn ? ET_LOOK_TAIL_FETCH : ET_LOOK_TAIL_DROP;
	t->sealed_records = segment->records;
	free(copies);
	return rc < 0 ? rc : 0;
}

static void look_tail(const struct et_state_view *view, const struct world *w, uint64_t node,
		      struct et_look_tail *t)
{
	Et__Segment *segment = NULL;

	t->code = et_state_get_segment(view, t->key.recording, t->key.generation, t->key.segment,
				       &segment);
	if (t->code < 0) {
		return;
	}
	t->has_header_hash = segment->header_hash.len == 32;
	if (t->has_header_hash) {
		memcpy(t->header_hash, segment->header_hash.data, 32);
	}
	if (segment_is_open(segment)) {
		tail_open(w, node, segment, t);
	} else if (segment_awaits_close(view, w, node, segment)) {
		t->verdict = ET_LOOK_TAIL_KEEP;
		tail_lost(w, node, segment, t);
	} else if (segment_moves(segment)) {
		t->code = tail_sealed(view, w, node, segment, t);
	} else if (segment->state == ET__SEGMENT_STATE__SEGMENT_LOST &&
		   (segment->wrap == NULL || !segment->wrap->erased)) {
		t->verdict = ET_LOOK_TAIL_KEEP; /* It may be all that there is. */
	} else {
		t->verdict = ET_LOOK_TAIL_DROP;
	}
	et__segment__free_unpacked(segment, NULL);
}

/* 0: none yet. */
static uint32_t schema_of(const struct et_state_view *view)
{
	Et__Cluster *cluster = NULL;
	uint32_t schema = 0;

	if (et_state_get_cluster(view, &cluster) == 0) {
		schema = cluster->schema;
		et__cluster__free_unpacked(cluster, NULL);
	}
	return schema;
}

void et_look_tails(struct et_state *state, uint64_t node, struct et_look_tail *tails, size_t count)
{
	struct world *w = malloc(sizeof(*w));
	struct et_state_view *view = et_state_view_open(state);

	int rc = w == NULL || view == NULL ? -ENOMEM : world_read(view, w);
	if (rc == 0) {
		w->schema = schema_of(view);
	}
	for (size_t i = 0; i < count; i++) {
		const struct et_key key = tails[i].key;
		tails[i] = (struct et_look_tail){ .key = key,
						  .code = rc,
						  .sealed_records = UINT64_MAX };
		if (rc == 0) {
			look_tail(view, w, node, &tails[i]);
		}
	}
	(void)et_state_view_close(view);
	free(w);
}

/* ---- Scan ---- */

struct scan {
	struct et_scan *out; /* borrowed */
	const struct et_state_view *view;
	struct world *world;
	size_t capacity, open_capacity;
	int code;
};

static bool keys_add(struct et_key **keys, size_t *count, size_t *capacity,
		     const Et__Segment *segment)
{
	if (*count == *capacity) {
		size_t more = *capacity > 0 ? *capacity * 2 : 256;
		struct et_key *grown = realloc(*keys, more * sizeof(*grown));
		if (grown == NULL) {
			return false;
		}
		*keys = grown;
		*capacity = more;
	}
	struct et_key *key = &(*keys)[(*count)++];
	memcpy(key->recording, segment->recording.data, 16);
	key->generation = segment->generation;
	key->segment = segment->segment;
	return true;
}

static int scan_add(struct scan *s, const Et__Segment *segment)
{
	struct et_scan *out = s->out;

	if (out->count == out->max) {
		out->more = true;
		return 1;
	}
	s->code = keys_add(&out->keys, &out->count, &s->capacity, segment) ? 0 : -ENOMEM;
	return s->code < 0;
}

static int scan_open(struct scan *s, const Et__Segment *segment)
{
	struct et_scan *out = s->out;

	if (out->open_count == ET_SYNC_TAILS_MAX) {
		return 0;
	}
	s->code = keys_add(&out->opens, &out->open_count, &s->open_capacity, segment) ? 0 : -ENOMEM;
	return s->code < 0;
}

static int scan_segment(void *arg, const Et__Segment *segment, struct et_state_copies *beside)
{
	struct scan *s = arg;
	struct copies copies = { .segment = segment };
	const char *missing[ET_PLAN_SITES_MAX];

	if (segment_is_open(segment)) {
		return segment->node != s->out->node ? scan_open(s, segment) : 0;
	}
	if (segment_awaits_close(s->view, s->world, s->out->node, segment) &&
	    scan_open(s, segment) != 0) {
		return 1;
	}
	if (!segment_moves(segment)) {
		return 0;
	}
	int rc = et_state_copies_of(beside, segment, copies_add, &copies);
	if (rc < 0) {
		s->code = rc;
		return 1;
	}
	struct et_plan plan = plan_of(s->world, &copies);
	return et_plan_missing(&plan, missing) > 0 ? scan_add(s, segment) : 0;
}

int et_look_scan(struct et_scan *scan, struct et_error *reterr)
{
	struct et_state_view *view = et_state_view_open(scan->state);
	struct scan s = { .out = scan, .view = view };

	scan->keys = scan->opens = NULL;
	scan->count = scan->open_count = 0;
	scan->more = false;
	s.world = malloc(sizeof(*s.world));
	s.code = s.world == NULL || view == NULL ? -ENOMEM : world_read(view, s.world);
	if (s.code == 0) {
		world_own_site(s.world, scan->node, scan->own_site);
		int rc = et_state_each_segment_beside(view, scan_segment, &s);
		s.code = s.code == 0 && rc < 0 ? rc : s.code;
		scan->index = et_state_view_index(view);
	}
	(void)et_state_view_close(view);
	free(s.world);
	if (s.code < 0) {
		free(scan->keys);
		free(scan->opens);
		scan->keys = scan->opens = NULL;
		scan->count = scan->open_count = 0;
		return et_fail(reterr, s.code, "scan the catalogue for segments that lack copies");
	}
	return 0;
}

/* ---- Own copies ---- */

struct own {
	const struct et_state_view *view;
	char place[32];
	struct et_look_own *owns;
	size_t count;
	int code;
};

static int own_add(void *arg, const Et__Copy *copy)
{
	struct own *o = arg;
	Et__Segment *segment = NULL;

	if (copy->state != ET__COPY__STATE__VERIFIED || strcmp(copy->place, o->place) != 0) {
		return 0;
	}
	int rc = et_state_get_segment(o->view, copy->recording.data, copy->generation,
				      copy->segment, &segment);
	if (rc < 0) {
		o->code = rc;
		return 1;
	}
	if (segment_moves(segment)) {
		struct et_look_own *owns = realloc(o->owns, (o->count + 1) * sizeof(*owns));
		if (owns == NULL) {
			o->code = -ENOMEM;
		} else {
			o->owns = owns;
			expect_of(segment, &owns[o->count].expect);
			(void)snprintf(owns[o->count].file, sizeof(owns[o->count].file), "%s",
				       segment->file);
			o->count++;
		}
	}
	et__segment__free_unpacked(segment, NULL);
	return o->code < 0;
}

int et_look_own(struct et_state *state, uint64_t node, const uint8_t recording[16],
		struct et_look_own **ret, size_t *ret_count, struct et_error *reterr)
{
	struct et_state_view *view = et_state_view_open(state);
	struct own o = { .view = view };

	(void)snprintf(o.place, sizeof(o.place), "node:%" PRIu64, node);
	o.code = view == NULL ? -ENOMEM : 0;
	if (o.code == 0) {
		int rc = et_state_each_copy_of(view, recording, own_add, &o);
		o.code = o.code == 0 && rc < 0 ? rc : o.code;
	}
	(void)et_state_view_close(view);
	if (o.code < 0) {
		free(o.owns);
		return et_fail(reterr, o.code, "read this node's copies");
	}
	*ret = o.owns;
	*ret_count = o.count;
	return 0;
}

/* ---- The policy that limits transfers ---- */

void et_look_policy(struct et_look_policy *job)
{
	struct et_state_view *view = et_state_view_open(job->state);
	struct world *w = malloc(sizeof(*w));
	Et__Policy *policy = NULL;

	job->own_site[0] = '\0';
	job->sharers = job->revision = 0;
	job->text = NULL;
	job->code = view == NULL || w == NULL ? -ENOMEM : world_read(view, w);
	if (job->code == 0) {
		world_own_site(w, job->node, job->own_site);
		for (size_t i = 0; i < w->count; i++) {
			job->sharers +=
				w->nodes[i].accepts && strcmp(w->sites[i], job->own_site) == 0;
		}
		job->code = et_state_get_policy(view, ET_LIMITS_POLICY, &policy);
	}
	if (job->code == 0) {
		job->revision = policy->revision;
		job->text = strdup(policy->text);
		job->code = job->text == NULL ? -ENOMEM : 0;
		et__policy__free_unpacked(policy, NULL);
	} else if (job->code == ET_ENOTFOUND) {
		job->code = 0;
	}
	(void)et_state_view_close(view);
	free(w);
}

bool et_look_may_read(struct et_state *state, uint64_t id)
{
	struct et_state_view *view = et_state_view_open(state);
	Et__Node *node = NULL;
	bool may = false;

	if (view != NULL && et_state_get_node(view, id, &node) == 0) {
		may = node_serves(node);
		et__node__free_unpacked(node, NULL);
	}
	(void)et_state_view_close(view);
	return may;
}
