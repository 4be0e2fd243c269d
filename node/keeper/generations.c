/* Newer generations: segments that a redaction touches, or whose KEK version is compromised, are
 * made anew; the old key goes when the new tape has the copies that the old one had.
 *
 *   look (thread): what is due, and can be done here ─▶ is it this node's turn? ─▶
 *     MAKE    new DEK, wrapped; tape written anew and synced (thread) ─▶ GenerationPut ─▶ settle
 *     FINISH  GenerationFinish
 *
 * The catalogue is the job: nothing is remembered here that a restart would miss. A node makes
 * anew what it has a verified copy of, so that nothing is fetched for it. Of the connected vault
 * nodes that have one the lowest number begins; each next one steps in when the same thing was due
 * for ten seconds. Two at once disturb nobody: apply takes one.
 *
 * Possible failure modes are
 *   - killed while writing: the .part goes at the next start, and it is begun again;
 *   - killed, or no answer, between the file and the catalogue: the sweep looks what was decided,
 *     and removes the second name, or both;
 *   - a copy here that does not verify, or a key that does not open: logged, put off; another vault
 *     node steps in;
 *   - no majority, a full disk: nothing is made meanwhile;
 *   - a hold: nothing is proposed until it is released; one that comes between look and apply is
 *     refused there, once. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/keeper/generations_internal.h"

#define STEP_IN_US (10LL * 1000000)

struct generations *generations_new(struct et_keeper *k)
{
	struct generations *g = calloc(1, sizeof(*g));

	if (g != NULL) {
		g->k = k;
	}
	return g;
}

static void task_release(struct generations *g)
{
	et__segment__free_unpacked(g->old, NULL);
	g->old = NULL;
	g->old_dek = et_secret_free(g->old_dek);
	g->dek = et_secret_free(g->dek);
	g->kek = et_secret_free(g->kek);
	et_buffer_release(&g->link);
	g->link = (struct et_buffer){ 0 };
}

void generations_free(struct generations *g)
{
	if (g != NULL) {
		task_release(g);
		free(g);
	}
}

/* ---- Whose turn it is ---- */

/* What was seen before keeps its times. */
static void tasks_age(struct generations *g, int64_t now_us)
{
	for (size_t i = 0; i < g->found_count; i++) {
		struct task *t = &g->found[i];
		t->since_us = now_us;
		for (size_t j = 0; j < g->known_count; j++) {
			if (generations_task_is(t, &g->known[j])) {
				t->since_us = g->known[j].since_us;
				t->again_us = g->known[j].again_us;
			}
		}
	}
	memcpy(g->known, g->found, sizeof(g->known));
	g->known_count = g->found_count;
}

static bool task_is_mine(struct et_keeper *k, const struct task *t, int64_t now_us)
{
	int64_t ahead = 0;

	for (size_t i = 0; i < t->ahead_count; i++) {
		ahead += et_rpc_is_connected(k->tls, t->ahead[i]);
	}
	return now_us >= t->again_us && now_us - t->since_us >= ahead * STEP_IN_US;
}

static void put_off(struct generations *g)
{
	for (size_t i = 0; i < g->known_count; i++) {
		if (generations_task_is(&g->task, &g->known[i])) {
			g->known[i].again_us = et_clock_mono_us() + PUT_OFF_US;
		}
	}
}

/* Go on with what the look found, or end the round. A last statement. */
static void tasks_next(struct generations *g);

void generations_task_end(struct generations *g, int code)
{
	char id[ET_UUID_TEXT_SIZE];
	char quoted[512];

	if (code < 0) {
		et_uuid_format(g->task.recording, id);
		et_warn("generation.failed",
			"recording=%s generation=%u segment=%u code=%s error=%s", id,
			g->task.generation, g->task.segment, et_errname(code),
			et_log_quote(g->why.text, quoted, sizeof(quoted)));
		put_off(g);
	}
	g->did_any = g->did_any || code == 0;
	task_release(g);
	tasks_next(g);
}

void generations_task_propose(struct generations *g, Et__Command *command, et_catalog_cb cb)
{
	struct et_keeper *k = g->k;
	static char empty[] = "";
	char principal[32];

	(void)snprintf(principal, sizeof(principal), "node:%llu",
		       (unsigned long long)k->identity.node);
	command->principal = principal;
	command->reason = g->reason[0] != '\0' ? g->reason : empty;
	command->schema = et_schema_needed(command);
	et_catalog_propose(k->catalog, command, PROPOSE_TIMEOUT_MS, cb, g);
}

/* ---- FINISH ---- */

static void on_finished(void *arg, int code, const Et__Result *result)
{
	struct generations *g = arg;
	char id[ET_UUID_TEXT_SIZE];

	g->why.text[0] = '\0';
	if (code < 0 && result != NULL) {
		(void)et_fail_plain(&g->why, code, "%s", result->text);
	}
	if (code == 0) {
		et_uuid_format(g->task.recording, id);
		et_info("generation.finished", "recording=%s generation=%u segment=%u", id,
			g->task.generation, g->task.segment);
	}
	generations_task_end(g, code);
}

static void task_finish(struct generations *g)
{
	Et__GenerationFinish body = ET__GENERATION_FINISH__INIT;
	Et__Command command = ET__COMMAND__INIT;

	body.recording = (ProtobufCBinaryData){ 16, g->task.recording };
	body.generation = g->task.generation;
	body.segment = g->task.segment;
	command.body_case = ET__COMMAND__BODY_GENERATION_FINISH;
	command.generation_finish = &body;
	(void)snprintf(g->reason, sizeof(g->reason), "its successor has the copies that it had");
	generations_task_propose(g, &command, on_finished);
}

/* ---- The round ---- */

static void tasks_next(struct generations *g)
{
	struct et_keeper *k = g->k;

	while (g->at < g->found_count && !k->stopping) {
		const struct task *t = &g->found[g->at++];
		int64_t now_us = et_clock_mono_us();
		if (now_us < g->next_us) {
			break; /* as fast as it may be: the next round goes on */
		}
		if (task_is_mine(k, t, now_us)) {
			g->task = *t;
			g->why = (struct et_error){ 0 };
			g->begun_us = now_us;
			if (t->due == ET_DUE_MAKE) {
				generations_task_make(g);
			} else {
				task_finish(g);
			}
			return; /* it comes back here */
		}
	}
	g->busy = false;
	if (g->did_any) {
		generations_round(k);
	}
	keeper_end(k);
}

static void on_looked(uv_work_t *work, int status)
{
	struct generations *g = work->data;

	if (status < 0) {
		g->found_count = 0;
	}
	tasks_age(g, et_clock_mono_us());
	g->at = 0;
	g->did_any = false;
	tasks_next(g);
}

/* Without a majority nobody takes what is made: each try would leave a whole tape of which nobody
 * knows whether it will be taken. */
static bool is_heard(struct et_keeper *k)
{
	struct et_catalog_status status;

	et_catalog_status(k->catalog, &status);
	return status.has_quorum && !status.disk_full;
}

void generations_round(struct et_keeper *k)
{
	struct generations *g = k->generations;

	if (g->busy || k->stopping || !atomic_load(&k->health.is_vault) ||
	    et_clock_mono_us() < g->next_us || !is_heard(k)) {
		return;
	}
	g->work.data = g;
	if (uv_queue_work(k->loop, &g->work, generations_look, on_looked) == 0) {
		g->busy = true;
		keeper_begin(k);
	}
}
