#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cluster-tests/bench/commit/commit.h"
#include "node/base/defs.h"
#include "node/io/clock.h"

/* A distance between nodes: a process that takes each connection to a port on to another port, and
 * gives every byte, both ways, `delay_us` later than it came. Both systems dial their peers through
 * it. It limits no rate and loses nothing; a full queue stops reading, as a full window would. */

enum { LINKS_MAX = 256, CHUNK = 65536, QUEUE_MAX = 64 * 1024 * 1024 };

struct chunk {
	struct chunk *next;
	int64_t due_us;
	size_t size;
	size_t done;
	uint8_t data[];
};

struct half { /* from `in` to `out` */
	int in, out;
	struct chunk *head;
	struct chunk *tail;
	size_t queued;
	int64_t ended_us; /* when what came last from `in` is to be passed on; 0: it goes on */
	bool over;
};

struct link {
	bool used;
	struct half to, back;
};

struct relay {
	const struct bench_hop *hops;
	size_t hop_count;
	int listeners[8];
	int64_t delay_us;
	struct link links[LINKS_MAX];
};

static int socket_new(void)
{
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	et_assert(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void half_clear(struct half *h)
{
	while (h->head != NULL) {
		struct chunk *c = h->head;
		h->head = c->next;
		free(c);
	}
	*h = (struct half){ 0 };
}

static void link_close(struct link *l)
{
	(void)close(l->to.in);
	(void)close(l->to.out);
	half_clear(&l->to);
	half_clear(&l->back);
	l->used = false;
}

static void relay_accept(struct relay *r, size_t hop)
{
	struct sockaddr_in to = loopback(r->hops[hop].to);
	int one = 1;
	int in = accept4(r->listeners[hop], NULL, NULL, SOCK_CLOEXEC);

	if (in < 0) {
		return;
	}
	(void)setsockopt(in, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	int out = socket_new();
	size_t free_at = 0;
	while (free_at < LINKS_MAX && r->links[free_at].used) {
		free_at++;
	}
	if (free_at == LINKS_MAX || connect(out, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		(void)close(in);
		(void)close(out);
		return;
	}
	struct link *l = &r->links[free_at];
	*l = (struct link){ .used = true };
	l->to.in = l->back.out = in;
	l->to.out = l->back.in = out;
}

static void half_read(struct half *h, int64_t due_us)
{
	struct chunk *c = malloc(sizeof(*c) + CHUNK);

	et_assert(c != NULL);
	ssize_t n = recv(h->in, c->data, CHUNK, MSG_DONTWAIT);
	if (n <= 0) {
		free(c);
		if (n == 0 || errno != EAGAIN) {
			h->ended_us = due_us;
		}
		return;
	}
	c->next = NULL;
	c->due_us = due_us;
	c->size = (size_t)n;
	c->done = 0;
	h->queued += c->size;
	if (h->head == NULL) {
		h->head = c;
	} else {
		h->tail->next = c;
	}
	h->tail = c;
}

/* false: the other side is gone. */
static bool half_write(struct half *h, int64_t now_us)
{
	while (h->head != NULL && h->head->due_us <= now_us) {
		struct chunk *c = h->head;
		ssize_t n = send(h->out, c->data + c->done, c->size - c->done,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0) {
			return errno == EAGAIN;
		}
		c->done += (size_t)n;
		h->queued -= (size_t)n;
		if (c->done < c->size) {
			return true;
		}
		h->head = c->next;
		free(c);
	}
	if (h->head == NULL && h->ended_us != 0 && h->ended_us <= now_us && !h->over) {
		h->over = true;
		(void)shutdown(h->out, SHUT_WR);
	}
	return true;
}

/* What to wait for; lowers *wake_us to when something is due. */
static void half_poll(const struct half *h, struct pollfd *in, struct pollfd *out, int64_t now_us,
		      int64_t *wake_us)
{
	if (h->ended_us == 0 && h->queued < QUEUE_MAX) {
		in->events |= POLLIN;
	}
	int64_t due_us = h->head != NULL		? h->head->due_us
			 : h->ended_us != 0 && !h->over ? h->ended_us
							: INT64_MAX;
	if (h->head != NULL && due_us <= now_us) {
		out->events |= POLLOUT;
	} else if (due_us < *wake_us) {
		*wake_us = due_us;
	}
}

static void link_turn(struct link *l, const struct pollfd fds[2], int64_t delay_us)
{
	int64_t now_us = et_clock_mono_us();

	if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && l->to.ended_us == 0) {
		half_read(&l->to, now_us + delay_us);
	}
	if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && l->back.ended_us == 0) {
		half_read(&l->back, now_us + delay_us);
	}
	bool lives = half_write(&l->to, now_us) && half_write(&l->back, now_us);
	if (!lives || (l->to.over && l->back.over)) {
		link_close(l);
	}
}

static void relay_turn(struct relay *r)
{
	static struct pollfd fds[8 + 2 * LINKS_MAX];
	static struct link *links[LINKS_MAX];
	size_t count = 0;
	int64_t now_us = et_clock_mono_us();
	int64_t wake_us = now_us + 1000000;

	for (size_t i = 0; i < r->hop_count; i++) {
		fds[i] = (struct pollfd){ .fd = r->listeners[i], .events = POLLIN };
	}
	for (size_t i = 0; i < LINKS_MAX; i++) {
		if (r->links[i].used) {
			struct link *l = links[count] = &r->links[i];
			struct pollfd *p = &fds[r->hop_count + 2 * count++];
			p[0] = (struct pollfd){ .fd = l->to.in };
			p[1] = (struct pollfd){ .fd = l->to.out };
			half_poll(&l->to, &p[0], &p[1], now_us, &wake_us);
			half_poll(&l->back, &p[1], &p[0], now_us, &wake_us);
		}
	}
	int64_t left_us = wake_us > now_us ? wake_us - now_us : 0;
	struct timespec wait = { .tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000 };
	if (ppoll(fds, (nfds_t)(r->hop_count + 2 * count), &wait, NULL) < 0) {
		return;
	}
	for (size_t i = 0; i < count; i++) {
		link_turn(links[i], &fds[r->hop_count + 2 * i], r->delay_us);
	}
	for (size_t i = 0; i < r->hop_count; i++) {
		if ((fds[i].revents & POLLIN) != 0) {
			relay_accept(r, i);
		}
	}
}

pid_t bench_relay_start(const struct bench_hop *hops, size_t count, unsigned rtt_ms)
{
	static struct relay r;

	et_assert(count <= ET_ARRAY_SIZE(r.listeners));
	r = (struct relay){ .hops = hops, .hop_count = count, .delay_us = rtt_ms * 500 };
	for (size_t i = 0; i < count; i++) {
		struct sockaddr_in at = loopback(hops[i].port);
		r.listeners[i] = socket_new();
		if (bind(r.listeners[i], (const struct sockaddr *)&at, sizeof(at)) < 0 ||
		    listen(r.listeners[i], 64) < 0) {
			return -1;
		}
	}
	pid_t pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			relay_turn(&r);
		}
	}
	for (size_t i = 0; i < count; i++) {
		(void)close(r.listeners[i]);
	}
	return pid;
}

void bench_relay_stop(pid_t pid)
{
	if (pid > 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
}
