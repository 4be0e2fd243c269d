/* How a machine becomes a node: cluster init (the first one) and node join (every other).
 *
 * Both come from the API on a thread that may wait. Keys and files are made there; what touches the
 * loop's objects runs on the loop.
 *
 * cluster init: root, key folder, CA and KEK and escrow → <state>/identity/init.unfinished →
 * identity on disk → one-voter Raft → ClusterInit committed → the mark is removed → the shares are
 * answered, once. A crash in between leaves the mark: the next start says so and does nothing else,
 * because the escrow shares of that cluster were never shown.
 *
 * node join: root, keys, request (made once in a process, so that a repetition is the same request
 * and gets the same node) → asked → identity on disk → started as a member. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"

#define SETUP_TIMEOUT_S 60
#define JOIN_TIMEOUT_MS 20000
#define FIRST_KEK 1
#define FIRST_TOKEN_LIFE_US (365LL * 24 * 3600 * 1000000)

/* ---- What both need
 * ------------------------------------------------------------------------------ */

struct daemon_setup {
	struct et_secret *root; /* owned */
	uint8_t seal_public[32];
	struct et_identity identity; /* owned */
	struct et_buffer request;    /* owned: join; the same bytes for every repetition */
	uint8_t token_id[16];
};

/* The node root (made if there is none) and this node's key for the first KEK. */
static int setup_keys(struct et_daemon *d, struct daemon_setup *s, struct et_error *reterr)
{
	const struct et_root_place place = { .spec = d->config.root, .state = d->config.state };

	int rc = et_root_load(&place, &s->root, reterr);
	if (rc == -ENOENT) {
		rc = et_root_make(&place, &s->root, reterr);
		if (rc == 0) {
			et_info("root.made", "root=%s", d->config.root);
		}
	}
	if (rc < 0) {
		return rc;
	}
	return et_keeper_key_make(d->config.state, s->root, FIRST_KEK, s->seal_public, reterr);
}

static void setup_free(struct daemon_setup *s)
{
	if (s != NULL) {
		s->root = et_secret_free(s->root);
		et_identity_release(&s->identity);
		et_buffer_release(&s->request);
		free(s);
	}
}

/* One at a time, and only on a fresh node. */
static int setup_begin(struct et_daemon *d, struct et_error *reterr)
{
	bool busy = atomic_exchange(&d->setup_busy, true);

	if (busy) {
		return et_fail(reterr, ET_EBUSY, "another init or join is under way on this node");
	}
	if (d->phase != DAEMON_FRESH) {
		atomic_store(&d->setup_busy, false);
		(void)et_fail(reterr, ET_EEXISTS, "this node is a member of cluster '%s'",
			      d->identity.cluster);
		return et_fail_next(reterr, "evertape status");
	}
	return 0;
}

/* On the loop: the identity is on disk; become a member. */
static int install(struct et_daemon *d, struct daemon_setup *s, struct et_error *reterr)
{
	d->root = ET_TAKE(s->root);
	et_identity_release(&d->identity);
	d->identity = s->identity;
	memset(&s->identity, 0, sizeof(s->identity));
	return daemon_start_member(d, reterr);
}

/* ---- cluster init
 * -------------------------------------------------------------------------------- */

struct init {
	struct et_daemon *daemon;
	struct daemon_setup setup;
	struct et_keeper_init material;
	struct et_secret *token; /* owned: the first administrator's API token */
	struct daemon_waiter waiter;
};

static void on_init_applied(void *arg, int code, const Et__Result *result)
{
	struct init *init = arg;

	if (code < 0) {
		(void)et_fail(&init->waiter.error, code, "commit the cluster's first entry%s%s",
			      result != NULL ? ": " : "", result != NULL ? result->text : "");
	}
	daemon_waiter_wake(&init->waiter, code);
}

static void init_on_loop(void *arg)
{
	struct init *init = arg;
	struct et_daemon *d = init->daemon;
	struct et_catalog_config config = { .loop = &d->loop,
					    .node = init->setup.identity.node,
					    .address = d->config.advertise,
					    .folder = d->config.state };
	struct et_error *error = &init->waiter.error;

	int rc = et_catalog_bootstrap(&config, error);
	if (rc == 0) {
		rc = install(d, &init->setup, error);
	}
	if (rc < 0) {
		daemon_waiter_wake(&init->waiter, rc);
		return;
	}
	et_catalog_propose(d->catalog, init->material.command, SETUP_TIMEOUT_S * 1000,
			   on_init_applied, init);
}

static int init_material(struct init *init, const struct et_api_init *request,
			 struct et_error *reterr)
{
	struct et_daemon *d = init->daemon;
	struct et_keeper_init_config config = {
		.cluster = d->config.cluster,
		.name = d->config.name,
		.site = d->config.site,
		.roles = d->config.roles | ET_ROLE_VOTER | ET_ROLE_VAULT,
		.address = d->config.advertise,
		.api_address = d->config.listen_api,
		.version = d->version,
		.store_uuid = d->store_uuid,
		.escrow_threshold = request->escrow_threshold,
		.escrow_shares = request->escrow_shares,
		.cert_life_us = d->config.tls.certificate_life_us,
		.now_us = et_clock_now_us(),
	};
	int rc = setup_keys(d, &init->setup, reterr);
	if (rc < 0) {
		return rc;
	}
	memcpy(config.seal_public, init->setup.seal_public, sizeof(config.seal_public));
	rc = et_keeper_make_init(&config, &init->material, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_identity_copy(&init->material.identity, &init->setup.identity);
	if (rc < 0) {
		return et_fail(reterr, rc, "make the identity");
	}
	static const char *const roles[] = { "admin" };
	return et_api_token_make("first-admin", roles, 1, config.now_us + FIRST_TOKEN_LIFE_US,
				 &init->material.command->cluster_init->admin, &init->token,
				 reterr);
}

static void unfinished_path(const struct et_daemon *d, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/init.unfinished", d->identity_folder);
}

bool daemon_setup_unfinished(const struct et_daemon *d)
{
	char path[ET_CONFIG_PATH_MAX + 48];

	unfinished_path(d, path, sizeof(path));
	return access(path, F_OK) == 0;
}

static int init_save(struct init *init, struct et_error *reterr)
{
	struct et_daemon *d = init->daemon;
	char path[ET_CONFIG_PATH_MAX + 48];

	unfinished_path(d, path, sizeof(path));
	int rc = et_file_publish(path, "", 0, 0600, reterr);
	if (rc == 0) {
		rc = et_member_list_save(d->identity_folder,
					 (struct et_view){ init->material.members.data,
							   init->material.members.size },
					 reterr);
	}
	if (rc == 0) {
		rc = et_identity_save(d->identity_folder, init->setup.root, &init->setup.identity,
				      reterr);
	}
	return rc;
}

/* The shares are the caller's from now on: they are answered once and kept nowhere. */
static int init_finish(struct init *init, struct et_api_init_answer *ret, struct et_error *reterr)
{
	struct et_daemon *d = init->daemon;
	char path[ET_CONFIG_PATH_MAX + 48];

	ret->node = d->identity.node;
	ret->share_count = init->material.share_count;
	for (unsigned i = 0; i < init->material.share_count; i++) {
		ret->shares[i] = init->material.shares[i];
		init->material.shares[i] = NULL;
	}
	ret->token = ET_TAKE(init->token);
	unfinished_path(d, path, sizeof(path));
	if (unlink(path) < 0) {
		return et_fail(reterr, -errno, "remove '%s'", path);
	}
	return et_file_sync_parent(path, reterr);
}

int daemon_setup_init(struct et_daemon *d, const struct et_api_init *request,
		      struct et_api_init_answer *ret, struct et_error *reterr)
{
	if (request->cluster != NULL && strcmp(request->cluster, d->config.cluster) != 0) {
		return et_fail(reterr, ET_EUSAGE, "%s: 'cluster' is '%s', not '%s'", d->config.file,
			       d->config.cluster, request->cluster);
	}
	int rc = setup_begin(d, reterr);
	if (rc < 0) {
		return rc;
	}
	struct init *init = calloc(1, sizeof(*init));
	if (init == NULL) {
		atomic_store(&d->setup_busy, false);
		return et_fail(reterr, -ENOMEM, "cluster init");
	}
	init->daemon = d;
	daemon_waiter_init(&init->waiter);
	rc = init_material(init, request, reterr);
	if (rc == 0) {
		rc = init_save(init, reterr);
	}
	if (rc == 0) {
		rc = daemon_on_loop(d, init_on_loop, init);
		if (rc == 0) {
			rc = daemon_waiter_wait(&init->waiter);
			if (rc < 0 && reterr != NULL) {
				*reterr = init->waiter.error;
			}
		}
	}
	if (rc == 0) {
		rc = init_finish(init, ret, reterr);
	}
	et_keeper_init_release(&init->material);
	init->token = et_secret_free(init->token);
	init->setup.root = et_secret_free(init->setup.root);
	et_identity_release(&init->setup.identity);
	daemon_waiter_destroy(&init->waiter);
	free(init);
	atomic_store(&d->setup_busy, false);
	return rc;
}

/* ---- node join
 * ----------------------------------------------------------------------------------- */

struct join {
	struct et_daemon *daemon;
	struct daemon_setup *setup; /* borrowed from the daemon */
	struct et_join_token token;
	const char *address; /* or NULL: those of the token */
	struct et_buffer members;
	struct daemon_waiter waiter;
};

static int join_request(struct join *join, struct et_error *reterr)
{
	struct et_daemon *d = join->daemon;
	struct daemon_setup *s = join->setup;
	struct et_join_request request = { 0 };

	int rc = et_identity_make(d->config.cluster, d->config.name, d->config.site, &s->identity,
				  reterr);
	if (rc < 0) {
		return rc;
	}
	memcpy(request.token, join->token.id, sizeof(request.token));
	memcpy(s->token_id, join->token.id, sizeof(s->token_id));
	(void)snprintf(request.name, sizeof(request.name), "%s", d->config.name);
	(void)snprintf(request.site, sizeof(request.site), "%s", d->config.site);
	request.roles = d->config.roles;
	(void)snprintf(request.address, sizeof(request.address), "%s", d->config.advertise);
	(void)snprintf(request.api_address, sizeof(request.api_address), "%s",
		       d->config.listen_api);
	(void)snprintf(request.version, sizeof(request.version), "%s", d->version);
	(void)snprintf(request.store_uuid, sizeof(request.store_uuid), "%s", d->store_uuid);
	request.schema = ET_COMMAND_SCHEMA;
	memcpy(request.sign_public, s->identity.sign_public, sizeof(request.sign_public));
	memcpy(request.seal_public, s->seal_public, sizeof(request.seal_public));
	rc = et_identity_request(&s->identity, &request.csr, reterr);
	if (rc == 0) {
		rc = et_join_request_pack(&request, &s->request, reterr);
	}
	et_join_request_release(&request);
	return rc;
}

static int copy_buffer(struct et_buffer *to, const struct et_buffer *from)
{
	et_buffer_release(to);
	et_buffer_add(to, from->data, from->size);
	return to->failed ? -ENOMEM : 0;
}

static void on_join_reply(void *arg, int code, const struct et_join_reply *reply,
			  const struct et_error *why)
{
	struct join *join = arg;
	struct et_identity *id = &join->setup->identity;

	if (code == 0) {
		id->node = reply->node;
		memcpy(id->cluster_id, reply->cluster_id, sizeof(id->cluster_id));
		if (copy_buffer(&id->cert, &reply->cert) < 0 ||
		    copy_buffer(&id->ca, &reply->ca) < 0 ||
		    copy_buffer(&join->members, &reply->members) < 0) {
			code = et_fail(&join->waiter.error, -ENOMEM, "node join");
		}
	} else if (why != NULL) {
		join->waiter.error = *why;
	} else {
		(void)et_fail(&join->waiter.error, code, "node join");
	}
	daemon_waiter_wake(&join->waiter, code);
}

static void join_on_loop(void *arg)
{
	struct join *join = arg;
	struct et_view request = { join->setup->request.data, join->setup->request.size };
	int rc = et_join_call(&join->daemon->loop, &join->token, join->address, request,
			      JOIN_TIMEOUT_MS, on_join_reply, join, &join->waiter.error);
	if (rc < 0) {
		daemon_waiter_wake(&join->waiter, rc);
	}
}

static void join_install_on_loop(void *arg)
{
	struct join *join = arg;
	int rc = install(join->daemon, join->setup, &join->waiter.error);
	daemon_waiter_wake(&join->waiter, rc);
}

/* Another token is needed. Returns the code of the error. */
static int join_next_token(const struct et_daemon *d, struct et_error *reterr)
{
	return et_fail_next(reterr, "evertape node token --site %s   (on a member)",
			    d->config.site);
}

static int join_check_token(struct join *join, const char *text, struct et_error *reterr)
{
	struct et_daemon *d = join->daemon;
	int rc = et_join_token_parse(text, strlen(text), et_clock_now_us(), &join->token, reterr);

	if (rc < 0) {
		return join_next_token(d, reterr);
	}
	if (strcmp(join->token.cluster, d->config.cluster) != 0) {
		(void)et_fail_plain(reterr, ET_EUSAGE,
				    "%s: 'cluster' is '%s', but the token is of cluster '%s'",
				    d->config.file, d->config.cluster, join->token.cluster);
		return join_next_token(d, reterr);
	}
	if (strcmp(join->token.site, d->config.site) != 0) {
		(void)et_fail_plain(reterr, ET_EUSAGE,
				    "%s: 'site' is '%s', but the token is for site '%s'",
				    d->config.file, d->config.site, join->token.site);
		return join_next_token(d, reterr);
	}
	return 0;
}

/* Keys and request: those of the last try with this token, or new ones. */
static int join_prepare(struct join *join, struct et_error *reterr)
{
	struct et_daemon *d = join->daemon;

	if (d->setup != NULL && memcmp(d->setup->token_id, join->token.id, 16) == 0 &&
	    d->setup->root != NULL) {
		join->setup = d->setup;
		return 0;
	}
	setup_free(d->setup);
	d->setup = calloc(1, sizeof(*d->setup));
	if (d->setup == NULL) {
		return et_fail(reterr, -ENOMEM, "node join");
	}
	join->setup = d->setup;
	int rc = setup_keys(d, d->setup, reterr);
	if (rc == 0) {
		rc = join_request(join, reterr);
	}
	if (rc < 0) {
		setup_free(d->setup);
		d->setup = NULL;
	}
	return rc;
}

static int join_run(struct join *join, struct et_error *reterr)
{
	struct et_daemon *d = join->daemon;
	int rc = daemon_on_loop(d, join_on_loop, join);

	if (rc == 0) {
		rc = daemon_waiter_wait(&join->waiter);
	}
	if (rc == 0) {
		rc = et_member_list_save(d->identity_folder,
					 (struct et_view){ join->members.data, join->members.size },
					 &join->waiter.error);
	}
	if (rc == 0) {
		rc = et_identity_save(d->identity_folder, join->setup->root, &join->setup->identity,
				      &join->waiter.error);
	}
	if (rc == 0) {
		join->waiter.done = false;
		rc = daemon_on_loop(d, join_install_on_loop, join);
		rc = rc == 0 ? daemon_waiter_wait(&join->waiter) : rc;
	}
	if (rc < 0 && reterr != NULL) {
		*reterr = join->waiter.error;
	}
	if (rc == ET_EDENIED) {
		(void)join_next_token(d, reterr);
	}
	return rc;
}

int daemon_setup_join(struct et_daemon *d, const char *token, const char *address,
		      uint64_t *ret_node, struct et_error *reterr)
{
	struct join join = { .daemon = d, .address = address };
	int rc = setup_begin(d, reterr);
	if (rc < 0) {
		return rc;
	}
	daemon_waiter_init(&join.waiter);
	rc = join_check_token(&join, token, reterr);
	if (rc == 0) {
		rc = join_prepare(&join, reterr);
	}
	if (rc == 0) {
		rc = join_run(&join, reterr);
	}
	if (rc == 0) {
		*ret_node = d->identity.node;
		setup_free(d->setup);
		d->setup = NULL;
	}
	et_join_token_release(&join.token);
	et_buffer_release(&join.members);
	daemon_waiter_destroy(&join.waiter);
	atomic_store(&d->setup_busy, false);
	return rc;
}

void daemon_setup_release(struct et_daemon *d)
{
	setup_free(d->setup);
	d->setup = NULL;
}
