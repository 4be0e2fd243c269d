#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>

#include "replication/sync/test/kit.h"
#include "replication/sync/test/rogue.h"

/* ---- Rogues ---- */

static struct tape_made *rogue_tape(struct node *n, const struct et_wire_want *want)
{
	struct et_state *s = &n->cluster->state;
	pthread_mutex_lock(&s->mutex);
	size_t i = fake_find(s, want->recording, want->segment);
	assert_true(i < s->segment_count);
	struct tape_made *tape = &s->segments[i];
	pthread_mutex_unlock(&s->mutex);
	return tape;
}

static void rogue_leaves(struct node *n, const char *path, uint64_t stream, struct et_buffer *out)
{
	struct et_tape_source source;
	struct et_tape_header header;
	struct et_tape_seal seal;

	assert_int_equal(et_tape_source_open(path, &source, NULL), 0);
	assert_int_equal(et_tape_footer_read(&source, &header, &seal, NULL), 0);
	uint8_t *leaves = malloc(seal.records * 32);
	assert_int_equal(et_tape_leaves_read(&source, &seal, 0, seal.records, leaves, NULL), 0);
	et_tape_source_close(&source);
	if (n->rogue == ROGUE_LEAVES) {
		leaves[5] ^= 1;
	}
	et_wire_add_leaves(out, stream, 0, (uint32_t)seal.records, 0, (uint32_t)seal.records,
			   leaves);
	free(leaves);
}

/* false: the connection ends here. */
static bool rogue_data(struct node *n, const uint8_t *bytes, size_t size, uint64_t offset,
		       uint64_t stream, struct et_buffer *out)
{
	size_t end = n->rogue == ROGUE_SHORT && n->rogue_at < size ? n->rogue_at : size;
	size_t sent = 0;

	for (size_t at = (size_t)offset; at < end;) {
		size_t part = end - at < 60000 ? end - at : 60000;
		if (n->rogue == ROGUE_CUT && sent + part > n->rogue_at) {
			part = n->rogue_at - sent;
		}
		if (part > 0) {
			et_wire_add_header(out, ET_WIRE_DATA, 0, 0, stream, 8 + part);
			et_buffer_add64(out, at);
			et_buffer_add(out, bytes + at, part);
		}
		at += part;
		sent += part;
		if (n->rogue == ROGUE_CUT && sent >= n->rogue_at) {
			return false;
		}
	}
	if (n->rogue == ROGUE_MORE) {
		et_wire_add_header(out, ET_WIRE_DATA, 0, 0, stream, 8 + 4);
		et_buffer_add64(out, size);
		et_buffer_add(out, "more", 4);
	}
	return true;
}

static bool rogue_serve(struct node *n, const struct et_wire_frame *frame, struct et_buffer *out)
{
	struct et_wire_want want;
	char path[600];
	uint8_t *bytes = NULL;

	assert_true(et_wire_read_want(frame->body, &want));
	n->wants++;
	if (n->rogue == ROGUE_ERROR) {
		et_wire_add_error(out, frame->stream, ET_ENOTFOUND, "not here");
		return true;
	}
	if (n->rogue == ROGUE_BUSY) {
		et_wire_add_busy(out, frame->stream, 10);
		return true;
	}
	const struct tape_made *tape = rogue_tape(n, &want);
	(void)snprintf(path, sizeof(path), "%s/%s", n->media, tape->file);
	if ((frame->flags & ET_WIRE_WANT_LEAVES) != 0) {
		rogue_leaves(n, path, frame->stream, out);
	}
	bool go_on = true;
	size_t size = file_load(path, &bytes);
	if ((frame->flags & ET_WIRE_WANT_DATA) != 0) {
		n->offsets[n->data_wants++ % 256] = want.offset;
		if (n->rogue == ROGUE_CORRUPT && n->rogue_at < size) {
			bytes[n->rogue_at] ^= 0x20;
		}
		go_on = rogue_data(n, bytes, size, want.offset, frame->stream, out);
	}
	free(bytes);
	if (go_on) {
		struct et_wire_eof eof = { .size_bytes = size };
		memcpy(eof.root, want.root, 32);
		et_wire_add_eof(out, frame->stream, 0, &eof);
	}
	return go_on;
}

/* Frames that are no WANT are taken and not answered. */
static bool rogue_answer(struct node *n, const struct et_wire_frame *frame, struct et_buffer *out)
{
	if (frame->type != ET_WIRE_WANT) {
		return true;
	}
	if (n->rogue == ROGUE_GARBAGE) {
		et_buffer_printf(out, "HTTP/1.1 400 Bad Request, and so on and so on\r\n");
		return true;
	}
	return rogue_serve(n, frame, out);
}

static void rogue_start(struct node *n, enum rogue_kind kind, size_t at)
{
	n->rogue = kind;
	n->rogue_at = at;
	rogue_listen(n, rogue_answer);
}

/* ---- Tests ---- */

static void brings_a_sealed_segment_to_the_other_site(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	sync_start(prg);
	sync_start(brq);
	size_t segment = segment_seal(c, prg, 20, 16000);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
	run_until(c, is_settled(brq) && is_settled(prg));
	assert_int_equal(files_in(brq, "incoming"), 0);
	assert_int_equal(site_of(brq, "prg").received_segments, 1);
	assert_true(site_of(brq, "prg").received_bytes >=
		    c->state.segments[segment].expect.size_bytes);
	assert_int_equal(site_of(brq, "prg").errors, 0);
	assert_int_equal(c->proposals, 1);
}

static void finds_by_itself_what_was_sealed_before_it_started(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	sync_start(prg);
	size_t segment = segment_seal(c, prg, 3, 1000);
	size_t empty = segment_seal(c, prg, 0, 0);		 /* a call without media */
	run_until(c, site_of(prg, "brq").pending_segments == 2); /* Lag shows at every node. */
	assert_true(site_of(prg, "brq").pending_bytes > 3000);
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id) && fake_has(&c->state, empty, brq->id));
	assert_same_file(c, prg, brq, segment);
	assert_same_file(c, prg, brq, empty);
	run_until(c, is_settled(prg));
}

static void heeds_what_was_taken_of_a_partly_refused_command(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	sync_start(prg);
	sync_start(brq);
	size_t first = segment_seal(c, prg, 5, 16000);
	run_until(c, fake_has(&c->state, first, brq->id)); /* The first scans are over. */
	c->result_code = ET_EDEGRADED;
	size_t second = segment_seal(c, prg, 5, 16000);
	run_until(c, fake_has(&c->state, second, brq->id));
	assert_same_file(c, prg, brq, second);
}

static void looks_again_when_the_state_has_jumped(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	sync_start(prg);
	sync_start(brq);
	run_until(c, is_settled(brq));
	/* brq gets a checkpoint: nobody tells it of the single commands. */
	struct et_sync *sync = ET_TAKE(brq->sync);
	size_t segment = segment_seal(c, prg, 3, 1000);
	brq->sync = sync;
	assert_false(fake_has(&c->state, segment, brq->id));
	et_sync_on_replaced(brq->sync);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
}

static void moves_many_both_ways_with_one_fetcher_each(void **state)
{
	struct cluster *c = *state;
	struct node *nodes[4];
	enum { SEGMENTS = 60 };

	c->tuning.stand_in_ms = DEADLINE_MS;
	for (size_t i = 0; i < 4; i++) {
		nodes[i] = node_add(c, i < 2 ? "prg" : "brq");
	}
	for (size_t i = 0; i < 4; i++) {
		sync_start(nodes[i]);
	}
	for (size_t i = 0; i < SEGMENTS; i++) {
		(void)segment_seal(c, nodes[i % 4], 1 + (uint32_t)(i % 9), 5000);
	}
	run_until(c, c->state.copy_count == (size_t)(2 * SEGMENTS));
	for (size_t i = 0; i < 4; i++) {
		run_until(c, is_settled(nodes[i]));
	}
	assert_int_equal(c->state.copy_count, 2 * SEGMENTS); /* Nobody fetched twice. */
	for (size_t i = 0; i < SEGMENTS; i++) {
		for (size_t k = 0; k < 4; k++) {
			if (fake_has(&c->state, i, nodes[k]->id)) {
				assert_same_file(c, nodes[i % 4], nodes[k], i);
			}
		}
	}
}

static void goes_on_where_a_cut_connection_left_off(void **state)
{
	struct cluster *c = *state;
	struct node *rogue = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	/* Every connection breaks after 3 records and a half; each next one goes on behind them. */
	rogue_start(rogue, ROGUE_CUT, 3500);
	sync_start(brq);
	size_t segment = segment_seal(c, rogue, 40, 1000);
	run_until(c, rogue->data_wants >= 6);
	assert_int_equal(rogue->offsets[0], 0);
	for (size_t i = 1; i < 6; i++) {
		assert_true(rogue->offsets[i] > rogue->offsets[i - 1] + 2000);
	}
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, rogue, brq, segment);
	assert_true(site_of(brq, "prg").received_bytes <
		    c->state.segments[segment].expect.size_bytes + 20 * 1100);
}

static void goes_on_from_any_offset_after_a_restart(void **state)
{
	struct cluster *c = *state;
	struct node *rogue = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	for (size_t at = 0; at < 10000; at += 797) {
		rogue_start(rogue, ROGUE_CUT, at);
		rogue->wants = 0;
		c->tuning.backoff_ms = 60000; /* One attempt, then it waits. */
		sync_start(brq);
		size_t segment = segment_seal(c, rogue, 10, 1000);
		run_until(c, site_of(brq, "prg").errors > 0);
		sync_stop(brq);
		assert_false(fake_has(&c->state, segment, brq->id));

		rogue->rogue = ROGUE_HONEST;
		rogue->wants = rogue->data_wants = 0;
		sync_start(brq);
		run_until(c, fake_has(&c->state, segment, brq->id));
		assert_same_file(c, rogue, brq, segment);
		sync_stop(brq);
		if (at > 1200) { /* Leaf hashes alone, then what is missing. */
			assert_int_equal(rogue->wants, 2);
			assert_true(rogue->offsets[0] > at - 1200 && rogue->offsets[0] <= at);
		}
	}
}

static void asks_the_next_source_when_one_lies(void **state)
{
	struct cluster *c = *state;
	struct node *rogue = node_add(c, "prg"); /* the owner: it is asked first */
	struct node *honest = node_add(c, "ova");
	struct node *brq = node_add(c, "brq");
	static const struct {
		enum rogue_kind kind;
		size_t at;
	} lies[] = { { ROGUE_CORRUPT, 3 },
		     { ROGUE_CORRUPT, 150 },
		     { ROGUE_CORRUPT, 170 },
		     { ROGUE_CORRUPT, 9000 },
		     { ROGUE_CORRUPT, 10400 } /* footer */,
		     { ROGUE_SHORT, 0 },
		     { ROGUE_SHORT, 5000 },
		     { ROGUE_LEAVES, 0 },
		     { ROGUE_MORE, 0 },
		     { ROGUE_ERROR, 0 },
		     { ROGUE_BUSY, 0 },
		     { ROGUE_GARBAGE, 0 } };

	sync_start(honest);
	sync_start(brq);
	for (size_t i = 0; i < ET_ARRAY_SIZE(lies); i++) {
		rogue_start(rogue, ROGUE_ERROR, 0);
		size_t segment = segment_seal(c, rogue, 10, 1000);
		/* The honest node holds it already. */
		char from[600];
		char to[600];
		uint8_t *bytes = NULL;
		path_of(c, rogue, segment, from);
		path_of(c, honest, segment, to);
		size_t size = file_load(from, &bytes);
		char *slash = strrchr(to, '/');
		*slash = '\0';
		assert_int_equal(et_file_mkdirs(to, NULL), 0);
		*slash = '/';
		rogue->rogue = lies[i].kind;
		rogue->rogue_at = lies[i].at;
		assert_int_equal(et_file_publish(to, bytes, size, 0600, NULL), 0);
		free(bytes);
		fake_copy_set(&c->state, segment, honest->id, ET__COPY__STATE__VERIFIED);
		run_until(c, fake_has(&c->state, segment, brq->id));
		assert_same_file(c, honest, brq, segment);
	}
	assert_true(rogue->wants >= ET_ARRAY_SIZE(lies) / 2);
	assert_true(site_of(brq, "prg").errors > 0);
	run_until(c, is_settled(brq));
	assert_int_equal(files_in(brq, "incoming"), 0);
}

static void publishes_nothing_when_the_only_source_lies(void **state)
{
	struct cluster *c = *state;
	struct node *rogue = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	char path[600];
	struct stat st;

	rogue_start(rogue, ROGUE_CORRUPT, 5000);
	sync_start(brq);
	size_t segment = segment_seal(c, rogue, 10, 1000);
	run_until(c, rogue->wants >= 5); /* It tries again and again, */
	assert_false(fake_has(&c->state, segment, brq->id));
	path_of(c, brq, segment, path);
	assert_int_equal(stat(path, &st), -1);
	run_until(c, strstr(site_of(brq, "prg").last_error, "is not what was recorded") != NULL);
	rogue->rogue = ROGUE_HONEST; /* and the day it is told the truth, all is well. */
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, rogue, brq, segment);
}

static void repeats_an_acknowledgement_with_its_op_id(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	c->refuse_quorum = 3;
	sync_start(prg);
	sync_start(brq);
	size_t segment = segment_seal(c, prg, 2, 100);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_int_equal(c->proposals, 4);
	assert_true(c->same_op);
	run_until(c, is_settled(brq));
}

static void takes_up_a_file_whose_acknowledgement_was_lost(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	c->refuse_quorum = 1000000;
	sync_start(prg);
	sync_start(brq);
	size_t segment = segment_seal(c, prg, 2, 100);
	run_until(c, c->proposals > 0);
	sync_stop(brq); /* It dies before a quorum was there, */
	sync_stop(prg); /* and the source is gone when it comes back. */
	c->refuse_quorum = 0;
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
}

static void stands_in_for_a_node_that_does_not_fetch(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *one = node_add(c, "brq");
	struct node *two = node_add(c, "brq");

	(void)one; /* It is in the catalogue, and its service does not run. */
	sync_start(prg);
	sync_start(two);
	for (size_t i = 0; i < 8; i++) {
		size_t segment = segment_seal(c, prg, 1, 100);
		run_until(c, fake_has(&c->state, segment, two->id));
	}
}

static void stops_at_a_full_disk_and_says_so(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	struct rlimit old;
	char path[600];
	struct stat st;

	size_t segment = segment_seal(c, prg, 20, 16000);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	struct rlimit low = { .rlim_cur = 100000, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	sync_start(prg);
	sync_start(brq);
	run_until(c, status_of(brq).disk_full);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_false(fake_has(&c->state, segment, brq->id));
	path_of(c, brq, segment, path);
	assert_int_equal(stat(path, &st), -1);
	run_until(c, site_of(prg, "brq").pending_segments == 1);

	/* With room again (and after its pause, which a restart cuts short) it goes on. */
	sync_stop(brq);
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
}

/* ---- For listeners ---- */

static void brings_a_segment_to_a_listener(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *two = node_add(c, "prg"); /* its site has a copy: it keeps none itself */
	struct fetched f;
	struct fetched g;
	char own[600];

	sync_start(prg);
	sync_start(two);
	size_t segment = segment_seal(c, prg, 30, 9000);
	fetch(c, prg, segment, &f);
	run_until(c, is_fetched(&f, 1));
	path_of(c, prg, segment, own);
	assert_int_equal(f.code, 0);
	assert_string_equal(f.path, own);

	fetch(c, two, segment, &f); /* Two who want the same: one transfer. */
	fetch(c, two, segment, &g);
	run_until(c, is_fetched(&f, 1) && is_fetched(&g, 1));
	assert_int_equal(f.code, 0);
	assert_int_equal(g.code, 0);
	assert_string_equal(f.path, g.path);
	assert_non_null(strstr(f.path, "/cache/"));
	uint8_t *x = NULL;
	uint8_t *y = NULL;
	size_t size = file_load(own, &x);
	assert_int_equal(file_load(f.path, &y), size);
	assert_memory_equal(x, y, size);
	free(x);
	free(y);
	assert_int_equal(c->proposals, 0); /* What is cached is no copy. */

	uint64_t before = site_of(two, "prg").received_segments;
	fetch(c, two, segment, &f);
	run_until(c, is_fetched(&f, 1));
	assert_int_equal(f.code, 0);
	assert_int_equal(site_of(two, "prg").received_segments, before);
}

static void tells_a_listener_why_not(void **state)
{
	struct cluster *c = *state;
	struct node *rogue = node_add(c, "prg");
	struct node *two = node_add(c, "prg");
	struct fetched f;
	static const uint8_t nobody[16] = { 1 };

	rogue_start(rogue, ROGUE_CORRUPT, 2000);
	sync_start(two);
	size_t segment = segment_seal(c, rogue, 5, 1000);
	fetch(c, two, segment, &f);
	run_until(c, is_fetched(&f, 1));
	assert_int_equal(f.code, ET_EINTEGRITY);
	assert_non_null(strstr(f.text, "record"));

	f = (struct fetched){ 0 };
	assert_int_equal(et_sync_fetch(two->sync, nobody, 1, 1, on_fetched, &f), 0);
	run_until(c, is_fetched(&f, 1));
	assert_int_equal(f.code, ET_ENOTFOUND);

	rogue->rogue = ROGUE_GARBAGE;
	fetch(c, two, segment, &f);
	run_until(c, is_fetched(&f, 1));
	assert_int_equal(f.code, ET_EUNREACHABLE);

	/* Only the archive has it. */
	fake_copy_set(&c->state, segment, rogue->id, ET__COPY__STATE__EVICTED);
	pthread_mutex_lock(&c->state.mutex);
	c->state.copies[c->state.copy_count++] =
		(struct fake_copy){ .segment = segment, .archived = true };
	pthread_mutex_unlock(&c->state.mutex);
	fetch(c, two, segment, &f);
	run_until(c, is_fetched(&f, 1));
	assert_int_equal(f.code, ET_ENOTFOUND);
	assert_int_equal(f.path[0], '\0');
}

/* ---- Bit rot ---- */

static void finds_bit_rot_names_the_record_and_heals(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	struct checked k;
	char path[600];

	sync_start(prg);
	sync_start(brq);
	size_t segment = segment_seal(c, prg, 10, 1000);
	run_until(c, fake_has(&c->state, segment, brq->id) && is_settled(brq));
	check(c, brq, segment, &k);
	assert_int_equal(k.code, 0);
	assert_int_equal(k.count, 1);
	assert_int_equal(k.first.code, 0);

	path_of(c, brq, segment, path);
	flip(path, 160 + 3 * 1020 + 500); /* in record 3, or so */
	check(c, brq, segment, &k);
	assert_int_equal(k.code, ET_EINTEGRITY);
	assert_int_equal(k.first.code, ET_EINTEGRITY);
	assert_string_equal(k.first.file, c->state.segments[segment].file);
	assert_in_range(k.first.record, 2, 4);
	assert_true(k.first.text[0] != '\0');
	assert_int_equal(files_in(brq, "quarantine"), 1);
	assert_int_equal(strncmp(k.first.quarantine, "quarantine/", 11), 0);

	/* The catalogue learns it, and the other site heals it. */
	run_until(c, c->bad_proposals == 1 && fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
	check(c, brq, segment, &k);
	assert_int_equal(k.code, 0);
	assert_int_equal(files_in(brq, "quarantine"), 1);

	/* A file that is gone is bad too. */
	run_until(c, is_settled(brq));
	assert_int_equal(unlink(path), 0);
	check(c, brq, segment, &k);
	assert_int_equal(k.code, ET_EINTEGRITY);
	assert_int_equal(k.first.code, ET_ENOTFOUND);
	run_until(c, c->bad_proposals == 2 && fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);

	static const uint8_t nobody[16] = { 1 };
	k = (struct checked){ 0 };
	assert_int_equal(et_sync_check_local(brq->sync, nobody, on_checked, &k), 0);
	run_until(c, is_checked(&k));
	assert_int_equal(k.code, ET_ENOTFOUND);
}

/* ---- Limits and ends ---- */

static void keeps_to_the_rate_of_a_site(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	sync_start(prg);
	sync_start(brq);
	assert_int_equal(et_sync_set_rate(prg->sync, "brq", 400000), 0);
	run_until(c, site_of(prg, "brq").rate_limit == 400000);
	int64_t begin = et_clock_mono_us();
	size_t segment = segment_seal(c, prg, 50, 16000); /* 800 kB: two seconds */
	run_until(c, fake_has(&c->state, segment, brq->id));
	int64_t took = et_clock_mono_us() - begin;
	assert_true(took > 1000000); /* It may begin with a burst of half of it. */
	assert_same_file(c, prg, brq, segment);
}

static void stops_at_any_moment(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	struct fetched f = { 0 };
	size_t last = 0;

	for (int round = 0; round < 12; round++) {
		sync_start(prg);
		sync_start(brq);
		for (int i = 0; i < 4; i++) {
			last = segment_seal(c, prg, 10, 16000);
		}
		fetch(c, brq, last, &f);
		int64_t until = et_clock_mono_us() + round * 3000;
		run_until(c, et_clock_mono_us() >= until);
		sync_stop(round % 2 == 0 ? prg : brq);
		sync_stop(round % 2 == 0 ? brq : prg);
		assert_int_equal(f.calls, 1); /* Once, whatever came first. */
	}
	sync_start(prg);
	sync_start(brq);
	run_until(c, c->state.copy_count == 2 * c->state.segment_count);
	assert_same_file(c, prg, brq, last);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cluster_open, cluster_close)
	const struct CMUnitTest tests[] = {
		TEST(brings_a_sealed_segment_to_the_other_site),
		TEST(heeds_what_was_taken_of_a_partly_refused_command),
		TEST(finds_by_itself_what_was_sealed_before_it_started),
		TEST(looks_again_when_the_state_has_jumped),
		TEST(moves_many_both_ways_with_one_fetcher_each),
		TEST(goes_on_where_a_cut_connection_left_off),
		TEST(goes_on_from_any_offset_after_a_restart),
		TEST(asks_the_next_source_when_one_lies),
		TEST(publishes_nothing_when_the_only_source_lies),
		TEST(repeats_an_acknowledgement_with_its_op_id),
		TEST(takes_up_a_file_whose_acknowledgement_was_lost),
		TEST(stands_in_for_a_node_that_does_not_fetch),
		TEST(stops_at_a_full_disk_and_says_so),
		TEST(brings_a_segment_to_a_listener),
		TEST(tells_a_listener_why_not),
		TEST(finds_bit_rot_names_the_record_and_heals),
		TEST(keeps_to_the_rate_of_a_site),
		TEST(stops_at_any_moment),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]); /* One of them, by name. */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
