#include "archive/bucket/s3_http.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/crypto/hash.h"
#include "node/io/clock.h"

#define POLL_MAX_MS INT64_C(250) /* so that stalls are noticed about in time */
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void curl_begin(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int s3_http_init(struct s3_http *h, const struct bucket_settings *settings, atomic_bool *cancelled,
		 struct et_credentials *credentials, struct et_error *reterr)
{
	(void)pthread_once(&curl_once, curl_begin);
	CURLM *multi = curl_ready == CURLE_OK ? curl_multi_init() : NULL;
	if (multi == NULL) {
		return et_fail(reterr, -ENOMEM, "libcurl");
	}
	*h = (struct s3_http){ .settings = settings,
			       .cancelled = cancelled,
			       .credentials = *credentials,
			       .multi = multi };
	*credentials = (struct et_credentials){ 0 };
	return 0;
}

void s3_http_release(struct s3_http *h)
{
	(void)curl_multi_cleanup(h->multi);
	et_credentials_release(&h->credentials);
}

void s3_http_wake(struct s3_http *h)
{
	(void)curl_multi_wakeup(h->multi);
}

void s3_request_release(struct s3_request *r)
{
	et_buffer_release(&r->content);
}

void s3_request_header(struct s3_request *r, const char *name, const char *value)
{
	et_assert(r->header_count < S3_HEADERS_MAX);
	size_t at = r->header_count;
	while (at > 0 && strcmp(r->headers[at - 1].name, name) > 0) {
		r->headers[at] = r->headers[at - 1];
		at--;
	}
	r->headers[at] = (struct s3_header){ name, value };
	r->header_count++;
}

/* ---- What libcurl calls ---- */

static size_t on_header(char *data, size_t one, size_t size, void *arg)
{
	(void)one;
	struct s3_request *r = arg;
	s3_answer_line(&r->answer, data, size);
	(void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &r->answer.status);
	return size;
}

/* Content of the range that was asked for. */
static size_t take_range(struct s3_request *r, const char *data, size_t size)
{
	if (!r->range_ok) {
		r->range_ok = s3_answer_is_range(&r->answer, r->offset + r->delivered,
						 r->length - r->delivered);
	}
	if (!r->range_ok || size > r->length - r->delivered) {
		return 0; /* CURLE_WRITE_ERROR */
	}
	if (r->if_match[0] == '\0' && r->answer.etag[0] != '\0') {
		(void)snprintf(r->if_match, sizeof(r->if_match), "\"%s\"", r->answer.etag);
	}
	int rc = r->sink(r->sink_arg, data, size);
	if (rc < 0) {
		r->local_code = rc;
		return 0;
	}
	r->delivered += size;
	return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
	(void)one;
	struct s3_request *r = arg;
	if (r->ranged && r->answer.status >= 200 && r->answer.status < 300) {
		return take_range(r, data, size);
	}
	size_t max = r->body_max == 0 || r->answer.status >= 300 ? S3_BODY_MAX : r->body_max;
	size_t room = max - (r->content.size < max ? r->content.size : max);
	if (size > room && r->answer.status < 300) {
		return 0; /* no answer of ours is that long */
	}
	et_buffer_add(&r->content, data, size < room ? size : room);
	return size;
}

static size_t on_read(char *data, size_t one, size_t count, void *arg)
{
	struct s3_request *r = arg;
	uint64_t total = r->put != NULL ? r->put->size : r->body.size;
	size_t size = one * count;
	size = size < total - r->sent ? size : (size_t)(total - r->sent);
	if (size == 0) {
		return 0;
	}
	if (r->put == NULL) {
		memcpy(data, r->body.data + r->sent, size);
	} else {
		int rc = r->put->read(r->put->arg, r->sent, data, size);
		if (rc < 0) {
			r->local_code = rc;
			return CURL_READFUNC_ABORT;
		}
	}
	r->sent += size;
	return size;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct s3_request *r = arg;
	uint64_t total = r->put != NULL ? r->put->size : r->body.size;
	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > total) {
		return CURL_SEEKFUNC_FAIL;
	}
	r->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
		       curl_off_t up)
{
	(void)down_total;
	struct s3_request *r = arg;
	const struct bucket_settings *s = r->http->settings;
	int64_t now = et_clock_mono_us();
	if (r->progress_bytes != down + up) {
		r->progress_bytes = down + up;
		r->progress_us = now;
	}
	/* All is sent, nothing has come: the server is storing it. */
	bool storing = up_total > 0 && up >= up_total && down == 0;
	int64_t limit_us = (int64_t)s->stall_ms * 1000 * (storing ? 3 : 1);
	curl_off_t connected = 0;
	(void)curl_easy_getinfo(r->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
	if (connected == 0) {
		limit_us += (int64_t)s->connect_ms * 1000; /* has its own limit */
	}
	return atomic_load(r->http->cancelled) || now - r->progress_us > limit_us ? 1 : 0;
}

/* ---- One attempt ---- */

static void request_path(const struct s3_http *h, const struct s3_request *r, struct et_buffer *ret)
{
	et_buffer_add8(ret, '/');
	if (!h->settings->virtual_host) {
		et_buffer_printf(ret, "%s", h->settings->bucket);
		if (r->name != NULL) {
			et_buffer_add8(ret, '/');
		}
	}
	if (r->name != NULL) {
		s3_encode(ret, r->name, true);
	}
	et_buffer_add8(ret, 0);
}

static void request_host(const struct s3_http *h, struct et_buffer *ret)
{
	if (h->settings->virtual_host) {
		et_buffer_printf(ret, "%s.", h->settings->bucket);
	}
	et_buffer_printf(ret, "%s", h->settings->host);
	et_buffer_add8(ret, 0);
}

static int list_add(struct curl_slist **list, const char *name, const char *value)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer line = { 0 };
	et_buffer_printf(&line, "%s: %s", name, value);
	et_buffer_add8(&line, 0);
	struct curl_slist *more =
		line.failed ? NULL : curl_slist_append(*list, (const char *)line.data);
	if (more == NULL) {
		return -ENOMEM;
	}
	*list = more;
	return 0;
}

static void payload_hash(const struct s3_request *r, char ret[65])
{
	uint8_t hash[32];
	if (r->put != NULL) {
		et_hex(r->put->sha256, 32, ret);
	} else if (r->body.size > 0) {
		et_sha256(r->body.data, r->body.size, hash);
		et_hex(hash, sizeof(hash), ret);
	} else {
		memcpy(ret, EMPTY_SHA256, sizeof(EMPTY_SHA256));
	}
}

/* Headers with their signature into r->list. */
static int request_sign(struct s3_request *r, const char *path, const char *host)
{
	struct s3_http *h = r->http;
	struct s3_request copy = { .header_count = r->header_count };
	memcpy(copy.headers, r->headers, sizeof(copy.headers));
	char time[S3_TIME_SIZE];
	char hash[65];
	char range[64];
	r->signed_us = et_clock_now_us() + h->skew_us;
	s3_time(r->signed_us, time);
	payload_hash(r, hash);
	s3_request_header(&copy, "host", host);
	s3_request_header(&copy, "x-amz-content-sha256", hash);
	s3_request_header(&copy, "x-amz-date", time);
	if (r->ranged) {
		(void)snprintf(range, sizeof(range), "bytes=%llu-%llu",
			       (unsigned long long)(r->offset + r->delivered),
			       (unsigned long long)(r->offset + r->length - 1));
		s3_request_header(&copy, "range", range);
		if (r->if_match[0] != '\0') {
			s3_request_header(&copy, "if-match", r->if_match);
		}
	}
	struct s3_signing signing = { .method = r->method,
				      .path = path,
				      .query = r->query == NULL ? "" : r->query,
				      .headers = copy.headers,
				      .header_count = copy.header_count,
				      .payload_hash = hash,
				      .region = h->settings->region,
				      .key_id = h->credentials.key_id,
				      .secret = h->credentials.secret,
				      .time = time };
	ET_CLEANUP(et_buffer_release) struct et_buffer authorization = { 0 };
	int rc = s3_sign(&signing, &authorization, &r->error);
	for (size_t i = 0; rc == 0 && i < copy.header_count; i++) {
		rc = list_add(&r->list, copy.headers[i].name, copy.headers[i].value);
	}
	rc = rc < 0 ? rc : list_add(&r->list, "authorization", (const char *)authorization.data);
	return rc < 0 ? rc : list_add(&r->list, "content-type", "application/octet-stream");
}

#define SET(option, value) (ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK)

static bool set_connection(CURL *easy, const struct bucket_settings *s)
{
	bool ok = true;
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)s->connect_ms);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	/* A server that never says "100 Continue" gets the body all the same, and before the stall.
	 */
	SET(CURLOPT_EXPECT_100_TIMEOUT_MS, s->stall_ms < 2000 ? (long)s->stall_ms / 2 : 1000L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	if (s->ca_file != NULL) {
		SET(CURLOPT_CAINFO, s->ca_file);
		SET(CURLOPT_CAPATH, NULL);
	}
	SET(CURLOPT_BUFFERSIZE, (long)BUCKET_CHUNK_SIZE);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, (long)BUCKET_CHUNK_SIZE);
	return ok;
}

static bool set_callbacks(CURL *easy, struct s3_request *r)
{
	bool ok = true;
	SET(CURLOPT_PRIVATE, r);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, r);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, r);
	SET(CURLOPT_READFUNCTION, on_read);
	SET(CURLOPT_READDATA, r);
	SET(CURLOPT_SEEKFUNCTION, on_seek);
	SET(CURLOPT_SEEKDATA, r);
	SET(CURLOPT_NOPROGRESS, 0L);
	SET(CURLOPT_XFERINFOFUNCTION, on_progress);
	SET(CURLOPT_XFERINFODATA, r);
	return ok;
}

static bool set_method(CURL *easy, const struct s3_request *r)
{
	bool ok = true;
	if (strcmp(r->method, "PUT") == 0) {
		uint64_t size = r->put != NULL ? r->put->size : r->body.size;
		SET(CURLOPT_UPLOAD, 1L);
		SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
	} else if (strcmp(r->method, "HEAD") == 0) {
		SET(CURLOPT_NOBODY, 1L);
	} else if (strcmp(r->method, "GET") != 0) {
		SET(CURLOPT_CUSTOMREQUEST, r->method);
	}
	return ok;
}

#undef SET

static void attempt_end(struct s3_request *r)
{
	if (r->easy != NULL) {
		(void)curl_multi_remove_handle(r->http->multi, r->easy);
		curl_easy_cleanup(r->easy);
		r->easy = NULL;
	}
	curl_slist_free_all(r->list);
	r->list = NULL;
}

static int attempt_start(struct s3_request *r)
{
	struct s3_http *h = r->http;
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	ET_CLEANUP(et_buffer_release) struct et_buffer host = { 0 };
	ET_CLEANUP(et_buffer_release) struct et_buffer url = { 0 };
	request_path(h, r, &path);
	request_host(h, &host);
	et_buffer_printf(&url, "%s://%s%s%s%s", h->settings->tls ? "https" : "http",
			 path.failed || host.failed ? "" : (const char *)host.data,
			 path.failed || host.failed ? "" : (const char *)path.data,
			 r->query == NULL ? "" : "?", r->query == NULL ? "" : r->query);
	et_buffer_add8(&url, 0);
	if (path.failed || host.failed || url.failed) {
		return -ENOMEM;
	}
	r->attempts++;
	r->answer = (struct s3_answer){ .content_length = -1 };
	r->content.size = 0;
	r->sent = 0;
	r->range_ok = false;
	r->progress_bytes = 0;
	r->progress_us = et_clock_mono_us();
	r->easy = curl_easy_init();
	int rc = r->easy == NULL
			 ? -ENOMEM
			 : request_sign(r, (const char *)path.data, (const char *)host.data);
	if (rc < 0) {
		return rc;
	}
	bool ok = set_connection(r->easy, h->settings) && set_callbacks(r->easy, r) &&
		  set_method(r->easy, r) &&
		  curl_easy_setopt(r->easy, CURLOPT_URL, (const char *)url.data) == CURLE_OK &&
		  curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->list) == CURLE_OK &&
		  curl_multi_add_handle(h->multi, r->easy) == CURLM_OK;
	return ok ? 0 : -ENOMEM;
}

/* The attempt is over: done, failed, or once more later. */
static void attempt_over(struct s3_request *r, CURLcode result)
{
	(void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &r->answer.status);
	attempt_end(r);
	if (r->answer.date_us != 0) {
		r->http->apart_known = true;
		r->http->apart_us = r->answer.date_us - et_clock_now_us();
	}
	enum s3_verdict verdict = s3_judge(r, result);
	if (verdict == S3_AGAIN && r->attempts < r->http->settings->attempts) {
		int64_t pause = bucket_pause_us(r->http->settings, r->attempts + 1);
		int64_t asked = (int64_t)r->answer.retry_after_ms * 1000;
		r->not_before_us = et_clock_mono_us() + (asked > pause ? asked : pause);
		return;
	}
	r->finished = true;
}

/* ---- Many ---- */

struct s3_run {
	struct s3_http *http;
	struct s3_request **requests;
	size_t count;
	size_t running;
	size_t finished;
	uint32_t parallel;
};

/* Start what may start. Returns how long to wait at most for the next, in milliseconds. */
static int run_start(struct s3_run *run)
{
	int64_t now = et_clock_mono_us();
	int64_t next_us = POLL_MAX_MS * 1000;
	for (size_t i = 0; i < run->count && run->running < run->parallel; i++) {
		struct s3_request *r = run->requests[i];
		if (r->finished || r->easy != NULL) {
			continue;
		}
		if (r->not_before_us > now) {
			next_us =
				r->not_before_us - now < next_us ? r->not_before_us - now : next_us;
			continue;
		}
		int rc = attempt_start(r);
		if (rc < 0) {
			attempt_end(r);
			r->code = et_fail(&r->error, rc, "%s", r->method);
			r->finished = true;
			run->finished++;
			continue;
		}
		run->running++;
	}
	return (int)(next_us / 1000) + 1;
}

static void run_collect(struct s3_run *run)
{
	int left = 0;
	CURLMsg *message;
	while ((message = curl_multi_info_read(run->http->multi, &left)) != NULL) {
		struct s3_request *r = NULL;
		CURLcode result = message->data.result;
		et_assert(message->msg == CURLMSG_DONE);
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &r);
		attempt_over(r, result);
		run->running--;
		run->finished += r->finished ? 1 : 0;
	}
}

static void run_abort(struct s3_run *run, int code)
{
	for (size_t i = 0; i < run->count; i++) {
		struct s3_request *r = run->requests[i];
		attempt_end(r);
		if (!r->finished) {
			r->code = et_fail(&r->error, code, "%s", r->method);
			r->finished = true;
		}
	}
}

void s3_http_run(struct s3_http *h, struct s3_request **requests, size_t count, uint32_t parallel)
{
	struct s3_run run = {
		.http = h, .requests = requests, .count = count, .parallel = parallel
	};
	for (size_t i = 0; i < count; i++) {
		requests[i]->http = h;
	}
	while (run.finished < run.count) {
		if (atomic_load(h->cancelled)) {
			run_abort(&run, ET_ECLOSED);
			return;
		}
		int wait_ms = run_start(&run);
		int active = 0;
		if (curl_multi_perform(h->multi, &active) != CURLM_OK) {
			run_abort(&run, -EIO);
			return;
		}
		run_collect(&run);
		if (run.finished < run.count && (active > 0 || run.running == 0)) {
			(void)curl_multi_poll(h->multi, NULL, 0, wait_ms, NULL);
		}
	}
}

int s3_http_one(struct s3_http *h, struct s3_request *r, struct et_error *reterr)
{
	s3_http_run(h, &r, 1, 1);
	if (r->code < 0 && reterr != NULL) {
		*reterr = r->error;
	}
	return r->code;
}
