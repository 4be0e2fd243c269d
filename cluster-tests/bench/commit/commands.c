#include <stdio.h>
#include <string.h>

#include "cluster-tests/bench/commit/commit.h"
#include "node/io/clock.h"

void bench_commands_init(struct bench_commands *k)
{
	memset(k, 0, sizeof(*k));
	et_random(k->incarnation, sizeof(k->incarnation));
}

static ProtobufCBinaryData bytes_of(uint8_t *data, size_t size, int fill)
{
	memset(data, fill, size);
	return (ProtobufCBinaryData){ size, data };
}

void bench_init_make(struct bench_init *b)
{
	static char words[8][16] = { "bench", "prg-1", "prg", "voter", "vault", "kek:1", "bench" };

	et__command__init(&b->command);
	et__cluster_init__init(&b->init);
	et__cluster__init(&b->cluster);
	et__node__init(&b->node);
	et__kek__init(&b->kek);
	et__grant__init(&b->grant);
	b->cluster.name = words[0];
	b->cluster.id = bytes_of(b->id, sizeof(b->id), 1);
	b->cluster.created_us = et_clock_now_us();
	b->node.id = 1;
	b->node.name = words[1];
	b->node.site = words[2];
	b->roles[0] = words[3];
	b->roles[1] = words[4];
	b->node.roles = b->roles;
	b->node.n_roles = 2;
	b->node.spki_hash = bytes_of(b->spki, sizeof(b->spki), 2);
	b->kek.version = 1;
	b->kek.public_key = bytes_of(b->key, sizeof(b->key), 3);
	b->grant.secret = words[5];
	b->grant.node = 1;
	b->grant.enc = bytes_of(b->enc, sizeof(b->enc), 4);
	b->grant.ciphertext = bytes_of(b->sealed, sizeof(b->sealed), 5);
	b->grants[0] = &b->grant;
	b->init.cluster = &b->cluster;
	b->init.node = &b->node;
	b->init.kek = &b->kek;
	b->init.grants = b->grants;
	b->init.n_grants = 1;
	b->command.principal = words[6];
	b->command.schema = 1;
	b->command.body_case = ET__COMMAND__BODY_CLUSTER_INIT;
	b->command.cluster_init = &b->init;
}

void bench_command_make(struct bench_commands *k, bool noop)
{
	static char by[] = "node:1", to[] = "+420555666777";
	static char site[] = "prg", direction[] = "inbound", rule[] = "record-everything";
	static char uri[] = "sip:+420222333444@pbx.example.com:5060;transport=udp";

	et__command__init(&k->command);
	et__op_id__init(&k->op);
	k->op.node = 1;
	k->op.seq = ++k->seq;
	k->op.incarnation = (ProtobufCBinaryData){ 16, k->incarnation };
	k->command.op = &k->op;
	k->command.principal = by;
	k->command.schema = 1;
	k->command.proposed_us = et_clock_now_us();
	if (noop) {
		memset(k->filler, 'x', 960);
		et__noop__init(&k->noop);
		k->command.reason = k->filler;
		k->command.body_case = ET__COMMAND__BODY_NOOP;
		k->command.noop = &k->noop;
		return;
	}
	memset(k->filler, 'x', 660);
	k->filler[660] = '\0';
	et_uuid7(k->id);
	et__recording_open__init(&k->open);
	et__recording__init(&k->recording);
	/* Callers differ: their index entries lie apart, as they do for real. */
	(void)snprintf(k->from, sizeof(k->from), "+420%09llu",
		       (unsigned long long)(k->seq * 7919 % 1000000));
	(void)snprintf(k->call_id, sizeof(k->call_id), "%019llu@pbx.example.com",
		       (unsigned long long)(k->seq * UINT64_C(2654435761) % 1000000007));
	Et__Recording *r = &k->recording;
	r->id = (ProtobufCBinaryData){ 16, k->id };
	r->call = (ProtobufCBinaryData){ 16, k->id };
	r->node = 1;
	r->site = site;
	r->start_us = et_clock_now_us();
	r->from = k->from;
	r->to = to;
	r->from_uri = uri;
	r->to_uri = uri;
	r->sip_call_id = k->call_id;
	r->direction = direction;
	r->rule = rule;
	r->problem = k->filler;
	k->open.recording = r;
	k->command.body_case = ET__COMMAND__BODY_RECORDING_OPEN;
	k->command.recording_open = &k->open;
}
