/* Upload jobs: put, read back, read the lock back, and only then say that it is archived.
 *
 *   job: ready ─▶ running ─┬─▶ done
 *                          ├─▶ failed     the target keeps something else, or members are bad
 *                          └─(again later) the target cannot be used now */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/mover/mover_internal.h"
#include "node/base/log.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"

struct upload {
	const Et__Job *job; /* view */
	struct mover_pack pack;
	bool has_pack;
	const struct et_archive_rule *rule; /* view */
	enum et_bucket_lock lock;
	int64_t lock_until_us;
	struct et_bucket_put put;
	char lock_text[64]; /* as read back */
	int code;	    /* 0, or why it ends here */
	struct et_error error;
};

int mover_job_update(struct et_mover *m, const Et__Job *job, const char *state, const char *error,
		     uint64_t done_bytes)
{
	char state_copy[16];
	char error_copy[512];
	Et__JobUpdate update = ET__JOB_UPDATE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	(void)snprintf(state_copy, sizeof(state_copy), "%s", state);
	(void)snprintf(error_copy, sizeof(error_copy), "%s", error);
	update.job = job->id;
	update.state = state_copy;
	update.error = error_copy;
	update.done_bytes = done_bytes;
	command.body_case = ET__COMMAND__BODY_JOB_UPDATE;
	command.job_update = &update;
	struct et_error e = { 0 };
	int rc = mover_propose(m, &command, &e);
	if (rc < 0 && rc != ET_ECLOSED) {
		char id[ET_UUID_TEXT_SIZE];
		char quoted[400];
		et_uuid_format(job->id.data, id);
		et_warn("archive.job_update", "job=%s state=%s error=%s", id, state,
			et_log_quote(e.text, quoted, sizeof(quoted)));
	}
	return rc;
}

int mover_bucket_open(struct et_mover *m, const struct et_archive_policy *policy,
		      const char *target, struct et_bucket **ret, struct et_error *reterr)
{
	const struct et_archive_target *t = et_archive_target_find(policy, target);
	struct et_bucket_config config;
	if (t == NULL) {
		return et_fail_plain(reterr, ET_EPOLICY, "the policy has no target \"%s\"", target);
	}
	et_archive_bucket_config(t, &config);
	struct et_bucket *b = NULL;
	int rc = et_bucket_open(&config, &b, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)pthread_mutex_lock(&m->lock);
	m->bucket = b;
	bool stopping = atomic_load(&m->stopping);
	(void)pthread_mutex_unlock(&m->lock);
	if (stopping) {
		et_bucket_cancel(b);
	}
	*ret = b;
	return 0;
}

void mover_bucket_close(struct et_mover *m, struct et_bucket *b)
{
	(void)pthread_mutex_lock(&m->lock);
	m->bucket = NULL;
	(void)pthread_mutex_unlock(&m->lock);
	(void)et_bucket_close(b);
}

/* ---- One job: before the put ---- */

static const struct et_archive_rule *rule_find(const struct et_archive_policy *p, const char *name)
{
	for (size_t i = 0; i < p->rule_count; i++) {
		if (strcmp(p->rules[i].name, name) == 0) {
			return &p->rules[i];
		}
	}
	return NULL;
}

/* The lock of a pack ends when that of its last member does. */
static int upload_lock(struct et_mover *m, struct upload *u, const struct et_archive_policy *policy)
{
	const Et__Job *job = u->job;
	for (size_t i = 0; i < job->n_items; i++) {
		int64_t until = job->items[i]->lock_until_us;
		u->lock_until_us = until > u->lock_until_us ? until : u->lock_until_us;
	}
	if (u->lock_until_us <= m->config.now(m->config.arg)) {
		return 0; /* none asked for, or it would have ended already */
	}
	u->rule = rule_find(policy, job->items[0]->rule);
	if (u->rule == NULL || u->rule->lock == ET_ARCHIVE_LOCK_NONE) {
		return et_fail_plain(&u->error, ET_EPOLICY,
				     "the policy's rule \"%.63s\" does not lock any more",
				     job->items[0]->rule);
	}
	u->lock = u->rule->lock == ET_ARCHIVE_LOCK_COMPLIANCE ? ET_LOCK_COMPLIANCE
							      : ET_LOCK_GOVERNANCE;
	/* Whole seconds are what servers keep. */
	u->lock_until_us = (u->lock_until_us + 999999) / 1000000 * 1000000;
	return 0;
}

/* The items that are not archived yet: a job may have been interrupted after its CopyAdd. */
static size_t items_left(const struct et_state_view *v, const Et__Job *job, Et__PlanItem **ret)
{
	size_t count = 0;
	char place[MOVER_PLACE_SIZE];
	for (size_t i = 0; i < job->n_items; i++) {
		Et__PlanItem *item = job->items[i];
		Et__Copy *copy = NULL;
		mover_place_target(item->target, place);
		if (mover_copy_get(v, item->recording.data, item->generation, item->segment, place,
				   &copy) == 0) {
			et__copy__free_unpacked(copy, NULL);
			continue;
		}
		ret[count++] = item;
	}
	return count;
}

static void upload_prepare(struct et_mover *m, const struct et_archive_policy *policy,
			   struct upload *u)
{
	Et__PlanItem **left = calloc(u->job->n_items + 1, sizeof(*left));
	struct et_state_view *v = et_state_view_open(m->state);
	u->code = left == NULL || v == NULL ? et_fail(&u->error, -ENOMEM, "upload") : 0;
	u->code = u->code < 0 ? u->code : upload_lock(m, u, policy);
	size_t count = u->code < 0 ? 0 : items_left(v, u->job, left);
	if (u->code == 0 && count > 0) {
		u->code = mover_pack_open(m, v, left, count, &u->pack, &u->error);
		if (u->code == ET_ENOTFOUND) {
			u->code = ET_EINTEGRITY; /* none of its members can be read: it is over */
		}
		u->has_pack = u->code == 0;
	}
	if (v != NULL) {
		(void)et_state_view_close(v);
	}
	free(left);
}

/* ---- One job: after the put ---- */

static int lock_check(struct upload *u, const struct et_bucket_object *o)
{
	if (u->lock == ET_LOCK_NONE) {
		return 0;
	}
	if (o->lock != u->lock || o->lock_until_us < u->lock_until_us) {
		return et_fail_plain(&u->error, ET_EPOLICY,
				     "the target did not keep the lock of '%s'", u->pack.key);
	}
	char until[ET_TIME_TEXT_SIZE];
	et_time_format(o->lock_until_us, until);
	(void)snprintf(u->lock_text, sizeof(u->lock_text), "%s until %s",
		       o->lock == ET_LOCK_COMPLIANCE ? "compliance" : "governance", until);
	return 0;
}

/* Is it there, all of it, as it was sent, and locked? */
static int read_back(struct et_bucket *b, struct upload *u, const char *key, uint64_t size,
		     const uint8_t sha256[32])
{
	struct et_bucket_object object;
	int rc = et_bucket_head(b, key, &object, &u->error);
	if (rc == 0 && object.size != size) {
		rc = et_fail(&u->error, ET_EINTEGRITY, "read back '%s'", key);
	}
	rc = rc < 0 ? rc : lock_check(u, &object);
	return rc < 0 ? rc : et_bucket_verify(b, key, size, sha256, &u->error);
}

static int buffer_read(void *arg, uint64_t offset, void *data, size_t size)
{
	const struct et_buffer *buffer = arg;
	memcpy(data, buffer->data + offset, size);
	return 0;
}

/* The index beside the pack, the same way. */
static int index_put(struct et_bucket *b, struct upload *u)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer index = { 0 };
	uint8_t sha256[32];
	char key[ET_PACK_KEY_SIZE];
	int rc = et_pack_write_index_object(u->pack.entries, u->pack.count, u->pack.size,
					    u->pack.sha256, &index);
	if (rc < 0) {
		return et_fail(&u->error, rc, "index of a pack");
	}
	et_sha256(index.data, index.size, sha256);
	(void)snprintf(key, sizeof(key), "%.*sidx", (int)(strlen(u->pack.key) - 4), u->pack.key);
	struct et_bucket_put put = { .key = key,
				     .size = index.size,
				     .sha256 = sha256,
				     .read = buffer_read,
				     .arg = &index,
				     .lock = u->lock,
				     .lock_until_us = u->lock_until_us };
	rc = et_bucket_put(b, &put, &u->error);
	return rc < 0 ? rc : read_back(b, u, key, index.size, sha256);
}

static int copies_propose(struct et_mover *m, struct upload *u, Et__Copy *copies, Et__Copy **list)
{
	char place[MOVER_PLACE_SIZE];
	Et__CopyAdd add = ET__COPY_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	mover_place_target(u->job->items[0]->target, place);
	for (size_t i = 0; i < u->pack.count; i++) {
		const struct mover_member *member = &u->pack.members[i];
		Et__Copy *c = &copies[i];
		et__copy__init(c);
		c->recording = mover_bytes(member->id.recording, 16);
		c->generation = member->id.generation;
		c->segment = member->id.segment;
		c->place = place;
		c->state = ET__COPY__STATE__VERIFIED;
		c->object = u->pack.key;
		c->offset = member->entry.offset;
		c->size_bytes = member->entry.size;
		c->object_hash = mover_bytes(u->pack.sha256, 32);
		if (member->tell_hash) {
			c->member_hash = mover_bytes(member->entry.sha256, 32);
		}
		c->lock = u->lock_text;
		list[i] = c;
	}
	add.n_copies = u->pack.count;
	add.copies = list;
	command.body_case = ET__COMMAND__BODY_COPY_ADD;
	command.copy_add = &add;
	return mover_propose(m, &command, &u->error);
}

static int copies_add(struct et_mover *m, struct upload *u)
{
	Et__Copy *copies = calloc(u->pack.count, sizeof(*copies));
	Et__Copy **list = calloc(u->pack.count, sizeof(*list));
	int rc = copies == NULL || list == NULL ? et_fail(&u->error, -ENOMEM, "copies")
						: copies_propose(m, u, copies, list);
	free(list);
	free(copies);
	return rc;
}

static void upload_log(const struct upload *u, int64_t begin_us)
{
	et_info("archive.uploaded",
		"object=%s target=%s members=%zu bytes=%llu requests=%u ms=%lld", u->pack.key,
		u->job->items[0]->target, u->pack.count, (unsigned long long)u->pack.size,
		u->put.requests, (long long)((et_clock_mono_us() - begin_us) / 1000));
}

/* What became of it goes to the catalogue. 0, or why to stop for now. */
static int upload_end(struct et_mover *m, struct upload *u)
{
	const char *target = u->job->items[0]->target;
	uint64_t bytes = u->has_pack ? u->pack.size : 0;
	if (u->code == ET_ECLOSED || mover_is_unsaid(u->code)) {
		return u->code;
	}
	if (u->code == 0 && u->has_pack && u->pack.problem.code != 0) {
		return mover_job_update(m, u->job, "failed", u->pack.problem.text, bytes);
	}
	if (u->code == 0) {
		return mover_job_update(m, u->job, "done", "", bytes);
	}
	if (mover_is_passing(u->code)) {
		mover_target_failed(m, target, &u->error);
		return 0;
	}
	char quoted[400];
	et_err("archive.upload_failed", "target=%s error=%s", target,
	       et_log_quote(u->error.text, quoted, sizeof(quoted)));
	return mover_job_update(m, u->job, "failed", u->error.text, 0);
}

/* ---- Several jobs ---- */

static void uploads_put(struct et_mover *m, struct et_bucket *b, struct upload *list, size_t count)
{
	struct et_bucket_put *puts = calloc(count, sizeof(*puts));
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		struct upload *u = &list[i];
		if (puts == NULL) {
			u->code = et_fail(&u->error, -ENOMEM, "upload");
		} else if (u->code == 0 && u->has_pack) {
			puts[n++] = (struct et_bucket_put){ .key = u->pack.key,
							    .size = u->pack.size,
							    .sha256 = u->pack.sha256,
							    .read = mover_pack_read,
							    .arg = &u->pack,
							    .lock = u->lock,
							    .lock_until_us = u->lock_until_us };
		}
	}
	if (n > 0) {
		/* Each has its own result. */
		(void)!et_bucket_put_many(b, puts, n, m->config.parallel, NULL);
	}
	n = 0;
	for (size_t i = 0; i < count && puts != NULL; i++) {
		struct upload *u = &list[i];
		if (u->code == 0 && u->has_pack) {
			u->put = puts[n++];
			u->code = u->put.code;
			if (u->code < 0) {
				u->error = u->put.error;
			}
		}
	}
	free(puts);
}

static void uploads_confirm(struct et_mover *m, struct et_bucket *b, struct upload *list,
			    size_t count, int64_t begin_us)
{
	for (size_t i = 0; i < count; i++) {
		struct upload *u = &list[i];
		if (u->code < 0 || !u->has_pack) {
			continue;
		}
		u->code = read_back(b, u, u->pack.key, u->pack.size, u->pack.sha256);
		u->code = u->code < 0 ? u->code : index_put(b, u);
		if (u->code == 0) {
			mover_target_ok(m, u->job->items[0]->target);
			u->code = copies_add(m, u);
		}
		if (u->code == 0) {
			upload_log(u, begin_us);
		}
	}
}

/* All jobs are for one target. */
static int uploads_run(struct et_mover *m, const struct et_archive_policy *policy,
		       struct upload *list, size_t count)
{
	const char *target = list[0].job->items[0]->target;
	int64_t begin_us = et_clock_mono_us();
	struct et_bucket *b = NULL;
	struct et_error e = { 0 };
	int rc = mover_bucket_open(m, policy, target, &b, &e);
	for (size_t i = 0; i < count && rc < 0; i++) {
		list[i].code = rc;
		list[i].error = e;
	}
	if (rc == 0) {
		for (size_t i = 0; i < count; i++) {
			bool ready = strcmp(list[i].job->state, "ready") == 0;
			rc = ready ? mover_job_update(m, list[i].job, "running", "", 0) : 0;
			if (rc < 0) {
				list[i].code = et_fail(&list[i].error, rc, "job");
				continue;
			}
			upload_prepare(m, policy, &list[i]);
		}
		uploads_put(m, b, list, count);
		uploads_confirm(m, b, list, count, begin_us);
		mover_bucket_close(m, b);
	}
	rc = 0;
	for (size_t i = 0; i < count; i++) {
		int end = upload_end(m, &list[i]);
		rc = rc < 0 ? rc : end;
		mover_pack_release(&list[i].pack);
	}
	return rc;
}

int mover_upload_jobs(struct et_mover *m, Et__Job **jobs, size_t count)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	struct et_error e = { 0 };
	uint32_t revision = 0;
	struct et_state_view *v = et_state_view_open(m->state);
	if (v == NULL) {
		return -ENOMEM;
	}
	int rc = et_archive_policy_of(v, &policy, &revision, &e);
	(void)et_state_view_close(v);
	for (size_t first = 0; first < count && rc == 0;) {
		struct upload list[MOVER_PARALLEL_MAX];
		size_t n = 0;
		while (n < m->config.parallel && first + n < count &&
		       strcmp(jobs[first + n]->items[0]->target, jobs[first]->items[0]->target) ==
			       0) {
			list[n] = (struct upload){ .job = jobs[first + n] };
			n++;
		}
		et_assert(n > 0);
		first += n;
		if (mover_target_pause(m, list[0].job->items[0]->target) == 0) {
			rc = uploads_run(m, policy, list, n);
		}
	}
	return rc;
}
