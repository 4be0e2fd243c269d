/* Commands: what is read, what is refused, what survives packing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "raft/command/command_internal.h"

static uint8_t id[16] = { 1, 2, 3 };

/* A sound RecordingOpen, and its parts to be spoilt. */
struct sample {
	Et__Command c;
	Et__OpId op;
	Et__RecordingOpen open;
	Et__Recording recording;
	Et__Stream stream;
	Et__Stream *streams[300];
	char text[4096];
};

static void sample_make(struct sample *s)
{
	et__command__init(&s->c);
	et__op_id__init(&s->op);
	et__recording_open__init(&s->open);
	et__recording__init(&s->recording);
	et__stream__init(&s->stream);
	for (size_t i = 0; i < ET_ARRAY_SIZE(s->streams); i++) {
		s->streams[i] = &s->stream;
	}
	memset(s->text, 'x', sizeof(s->text));
	s->op.node = 1;
	s->op.incarnation = (ProtobufCBinaryData){ 16, id };
	s->op.seq = 1;
	s->recording.id = (ProtobufCBinaryData){ 16, id };
	s->recording.streams = s->streams;
	s->recording.n_streams = 2;
	s->recording.start_us = 1700000000000000;
	s->open.recording = &s->recording;
	s->c.op = &s->op;
	s->c.body_case = ET__COMMAND__BODY_RECORDING_OPEN;
	s->c.recording_open = &s->open;
}

/* What check says, and what unpack says of the packed bytes: they must agree. */
static int sample_check(const struct sample *s)
{
	struct et_buffer packed = { 0 };
	Et__Command *back = NULL;
	struct et_error error;

	int rc = et_command_check(&s->c, &error);
	assert_int_equal(et_command_pack(&s->c, &packed), 0);
	assert_int_equal(et_command_unpack(packed.data, packed.size, &back, &error), rc);
	assert_true((back != NULL) == (rc == 0));
	et_command_free(back);
	et_buffer_release(&packed);
	return rc;
}

static char *text_of(struct sample *s, size_t size)
{
	s->text[size] = '\0';
	return s->text;
}

static void a_sound_command_survives(void **state)
{
	struct sample s;

	(void)state;
	sample_make(&s);
	assert_int_equal(sample_check(&s), 0);
	assert_string_equal(et_command_name(&s.c), "recording.open");
	assert_true(et_command_is_create(&s.c));
}

static void ids_have_sixteen_bytes(void **state)
{
	struct sample s;

	(void)state;
	sample_make(&s);
	s.recording.id.len = 15;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	s.recording.id.len = 0;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	sample_make(&s);
	s.recording.call = (ProtobufCBinaryData){ 15, id }; /* may be missing, not be short */
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	s.recording.call.len = 16;
	assert_int_equal(sample_check(&s), 0);
	sample_make(&s);
	s.op.incarnation.len = 0;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	sample_make(&s);
	s.op.node = 0;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	sample_make(&s);
	s.op.seq = UINT64_MAX;
	assert_int_equal(sample_check(&s), 0);
}

static void texts_are_bounded_utf8(void **state)
{
	struct sample s;
	static const struct {
		const char *text;
		bool good;
	} texts[] = {
		{ "+420777123456", true },
		{ "\xc5\xbelu\xc5\xa5ou\xc4\x8dk\xc3\xbd", true },
		{ "\xe2\x82\xac", true },
		{ "\xf0\x9f\x93\x9e", true },
		{ "\xf4\x8f\xbf\xbf", true },
		{ "\x80", false },	       /* a continuation byte alone */
		{ "\xc5", false },	       /* cut */
		{ "\xc0\xaf", false },	       /* overlong */
		{ "\xe0\x80\xaf", false },     /* overlong */
		{ "\xed\xa0\x80", false },     /* a surrogate */
		{ "\xf4\x90\x80\x80", false }, /* above U+10FFFF */
		{ "\xf0\x80\x80\xaf", false }, /* overlong */
		{ "\xff", false },
	};

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		sample_make(&s);
		(void)snprintf(s.text, sizeof(s.text), "%s", texts[i].text);
		s.recording.from = s.text;
		assert_int_equal(sample_check(&s), texts[i].good ? 0 : ET_EMALFORMED);
	}
	sample_make(&s);
	s.recording.from = text_of(&s, 256);
	assert_int_equal(sample_check(&s), 0);
	sample_make(&s);
	s.recording.from = text_of(&s, 257);
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
}

static void a_nul_inside_a_text_is_refused(void **state)
{
	struct sample s;
	struct et_buffer packed = { 0 };
	Et__Command *back = NULL;

	(void)state;
	sample_make(&s);
	s.recording.from = text_of(&s, 20);
	assert_int_equal(et_command_pack(&s.c, &packed), 0);
	uint8_t *p = memmem(packed.data, packed.size, "xxxxxxxx", 8);
	assert_non_null(p);
	p[5] = 0;
	assert_int_equal(et_command_unpack(packed.data, packed.size, &back, NULL), ET_EMALFORMED);
	et_buffer_release(&packed);
}

static void numbers_enums_and_counts_are_in_range(void **state)
{
	struct sample s;

	(void)state;
	sample_make(&s);
	s.recording.state = (Et__RecordingState)4;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	sample_make(&s);
	s.recording.state = (Et__RecordingState)-1;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	sample_make(&s);
	s.recording.start_us = -1;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	s.recording.start_us = INT64_MAX;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	sample_make(&s);
	s.recording.n_streams = ET_COMMAND_STREAMS_MAX;
	assert_int_equal(sample_check(&s), 0);
	s.recording.n_streams++;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	sample_make(&s);
	s.stream.src = text_of(&s, 65); /* below the first level, too */
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
}

static void what_must_be_there_is_there(void **state)
{
	struct sample s;

	(void)state;
	sample_make(&s);
	s.c.op = NULL;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	sample_make(&s);
	s.open.recording = NULL;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	sample_make(&s);
	s.c.body_case = ET__COMMAND__BODY__NOT_SET;
	s.c.recording_open = NULL;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	assert_string_equal(et_command_name(&s.c), "none");
}

/* ---- Hostile bytes ---- */

static void hostile_sizes_are_refused_before_memory_is_taken(void **state)
{
	struct et_buffer b = { 0 };
	Et__Command *back = NULL;

	(void)state;
	assert_int_equal(et_command_unpack("", 0, &back, NULL), ET_EMALFORMED);
	/* 500,000 empty items: 2 bytes each here, 150 each when they are structs. */
	struct et_buffer plan = { 0 };
	for (int i = 0; i < 200000; i++) {
		et_buffer_add(&plan, "\x3a\x00", 2); /* Plan.items = {} */
	}
	et_buffer_add_varint(&b, 31 << 3 | 2); /* Command.plan_put */
	et_buffer_add_varint(&b, plan.size + 4);
	et_buffer_add8(&b, 0x0a); /* PlanPut.plan */
	et_buffer_add_varint(&b, plan.size);
	et_buffer_add(&b, plan.data, plan.size);
	assert_int_equal(et_command_scan(&et__command__descriptor, b.data, b.size, NULL),
			 ET_EMALFORMED);
	assert_int_equal(et_command_unpack(b.data, b.size, &back, NULL), ET_EMALFORMED);

	/* Too many unknown fields. */
	b.size = 0;
	for (unsigned i = 0; i <= ET_COMMAND_UNKNOWN_MAX; i++) {
		et_buffer_add_varint(&b, (1000 + i) << 3);
		et_buffer_add8(&b, 1);
	}
	assert_int_equal(et_command_scan(&et__command__descriptor, b.data, b.size, NULL),
			 ET_EMALFORMED);
	assert_int_equal(et_command_scan(&et__command__descriptor, b.data, b.size - 3, NULL), 0);

	/* A group, a length that goes past the end, a field of number 0. */
	assert_int_equal(et_command_scan(&et__command__descriptor, "\x0b\x0c", 2, NULL),
			 ET_EMALFORMED);
	assert_int_equal(et_command_scan(&et__command__descriptor, "\x0a\x7f", 2, NULL),
			 ET_EMALFORMED);
	assert_int_equal(et_command_scan(&et__command__descriptor, "\x00\x01", 2, NULL),
			 ET_EMALFORMED);
	et_buffer_release(&b);
	et_buffer_release(&plan);
}

/* Every way to cut a command and to change a byte: read or refused, and if read, it packs and reads
 * back as the same bytes. */
static void damaged_bytes_are_read_alike_or_refused(void **state)
{
	struct sample s;
	struct et_buffer packed = { 0 };

	(void)state;
	sample_make(&s);
	s.recording.from = text_of(&s, 12);
	assert_int_equal(et_command_pack(&s.c, &packed), 0);
	for (size_t at = 0; at < packed.size; at++) {
		for (unsigned bit = 0; bit <= 8; bit++) {
			Et__Command *first = NULL;
			Et__Command *second = NULL;
			struct et_buffer once = { 0 };
			struct et_buffer twice = { 0 };
			size_t size = bit == 8 ? at : packed.size;
			uint8_t held = packed.data[at];
			packed.data[at] = (uint8_t)(held ^ (bit < 8 ? 1U << bit : 0));
			if (et_command_unpack(packed.data, size, &first, NULL) == 0) {
				assert_int_equal(et_command_pack(first, &once), 0);
				assert_int_equal(
					et_command_unpack(once.data, once.size, &second, NULL), 0);
				assert_int_equal(et_command_pack(second, &twice), 0);
				assert_int_equal(once.size, twice.size);
				assert_memory_equal(once.data, twice.data, once.size);
			}
			packed.data[at] = held;
			et_command_free(first);
			et_command_free(second);
			et_buffer_release(&once);
			et_buffer_release(&twice);
		}
	}
	et_buffer_release(&packed);
}

/* By its body, and by the fields that it fills; of a kind whose body is not there, by the kind. */
static void a_command_needs_the_schema_of_its_fields(void **state)
{
	struct sample s;
	Et__RecordingUpdate update = ET__RECORDING_UPDATE__INIT;
	Et__RecordingClose close = ET__RECORDING_CLOSE__INIT;

	(void)state;
	for (uint64_t silenced = 0; silenced <= 1; silenced++) {
		const uint32_t needed = silenced > 0 ? ET_SCHEMA_SILENCED : 1;
		sample_make(&s);
		s.stream.silenced = silenced;
		update.recording = close.recording = &s.recording;
		assert_int_equal(et_schema_needed(&s.c), needed);
		s.c.body_case = ET__COMMAND__BODY_RECORDING_UPDATE;
		s.c.recording_update = &update;
		assert_int_equal(et_schema_needed(&s.c), needed);
		s.c.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
		s.c.recording_close = &close;
		assert_int_equal(et_schema_needed(&s.c), needed);
		s.recording.n_streams = 0;
		assert_int_equal(et_schema_needed(&s.c), 1);
		close.recording = NULL;
		assert_int_equal(et_schema_needed(&s.c), 1);
		s.c.recording_close = NULL;
		assert_int_equal(et_schema_needed(&s.c), 1);
	}
}

static void a_padded_segment_needs_its_schema(void **state)
{
	struct sample s;
	Et__Segment segment = ET__SEGMENT__INIT;
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;
	Et__GenerationPut put = ET__GENERATION_PUT__INIT;

	(void)state;
	for (uint32_t bytes = 0; bytes <= 1024; bytes += 1024) {
		const uint32_t needed = bytes > 0 ? ET_SCHEMA_PADDED : 1;
		sample_make(&s);
		seal.block_bytes = segment.block_bytes = bytes;
		put.segment = &segment;
		s.c.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
		s.c.segment_seal = &seal;
		assert_int_equal(et_schema_needed(&s.c), needed);
		s.c.body_case = ET__COMMAND__BODY_GENERATION_PUT;
		s.c.generation_put = &put;
		assert_int_equal(et_schema_needed(&s.c), needed);
	}
}

static void fields_of_a_newer_schema_survive(void **state)
{
	struct sample s;
	struct et_buffer packed = { 0 };
	struct et_buffer again = { 0 };
	Et__Command *c = NULL;

	(void)state;
	sample_make(&s);
	s.c.schema = 7;
	assert_int_equal(et_command_pack(&s.c, &packed), 0);
	et_buffer_add_varint(&packed, 999U << 3 | 2);
	et_buffer_add_varint(&packed, 5);
	et_buffer_add(&packed, "hello", 5);
	assert_int_equal(et_command_schema((struct et_view){ packed.data, packed.size }), 7);
	assert_int_equal(et_command_unpack(packed.data, packed.size, &c, NULL), 0);
	assert_int_equal(et_command_pack(c, &again), 0);
	assert_non_null(memmem(again.data, again.size, "hello", 5));
	et_command_free(c);
	et_buffer_release(&packed);
	et_buffer_release(&again);
}

/* ---- The rules ---- */

static void check_rules(const ProtobufCMessageDescriptor *d, unsigned depth)
{
	const struct et_rule *rules = et_rules_of(d);

	assert_true(depth < ET_COMMAND_DEPTH_MAX); /* no message within itself */
	if (d->n_fields > 0) {
		assert_non_null(rules);
	}
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		assert_string_equal(rules[i].field, f->name);
		bool text = f->type == PROTOBUF_C_TYPE_STRING;
		bool bytes = f->type == PROTOBUF_C_TYPE_BYTES;
		bool message = f->type == PROTOBUF_C_TYPE_MESSAGE;
		assert_int_equal(rules[i].kind == RULE_TEXT, text);
		assert_int_equal(rules[i].kind == RULE_BYTES, bytes);
		assert_int_equal(rules[i].kind == RULE_ONE, message);
		assert_true(!(text || bytes) || rules[i].max > 0);
		assert_int_equal(rules[i].count_max > 0, f->label == PROTOBUF_C_LABEL_REPEATED);
		assert_int_equal(rules[i].kind == RULE_TIME, f->type == PROTOBUF_C_TYPE_INT64);
		if (message) {
			check_rules(f->descriptor, depth + 1);
		}
	}
}

static void every_field_of_every_message_has_its_rule(void **state)
{
	(void)state;
	check_rules(&et__command__descriptor, 0);
}

static void every_body_has_its_name(void **state)
{
	(void)state;
	for (unsigned i = 0; i < et__command__descriptor.n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &et__command__descriptor.fields[i];
		if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0) {
			continue;
		}
		Et__Command c = ET__COMMAND__INIT;
		char name[64];
		c.body_case = (Et__Command__BodyCase)f->id;
		(void)snprintf(name, sizeof(name), "%s", f->name);
		if (strchr(name, '_') != NULL) {
			*strchr(name, '_') = '.';
		}
		assert_string_equal(et_command_name(&c), name);
	}
}

static void card_numbers_are_seen(void **state)
{
	static const struct {
		const char *text;
		bool card;
	} cases[] = {
		{ "4111111111111111", true },
		{ "paid with 4111 1111 1111 1111, thanks", true },
		{ "4111-1111-1111-1111", true },
		{ "4111.1111.1111.1111", true },
		{ "x5500005555555559x", true },
		{ "on 2024 4111 1111 1111 1111", true },
		{ "378282246310005", true },
		{ "4222222222222", true },	 /* 13 */
		{ "6304000000000000000", true }, /* 19 */
		{ "1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 "
		  "1 "
		  "2 3 4 4111 1111 1111 1111",
		  true },
		{ "4111111111111112", false }, /* Luhn */
		{ "411111111111", false },
		{ "4111 1111 x 1111 1111", false },
		{ "1700000000.12345", false }, /* Asterisk's uniqueid */
		{ "+420601123456", false },
		{ "00000000000000000000000000000000", false },
		{ "41111111111111114111111111111111", false }, /* too long for one */
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		if (et_command_has_card(cases[i].text) != cases[i].card) {
			fail_msg("'%s'", cases[i].text);
		}
	}
}

/* What is told of a call is refused for card digits, whatever the field, and without them in the
 * error. */
static void card_digits_are_refused(void **state)
{
	char card[] = "4111 1111 1111 1111";
	char key[] = "order";
	Et__Subject about = ET__SUBJECT__INIT;
	Et__Fact fact = ET__FACT__INIT;
	Et__Fact *facts[] = { &fact };
	Et__FactAdd add = ET__FACT_ADD__INIT;
	Et__Tag tag = ET__TAG__INIT;
	Et__Tag *tags[] = { &tag };
	Et__TagSet set = ET__TAG_SET__INIT;
	Et__Note note = ET__NOTE__INIT;
	Et__NoteAdd note_add = ET__NOTE_ADD__INIT;
	struct et_error e;
	struct sample s;

	(void)state;
	sample_make(&s);
	about.recording = (ProtobufCBinaryData){ 16, id };
	fact.key = key;
	fact.text = card;
	add.about = set.about = note_add.about = &about;
	add.facts = facts;
	add.n_facts = 1;
	s.c.body_case = ET__COMMAND__BODY_FACT_ADD;
	s.c.fact_add = &add;
	assert_true(et_command_is_create(&s.c));
	assert_int_equal(et_command_check(&s.c, &e), ET_EMALFORMED);
	assert_non_null(strstr(e.text, "card"));
	assert_null(strstr(e.text, "1111"));
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	fact.type = ET__FACT_TYPE__FACT_PHONE;
	assert_int_equal(sample_check(&s), 0);
	fact.type = ET__FACT_TYPE__FACT_INTEGER;
	fact.text = key;
	fact.number = INT64_C(4111111111111111);
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	fact.number = -fact.number;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	fact.number = 17;
	assert_int_equal(sample_check(&s), 0);
	about.call = about.recording;
	assert_int_equal(sample_check(&s), ET_EMALFORMED); /* two subjects */
	about.recording.len = about.call.len = 0;
	assert_int_equal(sample_check(&s), ET_EMALFORMED); /* none */
	about.sip_call_id = card;			   /* as the telephone system has it */
	assert_int_equal(sample_check(&s), 0);
	set.tags = tags;
	set.n_tags = 1;
	tag.name = card;
	s.c.body_case = ET__COMMAND__BODY_TAG_SET;
	s.c.tag_set = &set;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	note_add.note = &note;
	note.id = (ProtobufCBinaryData){ 16, id };
	note.text = card;
	s.c.body_case = ET__COMMAND__BODY_NOTE_ADD;
	s.c.note_add = &note_add;
	assert_int_equal(sample_check(&s), ET_EMALFORMED);
	note.text = key;
	assert_int_equal(sample_check(&s), 0);
}

static void foreign_text_is_made_fit(void **state)
{
	static const struct {
		const char *text;
		size_t max;
		const char *expected;
	} cases[] = {
		{ "plain", 10, "plain" },
		{ "plain", 3, "pla" },
		{ "\x1b[31mred", 20, "?[31mred" },
		{ "a\xff\xc5", 20, "a??" },
		{ "\xc5\xbe\xc5\xbe", 3, "\xc5\xbe" }, /* never cut inside a character */
		{ "\xed\xa0\x80", 20, "???" },
		{ "a\nb\x7f", 20, "a?b?" },
	};

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		struct et_buffer b = { 0 };
		et_command_text(cases[i].text, strlen(cases[i].text), cases[i].max, &b);
		assert_false(b.failed);
		assert_string_equal((char *)b.data, cases[i].expected);
		assert_int_equal(b.size, strlen(cases[i].expected) + 1);
		et_buffer_release(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_command_survives),
		cmocka_unit_test(ids_have_sixteen_bytes),
		cmocka_unit_test(texts_are_bounded_utf8),
		cmocka_unit_test(a_nul_inside_a_text_is_refused),
		cmocka_unit_test(numbers_enums_and_counts_are_in_range),
		cmocka_unit_test(what_must_be_there_is_there),
		cmocka_unit_test(hostile_sizes_are_refused_before_memory_is_taken),
		cmocka_unit_test(damaged_bytes_are_read_alike_or_refused),
		cmocka_unit_test(a_command_needs_the_schema_of_its_fields),
		cmocka_unit_test(a_padded_segment_needs_its_schema),
		cmocka_unit_test(fields_of_a_newer_schema_survive),
		cmocka_unit_test(every_field_of_every_message_has_its_rule),
		cmocka_unit_test(every_body_has_its_name),
		cmocka_unit_test(foreign_text_is_made_fit),
		cmocka_unit_test(card_numbers_are_seen),
		cmocka_unit_test(card_digits_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
