#include <stdio.h>
#include <string.h>

#include "cluster-tests/bench/search/search.h"
#include "node/base/bytes.h"

#define DAY (INT64_C(86400) * 1000000)

const char *bench_kind_name(enum bench_kind kind)
{
	static const char *const names[ASK_KINDS] = {
		[ASK_SITE_DAY] = "the last 50 of a site on a day",
		[ASK_NUMBER] = "by exact number",
		[ASK_PREFIX_WEEK] = "number prefix in a week",
		[ASK_SUFFIX] = "number suffix",
		[ASK_AGENT_WEEK] = "agent in a week",
		[ASK_TAG_MONTH] = "tag in a month",
		[ASK_FACT] = "fact key = value",
		[ASK_WORDS_SITE] = "two words at a site",
		[ASK_LONG_MONTH] = "over 10 minutes in a month",
		[ASK_CALL_ID] = "by SIP Call-ID",
	};

	return names[kind];
}

static void span(struct bench_question *q, uint64_t r, int64_t length)
{
	int64_t slots = BENCH_YEAR / length;

	q->from_us = BENCH_T0 + (int64_t)(r % (uint64_t)slots) * length;
	q->to_us = q->from_us + length;
}

void bench_question_make(enum bench_kind kind, unsigned run, uint64_t calls,
			 struct bench_question *q)
{
	uint64_t r = bench_mix((uint64_t)kind * 1000003 + run);
	struct bench_call c;
	char word[16];

	memset(q, 0, sizeof(*q));
	q->kind = kind;
	bench_call_make(r % calls, calls, &c); /* ask for what there is */
	const char *customer = strlen(c.from) > 4 ? c.from : c.to;
	r = bench_mix(r);
	switch (kind) {
	case ASK_SITE_DAY:
		span(q, r, DAY);
		q->name = c.site;
		break;
	case ASK_NUMBER:
		(void)snprintf(q->text, sizeof(q->text), "%s", customer);
		break;
	case ASK_PREFIX_WEEK: /* seven or eight digits of a dozen: a range of numbers */
		span(q, r, 7 * DAY);
		(void)snprintf(q->text, sizeof(q->text), "%.*s", 8 + (int)(r % 2), customer);
		break;
	case ASK_SUFFIX:
		(void)snprintf(q->text, sizeof(q->text), "%s",
			       customer + strlen(customer) - (4 + r % 3));
		break;
	case ASK_AGENT_WEEK:
		span(q, r, 7 * DAY);
		(void)snprintf(q->text, sizeof(q->text), "agent-%u", (unsigned)(r % BENCH_AGENTS));
		break;
	case ASK_TAG_MONTH:
		span(q, r, 30 * DAY);
		q->name = bench_tag((unsigned)(r >> 8));
		break;
	case ASK_FACT:
		q->order = 100000 + (int64_t)(r % (calls / 2 + 1));
		break;
	case ASK_WORDS_SITE:
		bench_word((unsigned)(r % 60), word);
		(void)snprintf(q->text, sizeof(q->text), "%s", word);
		bench_word(60 + (unsigned)(r >> 8) % 200, word);
		(void)snprintf(q->words, sizeof(q->words), "%s", word);
		q->name = bench_site((unsigned)(r >> 24));
		break;
	case ASK_LONG_MONTH:
		span(q, r, 30 * DAY);
		break;
	case ASK_CALL_ID:
		(void)snprintf(q->text, sizeof(q->text), "%s", c.sip_call_id);
		break;
	case ASK_KINDS:
		break;
	}
}

void bench_answer_add(struct bench_answer *a, const uint8_t id[16])
{
	a->hits++;
	a->sum = bench_mix(a->sum ^ et_get64(id)) ^ et_get64(id + 8);
}
