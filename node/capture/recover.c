/* Tapes that a crash left open. Each has a marker in calls/open; node/tape closes it over its
 * longest prefix that checks; its SEGMENT_SEALED is told like that of any other tape, after the
 * next sync. */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/capture/writer_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"

enum { MARKER_MAX = 65536, PROBLEM_WRITE = 0 };

struct marker {
	char file[ET_RELATIVE_MAX];
	struct et_recovered recovered;
};

static int marker_parse(struct et_view bytes, struct marker *ret)
{
	if (bytes.size < 9 || memcmp(bytes.data, "EVOM", 4) != 0 || bytes.data[4] != 1 ||
	    et_crc32c(0, bytes.data, bytes.size - 4) != et_get32(bytes.data + bytes.size - 4)) {
		return ET_ECORRUPT;
	}
	struct et_reader r = et_reader_of(bytes.data + 5, bytes.size - 9);
	et_table_read_text(&r, ret->file, sizeof(ret->file));
	const uint8_t *id = et_read_bytes(&r, 16);
	ret->recovered.segment = et_read32(&r);
	ret->recovered.closed = et_read8(&r) != 0;
	struct et_facts facts = { .start_us = 0 };
	et_facts_read(&r, &facts);
	uint32_t count = et_read8(&r);
	if (r.failed || count > ET_CAPTURE_STREAMS_MAX) {
		return ET_ECORRUPT;
	}
	struct et_closing *closing = malloc(sizeof(*closing) + count * sizeof(closing->streams[0]));
	if (closing == NULL) {
		return -ENOMEM;
	}
	closing->facts = facts;
	closing->count = count;
	for (uint32_t i = 0; i < count; i++) {
		et_stream_read(&r, &closing->streams[i]);
	}
	if (r.failed) {
		free(closing);
		return ET_ECORRUPT;
	}
	memcpy(ret->recovered.recording, id, 16);
	ret->recovered.closing = closing;
	return 0;
}

/* Close the tape, and line up what is to be told. */
static int recover_tape(struct et_writer *w, struct marker *m, struct et_error *reterr)
{
	char path[PATH_MAX];
	struct et_tape_recovery recovery;
	struct et_tape_signer signer = {
		.node = w->config.node,
		.seed = w->config.sign_key,
		.now_us = et_clock_now_us(),
	};
	et_writer_path(w, m->file, path);
	int rc = et_tape_recover(path, &signer, NULL, &recovery, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_ack *ack = calloc(1, sizeof(*ack));
	if (ack == NULL) {
		return et_fail(reterr, -ENOMEM, "recover '%s'", m->file);
	}
	memcpy(ack->file, m->file, sizeof(ack->file));
	ack->has_segment = true;
	ack->has_marker = true;
	struct et_capture_segment *s = &ack->segment;
	memcpy(s->recording, recovery.header.recording, 16);
	s->generation = recovery.header.generation;
	s->segment = recovery.header.segment;
	s->t0_us = recovery.header.t0_us;
	s->file = ack->file;
	s->seal = (recovery.seal.flags & ET_TAPE_RECOVERED) != 0 ? ET_SEAL_RECOVERED_UNVERIFIED
								 : ET_SEAL_SEALED;
	memcpy(s->root, recovery.seal.root, 32);
	memcpy(s->object_hash, recovery.seal.object_hash, 32);
	memcpy(s->header_hash, recovery.header.hash, 32);
	s->records = recovery.seal.records;
	s->size_bytes = recovery.seal.size_bytes;
	s->sealed_us = recovery.seal.signed_us;
	m->recovered.last_us = s->t0_us + (int64_t)recovery.seal.last_ms * 1000;
	et_ack_push(w, ack);
	w->recovered++;
	return 0;
}

static bool is_tape_name(const char *file)
{
	return strncmp(file, "tapes/", 6) == 0 && strstr(file, "..") == NULL;
}

static int recover_marker(struct et_writer *w, const char *name, struct et_recovery *ret,
			  struct et_error *reterr)
{
	char relative[ET_RELATIVE_MAX * 3];
	char path[PATH_MAX];
	struct marker m = { .file = "" };
	struct et_buffer bytes = { .data = NULL };
	(void)snprintf(relative, sizeof(relative), "calls/open/%.255s", name);
	et_writer_path(w, relative, path);
	int rc = et_file_read(path, MARKER_MAX, &bytes, reterr);
	if (rc == 0) {
		rc = marker_parse((struct et_view){ bytes.data, bytes.size }, &m);
	}
	et_buffer_release(&bytes);
	if (rc == 0 && !is_tape_name(m.file)) {
		rc = ET_ECORRUPT;
	}
	struct et_recovered *tapes = NULL;
	if (rc == 0) {
		tapes = realloc(ret->tapes, (ret->count + 1) * sizeof(*tapes));
		rc = tapes == NULL ? -ENOMEM : 0;
	}
	if (rc < 0) {
		free(m.recovered.closing);
		return et_fail(reterr, rc, "marker '%s'", path);
	}
	ret->tapes = tapes;
	rc = recover_tape(w, &m, reterr);
	if (rc == -ENOENT || rc == ET_ETRUNCATED) {
		/* It died between the marker and the header: there is nothing to recover. */
		(void)unlink(path);
		rc = 0;
	}
	ret->tapes[ret->count++] = m.recovered;
	return rc;
}

int et_writer_recover(struct et_writer *w, struct et_recovery *ret, struct et_error *reterr)
{
	char path[PATH_MAX];
	*ret = (struct et_recovery){ .count = 0 };
	et_writer_path(w, "calls/open", path);
	DIR *folder = opendir(path);
	if (folder == NULL) {
		return et_fail(reterr, -errno, "open folder '%s'", path);
	}
	const struct dirent *entry = NULL;
	while ((entry = readdir(folder)) != NULL) {
		struct et_error error = { .text = "" };
		if (entry->d_name[0] == '.') {
			continue;
		}
		int rc = recover_marker(w, entry->d_name, ret, &error);
		if (rc < 0) { /* told, and left as it is for a person to look at */
			w->problem_us[PROBLEM_WRITE] = 0;
			et_writer_problem(w, PROBLEM_WRITE, rc, error.text);
		}
	}
	(void)closedir(folder);
	return 0;
}

void et_writer_close_orphans(struct et_writer *w, struct et_recovery *r,
			     bool (*is_live)(void *arg, const uint8_t id[16]), void *arg)
{
	for (uint32_t i = 0; i < r->count; i++) {
		struct et_recovered *t = &r->tapes[i];
		bool live = !t->closed && is_live(arg, t->recording);
		struct et_ack *ack = live || t->closing == NULL ? NULL : calloc(1, sizeof(*ack));
		if (ack == NULL) {
			continue;
		}
		struct et_facts *f = &t->closing->facts;
		if (!t->closed) {
			f->state = ET_CALL_PARTIAL;
			f->end_us = t->last_us != 0 ? t->last_us : f->start_us;
			(void)snprintf(
				f->problem, sizeof(f->problem),
				"the recorder was restarted, and the call was not continued");
		}
		ack->closing = ET_TAKE(t->closing);
		et_ack_push(w, ack);
	}
}

void et_recovery_release(struct et_recovery *r)
{
	for (uint32_t i = 0; i < r->count; i++) {
		free(r->tapes[i].closing);
	}
	free(r->tapes);
	*r = (struct et_recovery){ .count = 0 };
}

int64_t et_recovery_gap(void *recovery, const uint8_t id[16], uint32_t *segment)
{
	const struct et_recovery *r = recovery;
	int64_t last_us = 0;
	for (uint32_t i = 0; i < r->count; i++) {
		if (memcmp(r->tapes[i].recording, id, 16) == 0) {
			if (r->tapes[i].segment > *segment) {
				*segment = r->tapes[i].segment;
			}
			if (r->tapes[i].last_us > last_us) {
				last_us = r->tapes[i].last_us;
			}
		}
	}
	return last_us;
}
