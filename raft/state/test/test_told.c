/* What is told of calls, and search by it: against what the records themselves say, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/tail_internal.h"
#include "raft/state/test/random.h"

#define T INT64_C(1700000000000000)
#define HOUR INT64_C(3600000000)

/* ---- Asking the records ---- */

struct told_says {
	const struct et_state_query *q;
	const Et__Recording *r;
	uint32_t tags, facts; /* bits of those that were found */
	bool agent, team;
	char words[4096]; /* " word word " */
};

static void says_words(struct told_says *x, const char *text)
{
	/* The dice's texts: ASCII but for two letters, which are folded by hand. */
	for (const char *p = text;; p++) {
		size_t n = strlen(x->words);
		uint8_t c = (uint8_t)*p;
		assert_true(n < sizeof(x->words) - 2);
		uint8_t before = p > text ? (uint8_t)p[-1] : 0;
		if (c >= 'A' && c <= 'Z') {
			c |= 0x20;
		} else if (before == 0xc5 && c == 0xbd) {
			c = 0xbe;
		} else if (before == 0xc3 && c == 0x81) {
			c = 0xa1;
		}
		bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80;
		x->words[n] = letter ? (char)c : ' ';
		x->words[n + 1] = '\0';
		if (*p == '\0') {
			return;
		}
	}
}

static int says_told(void *arg, const Et__Told *t)
{
	struct told_says *x = arg;

	for (size_t i = 0; i < t->n_facts; i++) {
		const Et__Fact *f = t->facts[i];
		bool text =
			f->type == ET__FACT_TYPE__FACT_TEXT || f->type == ET__FACT_TYPE__FACT_PHONE;
		if (!et_told_fact_counts(t, i) || !et_told_fact_is_of(f, x->r)) {
			continue;
		}
		for (size_t k = 0; k < x->q->fact_count; k++) {
			const struct et_state_fact_is *w = &x->q->facts[k];
			bool wanted_text = w->type == ET__FACT_TYPE__FACT_TEXT ||
					   w->type == ET__FACT_TYPE__FACT_PHONE;
			if (strcmp(w->key, f->key) == 0 && text == wanted_text &&
			    (text ? strcmp(w->text, f->text) == 0
				  : w->type == (int)f->type && w->number == f->number)) {
				x->facts |= 1U << k;
			}
		}
		if (text && x->q->agent != NULL && strcmp(f->key, "agent") == 0) {
			x->agent |= strcmp(f->text, x->q->agent) == 0;
		}
		if (text && x->q->team != NULL && strcmp(f->key, "team") == 0) {
			x->team |= strcmp(f->text, x->q->team) == 0;
		}
		if (f->type == ET__FACT_TYPE__FACT_TEXT) {
			says_words(x, f->text);
		}
	}
	for (size_t i = 0; i < t->n_tags; i++) {
		for (size_t k = 0; k < x->q->tag_count && !t->tags[i]->cleared; k++) {
			x->tags |= (uint32_t)(strcmp(x->q->tags[k], t->tags[i]->name) == 0) << k;
		}
		if (!t->tags[i]->cleared) {
			says_words(x, t->tags[i]->name);
		}
	}
	for (size_t i = 0; i < t->n_notes; i++) {
		if (et_told_note_counts(t, i)) {
			says_words(x, t->notes[i]->text);
		}
	}
	return 0;
}

static void says_user(const struct et_state_view *v, struct told_says *x, const char *number)
{
	Et__Agent *a = NULL;

	if (number[0] == '\0' || et_state_agent_at(v, number, x->r->start_us, &a) < 0) {
		return;
	}
	x->agent |= x->q->agent != NULL && strcmp(a->id, x->q->agent) == 0;
	x->team |= x->q->team != NULL && strcmp(a->team, x->q->team) == 0;
	et__agent__free_unpacked(a, NULL);
}

static bool says_number(const char *wanted, const char *number)
{
	size_t n = strlen(wanted);
	size_t size = strlen(number);

	if (n > 0 && wanted[n - 1] == '*') {
		return strncmp(number, wanted, n - 1) == 0;
	}
	if (wanted[0] == '*') {
		return size >= n - 1 && strcmp(number + size - (n - 1), wanted + 1) == 0;
	}
	return strcmp(wanted, number) == 0;
}

static bool says_all_words(struct told_says *x)
{
	char text[64];
	char word[80];
	bool all = true;

	if (x->q->text == NULL) {
		return true;
	}
	(void)snprintf(text, sizeof(text), "%s", x->q->text);
	for (char *save = NULL, *p = strtok_r(text, " ", &save); p != NULL;
	     p = strtok_r(NULL, " ", &save)) {
		(void)snprintf(word, sizeof(word), " %s ", p);
		all &= strstr(x->words, word) != NULL;
	}
	return all;
}

/* A leg that was moved by hand is found by the call that it came from, too. */
static bool is_of_call(const uint8_t call[16], const Et__Recording *r)
{
	return (r->call.len == 16 && memcmp(call, r->call.data, 16) == 0) ||
	       (et_hand_moved(r->hand) && r->hand->was.len == 16 &&
		memcmp(call, r->hand->was.data, 16) == 0);
}

static bool record_fits(const struct et_state_view *v, const struct et_state_query *q,
			const Et__Recording *r)
{
	struct told_says x = { .q = q, .r = r, .words = " " };
	int64_t duration = r->end_us == 0	     ? -1
			   : r->end_us > r->start_us ? r->end_us - r->start_us
						     : 0;

	assert_int_equal(et_state_each_told_of(v, r, says_told, &x), 0);
	says_words(&x, r->from);
	says_words(&x, r->to);
	says_user(v, &x, r->from);
	says_user(v, &x, r->to);
	return r->start_us >= q->from_us && (q->to_us == 0 || r->start_us < q->to_us) &&
	       (q->number == NULL || q->number[0] == '\0' || says_number(q->number, r->from) ||
		says_number(q->number, r->to)) &&
	       (q->site == NULL || strcmp(q->site, r->site) == 0) &&
	       (q->node == 0 || q->node == r->node) &&
	       (q->state < 0 || q->state == (int)r->state) &&
	       (q->sip_call_id == NULL || strcmp(q->sip_call_id, r->sip_call_id) == 0) &&
	       (q->call == NULL || is_of_call(q->call, r)) && x.tags == (1U << q->tag_count) - 1 &&
	       x.facts == (1U << q->fact_count) - 1 && (q->agent == NULL || x.agent) &&
	       (q->team == NULL || x.team) && says_all_words(&x) &&
	       (q->duration_min_us == 0 || duration >= q->duration_min_us) &&
	       (q->duration_max_us == 0 || (duration >= 0 && duration <= q->duration_max_us));
}

/* ---- Random questions ---- */

struct question {
	struct et_state_query q;
	const char *tags[2];
	struct et_state_fact_is facts[2];
	uint8_t call[16];
};

static void question_told(struct dice *d, struct question *x)
{
	struct et_state_query *q = &x->q;

	q->tag_count = dice_one_in(d, 4) ? 1 + dice_below(d, 2) : 0;
	q->tags = x->tags;
	for (size_t i = 0; i < 2; i++) {
		x->tags[i] = DICE_WORD(d, "vip", "Complaint", "blue", "none");
		x->facts[i].key = DICE_WORD(d, "order", "queue", "agent");
		x->facts[i].type = (int)dice_below(d, 5);
		x->facts[i].text = DICE_WORD(d, "", "7", "Blue Moon", "agent-1", "blue");
		x->facts[i].number = (int64_t)dice_below(d, 3) - 1;
	}
	q->fact_count = dice_one_in(d, 4) ? 1 + dice_below(d, 2) : 0;
	q->facts = x->facts;
	q->text = dice_one_in(d, 3) ? DICE_WORD(d, "moon", "blue moon", "blue", "the", "capture",
						"\xc5\xbe\xc3\xa1"
						"ba",
						"vip", "nothing")
				    : NULL;
	q->agent = dice_one_in(d, 4) ? DICE_WORD(d, "agent-1", "agent-2", "agent-3") : NULL;
	q->team = dice_one_in(d, 6) ? DICE_WORD(d, "team-1", "team-2") : NULL;
}

static void question_make(struct dice *d, struct question *x)
{
	struct et_state_query *q = &x->q;

	memset(x, 0, sizeof(*x));
	q->state = dice_one_in(d, 5) ? (int)dice_below(d, 4) : -1;
	q->from_us = dice_one_in(d, 3) ? dice_time(d) : 0;
	q->to_us = dice_one_in(d, 3) ? dice_time(d) : 0;
	q->number = dice_one_in(d, 4) ? DICE_WORD(d, "a", "prg", "p*", "*g", "*456", "+420*", "*",
						  "**", "capture", "")
				      : NULL;
	q->site = dice_one_in(d, 5) ? DICE_WORD(d, "prg", "brn", "a", "site-0") : NULL;
	q->node = dice_one_in(d, 5) ? 1 + dice_below(d, 3) : 0;
	q->sip_call_id = dice_one_in(d, 8) ? DICE_WORD(d, "a", "prg", "later") : NULL;
	if (dice_one_in(d, 8)) {
		memcpy(x->call, dice_id(d, DICE_CALL).data, 16);
		q->call = x->call;
	}
	q->duration_min_us = dice_one_in(d, 6) ? (int64_t)dice_below(d, 1000) * 1000000 : 0;
	q->duration_max_us = dice_one_in(d, 6) ? (int64_t)dice_below(d, 1000) * 1000000 : 0;
	q->limit = 1 + (uint32_t)dice_below(d, 4);
	question_told(d, x);
}

struct pages {
	uint8_t ids[64][16];
	uint32_t sums[64]; /* of the records, as they were handed over */
	size_t count;
	uint64_t last_start;
};

static uint32_t record_sum(const Et__Recording *r)
{
	size_t size = et__recording__get_packed_size(r);
	uint8_t *packed = malloc(size + 1);

	assert_non_null(packed);
	uint32_t sum = et_crc32c(0, packed, et__recording__pack(r, packed));
	free(packed);
	return sum;
}

static int page_hit(void *arg, const Et__Recording *r)
{
	struct pages *p = arg;

	assert_true(p->count < ET_ARRAY_SIZE(p->ids));
	assert_true((uint64_t)r->start_us <= p->last_start);
	p->last_start = (uint64_t)r->start_us;
	p->sums[p->count] = record_sum(r);
	memcpy(p->ids[p->count++], r->id.data, 16);
	return 0;
}

/* Hits are right in any view; in one that says `complete`, there are all. Returns that. */
static bool question_check(const struct et_state_view *v, struct dice *d, uint64_t hits[2])
{
	struct question x;
	struct pages p = { .last_start = UINT64_MAX };
	struct et_state_found page = { .cursor = "" };
	char cursor[ET_STATE_CURSOR_SIZE];

	question_make(d, &x);
	do {
		memcpy(cursor, page.cursor, sizeof(cursor));
		x.q.cursor = cursor;
		assert_int_equal(et_state_search(v, &x.q, page_hit, &p, &page), 0);
	} while (page.cursor[0] != '\0');
	for (size_t i = 0; i < p.count; i++) { /* a fault may have made an id of its own, too */
		Et__Recording *r = NULL;
		assert_int_equal(et_state_get_recording(v, p.ids[i], &r), 0);
		assert_true(record_fits(v, &x.q, r));
		assert_int_equal(p.sums[i], record_sum(r)); /* of this view, and whole */
		et__recording__free_unpacked(r, NULL);
		for (size_t k = 0; k < i; k++) {
			assert_memory_not_equal(p.ids[i], p.ids[k], 16);
		}
	}
	for (uint64_t n = 0; n < 12 && page.complete; n++) {
		Et__Recording *r = NULL;
		size_t times = 0;
		ProtobufCBinaryData id = kit_id(DICE_RECORDING * 1000 + n);
		for (size_t i = 0; i < p.count; i++) {
			times += memcmp(p.ids[i], id.data, 16) == 0;
		}
		if (et_state_get_recording(v, id.data, &r) < 0) {
			assert_int_equal(times, 0);
			continue;
		}
		assert_int_equal(times, record_fits(v, &x.q, r));
		et__recording__free_unpacked(r, NULL);
	}
	hits[p.count > 0]++;
	return page.complete;
}

static void apply_random(struct kit *k, struct dice_game *g, struct et_buffer *entry)
{
	struct et_error error;

	dice_entry(g, k, entry);
	kit_log(k, entry->data, entry->size);
	et_state_begin(k->s);
	if (et_state_apply(k->s, ++k->index, (struct et_view){ entry->data, entry->size }, &error) <
		    0 ||
	    et_state_commit(k->s, NULL, NULL, &error) < 0) {
		fail_msg("%s", error.text);
	}
}

/* Random commands, random questions, and the index made anew now and then, a little at a time. Half
 * of the time the index's thread hangs: then what is there is right all the same. */
static void search_says_what_the_records_say(void **state)
{
	struct kit *k = *state;
	struct dice_game *g = malloc(sizeof(*g));
	struct et_buffer entry = { 0 };
	struct dice d = { 77 };
	struct et_error error;
	uint64_t hits[2] = { 0 };
	uint64_t late[2] = { 0 }; /* hits of views whose index lacks something */
	uint64_t of_held[2] = { 0 };
	struct et_state_view *held = et_state_view_open(k->s);
	unsigned rebuilt = 0;
	struct tail_tuning tuning = tail_tuning(k->s->tail);

	assert_non_null(g);
	kit_cluster(k);
	kit_upgrade(k, 1, ET_COMMAND_SCHEMA);
	dice_begin(g, 5);
	for (int i = 0; i < 2400; i++) {
		bool more = false;
		if (dice_one_in(&d, 8)) {
			tuning.paused = !tuning.paused;
			tuning.bulk_bytes = dice_one_in(&d, 4) ? 1 : TAIL_BULK_BYTES;
		}
		tail_tune(k->s->tail, &tuning);
		bool hangs = tuning.paused;
		apply_random(k, g, &entry);
		if (dice_one_in(&d, 40)) {
			assert_int_equal(et_state_index_rebuild(k->s, &error), 0);
		}
		if (et_state_index_pending(k->s) && dice_one_in(&d, 2)) {
			assert_int_equal(et_state_index_step(k->s, 1 + (uint32_t)dice_below(&d, 3),
							     &more, &error),
					 0);
			rebuilt += !more;
			assert_int_equal(more, et_state_index_pending(k->s));
		}
		struct et_state_view *v = hangs ? et_state_view_open(k->s) : kit_indexed(k->s);
		for (int n = 0; n < 4; n++) {
			uint64_t of_this[2] = { 0 };
			bool complete = question_check(v, &d, of_this);
			assert_true(complete || hangs);
			for (int h = 0; h < 2; h++) {
				*(complete ? &hits[h] : &late[h]) += of_this[h];
			}
		}
		if (dice_one_in(&d, 6)) {
			(void)et_state_view_close(held);
			held = v;
		} else {
			(void)et_state_view_close(v);
		}
		if (dice_one_in(&d, 4)) { /* others have read what is newer */
			(void)question_check(held, &d, of_held);
		}
	}
	(void)et_state_view_close(held);
	assert_true(of_held[0] > 50 && of_held[1] > 50);
	assert_true(rebuilt > 10);
	assert_true(hits[0] > 500 && hits[1] > 500);
	assert_true(late[0] > 100 && late[1] > 100);
	assert_true(tail_files(k->s->tail) > 2);
	et_buffer_release(&entry);
	free(g);
}

/* The index that apply made of the whole log, the one made anew, the one made anew while commands
 * came in and over a restart: the same, byte for byte. */
static void an_index_made_anew_is_the_same(void **state)
{
	struct kit *k = *state;
	struct dice_game *g = malloc(sizeof(*g));
	struct et_buffer entry = { 0 };
	struct et_error error;
	uint8_t applied[32];
	uint8_t anew[32];
	uint8_t mixed[32];
	char path[128];
	bool more = true;

	assert_non_null(g);
	kit_cluster(k);
	kit_upgrade(k, 1, ET_COMMAND_SCHEMA);
	dice_begin(g, 9);
	for (int i = 0; i < 1200; i++) {
		apply_random(k, g, &entry);
	}
	kit_index_digest(k->s, applied);
	assert_int_equal(et_state_index_rebuild(k->s, &error), 0);
	while (more) {
		kit_index_digest(k->s, anew); /* readers use the old one meanwhile */
		assert_memory_equal(anew, applied, 32);
		assert_int_equal(et_state_index_step(k->s, 1, &more, &error), 0);
	}
	kit_index_digest(k->s, anew);
	assert_memory_equal(anew, applied, 32);

	(void)snprintf(path, sizeof(path), "%s/mixed", k->folder);
	struct et_state *s = kit_open(path);
	for (size_t i = 0; i < k->log_count; i++) {
		et_state_begin(s);
		assert_int_equal(et_state_apply(s, i + 1,
						(struct et_view){ k->log[i].data, k->log[i].size },
						&error),
				 0);
		assert_int_equal(et_state_commit(s, NULL, NULL, &error), 0);
		if (i == k->log_count / 3) {
			assert_int_equal(et_state_index_rebuild(s, &error), 0);
		}
		if (i > k->log_count / 3 && i % 40 == 0) {
			assert_int_equal(et_state_index_step(s, 1, &more, &error), 0);
		}
		if (i == k->log_count / 2) {
			assert_true(et_state_index_pending(s));
			assert_int_equal(et_state_flush(s, &error), 0);
			s = et_state_close(s);
			s = kit_open(path);
			assert_true(et_state_index_pending(s)); /* it goes on where it was */
		}
	}
	assert_false(et_state_index_pending(s));
	kit_index_digest(s, mixed);
	assert_memory_equal(mixed, applied, 32);
	(void)et_state_close(s);
	et_buffer_release(&entry);
	free(g);
}

/* ---- By hand ---- */

static void tell(struct kit *k, Et__Command *c, int code)
{
	assert_int_equal(kit_apply(k, c), code);
}

static void fact_tell(struct kit *k, const Et__Subject *about, const char *key, const char *text,
		      int code)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__FactAdd add = ET__FACT_ADD__INIT;
	Et__Fact f = ET__FACT__INIT;
	Et__Fact *list[] = { &f };
	char key_copy[32];
	char text_copy[128];
	Et__Subject subject = *about;

	(void)snprintf(key_copy, sizeof(key_copy), "%s", key);
	(void)snprintf(text_copy, sizeof(text_copy), "%s", text);
	f.key = key_copy;
	f.text = text_copy;
	add.about = &subject;
	add.facts = list;
	add.n_facts = 1;
	c.body_case = ET__COMMAND__BODY_FACT_ADD;
	c.fact_add = &add;
	tell(k, &c, code);
}

static struct et_state_counts counts_of(struct kit *k)
{
	struct et_state_view *v = kit_indexed(k->s);
	struct et_state_counts c;

	assert_int_equal(et_state_counts(v, &c), 0);
	(void)et_state_view_close(v);
	return c;
}

static size_t found_by_fact(struct kit *k, const char *key, const char *text)
{
	const struct et_state_fact_is f = { key, ET__FACT_TYPE__FACT_TEXT, text, 0 };
	struct et_state_query q = { .state = -1, .facts = &f, .fact_count = 1 };
	struct et_state_view *v = kit_indexed(k->s);
	struct pages p = { .last_start = UINT64_MAX };
	struct et_state_found page;

	assert_int_equal(et_state_search(v, &q, page_hit, &p, &page), 0);
	assert_true(page.total_is_exact);
	assert_int_equal(page.total, p.count);
	(void)et_state_view_close(v);
	return p.count;
}

/* A telephone system tells of a call before its recorder does, and again long after. */
static void facts_wait_for_their_call(void **state)
{
	struct kit *k = *state;
	char sip[] = "abc@pbx";
	char other[] = "zzz@pbx";
	Et__Subject about = ET__SUBJECT__INIT;
	Et__Recording r = ET__RECORDING__INIT;

	kit_cluster(k);
	about.sip_call_id = sip;
	fact_tell(k, &about, "order", "A-1", 0);
	assert_int_equal(counts_of(k).waiting, 1);
	assert_int_equal(found_by_fact(k, "order", "A-1"), 0);
	r.id = kit_id(500);
	r.start_us = T;
	r.sip_call_id = sip;
	assert_int_equal(kit_tell_recording(k, 1, KIT_CLOSE, &r), 0);
	assert_int_equal(counts_of(k).waiting, 0);
	assert_int_equal(found_by_fact(k, "order", "A-1"), 1);
	fact_tell(k, &about, "order", "A-2", 0); /* after the call: the last one counts */
	assert_int_equal(found_by_fact(k, "order", "A-1"), 0);
	assert_int_equal(found_by_fact(k, "order", "A-2"), 1);
	fact_tell(k, &about, "order", "A-2", 0); /* told again: nothing new */
	assert_int_equal(counts_of(k).facts, 2);
	r.id = kit_id(501); /* another node captured the same dialog */
	assert_int_equal(kit_tell_recording(k, 1, KIT_OPEN, &r), 0);
	assert_int_equal(found_by_fact(k, "order", "A-2"), 2);
	struct et_state_view *v = kit_indexed(k->s);
	Et__Told *told = NULL;
	assert_int_equal(et_state_get_told(v, &about, &told), 0);
	assert_int_equal(told->n_facts, 2); /* with its history */
	assert_string_equal(told->facts[0]->text, "A-1");
	assert_false(et_told_fact_counts(told, 0));
	assert_true(et_told_fact_counts(told, 1));
	assert_false(told->waiting);
	et__told__free_unpacked(told, NULL);
	about.sip_call_id = other;
	assert_int_equal(et_state_get_told(v, &about, &told), ET_ENOTFOUND);
	(void)et_state_view_close(v);
}

/* A full record takes no more, and says so. */
static void what_is_told_of_one_call_is_bounded(void **state)
{
	struct kit *k = *state;
	Et__Subject about = ET__SUBJECT__INIT;
	char text[64];

	kit_cluster(k);
	about.recording = kit_id(500);
	for (int i = 0; i < ET_COMMAND_TOLD_MAX; i++) {
		(void)snprintf(text, sizeof(text), "%d", i);
		fact_tell(k, &about, "k", text, 0);
		if (counts_of(k).facts < (uint64_t)i + 1) {
			fail_msg("fact %d", i);
		}
	}
	fact_tell(k, &about, "k", "one more", ET_ELIMIT);
	assert_int_equal(counts_of(k).facts, ET_COMMAND_TOLD_MAX);
}

static void agent_tell(struct kit *k, const char *id, const char *number, int64_t from_us)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__AgentSet set = ET__AGENT_SET__INIT;
	Et__Agent a = ET__AGENT__INIT;
	char id_copy[32];
	char number_copy[32];
	char *numbers[] = { number_copy };

	(void)snprintf(id_copy, sizeof(id_copy), "%s", id);
	(void)snprintf(number_copy, sizeof(number_copy), "%s", number);
	a.id = id_copy;
	a.numbers = numbers;
	a.n_numbers = 1;
	a.valid_from_us = from_us;
	set.agent = &a;
	c.body_case = ET__COMMAND__BODY_AGENT_SET;
	c.agent_set = &set;
	tell(k, &c, 0);
}

static size_t found_by_agent(struct kit *k, const char *agent)
{
	struct et_state_query q = { .state = -1, .agent = agent };
	struct et_state_view *v = kit_indexed(k->s);
	struct pages p = { .last_start = UINT64_MAX };
	struct et_state_found page;

	assert_int_equal(et_state_search(v, &q, page_hit, &p, &page), 0);
	(void)et_state_view_close(v);
	return p.count;
}

/* The spans say of every moment what the point read says. */
struct desk {
	const char *number;
	int64_t at_us;
	char id[ET_COMMAND_PLACE_MAX];
	int64_t from_us;
	uint64_t told;
};

static int desk_span(void *arg, const Et__Agent *a, int64_t from_us, int64_t to_us)
{
	struct desk *d = arg;

	assert_true(from_us < to_us);
	for (size_t i = 0; i < a->n_numbers; i++) {
		if (strcmp(a->numbers[i], d->number) != 0 || from_us > d->at_us ||
		    to_us <= d->at_us) {
			continue;
		}
		if (d->id[0] == '\0' || from_us > d->from_us ||
		    (from_us == d->from_us && a->index >= d->told)) {
			(void)snprintf(d->id, sizeof(d->id), "%s", a->id);
			d->from_us = from_us;
			d->told = a->index;
		}
	}
	return 0;
}

static void spans_say_the_same(const struct et_state_view *v, const char *number)
{
	for (int64_t at_us = T - HOUR; at_us < T + 6 * HOUR; at_us += HOUR / 2) {
		struct desk d = { .number = number, .at_us = at_us };
		Et__Agent *a = NULL;
		int rc = et_state_agent_at(v, number, at_us, &a);
		assert_int_equal(et_state_each_agent_span(v, desk_span, &d), 0);
		assert_string_equal(d.id, rc == 0 ? a->id : "");
		et__agent__free_unpacked(a, NULL);
	}
}

/* Who sits at a desk today does not change who sat there; a roster told late is right for old
 * calls. */
static void desks_change_hands(void **state)
{
	struct kit *k = *state;
	Et__Recording r = ET__RECORDING__INIT;
	char desk[] = "4711";

	kit_cluster(k);
	r.from = desk;
	for (int i = 0; i < 4; i++) {
		r.id = kit_id(600 + (uint64_t)i);
		r.start_us = T + i * HOUR;
		assert_int_equal(kit_tell_recording(k, 1, KIT_CLOSE, &r), 0);
	}
	assert_int_equal(found_by_agent(k, "ann"), 0);
	agent_tell(k, "ann", desk, T); /* after the calls */
	assert_int_equal(found_by_agent(k, "ann"), 4);
	agent_tell(k, "bob", desk, T + 2 * HOUR);
	assert_int_equal(found_by_agent(k, "ann"), 2);
	assert_int_equal(found_by_agent(k, "bob"), 2);
	agent_tell(k, "bob", "4712", T + 3 * HOUR); /* he moves on: the desk is ann's again */
	assert_int_equal(found_by_agent(k, "ann"), 3);
	assert_int_equal(found_by_agent(k, "bob"), 1);
	assert_int_equal(found_by_agent(k, "nobody"), 0);
	struct et_state_view *v = kit_indexed(k->s);
	Et__Agent *a = NULL;
	assert_int_equal(et_state_agent_at(v, desk, T + 2 * HOUR + 1, &a), 0);
	assert_string_equal(a->id, "bob");
	et__agent__free_unpacked(a, NULL);
	assert_int_equal(et_state_agent_at(v, desk, T - 1, &a), ET_ENOTFOUND);
	spans_say_the_same(v, desk);
	spans_say_the_same(v, "4712");
	(void)et_state_view_close(v);
}

/* ---- Hostile cursors and queries ---- */

static void random_cursors_are_refused_or_harmless(void **state)
{
	struct kit *k = *state;
	struct dice_game *g = malloc(sizeof(*g));
	struct et_buffer entry = { 0 };
	struct dice d = { 12 };

	assert_non_null(g);
	kit_cluster(k);
	kit_upgrade(k, 1, ET_COMMAND_SCHEMA);
	dice_begin(g, 6);
	for (int i = 0; i < 300; i++) {
		apply_random(k, g, &entry);
	}
	struct et_state_view *v = kit_indexed(k->s);
	for (int i = 0; i < 20000; i++) {
		struct question x;
		struct pages p = { .last_start = UINT64_MAX };
		struct et_state_found page;
		char cursor[ET_STATE_CURSOR_SIZE + 8] = "";
		char number[300];
		question_make(&d, &x);
		assert_int_equal(et_state_search(v, &x.q, page_hit, &p, &page), 0);
		memcpy(cursor, page.cursor, sizeof(page.cursor));
		size_t size = strlen(cursor);
		if (size > 0) {
			cursor[dice_below(&d, size)] = (char)(1 + dice_below(&d, 255));
		}
		if (dice_one_in(&d, 4)) {
			size_t n = dice_below(&d, sizeof(number));
			memset(number, (int)(1 + dice_below(&d, 255)), n);
			number[n] = '\0';
			x.q.number = number;
			x.q.text = number;
		}
		x.q.cursor = cursor;
		p.count = 0;
		p.last_start = UINT64_MAX;
		int rc = et_state_search(v, &x.q, page_hit, &p, &page);
		assert_true(rc == 0 || rc == ET_EMALFORMED || rc == ET_ELIMIT);
		assert_true(p.count <= x.q.limit);
	}
	struct et_state_query many = { .state = -1, .text = "a b c d e f g h i" };
	struct et_state_found page;
	assert_int_equal(et_state_search(v, &many, page_hit, NULL, &page), ET_ELIMIT);
	(void)et_state_view_close(v);
	et_buffer_release(&entry);
	free(g);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(search_says_what_the_records_say),
		TEST(an_index_made_anew_is_the_same),
		TEST(facts_wait_for_their_call),
		TEST(what_is_told_of_one_call_is_bounded),
		TEST(desks_change_hands),
		TEST(random_cursors_are_refused_or_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
