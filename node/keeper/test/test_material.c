#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/keeper/keeper_internal.h"
#include "node/root/root.h"

struct fixture {
	char dir[64];
	char spec[128];
	char path[96];
	struct et_secret *root;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/et_keeper.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/root.key", f->dir);
	(void)snprintf(f->spec, sizeof(f->spec), "file:%s", f->path);
	const struct et_root_place place = { .spec = f->spec, .state = f->dir };
	assert_int_equal(et_root_make(&place, &f->root, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	(void)et_secret_free(f->root);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static struct et_keeper_init_config config_of(struct fixture *f)
{
	struct et_keeper_init_config c = { .cluster = "acme",
					   .name = "prg-1",
					   .site = "prg",
					   .roles = ET_ROLE_VOTER | ET_ROLE_VAULT | ET_ROLE_CAPTURE,
					   .address = "10.0.0.1:7400",
					   .api_address = "10.0.0.1:7443",
					   .version = "0.1.0",
					   .store_uuid = "u",
					   .now_us = et_clock_now_us() };

	assert_int_equal(et_keeper_key_make(f->dir, f->root, 1, c.seal_public, NULL), 0);
	return c;
}

static void the_key_folder_gives_the_same_key_again(void **state)
{
	struct fixture *f = *state;
	uint8_t a[32];
	uint8_t b[32];
	struct node_keys keys;
	ET_CLEANUP(et_secret_freep) struct et_secret *other = NULL;

	assert_int_equal(et_keeper_key_make(f->dir, f->root, 1, a, NULL), 0);
	assert_int_equal(et_keeper_key_make(f->dir, f->root, 1, b, NULL), 0);
	assert_memory_equal(a, b, 32);
	assert_int_equal(et_keeper_key_make(f->dir, f->root, 2, b, NULL), 0);
	assert_memory_not_equal(a, b, 32);
	assert_int_equal(node_keys_load(f->dir, f->root, &keys, NULL), 0);
	assert_int_equal(keys.count, 2);
	assert_non_null(node_keys_find(&keys, (ProtobufCBinaryData){ 32, a }));
	assert_non_null(node_keys_find(&keys, (ProtobufCBinaryData){ 32, b }));
	b[0] ^= 1;
	assert_null(node_keys_find(&keys, (ProtobufCBinaryData){ 32, b }));
	node_keys_release(&keys);

	assert_int_equal(et_secret_random(32, &other, NULL), 0);
	assert_int_equal(node_keys_load(f->dir, other, &keys, NULL), ET_ECORRUPT);
	assert_int_equal(et_keeper_key_make(f->dir, other, 1, a, NULL), ET_ECORRUPT);
}

static void init_makes_all_that_a_cluster_needs(void **state)
{
	struct fixture *f = *state;
	struct et_keeper_init_config c = config_of(f);
	struct et_keeper_init init;
	struct node_keys keys;
	struct et_error e;

	assert_int_equal(et_keeper_make_init(&c, &init, NULL), 0);
	const Et__ClusterInit *body = init.command->cluster_init;
	init.command->op = calloc(1, sizeof(Et__OpId));
	et__op_id__init(init.command->op);
	init.command->op->node = 1;
	init.command->op->seq = 1;
	pb_bytes(&init.command->op->incarnation, "0123456789abcdef", 16);
	if (et_command_check(init.command, &e) < 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(init.identity.node, 1);
	assert_int_equal(body->node->id, 1);
	assert_int_equal(body->n_grants, 2);
	assert_int_equal(init.share_count, 5);

	/* The KEK is signed by the CA, and the grants open with the node's key. */
	assert_int_equal(et_keeper_kek_verify(body->kek, view_of(&init.identity.ca), NULL), 0);
	body->kek->public_key.data[3] ^= 1;
	assert_int_equal(et_keeper_kek_verify(body->kek, view_of(&init.identity.ca), NULL),
			 ET_EUNTRUSTED);
	body->kek->public_key.data[3] ^= 1;
	assert_int_equal(node_keys_load(f->dir, f->root, &keys, NULL), 0);
	ET_CLEANUP(et_secret_freep) struct et_secret *kek = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *ca = NULL;
	uint8_t public_key[32];
	assert_int_equal(grant_open(body->grants[0], &keys, &kek, NULL), 0);
	assert_int_equal(grant_open(body->grants[1], &keys, &ca, NULL), 0);
	assert_int_equal(et_x25519_public(kek, public_key, NULL), 0);
	assert_memory_equal(public_key, body->kek->public_key.data, 32);

	/* A grant moved to another node or name does not open. */
	struct et_secret *none = NULL;
	body->grants[0]->node = 2;
	assert_int_equal(grant_open(body->grants[0], &keys, &none, NULL), ET_EINTEGRITY);
	body->grants[0]->node = 1;
	body->grants[0]->secret[4] = '2';
	assert_int_equal(grant_open(body->grants[0], &keys, &none, NULL), ET_EINTEGRITY);
	node_keys_release(&keys);

	/* Any three shares give both secrets back; the CA key still signs. */
	char texts[5][ET_SECRET_SIZE_MAX + 1] = { { 0 } };
	for (unsigned i = 0; i < 5; i++) {
		memcpy(texts[i], et_secret_bytes(init.shares[i]), et_secret_size(init.shares[i]));
	}
	for (char *p = texts[3]; *p != '\0'; p++) {
		*p = *p == '-' ? ' ' : (char)toupper((unsigned char)*p);
	}
	memcpy(texts[3], "EVS1-", 5);
	const char *three[] = { texts[4], texts[0], texts[3] };
	uint32_t version = 0;
	ET_CLEANUP(et_secret_freep) struct et_secret *kek_back = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *ca_back = NULL;
	if (et_keeper_escrow_join(three, 3, &version, &kek_back, &ca_back, &e) < 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(version, 1);
	assert_true(et_secret_equal(kek, kek_back));
	ET_CLEANUP(et_buffer_releasep) struct et_buffer signature = { 0 };
	const struct et_view data = { (const uint8_t *)"data", 4 };
	assert_int_equal(et_ca_sign(ca_back, data, &signature), 0);
	assert_int_equal(et_ca_verify(view_of(&init.identity.ca), data, view_of(&signature)), 0);

	assert_true(et_keeper_escrow_join(three, 2, &version, &kek_back, &ca_back, &e) < 0);
	texts[0][9] = texts[0][9] == 'a' ? 'b' : 'a';
	assert_int_equal(et_keeper_escrow_join(three, 3, &version, &kek_back, &ca_back, &e),
			 ET_EMALFORMED);
	assert_non_null(strstr(e.text, "2"));
	et_keeper_init_release(&init);
}

static void bad_init_requests_are_told(void **state)
{
	struct fixture *f = *state;
	struct et_keeper_init_config c = config_of(f);
	struct et_keeper_init init;

	c.escrow_threshold = 1;
	assert_int_equal(et_keeper_make_init(&c, &init, NULL), ET_EUSAGE);
	c.escrow_threshold = 6;
	assert_int_equal(et_keeper_make_init(&c, &init, NULL), ET_EUSAGE);
	c.escrow_threshold = 2;
	c.escrow_shares = ET_ESCROW_SHARES_MAX + 1;
	assert_int_equal(et_keeper_make_init(&c, &init, NULL), ET_EUSAGE);
	c.escrow_shares = 2;
	c.roles = ET_ROLE_VOTER;
	assert_int_equal(et_keeper_make_init(&c, &init, NULL), ET_EUSAGE);
	c.roles = ET_ROLE_VOTER | ET_ROLE_VAULT;
	c.cluster = "Acme Voice";
	assert_int_equal(et_keeper_make_init(&c, &init, NULL), ET_EUSAGE);
	c.cluster = "acme";
	assert_int_equal(et_keeper_make_init(&c, &init, NULL), 0);
	et_keeper_init_release(&init);
}

static struct et_tls_peer peer_of(uint64_t node, const char *site, const uint8_t hash[32],
				  bool expired)
{
	struct et_tls_peer p = { .node = node, .expired = expired };

	(void)snprintf(p.site, sizeof(p.site), "%s", site);
	memcpy(p.spki_hash, hash, 32);
	return p;
}

static void the_signed_list_serves_until_there_is_a_catalogue(void **state)
{
	struct fixture *f = *state;
	struct et_keeper_init_config c = config_of(f);
	struct et_keeper_init init;
	struct et_members *m = NULL;
	struct et_cert_info info;
	const uint8_t other[32] = { 1 };
	char address[ET_ADDRESS_MAX];

	assert_int_equal(et_keeper_make_init(&c, &init, NULL), 0);
	assert_int_equal(et_member_list_save(f->dir, view_of(&init.members), NULL), 0);
	assert_int_equal(et_members_open(f->dir, &init.identity, &m, NULL), 0);
	assert_int_equal(et_cert_parse(view_of(&init.identity.cert), &info, NULL), 0);

	struct et_tls_peer p = peer_of(1, "prg", info.spki_hash, true);
	assert_int_equal(et_members_check(m, &p, ET_ALPN_SYNC, NULL), 0);
	p = peer_of(1, "prg", other, false);
	assert_int_equal(et_members_check(m, &p, ET_ALPN_RAFT, NULL), ET_EUNTRUSTED);
	p = peer_of(1, "brq", info.spki_hash, false);
	assert_int_equal(et_members_check(m, &p, ET_ALPN_RAFT, NULL), ET_EUNTRUSTED);
	p = peer_of(2, "brq", other, false); /* Joined later: may bring us up to date, no more. */
	assert_int_equal(et_members_check(m, &p, ET_ALPN_RAFT, NULL), 0);
	assert_int_equal(et_members_check(m, &p, ET_ALPN_RPC, NULL), 0);
	assert_int_equal(et_members_check(m, &p, ET_ALPN_SYNC, NULL), ET_EUNTRUSTED);
	p.unchained = true; /* Nobody vouches for it. */
	assert_int_equal(et_members_check(m, &p, ET_ALPN_RAFT, NULL), ET_EUNTRUSTED);
	p.unchained = false;
	p.expired = true;
	assert_int_equal(et_members_check(m, &p, ET_ALPN_RAFT, NULL), ET_EUNTRUSTED);
	assert_true(et_members_recorded(m, 1, info.spki_hash));
	assert_false(et_members_recorded(m, 1, other));
	assert_false(et_members_recorded(m, 2, info.spki_hash));
	assert_true(et_members_address(m, 1, address));
	assert_string_equal(address, "10.0.0.1:7400");
	assert_false(et_members_address(m, 2, address));
	m = et_members_close(m);
	et_keeper_init_release(&init);
}

/* ---- What a node seals to ---- */

static int sealing_try(struct fixture *f, const uint8_t *bytes, size_t size, struct et_view bundle,
		       struct et_keeper_sealing *ret)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/keys/sealing", f->dir);
	assert_int_equal(et_file_publish(path, bytes, size, 0600, NULL), 0);
	return et_keeper_sealing_load(f->dir, bundle, ret, NULL);
}

static void what_is_sealed_to_is_the_cluster_s_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct et_keeper_init_config c = config_of(f);
	ET_CLEANUP(et_buffer_releasep) struct et_buffer file = { 0 };
	ET_CLEANUP(et_buffer_releasep) struct et_buffer both = { 0 };
	struct et_keeper_sealing s = { .version = 1, .epoch = 3, .kek_id = 7 };
	struct et_keeper_sealing again = { 0 };
	struct et_keeper_init init;
	struct et_keeper_init other;
	char path[128];

	assert_int_equal(et_keeper_make_init(&c, &other, NULL), 0); /* the same name */
	assert_int_equal(et_keeper_make_init(&c, &init, NULL), 0);
	const Et__Kek *kek = init.command->cluster_init->kek;
	struct et_view ca = view_of(&init.identity.ca);
	memcpy(s.public_key, kek->public_key.data, 32);
	memcpy(s.signature, kek->signature.data, kek->signature.len);
	s.signature_size = kek->signature.len;
	assert_int_equal(et_keeper_sealing_load(f->dir, ca, &again, NULL), -ENOENT);
	assert_int_equal(et_keeper_sealing_save(f->dir, ca, &s, NULL), 0);
	assert_int_equal(et_keeper_sealing_load(f->dir, ca, &again, NULL), 0);
	assert_memory_equal(&again, &s, sizeof(s));

	/* Of one of two CAs that are trusted; of neither. */
	et_buffer_add(&both, other.identity.ca.data, other.identity.ca.size);
	assert_int_equal(et_keeper_sealing_load(f->dir, view_of(&both), &again, NULL),
			 ET_EUNTRUSTED);
	assert_int_equal(et_keeper_sealing_save(f->dir, view_of(&both), &s, NULL), ET_EUNTRUSTED);
	et_buffer_add(&both, ca.data, ca.size);
	assert_int_equal(et_keeper_sealing_load(f->dir, view_of(&both), &again, NULL), 0);

	/* Each byte of version and key, and of the signature, counts; so does the end. */
	(void)snprintf(path, sizeof(path), "%s/keys/sealing", f->dir);
	assert_int_equal(et_file_read(path, 1024, &file, NULL), 0);
	again = (struct et_keeper_sealing){ 0 };
	for (size_t i = 0; i < file.size; i++) {
		bool is_signed = i < 4 || (i >= 8 && i < 40) || i >= 44;
		file.data[i] ^= 1;
		int rc = sealing_try(f, file.data, file.size, ca, &again);
		assert_true(is_signed ? rc < 0 : rc == 0);
		file.data[i] ^= 1;
	}
	again = (struct et_keeper_sealing){ 0 };
	for (size_t size = 0; size < file.size; size++) {
		int rc = sealing_try(f, file.data, size, ca, &again);
		/* 44 and 40: a file of an earlier build, or one whose end was cut off by a thief.
		 */
		assert_int_equal(rc, size == 44 || size == 40 ? ET_EUNTRUSTED : ET_ECORRUPT);
	}
	et_buffer_add8(&file, 0);
	assert_int_equal(sealing_try(f, file.data, file.size, ca, &again), ET_ECORRUPT);
	assert_int_equal(again.version, 0);
	et_keeper_init_release(&init);
	et_keeper_init_release(&other);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_key_folder_gives_the_same_key_again),
		TEST(init_makes_all_that_a_cluster_needs),
		TEST(bad_init_requests_are_told),
		TEST(the_signed_list_serves_until_there_is_a_catalogue),
		TEST(what_is_sealed_to_is_the_cluster_s_or_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
