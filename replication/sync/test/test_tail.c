#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replication/sync/test/kit.h"

#define TAIL_MS 50

/* ---- Rogues: sources that answer TAIL by a script ---- */

enum tail_rogue {
	TAIL_HONEST,
	TAIL_UNKNOWN, /* a build that does not know tails */
	TAIL_BEYOND,  /* more than the window */
	TAIL_ENTRY,   /* an answer to what was not asked */
	TAIL_OFFSET,  /* bytes of another place */
	TAIL_SHRUNK,  /* it has less than it had */
	TAIL_HEADER,  /* the header of another tape */
	TAIL_FLIP,    /* one bit of the last record */
	TAIL_TORN,    /* half a record at the end */
	TAIL_CUT,     /* the connection ends behind the first segment */
	TAIL_DENY,
	TAIL_BUSY,
};

struct rogue {
	struct cluster *cluster;
	struct node *node;
	enum tail_rogue kind;
	size_t torn;	/* bytes that are not sent of the file's end */
	size_t asked;	/* TAILs */
	uint64_t first; /* offset of the first entry of the last one */
	struct tape_made other;
};

static struct rogue rogue;

static void rogue_close(struct node *n, struct et_tls_conn *conn, bool flush)
{
	for (size_t i = 0; i < n->conn_count; i++) {
		if (n->conns[i] == conn) {
			n->conns[i] = NULL;
		}
	}
	et_tls_conn_close(conn, flush);
}

static void rogue_add(struct et_buffer *out, uint64_t stream, uint32_t entry, int code,
		      uint64_t offset, const uint8_t *data, size_t size)
{
	const struct et_wire_grown g = {
		.entry = entry, .code = code, .offset = offset, .bytes = { data, size }
	};
	et_wire_add_grown(out, stream, 0, &g);
}

/* What the file has of it; false: the connection ends here. */
static bool rogue_entry(const struct et_wire_frame *frame, uint32_t entry, struct et_buffer *out)
{
	struct cluster *c = rogue.cluster;
	struct et_wire_tail t;
	uint8_t *bytes = NULL;
	char path[600];

	et_wire_read_tail(frame->body, entry, &t);
	size_t segment = fake_find(&c->state, t.recording);
	path_of(c, rogue.node, segment, path);
	if (rogue.kind == TAIL_HEADER) {
		(void)snprintf(path, sizeof(path), "%s/%s", rogue.node->media, rogue.other.file);
	}
	size_t size = file_load(path, &bytes);
	size -= rogue.kind == TAIL_TORN ? rogue.torn : 0;
	bytes[size - 1] ^= rogue.kind == TAIL_FLIP;
	assert_true(t.offset <= size);
	if (rogue.kind == TAIL_SHRUNK) {
		rogue_add(out, frame->stream, entry, ET_ETRUNCATED, t.offset, NULL, 0);
	} else {
		rogue_add(out, frame->stream, entry + (rogue.kind == TAIL_ENTRY), 0,
			  t.offset + (rogue.kind == TAIL_OFFSET), bytes + t.offset,
			  size - t.offset);
	}
	free(bytes);
	return rogue.kind != TAIL_CUT;
}

static bool rogue_tail(const struct et_wire_frame *frame, struct et_buffer *out)
{
	struct et_wire_tail first;
	uint32_t window = 0;
	uint32_t count = et_wire_read_tails(frame->body, &window);
	bool go_on = true;

	assert_in_range(count, 1, ET_WIRE_TAILS_MAX);
	et_wire_read_tail(frame->body, 0, &first);
	rogue.first = first.offset;
	rogue.asked++;
	if (rogue.kind == TAIL_DENY) {
		et_wire_add_error(out, frame->stream, ET_EDENIED, "no");
		return true;
	}
	if (rogue.kind == TAIL_BUSY) {
		et_wire_add_busy(out, frame->stream, 10);
		return true;
	}
	if (rogue.kind == TAIL_BEYOND) {
		uint8_t *zeros = calloc(1, ET_WIRE_GROWN_MAX);
		for (uint32_t sent = 0; sent <= window + ET_WIRE_GROWN_MAX;
		     sent += ET_WIRE_GROWN_MAX) {
			rogue_add(out, frame->stream, 0, 0, first.offset, zeros, ET_WIRE_GROWN_MAX);
		}
		free(zeros);
		return true;
	}
	for (uint32_t i = 0; i < count && go_on; i++) {
		go_on = rogue_entry(frame, i, out);
	}
	return go_on;
}

static void rogue_on_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	struct node *n = arg;
	struct et_wire_parser *p = NULL;

	for (size_t i = 0; i < n->conn_count; i++) {
		p = n->conns[i] == conn ? &n->parsers[i] : p;
	}
	while (size > 0) {
		struct et_wire_frame frame;
		struct et_buffer out = { 0 };
		size_t used = 0;
		int rc = et_wire_parse(p, data, size, &used, &frame, NULL);
		assert_true(rc >= 0); /* What our service says is always well-formed. */
		data += used;
		size -= used;
		if (rc == 0) {
			continue;
		}
		bool go_on = frame.type != ET_WIRE_TAIL || rogue_tail(&frame, &out);
		et_tls_conn_write(conn, out.data, out.size);
		et_buffer_release(&out);
		free(frame.body);
		if (!go_on) {
			rogue_close(n, conn, true);
			return;
		}
	}
}

static void rogue_on_end(void *arg, struct et_tls_conn *conn, int code)
{
	(void)code;
	rogue_close(arg, conn, false);
}

static void rogue_on_accept(void *arg, struct et_tls_conn *conn)
{
	struct node *n = arg;
	struct et_buffer out = { 0 };
	const struct et_tls_conn_cb cb = { rogue_on_read, rogue_on_end, n };

	assert_true(n->conn_count < ET_ARRAY_SIZE(n->conns));
	et_wire_parser_init(&n->parsers[n->conn_count], ET_WIRE_PULLER);
	n->conns[n->conn_count++] = conn;
	et_tls_conn_start(conn, &cb);
	et_wire_add_hello(
		&out, &(struct et_wire_hello){ .node = n->id,
					       .streams = 1,
					       .features = rogue.kind == TAIL_UNKNOWN ? 0 : 1 });
	et_tls_conn_write(conn, out.data, out.size);
	et_buffer_release(&out);
}

static void rogue_start(struct cluster *c, struct node *n, enum tail_rogue kind)
{
	rogue = (struct rogue){ .cluster = c, .node = n, .kind = kind };
	et_tls_handle(n->tls, ET_ALPN_SYNC, rogue_on_accept, n);
}

/* ---- What is looked at ---- */

static struct et_sync_tails tails_of(const struct node *n)
{
	return status_of(n).tails;
}

static uint64_t file_size(const struct node *n, const char *file)
{
	char path[600];
	struct stat st;
	(void)snprintf(path, sizeof(path), "%s/%s", n->media, file);
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void tail_name(struct cluster *c, size_t segment, char ret[300])
{
	char id[ET_UUID_TEXT_SIZE];
	et_uuid_format(c->state.segments[segment].expect.recording, id);
	(void)snprintf(ret, 300, "tails/%s-g1-s1.tail", id);
}

static uint64_t tail_size(struct cluster *c, const struct node *n, size_t segment)
{
	char name[300];
	tail_name(c, segment, name);
	return file_size(n, name);
}

static uint64_t tape_size(struct cluster *c, const struct node *n, size_t segment)
{
	return file_size(n, c->state.segments[segment].file);
}

/* Of the file in quarantine. */
static uint64_t quarantined_size(const struct node *n)
{
	char path[600];
	struct stat st;
	uint64_t size = 0;
	struct dirent *entry;

	(void)snprintf(path, sizeof(path), "%s/quarantine", n->media);
	DIR *dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.') {
			assert_int_equal(fstatat(dirfd(dir), entry->d_name, &st, 0), 0);
			size = (uint64_t)st.st_size;
		}
	}
	(void)closedir(dir);
	return size;
}

/* The tail is the begin of the tape. */
static void assert_is_prefix(struct cluster *c, const struct node *owner, const struct node *n,
			     size_t segment)
{
	char path[600];
	char name[300];
	uint8_t *x = NULL;
	uint8_t *y = NULL;

	path_of(c, owner, segment, path);
	size_t size = file_load(path, &x);
	tail_name(c, segment, name);
	(void)snprintf(path, sizeof(path), "%s/%s", n->media, name);
	size_t here = file_load(path, &y);
	assert_true(here > 0 && here <= size);
	assert_memory_equal(x, y, here);
	free(x);
	free(y);
}

static void pair_start(struct cluster *c, struct node **prg, struct node **brq)
{
	c->tuning.tail_ms = TAIL_MS;
	*prg = node_add(c, "prg");
	*brq = node_add(c, "brq");
	sync_start(*prg);
	sync_start(*brq);
	run_until(c, status_of(*brq).scanned_index > 0);
}

/* ---- Tests ---- */

static void keeps_what_an_open_segment_grows_and_fetches_the_rest(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;

	pair_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	for (int i = 0; i < 6; i++) {
		tape_grow(&g, 1 + (uint32_t)i * 7, 16000);
		run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
		assert_is_prefix(c, prg, brq, segment);
	}
	assert_int_equal(files_in(brq, "incoming"), 0); /* It is no copy, and looks like none. */
	assert_int_equal(tape_size(c, brq, segment), 0);
	assert_int_equal(c->proposals, 0);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	run_until(c, tails_of(brq).count == 1 && tails_of(prg).count == 0);
	uint64_t before = site_of(brq, "prg").received_bytes;
	assert_true(before < tape_size(c, prg, segment) + 2 * 16500); /* Each byte once. */

	segment_end(c, segment, &g);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
	run_until(c, is_settled(brq));
	assert_int_equal(files_in(brq, "tails"), 0);
	assert_int_equal(files_in(brq, "incoming"), 0);
	run_until(c, tails_of(brq).handed_over == 1 && tails_of(brq).count == 0);
	/* The footer came then, and no record again. */
	assert_true(site_of(brq, "prg").received_bytes < before + 16000);
	assert_int_equal(site_of(brq, "prg").errors, 0);
	assert_int_equal(tails_of(brq).errors, 0);
}

static void goes_on_after_a_restart_of_either_side(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;

	pair_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 30, 16000);
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	sync_stop(brq);
	tape_grow(&g, 3, 16000);
	sync_start(brq); /* The scan finds it, and the file of before. */
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	assert_true(site_of(brq, "prg").received_bytes < 5 * 16500);
	sync_stop(prg);
	tape_grow(&g, 3, 16000);
	sync_start(prg);
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	assert_is_prefix(c, prg, brq, segment);
	sync_stop(brq);
	segment_end(c, segment, &g); /* It is sealed while brq is away. */
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
	assert_int_equal(files_in(brq, "tails"), 0);
	assert_true(site_of(brq, "prg").received_bytes < 16000);
}

static void takes_a_tail_that_rotted_for_no_more_than_it_is(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	char path[600];
	char name[300];

	pair_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 30, 1000);
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	tail_name(c, segment, name);
	(void)snprintf(path, sizeof(path), "%s/%s", brq->media, name);
	sync_stop(brq);
	flip(path, 5000); /* While nobody looks: the prefix before it is kept. */
	sync_start(brq);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	assert_is_prefix(c, prg, brq, segment);
	flip(path, 9000); /* Behind its back: the leaf hashes find it. */
	segment_end(c, segment, &g);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);

	segment = segment_open(c, prg, &g); /* Another, whose tail somebody removes. */
	tape_grow(&g, 3, 1000);
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	tail_name(c, segment, name);
	(void)snprintf(path, sizeof(path), "%s/%s", brq->media, name);
	assert_int_equal(unlink(path), 0);
	tape_grow(&g, 3, 1000);
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	assert_is_prefix(c, prg, brq, segment);
	segment_end(c, segment, &g);
	run_until(c, fake_has(&c->state, segment, brq->id));
}

static void tails_more_than_one_question_holds(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	enum { OPEN = 300 };
	static struct tape_growing g[OPEN];
	size_t segments[OPEN];

	pair_start(c, &prg, &brq);
	for (size_t i = 0; i < OPEN; i++) {
		segments[i] = segment_open(c, prg, &g[i]);
		tape_grow(&g[i], 2, 500);
	}
	/* One is far behind the others; all take turns. */
	tape_grow(&g[7], 100, 16000);
	for (size_t i = 0; i < OPEN; i++) {
		run_until(c, tail_size(c, brq, segments[i]) == tape_size(c, prg, segments[i]));
		assert_is_prefix(c, prg, brq, segments[i]);
	}
	run_until(c, tails_of(brq).count == OPEN);
	for (size_t i = 0; i < OPEN; i++) {
		segment_end(c, segments[i], &g[i]);
	}
	run_until(c, c->state.copy_count == (size_t)(2 * OPEN));
	run_until(c, is_settled(brq));
	run_until(c, tails_of(brq).handed_over == OPEN);
	assert_int_equal(files_in(brq, "tails"), 0);
	assert_int_equal(files_in(brq, "incoming"), 0);
	assert_same_file(c, prg, brq, segments[7]);
}

static void one_node_of_a_site_tails(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g[8];
	size_t segments[8];

	c->tuning.stand_in_ms = DEADLINE_MS; /* However slow the machine, nobody stands in. */
	pair_start(c, &prg, &brq);
	struct node *prg2 = node_add(c, "prg");
	struct node *brq2 = node_add(c, "brq");
	sync_start(prg2);
	sync_start(brq2);
	run_until(c, status_of(brq2).scanned_index > 0 && status_of(prg2).scanned_index > 0);
	for (size_t i = 0; i < 8; i++) {
		segments[i] = segment_open(c, prg, &g[i]);
		tape_grow(&g[i], 2, 500);
	}
	run_until(c, tails_of(brq).count + tails_of(brq2).count == 8);
	for (size_t i = 0; i < 8; i++) {
		run_until(c, tail_size(c, brq, segments[i]) + tail_size(c, brq2, segments[i]) ==
				     tape_size(c, prg, segments[i]));
		segment_end(c, segments[i], &g[i]);
	}
	run_until(c, c->state.copy_count == 16);
	assert_int_equal(files_in(prg2, "tails"), 0); /* Its site has the owner's. */
	run_until(c, tails_of(brq).handed_over + tails_of(brq2).handed_over == 8);
}

static void keeps_what_it_has_of_a_node_that_is_gone(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	Et__Command command = ET__COMMAND__INIT;
	Et__NodeRemove gone = ET__NODE_REMOVE__INIT;

	pair_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	sync_stop(prg);
	run_until(c, tails_of(brq).lag_ms > 200);
	pthread_mutex_lock(&c->state.mutex);
	c->state.nodes[0].state = ET__NODE_STATE__REMOVED;
	pthread_mutex_unlock(&c->state.mutex);
	gone.node = prg->id;
	command.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	command.node_remove = &gone;
	tell_all(c, &command);
	run_until(c, tails_of(brq).kept == 1);
	assert_int_equal(tails_of(brq).kept_bytes, tape_size(c, prg, segment));
	assert_int_equal(tails_of(brq).lag_ms, 0); /* Nothing is followed. */
	assert_is_prefix(c, prg, brq, segment);
	sync_stop(brq);
	sync_start(brq);
	run_until(c, tails_of(brq).kept == 1);
	assert_is_prefix(c, prg, brq, segment);
	tape_end(&g, &c->state.segments[segment]);
}

static void node_remove(struct cluster *c, const struct node *n)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__NodeRemove gone = ET__NODE_REMOVE__INIT;

	pthread_mutex_lock(&c->state.mutex);
	for (size_t i = 0; i < c->state.node_count; i++) {
		if (c->state.nodes[i].id == n->id) {
			c->state.nodes[i].state = ET__NODE_STATE__REMOVED;
		}
	}
	pthread_mutex_unlock(&c->state.mutex);
	gone.node = n->id;
	command.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	command.node_remove = &gone;
	tell_all(c, &command);
}

static void seals_what_it_has_of_a_node_that_is_gone(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g[3];
	size_t segments[3];
	struct tape_made seal;

	c->state.schema = 3;
	c->refuse_quorum = 2;
	pair_start(c, &prg, &brq);
	struct node *ova = node_add(c, "ova"); /* tails them, too */
	for (size_t i = 0; i < 3; i++) {
		segments[i] = segment_open(c, prg, &g[i]);
		tape_grow(&g[i], 5 + (uint32_t)i, 1000);
	}
	run_until(c, tails_of(brq).bytes > 0 && tails_of(brq).count == 3);
	for (size_t i = 0; i < 3; i++) {
		run_until(c, tail_size(c, brq, segments[i]) == tape_size(c, prg, segments[i]));
	}
	run_until(c, tails_of(brq).lag_ms > 100 || tails_of(brq).lag_ms == 0);
	sync_stop(prg);
	node_remove(c, prg);
	for (size_t i = 0; i < 3; i++) {
		run_until(c, fake_has(&c->state, segments[i], brq->id));
		assert_int_equal(c->state.segments[segments[i]].expect.records, 5 + i);
	}
	run_until(c, c->closes == 3);
	for (size_t i = 0; i < 3; i++) { /* the last record of each */
		assert_int_equal(c->state.ended_us[segments[i]] / 1000000, 4 + i);
	}
	run_until(c, tails_of(brq).kept == 0 && tails_of(brq).sealed == 3);
	assert_int_equal(files_in(brq, "tails"), 0);
	sync_start(ova); /* It is a segment as any other. */
	for (size_t i = 0; i < 3; i++) {
		run_until(c, fake_has(&c->state, segments[i], ova->id));
		assert_same_file(c, brq, ova, segments[i]);
		tape_end(&g[i], &seal);
	}
}

static void waits_for_the_schema_to_seal(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 2;
	pair_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	sync_stop(prg);
	node_remove(c, prg);
	run_until(c, tails_of(brq).kept == 1);
	sync_stop(brq);
	sync_start(brq);
	run_until(c, tails_of(brq).kept == 1);
	assert_int_equal(c->seals, 0);
	c->state.schema = 3;
	sync_stop(brq);
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id) && c->closes == 1);
	tape_end(&g, &seal);
}

static void gives_way_to_the_seal_of_another(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	pair_start(c, &prg, &brq);
	struct node *ova = node_add(c, "ova");
	sync_start(ova);
	run_until(c, status_of(ova).scanned_index > 0);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	run_until(c, tails_of(ova).bytes == tape_size(c, prg, segment));
	sync_stop(brq); /* It is away while the call goes on, and ova seals more than it has. */
	tape_grow(&g, 3, 1000);
	run_until(c, tails_of(ova).bytes == tape_size(c, prg, segment));
	sync_stop(prg);
	node_remove(c, prg);
	run_until(c, fake_has(&c->state, segment, ova->id));
	assert_int_equal(c->state.segments[segment].expect.records, 8);
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, ova, brq, segment);
	assert_int_equal(files_in(brq, "tails"), 0);
	tape_end(&g, &seal);
}

/* A tail of five records whose source is gone; its seal finds no quorum. */
static size_t seal_without_quorum(struct cluster *c, struct node *prg, struct node *brq,
				  struct tape_growing *g)
{
	size_t segment = segment_open(c, prg, g);

	tape_grow(g, 5, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	sync_stop(prg);
	c->refuse_quorum = INT32_MAX;
	node_remove(c, prg);
	run_until(c, tape_size(c, brq, segment) > 0 && c->refuse_quorum < INT32_MAX);
	assert_int_equal(tail_size(c, brq, segment), 0);     /* It lies where copies lie, */
	assert_false(fake_has(&c->state, segment, brq->id)); /* and is none yet. */
	return segment;
}

static void tells_a_seal_again_after_a_kill(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	pair_start(c, &prg, &brq);
	size_t segment = seal_without_quorum(c, prg, brq, &g);
	sync_stop(brq);
	c->refuse_quorum = 0;
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id) && c->closes == 1);
	run_until(c, tails_of(brq).kept == 0 && tails_of(brq).sealed == 1);
	tape_end(&g, &seal);
}

/* It is killed between the two commands. */
static void closes_what_it_sealed_before_a_kill(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	c->refuse_closes = true;
	pair_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	sync_stop(prg);
	node_remove(c, prg);
	run_until(c, fake_has(&c->state, segment, brq->id));
	sync_stop(brq);
	c->refuse_closes = false;
	assert_int_equal(c->closes, 0);
	sync_start(brq);
	run_until(c, c->closes == 1);
	assert_int_equal(c->state.ended_us[segment] / 1000000, 4);
	run_until(c, tails_of(brq).kept == 0);
	assert_true(tape_size(c, brq, segment) > 0);
	assert_int_equal(files_in(brq, "quarantine"), 0);
	tape_end(&g, &seal);
}

static void keeps_aside_a_tail_that_is_longer_than_the_seal(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	pair_start(c, &prg, &brq);
	struct node *ova = node_add(c, "ova");
	sync_start(ova);
	run_until(c, status_of(ova).scanned_index > 0);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(ova).bytes == tape_size(c, prg, segment));
	sync_stop(ova); /* The one that is to seal it has less. */
	tape_grow(&g, 3, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	uint64_t longer = tail_size(c, brq, segment);
	sync_stop(brq);
	sync_stop(prg);
	node_remove(c, prg);
	sync_start(ova);
	run_until(c, fake_has(&c->state, segment, ova->id));
	assert_int_equal(c->state.segments[segment].expect.records, 5);
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, ova, brq, segment);
	assert_int_equal(files_in(brq, "tails"), 0);
	assert_int_equal(files_in(brq, "quarantine"), 1);
	assert_int_equal(quarantined_size(brq), longer);
	tape_end(&g, &seal);
}

/* ... or another is sealed while it lies where copies lie, and this node is away. */
static void writes_over_no_tail_that_lies_where_copies_lie(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	pair_start(c, &prg, &brq);
	struct node *ova = node_add(c, "ova");
	sync_start(ova);
	run_until(c, status_of(ova).scanned_index > 0);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 3, 1000);
	run_until(c, tails_of(ova).bytes == tape_size(c, prg, segment));
	sync_stop(ova);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	sync_stop(prg);
	c->refuse_quorum = INT32_MAX;
	node_remove(c, prg);
	run_until(c, tape_size(c, brq, segment) > 0 && c->refuse_quorum < INT32_MAX);
	uint64_t longer = tape_size(c, brq, segment);
	sync_stop(brq);
	c->refuse_quorum = 0;
	sync_start(ova);
	run_until(c, fake_has(&c->state, segment, ova->id));
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, ova, brq, segment);
	assert_int_equal(files_in(brq, "quarantine"), 1);
	assert_int_equal(quarantined_size(brq), longer);
	tape_end(&g, &seal);
}

static void keeps_aside_what_came_too_late(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	pair_start(c, &prg, &brq);
	size_t segment = seal_without_quorum(c, prg, brq, &g);
	pthread_mutex_lock(&c->state.mutex); /* Somebody else has sealed another tail of it. */
	c->state.open[segment] = false;
	c->state.segments[segment].expect.root[0] ^= 1;
	pthread_mutex_unlock(&c->state.mutex);
	c->refuse_quorum = 0;
	run_until(c, files_in(brq, "quarantine") == 1);
	assert_int_equal(tape_size(c, brq, segment), 0);
	assert_int_equal(c->closes, 0);
	assert_int_equal(tails_of(brq).sealed, 0);
	tape_end(&g, &seal);
}

static void heeds_a_limit_of_its_class(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;

	pair_start(c, &prg, &brq);
	policy_set(c, "  - {to: brq, rate: 100KiB, class: tail}\n");
	run_until(c, status_of(brq).limits_revision == c->state.policy_revision);
	size_t segment = segment_open(c, prg, &g);
	int64_t begin = et_clock_mono_us();
	tape_grow(&g, 32, 16000); /* 512 kB */
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	assert_true(et_clock_mono_us() - begin > 1000000);
	segment_end(c, segment, &g);
	run_until(c, fake_has(&c->state, segment, brq->id));
}

static void is_off_when_it_is_not_asked_for(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;

	pair_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	sync_stop(brq);
	c->tuning.tail_ms = 0;
	sync_start(brq);
	size_t sealed = segment_seal(c, prg, 3, 1000);
	run_until(c, fake_has(&c->state, sealed, brq->id));
	assert_false(tails_of(brq).on);
	run_until(c, tails_of(brq).count == 0 && tails_of(brq).kept == 1);
	segment_end(c, segment, &g); /* What is there from before still serves. */
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
	run_until(c, tails_of(brq).handed_over == 1);
}

/* ---- Sources that lie ---- */

static void asks_no_build_that_does_not_know_tails(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	struct tape_growing g;

	c->tuning.tail_ms = TAIL_MS;
	rogue_start(c, prg, TAIL_UNKNOWN);
	sync_start(brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 5, 1000);
	run_until(c, prg->conn_count == 1 && tails_of(brq).lag_ms > 500);
	assert_int_equal(rogue.asked, 0);
	assert_int_equal(tail_size(c, brq, segment), 0);
	assert_int_equal(prg->conn_count, 1);
	tape_end(&g, &c->state.segments[segment]);
}

static void loses_nothing_to_a_source_that_lies(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	struct tape_growing g;
	struct tape_growing other;
	static const enum tail_rogue lies[] = { TAIL_BEYOND, TAIL_ENTRY, TAIL_OFFSET, TAIL_SHRUNK,
						TAIL_FLIP,   TAIL_DENY,	 TAIL_BUSY };

	c->tuning.tail_ms = TAIL_MS;
	rogue_start(c, prg, TAIL_HEADER);
	tape_begin(prg->media, &other, &rogue.other);
	tape_grow(&other, 5, 1000);
	sync_start(brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(brq).errors > 0);
	assert_int_equal(tail_size(c, brq, segment), 0); /* Not a byte of another tape. */

	rogue.kind = TAIL_TORN; /* Half a record: what is whole before it is kept. */
	rogue.torn = 400;
	run_until(c, tail_size(c, brq, segment) > 0);
	assert_is_prefix(c, prg, brq, segment);
	assert_true(tail_size(c, brq, segment) < tape_size(c, prg, segment) - 400);
	uint64_t good = tail_size(c, brq, segment);
	for (size_t i = 0; i < ET_ARRAY_SIZE(lies); i++) {
		size_t before = rogue.asked;
		rogue.kind = lies[i];
		run_until(c, rogue.asked >= before + 2);
		assert_int_equal(rogue.first, good); /* It asks from where it stands. */
		assert_int_equal(tail_size(c, brq, segment), good);
		rogue.kind = TAIL_HONEST;
		run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
		assert_is_prefix(c, prg, brq, segment);
		good = tail_size(c, brq, segment);
		tape_grow(&g, 1, 1000);
	}
	tape_end(&g, &c->state.segments[segment]);
	tape_end(&other, &rogue.other);
}

static void keeps_what_came_before_a_cut(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	struct tape_growing g[2];
	size_t segments[2];

	c->tuning.tail_ms = TAIL_MS;
	rogue_start(c, prg, TAIL_CUT);
	for (int i = 0; i < 2; i++) {
		segments[i] = segment_open(c, prg, &g[i]);
		tape_grow(&g[i], 5, 1000);
	}
	sync_start(brq);
	/* Each connection brings one of them; who was asked waits behind the other. */
	for (int i = 0; i < 2; i++) {
		run_until(c, tail_size(c, brq, segments[i]) == tape_size(c, prg, segments[i]));
		assert_is_prefix(c, prg, brq, segments[i]);
	}
	for (int i = 0; i < 2; i++) {
		tape_end(&g[i], &c->state.segments[segments[i]]);
	}
}

static void stops_at_any_moment(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	enum { OPEN = 20 };
	static struct tape_growing g[OPEN];
	size_t segments[OPEN];

	c->tuning.tail_ms = 1;
	for (size_t i = 0; i < OPEN; i++) {
		segments[i] = segment_open(c, prg, &g[i]);
	}
	for (int round = 0; round < 12; round++) {
		sync_start(prg);
		sync_start(brq);
		for (size_t i = 0; i < OPEN; i++) {
			tape_grow(&g[i], 3, 16000);
		}
		int64_t until = et_clock_mono_us() + round * 9000;
		run_until(c, et_clock_mono_us() >= until);
		if (round < 10) {
			segment_end(c, segments[round], &g[round]);
			g[round] = (struct tape_growing){ 0 };
			segments[round] = segment_open(c, prg, &g[round]);
		}
		sync_stop(round % 2 == 0 ? prg : brq);
		sync_stop(round % 2 == 0 ? brq : prg);
	}
	sync_start(prg);
	sync_start(brq);
	for (size_t i = 0; i < OPEN; i++) {
		run_until(c, tail_size(c, brq, segments[i]) == tape_size(c, prg, segments[i]));
		assert_is_prefix(c, prg, brq, segments[i]);
		segment_end(c, segments[i], &g[i]);
	}
	run_until(c, c->state.copy_count == 2 * c->state.segment_count);
	run_until(c, is_settled(brq));
	assert_int_equal(files_in(brq, "tails"), 0);
	assert_int_equal(files_in(brq, "incoming"), 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cluster_open, cluster_close)
	const struct CMUnitTest tests[] = {
		TEST(keeps_what_an_open_segment_grows_and_fetches_the_rest),
		TEST(goes_on_after_a_restart_of_either_side),
		TEST(takes_a_tail_that_rotted_for_no_more_than_it_is),
		TEST(tails_more_than_one_question_holds),
		TEST(one_node_of_a_site_tails),
		TEST(keeps_what_it_has_of_a_node_that_is_gone),
		TEST(seals_what_it_has_of_a_node_that_is_gone),
		TEST(waits_for_the_schema_to_seal),
		TEST(gives_way_to_the_seal_of_another),
		TEST(tells_a_seal_again_after_a_kill),
		TEST(closes_what_it_sealed_before_a_kill),
		TEST(keeps_aside_what_came_too_late),
		TEST(keeps_aside_a_tail_that_is_longer_than_the_seal),
		TEST(writes_over_no_tail_that_lies_where_copies_lie),
		TEST(heeds_a_limit_of_its_class),
		TEST(is_off_when_it_is_not_asked_for),
		TEST(asks_no_build_that_does_not_know_tails),
		TEST(loses_nothing_to_a_source_that_lies),
		TEST(keeps_what_came_before_a_cut),
		TEST(stops_at_any_moment),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]); /* One of them, by name. */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
