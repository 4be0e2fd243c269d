/* Capture's events become journalled commands: what is said of a recording, in order, and once. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "node/crypto/hash.h"
#include "node/daemon/events.h"
#include "node/io/file.h"

enum { COMMANDS_MAX = 32 };

struct fixture {
	char folder[64];
	uv_loop_t loop;
	struct et_postbox postbox;
	struct et_journal *journal;
	struct et_events events;
	int bodies[COMMANDS_MAX]; /* of the commands that reached the loop */
	int count;
	int live;  /* how often a live recording was described */
	int ended; /* and said to have ended */
	uint64_t last_packets;
	uint64_t silenced;	 /* of the last recording that was closed */
	uint32_t schema;	 /* the committed one */
	uint8_t seal_hash[32];	 /* of the last seal that was told; zeros: none */
	uint8_t object_hash[32]; /* likewise */
};

static void hash_note(const ProtobufCBinaryData *told, uint8_t ret[32])
{
	memset(ret, 0, 32);
	if (told->len > 0) {
		assert_int_equal(told->len, 32);
		memcpy(ret, told->data, 32);
	}
}

static uint32_t committed_schema(void *arg)
{
	const struct fixture *f = arg;
	return f->schema;
}

static void on_command(void *arg, struct et_view packed)
{
	struct fixture *f = arg;
	Et__Command *command = NULL;

	assert_int_equal(et_command_unpack(packed.data, packed.size, &command, NULL), 0);
	assert_int_equal(command->op->node, 7);
	assert_int_equal(command->op->seq, f->count + 1);
	assert_int_equal(command->schema, et_schema_needed(command));
	assert_true(command->schema <= f->schema);
	f->bodies[f->count++] = (int)command->body_case;
	if (command->body_case == ET__COMMAND__BODY_RECORDING_CLOSE) {
		f->silenced = command->recording_close->recording->streams[0]->silenced;
	}
	if (command->body_case == ET__COMMAND__BODY_SEGMENT_SEAL) {
		hash_note(&command->segment_seal->seal_hash, f->seal_hash);
		hash_note(&command->segment_seal->object_hash, f->object_hash);
	}
	et_command_free(command);
}

static void on_live(void *arg, const uint8_t recording[16], const Et__Recording *record)
{
	struct fixture *f = arg;

	assert_int_equal(recording[0], 1);
	if (record == NULL) {
		f->ended++;
		return;
	}
	f->live++;
	f->last_packets = record->streams[0]->packets;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/et_events.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(et_postbox_init(&f->postbox, &f->loop), 0);
	uv_ref((uv_handle_t *)&f->postbox.async);
	assert_int_equal(et_journal_open(f->folder, 7, &f->journal, NULL), 0);
	f->schema = ET_COMMAND_SCHEMA;
	struct et_events_config config = { .postbox = &f->postbox,
					   .journal = f->journal,
					   .node = 7,
					   .store_uuid = "0190b6a4-0000-7000-8000-000000000001",
					   .media = f->folder,
					   .schema = committed_schema,
					   .on_command = on_command,
					   .on_live = on_live,
					   .arg = f };
	et_events_init(&f->events, &config);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[96];

	et_events_release(&f->events);
	et_postbox_close(&f->postbox, NULL);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	(void)et_journal_close(f->journal);
	(void)snprintf(command, sizeof(command), "rm -r '%s'", f->folder);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* Let the loop take what was posted. */
static void deliver(struct fixture *f)
{
	(void)uv_run(&f->loop, UV_RUN_NOWAIT);
}

static struct et_capture_stream stream = { .ssrc = 9,
					   .src = "127.0.0.1:6000",
					   .dst = "127.0.0.2:6000",
					   .codec = "PCMU/8000",
					   .packets = 10 };
static struct et_capture_recording recording = { .id = { 1 },
						 .call = { 2 },
						 .node = 7,
						 .site = "prg",
						 .start_us = 1000000,
						 .from = "4711",
						 .to = "4712",
						 .from_uri = "sip:4711@a",
						 .to_uri = "sip:4712@b",
						 .sip_call_id = "x@y",
						 .rule = "default",
						 .problem = "",
						 .streams = &stream,
						 .stream_count = 1 };
static struct et_capture_segment segment = { .recording = { 1 },
					     .generation = 1,
					     .segment = 1,
					     .t0_us = 1000000,
					     .file = "tapes/1970/01/01/x-g1-s1.evtm",
					     .kek_version = 1,
					     .dek = 5,
					     .records = 3,
					     .size_bytes = 4096,
					     .sealed_us = 2000000,
					     .seal_hash = { 9, 8, 7 } };

static int feed(struct fixture *f, enum et_capture_event_kind kind)
{
	struct et_capture_event ev = {
		.kind = kind, .time_us = 2000000, .recording = &recording, .segment = &segment
	};
	return et_events_on_capture(&f->events, &ev);
}

/* A schema that knows no seal hashes is told the SHA-256 of the file; of a file that cannot be read
 * none: its root is told. */
static void a_seal_says_what_the_committed_schema_knows(void **state)
{
	static const uint8_t none[32];
	struct fixture *f = *state;
	uint8_t hash[32];
	char path[128];

	assert_int_equal(feed(f, ET_CAPTURE_RECORDING_OPEN), 0);
	for (int round = 0; round < 3; round++) {
		f->schema = round < 2 ? ET_SCHEMA_SEAL_HASH - 1 : ET_SCHEMA_SEAL_HASH;
		if (round == 1) {
			(void)snprintf(path, sizeof(path), "%s/%s", f->folder, segment.file);
			assert_int_equal(et_file_mkdirs_of(path, NULL), 0);
			FILE *file = fopen(path, "w");
			assert_non_null(file);
			assert_int_equal(fputs("abc", file) < 0, 0);
			assert_int_equal(fclose(file), 0);
		}
		assert_int_equal(feed(f, ET_CAPTURE_SEGMENT_SEALED), 0);
		deliver(f);
		et_sha256("abc", 3, hash);
		assert_memory_equal(f->object_hash, round == 1 ? hash : none, 32);
		assert_memory_equal(f->seal_hash, round == 2 ? segment.seal_hash : none, 32);
		assert_int_equal(et_events_may_pad(&f->events), round == 2);
	}
}

/* Who does not know the count of silenced packets is not told it: it would keep what it got. */
static void silenced_packets_are_told_to_who_knows_them(void **state)
{
	struct fixture *f = *state;

	stream.silenced = 3;
	for (uint32_t schema = ET_SCHEMA_SILENCED - 1; schema <= ET_SCHEMA_SILENCED; schema++) {
		f->schema = schema;
		f->silenced = 99;
		assert_int_equal(feed(f, ET_CAPTURE_RECORDING_OPEN), 0);
		recording.to = "4713";
		assert_int_equal(feed(f, ET_CAPTURE_RECORDING_UPDATE), 0);
		recording.to = "4712";
		assert_int_equal(feed(f, ET_CAPTURE_RECORDING_CLOSE), 0);
		deliver(f);
		assert_int_equal(f->silenced, schema == ET_SCHEMA_SILENCED ? 3 : 0);
	}
	assert_int_equal(f->count, 6);
	stream.silenced = 0;
}

static void a_call_becomes_its_commands_in_order(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(feed(f, ET_CAPTURE_RECORDING_OPEN), 0);
	assert_int_equal(feed(f, ET_CAPTURE_SEGMENT_OPEN), 0);
	assert_int_equal(et_journal_pending(f->journal), 2); /* Before the loop ran. */
	assert_int_equal(feed(f, ET_CAPTURE_SEGMENT_SEALED), 0);
	recording.end_us = 2000000;
	assert_int_equal(feed(f, ET_CAPTURE_RECORDING_CLOSE), 0);
	recording.end_us = 0;
	deliver(f);
	assert_int_equal(f->count, 4);
	assert_int_equal(f->bodies[0], ET__COMMAND__BODY_RECORDING_OPEN);
	assert_int_equal(f->bodies[1], ET__COMMAND__BODY_SEGMENT_OPEN);
	assert_int_equal(f->bodies[2], ET__COMMAND__BODY_SEGMENT_SEAL);
	assert_int_equal(f->bodies[3], ET__COMMAND__BODY_RECORDING_CLOSE);
	assert_int_equal(f->ended, 1);
}

static void growing_counts_are_shown_and_not_replicated(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(feed(f, ET_CAPTURE_RECORDING_OPEN), 0);
	stream.packets = 500;
	assert_int_equal(feed(f, ET_CAPTURE_RECORDING_UPDATE), 0);
	deliver(f);
	assert_int_equal(f->count, 1);
	assert_int_equal(f->live, 2);
	assert_int_equal(f->last_packets, 500);

	recording.to = "4713";
	assert_int_equal(feed(f, ET_CAPTURE_RECORDING_UPDATE), 0);
	assert_int_equal(feed(f, ET_CAPTURE_RECORDING_UPDATE), 0);
	recording.to = "4712";
	stream.packets = 10;
	deliver(f);
	assert_int_equal(f->count, 2); /* The new number, once. */
}

/* On demand: shown, and in no journal before somebody keeps it. */
static void a_call_in_a_ring_is_shown_and_noted_nowhere(void **state)
{
	struct fixture *f = *state;
	const struct et_capture_recording before = recording;

	assert_int_equal(feed(f, ET_CAPTURE_RING), 0);
	recording.answer_us = 1500000;
	assert_int_equal(feed(f, ET_CAPTURE_RING), 0);
	assert_int_equal(feed(f, ET_CAPTURE_RING_LOST), 0);
	deliver(f);
	assert_int_equal(f->live, 2);
	assert_int_equal(f->ended, 1);
	assert_int_equal(f->count, 0);
	assert_int_equal(et_journal_pending(f->journal), 0);

	/* Another one is kept: all that is known of it is told. */
	assert_int_equal(feed(f, ET_CAPTURE_RING), 0);
	recording.kept = "token:anna";
	recording.kept_us = 1700000;
	assert_int_equal(feed(f, ET_CAPTURE_RECORDING_OPEN), 0);
	deliver(f);
	assert_int_equal(f->count, 1);
	assert_int_equal(et_journal_pending(f->journal), 1);
	recording = before;
}

static void a_hostile_header_is_cut_and_made_text(void **state)
{
	struct fixture *f = *state;
	char uri[5000];

	memset(uri, 'x', sizeof(uri) - 1);
	uri[sizeof(uri) - 1] = '\0';
	recording.from_uri = uri;
	recording.from = "\xff\xfe\x1b[2J";
	assert_int_equal(feed(f, ET_CAPTURE_RECORDING_OPEN), 0);
	recording.from_uri = "sip:4711@a";
	recording.from = "4711";
	deliver(f);
	assert_int_equal(f->count, 1);
	assert_int_equal(atomic_load(&f->events.refused), 0);
}

static void a_full_disk_refuses_the_recording(void **state)
{
	struct fixture *f = *state;
	struct rlimit old;
	struct rlimit none = { .rlim_cur = 0 };

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	none.rlim_max = old.rlim_max;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	int rc = feed(f, ET_CAPTURE_RECORDING_OPEN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(rc < 0);
	deliver(f);
	assert_int_equal(f->count, 0);
	assert_int_equal(atomic_load(&f->events.refused), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_call_becomes_its_commands_in_order, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(silenced_packets_are_told_to_who_knows_them, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_seal_says_what_the_committed_schema_knows, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(growing_counts_are_shown_and_not_replicated, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_call_in_a_ring_is_shown_and_noted_nowhere, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_hostile_header_is_cut_and_made_text, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_full_disk_refuses_the_recording, set_up,
						tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
