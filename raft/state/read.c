/* Point reads and walks: what everybody else sees of the state. */
#include "raft/state/state_internal.h"

/* ---- Point reads ---- */

int et_state_get_cluster(const struct et_state_view *v, Et__Cluster **ret)
{
	struct key key = key_meta("cluster");

	return view_get_message(v, CF_META, &key, &et__cluster__descriptor, ret);
}

uint32_t et_state_schema(struct et_state *s)
{
	struct et_state_view *v = et_state_view_open(s);
	Et__Cluster *cluster = NULL;
	uint32_t schema = 0;

	if (v != NULL && et_state_get_cluster(v, &cluster) == 0) {
		schema = cluster->schema;
		et__cluster__free_unpacked(cluster, NULL);
	}
	(void)et_state_view_close(v);
	return schema;
}

int et_state_get_recording(const struct et_state_view *v, const uint8_t id[16], Et__Recording **ret)
{
	struct key key = key_of(id, 16);

	return view_get_message(v, CF_RECORDING, &key, &et__recording__descriptor, ret);
}

int et_state_get_segment(const struct et_state_view *v, const uint8_t recording[16],
			 uint32_t generation, uint32_t segment, Et__Segment **ret)
{
	struct key key = key_segment(recording, generation, segment);

	return view_get_message(v, CF_SEGMENT, &key, &et__segment__descriptor, ret);
}

void segment_list_release(struct segment_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		message_freep(&l->list[i]);
	}
	free(l->list);
}

static int segment_list_add(void *arg, const void *message)
{
	struct segment_list *l = arg;
	const Et__Segment *g = message;
	Et__Segment **list = realloc(l->list, (l->count + 1) * sizeof(*list));

	if (list == NULL) {
		return -ENOMEM;
	}
	l->list = list;
	int rc = et_state_get_segment(l->v, g->recording.data, g->generation, g->segment,
				      &list[l->count]);
	l->count += rc == 0;
	return rc;
}

int segment_list_load(const struct et_state_view *v, const uint8_t recording[16],
		      struct segment_list *ret)
{
	struct key prefix = key_of(recording, 16);

	*ret = (struct segment_list){ .v = v };
	int rc = view_walk_messages(v, CF_SEGMENT, &prefix, &et__segment__descriptor,
				    segment_list_add, ret);
	if (rc < 0) {
		segment_list_release(ret);
	}
	return rc;
}

int et_state_get_node(const struct et_state_view *v, uint64_t id, Et__Node **ret)
{
	struct key key = key_u64(id);

	return view_get_message(v, CF_NODE, &key, &et__node__descriptor, ret);
}

int et_state_get_kek(const struct et_state_view *v, uint32_t version, Et__Kek **ret)
{
	struct key key = key_u32(version);

	return view_get_message(v, CF_KEK, &key, &et__kek__descriptor, ret);
}

/* Names that are longer than any that was stored are not there. */
#define NAME_SIZE_MAX 255

int et_state_get_grant(const struct et_state_view *v, const char *secret, uint64_t node,
		       Et__Grant **ret)
{
	if (strlen(secret) > NAME_SIZE_MAX) {
		return ET_ENOTFOUND;
	}
	struct key key = key_grant(secret, node);
	return view_get_message(v, CF_GRANT, &key, &et__grant__descriptor, ret);
}

bool et_state_has_grant(const struct et_state_view *v, const char *secret, uint64_t node)
{
	Et__Grant *grant = NULL;

	if (et_state_get_grant(v, secret, node, &grant) < 0) {
		return false;
	}
	et__grant__free_unpacked(grant, NULL);
	return true;
}

int et_state_get_certificate(const struct et_state_view *v, uint64_t node, Et__Certificate **ret)
{
	struct key key = key_u64(node);

	return view_get_message(v, CF_CERTIFICATE, &key, &et__certificate__descriptor, ret);
}

int et_state_get_token(const struct et_state_view *v, const uint8_t id[16], Et__Token **ret)
{
	struct key key = key_of(id, 16);

	return view_get_message(v, CF_TOKEN, &key, &et__token__descriptor, ret);
}

int et_state_get_policy(const struct et_state_view *v, const char *name, Et__Policy **ret)
{
	if (strlen(name) > NAME_SIZE_MAX) {
		return ET_ENOTFOUND;
	}
	struct key key = key_text(name);
	return view_get_message(v, CF_POLICY, &key, &et__policy__descriptor, ret);
}

int et_state_get_policy_at(const struct et_state_view *v, const char *name, uint32_t revision,
			   Et__Policy **ret)
{
	Et__Policy *policy = NULL;
	int rc = et_state_get_policy(v, name, &policy);
	if (rc < 0) {
		return rc;
	}
	if (policy->revision != revision) {
		et__policy__free_unpacked(policy, NULL);
		struct key key = key_policy_at(name, revision);
		return view_get_message(v, CF_POLICY, &key, &et__policy__descriptor, ret);
	}
	*ret = policy;
	return 0;
}

int et_state_get_plan(const struct et_state_view *v, const uint8_t id[16], Et__Plan **ret)
{
	struct key key = key_of(id, 16);

	return view_get_message(v, CF_PLAN, &key, &et__plan__descriptor, ret);
}

int et_state_get_job(const struct et_state_view *v, const uint8_t id[16], Et__Job **ret)
{
	struct key key = key_of(id, 16);

	return view_get_message(v, CF_JOB, &key, &et__job__descriptor, ret);
}

/* ---- Walks ---- */

/* Each walk has its own type of callback; this makes one of view_walk_messages() of it. */
#define WALKER(name, Type)                                                                         \
	struct name##_walk {                                                                       \
		int (*fn)(void *arg, const Type *record);                                          \
		void *arg;                                                                         \
	};                                                                                         \
	static int name##_walk_each(void *arg, const void *message)                                \
	{                                                                                          \
		const struct name##_walk *w = arg;                                                 \
		return w->fn(w->arg, message);                                                     \
	}                                                                                          \
	static int name##_walk(const struct et_state_view *v, enum state_cf cf,                    \
			       const struct key *prefix, int (*fn)(void *arg, const Type *record), \
			       void *arg)                                                          \
	{                                                                                          \
		struct name##_walk w = { fn, arg };                                                \
		return view_walk_messages(v, cf, prefix, &et__##name##__descriptor,                \
					  name##_walk_each, &w);                                   \
	}

#define EACH(name, Type, cf)                                                                       \
	WALKER(name, Type)                                                                         \
	ET_STATE_EACH(name, Type)                                                                  \
	{                                                                                          \
		struct key all = { 0 };                                                            \
		return name##_walk(v, cf, &all, fn, arg);                                          \
	}

EACH(node, Et__Node, CF_NODE)
EACH(site, Et__Site, CF_SITE)
EACH(kek, Et__Kek, CF_KEK)
EACH(grant, Et__Grant, CF_GRANT)
EACH(certificate, Et__Certificate, CF_CERTIFICATE)
EACH(token, Et__Token, CF_TOKEN)
EACH(plan, Et__Plan, CF_PLAN)
EACH(job, Et__Job, CF_JOB)
EACH(segment, Et__Segment, CF_SEGMENT)
EACH(hold, Et__Hold, CF_HOLD)

int et_state_each_segment_of(const struct et_state_view *v, const uint8_t recording[16],
			     int (*fn)(void *arg, const Et__Segment *record), void *arg)
{
	struct key prefix = key_of(recording, 16);

	return segment_walk(v, CF_SEGMENT, &prefix, fn, arg);
}

struct recorded_walk {
	uint8_t last[16];
	int (*fn)(void *arg, const uint8_t recording[16]);
	void *arg;
};

static int recorded_row(void *arg, struct et_view key, struct et_view value)
{
	struct recorded_walk *w = arg;

	(void)value;
	if (key.size < 16) {
		return ET_ECORRUPT;
	}
	if (memcmp(key.data, w->last, 16) == 0) {
		return 0; /* another segment of it */
	}
	memcpy(w->last, key.data, 16);
	return w->fn(w->arg, w->last);
}

int et_state_each_recorded(const struct et_state_view *v, const uint8_t after[16],
			   int (*fn)(void *arg, const uint8_t recording[16]), void *arg)
{
	struct recorded_walk w = { .fn = fn, .arg = arg };
	struct key all = { .size = 0 };
	struct key from = key_of(after, 16);

	memcpy(w.last, after, 16); /* its own segments are not behind it */
	return view_walk(v, CF_SEGMENT, &all, &from, recorded_row, &w);
}

/* ---- Copies ----
 *
 * What lies on a removed node is lost. Removal touches no record of a copy (there may be millions);
 * whoever reads one sees it by the state of its node. */

/* Nodes that were removed. */
struct gone {
	size_t count;
	uint64_t ids[]; /* ascending */
};

static int gone_add(void *arg, const void *message)
{
	struct gone **g = arg;
	const Et__Node *node = message;

	if (node_is_member(node)) {
		return 0;
	}
	struct gone *more = realloc(*g, sizeof(*more) + ((*g)->count + 1) * sizeof(more->ids[0]));
	if (more == NULL) {
		return -ENOMEM;
	}
	more->ids[more->count++] = node->id;
	*g = more;
	return 0;
}

/* Borrowed from the view. Two threads that come first at once make it both; one is kept. */
static int gone_get(const struct et_state_view *v, const struct gone **ret)
{
	struct et_state_view *view = (struct et_state_view *)(uintptr_t)v;
	struct gone *known = atomic_load(&view->gone);
	struct key all = { 0 };

	et_assert(v->overlay == NULL); /* apply's own view lives on: it must keep nothing */
	if (known == NULL) {
		struct gone *made = calloc(1, sizeof(*made));
		int rc = made == NULL ? -ENOMEM
				      : view_walk_messages(v, CF_NODE, &all, &et__node__descriptor,
							   gone_add, &made);
		if (rc < 0) {
			free(made);
			return rc;
		}
		if (atomic_compare_exchange_strong(&view->gone, &known, made)) {
			known = made;
		} else {
			free(made);
		}
	}
	*ret = known;
	return 0;
}

static int id_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct copy_read {
	const struct gone *gone;
	int (*fn)(void *arg, const Et__Copy *record);
	void *arg;
};

static int copy_read_each(void *arg, const void *message)
{
	const struct copy_read *r = arg;
	const Et__Copy *c = message;
	uint64_t node = c->state == ET__COPY__STATE__VERIFIED ? place_node(c->place) : 0;

	if (node == 0 ||
	    bsearch(&node, r->gone->ids, r->gone->count, sizeof(node), id_order) == NULL) {
		return r->fn(r->arg, c);
	}
	Et__Copy lost = *c;
	lost.state = ET__COPY__STATE__LOST;
	return r->fn(r->arg, &lost);
}

static int copy_read_walk(const struct et_state_view *v, const struct key *prefix,
			  int (*fn)(void *arg, const Et__Copy *record), void *arg)
{
	struct copy_read r = { .fn = fn, .arg = arg };

	int rc = gone_get(v, &r.gone);
	return rc < 0 ? rc
		      : view_walk_messages(v, CF_COPY, prefix, &et__copy__descriptor,
					   copy_read_each, &r);
}

ET_STATE_EACH(copy, Et__Copy)
{
	struct key all = { 0 };

	return copy_read_walk(v, &all, fn, arg);
}

int et_state_each_copy_of(const struct et_state_view *v, const uint8_t recording[16],
			  int (*fn)(void *arg, const Et__Copy *record), void *arg)
{
	struct key prefix = key_of(recording, 16);

	return copy_read_walk(v, &prefix, fn, arg);
}

/* ---- Segments, and their copies beside them ---- */

#define NEAR 16 /* copies that are stepped over sooner than sought past */

struct et_state_copies {
	rocksdb_readoptions_t *options; /* owned */
	rocksdb_iterator_t *it;		/* owned */
	const struct gone *gone;	/* borrowed */
	bool started;
};

/* How the key where it stands is to the prefix. */
static int iterator_order(const rocksdb_iterator_t *it, const struct key *prefix)
{
	size_t size;
	const char *key = rocksdb_iter_key(it, &size);
	int order = memcmp(key, prefix->data, size < prefix->size ? size : prefix->size);

	return order != 0 ? order : size < prefix->size ? -1 : 0;
}

int et_state_copies_of(struct et_state_copies *c, const Et__Segment *g,
		       int (*fn)(void *arg, const Et__Copy *record), void *arg)
{
	struct key prefix = key_segment(g->recording.data, g->generation, g->segment);
	struct copy_read r = { c->gone, fn, arg };
	int rc = 0;

	for (int i = 0; i < NEAR && c->started && rocksdb_iter_valid(c->it) &&
			iterator_order(c->it, &prefix) < 0;
	     i++) {
		rocksdb_iter_next(c->it);
	}
	if (!c->started || (rocksdb_iter_valid(c->it) && iterator_order(c->it, &prefix) < 0)) {
		c->started = true;
		rocksdb_iter_seek(c->it, (const char *)prefix.data, prefix.size);
	}
	while (rc == 0 && rocksdb_iter_valid(c->it) && iterator_order(c->it, &prefix) == 0) {
		size_t size;
		const uint8_t *value = (const uint8_t *)rocksdb_iter_value(c->it, &size);
		Et__Copy *copy = et__copy__unpack(NULL, size, value);
		rc = copy == NULL ? ET_ECORRUPT : copy_read_each(&r, copy);
		message_freep(&copy);
		rocksdb_iter_next(c->it);
	}
	int status = iterator_status(c->it);
	return status < 0 ? status : rc;
}

int et_state_each_segment_beside(const struct et_state_view *v,
				 int (*fn)(void *arg, const Et__Segment *record,
					   struct et_state_copies *copies),
				 void *arg)
{
	const struct database *d = v->database;
	struct et_state_copies c = { 0 };

	int rc = gone_get(v, &c.gone);
	if (rc < 0) {
		return rc;
	}
	c.options = read_options();
	rocksdb_readoptions_set_snapshot(c.options, v->snapshot);
	rocksdb_readoptions_set_fill_cache(c.options, 0);
	c.it = rocksdb_create_iterator_cf(d->db, c.options, d->cf[CF_COPY]);
	rocksdb_iterator_t *it = rocksdb_create_iterator_cf(d->db, c.options, d->cf[CF_SEGMENT]);
	for (rocksdb_iter_seek_to_first(it); rc == 0 && rocksdb_iter_valid(it);
	     rocksdb_iter_next(it)) {
		size_t size;
		const uint8_t *value = (const uint8_t *)rocksdb_iter_value(it, &size);
		Et__Segment *g = et__segment__unpack(NULL, size, value);
		rc = g == NULL ? ET_ECORRUPT : fn(arg, g, &c);
		message_freep(&g);
	}
	int status = iterator_status(it);
	rocksdb_iter_destroy(it);
	rocksdb_iter_destroy(c.it);
	rocksdb_readoptions_destroy(c.options);
	return status < 0 ? status : rc;
}

int et_state_each_hold_of(const struct et_state_view *v, const uint8_t recording[16],
			  int (*fn)(void *arg, const Et__Hold *record), void *arg)
{
	struct key prefix = key_of(recording, 16);

	return hold_walk(v, CF_HOLD, &prefix, fn, arg);
}

struct job_of {
	const struct et_state_view *v;
	int (*fn)(void *arg, const Et__Job *record);
	void *arg;
};

static int job_of_each(void *arg, struct et_view key, struct et_view value)
{
	const struct job_of *w = arg;
	ET_CLEANUP(message_freep) Et__Job *job = NULL;

	(void)value;
	if (key.size != 1 + 8 + 16) {
		return ET_ECORRUPT;
	}
	int rc = et_state_get_job(w->v, key.data + 9, &job);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? ET_ECORRUPT : rc;
	}
	return w->fn(w->arg, job);
}

int et_state_each_job_of(const struct et_state_view *v, uint64_t node,
			 int (*fn)(void *arg, const Et__Job *record), void *arg)
{
	struct job_of w = { v, fn, arg };
	struct key prefix = key_tag('j');

	key_add64(&prefix, node);
	return view_walk(v, CF_INDEX, &prefix, NULL, job_of_each, &w);
}
