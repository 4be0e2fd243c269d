#include "ops/cli/codes.h"

#include <stddef.h>
#include <strings.h>

#include "node/base/defs.h"
#include "node/text/units.h"

const struct et_cli_code et_cli_codes[] = {
	/* Health */
	{ "NO_QUORUM", "at_risk",
	  "This node hears no majority of the voters. Recording goes on and is kept in its "
	  "journal; "
	  "listening, deletion and changes are refused until the majority is back.",
	  "evertape node list; check the links between the sites" },
	{ "NO_LEADER", "at_risk",
	  "The voters have no leader at the moment. An election takes a few election timeouts; if "
	  "it "
	  "lasts, voters cannot reach each other.",
	  "evertape node list" },
	{ "QUORUM_THIN", "degraded",
	  "One more lost voter would stop changes: the cluster survives no further loss.",
	  "evertape node list; bring the missing voter back, or add one" },
	{ "VOTER_DOWN", "degraded",
	  "A voter cannot be reached. The others go on as long as they are a majority; each "
	  "further "
	  "one that fails brings the end of changes closer.",
	  "evertape raft peers; bring it up, or replace it: evertape node token, then "
	  "evertape node remove NODE --reason dead" },
	{ "VOTERS_EVEN", "note",
	  "The number of voters is even: one of them could go without the cluster surviving less. "
	  "A "
	  "standby or a witness at a further site would make it odd.",
	  "evertape node promote NODE, or evertape node token --role witness --site SITE" },
	{ "MEMBERSHIP_CHANGE", "note",
	  "A node's place in Raft is being changed, one step at a time.",
	  "evertape node list; evertape raft peers" },
	{ "MEMBERSHIP_HELD", "degraded",
	  "A node's place in Raft is not yet what was asked for, and the leader waits: usually "
	  "because the step would cost the quorum, or because the node cannot be reached.",
	  "evertape raft peers; bring the other voters up" },
	{ "NODE_DRAINING", "note",
	  "A node is being emptied. It goes on voting and serving, and takes no new copies.",
	  "evertape node drain NODE shows what is left; then evertape node remove NODE" },
	{ "ESCROW_STALE", "degraded",
	  "The active key version has no escrow shares: if all vault nodes are lost, what is "
	  "sealed "
	  "to it is lost, and a backup made now opens on a vault node only.",
	  "evertape key escrow --escrow 3/5, on a vault node" },
	{ "KEY_ROTATION", "note",
	  "A new key version is being made, or keys of recordings are being moved from an old one. "
	  "It "
	  "goes on by itself; recording and playing are not disturbed.",
	  "evertape key status -o wide; evertape key rewrap --wait" },
	{ "CA_ROTATION", "note",
	  "The CA that issues the nodes' certificates is being replaced. It goes on by itself, and "
	  "waits for members that are away.",
	  "evertape cert rotate-ca --status; --finish goes on without who is away, --abort goes "
	  "back" },
	{ "CA_STOLEN", "at_risk",
	  "A vault node was stolen, and the key of the CA with it: who has it can show members "
	  "that "
	  "know it a certificate of a node that does not exist. A vault node makes another CA at "
	  "once; as each node applies that, it trusts the old one no more.",
	  "bring up a vault node that has quorum; evertape cert rotate-ca --status" },
	{ "KEK_COMPROMISED", "at_risk",
	  "A key version was marked compromised. Who has it, and the wrapped keys of the catalogue "
	  "or of a backup, can open the recordings that are on it. Vault nodes encrypt their media "
	  "again by themselves; a hold, or a copy that is missing, keeps one back.",
	  "evertape key compromise VERSION --plan shows what is on it" },
	{ "NODE_REMOVED", "at_risk",
	  "This node was removed from the cluster: the members refuse it, it records no new calls, "
	  "and nothing that it says is taken.",
	  "stop the daemon; to use the machine again, wipe its state folder and join anew" },
	{ "SITE_LAG", "degraded",
	  "A site lacks copies of sealed segments for longer than a minute. They exist at fewer "
	  "places "
	  "than placement asks for.",
	  "evertape replication queue" },
	{ "TAIL_LAG", "degraded",
	  "A node keeps calls in progress at another site as they grow (placement.tail), and has "
	  "not "
	  "had all of one for more than 30 s: the line is too thin, a limit holds it back, or the "
	  "recorder does not answer. A site that is lost now loses that much of them.",
	  "evertape replication lag; evertape node list" },
	{ "COPIES_GONE", "at_risk",
	  "Segments have no good copy left on any node, and none in the archive: each copy is bad, "
	  "or its node was removed. Bad ones are kept in quarantine on their nodes.",
	  "evertape replication repair" },
	{ "SCRUB_WAITS", "degraded",
	  "A scrub cannot go on: the media folder is not the node's store (not mounted?), the "
	  "catalogue cannot be read, or bad copies wait for a quorum. It tries each minute, and "
	  "takes nothing for lost meanwhile.",
	  "evertape replication scrub --status" },
	{ "SCRUB_LATE", "degraded",
	  "A node's copies were not all read again and verified for two intervals of scrub.every: "
	  "scrub.rate is too low for what it holds, or its passes were stopped.",
	  "evertape replication scrub --status; evertape replication scrub --on NODE --rate "
	  "BYTES" },
	{ "LIMITS_UNREAD", "degraded",
	  "A node cannot read the limits of transfers that are in force, for want of a time zone "
	  "for "
	  "example. It goes on with those that it had.",
	  "evertape replication limit --show; install tzdata on that node" },
	{ "DISK_NEARFULL", "degraded",
	  "The disk of a node is nearly full. The media disk is below limits.disk-reserve: new "
	  "calls are refused there, live ones go on. Or the state disk is below twice that.",
	  "evertape node list; evertape archive plan; free space on that node" },
	{ "SNAPSHOT_NO_SPACE", "degraded",
	  "A node is so far behind that it needs the catalogue's files of another node, and its "
	  "disk has "
	  "no room for them and limits.disk-reserve. It waits, looks again every ten seconds, and "
	  "fetches nothing twice. Until then it serves old reads, and its vote counts only while "
	  "the "
	  "others' logs reach back far enough.",
	  "evertape node list; free space in data.state of that node" },
	{ "DISK_FULL", "at_risk",
	  "The disk of a node is full. State disk: below limits.disk-reserve the node takes no "
	  "further entries; while a majority of voters has room, everything goes on without it and "
	  "it catches up later; else every change is refused (ENOSPC), while recording and reading "
	  "go on. Media disk: nothing is fetched from other sites, new calls are refused, and "
	  "archive restore waits (archive status). It ends by itself when there is room; nothing "
	  "that was acknowledged is lost.",
	  "free space in data.state (or data.media) of that node; no restart is needed" },
	{ "PACKETS_DROPPED", "degraded",
	  "Packets were lost between the wire and the tape: by the kernel's ring, or because the "
	  "writer was too slow. Recordings of that time may have gaps.",
	  "evertape capture show --node NODE; a larger limits.ring or limits.writer-queue" },
	{ "ON_DEMAND_CUT", "degraded",
	  "In the last minute calls on demand lost a part of their rings before its time: all "
	  "rings "
	  "together reached limits.on-demand (the largest loses its oldest part), or the media "
	  "disk "
	  "is below limits.disk-reserve (recordings go first), or a tape could not be finished. "
	  "What "
	  "is kept of such a call begins later than its rule's ring says; the recording states the "
	  "gap. Calls that were kept are not touched.",
	  "evertape capture show --node NODE; a larger limits.on-demand, or a shorter ring" },
	{ "CALLS_REFUSED", "at_risk",
	  "New calls were not recorded, because free space is below limits.disk-reserve. Live ones "
	  "went on.",
	  "evertape capture show --node NODE; evertape archive plan" },
	{ "NODE_UNREACHABLE", "degraded", "A member does not answer.",
	  "evertape node list; systemctl status evertaped on that node" },
	{ "CAPTURE_STOPPED", "at_risk", "A node with the role capture captures nothing.",
	  "evertape capture show --node NODE; the node's log" },
	{ "SYNC_FAILED", "at_risk",
	  "A media filesystem failed to sync: nothing is acknowledged there until the node was "
	  "started "
	  "again and has checked its store.",
	  "check the disk (dmesg), then restart evertaped" },
	{ "JOURNAL_STUCK", "degraded",
	  "Commands could not be handed to the catalogue; they are in the journal and will be "
	  "proposed "
	  "after a restart.",
	  "evertape doctor; restart evertaped" },
	{ "PENDING_OLD", "degraded",
	  "Recordings of this node have waited for the catalogue for more than a minute.",
	  "evertape status; usually NO_QUORUM" },
	{ "CLOCK_SKEW", "at_risk",
	  "The clock of the node named is more than 2 s off what a majority of voters agrees on. "
	  "Nothing is decided by it: cluster time is the majority's; but recordings made there "
	  "carry "
	  "its time. Named on the leader while no majority agrees: cluster time stands still then, "
	  "and nothing that is timed happens.",
	  "check NTP on every node (chronyc tracking)" },
	{ "RAFT_TIMING", "degraded",
	  "The round trip to a voter is longer than raft.heartbeat, or than a tenth of "
	  "raft.election: entries go one at a time to it, and a slow moment can cost an election.",
	  "set raft: {profile: wan} in the configuration of every voter and restart them one by "
	  "one" },
	{ "CERT_EXPIRED", "degraded",
	  "A node's certificate has expired. Members with their recorded key are let in all the "
	  "same; "
	  "renewal has failed for a while.",
	  "evertape cert renew --node NODE --reason TEXT says why it cannot; evertape cert list" },
	{ "CERT_EXPIRING", "degraded", "A certificate was not renewed at two thirds of its life.",
	  "evertape cert renew --node NODE --reason TEXT says why it cannot; evertape cert list" },
	{ "ROOT_ON_DISK", "note",
	  "A vault node's root key is a file on the same machine, or its passphrase is: whoever "
	  "steals its disk can open recordings.",
	  "evertape key root change --help: a credential, a passphrase, a token" },
	{ "ROOT_LOCKED", "at_risk",
	  "The node root does not open: wrong passphrase, no token, and the like. The node records "
	  "on "
	  "with the public key that it knows, and does nothing else: no footers, no copies, no "
	  "listening, no cluster. The tapes are told to the cluster after a start that opens it.",
	  "evertape key root show --open; then systemctl restart evertaped" },
	{ "SEALING_UNTRUSTED", "at_risk",
	  "The file that says which key version the node seals to (keys/sealing) is not signed by "
	  "the cluster's CA: somebody has written it, or an earlier build. It is not used: the "
	  "node "
	  "records under the newest version of its own catalogue, and writes the file anew when it "
	  "has heard from a majority.",
	  "evertape status; if it was no upgrade: who could write the node's state folder?" },
	{ "KEK_UNTRUSTED", "at_risk",
	  "The key version that the catalogue calls active is not signed by a CA of this cluster: "
	  "somebody who is not a vault node has put it there. Nothing is sealed to it: this node "
	  "records on under the last version that is signed, and vault nodes replace it by a new "
	  "one.",
	  "evertape audit list: kek.add and kek.set, by whom; evertape key status; evertape node "
	  "list" },
	{ "VAULT_SINGLE", "at_risk",
	  "Fewer than two vault nodes hold the active key: losing one makes recordings unreadable "
	  "but "
	  "for the escrow.",
	  "evertape node promote NODE --role vault; or join a second node with that role" },
	{ "VAULT_NO_GRANT", "degraded",
	  "This vault node cannot open the active key version: it has no grant yet. A vault node "
	  "that "
	  "can grants it by itself, when one is up and there is a majority.",
	  "evertape node show NODE: keys and keys_missing; is another vault node up?" },
	{ "SCHEMA_OLD", "note", "Members run different versions; the cluster keeps to the oldest.",
	  "evertape cluster upgrade plan" },
	{ "COPY_BAD", "at_risk", "A copy failed verification; it is quarantined and fetched anew.",
	  "evertape recording verify ID" },
	{ "ARCHIVE_FAILED", "degraded", "Archive jobs failed.", "evertape archive status" },
	{ "ARCHIVE_UNREACHABLE", "degraded", "An archive target cannot be reached.",
	  "evertape archive status" },
	{ "AUDIT_BROKEN", "at_risk",
	  "The audit chain does not verify: the catalogue was tampered with "
	  "or is damaged on this node.",
	  "evertape audit verify on every node" },
	{ "STATE_DIVERGED", "at_risk",
	  "A node's catalogue is not that of the majority of the voters: its disk, its memory or a "
	  "fault "
	  "has changed it. That node marks its database, hands leadership over and ends with exit "
	  "code 9; it does not start with it again. Its Raft log is good.",
	  "on that node: rm -r STATE/db, start evertaped: it takes another node's state" },
	{ "STATE_DISPUTED", "at_risk",
	  "Catalogues differ, and no majority of the voters has the same: nobody can tell which is "
	  "right. "
	  "Recording and everything that only adds goes on; nothing destructive is proposed.",
	  "stop nothing; evertape doctor --deep on every node; restore from a backup whose digest "
	  "fits one of them (ops/doc/runbooks/restore.md)" },
	{ "STATE_REBUILDING", "degraded",
	  "The database of this node is gone, or was removed; the state of another node is being "
	  "fetched, and what was committed meanwhile is applied then.",
	  "evertape status --watch" },
	{ "ERASURES_MISSING", "degraded",
	  "The cluster was restored from a backup without all ledgers of erasures "
	  "(--accept-missing-erasures): recordings that were erased after the backup may be there "
	  "again.",
	  "compare with what was asked to be erased since then, and erase it again" },
	{ "RECORDING_PROBLEM", "note", "A recording has a problem that its listener must know.",
	  "evertape recording show ID" },
	{ "STATUS_UNKNOWN", "degraded", "What a member last said of itself is too old.",
	  "evertape node list" },
	{ "NOT_INITIALISED", "note", "This node belongs to no cluster yet.",
	  "evertape cluster init, or evertape node join" },
	{ "STARTING", "note",
	  "This node is a member and starts: it opens its catalogue, which takes a second or two.",
	  "evertape status, until it tells the cluster" },

	/* Errors */
	{ "ET_ENOTLEADER", "error",
	  "The node asked does not lead, and the request needs the leader.", "try again" },
	{ "ET_ECORRUPT", "error", "Stored data fails its checksum.",
	  "evertape recording verify ID" },
	{ "ET_EKEYPERM", "error", "A key or token file can be read by others.", "chmod 600 FILE" },
	{ "ET_ELIMIT", "error", "A configured limit is reached.", "evertape status" },
	{ "ET_EUSAGE", "error", "The command is not used as it should be.",
	  "evertape COMMAND --help" },
	{ "ET_ENOQUORUM", "error",
	  "A majority of the voters cannot be reached, and what was asked needs it.",
	  "evertape status" },
	{ "ET_EUNREACHABLE", "error", "A node, target or peer cannot be reached.",
	  "evertape status" },
	{ "ET_EDENIED", "error", "Who asks may not do this.", "evertape audit list" },
	{ "ET_ENOTFOUND", "error", "There is no such thing.", "evertape recording list" },
	{ "ET_EDEGRADED", "error", "The answer is degraded or incomplete.", "evertape status" },
	{ "ET_EPOLICY", "error", "A hold, retention or policy forbids it.",
	  "evertape recording show ID" },
	{ "ET_EINTEGRITY", "error", "This is not what was recorded.",
	  "evertape recording where ID" },
	{ "ET_ENOKEY", "error", "The key that opens this is not here.", "evertape key status" },
	{ "ET_EUNKNOWN", "error",
	  "The outcome is unknown: leadership was lost while waiting. It may have happened.",
	  "look, then repeat" },
	{ "ET_EVERSION", "error", "Made by a newer version of evertape.", "evertape version" },
	{ "ET_ESTALE", "error", "The world has changed since the plan was made.",
	  "evertape archive plan" },
	{ "ET_EUNTRUSTED", "error", "A peer cannot prove who it is.", "evertape cert list" },
	{ "ET_EMALFORMED", "error", "Input is malformed; the message says where.", "correct it" },
	{ "ET_EEXISTS", "error", "It exists already.", "evertape status" },
	{ "ET_ECLOSED", "error", "The node is going down.", "try again" },
	{ "ET_EUNINITIALISED", "error", "This node belongs to no cluster yet.",
	  "evertape cluster init, or evertape node join" },
	{ "ET_ETRUNCATED", "error", "The input ends too early.", "use a complete file" },
	{ "ET_EREFUSED", "error", "The cluster's state refuses it; the message says why.",
	  "evertape status" },
	{ "ET_EBUSY", "error", "Busy with other work.", "try again later" },
	{ "ET_EUNSUPPORTED", "error", "Not supported by this node or version.",
	  "evertape version" },
	{ "ET_EROOTSECRET", "error",
	  "The passphrase of the node root, or the PIN of its token, is wrong. A PIN is tried once "
	  "for each start.",
	  "correct it where data.root names it; evertape key root show --open" },
	{ "ET_ETOKENABSENT", "error", "The token that opens the node root is not plugged in.",
	  "pkcs11-tool --module MODULE -L; plug it in, then start evertaped" },
	{ "ET_ETOKENLOCKED", "error",
	  "The PIN of the token is locked, or the token says that one more failure would lock it; "
	  "that last try is not used up.",
	  "unlock it as its security officer, or log in once by hand: pkcs11-tool --login -O" },
	{ "ET_ETOKENWRONG", "error",
	  "The token has the right name, but it, or its key, did not seal this node root.",
	  "evertape key root show: the serial of the right one" },
	{ "ET_EMODULE", "error",
	  "The PKCS#11 module is missing, crashed, did not answer in 30 s, or broke the rules. It "
	  "ran in a process of its own: nothing of evertaped is touched.",
	  "pkcs11-tool --module MODULE -T" },
	{ NULL, NULL, NULL, NULL },
};

const struct et_cli_code *et_cli_code_find(const char *code)
{
	for (const struct et_cli_code *c = et_cli_codes; c->code != NULL; c++) {
		if (strcasecmp(c->code, code) == 0) {
			return c;
		}
	}
	return NULL;
}

const char *et_cli_code_suggest(const char *code)
{
	const char *words[ET_ARRAY_SIZE(et_cli_codes)];
	size_t n = 0;
	for (const struct et_cli_code *c = et_cli_codes; c->code != NULL; c++) {
		words[n++] = c->code;
	}
	return et_suggest(code, words, n);
}
