/* The API by libcurl: over the node's Unix socket, or HTTPS with a token from a private file. */
#include <curl/curl.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/base/secret.h"
#include "ops/cli/cli.h"

#define ANSWER_MAX (64 * 1024 * 1024) /* bytes of a JSON answer */
#define ERROR_MAX (64 * 1024)	      /* bytes of an error answer */
#define TOKEN_MAX 256		      /* bytes of a token file */
#define TIMEOUT_MS 15000 /* longer than a node waits for a quorum (10 s): its answer says why */

/* One exchange. */
struct request {
	struct et_cli *cli;	    /* borrowed */
	const char *path;	    /* view */
	CURL *curl;		    /* owned */
	struct curl_slist *headers; /* owned; one of them may be a secret: wiped */
	struct et_buffer answer;    /* owned */
	FILE *sink;		    /* borrowed: where a good answer goes; NULL: into `answer` */
	long status;
	struct et_cli_audio *audio;	    /* borrowed; or NULL */
	const struct et_cli_upload *upload; /* borrowed: the body; or NULL */
	int upload_code;		    /* of its read */
	bool too_long;
	bool sink_failed;
	char curl_error[CURL_ERROR_SIZE];
};

int et_cli_code_of(const char *name)
{
	static const int codes[] = {
#define CODE_OF(code_name, value, text) value,
		ET_ERROR_MAP(CODE_OF)
#undef CODE_OF
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(codes); i++) {
		if (strcmp(et_errname(codes[i]), name) == 0) {
			return codes[i];
		}
	}
	for (int e = 1; e < 134; e++) {
		if (strcmp(et_errname(-e), name) == 0) {
			return -e;
		}
	}
	return -EIO;
}

void et_cli_patience(struct et_cli *cli, long timeout_ms)
{
	cli->timeout_ms = cli->timeout_ms == 0 ? timeout_ms : cli->timeout_ms;
}

void et_cli_query(struct et_buffer *path, const char *key, const char *value)
{
	if (value == NULL) {
		return;
	}
	char first = memchr(path->data, '?', path->size) == NULL ? '?' : '&';
	et_buffer_printf(path, "%c%s=", first, key);
	for (const char *p = value; *p != '\0'; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9') || strchr("-_.~", *p) != NULL;
		if (plain) {
			et_buffer_add8(path, (uint8_t)*p);
		} else {
			et_buffer_printf(path, "%%%02X", (unsigned)(uint8_t)*p);
		}
	}
}

static size_t request_take(char *data, size_t size, size_t count, void *arg)
{
	struct request *r = arg;
	size_t bytes = size * count;
	if (r->status == 0) {
		(void)curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &r->status);
	}
	bool good = r->status >= 200 && r->status < 300;
	if (good && r->sink != NULL) {
		bool written = fwrite(data, 1, bytes, r->sink) == bytes;
		r->sink_failed = !written;
		return written ? bytes : 0;
	}
	if (r->answer.size + bytes > (good ? ANSWER_MAX : ERROR_MAX)) {
		r->too_long = true;
		return 0;
	}
	et_buffer_add(&r->answer, data, bytes);
	return r->answer.failed ? 0 : bytes;
}

static size_t request_head(char *line, size_t size, size_t count, void *arg)
{
	static const char complete[] = "x-evertape-complete: true";
	static const char problem[] = "x-evertape-problem: ";
	static const char masked[] = "x-evertape-tones: masked";
	static const char concealed[] = "x-evertape-concealed-ms: ";
	struct request *r = arg;
	size_t bytes = size * count;
	if (r->audio == NULL) {
		return bytes;
	}
	if (bytes >= sizeof(complete) - 1 &&
	    strncasecmp(line, complete, sizeof(complete) - 1) == 0) {
		r->audio->complete = true;
	} else if (bytes >= sizeof(masked) - 1 &&
		   strncasecmp(line, masked, sizeof(masked) - 1) == 0) {
		r->audio->masked = true;
	} else if (bytes > sizeof(concealed) - 1 &&
		   strncasecmp(line, concealed, sizeof(concealed) - 1) == 0) {
		r->audio->concealed = true;
		r->audio->concealed_ms = strtoull(line + sizeof(concealed) - 1, NULL, 10);
	} else if (bytes > sizeof(problem) - 1 &&
		   strncasecmp(line, problem, sizeof(problem) - 1) == 0) {
		(void)snprintf(r->audio->problem, sizeof(r->audio->problem), "%.*s",
			       (int)(bytes - sizeof(problem) + 1), line + sizeof(problem) - 1);
		r->audio->problem[strcspn(r->audio->problem, "\r\n")] = '\0';
	}
	return bytes;
}

static int header_add(struct request *r, const char *text, struct et_error *reterr)
{
	struct curl_slist *longer = curl_slist_append(r->headers, text);
	if (longer == NULL) {
		return et_fail(reterr, -ENOMEM, "request");
	}
	r->headers = longer;
	return 0;
}

/* The token goes from a private file into one header, and is wiped from both. */
static int token_add(struct request *r, struct et_error *reterr)
{
	const char *path = r->cli->token_file;
	if (path == NULL) {
		return 0;
	}
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0) {
		return et_fail(reterr, -errno, "open token file '%s'", path);
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		int rc = et_fail(reterr, ET_EKEYPERM, "token file '%s'", path);
		(void)et_fail_next(reterr, "chmod 600 %s", path);
		return rc;
	}
	char header[TOKEN_MAX + 32] = "Authorization: Bearer ";
	size_t used = strlen(header);
	ssize_t n = read(fd, header + used, TOKEN_MAX);
	int rc = 0;
	if (n <= 0 || n == TOKEN_MAX) {
		rc = et_fail_plain(reterr, ET_EMALFORMED, "token file '%s' holds no token", path);
	} else {
		header[used + (size_t)n] = '\0';
		header[strcspn(header, "\r\n")] = '\0';
		rc = header_add(r, header, reterr);
	}
	explicit_bzero(header, sizeof(header));
	return rc;
}

static int request_headers(struct request *r, bool has_body, struct et_error *reterr)
{
	char expect[128];
	int rc = header_add(r, "Accept: application/json", reterr);
	if (rc == 0 && has_body) {
		rc = header_add(r, "Content-Type: application/json", reterr);
	}
	if (rc == 0) {
		rc = header_add(r, "Expect:", reterr);
	}
	if (rc == 0 && r->cli->cluster != NULL) {
		(void)snprintf(expect, sizeof(expect), "X-Evertape-Expect-Cluster: %.63s",
			       r->cli->cluster);
		rc = header_add(r, expect, reterr);
	}
	return rc < 0 ? rc : token_add(r, reterr);
}

static void request_target(struct request *r)
{
	struct et_cli *cli = r->cli;
	char url[4096];
	if (cli->node == NULL) {
		(void)curl_easy_setopt(r->curl, CURLOPT_UNIX_SOCKET_PATH, cli->socket);
		(void)snprintf(url, sizeof(url), "http://localhost%s", r->path);
	} else {
		(void)snprintf(url, sizeof(url), "https://%s%s", cli->node, r->path);
		(void)curl_easy_setopt(r->curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_3);
		if (cli->cluster_ca != NULL) {
			/* Nodes carry a SPIFFE name, no host name: the CA is the cluster's own. */
			(void)curl_easy_setopt(r->curl, CURLOPT_CAINFO, cli->cluster_ca);
			(void)curl_easy_setopt(r->curl, CURLOPT_SSL_VERIFYHOST, 0L);
		} else if (cli->ca != NULL) {
			(void)curl_easy_setopt(r->curl, CURLOPT_CAINFO, cli->ca);
		}
		if (cli->pin != NULL) {
			(void)curl_easy_setopt(r->curl, CURLOPT_PINNEDPUBLICKEY, cli->pin);
			(void)curl_easy_setopt(r->curl, CURLOPT_SSL_VERIFYHOST, 0L);
			if (cli->ca == NULL && cli->cluster_ca == NULL) {
				(void)curl_easy_setopt(r->curl, CURLOPT_SSL_VERIFYPEER, 0L);
			}
		}
	}
	(void)curl_easy_setopt(r->curl, CURLOPT_URL, url);
	if (cli->verbose) {
		et_cli_note(cli, "asking %s%s", cli->node != NULL ? cli->node : cli->socket,
			    r->path);
	}
}

/* No answer: which node, and the likely cause. */
static int request_unreachable(struct request *r, CURLcode code, struct et_error *reterr)
{
	struct et_cli *cli = r->cli;
	const char *where = cli->node != NULL ? cli->node : cli->socket;
	int rc;
	if (r->sink_failed) {
		return et_fail(reterr, -EIO, "write the answer of %s", where);
	}
	if (r->too_long) {
		return et_fail_plain(reterr, ET_ELIMIT, "the answer of %s is too long", where);
	}
	if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_PINNEDPUBKEYNOTMATCH) {
		rc = et_fail_plain(reterr, ET_EUNTRUSTED, "%s is not who it should be: %s", where,
				   r->curl_error);
		(void)et_fail_next(reterr, "give --cluster-ca, --ca or --pin");
		return rc;
	}
	if (code == CURLE_OPERATION_TIMEDOUT) {
		rc = et_fail_plain(reterr, -ETIMEDOUT, "%s did not answer in time: %s", where,
				   r->curl_error);
		(void)et_fail_next(reterr, "evertape doctor, or a longer --timeout");
		return rc;
	}
	if (code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST) {
		return et_fail_plain(reterr, ET_EUNREACHABLE, "talking to %s: %s", where,
				     r->curl_error[0] != '\0' ? r->curl_error
							      : curl_easy_strerror(code));
	}
	long os_errno = 0;
	(void)curl_easy_getinfo(r->curl, CURLINFO_OS_ERRNO, &os_errno);
	if (cli->node == NULL && os_errno == 0) {
		os_errno = access(cli->socket, R_OK | W_OK) != 0 ? errno : ECONNREFUSED;
	}
	if (cli->node == NULL && os_errno == EACCES) {
		rc = et_fail_plain(reterr, ET_EDENIED,
				   "may not use the node's socket '%s': only root and evertaped's "
				   "user may",
				   where);
		(void)et_fail_next(reterr, "sudo evertape ..., or --node with --token-file");
		return rc;
	}
	rc = et_fail_plain(reterr, ET_EUNREACHABLE, "no node answers at '%s': %s", where,
			   os_errno != 0 ? strerror((int)os_errno) : r->curl_error);
	(void)et_fail_next(reterr, "systemctl status evertaped");
	return rc;
}

/* An error answer of the API, or of something else that speaks HTTP. */
static int request_refused(struct request *r, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	if (et_json_parse("answer", r->answer.data, r->answer.size, ERROR_MAX, &j, NULL) < 0 ||
	    et_json_get_text(j, "code", NULL) == NULL) {
		return et_fail_plain(reterr, -EPROTO, "%s%s answered HTTP status %ld",
				     r->cli->node != NULL ? r->cli->node : r->cli->socket, r->path,
				     r->status);
	}
	int code = et_cli_code_of(et_json_get_text(j, "code", ""));
	(void)et_fail_plain(reterr, code, "%s", et_json_get_text(j, "why", "no reason given"));
	(void)et_fail_next(reterr, "%s", et_json_get_text(j, "next", ""));
	return code;
}

static void request_release(struct request *r)
{
	for (struct curl_slist *h = r->headers; h != NULL; h = h->next) {
		explicit_bzero(h->data, strlen(h->data));
	}
	curl_slist_free_all(r->headers);
	if (r->curl != NULL) {
		curl_easy_cleanup(r->curl);
	}
	if (r->answer.data != NULL) {
		explicit_bzero(r->answer.data, r->answer.size); /* may hold tokens and shares */
	}
	et_buffer_release(&r->answer);
}

static size_t request_give(char *data, size_t size, size_t count, void *arg)
{
	struct request *r = arg;
	ssize_t n = r->upload->read(r->upload->arg, data, size * count);
	if (n < 0) {
		r->upload_code = (int)n;
		return CURL_READFUNC_ABORT;
	}
	return (size_t)n;
}

/* It may take any time, also when all was sent: a node reads what it has written. */
static void request_upload(struct request *r)
{
	(void)curl_easy_setopt(r->curl, CURLOPT_UPLOAD, 1L);
	(void)curl_easy_setopt(r->curl, CURLOPT_READFUNCTION, request_give);
	(void)curl_easy_setopt(r->curl, CURLOPT_READDATA, r);
	(void)curl_easy_setopt(r->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->upload->size);
	(void)curl_easy_setopt(r->curl, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(r->curl, CURLOPT_TIMEOUT_MS, r->cli->timeout_ms);
}

/* `body`: NULL data: none. */
static int request_perform(struct request *r, const char *method, struct et_view body,
			   struct et_error *reterr)
{
	long timeout_ms = r->cli->timeout_ms > 0 ? r->cli->timeout_ms : TIMEOUT_MS;
	r->cli->asked = true;
	r->curl = curl_easy_init();
	if (r->curl == NULL) {
		return et_fail(reterr, -ENOMEM, "libcurl");
	}
	int rc = request_headers(r, body.data != NULL, reterr);
	if (rc < 0) {
		return rc;
	}
	request_target(r);
	(void)curl_easy_setopt(r->curl, CURLOPT_CUSTOMREQUEST, method);
	(void)curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, r->headers);
	(void)curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, r->curl_error);
	(void)curl_easy_setopt(r->curl, CURLOPT_HEADERFUNCTION, request_head);
	(void)curl_easy_setopt(r->curl, CURLOPT_HEADERDATA, r);
	(void)curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, request_take);
	(void)curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, r);
	(void)curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(r->curl, CURLOPT_CONNECTTIMEOUT_MS,
			       timeout_ms < TIMEOUT_MS ? timeout_ms : (long)TIMEOUT_MS);
	if (r->sink == NULL) {
		(void)curl_easy_setopt(r->curl, CURLOPT_TIMEOUT_MS, timeout_ms);
	} else { /* A download may be long; it must not stand still. */
		(void)curl_easy_setopt(r->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
		(void)curl_easy_setopt(r->curl, CURLOPT_LOW_SPEED_TIME,
				       r->cli->timeout_ms > 0 ? (timeout_ms + 999) / 1000 : 120L);
	}
	if (r->upload != NULL) {
		request_upload(r);
	} else if (body.data != NULL) {
		(void)curl_easy_setopt(r->curl, CURLOPT_POSTFIELDSIZE, (long)body.size);
		(void)curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, body.data);
	} else if (strcmp(method, "GET") != 0) {
		(void)curl_easy_setopt(r->curl, CURLOPT_POSTFIELDSIZE, 0L);
		(void)curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, "");
	}

	CURLcode code = curl_easy_perform(r->curl);
	if (r->upload_code < 0) {
		return et_fail(reterr, r->upload_code, "read what is sent");
	}
	if (code != CURLE_OK) {
		return request_unreachable(r, code, reterr);
	}
	(void)curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &r->status);
	return r->status >= 200 && r->status < 300 ? 0 : request_refused(r, reterr);
}

static int request_run(struct request *r, const char *method, const json_t *body,
		       struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };

	if (body != NULL) {
		et_json_print(body, false, &text);
		if (text.failed) {
			return et_fail(reterr, -ENOMEM, "request");
		}
	}
	int rc = request_perform(r, method, (struct et_view){ text.data, text.size }, reterr);
	if (text.data != NULL) {
		explicit_bzero(text.data, text.size); /* may hold a join token */
	}
	return rc;
}

static int answer_take(const struct request *r, json_t **ret, struct et_error *reterr)
{
	json_t *j = NULL;
	int rc = et_json_parse("answer", r->answer.data, r->answer.size, ANSWER_MAX, &j, reterr);
	if (rc < 0) {
		return rc;
	}
	if (ret != NULL) {
		*ret = j;
	} else {
		json_decref(j);
	}
	return 0;
}

int et_cli_send(struct et_cli *cli, const char *method, const char *path, const json_t *body,
		json_t **ret, struct et_error *reterr)
{
	ET_CLEANUP(request_release) struct request r = { .cli = cli, .path = path };
	int rc = request_run(&r, method, body, reterr);
	return rc < 0 ? rc : answer_take(&r, ret, reterr);
}

int et_cli_send_text(struct et_cli *cli, const char *path, struct et_view text, json_t **ret,
		     struct et_error *reterr)
{
	ET_CLEANUP(request_release) struct request r = { .cli = cli, .path = path };
	int rc = request_perform(&r, "POST", text, reterr);
	return rc < 0 ? rc : answer_take(&r, ret, reterr);
}

int et_cli_send_file(struct et_cli *cli, const char *path, const struct et_cli_upload *upload,
		     json_t **ret, struct et_error *reterr)
{
	ET_CLEANUP(request_release)
	struct request r = { .cli = cli, .path = path, .upload = upload };
	int rc = request_perform(&r, "POST", (struct et_view){ NULL, 0 }, reterr);
	return rc < 0 ? rc : answer_take(&r, ret, reterr);
}

int et_cli_get(struct et_cli *cli, const char *path, json_t **ret, struct et_error *reterr)
{
	return et_cli_send(cli, "GET", path, NULL, ret, reterr);
}

int et_cli_download(struct et_cli *cli, const char *path, FILE *f, struct et_cli_audio *ret,
		    struct et_error *reterr)
{
	*ret = (struct et_cli_audio){ .complete = false };
	ET_CLEANUP(request_release)
	struct request r = { .cli = cli, .path = path, .sink = f, .audio = ret };
	return request_run(&r, "GET", NULL, reterr);
}

struct download {
	struct et_cli *cli;
	const char *path;
	struct et_cli_audio *ret;
};

static int download_write(void *arg, FILE *f, struct et_error *reterr)
{
	const struct download *d = arg;
	return et_cli_download(d->cli, d->path, f, d->ret, reterr);
}

int et_cli_download_file(struct et_cli *cli, const char *path, const char *out,
			 struct et_cli_audio *ret, struct et_error *reterr)
{
	struct download d = { cli, path, ret };
	return et_cli_write_file(out, download_write, &d, reterr);
}
