/* Answering TAIL: what each of the named segments has grown since its offset, as far as the window
 * goes. Each gets one GROWN, in order; the last one ends the answer.
 *
 * Nothing is kept between questions. What is sent is what the file holds, up to its end: records
 * are written by one write(2) each, and whether they are whole is the other side's to judge.
 *
 * Threads: a worker reads, the sync thread has what was read. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/base/fd.h"
#include "replication/sync/sync_internal.h"

#define BATCH (512 * 1024) /* bytes that are read before they are sent */

struct tail_answer {
	struct et_sync *s; /* borrowed */
	uint64_t node;	   /* of the peer */
	uint64_t stream;
	uint64_t window, sent;
	uint32_t count, next;
	struct et_wire_tail *tails; /* owned */
	uint8_t *chunk;		    /* owned: ET_WIRE_GROWN_MAX bytes */
	struct et_buffer out;	    /* owned: frames */
	uint64_t out_bytes;	    /* of tapes in it */
};

struct tail_answer *et_tail_answer_new(struct et_sync *s, uint64_t node, uint64_t stream,
				       const struct et_wire_block *body)
{
	uint32_t window = 0;
	uint32_t count = et_wire_read_tails(body, &window);
	struct tail_answer *a = calloc(1, sizeof(*a));

	et_assert(count > 0); /* The link has judged it. */
	if (a == NULL) {
		return NULL;
	}
	a->s = s;
	a->node = node;
	a->stream = stream;
	a->window = window < ET_SYNC_TAIL_WINDOW ? window : ET_SYNC_TAIL_WINDOW;
	a->count = count;
	a->tails = calloc(count, sizeof(*a->tails));
	a->chunk = malloc(ET_WIRE_GROWN_MAX);
	if (a->tails == NULL || a->chunk == NULL) {
		et_tail_answer_free(a);
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++) {
		et_wire_read_tail(body, i, &a->tails[i]);
	}
	return a;
}

void et_tail_answer_free(struct tail_answer *a)
{
	if (a != NULL) {
		free(a->tails);
		free(a->chunk);
		et_buffer_release(&a->out);
		free(a);
	}
}

bool et_tail_answer_done(const struct tail_answer *a)
{
	return a->next == a->count && a->out.size == 0;
}

bool et_tail_answer_ready(const struct tail_answer *a)
{
	return a->out.size > 0;
}

/* Its file, while it is open. */
static int tail_path(const struct tail_answer *a, const struct et_state_view *view,
		     const struct et_wire_tail *t, char path[ET_STORE_PATH_MAX])
{
	Et__Segment *g = NULL;
	int n = -1;

	int rc = et_state_get_segment(view, t->recording, t->generation, t->segment, &g);
	if (rc < 0) {
		return rc;
	}
	if (g->state != ET__SEGMENT_STATE__SEGMENT_OPEN || g->node != a->s->node) {
		rc = ET_ESTALE; /* It is fetched when it is sealed, from who has it. */
	} else if (et_store_file_ok(g->file)) {
		n = snprintf(path, ET_STORE_PATH_MAX, "%s/%s", a->s->media, g->file);
	}
	if (rc == 0 && (n < 0 || n >= ET_STORE_PATH_MAX)) {
		rc = ET_EMALFORMED;
	}
	et__segment__free_unpacked(g, NULL);
	return rc;
}

/* Into the chunk: how many bytes, or negative. */
static ssize_t tail_read(struct tail_answer *a, const struct et_state_view *view,
			 const struct et_wire_tail *t, bool *ret_more)
{
	char path[ET_STORE_PATH_MAX];
	struct stat st;

	int rc = tail_path(a, view, t, path);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0) {
		return errno == ENOENT ? ET_ENOTFOUND : -errno;
	}
	if (t->offset > (uint64_t)st.st_size) {
		return ET_ETRUNCATED;
	}
	uint64_t left = (uint64_t)st.st_size - t->offset;
	*ret_more = left > ET_WIRE_GROWN_MAX;
	ssize_t n = pread(fd, a->chunk, left < ET_WIRE_GROWN_MAX ? left : ET_WIRE_GROWN_MAX,
			  (off_t)t->offset);
	return n < 0 ? -errno : n;
}

static void tail_add(struct tail_answer *a, const struct et_state_view *view)
{
	const struct et_wire_tail *t = &a->tails[a->next];
	bool more = a->sent >= a->window; /* The window is used up: perhaps. */
	ssize_t n = more ? 0 : tail_read(a, view, t, &more);
	const struct et_wire_grown grown = {
		.entry = a->next,
		.code = n < 0 ? (int32_t)n : 0,
		.offset = t->offset,
		.bytes = { a->chunk, n > 0 ? (size_t)n : 0 },
	};

	et_wire_add_grown(&a->out, a->stream, more && n >= 0 ? ET_WIRE_GROWN_MORE : 0, &grown);
	a->out_bytes += grown.bytes.size;
	a->sent += grown.bytes.size;
	a->next++;
}

int et_tail_answer_read(struct tail_answer *a, struct et_error *reterr)
{
	if (!et_look_may_read(a->s->state, a->node)) {
		return et_fail(reterr, ET_EDENIED, "a member that stores media");
	}
	struct et_state_view *view = et_state_view_open(a->s->state);
	if (view == NULL) {
		return et_fail(reterr, -ENOMEM, "tails");
	}
	while (a->next < a->count && a->out.size < BATCH && !a->out.failed) {
		tail_add(a, view);
	}
	(void)et_state_view_close(view);
	return a->out.failed ? et_fail(reterr, -ENOMEM, "tails") : 0;
}

struct et_buffer et_tail_answer_take(struct tail_answer *a, uint64_t *ret_bytes)
{
	struct et_buffer out = a->out;

	*ret_bytes = a->out_bytes;
	a->out = (struct et_buffer){ 0 };
	a->out_bytes = 0;
	return out;
}
