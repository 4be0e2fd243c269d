/* A vault node makes a segment anew, over what deaths at other moments have left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "node/keeper/test/fixture.h"
#include "node/tape/media.h"
#include "node/tape/reader.h"

#define T0 INT64_C(1700000000000000)
#define PACKETS 100 /* 2 s */

struct recording {
	uint8_t id[16];
	char text[ET_UUID_TEXT_SIZE];
	struct et_secret *dek; /* owned */
	uint8_t enc[ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_DEK_WRAPPED_SIZE];
	struct et_tape_header header;
	struct et_tape_seal seal;
};

static Et__Segment *segment(struct node *n, const struct recording *r, uint32_t generation)
{
	struct et_state_view *v = view(n);
	Et__Segment *s = NULL;

	(void)!et_state_get_segment(v, r->id, generation, 1, &s);
	(void)et_state_view_close(v);
	return s;
}

static bool is_erased(struct node *n, const struct recording *r, uint32_t generation)
{
	Et__Segment *s = segment(n, r, generation);
	bool is = s != NULL && s->wrap->erased;

	et__segment__free_unpacked(s, NULL);
	return is;
}

static void folder_make(const struct node *n, const char *name)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", n->folder, name);
	assert_int_equal(et_file_mkdirs(path, NULL), 0);
}

static void tape_make(struct node *n, struct recording *r)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_media_encoder *e = calloc(1, sizeof(*e));
	const struct et_tape_signer signer = { .node = n->identity.node,
					       .seed = n->identity.sign_key,
					       .now_us = T0 };
	uint8_t payload[160];
	char path[256];

	assert_non_null(e);
	r->header = (struct et_tape_header){ .generation = 1,
					     .segment = 1,
					     .kek_version = 1,
					     .dek_id = 7,
					     .node = n->identity.node,
					     .t0_us = T0 };
	memcpy(r->header.recording, r->id, 16);
	(void)snprintf(path, sizeof(path), "%s/tapes/old.evtm", n->folder);
	assert_int_equal(et_tape_create(path, &r->header, r->dek, &t, NULL), 0);
	for (uint32_t i = 0; i < PACKETS; i++) {
		memset(payload, (int)i, sizeof(payload));
		const struct et_media_packet p = { .sequence = (uint16_t)i,
						   .timestamp = i * 160,
						   .arrival_us = T0 + (int64_t)i * 20000,
						   .payload = { payload, sizeof(payload) } };
		assert_int_equal(et_media_encoder_add(e, &p, ET_TAPE_PLAIN_MAX), 0);
	}
	assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, 0, e->plain.data, e->plain.size, NULL),
			 0);
	assert_int_equal(et_tape_finish(t, &signer, &r->seal, NULL), 0);
	et_media_encoder_release(e);
	free(e);
}

static void tell(struct node *n, struct recording *r)
{
	Et__SegmentOpen open = ET__SEGMENT_OPEN__INIT;
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;
	Et__RecordingClose close = ET__RECORDING_CLOSE__INIT;
	Et__Recording recording = ET__RECORDING__INIT;
	Et__Segment s = ET__SEGMENT__INIT;
	Et__Wrap wrap = ET__WRAP__INIT;
	Et__Command command = ET__COMMAND__INIT;
	char file[] = "tapes/old.evtm";

	wrap.dek = 7;
	wrap.kek_version = 1;
	wrap.enc = (ProtobufCBinaryData){ sizeof(r->enc), r->enc };
	wrap.ciphertext = (ProtobufCBinaryData){ sizeof(r->ciphertext), r->ciphertext };
	s.recording = seal.recording = recording.id = (ProtobufCBinaryData){ 16, r->id };
	s.generation = s.segment = seal.generation = seal.segment = 1;
	s.node = n->identity.node;
	s.wrap = &wrap;
	s.header_hash = (ProtobufCBinaryData){ 32, r->header.hash };
	s.t0_us = T0;
	s.file = file;
	open.segment = &s;
	command.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	command.segment_open = &open;
	assert_int_equal(propose(n, &command).code, 0);
	seal.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	seal.root = (ProtobufCBinaryData){ 32, r->seal.root };
	seal.records = r->seal.records;
	seal.size_bytes = r->seal.size_bytes;
	seal.seal_hash = (ProtobufCBinaryData){ 32, r->seal.seal_hash };
	command.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	command.segment_seal = &seal;
	assert_int_equal(propose(n, &command).code, 0);
	recording.start_us = T0;
	recording.end_us = T0 + 2000000;
	close.recording = &recording;
	command.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
	command.recording_close = &close;
	assert_int_equal(propose(n, &command).code, 0);
}

static void record(struct node *n, struct recording *r)
{
	Et__Kek *kek = NULL;
	struct et_state_view *v = view(n);

	et_uuid7(r->id);
	et_uuid_format(r->id, r->text);
	assert_int_equal(et_secret_random(32, &r->dek, NULL), 0);
	assert_int_equal(et_state_get_kek(v, 1, &kek), 0);
	(void)et_state_view_close(v);
	assert_int_equal(
		et_dek_wrap(kek->public_key.data, 1, r->id, 7, r->dek, r->enc, r->ciphertext, NULL),
		0);
	et__kek__free_unpacked(kek, NULL);
	folder_make(n, "tapes");
	tape_make(n, r);
	tell(n, r);
}

static void redact(struct node *n, const struct recording *r, int64_t from_ms, int64_t to_ms)
{
	Et__RecordingRedact body = ET__RECORDING_REDACT__INIT;
	Et__Command command = ET__COMMAND__INIT;
	uint8_t id[16];

	memcpy(id, r->id, 16);
	body.recording = (ProtobufCBinaryData){ 16, id };
	body.from_us = T0 + from_ms * 1000;
	body.to_us = T0 + to_ms * 1000;
	command.body_case = ET__COMMAND__BODY_RECORDING_REDACT;
	command.recording_redact = &body;
	assert_int_equal(propose(n, &command).code, 0);
}

/* Packets that a generation has, opened by this node's grant. */
static unsigned packets(struct node *n, const struct recording *r, uint32_t generation)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *reader = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	struct et_media_decoder *d = malloc(sizeof(*d));
	struct et_tape_source source;
	struct et_tape_record record;
	struct et_media_packet p;
	unsigned count = 0;
	char path[512];

	assert_non_null(d);
	Et__Segment *s = segment(n, r, generation);
	(void)snprintf(path, sizeof(path), "%s/%s", n->folder, s->file);
	et__segment__free_unpacked(s, NULL);
	struct et_state_view *v = view(n);
	assert_int_equal(open_local(n->keeper, v, r->id, generation, 1, &dek, NULL), 0);
	(void)et_state_view_close(v);
	assert_int_equal(et_tape_source_open(path, &source, NULL), 0);
	assert_int_equal(et_tape_reader_new(&source, dek, &reader, NULL), 0);
	while (et_tape_reader_next(reader, &record, NULL) == 1) {
		if (record.kind != ET_TAPE_MEDIA) {
			continue;
		}
		assert_int_equal(et_media_decoder_init(d, record.plain, NULL), 0);
		while (et_media_decoder_next(d, &p, NULL) == 1) {
			count++;
		}
	}
	et_tape_source_close(&source);
	free(d);
	return count;
}

static bool has_file(const struct node *n, const char *folder, const char *name)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s/%s", n->folder, folder, name);
	return access(path, F_OK) == 0;
}

static void put_file(const struct node *n, const char *folder, const char *name)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s/%s", n->folder, folder, name);
	assert_int_equal(et_file_publish(path, "x", 1, 0600, NULL), 0);
}

static void a_span_is_left_out_over_what_deaths_have_left(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct recording r;
	char lost[96];

	folder_make(n, "tapes");
	folder_make(n, "generations");
	put_file(n, "generations", "half.part"); /* killed while writing */
	record(n, &r);
	/* Killed before the catalogue had it, under both names: another one is made and taken. */
	(void)snprintf(lost, sizeof(lost), "%s-g2-s1-00000001.evtm", r.text);
	put_file(n, "generations", lost);
	put_file(n, "tapes", lost);
	redact(n, &r, 500, 1000);
	RUN_UNTIL(c, is_erased(n, &r, 1));
	assert_int_equal(packets(n, &r, 2), PACKETS - 25);
	RUN_UNTIL(c, !has_file(n, "generations", lost));
	assert_false(has_file(n, "tapes", lost));
	assert_false(has_file(n, "generations", "half.part"));

	/* Killed after the catalogue had it: the second name goes, the first stays. */
	Et__Segment *s = segment(n, &r, 2);
	char name[128];
	char from[512];
	char to[512];
	(void)snprintf(name, sizeof(name), "%s", strrchr(s->file, '/') + 1);
	(void)snprintf(from, sizeof(from), "%s/%s", n->folder, s->file);
	(void)snprintf(to, sizeof(to), "%s/generations/%s", n->folder, name);
	et__segment__free_unpacked(s, NULL);
	assert_int_equal(link(from, to), 0);
	redact(n, &r, 1500, 1600);
	RUN_UNTIL(c, is_erased(n, &r, 2));
	assert_int_equal(packets(n, &r, 3), PACKETS - 25 - 5);
	RUN_UNTIL(c, !has_file(n, "generations", name));
	assert_true(has_file(n, "tapes", name));
	(void)et_secret_free(r.dek);
}

static void a_replaced_generation_is_opened_for_nobody(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	struct recording r;

	record(n, &r);
	redact(n, &r, 0, 100);
	Et__Segment *s = NULL;
	RUN_UNTIL(c, (s = segment(n, &r, 2)) != NULL);
	et__segment__free_unpacked(s, NULL);
	struct et_state_view *v = view(n);
	assert_int_equal(open_local(n->keeper, v, r.id, 1, 1, &dek, NULL), ET_EPOLICY);
	(void)et_state_view_close(v);
	RUN_UNTIL(c, is_erased(n, &r, 1)); /* what runs still must not outlive the node */
	(void)et_secret_free(r.dek);
}

/* ---- What is not to be proposed is not even made ---- */

static int hold_scope(struct node *n, bool release)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__HoldAdd add = ET__HOLD_ADD__INIT;
	Et__HoldRelease rel = ET__HOLD_RELEASE__INIT;
	Et__Hold hold = ET__HOLD__INIT;
	Et__HoldScope scope = ET__HOLD_SCOPE__INIT;
	uint8_t id[16] = { 7 };

	scope.from_us = 1; /* all that began after 1970 */
	hold.id = rel.id = (ProtobufCBinaryData){ sizeof(id), id };
	hold.scope = &scope;
	add.hold = &hold;
	command.body_case = release ? ET__COMMAND__BODY_HOLD_RELEASE : ET__COMMAND__BODY_HOLD_ADD;
	if (release) {
		command.hold_release = &rel;
	} else {
		command.hold_add = &add;
	}
	return propose(n, &command).code;
}

/* Version 2 becomes active, version 1 compromised. */
static void compromise(struct cluster *c, struct node *n)
{
	Et__KekRotate rotate = ET__KEK_ROTATE__INIT;
	Et__KekSet set = ET__KEK_SET__INIT;
	Et__Command command = ET__COMMAND__INIT;

	command.body_case = ET__COMMAND__BODY_KEK_ROTATE;
	command.kek_rotate = &rotate;
	assert_int_equal(propose(n, &command).code, 0);
	RUN_UNTIL(c, kek_state(n, 2) == ET__KEK_STATE__KEK_ACTIVE);
	set.version = 1;
	set.expect = ET__KEK_STATE__KEK_DECRYPT_ONLY;
	set.state = ET__KEK_STATE__KEK_COMPROMISED;
	command.body_case = ET__COMMAND__BODY_KEK_SET;
	command.kek_set = &set;
	assert_int_equal(propose(n, &command).code, 0);
}

static int put_count(void *arg, const Et__AuditEvent *e)
{
	*(unsigned *)arg += strcmp(e->action, "generation.put") == 0;
	return 0;
}

static unsigned puts_audited(struct node *n)
{
	struct et_state_view *v = view(n);
	unsigned count = 0;

	assert_int_equal(et_state_each_audit(v, 1, 0, put_count, &count), 0);
	(void)et_state_view_close(v);
	return count;
}

/* One look, and all that follows from it. */
static void look(struct cluster *c, struct node *n)
{
	RUN_UNTIL(c, n->keeper->pending == 0);
	generations_round(n->keeper);
	assert_true(n->keeper->pending > 0);
	RUN_UNTIL(c, n->keeper->pending == 0);
}

static void while_a_hold_stands_nothing_is_proposed(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct recording r;

	assert_int_equal(hold_scope(n, false), 0);
	compromise(c, n);
	record(n, &r);
	look(c, n);
	look(c, n);
	assert_int_equal(puts_audited(n), 0); /* apply was not asked, and refused nothing */
	assert_null(segment(n, &r, 2));
	assert_int_equal(hold_scope(n, true), 0);
	RUN_UNTIL(c, is_erased(n, &r, 1));
	assert_int_equal(puts_audited(n), 1);
	assert_int_equal(packets(n, &r, 2), PACKETS);
	(void)et_secret_free(r.dek);
}

static bool has_quorum(struct node *n)
{
	struct et_catalog_status status;

	et_catalog_status(n->catalog, &status);
	return status.has_quorum;
}

/* Each try would leave a whole tape that nobody knows to be taken or not. */
static void a_node_that_is_cut_off_makes_nothing(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct outcome o = { 0 };

	node_join(c, 1, "brq-1", "brq", ET_ROLE_VOTER | ET_ROLE_VAULT);
	et_catalog_assign(n->catalog, c->nodes[1].identity.node, ET_CATALOG_VOTER, on_outcome, &o);
	RUN_UNTIL(c, o.done);
	assert_int_equal(o.code, 0);
	look(c, n);
	node_close(&c->nodes[1]);
	RUN_UNTIL(c, !has_quorum(n) && n->keeper->pending == 0);
	generations_round(n->keeper);
	assert_int_equal(n->keeper->pending, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, cluster_set_up, cluster_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_span_is_left_out_over_what_deaths_have_left),
		TEST(a_replaced_generation_is_opened_for_nobody),
		TEST(while_a_hold_stands_nothing_is_proposed),
		TEST(a_node_that_is_cut_off_makes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
