/* The mover on the real catalogue state and a real directory store. Raft is replaced by a function
 * that applies each proposal at once, and can be told to refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
};

static char principal[] = "local:uid=0";

/* ---- Raft's part ---- */

struct applied {
	struct world *w;
	int code;
	Et__Result *result; /* owned */
};

static Et__Result *result_dup(const Et__Result *r)
{
	size_t size = et__result__get_packed_size(r);
	uint8_t *packed = malloc(size + 1);
	(void)et__result__pack(r, packed);
	Et__Result *ret = et__result__unpack(NULL, size, packed);
	free(packed);
	return ret;
}

static void on_result(void *arg, uint64_t index, uint32_t position, const Et__Command *command,
		      const Et__Result *result)
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
static int apply_locked(struct world *w, uint64_t node, Et__Command *command, Et__Result **ret)
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

static int apply(struct world *w, Et__Command *command)
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

static void count(struct world *w, const Et__Command *command, int code)
{
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_COPY_ADD:
		w->copy_adds += code == 0 ? 1 : 0;
		break;
	case ET__COMMAND__BODY_COPY_BAD:
		w->copies_bad++;
		break;
	case ET__COMMAND__BODY_JOB_UPDATE:
		w->job_ends += strcmp(command->job_update->state, "running") != 0 ? 1 : 0;
		break;
	default:
		break;
	}
}

static int propose(void *arg, Et__Command *command, et_mover_proposed_fn done, void *done_arg)
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

static int64_t now(void *arg)
{
	(void)arg;
	return NOW_US;
}

/* Until the mover has proposed so much that `enough` says true. */
static void wait_for(struct world *w, bool (*enough)(const struct world *w))
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

static bool one_job_ended(const struct world *w)
{
	return w->job_ends >= 1;
}

static bool two_jobs_ended(const struct world *w)
{
	return w->job_ends >= 2;
}

static bool copy_add_was_lost(const struct world *w)
{
	return w->copy_add_lost >= 1;
}

static bool quorum_is_back(const struct world *w)
{
	return w->no_quorum == 0 && w->copy_adds >= 1;
}

/* ---- The world ---- */

static void cluster_init(struct world *w)
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

static int policy_set(struct world *w, const char *rule, uint32_t expect)
{
	char text[1024];
	char name[] = ET_ARCHIVE_POLICY;
	struct et_error e = { 0 };
	Et__Command c = ET__COMMAND__INIT;
	Et__PolicySet set = ET__POLICY_SET__INIT;
	Et__Policy policy = ET__POLICY__INIT;
	(void)snprintf(text, sizeof(text),
		       "targets: {cold: {type: dir, path: %s}}\nrules:\n  - %s\n", w->store, rule);
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

static void mover_begin(struct world *w)
{
	struct et_error e = { 0 };
	struct et_mover *mover = NULL;
	struct et_mover_config config = { .node = 1,
					  .media = w->media,
					  .state = w->state,
					  .propose = propose,
					  .now = now,
					  .arg = w,
					  .interval_ms = 200 };
	if (et_mover_start(&config, &mover, &e) < 0) {
		fail_msg("%s", e.text);
	}
	(void)pthread_mutex_lock(&w->lock);
	w->mover = mover;
	(void)pthread_mutex_unlock(&w->lock);
}

/* on_applied runs under the lock and must not meet a mover that is gone. */
static void mover_end(struct world *w)
{
	(void)pthread_mutex_lock(&w->lock);
	struct et_mover *mover = w->mover;
	w->mover = NULL;
	(void)pthread_mutex_unlock(&w->lock);
	(void)et_mover_stop(mover);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct et_error e = { 0 };
	char db[96];
	strcpy(w->folder, "/tmp/et_mover.XXXXXX");
	assert_non_null(mkdtemp(w->folder));
	(void)snprintf(w->media, sizeof(w->media), "%s/media", w->folder);
	(void)snprintf(w->store, sizeof(w->store), "%s/store", w->folder);
	(void)snprintf(db, sizeof(db), "%s/db", w->folder);
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

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
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
};

static struct tape tape_make(const struct world *w, uint8_t number, size_t size)
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

static void tape_file(const struct world *w, const struct tape *t)
{
	char folder[256];
	struct et_error e = { 0 };
	(void)snprintf(folder, sizeof(folder), "%s/tapes/2026/11/22", w->media);
	assert_int_equal(et_file_mkdirs(folder, &e), 0);
	assert_int_equal(et_file_publish(t->path, t->bytes, t->size, 0600, &e), 0);
}

static void tape_open(struct world *w, struct tape *t)
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
	s.header_hash = (ProtobufCBinaryData){ 32, bytes };
	s.t0_us = START_US;
	s.file = t->file;
	segment.segment = &s;
	c.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	c.segment_open = &segment;
	assert_int_equal(apply(w, &c), 0);
}

static void tape_seal(struct world *w, struct tape *t)
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
	seal.root = (ProtobufCBinaryData){ 32, t->sha256 };
	seal.records = 1;
	seal.size_bytes = t->size;
	seal.sealed_us = START_US + 60000000;
	seal.object_hash = (ProtobufCBinaryData){ 32, t->sha256 };
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

static struct tape tape_record(struct world *w, uint8_t number, size_t size)
{
	struct tape t = tape_make(w, number, size);
	tape_file(w, &t);
	tape_open(w, &t);
	tape_seal(w, &t);
	return t;
}

/* ---- Plan and apply, as the API does it ---- */

static Et__Plan *plan_now(struct world *w, struct et_archive_summary *summary)
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

static void plan_apply(struct world *w, Et__Plan *plan)
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

static void plan_and_apply(struct world *w)
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
};

static int copy_seen_take(void *arg, const Et__Copy *copy)
{
	struct copy_seen *s = arg;
	if (strcmp(copy->place, s->place) == 0) {
		s->found = true;
		s->state = copy->state;
		s->offset = copy->offset;
		(void)snprintf(s->object, sizeof(s->object), "%s", copy->object);
	}
	return 0;
}

static struct copy_seen copy_at(struct world *w, const struct tape *t, const char *place)
{
	struct copy_seen s = { .place = place };
	struct et_state_view *v = et_state_view_open(w->state);
	assert_int_equal(et_state_each_copy_of(v, t->id, copy_seen_take, &s), 0);
	(void)et_state_view_close(v);
	return s;
}

static void expect_archived(struct world *w, const struct tape *t)
{
	struct copy_seen s = copy_at(w, t, "target:cold");
	assert_true(s.found);
	assert_int_equal(s.state, ET__COPY__STATE__VERIFIED);
}

struct gathered {
	uint8_t *bytes;
	size_t size;
};

static int gather(void *arg, const void *data, size_t size)
{
	struct gathered *g = arg;
	memcpy(g->bytes + g->size, data, size);
	g->size += size;
	return 0;
}

/* The archived bytes are those that were recorded, read by range. */
static void expect_readable(struct world *w, const struct tape *t)
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

static struct et_mover_status status_of(struct world *w)
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

/* ---- Tests ---- */

static void plans_nothing_without_a_policy(void **state)
{
	struct world *w = *state;
	struct et_state_view *v = et_state_view_open(w->state);
	struct et_error e = { 0 };
	Et__Plan *plan = NULL;
	assert_int_equal(et_archive_plan(v, NOW_US, &plan, NULL, &e), ET_ENOTFOUND);
	assert_non_null(strstr(e.next, "policy apply"));
	(void)et_state_view_close(v);
}

static void plans_what_is_due_and_says_why(void **state)
{
	struct world *w = *state;
	struct et_archive_summary summary;
	struct tape a = tape_record(w, 1, 1000);
	struct tape b = tape_record(w, 2, 2000);
	struct tape live = tape_make(w, 3, 10);
	tape_open(w, &live);
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	Et__Plan *plan = plan_now(w, &summary);
	assert_int_equal(plan->n_items, 2);
	assert_int_equal(plan->policy_revision, 1);
	assert_string_equal(plan->items[0]->action, "upload");
	assert_memory_equal(plan->items[0]->recording.data, a.id, 16);
	assert_int_equal(plan->items[0]->node, 1);
	assert_int_equal(plan->items[0]->pack, 1);
	assert_int_equal(plan->items[1]->pack, 1);
	assert_int_equal(summary.row_count, 2);
	assert_int_equal(summary.rows[0].action, ET_ARCHIVE_UPLOAD);
	assert_int_equal(summary.rows[0].recordings, 2);
	assert_int_equal(summary.rows[0].bytes, 3000);
	assert_int_equal(summary.rows[1].action, ET_ARCHIVE_SKIP);
	assert_int_equal(summary.packs, 1);
	assert_false(summary.partial);
	et__plan__free_unpacked(plan, NULL);
	free(a.bytes);
	free(b.bytes);
	free(live.bytes);
}

static void archives_a_pack_and_reads_it_back(void **state)
{
	struct world *w = *state;
	struct tape t[3] = { tape_record(w, 1, 100000), tape_record(w, 2, 1),
			     tape_record(w, 3, 300000) };
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	for (size_t i = 0; i < 3; i++) {
		expect_archived(w, &t[i]);
		expect_readable(w, &t[i]);
		assert_int_equal(access(t[i].path, F_OK), 0);
	}
	struct et_mover_status s = status_of(w);
	assert_int_equal(s.jobs_waiting, 0);
	assert_int_equal(s.jobs_failed, 0);
	assert_int_equal(s.target_count, 1);
	assert_int_equal(s.targets[0].copies, 3);
	assert_int_equal(s.targets[0].bytes, 400001);
	assert_true(s.targets[0].last_ok_us > 0);
	Et__Plan *plan = plan_now(w, NULL);
	assert_int_equal(plan->n_items, 0);
	et__plan__free_unpacked(plan, NULL);
	for (size_t i = 0; i < 3; i++) {
		free(t[i].bytes);
	}
}

static void packs_are_filled_up_to_their_size(void **state)
{
	struct world *w = *state;
	struct tape t[5];
	for (uint8_t i = 0; i < 5; i++) {
		t[i] = tape_record(w, (uint8_t)(i + 1), 400 * 1024);
	}
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	Et__Plan *plan = plan_now(w, NULL);
	const uint32_t packs[] = { 1, 1, 2, 2, 3 };
	Et__Job **jobs = NULL;
	size_t job_count = 0;
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(plan->items[i]->pack, packs[i]);
	}
	assert_int_equal(et_archive_jobs(plan, &jobs, &job_count), 0);
	assert_int_equal(job_count, 3);
	assert_int_equal(jobs[0]->n_items, 2);
	assert_string_equal(jobs[0]->kind, "archive-upload");
	et_archive_jobs_free(jobs, job_count);
	et__plan__free_unpacked(plan, NULL);
	for (size_t i = 0; i < 5; i++) {
		free(t[i].bytes);
	}
}

static void drops_the_file_only_after_the_eviction_is_applied(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	char fetched[256];
	struct et_error e = { 0 };
	struct et_buffer bytes = { 0 };
	assert_int_equal(policy_set(w, GO, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	assert_int_equal(access(t.path, F_OK), 0);
	Et__Plan *plan = plan_now(w, NULL);
	assert_int_equal(plan->n_items, 1);
	assert_string_equal(plan->items[0]->action, "evict");
	plan_apply(w, plan);
	et__plan__free_unpacked(plan, NULL);
	wait_for(w, two_jobs_ended);
	mover_end(w); /* Takes what was applied with it. */
	assert_int_equal(access(t.path, F_OK), -1);
	assert_int_equal(copy_at(w, &t, "node:1").state, ET__COPY__STATE__EVICTED);
	mover_begin(w);
	expect_readable(w, &t);
	(void)snprintf(fetched, sizeof(fetched), "%s/fetched", w->media);
	if (et_mover_fetch(w->mover, t.id, 1, 1, fetched, &e) < 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(et_file_read(fetched, t.size + 1, &bytes, &e), 0);
	assert_int_equal(bytes.size, t.size);
	assert_memory_equal(bytes.data, t.bytes, t.size);
	et_buffer_release(&bytes);
	free(t.bytes);
}

static void removes_what_was_evicted_before_a_crash(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	struct tape kept = tape_record(w, 2, 5000);
	assert_int_equal(policy_set(w, GO, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	mover_end(w);
	Et__Command c = ET__COMMAND__INIT;
	Et__CopyEvict evict = ET__COPY_EVICT__INIT;
	Et__Copy copy = ET__COPY__INIT;
	Et__Copy *list[] = { &copy };
	char place[] = "node:1";
	copy.recording = (ProtobufCBinaryData){ 16, t.id };
	copy.generation = 1;
	copy.segment = 1;
	copy.place = place;
	evict.copies = list;
	evict.n_copies = 1;
	c.body_case = ET__COMMAND__BODY_COPY_EVICT;
	c.copy_evict = &evict;
	assert_int_equal(apply(w, &c), 0); /* committed, and the process died before the unlink */
	assert_int_equal(access(t.path, F_OK), 0);
	assert_int_equal(policy_set(w, KEEP, 1), 0);
	struct tape later = tape_record(w, 3, 10);
	w->job_ends = 0;
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended); /* Jobs come after what is done at the start. */
	assert_int_equal(access(t.path, F_OK), -1);
	assert_int_equal(access(kept.path, F_OK), 0);
	assert_int_equal(access(later.path, F_OK), 0);
	free(t.bytes);
	free(kept.bytes);
	free(later.bytes);
}

static unsigned files_in_store(const struct world *w)
{
	char path[160];
	unsigned n = 0;
	(void)snprintf(path, sizeof(path), "%s/packs/2026/11", w->store);
	DIR *dir = opendir(path);
	const struct dirent *e;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		n += e->d_name[0] != '.' ? 1 : 0;
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	return n;
}

static void finds_its_pack_again_after_a_crash(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 70000);
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	(void)pthread_mutex_lock(&w->lock);
	w->no_copy_add = true;
	(void)pthread_mutex_unlock(&w->lock);
	plan_and_apply(w);
	wait_for(w, copy_add_was_lost);
	mover_end(w); /* uploaded, and the catalogue does not know */
	assert_int_equal(files_in_store(w), 2);
	assert_false(copy_at(w, &t, "target:cold").found);
	assert_int_equal(w->job_ends, 0);
	w->no_copy_add = false;
	mover_begin(w);
	wait_for(w, one_job_ended);
	assert_int_equal(files_in_store(w), 2); /* the same names */
	expect_archived(w, &t);
	expect_readable(w, &t);
	free(t.bytes);
}

static void leaves_out_a_member_that_is_missing(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 70000);
	struct tape missing = tape_record(w, 2, 10);
	assert_int_equal(remove(missing.path), 0);
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	expect_archived(w, &t);
	assert_false(copy_at(w, &missing, "target:cold").found);
	struct et_mover_status s = status_of(w);
	assert_int_equal(s.jobs_failed, 1);
	assert_non_null(strstr(s.last_error, "02020202"));
	assert_int_equal(copy_at(w, &missing, "node:1").state, ET__COPY__STATE__BAD);
	free(t.bytes);
	free(missing.bytes);
}

static void goes_on_when_there_is_a_quorum_again(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 70000);
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	(void)pthread_mutex_lock(&w->lock);
	w->no_quorum = 3;
	(void)pthread_mutex_unlock(&w->lock);
	plan_and_apply(w);
	wait_for(w, quorum_is_back);
	wait_for(w, one_job_ended);
	expect_archived(w, &t);
	free(t.bytes);
}

static void waits_for_a_target_that_is_not_mounted(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 7000);
	char away[160];
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	(void)snprintf(away, sizeof(away), "%s.away", w->store);
	assert_int_equal(rename(w->store, away), 0);
	plan_and_apply(w);
	mover_begin(w);
	struct et_mover_status s = status_of(w);
	for (int64_t begin = et_clock_mono_us();
	     s.targets[0].last_error_us == 0 && et_clock_mono_us() - begin < WAIT_US;) {
		(void)usleep(10000);
		s = status_of(w);
	}
	assert_non_null(strstr(s.targets[0].last_error, w->store));
	assert_int_equal(s.jobs_waiting, 1);
	assert_int_equal(s.jobs_failed, 0);
	assert_int_equal(s.backlog_segments, 1);
	assert_int_equal(s.backlog_bytes, 7000);
	assert_true(s.oldest_us == START_US);
	assert_int_equal(access(t.path, F_OK), 0);
	assert_int_equal(rename(away, w->store), 0);
	wait_for(w, one_job_ended);
	expect_archived(w, &t);
	free(t.bytes);
}

static void never_archives_what_rotted_here(void **state)
{
	struct world *w = *state;
	struct tape good = tape_record(w, 1, 5000);
	struct tape rotten = tape_record(w, 2, 5000);
	int fd = open(rotten.path, O_RDWR | O_CLOEXEC);
	uint8_t byte = (uint8_t)(rotten.bytes[77] ^ 1);
	assert_int_equal(pwrite(fd, &byte, 1, 77), 1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(policy_set(w, GO, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	expect_archived(w, &good);
	assert_false(copy_at(w, &rotten, "target:cold").found);
	assert_int_equal(copy_at(w, &rotten, "node:1").state, ET__COPY__STATE__BAD);
	assert_int_equal(access(rotten.path, F_OK), 0);
	free(good.bytes);
	free(rotten.bytes);
}

/* ---- Verify ---- */

static char *pack_path(struct world *w, const struct tape *t)
{
	struct copy_seen s = copy_at(w, t, "target:cold");
	char *path = NULL;
	assert_true(asprintf(&path, "%s/%s", w->store, s.object) > 0);
	return path;
}

static void verifies_and_names_what_rotted_there(void **state)
{
	struct world *w = *state;
	struct tape a = tape_record(w, 1, 5000);
	struct tape b = tape_record(w, 2, 5000);
	struct et_error e = { 0 };
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	struct et_mover_verify verify = { 0 };
	assert_int_equal(et_mover_verify(w->mover, &verify, &e), 0);
	assert_int_equal(verify.copies, 2);
	assert_int_equal(verify.bytes, 10000);
	char *path = pack_path(w, &b);
	off_t at = (off_t)copy_at(w, &b, "target:cold").offset + 4321;
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte = (uint8_t)(b.bytes[4321] ^ 0x10);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	assert_int_equal(close(fd), 0);
	free(path);
	assert_int_equal(et_mover_verify(w->mover, &verify, &e), ET_EINTEGRITY);
	assert_int_equal(verify.copies, 2);
	assert_int_equal(verify.bad, 1);
	assert_non_null(strstr(e.text, "02020202-0202"));
	assert_int_equal(copy_at(w, &b, "target:cold").state, ET__COPY__STATE__BAD);
	expect_archived(w, &a);
	verify = (struct et_mover_verify){ .recording = a.id };
	assert_int_equal(et_mover_verify(w->mover, &verify, &e), 0);
	assert_int_equal(verify.copies, 1);
	free(a.bytes);
	free(b.bytes);
}

static void parts_of_a_verification_are_the_whole(void **state)
{
	struct world *w = *state;
	struct tape t[6];
	uint64_t seen = 0;
	for (uint8_t i = 0; i < 6; i++) {
		t[i] = tape_record(w, (uint8_t)(i + 1), 600 * 1024);
	}
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	for (int64_t begin = et_clock_mono_us();
	     status_of(w).jobs_waiting > 0 && et_clock_mono_us() - begin < WAIT_US;) {
		(void)usleep(10000);
	}
	for (uint32_t part = 1; part <= 3; part++) {
		struct et_mover_verify verify = { .part = part, .parts = 3 };
		assert_int_equal(et_mover_verify(w->mover, &verify, NULL), 0);
		seen += verify.copies;
	}
	assert_int_equal(seen, 6);
	for (size_t i = 0; i < 6; i++) {
		free(t[i].bytes);
	}
}

static void says_that_a_store_cannot_be_reached(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	char away[160];
	struct et_error e = { 0 };
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	(void)snprintf(away, sizeof(away), "%s.away", w->store);
	assert_int_equal(rename(w->store, away), 0);
	struct et_mover_verify verify = { 0 };
	assert_int_equal(et_mover_verify(w->mover, &verify, &e), ET_EUNREACHABLE);
	assert_int_equal(verify.unreachable, 1);
	assert_int_equal(verify.bad, 0);
	expect_archived(w, &t); /* Nothing was proved against it. */
	assert_int_equal(rename(away, w->store), 0);
	free(t.bytes);
}

/* ---- Policies ---- */

static void refuses_a_policy_that_forgets_a_target_in_use(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	struct et_error e = { 0 };
	const char other[] = "targets: {new: {type: dir, path: /srv/a}}\n"
			     "rules: [{name: all, to: new}]\n";
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	struct et_state_view *v = et_state_view_open(w->state);
	assert_int_equal(et_archive_validate_against(v, other, strlen(other), "f", &e), 0);
	(void)et_state_view_close(v);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	v = et_state_view_open(w->state);
	assert_int_equal(et_archive_validate_against(v, other, strlen(other), "f", &e), ET_EPOLICY);
	assert_non_null(strstr(e.text, "cold"));
	(void)et_state_view_close(v);
	free(t.bytes);
}

static void refuses_targets_that_no_store_would_take(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *what;
	} cases[] = {
		{ "targets: {c: {type: dir, path: srv}}\nrules: [{name: a, to: c}]\n", "absolute" },
		{ "targets: {c: {type: s3, endpoint: 'ftp://x', bucket: abc, credentials: "
		  "'file:/x'}}\nrules: [{name: a, to: c}]\n",
		  "endpoint" },
		{ "targets: {c: {type: s3v2, endpoint: 'https://x', bucket: abc, credentials: "
		  "'file:/x'}}\nrules: [{name: a, to: c}]\n",
		  "s3v2 cannot verify" },
		{ "targets: {c: {type: s3, endpoint: 'https://x', bucket: B, credentials: "
		  "'file:/x'}}\nrules: [{name: a, to: c}]\n",
		  "bucket" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		struct et_error e = { 0 };
		assert_int_equal(
			et_archive_validate(cases[i].text, strlen(cases[i].text), "p.yaml", &e),
			ET_EMALFORMED);
		assert_ptr_equal(strstr(e.text, "p.yaml:1:"), e.text);
		assert_non_null(strstr(e.text, cases[i].what));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(plans_nothing_without_a_policy),
		TEST(plans_what_is_due_and_says_why),
		TEST(archives_a_pack_and_reads_it_back),
		TEST(packs_are_filled_up_to_their_size),
		TEST(drops_the_file_only_after_the_eviction_is_applied),
		TEST(removes_what_was_evicted_before_a_crash),
		TEST(finds_its_pack_again_after_a_crash),
		TEST(leaves_out_a_member_that_is_missing),
		TEST(goes_on_when_there_is_a_quorum_again),
		TEST(waits_for_a_target_that_is_not_mounted),
		TEST(never_archives_what_rotted_here),
		TEST(verifies_and_names_what_rotted_there),
		TEST(parts_of_a_verification_are_the_whole),
		TEST(says_that_a_store_cannot_be_reached),
		TEST(refuses_a_policy_that_forgets_a_target_in_use),
		cmocka_unit_test(refuses_targets_that_no_store_would_take),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
