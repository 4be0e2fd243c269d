/* The folder of a job, and where its tapes go. A tape gets its place as a second name of the same
 * file: the job's name stays until the catalogue was told, so that after a crash the next start
 * knows which tapes nobody knows. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/import/import_internal.h"
#include "node/io/file.h"

void import_job_path(const struct et_import *m, const char *file, char ret[IMPORT_PATH_MAX])
{
	(void)snprintf(ret, IMPORT_PATH_MAX, "%s/%s/%s", m->media, m->job, file);
}

void import_media_path(const struct et_import *m, const char *file, char ret[IMPORT_PATH_MAX])
{
	(void)snprintf(ret, IMPORT_PATH_MAX, "%s/%s", m->media, file);
}

/* ---- Publishing ---- */

static int folder_make(const char *path, struct et_error *reterr)
{
	char folder[IMPORT_PATH_MAX];

	(void)snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
	int rc = et_file_mkdirs(folder, reterr);
	return rc < 0 ? rc : et_file_sync_parent(folder, reterr);
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat x;
	struct stat y;

	return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_ino == y.st_ino &&
	       x.st_dev == y.st_dev;
}

int et_import_publish(const struct et_import *m, const struct et_import_recording *r,
		      struct et_error *reterr)
{
	char from[IMPORT_PATH_MAX];
	char to[IMPORT_PATH_MAX];
	int rc = 0;

	for (uint32_t i = 0; i < r->segment_count && rc == 0; i++) {
		import_job_path(m, r->segments[i].file, from);
		import_media_path(m, r->segments[i].file, to);
		rc = folder_make(to, reterr);
		if (rc == 0 && link(from, to) < 0 && !(errno == EEXIST && is_same_file(from, to))) {
			rc = et_fail(reterr, -errno, "tape '%s'", to);
		}
		rc = rc < 0 ? rc : et_file_sync_parent(to, reterr);
	}
	if (rc < 0) {
		et_import_withdraw(m, r);
	}
	return rc;
}

void et_import_withdraw(const struct et_import *m, const struct et_import_recording *r)
{
	char from[IMPORT_PATH_MAX];
	char to[IMPORT_PATH_MAX];

	for (uint32_t i = 0; i < r->segment_count; i++) {
		import_job_path(m, r->segments[i].file, from);
		import_media_path(m, r->segments[i].file, to);
		if (is_same_file(from, to)) {
			(void)unlink(to);
		}
	}
}

/* ---- Removing ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	(void)(type == FTW_DP ? rmdir(path) : unlink(path));
	return 0;
}

static void folder_remove(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void et_import_remove(struct et_import *m)
{
	char path[IMPORT_PATH_MAX];

	for (uint32_t i = 0; i < m->recording_count; i++) {
		struct et_import_recording *r = &m->recordings[i];
		for (uint32_t k = 0; k < r->segment_count; k++) {
			r->segments[k].dek = et_secret_free(r->segments[k].dek);
		}
		free(r->segments);
	}
	free(m->recordings);
	m->recordings = NULL;
	m->recording_count = 0;
	if (m->has_summary) {
		et_replay_summary_release(&m->summary);
		m->has_summary = false;
	}
	if (m->job[0] != '\0') {
		(void)snprintf(path, sizeof(path), "%s/%s", m->media, m->job);
		folder_remove(path);
		m->job[0] = '\0';
	}
}

/* ---- After a crash ---- */

/* Of one walk at a time (at start, or under the caller's lock): nftw() has no argument. */
static struct {
	const char *media;
	size_t job_size; /* bytes of "<media>/import/<job>/" */
	bool (*is_known)(void *arg, const struct et_tape_header *header);
	void *arg;
	bool published; /* something of the job was */
} sweep;

static bool header_read(const char *path, struct et_tape_header *ret)
{
	uint8_t bytes[ET_TAPE_HEADER_SIZE];
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && et_file_pread(fd, bytes, sizeof(bytes), 0) == 0 &&
	       et_tape_header_parse(bytes, ret, NULL) == 0;
}

static int sweep_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct et_tape_header header;
	char place[IMPORT_PATH_MAX];

	(void)ftw;
	if (type != FTW_F || strlen(path) < sweep.job_size) {
		return 0;
	}
	if (st->st_nlink < 2) { /* it has no second name */
		(void)unlink(path);
		return 0;
	}
	sweep.published = true;
	if (sweep.is_known == NULL) {
		return 0;
	}
	(void)snprintf(place, sizeof(place), "%s/%s", sweep.media, path + sweep.job_size);
	if (is_same_file(path, place) &&
	    !(header_read(path, &header) && sweep.is_known(sweep.arg, &header))) {
		(void)unlink(place);
	}
	return 0;
}

uint32_t et_import_sweep(const char *media,
			 bool (*is_known)(void *arg, const struct et_tape_header *header),
			 void *arg)
{
	char path[IMPORT_PATH_MAX];
	uint32_t count = 0;

	(void)snprintf(path, sizeof(path), "%s/import", media);
	DIR *d = opendir(path);
	for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
		if (e->d_name[0] == '.') {
			continue;
		}
		int n = snprintf(path, sizeof(path), "%s/import/%s", media, e->d_name);
		if (n > 0 && n < (int)sizeof(path)) {
			sweep.media = media;
			sweep.job_size = (size_t)n + 1;
			sweep.is_known = is_known;
			sweep.arg = arg;
			sweep.published = false;
			(void)nftw(path, sweep_one, 16, FTW_PHYS);
			if (is_known != NULL || !sweep.published) {
				folder_remove(path);
			}
			count += sweep.published;
		}
	}
	if (d != NULL) {
		(void)closedir(d);
	}
	return count;
}
