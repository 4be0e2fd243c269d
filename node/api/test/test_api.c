/* The API on a Unix socket, before there is a cluster: real sockets, a backend of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/api/api.h"
#include "node/api/api_internal.h"
#include "node/text/yaml.h"

struct fixture {
	char dir[64];
	char socket[96];
	uv_loop_t loop;
	struct et_postbox box;
	struct et_api *api;
	bool closed;
	atomic_int inits;
	char join_token[64];
};

static int backend_init(void *arg, const struct et_api_init *request,
			struct et_api_init_answer *ret, struct et_error *reterr)
{
	struct fixture *f = arg;
	if (atomic_fetch_add(&f->inits, 1) > 0) {
		return et_fail(reterr, ET_EEXISTS, "cluster");
	}
	ret->node = 1;
	ret->share_count = request->escrow_shares;
	for (unsigned i = 0; i < ret->share_count; i++) {
		ret->shares[i] = et_secret_copy("evs1-share", 10);
	}
	ret->token = et_secret_copy("evapi1.token", 12);
	return 0;
}

static int backend_join(void *arg, const char *token, const char *address, uint64_t *ret_node,
			struct et_error *reterr)
{
	struct fixture *f = arg;
	(void)address;
	(void)snprintf(f->join_token, sizeof(f->join_token), "%s", token);
	if (strcmp(token, "evt1.good") != 0) {
		return et_fail_plain(reterr, ET_EDENIED, "the token is used up");
	}
	*ret_node = 3;
	return 0;
}

static int set_up_as(void **state, bool member)
{
	struct fixture *f = calloc(1, sizeof(*f));
	if (f == NULL) {
		return -1;
	}
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/et_api.XXXXXX");
	if (mkdtemp(f->dir) == NULL) {
		return -1;
	}
	(void)snprintf(f->socket, sizeof(f->socket), "%s/api.sock", f->dir);
	if (uv_loop_init(&f->loop) != 0 || et_postbox_init(&f->box, &f->loop) != 0) {
		return -1;
	}
	struct et_api_config config = {
		.postbox = &f->box,
		.socket_path = f->socket,
		.version = "0.1.0",
		.cluster = "acme",
		.name = "prg-1",
		.site = "prg",
		.connections = 24,
		.member = member,
		.backend = { .init_cluster = backend_init, .join = backend_join, .arg = f },
	};
	struct et_error e = { 0 };
	int rc = et_api_start(&config, &f->api, &e);
	if (rc != 0) {
		print_error("%s\n", e.text);
	}
	*state = f;
	return rc;
}

static int set_up(void **state)
{
	return set_up_as(state, false);
}

static int set_up_member(void **state)
{
	return set_up_as(state, true);
}

static void on_closed(void *arg)
{
	struct fixture *f = arg;
	f->closed = true;
}

static void on_box_closed(struct et_postbox *box)
{
	(void)box;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	et_api_stop(f->api, on_closed, f);
	while (!f->closed) { /* the box does not keep the loop alive: wait for its message */
		uv_ref((uv_handle_t *)&f->box.async);
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	}
	et_postbox_close(&f->box, on_box_closed);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	assert_int_not_equal(access(f->socket, F_OK), 0);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static int dial(struct fixture *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 20 };
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->socket);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Read one whole answer (head, and as many bytes as it announces). */
static unsigned answer(int fd, char *text, size_t size)
{
	size_t used = 0;
	size_t want = SIZE_MAX;
	while (used < size - 1 && used < want) {
		ssize_t n = read(fd, text + used, size - 1 - used);
		if (n <= 0) {
			break;
		}
		used += (size_t)n;
		text[used] = '\0';
		char *body = strstr(text, "\r\n\r\n");
		const char *length = strstr(text, "content-length:");
		if (body != NULL && length != NULL) {
			want = (size_t)(body + 4 - text) + strtoul(length + 15, NULL, 10);
		}
	}
	text[used] = '\0';
	unsigned status = 0;
	(void)sscanf(text, "HTTP/1.1 %u", &status);
	return status;
}

static unsigned ask(struct fixture *f, const char *request, char *text, size_t size)
{
	int fd = dial(f);
	size_t n = strlen(request);
	assert_int_equal(send(fd, request, n, MSG_NOSIGNAL), (ssize_t)n);
	unsigned status = answer(fd, text, size);
	(void)close(fd);
	return status;
}

static unsigned send_body(struct fixture *f, const char *line, const char *body, char *text,
			  size_t size)
{
	char request[4096];
	(void)snprintf(request, sizeof(request),
		       "%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", line,
		       strlen(body), body);
	return ask(f, request, text, size);
}

/* An error has all its parts. */
static void assert_error(const char *text, const char *code)
{
	const char *body = strstr(text, "\r\n\r\n");
	assert_non_null(body);
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	assert_int_equal(et_json_parse("body", body + 4, strlen(body + 4), 65536, &j, NULL), 0);
	assert_string_equal(et_json_get_text(j, "code", ""), code);
	static const char *const keys[] = { "schema", "what", "where", "why", "next" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(keys); i++) {
		assert_true(json_is_string(json_object_get(j, keys[i])));
	}
	assert_string_equal(et_json_get_text(j, "where", ""), "prg-1");
}

static void the_socket_is_private(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	assert_int_equal(stat(f->socket, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* And a second process cannot take it. */
	struct et_api *other = NULL;
	struct et_error e = { 0 };
	struct et_api_config config = { .postbox = &f->box, .socket_path = f->socket };
	assert_int_equal(et_api_start(&config, &other, &e), -EADDRINUSE);
	assert_null(other);
}

static void a_fresh_node_says_so(void **state)
{
	struct fixture *f = *state;
	static char text[65536];
	assert_int_equal(ask(f, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)),
			 200);
	assert_non_null(strstr(text, "\"initialised\":false"));
	assert_non_null(strstr(text, "\"code\":\"NOT_INITIALISED\""));
	assert_non_null(strstr(text, "content-security-policy: default-src 'self'"));
	assert_int_equal(ask(f, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)),
			 503);
	assert_int_equal(
		ask(f, "GET /v1/recordings HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)), 409);
	assert_error(text, "ET_EUNINITIALISED");
	assert_int_equal(ask(f, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)),
			 200);
	assert_non_null(strstr(text, "evertape_api_requests_total "));
}

/* A member whose catalogue is not open yet must not be told to make a cluster. */
static void a_member_that_starts_says_so(void **state)
{
	struct fixture *f = *state;
	static char text[65536];
	assert_int_equal(ask(f, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)),
			 200);
	assert_non_null(strstr(text, "\"initialised\":true"));
	assert_non_null(strstr(text, "\"code\":\"STARTING\""));
	assert_null(strstr(text, "cluster init"));
	assert_int_equal(ask(f, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)),
			 503);
	assert_non_null(strstr(text, "STARTING"));
	assert_int_equal(
		ask(f, "GET /v1/recordings HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)), 503);
	assert_error(text, "ET_EBUSY");
}

static void init_answers_secrets_once(void **state)
{
	struct fixture *f = *state;
	static char text[65536];
	const char body[] = "{\"escrow_threshold\":2,\"escrow_shares\":3}";
	assert_int_equal(send_body(f, "POST /v1/cluster/init", body, text, sizeof(text)), 201);
	assert_non_null(
		strstr(text, "\"escrow_shares\":[\"evs1-share\",\"evs1-share\",\"evs1-share\"]"));
	assert_non_null(strstr(text, "\"token\":\"evapi1.token\""));
	assert_non_null(strstr(text, "cache-control: no-store"));
	assert_int_equal(send_body(f, "POST /v1/cluster/init", body, text, sizeof(text)), 409);
	assert_error(text, "ET_EEXISTS");
	assert_int_equal(send_body(f, "POST /v1/cluster/init", "{\"escrow_shares\":300}", text,
				   sizeof(text)),
			 400);
	assert_int_equal(send_body(f, "POST /v1/cluster/init", "{\"cluster\":\"other\"}", text,
				   sizeof(text)),
			 400);
	assert_int_equal(atomic_load(&f->inits), 2);
}

static void join_passes_the_token_on(void **state)
{
	struct fixture *f = *state;
	static char text[65536];
	assert_int_equal(
		send_body(f, "POST /v1/node/join", "{\"token\":\"evt1.good\"}", text, sizeof(text)),
		201);
	assert_non_null(strstr(text, "\"node\":3"));
	assert_int_equal(
		send_body(f, "POST /v1/node/join", "{\"token\":\"evt1.bad\"}", text, sizeof(text)),
		403);
	assert_error(text, "ET_EDENIED");
	assert_string_equal(f->join_token, "evt1.bad");
	assert_int_equal(send_body(f, "POST /v1/node/join", "{\"address\":\"1.2.3.4:5\"}", text,
				   sizeof(text)),
			 400);
	assert_int_equal(send_body(f, "POST /v1/node/join",
				   "{\"token\":\"evt1.good\",\"address\":\"host\"}", text,
				   sizeof(text)),
			 400);
}

static void refuses_what_it_cannot_read(void **state)
{
	struct fixture *f = *state;
	static char text[65536];
	assert_int_equal(send_body(f, "POST /v1/node/join", "{\"token\":", text, sizeof(text)),
			 400);
	assert_error(text, "ET_EMALFORMED");
	assert_int_equal(
		send_body(f, "POST /v1/node/join", "{\"tokem\":\"x\"}", text, sizeof(text)), 400);
	assert_non_null(strstr(text, "did you mean"));
	assert_int_equal(send_body(f, "POST /v1/node/join", "[]", text, sizeof(text)), 400);
	assert_int_equal(ask(f, "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)),
			 404);
	assert_error(text, "ET_ENOTFOUND");
	assert_int_equal(
		ask(f, "DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)), 405);
	assert_int_equal(ask(f,
			     "POST /v1/node/join HTTP/1.1\r\nHost: x\r\nContent-Length: "
			     "99999999\r\n\r\n",
			     text, sizeof(text)),
			 413);
	assert_error(text, "ET_ELIMIT");
	assert_int_equal(ask(f,
			     "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Evertape-Expect-Cluster: "
			     "other\r\n\r\n",
			     text, sizeof(text)),
			 409);
	assert_error(text, "ET_EREFUSED");
}

static void serves_the_console(void **state)
{
	struct fixture *f = *state;
	static char text[262144];
	char request[256];
	assert_int_equal(ask(f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)), 200);
	assert_non_null(strstr(text, "content-type: text/html"));
	const char *tag = strstr(text, "etag: ");
	assert_non_null(tag);
	(void)snprintf(request, sizeof(request),
		       "GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: %.*s\r\n\r\n",
		       (int)strcspn(tag + 6, "\r"), tag + 6);
	assert_int_equal(ask(f, request, text, sizeof(text)), 304);
	assert_int_equal(
		ask(f, "GET /console/none.js HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)),
		404);
	assert_int_equal(
		ask(f, "GET /v1/openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)),
		200);
	assert_non_null(strstr(text, "openapi: 3"));
}

/* Clients that stand still, half a request each, hold nobody up. */
static void slow_clients_do_not_hold_others(void **state)
{
	struct fixture *f = *state;
	static char text[65536];
	int fds[16];
	for (size_t i = 0; i < ET_ARRAY_SIZE(fds); i++) {
		static const char half[] =
			"POST /v1/node/join HTTP/1.1\r\nContent-Length: 100\r\n\r\n{";
		fds[i] = dial(f);
		assert_int_equal(
			send(fds[i], half, i % 2 == 0 ? 10 : sizeof(half) - 1, MSG_NOSIGNAL),
			i % 2 == 0 ? 10 : (ssize_t)sizeof(half) - 1);
	}
	for (int i = 0; i < 50; i++) {
		assert_int_equal(
			ask(f, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text)),
			200);
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(fds); i++) {
		(void)close(fds[i]);
	}
}

static void a_connection_serves_many_requests(void **state)
{
	struct fixture *f = *state;
	static char text[65536];
	static const char request[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n";
	int fd = dial(f);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL),
				 (ssize_t)sizeof(request) - 1);
		assert_int_equal(answer(fd, text, sizeof(text)), 200);
	}
	/* And an error does not end it. */
	static const char wrong[] = "GET /v1/none HTTP/1.1\r\nHost: x\r\n\r\n";
	assert_int_equal(send(fd, wrong, sizeof(wrong) - 1, MSG_NOSIGNAL),
			 (ssize_t)sizeof(wrong) - 1);
	assert_int_equal(answer(fd, text, sizeof(text)), 404);
	(void)close(fd);
}

static void tokens_are_made_of_known_roles(void **state)
{
	(void)state;
	const char *roles[] = { "listener", "auditor" };
	const char *wrong[] = { "king" };
	Et__Token *token = NULL;
	struct et_secret *text = NULL;
	struct et_error e = { 0 };
	assert_int_equal(et_api_token_make("me", roles, 2, 17, &token, &text, &e), 0);
	assert_string_equal(token->kind, "api");
	assert_int_equal(token->n_roles, 2);
	assert_int_equal(token->secret_hash.len, 32);
	assert_int_equal(token->public_key.len, 0);
	assert_memory_equal(et_secret_bytes(text), "evapi1.", 7);
	assert_int_equal(et_secret_size(text), 7 + 64);
	et__token__free_unpacked(token, NULL);
	et_secret_freep(&text);
	assert_int_equal(et_api_token_make("me", wrong, 1, 17, &token, &text, &e), ET_EUSAGE);
}

/* Every endpoint is described, and nothing else is. */
static void the_description_is_complete(void **state)
{
	(void)state;
	struct et_error e = { 0 };
	ET_CLEANUP(et_yaml_freep) struct et_yaml *y = NULL;
	assert_int_equal(et_yaml_load("../openapi.yaml", &y, &e), 0);
	const struct et_yaml_node *paths = et_yaml_get(et_yaml_root(y), "paths");
	assert_non_null(paths);
	size_t described = 0;
	ET_YAML_EACH(path, paths)
	{
		ET_YAML_EACH(operation, path)
		{
			/* "/v1/recordings/{id}/audio" as a request would have it. */
			char request[128];
			char method[8];
			bool known;
			size_t n = 0;
			for (const char *p = path->key; *p != '\0' && n < sizeof(request) - 1;
			     p++) {
				if (*p != '{' && *p != '}') {
					request[n++] = *p;
				}
			}
			request[n] = '\0';
			for (n = 0; operation->key[n] != '\0' && n < sizeof(method) - 1; n++) {
				method[n] = (char)(operation->key[n] - 'a' + 'A');
			}
			method[n] = '\0';
			if (api_route_find(method, request, &known) == NULL) {
				fail_msg("%s %s is described, and is not there", method, path->key);
			}
			described++;
		}
	}
	size_t routes = 0;
	for (const struct api_route *r = api_routes; r->method != NULL; r++) {
		routes++;
	}
	assert_int_equal(described, routes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_socket_is_private),
		TEST(a_fresh_node_says_so),
		cmocka_unit_test_setup_teardown(a_member_that_starts_says_so, set_up_member,
						tear_down),
		TEST(init_answers_secrets_once),
		TEST(join_passes_the_token_on),
		TEST(refuses_what_it_cannot_read),
		TEST(serves_the_console),
		TEST(slow_clients_do_not_hold_others),
		TEST(a_connection_serves_many_requests),
		cmocka_unit_test(tokens_are_made_of_known_roles),
		cmocka_unit_test(the_description_is_complete),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
