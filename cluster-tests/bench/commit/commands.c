#include <stdio.h>
#include <string.h>

#include "cluster-tests/bench/commit/commit.h"
#include "node/io/clock.h"

void bench_commands_init(struct bench_commands *k)
{
	memset(k, 0, sizeof(*k));
	et_random(k->incarnation, sizeof(k->incarnation));
}

void bench_init_make(struct bench_init *b)
{
	static char by[] = "bench";

	et__command__init(&b->command);
	et_sample_cluster_init(&b->sample, et_clock_now_us(), &b->command);
	b->command.principal = by;
	b->command.schema = 1;
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
