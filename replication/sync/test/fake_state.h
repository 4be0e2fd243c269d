/* A catalogue in memory, in the place of raft/state: what sync reads of it, and an apply for what
 * sync proposes. Linked before the real one, which is then not drawn in. */
#ifndef ET_REPLICATION_SYNC_TEST_FAKE_STATE_H
#define ET_REPLICATION_SYNC_TEST_FAKE_STATE_H

#include <pthread.h>
#include <string.h>

#include "raft/state/state.h"
#include "replication/sync/test/tapes.h"

#define FAKE_MAX 512

struct et_state {
	pthread_mutex_t mutex;
	uint64_t index;
	uint32_t schema; /* the committed one */
	struct fake_node {
		uint64_t id;
		char site[64];
		char address[64];
		const char *role;
		Et__NodeState state;
	} nodes[8];
	size_t node_count;
	struct tape_made segments[FAKE_MAX];
	uint64_t owners[FAKE_MAX];
	bool open[FAKE_MAX];
	uint64_t recorders[FAKE_MAX]; /* of its recording */
	bool closed[FAKE_MAX];	      /* it is */
	int64_t ended_us[FAKE_MAX];   /* as its close said */
	size_t segment_count;
	struct fake_copy {
		size_t segment;
		uint64_t node;
		Et__Copy__State state;
		bool archived;
	} copies[FAKE_MAX * 4];
	size_t copy_count;
	char policy[2048]; /* the text of the policy `replication` */
	uint32_t policy_revision;
	bool policy_unread; /* the catalogue does not give it */
};

struct et_state_view *et_state_view_open(struct et_state *s)
{
	return (struct et_state_view *)(void *)s;
}

struct et_state_view *et_state_view_close(struct et_state_view *v)
{
	(void)v;
	return NULL;
}

static struct et_state *fake_of(const struct et_state_view *v)
{
	return (struct et_state *)(uintptr_t)v;
}

uint64_t et_state_view_index(const struct et_state_view *v)
{
	struct et_state *s = fake_of(v);
	pthread_mutex_lock(&s->mutex);
	uint64_t index = s->index;
	pthread_mutex_unlock(&s->mutex);
	return index;
}

static void fake_node_fill(struct fake_node *n, char **roles, Et__Node *ret)
{
	et__node__init(ret);
	roles[0] = (char *)(uintptr_t)n->role;
	ret->id = n->id;
	ret->site = n->site;
	ret->address = n->address;
	ret->roles = roles;
	ret->n_roles = 1;
	ret->state = n->state;
}

int et_state_each_node(const struct et_state_view *v, int (*fn)(void *arg, const Et__Node *record),
		       void *arg)
{
	struct et_state *s = fake_of(v);
	int rc = 0;
	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < s->node_count && rc == 0; i++) {
		Et__Node node;
		char *roles[1];
		fake_node_fill(&s->nodes[i], roles, &node);
		rc = fn(arg, &node);
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

/* A copy that the caller owns, as the real one gives. */
static Et__Node *fake_node_clone(const Et__Node *node)
{
	uint8_t bytes[512];
	size_t size = et__node__pack(node, bytes);
	return et__node__unpack(NULL, size, bytes);
}

int et_state_get_node(const struct et_state_view *v, uint64_t id, Et__Node **ret)
{
	struct et_state *s = fake_of(v);
	int rc = ET_ENOTFOUND;
	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < s->node_count; i++) {
		if (s->nodes[i].id == id) {
			Et__Node node;
			char *roles[1];
			fake_node_fill(&s->nodes[i], roles, &node);
			*ret = fake_node_clone(&node);
			rc = 0;
		}
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

static void fake_segment_fill(struct et_state *s, size_t i, Et__Segment *ret)
{
	struct tape_made *t = &s->segments[i];
	et__segment__init(ret);
	ret->recording = (ProtobufCBinaryData){ 16, t->expect.recording };
	ret->generation = t->expect.generation;
	ret->segment = t->expect.segment;
	ret->node = s->owners[i];
	ret->header_hash = (ProtobufCBinaryData){ 32, t->expect.header_hash };
	ret->file = t->file;
	if (s->open[i]) {
		static Et__Wrap wrap = ET__WRAP__INIT;
		ret->state = ET__SEGMENT_STATE__SEGMENT_OPEN;
		ret->wrap = &wrap;
		return;
	}
	bool lost = s->recorders[i] != 0 && s->recorders[i] != s->owners[i];
	ret->root = (ProtobufCBinaryData){ 32, t->expect.root };
	ret->seal_hash = (ProtobufCBinaryData){ 32, t->expect.seal_hash };
	ret->state = lost ? ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED
			  : ET__SEGMENT_STATE__SEGMENT_SEALED;
	ret->records = t->expect.records;
	ret->size_bytes = t->expect.size_bytes;
	ret->sealed_us = (int64_t)i + 1;
}

/* Is segment i of the recording? */
static bool fake_is_of(const struct et_state *s, size_t i, const uint8_t recording[16])
{
	return memcmp(s->segments[i].expect.recording, recording, 16) == 0;
}

/* `segment` 0: the first that is there of the recording. */
static size_t fake_find(struct et_state *s, const uint8_t recording[16], uint32_t segment)
{
	size_t i = 0;
	while (i < s->segment_count &&
	       !(fake_is_of(s, i, recording) &&
		 (segment == 0 || s->segments[i].expect.segment == segment))) {
		i++;
	}
	return i;
}

int et_state_get_segment(const struct et_state_view *v, const uint8_t recording[16],
			 uint32_t generation, uint32_t segment, Et__Segment **ret)
{
	struct et_state *s = fake_of(v);
	int rc = ET_ENOTFOUND;
	pthread_mutex_lock(&s->mutex);
	size_t i = fake_find(s, recording, segment);
	if (i < s->segment_count && generation == 1 && segment > 0) {
		Et__Segment record;
		uint8_t bytes[1024];
		fake_segment_fill(s, i, &record);
		size_t size = et__segment__pack(&record, bytes);
		*ret = et__segment__unpack(NULL, size, bytes);
		rc = 0;
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

int et_state_get_recording(const struct et_state_view *v, const uint8_t id[16], Et__Recording **ret)
{
	struct et_state *s = fake_of(v);
	Et__Recording r = ET__RECORDING__INIT;
	uint8_t bytes[64];

	pthread_mutex_lock(&s->mutex);
	size_t i = fake_find(s, id, 0);
	bool there = i < s->segment_count && s->recorders[i] != 0;
	if (there) {
		r.node = s->recorders[i];
		r.state =
			s->closed[i] ? ET__RECORDING_STATE__SEALED : ET__RECORDING_STATE__CAPTURING;
		*ret = et__recording__unpack(NULL, et__recording__pack(&r, bytes), bytes);
	}
	pthread_mutex_unlock(&s->mutex);
	return there ? 0 : ET_ENOTFOUND;
}

int et_state_each_copy_of(const struct et_state_view *v, const uint8_t recording[16],
			  int (*fn)(void *arg, const Et__Copy *record), void *arg)
{
	struct et_state *s = fake_of(v);
	int rc = 0;
	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < s->copy_count && rc == 0; i++) {
		struct fake_copy keep = s->copies[i];
		struct et_expect *x = &s->segments[keep.segment].expect;
		if (!fake_is_of(s, keep.segment, recording)) {
			continue;
		}
		char place[32];
		Et__Copy copy;
		et__copy__init(&copy);
		(void)snprintf(place, sizeof(place), keep.archived ? "target:cold" : "node:%llu",
			       (unsigned long long)keep.node);
		copy.recording = (ProtobufCBinaryData){ 16, x->recording };
		copy.generation = x->generation;
		copy.segment = x->segment;
		copy.place = place;
		copy.state = keep.state;
		pthread_mutex_unlock(&s->mutex); /* fn may read on. */
		rc = fn(arg, &copy);
		pthread_mutex_lock(&s->mutex);
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

int et_state_get_cluster(const struct et_state_view *v, Et__Cluster **ret)
{
	struct et_state *s = fake_of(v);
	Et__Cluster cluster = ET__CLUSTER__INIT;
	uint8_t bytes[64];

	pthread_mutex_lock(&s->mutex);
	cluster.schema = s->schema;
	pthread_mutex_unlock(&s->mutex);
	*ret = et__cluster__unpack(NULL, et__cluster__pack(&cluster, bytes), bytes);
	return 0;
}

struct et_state_copies {
	const struct et_state_view *view;
};

int et_state_copies_of(struct et_state_copies *copies, const Et__Segment *segment,
		       int (*fn)(void *arg, const Et__Copy *record), void *arg)
{
	return et_state_each_copy_of(copies->view, segment->recording.data, fn, arg);
}

int et_state_each_segment_beside(const struct et_state_view *v,
				 int (*fn)(void *arg, const Et__Segment *record,
					   struct et_state_copies *copies),
				 void *arg)
{
	struct et_state *s = fake_of(v);
	struct et_state_copies copies = { v };
	int rc = 0;
	pthread_mutex_lock(&s->mutex);
	size_t count = s->segment_count;
	pthread_mutex_unlock(&s->mutex);
	for (size_t i = 0; i < count && rc == 0; i++) {
		Et__Segment record;
		pthread_mutex_lock(&s->mutex);
		fake_segment_fill(s, i, &record); /* What it points to changes no more. */
		pthread_mutex_unlock(&s->mutex);
		rc = fn(arg, &record, &copies);
	}
	return rc;
}

int et_state_each_segment_of(const struct et_state_view *v, const uint8_t recording[16],
			     int (*fn)(void *arg, const Et__Segment *record), void *arg)
{
	struct et_state *s = fake_of(v);
	int rc = 0;

	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < s->segment_count && rc == 0; i++) {
		Et__Segment record;
		if (fake_is_of(s, i, recording)) {
			fake_segment_fill(s, i, &record);
			pthread_mutex_unlock(&s->mutex); /* fn may read on. */
			rc = fn(arg, &record);
			pthread_mutex_lock(&s->mutex);
		}
	}
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

int et_state_each_recorded(const struct et_state_view *v, const uint8_t after[16],
			   int (*fn)(void *arg, const uint8_t recording[16]), void *arg)
{
	struct et_state *s = fake_of(v);
	uint8_t at[16];
	int rc = 0;

	memcpy(at, after, 16);
	while (rc == 0) {
		const uint8_t *next = NULL; /* Segments do not move once they are there. */
		pthread_mutex_lock(&s->mutex);
		for (size_t i = 0; i < s->segment_count; i++) {
			const uint8_t *id = s->segments[i].expect.recording;
			if (memcmp(id, at, 16) > 0 && (next == NULL || memcmp(id, next, 16) < 0)) {
				next = id;
			}
		}
		pthread_mutex_unlock(&s->mutex);
		if (next == NULL) {
			return 0;
		}
		memcpy(at, next, 16);
		rc = fn(arg, at);
	}
	return rc;
}

int et_state_get_policy(const struct et_state_view *v, const char *name, Et__Policy **ret)
{
	struct et_state *s = fake_of(v);
	Et__Policy policy = ET__POLICY__INIT;
	uint8_t bytes[4096];

	pthread_mutex_lock(&s->mutex);
	bool there =
		!s->policy_unread && s->policy_revision > 0 && strcmp(name, "replication") == 0;
	if (there) {
		policy.name = (char *)(uintptr_t)name;
		policy.text = s->policy;
		policy.revision = s->policy_revision;
		*ret = et__policy__unpack(NULL, et__policy__pack(&policy, bytes), bytes);
	}
	int rc = s->policy_unread ? -EIO : there ? 0 : ET_ENOTFOUND;
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

/* ---- For the tests ---- */

static struct fake_copy *fake_copy_of(struct et_state *s, size_t segment, uint64_t node)
{
	for (size_t i = 0; i < s->copy_count; i++) {
		if (s->copies[i].segment == segment && s->copies[i].node == node &&
		    !s->copies[i].archived) {
			return &s->copies[i];
		}
	}
	return NULL;
}

static void fake_copy_set(struct et_state *s, size_t segment, uint64_t node, Et__Copy__State state)
{
	pthread_mutex_lock(&s->mutex);
	struct fake_copy *c = fake_copy_of(s, segment, node);
	if (c == NULL) {
		assert_true(s->copy_count < FAKE_MAX * 4);
		c = &s->copies[s->copy_count++];
		*c = (struct fake_copy){ .segment = segment, .node = node };
	}
	c->state = state;
	s->index++;
	pthread_mutex_unlock(&s->mutex);
}

static inline bool fake_has(struct et_state *s, size_t segment, uint64_t node)
{
	pthread_mutex_lock(&s->mutex);
	const struct fake_copy *c = fake_copy_of(s, segment, node);
	bool has = c != NULL && c->state == ET__COPY__STATE__VERIFIED;
	pthread_mutex_unlock(&s->mutex);
	return has;
}

#endif
