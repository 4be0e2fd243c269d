/* The S3 stores against a server that misbehaves (cluster-tests/harness/faultd.py). Each test is
 * one trap that was measured on real servers, proxies or libraries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "archive/bucket/test/store.h"
#include "node/io/clock.h"

#define HARNESS "../../../cluster-tests/harness/faultd.py"

static char folder[64];
static char credentials[128];

/* libs3 2.0 does not free what libxml2 made of an answer with a document type declaration. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:libxml2.so\n";
}

struct server {
	pid_t pid;
	int input;
	char port[8];
};

struct fixture {
	struct server server;
	struct et_bucket_config config;
	char endpoint[64];
	struct et_bucket *b;
};

static void server_start(struct server *s, const char *const *options, size_t count)
{
	char *argv[12] = { strdup(HARNESS) };
	char line[128];
	for (size_t i = 0; i < count; i++) {
		argv[i + 1] = strdup(options[i]);
	}
	int code = program_start(argv, line, sizeof(line), &s->pid, &s->input);
	for (size_t i = 0; i <= count; i++) {
		free(argv[i]);
	}
	if (code != 0) {
		fail_msg("the fault server ended with %d", code);
	}
	line_value(line, "port", s->port, sizeof(s->port));
}

static void server_stop(struct server *s)
{
	(void)close(s->input);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
}

static struct et_bucket_config config_of(enum et_bucket_type type, const char *endpoint)
{
	return (struct et_bucket_config){ .type = type,
					  .endpoint = endpoint,
					  .bucket = "bucket",
					  .credentials = credentials,
					  .connect_ms = 2000,
					  .stall_ms = 600,
					  .attempts = 4,
					  .pause_ms = 5 };
}

static int set_up(void **state, enum et_bucket_type type)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct et_error e = { 0 };
	server_start(&f->server, NULL, 0);
	(void)snprintf(f->endpoint, sizeof(f->endpoint), "http://127.0.0.1:%s", f->server.port);
	f->config = config_of(type, f->endpoint);
	if (et_bucket_open(&f->config, &f->b, &e) < 0) {
		print_error("%s\n", e.text);
		return -1;
	}
	*state = f;
	return 0;
}

static int s3_set_up(void **state)
{
	return set_up(state, ET_BUCKET_S3);
}

static int s3v2_set_up(void **state)
{
	return set_up(state, ET_BUCKET_S3V2);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	f->b = et_bucket_close(f->b);
	server_stop(&f->server);
	free(f);
	return 0;
}

static struct et_bucket *bucket_of(void **state)
{
	return ((struct fixture *)*state)->b;
}

static int put(struct et_bucket *b, const char *key, struct content *c, struct et_error *e)
{
	struct et_bucket_put p = put_of(key, c);
	return et_bucket_put(b, &p, e);
}

static void put_ok(struct et_bucket *b, const char *key, struct content *c)
{
	struct et_error e = { 0 };
	if (put(b, key, c, &e) < 0) {
		fail_msg("put %s: %s", key, e.text);
	}
}

static int get_all(struct et_bucket *b, const char *key, const struct content *c,
		   struct compare *compare, struct et_error *e)
{
	*compare = (struct compare){ .content = c };
	return et_bucket_get(b, key, 0, c->size, compare_take, compare, e);
}

static void get_ok(struct et_bucket *b, const char *key, const struct content *c)
{
	struct compare compare;
	struct et_error e = { 0 };
	if (get_all(b, key, c, &compare, &e) < 0) {
		fail_msg("get %s: %s", key, e.text);
	}
	assert_int_equal(compare.taken, c->size);
	assert_false(compare.differs);
}

/* ---- Both ---- */

static void tries_again_after_503(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(1, 100000);
	put_ok(b, "503x2-a", &c);
	get_ok(b, "503x2-a", &c);
	put_ok(b, "500x2-b", &c);
	get_ok(b, "500x2-b", &c);
}

static void gives_up_at_last(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(2, 1000);
	struct et_error e = { 0 };
	assert_int_equal(put(b, "503-always", &c, &e), ET_EUNREACHABLE);
	assert_true(e.text[0] != '\0');
}

static void never_takes_a_proxys_page_for_success(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(3, 1000);
	struct et_bucket_object object;
	struct et_error e = { 0 };
	assert_int_equal(put(b, "html502-a", &c, &e), ET_EUNREACHABLE);
	assert_int_equal(et_bucket_head(b, "html502-a", &object, NULL), ET_ENOTFOUND);
	put_ok(b, "html502x1-b", &c);
	get_ok(b, "html502x1-b", &c);
}

static void never_takes_an_error_with_status_200_for_success(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(4, 1000);
	struct et_error e = { 0 };
	assert_true(put(b, "200err-a", &c, &e) < 0);
	put_ok(b, "200errx1-b", &c);
	get_ok(b, "200errx1-b", &c);
}

static void goes_on_where_an_answer_was_cut(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(5, 400000);
	put_ok(b, "truncx2-a", &c);
	get_ok(b, "truncx2-a", &c);
}

static void says_that_an_answer_is_always_cut(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(6, 400000);
	struct compare compare;
	struct et_error e = { 0 };
	put_ok(b, "trunc-a", &c);
	assert_int_equal(get_all(b, "trunc-a", &c, &compare, &e), ET_EUNREACHABLE);
	assert_true(compare.taken < c.size);
	assert_false(compare.differs);
}

static void survives_a_reset_in_a_put(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(7, 3000000);
	put_ok(b, "plain", &c); /* so that the connection is a reused one */
	put_ok(b, "resetx2-a", &c);
	get_ok(b, "resetx2-a", &c);
}

static void needs_no_100_continue(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(8, 2000000);
	put_ok(b, "no100-a", &c);
	get_ok(b, "no100-a", &c);
}

static void does_not_follow_a_redirect(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(9, 1000);
	struct et_bucket_object object;
	struct et_error e = { 0 };
	assert_int_equal(put(b, "redirect-a", &c, &e), ET_EUNREACHABLE);
	assert_int_equal(et_bucket_head(b, "redirect-a", &object, NULL), ET_ENOTFOUND);
}

static void finds_wrong_content_on_read_back(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(10, 100000);
	put_ok(b, "wrong-a", &c);
	assert_int_equal(et_bucket_verify(b, "wrong-a", c.size, c.sha256, NULL), ET_EINTEGRITY);
}

static void says_that_nobody_listens(void **state)
{
	struct fixture *f = *state;
	struct et_bucket *b = NULL;
	struct et_bucket_config config = f->config;
	struct content c = content_of(11, 1000);
	struct et_error e = { 0 };
	config.endpoint = "http://127.0.0.1:1";
	assert_int_equal(et_bucket_open(&config, &b, NULL), 0);
	assert_int_equal(put(b, "a", &c, &e), ET_EUNREACHABLE);
	assert_non_null(strstr(e.text, "onnect"));
	b = et_bucket_close(b);
}

struct names {
	unsigned count;
};

static int names_take(void *arg, const char *key, uint64_t size)
{
	struct names *n = arg;
	(void)key;
	(void)size;
	n->count++;
	return 0;
}

static void lists_all_although_a_page_was_cut(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(12, 10);
	struct names n = { 0 };
	struct et_error e = { 0 };
	char key[32];
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(key, sizeof(key), "cutlist/%03u", i);
		put_ok(b, key, &c);
	}
	int rc = et_bucket_list(b, "cutlist", NULL, names_take, &n, &e);
	if (rc < 0) {
		fail_msg("%s", e.text);
	}
	assert_true(n.count >= 40); /* an entry may come twice when its page was cut */
}

static void bounds_a_hostile_list(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct names n = { 0 };
	const char *prefixes[] = { "bomb", "deep", "junk" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(prefixes); i++) {
		assert_true(et_bucket_list(b, prefixes[i], NULL, names_take, &n, NULL) < 0);
	}
	assert_int_equal(n.count, 0);
}

/* ---- Signature V4 only ---- */

static void ends_a_list_that_would_not_end(void **state)
{
	struct names n = { 0 };
	assert_int_equal(et_bucket_list(bucket_of(state), "endless", NULL, names_take, &n, NULL),
			 ET_EMALFORMED);
}

static void ends_a_stalled_request_in_time(void **state)
{
	struct fixture *f = *state;
	struct et_bucket *b = NULL;
	struct et_bucket_config config = f->config;
	struct content c = content_of(13, 1000);
	struct et_error e = { 0 };
	config.attempts = 2;
	assert_int_equal(et_bucket_open(&config, &b, NULL), 0);
	int64_t begin = et_clock_mono_us();
	assert_int_equal(put(b, "stall-a", &c, &e), ET_EUNREACHABLE);
	assert_true(et_clock_mono_us() - begin < 15LL * 1000000);
	assert_non_null(strstr(e.text, "no byte has moved"));
	b = et_bucket_close(b);
}

static void takes_503_before_the_body_was_read(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(14, 3000000);
	put_ok(b, "early503x2-a", &c);
	get_ok(b, "early503x2-a", &c);
}

static void asks_for_the_etag_that_a_put_did_not_give(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(15, 1000);
	put_ok(b, "noetag-a", &c);
	get_ok(b, "noetag-a", &c);
	assert_true(put(b, "emptyetag-b", &c, NULL) < 0);
	assert_true(put(b, "lost-c", &c, NULL) == 0); /* what only a read back finds */
	assert_int_equal(et_bucket_verify(b, "lost-c", c.size, c.sha256, NULL), ET_ENOTFOUND);
	put_ok(b, "short-d", &c);
	assert_int_equal(et_bucket_verify(b, "short-d", c.size, c.sha256, NULL), ET_EINTEGRITY);
}

static void refuses_a_range_that_was_not_asked_for(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(16, 1000);
	struct compare compare = { .content = &c, .at = 100 };
	put_ok(b, "norange-a", &c);
	assert_int_equal(et_bucket_get(b, "norange-a", 100, 10, compare_take, &compare, NULL),
			 ET_EUNSUPPORTED);
	put_ok(b, "shift-b", &c);
	assert_int_equal(et_bucket_get(b, "shift-b", 100, 10, compare_take, &compare, NULL),
			 ET_EUNREACHABLE);
	assert_int_equal(compare.taken, 0);
}

static void refuses_an_object_that_changed_in_between(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(17, 100000);
	struct compare compare;
	put_ok(b, "changed-a", &c);
	assert_int_equal(get_all(b, "changed-a", &c, &compare, NULL), ET_EINTEGRITY);
}

static void says_that_a_lock_forbids_it(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(18, 10);
	put_ok(b, "locked-a", &c);
	assert_int_equal(et_bucket_delete(b, "locked-a", NULL), ET_EPOLICY);
}

static void reads_back_that_a_lock_was_forgotten(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(19, 10);
	struct et_bucket_object object;
	struct et_bucket_put p = put_of("nolock-a", &c);
	p.lock = ET_LOCK_COMPLIANCE;
	p.lock_until_us = et_clock_now_us() + 3600LL * 1000000;
	assert_int_equal(et_bucket_put(b, &p, NULL), 0);
	assert_int_equal(et_bucket_head(b, "nolock-a", &object, NULL), 0);
	assert_int_equal(object.lock, ET_LOCK_NONE);
}

static void signs_with_the_servers_clock_when_it_must(void **state)
{
	(void)state;
	const char *options[] = { "--skew", "-90000" };
	struct server server;
	char endpoint[64];
	struct et_bucket *b = NULL;
	struct content c = content_of(20, 1000);
	server_start(&server, options, 2);
	(void)snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%s", server.port);
	struct et_bucket_config config = config_of(ET_BUCKET_S3, endpoint);
	assert_int_equal(et_bucket_open(&config, &b, NULL), 0);
	put_ok(b, "skewed-a", &c);
	get_ok(b, "skewed-a", &c);
	b = et_bucket_close(b);
	server_stop(&server);
}

static void *cancel_soon(void *arg)
{
	(void)usleep(200000); /* Whenever it strikes, the answer must be the same. */
	et_bucket_cancel(arg);
	return NULL;
}

static void ends_in_the_middle_when_it_is_cancelled(void **state)
{
	struct fixture *f = *state;
	struct et_bucket *b = NULL;
	struct et_bucket_config config = f->config;
	struct content c = content_of(21, 1000);
	pthread_t thread;
	config.stall_ms = 60000;
	assert_int_equal(et_bucket_open(&config, &b, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, b), 0);
	int64_t begin = et_clock_mono_us();
	assert_int_equal(put(b, "stall-b", &c, NULL), ET_ECLOSED);
	assert_true(et_clock_mono_us() - begin < 10LL * 1000000);
	assert_int_equal(pthread_join(thread, NULL), 0);
	b = et_bucket_close(b);
}

/* ---- TLS ---- */

/* A certificate that signed itself, and its key, as files. */
static void certificate_make(const char *name, const char *alt, long from_s, long to_s)
{
	char path[128];
	X509V3_CTX context;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	assert_int_equal(X509_set_version(x, 2), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 1), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), from_s));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), to_s));
	X509_NAME *subject = X509_get_subject_name(x);
	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
						    (const unsigned char *)name, -1, -1, 0),
			 1);
	assert_int_equal(X509_set_issuer_name(x, subject), 1);
	assert_int_equal(X509_set_pubkey(x, key), 1);
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, alt);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
	e = X509V3_EXT_conf_nid(NULL, &context, NID_basic_constraints, "critical,CA:TRUE");
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	(void)snprintf(path, sizeof(path), "%s/%s.crt", folder, name);
	FILE *file = fopen(path, "we");
	assert_int_equal(PEM_write_X509(file, x), 1);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(path, sizeof(path), "%s/%s.key", folder, name);
	file = fopen(path, "we");
	assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
	X509_free(x);
	EVP_PKEY_free(key);
}

static int tls_put(enum et_bucket_type type, const char *served, const char *trusted)
{
	char certificate[128];
	char key[128];
	char ca[128];
	char endpoint[64];
	struct server server;
	struct et_bucket *b = NULL;
	struct content c = content_of(22, 1000);
	(void)snprintf(certificate, sizeof(certificate), "%s/%s.crt", folder, served);
	(void)snprintf(key, sizeof(key), "%s/%s.key", folder, served);
	(void)snprintf(ca, sizeof(ca), "%s/%s.crt", folder, trusted == NULL ? "" : trusted);
	const char *options[] = { "--cert", certificate, "--key", key };
	server_start(&server, options, 4);
	(void)snprintf(endpoint, sizeof(endpoint), "https://127.0.0.1:%s", server.port);
	struct et_bucket_config config = config_of(type, endpoint);
	config.ca_file = trusted == NULL ? NULL : ca;
	config.insecure_tls = type == ET_BUCKET_S3V2;
	assert_int_equal(et_bucket_open(&config, &b, NULL), 0);
	int rc = put(b, "a", &c, NULL);
	b = et_bucket_close(b);
	server_stop(&server);
	return rc;
}

static void believes_only_whom_it_was_told_to(void **state)
{
	(void)state;
	certificate_make("good", "IP:127.0.0.1", -60, 86400);
	certificate_make("other", "IP:127.0.0.1", -60, 86400);
	certificate_make("elsewhere", "DNS:s3.example", -60, 86400);
	certificate_make("expired", "IP:127.0.0.1", -86400, -60);
	assert_int_equal(tls_put(ET_BUCKET_S3, "good", "good"), 0);
	assert_int_equal(tls_put(ET_BUCKET_S3, "good", "other"), ET_EUNTRUSTED);
	assert_int_equal(tls_put(ET_BUCKET_S3, "good", NULL), ET_EUNTRUSTED);
	assert_int_equal(tls_put(ET_BUCKET_S3, "elsewhere", "elsewhere"), ET_EUNTRUSTED);
	assert_int_equal(tls_put(ET_BUCKET_S3, "expired", "expired"), ET_EUNTRUSTED);
}

/* ---- A target tried out ---- */

static int probe_with(const char *const *options, size_t count, struct et_probe *p)
{
	struct server server;
	char endpoint[64];
	server_start(&server, options, count);
	(void)snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%s", server.port);
	struct et_bucket_config config = config_of(ET_BUCKET_S3, endpoint);
	p->config = &config;
	int rc = et_bucket_probe(p);
	p->config = NULL;
	server_stop(&server);
	return rc;
}

static void a_probe_of_a_good_server_is_good(void **state)
{
	(void)state;
	static struct et_probe p;
	p = (struct et_probe){ 0 };
	assert_int_equal(probe_with(NULL, 0, &p), 0);
	static const char *const names[] = { "settings", "credentials", "endpoint", "access",
					     "bucket",	 "clock",	"put",	    "head",
					     "get",	 "range",	"list",	    "delete" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		assert_int_equal(step_of(&p, names[i])->result, ET_PROBE_OK);
	}
	assert_int_equal(step_of(&p, "tls")->result, ET_PROBE_SKIPPED);
	assert_int_equal(step_of(&p, "lock")->result, ET_PROBE_SKIPPED);
	assert_string_equal(p.left, "");
}

/* Whatever is wrong is named by the step that found it. */
static void a_probe_names_the_step_that_failed(void **state)
{
	(void)state;
	static const struct {
		const char *options[2];
		enum et_bucket_lock lock;
		const char *step;
		int code;
	} cases[] = {
		{ { "--skew", "-90000" }, ET_LOCK_NONE, "clock", ET_EREFUSED },
		{ { "--always", "503" }, ET_LOCK_NONE, "put", ET_EUNREACHABLE },
		{ { "--always", "lost" }, ET_LOCK_NONE, "head", ET_ENOTFOUND },
		{ { "--always", "short" }, ET_LOCK_NONE, "head", ET_EINTEGRITY },
		{ { "--always", "wrong" }, ET_LOCK_NONE, "get", ET_EINTEGRITY },
		{ { "--always", "norange" }, ET_LOCK_NONE, "get", ET_EUNSUPPORTED },
		{ { "--always", "shift" }, ET_LOCK_NONE, "get", ET_EUNREACHABLE },
		{ { "--always", "nolock" }, ET_LOCK_COMPLIANCE, "lock", ET_EPOLICY },
		{ { "--always", "locked" }, ET_LOCK_NONE, "delete", ET_EPOLICY },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		static struct et_probe p;
		p = (struct et_probe){ .lock = cases[i].lock };
		assert_int_equal(probe_with(cases[i].options, 2, &p), cases[i].code);
		failed_at(&p, cases[i].step, cases[i].code);
		bool stays = strcmp(cases[i].step, "delete") == 0;
		bool unknown = strcmp(cases[i].options[1], "503") == 0;
		assert_true((p.left[0] != '\0') == (stays || unknown));
	}
}

static void a_probe_finds_nobody_and_no_trust(void **state)
{
	(void)state;
	static struct et_probe p;
	struct et_bucket_config config = config_of(ET_BUCKET_S3, "http://127.0.0.1:1");
	p = (struct et_probe){ .config = &config };
	assert_int_equal(et_bucket_probe(&p), ET_EUNREACHABLE);
	failed_at(&p, "endpoint", ET_EUNREACHABLE);

	struct server server;
	char endpoint[64], certificate[128], key[128];
	certificate_make("probed", "IP:127.0.0.1", -60, 86400);
	(void)snprintf(certificate, sizeof(certificate), "%s/probed.crt", folder);
	(void)snprintf(key, sizeof(key), "%s/probed.key", folder);
	const char *options[] = { "--cert", certificate, "--key", key };
	server_start(&server, options, 4);
	(void)snprintf(endpoint, sizeof(endpoint), "https://127.0.0.1:%s", server.port);
	config = config_of(ET_BUCKET_S3, endpoint);
	p = (struct et_probe){ .config = &config };
	assert_int_equal(et_bucket_probe(&p), ET_EUNTRUSTED);
	failed_at(&p, "tls", ET_EUNTRUSTED);
	assert_non_null(strstr(step_of(&p, "tls")->next, "ca-file"));
	config.ca_file = certificate;
	assert_int_equal(et_bucket_probe(&p), 0);
	assert_int_equal(step_of(&p, "tls")->result, ET_PROBE_OK);
	server_stop(&server);

	file_write(folder, "open", "AKIDEXAMPLE\nsecretsecret\n", 0644);
	(void)snprintf(key, sizeof(key), "%s/open", folder);
	config.credentials = key;
	assert_int_equal(et_bucket_probe(&p), ET_EKEYPERM);
	failed_at(&p, "credentials", ET_EKEYPERM);
	assert_memory_equal(step_of(&p, "credentials")->next, "chmod 0400 /", 12);
	config.bucket = "B";
	assert_int_equal(et_bucket_probe(&p), ET_EMALFORMED);
	failed_at(&p, "settings", ET_EMALFORMED);
}

/* ---- libs3 only ---- */

static void notices_what_libs3_calls_ok(void **state)
{
	struct et_bucket *b = bucket_of(state);
	struct content c = content_of(23, 1000);
	assert_int_equal(put(b, "lost-a", &c, NULL), ET_EUNREACHABLE);
	assert_int_equal(put(b, "short-b", &c, NULL), ET_EEXISTS);
	put_ok(b, "lostx1-c", &c);
	get_ok(b, "lostx1-c", &c);
	put_ok(b, "noetag-d", &c);
}

static void refuses_https_that_verifies_nothing(void **state)
{
	(void)state;
	struct et_bucket_config config = config_of(ET_BUCKET_S3V2, "https://127.0.0.1:1");
	struct et_error e = { 0 };
	assert_int_equal(et_bucket_check(&config, &e), ET_EMALFORMED);
	assert_non_null(strstr(e.next, "insecure-tls: true"));
	config.insecure_tls = true;
	assert_int_equal(et_bucket_check(&config, &e), 0);
	certificate_make("nobody", "IP:127.0.0.1", -60, 86400);
	assert_int_equal(tls_put(ET_BUCKET_S3V2, "nobody", NULL), 0);
}

static int group_set_up(void **state)
{
	(void)state;
	folder_make(folder);
	file_write(folder, "cred", "AKIDEXAMPLE\nsecretsecret\n", 0400);
	(void)snprintf(credentials, sizeof(credentials), "%s/cred", folder);
	return 0;
}

static int group_tear_down(void **state)
{
	(void)state;
	folder_remove(folder);
	return 0;
}

#define ON(store, test)                                                                            \
	{                                                                                          \
#store ": " #test, test, store##_set_up, tear_down, NULL                           \
	}
#define ON_BOTH(test) ON(s3, test), ON(s3v2, test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_probe_of_a_good_server_is_good),
		cmocka_unit_test(a_probe_names_the_step_that_failed),
		cmocka_unit_test(a_probe_finds_nobody_and_no_trust),
		ON_BOTH(tries_again_after_503),
		ON_BOTH(gives_up_at_last),
		ON_BOTH(never_takes_a_proxys_page_for_success),
		ON_BOTH(never_takes_an_error_with_status_200_for_success),
		ON_BOTH(goes_on_where_an_answer_was_cut),
		ON_BOTH(says_that_an_answer_is_always_cut),
		ON_BOTH(survives_a_reset_in_a_put),
		ON_BOTH(needs_no_100_continue),
		ON_BOTH(does_not_follow_a_redirect),
		ON_BOTH(finds_wrong_content_on_read_back),
		ON_BOTH(says_that_nobody_listens),
		ON_BOTH(lists_all_although_a_page_was_cut),
		ON_BOTH(bounds_a_hostile_list),
		ON(s3, ends_a_list_that_would_not_end),
		ON(s3, ends_a_stalled_request_in_time),
		ON(s3, takes_503_before_the_body_was_read),
		ON(s3, asks_for_the_etag_that_a_put_did_not_give),
		ON(s3, refuses_a_range_that_was_not_asked_for),
		ON(s3, refuses_an_object_that_changed_in_between),
		ON(s3, says_that_a_lock_forbids_it),
		ON(s3, reads_back_that_a_lock_was_forgotten),
		ON(s3, signs_with_the_servers_clock_when_it_must),
		ON(s3, ends_in_the_middle_when_it_is_cancelled),
		ON(s3, believes_only_whom_it_was_told_to),
		ON(s3v2, notices_what_libs3_calls_ok),
		ON(s3v2, refuses_https_that_verifies_nothing),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
