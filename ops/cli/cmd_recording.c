/* recording list, show, play, export, verify, where. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/audio/format.h"
#include "node/base/fd.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/text/units.h"
#include "ops/cli/cli.h"
#include "ops/cli/untar.h"

static const struct et_cli_column list_columns[] = {
	{ "ID", "id", ET_CLI_TEXT, false },
	{ "START", "start", ET_CLI_TIME, false },
	{ "LENGTH", "duration_ms", ET_CLI_MS, false },
	{ "FROM", "from", ET_CLI_TEXT, false },
	{ "TO", "to", ET_CLI_TEXT, false },
	{ "AT", "site", ET_CLI_TEXT, false },
	{ "COPIES", "copies", ET_CLI_COPIES, false },
	{ "PENDING", "pending", ET_CLI_TEXT, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "NODE", "node", ET_CLI_TEXT, true },
	{ "CALL", "call", ET_CLI_TEXT, true },
	{ "SIP CALL-ID", "sip_call_id", ET_CLI_TEXT, true },
	{ "PROBLEM", "problem", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

/* RFC 3339, a date, or an age ("2h"), as RFC 3339. */
int et_cli_time_option(struct et_cli *cli, const char *name, char text[ET_TIME_TEXT_SIZE],
		       const char **ret, struct et_error *reterr)
{
	const char *given = et_cli_option(cli, name);
	int64_t us;
	*ret = NULL;
	if (given == NULL) {
		return 0;
	}
	int64_t age;
	if (et_duration_parse(given, &age)) {
		us = et_clock_now_us() - age;
	} else if (!et_time_parse(given, &us)) {
		return et_cli_usage(
			cli, reterr,
			"--%s is a time (2026-11-22T09:00:00Z), a date, or an age (2h), "
			"not \"%.40s\"",
			name, given);
	}
	et_time_format(us, text);
	*ret = text;
	return 0;
}

static int duration_query(struct et_cli *cli, const char *name, const char *key,
			  struct et_buffer *path, struct et_error *reterr)
{
	const char *given = et_cli_option(cli, name);
	int64_t us;
	char text[32];
	if (given == NULL) {
		return 0;
	}
	if (!et_duration_parse(given, &us)) {
		return et_cli_usage(cli, reterr, "--%s is a duration such as 10m, not \"%.40s\"",
				    name, given);
	}
	(void)snprintf(text, sizeof(text), "%lld", (long long)(us / 1000));
	et_cli_query(path, key, text);
	return 0;
}

static void list_query(const struct et_cli *cli, const char *name, struct et_buffer *path)
{
	ET_CLEANUP(et_json_freep) json_t *list = et_cli_option_list(cli, name);
	for (size_t i = 0; i < json_array_size(list); i++) {
		et_cli_query(path, name, json_string_value(json_array_get(list, i)));
	}
}

/* The words of `recording search` (`words`), and --text. */
static void text_query(const struct et_cli *cli, bool words_too, struct et_buffer *path)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer words = { 0 };
	const char *text = et_cli_option(cli, "text");
	for (unsigned i = 0; i < cli->arg_count && words_too; i++) {
		et_buffer_printf(&words, "%s ", cli->args[i]);
	}
	et_buffer_printf(&words, "%s", text != NULL ? text : "");
	et_buffer_add8(&words, '\0');
	if (!words.failed && words.size > 1) {
		et_cli_query(path, "text", (char *)words.data);
	}
}

int et_cli_search_path(struct et_cli *cli, const char *base, bool words, struct et_buffer *path,
		       struct et_error *reterr)
{
	static const char *const plain[] = { "number", "site",	"state", "agent",
					     "team",   "limit", "cursor" };
	char since_text[ET_TIME_TEXT_SIZE];
	char until_text[ET_TIME_TEXT_SIZE];
	const char *since;
	const char *until;
	int rc = et_cli_time_option(cli, "since", since_text, &since, reterr);
	if (rc == 0) {
		rc = et_cli_time_option(cli, "until", until_text, &until, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et_buffer_printf(path, "%s", base);
	et_cli_query(path, "from", since);
	et_cli_query(path, "to", until);
	et_cli_query(path, "call_id", et_cli_option(cli, "call-id"));
	et_cli_query(path, "call", et_cli_option(cli, "call"));
	for (size_t i = 0; i < ET_ARRAY_SIZE(plain); i++) {
		et_cli_query(path, plain[i], et_cli_option(cli, plain[i]));
	}
	list_query(cli, "tag", path);
	list_query(cli, "fact", path);
	text_query(cli, words, path);
	rc = duration_query(cli, "min-duration", "min_duration_ms", path, reterr);
	if (rc == 0) {
		rc = duration_query(cli, "max-duration", "max_duration_ms", path, reterr);
	}
	et_buffer_add8(path, '\0');
	return rc == 0 && path->failed ? et_fail(reterr, -ENOMEM, "request") : rc;
}

int et_cli_recording_list(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = et_cli_search_path(cli, "/v1/recordings", true, &path, reterr);
	if (rc == 0) {
		rc = et_cli_get(cli, (char *)path.data, &j, reterr);
	}
	if (rc == 0) {
		rc = et_cli_print(cli, j, "recordings", list_columns, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	const char *cursor = et_json_get_text(j, "cursor", "");
	size_t shown = json_array_size(json_object_get(j, "recordings"));
	if (!et_cli_is_json(cli) && *cursor != '\0') {
		et_cli_note(cli, "%zu shown; more: --cursor %s", shown, cursor);
	} else if (!et_cli_is_json(cli) && shown == 0) {
		et_cli_note(cli, "no recordings");
	}
	if (!et_json_get_bool(j, "complete", true)) {
		et_cli_note(cli, "not complete: %s", et_json_get_text(j, "why", ""));
		return ET_EXIT_DEGRADED;
	}
	return 0;
}

/* "/v1/recordings/ID<rest>" for a whole UUID. */
static int recording_path(struct et_cli *cli, const char *rest, char path[160],
			  struct et_error *reterr)
{
	char text[ET_UUID_TEXT_SIZE];
	int rc = et_cli_id(cli, cli->args[0], "recording id", text, reterr);
	if (rc == 0) {
		(void)snprintf(path, 160, "/v1/recordings/%s%s", text, rest);
	}
	return rc;
}

static const struct et_cli_column copy_columns[] = {
	{ "SEGMENT", "segment", ET_CLI_TEXT, false },
	{ "PLACE", "place", ET_CLI_TEXT, false },
	{ "SITE", "site", ET_CLI_TEXT, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "VERIFIED", "verified_at", ET_CLI_TIME, false },
	{ "BYTES", "size_bytes", ET_CLI_BYTES, false },
	{ "OBJECT", "object", ET_CLI_TEXT, true },
	{ "LOCK", "lock", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column stream_columns[] = {
	{ "SSRC", "ssrc", ET_CLI_TEXT, false },
	{ "FROM", "src", ET_CLI_TEXT, false },
	{ "TO", "dst", ET_CLI_TEXT, false },
	{ "CODEC", "codec", ET_CLI_TEXT, false },
	{ "PACKETS", "packets", ET_CLI_NUMBER, false },
	{ "LOST", "lost", ET_CLI_NUMBER, false },
	{ "LATE", "late", ET_CLI_NUMBER, false },
	{ "DUPLICATE", "duplicate", ET_CLI_NUMBER, true },
	{ "SILENCED", "silenced", ET_CLI_NUMBER, true },
	{ "BY", "association", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column segment_columns[] = {
	{ "SEGMENT", "segment", ET_CLI_TEXT, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "SEALED", "sealed", ET_CLI_TIME, false },
	{ "BYTES", "size_bytes", ET_CLI_BYTES, false },
	{ "BLOCK", "block_bytes", ET_CLI_BYTES, false }, /* of one that is padded */
	{ "FILE", "file", ET_CLI_TEXT, false },
	{ "ROOT", "root", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column agent_columns[] = {
	{ "PARTY", "party", ET_CLI_TEXT, false }, { "AGENT", "id", ET_CLI_TEXT, false },
	{ "NAME", "name", ET_CLI_TEXT, false },	  { "TEAM", "team", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column fact_columns[] = {
	{ "FACT", "key", ET_CLI_TEXT, false }, { "VALUE", "value", ET_CLI_TEXT, false },
	{ "SET", "set", ET_CLI_TEXT, false },  { "SOURCE", "source", ET_CLI_TEXT, false },
	{ "BY", "by", ET_CLI_TEXT, true },     { NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column tag_columns[] = {
	{ "TAG", "name", ET_CLI_TEXT, false },
	{ "BY", "by", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column note_columns[] = {
	{ "NOTE", "text", ET_CLI_TEXT, false }, { "AT", "at", ET_CLI_TIME, false },
	{ "BY", "by", ET_CLI_TEXT, false },	{ "TOLD", "told", ET_CLI_TIME, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column participant_columns[] = {
	{ "PARTICIPANT", "name", ET_CLI_TEXT, false }, { "NUMBER", "number", ET_CLI_TEXT, false },
	{ "HEARD IN", "labels", ET_CLI_TEXT, false },  { "PARTY", "party", ET_CLI_NUMBER, false },
	{ "JOINED", "joined", ET_CLI_TIME, false },    { "LEFT", "left", ET_CLI_TIME, false },
	{ "ADDRESS", "aor", ET_CLI_TEXT, true },       { NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column hold_columns[] = {
	{ "HOLD", "name", ET_CLI_TEXT, false },	    { "SCOPE", "scope", ET_CLI_TEXT, false },
	{ "PLACED", "placed", ET_CLI_TIME, false }, { "BY", "principal", ET_CLI_TEXT, false },
	{ "REASON", "reason", ET_CLI_TEXT, false }, { "ID", "id", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column gap_columns[] = {
	{ "GAP FROM", "from", ET_CLI_TIME, false },
	{ "TO", "to", ET_CLI_TIME, false },
	{ "CAUSE", "cause", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_recording_show(struct et_cli *cli, struct et_error *reterr)
{
	static const struct {
		const char *key;
		const struct et_cli_column *columns;
	} parts[] = { { "participants", participant_columns },
		      { "holds", hold_columns },
		      { "agents", agent_columns },
		      { "facts", fact_columns },
		      { "tags", tag_columns },
		      { "notes", note_columns },
		      { "streams", stream_columns },
		      { "segments", segment_columns },
		      { "gaps", gap_columns },
		      { "copies", copy_columns } };
	char path[160];
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = recording_path(cli, "", path, reterr);
	if (rc == 0) {
		rc = et_cli_get(cli, path, &j, reterr);
	}
	if (rc < 0 || et_cli_is_json(cli) || cli->format == ET_CLI_CSV) {
		return rc < 0 ? rc : et_cli_print_object(cli, j, reterr);
	}
	ET_CLEANUP(et_json_freep) json_t *facts = json_copy(j);
	static const char *const rest[] = { "keep_until", "keep_rule", "erase_at", "exempt" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(rest); i++) { /* of retention, what says something */
		json_t *value = json_object_get(json_object_get(j, "retention"), rest[i]);
		if (value != NULL && !json_is_null(value) &&
		    !(json_is_string(value) && json_string_length(value) == 0)) {
			et_json_set(facts, rest[i], json_incref(value));
		}
	}
	(void)json_object_del(facts, "retention");
	for (size_t i = 0; i < ET_ARRAY_SIZE(parts); i++) {
		(void)json_object_del(facts, parts[i].key);
	}
	rc = et_cli_print_object(cli, facts, reterr);
	for (size_t i = 0; rc == 0 && i < ET_ARRAY_SIZE(parts); i++) {
		if (json_array_size(json_object_get(j, parts[i].key)) > 0) {
			(void)fputc('\n', cli->out);
			rc = et_cli_print(cli, j, parts[i].key, parts[i].columns, reterr);
		}
	}
	return rc;
}

int et_cli_recording_where(struct et_cli *cli, struct et_error *reterr)
{
	char path[160];
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = recording_path(cli, "/where", path, reterr);
	if (rc == 0) {
		rc = et_cli_get(cli, path, &j, reterr);
	}
	return rc < 0 ? rc : et_cli_print(cli, j, "copies", copy_columns, reterr);
}

static const struct et_cli_column check_columns[] = {
	{ "SEGMENT", "segment", ET_CLI_TEXT, false },
	{ "RESULT", "result", ET_CLI_TEXT, false },
	{ "BLOCK", "block_bytes", ET_CLI_BYTES, false },
	{ "FILE", "file", ET_CLI_TEXT, false },
	{ "RECORD", "record", ET_CLI_NUMBER, false },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_recording_verify(struct et_cli *cli, struct et_error *reterr)
{
	char path[160];
	uint8_t id[16];
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	bool is_id = et_uuid_parse(cli->args[0], id);
	if (!is_id && et_cli_option(cli, "ciphertext") != NULL) {
		return et_cli_tape_verify(cli, reterr);
	}
	static const char *const of_files[] = { "root", "seal", "signer", "sha256" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(of_files); i++) {
		if (et_cli_option(cli, of_files[i]) != NULL) {
			return et_cli_usage(cli, reterr, "--%s is for --ciphertext FILE",
					    of_files[i]);
		}
	}
	et_cli_patience(cli, ET_CLI_LONG_MS);
	int rc = recording_path(cli, "/verify", path, reterr);
	if (rc == 0) {
		rc = et_cli_send(cli, "POST", path, NULL, &j, reterr);
	}
	if (rc == 0) {
		rc = et_cli_print(cli, j, "segments", check_columns, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	const char *result = et_json_get_text(j, "result", "");
	if (strcmp(result, "ok") == 0) {
		return 0;
	}
	(void)et_fail_plain(reterr, strcmp(result, "bad") == 0 ? ET_EINTEGRITY : ET_EDEGRADED, "%s",
			    et_json_get_text(j, "why", "not verified"));
	(void)et_fail_next(reterr, "evertape recording where %s", cli->args[0]);
	return reterr->code;
}

/* ---- Audio ---- */

/* --from and --to, as the API has them. */
static int span_query(struct et_cli *cli, struct et_buffer *path, struct et_error *reterr)
{
	uint32_t from_ms;
	uint32_t to_ms;
	char ms[16];

	int rc = et_cli_span(cli, &from_ms, &to_ms, reterr);
	if (rc == 0 && from_ms > 0) {
		(void)snprintf(ms, sizeof(ms), "%u", from_ms);
		et_cli_query(path, "from_ms", ms);
	}
	if (rc == 0 && to_ms != UINT32_MAX) {
		(void)snprintf(ms, sizeof(ms), "%u", to_ms);
		et_cli_query(path, "to_ms", ms);
	}
	return rc;
}

/* Add --reason, --from and --to to the path of a recording; *path ends with NUL. `format`: NULL is
 * the API's default. */
static int audio_path(struct et_cli *cli, const char *rest, const char *purpose, const char *format,
		      struct et_buffer *path, struct et_error *reterr)
{
	char base[160];
	int rc = recording_path(cli, rest, base, reterr);
	if (rc < 0) {
		return rc;
	}
	et_buffer_printf(path, "%s", base);
	et_cli_query(path, "purpose", purpose);
	et_cli_query(path, "format", format);
	et_cli_query(path, "reason", et_cli_option(cli, "reason"));
	et_cli_query(path, "tones", et_cli_option(cli, "tones"));
	et_cli_query(path, "losses", et_cli_option(cli, "conceal") != NULL ? "conceal" : NULL);
	rc = span_query(cli, path, reterr);
	if (rc < 0) {
		return rc;
	}
	et_buffer_add8(path, '\0');
	return path->failed ? et_fail(reterr, -ENOMEM, "request") : 0;
}

/* Parts that are missing are silence in the audio, a note and an exit code beside it. */
static int audio_verdict(struct et_cli *cli, const struct et_cli_audio *audio)
{
	if (audio->masked) {
		et_cli_note(cli, "its rule masks key presses: they are silence");
	}
	if (audio->concealed) {
		et_cli_note(cli,
			    "no evidence: lost sound is concealed, %" PRIu64 " ms of it made up",
			    audio->concealed_ms);
	}
	if (audio->complete) {
		return 0;
	}
	ET_CLEANUP(et_buffer_release) struct et_buffer why = { 0 };
	et_cli_add_safe(&why, audio->problem[0] != '\0' ? audio->problem : "parts are missing");
	et_buffer_add8(&why, '\0');
	et_cli_note(cli, "incomplete: %s", why.failed ? "" : (char *)why.data);
	return ET_EXIT_DEGRADED;
}

/* Start aplay and yield the stream to write to. */
static FILE *player_open(pid_t *ret_pid)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) != 0) {
		return NULL;
	}
	pid_t pid = fork();
	if (pid == 0) {
		(void)dup2(fds[0], STDIN_FILENO);
		(void)execlp("aplay", "aplay", "-q", "-", (char *)NULL);
		_exit(127);
	}
	(void)close(fds[0]);
	FILE *f = pid > 0 ? fdopen(fds[1], "w") : NULL;
	if (f == NULL) {
		(void)close(fds[1]);
		return NULL;
	}
	*ret_pid = pid;
	return f;
}

static int play_aloud(struct et_cli *cli, const char *path, struct et_cli_audio *audio,
		      struct et_error *reterr)
{
	pid_t pid;
	FILE *f = player_open(&pid);
	if (f == NULL) {
		return et_fail(reterr, -errno, "start aplay");
	}
	int rc = et_cli_download(cli, path, f, audio, reterr);
	(void)fclose(f);
	int status = 0;
	(void)waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		rc = et_fail_plain(reterr, ET_EUNSUPPORTED, "there is no aplay here");
		(void)et_fail_next(reterr,
				   "apt install alsa-utils, or evertape recording play %s > "
				   "call.wav",
				   cli->args[0]);
	}
	return rc;
}

static int pause_or_resume(struct et_cli *cli, bool pause, struct et_error *reterr)
{
	const char *most = et_cli_option(cli, "max");
	char path[160];
	int64_t us = 0;
	if (most != NULL && (!et_duration_parse(most, &us) || us < 1000)) {
		return et_cli_usage(cli, reterr, "--max is a duration such as 2m, not \"%.40s\"",
				    most);
	}
	int rc = recording_path(cli, pause ? "/pause" : "/resume", path, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	if (us > 0) {
		et_json_set(body, "max_ms", json_integer(us / 1000));
	}
	rc = et_cli_send(cli, "POST", path, body, &answer, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, answer, reterr);
}

/* "ID" or "sip:CALL-ID". */
int et_cli_recording_keep(struct et_cli *cli, struct et_error *reterr)
{
	const char *what = cli->args[0];
	char path[160] = "/v1/capture/keep";
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	if (strncmp(what, "sip:", 4) == 0) {
		et_json_set(body, "sip_call_id", et_json_text(what + 4));
	} else {
		int rc = recording_path(cli, "/keep", path, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	int rc = et_cli_send(cli, "POST", path, body, &answer, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, answer, reterr);
}

int et_cli_recording_pause(struct et_cli *cli, struct et_error *reterr)
{
	return pause_or_resume(cli, true, reterr);
}

int et_cli_recording_resume(struct et_cli *cli, struct et_error *reterr)
{
	return pause_or_resume(cli, false, reterr);
}

int et_cli_recording_play(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	int rc = audio_path(cli, "/audio", "play", NULL, &path, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_cli_audio audio;
	bool terminal = isatty(fileno(cli->out)) != 0;
	rc = terminal ? play_aloud(cli, (char *)path.data, &audio, reterr)
		      : et_cli_download(cli, (char *)path.data, cli->out, &audio, reterr);
	return rc < 0 ? rc : audio_verdict(cli, &audio);
}

/* The archive of an original export, unpacked into the folder `out`. */
static int export_folder(struct et_cli *cli, const char *path, const char *out,
			 struct et_cli_audio *audio, struct et_error *reterr)
{
	if (mkdir(out, 0700) != 0 && errno != EEXIST) {
		return et_fail(reterr, -errno, "make folder '%s'", out);
	}
	/* Without a name, in the folder that is to hold the same content anyway. */
	int fd = open(out, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	FILE *f = fd >= 0 ? fdopen(fd, "w+") : NULL;
	if (f == NULL) {
		return et_fail(reterr, -errno, "temporary file in '%s'", out);
	}
	int rc = et_cli_download(cli, path, f, audio, reterr);
	if (rc == 0) {
		rewind(f);
		rc = et_untar(f, out, reterr);
	}
	(void)fclose(f);
	return rc;
}

int et_cli_recording_export(struct et_cli *cli, struct et_error *reterr)
{
	const char *format = et_cli_option(cli, "format");
	const char *out = et_cli_option(cli, "out");
	bool original = format != NULL && strcmp(format, "original") == 0;
	if (format != NULL && !original && et_audio_format_find(format) == NULL) {
		return et_cli_usage(
			cli, reterr,
			"--format is one of " ET_AUDIO_FORMATS " original, not \"%.20s\"", format);
	}
	if (out == NULL) {
		return et_cli_usage(cli, reterr,
				    "recording export needs --out PATH (- for standard "
				    "output)");
	}
	if (original && et_cli_option(cli, "conceal") != NULL) {
		return et_cli_usage(cli, reterr,
				    "an original is what came: --conceal is of " ET_AUDIO_FORMATS);
	}
	if (original && (et_cli_option(cli, "from") != NULL || et_cli_option(cli, "to") != NULL)) {
		return et_cli_usage(
			cli, reterr,
			"an original is exported whole: --from and --to are of " ET_AUDIO_FORMATS);
	}
	struct et_cli_audio audio;
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	int rc = audio_path(cli, original ? "/original" : "/audio", "export",
			    original ? NULL : format, &path, reterr);
	if (rc < 0) {
		return rc;
	}
	if (strcmp(out, "-") == 0) {
		rc = et_cli_download(cli, (char *)path.data, cli->out, &audio, reterr);
	} else if (original) {
		rc = export_folder(cli, (char *)path.data, out, &audio, reterr);
	} else {
		rc = et_cli_download_file(cli, (char *)path.data, out, &audio, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et_cli_note(cli, "exported to %s", strcmp(out, "-") == 0 ? "standard output" : out);
	return audio_verdict(cli, &audio);
}
