/* Somebody who has no key of the CA puts KEK versions of his own into the catalogue, in a vault
 * node's name, with grants that the vault node opens. He gets no DEK. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/crypto/sign.h"
#include "node/keeper/test/fixture.h"

#define RECORDINGS 5

struct thief {
	struct et_secret *ca_key; /* owned: of a CA of his own */
	struct et_buffer ca;	  /* owned */
	struct et_secret *kek;	  /* owned */
	uint8_t public_key[32];
	struct et_buffer signature; /* owned */
};

static void thief_open(struct thief *t, uint32_t version)
{
	uint8_t bytes[KEK_SIGNED_BYTES];

	*t = (struct thief){ 0 };
	assert_int_equal(et_ca_make("acme", &t->ca_key, &t->ca, NULL), 0);
	assert_int_equal(et_x25519_generate(&t->kek, t->public_key, NULL), 0);
	kek_signed_bytes(version, t->public_key, bytes);
	assert_int_equal(
		et_ca_sign(t->ca_key, (struct et_view){ bytes, sizeof(bytes) }, &t->signature), 0);
}

static void thief_close(struct thief *t)
{
	(void)et_secret_free(t->ca_key);
	(void)et_secret_free(t->kek);
	et_buffer_release(&t->ca);
	et_buffer_release(&t->signature);
}

/* The version of his, granted to `n`. */
static int thief_adds(const struct thief *t, struct node *n, uint32_t version, Et__KekState state)
{
	Et__Kek kek = ET__KEK__INIT;
	Et__KekAdd add = ET__KEK_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	uint8_t public_key[32];
	char name[SECRET_NAME_BYTES];
	Et__Grant *grant = NULL;

	memcpy(public_key, t->public_key, sizeof(public_key));
	kek.version = version;
	kek.state = state;
	kek.public_key = (ProtobufCBinaryData){ sizeof(public_key), public_key };
	kek.signature = (ProtobufCBinaryData){ t->signature.size, t->signature.data };
	kek_secret_name(version, name);
	assert_int_equal(grant_make(name, t->kek, n->identity.node,
				    n->keeper->keys.keys[0].public_key, &grant, NULL),
			 0);
	add.kek = &kek;
	add.grants = &grant;
	add.n_grants = 1;
	command.body_case = ET__COMMAND__BODY_KEK_ADD;
	command.kek_add = &add;
	int rc = propose(n, &command).code;
	et__grant__free_unpacked(grant, NULL);
	return rc;
}

static Et__Kek *kek_of(struct node *n, uint32_t version)
{
	struct et_state_view *v = view(n);
	Et__Kek *kek = NULL;

	assert_int_equal(et_state_get_kek(v, version, &kek), 0);
	(void)et_state_view_close(v);
	return kek;
}

static uint64_t wraps(struct node *n, uint32_t version)
{
	struct et_state_view *v = view(n);
	uint64_t count = UINT64_MAX;

	assert_int_equal(et_state_wraps(v, version, &count), 0);
	(void)et_state_view_close(v);
	return count;
}

static int find(struct node *n, struct et_view bundle, const struct et_keeper_sealing *known,
		struct et_keeper_sealing *ret, uint32_t *ret_refused)
{
	struct et_state_view *v = view(n);
	int rc = et_keeper_sealing_find(v, bundle, known, ret, ret_refused, NULL);

	(void)et_state_view_close(v);
	return rc;
}

/* A recording whose key is wrapped to what is to be sealed to now. */
static void record(struct node *n)
{
	Et__SegmentOpen body = ET__SEGMENT_OPEN__INIT;
	Et__Segment segment = ET__SEGMENT__INIT;
	Et__Wrap wrap = ET__WRAP__INIT;
	Et__Command command = ET__COMMAND__INIT;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	struct et_keeper_sealing to;
	uint8_t id[16];
	uint8_t enc[ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_DEK_WRAPPED_SIZE];
	char file[] = "a.evtm";

	et_uuid7(id);
	assert_int_equal(find(n, view_of(&n->identity.ca), NULL, &to, NULL), 0);
	assert_int_equal(et_secret_random(32, &dek, NULL), 0);
	assert_int_equal(et_dek_wrap(to.public_key, to.version, id, 7, dek, enc, ciphertext, NULL),
			 0);
	wrap.dek = 7;
	wrap.kek_version = to.version;
	wrap.enc = (ProtobufCBinaryData){ sizeof(enc), enc };
	wrap.ciphertext = (ProtobufCBinaryData){ sizeof(ciphertext), ciphertext };
	segment.recording = (ProtobufCBinaryData){ 16, id };
	segment.generation = segment.segment = 1;
	segment.node = n->identity.node;
	segment.wrap = &wrap;
	segment.file = file;
	body.segment = &segment;
	command.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	command.segment_open = &body;
	assert_int_equal(propose(n, &command).code, 0);
}

static void at_once(struct node *n)
{
	Et__KeySchedule body = ET__KEY_SCHEDULE__INIT;
	Et__Command command = ET__COMMAND__INIT;

	body.destroy_after_us = -1;
	command.body_case = ET__COMMAND__BODY_KEY_SCHEDULE;
	command.key_schedule = &body;
	assert_int_equal(propose(n, &command).code, 0);
}

static void a_pending_version_that_no_ca_has_signed_is_destroyed(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct thief t;

	thief_open(&t, 2);
	assert_int_equal(thief_adds(&t, n, 2, ET__KEK_STATE__KEK_PENDING), 0);
	RUN_UNTIL(c, kek_state(n, 2) == ET__KEK_STATE__KEK_DESTROYED);
	assert_int_equal(kek_state(n, 1), ET__KEK_STATE__KEK_ACTIVE);
	thief_close(&t);
}

static void an_active_version_that_no_ca_has_signed_gets_no_key(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct et_view bundle = view_of(&n->identity.ca);
	struct et_keeper_sealing first;
	struct et_keeper_sealing to;
	uint32_t refused = 7;
	struct et_keeper_health h;
	struct thief t;

	for (size_t i = 0; i < RECORDINGS; i++) {
		record(n);
	}
	assert_int_equal(find(n, bundle, NULL, &first, &refused), 0);
	assert_int_equal(first.version, 1);
	assert_int_equal(refused, 0);

	thief_open(&t, 2);
	assert_int_equal(thief_adds(&t, n, 2, ET__KEK_STATE__KEK_ACTIVE), 0);
	assert_int_equal(kek_state(n, 2), ET__KEK_STATE__KEK_ACTIVE);
	/* A recorder goes on with what it had; one that starts now has the version before. */
	assert_int_equal(find(n, bundle, &first, &to, &refused), 0);
	assert_int_equal(to.version, 1);
	assert_int_equal(refused, 2);
	assert_int_equal(find(n, bundle, NULL, &to, &refused), 0);
	assert_int_equal(to.version, 1);
	assert_memory_equal(to.public_key, first.public_key, 32);
	/* His own CA counts for nobody else; nobody who does not know the catalogue's judges. */
	assert_int_equal(find(n, view_of(&t.ca), NULL, &to, &refused), 0);
	assert_int_equal(to.version, 2);
	assert_int_equal(find(n, (struct et_view){ NULL, 0 }, NULL, &to, &refused), ET_EUNTRUSTED);
	assert_int_equal(refused, 0);
	record(n);

	/* The vault node makes another one, and all keys go to that. */
	RUN_UNTIL(c, kek_state(n, 3) == ET__KEK_STATE__KEK_ACTIVE);
	RUN_UNTIL(c, wraps(n, 3) == RECORDINGS + 1);
	assert_int_equal(wraps(n, 1), 0);
	assert_int_equal(wraps(n, 2), 0);
	RUN_UNTIL(c, (et_keeper_health(n->keeper, &h), h.rewrapped >= RECORDINGS + 1));
	assert_int_equal(h.rewrapped, RECORDINGS + 1); /* once each: never to his */
	assert_int_equal(find(n, bundle, &first, &to, &refused), 0);
	assert_int_equal(to.version, 3);
	assert_int_equal(refused, 0);
	thief_close(&t);
}

static uint32_t issues(struct node *n, Et__CaPhase *ret_phase)
{
	struct et_state_view *v = view(n);
	Et__Cluster *cluster = NULL;
	Et__CaRing *ring = NULL;

	assert_int_equal(et_state_get_cluster(v, &cluster), 0);
	assert_int_equal(et_state_get_ca_ring(v, &ring), 0);
	uint32_t number = et_state_ca_number(cluster, 0);
	*ret_phase = ring->phase;
	et__cluster__free_unpacked(cluster, NULL);
	et__ca_ring__free_unpacked(ring, NULL);
	(void)et_state_view_close(v);
	return number;
}

/* The number of the CA that has signed it. */
static uint32_t kek_of_ca(struct node *n, uint32_t version)
{
	Et__Kek *kek = kek_of(n, version);
	uint32_t ca = kek->ca;

	et__kek__free_unpacked(kek, NULL);
	return ca;
}

static bool is_signed(struct node *n, uint32_t version)
{
	Et__Kek *kek = kek_of(n, version);
	bool is = et_keeper_kek_verify(kek, view_of(&n->identity.ca), NULL) == 0;

	et__kek__free_unpacked(kek, NULL);
	return is;
}

/* Not even with a rotation of the CA, which signs all versions anew. */
static void another_ca_signs_what_the_one_before_had_signed(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	Et__CaRotate body = ET__CA_ROTATE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__CaPhase phase;
	struct thief t;

	thief_open(&t, 2);
	assert_int_equal(thief_adds(&t, n, 2, ET__KEK_STATE__KEK_ACTIVE), 0);
	RUN_UNTIL(c, kek_state(n, 3) == ET__KEK_STATE__KEK_ACTIVE);
	command.body_case = ET__COMMAND__BODY_CA_ROTATE;
	command.ca_rotate = &body;
	assert_int_equal(propose(n, &command).code, 0);
	RUN_UNTIL(c, issues(n, &phase) == 2);
	RUN_UNTIL(c, kek_of_ca(n, 3) == 2 && kek_of_ca(n, 1) == 2);
	assert_int_equal(kek_of_ca(n, 2), 0);
	assert_true(is_signed(n, 1) && is_signed(n, 3));
	assert_false(is_signed(n, 2));
	/* The rotation waits for his version to go. */
	at_once(n);
	et_keeper_set_drained(n->keeper, 3);
	RUN_UNTIL(c, kek_state(n, 2) == ET__KEK_STATE__KEK_DESTROYED);
	RUN_UNTIL(c, issues(n, &phase) == 2 && phase == ET__CA_PHASE__CA_SETTLED);
	assert_true(is_signed(n, 3));
	thief_close(&t);
}

/* A restart with an older catalogue, and one that was restored. */
static void what_was_promised_is_kept_in_its_epoch(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct et_view bundle = view_of(&n->identity.ca);
	struct et_keeper_sealing promised;
	struct et_keeper_sealing to;
	uint32_t refused = 7;

	assert_int_equal(find(n, bundle, NULL, &promised, NULL), 0);
	promised.version = 9;
	promised.public_key[0] ^= 1;
	assert_int_equal(find(n, bundle, &promised, &to, &refused), 0);
	assert_int_equal(to.version, 9);
	assert_int_equal(refused, 0);
	promised.epoch++;
	assert_int_equal(find(n, bundle, &promised, &to, &refused), 0);
	assert_int_equal(to.version, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, cluster_set_up, cluster_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_pending_version_that_no_ca_has_signed_is_destroyed),
		TEST(an_active_version_that_no_ca_has_signed_gets_no_key),
		TEST(another_ca_signs_what_the_one_before_had_signed),
		TEST(what_was_promised_is_kept_in_its_epoch),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
