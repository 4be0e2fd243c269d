/* For the tests of the API of a member: a real one-voter cluster (TLS, Raft, RocksDB, keeper) on a
 * loop thread, and a client over the Unix socket and HTTPS. One recording whose tape is still open.
 */
#ifndef ET_NODE_API_TEST_MEMBER_H
#define ET_NODE_API_TEST_MEMBER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/api/api.h"
#include "node/base/role.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/root/root.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"
#include "node/tape/tape.h"
#include "node/tape/wrap.h"

#define PATIENCE_MS 60000
#define SECONDS 4
#define WAV_SIZE (44 + SECONDS * 8000 * 4)

struct fixture {
	char folder[64];
	char socket[96];
	char identity_folder[96];
	char spec[96];
	uv_loop_t loop;
	struct et_postbox box;
	uv_timer_t poll; /* so that flags set elsewhere are seen */
	pthread_t thread;
	struct et_secret *root;
	struct et_keeper_init init;
	struct et_members *members;
	struct et_tls_node *tls;
	struct et_catalog *catalog;
	struct et_keeper *keeper;
	struct et_api *api;
	struct et_post stop;
	bool stopping;
	bool done;
	int code;
	char id[ET_UUID_TEXT_SIZE]; /* of the recording */
	uint8_t recording[16];
	char token[160]; /* an administrator's */
};

static struct fixture *the;
static const struct et_api_backend
	*member_backend; /* of the API; NULL: none. Before group_set_up() */

/* ---- The node ---- */

static inline void on_poll(uv_timer_t *timer)
{
	(void)timer;
}

static inline void run_until(struct fixture *f, const bool *flag)
{
	uint64_t end = uv_hrtime() + (uint64_t)PATIENCE_MS * 1000000;
	while (!*flag) {
		assert_true(uv_hrtime() < end);
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	}
}

static inline void on_done(void *arg)
{
	((struct fixture *)arg)->done = true;
}

static inline void on_outcome(void *arg, int code, const Et__Result *result)
{
	struct fixture *f = arg;
	f->code = code;
	f->done = true;
	if (code < 0 && result != NULL) {
		print_error("%s\n", result->text);
	}
}

static inline void on_applied(void *arg, uint64_t index, const Et__Command *command,
			      const Et__Result *result)
{
	struct fixture *f = arg;
	if (f->keeper != NULL) {
		et_keeper_on_applied(f->keeper, index, command, result);
	}
	if (f->api != NULL) {
		et_api_on_applied(f->api, index, command, result);
	}
}

static inline void propose(struct fixture *f, Et__Command *command)
{
	f->done = false;
	command->principal = (char *)(uintptr_t) "local:uid=0";
	command->schema = ET_COMMAND_SCHEMA;
	et_catalog_propose(f->catalog, command, 20000, on_outcome, f);
	run_until(f, &f->done);
	assert_int_equal(f->code, 0);
}

static inline void must(int rc, const struct et_error *e)
{
	if (rc < 0) {
		fail_msg("%s", e->text);
	}
}

static inline void start_member(struct fixture *f)
{
	struct et_error e = { 0 };
	struct et_keeper_init_config config = { .cluster = "acme",
						.name = "prg-1",
						.site = "prg",
						.roles = ET_ROLE_VOTER | ET_ROLE_VAULT,
						.address = "127.0.0.1:1",
						.now_us = et_clock_now_us() };
	const struct et_root_place place = { .spec = f->spec, .state = f->folder };
	must(et_root_make(&place, &f->root, &e), &e);
	must(et_keeper_key_make(f->folder, f->root, 1, config.seal_public, &e), &e);
	must(et_keeper_make_init(&config, &f->init, &e), &e);
	must(et_identity_save(f->identity_folder, f->root, &f->init.identity, &e), &e);
	must(et_member_list_save(f->identity_folder,
				 (struct et_view){ f->init.members.data, f->init.members.size },
				 &e),
	     &e);
	must(et_members_open(f->identity_folder, &f->init.identity, &f->members, &e), &e);
	const struct et_tls_config tls = { .loop = &f->loop,
					   .identity = &f->init.identity,
					   .listen = "127.0.0.1:0",
					   .check = et_members_check,
					   .recorded = et_members_recorded,
					   .arg = f->members };
	must(et_tls_start(&tls, &f->tls, &e), &e);
	const struct et_catalog_config catalog = { .loop = &f->loop,
						   .postbox = &f->box,
						   .tls = f->tls,
						   .node = 1,
						   .address = et_tls_address(f->tls),
						   .folder = f->folder,
						   .election_ms = 600,
						   .on_applied = on_applied,
						   .arg = f };
	must(et_catalog_bootstrap(&catalog, &e), &e);
	must(et_catalog_start(&catalog, &f->catalog, &e), &e);
	et_members_set_state(f->members, et_catalog_state(f->catalog));
	const struct et_keeper_config keeper = { .loop = &f->loop,
						 .postbox = &f->box,
						 .catalog = f->catalog,
						 .tls = f->tls,
						 .identity = &f->init.identity,
						 .root = f->root,
						 .root_on_disk = true,
						 .state_folder = f->folder,
						 .media_folder = f->folder };
	must(et_keeper_start(&keeper, &f->keeper, &e), &e);
	f->done = false; /* it owns its principal */
	et_catalog_propose(f->catalog, f->init.command, 20000, on_outcome, f);
	run_until(f, &f->done);
	assert_int_equal(f->code, 0);
}

/* It has heard a majority, itself: reads can say how old they are. */
static inline void run_until_fresh(struct fixture *f)
{
	uint64_t end = uv_hrtime() + (uint64_t)PATIENCE_MS * 1000000;
	struct et_catalog_status s;

	et_catalog_status(f->catalog, &s);
	while (s.fresh_us == 0) {
		assert_true(uv_hrtime() < end);
		(void)uv_run(&f->loop, UV_RUN_ONCE);
		et_catalog_status(f->catalog, &s);
	}
}

static inline void start_api(struct fixture *f)
{
	struct et_error e = { 0 };
	struct et_api_config config = { .postbox = &f->box,
					.socket_path = f->socket,
					.listen = "127.0.0.1:0",
					.media = f->folder,
					.version = "0.1.0",
					.cluster = "acme",
					.name = "prg-1",
					.site = "prg" };
	const struct et_api_services services = { .catalog = f->catalog,
						  .state = et_catalog_state(f->catalog),
						  .keeper = f->keeper,
						  .identity = &f->init.identity,
						  .node = 1 };
	if (member_backend != NULL) {
		config.backend = *member_backend;
	}
	must(et_api_start(&config, &f->api, &e), &e);
	must(et_api_attach(f->api, &services, &e), &e);
	assert_true(et_api_port(f->api) > 0);
}

/* ---- The recording: a tape of two parties, not sealed yet ---- */

static inline uint8_t said(unsigned party, uint32_t n)
{
	return (uint8_t)(0x80 | ((n * (party + 3) * 7) & 0x7f));
}

static inline void put_tape(const char *path, struct et_tape_header *header,
			    const struct et_secret *dek)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_error e = { 0 };
	struct et_buffer meta = { 0 };
	must(et_tape_create(path, header, dek, &t, &e), &e);
	for (unsigned party = 0; party < 2; party++) {
		struct et_meta_item item = { .type = ET_META_STREAM };
		item.stream.stream = party;
		item.stream.ssrc = 7 + party;
		item.stream.party = (uint8_t)party;
		item.stream.channels = 1;
		item.stream.clock_rate = 8000;
		item.stream.codec = (struct et_view){ (const uint8_t *)"PCMU", 4 };
		assert_int_equal(et_meta_add(&meta, &item), 0);
	}
	must(et_tape_append(t, ET_TAPE_META, 0, meta.data, meta.size, &e), &e);
	et_buffer_release(&meta);
	for (uint32_t second = 0; second < SECONDS; second++) {
		struct et_media_encoder encoder = { 0 };
		for (uint32_t n = second * 50; n < (second + 1) * 50; n++) {
			for (unsigned party = 0; party < 2; party++) {
				uint8_t payload[160];
				for (uint32_t i = 0; i < 160; i++) {
					payload[i] = said(party, n * 160 + i);
				}
				struct et_media_packet p = { .stream = party,
							     .sequence = (uint16_t)n,
							     .timestamp = n * 160,
							     .arrival_us = header->t0_us +
									   (int64_t)n * 20000,
							     .payload = { payload, 160 } };
				assert_int_equal(
					et_media_encoder_add(&encoder, &p, ET_TAPE_PLAIN_MAX), 0);
			}
		}
		must(et_tape_append(t, ET_TAPE_MEDIA, second * 1000, encoder.plain.data,
				    encoder.plain.size, &e),
		     &e);
		et_media_encoder_release(&encoder);
	}
}

static inline void put_recording(struct fixture *f)
{
	struct et_error e = { 0 };
	char path[160];
	uint8_t enc[32], wrapped[48], dek_bytes[32];
	Et__Kek *kek = f->init.command->cluster_init->kek;
	et_uuid7(f->recording);
	et_uuid_format(f->recording, f->id);
	et_random(dek_bytes, sizeof(dek_bytes));
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = et_secret_copy(dek_bytes, 32);
	struct et_tape_header header = { .generation = 1,
					 .segment = 1,
					 .kek_version = 1,
					 .dek_id = 77,
					 .node = 1,
					 .t0_us = et_clock_now_us() };
	memcpy(header.recording, f->recording, 16);
	(void)snprintf(path, sizeof(path), "%s/open.evtm", f->folder);
	put_tape(path, &header, dek);
	must(et_dek_wrap(kek->public_key.data, 1, f->recording, 77, dek, enc, wrapped, &e), &e);

	Et__Recording recording = ET__RECORDING__INIT;
	Et__RecordingOpen open = ET__RECORDING_OPEN__INIT;
	Et__Command command = ET__COMMAND__INIT;
	recording.id = (ProtobufCBinaryData){ 16, f->recording };
	recording.call = (ProtobufCBinaryData){ 16, f->recording };
	recording.node = 1;
	recording.site = (char *)(uintptr_t) "prg";
	recording.start_us = header.t0_us;
	recording.from = (char *)(uintptr_t) "+420123";
	recording.to = (char *)(uintptr_t) "desk4";
	recording.sip_call_id = (char *)(uintptr_t) "abc@host";
	open.recording = &recording;
	command.body_case = ET__COMMAND__BODY_RECORDING_OPEN;
	command.recording_open = &open;
	propose(f, &command);

	Et__Segment segment = ET__SEGMENT__INIT;
	Et__Wrap wrap = ET__WRAP__INIT;
	Et__SegmentOpen segment_open = ET__SEGMENT_OPEN__INIT;
	Et__Command second = ET__COMMAND__INIT;
	wrap.dek = 77;
	wrap.kek_version = 1;
	wrap.enc = (ProtobufCBinaryData){ 32, enc };
	wrap.ciphertext = (ProtobufCBinaryData){ 48, wrapped };
	segment.recording = recording.id;
	segment.generation = 1;
	segment.segment = 1;
	segment.node = 1;
	segment.wrap = &wrap;
	segment.header_hash = (ProtobufCBinaryData){ 32, header.hash };
	segment.t0_us = header.t0_us;
	segment.file = (char *)(uintptr_t) "open.evtm";
	segment_open.segment = &segment;
	second.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	second.segment_open = &segment_open;
	propose(f, &second);
}

/* ---- The client ---- */

struct answer {
	long status;
	char head[4096];
	struct et_buffer body;
	json_t *json; /* NULL when it is none */
};

static inline void answer_release(struct answer *a)
{
	et_buffer_release(&a->body);
	json_decref(a->json);
}

static inline size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	et_buffer_add(arg, data, size * count);
	return size * count;
}

static inline size_t take_head(char *data, size_t size, size_t count, void *arg)
{
	struct answer *a = arg;
	size_t used = strlen(a->head);
	(void)snprintf(a->head + used, sizeof(a->head) - used, "%.*s", (int)(size * count), data);
	return size * count;
}

static inline struct answer ask(const char *method, const char *path, const char *body,
				const char *header, bool https)
{
	struct answer a = { 0 };
	char url[512];
	CURL *c = curl_easy_init();
	struct curl_slist *headers = header != NULL ? curl_slist_append(NULL, header) : NULL;
	assert_non_null(c);
	if (https) {
		(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u%s", et_api_port(the->api),
			       path);
		(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	} else {
		(void)snprintf(url, sizeof(url), "http://x%s", path);
		(void)curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, the->socket);
	}
	(void)curl_easy_setopt(c, CURLOPT_URL, url);
	(void)curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	(void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, &a.body);
	(void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_head);
	(void)curl_easy_setopt(c, CURLOPT_HEADERDATA, &a);
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)PATIENCE_MS);
	if (body != NULL) {
		(void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	}
	CURLcode code = curl_easy_perform(c);
	if (code != CURLE_OK) {
		fail_msg("%s %s: %s", method, path, curl_easy_strerror(code));
	}
	(void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &a.status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(c);
	if (et_json_parse("answer", a.body.data, a.body.size, SIZE_MAX, &a.json, NULL) < 0) {
		a.json = NULL;
	}
	return a;
}

#define ASK(name, ...) ET_CLEANUP(answer_release) struct answer name = ask(__VA_ARGS__)
#define GET(name, path) ASK(name, "GET", path, NULL, NULL, false)

static inline const char *bearer(const char *token)
{
	static char header[256];
	(void)snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
	return header;
}

static inline void assert_code(const struct answer *a, long status, const char *code)
{
	if (a->status != status || strcmp(et_json_get_text(a->json, "code", ""), code) != 0) {
		fail_msg("want %ld %s, got %ld %.*s", status, code, a->status, (int)a->body.size,
			 (const char *)a->body.data);
	}
}

static inline void *loop_run(void *arg)
{
	struct fixture *f = arg;
	while (!f->stopping) {
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	}
	return NULL;
}

static inline void on_stop(struct et_post *post)
{
	ET_CONTAINER_OF(post, struct fixture, stop)->stopping = true;
}

static inline int group_set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	the = f;
	*state = f;
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/et_member.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->socket, sizeof(f->socket), "%s/api.sock", f->folder);
	(void)snprintf(f->identity_folder, sizeof(f->identity_folder), "%s/identity", f->folder);
	(void)snprintf(f->spec, sizeof(f->spec), "file:%s/root.key", f->folder);
	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(et_postbox_init(&f->box, &f->loop), 0);
	assert_int_equal(uv_timer_init(&f->loop, &f->poll), 0);
	assert_int_equal(uv_timer_start(&f->poll, on_poll, 5, 5), 0);
	start_member(f);
	run_until_fresh(f);
	start_api(f);
	put_recording(f);
	assert_int_equal(pthread_create(&f->thread, NULL, loop_run, f), 0);
	ASK(made, "POST", "/v1/tokens", "{\"name\":\"root\",\"roles\":[\"admin\"]}", NULL, false);
	assert_int_equal(made.status, 201);
	(void)snprintf(f->token, sizeof(f->token), "%s", et_json_get_text(made.json, "token", ""));
	return 0;
}

static inline int group_tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];
	f->stop.fn = on_stop;
	assert_int_equal(et_post(&f->box, &f->stop), 0);
	assert_int_equal(pthread_join(f->thread, NULL), 0);
	f->done = false;
	et_api_stop(f->api, on_done, f);
	f->api = NULL;
	run_until(f, &f->done);
	f->done = false;
	et_keeper_stop(f->keeper, on_done, f);
	f->keeper = NULL;
	run_until(f, &f->done);
	f->done = false;
	et_members_set_state(f->members, NULL);
	et_catalog_stop(f->catalog, on_done, f);
	run_until(f, &f->done);
	f->done = false;
	et_tls_stop(f->tls, on_done, f);
	run_until(f, &f->done);
	(void)et_members_close(f->members);
	et_keeper_init_release(&f->init);
	(void)et_secret_free(f->root);
	uv_close((uv_handle_t *)&f->poll, NULL);
	et_postbox_close(&f->box, NULL);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

#endif
