/* Every key that has one plain value: where it is kept, and what it may be. What the file says is
 * read by this list (config_fields_read()), and what is in force is told by it (settings.c). */
#include <stddef.h>
#include <string.h>

#include "node/config/config_internal.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
#define DAY (86400 * S)

enum { KNOWN_MAX = 16 }; /* keys of a part */

const char *const config_levels[CONFIG_LEVELS] = { "debug", "info", "warn", "error" };
const char *const config_paddings[CONFIG_PADDINGS] = { "auto", "none", "always" };

#define AT(member) offsetof(struct et_config, member)

/* { key, kind, the part that must be there, member, least, most }: read here when it has a most. */
const struct config_field config_fields[] = {
	{ "cluster", CONFIG_TEXT, CONFIG_ALWAYS, AT(cluster), 0, 0 },
	{ "node.name", CONFIG_TEXT, CONFIG_ALWAYS, AT(name), 0, 0 },
	{ "node.site", CONFIG_TEXT, CONFIG_ALWAYS, AT(site), 0, 0 },
	{ "listen.cluster", CONFIG_TEXT, CONFIG_ALWAYS, AT(listen_cluster), 0, 0 },
	{ "listen.advertise", CONFIG_TEXT, CONFIG_ALWAYS, AT(advertise), 0, 0 },
	{ "listen.api", CONFIG_TEXT, CONFIG_ALWAYS, AT(listen_api), 0, 0 },
	{ "data.state", CONFIG_TEXT, CONFIG_ALWAYS, AT(state), 0, 0 },
	{ "data.media", CONFIG_TEXT, CONFIG_ALWAYS, AT(media), 0, 0 },
	{ "data.root", CONFIG_TEXT, CONFIG_ALWAYS, AT(root), 0, 0 },
	{ "siprec.media", CONFIG_TEXT, CONFIG_SIPREC, AT(siprec.media), 0, 0 },
	{ "siprec.media-ports", CONFIG_PORTS, CONFIG_SIPREC, AT(siprec.port_first), 0, 0 },
	{ "siprec.sessions", CONFIG_NUMBER, CONFIG_SIPREC, AT(siprec.sessions), 1, 100000 },
	{ "siprec.connections", CONFIG_NUMBER, CONFIG_SIPREC, AT(siprec.connections), 1, 65536 },
	{ "key-socket.path", CONFIG_TEXT, CONFIG_KEY_SOCKET, AT(key_socket.path), 0, 0 },
	{ "key-socket.group", CONFIG_TEXT, CONFIG_KEY_SOCKET, AT(key_socket.group), 0, 0 },
	{ "key-socket.mode", CONFIG_MODE, CONFIG_KEY_SOCKET, AT(key_socket.mode), 0, 0 },
	{ "recording.default", CONFIG_ACTION, CONFIG_ALWAYS, AT(rules.otherwise), 0, 0 },
	{ "recording.digits", CONFIG_DIGITS, CONFIG_ALWAYS, AT(rules.digits), 0, 0 },
	{ "recording.tones", CONFIG_TONES, CONFIG_ALWAYS, AT(rules.tones), 0, 0 },
	{ "recording.max-pause", CONFIG_DURATION, CONFIG_ALWAYS, AT(max_pause_us), S, DAY },
	{ "recording.setup-timeout", CONFIG_DURATION, CONFIG_ALWAYS, AT(setup_timeout_us), 5 * S,
	  3600 * S },
	{ "recording.media-timeout", CONFIG_DURATION, CONFIG_ALWAYS, AT(media_timeout_us), 5 * S,
	  7 * DAY },
	{ "recording.media-only-timeout", CONFIG_DURATION, CONFIG_ALWAYS, AT(media_only_timeout_us),
	  S, DAY },
	{ "raft.election", CONFIG_DURATION, CONFIG_ALWAYS, AT(election_us), S / 10, 60 * S },
	{ "raft.heartbeat", CONFIG_DURATION, CONFIG_ALWAYS, AT(heartbeat_us), S / 100, 10 * S },
	{ "backup.folder", CONFIG_TEXT, CONFIG_ALWAYS, AT(backup_folder), 0, 0 },
	{ "placement.copies-per-site", CONFIG_NUMBER, CONFIG_ALWAYS, AT(copies_per_site), 1, 8 },
	{ "placement.tail", CONFIG_PERIOD, CONFIG_ALWAYS, AT(tail_us), S / 5, 60 * S },
	{ "scrub.every", CONFIG_PERIOD, CONFIG_ALWAYS, AT(scrub.every_us), S, 366 * DAY },
	{ "scrub.rate", CONFIG_BYTES, CONFIG_ALWAYS, AT(scrub.rate_bytes), 64 * KIB, TIB },
	{ "limits.live-calls", CONFIG_NUMBER, CONFIG_ALWAYS, AT(limits.live_calls), 1, 100000 },
	{ "limits.on-demand", CONFIG_BYTES, CONFIG_ALWAYS, AT(limits.demand_bytes), MIB, 16 * TIB },
	{ "limits.disk-reserve", CONFIG_BYTES, CONFIG_ALWAYS, AT(limits.disk_reserve_bytes), MIB,
	  16 * TIB },
	{ "limits.ring", CONFIG_BYTES, CONFIG_ALWAYS, AT(limits.ring_bytes), MIB, 2 * GIB },
	{ "limits.writer-queue", CONFIG_BYTES, CONFIG_ALWAYS, AT(limits.queue_bytes), MIB,
	  2 * GIB },
	{ "limits.cache", CONFIG_BYTES, CONFIG_ALWAYS, AT(limits.cache_bytes), MIB, 16 * TIB },
	{ "limits.sync-rate", CONFIG_BYTES, CONFIG_ALWAYS, AT(limits.sync_rate_bytes), 0, TIB },
	{ "limits.snapshot-rate", CONFIG_BYTES, CONFIG_ALWAYS, AT(limits.snapshot_rate_bytes), 0,
	  TIB },
	{ "limits.api-connections", CONFIG_NUMBER, CONFIG_ALWAYS, AT(limits.api_connections), 4,
	  4096 },
	{ "tapes.padding", CONFIG_PADDING, CONFIG_ALWAYS, AT(tapes.padding), 0, 0 },
	{ "tapes.padding-rate", CONFIG_BYTES, CONFIG_ALWAYS, AT(tapes.rate_bytes), KIB, 128 * KIB },
	{ "tls.certificate-life", CONFIG_DURATION, CONFIG_ALWAYS, AT(tls.certificate_life_us),
	  2 * S, 366 * DAY },
	{ "tls.api-certificate", CONFIG_TEXT, CONFIG_ALWAYS, AT(tls.api_certificate), 0, 0 },
	{ "tls.api-key", CONFIG_TEXT, CONFIG_ALWAYS, AT(tls.api_key), 0, 0 },
	{ "log.level", CONFIG_LEVEL, CONFIG_ALWAYS, AT(log_level), 0, 0 },
	{ NULL, CONFIG_TEXT, CONFIG_ALWAYS, 0, 0, 0 },
};

/* Its name within the part; NULL: it is of another, or is not read here. */
static const char *name_in(const struct config_field *f, const char *part)
{
	size_t n = strlen(part);

	return f->max > 0 && strncmp(f->key, part, n) == 0 && f->key[n] == '.' ? f->key + n + 1
									       : NULL;
}

static bool is_off(const struct et_yaml_node *node)
{
	return node->kind == ET_YAML_SCALAR &&
	       (strcmp(node->text, "off") == 0 || strcmp(node->text, "0s") == 0);
}

static int field_read(const struct config_field *f, const struct et_yaml_node *node,
		      struct et_config *c, struct et_error *reterr)
{
	void *to = (char *)c + f->offset;
	uint64_t number;
	int rc;

	switch ((int)f->kind) {
	case CONFIG_NUMBER:
		rc = et_yaml_uint(node, f->min, f->max, &number, reterr);
		if (rc == 0) {
			*(uint32_t *)to = (uint32_t)number;
		}
		return rc;
	case CONFIG_BYTES:
		return et_yaml_bytes(node, f->min, f->max, to, reterr);
	case CONFIG_PERIOD:
		if (is_off(node)) {
			*(int64_t *)to = 0;
			return 0;
		}
		return et_yaml_duration(node, (int64_t)f->min, (int64_t)f->max, to, reterr);
	case CONFIG_DURATION:
		return et_yaml_duration(node, (int64_t)f->min, (int64_t)f->max, to, reterr);
	default:
		et_unreachable();
	}
}

int config_fields_read(const struct et_yaml_node *map, const char *part, struct et_config *c,
		       struct et_error *reterr)
{
	for (const struct config_field *f = config_fields; f->key != NULL; f++) {
		const char *name = name_in(f, part);
		const struct et_yaml_node *node = name != NULL ? et_yaml_get(map, name) : NULL;
		int rc = node != NULL ? field_read(f, node, c, reterr) : 0;
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

int config_fields_part(const struct et_yaml_node *map, const char *part, struct et_config *c,
		       struct et_error *reterr)
{
	const char *known[KNOWN_MAX];
	size_t count = 0;

	for (const struct config_field *f = config_fields; f->key != NULL; f++) {
		const char *name = name_in(f, part);
		if (name != NULL) {
			et_assert(count < KNOWN_MAX);
			known[count++] = name;
		}
	}
	int rc = et_yaml_check_keys(map, known, count, reterr);
	return rc < 0 ? rc : config_fields_read(map, part, c, reterr);
}
