#include "cluster-tests/bench/restart/fill.h"

#include <stdio.h>

#include "cluster-tests/bench/search/load.h"
#include "raft/catalog/catalog.h"

int bench_fill(const char *folder, const char *address, uint64_t calls, unsigned every,
	       bool grafted, struct et_error *reterr)
{
	struct et_catalog_config config = { .node = 1, .address = address, .folder = folder };
	struct et_state *s = NULL;
	uint64_t commands = 0;
	char path[1024];

	(void)snprintf(path, sizeof(path), "%s/db/live-1", folder);
	double begun = bench_now_s();
	int rc = et_state_open(path, &s, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = bench_load_calls(
		s, calls, grafted ? BENCH_LOAD_SEGMENTS : BENCH_LOAD_CALLS | BENCH_LOAD_SEGMENTS,
		every, &commands);
	rc = rc < 0 ? rc : bench_load_settle(s);
	uint64_t index = et_state_applied(s);
	struct et_state_counts counts = { 0 };
	struct et_state_view *v = et_state_view_open(s);
	rc = rc < 0 ? rc : v == NULL ? -EIO : et_state_counts(v, &counts);
	(void)et_state_view_close(v);
	(void)et_state_close(s);
	if (rc == 0 && (counts.recordings < calls || counts.segments < calls / every)) {
		rc = ET_EINTEGRITY;
	}
	if (rc < 0) {
		return et_fail(reterr, rc, "the calls");
	}
	(void)printf("{\"recordings\": %llu, \"segments\": %llu, \"copies\": %llu, "
		     "\"commands\": %llu, \"seconds\": %.0f, \"bytes\": %llu, \"index\": %llu}\n",
		     (unsigned long long)counts.recordings, (unsigned long long)counts.segments,
		     (unsigned long long)counts.copies, (unsigned long long)commands,
		     bench_now_s() - begun, (unsigned long long)bench_folder_bytes(path),
		     (unsigned long long)index);
	(void)snprintf(path, sizeof(path), "%s/db/CURRENT", folder);
	(void)remove(path); /* the daemon writes it anew; a log is not made beside it */
	return et_catalog_bootstrap_at(&config, index, reterr);
}
