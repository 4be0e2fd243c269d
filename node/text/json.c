#include "node/text/json.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "node/text/units.h"
#include "node/text/utf8_internal.h"

/* Does the text nest deeper than we follow? Counts brackets outside strings; whether they match is
 * the parser's business. jansson itself would recurse through 2048 levels. */
static bool is_too_deep(const char *text, size_t size)
{
	size_t depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < size; i++) {
		char c = text[i];
		if (in_string) {
			if (c == '\\') {
				i++;
			} else if (c == '"') {
				in_string = false;
			}
		} else if (c == '"') {
			in_string = true;
		} else if (c == '[' || c == '{') {
			if (++depth > ET_JSON_DEPTH_MAX) {
				return true;
			}
		} else if ((c == ']' || c == '}') && depth > 0) {
			depth--;
		}
	}
	return false;
}

int et_json_parse(const char *name, const void *data, size_t size, size_t size_max, json_t **ret,
		  struct et_error *reterr)
{
	if (size > size_max) {
		return et_fail(reterr, ET_ELIMIT, "%s: %zu bytes of JSON, at most %zu", name, size,
			       size_max);
	}
	if (is_too_deep(data, size)) {
		return et_fail_plain(reterr, ET_EMALFORMED, "%s: JSON nests deeper than %d levels",
				     name, ET_JSON_DEPTH_MAX);
	}
	json_error_t error;
	json_t *j = json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (j == NULL) {
		return et_fail_plain(reterr, ET_EMALFORMED, "%s:%d:%d: %s", name,
				     error.line > 0 ? error.line : 1,
				     error.column > 0 ? error.column : 1, error.text);
	}
	*ret = j;
	return 0;
}

static int buffer_add_text(const char *text, size_t size, void *arg)
{
	struct et_buffer *buffer = arg;
	et_buffer_add(buffer, text, size);
	return buffer->failed ? -1 : 0;
}

static void wiping_free(void *p)
{
	if (p != NULL) {
		explicit_bzero(p, malloc_usable_size(p));
		free(p);
	}
}

void et_json_wipes(void)
{
	json_set_alloc_funcs(malloc, wiping_free);
}

void et_json_print(const json_t *j, bool pretty, struct et_buffer *ret)
{
	size_t flags = JSON_ENCODE_ANY | (pretty ? JSON_INDENT(2) : JSON_COMPACT);
	if (json_dump_callback(j, buffer_add_text, ret, flags) != 0) {
		ret->failed = true;
		return;
	}
	if (pretty) {
		et_buffer_add8(ret, '\n');
	}
}

json_t *et_json_text_n(const void *text, size_t size)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer clean = { .secret = true }; /* maybe */
	const uint8_t *p = text;
	const uint8_t *end = p + size;
	while (p < end) {
		size_t n = utf8_size(p, (size_t)(end - p));
		if (n == 0) {
			et_buffer_add(&clean, "\xef\xbf\xbd", 3);
			p++;
		} else {
			et_buffer_add(&clean, p, n);
			p += n;
		}
	}
	if (clean.failed) {
		return NULL;
	}
	return json_stringn_nocheck(clean.size > 0 ? (const char *)clean.data : "", clean.size);
}

json_t *et_json_text(const char *text)
{
	return text == NULL ? json_null() : et_json_text_n(text, strlen(text));
}

json_t *et_json_hex(const void *data, size_t size)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	uint8_t *room = et_buffer_reserve(&text, 2 * size + 1);
	if (room == NULL) {
		return NULL;
	}
	et_hex(data, size, (char *)room);
	return json_stringn_nocheck((const char *)room, 2 * size);
}

json_t *et_json_u64(uint64_t v)
{
	if (v <= UINT64_C(1) << 53) {
		return json_integer((json_int_t)v);
	}
	char text[24];
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	return json_string(text);
}

void et_json_set(json_t *object, const char *key, json_t *value)
{
	(void)json_object_set_new_nocheck(object, key, value != NULL ? value : json_null());
}

void et_json_add(json_t *array, json_t *value)
{
	(void)json_array_append_new(array, value != NULL ? value : json_null());
}

const char *et_json_get_text(const json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : otherwise;
}

int64_t et_json_get_int(const json_t *object, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(object, key);
	return json_is_integer(v) ? (int64_t)json_integer_value(v) : otherwise;
}

bool et_json_get_bool(const json_t *object, const char *key, bool otherwise)
{
	const json_t *v = json_object_get(object, key);
	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static bool is_known(const char *key, const char *const *known, size_t known_count)
{
	for (size_t i = 0; i < known_count; i++) {
		if (strcmp(key, known[i]) == 0) {
			return true;
		}
	}
	return false;
}

int et_json_check_keys(const json_t *object, const char *const *known, size_t known_count,
		       struct et_error *reterr)
{
	if (!json_is_object(object)) {
		return et_fail_plain(reterr, ET_EMALFORMED, "expected a JSON object");
	}
	/* The iterator wants a json_t that it may change, and changes nothing. */
	json_t *o = (json_t *)(uintptr_t)object;
	for (void *i = json_object_iter(o); i != NULL; i = json_object_iter_next(o, i)) {
		const char *key = json_object_iter_key(i);
		if (is_known(key, known, known_count)) {
			continue;
		}
		const char *near = et_suggest(key, known, known_count);
		return et_fail_plain(reterr, ET_EMALFORMED, "unknown key \"%.64s\"%s%s%s", key,
				     near != NULL ? " (did you mean \"" : "",
				     near != NULL ? near : "", near != NULL ? "\"?)" : "");
	}
	return 0;
}
