/* What is told of calls through the API: create commands, so they need no quorum.
 *
 *   worker: journal, sync ──▶ loop: proposer ──▶ catalogue
 *      └── waits a while ◀────────┘ on_done
 *
 * Promise: when this returns 0 the command is in the journal and synced: it survives kill -9 and a
 * power cut of this node, and will be applied once. `committed` says that it was applied already.
 * What apply refused within the time is an error here; later, a line in the log.
 *
 * Threads: daemon_tell() on API workers; the rest on the loop. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"

#define WAIT_MS 5000	  /* for an answer, with a majority in reach */
#define WAIT_ALONE_MS 200 /* without */

struct daemon_tell {
	struct daemon_tell *next; /* in the daemon's list */
	struct et_daemon *daemon;
	struct et_buffer packed; /* owned */
	uint8_t incarnation[16];
	uint64_t seq;
	bool has_quorum;

	pthread_mutex_t mutex;
	pthread_cond_t woken;
	bool done;
	int code;
	uint64_t index;
	char text[256];
};

/* ---- On the loop ---- */

static void tell_begin(void *arg)
{
	struct daemon_tell *t = arg;
	struct et_daemon *d = t->daemon;
	struct et_catalog_status status = { 0 };

	if (d->catalog != NULL) {
		et_catalog_status(d->catalog, &status);
	}
	t->has_quorum = status.has_quorum;
	t->next = d->tells;
	d->tells = t;
	int rc = d->proposer != NULL
			 ? et_proposer_add(d->proposer,
					   (struct et_view){ t->packed.data, t->packed.size })
			 : 0; /* Going down: it is in the journal. */
	if (rc < 0) {
		atomic_fetch_add(&d->events.stuck, 1);
		et_err("journal.stuck", "error=%s", et_errname(rc));
	}
}

static void tell_end(void *arg)
{
	struct daemon_tell *t = arg;

	for (struct daemon_tell **p = &t->daemon->tells; *p != NULL; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			return;
		}
	}
}

void daemon_tell_answered(struct et_daemon *d, const Et__Command *command, int code,
			  const Et__Result *result)
{
	const Et__OpId *op = command->op;

	for (struct daemon_tell *t = d->tells; t != NULL; t = t->next) {
		if (t->seq != op->seq || memcmp(t->incarnation, op->incarnation.data, 16) != 0) {
			continue;
		}
		(void)pthread_mutex_lock(&t->mutex);
		t->done = true;
		t->code = code;
		t->index = result != NULL ? result->index : 0;
		(void)snprintf(t->text, sizeof(t->text), "%s",
			       result != NULL && result->text != NULL ? result->text : "");
		(void)pthread_cond_signal(&t->woken);
		(void)pthread_mutex_unlock(&t->mutex);
		return;
	}
}

/* ---- On a worker ---- */

static void tell_wait(struct daemon_tell *t)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	long ms = t->has_quorum ? WAIT_MS : WAIT_ALONE_MS;
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_mutex_lock(&t->mutex);
	int rc = 0;
	while (!t->done && rc == 0) {
		rc = pthread_cond_timedwait(&t->woken, &t->mutex, &until);
	}
	(void)pthread_mutex_unlock(&t->mutex);
}

/* The journal lies on the media filesystem. */
static int journal_sync(const struct et_daemon *d, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open(d->config.media, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || syncfs(fd) < 0) {
		return et_fail(reterr, -errno, "sync the journal in %s", d->config.media);
	}
	return 0;
}

static int tell_journal(struct daemon_tell *t, Et__Command *command, struct et_error *reterr)
{
	Et__OpId op = ET__OP_ID__INIT;

	command->op = &op;
	command->proposed_us = et_clock_now_us();
	int rc = et_journal_append(t->daemon->journal, command, &t->packed, reterr);
	command->op = NULL;
	if (rc < 0) {
		return rc;
	}
	t->seq = op.seq;
	memcpy(t->incarnation, op.incarnation.data, 16);
	return journal_sync(t->daemon, reterr);
}

static int tell_run(struct daemon_tell *t, Et__Command *command, struct et_api_told *ret,
		    struct et_error *reterr)
{
	int rc = tell_journal(t, command, reterr);

	if (t->packed.size > 0 && daemon_on_loop(t->daemon, tell_begin, t) == 0) {
		/* Also after a failed sync: it may be in the journal, so it must be proposed. */
		tell_wait(t);
		int gone = daemon_on_loop(t->daemon, tell_end, t);
		et_assert(gone == 0); /* The loop outlives the API's workers. */
	}
	if (rc < 0) {
		return rc;
	}
	if (t->done && t->code < 0) {
		return t->text[0] != '\0'
			       ? et_fail_plain(reterr, t->code, "%s", t->text)
			       : et_fail(reterr, t->code, "%s", et_command_name(command));
	}
	*ret = (struct et_api_told){ .committed = t->done, .index = t->index };
	return 0;
}

int daemon_tell(void *arg, Et__Command *command, struct et_api_told *ret, struct et_error *reterr)
{
	struct et_daemon *d = arg;
	struct daemon_tell t = { .daemon = d };
	pthread_condattr_t attributes;

	if (d->journal == NULL) {
		return et_fail_plain(reterr, ET_EUNINITIALISED, "this node has no journal yet");
	}
	(void)pthread_mutex_init(&t.mutex, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&t.woken, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	int rc = tell_run(&t, command, ret, reterr);
	(void)pthread_cond_destroy(&t.woken);
	(void)pthread_mutex_destroy(&t.mutex);
	et_buffer_release(&t.packed);
	return rc;
}

bool daemon_is_refusal(int code)
{
	return code == ET_EREFUSED || code == ET_EEXISTS || code == ET_EDENIED ||
	       code == ET_ELIMIT || code == ET_EMALFORMED || code == ET_EVERSION;
}
