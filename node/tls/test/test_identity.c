#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "node/tls/join.h"
#include "node/tls/test/fixture.h"

struct fixture {
	struct world w;
	struct et_identity id;
	struct et_secret *root;
	char dir[64];
	char folder[96];
	char path[128];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	world_open(&f->w);
	identity_make(&f->w, 3, &f->id);
	assert_int_equal(et_secret_random(32, &f->root, NULL), 0);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/et_identity.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->folder, sizeof(f->folder), "%s/identity", f->dir);
	(void)snprintf(f->path, sizeof(f->path), "%s/identity", f->folder);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/members", f->folder);
	(void)unlink(path);
	(void)unlink(f->path);
	(void)rmdir(f->folder);
	assert_int_equal(rmdir(f->dir), 0);
	et_identity_release(&f->id);
	(void)et_secret_free(f->root);
	world_close(&f->w);
	free(f);
	return 0;
}

static struct et_view view(const struct et_buffer *b)
{
	return (struct et_view){ b->data, b->size };
}

static void a_certificate_says_what_the_issuer_said(void **state)
{
	struct fixture *f = *state;
	struct et_cert_info info;
	uint8_t hash[32];

	assert_int_equal(et_cert_parse(view(&f->id.cert), &info, NULL), 0);
	assert_string_equal(info.cluster, CLUSTER);
	assert_string_equal(info.site, "prg");
	assert_int_equal(info.node, 3);
	assert_int_equal(info.serial_size, 16);
	assert_int_equal(et_cert_spki_hash(view(&f->id.cert), hash), 0);
	assert_memory_equal(hash, info.spki_hash, 32);
	int64_t now_us = et_clock_now_us();
	assert_true(info.not_before_us <= now_us - 299 * 1000000LL);
	assert_true(info.not_before_us >= now_us - 320 * 1000000LL);
	assert_true(info.not_after_us > now_us + HOUR_US - 20 * 1000000LL);
	assert_true(info.not_after_us <= now_us + HOUR_US);
	assert_true(f->id.cert.size < ET_CERT_MAX);
}

static void a_request_must_be_signed_by_its_key_and_of_our_kind(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer request = { 0 };
	ET_CLEANUP(et_buffer_releasep) struct et_buffer cert = { 0 };
	const struct et_cert_subject subject = { .cluster = CLUSTER, .site = "prg", .node = 1 };
	uint8_t hash[32];

	assert_int_equal(et_identity_request(&f->id, &request, NULL), 0);
	request.data[request.size - 1] ^= 1; /* In the signature. */
	assert_true(et_ca_issue(f->w.ca_key, view(&f->w.ca), view(&request), &subject, 1, 1, &cert,
				hash, NULL) < 0);
	request.data[request.size - 1] ^= 1;
	for (size_t size = 0; size < request.size; size++) {
		assert_true(et_ca_issue(f->w.ca_key, view(&f->w.ca),
					(struct et_view){ request.data, size }, &subject, 1, 1,
					&cert, hash, NULL) < 0);
	}
	assert_int_equal(cert.size, 0);
	/* The CA's key must be that of the CA's certificate. */
	assert_int_equal(et_ca_issue(f->id.tls_key, view(&f->w.ca), view(&request), &subject, 1, 1,
				     &cert, hash, NULL),
			 ET_ECORRUPT);
}

static void an_identity_comes_back_from_disk(void **state)
{
	struct fixture *f = *state;
	struct et_identity back;
	struct stat st;

	assert_int_equal(et_identity_load(f->folder, f->root, &back, NULL), ET_ENOTFOUND);
	assert_int_equal(et_identity_save(f->folder, f->root, &f->id, NULL), 0);
	assert_int_equal(et_identity_load(f->folder, f->root, &back, NULL), 0);
	assert_int_equal(back.node, 3);
	assert_string_equal(back.cluster, f->id.cluster);
	assert_string_equal(back.name, f->id.name);
	assert_string_equal(back.site, f->id.site);
	assert_true(et_secret_equal(back.tls_key, f->id.tls_key));
	assert_true(et_secret_equal(back.sign_key, f->id.sign_key));
	assert_int_equal(back.cert.size, f->id.cert.size);
	assert_memory_equal(back.cert.data, f->id.cert.data, back.cert.size);
	assert_memory_equal(back.ca.data, f->id.ca.data, back.ca.size);
	et_identity_release(&back);
	assert_int_equal(stat(f->folder, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void the_file_holds_no_key_in_the_clear(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };

	assert_int_equal(et_identity_save(f->folder, f->root, &f->id, NULL), 0);
	assert_int_equal(et_file_read(f->path, 1 << 20, &b, NULL), 0);
	assert_null(memmem(b.data, b.size, et_secret_bytes(f->id.sign_key), 16));
	/* PKCS#8 of P-256 holds the private number at offset 36. */
	assert_null(memmem(b.data, b.size, et_secret_bytes(f->id.tls_key) + 36, 16));
}

static void damage_and_foreign_roots_are_told(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };
	ET_CLEANUP(et_secret_freep) struct et_secret *other = NULL;
	struct et_identity back;

	assert_int_equal(et_identity_save(f->folder, f->root, &f->id, NULL), 0);
	assert_int_equal(et_secret_random(32, &other, NULL), 0);
	assert_int_equal(et_identity_load(f->folder, other, &back, NULL), ET_ECORRUPT);
	assert_int_equal(et_file_read(f->path, 1 << 20, &b, NULL), 0);
	for (size_t i = 0; i < b.size; i += 7) {
		b.data[i] ^= 0x20;
		assert_int_equal(et_file_publish(f->path, b.data, b.size, 0600, NULL), 0);
		assert_true(et_identity_load(f->folder, f->root, &back, NULL) < 0);
		b.data[i] ^= 0x20;
	}
	for (size_t size = 0; size < b.size; size += 31) {
		assert_int_equal(et_file_publish(f->path, b.data, size, 0600, NULL), 0);
		assert_true(et_identity_load(f->folder, f->root, &back, NULL) < 0);
	}
}

static void names_are_labels(void **state)
{
	(void)state;
	assert_true(et_name_is_valid("acme-voice"));
	assert_true(et_name_is_valid("7"));
	assert_false(et_name_is_valid(""));
	assert_false(et_name_is_valid("-a"));
	assert_false(et_name_is_valid("a-"));
	assert_false(et_name_is_valid("Acme"));
	assert_false(et_name_is_valid("a/b"));
	assert_false(et_name_is_valid("a."));
	char longest[ET_NAME_MAX + 2];
	memset(longest, 'a', sizeof(longest));
	longest[ET_NAME_MAX] = '\0';
	assert_true(et_name_is_valid(longest));
	longest[ET_NAME_MAX] = 'a';
	longest[ET_NAME_MAX + 1] = '\0';
	assert_false(et_name_is_valid(longest));
	for (unsigned i = 0; i < ET_ROLES; i++) {
		assert_int_equal(et_role_of(et_role_name(i)), 1U << i);
	}
	assert_int_equal(et_role_of("king"), 0);
}

static void a_member_list_is_believed_only_from_the_ca(void **state)
{
	struct fixture *f = *state;
	struct et_member members[2] = { { .node = 1,
					  .name = "prg-1",
					  .site = "prg",
					  .address = "10.0.0.1:7400",
					  .roles = ET_ROLE_VOTER | ET_ROLE_VAULT },
					{ .node = 2,
					  .name = "brq-1",
					  .site = "brq",
					  .address = "[::1]:7400",
					  .roles = ET_ROLE_CAPTURE } };
	const struct et_member_list list = {
		.index = 17, .made_us = 5, .members = members, .count = 2
	};
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };
	struct et_member_list back;

	memset(members[1].spki_hash, 9, 32);
	assert_int_equal(et_member_list_sign(&list, f->w.ca_key, &b), 0);
	assert_int_equal(et_member_list_save(f->folder, view(&b), NULL), 0);
	assert_int_equal(et_member_list_load(f->folder, view(&f->w.ca), &back, NULL), 0);
	assert_int_equal(back.index, 17);
	assert_int_equal(back.count, 2);
	assert_string_equal(back.members[0].address, "10.0.0.1:7400");
	assert_int_equal(back.members[0].roles, ET_ROLE_VOTER | ET_ROLE_VAULT);
	assert_string_equal(back.members[1].name, "brq-1");
	assert_memory_equal(back.members[1].spki_hash, members[1].spki_hash, 32);
	et_member_list_release(&back);

	for (size_t i = 0; i < b.size; i++) {
		b.data[i] ^= 1;
		assert_true(et_member_list_parse(view(&b), view(&f->w.ca), &back, NULL) < 0);
		b.data[i] ^= 1;
		assert_true(et_member_list_parse((struct et_view){ b.data, i }, view(&f->w.ca),
						 &back, NULL) < 0);
	}
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer ca = { 0 };
	assert_int_equal(et_ca_make(CLUSTER, &key, &ca, NULL), 0);
	assert_int_equal(et_member_list_parse(view(&b), view(&ca), &back, NULL), ET_EUNTRUSTED);
	et_buffer_add(&ca, f->w.ca.data, f->w.ca.size); /* A bundle of two: either may sign. */
	assert_int_equal(et_member_list_parse(view(&b), view(&ca), &back, NULL), 0);
	et_member_list_release(&back);
}

static void token_make(struct et_join_token *t)
{
	assert_int_equal(et_join_token_make(t, NULL), 0);
	(void)snprintf(t->cluster, sizeof(t->cluster), "acme-voice");
	(void)snprintf(t->site, sizeof(t->site), "brq");
	t->roles = ET_ROLE_CAPTURE | ET_ROLE_VOTER;
	t->expires_us = 1000;
	memset(t->ca_hash, 5, 32);
	t->address_count = 2;
	(void)snprintf(t->addresses[0], sizeof(t->addresses[0]), "10.1.0.11:7400");
	(void)snprintf(t->addresses[1], sizeof(t->addresses[1]), "[2001:db8::1]:7400");
}

static void a_join_token_survives_its_text(void **state)
{
	struct et_join_token t;
	struct et_join_token back;
	struct et_secret *text = NULL;

	(void)state;
	token_make(&t);
	assert_int_equal(et_join_token_format(&t, &text, NULL), 0);
	const char *p = (const char *)et_secret_bytes(text);
	size_t size = et_secret_size(text);
	assert_memory_equal(p, "evt1.", 5);
	assert_int_equal(et_join_token_parse(p, size, 999, &back, NULL), 0);
	assert_memory_equal(back.id, t.id, 16);
	assert_true(et_secret_equal(back.seed, t.seed));
	assert_memory_equal(back.public_key, t.public_key, 32);
	assert_memory_equal(back.ca_hash, t.ca_hash, 32);
	assert_string_equal(back.cluster, "acme-voice");
	assert_string_equal(back.site, "brq");
	assert_int_equal(back.roles, t.roles);
	assert_int_equal(back.address_count, 2);
	assert_string_equal(back.addresses[1], "[2001:db8::1]:7400");
	et_join_token_release(&back);
	et_join_token_release(&t);
	(void)et_secret_free(text);
}

static void a_wrong_join_token_is_told_apart(void **state)
{
	struct et_join_token t;
	struct et_join_token back;
	struct et_secret *text = NULL;
	struct et_error e;
	char copy[ET_SECRET_SIZE_MAX];

	(void)state;
	token_make(&t);
	assert_int_equal(et_join_token_format(&t, &text, NULL), 0);
	size_t size = et_secret_size(text);
	memcpy(copy, et_secret_bytes(text), size);
	assert_int_equal(et_join_token_parse(copy, size, 1000, &back, &e), ET_EDENIED);
	assert_non_null(strstr(e.text, "expired at 1970-01-01"));
	assert_int_equal(et_join_token_parse("evt2.AAAA", 9, 1, &back, &e), ET_EMALFORMED);
	assert_non_null(strstr(e.text, "no join token"));
	assert_int_equal(et_join_token_parse("evt1.", 5, 1, &back, &e), ET_EMALFORMED);
	assert_int_equal(et_join_token_parse("evt1.!!", 7, 1, &back, &e), ET_EMALFORMED);
	for (size_t i = 5; i < size; i++) {
		char held = copy[i];
		copy[i] = held == 'A' ? 'B' : 'A';
		assert_int_equal(et_join_token_parse(copy, size, 1, &back, &e), ET_EMALFORMED);
		assert_null(strstr(e.text, "AAAA")); /* Never the token itself. */
		copy[i] = held;
		assert_true(et_join_token_parse(copy, i, 1, &back, &e) < 0);
	}
	for (size_t i = 0; i < ET_JOIN_ADDRESSES_MAX; i++) { /* Four of the longest do not fit. */
		memset(t.addresses[i], '1', ET_ADDRESS_MAX - 1);
	}
	t.address_count = ET_JOIN_ADDRESSES_MAX;
	memset(t.cluster, 'c', ET_NAME_MAX);
	memset(t.site, 'c', ET_NAME_MAX);
	struct et_secret *none = NULL;
	assert_int_equal(et_join_token_format(&t, &none, &e), ET_ELIMIT);
	et_join_token_release(&t);
	(void)et_secret_free(text);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_certificate_says_what_the_issuer_said),
		TEST(a_request_must_be_signed_by_its_key_and_of_our_kind),
		TEST(an_identity_comes_back_from_disk),
		TEST(the_file_holds_no_key_in_the_clear),
		TEST(damage_and_foreign_roots_are_told),
		cmocka_unit_test(names_are_labels),
		TEST(a_member_list_is_believed_only_from_the_ca),
		cmocka_unit_test(a_join_token_survives_its_text),
		cmocka_unit_test(a_wrong_join_token_is_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
