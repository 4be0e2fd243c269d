/* The API of a member: a real one-voter cluster (TLS, Raft, RocksDB, keeper) on a loop thread, and
 * a client over the Unix socket and HTTPS. One recording whose tape is still open. */
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

/* ---- The node ---- */

static void on_poll(uv_timer_t *timer)
{
	(void)timer;
}

static void run_until(struct fixture *f, const bool *flag)
{
	uint64_t end = uv_hrtime() + (uint64_t)PATIENCE_MS * 1000000;
	while (!*flag) {
		assert_true(uv_hrtime() < end);
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	}
}

static void on_done(void *arg)
{
	((struct fixture *)arg)->done = true;
}

static void on_outcome(void *arg, int code, const Et__Result *result)
{
	struct fixture *f = arg;
	f->code = code;
	f->done = true;
	if (code < 0 && result != NULL) {
		print_error("%s\n", result->text);
	}
}

static void on_applied(void *arg, uint64_t index, const Et__Command *command,
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

static void propose(struct fixture *f, Et__Command *command)
{
	f->done = false;
	command->principal = (char *)(uintptr_t) "local:uid=0";
	command->schema = ET_COMMAND_SCHEMA;
	et_catalog_propose(f->catalog, command, 20000, on_outcome, f);
	run_until(f, &f->done);
	assert_int_equal(f->code, 0);
}

static void must(int rc, const struct et_error *e)
{
	if (rc < 0) {
		fail_msg("%s", e->text);
	}
}

static void start_member(struct fixture *f)
{
	struct et_error e = { 0 };
	struct et_keeper_init_config config = { .cluster = "acme",
						.name = "prg-1",
						.site = "prg",
						.roles = ET_ROLE_VOTER | ET_ROLE_VAULT,
						.address = "127.0.0.1:1",
						.now_us = et_clock_now_us() };
	must(et_keeper_root_make(f->spec, &f->root, &e), &e);
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
						 .root_spec = f->spec,
						 .state_folder = f->folder,
						 .media_folder = f->folder };
	must(et_keeper_start(&keeper, &f->keeper, &e), &e);
	f->done = false; /* it owns its principal */
	et_catalog_propose(f->catalog, f->init.command, 20000, on_outcome, f);
	run_until(f, &f->done);
	assert_int_equal(f->code, 0);
}

static void start_api(struct fixture *f)
{
	struct et_error e = { 0 };
	const struct et_api_config config = { .postbox = &f->box,
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
	must(et_api_start(&config, &f->api, &e), &e);
	must(et_api_attach(f->api, &services, &e), &e);
	assert_true(et_api_port(f->api) > 0);
}

/* ---- The recording: a tape of two parties, not sealed yet ---- */

static uint8_t said(unsigned party, uint32_t n)
{
	return (uint8_t)(0x80 | ((n * (party + 3) * 7) & 0x7f));
}

static void put_tape(const char *path, struct et_tape_header *header, const struct et_secret *dek)
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

static void put_recording(struct fixture *f)
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

static void answer_release(struct answer *a)
{
	et_buffer_release(&a->body);
	json_decref(a->json);
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	et_buffer_add(arg, data, size * count);
	return size * count;
}

static size_t take_head(char *data, size_t size, size_t count, void *arg)
{
	struct answer *a = arg;
	size_t used = strlen(a->head);
	(void)snprintf(a->head + used, sizeof(a->head) - used, "%.*s", (int)(size * count), data);
	return size * count;
}

static struct answer ask(const char *method, const char *path, const char *body, const char *header,
			 bool https)
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

static const char *bearer(const char *token)
{
	static char header[256];
	(void)snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
	return header;
}

static void assert_code(const struct answer *a, long status, const char *code)
{
	if (a->status != status || strcmp(et_json_get_text(a->json, "code", ""), code) != 0) {
		fail_msg("want %ld %s, got %ld %.*s", status, code, a->status, (int)a->body.size,
			 (const char *)a->body.data);
	}
}

static void *loop_run(void *arg)
{
	struct fixture *f = arg;
	while (!f->stopping) {
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	}
	return NULL;
}

static void on_stop(struct et_post *post)
{
	ET_CONTAINER_OF(post, struct fixture, stop)->stopping = true;
}

static int group_set_up(void **state)
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
	start_api(f);
	put_recording(f);
	assert_int_equal(pthread_create(&f->thread, NULL, loop_run, f), 0);
	ASK(made, "POST", "/v1/tokens", "{\"name\":\"root\",\"roles\":[\"admin\"]}", NULL, false);
	assert_int_equal(made.status, 201);
	(void)snprintf(f->token, sizeof(f->token), "%s", et_json_get_text(made.json, "token", ""));
	return 0;
}

static int group_tear_down(void **state)
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

/* ---- Tests ---- */

static void tokens_open_what_their_roles_say(void **state)
{
	(void)state;
	ASK(none, "GET", "/v1/status", NULL, NULL, true);
	assert_code(&none, 401, "ET_EUNTRUSTED");
	assert_non_null(strstr(none.head, "www-authenticate: Bearer"));
	ASK(wrong, "GET", "/v1/status", NULL, bearer("evapi1.AAAA"), true);
	assert_code(&wrong, 401, "ET_EUNTRUSTED");
	ASK(admin, "GET", "/v1/status", NULL, bearer(the->token), true);
	assert_int_equal(admin.status, 200);
	assert_string_equal(et_json_get_text(admin.json, "leader", ""), "prg-1");

	/* One letter changed is another secret. */
	char other[160];
	(void)snprintf(other, sizeof(other), "%s", the->token);
	char *last = &other[strlen(other) - 2];
	*last = *last == 'A' ? 'B' : 'A';
	ASK(forged, "GET", "/v1/status", NULL, bearer(other), true);
	assert_code(&forged, 401, "ET_EUNTRUSTED");

	ASK(made, "POST", "/v1/tokens", "{\"name\":\"board\",\"roles\":[\"reader\"]}",
	    bearer(the->token), true);
	assert_int_equal(made.status, 201);
	char reader[160];
	char path[128];
	(void)snprintf(reader, sizeof(reader), "%s", et_json_get_text(made.json, "token", ""));
	ASK(list, "GET", "/v1/recordings", NULL, bearer(reader), true);
	assert_int_equal(list.status, 200);
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio", the->id);
	ASK(audio, "GET", path, NULL, bearer(reader), true);
	assert_code(&audio, 403, "ET_EDENIED");
	ASK(audit, "GET", "/v1/audit", NULL, bearer(reader), true);
	assert_code(&audit, 403, "ET_EDENIED");
	ASK(more, "POST", "/v1/tokens", "{\"name\":\"x\",\"roles\":[\"admin\"]}", bearer(reader),
	    true);
	assert_code(&more, 403, "ET_EDENIED");
	/* What is for the socket is not for the network, whoever asks. */
	ASK(init, "POST", "/v1/cluster/init", "{}", bearer(the->token), true);
	assert_code(&init, 403, "ET_EDENIED");
}

static void a_single_node_survives_nothing_and_says_why(void **state)
{
	(void)state;
	GET(status, "/v1/status");
	const json_t *list = json_object_get(status.json, "survives");
	assert_int_equal(json_array_size(list), 3);
	for (size_t i = 0; i < 3; i++) {
		const json_t *loss = json_array_get(list, i);
		assert_false(et_json_get_bool(loss, "survives", true));
		assert_string_equal(
			json_string_value(json_array_get(json_object_get(loss, "lacks"), 0)),
			"votes");
	}
	assert_string_equal(et_json_get_text(json_array_get(list, 0), "why", ""),
			    "there is one node only");
	assert_string_equal(et_json_get_text(json_array_get(list, 2), "loss", ""), "site prg");
	assert_non_null(strstr(et_json_get_text(json_array_get(list, 2), "why", ""),
			       "keys (nobody left could open kek:1)"));
}

static void recordings_are_found(void **state)
{
	(void)state;
	char path[160];
	GET(all, "/v1/recordings");
	assert_int_equal(json_array_size(json_object_get(all.json, "recordings")), 1);
	const json_t *r = json_array_get(json_object_get(all.json, "recordings"), 0);
	assert_string_equal(et_json_get_text(r, "id", ""), the->id);
	assert_string_equal(et_json_get_text(r, "state", ""), "capturing");
	assert_string_equal(et_json_get_text(r, "node", ""), "prg-1");
	assert_non_null(strstr(all.head, "x-evertape-read: local"));
	assert_non_null(strstr(all.head, "x-evertape-age-ms: "));
	GET(number, "/v1/recordings?number=%2B420*&state=capturing&read=linearizable");
	assert_int_equal(json_array_size(json_object_get(number.json, "recordings")), 1);
	assert_non_null(strstr(number.head, "x-evertape-read: linearizable"));
	GET(none, "/v1/recordings?number=999");
	assert_int_equal(json_array_size(json_object_get(none.json, "recordings")), 0);
	GET(wrong, "/v1/recordings?stat=capturing");
	assert_code(&wrong, 400, "ET_EUSAGE");
	GET(missing, "/v1/recordings/01a201f2-afb3-7c1e-8000-0123456789ab");
	assert_code(&missing, 404, "ET_ENOTFOUND");
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s", the->id);
	GET(one, path);
	assert_string_equal(et_json_get_text(one.json, "sip_call_id", ""), "abc@host");
	assert_int_equal(json_array_size(json_object_get(one.json, "segments")), 1);
}

/* Headers and JSON say which read was given, as of which index, and how old it may be. */
static uint64_t read_said(const struct answer *a, const char *mode)
{
	char line[64];
	const json_t *read = json_object_get(a->json, "read");
	assert_int_equal(a->status, 200);
	assert_string_equal(et_json_get_text(read, "mode", ""), mode);
	int64_t index = et_json_get_int(read, "index", 0);
	int64_t age_ms = et_json_get_int(read, "age_ms", -1);
	assert_true(index > 0);
	assert_in_range(age_ms, 0, 60000);
	(void)snprintf(line, sizeof(line), "x-evertape-read: %s\r\n", mode);
	assert_non_null(strstr(a->head, line));
	(void)snprintf(line, sizeof(line), "x-evertape-index: %lld\r\n", (long long)index);
	assert_non_null(strstr(a->head, line));
	(void)snprintf(line, sizeof(line), "x-evertape-age-ms: %lld\r\n", (long long)age_ms);
	assert_non_null(strstr(a->head, line));
	return (uint64_t)index;
}

static void every_read_says_how_it_was_given(void **state)
{
	(void)state;
	static const char *const paths[] = { "/v1/status", "/v1/doctor", "/v1/cluster",
					     "/v1/nodes",  "/v1/sites",	 "/v1/keys",
					     "/v1/certs",  "/v1/audit",	 "/v1/recordings" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(paths); i++) {
		char path[64];
		(void)snprintf(path, sizeof(path), "%s?read=linearizable", paths[i]);
		GET(local, paths[i]);
		uint64_t index = read_said(&local, "local");
		GET(linearizable, path);
		assert_true(read_said(&linearizable, "linearizable") >= index);
		assert_int_equal(
			et_json_get_int(json_object_get(linearizable.json, "read"), "age_ms", -1),
			0);
		(void)snprintf(path, sizeof(path), "%s?read=eventual", paths[i]);
		GET(wrong, path);
		assert_code(&wrong, 400, "ET_EUSAGE");
	}
}

static const json_t *site_of(const struct answer *a, const char *name)
{
	const json_t *sites = json_object_get(a->json, "sites");
	size_t i;
	json_t *site;
	json_array_foreach((json_t *)(uintptr_t)sites, i, site)
	{
		if (strcmp(et_json_get_text(site, "name", ""), name) == 0) {
			return site;
		}
	}
	return NULL;
}

static void a_site_is_what_was_said_last(void **state)
{
	(void)state;
	ASK(put, "PUT", "/v1/sites/prg", "{\"description\":\"Prague\",\"reason\":\"CHG-1\"}", NULL,
	    false);
	assert_int_equal(put.status, 200);
	GET(sites, "/v1/sites?read=linearizable");
	assert_string_equal(et_json_get_text(site_of(&sites, "prg"), "description", ""), "Prague");
	assert_int_equal(json_array_size(json_object_get(site_of(&sites, "prg"), "nodes")), 1);
	assert_true(read_said(&sites, "linearizable") >=
		    (uint64_t)et_json_get_int(put.json, "index", INT64_MAX));
	ASK(made, "PUT", "/v1/sites/vie", "{\"description\":\"\"}", NULL, false);
	assert_int_equal(made.status, 200);
	ASK(silent, "PUT", "/v1/sites/prg", "{}", NULL, false);
	assert_code(&silent, 400, "ET_EUSAGE");
	ASK(bad, "PUT", "/v1/sites/a%20b", "{\"description\":\"x\"}", NULL, false);
	assert_code(&bad, 400, "ET_EUSAGE");
	GET(after, "/v1/sites?read=linearizable");
	assert_string_equal(et_json_get_text(site_of(&after, "prg"), "description", ""), "Prague");
	assert_non_null(site_of(&after, "vie"));
}

static const json_t *last_event(const struct answer *a)
{
	const json_t *events = json_object_get(a->json, "events");
	return json_array_get(events, json_array_size(events) - 1);
}

static void hearing_leaves_a_trace_and_serves_ranges(void **state)
{
	(void)state;
	char path[200];
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio?reason=case-118&purpose=export",
		       the->id);
	ASK(whole, "GET", path, NULL, bearer(the->token), true);
	assert_int_equal(whole.status, 200);
	assert_int_equal(whole.body.size, WAV_SIZE);
	assert_memory_equal(whole.body.data, "RIFF", 4);
	assert_non_null(strstr(whole.head, "content-type: audio/wav"));
	assert_non_null(strstr(whole.head, "x-evertape-complete: "));

	GET(audit, "/v1/audit");
	const json_t *event = last_event(&audit);
	assert_string_equal(et_json_get_text(event, "action", ""), "recording.export");
	assert_string_equal(et_json_get_text(event, "target", ""), the->id);
	assert_string_equal(et_json_get_text(event, "reason", ""), "case-118");
	assert_string_equal(et_json_get_text(event, "principal", ""), "token:root");
	int64_t events = et_json_get_int(event, "number", 0);

	/* A ticket: one event, then as many ranges as a player likes. */
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/ticket", the->id);
	ASK(ticket, "POST", path, "{\"reason\":\"listening\"}", bearer(the->token), true);
	assert_int_equal(ticket.status, 201);
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio?ticket=%s", the->id,
		       et_json_get_text(ticket.json, "ticket", ""));
	static const struct {
		const char *header;
		uint64_t first, last;
	} ranges[] = { { "Range: bytes=0-99", 0, 99 },
		       { "Range: bytes=40-50", 40, 50 },
		       { "Range: bytes=10001-20002", 10001, 20002 },
		       { "Range: bytes=-100", WAV_SIZE - 100, WAV_SIZE - 1 } };
	for (size_t i = 0; i < ET_ARRAY_SIZE(ranges); i++) {
		ASK(part, "GET", path, NULL, ranges[i].header, true);
		assert_int_equal(part.status, 206);
		assert_int_equal(part.body.size, ranges[i].last - ranges[i].first + 1);
		assert_memory_equal(part.body.data, whole.body.data + ranges[i].first,
				    part.body.size);
		assert_non_null(strstr(part.head, "content-range: bytes "));
	}
	ASK(beyond, "GET", path, NULL, "Range: bytes=99999999-", true);
	assert_int_equal(beyond.status, 416);
	GET(after, "/v1/audit");
	assert_int_equal(et_json_get_int(last_event(&after), "number", 0), events + 1);
	/* It opens this recording, and nothing else. */
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio?ticket=%032d", the->id, 0);
	ASK(forged, "GET", path, NULL, NULL, true);
	assert_code(&forged, 403, "ET_EDENIED");
	(void)snprintf(path, sizeof(path), "/v1/audit?ticket=%s",
		       et_json_get_text(ticket.json, "ticket", ""));
	ASK(other, "GET", path, NULL, NULL, true);
	assert_true(other.status == 401 || other.status == 403);
}

static void peaks_and_original_come_from_the_same_tape(void **state)
{
	(void)state;
	char path[160];
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/peaks?count=100", the->id);
	GET(peaks, path);
	assert_int_equal(peaks.status, 200);
	assert_int_equal(et_json_get_int(peaks.json, "duration_ms", 0), SECONDS * 1000);
	const json_t *channels = json_object_get(peaks.json, "channels");
	assert_int_equal(json_array_size(channels), 2);
	assert_int_equal(json_array_size(json_array_get(channels, 0)), 200);
	assert_true(json_integer_value(json_array_get(json_array_get(channels, 0), 1)) > 0);

	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/original?reason=x", the->id);
	GET(original, path);
	if (original.status == 501) {
		print_message("/dev/shm is no memory file system here: not tried\n");
		return;
	}
	assert_int_equal(original.status, 200);
	assert_int_equal(original.body.size % 512, 0);
	assert_string_equal((const char *)original.body.data, "manifest.json");
	assert_memory_equal(original.body.data + 257, "ustar", 5);
	/* Nothing stays behind in memory's file system. */
	assert_int_not_equal(system("ls -d /dev/shm/evertape.* >/dev/null 2>&1"), 0);
}

static void policy_and_plan_go_through_the_catalogue(void **state)
{
	(void)state;
	const char good[] = "{\"reason\":\"CHG-1\",\"text\":\"targets:\\n  cold: {type: dir, path: "
			    "/srv/archive}\\nrules:\\n  - name: all\\n    after: 0s\\n    to: "
			    "cold\\n\"}";
	GET(none, "/v1/archive/policy");
	assert_code(&none, 404, "ET_ENOTFOUND");
	ASK(unreasoned, "PUT", "/v1/archive/policy", "{\"text\":\"targets: {}\"}", NULL, false);
	assert_code(&unreasoned, 400, "ET_EUSAGE");
	ASK(bad, "PUT", "/v1/archive/policy", "{\"reason\":\"x\",\"text\":\"targts: {}\"}", NULL,
	    false);
	assert_code(&bad, 400, "ET_EMALFORMED");
	assert_non_null(strstr(et_json_get_text(bad.json, "why", ""), "policy:1:1: "));
	ASK(put, "PUT", "/v1/archive/policy", good, NULL, false);
	assert_int_equal(put.status, 200);
	assert_int_equal(et_json_get_int(put.json, "revision", 0), 1);
	char stale[512];
	(void)snprintf(stale, sizeof(stale), "{\"expect_revision\":7,%s", good + 1);
	ASK(again, "PUT", "/v1/archive/policy", stale, NULL, false);
	assert_true(again.status == 409);
	GET(policy, "/v1/archive/policy");
	assert_int_equal(et_json_get_int(policy.json, "revision", 0), 1);
	ASK(plan, "POST", "/v1/archive/plans", "{}", NULL, false);
	assert_int_equal(plan.status, 201);
	assert_string_equal(et_json_get_text(plan.json, "plan", "?"),
			    ""); /* the call still lives */
	ASK(apply, "POST", "/v1/archive/plans/01a201f2-afb3-7c1e-8000-0123456789ab/apply",
	    "{\"reason\":\"x\"}", NULL, false);
	assert_code(&apply, 404, "ET_ENOTFOUND");
	GET(status, "/v1/archive/status");
	assert_code(&status, 501, "ET_EUNSUPPORTED"); /* this node runs no mover */
}

static void join_tokens_are_made_and_kept_by_half(void **state)
{
	(void)state;
	ASK(made, "POST", "/v1/nodes/token", "{\"site\":\"brq\",\"roles\":[\"voter\",\"capture\"]}",
	    NULL, false);
	assert_int_equal(made.status, 201);
	assert_memory_equal(et_json_get_text(made.json, "token", ""), "evt1.", 5);
	ASK(two, "POST", "/v1/nodes/token", "{\"site\":\"brq\",\"roles\":[\"voter\",\"spare\"]}",
	    NULL, false);
	assert_code(&two, 400, "ET_EUSAGE");
	ASK(none, "POST", "/v1/nodes/token", "{\"site\":\"brq\",\"roles\":[\"votter\"]}", NULL,
	    false);
	assert_code(&none, 400, "ET_EUSAGE");
	assert_non_null(strstr(et_json_get_text(none.json, "why", ""), "did you mean voter?"));
}

static void the_rest_answers(void **state)
{
	(void)state;
	GET(health, "/healthz");
	assert_int_equal(health.status, 200);
	GET(nodes, "/v1/nodes");
	assert_int_equal(json_array_size(json_object_get(nodes.json, "nodes")), 1);
	GET(keys, "/v1/keys");
	const json_t *key = json_array_get(json_object_get(keys.json, "keys"), 0);
	assert_string_equal(et_json_get_text(key, "state", ""), "active");
	GET(certs, "/v1/certs");
	const json_t *cert = json_array_get(json_object_get(certs.json, "certs"), 0);
	assert_string_equal(et_json_get_text(cert, "state", ""), "ok");
	GET(cluster, "/v1/cluster");
	assert_memory_equal(et_json_get_text(cluster.json, "ca_pem", ""),
			    "-----BEGIN CERTIFICATE-----\n", 28);
	ASK(verified, "POST", "/v1/audit/verify", NULL, NULL, false);
	assert_int_equal(verified.status, 200);
	GET(doctor, "/v1/doctor?deep=true");
	assert_int_equal(doctor.status, 200);
	GET(metrics, "/metrics");
	assert_int_equal(metrics.status, 200);
	et_buffer_add8(&metrics.body, '\0');
	assert_non_null(strstr((char *)metrics.body.data, "\nevertape_raft_has_quorum 1\n"));
	assert_non_null(strstr((char *)metrics.body.data, "# TYPE evertape_health_code gauge\n"));
	GET(verify, "/v1/replication");
	assert_code(&verify, 501, "ET_EUNSUPPORTED");
}

/* ---- Nodes: roles, draining, removal, leadership ---- */

struct remote {
	atomic_bool done;
	int code;
	char text[512];
};

static void on_remote(void *arg, int code, const Et__Result *result)
{
	struct remote *r = arg;
	r->code = code;
	(void)snprintf(r->text, sizeof(r->text), "%s", result != NULL ? result->text : "");
	atomic_store(&r->done, true);
}

/* From this thread, while the loop runs on its own. */
static void commit(Et__Command *command)
{
	struct remote r = { 0 };
	const struct timespec pause = { .tv_nsec = 1000000 };
	command->principal = (char *)(uintptr_t) "local:uid=0";
	command->schema = ET_COMMAND_SCHEMA;
	assert_int_equal(et_catalog_propose_from(the->catalog, command, 20000, on_remote, &r), 0);
	while (!atomic_load(&r.done)) {
		(void)nanosleep(&pause, NULL); /* it always answers: 20 s at most */
	}
	if (r.code != 0) {
		fail_msg("%d %s", r.code, r.text);
	}
}

/* A member that nobody hears: it is in the catalogue only. `roles` ends with NULL. */
static void member_join(uint64_t id, const char *name, const char *site, const char *const *roles,
			uint8_t token_id[16])
{
	Et__TokenAdd add = ET__TOKEN_ADD__INIT;
	Et__Token token = ET__TOKEN__INIT;
	Et__NodeJoin join = ET__NODE_JOIN__INIT;
	Et__Node node = ET__NODE__INIT;
	Et__Command made = ET__COMMAND__INIT;
	Et__Command joined = ET__COMMAND__INIT;
	uint8_t key[32] = { (uint8_t)id, 1 };
	uint8_t hash[32] = { (uint8_t)id, 2 };
	char *words[8];

	et_uuid7(token_id);
	token.id = (ProtobufCBinaryData){ 16, token_id };
	token.kind = (char *)(uintptr_t) "join";
	token.public_key = (ProtobufCBinaryData){ 32, key };
	token.name = (char *)(uintptr_t)name;
	token.site = (char *)(uintptr_t)site;
	token.uses_left = 3;
	token.expires_us = et_clock_now_us() + 3600 * INT64_C(1000000);
	for (; roles[token.n_roles] != NULL; token.n_roles++) {
		words[token.n_roles] = (char *)(uintptr_t)roles[token.n_roles];
	}
	token.roles = words;
	add.token = &token;
	made.body_case = ET__COMMAND__BODY_TOKEN_ADD;
	made.token_add = &add;
	commit(&made);

	node.id = id;
	node.name = token.name;
	node.site = token.site;
	node.address = (char *)(uintptr_t) "127.0.0.1:2";
	node.state = ET__NODE_STATE__ACTIVE;
	node.spki_hash = (ProtobufCBinaryData){ 32, hash };
	join.node = &node;
	join.token = token.id;
	join.request_hash = (ProtobufCBinaryData){ 32, hash };
	joined.body_case = ET__COMMAND__BODY_NODE_JOIN;
	joined.node_join = &join;
	commit(&joined);
}

/* What is refused, how, and a part of what is said. */
static void refused(const char *path, const char *body, const char *code, const char *part)
{
	ASK(a, "POST", path, body, NULL, false);
	et_buffer_add8(&a.body, '\0');
	if (a.status < 400 || strcmp(et_json_get_text(a.json, "code", ""), code) != 0 ||
	    strstr((const char *)a.body.data, part) == NULL) {
		fail_msg("%s %s: want %s \"%s\", got %ld %s", path, body, code, part, a.status,
			 (const char *)a.body.data);
	}
}

static void node_becomes(const char *path, const char *body, const char *key, const char *value)
{
	ASK(a, "POST", path, body, NULL, false);
	et_buffer_add8(&a.body, '\0');
	if (a.status != 200 || strcmp(et_json_get_text(a.json, key, ""), value) != 0) {
		fail_msg("%s %s: want %s %s, got %ld %s", path, body, key, value, a.status,
			 (const char *)a.body.data);
	}
}

static void bad_wishes_about_roles_are_refused(void **state)
{
	static const char *const standby[] = { "standby", "capture", NULL };
	uint8_t token[16];
	const char *roles = "/v1/nodes/brq-1/roles";

	(void)state;
	member_join(2, "brq-1", "brq", standby, token);
	refused("/v1/nodes/none/roles", "{\"add\":[\"voter\"]}", "ET_ENOTFOUND", "no node");
	refused("/v1/nodes/99/roles", "{\"add\":[\"voter\"]}", "ET_ENOTFOUND", "no node");
	refused(roles, "{}", "ET_EUSAGE", "which roles");
	refused(roles, "{\"add\":[]}", "ET_EUSAGE", "which roles");
	refused(roles, "{\"add\":[1]}", "ET_EUSAGE", "a list of roles");
	refused(roles, "{\"ad\":[\"voter\"]}", "ET_EMALFORMED", "did you mean");
	refused(roles, "[]", "ET_EMALFORMED", "");
	refused(roles, "{\"add\":[\"king\"]}", "ET_EREFUSED", "no role 'king'");
	refused(roles, "{\"add\":[\"voter\"],\"expect\":[\"spare\"]}", "ET_ESTALE",
		"changed meanwhile");
	refused(roles, "{\"remove\":[\"standby\"]}", "ET_EREFUSED", "exactly one of");
	refused(roles, "{\"add\":[\"witness\"]}", "ET_EREFUSED", "neither media nor keys");
	refused(roles, "{\"add\":[\"spare\"]}", "ET_EPOLICY", "was not drained");
	node_becomes(roles, "{\"add\":[\"voter\"],\"expect\":[\"capture\",\"standby\"]}",
		     "wanted_role", "voter");
	node_becomes(roles, "{\"add\":[\"standby\"]}", "wanted_role", "standby");
	node_becomes("/v1/nodes/2/roles", "{\"add\":[\"standby\"]}", "name", "brq-1"); /* again */
}

static void a_vote_is_not_given_away_lightly(void **state)
{
	const char *roles = "/v1/nodes/prg-1/roles";
	(void)state;
	refused(roles, "{\"add\":[\"standby\"]}", "ET_EPOLICY", "no majority");
	refused(roles, "{\"add\":[\"standby\"]}", "ET_EPOLICY", "--force");
	refused(roles, "{\"add\":[\"standby\"],\"force\":true}", "ET_EPOLICY",
		"needs the name of the cluster");
	refused(roles, "{\"add\":[\"standby\"],\"force\":true,\"confirm\":\"acne\"}", "ET_EPOLICY",
		"not \\\"acne\\\"");
	refused(roles, "{\"add\":[\"standby\"],\"force\":true,\"confirm\":\"acme \"}", "ET_EPOLICY",
		"--confirm acme");
	refused(roles, "{\"add\":[\"standby\"],\"force\":true,\"confirm\":\"acme\"}", "ET_EREFUSED",
		"the last voter");
	refused(roles, "{\"remove\":[\"vault\"]}", "ET_EPOLICY", "no other vault node");
	/* Force is for votes: it does not open what only this node can open. */
	refused(roles, "{\"remove\":[\"vault\"],\"force\":true,\"confirm\":\"acme\"}", "ET_EPOLICY",
		"no other vault node");
	refused("/v1/nodes/prg-1/remove",
		"{\"cause\":\"dead\",\"confirm\":\"acme\",\"force\":true}", "ET_EREFUSED",
		"the last voter");
}

static void draining_has_its_rules(void **state)
{
	const char *path = "/v1/nodes/brq-1/drain";

	(void)state;
	refused("/v1/nodes/none/drain", "{}", "ET_ENOTFOUND", "no node");
	refused(path, "{\"stop\":true}", "ET_EMALFORMED", "unknown key");
	refused(path, "{}", "ET_EPOLICY", "--stop-capture");
	node_becomes(path, "{\"stop_capture\":true,\"reason\":\"CHG-1\"}", "state", "draining");
	GET(holdings, "/v1/nodes/brq-1/holdings");
	assert_true(et_json_get_bool(holdings.json, "draining", false));
	assert_false(et_json_get_bool(holdings.json, "drained", true)); /* it cannot be asked */
	assert_non_null(strstr(et_json_get_text(holdings.json, "why", ""), "journal"));
	refused("/v1/nodes/brq-1/remove", "{}", "ET_EPOLICY", "is not drained");
	node_becomes(path, "{\"draining\":false}", "state", "active");
	node_becomes(path, "{\"draining\":false}", "state", "active"); /* again */
	GET(none, "/v1/nodes/none/holdings");
	assert_code(&none, 404, "ET_ENOTFOUND");
}

static void a_loss_is_said_and_confirmed(void **state)
{
	const char *path = "/v1/nodes/brq-1/remove";

	(void)state;
	refused("/v1/nodes/none/remove", "{}", "ET_ENOTFOUND", "no node");
	refused(path, "{\"cause\":\"bored\"}", "ET_EUSAGE", "dead or stolen");
	refused(path, "{\"couse\":\"dead\"}", "ET_EMALFORMED", "did you mean");
	refused(path, "{}", "ET_EPOLICY", "evertape node drain brq-1");
	refused(path, "{\"confirm\":\"acme\"}", "ET_EPOLICY", "is not drained");
	refused(path, "{\"cause\":\"dead\"}", "ET_EPOLICY", "nowhere else");
	refused(path, "{\"cause\":\"dead\",\"confirm\":\"brq-1\"}", "ET_EPOLICY",
		"not \\\"brq-1\\\"");
	ASK(gone, "POST", path, "{\"cause\":\"dead\",\"confirm\":\"acme\",\"reason\":\"fire\"}",
	    NULL, false);
	assert_int_equal(gone.status, 200);
	assert_string_equal(et_json_get_text(gone.json, "state", ""), "removed");
	assert_true(json_is_object(json_object_get(gone.json, "loss")));
	assert_memory_equal(et_json_get_text(gone.json, "reason", ""), "dead: fire", 10);
	ASK(again, "POST", path, "{}", NULL, false);
	assert_int_equal(again.status, 200);
	assert_true(et_json_get_bool(again.json, "already", false));
	refused("/v1/nodes/brq-1/roles", "{\"add\":[\"voter\"]}", "ET_EREFUSED", "");
	refused("/v1/nodes/brq-1/drain", "{}", "ET_EREFUSED", "");
}

struct token_state {
	const uint8_t *id;
	bool revoked;
};

static int token_find(void *arg, const Et__Token *t)
{
	struct token_state *s = arg;
	if (memcmp(t->id.data, s->id, 16) == 0) {
		s->revoked = t->revoked;
	}
	return 0;
}

static bool token_is_revoked(const uint8_t id[16])
{
	struct token_state s = { .id = id };
	struct et_state_view *v = et_state_view_open(et_catalog_state(the->catalog));
	assert_int_equal(et_state_each_token(v, token_find, &s), 0);
	(void)et_state_view_close(v);
	return s.revoked;
}

/* Its join token could let the thief in again; those of other sites stand. */
static void a_stolen_node_is_revoked_with_the_tokens_of_its_site(void **state)
{
	static const char *const recorder[] = { "standby", "capture", NULL };
	static const char *const witness[] = { "witness", NULL };
	const char *stolen = "{\"cause\":\"stolen\",\"confirm\":\"acme\"}";
	uint8_t there[16];
	uint8_t elsewhere[16];

	(void)state;
	member_join(3, "ost-1", "ost", recorder, there);
	member_join(4, "wit-1", "wit", witness, elsewhere);
	refused("/v1/nodes/wit-1/roles", "{\"add\":[\"vault\"]}", "ET_EREFUSED",
		"neither media nor keys");
	refused("/v1/nodes/wit-1/roles", "{\"add\":[\"capture\"]}", "ET_EREFUSED",
		"neither media nor keys");
	refused("/v1/nodes/ost-1/remove", "{\"cause\":\"stolen\"}", "ET_EPOLICY", "--confirm acme");
	assert_false(token_is_revoked(there));
	ASK(gone, "POST", "/v1/nodes/ost-1/remove", stolen, NULL, false);
	assert_int_equal(gone.status, 200);
	assert_string_equal(et_json_get_text(gone.json, "state", ""), "revoked");
	assert_true(token_is_revoked(there));
	assert_false(token_is_revoked(elsewhere));
	bool said = false;
	size_t i;
	json_t *note;
	json_array_foreach(json_object_get(gone.json, "notes"), i, note)
	{
		said |= strstr(json_string_value(note), "1 join tokens for its site") != NULL;
	}
	assert_true(said);
	ASK(again, "POST", "/v1/nodes/ost-1/remove", stolen, NULL, false);
	assert_true(et_json_get_bool(again.json, "already", false));
	/* One that was removed as dead, and turns out to be stolen. */
	node_becomes("/v1/nodes/2/remove", stolen, "state", "revoked");
	node_becomes("/v1/nodes/2/remove", "{\"cause\":\"dead\",\"confirm\":\"acme\"}", "state",
		     "revoked"); /* it stays so */
}

static void leadership_goes_to_voters_only(void **state)
{
	(void)state;
	refused("/v1/raft/transfer", "{\"to\":\"none\"}", "ET_ENOTFOUND", "no node");
	refused("/v1/raft/transfer", "{\"two\":\"prg-1\"}", "ET_EMALFORMED", "did you mean");
	refused("/v1/raft/transfer", "{\"to\":\"wit-1\"}", "ET_EREFUSED", "no voter");
	ASK(self, "POST", "/v1/raft/transfer", "{\"to\":\"prg-1\"}", NULL, false);
	assert_int_equal(self.status, 200);
	assert_string_equal(et_json_get_text(self.json, "leader", ""), "prg-1");
	ASK(snapshot, "POST", "/v1/raft/snapshot", NULL, NULL, false);
	assert_int_equal(snapshot.status, 200);
	assert_true(et_json_get_int(snapshot.json, "index", 0) > 0);
	/* Nobody says what it sees here: after its time it says what to do. */
	GET(peers, "/v1/raft");
	assert_int_equal(peers.status, 200);
	assert_false(et_json_get_bool(peers.json, "complete", true));
	assert_non_null(strstr(et_json_get_text(peers.json, "why", ""), "ask at another"));
}

/* Who may not change nodes is refused before anything is looked at. */
static void members_are_for_administrators(void **state)
{
	static const char *const paths[] = { "/v1/nodes/wit-1/roles",  "/v1/nodes/wit-1/drain",
					     "/v1/nodes/wit-1/remove", "/v1/nodes/none/remove",
					     "/v1/nodes/token",	       "/v1/raft/transfer",
					     "/v1/raft/snapshot" };
	char reader[160];

	(void)state;
	ASK(made, "POST", "/v1/tokens", "{\"name\":\"watch\",\"roles\":[\"reader\",\"operator\"]}",
	    NULL, false);
	assert_int_equal(made.status, 201);
	(void)snprintf(reader, sizeof(reader), "%s", et_json_get_text(made.json, "token", ""));
	for (size_t i = 0; i < ET_ARRAY_SIZE(paths); i++) {
		ASK(denied, "POST", paths[i], "{}", bearer(reader), true);
		assert_code(&denied, 403, "ET_EDENIED");
	}
	ASK(nodes, "GET", "/v1/nodes", NULL, bearer(reader), true);
	assert_int_equal(nodes.status, 200);
}

/* ---- Facts, tags, notes, agents ---- */

static void told(const char *path, const char *body, long status)
{
	ASK(a, "POST", path, body, NULL, false);
	if (a.status != status) {
		fail_msg("%s %s: %ld %.*s", path, body, a.status, (int)a.body.size,
			 (const char *)a.body.data);
	}
}

static size_t hits(const char *query)
{
	char path[300];
	(void)snprintf(path, sizeof(path), "/v1/recordings?%s", query);
	GET(found, path);
	assert_int_equal(found.status, 200);
	assert_true(et_json_get_bool(found.json, "complete", false));
	return json_array_size(json_object_get(found.json, "recordings"));
}

static void what_is_told_is_shown_and_found(void **state)
{
	char body[400];
	char path[120];
	(void)state;
	(void)snprintf(body, sizeof(body),
		       "{\"about\":{\"recording\":\"%s\"},\"facts\":[{\"key\":\"order\",\"value\":"
		       "\"A-17\",\"source\":\"crm\"},{\"key\":\"amount\",\"value\":120}]}",
		       the->id);
	told("/v1/facts", body, 200);
	(void)snprintf(body, sizeof(body),
		       "{\"about\":{\"recording\":\"%s\"},\"set\":[\"complaint\"]}", the->id);
	told("/v1/tags", body, 200);
	(void)snprintf(body, sizeof(body),
		       "{\"about\":{\"recording\":\"%s\"},\"text\":\"Wants a REFUND soon\"}",
		       the->id);
	told("/v1/notes", body, 200);
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s", the->id);
	GET(shown, path);
	assert_int_equal(json_array_size(json_object_get(shown.json, "facts")), 2);
	assert_int_equal(json_array_size(json_object_get(shown.json, "tags")), 1);
	assert_int_equal(json_array_size(json_object_get(shown.json, "notes")), 1);
	assert_int_equal(hits("fact=order%3DA-17"), 1);
	assert_int_equal(hits("fact=order%3DA-18"), 0);
	assert_int_equal(hits("fact=amount:integer%3D120&tag=complaint"), 1);
	assert_int_equal(hits("tag=praise"), 0);
	assert_int_equal(hits("text=refund"), 1);
	assert_int_equal(hits("text=refunds"), 0);
}

static void the_search_index_is_made_anew(void **state)
{
	bool rebuilding = true;
	(void)state;
	ASK(begun, "POST", "/v1/doctor/rebuild-index", NULL, NULL, false);
	assert_int_equal(begun.status, 200);
	assert_string_equal(et_json_get_text(begun.json, "node", ""), "prg-1");
	int64_t total = et_json_get_int(begun.json, "total", -1);
	assert_true(total > 0);
	for (int i = 0; i < 10000 && rebuilding; i++) { /* each look takes its time */
		GET(status, "/v1/status");
		const json_t *index = json_object_get(status.json, "index");
		assert_true(et_json_get_bool(index, "complete", false));
		assert_true(et_json_get_int(index, "total", -1) >= total);
		rebuilding = et_json_get_bool(index, "rebuilding", true);
		assert_int_equal(hits("text=refund"), 1); /* the old one is there until then */
	}
	assert_false(rebuilding);
}

static void what_replaces_is_in_the_history(void **state)
{
	char body[400];
	char path[160];
	(void)state;
	(void)snprintf(body, sizeof(body),
		       "{\"about\":{\"recording\":\"%s\"},\"facts\":[{\"key\":\"order\",\"value\":"
		       "\"A-18\"}]}",
		       the->id);
	told("/v1/facts", body, 200);
	assert_int_equal(hits("fact=order%3DA-17"), 0);
	assert_int_equal(hits("fact=order%3DA-18"), 1);
	(void)snprintf(path, sizeof(path), "/v1/told?recording=%s", the->id);
	GET(now, path);
	assert_int_equal(json_array_size(json_object_get(now.json, "facts")), 2);
	(void)snprintf(path, sizeof(path), "/v1/told?recording=%s&history=true", the->id);
	GET(all, path);
	assert_int_equal(json_array_size(json_object_get(all.json, "facts")), 3);
}

static void agents_are_those_of_the_time(void **state)
{
	(void)state;
	told("/v1/agents",
	     "{\"id\":\"a1\",\"team\":\"claims\",\"numbers\":[\"4711\"],\"valid_from\":"
	     "\"2026-01-01\"}",
	     200);
	told("/v1/agents",
	     "{\"id\":\"a2\",\"team\":\"sales\",\"numbers\":[\"4711\"],\"valid_from\":"
	     "\"2026-06-01\"}",
	     200);
	GET(then, "/v1/agents?number=4711&at=2026-03-01");
	const json_t *one = json_array_get(json_object_get(then.json, "agents"), 0);
	assert_string_equal(et_json_get_text(one, "id", ""), "a1");
	GET(later, "/v1/agents?number=4711&at=2026-07-01");
	one = json_array_get(json_object_get(later.json, "agents"), 0);
	assert_string_equal(et_json_get_text(one, "id", ""), "a2");
	GET(list, "/v1/agents?team=claims");
	assert_int_equal(json_array_size(json_object_get(list.json, "agents")), 1);
}

static void bad_tellings_are_refused(void **state)
{
	static const struct {
		const char *path, *body;
	} cases[] = {
		{ "/v1/facts", "{}" },
		{ "/v1/facts", "{\"about\":{},\"facts\":[{\"key\":\"a\",\"value\":\"b\"}]}" },
		{ "/v1/facts", "{\"about\":{\"recording\":\"x\"},\"facts\":[]}" },
		{ "/v1/facts", "{\"about\":{\"sip_call_id\":\"x\"},\"facts\":[]}" },
		{ "/v1/facts", "{\"about\":{\"sip_call_id\":\"x\",\"call\":\"y\"},\"facts\":[{"
			       "\"key\":\"a\",\"value\":\"b\"}]}" },
		{ "/v1/facts", "{\"about\":{\"sip_call_id\":\"x\"},\"facts\":[{\"key\":\"a\","
			       "\"value\":1.5}]}" },
		{ "/v1/facts", "{\"about\":{\"sip_call_id\":\"x\"},\"facts\":[{\"key\":\"a\","
			       "\"value\":\"b\",\"type\":\"integer\"}]}" },
		{ "/v1/facts", "{\"about\":{\"sip_call_id\":\"x\"},\"facts\":[{\"key\":\"card\","
			       "\"value\":\"4111 1111 1111 1111\"}]}" },
		{ "/v1/tags", "{\"about\":{\"sip_call_id\":\"x\"}}" },
		{ "/v1/tags", "{\"about\":{\"sip_call_id\":\"x\"},\"set\":\"y\"}" },
		{ "/v1/notes", "{\"about\":{\"sip_call_id\":\"x\"}}" },
		{ "/v1/notes", "{\"about\":{\"sip_call_id\":\"x\"},\"text\":\"card "
			       "4111-1111-1111-1111\"}" },
		{ "/v1/agents", "{}" },
		{ "/v1/agents", "{\"id\":\"a\",\"valid_from\":\"yesterday\"}" },
	};
	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		ASK(a, "POST", cases[i].path, cases[i].body, NULL, false);
		if (a.status < 400 || a.status >= 500) {
			fail_msg("%s: %ld", cases[i].body, a.status);
		}
	}
	GET(none, "/v1/told");
	assert_code(&none, 400, "ET_EUSAGE");
	GET(bad, "/v1/recordings?fact=%3Dx");
	assert_code(&bad, 400, "ET_EUSAGE");
	GET(type, "/v1/recordings?fact=a:integer%3Dx");
	assert_code(&type, 400, "ET_EUSAGE");
}

static void changes_are_told_in_order(void **state)
{
	(void)state;
	GET(status, "/v1/status");
	char path[64];
	int64_t applied = et_json_get_int(status.json, "applied", 0);
	(void)snprintf(path, sizeof(path), "/v1/changes?after=%lld", (long long)applied);
	ASK(made, "POST", "/v1/tokens", "{\"name\":\"c\",\"roles\":[\"reader\"]}", NULL, false);
	assert_int_equal(made.status, 201);
	GET(changes, path);
	assert_int_equal(changes.status, 200);
	const json_t *list = json_object_get(changes.json, "changes");
	int64_t before = applied;
	bool seen = false;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		assert_true(et_json_get_int(one, "index", 0) >= before);
		before = et_json_get_int(one, "index", 0);
		seen = seen || strcmp(et_json_get_text(one, "change", ""), "token.add") == 0;
	}
	assert_true(seen);
	GET(old, "/v1/changes?after=0");
	assert_code(&old, 409,
		    "ET_ESTALE"); /* the first entries came before this process listened */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_open_what_their_roles_say),
		cmocka_unit_test(a_single_node_survives_nothing_and_says_why),
		cmocka_unit_test(recordings_are_found),
		cmocka_unit_test(every_read_says_how_it_was_given),
		cmocka_unit_test(a_site_is_what_was_said_last),
		cmocka_unit_test(hearing_leaves_a_trace_and_serves_ranges),
		cmocka_unit_test(peaks_and_original_come_from_the_same_tape),
		cmocka_unit_test(policy_and_plan_go_through_the_catalogue),
		cmocka_unit_test(join_tokens_are_made_and_kept_by_half),
		cmocka_unit_test(the_rest_answers),
		cmocka_unit_test(what_is_told_is_shown_and_found),
		cmocka_unit_test(the_search_index_is_made_anew),
		cmocka_unit_test(what_replaces_is_in_the_history),
		cmocka_unit_test(agents_are_those_of_the_time),
		cmocka_unit_test(bad_tellings_are_refused),
		cmocka_unit_test(changes_are_told_in_order),
		cmocka_unit_test(bad_wishes_about_roles_are_refused),
		cmocka_unit_test(a_vote_is_not_given_away_lightly),
		cmocka_unit_test(draining_has_its_rules),
		cmocka_unit_test(a_loss_is_said_and_confirmed),
		cmocka_unit_test(a_stolen_node_is_revoked_with_the_tokens_of_its_site),
		cmocka_unit_test(leadership_goes_to_voters_only),
		cmocka_unit_test(members_are_for_administrators),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
