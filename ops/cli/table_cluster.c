/* Commands about the cluster as a whole: how it is, its nodes, Raft, sites. */
#include "ops/cli/table_internal.h"

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
#define CONFIRM                                                                                    \
	{                                                                                          \
		"confirm", "CLUSTER", "the cluster's name, typed: yes, this one", NULL             \
	}

const struct et_cli_command table_cluster[] = {
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
	  .summary = "version of this program, and of the node if it answers (also --version)",
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
	  .options = OPTIONS(ESCROW),
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
	  .options = OPTIONS(REASON_OR_PLAN, { "plan", NULL, "only say what keeps it", NULL }),
	  .run = et_cli_site_remove },
	{ .path = NULL },
};
