/* Help, completion and the man page, all from the command table. */
#include <string.h>

#include "node/config/config.h"
#include "ops/cli/cli.h"

#ifndef ET_VERSION
#error "ET_VERSION comes from the build"
#endif

static bool is_under(const char *path, const char *group)
{
	size_t size = strlen(group);
	return size == 0 ||
	       (strncmp(path, group, size) == 0 && (path[size] == ' ' || path[size] == '\0'));
}

static void print_options(FILE *f, const struct et_cli_option *options)
{
	for (; options != NULL && options->name != NULL; options++) {
		char text[64];
		(void)snprintf(text, sizeof(text), "--%s%s%s", options->name,
			       options->value != NULL ? " " : "",
			       options->value != NULL ? options->value : "");
		(void)fprintf(f, "  %-24s %s\n", text, options->help);
	}
}

static void help_command(FILE *f, const struct et_cli_command *c)
{
	(void)fprintf(f, "evertape %s: %s\n\nUsage: evertape %s%s%s [options]\n", c->path,
		      c->summary, c->path, *c->arguments != '\0' ? " " : "", c->arguments);
	if (c->details != NULL) {
		(void)fprintf(f, "\n%s\n", c->details);
	}
	(void)fprintf(f, "\nExample: %s\n", c->example);
	if (c->options != NULL) {
		(void)fprintf(f, "\nOptions:\n");
		print_options(f, c->options);
	}
	(void)fprintf(f, "\nOptions of every command:\n");
	print_options(f, et_cli_globals);
}

static const char exit_codes[] =
	"0 ok, 1 failed, 2 usage, 3 unreachable or no quorum, 4 denied, 5 not found, 6 degraded or "
	"incomplete, 7 changes pending, 8 refused by policy, 9 integrity failure, 130 interrupted";

void et_cli_help(const struct et_cli *cli, FILE *f, const char *path)
{
	(void)cli;
	ET_CLI_EACH(c)
	{
		if (strcmp(c->path, path) == 0) {
			help_command(f, c);
			return;
		}
	}
	if (*path == '\0') {
		(void)fprintf(f, "evertape: the admin of an evertape cluster\n\n");
	}
	(void)fprintf(f, "Usage: evertape %s%sCOMMAND [arguments] [options]\n\nCommands:\n", path,
		      *path != '\0' ? " " : "");
	ET_CLI_EACH(c)
	{
		if (is_under(c->path, path) && !c->hidden) {
			char text[64];
			(void)snprintf(text, sizeof(text), "%s%s%s", c->path,
				       *c->arguments != '\0' ? " " : "", c->arguments);
			(void)fprintf(f, "  %-30s %s\n", text, c->summary);
		}
	}
	if (*path == '\0') {
		(void)fprintf(f, "\nOptions of every command:\n");
		print_options(f, et_cli_globals);
		(void)fprintf(f, "\nExit codes: %s.\n", exit_codes);
	}
}

/* ---- Completion ---- */

static void words_of_commands(FILE *f)
{
	ET_CLI_EACH(c)
	{
		(void)fprintf(f, "%s\n", c->path);
	}
}

static void words_of_options(FILE *f, const struct et_cli_option *options)
{
	for (; options != NULL && options->name != NULL; options++) {
		(void)fprintf(f, " --%s", options->name);
	}
}

/* One `case` line a command: its options; and one an option with known values. */
static void bash_cases(FILE *f)
{
	(void)fprintf(f, "\tcase \"$path\" in\n");
	ET_CLI_EACH(c)
	{
		(void)fprintf(f, "\t'%s') options='", c->path);
		words_of_options(f, c->options);
		(void)fprintf(f, "' ;;\n");
	}
	(void)fprintf(f, "\tesac\n\tcase \"$previous\" in\n");
	ET_CLI_EACH(c)
	{
		for (const struct et_cli_option *o = c->options; o != NULL && o->name != NULL;
		     o++) {
			if (o->values != NULL) {
				(void)fprintf(f, "\t--%s) values='%s' ;;\n", o->name, o->values);
			}
		}
	}
	(void)fprintf(f, "\t-o | --output) values='table wide json ndjson csv' ;;\n"
			 "\t--socket | --token-file | --ca | --cluster-ca | --out) files=1 ;;\n"
			 "\tesac\n");
}

static void completion_bash(FILE *f)
{
	(void)fprintf(f, "# evertape completion for bash\n_evertape_commands='");
	words_of_commands(f);
	(void)fprintf(f, "'\n_evertape_globals='");
	words_of_options(f, et_cli_globals);
	(void)fprintf(
		f, "'\n_evertape() {\n"
		   "\tlocal word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
		   "\tlocal path='' options='' values='' files='' w i next='' line\n"
		   "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		   "\t\tw=${COMP_WORDS[i]}\n"
		   "\t\t[[ $w == -* ]] && continue\n"
		   "\t\tif grep -q \"^${path:+$path }$w\\( \\|$\\)\" <<<\"$_evertape_commands\"; "
		   "then\n"
		   "\t\t\tpath=\"${path:+$path }$w\"\n"
		   "\t\tfi\n"
		   "\tdone\n");
	bash_cases(f);
	(void)fprintf(
		f, "\tif [[ -n $values ]]; then\n"
		   "\t\tCOMPREPLY=($(compgen -W \"$values\" -- \"$word\"))\n"
		   "\telif [[ -n $files ]]; then\n"
		   "\t\tCOMPREPLY=($(compgen -f -- \"$word\"))\n"
		   "\telif [[ $word == -* ]]; then\n"
		   "\t\tCOMPREPLY=($(compgen -W \"$options $_evertape_globals\" -- \"$word\"))\n"
		   "\telse\n"
		   "\t\twhile read -r line; do\n"
		   "\t\t\tw=\n"
		   "\t\t\tif [[ -z $path ]]; then w=${line%%%% *}\n"
		   "\t\t\telif [[ $line == \"$path \"* ]]; then\n"
		   "\t\t\t\tw=${line#\"$path \"}; w=${w%%%% *}\n"
		   "\t\t\tfi\n"
		   "\t\t\t[[ \" $next \" == *\" $w \"* ]] || next+=\" $w\"\n"
		   "\t\tdone <<<\"$_evertape_commands\"\n"
		   "\t\tif [[ -n $next ]]; then COMPREPLY=($(compgen -W \"$next\" -- \"$word\"))\n"
		   "\t\telse COMPREPLY=($(compgen -f -- \"$word\")); fi\n"
		   "\tfi\n"
		   "}\n"
		   "complete -o filenames -F _evertape evertape\n");
}

static void completion_zsh(FILE *f)
{
	(void)fprintf(f, "#compdef evertape\n"
			 "# evertape completion for zsh: the one of bash, through bashcompinit\n"
			 "autoload -U +X bashcompinit && bashcompinit\n");
	completion_bash(f);
}

static void fish_quoted(FILE *f, const char *text)
{
	(void)fputc('\'', f);
	for (; *text != '\0'; text++) {
		if (*text == '\'' || *text == '\\') {
			(void)fputc('\\', f);
		}
		(void)fputc(*text, f);
	}
	(void)fputc('\'', f);
}

static void fish_options(FILE *f, const char *condition, const struct et_cli_option *options)
{
	for (; options != NULL && options->name != NULL; options++) {
		(void)fprintf(f, "complete -c evertape -n \"%s\" -l %s%s -d ", condition,
			      options->name, options->value != NULL ? " -r" : "");
		fish_quoted(f, options->help);
		if (options->values != NULL) {
			(void)fprintf(f, " -a '%s'", options->values);
		}
		(void)fputc('\n', f);
	}
}

static void completion_fish(FILE *f)
{
	(void)fprintf(f, "# evertape completion for fish\n"
			 "function __evertape_at\n"
			 "\tset -l words (commandline -opc | string match -v -- '-*')[2..-1]\n"
			 "\ttest \"$words\" = \"$argv\"\n"
			 "end\n"
			 "function __evertape_in\n"
			 "\tset -l words (commandline -opc | string match -v -- '-*')[2..-1]\n"
			 "\tstring match -q -- \"$argv*\" \"$words\"\n"
			 "end\n");
	fish_options(f, "true", et_cli_globals);
	ET_CLI_EACH(c)
	{
		const char *last = strrchr(c->path, ' ');
		int group = last != NULL ? (int)(last - c->path) : 0;
		/* Every word of the path leads to the next one. */
		for (const char *p = c->path; (p = strchr(p, ' ')) != NULL; p++) {
			const char *begin = p;
			while (begin > c->path && begin[-1] != ' ') {
				begin--;
			}
			int before = begin > c->path ? (int)(begin - c->path - 1) : 0;
			(void)fprintf(
				f, "complete -c evertape -f -n \"__evertape_at %.*s\" -a '%.*s'\n",
				before, c->path, (int)(p - begin), begin);
		}
		(void)fprintf(f, "complete -c evertape -f -n \"__evertape_at %.*s\" -a '%s' -d ",
			      group, c->path, last != NULL ? last + 1 : c->path);
		fish_quoted(f, c->summary);
		(void)fputc('\n', f);
		char condition[80];
		(void)snprintf(condition, sizeof(condition), "__evertape_in %s", c->path);
		fish_options(f, condition, c->options);
	}
}

int et_cli_completion(const char *shell, FILE *f)
{
	if (strcmp(shell, "bash") == 0) {
		completion_bash(f);
	} else if (strcmp(shell, "zsh") == 0) {
		completion_zsh(f);
	} else if (strcmp(shell, "fish") == 0) {
		completion_fish(f);
	} else {
		return ET_EUSAGE;
	}
	return 0;
}

/* ---- The manual page ---- */

/* Text for roff: dashes and backslashes are literal, a dot does not begin a line. */
static void roff_text(FILE *f, const char *text)
{
	if (*text == '.' || *text == '\'') {
		(void)fputs("\\&", f);
	}
	for (; *text != '\0'; text++) {
		if (*text == '-' || *text == '\\') {
			(void)fputs(*text == '-' ? "\\-" : "\\e", f);
		} else {
			(void)fputc(*text, f);
		}
	}
}

static void roff_line(FILE *f, const char *text)
{
	roff_text(f, text);
	(void)fputc('\n', f);
}

static void roff_options(FILE *f, const struct et_cli_option *options)
{
	for (; options != NULL && options->name != NULL; options++) {
		(void)fputs(".TP\n\\fB\\-\\-", f);
		roff_text(f, options->name);
		(void)fputs("\\fR", f);
		if (options->value != NULL) {
			(void)fputs(" \\fI", f);
			roff_text(f, options->value);
			(void)fputs("\\fR", f);
		}
		(void)fputc('\n', f);
		roff_line(f, options->help);
	}
}

static void man_evertape(FILE *f)
{
	(void)fprintf(f, ".TH EVERTAPE 1 \"\" \"evertape %s\" \"User Commands\"\n", ET_VERSION);
	(void)fprintf(f, ".SH NAME\nevertape \\- the admin of an evertape cluster\n"
			 ".SH SYNOPSIS\n.B evertape\n\\fICOMMAND\\fR [\\fIarguments\\fR] "
			 "[\\fIoptions\\fR]\n.SH COMMANDS\n");
	ET_CLI_EACH(c)
	{
		(void)fputs(".SS \"evertape ", f);
		roff_text(f, c->path);
		if (*c->arguments != '\0') {
			(void)fputc(' ', f);
			roff_text(f, c->arguments);
		}
		(void)fputs("\"\n", f);
		roff_line(f, c->summary);
		if (c->details != NULL) {
			(void)fputs(".PP\n", f);
			roff_line(f, c->details);
		}
		roff_options(f, c->options);
		(void)fputs(".PP\nExample: \\fB", f);
		roff_text(f, c->example);
		(void)fputs("\\fR\n", f);
	}
	(void)fputs(".SH OPTIONS\nEvery command takes these.\n", f);
	roff_options(f, et_cli_globals);
	(void)fputs(".SH \"EXIT STATUS\"\n", f);
	roff_line(f, exit_codes);
	(void)fputs(".SH ENVIRONMENT\n.TP\nEVERTAPE_SOCKET\nUnix socket of the local node.\n"
		    ".TP\nEVERTAPE_CLUSTER\nExpected name of the cluster.\n"
		    ".TP\nNO_COLOR\nNo colours.\n.SH \"SEE ALSO\"\n.BR evertaped (8),\n.BR "
		    "evertape.yaml (5)\n",
		    f);
}

/* evertape.yaml(5): the commented defaults are the reference. */
static void man_config(FILE *f)
{
	(void)fprintf(f, ".TH EVERTAPE.YAML 5 \"\" \"evertape %s\" \"File Formats\"\n", ET_VERSION);
	(void)fputs(
		".SH NAME\nevertape.yaml \\- configuration of one node of an evertape cluster\n"
		".SH SYNOPSIS\n.I /etc/evertape/evertape.yaml\n"
		".SH DESCRIPTION\nYAML. What this node is told by who installs it; what the whole "
		"cluster decides\n(archive policy, placement, members) is in its catalogue. Keys "
		"marked\n.I needed\nhave no default. Unknown and duplicate keys are errors with "
		"line "
		"and column. Sizes and durations\ncarry units (5GiB, 300ms, 4h). The file holds no "
		"secret: keys are named by path.\n.PP\nAfter a change:\n.B evertape config check "
		"FILE\nand a restart of the daemon.\n"
		".SH \"EVERY KEY, WITH ITS DEFAULT\"\n.nf\n",
		f);
	const char *line = et_config_defaults_text();
	while (*line != '\0') {
		size_t size = strcspn(line, "\n");
		char text[256];
		(void)snprintf(text, sizeof(text), "%.*s", (int)size, line);
		roff_line(f, text);
		line += size + (line[size] == '\n' ? 1 : 0);
	}
	(void)fputs(".fi\n.SH \"SEE ALSO\"\n.BR evertaped (8),\n.BR evertape (1)\n", f);
}

int et_cli_man(const char *page, FILE *f)
{
	if (strcmp(page, "evertape") == 0) {
		man_evertape(f);
	} else if (strcmp(page, "evertape.yaml") == 0) {
		man_config(f);
	} else {
		return ET_EUSAGE;
	}
	return 0;
}
