#include <stdio.h>

#include "cluster-tests/harness/fault/fault.h"
#include "node/io/clock.h"

Et__Command *fault_command(unsigned i, uint8_t id[16])
{
	static char by[] = "node:1", site[] = "prg", from[] = "+420222333444",
		    to[] = "+420555666777";
	static char filler[400], action[] = "test.event", target[33];
	static Et__Command command;
	static Et__OpId op;
	static Et__RecordingOpen open;
	static Et__Recording r;
	static Et__AuditAdd audit;

	et_uuid7(id);
	et__command__init(&command);
	et__op_id__init(&op);
	command.op = &op;
	command.principal = by;
	command.schema = 1;
	if (i % 4 == 3) { /* Said twice it would be there twice. */
		et__audit_add__init(&audit);
		et_hex(id, 16, target);
		audit.action = action;
		audit.target = target;
		command.body_case = ET__COMMAND__BODY_AUDIT_ADD;
		command.audit_add = &audit;
		return &command;
	}
	memset(filler, 'x', sizeof(filler) - 1);
	et__recording_open__init(&open);
	et__recording__init(&r);
	r.id = (ProtobufCBinaryData){ 16, id };
	r.call = (ProtobufCBinaryData){ 16, id };
	r.node = 1;
	r.site = site;
	r.start_us = et_clock_now_us();
	r.from = from;
	r.to = to;
	r.problem = filler;
	open.recording = &r;
	command.body_case = ET__COMMAND__BODY_RECORDING_OPEN;
	command.recording_open = &open;
	return &command;
}

struct events {
	char target[33];
	unsigned count;
};

static int event_count(void *arg, const Et__AuditEvent *event)
{
	struct events *e = arg;

	e->count += strcmp(event->target, e->target) == 0;
	return 0;
}

const char *fault_find(struct et_state_view *v, const Et__OpId *op, const uint8_t id[16],
		       uint64_t index)
{
	Et__Recording *recording = NULL;
	Et__Result *result = NULL;
	struct events events = { 0 };

	if (!et_state_op_result(v, op, &result)) {
		return "no result is known of it";
	}
	bool same = index == 0 || result->index == index;
	bool good = result->code == 0;
	et__result__free_unpacked(result, NULL);
	if (!same) {
		return "it has the result of another application";
	}
	if (!good) {
		return "it was refused";
	}
	if (et_state_get_recording(v, id, &recording) == 0) {
		et__recording__free_unpacked(recording, NULL);
		return NULL;
	}
	et_hex(id, 16, events.target);
	if (et_state_each_audit(v, 1, 0, event_count, &events) < 0) {
		return "the audit events cannot be read";
	}
	return events.count == 1  ? NULL
	       : events.count > 1 ? "it was applied twice"
				  : "its record is not there";
}

/* A command of 200 KB: a policy of that name. */
Et__Command *fault_big_command(const char *name)
{
	static char text[200 * 1024 + 1], copy[64], by[] = "node:1";
	static Et__Command command;
	static Et__PolicySet set;
	static Et__Policy policy;
	static uint8_t hash[32];

	memset(text, 'x', sizeof(text) - 1);
	(void)snprintf(copy, sizeof(copy), "%s", name);
	et__command__init(&command);
	et__policy_set__init(&set);
	et__policy__init(&policy);
	policy.name = copy;
	policy.text = text;
	policy.hash = (ProtobufCBinaryData){ sizeof(hash), hash };
	set.policy = &policy;
	command.principal = by;
	command.schema = 1;
	command.body_case = ET__COMMAND__BODY_POLICY_SET;
	command.policy_set = &set;
	return &command;
}
