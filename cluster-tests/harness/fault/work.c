#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster-tests/harness/fault/fault.h"
#include "node/io/clock.h"

/* The workload, as a recorder does it: a command is journalled, a tick of syncfs makes it durable
 * ("J"), the proposer brings it into the catalogue ("A"). The third node, if there is one, comes
 * late, when the log that it lacks is gone: it gets a snapshot. At the end everything stops in
 * order. */

enum {
	COMMANDS = 320,
	COMMANDS_AFTER_TAIL = 48,
	COMMANDS_BEFORE_THIRD = 190,
	A_TICK = 8,
	PATIENCE_S = 120
};

struct waiting {
	uint64_t seq;
	uint8_t id[16];
	struct et_buffer packed; /* owned */
};

struct work {
	struct fault_nodes *f;
	struct et_journal *journal;
	struct et_proposer *proposer;
	int folder;
	unsigned appended;
	unsigned answered;
	unsigned limit;
	bool stopped;
	struct waiting tick[A_TICK];
	uint8_t ids[COMMANDS + 1][16]; /* by sequence number */
	char incarnation[33];
};

static void propose(void *arg, struct et_view packed, uint32_t timeout_ms, et_catalog_cb cb,
		    void *cb_arg)
{
	struct work *w = arg;
	et_catalog_propose_packed(w->f->nodes[0].catalog, packed, timeout_ms, cb, cb_arg);
}

static void on_done(void *arg, const Et__Command *command, int code, const Et__Result *result)
{
	struct work *w = arg;
	char id[33];

	w->answered++;
	if (code != 0 || result == NULL) {
		fault_say("E %s", et_errname(code));
		return;
	}
	et_hex(w->ids[command->op->seq], 16, id);
	fault_say("A %s %llu %s %llu", w->incarnation, (unsigned long long)command->op->seq, id,
		  (unsigned long long)result->index);
}

/* Journal some commands, sync, say so, hand them over. */
static void tick(struct work *w)
{
	unsigned n = 0;
	struct et_error e;

	while (n < A_TICK && w->appended + n < w->limit) {
		struct waiting *at = &w->tick[n];
		Et__Command *command = fault_command(w->appended + n, at->id);
		int rc = et_journal_append(w->journal, command, &at->packed, &e);
		if (rc < 0) {
			fault_say("E %s", et_errname(rc));
			break;
		}
		at->seq = command->op->seq;
		memcpy(w->ids[at->seq], at->id, 16);
		n++;
	}
	bool synced = n > 0 && syncfs(w->folder) == 0;
	for (unsigned i = 0; i < n; i++) {
		struct waiting *at = &w->tick[i];
		char id[33];
		et_hex(at->id, 16, id);
		if (synced) {
			fault_say("J %s %llu %s", w->incarnation, (unsigned long long)at->seq, id);
		}
		if (et_proposer_add(w->proposer,
				    (struct et_view){ at->packed.data, at->packed.size }) < 0) {
			fault_die("the proposer takes nothing");
		}
		et_buffer_release(&at->packed);
	}
	w->appended += n;
}

static bool is_answered(void *arg)
{
	struct work *w = arg;

	if (w->appended < w->limit && w->answered + A_TICK >= w->appended) {
		tick(w);
	}
	return w->answered == w->limit;
}

static bool are_level(void *arg)
{
	const struct work *w = arg;
	uint64_t index = fault_applied(&w->f->nodes[0]);

	for (size_t i = 1; i < w->f->count; i++) {
		if (fault_applied(&w->f->nodes[i]) != index) {
			return false;
		}
	}
	return true;
}

static void on_proposer_stopped(void *arg)
{
	((struct work *)arg)->stopped = true;
}

static bool is_stopped(void *arg)
{
	return ((struct work *)arg)->stopped;
}

static void open_all(struct work *w)
{
	struct fault_nodes *f = w->f;
	uint8_t incarnation[16];
	char path[600];
	struct et_error e;

	fault_say("P open");
	(void)snprintf(path, sizeof(path), "%s/journal", f->folder);
	if (et_journal_open(path, 1, &w->journal, &e) < 0) {
		fault_die("%s", e.text);
	}
	et_journal_incarnation(w->journal, incarnation);
	et_hex(incarnation, 16, w->incarnation);
	w->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->tail) {
		fault_tail_open(f);
	}
	for (size_t i = 0; !f->tail && i < (f->count == 3 ? 2 : f->count); i++) {
		fault_node_open(f, i);
	}
	const struct et_proposer_config config = { .loop = &f->loop,
						   .journal = w->journal,
						   .propose = propose,
						   .on_done = on_done,
						   .arg = w };
	if (et_proposer_start(&config, &w->proposer, &e) < 0) {
		fault_die("%s", e.text);
	}
}

int fault_work(struct fault_nodes *f)
{
	static struct work w;

	w.f = f;
	open_all(&w);
	fault_say("P write");
	w.limit = f->tail ? COMMANDS_AFTER_TAIL : f->count == 3 ? COMMANDS_BEFORE_THIRD : COMMANDS;
	fault_run_until(f, is_answered, &w, PATIENCE_S, "answers");
	if (f->tail) {
		fault_run_until(f, are_level, &w, PATIENCE_S, "all nodes at one index");
	} else if (f->count == 3) {
		fault_say("P install");
		fault_node_open(f, 2);
		w.limit = COMMANDS;
		fault_run_until(f, is_answered, &w, PATIENCE_S, "answers");
		fault_run_until(f, are_level, &w, PATIENCE_S, "the third node");
	}
	fault_say("P stop");
	et_proposer_stop(w.proposer, on_proposer_stopped, &w);
	fault_run_until(f, is_stopped, &w, PATIENCE_S, "the proposer to stop");
	fault_nodes_close(f);
	w.journal = et_journal_close(w.journal);
	fault_say("P end");
	return 0;
}
