/* YAML with positions: what a person wrote, and where.
 *
 * The whole document becomes a tree of scalars, lists and maps. A scalar stays the text that was
 * written: `site: no` is "no", `revision: 010` is "010"; whoever reads a value says what it must
 * be, and gets an error that begins with "file:line:col: " when it is not.
 *
 * Refused with ET_EMALFORMED: duplicate keys, anchors, aliases and tags (a policy says what it says
 * where it says it), directives, keys that are not text, several documents, control characters,
 * what is not UTF-8, and documents past the limits below. An empty file is an empty map.
 *
 * libfyaml 0.7.12 itself loses 4 KiB on some malformed quoted scalars: only administrators and
 * their files reach this parser.
 *
 * Threads: a document belongs to whoever holds it; after parsing it never changes. */
#ifndef ET_NODE_TEXT_YAML_H
#define ET_NODE_TEXT_YAML_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"

#define ET_YAML_SIZE_MAX (256 * 1024) /* bytes of a document; it has to fit a command */
#define ET_YAML_NODES_MAX 16384
#define ET_YAML_DEPTH_MAX 16

enum et_yaml_kind { ET_YAML_SCALAR, ET_YAML_LIST, ET_YAML_MAP };

struct et_yaml; /* a document */

/* A node: a view into its document. */
struct et_yaml_node {
	enum et_yaml_kind kind;
	uint32_t line;			  /* from 1 */
	uint32_t column;		  /* from 1 */
	const char *key;		  /* view: its key in the map around it, or NULL */
	uint32_t key_line;		  /* of the key */
	uint32_t key_column;		  /* of the key */
	const char *text;		  /* view: a scalar's text, UTF-8; "" for an empty one */
	bool plain;			  /* a scalar without quotes */
	const struct et_yaml_node *first; /* view: first child of a list or map, or NULL */
	const struct et_yaml_node *next;  /* view: next sibling, or NULL */
	uint32_t count;			  /* children */
	const struct et_yaml *document;	  /* view */
};

/* Parse `size` bytes; `name` stands for the file in errors and is copied. On success the caller
 * owns *ret: et_yaml_free(). ET_EMALFORMED, ET_ELIMIT, -ENOMEM. */
int et_yaml_parse(const char *name, const void *data, size_t size, struct et_yaml **ret,
		  struct et_error *reterr) ET_MUST_CHECK;
/* Read the file at `path` (blocks), then parse. Also -ENOENT, -EACCES, ... */
int et_yaml_load(const char *path, struct et_yaml **ret, struct et_error *reterr) ET_MUST_CHECK;
struct et_yaml *et_yaml_free(struct et_yaml *y); /* NULL is allowed; returns NULL */
static inline void et_yaml_freep(struct et_yaml **y)
{
	*y = et_yaml_free(*y);
}

const struct et_yaml_node *et_yaml_root(const struct et_yaml *y); /* never NULL */

#define ET_YAML_EACH(child, parent)                                                                \
	for (const struct et_yaml_node *child = (parent)->first; child != NULL; child = child->next)

/* The value under `key` of a map, or NULL. Also NULL when `map` is NULL or not a map. */
const struct et_yaml_node *et_yaml_get(const struct et_yaml_node *map, const char *key);

/* Fill `reterr` with "file:line:col: <sentence>" for the node (or its key), and return `code`. */
int et_yaml_fail(const struct et_yaml_node *node, struct et_error *reterr, int code,
		 const char *fmt, ...) ET_PRINTF(4, 5);
int et_yaml_fail_key(const struct et_yaml_node *node, struct et_error *reterr, int code,
		     const char *fmt, ...) ET_PRINTF(4, 5);

/* ---- Readers. Each returns 0, or ET_EMALFORMED with a sentence that says what was expected. ----
 */

int et_yaml_is_map(const struct et_yaml_node *node, struct et_error *reterr) ET_MUST_CHECK;
int et_yaml_is_list(const struct et_yaml_node *node, struct et_error *reterr) ET_MUST_CHECK;

/* `node` is a map whose keys are all among `known`; else: unknown key "afterr" (did you mean
 * "after"?). */
int et_yaml_check_keys(const struct et_yaml_node *node, const char *const *known,
		       size_t known_count, struct et_error *reterr) ET_MUST_CHECK;

/* The value under `key`, which must be there. */
int et_yaml_need(const struct et_yaml_node *map, const char *key, const struct et_yaml_node **ret,
		 struct et_error *reterr) ET_MUST_CHECK;

/* Non-empty text of at most `size_max` bytes; *ret is a view. */
int et_yaml_text(const struct et_yaml_node *node, size_t size_max, const char **ret,
		 struct et_error *reterr) ET_MUST_CHECK;
/* A name of a cluster, site, node, rule or target: et_name_is_valid() (node/base/role.h). */
int et_yaml_name(const struct et_yaml_node *node, const char **ret,
		 struct et_error *reterr) ET_MUST_CHECK;
/* Decimal digits, between min and max. */
int et_yaml_uint(const struct et_yaml_node *node, uint64_t min, uint64_t max, uint64_t *ret,
		 struct et_error *reterr) ET_MUST_CHECK;
/* Exactly true or false. */
int et_yaml_bool(const struct et_yaml_node *node, bool *ret, struct et_error *reterr) ET_MUST_CHECK;
/* "30s", "72h", "7y": between min and max microseconds. */
int et_yaml_duration(const struct et_yaml_node *node, int64_t min_us, int64_t max_us,
		     int64_t *ret_us, struct et_error *reterr) ET_MUST_CHECK;
/* "64KiB", "10GiB": between min and max bytes. */
int et_yaml_bytes(const struct et_yaml_node *node, uint64_t min, uint64_t max, uint64_t *ret,
		  struct et_error *reterr) ET_MUST_CHECK;
/* One of `words`; *ret is its number. */
int et_yaml_choice(const struct et_yaml_node *node, const char *const *words, size_t word_count,
		   size_t *ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
