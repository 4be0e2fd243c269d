#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cluster-tests/bench/commit/commit.h"
#include "node/base/bytes.h"
#include "node/base/fd.h"
#include "node/io/clock.h"

/* As much of HTTP/2 (RFC 9113) and gRPC as loading etcd takes: one connection, requests of one
 * HEADERS and one DATA frame, flow control both ways. An answer with a message counts as success;
 * an answer without one as failure. Written to cost the client little, so that etcd is what is
 * measured. */

enum {
	FRAME_DATA = 0,
	FRAME_HEADERS = 1,
	FRAME_RESET = 3,
	FRAME_SETTINGS = 4,
	FRAME_PING = 6,
	FRAME_GOAWAY = 7,
	FRAME_WINDOW = 8,
	FLAG_END_STREAM = 1,
	FLAG_END_HEADERS = 4,
	FLAG_ACK = 1,
	WINDOW = 65535,
	FRAME_MAX = 16384,
};

struct stream {
	uint32_t id; /* 0: free */
	bool answered;
	int64_t sent_us;
	size_t left;	/* bytes of the body that flow control keeps back */
	int64_t window; /* bytes that the server takes on it */
};

struct client {
	int fd;
	struct et_buffer in;
	size_t in_at;
	struct et_buffer out;
	size_t out_at;
	uint32_t next_id;
	int64_t window;	       /* bytes that the server takes on the connection */
	int64_t stream_window; /* ... on a new stream */
	size_t unacknowledged; /* bytes received */
	bool broken;
	struct et_buffer head; /* the header block, the same for all requests */
	struct et_buffer body;
	struct stream *streams; /* owned */
	unsigned count;
	struct stream *held; /* view: the one whose body is not all sent; no other begins */
	struct bench_stats stats;
	int64_t end_us;	       /* what ends later does not count */
	struct et_buffer last; /* the message of the last answer */
	uint64_t key;
};

/* ---- Writing ---- */

static void frame(struct client *c, uint8_t type, uint8_t flags, uint32_t stream, const void *data,
		  size_t size)
{
	et_buffer_add8(&c->out, (uint8_t)(size >> 16));
	et_buffer_add16(&c->out, (uint16_t)size);
	et_buffer_add8(&c->out, type);
	et_buffer_add8(&c->out, flags);
	et_buffer_add32(&c->out, stream);
	et_buffer_add(&c->out, data, size);
}

static void header(struct et_buffer *b, const char *name, const char *value)
{
	et_buffer_add8(b, 0); /* RFC 7541, 6.2.2: literal without indexing, new name */
	et_buffer_add8(b, (uint8_t)strlen(name));
	et_buffer_add(b, name, strlen(name));
	et_buffer_add8(b, (uint8_t)strlen(value));
	et_buffer_add(b, value, strlen(value));
}

static void headers_make(struct client *c, const char *path)
{
	header(&c->head, ":method", "POST");
	header(&c->head, ":scheme", "http");
	header(&c->head, ":path", path);
	header(&c->head, ":authority", "127.0.0.1");
	header(&c->head, "content-type", "application/grpc");
	header(&c->head, "te", "trailers");
}

/* Send what flow control allows of the body of `s`. */
static void body_send(struct client *c, struct stream *s)
{
	while (s->left > 0 && c->window > 0 && s->window > 0) {
		size_t n = s->left < FRAME_MAX ? s->left : FRAME_MAX;
		n = (int64_t)n > c->window ? (size_t)c->window : n;
		n = (int64_t)n > s->window ? (size_t)s->window : n;
		frame(c, FRAME_DATA, n == s->left ? FLAG_END_STREAM : 0, s->id,
		      c->body.data + c->body.size - s->left, n);
		s->left -= n;
		s->window -= (int64_t)n;
		c->window -= (int64_t)n;
	}
	c->held = s->left > 0 ? s : NULL;
}

static void pb_bytes(struct et_buffer *b, uint8_t tag, const void *data, size_t size)
{
	et_buffer_add8(b, tag);
	et_buffer_add_varint(b, size);
	et_buffer_add(b, data, size);
}

static void put_make(struct client *c, struct et_buffer *b)
{
	char key[32];
	uint8_t value[BENCH_PAYLOAD];

	int n = snprintf(key, sizeof(key), "key-%016llx", (unsigned long long)c->key++);
	memset(value, 'v', sizeof(value));
	pb_bytes(b, 0x0a, key, (size_t)n);
	pb_bytes(b, 0x12, value, sizeof(value));
}

/* The next request: a PutRequest, or a TxnRequest of `batch` puts. */
static void body_make(struct client *c, unsigned batch)
{
	struct et_buffer message = { 0 };
	struct et_buffer put = { 0 };
	struct et_buffer op = { 0 };

	if (batch == 1) {
		put_make(c, &message);
	}
	for (unsigned i = 0; batch > 1 && i < batch; i++) {
		put.size = op.size = 0;
		put_make(c, &put);
		pb_bytes(&op, 0x12, put.data, put.size);    /* RequestOp.request_put */
		pb_bytes(&message, 0x12, op.data, op.size); /* TxnRequest.success */
	}
	c->body.size = 0;
	et_buffer_add8(&c->body, 0);
	et_buffer_add32(&c->body, (uint32_t)message.size);
	et_buffer_add(&c->body, message.data, message.size);
	et_buffer_release(&message);
	et_buffer_release(&put);
	et_buffer_release(&op);
}

static void stream_begin(struct client *c, struct stream *s)
{
	*s = (struct stream){ .id = c->next_id, .sent_us = et_clock_mono_us() };
	c->next_id += 2;
	s->left = c->body.size;
	s->window = c->stream_window;
	frame(c, FRAME_HEADERS, FLAG_END_HEADERS, s->id, c->head.data, c->head.size);
	body_send(c, s);
}

/* ---- Reading ---- */

static struct stream *stream_of(struct client *c, uint32_t id)
{
	for (unsigned i = 0; i < c->count; i++) {
		if (c->streams[i].id == id) {
			return &c->streams[i];
		}
	}
	return NULL;
}

static void stream_end(struct client *c, struct stream *s, bool ok)
{
	int64_t now_us = et_clock_mono_us();

	if (ok && now_us < c->end_us) {
		bench_stats_add(&c->stats, now_us - s->sent_us);
	} else if (!ok) {
		c->stats.failed++;
	}
	if (c->held == s) {
		c->held = NULL;
	}
	s->id = 0;
}

static void on_data(struct client *c, struct stream *s, const uint8_t *data, size_t size)
{
	c->unacknowledged += size;
	if (s != NULL && size > 5) {
		s->answered = true;
		c->last.size = 0;
		et_buffer_add(&c->last, data + 5, size - 5);
	}
	if (c->unacknowledged > WINDOW / 2) {
		uint8_t bytes[4];
		et_put32(bytes, (uint32_t)c->unacknowledged);
		frame(c, FRAME_WINDOW, 0, 0, bytes, sizeof(bytes));
		c->unacknowledged = 0;
	}
}

static void on_settings(struct client *c, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i + 6 <= size; i += 6) {
		if (et_get16(data + i) == 4) { /* SETTINGS_INITIAL_WINDOW_SIZE */
			int64_t window = et_get32(data + i + 2);
			if (c->held != NULL) {
				c->held->window += window - c->stream_window;
			}
			c->stream_window = window;
		}
	}
	frame(c, FRAME_SETTINGS, FLAG_ACK, 0, NULL, 0);
}

static void on_frame(struct client *c, uint8_t type, uint8_t flags, uint32_t id,
		     const uint8_t *data, size_t size)
{
	struct stream *s = id != 0 ? stream_of(c, id) : NULL;

	switch (type) {
	case FRAME_DATA:
		on_data(c, s, data, size);
		break;
	case FRAME_SETTINGS:
		if ((flags & FLAG_ACK) == 0) {
			on_settings(c, data, size);
		}
		break;
	case FRAME_PING:
		if ((flags & FLAG_ACK) == 0) {
			frame(c, FRAME_PING, FLAG_ACK, 0, data, size);
		}
		break;
	case FRAME_WINDOW:
		if (size == 4 && id == 0) {
			c->window += et_get32(data) & 0x7fffffff;
		} else if (size == 4 && s != NULL) {
			s->window += et_get32(data) & 0x7fffffff;
		}
		break;
	case FRAME_GOAWAY:
		c->broken = true;
		break;
	default:
		break;
	}
	bool ends = (type == FRAME_DATA || type == FRAME_HEADERS) && (flags & FLAG_END_STREAM) != 0;
	if (s != NULL && (ends || type == FRAME_RESET)) {
		stream_end(c, s, ends && s->answered);
	}
}

static void frames_take(struct client *c)
{
	while (c->in.size - c->in_at >= 9) {
		const uint8_t *p = c->in.data + c->in_at;
		size_t size = (size_t)p[0] << 16 | et_get16(p + 1);
		if (size > FRAME_MAX) {
			c->broken = true;
			return;
		}
		if (c->in.size - c->in_at < 9 + size) {
			break;
		}
		on_frame(c, p[3], p[4], et_get32(p + 5) & 0x7fffffff, p + 9, size);
		c->in_at += 9 + size;
	}
	if (c->in_at == c->in.size) {
		c->in.size = c->in_at = 0;
	} else if (c->in_at > 1024 * 1024) {
		memmove(c->in.data, c->in.data + c->in_at, c->in.size - c->in_at);
		c->in.size -= c->in_at;
		c->in_at = 0;
	}
}

/* ---- The connection ---- */

static int client_open(struct client *c, int port, const char *path, unsigned count)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1;

	*c = (struct client){ .next_id = 1, .window = WINDOW, .stream_window = WINDOW };
	c->count = count;
	c->streams = calloc(count, sizeof(*c->streams));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->streams == NULL || c->fd < 0 ||
	    connect(c->fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		return -errno;
	}
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	et_random(&c->key, sizeof(c->key));
	headers_make(c, path);
	et_buffer_add(&c->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	frame(c, FRAME_SETTINGS, 0, 0, NULL, 0);
	return 0;
}

static void client_close(struct client *c)
{
	if (c->fd >= 0) {
		(void)close(c->fd);
	}
	free(c->streams);
	et_buffer_release(&c->in);
	et_buffer_release(&c->out);
	et_buffer_release(&c->head);
	et_buffer_release(&c->body);
	et_buffer_release(&c->last);
}

/* Write and read what can be; waits at most `timeout_ms` for it. */
static int client_turn(struct client *c, int timeout_ms)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	if (c->out_at < c->out.size) {
		p.events |= POLLOUT;
	}
	if (poll(&p, 1, timeout_ms) < 0) {
		return -errno;
	}
	if ((p.revents & POLLOUT) != 0) {
		ssize_t n = send(c->fd, c->out.data + c->out_at, c->out.size - c->out_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN) {
			return -errno;
		}
		c->out_at += n > 0 ? (size_t)n : 0;
		if (c->out_at == c->out.size) {
			c->out.size = c->out_at = 0;
		}
	}
	if ((p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
		uint8_t *to = et_buffer_reserve(&c->in, 65536);
		ssize_t n = to == NULL ? -1 : recv(c->fd, to, 65536, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			return n == 0 ? -ECONNRESET : -errno;
		}
		c->in.size += n > 0 ? (size_t)n : 0;
		frames_take(c);
	}
	return c->broken ? -EPROTO : 0;
}

int bench_grpc_load(int port, struct bench_cell cell, unsigned seconds, struct bench_result *ret)
{
	struct client c;

	int rc = client_open(&c, port,
			     cell.batch == 1 ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Txn",
			     cell.in_flight);
	int64_t begin_us = et_clock_mono_us();
	int64_t next_us = begin_us;
	c.end_us = begin_us + (int64_t)seconds * 1000000;
	while (rc == 0 && et_clock_mono_us() < c.end_us) {
		if (c.held != NULL) {
			body_send(&c, c.held);
		}
		int wait_ms = 100;
		for (unsigned i = 0; i < c.count && c.held == NULL; i++) {
			if (c.streams[i].id != 0) {
				continue;
			}
			int64_t left_us = next_us - et_clock_mono_us();
			if (left_us > 0) {
				wait_ms = (int)(left_us / 1000) + 1;
				break;
			}
			body_make(&c, cell.batch);
			stream_begin(&c, &c.streams[i]);
			next_us += cell.per_s > 0 ? 1000000 / cell.per_s : 0;
		}
		rc = client_turn(&c, wait_ms);
	}
	*ret = bench_stats_end(&c.stats, cell.batch, seconds);
	client_close(&c);
	return rc;
}

/* Field `number` (a varint) of a protobuf message, or of the message in its field `within`. */
static uint64_t pb_field(struct et_reader r, unsigned within, unsigned number)
{
	while (et_reader_left(&r) > 0 && !r.failed) {
		uint64_t tag = et_read_varint(&r);
		uint64_t value = et_read_varint(&r);
		if ((tag & 7) == 2) {
			const uint8_t *p = et_read_bytes(&r, (size_t)value);
			if (within != 0 && tag >> 3 == within && p != NULL) {
				return pb_field(et_reader_of(p, (size_t)value), 0, number);
			}
		} else if ((tag & 7) != 0) {
			return 0;
		} else if (within == 0 && tag >> 3 == number) {
			return value;
		}
	}
	return 0;
}

int bench_grpc_leads(int port)
{
	struct client c;

	int rc = client_open(&c, port, "/etcdserverpb.Maintenance/Status", 1);
	int64_t end_us = et_clock_mono_us() + 1000000;
	if (rc == 0) {
		et_buffer_add(&c.body, "\0\0\0\0\0", 5);
		stream_begin(&c, &c.streams[0]);
	}
	while (rc == 0 && c.streams[0].id != 0 && et_clock_mono_us() < end_us) {
		rc = client_turn(&c, 100);
	}
	if (rc == 0 && c.last.size == 0) {
		rc = -ETIMEDOUT;
	}
	if (rc == 0) {
		struct et_reader r = et_reader_of(c.last.data, c.last.size);
		uint64_t member = pb_field(r, 1, 2); /* header.member_id */
		uint64_t leader = pb_field(r, 0, 4);
		rc = leader != 0 && leader == member;
	}
	free(c.stats.us);
	client_close(&c);
	return rc;
}
