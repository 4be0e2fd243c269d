#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/crypto/sign.h"
#include "node/keeper/test/fixture.h"

#define HOUR_US (3600LL * 1000000)

/* ---- Recordings of a node, with their keys ---- */

struct recording {
	uint8_t id[16];
	struct et_secret *dek;
	char file[64];
};

static void recording_open(struct node *n, struct recording *r)
{
	Et__Kek *kek = NULL;
	Et__RecordingOpen open = ET__RECORDING_OPEN__INIT;
	Et__Recording recording = ET__RECORDING__INIT;
	Et__SegmentOpen segment_open = ET__SEGMENT_OPEN__INIT;
	Et__Segment segment = ET__SEGMENT__INIT;
	Et__Wrap wrap = ET__WRAP__INIT;
	Et__Command command = ET__COMMAND__INIT;
	uint8_t enc[ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_DEK_WRAPPED_SIZE];
	char site[] = "prg";

	et_uuid7(r->id);
	assert_int_equal(et_secret_random(32, &r->dek, NULL), 0);
	struct et_state_view *v = et_state_view_open(et_catalog_state(n->catalog));
	assert_int_equal(et_state_get_kek(v, 1, &kek), 0);
	(void)et_state_view_close(v);
	assert_int_equal(et_keeper_kek_verify(kek, view_of(&n->identity.ca), NULL), 0);
	assert_int_equal(
		et_dek_wrap(kek->public_key.data, 1, r->id, 7, r->dek, enc, ciphertext, NULL), 0);
	et__kek__free_unpacked(kek, NULL);

	recording.id = (ProtobufCBinaryData){ 16, r->id };
	recording.call = recording.id;
	recording.node = n->identity.node;
	recording.site = site;
	recording.start_us = et_clock_now_us();
	open.recording = &recording;
	command.body_case = ET__COMMAND__BODY_RECORDING_OPEN;
	command.recording_open = &open;
	assert_int_equal(propose(n, &command).code, 0);

	(void)snprintf(r->file, sizeof(r->file), "tape-%02x%02x.evtm", r->id[14], r->id[15]);
	wrap.dek = 7;
	wrap.kek_version = 1;
	wrap.enc = (ProtobufCBinaryData){ sizeof(enc), enc };
	wrap.ciphertext = (ProtobufCBinaryData){ sizeof(ciphertext), ciphertext };
	segment.recording = recording.id;
	segment.generation = 1;
	segment.segment = 1;
	segment.node = n->identity.node;
	segment.wrap = &wrap;
	segment.file = r->file;
	segment_open.segment = &segment;
	command.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	command.segment_open = &segment_open;
	struct outcome o = propose(n, &command);
	if (o.code < 0) {
		fail_msg("%s", o.text);
	}
}

/* A committed audit event about the recording; returns its number. */
static uint64_t audit(struct node *n, const char *action, const uint8_t recording[16])
{
	Et__AuditAdd add = ET__AUDIT_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	char target[ET_UUID_TEXT_SIZE];
	char text[64];

	et_uuid_format(recording, target);
	(void)snprintf(text, sizeof(text), "%s", action);
	add.action = text;
	add.target = target;
	command.body_case = ET__COMMAND__BODY_AUDIT_ADD;
	command.audit_add = &add;
	struct outcome o = propose(n, &command);
	assert_int_equal(o.code, 0);
	assert_true(o.number > 0);
	return o.number;
}

static void on_dek(void *arg, int code, const struct et_secret *dek, const struct et_error *why)
{
	struct outcome *o = arg;

	o->done = true;
	o->code = code;
	assert_true((code == 0) == (dek != NULL));
	if (dek != NULL) {
		o->dek = et_secret_copy(et_secret_bytes(dek), et_secret_size(dek));
	}
	(void)snprintf(o->text, sizeof(o->text), "%s", code < 0 ? why->text : "");
}

static int open_dek(struct node *n, const uint8_t recording[16], uint64_t event,
		    const struct et_secret *expected)
{
	struct outcome o = { 0 };

	et_keeper_open_dek(n->keeper, recording, 1, 1, event, on_dek, &o);
	assert_false(o.done);
	RUN_UNTIL(n->c, o.done);
	assert_true(o.code < 0 || et_secret_equal(o.dek, expected));
	(void)et_secret_free(o.dek);
	return o.code;
}

static void a_vault_node_opens_what_an_audit_event_names(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct recording r;
	struct recording other;

	recording_open(n, &r);
	recording_open(n, &other);
	uint64_t event = audit(n, "recording.play", r.id);
	assert_int_equal(open_dek(n, r.id, event, r.dek), 0);
	assert_int_equal(open_dek(n, r.id, event, r.dek), 0); /* Other segments follow it. */
	assert_int_equal(open_dek(n, other.id, event, other.dek), ET_EDENIED);
	assert_int_equal(open_dek(n, r.id, 0, r.dek), ET_EDENIED);
	assert_int_equal(open_dek(n, r.id, event + 100, r.dek), ET_EDENIED);
	assert_int_equal(open_dek(n, r.id, audit(n, "recording.tag", r.id), r.dek), ET_EDENIED);
	uint8_t unknown[16] = { 1 };
	event = audit(n, "recording.export", unknown);
	assert_int_equal(open_dek(n, unknown, event, NULL), ET_ENOTFOUND);
	struct et_keeper_health h;
	et_keeper_health(n->keeper, &h);
	assert_int_equal(h.deks_opened, 2);
	assert_int_equal(h.deks_refused, 5);
	(void)et_secret_free(r.dek);
	(void)et_secret_free(other.dek);
}

static void a_capture_node_asks_a_vault_node(void **state)
{
	struct cluster *c = *state;
	struct recording r;

	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE);
	struct node *n = &c->nodes[1];
	recording_open(n, &r);
	uint64_t event = audit(n, "recording.play", r.id);
	assert_int_equal(open_dek(n, r.id, event, r.dek), 0);

	/* Only with an event of its own. */
	uint64_t foreign = audit(&c->nodes[0], "recording.play", r.id);
	RUN_UNTIL(c, applied(n) >= applied(&c->nodes[0]));
	assert_int_equal(open_dek(n, r.id, foreign, r.dek), ET_EDENIED);
	struct et_keeper_health h;
	et_keeper_health(c->nodes[0].keeper, &h);
	assert_int_equal(h.deks_opened, 1);
	(void)et_secret_free(r.dek);
}

struct forged {
	struct node *n;
	struct outcome o;
};

static void on_forged(void *arg, int code, struct et_view body)
{
	struct forged *f = arg;

	(void)body;
	f->o.done = true;
	f->o.code = code;
}

/* What a node says about itself is not believed by the vault node. */
static void a_vault_node_checks_the_event_itself(void **state)
{
	struct cluster *c = *state;
	struct recording r;
	uint8_t request[33] = { 1 };

	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE);
	struct node *n = &c->nodes[1];
	recording_open(n, &r);
	uint64_t own = audit(n, "recording.play", r.id);
	uint64_t foreign = audit(&c->nodes[0], "recording.play", r.id);
	const struct {
		uint64_t event;
		int code;
	} cases[] = { { own, 0 }, { foreign, ET_EDENIED }, { 0, ET_EDENIED }, { 999, ET_EDENIED } };
	memcpy(request + 1, r.id, 16);
	et_put32(request + 17, 1);
	et_put32(request + 21, 1);
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		struct forged f = { .n = n };
		et_put64(request + 25, cases[i].event);
		et_rpc_call(n->tls, 1, c->nodes[0].address, ET_RPC_OPEN_DEK, request,
			    sizeof(request), 20000, on_forged, &f);
		RUN_UNTIL(c, f.o.done);
		assert_int_equal(f.o.code, cases[i].code);
	}
	struct forged f = { .n = n };
	et_rpc_call(n->tls, 1, c->nodes[0].address, ET_RPC_OPEN_DEK, request, sizeof(request) - 1,
		    20000, on_forged, &f);
	RUN_UNTIL(c, f.o.done);
	assert_int_equal(f.o.code, ET_EMALFORMED);
	(void)et_secret_free(r.dek);
}

static void a_vault_that_joins_gets_its_grants(void **state)
{
	struct cluster *c = *state;
	struct recording r;
	struct et_keeper_health h;

	et_keeper_health(c->nodes[0].keeper, &h);
	assert_true(h.vault_single);
	assert_true(h.root_on_disk);
	recording_open(&c->nodes[0], &r);
	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE | ET_ROLE_VAULT);
	uint64_t event = audit(&c->nodes[1], "recording.play", r.id);
	assert_int_equal(open_dek(&c->nodes[1], r.id, event, r.dek), 0);
	et_keeper_health(c->nodes[1].keeper, &h);
	assert_int_equal(h.deks_opened, 1); /* By itself. */
	assert_false(h.vault_without_grant);
	et_keeper_health(c->nodes[0].keeper, &h);
	assert_int_equal(h.deks_opened, 0);
	assert_false(h.vault_single);
	(void)et_secret_free(r.dek);
}

static void roles_add(struct cluster *c, uint64_t node, char *role)
{
	Et__NodeRoles roles = ET__NODE_ROLES__INIT;
	Et__Command command = ET__COMMAND__INIT;

	roles.node = node;
	roles.n_add = 1;
	roles.add = &role;
	command.body_case = ET__COMMAND__BODY_NODE_ROLES;
	command.node_roles = &roles;
	assert_int_equal(propose(&c->nodes[0], &command).code, 0);
}

static bool is_granted(struct node *n, const char *secret, uint64_t node)
{
	struct et_state_view *v = et_state_view_open(et_catalog_state(n->catalog));
	bool has = et_state_has_grant(v, secret, node);

	(void)et_state_view_close(v);
	return has;
}

static bool has_grants(const struct node *n)
{
	struct et_keeper_health h;

	et_keeper_health(n->keeper, &h);
	return !h.vault_without_grant;
}

/* Who becomes a vault later gets what the others hold, and opens by itself then. */
static void a_node_that_becomes_a_vault_gets_its_grants(void **state)
{
	struct cluster *c = *state;
	char vault[] = "vault";
	struct recording r;
	struct et_keeper_health h;

	node_join(c, 1, "brq-1", "brq", ET_ROLE_STANDBY | ET_ROLE_CAPTURE);
	struct node *n = &c->nodes[1];
	recording_open(&c->nodes[0], &r);
	assert_false(is_granted(&c->nodes[0], "ca", 2));
	roles_add(c, 2, vault);
	RUN_UNTIL(c, is_granted(n, "ca", 2));
	assert_true(is_granted(n, "kek:1", 2));
	RUN_UNTIL(c, has_grants(n)); /* It looks now and then. */
	et_keeper_health(n->keeper, &h);
	assert_false(h.vault_single);
	uint64_t event = audit(n, "recording.play", r.id);
	assert_int_equal(open_dek(n, r.id, event, r.dek), 0);
	et_keeper_health(n->keeper, &h);
	assert_int_equal(h.deks_opened, 1); /* By itself. */
	et_keeper_health(c->nodes[0].keeper, &h);
	assert_int_equal(h.deks_opened, 0);
	(void)et_secret_free(r.dek);
}

/* The first in order is down: the next one stands in, a round later. */
static void another_vault_stands_in_for_the_first(void **state)
{
	struct cluster *c = *state;
	char vault[] = "vault";

	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE | ET_ROLE_VAULT);
	node_join(c, 2, "brq-2", "brq", ET_ROLE_STANDBY | ET_ROLE_CAPTURE);
	struct node *first = &c->nodes[0];
	struct node *second = &c->nodes[1];
	unsigned before = first->open;
	struct et_keeper *k = first->keeper;
	first->keeper = NULL;
	et_keeper_stop(k, on_closed, first);
	RUN_UNTIL(c, first->open < before);
	roles_add(c, 3, vault);
	RUN_UNTIL(c, applied(second) >= applied(first));
	grants_round(second->keeper);
	assert_false(second->keeper->granting); /* It is the first one's turn. */
	grants_round(second->keeper);
	assert_true(second->keeper->granting);
	RUN_UNTIL(c, is_granted(&c->nodes[2], "kek:1", 3) && is_granted(&c->nodes[2], "ca", 3));
	RUN_UNTIL(c, !second->keeper->granting);
	grants_round(second->keeper);
	assert_int_equal(second->keeper->grants_missed, 0);
}

/* ---- A restore finds all living versions ---- */

static struct et_secret *kek_add(struct cluster *c, uint32_t version)
{
	Et__Kek kek = ET__KEK__INIT;
	Et__KekAdd add = ET__KEK_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct et_secret *secret = NULL;
	Et__Grant *grant = NULL;
	uint8_t public_key[32] = { (uint8_t)version };
	uint8_t signature[64] = { 1 };
	char name[SECRET_NAME_BYTES];

	assert_int_equal(et_secret_random(32, &secret, NULL), 0);
	kek_secret_name(version, name);
	assert_int_equal(grant_make(name, secret, 1, c->nodes[0].keeper->keys.keys[0].public_key,
				    &grant, NULL),
			 0);
	kek.version = version;
	kek.state = ET__KEK_STATE__KEK_ACTIVE;
	kek.public_key = (ProtobufCBinaryData){ 32, public_key };
	kek.signature = (ProtobufCBinaryData){ sizeof(signature), signature };
	add.kek = &kek;
	add.n_grants = 1;
	add.grants = &grant;
	command.body_case = ET__COMMAND__BODY_KEK_ADD;
	command.kek_add = &add;
	struct outcome o = propose(&c->nodes[0], &command);
	if (o.code < 0) {
		fail_msg("%s %s", et_errname(o.code), o.text);
	}
	et__grant__free_unpacked(grant, NULL);
	return secret;
}

static void a_restore_grants_every_version_that_its_keys_open(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct et_keeper_restore r = { 0 };
	struct et_secret *second = kek_add(c, 2);
	struct et_secret *third = kek_add(c, 3);
	uint8_t seal_public[32];
	unsigned missing = 99;

	r.command = calloc(1, sizeof(*r.command));
	et__command__init(r.command);
	r.command->body_case = ET__COMMAND__BODY_RESTORE_STEP;
	r.command->restore_step = calloc(1, sizeof(Et__RestoreStep));
	et__restore_step__init(r.command->restore_step);
	Et__RestoreStep *step = r.command->restore_step;
	step->node = calloc(1, sizeof(Et__Node));
	et__node__init(step->node);
	step->node->id = 10002;
	memcpy(seal_public, n->keeper->keys.keys[0].public_key, 32);
	pb_bytes(&step->node->seal_public, seal_public, 32);

	struct et_state_view *v = et_state_view_open(et_catalog_state(n->catalog));
	/* Shares opened version 3; the folder has the keys of a node that held the others. */
	assert_int_equal(et_keeper_restore_grants(&r, v, n->folder, n->root, 3, &missing, NULL), 0);
	assert_int_equal(missing, 0);
	assert_int_equal(step->n_grants, 2);
	for (size_t i = 0; i < 2; i++) {
		struct et_secret *opened = NULL;
		assert_string_equal(step->grants[i]->secret, i == 0 ? "kek:1" : "kek:2");
		assert_int_equal(step->grants[i]->node, 10002);
		assert_int_equal(grant_open(step->grants[i], &n->keeper->keys, &opened, NULL), 0);
		assert_true(i == 0 || et_secret_equal(opened, second));
		(void)et_secret_free(opened);
	}
	/* A folder with other keys opens nothing, and says how much that is. */
	node_prepare(c, 1, seal_public);
	assert_int_equal(et_keeper_restore_grants(&r, v, c->nodes[1].folder, c->nodes[1].root, 3,
						  &missing, NULL),
			 0);
	assert_int_equal(missing, 2);
	assert_int_equal(step->n_grants, 2);
	(void)et_state_view_close(v);
	et_keeper_restore_release(&r);
	(void)et_secret_free(second);
	(void)et_secret_free(third);
}

/* ---- Joining ---- */

static void a_join_is_idempotent_and_uses_its_token_once(void **state)
{
	struct cluster *c = *state;
	struct et_join_token t;

	token_make(&c->nodes[0], ET_ROLE_CAPTURE, "brq", 1, HOUR_US, &t);
	join_prepare(c, 1, &t, "brq-1", ET_ROLE_CAPTURE);
	struct outcome o = join_ask(&c->nodes[1], &t, NULL);
	assert_int_equal(o.code, 0);
	assert_int_equal(o.number, 2);
	o = join_ask(&c->nodes[1], &t, NULL); /* The answer was lost, say. */
	assert_int_equal(o.code, 0);
	assert_int_equal(o.number, 2);
	join_prepare(c, 2, &t, "brq-2", ET_ROLE_CAPTURE); /* Another machine. */
	o = join_ask(&c->nodes[2], &t, NULL);
	assert_int_equal(o.code, ET_EDENIED);
	assert_non_null(strstr(o.text, "used up"));
	et_join_token_release(&t);
}

static void wrong_tokens_and_wishes_are_refused(void **state)
{
	struct cluster *c = *state;
	struct et_join_token t;
	struct et_join_token unknown;

	token_make(&c->nodes[0], ET_ROLE_CAPTURE, "brq", 9, HOUR_US, &t);
	join_prepare(c, 1, &t, "brq-1", ET_ROLE_CAPTURE | ET_ROLE_VAULT);
	struct outcome o = join_ask(&c->nodes[1], &t, NULL);
	assert_int_equal(o.code, ET_EDENIED);
	assert_non_null(strstr(o.text, "role"));

	/* A token that the catalogue does not know, though its form is good. */
	assert_int_equal(et_join_token_make(&unknown, NULL), 0);
	memcpy(unknown.cluster, t.cluster, sizeof(t.cluster));
	memcpy(unknown.site, t.site, sizeof(t.site));
	memcpy(unknown.ca_hash, t.ca_hash, 32);
	memcpy(unknown.addresses, t.addresses, sizeof(t.addresses));
	unknown.address_count = 1;
	join_prepare(c, 2, &unknown, "brq-2", ET_ROLE_CAPTURE);
	o = join_ask(&c->nodes[2], &unknown, NULL);
	assert_int_equal(o.code, ET_EDENIED);
	assert_non_null(strstr(o.text, "not known"));

	/* The id of a good one with another seed. */
	memcpy(unknown.id, t.id, 16);
	node_release(&c->nodes[2]);
	memset(&c->nodes[2], 0, sizeof(c->nodes[2]));
	char path[160];
	(void)snprintf(path, sizeof(path), "%s/3/root.key", c->folder);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/3/keys/seal-1.key", c->folder);
	assert_int_equal(unlink(path), 0);
	join_prepare(c, 2, &unknown, "brq-2", ET_ROLE_CAPTURE);
	o = join_ask(&c->nodes[2], &unknown, NULL);
	assert_int_equal(o.code, ET_EDENIED);
	assert_non_null(strstr(o.text, "not signed"));
	et_join_token_release(&t);
	et_join_token_release(&unknown);

	token_make(&c->nodes[0], ET_ROLE_CAPTURE, "brq", 9, -HOUR_US, &t);
	join_prepare(c, 3, &t, "brq-3", ET_ROLE_CAPTURE);
	o = join_ask(&c->nodes[3], &t, NULL);
	assert_int_equal(o.code, ET_EDENIED);
	assert_non_null(strstr(o.text, "expired"));
	et_join_token_release(&t);
}

static void a_join_may_be_asked_of_a_node_without_the_ca(void **state)
{
	struct cluster *c = *state;
	struct et_join_token t;

	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE);
	token_make(&c->nodes[0], ET_ROLE_CAPTURE, "brq", 1, HOUR_US, &t);
	RUN_UNTIL(c, applied(&c->nodes[1]) >= applied(&c->nodes[0]));
	join_prepare(c, 2, &t, "brq-2", ET_ROLE_CAPTURE);
	struct outcome o = join_ask(&c->nodes[2], &t, c->nodes[1].address);
	if (o.code < 0) {
		fail_msg("%s", o.text);
	}
	assert_int_equal(o.number, 3);
	et_join_token_release(&t);
}

/* ---- Certificates ---- */

static void on_renewed(void *arg, int code, const char *why)
{
	struct outcome *o = arg;

	assert_true(code == 0 || why != NULL);

	o->done = true;
	o->code = code;
}

static void renew(struct node *n)
{
	struct outcome o = { 0 };
	struct et_cert_info before;
	struct et_cert_info after;
	struct et_identity saved;
	unsigned identities = n->identities;

	assert_int_equal(et_cert_parse(view_of(&n->identity.cert), &before, NULL), 0);
	et_keeper_renew(n->keeper, on_renewed, &o);
	RUN_UNTIL(n->c, o.done);
	assert_int_equal(o.code, 0);
	assert_int_equal(n->identities, identities + 1);
	assert_int_equal(et_cert_parse(view_of(&n->identity.cert), &after, NULL), 0);
	assert_memory_equal(before.spki_hash, after.spki_hash, 32);
	assert_true(after.serial_size != before.serial_size ||
		    memcmp(after.serial, before.serial, after.serial_size) != 0);
	assert_int_equal(et_identity_load(n->identity_folder, n->root, &saved, NULL), 0);
	assert_int_equal(saved.cert.size, n->identity.cert.size);
	assert_memory_equal(saved.cert.data, n->identity.cert.data, saved.cert.size);
	et_identity_release(&saved);

	Et__Certificate *record = NULL; /* It was committed before it was used. */
	struct et_state_view *v = et_state_view_open(et_catalog_state(n->c->nodes[0].catalog));
	assert_int_equal(et_state_get_certificate(v, n->identity.node, &record), 0);
	(void)et_state_view_close(v);
	assert_int_equal(record->serial.len, after.serial_size);
	assert_memory_equal(record->serial.data, after.serial, after.serial_size);
	et__certificate__free_unpacked(record, NULL);
}

static void certificates_are_renewed_here_and_by_a_vault_node(void **state)
{
	struct cluster *c = *state;

	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE);
	renew(&c->nodes[0]);
	renew(&c->nodes[1]);
	struct recording r; /* And the cluster goes on. */
	recording_open(&c->nodes[1], &r);
	(void)et_secret_free(r.dek);
}

static void an_old_certificate_is_renewed_by_itself(void **state)
{
	struct cluster *c = *state;
	struct et_keeper_health h = { 0 };

	/* Node 2 gets a certificate that is made to live for three seconds, as is the one after it.
	 */
	c->cert_life_us = 3000000LL;
	node_close(&c->nodes[0]);
	node_open_tls(&c->nodes[0], c->nodes[0].address);
	node_open_rest(&c->nodes[0], false);
	c->cert_life_us = 72 * HOUR_US;
	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE);
	while (h.renewals == 0) {
		(void)uv_run(&c->loop, UV_RUN_ONCE);
		et_keeper_health(c->nodes[1].keeper, &h);
	}
	assert_int_equal(c->nodes[1].identities, 1);
	assert_false(h.cert_expired);
}

/* ---- Removal ---- */

static void a_removed_node_is_cut_and_gets_nothing_more(void **state)
{
	struct cluster *c = *state;
	Et__NodeRemove remove = ET__NODE_REMOVE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct recording r;
	struct et_tls_counts counts;
	char reason[] = "stolen";

	node_join(c, 1, "brq-1", "brq", ET_ROLE_CAPTURE);
	struct node *n = &c->nodes[1];
	recording_open(n, &r);
	uint64_t event = audit(n, "recording.play", r.id);
	remove.node = 2;
	remove.reason = reason;
	remove.revoked = true;
	remove.loss_accepted = true;
	command.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	command.node_remove = &remove;
	command.reason = reason;
	assert_int_equal(propose(&c->nodes[0], &command).code, 0);
	et_tls_counts(c->nodes[0].tls, &counts);
	assert_true(counts.cut > 0);
	int code = open_dek(n, r.id, event, r.dek);
	assert_true(code < 0);
	et_tls_counts(c->nodes[0].tls, &counts);
	assert_true(counts.refused_member > 0);
	(void)et_secret_free(r.dek);
}

static enum _Et__CaPhase ca_phase(struct node *n)
{
	struct et_state_view *v = view(n);
	Et__CaRing *ring = NULL;

	assert_int_equal(et_state_get_ca_ring(v, &ring), 0);
	enum _Et__CaPhase phase = ring->phase;
	et__ca_ring__free_unpacked(ring, NULL);
	(void)et_state_view_close(v);
	return phase;
}

/* Whoever has the CA's key can make newcomers. */
static void nobody_new_is_let_in_while_the_ca_s_key_is_stolen(void **state)
{
	struct cluster *c = *state;
	struct et_tls_peer newcomer = { .node = 99, .site = "brq" };
	Et__NodeRemove remove = ET__NODE_REMOVE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct node *n = &c->nodes[0];
	char reason[] = "stolen";

	node_join(c, 1, "brq-1", "brq", ET_ROLE_STANDBY | ET_ROLE_VAULT);
	assert_int_equal(et_members_check(n->members, &newcomer, ET_ALPN_RAFT, NULL), 0);
	remove.node = 2;
	remove.reason = reason;
	remove.revoked = remove.loss_accepted = remove.force = true;
	command.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	command.node_remove = &remove;
	command.reason = reason;
	assert_int_equal(propose(n, &command).code, 0);
	assert_int_equal(ca_phase(n), ET__CA_PHASE__CA_WANTED);
	assert_int_equal(et_members_check(n->members, &newcomer, ET_ALPN_RAFT, NULL),
			 ET_EUNTRUSTED);
	assert_int_equal(et_members_check(n->members, &newcomer, ET_ALPN_RPC, NULL), ET_EUNTRUSTED);
	while (ca_phase(n) == ET__CA_PHASE__CA_WANTED) {
		(void)uv_run(&c->loop, UV_RUN_ONCE);
	}
	assert_int_equal(et_members_check(n->members, &newcomer, ET_ALPN_RAFT, NULL), 0);
}

/* ---- Recovered tapes ---- */

/* A tape that its writer did not finish, recovered without its key. */
static void tape_recover(struct node *n, const struct recording *r, bool damage,
			 struct et_tape_recovery *ret)
{
	struct et_tape_header header = { .generation = 1,
					 .segment = 1,
					 .kek_version = 1,
					 .dek_id = 7,
					 .node = n->identity.node };
	const struct et_tape_signer signer = { .node = n->identity.node,
					       .seed = n->identity.sign_key,
					       .now_us = et_clock_now_us() };
	struct et_tape *tape = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *wrong = NULL;
	char path[256];

	assert_int_equal(et_secret_random(32, &wrong, NULL), 0);
	memcpy(header.recording, r->id, 16);
	(void)snprintf(path, sizeof(path), "%s/%s", n->folder, r->file);
	/* Damage: sealed with another key than the catalogue has. */
	assert_int_equal(et_tape_create(path, &header, damage ? wrong : r->dek, &tape, NULL), 0);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(
			et_tape_append(tape, ET_TAPE_MEDIA, i * 1000, "some media", 10, NULL), 0);
	}
	tape = et_tape_close(tape);
	assert_int_equal(et_tape_recover(path, &signer, NULL, ret, NULL), 0);
	assert_int_equal(ret->seal.records, 5);
}

static int32_t seal_and_wait(struct node *n, const struct recording *r, bool damage)
{
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct et_tape_recovery recovery;
	struct et_keeper_health h = { 0 };
	Et__Segment *segment = NULL;

	tape_recover(n, r, damage, &recovery);
	uint8_t id[16];
	memcpy(id, r->id, 16);
	seal.recording = (ProtobufCBinaryData){ 16, id };
	seal.generation = 1;
	seal.segment = 1;
	seal.state = ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED;
	seal.root = (ProtobufCBinaryData){ 32, recovery.seal.root };
	seal.records = recovery.seal.records;
	seal.size_bytes = recovery.seal.size_bytes;
	seal.seal_hash = (ProtobufCBinaryData){ 32, recovery.seal.seal_hash };
	seal.sealed_us = et_clock_now_us();
	command.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	command.segment_seal = &seal;
	struct outcome o = propose(n, &command);
	if (o.code < 0) {
		fail_msg("%s", o.text);
	}
	while (h.tapes_verified + h.tapes_bad == 0) {
		(void)uv_run(&n->c->loop, UV_RUN_ONCE);
		et_keeper_health(n->keeper, &h);
	}
	struct et_state_view *v = et_state_view_open(et_catalog_state(n->catalog));
	assert_int_equal(et_state_get_segment(v, r->id, 1, 1, &segment), 0);
	(void)et_state_view_close(v);
	int32_t found = (int32_t)segment->state;
	et__segment__free_unpacked(segment, NULL);
	return found;
}

static void a_recovered_tape_is_verified_with_its_key(void **state)
{
	struct cluster *c = *state;
	struct recording r;

	recording_open(&c->nodes[0], &r);
	assert_int_equal(seal_and_wait(&c->nodes[0], &r, false),
			 ET__SEGMENT_STATE__SEGMENT_RECOVERED);
	(void)et_secret_free(r.dek);
}

static void a_recovered_tape_of_another_key_stays_unverified(void **state)
{
	struct cluster *c = *state;
	struct recording r;

	recording_open(&c->nodes[0], &r);
	assert_int_equal(seal_and_wait(&c->nodes[0], &r, true),
			 ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED);
	(void)et_secret_free(r.dek);
}

static void stopping_ends_what_is_under_way(void **state)
{
	struct cluster *c = *state;
	struct node *n = &c->nodes[0];
	struct recording r;
	struct outcome o = { 0 };
	struct outcome renewed = { 0 };

	recording_open(n, &r);
	uint64_t event = audit(n, "recording.play", r.id);
	et_keeper_open_dek(n->keeper, r.id, 1, 1, event, on_dek, &o);
	et_keeper_renew(n->keeper, on_renewed, &renewed);
	node_close(n);
	assert_true(o.done);
	assert_true(renewed.done);
	(void)et_secret_free(o.dek);
	(void)et_secret_free(r.dek);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, cluster_set_up, cluster_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_vault_node_opens_what_an_audit_event_names),
		TEST(a_capture_node_asks_a_vault_node),
		TEST(a_vault_node_checks_the_event_itself),
		TEST(a_vault_that_joins_gets_its_grants),
		TEST(a_node_that_becomes_a_vault_gets_its_grants),
		TEST(another_vault_stands_in_for_the_first),
		TEST(a_restore_grants_every_version_that_its_keys_open),
		TEST(a_join_is_idempotent_and_uses_its_token_once),
		TEST(wrong_tokens_and_wishes_are_refused),
		TEST(a_join_may_be_asked_of_a_node_without_the_ca),
		TEST(certificates_are_renewed_here_and_by_a_vault_node),
		TEST(an_old_certificate_is_renewed_by_itself),
		TEST(a_removed_node_is_cut_and_gets_nothing_more),
		TEST(nobody_new_is_let_in_while_the_ca_s_key_is_stolen),
		TEST(a_recovered_tape_is_verified_with_its_key),
		TEST(a_recovered_tape_of_another_key_stays_unverified),
		TEST(stopping_ends_what_is_under_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
