/* Newer generations of segments: one that leaves a span out (redaction), or one under another key
 * (its KEK version was compromised).
 *
 *   RecordingRedact ─▶ due: MAKE ─▶ GenerationPut ─▶ due: FINISH ─▶ GenerationFinish
 *
 * A generation comes into the catalogue whole, in one entry: sealed, with its wrapped key and its
 * maker's copy; there is no state in which one is half there. Its predecessor keeps its key until
 * the successor has what it had: a verified copy in each of its sites and at each of its targets,
 * and no fewer of them; and when all copies of the successor are lost before that, another one is
 * made of it. What is due follows from the records; 'g' rows say of which recordings
 * something may be. */
#include <stdio.h>

#include "raft/command/schema.h"
#include "raft/state/state_internal.h"

/* Arrival times are those of packets, not of tapes: a packet that waited may lie a little beside.
 */
#define SPAN_MARGIN_US INT64_C(1000000)

/* ---- The newest segments of a recording ---- */

/* When the media behind it begins: the next segment's first time, or never. */
static int64_t segment_end(const struct segment_list *l, const Et__Segment *g)
{
	const Et__Segment *next = NULL;

	for (size_t i = 0; i < l->count; i++) {
		const Et__Segment *s = l->list[i];
		if (s->segment > g->segment && et_state_segment_is_newest(s) &&
		    (next == NULL || s->segment < next->segment)) {
			next = s;
		}
	}
	return next != NULL ? next->t0_us : INT64_MAX;
}

/* May it have something of the span? */
static bool segment_meets(const struct segment_list *l, const Et__Segment *g, int64_t from_us,
			  int64_t to_us)
{
	return g->state != ET__SEGMENT_STATE__SEGMENT_LOST && g->t0_us - SPAN_MARGIN_US < to_us &&
	       segment_end(l, g) > from_us - SPAN_MARGIN_US;
}

/* Has it a verified copy that counts? */
static int segment_lives(const struct et_state_view *v, const Et__Segment *g, bool *ret);

/* ---- What is due ---- */

/* Does a redaction that is done count for a segment that came after it, from a journal that was
 * away? A schema before this passed it over, and the span came back with it. */
static int late_counts(const struct et_state_view *v, bool *ret)
{
	ET_CLEANUP(message_freep) Et__Cluster *cluster = NULL;

	int rc = et_state_get_cluster(v, &cluster);
	*ret = rc == 0 && cluster->schema >= ET_SCHEMA_LATE_REDACTED;
	return rc;
}

/* The first redaction that this segment still has to be made anew for. NULL: none. `late`: those
 * that are done count, too. */
static const Et__Redaction *redaction_of(const struct segment_list *l, const Et__Segment *g,
					 const Et__Recording *r, bool late)
{
	for (size_t i = 0; i < r->n_redactions; i++) {
		const Et__Redaction *d = r->redactions[i];
		if ((d->done_index == 0 || late) && d->asked_index > g->redacted &&
		    segment_meets(l, g, d->from_us, d->to_us)) {
			return d;
		}
	}
	return NULL;
}

static int kek_is_compromised(const struct et_state_view *v, const Et__Segment *g, bool *ret)
{
	ET_CLEANUP(message_freep) Et__Kek *kek = NULL;

	*ret = false;
	if (!wrap_counts(g->wrap)) {
		return 0;
	}
	int rc = et_state_get_kek(v, g->wrap->kek_version, &kek);
	*ret = rc == 0 && kek->compromised && kek->state != ET__KEK_STATE__KEK_DESTROYED;
	return rc == ET_ENOTFOUND ? 0 : rc;
}

/* Are all newer generations of it lost, and is it the newest that is not? Then one is made of it
 * again: nobody may be left with a generation that was only ever on the node that died. */
static int stands_in(const struct et_state_view *v, const struct segment_list *l,
		     const Et__Segment *g, bool *ret)
{
	int rc = segment_lives(v, g, ret);

	for (size_t i = 0; i < l->count && rc == 0 && *ret; i++) {
		bool lives = false;
		if (l->list[i]->segment == g->segment && l->list[i]->generation > g->generation) {
			rc = segment_lives(v, l->list[i], &lives);
			*ret = !lives;
		}
	}
	return rc;
}

static int due_of(const struct et_state_view *v, const Et__Recording *r,
		  const struct segment_list *l, et_state_due_fn fn, void *arg)
{
	bool late = false;

	int rc = late_counts(v, &late);
	for (size_t i = 0; i < l->count && rc == 0; i++) {
		const Et__Segment *g = l->list[i];
		if (!wrap_counts(g->wrap) || !segment_is_sealed(g)) {
			continue;
		}
		bool instead = false;
		if (!et_state_segment_is_newest(g)) {
			rc = stands_in(v, l, g, &instead);
			if (rc == 0 && !instead) {
				rc = fn(arg, ET_DUE_FINISH, g, NULL);
			}
			if (rc != 0 || !instead) {
				continue;
			}
		}
		const Et__Redaction *d = redaction_of(l, g, r, late);
		bool compromised = false;
		rc = d == NULL ? kek_is_compromised(v, g, &compromised) : 0;
		if (rc == 0 && (d != NULL || compromised)) {
			rc = fn(arg, ET_DUE_MAKE, g, d);
		}
	}
	return rc;
}

int et_state_each_generation_due_of(const struct et_state_view *v, const uint8_t recording[16],
				    et_state_due_fn fn, void *arg)
{
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;
	struct segment_list l;

	int rc = et_state_get_recording(v, recording, &r);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	if (r->state == ET__RECORDING_STATE__ERASED) {
		return 0;
	}
	rc = segment_list_load(v, recording, &l);
	if (rc < 0) {
		return rc;
	}
	rc = due_of(v, r, &l, fn, arg);
	segment_list_release(&l);
	return rc;
}

struct due_walk {
	int (*fn)(void *arg, const uint8_t recording[16]);
	void *arg;
};

static int due_row(void *arg, struct et_view key, struct et_view value)
{
	const struct due_walk *w = arg;

	(void)value;
	return key.size == 17 ? w->fn(w->arg, key.data + 1) : ET_ECORRUPT;
}

static struct key due_key(const uint8_t recording[16])
{
	struct key k = key_tag('g');

	key_add(&k, recording, 16);
	return k;
}

int et_state_each_generation_due(const struct et_state_view *v, const uint8_t *after,
				 int (*fn)(void *arg, const uint8_t recording[16]), void *arg)
{
	struct due_walk w = { fn, arg };
	struct key all = key_tag('g');
	struct key from = all;

	if (after != NULL) {
		from = due_key(after);
		key_add8(&from, 0); /* just behind it */
	}
	return view_walk(v, CF_LINK, &all, &from, due_row, &w);
}

static int due_is_it(void *arg, const uint8_t recording[16])
{
	return memcmp(arg, recording, 16) == 0 ? 1 : 2;
}

static int due_some(void *arg, enum et_state_due due, const Et__Segment *segment,
		    const Et__Redaction *redaction)
{
	(void)arg;
	(void)due;
	(void)segment;
	(void)redaction;
	return 1; /* one is enough */
}

int generations_late(struct apply *a, const Et__Recording *r)
{
	if (r == NULL || r->n_redactions == 0 || !schema_has(a, ET_SCHEMA_LATE_REDACTED)) {
		return 0;
	}
	int rc = et_state_each_generation_due_of(a->v, r->id.data, due_some, NULL);
	if (rc == 1) { /* else nobody would ever take the row away again */
		struct key due = due_key(r->id.data);
		state_put(a->s, CF_LINK, &due, "", 0);
	}
	return rc < 0 ? rc : 0;
}

int generations_drop(struct apply *a, const uint8_t recording[16])
{
	struct key due = due_key(recording);
	struct due_walk w = { due_is_it, due.data + 1 };

	int rc = view_walk(a->v, CF_LINK, &due, NULL, due_row, &w);
	if (rc == 1) {
		state_delete(a->s, CF_LINK, &due);
	}
	return rc < 0 ? rc : 0;
}

/* ---- What a successor lacks ---- */

enum { PLACES_MAX = 256 }; /* more than a cluster has nodes and targets: more is never enough */

struct place_list {
	const struct et_state_view *v;
	bool with_damaged; /* those that should be there count, too */
	struct {
		char place[80];
		char site[72]; /* "" of a target */
	} list[PLACES_MAX];
	size_t count;
	bool full;
};

/* 1: the copy counts; *ret_node is its node, which the caller frees, or NULL of a target. 0: it
 * does not. */
static int place_counts(const struct et_state_view *v, const Et__Copy *c, bool with_damaged,
			Et__Node **ret_node)
{
	uint64_t id = place_node(c->place);

	if (c->state == ET__COPY__STATE__EVICTED ||
	    (c->state != ET__COPY__STATE__VERIFIED && !with_damaged)) {
		return 0;
	}
	if (id == 0) {
		return 1;
	}
	int rc = et_state_get_node(v, id, ret_node);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	return node_keeps(*ret_node); /* else what it holds is about to go, or is gone */
}

static int place_add(void *arg, const void *message)
{
	struct place_list *l = arg;
	const Et__Copy *c = message;
	ET_CLEANUP(message_freep) Et__Node *node = NULL;

	int rc = place_counts(l->v, c, l->with_damaged, &node);
	if (rc <= 0) {
		return rc;
	}
	if (l->count == PLACES_MAX) {
		l->full = true;
		return 0;
	}
	(void)snprintf(l->list[l->count].place, sizeof(l->list[0].place), "%s", c->place);
	(void)snprintf(l->list[l->count].site, sizeof(l->list[0].site), "%s",
		       node != NULL ? node->site : "");
	l->count++;
	return 0;
}

static int places_load(const struct et_state_view *v, const Et__Segment *g, bool with_damaged,
		       struct place_list *ret)
{
	struct key prefix = key_segment(g->recording.data, g->generation, g->segment);

	*ret = (struct place_list){ .v = v, .with_damaged = with_damaged };
	return view_walk_messages(v, CF_COPY, &prefix, &et__copy__descriptor, place_add, ret);
}

/* A target must be the same; of a site any node will do. */
static bool places_have(const struct place_list *l, const char *place, const char *site)
{
	for (size_t i = 0; i < l->count; i++) {
		if (site[0] != '\0' ? strcmp(l->list[i].site, site) == 0
				    : strcmp(l->list[i].place, place) == 0) {
			return true;
		}
	}
	return false;
}

static int place_is(void *arg, const void *message)
{
	const struct et_state_view *const *v = arg;
	ET_CLEANUP(message_freep) Et__Node *node = NULL;

	return place_counts(*v, message, false, &node);
}

static int segment_lives(const struct et_state_view *v, const Et__Segment *g, bool *ret)
{
	struct key prefix = key_segment(g->recording.data, g->generation, g->segment);

	int rc = view_walk_messages(v, CF_COPY, &prefix, &et__copy__descriptor, place_is, &v);
	*ret = rc == 1;
	return rc < 0 ? rc : 0;
}

static void places_compare(const struct place_list *old, const struct place_list *new,
			   char ret[ET_STATE_LACKS_SIZE])
{
	ret[0] = '\0';
	for (size_t i = 0; i < old->count && ret[0] == '\0'; i++) {
		if (!places_have(new, old->list[i].place, old->list[i].site)) {
			bool target = old->list[i].site[0] == '\0';
			(void)snprintf(ret, ET_STATE_LACKS_SIZE, "no verified copy %s %.80s",
				       target ? "at" : "in site",
				       target ? old->list[i].place : old->list[i].site);
		}
	}
	if (ret[0] == '\0' && (new->count == 0 || new->count < old->count || old->full)) {
		(void)snprintf(ret, ET_STATE_LACKS_SIZE, "%zu verified copies of %zu", new->count,
			       old->count);
	}
}

int et_state_generation_lacks(const struct et_state_view *v, const Et__Segment *old,
			      char ret[ET_STATE_LACKS_SIZE])
{
	ET_CLEANUP(message_freep) Et__Segment *newest = NULL;
	struct place_list *lists = calloc(2, sizeof(*lists));
	uint32_t generation = old->replaced_by;
	int rc = lists == NULL ? -ENOMEM : 0;

	while (rc == 0 && generation != 0) {
		message_freep(&newest);
		newest = NULL;
		rc = et_state_get_segment(v, old->recording.data, generation, old->segment,
					  &newest);
		generation = rc == 0 ? newest->replaced_by : 0;
	}
	if (rc == 0 && newest == NULL) {
		(void)snprintf(ret, ET_STATE_LACKS_SIZE, "no generation took its place");
	} else if (rc == 0) {
		rc = places_load(v, old, true, &lists[0]);
		rc = rc < 0 ? rc : places_load(v, newest, false, &lists[1]);
		if (rc == 0) {
			places_compare(&lists[0], &lists[1], ret);
		}
	}
	free(lists);
	return rc;
}

/* ---- RecordingRedact ---- */

static int redact_check(struct apply *a, const Et__Recording *r, const Et__RecordingRedact *told)
{
	if (r->state == ET__RECORDING_STATE__ERASED) {
		return refuse(a, ET_EREFUSED, "the recording is erased");
	}
	if (r->state == ET__RECORDING_STATE__CAPTURING) {
		return refuse(a, ET_EREFUSED, "the recording is still being made");
	}
	if (told->from_us >= told->to_us) {
		return refuse(a, ET_EREFUSED, "the span is empty");
	}
	if (r->n_redactions >= ET_COMMAND_REDACTIONS_MAX) {
		return refuse(a, ET_ELIMIT, "the recording has %zu redactions", r->n_redactions);
	}
	if (r->imported != NULL && r->imported->untimed) {
		return refuse(
			a, ET_EREFUSED,
			"it is a file of format %.32s, kept as it is: where in it the span is, is "
			"not known; erase it instead",
			r->imported->format);
	}
	return recording_not_held(a, r);
}

static int redact_segments_check(struct apply *a, const Et__RecordingRedact *told)
{
	struct segment_list l;
	size_t met = 0;

	int rc = segment_list_load(a->v, told->recording.data, &l);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < l.count && rc == 0; i++) {
		const Et__Segment *g = l.list[i];
		if (!et_state_segment_is_newest(g) || g->state == ET__SEGMENT_STATE__SEGMENT_LOST) {
			continue;
		}
		if (!segment_is_sealed(g) || !wrap_counts(g->wrap)) {
			rc = refuse(a, ET_EREFUSED, "segment %u is not sealed yet", g->segment);
		}
		met += segment_meets(&l, g, told->from_us, told->to_us);
	}
	segment_list_release(&l);
	return rc == 0 && met == 0 ? refuse(a, ET_ENOTFOUND, "nothing is recorded of that span")
				   : rc;
}

int apply_recording_redact(struct apply *a)
{
	const Et__RecordingRedact *told = a->c->recording_redact;
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;
	Et__Redaction d = ET__REDACTION__INIT;

	result_id(a, told->recording);
	int rc = et_state_get_recording(a->v, told->recording.data, &r);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the recording is not known");
	}
	rc = rc < 0 ? rc : redact_check(a, r, told);
	rc = rc < 0 ? rc : redact_segments_check(a, told);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < r->n_redactions; i++) {
		const Et__Redaction *known = r->redactions[i];
		if (known->from_us == told->from_us && known->to_us == told->to_us) {
			a->o->result.number = known->asked_index;
			return 0; /* it was asked for */
		}
	}
	d.from_us = told->from_us;
	d.to_us = told->to_us;
	d.reason = a->c->reason;
	d.principal = a->c->principal;
	d.asked_us = apply_time(a);
	d.asked_index = a->index;
	Et__Recording after = *r;
	Et__Redaction *list[ET_COMMAND_REDACTIONS_MAX];
	if (r->n_redactions > 0) {
		memcpy(list, r->redactions, r->n_redactions * sizeof(list[0]));
	}
	list[r->n_redactions] = &d;
	after.redactions = list;
	after.n_redactions = r->n_redactions + 1;
	struct key due = due_key(told->recording.data);
	state_put(a->s, CF_LINK, &due, "", 0);
	a->o->result.number = a->index;
	return recording_put(a, r, &after);
}

/* ---- GenerationPut ---- */

static int put_check_told(struct apply *a, const Et__GenerationPut *told)
{
	const Et__Segment *g = told->segment;
	const Et__Node *node = NULL;

	if (g->generation < 2 || g->state != ET__SEGMENT_STATE__SEGMENT_SEALED ||
	    g->root.len != 32 || g->header_hash.len != 32 || !segment_has_hash(g) ||
	    g->size_bytes == 0 || g->file[0] == '\0' || g->link.len == 0 || g->wrap->erased ||
	    g->wrap->enc.len != 32 || g->wrap->ciphertext.len == 0) {
		return refuse(a, ET_EREFUSED, "a generation comes sealed, with its key and link");
	}
	int rc = apply_node(a, a->c->op->node, &node);
	if (rc == 0 && (g->node != a->c->op->node || !node_has_role(node, "vault"))) {
		return refuse(a, ET_EDENIED, "a vault node makes a generation, of its own");
	}
	return rc;
}

static int put_check_old(struct apply *a, const Et__GenerationPut *told, const Et__Segment *old)
{
	if (!bytes_equal(old->root, told->old_root)) {
		return refuse(a, ET_ESTALE, "generation %u of segment %u is another one",
			      old->generation, old->segment);
	}
	if (!segment_is_sealed(old) || !wrap_counts(old->wrap)) {
		return refuse(a, ET_EREFUSED, "generation %u of segment %u is not sealed or erased",
			      old->generation, old->segment);
	}
	return old->t0_us == told->segment->t0_us
		       ? 0
		       : refuse(a, ET_EREFUSED, "the generation begins at another time");
}

/* Is there a reason for it, and is it the first one? Without one nothing may take the place of what
 * a recorder made; and no redaction may be passed over. */
static int put_check_reason(struct apply *a, const Et__GenerationPut *told, const Et__Recording *r,
			    const Et__Segment *old)
{
	struct segment_list l;
	bool compromised = false;
	bool late = false;

	int rc = late_counts(a->v, &late);
	rc = rc < 0 ? rc : segment_list_load(a->v, old->recording.data, &l);
	if (rc < 0) {
		return rc;
	}
	const Et__Redaction *first = redaction_of(&l, old, r, late);
	segment_list_release(&l);
	if (told->redaction != (first != NULL ? first->asked_index : 0)) {
		return refuse(a, ET_ESTALE, "that is not the redaction which is due");
	}
	rc = first == NULL ? kek_is_compromised(a->v, old, &compromised) : 0;
	return rc < 0 || first != NULL || compromised
		       ? rc
		       : refuse(a, ET_EREFUSED, "KEK version %u is not compromised",
				old->wrap->kek_version);
}

static int put_check_key(struct apply *a, const Et__Wrap *wrap)
{
	ET_CLEANUP(message_freep) Et__Kek *kek = NULL;

	int rc = et_state_get_kek(a->v, wrap->kek_version, &kek);
	if (rc == ET_ENOTFOUND || (rc == 0 && kek->state != ET__KEK_STATE__KEK_ACTIVE)) {
		return refuse(a, ET_ESTALE, "KEK version %u is not the active one",
			      wrap->kek_version);
	}
	return rc;
}

/* It is made of the newest generation, or all that are newer than what it is made of are lost. */
static int put_check_newest(struct apply *a, const Et__GenerationPut *told)
{
	const Et__Segment *g = told->segment;
	int rc = 0;

	if (told->made_of >= g->generation) {
		return refuse(a, ET_EREFUSED, "it is made of itself");
	}
	for (uint32_t n = told->made_of + 1; n < g->generation && rc == 0; n++) {
		ET_CLEANUP(message_freep) Et__Segment *newer = NULL;
		bool lives = false;
		rc = et_state_get_segment(a->v, g->recording.data, n, g->segment, &newer);
		rc = rc < 0 ? rc : segment_lives(a->v, newer, &lives);
		if (rc == 0 && lives) {
			rc = refuse(a, ET_ESTALE, "generation %u of segment %u is there", n,
				    g->segment);
		}
	}
	return rc == ET_ENOTFOUND ? refuse(a, ET_ENOTFOUND, "a generation before it is missing")
				  : rc;
}

static int put_write(struct apply *a, const Et__GenerationPut *told, const Et__Segment *newest,
		     const Et__Segment *old)
{
	Et__Segment new = *told->segment;
	Et__Segment before = *newest;
	struct key due = due_key(newest->recording.data);

	new.made_index = a->index;
	new.replaced_by = 0;
	new.redacted = told->redaction > old->redacted ? told->redaction : old->redacted;
	before.replaced_by = new.generation;
	a->s->counts.segments++;
	state_put(a->s, CF_LINK, &due, "", 0);
	int rc = wraps_add(a->s, new.wrap);
	rc = rc < 0 ? rc : segment_put(a, &new);
	rc = rc < 0 ? rc : segment_put(a, &before);
	return rc < 0 ? rc : copy_of_sealer(a, &new, told->store_uuid, false);
}

/* The newest one, and the one that it is made of (mostly the same). */
static int put_load(struct apply *a, const Et__GenerationPut *told, Et__Segment **newest,
		    Et__Segment **old)
{
	const Et__Segment *g = told->segment;

	int rc = et_state_get_segment(a->v, g->recording.data, g->generation - 1, g->segment,
				      newest);
	rc = rc < 0 ? rc
		    : et_state_get_segment(a->v, g->recording.data, told->made_of, g->segment, old);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "there is no generation %u or %u of segment %u",
			      g->generation - 1, told->made_of, g->segment);
	}
	return rc;
}

static int put_known(struct apply *a, const Et__Segment *known, const Et__Segment *g)
{
	return bytes_equal(known->root, g->root)
		       ? 0
		       : refuse(a, ET_ESTALE, "generation %u of segment %u is there", g->generation,
				g->segment);
}

int apply_generation_put(struct apply *a)
{
	const Et__GenerationPut *told = a->c->generation_put;
	const Et__Segment *g = told->segment;
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;
	ET_CLEANUP(message_freep) Et__Segment *known = NULL;
	ET_CLEANUP(message_freep) Et__Segment *newest = NULL;
	ET_CLEANUP(message_freep) Et__Segment *old = NULL;

	result_id(a, g->recording);
	int rc = put_check_told(a, told);
	rc = rc < 0 ? rc : recording_not_erased(a, g->recording, &r);
	if (rc < 0) {
		return rc;
	}
	if (r == NULL) {
		return refuse(a, ET_ENOTFOUND, "the recording is not known");
	}
	rc = et_state_get_segment(a->v, g->recording.data, g->generation, g->segment, &known);
	if (rc != ET_ENOTFOUND) {
		return rc < 0 ? rc : put_known(a, known, g);
	}
	rc = put_load(a, told, &newest, &old);
	rc = rc < 0 ? rc : put_check_newest(a, told);
	rc = rc < 0 ? rc : put_check_old(a, told, old);
	rc = rc < 0 ? rc : put_check_reason(a, told, r, old);
	rc = rc < 0 ? rc : put_check_key(a, g->wrap);
	rc = rc < 0 ? rc : recording_not_held(a, r);
	return rc < 0 ? rc : put_write(a, told, newest, old);
}

/* ---- GenerationFinish ---- */

struct old_copies {
	struct apply *a;
	Et__Copy *list[PLACES_MAX]; /* owned */
	size_t count;
};

static int old_copy_add(void *arg, const void *message)
{
	struct old_copies *o = arg;
	const Et__Copy *c = message;
	struct key key = key_copy(c);

	if (place_node(c->place) == 0 || c->state == ET__COPY__STATE__EVICTED ||
	    o->count == PLACES_MAX) {
		return 0;
	}
	int rc =
		view_get_message(o->a->v, CF_COPY, &key, &et__copy__descriptor, &o->list[o->count]);
	o->count += rc == 0;
	return rc;
}

/* Nodes remove the files of what is evicted. At a target it stays, and opens with nothing. */
static int old_copies_evict(struct apply *a, const Et__Segment *old)
{
	struct old_copies *o = calloc(1, sizeof(*o));
	struct key prefix = key_segment(old->recording.data, old->generation, old->segment);

	if (o == NULL) {
		return -ENOMEM;
	}
	o->a = a;
	int rc = view_walk_messages(a->v, CF_COPY, &prefix, &et__copy__descriptor, old_copy_add, o);
	for (size_t i = 0; i < o->count; i++) {
		Et__Copy after = *o->list[i];
		after.state = ET__COPY__STATE__EVICTED;
		rc = rc == 0 ? copy_put(a, o->list[i], &after) : rc;
		message_freep(&o->list[i]);
	}
	free(o);
	return rc;
}

static int due_any(void *arg, enum et_state_due due, const Et__Segment *segment,
		   const Et__Redaction *redaction)
{
	const Et__Segment *finished = arg;
	bool is_it = due == ET_DUE_FINISH && segment->generation == finished->generation &&
		     segment->segment == finished->segment;

	(void)redaction;
	return is_it ? 0 : 1; /* what this entry has just written is not in the view */
}

/* When nothing else is due, every redaction of the recording is done. */
static int redactions_settle(struct apply *a, const Et__Segment *finished)
{
	ET_CLEANUP(message_freep) Et__Recording *before = NULL;
	ET_CLEANUP(message_freep) Et__Recording *after = NULL;
	const uint8_t *id = finished->recording.data;

	int rc = et_state_each_generation_due_of(a->v, id, due_any, (void *)(uintptr_t)finished);
	if (rc != 0) {
		return rc == 1 ? 0 : rc;
	}
	struct key due = due_key(id);
	state_delete(a->s, CF_LINK, &due);
	rc = et_state_get_recording(a->v, id, &before);
	rc = rc < 0 ? rc : et_state_get_recording(a->v, id, &after);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < after->n_redactions; i++) {
		Et__Redaction *d = after->redactions[i];
		if (d->done_index == 0) {
			d->done_index = a->index;
			d->done_us = apply_time(a);
		}
	}
	return recording_put(a, before, after);
}

int apply_generation_finish(struct apply *a)
{
	const Et__GenerationFinish *told = a->c->generation_finish;
	ET_CLEANUP(message_freep) Et__Segment *old = NULL;
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;
	char lacks[ET_STATE_LACKS_SIZE];

	result_id(a, told->recording);
	int rc = et_state_get_recording(a->v, told->recording.data, &r);
	rc = rc < 0 ? rc
		    : et_state_get_segment(a->v, told->recording.data, told->generation,
					   told->segment, &old);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the segment is not known");
	}
	if (rc < 0) {
		return rc;
	}
	if (et_state_segment_is_newest(old)) {
		return refuse(a, ET_EREFUSED, "no generation took its place");
	}
	if (!wrap_counts(old->wrap)) {
		return 0; /* it is gone */
	}
	rc = recording_not_held(a, r);
	rc = rc < 0 ? rc : et_state_generation_lacks(a->v, old, lacks);
	if (rc < 0) {
		return rc;
	}
	if (lacks[0] != '\0') {
		return refuse(a, ET_EPOLICY, "its successor has %s", lacks);
	}
	rc = segment_erase(a, old);
	rc = rc < 0 ? rc : old_copies_evict(a, old);
	return rc < 0 ? rc : redactions_settle(a, old);
}
