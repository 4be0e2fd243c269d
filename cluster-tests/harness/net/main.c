/* wanemu: the links between sites, in user space (for kernels without sch_netem). See wan.h.
 *
 *   wanemu SOCKET SEED TAP...      one TAP device a site, each on that site's bridge
 *
 * A frame that a site's bridge floods or forwards to its TAP crosses to the site of its
 * destination: byte 4 of the hardware address 02:45:54:00:SITE:NODE is the site; anything else goes
 * to all other sites. Control: SOCK_SEQPACKET on SOCKET, a line a packet. Ends on SIGTERM and when
 * its parent dies. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cluster-tests/harness/net/wan.h"
#include "node/base/defs.h"

#define CLIENTS_MAX 8
#define BURST 64 /* frames of one TAP before the others get a turn */

enum { POLL_TIMER, POLL_LISTEN, POLL_CLIENTS, POLL_TAPS = POLL_CLIENTS + CLIENTS_MAX };

struct emulator {
	struct et_wan *wan;
	int sites;
	struct pollfd fds[POLL_TAPS + ET_WAN_SITES_MAX];
};

static volatile sig_atomic_t must_end;

static void on_signal(int number)
{
	(void)number;
	must_end = 1;
}

static uint64_t now_us(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_nsec / 1000U;
}

static int tap_open(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	(void)snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
		perror(name);
		return -1;
	}
	return fd;
}

static int control_open(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	(void)unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 4) < 0) {
		perror(path);
		return -1;
	}
	return fd;
}

static void control_accept(struct emulator *e)
{
	int fd = accept4(e->fds[POLL_LISTEN].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	for (int i = 0; fd >= 0 && i < CLIENTS_MAX; i++) {
		if (e->fds[POLL_CLIENTS + i].fd < 0) {
			e->fds[POLL_CLIENTS + i].fd = fd;
			return;
		}
	}
	if (fd >= 0) {
		(void)close(fd);
	}
}

static void control_serve(struct emulator *e, struct pollfd *client)
{
	static char reply[65536];
	char line[1024];
	ssize_t n = recv(client->fd, line, sizeof(line) - 1, 0);
	if (n < 0 && errno == EAGAIN) {
		return;
	}
	if (n <= 0) {
		(void)close(client->fd);
		client->fd = -1;
		return;
	}
	line[n] = '\0';
	et_wan_command(e->wan, line, reply, sizeof(reply));
	(void)send(client->fd, reply, strlen(reply), MSG_NOSIGNAL);
}

static void frame_route(struct emulator *e, int from, const uint8_t *frame, size_t size)
{
	static const uint8_t ours[4] = { 0x02, 0x45, 0x54, 0x00 };
	uint64_t now = now_us();
	bool known = memcmp(frame, ours, sizeof(ours)) == 0 && frame[4] < e->sites;
	for (int to = 0; to < e->sites; to++) {
		if (to != from && (!known || frame[4] == to)) {
			et_wan_send(e->wan, now, from, to, frame, size);
		}
	}
}

static void taps_read(struct emulator *e)
{
	uint8_t frame[ET_WAN_FRAME_MAX];
	for (int i = 0; i < e->sites; i++) {
		for (int k = 0; k < BURST && (e->fds[POLL_TAPS + i].revents & POLLIN) != 0; k++) {
			ssize_t n = read(e->fds[POLL_TAPS + i].fd, frame, sizeof(frame));
			if (n < 14) {
				break;
			}
			frame_route(e, i, frame, (size_t)n);
		}
	}
}

static void taps_write(struct emulator *e)
{
	struct et_wan_frame *frame;
	while ((frame = et_wan_take(e->wan, now_us())) != NULL) {
		(void)!write(e->fds[POLL_TAPS + frame->to].fd, frame->data, frame->size);
		free(frame);
	}
}

static void timer_arm(struct emulator *e)
{
	uint64_t due = et_wan_due(e->wan);
	struct itimerspec at = { 0 };
	if (due != UINT64_MAX) {
		at.it_value.tv_sec = (time_t)(due / 1000000U);
		at.it_value.tv_nsec = (long)(due % 1000000U) * 1000 + 1; /* 0 would disarm it */
	}
	(void)timerfd_settime(e->fds[POLL_TIMER].fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static int emulate(struct emulator *e)
{
	while (!must_end) {
		timer_arm(e);
		if (poll(e->fds, (nfds_t)(POLL_TAPS + e->sites), -1) < 0) {
			if (errno == EINTR) {
				continue;
			}
			perror("poll");
			return 1;
		}
		if (e->fds[POLL_TIMER].revents != 0) {
			uint64_t expirations;
			(void)!read(e->fds[POLL_TIMER].fd, &expirations, sizeof(expirations));
		}
		taps_read(e);
		taps_write(e);
		for (int i = 0; i < CLIENTS_MAX; i++) {
			if (e->fds[POLL_CLIENTS + i].fd >= 0 &&
			    e->fds[POLL_CLIENTS + i].revents != 0) {
				control_serve(e, &e->fds[POLL_CLIENTS + i]);
			}
		}
		if (e->fds[POLL_LISTEN].revents != 0) {
			control_accept(e);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct emulator e;
	if (argc < 4 || argc - 3 > ET_WAN_SITES_MAX) {
		(void)fprintf(stderr, "usage: wanemu SOCKET SEED TAP...\n");
		return 2;
	}
	e.sites = argc - 3;
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGINT, on_signal);
	for (size_t i = 0; i < ET_ARRAY_SIZE(e.fds); i++) {
		e.fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
	}
	for (int i = 0; i < e.sites; i++) {
		if ((e.fds[POLL_TAPS + i].fd = tap_open(argv[3 + i])) < 0) {
			return 1;
		}
	}
	e.fds[POLL_TIMER].fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	e.fds[POLL_LISTEN].fd = control_open(argv[1]);
	e.wan = et_wan_new(e.sites, strtoull(argv[2], NULL, 10));
	if (e.fds[POLL_TIMER].fd < 0 || e.fds[POLL_LISTEN].fd < 0 || e.wan == NULL) {
		return 1;
	}
	int rc = emulate(&e);
	(void)unlink(argv[1]);
	(void)et_wan_free(e.wan);
	return rc;
}
