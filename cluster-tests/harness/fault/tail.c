#include <dirent.h>
#include <stdio.h>

#include "cluster-tests/harness/fault/fault.h"

/* A former leader with a conflicting tail. The first node leads three, and all have the same; the
 * others stop; it takes commands that nobody else gets (several segments of its log), and stops.
 * The others start, elect one of them, commit, and stop. Then, when all are started, libraft cuts
 * the tail off, from the middle of a segment. */

enum { COMMON = 24, TAIL = 100, NEWER = 16, PATIENCE_S = 120 };
enum { ALONE_MS = 20000 }; /* how long a leader may be one without the others: long enough */

struct tail {
	struct fault_nodes *f;
	unsigned open;	   /* proposals without an answer */
	int failed;	   /* what one that failed was told */
	uint64_t from;	   /* the first index that only the first node has */
	uint64_t last_cut; /* the end of its last closed segment */
};

static void on_answer(void *arg, int code, const Et__Result *result)
{
	struct tail *t = arg;

	(void)result;
	/* Denied: the catalogue knows no second node. It is committed all the same. */
	t->failed = code != 0 && code != ET_EDENIED ? code : t->failed;
	t->open--;
}

static bool is_answered(void *arg)
{
	return ((const struct tail *)arg)->open == 0;
}

static void propose(struct tail *t, size_t node, Et__Command *command)
{
	t->open++;
	et_catalog_propose(t->f->nodes[node].catalog, command, 60000, on_answer, t);
}

static Et__Command *noop_command(size_t node)
{
	static char by[32];
	static Et__Command command;
	static Et__Noop noop;

	(void)snprintf(by, sizeof(by), "node:%zu", node + 1);
	et__command__init(&command);
	et__noop__init(&noop);
	command.principal = by;
	command.schema = 1;
	command.body_case = ET__COMMAND__BODY_NOOP;
	command.noop = &noop;
	return &command;
}

static void propose_some(struct tail *t, size_t node, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		propose(t, node, noop_command(node));
	}
	fault_run_until(t->f, is_answered, t, PATIENCE_S, "answers");
	if (t->failed != 0) {
		fault_die("a command failed: %s", et_errname(t->failed));
	}
}

static bool are_level(void *arg)
{
	const struct tail *t = arg;
	struct et_catalog_status s;

	for (size_t i = 0; i < t->f->count; i++) {
		et_catalog_status(t->f->nodes[i].catalog, &s);
		if (s.leader == 0 || s.applied != s.last_index ||
		    fault_applied(&t->f->nodes[i]) != fault_applied(&t->f->nodes[0])) {
			return false;
		}
	}
	return true;
}

/* How many closed segments the first node's log has past `index`, and where the last one ends. */
static unsigned segments_past(const struct tail *t, uint64_t index, uint64_t *ret_end)
{
	char path[600];
	unsigned count = 0;

	(void)snprintf(path, sizeof(path), "%s/raft", t->f->nodes[0].folder);
	DIR *dir = opendir(path);
	*ret_end = 0;
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		unsigned long long first, last;
		int end = 0;
		if (sscanf(e->d_name, "%16llu-%16llu%n", &first, &last, &end) == 2 &&
		    e->d_name[end] == '\0') {
			count += last >= index;
			*ret_end = last > *ret_end ? last : *ret_end;
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	return count;
}

static bool has_tail(void *arg)
{
	struct tail *t = arg;
	return segments_past(t, t->from, &t->last_cut) >= 2;
}

int fault_tail_form(struct fault_nodes *f)
{
	struct tail t = { .f = f };
	struct et_catalog_status s;

	uint32_t election_ms = f->election_ms;
	f->election_ms = ALONE_MS;
	fault_cluster_make(f);
	propose_some(&t, 0, COMMON);
	fault_run_until(f, are_level, &t, PATIENCE_S, "all nodes at one index");
	et_catalog_status(f->nodes[0].catalog, &s);
	if (!s.is_leader) {
		fault_die("the first node does not lead");
	}
	t.from = s.last_index + 1;
	fault_node_close(f, 1);
	fault_node_close(f, 2);
	for (unsigned i = 0; i < TAIL; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "tail-%u", i);
		propose(&t, 0, fault_big_command(name));
	}
	fault_run_until(f, has_tail, &t, PATIENCE_S, "a tail of several segments");
	fault_node_close(f, 0);
	if (t.open != 0) {
		fault_die("%u proposals have no answer", t.open);
	}
	t.failed = 0; /* They were told that the node stops. */
	f->election_ms = election_ms;
	fault_node_open(f, 1);
	fault_node_open(f, 2);
	fault_run_until(f, fault_has_leader, f, PATIENCE_S, "a leader");
	propose_some(&t, 1, NEWER);
	fault_node_close(f, 1);
	fault_node_close(f, 2);
	return 0;
}

void fault_tail_open(struct fault_nodes *f)
{
	struct tail t = { .f = f };
	struct tail now = { .f = f };

	fault_node_open(f, 1);
	fault_node_open(f, 2);
	fault_run_until(f, fault_has_leader, f, PATIENCE_S, "a leader");
	fault_say("P cut");
	(void)segments_past(&t, 0, &t.last_cut);
	fault_node_open(f, 0);
	fault_run_until(f, are_level, &t, PATIENCE_S, "all nodes at one index");
	(void)segments_past(&now, 0, &now.last_cut);
	if (now.last_cut >= t.last_cut) {
		fault_die("the tail up to %llu was not cut", (unsigned long long)t.last_cut);
	}
}
