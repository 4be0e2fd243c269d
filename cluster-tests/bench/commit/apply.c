#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "cluster-tests/bench/commit/commit.h"
#include "node/base/bytes.h"
#include "node/io/clock.h"
#include "raft/state/state.h"

/* Apply alone: entries of `batch` commands, `group` entries in each commit, against a database in
 * `folder`. What it costs is CPU time: of the thread that applies, and of the whole process (with
 * RocksDB's flushes and compactions). */

static double cpu_us(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int group_apply(struct et_state *s, const struct et_buffer *entries, unsigned count,
		       uint64_t *index, struct et_error *e)
{
	et_state_begin(s);
	for (unsigned i = 0; i < count; i++) {
		int rc = et_state_apply(s, ++*index,
					(struct et_view){ entries[i].data, entries[i].size }, e);
		if (rc < 0) {
			return rc;
		}
	}
	return et_state_commit(s, NULL, NULL, e);
}

static void entry_make(struct et_buffer *entry, struct bench_commands *k, unsigned batch, bool noop)
{
	struct et_buffer packed = { 0 };

	entry->size = 0;
	et_entry_begin(entry);
	for (unsigned i = 0; i < batch; i++) {
		packed.size = 0;
		bench_command_make(k, noop);
		et_assert(et_command_pack(&k->command, &packed) == 0);
		et_entry_add(entry, packed.data, packed.size);
	}
	et_entry_end(entry);
	et_assert(!entry->failed);
	et_buffer_release(&packed);
}

static int init_apply(struct et_state *s, struct bench_commands *k, uint64_t *index,
		      struct et_error *e)
{
	struct et_buffer entry = { 0 };
	struct et_buffer packed = { 0 };
	struct bench_init init;

	bench_init_make(&init);
	Et__OpId op = ET__OP_ID__INIT;
	op.node = 1;
	op.seq = ++k->seq;
	op.incarnation = (ProtobufCBinaryData){ 16, k->incarnation };
	init.command.op = &op;
	et_assert(et_command_pack(&init.command, &packed) == 0);
	et_entry_begin(&entry);
	et_entry_add(&entry, packed.data, packed.size);
	et_entry_end(&entry);
	int rc = group_apply(s, &entry, 1, index, e);
	et_buffer_release(&entry);
	et_buffer_release(&packed);
	return rc;
}

int bench_apply(const char *folder, unsigned batch, unsigned group, unsigned commands, bool noop)
{
	struct bench_commands k;
	struct et_state *s = NULL;
	struct et_error e;
	uint64_t index = 0;
	double thread_us = 0;
	struct et_buffer *entries = calloc(group, sizeof(*entries));

	et_assert(entries != NULL);
	bench_commands_init(&k);
	int rc = et_state_open(folder, &s, &e);
	rc = rc < 0 ? rc : init_apply(s, &k, &index, &e);
	double making_us = 0;
	double begin_us = cpu_us(CLOCK_PROCESS_CPUTIME_ID);
	int64_t wall_us = et_clock_mono_us();
	uint64_t done = 0;
	while (rc == 0 && done < commands) {
		double t0 = cpu_us(CLOCK_THREAD_CPUTIME_ID);
		for (unsigned i = 0; i < group; i++) {
			entry_make(&entries[i], &k, batch, noop);
		}
		double t1 = cpu_us(CLOCK_THREAD_CPUTIME_ID);
		rc = group_apply(s, entries, group, &index, &e);
		thread_us += cpu_us(CLOCK_THREAD_CPUTIME_ID) - t1;
		making_us += t1 - t0;
		done += (uint64_t)group * batch;
	}
	rc = rc < 0 ? rc : et_state_flush(s, &e);
	double all_us = cpu_us(CLOCK_PROCESS_CPUTIME_ID) - begin_us - making_us;
	double seconds = (double)(et_clock_mono_us() - wall_us) / 1e6;
	(void)et_state_close(s);
	for (unsigned i = 0; i < group; i++) {
		et_buffer_release(&entries[i]);
	}
	free(entries);
	if (rc < 0) {
		(void)fprintf(stderr, "bench-commit: %s\n", e.text);
		return rc;
	}
	(void)printf("{\"bench\":\"apply\",\"command\":\"%s\",\"batch\":%u,\"group\":%u,"
		     "\"commands\":%llu,\"seconds\":%.2f,\"apply_us\":%.2f,\"process_us\":%.2f}\n",
		     noop ? "noop" : "recording.open", batch, group, (unsigned long long)done,
		     seconds, thread_us / (double)done, all_us / (double)done);
	return 0;
}
