/* What a request says, read from foreign text: path, query, Range.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_API_REQUEST_H
#define ET_NODE_API_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"

#define ET_API_PATH_MAX 256  /* bytes */
#define ET_API_PARAMS_MAX 32 /* of a query */
#define ET_API_PARAM_MAX 256 /* bytes of "key=value" */

struct api_request {
	char method[8];
	char path[ET_API_PATH_MAX];
	char params[ET_API_PARAMS_MAX][ET_API_PARAM_MAX]; /* "key=value", decoded */
	unsigned param_count;
};

/* Does `path` fit `pattern`, in which a segment "*" is any one segment? */
bool api_path_fits(const char *pattern, const char *path);
/* The segment of `path` at the star of `pattern`, into `ret`; false: too long or not there. */
bool api_path_star(const char *pattern, const char *path, char *ret, size_t size);

/* The value of a parameter, or NULL; a view. */
const char *api_param(const struct api_request *r, const char *key);
/* Only these parameters, each once: else ET_EUSAGE with a suggestion. */
int api_params_check(const struct api_request *r, const char *const *known, size_t known_count,
		     struct et_error *reterr) ET_MUST_CHECK;
/* The same; those in `many` (which stand in `known` too) may be repeated. */
int api_params_check_many(const struct api_request *r, const char *const *known, size_t known_count,
			  const char *const *many, size_t many_count,
			  struct et_error *reterr) ET_MUST_CHECK;
/* A whole number between min and max, or `otherwise` when it is not there. */
int api_param_uint(const struct api_request *r, const char *key, uint64_t min, uint64_t max,
		   uint64_t otherwise, uint64_t *ret, struct et_error *reterr) ET_MUST_CHECK;
int api_param_bool(const struct api_request *r, const char *key, bool *ret,
		   struct et_error *reterr) ET_MUST_CHECK;
/* RFC 3339 or a date, as microseconds; 0 when it is not there. */
int api_param_time(const struct api_request *r, const char *key, int64_t *ret,
		   struct et_error *reterr) ET_MUST_CHECK;

/* A Range header for a body of `size` bytes (RFC 9110, section 14): one range of bytes. Returns 1
 * and first/last (inclusive); 0: no usable range, send everything; -1: cannot be satisfied (416).
 */
int api_range_parse(const char *text, uint64_t size, uint64_t *ret_first, uint64_t *ret_last);

#endif
