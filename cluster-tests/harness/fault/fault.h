/* powerloss: workloads for the power-loss points. One process runs one or three whole nodes (TLS,
 * Raft, RocksDB, journal) on one loop, so that a kill takes all of them at once, and one file
 * system holds all that they wrote.
 *
 *   powerloss form FOLDER COUNT ADDRESS...      make the cluster: what every run begins with
 *   powerloss work FOLDER COUNT ADDRESS...      the scripted workload
 *   powerloss tail-form, tail-work FOLDER 3 ADDRESS...      the same with a conflicting tail
 *   powerloss check FOLDER COUNT ADDRESS...     open what is left; acknowledgements on standard
 * input powerloss journal-work FOLDER | journal-check FOLDER        the journal alone
 *
 * A workload says on its standard output (a pipe: what was said outlives a kill):
 *   P <phase>                  what is being done now
 *   J <incarnation> <seq> <id>          journalled and synced: acknowledged as `local`
 *   A <incarnation> <seq> <id> <index>  committed and applied here
 *   E <name>                   a command was refused: nothing is promised of it
 * and a check "OK <acknowledged> <details>", or "X <what is wrong>" and exit code 1.
 *
 *   nodes.c     the nodes: identities, start, stop
 *   commands.c  what is proposed, and found again
 *   work.c      the workload        check.c  the check        journal.c  both, for the journal
 *   tail.c      a former leader whose log has a tail that no majority has */
#ifndef ET_CLUSTER_TESTS_HARNESS_FAULT_FAULT_H
#define ET_CLUSTER_TESTS_HARNESS_FAULT_FAULT_H

#include <uv.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/daemon/proposer.h"
#include "node/tls/tls.h"
#include "raft/catalog/catalog.h"
#include "raft/journal/journal.h"

enum { FAULT_NODES_MAX = 3 };

struct fault_node {
	struct et_tls_node *tls;
	struct et_catalog *catalog;
	struct fault_nodes *all;
	uint64_t id;
	const char *address;
	char folder[512];
	bool tls_open, catalog_open;
};

struct fault_nodes {
	uv_loop_t loop;
	struct et_postbox postbox;
	uv_timer_t poll; /* so that conditions on other threads are seen */
	const char *folder;
	size_t count;
	uint32_t election_ms;
	bool tail; /* the first node has a conflicting tail (tail.c) */
	struct fault_node nodes[FAULT_NODES_MAX];
};

/* One line on standard output, at once. */
void fault_say(const char *fmt, ...) ET_PRINTF(1, 2);
/* "X ..." and the end of the process with code 1. */
_Noreturn void fault_die(const char *fmt, ...) ET_PRINTF(1, 2);

/* ---- nodes.c ---- */

void fault_nodes_init(struct fault_nodes *f, const char *folder, size_t count,
		      char *const addresses[]);
int fault_form(struct fault_nodes *f);		/* identities, cluster, ClusterInit; ends closed */
void fault_cluster_make(struct fault_nodes *f); /* the same; ends open, the first node leads */
void fault_node_open(struct fault_nodes *f, size_t i);
void fault_node_close(struct fault_nodes *f, size_t i);
void fault_nodes_close(struct fault_nodes *f);
bool fault_has_leader(void *nodes);
uint64_t fault_applied(const struct fault_node *n);
/* Run the loop until `done` says so. fault_die() after `seconds`. */
void fault_run_until(struct fault_nodes *f, bool (*done)(void *arg), void *arg, unsigned seconds,
		     const char *what);

/* ---- commands.c ---- */

/* The command number `i` of the workload: three RecordingOpen, then an AuditAdd, and so on. Its
 * `id` (of the recording, or the target of the event) is random. Valid until the next call. */
Et__Command *fault_command(unsigned i, uint8_t id[16]);
/* One of 200 KB: a policy of that name. As above, but without an op. */
Et__Command *fault_big_command(const char *name);
/* What was acknowledged: is it there, once? NULL, or what is wrong. */
const char *fault_find(struct et_state_view *v, const Et__OpId *op, const uint8_t id[16],
		       uint64_t index);

/* ---- tail.c ---- */

int fault_tail_form(struct fault_nodes *f);
/* Open the second and the third, wait for a leader, open the first, and wait until it is level:
 * libraft cuts its tail off. */
void fault_tail_open(struct fault_nodes *f);

int fault_work(struct fault_nodes *f);
int fault_check(struct fault_nodes *f);
int fault_journal_work(const char *folder);
int fault_journal_check(const char *folder);

#endif
