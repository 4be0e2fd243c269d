/* Commands that make the nodes of a fixture members of a cluster, as the catalogue knows them. */
#ifndef ET_RAFT_CATALOG_TEST_MEMBER_H
#define ET_RAFT_CATALOG_TEST_MEMBER_H

#include "raft/catalog/test/fixture.h"
#include "raft/command/sample.h"

static inline ProtobufCBinaryData bytes_of(uint8_t *data, size_t size, int fill)
{
	memset(data, fill, size);
	return (ProtobufCBinaryData){ size, data };
}

static inline void init_cluster(struct cluster *c, struct answer *a)
{
	static char local[] = "local";
	struct et_sample_cluster sample;
	Et__Command command = ET__COMMAND__INIT;

	et_sample_cluster_init(&sample, et_clock_now_us(), &command);
	command.principal = local;
	command.schema = 1;
	et_catalog_propose(c->nodes[0].catalog, &command, 0, on_answer, a);
}

/* Node `id` joins with a token of its own; proposed by node 1, which must know itself a member. */
static inline void join_member(struct cluster *c, uint64_t id)
{
	static char words[5][16] = { "join", "voter", "prg", "local", "" };
	uint8_t token_id[16], key[32], hash[32], spki[32];
	char *roles[] = { words[1] };
	char name[16];
	Et__Token token = ET__TOKEN__INIT;
	Et__TokenAdd add = ET__TOKEN_ADD__INIT;
	Et__Node node = ET__NODE__INIT;
	Et__NodeJoin join = ET__NODE_JOIN__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct answer a = { 0 };

	(void)snprintf(name, sizeof(name), "n%d", (int)id);
	token.id = bytes_of(token_id, sizeof(token_id), (int)id);
	token.kind = words[0];
	token.public_key = bytes_of(key, sizeof(key), (int)id);
	token.roles = roles;
	token.n_roles = 1;
	token.site = words[2];
	token.expires_us = et_clock_now_us() + INT64_C(3600000000);
	token.uses_left = 1;
	add.token = &token;
	command.principal = words[3];
	command.body_case = ET__COMMAND__BODY_TOKEN_ADD;
	command.token_add = &add;
	et_catalog_propose(c->nodes[0].catalog, &command, 60000, on_answer, &a);
	RUN_UNTIL(c, a.calls == 1);
	assert_int_equal(a.code, 0);
	node.id = id;
	node.name = name;
	node.site = words[2];
	node.roles = roles;
	node.n_roles = 1;
	node.state = ET__NODE_STATE__ACTIVE;
	node.spki_hash = bytes_of(spki, sizeof(spki), (int)id);
	join.node = &node;
	join.token = token.id;
	join.request_hash = bytes_of(hash, sizeof(hash), (int)id);
	command.body_case = ET__COMMAND__BODY_NODE_JOIN;
	command.node_join = &join;
	et_catalog_propose(c->nodes[0].catalog, &command, 60000, on_answer, &a);
	RUN_UNTIL(c, a.calls == 2);
	assert_int_equal(a.code, 0);
}

#endif
