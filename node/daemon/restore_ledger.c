/* Ledgers of erasures, for a restore: what was erased since the backup is erased again.
 *
 * Every node keeps one in its state and its media, and puts copies into every archive target:
 * ledger/<cluster>/<node>-<size>.evl, of which the largest is the newest. Of files all are read, of
 * a target the newest of each node. Each is signed by its node, which the restored catalogue knows,
 * or the backup's CA. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/mover/mover.h"
#include "archive/policy/target.h"
#include "node/daemon/restore_internal.h"
#include "node/io/file.h"
#include "node/keeper/keeper.h"

#define LEDGER_FILE_MAX (1024UL * 1024 * 1024)
#define LISTED_MAX                                                                                 \
	1000000 /* objects of a target: one for each batch of erasures, and of each node */
#define TARGET_CONNECT_MS 5000
#define TARGET_ATTEMPTS 3

struct reading {
	struct restore_ledgers *l;
	const struct restore_ledgers_from *from;
};

static bool name_is_ledger(const char *path)
{
	size_t n = strlen(path);

	return n > 4 && strcmp(path + n - 4, ".evl") == 0;
}

static int erasure_take(void *arg, const uint8_t recording[16], uint64_t index, int64_t time_us)
{
	struct restore_ledgers *l = ((struct reading *)arg)->l;
	struct restore_erasure *list =
		realloc(l->erasures, (l->erasure_count + 1) * sizeof(*l->erasures));

	if (list == NULL) {
		return -ENOMEM;
	}
	l->erasures = list;
	struct restore_erasure *e = &list[l->erasure_count++];
	memcpy(e->recording, recording, 16);
	e->index = index;
	e->time_us = time_us;
	return 0;
}

int restore_maker_state(struct et_state *state, uint64_t number, const uint8_t sign_public[32])
{
	struct et_state_view *v = et_state_view_open(state);
	Et__Node *node = NULL;
	int is = -1;

	if (v != NULL && et_state_get_node(v, number, &node) == 0) {
		if (node->sign_public.len == 32 &&
		    memcmp(node->sign_public.data, sign_public, 32) == 0) {
			is = (int)node->state;
		}
		et__node__free_unpacked(node, NULL);
	}
	(void)et_state_view_close(v);
	return is;
}

/* A ledger goes on for years, under the list of members that it began with: after a rotation of the
 * CA the catalogue knows who wrote it. A stolen node is not heard: the others have written all that
 * was erased. */
static int ledger_trust(void *arg, const struct et_ledger_head *head, struct et_error *reterr)
{
	const struct restore_ledgers_from *from = ((struct reading *)arg)->from;

	if (memcmp(head->cluster_id, from->backup->cluster_id, 16) != 0) {
		return et_fail_plain(reterr, ET_EREFUSED, "it is of another cluster");
	}
	int maker = restore_maker_state(from->state, head->node, head->sign_public);
	if (maker == ET__NODE_STATE__REVOKED) {
		return et_fail_plain(reterr, ET_EREFUSED, "it is of a stolen node");
	}
	return maker >= 0 ? 0
			  : et_keeper_backup_trust(from->ca_key, from->backup->ca, head->members,
						   head->node, head->sign_public, reterr);
}

static void ledger_bad(struct reading *r, const char *where, const struct et_error *e)
{
	r->l->bad++;
	(void)fprintf(stderr, "ledger %s: %s\n", where, e->text);
}

static void ledger_take(struct reading *r, const char *where, struct et_view bytes)
{
	struct restore_ledgers *l = r->l;
	struct et_ledger_info info;
	struct et_error e;
	size_t before = l->erasure_count;

	int rc = et_ledger_read(bytes, ledger_trust, erasure_take, r, &info, &e);
	if (rc < 0) {
		l->erasure_count = before;
		if (rc != ET_EREFUSED) {
			ledger_bad(r, where, &e);
		}
		return;
	}
	l->count++;
	l->node = info.node > l->node ? info.node : l->node;
	if (info.index > l->index) {
		l->index = info.index;
		l->time_us = info.time_us;
	}
}

/* ---- Of files ---- */

static struct reading *walking; /* nftw() hands nothing through */

static int walk_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer file = { 0 };
	struct et_error e;

	(void)ftw;
	if (flag != FTW_F || !S_ISREG(st->st_mode) || !name_is_ledger(path)) {
		return 0;
	}
	if (et_file_read(path, LEDGER_FILE_MAX, &file, &e) < 0) {
		ledger_bad(walking, path, &e);
	} else {
		ledger_take(walking, path, (struct et_view){ file.data, file.size });
	}
	return 0;
}

static void folders_read(struct reading *r)
{
	const struct et_config *config = r->from->config;
	char path[ET_CONFIG_PATH_MAX + 32];

	walking = r;
	for (unsigned i = 0; i < r->from->named_count; i++) {
		if (nftw(r->from->named[i], walk_one, 16, FTW_PHYS) < 0) {
			struct et_error e;
			(void)et_fail(&e, -errno, "look for it");
			ledger_bad(r, r->from->named[i], &e);
		}
	}
	(void)snprintf(path, sizeof(path), "%s/ledger", config->media);
	(void)nftw(path, walk_one, 16, FTW_PHYS);
	(void)snprintf(path, sizeof(path), "%s/ledger", config->state);
	(void)nftw(path, walk_one, 16, FTW_PHYS);
	walking = NULL;
}

/* ---- Of archive targets ---- */

/* The newest of each node: keys come in byte order, so the last of those with the same node. What a
 * target says is bounded: it may be anybody's by now. */
struct keys {
	char (*list)[ET_BUCKET_KEY_MAX + 1]; /* owned */
	size_t count;
	size_t listed;
};

/* <node>-<size in 12 digits>.evl behind `prefix`; 0: it is another object, else the length of what
 * two of the same node have in common. */
static size_t key_node(const char *key)
{
	const char *name = strrchr(key, '/');

	if (name == NULL) {
		return 0;
	}
	name++;
	size_t node = strspn(name, "0123456789");
	if (node == 0 || node > 20 || name[node] != '-' ||
	    strspn(name + node + 1, "0123456789") != 12 || strcmp(name + node + 13, ".evl") != 0) {
		return 0;
	}
	return (size_t)(name - key) + node + 1;
}

static int key_take(void *arg, const char *key, uint64_t size)
{
	struct keys *k = arg;
	const size_t node = key_node(key);

	if (++k->listed > LISTED_MAX) {
		return ET_ELIMIT;
	}
	if (node == 0 || size > LEDGER_FILE_MAX) {
		return 0;
	}
	bool same = k->count > 0 && strncmp(k->list[k->count - 1], key, node) == 0;
	if (!same && k->count == RESTORE_LEDGER_NODES_MAX) {
		return ET_ELIMIT;
	}
	if (!same) {
		void *list = realloc(k->list, (k->count + 1) * sizeof(*k->list));
		if (list == NULL) {
			return -ENOMEM;
		}
		k->list = list;
		k->count++;
	}
	(void)snprintf(k->list[k->count - 1], sizeof(*k->list), "%s", key);
	return 0;
}

static int bytes_take(void *arg, const void *data, size_t size)
{
	struct et_buffer *file = arg;

	if (size > LEDGER_FILE_MAX - file->size) {
		return ET_ELIMIT;
	}
	et_buffer_add(file, data, size);
	return file->failed ? -ENOMEM : 0;
}

/* One that cannot be read keeps no other back, as long as the target answers. */
static int keys_read(struct reading *r, struct et_bucket *bucket, const char *target,
		     const struct keys *keys, struct et_error *reterr)
{
	char where[ET_BUCKET_KEY_MAX + ET_ARCHIVE_NAME_MAX + 8];
	int first = 0;

	for (size_t i = 0; i < keys->count; i++) {
		ET_CLEANUP(et_buffer_release) struct et_buffer file = { 0 };
		struct et_error e;
		int rc = et_bucket_get(bucket, keys->list[i], 0, ET_BUCKET_TO_END, bytes_take,
				       &file, &e);
		if (rc == 0) {
			(void)snprintf(where, sizeof(where), "%s: %s", target, keys->list[i]);
			ledger_take(r, where, (struct et_view){ file.data, file.size });
			continue;
		}
		if (first == 0) {
			first = et_fail_plain(reterr, rc, "%s", e.text);
		}
		if (rc == ET_EUNREACHABLE || rc == ET_ECLOSED) {
			break;
		}
	}
	return first;
}

int restore_ledgers_of_bucket(struct restore_ledgers *l, const struct restore_ledgers_from *from,
			      struct et_bucket *bucket, const char *target, struct et_error *reterr)
{
	struct reading r = { l, from };
	struct keys keys = { 0 };
	char prefix[64];
	char hex[33];

	et_hex(from->backup->cluster_id, 16, hex);
	(void)snprintf(prefix, sizeof(prefix), "ledger/%s/", hex);
	int rc = et_bucket_list(bucket, prefix, NULL, key_take, &keys, reterr);
	if (rc == ET_ELIMIT) {
		rc = et_fail_plain(reterr, rc,
				   "it says to have ledgers of more than %d nodes, or more than %d "
				   "of them",
				   RESTORE_LEDGER_NODES_MAX, LISTED_MAX);
	}
	/* Those that were listed are read all the same. */
	struct et_error e;
	int read = rc == 0 || rc == ET_ELIMIT ? keys_read(&r, bucket, target, &keys, &e) : 0;
	free(keys.list);
	return rc < 0 ? rc : read < 0 ? et_fail_plain(reterr, read, "%s", e.text) : 0;
}

static int target_read(struct reading *r, const struct et_archive_target *target,
		       struct et_error *reterr)
{
	ET_CLEANUP(et_bucket_closep) struct et_bucket *bucket = NULL;
	struct et_bucket_config config;

	et_archive_bucket_config(target, &config);
	config.connect_ms = TARGET_CONNECT_MS;
	config.attempts = TARGET_ATTEMPTS;
	int rc = et_bucket_open(&config, &bucket, reterr);
	return rc < 0 ? rc : restore_ledgers_of_bucket(r->l, r->from, bucket, target->name, reterr);
}

static int targets_read(struct reading *r, struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	struct restore_ledgers *l = r->l;
	uint32_t revision = 0;

	struct et_state_view *v = et_state_view_open(r->from->state);
	int rc = v == NULL ? -ENOMEM : et_archive_policy_of(v, &policy, &revision, NULL);
	(void)et_state_view_close(v);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : et_fail(reterr, rc, "the archive policy");
	}
	for (size_t i = 0; i < policy->target_count; i++) {
		struct et_error e;
		if (target_read(r, &policy->targets[i], &e) < 0) {
			l->targets_failed++;
			(void)snprintf(l->target_why, sizeof(l->target_why), "%s: %.120s",
				       policy->targets[i].name, e.text);
			(void)fprintf(stderr, "ledgers of target %s: %s\n", policy->targets[i].name,
				      e.text);
		}
	}
	return 0;
}

int restore_ledgers_find(struct restore_ledgers *l, const struct restore_ledgers_from *from,
			 struct et_error *reterr)
{
	struct reading r = { l, from };

	folders_read(&r);
	return targets_read(&r, reterr);
}
