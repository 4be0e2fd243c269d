/* A tape is opened again, by the readers that everybody uses, and compared with its source. */
#include <string.h>

#include "node/import/import_internal.h"
#include "node/tape/file.h"
#include "node/tape/reader.h"

static int media_visit(const struct import_visitor *v, struct et_view plain,
		       struct et_error *reterr)
{
	struct et_media_decoder d;
	struct et_media_packet p;

	int rc = et_media_decoder_init(&d, plain, reterr);
	while (rc == 0 && (rc = et_media_decoder_next(&d, &p, reterr)) == 1) {
		rc = v->packet(v->arg, &p);
		if (rc < 0) {
			return et_fail(reterr, rc, "verify");
		}
	}
	return rc;
}

static int records_visit(struct et_tape_reader *reader, const struct import_visitor *v,
			 struct et_error *reterr)
{
	struct et_tape_record record;
	int rc;

	while ((rc = et_tape_reader_next(reader, &record, reterr)) == 1) {
		if (record.kind == ET_TAPE_MEDIA) {
			rc = media_visit(v, record.plain, reterr);
		} else if (record.kind == ET_TAPE_FILE && v->file != NULL) {
			rc = v->file(v->arg, record.plain, reterr);
		} else {
			rc = 0;
		}
		if (rc < 0) {
			return rc;
		}
	}
	return rc;
}

int import_open_tape(const struct et_import *m, const struct et_import_segment *s,
		     const struct import_visitor *visitor, struct et_error *reterr)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *reader = NULL;
	struct et_tape_source source;
	struct et_tape_report report;
	char path[IMPORT_PATH_MAX];
	const struct et_tape_expect expect = {
		.recording = s->header.recording,
		.generation = s->header.generation,
		.segment = s->header.segment,
		.header_hash = s->header.hash,
		.root = s->seal.root,
		.seal_hash = s->seal.seal_hash,
	};

	import_job_path(m, s->file, path);
	int rc = et_tape_source_open(path, &source, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_tape_verify(&source, &expect, &report, reterr);
	rc = rc < 0 ? rc : et_tape_reader_new(&source, s->dek, &reader, reterr);
	rc = rc < 0 ? rc : records_visit(reader, visitor, reterr);
	reader = et_tape_reader_free(reader);
	et_tape_source_close(&source);
	return rc;
}

struct woven {
	struct et_weave weave;
	struct et_sha256 *hash; /* owned */
};

static int woven_add(void *arg, const void *data, size_t size)
{
	struct woven *w = arg;
	et_sha256_add(w->hash, data, size);
	return 0;
}

static int woven_packet(void *arg, const struct et_media_packet *p)
{
	struct woven *w = arg;
	return et_weave_packet(&w->weave, p);
}

static int woven_file(void *arg, struct et_view plain, struct et_error *reterr)
{
	struct woven *w = arg;
	return et_weave_file(&w->weave, plain, reterr);
}

int import_check_audio(const struct et_import *m, const struct et_import_segment *s,
		       const uint8_t sha256[32], struct et_error *reterr)
{
	struct woven w = { .weave = { .sink = woven_add }, .hash = et_sha256_new() };
	const struct import_visitor visitor = { woven_packet, woven_file, &w };
	uint8_t found[32];

	w.weave.arg = &w;
	if (w.hash == NULL) {
		return et_fail(reterr, -ENOMEM, "verify");
	}
	int rc = import_open_tape(m, s, &visitor, reterr);
	if (rc == 0) {
		et_sha256_end(w.hash, found);
		if (!et_weave_is_whole(&w.weave) || memcmp(found, sha256, 32) != 0) {
			rc = et_fail_plain(reterr, ET_EINTEGRITY,
					   "what comes out of the tape is not the file");
		}
	}
	et_weave_release(&w.weave);
	w.hash = et_sha256_free(w.hash);
	return rc;
}
