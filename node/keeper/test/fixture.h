/* A small cluster for tests of the keeper: real TLS, real catalogue, all on one loop, in a folder
 * of its own. Nothing sleeps: the loop runs until a condition holds, or the test fails. */
#ifndef ET_NODE_KEEPER_TEST_FIXTURE_H
#define ET_NODE_KEEPER_TEST_FIXTURE_H

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/keeper/keeper_internal.h"
#include "node/root/root.h"
#include "node/tape/tape.h"
#include "node/tape/wrap.h"

#define PATIENCE_MS 60000
#define NODES_MAX 4

struct cluster;

struct node {
	struct cluster *c;
	char folder[128];
	char identity_folder[160];
	char spec[160];
	char address[ET_ADDRESS_MAX];
	struct et_secret *root;
	struct et_identity identity;
	struct et_members *members;
	struct et_tls_node *tls;
	struct et_catalog *catalog;
	struct et_keeper *keeper;
	unsigned open; /* of keeper, catalogue, TLS: how many still run */
	unsigned identities;
	struct et_buffer join_request;
};

struct cluster {
	uv_loop_t loop;
	struct et_postbox postbox;
	uv_timer_t watchdog;
	uv_timer_t poll; /* so that conditions on other threads are seen */
	char folder[64];
	struct et_keeper_init init;
	struct node nodes[NODES_MAX];
	int64_t cert_life_us;
};

struct outcome {
	bool done;
	int code;
	uint64_t number;
	char text[512];
	struct et_secret *dek;
};

static inline void on_watchdog(uv_timer_t *timer)
{
	(void)timer;
	(void)fprintf(stderr, "nothing happened for %d s\n", PATIENCE_MS / 1000);
	abort();
}

static inline void on_poll(uv_timer_t *timer)
{
	(void)timer;
}

#define RUN_UNTIL(cluster, condition)                                                              \
	do {                                                                                       \
		(void)uv_timer_start(&(cluster)->watchdog, on_watchdog, PATIENCE_MS, 0);           \
		while (!(condition)) {                                                             \
			(void)uv_run(&(cluster)->loop, UV_RUN_ONCE);                               \
		}                                                                                  \
		(void)uv_timer_stop(&(cluster)->watchdog);                                         \
	} while (0)

static inline void on_applied(void *arg, uint64_t index, const Et__Command *command,
			      const Et__Result *result)
{
	struct node *n = arg;

	if (n->keeper != NULL) {
		et_keeper_on_applied(n->keeper, index, command, result);
	}
}

static inline void on_identity(void *arg, const struct et_identity *identity)
{
	struct node *n = arg;

	n->identities++;
	et_identity_release(&n->identity);
	assert_int_equal(et_identity_copy(identity, &n->identity), 0);
}

static inline void on_outcome(void *arg, int code, const Et__Result *result)
{
	struct outcome *o = arg;

	o->done = true;
	o->code = code;
	o->number = result != NULL ? result->number : 0;
	(void)snprintf(o->text, sizeof(o->text), "%s", result != NULL ? result->text : "");
}

static inline struct outcome propose(struct node *n, Et__Command *command)
{
	struct outcome o = { 0 };
	char principal[] = "local:uid=0";

	command->principal = principal;
	command->schema = ET_COMMAND_SCHEMA;
	et_catalog_propose(n->catalog, command, 20000, on_outcome, &o);
	RUN_UNTIL(n->c, o.done);
	return o;
}

static inline uint64_t applied(struct node *n)
{
	return et_state_applied(et_catalog_state(n->catalog));
}

static inline void node_open_tls(struct node *n, const char *listen)
{
	struct et_error e;
	const struct et_tls_config config = { .loop = &n->c->loop,
					      .identity = &n->identity,
					      .listen = listen,
					      .check = et_members_check,
					      .recorded = et_members_recorded };
	struct et_tls_config with = config;

	if (et_members_open(n->identity_folder, &n->identity, &n->members, &e) < 0) {
		fail_msg("%s", e.text);
	}
	with.arg = n->members;
	if (et_tls_start(&with, &n->tls, &e) < 0) {
		fail_msg("%s", e.text);
	}
	n->open++;
	(void)snprintf(n->address, sizeof(n->address), "%s", et_tls_address(n->tls));
}

static inline void node_open_rest(struct node *n, bool bootstrap)
{
	struct et_error e;
	struct et_catalog_config config = { .loop = &n->c->loop,
					    .postbox = &n->c->postbox,
					    .tls = n->tls,
					    .node = n->identity.node,
					    .address = n->address,
					    .folder = n->folder,
					    .election_ms = 600,
					    .heartbeat_ms = 50,
					    .on_applied = on_applied,
					    .arg = n };

	if ((bootstrap && et_catalog_bootstrap(&config, &e) < 0) ||
	    et_catalog_start(&config, &n->catalog, &e) < 0) {
		fail_msg("%s", e.text);
	}
	n->open++;
	et_members_set_state(n->members, et_catalog_state(n->catalog));
	const struct et_keeper_config keeper = { .loop = &n->c->loop,
						 .postbox = &n->c->postbox,
						 .catalog = n->catalog,
						 .tls = n->tls,
						 .identity = &n->identity,
						 .root = n->root,
						 .root_on_disk = true,
						 .state_folder = n->folder,
						 .media_folder = n->folder,
						 .cert_life_us = n->c->cert_life_us,
						 .on_identity = on_identity,
						 .arg = n };
	if (et_keeper_start(&keeper, &n->keeper, &e) < 0) {
		fail_msg("%s", e.text);
	}
	n->open++;
}

static inline void node_prepare(struct cluster *c, size_t i, uint8_t seal_public[32])
{
	struct node *n = &c->nodes[i];

	n->c = c;
	char base[sizeof(c->folder)];
	memcpy(base, c->folder, sizeof(base));
	(void)snprintf(n->folder, sizeof(n->folder), "%s/%zu", base, i + 1);
	(void)snprintf(n->identity_folder, sizeof(n->identity_folder), "%s/%zu/identity", base,
		       i + 1);
	(void)snprintf(n->spec, sizeof(n->spec), "file:%s/%zu/root.key", base, i + 1);
	assert_int_equal(et_file_mkdirs(n->folder, NULL), 0);
	const struct et_root_place place = { .spec = n->spec, .state = n->folder };
	assert_int_equal(et_root_make(&place, &n->root, NULL), 0);
	assert_int_equal(et_keeper_key_make(n->folder, n->root, 1, seal_public, NULL), 0);
}

static inline void on_closed(void *arg)
{
	struct node *n = arg;
	n->open--;
}

static inline void node_close(struct node *n)
{
	if (n->keeper != NULL) {
		unsigned before = n->open;
		struct et_keeper *k = n->keeper;
		n->keeper = NULL;
		et_keeper_stop(k, on_closed, n);
		RUN_UNTIL(n->c, n->open < before);
	}
	if (n->catalog != NULL) {
		unsigned before = n->open;
		et_members_set_state(n->members, NULL);
		et_catalog_stop(n->catalog, on_closed, n);
		RUN_UNTIL(n->c, n->open < before);
		n->catalog = NULL;
	}
	if (n->tls != NULL) {
		unsigned before = n->open;
		et_tls_stop(n->tls, on_closed, n);
		RUN_UNTIL(n->c, n->open < before);
		n->tls = NULL;
	}
	n->members = et_members_close(n->members);
}

static inline void node_release(struct node *n)
{
	node_close(n);
	(void)et_secret_free(n->root);
	et_identity_release(&n->identity);
	et_buffer_release(&n->join_request);
}

/* The first node, as `cluster init` makes it. */
static inline void cluster_open(struct cluster *c)
{
	struct et_keeper_init_config config = { .cluster = "acme",
						.name = "prg-1",
						.site = "prg",
						.roles = ET_ROLE_VOTER | ET_ROLE_VAULT,
						.now_us = et_clock_now_us() };
	struct node *n = &c->nodes[0];
	struct et_error e;

	(void)snprintf(c->folder, sizeof(c->folder), "/tmp/et_keeper.XXXXXX");
	assert_non_null(mkdtemp(c->folder));
	assert_int_equal(uv_loop_init(&c->loop), 0);
	assert_int_equal(et_postbox_init(&c->postbox, &c->loop), 0);
	assert_int_equal(uv_timer_init(&c->loop, &c->watchdog), 0);
	assert_int_equal(uv_timer_init(&c->loop, &c->poll), 0);
	(void)uv_timer_start(&c->poll, on_poll, 5, 5);

	node_prepare(c, 0, config.seal_public);
	/* The port is known only when it listens; the first address in the catalogue is told after.
	 */
	config.address = "127.0.0.1:1";
	if (et_keeper_make_init(&config, &c->init, &e) < 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(et_identity_copy(&c->init.identity, &n->identity), 0);
	assert_int_equal(et_identity_save(n->identity_folder, n->root, &n->identity, NULL), 0);
	assert_int_equal(et_member_list_save(n->identity_folder, view_of(&c->init.members), NULL),
			 0);
	node_open_tls(n, "127.0.0.1:0");
	free(c->init.command->cluster_init->node->address);
	pb_text(&c->init.command->cluster_init->node->address, n->address);
	node_open_rest(n, true);
	struct outcome o = { 0 };
	et_catalog_propose(n->catalog, c->init.command, 20000, on_outcome, &o);
	RUN_UNTIL(c, o.done);
	if (o.code < 0) {
		fail_msg("%s %s", et_errname(o.code), o.text);
	}
}

static inline void cluster_close(struct cluster *c)
{
	char command[128];

	for (size_t i = NODES_MAX; i-- > 0;) {
		if (c->nodes[i].c != NULL) {
			node_release(&c->nodes[i]);
		}
	}
	et_keeper_init_release(&c->init);
	uv_close((uv_handle_t *)&c->watchdog, NULL);
	uv_close((uv_handle_t *)&c->poll, NULL);
	et_postbox_close(&c->postbox, NULL);
	(void)uv_run(&c->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&c->loop), 0);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", c->folder);
	assert_int_equal(system(command), 0);
}

/* A token in the catalogue, and its other half. */
static inline void token_make(struct node *n, uint32_t roles, const char *site, uint32_t uses,
			      int64_t life_us, struct et_join_token *t)
{
	Et__TokenAdd add = ET__TOKEN_ADD__INIT;
	Et__Token token = ET__TOKEN__INIT;
	Et__Command command = ET__COMMAND__INIT;
	char kind[] = "join";
	char name[] = "test";
	char site_text[ET_NAME_MAX + 1];

	assert_int_equal(et_join_token_make(t, NULL), 0);
	(void)snprintf(t->cluster, sizeof(t->cluster), "acme");
	(void)snprintf(t->site, sizeof(t->site), "%s", site);
	(void)snprintf(site_text, sizeof(site_text), "%s", site);
	t->roles = roles;
	t->expires_us = et_clock_now_us() + life_us;
	assert_int_equal(et_cert_spki_hash(view_of(&n->identity.ca), t->ca_hash), 0);
	t->address_count = 1;
	(void)snprintf(t->addresses[0], ET_ADDRESS_MAX, "%s", n->address);
	token.id = (ProtobufCBinaryData){ 16, t->id };
	token.kind = kind;
	token.public_key = (ProtobufCBinaryData){ 32, t->public_key };
	token.name = name;
	token.site = site_text;
	token.expires_us = t->expires_us;
	token.uses_left = uses;
	pb_roles(&token.n_roles, &token.roles, roles);
	add.token = &token;
	command.body_case = ET__COMMAND__BODY_TOKEN_ADD;
	command.token_add = &add;
	struct outcome o = propose(n, &command);
	if (o.code < 0) {
		fail_msg("%s %s", et_errname(o.code), o.text);
	}
	for (size_t i = 0; i < token.n_roles; i++) {
		free(token.roles[i]);
	}
	free(token.roles);
}

struct joining {
	struct node *n;
	struct outcome o;
};

static inline void on_join(void *arg, int code, const struct et_join_reply *reply,
			   const struct et_error *why)
{
	struct joining *j = arg;
	struct node *n = j->n;

	j->o.done = true;
	j->o.code = code;
	(void)snprintf(j->o.text, sizeof(j->o.text), "%s", code < 0 ? why->text : "");
	if (code < 0) {
		return;
	}
	j->o.number = reply->node;
	n->identity.node = reply->node;
	memcpy(n->identity.cluster_id, reply->cluster_id, 16);
	memcpy(n->identity.site, reply->site, sizeof(n->identity.site));
	n->identity.cert.size = 0;
	n->identity.ca.size = 0;
	et_buffer_add(&n->identity.cert, reply->cert.data, reply->cert.size);
	et_buffer_add(&n->identity.ca, reply->ca.data, reply->ca.size);
	assert_int_equal(et_identity_save(n->identity_folder, n->root, &n->identity, NULL), 0);
	assert_int_equal(et_member_list_save(n->identity_folder, view_of(&reply->members), NULL),
			 0);
}

static inline void join_prepare(struct cluster *c, size_t i, const struct et_join_token *t,
				const char *name, uint32_t roles)
{
	struct node *n = &c->nodes[i];
	struct et_join_request q = { .roles = roles, .schema = ET_COMMAND_SCHEMA };

	node_prepare(c, i, q.seal_public);
	assert_int_equal(et_identity_make("acme", name, t->site, &n->identity, NULL), 0);
	memcpy(q.token, t->id, 16);
	(void)snprintf(q.name, sizeof(q.name), "%s", name);
	(void)snprintf(q.address, sizeof(q.address), "127.0.0.1:%zu", 2 + i);
	(void)snprintf(q.version, sizeof(q.version), "0.1.0");
	memcpy(q.sign_public, n->identity.sign_public, 32);
	assert_int_equal(et_identity_request(&n->identity, &q.csr, NULL), 0);
	assert_int_equal(et_join_request_pack(&q, &n->join_request, NULL), 0);
	et_join_request_release(&q);
}

static inline struct outcome join_ask(struct node *n, const struct et_join_token *t,
				      const char *address)
{
	struct joining j = { .n = n };

	assert_int_equal(et_join_call(&n->c->loop, t, address, view_of(&n->join_request), 20000,
				      on_join, &j, NULL),
			 0);
	RUN_UNTIL(n->c, j.o.done);
	return j.o;
}

/* Tell the catalogue where a node really listens, and make it a spare that gets the log. */
static inline void node_bring_in(struct node *leader, struct node *n)
{
	Et__NodeUpdate update = ET__NODE_UPDATE__INIT;
	Et__Node node = ET__NODE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct outcome o = { 0 };

	node_open_tls(n, "127.0.0.1:0");
	node.id = n->identity.node;
	node.address = n->address;
	update.node = &node;
	command.body_case = ET__COMMAND__BODY_NODE_UPDATE;
	command.node_update = &update;
	o = propose(leader, &command);
	assert_int_equal(o.code, 0);
	node_open_rest(n, false);
	o = (struct outcome){ 0 };
	et_catalog_add(leader->catalog, n->identity.node, n->address, on_outcome, &o);
	RUN_UNTIL(n->c, o.done);
	assert_int_equal(o.code, 0);
	o = (struct outcome){ 0 };
	et_catalog_assign(leader->catalog, n->identity.node, ET_CATALOG_STANDBY, on_outcome, &o);
	RUN_UNTIL(n->c, o.done);
	assert_int_equal(o.code, 0);
	RUN_UNTIL(n->c, applied(n) >= applied(leader));
}

/* A node that joined with a token and has caught up. */
static inline void node_join(struct cluster *c, size_t i, const char *name, const char *site,
			     uint32_t roles)
{
	struct et_join_token t;

	token_make(&c->nodes[0], roles, site, 1, 3600LL * 1000000, &t);
	join_prepare(c, i, &t, name, roles);
	struct outcome o = join_ask(&c->nodes[i], &t, NULL);
	if (o.code < 0) {
		fail_msg("%s", o.text);
	}
	assert_int_equal(o.number, i + 1);
	et_join_token_release(&t);
	node_bring_in(&c->nodes[0], &c->nodes[i]);
}

/* ---- For cmocka ---- */

static inline int cluster_set_up(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	c->cert_life_us = 72LL * 3600 * 1000000;
	cluster_open(c);
	*state = c;
	return 0;
}

static inline int cluster_tear_down(void **state)
{
	cluster_close(*state);
	free(*state);
	return 0;
}

static inline struct et_state_view *view(struct node *n)
{
	return et_state_view_open(et_catalog_state(n->catalog));
}

static inline int kek_state(struct node *n, uint32_t version)
{
	struct et_state_view *v = view(n);
	Et__Kek *kek = NULL;
	int is = -1;

	if (et_state_get_kek(v, version, &kek) == 0) {
		is = (int)kek->state;
		et__kek__free_unpacked(kek, NULL);
	}
	(void)et_state_view_close(v);
	return is;
}

#endif
