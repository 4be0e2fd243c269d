/* The recording server: its addresses, and the sockets that are bound to them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "node/capture/srs_internal.h"

enum { SIGNAL_BUFFER = 4 * 1024 * 1024 };

/* ---- Addresses ------------------------------------------------------------------------------- */

bool et_srs_is_ipv4(const uint8_t address[16])
{
	static const uint8_t prefix[12] = { [10] = 0xFF, [11] = 0xFF };
	return memcmp(address, prefix, 12) == 0;
}

socklen_t et_srs_sockaddr(const uint8_t address[16], uint16_t port, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (et_srs_is_ipv4(address)) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret;
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, address + 12, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, address, 16);
	return sizeof(*in6);
}

void et_srs_address(const struct sockaddr_storage *from, uint8_t address[16], uint16_t *port)
{
	if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
		memcpy(address, &in6->sin6_addr, 16);
		*port = ntohs(in6->sin6_port);
		return;
	}
	const struct sockaddr_in *in = (const struct sockaddr_in *)from;
	memset(address, 0, 10);
	memset(address + 10, 0xFF, 2);
	memcpy(address + 12, &in->sin_addr, 4);
	*port = ntohs(in->sin_port);
}

/* An IP address as text, not a wildcard. */
static bool read_ip(const char *text, uint8_t ret[16])
{
	static const uint8_t zero[16];
	memset(ret, 0, 10);
	memset(ret + 10, 0xFF, 2);
	if (inet_pton(AF_INET, text, ret + 12) == 1) {
		return memcmp(ret + 12, zero, 4) != 0;
	}
	return inet_pton(AF_INET6, text, ret) == 1 && memcmp(ret, zero, 16) != 0;
}

/* "10.1.0.11:5060", "[fd00::1]:5060" */
static bool read_address(const char *text, uint8_t ret[16], uint16_t *port)
{
	char ip[64];
	const char *colon = strrchr(text, ':');
	size_t size = colon != NULL ? (size_t)(colon - text) : 0;
	unsigned long number = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;
	if (size == 0 || size >= sizeof(ip) || number > UINT16_MAX) {
		return false;
	}
	if (text[0] == '[' && text[size - 1] == ']') {
		text++;
		size -= 2;
	}
	memcpy(ip, text, size);
	ip[size] = '\0';
	*port = (uint16_t)number;
	return read_ip(ip, ret);
}

/* ---- Sockets --------------------------------------------------------------------------------- */

int et_srs_watch(struct et_srs *s, int fd, uint64_t tag, bool out, bool again)
{
	struct epoll_event ev = { .events = EPOLLIN | (out ? EPOLLOUT : 0U), .data.u64 = tag };
	return epoll_ctl(s->epoll, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* A bound socket, not blocking. Returns it, or -errno. */
static int bind_socket(const uint8_t address[16], uint16_t port, bool stream)
{
	struct sockaddr_storage to;
	int on = 1;
	socklen_t size = et_srs_sockaddr(address, port, &to);
	int type = (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
	int fd = socket(to.ss_family, type, 0);
	if (fd < 0) {
		return -errno;
	}
	if (to.ss_family == AF_INET6) {
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	}
	if (stream) {
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	} else {
		(void)setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
		(void)setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
	}
	if (bind(fd, (struct sockaddr *)&to, size) < 0 ||
	    (stream && listen(fd, ET_SRS_BACKLOG) < 0)) {
		int rc = -errno;
		(void)close(fd);
		return rc;
	}
	return fd;
}

void et_srs_close_fd(int *fd)
{
	if (*fd >= 0) {
		(void)close(*fd);
		*fd = -1;
	}
}

void et_srs_media_close(struct et_srs *s, struct et_srs_media *m)
{
	s->pairs_open -= m->rtp >= 0 ? 1 : 0;
	et_srs_close_fd(&m->rtp);
	et_srs_close_fd(&m->rtcp);
}

/* The pair at `port`; false: it is not free. */
static bool open_pair(struct et_srs *s, struct et_srs_session *x, uint32_t media, uint16_t port,
		      bool mux)
{
	struct et_srs_media *m = &x->media[media];
	m->port = port;
	m->rtp = bind_socket(s->media_address, port, false);
	m->rtcp =
		mux || m->rtp < 0 ? -1 : bind_socket(s->media_address, (uint16_t)(port + 1), false);
	if (m->rtp < 0 || (!mux && m->rtcp < 0) ||
	    et_srs_watch(s, m->rtp, et_srs_tag(ET_SRS_RTP, x->index, media), false, false) < 0 ||
	    (!mux && et_srs_watch(s, m->rtcp, et_srs_tag(ET_SRS_RTCP, x->index, media), false,
				  false) < 0)) {
		et_srs_close_fd(&m->rtp);
		et_srs_close_fd(&m->rtcp);
		return false;
	}
	s->pairs_open++;
	m->dropped[0] = 0;
	m->dropped[1] = 0;
	return true;
}

bool et_srs_media_open(struct et_srs *s, struct et_srs_session *x, uint32_t media, bool mux)
{
	uint32_t pairs = ((uint32_t)s->port_last - s->port_first + 1) / 2;
	/* When all are ours nothing is tried: it costs milliseconds of the ring thread. */
	for (uint32_t i = 0; i < pairs && s->pairs_open < pairs; i++) {
		uint16_t port = s->port_next;
		/* The one that was free longest comes next: late packets meet nobody else. */
		s->port_next =
			(uint32_t)port + 3 <= s->port_last ? (uint16_t)(port + 2) : s->port_first;
		if (open_pair(s, x, media, port, mux)) {
			return true;
		}
	}
	return false;
}

/* ---- Start ----------------------------------------------------------------------------------- */

int et_srs_listen_open(struct et_srs *s, const struct et_capture_siprec *config, uint32_t i,
		       struct et_error *reterr)
{
	struct et_srs_listen *l = &s->listens[i];
	const char *address = config->listens[i].address;
	int size = SIGNAL_BUFFER;
	l->transport = config->listens[i].transport;
	l->fd = -1;
	s->listen_count = i + 1;
	if (!read_address(address, l->address, &l->port)) {
		return et_fail(reterr, ET_EUSAGE, "siprec: listen address '%s'", address);
	}
	if (l->transport == ET_TRANSPORT_TLS && s->tls == NULL) {
		if (config->certificate == NULL || config->key == NULL) {
			return et_fail(reterr, ET_EUSAGE,
				       "siprec: TLS needs a certificate and a key");
		}
		int failed = et_tls_server_new(config->certificate, config->key, config->client_ca,
					       &s->tls, reterr);
		if (failed < 0) {
			return failed;
		}
	}
	l->fd = bind_socket(l->address, l->port, l->transport != ET_TRANSPORT_UDP);
	if (l->fd < 0) {
		int rc = l->fd;
		l->fd = -1;
		return et_fail(reterr, rc, "siprec: listen on '%s'", address);
	}
	if (l->transport == ET_TRANSPORT_UDP) {
		(void)setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	}
	if (l->port == 0) { /* tests */
		struct sockaddr_storage own;
		socklen_t own_size = sizeof(own);
		uint8_t same[16];
		if (getsockname(l->fd, (struct sockaddr *)&own, &own_size) == 0) {
			et_srs_address(&own, same, &l->port);
		}
	}
	int rc = et_srs_watch(s, l->fd, et_srs_tag(ET_SRS_LISTEN, i, 0), false, false);
	return rc < 0 ? et_fail(reterr, rc, "siprec: listen on '%s'", address) : 0;
}

int et_srs_media_range(struct et_srs *s, const struct et_capture_siprec *config,
		       struct et_error *reterr)
{
	s->port_first = (uint16_t)(config->port_first + config->port_first % 2);
	s->port_last = config->port_last;
	s->port_next = s->port_first;
	if (config->media == NULL || !read_ip(config->media, s->media_address)) {
		return et_fail(reterr, ET_EUSAGE, "siprec: media address '%s'",
			       config->media != NULL ? config->media : "");
	}
	if (s->port_first < 1024 || (uint32_t)s->port_first + 1 > s->port_last) {
		return et_fail(reterr, ET_EUSAGE, "siprec: media ports %u to %u",
			       (unsigned)config->port_first, (unsigned)config->port_last);
	}
	(void)snprintf(s->media_text, sizeof(s->media_text), "%s", config->media);
	return 0;
}
