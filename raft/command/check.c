#include <stdio.h>

#include "raft/command/command_internal.h"

/* UTF-8 as RFC 3629 has it: shortest form, no surrogates, at most U+10FFFF. Returns the length of
 * the sequence at p (its end is a NUL at the latest), or 0. */
static size_t utf8_sequence(const uint8_t *p)
{
	if (p[0] < 0x80) {
		return 1;
	}
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		return (p[1] & 0xc0) == 0x80 ? 2 : 0;
	}
	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		uint8_t low = p[0] == 0xe0 ? 0xa0 : 0x80;
		uint8_t high = p[0] == 0xed ? 0x9f : 0xbf;
		return p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 ? 3 : 0;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		uint8_t low = p[0] == 0xf0 ? 0x90 : 0x80;
		uint8_t high = p[0] == 0xf4 ? 0x8f : 0xbf;
		return p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80
			       ? 4
			       : 0;
	}
	return 0;
}

static bool text_check(const char *text, uint32_t min, uint32_t max)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t size = 0;

	while (p[size] != 0) {
		size_t n = utf8_sequence(p + size);
		size += n;
		if (n == 0 || size > max) {
			return false;
		}
	}
	return size >= min;
}

void et_command_text(const char *text, size_t size, size_t max, struct et_buffer *ret)
{
	size_t begun = ret->size;

	for (size_t i = 0; i < size;) {
		uint8_t window[5] = { 0 }; /* with a NUL behind, so that a cut sequence is seen */
		memcpy(window, text + i, size - i < 4 ? size - i : 4);
		size_t n = utf8_sequence(window);
		bool good = n > 1 || (n == 1 && window[0] >= 0x20 && window[0] != 0x7f);
		if (ret->size - begun + (good ? n : 1) > max) {
			break;
		}
		if (good) {
			et_buffer_add(ret, window, n);
		} else {
			et_buffer_add8(ret, '?');
		}
		i += n > 0 ? n : 1;
	}
	et_buffer_add8(ret, 0);
}

static bool enum_check(const ProtobufCEnumDescriptor *d, int value)
{
	return protobuf_c_enum_descriptor_get_value(d, value) != NULL;
}

static bool number_check(const struct et_rule *rule, const ProtobufCFieldDescriptor *f,
			 const void *at)
{
	if (f->type == PROTOBUF_C_TYPE_ENUM) {
		return enum_check(f->descriptor, *(const int *)at);
	}
	if (rule->kind == RULE_TIME) {
		int64_t v = *(const int64_t *)at;
		return v >= 0 && v <= ET_COMMAND_TIME_MAX;
	}
	if (rule->kind == RULE_NUMBER && f->type == PROTOBUF_C_TYPE_UINT32) {
		uint32_t v = *(const uint32_t *)at;
		return v >= rule->min && v <= rule->max;
	}
	if (rule->kind == RULE_NUMBER) {
		uint64_t v = *(const uint64_t *)at;
		return v >= rule->min && (v <= rule->max || rule->max == UINT32_MAX);
	}
	return true;
}

/* NOLINTBEGIN(misc-no-recursion): as deep as the schema is, which is no deeper than
 * ET_COMMAND_DEPTH_MAX (a test sees to it). */

/* One value: a scalar, or one element of a list. */
static int value_check(const struct et_rule *rule, const ProtobufCFieldDescriptor *f,
		       const void *at, const char *message, struct et_error *reterr)
{
	bool good = true;

	switch ((int)f->type) {
	case PROTOBUF_C_TYPE_STRING:
		good = text_check(*(char *const *)at, rule->min, rule->max);
		break;
	case PROTOBUF_C_TYPE_BYTES: {
		size_t size = ((const ProtobufCBinaryData *)at)->len;
		good = (size == 0 && rule->or_empty) || (size >= rule->min && size <= rule->max);
		break;
	}
	case PROTOBUF_C_TYPE_MESSAGE: {
		const ProtobufCMessage *m = *(ProtobufCMessage *const *)at;
		if (m != NULL) {
			return et_message_check(m, reterr);
		}
		good = rule->min == 0;
		break;
	}
	default:
		good = number_check(rule, f, at);
		break;
	}
	return good ? 0
		    : et_fail(reterr, ET_EMALFORMED, "field %s of a %s is out of bounds", f->name,
			      message);
}

static size_t element_size(const ProtobufCFieldDescriptor *f)
{
	return f->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData) : sizeof(void *);
}

static int field_check(const struct et_rule *rule, const ProtobufCFieldDescriptor *f,
		       const ProtobufCMessage *m, struct et_error *reterr)
{
	const char *message = m->descriptor->short_name;
	const uint8_t *at = (const uint8_t *)m + f->offset;

	if (f->label != PROTOBUF_C_LABEL_REPEATED) {
		return value_check(rule, f, at, message, reterr);
	}
	size_t count = *(const size_t *)(const void *)((const uint8_t *)m + f->quantifier_offset);
	if (count > rule->count_max) {
		return et_fail(reterr, ET_EMALFORMED, "%zu %s in a %s, at most %u", count, f->name,
			       message, rule->count_max);
	}
	const uint8_t *list = *(uint8_t *const *)(const void *)at;
	for (size_t i = 0; i < count; i++) {
		int rc = value_check(rule, f, list + i * element_size(f), message, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* Is this the member of a oneof that is not set? Its memory belongs to another one then. */
static bool field_is_unset_choice(const ProtobufCFieldDescriptor *f, const ProtobufCMessage *m)
{
	if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0) {
		return false;
	}
	uint32_t chosen =
		*(const uint32_t *)(const void *)((const uint8_t *)m + f->quantifier_offset);
	return chosen != f->id;
}

int et_message_check(const ProtobufCMessage *m, struct et_error *reterr)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	const struct et_rule *rules = et_rules_of(d);

	et_assert(rules != NULL || d->n_fields == 0);
	for (unsigned i = 0; i < d->n_fields; i++) {
		if (field_is_unset_choice(&d->fields[i], m)) {
			continue;
		}
		int rc = field_check(&rules[i], &d->fields[i], m, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* NOLINTEND(misc-no-recursion) */

int et_command_check(const Et__Command *command, struct et_error *reterr)
{
	if (command->body_case == ET__COMMAND__BODY__NOT_SET) {
		return et_fail(reterr, ET_EMALFORMED, "a command without a body");
	}
	return et_message_check(&command->base, reterr);
}
