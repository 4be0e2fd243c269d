/* Commands about recordings: finding, hearing, erasing, importing them; what is told of them. */
#include "node/audio/format.h"
#include "ops/cli/table_internal.h"

#define REASON_KEPT                                                                                \
	{                                                                                          \
		"reason", "TEXT", "why (needed); it is kept in the audit", NULL                    \
	}

#define TONES                                                                                      \
	{                                                                                          \
		"tones", "WHAT", "mask (default), or keep: key presses that a rule masks, too",    \
			"mask keep"                                                                \
	}

#define CONCEAL                                                                                    \
	{                                                                                          \
		"conceal", NULL, "make up what was lost on its way; no evidence then", NULL        \
	}

#define SEARCH_LIST                                                                                \
	CALLS, { "agent", "AGENT", "the agent of the time of the call", NULL },                    \
		{ "team", "NAME", "the agent's team at that time", NULL },                         \
		{ "tag", "TAG...", "has all these tags", NULL },                                   \
		{ "fact", "KEY=VALUE...", "has this fact; KEY:integer=5 for typed ones", NULL },   \
		{ "text", "WORDS", "all these words in notes, facts, tags", NULL },                \
		{ "min-duration", "DURATION", "lasted at least", NULL },                           \
		{ "max-duration", "DURATION", "lasted at most", NULL },                            \
		{ "state", "STATE", "only these", "capturing sealed lost erased" },                \
		{ "call", "CALL", "all legs of this call, as recording show names it", NULL },     \
		{ "limit", "N", "at most so many; default 50", NULL },                             \
	{                                                                                          \
		"cursor", "TEXT", "go on where a page ended", NULL                                 \
	}

#define SEARCH_OPTIONS OPTIONS(SEARCH_LIST)

#define IMPORT_DETAILS                                                                             \
	"A folder is taken with all that is in it. WAV, RF64, AIFF and AU (PCM, floating point, "  \
	"G.711; WAV with GSM), FLAC, Ogg with Opus or Vorbis and MP3, of one or two channels "     \
	"(the left one is the caller) and up to 48 kHz, become a recording that plays; other "     \
	"audio (MP4, AMR, CAF, W64, ASF; more channels) is kept as it is, and says so; pcap and "  \
	"pcapng go through the recorder's engine, with the node's rules. Each tape is opened "     \
	"again and compared before "                                                               \
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

const struct et_cli_command table_recording[] = {
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
		     "mask` (or drop, strict: then those of G.711 are silence on the tape, "
		     "too); to hear them takes --tones keep, a reason and the role unmasker. What "
		     "was lost on its way is silence; with --conceal the first 60 ms of each loss "
		     "are made up.",
	  .example = "evertape recording play ID --from 50m --to 51m30s > call.wav",
	  .options = OPTIONS(SPAN, TONES, CONCEAL, REASON),
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
	  .options = OPTIONS(OUT),
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
	  .options = OPTIONS(REASON_KEPT),
	  .run = et_cli_recording_join },
	{ .path = "recording split",
	  .arguments = "ID",
	  .min_args = 1,
	  .max_args = 1,
	  .summary = "this recording is no leg of its call: it gets one of its own",
	  .details = "Takes apart what a rule, or a `recording join`, joined wrongly. The other "
		     "legs stay together.",
	  .example = "evertape recording split ID --reason 'two callers behind one header'",
	  .options = OPTIONS(REASON_KEPT),
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
		  REASON_KEPT),
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
		  "wav, flac, opus, mp3: stereo, one party per channel; with --from and --to only "
		  "that span. flac has the samples of wav, bit for bit; opus and mp3 are made for "
		  "the ear. All four are derivatives: the original is evidence. original: the "
		  "payloads exactly as received, with a manifest of hashes, always whole. Leaves "
		  "an event in the audit log first. Exits 6 when parts are missing; the note says "
		  "which. Where the recording's rule says `tones: mask`, drop or strict, key "
		  "presses are silence in the audio, and an original needs --tones keep, a reason "
		  "and the role unmasker. With --conceal the first 60 ms of each loss are made up, "
		  "and file and note say so; else they are silence.",
	  .example = "evertape recording export ID --format original --out case-118/ --reason "
		     "case-118",
	  .options = OPTIONS(
		  { "format", "FORMAT", "wav (default), flac, opus, mp3 or original",
		    ET_AUDIO_FORMATS " original" },
		  { "out", "PATH", "file, or folder (original); - for standard output", NULL },
		  SPAN, TONES, CONCEAL, REASON),
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
		  { "name", "TEXT", "of the person", NULL },
		  { "team", "NAME", "of the agent", NULL },
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
			     { "seal", "HEX",
			       "of the file: must be this seal hash, so every byte as it "
			       "was sealed",
			       NULL },
			     { "signer", "HEX", "of the file: must be signed by this key", NULL },
			     { "sha256", NULL, "of the file: print it, as sha256sum does", NULL }),
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
	{ .path = NULL },
};
