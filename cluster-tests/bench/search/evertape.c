/* The catalogue's side. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster-tests/bench/search/load.h"

struct side {
	char path[512];
	struct et_state *s;
};

static void failed(const char *what, const struct et_error *e)
{
	(void)fprintf(stderr, "bench-search: %s: %s\n", what, e->text);
}

static int side_open(void *side)
{
	struct side *x = side;
	struct et_error e;

	int rc = et_state_open(x->path, &x->s, &e);
	if (rc < 0) {
		failed("open", &e);
	}
	return rc;
}

static void side_close(void *side)
{
	struct side *x = side;

	x->s = et_state_close(x->s);
}

static int side_settle(void *side)
{
	const struct side *x = side;

	return bench_load_settle(x->s);
}

static int side_load(void *side, uint64_t calls, struct bench_load *ret)
{
	struct side *x = side;
	double begun = bench_now_s();
	uint64_t commands = 0;

	int rc = side_open(x);
	if (rc < 0) {
		return rc;
	}
	rc = bench_load_calls(x->s, calls, BENCH_LOAD_CLUSTER | BENCH_LOAD_CALLS, 1, &commands);
	rc = rc < 0 ? rc : side_settle(x);
	ret->seconds = bench_now_s() - begun;
	ret->commands = (double)commands;
	struct et_state_view *v = et_state_view_open(x->s);
	struct et_state_counts counts;
	struct et_state_index_status status = { 0 };
	if (v == NULL || et_state_counts(v, &counts) < 0 || counts.recordings != calls ||
	    et_state_index_status(v, &status) < 0) {
		(void)fprintf(stderr, "bench-search: not every call was taken\n");
		rc = rc < 0 ? rc : ET_EINTEGRITY;
	}
	(void)et_state_view_close(v);
	side_close(x);
	ret->bytes = bench_folder_bytes(x->path);
	ret->index_bytes = status.bytes;
	return rc;
}

static int hit(void *arg, const Et__Recording *r)
{
	bench_answer_add(arg, r->id.data);
	return 0;
}

static int side_ask(void *side, const struct bench_question *b, struct bench_answer *ret)
{
	struct side *x = side;
	struct et_state_query q = { .state = -1, .limit = BENCH_PAGE };
	struct et_state_fact_is fact = { .key = "order",
					 .type = ET__FACT_TYPE__FACT_INTEGER,
					 .number = b->order };
	struct et_state_found found;
	char text[160];

	q.from_us = b->from_us;
	q.to_us = b->to_us;
	switch (b->kind) {
	case ASK_SITE_DAY:
		q.site = b->name;
		break;
	case ASK_NUMBER:
		q.number = b->text;
		break;
	case ASK_PREFIX_WEEK:
	case ASK_SUFFIX:
		(void)snprintf(text, sizeof(text), b->kind == ASK_SUFFIX ? "*%s" : "%s*", b->text);
		q.number = text;
		break;
	case ASK_AGENT_WEEK:
		q.agent = b->text;
		break;
	case ASK_TAG_MONTH:
		q.tags = &b->name;
		q.tag_count = 1;
		break;
	case ASK_FACT:
		q.facts = &fact;
		q.fact_count = 1;
		break;
	case ASK_WORDS_SITE:
		(void)snprintf(text, sizeof(text), "%s %s", b->text, b->words);
		q.text = text;
		q.site = b->name;
		break;
	case ASK_LONG_MONTH:
		q.duration_min_us = INT64_C(600000000);
		break;
	case ASK_CALL_ID:
		q.sip_call_id = b->text;
		break;
	case ASK_KINDS:
		break;
	}
	struct et_state_view *v = et_state_view_open_indexed(x->s, 1000);
	if (v == NULL) {
		return -EIO;
	}
	*ret = (struct bench_answer){ 0 };
	int rc = et_state_search(v, &q, hit, ret, &found);
	(void)et_state_view_close(v);
	if (rc == 0 && found.cursor[0] != '\0' && ret->hits < BENCH_PAGE) {
		(void)fprintf(stderr, "bench-search: a page of \"%s\" ended early\n",
			      bench_kind_name(b->kind));
	}
	return rc;
}

static void side_finish(void *side)
{
	free(side);
}

static uint64_t side_memory(void *side)
{
	(void)side;
	return bench_rss(getpid());
}

void *bench_evertape(const char *folder, const struct bench_side **ret)
{
	static const struct bench_side side = { "evertape", side_load, side_open,   side_settle,
						side_close, side_ask,  side_finish, side_memory };
	struct side *x = calloc(1, sizeof(*x));

	et_assert(x != NULL);
	(void)snprintf(x->path, sizeof(x->path), "%.400s/evertape", folder);
	*ret = &side;
	return x;
}
