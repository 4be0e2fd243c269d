/* What the tests of tails share: two or three nodes that tail, and what lies in their folders. */
#ifndef ET_REPLICATION_SYNC_TEST_TAILS_H
#define ET_REPLICATION_SYNC_TEST_TAILS_H

#include "replication/sync/test/kit.h"

#define TAIL_MS 50

static inline struct et_sync_tails tails_of(const struct node *n)
{
	return status_of(n).tails;
}

static inline uint64_t file_size(const struct node *n, const char *file)
{
	char path[600];
	struct stat st;
	(void)snprintf(path, sizeof(path), "%s/%s", n->media, file);
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static inline void tail_name(struct cluster *c, size_t segment, char ret[300])
{
	char id[ET_UUID_TEXT_SIZE];
	et_uuid_format(c->state.segments[segment].expect.recording, id);
	(void)snprintf(ret, 300, "tails/%s-g1-s1.tail", id);
}

static inline uint64_t tail_size(struct cluster *c, const struct node *n, size_t segment)
{
	char name[300];
	tail_name(c, segment, name);
	return file_size(n, name);
}

static inline uint64_t tape_size(struct cluster *c, const struct node *n, size_t segment)
{
	return file_size(n, c->state.segments[segment].file);
}

/* Of the file in quarantine. */
static inline uint64_t quarantined_size(const struct node *n)
{
	char path[600];
	struct stat st;
	uint64_t size = 0;
	struct dirent *entry;

	(void)snprintf(path, sizeof(path), "%s/quarantine", n->media);
	DIR *dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.') {
			assert_int_equal(fstatat(dirfd(dir), entry->d_name, &st, 0), 0);
			size = (uint64_t)st.st_size;
		}
	}
	(void)closedir(dir);
	return size;
}

/* The tail is the begin of the tape. */
static inline void assert_is_prefix(struct cluster *c, const struct node *owner,
				    const struct node *n, size_t segment)
{
	char path[600];
	char name[300];
	uint8_t *x = NULL;
	uint8_t *y = NULL;

	path_of(c, owner, segment, path);
	size_t size = file_load(path, &x);
	tail_name(c, segment, name);
	(void)snprintf(path, sizeof(path), "%s/%s", n->media, name);
	size_t here = file_load(path, &y);
	assert_true(here > 0 && here <= size);
	assert_memory_equal(x, y, here);
	free(x);
	free(y);
}

static inline void pair_start(struct cluster *c, struct node **prg, struct node **brq)
{
	c->tuning.tail_ms = TAIL_MS;
	*prg = node_add(c, "prg");
	*brq = node_add(c, "brq");
	sync_start(*prg);
	sync_start(*brq);
	run_until(c, status_of(*brq).scanned_index > 0);
}

/* ... and five records of an open segment of prg, which brq has. */
static inline size_t pair_tailed(struct cluster *c, struct node **prg, struct node **brq,
				 struct tape_growing *g)
{
	pair_start(c, prg, brq);
	size_t segment = segment_open(c, *prg, g);
	tape_grow(g, 5, 1000);
	run_until(c, tails_of(*brq).bytes == tape_size(c, *prg, segment));
	return segment;
}

/* ... and a third node, which is returned. */
static inline struct node *trio_start(struct cluster *c, struct node **prg, struct node **brq)
{
	pair_start(c, prg, brq);
	struct node *ova = node_add(c, "ova");
	sync_start(ova);
	run_until(c, status_of(ova).scanned_index > 0);
	return ova;
}

static inline void node_remove(struct cluster *c, const struct node *n)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__NodeRemove gone = ET__NODE_REMOVE__INIT;

	pthread_mutex_lock(&c->state.mutex);
	for (size_t i = 0; i < c->state.node_count; i++) {
		if (c->state.nodes[i].id == n->id) {
			c->state.nodes[i].state = ET__NODE_STATE__REMOVED;
		}
	}
	pthread_mutex_unlock(&c->state.mutex);
	gone.node = n->id;
	command.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	command.node_remove = &gone;
	tell_all(c, &command);
}

#endif
