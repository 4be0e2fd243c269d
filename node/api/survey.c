#include "node/api/survey_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/members_internal.h"
#include "node/base/log.h"
#include "node/io/clock.h"

#define WAIT_US 300000
#define SHARE 20	 /* of the time, one part is spent counting */
#define PAUSE_US 2000000 /* between counts, at least */
#define BUCKETS (2 * SURVIVE_SETS_MAX)

/* ---- Counting ---- */

struct count {
	struct survey_result *out;
	const struct et_state_view *v;
	const atomic_bool *stop;
	bool stores[SURVIVE_NODES_MAX];
	uint16_t buckets[BUCKETS]; /* position in places, plus 1; 0: free */
	bool overflow;

	/* The segment that is being looked at. */
	bool begun;
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
	struct survive_set at;
	unsigned holders;
	bool archived;
};

static int count_node(void *arg, const Et__Node *node)
{
	struct count *c = arg;

	if (api_node_is_gone(node)) {
		return 0;
	}
	if (c->out->node_count == SURVIVE_NODES_MAX) {
		c->overflow = true;
		return 0;
	}
	c->stores[c->out->node_count] = api_node_stores(node);
	c->out->nodes[c->out->node_count++] = node->id;
	return 0;
}

static int id_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static struct survive_place *place_of(struct count *c, const struct survive_set *at)
{
	struct survey_result *out = c->out;
	uint64_t h = 0;

	for (size_t i = 0; i < ET_ARRAY_SIZE(at->bits); i++) {
		h = (h ^ at->bits[i]) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	size_t b = h % BUCKETS;
	while (c->buckets[b] != 0) {
		struct survive_place *p = &out->places[c->buckets[b] - 1];
		if (memcmp(&p->at, at, sizeof(*at)) == 0) {
			return p;
		}
		b = (b + 1) % BUCKETS;
	}
	if (out->place_count == SURVIVE_SETS_MAX) {
		c->overflow = true;
		return NULL;
	}
	struct survive_place *p = &out->places[out->place_count++];
	*p = (struct survive_place){ .at = *at };
	c->buckets[b] = (uint16_t)out->place_count;
	return p;
}

/* What was erased, or replaced, can be opened by nobody, wherever it lies. Only looked at where it
 * matters: few segments lie on one node only, where there are several sites. */
static bool segment_is_erased(const struct count *c)
{
	Et__Segment *g = NULL;

	if (et_state_get_segment(c->v, c->recording, c->generation, c->segment, &g) < 0) {
		return false;
	}
	bool erased = (g->wrap != NULL && g->wrap->erased) || !et_state_segment_is_newest(g);
	et__segment__free_unpacked(g, NULL);
	return erased;
}

static void segment_end(struct count *c)
{
	if (!c->begun || c->archived || (c->holders < 2 && segment_is_erased(c))) {
		return;
	}
	struct survive_place *p = place_of(c, &c->at);
	if (p != NULL) {
		p->segments++;
	}
}

static bool is_same_segment(const struct count *c, const Et__Copy *copy)
{
	return c->begun && memcmp(c->recording, copy->recording.data, 16) == 0 &&
	       c->generation == copy->generation && c->segment == copy->segment;
}

static int count_copy(void *arg, const Et__Copy *copy)
{
	struct count *c = arg;
	uint64_t node = 0;

	if (c->stop != NULL && atomic_load_explicit(c->stop, memory_order_relaxed)) {
		return -ECANCELED;
	}
	if (copy->recording.len != 16) {
		return 0;
	}
	if (!is_same_segment(c, copy)) {
		segment_end(c);
		memcpy(c->recording, copy->recording.data, 16);
		c->generation = copy->generation;
		c->segment = copy->segment;
		memset(&c->at, 0, sizeof(c->at));
		c->holders = 0;
		c->archived = false;
		c->begun = true;
	}
	if (copy->state != ET__COPY__STATE__VERIFIED) {
		return 0;
	}
	if (strncmp(copy->place, "target:", 7) == 0) {
		c->archived = true;
		c->out->copies++;
		return 0;
	}
	if (sscanf(copy->place, "node:%" SCNu64, &node) != 1) {
		return 0;
	}
	const uint64_t *at =
		bsearch(&node, c->out->nodes, c->out->node_count, sizeof(node), id_order);
	if (at != NULL && c->stores[at - c->out->nodes]) {
		survive_set_add(&c->at, (size_t)(at - c->out->nodes));
		c->holders++;
		c->out->copies++;
	}
	return 0;
}

int survey_count(const struct et_state_view *v, const atomic_bool *stop, struct survey_result *ret)
{
	struct count *c = calloc(1, sizeof(*c));
	struct et_state_counts counts = { 0 };

	*ret = (struct survey_result){ .index = et_state_view_index(v) };
	ret->places = calloc(SURVIVE_SETS_MAX, sizeof(*ret->places));
	int rc = c == NULL || ret->places == NULL ? -ENOMEM : et_state_counts(v, &counts);
	if (rc == 0) {
		*c = (struct count){ .out = ret, .v = v, .stop = stop };
		ret->segments = counts.segments;
		rc = et_state_each_node(v, count_node, c);
	}
	rc = rc < 0 ? rc : et_state_each_copy(v, count_copy, c);
	if (rc == 0) {
		segment_end(c);
		ret->complete = !c->overflow;
	}
	free(c);
	if (rc < 0) {
		survey_release(ret);
	}
	return rc;
}

void survey_release(struct survey_result *r)
{
	free(r->places);
	*r = (struct survey_result){ 0 };
}

/* ---- Kept between requests ---- */

void survey_init(struct survey *s)
{
	pthread_condattr_t attr;

	(void)pthread_mutex_init(&s->mutex, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->counted, &attr);
	(void)pthread_condattr_destroy(&attr);
}

static void *survey_run(void *arg)
{
	struct survey *s = arg;
	struct survey_result r = { 0 };
	struct et_state_view *v = et_state_view_open(s->state);

	int rc = v == NULL ? -ENOMEM : survey_count(v, &s->stop, &r);
	(void)et_state_view_close(v);
	if (rc < 0 && rc != -ECANCELED) {
		et_warn("api.survey", "code=%s", et_errname(rc));
	}
	(void)pthread_mutex_lock(&s->mutex);
	if (rc == 0) {
		survey_release(&s->last);
		s->last = r;
	}
	s->running = false;
	s->ended_us = et_clock_mono_us();
	(void)pthread_cond_broadcast(&s->counted);
	(void)pthread_mutex_unlock(&s->mutex);
	return NULL;
}

/* Is what was counted still right, if for new segments one looks elsewhere? Something that went is
 * seen here; something that came is not: it makes things better only. */
static bool result_holds(const struct survey_result *r, const struct et_state_view *v)
{
	return r->complete && et_state_copies_moved(v) <= r->index;
}

static void survey_begin(struct survey *s, struct et_state *state, const struct et_state_view *v)
{
	int64_t now = et_clock_mono_us();
	int64_t pause = (s->ended_us - s->began_us) * SHARE;

	if (s->running || atomic_load(&s->stop) ||
	    (result_holds(&s->last, v) && s->last.index == et_state_view_index(v)) ||
	    (s->ended_us != 0 && now - s->ended_us < (pause > PAUSE_US ? pause : PAUSE_US))) {
		return;
	}
	if (s->started) {
		(void)pthread_join(s->thread, NULL); /* it is through, but for its last lines */
	}
	s->state = state;
	s->began_us = now;
	s->running = pthread_create(&s->thread, NULL, survey_run, s) == 0;
	s->started = s->running;
}

static int result_copy(const struct survey_result *from, struct survey_result *ret)
{
	*ret = *from;
	ret->places = calloc(from->place_count + 1, sizeof(*ret->places));
	if (ret->places == NULL) {
		*ret = (struct survey_result){ 0 };
		return -ENOMEM;
	}
	memcpy(ret->places, from->places, from->place_count * sizeof(*ret->places));
	return 0;
}

int survey_get(struct survey *s, struct et_state *state, const struct et_state_view *v,
	       struct survey_result *ret)
{
	int64_t until_us = et_clock_mono_us() + WAIT_US;
	const struct timespec until = { .tv_sec = until_us / 1000000,
					.tv_nsec = until_us % 1000000 * 1000 };
	int rc = 0;

	*ret = (struct survey_result){ 0 };
	(void)pthread_mutex_lock(&s->mutex);
	survey_begin(s, state, v);
	while (s->running && rc == 0) {
		rc = pthread_cond_timedwait(&s->counted, &s->mutex, &until);
	}
	rc = result_holds(&s->last, v) ? result_copy(&s->last, ret) : 0;
	(void)pthread_mutex_unlock(&s->mutex);
	return rc;
}

void survey_stop(struct survey *s)
{
	atomic_store(&s->stop, true);
	if (s->started) {
		(void)pthread_join(s->thread, NULL);
		s->started = false;
	}
}

void survey_end(struct survey *s)
{
	survey_stop(s);
	survey_release(&s->last);
	(void)pthread_cond_destroy(&s->counted);
	(void)pthread_mutex_destroy(&s->mutex);
}
