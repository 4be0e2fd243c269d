#include <stdio.h>
#include <unistd.h>

#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* The first voter's log: one entry, the configuration with this node alone. On a loop of its own,
 * with a transport that goes nowhere. */

static int nowhere_init(struct raft_uv_transport *t, raft_id id, const char *address)
{
	(void)t;
	(void)id;
	(void)address;
	return 0;
}

static void nowhere_close(struct raft_uv_transport *t, raft_uv_transport_close_cb cb)
{
	cb(t);
}

static int nothing_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	(void)fsm;
	(void)buf;
	*result = NULL;
	return 0;
}

/* Write the configuration of one voter: as the first entry, or behind the log that is there. */
static int bootstrap_raft(uv_loop_t *loop, const char *folder, uint64_t node, const char *address,
			  bool recover, struct et_error *reterr)
{
	struct raft_uv_transport transport = { .version = 1,
					       .init = nowhere_init,
					       .close = nowhere_close };
	struct raft_fsm fsm = { .version = 1, .apply = nothing_apply };
	struct raft_configuration configuration;
	struct raft_io io = { 0 };
	struct raft raft = { 0 };

	int rv = raft_uv_init(&io, loop, folder, &transport);
	if (rv != 0) {
		return et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", folder, io.errmsg);
	}
	rv = raft_init(&raft, &io, &fsm, node, address);
	if (rv != 0) {
		raft_uv_close(&io);
		return et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", folder,
			       raft_errmsg(&raft));
	}
	raft_configuration_init(&configuration);
	rv = raft_configuration_add(&configuration, node, address, RAFT_VOTER);
	if (rv == 0) {
		rv = recover ? raft_recover(&raft, &configuration)
			     : raft_bootstrap(&raft, &configuration);
	}
	raft_configuration_close(&configuration);
	int rc = rv == 0 ? 0
			 : et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", folder,
				   raft_errmsg(&raft));
	raft_close(&raft, NULL);
	(void)uv_run(loop, UV_RUN_DEFAULT);
	raft_uv_close(&io);
	return rc;
}

int et_catalog_bootstrap(const struct et_catalog_config *config, struct et_error *reterr)
{
	char raft_folder[CAT_PATH_SIZE];
	char current[CAT_PATH_SIZE];
	uv_loop_t loop;

	int n = snprintf(raft_folder, sizeof(raft_folder), "%s/raft", config->folder);
	int m = snprintf(current, sizeof(current), "%s/db/CURRENT", config->folder);
	if (n >= (int)sizeof(raft_folder) || m >= (int)sizeof(current)) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", config->folder);
	}
	if (access(current, F_OK) == 0) {
		return et_fail(reterr, ET_EEXISTS, "a database in '%s'", config->folder);
	}
	int rc = et_file_mkdirs(raft_folder, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = uv_loop_init(&loop);
	if (rc < 0) {
		return et_fail(reterr, rc, "loop");
	}
	rc = bootstrap_raft(&loop, raft_folder, config->node, config->address, false, reterr);
	int closed = uv_loop_close(&loop);
	et_assert(closed == 0);
	return rc;
}

int et_cat_recover_log(const char *folder, uint64_t node, const char *address,
		       struct et_error *reterr)
{
	uv_loop_t loop;

	int rc = uv_loop_init(&loop);
	if (rc < 0) {
		return et_fail(reterr, rc, "loop");
	}
	rc = bootstrap_raft(&loop, folder, node, address, true, reterr);
	int closed = uv_loop_close(&loop);
	et_assert(closed == 0);
	return rc;
}
