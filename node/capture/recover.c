/* Tapes that a crash left open: the log of open tapes names them; node/tape closes each over its
 * longest prefix that checks; its SEGMENT_SEALED is told like that of any other tape, after the
 * next sync. */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/capture/writer_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"

enum { RING_NAME_MAX = 64 };

/* Of calls on demand that nobody had kept: their keys died with the process. */
static void clean_rings(struct et_writer *w)
{
	char path[PATH_MAX];
	char file[ET_RELATIVE_MAX];
	char text[128];
	uint32_t count = 0;
	et_writer_path(w, "ring", path);
	DIR *folder = opendir(path);
	const struct dirent *entry = NULL;
	while (folder != NULL && (entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] != '.' && strlen(entry->d_name) < RING_NAME_MAX) {
			(void)snprintf(file, sizeof(file), "ring/%.63s", entry->d_name);
			et_writer_path(w, file, path);
			count += unlink(path) == 0;
		}
	}
	if (folder != NULL) {
		(void)closedir(folder);
	}
	if (count > 0) {
		(void)snprintf(text, sizeof(text),
			       "the recorder was killed: %u tapes of calls on demand that nobody "
			       "had kept are lost with their keys",
			       count);
		w->problem_us[ET_PROBLEM_WRITE] = 0;
		et_writer_problem(w, ET_PROBLEM_WRITE, ET_ENOKEY, text);
	}
}

/* Close the tape, and line up what is to be told. */
static int recover_tape(struct et_writer *w, struct et_recovered *t, struct et_error *reterr)
{
	char path[PATH_MAX];
	struct et_tape_recovery recovery;
	struct et_tape_signer signer = {
		.node = w->config.node,
		.seed = w->config.sign_key,
		.now_us = et_clock_now_us(),
	};
	et_writer_path(w, t->file, path);
	int rc = et_tape_recover(path, &signer, NULL, &recovery, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_ack *ack = calloc(1, sizeof(*ack));
	if (ack == NULL) {
		return et_fail(reterr, -ENOMEM, "recover '%s'", t->file);
	}
	memcpy(ack->file, t->file, sizeof(ack->file));
	ack->has_segment = true;
	ack->log = w->log;
	w->log->refs++;
	struct et_capture_segment *s = &ack->segment;
	memcpy(s->recording, recovery.header.recording, 16);
	s->generation = recovery.header.generation;
	s->segment = recovery.header.segment;
	s->t0_us = recovery.header.t0_us;
	s->file = ack->file;
	s->seal = (recovery.seal.flags & ET_TAPE_RECOVERED) != 0 ? ET_SEAL_RECOVERED_UNVERIFIED
								 : ET_SEAL_SEALED;
	memcpy(s->root, recovery.seal.root, 32);
	memcpy(s->seal_hash, recovery.seal.seal_hash, 32);
	memcpy(s->header_hash, recovery.header.hash, 32);
	s->records = recovery.seal.records;
	s->block_bytes = recovery.seal.block_bytes;
	s->size_bytes = recovery.seal.size_bytes;
	s->sealed_us = recovery.seal.signed_us;
	t->last_us = s->t0_us + (int64_t)recovery.seal.last_ms * 1000;
	et_ack_push(w, ack);
	w->recovered++;
	return 0;
}

int et_writer_recover(struct et_writer *w, struct et_recovery *ret, struct et_error *reterr)
{
	clean_rings(w);
	int rc = et_openlog_start(w, ret, reterr);
	for (uint32_t i = 0; rc == 0 && i < ret->count; i++) {
		struct et_recovered *t = &ret->tapes[i];
		struct et_error error = { .text = "" };
		if (w->config.sign_key == NULL) { /* stays for a start that can sign */
			w->log->refs++;
			continue;
		}
		int failed = recover_tape(w, t, &error);
		if (failed == -ENOENT || failed == ET_ETRUNCATED) {
			/* It died between the log and the header: there is nothing to recover. */
			w->log->refs++;
			et_openlog_done(w, w->log, t->file);
		} else if (failed < 0) { /* told, and left as it is for a person to look at */
			w->problem_us[ET_PROBLEM_WRITE] = 0;
			et_writer_problem(w, ET_PROBLEM_WRITE, failed, error.text);
		}
	}
	return rc;
}

/* Who knows most of its recording: the one before it was sealed, and not told yet. */
static bool is_last(const struct et_recovery *r, const struct et_recovered *t)
{
	for (uint32_t i = 0; i < r->count; i++) {
		const struct et_recovered *other = &r->tapes[i];
		if (other->segment > t->segment && !et_keys_segment(other->segment) &&
		    memcmp(other->recording, t->recording, sizeof(t->recording)) == 0) {
			return false;
		}
	}
	return !et_keys_segment(t->segment); /* keys that came later are no end */
}

void et_writer_close_orphans(struct et_writer *w, struct et_recovery *r,
			     bool (*is_live)(void *arg, const uint8_t id[16]), void *arg)
{
	if (w->config.sign_key == NULL) {
		return;
	}
	for (uint32_t i = 0; i < r->count; i++) {
		struct et_recovered *t = &r->tapes[i];
		bool live = !t->closed && is_live(arg, t->recording);
		bool ends = !live && t->closing != NULL && is_last(r, t);
		struct et_ack *ack = ends ? calloc(1, sizeof(*ack)) : NULL;
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
