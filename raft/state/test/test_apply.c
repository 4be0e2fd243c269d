/* Commands of recordings, copies, nodes and time: taken, refused, repeated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/state_internal.h"
#include "raft/state/test/kit.h"

static void nothing_happens_before_the_cluster_is_made(void **state)
{
	struct kit *k = *state;
	const struct kit_call call = { .id = 5, .start_us = 1700000000000000 };

	assert_int_equal(kit_open_call(k, 1, &call), ET_EUNINITIALISED);
	assert_int_equal(kit_tick(k, 1700000000000000), ET_EUNINITIALISED);
	assert_int_equal(kit_cluster_init(k), 0);
	assert_int_equal(k->result->number, 1);
	assert_int_equal(kit_cluster_init(k), ET_EEXISTS);
	assert_int_equal(kit_open_call(k, 1, &call), 0);
}

static void nodes_join_once_with_a_good_token(void **state)
{
	struct kit *k = *state;

	assert_int_equal(kit_cluster_init(k), 0);
	assert_int_equal(kit_node_join(k, 900, 2, 2), ET_EDENIED); /* no such token */
	assert_int_equal(kit_token_add(k, 900, 1, INT64_C(1700000100000000)), 0);
	assert_int_equal(kit_token_add(k, 900, 1, INT64_C(1700000100000000)), ET_EEXISTS);
	assert_int_equal(kit_node_join(k, 900, 7, 2), ET_ESTALE); /* not the next id */
	assert_int_equal(kit_node_join(k, 900, 2, 2), 0);
	assert_int_equal(k->result->number, 2);
	assert_int_equal(kit_node_join(k, 900, 2, 2), 0); /* the same request */
	assert_int_equal(k->result->number, 2);
	assert_int_equal(kit_node_join(k, 900, 3, 3), ET_EDENIED); /* used up */
	assert_int_equal(kit_token_add(k, 901, 5, INT64_C(1700000100000000)), 0);
	assert_int_equal(kit_tick(k, INT64_C(1700000100000000)), 0);
	assert_int_equal(kit_node_join(k, 901, 3, 3), ET_EDENIED); /* expired */
}

static void tokens_can_be_revoked(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__TokenRevoke revoke = ET__TOKEN_REVOKE__INIT;

	assert_int_equal(kit_cluster_init(k), 0);
	assert_int_equal(kit_token_add(k, 900, 10, INT64_C(1800000000000000)), 0);
	revoke.id = kit_id(901);
	c.body_case = ET__COMMAND__BODY_TOKEN_REVOKE;
	c.token_revoke = &revoke;
	assert_int_equal(kit_apply(k, &c), ET_ENOTFOUND);
	revoke.id = kit_id(900);
	assert_int_equal(kit_apply(k, &c), 0);
	assert_int_equal(kit_node_join(k, 900, 2, 2), ET_EDENIED);
}

/* ---- Recordings ---- */

static Et__Recording *recording_read(struct kit *k, uint64_t id)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Recording *r = NULL;

	assert_non_null(v);
	assert_int_equal(et_state_get_recording(v, kit_id(id).data, &r), 0);
	(void)et_state_view_close(v);
	return r;
}

/* A recording with one stream that saw `packets`, and one gap. */
struct told {
	Et__Recording r;
	Et__Stream stream;
	Et__Stream *streams[1];
	Et__Gap gap;
	Et__Gap *gaps[1];
	char texts[4][16];
};

static void told_make(struct told *t, uint64_t id, uint32_t ssrc, uint64_t packets)
{
	et__recording__init(&t->r);
	et__stream__init(&t->stream);
	et__gap__init(&t->gap);
	(void)snprintf(t->texts[0], sizeof(t->texts[0]), "paused");
	t->stream.ssrc = ssrc;
	t->stream.packets = packets;
	t->gap.from_us = ssrc;
	t->gap.to_us = ssrc + 5;
	t->gap.cause = t->texts[0];
	t->streams[0] = &t->stream;
	t->gaps[0] = &t->gap;
	t->r.id = kit_id(id);
	t->r.streams = t->streams;
	t->r.n_streams = 1;
	t->r.gaps = t->gaps;
	t->r.n_gaps = 1;
}

/* What a node may not say of a recording: apply alone sets it. */
static void say_what_apply_sets(struct told *t, Et__Redaction *d, Et__Redaction **list)
{
	et__redaction__init(d);
	d->done_index = 9;
	list[0] = d;
	t->r.redactions = list;
	t->r.n_redactions = 1;
	t->r.opened_index = UINT64_MAX;
	t->r.ended_us = INT64_C(1);
	t->r.erased_us = 7;
	t->r.erased_index = 8;
	t->r.erased_audit = 9;
	t->r.state = ET__RECORDING_STATE__ERASED;
}

static void assert_apply_set_it(struct kit *k, uint64_t id, Et__RecordingState state,
				uint64_t opened_index, int64_t ended_us)
{
	Et__Recording *r = recording_read(k, id);

	assert_int_equal(r->state, state);
	assert_int_equal(r->opened_index, opened_index);
	assert_int_equal(r->ended_us, ended_us);
	assert_int_equal(r->erased_us, 0);
	assert_int_equal(r->erased_index, 0);
	assert_int_equal(r->erased_audit, 0);
	assert_int_equal(r->n_redactions, 0);
	et__recording__free_unpacked(r, NULL);
}

static void what_apply_sets_no_node_can_tell(void **state)
{
	const int64_t now_us = INT64_C(1700000000000000);
	struct kit *k = *state;
	struct told t;
	Et__Redaction d;
	Et__Redaction *list[1];
	Et__Stream *twice[2] = { &t.stream, &t.stream };

	kit_cluster(k);
	assert_int_equal(kit_tick(k, now_us), 0);
	for (uint64_t id = 5; id < 7; id++) { /* as it is; folded, for a stream is told twice */
		told_make(&t, id, 1, 100);
		if (id == 6) {
			t.r.streams = twice;
			t.r.n_streams = 2;
		}
		say_what_apply_sets(&t, &d, list);
		assert_int_equal(kit_tell_recording(k, 2, KIT_OPEN, &t.r), 0);
		uint64_t opened = k->index;
		assert_apply_set_it(k, id, ET__RECORDING_STATE__CAPTURING, opened, 0);
		assert_int_equal(kit_tell_recording(k, 2, KIT_UPDATE, &t.r), 0);
		assert_apply_set_it(k, id, ET__RECORDING_STATE__CAPTURING, opened, 0);
		assert_int_equal(kit_tell_recording(k, 2, KIT_CLOSE, &t.r), 0);
		assert_apply_set_it(k, id, ET__RECORDING_STATE__SEALED, opened, now_us);
	}
	told_make(&t, 7, 1, 100); /* its close comes first */
	say_what_apply_sets(&t, &d, list);
	assert_int_equal(kit_tell_recording(k, 2, KIT_CLOSE, &t.r), 0);
	assert_apply_set_it(k, 7, ET__RECORDING_STATE__SEALED, k->index, now_us);
}

static void a_recording_is_opened_updated_and_closed(void **state)
{
	struct kit *k = *state;
	const struct kit_call call = { 5, 1700000000000000, "100", "200", "abc@host", 6 };
	struct told t;

	kit_cluster(k);
	assert_int_equal(kit_open_call(k, 2, &call), 0);
	assert_int_equal(kit_open_call(k, 2, &call), 0); /* another op, the same recording */
	assert_int_equal(kit_open_call(k, 3, &call), ET_EDENIED);
	assert_int_equal(kit_counts(k).recordings, 1);
	assert_int_equal(kit_counts(k).capturing, 1);

	told_make(&t, 5, 1, 100);
	assert_int_equal(kit_tell_recording(k, 2, KIT_UPDATE, &t.r), 0);
	told_make(&t, 5, 2, 50);
	t.r.end_us = 1700000009000000;
	assert_int_equal(kit_tell_recording(k, 2, KIT_CLOSE, &t.r), 0);
	told_make(&t, 5, 1, 70); /* overtaken by the close: older than what is known */
	(void)snprintf(t.texts[1], sizeof(t.texts[1]), "300");
	t.r.from = t.texts[1];
	assert_int_equal(kit_tell_recording(k, 2, KIT_UPDATE, &t.r), 0);
	told_make(&t, 5, 3, 10); /* overtaken, too, but nobody else told of this stream */
	assert_int_equal(kit_tell_recording(k, 2, KIT_UPDATE, &t.r), 0);

	Et__Recording *r = recording_read(k, 5);
	assert_int_equal(r->state, ET__RECORDING_STATE__SEALED);
	assert_string_equal(r->from, "100");
	assert_string_equal(r->site, "site-0");
	assert_int_equal(r->node, 2);
	assert_int_equal(r->end_us, 1700000009000000);
	assert_int_equal(r->n_streams, 3);
	assert_int_equal(r->streams[0]->packets, 100);
	assert_int_equal(r->n_gaps, 3);
	et__recording__free_unpacked(r, NULL);
	assert_int_equal(kit_counts(k).capturing, 0);
	assert_int_equal(kit_counts(k).sealed, 1);
	assert_int_equal(kit_counts(k).recordings, 1);
}

static int tell_session(struct kit *k, uint32_t revision, const char *name)
{
	struct told t;
	Et__Session session = ET__SESSION__INIT;
	Et__Participant who = ET__PARTICIPANT__INIT;
	Et__Participant *list[1] = { &who };

	told_make(&t, 5, 1, 100);
	(void)snprintf(t.texts[1], sizeof(t.texts[1]), "%s", name);
	(void)snprintf(t.texts[2], sizeof(t.texts[2]), "+420333");
	who.name = t.texts[1];
	who.number = t.texts[2];
	session.revision = revision;
	session.participants = list;
	session.n_participants = 1;
	t.r.session = &session;
	return kit_tell_recording(k, 2, KIT_UPDATE, &t.r);
}

/* What a recording client says of its session: the newest counts, also where an older one comes
 * later, and what does not speak of it takes nothing away. */
static void the_newest_session_counts(void **state)
{
	struct kit *k = *state;
	const struct kit_call call = { 5, 1700000000000000, "100", "200", "abc@host", 6 };
	struct told t;

	kit_cluster(k);
	assert_int_equal(kit_open_call(k, 2, &call), 0);
	assert_int_equal(tell_session(k, 2, "Eve"), 0);
	assert_int_equal(tell_session(k, 1, "Ann"), 0);
	told_make(&t, 5, 1, 200);
	assert_int_equal(kit_tell_recording(k, 2, KIT_CLOSE, &t.r), 0);

	Et__Recording *r = recording_read(k, 5);
	assert_non_null(r->session);
	assert_int_equal(r->session->revision, 2);
	assert_int_equal(r->session->n_participants, 1);
	assert_string_equal(r->session->participants[0]->name, "Eve");
	et__recording__free_unpacked(r, NULL);
	assert_int_equal(tell_session(k, 3, "Joe"), 0); /* overtaken by the close */
	r = recording_read(k, 5);
	assert_string_equal(r->session->participants[0]->name, "Joe");
	et__recording__free_unpacked(r, NULL);
}

/* Whether a recording is there is not asked of the database when its id is above all others: before
 * and after a start, and in a database that takes the place of another, whatever the order in which
 * ids come. */
static void ids_come_in_any_order(void **state)
{
	static const uint64_t ids[] = { 50, 10, 90, 70, 95 };
	struct kit *k = *state;
	char path[128];
	uint64_t at;

	kit_cluster(k);
	for (size_t round = 0; round < 2; round++) {
		for (size_t i = 0; i < ET_ARRAY_SIZE(ids); i++) {
			const struct kit_call call = { ids[i] + round, 1700000000000000,
						       "100",	       "200",
						       NULL,	       0 };
			for (int again = 0; again < 2; again++) {
				assert_int_equal(kit_open_call(k, 2, &call), 0);
				assert_int_equal(kit_open_call(k, 3, &call), ET_EDENIED);
				assert_int_equal(kit_counts(k).recordings,
						 round * ET_ARRAY_SIZE(ids) + i + 1);
			}
		}
		assert_int_equal(et_state_flush(k->s, NULL), 0);
		k->s = et_state_close(k->s);
		k->s = kit_open(k->db);
	}
	(void)snprintf(path, sizeof(path), "%s/checkpoint", k->folder);
	assert_int_equal(et_state_checkpoint(k->s, path, &at, NULL), 0);
	k->s = et_state_close(k->s);
	(void)snprintf(k->db, sizeof(k->db), "%s/other", k->folder);
	k->s = kit_open(k->db); /* It has none. */
	assert_int_equal(et_state_replace(k->s, path, NULL), 0);
	for (size_t i = 0; i < ET_ARRAY_SIZE(ids); i++) {
		const struct kit_call call = { ids[i], 1700000000000000, "100", "200", NULL, 0 };
		assert_int_equal(kit_open_call(k, 3, &call), ET_EDENIED);
	}
	assert_int_equal(kit_counts(k).recordings, 2 * ET_ARRAY_SIZE(ids));
}

/* Open, update, close of a recording, open and seal of its segment: any order, same content. */
static void create_commands_may_come_in_any_order(void **state)
{
	struct kit *k = *state;
	uint64_t id = 100;
	uint8_t first[512];
	size_t first_size = 0;

	kit_cluster(k);
	for (unsigned order = 0; order < 120; order++, id++) {
		unsigned left[5] = { 0, 1, 2, 3, 4 };
		unsigned rest = order;
		for (unsigned n = 5; n > 0; n--) {
			struct told t;
			const struct kit_call call = { id, 1700000000000000, "100", "200", "x", 6 };
			unsigned step = left[rest % n];
			left[rest % n] = left[n - 1];
			rest /= n;
			told_make(&t, id, 1, step == 1 ? 10 : 20);
			t.r.end_us = step == 2 ? 1700000009000000 : 0;
			int rc = step == 0   ? kit_open_call(k, 2, &call)
				 : step == 1 ? kit_tell_recording(k, 2, KIT_UPDATE, &t.r)
				 : step == 2 ? kit_tell_recording(k, 2, KIT_CLOSE, &t.r)
				 : step == 3 ? kit_segment_open(k, 2, id, 1)
					     : kit_segment_seal(k, 2, id, 1,
								ET__SEGMENT_STATE__SEGMENT_SEALED,
								7, 3);
			assert_int_equal(rc, 0);
		}
		struct et_state_view *v = et_state_view_open(k->s);
		Et__Recording *r = NULL;
		Et__Segment *g = NULL;
		assert_non_null(v);
		assert_int_equal(et_state_get_recording(v, kit_id(id).data, &r), 0);
		assert_int_equal(et_state_get_segment(v, kit_id(id).data, 1, 1, &g), 0);
		assert_non_null(g->wrap);
		assert_string_not_equal(g->file, "");
		assert_int_equal(g->state, ET__SEGMENT_STATE__SEGMENT_SEALED);
		r->opened_index = 0;
		memset(r->id.data, 0, 16);
		uint8_t packed[512];
		size_t size = et__recording__get_packed_size(r);
		assert_true(size <= sizeof(packed));
		(void)et__recording__pack(r, packed);
		if (order == 0) {
			memcpy(first, packed, size);
			first_size = size;
		}
		assert_int_equal(size, first_size);
		assert_memory_equal(packed, first, size);
		et__recording__free_unpacked(r, NULL);
		et__segment__free_unpacked(g, NULL);
		(void)et_state_view_close(v);
	}
	assert_int_equal(kit_counts(k).copies, 120);
	assert_int_equal(kit_counts(k).sealed, 120);
}

/* ---- Segments and copies ---- */

static int copy_find(void *arg, const Et__Copy *c)
{
	Et__Copy *wanted = arg;

	if (strcmp(c->place, wanted->place) == 0) {
		wanted->state = c->state;
		wanted->size_bytes = c->size_bytes;
		wanted->offset = 1; /* found */
	}
	return 0;
}

static Et__Copy__State copy_state(struct kit *k, uint64_t recording, const char *place)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Copy wanted;

	assert_non_null(v);
	kit_copy(&wanted, recording, 1, place);
	assert_int_equal(et_state_each_copy_of(v, kit_id(recording).data, copy_find, &wanted), 0);
	(void)et_state_view_close(v);
	assert_int_equal(wanted.offset, 1);
	return wanted.state;
}

static bool copy_spare(struct kit *k, uint64_t recording, const char *place)
{
	struct et_state_view *v = et_state_view_open(k->s);

	assert_non_null(v);
	bool spare = et_state_copy_is_spare(v, kit_id(recording).data, 1, 1, place);
	(void)et_state_view_close(v);
	return spare;
}

static void a_sealed_root_stays(void **state)
{
	struct kit *k = *state;
	const Et__SegmentState sealed = ET__SEGMENT_STATE__SEGMENT_SEALED;
	const Et__SegmentState unverified = ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED;
	const Et__SegmentState recovered = ET__SEGMENT_STATE__SEGMENT_RECOVERED;

	kit_cluster(k);
	kit_sealed_segment(k, 5);
	assert_int_equal(copy_state(k, 5, "node:2"), ET__COPY__STATE__VERIFIED);
	assert_int_equal(kit_segment_seal(k, 2, 5, 1, sealed, 7, 3), 0); /* again */
	assert_int_equal(kit_segment_seal(k, 3, 5, 1, sealed, 7, 3), ET_EDENIED);
	assert_int_equal(kit_segment_seal(k, 2, 5, 1, sealed, 8, 9), ET_EREFUSED);
	assert_int_equal(kit_segment_seal(k, 2, 5, 1, recovered, 8, 9), ET_EREFUSED);
	assert_int_equal(kit_segment_seal(k, 2, 5, 1, ET__SEGMENT_STATE__SEGMENT_OPEN, 7, 3),
			 ET_EREFUSED);

	/* After a crash: the shorter prefix first, then a verified longer one. */
	assert_int_equal(kit_segment_open(k, 2, 5, 2), 0);
	assert_int_equal(kit_segment_seal(k, 2, 5, 2, unverified, 20, 5), 0);
	assert_int_equal(kit_copy_add(k, 3, 5, 2, "node:3"), 0);
	assert_int_equal(kit_segment_seal(k, 2, 5, 2, recovered, 21, 5),
			 ET_EREFUSED); /* not longer */
	assert_int_equal(kit_segment_seal(k, 2, 5, 2, unverified, 21, 9), ET_EREFUSED);
	assert_int_equal(kit_segment_seal(k, 2, 5, 2, recovered, 21, 9), 0);
	assert_int_equal(kit_segment_seal(k, 2, 5, 2, recovered, 22, 11), ET_EREFUSED);
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Segment *g = NULL;
	assert_int_equal(et_state_get_segment(v, kit_id(5).data, 1, 2, &g), 0);
	assert_int_equal(g->records, 9);
	assert_int_equal(g->state, recovered);
	assert_memory_equal(g->root.data, kit_hash(21).data, 32);
	et__segment__free_unpacked(g, NULL);
	Et__Copy there;
	kit_copy(&there, 5, 2, "node:3");
	there.segment = 2;
	assert_int_equal(et_state_each_copy_of(v, kit_id(5).data, copy_find, &there), 0);
	assert_int_equal(there.state, ET__COPY__STATE__BAD); /* it has the old root */
	(void)et_state_view_close(v);

	/* A root whose tags were checked meanwhile. */
	assert_int_equal(kit_segment_open(k, 2, 5, 3), 0);
	assert_int_equal(kit_segment_seal(k, 2, 5, 3, unverified, 30, 5), 0);
	assert_int_equal(kit_segment_seal(k, 2, 5, 3, recovered, 30, 5), 0);
	assert_int_equal(kit_counts(k).segments, 3);
}

static void copies_must_fit_the_segment(void **state)
{
	struct kit *k = *state;
	Et__Copy c[3];

	kit_cluster(k);
	kit_sealed_segment(k, 5);
	assert_int_equal(kit_copy_add(k, 3, 99, 1, "node:3"), ET_ENOTFOUND);
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:1"), ET_EDENIED);
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "elsewhere"), ET_EREFUSED);
	assert_int_equal(kit_segment_open(k, 2, 5, 2), 0);
	assert_int_equal(kit_copy_add(k, 3, 5, 2, "node:3"), ET_EREFUSED); /* not sealed */

	kit_copy(&c[0], 5, 1, "node:3");
	c[0].size_bytes = 7; /* wrong */
	kit_copy(&c[1], 5, 1, "target:cold");
	kit_copy(&c[2], 5, 1, "node:3");
	c[2].object_hash = kit_hash(99); /* wrong */
	assert_int_equal(kit_copies(k, 3, false, c, 3), ET_EDEGRADED);
	assert_int_equal(k->result->n_refused, 2);
	assert_int_equal(k->result->refused[0], 0);
	assert_int_equal(k->result->refused[1], 2);
	assert_int_equal(kit_counts(k).archived_segments, 1);
	c[2].object_hash = kit_hash(8);
	c[2].size_bytes = 3001;
	assert_int_equal(kit_copies(k, 3, false, &c[2], 1), 0);
	assert_int_equal(kit_copies(k, 3, false, &c[2], 1), 0);
	assert_int_equal(kit_counts(k).copies, 3);
	c[1].object = (char *)(uintptr_t)protobuf_c_empty_string;
	assert_int_equal(kit_copies(k, 3, false, &c[1], 1), ET_EREFUSED);
}

static void the_last_verified_copy_is_never_evicted(void **state)
{
	struct kit *k = *state;
	Et__Copy c[2];

	kit_cluster(k);
	kit_sealed_segment(k, 5);
	uint64_t audited = kit_counts(k).audit_events;
	assert_false(copy_spare(k, 5, "node:2"));
	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), ET_EPOLICY);
	assert_int_equal(kit_counts(k).audit_events, audited + 1); /* refused, and seen */
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:3"), 0);
	assert_true(copy_spare(k, 5, "node:2"));
	assert_int_equal(kit_copy_evict(k, 3, 5, 1, "node:2"), ET_EDENIED); /* not its own */
	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), 0);
	assert_int_equal(copy_state(k, 5, "node:2"), ET__COPY__STATE__EVICTED);
	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), 0);	    /* again */
	assert_int_equal(kit_copy_evict(k, 3, 5, 1, "node:3"), ET_EPOLICY); /* the other's turn */
	assert_int_equal(kit_counts(k).copies, 1);

	/* Twice the same in one command, and one that is not there. */
	assert_int_equal(kit_copy_add(k, 2, 5, 1, "target:cold"), 0);
	kit_copy(&c[0], 6, 1, "node:3");
	kit_copy(&c[1], 5, 1, "node:3");
	assert_int_equal(kit_copies(k, 3, true, c, 2), ET_EDEGRADED);
	assert_int_equal(k->result->n_refused, 1);
	assert_int_equal(k->result->refused[0], 0);
	assert_int_equal(kit_copy_evict(k, 3, 5, 1, "target:cold"), ET_EPOLICY);
	assert_int_equal(kit_counts(k).archived_segments, 1);
}

static int node_remove(struct kit *k, uint64_t node, bool revoked)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeRemove remove = ET__NODE_REMOVE__INIT;

	remove.node = node;
	remove.revoked = revoked;
	remove.loss_accepted = true;
	remove.force = true; /* the kit's first node alone holds the keys */
	c.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	c.node_remove = &remove;
	return kit_apply(k, &c);
}

static void what_lies_on_a_removed_node_does_not_count(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	kit_sealed_segment(k, 5);
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:3"), 0);
	assert_int_equal(node_remove(k, 3, false), 0);
	assert_false(copy_spare(k, 5, "node:2"));
	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), ET_EPOLICY);
	/* And a removed node says no more. */
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:3"), ET_EDENIED);
	assert_int_equal(node_remove(k, 3, true), 0);
	assert_int_equal(node_remove(k, 3, false), 0);
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Node *n = NULL;
	assert_int_equal(et_state_get_node(v, 3, &n), 0);
	assert_int_equal(n->state, ET__NODE_STATE__REVOKED); /* once revoked, always revoked */
	et__node__free_unpacked(n, NULL);
	(void)et_state_view_close(v);
	assert_int_equal(node_remove(k, 9, false), ET_ENOTFOUND);
	assert_int_equal(node_remove(k, 2, false), 0);
	assert_int_equal(node_remove(k, 1, false), ET_EREFUSED); /* the last one */
}

static int copy_bad(struct kit *k, uint64_t node, uint64_t recording, const char *place)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__CopyBad bad = ET__COPY_BAD__INIT;
	Et__Copy copy;

	kit_copy(&copy, recording, 1, place);
	bad.copy = &copy;
	c.body_case = ET__COMMAND__BODY_COPY_BAD;
	c.copy_bad = &bad;
	return kit_apply_from(k, node, &c);
}

static void bad_copies_do_not_count_until_they_are_whole_again(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	kit_sealed_segment(k, 5);
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:3"), 0);
	assert_int_equal(copy_bad(k, 2, 5, "node:3"), ET_EDENIED);
	assert_int_equal(copy_bad(k, 3, 6, "node:3"), ET_ENOTFOUND);
	assert_int_equal(copy_bad(k, 3, 5, "node:3"), 0);
	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), ET_EPOLICY);
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:3"), 0);
	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), 0);
	assert_int_equal(copy_bad(k, 2, 5, "node:2"), ET_EREFUSED); /* evicted */
}

/* ---- Nodes, certificates, keys ---- */

static void a_node_says_only_some_things_of_itself(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeUpdate update = ET__NODE_UPDATE__INIT;
	Et__Node n = ET__NODE__INIT;
	char texts[3][32] = { "127.0.0.1:7400", "vault", "other" };
	char *roles[] = { texts[1] };

	kit_cluster(k);
	n.id = 2;
	n.address = texts[0];
	n.roles = roles;
	n.n_roles = 1;
	n.name = texts[2];
	n.site = texts[2];
	n.spki_hash = kit_hash(99);
	n.state = ET__NODE_STATE__ACTIVE;
	update.node = &n;
	c.body_case = ET__COMMAND__BODY_NODE_UPDATE;
	c.node_update = &update;
	assert_int_equal(kit_apply_from(k, 2, &c), 0);
	n.seal_public = kit_hash(55);
	assert_int_equal(kit_apply_from(k, 3, &c), ET_EDENIED); /* another node's seal key */
	n.state = ET__NODE_STATE__REMOVED;
	assert_int_equal(kit_apply_from(k, 2, &c), ET_EREFUSED);
	n.id = 77;
	assert_int_equal(kit_apply_from(k, 2, &c), ET_ENOTFOUND);
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Node *known = NULL;
	assert_int_equal(et_state_get_node(v, 2, &known), 0);
	assert_string_equal(known->address, "127.0.0.1:7400");
	assert_string_equal(known->name, "node-2");
	assert_string_equal(known->site, "site-0");
	assert_string_equal(known->roles[0], "voter");
	assert_int_equal(known->state, ET__NODE_STATE__ACTIVE);
	assert_memory_equal(known->spki_hash.data, kit_hash(2).data, 32);
	assert_int_equal(known->seal_public.len, 0);
	et__node__free_unpacked(known, NULL);
	(void)et_state_view_close(v);
}

static int certificate_add(struct kit *k, uint64_t node, uint64_t key, uint64_t old_key)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__CertificateAdd add = ET__CERTIFICATE_ADD__INIT;
	Et__Certificate certificate = ET__CERTIFICATE__INIT;

	certificate.node = node;
	certificate.spki_hash = kit_hash(key);
	certificate.der = kit_bytes(100, key);
	add.certificate = &certificate;
	if (old_key != 0) {
		add.spki_hash = kit_hash(old_key);
	}
	c.body_case = ET__COMMAND__BODY_CERTIFICATE_ADD;
	c.certificate_add = &add;
	return kit_apply(k, &c);
}

static void certificates_are_of_the_recorded_key(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(certificate_add(k, 2, 2, 0), 0);
	assert_int_equal(certificate_add(k, 2, 50, 0), ET_EUNTRUSTED);
	assert_int_equal(certificate_add(k, 2, 50, 49), ET_EUNTRUSTED);
	assert_int_equal(certificate_add(k, 2, 50, 2), 0); /* a new key for the old one */
	assert_int_equal(certificate_add(k, 2, 2, 0), ET_EUNTRUSTED);
	assert_int_equal(certificate_add(k, 9, 2, 0), ET_ENOTFOUND);
}

static int kek_add(struct kit *k, uint32_t version, Et__KekState kek_state)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__KekAdd add = ET__KEK_ADD__INIT;
	Et__Kek kek = ET__KEK__INIT;
	Et__Grant grant = ET__GRANT__INIT;
	Et__Grant *grants[] = { &grant };
	char secret[32];

	(void)snprintf(secret, sizeof(secret), "kek:%u", version);
	kek.version = version;
	kek.public_key = kit_hash(version);
	kek.state = kek_state;
	grant.secret = secret;
	grant.node = 2;
	grant.enc = kit_hash(1);
	grant.ciphertext = kit_bytes(48, 1);
	add.kek = &kek;
	add.grants = grants;
	add.n_grants = 1;
	c.body_case = ET__COMMAND__BODY_KEK_ADD;
	c.kek_add = &add;
	return kit_apply(k, &c);
}

static int grant_add(struct kit *k, const char *secret, uint64_t node)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__GrantAdd add = ET__GRANT_ADD__INIT;
	Et__Grant grant = ET__GRANT__INIT;
	Et__Grant *grants[] = { &grant };
	char text[64];

	(void)snprintf(text, sizeof(text), "%s", secret);
	grant.secret = text;
	grant.node = node;
	grant.enc = kit_hash(1);
	grant.ciphertext = kit_bytes(48, 1);
	add.grants = grants;
	add.n_grants = 1;
	c.body_case = ET__COMMAND__BODY_GRANT_ADD;
	c.grant_add = &add;
	return kit_apply(k, &c);
}

static void keys_follow_each_other(void **state)
{
	struct kit *k = *state;
	Et__Kek *kek = NULL;

	kit_cluster(k);
	assert_int_equal(kek_add(k, 1, ET__KEK_STATE__KEK_ACTIVE), ET_ESTALE);
	assert_int_equal(kek_add(k, 3, ET__KEK_STATE__KEK_ACTIVE), ET_ESTALE);
	assert_int_equal(kek_add(k, 2, ET__KEK_STATE__KEK_DESTROYED), ET_EREFUSED);
	assert_int_equal(kek_add(k, 2, ET__KEK_STATE__KEK_ACTIVE), 0);
	assert_int_equal(kek_add(k, 3, ET__KEK_STATE__KEK_PENDING), 0);
	struct et_state_view *v = et_state_view_open(k->s);
	assert_int_equal(et_state_get_kek(v, 1, &kek), 0);
	assert_int_equal(kek->state, ET__KEK_STATE__KEK_DECRYPT_ONLY);
	et__kek__free_unpacked(kek, NULL);
	assert_int_equal(et_state_get_kek(v, 2, &kek), 0);
	assert_int_equal(kek->state, ET__KEK_STATE__KEK_ACTIVE);
	et__kek__free_unpacked(kek, NULL);
	Et__Grant *grant = NULL;
	assert_int_equal(et_state_get_grant(v, "kek:2", 2, &grant), 0);
	et__grant__free_unpacked(grant, NULL);
	assert_int_equal(et_state_get_grant(v, "kek:2", 1, &grant), ET_ENOTFOUND);
	(void)et_state_view_close(v);

	assert_int_equal(grant_add(k, "kek:2", 1), 0);
	assert_int_equal(grant_add(k, "ca", 3), 0);
	assert_int_equal(grant_add(k, "kek:9", 1), ET_ENOTFOUND);
	assert_int_equal(grant_add(k, "kek:01", 1), ET_EREFUSED);
	assert_int_equal(grant_add(k, "root", 1), ET_EREFUSED);
	assert_int_equal(grant_add(k, "ca", 9), ET_ENOTFOUND);
}

/* ---- Time ---- */

static void time_goes_on_in_steps_and_never_back(void **state)
{
	struct kit *k = *state;
	const int64_t begin = 1700000000000000;

	kit_cluster(k);
	assert_int_equal(kit_tick(k, begin - 1), ET_ESTALE);
	assert_int_equal(kit_tick(k, begin + 3600000000), 0); /* the first one sets it */
	assert_int_equal(k->result->number, begin + 3600000000);
	assert_int_equal(kit_tick(k, begin), ET_ESTALE);
	assert_int_equal(kit_tick(k, begin + 7200000000), 0); /* a wrong clock gets 5 minutes */
	assert_int_equal(k->result->number, begin + 3900000000);
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Cluster *c = NULL;
	assert_int_equal(et_state_get_cluster(v, &c), 0);
	assert_int_equal(c->cluster_time_us, begin + 3900000000);
	et__cluster__free_unpacked(c, NULL);
	(void)et_state_view_close(v);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(nothing_happens_before_the_cluster_is_made),
		TEST(nodes_join_once_with_a_good_token),
		TEST(tokens_can_be_revoked),
		TEST(a_recording_is_opened_updated_and_closed),
		TEST(what_apply_sets_no_node_can_tell),
		TEST(the_newest_session_counts),
		TEST(ids_come_in_any_order),
		TEST(create_commands_may_come_in_any_order),
		TEST(a_sealed_root_stays),
		TEST(copies_must_fit_the_segment),
		TEST(the_last_verified_copy_is_never_evicted),
		TEST(what_lies_on_a_removed_node_does_not_count),
		TEST(bad_copies_do_not_count_until_they_are_whole_again),
		TEST(a_node_says_only_some_things_of_itself),
		TEST(certificates_are_of_the_recorded_key),
		TEST(keys_follow_each_other),
		TEST(time_goes_on_in_steps_and_never_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
