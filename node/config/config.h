/* evertape.yaml: what one node is told by the person who installs it.
 *
 *   cluster: acme-voice
 *   node: {name: prg-1, site: prg, roles: [voter, vault, capture, api]}
 *   listen: {cluster: 10.1.0.11:7400, api: 0.0.0.0:7443}
 *   data: {state: /var/lib/evertape/state, media: /var/lib/evertape/media,
 *          root: file:/etc/evertape/root.key}
 *   capture: [{interface: eth1, filter: "", sip-ports: [5060]}]
 *
 * Everything else has a default, which et_config_defaults_text() lists. Unknown and duplicate keys
 * are errors; every error begins with "file:line:col: ". The file holds no secret: keys are named
 * by path.
 *
 * What the cluster as a whole decides (placement and archive policy, retention) is in the catalogue
 * and not here. */
#ifndef ET_NODE_CONFIG_CONFIG_H
#define ET_NODE_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/log.h"
#include "node/base/role.h"
#include "node/root/root.h"
#include "node/rule/rule.h"
#include "node/text/json.h"
#include "node/text/units.h"

#define ET_CONFIG_NAME_MAX 63	  /* bytes of a name (node/text/units.h) */
#define ET_CONFIG_PATH_MAX 512	  /* bytes of a path: a Unix socket's own limit is checked apart */
#define ET_CONFIG_ADDRESS_MAX 63  /* bytes of "ip:port" */
#define ET_CONFIG_FILTER_MAX 1024 /* bytes of a pcap filter */
#define ET_CONFIG_CAPTURES_MAX 16
#define ET_CONFIG_SIP_PORTS_MAX 16
#define ET_CONFIG_RINGS_MAX 16

/* A source of packets: a live interface, or a capture file (which ends). Exactly one is set. */
struct et_config_capture {
	char interface[64];		   /* or "" */
	char file[ET_CONFIG_PATH_MAX + 1]; /* or "" */
	char filter[ET_CONFIG_FILTER_MAX + 1];
	char keylog[ET_CONFIG_PATH_MAX + 1]; /* a TLS key log, or "" */
	uint16_t sip_ports[ET_CONFIG_SIP_PORTS_MAX];
	uint32_t sip_port_count;
	uint32_t rings; /* rings: 1 of the interface */
};

/* The recording server for SIPREC clients; without listens there is none. */
#define ET_CONFIG_LISTENS_MAX 8
#define ET_CONFIG_ALLOW_MAX 64

enum et_config_transport { ET_CONFIG_UDP, ET_CONFIG_TCP, ET_CONFIG_TLS };

struct et_config_siprec {
	struct {
		enum et_config_transport transport;
		char address[ET_CONFIG_ADDRESS_MAX + 1]; /* "10.1.0.11:5060"; never a wildcard */
	} listens[ET_CONFIG_LISTENS_MAX]; /* listen: [udp://10.1.0.11:5060, tcp://…, tls://…] */
	uint32_t listen_count;
	char media[ET_CONFIG_ADDRESS_MAX + 1]; /* media: 10.1.0.11; default: that of the first */
	uint16_t port_first;		       /* media-ports: 20000-24999 */
	uint16_t port_last;
	uint32_t sessions;			  /* sessions: 1024 */
	uint32_t connections;			  /* connections: 256 of TCP and TLS */
	char certificate[ET_CONFIG_PATH_MAX + 1]; /* with tls: PEM */
	char key[ET_CONFIG_PATH_MAX + 1];
	/* Who may record here. */
	struct et_range allow[ET_CONFIG_ALLOW_MAX]; /* allow: [10.1.0.0/24]; none: any address */
	uint32_t allow_count;
	char client_ca[ET_CONFIG_PATH_MAX + 1]; /* client-ca: PEM; "": TLS asks for none */
};

/* Where keys are given while calls run; without a path there is none. */
struct et_config_key_socket {
	char path[ET_CONFIG_PATH_MAX + 1];
	char group[ET_CONFIG_NAME_MAX + 1]; /* group: NAME; "": nobody but root and the daemon */
	uint32_t mode;			    /* mode: "0660" with a group, "0600" without */
};

/* Plain values, nothing owned: may be copied. About 256 KiB: off the stack. */
/* Which tapes are padded: node/capture has the same words in the same order. */
enum et_config_padding {
	ET_CONFIG_PADDING_AUTO,
	ET_CONFIG_PADDING_NONE,
	ET_CONFIG_PADDING_ALWAYS,
};

struct et_config {
	char file[ET_CONFIG_PATH_MAX + 1]; /* where it was read from */

	char cluster[ET_CONFIG_NAME_MAX + 1];
	char name[ET_CONFIG_NAME_MAX + 1];
	char site[ET_CONFIG_NAME_MAX + 1];
	uint32_t roles; /* enum et_role */

	char listen_cluster[ET_CONFIG_ADDRESS_MAX + 1];
	char advertise[ET_CONFIG_ADDRESS_MAX + 1]; /* what peers connect to; default: listen_cluster
						    */
	char listen_api[ET_CONFIG_ADDRESS_MAX + 1]; /* HTTPS; "" without the role api */

	char state[ET_CONFIG_PATH_MAX + 1]; /* folder */
	char media[ET_CONFIG_PATH_MAX + 1]; /* folder */
	char backup_folder[ET_CONFIG_PATH_MAX +
			   1];		 /* base backups and the log go there; "": nowhere */
	char root[ET_ROOT_SPEC_MAX + 1]; /* where the node root is: node/root/root.h */

	struct et_config_capture captures[ET_CONFIG_CAPTURES_MAX];
	uint32_t capture_count;

	struct et_config_siprec siprec;
	struct et_config_key_socket key_socket;

	/* recording: {default: record, rules: [...], setup-timeout: 4m, ...} */
	struct et_rules rules;	       /* and default: record | skip, own-numbers: [...] */
	int64_t max_pause_us;	       /* a paused recording goes on by itself */
	int64_t setup_timeout_us;      /* an INVITE without a final answer ends */
	int64_t media_timeout_us;      /* an answered call without media ends */
	int64_t media_only_timeout_us; /* RTP without signalling that stopped ends */

	int64_t election_us;  /* raft: {election: 1s}; with profile: wan 3s */
	int64_t heartbeat_us; /* raft: {heartbeat: 50ms}; with profile: wan 300ms */

	struct {
		uint32_t live_calls;	     /* live-calls: 8192 */
		uint64_t disk_reserve_bytes; /* disk-reserve: 256MiB of each disk; below it new
					      * calls are refused (media), and no entries are taken
					      * (state) */
		uint64_t demand_bytes;	     /* on-demand: 8GiB of media that nobody kept (yet) */
		uint64_t ring_bytes;	     /* ring: 64MiB of the kernel's, each of an interface */
		uint64_t queue_bytes;	     /* writer-queue: 32MiB between ring and writer */
		uint64_t cache_bytes;	     /* cache: 1GiB of ciphertext fetched for listening */
		uint64_t sync_rate_bytes;    /* sync-rate: 0 bytes a second: no limit */
		uint64_t snapshot_rate_bytes; /* snapshot-rate: 0 bytes a second: no limit */
		uint32_t api_connections;     /* api-connections: 256 */
	} limits;

	struct {
		enum et_config_padding padding; /* tapes: {padding: auto | none | always, */
		uint64_t rate_bytes; /* padding-rate: 8KiB} a second, to begin with; 1 to 128 KiB */
	} tapes;

	uint32_t copies_per_site; /* placement: {copies-per-site: 1, tail: 1s} */
	int64_t tail_us; /* open segments of other nodes are tailed so often; off or 0s: 0 */

	struct {
		int64_t every_us; /* scrub: {every: 30d}, 1 s (for tests) to 366 d; off or 0s: 0 */
		uint64_t rate_bytes; /* scrub: {rate: 20MiB} read a second, from 64 KiB on */
	} scrub;

	struct {
		int64_t certificate_life_us; /* tls: {certificate-life: 72h}, 2 s (for tests) to 366
						d */
		/* tls: {api-certificate: PATH, api-key: PATH}: operator's own, PEM; "" for the
		 * node's own certificate. */
		char api_certificate[ET_CONFIG_PATH_MAX + 1];
		char api_key[ET_CONFIG_PATH_MAX + 1];
	} tls;

	enum et_log_level log_level; /* log: {level: info} */
};

/* Parse `size` bytes; `name` stands for the file in errors. On failure *ret is undefined.
 * ET_EMALFORMED, ET_ELIMIT, -ENOMEM. */
int et_config_parse(const char *name, const void *data, size_t size, struct et_config *ret,
		    struct et_error *reterr) ET_MUST_CHECK;

/* Read the file (blocks). Also -ENOENT, -EACCES, ... */
int et_config_load(const char *path, struct et_config *ret, struct et_error *reterr) ET_MUST_CHECK;

/* The same, and what it comes to as a list (below): the caller's; or NULL: not asked for. */
int et_config_load_settings(const char *path, struct et_config *ret, json_t **ret_settings,
			    struct et_error *reterr) ET_MUST_CHECK;

/* ---- What is in force, and where it was said (settings.c) ---- */

/* All keys of `c`, which was read from this text: a new array, in the order of the parts, of
 *   {key       "limits.ring", "capture[0].filter", "recording.rules[2]"
 *    value     in force; of a secret: where it lies
 *    source    "file", "default"
 *    at        "FILE:LINE", or null
 *    applies   "restart"; "reload": SIGHUP is enough; "never": it is another node then
 *    common    all nodes should have the same
 *    secret    the value is the place of one} */
json_t *et_config_settings(const struct et_config *c, const void *text, size_t size);
/* The one of this key, borrowed; or NULL. */
const json_t *et_config_setting(const json_t *settings, const char *key);
/* Does SIGHUP bring a change of this key into force? */
bool et_config_is_live(const char *key);
/* What differs: a new array of {key, before, after, before_at, after_at, applies, common}; null:
 * the key is not there. */
json_t *et_config_diff(const json_t *before, const json_t *after);
/* As an evertape.yaml that means the same, each line with where it was said; `defaults`: also what
 * nobody has said. */
void et_config_settings_yaml(const json_t *settings, bool defaults, struct et_buffer *ret);

/* Write `spec` as data.root into the file at `path`, in place of what is there: durably, as a
 * whole, with its owner and mode; comments and everything else stay as they are, which is checked
 * by reading it back before it takes the file's place. ET_EUNSUPPORTED: the value is written in a
 * way that is not found again (folded, with escapes): nothing is changed. */
int et_config_set_root(const char *path, const char *spec, struct et_error *reterr) ET_MUST_CHECK;

/* "voter", "vault", ...; static. NULL: not one role. */
const char *et_config_role_name(enum et_role role);
/* The bit for a name, or 0. */
uint32_t et_config_role_parse(const char *name);

/* "<state>/run/api.sock" into `path` (108 bytes: sun_path). ET_ELIMIT: the state folder is too
 * long. */
int et_config_socket_path(const struct et_config *config, char path[108],
			  struct et_error *reterr) ET_MUST_CHECK;

/* A commented file with every key at its default; static. */
const char *et_config_defaults_text(void);

#endif
