/* The archive policy: which segments go where, when, and when local copies may go.
 *
 *   targets:
 *     cold: {type: dir, path: /srv/archive}
 *     worm: {type: s3, endpoint: "https://s3.example:443", region: eu-central-1, bucket: rec,
 *            style: path, ca-file: /etc/evertape/s3-ca.pem, credentials:
 * "file:/etc/evertape/s3.cred"} rules:
 *     - name: all
 *       select: {site: [prg], min-duration: 2s}
 *       after: 0s                       # since the end of the call
 *       to: cold
 *       pack: {target-size: 32MiB}
 *       local: {keep: 0s}               # after the archive copy was verified; absent: for ever
 *       lock: {mode: compliance, until: 7y}   # since the end of the call; s3 only
 *
 * The first rule that selects a segment decides; what no rule selects stays where it is. Unknown
 * and duplicate keys are errors with file:line:col. All keys: ops/doc/formats/archive-policy.md.
 *
 * Pure: no I/O, no clock, the same answer for the same facts.
 * Threads: a policy is read-only after et_archive_policy_parse(). */
#ifndef ET_ARCHIVE_POLICY_POLICY_H
#define ET_ARCHIVE_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

#define ET_ARCHIVE_POLICY_SIZE_MAX (256 * 1024) /* bytes of YAML: it travels in one command */
#define ET_ARCHIVE_TARGETS_MAX 32
#define ET_ARCHIVE_RULES_MAX 256
#define ET_ARCHIVE_SELECT_MAX 64 /* values of one list */
#define ET_ARCHIVE_NAME_MAX 63	 /* characters of [a-z0-9-] */
#define ET_ARCHIVE_PACK_MIN ((uint64_t)1024 * 1024)
#define ET_ARCHIVE_PACK_MAX ((uint64_t)1024 * 1024 * 1024)
#define ET_ARCHIVE_PACK_DEFAULT ((uint64_t)32 * 1024 * 1024)
#define ET_ARCHIVE_PACK_MEMBERS_MAX 4096 /* and never more in one pack, however small they are */

enum et_archive_store { ET_ARCHIVE_DIR, ET_ARCHIVE_S3, ET_ARCHIVE_S3V2 };
enum et_archive_lock {
	ET_ARCHIVE_LOCK_NONE,
	ET_ARCHIVE_LOCK_GOVERNANCE,
	ET_ARCHIVE_LOCK_COMPLIANCE
};

/* Text is owned by the policy; "" or NULL where nothing was given. */
struct et_archive_target {
	char name[ET_ARCHIVE_NAME_MAX + 1];
	enum et_archive_store type;
	char *path;	/* dir */
	char *endpoint; /* s3, s3v2: "https://host[:port]" */
	char *region;
	char *bucket;
	char *prefix;
	char *ca_file;
	char *credentials; /* path, without "file:" */
	char *storage_class;
	bool virtual_host; /* style: vhost */
	bool insecure_tls;
	uint32_t line; /* where the file names it */
	uint32_t column;
};

/* A list of values; empty selects everything. */
struct et_archive_values {
	char **items; /* owned, each owned */
	size_t count;
};

struct et_archive_rule {
	char name[ET_ARCHIVE_NAME_MAX + 1];
	struct et_archive_values sites;	      /* select.site: where it was captured */
	struct et_archive_values directions;  /* select.direction */
	struct et_archive_values numbers;     /* select.number: either party; "+420*" is a prefix */
	struct et_archive_values recorded_by; /* select.rule: the recording rule that fired */
	int64_t min_duration_us;
	int64_t after_us; /* since the end of the call */
	size_t target;	  /* index into targets */
	uint64_t pack_bytes;
	bool local_goes;       /* `local` is given */
	int64_t local_keep_us; /* since the archive copy was verified */
	enum et_archive_lock lock;
	int64_t lock_for_us; /* since the end of the call */
};

struct et_archive_policy {
	struct et_archive_target *targets; /* owned */
	size_t target_count;
	struct et_archive_rule *rules; /* owned, in order */
	size_t rule_count;
};

/* Read and check the YAML `text`. `file` is the name for messages. On success the caller owns *ret.
 * ET_EMALFORMED: "policy.yaml:7:9: unknown key 'pacck' (did you mean 'pack'?)". */
int et_archive_policy_parse(const char *text, size_t size, const char *file,
			    struct et_archive_policy **ret, struct et_error *reterr) ET_MUST_CHECK;
struct et_archive_policy *et_archive_policy_free(struct et_archive_policy *p); /* NULL is allowed */

static inline void et_archive_policy_freep(struct et_archive_policy **p)
{
	*p = et_archive_policy_free(*p);
}

const struct et_archive_target *et_archive_target_find(const struct et_archive_policy *p,
						       const char *name);

/* What is known of one segment. Everything is a view for the call. */
struct et_archive_local {
	uint64_t node;
	bool active; /* a member that can work */
};

struct et_archive_stored {
	const char *target;
	int64_t verified_us;
};

struct et_archive_facts {
	const uint8_t *recording; /* 16 bytes */
	uint32_t generation;
	uint32_t segment;
	uint64_t size_bytes;
	bool sealed;	 /* sealed, or recovered and verified: final */
	bool unverified; /* recovered, and no vault node has checked it yet */
	bool call_over;	 /* the recording is closed; end_us counts */
	bool erased;
	bool held; /* a legal hold is on it */
	int64_t start_us;
	int64_t end_us;
	uint64_t node; /* who captured it */
	const char *site;
	const char *direction;
	const char *from;
	const char *to;
	const char *rule;		      /* the recording rule */
	const struct et_archive_local *local; /* verified copies at nodes, ascending */
	size_t local_count;
	const struct et_archive_stored *stored; /* verified copies in targets */
	size_t stored_count;
	bool busy; /* a job that is not done is about it */
};

enum et_archive_action { ET_ARCHIVE_SKIP, ET_ARCHIVE_KEEP, ET_ARCHIVE_UPLOAD, ET_ARCHIVE_EVICT };

/* "upload", "evict", "keep", "skip". */
const char *et_archive_action_name(enum et_archive_action action);

struct et_archive_decision {
	enum et_archive_action action;
	const struct et_archive_rule *rule; /* view into the policy; NULL: no rule selects it */
	const struct et_archive_target *target;
	uint64_t node;	       /* upload: who does it */
	int64_t lock_until_us; /* upload; 0: none */
	const char *why;       /* static: a sentence without numbers, fit for counting */
};

/* What is to be done with this segment at cluster time `now_us`. UPLOAD: by `node`, which holds a
 * verified copy. EVICT: every local copy may go. KEEP: it is archived and stays here too. SKIP:
 * nothing to do, or not yet. */
void et_archive_decide(const struct et_archive_policy *policy, const struct et_archive_facts *facts,
		       int64_t now_us, struct et_archive_decision *ret);

/* Packs: uploads that travel as one object. Members of a pack share node, target, rule and the
 * month in which their lock ends (so that a pack's lock is never longer than a month past any
 * member's). */
struct et_archive_upload {
	uint64_t node;
	const struct et_archive_rule *rule;
	int64_t lock_until_us;
	uint64_t size_bytes;
	int64_t end_us; /* of the call */
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;

	uint32_t pack; /* result: from 1, unique in the plan */
};

/* Sorts `uploads` (node, rule, lock month, end, recording, generation, segment) and numbers their
 * packs. A segment larger than the rule's pack goes alone. Returns the number of packs. */
uint32_t et_archive_pack(struct et_archive_upload *uploads, size_t count);

#endif
