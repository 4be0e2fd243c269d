/* A KEK version from its making to its end, by the keepers of two vault nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/crypto/sign.h"
#include "node/keeper/test/fixture.h"

#define RECORDINGS 20

struct recording {
	uint8_t id[16];
	struct et_secret *dek; /* owned */
};

/* A segment of node `n`, sealed to a version by its public half. */
static void segment_open(struct node *n, struct recording *r, uint32_t version)
{
	Et__SegmentOpen body = ET__SEGMENT_OPEN__INIT;
	Et__Segment segment = ET__SEGMENT__INIT;
	Et__Wrap wrap = ET__WRAP__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__Kek *kek = NULL;
	uint8_t enc[ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_DEK_WRAPPED_SIZE];
	char file[] = "a.evtm";

	et_uuid7(r->id);
	assert_int_equal(et_secret_random(32, &r->dek, NULL), 0);
	struct et_state_view *v = view(n);
	assert_int_equal(et_state_get_kek(v, version, &kek), 0);
	(void)et_state_view_close(v);
	assert_int_equal(et_keeper_kek_verify(kek, view_of(&n->identity.ca), NULL), 0);
	assert_int_equal(
		et_dek_wrap(kek->public_key.data, version, r->id, 7, r->dek, enc, ciphertext, NULL),
		0);
	et__kek__free_unpacked(kek, NULL);
	wrap.dek = 7;
	wrap.kek_version = version;
	wrap.enc = (ProtobufCBinaryData){ sizeof(enc), enc };
	wrap.ciphertext = (ProtobufCBinaryData){ sizeof(ciphertext), ciphertext };
	segment.recording = (ProtobufCBinaryData){ 16, r->id };
	segment.generation = segment.segment = 1;
	segment.node = n->identity.node;
	segment.wrap = &wrap;
	segment.file = file;
	body.segment = &segment;
	command.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	command.segment_open = &body;
	assert_int_equal(propose(n, &command).code, 0);
}

static int schedule(struct node *n, int64_t rotate_us, uint32_t rate)
{
	Et__KeySchedule body = ET__KEY_SCHEDULE__INIT;
	Et__Command command = ET__COMMAND__INIT;

	body.rotate_us = rotate_us;
	body.destroy_after_us = -1;
	body.rewrap_rate = rate;
	command.body_case = ET__COMMAND__BODY_KEY_SCHEDULE;
	command.key_schedule = &body;
	return propose(n, &command).code;
}

static int rotate(struct node *n)
{
	Et__KekRotate body = ET__KEK_ROTATE__INIT;
	Et__Command command = ET__COMMAND__INIT;

	command.body_case = ET__COMMAND__BODY_KEK_ROTATE;
	command.kek_rotate = &body;
	return propose(n, &command).code;
}

static uint64_t wraps(struct node *n, uint32_t version)
{
	struct et_state_view *v = view(n);
	uint64_t count = UINT64_MAX;

	assert_int_equal(et_state_wraps(v, version, &count), 0);
	(void)et_state_view_close(v);
	return count;
}

static bool has_key(const struct node *n, uint32_t version)
{
	for (size_t i = 0; i < n->keeper->keys.count; i++) {
		if (n->keeper->keys.keys[i].version == version) {
			return true;
		}
	}
	return false;
}

/* What somebody keeps who copies the catalogue's files while version 1 lives. */
struct copy {
	Et__Segment *segment; /* owned */
	Et__Grant *grants[2]; /* owned: of KEK 1, of both nodes */
};

static void copy_take(struct node *n, const struct recording *r, struct copy *ret)
{
	struct et_state_view *v = view(n);

	assert_int_equal(et_state_get_segment(v, r->id, 1, 1, &ret->segment), 0);
	assert_int_equal(et_state_get_grant(v, "kek:1", 1, &ret->grants[0]), 0);
	assert_int_equal(et_state_get_grant(v, "kek:1", 2, &ret->grants[1]), 0);
	(void)et_state_view_close(v);
}

/* Everything in a node's folder, against everything that was copied. */
static bool copy_opens(const struct node *n, const struct copy *copy)
{
	struct node_keys keys;
	bool opens = false;

	assert_int_equal(node_keys_load(n->folder, n->root, &keys, NULL), 0);
	for (size_t g = 0; g < 2; g++) {
		for (size_t i = 0; i < keys.count; i++) {
			struct et_secret *kek = NULL;
			struct et_secret *dek = NULL;
			Et__Grant grant = *copy->grants[g];
			grant.seal_public = (ProtobufCBinaryData){ 32, keys.keys[i].public_key };
			if (grant_open(&grant, &keys, &kek, NULL) == 0 &&
			    et_dek_unwrap(kek, 1, copy->segment->recording.data,
					  copy->segment->wrap->dek, copy->segment->wrap->enc.data,
					  (struct et_view){ copy->segment->wrap->ciphertext.data,
							    copy->segment->wrap->ciphertext.len },
					  &dek, NULL) == 0) {
				opens = true;
			}
			(void)et_secret_free(dek);
			(void)et_secret_free(kek);
		}
	}
	node_keys_release(&keys);
	return opens;
}

static void copy_release(struct copy *copy)
{
	et__segment__free_unpacked(copy->segment, NULL);
	et__grant__free_unpacked(copy->grants[0], NULL);
	et__grant__free_unpacked(copy->grants[1], NULL);
}

static void assert_opens(struct node *n, const struct recording *r)
{
	struct et_state_view *v = view(n);
	struct et_secret *dek = NULL;
	struct et_error e = { 0 };

	if (open_local(n->keeper, v, r->id, 1, 1, &dek, &e) < 0) {
		fail_msg("%s", e.text);
	}
	assert_true(et_secret_equal(dek, r->dek));
	(void)et_secret_free(dek);
	(void)et_state_view_close(v);
}

/* Keys of its own for each version: nothing is shared. */
static bool settled(struct node *n)
{
	Et__Grant *kek = NULL;
	Et__Grant *ca = NULL;
	struct et_state_view *v = view(n);

	bool is = et_state_get_grant(v, "kek:2", n->identity.node, &kek) == 0 &&
		  et_state_get_grant(v, "ca", n->identity.node, &ca) == 0 &&
		  memcmp(kek->seal_public.data, ca->seal_public.data, 32) == 0;
	et__grant__free_unpacked(kek, NULL);
	et__grant__free_unpacked(ca, NULL);
	(void)et_state_view_close(v);
	return is;
}

static void what_is_left_of_a_destroyed_version_opens_with_nothing(void **state)
{
	struct cluster *c = *state;
	struct node *first = &c->nodes[0];
	struct node *second = &c->nodes[1];
	struct recording r[RECORDINGS];
	struct recording late;
	struct copy copy;
	struct et_keeper_health h;

	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE | ET_ROLE_VAULT);
	for (size_t i = 0; i < RECORDINGS; i++) {
		segment_open(first, &r[i], 1);
	}
	copy_take(first, &r[0], &copy);
	assert_true(copy_opens(first, &copy));
	assert_true(copy_opens(second, &copy));

	assert_int_equal(schedule(first, 0, 100000), 0);
	assert_int_equal(rotate(first), 0);
	RUN_UNTIL(c, kek_state(first, 2) == ET__KEK_STATE__KEK_ACTIVE);
	RUN_UNTIL(c, kek_state(second, 2) == ET__KEK_STATE__KEK_ACTIVE);
	RUN_UNTIL(c, wraps(first, 1) == 0);
	assert_int_equal(wraps(first, 2), RECORDINGS);
	/* A journal that was not committed yet: it is taken, and moved, too. */
	segment_open(second, &late, 1);
	et_keeper_set_drained(first->keeper, 2);
	RUN_UNTIL(c, wraps(first, 1) == 0 && wraps(first, 2) == RECORDINGS + 1);
	RUN_UNTIL(c, settled(first) && settled(second));
	assert_int_equal(kek_state(first, 1), ET__KEK_STATE__KEK_DECRYPT_ONLY);
	assert_true(has_key(first, 1)); /* node 2 has not spoken */

	et_keeper_set_drained(second->keeper, 2);
	RUN_UNTIL(c, kek_state(first, 1) == ET__KEK_STATE__KEK_DESTROYED);
	RUN_UNTIL(c, !has_key(first, 1) && !has_key(second, 1));
	assert_false(copy_opens(first, &copy));
	assert_false(copy_opens(second, &copy));
	for (size_t i = 0; i < RECORDINGS; i++) {
		assert_opens(first, &r[i]);
		assert_opens(second, &r[i]);
		(void)et_secret_free(r[i].dek);
	}
	assert_opens(second, &late);
	(void)et_secret_free(late.dek);
	et_keeper_health(first->keeper, &h);
	assert_int_equal(h.rewrapped, RECORDINGS + 1);
	assert_int_equal(h.rewrap_failed, 0);
	copy_release(&copy);
}

/* What a fault makes of a wrap: that of another recording, committed at version 1. */
static void bad_wrap(struct node *n, struct recording *r)
{
	Et__SegmentOpen body = ET__SEGMENT_OPEN__INIT;
	Et__Command command = ET__COMMAND__INIT;
	uint8_t other[16];
	Et__Segment *g = NULL;

	segment_open(n, r, 1);
	struct et_state_view *v = view(n);
	assert_int_equal(et_state_get_segment(v, r->id, 1, 1, &g), 0);
	(void)et_state_view_close(v);
	et_uuid7(other);
	memcpy(g->recording.data, other, 16);
	body.segment = g;
	command.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	command.segment_open = &body;
	assert_int_equal(propose(n, &command).code, 0);
	et__segment__free_unpacked(g, NULL);
}

/* The others are moved, the failure is counted. */
static void a_wrap_that_does_not_open_keeps_the_version_alive(void **state)
{
	struct cluster *c = *state;
	struct node *first = &c->nodes[0];
	struct node *second = &c->nodes[1];
	struct recording good;
	struct recording bad;
	struct et_keeper_health h;

	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE | ET_ROLE_VAULT);
	segment_open(first, &good, 1);
	bad_wrap(first, &bad);

	assert_int_equal(schedule(first, 0, 100000), 0);
	assert_int_equal(rotate(first), 0);
	RUN_UNTIL(c, kek_state(second, 2) == ET__KEK_STATE__KEK_ACTIVE);
	et_keeper_set_drained(first->keeper, 2);
	et_keeper_set_drained(second->keeper, 2);
	RUN_UNTIL(c, wraps(first, 1) == 1);
	RUN_UNTIL(c, (et_keeper_health(first->keeper, &h), h.rewrap_failed > 0));
	assert_int_equal(kek_state(first, 1), ET__KEK_STATE__KEK_DECRYPT_ONLY);
	assert_opens(second, &good);
	(void)et_secret_free(good.dek);
	(void)et_secret_free(bad.dek);
}

/* Nor do the versions behind it wait for what cannot be moved. */
static void a_wrap_that_does_not_open_holds_up_no_other_version(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct recording first;
	struct recording second;

	bad_wrap(n, &first);
	assert_int_equal(schedule(n, 0, 100000), 0);
	assert_int_equal(rotate(n), 0);
	RUN_UNTIL(c, kek_state(n, 2) == ET__KEK_STATE__KEK_ACTIVE);
	segment_open(n, &second, 2);
	assert_int_equal(rotate(n), 0);
	RUN_UNTIL(c, wraps(n, 3) == 2);
	et_keeper_set_drained(n->keeper, 3);
	RUN_UNTIL(c, kek_state(n, 2) == ET__KEK_STATE__KEK_DESTROYED);
	assert_int_equal(wraps(n, 1), 1);
	assert_opens(n, &second);
	(void)et_secret_free(first.dek);
	(void)et_secret_free(second.dek);
}

static void on_shares(void *arg, int code, const struct et_keeper_shares *shares,
		      const struct et_error *why)
{
	struct outcome *o = arg;

	o->done = true;
	o->code = code;
	if (code == 0) {
		const char *texts[ET_ESCROW_SHARES_MAX];
		char room[ET_ESCROW_SHARES_MAX][ET_SECRET_SIZE_MAX + 1];
		struct et_secret *kek = NULL;
		struct et_secret *ca_key = NULL;
		uint32_t version = 0;
		for (unsigned i = 0; i < shares->count; i++) {
			size_t size = et_secret_size(shares->shares[i]);
			memcpy(room[i], et_secret_bytes(shares->shares[i]), size);
			room[i][size] = '\0';
			texts[i] = room[i];
		}
		assert_int_equal(et_keeper_escrow_join(texts + 1, 2, &version, &kek, &ca_key, NULL),
				 0);
		assert_int_equal(version, shares->kek_version);
		(void)et_secret_free(kek);
		(void)et_secret_free(ca_key);
		o->number = version;
	} else {
		(void)snprintf(o->text, sizeof(o->text), "%.100s", why->text);
	}
}

static void shares_are_issued_for_the_active_version(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct outcome o = { 0 };
	Et__Kek *kek = NULL;

	assert_int_equal(rotate(n), 0);
	RUN_UNTIL(c, kek_state(n, 2) == ET__KEK_STATE__KEK_ACTIVE);
	struct et_state_view *v = view(n);
	assert_int_equal(et_state_get_kek(v, 2, &kek), 0);
	(void)et_state_view_close(v);
	assert_int_equal(kek->escrow_shares, 0);
	et__kek__free_unpacked(kek, NULL);
	assert_int_equal(et_keeper_escrow_issue_from(n->keeper, 2, 3, on_shares, &o), 0);
	RUN_UNTIL(c, o.done);
	if (o.code < 0) {
		fail_msg("%s", o.text);
	}
	assert_int_equal(o.number, 2);
	v = view(n);
	assert_int_equal(et_state_get_kek(v, 2, &kek), 0);
	(void)et_state_view_close(v);
	assert_int_equal(kek->escrow_shares, 3);
	et__kek__free_unpacked(kek, NULL);
}

/* A node that is cut off looks once at its keys, and does what it then does. */
static void look_once(struct cluster *c, struct node *n)
{
	rotate_look(n->keeper);
	RUN_UNTIL(c, !n->keeper->rotation.looking && !n->keeper->rotation.ordering);
}

/* As after a crash that took a catalogue back: it does not know the version of a key that was made,
 * and that a grant may be sealed to. */
static void no_key_is_wiped_before_a_majority_has_spoken(void **state)
{
	struct cluster *c = *state;
	struct node *first = &c->nodes[0];
	struct node *second = &c->nodes[1];
	uint8_t public_key[32];

	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE | ET_ROLE_VAULT);
	node_close(second);
	node_close(first);
	assert_int_equal(et_keeper_key_make(second->folder, second->root, 9, public_key, NULL), 0);
	node_open_tls(second, second->address);
	node_open_rest(second, false);
	assert_int_equal(kek_state(second, 1), ET__KEK_STATE__KEK_ACTIVE);
	look_once(c, second);
	look_once(c, second);
	assert_true(has_key(second, 1));
	assert_true(has_key(second, 9));

	node_open_tls(first, first->address);
	node_open_rest(first, false);
	RUN_UNTIL(c, !has_key(second, 9)); /* now it is known that nothing needs it */
	assert_true(has_key(second, 1));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, cluster_set_up, cluster_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_left_of_a_destroyed_version_opens_with_nothing),
		TEST(a_wrap_that_does_not_open_keeps_the_version_alive),
		TEST(a_wrap_that_does_not_open_holds_up_no_other_version),
		TEST(shares_are_issued_for_the_active_version),
		TEST(no_key_is_wiped_before_a_majority_has_spoken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
