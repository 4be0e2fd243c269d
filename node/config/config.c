#include "node/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/text/units.h"
#include "node/text/yaml.h"

#define S INT64_C(1000000) /* microseconds */
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define SNAPSHOT_RATE_MIN                                                                          \
	(UINT64_C(256) << 10) /* raft/catalog: below it requests run out of time */
#define TIB (UINT64_C(1) << 40)

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
		.rules = { .otherwise = ET_RULE_RECORD, .digits = ET_RULE_DIGITS_KEEP },
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
			    .disk_reserve_bytes = 256 * MIB,
			    .ring_bytes = 64 * MIB,
			    .queue_bytes = 32 * MIB,
			    .cache_bytes = GIB,
			    .sync_rate_bytes = 0,
			    .snapshot_rate_bytes = 0,
			    .api_connections = 256 },
		.copies_per_site = 1,
		.tls = { .certificate_life_us = 72 * 3600 * S },
		.log_level = ET_LOG_INFO,
	};
}

/* In two: a compiler need not take a longer literal. */
static const char defaults_sources[] =
	"# evertape.yaml: every key, with its default where it has one.\n"
	"cluster: acme-voice                # needed\n"
	"node:\n"
	"  name: prg-1                      # needed; unique in the cluster\n"
	"  site: prg                        # needed\n"
	"  roles: [voter, vault, capture, api]  # needed; also standby, spare, witness\n"
	"listen:\n"
	"  cluster: 10.1.0.11:7400          # needed; other nodes connect here\n"
	"  advertise: 10.1.0.11:7400        # what other nodes are told; default: cluster\n"
	"  api: 0.0.0.0:7443                # HTTPS and console; needed with the role api\n"
	"data:\n"
	"  state: /var/lib/evertape/state   # needed; Raft log and catalogue\n"
	"  media: /var/lib/evertape/media   # needed; tapes\n"
	"  root: file:/etc/evertape/root.key  # needed; the node root, mode 0400\n"
	"  # or credential:NAME, passphrase:SOURCE, pkcs11:URI: key root change --help\n"
	"capture:                           # sources of packets; default: none\n"
	"  - interface: eth1                # or file: PATH of a capture file\n"
	"    filter: \"\"                     # as of tcpdump; empty: everything\n"
	"    sip-ports: [5060]\n"
	"    # key-log: /run/sbc/tls.keys   # opens SIP over TLS; followed as it grows; "
	"default: none\n"
	"# siprec:                          # sessions of SIPREC clients; default: none\n"
	"#   listen: [udp://10.1.0.11:5060, tcp://10.1.0.11:5060]  # never 0.0.0.0\n"
	"#   media: 10.1.0.11               # where RTP comes; default: the first listen's\n"
	"#   media-ports: 20000-24999       # two for each stream\n"
	"#   sessions: 1024                 # at a time\n"
	"#   connections: 256               # of TCP and TLS, at a time\n"
	"#   certificate: /etc/evertape/srs.pem  # with tls://10.1.0.11:5061: PEM, "
	"with its chain\n"
	"#   key: /etc/evertape/private/srs.key\n"
	"# key-socket:                      # keys of SRTP and TLS while calls run; "
	"default: "
	"none\n"
	"#   path: /run/evertape/keys.sock  # lines as of a key log, or ssrc, suite, key "
	"and "
	"salt\n"
	"#   group: sbc                     # its members may give keys; default: root and "
	"the daemon only\n"
	"#   mode: \"0660\"                  # default with a group; never rights for "
	"others\n";
static const char defaults_rest[] =
	"recording:\n"
	"  default: record                  # or skip: what happens when no rule fits\n"
	"  own-numbers: []                  # of this site: they say which way a call goes; "
	"needed for direction\n"
	"  rules: []                        # in order; the first whose conditions all hold "
	"decides, for example\n"
	"    # - name: sales                # told in the recording\n"
	"    #   from: \"+4202*\"             # number, shell pattern or range (1000-1999), "
	"or "
	"a list of them\n"
	"    #   to: [\"1000-1099\", \"2*\"]\n"
	"    #   direction: [inbound, internal]  # also outbound, external\n"
	"    #   site: prg                  # this node's site; or a list\n"
	"    #   header: {X-Queue: \"sales*\"}  # of the INVITE; all of them must fit\n"
	"    #   time: {zone: Europe/Prague, days: mon-fri, from: \"08:00\", to: "
	"\"18:00\"}\n"
	"    #   sample: 10%                # of the calls, by their Call-ID\n"
	"    #   agent: [anna, \"team:claims\"]  # who uses one of the numbers when it begins, by "
	"the "
	"catalogue\n"
	"    #   media-only: false          # true: only calls without signalling\n"
	"    #   action: record             # or skip\n"
	"    #   digits: drop               # or keep; not said: as below\n"
	"    #   pause: {start: \"*7\", stop: \"*8\"}  # keys that pause it and let it go on; "
	"more: by: caller or callee, max: 5m, without-key: pause\n"
	"  join: []                         # legs of a B2BUA that are one call, for example\n"
	"    # - header: Session-ID           # the same value in both INVITEs (RFC 7989: the "
	"local "
	"UUID); also across nodes\n"
	"    # - {numbers: 9, within: 5s}     # the last digits of both numbers, at one recorder\n"
	"  digits: keep                     # or drop: key presses (RFC 4733, SIP INFO, "
	"KPML) "
	"are written nowhere\n"
	"  max-pause: 15m                   # a paused recording goes on by itself after so "
	"long\n"
	"  setup-timeout: 4m                # an INVITE without a final answer ends\n"
	"  media-timeout: 4h                # an answered call without media ends\n"
	"  media-only-timeout: 30s          # RTP without signalling that stopped ends\n"
	"raft:\n"
	"  profile: lan                     # or wan, for sites more than 50 ms apart "
	"(election 3s, heartbeat 300ms)\n"
	"  election: 1s                     # without a leader for so long: a new one; at "
	"least "
	"three heartbeats and ten round trips\n"
	"  heartbeat: 50ms                  # at least the round trip to the farthest "
	"voter\n"
	"placement: {copies-per-site: 1}\n"
	"limits:\n"
	"  live-calls: 8192\n"
	"  disk-reserve: 256MiB             # of each disk: below it no new calls (media), "
	"no "
	"entries (state)\n"
	"  ring: 64MiB                      # of the kernel, for each interface\n"
	"  writer-queue: 32MiB\n"
	"  cache: 1GiB                      # ciphertext fetched for listening\n"
	"  sync-rate: 0B                    # a second; 0B: no limit\n"
	"  snapshot-rate: 0B                # a second, of the catalogue to and from "
	"others; "
	"0B: no limit, else 256KiB at least\n"
	"  api-connections: 256\n"
	"tls:\n"
	"  certificate-life: 72h\n"
	"  # api-certificate: /etc/evertape/api.pem   # default: the node's own "
	"certificate\n"
	"  # api-key: /etc/evertape/api.key\n"
	"log: {level: info}                 # debug, info, warn, error\n";

const char *et_config_defaults_text(void)
{
	static char text[sizeof(defaults_sources) + sizeof(defaults_rest)];

	(void)snprintf(text, sizeof(text), "%s%s", defaults_sources, defaults_rest);
	return text;
}

/* ---- Parts of the file ---- */

/* Copy text of at most `size` - 1 bytes. */
static int copy_text(const struct et_yaml_node *node, char *ret, size_t size,
		     struct et_error *reterr)
{
	const char *text;
	int rc = et_yaml_text(node, size - 1, &text, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(ret, size, "%s", text);
	return 0;
}

static int copy_name(const struct et_yaml_node *node, char ret[ET_CONFIG_NAME_MAX + 1],
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

static int need_name(const struct et_yaml_node *map, const char *key,
		     char ret[ET_CONFIG_NAME_MAX + 1], struct et_error *reterr)
{
	const struct et_yaml_node *node;
	int rc = et_yaml_need(map, key, &node, reterr);
	return rc < 0 ? rc : copy_name(node, ret, reterr);
}

/* An absolute path. */
static int copy_path(const struct et_yaml_node *node, char ret[ET_CONFIG_PATH_MAX + 1],
		     struct et_error *reterr)
{
	int rc = copy_text(node, ret, ET_CONFIG_PATH_MAX + 1, reterr);
	if (rc == 0 && ret[0] != '/') {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "%s must be an absolute path, not \"%.64s\"", node->key, ret);
	}
	return rc;
}

static int copy_address(const struct et_yaml_node *node, bool port_zero,
			char ret[ET_CONFIG_ADDRESS_MAX + 1], struct et_error *reterr)
{
	int rc = copy_text(node, ret, ET_CONFIG_ADDRESS_MAX + 1, reterr);
	if (rc == 0 && !et_address_is_valid(ret, port_zero)) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "%s must be an IP address and a port, such as 10.1.0.11:7400, "
				    "not \"%.64s\"",
				    node->key, ret);
	}
	return rc;
}

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
		rc = need_name(map, "name", c->name, reterr);
	}
	if (rc == 0) {
		rc = need_name(map, "site", c->site, reterr);
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
		rc = copy_address(node, /* port_zero= */ true, c->listen_cluster, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(c->advertise, sizeof(c->advertise), "%s", c->listen_cluster);
	node = et_yaml_get(map, "advertise");
	if (node != NULL) {
		rc = copy_address(node, /* port_zero= */ false, c->advertise, reterr);
	}
	node = et_yaml_get(map, "api");
	if (rc == 0 && node != NULL) {
		rc = copy_address(node, /* port_zero= */ true, c->listen_api, reterr);
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
		rc = copy_path(state, c->state, reterr);
	}
	if (rc == 0) {
		rc = et_yaml_need(map, "media", &media, reterr);
	}
	if (rc == 0) {
		rc = copy_path(media, c->media, reterr);
	}
	if (rc == 0 && strcmp(c->state, c->media) == 0) {
		return et_yaml_fail(media, reterr, ET_EMALFORMED,
				    "media and state must be different folders");
	}
	if (rc == 0) {
		rc = et_yaml_need(map, "root", &root, reterr);
	}
	if (rc == 0) {
		rc = copy_text(root, c->root, sizeof(c->root), reterr);
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
	static const char *const known[] = { "interface", "file", "filter", "sip-ports",
					     "key-log" };
	*source = (struct et_config_capture){ .sip_ports = { 5060 }, .sip_port_count = 1 };
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
		rc = copy_text(interface, source->interface, sizeof(source->interface), reterr);
	} else {
		rc = copy_path(file, source->file, reterr);
	}
	bool no_filter =
		filter == NULL || (filter->kind == ET_YAML_SCALAR && filter->text[0] == '\0');
	if (rc == 0 && !no_filter) {
		rc = copy_text(filter, source->filter, sizeof(source->filter), reterr);
	}
	if (rc == 0 && ports != NULL) {
		rc = parse_sip_ports(ports, source, reterr);
	}
	const struct et_yaml_node *keylog = et_yaml_get(map, "key-log");
	if (rc == 0 && keylog != NULL) {
		rc = copy_path(keylog, source->keylog, reterr);
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

static const char *const actions[] = { "skip", "record" };

/* One value or a list of them: run `take` on each. */
static int each_value(const struct et_yaml_node *node, size_t max,
		      int (*take)(const struct et_yaml_node *item, void *arg,
				  struct et_error *reterr),
		      void *arg, struct et_error *reterr)
{
	if (node->kind != ET_YAML_LIST) {
		return take(node, arg, reterr);
	}
	if (node->count == 0 || node->count > max) {
		return et_yaml_fail_key(node, reterr, ET_EMALFORMED, "%s is a list of 1 to %zu",
					node->key, max);
	}
	ET_YAML_EACH(item, node)
	{
		int rc = take(item, arg, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

static int copy_number(const struct et_yaml_node *item, struct et_rule_number *ret,
		       struct et_error *reterr)
{
	const char *why;
	int rc = copy_text(item, ret->text, sizeof(ret->text), reterr);
	if (rc == 0 && !et_rule_number_check(ret->text, &why)) {
		return et_yaml_fail(item, reterr, ET_EMALFORMED, "\"%s\" %s", ret->text, why);
	}
	return rc;
}

static int take_number(const struct et_yaml_node *item, void *arg, struct et_error *reterr)
{
	struct et_rule_numbers *n = arg;
	return copy_number(item, &n->list[n->count++], reterr);
}

static int take_direction(const struct et_yaml_node *item, void *arg, struct et_error *reterr)
{
	static const char *const names[] = { "inbound", "outbound", "internal", "external" };
	unsigned *directions = arg;
	size_t which;
	int rc = et_yaml_choice(item, names, ET_ARRAY_SIZE(names), &which, reterr);
	if (rc == 0) {
		*directions |= 1U << which;
	}
	return rc;
}

static int take_site(const struct et_yaml_node *item, void *arg, struct et_error *reterr)
{
	struct et_rule *rule = arg;
	return copy_name(item, rule->sites[rule->site_count++], reterr);
}

static const char *const day_names[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

/* "mon", or "mon-fri"; "sat-mon" goes over the week's end. */
static int take_days(const struct et_yaml_node *item, void *arg, struct et_error *reterr)
{
	struct et_rule_time *t = arg;
	char text[8];
	size_t from = 7;
	size_t to = 7;
	int rc = copy_text(item, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < 7; i++) {
		if (strncmp(text, day_names[i], 3) == 0) {
			from = i;
			to = text[3] == '\0' ? i : to;
		}
		if (text[3] == '-' && strcmp(text + 4, day_names[i]) == 0) {
			to = i;
		}
	}
	if (from == 7 || to == 7) {
		return et_yaml_fail(item, reterr, ET_EMALFORMED,
				    "days are mon, tue, wed, thu, fri, sat, sun or mon-fri, not "
				    "\"%s\"",
				    text);
	}
	for (size_t i = from; i != to; i = (i + 1) % 7) {
		t->days = (uint8_t)(t->days | 1U << i);
	}
	t->days = (uint8_t)(t->days | 1U << to);
	return 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "08:00" to "24:00", as minutes. */
static int take_minute(const struct et_yaml_node *item, uint16_t *ret, struct et_error *reterr)
{
	char text[8];
	int rc = copy_text(item, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	unsigned minute = 1441;
	if (strlen(text) == 5 && is_digit(text[0]) && is_digit(text[1]) && text[2] == ':' &&
	    is_digit(text[3]) && is_digit(text[4]) && text[3] < '6') {
		minute = (unsigned)((text[0] - '0') * 10 + text[1] - '0') * 60 +
			 (unsigned)((text[3] - '0') * 10 + text[4] - '0');
	}
	if (minute > 1440) {
		return et_yaml_fail(item, reterr, ET_EMALFORMED,
				    "%s is a time of day from \"00:00\" to \"24:00\", not \"%s\"",
				    item->key, text);
	}
	*ret = (uint16_t)minute;
	return 0;
}

/* The number of the zone among those that the rules name; read when it is new. */
static int take_zone(const struct et_yaml_node *item, struct et_rules *rules, uint8_t *ret,
		     struct et_error *reterr)
{
	char name[ET_ZONE_NAME_MAX + 1];
	struct et_error e;
	int rc = copy_text(item, name, sizeof(name), reterr);
	if (rc < 0) {
		return rc;
	}
	for (uint32_t i = 0; i < rules->zone_count; i++) {
		if (strcmp(rules->zones[i].name, name) == 0) {
			*ret = (uint8_t)i;
			return 0;
		}
	}
	if (rules->zone_count == ET_RULE_ZONES_MAX) {
		return et_yaml_fail(item, reterr, ET_ELIMIT, "more than %d time zones",
				    ET_RULE_ZONES_MAX);
	}
	if (et_zone_load(name, &rules->zones[rules->zone_count], &e) < 0) {
		return et_yaml_fail(item, reterr, ET_EMALFORMED, "%s", e.text);
	}
	*ret = (uint8_t)rules->zone_count++;
	return 0;
}

static int parse_rule_time(const struct et_yaml_node *map, struct et_rules *rules,
			   struct et_rule_time *t, struct et_error *reterr)
{
	static const char *const known[] = { "zone", "days", "from", "to" };
	const struct et_yaml_node *zone;
	const struct et_yaml_node *days = et_yaml_get(map, "days");
	const struct et_yaml_node *from = et_yaml_get(map, "from");
	const struct et_yaml_node *to = et_yaml_get(map, "to");
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = et_yaml_need(map, "zone", &zone, reterr);
	}
	if (rc == 0) {
		rc = take_zone(zone, rules, &t->zone, reterr);
	}
	t->given = true;
	t->days = days == NULL ? 0x7F : 0;
	t->to_minute = 1440;
	if (rc == 0 && days != NULL) {
		rc = each_value(days, 7, take_days, t, reterr);
	}
	if (rc == 0 && from != NULL) {
		rc = take_minute(from, &t->from_minute, reterr);
	}
	if (rc == 0 && to != NULL) {
		rc = take_minute(to, &t->to_minute, reterr);
	}
	if (rc == 0 && t->from_minute == t->to_minute) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"time ends when it begins: leave from and to out for the "
					"whole day");
	}
	return rc;
}

static int parse_headers(const struct et_yaml_node *map, struct et_rule *rule,
			 struct et_error *reterr)
{
	int rc = et_yaml_is_map(map, reterr);
	if (rc == 0 && (map->count == 0 || map->count > ET_RULE_HEADERS_MAX)) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"header names 1 to %d headers and their patterns",
					ET_RULE_HEADERS_MAX);
	}
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(item, map)
	{
		struct et_rule_header *h = &rule->headers[rule->header_count++];
		size_t size = strlen(item->key);
		if (size == 0 || size > ET_RULE_NAME_MAX || strpbrk(item->key, " \t:") != NULL) {
			return et_yaml_fail_key(item, reterr, ET_EMALFORMED,
						"\"%.64s\" is no name of a header", item->key);
		}
		(void)snprintf(h->name, sizeof(h->name), "%s", item->key);
		rc = copy_text(item, h->value, sizeof(h->value), reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* "10%", "0.25%": hundredths of a percent. */
static int parse_sample(const struct et_yaml_node *node, uint32_t *ret, struct et_error *reterr)
{
	char text[16];
	uint32_t value = 0;
	uint32_t decimals = 0;
	int rc = copy_text(node, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	const char *p = text;
	while (is_digit(*p) && value <= 100) {
		value = value * 10 + (uint32_t)(*p++ - '0');
	}
	bool sound = p != text;
	if (*p == '.') {
		for (p++; is_digit(*p) && decimals < 2; decimals++) {
			value = value * 10 + (uint32_t)(*p++ - '0');
		}
		sound = sound && decimals > 0;
	}
	for (; decimals < 2; decimals++) {
		value *= 10;
	}
	if (!sound || strcmp(p, "%") != 0 || value == 0 || value > ET_RULE_SAMPLE_ALL) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "sample is a share from 0.01%% to 100%%, not \"%s\"", text);
	}
	*ret = value;
	return 0;
}

/* "keep" or "drop"; NULL: not said. */
static int parse_digits(const struct et_yaml_node *node, enum et_rule_digits *ret,
			struct et_error *reterr)
{
	static const char *const words[] = { "keep", "drop" };
	size_t which;
	int rc = node != NULL ? et_yaml_choice(node, words, 2, &which, reterr) : 0;
	if (rc == 0 && node != NULL) {
		*ret = which == 1 ? ET_RULE_DIGITS_DROP : ET_RULE_DIGITS_KEEP;
	}
	return rc;
}

static int parse_keys(const struct et_yaml_node *map, const char *key, char *ret,
		      struct et_error *reterr)
{
	const struct et_yaml_node *node = NULL;
	char text[32];
	int rc = et_yaml_need(map, key, &node, reterr);
	rc = rc < 0 ? rc : copy_text(node, text, sizeof(text), reterr);
	if (rc == 0 && !et_rule_keys_check(text)) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "%s is 1 to %d keys of 0-9 * # A-D, such as \"*7\", not \"%s\"",
				    key, ET_RULE_KEYS_MAX, text);
	}
	if (rc == 0) {
		memcpy(ret, text, strlen(text) + 1);
	}
	return rc;
}

/* {start: "*7", stop: "*8", by: caller, without-key: pause, max: 5m} */
static int parse_rule_pause(const struct et_yaml_node *map, struct et_rule *rule,
			    struct et_error *reterr)
{
	static const char *const known[] = { "start", "stop", "by", "without-key", "max" };
	static const char *const whose[] = { "any", "caller", "callee" };
	static const char *const without[] = { "record", "pause" };
	const struct et_yaml_node *node;
	size_t which = 0;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc : parse_keys(map, "start", rule->pause.start, reterr);
	rc = rc < 0 ? rc : parse_keys(map, "stop", rule->pause.stop, reterr);
	if (rc == 0 && rule->action != ET_RULE_RECORD) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"a rule that records nothing pauses nothing");
	}
	if (rc == 0 && (node = et_yaml_get(map, "by")) != NULL) {
		rc = et_yaml_choice(node, whose, ET_ARRAY_SIZE(whose), &which, reterr);
		rule->pause.by = (enum et_rule_by)which;
	}
	if (rc == 0 && (node = et_yaml_get(map, "without-key")) != NULL) {
		rc = et_yaml_choice(node, without, ET_ARRAY_SIZE(without), &which, reterr);
		rule->pause.without_key = rc == 0 && which == 1;
	}
	if (rc == 0 && (node = et_yaml_get(map, "max")) != NULL) {
		rc = et_yaml_duration(node, 1000000, 86400 * (int64_t)1000000, &rule->pause.max_us,
				      reterr);
	}
	return rc;
}

static int parse_rule_action(const struct et_yaml_node *map, struct et_rule *rule,
			     struct et_error *reterr)
{
	const struct et_yaml_node *node;
	size_t action;
	int rc = need_name(map, "name", rule->name, reterr);
	if (rc == 0 && strcmp(rule->name, "default") == 0) {
		return et_yaml_fail(et_yaml_get(map, "name"), reterr, ET_EMALFORMED,
				    "no rule is named default: recording.default is");
	}
	if (rc == 0) {
		rc = et_yaml_need(map, "action", &node, reterr);
	}
	if (rc == 0) {
		rc = et_yaml_choice(node, actions, 2, &action, reterr);
	}
	if (rc == 0) {
		rule->action = action == 1 ? ET_RULE_RECORD : ET_RULE_SKIP;
		rc = parse_digits(et_yaml_get(map, "digits"), &rule->digits, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "pause")) != NULL) {
		rc = parse_rule_pause(node, rule, reterr);
	}
	return rc;
}

static int take_agent(const struct et_yaml_node *node, void *arg, struct et_error *reterr)
{
	struct et_rule *rule = arg;
	char *to = rule->agents[rule->agent_count++];
	int rc = copy_text(node, to, sizeof(rule->agents[0]), reterr);
	const char *name = strncmp(to, "team:", 5) == 0 ? to + 5 : to;
	if (rc == 0 && (*name == '\0' || strlen(name) > ET_AGENT_TEXT_MAX)) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "agent is an agent's id or team:NAME, 1 to %d bytes",
				    ET_AGENT_TEXT_MAX);
	}
	return rc;
}

static int parse_rule(const struct et_yaml_node *map, struct et_rules *rules, struct et_rule *rule,
		      struct et_error *reterr)
{
	static const char *const known[] = { "name",   "from",	"to",	  "direction",	"site",
					     "header", "time",	"sample", "media-only", "action",
					     "digits", "pause", "agent" };
	*rule = (struct et_rule){ .name = "" };
	const struct et_yaml_node *node;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = parse_rule_action(map, rule, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "from")) != NULL) {
		rc = each_value(node, ET_RULE_NUMBERS_MAX, take_number, &rule->from, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "to")) != NULL) {
		rc = each_value(node, ET_RULE_NUMBERS_MAX, take_number, &rule->to, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "direction")) != NULL) {
		rc = each_value(node, 4, take_direction, &rule->directions, reterr);
		if (rc == 0 && rules->own_count == 0) {
			return et_yaml_fail_key(node, reterr, ET_EMALFORMED,
						"direction needs recording: {own-numbers: [...]}");
		}
	}
	if (rc == 0 && (node = et_yaml_get(map, "site")) != NULL) {
		rc = each_value(node, ET_RULE_SITES_MAX, take_site, rule, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "agent")) != NULL) {
		rc = each_value(node, ET_RULE_AGENTS_MAX, take_agent, rule, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "header")) != NULL) {
		rc = parse_headers(node, rule, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "time")) != NULL) {
		rc = parse_rule_time(node, rules, &rule->time, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "sample")) != NULL) {
		rc = parse_sample(node, &rule->sample, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "media-only")) != NULL) {
		rc = et_yaml_bool(node, &rule->media_only, reterr);
	}
	return rc;
}

static int parse_rules(const struct et_yaml_node *list, struct et_rules *rules,
		       struct et_error *reterr)
{
	int rc = et_yaml_is_list(list, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(item, list)
	{
		if (rules->count == ET_RULES_MAX) {
			return et_yaml_fail(item, reterr, ET_ELIMIT, "more than %d rules",
					    ET_RULES_MAX);
		}
		struct et_rule *rule = &rules->rules[rules->count];
		rc = parse_rule(item, rules, rule, reterr);
		if (rc < 0) {
			return rc;
		}
		for (uint32_t i = 0; i < rules->count; i++) {
			if (strcmp(rules->rules[i].name, rule->name) == 0) {
				return et_yaml_fail(item, reterr, ET_EMALFORMED,
						    "two rules are named %s", rule->name);
			}
		}
		rules->count++;
	}
	return 0;
}

static int parse_own_numbers(const struct et_yaml_node *list, struct et_rules *rules,
			     struct et_error *reterr)
{
	int rc = et_yaml_is_list(list, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(item, list)
	{
		if (rules->own_count == ET_RULE_OWN_MAX) {
			return et_yaml_fail(item, reterr, ET_ELIMIT, "more than %d own numbers",
					    ET_RULE_OWN_MAX);
		}
		rc = copy_number(item, &rules->own[rules->own_count++], reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* {header: NAME}, or {numbers: 9, within: 5s} */
static int parse_join(const struct et_yaml_node *map, struct et_join *j, struct et_error *reterr)
{
	static const char *const known[] = { "header", "numbers", "within" };
	uint64_t digits = 0;

	*j = (struct et_join){ .by = ET_JOIN_HEADER, .within_us = 5000000 };
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	const struct et_yaml_node *header = et_yaml_get(map, "header");
	const struct et_yaml_node *numbers = et_yaml_get(map, "numbers");
	const struct et_yaml_node *within = et_yaml_get(map, "within");
	if (rc == 0 &&
	    ((header == NULL) == (numbers == NULL) || (header != NULL && within != NULL))) {
		return et_yaml_fail(map, reterr, ET_EMALFORMED,
				    "join is {header: NAME}, or {numbers: DIGITS, within: 5s}");
	}
	if (rc == 0 && header != NULL) {
		rc = copy_text(header, j->header, sizeof(j->header), reterr);
		if (rc == 0 && (j->header[0] == '\0' || strpbrk(j->header, " \t:") != NULL)) {
			return et_yaml_fail(header, reterr, ET_EMALFORMED,
					    "\"%s\" is no name of a header", j->header);
		}
		return rc;
	}
	j->by = ET_JOIN_NUMBERS;
	rc = rc < 0 ? rc
		    : et_yaml_uint(numbers, ET_JOIN_DIGITS_MIN, ET_JOIN_DIGITS_MAX, &digits,
				   reterr);
	j->digits = (uint32_t)digits;
	return rc < 0 || within == NULL ? rc
					: et_yaml_duration(within, 100000, 60 * (int64_t)1000000,
							   &j->within_us, reterr);
}

static int parse_joins(const struct et_yaml_node *list, struct et_rules *rules,
		       struct et_error *reterr)
{
	bool by_numbers = false;
	int rc = et_yaml_is_list(list, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(item, list)
	{
		if (rules->join_count == ET_JOINS_MAX) {
			return et_yaml_fail(item, reterr, ET_ELIMIT, "more than %d ways to join",
					    ET_JOINS_MAX);
		}
		struct et_join *j = &rules->joins[rules->join_count++];
		rc = parse_join(item, j, reterr);
		if (rc < 0) {
			return rc;
		}
		if (j->by == ET_JOIN_NUMBERS && by_numbers) {
			return et_yaml_fail(item, reterr, ET_EMALFORMED,
					    "join: numbers stands there twice");
		}
		by_numbers = by_numbers || j->by == ET_JOIN_NUMBERS;
	}
	return 0;
}

/* ---- Optional values: left at their default when the key is not there ---- */

static int maybe_duration(const struct et_yaml_node *map, const char *key, int64_t min_us,
			  int64_t max_us, int64_t *ret, struct et_error *reterr)
{
	const struct et_yaml_node *node = et_yaml_get(map, key);
	return node == NULL ? 0 : et_yaml_duration(node, min_us, max_us, ret, reterr);
}

static int maybe_bytes(const struct et_yaml_node *map, const char *key, uint64_t min, uint64_t max,
		       uint64_t *ret, struct et_error *reterr)
{
	const struct et_yaml_node *node = et_yaml_get(map, key);
	return node == NULL ? 0 : et_yaml_bytes(node, min, max, ret, reterr);
}

static int maybe_u32(const struct et_yaml_node *map, const char *key, uint32_t min, uint32_t max,
		     uint32_t *ret, struct et_error *reterr)
{
	const struct et_yaml_node *node = et_yaml_get(map, key);
	if (node == NULL) {
		return 0;
	}
	uint64_t v;
	int rc = et_yaml_uint(node, min, max, &v, reterr);
	if (rc == 0) {
		*ret = (uint32_t)v;
	}
	return rc;
}

static int parse_recording(const struct et_yaml_node *map, struct et_config *c,
			   struct et_error *reterr)
{
	static const char *const known[] = {
		"join",		 "default",	  "own-numbers",
		"rules",	 "max-pause",	  "digits",
		"setup-timeout", "media-timeout", "media-only-timeout"
	};
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	const struct et_yaml_node *node = et_yaml_get(map, "default");
	if (rc == 0 && node != NULL) {
		size_t action;
		rc = et_yaml_choice(node, actions, 2, &action, reterr);
		c->rules.otherwise = rc == 0 && action == 1 ? ET_RULE_RECORD : ET_RULE_SKIP;
	}
	if (rc == 0) {
		rc = parse_digits(et_yaml_get(map, "digits"), &c->rules.digits, reterr);
	}
	node = et_yaml_get(map, "own-numbers");
	if (rc == 0 && node != NULL) { /* before the rules: they look at it */
		rc = parse_own_numbers(node, &c->rules, reterr);
	}
	node = et_yaml_get(map, "rules");
	if (rc == 0 && node != NULL) {
		rc = parse_rules(node, &c->rules, reterr);
	}
	node = et_yaml_get(map, "join");
	if (rc == 0 && node != NULL) {
		rc = parse_joins(node, &c->rules, reterr);
	}
	if (rc == 0) {
		rc = maybe_duration(map, "max-pause", 1 * S, 86400 * S, &c->max_pause_us, reterr);
	}
	if (rc == 0) {
		rc = maybe_duration(map, "setup-timeout", 5 * S, 3600 * S, &c->setup_timeout_us,
				    reterr);
	}
	if (rc == 0) {
		rc = maybe_duration(map, "media-timeout", 5 * S, 86400 * 7 * S,
				    &c->media_timeout_us, reterr);
	}
	if (rc == 0) {
		rc = maybe_duration(map, "media-only-timeout", 1 * S, 86400 * S,
				    &c->media_only_timeout_us, reterr);
	}
	return rc;
}

/* The IP address of "ip:port" or "[ip]:port". */
static void copy_ip(const char *address, char *ret, size_t size)
{
	const char *start = address[0] == '[' ? address + 1 : address;
	int n = (int)strcspn(start, address[0] == '[' ? "]" : ":");
	(void)snprintf(ret, size, "%.*s", n, start);
}

static bool is_wildcard(const char *ip)
{
	return strcmp(ip, "0.0.0.0") == 0 || strspn(ip, "0:") == strlen(ip);
}

static int parse_siprec_address(const struct et_yaml_node *item, struct et_config_siprec *s,
				struct et_error *reterr)
{
	static const char *const schemes[] = { "udp://", "tcp://", "tls://" };
	char text[ET_CONFIG_ADDRESS_MAX + 8];
	char ip[ET_CONFIG_ADDRESS_MAX + 1];
	int rc = copy_text(item, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(schemes); i++) {
		size_t size = strlen(schemes[i]);
		const char *address = text + size;
		if (strncmp(text, schemes[i], size) != 0 ||
		    strlen(address) > ET_CONFIG_ADDRESS_MAX ||
		    !et_address_is_valid(address, false)) {
			continue;
		}
		copy_ip(address, ip, sizeof(ip));
		if (is_wildcard(ip)) {
			return et_yaml_fail(item, reterr, ET_EMALFORMED,
					    "siprec: clients are told this address: name one of "
					    "this machine, not %s",
					    ip);
		}
		s->listens[s->listen_count].transport = (enum et_config_transport)i;
		memcpy(s->listens[s->listen_count].address, address, strlen(address) + 1);
		s->listen_count++;
		return 0;
	}
	return et_yaml_fail(item, reterr, ET_EMALFORMED,
			    "siprec: listen is udp://ADDRESS:PORT, tcp:// or tls://, not "
			    "\"%.64s\"",
			    text);
}

static int parse_siprec_listen(const struct et_yaml_node *list, struct et_config_siprec *s,
			       struct et_error *reterr)
{
	int rc = et_yaml_is_list(list, reterr);
	if (rc == 0 && (list->count == 0 || list->count > ET_CONFIG_LISTENS_MAX)) {
		return et_yaml_fail_key(list, reterr, ET_EMALFORMED,
					"siprec: listen needs 1 to %d addresses",
					ET_CONFIG_LISTENS_MAX);
	}
	if (rc == 0) {
		ET_YAML_EACH(item, list)
		{
			rc = parse_siprec_address(item, s, reterr);
			if (rc < 0) {
				return rc;
			}
		}
	}
	return rc;
}

/* "20000-24999" */
static int parse_media_ports(const struct et_yaml_node *node, struct et_config_siprec *s,
			     struct et_error *reterr)
{
	char text[16];
	unsigned first = 0;
	unsigned last = 0;
	int end = 0;
	int rc = copy_text(node, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	if (sscanf(text, "%5u-%5u%n", &first, &last, &end) != 2 || text[end] != '\0' ||
	    first < 1024 || last > 65535 || first + first % 2 + 1 > last) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "siprec: media-ports is FIRST-LAST, 1024 to 65535, such as "
				    "20000-24999, not \"%.15s\"",
				    text);
	}
	s->port_first = (uint16_t)first;
	s->port_last = (uint16_t)last;
	return 0;
}

static int parse_siprec_media(const struct et_yaml_node *map, struct et_config_siprec *s,
			      struct et_error *reterr)
{
	const struct et_yaml_node *node = et_yaml_get(map, "media");
	char text[ET_CONFIG_ADDRESS_MAX + 8];
	copy_ip(s->listens[0].address, s->media, sizeof(s->media));
	int rc = node != NULL ? copy_text(node, s->media, sizeof(s->media), reterr) : 0;
	if (rc < 0) {
		return rc;
	}
	bool ipv6 = strchr(s->media, ':') != NULL;
	(void)snprintf(text, sizeof(text), ipv6 ? "[%s]:1" : "%s:1", s->media);
	if (!et_address_is_valid(text, false) || is_wildcard(s->media)) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "siprec: media is an IP address of this machine, not \"%s\"",
				    s->media);
	}
	node = et_yaml_get(map, "media-ports");
	return node != NULL ? parse_media_ports(node, s, reterr) : 0;
}

/* The certificate that clients over TLS are shown. */
static int parse_siprec_files(const struct et_yaml_node *map, struct et_config_siprec *s,
			      struct et_error *reterr)
{
	const struct et_yaml_node *certificate = et_yaml_get(map, "certificate");
	const struct et_yaml_node *key = et_yaml_get(map, "key");
	bool tls = false;
	for (uint32_t i = 0; i < s->listen_count; i++) {
		tls = tls || s->listens[i].transport == ET_CONFIG_TLS;
	}
	if ((certificate != NULL) != tls || (key != NULL) != tls) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"siprec: a listen of tls:// goes with certificate and key");
	}
	if (!tls) {
		return 0;
	}
	int rc = copy_path(certificate, s->certificate, reterr);
	return rc < 0 ? rc : copy_path(key, s->key, reterr);
}

static int parse_siprec(const struct et_yaml_node *map, struct et_config *c,
			struct et_error *reterr)
{
	static const char *const known[] = { "listen",	 "media",	"media-ports",
					     "sessions", "connections", "certificate",
					     "key" };
	const struct et_yaml_node *listen;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = et_yaml_need(map, "listen", &listen, reterr);
	}
	if (rc == 0) {
		rc = parse_siprec_listen(listen, &c->siprec, reterr);
	}
	if (rc == 0) {
		rc = parse_siprec_media(map, &c->siprec, reterr);
	}
	if (rc == 0) {
		rc = maybe_u32(map, "sessions", 1, 100000, &c->siprec.sessions, reterr);
	}
	if (rc == 0) {
		rc = maybe_u32(map, "connections", 1, 65536, &c->siprec.connections, reterr);
	}
	if (rc == 0) {
		rc = parse_siprec_files(map, &c->siprec, reterr);
	}
	if (rc == 0 && (c->roles & ET_ROLE_CAPTURE) == 0) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"this node takes recording sessions, but its roles lack "
					"capture");
	}
	return rc;
}

static int parse_socket_mode(const struct et_yaml_node *node, uint32_t *ret,
			     struct et_error *reterr)
{
	char text[16];
	char *end = NULL;

	int rc = copy_text(node, text, sizeof(text), reterr);
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
	rc = rc < 0 ? rc : copy_path(path, k->path, reterr);
	const struct et_yaml_node *group = et_yaml_get(map, "group");
	if (rc == 0 && group != NULL) {
		rc = copy_text(group, k->group, sizeof(k->group), reterr);
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
		rc = maybe_duration(map, "election", S / 10, 60 * S, &c->election_us, reterr);
	}
	if (rc == 0) {
		rc = maybe_duration(map, "heartbeat", S / 100, 10 * S, &c->heartbeat_us, reterr);
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
	return rc < 0 ? rc : copy_path(folder, c->backup_folder, reterr);
}

static int parse_placement(const struct et_yaml_node *map, struct et_config *c,
			   struct et_error *reterr)
{
	static const char *const known[] = { "copies-per-site" };
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	return rc < 0 ? rc : maybe_u32(map, "copies-per-site", 1, 8, &c->copies_per_site, reterr);
}

static int parse_limits(const struct et_yaml_node *map, struct et_config *c,
			struct et_error *reterr)
{
	static const char *const known[] = { "live-calls",    "disk-reserve",	"ring",
					     "writer-queue",  "cache",		"sync-rate",
					     "snapshot-rate", "api-connections" };
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = maybe_u32(map, "live-calls", 1, 100000, &c->limits.live_calls, reterr);
	}
	if (rc == 0) {
		rc = maybe_bytes(map, "disk-reserve", MIB, 16 * TIB, &c->limits.disk_reserve_bytes,
				 reterr);
	}
	if (rc == 0) {
		rc = maybe_bytes(map, "ring", MIB, 2 * GIB, &c->limits.ring_bytes, reterr);
	}
	if (rc == 0) {
		rc = maybe_bytes(map, "writer-queue", MIB, 2 * GIB, &c->limits.queue_bytes, reterr);
	}
	if (rc == 0) {
		rc = maybe_bytes(map, "cache", MIB, 16 * TIB, &c->limits.cache_bytes, reterr);
	}
	if (rc == 0) {
		rc = maybe_bytes(map, "sync-rate", 0, TIB, &c->limits.sync_rate_bytes, reterr);
	}
	if (rc == 0) {
		rc = maybe_bytes(map, "snapshot-rate", 0, TIB, &c->limits.snapshot_rate_bytes,
				 reterr);
	}
	if (rc == 0 && c->limits.snapshot_rate_bytes > 0 &&
	    c->limits.snapshot_rate_bytes < SNAPSHOT_RATE_MIN) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"limits: snapshot-rate must be 0B (no limit) or at least "
					"256KiB a second");
	}
	if (rc == 0) {
		rc = maybe_u32(map, "api-connections", 4, 4096, &c->limits.api_connections, reterr);
	}
	return rc;
}

static int parse_tls(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	static const char *const known[] = { "certificate-life", "api-certificate", "api-key" };
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = maybe_duration(map, "certificate-life", 2 * S, 86400 * 366 * S,
				    &c->tls.certificate_life_us, reterr);
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
		rc = copy_path(certificate, c->tls.api_certificate, reterr);
	}
	if (rc == 0 && key != NULL) {
		rc = copy_path(key, c->tls.api_key, reterr);
	}
	return rc;
}

static int parse_log(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	static const char *const known[] = { "level" };
	static const char *const levels[] = { "debug", "info", "warn", "error" };
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	const struct et_yaml_node *node = et_yaml_get(map, "level");
	if (rc < 0 || node == NULL) {
		return rc;
	}
	size_t which;
	rc = et_yaml_choice(node, levels, ET_ARRAY_SIZE(levels), &which, reterr);
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
	{ "siprec", false, parse_siprec },   /* ... and so do these */
	{ "key-socket", false, parse_key_socket },
	{ "recording", false, parse_recording },
	{ "raft", false, parse_raft },
	{ "backup", false, parse_backup },
	{ "placement", false, parse_placement },
	{ "limits", false, parse_limits },
	{ "tls", false, parse_tls },
	{ "log", false, parse_log },
};

static int config_read(const struct et_yaml_node *root, struct et_config *c,
		       struct et_error *reterr)
{
	const char *known[ET_ARRAY_SIZE(parts) + 1] = { "cluster" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(parts); i++) {
		known[i + 1] = parts[i].key;
	}
	int rc = et_yaml_check_keys(root, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = need_name(root, "cluster", c->cluster, reterr);
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
	ET_CLEANUP(et_yaml_freep) struct et_yaml *y = NULL;
	int rc = et_yaml_load(path, &y, reterr);
	return rc < 0 ? rc : config_from(y, path, ret, reterr);
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
