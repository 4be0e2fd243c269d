#include <string.h>

#include "node/text/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses 4 KiB on some malformed quoted scalars; what we allocate is still watched.
 */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so\n";
}

/* Every node of an accepted document is within the limits and says where it is. */
static uint32_t walk(const struct et_yaml_node *node, uint32_t depth)
{
	et_assert(depth <= ET_YAML_DEPTH_MAX);
	et_assert(node->line > 0 && node->column > 0 && node->text != NULL);
	uint32_t count = 1;
	uint32_t children = 0;
	ET_YAML_EACH(child, node)
	{
		et_assert((child->key != NULL) == (node->kind == ET_YAML_MAP));
		et_assert(child->key == NULL || et_yaml_get(node, child->key) == child);
		count += walk(child, depth + 1);
		children++;
	}
	et_assert(children == node->count);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_yaml *y = NULL;
	struct et_error e = { 0 };
	int rc = et_yaml_parse("f", data, size, &y, &e);
	if (rc < 0) {
		et_assert(strncmp(e.text, "f:", 2) == 0);
		return 0;
	}
	et_assert(walk(et_yaml_root(y), 0) <= ET_YAML_NODES_MAX + 1);
	et_yaml_free(y);
	return 0;
}
