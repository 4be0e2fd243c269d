#include <stdio.h>
#include <unistd.h>

#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* The first voter's log: one entry, the configuration with this node alone; and the same entry
 * behind a log that is there (recovery). On a loop of its own, with a transport that goes nowhere.
 */

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

struct put {
	struct raft_io_snapshot_put req;
	int status; /* 1: under way */
};

static void put_on_done(struct raft_io_snapshot_put *req, int status)
{
	ET_CONTAINER_OF(req, struct put, req)->status = status;
}

/* A snapshot that says: everything up to `index` is in the database. */
static int snapshot_store(uv_loop_t *loop, struct raft_io *io,
			  const struct raft_configuration *configuration, uint64_t node,
			  uint64_t index)
{
	uint8_t bytes[CAT_MANIFEST_SIZE];
	struct raft_buffer buf = { .base = bytes, .len = sizeof(bytes) };
	struct raft_snapshot snapshot = { .index = index,
					  .term = 1,
					  .configuration = *configuration,
					  .configuration_index = index,
					  .bufs = &buf,
					  .n_bufs = 1 };
	struct put put = { .status = 1 };

	et_cat_manifest_write(
		&(struct cat_manifest){ .index = index, .checkpoint = index, .source = node },
		bytes);
	int rv = io->snapshot_put(io, 1, &put.req, &snapshot, put_on_done);
	while (rv == 0 && put.status == 1) {
		(void)uv_run(loop, UV_RUN_ONCE);
	}
	return rv != 0 ? rv : put.status;
}

/* libraft's view of one log folder; it does not run. */
struct log_io {
	uv_loop_t loop;
	struct raft_uv_transport transport;
	struct raft_fsm fsm;
	struct raft_io io;
	struct raft raft;
};

static int log_open(struct log_io *l, const char *folder, uint64_t node, const char *address,
		    struct et_error *reterr)
{
	*l = (struct log_io){
		.transport = { .version = 1, .init = nowhere_init, .close = nowhere_close },
		.fsm = { .version = 1, .apply = nothing_apply },
	};
	int rc = uv_loop_init(&l->loop);
	if (rc < 0) {
		return et_fail(reterr, rc, "loop");
	}
	int rv = raft_uv_init(&l->io, &l->loop, folder, &l->transport);
	if (rv != 0) {
		(void)et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", folder, l->io.errmsg);
	} else {
		rv = raft_init(&l->raft, &l->io, &l->fsm, node, address);
		if (rv != 0) {
			raft_uv_close(&l->io);
			(void)et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", folder,
				      raft_errmsg(&l->raft));
		}
	}
	if (rv != 0) {
		int closed = uv_loop_close(&l->loop);
		et_assert(closed == 0);
		return et_cat_code(rv);
	}
	return 0;
}

/* Closes `l`; what went wrong before, `rv`, is told. */
static int log_close(struct log_io *l, const char *folder, int rv, struct et_error *reterr)
{
	const char *why = raft_errmsg(&l->raft)[0] != '\0' ? raft_errmsg(&l->raft)
			  : l->io.errmsg[0] != '\0'	   ? l->io.errmsg
							   : raft_strerror(rv);
	int rc = rv == 0 ? 0 : et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", folder, why);

	raft_close(&l->raft, NULL);
	(void)uv_run(&l->loop, UV_RUN_DEFAULT);
	raft_uv_close(&l->io);
	int closed = uv_loop_close(&l->loop);
	et_assert(closed == 0);
	return rc;
}

/* Write the configuration of one voter as the first entry. With `index` the log begins behind a
 * database that has been applied up to it. */
static int first_entry_write(const char *folder, uint64_t node, const char *address, uint64_t index,
			     struct et_error *reterr)
{
	struct raft_configuration configuration;
	struct log_io l;

	int rc = log_open(&l, folder, node, address, reterr);
	if (rc < 0) {
		return rc;
	}
	raft_configuration_init(&configuration);
	int rv = raft_configuration_add(&configuration, node, address, RAFT_VOTER);
	rv = rv != 0 ? rv : raft_bootstrap(&l.raft, &configuration);
	if (rv == 0 && index > 0) {
		rv = snapshot_store(&l.loop, &l.io, &configuration, node, index);
	}
	raft_configuration_close(&configuration);
	return log_close(&l, folder, rv, reterr);
}

static int bootstrap(const struct et_catalog_config *config, uint64_t index,
		     struct et_error *reterr)
{
	char raft_folder[CAT_PATH_SIZE];
	char current[CAT_PATH_SIZE];

	int n = snprintf(raft_folder, sizeof(raft_folder), "%s/raft", config->folder);
	int m = snprintf(current, sizeof(current), "%s/db/CURRENT", config->folder);
	if (n >= (int)sizeof(raft_folder) || m >= (int)sizeof(current)) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", config->folder);
	}
	if (access(current, F_OK) == 0) {
		return et_fail(reterr, ET_EEXISTS, "a database in '%s'", config->folder);
	}
	int rc = et_file_mkdirs(raft_folder, reterr);
	return rc < 0 ? rc
		      : first_entry_write(raft_folder, config->node, config->address, index,
					  reterr);
}

/* ---- Recovery ---- */

/* What raft_recover() does, but for the term: it writes the configuration as an entry of term 1,
 * and the only voter then leads in the last term that it knew. What the lost majority wrote in that
 * term has the same indexes and terms as what is written now: a survivor that had heard it would
 * hold another log, which Raft takes for the same. So the node's term leaps, far beyond what
 * elections can have reached, and the entry is of that term: what another log has there conflicts.
 */

struct loaded {
	raft_term term;
	raft_id voted_for;
	struct raft_snapshot *snapshot;
	raft_index start;
	struct raft_entry *entries;
	size_t count;
};

static void loaded_release(struct loaded *x)
{
	const void *batch = NULL;

	for (size_t i = 0; i < x->count; i++) {
		if (x->entries[i].batch != batch) {
			batch = x->entries[i].batch;
			raft_free(x->entries[i].batch);
		}
	}
	raft_free(x->entries);
	if (x->snapshot != NULL) {
		raft_configuration_close(&x->snapshot->configuration);
		raft_free(x->snapshot->bufs[0].base);
		raft_free(x->snapshot->bufs);
		raft_free(x->snapshot);
	}
}

static int log_load(struct log_io *l, struct loaded *ret)
{
	*ret = (struct loaded){ 0 };
	return l->io.load(&l->io, &ret->term, &ret->voted_for, &ret->snapshot, &ret->start,
			  &ret->entries, &ret->count);
}

/* The entry that says "this node alone", as libraft writes it: out of a log made for it. */
static int entry_make(const char *folder, uint64_t node, const char *address, struct et_buffer *ret,
		      struct et_error *reterr)
{
	char scratch[CAT_PATH_SIZE];
	struct loaded x = { 0 };
	struct log_io l;

	int n = snprintf(scratch, sizeof(scratch), "%s.recover", folder);
	if (n >= (int)sizeof(scratch)) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", folder);
	}
	et_cat_folder_remove(scratch); /* of a recovery that was interrupted */
	int rc = et_file_mkdirs(scratch, reterr);
	rc = rc < 0 ? rc : first_entry_write(scratch, node, address, 0, reterr);
	rc = rc < 0 ? rc : log_open(&l, scratch, node, address, reterr);
	if (rc == 0) {
		int rv = log_load(&l, &x);
		if (rv == 0 && (x.count != 1 || x.entries[0].type != RAFT_CHANGE)) {
			rv = RAFT_CORRUPT;
		}
		if (rv == 0) {
			et_buffer_add(ret, x.entries[0].buf.base, x.entries[0].buf.len);
		}
		loaded_release(&x);
		rc = log_close(&l, scratch, rv, reterr);
	}
	et_cat_folder_remove(scratch);
	return rc;
}

struct append {
	struct raft_io_append req;
	int status; /* 1: under way */
};

static void append_on_done(struct raft_io_append *req, int status)
{
	ET_CONTAINER_OF(req, struct append, req)->status = status;
}

/* Append `content` behind all that `l` has. */
static int entry_append(struct log_io *l, const struct et_buffer *content, uint64_t *ret_index)
{
	struct raft_entry entry = { .type = RAFT_CHANGE };
	struct append append = { .status = 1 };
	struct loaded x;

	int rv = log_load(l, &x);
	if (rv != 0) {
		return rv;
	}
	entry.term = x.term + CAT_RECOVERY_TERMS;
	*ret_index = x.start + x.count;
	loaded_release(&x);
	/* First the term: no entry is of a later term than the node's own. */
	rv = l->io.set_term(&l->io, entry.term);
	entry.buf.len = content->size;
	entry.buf.base = rv == 0 ? raft_malloc(content->size) : NULL;
	if (rv == 0 && entry.buf.base == NULL) {
		rv = RAFT_NOMEM;
	}
	if (rv == 0) {
		memcpy(entry.buf.base, content->data, content->size);
		rv = l->io.append(&l->io, &append.req, &entry, 1, append_on_done);
	}
	while (rv == 0 && append.status == 1) {
		(void)uv_run(&l->loop, UV_RUN_ONCE);
	}
	raft_free(entry.buf.base);
	return rv != 0 ? rv : append.status;
}

int et_cat_recover_log(const char *folder, uint64_t node, const char *address, uint64_t *ret_index,
		       struct et_error *reterr)
{
	struct et_buffer content = { 0 };
	struct log_io l;

	int rc = et_cat_cut_repair(folder, reterr);
	rc = rc < 0 ? rc : entry_make(folder, node, address, &content, reterr);
	rc = rc < 0 ? rc : log_open(&l, folder, node, address, reterr);
	if (rc == 0) {
		int rv = entry_append(&l, &content, ret_index);
		rc = log_close(&l, folder, rv, reterr);
	}
	et_buffer_release(&content);
	return rc;
}

int et_catalog_bootstrap(const struct et_catalog_config *config, struct et_error *reterr)
{
	return bootstrap(config, 0, reterr);
}

int et_catalog_bootstrap_at(const struct et_catalog_config *config, uint64_t index,
			    struct et_error *reterr)
{
	return bootstrap(config, index, reterr);
}
