/* What the tests of sync share: segments, what a service says of itself, and listeners. */
#ifndef ET_REPLICATION_SYNC_TEST_KIT_H
#define ET_REPLICATION_SYNC_TEST_KIT_H

#include "replication/sync/test/cluster.h"

/* ---- Segments ---- */

/* `tape` is an open segment of `owner`. */
static inline size_t segment_tell_open(struct cluster *c, struct node *owner,
				       const struct tape_made *tape)
{
	struct et_expect expect = tape->expect;
	Et__Command command = ET__COMMAND__INIT;
	Et__SegmentOpen open = ET__SEGMENT_OPEN__INIT;
	Et__Segment segment = ET__SEGMENT__INIT;

	pthread_mutex_lock(&c->state.mutex);
	size_t i = c->state.segment_count++;
	assert_true(i < FAKE_MAX);
	c->state.segments[i] = *tape;
	c->state.owners[i] = c->state.recorders[i] = owner->id;
	c->state.open[i] = true;
	c->state.index++;
	pthread_mutex_unlock(&c->state.mutex);
	segment.recording = (ProtobufCBinaryData){ 16, expect.recording };
	segment.generation = expect.generation;
	segment.segment = expect.segment;
	segment.node = owner->id;
	open.segment = &segment;
	command.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	command.segment_open = &open;
	tell_all(c, &command);
	return i;
}

/* An open segment of `owner`, and its file. */
static inline size_t segment_open(struct cluster *c, struct node *owner, struct tape_growing *g)
{
	struct tape_made tape;

	tape_begin(owner->media, g, &tape);
	return segment_tell_open(c, owner, &tape);
}

static inline void segment_tell_seal(struct cluster *c, size_t i)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;

	fake_copy_set(&c->state, i, c->state.owners[i], ET__COPY__STATE__VERIFIED);
	seal.recording = (ProtobufCBinaryData){ 16, c->state.segments[i].expect.recording };
	seal.generation = 1;
	seal.segment = c->state.segments[i].expect.segment;
	command.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	command.segment_seal = &seal;
	tell_all(c, &command);
}

/* The footer of an open one, and its seal in the catalogue. */
static inline void segment_end(struct cluster *c, size_t i, struct tape_growing *g)
{
	struct tape_made tape = c->state.segments[i];

	tape_end(g, &tape);
	pthread_mutex_lock(&c->state.mutex);
	c->state.segments[i] = tape;
	c->state.open[i] = false;
	pthread_mutex_unlock(&c->state.mutex);
	segment_tell_seal(c, i);
}

/* A sealed segment of `owner`: its file is there, and the catalogue knows it. */
static inline size_t segment_seal(struct cluster *c, struct node *owner, uint32_t records,
				  size_t size)
{
	struct tape_made tape;

	tape_make(owner->media, records, size, &tape);
	pthread_mutex_lock(&c->state.mutex);
	size_t i = c->state.segment_count++;
	assert_true(i < FAKE_MAX);
	c->state.segments[i] = tape;
	c->state.owners[i] = owner->id;
	pthread_mutex_unlock(&c->state.mutex);
	segment_tell_seal(c, i);
	return i;
}

static inline void path_of(struct cluster *c, const struct node *n, size_t segment, char path[600])
{
	(void)snprintf(path, 600, "%s/%s", n->media, c->state.segments[segment].file);
}

static inline void assert_same_file(struct cluster *c, const struct node *a, const struct node *b,
				    size_t segment)
{
	char path[600];
	uint8_t *x = NULL;
	uint8_t *y = NULL;

	path_of(c, a, segment, path);
	size_t n = file_load(path, &x);
	path_of(c, b, segment, path);
	assert_int_equal(file_load(path, &y), n);
	assert_memory_equal(x, y, n);
	free(x);
	free(y);
}

static inline size_t files_in(const struct node *n, const char *folder)
{
	char path[600];
	size_t count = 0;
	struct dirent *entry;

	(void)snprintf(path, sizeof(path), "%s/%s", n->media, folder);
	DIR *dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		count += entry->d_name[0] != '.';
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	return count;
}

static inline struct et_sync_status status_of(const struct node *n)
{
	static struct et_sync_status st;
	et_sync_get_status(n->sync, &st);
	return st;
}

static inline struct et_sync_site site_of(const struct node *n, const char *site)
{
	static struct et_sync_status st;
	et_sync_get_status(n->sync, &st);
	for (uint32_t i = 0; i < st.site_count; i++) {
		if (strcmp(st.sites[i].site, site) == 0) {
			return st.sites[i];
		}
	}
	return (struct et_sync_site){ .site = "" };
}

static inline bool is_settled(const struct node *n)
{
	struct et_sync_status st = status_of(n);
	for (uint32_t i = 0; i < st.site_count; i++) {
		if (st.sites[i].pending_segments != 0) {
			return false;
		}
	}
	return st.scanned_index > 0 && st.transfers == 0 && st.unacknowledged == 0;
}

/* ---- Limits ---- */

/* The policy `replication` is applied: `text` are its limits. */
static inline void policy_set(struct cluster *c, const char *text)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__PolicySet set = ET__POLICY_SET__INIT;
	Et__Policy policy = ET__POLICY__INIT;
	static char name[] = "replication";

	pthread_mutex_lock(&c->state.mutex);
	(void)snprintf(c->state.policy, sizeof(c->state.policy), "limits:\n%s", text);
	c->state.policy_revision++;
	c->state.index++;
	pthread_mutex_unlock(&c->state.mutex);
	policy.name = name;
	set.policy = &policy;
	command.body_case = ET__COMMAND__BODY_POLICY_SET;
	command.policy_set = &set;
	tell_all(c, &command);
}

/* ---- Listeners ---- */

struct fetched {
	int calls, code;
	char path[700];
	char text[200];
};

static pthread_mutex_t fetched_mutex = PTHREAD_MUTEX_INITIALIZER;

static inline void on_fetched(void *arg, int code, const char *path, const struct et_error *error)
{
	struct fetched *f = arg;
	pthread_mutex_lock(&fetched_mutex);
	f->calls++;
	f->code = code;
	(void)snprintf(f->path, sizeof(f->path), "%s", path != NULL ? path : "");
	(void)snprintf(f->text, sizeof(f->text), "%.190s", error != NULL ? error->text : "");
	pthread_mutex_unlock(&fetched_mutex);
}

static inline bool is_fetched(const struct fetched *f, int calls)
{
	pthread_mutex_lock(&fetched_mutex);
	bool is = f->calls == calls;
	pthread_mutex_unlock(&fetched_mutex);
	return is;
}

static inline void fetch(struct cluster *c, struct node *n, size_t segment, struct fetched *f)
{
	*f = (struct fetched){ 0 };
	assert_int_equal(et_sync_fetch(n->sync, c->state.segments[segment].expect.recording, 1, 1,
				       on_fetched, f),
			 0);
}

/* ---- Checks ---- */

struct checked {
	int calls, code;
	size_t count;
	struct et_sync_check first;
};

static inline void on_checked(void *arg, int code, const struct et_sync_check *checks, size_t count)
{
	struct checked *k = arg;
	pthread_mutex_lock(&fetched_mutex);
	k->calls++;
	k->code = code;
	k->count = count;
	if (count > 0) {
		k->first = checks[0];
	}
	pthread_mutex_unlock(&fetched_mutex);
}

static inline bool is_checked(const struct checked *k)
{
	pthread_mutex_lock(&fetched_mutex);
	bool is = k->calls == 1;
	pthread_mutex_unlock(&fetched_mutex);
	return is;
}

static inline void check(struct cluster *c, struct node *n, size_t segment, struct checked *k)
{
	*k = (struct checked){ 0 };
	assert_int_equal(et_sync_check_local(n->sync, c->state.segments[segment].expect.recording,
					     on_checked, k),
			 0);
	run_until(c, is_checked(k));
}

/* ---- Rot ---- */

static inline void flip(const char *path, size_t at)
{
	uint8_t byte = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(et_file_pread(fd, &byte, 1, (int64_t)at), 0);
	byte ^= 0x08;
	assert_int_equal(et_file_pwrite(fd, &byte, 1, (int64_t)at), 0);
	(void)close(fd);
}

#endif
