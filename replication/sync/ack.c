/* Commands to the catalogue: CopyAdd for what was published, CopyBad for what was found bad, and
 * what is told of the tails of a node that is gone.
 *
 * Each is proposed with one op id until it is answered for good; a retry never makes it twice. The
 * answer comes on the main thread and is only marked there; the sync thread collects it at its next
 * tick. That is soon enough: the table learns of the copy by on_applied, not from here.
 *
 * Ownership: a proposal in flight is the propose callback's to free when the service has ended
 * before the answer (et_ack_orphan). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "raft/command/schema.h"
#include "replication/sync/sync_internal.h"

#define BATCH_MAX 256
#define TIMEOUT_MS 10000
#define RETRY_MIN_US (250 * INT64_C(1000))
#define RETRY_MAX_US (5 * INT64_C(1000000))

struct proposal {
	struct proposal *next;
	struct et_sync *s;    /* the main thread's from propose on; NULL: the service has ended */
	atomic_bool answered; /* by the main thread; then code, applied and text stand */
	int code;
	bool applied;
	char text[160];

	bool in_flight;
	int64_t due_us, pause_us;
	uint64_t seq;
	int64_t made_us;
	char why[160];	      /* CopyBad; "" for CopyAdd */
	Et__Command *command; /* owned: neither of them; else NULL */
	void (*done)(struct et_sync *s, void *arg, int code);
	void *done_arg;
	size_t count;
	struct ack_copy copies[];
};

static void proposal_free(struct proposal *pr)
{
	if (pr->command != NULL) {
		et_command_free(pr->command);
	}
	free(pr);
}

/* ---- The main thread ---- */

static void proposal_answered(void *arg, int code, const Et__Result *result)
{
	struct proposal *pr = arg;

	if (pr->s == NULL) {
		proposal_free(pr);
		return;
	}
	pr->code = code;
	pr->applied = result != NULL;
	(void)snprintf(pr->text, sizeof(pr->text), "%s",
		       result != NULL && result->text != NULL ? result->text : "");
	atomic_store(&pr->answered, true);
}

void et_ack_orphan(struct et_sync *s)
{
	while (s->acks.proposals != NULL) {
		struct proposal *pr = s->acks.proposals;
		s->acks.proposals = pr->next;
		if (pr->in_flight && !atomic_load(&pr->answered)) {
			pr->s = NULL;
		} else {
			proposal_free(pr);
		}
	}
	free(s->acks.copies);
	s->acks.copies = NULL;
}

/* ---- Building and sending ---- */

static void copy_fill(const struct proposal *pr, size_t i, char *place, char *site, char *store,
		      Et__Copy *copy)
{
	const struct ack_copy *c = &pr->copies[i];

	et__copy__init(copy);
	copy->recording.data = (uint8_t *)(uintptr_t)c->key.recording; /* read only */
	copy->recording.len = sizeof(c->key.recording);
	copy->generation = c->key.generation;
	copy->segment = c->key.segment;
	copy->place = place;
	copy->site = site;
	copy->state = pr->why[0] != '\0' ? ET__COPY__STATE__BAD : ET__COPY__STATE__VERIFIED;
	copy->verified_us = pr->made_us;
	copy->size_bytes = c->size_bytes;
	copy->store_uuid = store;
}

/* What makes a command this node's, of this start, to be made once. */
struct stamp {
	Et__OpId op;
	char principal[32];
};

static void command_stamp(struct et_sync *s, const struct proposal *pr, struct stamp *stamp,
			  Et__Command *command)
{
	et__op_id__init(&stamp->op);
	stamp->op.node = s->node;
	stamp->op.incarnation.data = s->acks.incarnation;
	stamp->op.incarnation.len = sizeof(s->acks.incarnation);
	stamp->op.seq = pr->seq;
	(void)snprintf(stamp->principal, sizeof(stamp->principal), "node:%" PRIu64, s->node);
	command->op = &stamp->op;
	command->proposed_us = pr->made_us;
	command->principal = stamp->principal;
	command->schema = et_schema_needed(command);
}

static int proposal_propose(struct et_sync *s, struct proposal *pr, const Et__Command *command)
{
	atomic_store(&pr->answered, false);
	pr->in_flight = true;
	return s->propose(s->propose_arg, command, TIMEOUT_MS, proposal_answered, pr);
}

/* A list of copies, made anew each time: a thousand wait in little memory. */
static int proposal_copies(struct et_sync *s, struct proposal *pr, Et__Copy *copies,
			   Et__Copy **list)
{
	char place[32], site[ET_NAME_MAX + 1], store[ET_NAME_MAX + 1];
	Et__Command command = ET__COMMAND__INIT;
	Et__CopyAdd add = ET__COPY_ADD__INIT;
	Et__CopyBad bad = ET__COPY_BAD__INIT;
	struct stamp stamp;

	(void)snprintf(place, sizeof(place), "node:%" PRIu64, s->node);
	memcpy(site, s->site, sizeof(site));
	memcpy(store, s->store_uuid, sizeof(store));
	for (size_t i = 0; i < pr->count; i++) {
		copy_fill(pr, i, place, site, store, &copies[i]);
		list[i] = &copies[i];
	}
	if (pr->why[0] != '\0') {
		command.body_case = ET__COMMAND__BODY_COPY_BAD;
		command.copy_bad = &bad;
		bad.copy = &copies[0];
		bad.why = pr->why;
	} else {
		command.body_case = ET__COMMAND__BODY_COPY_ADD;
		command.copy_add = &add;
		add.copies = list;
		add.n_copies = pr->count;
	}
	command_stamp(s, pr, &stamp, &command);
	return proposal_propose(s, pr, &command);
}

static int proposal_try(struct et_sync *s, struct proposal *pr)
{
	if (pr->command != NULL) {
		return proposal_propose(s, pr, pr->command);
	}
	Et__Copy *copies = calloc(pr->count, sizeof(*copies));
	Et__Copy **list = calloc(pr->count, sizeof(Et__Copy *));
	int rc = copies == NULL || list == NULL ? -ENOMEM : proposal_copies(s, pr, copies, list);

	free(copies);
	free(list);
	return rc;
}

static void proposal_send(struct et_sync *s, struct proposal *pr)
{
	if (proposal_try(s, pr) < 0) {
		pr->in_flight = false;
		pr->due_us = et_clock_mono_us() + pr->pause_us;
	}
}

static struct proposal *proposal_new(struct et_sync *s, size_t count)
{
	struct proposal *pr = calloc(1, sizeof(*pr) + count * sizeof(pr->copies[0]));
	if (pr == NULL) {
		return NULL;
	}
	pr->s = s;
	pr->seq = ++s->acks.seq;
	pr->made_us = et_clock_now_us();
	pr->pause_us = RETRY_MIN_US;
	pr->count = count;
	pr->next = s->acks.proposals;
	s->acks.proposals = pr;
	s->acks.unanswered += count;
	return pr;
}

/* ---- Batches ---- */

static void ack_flush(struct et_sync *s)
{
	struct acks *a = &s->acks;

	while (a->count > 0) {
		size_t count = a->count < BATCH_MAX ? a->count : BATCH_MAX;
		struct proposal *pr = proposal_new(s, count);
		if (pr == NULL) {
			return; /* The next tick tries again. */
		}
		for (size_t i = 0; i < count; i++) {
			pr->copies[i] = a->copies[a->count - count + i];
		}
		a->count -= count;
		proposal_send(s, pr);
	}
}

static void ack_on_timer(uv_timer_t *timer)
{
	struct et_sync *s = timer->data;
	s->acks.timer_running = false;
	ack_flush(s);
}

void et_ack_init(struct et_sync *s)
{
	et_random(s->acks.incarnation, sizeof(s->acks.incarnation));
	(void)uv_timer_init(&s->loop, &s->acks.timer);
	s->acks.timer.data = s;
}

void et_ack_add(struct et_sync *s, const struct et_look_result *look)
{
	struct acks *a = &s->acks;

	if (a->count == a->capacity) {
		size_t capacity = a->capacity > 0 ? a->capacity * 2 : 64;
		struct ack_copy *copies = realloc(a->copies, capacity * sizeof(*copies));
		if (copies == NULL) {
			/* The file stays; the next look finds it, verifies it and comes here. */
			et_table_touch(s, &look->key);
			return;
		}
		a->copies = copies;
		a->capacity = capacity;
	}
	a->copies[a->count++] = (struct ack_copy){ look->key, look->expect.size_bytes };
	if (!a->timer_running) {
		a->timer_running = true;
		(void)uv_timer_start(&a->timer, ack_on_timer, ET_SYNC_ACK_MS, 0);
	}
}

void et_ack_bad(struct et_sync *s, const struct et_expect *expect, const char *why)
{
	struct proposal *pr = proposal_new(s, 1);
	if (pr == NULL) {
		(void)atomic_fetch_sub(&s->bads_untold, 1);
		return; /* The file is in quarantine: the next check reports it as missing. */
	}
	memcpy(pr->copies[0].key.recording, expect->recording, 16);
	pr->copies[0].key.generation = expect->generation;
	pr->copies[0].key.segment = expect->segment;
	pr->copies[0].size_bytes = expect->size_bytes;
	(void)snprintf(pr->why, sizeof(pr->why), "%s", why[0] != '\0' ? why : "it does not verify");
	proposal_send(s, pr);
}

/* A copy of `made`, stamped. */
static Et__Command *command_with(struct et_sync *s, const struct proposal *pr,
				 const Et__Command *made)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer packed = { 0 };
	Et__Command *ret = NULL;
	Et__Command command = *made;
	struct stamp stamp;

	command_stamp(s, pr, &stamp, &command);
	if (et_command_pack(&command, &packed) < 0 ||
	    et_command_unpack(packed.data, packed.size, &ret, NULL) < 0) {
		return NULL;
	}
	return ret;
}

bool et_ack_command(struct et_sync *s, const Et__Command *command,
		    void (*done)(struct et_sync *s, void *arg, int code), void *arg)
{
	struct proposal *pr = proposal_new(s, 0);
	if (pr == NULL) {
		return false;
	}
	pr->command = command_with(s, pr, command);
	if (pr->command == NULL) { /* It is the first of the list still. */
		s->acks.proposals = pr->next;
		free(pr);
		return false;
	}
	pr->done = done;
	pr->done_arg = arg;
	proposal_send(s, pr);
	return true;
}

/* ---- Answers ---- */

/* true: it is over, and freed by the caller. */
static bool proposal_collect(struct et_sync *s, struct proposal *pr, int64_t now_us)
{
	if (!pr->in_flight) {
		if (now_us >= pr->due_us) {
			proposal_send(s, pr);
		}
		return false;
	}
	if (!atomic_load(&pr->answered)) {
		return false;
	}
	pr->in_flight = false;
	if (pr->code == 0 || pr->applied) {
		if (pr->code < 0 && pr->code != ET_EEXISTS && pr->command == NULL) {
			char text[200];
			et_warn("sync.refused", "copies=%zu code=%s error=%s", pr->count,
				et_errname(pr->code), et_log_quote(pr->text, text, sizeof(text)));
		}
		for (size_t i = 0; i < pr->count; i++) {
			et_table_acknowledged(s, &pr->copies[i].key);
		}
		if (pr->why[0] != '\0') {
			(void)atomic_fetch_sub(&s->bads_untold, 1);
		}
		s->acks.unanswered -= pr->count;
		return true;
	}
	pr->due_us = now_us + pr->pause_us;
	pr->pause_us = pr->pause_us * 2 < RETRY_MAX_US ? pr->pause_us * 2 : RETRY_MAX_US;
	return false;
}

void et_ack_tick(struct et_sync *s, int64_t now_us)
{
	struct proposal **at = &s->acks.proposals;

	while (*at != NULL) {
		struct proposal *pr = *at;
		if (proposal_collect(s, pr, now_us)) {
			*at = pr->next;
			if (pr->done != NULL) {
				pr->done(s, pr->done_arg, pr->code);
			}
			proposal_free(pr);
		} else {
			at = &pr->next;
		}
	}
	if (s->acks.count > 0 && !s->acks.timer_running) {
		ack_flush(s);
	}
}

void et_ack_stop(struct et_sync *s)
{
	(void)uv_timer_stop(&s->acks.timer);
}
