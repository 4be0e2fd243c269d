/* What others tell of a call: facts, tags, notes. One record a subject holds all of it, old
 * versions too, in the order of the log: so two writers never disagree about which telling counts.
 *
 * A subject may be told of before its recording is known. It waits then, in a queue of bounded
 * length. What waited for a day and was not claimed makes room for newer ones. */
#include "raft/state/state_internal.h"

#define WAITING_MAX 100000
#define WAITING_KEPT_US (INT64_C(24) * 3600 * 1000000)

/* ---- Keys ---- */

static struct key key_told(const Et__Subject *about)
{
	struct key k;

	if (about->recording.len == 16) {
		k = key_tag('r');
		key_add(&k, about->recording.data, 16);
	} else if (about->call.len == 16) {
		k = key_tag('c');
		key_add(&k, about->call.data, 16);
	} else {
		k = key_tag('s');
		key_add_text(&k, about->sip_call_id);
	}
	return k;
}

static bool subject_is(const Et__Subject *a, const Et__Subject *b)
{
	struct key x = key_told(a);
	struct key y = key_told(b);

	return x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
}

static struct key key_waiting(int64_t since_us, const struct key *told)
{
	struct key k = key_tag('w');

	key_add64(&k, (uint64_t)since_us);
	key_add(&k, told->data, told->size);
	return k;
}

/* ---- Reading ---- */

static bool subject_is_possible(const Et__Subject *about)
{
	return about->recording.len == 16 || about->call.len == 16 ||
	       (about->sip_call_id[0] != '\0' && strlen(about->sip_call_id) <= 512);
}

int et_state_get_told(const struct et_state_view *v, const Et__Subject *about, Et__Told **ret)
{
	if (!subject_is_possible(about)) {
		return ET_ENOTFOUND;
	}
	struct key key = key_told(about);
	return view_get_message(v, CF_TOLD, &key, &et__told__descriptor, ret);
}

size_t told_subjects(const Et__Recording *r, Et__Subject subjects[TOLD_SUBJECTS])
{
	size_t count = 0;

	for (size_t i = 0; i < TOLD_SUBJECTS; i++) {
		et__subject__init(&subjects[i]);
	}
	if (r->state == ET__RECORDING_STATE__ERASED) {
		return 0; /* nothing is told of what is erased */
	}
	subjects[count++].recording = r->id;
	if (r->call.len == 16) {
		subjects[count++].call = r->call;
	}
	if (et_hand_moved(r->hand)) {
		subjects[count++].call = r->hand->was;
	}
	if (r->sip_call_id[0] != '\0') {
		subjects[count++].sip_call_id = r->sip_call_id;
	}
	return count;
}

int told_load(const struct et_state_view *v, const Et__Recording *r, Et__Told *told[TOLD_SUBJECTS])
{
	Et__Subject subjects[TOLD_SUBJECTS];
	size_t count = told_subjects(r, subjects);

	for (size_t i = 0; i < TOLD_SUBJECTS; i++) {
		told[i] = NULL;
	}
	for (size_t i = 0; i < count; i++) {
		int rc = et_state_get_told(v, &subjects[i], &told[i]);
		if (rc < 0 && rc != ET_ENOTFOUND) {
			told_free(told);
			return rc;
		}
	}
	return 0;
}

void told_free(Et__Told *told[TOLD_SUBJECTS])
{
	for (size_t i = 0; i < TOLD_SUBJECTS; i++) {
		message_freep(&told[i]);
		told[i] = NULL;
	}
}

int et_state_each_told_of(const struct et_state_view *v, const Et__Recording *r,
			  int (*fn)(void *arg, const Et__Told *record), void *arg)
{
	Et__Told *told[TOLD_SUBJECTS];

	int rc = told_load(v, r, told);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < TOLD_SUBJECTS && rc == 0; i++) {
		rc = told[i] != NULL ? fn(arg, told[i]) : 0;
	}
	told_free(told);
	return rc;
}

bool et_told_fact_counts(const Et__Told *told, size_t i)
{
	if (told->facts[i]->withdrawn) {
		return false;
	}
	for (size_t k = i + 1; k < told->n_facts; k++) {
		if (strcmp(told->facts[k]->key, told->facts[i]->key) == 0) {
			return false;
		}
	}
	return true;
}

bool et_told_note_counts(const Et__Told *told, size_t i)
{
	if (told->notes[i]->withdrawn) {
		return false;
	}
	for (size_t k = i + 1; k < told->n_notes; k++) {
		if (bytes_equal(told->notes[k]->id, told->notes[i]->id)) {
			return false;
		}
	}
	return true;
}

bool et_told_fact_is_of(const Et__Fact *fact, const Et__Recording *r)
{
	bool begins =
		fact->valid_from_us == 0 || r->end_us == 0 || fact->valid_from_us <= r->end_us;
	bool lasts = fact->valid_to_us == 0 || fact->valid_to_us > r->start_us;

	return begins && lasts;
}

/* ---- Which recordings a subject names ---- */

/* The link of a call or a SIP Call-ID. */
static struct key subject_link(const Et__Subject *about)
{
	return about->call.len == 16 ? link_of_call(about->call) : link_of_sip(about->sip_call_id);
}

static int subject_recordings(struct apply *a, const Et__Subject *about, struct linked *ret)
{
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;

	ret->count = 0;
	ret->too_many = false;
	if (about->recording.len == 16) {
		int rc = et_state_get_recording(a->v, about->recording.data, &r);
		if (rc == 0 && r->state == ET__RECORDING_STATE__ERASED) {
			return refuse(a, ET_EREFUSED, "the recording is erased");
		}
		memcpy(ret->ids[0], about->recording.data, 16);
		ret->count = rc == 0;
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	struct key link = subject_link(about);
	int rc = linked_read(a->v, &link, ret);
	if (rc == 0 && ret->too_many) {
		rc = refuse(a, ET_ELIMIT, "more than %d recordings carry it: name the recording",
			    LINKED_MAX);
	}
	return rc;
}

/* ---- Waiting ---- */

struct oldest {
	struct key waiting;
	bool found;
};

static int oldest_each(void *arg, struct et_view key, struct et_view value)
{
	struct oldest *o = arg;

	(void)value;
	o->waiting = key_of(key.data, key.size);
	o->found = true;
	return 1;
}

static int waiting_room(struct apply *a)
{
	struct oldest o = { .found = false };
	struct key prefix = key_tag('w');

	if (a->s->counts.waiting < WAITING_MAX) {
		return 0;
	}
	int rc = view_walk(a->v, CF_TOLD, &prefix, NULL, oldest_each, &o);
	if (rc < 0) {
		return rc;
	}
	if (!o.found || o.waiting.size < 10) {
		return ET_ECORRUPT;
	}
	if ((int64_t)et_get64(o.waiting.data + 1) > apply_time(a) - WAITING_KEPT_US) {
		return refuse(a, ET_ELIMIT,
			      "%d subjects already wait for a recording that they fit",
			      WAITING_MAX);
	}
	struct key told = key_of(o.waiting.data + 9, o.waiting.size - 9);
	state_delete(a->s, CF_TOLD, &told);
	state_delete(a->s, CF_TOLD, &o.waiting);
	a->s->counts.waiting--;
	a->s->counts.forgotten++;
	return 0;
}

static int waiting_end(struct apply *a, const Et__Subject *about)
{
	ET_CLEANUP(message_freep) Et__Told *told = NULL;

	int rc = et_state_get_told(a->v, about, &told);
	if (rc < 0 || !told->waiting) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	struct key key = key_told(about);
	struct key waiting = key_waiting(told->waiting_us, &key);
	told->waiting = false;
	told->waiting_us = 0;
	state_delete(a->s, CF_TOLD, &waiting);
	a->s->counts.waiting--;
	return state_put_message(a->s, CF_TOLD, &key, told);
}

int told_claim(struct apply *a, const Et__Recording *r)
{
	Et__Subject subjects[TOLD_SUBJECTS];
	size_t count = told_subjects(r, subjects);
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0 && a->s->counts.waiting > 0; i++) {
		rc = waiting_end(a, &subjects[i]);
	}
	return rc;
}

/* ---- Erasing ---- */

static int forget_seen(void *arg, struct et_view key, struct et_view value)
{
	(void)arg;
	(void)key;
	(void)value;
	return 1; /* one is enough */
}

int told_forget(struct apply *a, const Et__Subject *about)
{
	ET_CLEANUP(message_freep) Et__Told *told = NULL;
	struct key key = key_told(about);
	int rc = et_state_get_told(a->v, about, &told);

	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	if (about->recording.len != 16) {
		struct key link = subject_link(about);
		rc = view_walk(a->v, CF_LINK, &link, NULL, forget_seen, NULL);
	}
	if (rc != 0) {
		return rc < 0 ? rc : 0; /* another recording carries it */
	}
	if (told->waiting) {
		struct key waiting = key_waiting(told->waiting_us, &key);
		state_delete(a->s, CF_TOLD, &waiting);
		a->s->counts.waiting--;
	}
	state_delete(a->s, CF_TOLD, &key);
	return 0;
}

/* ---- Writing ---- */

/* What is told of a subject, being changed: lists of borrowed records. */
struct change {
	struct apply *a;
	Et__Told *before; /* owned; NULL: nothing was told of it */
	Et__Told after;
	struct linked named;
	Et__Fact *facts[ET_COMMAND_TOLD_MAX];
	Et__Tag *tags[ET_COMMAND_TOLD_MAX];
	Et__Note *notes[ET_COMMAND_TOLD_MAX];
	Et__Fact new_facts[64];
	Et__Tag new_tags[64];
	Et__Note new_note;
	size_t changes;
};

static void change_free(struct change *c)
{
	if (c != NULL) {
		message_freep(&c->before);
		free(c);
	}
}

static void change_freep(struct change **c)
{
	change_free(*c);
}

/* A list without elements may have no memory. */
static void list_copy(void *to, const void *from, size_t size)
{
	if (size > 0) {
		memcpy(to, from, size);
	}
}

static int change_begin(struct apply *a, Et__Subject *about, struct change **ret)
{
	struct change *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		return -ENOMEM;
	}
	c->a = a;
	int rc = subject_recordings(a, about, &c->named);
	if (rc == 0) {
		rc = et_state_get_told(a->v, about, &c->before);
		rc = rc == ET_ENOTFOUND ? 0 : rc;
	}
	if (rc < 0) {
		change_free(c);
		return rc;
	}
	et__told__init(&c->after);
	if (c->before != NULL) {
		c->after = *c->before;
		list_copy(c->facts, c->before->facts, c->before->n_facts * sizeof(c->facts[0]));
		list_copy(c->tags, c->before->tags, c->before->n_tags * sizeof(c->tags[0]));
		list_copy(c->notes, c->before->notes, c->before->n_notes * sizeof(c->notes[0]));
	}
	c->after.about = about;
	c->after.facts = c->facts;
	c->after.tags = c->tags;
	c->after.notes = c->notes;
	*ret = c;
	return 0;
}

static int change_full(struct apply *a)
{
	return refuse(
		a, ET_ELIMIT,
		"too much was told of it: at most %d facts, tags and notes each, %d bytes in all, "
		"old versions with them",
		ET_COMMAND_TOLD_MAX, ET_COMMAND_TOLD_SIZE_MAX);
}

static int change_index(struct change *c)
{
	for (size_t i = 0; i < c->named.count; i++) {
		ET_CLEANUP(message_freep) Et__Recording *r = NULL;
		Et__Subject subjects[TOLD_SUBJECTS];
		Et__Told *told[TOLD_SUBJECTS];
		const Et__Told *before[TOLD_SUBJECTS];
		const Et__Told *after[TOLD_SUBJECTS];
		int rc = et_state_get_recording(c->a->v, c->named.ids[i], &r);
		rc = rc == ET_ENOTFOUND ? ET_ECORRUPT : rc;
		rc = rc < 0 ? rc : told_load(c->a->v, r, told); /* as it was: not written yet */
		if (rc < 0) {
			return rc;
		}
		size_t count = told_subjects(r, subjects);
		for (size_t k = 0; k < TOLD_SUBJECTS; k++) {
			bool own = k < count && subject_is(&subjects[k], c->after.about);
			before[k] = told[k];
			after[k] = own ? &c->after : told[k];
		}
		struct indexed old = { r, before };
		struct indexed new = { r, after };
		rc = index_update(c->a->s, &old, &new);
		told_free(told);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

static int change_write(struct change *c)
{
	struct apply *a = c->a;
	struct key key = key_told(c->after.about);
	int rc = 0;

	if (c->changes == 0) {
		return 0;
	}
	if (et__told__get_packed_size(&c->after) > ET_COMMAND_TOLD_SIZE_MAX) {
		return change_full(a);
	}
	if (c->before == NULL && c->named.count == 0) {
		rc = waiting_room(a);
		if (rc < 0) {
			return rc;
		}
		c->after.waiting = true;
		c->after.waiting_us = apply_time(a);
		struct key waiting = key_waiting(c->after.waiting_us, &key);
		state_put(a->s, CF_TOLD, &waiting, "", 0);
		a->s->counts.waiting++;
	}
	rc = change_index(c);
	return rc < 0 ? rc : state_put_message(a->s, CF_TOLD, &key, &c->after);
}

/* ---- Facts ---- */

static bool fact_same(const Et__Fact *a, const Et__Fact *b)
{
	return a->type == b->type && strcmp(a->text, b->text) == 0 && a->number == b->number &&
	       a->set == b->set && strcmp(a->source, b->source) == 0 &&
	       a->valid_from_us == b->valid_from_us && a->valid_to_us == b->valid_to_us &&
	       a->withdrawn == b->withdrawn;
}

static int fact_tell(struct change *c, size_t n, const Et__Fact *told)
{
	Et__Told *after = &c->after;
	const Et__Fact *last = NULL;

	for (size_t i = 0; i < after->n_facts; i++) {
		last = strcmp(after->facts[i]->key, told->key) == 0 ? after->facts[i] : last;
	}
	if (last != NULL ? fact_same(last, told) : told->withdrawn) {
		return 0; /* it stands like that already */
	}
	if (after->n_facts == ET_COMMAND_TOLD_MAX) {
		return change_full(c->a);
	}
	Et__Fact *f = &c->new_facts[n];
	*f = *told;
	f->principal = c->a->c->principal;
	f->told_us = c->a->c->proposed_us;
	f->index = c->a->index;
	after->facts[after->n_facts++] = f;
	c->changes++;
	return 0;
}

int apply_fact_add(struct apply *a)
{
	ET_CLEANUP(change_freep) struct change *c = NULL;
	const Et__FactAdd *add = a->c->fact_add;

	int rc = change_begin(a, add->about, &c);
	for (size_t i = 0; i < add->n_facts && rc == 0; i++) {
		rc = fact_tell(c, i, add->facts[i]);
	}
	if (rc == 0) {
		rc = change_write(c);
	}
	if (rc == 0) {
		a->s->counts.facts += c->changes;
		a->o->result.number = c->changes;
	}
	return rc;
}

/* ---- Tags ---- */

static int tag_tell(struct change *c, size_t n, const Et__Tag *told)
{
	Et__Told *after = &c->after;
	size_t at = 0;

	while (at < after->n_tags && strcmp(after->tags[at]->name, told->name) != 0) {
		at++;
	}
	if (at == after->n_tags ? told->cleared : after->tags[at]->cleared == told->cleared) {
		return 0;
	}
	if (at == ET_COMMAND_TOLD_MAX) {
		return change_full(c->a);
	}
	Et__Tag *t = &c->new_tags[n];
	*t = *told;
	t->principal = c->a->c->principal;
	t->told_us = c->a->c->proposed_us;
	t->index = c->a->index;
	after->tags[at] = t;
	after->n_tags += at == after->n_tags;
	c->changes++;
	return 0;
}

int apply_tag_set(struct apply *a)
{
	ET_CLEANUP(change_freep) struct change *c = NULL;
	const Et__TagSet *set = a->c->tag_set;

	int rc = change_begin(a, set->about, &c);
	for (size_t i = 0; i < set->n_tags && rc == 0; i++) {
		rc = tag_tell(c, i, set->tags[i]);
	}
	if (rc == 0) {
		rc = change_write(c);
	}
	if (rc == 0) {
		a->s->counts.tags += c->changes;
		a->o->result.number = c->changes;
	}
	return rc;
}

/* ---- Of an import ---- */

int told_import(struct apply *a, Et__Subject *about, const Et__RecordingImport *told)
{
	ET_CLEANUP(change_freep) struct change *c = NULL;
	size_t facts = 0;

	if (told->n_facts == 0 && told->n_tags == 0) {
		return 0;
	}
	int rc = change_begin(a, about, &c);
	for (size_t i = 0; i < told->n_facts && rc == 0; i++) {
		rc = fact_tell(c, i, told->facts[i]);
	}
	facts = rc == 0 ? c->changes : 0;
	for (size_t i = 0; i < told->n_tags && rc == 0; i++) {
		rc = tag_tell(c, i, told->tags[i]);
	}
	rc = rc < 0 ? rc : change_write(c);
	if (rc == 0) {
		a->s->counts.facts += facts;
		a->s->counts.tags += c->changes - facts;
	}
	return rc;
}

/* ---- Notes ---- */

static int note_tell(struct change *c, const Et__Note *told)
{
	Et__Told *after = &c->after;
	const Et__Note *last = NULL;

	for (size_t i = 0; i < after->n_notes; i++) {
		last = bytes_equal(after->notes[i]->id, told->id) ? after->notes[i] : last;
	}
	if (last == NULL && told->withdrawn) {
		return refuse(c->a, ET_ENOTFOUND, "there is no such note");
	}
	if (last != NULL && strcmp(last->text, told->text) == 0 && last->at_us == told->at_us &&
	    last->withdrawn == told->withdrawn) {
		c->a->o->result.number = last->version;
		return 0;
	}
	if (after->n_notes == ET_COMMAND_TOLD_MAX) {
		return change_full(c->a);
	}
	c->new_note = *told;
	c->new_note.version = last != NULL ? last->version + 1 : 1;
	c->new_note.principal = c->a->c->principal;
	c->new_note.told_us = c->a->c->proposed_us;
	c->new_note.index = c->a->index;
	after->notes[after->n_notes++] = &c->new_note;
	c->changes++;
	c->a->o->result.number = c->new_note.version;
	return 0;
}

int apply_note_add(struct apply *a)
{
	ET_CLEANUP(change_freep) struct change *c = NULL;
	const Et__NoteAdd *add = a->c->note_add;

	int rc = change_begin(a, add->about, &c);
	if (rc == 0) {
		rc = note_tell(c, add->note);
	}
	if (rc == 0) {
		rc = change_write(c);
	}
	if (rc == 0) {
		a->s->counts.notes += c->changes;
		result_id(a, add->note->id);
	}
	return rc;
}
