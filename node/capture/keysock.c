#include "node/capture/keysock_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/io/clock.h"
#include "node/srtp/feed.h"

enum {
	ROOM = 64 * 1024,
	CONNECTIONS = 8,
	PIECE = 4096,
	TAKEN_MS = 2, /* between looks whether the room was taken */
	GROUPS_MAX = 256,
};

#define IDLE_US (INT64_C(5) * 60 * 1000000)

struct connection {
	int fd;			  /* -1: none */
	struct et_key_feed *feed; /* owned */
	int64_t heard_us;
};

struct et_keysock {
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int fd;	  /* listens */
	int stop; /* an eventfd */
	gid_t group;
	bool has_group;
	pthread_t thread;
	bool has_thread;
	struct connection connections[CONNECTIONS];

	uint8_t *piece; /* owned, with the room behind it: a mapping of their own */
	uint8_t *room;
	size_t size; /* in use */
	/* Whose `room` and `size` are: false, of the thread that reads; true, of the one that
	 * takes. */
	_Atomic bool is_ready;
	_Atomic uint64_t keys;
	_Atomic uint64_t wrong;
	_Atomic uint64_t refused;
};

/* ---- Who may ---- */

static bool in_group(const struct et_keysock *k, int fd, gid_t primary)
{
	gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);

	if (primary == k->group) {
		return true;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
		return false;
	}
	for (size_t i = 0; i < size / sizeof(*groups); i++) {
		if (groups[i] == k->group) {
			return true;
		}
	}
	return false;
}

static bool peer_may(const struct et_keysock *k, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || size != sizeof(peer)) {
		return false;
	}
	return peer.uid == 0 || peer.uid == geteuid() ||
	       (k->has_group && in_group(k, fd, peer.gid));
}

/* ---- Connections ---- */

static void connection_close(struct connection *c)
{
	(void)close(c->fd);
	c->fd = -1;
	c->feed = et_key_feed_free(c->feed);
}

static void connection_take(struct et_keysock *k)
{
	int fd = accept4(k->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *free_one = NULL;

	if (fd < 0) {
		return;
	}
	for (size_t i = 0; i < CONNECTIONS && free_one == NULL; i++) {
		free_one = k->connections[i].fd < 0 ? &k->connections[i] : NULL;
	}
	if (!peer_may(k, fd) || free_one == NULL || et_key_feed_new(&free_one->feed, NULL) < 0) {
		atomic_fetch_add(&k->refused, 1);
		(void)close(fd);
		return;
	}
	free_one->fd = fd;
	free_one->heard_us = et_clock_mono_us();
}

/* One line and what is said of it. */
struct turn {
	struct et_keysock *k;
	struct connection *c;
};

static int on_line(void *arg, uint64_t number, struct et_view line, const char *wrong)
{
	struct turn *t = arg;
	struct et_keysock *k = t->k;
	char text[160];
	int n = 0;

	if (wrong != NULL && wrong[0] == '\0') {
		return 0;
	}
	if (wrong != NULL) {
		atomic_fetch_add(&k->wrong, 1);
		n = snprintf(text, sizeof(text), "line %llu: %.100s\n", (unsigned long long)number,
			     wrong);
	} else {
		/* A piece's lines fit: it is not read when they would not. */
		et_assert(k->size + line.size + 1 <= ROOM);
		memcpy(k->room + k->size, line.data, line.size);
		k->room[k->size + line.size] = '\n';
		k->size += line.size + 1;
		atomic_fetch_add(&k->keys, 1);
		n = snprintf(text, sizeof(text), "ok\n");
	}
	return send(t->c->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n ? 0 : ET_ECLOSED;
}

static void connection_read(struct et_keysock *k, struct connection *c)
{
	struct turn t = { .k = k, .c = c };
	ssize_t n = read(c->fd, k->piece, PIECE);

	if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
		return;
	}
	int rc = n <= 0 ? ET_ECLOSED : et_key_feed_add(c->feed, k->piece, (size_t)n, on_line, &t);
	explicit_bzero(k->piece, n > 0 ? (size_t)n : 0);
	c->heard_us = et_clock_mono_us();
	if (rc < 0) {
		connection_close(c);
	}
}

/* ---- The thread ---- */

/* Not while the room is the other's, nor when another piece might not fit. */
static bool may_read(const struct et_keysock *k)
{
	return !k->is_ready && k->size + PIECE + ET_KEY_LINE_MAX + 2 <= ROOM;
}

static bool turn(struct et_keysock *k)
{
	struct pollfd fds[2 + CONNECTIONS];
	const bool reads = may_read(k);

	fds[0] = (struct pollfd){ .fd = k->stop, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = k->fd, .events = POLLIN };
	for (size_t i = 0; i < CONNECTIONS; i++) {
		fds[2 + i] = (struct pollfd){ .fd = reads ? k->connections[i].fd : -1,
					      .events = POLLIN };
	}
	if (poll(fds, ET_ARRAY_SIZE(fds), reads ? 1000 : TAKEN_MS) < 0 && errno != EINTR) {
		return false;
	}
	if (fds[0].revents != 0) {
		return false;
	}
	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &k->connections[i];
		if (reads && c->fd >= 0 && fds[2 + i].revents != 0 && may_read(k)) {
			connection_read(k, c);
		}
		if (c->fd >= 0 && et_clock_mono_us() - c->heard_us > IDLE_US) {
			connection_close(c);
		}
	}
	if (fds[1].revents != 0) {
		connection_take(k);
	}
	if (reads && k->size > 0) {
		k->is_ready = true; /* the last: from here on it is the other thread's */
	}
	return true;
}

static void *keysock_main(void *arg)
{
	while (turn(arg)) {
	}
	return NULL;
}

/* ---- Life ---- */

static bool is_answered(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;

	if (fd >= 0) {
		(void)close(fd);
	}
	return is;
}

/* Nobody but its owner may connect before it has its group and its rights. */
static int keysock_bind(struct et_keysock *k, const struct et_capture_key_socket *config,
			struct et_error *reterr)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;

	memcpy(address.sun_path, k->path, sizeof(k->path));
	if (lstat(k->path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		if (is_answered(&address)) {
			return et_fail(reterr, -EADDRINUSE, "key socket '%s'", k->path);
		}
		(void)unlink(k->path);
	}
	k->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (k->fd < 0 || bind(k->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		return et_fail(reterr, -errno, "key socket '%s'", k->path);
	}
	/* It has the process's umask until here; nobody is accepted before listen(2). */
	if ((config->has_group && lchown(k->path, (uid_t)-1, config->group) < 0) ||
	    chmod(k->path, config->mode) < 0 || listen(k->fd, CONNECTIONS) < 0) {
		int code = -errno;
		(void)unlink(k->path);
		return et_fail(reterr, code, "key socket '%s': its group and mode", k->path);
	}
	return 0;
}

int et_keysock_new(const struct et_capture_key_socket *config, struct et_keysock **ret,
		   struct et_error *reterr)
{
	struct et_keysock *k = calloc(1, sizeof(*k));

	if (k == NULL) {
		return et_fail(reterr, -ENOMEM, "key socket");
	}
	k->fd = k->stop = -1;
	k->group = config->group;
	k->has_group = config->has_group;
	for (size_t i = 0; i < CONNECTIONS; i++) {
		k->connections[i].fd = -1;
	}
	void *room = mmap(NULL, PIECE + ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	int n = snprintf(k->path, sizeof(k->path), "%s", config->path);
	int rc = room == MAP_FAILED ? et_fail(reterr, -ENOMEM, "key socket") : 0;
	if (rc == 0) {
		k->piece = room;
		k->room = k->piece + PIECE;
		(void)mlock(room, PIECE + ROOM); /* best effort, as for other secrets */
		(void)madvise(room, PIECE + ROOM, MADV_DONTDUMP);
		k->stop = eventfd(0, EFD_CLOEXEC);
		rc = k->stop < 0 ? et_fail(reterr, -errno, "key socket") : 0;
	}
	if (rc == 0 && n >= (int)sizeof(k->path)) {
		rc = et_fail(reterr, -ENAMETOOLONG, "key socket '%s'", config->path);
		k->path[0] = '\0';
	}
	rc = rc < 0 ? rc : keysock_bind(k, config, reterr);
	if (rc == 0) {
		rc = pthread_create(&k->thread, NULL, keysock_main, k);
		k->has_thread = rc == 0;
		rc = rc != 0 ? et_fail(reterr, -rc, "start the thread of the key socket") : 0;
	}
	if (rc < 0) {
		(void)et_keysock_free(k);
		return rc;
	}
	*ret = k;
	return 0;
}

struct et_keysock *et_keysock_free(struct et_keysock *k)
{
	if (k == NULL) {
		return NULL;
	}
	if (k->has_thread) {
		uint64_t one = 1;
		ssize_t n = write(k->stop, &one, sizeof(one));
		et_assert(n == (ssize_t)sizeof(one));
		(void)pthread_join(k->thread, NULL);
		(void)unlink(k->path);
	}
	for (size_t i = 0; i < CONNECTIONS; i++) {
		if (k->connections[i].fd >= 0) {
			connection_close(&k->connections[i]);
		}
	}
	if (k->fd >= 0) {
		(void)close(k->fd);
	}
	if (k->stop >= 0) {
		(void)close(k->stop);
	}
	if (k->piece != NULL) {
		explicit_bzero(k->piece, PIECE + ROOM);
		(void)munmap(k->piece, PIECE + ROOM);
	}
	free(k);
	return NULL;
}

bool et_keysock_take(struct et_keysock *k, struct et_keylog *keylog, struct et_srtp_ring *ring)
{
	if (!k->is_ready) {
		return false;
	}
	bool any = et_key_lines_take((struct et_view){ k->room, k->size }, keylog, ring);
	explicit_bzero(k->room, k->size);
	k->size = 0;
	k->is_ready = false;
	return any;
}

struct et_keysock_counts et_keysock_counts(const struct et_keysock *k)
{
	return (struct et_keysock_counts){
		.keys = atomic_load(&k->keys),
		.wrong = atomic_load(&k->wrong),
		.refused = atomic_load(&k->refused),
	};
}
