/* The catalogue's side: commands through et_state_apply(), as a node applies its log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tests/bench/search/search.h"
#include "node/base/bytes.h"
#include "raft/command/sample.h"
#include "raft/state/state.h"

#define ENTRIES_PER_GROUP 16

struct side {
	char path[512];
	struct et_state *s;
	uint64_t index, seq, commands;
	struct et_buffer entry, packed;
	uint8_t incarnation[16];
	unsigned entries;
};

static void failed(const char *what, const struct et_error *e)
{
	(void)fprintf(stderr, "bench-search: %s: %s\n", what, e->text);
}

/* ---- Commands ---- */

static int entry_apply(struct side *x)
{
	struct et_error e;

	et_entry_end(&x->entry);
	et_assert(!x->entry.failed);
	if (x->entries == 0) {
		et_state_begin(x->s);
	}
	int rc = et_state_apply(x->s, ++x->index, (struct et_view){ x->entry.data, x->entry.size },
				&e);
	if (rc == 0 && ++x->entries == ENTRIES_PER_GROUP) {
		rc = et_state_commit(x->s, NULL, NULL, &e);
		x->entries = 0;
	}
	if (rc < 0) {
		failed("apply", &e);
	}
	x->entry.size = 0;
	et_entry_begin(&x->entry);
	return rc;
}

static int command_add(struct side *x, Et__Command *c)
{
	static char by[] = "token:bench";
	Et__OpId op = ET__OP_ID__INIT;

	op.node = 1;
	op.incarnation = (ProtobufCBinaryData){ 16, x->incarnation };
	op.seq = ++x->seq;
	c->op = &op;
	c->principal = by;
	c->schema = 1;
	x->packed.size = 0;
	int rc = et_command_pack(c, &x->packed);
	et_assert(rc == 0);
	et_entry_add(&x->entry, x->packed.data, x->packed.size);
	x->commands++;
	return x->entry.size >= ET_ENTRY_SIZE_SOFT ? entry_apply(x) : 0;
}

static int cluster_add(struct side *x)
{
	struct et_sample_cluster sample;
	Et__Command c = ET__COMMAND__INIT;

	et_sample_cluster_init(&sample, BENCH_T0, &c);
	return command_add(x, &c);
}

static int agents_add(struct side *x)
{
	int rc = 0;

	for (unsigned i = 0; i < 2 * BENCH_AGENTS && rc == 0; i++) {
		Et__Command c = ET__COMMAND__INIT;
		Et__AgentSet set = ET__AGENT_SET__INIT;
		Et__Agent a = ET__AGENT__INIT;
		char id[16];
		char team[16];
		char number[24];
		char *numbers[] = { number };
		unsigned extension = i % BENCH_AGENTS;
		int64_t from = BENCH_T0 + (i < BENCH_AGENTS ? 0 : BENCH_YEAR / 2);
		(void)snprintf(id, sizeof(id), "agent-%u", bench_agent_of(extension, from));
		(void)snprintf(team, sizeof(team), "team-%u", i % 50);
		bench_extension(extension, number);
		a.id = a.name = id;
		a.team = team;
		a.numbers = numbers;
		a.n_numbers = 1;
		a.valid_from_us = from;
		set.agent = &a;
		c.body_case = ET__COMMAND__BODY_AGENT_SET;
		c.agent_set = &set;
		rc = command_add(x, &c);
	}
	return rc;
}

/* The final telling of a call: what a close says. */
static int recording_add(struct side *x, struct bench_call *b)
{
	static char direction[] = "inbound", answered[] = "answered", rule[] = "record-everything";
	static char src[] = "10.1.2.3:20000", dst[] = "10.1.2.4:20002", codec[] = "PCMA/8000";
	static char association[] = "sdp";
	Et__Command c = ET__COMMAND__INIT;
	Et__RecordingClose close = ET__RECORDING_CLOSE__INIT;
	Et__Recording r = ET__RECORDING__INIT;
	Et__Stream streams[2];
	Et__Stream *list[] = { &streams[0], &streams[1] };
	char site[16];

	for (size_t i = 0; i < 2; i++) {
		et__stream__init(&streams[i]);
		streams[i].ssrc = (uint32_t)bench_mix((uint64_t)b->start_us + i);
		streams[i].src = i == 0 ? src : dst;
		streams[i].dst = i == 0 ? dst : src;
		streams[i].codec = codec;
		streams[i].association = association;
		streams[i].packets = (uint64_t)(b->end_us - b->start_us) / 20000;
		streams[i].first_us = b->start_us;
		streams[i].last_us = b->end_us;
		streams[i].party = streams[i].stream = (uint32_t)i;
	}
	(void)snprintf(site, sizeof(site), "%s", b->site);
	r.id = (ProtobufCBinaryData){ 16, b->id };
	r.call = r.id;
	r.site = site;
	r.start_us = r.answer_us = b->start_us;
	r.end_us = b->end_us;
	r.from = b->from;
	r.to = b->to;
	r.sip_call_id = b->sip_call_id;
	r.direction = direction;
	r.call_state = answered;
	r.rule = rule;
	r.streams = list;
	r.n_streams = 2;
	close.recording = &r;
	c.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
	c.recording_close = &close;
	return command_add(x, &c);
}

static int facts_add(struct side *x, struct bench_call *b, Et__Subject *about)
{
	static char queue[] = "queue", order[] = "order", crm[] = "crm";
	Et__Command c = ET__COMMAND__INIT;
	Et__FactAdd add = ET__FACT_ADD__INIT;
	Et__Fact facts[2];
	Et__Fact *list[] = { &facts[0], &facts[1] };
	char name[16];

	(void)snprintf(name, sizeof(name), "%s", b->queue);
	for (size_t i = 0; i < 2; i++) {
		et__fact__init(&facts[i]);
		facts[i].source = crm;
	}
	facts[0].key = queue;
	facts[0].text = name;
	facts[1].key = order;
	facts[1].type = ET__FACT_TYPE__FACT_INTEGER;
	facts[1].number = b->order;
	add.about = about;
	add.facts = list;
	add.n_facts = 2;
	c.body_case = ET__COMMAND__BODY_FACT_ADD;
	c.fact_add = &add;
	return command_add(x, &c);
}

static int told_add(struct side *x, struct bench_call *b)
{
	Et__Subject about = ET__SUBJECT__INIT;
	int rc = 0;

	about.recording = (ProtobufCBinaryData){ 16, b->id };
	if (b->queue != NULL) {
		rc = facts_add(x, b, &about);
	}
	if (b->tag != NULL && rc == 0) {
		Et__Command c = ET__COMMAND__INIT;
		Et__TagSet set = ET__TAG_SET__INIT;
		Et__Tag tag = ET__TAG__INIT;
		Et__Tag *list[] = { &tag };
		char name[16];
		(void)snprintf(name, sizeof(name), "%s", b->tag);
		tag.name = name;
		set.about = &about;
		set.tags = list;
		set.n_tags = 1;
		c.body_case = ET__COMMAND__BODY_TAG_SET;
		c.tag_set = &set;
		rc = command_add(x, &c);
	}
	if (b->note[0] != '\0' && rc == 0) {
		Et__Command c = ET__COMMAND__INIT;
		Et__NoteAdd add = ET__NOTE_ADD__INIT;
		Et__Note note = ET__NOTE__INIT;
		note.id = (ProtobufCBinaryData){ 16, b->id };
		note.text = b->note;
		add.about = &about;
		add.note = &note;
		c.body_case = ET__COMMAND__BODY_NOTE_ADD;
		c.note_add = &add;
		rc = command_add(x, &c);
	}
	return rc;
}

/* ---- The side ---- */

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

static int side_load(void *side, uint64_t calls, struct bench_load *ret)
{
	struct side *x = side;
	struct et_error e;
	double begun = bench_now_s();

	int rc = side_open(x);
	if (rc < 0) {
		return rc;
	}
	x->entry.size = 0;
	et_entry_begin(&x->entry);
	rc = cluster_add(x);
	rc = rc < 0 ? rc : agents_add(x);
	for (uint64_t i = 0; i < calls && rc == 0; i++) {
		struct bench_call b;
		bench_call_make(i, calls, &b);
		rc = recording_add(x, &b);
		rc = rc < 0 ? rc : told_add(x, &b);
		if (i % 500000 == 499999) {
			(void)fprintf(stderr, "evertape: %llu calls, %.0f s\n",
				      (unsigned long long)(i + 1), bench_now_s() - begun);
		}
	}
	rc = rc < 0 ? rc : entry_apply(x);
	if (rc == 0 && x->entries > 0) {
		rc = et_state_commit(x->s, NULL, NULL, &e);
	}
	rc = rc < 0 ? rc : et_state_flush(x->s, &e);
	bench_settle();
	ret->seconds = bench_now_s() - begun;
	ret->commands = (double)x->commands;
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
	struct side *x = side;

	et_buffer_release(&x->entry);
	et_buffer_release(&x->packed);
	free(x);
}

static uint64_t side_memory(void *side)
{
	(void)side;
	return bench_rss(getpid());
}

void *bench_evertape(const char *folder, const struct bench_side **ret)
{
	static const struct bench_side side = { "evertape", side_load,	 side_open,  side_close,
						side_ask,   side_finish, side_memory };
	struct side *x = calloc(1, sizeof(*x));

	et_assert(x != NULL);
	(void)snprintf(x->path, sizeof(x->path), "%.400s/evertape", folder);
	memset(x->incarnation, 7, sizeof(x->incarnation));
	*ret = &side;
	return x;
}
