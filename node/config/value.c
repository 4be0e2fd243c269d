#include "node/config/config_internal.h"

#include <stdio.h>

/* Copy text of at most `size` - 1 bytes. */
int config_text(const struct et_yaml_node *node, char *ret, size_t size, struct et_error *reterr)
{
	const char *text;
	int rc = et_yaml_text(node, size - 1, &text, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(ret, size, "%s", text);
	return 0;
}

int config_name(const struct et_yaml_node *node, char ret[ET_CONFIG_NAME_MAX + 1],
		struct et_error *reterr)
{
	const char *text;
	int rc = et_yaml_name(node, &text, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(ret, ET_CONFIG_NAME_MAX + 1, "%s", text);
	return 0;
}

int config_need_name(const struct et_yaml_node *map, const char *key,
		     char ret[ET_CONFIG_NAME_MAX + 1], struct et_error *reterr)
{
	const struct et_yaml_node *node;
	int rc = et_yaml_need(map, key, &node, reterr);
	return rc < 0 ? rc : config_name(node, ret, reterr);
}

/* An absolute path. */
int config_path(const struct et_yaml_node *node, char ret[ET_CONFIG_PATH_MAX + 1],
		struct et_error *reterr)
{
	int rc = config_text(node, ret, ET_CONFIG_PATH_MAX + 1, reterr);
	if (rc == 0 && ret[0] != '/') {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "%s must be an absolute path, not \"%.64s\"", node->key, ret);
	}
	return rc;
}

int config_address(const struct et_yaml_node *node, bool port_zero,
		   char ret[ET_CONFIG_ADDRESS_MAX + 1], struct et_error *reterr)
{
	int rc = config_text(node, ret, ET_CONFIG_ADDRESS_MAX + 1, reterr);
	if (rc == 0 && !et_address_is_valid(ret, port_zero)) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "%s must be an IP address and a port, such as 10.1.0.11:7400, "
				    "not \"%.64s\"",
				    node->key, ret);
	}
	return rc;
}
