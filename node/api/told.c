/* What others tell of calls: facts, tags, notes; and who used which number (agents).
 *
 * Telling is creating: it needs no quorum. The command goes into this node's journal, durably, and
 * from there into the catalogue. The answer is 200 with the log index when it was applied in time,
 * else 202 with "pending": true: it survives a crash of this node, and is committed when there is a
 * majority. A refusal (a card number in a text, more facts than a call may have) is an error when
 * it came in time; else it is in the log of this node. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

#define FACTS_MAX 64 /* in one request */
#define TAGS_MAX 64
#define NUMBERS_MAX 64
#define ATTRIBUTES_MAX 64

static char *text_of(const char *s)
{
	return (char *)(uintptr_t)(s != NULL ? s : "");
}

static char *member(const json_t *o, const char *key)
{
	return text_of(et_json_get_text(o, key, ""));
}

/* ---- Times and words in a body ---- */

/* RFC 3339 or a date; 0 when it is not there. */
static int time_member(const json_t *o, const char *key, int64_t *ret, struct et_error *reterr)
{
	const json_t *v = json_object_get(o, key);
	const char *text = json_string_value(v);
	*ret = 0;
	if (v == NULL || json_is_null(v)) {
		return 0;
	}
	if (text == NULL || !et_time_parse(text, ret)) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "%s is a time such as 2026-11-22T09:00:00Z, not \"%.40s\"",
				     key, text != NULL ? text : "(no text)");
	}
	return 0;
}

static int word_member(const json_t *o, const char *key, const char *const *words, size_t count,
		       int otherwise, int *ret, struct et_error *reterr)
{
	const char *word = et_json_get_text(o, key, NULL);
	*ret = otherwise;
	if (word == NULL) {
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		if (strcmp(words[i], word) == 0) {
			*ret = (int)i;
			return 0;
		}
	}
	char list[160] = "";
	for (size_t i = 0; i < count; i++) {
		size_t used = strlen(list);
		(void)snprintf(list + used, sizeof(list) - used, "%s%s", i == 0 ? "" : ", ",
			       words[i]);
	}
	return et_fail_plain(reterr, ET_EUSAGE, "%s is one of %s, not \"%.32s\"", key, list, word);
}

/* In the order of enum Et__FactType and Et__FactSet. */
static const char *const fact_types[] = { "text", "integer", "time", "bool", "phone" };
static const char *const fact_sets[] = { "external", "basic", "user", "agent" };

int api_fact_type(const char *name)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(fact_types); i++) {
		if (strcmp(fact_types[i], name) == 0) {
			return (int)i;
		}
	}
	return -1;
}

/* ---- The subject ---- */

struct subject {
	Et__Subject about;
	uint8_t id[16];
};

static int subject_set(struct subject *s, const char *kind, const char *value,
		       struct et_error *reterr)
{
	et__subject__init(&s->about);
	if (strcmp(kind, "sip_call_id") == 0) {
		s->about.sip_call_id = text_of(value);
		return 0;
	}
	if (!et_uuid_parse(value, s->id)) {
		return et_fail_plain(reterr, ET_EUSAGE, "%s is a UUID, not \"%.60s\"", kind, value);
	}
	ProtobufCBinaryData id = { .len = 16, .data = s->id };
	if (strcmp(kind, "recording") == 0) {
		s->about.recording = id;
	} else {
		s->about.call = id;
	}
	return 0;
}

static const char *const subject_kinds[] = { "recording", "call", "sip_call_id" };

static int subject_none(struct et_error *reterr)
{
	return et_fail_plain(reterr, ET_EUSAGE,
			     "what it is about is exactly one of recording, call, sip_call_id");
}

static int subject_of_body(const json_t *body, struct subject *ret, struct et_error *reterr)
{
	const json_t *about = json_object_get(body, "about");
	const char *kind = NULL;
	int rc = et_json_check_keys(about != NULL ? about : body, subject_kinds,
				    about != NULL ? ET_ARRAY_SIZE(subject_kinds) : 0, reterr);
	if (about == NULL) {
		return subject_none(reterr);
	}
	for (size_t i = 0; rc == 0 && i < ET_ARRAY_SIZE(subject_kinds); i++) {
		if (json_object_get(about, subject_kinds[i]) != NULL) {
			if (kind != NULL) {
				return subject_none(reterr);
			}
			kind = subject_kinds[i];
		}
	}
	if (rc < 0) {
		return rc;
	}
	const char *value = kind != NULL ? et_json_get_text(about, kind, "") : "";
	return *value == '\0' ? subject_none(reterr) : subject_set(ret, kind, value, reterr);
}

static int subject_of_query(const struct api_request *r, struct subject *ret,
			    struct et_error *reterr)
{
	const char *kind = NULL;
	for (size_t i = 0; i < ET_ARRAY_SIZE(subject_kinds); i++) {
		if (api_param(r, subject_kinds[i]) != NULL) {
			if (kind != NULL) {
				return subject_none(reterr);
			}
			kind = subject_kinds[i];
		}
	}
	return kind == NULL ? subject_none(reterr)
			    : subject_set(ret, kind, api_param(r, kind), reterr);
}

/* ---- Telling ---- */

/* Commit it, or keep it until it can be. */
static int tell(struct api_call *call, Et__Command *command, const json_t *body, const char *id,
		struct et_error *reterr)
{
	const struct et_api_backend *b = &call->api->config.backend;
	struct et_api_told told = { .committed = true };
	struct api_result result = { 0 };
	const char *reason = et_json_get_text(body, "reason", "");
	int rc;
	if (b->tell == NULL) {
		rc = api_propose(call, command, reason, &result, reterr);
		told.index = result.index;
	} else {
		command->principal = call->principal;
		command->reason = text_of(reason);
		command->schema = ET_COMMAND_SCHEMA;
		rc = b->tell(b->arg, command, &told, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	if (id != NULL) {
		et_json_set(o, "id", json_string(id));
	}
	et_json_set(o, "pending", json_boolean(!told.committed));
	et_json_set(o, "survives", json_string(told.committed ? "quorum" : "local"));
	et_json_set(o, "index", told.committed ? et_json_u64(told.index) : json_null());
	return api_json(call, told.committed ? 200 : 202, o);
}

/* ---- Facts ---- */

struct facts {
	Et__Fact facts[FACTS_MAX];
	Et__Fact *list[FACTS_MAX];
	size_t count;
};

static int fact_value(const json_t *o, bool typed, int type, Et__Fact *f, struct et_error *reterr)
{
	const json_t *v = json_object_get(o, "value");
	bool fits = false;
	if (!typed) {
		type = json_is_integer(v)   ? ET__FACT_TYPE__FACT_INTEGER
		       : json_is_boolean(v) ? ET__FACT_TYPE__FACT_BOOL
					    : ET__FACT_TYPE__FACT_TEXT;
	}
	f->type = (Et__FactType)type;
	switch (type) {
	case ET__FACT_TYPE__FACT_INTEGER:
		fits = json_is_integer(v);
		f->number = json_integer_value(v);
		break;
	case ET__FACT_TYPE__FACT_BOOL:
		fits = json_is_boolean(v);
		f->number = json_is_true(v);
		break;
	case ET__FACT_TYPE__FACT_TIME:
		fits = json_is_string(v) && et_time_parse(json_string_value(v), &f->number);
		break;
	default:
		fits = json_is_string(v);
		f->text = text_of(json_string_value(v));
		break;
	}
	return fits ? 0
		    : et_fail_plain(reterr, ET_EUSAGE, "the value of %.64s is not of type %s",
				    f->key, fact_types[type]);
}

static int fact_read(const json_t *o, Et__Fact *f, struct et_error *reterr)
{
	static const char *const known[] = { "key",    "value",	     "type",	 "set",
					     "source", "valid_from", "valid_to", "withdrawn" };
	int type, set;
	et__fact__init(f);
	int rc = et_json_check_keys(o, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = word_member(o, "type", fact_types, ET_ARRAY_SIZE(fact_types),
				 ET__FACT_TYPE__FACT_TEXT, &type, reterr);
	}
	if (rc == 0) {
		rc = word_member(o, "set", fact_sets, ET_ARRAY_SIZE(fact_sets),
				 ET__FACT_SET__FACT_EXTERNAL, &set, reterr);
	}
	if (rc == 0) {
		rc = time_member(o, "valid_from", &f->valid_from_us, reterr);
	}
	if (rc == 0) {
		rc = time_member(o, "valid_to", &f->valid_to_us, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	f->key = member(o, "key");
	f->source = member(o, "source");
	f->set = (Et__FactSet)set;
	f->withdrawn = et_json_get_bool(o, "withdrawn", false);
	if (*f->key == '\0') {
		return et_fail_plain(reterr, ET_EUSAGE, "a fact needs a key");
	}
	if (f->withdrawn && json_object_get(o, "value") == NULL) {
		f->type = (Et__FactType)type;
		return 0;
	}
	return fact_value(o, json_object_get(o, "type") != NULL, type, f, reterr);
}

static int facts_read(const json_t *body, struct facts *ret, struct et_error *reterr)
{
	const json_t *list = json_object_get(body, "facts");
	ret->count = json_array_size(list);
	if (ret->count == 0 || ret->count > FACTS_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE, "facts is a list of 1 to %d facts",
				     FACTS_MAX);
	}
	for (size_t i = 0; i < ret->count; i++) {
		int rc = fact_read(json_array_get(list, i), &ret->facts[i], reterr);
		if (rc < 0) {
			return rc;
		}
		ret->list[i] = &ret->facts[i];
	}
	return 0;
}

int api_facts_add(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "about", "facts", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct subject subject;
	struct facts facts;
	Et__FactAdd add = ET__FACT_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc == 0) {
		rc = subject_of_body(body, &subject, reterr);
	}
	if (rc == 0) {
		rc = facts_read(body, &facts, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	add.about = &subject.about;
	add.facts = facts.list;
	add.n_facts = facts.count;
	command.body_case = ET__COMMAND__BODY_FACT_ADD;
	command.fact_add = &add;
	return tell(call, &command, body, NULL, reterr);
}

/* ---- Tags ---- */

struct tags {
	Et__Tag tags[TAGS_MAX];
	Et__Tag *list[TAGS_MAX];
	size_t count;
};

static int tags_read(const json_t *names, const char *key, bool cleared, struct tags *ret,
		     struct et_error *reterr)
{
	size_t n = json_array_size(names);
	if ((names != NULL && !json_is_array(names)) || ret->count + n > TAGS_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE, "%s is a list of at most %d names", key,
				     TAGS_MAX);
	}
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(names, i));
		Et__Tag *t = &ret->tags[ret->count];
		et__tag__init(t);
		t->name = text_of(name);
		t->cleared = cleared;
		ret->list[ret->count++] = t;
		if (name == NULL || *name == '\0') {
			return et_fail_plain(reterr, ET_EUSAGE, "%s is a list of names", key);
		}
	}
	return 0;
}

int api_tags_set(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "about", "set", "clear", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct subject subject;
	struct tags tags = { .count = 0 };
	Et__TagSet set = ET__TAG_SET__INIT;
	Et__Command command = ET__COMMAND__INIT;
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc == 0) {
		rc = subject_of_body(body, &subject, reterr);
	}
	if (rc == 0) {
		rc = tags_read(json_object_get(body, "set"), "set", false, &tags, reterr);
	}
	if (rc == 0) {
		rc = tags_read(json_object_get(body, "clear"), "clear", true, &tags, reterr);
	}
	if (rc == 0 && tags.count == 0) {
		rc = et_fail_plain(reterr, ET_EUSAGE, "name tags to set or to clear");
	}
	if (rc < 0) {
		return rc;
	}
	set.about = &subject.about;
	set.tags = tags.list;
	set.n_tags = tags.count;
	command.body_case = ET__COMMAND__BODY_TAG_SET;
	command.tag_set = &set;
	return tell(call, &command, body, NULL, reterr);
}

/* ---- Notes ---- */

int api_note_add(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "about", "id", "text", "at", "withdrawn", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct subject subject;
	uint8_t id[16];
	char id_text[ET_UUID_TEXT_SIZE];
	Et__Note note = ET__NOTE__INIT;
	Et__NoteAdd add = ET__NOTE_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc == 0) {
		rc = subject_of_body(body, &subject, reterr);
	}
	if (rc == 0) {
		rc = time_member(body, "at", &note.at_us, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	const char *given = et_json_get_text(body, "id", NULL);
	if (given == NULL) {
		et_uuid7(id);
	} else if (!et_uuid_parse(given, id)) {
		return et_fail_plain(reterr, ET_EUSAGE, "id is the UUID of a note, not \"%.40s\"",
				     given);
	}
	note.id = (ProtobufCBinaryData){ .len = 16, .data = id };
	note.text = member(body, "text");
	note.withdrawn = et_json_get_bool(body, "withdrawn", false);
	if (*note.text == '\0' && !note.withdrawn) {
		return et_fail_plain(reterr, ET_EUSAGE, "a note needs a text");
	}
	add.about = &subject.about;
	add.note = &note;
	command.body_case = ET__COMMAND__BODY_NOTE_ADD;
	command.note_add = &add;
	et_uuid_format(id, id_text);
	return tell(call, &command, body, id_text, reterr);
}

/* ---- What was told ---- */

static void add_author(json_t *o, const char *principal, int64_t told_us, uint64_t index)
{
	et_json_set(o, "by", et_json_text(principal));
	et_json_set(o, "told", api_time(told_us));
	et_json_set(o, "index", et_json_u64(index));
}

static const char *word(const char *const *words, size_t count, unsigned i)
{
	return i < count ? words[i] : "unknown";
}

static json_t *fact_json(const Et__Told *told, size_t i)
{
	const Et__Fact *f = told->facts[i];
	json_t *o = json_object();
	json_t *value = NULL;
	switch ((int)f->type) {
	case ET__FACT_TYPE__FACT_INTEGER:
		value = json_integer(f->number);
		break;
	case ET__FACT_TYPE__FACT_BOOL:
		value = json_boolean(f->number != 0);
		break;
	case ET__FACT_TYPE__FACT_TIME:
		value = api_time(f->number);
		break;
	default:
		value = et_json_text(f->text);
		break;
	}
	et_json_set(o, "key", et_json_text(f->key));
	et_json_set(o, "value", value);
	et_json_set(o, "type",
		    json_string(word(fact_types, ET_ARRAY_SIZE(fact_types), (unsigned)f->type)));
	et_json_set(o, "set",
		    json_string(word(fact_sets, ET_ARRAY_SIZE(fact_sets), (unsigned)f->set)));
	et_json_set(o, "source", et_json_text(f->source));
	et_json_set(o, "valid_from", api_time(f->valid_from_us));
	et_json_set(o, "valid_to", api_time(f->valid_to_us));
	et_json_set(o, "counts", json_boolean(et_told_fact_counts(told, i)));
	et_json_set(o, "withdrawn", json_boolean(f->withdrawn));
	add_author(o, f->principal, f->told_us, f->index);
	return o;
}

static json_t *tag_json(const Et__Tag *t)
{
	json_t *o = json_object();
	et_json_set(o, "name", et_json_text(t->name));
	et_json_set(o, "counts", json_boolean(!t->cleared));
	add_author(o, t->principal, t->told_us, t->index);
	return o;
}

static json_t *note_json(const Et__Told *told, size_t i)
{
	const Et__Note *n = told->notes[i];
	json_t *o = json_object();
	et_json_set(o, "id", api_uuid(&n->id));
	et_json_set(o, "version", json_integer(n->version));
	et_json_set(o, "text", et_json_text(n->text));
	et_json_set(o, "at", api_time(n->at_us));
	et_json_set(o, "counts", json_boolean(et_told_note_counts(told, i)));
	et_json_set(o, "withdrawn", json_boolean(n->withdrawn));
	add_author(o, n->principal, n->told_us, n->index);
	return o;
}

/* What a recording shows: what counts now, and with `history` what once did. */
struct shown {
	const Et__Recording *r; /* NULL: facts of any time of validity */
	bool history;
	json_t *facts, *tags, *notes;
};

static int add_told(void *arg, const Et__Told *told)
{
	struct shown *s = arg;
	for (size_t i = 0; i < told->n_facts; i++) {
		if (s->history || (et_told_fact_counts(told, i) &&
				   (s->r == NULL || et_told_fact_is_of(told->facts[i], s->r)))) {
			et_json_add(s->facts, fact_json(told, i));
		}
	}
	for (size_t i = 0; i < told->n_tags; i++) {
		if (s->history || !told->tags[i]->cleared) {
			et_json_add(s->tags, tag_json(told->tags[i]));
		}
	}
	for (size_t i = 0; i < told->n_notes; i++) {
		if (s->history || et_told_note_counts(told, i)) {
			et_json_add(s->notes, note_json(told, i));
		}
	}
	return 0;
}

static void shown_put(json_t *o, struct shown *s)
{
	et_json_set(o, "facts", s->facts);
	et_json_set(o, "tags", s->tags);
	et_json_set(o, "notes", s->notes);
}

int api_told_get(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "recording", "call", "sip_call_id", "history",
					     "read" };
	struct et_state_view *v;
	struct subject subject;
	Et__Told *told = NULL;
	bool history = false;
	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = subject_of_query(&call->request, &subject, reterr);
	}
	if (rc == 0) {
		rc = api_param_bool(&call->request, "history", &history, reterr);
	}
	if (rc == 0) {
		rc = api_view(call, &v, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	rc = et_state_get_told(v, &subject.about, &told);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return et_fail(reterr, rc, "what was told");
	}
	struct shown s = { .history = history,
			   .facts = json_array(),
			   .tags = json_array(),
			   .notes = json_array() };
	json_t *o = json_object();
	if (told != NULL) {
		(void)add_told(&s, told);
		et_json_set(o, "waiting", json_boolean(told->waiting));
		et__told__free_unpacked(told, NULL);
	}
	shown_put(o, &s);
	return api_json(call, 200, o);
}

static json_t *agent_json(const Et__Agent *a)
{
	json_t *o = json_object();
	json_t *numbers = json_array();
	json_t *attributes = json_object();
	for (size_t i = 0; i < a->n_numbers; i++) {
		et_json_add(numbers, et_json_text(a->numbers[i]));
	}
	for (size_t i = 0; i < a->n_attributes; i++) {
		et_json_set(attributes, a->attributes[i]->key,
			    et_json_text(a->attributes[i]->value));
	}
	et_json_set(o, "id", et_json_text(a->id));
	et_json_set(o, "name", et_json_text(a->name));
	et_json_set(o, "team", et_json_text(a->team));
	et_json_set(o, "numbers", numbers);
	et_json_set(o, "valid_from", api_time(a->valid_from_us));
	et_json_set(o, "valid_to", api_time(a->valid_to_us));
	et_json_set(o, "withdrawn", json_boolean(a->withdrawn));
	et_json_set(o, "attributes", attributes);
	add_author(o, a->principal, a->told_us, a->index);
	return o;
}

static void add_agent_at(const struct et_state_view *v, const char *number, int64_t time_us,
			 const char *role, json_t *list)
{
	Et__Agent *a = NULL;
	if (*number == '\0' || et_state_agent_at(v, number, time_us, &a) < 0) {
		return;
	}
	json_t *o = json_object();
	et_json_set(o, "party", json_string(role));
	et_json_set(o, "id", et_json_text(a->id));
	et_json_set(o, "name", et_json_text(a->name));
	et_json_set(o, "team", et_json_text(a->team));
	et_json_add(list, o);
	et__agent__free_unpacked(a, NULL);
}

void api_told_json(const struct et_state_view *v, const Et__Recording *r, json_t *o)
{
	struct shown s = {
		.r = r, .facts = json_array(), .tags = json_array(), .notes = json_array()
	};
	json_t *agents = json_array();
	(void)et_state_each_told_of(v, r, add_told, &s);
	add_agent_at(v, r->from, r->start_us, "caller", agents);
	if (strcmp(r->from, r->to) != 0) {
		add_agent_at(v, r->to, r->start_us, "callee", agents);
	}
	shown_put(o, &s);
	et_json_set(o, "agents", agents);
}

/* ---- Agents ---- */

struct agent {
	Et__Agent agent;
	char *numbers[NUMBERS_MAX];
	Et__Attribute attributes[ATTRIBUTES_MAX];
	Et__Attribute *list[ATTRIBUTES_MAX];
};

static int agent_lists(const json_t *body, struct agent *a, struct et_error *reterr)
{
	const json_t *numbers = json_object_get(body, "numbers");
	json_t *attributes = json_object_get(body, "attributes");
	const char *key;
	json_t *value;
	size_t n = json_array_size(numbers);
	if (n > NUMBERS_MAX || json_object_size(attributes) > ATTRIBUTES_MAX) {
		return et_fail_plain(reterr, ET_ELIMIT,
				     "an agent has at most %d numbers and %d attributes",
				     NUMBERS_MAX, ATTRIBUTES_MAX);
	}
	for (size_t i = 0; i < n; i++) {
		a->numbers[i] = text_of(json_string_value(json_array_get(numbers, i)));
	}
	a->agent.numbers = a->numbers;
	a->agent.n_numbers = n;
	n = 0;
	json_object_foreach(attributes, key, value)
	{
		if (!json_is_string(value)) {
			return et_fail_plain(reterr, ET_EUSAGE, "attribute %.64s is no text", key);
		}
		et__attribute__init(&a->attributes[n]);
		a->attributes[n].key = text_of(key);
		a->attributes[n].value = text_of(json_string_value(value));
		a->list[n] = &a->attributes[n];
		n++;
	}
	a->agent.attributes = a->list;
	a->agent.n_attributes = n;
	return 0;
}

int api_agent_set(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "id",	  "name",	"team",
					     "numbers",	  "valid_from", "valid_to",
					     "withdrawn", "attributes", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct agent a = { .agent = ET__AGENT__INIT };
	Et__AgentSet set = ET__AGENT_SET__INIT;
	Et__Command command = ET__COMMAND__INIT;
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc == 0) {
		rc = time_member(body, "valid_from", &a.agent.valid_from_us, reterr);
	}
	if (rc == 0) {
		rc = time_member(body, "valid_to", &a.agent.valid_to_us, reterr);
	}
	if (rc == 0) {
		rc = agent_lists(body, &a, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	a.agent.id = member(body, "id");
	a.agent.name = member(body, "name");
	a.agent.team = member(body, "team");
	a.agent.withdrawn = et_json_get_bool(body, "withdrawn", false);
	if (*a.agent.id == '\0') {
		return et_fail_plain(reterr, ET_EUSAGE, "an agent needs an id");
	}
	if (a.agent.valid_from_us == 0) {
		a.agent.valid_from_us = et_clock_now_us();
	}
	set.agent = &a.agent;
	command.body_case = ET__COMMAND__BODY_AGENT_SET;
	command.agent_set = &set;
	return tell(call, &command, body, NULL, reterr);
}

#define AGENTS_MAX 10000 /* versions in one answer */

struct agent_list {
	json_t *list;
	const char *team;
	bool more;
};

static int add_agent(void *arg, const Et__Agent *a)
{
	struct agent_list *l = arg;
	if (l->team != NULL && strcmp(l->team, a->team) != 0) {
		return 0;
	}
	if (json_array_size(l->list) == AGENTS_MAX) {
		l->more = true;
		return 1;
	}
	et_json_add(l->list, agent_json(a));
	return 0;
}

int api_agents(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "id", "team", "number", "at", "read" };
	struct et_state_view *v;
	int64_t at_us = 0;
	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = api_param_time(&call->request, "at", &at_us, reterr);
	}
	if (rc == 0) {
		rc = api_view(call, &v, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	struct agent_list l = { .list = json_array(), .team = api_param(&call->request, "team") };
	const char *number = api_param(&call->request, "number");
	if (number != NULL) {
		Et__Agent *a = NULL;
		rc = et_state_agent_at(v, number, at_us != 0 ? at_us : et_clock_now_us(), &a);
		if (rc == 0) {
			(void)add_agent(&l, a);
			et__agent__free_unpacked(a, NULL);
		}
		rc = rc == ET_ENOTFOUND ? 0 : rc;
	} else {
		rc = et_state_each_agent(v, api_param(&call->request, "id"), add_agent, &l);
	}
	if (rc < 0) {
		json_decref(l.list);
		return et_fail(reterr, rc, "agents");
	}
	json_t *o = json_object();
	et_json_set(o, "agents", l.list);
	et_json_set(o, "complete", json_boolean(!l.more));
	return api_json(call, 200, o);
}
