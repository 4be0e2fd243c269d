#include <stdio.h>
#include <string.h>

#include "node/api/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input, cut at line ends, is a path, a Range, and parameters. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const known[] = { "from", "to", "limit", "state", "read", "deep" };
	static const char *const patterns[] = { "/", "/v1/recordings/*", "/v1/recordings/*/audio",
						"/console/*" };
	static struct api_request r;
	char range[64] = "";
	char star[64];
	memset(&r, 0, sizeof(r));
	for (unsigned line = 0; size > 0 && line < ET_API_PARAMS_MAX + 2; line++) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t n = end != NULL ? (size_t)(end - data) : size;
		char *out = line == 0 ? r.path : line == 1 ? range : r.params[line - 2];
		size_t room = line == 0	  ? sizeof(r.path)
			      : line == 1 ? sizeof(range)
					  : sizeof(r.params[0]);
		(void)snprintf(out, room, "%.*s", (int)n, (const char *)data);
		r.param_count += line >= 2;
		data += n + (end != NULL);
		size -= n + (end != NULL);
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(patterns); i++) {
		bool fits = api_path_fits(patterns[i], r.path);
		bool found = api_path_star(patterns[i], r.path, star, sizeof(star));
		et_assert(!found || (star[0] != '\0' && strchr(star, '/') == NULL));
		(void)fits;
	}
	uint64_t first, last, n;
	int64_t us;
	bool flag;
	struct et_error e = { 0 };
	if (api_range_parse(range, 1000, &first, &last) > 0) {
		et_assert(first <= last && last < 1000);
	}
	if (api_params_check(&r, known, ET_ARRAY_SIZE(known), &e) == 0) {
		for (unsigned i = 0; i < r.param_count; i++) {
			et_assert(strchr(r.params[i], '=') != NULL);
		}
	}
	if (api_param_uint(&r, "limit", 1, 50, 7, &n, &e) == 0) {
		et_assert(n >= 1 && n <= 50);
	}
	int rc = api_param_time(&r, "from", &us, &e);
	rc |= api_param_bool(&r, "deep", &flag, &e);
	(void)rc;
	return 0;
}
