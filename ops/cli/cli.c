/* From argv to a handler: words, options, usage errors. */
#include "ops/cli/cli.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "node/text/units.h"
#include "ops/cli/codes.h"

#define SOCKET_DEFAULT "/var/lib/evertape/state/run/api.sock"
#define PATH_MAX_WORDS 3
#define CANDIDATES_MAX 128

const char *et_cli_option(const struct et_cli *cli, const char *name)
{
	for (unsigned i = 0; i < cli->option_count; i++) {
		if (strcmp(cli->options[i].option->name, name) == 0) {
			return cli->options[i].value;
		}
	}
	return NULL;
}

json_t *et_cli_option_list(const struct et_cli *cli, const char *name)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < cli->option_count; i++) {
		if (strcmp(cli->options[i].option->name, name) != 0) {
			continue;
		}
		const char *text = cli->options[i].value;
		while (*text != '\0') {
			size_t size = strcspn(text, ",");
			if (size > 0) {
				et_json_add(list, et_json_text_n(text, size));
			}
			text += size + (text[size] == ',');
		}
	}
	return list;
}

int et_cli_usage(const struct et_cli *cli, struct et_error *reterr, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	int rc = et_fail_plain(reterr, ET_EUSAGE, "%s", text);
	(void)et_fail_next(reterr, "evertape %s%s--help",
			   cli->command != NULL ? cli->command->path : "",
			   cli->command != NULL ? " " : "");
	return rc;
}

/* ---- Finding the command ---- */

/* The word of `path` at `position`, into `word`; false: there is none. */
static bool path_word(const char *path, unsigned position, char word[32])
{
	for (unsigned i = 0; *path != '\0'; i++) {
		size_t size = strcspn(path, " ");
		if (i == position) {
			(void)snprintf(word, 32, "%.*s", (int)size, path);
			return true;
		}
		path += size + (path[size] == ' ');
	}
	return false;
}

/* Names that stay valid although we spell them otherwise. */
static const char *unalias(const char *word)
{
	return strcmp(word, "rec") == 0 ? "recording" : word;
}

static bool path_begins_with(const char *path, const char *const *words, unsigned count)
{
	char word[32];
	for (unsigned i = 0; i < count; i++) {
		if (!path_word(path, i, word) || strcmp(word, words[i]) != 0) {
			return false;
		}
	}
	return true;
}

static const struct et_cli_command *command_find(const char *const *words, unsigned count)
{
	char word[32];
	ET_CLI_EACH(c)
	{
		if (path_begins_with(c->path, words, count) && !path_word(c->path, count, word)) {
			return c;
		}
	}
	return NULL;
}

static bool group_exists(const char *const *words, unsigned count)
{
	ET_CLI_EACH(c)
	{
		if (path_begins_with(c->path, words, count)) {
			return true;
		}
	}
	return false;
}

/* The last of `words` is unknown: say which words stand near it. */
static int command_unknown(struct et_cli *cli, const char *const *words, unsigned count,
			   struct et_error *reterr)
{
	static char names[CANDIDATES_MAX][32];
	const char *candidates[CANDIDATES_MAX];
	size_t n = 0;
	ET_CLI_EACH(c)
	{
		if (n < CANDIDATES_MAX && path_begins_with(c->path, words, count - 1) &&
		    path_word(c->path, count - 1, names[n])) {
			candidates[n] = names[n];
			n++;
		}
	}
	char group[64] = "";
	for (unsigned i = 0; i + 1 < count; i++) {
		size_t used = strlen(group);
		(void)snprintf(group + used, sizeof(group) - used, "%s ", words[i]);
	}
	const char *near = et_suggest(words[count - 1], candidates, n);
	int rc = near != NULL ? et_cli_usage(cli, reterr,
					     "unknown command \"%s%.40s\" (did you mean \"%s%s\"?)",
					     group, words[count - 1], group, near)
			      : et_cli_usage(cli, reterr, "unknown command \"%s%.40s\"", group,
					     words[count - 1]);
	(void)et_fail_next(reterr, "evertape %s--help", group);
	return rc;
}

/* ---- Options ---- */

static const struct et_cli_option *option_find(const struct et_cli_option *options,
					       const char *name, size_t size)
{
	for (; options != NULL && options->name != NULL; options++) {
		if (strlen(options->name) == size && memcmp(options->name, name, size) == 0) {
			return options;
		}
	}
	return NULL;
}

static int option_unknown(struct et_cli *cli, const char *name, size_t size,
			  struct et_error *reterr)
{
	const char *candidates[CANDIDATES_MAX];
	size_t n = 0;
	const struct et_cli_option *lists[] = { cli->command != NULL ? cli->command->options : NULL,
						et_cli_globals };
	for (size_t l = 0; l < ET_ARRAY_SIZE(lists); l++) {
		for (const struct et_cli_option *o = lists[l];
		     o != NULL && o->name != NULL && n < CANDIDATES_MAX; o++) {
			candidates[n++] = o->name;
		}
	}
	char word[48];
	(void)snprintf(word, sizeof(word), "%.*s", (int)size, name);
	const char *near = et_suggest(word, candidates, n);
	return near != NULL ? et_cli_usage(cli, reterr, "unknown option --%s (did you mean --%s?)",
					   word, near)
			    : et_cli_usage(cli, reterr, "unknown option --%s", word);
}

/* Read the option at argv[*i]; takes its value from there or from the next word. */
static int option_read(struct et_cli *cli, int argc, char **argv, int *i, struct et_error *reterr)
{
	static const struct {
		char letter;
		const char *name;
	} letters[] = { { 'o', "output" }, { 'q', "quiet" }, { 'v', "verbose" }, { 'h', "help" } };
	const char *word = argv[*i];
	const char *name = word + 2;
	const char *value = NULL;
	if (word[1] != '-') {
		name = "?";
		for (size_t l = 0; l < ET_ARRAY_SIZE(letters); l++) {
			if (word[1] == letters[l].letter) {
				name = letters[l].name;
			}
		}
		if (*name == '?') {
			return et_cli_usage(cli, reterr, "unknown option %.40s", word);
		}
		value = word[2] != '\0' ? word + 2 + (word[2] == '=') : NULL;
	}
	size_t size = value != NULL || word[1] != '-' ? strlen(name) : strcspn(name, "=");
	if (word[1] == '-' && name[size] == '=') {
		value = name + size + 1;
	}

	const struct et_cli_option *option =
		cli->command != NULL ? option_find(cli->command->options, name, size) : NULL;
	if (option == NULL) {
		option = option_find(et_cli_globals, name, size);
	}
	if (option == NULL) {
		return option_unknown(cli, name, size, reterr);
	}
	if (option->value == NULL && value != NULL) {
		return et_cli_usage(cli, reterr, "--%s takes no value", option->name);
	}
	if (option->value != NULL && value == NULL) {
		if (*i + 1 >= argc) {
			return et_cli_usage(cli, reterr, "--%s needs a %s", option->name,
					    option->value);
		}
		value = argv[++*i];
	}
	if (cli->option_count == ET_CLI_OPTIONS_MAX) {
		return et_cli_usage(cli, reterr, "more than %d options", ET_CLI_OPTIONS_MAX);
	}
	bool many = option->value != NULL && strstr(option->value, "...") != NULL;
	if (!many && et_cli_option(cli, option->name) != NULL) {
		return et_cli_usage(cli, reterr, "--%s stands twice", option->name);
	}
	cli->options[cli->option_count].option = option;
	cli->options[cli->option_count].value = value != NULL ? value : "";
	cli->option_count++;
	return 0;
}

/* ---- The command line as a whole ---- */

/* A command that takes no arguments may be the beginning of others. */
static bool command_goes_on(const struct et_cli *cli, const char **words, unsigned count,
			    const char *word)
{
	if (cli->command == NULL || cli->command->max_args > 0 || count >= PATH_MAX_WORDS) {
		return false;
	}
	words[count] = word;
	return group_exists(words, count + 1);
}

static int words_read(struct et_cli *cli, int argc, char **argv, struct et_error *reterr)
{
	const char *words[PATH_MAX_WORDS + 1];
	unsigned count = 0;
	bool only_words = false;
	for (int i = 1; i < argc; i++) {
		bool asks_version = argc == 2 && strcmp(argv[i], "--version") == 0;
		const char *word = asks_version ? "version" : argv[i]; /* as other programs say */
		if (!only_words && strcmp(word, "--") == 0) {
			only_words = true;
			continue;
		}
		if (!only_words && word[0] == '-' && word[1] != '\0') {
			int rc = option_read(cli, argc, argv, &i, reterr);
			if (rc < 0) {
				return rc;
			}
			continue;
		}
		if (command_goes_on(cli, words, count, word)) {
			cli->command = NULL; /* "cluster backup", and "cluster backup verify" */
		}
		if (cli->command == NULL) {
			words[count++] = unalias(word);
			if (!group_exists(words, count)) {
				return command_unknown(cli, words, count, reterr);
			}
			cli->command = command_find(words, count);
			if (cli->command == NULL) {
				et_assert(count < PATH_MAX_WORDS);
			}
			continue;
		}
		if (cli->arg_count == ET_CLI_ARGS_MAX) {
			return et_cli_usage(cli, reterr, "too many arguments");
		}
		cli->args[cli->arg_count++] = word;
	}
	if (cli->command != NULL) {
		return 0;
	}
	/* A group, or nothing at all: its help is the answer, or the error. */
	char group[64] = "";
	for (unsigned i = 0; i < count; i++) {
		size_t used = strlen(group);
		(void)snprintf(group + used, sizeof(group) - used, "%s%s", i > 0 ? " " : "",
			       words[i]);
	}
	if (et_cli_option(cli, "help") != NULL) {
		et_cli_help(cli, cli->out, group);
		return 1;
	}
	et_cli_help(cli, cli->err, group);
	return et_cli_usage(cli, reterr, "%s%scommand is missing", group,
			    count > 0 ? ": its " : "the ");
}

static int format_read(struct et_cli *cli, struct et_error *reterr)
{
	static const char *const names[] = { "table", "wide", "json", "ndjson", "csv" };
	const char *text = et_cli_option(cli, "output");
	if (text == NULL) {
		return 0;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			cli->format = (enum et_cli_format)i;
			return 0;
		}
	}
	if (strcmp(text, "yaml") == 0 && option_find(cli->command->options, "output", 6) != NULL) {
		cli->format = ET_CLI_YAML;
		return 0;
	}
	return et_cli_usage(cli, reterr,
			    "--output is table, wide, json, ndjson or csv, not \"%.20s\"", text);
}

/* --node is whom to ask, over HTTPS; for commands about a member, a name without a port is the one
 * that is meant: any node is asked about it. */
static const char *address_option(const struct et_cli *cli)
{
	for (unsigned i = 0; i < cli->option_count; i++) {
		const char *value = cli->options[i].value;
		bool own = option_find(cli->command->options, "node", 4) != NULL;
		if (strcmp(cli->options[i].option->name, "node") == 0 &&
		    (!own || strchr(value, ':') != NULL)) {
			return value;
		}
	}
	return NULL;
}

const char *et_cli_member(const struct et_cli *cli, unsigned which)
{
	for (unsigned i = 0; i < cli->option_count; i++) {
		const char *value = cli->options[i].value;
		if (strcmp(cli->options[i].option->name, "node") == 0 &&
		    strchr(value, ':') == NULL && which-- == 0) {
			return value;
		}
	}
	return NULL;
}

static int globals_read(struct et_cli *cli, struct et_error *reterr)
{
	int rc = format_read(cli, reterr);
	if (rc < 0) {
		return rc;
	}
	const char *timeout = et_cli_option(cli, "timeout");
	if (timeout != NULL) {
		int64_t us;
		if (!et_duration_parse(timeout, &us) || us < 1000 || us > INT64_C(86400000000)) {
			return et_cli_usage(cli, reterr,
					    "--timeout is a duration from 1ms to 24h, such as 30s, "
					    "not \"%.20s\"",
					    timeout);
		}
		cli->timeout_ms = (long)(us / 1000);
	}
	const char *socket = et_cli_option(cli, "socket");
	const char *from_env = getenv("EVERTAPE_SOCKET");
	cli->socket = socket != NULL			      ? socket
		      : from_env != NULL && *from_env != '\0' ? from_env
							      : SOCKET_DEFAULT;
	const char *cluster = et_cli_option(cli, "cluster");
	cli->cluster = cluster != NULL ? cluster : getenv("EVERTAPE_CLUSTER");
	cli->node = address_option(cli);
	cli->token_file = et_cli_option(cli, "token-file");
	cli->ca = et_cli_option(cli, "ca");
	cli->cluster_ca = et_cli_option(cli, "cluster-ca");
	cli->pin = et_cli_option(cli, "pin");
	cli->quiet = et_cli_option(cli, "quiet") != NULL;
	cli->verbose = et_cli_option(cli, "verbose") != NULL;
	cli->color =
		cli->color && et_cli_option(cli, "no-color") == NULL && getenv("NO_COLOR") == NULL;
	return 0;
}

static int command_check(struct et_cli *cli, struct et_error *reterr)
{
	const struct et_cli_command *c = cli->command;
	if (cli->arg_count < c->min_args) {
		return et_cli_usage(cli, reterr, "usage: evertape %s %s", c->path, c->arguments);
	}
	if (cli->arg_count > c->max_args) {
		return et_cli_usage(cli, reterr,
				    "\"%.40s\" is one argument too many: evertape %s %s",
				    cli->args[c->max_args], c->path, c->arguments);
	}
	const char *reason = et_cli_option(cli, "reason");
	if (c->destructive && (reason == NULL || *reason == '\0')) {
		return et_cli_usage(cli, reterr,
				    "%s needs --reason TEXT: it goes into the audit log", c->path);
	}
	return 0;
}

/* -o json anywhere makes errors JSON, also those of reading the command line. */
static enum et_cli_format format_guess(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = NULL;
		if (strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "--output") == 0) {
			value = i + 1 < argc ? argv[i + 1] : NULL;
		} else if (strncmp(argv[i], "--output=", 9) == 0) {
			value = argv[i] + 9;
		} else if (strncmp(argv[i], "-o", 2) == 0) {
			value = argv[i] + 2;
		}
		if (value != NULL && (strcmp(value, "json") == 0 || strcmp(value, "ndjson") == 0)) {
			return ET_CLI_JSON;
		}
	}
	return ET_CLI_TABLE;
}

/* An error never leaves without the next command. */
static void error_complete(const struct et_cli *cli, struct et_error *e)
{
	if (e->next[0] != '\0') {
		return;
	}
	const struct et_cli_code *code = et_cli_code_find(et_errname(e->code));
	if (e->code != ET_EUSAGE && code != NULL) {
		(void)et_fail_next(e, "evertape explain %s", code->code);
	} else if (cli->command != NULL) {
		(void)et_fail_next(e, "evertape %s --help", cli->command->path);
	} else {
		(void)et_fail_next(e, "evertape --help");
	}
}

static int cli_run(struct et_cli *cli, int argc, char **argv, struct et_error *reterr)
{
	int rc = words_read(cli, argc, argv, reterr);
	if (rc != 0) {
		return rc > 0 ? 0 : rc;
	}
	rc = globals_read(cli, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_option(cli, "help") != NULL) {
		et_cli_help(cli, cli->out, cli->command->path);
		return 0;
	}
	rc = command_check(cli, reterr);
	return rc < 0 ? rc : cli->command->run(cli, reterr);
}

int et_cli_main(int argc, char **argv, FILE *out, FILE *err)
{
	(void)signal(SIGPIPE, SIG_IGN);
	struct et_cli cli = {
		.out = out,
		.err = err,
		.timeout_ms = 0,
		.format = format_guess(argc, argv),
		.color = isatty(fileno(out)) != 0,
	};
	struct et_error e = { 0 };
	int rc = cli_run(&cli, argc, argv, &e);
	bool lost = fflush(out) != 0 || ferror(out) != 0;
	if (rc >= 0 && lost) {
		rc = et_fail(&e, -EIO, "write to standard output");
	}
	if (rc < 0) {
		error_complete(&cli, &e);
		et_cli_print_error(&cli, &e);
		return et_exit_code(rc);
	}
	return rc;
}
