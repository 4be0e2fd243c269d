#include "node/daemon/retention.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"

#define BATCH ET_RETENTION_BATCH
#define LOOKS_MAX 20000 /* recordings that one look looks at */
#define PROPOSE_MS 10000
#define PAUSE_MIN_US (5 * INT64_C(1000000)) /* between passes; else ten times what one took */
#define PAUSE_MAX_US (3600 * INT64_C(1000000))

struct et_retention {
	struct et_retention_config config;
	bool busy; /* a look, or its plan, is under way */
	uint8_t at[16];
	uint32_t revision; /* of the policy that this pass follows */
	int64_t pass_begun_us;
	int64_t next_us; /* monotonic: not before */

	/* Of the look. */
	uv_work_t work;
	struct et_state *state; /* borrowed until the look has ended */
	int64_t now_us;		/* cluster time */
	int code;
	bool more;
	uint32_t policy_revision;
	uint64_t index;
	const Et__Policy *policy; /* while it looks */
	const struct et_state_view *v;
	size_t count;
	struct {
		uint8_t id[16];
		char rule[64];
	} found[BATCH];

	/* Of the plan. */
	uint8_t plan[16];
	uint8_t hash[32];

	pthread_mutex_t mutex;
	pthread_cond_t ended;
	bool working;
	bool stopping;
};

/* ---- The look: worker ---- */

static int look_one(void *arg, const Et__Recording *r)
{
	struct et_retention *w = arg;
	struct et_state_retention retention;
	struct et_state_exemption e;

	int rc = et_state_exempt(w->v, w->policy, r, w->now_us, &e);
	if (rc < 0 || e.why != ET_EXEMPT_NOT) {
		return rc;
	}
	if (w->count == BATCH) {
		return 1; /* it is met again */
	}
	et_state_retention(w->policy, r, &retention);
	memcpy(w->found[w->count].id, r->id.data, 16);
	(void)snprintf(w->found[w->count].rule, sizeof(w->found[0].rule), "%s",
		       retention.erase_rule);
	w->count++;
	return 0;
}

static bool policy_erases(const Et__Policy *policy)
{
	for (size_t i = 0; i < policy->n_retention; i++) {
		if (policy->retention[i]->erase_after_us > 0) {
			return true;
		}
	}
	return false;
}

static int look(struct et_retention *w, const struct et_state_view *v)
{
	Et__Policy *policy = NULL;

	w->index = et_state_view_index(v);
	int rc = et_state_get_policy(v, ET_STATE_RETENTION, &policy);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	w->policy_revision = policy->revision;
	if (policy->revision != w->revision) { /* another one: from the first recording on */
		w->revision = policy->revision;
		memset(w->at, 0, sizeof(w->at));
	}
	if (policy_erases(policy)) {
		w->v = v;
		w->policy = policy;
		rc = et_state_each_due(v, policy, w->now_us, w->at, LOOKS_MAX, look_one, w,
				       &w->more);
	}
	et__policy__free_unpacked(policy, NULL);
	return rc < 0 ? rc : 0;
}

static void look_work(uv_work_t *work)
{
	struct et_retention *w = work->data;

	(void)pthread_mutex_lock(&w->mutex);
	bool stopping = w->stopping;
	(void)pthread_mutex_unlock(&w->mutex);
	w->count = 0;
	w->more = false;
	w->policy_revision = 0;
	if (!stopping) {
		struct et_state_view *v = et_state_view_open(w->state);
		w->code = v == NULL ? -ENOMEM : look(w, v);
		(void)et_state_view_close(v);
	}
	(void)pthread_mutex_lock(&w->mutex);
	w->working = false;
	(void)pthread_cond_signal(&w->ended);
	(void)pthread_mutex_unlock(&w->mutex);
}

/* ---- The plan: loop ---- */

/* When to look again. */
static void look_end(struct et_retention *w, bool again)
{
	int64_t now_us = w->config.mono_us();

	w->busy = false;
	if (again) {
		return; /* next second, where it stopped */
	}
	int64_t pause_us = (now_us - w->pass_begun_us) * 10;
	pause_us = pause_us < PAUSE_MIN_US ? PAUSE_MIN_US : pause_us;
	w->next_us = now_us + (pause_us > PAUSE_MAX_US ? PAUSE_MAX_US : pause_us);
	memset(w->at, 0, sizeof(w->at));
}

static void propose(struct et_retention *w, Et__Command *command, et_catalog_cb cb)
{
	char principal[32];
	static char reason[] = "retention";

	(void)snprintf(principal, sizeof(principal), "node:%llu",
		       (unsigned long long)w->config.node);
	command->principal = principal;
	command->reason = reason;
	command->schema = ET_COMMAND_SCHEMA;
	if (w->config.propose(w->config.arg, command, PROPOSE_MS, cb, w) < 0) {
		look_end(w, false);
	}
}

static void not_erased(const struct et_retention *w, int code)
{
	et_warn("retention.not_erased", "recordings=%zu code=%s", w->count, et_errname(code));
}

static void on_applied(void *arg, int code, const Et__Result *result)
{
	struct et_retention *w = arg;

	if (code == 0) {
		et_info("retention.erased", "recordings=%llu index=%llu",
			(unsigned long long)(result != NULL ? result->number : 0),
			(unsigned long long)(result != NULL ? result->index : 0));
	} else {
		not_erased(w, code);
	}
	/* What was not erased is met again by the next pass. */
	look_end(w, code == 0 && w->more);
}

static void on_put(void *arg, int code, const Et__Result *result)
{
	struct et_retention *w = arg;
	Et__PlanApply apply = ET__PLAN_APPLY__INIT;
	Et__Command command = ET__COMMAND__INIT;

	(void)result;
	if (code != 0) {
		not_erased(w, code);
		look_end(w, false);
		return;
	}
	apply.plan = (ProtobufCBinaryData){ sizeof(w->plan), w->plan };
	apply.hash = (ProtobufCBinaryData){ sizeof(w->hash), w->hash };
	command.body_case = ET__COMMAND__BODY_PLAN_APPLY;
	command.plan_apply = &apply;
	propose(w, &command, on_applied);
}

static void plan_put(struct et_retention *w)
{
	static char kind[] = "erase";
	static char policy[] = ET_STATE_RETENTION;
	Et__PlanItem items[BATCH];
	Et__PlanItem *list[BATCH];
	Et__Plan plan = ET__PLAN__INIT;
	Et__PlanPut put = ET__PLAN_PUT__INIT;
	Et__Command command = ET__COMMAND__INIT;

	for (size_t i = 0; i < w->count; i++) {
		et__plan_item__init(&items[i]);
		items[i].action = kind;
		items[i].recording = (ProtobufCBinaryData){ 16, w->found[i].id };
		items[i].rule = w->found[i].rule;
		list[i] = &items[i];
	}
	et_uuid7(w->plan);
	plan.id = (ProtobufCBinaryData){ sizeof(w->plan), w->plan };
	plan.kind = kind;
	plan.policy = policy;
	plan.policy_revision = w->policy_revision;
	plan.made_index = w->index;
	plan.made_us = w->now_us;
	plan.items = list;
	plan.n_items = w->count;
	if (et_state_plan_hash(&plan, w->hash) < 0) {
		look_end(w, false);
		return;
	}
	put.plan = &plan;
	command.body_case = ET__COMMAND__BODY_PLAN_PUT;
	command.plan_put = &put;
	propose(w, &command, on_put);
}

static void look_done(uv_work_t *work, int status)
{
	struct et_retention *w = work->data;

	if (status < 0 || w->code < 0) {
		et_warn("retention.look", "code=%s", et_errname(status < 0 ? status : w->code));
		look_end(w, false);
	} else if (w->count == 0) {
		look_end(w, w->more);
	} else {
		plan_put(w);
	}
}

int et_retention_new(const struct et_retention_config *config, struct et_retention **ret)
{
	struct et_retention *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		return -ENOMEM;
	}
	w->config = *config;
	(void)pthread_mutex_init(&w->mutex, NULL);
	(void)pthread_cond_init(&w->ended, NULL);
	*ret = w;
	return 0;
}

void et_retention_look(struct et_retention *w, struct et_state *state, int64_t cluster_time_us)
{
	static const uint8_t first[16];

	if (w->busy || w->config.mono_us() < w->next_us) {
		return;
	}
	if (memcmp(w->at, first, sizeof(first)) == 0) {
		w->pass_begun_us = w->config.mono_us();
	}
	w->busy = true;
	w->working = true;
	w->code = 0;
	w->state = state;
	w->now_us = cluster_time_us;
	w->work.data = w;
	if (uv_queue_work(w->config.loop, &w->work, look_work, look_done) < 0) {
		w->busy = w->working = false;
	}
}

void et_retention_stop(struct et_retention *w)
{
	if (w == NULL) {
		return;
	}
	(void)pthread_mutex_lock(&w->mutex);
	w->stopping = true;
	while (w->working) {
		(void)pthread_cond_wait(&w->ended, &w->mutex);
	}
	(void)pthread_mutex_unlock(&w->mutex);
}

struct et_retention *et_retention_free(struct et_retention *w)
{
	if (w != NULL) {
		(void)pthread_cond_destroy(&w->ended);
		(void)pthread_mutex_destroy(&w->mutex);
		free(w);
	}
	return NULL;
}
