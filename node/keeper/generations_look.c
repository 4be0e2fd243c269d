/* The look: what is due, and can be done here (thread). */
#include <stdio.h>
#include <string.h>

#include "node/io/clock.h"
#include "node/keeper/generations_internal.h"

#define RECORDINGS_MAX 64 /* that one look goes through */
#define WRAPPED_MAX 5000  /* segments that one look goes through for a compromised version */
#define SWEEP_US (60LL * 1000000)

struct look {
	struct generations *g;
	const struct et_state_view *v;
	uint64_t self;
	uint64_t vaults[VAULTS_MAX]; /* members with that role, this one too */
	size_t vault_count;
	uint8_t last[16];
	size_t recordings;
	uint32_t compromised;	  /* a KEK version; 0: none */
	uint8_t last_wrapped[16]; /* recording */
	bool wrapped_any;
	int code;
};

static int look_vault(void *arg, const Et__Node *node)
{
	struct look *l = arg;

	if (node_is_vault(node) && l->vault_count < VAULTS_MAX) {
		l->vaults[l->vault_count++] = node->id;
	}
	return 0;
}

/* Which vault nodes have a verified copy of the segment. */
struct holders {
	const struct look *l;
	const Et__Segment *segment;
	struct task *task;
	bool here;
};

static int holder_look(void *arg, const Et__Copy *c)
{
	struct holders *h = arg;
	unsigned long long node = 0;

	if (c->generation != h->segment->generation || c->segment != h->segment->segment ||
	    c->state != ET__COPY__STATE__VERIFIED || sscanf(c->place, "node:%llu", &node) != 1) {
		return 0;
	}
	h->here = h->here || node == h->l->self;
	for (size_t i = 0; i < h->l->vault_count; i++) {
		if (h->l->vaults[i] == node && node < h->l->self &&
		    h->task->ahead_count < VAULTS_MAX) {
			h->task->ahead[h->task->ahead_count++] = node;
		}
	}
	return 0;
}

bool generations_task_is(const struct task *a, const struct task *b)
{
	return memcmp(a->recording, b->recording, 16) == 0 && a->generation == b->generation &&
	       a->segment == b->segment && a->due == b->due;
}

/* Can it be done here? */
static bool task_is_possible(struct look *l, const Et__Segment *s, struct task *t)
{
	struct holders h = { .l = l, .segment = s, .task = t };
	char lacks[ET_STATE_LACKS_SIZE];

	if (t->due == ET_DUE_MAKE) {
		return et_state_each_copy_of(l->v, t->recording, holder_look, &h) >= 0 && h.here;
	}
	for (size_t i = 0; i < l->vault_count; i++) {
		if (l->vaults[i] < l->self) {
			t->ahead[t->ahead_count++] = l->vaults[i];
		}
	}
	return et_state_generation_lacks(l->v, s, lacks) == 0 && lacks[0] == '\0';
}

static int look_due(void *arg, enum et_state_due due, const Et__Segment *s, const Et__Redaction *r)
{
	struct look *l = arg;
	struct generations *g = l->g;

	if (g->found_count == TASKS_MAX) {
		return 1;
	}
	struct task *t = &g->found[g->found_count];
	*t = (struct task){ .generation = s->generation, .segment = s->segment, .due = due };
	memcpy(t->recording, s->recording.data, 16);
	if (r != NULL) {
		t->redaction = r->asked_index;
		t->from_us = r->from_us;
		t->to_us = r->to_us;
	}
	for (size_t i = 0; i < g->found_count; i++) {
		if (generations_task_is(&g->found[i], t)) {
			return 0; /* it is due for two reasons */
		}
	}
	g->found_count += task_is_possible(l, s, t);
	return 0;
}

static int hold_stands(void *arg, const Et__Hold *hold)
{
	(void)arg;
	(void)hold;
	return 1;
}

/* What is due of the recording. Not while a hold stands over it: apply would refuse that, and each
 * refusal is an event of the audit log. */
static int look_at(struct look *l, const uint8_t recording[16])
{
	Et__Recording *r = NULL;

	int rc = et_state_get_recording(l->v, recording, &r);
	rc = rc < 0 ? rc : et_state_each_hold_over(l->v, r, hold_stands, NULL);
	et__recording__free_unpacked(r, NULL);
	if (rc != 0) {
		return rc == ET_ENOTFOUND || rc > 0 ? 0 : rc;
	}
	return et_state_each_generation_due_of(l->v, recording, look_due, l);
}

static int look_recording(void *arg, const uint8_t recording[16])
{
	struct look *l = arg;

	if (l->recordings == RECORDINGS_MAX || l->g->found_count == TASKS_MAX) {
		l->g->goes_on = true;
		return 1;
	}
	l->recordings++;
	memcpy(l->last, recording, 16);
	int rc = look_at(l, recording);
	return rc < 0 ? rc : 0;
}

/* ---- What is on a compromised version ---- */

static int look_wrapped(void *arg, const Et__Segment *s)
{
	struct look *l = arg;

	if (l->g->found_count == TASKS_MAX) {
		return 1;
	}
	/* All that is due of it: a redaction goes first, and an older generation may stand in. */
	if (l->wrapped_any && memcmp(l->last_wrapped, s->recording.data, 16) == 0) {
		return 0;
	}
	l->wrapped_any = true;
	memcpy(l->last_wrapped, s->recording.data, 16);
	int rc = look_at(l, s->recording.data);
	return rc < 0 ? rc : 0;
}

static int look_kek(void *arg, const Et__Kek *kek)
{
	struct look *l = arg;

	if (kek->compromised && kek->state != ET__KEK_STATE__KEK_ACTIVE &&
	    kek->state != ET__KEK_STATE__KEK_DESTROYED && l->compromised == 0) {
		uint64_t wraps = 0;
		int rc = et_state_wraps(l->v, kek->version, &wraps);
		l->compromised = rc == 0 && wraps > 0 ? kek->version : 0;
		return rc;
	}
	return 0;
}

/* Some of the segments, behind those of the look before. */
static int look_compromised(struct look *l)
{
	struct generations *g = l->g;
	bool more = false;

	int rc = et_state_each_kek(l->v, look_kek, l);
	if (rc < 0 || l->compromised == 0 || g->found_count == TASKS_MAX) {
		return rc;
	}
	rc = et_state_each_wrapped(l->v, l->compromised, &g->wrapped_at, WRAPPED_MAX, look_wrapped,
				   l, &more);
	if (rc == 0 && !more) {
		g->wrapped_at = (struct et_state_place){ 0 };
	}
	return rc < 0 ? rc : 0;
}

static void look_run(struct look *l)
{
	struct generations *g = l->g;
	bool from_begin = !g->goes_on;

	g->goes_on = false;
	l->code = et_state_each_node(l->v, look_vault, l);
	l->code = l->code < 0 ? l->code
			      : et_state_each_generation_due(l->v, from_begin ? NULL : g->after,
							     look_recording, l);
	memcpy(g->after, l->last, sizeof(g->after));
	l->code = l->code < 0 ? l->code : look_compromised(l);
}

void generations_look(uv_work_t *work)
{
	struct generations *g = work->data;
	struct look l = { .g = g, .self = g->k->identity.node };
	struct et_state_view *v = et_state_view_open(g->k->state);

	g->found_count = 0;
	if (v == NULL) {
		return;
	}
	l.v = v;
	if (!g->swept || et_clock_mono_us() >= g->sweep_us) {
		generations_sweep(g, v);
		g->swept = true;
		g->sweep_us = et_clock_mono_us() + SWEEP_US;
	}
	look_run(&l);
	(void)et_state_view_close(v);
}
