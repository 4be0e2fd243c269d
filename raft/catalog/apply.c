#include <stdio.h>

#include "raft/catalog/catalog_internal.h"

/* Applying beside libraft. The loop hands committed entries to the state thread and goes on; the
 * thread applies them in groups, and sends back what apply said.
 *
 *   fsm->apply ──jobs──> state thread: begin, apply..., commit ──done──> outcomes_tell()
 *
 * The queue has no hard end: libraft cannot be told to wait in fsm->apply. Instead nothing more is
 * let in while more than CAT_QUEUE_MAX is inside: received entries are held (guards.c), proposals
 * wait (propose.c). Barriers and configurations are indexes without commands: they are told as
 * gaps, so that the database's index follows the log's.
 *
 * libraft applies what a majority has, also where this node's own disk has not stored it yet. The
 * database must never be ahead of the own log: after a stop in that moment the log would end
 * before it, and the node could not tell that from a lost log (G9). So such entries wait here. */

/* Small groups, although a large one costs less: what one group answers is on its way again while
 * the next one is applied. With large groups all that is in flight moves as one crowd, and log,
 * network and database take turns instead of working at once (measured: 7,300 against 8,900
 * commands a second with 1,024 in flight). */
enum {
	GROUP_BYTES = 65536, /* written together */
	GROUP_JOBS = 1024,
};

/* ---- The loop's side ---- */

static size_t job_cost(const struct cat_job *job)
{
	return job->size + sizeof(*job);
}

bool et_cat_job_is_of_log(const struct cat_job *job)
{
	return job->kind == CAT_JOB_ENTRY || job->kind == CAT_JOB_GAP;
}

void et_cat_jobs_add(struct cat_jobs *list, struct cat_job *job)
{
	job->node.next = NULL;
	if (list->last != NULL) {
		list->last->next = &job->node;
	} else {
		list->first = &job->node;
	}
	list->last = &job->node;
}

static struct cat_job *jobs_first(const struct cat_jobs *list)
{
	return list->first != NULL ? ET_CONTAINER_OF(list->first, struct cat_job, node) : NULL;
}

struct cat_job *et_cat_jobs_take(struct cat_jobs *list)
{
	struct cat_job *job = jobs_first(list);

	if (job != NULL) {
		list->first = job->node.next;
		list->last = list->first != NULL ? list->last : NULL;
	}
	return job;
}

void et_cat_jobs_release(struct cat_jobs *list)
{
	for (struct cat_job *job = et_cat_jobs_take(list); job != NULL;
	     job = et_cat_jobs_take(list)) {
		free(job->data);
		free(job);
	}
}

static void job_send(struct et_catalog *c, struct cat_job *job)
{
	if (et_cat_rebuild_holds(c, job)) {
		return;
	}
	int rc = et_queue_push(&c->jobs, &job->node, job_cost(job));
	if (rc < 0) {
		et_cat_fatal(c, "the state thread takes no more work: %s", et_strerror(rc));
	}
}

static bool job_is_stored(const struct et_catalog *c, const struct cat_job *job)
{
	return (job->kind == CAT_JOB_GAP ? job->last : job->index) <= c->raft.last_stored;
}

/* Calls (checkpoints, backups) do not wait: they take what the database has. */
void et_cat_job_push(struct et_catalog *c, struct cat_job *job)
{
	c->queue_bytes += job_cost(job);
	if (et_cat_job_is_of_log(job) &&
	    (jobs_first(&c->unstored) != NULL || !job_is_stored(c, job))) {
		et_cat_jobs_add(&c->unstored, job);
	} else {
		job_send(c, job);
	}
}

static void unstored_send(struct et_catalog *c)
{
	const struct cat_job *first = jobs_first(&c->unstored);

	while (first != NULL && job_is_stored(c, first)) {
		job_send(c, et_cat_jobs_take(&c->unstored));
		first = jobs_first(&c->unstored);
	}
}

void et_cat_apply_stored(struct et_catalog *c)
{
	while (jobs_first(&c->unstored) != NULL) {
		job_send(c, et_cat_jobs_take(&c->unstored));
	}
}

struct cat_job *et_cat_job_new(int (*work)(struct et_catalog *, struct cat_job *,
					   struct et_error *),
			       void (*after)(struct et_catalog *, struct cat_job *))
{
	struct cat_job *job = et_cat_alloc(sizeof(*job));

	job->kind = CAT_JOB_CALL;
	job->work = work;
	job->after = after;
	return job;
}

static void gap_push(struct et_catalog *c, uint64_t last)
{
	if (last <= c->pushed) {
		return;
	}
	struct cat_job *job = et_cat_alloc(sizeof(*job));
	job->kind = CAT_JOB_GAP;
	job->index = c->pushed + 1;
	job->last = last;
	c->pushed = last;
	c->log_bytes += CAT_ENTRY_OVERHEAD;
	et_cat_job_push(c, job);
}

int et_cat_fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	struct et_catalog *c = fsm->data;
	uint64_t index = raft_last_applied(&c->raft) + 1;

	*result = NULL;
	if (index <= c->pushed) {
		c->log_bytes += buf->len + CAT_ENTRY_OVERHEAD;
		return 0; /* The database has it: replay after a start. */
	}
	gap_push(c, index - 1);
	struct cat_job *job = et_cat_alloc(sizeof(*job));
	job->kind = CAT_JOB_ENTRY;
	job->index = index;
	job->size = buf->len;
	job->data = malloc(buf->len == 0 ? 1 : buf->len);
	if (job->data == NULL) {
		et_cat_fatal(c, "no memory for %zu bytes of a log entry", buf->len);
	}
	memcpy(job->data, buf->base, buf->len);
	c->pushed = index;
	c->log_bytes += buf->len + CAT_ENTRY_OVERHEAD;
	et_cat_job_push(c, job);
	return 0;
}

/* Barriers and configurations at the end of what raft has applied; what the own disk has now. */
void et_cat_apply_turn(struct et_catalog *c)
{
	gap_push(c, raft_last_applied(&c->raft));
	unstored_send(c);
}

static void outcome_release(struct cat_outcome *o)
{
	et__result__free_unpacked(o->result, NULL);
	et_command_free(o->command);
}

static void outcome_tell(struct et_catalog *c, struct cat_outcome *o)
{
	if (o->is_tick) {
		if (o->result->code == 0 && o->tick_us > c->cluster_time_us) {
			c->cluster_time_us = o->tick_us;
		}
	} else {
		c->commands_applied++;
	}
	if (o->schema != 0) {
		c->schema = o->schema;
	}
	if (o->check_index != 0) {
		et_cat_digest_applied(c, o);
	}
	if (c->on_applied != NULL && o->command != NULL) {
		c->on_applied(c->arg, o->index, o->command, o->result);
	}
	et_cat_propose_complete(c, o);
}

static void done_take(struct et_catalog *c, struct cat_done *done)
{
	if (done->applied != 0) {
		c->applied = done->applied;
	}
	c->queue_bytes -= done->bytes;
	for (size_t i = 0; i < done->count; i++) {
		outcome_tell(c, &done->outcomes[i]);
		outcome_release(&done->outcomes[i]);
	}
	if (done->call != NULL) {
		if (done->call->kind == CAT_JOB_END) {
			c->thread_ended = true;
		} else if (done->call->after != NULL) {
			done->call->after(c, done->call);
		}
		free(done->call);
	}
	free(done->outcomes);
	free(done);
}

static void apply_on_async(uv_async_t *async)
{
	struct et_catalog *c = async->data;
	struct et_queue_node *node = et_queue_take(&c->done);

	while (node != NULL) {
		struct et_queue_node *next = node->next;
		done_take(c, ET_CONTAINER_OF(node, struct cat_done, node));
		node = next;
	}
	et_cat_read_applied(c);
	et_cat_schedule(c);
	et_cat_maybe_closed(c);
}

static void apply_wake(void *arg)
{
	struct et_catalog *c = arg;
	(void)uv_async_send(&c->async);
}

/* ---- The state thread ---- */

static void done_send(struct et_catalog *c, struct cat_done *done)
{
	int rc = et_queue_push(&c->done, &done->node, 0);
	et_assert(rc == 0); /* It has no limit, and is closed after this thread has ended. */
}

/* As et__result__unpack() would make it, without the detour through bytes: there is one for each
 * command. */
static Et__Result *result_copy(const struct et_catalog *c, const Et__Result *result)
{
	Et__Result *copy = et_cat_alloc(sizeof(*copy));
	bool good = true;

	et__result__init(copy);
	copy->code = result->code;
	copy->number = result->number;
	copy->index = result->index;
	if (result->text[0] != '\0') {
		copy->text = strdup(result->text);
		good = copy->text != NULL;
	}
	if (result->id.len > 0) {
		copy->id.data = et_cat_alloc(result->id.len);
		copy->id.len = result->id.len;
		memcpy(copy->id.data, result->id.data, result->id.len);
	}
	if (result->n_refused > 0) {
		copy->refused = et_cat_alloc(result->n_refused * sizeof(*copy->refused));
		copy->n_refused = result->n_refused;
		memcpy(copy->refused, result->refused, result->n_refused * sizeof(*copy->refused));
	}
	if (!good) {
		et_cat_fatal(c, "no memory for a result");
	}
	return copy;
}

/* What the loop needs of some commands. */
static void outcome_note(const struct et_catalog *c, const Et__Command *command,
			 const Et__Result *result, struct cat_outcome *o)
{
	bool first = result->index == o->index && result->code == 0;

	if (command->body_case == ET__COMMAND__BODY_DIGEST_CHECK && first) {
		o->check_index = command->digest_check->index;
		memcpy(o->check_told, command->digest_check->digest.data, sizeof(o->check_told));
		o->check_known = et_state_digest_at(c->state, o->check_index, o->check_own);
	} else if (command->body_case == ET__COMMAND__BODY_CLUSTER_UPGRADE && first) {
		o->schema = command->cluster_upgrade->to;
	} else if (command->body_case == ET__COMMAND__BODY_CLUSTER_INIT && first) {
		uint32_t schema = command->cluster_init->cluster->schema;
		o->schema = schema != 0 ? schema : 1;
	}
}

static void state_on_result(void *arg, uint64_t index, uint32_t position,
			    const Et__Command *command, const Et__Result *result)
{
	struct et_catalog *c = arg;
	struct cat_done *done = c->group;

	(void)position;
	if (command == NULL || command->op == NULL) {
		return; /* Not a command of this schema: refused, and nobody waits for it. */
	}
	if (done->count == done->capacity) {
		done->capacity = done->capacity == 0 ? 64 : done->capacity * 2;
		done->outcomes = realloc(done->outcomes, done->capacity * sizeof(*done->outcomes));
		if (done->outcomes == NULL) {
			et_cat_fatal(c, "no memory for results");
		}
	}
	struct cat_outcome *o = &done->outcomes[done->count++];
	memset(o, 0, sizeof(*o));
	o->index = index;
	o->op.node = command->op->node;
	o->op.seq = command->op->seq;
	if (command->op->incarnation.len == sizeof(o->op.incarnation)) {
		memcpy(o->op.incarnation, command->op->incarnation.data, sizeof(o->op.incarnation));
	}
	if (command->body_case == ET__COMMAND__BODY_TICK) {
		o->is_tick = true;
		o->tick_us = command->tick->time_us;
	}
	outcome_note(c, command, result, o);
	o->result = result_copy(c, result);
	bool is_first = result->index == index;
	o->command = c->on_applied != NULL && is_first ? et_state_take_command(c->state) : NULL;
}

/* One index, and whoever follows the log is told; not again what a restart replays. */
static int state_apply_one(struct et_catalog *c, uint64_t index, struct et_view entry,
			   struct et_error *reterr)
{
	uint8_t digest[32];

	int rc = et_state_apply(c->state, index, entry, reterr);
	if (rc == 0 && c->on_entry != NULL && et_state_digest_at(c->state, index, digest)) {
		c->on_entry(c->arg, index, entry, digest);
	}
	return rc;
}

static void state_apply(struct et_catalog *c, const struct cat_job *job)
{
	struct et_error error;
	int rc = 0;

	if (job->kind == CAT_JOB_ENTRY) {
		rc = state_apply_one(c, job->index, (struct et_view){ job->data, job->size },
				     &error);
	} else {
		for (uint64_t i = job->index; rc == 0 && i <= job->last; i++) {
			rc = state_apply_one(c, i, (struct et_view){ NULL, 0 }, &error);
		}
	}
	if (rc < 0) {
		et_cat_fatal(c, "entry %llu cannot be applied: %s", (unsigned long long)job->index,
			     error.text);
	}
}

/* Apply and commit the jobs up to the first that is not an entry or a gap. Returns it, or NULL. */
static struct et_queue_node *state_group(struct et_catalog *c, struct et_queue_node *node)
{
	struct cat_done *done = et_cat_alloc(sizeof(*done));
	struct et_queue_node *first = node;
	struct et_error error;
	size_t bytes = 0;
	unsigned count = 0;

	c->group = done;
	et_state_begin(c->state);
	while (node != NULL && bytes < GROUP_BYTES && count < GROUP_JOBS) {
		struct cat_job *job = ET_CONTAINER_OF(node, struct cat_job, node);
		if (!et_cat_job_is_of_log(job)) {
			break;
		}
		state_apply(c, job);
		bytes += job_cost(job);
		count++;
		node = node->next;
	}
	int rc = et_state_commit(c->state, state_on_result, c, &error);
	if (rc < 0) {
		et_cat_fatal(c, "the database cannot be written: %s", error.text);
	}
	done->applied = et_state_applied(c->state);
	done->bytes = bytes;
	while (first != node) {
		struct cat_job *job = ET_CONTAINER_OF(first, struct cat_job, node);
		first = first->next;
		free(job->data);
		free(job);
	}
	c->group = NULL;
	done_send(c, done);
	return node;
}

static void state_call(struct et_catalog *c, struct cat_job *job)
{
	struct cat_done *done = et_cat_alloc(sizeof(*done));

	if (job->kind == CAT_JOB_END) {
		struct et_error error;
		/* Not needed for safety (the log has it), but it spares the replay. */
		if (!atomic_load(&c->space.no_flush) && et_state_flush(c->state, &error) < 0) {
			et_warn("catalog.flush", "node=%llu why=failed",
				(unsigned long long)c->node);
		}
	} else {
		job->code = job->work(c, job, &job->error);
		done->applied = et_state_applied(c->state);
	}
	done->call = job;
	done->bytes = job_cost(job);
	done_send(c, done);
}

#define INDEX_STEP 200	 /* recordings: some milliseconds */
#define INDEX_PAUSE_MS 1 /* while nothing else is to be done */

/* Indexes are made anew when nothing else is to be done, and a little after each turn. A failure is
 * one of the database: the next group meets it, too. */
static void state_index(struct et_catalog *c)
{
	struct et_error error;
	bool more;

	if (!et_state_index_pending(c->state) || atomic_load(&c->space.no_flush)) {
		return;
	}
	if (et_state_index_step(c->state, INDEX_STEP, &more, &error) < 0) {
		et_warn("catalog.index", "node=%llu why=\"%s\"", (unsigned long long)c->node,
			error.text);
		c->no_index = true;
	} else if (!more) {
		et_info("catalog.index", "node=%llu state=complete", (unsigned long long)c->node);
	}
}

static void *state_main(void *arg)
{
	struct et_catalog *c = arg;
	bool end = false;

	while (!end) {
		bool idle = c->no_index || !et_state_index_pending(c->state);
		struct et_queue_node *node = et_queue_wait(&c->jobs, idle ? -1 : INDEX_PAUSE_MS);
		if (!idle) {
			state_index(c);
		}
		while (node != NULL) {
			struct cat_job *job = ET_CONTAINER_OF(node, struct cat_job, node);
			if (et_cat_job_is_of_log(job)) {
				node = state_group(c, node);
				continue;
			}
			struct et_queue_node *next = node->next;
			end = job->kind == CAT_JOB_END;
			state_call(c, job);
			node = next;
		}
	}
	return NULL;
}

int et_cat_apply_init(struct et_catalog *c, struct et_error *reterr)
{
	int rc = et_queue_init(&c->jobs, SIZE_MAX, SIZE_MAX, NULL, NULL);
	if (rc < 0) {
		return et_fail(reterr, rc, "state thread");
	}
	rc = et_queue_init(&c->done, SIZE_MAX, SIZE_MAX, apply_wake, c);
	if (rc < 0) {
		et_queue_destroy(&c->jobs);
		return et_fail(reterr, rc, "state thread");
	}
	c->queues_are_open = true;
	rc = uv_async_init(c->loop, &c->async, apply_on_async);
	if (rc < 0) {
		return et_fail(reterr, rc, "state thread");
	}
	c->async.data = c;
	c->handles++;
	return 0;
}

int et_cat_apply_start(struct et_catalog *c, struct et_error *reterr)
{
	int rc = -pthread_create(&c->thread, NULL, state_main, c);
	if (rc < 0) {
		return et_fail(reterr, rc, "state thread");
	}
	(void)pthread_setname_np(c->thread, "state");
	c->thread_is_running = true;
	return 0;
}

void et_cat_apply_release(struct et_catalog *c)
{
	et_cat_rebuild_release(c);
	et_cat_jobs_release(&c->unstored); /* In the other nodes' logs: applied after a start. */
	if (!c->queues_are_open) {
		return;
	}
	/* Jobs of a start that failed before the thread was there. */
	for (struct et_queue_node *node = et_queue_take(&c->jobs); node != NULL;) {
		struct cat_job *job = ET_CONTAINER_OF(node, struct cat_job, node);
		node = node->next;
		free(job->data);
		free(job);
	}
	et_queue_destroy(&c->jobs);
	et_queue_destroy(&c->done);
}

/* Apply what is queued, flush, end. thread_ended is set when the thread has said so. */
void et_cat_apply_end(struct et_catalog *c)
{
	struct cat_job *job = et_cat_alloc(sizeof(*job));

	job->kind = CAT_JOB_END;
	et_cat_job_push(c, job);
}
