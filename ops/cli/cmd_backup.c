/* Upgrades of the schema, erasure, backups. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/io/clock.h"
#include "node/io/file.h"
#include "ops/cli/cli.h"
#include "raft/backup/backup.h"

/* ---- Upgrade ---- */

static const struct et_cli_column member_columns[] = {
	{ "NODE", "name", ET_CLI_TEXT, false },	      { "SITE", "site", ET_CLI_TEXT, false },
	{ "VERSION", "version", ET_CLI_TEXT, false }, { "SCHEMA", "schema", ET_CLI_NUMBER, false },
	{ "BLOCKS", "blocks", ET_CLI_TEXT, false },   { NULL, NULL, ET_CLI_TEXT, false },
};

static int upgrade_exit(const json_t *plan)
{
	if (et_json_get_bool(plan, "possible", false)) {
		return ET_EXIT_CHANGES;
	}
	return json_array_size(json_object_get(plan, "blockers")) > 0 ? ET_EXIT_DEGRADED : 0;
}

int et_cli_upgrade_plan(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = et_cli_get(cli, "/v1/cluster/upgrade", &j, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!et_cli_is_json(cli) && cli->format != ET_CLI_CSV) {
		bool possible = et_json_get_bool(j, "possible", false);
		size_t blockers = json_array_size(json_object_get(j, "blockers"));
		(void)fprintf(
			cli->out,
			"The cluster follows schema %" PRId64 "; the newest that a member knows "
			"is %" PRId64 ".\n%s\n\n",
			et_json_get_int(j, "schema_version", 0), et_json_get_int(j, "newest", 0),
			possible       ? "It can be raised: evertape cluster upgrade apply "
					 "--reason TEXT. Older builds stop then, for good."
			: blockers > 0 ? "It cannot be raised: members below run older builds."
				       : "There is nothing to do.");
	}
	rc = et_cli_print(cli, j, "members", member_columns, reterr);
	return rc < 0 ? rc : upgrade_exit(j);
}

int et_cli_upgrade_apply(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *plan = NULL;
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	int rc = et_cli_get(cli, "/v1/cluster/upgrade?read=linearizable", &plan, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!et_json_get_bool(plan, "possible", false)) {
		bool blocked = json_array_size(json_object_get(plan, "blockers")) > 0;
		rc = et_fail_plain(reterr, ET_EREFUSED,
				   blocked ? "not every member understands a newer schema"
					   : "the cluster follows the newest schema already");
		(void)et_fail_next(reterr, "evertape cluster upgrade plan");
		return rc;
	}
	et_json_set(body, "to", json_integer(et_json_get_int(plan, "to", 0)));
	et_json_set(body, "expect_from", json_integer(et_json_get_int(plan, "schema_version", 0)));
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	rc = et_cli_send(cli, "POST", "/v1/cluster/upgrade", body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else {
		(void)fprintf(cli->out,
			      "The cluster follows schema %" PRId64 " from index %" PRId64 " on.\n",
			      et_json_get_int(answer, "schema_version", 0),
			      et_json_get_int(answer, "index", 0));
	}
	return 0;
}

/* ---- Backups ---- */

static json_t *head_json(const char *path, const struct et_backup_head *h)
{
	char made[ET_TIME_TEXT_SIZE];
	char hex[65];
	json_t *o = json_object();

	et_time_format(h->made_us, made);
	et_hex(h->digest, 32, hex);
	et_json_set(o, "file", et_json_text(path));
	et_json_set(o, "kind", json_string(h->kind == ET_BACKUP_BASE ? "base" : "log"));
	et_json_set(o, "cluster", et_json_text(h->cluster));
	et_json_set(o, "node", et_json_u64(h->node));
	et_json_set(o, "made", et_json_text(made));
	et_json_set(o, "index", et_json_u64(h->index));
	et_json_set(o, "digest", et_json_text(hex));
	et_json_set(o, "schema_version", json_integer(h->schema));
	et_json_set(o, "epoch", json_integer(h->epoch));
	et_json_set(o, "kek_version", json_integer(h->kek_version));
	return o;
}

/* Head, hash and signature of the file; its head as JSON. */
static int backup_check(const char *path, json_t **ret, struct et_error *reterr)
{
	struct et_backup_reader *r = NULL;

	int rc = et_backup_open(path, &r, reterr);
	rc = rc < 0 ? rc : et_backup_check(r, reterr);
	if (rc == 0) {
		*ret = head_json(path, et_backup_head(r));
	}
	(void)et_backup_close(r);
	return rc;
}

/* Download into `part`, make it durable, check it. */
static int backup_fetch(struct et_cli *cli, const char *part, json_t **ret, struct et_error *reterr)
{
	struct et_cli_audio head;
	FILE *f = fopen(part, "wxe");

	if (f == NULL) {
		return et_fail(reterr, -errno, "make '%s'", part);
	}
	(void)fchmod(fileno(f), 0600);
	int rc = et_cli_download(cli, "/v1/cluster/backup", f, &head, reterr);
	if (rc == 0 && (fflush(f) != 0 || fsync(fileno(f)) < 0)) {
		rc = et_fail(reterr, -errno, "write '%s'", part);
	}
	if (fclose(f) != 0 && rc == 0) {
		rc = et_fail(reterr, -errno, "write '%s'", part);
	}
	return rc < 0 ? rc : backup_check(part, ret, reterr);
}

int et_cli_cluster_backup(struct et_cli *cli, struct et_error *reterr)
{
	const char *out = et_cli_option(cli, "out");
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	char part[4096];
	char path[4200];
	struct stat st;

	if (out == NULL || *out == '\0') {
		return et_cli_usage(cli, reterr, "cluster backup needs --out FILE or --out FOLDER");
	}
	bool folder = stat(out, &st) == 0 && S_ISDIR(st.st_mode);
	(void)snprintf(part, sizeof(part), folder ? "%.4000s/.backup.%d.part" : "%.4000s.%d.part",
		       out, (int)getpid());
	int rc = backup_fetch(cli, part, &j, reterr);
	if (rc == 0) {
		(void)snprintf(path, sizeof(path), "%.4000s", out);
		if (folder) {
			(void)snprintf(path, sizeof(path), "%.4000s/%s-%020" PRId64 ".evbk", out,
				       et_json_get_text(j, "cluster", "cluster"),
				       et_json_get_int(j, "index", 0));
		}
		rc = rename(part, path) < 0 ? et_fail(reterr, -errno, "rename '%s'", part)
					    : et_file_sync_parent(path, reterr);
	}
	if (rc < 0) {
		(void)unlink(part);
		return rc;
	}
	et_json_set(j, "file", et_json_text(path));
	return et_cli_print_object(cli, j, reterr);
}

int et_cli_backup_verify(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = backup_check(cli->args[0], &j, reterr);
	if (rc == ET_ETRUNCATED) {
		rc = ET_EINTEGRITY; /* a backup that ends too early is none */
	}
	if (rc < 0) {
		return rc;
	}
	et_json_set(j, "verified", json_true());
	return et_cli_print_object(cli, j, reterr);
}

static const struct et_cli_column backup_columns[] = {
	{ "KIND", "kind", ET_CLI_TEXT, false },	      { "INDEX", "index", ET_CLI_NUMBER, false },
	{ "MADE", "made", ET_CLI_TIME, false },	      { "NODE", "node", ET_CLI_NUMBER, false },
	{ "EPOCH", "epoch", ET_CLI_NUMBER, true },    { "FILE", "file", ET_CLI_TEXT, false },
	{ "PROBLEM", "problem", ET_CLI_TEXT, false }, { NULL, NULL, ET_CLI_TEXT, false },
};

/* By name, which holds kind and index. */
static int backup_order(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int backup_is(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && strcmp(e->d_name + n - 5, ".evbk") == 0;
}

int et_cli_backup_list(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = json_object();
	struct dirent **list = NULL;
	char path[4400];
	bool bad = false;

	int n = scandir(cli->args[0], &list, backup_is, backup_order);
	if (n < 0) {
		return et_fail(reterr, -errno, "read '%s'", cli->args[0]);
	}
	json_t *rows = json_array();
	for (int i = 0; i < n; i++) {
		json_t *row = NULL;
		struct et_error e;
		(void)snprintf(path, sizeof(path), "%.4000s/%s", cli->args[0], list[i]->d_name);
		if (backup_check(path, &row, &e) < 0) {
			bad = true;
			row = json_object();
			et_json_set(row, "file", et_json_text(path));
			et_json_set(row, "problem", et_json_text(e.text));
		}
		et_json_add(rows, row);
		free(list[i]);
	}
	free(list);
	et_json_set(j, "backups", rows);
	int rc = et_cli_print(cli, j, "backups", backup_columns, reterr);
	return rc < 0 ? rc : bad ? 9 : 0;
}

/* The daemon's program does it: it has the catalogue. Beside this program, or in the path. */
int et_cli_cluster_restore(struct et_cli *cli, struct et_error *reterr)
{
	const char *config = et_cli_option(cli, "config");
	const char *confirm = et_cli_option(cli, "confirm");
	const char *shares = et_cli_option(cli, "shares");
	ET_CLEANUP(et_json_freep) json_t *ledgers = et_cli_option_list(cli, "ledger");
	char *argv[64];
	char program[4096];
	int n = 0;

	if (confirm == NULL) {
		return et_cli_usage(cli, reterr, "cluster restore needs --confirm CLUSTER");
	}
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 2);
	if (length <= 0) {
		return et_fail(reterr, -errno, "find evertaped");
	}
	program[length] = 'd'; /* evertape, evertaped */
	program[length + 1] = '\0';
	argv[n++] = program;
	argv[n++] = (char *)(uintptr_t) "--restore";
	argv[n++] = (char *)(uintptr_t)(config != NULL ? config : "/etc/evertape/evertape.yaml");
	argv[n++] = (char *)(uintptr_t)cli->args[0];
	argv[n++] = (char *)(uintptr_t) "--confirm";
	argv[n++] = (char *)(uintptr_t)confirm;
	if (et_cli_option(cli, "at") != NULL) {
		argv[n++] = (char *)(uintptr_t) "--at";
		argv[n++] = (char *)(uintptr_t)et_cli_option(cli, "at");
	}
	if (shares != NULL) {
		argv[n++] = (char *)(uintptr_t) "--shares";
		argv[n++] = (char *)(uintptr_t)shares;
	}
	for (size_t i = 0; i < json_array_size(ledgers) && n < 60; i++) {
		argv[n++] = (char *)(uintptr_t) "--ledger";
		argv[n++] = (char *)(uintptr_t)json_string_value(json_array_get(ledgers, i));
	}
	if (et_cli_option(cli, "accept-missing-erasures") != NULL) {
		argv[n++] = (char *)(uintptr_t) "--accept-missing-erasures";
	}
	argv[n] = NULL;
	(void)fflush(cli->out);
	(void)execv(program, argv);
	return et_fail(reterr, -errno, "start '%s'", program);
}
