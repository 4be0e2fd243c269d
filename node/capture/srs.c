#include "node/capture/srs_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "node/io/clock.h"

enum {
	SESSIONS_DEFAULT = 1024,
	CONNECTIONS_DEFAULT = 256,
	EVENTS_MAX = 128,
	DATAGRAMS_MAX = 16, /* in one call */
	READS_MAX = 8,	    /* calls for one socket before the next has its turn */
	DATAGRAM_SIZE = 65536,
	CONTROL_SIZE = 128,
	KEEPALIVE_MAX = 12, /* a start line is longer */
	MESSAGE_MAX = 65536,
	OUT_MAX = 256 * 1024, /* bytes that wait for one peer */
};

#define SECOND_US 1000000LL
#define SWEEP_US 50000LL
#define QUIET_US (30 * SECOND_US) /* in the midst of a message, or of a handshake */
#define IDLE_US (300 * SECOND_US) /* a connection without session that says nothing */

/* ---- Connections ----------------------------------------------------------------------------- */

static void connection_close(struct et_srs *s, struct et_srs_connection *c)
{
	if (c->fd < 0) {
		return;
	}
	et_srs_close_fd(&c->fd);
	et_framer_release(&c->framer);
	c->tls = et_tls_server_close(c->tls);
	et_buffer_release(&c->out);
	s->connection_count--;
}

static void connection_flush(struct et_srs *s, struct et_srs_connection *c)
{
	while (c->out_at < c->out.size) {
		ssize_t n =
			send(c->fd, c->out.data + c->out_at, c->out.size - c->out_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			break;
		}
		if (n <= 0) {
			c->broken = true;
			return;
		}
		c->out_at += (size_t)n;
	}
	bool waits = c->out_at < c->out.size;
	if (!waits) {
		et_buffer_release(&c->out);
		c->out_at = 0;
	} else if (c->out_at > OUT_MAX) { /* who reads slowly has us keep what waits, no more */
		c->out.size -= c->out_at;
		memmove(c->out.data, c->out.data + c->out_at, c->out.size);
		c->out_at = 0;
	}
	if (waits != c->wants_out) {
		c->wants_out = waits;
		uint64_t tag = et_srs_tag(ET_SRS_CONNECTION, c->peer.connection, 0);
		c->broken = c->broken || et_srs_watch(s, c->fd, tag, waits, true) < 0;
	}
}

/* All that is to be said goes out, as far as the peer takes it. */
static void connection_push(struct et_srs *s, struct et_srs_connection *c)
{
	if (c->tls != NULL) {
		et_tls_server_take(c->tls, &c->out);
	}
	if (c->out.failed) {
		c->broken = true;
		return;
	}
	connection_flush(s, c);
}

static struct et_srs_connection *connection_of(struct et_srs *s, const struct et_srs_peer *peer)
{
	struct et_srs_connection *c = &s->connections[peer->connection];
	return peer->serial != 0 && c->fd >= 0 && c->peer.serial == peer->serial ? c : NULL;
}

void et_srs_count_session(struct et_srs *s, const struct et_srs_peer *peer, int by)
{
	struct et_srs_connection *c = connection_of(s, peer);
	if (c != NULL) {
		c->sessions = (uint32_t)((int)c->sessions + by);
	}
}

void et_srs_send(struct et_srs *s, const struct et_srs_peer *peer, struct et_view message)
{
	struct sockaddr_storage to;
	if (peer->serial == 0) {
		socklen_t size = et_srs_sockaddr(peer->address, peer->port, &to);
		/* What does not go out now is sent again by its timer. */
		(void)sendto(s->listens[peer->listen].fd, message.data, message.size, MSG_NOSIGNAL,
			     (struct sockaddr *)&to, size);
		return;
	}
	struct et_srs_connection *c = connection_of(s, peer);
	if (c == NULL || c->broken) {
		return; /* the peer is gone: nobody waits for it */
	}
	if (c->out.size - c->out_at + message.size > OUT_MAX) {
		c->broken = true;
		return;
	}
	if (c->tls == NULL) {
		et_buffer_add(&c->out, message.data, message.size);
	} else if (et_tls_server_write(c->tls, message) < 0) {
		c->broken = true;
		return;
	}
	connection_push(s, c);
}

/* Of two without session. Who is in may have to wait a minute for the next call: who has only
 * connected does not push it out. */
static bool gives_way_before(const struct et_srs_connection *a, const struct et_srs_connection *b)
{
	return a->is_in != b->is_in ? b->is_in : a->seen_us < b->seen_us;
}

/* A place for another connection: free, or of one without session. */
static struct et_srs_connection *connection_place(struct et_srs *s)
{
	struct et_srs_connection *first = NULL;
	for (uint32_t i = 0; i < s->connection_max; i++) {
		struct et_srs_connection *c = &s->connections[i];
		if (c->fd < 0) {
			return c;
		}
		if (c->sessions == 0 && (first == NULL || gives_way_before(c, first))) {
			first = c;
		}
	}
	s->evicted++;
	if (first != NULL) {
		connection_close(s, first);
	}
	return first;
}

static bool accept_one(struct et_srs *s, uint32_t listen)
{
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	int on = 1;
	int fd = accept4(s->listens[listen].fd, (struct sockaddr *)&from, &size,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		return false;
	}
	struct et_srs_peer peer = { .listen = listen };
	et_srs_address(&from, peer.address, &peer.port);
	if (!et_srs_may_record(s, peer.address)) {
		s->denied++;
		(void)close(fd);
		return true;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (s->listens[listen].transport == ET_TRANSPORT_TLS &&
	    !et_srs_may_shake_hands(s, peer.address)) {
		s->evicted++;
		(void)close(fd);
		return true;
	}
	struct et_srs_connection *c = connection_place(s);
	if (c == NULL) {
		(void)close(fd);
		return true;
	}
	uint32_t at = (uint32_t)(c - s->connections);
	peer.connection = at;
	peer.serial = ++s->serial;
	*c = (struct et_srs_connection){
		.fd = fd,
		.peer = peer,
		.framer = { .message_max = MESSAGE_MAX, .counts = &s->framed },
		.seen_us = s->mono_us,
	};
	s->connection_count++;
	bool secure = s->listens[listen].transport == ET_TRANSPORT_TLS;
	c->tls = secure ? et_tls_server_accept(s->tls) : NULL;
	if ((secure && c->tls == NULL) ||
	    et_srs_watch(s, fd, et_srs_tag(ET_SRS_CONNECTION, at, 0), false, false) < 0) {
		connection_close(s, c);
	}
	return true;
}

/* ---- Messages -------------------------------------------------------------------------------- */

static struct et_packet packet_of(const struct et_srs *s, const struct et_srs_peer *peer,
				  struct et_view text, int64_t time_us)
{
	const struct et_srs_listen *l = &s->listens[peer->listen];
	struct et_packet p = {
		.time_us = time_us,
		.sport = peer->port,
		.dport = l->port,
		.payload = text.data,
		.size = (uint32_t)text.size,
		.is_tcp = peer->serial != 0,
	};
	memcpy(p.src, peer->address, 16);
	memcpy(p.dst, l->address, 16);
	return p;
}

/* What came to a signalling socket: counted, once. */
static void take_signal(struct et_srs *s, const struct et_srs_peer *peer, struct et_view text,
			int64_t time_us)
{
	struct et_engine *e = s->engine;
	struct et_sip m;
	struct et_packet p = packet_of(s, peer, text, time_us);
	et_engine_arrival(e, time_us);
	if (et_sip_probe(text.data, text.size) && et_sip_parse(text.data, text.size, &m) == 0) {
		e->packets.sip++;
		et_uas_message(s, peer, &p, &m);
	} else if (et_rtp_classify(p.payload, p.size) == ET_RTP_KIND_STUN) {
		e->packets.other[ET_OTHER_STUN]++;
	} else if (text.size < KEEPALIVE_MAX) {
		e->packets.other[ET_OTHER_KEEPALIVE]++;
	} else {
		e->packets.unclaimed[ET_UNCLAIMED_MALFORMED_SIP]++;
	}
}

struct feed {
	struct et_srs *s;
	struct et_srs_connection *c;
	int64_t time_us;
};

static void on_framed(void *arg, struct et_view message)
{
	struct feed *f = arg;
	if (!f->c->broken) {
		f->c->seen_us = f->s->mono_us;
		f->c->part_us = 0; /* what is left is of another one */
		f->c->is_in = true;
		take_signal(f->s, &f->c->peer, message, f->time_us);
	}
}

/* Bytes of a stream. A message counts as one packet; so does what can be none. */
static void connection_feed(struct et_srs *s, struct et_srs_connection *c, struct et_view bytes)
{
	struct feed f = { s, c, et_clock_now_us() };
	unsigned flags = et_framer_feed(&c->framer, bytes.data, bytes.size, on_framed, &f);
	if (et_framer_held(&c->framer) == 0) {
		c->part_us = 0;
	} else if (c->part_us == 0) {
		c->part_us = s->mono_us;
	}
	if ((flags & (ET_FRAMED_LOST | ET_FRAMED_WEBSOCKET)) != 0) {
		et_engine_arrival(s->engine, f.time_us);
		s->engine->packets.unclaimed[ET_UNCLAIMED_MALFORMED_SIP]++;
		c->broken = true; /* what follows cannot be found again in a stream */
	} else if (flags == ET_FRAMED_KEEPALIVE) {
		et_engine_arrival(s->engine, f.time_us);
		s->engine->packets.other[ET_OTHER_KEEPALIVE]++;
		/* RFC 5626, section 4.4.1: two line ends are answered with one */
		et_srs_send(s, &c->peer, (struct et_view){ (const uint8_t *)"\r\n", 2 });
	}
}

static void on_plain(void *arg, struct et_view plain)
{
	const struct feed *f = arg;
	if (!f->c->broken) {
		connection_feed(f->s, f->c, plain);
	}
}

static void connection_take(struct et_srs *s, struct et_srs_connection *c, struct et_view bytes)
{
	struct feed f = { s, c, 0 };
	if (c->tls == NULL) {
		connection_feed(s, c, bytes);
		return;
	}
	bool was_open = et_tls_server_is_open(c->tls);
	int rc = et_tls_server_read(c->tls, bytes, on_plain, &f);
	connection_push(s, c); /* the handshake's part, or why it failed */
	if (!was_open && et_tls_server_is_open(c->tls)) {
		c->is_in = true;
		et_srs_shook_hands(s, c->peer.address);
	}
	s->denied += rc == ET_EDENIED ? 1 : 0;
	c->broken = c->broken || rc < 0;
}

static void connection_read(struct et_srs *s, struct et_srs_connection *c)
{
	for (int i = 0; i < READS_MAX && !c->broken; i++) {
		ssize_t n = recv(c->fd, s->room, DATAGRAM_SIZE, 0);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
			return;
		}
		if (n <= 0) {
			c->broken = true;
			return;
		}
		connection_take(s, c, (struct et_view){ s->room, (size_t)n });
	}
}

static void on_connection(struct et_srs *s, uint32_t at, uint32_t events)
{
	struct et_srs_connection *c = &s->connections[at];
	if (c->fd < 0) {
		return; /* closed by an event before this one */
	}
	if ((events & EPOLLOUT) != 0) {
		connection_flush(s, c);
	}
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
		connection_read(s, c);
	}
	if (c->broken) {
		connection_close(s, c);
	}
}

/* ---- Datagrams ------------------------------------------------------------------------------- */

/* One that was read: where from, when, and what the kernel lost before it. */
struct datagram {
	struct sockaddr_storage from;
	struct iovec part;
	char control[CONTROL_SIZE] __attribute__((aligned(8)));
};

static int64_t read_control(struct et_srs *s, struct msghdr *head, uint32_t *dropped)
{
	int64_t time_us = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c != NULL; c = CMSG_NXTHDR(head, c)) {
		if (c->cmsg_level != SOL_SOCKET) {
			continue;
		}
		if (c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec t;
			memcpy(&t, CMSG_DATA(c), sizeof(t));
			time_us = (int64_t)t.tv_sec * SECOND_US + t.tv_nsec / 1000;
		} else if (c->cmsg_type == SO_RXQ_OVFL) {
			uint32_t now = 0;
			memcpy(&now, CMSG_DATA(c), sizeof(now));
			s->kernel_dropped += (uint32_t)(now - *dropped);
			*dropped = now;
		}
	}
	return time_us != 0 ? time_us : et_clock_now_us();
}

typedef void (*datagram_fn)(struct et_srs *s, uint32_t a, const struct et_srs_peer *peer,
			    struct et_view data, int64_t time_us);

/* All that is there, within bounds. */
static bool read_datagrams(struct et_srs *s, int fd, uint32_t *dropped, datagram_fn fn, uint32_t a)
{
	static const int max = READS_MAX;
	struct mmsghdr heads[DATAGRAMS_MAX];
	struct datagram data[DATAGRAMS_MAX];
	for (int round = 0; round < max; round++) {
		memset(heads, 0, sizeof(heads));
		for (int i = 0; i < DATAGRAMS_MAX; i++) {
			data[i].part = (struct iovec){ s->room + (size_t)i * DATAGRAM_SIZE,
						       DATAGRAM_SIZE };
			heads[i].msg_hdr = (struct msghdr){
				.msg_name = &data[i].from,
				.msg_namelen = sizeof(data[i].from),
				.msg_iov = &data[i].part,
				.msg_iovlen = 1,
				.msg_control = data[i].control,
				.msg_controllen = sizeof(data[i].control),
			};
		}
		int n = recvmmsg(fd, heads, DATAGRAMS_MAX, MSG_DONTWAIT, NULL);
		for (int i = 0; i < n; i++) {
			struct et_srs_peer peer = { .serial = 0 };
			int64_t time_us = read_control(s, &heads[i].msg_hdr, dropped);
			et_srs_address(&data[i].from, peer.address, &peer.port);
			fn(s, a, &peer,
			   (struct et_view){ s->room + (size_t)i * DATAGRAM_SIZE,
					     heads[i].msg_len },
			   time_us);
		}
		if (n < DATAGRAMS_MAX) {
			return false;
		}
	}
	return true;
}

static void on_signal(struct et_srs *s, uint32_t listen, const struct et_srs_peer *peer,
		      struct et_view data, int64_t time_us)
{
	if (!et_srs_may_record(s, peer->address)) {
		s->denied++;
		et_engine_arrival(s->engine, time_us);
		s->engine->packets.unclaimed[ET_UNCLAIMED_SIPREC_DENIED]++;
		return;
	}
	struct et_srs_peer whole = *peer;
	whole.listen = listen;
	take_signal(s, &whole, data, time_us);
}

static void on_media(struct et_srs *s, uint32_t port, const struct et_srs_peer *peer,
		     struct et_view data, int64_t time_us)
{
	struct et_packet p = {
		.time_us = time_us,
		.sport = peer->port,
		.dport = (uint16_t)port,
		.payload = data.data,
		.size = (uint32_t)data.size,
	};
	memcpy(p.src, peer->address, 16);
	memcpy(p.dst, s->media_address, 16);
	et_engine_own_media(s->engine, &p);
}

static bool read_media(struct et_srs *s, uint32_t session, uint32_t media, bool rtcp)
{
	struct et_srs_session *x = session < s->session_max ? s->sessions[session] : NULL;
	struct et_srs_media *m = x != NULL && media < ET_SDP_MEDIA_MAX ? &x->media[media] : NULL;
	int fd = m == NULL ? -1 : rtcp ? m->rtcp : m->rtp;
	if (fd < 0) {
		return false;
	}
	return read_datagrams(s, fd, &m->dropped[rtcp ? 1 : 0], on_media,
			      (uint32_t)m->port + (rtcp ? 1 : 0));
}

static bool on_listen(struct et_srs *s, uint32_t at)
{
	struct et_srs_listen *l = &s->listens[at];
	if (l->transport == ET_TRANSPORT_UDP) {
		return read_datagrams(s, l->fd, &l->dropped, on_signal, at);
	}
	for (int i = 0; i < ET_SRS_BACKLOG; i++) {
		if (!accept_one(s, at)) {
			return false;
		}
	}
	return true;
}

/* Media before signalling: what was sent before a BYE is read before it. */
bool et_srs_read(struct et_srs *s, int64_t mono_us)
{
	struct epoll_event events[EVENTS_MAX];
	bool more = false;
	s->mono_us = mono_us;
	int n = epoll_wait(s->epoll, events, EVENTS_MAX, 0);
	for (int i = 0; i < n; i++) {
		uint64_t tag = events[i].data.u64;
		uint32_t a = (uint32_t)(tag >> 8);
		if (tag >> 56 == ET_SRS_RTP || tag >> 56 == ET_SRS_RTCP) {
			more = read_media(s, a, tag & 0xFF, tag >> 56 == ET_SRS_RTCP) || more;
		}
	}
	for (int i = 0; i < n; i++) {
		uint64_t tag = events[i].data.u64;
		uint32_t a = (uint32_t)(tag >> 8);
		if (tag >> 56 == ET_SRS_LISTEN) {
			more = on_listen(s, a) || more;
		} else if (tag >> 56 == ET_SRS_CONNECTION) {
			on_connection(s, a, events[i].events);
		}
	}
	return more || n == EVENTS_MAX;
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void sweep_connections(struct et_srs *s)
{
	for (uint32_t i = 0; i < s->connection_max; i++) {
		struct et_srs_connection *c = &s->connections[i];
		if (c->fd < 0) {
			continue;
		}
		bool shakes = c->tls != NULL && !et_tls_server_is_open(c->tls);
		bool has_part = c->part_us != 0; /* half a message */
		int64_t quiet_us = s->mono_us - c->seen_us;
		if (c->broken || (shakes && quiet_us > QUIET_US) ||
		    (has_part && s->mono_us - c->part_us > QUIET_US) ||
		    (c->sessions == 0 && quiet_us > IDLE_US)) {
			connection_close(s, c);
		}
	}
}

void et_srs_clock(struct et_srs *s, int64_t mono_us)
{
	s->mono_us = mono_us;
	if (mono_us - s->swept_us >= SWEEP_US) {
		s->swept_us = mono_us;
		et_uas_sweep(s);
		sweep_connections(s);
	}
}

void et_srs_leave(struct et_srs *s)
{
	et_uas_leave(s);
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void tell_engine(struct et_srs *s)
{
	struct et_own_addresses *own = &s->engine->own;
	own->listen_count = s->listen_count;
	for (uint32_t i = 0; i < s->listen_count; i++) {
		memcpy(own->listens[i].address, s->listens[i].address, 16);
		own->listens[i].port = s->listens[i].port;
	}
	memcpy(own->media, s->media_address, 16);
	own->port_first = s->port_first;
	own->port_last = s->port_last;
}

static bool allocate(struct et_srs *s, const struct et_capture_siprec *config)
{
	s->session_max = config->sessions != 0 ? config->sessions : SESSIONS_DEFAULT;
	s->connection_max = config->connections != 0 ? config->connections : CONNECTIONS_DEFAULT;
	et_random(s->seeds, sizeof(s->seeds));
	s->sessions = calloc(s->session_max, sizeof(struct et_srs_session *));
	s->connections = calloc(s->connection_max, sizeof(*s->connections));
	s->room = malloc((size_t)DATAGRAMS_MAX * DATAGRAM_SIZE);
	for (uint32_t i = 0; s->connections != NULL && i < s->connection_max; i++) {
		s->connections[i].fd = -1;
	}
	if (config->allow_count > 0) {
		s->allow = calloc(config->allow_count, sizeof(*s->allow));
		if (s->allow == NULL) {
			return false;
		}
		memcpy(s->allow, config->allow, config->allow_count * sizeof(*s->allow));
		s->allow_count = config->allow_count;
	}
	return s->sessions != NULL && s->connections != NULL && s->room != NULL &&
	       et_table_init(&s->by_call_id, s->session_max, s->seeds[0]) &&
	       et_table_init(&s->by_key, ET_SRS_TRANSACTIONS, s->seeds[1]);
}

int et_srs_new(const struct et_capture_siprec *config, struct et_engine *e, int64_t mono_us,
	       struct et_srs **ret, struct et_error *reterr)
{
	struct et_srs *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "siprec");
	}
	s->engine = e;
	s->mono_us = mono_us;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	int rc = s->epoll < 0 ? et_fail(reterr, -errno, "siprec")
			      : et_srs_media_range(s, config, reterr);
	if (rc == 0 && !allocate(s, config)) {
		rc = et_fail(reterr, -ENOMEM, "siprec");
	}
	for (uint32_t i = 0; rc == 0 && i < config->listen_count && i < ET_CAPTURE_LISTENS_MAX;
	     i++) {
		rc = et_srs_listen_open(s, config, i, reterr);
	}
	if (rc < 0) {
		et_srs_free(s);
		return rc;
	}
	tell_engine(s);
	*ret = s;
	return 0;
}

struct et_srs *et_srs_free(struct et_srs *s)
{
	if (s == NULL) {
		return NULL;
	}
	if (s->sessions != NULL && s->by_key.buckets != NULL) {
		et_uas_release(s);
	}
	for (uint32_t i = 0; s->connections != NULL && i < s->connection_max; i++) {
		connection_close(s, &s->connections[i]);
	}
	for (uint32_t i = 0; i < s->listen_count; i++) {
		et_srs_close_fd(&s->listens[i].fd);
	}
	s->tls = et_tls_server_free(s->tls);
	et_srs_close_fd(&s->epoll);
	et_table_release(&s->by_call_id);
	et_table_release(&s->by_key);
	free(s->sessions);
	free(s->connections);
	free(s->allow);
	free(s->room);
	free(s);
	return NULL;
}

void et_srs_set_tls(struct et_srs *s, struct et_tls_server *server)
{
	if (s->tls == NULL) {
		(void)et_tls_server_free(server);
		return;
	}
	(void)et_tls_server_free(s->tls);
	s->tls = server;
}

int et_srs_fd(const struct et_srs *s)
{
	return s->epoll;
}

void et_srs_tell(const struct et_srs *s, struct et_capture_metrics *ret)
{
	ret->siprec_sessions = s->session_count;
	ret->siprec_total = s->total;
	ret->siprec_refused = s->refused;
	ret->siprec_connections = s->connection_count;
	ret->siprec_evicted = s->evicted;
	ret->siprec_denied = s->denied;
	ret->siprec_resent = s->resent;
	ret->kernel_dropped += s->kernel_dropped;
}
