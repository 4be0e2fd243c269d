/* The life of KEK versions: every state against every command, what is counted, what destruction
 * waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/state_internal.h"
#include "raft/state/test/kit.h"

enum {
	PENDING = ET__KEK_STATE__KEK_PENDING,
	ACTIVE = ET__KEK_STATE__KEK_ACTIVE,
	DECRYPT_ONLY = ET__KEK_STATE__KEK_DECRYPT_ONLY,
	COMPROMISED = ET__KEK_STATE__KEK_COMPROMISED,
	SCHEDULED = ET__KEK_STATE__KEK_DESTROY_SCHEDULED,
	DESTROYED = ET__KEK_STATE__KEK_DESTROYED,
	STATES = 6,
};

#define DAY_US (INT64_C(86400) * 1000000)

static void grant_fill(Et__Grant *g, char *secret, uint64_t node, uint64_t seal)
{
	et__grant__init(g);
	g->secret = secret;
	g->node = node;
	g->enc = kit_hash(1);
	g->ciphertext = kit_bytes(48, 1);
	g->seal_public = kit_hash(seal);
}

static int kek_add(struct kit *k, uint32_t version, int kek_state)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__KekAdd add = ET__KEK_ADD__INIT;
	Et__Kek kek = ET__KEK__INIT;
	Et__Grant grant[2];
	Et__Grant *grants[] = { &grant[0], &grant[1] };
	char secret[32];

	(void)snprintf(secret, sizeof(secret), "kek:%u", version);
	kek.version = version;
	kek.public_key = kit_hash(version);
	kek.state = (Et__KekState)kek_state;
	kek.destroyed_us = 7; /* not its to say */
	grant_fill(&grant[0], secret, 1, 100 + version);
	grant_fill(&grant[1], secret, 2, 200 + version);
	add.kek = &kek;
	add.grants = grants;
	add.n_grants = 2;
	c.body_case = ET__COMMAND__BODY_KEK_ADD;
	c.kek_add = &add;
	return kit_apply(k, &c);
}

static int grant_add(struct kit *k, const char *secret, uint64_t node, uint64_t seal)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__GrantAdd add = ET__GRANT_ADD__INIT;
	Et__Grant grant;
	Et__Grant *grants[] = { &grant };
	char text[64];

	(void)snprintf(text, sizeof(text), "%s", secret);
	grant_fill(&grant, text, node, seal);
	add.grants = grants;
	add.n_grants = 1;
	c.body_case = ET__COMMAND__BODY_GRANT_ADD;
	c.grant_add = &add;
	return kit_apply(k, &c);
}

static int kek_set(struct kit *k, uint32_t version, int to, int expect)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__KekSet set = ET__KEK_SET__INIT;
	static char reason[] = "a test";

	set.version = version;
	set.state = (Et__KekState)to;
	set.expect = (Et__KekState)expect;
	c.reason = reason;
	c.body_case = ET__COMMAND__BODY_KEK_SET;
	c.kek_set = &set;
	return kit_apply(k, &c);
}

static int report(struct kit *k, uint64_t node, uint32_t drained)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__KekReport r = ET__KEK_REPORT__INIT;

	r.drained = drained;
	c.body_case = ET__COMMAND__BODY_KEK_REPORT;
	c.kek_report = &r;
	return kit_apply_from(k, node, &c);
}

static int schedule(struct kit *k, int64_t rotate_us, int64_t destroy_after_us, uint32_t rate)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__KeySchedule s = ET__KEY_SCHEDULE__INIT;

	s.rotate_us = rotate_us;
	s.destroy_after_us = destroy_after_us;
	s.rewrap_rate = rate;
	c.body_case = ET__COMMAND__BODY_KEY_SCHEDULE;
	c.key_schedule = &s;
	return kit_apply(k, &c);
}

static int rotate(struct kit *k, uint32_t expect)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__KekRotate r = ET__KEK_ROTATE__INIT;

	r.expect_newest = expect;
	c.body_case = ET__COMMAND__BODY_KEK_ROTATE;
	c.kek_rotate = &r;
	return kit_apply(k, &c);
}

/* The wrap that kit_segment_open() made. */
static void wrap_of(Et__Wrap *w, uint64_t recording, uint32_t segment)
{
	et__wrap__init(w);
	w->dek = recording * 100 + segment;
	w->kek_version = 1;
	w->enc = kit_hash(recording);
	w->ciphertext = kit_bytes(48, recording);
}

struct rewrap {
	uint64_t recording;
	uint32_t from, to;
	uint64_t dek; /* 0: the right one */
	bool wrong_hash;
	uint32_t wrap_version; /* 0: `to` */
};

static int rewrap(struct kit *k, const struct rewrap *how)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__KekRewrap body = ET__KEK_REWRAP__INIT;
	Et__Rewrap item = ET__REWRAP__INIT;
	Et__Rewrap *items[] = { &item };
	Et__Wrap old;
	Et__Wrap new;
	uint8_t hash[32];

	wrap_of(&old, how->recording, 1);
	if (how->from > 1) {
		old.enc = kit_hash(how->recording + 50 * (how->from - 1));
		old.ciphertext = kit_bytes(48, how->recording + 50 * (how->from - 1));
		old.kek_version = how->from;
	}
	et_state_wrap_hash(&old, hash);
	hash[5] ^= how->wrong_hash ? 1 : 0;
	new = old;
	new.dek = how->dek != 0 ? how->dek : old.dek;
	new.kek_version = how->wrap_version != 0 ? how->wrap_version : how->to;
	new.enc = kit_hash(how->recording + 50 * (how->to - 1));
	new.ciphertext = kit_bytes(48, how->recording + 50 * (how->to - 1));
	item.recording = kit_id(how->recording);
	item.generation = 1;
	item.segment = 1;
	item.old_hash = (ProtobufCBinaryData){ 32, hash };
	item.wrap = &new;
	body.from = how->from;
	body.to = how->to;
	body.items = items;
	body.n_items = 1;
	c.body_case = ET__COMMAND__BODY_KEK_REWRAP;
	c.kek_rewrap = &body;
	return kit_apply(k, &c);
}

static Et__Kek *kek_get(struct kit *k, uint32_t version)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Kek *kek = NULL;

	assert_int_equal(et_state_get_kek(v, version, &kek), 0);
	(void)et_state_view_close(v);
	return kek;
}

static int kek_state(struct kit *k, uint32_t version)
{
	Et__Kek *kek = kek_get(k, version);
	int kek_state = (int)kek->state;

	et__kek__free_unpacked(kek, NULL);
	return kek_state;
}

static uint64_t wraps(struct kit *k, uint32_t version)
{
	struct et_state_view *v = et_state_view_open(k->s);
	uint64_t count = 0;

	assert_int_equal(et_state_wraps(v, version, &count), 0);
	(void)et_state_view_close(v);
	return count;
}

/* Nodes 1 to 3, KEK 1 granted to 1 and 2 by keys of their own, and nobody has a journal of it. */
static void cluster(struct kit *k)
{
	kit_cluster(k);
	assert_int_equal(grant_add(k, "kek:1", 1, 101), 0);
	assert_int_equal(grant_add(k, "kek:1", 2, 201), 0);
	assert_int_equal(schedule(k, 0, -1, 0), 0);
}

static void all_report(struct kit *k, uint32_t drained)
{
	for (uint64_t node = 1; node <= 3; node++) {
		assert_int_equal(report(k, node, drained), 0);
	}
}

/* Version 2 is brought into `from`; version 3, if it is there, is the active one. */
static void bring(struct kit *k, int from)
{
	cluster(k);
	assert_int_equal(kek_add(k, 2, PENDING), 0);
	if (from == PENDING) {
		return;
	}
	assert_int_equal(kek_set(k, 2, ACTIVE, PENDING), 0);
	if (from == ACTIVE) {
		return;
	}
	assert_int_equal(kek_add(k, 3, ACTIVE), 0);
	all_report(k, 3);
	if (from == DECRYPT_ONLY) {
		return;
	}
	if (from == COMPROMISED) {
		assert_int_equal(kek_set(k, 2, COMPROMISED, DECRYPT_ONLY), 0);
		return;
	}
	assert_int_equal(kek_set(k, 2, SCHEDULED, DECRYPT_ONLY), 0);
	if (from == DESTROYED) {
		assert_int_equal(kek_set(k, 2, DESTROYED, SCHEDULED), 0);
	}
}

/* from row, to column: is it a legal move? */
static const bool legal[STATES][STATES] = {
	[PENDING] = { [PENDING] = true, [ACTIVE] = true, [DESTROYED] = true },
	[ACTIVE] = { [ACTIVE] = true },
	[DECRYPT_ONLY] = { [DECRYPT_ONLY] = true, [COMPROMISED] = true, [SCHEDULED] = true },
	[COMPROMISED] = { [COMPROMISED] = true, [SCHEDULED] = true },
	[SCHEDULED] = { [DECRYPT_ONLY] = true,
			[COMPROMISED] = true,
			[SCHEDULED] = true,
			[DESTROYED] = true },
	[DESTROYED] = { [DESTROYED] = true },
};

static void move_check(struct kit *k, int from, int to)
{
	int code = kek_set(k, 2, to, from);

	if (legal[from][to] != (code == 0)) {
		fail_msg("%s to %s: %d %s", et_state_kek_state(from), et_state_kek_state(to), code,
			 k->result->text);
	}
	assert_int_equal(code == 0 || code == ET_EREFUSED, 1);
	assert_int_equal(kek_state(k, 2), code == 0 ? to : from);
	/* Who saw another state is told so. */
	if (code == ET_EREFUSED) {
		assert_int_equal(kek_set(k, 2, to, (from + 1) % STATES), ET_ESTALE);
	}
}

static void every_state_allows_its_moves_and_no_other(void **state)
{
	(void)state;
	for (int from = 0; from < STATES; from++) {
		void *fresh = NULL;
		for (int to = 0; to < STATES; to++) {
			if (fresh == NULL) {
				assert_int_equal(kit_set_up(&fresh), 0);
				bring(fresh, from);
				assert_int_equal(kek_state(fresh, 2), from);
			}
			move_check(fresh, from, to);
			if (legal[from][to] && from != to) { /* it is another state now */
				assert_int_equal(kit_tear_down(&fresh), 0);
				fresh = NULL;
			}
		}
		assert_true(fresh == NULL || kit_tear_down(&fresh) == 0);
	}
}

static int grants_each(void *arg, const Et__Grant *g)
{
	*(unsigned *)arg += strcmp(g->secret, "kek:2") == 0;
	return 0;
}

static void a_destroyed_version_leaves_no_grant_and_takes_nothing(void **state)
{
	struct kit *k = *state;
	unsigned grants = 0;

	bring(k, DESTROYED);
	struct et_state_view *v = et_state_view_open(k->s);
	assert_int_equal(et_state_each_grant(v, grants_each, &grants), 0);
	(void)et_state_view_close(v);
	assert_int_equal(grants, 0);
	assert_int_equal(grant_add(k, "kek:2", 1, 500), ET_EREFUSED);
	Et__Kek *kek = kek_get(k, 2);
	assert_true(kek->destroyed_us > 7);
	assert_string_equal(kek->reason, "a test");
	et__kek__free_unpacked(kek, NULL);

	/* Version 1 goes, too; a late open of it is told what became of it. */
	assert_int_equal(kek_set(k, 1, SCHEDULED, DECRYPT_ONLY), 0);
	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), 0);
	assert_int_equal(kit_segment_open(k, 2, 70, 1), ET_EREFUSED);
	assert_non_null(strstr(k->result->text, "destroyed"));
	assert_int_equal(wraps(k, 1), 0);
}

static void one_rotation_at_a_time(void **state)
{
	struct kit *k = *state;

	cluster(k);
	assert_int_equal(rotate(k, 7), ET_ESTALE);
	assert_int_equal(rotate(k, 1), 0);
	assert_int_equal(k->result->number, 2);
	assert_int_equal(rotate(k, 0), ET_EEXISTS);
	assert_int_equal(kek_add(k, 2, PENDING), 0);
	assert_int_equal(rotate(k, 0), ET_EEXISTS);
	assert_int_equal(kek_set(k, 2, ACTIVE, PENDING), 0);
	assert_int_equal(kek_state(k, 1), DECRYPT_ONLY);
	assert_int_equal(rotate(k, 2), 0); /* the wish is fulfilled, another may come */
	assert_int_equal(kek_add(k, 3, PENDING), 0);
	assert_int_equal(kek_set(k, 3, DESTROYED, PENDING), 0); /* given up */
	assert_int_equal(kek_state(k, 2), ACTIVE);
	assert_int_equal(rotate(k, 3), 0);
	assert_int_equal(k->result->number, 4); /* a number is never used twice */
}

static void a_version_that_one_of_several_vaults_holds_is_not_activated(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__KekAdd add = ET__KEK_ADD__INIT;
	Et__Kek kek = ET__KEK__INIT;

	cluster(k);
	kek.version = 2;
	kek.public_key = kit_hash(2);
	add.kek = &kek;
	c.body_case = ET__COMMAND__BODY_KEK_ADD;
	c.kek_add = &add;
	assert_int_equal(kit_apply(k, &c), 0);
	assert_int_equal(kek_set(k, 2, ACTIVE, PENDING), ET_EPOLICY);
	assert_int_equal(grant_add(k, "kek:2", 1, 102), 0);
	assert_int_equal(kek_set(k, 2, ACTIVE, PENDING), ET_EPOLICY);
	assert_int_equal(kek_state(k, 1), ACTIVE);
	assert_int_equal(grant_add(k, "kek:2", 3, 302), 0);
	assert_int_equal(kek_set(k, 2, ACTIVE, PENDING), 0);
}

/* A recording that ended, with one sealed segment. */
static void recording(struct kit *k, uint64_t id)
{
	Et__Recording r = ET__RECORDING__INIT;

	kit_sealed_segment(k, id);
	r.id = kit_id(id);
	r.state = ET__RECORDING_STATE__SEALED;
	r.end_us = 1700000001000000;
	assert_int_equal(kit_tell_recording(k, 2, KIT_CLOSE, &r), 0);
}

static void wraps_are_counted_exactly(void **state)
{
	struct kit *k = *state;

	cluster(k);
	for (uint64_t id = 10; id < 15; id++) {
		recording(k, id);
	}
	assert_int_equal(wraps(k, 1), 5);
	kit_sealed_segment(k, 10); /* told again */
	assert_int_equal(wraps(k, 1), 5);
	assert_int_equal(kek_add(k, 2, ACTIVE), 0);
	assert_int_equal(rewrap(k, &(struct rewrap){ .recording = 11, .from = 1, .to = 2 }), 0);
	assert_int_equal(k->result->number, 1);
	assert_int_equal(wraps(k, 1), 4);
	assert_int_equal(wraps(k, 2), 1);
	assert_int_equal(wraps(k, 9), 0);
	Et__Kek *kek = kek_get(k, 1);
	assert_int_equal(kek->rewrap_total, 5);
	assert_int_equal(kek->rewrap_node, 1);
	et__kek__free_unpacked(kek, NULL);

	/* They are the same after a start, also when an older build wrote the database last. */
	k->s = et_state_close(k->s);
	k->s = kit_open(k->db);
	assert_int_equal(wraps(k, 1), 4);
	struct et_state *s = k->s;
	char *error = NULL;
	rocksdb_put_cf(s->database->db, s->write_options, s->database->cf[CF_META], "wraps", 5,
		       "\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\7", 20, &error);
	assert_null(error);
	k->s = et_state_close(k->s);
	k->s = kit_open(k->db);
	assert_int_equal(wraps(k, 1), 4);
	assert_int_equal(wraps(k, 2), 1);
	assert_int_equal(rewrap(k, &(struct rewrap){ .recording = 12, .from = 1, .to = 2 }), 0);
	assert_int_equal(wraps(k, 1), 3);
}

static void rewrap_is_compare_and_set(void **state)
{
	struct kit *k = *state;

	cluster(k);
	for (uint64_t id = 10; id < 15; id++) {
		recording(k, id);
	}
	const struct rewrap good = { .recording = 10, .from = 1, .to = 2 };
	struct rewrap r = good;
	assert_int_equal(rewrap(k, &r), ET_ENOTFOUND); /* there is no version 2 */
	assert_int_equal(kek_add(k, 2, PENDING), 0);
	assert_int_equal(rewrap(k, &r), ET_ESTALE); /* nothing is sealed to it yet */
	assert_int_equal(kek_set(k, 2, ACTIVE, PENDING), 0);
	r.wrong_hash = true;
	assert_int_equal(rewrap(k, &r), ET_ESTALE);
	r = good;
	r.dek = 77;
	assert_int_equal(rewrap(k, &r), ET_ESTALE);
	r = good;
	r.wrap_version = 1;
	assert_int_equal(rewrap(k, &r), ET_EREFUSED);
	r = good;
	r.recording = 99;
	assert_int_equal(rewrap(k, &r), ET_ENOTFOUND);
	assert_int_equal(wraps(k, 1), 5);
	assert_int_equal(rewrap(k, &good), 0);
	assert_int_equal(rewrap(k, &good), ET_ESTALE); /* it is done */
	/* A tombstone wins, whenever it comes. */
	assert_int_equal(kit_erase(k, 11), 0);
	r = good;
	r.recording = 11;
	assert_int_equal(rewrap(k, &r), ET_EREFUSED);
	assert_int_equal(kit_erase(k, 10), 0);
	assert_int_equal(wraps(k, 2), 0);
	assert_int_equal(wraps(k, 1), 3);
	/* Rewrapping hides nothing of a compromised version. */
	assert_int_equal(kek_set(k, 1, COMPROMISED, DECRYPT_ONLY), 0);
	r.recording = 12;
	assert_int_equal(rewrap(k, &r), ET_EREFUSED);
	assert_non_null(strstr(k->result->text, "compromised"));
	assert_int_equal(kek_set(k, 1, SCHEDULED, COMPROMISED), ET_EPOLICY);
}

static void an_open_that_comes_late_changes_no_wrap(void **state)
{
	struct kit *k = *state;

	cluster(k);
	kit_sealed_segment(k, 10);
	assert_int_equal(kek_add(k, 2, ACTIVE), 0);
	assert_int_equal(rewrap(k, &(struct rewrap){ .recording = 10, .from = 1, .to = 2 }), 0);
	assert_int_equal(kit_segment_open(k, 2, 10, 1), 0); /* from its journal, again */
	assert_int_equal(wraps(k, 1), 0);
	assert_int_equal(wraps(k, 2), 1);
	/* A new segment that was sealed to the old version while it was cut off is welcome. */
	assert_int_equal(kek_set(k, 1, SCHEDULED, DECRYPT_ONLY), 0);
	assert_int_equal(kit_segment_open(k, 2, 10, 2), 0);
	assert_int_equal(wraps(k, 1), 1);
	all_report(k, 2);
	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), ET_EPOLICY);
}

static void destruction_waits_for_everything(void **state)
{
	struct kit *k = *state;

	cluster(k);
	kit_sealed_segment(k, 10);
	assert_int_equal(schedule(k, 0, DAY_US, 0), 0);
	assert_int_equal(kek_add(k, 2, ACTIVE), 0);
	assert_int_equal(kek_set(k, 1, SCHEDULED, DECRYPT_ONLY), ET_EPOLICY);
	assert_int_equal(rewrap(k, &(struct rewrap){ .recording = 10, .from = 1, .to = 2 }), 0);
	assert_int_equal(kek_set(k, 1, SCHEDULED, DECRYPT_ONLY), 0);

	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), ET_EPOLICY);
	assert_non_null(strstr(k->result->text, "time"));
	for (int i = 0; i <= 300; i++) { /* cluster time goes on by five minutes at most */
		(void)kit_tick(k, 1700000000000000 + i * INT64_C(300000000));
	}
	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), ET_EPOLICY);
	assert_non_null(strstr(k->result->text, "node 1 has not said"));
	assert_int_equal(report(k, 1, 3), ET_EREFUSED); /* there is no version 3 */
	assert_int_equal(report(k, 1, 2), 0);
	assert_int_equal(report(k, 3, 2), 0);
	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), ET_EPOLICY);
	assert_non_null(strstr(k->result->text, "node 2"));
	assert_int_equal(report(k, 2, 2), 0);
	assert_int_equal(report(k, 2, 1), 0); /* what was said is not unsaid */

	/* The key of node 2's grant opens the CA, too: wiping it would cost that. */
	assert_int_equal(grant_add(k, "ca", 2, 201), 0);
	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), ET_EPOLICY);
	assert_non_null(strstr(k->result->text, "other grants"));
	assert_int_equal(grant_add(k, "ca", 2, 202), 0);
	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), 0);
	assert_int_equal(kek_state(k, 1), DESTROYED);
}

static void a_removed_node_is_not_waited_for_and_holds_nothing(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeRemove body = ET__NODE_REMOVE__INIT;

	cluster(k);
	assert_int_equal(kek_add(k, 2, ACTIVE), 0);
	assert_int_equal(report(k, 1, 2), 0);
	assert_int_equal(report(k, 3, 2), 0);
	assert_int_equal(kek_set(k, 1, SCHEDULED, DECRYPT_ONLY), 0);
	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), ET_EPOLICY);
	body.node = 2;
	body.loss_accepted = body.force = true;
	c.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	c.node_remove = &body;
	assert_int_equal(kit_apply(k, &c), 0);
	struct et_state_view *v = et_state_view_open(k->s);
	assert_false(et_state_has_grant(v, "kek:2", 2));
	assert_false(et_state_has_grant(v, "kek:1", 2));
	assert_true(et_state_has_grant(v, "kek:2", 1));
	(void)et_state_view_close(v);
	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), 0);
}

/* It hears nothing of a newer version: a recorder that it has goes on with the old one. */
static void a_spare_that_records_is_waited_for(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeDrain drain = ET__NODE_DRAIN__INIT;
	char words[2][8] = { "spare", "capture" };
	char *spare[] = { words[0] };
	char *capture[] = { words[1] };

	cluster(k);
	drain.node = 3;
	drain.draining = drain.stop_capture = true;
	c.body_case = ET__COMMAND__BODY_NODE_DRAIN;
	c.node_drain = &drain;
	assert_int_equal(kit_apply(k, &c), 0);
	Et__NodeRoles roles = ET__NODE_ROLES__INIT;
	roles.node = 3;
	roles.add = spare;
	roles.n_add = 1;
	roles.seen_index = k->index;
	c.body_case = ET__COMMAND__BODY_NODE_ROLES;
	c.node_roles = &roles;
	assert_int_equal(kit_apply(k, &c), 0);
	assert_int_equal(kek_add(k, 2, ACTIVE), 0);
	assert_int_equal(report(k, 1, 2), 0);
	assert_int_equal(report(k, 2, 2), 0);
	assert_int_equal(kek_set(k, 1, SCHEDULED, DECRYPT_ONLY), 0);
	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), ET_EPOLICY);
	assert_non_null(strstr(k->result->text, "node 3 has not said"));

	roles.n_add = 0;
	roles.remove = capture;
	roles.n_remove = 1;
	assert_int_equal(kit_apply(k, &c), 0);
	assert_int_equal(kek_set(k, 1, DESTROYED, SCHEDULED), 0);
}

/* What a node has said of a version holds for all that become active later: an earlier one must not
 * be among them. */
static void versions_become_active_in_their_order(void **state)
{
	struct kit *k = *state;

	cluster(k);
	assert_int_equal(kek_add(k, 2, PENDING), 0);
	assert_int_equal(kek_add(k, 3, ACTIVE), ET_EEXISTS);
	assert_int_equal(kek_add(k, 3, PENDING), ET_EEXISTS);
	assert_int_equal(kek_set(k, 2, DESTROYED, PENDING), 0);
	assert_int_equal(kek_add(k, 3, ACTIVE), 0);
	assert_int_equal(kek_state(k, 1), DECRYPT_ONLY);
}

static void escrow_and_schedule_are_checked(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__KekEscrow e = ET__KEK_ESCROW__INIT;
	Et__KeyRing *ring = NULL;

	cluster(k);
	c.body_case = ET__COMMAND__BODY_KEK_ESCROW;
	c.kek_escrow = &e;
	e.version = 1;
	e.threshold = 3;
	e.shares = 2;
	assert_int_equal(kit_apply(k, &c), ET_EREFUSED);
	e.shares = 5;
	assert_int_equal(kit_apply(k, &c), 0);
	e.version = 4;
	assert_int_equal(kit_apply(k, &c), ET_ENOTFOUND);
	Et__Kek *kek = kek_get(k, 1);
	assert_int_equal(kek->escrow_threshold, 3);
	assert_true(kek->escrow_us > 0);
	et__kek__free_unpacked(kek, NULL);

	assert_int_equal(schedule(k, 999, 0, 0), ET_EREFUSED);
	assert_int_equal(schedule(k, 5 * DAY_US, 0, 0), 0);
	assert_int_equal(schedule(k, 0, 0, 50), 0);
	struct et_state_view *v = et_state_view_open(k->s);
	assert_int_equal(et_state_get_key_ring(v, &ring), 0);
	(void)et_state_view_close(v);
	assert_int_equal(et_state_rotate_us(ring), 5 * DAY_US);
	assert_int_equal(et_state_destroy_after_us(ring), 0);
	assert_int_equal(et_state_rewrap_rate(ring), 50);
	et__key_ring__free_unpacked(ring, NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_allows_its_moves_and_no_other),
		TEST(a_destroyed_version_leaves_no_grant_and_takes_nothing),
		TEST(one_rotation_at_a_time),
		TEST(a_version_that_one_of_several_vaults_holds_is_not_activated),
		TEST(wraps_are_counted_exactly),
		TEST(rewrap_is_compare_and_set),
		TEST(an_open_that_comes_late_changes_no_wrap),
		TEST(destruction_waits_for_everything),
		TEST(a_removed_node_is_not_waited_for_and_holds_nothing),
		TEST(a_spare_that_records_is_waited_for),
		TEST(versions_become_active_in_their_order),
		TEST(escrow_and_schedule_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
