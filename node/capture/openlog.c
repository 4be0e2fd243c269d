/* The log of open tapes: what a restart has to recover, and whose they are.
 *
 *   log    := "EVOL" version 1 | record*             calls/open-<number>.log, append-only
 *   record := size 4 | crc32c 4 | kind 1 | file | (OPEN, CLOSE: recording 16 | segment 4 | facts |
 *             count 1 | streams)
 *
 * OPEN stands there before its tape is created, CLOSE (with the final facts) before its footer,
 * DONE after its SEGMENT_SEALED was told. One write(2) each, so that a killed process leaves whole
 * records and one torn tail; durable with the tick, like the tapes themselves.
 *
 * A log that has grown is followed by another one: what is open is written into it again. A log
 * goes when nothing in it is open any more and a sync has passed; the oldest first, since a DONE
 * may stand in a later log than its OPEN. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/capture/writer_internal.h"
#include "node/io/file.h"

enum {
	HEAD_SIZE = 5,
	RECORD_HEAD_SIZE = 8,
	RECORD_MAX = 256 * 1024,
	LOG_BYTES_MAX = 4 * 1024 * 1024, /* then the next one begins */
	LOG_READ_MAX = 256 * 1024 * 1024,
	LOGS_MAX = 64,
};

enum kind { KIND_OPEN = 1, KIND_CLOSE = 2, KIND_DONE = 3 };

static void log_path(const struct et_writer *w, uint32_t number, char ret[PATH_MAX])
{
	char relative[ET_RELATIVE_MAX];
	(void)snprintf(relative, sizeof(relative), "calls/open-%08u.log", (unsigned)number);
	et_writer_path(w, relative, ret);
}

/* ---- Writing --------------------------------------------------------------------------------- */

int et_openlog_begin(struct et_writer *w, uint32_t number, struct et_error *reterr)
{
	char path[PATH_MAX];
	struct et_openlog *log = calloc(1, sizeof(*log));
	if (log == NULL) {
		return et_fail(reterr, -ENOMEM, "log of open tapes");
	}
	log_path(w, number, path);
	log->number = number;
	log->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc = log->fd < 0 ? -errno : et_file_pwrite(log->fd, "EVOL\1", HEAD_SIZE, 0);
	if (rc < 0) {
		if (log->fd >= 0) {
			(void)close(log->fd);
			(void)unlink(path);
		}
		free(log);
		return et_fail(reterr, rc, "create '%s'", path);
	}
	log->size = HEAD_SIZE;
	*(w->log != NULL ? &w->log->next : &w->logs) = log;
	w->log = log;
	return 0;
}

void et_openlog_end(struct et_writer *w)
{
	while (w->logs != NULL) {
		struct et_openlog *log = w->logs;
		w->logs = log->next;
		(void)close(log->fd);
		free(log);
	}
	w->log = NULL;
}

/* One record at the end of the present log: all of it or nothing. */
static int append(struct et_writer *w, struct et_buffer *b)
{
	struct et_openlog *log = w->log;
	if (b->failed) {
		return -ENOMEM;
	}
	et_put32(b->data, (uint32_t)(b->size - RECORD_HEAD_SIZE));
	et_put32(b->data + 4, et_crc32c(0, b->data + RECORD_HEAD_SIZE, b->size - RECORD_HEAD_SIZE));
	int rc = et_file_pwrite(log->fd, b->data, b->size, (int64_t)log->size);
	if (rc < 0) {
		if (ftruncate(log->fd, (off_t)log->size) < 0) {
			return -errno;
		}
		return rc;
	}
	log->size += b->size;
	return 0;
}

static void record_begin(struct et_buffer *b, enum kind kind, const char *file)
{
	et_buffer_add64(b, 0);
	et_buffer_add8(b, (uint8_t)kind);
	et_table_add_text(b, file);
}

static int append_facts(struct et_writer *w, enum kind kind, const char *file, uint32_t segment,
			const struct et_facts *facts, const struct et_capture_stream *streams,
			uint32_t count)
{
	struct et_buffer b = { .data = NULL };
	record_begin(&b, kind, file);
	et_buffer_add(&b, facts->id, 16);
	et_buffer_add32(&b, segment);
	et_facts_save(&b, facts);
	et_buffer_add8(&b, (uint8_t)count);
	for (uint32_t i = 0; i < count; i++) {
		et_stream_save(&b, &streams[i]);
	}
	int rc = append(w, &b);
	et_buffer_release(&b);
	return rc;
}

/* What is open moves on into a new log. */
static void rotate(struct et_writer *w)
{
	if (w->log->size < LOG_BYTES_MAX || et_openlog_begin(w, w->log->number + 1, NULL) < 0) {
		return;
	}
	for (uint32_t i = 0; i < w->config.calls; i++) {
		struct et_slot *s = w->slots[i];
		if (s != NULL && s->log != NULL && s->log != w->log &&
		    append_facts(w, KIND_OPEN, s->file, s->segment, &s->facts, NULL, 0) == 0) {
			s->log->refs--;
			s->log = w->log;
			s->log->refs++;
		}
	}
	et_openlog_sweep(w);
}

int et_openlog_open(struct et_writer *w, const char *file, uint32_t segment,
		    const struct et_facts *facts, struct et_openlog **ret)
{
	rotate(w);
	int rc = append_facts(w, KIND_OPEN, file, segment, facts, NULL, 0);
	if (rc == 0) {
		*ret = w->log;
		w->log->refs++;
	}
	return rc;
}

void et_openlog_close(struct et_writer *w, const char *file, uint32_t segment,
		      const struct et_closing *closing)
{
	/* Without it a crash before the seal costs the final counts, no more. */
	(void)append_facts(w, KIND_CLOSE, file, segment, &closing->facts, closing->streams,
			   closing->count);
}

void et_openlog_done(struct et_writer *w, struct et_openlog *log, const char *file)
{
	struct et_buffer b = { .data = NULL };
	if (log == NULL) {
		return;
	}
	record_begin(&b, KIND_DONE, file);
	(void)append(w, &b); /* without it the seal is told again at the next start */
	et_buffer_release(&b);
	log->refs--;
}

void et_openlog_sweep(struct et_writer *w)
{
	char path[PATH_MAX];
	while (w->logs != w->log && w->logs->refs == 0) {
		struct et_openlog *log = w->logs;
		if (log->dead_sequence == 0) {
			log->dead_sequence = atomic_fetch_add(&w->written, 1) + 1;
		}
		if (log->dead_sequence > atomic_load(&w->synced)) {
			return;
		}
		w->logs = log->next;
		log_path(w, log->number, path);
		(void)close(log->fd);
		(void)unlink(path);
		free(log);
	}
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void forget(struct et_recovery *r, const char *file)
{
	for (uint32_t i = 0; i < r->count; i++) {
		if (strcmp(r->tapes[i].file, file) == 0) {
			free(r->tapes[i].closing);
			r->tapes[i] = r->tapes[--r->count];
			return;
		}
	}
}

static int remember(struct et_recovery *r, const struct et_recovered *tape)
{
	if (r->count == r->room) {
		uint32_t room = r->room == 0 ? 64 : r->room * 2;
		struct et_recovered *tapes = realloc(r->tapes, room * sizeof(*tapes));
		if (tapes == NULL) {
			return -ENOMEM;
		}
		r->tapes = tapes;
		r->room = room;
	}
	r->tapes[r->count++] = *tape;
	return 0;
}

static int read_facts(struct et_reader *r, struct et_recovered *ret)
{
	struct et_facts facts = { .start_us = 0 };
	const uint8_t *id = et_read_bytes(r, 16);
	ret->segment = et_read32(r);
	et_facts_read(r, &facts);
	uint32_t count = et_read8(r);
	if (r->failed || count > ET_CAPTURE_STREAMS_MAX) {
		return ET_ECORRUPT;
	}
	struct et_closing *closing = malloc(sizeof(*closing) + count * sizeof(closing->streams[0]));
	if (closing == NULL) {
		return -ENOMEM;
	}
	closing->facts = facts;
	closing->count = count;
	for (uint32_t i = 0; i < count; i++) {
		et_stream_read(r, &closing->streams[i]);
	}
	if (r->failed) {
		free(closing);
		return ET_ECORRUPT;
	}
	memcpy(ret->recording, id, 16);
	ret->closing = closing;
	return 0;
}

static int read_record(struct et_view record, struct et_recovery *ret)
{
	struct et_recovered tape = { .segment = 0 };
	struct et_reader r = et_reader_of(record.data, record.size);
	uint8_t kind = et_read8(&r);
	et_table_read_text(&r, tape.file, sizeof(tape.file));
	if (r.failed || strncmp(tape.file, "tapes/", 6) != 0 || strstr(tape.file, "..") != NULL) {
		return ET_ECORRUPT;
	}
	forget(ret, tape.file);
	if (kind == KIND_DONE) {
		return 0;
	}
	int rc = read_facts(&r, &tape);
	if (rc < 0) {
		return rc;
	}
	tape.closed = kind == KIND_CLOSE;
	rc = remember(ret, &tape);
	if (rc < 0) {
		free(tape.closing);
	}
	return rc;
}

/* Up to the torn tail. */
static int read_log(const char *path, struct et_recovery *ret, struct et_error *reterr)
{
	struct et_buffer bytes = { .data = NULL };
	int rc = et_file_read(path, LOG_READ_MAX, &bytes, reterr);
	if (rc < 0) {
		et_buffer_release(&bytes);
		return rc;
	}
	if (bytes.size < HEAD_SIZE || memcmp(bytes.data, "EVOL\1", HEAD_SIZE) != 0) {
		rc = bytes.size < HEAD_SIZE ? 0 : et_fail(reterr, ET_ECORRUPT, "'%s'", path);
		et_buffer_release(&bytes);
		return rc;
	}
	size_t at = HEAD_SIZE;
	while (rc == 0 && at + RECORD_HEAD_SIZE <= bytes.size) {
		uint32_t size = et_get32(bytes.data + at);
		const uint8_t *p = bytes.data + at + RECORD_HEAD_SIZE;
		if (size > RECORD_MAX || size > bytes.size - at - RECORD_HEAD_SIZE ||
		    et_crc32c(0, p, size) != et_get32(bytes.data + at + 4)) {
			break;
		}
		rc = read_record((struct et_view){ p, size }, ret);
		at += RECORD_HEAD_SIZE + size;
	}
	et_buffer_release(&bytes);
	return rc < 0 ? et_fail(reterr, rc, "'%s'", path) : 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static int list_logs(struct et_writer *w, uint32_t numbers[LOGS_MAX], struct et_error *reterr)
{
	char path[PATH_MAX];
	int count = 0;
	et_writer_path(w, "calls", path);
	DIR *folder = opendir(path);
	if (folder == NULL) {
		return et_fail(reterr, -errno, "open folder '%s'", path);
	}
	const struct dirent *entry = NULL;
	while ((entry = readdir(folder)) != NULL && count < LOGS_MAX) {
		unsigned number = 0;
		int end = 0;
		if (sscanf(entry->d_name, "open-%8u.log%n", &number, &end) == 1 &&
		    entry->d_name[end] == '\0' && end > 0) {
			numbers[count++] = number;
		}
	}
	(void)closedir(folder);
	qsort(numbers, (size_t)count, sizeof(*numbers), by_number);
	return count;
}

/* What was open goes into the new log, which is durable before the old ones are removed. */
static int carry_over(struct et_writer *w, struct et_recovery *r, const uint32_t *numbers,
		      int count, struct et_error *reterr)
{
	char path[PATH_MAX];
	int rc = 0;
	for (uint32_t i = 0; i < r->count && rc == 0; i++) {
		const struct et_recovered *t = &r->tapes[i];
		rc = append_facts(w, t->closed ? KIND_CLOSE : KIND_OPEN, t->file, t->segment,
				  &t->closing->facts, t->closing->streams, t->closing->count);
	}
	if (rc == 0 && fsync(w->log->fd) < 0) {
		rc = -errno;
	}
	if (rc == 0) {
		log_path(w, w->log->number, path);
		rc = et_file_sync_parent(path, NULL);
	}
	if (rc < 0) {
		return et_fail(reterr, rc, "log of open tapes in '%s/calls'", w->media);
	}
	for (int i = 0; i < count; i++) {
		log_path(w, numbers[i], path);
		(void)unlink(path);
	}
	return 0;
}

int et_openlog_start(struct et_writer *w, struct et_recovery *ret, struct et_error *reterr)
{
	uint32_t numbers[LOGS_MAX];
	char path[PATH_MAX];
	int count = list_logs(w, numbers, reterr);
	if (count < 0) {
		return count;
	}
	*ret = (struct et_recovery){ .count = 0 };
	int rc = 0;
	for (int i = 0; i < count && rc == 0; i++) {
		log_path(w, numbers[i], path);
		rc = read_log(path, ret, reterr);
	}
	if (rc == 0) {
		rc = et_openlog_begin(w, count > 0 ? numbers[count - 1] + 1 : 1, reterr);
	}
	if (rc == 0) {
		rc = carry_over(w, ret, numbers, count, reterr);
	}
	if (rc < 0) {
		et_recovery_release(ret);
	}
	return rc;
}
