/* archive run: plan and apply in one, until nothing is left to plan. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "node/io/clock.h"
#include "node/text/units.h"
#include "ops/cli/cli.h"

#define ROUNDS_MAX 10000 /* plans of at most 4096 items each */
#define WAIT_POLL_NS (500 * 1000000L)
#define SAY_US (INT64_C(10) * 1000000)

struct totals {
	int64_t uploads, evictions, bytes, jobs, plans;
};

/* Segments of the plan's items of that action (its summary counts those, too, that are left for the
 * next plan). */
static int64_t segments_of(const json_t *plan, const char *action, int64_t *bytes)
{
	const json_t *items = json_object_get(plan, "items");
	int64_t count = 0;
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *row = json_array_get(items, i);
		if (strcmp(et_json_get_text(row, "action", ""), action) == 0) {
			count++;
			*bytes += et_json_get_int(row, "bytes", 0);
		}
	}
	return count;
}

static int apply(struct et_cli *cli, const char *plan, struct totals *t, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	char path[128];
	(void)snprintf(path, sizeof(path), "/v1/archive/plans/%.40s/apply", plan);
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	int rc = et_cli_send(cli, "POST", path, body, &answer, reterr);
	if (rc == 0) {
		t->jobs += et_json_get_int(answer, "jobs", 0);
		t->plans++;
	}
	return rc;
}

/* One plan, applied; *ret_more: there may be another. */
static int round_run(struct et_cli *cli, struct totals *t, bool *ret_more, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *plan = NULL;
	et_json_set(body, "items", json_true());
	int rc = et_cli_send(cli, "POST", "/v1/archive/plans", body, &plan, reterr);
	if (rc < 0) {
		return rc;
	}
	const char *id = et_json_get_text(plan, "plan", "");
	int64_t upload_bytes = 0;
	int64_t evict_bytes = 0;
	int64_t uploads = segments_of(plan, "upload", &upload_bytes);
	int64_t evictions = segments_of(plan, "evict", &evict_bytes);
	*ret_more = false;
	if (*id == '\0') {
		return 0;
	}
	if (evictions > 0 && et_cli_option(cli, "yes") == NULL) {
		rc = et_fail_plain(reterr, ET_EPOLICY,
				   "the plan drops the local copies of %" PRId64
				   " segments (%" PRId64 " bytes): nothing of it was done",
				   evictions, evict_bytes);
		(void)et_fail_next(reterr,
				   "evertape archive apply %.40s --reason TEXT, or: archive "
				   "run --yes",
				   id);
		return rc;
	}
	rc = apply(cli, id, t, reterr);
	if (rc == 0) {
		t->uploads += uploads;
		t->evictions += evictions;
		t->bytes += upload_bytes;
		*ret_more = et_json_get_bool(plan, "partial", false);
	}
	return rc;
}

/* Until no job waits. ET_EXIT_DEGRADED: the time is over, or jobs failed. */
static int jobs_wait(struct et_cli *cli, int64_t until_us, struct et_error *reterr)
{
	const struct timespec pause = { .tv_nsec = WAIT_POLL_NS };
	int64_t said_us = et_clock_mono_us();
	for (;;) {
		ET_CLEANUP(et_json_freep) json_t *status = NULL;
		int rc = et_cli_get(cli, "/v1/archive/status", &status, reterr);
		if (rc < 0) {
			return rc;
		}
		int64_t waiting = et_json_get_int(status, "jobs_waiting", 0);
		int64_t failed = et_json_get_int(status, "jobs_failed", 0);
		if (waiting == 0) {
			if (failed > 0) {
				et_cli_note(cli,
					    "%" PRId64 " jobs have failed: evertape archive status",
					    failed);
			}
			return failed > 0 ? ET_EXIT_DEGRADED : 0;
		}
		int64_t now = et_clock_mono_us();
		if (now >= until_us) {
			et_cli_note(cli,
				    "%" PRId64 " jobs are not done yet: evertape archive status",
				    waiting);
			return ET_EXIT_DEGRADED;
		}
		if (now - said_us >= SAY_US) {
			et_cli_note(cli, "%" PRId64 " jobs, %" PRId64 " bytes to upload", waiting,
				    et_json_get_int(status, "backlog_bytes", 0));
			said_us = now;
		}
		(void)nanosleep(&pause, NULL);
	}
}

static void totals_print(struct et_cli *cli, const struct totals *t)
{
	if (et_cli_is_json(cli)) {
		ET_CLEANUP(et_json_freep) json_t *o = json_object();
		et_json_set(o, "schema", json_string("evertape/v1"));
		et_json_set(o, "plans", json_integer(t->plans));
		et_json_set(o, "jobs", json_integer(t->jobs));
		et_json_set(o, "upload_segments", json_integer(t->uploads));
		et_json_set(o, "upload_bytes", json_integer(t->bytes));
		et_json_set(o, "evict_segments", json_integer(t->evictions));
		et_cli_print_json(cli, o);
	} else if (t->plans == 0) {
		(void)fprintf(cli->out, "Nothing to do.\n");
	} else {
		(void)fprintf(cli->out,
			      "%" PRId64 " plans, %" PRId64 " jobs: upload %" PRId64
			      " segments (%" PRId64 " bytes), drop the local copies of %" PRId64
			      "\n",
			      t->plans, t->jobs, t->uploads, t->bytes, t->evictions);
	}
}

int et_cli_archive_run(struct et_cli *cli, struct et_error *reterr)
{
	struct totals t = { 0 };
	const char *wait = et_cli_option(cli, "wait");
	int64_t wait_us = 0;
	bool more = true;
	int rc = 0;
	if (wait != NULL && (!et_duration_parse(wait, &wait_us) || wait_us < 0)) {
		return et_cli_usage(cli, reterr, "--wait is a duration such as 5m, not \"%.20s\"",
				    wait);
	}
	et_cli_patience(cli, ET_CLI_LONG_MS);
	for (int i = 0; i < ROUNDS_MAX && more && rc == 0; i++) {
		rc = round_run(cli, &t, &more, reterr);
	}
	if (rc == 0 || t.plans > 0) { /* what was applied goes on, whatever came then */
		totals_print(cli, &t);
	}
	if (rc == 0 && wait != NULL && t.jobs > 0) {
		(void)fflush(cli->out);
		rc = jobs_wait(cli, et_clock_mono_us() + wait_us, reterr);
	}
	return rc;
}
