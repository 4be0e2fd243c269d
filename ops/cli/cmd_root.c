/* Where this machine's node root is kept. These work on the machine itself, by its configuration:
 * evertaped need not run, and when it runs it has the root in memory.
 *
 *   change:  open by the old way ─▶ add the new way, read it back ─▶ configuration names it
 *            ─▶ other ways go ─▶ the old file is overwritten and removed
 *
 * Happy path: exit 0, and the next start of evertaped opens by the new way.
 * Failures: up to the third step nothing has changed but for one more way; from there on the new
 * one holds. What remains of a command that was killed goes with the next one.
 *
 * Run by root, everything but the configuration is read and written as the user of the state
 * folder, so that evertaped may read what is made here. */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/config/config.h"
#include "node/crypto/harden.h"
#include "node/root/root.h"
#include "node/text/units.h"
#include "ops/cli/cli.h"

#define CONFIG_FILE "/etc/evertape/evertape.yaml"

static const struct et_cli_column way_columns[] = {
	{ "SEALED BY", "kind", ET_CLI_TEXT, false },
	{ "ARGON2ID MEMORY", "memory_bytes", ET_CLI_BYTES, false },
	{ "PASSES", "passes", ET_CLI_NUMBER, false },
	{ "TOKEN SERIAL", "token_serial", ET_CLI_TEXT, false },
	{ "MECHANISM", "mechanism", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

/* The daemon's user, as long as this is root's process; back to root with `as_owner` false. */
static int become(const struct et_config *c, bool as_owner, struct et_error *reterr)
{
	struct stat st;

	if (getuid() != 0) {
		return 0;
	}
	if (stat(c->state, &st) < 0) {
		return et_fail(reterr, -errno, "state folder '%s'", c->state);
	}
	if (as_owner ? setegid(st.st_gid) < 0 || seteuid(st.st_uid) < 0
		     : seteuid(0) < 0 || setegid(0) < 0) {
		return et_fail(reterr, -errno, "become user %u", (unsigned)st.st_uid);
	}
	return 0;
}

static int config_read(struct et_cli *cli, struct et_config *ret, const char **ret_path,
		       struct et_error *reterr)
{
	const char *path = et_cli_option(cli, "config");

	*ret_path = path != NULL ? path : CONFIG_FILE;
	int rc = et_harden_process(reterr);
	rc = rc < 0 ? rc : et_config_load(*ret_path, ret, reterr);
	return rc < 0 ? rc : become(ret, true, reterr);
}

/* Another place for the secret: *ret is `storage`, or NULL without the option. */
static int source_option(struct et_cli *cli, const char *name, struct et_root_source *storage,
			 const struct et_root_source **ret, struct et_error *reterr)
{
	const char *text = et_cli_option(cli, name);
	struct et_error e;

	*ret = NULL;
	if (text == NULL) {
		return 0;
	}
	if (et_root_source_parse(text, storage, &e) < 0) {
		return et_cli_usage(cli, reterr, "--%s: %s", name, e.text);
	}
	*ret = storage;
	return 0;
}

static json_t *ways_json(const struct et_root_way *ways, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		json_t *o = json_object();
		bool is_token = ways[i].kind == ET_ROOT_PKCS11;
		et_json_set(o, "kind", json_string(et_root_kind_name(ways[i].kind)));
		if (is_token) {
			et_json_set(o, "token_serial", et_json_text(ways[i].serial));
			et_json_set(o, "mechanism", json_string(ways[i].mechanism));
		} else {
			et_json_set(o, "memory_bytes",
				    json_integer((json_int_t)ways[i].cost.memory_kib * 1024));
			et_json_set(o, "passes", json_integer(ways[i].cost.passes));
		}
		et_json_add(list, o);
	}
	return list;
}

static int answer(struct et_cli *cli, const struct et_config *c, const char *spec, bool opened,
		  struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	struct et_root_way ways[ET_ROOT_SLOTS_MAX];
	size_t count;

	int rc = et_root_ways(c->state, ways, &count, reterr);
	if (rc < 0) {
		return rc;
	}
	et_json_set(o, "schema", json_string("evertape/v1"));
	et_json_set(o, "root", et_json_text(spec));
	et_json_set(o, "on_disk", json_boolean(et_root_on_disk(spec)));
	if (opened) {
		et_json_set(o, "opens", json_true());
	}
	json_t *list = ways_json(ways, count);
	if (et_cli_is_json(cli)) {
		et_json_set(o, "ways", list);
		return et_cli_print_object(cli, o, reterr);
	}
	rc = et_cli_print_object(cli, o, reterr);
	et_json_set(o, "ways", list);
	return rc < 0 || count == 0 ? rc : et_cli_print(cli, o, "ways", way_columns, reterr);
}

int et_cli_root_show(struct et_cli *cli, struct et_error *reterr)
{
	static struct et_config config;
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct et_root_source source;
	struct et_root_place place = { .spec = config.root, .state = config.state };
	const char *path;
	bool opens = et_cli_option(cli, "open") != NULL;

	int rc = config_read(cli, &config, &path, reterr);
	rc = rc < 0 ? rc : source_option(cli, "secret", &source, &place.secret, reterr);
	if (rc == 0 && opens) {
		rc = et_root_load(&place, &root, reterr);
	}
	return rc < 0 ? rc : answer(cli, &config, config.root, opens, reterr);
}

/* ---- Change ---- */

static int cost_options(struct et_cli *cli, struct et_root_cost *ret, struct et_error *reterr)
{
	const char *memory = et_cli_option(cli, "memory");
	const char *passes = et_cli_option(cli, "passes");
	uint64_t bytes = 0;

	if (memory != NULL &&
	    (!et_bytes_parse(memory, &bytes) || bytes < 1024 || bytes > UINT32_MAX)) {
		return et_cli_usage(cli, reterr, "--memory is a size from 8MiB to 1GiB");
	}
	ret->memory_kib = (uint32_t)(bytes / 1024);
	if (passes != NULL) {
		char *end;
		unsigned long n = strtoul(passes, &end, 10);
		if (*passes < '0' || *passes > '9' || *end != '\0' || n < 1 || n > 16) {
			return et_cli_usage(cli, reterr, "--passes is a number from 1 to 16");
		}
		ret->passes = (uint32_t)n;
	}
	return 0;
}

static int change_run(struct et_cli *cli, const struct et_config *c, const char *path,
		      const struct et_root_place *old, const struct et_root_place *new,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	bool same = strcmp(old->spec, new->spec) == 0;

	ET_CLEANUP(et_fd_closep) int lock = open(c->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0) {
		return errno == EWOULDBLOCK ? et_fail(reterr, ET_EBUSY, "node root: another change")
					    : et_fail(reterr, -errno, "'%s'", c->state);
	}
	int rc = et_root_load(old, &root, reterr);
	rc = rc < 0 ? rc : et_root_add(new, root, reterr);
	rc = rc < 0 ? rc : become(c, false, reterr);
	if (rc == 0 && !same) {
		rc = et_config_set_root(path, new->spec, reterr);
	}
	rc = rc < 0 ? rc : become(c, true, reterr);
	rc = rc < 0 ? rc : et_root_drop_others(new, reterr);
	if (rc == 0 && same) {
		et_cli_note(cli, "it was kept so before; a file that held it earlier is yours to "
				 "remove");
	} else if (rc == 0 && et_cli_option(cli, "keep-old") == NULL) {
		rc = et_root_wipe(old->spec, reterr);
	}
	return rc;
}

static void change_told(struct et_cli *cli, const struct et_root_place *old)
{
	if (strncmp(old->spec, "file:", 5) != 0) {
		return;
	}
	if (et_cli_option(cli, "keep-old") != NULL) {
		et_cli_note(cli, "%s is still there: who reads it opens this node's keys",
			    old->spec + 5);
		return;
	}
	et_cli_note(cli,
		    "%s was overwritten and removed; on SSDs, journaling and copy-on-write file "
		    "systems, in snapshots and backups its bytes may remain, and the root is the "
		    "same: if that matters, remove this node and join it anew",
		    old->spec + 5);
}

int et_cli_root_change(struct et_cli *cli, struct et_error *reterr)
{
	static struct et_config config;
	struct et_root_source old_source;
	struct et_root_source new_source;
	struct et_root_place old = { .spec = config.root, .state = config.state };
	struct et_root_place new = { .spec = cli->args[0], .state = config.state };
	struct et_root_spec parsed;
	struct et_error e;
	const char *path;

	if (et_root_spec_parse(cli->args[0], &parsed, &e) < 0) {
		return et_cli_usage(cli, reterr, "%s", e.text);
	}
	int rc = source_option(cli, "secret", &old_source, &old.secret, reterr);
	rc = rc < 0 ? rc : source_option(cli, "new-secret", &new_source, &new.secret, reterr);
	rc = rc < 0 ? rc : cost_options(cli, &new.cost, reterr);
	rc = rc < 0 ? rc : config_read(cli, &config, &path, reterr);
	rc = rc < 0 ? rc : change_run(cli, &config, path, &old, &new, reterr);
	if (rc < 0) {
		return rc;
	}
	change_told(cli, &old);
	et_cli_note(cli, "evertaped opens it so from its next start on; try it: evertape key root "
			 "show --open");
	return answer(cli, &config, new.spec, false, reterr);
}
