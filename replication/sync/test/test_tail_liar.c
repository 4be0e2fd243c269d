/* Sources of tails that lie, lack or cut: by a script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replication/sync/test/rogue.h"
#include "replication/sync/test/tails.h"

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
	size_t segment = fake_find(&c->state, t.recording, t.segment);
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

static bool rogue_tail(struct node *n, const struct et_wire_frame *frame, struct et_buffer *out)
{
	struct et_wire_tail first;
	uint32_t window = 0;

	(void)n;
	if (frame->type != ET_WIRE_TAIL) {
		return true;
	}
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

static void liar_start(struct cluster *c, struct node *n, enum tail_rogue kind)
{
	rogue = (struct rogue){ .cluster = c, .node = n, .kind = kind };
	n->rogue_features = kind == TAIL_UNKNOWN ? 0 : ET_WIRE_HELLO_TAILS;
	rogue_listen(n, rogue_tail);
}

/* ---- Tests ---- */

static void asks_no_build_that_does_not_know_tails(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	struct tape_growing g;

	c->tuning.tail_ms = TAIL_MS;
	liar_start(c, prg, TAIL_UNKNOWN);
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
	liar_start(c, prg, TAIL_HEADER);
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
	liar_start(c, prg, TAIL_CUT);
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

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cluster_open, cluster_close)
	const struct CMUnitTest tests[] = {
		TEST(asks_no_build_that_does_not_know_tails),
		TEST(loses_nothing_to_a_source_that_lies),
		TEST(keeps_what_came_before_a_cut),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]); /* One of them, by name. */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
