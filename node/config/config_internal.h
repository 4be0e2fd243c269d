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

/* Left at their default when the key is not there. */
int config_duration(const struct et_yaml_node *map, const char *key, int64_t min_us, int64_t max_us,
		    int64_t *ret, struct et_error *reterr) ET_MUST_CHECK;
int config_bytes(const struct et_yaml_node *map, const char *key, uint64_t min, uint64_t max,
		 uint64_t *ret, struct et_error *reterr) ET_MUST_CHECK;
int config_u32(const struct et_yaml_node *map, const char *key, uint32_t min, uint32_t max,
	       uint32_t *ret, struct et_error *reterr) ET_MUST_CHECK;

/* ---- Parts (recording.c, siprec.c) ---- */

int config_recording(const struct et_yaml_node *map, struct et_config *c,
		     struct et_error *reterr) ET_MUST_CHECK;
int config_siprec(const struct et_yaml_node *map, struct et_config *c,
		  struct et_error *reterr) ET_MUST_CHECK;

#endif
