#include "node/config/config_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/text/units.h"
#include "node/text/yaml.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define SNAPSHOT_RATE_MIN                                                                          \
	(UINT64_C(256) << 10) /* raft/catalog: below it requests run out of time */

static const char *const role_names[] = { "voter", "standby", "spare", "witness",
					  "vault", "capture", "api" };

const char *et_config_role_name(enum et_role role)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(role_names); i++) {
		if ((unsigned)role == 1U << i) {
			return role_names[i];
		}
	}
	return NULL;
}

uint32_t et_config_role_parse(const char *name)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(role_names); i++) {
		if (strcmp(name, role_names[i]) == 0) {
			return 1U << i;
		}
	}
	return 0;
}

static void config_defaults(struct et_config *c)
{
	*c = (struct et_config){
		.rules = { .otherwise = ET_RULE_RECORD,
			   .digits = ET_RULE_DIGITS_KEEP,
			   .tones = ET_RULE_TONES_KEEP },
		.siprec = { .port_first = 20000,
			    .port_last = 24999,
			    .sessions = 1024,
			    .connections = 256 },
		.max_pause_us = 900 * S,
		.setup_timeout_us = 240 * S,
		.media_timeout_us = 14400 * S,
		.media_only_timeout_us = 30 * S,
		.election_us = 1 * S,
		.heartbeat_us = S / 20,
		.limits = { .live_calls = 8192,
			    .demand_bytes = 8 * GIB,
			    .disk_reserve_bytes = 256 * MIB,
			    .ring_bytes = 64 * MIB,
			    .queue_bytes = 32 * MIB,
			    .cache_bytes = GIB,
			    .sync_rate_bytes = 0,
			    .snapshot_rate_bytes = 0,
			    .api_connections = 256 },
		.tapes = { .padding = ET_CONFIG_PADDING_AUTO, .rate_bytes = 8192 },
		.copies_per_site = 1,
		.tail_us = 1 * S,
		.scrub = { .every_us = 30 * 86400 * S, .rate_bytes = 20 * MIB },
		.tls = { .certificate_life_us = 72 * 3600 * S },
		.log_level = ET_LOG_INFO,
	};
}

/* ---- Parts of the file ---- */

static int parse_roles(const struct et_yaml_node *list, struct et_config *c,
		       struct et_error *reterr)
{
	int rc = et_yaml_is_list(list, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(item, list)
	{
		size_t which;
		rc = et_yaml_choice(item, role_names, ET_ARRAY_SIZE(role_names), &which, reterr);
		if (rc < 0) {
			return rc;
		}
		if ((c->roles & 1U << which) != 0) {
			return et_yaml_fail(item, reterr, ET_EMALFORMED, "the role %s stands twice",
					    item->text);
		}
		c->roles |= 1U << which;
	}
	uint32_t raft_roles =
		c->roles & (ET_ROLE_VOTER | ET_ROLE_STANDBY | ET_ROLE_SPARE | ET_ROLE_WITNESS);
	if (__builtin_popcount(raft_roles) != 1) {
		return et_yaml_fail_key(
			list, reterr, ET_EMALFORMED,
			"roles needs exactly one of voter, standby, spare, witness");
	}
	if ((c->roles & ET_ROLE_WITNESS) != 0 &&
	    (c->roles & (ET_ROLE_VAULT | ET_ROLE_CAPTURE)) != 0) {
		return et_yaml_fail_key(list, reterr, ET_EMALFORMED,
					"a witness holds neither media nor keys: it cannot be "
					"vault or capture");
	}
	return 0;
}

static int parse_node(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	static const char *const known[] = { "name", "site", "roles" };
	const struct et_yaml_node *roles;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = config_need_name(map, "name", c->name, reterr);
	}
	if (rc == 0) {
		rc = config_need_name(map, "site", c->site, reterr);
	}
	if (rc == 0) {
		rc = et_yaml_need(map, "roles", &roles, reterr);
	}
	return rc < 0 ? rc : parse_roles(roles, c, reterr);
}

static int parse_listen(const struct et_yaml_node *map, struct et_config *c,
			struct et_error *reterr)
{
	static const char *const known[] = { "cluster", "advertise", "api" };
	const struct et_yaml_node *node;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = et_yaml_need(map, "cluster", &node, reterr);
	}
	if (rc == 0) {
		rc = config_address(node, /* port_zero= */ true, c->listen_cluster, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(c->advertise, sizeof(c->advertise), "%s", c->listen_cluster);
	node = et_yaml_get(map, "advertise");
	if (node != NULL) {
		rc = config_address(node, /* port_zero= */ false, c->advertise, reterr);
	}
	node = et_yaml_get(map, "api");
	if (rc == 0 && node != NULL) {
		rc = config_address(node, /* port_zero= */ true, c->listen_api, reterr);
	}
	return rc;
}

static int parse_data(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	static const char *const known[] = { "state", "media", "root" };
	const struct et_yaml_node *state, *media, *root;
	struct et_root_spec spec;
	struct et_error why;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = et_yaml_need(map, "state", &state, reterr);
	}
	if (rc == 0) {
		rc = config_path(state, c->state, reterr);
	}
	if (rc == 0) {
		rc = et_yaml_need(map, "media", &media, reterr);
	}
	if (rc == 0) {
		rc = config_path(media, c->media, reterr);
	}
	if (rc == 0 && strcmp(c->state, c->media) == 0) {
		return et_yaml_fail(media, reterr, ET_EMALFORMED,
				    "media and state must be different folders");
	}
	if (rc == 0) {
		rc = et_yaml_need(map, "root", &root, reterr);
	}
	if (rc == 0) {
		rc = config_text(root, c->root, sizeof(c->root), reterr);
	}
	if (rc == 0 && et_root_spec_parse(c->root, &spec, &why) < 0) {
		return et_yaml_fail(root, reterr, ET_EMALFORMED, "root: %.400s", why.text);
	}
	return rc;
}

static int parse_sip_ports(const struct et_yaml_node *list, struct et_config_capture *source,
			   struct et_error *reterr)
{
	int rc = et_yaml_is_list(list, reterr);
	if (rc == 0 && (list->count == 0 || list->count > ET_CONFIG_SIP_PORTS_MAX)) {
		return et_yaml_fail_key(list, reterr, ET_EMALFORMED,
					"sip-ports needs 1 to %d ports", ET_CONFIG_SIP_PORTS_MAX);
	}
	if (rc < 0) {
		return rc;
	}
	source->sip_port_count = 0;
	ET_YAML_EACH(item, list)
	{
		uint64_t port;
		rc = et_yaml_uint(item, 1, 65535, &port, reterr);
		if (rc < 0) {
			return rc;
		}
		source->sip_ports[source->sip_port_count++] = (uint16_t)port;
	}
	return 0;
}

static int parse_source(const struct et_yaml_node *map, struct et_config_capture *source,
			struct et_error *reterr)
{
	static const char *const known[] = { "interface", "file",    "filter",
					     "sip-ports", "key-log", "rings" };
	*source = (struct et_config_capture){ .sip_ports = { 5060 },
					      .sip_port_count = 1,
					      .rings = 1 };
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc < 0) {
		return rc;
	}
	const struct et_yaml_node *interface = et_yaml_get(map, "interface");
	const struct et_yaml_node *file = et_yaml_get(map, "file");
	const struct et_yaml_node *filter = et_yaml_get(map, "filter");
	const struct et_yaml_node *ports = et_yaml_get(map, "sip-ports");
	if ((interface == NULL) == (file == NULL)) {
		return et_yaml_fail(map, reterr, ET_EMALFORMED,
				    "a source of packets is either an interface or a file");
	}
	if (interface != NULL) {
		rc = config_text(interface, source->interface, sizeof(source->interface), reterr);
	} else {
		rc = config_path(file, source->file, reterr);
	}
	bool no_filter =
		filter == NULL || (filter->kind == ET_YAML_SCALAR && filter->text[0] == '\0');
	if (rc == 0 && !no_filter) {
		rc = config_text(filter, source->filter, sizeof(source->filter), reterr);
	}
	if (rc == 0 && ports != NULL) {
		rc = parse_sip_ports(ports, source, reterr);
	}
	const struct et_yaml_node *keylog = et_yaml_get(map, "key-log");
	if (rc == 0 && keylog != NULL) {
		rc = config_path(keylog, source->keylog, reterr);
	}
	const struct et_yaml_node *rings = et_yaml_get(map, "rings");
	if (rc == 0 && rings != NULL && file != NULL) {
		return et_yaml_fail_key(rings, reterr, ET_EMALFORMED,
					"rings are of an interface, not of a file");
	}
	if (rc == 0 && rings != NULL) {
		uint64_t number;
		rc = et_yaml_uint(rings, 1, ET_CONFIG_RINGS_MAX, &number, reterr);
		source->rings = rc == 0 ? (uint32_t)number : 1;
	}
	return rc;
}

static int parse_capture(const struct et_yaml_node *list, struct et_config *c,
			 struct et_error *reterr)
{
	int rc = et_yaml_is_list(list, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(item, list)
	{
		if (c->capture_count == ET_CONFIG_CAPTURES_MAX) {
			return et_yaml_fail(item, reterr, ET_ELIMIT, "more than %d sources",
					    ET_CONFIG_CAPTURES_MAX);
		}
		rc = parse_source(item, &c->captures[c->capture_count], reterr);
		if (rc < 0) {
			return rc;
		}
		c->capture_count++;
	}
	if (c->capture_count > 0 && (c->roles & ET_ROLE_CAPTURE) == 0) {
		return et_yaml_fail_key(list, reterr, ET_EMALFORMED,
					"this node captures, but its roles lack capture");
	}
	return 0;
}

static int parse_socket_mode(const struct et_yaml_node *node, uint32_t *ret,
			     struct et_error *reterr)
{
	char text[16];
	char *end = NULL;

	int rc = config_text(node, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	unsigned long mode = strtoul(text, &end, 8);
	if (text[0] == '\0' || *end != '\0' || (mode & ~0660UL) != 0 || (mode & 0600) != 0600) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "key-socket: mode is \"0600\" or \"0660\" (others never have "
				    "rights), not \"%s\"",
				    text);
	}
	*ret = (uint32_t)mode;
	return 0;
}

static int parse_key_socket(const struct et_yaml_node *map, struct et_config *c,
			    struct et_error *reterr)
{
	static const char *const known[] = { "path", "group", "mode" };
	struct et_config_key_socket *k = &c->key_socket;
	const struct et_yaml_node *path = NULL;

	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc : et_yaml_need(map, "path", &path, reterr);
	rc = rc < 0 ? rc : config_path(path, k->path, reterr);
	const struct et_yaml_node *group = et_yaml_get(map, "group");
	if (rc == 0 && group != NULL) {
		rc = config_text(group, k->group, sizeof(k->group), reterr);
	}
	k->mode = k->group[0] != '\0' ? 0660 : 0600;
	const struct et_yaml_node *mode = et_yaml_get(map, "mode");
	if (rc == 0 && mode != NULL) {
		rc = parse_socket_mode(mode, &k->mode, reterr);
	}
	if (rc == 0 && (c->roles & ET_ROLE_CAPTURE) == 0) {
		return et_yaml_fail_key(
			map, reterr, ET_EMALFORMED,
			"this node takes keys of calls, but its roles lack capture");
	}
	return rc;
}

static int parse_raft(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	static const char *const known[] = { "profile", "election", "heartbeat" };
	static const char *const profiles[] = { "lan", "wan" };
	const struct et_yaml_node *node = et_yaml_get(map, "profile");
	size_t profile = 0;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0 && node != NULL) {
		rc = et_yaml_choice(node, profiles, ET_ARRAY_SIZE(profiles), &profile, reterr);
	}
	if (rc == 0 && profile == 1) { /* what is given beside it wins */
		c->election_us = 3 * S;
		c->heartbeat_us = 3 * S / 10;
	}
	if (rc == 0) {
		rc = config_fields_read(map, "raft", c, reterr);
	}
	if (rc == 0 && c->heartbeat_us * 3 > c->election_us) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"raft: the election timeout must be at least three "
					"heartbeats");
	}
	return rc;
}

static int parse_backup(const struct et_yaml_node *map, struct et_config *c,
			struct et_error *reterr)
{
	static const char *const known[] = { "folder" };
	const struct et_yaml_node *folder;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = et_yaml_need(map, "folder", &folder, reterr);
	}
	return rc < 0 ? rc : config_path(folder, c->backup_folder, reterr);
}

static int parse_placement(const struct et_yaml_node *map, struct et_config *c,
			   struct et_error *reterr)
{
	return config_fields_part(map, "placement", c, reterr);
}

static int parse_scrub(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	return config_fields_part(map, "scrub", c, reterr);
}

static int parse_limits(const struct et_yaml_node *map, struct et_config *c,
			struct et_error *reterr)
{
	int rc = config_fields_part(map, "limits", c, reterr);

	if (rc == 0 && c->limits.snapshot_rate_bytes > 0 &&
	    c->limits.snapshot_rate_bytes < SNAPSHOT_RATE_MIN) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"limits: snapshot-rate must be 0B (no limit) or at least "
					"256KiB a second");
	}
	return rc;
}

static int parse_tapes(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	static const char *const known[] = { "padding", "padding-rate" };
	const struct et_yaml_node *node = et_yaml_get(map, "padding");
	size_t which = c->tapes.padding;

	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc : config_fields_read(map, "tapes", c, reterr);
	if (rc == 0 && node != NULL) {
		rc = et_yaml_choice(node, config_paddings, CONFIG_PADDINGS, &which, reterr);
	}
	c->tapes.padding = (enum et_config_padding)which;
	return rc;
}

static int parse_tls(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	static const char *const known[] = { "certificate-life", "api-certificate", "api-key" };
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = config_fields_read(map, "tls", c, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	const struct et_yaml_node *certificate = et_yaml_get(map, "api-certificate");
	const struct et_yaml_node *key = et_yaml_get(map, "api-key");
	if ((certificate == NULL) != (key == NULL)) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"api-certificate and api-key go together");
	}
	if (certificate != NULL) {
		rc = config_path(certificate, c->tls.api_certificate, reterr);
	}
	if (rc == 0 && key != NULL) {
		rc = config_path(key, c->tls.api_key, reterr);
	}
	return rc;
}

static int parse_log(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	static const char *const known[] = { "level" };
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	const struct et_yaml_node *node = et_yaml_get(map, "level");
	if (rc < 0 || node == NULL) {
		return rc;
	}
	size_t which;
	rc = et_yaml_choice(node, config_levels, CONFIG_LEVELS, &which, reterr);
	if (rc == 0) {
		c->log_level = (enum et_log_level)which;
	}
	return rc;
}

/* ---- The whole file ---- */

static const struct part {
	const char *key;
	bool needed;
	int (*parse)(const struct et_yaml_node *node, struct et_config *c, struct et_error *reterr);
} parts[] = {
	{ "node", true, parse_node },
	{ "listen", true, parse_listen },
	{ "data", true, parse_data },
	{ "capture", false, parse_capture }, /* after node: it looks at the roles */
	{ "siprec", false, config_siprec },  /* ... and so do these */
	{ "key-socket", false, parse_key_socket },
	{ "recording", false, config_recording },
	{ "raft", false, parse_raft },
	{ "backup", false, parse_backup },
	{ "placement", false, parse_placement },
	{ "scrub", false, parse_scrub },
	{ "limits", false, parse_limits },
	{ "tapes", false, parse_tapes },
	{ "tls", false, parse_tls },
	{ "log", false, parse_log },
};

const char *config_part_name(size_t which)
{
	return which == 0 ? "cluster" : which <= ET_ARRAY_SIZE(parts) ? parts[which - 1].key : NULL;
}

static int config_read(const struct et_yaml_node *root, struct et_config *c,
		       struct et_error *reterr)
{
	const char *known[ET_ARRAY_SIZE(parts) + 1] = { "cluster" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(parts); i++) {
		known[i + 1] = parts[i].key;
	}
	int rc = et_yaml_check_keys(root, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = config_need_name(root, "cluster", c->cluster, reterr);
	}
	for (size_t i = 0; rc == 0 && i < ET_ARRAY_SIZE(parts); i++) {
		const struct et_yaml_node *node = et_yaml_get(root, parts[i].key);
		if (node == NULL && parts[i].needed) {
			return et_yaml_need(root, parts[i].key, &node, reterr);
		}
		if (node != NULL) {
			rc = parts[i].parse(node, c, reterr);
		}
	}
	if (rc == 0 && (c->roles & ET_ROLE_API) != 0 && c->listen_api[0] == '\0') {
		return et_yaml_fail_key(et_yaml_get(root, "listen"), reterr, ET_EMALFORMED,
					"the role api needs listen: {api: ADDRESS:PORT}");
	}
	return rc;
}

static int config_from(const struct et_yaml *y, const char *name, struct et_config *ret,
		       struct et_error *reterr)
{
	config_defaults(ret);
	(void)snprintf(ret->file, sizeof(ret->file), "%s", name);
	return config_read(et_yaml_root(y), ret, reterr);
}

int et_config_parse(const char *name, const void *data, size_t size, struct et_config *ret,
		    struct et_error *reterr)
{
	ET_CLEANUP(et_yaml_freep) struct et_yaml *y = NULL;
	int rc = et_yaml_parse(name, data, size, &y, reterr);
	return rc < 0 ? rc : config_from(y, name, ret, reterr);
}

int et_config_load(const char *path, struct et_config *ret, struct et_error *reterr)
{
	return et_config_load_settings(path, ret, NULL, reterr);
}

int et_config_load_settings(const char *path, struct et_config *ret, json_t **ret_settings,
			    struct et_error *reterr)
{
	ET_CLEANUP(et_yaml_freep) struct et_yaml *y = NULL;
	int rc = et_yaml_load(path, &y, reterr);

	rc = rc < 0 ? rc : config_from(y, path, ret, reterr);
	if (rc == 0 && ret_settings != NULL) {
		*ret_settings = config_settings(ret, et_yaml_root(y));
	}
	return rc;
}

int et_config_socket_path(const struct et_config *config, char path[108], struct et_error *reterr)
{
	int n = snprintf(path, 108, "%s/run/api.sock", config->state);
	if (n < 0 || n >= 108) {
		return et_fail_plain(
			reterr, ET_ELIMIT,
			"data.state '%s' is too long: the path of a Unix socket has at "
			"most 107 bytes",
			config->state);
	}
	return 0;
}
