/* The command line without a node: usage, suggestions, exit codes, errors as JSON, help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/api/api.h"
#include "ops/cli/cli.h"
#include "ops/cli/codes.h"

struct result {
	int code;
	char *out;
	char *err;
};

static struct result run(const char *line)
{
	struct result r = { 0 };
	char copy[512];
	char *argv[32] = { (char *)(uintptr_t) "evertape" };
	int argc = 1;
	size_t out_size, err_size;
	(void)snprintf(copy, sizeof(copy), "%s", line);
	for (char *save = NULL, *w = strtok_r(copy, " ", &save); w != NULL;
	     w = strtok_r(NULL, " ", &save)) {
		argv[argc++] = w;
	}
	FILE *out = open_memstream(&r.out, &out_size);
	FILE *err = open_memstream(&r.err, &err_size);
	assert_non_null(out);
	assert_non_null(err);
	r.code = et_cli_main(argc, argv, out, err);
	(void)fclose(out);
	(void)fclose(err);
	return r;
}

static void release(struct result *r)
{
	free(r->out);
	free(r->err);
}

#define RUN(line) ET_CLEANUP(release) struct result r = run(line)

static const char rules_file[] =
	"cluster: a\n"
	"node: {name: prg-1, site: prg, roles: [voter, vault, capture, api]}\n"
	"listen: {cluster: 10.1.0.11:7400, api: 0.0.0.0:7443}\n"
	"data: {state: /s, media: /m, root: \"file:/k\"}\n"
	"recording:\n"
	"  default: skip\n"
	"  rules:\n"
	"    - {name: private, from: 1001, action: skip}\n"
	"    - {name: sales, to: \"1*\", header: {X-Queue: \"sales*\"}, tones: mask, action: "
	"record}\n"
	"    - {name: tenth, to: \"2*\", sample: 10%, action: record}\n";

static void the_rule_that_fires_is_explained(void **state)
{
	char path[] = "/tmp/et_rules.XXXXXX";
	char line[256];
	int fd = mkstemp(path);
	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, rules_file, sizeof(rules_file) - 1), sizeof(rules_file) - 1);
	(void)close(fd);
	{
		(void)snprintf(line, sizeof(line),
			       "capture explain 4711 1234 --call-id x --header x-queue=sales-2 "
			       "--config %s -o csv",
			       path);
		RUN(line);
		assert_int_equal(r.code, 0);
		assert_string_equal(r.out,
				    "number,name,action,result,why,tones\r\n"
				    "1,private,skip,no,\"from \"\"4711\"\" is not 1001\",\r\n"
				    "2,sales,record,fires,\"to 1*, X-Queue sales*\",mask\r\n"
				    "3,tenth,record,not reached,a rule before it fires,keep\r\n"
				    "4,default,skip,not reached,a rule before it fires,\r\n");
	}
	{ /* SHA-256 of abc1 begins dbfcfd0d: its place is told, and is not among a tenth */
		(void)snprintf(line, sizeof(line),
			       "capture explain 4711 2 --call-id abc1 --config %s -o json", path);
		RUN(line);
		assert_int_equal(r.code, 0);
		assert_non_null(strstr(r.out, "(its place: 17.94)"));
		assert_non_null(strstr(r.out, "\"rule\": \"default\""));
	}
	{
		(void)snprintf(line, sizeof(line), "capture explain 4711 1 --config %s", path);
		RUN(line);
		assert_int_equal(r.code, 2);
		assert_non_null(strstr(r.err, "say which with --call-id"));
	}
	{
		(void)snprintf(line, sizeof(line), "capture explain x.pcap --call-id 1 --config %s",
			       path);
		RUN(line);
		assert_int_equal(r.code, 2);
	}
	(void)unlink(path);
}

/* Runs with `text` on standard input. */
static struct result run_with(const char *text, const char *line)
{
	FILE *f = tmpfile();
	int before = dup(STDIN_FILENO);
	assert_non_null(f);
	assert_true(before >= 0);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fflush(f), 0);
	assert_int_equal(lseek(fileno(f), 0, SEEK_SET), 0);
	assert_true(dup2(fileno(f), STDIN_FILENO) >= 0);
	clearerr(stdin);
	struct result r = run(line);
	assert_true(dup2(before, STDIN_FILENO) >= 0);
	(void)close(before);
	(void)fclose(f);
	return r;
}

static void the_version_is_told_as_other_programs_do(void **state)
{
	(void)state;
	RUN("--version");
	assert_int_equal(r.code, 0);
	ET_CLEANUP(release) struct result words = run("version");
	assert_string_equal(r.out, words.out);
	assert_non_null(strstr(r.out, "version"));
	ET_CLEANUP(release) struct result more = run("status --version");
	assert_int_equal(more.code, 2);
}

/* A hold that forgets a recording loses it. */
static void every_recording_on_standard_input_is_understood(void **state)
{
#define ID "01a2055c-72c3-73ee-972c-aec581600bc5"
	static const struct {
		const char *text;
		bool sound;
	} rows[] = {
		{ ID "\n", true },
		{ ID "  2026-11-02 09:00\n\n", true },
		{ "ID                                    START\n" ID "  2026-11-02\n", true },
		{ "id,start,end\r\n" ID ",2026-11-02,\r\n", true },
		{ "{\"id\":\"" ID "\"}\n", true },
		{ "{\"recordings\":[{\"id\":\"" ID "\"}]}", true },
		{ "01a2055c-72c3-73ee-972c-aec58160\n" ID "\n", false }, /* cut, and the first */
		{ ID "\nID\n", false },
		{ ID "\nsomething\n", false },
		{ "{\"id\":\"" ID "\"}\n{\"id\":\"\"}\n", false },
		{ "{\"recordings\":[{\"id\":\"" ID "\"},{\"id\":\"01a2\"}]}", false },
		{ "{\"recordings\":[{\"id\":\"" ID "\"},{\"call\":\"x\"}]}", false },
	};
	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		ET_CLEANUP(release)
		struct result r = run_with(rows[i].text, "hold add case-1 - --reason court "
							 "--socket /tmp/et_none.sock");
		/* What is understood goes to the node, which is not there. */
		if (r.code != (rows[i].sound ? 3 : 2)) {
			fail_msg("%s: exit %d: %s", rows[i].text, r.code, r.err);
		}
	}
#undef ID
}

static void unknown_commands_suggest_the_nearest(void **state)
{
	(void)state;
	{
		RUN("recording lst");
		assert_int_equal(r.code, 2);
		assert_string_equal(r.out, "");
		assert_string_equal(r.err,
				    "evertape: unknown command \"recording lst\" (did you mean "
				    "\"recording list\"?)\nnext: evertape recording --help\n");
	}
	{
		RUN("stauts");
		assert_int_equal(r.code, 2);
		assert_non_null(strstr(r.err, "did you mean \"status\"?"));
	}
	{
		RUN("frobnicate");
		assert_int_equal(r.code, 2);
		assert_null(strstr(r.err, "did you mean"));
	}
	{
		RUN("recording list --sinse 2h");
		assert_int_equal(r.code, 2);
		assert_non_null(strstr(r.err, "unknown option --sinse (did you mean --since?)"));
	}
}

static void misuse_exits_2_and_says_how(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		const char *sentence;
	} cases[] = {
		{ "", "the command is missing" },
		{ "recording", "recording: its command is missing" },
		{ "recording show", "usage: evertape recording show ID" },
		{ "recording show a b", "one argument too many" },
		{ "recording show nonsense", "is no recording id" },
		{ "status -o yaml", "--output is table, wide, json, ndjson or csv" },
		{ "status --timeout 5", "--timeout is a duration" },
		{ "status --watch=1", "--watch takes no value" },
		{ "recording list --since", "--since needs a TIME" },
		{ "recording list --limit 1 --limit 2", "--limit stands twice" },
		{ "recording list --since yesterday", "--since is a time" },
		{ "archive apply 01a201f2-afb3-7c1e-8000-0123456789ab",
		  "archive apply needs --reason TEXT" },
		{ "archive apply p-1 --reason x", "is no plan id" },
		{ "archive run", "archive run needs --reason TEXT" },
		{ "archive run --reason x --wait soon", "--wait is a duration" },
		{ "archive targets test a/b", "is no target's name" },
		{ "archive policy show --revision last", "--revision is a whole number" },
		{ "audit tail --last all", "--last is a whole number" },
		{ "audit export", "--out FILE is needed" },
		{ "events --kind sound", "--kind is health or change" },
		{ "recording why nonsense", "is no recording" },
		{ "cluster init --escrow 5/3", "--escrow is K/N" },
		{ "node token", "node token needs --site" },
		{ "config diff", "config diff needs a FILE, or --node twice" },
		{ "config diff --node a --node b --node c", "config diff needs a FILE" },
		{ "config show --node a --node b", "one node at a time" },
		{ "config show -o xml", "--output is table" },
		{ "capture show --calls 0", "--calls is a number from 1 to 1000" },
		{ "capture show --node a --node b", "one node at a time" },
		{ "cert renew", "cert renew needs --reason" },
		{ "site remove brq", "site remove needs --reason TEXT, or --plan" },
		{ "site remove Br/q --plan", "is no name of a site" },
		{ "completion tcsh", "completion is for bash, zsh or fish" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		RUN(cases[i].line);
		assert_int_equal(r.code, 2);
		assert_string_equal(r.out, "");
		if (strstr(r.err, cases[i].sentence) == NULL) {
			fail_msg("'%s' says: %s", cases[i].line, r.err);
		}
	}
}

static void errors_are_json_when_asked(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		const char *code;
		int exit_code;
	} cases[] = {
		{ "recording lst -o json", "ET_EUSAGE", 2 },
		{ "config check /nonexistent.yaml --output=json", "ENOENT", 5 },
		{ "status -o json --socket /nonexistent/api.sock", "ET_EUNREACHABLE", 3 },
		{ "explain NOTHING -ojson", "ET_ENOTFOUND", 5 },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		RUN(cases[i].line);
		ET_CLEANUP(et_json_freep) json_t *j = NULL;
		assert_int_equal(r.code, cases[i].exit_code);
		assert_string_equal(r.out, "");
		assert_int_equal(et_json_parse("err", r.err, strlen(r.err), 65536, &j, NULL), 0);
		assert_string_equal(et_json_get_text(j, "code", ""), cases[i].code);
		assert_string_equal(et_json_get_text(j, "schema", ""), "evertape/v1");
		static const char *const keys[] = { "what", "where", "why", "next" };
		for (size_t k = 0; k < ET_ARRAY_SIZE(keys); k++) {
			assert_true(json_is_string(json_object_get(j, keys[k])));
		}
	}
}

static void no_node_is_unreachable_with_the_likely_cause(void **state)
{
	(void)state;
	RUN("status --socket /nonexistent/api.sock");
	assert_int_equal(r.code, 3);
	assert_string_equal(r.err,
			    "evertape: no node answers at '/nonexistent/api.sock': No such file "
			    "or directory\nnext: systemctl status evertaped\n");
}

/* A name is the member that is meant, through whichever node is asked; with a port it is who is. */
static void node_names_a_member_or_an_address(void **state)
{
	(void)state;
	{
		RUN("config show --node prg-1 --socket /nowhere");
		assert_int_equal(r.code, 3);
		assert_non_null(strstr(r.err, "/nowhere"));
	}
	{
		RUN("config show --node 127.0.0.1:1 --socket /nowhere");
		assert_int_equal(r.code, 3);
		assert_null(strstr(r.err, "/nowhere"));
		assert_non_null(strstr(r.err, "127.0.0.1:1"));
	}
}

static void a_token_file_must_be_private(void **state)
{
	(void)state;
	char path[] = "/tmp/et_token.XXXXXX";
	char line[256];
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "evapi1.x\n", 9), 9);
	assert_int_equal(fchmod(fd, 0644), 0);
	(void)snprintf(line, sizeof(line), "status --node 127.0.0.1:1 --token-file %s", path);
	RUN(line);
	assert_int_equal(r.code, 4);
	assert_non_null(strstr(r.err, "key file is readable by other users"));
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(path), 0);
}

static void the_example_configuration_is_valid(void **state)
{
	(void)state;
	char path[] = "/tmp/et_config.XXXXXX";
	char line[256];
	RUN("config defaults");
	assert_int_equal(r.code, 0);
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, r.out, strlen(r.out)), (ssize_t)strlen(r.out));
	(void)snprintf(line, sizeof(line), "config check %s -o json", path);
	{
		ET_CLEANUP(release) struct result checked = run(line);
		assert_int_equal(checked.code, 0);
		assert_non_null(strstr(checked.out, "\"valid\": true"));
	}
	assert_int_equal(write(fd, "captrue: []\n", 12), 12);
	assert_int_equal(close(fd), 0);
	ET_CLEANUP(release) struct result broken = run(line);
	assert_int_equal(broken.code, 1);
	assert_non_null(
		strstr(broken.err, "unknown key \\\"captrue\\\" (did you mean \\\"capture\\\"?)"));
	assert_int_equal(unlink(path), 0);
}

static void there_is_a_page_for_the_configuration(void **state)
{
	(void)state;
	ET_CLEANUP(release) struct result page = run("man evertape.yaml");
	ET_CLEANUP(release) struct result none = run("man evertape.yml");

	assert_int_equal(page.code, 0);
	assert_non_null(strstr(page.out, ".TH EVERTAPE.YAML 5"));
	assert_non_null(strstr(page.out, "disk\\-reserve: 256MiB"));
	assert_int_equal(none.code, 2);
}

/* Everything in the table is in help, man page and completion. */
static void help_man_and_completion_know_every_command(void **state)
{
	(void)state;
	RUN("--help");
	ET_CLEANUP(release) struct result man = run("man");
	ET_CLEANUP(release) struct result bash = run("completion bash");
	ET_CLEANUP(release) struct result fish = run("completion fish");
	assert_int_equal(r.code + man.code + bash.code + fish.code, 0);
	ET_CLI_EACH(c)
	{
		char line[128];
		assert_non_null(strstr(r.out, c->path));
		assert_non_null(strstr(bash.out, c->path));
		const char *last = strrchr(c->path, ' ');
		(void)snprintf(line, sizeof(line), "__evertape_at %.*s\" -a '%s' -d ",
			       last != NULL ? (int)(last - c->path) : 0, c->path,
			       last != NULL ? last + 1 : c->path);
		assert_non_null(strstr(fish.out, line));
		size_t n = (size_t)snprintf(line, sizeof(line), ".SS \"evertape ");
		for (const char *p = c->path; *p != '\0' && n + 3 < sizeof(line); p++) {
			n += (size_t)snprintf(line + n, sizeof(line) - n, *p == '-' ? "\\%c" : "%c",
					      *p);
		}
		assert_non_null(strstr(man.out, line));
		(void)snprintf(line, sizeof(line), "%s --help", c->path);
		ET_CLEANUP(release) struct result help = run(line);
		assert_int_equal(help.code, 0);
		assert_non_null(strstr(help.out, c->example));
		assert_memory_equal(c->example, "evertape ", 9);
	}
}

static void bash_completion_completes(void **state)
{
	(void)state;
	if (access("/bin/bash", X_OK) != 0) {
		print_message("no /bin/bash: completion is not tried\n");
		skip();
	}
	char path[] = "/tmp/et_complete.XXXXXX";
	RUN("completion bash");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, r.out, strlen(r.out)), (ssize_t)strlen(r.out));
	assert_int_equal(close(fd), 0);
	static const struct {
		const char *words;
		int at;
		const char *want;
	} cases[] = {
		{ "evertape rec", 1, "recording\n" },
		{ "evertape recording wh", 2, "where\nwhy\n" },
		{ "evertape archive po", 2, "policy\n" },
		{ "evertape archive policy va", 3, "validate\n" },
		{ "evertape recording list --si", 3, "--since\n--site\n" },
		{ "evertape status -o nd", 3, "ndjson\n" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		char command[512];
		char got[256] = "";
		(void)snprintf(
			command, sizeof(command),
			"/bin/bash --norc -c '. %s; COMP_WORDS=(%s); COMP_CWORD=%d; _evertape; "
			"printf \"%%s\\n\" \"${COMPREPLY[@]}\"'",
			path, cases[i].words, cases[i].at);
		FILE *f = popen(command, "r");
		assert_non_null(f);
		got[fread(got, 1, sizeof(got) - 1, f)] = '\0';
		assert_int_equal(pclose(f), 0);
		assert_string_equal(got, cases[i].want);
	}
	assert_int_equal(unlink(path), 0);
}

static void text_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* A folder that is there and one that is not; nothing is left in the first. */
static void targets_of_a_file_are_tried_without_a_cluster(void **state)
{
	(void)state;
	char folder[] = "/tmp/et_targets.XXXXXX";
	char path[64], text[512], line[256];
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s.yaml", folder);
	(void)snprintf(text, sizeof(text),
		       "targets:\n  cold: {type: dir, path: %s}\n  gone: {type: dir, path: %s/no}\n"
		       "rules:\n  - {name: all, to: cold}\n",
		       folder, folder);
	text_write(path, text);
	(void)snprintf(line, sizeof(line), "archive targets test cold --file %s", path);
	ET_CLEANUP(release) struct result good = run(line);
	assert_int_equal(good.code, 0);
	assert_non_null(strstr(good.out, "Nothing was left there."));
	(void)snprintf(line, sizeof(line), "archive targets test --file %s -o json", path);
	ET_CLEANUP(release) struct result both = run(line);
	assert_int_equal(both.code, 5);
	assert_non_null(strstr(both.out, "\"failed\": \"folder\""));
	assert_non_null(strstr(both.err, "\"code\":\"ET_ENOTFOUND\""));
	(void)snprintf(line, sizeof(line), "archive targets test warm --file %s", path);
	ET_CLEANUP(release) struct result none = run(line);
	assert_int_equal(none.code, 5);
	assert_int_equal(rmdir(folder), 0); /* it is empty */
	assert_int_equal(unlink(path), 0);
}

static void policies_are_compared_without_a_cluster(void **state)
{
	(void)state;
	char folder[] = "/tmp/et_diff.XXXXXX";
	char a[64], b[64], line[256];
	assert_non_null(mkdtemp(folder));
	(void)snprintf(a, sizeof(a), "%s/a.yaml", folder);
	(void)snprintf(b, sizeof(b), "%s/b.yaml", folder);
	text_write(a,
		   "targets:\n  cold: {type: dir, path: /a}\nrules:\n  - {name: all, to: cold}\n");
	text_write(b, "targets:\n  cold: {type: dir, path: /a}\n"
		      "rules:\n  - {name: all, to: cold, after: 30d}\n");
	(void)snprintf(line, sizeof(line), "archive policy diff %s %s --offline", a, b);
	ET_CLEANUP(release) struct result differ = run(line);
	assert_int_equal(differ.code, 7);
	assert_non_null(strstr(differ.out, "30d"));
	(void)snprintf(line, sizeof(line), "archive policy diff %s %s --offline", a, a);
	ET_CLEANUP(release) struct result same = run(line);
	assert_int_equal(same.code, 0);
	assert_non_null(strstr(same.out, "they mean the same"));
	assert_int_equal(unlink(a), 0);
	assert_int_equal(unlink(b), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void codes_are_explained(void **state)
{
	(void)state;
	RUN("explain site_lag");
	assert_int_equal(r.code, 0);
	assert_memory_equal(r.out, "SITE_LAG (degraded)", 19);
	ET_CLEANUP(release) struct result wrong = run("explain SITE_LAGG");
	assert_int_equal(wrong.code, 5);
	assert_non_null(strstr(wrong.err, "did you mean SITE_LAG?"));
	/* Every error has its explanation. */
#define EXPLAINED(name, value, text) assert_non_null(et_cli_code_find(#name));
	ET_ERROR_MAP(EXPLAINED)
#undef EXPLAINED
}

/* What `explain` says of a code, and alerts with it, is what nodes say. */
static void levels_are_those_of_the_api(void **state)
{
	(void)state;
	for (const struct et_cli_code *c = et_cli_codes; c->code != NULL; c++) {
		if (strcmp(c->level, "error") != 0) {
			assert_string_equal(et_api_code_level(c->code), c->level);
		}
	}
}

static void names_of_errors_lead_back_to_codes(void **state)
{
	(void)state;
	assert_int_equal(et_cli_code_of("ET_ENOQUORUM"), ET_ENOQUORUM);
	assert_int_equal(et_cli_code_of("ENOSPC"), -ENOSPC);
	assert_int_equal(et_cli_code_of("WHATEVER"), -EIO);
}

static void tables_show_foreign_text_harmlessly(void **state)
{
	(void)state;
	static const struct et_cli_column columns[] = {
		{ "A", "a", ET_CLI_TEXT, false },
		{ "B", "b", ET_CLI_BYTES, false },
		{ NULL, NULL, ET_CLI_TEXT, false },
	};
	ET_CLEANUP(et_json_freep)
	json_t *rows = json_pack("[{s:s,s:i}]", "a", "x\033[31m,\"=1", "b", 2048);
	char *text = NULL;
	size_t size;
	struct et_cli cli = { .out = open_memstream(&text, &size), .format = ET_CLI_TABLE };
	assert_int_equal(et_cli_print(&cli, rows, NULL, columns, NULL), 0);
	cli.format = ET_CLI_CSV;
	assert_int_equal(et_cli_print(&cli, rows, NULL, columns, NULL), 0);
	(void)fclose(cli.out);
	assert_null(strchr(text, '\033'));
	assert_non_null(strstr(text, "2.0 KiB"));
	assert_non_null(strstr(text, "a,b\r\n\"x?[31m,\"\"=1\",2048\r\n"));
	free(text);
}

int main(void)
{
	(void)unsetenv("EVERTAPE_SOCKET");
	(void)unsetenv("EVERTAPE_CLUSTER");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rule_that_fires_is_explained),
		cmocka_unit_test(the_version_is_told_as_other_programs_do),
		cmocka_unit_test(every_recording_on_standard_input_is_understood),
		cmocka_unit_test(unknown_commands_suggest_the_nearest),
		cmocka_unit_test(misuse_exits_2_and_says_how),
		cmocka_unit_test(errors_are_json_when_asked),
		cmocka_unit_test(no_node_is_unreachable_with_the_likely_cause),
		cmocka_unit_test(node_names_a_member_or_an_address),
		cmocka_unit_test(a_token_file_must_be_private),
		cmocka_unit_test(the_example_configuration_is_valid),
		cmocka_unit_test(help_man_and_completion_know_every_command),
		cmocka_unit_test(there_is_a_page_for_the_configuration),
		cmocka_unit_test(bash_completion_completes),
		cmocka_unit_test(targets_of_a_file_are_tried_without_a_cluster),
		cmocka_unit_test(policies_are_compared_without_a_cluster),
		cmocka_unit_test(codes_are_explained),
		cmocka_unit_test(levels_are_those_of_the_api),
		cmocka_unit_test(names_of_errors_lead_back_to_codes),
		cmocka_unit_test(tables_show_foreign_text_harmlessly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
