/* JSON: jansson, with limits. Include this, never <jansson.h>.
 *
 * json_t and jansson's own functions are used as they are. This header adds parsing that is bounded
 * and says where, text from outside that may not be UTF-8, and ownership by cleanup attribute.
 *
 * Numbers are 64-bit integers or doubles; ids above 2^53 travel as strings.
 *
 * Threads: a value belongs to one thread at a time (reference counts are not atomic here). */
#ifndef ET_NODE_TEXT_JSON_H
#define ET_NODE_TEXT_JSON_H

#include <jansson.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_JSON_DEPTH_MAX 32

/* For ET_CLEANUP(). */
static inline void et_json_freep(json_t **j)
{
	json_decref(*j);
	*j = NULL;
}

/* What JSON lets go from now on is wiped: tokens and escrow shares pass through it. Once, at the
 * start of a program, before any JSON. What jansson returns as text is released by the free
 * function of json_get_alloc_funcs(), or is not a secret. */
void et_json_wipes(void);

/* Parse exactly one value of at most `size_max` bytes (ET_ELIMIT) with unique keys and at most
 * ET_JSON_DEPTH_MAX levels. `name` stands for the input in "name:line:col: sentence"
 * (ET_EMALFORMED). On success the caller owns *ret. */
int et_json_parse(const char *name, const void *data, size_t size, size_t size_max, json_t **ret,
		  struct et_error *reterr) ET_MUST_CHECK;

/* Add the value to `ret`, keys in the order they were set; on one line, or indented with a newline
 * at the end. */
void et_json_print(const json_t *j, bool pretty, struct et_buffer *ret);

/* A string of foreign bytes: what is not UTF-8, and NUL, becomes U+FFFD. NULL is JSON null. */
json_t *et_json_text(const char *text);
json_t *et_json_text_n(const void *text, size_t size);
/* Lower-case hexadecimal. */
json_t *et_json_hex(const void *data, size_t size);
/* A u64: a number up to 2^53, else a string of digits. */
json_t *et_json_u64(uint64_t v);

/* object[key] = value, which is taken over. A value of NULL (no memory) makes the object's
 * key null. */
void et_json_set(json_t *object, const char *key, json_t *value);
void et_json_add(json_t *array, json_t *value);

/* A member of an object as text, or `otherwise` when it is not there or not a string; a view. */
const char *et_json_get_text(const json_t *object, const char *key, const char *otherwise);
int64_t et_json_get_int(const json_t *object, const char *key, int64_t otherwise);
bool et_json_get_bool(const json_t *object, const char *key, bool otherwise);

/* The object has no keys but these: else ET_EMALFORMED, with a suggestion. */
int et_json_check_keys(const json_t *object, const char *const *known, size_t known_count,
		       struct et_error *reterr) ET_MUST_CHECK;

#endif
