/* recording import, key encrypt: plain files into the cluster's tapes.
 *
 * Happy path, for each file: its SHA-256 ─▶ does the cluster know it? ─▶ metadata and file are
 * sent; the node seals, opens again, compares ─▶ wait until the recordings have what --ack asks for
 * ─▶ with --remove-plain, the file goes.
 *
 * Possible failure modes are
 *   - one file is bad, or refused: it is told with its reason, and the next one has its turn;
 *   - killed: run again. What is known is not sent again; what waits is waited for;
 *   - the file changed while it was sent: the node finds another SHA-256. It changed after that: it
 *     is not removed. */
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/crypto/hash.h"
#include "node/io/file.h"
#include "node/text/units.h"
#include "ops/cli/cli.h"

enum { READ_BYTES = 65536, METADATA_MAX = 65536, PATH_BYTES = 4096 };

#define POLL_NS (250 * 1000000L)
#define WAIT_US (INT64_C(120) * 1000000)
#define BUSY_US (INT64_C(600) * 1000000)

enum ack { ACK_COMMITTED, ACK_COPIES, ACK_PROTECTED, ACK_ARCHIVED };

struct import {
	struct et_cli *cli;
	const char *metadata; /* file, or NULL: what lies beside */
	enum ack ack;
	const char *ack_word;
	unsigned copies; /* of ACK_COPIES */
	int64_t wait_us;
	bool remove;
	json_t *files; /* owned: what became of each */
	unsigned failed;
	unsigned removed;
};

/* The file at hand. */
struct file {
	const char *path;
	int fd; /* owned */
	struct stat st;
	uint8_t sha256[32];
	struct et_buffer metadata;
	char sidecar[PATH_BYTES]; /* that metadata was read from; "": none of its own */
	size_t sent;		  /* of the metadata */
	json_t *answer;		  /* owned */
};

static void file_release(struct file *f)
{
	et_fd_closep(&f->fd);
	et_buffer_release(&f->metadata);
	json_decref(f->answer);
}

/* ---- The file ---- */

static int file_open(struct file *f, struct et_error *reterr)
{
	f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (f->fd < 0 || fstat(f->fd, &f->st) < 0) {
		return et_fail(reterr, -errno, "open");
	}
	if (!S_ISREG(f->st.st_mode) || f->st.st_size == 0) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED, "%s",
				     S_ISREG(f->st.st_mode) ? "it is empty" : "it is no file");
	}
	return 0;
}

static int file_hash(struct file *f, struct et_error *reterr)
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *hash = et_sha256_new();
	uint8_t *bytes = malloc(READ_BYTES);
	ssize_t n = 0;
	off_t at = 0;

	while (hash != NULL && bytes != NULL && (n = pread(f->fd, bytes, READ_BYTES, at)) > 0) {
		et_sha256_add(hash, bytes, (size_t)n);
		at += n;
	}
	int rc = hash == NULL || bytes == NULL ? -ENOMEM : n < 0 ? -errno : 0;
	free(bytes);
	if (rc < 0) {
		return et_fail(reterr, rc, "read");
	}
	et_sha256_end(hash, f->sha256);
	return at == f->st.st_size
		       ? 0
		       : et_fail_plain(reterr, ET_ESTALE, "it changes while it is read");
}

/* "a.wav.json", or "a.json". */
static int sidecar_read(struct file *f, struct et_error *reterr)
{
	const char *slash = strrchr(f->path, '/');
	const char *dot = strrchr(f->path, '.');
	const size_t stem = dot != NULL && (slash == NULL || dot > slash + 1)
				    ? (size_t)(dot - f->path)
				    : strlen(f->path);
	const size_t sizes[] = { strlen(f->path), stem };

	for (size_t i = 0; i < ET_ARRAY_SIZE(sizes); i++) {
		int n = snprintf(f->sidecar, sizeof(f->sidecar), "%.*s.json", (int)sizes[i],
				 f->path);
		if (n > 0 && n < (int)sizeof(f->sidecar) && access(f->sidecar, F_OK) == 0 &&
		    strcmp(f->sidecar, f->path) != 0) {
			return et_file_read(f->sidecar, METADATA_MAX, &f->metadata, reterr);
		}
	}
	f->sidecar[0] = '\0';
	return 0;
}

/* ---- Sending ---- */

static ssize_t body_read(void *arg, void *data, size_t size)
{
	struct file *f = arg;

	if (f->sent < f->metadata.size) {
		const size_t left = f->metadata.size - f->sent;
		const size_t n = left < size ? left : size;
		memcpy(data, f->metadata.data + f->sent, n);
		f->sent += n;
		return (ssize_t)n;
	}
	ssize_t n = read(f->fd, data, size);
	return n < 0 ? -errno : n;
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

static int file_send(struct import *m, struct file *f, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	char hex[2 * 32 + 1];
	char number[24];
	char start[ET_TIME_TEXT_SIZE];
	const struct et_cli_upload upload = {
		.size = f->metadata.size + (uint64_t)f->st.st_size,
		.read = body_read,
		.arg = f,
	};

	et_hex(f->sha256, 32, hex);
	et_time_format(f->st.st_mtim.tv_sec * INT64_C(1000000) + f->st.st_mtim.tv_nsec / 1000,
		       start);
	(void)snprintf(number, sizeof(number), "%zu", f->metadata.size);
	et_buffer_printf(&path, "/v1/imports");
	et_cli_query(&path, "sha256", hex);
	et_cli_query(&path, "name", name_of(f->path));
	et_cli_query(&path, "metadata_bytes", number);
	et_cli_query(&path, "start", f->st.st_mtim.tv_sec > 0 ? start : NULL);
	et_cli_query(&path, "reason", et_cli_option(m->cli, "reason"));
	et_buffer_add8(&path, 0);
	f->sent = 0;
	if (path.failed || lseek(f->fd, 0, SEEK_SET) < 0) {
		return et_fail(reterr, -ENOMEM, "request");
	}
	return et_cli_send_file(m->cli, (const char *)path.data, &upload, &f->answer, reterr);
}

/* Two are imported at a time; a third one waits. */
static int file_send_patiently(struct import *m, struct file *f, struct et_error *reterr)
{
	const struct timespec pause = { .tv_sec = 1 };
	const int64_t until_us = et_clock_mono_us() + BUSY_US;
	int rc = file_send(m, f, reterr);

	while (rc == ET_EBUSY && et_clock_mono_us() < until_us) {
		(void)nanosleep(&pause, NULL);
		rc = file_send(m, f, reterr);
	}
	return rc;
}

/* Asked first: then it need not be sent. */
static int file_ask(struct import *m, struct file *f, struct et_error *reterr)
{
	char hex[2 * 32 + 1];
	char path[128];

	et_hex(f->sha256, 32, hex);
	(void)snprintf(path, sizeof(path), "/v1/imports/%s", hex);
	return et_cli_get(m->cli, path, &f->answer, reterr);
}

/* ---- What is promised ---- */

static bool copy_counts(const json_t *copy, const char *segment)
{
	return json_object_get(copy, "node") != NULL &&
	       strcmp(et_json_get_text(copy, "state", ""), "verified") == 0 &&
	       strcmp(et_json_get_text(copy, "segment", ""), segment) == 0;
}

/* Each segment lies, verified, at so many nodes, in so many sites. */
static bool has_copies(const json_t *recording, unsigned nodes, unsigned sites)
{
	const json_t *segments = json_object_get(recording, "segments");
	const json_t *copies = json_object_get(recording, "copies");

	for (size_t i = 0; i < json_array_size(segments); i++) {
		const char *name = et_json_get_text(json_array_get(segments, i), "segment", "");
		const char *site = NULL;
		unsigned node_count = 0;
		unsigned site_count = 0;
		for (size_t k = 0; k < json_array_size(copies); k++) {
			const json_t *c = json_array_get(copies, k);
			const char *at = et_json_get_text(c, "site", "");
			if (copy_counts(c, name)) {
				node_count++;
				site_count +=
					site == NULL || (site_count == 1 && strcmp(site, at) != 0);
				site = site == NULL ? at : site;
			}
		}
		if (node_count < nodes || site_count < sites) {
			return false;
		}
	}
	return json_array_size(segments) > 0;
}

static bool is_acknowledged(const struct import *m, const json_t *recording)
{
	const char *state = et_json_get_text(recording, "state", "");
	const bool archived = strcmp(state, "archived") == 0;

	if (!archived && strcmp(state, "committed") != 0 && strcmp(state, "protected") != 0) {
		return false;
	}
	switch (m->ack) {
	case ACK_COPIES:
		return has_copies(recording, m->copies, 1);
	case ACK_PROTECTED:
		return has_copies(recording, 2, 2);
	case ACK_ARCHIVED:
		return archived;
	case ACK_COMMITTED:
	default:
		return true;
	}
}

/* 1: all of its recordings are; 0: not yet; negative: it cannot be asked, or will never be. */
static int acknowledged_ask(struct import *m, const struct file *f, struct et_error *reterr)
{
	const json_t *list = json_object_get(f->answer, "recordings");

	for (size_t i = 0; i < json_array_size(list); i++) {
		ET_CLEANUP(et_json_freep) json_t *recording = NULL;
		char path[128];
		(void)snprintf(path, sizeof(path), "/v1/recordings/%.36s?read=linearizable",
			       et_json_get_text(json_array_get(list, i), "id", ""));
		int rc = et_cli_get(m->cli, path, &recording, reterr);
		if (rc == ET_ENOQUORUM || rc == ET_EBUSY) {
			return 0;
		}
		if (rc < 0) {
			return rc;
		}
		if (strcmp(et_json_get_text(recording, "state", ""), "erased") == 0) {
			return et_fail_plain(reterr, ET_EREFUSED, "its recording was erased");
		}
		if (!is_acknowledged(m, recording)) {
			return 0;
		}
	}
	return 1;
}

static int acknowledged_wait(struct import *m, const struct file *f, struct et_error *reterr)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	const int64_t until_us = et_clock_mono_us() + m->wait_us;
	int rc = acknowledged_ask(m, f, reterr);

	while (rc == 0 && et_clock_mono_us() < until_us) {
		(void)nanosleep(&pause, NULL);
		rc = acknowledged_ask(m, f, reterr);
	}
	if (rc == 0) {
		(void)et_fail_plain(reterr, -ETIMEDOUT,
				    "it is imported, and not %s yet: run it again", m->ack_word);
		return -ETIMEDOUT;
	}
	return rc < 0 ? rc : 0;
}

/* ---- Removing ---- */

static bool is_unchanged(const struct file *f)
{
	struct stat now;
	struct stat here;

	return fstat(f->fd, &now) == 0 && lstat(f->path, &here) == 0 && here.st_ino == now.st_ino &&
	       here.st_dev == now.st_dev && now.st_size == f->st.st_size &&
	       now.st_mtim.tv_sec == f->st.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == f->st.st_mtim.tv_nsec;
}

static int file_remove(struct import *m, const struct file *f, struct et_error *reterr)
{
	const int64_t left_out = et_json_get_int(f->answer, "packets_left_out", 0);

	if (left_out > 0) {
		return et_fail_plain(reterr, ET_EREFUSED,
				     "not removed: %lld packets of it are in no recording",
				     (long long)left_out);
	}
	if (json_array_size(json_object_get(f->answer, "recordings")) == 0) {
		return et_fail_plain(reterr, ET_EREFUSED, "not removed: there is no call in it");
	}
	if (!is_unchanged(f)) {
		return et_fail_plain(reterr, ET_ESTALE, "not removed: it was changed meanwhile");
	}
	if (unlink(f->path) < 0) {
		return et_fail(reterr, -errno, "not removed");
	}
	if (f->sidecar[0] != '\0' && unlink(f->sidecar) < 0) {
		return et_fail(reterr, -errno, "its metadata '%.200s' is not removed", f->sidecar);
	}
	m->removed++;
	return et_file_sync_parent(f->path, reterr);
}

/* ---- One file ---- */

static int file_import(struct import *m, struct file *f, json_t *row, struct et_error *reterr)
{
	int rc = file_open(f, reterr);

	rc = rc < 0 ? rc : file_hash(f, reterr);
	rc = rc < 0		   ? rc
	     : m->metadata != NULL ? et_file_read(m->metadata, METADATA_MAX, &f->metadata, reterr)
				   : sidecar_read(f, reterr);
	rc = rc < 0 ? rc : file_ask(m, f, reterr);
	const bool known = rc == 0 && et_json_get_bool(f->answer, "known", false);
	if (rc == 0 && !known) {
		json_decref(f->answer);
		f->answer = NULL;
		rc = file_send_patiently(m, f, reterr);
	}
	if (rc < 0) {
		et_json_set(row, "state", json_string("refused"));
		return rc;
	}
	et_json_set(row, "state", json_string(known ? "known" : "imported"));
	(void)json_object_update(row, f->answer);
	rc = acknowledged_wait(m, f, reterr);
	et_json_set(row, "ack", rc == 0 ? json_string(m->ack_word) : json_null());
	if (rc == 0 && m->remove) {
		rc = file_remove(m, f, reterr);
		et_json_set(row, "removed", json_boolean(rc == 0));
	}
	return rc;
}

static void path_import(struct import *m, const char *path)
{
	ET_CLEANUP(file_release) struct file f = { .path = path, .fd = -1 };
	struct et_error e = { .text = "" };
	json_t *row = json_object();
	char hex[2 * 32 + 1];

	et_json_set(row, "path", et_json_text(path));
	f.metadata.secret = true;
	int rc = file_import(m, &f, row, &e);
	et_hex(f.sha256, 32, hex);
	et_json_set(row, "sha256", json_string(hex));
	et_json_set(row, "code", json_string(rc < 0 ? et_errname(rc) : ""));
	et_json_set(row, "why",
		    rc < 0 ? et_json_text(e.text)
			   : et_json_text(et_json_get_text(row, "problem", "")));
	et_json_set(row, "next", et_json_text(e.next));
	et_json_set(row, "recording",
		    et_json_text(et_json_get_text(
			    json_array_get(json_object_get(row, "recordings"), 0), "id", "")));
	m->failed += rc < 0;
	if (rc < 0) {
		et_cli_note(m->cli, "%s: %s%s%s", path, e.text, e.next[0] != '\0' ? "; next: " : "",
			    e.next);
	}
	et_json_add(m->files, row);
}

/* ---- Folders ---- */

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool is_metadata(const FTSENT *e)
{
	return e->fts_level > 0 && e->fts_namelen > 5 &&
	       strcmp(e->fts_name + e->fts_namelen - 5, ".json") == 0;
}

static int paths_import(struct import *m, struct et_error *reterr)
{
	char *paths[ET_CLI_ARGS_MAX + 1] = { NULL };

	for (unsigned i = 0; i < m->cli->arg_count; i++) {
		paths[i] = (char *)(uintptr_t)m->cli->args[i];
	}
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	if (fts == NULL) {
		return et_fail(reterr, -errno, "read folders");
	}
	FTSENT *e;
	while ((e = fts_read(fts)) != NULL) {
		if (e->fts_info == FTS_D || e->fts_info == FTS_DP || is_metadata(e) ||
		    (e->fts_level > 0 && (e->fts_info == FTS_SL || e->fts_info == FTS_SLNONE))) {
			continue;
		}
		path_import(m, e->fts_path);
	}
	if (errno != 0) { /* what it would have come to has no row */
		m->failed++;
		et_cli_note(m->cli, "read folders: %s", strerror(errno));
	}
	(void)fts_close(fts);
	return 0;
}

/* ---- The command ---- */

static int ack_option(struct import *m, struct et_error *reterr)
{
	const char *word = et_cli_option(m->cli, "ack");
	char *end = NULL;

	word = word != NULL ? word : m->remove ? "protected" : "committed";
	m->ack_word = word;
	if (strcmp(word, "committed") == 0) {
		m->ack = ACK_COMMITTED;
	} else if (strcmp(word, "protected") == 0) {
		m->ack = ACK_PROTECTED;
	} else if (strcmp(word, "archived") == 0) {
		m->ack = ACK_ARCHIVED;
	} else if (strncmp(word, "copies:", 7) == 0) {
		m->ack = ACK_COPIES;
		m->copies = (unsigned)strtoul(word + 7, &end, 10);
		if (end == word + 7 || *end != '\0' || m->copies == 0 || m->copies > 256) {
			return et_cli_usage(m->cli, reterr, "--ack copies:N, with N from 1 to 256");
		}
	} else {
		return et_cli_usage(m->cli, reterr,
				    "--ack is committed, copies:N, protected or archived");
	}
	return 0;
}

static int options_read(struct import *m, struct et_error *reterr)
{
	const char *wait = et_cli_option(m->cli, "wait");
	struct stat st;

	m->metadata = et_cli_option(m->cli, "metadata");
	m->remove = et_cli_option(m->cli, "remove-plain") != NULL;
	m->wait_us = WAIT_US;
	if (wait != NULL && (!et_duration_parse(wait, &m->wait_us) || m->wait_us < 0)) {
		return et_cli_usage(m->cli, reterr, "--wait is a duration such as 10m");
	}
	if (m->metadata != NULL &&
	    (m->cli->arg_count != 1 || stat(m->cli->args[0], &st) < 0 || S_ISDIR(st.st_mode))) {
		return et_cli_usage(m->cli, reterr, "--metadata is of one file");
	}
	return ack_option(m, reterr);
}

static void remains_say(const struct import *m)
{
	if (m->removed > 0) {
		et_cli_note(
			m->cli,
			"%u plain files are removed. Their bytes may still be on the medium: in "
			"free "
			"blocks (SSDs keep old ones, out of reach), in snapshots and backups of "
			"the "
			"file system, in a journal or swap, in copies that were made before, and "
			"in "
			"the page cache until the memory is used again. Who must be sure erases or "
			"destroys the medium.",
			m->removed);
	}
}

int et_cli_recording_import(struct et_cli *cli, struct et_error *reterr)
{
	static const struct et_cli_column columns[] = {
		{ "FILE", "path", ET_CLI_TEXT, false },
		{ "STATE", "state", ET_CLI_TEXT, false },
		{ "FORMAT", "format", ET_CLI_TEXT, false },
		{ "RECORDING", "recording", ET_CLI_TEXT, false },
		{ "ACK", "ack", ET_CLI_TEXT, false },
		{ "REMOVED", "removed", ET_CLI_TEXT, false },
		{ "WHY", "why", ET_CLI_TEXT, false },
		{ "SHA256", "sha256", ET_CLI_TEXT, true },
		{ NULL, NULL, ET_CLI_TEXT, false },
	};
	struct import m = { .cli = cli, .files = json_array() };
	ET_CLEANUP(et_json_freep) json_t *document = json_object();

	et_json_set(document, "files", m.files);
	int rc = options_read(&m, reterr);
	rc = rc < 0 ? rc : paths_import(&m, reterr);
	if (rc == 0 && json_array_size(m.files) == 0) {
		rc = et_fail_plain(reterr, ET_ENOTFOUND, "there is no file in it");
	}
	if (rc == 0) {
		et_json_set(document, "imported_or_known",
			    json_integer((json_int_t)(json_array_size(m.files) - m.failed)));
		et_json_set(document, "failed", json_integer(m.failed));
		et_json_set(document, "removed", json_integer(m.removed));
		rc = et_cli_print(cli, document, "files", columns, reterr);
	}
	remains_say(&m);
	return rc < 0 ? rc : m.failed > 0 ? ET_EXIT_DEGRADED : 0;
}
