/* Backups of the catalogue, and the ledger of erasures.
 *
 * The ledger is written where a backup of the catalogue does not reach: <state>/ledger,
 * <media>/ledger, and (a copy) in every archive target, so that a restore can make erasures again
 * that the backup does not know of. An erasure is in both files, durably, before its answer is
 * given; after a crash the next start adds what the catalogue knows and they do not.
 *
 * A thread of its own does all that waits for a disk or a target: every ten minutes, and whenever
 * something was erased. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "archive/policy/target.h"
#include "node/base/log.h"
#include "node/crypto/hash.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/tape/tape.h"

#define LEDGERS 2
#define ROUND_S 600
#define INDEX_WAIT_MS 5000 /* for a search that finds all */
#define LEDGER_FILE_MAX (1024UL * 1024 * 1024)

struct daemon_backup {
	struct et_daemon *daemon;
	pthread_mutex_t mutex; /* of the ledgers: API workers and the thread */
	pthread_cond_t woken;
	pthread_t thread;
	bool runs;
	bool stopping;
	bool due;
	bool adopted;
	char behind[300];	    /* why the targets lack the ledger; "" when they have it */
	struct et_secret *sign_key; /* owned */
	struct et_ledger *ledgers[LEDGERS];
	char paths[LEDGERS][ET_CONFIG_PATH_MAX + 48];
	uint64_t archived_size; /* of the ledger, as it lies in the targets */
	char cluster_hex[33];
	uint64_t node;
};

/* ---- The ledgers ---- */

static int ledgers_open(struct daemon_backup *b, struct et_error *reterr)
{
	struct et_daemon *d = b->daemon;
	const char *const tops[LEDGERS] = { d->config.state, d->config.media };
	struct et_buffer members = { 0 };
	struct et_ledger_head head = { .node = d->identity.node };
	char path[ET_CONFIG_PATH_MAX + 32];

	(void)snprintf(path, sizeof(path), "%s/members", d->identity_folder);
	int rc = et_file_read(path, 1024UL * 1024, &members, reterr);
	memcpy(head.cluster_id, d->identity.cluster_id, 16);
	memcpy(head.sign_public, d->identity.sign_public, 32);
	head.members = (struct et_view){ members.data, members.size };
	for (size_t i = 0; rc == 0 && i < LEDGERS; i++) {
		(void)snprintf(path, sizeof(path), "%s/ledger", tops[i]);
		rc = et_file_mkdirs(path, reterr);
		(void)snprintf(b->paths[i], sizeof(b->paths[i]), "%s/%llu.evl", path,
			       (unsigned long long)d->identity.node);
		rc = rc < 0 ? rc
			    : et_ledger_open(b->paths[i], &head, b->sign_key, &b->ledgers[i],
					     reterr);
	}
	et_buffer_release(&members);
	return rc;
}

/* In every ledger that lacks it. With the lock. */
static int erasure_add(struct daemon_backup *b, const uint8_t id[16], uint64_t index,
		       int64_t time_us, struct et_error *reterr)
{
	int rc = 0;

	for (size_t i = 0; i < LEDGERS; i++) {
		if (!et_ledger_has(b->ledgers[i], id)) {
			int one = et_ledger_add(b->ledgers[i], id, index, time_us, reterr);
			rc = rc < 0 ? rc : one;
		}
	}
	return rc;
}

static int erased_each(void *arg, const Et__Recording *r)
{
	struct daemon_backup *b = arg;

	return erasure_add(b, r->id.data, r->erased_index, r->erased_us, NULL);
}

/* All that the catalogue knows to be erased, and a mark that says up to where. */
static int ledgers_catch_up(struct daemon_backup *b, struct et_error *reterr)
{
	struct et_state_query query = { .state = ET__RECORDING_STATE__ERASED, .limit = 1000 };
	struct et_state_found found = { 0 };
	char cursor[ET_STATE_CURSOR_SIZE] = "";
	Et__Cluster *cluster = NULL;
	bool complete = true;
	int rc;

	struct et_state_view *v = et_state_view_open_indexed(b->daemon->state, INDEX_WAIT_MS);
	if (v == NULL) {
		return et_fail(reterr, -ENOMEM, "ledger of erasures");
	}
	rc = et_state_get_cluster(v, &cluster);
	if (rc == 0) {
		(void)pthread_mutex_lock(&b->mutex);
		do {
			query.cursor = cursor;
			rc = et_state_search(v, &query, erased_each, b, &found);
			(void)snprintf(cursor, sizeof(cursor), "%s", found.cursor);
			complete = complete && found.complete;
		} while (rc == 0 && cursor[0] != '\0');
		for (size_t i = 0; rc == 0 && complete && i < LEDGERS; i++) {
			rc = et_ledger_add(b->ledgers[i], NULL, et_state_view_searched(v),
					   cluster->cluster_time_us, reterr);
		}
		(void)pthread_mutex_unlock(&b->mutex);
		et__cluster__free_unpacked(cluster, NULL);
	}
	(void)et_state_view_close(v);
	return rc < 0 ? et_fail(reterr, rc, "ledger of erasures") : 0;
}

/* ---- A copy in each archive target ---- */

static int buffer_read(void *arg, uint64_t offset, void *data, size_t size)
{
	const struct et_buffer *b = arg;

	if (offset > b->size || size > b->size - offset) {
		return -EIO;
	}
	memcpy(data, b->data + offset, size);
	return 0;
}

/* Objects are never changed: each size is another one, and the largest is the newest. */
static int target_put(struct daemon_backup *b, const struct et_archive_target *target,
		      struct et_buffer *file, struct et_error *reterr)
{
	struct et_bucket_config config;
	struct et_bucket *bucket = NULL;
	char key[128];
	uint8_t hash[ET_SHA256_SIZE];

	et_archive_bucket_config(target, &config);
	int rc = et_bucket_open(&config, &bucket, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(key, sizeof(key), "ledger/%s/%llu-%012llu.evl", b->cluster_hex,
		       (unsigned long long)b->node, (unsigned long long)file->size);
	et_sha256(file->data, file->size, hash);
	struct et_bucket_put put = {
		.key = key, .size = file->size, .sha256 = hash, .read = buffer_read, .arg = file
	};
	rc = et_bucket_put(bucket, &put, reterr);
	(void)et_bucket_close(bucket);
	return rc;
}

static int targets_put(struct daemon_backup *b, struct et_error *reterr)
{
	struct et_buffer file = { 0 };
	struct et_archive_policy *policy = NULL;
	uint32_t revision;

	struct et_state_view *v = et_state_view_open(b->daemon->state);
	int rc = v == NULL ? -ENOMEM : et_archive_policy_of(v, &policy, &revision, NULL);
	(void)et_state_view_close(v);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : et_fail(reterr, rc, "archive policy");
	}
	(void)pthread_mutex_lock(&b->mutex);
	rc = et_file_read(b->paths[0], LEDGER_FILE_MAX, &file, reterr);
	(void)pthread_mutex_unlock(&b->mutex);
	for (size_t i = 0; file.size > 0 && i < policy->target_count; i++) {
		struct et_error e; /* one that is down keeps it from no other */
		int one = target_put(b, &policy->targets[i], &file, &e);
		if (one < 0 && rc == 0) {
			*reterr = e;
			rc = one;
		}
	}
	b->archived_size = rc == 0 ? file.size : b->archived_size;
	et_archive_policy_freep(&policy);
	et_buffer_release(&file);
	return rc;
}

/* ---- After a restore: media of the old epoch that lies here is verified, and made known ---- */

struct found {
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
	uint64_t size_bytes;
	uint8_t hash[32]; /* seal hash or, of older ones, SHA-256 of the file */
	bool is_seal_hash;
	char path[ET_CONFIG_PATH_MAX + 520];
};

struct adoption {
	struct daemon_backup *b;
	const struct et_state_view *view;
	char place[32];
	struct found *list; /* owned */
	size_t count;
	uint32_t generation; /* of the segment that is looked at */
	uint32_t segment;
	bool known;
};

static int own_copy(void *arg, const Et__Copy *c)
{
	struct adoption *a = arg;

	a->known |= strcmp(c->place, a->place) == 0 && c->state == ET__COPY__STATE__VERIFIED &&
		    c->generation == a->generation && c->segment == a->segment;
	return 0;
}

static int adoption_take(void *arg, const Et__Segment *g)
{
	struct adoption *a = arg;
	struct found f = { .generation = g->generation,
			   .segment = g->segment,
			   .size_bytes = g->size_bytes };
	struct stat st;

	const ProtobufCBinaryData *hash = g->seal_hash.len == 32 ? &g->seal_hash : &g->object_hash;

	if (hash->len != 32 || g->file[0] == '\0' || g->file[0] == '/' ||
	    strstr(g->file, "..") != NULL || (g->wrap != NULL && g->wrap->erased) ||
	    !et_state_segment_is_newest(g)) {
		return 0;
	}
	(void)snprintf(f.path, sizeof(f.path), "%s/%.512s", a->b->daemon->config.media, g->file);
	if (lstat(f.path, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != g->size_bytes) {
		return 0;
	}
	a->known = false;
	a->generation = g->generation;
	a->segment = g->segment;
	(void)et_state_each_copy_of(a->view, g->recording.data, own_copy, a);
	if (a->known) {
		return 0;
	}
	struct found *list = realloc(a->list, (a->count + 1) * sizeof(*list));
	if (list == NULL) {
		return -ENOMEM;
	}
	a->list = list;
	memcpy(f.recording, g->recording.data, 16);
	memcpy(f.hash, hash->data, 32);
	f.is_seal_hash = hash == &g->seal_hash;
	list[a->count++] = f;
	return 0;
}

static bool file_is(const struct found *f)
{
	const struct et_tape_expect expect = {
		.recording = f->recording,
		.generation = f->generation,
		.segment = f->segment,
		.seal_hash = f->is_seal_hash ? f->hash : NULL,
		.object_hash = f->is_seal_hash ? NULL : f->hash,
	};
	struct et_tape_source source;
	struct et_tape_report report;

	if (et_tape_source_open(f->path, &source, NULL) < 0) {
		return false;
	}
	int rc = et_tape_verify(&source, &expect, &report, NULL);
	et_tape_source_close(&source);
	return rc == 0;
}

static int adopt_one(struct adoption *a, struct found *f)
{
	struct et_daemon *d = a->b->daemon;
	Et__Command command = ET__COMMAND__INIT;
	Et__CopyAdd add = ET__COPY_ADD__INIT;
	Et__Copy copy = ET__COPY__INIT;
	Et__Copy *copies[] = { &copy };
	char principal[32];
	char site[ET_NAME_MAX + 1];

	(void)snprintf(principal, sizeof(principal), "%s", a->place);
	(void)snprintf(site, sizeof(site), "%s", d->config.site);
	copy.recording = (ProtobufCBinaryData){ 16, f->recording };
	copy.generation = f->generation;
	copy.segment = f->segment;
	copy.place = a->place;
	copy.site = site;
	copy.verified_us = et_clock_now_us();
	copy.size_bytes = f->size_bytes;
	if (!f->is_seal_hash) {
		copy.object_hash = (ProtobufCBinaryData){ 32, f->hash };
	}
	copy.store_uuid = d->store_uuid;
	add.copies = copies;
	add.n_copies = 1;
	command.principal = principal;
	command.body_case = ET__COMMAND__BODY_COPY_ADD;
	command.copy_add = &add;
	return et_catalog_propose_from(d->catalog, &command, 60000, NULL, NULL);
}

/* Copies are counted only when this node has seen their bytes since the restore. */
static int adopt(struct daemon_backup *b)
{
	struct adoption a = { .b = b };
	Et__Cluster *cluster = NULL;
	size_t good = 0;

	struct et_state_view *v = et_state_view_open(b->daemon->state);
	int rc = v == NULL ? -ENOMEM : et_state_get_cluster(v, &cluster);
	if (rc == 0 && cluster->epoch > 0) {
		a.view = v;
		(void)snprintf(a.place, sizeof(a.place), "node:%llu", (unsigned long long)b->node);
		rc = et_state_each_segment(v, adoption_take, &a);
	}
	et__cluster__free_unpacked(cluster, NULL);
	(void)et_state_view_close(v);
	for (size_t i = 0; rc == 0 && i < a.count; i++) {
		if (file_is(&a.list[i])) {
			rc = adopt_one(&a, &a.list[i]);
			good++;
		} else {
			et_warn("adopt.bad", "file=%s", a.list[i].path);
		}
	}
	if (a.count > 0) {
		et_info("adopt.done", "segments=%zu verified=%zu", a.count, good);
	}
	free(a.list);
	return rc;
}

/* Said once, not at every change of the archive's configuration. */
static void behind_tell(struct daemon_backup *b, const char *why)
{
	if (strncmp(b->behind, why, sizeof(b->behind) - 1) == 0) {
		return;
	}
	(void)snprintf(b->behind, sizeof(b->behind), "%.*s", (int)sizeof(b->behind) - 1, why);
	if (why[0] != '\0') {
		et_warn("ledger.behind", "error=\"%s\"", why);
	} else {
		et_info("ledger.current", "state=\"all targets have the ledger of erasures\"");
	}
}

static void *backup_main(void *arg)
{
	struct daemon_backup *b = arg;
	struct timespec until;

	(void)pthread_mutex_lock(&b->mutex);
	while (!b->stopping) {
		struct et_error e;
		b->due = false;
		(void)pthread_mutex_unlock(&b->mutex);
		int rc = ledgers_catch_up(b, &e);
		if (rc == 0 && !b->adopted) {
			b->adopted = adopt(b) == 0;
		}
		bool fresh = rc == ET_ENOTFOUND; /* no cluster yet */
		rc = rc < 0 ? rc : targets_put(b, &e);
		if (!fresh) {
			behind_tell(b, rc < 0 ? e.text : "");
		}
		(void)pthread_mutex_lock(&b->mutex);
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += fresh ? 1 : rc < 0 || !b->adopted ? 10 : ROUND_S;
		while (!b->stopping && !b->due &&
		       pthread_cond_timedwait(&b->woken, &b->mutex, &until) == 0) {
		}
	}
	(void)pthread_mutex_unlock(&b->mutex);
	return NULL;
}

int daemon_backup_start(struct et_daemon *d, struct et_error *reterr)
{
	struct daemon_backup *b = calloc(1, sizeof(*b));
	struct et_identity copy = { 0 };

	if (b == NULL || et_identity_copy(&d->identity, &copy) < 0) {
		free(b);
		return et_fail(reterr, -ENOMEM, "ledger of erasures");
	}
	b->daemon = d;
	b->node = d->identity.node;
	b->sign_key = ET_TAKE(copy.sign_key);
	et_identity_release(&copy);
	et_hex(d->identity.cluster_id, 16, b->cluster_hex);
	(void)pthread_mutex_init(&b->mutex, NULL);
	pthread_condattr_t attributes;
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&b->woken, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	d->backup = b;
	int rc = ledgers_open(b, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = -pthread_create(&b->thread, NULL, backup_main, b);
	b->runs = rc == 0;
	return rc < 0 ? et_fail(reterr, rc, "ledger of erasures") : 0;
}

/* Waits for the thread. */
void daemon_backup_stop(struct et_daemon *d)
{
	struct daemon_backup *b = d->backup;

	if (b != NULL && b->runs) {
		(void)pthread_mutex_lock(&b->mutex);
		b->stopping = true;
		(void)pthread_cond_signal(&b->woken);
		(void)pthread_mutex_unlock(&b->mutex);
		(void)pthread_join(b->thread, NULL);
		b->runs = false;
	}
}

void daemon_backup_release(struct et_daemon *d)
{
	struct daemon_backup *b = d->backup;

	d->backup = NULL;
	if (b != NULL) {
		for (size_t i = 0; i < LEDGERS; i++) {
			(void)et_ledger_close(b->ledgers[i]);
		}
		(void)et_secret_free(b->sign_key);
		(void)pthread_cond_destroy(&b->woken);
		(void)pthread_mutex_destroy(&b->mutex);
		free(b);
	}
}

void daemon_backup_wake(struct et_daemon *d)
{
	struct daemon_backup *b = d->backup;

	if (b != NULL) {
		(void)pthread_mutex_lock(&b->mutex);
		b->due = true;
		(void)pthread_cond_signal(&b->woken);
		(void)pthread_mutex_unlock(&b->mutex);
	}
}

int daemon_backup_erased(struct et_daemon *d, const uint8_t recording[16], struct et_error *reterr)
{
	struct daemon_backup *b = d->backup;
	Et__Recording *r = NULL;

	if (b == NULL) {
		return et_fail(reterr, ET_ECLOSED, "ledger of erasures");
	}
	struct et_state_view *v = et_state_view_open(d->state);
	int rc = v == NULL ? -ENOMEM : et_state_get_recording(v, recording, &r);
	(void)et_state_view_close(v);
	if (rc < 0) {
		return et_fail(reterr, rc, "ledger of erasures");
	}
	(void)pthread_mutex_lock(&b->mutex);
	rc = erasure_add(b, recording, r->erased_index, r->erased_us, reterr);
	(void)pthread_mutex_unlock(&b->mutex);
	et__recording__free_unpacked(r, NULL);
	daemon_backup_wake(d);
	return rc;
}

/* ---- A backup, for the API ---- */

struct checkpoint {
	struct daemon_waiter waiter;
	char path[ET_CONFIG_PATH_MAX + 128];
	uint64_t index;
	uint8_t digest[32];
};

static void on_checkpoint(void *arg, int code, const char *path, uint64_t index,
			  const uint8_t digest[32])
{
	struct checkpoint *k = arg;

	k->index = index;
	(void)snprintf(k->path, sizeof(k->path), "%s", path);
	memcpy(k->digest, digest, 32);
	daemon_waiter_wake(&k->waiter, code);
}

static int checkpoint_make(struct et_daemon *d, struct checkpoint *k)
{
	daemon_waiter_init(&k->waiter);
	int rc = et_catalog_checkpoint_from(d->catalog, on_checkpoint, k);
	rc = rc < 0 ? rc : daemon_waiter_wait(&k->waiter);
	daemon_waiter_destroy(&k->waiter);
	return rc;
}

struct identity_ask {
	struct et_daemon *daemon;
	struct et_identity copy;
	int code;
};

static void identity_on_loop(void *arg)
{
	struct identity_ask *ask = arg;

	ask->code = et_identity_copy(&ask->daemon->identity, &ask->copy);
}

/* From any thread but the loop's. */
int daemon_identity_copy(struct et_daemon *d, struct et_identity *ret)
{
	struct identity_ask ask = { .daemon = d };

	int rc = daemon_on_loop(d, identity_on_loop, &ask);
	*ret = ask.copy;
	return rc < 0 ? rc : ask.code;
}

int daemon_backup_write(struct et_daemon *d, et_backup_sink sink, void *arg,
			struct et_error *reterr)
{
	struct checkpoint k = { 0 };
	struct et_identity id = { 0 };
	struct et_backup_writer *w = NULL;

	int rc = daemon_identity_copy(d, &id);
	rc = rc < 0 ? rc : checkpoint_make(d, &k);
	if (rc < 0) {
		et_identity_release(&id);
		return et_fail(reterr, rc, "a checkpoint of the catalogue");
	}
	struct et_state_view *v = et_state_view_open(d->state);
	rc = v == NULL ? et_fail(reterr, -ENOMEM, "backup")
		       : et_keeper_backup_begin(v, &id, d->identity_folder, ET_BACKUP_BASE, k.index,
						k.digest, sink, arg, &w, reterr);
	(void)et_state_view_close(v);
	rc = rc < 0 ? rc : et_backup_write_folder(w, k.path, reterr);
	rc = rc < 0 ? rc : et_backup_end(w, k.index, k.digest, reterr);
	(void)et_backup_writer_free(w);
	et_catalog_checkpoint_drop(k.path);
	et_identity_release(&id);
	if (rc == 0) {
		et_info("backup.made", "index=%llu", (unsigned long long)k.index);
	}
	return rc;
}
