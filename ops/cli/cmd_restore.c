/* archive restore: archived recordings back to a node's disk, with progress. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "node/io/clock.h"
#include "node/text/units.h"
#include "ops/cli/cli.h"

#define POLL_NS (500 * 1000000L)
#define SAY_US (INT64_C(10) * 1000000)

struct progress {
	size_t open;   /* jobs that wait or run */
	size_t failed; /* jobs */
	int64_t done_bytes;
	char error[300]; /* of one that failed, or of one that waits and says what for */
};

/* Jobs of the plan that are not done. */
static int progress_ask(struct et_cli *cli, const char *plan, struct progress *ret,
			struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *status = NULL;
	int rc = et_cli_get(cli, "/v1/archive/status", &status, reterr);
	const json_t *jobs = json_object_get(status, "jobs");
	*ret = (struct progress){ 0 };
	for (size_t i = 0; i < json_array_size(jobs); i++) {
		const json_t *job = json_array_get(jobs, i);
		if (strcmp(et_json_get_text(job, "plan", ""), plan) != 0) {
			continue;
		}
		ret->done_bytes += et_json_get_int(job, "done_bytes", 0);
		if (strcmp(et_json_get_text(job, "state", ""), "failed") == 0) {
			ret->failed++;
		} else {
			ret->open++;
		}
		const char *error = et_json_get_text(job, "error", "");
		if (*error != '\0') {
			(void)snprintf(ret->error, sizeof(ret->error), "%.299s", error);
		}
	}
	return rc;
}

static int wait_for_it(struct et_cli *cli, const char *plan, int64_t wait_us,
		       struct et_error *reterr)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	int64_t until_us = et_clock_mono_us() + wait_us;
	int64_t said_us = et_clock_mono_us();
	for (;;) {
		struct progress p;
		int rc = progress_ask(cli, plan, &p, reterr);
		if (rc < 0) {
			return rc;
		}
		if (p.open == 0) {
			if (p.failed > 0) {
				et_cli_note(cli, "%zu jobs failed: %s", p.failed, p.error);
			}
			return p.failed > 0 ? ET_EXIT_DEGRADED : 0;
		}
		int64_t now = et_clock_mono_us();
		if (now >= until_us) {
			et_cli_note(cli, "%zu jobs are not done yet: %s%severtape archive status",
				    p.open, p.error, *p.error != '\0' ? "; " : "");
			return ET_EXIT_DEGRADED;
		}
		if (now - said_us >= SAY_US) {
			et_cli_note(cli, "%zu jobs to go; %" PRId64 " bytes of them are back%s%s",
				    p.open, p.done_bytes, *p.error != '\0' ? "; " : "", p.error);
			said_us = now;
		}
		(void)nanosleep(&pause, NULL);
	}
}

static int answer_print(struct et_cli *cli, const json_t *answer)
{
	const json_t *skipped = json_object_get(answer, "skipped");
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else {
		(void)fprintf(
			cli->out,
			"%" PRId64 " segments, %" PRId64 " bytes come back to %s (%" PRId64
			" jobs); %" PRId64 " are there, %" PRId64 " are not archived\n",
			et_json_get_int(answer, "segments", 0), et_json_get_int(answer, "bytes", 0),
			et_json_get_text(answer, "node", "?"), et_json_get_int(answer, "jobs", 0),
			et_json_get_int(answer, "here_already", 0),
			et_json_get_int(answer, "not_archived", 0));
	}
	for (size_t i = 0; i < json_array_size(skipped); i++) {
		const json_t *row = json_array_get(skipped, i);
		et_cli_note(cli, "%s: %s", et_json_get_text(row, "recording", ""),
			    et_json_get_text(row, "why", ""));
	}
	(void)fflush(cli->out);
	return json_array_size(skipped) > 0 ? ET_EXIT_DEGRADED : 0;
}

int et_cli_archive_restore(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	json_t *ids = json_array();
	const char *wait = et_cli_option(cli, "wait");
	const char *site = et_cli_option(cli, "site");
	int64_t wait_us = 0;
	et_json_set(body, "recordings", ids);
	if (wait != NULL && (!et_duration_parse(wait, &wait_us) || wait_us < 0)) {
		return et_cli_usage(cli, reterr, "--wait is a duration such as 5m, not \"%.20s\"",
				    wait);
	}
	int rc = et_cli_ids(cli, 0, ids, reterr);
	if (rc < 0) {
		return rc;
	}
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	if (site != NULL) {
		et_json_set(body, "site", et_json_text(site));
	}
	et_cli_patience(cli, ET_CLI_LONG_MS);
	rc = et_cli_send(cli, "POST", "/v1/archive/restore", body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	const char *plan = et_json_get_text(answer, "plan", "");
	int code = answer_print(cli, answer);
	if (wait != NULL && *plan != '\0') {
		rc = wait_for_it(cli, plan, wait_us, reterr);
	}
	return rc != 0 ? rc : code;
}
