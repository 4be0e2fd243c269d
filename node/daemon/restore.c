/* A restore, offline: evertaped --restore CONFIG FILE --confirm CLUSTER ...
 *
 * backup opened (keys of this machine, or escrow shares) → files into <state>/restore.tmp → digest
 * as the backup says → ledgers of erasures found (restore_ledger.c), and new enough → BEGIN, ERASE,
 * END applied → a Raft log that begins behind them → all of it into place → the identity, last:
 * before it is there, nothing starts, and the restore can be made again after removing what the
 * error names. */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/crypto/harden.h"
#include "node/daemon/daemon.h"
#include "node/daemon/daemon_internal.h"
#include "node/daemon/restore_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"

#define NODE_GAP 10000 /* numbers that nodes of the old cluster may have been given since */
#define SHARES_BYTES 16384
#define ERASURES_STEP 1024

struct restore {
	const struct et_restore_options *options;
	struct et_config config;
	struct et_daemon store; /* only for the folders and the store's UUID */
	struct et_secret *root;
	struct et_backup_reader *backup;
	struct et_keeper_restore keys;
	struct restore_log log;
	struct et_state *state;
	char folder[ET_CONFIG_PATH_MAX + 32]; /* <state>/restore.tmp */
	uint64_t node;
	uint64_t index;	 /* applied */
	uint64_t point;	 /* of the old cluster, that was restored to */
	char digest[65]; /* running digest there */
	uint64_t seq;
	uint8_t incarnation[16];

	struct restore_ledgers ledgers;
	unsigned keys_missing; /* living KEK versions that nothing here opens */
};

/* ---- Ledgers ---- */

static int ledgers_check(struct restore *r, bool *ret_missing, struct et_error *reterr)
{
	struct restore_ledgers *l = &r->ledgers;
	const struct restore_ledgers_from from = {
		.backup = et_backup_head(r->backup),
		.ca_key = r->keys.ca_key,
		.state = r->state,
		.config = &r->config,
		.named = r->options->ledgers,
		.named_count = r->options->ledger_count,
	};

	int rc = restore_ledgers_find(l, &from, reterr);
	if (rc < 0) {
		return rc;
	}
	*ret_missing = l->count == 0 || l->bad > 0 || l->index < r->index;
	if (!*ret_missing || r->options->accept_missing) {
		return 0;
	}
	if (l->bad > 0) {
		(void)et_fail_plain(
			reterr, ET_EINTEGRITY,
			"%zu ledgers of erasures are damaged or of nobody: what was erased "
			"since might come back",
			l->bad);
	} else if (l->count == 0) {
		(void)et_fail_plain(
			reterr, ET_EPOLICY,
			"no ledger of erasures was found: what was erased since the backup "
			"would come back");
	} else {
		(void)et_fail_plain(reterr, ET_EPOLICY,
				    "the newest ledger of erasures ends at index %llu, before the "
				    "backup's %llu: it is too old",
				    (unsigned long long)l->index, (unsigned long long)r->index);
	}
	if (l->targets_failed > 0) {
		return et_fail_next(reterr,
				    "make the archive targets reachable from here (%.200s), or "
				    "--ledger FOLDER; --accept-missing-erasures, if all are lost",
				    l->target_why);
	}
	return et_fail_next(reterr, "--ledger FOLDER (a node's media/ledger, or an archive's "
				    "ledger/); --accept-missing-erasures, if all are lost");
}

/* ---- Entries of the restore ---- */

static void on_result(void *arg, uint64_t index, uint32_t position, const Et__Command *command,
		      const Et__Result *result)
{
	struct et_error *e = arg;

	(void)index;
	(void)position;
	(void)command;
	if (result->code < 0) {
		(void)et_fail_plain(e, result->code, "the restore was refused: %.300s",
				    result->text);
	}
}

static int entry_apply(struct restore *r, Et__Command *command, struct et_error *reterr)
{
	Et__OpId op = ET__OP_ID__INIT;
	struct et_buffer packed = { 0 };
	struct et_buffer entry = { 0 };
	char principal[] = "local:restore";
	struct et_error refused = { 0 };

	op.node = r->node;
	op.incarnation = (ProtobufCBinaryData){ 16, r->incarnation };
	op.seq = ++r->seq;
	command->op = &op;
	command->proposed_us = et_clock_now_us();
	char *was = command->principal;
	command->principal = principal;
	command->schema = et_schema_needed(command);
	int rc = et_command_check(command, reterr);
	rc = rc < 0 ? rc : et_command_pack(command, &packed);
	command->op = NULL;
	command->principal = was;
	if (rc == 0) {
		et_entry_begin(&entry);
		et_entry_add(&entry, packed.data, packed.size);
		et_entry_end(&entry);
		et_state_begin(r->state);
		rc = et_state_apply(r->state, r->index + 1,
				    (struct et_view){ entry.data, entry.size }, reterr);
		int committed = et_state_commit(r->state, on_result, &refused, reterr);
		rc = rc < 0 ? rc : committed;
	}
	et_buffer_release(&packed);
	et_buffer_release(&entry);
	if (rc == 0 && refused.code < 0) {
		*reterr = refused;
		rc = refused.code;
	}
	r->index += rc == 0;
	return rc;
}

static int erase_again(struct restore *r, size_t from, size_t count, struct et_error *reterr)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__RestoreStep step = ET__RESTORE_STEP__INIT;
	Et__Erasure *list = calloc(count, sizeof(*list));
	Et__Erasure **pointers = calloc(count, sizeof(*pointers));

	if (list == NULL || pointers == NULL) {
		free(list);
		free(pointers);
		return et_fail(reterr, -ENOMEM, "restore");
	}
	for (size_t i = 0; i < count; i++) {
		struct restore_erasure *e = &r->ledgers.erasures[from + i];
		et__erasure__init(&list[i]);
		list[i].recording = (ProtobufCBinaryData){ 16, e->recording };
		list[i].index = e->index;
		list[i].time_us = e->time_us;
		pointers[i] = &list[i];
	}
	step.kind = ET__RESTORE_STEP__KIND__ERASE;
	step.erasures = pointers;
	step.n_erasures = count;
	command.body_case = ET__COMMAND__BODY_RESTORE_STEP;
	command.restore_step = &step;
	int rc = entry_apply(r, &command, reterr);
	free(list);
	free(pointers);
	return rc;
}

static int steps_apply(struct restore *r, const Et__Cluster *cluster, bool missing,
		       struct et_error *reterr)
{
	const struct et_backup_head *head = et_backup_head(r->backup);
	Et__RestoreStep *begin = r->keys.command->restore_step;
	Et__Command end = ET__COMMAND__INIT;
	Et__RestoreStep last = ET__RESTORE_STEP__INIT;
	char detail[300];

	(void)snprintf(detail, sizeof(detail),
		       "backup of node %llu at index %llu; %zu ledgers, "
		       "erasures known up to index %llu%s",
		       (unsigned long long)head->node, (unsigned long long)head->index,
		       r->ledgers.count, (unsigned long long)r->ledgers.index,
		       missing ? "; MISSING ERASURES WERE ACCEPTED" : "");
	begin->kind = ET__RESTORE_STEP__KIND__BEGIN;
	begin->expect_epoch = cluster->epoch;
	begin->erasures_missing = missing;
	begin->detail = strdup(detail);
	int rc = begin->detail == NULL ? et_fail(reterr, -ENOMEM, "restore")
				       : entry_apply(r, r->keys.command, reterr);
	for (size_t at = 0; rc == 0 && at < r->ledgers.erasure_count; at += ERASURES_STEP) {
		size_t left = r->ledgers.erasure_count - at;
		rc = erase_again(r, at, left < ERASURES_STEP ? left : ERASURES_STEP, reterr);
	}
	last.kind = ET__RESTORE_STEP__KIND__END;
	end.body_case = ET__COMMAND__BODY_RESTORE_STEP;
	end.restore_step = &last;
	rc = rc < 0 ? rc : entry_apply(r, &end, reterr);
	return rc < 0 ? rc : et_state_flush(r->state, reterr);
}

/* ---- The machine ---- */

static int must_be_absent(const char *top, const char *name, struct et_error *reterr)
{
	char path[ET_CONFIG_PATH_MAX + 48];

	(void)snprintf(path, sizeof(path), "%s/%s", top, name);
	if (access(path, F_OK) != 0) {
		return 0;
	}
	(void)et_fail_plain(
		reterr, ET_EEXISTS,
		"'%.300s' is there: a restore needs a state folder without catalogue and "
		"identity",
		path);
	return et_fail_next(reterr, "stop evertaped; mv %.120s %.40s.old", path, name);
}

static int restore_prepare(struct restore *r, struct et_error *reterr)
{
	const struct et_restore_options *o = r->options;

	int rc = et_config_load(o->config, &r->config, reterr);
	if (rc < 0) {
		return rc;
	}
	if (o->confirm == NULL || strcmp(o->confirm, r->config.cluster) != 0) {
		return et_fail_plain(
			reterr, ET_EUSAGE,
			"a restore makes a new epoch of the cluster: confirm with its name "
			"(--confirm %s)",
			r->config.cluster);
	}
	static const char *const names[] = { "raft", "db", "identity/identity" };
	for (size_t i = 0; rc == 0 && i < ET_ARRAY_SIZE(names); i++) {
		rc = must_be_absent(r->config.state, names[i], reterr);
	}
	r->store.config = r->config;
	rc = rc < 0 ? rc : daemon_open_store(&r->store, reterr);
	if (rc < 0) {
		return rc;
	}
	const struct et_root_place place = { .spec = r->config.root, .state = r->config.state };
	rc = et_root_load(&place, &r->root, reterr);
	if (rc == -ENOENT) {
		rc = et_root_make(&place, &r->root, reterr);
	}
	return rc;
}

/* The shares, one a line. */
static int shares_read(const char *path, char *text, const char *list[ET_ESCROW_SHARES_MAX],
		       size_t *ret_count, struct et_error *reterr)
{
	*ret_count = 0;
	if (path == NULL) {
		return 0;
	}
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	if (f == NULL) {
		return et_fail(reterr, -errno, "open '%s'", path);
	}
	size_t n = fread(text, 1, SHARES_BYTES - 1, f);
	text[n] = '\0';
	if (f != stdin) {
		(void)fclose(f);
	}
	char *rest = NULL;
	for (char *line = strtok_r(text, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		line += strspn(line, " \t");
		if (*line != '\0' && *ret_count < ET_ESCROW_SHARES_MAX) {
			list[(*ret_count)++] = line;
		}
	}
	return *ret_count > 0 ? 0 : et_fail_plain(reterr, ET_EUSAGE, "'%s' holds no shares", path);
}

static int restore_open(struct restore *r, struct et_error *reterr)
{
	const char *shares[ET_ESCROW_SHARES_MAX];
	size_t count = 0;

	int rc = restore_log_choose(&r->log, r->options->file, r->options->at, reterr);
	rc = rc < 0 ? rc : et_backup_open(r->log.base, &r->backup, reterr);
	if (rc < 0) {
		return rc;
	}
	const struct et_backup_head *head = et_backup_head(r->backup);
	if (head->kind != ET_BACKUP_BASE || strcmp(head->cluster, r->config.cluster) != 0) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "'%.200s' is no base backup of cluster '%s'", r->options->file,
				     r->config.cluster);
	}
	if (head->schema > ET_COMMAND_SCHEMA) {
		return et_fail_plain(reterr, ET_EVERSION,
				     "the backup is of schema %u, this build knows %u",
				     head->schema, ET_COMMAND_SCHEMA);
	}
	rc = et_backup_check(r->backup, reterr);
	char *text = calloc(1, SHARES_BYTES);
	if (text == NULL) {
		return et_fail(reterr, -ENOMEM, "restore");
	}
	rc = rc < 0 ? rc : shares_read(r->options->shares, text, shares, &count, reterr);
	rc = rc < 0 ? rc
		    : et_keeper_restore_keys(head, r->config.state, r->root, shares, count,
					     &r->keys, reterr);
	explicit_bzero(text, SHARES_BYTES);
	free(text);
	return rc < 0 ? rc : et_backup_unlock(r->backup, r->keys.kek, reterr);
}

static int db_open(struct restore *r, struct et_error *reterr)
{
	char path[ET_CONFIG_PATH_MAX + 64];
	uint8_t digest[32];
	uint8_t found[32];
	uint64_t index = 0;

	(void)snprintf(path, sizeof(path), "%s/db/live-1", r->folder);
	int rc = et_backup_extract(r->backup, path, &index, digest, reterr);
	rc = rc < 0 ? rc : et_state_open(path, &r->state, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_state_view *v = et_state_view_open(r->state);
	rc = v == NULL ? -ENOMEM : et_state_digest(v, &r->index, found);
	(void)et_state_view_close(v);
	if (rc < 0 || r->index != index || memcmp(digest, found, 32) != 0) {
		return et_fail_plain(reterr, ET_EINTEGRITY,
				     "the catalogue in the backup is not the one that it names");
	}
	return 0;
}

/* Has a node of this number run with this media? */
static bool ledger_is_there(const struct restore *r)
{
	const char *const tops[] = { r->config.state, r->config.media };
	char path[ET_CONFIG_PATH_MAX + 64];
	bool is = false;

	for (size_t i = 0; i < ET_ARRAY_SIZE(tops); i++) {
		(void)snprintf(path, sizeof(path), "%s/ledger/%llu.evl", tops[i],
			       (unsigned long long)r->node);
		is = is || access(path, F_OK) == 0;
	}
	return is;
}

static int begin_make(struct restore *r, const Et__Cluster *cluster, struct et_error *reterr)
{
	const struct et_backup_head *head = et_backup_head(r->backup);
	struct et_keeper_init_config config = {
		.cluster = r->config.cluster,
		.name = r->config.name,
		.site = r->config.site,
		.roles = r->config.roles | ET_ROLE_VOTER | ET_ROLE_VAULT,
		.address = r->config.advertise,
		.api_address = r->config.listen_api,
		.version = ET_DAEMON_VERSION,
		.store_uuid = r->store.store_uuid,
		.cert_life_us = r->config.tls.certificate_life_us,
		.now_us = et_clock_now_us(),
	};

	r->node = cluster->next_node_id + NODE_GAP;
	if (r->ledgers.node >= r->node) { /* this backup was restored before, and that node ran */
		r->node = r->ledgers.node + NODE_GAP;
	}
	while (ledger_is_there(r)) { /* nor what nobody here can verify: under another CA */
		r->node += NODE_GAP;
	}
	et_random(r->incarnation, sizeof(r->incarnation));
	int rc = et_keeper_key_make(r->config.state, r->root, head->kek_version, config.seal_public,
				    reterr);
	rc = rc < 0 ? rc
		    : et_keeper_restore_begin(&r->keys, head, cluster, &config, r->node, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_state_view *v = et_state_view_open(r->state);
	rc = v == NULL ? et_fail(reterr, -ENOMEM, "restore")
		       : et_keeper_restore_grants(&r->keys, v, r->config.state, r->root,
						  head->kek_version, &r->keys_missing, reterr);
	(void)et_state_view_close(v);
	if (rc == 0 && r->keys_missing > 0) {
		et_warn("restore.keys",
			"missing=%u next=\"what was recorded under these KEK versions does not "
			"play: put the keys folder of a vault node to state/keys, and restore "
			"again\"",
			r->keys_missing);
	}
	return rc;
}

static int into_place(struct restore *r, const char *name, struct et_error *reterr)
{
	char from[ET_CONFIG_PATH_MAX + 64];
	char to[ET_CONFIG_PATH_MAX + 64];

	(void)snprintf(from, sizeof(from), "%s/%s", r->folder, name);
	(void)snprintf(to, sizeof(to), "%s/%s", r->config.state, name);
	if (rename(from, to) < 0) {
		return et_fail(reterr, -errno, "rename '%s'", from);
	}
	return et_file_sync_parent(to, reterr);
}

/* Commands of the old epoch that waited here are kept, and never proposed. */
static int journal_aside(struct restore *r, struct et_error *reterr)
{
	char from[ET_CONFIG_PATH_MAX + 64];
	char to[ET_CONFIG_PATH_MAX + 64];

	(void)snprintf(from, sizeof(from), "%s/journal", r->config.media);
	(void)snprintf(to, sizeof(to), "%s/journal.before-node-%llu", r->config.media,
		       (unsigned long long)r->node);
	if (rename(from, to) < 0 && errno != ENOENT) {
		return et_fail(reterr, -errno, "rename '%s'", from);
	}
	return et_file_sync_parent(to, reterr);
}

/* What a node of the old epoch has promised to seal to may have come with its key folder. */
static int promise_drop(const struct restore *r, struct et_error *reterr)
{
	char path[ET_CONFIG_PATH_MAX + 64];

	(void)snprintf(path, sizeof(path), "%s/keys/sealing", r->config.state);
	if (unlink(path) < 0 && errno != ENOENT) {
		return et_fail(reterr, -errno, "remove '%s'", path);
	}
	return 0;
}

static int restore_finish(struct restore *r, struct et_error *reterr)
{
	char path[ET_CONFIG_PATH_MAX + 64];
	struct et_catalog_config config = { .node = r->node,
					    .address = r->config.advertise,
					    .folder = r->folder };

	(void)snprintf(path, sizeof(path), "%s/db/CURRENT", r->folder);
	r->state = et_state_close(r->state);
	int rc = et_catalog_bootstrap_at(&config, r->index, reterr);
	rc = rc < 0 ? rc : et_file_publish(path, "live-1\n", 7, 0600, reterr);
	rc = rc < 0 ? rc : journal_aside(r, reterr);
	rc = rc < 0 ? rc : promise_drop(r, reterr);
	rc = rc < 0 ? rc : into_place(r, "db", reterr);
	rc = rc < 0 ? rc : into_place(r, "raft", reterr);
	rc = rc < 0 ? rc
		    : et_member_list_save(
			      r->store.identity_folder,
			      (struct et_view){ r->keys.members.data, r->keys.members.size },
			      reterr);
	rc = rc < 0 ? rc
		    : et_identity_save(r->store.identity_folder, r->root, &r->keys.identity,
				       reterr);
	(void)rmdir(r->folder);
	return rc;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int point_note(struct restore *r, struct et_error *reterr)
{
	uint8_t digest[32];

	struct et_state_view *v = et_state_view_open(r->state);
	int rc = v == NULL ? -ENOMEM : et_state_digest(v, &r->index, digest);
	(void)et_state_view_close(v);
	r->point = r->index;
	if (rc == 0) {
		et_hex(digest, sizeof(digest), r->digest);
	}
	return rc < 0 ? et_fail(reterr, rc, "the restored state") : 0;
}

static int restore_run(struct restore *r, struct et_error *reterr)
{
	Et__Cluster *cluster = NULL;
	bool missing = false;

	int rc = restore_prepare(r, reterr);
	rc = rc < 0 ? rc : restore_open(r, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(r->folder, sizeof(r->folder), "%s/restore.tmp", r->config.state);
	(void)nftw(r->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	rc = et_file_mkdirs(r->folder, reterr);
	rc = rc < 0 ? rc : db_open(r, reterr);
	rc = rc < 0 ? rc
		    : restore_log_apply(&r->log, et_backup_head(r->backup), r->state, r->keys.kek,
					r->keys.ca_key, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = point_note(r, reterr);
	rc = rc < 0 ? rc : ledgers_check(r, &missing, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_state_view *v = et_state_view_open(r->state);
	rc = v == NULL ? -ENOMEM : et_state_get_cluster(v, &cluster);
	(void)et_state_view_close(v);
	rc = rc < 0 ? et_fail(reterr, rc, "the cluster's record in the backup")
		    : begin_make(r, cluster, reterr);
	rc = rc < 0 ? rc : steps_apply(r, cluster, missing, reterr);
	rc = rc < 0 ? rc : restore_finish(r, reterr);
	if (rc == 0) {
		(void)printf(
			"{\"schema\":\"evertape/v1\",\"cluster\":\"%s\",\"node\":%llu,\"epoch\":%u,"
			"\"index\":%llu,\"restored_index\":%llu,\"restored_digest\":\"%s\","
			"\"backup_index\":%llu,\"ledgers\":%zu,\"targets_failed\":%u,"
			"\"erasures\":%zu,"
			"\"erasures_missing\":%s,\"keys_missing\":%u,"
			"\"restored_time_us\":%lld}\n",
			r->config.cluster, (unsigned long long)r->node, cluster->epoch + 1,
			(unsigned long long)r->index, (unsigned long long)r->point, r->digest,
			(unsigned long long)et_backup_head(r->backup)->index, r->ledgers.count,
			r->ledgers.targets_failed, r->ledgers.erasure_count,
			missing ? "true" : "false", r->keys_missing,
			(long long)cluster->cluster_time_us);
	}
	et__cluster__free_unpacked(cluster, NULL);
	return rc;
}

int et_daemon_restore(const struct et_restore_options *options)
{
	struct restore *r = calloc(1, sizeof(*r));
	struct et_error e = { 0 };

	if (r == NULL) {
		return 1;
	}
	r->options = options;
	et_log_set_level(ET_LOG_WARN);
	int rc = et_harden_process(&e); /* It holds shares, and what they open. */
	rc = rc < 0 ? rc : restore_run(r, &e);
	if (rc < 0) {
		(void)fprintf(stderr, "evertaped: %s\n", e.text);
		if (e.next[0] != '\0') {
			(void)fprintf(stderr, "Next: %s\n", e.next);
		}
		r->state = et_state_close(r->state);
		if (r->folder[0] != '\0') {
			(void)nftw(r->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
		}
	}
	et_keeper_restore_release(&r->keys);
	(void)et_backup_close(r->backup);
	(void)et_secret_free(r->root);
	free(r->ledgers.erasures);
	free(r);
	return rc < 0 ? et_exit_code(rc) : 0;
}
