/* Commands about what stays where for how long: holds, retention, replication, the archive. */
#include "ops/cli/table_internal.h"

#define EXPECT                                                                                     \
	{                                                                                          \
		"expect", "REVISION", "refuse when the revision in force is another", NULL         \
	}

const struct et_cli_command table_keeping[] = {
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
	  .options = OPTIONS(REASON, { "recording", "ID...", "these recordings", NULL },
			     { "agent", "AGENT", "whoever was this agent then", NULL }, CALLS),
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
	  .options = OPTIONS(REASON, EXPECT),
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
	  .details =
		  "TAILS are calls in progress elsewhere that nodes of the site keep as they grow; "
		  "TAIL LAG is how long ago the worst of them was last known to be complete: what "
		  "a "
		  "lost site would lose of its calls.",
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
	  .options = OPTIONS(REASON, EXPECT),
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
	{ .path = NULL },
};
