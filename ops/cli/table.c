/* The command table. Everything that says what evertape can do is derived from here. */
#include "ops/cli/cli.h"

#define OPTIONS(...) ((const struct et_cli_option[]){ __VA_ARGS__, { NULL, NULL, NULL, NULL } })

#define REASON                                                                                     \
	{                                                                                          \
		"reason", "TEXT", "why; goes into the audit log", NULL                             \
	}

#define SPAN                                                                                       \
	{ "from", "DURATION", "since the beginning; default 0s", NULL },                           \
	{                                                                                          \
		"to", "DURATION", "since the beginning; default: to the end", NULL                 \
	}

#define TONES                                                                                      \
	{                                                                                          \
		"tones", "WHAT", "mask (default), or keep: key presses that a rule masks, too",    \
			"mask keep"                                                                \
	}

#define SEARCH_LIST                                                                                \
	{ "since", "TIME", "started at or after", NULL },                                          \
		{ "until", "TIME", "started before", NULL },                                       \
		{ "number", "TEXT", "caller or called; 4930* is a prefix, *4711 a suffix", NULL }, \
		{ "agent", "AGENT", "the agent of the time of the call", NULL },                   \
		{ "team", "NAME", "the agent's team at that time", NULL },                         \
		{ "tag", "TAG...", "has all these tags", NULL },                                   \
		{ "fact", "KEY=VALUE...", "has this fact; KEY:integer=5 for typed ones", NULL },   \
		{ "text", "WORDS", "all these words in notes, facts, tags", NULL },                \
		{ "min-duration", "DURATION", "lasted at least", NULL },                           \
		{ "max-duration", "DURATION", "lasted at most", NULL },                            \
		{ "site", "NAME", "captured at this site", NULL },                                 \
		{ "state", "STATE", "only these", "capturing sealed lost erased" },                \
		{ "call-id", "TEXT", "SIP Call-ID", NULL },                                        \
		{ "call", "CALL", "all legs of this call, as recording show names it", NULL },     \
		{ "limit", "N", "at most so many; default 50", NULL },                             \
	{                                                                                          \
		"cursor", "TEXT", "go on where a page ended", NULL                                 \
	}

#define SEARCH_OPTIONS OPTIONS(SEARCH_LIST)

#define IMPORT_DETAILS                                                                             \
	"A folder is taken with all that is in it. WAV (PCM of 8 and 16 bits, G.711; one or two "  \
	"channels: the left one is the caller) and MP3 become a recording that plays; other "      \
	"audio "                                                                                   \
	"(FLAC, Ogg, MP4, AMR, AIFF, AU, ASF) is kept as it is; pcap and pcapng go through the "   \
	"recorder's engine, with the node's rules. Each tape is opened again and compared before " \
	"it counts; recording export --format original gives an audio file back, byte for byte. "  \
	"The same file (by its SHA-256) makes no second recording. What is known of a file "       \
	"stands "                                                                                  \
	"in FILE.json or NAME.json beside it, or in --metadata: {call, start, from, to, agent, "   \
	"site, direction, facts: {}, tags: []}; without a start it is the file's time. "           \
	"--remove-plain removes a file and its metadata when --ack is reached, not before, and a " \
	"capture only if no packet of it was left out. Exits 6 when something was not imported, "  \
	"not acknowledged in time, or not removed. Role: importer"

#define IMPORT_OPTIONS                                                                             \
	OPTIONS({ "metadata", "FILE", "what is known of the one file that is given", NULL },       \
		{ "ack", "WORD",                                                                   \
		  "wait until it is: committed (default; key and entry at a majority), copies:N "  \
		  "(verified at N nodes), protected (at two sites; default of --remove-plain), "   \
		  "archived (read back)",                                                          \
		  "committed copies:2 protected archived" },                                       \
		{ "wait", "DURATION", "so long for --ack, each file; default 2m", NULL },          \
		{ "remove-plain", NULL, "remove each file when --ack is reached", NULL }, REASON)

#define WAIT                                                                                       \
	{                                                                                          \
		"wait", "DURATION", "wait so long for it to be done; then exit 6", NULL            \
	}
#define NO_WAIT                                                                                    \
	{                                                                                          \
		"no-wait", NULL, "do not wait: it goes on by itself", NULL                         \
	}
#define FORCE                                                                                      \
	{                                                                                          \
		"force", NULL, "though the quorum may be lost with it; needs --confirm", NULL      \
	}
#define MEMBER                                                                                     \
	{                                                                                          \
		"node", "NODE...", "this member, by its name; with a port: whom to ask", NULL      \
	}
#define CONFIRM                                                                                    \
	{                                                                                          \
		"confirm", "CLUSTER", "the cluster's name, typed: yes, this one", NULL             \
	}

const struct et_cli_option et_cli_globals[] = {
	{ "cluster", "NAME", "expect this cluster and refuse another (also $EVERTAPE_CLUSTER)",
	  NULL },
	{ "node", "ADDRESS:PORT", "ask this node over HTTPS instead of the local socket", NULL },
	{ "socket", "PATH", "Unix socket of the local node (also $EVERTAPE_SOCKET)", NULL },
	{ "token-file", "FILE", "API token for --node; the file must be private (0600)", NULL },
	{ "ca", "FILE", "PEM bundle that --node's certificate must chain to, with its name", NULL },
	{ "cluster-ca", "FILE", "PEM of the cluster's CA: any of its nodes is trusted", NULL },
	{ "pin", "SHA256", "expect this public key at --node: sha256//BASE64", NULL },
	{ "output", "FORMAT", "-o: table, wide, json, ndjson, csv", "table wide json ndjson csv" },
	{ "timeout", "DURATION", "give up after this long; default 15s", NULL },
	{ "no-color", NULL, "no colours (also $NO_COLOR)", NULL },
	{ "quiet", NULL, "-q: no notes on standard error", NULL },
	{ "verbose", NULL, "-v: say what is asked of whom", NULL },
	{ "help", NULL, "-h: this help", NULL },
	{ NULL, NULL, NULL, NULL },
};

const struct et_cli_command et_cli_commands[] = {
	{ .path = "status",
	  .arguments = "",
	  .summary = "the whole cluster at a glance; exits 6 if anything is not well",
	  .example = "evertape status --watch",
	  .options = OPTIONS({ "watch", NULL, "again every two seconds, until interrupted", NULL }),
	  .run = et_cli_status },
	{ .path = "doctor",
	  .arguments = "",
	  .summary = "check this node and the cluster, each finding with the next command",
	  .example = "evertape doctor --deep",
	  .options = OPTIONS(
		  { "deep", NULL, "also verify the audit chain and compare state digests", NULL },
		  { "rebuild-index", NULL,
		    "instead: make this node's search index anew; status tells how far it is",
		    NULL }),
	  .run = et_cli_doctor },
	{ .path = "events",
	  .arguments = "",
	  .summary = "what the cluster tells: health codes that stand, come and go, and changes",
	  .details =
		  "Times are those of this machine when it was seen. Changes are what was applied "
		  "to the catalogue, as this node keeps them since its start (8192 at most). "
		  "With --follow one line each, or one JSON object with -o json or ndjson.",
	  .example = "evertape events --follow --kind health",
	  .options = OPTIONS({ "follow", NULL, "go on until interrupted", NULL },
			     { "kind", "KIND", "only these", "health change" },
			     { "after", "INDEX", "also the changes after this log index", NULL }),
	  .run = et_cli_events },
	{ .path = "metrics",
	  .arguments = "",
	  .summary = "counters and gauges of the node that answers, in Prometheus' text format",
	  .example = "evertape metrics | grep evertape_site_lag_seconds",
	  .run = et_cli_metrics },
	{ .path = "explain",
	  .arguments = "[CODE]",
	  .max_args = 1,
	  .summary = "what a health or error code means, and what to do; without CODE, all of them",
	  .example = "evertape explain SITE_LAG",
	  .run = et_cli_explain },
	{ .path = "version",
	  .arguments = "",
	  .summary = "version of this program, and of the node if it answers",
	  .example = "evertape version",
	  .run = et_cli_version },
	{ .path = "completion",
	  .arguments = "SHELL",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "completion for bash, zsh or fish",
	  .example = "evertape completion bash > /etc/bash_completion.d/evertape",
	  .run = et_cli_completion_cmd },
	{ .path = "man",
	  .arguments = "[PAGE]",
	  .max_args = 1,
	  .summary = "a manual page as roff: evertape (default) or evertape.yaml",
	  .example = "evertape man | man -l -",
	  .run = et_cli_man_cmd },
	{ .path = "cluster init",
	  .arguments = "",
	  .summary = "make a new cluster of this one node",
	  .details =
		  "Makes the keys, the cluster CA and the first key version. Prints the escrow "
		  "shares "
		  "and the first API token once: they are stored nowhere. The name is that of the "
		  "node's configuration.",
	  .example = "evertape cluster init --escrow 3/5",
	  .options =
		  OPTIONS({ "escrow", "K/N", "K of N shares open the escrow; default 3/5", NULL }),
	  .run = et_cli_cluster_init },
	{ .path = "cluster show",
	  .arguments = "",
	  .summary = "name, identity, schema, time and quorum of the cluster",
	  .example = "evertape cluster show -o json",
	  .run = et_cli_cluster_show },
	{ .path = "cluster backup",
	  .arguments = "",
	  .summary = "write a backup of the catalogue: encrypted, signed, checked",
	  .details = "A vault node, or the escrow shares, open it. It holds no media. The file is "
		     "there "
		     "only when all of it is durable and was verified.",
	  .example = "evertape cluster backup --out /backup/",
	  .options = OPTIONS({ "out", "PATH", "file, or existing folder (needed)", NULL }),
	  .run = et_cli_cluster_backup },
	{ .path = "cluster backup verify",
	  .arguments = "FILE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "check a backup's hash and signature, without a node or a key; exits 9 if "
		     "damaged",
	  .example = "evertape cluster backup verify /backup/acme-voice-00000000000000004711.evbk",
	  .run = et_cli_backup_verify },
	{ .path = "cluster backup list",
	  .arguments = "FOLDER",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "backups and logs in a folder, each checked; exits 9 if one is damaged",
	  .example = "evertape cluster backup list /backup",
	  .run = et_cli_backup_list },
	{ .path = "cluster restore",
	  .arguments = "FILE|FOLDER",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "make a new one-node epoch of the cluster from a backup, on a stopped node",
	  .details =
		  "The node's state folder must hold no catalogue and no identity. Keys come from "
		  "this "
		  "machine (a vault node's state/keys and root) or from escrow shares. Everything "
		  "that "
		  "the ledgers of erasures know is erased again: those of the archive targets (of "
		  "the backup's own policy), of this node, and of --ledger; without one that "
		  "reaches the backup it is refused. All other nodes are removed: they join again, "
		  "with their "
		  "media folders as they are.",
	  .example = "evertape cluster restore FILE --confirm acme-voice",
	  .options = OPTIONS(
		  { "confirm", "CLUSTER", "the cluster's name (needed)", NULL },
		  { "config", "FILE",
		    "configuration of the node; default "
		    "/etc/evertape/evertape.yaml",
		    NULL },
		  { "at", "POINT",
		    "of a folder: log index, or time (RFC 3339), to go to; default: as "
		    "far as the logs go",
		    NULL },
		  { "shares", "FILE", "escrow shares, one a line; - for standard input", NULL },
		  { "ledger", "PATH...", "where else to look for ledgers of erasures (*.evl)",
		    NULL },
		  { "accept-missing-erasures", NULL,
		    "all ledgers are lost: go on, though what was erased may come back", NULL }),
	  .run = et_cli_cluster_restore },
	{ .path = "cluster upgrade plan",
	  .arguments = "",
	  .summary = "schemas of the cluster and its members; exits 7 when it can be raised",
	  .details = "Exits 6 when a member's older build keeps the others back.",
	  .example = "evertape cluster upgrade plan",
	  .run = et_cli_upgrade_plan },
	{ .path = "cluster upgrade apply",
	  .arguments = "",
	  .summary = "raise the cluster's schema to what all members understand",
	  .details =
		  "There is no way back: older builds stop, and do not start any more. Until then "
		  "a member may go back to the older build.",
	  .example = "evertape cluster upgrade apply --reason 'all nodes run 0.2'",
	  .options = OPTIONS(REASON),
	  .run = et_cli_upgrade_apply,
	  .destructive = true },
	{ .path = "node list",
	  .arguments = "",
	  .summary = "members with their role, state and health",
	  .example = "evertape node list -o wide",
	  .run = et_cli_node_list },
	{ .path = "node token",
	  .arguments = "",
	  .summary = "make a join token for a new node; it is shown once",
	  .example = "evertape node token --site brq --role voter --role vault --role capture",
	  .options = OPTIONS({ "site", "NAME", "site of the new node (needed)", NULL },
			     { "role", "ROLE...",
			       "voter, standby, spare, witness, vault, capture, api; default: "
			       "voter, capture, api",
			       "voter standby spare witness vault capture api" },
			     { "uses", "N", "how many nodes may join with it; default 1", NULL },
			     { "ttl", "DURATION", "valid for so long; default 1h", NULL }, REASON),
	  .run = et_cli_node_token },
	{ .path = "node join",
	  .arguments = "TOKEN [ADDRESS]",
	  .min_args = 1,
	  .max_args = 2,
	  .summary = "make this node a member",
	  .details =
		  "TOKEN is a file that holds the token, - for standard input, or the token itself "
		  "(which other users of this machine can then see while the command runs). "
		  "ADDRESS "
		  "is the cluster port of any member; without it, those in the token.",
	  .example = "evertape node join - 10.1.0.11:7400 < token",
	  .run = et_cli_node_join },
	{ .path = "node show",
	  .arguments = "NODE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "all that is known of a member, and the change under way",
	  .example = "evertape node show prg-2",
	  .run = et_cli_node_show },
	{ .path = "node promote",
	  .arguments = "NODE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "make a spare or standby a voter; or give a node another role",
	  .details = "Waits until Raft has followed: a spare becomes standby, catches up, and then "
		     "votes. One change at a time; safe to repeat. NODE is a name or a number.",
	  .example = "evertape node promote brq-2 --reason CHG-1042",
	  .options = OPTIONS(
		  { "to", "ROLE", "voter (default) or standby", "voter standby" },
		  { "role", "ROLE...", "also, or only, this other role", "vault capture api" },
		  REASON, WAIT, NO_WAIT),
	  .run = et_cli_node_promote },
	{ .path = "node demote",
	  .arguments = "NODE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "take a node's vote, or another role, away",
	  .details =
		  "Refused (exit 8) when the voters left that can be reached would be no majority; "
		  "--force and the cluster's name typed go on all the same. The last voter, and "
		  "the last vault that holds a living key, are never demoted. Safe to repeat.",
	  .example = "evertape node demote brq-2 --to spare --reason CHG-1042",
	  .options = OPTIONS({ "to", "ROLE", "standby (default) or spare", "standby spare" },
			     { "role", "ROLE...", "also, or only, without this other role",
			       "vault capture api" },
			     REASON, FORCE, CONFIRM, WAIT, NO_WAIT),
	  .run = et_cli_node_demote,
	  .destructive = true },
	{ .path = "node drain",
	  .arguments = "NODE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "move off a node what only it holds, so that it can be removed",
	  .details =
		  "It takes no new copies; the others copy what they lack, by policy. It goes on "
		  "voting and serving. A node that records needs --stop-capture: live calls end "
		  "as they would, new ones are not recorded there. Waits until the node is empty "
		  "(exit 6 when it is not by then). Safe to repeat.",
	  .example = "evertape node drain prg-2 --stop-capture --reason CHG-1042",
	  .options = OPTIONS({ "stop-capture", NULL, "record no new calls on it", NULL }, REASON,
			     WAIT, NO_WAIT),
	  .run = et_cli_node_drain,
	  .destructive = true },
	{ .path = "node undrain",
	  .arguments = "NODE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "take a node back that was draining; it records again",
	  .example = "evertape node undrain prg-2",
	  .options = OPTIONS(REASON),
	  .run = et_cli_node_undrain },
	{ .path = "node remove",
	  .arguments = "NODE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "take a node out of the cluster, for ever: its number is never used again",
	  .details =
		  "Refused (exit 8) unless it was drained. --reason dead (it does not answer, and "
		  "will not come back) and --reason stolen (it is also revoked, and cut "
		  "everywhere) "
		  "need no drain: they say what is lost with it, and want the cluster's name "
		  "typed. "
		  "A leader hands over first. Any member can be asked. Safe to repeat.",
	  .example =
		  "evertape node remove prg-2 --reason 'dead: board failed' --confirm acme-voice",
	  .options = OPTIONS(REASON, FORCE, CONFIRM, WAIT, NO_WAIT),
	  .run = et_cli_node_remove,
	  .destructive = true },
	{ .path = "raft peers",
	  .arguments = "",
	  .summary = "Raft's members as the leader sees them: role, log, clock, last message",
	  .example = "evertape raft peers -o wide",
	  .run = et_cli_raft_peers },
	{ .path = "raft transfer",
	  .arguments = "[NODE]",
	  .max_args = 1,
	  .summary = "hand leadership to NODE, or to any other voter",
	  .example = "evertape raft transfer prg-1",
	  .options = OPTIONS(REASON),
	  .run = et_cli_raft_transfer },
	{ .path = "raft snapshot",
	  .arguments = "",
	  .summary = "let the node that is asked take a snapshot now",
	  .example = "evertape raft snapshot",
	  .run = et_cli_raft_snapshot },
	{ .path = "raft recover",
	  .arguments = "",
	  .summary = "the majority is lost for ever: let this one node go on alone",
	  .details = "Offline, on the survivor with the longest log, its daemon stopped. What was "
		     "committed "
		     "and only the lost nodes had is lost. Without --confirm it says what it would "
		     "do, and "
		     "changes nothing (exit 8). Afterwards it says what to do on the other nodes.",
	  .example = "evertape raft recover --state /var/lib/evertape/state --confirm acme-voice",
	  .options = OPTIONS({ "state", "DIR", "data.state of this node", NULL }, CONFIRM),
	  .run = et_cli_raft_recover },
	{ .path = "site list",
	  .arguments = "",
	  .summary = "sites with their nodes, recordings and lag",
	  .example = "evertape site list",
	  .run = et_cli_site_list },
	{ .path = "site set",
	  .arguments = "NAME",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "say what a site is; makes it when there is none of that name",
	  .example = "evertape site set brq --description 'Brno, server room 2' --reason CHG-1042",
	  .options = OPTIONS({ "description", "TEXT", "what people read (needed)", NULL }, REASON),
	  .run = et_cli_site_set },
	{ .path = "site remove",
	  .arguments = "NAME",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "give a site up: refused while nodes are there, or a policy names it",
	  .details =
		  "Refused (exit 8) with all reasons: nodes that are there, segments that lie only "
		  "there, rules of the archive and the retention policy that name it. Recordings, "
		  "copies and holds keep its name; open join tokens for it are revoked. Needs a "
		  "quorum. --plan only says what would be, and exits 7 when it can be removed.",
	  .example = "evertape site remove brq --plan",
	  .options = OPTIONS(
		  { "reason", "TEXT", "why; goes to the audit log (needed without --plan)", NULL },
		  { "plan", NULL, "only say what keeps it", NULL }),
	  .run = et_cli_site_remove },
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
			  { "keylog", "FILE", "TLS key log: opens SIP over TLS", NULL },
			  { "srtp-keys", "FILE", "TSV of ssrc, suite, base64 key and salt", NULL },
			  { "sip-port", "PORT...", "signalling ports; default 5060", NULL },
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
			     { "filter", "BPF", "as the recorder's own", NULL },
			     { "sip-port", "PORT...", "signalling ports; default 5060", NULL }),
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
		  OPTIONS({ "config", "FILE", "default: /etc/evertape/evertape.yaml", NULL },
			  { "time", "TIME", "when the call begins; default: now", NULL },
			  { "header", "NAME=VALUE...", "a header of the INVITE", NULL },
			  { "call-id", "TEXT", "SIP Call-ID: for rules that take a share", NULL },
			  { "media-only", NULL, "a call without signalling", NULL }),
	  .run = et_cli_capture_explain },
#endif
	{ .path = "recording list",
	  .arguments = "",
	  .summary = "recordings, newest first",
	  .details =
		  "TIME is RFC 3339 (2026-11-22T09:00:00Z), a date, or an age such as 2h. All "
		  "conditions must hold. --agent and --team are those of the time of the call. A "
		  "note says when the answer is not complete; the exit code is 6 then.",
	  .example = "evertape recording list --since 2h --number '+4930*' --tag complaint",
	  .options = SEARCH_OPTIONS,
	  .run = et_cli_recording_list },
	{ .path = "recording search",
	  .arguments = "WORD...",
	  .min_args = 1,
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary = "recordings whose notes, facts, tags or numbers hold all these words",
	  .details = "A word is compared in lower case and as a whole. The options are those of "
		     "recording list.",
	  .example = "evertape recording search refund iban --since 2026-11-01 --team claims",
	  .options = SEARCH_OPTIONS,
	  .run = et_cli_recording_list },
	{ .path = "recording show",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "all that is known of a recording",
	  .example = "evertape recording show 01a201f2-afb3-7c1e-8000-0123456789ab",
	  .run = et_cli_recording_show },
	{ .path = "recording play",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "hear a recording; writes WAV when standard output is no terminal",
	  .details = "Leaves an event in the audit log first. On a terminal aplay (alsa-utils) "
		     "plays it. --from and --to: only that span, without reading the rest. Key "
		     "presses in the audio are silence where the recording's rule says `tones: "
		     "mask`; to hear them takes --tones keep, a reason and the role unmasker.",
	  .example = "evertape recording play ID --from 50m --to 51m30s > call.wav",
	  .options = OPTIONS(SPAN, TONES, REASON),
	  .run = et_cli_recording_play },
	{ .path = "recording erase",
	  .arguments = "[ID...]",
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary = "destroy recordings' keys, for good and in every copy",
	  .details =
		  "One ID at once; more by plan. --plan with ids, - (what recording list or search "
		  "printed, on standard input; mind their --limit) or search options shows what "
		  "would go and what is "
		  "exempt, and why, and erases nothing (exit 7). --apply PLAN erases all that the "
		  "plan says, or nothing when the world has moved. Refused while a hold stands or "
		  "a retention rule keeps it, and without a quorum. Numbers, notes, facts and "
		  "addresses go with the keys; what media is left anywhere can be opened by "
		  "nobody; a restored backup erases it again.",
	  .example = "evertape recording erase --plan --number '+4930123*'",
	  .options = OPTIONS(
		  { "confirm", "CLUSTER", "the cluster's name (needed to erase)", NULL },
		  { "plan", NULL, "only show what would go, under a plan's id", NULL },
		  { "apply", "PLAN", "erase what this plan says", NULL },
		  { "reason", "TEXT", "why; goes into the audit log (needed to erase)", NULL },
		  SEARCH_LIST),
	  .run = et_cli_recording_erase },
	{ .path = "recording certificate",
	  .arguments = "PLAN|ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "a signed certificate of an erasure, with its audit events",
	  .details = "Of an applied plan, or of one erased recording. It names what was erased, "
		     "what was exempt and why, and which keys are destroyed. verify-proof checks "
		     "it without a cluster.",
	  .example = "evertape recording certificate PLAN --out erased-4711.json",
	  .options = OPTIONS({ "out", "FILE", "where to (needed)", NULL }),
	  .run = et_cli_recording_certificate },
	{ .path = "recording redact",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "leave a span of a recording out, for good and in every copy",
	  .details =
		  "The segments of the span are made anew without it: no packet that came or plays "
		  "in "
		  "it, no DTMF, no body of a SIP INFO. Playback has silence there. The old keys "
		  "are "
		  "destroyed when the new segments have the copies that the old ones had. Refused "
		  "while a hold stands, and without a quorum; `recording show` says when it is "
		  "done.",
	  .example = "evertape recording redact ID --from 190s --to 222s --reason 'card number' "
		     "--confirm acme-voice",
	  .options = OPTIONS(
		  { "from", "DURATION", "since the beginning (needed)", NULL },
		  { "to", "DURATION", "since the beginning (needed)", NULL },
		  { "plan", NULL, "only say what it touches; exits 7", NULL },
		  { "confirm", "CLUSTER", "the cluster's name (needed without --plan)", NULL },
		  { "reason", "TEXT", "why (needed without --plan); it is kept in the audit",
		    NULL }),
	  .run = et_cli_recording_redact },
	{ .path = "recording join",
	  .arguments = "ID ID...",
	  .min_args = 2,
	  .max_args = 16,
	  .summary = "these recordings are legs of one call",
	  .details =
		  "Joins what the rules of `recording: join` missed. Their calls, with all legs "
		  "of them, become one: that of the first. What is told later does not undo it, "
		  "and a leg that a rule joins with one of them later comes along. `recording "
		  "show` says who joined it and why, `recording list --call` finds all; they are "
		  "found by the call they came from, too. Facts, notes, holds and erasure are "
		  "those of each recording, as before.",
	  .example = "evertape recording join ID1 ID2 --reason 'case 118: the SBC sent no "
		     "Session-ID'",
	  .options = OPTIONS({ "reason", "TEXT", "why (needed); it is kept in the audit", NULL }),
	  .run = et_cli_recording_join },
	{ .path = "recording split",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "this recording is no leg of its call: it gets one of its own",
	  .details = "Takes apart what a rule, or a `recording join`, joined wrongly. The other "
		     "legs stay together.",
	  .example = "evertape recording split ID --reason 'two callers behind one header'",
	  .options = OPTIONS({ "reason", "TEXT", "why (needed); it is kept in the audit", NULL }),
	  .run = et_cli_recording_split },
	{ .path = "recording keys add",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "keys of SRTP for a recording that is over",
	  .details =
		  "They are tried on the first packets of the streams that are closed. What fits "
		  "is kept in a small segment of its own, with its own key, and goes wherever the "
		  "recording goes: to its sites, into the archive, into newer generations, and "
		  "with its erasure. A key that fits nothing is refused and named by its line; "
		  "some refused, some accepted: exits 6. A key log is filtered here: only secrets "
		  "of DTLS 1.2 and older go to the node. `recording show` says `keys`: missing, "
		  "partly, complete.",
	  .example = "evertape recording keys add ID --keylog sbc.keylog --reason 'case 118'",
	  .options = OPTIONS(
		  { "keylog", "FILE", "lines as of SSLKEYLOGFILE, of the handshake's time", NULL },
		  { "srtp-keys", "FILE", "a table: ssrc, suite, base64 key and salt, party", NULL },
		  { "reason", "TEXT", "why (needed); it is kept in the audit", NULL }),
	  .run = et_cli_recording_keys_add },
	{ .path = "recording import",
	  .arguments = "PATH...",
	  .min_args = 1,
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary = "plain audio and capture files into encrypted tapes of the cluster",
	  .details = IMPORT_DETAILS,
	  .example = "evertape recording import /srv/old-recorder --ack archived --remove-plain "
		     "--reason CHG-9",
	  .options = IMPORT_OPTIONS,
	  .run = et_cli_recording_import },
	{ .path = "key encrypt",
	  .arguments = "PATH...",
	  .min_args = 1,
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary = "the same as recording import: plain files become encrypted recordings",
	  .details = IMPORT_DETAILS,
	  .example = "evertape key encrypt call.wav --metadata call.json --remove-plain",
	  .options = IMPORT_OPTIONS,
	  .run = et_cli_recording_import },
	{ .path = "recording export",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "write a recording to a file or folder",
	  .details =
		  "wav: stereo, one party per channel. original: the payloads exactly as received, "
		  "with a manifest of hashes, always whole. Leaves an event in the audit log "
		  "first. Exits 6 when "
		  "parts are missing; the note says which. Where the recording's rule says "
		  "`tones: mask`, key presses are silence in WAV, and an original needs --tones "
		  "keep, a reason and the role unmasker.",
	  .example = "evertape recording export ID --format original --out case-118/ --reason "
		     "case-118",
	  .options = OPTIONS(
		  { "format", "FORMAT", "wav (default) or original", "wav original" },
		  { "out", "PATH", "file (wav) or folder (original); - for standard output", NULL },
		  SPAN, TONES, REASON),
	  .run = et_cli_recording_export },
	{ .path = "recording told",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "facts, tags and notes that were told of a recording, call or SIP Call-ID",
	  .details =
		  "ID is that of a recording, call:ID, or sip:CALL-ID. recording show shows what "
		  "counts for a recording; --history also shows what was replaced or withdrawn.",
	  .example = "evertape recording told 01a201f2-afb3-7c1e-8000-0123456789ab --history",
	  .options = OPTIONS({ "history", NULL, "earlier values and versions too", NULL }),
	  .run = et_cli_recording_told },
	{ .path = "recording fact",
	  .arguments = "ID KEY=VALUE...",
	  .min_args = 2,
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary = "tell facts about a recording, call:ID or sip:CALL-ID",
	  .details =
		  "VALUE is text; KEY:integer=, KEY:bool=, KEY:time= and KEY:phone= are typed. The "
		  "last value told of a key counts, earlier ones stay in the history. It may be "
		  "told "
		  "before the call is known (by SIP Call-ID), and after it was archived. Needs no "
		  "majority: until there is one it waits in this node's journal. Card numbers are "
		  "refused.",
	  .example = "evertape recording fact sip:a84b4c76e66710@pbx order=4711 amount:integer=120",
	  .options = OPTIONS({ "set", "SET", "external (default), basic, user, agent",
			       "external basic user agent" },
			     { "source", "NAME", "who knows it: crm, pbx-prg", NULL },
			     { "valid-from", "TIME", "holds for calls from then on", NULL },
			     { "valid-to", "TIME", "holds for calls until then", NULL },
			     { "withdraw", NULL, "the keys named have no value any more", NULL },
			     REASON),
	  .run = et_cli_recording_fact },
	{ .path = "recording tag",
	  .arguments = "ID [TAG...]",
	  .min_args = 1,
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary = "set or clear tags of a recording, call:ID or sip:CALL-ID",
	  .example = "evertape recording tag 01a201f2-afb3-7c1e-8000-0123456789ab complaint "
		     "--clear new",
	  .options = OPTIONS({ "clear", "TAG...", "take these off", NULL }, REASON),
	  .run = et_cli_recording_tag },
	{ .path = "recording note",
	  .arguments = "ID TEXT...",
	  .min_args = 1,
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary = "add a note to a recording, call:ID or sip:CALL-ID; prints the note's id",
	  .details = "With --id it is a new version of that note; earlier versions stay in the "
		     "history.",
	  .example = "evertape recording note 01a201f2-afb3-7c1e-8000-0123456789ab 'asks for a "
		     "refund'",
	  .options = OPTIONS({ "at", "TIME", "the moment in the call that it is about", NULL },
			     { "id", "NOTE", "edit this note", NULL },
			     { "withdraw", NULL, "take the note back", NULL }, REASON),
	  .run = et_cli_recording_note },
	{ .path = "agent list",
	  .arguments = "[AGENT]",
	  .max_args = 1,
	  .summary = "agents with their teams and numbers, every version with its time of validity",
	  .example = "evertape agent list --team claims",
	  .options = OPTIONS({ "team", "NAME", "only versions in this team", NULL }),
	  .run = et_cli_agent_list },
	{ .path = "agent at",
	  .arguments = "NUMBER",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "who used a number, now or at a time",
	  .example = "evertape agent at 4711 --time 2026-03-01",
	  .options = OPTIONS({ "time", "TIME", "then; default: now", NULL }),
	  .run = et_cli_agent_at },
	{ .path = "agent set",
	  .arguments = "AGENT",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "tell who an agent is, from a time on",
	  .details = "Each telling is a version that ends the one before: calls of last year keep "
		     "the team and numbers of last year.",
	  .example = "evertape agent set a042 --name 'Jana Novak' --team claims --number 4711",
	  .options = OPTIONS(
		  { "name", "TEXT", "of the person", NULL }, { "team", "NAME", "", NULL },
		  { "number", "NUMBER...", "extensions and numbers, as recordings show them",
		    NULL },
		  { "from", "TIME", "valid from; default: now", NULL },
		  { "until", "TIME", "valid until; default: the next version", NULL },
		  { "withdraw", NULL, "the version of --from was told by mistake", NULL }, REASON),
	  .run = et_cli_agent_set },
	{ .path = "recording verify",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "check this node's copies byte for byte; exits 9 when one is bad",
	  .details = "No key is needed: all is proved by ciphertext, hashes and signature. With "
		     "--ciphertext ID may be the file of a tape: it is checked here, without a "
		     "cluster; exits 6 when it is not sealed (open, or torn by a crash).",
	  .example = "evertape recording verify --ciphertext 01a201f2-g1-s1.evtm",
	  .options = OPTIONS({ "ciphertext", NULL, "of a file, too", NULL },
			     { "root", "HEX", "of the file: must be this Merkle root", NULL },
			     { "signer", "HEX", "of the file: must be signed by this key", NULL }),
	  .run = et_cli_recording_verify },
	{ .path = "recording keep",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "keep a call that its rule records on demand",
	  .details =
		  "ID is that of the call, as capture list of its recorder shows it (ON DEMAND: "
		  "waiting), or sip:CALL-ID. While the call runs, or as long after its end as its "
		  "rule's keep-for says; it is a recording then, with what its ring still has and "
		  "all "
		  "that comes. What was before is its gap before-ring. Ask the node that captures "
		  "the "
		  "call: nobody else knows of it; the answer names the other recorders. It is "
		  "synced "
		  "on that node's disk when this returns. Needs no quorum. A twin, and other legs, "
		  "are "
		  "kept by requests of their own.",
	  .example = "evertape recording keep sip:a84b4c76e66710@pbx --reason \"complaint\"",
	  .options = OPTIONS(REASON),
	  .destructive = true,
	  .run = et_cli_recording_keep },
	{ .path = "recording pause",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "pause a live recording: nothing of the media is written until it is resumed",
	  .details =
		  "Ask the node that records it; another one says which that is. It is in force "
		  "and saved on that node's disk when this returns, so a recorder that is killed "
		  "starts again with it. Needs no quorum. The pause is a gap of the recording, "
		  "silence in an export, and an event of the audit log. It ends by itself after "
		  "recording.max-pause. Twins and other legs are recordings of their own.",
	  .example = "evertape recording pause ID --reason \"card number\"",
	  .options = OPTIONS({ "max", "DURATION", "go on by itself sooner than max-pause", NULL },
			     REASON),
	  .destructive = true,
	  .run = et_cli_recording_pause },
	{ .path = "recording resume",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "go on with a paused recording",
	  .example = "evertape recording resume ID --reason \"card number taken\"",
	  .options = OPTIONS(REASON),
	  .destructive = true,
	  .run = et_cli_recording_resume },
	{ .path = "recording where",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "where the copies of a recording are",
	  .example = "evertape recording where ID",
	  .run = et_cli_recording_where },
	{ .path = "recording why",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary =
		  "why it is recorded, held, kept, erased, archived, and where it is; with sources",
	  .example = "evertape recording why ID",
	  .run = et_cli_recording_why },
	{ .path = "hold add",
	  .arguments = "NAME [ID...]",
	  .min_args = 1,
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary = "a legal hold: what it covers is not erased until it is released",
	  .details =
		  "Of recordings (ids, --recording, or - for what recording list or search "
		  "printed), or of all that fits the conditions, now and whatever comes later. "
		  "NAME is that of the matter; several holds may have it. Who was ever told to be "
		  "the agent at the time counts for --agent. Needs a quorum; exits 6 when some "
		  "recordings could not be held.",
	  .example = "evertape hold add case-118 --number '+4930123*' --since 2026-01-01 --reason "
		     "'court order 7'",
	  .options = OPTIONS(
		  REASON, { "recording", "ID...", "these recordings", NULL },
		  { "number", "TEXT", "caller or called; 4930* is a prefix, *4711 a suffix", NULL },
		  { "agent", "AGENT", "whoever was this agent then", NULL },
		  { "site", "NAME", "captured at this site", NULL },
		  { "call-id", "TEXT", "SIP Call-ID", NULL },
		  { "since", "TIME", "started at or after", NULL },
		  { "until", "TIME", "started before", NULL }),
	  .run = et_cli_hold_add,
	  .destructive = true },
	{ .path = "hold list",
	  .arguments = "",
	  .summary = "holds that stand, with who placed them and why",
	  .example = "evertape hold list --all",
	  .options = OPTIONS({ "all", NULL, "released ones, too", NULL }),
	  .run = et_cli_hold_list },
	{ .path = "hold show",
	  .arguments = "NAME",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "all holds of a name, released ones too",
	  .example = "evertape hold show case-118",
	  .run = et_cli_hold_show },
	{ .path = "hold release",
	  .arguments = "NAME|ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "release all holds of a name, or one by its id; erases nothing by itself",
	  .details = "What retention has to erase goes afterwards. Needs the role admin and a "
		     "quorum.",
	  .example = "evertape hold release case-118 --reason 'judgment of 2026-11-02'",
	  .options = OPTIONS(REASON),
	  .run = et_cli_hold_release,
	  .destructive = true },
	{ .path = "retention policy validate",
	  .arguments = "FILE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "check a retention policy, without a cluster",
	  .example = "evertape retention policy validate retention.yaml",
	  .run = et_cli_retention_validate },
	{ .path = "retention policy apply",
	  .arguments = "FILE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "put a retention policy in force: what must stay, and what goes when",
	  .example = "evertape retention policy apply retention.yaml --reason CHG-1042",
	  .options = OPTIONS(REASON, { "expect", "REVISION",
				       "refuse when the revision in force is another", NULL }),
	  .run = et_cli_retention_apply,
	  .destructive = true },
	{ .path = "retention policy show",
	  .arguments = "",
	  .summary = "the retention policy in force, or an earlier revision",
	  .example = "evertape retention policy show",
	  .options = OPTIONS({ "revision", "N", "as it was then: retention policy list", NULL }),
	  .run = et_cli_retention_show },
	{ .path = "retention policy list",
	  .arguments = "",
	  .summary = "revisions of the retention policy: who applied which, when and why",
	  .example = "evertape retention policy list",
	  .run = et_cli_retention_list },
	{ .path = "retention plan",
	  .arguments = "",
	  .summary = "what is due to go by the cluster's time, and what is exempt and why; exits 7 "
		     "when there is anything",
	  .example = "evertape retention plan --items",
	  .options = OPTIONS({ "items", NULL, "list recordings, 1000 at most", NULL }),
	  .run = et_cli_retention_plan },
	{ .path = "retention explain",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary =
		  "what holds a recording, how long it must stay, and when it goes; with sources",
	  .details = "That part of recording why.",
	  .example = "evertape retention explain ID",
	  .run = et_cli_retention_explain },
	{ .path = "replication lag",
	  .arguments = "",
	  .summary = "what each site still lacks, and how fast it comes",
	  .example = "evertape replication lag",
	  .run = et_cli_replication_lag },
	{ .path = "replication queue",
	  .arguments = "",
	  .summary = "what waits to be copied, to where, since when, and why it does not move",
	  .details =
		  "WHY: moving; limit (under way, its rate is used up for the moment); turn "
		  "(others go "
		  "first); paused, window (by a limit; CHANGES says until when); disk-full (at "
		  "NODE); "
		  "no-route (nodes hold it, none answers); wrong-hash (what came is not what was "
		  "recorded); no-copy (no node holds a good one: replication repair); failed; "
		  "commit "
		  "(it is there and verified; the catalogue does not know yet, for want of a "
		  "quorum). "
		  "--items lists the oldest 20 of each node. Exit 6 when a node does not answer.",
	  .example = "evertape replication queue --site brq --items",
	  .options =
		  OPTIONS({ "site", "NAME", "only what goes to this site", NULL },
			  { "on", "NODE", "only what this node is to fetch", NULL },
			  { "items", NULL, "segments, the oldest first, in place of sums", NULL }),
	  .run = et_cli_replication_queue },
	{ .path = "replication limit",
	  .arguments = "[RATE]",
	  .max_args = 1,
	  .summary = "how fast a site may be filled by the others, by class and time of day",
	  .details =
		  "RATE is bytes a second for the site as a whole (20MiB), none, or pause. Of "
		  "several "
		  "limits the most particular one that holds now decides: class and window, class, "
		  "window, neither; when none does, limits.sync-rate of each node's configuration. "
		  "Without --class it is for new, repair and rebalance; tail and replay (somebody "
		  "listens) then never wait, the others make room for them. In force on every node "
		  "within seconds; exit 6 when one does not answer. Needs the role admin and a "
		  "quorum.",
	  .example = "evertape replication limit --to brq 2MiB --window 'mon-fri 08:00-18:00 "
		     "Europe/Prague' --reason CHG-7",
	  .options =
		  OPTIONS({ "to", "SITE", "the site that is filled", NULL },
			  { "class", "CLASS", "only this one", "tail replay new repair rebalance" },
			  { "window", "WINDOW", "only then: DAYS [FROM-TO] ZONE", NULL },
			  { "remove", NULL,
			    "take away the limit of exactly this site, class and window", NULL },
			  { "show", NULL, "all limits, and what decides now", NULL }, REASON),
	  .run = et_cli_replication_limit },
	{ .path = "replication scrub",
	  .arguments = "",
	  .summary = "let nodes read all their copies again and verify them; or how that goes",
	  .details =
		  "Needs no key. It begins (or gives a pass that runs another rate), goes on over "
		  "restarts, and comes by itself every scrub.every of the configuration. What is "
		  "bad "
		  "goes to quarantine on its node, is marked in the catalogue, and is fetched "
		  "anew; "
		  "nothing is deleted. --status: AT is the time of the recording that it has come "
		  "to; "
		  "exit 6 when a node does not answer, 9 when the last pass of one found bad "
		  "copies. "
		  "Beginning and ending needs the role admin and a quorum (for the audit log).",
	  .example = "evertape replication scrub --on prg-1 --rate 50MiB --reason CHG-7",
	  .options = OPTIONS(
		  { "on", "NODE", "this one; default: all that store media", NULL },
		  { "rate", "BYTES", "read a second; default: scrub.rate of each node", NULL },
		  { "stop", NULL, "end the pass that runs", NULL },
		  { "status", NULL, "only say how it goes", NULL }, REASON),
	  .run = et_cli_replication_scrub },
	{ .path = "replication repair",
	  .arguments = "[ID...]",
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary =
		  "what has fewer good copies than placement wants, and from where each can come",
	  .details =
		  "Of all recordings, or of these (- reads ids from what recording list printed). "
		  "Placement repairs by itself; --apply asks every node to try now, without the "
		  "pauses "
		  "after failures, and to take back what lies in its quarantine and verifies "
		  "again. "
		  "Exit 7 when something lacks copies, 9 when something cannot be repaired: no "
		  "node "
		  "and no archive has a good copy. With --apply: 0, 6 when a node was not reached, "
		  "or "
		  "9; that all is there again says replication queue.",
	  .example = "evertape replication repair --apply --reason 'disk of prg-1 replaced'",
	  .options =
		  OPTIONS({ "plan", NULL, "only say what is to be repaired (the default)", NULL },
			  { "apply", NULL, "repair now; needs --reason", NULL }, REASON),
	  .run = et_cli_replication_repair },
	{ .path = "archive policy validate",
	  .arguments = "FILE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "check a policy file, without a cluster",
	  .example = "evertape archive policy validate archive.yaml",
	  .run = et_cli_policy_validate },
	{ .path = "archive policy apply",
	  .arguments = "FILE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "put a policy in force; moves nothing by itself",
	  .example = "evertape archive policy apply archive.yaml --reason CHG-1042",
	  .options = OPTIONS(REASON, { "expect", "REVISION",
				       "refuse when the revision in force is another", NULL }),
	  .run = et_cli_policy_apply,
	  .destructive = true },
	{ .path = "archive policy show",
	  .arguments = "",
	  .summary = "the policy in force, or an earlier revision",
	  .example = "evertape archive policy show",
	  .options = OPTIONS({ "revision", "N", "as it was then: archive policy list", NULL }),
	  .run = et_cli_policy_show },
	{ .path = "archive policy list",
	  .arguments = "",
	  .summary = "revisions of the policy: who applied which, when and why",
	  .details = "The last 100 are kept. -o wide names the audit event of each.",
	  .example = "evertape archive policy list",
	  .run = et_cli_policy_list },
	{ .path = "archive policy diff",
	  .arguments = "[REVISION|FILE] REVISION|FILE",
	  .min_args = 1,
	  .max_args = 2,
	  .summary = "what changes between two policies, and what would move; exits 7 when they "
		     "differ",
	  .details = "With one argument: from the policy in force to that one. What would move is "
		     "what a plan would say if the second were in force now; nothing is kept.",
	  .example = "evertape archive policy diff archive.yaml",
	  .options =
		  OPTIONS({ "offline", NULL,
			    "do not ask what would move; two files then need no cluster", NULL }),
	  .run = et_cli_policy_diff },
	{ .path = "archive plan",
	  .arguments = "",
	  .summary =
		  "what the policy would do now; changes nothing; exits 7 when there is anything",
	  .example = "evertape archive plan",
	  .options = OPTIONS({ "items", NULL, "list every segment", NULL }),
	  .run = et_cli_archive_plan },
	{ .path = "archive apply",
	  .arguments = "PLAN",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "do what a plan says; refused when the world has moved since",
	  .example =
		  "evertape archive apply 01a201f2-afb3-7c1e-8000-0123456789ab --reason CHG-1042",
	  .options = OPTIONS(REASON, { "yes", NULL, "do not ask", NULL }),
	  .run = et_cli_archive_apply,
	  .destructive = true },
	{ .path = "archive run",
	  .arguments = "",
	  .summary = "plan and apply in one, until nothing is left to do",
	  .details = "Refused (exit 8) when a plan would drop local copies, unless --yes is given; "
		     "the plan is kept, and can be looked at and applied by its id.",
	  .example = "evertape archive run --reason 'nightly' --wait 2h",
	  .options = OPTIONS(
		  REASON, { "yes", NULL, "also drop local copies as the policy says", NULL },
		  { "wait", "DURATION",
		    "wait so long for the jobs; exit 6 when they are not done or failed", NULL }),
	  .run = et_cli_archive_run,
	  .destructive = true },
	{ .path = "archive status",
	  .arguments = "",
	  .summary = "jobs, backlog and targets",
	  .example = "evertape archive status",
	  .run = et_cli_archive_status },
	{ .path = "archive restore",
	  .arguments = "ID...",
	  .min_args = 1,
	  .max_args = ET_CLI_ARGS_MAX,
	  .summary = "bring archived recordings back to the disk of a node",
	  .details = "As jobs of that node; each segment is checked against the catalogue's hash "
		     "before "
		     "it counts as a copy. The archived copies stay. Playing needs no restore: "
		     "what is "
		     "archived is read from there. A rule with `local: keep` that is over lets "
		     "them go "
		     "again with the next plan. - reads ids from what recording list printed.",
	  .example = "evertape archive restore ID --site brq --reason 'case 118' --wait 10m",
	  .options =
		  OPTIONS(REASON, { "site", "NAME", "to a node there; default: this node", NULL },
			  { "recording", "ID...", "these recordings, too", NULL },
			  { "wait", "DURATION",
			    "wait so long for it; exit 6 when it is not done or failed", NULL }),
	  .run = et_cli_archive_restore,
	  .destructive = true },
	{ .path = "archive targets list",
	  .arguments = "",
	  .summary = "the targets of the policy in force: what lies there, what waits, what failed",
	  .details = "LAST SUCCESS is when any node last verified a copy there. UNREACHABLE is as "
		     "seen from the node that answers. -o wide has more.",
	  .example = "evertape archive targets list -o wide",
	  .run = et_cli_targets_list },
	{ .path = "archive targets test",
	  .arguments = "[NAME]",
	  .max_args = 1,
	  .summary = "try a target out, step by step, with a small object of its own; exits like "
		     "the step that failed",
	  .details =
		  "Credentials file, endpoint, TLS, access, bucket, clock; then an object below "
		  "test/ is put, looked at, read whole and in part, listed, and deleted; storage "
		  "class, and Object Lock where a rule locks there: a second object is locked for "
		  "5 seconds, and must resist a deletion. Nothing is left behind, or it says what. "
		  "The node that answers tries it, and the audit log says so; with --file this "
		  "machine does, and needs no cluster. Without NAME: all targets.",
	  .example = "evertape archive targets test cold --file archive.yaml",
	  .options = OPTIONS(
		  { "file", "POLICY", "the targets of this policy file, from this machine", NULL }),
	  .run = et_cli_targets_test },
	{ .path = "archive verify",
	  .arguments = "",
	  .summary = "read archived copies back and compare them; exits 9 when one is bad",
	  .example = "evertape archive verify --target cold",
	  .options = OPTIONS({ "target", "NAME", "only this target", NULL },
			     { "recording", "ID", "only this recording", NULL }),
	  .run = et_cli_archive_verify },
	{ .path = "key status",
	  .arguments = "",
	  .summary = "key versions, their state, and who can open them",
	  .details = "With -o wide: what a version waits for before it is destroyed, and which "
		     "nodes still have the key that opened their grant of it.",
	  .example = "evertape key status -o wide",
	  .run = et_cli_key_status },
	{ .path = "key rotate",
	  .arguments = "",
	  .summary = "make a new key version, and move every recording's key to it",
	  .details = "The vault nodes make it, new recordings are sealed to it at once, and older "
		     "ones follow in the background (key rewrap shows how far). The old version is "
		     "destroyed when nothing needs it any more. Media is not touched. Afterwards, "
		     "issue new escrow shares: key escrow.",
	  .example = "evertape key rotate --reason CHG-1042 --wait",
	  .options = OPTIONS(
		  REASON,
		  { "wait", NULL, "until the new version seals (not: until all is moved)", NULL }),
	  .run = et_cli_key_rotate,
	  .destructive = true },
	{ .path = "key schedule",
	  .arguments = "",
	  .summary =
		  "how often key versions rotate, how long old ones are kept, how fast recordings "
		  "follow",
	  .example = "evertape key schedule --rotate 30d --destroy-after 7d --rate 2000 --reason X",
	  .options = OPTIONS(
		  REASON, { "rotate", "DURATION", "age of the active version; off: never", NULL },
		  { "destroy-after", "DURATION",
		    "from when nothing is on an old version to its end; 0s: at once", NULL },
		  { "rate", "N", "keys of recordings moved a second", NULL }),
	  .run = et_cli_key_schedule,
	  .destructive = true },
	{ .path = "key rewrap",
	  .arguments = "",
	  .summary = "how many recordings' keys are still on old versions; they move by themselves",
	  .example = "evertape key rewrap --wait",
	  .options = OPTIONS({ "wait", NULL, "until none is; a line every 10 s", NULL }),
	  .run = et_cli_key_rewrap },
	{ .path = "key compromise",
	  .arguments = "VERSION",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "mark a key version as compromised, for good",
	  .details =
		  "Nothing is sealed to it any more. Its recordings are not rewrapped, for who has "
		  "the old key and the wrapped keys has the recordings' keys: vault nodes encrypt "
		  "their media again, and destroy the old keys when the new tapes have the copies "
		  "that the old ones had; `key status` counts what is left. The active version is "
		  "rotated first. With --plan: only count what it touches.",
	  .example = "evertape key compromise 3 --plan",
	  .options = OPTIONS(
		  { "reason", "TEXT", "why; goes to the audit log (needed without --plan)", NULL },
		  { "plan", NULL, "only show what it touches", NULL }),
	  .run = et_cli_key_compromise },
	{ .path = "key keep",
	  .arguments = "VERSION",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "take a version that is scheduled for destruction back to decrypt-only",
	  .details =
		  "It is scheduled again by itself unless key schedule --destroy-after is longer "
		  "by then.",
	  .example = "evertape key keep 2 --reason CHG-1050",
	  .options = OPTIONS(REASON),
	  .run = et_cli_key_keep,
	  .destructive = true },
	{ .path = "key escrow",
	  .arguments = "",
	  .summary = "issue new escrow shares of the active version, shown once",
	  .details = "On a vault node, through its own socket. Shares of an earlier version open "
		     "what was sealed to that version, wherever a copy of a wrapped key is left: "
		     "have their holders destroy them.",
	  .example = "evertape key escrow --escrow 3/5",
	  .options =
		  OPTIONS({ "escrow", "K/N", "K of N shares open the escrow; default 3/5", NULL }),
	  .run = et_cli_key_escrow },
	{ .path = "key root show",
	  .arguments = "",
	  .summary = "where this machine's node root is, and the ways by which it is sealed",
	  .details =
		  "Needs no daemon. With --open it is opened as evertaped would at its start, by "
		  "which a passphrase, PIN or token is tried.",
	  .example = "evertape key root show --open",
	  .options = OPTIONS({ "config", "FILE", "default /etc/evertape/evertape.yaml", NULL },
			     { "open", NULL, "also open it", NULL },
			     { "secret", "SOURCE",
			       "read passphrase or PIN there instead: file:/PATH, fd:N, terminal",
			       NULL }),
	  .run = et_cli_root_show },
	{ .path = "key root change",
	  .arguments = "ROOT",
	  .min_args = 1,
	  .max_args = 1,
	  .summary =
		  "keep this machine's node root elsewhere: file, credential, passphrase, PKCS#11",
	  .details =
		  "ROOT is file:/PATH, credential:NAME (systemd; it must hold the root already), "
		  "passphrase:SOURCE or pkcs11:token=LABEL;object=LABEL?module-path=/PATH&"
		  "pin-source=SOURCE (RFC 7512). SOURCE is file:/PATH, credential:NAME, fd:N or "
		  "terminal. The root is sealed the new way and read back, then data.root in the "
		  "configuration is replaced, then the old way goes: what the configuration names "
		  "opens after a crash between any two steps, and the command may be given again. "
		  "A "
		  "running evertaped goes on: it has the root in memory, and uses the new way at "
		  "its "
		  "next start. The root itself stays the same: who has a copy of an old root file "
		  "opens what it opened.",
	  .example = "evertape key root change passphrase:credential:evertape-root --new-secret "
		     "terminal",
	  .options = OPTIONS(
		  { "config", "FILE", "default /etc/evertape/evertape.yaml", NULL },
		  { "secret", "SOURCE", "of the present passphrase or PIN, if not as configured",
		    NULL },
		  { "new-secret", "SOURCE", "of the new passphrase or PIN, this time", NULL },
		  { "memory", "SIZE", "of Argon2id; default 256MiB, 8MiB to 1GiB", NULL },
		  { "passes", "N", "of Argon2id; default 3, 1 to 16", NULL },
		  { "keep-old", NULL, "leave the file of the old root where it is", NULL }),
	  .run = et_cli_root_change },
	{ .path = "cert list",
	  .arguments = "",
	  .summary = "certificates of the nodes, with their ends",
	  .example = "evertape cert list",
	  .run = et_cli_cert_list },
	{ .path = "cert renew",
	  .arguments = "",
	  .summary = "renew a node's certificate now; by itself it is at 2/3 of its life",
	  .details =
		  "Of the node that is asked, or of --node. The key stays. What the operator gave "
		  "for HTTPS (tls.api-certificate) is read again, too: exits 6 when that cannot be "
		  "used. Once a minute at most. Needs a majority and a vault node.",
	  .example = "evertape cert renew --node brq-1 --reason CHG-1042",
	  .options = OPTIONS(MEMBER, REASON),
	  .run = et_cli_cert_renew,
	  .destructive = true },
	{ .path = "cert rotate-ca",
	  .arguments = "",
	  .summary = "put a new CA in the place of the one that issues the nodes' certificates",
	  .details =
		  "A vault node makes it; when every member trusts both it issues; when every "
		  "member has a certificate of it the old one leaves trust. It goes on by itself, "
		  "and waits for members that are away: --finish goes on without them, and they "
		  "come back by their recorded keys. --abort takes it back, until the old one has "
		  "left. Open join tokens are revoked when the new one issues. Without options: "
		  "begin. --plan and --status exit 7 when there is something to do.",
	  .example = "evertape cert rotate-ca --reason CHG-1042 --wait",
	  .options = OPTIONS(REASON, { "plan", NULL, "what it would do, and who is away", NULL },
			     { "status", NULL, "the phase, and what it waits for", NULL },
			     { "abort", NULL, "back to the old one, safely in every phase", NULL },
			     { "finish", NULL, "go on without members that are away", NULL },
			     { "wait", NULL, "until the rotation, or its abort, is over", NULL }),
	  .run = et_cli_cert_rotate_ca },
	{ .path = "audit list",
	  .arguments = "",
	  .summary = "the audit log, newest last",
	  .details = "With -o ndjson the lines can be kept and checked by audit verify FILE.",
	  .example = "evertape audit list --from 1 -o ndjson > audit.ndjson",
	  .options = OPTIONS({ "from", "NUMBER", "from this event on; default: the last 50", NULL },
			     { "to", "NUMBER", "up to this event", NULL }),
	  .run = et_cli_audit_list },
	{ .path = "audit tail",
	  .arguments = "",
	  .summary = "the audit log as it grows, a line an event, until interrupted",
	  .details = "Each event is checked against the one before: exits 9 when the chain breaks. "
		     "With -o ndjson the lines are those of audit list.",
	  .example = "evertape audit tail -o ndjson",
	  .options = OPTIONS({ "last", "N", "begin with the last N; default 10", NULL }),
	  .run = et_cli_audit_tail },
	{ .path = "audit export",
	  .arguments = "",
	  .summary = "write the audit log to a file that audit verify FILE accepts",
	  .details =
		  "One event a line. The chain is checked on the way; the file is there only when "
		  "all of it is whole and durable. `head` is what to write down: whoever has it "
		  "can tell later that nothing was cut off.",
	  .example = "evertape audit export --out audit.ndjson",
	  .options = OPTIONS({ "out", "FILE", "where to (needed)", NULL },
			     { "from", "NUMBER", "from this event on; default: 1", NULL },
			     { "to", "NUMBER", "up to this event; default: the last", NULL }),
	  .run = et_cli_audit_export },
	{ .path = "audit verify",
	  .arguments = "[FILE]",
	  .max_args = 1,
	  .summary =
		  "check the hash chain, of the cluster or of an exported file; exits 9 if broken",
	  .details = "FILE is what audit list -o ndjson or json printed; it needs no cluster.",
	  .example = "evertape audit verify audit.ndjson",
	  .run = et_cli_audit_verify },
	{ .path = "token create",
	  .arguments = "",
	  .summary = "make an API token; it is shown once",
	  .example = "evertape token create --name wallboard --role reader --ttl 30d",
	  .options =
		  OPTIONS({ "name", "NAME", "whose it is: stands in the audit log (needed)", NULL },
			  { "role", "ROLE...",
			    "admin, operator, listener, unmasker, teller, importer, reader, "
			    "auditor; default "
			    "reader",
			    "admin operator listener unmasker teller importer reader auditor" },
			  { "ttl", "DURATION", "valid for so long; default 30d", NULL }, REASON),
	  .run = et_cli_token_create },
	{ .path = "token list",
	  .arguments = "",
	  .summary = "all tokens, of the API and for joining: who may, until when",
	  .details =
		  "What a token says was shown once and is nowhere. Who made it when: audit list.",
	  .example = "evertape token list",
	  .run = et_cli_token_list },
	{ .path = "token revoke",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "a token opens nothing any more, on any node that hears of it",
	  .details = "Of both kinds. ID stands in token list. There is no way back.",
	  .example =
		  "evertape token revoke 01a22b98-b376-7895-9cc4-301b3e7a4faa --reason 'left the "
		  "company'",
	  .options = OPTIONS(REASON),
	  .run = et_cli_token_revoke },
	{ .path = "proof",
	  .arguments = "RECORDING",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "prove a recording, or an excerpt of it, to whoever has no key and no cluster",
	  .details = "RECORDING is an id, or the file of a sealed tape. The proof holds the sealed "
		     "records of the excerpt (still encrypted), hashes up to the root, and the "
		     "node's signature over it; --leaves: hashes in place of the records. An "
		     "audit event is committed first.",
	  .example =
		  "evertape proof ID --from 190s --to 222s --out case-118.evtp --reason 'case 118'",
	  .options = OPTIONS({ "from", "DURATION", "since the beginning; default: 0s", NULL },
			     { "to", "DURATION", "since the beginning; default: to the end", NULL },
			     { "out", "FILE", "where to (needed)", NULL },
			     { "leaves", NULL, "hashes in place of the records", NULL }, REASON),
	  .run = et_cli_proof },
	{ .path = "verify-proof",
	  .arguments = "FILE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "check a proof, without a cluster; exits 9 if anything in it was changed",
	  .details =
		  "It proves that the records stand in the tape whose root this key signed. That "
		  "the key is that node's, and the root the catalogue's, is for who knows them: "
		  "--signer and --root. FILE may also be a certificate of erasure: its signature "
		  "and the hashes of its audit events are checked, with --audit also that they "
		  "stand in that log.",
	  .example = "evertape verify-proof case-118.evtp --root HEX",
	  .options = OPTIONS(
		  { "root", "HEX", "must be this Merkle root", NULL },
		  { "signer", "HEX", "must be signed by this key", NULL },
		  { "audit", "FILE", "of a certificate: what audit list -o ndjson printed", NULL }),
	  .run = et_cli_verify_proof },
	{ .path = "config check",
	  .arguments = "FILE",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "check an evertape.yaml, without a cluster",
	  .example = "evertape config check /etc/evertape/evertape.yaml",
	  .run = et_cli_config_check },
	{ .path = "config show",
	  .arguments = "",
	  .summary = "the settings in force at a running node, each with where it was said",
	  .details = "Of the node that is asked, or of --node. WHERE is a line of its file, "
		     "`default`, "
		     "or `cluster` (roles are the catalogue's once it is a member). Of secrets it "
		     "says "
		     "where they lie. -o yaml is a file that means the same. A note says when the "
		     "file "
		     "was changed since it was read.",
	  .example = "evertape config show --node brq-1 --defaults -o yaml",
	  .options = OPTIONS(MEMBER,
			     { "defaults", NULL, "also what nobody has said (json has it)", NULL },
			     { "output", "FORMAT", "-o: table, wide, json, yaml, ndjson, csv",
			       "table wide json yaml ndjson csv" }),
	  .run = et_cli_config_show },
	{ .path = "config diff",
	  .arguments = "[FILE]",
	  .max_args = 1,
	  .summary = "what a file would change at a running node, and how it comes into force",
	  .details = "FILE is read and checked here. APPLIES: `reload` is in force after systemctl "
		     "reload evertaped, `restart` after a restart; `never` means that it would be "
		     "another node, and evertaped would not start. Exits 7 when there are changes. "
		     "Without FILE, with --node twice: what two nodes do not have in common though "
		     "they should; exits 6 when there is anything.",
	  .example = "evertape config diff /etc/evertape/evertape.yaml",
	  .options = OPTIONS(MEMBER),
	  .run = et_cli_config_diff },
	{ .path = "config defaults",
	  .arguments = "",
	  .summary = "a commented evertape.yaml with every key at its default",
	  .example = "evertape config defaults > evertape.yaml",
	  .run = et_cli_config_defaults },
	{ .path = NULL },
};
