#include <string.h>

#include "node/config/config.h"
#include "node/root/root.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses 4 KiB on some malformed quoted scalars; what we allocate is still watched.
 */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so\n";
}

/* What is in force, as a file again, means the same. */
static void settings_check(const struct et_config *c, const uint8_t *data, size_t size)
{
	ET_CLEANUP(et_json_freep) json_t *settings = et_config_settings(c, data, size);
	ET_CLEANUP(et_buffer_release) struct et_buffer page = { 0 };
	static struct et_config again;

	et_assert(et_config_setting(settings, "cluster") != NULL &&
		  et_config_setting(settings, "log.level") != NULL);
	et_config_settings_yaml(settings, true, &page);
	if (page.failed || et_config_parse("g", page.data, page.size, &again, NULL) < 0) {
		return; /* longer than a file may be, or a number that began with 0 */
	}
	ET_CLEANUP(et_json_freep)
	json_t *back = et_config_settings(&again, page.data, page.size);
	ET_CLEANUP(et_json_freep) json_t *changes = et_config_diff(settings, back);
	et_assert(json_array_size(changes) == 0);
}

/* What is accepted has all that a node cannot do without. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct et_config c;
	struct et_error e = { 0 };
	if (et_config_parse("f", data, size, &c, &e) < 0) {
		et_assert(strncmp(e.text, "f:", 2) == 0);
		return 0;
	}
	et_assert(c.cluster[0] != '\0' && c.name[0] != '\0' && c.site[0] != '\0');
	struct et_root_spec root;
	et_assert(c.state[0] == '/' && c.media[0] == '/');
	et_assert(et_root_spec_parse(c.root, &root, &e) == 0);
	et_assert(c.roles != 0 && c.heartbeat_us * 3 <= c.election_us);
	et_assert(c.limits.snapshot_rate_bytes == 0 || c.limits.snapshot_rate_bytes >= 256 * 1024);
	et_assert(c.capture_count <= ET_CONFIG_CAPTURES_MAX && c.rules.count <= ET_RULES_MAX);
	settings_check(&c, data, size);
	return 0;
}
