/* Commands about keys, certificates, the audit log, tokens, proofs; and the configuration. */
#include "ops/cli/table_internal.h"

const struct et_cli_command table_trust[] = {
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
	  .options = OPTIONS(REASON_OR_PLAN, { "plan", NULL, "only show what it touches", NULL }),
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
	  .options = OPTIONS(ESCROW),
	  .run = et_cli_key_escrow },
	{ .path = "key root show",
	  .arguments = "",
	  .summary = "where this machine's node root is, and the ways by which it is sealed",
	  .details =
		  "Needs no daemon. With --open it is opened as evertaped would at its start, by "
		  "which a passphrase, PIN or token is tried.",
	  .example = "evertape key root show --open",
	  .options = OPTIONS(CONFIG, { "open", NULL, "also open it", NULL },
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
		  CONFIG,
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
	  .options = OPTIONS(OUT, { "from", "NUMBER", "from this event on; default: 1", NULL },
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
	  .options = OPTIONS(SPAN, OUT, { "leaves", NULL, "hashes in place of the records", NULL },
			     REASON),
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
		  { "seal", "HEX", "must be of the tape with this seal hash", NULL },
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
