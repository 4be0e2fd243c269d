#include "node/api/request.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/io/clock.h"
#include "node/text/units.h"

/* Step over one segment of each; false when they part. */
static bool segment_step(const char **pattern, const char **path)
{
	size_t p = strcspn(*pattern, "/");
	size_t q = strcspn(*path, "/");
	bool star = p == 1 && **pattern == '*';
	if (star ? q == 0 : p != q || memcmp(*pattern, *path, p) != 0) {
		return false;
	}
	*pattern += p;
	*path += q;
	return true;
}

bool api_path_fits(const char *pattern, const char *path)
{
	while (*pattern == '/' && *path == '/') {
		pattern++;
		path++;
		if (*pattern == '\0' || *path == '\0') {
			break;
		}
		if (!segment_step(&pattern, &path)) {
			return false;
		}
	}
	return *pattern == '\0' && *path == '\0';
}

bool api_path_star(const char *pattern, const char *path, char *ret, size_t size)
{
	while (*pattern == '/' && *path == '/') {
		pattern++;
		path++;
		if (*pattern == '*') {
			size_t n = strcspn(path, "/");
			if (n == 0 || n >= size) {
				return false;
			}
			memcpy(ret, path, n);
			ret[n] = '\0';
			return true;
		}
		pattern += strcspn(pattern, "/");
		path += strcspn(path, "/");
	}
	return false;
}

const char *api_param(const struct api_request *r, const char *key)
{
	size_t size = strlen(key);
	for (unsigned i = 0; i < r->param_count; i++) {
		if (strncmp(r->params[i], key, size) == 0 && r->params[i][size] == '=') {
			return r->params[i] + size + 1;
		}
	}
	return NULL;
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

int api_params_check_many(const struct api_request *r, const char *const *known, size_t known_count,
			  const char *const *many, size_t many_count, struct et_error *reterr)
{
	for (unsigned i = 0; i < r->param_count; i++) {
		char key[64];
		size_t size = strcspn(r->params[i], "=");
		if (r->params[i][size] != '=' || size >= sizeof(key)) {
			return et_fail_plain(reterr, ET_EUSAGE, "parameter %u is not key=value",
					     i + 1);
		}
		memcpy(key, r->params[i], size);
		key[size] = '\0';
		if (strlen(key) != size || !is_known(key, known, known_count)) {
			const char *near = et_suggest(key, known, known_count);
			return et_fail_plain(reterr, ET_EUSAGE, "unknown parameter \"%s\"%s%s%s",
					     key, near != NULL ? " (did you mean \"" : "",
					     near != NULL ? near : "", near != NULL ? "\"?)" : "");
		}
		for (unsigned j = 0; j < i && !is_known(key, many, many_count); j++) {
			if (strncmp(r->params[i], r->params[j], size + 1) == 0) {
				return et_fail_plain(reterr, ET_EUSAGE,
						     "parameter \"%s\" stands twice", key);
			}
		}
	}
	return 0;
}

int api_params_check(const struct api_request *r, const char *const *known, size_t known_count,
		     struct et_error *reterr)
{
	return api_params_check_many(r, known, known_count, NULL, 0, reterr);
}

/* Decimal digits only. */
static bool digits_parse(const char *text, size_t size, uint64_t *ret)
{
	uint64_t v = 0;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(text[i] - '0'), &v)) {
			return false;
		}
	}
	*ret = v;
	return size > 0;
}

int api_param_uint(const struct api_request *r, const char *key, uint64_t min, uint64_t max,
		   uint64_t otherwise, uint64_t *ret, struct et_error *reterr)
{
	const char *text = api_param(r, key);
	if (text == NULL) {
		*ret = otherwise;
		return 0;
	}
	if (!digits_parse(text, strlen(text), ret) || *ret < min || *ret > max) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "%s is a whole number from %" PRIu64 " to %" PRIu64, key, min,
				     max);
	}
	return 0;
}

int api_param_bool(const struct api_request *r, const char *key, bool *ret, struct et_error *reterr)
{
	const char *text = api_param(r, key);
	*ret = text != NULL && strcmp(text, "true") == 0;
	if (text != NULL && !*ret && strcmp(text, "false") != 0) {
		return et_fail_plain(reterr, ET_EUSAGE, "%s is true or false", key);
	}
	return 0;
}

int api_param_time(const struct api_request *r, const char *key, int64_t *ret,
		   struct et_error *reterr)
{
	const char *text = api_param(r, key);
	*ret = 0;
	if (text != NULL && !et_time_parse(text, ret)) {
		return et_fail_plain(reterr, ET_EUSAGE, "%s is a time such as 2026-11-22T09:00:00Z",
				     key);
	}
	return 0;
}

int api_range_parse(const char *text, uint64_t size, uint64_t *ret_first, uint64_t *ret_last)
{
	static const char unit[] = "bytes=";
	if (strncmp(text, unit, sizeof(unit) - 1) != 0 || strchr(text, ',') != NULL) {
		return 0;
	}
	text += sizeof(unit) - 1;
	const char *dash = strchr(text, '-');
	if (dash == NULL) {
		return 0;
	}
	uint64_t first = 0;
	uint64_t last = UINT64_MAX;
	size_t before = (size_t)(dash - text);
	size_t after = strlen(dash + 1);
	if ((before > 0 && !digits_parse(text, before, &first)) ||
	    (after > 0 && !digits_parse(dash + 1, after, &last)) || before + after == 0) {
		return 0;
	}
	if (before == 0) { /* the last bytes */
		if (last == 0 || size == 0) {
			return -1;
		}
		*ret_first = last < size ? size - last : 0;
		*ret_last = size - 1;
		return 1;
	}
	if (first > last) {
		return 0;
	}
	if (first >= size) {
		return -1;
	}
	*ret_first = first;
	*ret_last = last < size ? last : size - 1;
	return 1;
}
