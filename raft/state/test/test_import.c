/* A recording that was made of a file comes whole, once, with what was told of it; and what is
 * wrong with it changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/state_internal.h"
#include "raft/state/test/kit.h"

#define T0 INT64_C(1700000000000000)

struct import {
	Et__Command command;
	Et__RecordingImport body;
	Et__Recording recording;
	Et__Imported imported;
	Et__Segment segment;
	Et__Segment *segments[2];
	Et__Wrap wrap;
	Et__Fact fact;
	Et__Fact *facts[1];
	Et__Tag tag;
	Et__Tag *tags[1];
	char words[8][64];
};

static void make(struct import *m, uint64_t id)
{
	*m = (struct import){ .words = { "call.wav", "WAV", "order", "A-17", "complaint", "4711",
					 "import", "tapes/x" } };
	et__command__init(&m->command);
	et__recording_import__init(&m->body);
	et__recording__init(&m->recording);
	et__imported__init(&m->imported);
	et__segment__init(&m->segment);
	et__wrap__init(&m->wrap);
	et__fact__init(&m->fact);
	et__tag__init(&m->tag);
	m->imported.sha256 = kit_hash(id);
	m->imported.name = m->words[0];
	m->imported.format = m->words[1];
	m->imported.part = m->imported.parts = 1;
	m->recording.id = kit_id(id);
	m->recording.call = kit_id(id);
	m->recording.start_us = T0;
	m->recording.end_us = T0 + 5000000;
	m->recording.state = ET__RECORDING_STATE__SEALED;
	m->recording.from = m->words[5];
	m->recording.rule = m->words[6];
	m->recording.imported = &m->imported;
	m->wrap.dek = id;
	m->wrap.kek_version = 1;
	m->wrap.enc = kit_hash(id + 1);
	m->wrap.ciphertext = kit_bytes(48, id);
	m->segment.recording = m->recording.id;
	m->segment.generation = m->segment.segment = 1;
	m->segment.wrap = &m->wrap;
	m->segment.header_hash = kit_hash(id + 2);
	m->segment.root = kit_hash(id + 3);
	m->segment.object_hash = kit_hash(id + 4);
	m->segment.records = 3;
	m->segment.size_bytes = 1000;
	m->segment.t0_us = T0;
	m->segment.file = m->words[7];
	m->segments[0] = &m->segment;
	m->fact.key = m->words[2];
	m->fact.text = m->words[3];
	m->tag.name = m->words[4];
	m->facts[0] = &m->fact;
	m->tags[0] = &m->tag;
	m->body.recording = &m->recording;
	m->body.segments = m->segments;
	m->body.n_segments = 1;
	m->body.facts = m->facts;
	m->body.n_facts = 1;
	m->body.tags = m->tags;
	m->body.n_tags = 1;
	m->command.body_case = ET__COMMAND__BODY_RECORDING_IMPORT;
	m->command.recording_import = &m->body;
}

/* Of a schema that knows imports; before that they are refused. */
static void cluster(struct kit *k)
{
	struct import m;

	kit_cluster(k);
	make(&m, 49);
	assert_int_equal(kit_apply_from(k, 2, &m.command), ET_EVERSION);
	kit_upgrade(k, 1, ET_SCHEMA_IMPORT);
}

static void its_segments_come_with_a_hash_of_the_schema(void **state)
{
	struct kit *k = *state;
	struct import m;

	cluster(k);
	make(&m, 50);
	m.segment.seal_hash = m.segment.object_hash;
	m.segment.object_hash = (ProtobufCBinaryData){ 0, NULL };
	assert_int_equal(kit_apply_from(k, 2, &m.command), ET_EVERSION);
	kit_upgrade(k, ET_SCHEMA_IMPORT, ET_SCHEMA_SEAL_HASH);
	assert_int_equal(kit_apply_from(k, 2, &m.command), 0);
	make(&m, 51); /* of a maker that has not seen the upgrade yet */
	assert_int_equal(kit_apply_from(k, 2, &m.command), 0);
	make(&m, 52);
	m.segment.object_hash = (ProtobufCBinaryData){ 0, NULL };
	assert_int_equal(kit_apply_from(k, 2, &m.command), ET_EREFUSED);
}

static int is_there(void *arg, const Et__AuditEvent *e)
{
	struct import *m = arg;
	char hex[33];

	et_hex(m->recording.id.data, 16, hex);
	if (strcmp(e->action, "recording.import") == 0 && strcmp(e->target, hex) == 0) {
		assert_string_equal(e->outcome, "ok");
		assert_non_null(strstr(e->detail, "call.wav sha256 "));
		m->words[7][63] = 1; /* seen */
	}
	return 0;
}

/* But for the audit event of the refusal. */
static void assert_unchanged(const struct kit *k, struct et_state_counts before)
{
	before.audit_events = k->s->counts.audit_events;
	assert_memory_equal(&before, &k->s->counts, sizeof(before));
}

static void it_comes_whole_and_once(void **state)
{
	struct kit *k = *state;
	struct import m;

	cluster(k);
	make(&m, 50);
	assert_int_equal(kit_apply_from(k, 2, &m.command), 0);
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Recording *r = NULL;
	Et__Segment *g = NULL;
	assert_int_equal(et_state_get_recording(v, m.recording.id.data, &r), 0);
	assert_int_equal(r->state, ET__RECORDING_STATE__SEALED);
	assert_int_equal(r->node, 2);
	assert_string_equal(r->site, "site-0");
	assert_string_equal(r->imported->name, "call.wav");
	assert_string_equal(r->imported->principal, "local:uid=0");
	assert_int_equal(et_state_get_segment(v, m.recording.id.data, 1, 1, &g), 0);
	assert_int_equal(g->state, ET__SEGMENT_STATE__SEGMENT_SEALED);
	assert_int_equal(g->node, 2);
	et__segment__free_unpacked(g, NULL);
	et__recording__free_unpacked(r, NULL);
	Et__Subject about = ET__SUBJECT__INIT;
	Et__Told *told = NULL;
	about.recording = m.recording.id;
	assert_int_equal(et_state_get_told(v, &about, &told), 0);
	assert_int_equal(told->n_facts, 1);
	assert_int_equal(told->n_tags, 1);
	assert_false(told->waiting);
	et__told__free_unpacked(told, NULL);
	assert_int_equal(et_state_each_audit(v, 1, UINT64_MAX, is_there, &m), 0);
	assert_int_equal(m.words[7][63], 1);
	(void)et_state_view_close(v);
	struct et_state_counts counts = k->s->counts;
	assert_int_equal(counts.recordings, 1);
	assert_int_equal(counts.sealed, 1);
	assert_int_equal(counts.segments, 1);
	assert_int_equal(counts.facts, 1);
	assert_int_equal(counts.tags, 1);

	/* Again, from another node, under another key: the file is known. */
	make(&m, 50);
	m.wrap.ciphertext = kit_bytes(48, 77);
	assert_int_equal(kit_apply_from(k, 3, &m.command), ET_EEXISTS);
	assert_unchanged(k, counts);
}

static void what_is_wrong_changes_nothing(void **state)
{
	struct kit *k = *state;
	const Et__Wrap none = ET__WRAP__INIT;

	cluster(k);
	struct et_state_counts counts = k->s->counts;
	for (int what = 0; what < 6; what++) {
		struct import m;
		int want = ET_EREFUSED;
		make(&m, 60);
		if (what == 0) {
			m.segment.generation = 2;
		} else if (what == 1) {
			m.segment.root = (ProtobufCBinaryData){ 0, NULL };
		} else if (what == 2) {
			m.wrap = none;
		} else if (what == 3) {
			m.fact.text = (char *)(uintptr_t) "4111 1111 1111 1111";
			want = ET_EMALFORMED;
		} else if (what == 4) {
			m.segment.recording = kit_id(61);
			want = ET_EMALFORMED;
		} else {
			m.segments[1] = &m.segment; /* it would be counted twice */
			m.body.n_segments = 2;
			want = ET_EMALFORMED;
		}
		assert_int_equal(kit_apply_from(k, 2, &m.command), want);
		assert_unchanged(k, counts);
	}
}

/* A recorder's segment may come before its recording. */
static void a_segment_that_is_known_is_not_imported(void **state)
{
	struct kit *k = *state;
	struct import m;

	cluster(k);
	make(&m, 62);
	assert_int_equal(kit_segment_open(k, 1, 62, 1), 0);
	struct et_state_counts counts = k->s->counts;
	assert_int_equal(kit_apply_from(k, 2, &m.command), ET_EREFUSED);
	assert_unchanged(k, counts);
}

/* Who imported what, and when, is told by imports only. */
static void a_recorder_imports_nothing(void **state)
{
	struct kit *k = *state;
	struct import m;
	Et__Recording *r = NULL;

	cluster(k);
	make(&m, 63);
	m.imported.principal = m.words[2];
	for (int how = KIT_OPEN; how <= KIT_CLOSE; how++) {
		assert_int_equal(kit_tell_recording(k, 2, (enum kit_tell)how, &m.recording), 0);
	}
	struct et_state_view *v = et_state_view_open(k->s);
	assert_int_equal(et_state_get_recording(v, m.recording.id.data, &r), 0);
	assert_null(r->imported);
	et__recording__free_unpacked(r, NULL);
	(void)et_state_view_close(v);
}

static void a_file_without_time_is_not_redacted(void **state)
{
	struct kit *k = *state;
	struct import m;
	Et__Command c = ET__COMMAND__INIT;
	Et__RecordingRedact redact = ET__RECORDING_REDACT__INIT;

	cluster(k);
	make(&m, 70);
	m.imported.untimed = true;
	assert_int_equal(kit_apply_from(k, 2, &m.command), 0);
	redact.recording = m.recording.id;
	redact.from_us = T0;
	redact.to_us = T0 + 1000000;
	c.body_case = ET__COMMAND__BODY_RECORDING_REDACT;
	c.recording_redact = &redact;
	assert_int_equal(kit_apply(k, &c), ET_EREFUSED);
	assert_non_null(strstr(k->result->text, "erase it instead"));
	make(&m, 71);
	assert_int_equal(kit_apply_from(k, 2, &m.command), 0);
	redact.recording = m.recording.id;
	assert_int_equal(kit_apply(k, &c), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_comes_whole_and_once, kit_set_up, kit_tear_down),
		cmocka_unit_test_setup_teardown(its_segments_come_with_a_hash_of_the_schema,
						kit_set_up, kit_tear_down),
		cmocka_unit_test_setup_teardown(what_is_wrong_changes_nothing, kit_set_up,
						kit_tear_down),
		cmocka_unit_test_setup_teardown(a_segment_that_is_known_is_not_imported, kit_set_up,
						kit_tear_down),
		cmocka_unit_test_setup_teardown(a_recorder_imports_nothing, kit_set_up,
						kit_tear_down),
		cmocka_unit_test_setup_teardown(a_file_without_time_is_not_redacted, kit_set_up,
						kit_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
