/* One suite of behaviours for every store: what bucket.h promises.
 *
 *   test_… dir    the directory store
 *   test_… s3     the S3 stores, on a real Ceph: started here, or the one that EVERTAPE_TEST_S3
 * names (the line that "cluster-tests/harness/ceph up" prints). Exit 77 when it is not installed */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "archive/bucket/test/store.h"
#include "node/io/clock.h"

#define HARNESS "../../../cluster-tests/harness/ceph"
#define YEAR_US (366LL * 86400 * 1000000)

static struct {
	char folder[64];
	bool ceph_ours; /* to be stopped */
	char ceph_folder[128];
	char endpoint[128];
	char credentials[128];
} suite;

/* One store under test. */
struct store {
	enum et_bucket_type type;
	struct et_bucket_config config;
	struct et_bucket *b;
	char path[128];
	char prefix[32];
};

static unsigned prefixes;

static void store_config(struct store *s)
{
	(void)snprintf(s->prefix, sizeof(s->prefix), "run%d/%u", (int)getpid(), prefixes++);
	(void)snprintf(s->path, sizeof(s->path), "%s/store", suite.folder);
	s->config = (struct et_bucket_config){ .type = s->type,
					       .path = s->type == ET_BUCKET_DIR ? s->path : NULL,
					       .endpoint = suite.endpoint,
					       .bucket = "conformance",
					       .region = "default",
					       .prefix = s->prefix,
					       .credentials = suite.credentials,
					       .attempts = 2,
					       .pause_ms = 10 };
	if (s->type == ET_BUCKET_DIR) {
		s->config.endpoint = NULL;
	}
}

static int store_set_up(void **state, enum et_bucket_type type)
{
	static struct store s;
	struct et_error e = { 0 };
	s = (struct store){ .type = type };
	*state = &s;
	store_config(&s);
	if (et_bucket_make(&s.config, false, &e) < 0 || et_bucket_open(&s.config, &s.b, &e) < 0) {
		print_error("store: %s\n", e.text);
		return -1;
	}
	return 0;
}

static int dir_set_up(void **state)
{
	return store_set_up(state, ET_BUCKET_DIR);
}

static int s3_set_up(void **state)
{
	return store_set_up(state, ET_BUCKET_S3);
}

static int s3v2_set_up(void **state)
{
	return store_set_up(state, ET_BUCKET_S3V2);
}

static int store_tear_down(void **state)
{
	struct store *s = *state;
	s->b = et_bucket_close(s->b);
	return 0;
}

static struct et_bucket *bucket_of(void **state)
{
	return ((struct store *)*state)->b;
}

static void put_ok(struct et_bucket *b, const char *key, struct content *c)
{
	struct et_error e = { 0 };
	struct et_bucket_put put = put_of(key, c);
	int rc = et_bucket_put(b, &put, &e);
	if (rc < 0) {
		fail_msg("put %s: %s", key, e.text);
	}
}

static void expect_content(struct et_bucket *b, const char *key, const struct content *c)
{
	struct et_error e = { 0 };
	struct compare compare = { .content = c };
	int rc = et_bucket_get(b, key, 0, ET_BUCKET_TO_END, compare_take, &compare, &e);
	if (rc < 0) {
		fail_msg("get %s: %s", key, e.text);
	}
	assert_int_equal(compare.taken, c->size);
	assert_false(compare.differs);
}

static void gives_back_what_was_put(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(1, 300001);
	struct et_bucket_object object;
	put_ok(b, "packs/2026/11/a.evpk", &c);
	expect_content(b, "packs/2026/11/a.evpk", &c);
	assert_int_equal(et_bucket_head(b, "packs/2026/11/a.evpk", &object, NULL), 0);
	assert_int_equal(object.size, c.size);
	assert_int_equal(object.lock, ET_LOCK_NONE);
	assert_int_equal(et_bucket_verify(b, "packs/2026/11/a.evpk", c.size, c.sha256, NULL), 0);
}

static void gives_back_a_large_object(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(2, 20 * 1024 * 1024 + 7);
	put_ok(b, "large", &c);
	assert_int_equal(et_bucket_verify(b, "large", c.size, c.sha256, NULL), 0);
}

static void gives_back_an_empty_object(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(3, 0);
	put_ok(b, "empty", &c);
	expect_content(b, "empty", &c);
	assert_int_equal(et_bucket_verify(b, "empty", 0, c.sha256, NULL), 0);
}

static void gives_any_range(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(4, 100000);
	put_ok(b, "ranges", &c);
	const uint64_t ranges[][2] = { { 0, 1 },	{ 99999, 1 },  { 0, 100000 },
				       { 1234, 50000 }, { 100000, 0 }, { 0, 0 } };
	for (size_t i = 0; i < ET_ARRAY_SIZE(ranges); i++) {
		struct compare compare = { .content = &c, .at = ranges[i][0] };
		assert_int_equal(et_bucket_get(b, "ranges", ranges[i][0], ranges[i][1],
					       compare_take, &compare, NULL),
				 0);
		assert_int_equal(compare.taken, ranges[i][1]);
		assert_false(compare.differs);
	}
	struct compare rest = { .content = &c, .at = 99990 };
	assert_int_equal(
		et_bucket_get(b, "ranges", 99990, ET_BUCKET_TO_END, compare_take, &rest, NULL), 0);
	assert_int_equal(rest.taken, 10);
}

static void refuses_a_range_that_is_not_there(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(5, 1000);
	put_ok(b, "short", &c);
	const uint64_t ranges[][2] = { { 1001, 1 },
				       { 999, 2 },
				       { 0, 1001 },
				       { 2000, ET_BUCKET_TO_END },
				       { UINT64_MAX - 1, 5 } };
	for (size_t i = 0; i < ET_ARRAY_SIZE(ranges); i++) {
		struct compare compare = { .content = &c, .at = ranges[i][0] };
		assert_int_equal(et_bucket_get(b, "short", ranges[i][0], ranges[i][1], compare_take,
					       &compare, NULL),
				 ET_EINTEGRITY);
	}
}

static void takes_the_same_content_again(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(6, 5000);
	put_ok(b, "same", &c);
	put_ok(b, "same", &c);
	expect_content(b, "same", &c);
}

static void never_overwrites_with_other_content(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(7, 5000);
	struct content equal_size = content_of(8, 5000);
	struct content other_size = content_of(7, 5001);
	put_ok(b, "kept", &c);
	struct et_bucket_put put = put_of("kept", &equal_size);
	assert_int_equal(et_bucket_put(b, &put, NULL), ET_EEXISTS);
	put = put_of("kept", &other_size);
	assert_int_equal(et_bucket_put(b, &put, NULL), ET_EEXISTS);
	expect_content(b, "kept", &c);
}

static void refuses_an_equal_object_when_asked_to(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(9, 10);
	struct et_bucket_put put = put_of("once", &c);
	put.if_absent = true;
	assert_int_equal(et_bucket_put(b, &put, NULL), 0);
	put = put_of("once", &c);
	put.if_absent = true;
	assert_int_equal(et_bucket_put(b, &put, NULL), ET_EEXISTS);
}

static void leaves_no_object_of_a_source_that_lies(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(10, 5000);
	struct et_bucket_object object;
	c.sha256[5] ^= 1;
	struct et_bucket_put put = put_of("lie", &c);
	assert_int_equal(et_bucket_put(b, &put, NULL), ET_EINTEGRITY);
	assert_int_equal(et_bucket_head(b, "lie", &object, NULL), ET_ENOTFOUND);
}

static void passes_on_why_the_source_failed(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(11, 5000);
	struct et_bucket_object object;
	c.fail = -EIO;
	struct et_bucket_put put = put_of("broken", &c);
	assert_int_equal(et_bucket_put(b, &put, NULL), -EIO);
	assert_int_equal(et_bucket_head(b, "broken", &object, NULL), ET_ENOTFOUND);
}

static void passes_on_why_the_sink_failed(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(12, 500000);
	put_ok(b, "sink", &c);
	struct compare compare = { .content = &c, .answer = -ENOSPC };
	assert_int_equal(et_bucket_get(b, "sink", 0, c.size, compare_take, &compare, NULL),
			 -ENOSPC);
}

static void says_what_is_not_there(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct et_bucket_object object;
	struct content c = content_of(13, 10);
	struct compare compare = { .content = &c };
	assert_int_equal(et_bucket_head(b, "none/of/it", &object, NULL), ET_ENOTFOUND);
	assert_int_equal(et_bucket_get(b, "none/of/it", 0, 5, compare_take, &compare, NULL),
			 ET_ENOTFOUND);
	assert_int_equal(et_bucket_verify(b, "none", 10, c.sha256, NULL), ET_ENOTFOUND);
	assert_int_equal(et_bucket_delete(b, "none", NULL), 0);
}

static void finds_what_differs(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(14, 4096);
	put_ok(b, "object", &c);
	assert_int_equal(et_bucket_verify(b, "object", 4095, c.sha256, NULL), ET_EINTEGRITY);
	c.sha256[31] ^= 0x80;
	assert_int_equal(et_bucket_verify(b, "object", 4096, c.sha256, NULL), ET_EINTEGRITY);
}

static void deletes(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(15, 10);
	struct et_bucket_object object;
	put_ok(b, "gone/soon", &c);
	assert_int_equal(et_bucket_delete(b, "gone/soon", NULL), 0);
	assert_int_equal(et_bucket_head(b, "gone/soon", &object, NULL), ET_ENOTFOUND);
	assert_int_equal(et_bucket_delete(b, "gone/soon", NULL), 0);
}

/* ---- Lists ---- */

struct names {
	char text[4096];
	unsigned count;
	unsigned stop_at;
	uint64_t bytes;
	char last[ET_BUCKET_KEY_MAX + 1];
	bool disorder;
};

static int names_take(void *arg, const char *key, uint64_t size)
{
	struct names *n = arg;
	n->disorder = n->disorder || (n->count > 0 && strcmp(key, n->last) <= 0);
	(void)snprintf(n->last, sizeof(n->last), "%s", key);
	size_t used = strlen(n->text);
	(void)snprintf(n->text + used, sizeof(n->text) - used, "%s ", key);
	n->bytes += size;
	n->count++;
	return n->count == n->stop_at ? 42 : 0;
}

static void expect_list(struct et_bucket *b, const char *prefix, const char *after,
			const char *expected)
{
	struct names n = { 0 };
	struct et_error e = { 0 };
	int rc = et_bucket_list(b, prefix, after, names_take, &n, &e);
	if (rc != 0) {
		fail_msg("list '%s' after '%s': %d %s", prefix, after, rc, e.text);
	}
	assert_string_equal(n.text, expected);
}

static void lists_in_byte_order(void **state)
{
	struct et_bucket *b = bucket_of(state);
	const char *keys[] = { "b/2", "a/x/1", "a.b", "a-b", "a/x.1", "b/10", "a", "aa" };
	struct content c = content_of(16, 10);
	struct names n = { .stop_at = 2 };
	for (size_t i = 0; i < ET_ARRAY_SIZE(keys); i++) {
		if (((struct store *)*state)->type == ET_BUCKET_DIR && strcmp(keys[i], "a") == 0) {
			continue; /* a file and a folder of one name */
		}
		put_ok(b, keys[i], &c);
	}
	if (((struct store *)*state)->type == ET_BUCKET_DIR) {
		expect_list(b, "", "", "a-b a.b a/x.1 a/x/1 aa b/10 b/2 ");
	} else {
		expect_list(b, "", "", "a a-b a.b a/x.1 a/x/1 aa b/10 b/2 ");
	}
	expect_list(b, "a/", "", "a/x.1 a/x/1 ");
	expect_list(b, "a/x", "", "a/x.1 a/x/1 ");
	expect_list(b, "b/1", "", "b/10 ");
	expect_list(b, "c", "", "");
	expect_list(b, "", "a/x.1", "a/x/1 aa b/10 b/2 ");
	expect_list(b, "b", "b/10", "b/2 ");
	expect_list(b, "", "b/2", "");
	assert_int_equal(et_bucket_list(b, "", "", names_take, &n, NULL), 42);
	assert_int_equal(n.count, 2);
}

static void keeps_to_its_prefix(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct store other = { .type = ((struct store *)*state)->type };
	struct content c = content_of(17, 10);
	struct et_bucket_object object;
	store_config(&other);
	assert_int_equal(et_bucket_open(&other.config, &other.b, NULL), 0);
	put_ok(other.b, "theirs", &c);
	assert_int_equal(et_bucket_head(b, "theirs", &object, NULL), ET_ENOTFOUND);
	expect_list(b, "", "", "");
	expect_list(other.b, "", "", "theirs ");
	other.b = et_bucket_close(other.b);
}

#define MANY 1203

static void puts_and_lists_many(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct et_bucket_put *puts = calloc(MANY, sizeof(*puts));
	char(*keys)[16] = calloc(MANY, sizeof(*keys));
	struct content c = content_of(18, 100);
	struct et_error e = { 0 };
	unsigned count = ((struct store *)*state)->type == ET_BUCKET_S3V2 ? 120 : MANY;
	for (unsigned i = 0; i < count; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "many/%05u", i);
		puts[i] = put_of(keys[i], &c);
	}
	int rc = et_bucket_put_many(b, puts, count, 8, &e);
	if (rc < 0) {
		fail_msg("%s", e.text);
	}
	struct names n = { 0 };
	assert_int_equal(et_bucket_list(b, "many/", NULL, names_take, &n, NULL), 0);
	assert_int_equal(n.count, count);
	assert_int_equal(n.bytes, count * 100);
	assert_false(n.disorder);
	free(keys);
	free(puts);
}

static void lists_more_than_a_page_with_signature_v2(void **state)
{
	struct store *s = *state;
	struct et_bucket *v2 = bucket_of(state);
	struct et_bucket *v4 = NULL;
	struct et_bucket_config config = s->config;
	config.type = ET_BUCKET_S3;
	assert_int_equal(et_bucket_open(&config, &v4, NULL), 0);
	struct et_bucket_put *puts = calloc(MANY, sizeof(*puts));
	char(*keys)[16] = calloc(MANY, sizeof(*keys));
	struct content c = content_of(19, 1);
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "%05u", i);
		puts[i] = put_of(keys[i], &c);
	}
	assert_int_equal(et_bucket_put_many(v4, puts, MANY, 8, NULL), 0);
	struct names n = { 0 };
	assert_int_equal(et_bucket_list(v2, "", NULL, names_take, &n, NULL), 0);
	assert_int_equal(n.count, MANY);
	assert_false(n.disorder);
	v4 = et_bucket_close(v4);
	free(keys);
	free(puts);
}

static void gives_each_of_many_its_own_result(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content good = content_of(20, 70000);
	struct content bad = content_of(21, 70000);
	struct et_bucket_put puts[] = { put_of("m1", &good), put_of("m2", &bad),
					put_of("m3", &good) };
	bad.sha256[0] ^= 1;
	assert_int_equal(et_bucket_put_many(b, puts, 3, 3, NULL), ET_EINTEGRITY);
	assert_int_equal(puts[0].code, 0);
	assert_int_equal(puts[1].code, ET_EINTEGRITY);
	assert_int_equal(puts[2].code, 0);
	expect_content(b, "m1", &good);
	expect_content(b, "m3", &good);
}

static void refuses_keys_outside_the_alphabet(void **state)
{
	struct et_bucket *b = bucket_of(state);
	const char *keys[] = { "",    "/a",  "a/",   "a//b", "../a",	 "a/../b", "a/./b",
			       "a b", "a+b", "a%2e", "a\nb", "\xc3\xa9", ".a",	   "a/.tmp" };
	struct content c = content_of(22, 1);
	struct et_bucket_object object;
	for (size_t i = 0; i < ET_ARRAY_SIZE(keys); i++) {
		struct et_bucket_put put = put_of(keys[i], &c);
		assert_int_equal(et_bucket_put(b, &put, NULL), ET_EMALFORMED);
		assert_int_equal(et_bucket_head(b, keys[i], &object, NULL), ET_EMALFORMED);
		assert_int_equal(et_bucket_delete(b, keys[i], NULL), ET_EMALFORMED);
	}
}

static void ends_when_it_is_cancelled(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(23, 10);
	struct et_bucket_put put = put_of("late", &c);
	struct et_bucket_object object;
	et_bucket_cancel(b);
	assert_int_equal(et_bucket_put(b, &put, NULL), ET_ECLOSED);
	assert_int_equal(et_bucket_head(b, "late", &object, NULL), ET_ECLOSED);
	assert_int_equal(et_bucket_list(b, "", NULL, names_take, NULL, NULL), ET_ECLOSED);
}

/* ---- S3 only ---- */

static void refuses_a_wrong_secret(void **state)
{
	struct store *s = *state;
	(void)bucket_of(state);
	char path[128];
	file_write(suite.folder, "wrong.cred", "evertapetest\nnot-the-secret\n", 0400);
	(void)snprintf(path, sizeof(path), "%s/wrong.cred", suite.folder);
	struct et_bucket_config config = s->config;
	config.credentials = path;
	struct et_bucket *b = NULL;
	struct content c = content_of(24, 10);
	struct et_bucket_put put = put_of("denied", &c);
	assert_int_equal(et_bucket_open(&config, &b, NULL), 0);
	assert_int_equal(et_bucket_put(b, &put, NULL), ET_EDENIED);
	assert_null(strstr(put.error.text, "not-the-secret"));
	b = et_bucket_close(b);
}

static void says_that_the_bucket_is_missing(void **state)
{
	struct store *s = *state;
	(void)bucket_of(state);
	struct et_bucket_config config = s->config;
	config.bucket = "no-such-bucket";
	struct et_bucket *b = NULL;
	struct content c = content_of(25, 10);
	struct et_bucket_put put = put_of("lost", &c);
	assert_int_equal(et_bucket_open(&config, &b, NULL), 0);
	assert_int_equal(et_bucket_put(b, &put, NULL), ET_ENOTFOUND);
	b = et_bucket_close(b);
}

static void puts_into_a_storage_class(void **state)
{
	struct store *s = *state;
	(void)bucket_of(state);
	struct et_bucket_config config = s->config;
	config.storage_class = "GLACIER";
	struct et_bucket *b = NULL;
	struct content c = content_of(26, 10);
	struct et_bucket_object object;
	assert_int_equal(et_bucket_open(&config, &b, NULL), 0);
	put_ok(b, "frozen", &c);
	assert_int_equal(et_bucket_head(b, "frozen", &object, NULL), 0);
	assert_string_equal(object.storage_class, "GLACIER");
	b = et_bucket_close(b);
}

static void locks_and_reads_the_lock_back(void **state)
{
	struct store *s = *state;
	(void)bucket_of(state);
	struct et_bucket_config config = s->config;
	struct et_bucket_object object;
	struct et_bucket *b = NULL;
	struct et_error e = { 0 };
	struct content c = content_of(27, 1000);
	config.bucket = "locked";
	assert_int_equal(et_bucket_make(&config, true, &e), 0);
	assert_int_equal(et_bucket_open(&config, &b, NULL), 0);
	struct et_bucket_put put = put_of("worm", &c);
	put.lock = ET_LOCK_GOVERNANCE;
	put.lock_until_us = et_clock_now_us() / 1000000 * 1000000 + 60LL * 1000000;
	int rc = et_bucket_put(b, &put, &e);
	if (rc < 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(et_bucket_head(b, "worm", &object, NULL), 0);
	assert_int_equal(object.lock, ET_LOCK_GOVERNANCE);
	assert_true(object.lock_until_us == put.lock_until_us);
	b = et_bucket_close(b);
}

static int count_key(void *arg, const char *key, uint64_t size)
{
	(void)key;
	(void)size;
	++*(unsigned *)arg;
	return 0;
}

static void probe_leaves_nothing(void **state)
{
	struct store *s = *state;
	static struct et_probe p;
	unsigned keys = 0;
	p = (struct et_probe){ .config = &s->config };
	int rc = et_bucket_probe(&p);
	for (size_t i = 0; rc < 0 && i < p.step_count; i++) {
		print_error("%s: %s\n", p.steps[i].name, p.steps[i].text);
	}
	assert_int_equal(rc, 0);
	assert_string_equal(p.left, "");
	assert_int_equal(et_bucket_list(s->b, "", NULL, count_key, &keys, NULL), 0);
	assert_int_equal(keys, 0);
	if (s->type == ET_BUCKET_DIR) {
		char path[512];
		(void)snprintf(path, sizeof(path), "%s/%s/test", s->path, s->prefix);
		assert_int_equal(access(path, F_OK), -1);
	}
}

/* The lock of the second object holds, ends, and then the object goes, its version too. */
static void probe_sees_that_a_lock_holds(void **state)
{
	struct store *s = *state;
	struct et_bucket_config config = s->config;
	static struct et_probe p;
	config.bucket = "locked";
	assert_int_equal(et_bucket_make(&config, true, NULL), 0);
	for (int lock = ET_LOCK_GOVERNANCE; lock <= ET_LOCK_COMPLIANCE; lock++) {
		p = (struct et_probe){ .config = &config, .lock = (enum et_bucket_lock)lock };
		int rc = et_bucket_probe(&p);
		for (size_t i = 0; rc < 0 && i < p.step_count; i++) {
			print_error("%s: %s\n", p.steps[i].name, p.steps[i].text);
		}
		assert_int_equal(rc, 0);
		assert_int_equal(step_of(&p, "lock")->result, ET_PROBE_OK);
		assert_int_equal(step_of(&p, "lock-holds")->result, ET_PROBE_OK);
		assert_string_equal(p.left, "");
	}
	p = (struct et_probe){ .config = &s->config, .lock = ET_LOCK_COMPLIANCE };
	assert_true(et_bucket_probe(&p) < 0); /* the other bucket cannot */
	assert_int_equal(step_of(&p, "lock")->result, ET_PROBE_FAILED);
	assert_string_equal(p.left, "");
}

static void probe_names_what_a_real_server_refuses(void **state)
{
	struct store *s = *state;
	struct et_bucket_config config = s->config;
	static struct et_probe p;
	char wrong[128];
	p = (struct et_probe){ .config = &config };
	config.bucket = "not-there";
	assert_int_equal(et_bucket_probe(&p), ET_ENOTFOUND);
	failed_at(&p, "bucket", ET_ENOTFOUND);
	config.bucket = s->config.bucket;
	file_write(suite.folder, "probe.cred", "tester\nsecretsecret\n", 0400);
	(void)snprintf(wrong, sizeof(wrong), "%s/probe.cred", suite.folder);
	config.credentials = wrong;
	assert_int_equal(et_bucket_probe(&p), ET_EDENIED);
	failed_at(&p, "access", ET_EDENIED);
}

static void says_that_a_bucket_cannot_lock(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(28, 10);
	struct et_bucket_put put = put_of("unlocked", &c);
	put.lock = ET_LOCK_COMPLIANCE;
	put.lock_until_us = et_clock_now_us() + YEAR_US;
	assert_true(et_bucket_put(b, &put, NULL) < 0);
}

static void has_no_lock(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(29, 10);
	struct et_bucket_put put = put_of("unlocked", &c);
	put.lock = ET_LOCK_COMPLIANCE;
	put.lock_until_us = et_clock_now_us() + YEAR_US;
	assert_int_equal(et_bucket_put(b, &put, NULL), ET_EUNSUPPORTED);
}

/* ---- Dir only ---- */

static void leaves_nothing_half_written(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(30, 300000);
	char command[256];
	c.sha256[0] ^= 1;
	struct et_bucket_put put = put_of("half/written", &c);
	assert_int_equal(et_bucket_put(b, &put, NULL), ET_EINTEGRITY);
	(void)snprintf(command, sizeof(command), "test -z \"$(find %s/store/%s -type f)\"",
		       suite.folder, ((struct store *)*state)->prefix);
	assert_int_equal(system(command), 0);
}

static void sees_a_flipped_bit(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(31, 5000);
	char path[512];
	put_ok(b, "rot", &c);
	(void)snprintf(path, sizeof(path), "%s/store/%s/rot", suite.folder,
		       ((struct store *)*state)->prefix);
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte = (uint8_t)(content_byte(&c, 2500) ^ 4);
	assert_int_equal(pwrite(fd, &byte, 1, 2500), 1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(et_bucket_verify(b, "rot", c.size, c.sha256, NULL), ET_EINTEGRITY);
	struct et_bucket_put put = put_of("rot", &c);
	assert_int_equal(et_bucket_put(b, &put, NULL), ET_EEXISTS);
}

static void does_not_make_a_folder_that_is_not_mounted(void **state)
{
	struct store *s = *state;
	struct et_bucket_config config = s->config;
	struct et_bucket *b = NULL;
	struct et_error e = { 0 };
	config.path = "/tmp/et_bucket.none/archive";
	assert_int_equal(et_bucket_open(&config, &b, &e), ET_ENOTFOUND);
	assert_non_null(strstr(e.text, "/tmp/et_bucket.none/archive"));
}

/* ---- The suite ---- */

/* 0; 77: not installed; else it does not start. */
static int ceph_start(void)
{
	char line[512];
	char secret[128];
	char key[64];
	char text[256];
	const char *given = getenv("EVERTAPE_TEST_S3");
	if (given != NULL) {
		(void)snprintf(line, sizeof(line), "%s", given);
	} else {
		pid_t pid;
		(void)snprintf(suite.ceph_folder, sizeof(suite.ceph_folder), "%s/ceph",
			       suite.folder);
		char *argv[] = { strdup(HARNESS), strdup("up"), strdup(suite.ceph_folder), NULL };
		int code = program_start(argv, line, sizeof(line), &pid, NULL);
		for (size_t i = 0; i < 3; i++) {
			free(argv[i]);
		}
		if (code != 0) {
			print_message(
				"SKIPPED: Ceph did not start (%d): the stores s3 and s3v2 are "
				"not tested on a real server\n",
				code);
			return false;
		}
		suite.ceph_ours = true;
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
	line_value(line, "endpoint", suite.endpoint, sizeof(suite.endpoint));
	line_value(line, "access_key", key, sizeof(key));
	line_value(line, "secret_key", secret, sizeof(secret));
	(void)snprintf(text, sizeof(text), "%s\n%s\n", key, secret);
	file_write(suite.folder, "s3.cred", text, 0400);
	(void)snprintf(suite.credentials, sizeof(suite.credentials), "%s/s3.cred", suite.folder);
	return 0;
}

static void ceph_stop(void)
{
	if (suite.ceph_ours) {
		char command[256];
		(void)snprintf(command, sizeof(command), HARNESS " down %s", suite.ceph_folder);
		assert_int_equal(system(command), 0);
	}
}

#define ON(store, test)                                                                            \
	{                                                                                          \
#store ": " #test, test, store##_set_up, store_tear_down, NULL                     \
	}
#define ON_ALL(test) ON(dir, test), ON(s3, test), ON(s3v2, test)
#define ON_S3(test) ON(s3, test), ON(s3v2, test)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(gives_back_what_was_put),
		ON_ALL(gives_back_a_large_object),
		ON_ALL(gives_back_an_empty_object),
		ON_ALL(gives_any_range),
		ON_ALL(refuses_a_range_that_is_not_there),
		ON_ALL(takes_the_same_content_again),
		ON_ALL(never_overwrites_with_other_content),
		ON_ALL(refuses_an_equal_object_when_asked_to),
		ON_ALL(leaves_no_object_of_a_source_that_lies),
		ON_ALL(passes_on_why_the_source_failed),
		ON_ALL(passes_on_why_the_sink_failed),
		ON_ALL(says_what_is_not_there),
		ON_ALL(finds_what_differs),
		ON_ALL(deletes),
		ON_ALL(lists_in_byte_order),
		ON_ALL(keeps_to_its_prefix),
		ON_ALL(puts_and_lists_many),
		ON(s3v2, lists_more_than_a_page_with_signature_v2),
		ON_ALL(gives_each_of_many_its_own_result),
		ON_ALL(refuses_keys_outside_the_alphabet),
		ON_ALL(ends_when_it_is_cancelled),
		ON_S3(refuses_a_wrong_secret),
		ON_S3(says_that_the_bucket_is_missing),
		ON(s3, puts_into_a_storage_class),
		ON(s3, locks_and_reads_the_lock_back),
		ON(s3, says_that_a_bucket_cannot_lock),
		ON_ALL(probe_leaves_nothing),
		ON(s3, probe_sees_that_a_lock_holds),
		ON(s3, probe_names_what_a_real_server_refuses),
		ON(dir, has_no_lock),
		ON(s3v2, has_no_lock),
		ON(dir, leaves_nothing_half_written),
		ON(dir, sees_a_flipped_bit),
		ON(dir, does_not_make_a_folder_that_is_not_mounted),
	};
	bool s3 = argc > 1 && strcmp(argv[1], "s3") == 0;
	folder_make(suite.folder);
	int rc = s3 ? ceph_start() : 0;
	if (rc != 0) {
		print_message("%s: Ceph did not start (exit %d): the stores s3 and s3v2 are not "
			      "tested on a real server\n",
			      rc == 77 ? "SKIPPED" : "FAILED", rc);
	} else {
		cmocka_set_test_filter(s3 ? "s3*" : "dir*");
		rc = cmocka_run_group_tests(tests, NULL, NULL);
	}
	ceph_stop();
	folder_remove(suite.folder);
	return rc;
}
