/* The life of CAs: what each phase waits for, every ask in every phase, what changes with the CA
 * that issues, and what a stolen vault node costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/state_internal.h"
#include "raft/state/test/kit.h"

enum {
	SETTLED = ET__CA_PHASE__CA_SETTLED,
	WANTED = ET__CA_PHASE__CA_WANTED,
	TRUST = ET__CA_PHASE__CA_TRUST,
	ISSUE = ET__CA_PHASE__CA_ISSUE,
	PHASES = 4,
};

enum {
	START = ET__CA_ASK__CA_START,
	ABORT = ET__CA_ASK__CA_ABORT,
	FINISH = ET__CA_ASK__CA_FINISH,
};

static int ask(struct kit *k, int what)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__CaRotate r = ET__CA_ROTATE__INIT;
	static char reason[] = "a test";

	r.ask = (Et__CaAsk)what;
	c.reason = reason;
	c.body_case = ET__COMMAND__BODY_CA_ROTATE;
	c.ca_rotate = &r;
	return kit_apply(k, &c);
}

/* The step out of `expect`; a new CA is granted to the nodes 1 to `vaults`. */
static int step_to(struct kit *k, int expect, uint32_t number, uint64_t vaults, const char *secret)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__CaStep s = ET__CA_STEP__INIT;
	Et__Grant grant[3];
	Et__Grant *grants[3];
	char name[32];

	(void)snprintf(name, sizeof(name), "%s", secret);
	s.expect = (Et__CaPhase)expect;
	s.number = number;
	if (expect == WANTED) {
		s.certificate = kit_bytes(100, number);
		for (uint64_t i = 0; i < vaults; i++) {
			et__grant__init(&grant[i]);
			grant[i].secret = name;
			grant[i].node = i + 1;
			grant[i].enc = kit_hash(1);
			grant[i].ciphertext = kit_bytes(48, 1);
			grants[i] = &grant[i];
		}
		s.n_grants = vaults;
		s.grants = grants;
	}
	c.body_case = ET__COMMAND__BODY_CA_STEP;
	c.ca_step = &s;
	return kit_apply(k, &c);
}

static int step(struct kit *k, int expect, uint32_t number)
{
	char name[ET_STATE_CA_SECRET_SIZE];

	et_state_ca_secret(number, name);
	return step_to(k, expect, number, 2, name);
}

static int trusts(struct kit *k, uint64_t node, uint32_t number)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__CaReport r = ET__CA_REPORT__INIT;

	r.trusted = number;
	c.body_case = ET__COMMAND__BODY_CA_REPORT;
	c.ca_report = &r;
	return kit_apply_from(k, node, &c);
}

static int certificate(struct kit *k, uint64_t node, uint32_t ca)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__CertificateAdd add = ET__CERTIFICATE_ADD__INIT;
	Et__Certificate cert = ET__CERTIFICATE__INIT;
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Node *known = NULL;

	assert_int_equal(et_state_get_node(v, node, &known), 0);
	(void)et_state_view_close(v);
	cert.node = node;
	cert.ca = ca;
	cert.der = kit_bytes(50, node);
	cert.spki_hash = known->spki_hash;
	add.certificate = &cert;
	add.spki_hash = known->spki_hash;
	c.body_case = ET__COMMAND__BODY_CERTIFICATE_ADD;
	c.certificate_add = &add;
	int rc = kit_apply(k, &c);
	et__node__free_unpacked(known, NULL);
	return rc;
}

static int sign(struct kit *k, uint32_t number, uint32_t version)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__CaSign s = ET__CA_SIGN__INIT;
	Et__KekSignature signature = ET__KEK_SIGNATURE__INIT;
	Et__KekSignature *list[] = { &signature };

	signature.version = version;
	signature.signature = kit_bytes(70, number);
	s.number = number;
	s.n_keks = 1;
	s.keks = list;
	c.body_case = ET__COMMAND__BODY_CA_SIGN;
	c.ca_sign = &s;
	return kit_apply(k, &c);
}

static Et__CaRing *ring(struct kit *k)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__CaRing *r = NULL;

	assert_int_equal(et_state_get_ca_ring(v, &r), 0);
	(void)et_state_view_close(v);
	return r;
}

static void expect_phase(struct kit *k, int phase, uint32_t to)
{
	Et__CaRing *r = ring(k);

	assert_int_equal(r->phase, phase);
	assert_int_equal(r->to, to);
	et__ca_ring__free_unpacked(r, NULL);
}

/* The CAs that are trusted, the one that issues first; 0: none. Each certificate is its number's.
 */
static void expect_trusted(struct kit *k, uint32_t first, uint32_t second)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Cluster *c = NULL;

	assert_int_equal(et_state_get_cluster(v, &c), 0);
	assert_int_equal(et_state_ca_number(c, 0), first);
	assert_int_equal(et_state_ca_number(c, 1), second);
	assert_int_equal(c->n_ca_certs, second != 0 ? 2 : 1);
	for (size_t i = 0; i < c->n_ca_certs; i++) {
		ProtobufCBinaryData want = kit_bytes(100, et_state_ca_number(c, i));
		assert_int_equal(c->ca_certs[i].len, want.len);
		assert_memory_equal(c->ca_certs[i].data, want.data, want.len);
	}
	et__cluster__free_unpacked(c, NULL);
	(void)et_state_view_close(v);
}

static bool granted(struct kit *k, const char *secret, uint64_t node)
{
	struct et_state_view *v = et_state_view_open(k->s);
	bool is = et_state_has_grant(v, secret, node);

	(void)et_state_view_close(v);
	return is;
}

static int grant(struct kit *k, const char *secret, uint64_t node)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__GrantAdd add = ET__GRANT_ADD__INIT;
	Et__Grant g = ET__GRANT__INIT;
	Et__Grant *list[] = { &g };
	char name[32];

	(void)snprintf(name, sizeof(name), "%s", secret);
	g.secret = name;
	g.node = node;
	g.enc = kit_hash(1);
	g.ciphertext = kit_bytes(48, 1);
	add.n_grants = 1;
	add.grants = list;
	c.body_case = ET__COMMAND__BODY_GRANT_ADD;
	c.grant_add = &add;
	return kit_apply(k, &c);
}

static void cluster(struct kit *k)
{
	kit_cluster(k);
	assert_int_equal(grant(k, "ca", 1), 0);
	assert_int_equal(grant(k, "ca", 2), 0);
	assert_int_equal(grant(k, "kek:1", 2), 0);
}

/* A rotation to CA 2 is brought into `phase`. */
static void bring(struct kit *k, int phase)
{
	cluster(k);
	if (phase == SETTLED) {
		return;
	}
	assert_int_equal(ask(k, START), 0);
	if (phase == WANTED) {
		return;
	}
	assert_int_equal(step(k, WANTED, 2), 0);
	if (phase == TRUST) {
		return;
	}
	for (uint64_t node = 1; node <= 3; node++) {
		assert_int_equal(trusts(k, node, 2), 0);
	}
	assert_int_equal(step(k, TRUST, 2), 0);
}

static void a_rotation_waits_for_every_member(void **state)
{
	struct kit *k = *state;

	bring(k, WANTED);
	assert_int_equal(step_to(k, WANTED, 2, 2, "ca"), ET_EREFUSED);	 /* another's key */
	assert_int_equal(step_to(k, WANTED, 2, 0, "ca:2"), ET_EREFUSED); /* nobody would hold it */
	assert_int_equal(step_to(k, WANTED, 2, 1, "ca:2"), 0);
	expect_phase(k, TRUST, 2);
	expect_trusted(k, 1, 2);
	for (uint64_t node = 1; node <= 3; node++) {
		assert_int_equal(step(k, TRUST, 2), ET_EPOLICY);
		assert_int_equal(trusts(k, node, 3), ET_ESTALE); /* there is no such CA */
		assert_int_equal(trusts(k, node, 2), 0);
	}
	assert_int_equal(step(k, TRUST, 2), ET_EPOLICY); /* one vault node of three holds its key */
	assert_int_equal(grant(k, "ca:2", 2), 0);
	assert_int_equal(certificate(k, 1, 1), 0);
	assert_int_equal(step(k, TRUST, 2), 0);
	expect_phase(k, ISSUE, 2);
	expect_trusted(k, 2, 1);

	assert_int_equal(sign(k, 1, 1), ET_ESTALE); /* it issues no more */
	for (uint64_t node = 1; node <= 3; node++) {
		assert_int_equal(step(k, ISSUE, 2), ET_EPOLICY);
		assert_int_equal(certificate(k, node, 2), 0);
	}
	assert_int_equal(step(k, ISSUE, 2), ET_EPOLICY); /* the KEK is not signed by it */
	assert_int_equal(sign(k, 2, 9), ET_ENOTFOUND);
	assert_int_equal(sign(k, 2, 1), 0);
	assert_int_equal(step(k, ISSUE, 2), 0);
	expect_phase(k, SETTLED, 2);
	expect_trusted(k, 2, 0);
	assert_false(granted(k, "ca", 1));
	assert_true(granted(k, "ca:2", 1));
	assert_int_equal(certificate(k, 1, 1), ET_ESTALE); /* nothing of it comes in any more */
	assert_int_equal(grant(k, "ca", 1), ET_EREFUSED);
}

static void every_ask_in_every_phase(void **state)
{
	static const int want[3][PHASES] = {
		[START] = { 0, ET_EEXISTS, ET_EEXISTS, ET_EEXISTS },
		[ABORT] = { ET_ESTALE, 0, 0, 0 },
		[FINISH] = { ET_ESTALE, 0, 0, 0 },
	};

	(void)state;
	for (int what = START; what <= FINISH; what++) {
		for (int phase = SETTLED; phase < PHASES; phase++) {
			void *own = NULL;
			assert_int_equal(kit_set_up(&own), 0);
			bring(own, phase);
			assert_int_equal(ask(own, what), want[what][phase]);
			(void)kit_tear_down(&own);
		}
	}
}

static void a_step_out_of_another_phase_is_stale(void **state)
{
	(void)state;
	for (int phase = SETTLED; phase < PHASES; phase++) {
		void *own = NULL;
		assert_int_equal(kit_set_up(&own), 0);
		bring(own, phase);
		for (int expect = SETTLED; expect < PHASES; expect++) {
			if (expect != phase || phase == SETTLED) {
				assert_int_equal(step(own, expect, 2), ET_ESTALE);
			}
		}
		assert_int_equal(step(own, phase, 3), ET_ESTALE);
		(void)kit_tear_down(&own);
	}
}

static void an_abort_leaves_what_was(void **state)
{
	struct kit *k = *state;

	bring(k, TRUST);
	assert_int_equal(ask(k, ABORT), 0);
	expect_phase(k, SETTLED, 2);
	expect_trusted(k, 1, 0);
	assert_false(granted(k, "ca:2", 1));
	assert_true(granted(k, "ca", 1));
	assert_int_equal(trusts(k, 1, 2), ET_ESTALE);
	/* Another number, so that who trusted the first attempt's does not count. */
	assert_int_equal(ask(k, START), 0);
	assert_int_equal(k->result->number, 3);
}

static void an_abort_while_it_issues_goes_all_the_way_back(void **state)
{
	struct kit *k = *state;

	bring(k, ISSUE);
	assert_int_equal(certificate(k, 1, 2), 0);
	assert_int_equal(sign(k, 2, 1), 0);
	assert_int_equal(ask(k, ABORT), 0);
	expect_phase(k, ISSUE, 1);
	expect_trusted(k, 1, 2);
	assert_int_equal(ask(k, ABORT), ET_EEXISTS);
	assert_int_equal(step(k, ISSUE, 1), ET_EPOLICY);
	for (uint64_t node = 1; node <= 3; node++) {
		assert_int_equal(certificate(k, node, 1), 0);
	}
	assert_int_equal(step(k, ISSUE, 1), ET_EPOLICY); /* the KEK is signed by CA 2 */
	assert_int_equal(sign(k, 1, 1), 0);
	assert_int_equal(step(k, ISSUE, 1), 0);
	expect_phase(k, SETTLED, 1);
	expect_trusted(k, 1, 0);
	assert_false(granted(k, "ca:2", 1));
	assert_true(granted(k, "ca", 2));
}

static void finish_waits_for_nobody_but_for_the_keys(void **state)
{
	struct kit *k = *state;

	bring(k, TRUST);
	assert_int_equal(ask(k, FINISH), 0);
	assert_int_equal(step(k, TRUST, 2), 0);
	assert_int_equal(step(k, ISSUE, 2), ET_EPOLICY);
	assert_int_equal(sign(k, 2, 1), 0);
	assert_int_equal(step(k, ISSUE, 2), 0);
	expect_trusted(k, 2, 0);
}

static void join_tokens_and_escrow_go_with_the_ca_that_issues(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__KekEscrow e = ET__KEK_ESCROW__INIT;

	bring(k, TRUST);
	e.version = 1;
	e.threshold = 2;
	e.shares = 3;
	c.body_case = ET__COMMAND__BODY_KEK_ESCROW;
	c.kek_escrow = &e;
	assert_int_equal(kit_apply(k, &c), 0);
	for (int round = 0; round < 2; round++) {
		struct et_state_view *v = et_state_view_open(k->s);
		Et__Token *t = NULL;
		Et__Kek *kek = NULL;
		assert_int_equal(et_state_get_token(v, kit_id(900).data, &t), 0);
		assert_int_equal(et_state_get_kek(v, 1, &kek), 0);
		assert_int_equal(t->revoked, round == 1);
		assert_int_equal(kek->escrow_shares, round == 0 ? 3 : 0);
		et__token__free_unpacked(t, NULL);
		et__kek__free_unpacked(kek, NULL);
		(void)et_state_view_close(v);
		if (round == 0) {
			assert_int_equal(ask(k, FINISH), 0);
			assert_int_equal(step(k, TRUST, 2), 0);
		}
	}
	assert_int_equal(kit_node_join(k, 900, 4, 4), ET_EDENIED);
}

static int steal(struct kit *k, uint64_t node)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeRemove r = ET__NODE_REMOVE__INIT;
	static char reason[] = "stolen";

	r.node = node;
	r.revoked = true;
	r.loss_accepted = true;
	r.reason = reason;
	c.reason = reason;
	c.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	c.node_remove = &r;
	return kit_apply(k, &c);
}

static void expect_kek(struct kit *k, uint32_t version, int kek_state, bool compromised)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Kek *kek = NULL;

	assert_int_equal(et_state_get_kek(v, version, &kek), 0);
	assert_int_equal(kek->state, kek_state);
	assert_int_equal(kek->compromised, compromised);
	et__kek__free_unpacked(kek, NULL);
	(void)et_state_view_close(v);
}

static int kek_add(struct kit *k, uint32_t version, uint64_t node, int kek_state, uint32_t ca)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__KekAdd add = ET__KEK_ADD__INIT;
	Et__Kek kek = ET__KEK__INIT;
	Et__Grant g = ET__GRANT__INIT;
	Et__Grant *list[] = { &g };
	char name[32];

	(void)snprintf(name, sizeof(name), "kek:%u", version);
	kek.version = version;
	kek.public_key = kit_hash(version);
	kek.state = (Et__KekState)kek_state;
	kek.ca = ca;
	g.secret = name;
	g.node = node;
	g.enc = kit_hash(1);
	g.ciphertext = kit_bytes(48, 1);
	add.kek = &kek;
	add.n_grants = 1;
	add.grants = list;
	c.body_case = ET__COMMAND__BODY_KEK_ADD;
	c.kek_add = &add;
	return kit_apply(k, &c);
}

static void a_stolen_vault_costs_the_ca_and_what_it_could_open(void **state)
{
	struct kit *k = *state;
	struct et_state_view *v;
	Et__KeyRing *keys = NULL;

	bring(k, ISSUE); /* in the middle of a planned one: it held both keys */
	assert_int_equal(kek_add(k, 2, 1, ET__KEK_STATE__KEK_PENDING, 2), 0); /* not its to open */
	assert_int_equal(steal(k, 2), 0);
	expect_phase(k, WANTED, 3);
	expect_kek(k, 1, ET__KEK_STATE__KEK_ACTIVE, true);
	expect_kek(k, 2, ET__KEK_STATE__KEK_PENDING, false);
	v = et_state_view_open(k->s);
	assert_int_equal(et_state_get_key_ring(v, &keys), 0);
	assert_int_equal(keys->wanted, 3);
	et__key_ring__free_unpacked(keys, NULL);
	(void)et_state_view_close(v);

	assert_int_equal(ask(k, ABORT), ET_EPOLICY); /* there is no way back to it */
	assert_int_equal(step_to(k, WANTED, 3, 2, "ca:3"), ET_EREFUSED); /* none for the thief */
	assert_int_equal(step_to(k, WANTED, 3, 1, "ca:3"), 0);
	expect_phase(k, ISSUE, 3);
	expect_trusted(k, 3, 0); /* at once */
	assert_false(granted(k, "ca", 1));
	assert_false(granted(k, "ca:2", 1));
	assert_int_equal(certificate(k, 1, 2), ET_ESTALE);
	assert_int_equal(kit_node_join(k, 900, 4, 4), ET_EDENIED);

	assert_int_equal(grant(k, "ca:3", 3), 0);
	assert_int_equal(grant(k, "kek:2", 3), 0);
	assert_int_equal(certificate(k, 1, 3), 0);
	assert_int_equal(certificate(k, 3, 3), 0);
	assert_int_equal(sign(k, 3, 1), 0);
	assert_int_equal(sign(k, 3, 2), 0);
	assert_int_equal(step(k, ISSUE, 3), 0);
	expect_phase(k, SETTLED, 3);
	expect_trusted(k, 3, 0);

	/* What it could open is compromised when another version takes its place. */
	assert_int_equal(kek_add(k, 3, 1, ET__KEK_STATE__KEK_ACTIVE, 3), ET_EEXISTS);
	Et__Command c = ET__COMMAND__INIT;
	Et__KekSet set = ET__KEK_SET__INIT;
	set.version = 2;
	set.state = ET__KEK_STATE__KEK_ACTIVE;
	set.expect = ET__KEK_STATE__KEK_PENDING;
	c.body_case = ET__COMMAND__BODY_KEK_SET;
	c.kek_set = &set;
	assert_int_equal(kit_apply(k, &c), 0);
	expect_kek(k, 1, ET__KEK_STATE__KEK_COMPROMISED, true);
}

static void a_pending_version_that_a_thief_could_open_goes_at_once(void **state)
{
	struct kit *k = *state;

	cluster(k);
	assert_int_equal(kek_add(k, 2, 2, ET__KEK_STATE__KEK_PENDING, 0), 0);
	assert_int_equal(grant(k, "kek:2", 1), 0);
	assert_int_equal(steal(k, 2), 0);
	expect_kek(k, 2, ET__KEK_STATE__KEK_DESTROYED, true);
	assert_int_equal(kek_add(k, 3, 1, ET__KEK_STATE__KEK_PENDING, 0), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_rotation_waits_for_every_member),
		cmocka_unit_test(every_ask_in_every_phase),
		cmocka_unit_test(a_step_out_of_another_phase_is_stale),
		TEST(an_abort_leaves_what_was),
		TEST(an_abort_while_it_issues_goes_all_the_way_back),
		TEST(finish_waits_for_nobody_but_for_the_keys),
		TEST(join_tokens_and_escrow_go_with_the_ca_that_issues),
		TEST(a_stolen_vault_costs_the_ca_and_what_it_could_open),
		TEST(a_pending_version_that_a_thief_could_open_goes_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
