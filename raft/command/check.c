#include <stdio.h>
#include <string.h>

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
	size_t size = strnlen(text, (size_t)max + 1);
	size_t i = 0;
	uint64_t word;

	if (size > max || size < min) {
		return false;
	}
	while (i < size) {
		if (i + sizeof(word) <= size) { /* ASCII goes by eight */
			memcpy(&word, p + i, sizeof(word));
			if ((word & UINT64_C(0x8080808080808080)) == 0) {
				i += sizeof(word);
				continue;
			}
		}
		size_t n = utf8_sequence(p + i);
		i += n;
		if (n == 0) {
			return false;
		}
	}
	return true;
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

/* ---- What is told of calls ---- */

#define CARD_MIN 13
#define CARD_MAX 19

static bool luhn_fits(const uint8_t *digits, size_t count)
{
	unsigned sum = 0;

	for (size_t i = 0; i < count; i++) {
		unsigned d = digits[count - 1 - i];
		d = i % 2 == 1 ? d * 2 : d;
		sum += d > 9 ? d - 9 : d;
	}
	return sum % 10 == 0;
}

/* Digits in groups: a card may be any neighbouring groups of them. */
struct digit_run {
	uint8_t digits[64];
	size_t count;
	size_t ends[64]; /* of each group */
	size_t groups;
};

static bool run_has_card(const struct digit_run *run)
{
	size_t first = 0;

	for (size_t i = 0; i < run->groups; i++) {
		for (size_t k = i; k < run->groups; k++) {
			size_t count = run->ends[k] - first;
			if (count >= CARD_MIN && count <= CARD_MAX && run->digits[first] > 1 &&
			    luhn_fits(run->digits + first, count)) {
				return true;
			}
		}
		first = run->ends[i];
	}
	return false;
}

/* Room for one more group: the first ones go. What went was looked at together with CARD_MAX digits
 * behind it. */
static void run_shift(struct digit_run *run)
{
	while (run->groups > 0 && (run->count > 40 || run->groups > 40)) {
		size_t size = run->ends[0];
		memmove(run->digits, run->digits + size, run->count - size);
		run->count -= size;
		run->groups--;
		for (size_t i = 0; i < run->groups; i++) {
			run->ends[i] = run->ends[i + 1] - size;
		}
	}
}

static bool text_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool et_command_has_card(const char *text)
{
	struct digit_run run = { .count = 0 };
	const char *p = text;

	while (*p != '\0') {
		size_t size = 0;
		while (text_digit(p[size])) {
			size++;
		}
		if (size == 0) {
			bool joins = *p == ' ' || *p == '-' || *p == '.';
			run.groups = joins ? run.groups : 0;
			run.count = joins ? run.count : 0;
			p++;
			continue;
		}
		if (size > CARD_MAX) { /* no card is that long, and none joins it */
			run.groups = run.count = 0;
			p += size;
			continue;
		}
		run_shift(&run);
		for (size_t i = 0; i < size; i++) {
			run.digits[run.count++] = (uint8_t)(p[i] - '0');
		}
		run.ends[run.groups++] = run.count;
		if (run_has_card(&run)) {
			return true;
		}
		p += size;
	}
	return false;
}

static int card_check(const char *text, const char *what, struct et_error *reterr)
{
	if (!et_command_has_card(text)) {
		return 0;
	}
	return et_fail(
		reterr, ET_EMALFORMED,
		"%s holds what may be a card number (13 to 19 digits that pass the Luhn "
		"check): card digits never enter the catalogue. A telephone number is told as "
		"a fact of type phone",
		what);
}

static int fact_check(const Et__Fact *f, struct et_error *reterr)
{
	char digits[24];

	int rc = card_check(f->key, "a fact's key", reterr);
	if (rc == 0 && f->type != ET__FACT_TYPE__FACT_PHONE) {
		rc = card_check(f->text, "a fact", reterr);
	}
	if (rc == 0 && f->type == ET__FACT_TYPE__FACT_INTEGER) {
		uint64_t n = f->number < 0 ? 0 - (uint64_t)f->number : (uint64_t)f->number;
		(void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
		rc = card_check(digits, "a fact", reterr);
	}
	if (rc < 0) {
		return rc;
	}
	if (f->type == ET__FACT_TYPE__FACT_PHONE && strlen(f->text) > 64) {
		return et_fail(reterr, ET_EMALFORMED, "a telephone number of more than 64 bytes");
	}
	return card_check(f->source, "a fact's source", reterr);
}

static int subject_check(const Et__Subject *about, struct et_error *reterr)
{
	int ways = (about->recording.len > 0) + (about->call.len > 0) +
		   (about->sip_call_id[0] != '\0');

	return ways == 1 ? 0
			 : et_fail(reterr, ET_EMALFORMED,
				   "told of one of recording, call, sip_call_id, not of %d", ways);
}

static int agent_check(const Et__Agent *a, struct et_error *reterr)
{
	int rc = card_check(a->name, "an agent's name", reterr);

	if (rc == 0 && a->valid_to_us != 0 && a->valid_to_us <= a->valid_from_us) {
		rc = et_fail(reterr, ET_EMALFORMED, "valid_to_us is not after valid_from_us");
	}
	for (size_t i = 0; i < a->n_attributes && rc == 0; i++) {
		rc = card_check(a->attributes[i]->key, "an attribute's key", reterr);
		rc = rc < 0 ? rc
			    : card_check(a->attributes[i]->value, "an agent's attribute", reterr);
	}
	return rc;
}

/* A hold is of one recording, or of a scope that says something. */
static int hold_check(const Et__Hold *h, struct et_error *reterr)
{
	const Et__HoldScope *s = h->scope;

	if ((h->recording.len == 0) != (s != NULL)) {
		return et_fail(reterr, ET_EMALFORMED, "a hold is of one recording, or of a scope");
	}
	if (s == NULL) {
		return 0;
	}
	if (s->number[0] == '\0' && s->agent[0] == '\0' && s->site[0] == '\0' &&
	    s->sip_call_id[0] == '\0' && s->from_us == 0 && s->to_us == 0) {
		return et_fail(reterr, ET_EMALFORMED, "a hold's scope without any condition");
	}
	if (s->to_us != 0 && s->to_us <= s->from_us) {
		return et_fail(reterr, ET_EMALFORMED, "a hold's scope ends before it begins");
	}
	if (strcmp(s->number, "*") == 0) {
		return et_fail(reterr, ET_EMALFORMED, "a hold's number is more than \"*\"");
	}
	return 0;
}

static int facts_check(Et__Fact *const *facts, size_t count, struct et_error *reterr)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = fact_check(facts[i], reterr);
	}
	return rc;
}

static int tags_check(Et__Tag *const *tags, size_t count, struct et_error *reterr)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = card_check(tags[i]->name, "a tag", reterr);
	}
	return rc;
}

static int import_check(const Et__RecordingImport *m, struct et_error *reterr)
{
	int rc = m->recording->imported != NULL && m->n_segments > 0
			 ? 0
			 : et_fail(reterr, ET_EMALFORMED, "an import of no file");

	for (size_t i = 0; i < m->n_segments && rc == 0; i++) {
		const ProtobufCBinaryData *id = &m->segments[i]->recording;
		if (memcmp(id->data, m->recording->id.data, 16) != 0) {
			rc = et_fail(reterr, ET_EMALFORMED, "an import of two recordings");
		}
		for (size_t k = 0; k < i && rc == 0; k++) {
			if (m->segments[k]->segment == m->segments[i]->segment) {
				rc = et_fail(reterr, ET_EMALFORMED, "a segment is imported twice");
			}
		}
	}
	rc = rc < 0 ? rc : card_check(m->recording->imported->name, "the file's name", reterr);
	rc = rc < 0 ? rc : facts_check(m->facts, m->n_facts, reterr);
	return rc < 0 ? rc : tags_check(m->tags, m->n_tags, reterr);
}

/* What the rules of fields cannot say. */
static int told_check(const Et__Command *c, struct et_error *reterr)
{
	int rc;

	switch ((int)c->body_case) {
	case ET__COMMAND__BODY_FACT_ADD:
		rc = subject_check(c->fact_add->about, reterr);
		return rc < 0 ? rc : facts_check(c->fact_add->facts, c->fact_add->n_facts, reterr);
	case ET__COMMAND__BODY_TAG_SET:
		rc = subject_check(c->tag_set->about, reterr);
		return rc < 0 ? rc : tags_check(c->tag_set->tags, c->tag_set->n_tags, reterr);
	case ET__COMMAND__BODY_NOTE_ADD:
		rc = subject_check(c->note_add->about, reterr);
		return rc < 0 ? rc : card_check(c->note_add->note->text, "a note", reterr);
	case ET__COMMAND__BODY_AGENT_SET:
		return agent_check(c->agent_set->agent, reterr);
	case ET__COMMAND__BODY_HOLD_ADD:
		return hold_check(c->hold_add->hold, reterr);
	case ET__COMMAND__BODY_RECORDING_IMPORT:
		return import_check(c->recording_import, reterr);
	default:
		return 0;
	}
}

int et_command_check(const Et__Command *command, struct et_error *reterr)
{
	if (command->body_case == ET__COMMAND__BODY__NOT_SET) {
		return et_fail(reterr, ET_EMALFORMED, "a command without a body");
	}
	int rc = et_message_check(&command->base, reterr);
	return rc < 0 ? rc : told_check(command, reterr);
}
