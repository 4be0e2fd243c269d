#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster-tests/harness/fault/fault.h"
#include "node/io/clock.h"

/* After the power came back: everything opens by itself, what the journal held is committed, and
 * every acknowledgement on standard input holds on every node. */

enum { PATIENCE_S = 90 };

struct check {
	struct fault_nodes *f;
	struct et_journal *journal;
	struct et_proposer *proposer;
	int read_code;
	bool read_done;
	bool stopped;
	uint64_t acks, committed, replayed;
};

static void propose(void *arg, struct et_view packed, uint32_t timeout_ms, et_catalog_cb cb,
		    void *cb_arg)
{
	struct check *k = arg;
	et_catalog_propose_packed(k->f->nodes[0].catalog, packed, timeout_ms, cb, cb_arg);
}

static bool journal_is_empty(void *arg)
{
	struct check *k = arg;
	return et_proposer_pending(k->proposer) == 0;
}

static void on_index(void *arg, int code, uint64_t index)
{
	struct check *k = arg;

	(void)index;
	k->read_code = code;
	k->read_done = true;
}

/* A linearizable read on the first node: then all that was ever committed is there. */
static bool read_is_done(void *arg)
{
	struct check *k = arg;

	if (k->read_done && k->read_code != 0) {
		k->read_done = false;
		et_catalog_read_index(k->f->nodes[0].catalog, 2000, on_index, k);
	}
	return k->read_done;
}

static bool are_level(void *arg)
{
	const struct check *k = arg;
	struct et_catalog_status s;

	for (size_t i = 0; i < k->f->count; i++) {
		et_catalog_status(k->f->nodes[i].catalog, &s);
		if (s.leader == 0 || s.applied != s.last_index ||
		    fault_applied(&k->f->nodes[i]) != fault_applied(&k->f->nodes[0])) {
			return false;
		}
	}
	return true;
}

static void on_proposer_stopped(void *arg)
{
	((struct check *)arg)->stopped = true;
}

static bool is_stopped(void *arg)
{
	return ((struct check *)arg)->stopped;
}

/* Digest, content and audit chain of one node; they must be those of the first. */
static void chain_check(struct et_state_view *v, size_t i)
{
	static uint8_t digest[32], content[32];
	static uint64_t index;
	uint8_t d[32], c[32], head[32];
	uint64_t at, events;
	struct et_error e;

	if (et_state_digest(v, &at, d) < 0 || et_state_content_digest(v, c) < 0) {
		fault_die("node %zu: the database cannot be read", i + 1);
	}
	if (et_state_audit_verify(v, &events, head, &e) < 0) {
		fault_die("node %zu: the audit chain does not verify: %s", i + 1, e.text);
	}
	if (i == 0) {
		memcpy(digest, d, 32);
		memcpy(content, c, 32);
		index = at;
	} else if (at == index && (memcmp(d, digest, 32) != 0 || memcmp(c, content, 32) != 0)) {
		fault_die("node %zu: another digest at index %" PRIu64, i + 1, at);
	} else if (at != index) {
		fault_die("node %zu: at %" PRIu64 ", node 1 at %" PRIu64, i + 1, at, index);
	}
}

static void acks_check(struct check *k, struct et_state_view *const *views)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		char incarnation_text[33], id_text[33], kind;
		unsigned long long seq, index = 0;
		uint8_t incarnation[16], id[16];
		Et__OpId op = ET__OP_ID__INIT;

		int n = sscanf(line, "%c %32s %llu %32s %llu", &kind, incarnation_text, &seq,
			       id_text, &index);
		if (n < 4 || !et_unhex(incarnation_text, 32, incarnation, 16) ||
		    !et_unhex(id_text, 32, id, 16)) {
			fault_die("not an acknowledgement: %s", line);
		}
		op.node = 1;
		op.seq = seq;
		op.incarnation = (ProtobufCBinaryData){ 16, incarnation };
		for (size_t i = 0; i < k->f->count; i++) {
			const char *wrong = fault_find(views[i], &op, id, index);
			if (wrong != NULL) {
				fault_die("node %zu: LOST %c %llu of %s (index %llu): %s", i + 1,
					  kind, seq, incarnation_text, index, wrong);
			}
		}
		k->acks++;
		k->committed += kind == 'A';
	}
}

static void open_all(struct check *k)
{
	struct fault_nodes *f = k->f;
	char path[600];
	struct et_error e;

	(void)snprintf(path, sizeof(path), "%s/journal", f->folder);
	if (et_journal_open(path, 1, &k->journal, &e) < 0) {
		fault_die("the journal does not open: %s", e.text);
	}
	if (et_journal_kept_aside(k->journal) > 0) {
		fault_die("a journal file was taken for damaged");
	}
	k->replayed = et_journal_pending(k->journal);
	for (size_t i = 0; i < f->count; i++) {
		fault_node_open(f, i);
	}
	const struct et_proposer_config config = {
		.loop = &f->loop, .journal = k->journal, .propose = propose, .arg = k
	};
	if (et_proposer_start(&config, &k->proposer, &e) < 0) {
		fault_die("%s", e.text);
	}
}

int fault_check(struct fault_nodes *f)
{
	struct check k = { .f = f, .read_code = -1, .read_done = true };
	struct et_state_view *views[FAULT_NODES_MAX];
	int64_t begin_us = et_clock_mono_us();

	open_all(&k);
	fault_run_until(f, read_is_done, &k, PATIENCE_S, "a linearizable read");
	int64_t served_us = et_clock_mono_us() - begin_us;
	fault_run_until(f, journal_is_empty, &k, PATIENCE_S, "what the journal holds");
	fault_run_until(f, are_level, &k, PATIENCE_S, "all nodes at one index");
	for (size_t i = 0; i < f->count; i++) {
		views[i] = et_state_view_open(et_catalog_state(f->nodes[i].catalog));
		if (views[i] == NULL) {
			fault_die("node %zu: the database cannot be read", i + 1);
		}
		chain_check(views[i], i);
	}
	acks_check(&k, views);
	for (size_t i = 0; i < f->count; i++) {
		views[i] = et_state_view_close(views[i]);
	}
	et_proposer_stop(k.proposer, on_proposer_stopped, &k);
	fault_run_until(f, is_stopped, &k, PATIENCE_S, "the proposer to stop");
	fault_nodes_close(f);
	k.journal = et_journal_close(k.journal);
	fault_say("OK %" PRIu64 " acknowledgements, %" PRIu64 " committed, %" PRIu64
		  " from the journal, served after %lld ms",
		  k.acks, k.committed, k.replayed, (long long)(served_us / 1000));
	return 0;
}
