/* Commands about capture: what comes from the wire, and what rules make of it. */
#include "ops/cli/table_internal.h"

#define SIP_PORT                                                                                   \
	{                                                                                          \
		"sip-port", "PORT...", "signalling ports; default 5060", NULL                      \
	}

const struct et_cli_command table_capture[] = {
	{ .path = "capture list",
	  .arguments = "",
	  .summary = "what each node captures, with packets and drops",
	  .example = "evertape capture list --on-demand",
	  .options = OPTIONS({ "on-demand", NULL,
			       "the calls on demand of the node that is asked: what recording keep "
			       "can keep",
			       NULL }),
	  .run = et_cli_capture_list },
	{ .path = "capture show",
	  .arguments = "",
	  .summary = "what capture is doing now: interfaces, calls, packets, writer, refusals",
	  .details =
		  "Of the node that is asked, or of --node. WAITING is what lies in an interface's "
		  "ring and was not read yet. Calls are those in progress; --calls lists the "
		  "oldest of them. Exits 6 when packets are lost, calls are refused for want of "
		  "room, or nothing is acknowledged. Also while the node's root is locked.",
	  .example = "evertape capture show --node brq-1 --calls 20 --watch",
	  .options = OPTIONS(MEMBER, { "calls", "N", "list so many calls, 1 to 1000", NULL },
			     { "watch", NULL, "again every two seconds, with rates", NULL }),
	  .run = et_cli_capture_show },
#ifdef ET_CLI_REPLAY
	{ .path = "capture replay",
	  .arguments = "FILE...",
	  .min_args = 1,
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary = "run capture files through the recorder's engine, without a cluster",
	  .details =
		  "Says what would be recorded: calls, streams, losses, and every packet by what "
		  "it "
		  "was. Exits 6 when a file is cut in the middle; what was read until then counts.",
	  .example = "evertape capture replay trace.pcap --wav out/ -o json",
	  .options =
		  OPTIONS({ "wav", "DIR", "write each call as stereo WAV", NULL },
			  { "conceal", NULL, "make up what was lost; no evidence then", NULL },
			  { "keylog", "FILE", "TLS key log: opens SIP over TLS", NULL },
			  { "srtp-keys", "FILE", "TSV of ssrc, suite, base64 key and salt", NULL },
			  SIP_PORT,
			  { "config", "FILE", "record by the rules of this evertape.yaml", NULL }),
	  .run = et_cli_capture_replay },
	{ .path = "capture test",
	  .arguments = "INTERFACE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "look at an interface for a while: is it one to record from?",
	  .details = "For a new installation, without a node, or beside one: the recorder's engine "
		     "counts what comes, keeps nothing, and says what is missing: signalling, a "
		     "direction, media, whole packets, keys. Exits 6 when there is a finding.",
	  .example = "evertape capture test eth1 --seconds 30",
	  .options = OPTIONS({ "seconds", "N", "how long; default 10, at most 3600", NULL },
			     { "filter", "BPF", "as the recorder's own", NULL }, SIP_PORT),
	  .run = et_cli_capture_test },
	{ .path = "capture explain",
	  .arguments = "FROM TO | FILE",
	  .min_args = 1,
	  .max_args = 2,
	  .summary = "which recording rule fires for a call, and why none before it does",
	  .details =
		  "FROM and TO are the user parts of a call's addresses; with one argument, a "
		  "capture "
		  "file, all calls in it are explained. The rules are those of the configuration "
		  "FILE, without a node; a node that runs has those of its last start. Exits 6 "
		  "when "
		  "a capture file is cut in the middle.",
	  .example = "evertape capture explain 4711 +420212345678 --header X-Queue=sales",
	  .options =
		  OPTIONS(CONFIG, { "time", "TIME", "when the call begins; default: now", NULL },
			  { "header", "NAME=VALUE...", "a header of the INVITE", NULL },
			  { "call-id", "TEXT", "SIP Call-ID: for rules that take a share", NULL },
			  { "media-only", NULL, "a call without signalling", NULL }),
	  .run = et_cli_capture_explain },
#endif
	{ .path = NULL },
};
