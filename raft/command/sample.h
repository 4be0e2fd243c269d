/* For tests and benchmarks only: the first command of a cluster, of one voter with keys. Its hashes
 * and keys are bytes that apply takes and nobody can open. */
#ifndef ET_RAFT_COMMAND_SAMPLE_H
#define ET_RAFT_COMMAND_SAMPLE_H

#include <string.h>

#include "raft/command/command.h"

/* What the command points to: keep it as long. */
struct et_sample_cluster {
	char words[6][16];
	char *roles[2];
	uint8_t bytes[64];
	Et__ClusterInit init;
	Et__Cluster cluster;
	Et__Node node;
	Et__Kek kek;
	Et__Grant grant;
	Et__Grant *grants[1];
};

/* Node 1, prg-1 at prg, makes it. The caller adds principal, schema and op. */
static inline void et_sample_cluster_init(struct et_sample_cluster *s, int64_t created_us,
					  Et__Command *ret)
{
	*s = (struct et_sample_cluster){
		.words = { "acme", "prg-1", "prg", "voter", "vault", "kek:1" },
		.init = ET__CLUSTER_INIT__INIT,
		.cluster = ET__CLUSTER__INIT,
		.node = ET__NODE__INIT,
		.kek = ET__KEK__INIT,
		.grant = ET__GRANT__INIT,
	};
	memset(s->bytes, 1, sizeof(s->bytes));
	s->roles[0] = s->words[3];
	s->roles[1] = s->words[4];
	s->cluster.name = s->words[0];
	s->cluster.id = (ProtobufCBinaryData){ 16, s->bytes };
	s->cluster.created_us = created_us;
	s->node.id = 1;
	s->node.name = s->words[1];
	s->node.site = s->words[2];
	s->node.roles = s->roles;
	s->node.n_roles = 2;
	s->node.spki_hash = (ProtobufCBinaryData){ 32, s->bytes };
	s->kek.version = 1;
	s->kek.public_key = (ProtobufCBinaryData){ 32, s->bytes };
	s->grant.secret = s->words[5];
	s->grant.node = 1;
	s->grant.enc = (ProtobufCBinaryData){ 32, s->bytes };
	s->grant.ciphertext = (ProtobufCBinaryData){ 48, s->bytes };
	s->grants[0] = &s->grant;
	s->init.cluster = &s->cluster;
	s->init.node = &s->node;
	s->init.kek = &s->kek;
	s->init.grants = s->grants;
	s->init.n_grants = 1;
	ret->body_case = ET__COMMAND__BODY_CLUSTER_INIT;
	ret->cluster_init = &s->init;
}

#endif
