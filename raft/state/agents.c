/* Agents: who used which number when. Recordings do not name their agent: who it was follows from
 * the versions, at the time of the question. So a roster that is told late is right for old calls
 * too, and one that changes today changes nothing of yesterday.
 *
 * Of one agent, the version that began last counts (and of several tellings of one beginning, the
 * last one); it ends where the next begins, or at its valid_to_us. Of several agents who claim a
 * number, the one whose version began last has it; of those, the one that was told last. */
#include <stdio.h>

#include "raft/state/state_internal.h"

#define VERSIONS_MAX 1024 /* tellings of one agent */

static struct key key_agent(const char *id)
{
	struct key k = key_tag('a');

	key_add_text(&k, id);
	return k;
}

static struct key key_user(const char *number, const char *id)
{
	struct key k = key_tag('e');

	key_add_text(&k, number);
	key_add(&k, id, strlen(id));
	return k;
}

struct agent_walk {
	int (*fn)(void *arg, const Et__Agent *record);
	void *arg;
};

static int agent_walk_each(void *arg, const void *message)
{
	const struct agent_walk *w = arg;

	return w->fn(w->arg, message);
}

int et_state_each_agent(const struct et_state_view *v, const char *id,
			int (*fn)(void *arg, const Et__Agent *record), void *arg)
{
	struct agent_walk w = { fn, arg };
	struct key prefix = key_tag('a');

	if (id != NULL && strlen(id) > AGENT_ID_MAX) {
		return 0;
	}
	if (id != NULL) {
		prefix = key_agent(id);
	}
	return view_walk_messages(v, CF_AGENT, &prefix, &et__agent__descriptor, agent_walk_each,
				  &w);
}

/* ---- Spans: which version counts when ---- */

struct span {
	int64_t from_us;
	int64_t to_us;
	Et__Agent *agent; /* owned by the list, or a view of another list's */
};

struct spans {
	struct span *list; /* owned */
	size_t count;
	size_t capacity;
};

static void spans_release(struct spans *s)
{
	for (size_t i = 0; i < s->count; i++) {
		message_freep(&s->list[i].agent);
	}
	free(s->list);
	*s = (struct spans){ 0 };
}

static int spans_add(struct spans *s, Et__Agent *agent, int64_t from_us, int64_t to_us)
{
	if (s->count == s->capacity) {
		size_t capacity = s->capacity > 0 ? s->capacity * 2 : 16;
		struct span *p = realloc(s->list, capacity * sizeof(*p));
		if (p == NULL) {
			return -ENOMEM;
		}
		s->list = p;
		s->capacity = capacity;
	}
	s->list[s->count++] = (struct span){ from_us, to_us, agent };
	return 0;
}

static int spans_version(void *arg, struct et_view key, struct et_view value)
{
	struct spans *s = arg;
	Et__Agent *agent = et__agent__unpack(NULL, value.size, value.data);

	(void)key;
	if (agent == NULL) {
		return ET_ECORRUPT;
	}
	struct span *last = s->count > 0 ? &s->list[s->count - 1] : NULL;
	if (last != NULL && strcmp(last->agent->id, agent->id) == 0 &&
	    last->from_us == agent->valid_from_us) { /* told anew */
		message_freep(&last->agent);
		s->count--;
	}
	int rc = spans_add(s, agent, agent->valid_from_us,
			   agent->valid_to_us == 0 ? INT64_MAX : agent->valid_to_us);
	if (rc < 0) {
		message_freep(&agent);
	}
	return rc;
}

/* What a question reads of the roster: one iterator for all walks, each agent once. */
struct roster_agent {
	char id[AGENT_ID_MAX + 1];
	struct spans spans; /* the versions that count, each as long as it does */
};

struct roster {
	const struct et_state_view *v; /* borrowed */
	rocksdb_iterator_t *it;	       /* owned */
	struct roster_agent **agents;  /* owned, they too; by id */
	size_t count;
	size_t capacity;
};

static void roster_open(struct roster *r, const struct et_state_view *v)
{
	*r = (struct roster){ .v = v, .it = view_iterator(v, CF_AGENT) };
}

static void roster_release(struct roster *r)
{
	for (size_t i = 0; i < r->count; i++) {
		spans_release(&r->agents[i]->spans);
		free(r->agents[i]);
	}
	free(r->agents);
	rocksdb_iter_destroy(r->it);
}

static int roster_read(struct roster *r, struct roster_agent *a)
{
	struct key prefix = key_agent(a->id);
	struct spans *s = &a->spans;
	size_t kept = 0;

	int rc = view_walk_by(r->v, r->it, CF_AGENT, &prefix, NULL, spans_version, s);
	for (size_t i = 0; i < s->count; i++) {
		struct span *x = &s->list[i];
		if (x->agent->withdrawn) {
			message_freep(&x->agent);
			continue;
		}
		if (kept > 0 && s->list[kept - 1].to_us > x->from_us) {
			s->list[kept - 1].to_us = x->from_us;
		}
		s->list[kept++] = *x;
	}
	s->count = kept;
	return rc;
}

/* Where the agent is, or is to be put. */
static size_t roster_place(const struct roster *r, const char *id)
{
	size_t low = 0;
	size_t high = r->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(r->agents[middle]->id, id) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

/* An agent that is in no roster has no spans. *ret is a view. */
static int roster_agent(struct roster *r, const char *id, const struct spans **ret)
{
	size_t at = roster_place(r, id);

	if (at < r->count && strcmp(r->agents[at]->id, id) == 0) {
		*ret = &r->agents[at]->spans;
		return 0;
	}
	if (r->count == r->capacity) {
		size_t capacity = r->capacity > 0 ? r->capacity * 2 : 16;
		struct roster_agent **p =
			realloc(r->agents, capacity * sizeof(struct roster_agent *));
		if (p == NULL) {
			return -ENOMEM;
		}
		r->agents = p;
		r->capacity = capacity;
	}
	struct roster_agent *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		return -ENOMEM;
	}
	(void)snprintf(a->id, sizeof(a->id), "%s", id);
	memmove(&r->agents[at + 1], &r->agents[at],
		(r->count - at) * sizeof(struct roster_agent *));
	r->agents[at] = a;
	r->count++;
	*ret = &a->spans;
	return roster_read(r, a);
}

/* The agent of a span is the caller's from now on. */
static Et__Agent *roster_take(struct roster *r, const Et__Agent *agent)
{
	const struct roster_agent *a = r->agents[roster_place(r, agent->id)];

	for (size_t i = 0; i < a->spans.count; i++) {
		if (a->spans.list[i].agent == agent) {
			return ET_TAKE(a->spans.list[i].agent);
		}
	}
	et_unreachable();
}

static bool agent_uses(const Et__Agent *a, const char *number)
{
	for (size_t i = 0; i < a->n_numbers; i++) {
		if (strcmp(a->numbers[i], number) == 0) {
			return true;
		}
	}
	return false;
}

/* Who ever used a number. */
struct users {
	char (*ids)[AGENT_ID_MAX + 1]; /* owned */
	size_t count;
};

static void users_release(struct users *u)
{
	free(u->ids);
}

static int user_each(void *arg, struct et_view key, struct et_view value)
{
	struct users *u = arg;
	const uint8_t *nul = key.size > 1 ? memchr(key.data + 1, 0, key.size - 1) : NULL;

	(void)value;
	size_t size = nul != NULL ? (size_t)(key.data + key.size - (nul + 1)) : 0;
	if (size == 0 || size > AGENT_ID_MAX) {
		return ET_ECORRUPT;
	}
	if ((u->count & (u->count - 1)) == 0) { /* full: 0, 1, 2, 4 ... */
		size_t capacity = u->count > 0 ? u->count * 2 : 1;
		char(*p)[AGENT_ID_MAX + 1] = realloc(u->ids, capacity * sizeof(*p));
		if (p == NULL) {
			return -ENOMEM;
		}
		u->ids = p;
	}
	memcpy(u->ids[u->count], nul + 1, size);
	u->ids[u->count++][size] = '\0';
	return 0;
}

/* The spans of all agents who ever used the number, those in which they did. Their agents are views
 * of the roster's. */
static int spans_of_number(struct roster *r, const char *number, struct spans *s)
{
	ET_CLEANUP(users_release) struct users users = { 0 };
	struct key prefix = key_user(number, "");

	int rc = view_walk_by(r->v, r->it, CF_AGENT, &prefix, NULL, user_each, &users);
	for (size_t i = 0; i < users.count && rc == 0; i++) {
		const struct spans *all = NULL;
		rc = roster_agent(r, users.ids[i], &all);
		for (size_t k = 0; rc == 0 && k < all->count; k++) {
			const struct span *x = &all->list[k];
			rc = agent_uses(x->agent, number)
				     ? spans_add(s, x->agent, x->from_us, x->to_us)
				     : 0;
		}
	}
	return rc;
}

static void spans_forget(struct spans *s)
{
	free(s->list); /* the agents are the roster's */
}

/* Who has it at this time, of those who claim it. */
static const struct span *spans_at(const struct spans *s, int64_t time_us)
{
	const struct span *best = NULL;

	for (size_t i = 0; i < s->count; i++) {
		const struct span *x = &s->list[i];
		if (x->from_us > time_us || x->to_us <= time_us) {
			continue;
		}
		if (best == NULL || x->from_us > best->from_us ||
		    (x->from_us == best->from_us && x->agent->index >= best->agent->index)) {
			best = x;
		}
	}
	return best;
}

struct span_walk {
	struct roster *r;
	char last[AGENT_ID_MAX + 1];
	int (*fn)(void *arg, const Et__Agent *agent, int64_t from_us, int64_t to_us);
	void *arg;
};

/* All spans at the first version of an agent. */
static int span_walk_each(void *arg, const Et__Agent *version)
{
	struct span_walk *w = arg;
	const struct spans *s = NULL;

	if (strcmp(w->last, version->id) == 0) {
		return 0;
	}
	(void)snprintf(w->last, sizeof(w->last), "%s", version->id);
	int rc = roster_agent(w->r, version->id, &s);
	for (size_t i = 0; rc == 0 && i < s->count; i++) {
		const struct span *x = &s->list[i];
		rc = w->fn(w->arg, x->agent, x->from_us, x->to_us);
	}
	return rc;
}

int et_state_each_agent_span(const struct et_state_view *v,
			     int (*fn)(void *arg, const Et__Agent *agent, int64_t from_us,
				       int64_t to_us),
			     void *arg)
{
	struct roster r;
	struct span_walk w = { .r = &r, .fn = fn, .arg = arg };

	roster_open(&r, v);
	int rc = et_state_each_agent(v, NULL, span_walk_each, &w);
	roster_release(&r);
	return rc;
}

int et_state_agent_at(const struct et_state_view *v, const char *number, int64_t time_us,
		      Et__Agent **ret)
{
	ET_CLEANUP(spans_forget) struct spans s = { 0 };
	struct roster r;

	if (strlen(number) > NUMBER_TEXT_MAX) {
		return ET_ENOTFOUND;
	}
	roster_open(&r, v);
	int rc = spans_of_number(&r, number, &s);
	const struct span *best = rc == 0 ? spans_at(&s, time_us) : NULL;
	if (best != NULL) {
		*ret = roster_take(&r, best->agent);
	}
	roster_release(&r);
	return rc < 0 ? rc : best != NULL ? 0 : ET_ENOTFOUND;
}

/* ---- For search: the numbers of an agent or a team, and when ---- */

struct numbers {
	char **list; /* owned */
	size_t count;
	const char *team; /* NULL: take all */
};

static int numbers_agent(void *arg, const Et__Agent *a)
{
	struct numbers *n = arg;

	if (n->team != NULL && strcmp(a->team, n->team) != 0) {
		return 0;
	}
	for (size_t i = 0; i < a->n_numbers; i++) {
		char **p = realloc(n->list, (n->count + 1) * sizeof(*p));
		char *copy = strdup(a->numbers[i]);
		n->list = p != NULL ? p : n->list;
		if (p == NULL || copy == NULL) {
			free(copy);
			return -ENOMEM;
		}
		p[n->count++] = copy;
	}
	return 0;
}

/* Of the versions that count. */
static int numbers_of(struct roster *r, const char *agent, struct numbers *n)
{
	const struct spans *s = NULL;

	if (strlen(agent) > AGENT_ID_MAX) {
		return 0;
	}
	int rc = roster_agent(r, agent, &s);
	for (size_t i = 0; rc == 0 && i < s->count; i++) {
		rc = numbers_agent(n, s->list[i].agent);
	}
	return rc;
}

static int text_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int time_order(const void *a, const void *b)
{
	const int64_t *x = a;
	const int64_t *y = b;

	return (*x > *y) - (*x < *y);
}

static bool span_fits(const struct span *x, const char *agent, const char *team)
{
	return x != NULL && (agent == NULL || strcmp(x->agent->id, agent) == 0) &&
	       (team == NULL || strcmp(x->agent->team, team) == 0);
}

/* Each stretch of time in which the number is of the agent or the team, oldest first. */
static int number_stretches(const struct spans *s, const char *number, const char *agent,
			    const char *team, agent_number_fn fn, void *arg)
{
	int64_t *edges = calloc(2 * s->count + 1, sizeof(*edges));
	int64_t begun = -1;
	int rc = 0;

	if (edges == NULL) {
		return -ENOMEM;
	}
	for (size_t i = 0; i < s->count; i++) {
		edges[2 * i] = s->list[i].from_us;
		edges[2 * i + 1] = s->list[i].to_us;
	}
	qsort(edges, 2 * s->count, sizeof(*edges), time_order);
	for (size_t i = 0; i < 2 * s->count && rc == 0; i++) {
		bool fits = edges[i] != INT64_MAX && span_fits(spans_at(s, edges[i]), agent, team);
		if (fits && begun < 0) {
			begun = edges[i];
		} else if (!fits && begun >= 0) {
			rc = edges[i] > begun ? fn(arg, number, begun, edges[i]) : 0;
			begun = -1;
		}
	}
	free(edges);
	return rc;
}

int agent_numbers(const struct et_state_view *v, const char *agent, const char *team,
		  agent_number_fn fn, void *arg)
{
	struct numbers n = { .team = team };
	struct roster r;

	roster_open(&r, v);
	int rc = agent != NULL ? numbers_of(&r, agent, &n)
			       : et_state_each_agent(v, NULL, numbers_agent, &n);
	if (n.count > 0) {
		qsort(n.list, n.count, sizeof(n.list[0]), text_order);
	}
	for (size_t i = 0; i < n.count && rc == 0; i++) {
		struct spans s = { 0 };
		if (i > 0 && strcmp(n.list[i], n.list[i - 1]) == 0) {
			continue;
		}
		rc = spans_of_number(&r, n.list[i], &s);
		rc = rc < 0 ? rc : number_stretches(&s, n.list[i], agent, team, fn, arg);
		spans_forget(&s);
	}
	roster_release(&r);
	for (size_t i = 0; i < n.count; i++) {
		free(n.list[i]);
	}
	free(n.list);
	return rc;
}

/* ---- Apply ---- */

struct versions {
	const Et__Agent *told;
	size_t count;
	bool same;    /* as the last telling of this beginning */
	bool is_told; /* this beginning was told of before */
};

static bool agent_same(const Et__Agent *a, const Et__Agent *b)
{
	bool same = strcmp(a->name, b->name) == 0 && strcmp(a->team, b->team) == 0 &&
		    a->valid_to_us == b->valid_to_us && a->withdrawn == b->withdrawn &&
		    a->n_numbers == b->n_numbers && a->n_attributes == b->n_attributes;

	for (size_t i = 0; same && i < a->n_numbers; i++) {
		same = strcmp(a->numbers[i], b->numbers[i]) == 0;
	}
	for (size_t i = 0; same && i < a->n_attributes; i++) {
		same = strcmp(a->attributes[i]->key, b->attributes[i]->key) == 0 &&
		       strcmp(a->attributes[i]->value, b->attributes[i]->value) == 0;
	}
	return same;
}

static int versions_each(void *arg, const Et__Agent *a)
{
	struct versions *x = arg;

	x->count++;
	if (a->valid_from_us == x->told->valid_from_us) {
		x->is_told = true;
		x->same = agent_same(a, x->told);
	}
	return 0;
}

int apply_agent_set(struct apply *a)
{
	const Et__Agent *told = a->c->agent_set->agent;
	struct versions x = { .told = told };

	int rc = et_state_each_agent(a->v, told->id, versions_each, &x);
	if (rc < 0 || x.same) {
		return rc;
	}
	if (told->withdrawn && !x.is_told) {
		return refuse(a, ET_ENOTFOUND, "agent '%s' has no version that begins then",
			      told->id);
	}
	if (x.count >= VERSIONS_MAX) {
		return refuse(a, ET_ELIMIT,
			      "agent '%s' has %d versions, as many as are kept of one", told->id,
			      VERSIONS_MAX);
	}
	Et__Agent after = *told;
	after.principal = a->c->principal;
	after.told_us = a->c->proposed_us;
	after.index = a->index;
	struct key key = key_agent(told->id);
	key_add64(&key, (uint64_t)told->valid_from_us);
	key_add64(&key, a->index);
	key_add32(&key, a->o->position);
	rc = state_put_message(a->s, CF_AGENT, &key, &after);
	for (size_t i = 0; i < told->n_numbers && rc == 0; i++) {
		struct key user = key_user(told->numbers[i], told->id);
		state_put(a->s, CF_AGENT, &user, "", 0);
	}
	a->s->counts.agents++;
	return rc;
}
