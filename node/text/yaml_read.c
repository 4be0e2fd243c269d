#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/text/units.h"
#include "node/text/yaml.h"
#include "node/text/yaml_internal.h"

static const char *const kind_names[] = { "a value", "a list", "a map" };

const struct et_yaml_node *et_yaml_get(const struct et_yaml_node *map, const char *key)
{
	if (map == NULL || map->kind != ET_YAML_MAP) {
		return NULL;
	}
	ET_YAML_EACH(child, map)
	{
		if (strcmp(child->key, key) == 0) {
			return child;
		}
	}
	return NULL;
}

static int ET_PRINTF(6, 0)
	yaml_vfail(const struct et_yaml_node *node, uint32_t line, uint32_t column,
		   struct et_error *reterr, int code, const char *fmt, va_list ap)
{
	char text[400];
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	return et_fail_plain(reterr, code, "%s:%u:%u: %s", et_yaml_document_name(node->document),
			     line, column, text);
}

int et_yaml_fail(const struct et_yaml_node *node, struct et_error *reterr, int code,
		 const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = yaml_vfail(node, node->line, node->column, reterr, code, fmt, ap);
	va_end(ap);
	return rc;
}

int et_yaml_fail_key(const struct et_yaml_node *node, struct et_error *reterr, int code,
		     const char *fmt, ...)
{
	bool has_key = node->key != NULL;
	va_list ap;
	va_start(ap, fmt);
	int rc = yaml_vfail(node, has_key ? node->key_line : node->line,
			    has_key ? node->key_column : node->column, reterr, code, fmt, ap);
	va_end(ap);
	return rc;
}

/* "archive-after must be ..." or "must be ...", by whether the value has a name. */
static int ET_PRINTF(3, 4)
	expected(const struct et_yaml_node *node, struct et_error *reterr, const char *fmt, ...)
{
	char what[256];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	const char *name = node->key != NULL ? node->key : "the value";
	if (node->kind == ET_YAML_SCALAR) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED, "%.64s must be %s, not \"%.64s\"",
				    name, what, node->text);
	}
	return et_yaml_fail(node, reterr, ET_EMALFORMED, "%.64s must be %s, not %s", name, what,
			    kind_names[node->kind]);
}

int et_yaml_is_map(const struct et_yaml_node *node, struct et_error *reterr)
{
	return node->kind == ET_YAML_MAP ? 0 : expected(node, reterr, "a map");
}

int et_yaml_is_list(const struct et_yaml_node *node, struct et_error *reterr)
{
	return node->kind == ET_YAML_LIST ? 0 : expected(node, reterr, "a list");
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

int et_yaml_check_keys(const struct et_yaml_node *node, const char *const *known,
		       size_t known_count, struct et_error *reterr)
{
	int rc = et_yaml_is_map(node, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(child, node)
	{
		if (is_known(child->key, known, known_count)) {
			continue;
		}
		const char *near = et_suggest(child->key, known, known_count);
		return et_yaml_fail_key(child, reterr, ET_EMALFORMED, "unknown key \"%.64s\"%s%s%s",
					child->key, near != NULL ? " (did you mean \"" : "",
					near != NULL ? near : "", near != NULL ? "\"?)" : "");
	}
	return 0;
}

int et_yaml_need(const struct et_yaml_node *map, const char *key, const struct et_yaml_node **ret,
		 struct et_error *reterr)
{
	int rc = et_yaml_is_map(map, reterr);
	if (rc < 0) {
		return rc;
	}
	const struct et_yaml_node *node = et_yaml_get(map, key);
	if (node == NULL) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED, "the key \"%s\" is missing%s%s",
					key, map->key != NULL ? " in " : "",
					map->key != NULL ? map->key : "");
	}
	*ret = node;
	return 0;
}

int et_yaml_text(const struct et_yaml_node *node, size_t size_max, const char **ret,
		 struct et_error *reterr)
{
	if (node->kind != ET_YAML_SCALAR || node->text[0] == '\0') {
		return expected(node, reterr, "text");
	}
	if (strlen(node->text) > size_max) {
		return expected(node, reterr, "at most %zu bytes long", size_max);
	}
	*ret = node->text;
	return 0;
}

int et_yaml_name(const struct et_yaml_node *node, const char **ret, struct et_error *reterr)
{
	if (node->kind != ET_YAML_SCALAR || !et_name_is_valid(node->text)) {
		return expected(
			node, reterr,
			"a name (1 to 63 of a-z, 0-9 and -, letters or digits at the ends)");
	}
	*ret = node->text;
	return 0;
}

int et_yaml_uint(const struct et_yaml_node *node, uint64_t min, uint64_t max, uint64_t *ret,
		 struct et_error *reterr)
{
	uint64_t v = 0;
	bool good = node->kind == ET_YAML_SCALAR && node->plain && node->text[0] != '\0';
	for (const char *p = node->text; good && *p != '\0'; p++) {
		good = *p >= '0' && *p <= '9' && !__builtin_mul_overflow(v, 10, &v) &&
		       !__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
	}
	if (!good || v < min || v > max) {
		return expected(node, reterr, "a whole number from %" PRIu64 " to %" PRIu64, min,
				max);
	}
	*ret = v;
	return 0;
}

int et_yaml_bool(const struct et_yaml_node *node, bool *ret, struct et_error *reterr)
{
	bool scalar = node->kind == ET_YAML_SCALAR && node->plain;
	if (scalar && strcmp(node->text, "true") == 0) {
		*ret = true;
		return 0;
	}
	if (scalar && strcmp(node->text, "false") == 0) {
		*ret = false;
		return 0;
	}
	return expected(node, reterr, "true or false");
}

int et_yaml_duration(const struct et_yaml_node *node, int64_t min_us, int64_t max_us,
		     int64_t *ret_us, struct et_error *reterr)
{
	int64_t us = 0;
	if (node->kind != ET_YAML_SCALAR || !et_duration_parse(node->text, &us)) {
		return expected(node, reterr,
				"a duration such as 30s (units: ms, s, m, h, d, w, y)");
	}
	if (us < min_us || us > max_us) {
		char min[ET_UNIT_TEXT_SIZE];
		char max[ET_UNIT_TEXT_SIZE];
		return expected(node, reterr, "a duration from %s to %s",
				et_duration_format(min_us, min), et_duration_format(max_us, max));
	}
	*ret_us = us;
	return 0;
}

int et_yaml_bytes(const struct et_yaml_node *node, uint64_t min, uint64_t max, uint64_t *ret,
		  struct et_error *reterr)
{
	uint64_t v = 0;
	if (node->kind != ET_YAML_SCALAR || !et_bytes_parse(node->text, &v)) {
		return expected(node, reterr,
				"a size such as 64KiB (units: B, KiB, MiB, GiB, TiB, kB, MB, GB)");
	}
	if (v < min || v > max) {
		char low[ET_UNIT_TEXT_SIZE];
		char high[ET_UNIT_TEXT_SIZE];
		return expected(node, reterr, "a size from %s to %s", et_bytes_format(min, low),
				et_bytes_format(max, high));
	}
	*ret = v;
	return 0;
}

int et_yaml_choice(const struct et_yaml_node *node, const char *const *words, size_t word_count,
		   size_t *ret, struct et_error *reterr)
{
	char list[200] = "";
	size_t used = 0;
	for (size_t i = 0; i < word_count; i++) {
		if (node->kind == ET_YAML_SCALAR && strcmp(node->text, words[i]) == 0) {
			*ret = i;
			return 0;
		}
		int n = snprintf(list + used, sizeof(list) - used, "%s%s", i > 0 ? ", " : "",
				 words[i]);
		used += n > 0 && (size_t)n < sizeof(list) - used ? (size_t)n : 0;
	}
	const char *near =
		node->kind == ET_YAML_SCALAR ? et_suggest(node->text, words, word_count) : NULL;
	return expected(node, reterr, "one of %s%s%s%s", list,
			near != NULL ? " (did you mean " : "", near != NULL ? near : "",
			near != NULL ? "?)" : "");
}
