/* Nodes as members: roles, draining, removal; Raft's leader and peers.
 *
 * Each verb says what it wants, then waits until it is so, and tells what is going on: on a
 * terminal in one line, otherwise a line whenever it changes. What was asked for is committed
 * before the waiting begins; interrupted, it goes on by itself, and the verb may be given again. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/io/clock.h"
#include "node/text/units.h"
#include "ops/cli/cli.h"

#define CHANGE_MS 120000			/* one request: a leader may hand over first */
#define WAIT_US (INT64_C(120) * 1000000)	/* for Raft to follow */
#define DRAIN_WAIT_US (INT64_C(3600) * 1000000) /* for copies to be made */
#define POLL_NS (300 * 1000000L)
#define SAY_AGAIN_US (INT64_C(10) * 1000000)

/* ---- Waiting ---- */

struct wait {
	struct et_cli *cli;
	int64_t until_us;
	int64_t said_us;
	char said[300];
	bool on_terminal;
};

static int wait_begin(struct et_cli *cli, int64_t otherwise_us, struct wait *ret,
		      struct et_error *reterr)
{
	const char *text = et_cli_option(cli, "wait");
	int64_t us = otherwise_us;

	if (text != NULL && (!et_duration_parse(text, &us) || us < 0)) {
		return et_cli_usage(cli, reterr, "--wait is a duration such as 5m, not \"%.20s\"",
				    text);
	}
	*ret = (struct wait){ .cli = cli,
			      .until_us = et_clock_mono_us() + us,
			      .on_terminal = isatty(fileno(cli->err)) != 0 };
	return 0;
}

static void wait_say(struct wait *w, const char *text)
{
	int64_t now = et_clock_mono_us();
	bool same = strcmp(w->said, text) == 0;

	if (w->cli->quiet || (same && now - w->said_us < SAY_AGAIN_US)) {
		return;
	}
	if (w->on_terminal) {
		(void)fprintf(w->cli->err, "\r\033[K%s", text);
		(void)fflush(w->cli->err);
	} else {
		(void)fprintf(w->cli->err, "%s\n", text);
	}
	(void)snprintf(w->said, sizeof(w->said), "%s", text);
	w->said_us = now;
}

static void wait_end(struct wait *w)
{
	if (w->on_terminal && w->said[0] != '\0') {
		(void)fprintf(w->cli->err, "\r\033[K");
	}
}

/* false: the time is over. */
static bool wait_more(struct wait *w)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };

	if (et_clock_mono_us() >= w->until_us) {
		return false;
	}
	(void)nanosleep(&pause, NULL);
	return true;
}

/* ---- Requests ---- */

static void node_path(struct et_buffer *path, const char *name, const char *what)
{
	et_buffer_printf(path, "/v1/nodes/");
	for (const char *p = name; *p != '\0'; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9') || *p == '-' || *p == '_' || *p == '.';
		et_buffer_printf(path, plain ? "%c" : "%%%02X", plain ? *p : (unsigned char)*p);
	}
	et_buffer_printf(path, "%s", what);
	et_buffer_add8(path, 0);
}

static int node_get(struct et_cli *cli, const char *name, const char *what, json_t **ret,
		    struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };

	node_path(&path, name, what);
	return path.failed ? et_fail(reterr, -ENOMEM, "%s", name)
			   : et_cli_get(cli, (const char *)path.data, ret, reterr);
}

static int node_post(struct et_cli *cli, const char *name, const char *what, const json_t *body,
		     json_t **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };

	et_cli_patience(cli, CHANGE_MS);
	node_path(&path, name, what);
	return path.failed ? et_fail(reterr, -ENOMEM, "%s", name)
			   : et_cli_send(cli, "POST", (const char *)path.data, body, ret, reterr);
}

static void body_text(struct et_cli *cli, json_t *body, const char *option, const char *key)
{
	if (et_cli_option(cli, option) != NULL) {
		et_json_set(body, key, et_json_text(et_cli_option(cli, option)));
	}
}

static void body_common(struct et_cli *cli, json_t *body)
{
	body_text(cli, body, "reason", "reason");
	body_text(cli, body, "confirm", "confirm");
	if (et_cli_option(cli, "force") != NULL) {
		et_json_set(body, "force", json_true());
	}
}

/* ---- Until Raft has followed ---- */

/* Is the node what was asked for: its place in Raft, and, for a vault node, the keys? */
static bool is_there(const json_t *node)
{
	return strcmp(et_json_get_text(node, "role", ""),
		      et_json_get_text(node, "wanted_role", "")) == 0 &&
	       et_json_get_int(node, "keys_missing", 0) == 0;
}

static void follow_text(const json_t *node, const char *name, char *text, size_t size)
{
	int64_t missing = et_json_get_int(node, "keys_missing", 0);
	int n = snprintf(text, size, "%.64s: %.16s -> %.16s: %.150s",
			 et_json_get_text(node, "name", name), et_json_get_text(node, "role", "?"),
			 et_json_get_text(node, "wanted_role", "?"),
			 et_json_get_text(node, "change", ""));

	if (missing > 0 && n > 0 && (size_t)n < size) {
		(void)snprintf(text + n, size - (size_t)n,
			       "; another vault node is to grant %" PRId64 " of %" PRId64 " keys",
			       missing, missing + et_json_get_int(node, "keys", 0));
	}
}

/* *ret_done: the node is what was asked for. Replaces *node. */
static int follow(struct et_cli *cli, const char *name, json_t **node, bool *ret_done,
		  struct et_error *reterr)
{
	struct wait w;
	int rc = et_cli_option(cli, "no-wait") != NULL ? 0 : wait_begin(cli, WAIT_US, &w, reterr);
	*ret_done = is_there(*node);
	if (rc < 0 || et_cli_option(cli, "no-wait") != NULL) {
		return rc;
	}
	/* A node that was removed hears no more of the others: it cannot see itself go. */
	while (!*ret_done && !(et_json_get_bool(*node, "self", false) &&
			       strcmp(et_json_get_text(*node, "wanted_role", ""), "none") == 0)) {
		char text[300];
		follow_text(*node, name, text, sizeof(text));
		wait_say(&w, text);
		if (!wait_more(&w)) {
			break;
		}
		char id[32];
		json_t *now = NULL;
		struct et_error ignored = { 0 };
		(void)snprintf(id, sizeof(id), "%" PRId64, et_json_get_int(*node, "id", 0));
		if (node_get(cli, id, "", &now, &ignored) < 0) {
			continue; /* A leader may be changing. */
		}
		json_decref(*node);
		*node = now;
		*ret_done = is_there(now);
	}
	wait_end(&w);
	return 0;
}

static int say_node(struct et_cli *cli, const json_t *node, bool done)
{
	const char *name = et_json_get_text(node, "name", "?");
	bool gone = strcmp(et_json_get_text(node, "wanted_role", ""), "none") == 0;

	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, node);
	} else if (gone) {
		(void)fprintf(cli->out, "%s is %s%s.\n", name, et_json_get_text(node, "state", "?"),
			      done ? ", and out of Raft" : "");
	} else {
		int64_t keys = et_json_get_int(node, "keys", 0);
		int64_t missing = et_json_get_int(node, "keys_missing", 0);
		bool in_raft = strcmp(et_json_get_text(node, "role", ""),
				      et_json_get_text(node, "wanted_role", "")) == 0;
		(void)fprintf(cli->out, "%s is %s%s", name, et_json_get_text(node, "role", "?"),
			      in_raft ? "" : " still");
		if (keys + missing > 0) {
			(void)fprintf(cli->out, ", and can open %" PRId64 " of %" PRId64 " keys",
				      keys, keys + missing);
		}
		(void)fprintf(cli->out, ".\n");
	}
	if (!done && et_cli_option(cli, "no-wait") == NULL &&
	    !et_json_get_bool(node, "self", false)) {
		et_cli_note(cli, "it is committed, and goes on by itself: evertape node show %s",
			    name);
		return ET_EXIT_DEGRADED;
	}
	return 0;
}

static int change_roles(struct et_cli *cli, json_t *add, json_t *remove, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *node = NULL;
	bool done = false;

	et_json_set(body, "add", add);
	et_json_set(body, "remove", remove);
	body_common(cli, body);
	int rc = node_post(cli, cli->args[0], "/roles", body, &node, reterr);
	rc = rc < 0 ? rc : follow(cli, cli->args[0], &node, &done, reterr);
	return rc < 0 ? rc : say_node(cli, node, done);
}

static bool word_is_one_of(const char *word, const char *a, const char *b)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int et_cli_node_promote(struct et_cli *cli, struct et_error *reterr)
{
	const char *to = et_cli_option(cli, "to");
	json_t *add = et_cli_option_list(cli, "role");

	if (to != NULL && !word_is_one_of(to, "voter", "standby")) {
		json_decref(add);
		return et_cli_usage(cli, reterr, "--to is voter or standby, not \"%.20s\"", to);
	}
	if (to != NULL || json_array_size(add) == 0) {
		et_json_add(add, json_string(to != NULL ? to : "voter"));
	}
	return change_roles(cli, add, json_array(), reterr);
}

int et_cli_node_demote(struct et_cli *cli, struct et_error *reterr)
{
	const char *to = et_cli_option(cli, "to");
	json_t *remove = et_cli_option_list(cli, "role");
	json_t *add = json_array();

	if (to != NULL && !word_is_one_of(to, "standby", "spare")) {
		json_decref(remove);
		json_decref(add);
		return et_cli_usage(cli, reterr, "--to is standby or spare, not \"%.20s\"", to);
	}
	if (to != NULL || json_array_size(remove) == 0) {
		et_json_add(add, json_string(to != NULL ? to : "standby"));
	}
	return change_roles(cli, add, remove, reterr);
}

int et_cli_node_show(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *node = NULL;

	int rc = node_get(cli, cli->args[0], "", &node, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, node, reterr);
}

/* ---- Draining ---- */

static int say_drained(struct et_cli *cli, const json_t *h)
{
	bool drained = et_json_get_bool(h, "drained", false);

	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, h);
	} else {
		(void)fprintf(cli->out,
			      "%s: %s; %" PRId64 " of %" PRId64 " segments left, %" PRId64
			      " calls being recorded%s%s\n",
			      et_json_get_text(h, "name", "?"),
			      drained ? "drained: it may be removed" : "draining",
			      et_json_get_int(h, "left_segments", 0),
			      et_json_get_int(h, "segments", 0), et_json_get_int(h, "capturing", 0),
			      drained ? "" : "; ", drained ? "" : et_json_get_text(h, "why", ""));
	}
	return drained ? 0 : ET_EXIT_DEGRADED;
}

static void drain_text(const json_t *h, char *text, size_t size)
{
	struct et_buffer bytes = { 0 };

	et_cli_format_value(json_object_get(h, "left_bytes"), ET_CLI_BYTES, &bytes);
	(void)snprintf(text, size,
		       "%s: %" PRId64 " of %" PRId64 " segments (%.*s) left, %" PRId64
		       " calls being recorded: %.120s",
		       et_json_get_text(h, "name", "?"), et_json_get_int(h, "left_segments", 0),
		       et_json_get_int(h, "segments", 0), (int)bytes.size,
		       bytes.size > 0 ? (const char *)bytes.data : "",
		       et_json_get_int(h, "capturing", 0), et_json_get_text(h, "why", ""));
	et_buffer_release(&bytes);
}

static int drain_follow(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *h = NULL;
	struct wait w;

	int rc = wait_begin(cli, DRAIN_WAIT_US, &w, reterr);
	while (rc == 0) {
		json_t *now = NULL;
		char text[300];
		rc = node_get(cli, cli->args[0], "/holdings", &now, reterr);
		if (rc == 0) {
			json_decref(h);
			h = now;
		} else if (h != NULL && rc != ET_EDENIED && rc != ET_ENOTFOUND) {
			rc = 0; /* A leader may be changing. */
		}
		if (rc < 0 || et_json_get_bool(h, "drained", false) ||
		    et_cli_option(cli, "no-wait") != NULL) {
			break;
		}
		drain_text(h, text, sizeof(text));
		wait_say(&w, text);
		if (!wait_more(&w)) {
			break;
		}
	}
	if (rc < 0) {
		return rc;
	}
	wait_end(&w);
	return say_drained(cli, h);
}

static int drain_ask(struct et_cli *cli, bool draining, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *node = NULL;

	et_json_set(body, "draining", json_boolean(draining));
	if (et_cli_option(cli, "stop-capture") != NULL) {
		et_json_set(body, "stop_capture", json_true());
	}
	body_text(cli, body, "reason", "reason");
	int rc = node_post(cli, cli->args[0], "/drain", body, &node, reterr);
	if (rc < 0 || draining) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, node);
	} else {
		(void)fprintf(cli->out, "%s is %s.\n", et_json_get_text(node, "name", "?"),
			      et_json_get_text(node, "state", "?"));
	}
	return 0;
}

int et_cli_node_drain(struct et_cli *cli, struct et_error *reterr)
{
	int rc = drain_ask(cli, true, reterr);
	return rc < 0 ? rc : drain_follow(cli, reterr);
}

int et_cli_node_undrain(struct et_cli *cli, struct et_error *reterr)
{
	return drain_ask(cli, false, reterr);
}

/* ---- Removal ---- */

/* "dead" and "stolen" as the reason, alone or followed by more, are causes. */
static const char *cause_of(const char *reason)
{
	static const char *const causes[] = { "dead", "stolen" };

	for (size_t i = 0; i < ET_ARRAY_SIZE(causes); i++) {
		size_t n = strlen(causes[i]);
		if (strncmp(reason, causes[i], n) == 0 && (reason[n] == '\0' || reason[n] == ' ' ||
							   reason[n] == ':' || reason[n] == ',')) {
			return causes[i];
		}
	}
	return NULL;
}

/* What would be lost, before anybody is asked to confirm it. */
static void say_loss(struct et_cli *cli, const json_t *h)
{
	size_t i;
	json_t *id;

	if (h == NULL) {
		return;
	}
	et_cli_note(cli,
		    "lost with it: %" PRId64 " segments of %" PRId64
		    " recordings that are nowhere else; %" PRId64
		    " calls that were being recorded; what its journal had not committed",
		    et_json_get_int(h, "alone_segments", 0),
		    et_json_get_int(h, "alone_recordings", 0), et_json_get_int(h, "capturing", 0));
	json_array_foreach(json_object_get(h, "recordings"), i, id)
	{
		et_cli_note(cli, "  %s", json_string_value(id));
	}
}

int et_cli_node_remove(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *node = NULL;
	const char *reason = et_cli_option(cli, "reason");
	const char *cause = reason != NULL ? cause_of(reason) : NULL;
	bool done = false;
	size_t i;
	json_t *note;

	body_common(cli, body);
	if (cause != NULL) {
		et_json_set(body, "cause", json_string(cause));
	}
	int rc = node_post(cli, cli->args[0], "/remove", body, &node, reterr);
	if (rc == ET_EPOLICY) {
		ET_CLEANUP(et_json_freep) json_t *h = NULL;
		if (cause != NULL && node_get(cli, cli->args[0], "/holdings", &h, NULL) == 0) {
			say_loss(cli, h);
		}
	}
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *notes = json_incref(json_object_get(node, "notes"));
	ET_CLEANUP(et_json_freep) json_t *loss = json_incref(json_object_get(node, "loss"));
	rc = follow(cli, cli->args[0], &node, &done, reterr);
	if (rc < 0) {
		return rc;
	}
	if (json_is_object(loss)) {
		et_json_set(node, "loss", json_incref(loss));
		say_loss(cli, loss);
	}
	json_array_foreach(notes, i, note)
	{
		et_cli_note(cli, "%s", json_string_value(note));
	}
	if (notes != NULL) {
		et_json_set(node, "notes", json_incref(notes));
	}
	return say_node(cli, node, done);
}

/* ---- Raft ---- */

static const struct et_cli_column peer_columns[] = {
	{ "ID", "id", ET_CLI_NUMBER, false },
	{ "NODE", "name", ET_CLI_TEXT, false },
	{ "SITE", "site", ET_CLI_TEXT, false },
	{ "ROLE", "role", ET_CLI_TEXT, false },
	{ "LEADER", "leader", ET_CLI_TEXT, false },
	{ "REACHABLE", "reachable", ET_CLI_TEXT, false },
	{ "MATCH", "match", ET_CLI_NUMBER, false },
	{ "LAG", "lag", ET_CLI_NUMBER, false },
	{ "HEARD", "contact_ms", ET_CLI_AGO_MS, false },
	{ "CLOCK MS", "clock_offset_ms", ET_CLI_NUMBER, false },
	{ "ADDRESS", "address", ET_CLI_TEXT, true },
	{ "ADDED WITH", "raft_address", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_raft_peers(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;

	int rc = et_cli_get(cli, "/v1/raft", &j, reterr);
	rc = rc < 0 ? rc : et_cli_print(cli, j, "peers", peer_columns, reterr);
	if (rc < 0) {
		return rc;
	}
	const json_t *change = json_object_get(j, "change");
	if (change != NULL && !et_cli_is_json(cli)) {
		et_cli_note(cli, "under way: node %" PRId64 ": %s %s",
			    et_json_get_int(change, "node", 0),
			    et_json_get_text(change, "step", ""),
			    et_json_get_text(change, "why", ""));
	}
	if (!et_json_get_bool(j, "complete", false)) {
		et_cli_note(cli, "%s",
			    et_json_get_text(j, "why", "the leader has not said what it sees"));
		return ET_EXIT_DEGRADED;
	}
	return 0;
}

int et_cli_raft_transfer(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *j = NULL;

	et_cli_patience(cli, CHANGE_MS);
	if (cli->arg_count > 0) {
		et_json_set(body, "to", et_json_text(cli->args[0]));
	}
	body_text(cli, body, "reason", "reason");
	int rc = et_cli_send(cli, "POST", "/v1/raft/transfer", body, &j, reterr);
	if (rc == 0 && et_cli_is_json(cli)) {
		et_cli_print_json(cli, j);
	} else if (rc == 0) {
		(void)fprintf(cli->out, "%s leads.\n", et_json_get_text(j, "leader", "?"));
	}
	return rc;
}

int et_cli_raft_snapshot(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;

	et_cli_patience(cli, CHANGE_MS);
	int rc = et_cli_send(cli, "POST", "/v1/raft/snapshot", NULL, &j, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, j, reterr);
}

/* Offline: evertaped, beside this program or in $PATH, does it; it holds the database. */
int et_cli_raft_recover(struct et_cli *cli, struct et_error *reterr)
{
	const char *state = et_cli_option(cli, "state");
	const char *confirm = et_cli_option(cli, "confirm");
	char path[512];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("evertaped"));

	if (state == NULL || *state == '\0') {
		return et_cli_usage(cli, reterr, "raft recover needs --state DIR of this node");
	}
	path[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(path, '/');
	(void)snprintf(slash != NULL ? slash + 1 : path, sizeof("evertaped"), "evertaped");
	(void)fflush(cli->out);
	(void)execl(path, "evertaped", "--raft-recover", state, confirm, (char *)NULL);
	(void)execlp("evertaped", "evertaped", "--raft-recover", state, confirm, (char *)NULL);
	return et_fail(reterr, -errno, "run evertaped");
}
