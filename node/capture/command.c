/* What others ask of a recorder that runs, and wait for: pauses, and calls on demand to keep.
 *
 *   who asks ──asked──▶ ring thread ──in force──▶ unsaved ──the call table is synced──▶ answered
 *                           ├──it cannot be──▶ answered
 *                           ├──the writer keeps it──▶ kept ──a sync──▶ answered ─┐
 *                           ◀────────── its keys may come late from now on ──────┘
 *
 * A command is of two: of who asks, who may give up waiting, and of the list that it is in. */
#include <stdio.h>

#include "node/capture/capture_internal.h"
#include "node/io/clock.h"

enum { COMMAND_S = 10 }; /* for a command to be in force and saved */

/* KEPT: a KEEP that was answered; the ring thread is to know of it. */
enum command_kind { COMMAND_PAUSE, COMMAND_RESUME, COMMAND_KEEP, COMMAND_KEPT };

struct et_capture_command {
	struct et_capture_command *next;
	struct et_capture *capture; /* borrowed */
	enum command_kind kind;
	uint8_t recording[16];
	bool done; /* under the mutex, as all that follows */
	int refs;
	int code;
	int64_t max_us;
	struct et_capture_pause result;
	char cause[ET_CAPTURE_CAUSE_MAX]; /* KEEP: who */
	struct et_keep_ask ask;
};

static void command_unref(struct et_capture_command *cmd)
{
	if (--cmd->refs == 0) {
		free(cmd);
	}
}

static void command_answer(struct et_capture_command *cmd, int code)
{
	if (!cmd->done) {
		cmd->done = true;
		cmd->code = code;
	}
}

void et_commands_answer(struct et_capture *c, struct et_capture_command *list, int code)
{
	(void)pthread_mutex_lock(&c->mutex);
	while (list != NULL) {
		struct et_capture_command *next = list->next;
		command_answer(list, code);
		command_unref(list);
		list = next;
	}
	(void)pthread_cond_broadcast(&c->answered);
	(void)pthread_mutex_unlock(&c->mutex);
}

void et_commands_join(struct et_capture_command **list, struct et_capture_command *more)
{
	for (struct et_capture_command *next = NULL; more != NULL; more = next) {
		next = more->next;
		more->next = *list;
		*list = more;
	}
}

void et_commands_kept(struct et_capture *c, struct et_capture_command *list, int code)
{
	(void)pthread_mutex_lock(&c->mutex);
	const bool over = c->no_more;
	for (struct et_capture_command *cmd = list; cmd != NULL && !over; cmd = cmd->next) {
		cmd->kind = COMMAND_KEPT;
		command_answer(cmd, code);
	}
	if (!over) {
		et_commands_join(&c->asked, list);
		c->has_asked = true;
		(void)pthread_cond_broadcast(&c->answered);
	}
	(void)pthread_mutex_unlock(&c->mutex);
	if (over) {
		et_commands_answer(c, list, code);
	}
}

void et_commands_close(struct et_capture *c)
{
	(void)pthread_mutex_lock(&c->mutex);
	struct et_capture_command *left = c->asked;
	c->asked = NULL;
	c->no_more = true;
	(void)pthread_mutex_unlock(&c->mutex);
	et_commands_answer(c, left, ET_ECLOSED);
}

/* ---- Done ------------------------------------------------------------------------------------ */

/* On the writer thread: a call was kept, or it was not. */
static void on_kept(struct et_keep_ask *ask, int code)
{
	struct et_capture_command *cmd = ask->arg;
	struct et_capture *c = cmd->capture;
	cmd->next = NULL;
	if (code == ET_ENOTFOUND) {
		et_commands_answer(c, cmd, code);
		return;
	}
	if (code < 0) { /* it is tried again */
		et_commands_kept(c, cmd, code);
		return;
	}
	(void)pthread_mutex_lock(&c->mutex);
	cmd->next = c->kept;
	c->kept = cmd;
	(void)pthread_cond_signal(&c->wake);
	(void)pthread_mutex_unlock(&c->mutex);
}

/* 0: it is in force, and to be saved; 1: the writer has it; negative: to be answered so. */
static int run_command(struct et_capture *c, struct et_capture_command *cmd)
{
	struct et_keep keep = { .at_us = c->engine->now_us, .ask = &cmd->ask };
	if (cmd->kind == COMMAND_KEPT) {
		et_keys_kept(c->engine, cmd->recording);
		return ET_ECLOSED; /* it has its answer */
	}
	if (cmd->kind != COMMAND_KEEP) {
		return et_engine_pause(c->engine, cmd->recording, cmd->kind == COMMAND_PAUSE,
				       cmd->cause, cmd->max_us, &cmd->result);
	}
	memcpy(keep.recording, cmd->recording, 16);
	(void)snprintf(keep.who, sizeof(keep.who), "%.*s", ET_CAPTURE_WHO_MAX - 1, cmd->cause);
	cmd->ask = (struct et_keep_ask){ .done = on_kept, .arg = cmd };
	int rc = et_engine_keep(c->engine, &keep);
	return rc < 0 ? rc : rc == 0;
}

/* Who asked is answered when what says so is durable: the call table, or the tapes of what was
 * kept; what is not here is answered at once. */
void et_commands_run(struct et_capture *c)
{
	struct et_capture_command *unsaved = NULL;
	bool kept = false;
	(void)pthread_mutex_lock(&c->mutex);
	struct et_capture_command *list = c->asked;
	c->asked = NULL;
	c->has_asked = false;
	(void)pthread_mutex_unlock(&c->mutex);
	if (list != NULL && !c->intake.from_files) {
		/* not a wait for packets ago: a pause would end early */
		et_engine_clock(c->engine, et_clock_now_us());
	}
	for (struct et_capture_command *next = NULL; list != NULL; list = next) {
		next = list->next;
		list->next = NULL;
		int rc = run_command(c, list);
		if (rc < 0) {
			et_commands_answer(c, list, rc);
		} else if (rc == 0) {
			list->next = unsaved;
			unsaved = list;
		} else {
			kept = true; /* and not ours any more when the queue is flushed */
		}
	}
	if (unsaved != NULL || kept) {
		c->engine->table_changed = true; /* also what was so already may not be saved yet */
		/* before the writer's part: one sync takes both */
		et_capture_publish(c, true, unsaved);
	}
	et_relay_flush(&c->relay); /* the marks, and the news for the catalogue */
}

/* ---- Asked ----------------------------------------------------------------------------------- */

static int command_wait(struct et_capture *c, struct et_capture_command *cmd)
{
	struct timespec until;
	int rc = 0;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += COMMAND_S;
	while (!cmd->done && rc == 0) {
		rc = -pthread_cond_timedwait(&c->answered, &c->mutex, &until);
	}
	return cmd->done ? cmd->code : rc;
}

/* Two hold it then. NULL: no memory. */
static struct et_capture_command *command_new(struct et_capture *c, enum command_kind kind,
					      const uint8_t recording[16], const char *cause)
{
	struct et_capture_command *cmd = calloc(1, sizeof(*cmd));
	if (cmd != NULL) {
		cmd->capture = c;
		cmd->kind = kind;
		memcpy(cmd->recording, recording, 16);
		et_copy_text(cmd->cause, sizeof(cmd->cause),
			     (struct et_view){ (const uint8_t *)cause, strlen(cause) });
	}
	return cmd;
}

/* Ask, and wait for the answer; the mutex is held then. */
static int command_run(struct et_capture *c, struct et_capture_command *cmd)
{
	(void)pthread_mutex_lock(&c->mutex);
	int rc = c->no_more ? ET_ECLOSED : 0;
	cmd->refs = rc == 0 ? 2 : 1;
	if (rc == 0) {
		cmd->next = c->asked;
		c->asked = cmd;
		c->has_asked = true;
		rc = command_wait(c, cmd);
	}
	return rc;
}

int et_capture_pause(struct et_capture *c, const uint8_t recording[16], bool pause,
		     const char *cause, int64_t max_us, struct et_capture_pause *ret,
		     struct et_error *reterr)
{
	const char *what = pause ? "pause" : "resume";
	struct et_capture_command *cmd =
		command_new(c, pause ? COMMAND_PAUSE : COMMAND_RESUME, recording, cause);
	if (cmd == NULL) {
		return et_fail(reterr, -ENOMEM, "%s", what);
	}
	cmd->max_us = max_us;
	int rc = command_run(c, cmd);
	bool in_force = cmd->done && cmd->result.from_us != 0;
	if (cmd->done) {
		*ret = cmd->result;
	}
	command_unref(cmd);
	(void)pthread_mutex_unlock(&c->mutex);
	if (rc == 0) {
		return 0;
	}
	return in_force ? et_fail(reterr, rc, "%s is in force, but could not be saved", what)
			: et_fail(reterr, rc, "%s", what);
}

int et_capture_keep(struct et_capture *c, const uint8_t recording[16], const char *who,
		    struct et_capture_kept *ret, struct et_error *reterr)
{
	struct et_capture_command *cmd = command_new(c, COMMAND_KEEP, recording, who);
	if (cmd == NULL) {
		return et_fail(reterr, -ENOMEM, "keep");
	}
	int rc = command_run(c, cmd);
	if (cmd->done) {
		*ret = cmd->ask.result;
	}
	command_unref(cmd);
	(void)pthread_mutex_unlock(&c->mutex);
	return rc < 0 ? et_fail(reterr, rc, "keep the call") : 0;
}
