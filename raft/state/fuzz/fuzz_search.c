/* Bytes as a query and its cursor, against a small catalogue: refused, or answered in order, each
 * hit once, page by page to the end; and what the records themselves can tell is told the same.
 *
 *   flags 2, limit 1 (less four), then for each flag that is set a text up to a NUL (numbers: in
 * decimal); what is left is the cursor of the first page */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "raft/command/sample.h"
#include "raft/state/state.h"

#define RECORDINGS 150
#define T0 INT64_C(1700000000000000)
#define HOUR INT64_C(3600000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct call {
	uint8_t id[16];
	int64_t start_us, end_us;
	char from[32], to[32];
	const char *site;
};

static struct call calls[RECORDINGS];
static struct et_state *state; /* of all inputs */
static char folder[64];

/* ---- The catalogue ---- */

static uint64_t seq;
static struct et_buffer entry;

static void command_add(Et__Command *c)
{
	static uint8_t incarnation[16] = { 1 };
	static char by[] = "local:uid=0";
	struct et_buffer packed = { 0 };
	Et__OpId op = ET__OP_ID__INIT;

	op.node = 1;
	op.incarnation = (ProtobufCBinaryData){ 16, incarnation };
	op.seq = ++seq;
	c->op = &op;
	c->principal = by;
	c->schema = 1;
	int rc = et_command_pack(c, &packed);
	et_assert(rc == 0);
	et_entry_add(&entry, packed.data, packed.size);
	et_buffer_release(&packed);
}

static void cluster_add(void)
{
	struct et_sample_cluster sample;
	Et__Command c = ET__COMMAND__INIT;

	et_sample_cluster_init(&sample, T0, &c);
	command_add(&c);
}

static void call_add(size_t i)
{
	static const char *const sites[] = { "prg", "brq", "lon" };
	struct call *x = &calls[i];
	Et__Command c = ET__COMMAND__INIT;
	Et__RecordingClose close = ET__RECORDING_CLOSE__INIT;
	Et__Recording r = ET__RECORDING__INIT;
	char site[8];
	char call_id[32];

	et_put64(x->id, (uint64_t)i * 0x9e3779b97f4a7c15);
	et_put64(x->id + 8, i + 1);
	x->start_us = T0 + (int64_t)(i * 7 % RECORDINGS) * HOUR;
	x->end_us = x->start_us + (int64_t)(i % 40) * (int64_t)(i % 40) * 1000000;
	(void)snprintf(x->from, sizeof(x->from), "+4206%02zu%03zu", i % 5, i % 17);
	(void)snprintf(x->to, sizeof(x->to), i % 3 == 0 ? "jan.novak" : "%zu", 4000 + i % 9);
	x->site = sites[i % 7 % 3];
	(void)snprintf(site, sizeof(site), "%s", x->site);
	(void)snprintf(call_id, sizeof(call_id), "c%zu@sbc", i / 2);
	r.id = r.call = (ProtobufCBinaryData){ 16, x->id };
	r.site = site;
	r.start_us = x->start_us;
	r.end_us = x->end_us;
	r.from = x->from;
	r.to = x->to;
	r.sip_call_id = call_id;
	close.recording = &r;
	c.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
	c.recording_close = &close;
	command_add(&c);
}

static void note_add(size_t i)
{
	static const char *const texts[] = { "wants a refund", "refund of 120 EUR paid",
					     "\xc4\x8c\x65\x73ky", "call back on monday" };
	Et__Command c = ET__COMMAND__INIT;
	Et__NoteAdd add = ET__NOTE_ADD__INIT;
	Et__Note note = ET__NOTE__INIT;
	Et__Subject about = ET__SUBJECT__INIT;
	char text[64];

	(void)snprintf(text, sizeof(text), "%s", texts[i % 4]);
	about.recording = note.id = (ProtobufCBinaryData){ 16, calls[i].id };
	note.text = text;
	add.about = &about;
	add.note = &note;
	c.body_case = ET__COMMAND__BODY_NOTE_ADD;
	c.note_add = &add;
	command_add(&c);
}

static void tag_add(size_t i)
{
	static char name[] = "complaint";
	Et__Command c = ET__COMMAND__INIT;
	Et__TagSet set = ET__TAG_SET__INIT;
	Et__Tag tag = ET__TAG__INIT;
	Et__Tag *list[] = { &tag };
	Et__Subject about = ET__SUBJECT__INIT;

	about.recording = (ProtobufCBinaryData){ 16, calls[i].id };
	tag.name = name;
	set.about = &about;
	set.tags = list;
	set.n_tags = 1;
	c.body_case = ET__COMMAND__BODY_TAG_SET;
	c.tag_set = &set;
	command_add(&c);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void catalogue_end(void)
{
	state = et_state_close(state);
	(void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void catalogue_begin(void)
{
	struct et_error e;

	(void)snprintf(folder, sizeof(folder), "/tmp/fuzz-search.XXXXXX");
	const char *made = mkdtemp(folder);
	et_assert(made != NULL);
	int rc = et_state_open(folder, &state, &e);
	et_assert(rc == 0);
	(void)atexit(catalogue_end);
	et_entry_begin(&entry);
	cluster_add();
	for (size_t i = 0; i < RECORDINGS; i++) {
		call_add(i);
		if (i % 4 == 0) {
			note_add(i);
		}
		if (i % 6 == 0) {
			tag_add(i);
		}
	}
	et_entry_end(&entry);
	et_state_begin(state);
	rc = et_state_apply(state, 1, (struct et_view){ entry.data, entry.size }, &e);
	et_assert(rc == 0);
	rc = et_state_commit(state, NULL, NULL, &e);
	et_assert(rc == 0);
	et_buffer_release(&entry);
}

/* ---- The query ---- */

enum {
	FROM = 1,
	TO = 2,
	NUMBER = 4,
	SITE = 8,
	NODE = 16,
	STATE = 32,
	CALL_ID = 64,
	AGENT = 128,
	TAG = 256,
	TEXT = 512,
	LEAST = 1024,
	MOST = 2048,
	FACT = 4096,
	TEAM = 8192
};

/* Only these: the records tell the answer. */
#define PLAIN (FROM | TO | NUMBER | SITE | LEAST | MOST)

struct input {
	const char *at, *end;
};

static const char *text_next(struct input *in)
{
	const char *text = in->at;
	const char *nul =
		memchr(in->at, 0, (size_t)(in->end - in->at)); /* there is one at the end */

	in->at = nul < in->end - 1 ? nul + 1 : in->end - 1;
	return text;
}

static int64_t number_next(struct input *in)
{
	return strtoll(text_next(in), NULL, 10);
}

struct asked {
	struct et_state_query q;
	unsigned flags;
	const char *tag;
	struct et_state_fact_is fact;
};

static void query_read(struct input *in, struct asked *x)
{
	struct et_state_query *q = &x->q;

	q->state = -1;
	q->from_us = x->flags & FROM ? T0 + number_next(in) % 1000 * HOUR : 0;
	q->to_us = x->flags & TO ? T0 + number_next(in) % 1000 * HOUR : 0;
	q->number = x->flags & NUMBER ? text_next(in) : NULL;
	q->site = x->flags & SITE ? text_next(in) : NULL;
	q->node = x->flags & NODE ? (uint64_t)number_next(in) : 0;
	q->state = x->flags & STATE ? (int)number_next(in) : -1;
	q->sip_call_id = x->flags & CALL_ID ? text_next(in) : NULL;
	q->agent = x->flags & AGENT ? text_next(in) : NULL;
	x->tag = x->flags & TAG ? text_next(in) : NULL;
	q->tags = &x->tag;
	q->tag_count = x->tag != NULL;
	q->text = x->flags & TEXT ? text_next(in) : NULL;
	q->duration_min_us = x->flags & LEAST ? number_next(in) : 0;
	q->duration_max_us = x->flags & MOST ? number_next(in) : 0;
	x->fact = (struct et_state_fact_is){ .key = x->flags & FACT ? text_next(in) : NULL };
	q->facts = &x->fact;
	q->fact_count = x->fact.key != NULL;
	q->team = x->flags & TEAM ? text_next(in) : NULL;
	q->cursor = text_next(in);
}

static bool number_fits(const char *wanted, const char *number)
{
	size_t n = strlen(wanted);
	size_t size = strlen(number);

	if (n > 0 && wanted[n - 1] == '*') {
		return strncmp(number, wanted, n - 1) == 0;
	}
	if (n > 0 && wanted[0] == '*') {
		return size >= n - 1 && strcmp(number + size - (n - 1), wanted + 1) == 0;
	}
	return n == 0 || strcmp(wanted, number) == 0;
}

static bool call_fits(const struct et_state_query *q, const struct call *x)
{
	int64_t duration = x->end_us - x->start_us;

	return x->start_us >= q->from_us && (q->to_us == 0 || x->start_us < q->to_us) &&
	       (q->number == NULL || number_fits(q->number, x->from) ||
		number_fits(q->number, x->to)) &&
	       (q->site == NULL || strcmp(q->site, x->site) == 0) &&
	       duration >= q->duration_min_us &&
	       (q->duration_max_us == 0 || duration <= q->duration_max_us);
}

struct answer {
	int64_t start_us; /* of the last hit */
	uint8_t id[16];
	uint32_t hits;
};

static int hit(void *arg, const Et__Recording *r)
{
	struct answer *a = arg;

	et_assert(a->hits == 0 || r->start_us < a->start_us ||
		  (r->start_us == a->start_us && memcmp(r->id.data, a->id, 16) > 0));
	a->start_us = r->start_us;
	memcpy(a->id, r->id.data, 16);
	a->hits++;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct asked x = { .flags = 0 };
	struct answer a = { 0 };
	struct et_state_found found;
	char cursor[ET_STATE_CURSOR_SIZE];
	uint32_t expected = 0;

	if (state == NULL) {
		catalogue_begin();
	}
	if (size < 3) {
		return 0;
	}
	char *text = malloc(size - 3 + 1);
	et_assert(text != NULL);
	memcpy(text, data + 3, size - 3);
	text[size - 3] = '\0';
	struct input in = { text, text + size - 3 + 1 };
	x.flags = (unsigned)data[0] << 8 | data[1];
	x.q.limit = data[2] == 0 ? 0 : 4U + data[2];
	query_read(&in, &x);
	bool whole = x.q.cursor[0] == '\0';
	bool possible = x.q.to_us >= 0 && x.q.duration_min_us >= 0 && x.q.duration_max_us >= 0 &&
			(x.q.number == NULL || strlen(x.q.number) <= 257);
	struct et_state_view *v = et_state_view_open_indexed(state, 10000);
	et_assert(v != NULL);
	int rc = et_state_search(v, &x.q, hit, &a, &found);
	et_assert(rc == 0 || rc == ET_EMALFORMED || rc == ET_ELIMIT);
	et_assert(found.found == a.hits && (x.q.limit == 0 || a.hits <= x.q.limit));
	for (int page = 0; rc == 0 && found.cursor[0] != '\0'; page++) {
		et_assert(page < 2 * RECORDINGS);
		memcpy(cursor, found.cursor, sizeof(cursor));
		x.q.cursor = cursor;
		rc = et_state_search(v, &x.q, hit, &a, &found);
		et_assert(rc == 0);
	}
	if (rc == 0 && whole && possible && (x.flags & ~(unsigned)PLAIN) == 0) {
		for (size_t i = 0; i < RECORDINGS; i++) {
			expected += call_fits(&x.q, &calls[i]);
		}
		et_assert(a.hits == expected);
	}
	(void)et_state_view_close(v);
	free(text);
	return 0;
}
