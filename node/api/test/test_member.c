/* The API of a member: tokens, reading, listening, policies. */
#include "node/api/test/member.h"
#include "node/audio/format.h"
#include "node/audio/wav.h"
#include "node/tape/proof.h"

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

static size_t no_body(char *data, size_t size, size_t count, void *arg)
{
	(void)data;
	(void)arg;
	return size * count;
}

/* Groups that cost us a hundred times what they cost who asks for them are not there. */
static void who_connects_chooses_no_dear_handshake(void **state)
{
	static const struct {
		const char *groups;
		CURLcode code;
	} cases[] = { { "ffdhe8192:ffdhe2048", CURLE_SSL_CONNECT_ERROR },
		      { "ffdhe8192:X25519", CURLE_OK } };
	char url[64];
	(void)state;

	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/", et_api_port(the->api));
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		CURL *c = curl_easy_init();
		assert_non_null(c);
		(void)curl_easy_setopt(c, CURLOPT_URL, url);
		(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
		(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, no_body);
		(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
		(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)PATIENCE_MS);
		assert_int_equal(curl_easy_setopt(c, CURLOPT_SSL_EC_CURVES, cases[i].groups),
				 CURLE_OK);
		assert_int_equal(curl_easy_perform(c), cases[i].code);
		curl_easy_cleanup(c);
	}
}

static void a_token_that_is_revoked_opens_nothing(void **state)
{
	(void)state;
	char thief[160];
	char path[128];
	const json_t *found = NULL;
	size_t i;
	json_t *t;

	ASK(made, "POST", "/v1/tokens", "{\"name\":\"thief\",\"roles\":[\"reader\"]}",
	    bearer(the->token), true);
	(void)snprintf(thief, sizeof(thief), "%s", et_json_get_text(made.json, "token", ""));
	ASK(before, "GET", "/v1/recordings", NULL, bearer(thief), true);
	assert_int_equal(before.status, 200);
	ASK(curious, "GET", "/v1/tokens", NULL, bearer(thief), true);
	assert_code(&curious, 403, "ET_EDENIED");

	GET(list, "/v1/tokens");
	json_array_foreach(json_object_get(list.json, "tokens"), i, t)
	{
		found = strcmp(et_json_get_text(t, "name", ""), "thief") == 0 ? t : found;
	}
	assert_non_null(found);
	assert_string_equal(et_json_get_text(found, "kind", ""), "api");
	assert_string_equal(et_json_get_text(found, "state", ""), "valid");
	(void)snprintf(path, sizeof(path), "/v1/tokens/%s/revoke",
		       et_json_get_text(found, "id", ""));
	ASK(why, "POST", path, "{}", NULL, false);
	assert_code(&why, 400, "ET_EUSAGE");
	ASK(unknown, "POST", "/v1/tokens/01a22b98-b376-7895-9cc4-301b3e7a4faa/revoke",
	    "{\"reason\":\"x\"}", NULL, false);
	assert_code(&unknown, 404, "ET_ENOTFOUND");
	for (int again = 0; again < 2; again++) {
		ASK(done, "POST", path, "{\"reason\":\"stolen\"}", NULL, false);
		assert_int_equal(done.status, 200);
	}
	ASK(after, "GET", "/v1/recordings", NULL, bearer(thief), true);
	assert_code(&after, 401, "ET_EUNTRUSTED");
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

static void a_site_goes_when_nothing_keeps_it(void **state)
{
	(void)state;
	GET(keeps, "/v1/sites/prg/removal");
	assert_int_equal(keeps.status, 200);
	assert_false(et_json_get_bool(keeps.json, "removable", true));
	const json_t *why = json_array_get(json_object_get(keeps.json, "refused"), 0);
	assert_non_null(strstr(et_json_get_text(why, "why", ""), " is there"));
	assert_non_null(strstr(et_json_get_text(why, "next", ""), "evertape node drain"));
	ASK(stays, "POST", "/v1/sites/prg/remove", "{\"reason\":\"CHG-2\"}", NULL, false);
	assert_code(&stays, 403, "ET_EPOLICY");
	ASK(silent, "POST", "/v1/sites/vie/remove", "{}", NULL, false);
	assert_code(&silent, 400, "ET_EUSAGE");
	ASK(none, "POST", "/v1/sites/nowhere/remove", "{\"reason\":\"x\"}", NULL, false);
	assert_code(&none, 404, "ET_ENOTFOUND");
	GET(free, "/v1/sites/vie/removal");
	assert_true(et_json_get_bool(free.json, "removable", false));
	ASK(gone, "POST", "/v1/sites/vie/remove", "{\"reason\":\"CHG-2\"}", NULL, false);
	assert_int_equal(gone.status, 200);
	GET(after, "/v1/sites?read=linearizable");
	assert_null(site_of(&after, "vie"));
	assert_non_null(site_of(&after, "prg"));
}

/* Without a daemon nobody can be asked; who is not there is said first. */
static void a_node_that_cannot_be_asked_says_so(void **state)
{
	(void)state;
	GET(config, "/v1/config");
	assert_code(&config, 501, "ET_EUNSUPPORTED");
	GET(capture, "/v1/capture/now?calls=5000");
	assert_code(&capture, 400, "ET_EUSAGE");
	ASK(silent, "POST", "/v1/certs/renew", "{\"node\":\"prg-1\"}", NULL, false);
	assert_code(&silent, 400, "ET_EUSAGE");
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
	/* A span is a file of its own, of the same samples. */
	char span[240];
	(void)snprintf(span, sizeof(span), "%s&from_ms=500&to_ms=1250", path);
	ASK(cut, "GET", span, NULL, NULL, true);
	assert_int_equal(cut.status, 200);
	assert_non_null(strstr(cut.head, "x-evertape-complete: true"));
	assert_int_equal(cut.body.size, 44 + 6000 * 4);
	assert_memory_equal(cut.body.data + 44, whole.body.data + 44 + 4000 * 4, 6000 * 4);
	(void)snprintf(span, sizeof(span), "%s&from_ms=1250&to_ms=500", path);
	ASK(backwards, "GET", span, NULL, NULL, true);
	assert_code(&backwards, 400, "ET_EUSAGE");
	(void)snprintf(span, sizeof(span), "%s&from_ms=9999999", path);
	ASK(behind, "GET", span, NULL, NULL, true);
	assert_code(&behind, 400, "ET_EUSAGE");
	for (size_t i = 0; i < ET_ARRAY_SIZE(ranges); i++) {
		ASK(part, "GET", path, NULL, ranges[i].header, true);
		assert_int_equal(part.status, 206);
		assert_non_null(strstr(part.head, "x-evertape-complete: unread"));
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

/* The same samples in every format; a Range is of WAV only. */
static void a_recording_comes_in_the_format_that_is_asked_for(void **state)
{
	(void)state;
	static const struct {
		const char *format;
		const char *type;
		const char *magic;
	} rows[] = { { "wav", "content-type: audio/wav", "RIFF" },
		     { "flac", "content-type: audio/flac", "fLaC" },
		     { "opus", "content-type: audio/ogg; codecs=opus", "OggS" },
		     { "mp3", "content-type: audio/mpeg", "ID3" } };
	char path[240];
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		(void)snprintf(path, sizeof(path),
			       "/v1/recordings/%s/audio?purpose=export&reason=x&format=%s", the->id,
			       rows[i].format);
		ASK(whole, "GET", path, NULL, bearer(the->token), true);
		assert_int_equal(whole.status, 200);
		assert_memory_equal(whole.body.data, rows[i].magic, strlen(rows[i].magic));
		assert_non_null(strstr(whole.head, rows[i].type));
		assert_non_null(strstr(whole.head, "x-evertape-complete: true"));
		GET(audit, "/v1/audit");
		assert_string_equal(et_json_get_text(last_event(&audit), "detail", ""),
				    rows[i].format);
		(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio?from_ms=500&format=%s",
			       the->id, rows[i].format);
		ASK(part, "GET", path, NULL, bearer(the->token), true);
		assert_int_equal(part.status, 200);
		assert_true(part.body.size < whole.body.size);
		(void)snprintf(path, sizeof(path), "/v1/recordings/%s/ticket", the->id);
		ASK(ticket, "POST", path, "{}", bearer(the->token), true);
		(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio?format=%s&ticket=%s",
			       the->id, rows[i].format,
			       et_json_get_text(ticket.json, "ticket", ""));
		ASK(range, "GET", path, NULL, "Range: bytes=2-99", true);
		assert_int_equal(range.status, i == 0 ? 206 : 200);
		assert_int_equal(range.body.size, i == 0 ? 98 : whole.body.size);
	}
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio?format=ogg", the->id);
	ASK(other, "GET", path, NULL, bearer(the->token), true);
	assert_code(&other, 400, "ET_EUSAGE");
	assert_non_null(strstr(et_json_get_text(other.json, "why", ""), ET_AUDIO_FORMATS));
}

/* ... and says so: the head, the audit log, the file; a part of it is a part of the same file. */
static void losses_are_concealed_when_it_is_asked_for(void **state)
{
	static const char *const ranges[] = { "0-43", "40-3000", "44-", "-10", "-200", "0-" };
	(void)state;
	char path[240];
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio?losses=silence", the->id);
	ASK(silent, "GET", path, NULL, bearer(the->token), true);
	assert_int_equal(silent.status, 200);
	assert_non_null(strstr(silent.head, "x-evertape-losses: silent"));
	assert_null(strstr(silent.head, "x-evertape-concealed-ms"));
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio?losses=conceal", the->id);
	ASK(whole, "GET", path, NULL, bearer(the->token), true);
	assert_int_equal(whole.status, 200);
	assert_non_null(strstr(whole.head, "x-evertape-losses: concealed"));
	assert_non_null(strstr(whole.head, "x-evertape-concealed-ms: "));
	GET(audit, "/v1/audit");
	assert_string_equal(et_json_get_text(last_event(&audit), "detail", ""),
			    "wav, losses concealed");
	assert_int_equal(whole.body.size, silent.body.size + ET_WAV_LABEL_SIZE);
	assert_memory_equal(whole.body.data + silent.body.size, "LIST", 4);
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/ticket", the->id);
	ASK(ticket, "POST", path, "{}", bearer(the->token), true);
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio?losses=conceal&ticket=%s",
		       the->id, et_json_get_text(ticket.json, "ticket", ""));
	for (size_t i = 0; i < ET_ARRAY_SIZE(ranges); i++) {
		char head[64];
		(void)snprintf(head, sizeof(head), "Range: bytes=%s", ranges[i]);
		ASK(range, "GET", path, NULL, head, true);
		assert_int_equal(range.status, 206);
		const char *told = strstr(range.head, "content-range: bytes ");
		assert_non_null(told);
		const size_t from = strtoul(told + strlen("content-range: bytes "), NULL, 10);
		assert_true(range.body.size > 0 && from + range.body.size <= whole.body.size);
		assert_memory_equal(range.body.data, whole.body.data + from, range.body.size);
		assert_non_null(strstr(range.head, "x-evertape-losses: concealed"));
	}
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/audio?losses=yes", the->id);
	ASK(other, "GET", path, NULL, bearer(the->token), true);
	assert_code(&other, 400, "ET_EUSAGE");
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

/* The footer that the recorder would write. */
static void seal_tape(const struct fixture *f)
{
	const struct et_tape_signer signer = { .node = 1,
					       .seed = f->init.identity.sign_key,
					       .now_us = et_clock_now_us() };
	struct et_tape_recovery recovery;
	char tape[160];

	(void)snprintf(tape, sizeof(tape), "%s/open.evtm", f->folder);
	assert_int_equal(et_tape_recover(tape, &signer, NULL, &recovery, NULL), 0);
}

static void a_proof_needs_no_key_and_leaves_a_trace(void **state)
{
	(void)state;
	char path[160];
	struct et_proof whole;
	struct et_proof part;
	uint32_t parts = 0;

	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/proof?reason=case", the->id);
	GET(growing, path);
	assert_code(&growing, 409, "ET_EREFUSED"); /* nothing is signed before its end */
	seal_tape(the);
	GET(before, "/v1/audit");
	const int64_t events = et_json_get_int(last_event(&before), "number", 0);
	GET(all, path);
	assert_int_equal(all.status, 200);
	const struct et_view v = { all.body.data, all.body.size };
	assert_int_equal(et_proof_head_parse(v, &parts, NULL), 0);
	assert_int_equal(parts, 1);
	const struct et_view first = { v.data + ET_PROOF_FILE_HEAD_SIZE,
				       v.size - ET_PROOF_FILE_HEAD_SIZE };
	assert_int_equal(et_tape_proof_check(first, NULL, &whole, NULL), 0);
	assert_int_equal(whole.size_bytes, first.size);
	assert_int_equal(whole.count, whole.seal.records);
	assert_false(whole.leaves);
	GET(after, "/v1/audit");
	assert_int_equal(et_json_get_int(last_event(&after), "number", 0), events + 1);
	assert_string_equal(et_json_get_text(last_event(&after), "action", ""), "recording.proof");

	(void)snprintf(path, sizeof(path),
		       "/v1/recordings/%s/proof?from_ms=0&to_ms=1&leaves=true&reason=x", the->id);
	GET(excerpt, path);
	assert_int_equal(excerpt.status, 200);
	const struct et_view second = { excerpt.body.data + ET_PROOF_FILE_HEAD_SIZE,
					excerpt.body.size - ET_PROOF_FILE_HEAD_SIZE };
	assert_int_equal(et_tape_proof_check(second, NULL, &part, NULL), 0);
	assert_true(part.leaves && part.count < whole.count && part.first == 0);
	assert_memory_equal(part.seal.root, whole.seal.root, 32);

	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/proof?from_ms=86400000&reason=x",
		       the->id);
	GET(behind, path);
	assert_code(&behind, 404, "ET_ENOTFOUND");
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/proof?from_ms=5&to_ms=5", the->id);
	GET(empty, path);
	assert_code(&empty, 400, "ET_EUSAGE");
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
	GET(revisions, "/v1/archive/policy/revisions");
	const json_t *first = json_array_get(json_object_get(revisions.json, "revisions"), 0);
	assert_int_equal(json_array_size(json_object_get(revisions.json, "revisions")), 1);
	assert_string_equal(et_json_get_text(first, "reason", ""), "CHG-1");
	assert_true(et_json_get_bool(first, "in_force", false));
	assert_true(et_json_get_int(first, "audit_event", 0) > 0);
	char second[512];
	(void)snprintf(second, sizeof(second), "{\"expect_revision\":1,%s", good + 1);
	*strstr(second, "CHG-1") = 'D'; /* DHG-1 */
	ASK(twice, "PUT", "/v1/archive/policy", second, NULL, false);
	assert_int_equal(twice.status, 200);
	GET(both, "/v1/archive/policy/revisions"); /* of one instant, perhaps */
	const json_t *rows = json_object_get(both.json, "revisions");
	assert_int_equal(json_array_size(rows), 2);
	assert_string_equal(et_json_get_text(json_array_get(rows, 0), "reason", ""), "DHG-1");
	assert_string_equal(et_json_get_text(json_array_get(rows, 1), "reason", ""), "CHG-1");
	GET(older, "/v1/archive/policy/revisions/1");
	assert_int_equal(et_json_get_int(older.json, "revision", 0), 1);
	assert_string_equal(et_json_get_text(older.json, "text", "?"),
			    et_json_get_text(policy.json, "text", ""));
	GET(never, "/v1/archive/policy/revisions/3");
	assert_code(&never, 404, "ET_ENOTFOUND");
	GET(word, "/v1/archive/policy/revisions/last");
	assert_code(&word, 400, "ET_EUSAGE");
	ASK(what_if, "POST", "/v1/archive/plans", "{\"text\":\"targts: {}\"}", NULL, false);
	assert_code(&what_if, 400, "ET_EMALFORMED");
	ASK(plan, "POST", "/v1/archive/plans", "{}", NULL, false);
	assert_int_equal(plan.status, 201);
	assert_string_equal(et_json_get_text(plan.json, "plan", "?"),
			    ""); /* the call still lives */
	ASK(apply, "POST", "/v1/archive/plans/01a201f2-afb3-7c1e-8000-0123456789ab/apply",
	    "{\"reason\":\"x\"}", NULL, false);
	assert_code(&apply, 404, "ET_ENOTFOUND");
	GET(status, "/v1/archive/status");
	assert_code(&status, 501, "ET_EUNSUPPORTED"); /* this node runs no mover */
	ASK(tried, "POST", "/v1/archive/targets/cold/test", "{}", NULL, false);
	assert_code(&tried, 501, "ET_EUNSUPPORTED");
}

static bool says(const json_t *why, const char *about, const char *what)
{
	const json_t *statements = json_object_get(why, "statements");
	for (size_t i = 0; i < json_array_size(statements); i++) {
		const json_t *o = json_array_get(statements, i);
		if (strcmp(et_json_get_text(o, "about", ""), about) == 0 &&
		    strstr(et_json_get_text(o, "what", ""), what) != NULL &&
		    *et_json_get_text(o, "source", "") != '\0') {
			return true;
		}
	}
	return false;
}

/* The call still lives here; the archive policy of the test before selects it. */
static void why_is_answered_with_sources(void **state)
{
	(void)state;
	char path[128];
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/why", the->id);
	GET(why, path);
	assert_int_equal(why.status, 200);
	assert_true(says(why.json, "recorded", "captured by") ||
		    says(why.json, "recorded", "default"));
	assert_true(says(why.json, "archived", ""));
	assert_true(says(why.json, "kept", ""));
	assert_true(says(why.json, "placed", ""));
	GET(none, "/v1/recordings/01a201f2-afb3-7c1e-8000-0123456789ab/why");
	assert_code(&none, 404, "ET_ENOTFOUND");
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

/* Shares open every recording: the chain says who got them, not only which node made them. */
static void who_asked_for_escrow_shares_is_in_the_audit_log(void **state)
{
	bool found = false;
	size_t i;
	const json_t *event;

	(void)state;
	ASK(many, "POST", "/v1/keys/escrow", "{\"shares\":300}", NULL, false);
	assert_code(&many, 400, "ET_EUSAGE");
	ASK(shares, "POST", "/v1/keys/escrow",
	    "{\"threshold\":2,\"shares\":3,\"reason\":\"CHG-9\"}", NULL, false);
	assert_int_equal(shares.status, 201);
	assert_int_equal(json_array_size(json_object_get(shares.json, "escrow_shares")), 3);
	GET(audit, "/v1/audit?limit=1000");
	json_array_foreach(json_object_get(audit.json, "events"), i, event)
	{
		if (strcmp(et_json_get_text(event, "action", ""), "key.escrow") == 0) {
			found = true;
			assert_memory_equal(et_json_get_text(event, "principal", ""), "local:", 6);
			assert_string_equal(et_json_get_text(event, "detail", ""), "2 of 3");
			assert_string_equal(et_json_get_text(event, "reason", ""), "CHG-9");
		}
	}
	assert_true(found);
}

static void a_wish_for_a_rotation_is_checked(void **state)
{
	(void)state;
	ASK(none, "POST", "/v1/keys/rotate", "{}", NULL, false);
	assert_code(&none, 400, "ET_EUSAGE");
	/* As 32 bits that would be 0: whatever the newest is. */
	ASK(large, "POST", "/v1/keys/rotate", "{\"reason\":\"x\",\"expect\":4294967296}", NULL,
	    false);
	assert_code(&large, 400, "ET_EUSAGE");
	ASK(other, "POST", "/v1/keys/rotate", "{\"reason\":\"x\",\"expect\":7}", NULL, false);
	assert_string_equal(et_json_get_text(other.json, "code", ""), "ET_ESTALE");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_open_what_their_roles_say),
		cmocka_unit_test(a_token_that_is_revoked_opens_nothing),
		cmocka_unit_test(who_connects_chooses_no_dear_handshake),
		cmocka_unit_test(a_single_node_survives_nothing_and_says_why),
		cmocka_unit_test(recordings_are_found),
		cmocka_unit_test(every_read_says_how_it_was_given),
		cmocka_unit_test(a_site_is_what_was_said_last),
		cmocka_unit_test(a_site_goes_when_nothing_keeps_it),
		cmocka_unit_test(a_node_that_cannot_be_asked_says_so),
		cmocka_unit_test(hearing_leaves_a_trace_and_serves_ranges),
		cmocka_unit_test(a_recording_comes_in_the_format_that_is_asked_for),
		cmocka_unit_test(losses_are_concealed_when_it_is_asked_for),
		cmocka_unit_test(peaks_and_original_come_from_the_same_tape),
		cmocka_unit_test(a_proof_needs_no_key_and_leaves_a_trace),
		cmocka_unit_test(policy_and_plan_go_through_the_catalogue),
		cmocka_unit_test(why_is_answered_with_sources),
		cmocka_unit_test(join_tokens_are_made_and_kept_by_half),
		cmocka_unit_test(who_asked_for_escrow_shares_is_in_the_audit_log),
		cmocka_unit_test(a_wish_for_a_rotation_is_checked),
		cmocka_unit_test(the_rest_answers),
	};
	return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
