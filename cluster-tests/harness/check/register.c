/* Wing, Gong and Lowe's search. See check.h.
 *
 * Calls and returns stand in one list, in the order of time. The search takes a call from before
 * the first return, lets the register do it and takes both its entries out; at a return whose call
 * was not taken it goes back. A state (which operations are done, and the register's value) that
 * was seen before is not looked at again. */
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/harness/check/check.h"
#include "node/base/defs.h"

struct entry {
	struct entry *prev, *next;
	struct entry *ret; /* of a call: its return; NULL for a return */
	size_t op;
	uint64_t time;
};

struct state {
	uint64_t hash; /* 0: empty slot */
	int64_t value;
	uint64_t *done; /* owned */
};

struct search {
	struct et_op *ops; /* owned: a prepared copy */
	size_t *origin;	   /* owned: index of each in the caller's array */
	size_t count;
	struct entry *entries; /* owned */
	struct entry head;
	uint64_t *done; /* owned: bits */
	size_t words;
	struct state *seen; /* owned */
	size_t seen_count, seen_capacity, states_max;
	struct entry **stack; /* owned: calls that were taken */
	int64_t *values;      /* owned: the value before each of them */
	size_t depth;
	int64_t value;
	size_t must; /* operations that have returned and are not taken yet */
	size_t deepest, last;
};

/* ---- Preparation ---- */

static bool observes(const struct et_op *o, int64_t value)
{
	if (o->ret == ET_OPEN) {
		return false;
	}
	return (o->kind == ET_OP_READ && o->value == value) ||
	       (o->kind == ET_OP_CAS && o->swapped && o->from == value);
}

/* By when an open operation has happened, as somebody saw its value; ET_OPEN: nobody did. */
static uint64_t observed_by(const struct et_op *ops, size_t count, const struct et_op *open)
{
	uint64_t by = ET_OPEN;
	for (size_t i = 0; i < count; i++) {
		if (observes(&ops[i], open->value) && ops[i].ret < by) {
			by = ops[i].ret;
		}
	}
	return by;
}

static void search_prepare(struct search *s, const struct et_op *ops, size_t count)
{
	bool has_cas = false;
	for (size_t i = 0; i < count; i++) {
		has_cas = has_cas || ops[i].kind == ET_OP_CAS;
	}
	for (size_t i = 0; i < count; i++) {
		struct et_op o = ops[i];
		if (o.ret == ET_OPEN) {
			o.ret = o.kind == ET_OP_READ ? ET_OPEN : observed_by(ops, count, &o);
			if (o.ret == ET_OPEN && (o.kind == ET_OP_READ || !has_cas)) {
				continue;
			}
			o.swapped = o.kind == ET_OP_CAS && o.ret != ET_OPEN;
			o.ret = o.ret <= o.call
					? o.call + 1
					: o.ret; /* seen before it was asked: it fails there */
		}
		s->origin[s->count] = i;
		s->ops[s->count++] = o;
	}
}

static int entry_order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	if (x->time != y->time) {
		return x->time < y->time ? -1 : 1;
	}
	/* At one instant a call stands before a return: they overlap. */
	return (x->ret == NULL) - (y->ret == NULL);
}

static void search_list(struct search *s)
{
	struct entry *e = s->entries;
	struct entry **calls = calloc(s->count + 1, sizeof(struct entry *));
	et_assert(calls != NULL);
	for (size_t i = 0; i < s->count; i++) {
		e[2 * i] = (struct entry){ .op = i, .time = s->ops[i].call, .ret = &s->head };
		e[2 * i + 1] = (struct entry){ .op = i, .time = s->ops[i].ret };
		s->must += s->ops[i].ret != ET_OPEN;
	}
	qsort(e, 2 * s->count, sizeof(*e), entry_order);
	struct entry *last = &s->head;
	for (size_t i = 0; i < 2 * s->count; i++) {
		if (e[i].ret != NULL) {
			calls[e[i].op] = &e[i];
		} else {
			calls[e[i].op]->ret = &e[i];
		}
		e[i].prev = last;
		last->next = &e[i];
		last = &e[i];
	}
	free(calls);
}

/* ---- States that were seen ---- */

static uint64_t state_hash(const struct search *s)
{
	uint64_t h = 0x9E3779B97F4A7C15U ^ (uint64_t)s->value * 0xff51afd7ed558ccdU;
	for (size_t i = 0; i < s->words; i++) {
		h = (h ^ s->done[i]) * 0xff51afd7ed558ccdU;
		h ^= h >> 32;
	}
	return h != 0 ? h : 1;
}

static void seen_grow(struct search *s)
{
	size_t capacity = s->seen_capacity > 0 ? 2 * s->seen_capacity : 4096;
	struct state *grown = calloc(capacity, sizeof(*grown));
	et_assert(grown != NULL);
	for (size_t i = 0; i < s->seen_capacity; i++) {
		size_t at = s->seen[i].hash & (capacity - 1);
		while (s->seen[i].hash != 0 && grown[at].hash != 0) {
			at = (at + 1) & (capacity - 1);
		}
		if (s->seen[i].hash != 0) {
			grown[at] = s->seen[i];
		}
	}
	free(s->seen);
	s->seen = grown;
	s->seen_capacity = capacity;
}

/* True when the present state is new; then it is remembered. */
static bool seen_add(struct search *s)
{
	uint64_t hash = state_hash(s);
	if (2 * (s->seen_count + 1) > s->seen_capacity) {
		seen_grow(s);
	}
	size_t at = hash & (s->seen_capacity - 1);
	for (; s->seen[at].hash != 0; at = (at + 1) & (s->seen_capacity - 1)) {
		if (s->seen[at].hash == hash && s->seen[at].value == s->value &&
		    memcmp(s->seen[at].done, s->done, s->words * sizeof(uint64_t)) == 0) {
			return false;
		}
	}
	uint64_t *done = malloc(s->words * sizeof(uint64_t));
	et_assert(done != NULL);
	memcpy(done, s->done, s->words * sizeof(uint64_t));
	s->seen[at] = (struct state){ .hash = hash, .value = s->value, .done = done };
	s->seen_count++;
	return true;
}

/* ---- The search ---- */

/* Could the register with `value` have answered so? *ret_value: its value afterwards. */
static bool op_fits(const struct et_op *o, int64_t value, int64_t *ret_value)
{
	*ret_value = value;
	switch (o->kind) {
	case ET_OP_READ:
		return value == o->value;
	case ET_OP_WRITE:
		*ret_value = o->value;
		return true;
	case ET_OP_CAS:
		if (o->ret == ET_OPEN) {
			*ret_value = value == o->from ? o->value : value;
			return true;
		}
		*ret_value = o->swapped ? o->value : value;
		return (value == o->from) == o->swapped;
	default:
		return false;
	}
}

static void entry_out(struct entry *e)
{
	e->prev->next = e->next;
	if (e->next != NULL) {
		e->next->prev = e->prev;
	}
}

static void entry_in(struct entry *e)
{
	e->prev->next = e;
	if (e->next != NULL) {
		e->next->prev = e;
	}
}

static bool search_take(struct search *s, struct entry *e)
{
	int64_t before = s->value, after;
	uint64_t bit = (uint64_t)1 << (e->op & 63);
	if (!op_fits(&s->ops[e->op], s->value, &after)) {
		return false;
	}
	s->done[e->op >> 6] |= bit;
	s->value = after;
	if (!seen_add(s)) {
		s->done[e->op >> 6] &= ~bit;
		s->value = before;
		return false;
	}
	s->stack[s->depth] = e;
	s->values[s->depth++] = before;
	s->must -= s->ops[e->op].ret != ET_OPEN;
	entry_out(e);
	entry_out(e->ret);
	return true;
}

/* Undo the last; the entry behind it. */
static struct entry *search_back(struct search *s)
{
	struct entry *e = s->stack[--s->depth];
	s->value = s->values[s->depth];
	s->done[e->op >> 6] &= ~((uint64_t)1 << (e->op & 63));
	s->must += s->ops[e->op].ret != ET_OPEN;
	entry_in(e->ret);
	entry_in(e);
	return e->next;
}

static enum et_verdict search_run(struct search *s)
{
	struct entry *e = s->head.next;
	while (s->must > 0) {
		if (s->seen_count > s->states_max) {
			return ET_UNDECIDED;
		}
		if (e != NULL && e->ret != NULL) {
			e = search_take(s, e) ? s->head.next : e->next;
			continue;
		}
		if (e != NULL && s->depth >= s->deepest) {
			s->deepest = s->depth;
			s->last = s->origin[e->op];
		}
		if (s->depth == 0) {
			return ET_NOT_LINEARIZABLE;
		}
		e = search_back(s);
	}
	return ET_LINEARIZABLE;
}

static void search_free(struct search *s)
{
	for (size_t i = 0; i < s->seen_capacity; i++) {
		free(s->seen[i].done);
	}
	free(s->seen);
	free(s->ops);
	free(s->origin);
	free(s->entries);
	free(s->done);
	free(s->stack);
	free(s->values);
}

enum et_verdict et_register_check(const struct et_op *ops, size_t count, int64_t initial,
				  size_t states, size_t *ret_last)
{
	struct search s = { .value = initial, .states_max = states, .words = count / 64 + 1 };
	s.ops = calloc(count + 1, sizeof(*s.ops));
	s.origin = calloc(count + 1, sizeof(*s.origin));
	s.entries = calloc(2 * count + 1, sizeof(*s.entries));
	s.done = calloc(s.words, sizeof(*s.done));
	s.stack = calloc(count + 1, sizeof(struct entry *));
	s.values = calloc(count + 1, sizeof(*s.values));
	et_assert(s.ops != NULL && s.origin != NULL && s.entries != NULL);
	et_assert(s.done != NULL && s.stack != NULL && s.values != NULL);
	search_prepare(&s, ops, count);
	search_list(&s);
	enum et_verdict verdict = search_run(&s);
	if (ret_last != NULL) {
		*ret_last = s.last;
	}
	search_free(&s);
	return verdict;
}
