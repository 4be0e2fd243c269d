/* Sending segments to those who want them, and what open ones have grown.
 *
 *   OPENING ──worker: which file, is it the wanted tape, its leaf hashes──▶ SENDING ──EOF──▶ gone
 *                                        a question about tails begins here ▲
 *      └── not here, another root, too busy: ERROR or BUSY ──▶ gone
 *
 * SENDING sends leaf hashes, then data as far as credit, the rate of the site and the connection's
 * queue allow. Between streams of one connection the lower class goes first; within a class they
 * take turns. For tails a worker reads, and makes frames (tail_serve.c). A stream has at most one
 * operation in libuv's pool; one that is ended meanwhile is freed when that operation returns. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

#define CHUNK (ET_WIRE_BODY_MAX - 8) /* bytes of data in one frame */

enum serve_state { SERVE_OPENING, SERVE_SENDING, SERVE_GONE };

struct serve {
	struct et_sync *s; /* borrowed */
	struct link *link; /* borrowed; NULL when gone */
	uint64_t node;	   /* of the peer */
	struct serve *next;
	enum serve_state state;
	uint8_t klass;
	uint16_t flags;
	uint64_t stream;
	struct et_wire_want want;
	bool busy; /* an operation is in the pool */
	uv_work_t work;
	uv_fs_t fs;
	int code; /* of the worker */
	struct et_error error;
	int fd;
	uint64_t size_bytes;
	uint8_t *leaves; /* owned */
	uint32_t leaf_count, leaf_sent;
	uint64_t offset; /* of the next byte to send */
	uint64_t credit;
	uint8_t *chunk; /* owned: CHUNK bytes, read and not yet sent */
	size_t chunk_size;
	struct tail_answer *tail; /* owned: it is about tails; else NULL */
};

static void serve_free(struct serve *v)
{
	if (v->fd >= 0) {
		(void)close(v->fd); /* Opened for reading: closing it waits for nothing. */
	}
	free(v->leaves);
	free(v->chunk);
	et_tail_answer_free(v->tail);
	free(v);
}

/* Take it off its connection. */
static void serve_end(struct serve *v)
{
	struct link *l = v->link;

	for (struct serve **p = &l->serves; *p != NULL; p = &(*p)->next) {
		if (*p == v) {
			*p = v->next;
			break;
		}
	}
	l->serve_count--;
	v->s->serving--;
	v->link = NULL;
	v->state = SERVE_GONE;
	if (!v->busy) {
		serve_free(v);
	}
}

static void serve_refuse(struct serve *v, int code, const char *text)
{
	struct et_buffer frame = { 0 };
	struct link *l = v->link;
	et_wire_add_error(&frame, v->stream, code, text);
	serve_end(v);
	et_link_send(l, &frame);
}

/* ---- Opening (worker) ---- */

static int serve_find(struct serve *v, char path[ET_STORE_PATH_MAX], struct et_error *reterr)
{
	struct et_sync *s = v->s;
	Et__Segment *segment = NULL;
	struct et_state_view *view = et_state_view_open(s->state);

	int rc = view == NULL ? -ENOMEM
			      : et_state_get_segment(view, v->want.recording, v->want.generation,
						     v->want.segment, &segment);
	(void)et_state_view_close(view);
	if (rc < 0) {
		return et_fail(reterr, rc, "segment");
	}
	int n = -1;
	if (et_store_file_ok(segment->file)) {
		n = snprintf(path, ET_STORE_PATH_MAX, "%s/%s", s->media, segment->file);
	}
	if (n < 0 || n >= ET_STORE_PATH_MAX) {
		rc = et_fail(reterr, ET_EMALFORMED, "file name of the segment");
	}
	et__segment__free_unpacked(segment, NULL);
	return rc;
}

static int serve_leaves(struct serve *v, const struct et_tape_source *source,
			const struct et_tape_seal *seal, struct et_error *reterr)
{
	if (seal->records > ET_WIRE_RECORDS_MAX) {
		return et_fail(reterr, ET_ELIMIT, "records of the segment");
	}
	v->leaf_count = (uint32_t)seal->records;
	v->leaves = malloc(v->leaf_count > 0 ? (size_t)v->leaf_count * 32 : 1);
	if (v->leaves == NULL) {
		return et_fail(reterr, -ENOMEM, "leaf hashes");
	}
	return et_tape_leaves_read(source, seal, 0, v->leaf_count, v->leaves, reterr);
}

static int serve_open(struct serve *v, struct et_error *reterr)
{
	char path[ET_STORE_PATH_MAX];
	struct et_tape_source source;
	struct et_tape_header header;
	struct et_tape_seal seal;

	if (!et_look_may_read(v->s->state, v->node)) {
		return et_fail(reterr, ET_EDENIED, "a member that stores media");
	}
	int rc = serve_find(v, path, reterr);
	if (rc < 0) {
		return rc;
	}
	v->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (v->fd < 0) {
		return et_fail(reterr, errno == ENOENT ? ET_ENOTFOUND : -errno, "its file");
	}
	rc = et_tape_source_open(path, &source, reterr);
	if (rc < 0) {
		return rc;
	}
	v->size_bytes = source.size;
	rc = et_tape_footer_read(&source, &header, &seal, reterr);
	if (rc == 0 && memcmp(seal.root, v->want.root, sizeof(seal.root)) != 0) {
		rc = et_fail(reterr, ET_ESTALE, "the root is another");
	}
	if (rc == 0 && (v->flags & ET_WIRE_WANT_LEAVES) != 0) {
		rc = serve_leaves(v, &source, &seal, reterr);
	}
	et_tape_source_close(&source);
	return rc;
}

static void serve_open_run(uv_work_t *work)
{
	struct serve *v = ET_CONTAINER_OF(work, struct serve, work);
	v->code = serve_open(v, &v->error);
}

static void serve_open_after(uv_work_t *work, int status)
{
	struct serve *v = ET_CONTAINER_OF(work, struct serve, work);

	et_sync_work_done(v->s);
	v->busy = false;
	if (v->state == SERVE_GONE) {
		serve_free(v);
	} else if (status < 0 || v->code < 0) {
		/* Paths of this machine are no business of the peer's: the code and a word. */
		serve_refuse(v, v->code < 0 ? v->code : status, et_strerror(v->code));
	} else if (v->want.offset > v->size_bytes) {
		serve_refuse(v, ET_EMALFORMED, "the offset is behind the end");
	} else {
		v->state = SERVE_SENDING;
		v->offset = v->want.offset;
		et_serve_pump(v->link);
	}
}

/* ---- What the peer says ---- */

static struct serve *serve_find_stream(struct link *l, uint64_t stream)
{
	struct serve *v = l->serves;
	while (v != NULL && v->stream != stream) {
		v = v->next;
	}
	return v;
}

/* A stream begins. NULL: the peer was told why not, or broke the protocol (*ret_ok). */
static struct serve *serve_new(struct link *l, uint8_t klass, uint64_t stream, bool too_many,
			       bool *ret_ok)
{
	struct et_buffer frame = { 0 };

	*ret_ok = stream >= l->next_stream; /* Numbers only grow. */
	if (!*ret_ok) {
		return NULL;
	}
	l->next_stream = stream + 1;
	bool may = l->serve_count < ET_SYNC_STREAMS_MAX && !too_many && !l->s->stopping;
	struct serve *v = may ? calloc(1, sizeof(*v)) : NULL;
	if (v == NULL) {
		et_wire_add_busy(&frame, stream, 1000);
		et_link_send(l, &frame);
		return NULL;
	}
	v->s = l->s;
	v->link = l;
	v->node = l->node;
	v->klass = klass;
	v->stream = stream;
	v->fd = -1;
	v->next = l->serves;
	l->serves = v;
	l->serve_count++;
	l->s->serving++;
	return v;
}

bool et_serve_want(struct link *l, uint8_t klass, uint16_t flags, uint64_t stream,
		   const struct et_wire_want *want)
{
	bool ok = false;
	struct serve *v = flags != 0 ? serve_new(l, klass, stream, false, &ok) : NULL;

	if (v == NULL) {
		return ok;
	}
	v->flags = flags;
	v->want = *want;
	v->credit = want->window_bytes;
	v->busy = true;
	int rc = et_sync_work(l->s, &v->work, serve_open_run, serve_open_after);
	if (rc < 0) {
		v->busy = false;
		serve_refuse(v, ET_EBUSY, "no worker");
	}
	return true;
}

bool et_serve_tail(struct link *l, uint64_t stream, const struct et_wire_block *body)
{
	uint32_t window = 0;
	bool asks = false; /* One question at a time. */
	bool ok = false;

	if (et_wire_read_tails(body, &window) == 0) {
		return false;
	}
	for (const struct serve *v = l->serves; v != NULL; v = v->next) {
		asks = asks || v->tail != NULL;
	}
	struct serve *v = serve_new(l, ET_SYNC_TAIL, stream, asks, &ok);
	if (v == NULL) {
		return ok;
	}
	v->tail = et_tail_answer_new(l->s, l->node, stream, body);
	if (v->tail == NULL) {
		serve_refuse(v, ET_EBUSY, "no memory");
		return true;
	}
	v->state = SERVE_SENDING;
	et_serve_pump(l);
	return true;
}

bool et_serve_credit(struct link *l, uint64_t stream, uint32_t bytes)
{
	struct serve *v = serve_find_stream(l, stream);
	if (v == NULL) {
		return true; /* It has just ended. */
	}
	v->credit += bytes;
	if (v->credit > ET_WIRE_WINDOW_MAX) {
		return false;
	}
	et_serve_pump(l);
	return true;
}

void et_serve_cancel(struct link *l, uint64_t stream)
{
	struct serve *v = serve_find_stream(l, stream);
	if (v != NULL) {
		serve_end(v);
	}
}

void et_serve_end_all(struct link *l)
{
	while (l->serves != NULL) {
		serve_end(l->serves);
	}
}

/* ---- Sending ---- */

static void serve_read_done(uv_fs_t *fs)
{
	struct serve *v = ET_CONTAINER_OF(fs, struct serve, fs);
	ssize_t got = fs->result;

	uv_fs_req_cleanup(fs);
	et_sync_work_done(v->s);
	v->busy = false;
	if (v->state == SERVE_GONE) {
		serve_free(v);
	} else if (got <= 0) {
		serve_refuse(v, got < 0 ? (int)got : ET_ETRUNCATED, "reading it failed");
	} else {
		v->chunk_size = (size_t)got;
		et_serve_pump(v->link);
	}
}

static void serve_tail_run(uv_work_t *work)
{
	struct serve *v = ET_CONTAINER_OF(work, struct serve, work);
	v->code = et_tail_answer_read(v->tail, &v->error);
}

static void serve_tail_after(uv_work_t *work, int status)
{
	struct serve *v = ET_CONTAINER_OF(work, struct serve, work);
	int code = status < 0 ? status : v->code;

	et_sync_work_done(v->s);
	v->busy = false;
	if (v->state == SERVE_GONE) {
		serve_free(v);
	} else if (code < 0) {
		serve_refuse(v, code, et_strerror(code));
	} else {
		et_serve_pump(v->link);
	}
}

static void serve_tail_read(struct serve *v)
{
	int rc = et_sync_work(v->s, &v->work, serve_tail_run, serve_tail_after);
	v->busy = rc == 0;
	if (rc < 0) {
		serve_refuse(v, ET_EBUSY, "no worker");
	}
}

/* Begin to read the next chunk. */
static void serve_read(struct serve *v)
{
	if (v->tail != NULL) {
		serve_tail_read(v);
		return;
	}
	uint64_t size = v->size_bytes - v->offset;
	size = size < CHUNK ? size : CHUNK;
	size = size < v->credit ? size : v->credit;
	if (v->chunk == NULL) {
		v->chunk = malloc(CHUNK);
	}
	int rc = -ENOMEM;
	if (v->chunk != NULL) {
		uv_buf_t buf = uv_buf_init((char *)v->chunk, (unsigned)size);
		rc = uv_fs_read(&v->s->loop, &v->fs, v->fd, &buf, 1, (int64_t)v->offset,
				serve_read_done);
	}
	if (rc < 0) {
		serve_refuse(v, rc, "reading it failed");
		return;
	}
	v->s->works++;
	v->busy = true;
}

static void serve_send_leaves(struct serve *v, struct et_buffer *frame)
{
	uint32_t count = v->leaf_count - v->leaf_sent;
	count = count < ET_WIRE_LEAVES_MAX ? count : ET_WIRE_LEAVES_MAX;
	et_wire_add_leaves(frame, v->stream, v->klass, v->leaf_count, v->leaf_sent, count,
			   v->leaves + (size_t)v->leaf_sent * 32);
	v->leaf_sent += count;
	if (v->leaf_sent == v->leaf_count) {
		free(v->leaves);
		v->leaves = NULL;
	}
}

static void serve_send_chunk(struct serve *v, struct et_buffer *frame)
{
	et_wire_add_header(frame, ET_WIRE_DATA, v->klass, 0, v->stream, 8 + v->chunk_size);
	et_buffer_add64(frame, v->offset);
	et_buffer_add(frame, v->chunk, v->chunk_size);
	v->offset += v->chunk_size;
	v->credit -= v->chunk_size;
	et_gate_sent(v->s, v->link->site, v->klass, v->chunk_size);
	v->chunk_size = 0;
}

/* Its turn is over: to the end of the list. */
static void serve_turn(struct link *l, struct serve *v)
{
	struct serve **p = &l->serves;
	while (*p != NULL) {
		if (*p == v) {
			*p = v->next;
		} else {
			p = &(*p)->next;
		}
	}
	v->next = NULL;
	*p = v;
}

/* What was read; with the last of it the stream is over. */
static void serve_send_tail(struct serve *v)
{
	struct link *l = v->link;
	uint64_t bytes = 0;
	struct et_buffer frame = et_tail_answer_take(v->tail, &bytes);

	et_gate_sent(v->s, l->site, v->klass, bytes);
	if (et_tail_answer_done(v->tail)) {
		serve_end(v);
	} else {
		serve_turn(l, v);
	}
	et_link_send(l, &frame);
}

static void serve_send_eof(struct serve *v)
{
	struct et_buffer frame = { 0 };
	struct et_wire_eof eof = { .size_bytes = v->size_bytes };
	struct link *l = v->link;

	memcpy(eof.root, v->want.root, sizeof(eof.root));
	et_wire_add_eof(&frame, v->stream, v->klass, &eof);
	serve_end(v);
	et_link_send(l, &frame);
}

enum serve_wish { WISH_NOTHING, WISH_READ, WISH_SEND, WISH_EOF };

/* What a stream would do now. Pure. */
static enum serve_wish serve_wish(const struct serve *v)
{
	if (v->state != SERVE_SENDING || v->busy) {
		return WISH_NOTHING;
	}
	if (v->tail != NULL) {
		return et_tail_answer_ready(v->tail)			 ? WISH_SEND
		       : et_gate_may_send(v->s, v->link->site, v->klass) ? WISH_READ
									 : WISH_NOTHING;
	}
	if (v->leaves != NULL || v->chunk_size > 0) {
		return WISH_SEND;
	}
	if ((v->flags & ET_WIRE_WANT_DATA) == 0 || v->offset == v->size_bytes) {
		return WISH_EOF;
	}
	return v->credit > 0 && et_gate_may_send(v->s, v->link->site, v->klass) ? WISH_READ
										: WISH_NOTHING;
}

/* The stream to go next: the lowest class; the list's order is the order of turns. */
static struct serve *serve_next(struct link *l, enum serve_wish *ret)
{
	struct serve *best = NULL;
	for (struct serve *v = l->serves; v != NULL; v = v->next) {
		enum serve_wish wish = serve_wish(v);
		if (wish != WISH_NOTHING && (best == NULL || v->klass < best->klass)) {
			best = v;
			*ret = wish;
		}
	}
	return best;
}

static void serve_on_drain(void *arg)
{
	struct link *l = arg;
	l->drain_armed = false;
	et_serve_pump(l);
}

void et_serve_pump(struct link *l)
{
	enum serve_wish wish = WISH_NOTHING;
	struct serve *v = NULL;

	while (l->state == LINK_OPEN && (v = serve_next(l, &wish)) != NULL) {
		if (et_tls_conn_queued(l->conn) > ET_SYNC_QUEUED_MAX) {
			if (!l->drain_armed) {
				l->drain_armed = true;
				et_tls_conn_on_drain(l->conn, ET_SYNC_QUEUED_MAX / 2,
						     serve_on_drain, l);
			}
			return;
		}
		if (wish == WISH_READ) {
			serve_read(v);
		} else if (wish == WISH_EOF) {
			serve_send_eof(v);
		} else if (v->tail != NULL) {
			serve_send_tail(v);
		} else {
			struct et_buffer frame = { 0 };
			if (v->leaves != NULL) {
				serve_send_leaves(v, &frame);
			} else {
				serve_send_chunk(v, &frame);
			}
			serve_turn(l, v);
			et_link_send(l, &frame);
		}
	}
}
