#include "node/medium/told.h"

#include <string.h>

#include "node/io/clock.h"

/* Bytes; what the catalogue takes for these fields. */
enum { CALL_MAX = 500, NUMBER_MAX = 200, NAME_MAX_BYTES = 60 };

#define START_MAX_US INT64_C(4102444800000000) /* 2100 */

static int wrong(const char *name, const char *key, const char *what, struct et_error *reterr)
{
	return et_fail_plain(reterr, ET_EMALFORMED, "%s: \"%.60s\" is %s", name, key, what);
}

/* Text of at most `max` bytes that a terminal and a list survive. */
static bool text_is_good(const char *text, size_t size, size_t max)
{
	if (size > max || strlen(text) != size) {
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		const uint8_t c = (uint8_t)text[i];
		if (c < 0x20 || c == 0x7F) {
			return false;
		}
	}
	return true;
}

static int text_get(const char *name, const json_t *o, const char *key, size_t max,
		    const char **ret, struct et_error *reterr)
{
	const json_t *v = json_object_get(o, key);

	*ret = "";
	if (v == NULL || json_is_null(v)) {
		return 0;
	}
	if (!json_is_string(v) || !text_is_good(json_string_value(v), json_string_length(v), max)) {
		return wrong(name, key, "no text of that kind, or too long", reterr);
	}
	*ret = json_string_value(v);
	return 0;
}

static int texts_get(const char *name, struct et_told *t, struct et_error *reterr)
{
	const struct {
		const char *key;
		size_t max;
		const char **to;
	} rows[] = {
		{ "call", CALL_MAX, &t->call },
		{ "from", NUMBER_MAX, &t->from },
		{ "to", NUMBER_MAX, &t->to },
		{ "agent", NAME_MAX_BYTES, &t->agent },
		{ "site", NAME_MAX_BYTES, &t->site },
		{ "direction", NAME_MAX_BYTES, &t->direction },
	};
	int rc = 0;

	for (size_t i = 0; i < ET_ARRAY_SIZE(rows) && rc == 0; i++) {
		rc = text_get(name, t->json, rows[i].key, rows[i].max, rows[i].to, reterr);
	}
	if (rc == 0 && t->direction[0] != '\0' && strcmp(t->direction, "inbound") != 0 &&
	    strcmp(t->direction, "outbound") != 0 && strcmp(t->direction, "internal") != 0) {
		rc = wrong(name, "direction", "inbound, outbound or internal, if it is told",
			   reterr);
	}
	return rc;
}

static int start_get(const char *name, struct et_told *t, struct et_error *reterr)
{
	const char *text;

	int rc = text_get(name, t->json, "start", ET_TIME_TEXT_SIZE, &text, reterr);
	if (rc < 0 || text[0] == '\0') {
		return rc;
	}
	if (!et_time_parse(text, &t->start_us) || t->start_us <= 0 || t->start_us > START_MAX_US) {
		return wrong(name, "start", "no time such as 2024-03-01T09:15:00+01:00", reterr);
	}
	return 0;
}

static int facts_get(const char *name, struct et_told *t, struct et_error *reterr)
{
	json_t *facts = json_object_get(t->json, "facts");
	const char *key;
	json_t *v;

	if (facts == NULL) {
		return 0;
	}
	if (!json_is_object(facts) || json_object_size(facts) > ET_TOLD_FACTS_MAX) {
		return wrong(name, "facts", "no object of at most 60 facts", reterr);
	}
	json_object_foreach(facts, key, v)
	{
		struct et_told_fact *f = &t->facts[t->fact_count++];
		*f = (struct et_told_fact){ .key = key, .text = "" };
		const bool is_text = json_is_string(v);
		if (key[0] == '\0' || !text_is_good(key, strlen(key), NAME_MAX_BYTES) ||
		    (is_text && !text_is_good(json_string_value(v), json_string_length(v),
					      ET_TOLD_VALUE_MAX))) {
			return wrong(name, key, "no fact of that kind, or too long", reterr);
		}
		if (is_text) {
			f->text = json_string_value(v);
		} else if (json_is_integer(v) || json_is_boolean(v)) {
			f->type = json_is_integer(v) ? ET_TOLD_INTEGER : ET_TOLD_BOOL;
			f->number = json_is_integer(v) ? json_integer_value(v) : json_is_true(v);
		} else {
			return wrong(name, key, "no text, whole number, true or false", reterr);
		}
	}
	return 0;
}

static int tags_get(const char *name, struct et_told *t, struct et_error *reterr)
{
	json_t *tags = json_object_get(t->json, "tags");
	size_t i;
	json_t *v;

	if (tags == NULL) {
		return 0;
	}
	if (!json_is_array(tags) || json_array_size(tags) > ET_TOLD_TAGS_MAX) {
		return wrong(name, "tags", "no list of at most 32 tags", reterr);
	}
	json_array_foreach(tags, i, v)
	{
		if (!json_is_string(v) || json_string_length(v) == 0 ||
		    !text_is_good(json_string_value(v), json_string_length(v), NAME_MAX_BYTES)) {
			return wrong(name, "tags", "a list in which one is no tag", reterr);
		}
		t->tags[t->tag_count++] = json_string_value(v);
	}
	return 0;
}

int et_told_read(const char *name, struct et_view text, struct et_told *ret,
		 struct et_error *reterr)
{
	static const char *const known[] = { "call", "start",	  "from",  "to",  "agent",
					     "site", "direction", "facts", "tags" };
	int rc = 0;

	*ret = (struct et_told){
		.call = "", .from = "", .to = "", .agent = "", .site = "", .direction = ""
	};
	if (text.size == 0) {
		return 0;
	}
	rc = et_json_parse(name, text.data, text.size, ET_TOLD_BYTES_MAX, &ret->json, reterr);
	if (rc == 0 && !json_is_object(ret->json)) {
		rc = et_fail_plain(reterr, ET_EMALFORMED, "%s: metadata is a JSON object", name);
	}
	rc = rc < 0 ? rc : et_json_check_keys(ret->json, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc : texts_get(name, ret, reterr);
	rc = rc < 0 ? rc : start_get(name, ret, reterr);
	rc = rc < 0 ? rc : facts_get(name, ret, reterr);
	rc = rc < 0 ? rc : tags_get(name, ret, reterr);
	if (rc < 0) {
		et_told_release(ret);
	}
	return rc;
}

void et_told_release(struct et_told *t)
{
	json_decref(t->json);
	t->json = NULL;
}
