#include "archive/mover/mover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/mover/mover_internal.h"
#include "node/base/log.h"
#include "node/io/clock.h"

#define QUEUE_MAX 4096
#define QUEUE_BYTES_MAX ((size_t)8 * 1024 * 1024)
#define JOBS_MAX 256 /* looked at in one go; the rest at once after */

/* ---- Jobs ---- */

struct job_list {
	struct et_mover *m;
	Et__Job *jobs[JOBS_MAX]; /* owned */
	size_t count;
	bool more;
};

static Et__Job *job_dup(const Et__Job *job)
{
	size_t size = et__job__get_packed_size(job);
	uint8_t *packed = malloc(size + 1);
	if (packed == NULL) {
		return NULL;
	}
	(void)et__job__pack(job, packed);
	Et__Job *ret = et__job__unpack(NULL, size, packed);
	free(packed);
	return ret;
}

static int job_take(void *arg, const Et__Job *job)
{
	struct job_list *l = arg;
	bool upload = strcmp(job->kind, "archive-upload") == 0;
	bool restore = strcmp(job->kind, "archive-restore") == 0;
	bool open = strcmp(job->state, "ready") == 0 || strcmp(job->state, "running") == 0;
	if (!open || job->n_items == 0 ||
	    (!upload && !restore && strcmp(job->kind, "evict") != 0)) {
		return 0;
	}
	if ((upload || restore) && mover_target_pause(l->m, job->items[0]->target) != 0) {
		return 0;
	}
	if (l->count == JOBS_MAX) {
		l->more = true;
		return 1;
	}
	Et__Job *copy = job_dup(job);
	if (copy == NULL) {
		return -ENOMEM;
	}
	l->jobs[l->count++] = copy;
	return 0;
}

/* Uploads first, and what people wait for before what makes room. */
static int job_rank(const Et__Job *job)
{
	if (strcmp(job->kind, "archive-upload") == 0) {
		return 0;
	}
	return strcmp(job->kind, "archive-restore") == 0 ? 1 : 2;
}

static int job_order(const void *left, const void *right)
{
	const Et__Job *a = *(Et__Job *const *)left;
	const Et__Job *b = *(Et__Job *const *)right;
	int by = job_rank(a) - job_rank(b);
	by = by != 0 ? by : strcmp(a->items[0]->target, b->items[0]->target);
	return by != 0 ? by : memcmp(a->id.data, b->id.data, 16);
}

static int jobs_run(struct et_mover *m, struct job_list *l)
{
	size_t uploads = 0;
	while (uploads < l->count && strcmp(l->jobs[uploads]->kind, "archive-upload") == 0) {
		uploads++;
	}
	int rc = uploads > 0 ? mover_upload_jobs(m, l->jobs, uploads) : 0;
	for (size_t i = uploads; i < l->count && rc == 0; i++) {
		rc = job_rank(l->jobs[i]) == 1 ? mover_restore_job(m, l->jobs[i])
					       : mover_evict_job(m, l->jobs[i]);
	}
	return rc;
}

/* Do what there is to do. true: there is more. */
static bool look(struct et_mover *m)
{
	struct job_list l = { .m = m };
	struct et_state_view *v = et_state_view_open(m->state);
	if (v == NULL) {
		return false;
	}
	int rc = et_state_each_job_of(v, m->node, job_take, &l);
	(void)et_state_view_close(v);
	rc = rc < 0 ? rc : 0;
	m->waits_for_room = false;
	if (l.count > 0) {
		qsort(l.jobs, l.count, sizeof(*l.jobs), job_order);
		rc = rc < 0 ? rc : jobs_run(m, &l);
	}
	if (rc == 0) {
		atomic_store(&m->media_full, m->waits_for_room);
	}
	for (size_t i = 0; i < l.count; i++) {
		et__job__free_unpacked(l.jobs[i], NULL);
	}
	if (rc < 0 && rc != ET_ECLOSED) {
		et_warn("archive.look", "error=%s", et_errname(rc));
	}
	return rc == 0 && l.more;
}

/* ---- The thread ---- */

static void messages_take(struct et_mover *m, struct et_queue_node *node)
{
	while (node != NULL) {
		struct mover_message *message = ET_CONTAINER_OF(node, struct mover_message, node);
		node = node->next;
		for (size_t i = 0; i < message->count; i++) {
			mover_unlink(m, &message->evicted[i]);
		}
		free(message);
	}
}

static void *mover_main(void *arg)
{
	struct et_mover *m = arg;
	mover_unlink_all(m);
	while (!atomic_load(&m->stopping)) {
		bool more = look(m);
		messages_take(m, et_queue_wait(&m->queue, more ? 0 : (int)m->config.interval_ms));
	}
	messages_take(m, et_queue_take(&m->queue));
	return NULL;
}

static void mover_free(struct et_mover *m)
{
	if (m != NULL) {
		free(m->media);
		free(m);
	}
}

int et_mover_start(const struct et_mover_config *config, struct et_mover **ret,
		   struct et_error *reterr)
{
	struct et_mover *m = calloc(1, sizeof(*m));
	if (m == NULL || (m->media = strdup(config->media)) == NULL) {
		mover_free(m);
		return et_fail(reterr, -ENOMEM, "mover");
	}
	m->node = config->node;
	m->state = config->state;
	m->config = *config;
	m->config.media = m->media;
	m->config.parallel = config->parallel == 0 ? 4 : config->parallel;
	if (m->config.parallel > MOVER_PARALLEL_MAX) {
		m->config.parallel = MOVER_PARALLEL_MAX;
	}
	m->config.interval_ms = config->interval_ms == 0 ? 10000 : config->interval_ms;
	(void)snprintf(m->place, sizeof(m->place), "node:%llu", (unsigned long long)m->node);
	int rc = -pthread_mutex_init(&m->lock, NULL);
	if (rc < 0) {
		mover_free(m);
		return et_fail(reterr, rc, "mover");
	}
	rc = et_queue_init(&m->queue, QUEUE_MAX, QUEUE_BYTES_MAX, NULL, NULL);
	if (rc == 0) {
		rc = -pthread_create(&m->thread, NULL, mover_main, m);
		if (rc < 0) {
			et_queue_destroy(&m->queue);
		}
	}
	if (rc < 0) {
		(void)pthread_mutex_destroy(&m->lock);
		mover_free(m);
		return et_fail(reterr, rc, "mover");
	}
	*ret = m;
	return 0;
}

struct et_mover *et_mover_stop(struct et_mover *m)
{
	if (m == NULL) {
		return NULL;
	}
	(void)pthread_mutex_lock(&m->lock);
	atomic_store(&m->stopping, true);
	if (m->bucket != NULL) {
		et_bucket_cancel(m->bucket);
	}
	(void)pthread_mutex_unlock(&m->lock);
	et_queue_close(&m->queue);
	(void)pthread_join(m->thread, NULL);
	et_queue_destroy(&m->queue);
	(void)pthread_mutex_destroy(&m->lock);
	mover_free(m);
	return NULL;
}

bool et_mover_disk_full(const struct et_mover *m)
{
	return atomic_load(&m->media_full);
}

/* ---- What was applied ---- */

static void message_send(struct et_mover *m, const Et__CopyEvict *evict)
{
	size_t count = evict == NULL ? 0 : evict->n_copies;
	struct mover_message *message =
		calloc(1, sizeof(*message) + count * sizeof(message->evicted[0]));
	if (message == NULL) {
		return; /* Jobs are looked at from time to time, evicted files at the next start. */
	}
	for (size_t i = 0; i < count; i++) {
		const Et__Copy *c = evict->copies[i];
		if (strcmp(c->place, m->place) != 0 || c->recording.len != 16) {
			continue;
		}
		struct mover_segment *s = &message->evicted[message->count++];
		memcpy(s->recording, c->recording.data, 16);
		s->generation = c->generation;
		s->segment = c->segment;
	}
	size_t cost = sizeof(*message) + message->count * sizeof(message->evicted[0]);
	if ((evict != NULL && message->count == 0) ||
	    et_queue_push(&m->queue, &message->node, cost) < 0) {
		free(message);
	}
}

/* The copies of a generation that was replaced are evicted with its key. */
static void finish_send(struct et_mover *m, const Et__GenerationFinish *finish)
{
	Et__CopyEvict evict = ET__COPY_EVICT__INIT;
	Et__Copy copy = ET__COPY__INIT;
	Et__Copy *list[] = { &copy };

	copy.recording = finish->recording;
	copy.generation = finish->generation;
	copy.segment = finish->segment;
	copy.place = m->place;
	evict.copies = list;
	evict.n_copies = 1;
	message_send(m, &evict);
}

void et_mover_on_applied(struct et_mover *m, uint64_t index, const Et__Command *command,
			 const Et__Result *result)
{
	(void)index;
	if (command == NULL || result == NULL ||
	    (result->code < 0 && result->code != ET_EDEGRADED)) {
		return;
	}
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_COPY_EVICT: /* what was refused is not evicted in the catalogue */
		message_send(m, command->copy_evict);
		break;
	case ET__COMMAND__BODY_GENERATION_FINISH:
		finish_send(m, command->generation_finish);
		break;
	case ET__COMMAND__BODY_PLAN_APPLY:
		message_send(m, NULL);
		break;
	default:
		break;
	}
}

/* ---- Status ---- */

struct status_walk {
	struct et_mover_status *s;
	const struct et_state_view *v;
	int64_t failed_us;
};

static struct et_mover_target_status *status_target(struct et_mover_status *s, const char *name)
{
	for (size_t i = 0; i < s->target_count; i++) {
		if (strcmp(s->targets[i].name, name) == 0) {
			return &s->targets[i];
		}
	}
	if (s->target_count == ET_ARCHIVE_TARGETS_MAX || strlen(name) > ET_ARCHIVE_NAME_MAX) {
		return NULL;
	}
	struct et_mover_target_status *t = &s->targets[s->target_count++];
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	return t;
}

/* What an upload job means to its target; all its items are for one. */
static void status_job_target(struct et_mover_status *s, const Et__Job *job)
{
	struct et_mover_target_status *t =
		job->n_items == 0 ? NULL : status_target(s, job->items[0]->target);
	if (t == NULL) {
		return;
	}
	if (strcmp(job->state, "failed") == 0) {
		t->jobs_failed++;
		if (job->updated_us >= t->job_error_us) {
			t->job_error_us = job->updated_us;
			(void)snprintf(t->job_error, sizeof(t->job_error), "%.255s", job->error);
		}
		return;
	}
	for (size_t i = 0; i < job->n_items; i++) {
		t->waiting_segments++;
		t->waiting_bytes += job->items[i]->size_bytes;
	}
}

static int status_job(void *arg, const Et__Job *job)
{
	struct status_walk *w = arg;
	bool upload = strcmp(job->kind, "archive-upload") == 0;
	if (!upload && strcmp(job->kind, "archive-restore") != 0 &&
	    strcmp(job->kind, "evict") != 0) {
		return 0;
	}
	if (upload && strcmp(job->state, "done") != 0) {
		status_job_target(w->s, job);
	}
	if (strcmp(job->state, "failed") == 0) {
		w->s->jobs_failed++;
		if (job->updated_us >= w->failed_us) {
			w->failed_us = job->updated_us;
			(void)snprintf(w->s->last_error, sizeof(w->s->last_error), "%.255s",
				       job->error);
		}
		return 0;
	}
	if (strcmp(job->state, "done") == 0) {
		return 0;
	}
	w->s->jobs_waiting++;
	for (size_t i = 0; i < job->n_items && upload; i++) {
		Et__Segment *segment = NULL;
		w->s->backlog_segments++;
		w->s->backlog_bytes += job->items[i]->size_bytes;
		if (et_state_get_segment(w->v, job->items[i]->recording.data,
					 job->items[i]->generation, job->items[i]->segment,
					 &segment) == 0) {
			if (w->s->oldest_us == 0 || segment->t0_us < w->s->oldest_us) {
				w->s->oldest_us = segment->t0_us;
			}
			et__segment__free_unpacked(segment, NULL);
		}
	}
	return 0;
}

static int status_copy(void *arg, const Et__Copy *copy)
{
	struct status_walk *w = arg;
	const char *name = mover_target_of(copy->place);
	struct et_mover_target_status *t = name == NULL ? NULL : status_target(w->s, name);
	if (t == NULL) {
		return 0;
	}
	if (copy->state == ET__COPY__STATE__VERIFIED) {
		t->copies++;
		t->bytes += copy->size_bytes;
		t->newest_us = copy->verified_us > t->newest_us ? copy->verified_us : t->newest_us;
	} else if (copy->state == ET__COPY__STATE__BAD) {
		t->bad++;
	}
	return 0;
}

static void status_local(struct et_mover *m, struct et_mover_status *s)
{
	(void)pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->target_count; i++) {
		struct et_mover_target_status *t = status_target(s, m->targets[i].name);
		if (t != NULL) {
			t->last_ok_us = m->targets[i].last_ok_us;
			t->last_error_us = m->targets[i].last_error_us;
			memcpy(t->last_error, m->targets[i].last_error, sizeof(t->last_error));
		}
	}
	(void)pthread_mutex_unlock(&m->lock);
}

int et_mover_status(struct et_mover *m, struct et_mover_status *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	struct et_state_view *v = et_state_view_open(m->state);
	if (v == NULL) {
		return et_fail(reterr, -ENOMEM, "archive status");
	}
	*ret = (struct et_mover_status){ 0 };
	int rc = et_archive_policy_of(v, &policy, &ret->policy_revision, reterr);
	if (rc == 0) {
		for (size_t i = 0; i < policy->target_count; i++) {
			(void)status_target(ret, policy->targets[i].name);
		}
	}
	struct status_walk w = { .s = ret, .v = v };
	if (rc == 0 || rc == ET_ENOTFOUND) {
		rc = et_state_each_job(v, status_job, &w);
		rc = rc < 0 ? rc : et_state_each_copy(v, status_copy, &w);
		rc = rc < 0 ? et_fail(reterr, rc, "archive status") : 0;
	}
	(void)et_state_view_close(v);
	if (rc == 0) {
		status_local(m, ret);
	}
	return rc;
}
