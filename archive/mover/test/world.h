/* A world for the mover: the real state, a media folder, and a function in Raft's place that
 * applies each proposal at once, and can be told to refuse. Include it after cmocka. */
#ifndef ET_ARCHIVE_MOVER_TEST_WORLD_H
#define ET_ARCHIVE_MOVER_TEST_WORLD_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/mover/mover.h"
#include "archive/pack/pack.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "node/io/file.h"

#define START_US 1795356302000000LL /* 2026-11-22 */
#define NOW_US (START_US + 3600LL * 1000000)
#define WAIT_US (20LL * 1000000)

struct world {
	char folder[64];
	char media[96];
	char store[96];
	char target[512]; /* the policy's only target: "cold: {...}" */
	struct et_state *state;
	struct et_mover *mover;

	/* Raft, as the mover sees it. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t index;
	uint64_t seq[4];
	unsigned no_quorum; /* so many proposals get no answer but that */
	bool no_copy_add;   /* CopyAdd gets no answer but that */
	unsigned copy_add_lost;
	unsigned copy_adds;
	unsigned job_ends; /* done or failed */
	unsigned copies_bad;
	unsigned jobs_running;

	uint64_t reserve_bytes; /* of the media disk, for the next mover */
};

static char principal[] = "local:uid=0";

/* ---- Raft's part ---- */

struct applied {
	struct world *w;
	int code;
	Et__Result *result; /* owned */
};

static inline Et__Result *result_dup(const Et__Result *r)
{
	size_t size = et__result__get_packed_size(r);
	uint8_t *packed = malloc(size + 1);
	(void)et__result__pack(r, packed);
	Et__Result *ret = et__result__unpack(NULL, size, packed);
	free(packed);
	return ret;
}

static inline void on_result(void *arg, uint64_t index, uint32_t position,
			     const Et__Command *command, const Et__Result *result)
{
	struct applied *a = arg;
	(void)position;
	a->code = result->code;
	a->result = result_dup(result);
	if (a->w->mover != NULL) {
		et_mover_on_applied(a->w->mover, index, command, result);
	}
}

/* The lock is held. The caller frees the result. */
static inline int apply_locked(struct world *w, uint64_t node, Et__Command *command,
			       Et__Result **ret)
{
	uint8_t incarnation[16] = { 7 };
	Et__OpId op = ET__OP_ID__INIT;
	struct et_buffer packed = { 0 };
	struct et_buffer entry = { 0 };
	struct et_error e = { 0 };
	struct applied a = { .w = w };
	op.node = node;
	op.incarnation = (ProtobufCBinaryData){ 16, incarnation };
	op.seq = ++w->seq[node];
	command->op = &op;
	if (command->principal[0] == '\0') {
		command->principal = principal;
	}
	if (et_command_check(command, &e) < 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(et_command_pack(command, &packed), 0);
	et_entry_begin(&entry);
	et_entry_add(&entry, packed.data, packed.size);
	et_entry_end(&entry);
	et_state_begin(w->state);
	if (et_state_apply(w->state, ++w->index, (struct et_view){ entry.data, entry.size }, &e) <
		    0 ||
	    et_state_commit(w->state, on_result, &a, &e) < 0) {
		fail_msg("%s", e.text);
	}
	command->op = NULL;
	et_buffer_release(&packed);
	et_buffer_release(&entry);
	*ret = a.result;
	return a.code;
}

static inline int apply(struct world *w, Et__Command *command)
{
	Et__Result *result = NULL;
	(void)pthread_mutex_lock(&w->lock);
	int code = apply_locked(w, 1, command, &result);
	(void)pthread_mutex_unlock(&w->lock);
	if (code < 0) {
		print_message("%s: %s\n", et_command_name(command), result->text);
	}
	et__result__free_unpacked(result, NULL);
	return code;
}

static inline void count(struct world *w, const Et__Command *command, int code)
{
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_COPY_ADD:
		w->copy_adds += code == 0 ? 1 : 0;
		break;
	case ET__COMMAND__BODY_COPY_BAD:
		w->copies_bad++;
		break;
	case ET__COMMAND__BODY_JOB_UPDATE:
		w->jobs_running += strcmp(command->job_update->state, "running") == 0 ? 1 : 0;
		w->job_ends += strcmp(command->job_update->state, "running") != 0 ? 1 : 0;
		break;
	default:
		break;
	}
}

static inline int propose(void *arg, Et__Command *command, et_mover_proposed_fn done,
			  void *done_arg)
{
	struct world *w = arg;
	Et__Result *result = NULL;
	(void)pthread_mutex_lock(&w->lock);
	bool lost = w->no_copy_add && command->body_case == ET__COMMAND__BODY_COPY_ADD;
	w->copy_add_lost += lost ? 1 : 0;
	if (lost || w->no_quorum > 0) {
		w->no_quorum -= lost ? 0 : 1;
		(void)pthread_cond_broadcast(&w->changed);
		(void)pthread_mutex_unlock(&w->lock);
		done(done_arg, ET_ENOQUORUM, NULL);
		return 0;
	}
	int code = apply_locked(w, 1, command, &result);
	count(w, command, code);
	(void)pthread_cond_broadcast(&w->changed);
	(void)pthread_mutex_unlock(&w->lock);
	done(done_arg, code, result);
	et__result__free_unpacked(result, NULL);
	return 0;
}

static inline int64_t now(void *arg)
{
	(void)arg;
	return NOW_US;
}

/* Until the mover has proposed so much that `enough` says true. */
static inline void wait_for(struct world *w, bool (*enough)(const struct world *w))
{
	struct timespec until;
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_US / 1000000;
	(void)pthread_mutex_lock(&w->lock);
	while (!enough(w)) {
		if (pthread_cond_timedwait(&w->changed, &w->lock, &until) != 0) {
			(void)pthread_mutex_unlock(&w->lock);
			fail_msg("the mover did not do it in time");
		}
	}
	(void)pthread_mutex_unlock(&w->lock);
}

static inline bool one_job_ended(const struct world *w)
{
	return w->job_ends >= 1;
}

static inline bool job_runs(const struct world *w)
{
	return w->jobs_running >= 1;
}

static inline bool two_jobs_ended(const struct world *w)
{
	return w->job_ends >= 2;
}

static inline bool copy_add_was_lost(const struct world *w)
{
	return w->copy_add_lost >= 1;
}

static inline bool quorum_is_back(const struct world *w)
{
	return w->no_quorum == 0 && w->copy_adds >= 1;
}

/* ---- The world ---- */

static inline void cluster_init(struct world *w)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__ClusterInit init = ET__CLUSTER_INIT__INIT;
	Et__Cluster cluster = ET__CLUSTER__INIT;
	Et__Node node = ET__NODE__INIT;
	Et__Kek kek = ET__KEK__INIT;
	uint8_t bytes[48] = { 9 };
	char texts[3][8] = { "acme", "prg-1", "prg" };
	char role[] = "capture";
	char *roles[] = { role };
	cluster.name = texts[0];
	cluster.id = (ProtobufCBinaryData){ 16, bytes };
	cluster.created_us = START_US;
	cluster.schema = ET_COMMAND_SCHEMA;
	node.id = 1;
	node.name = texts[1];
	node.site = texts[2];
	node.roles = roles;
	node.n_roles = 1;
	node.state = ET__NODE_STATE__ACTIVE;
	node.spki_hash = (ProtobufCBinaryData){ 32, bytes };
	kek.version = 1;
	kek.public_key = (ProtobufCBinaryData){ 32, bytes };
	init.cluster = &cluster;
	init.node = &node;
	init.kek = &kek;
	c.body_case = ET__COMMAND__BODY_CLUSTER_INIT;
	c.cluster_init = &init;
	assert_int_equal(apply(w, &c), 0);
}

static inline int policy_set(struct world *w, const char *rule, uint32_t expect)
{
	char text[1024];
	char name[] = ET_ARCHIVE_POLICY;
	struct et_error e = { 0 };
	Et__Command c = ET__COMMAND__INIT;
	Et__PolicySet set = ET__POLICY_SET__INIT;
	Et__Policy policy = ET__POLICY__INIT;
	(void)snprintf(text, sizeof(text), "targets:\n  %s\nrules:\n  - %s\n", w->target, rule);
	if (et_archive_validate(text, strlen(text), "archive.yaml", &e) < 0) {
		fail_msg("%s", e.text);
	}
	policy.name = name;
	policy.text = text;
	set.policy = &policy;
	set.expect_revision = expect;
	c.body_case = ET__COMMAND__BODY_POLICY_SET;
	c.policy_set = &set;
	return apply(w, &c);
}

static inline void mover_begin(struct world *w)
{
	struct et_error e = { 0 };
	struct et_mover *mover = NULL;
	struct et_mover_config config = { .node = 1,
					  .media = w->media,
					  .state = w->state,
					  .propose = propose,
					  .now = now,
					  .arg = w,
					  .media_reserve_bytes = w->reserve_bytes,
					  .interval_ms = 200 };
	if (et_mover_start(&config, &mover, &e) < 0) {
		fail_msg("%s", e.text);
	}
	(void)pthread_mutex_lock(&w->lock);
	w->mover = mover;
	(void)pthread_mutex_unlock(&w->lock);
}

/* on_applied runs under the lock and must not meet a mover that is gone. */
static inline void mover_end(struct world *w)
{
	(void)pthread_mutex_lock(&w->lock);
	struct et_mover *mover = w->mover;
	w->mover = NULL;
	(void)pthread_mutex_unlock(&w->lock);
	(void)et_mover_stop(mover);
}

static inline int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct et_error e = { 0 };
	char db[96];
	strcpy(w->folder, "/tmp/et_mover.XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	(void)snprintf(w->media, sizeof(w->media), "%s/media", w->folder);
	(void)snprintf(w->store, sizeof(w->store), "%s/store", w->folder);
	(void)snprintf(db, sizeof(db), "%s/db", w->folder);
	(void)snprintf(w->target, sizeof(w->target), "cold: {type: dir, path: %s}", w->store);
	assert_int_equal(mkdir(w->media, 0700), 0);
	assert_int_equal(mkdir(w->store, 0700), 0);
	assert_int_equal(pthread_mutex_init(&w->lock, NULL), 0);
	assert_int_equal(pthread_cond_init(&w->changed, NULL), 0);
	if (et_state_open(db, &w->state, &e) < 0) {
		fail_msg("%s", e.text);
	}
	cluster_init(w);
	*state = w;
	return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int tear_down(void **state)
{
	struct world *w = *state;
	mover_end(w);
	w->state = et_state_close(w->state);
	(void)nftw(w->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(access(w->folder, F_OK), -1);
	(void)pthread_mutex_destroy(&w->lock);
	(void)pthread_cond_destroy(&w->changed);
	free(w);
	return 0;
}

/* ---- A recording of one segment, sealed, over, and on the disk of node 1 ---- */

struct tape {
	uint8_t id[16];
	char file[64];
	char path[256];
	size_t size;
	uint8_t *bytes; /* owned */
	uint8_t sha256[32];
	bool by_seal; /* known by these, not by sha256 */
	uint8_t root[32];
	uint8_t seal_hash[32];
	uint8_t header_hash[32];
};

static inline struct tape tape_make(const struct world *w, uint8_t number, size_t size)
{
	struct tape t = { .size = size, .bytes = malloc(size + 1) };
	memset(t.id, number, sizeof(t.id));
	for (size_t i = 0; i < size; i++) {
		t.bytes[i] = (uint8_t)(i * 31 + number + (i >> 8));
	}
	et_sha256(t.bytes, size, t.sha256);
	(void)snprintf(t.file, sizeof(t.file), "tapes/2026/11/22/%u-g1-s1.evtm", number);
	(void)snprintf(t.path, sizeof(t.path), "%s/%s", w->media, t.file);
	return t;
}

static inline void tape_file(const struct world *w, const struct tape *t)
{
	char folder[256];
	struct et_error e = { 0 };
	(void)snprintf(folder, sizeof(folder), "%s/tapes/2026/11/22", w->media);
	assert_int_equal(et_file_mkdirs(folder, &e), 0);
	assert_int_equal(et_file_publish(t->path, t->bytes, t->size, 0600, &e), 0);
}

static inline void tape_open(struct world *w, struct tape *t)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__Recording r = ET__RECORDING__INIT;
	Et__RecordingOpen open = ET__RECORDING_OPEN__INIT;
	Et__Segment s = ET__SEGMENT__INIT;
	Et__SegmentOpen segment = ET__SEGMENT_OPEN__INIT;
	Et__Wrap wrap = ET__WRAP__INIT;
	uint8_t bytes[48] = { 3 };
	r.id = (ProtobufCBinaryData){ 16, t->id };
	r.start_us = START_US + t->id[0];
	open.recording = &r;
	c.body_case = ET__COMMAND__BODY_RECORDING_OPEN;
	c.recording_open = &open;
	assert_int_equal(apply(w, &c), 0);
	wrap.dek = t->id[0];
	wrap.kek_version = 1;
	wrap.enc = (ProtobufCBinaryData){ 32, bytes };
	wrap.ciphertext = (ProtobufCBinaryData){ 48, bytes };
	s.recording = r.id;
	s.generation = 1;
	s.segment = 1;
	s.wrap = &wrap;
	s.header_hash = (ProtobufCBinaryData){ 32, t->by_seal ? t->header_hash : bytes };
	s.t0_us = START_US;
	s.file = t->file;
	segment.segment = &s;
	c.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	c.segment_open = &segment;
	assert_int_equal(apply(w, &c), 0);
}

static inline void tape_seal(struct world *w, struct tape *t)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;
	Et__Recording r = ET__RECORDING__INIT;
	Et__RecordingClose close = ET__RECORDING_CLOSE__INIT;
	char state[] = "answered";
	seal.recording = (ProtobufCBinaryData){ 16, t->id };
	seal.generation = 1;
	seal.segment = 1;
	seal.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	seal.root = (ProtobufCBinaryData){ 32, t->by_seal ? t->root : t->sha256 };
	seal.records = 1;
	seal.size_bytes = t->size;
	seal.sealed_us = START_US + 60000000;
	if (t->by_seal) {
		seal.seal_hash = (ProtobufCBinaryData){ 32, t->seal_hash };
	} else {
		seal.object_hash = (ProtobufCBinaryData){ 32, t->sha256 };
	}
	c.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	c.segment_seal = &seal;
	assert_int_equal(apply(w, &c), 0);
	r.id = seal.recording;
	r.start_us = START_US + t->id[0];
	r.end_us = START_US + 60000000 + t->id[0];
	r.call_state = state;
	r.state = ET__RECORDING_STATE__SEALED;
	close.recording = &r;
	c.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
	c.recording_close = &close;
	assert_int_equal(apply(w, &c), 0);
}

static inline struct tape tape_record(struct world *w, uint8_t number, size_t size)
{
	struct tape t = tape_make(w, number, size);
	tape_file(w, &t);
	tape_open(w, &t);
	tape_seal(w, &t);
	return t;
}

/* ---- Plan and apply, as the API does it ---- */

static inline Et__Plan *plan_now(struct world *w, struct et_archive_summary *summary)
{
	struct et_state_view *v = et_state_view_open(w->state);
	struct et_error e = { 0 };
	Et__Plan *plan = NULL;
	int rc = et_archive_plan(v, NOW_US, &plan, summary, &e);
	(void)et_state_view_close(v);
	if (rc < 0) {
		fail_msg("%s", e.text);
	}
	return plan;
}

static inline void plan_apply(struct world *w, Et__Plan *plan)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__PlanPut put = ET__PLAN_PUT__INIT;
	Et__PlanApply apply_plan = ET__PLAN_APPLY__INIT;
	Et__Job **jobs = NULL;
	size_t job_count = 0;
	put.plan = plan;
	c.body_case = ET__COMMAND__BODY_PLAN_PUT;
	c.plan_put = &put;
	assert_int_equal(apply(w, &c), 0);
	assert_int_equal(et_archive_jobs(plan, &jobs, &job_count), 0);
	apply_plan.plan = plan->id;
	apply_plan.hash = plan->hash;
	apply_plan.jobs = jobs;
	apply_plan.n_jobs = job_count;
	c.body_case = ET__COMMAND__BODY_PLAN_APPLY;
	c.plan_apply = &apply_plan;
	assert_int_equal(apply(w, &c), 0);
	et_archive_jobs_free(jobs, job_count);
}

static inline void plan_and_apply(struct world *w)
{
	Et__Plan *plan = plan_now(w, NULL);
	plan_apply(w, plan);
	et__plan__free_unpacked(plan, NULL);
}

/* ---- What the catalogue says ---- */

struct copy_seen {
	const char *place;
	bool found;
	int state;
	char object[128];
	uint64_t offset;
	bool has_hash; /* of its bytes in the pack */
	uint8_t hash[32];
};

static inline int copy_seen_take(void *arg, const Et__Copy *copy)
{
	struct copy_seen *s = arg;
	if (strcmp(copy->place, s->place) == 0) {
		s->found = true;
		s->state = (int)copy->state;
		s->offset = copy->offset;
		s->has_hash = copy->member_hash.len == 32;
		if (s->has_hash) {
			memcpy(s->hash, copy->member_hash.data, 32);
		}
		(void)snprintf(s->object, sizeof(s->object), "%s", copy->object);
	}
	return 0;
}

static inline struct copy_seen copy_at(struct world *w, const struct tape *t, const char *place)
{
	struct copy_seen s = { .place = place };
	struct et_state_view *v = et_state_view_open(w->state);
	assert_int_equal(et_state_each_copy_of(v, t->id, copy_seen_take, &s), 0);
	(void)et_state_view_close(v);
	return s;
}

static inline void expect_archived(struct world *w, const struct tape *t)
{
	struct copy_seen s = copy_at(w, t, "target:cold");
	assert_true(s.found);
	assert_int_equal(s.state, ET__COPY__STATE__VERIFIED);
}

struct gathered {
	uint8_t *bytes;
	size_t size;
};

static inline int gather(void *arg, const void *data, size_t size)
{
	struct gathered *g = arg;
	memcpy(g->bytes + g->size, data, size);
	g->size += size;
	return 0;
}

/* The archived bytes are those that were recorded, read by range. */
static inline void expect_readable(struct world *w, const struct tape *t)
{
	struct copy_seen s = copy_at(w, t, "target:cold");
	struct gathered g = { .bytes = malloc(t->size + 1) };
	struct et_error e = { 0 };
	int rc = et_mover_read(w->mover, "cold", s.object, s.offset, t->size, gather, &g, &e);
	if (rc < 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(g.size, t->size);
	assert_memory_equal(g.bytes, t->bytes, t->size);
	free(g.bytes);
}

static inline struct et_mover_status status_of(struct world *w)
{
	struct et_mover_status s;
	struct et_error e = { 0 };
	if (et_mover_status(w->mover, &s, &e) < 0) {
		fail_msg("%s", e.text);
	}
	return s;
}

#define KEEP "{name: all, to: cold, pack: {target-size: 1MiB}}"
#define GO "{name: all, to: cold, pack: {target-size: 1MiB}, local: {keep: 0s}}"

#endif
