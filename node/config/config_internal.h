/* Inside node/config: values that more than one part of the file has, and the parts that are files.
 *
 * All return 0, or a negative code with file:line:col in reterr. */
#ifndef ET_NODE_CONFIG_CONFIG_INTERNAL_H
#define ET_NODE_CONFIG_CONFIG_INTERNAL_H

#include "node/config/config.h"
#include "node/text/units.h"
#include "node/text/yaml.h"

#define S INT64_C(1000000) /* microseconds */

/* ---- Values (value.c) ---- */

/* Text of at most `size` - 1 bytes. */
int config_text(const struct et_yaml_node *node, char *ret, size_t size,
		struct et_error *reterr) ET_MUST_CHECK;
int config_name(const struct et_yaml_node *node, char ret[ET_CONFIG_NAME_MAX + 1],
		struct et_error *reterr) ET_MUST_CHECK;
int config_need_name(const struct et_yaml_node *map, const char *key,
		     char ret[ET_CONFIG_NAME_MAX + 1], struct et_error *reterr) ET_MUST_CHECK;
/* An absolute path. */
int config_path(const struct et_yaml_node *node, char ret[ET_CONFIG_PATH_MAX + 1],
		struct et_error *reterr) ET_MUST_CHECK;
int config_address(const struct et_yaml_node *node, bool port_zero,
		   char ret[ET_CONFIG_ADDRESS_MAX + 1], struct et_error *reterr) ET_MUST_CHECK;

/* ---- Keys with one plain value (fields.c) ---- */

enum config_kind {
	CONFIG_TEXT,	 /* char[] */
	CONFIG_NUMBER,	 /* uint32_t */
	CONFIG_DURATION, /* int64_t, us */
	CONFIG_PERIOD,	 /* as well; off: 0 */
	CONFIG_BYTES,	 /* uint64_t */
	CONFIG_ACTION,
	CONFIG_DIGITS,
	CONFIG_TONES,
	CONFIG_PADDING,
	CONFIG_PORTS,
	CONFIG_MODE,
	CONFIG_LEVEL,
};

/* What it needs to be there, to have a value. */
enum config_needs { CONFIG_ALWAYS, CONFIG_SIPREC, CONFIG_KEY_SOCKET };

struct config_field {
	const char *key; /* "limits.ring" */
	enum config_kind kind;
	enum config_needs needs;
	size_t offset; /* in struct et_config */
	uint64_t min;  /* of numbers, durations and sizes */
	uint64_t max;  /* 0: its part reads it */
};

extern const struct config_field config_fields[]; /* ends with a NULL key */

enum { CONFIG_LEVELS = 4 };
extern const char *const config_levels[CONFIG_LEVELS]; /* by enum et_log_level */
enum { CONFIG_PADDINGS = 3 };
extern const char *const config_paddings[CONFIG_PADDINGS]; /* by enum et_config_padding */

/* Those of this part that have a most; left at their default when the key is not there. */
int config_fields_read(const struct et_yaml_node *map, const char *part, struct et_config *c,
		       struct et_error *reterr) ET_MUST_CHECK;
/* The same, and that there are no other keys. */
int config_fields_part(const struct et_yaml_node *map, const char *part, struct et_config *c,
		       struct et_error *reterr) ET_MUST_CHECK;

/* ---- The whole (config.c, settings.c) ---- */

/* Its parts in order, "cluster" first; NULL behind the last. */
const char *config_part_name(size_t which);
json_t *config_settings(const struct et_config *c, const struct et_yaml_node *root);

/* ---- Parts (recording.c, siprec.c) ---- */

int config_recording(const struct et_yaml_node *map, struct et_config *c,
		     struct et_error *reterr) ET_MUST_CHECK;
int config_siprec(const struct et_yaml_node *map, struct et_config *c,
		  struct et_error *reterr) ET_MUST_CHECK;

#endif
