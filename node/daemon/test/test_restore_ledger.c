/* Ledgers of erasures in an archive target, which may be anybody's by the time of a restore. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/daemon/restore_internal.h"
#include "node/tls/identity.h"
#include "raft/command/schema.h"

static char root[] = "/tmp/et_restore_ledger.XXXXXX";
static char folder[256];
static struct et_bucket *bucket;
static const struct et_backup_head backup = { .node = 1 };

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int set_up(void **state)
{
	char path[64];

	(void)state;
	memcpy(root + strlen(root) - 6, "XXXXXX", 6);
	assert_non_null(mkdtemp(root));
	(void)snprintf(path, sizeof(path), "%s/ledger", root);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(folder, sizeof(folder), "%s/%032d", path, 0); /* the cluster's id */
	assert_int_equal(mkdir(folder, 0700), 0);
	const struct et_bucket_config config = { .type = ET_BUCKET_DIR, .path = root };
	assert_int_equal(et_bucket_open(&config, &bucket, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	bucket = et_bucket_close(bucket);
	return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "ETLG", 4), 4);
	assert_int_equal(close(fd), 0);
}

static int look(struct restore_ledgers *l, struct et_error *reterr)
{
	const struct restore_ledgers_from from = { .backup = &backup };

	*l = (struct restore_ledgers){ 0 };
	return restore_ledgers_of_bucket(l, &from, bucket, "cold", reterr);
}

static void of_each_node_the_newest_is_read(void **state)
{
	struct restore_ledgers l;

	(void)state;
	put("1-000000000100.evl");
	put("1-000000000200.evl");
	put("10-000000000050.evl");
	assert_int_equal(look(&l, NULL), 0);
	assert_int_equal(l.bad, 2); /* what is no ledger is told, and keeps no other back */
	assert_int_equal(l.count, 0);
}

static void what_is_no_ledger_by_its_name_is_passed_over(void **state)
{
	struct restore_ledgers l;
	char path[512];

	(void)state;
	put("x-000000000100.evl");
	put("1-100.evl");
	put("1-0000000001000.evl"); /* it would hide those before it */
	put("1-000000000100.evl.evl");
	put("-000000000100.evl");
	put("111111111111111111111-000000000100.evl");
	(void)snprintf(path, sizeof(path), "%s/2-000000000100.evl", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	(void)snprintf(path, sizeof(path), "%s/3-000000000100.evl", folder);
	assert_int_equal(symlink("/dev/zero", path), 0);
	(void)snprintf(path, sizeof(path), "%s/4-000000000100.evl", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(look(&l, NULL), 0);
	assert_int_equal(l.bad, 0);
}

static void an_endless_target_ends(void **state)
{
	struct restore_ledgers l;
	struct et_error e = { .text = "" };
	char name[64];

	(void)state;
	for (int i = 0; i < RESTORE_LEDGER_NODES_MAX + 10; i++) {
		(void)snprintf(name, sizeof(name), "%d-000000000100.evl", i + 100000);
		put(name);
	}
	assert_int_equal(look(&l, &e), ET_ELIMIT);
	assert_non_null(strstr(e.text, "more than 4096 nodes"));
	assert_int_equal(l.bad, RESTORE_LEDGER_NODES_MAX);
}

/* ---- Whose ledgers count ---- */

enum { KNOWN = 1, STOLEN = 2, NOBODY = 3 };

static struct et_secret *seeds[NOBODY + 1];
static uint8_t publics[NOBODY + 1][32];
static uint64_t applied;

static void on_result(void *arg, uint64_t index, uint32_t position, const Et__Command *command,
		      const Et__Result *result)
{
	(void)arg;
	(void)index;
	(void)position;
	(void)command;
	if (result->code < 0) {
		fail_msg("%s", result->text);
	}
}

static void apply(struct et_state *s, Et__Command *c)
{
	Et__OpId op = ET__OP_ID__INIT;
	uint8_t incarnation[16] = { 7 };
	struct et_buffer packed = { 0 };
	struct et_buffer entry = { 0 };
	char principal[] = "local:uid=0";
	char reason[] = "test";

	op.node = KNOWN;
	op.seq = ++applied;
	op.incarnation = (ProtobufCBinaryData){ 16, incarnation };
	c->op = &op;
	c->principal = principal;
	c->reason = reason;
	c->schema = et_schema_needed(c);
	assert_int_equal(et_command_check(c, NULL), 0);
	assert_int_equal(et_command_pack(c, &packed), 0);
	et_entry_begin(&entry);
	et_entry_add(&entry, packed.data, packed.size);
	et_entry_end(&entry);
	et_state_begin(s);
	assert_int_equal(
		et_state_apply(s, applied, (struct et_view){ entry.data, entry.size }, NULL), 0);
	assert_int_equal(et_state_commit(s, on_result, NULL, NULL), 0);
	et_buffer_release(&packed);
	et_buffer_release(&entry);
}

static void fill_node(Et__Node *n, uint64_t id, char *name, char **roles, size_t count)
{
	static char site[] = "prg";

	n->id = id;
	n->name = name;
	n->site = site;
	n->spki_hash = n->sign_public = (ProtobufCBinaryData){ 32, publics[id] };
	n->state = ET__NODE_STATE__ACTIVE;
	n->roles = roles;
	n->n_roles = count;
}

static void begin(struct et_state *s)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__ClusterInit init = ET__CLUSTER_INIT__INIT;
	Et__Cluster cluster = ET__CLUSTER__INIT;
	Et__Node node = ET__NODE__INIT;
	Et__Kek kek = ET__KEK__INIT;
	Et__Grant grant = ET__GRANT__INIT;
	Et__Grant *grants[] = { &grant };
	uint8_t bytes[100] = { 1 };
	ProtobufCBinaryData ca = { sizeof(bytes), bytes };
	char words[5][8] = { "acme", "prg-1", "voter", "vault", "kek:1" };
	char *roles[] = { words[2], words[3] };

	cluster.name = words[0];
	cluster.id = (ProtobufCBinaryData){ 16, bytes };
	cluster.n_ca_certs = 1;
	cluster.ca_certs = &ca;
	fill_node(&node, KNOWN, words[1], roles, 2);
	kek.version = 1;
	kek.public_key = grant.enc = (ProtobufCBinaryData){ 32, bytes };
	grant.secret = words[4];
	grant.node = KNOWN;
	grant.ciphertext = (ProtobufCBinaryData){ 48, bytes };
	init.cluster = &cluster;
	init.node = &node;
	init.kek = &kek;
	init.grants = grants;
	init.n_grants = 1;
	c.body_case = ET__COMMAND__BODY_CLUSTER_INIT;
	c.cluster_init = &init;
	apply(s, &c);
}

/* A node that joined, and was stolen. */
static void steal(struct et_state *s)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__TokenAdd add = ET__TOKEN_ADD__INIT;
	Et__Token token = ET__TOKEN__INIT;
	Et__NodeJoin join = ET__NODE_JOIN__INIT;
	Et__Node node = ET__NODE__INIT;
	Et__NodeRemove remove = ET__NODE_REMOVE__INIT;
	uint8_t id[32] = { 5 };
	char words[4][8] = { "join", "voter", "prg-2", "stolen" };
	char *roles[] = { words[1] };

	token.id = (ProtobufCBinaryData){ 16, id };
	token.kind = words[0];
	token.public_key = (ProtobufCBinaryData){ 32, id };
	token.roles = roles;
	token.n_roles = 1;
	token.expires_us = INT64_C(1800000000000000);
	token.uses_left = 1;
	add.token = &token;
	c.body_case = ET__COMMAND__BODY_TOKEN_ADD;
	c.token_add = &add;
	apply(s, &c);
	fill_node(&node, STOLEN, words[2], NULL, 0);
	join.node = &node;
	join.token = token.id;
	join.request_hash = token.public_key;
	c = (Et__Command)ET__COMMAND__INIT;
	c.body_case = ET__COMMAND__BODY_NODE_JOIN;
	c.node_join = &join;
	apply(s, &c);
	remove.node = STOLEN;
	remove.reason = words[3];
	remove.revoked = remove.loss_accepted = true;
	c = (Et__Command)ET__COMMAND__INIT;
	c.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	c.node_remove = &remove;
	apply(s, &c);
}

/* One erasure each, under a list of members that no CA of now has signed. */
static void ledger_of(uint64_t node)
{
	static const uint8_t list[] = "of an older CA";
	struct et_ledger_head head = { .node = node, .members = { list, sizeof(list) } };
	struct et_ledger *ledger = NULL;
	const uint8_t recording[16] = { (uint8_t)node };
	char path[512];

	memcpy(head.sign_public, publics[node], 32);
	(void)snprintf(path, sizeof(path), "%s/%llu-000000000100.evl", folder,
		       (unsigned long long)node);
	assert_int_equal(et_ledger_open(path, &head, seeds[node], &ledger, NULL), 0);
	assert_int_equal(et_ledger_add(ledger, recording, 10 * node, 1, NULL), 0);
	(void)et_ledger_close(ledger);
}

static void a_ledger_counts_over_a_rotation_of_the_ca(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *ca_key = NULL;
	struct et_buffer ca = { 0 };
	struct et_backup_head base = { .node = KNOWN };
	struct restore_ledgers l = { 0 };
	struct et_state *s = NULL;
	char path[64];

	(void)state;
	for (uint64_t i = KNOWN; i <= NOBODY; i++) {
		assert_int_equal(et_ed25519_generate(&seeds[i], publics[i], NULL), 0);
		ledger_of(i);
	}
	applied = 0;
	(void)snprintf(path, sizeof(path), "%s/db", root);
	assert_int_equal(et_state_open(path, &s, NULL), 0);
	begin(s);
	steal(s);
	assert_int_equal(et_ca_make("acme", &ca_key, &ca, NULL), 0);
	base.ca = (struct et_view){ ca.data, ca.size };
	const struct restore_ledgers_from from = { .backup = &base, .ca_key = ca_key, .state = s };
	assert_int_equal(restore_ledgers_of_bucket(&l, &from, bucket, "cold", NULL), 0);
	/* Nobody knows the third: it might say what the others do not. */
	assert_int_equal(l.count, 1);
	assert_int_equal(l.bad, 1);
	assert_int_equal(l.erasure_count, 1);
	assert_int_equal(l.erasures[0].recording[0], KNOWN);
	assert_int_equal(l.index, 10 * KNOWN);
	free(l.erasures);
	(void)et_state_close(s);
	et_buffer_release(&ca);
	for (uint64_t i = KNOWN; i <= NOBODY; i++) {
		seeds[i] = et_secret_free(seeds[i]);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(of_each_node_the_newest_is_read),
		TEST(what_is_no_ledger_by_its_name_is_passed_over),
		TEST(an_endless_target_ends),
		TEST(a_ledger_counts_over_a_rotation_of_the_ca),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
