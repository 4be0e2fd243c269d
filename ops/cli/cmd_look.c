/* evertape capture test: is this interface one to record from? The recorder's own engine looks at
 * it for a while, without a node, and nothing is kept. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/cli/cli.h"
#include "ops/cli/look.h"

enum { SECONDS = 10, SECONDS_MAX = 3600 };

static const struct et_cli_column columns[] = {
	{ "FINDING", "code", ET_CLI_TEXT, false },
	{ "WHAT", "detail", ET_CLI_TEXT, false },
	{ "NEXT", "next", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static json_t *document_of(const struct et_replay_summary *s, const char *interface, long seconds)
{
	struct et_look l = et_look_count(s);
	json_t *o = json_object();
	json_t *calls = json_object();
	et_json_set(calls, "total", json_integer(l.calls));
	et_json_set(calls, "answered", json_integer(l.answered));
	et_json_set(calls, "media_both_ways", json_integer(l.both));
	et_json_set(calls, "media_one_way", json_integer(l.one_way));
	et_json_set(calls, "media_only", json_integer(l.media_only));
	et_json_set(o, "schema", json_string("evertape/v1"));
	et_json_set(o, "interface", et_json_text(interface));
	et_json_set(o, "seconds", json_integer(seconds));
	et_json_set(o, "bytes", et_json_u64(s->bytes));
	et_json_set(o, "kernel_dropped", et_json_u64(s->metrics.kernel_dropped));
	et_json_set(o, "interface_dropped", et_json_u64(s->metrics.interface_dropped));
	et_json_set(o, "packets", et_cli_packets_json(&s->packets));
	et_json_set(o, "tcp_messages", et_json_u64(s->metrics.tcp_messages));
	et_json_set(o, "calls", calls);
	et_json_set(o, "findings", et_look_findings(s, &l, interface));
	return o;
}

static int print(struct et_cli *cli, const json_t *o, long seconds, struct et_error *reterr)
{
	const json_t *packets = json_object_get(o, "packets");
	const json_t *calls = json_object_get(o, "calls");
	int64_t total = et_json_get_int(packets, "total", 0);
	size_t found = json_array_size(json_object_get(o, "findings"));
	int rc = 0;
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, o);
		return found > 0 ? ET_EXIT_DEGRADED : 0;
	}
	(void)fprintf(cli->out,
		      "%" PRId64 " packets in %ld s (%" PRId64 "/s): SIP %" PRId64 ", RTP %" PRId64
		      ", RTCP %" PRId64 ", other %" PRId64 "; dropped %" PRId64 "\n",
		      total, seconds, total / seconds, et_json_get_int(packets, "sip", 0),
		      et_json_get_int(packets, "rtp", 0), et_json_get_int(packets, "rtcp", 0),
		      et_json_get_int(packets, "other", 0),
		      et_json_get_int(o, "kernel_dropped", 0) +
			      et_json_get_int(o, "interface_dropped", 0));
	(void)fprintf(cli->out,
		      "%" PRId64 " calls: %" PRId64 " answered, %" PRId64
		      " with media of both parties; %" PRId64 " with media alone\n",
		      et_json_get_int(calls, "total", 0), et_json_get_int(calls, "answered", 0),
		      et_json_get_int(calls, "media_both_ways", 0),
		      et_json_get_int(calls, "media_only", 0));
	if (found > 0) {
		(void)fputc('\n', cli->out);
		rc = et_cli_print(cli, o, "findings", columns, reterr);
	} else if (et_json_get_int(calls, "media_both_ways", 0) == 0) {
		et_cli_note(cli, "nothing is wrong, but no call with media was seen: try again "
				 "during one, or for longer (--seconds)");
	} else {
		et_cli_note(cli, "all that a recorder needs is seen here");
	}
	return rc < 0 ? rc : found > 0 ? ET_EXIT_DEGRADED : 0;
}

int et_cli_capture_test(struct et_cli *cli, struct et_error *reterr)
{
	struct et_replay_summary summary;
	struct et_replay_config config = { .interface = cli->args[0],
					   .filter = et_cli_option(cli, "filter") };
	const char *text = et_cli_option(cli, "seconds");
	long seconds = SECONDS;
	if (text != NULL) {
		char *end;
		seconds = strtol(text, &end, 10);
		if (end == text || *end != '\0' || seconds < 1 || seconds > SECONDS_MAX) {
			return et_cli_usage(cli, reterr, "--seconds is 1 to %d", SECONDS_MAX);
		}
	}
	config.duration_us = seconds * INT64_C(1000000);
	int rc = et_cli_sip_ports(cli, &config.capture, reterr);
	if (rc < 0) {
		return rc;
	}
	et_cli_note(cli, "looking at %s for %ld s ...", cli->args[0], seconds);
	rc = et_replay(&config, &summary, reterr);
	if (rc == -EPERM) {
		(void)et_fail_next(reterr, "sudo evertape capture test %.40s", cli->args[0]);
	} else if (rc == -ENODEV) {
		(void)et_fail_next(reterr, "ip link");
	}
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *document = document_of(&summary, cli->args[0], seconds);
	et_replay_summary_release(&summary);
	return print(cli, document, seconds, reterr);
}
