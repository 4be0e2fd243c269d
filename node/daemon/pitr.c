/* Shipping the log: with `backup: {folder: ...}` each entry that is applied is also written there,
 * so that a restore can go to any point between two base backups.
 *
 *   <folder>/base-INDEX-NODE.evbk   the state: at each start, each day, and when another CA issues
 *                                   or another KEK version seals
 *   <folder>/log-INDEX-NODE.evbk    the entries behind INDEX: a new file each minute, or each 16
 *                                   MiB
 *
 * A restore has the keys of its base, and goes no further with them (restore_log.c): so there is a
 * base with each new key. Keys are looked at each second: points in the second of a change may be
 * in neither, for the log's next file is under the new key, and its base comes behind it.
 *
 * The state thread copies entries into a buffer; a thread of its own seals and syncs them. What a
 * crash takes from the file under way is in the next base; a restore says where the entries end.
 * When the folder cannot keep up (64 MiB), entries are given up, and a new base closes the gap. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"

#define WAITING_MAX (64UL * 1024 * 1024)
#define SEGMENT_BYTES (16UL * 1024 * 1024)
#define SEGMENT_US (60LL * 1000000)
#define BASE_US (86400LL * 1000000)
#define ROUND_S 1
#define RETRY_S 10

/* What opens a file, and who vouches for its maker. */
struct pitr_keys {
	uint32_t kek_version;
	uint32_t ca; /* its number */
};

struct daemon_pitr {
	struct et_daemon *daemon;
	pthread_mutex_t mutex;	  /* of what follows, up to the line */
	struct et_buffer waiting; /* index64 size32 bytes, again and again */
	uint64_t first;		  /* index of the first that waits; 0: none */
	uint64_t last;
	uint8_t digest[32]; /* after `last` */
	bool lost;
	bool stopping;
	pthread_cond_t woken; /* stopping */
	/* ---- of the thread ---- */
	pthread_t thread;
	bool runs;
	char folder[ET_CONFIG_PATH_MAX + 1];
	struct et_backup_writer *writer; /* owned; NULL: no file is under way */
	struct et_identity identity;	 /* owned: signs that file */
	FILE *file;
	char part[ET_CONFIG_PATH_MAX + 96];
	char path[ET_CONFIG_PATH_MAX + 96];
	uint64_t written; /* last index in a file */
	uint8_t written_digest[32];
	uint64_t bytes;
	int64_t begun_us;
	int64_t base_us;       /* monotonic: of the last base; 0: none */
	struct pitr_keys keys; /* that it is under */
};

/* On the state thread, in log order. */
void daemon_pitr_entry(struct et_daemon *d, uint64_t index, struct et_view entry,
		       const uint8_t digest[32])
{
	struct daemon_pitr *p = d->pitr;

	(void)pthread_mutex_lock(&p->mutex);
	if (p->waiting.size + entry.size > WAITING_MAX || p->waiting.failed ||
	    (p->first != 0 && index != p->last + 1)) {
		p->waiting.size = 0;
		p->waiting.failed = false;
		p->first = 0;
		p->lost = true;
	}
	et_buffer_add64(&p->waiting, index);
	et_buffer_add32(&p->waiting, (uint32_t)entry.size);
	et_buffer_add(&p->waiting, entry.data, entry.size);
	p->first = p->first == 0 ? index : p->first;
	p->last = index;
	memcpy(p->digest, digest, 32);
	(void)pthread_mutex_unlock(&p->mutex);
}

static int file_sink(void *arg, const void *data, size_t size)
{
	struct daemon_pitr *p = arg;

	p->bytes += size;
	return fwrite(data, 1, size, p->file) == size ? 0 : errno != 0 ? -errno : -EIO;
}

static int file_begin(struct daemon_pitr *p, const char *kind, uint64_t index,
		      struct et_error *reterr)
{
	(void)snprintf(p->path, sizeof(p->path), "%s/%s-%020llu-%llu.evbk", p->folder, kind,
		       (unsigned long long)index, (unsigned long long)p->daemon->identity.node);
	(void)snprintf(p->part, sizeof(p->part), "%s/.%s-%llu.part", p->folder, kind,
		       (unsigned long long)p->daemon->identity.node);
	(void)unlink(p->part);
	p->file = fopen(p->part, "wxe");
	p->bytes = 0;
	p->begun_us = et_clock_mono_us();
	return p->file == NULL ? et_fail(reterr, -errno, "make '%s'", p->part) : 0;
}

static void file_drop(struct daemon_pitr *p)
{
	p->writer = et_backup_writer_free(p->writer);
	if (p->file != NULL) {
		(void)fclose(p->file);
		p->file = NULL;
		(void)unlink(p->part);
	}
}

/* Durable under its name. */
static int file_publish(struct daemon_pitr *p, struct et_error *reterr)
{
	int rc = fflush(p->file) != 0 || fsync(fileno(p->file)) < 0 ? -errno : 0;

	rc = fclose(p->file) != 0 && rc == 0 ? -errno : rc;
	p->file = NULL;
	if (rc == 0 && rename(p->part, p->path) < 0) {
		rc = -errno;
	}
	if (rc < 0) {
		(void)unlink(p->part);
		return et_fail(reterr, rc, "write '%s'", p->path);
	}
	return et_file_sync_parent(p->path, reterr);
}

static int keys_active(void *arg, const Et__Kek *kek)
{
	struct pitr_keys *keys = arg;

	keys->kek_version =
		kek->state == ET__KEK_STATE__KEK_ACTIVE ? kek->version : keys->kek_version;
	return 0;
}

/* As the catalogue has them now; zeros: it cannot be read. */
static struct pitr_keys keys_now(const struct daemon_pitr *p)
{
	struct et_state_view *v = et_state_view_open(p->daemon->state);
	struct pitr_keys keys = { 0 };
	Et__Cluster *cluster = NULL;

	if (v != NULL && et_state_get_cluster(v, &cluster) == 0) {
		keys.ca = et_state_ca_number(cluster, 0);
		et__cluster__free_unpacked(cluster, NULL);
		(void)et_state_each_kek(v, keys_active, &keys);
	}
	(void)et_state_view_close(v);
	return keys;
}

static bool keys_changed(const struct daemon_pitr *p)
{
	struct pitr_keys now = keys_now(p);

	return now.ca != 0 && (now.ca != p->keys.ca || now.kek_version != p->keys.kek_version);
}

static int base_make(struct daemon_pitr *p, struct et_error *reterr)
{
	struct pitr_keys keys = keys_now(p); /* if they change meanwhile, another one is made */
	struct et_catalog_status status;

	et_catalog_status(p->daemon->catalog, &status);
	int rc = file_begin(p, "base", status.applied, reterr);
	rc = rc < 0 ? rc : daemon_backup_write(p->daemon, file_sink, p, reterr);
	if (rc < 0) {
		file_drop(p);
		return rc;
	}
	p->base_us = et_clock_mono_us();
	p->keys = keys;
	return file_publish(p, reterr);
}

static int segment_end(struct daemon_pitr *p, struct et_error *reterr)
{
	if (p->writer == NULL) {
		return 0;
	}
	int rc = et_backup_end(p->writer, p->written, p->written_digest, reterr);
	p->writer = et_backup_writer_free(p->writer);
	if (rc < 0) {
		file_drop(p);
		return rc;
	}
	return file_publish(p, reterr);
}

static int segment_begin(struct daemon_pitr *p, uint64_t first, struct et_error *reterr)
{
	static const uint8_t unknown[32];
	const uint8_t *digest = first == p->written + 1 ? p->written_digest : unknown;

	et_identity_release(&p->identity);
	p->identity = (struct et_identity){ 0 };
	int rc = file_begin(p, "log", first - 1, reterr);
	if (rc == 0 && daemon_identity_copy(p->daemon, &p->identity) < 0) {
		rc = et_fail(reterr, ET_ECLOSED, "ship the log");
	}
	struct et_state_view *v = rc == 0 ? et_state_view_open(p->daemon->state) : NULL;
	rc = rc == 0 && v == NULL ? et_fail(reterr, -ENOMEM, "ship the log") : rc;
	rc = rc < 0 ? rc
		    : et_keeper_backup_begin(v, &p->identity, p->daemon->identity_folder,
					     ET_BACKUP_LOG, first - 1, digest, file_sink, p,
					     &p->writer, reterr);
	(void)et_state_view_close(v);
	if (rc < 0) {
		file_drop(p);
	}
	return rc;
}

/* All that has waited goes into the file, and on the disk. */
static int segment_write(struct daemon_pitr *p, struct et_buffer *batch, uint64_t first,
			 uint64_t last, const uint8_t digest[32], struct et_error *reterr)
{
	int rc = 0;

	if (p->writer != NULL && first != p->written + 1) {
		rc = segment_end(p, reterr);
	}
	if (rc == 0 && p->writer == NULL) {
		rc = segment_begin(p, first, reterr);
	}
	for (size_t at = 0; rc == 0 && at < batch->size; at += ET_BACKUP_CHUNK_MAX) {
		size_t left = batch->size - at;
		rc = et_backup_write(p->writer, ET_BACKUP_ENTRIES, batch->data + at,
				     left < ET_BACKUP_CHUNK_MAX ? left : ET_BACKUP_CHUNK_MAX,
				     reterr);
	}
	if (rc == 0 && (fflush(p->file) != 0 || fdatasync(fileno(p->file)) < 0)) {
		rc = et_fail(reterr, -errno, "write '%s'", p->part);
	}
	if (rc < 0) {
		file_drop(p);
		return rc;
	}
	p->written = last;
	memcpy(p->written_digest, digest, 32);
	bool full = p->bytes >= SEGMENT_BYTES || et_clock_mono_us() - p->begun_us >= SEGMENT_US;
	return full ? segment_end(p, reterr) : 0;
}

static int round_run(struct daemon_pitr *p, bool stopping, struct et_error *reterr)
{
	struct et_buffer batch;
	uint8_t digest[32];

	(void)pthread_mutex_lock(&p->mutex);
	batch = p->waiting;
	p->waiting = (struct et_buffer){ 0 };
	uint64_t first = p->first;
	uint64_t last = p->last;
	bool lost = p->lost;
	memcpy(digest, p->digest, 32);
	p->first = 0;
	p->lost = false;
	(void)pthread_mutex_unlock(&p->mutex);
	int rc = 0;
	if (first != 0) {
		rc = segment_write(p, &batch, first, last, digest, reterr);
	} else if (p->writer != NULL && et_clock_mono_us() - p->begun_us >= SEGMENT_US) {
		rc = segment_end(p, reterr);
	}
	et_buffer_release(&batch);
	bool old = p->base_us == 0 || et_clock_mono_us() - p->base_us >= BASE_US || keys_changed(p);
	if (rc == 0 && (lost || old) && !stopping) {
		/* The base's file and the log's are one at a time. */
		rc = segment_end(p, reterr);
		rc = rc < 0 ? rc : base_make(p, reterr);
	}
	if (rc < 0) {
		p->base_us = 0; /* what was lost needs a new base */
	}
	return stopping && rc == 0 ? segment_end(p, reterr) : rc;
}

/* true: it is to stop. */
static bool pitr_wait(struct daemon_pitr *p, int seconds)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds;
	(void)pthread_mutex_lock(&p->mutex);
	while (!p->stopping && pthread_cond_timedwait(&p->woken, &p->mutex, &until) == 0) {
	}
	bool stopping = p->stopping;
	(void)pthread_mutex_unlock(&p->mutex);
	return stopping;
}

static void *pitr_main(void *arg)
{
	struct daemon_pitr *p = arg;
	bool stopping = false;
	bool ended = false;

	while (!ended) {
		struct et_error e = { 0 };
		int seconds = ROUND_S;
		if (et_state_applied(p->daemon->state) > 0 && round_run(p, stopping, &e) < 0) {
			et_warn("backup.behind", "folder=%s error=\"%s\"", p->folder, e.text);
			seconds = RETRY_S;
		}
		ended = stopping; /* that was the last round */
		stopping = ended || pitr_wait(p, seconds);
	}
	return NULL;
}

/* Before the catalogue starts: its state thread calls daemon_pitr_entry(). */
int daemon_pitr_make(struct et_daemon *d, struct et_error *reterr)
{
	if (d->config.backup_folder[0] == '\0') {
		return 0;
	}
	int rc = et_file_mkdirs(d->config.backup_folder, reterr);
	struct daemon_pitr *p = rc < 0 ? NULL : calloc(1, sizeof(*p));
	if (p == NULL) {
		return rc < 0 ? rc : et_fail(reterr, -ENOMEM, "ship the log");
	}
	pthread_condattr_t attributes;
	p->daemon = d;
	(void)pthread_mutex_init(&p->mutex, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->woken, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	(void)snprintf(p->folder, sizeof(p->folder), "%s", d->config.backup_folder);
	d->pitr = p;
	return 0;
}

int daemon_pitr_start(struct et_daemon *d, struct et_error *reterr)
{
	if (d->pitr == NULL) {
		return 0;
	}
	int rc = -pthread_create(&d->pitr->thread, NULL, pitr_main, d->pitr);
	d->pitr->runs = rc == 0;
	return rc < 0 ? et_fail(reterr, rc, "ship the log") : 0;
}

void daemon_pitr_stop(struct et_daemon *d)
{
	struct daemon_pitr *p = d->pitr;

	if (p != NULL && p->runs) {
		(void)pthread_mutex_lock(&p->mutex);
		p->stopping = true;
		(void)pthread_cond_signal(&p->woken);
		(void)pthread_mutex_unlock(&p->mutex);
		(void)pthread_join(p->thread, NULL);
		p->runs = false;
	}
}

void daemon_pitr_release(struct et_daemon *d)
{
	struct daemon_pitr *p = d->pitr;

	d->pitr = NULL;
	if (p != NULL) {
		file_drop(p);
		et_identity_release(&p->identity);
		et_buffer_release(&p->waiting);
		(void)pthread_cond_destroy(&p->woken);
		(void)pthread_mutex_destroy(&p->mutex);
		free(p);
	}
}
