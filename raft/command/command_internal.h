/* Inside raft/command: the scan of raw bytes and the rules of fields. */
#ifndef ET_RAFT_COMMAND_COMMAND_INTERNAL_H
#define ET_RAFT_COMMAND_COMMAND_INTERNAL_H

#include "node/base/err.h"
#include "raft/command/command.h"

#define ET_COMMAND_DEPTH_MAX 6	   /* Command > PlanPut > Plan > PlanItem is 4 */
#define ET_COMMAND_PARTS_MAX 65536 /* sub-messages and list elements in one command */
#define ET_COMMAND_UNKNOWN_MAX 64  /* fields of a newer schema in one command */
#define ET_COMMAND_TIME_MAX INT64_C(253402300800000000) /* 9999-12-31T24:00:00Z in us */

enum et_rule_kind {
	RULE_ANY,    /* a number, a boolean, or an enum (whose value must be a known one) */
	RULE_TIME,   /* 0 .. ET_COMMAND_TIME_MAX */
	RULE_NUMBER, /* min .. max; UINT32_MAX is no upper bound for 64-bit fields */
	RULE_TEXT,   /* string: min .. max bytes of UTF-8 */
	RULE_BYTES,  /* bytes: min .. max; `or_empty` allows none at all */
	RULE_ONE,    /* sub-message: min 1 makes it required */
};

struct et_rule {
	const char *field; /* as in command.proto */
	enum et_rule_kind kind;
	bool or_empty;
	uint32_t min;
	uint32_t max;
	uint32_t count_max; /* repeated fields: elements */
};

/* The rules of a message, in the order of its fields; NULL: the message has none (a test sees to it
 * that all have). */
const struct et_rule *et_rules_of(const ProtobufCMessageDescriptor *d);

/* Bound what protobuf-c would allocate for these bytes: depth, parts, unknown fields, no NUL in
 * strings, no groups. ET_EMALFORMED. */
int et_command_scan(const ProtobufCMessageDescriptor *d, const void *data, size_t size,
		    struct et_error *reterr) ET_MUST_CHECK;

/* Check a message and all below it. ET_EMALFORMED. */
int et_message_check(const ProtobufCMessage *m, struct et_error *reterr) ET_MUST_CHECK;

#endif
