/* The API of a member: bodies that are read as they come, over an importer that is a fake: what is
 * sent arrives whole, a client that is ahead waits and is not cut for it, and whoever is refused
 * while it sends is told so. */
#include "node/api/test/member.h"

#include <poll.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

enum {
	FILE_BYTES = 8 * 1024 * 1024, /* more than the node keeps, and sockets, too */
	KEPT_BYTES = 1024 * 1024,     /* what it keeps: ENOUGH_BYTES of stream.c */
	STILL_MS = 500,		      /* who takes nothing for so long holds its client */
	CUT_MS = 16500, /* longer than a client may be silent: HEAD_TIMEOUT_S of server.c */
	ANSWER_S = 10,	/* shorter: an answer must not wait for that clock */
};

/* The importer. Set before a request; read after its answer, or after `done`. */
static struct {
	sem_t go; /* one for each request */
	sem_t done;
	int code; /* <0: it refuses, and reads nothing */
	size_t read_bytes;
	bool wrong; /* another byte than was sent */
	int read_code;
} importer;

static uint8_t byte_at(size_t at)
{
	return (uint8_t)(at ^ (at >> 8) ^ (at >> 16));
}

static int fake_import(void *arg, const struct et_api_import *request, struct et_api_imported *ret,
		       struct et_error *reterr)
{
	static uint8_t bytes[100000];
	ssize_t n = 0;

	(void)arg;
	assert_int_equal(request->size_bytes, FILE_BYTES);
	(void)sem_wait(&importer.go);
	if (importer.code < 0) {
		return et_fail_plain(reterr, importer.code, "the importer says no");
	}
	while ((n = request->read(request->read_arg, bytes, sizeof(bytes), reterr)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			importer.wrong |= bytes[i] != byte_at(importer.read_bytes + (size_t)i);
		}
		importer.read_bytes += (size_t)n;
	}
	importer.read_code = (int)n;
	ret->recordings = json_array();
	(void)sem_post(&importer.done);
	return (int)n;
}

static int set_up_importer(void **state)
{
	static const struct et_api_backend backend = { .import = fake_import };
	member_backend = &backend;
	assert_int_equal(sem_init(&importer.go, 0, 0), 0);
	assert_int_equal(sem_init(&importer.done, 0, 0), 0);
	return group_set_up(state);
}

static void importer_answers(int code)
{
	importer.code = code;
	importer.read_bytes = 0;
	importer.wrong = false;
	importer.read_code = 0;
}

/* ---- A client that does one thing after another ---- */

#define IMPORT                                                                                     \
	"/v1/imports?name=a.wav&sha256="                                                           \
	"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static int dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = ANSWER_S };
	char head[256];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", the->socket);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	int n = snprintf(head, sizeof(head),
			 "POST " IMPORT " HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
			 FILE_BYTES);
	assert_int_equal(send(fd, head, (size_t)n, MSG_NOSIGNAL), n);
	return fd;
}

/* Bytes from `at` on, until all are sent or, with MSG_DONTWAIT, nobody takes more. */
static size_t send_from(int fd, size_t at, size_t end, int flags)
{
	uint8_t bytes[4096];

	while (at < end) {
		size_t size = end - at < sizeof(bytes) ? end - at : sizeof(bytes);
		for (size_t i = 0; i < size; i++) {
			bytes[i] = byte_at(at + i);
		}
		ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL | flags);
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		if (n < 0 && errno == EAGAIN && flags != 0) {
			if (poll(&p, 1, STILL_MS) == 0) {
				return at;
			}
			continue;
		}
		assert_true(n > 0);
		at += (size_t)n;
	}
	return at;
}

/* It has sent more than the node keeps, and less than all: it is held. */
static size_t send_until_held(int fd)
{
	size_t sent = send_from(fd, 0, FILE_BYTES, MSG_DONTWAIT);
	assert_in_range(sent, KEPT_BYTES, FILE_BYTES - 1);
	return sent;
}

/* To the end of the connection, which is no reset. */
static unsigned read_answer(int fd, char *text, size_t size)
{
	size_t used = 0;
	unsigned status = 0;
	ssize_t n = 0;

	while (used < size - 1 && (n = read(fd, text + used, size - 1 - used)) > 0) {
		used += (size_t)n;
	}
	text[used] = '\0';
	if (n != 0) {
		fail_msg("after %zu bytes of the answer: %s", used, strerror(errno));
	}
	(void)sscanf(text, "HTTP/1.1 %u", &status);
	assert_non_null(strstr(text, "connection: close"));
	return status;
}

/* ---- What is sent ---- */

static void what_is_sent_arrives_whole(void **state)
{
	static char text[65536];
	(void)state;
	importer_answers(0);
	int fd = dial();
	size_t sent = send_until_held(fd);
	assert_int_equal(sem_post(&importer.go), 0);
	assert_int_equal(send_from(fd, sent, FILE_BYTES, 0), FILE_BYTES);
	assert_int_equal(read_answer(fd, text, sizeof(text)), 201);
	assert_int_equal(sem_wait(&importer.done), 0);
	assert_int_equal(importer.read_bytes, FILE_BYTES);
	assert_false(importer.wrong);
	(void)close(fd);
}

static void who_waits_for_the_node_is_not_cut(void **state)
{
	static char text[65536];
	(void)state;
	importer_answers(0);
	int fd = dial();
	size_t sent = send_until_held(fd);
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };
	assert_int_equal(poll(&p, 1, CUT_MS), 0);
	assert_int_equal(sem_post(&importer.go), 0);
	assert_int_equal(send_from(fd, sent, FILE_BYTES, 0), FILE_BYTES);
	assert_int_equal(read_answer(fd, text, sizeof(text)), 201);
	assert_int_equal(sem_wait(&importer.done), 0);
	assert_int_equal(importer.read_bytes, FILE_BYTES);
	(void)close(fd);
}

static void a_client_that_leaves_is_noticed(void **state)
{
	(void)state;
	importer_answers(0);
	int fd = dial();
	assert_int_equal(sem_post(&importer.go), 0);
	assert_int_equal(send_from(fd, 0, FILE_BYTES / 2, 0), FILE_BYTES / 2);
	(void)close(fd);
	assert_int_equal(sem_wait(&importer.done), 0);
	assert_int_equal(importer.read_code, ET_ECLOSED);
	assert_false(importer.wrong);
}

/* ---- Refusals ---- */

static void who_is_held_is_told_of_a_refusal(void **state)
{
	char text[4096];
	(void)state;
	importer_answers(ET_EREFUSED);
	int fd = dial();
	(void)send_until_held(fd);
	assert_int_equal(sem_post(&importer.go), 0);
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
	if (n <= 0) {
		fail_msg("no answer: %s", strerror(errno));
	}
	text[n] = '\0';
	assert_non_null(strstr(text, "HTTP/1.1 409"));
	(void)close(fd);
}

/* It sends everything before it reads anything. */
static void who_reads_late_is_told_of_a_refusal(void **state)
{
	static char text[65536];
	(void)state;
	importer_answers(ET_EREFUSED);
	int fd = dial();
	size_t sent = send_until_held(fd);
	assert_int_equal(sem_post(&importer.go), 0);
	assert_int_equal(send_from(fd, sent, FILE_BYTES, 0), FILE_BYTES);
	assert_int_equal(read_answer(fd, text, sizeof(text)), 409);
	assert_non_null(strstr(text, "\"code\":\"ET_EREFUSED\""));
	(void)close(fd);
}

static size_t upload_zeros(char *data, size_t size, size_t count, void *arg)
{
	(void)arg;
	memset(data, 0, size * count);
	return size * count;
}

/* Over TLS, as `evertape recording import --node` does it: some are refused while they are held,
 * some before. */
static void who_may_not_is_told_so_while_it_sends(void **state)
{
	(void)state;
	ASK(made, "POST", "/v1/tokens", "{\"name\":\"teller\",\"roles\":[\"teller\"]}", NULL,
	    false);
	assert_int_equal(made.status, 201);
	const char *header = bearer(et_json_get_text(made.json, "token", ""));
	for (int i = 0; i < 20; i++) {
		ET_CLEANUP(et_buffer_release) struct et_buffer body = { 0 };
		struct curl_slist *headers = curl_slist_append(NULL, header);
		char url[256];
		long status = 0;
		CURL *c = curl_easy_init();
		assert_non_null(c);
		headers = curl_slist_append(headers, "Expect:");
		(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u" IMPORT,
			       et_api_port(the->api));
		(void)curl_easy_setopt(c, CURLOPT_URL, url);
		(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
		(void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
		(void)curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		(void)curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, "POST");
		(void)curl_easy_setopt(c, CURLOPT_READFUNCTION, upload_zeros);
		(void)curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)1 << 30);
		(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
		(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, &body);
		(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
		(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, ANSWER_S * 1000L);
		CURLcode code = curl_easy_perform(c);
		(void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
		curl_slist_free_all(headers);
		curl_easy_cleanup(c);
		if (code != CURLE_OK || status != 403) {
			fail_msg("try %d: %s, status %ld", i, curl_easy_strerror(code), status);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sent_arrives_whole),
		cmocka_unit_test(a_client_that_leaves_is_noticed),
		cmocka_unit_test(who_is_held_is_told_of_a_refusal),
		cmocka_unit_test(who_reads_late_is_told_of_a_refusal),
		cmocka_unit_test(who_may_not_is_told_so_while_it_sends),
		cmocka_unit_test(who_waits_for_the_node_is_not_cut),
	};
	return cmocka_run_group_tests(tests, set_up_importer, group_tear_down);
}
