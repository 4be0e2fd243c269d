#include "cluster-tests/harness/tape/damage.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tests/harness/tape/made.h"
#include "node/crypto/hash.h"
#include "node/io/file.h"
#include "node/tape/reader.h"

enum { HOLE = 64 }; /* bytes of a block that was lost in the middle */

struct run {
	const struct et_damage_config *config;
	struct et_damage_result *result;
	struct et_damage_tally *tally; /* of the kind at hand */
	struct et_made_tape made;
	struct et_made_tape other; /* of the same size in records, under another key */
	struct et_buffer work;	   /* a copy of made.object, for the damage */
	uint8_t *plain;		   /* owned, ET_TAPE_PLAIN_MAX */
	char path[256];
	uint64_t at; /* the byte at hand; for messages */
};

/* ---- What is promised, and what came --------------------------------------------------------- */

static void kind_begin(struct run *r, const char *name, const char *promise)
{
	et_assert(r->result->kind_count < ET_DAMAGE_KINDS);
	r->tally = &r->result->kinds[r->result->kind_count++];
	*r->tally = (struct et_damage_tally){ .name = name, .promise = promise };
}

/* One try is over; `problem` is "" or what was not as promised. */
static void kind_count(struct run *r, const char *problem)
{
	r->tally->tried++;
	r->result->tried++;
	if (problem[0] != '\0') {
		r->tally->wrong++;
		r->result->wrong++;
		if (r->tally->first_wrong[0] == '\0') {
			(void)snprintf(r->tally->first_wrong, sizeof(r->tally->first_wrong),
				       "byte %llu: %.120s", (unsigned long long)r->at, problem);
		}
	}
}

/* How many records of the made tape are whole in its first `size` bytes. */
static uint32_t records_in(const struct et_made_tape *m, uint64_t size)
{
	uint32_t n = 0;

	while (n < m->records && m->ends[n + 1] <= size) {
		n++;
	}
	return n;
}

static int store(const struct run *r, const uint8_t *data, size_t size, struct et_error *reterr)
{
	FILE *f = fopen(r->path, "wbe");
	bool whole = f != NULL && fwrite(data, 1, size, f) == size;
	bool closed = f != NULL && fclose(f) == 0;

	return whole && closed ? 0 : et_fail(reterr, -EIO, "write '%s'", r->path);
}

/* The records that the reader gives out with the key are the first `want` of the made tape. */
static const char *read_back(struct run *r, const struct et_tape_source *source, uint32_t want)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *reader = NULL;
	struct et_tape_record record;
	uint32_t n = 0;
	int rc = et_tape_reader_new(source, r->made.dek, &reader, NULL);

	if (rc < 0) {
		return "the recovered tape cannot be opened";
	}
	while ((rc = et_tape_reader_next(reader, &record, NULL)) == 1) {
		if (n >= want) {
			return "there is a record too many";
		}
		et_made_plain(&r->made, n, r->plain);
		if (record.plain.size != r->made.sizes[n] ||
		    memcmp(record.plain.data, r->plain, record.plain.size) != 0) {
			return "a record is not what was written";
		}
		n++;
	}
	return rc < 0 ? "a recovered record does not open" : n < want ? "a record is missing" : "";
}

/* Recover r->path: exactly the first `want` records must come of it, byte for byte, sealed anew. */
static const char *recover(struct run *r, uint32_t want, bool with_key, bool unpublished)
{
	const struct et_secret *dek = with_key ? r->made.dek : NULL;
	ET_CLEANUP(et_buffer_release) struct et_buffer after = { 0 };
	struct et_tape_recovery recovery;
	struct et_tape_report report;
	int rc = unpublished ? et_tape_recover_unpublished(r->path, &r->made.signer, dek, &recovery,
							   NULL)
			     : et_tape_recover(r->path, &r->made.signer, dek, &recovery, NULL);

	if (rc < 0) {
		return "it was not recovered";
	}
	if (recovery.was_sealed || recovery.seal.records != want) {
		return "another number of records was recovered";
	}
	if (recovery.seal.flags != (ET_TAPE_RECOVERED | (with_key ? 0U : ET_TAPE_UNVERIFIED))) {
		return "its footer does not say that it was recovered";
	}
	if (et_file_read(r->path, 1U << 30, &after, NULL) < 0 || after.size < r->made.ends[want] ||
	    memcmp(after.data, r->made.object.data, r->made.ends[want]) != 0) {
		return "the bytes of the prefix are not those that were written";
	}
	const struct et_view view = { after.data, after.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	const struct et_tape_expect expect = { .root = recovery.seal.root,
					       .seal_hash = recovery.seal.seal_hash,
					       .signer_public = r->made.sign_public };
	if (et_tape_verify(&source, &expect, &report, NULL) < 0) {
		return "the recovered tape does not verify";
	}
	return read_back(r, &source, want);
}

/* No promise but that it is refused and left as it is. */
static const char *refuse(struct run *r, const uint8_t *data, size_t size)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer after = { 0 };
	struct et_tape_recovery recovery;
	int rc = et_tape_recover(r->path, &r->made.signer, r->made.dek, &recovery, NULL);

	if (rc >= 0) {
		return "it was recovered";
	}
	if (et_file_read(r->path, 1U << 30, &after, NULL) < 0 || after.size != size ||
	    memcmp(after.data, data, size) != 0) {
		return "it was refused, and changed";
	}
	return "";
}

/* ---- Truncated and torn tapes ---------------------------------------------------------------- */

static int truncate_all(struct run *r, bool with_key, struct et_error *reterr)
{
	int rc = 0;

	kind_begin(r,
		   with_key ? "truncated at every byte, with the DEK"
			    : "truncated at every byte, "
			      "without a key",
		   "exactly the whole records are recovered");
	for (r->at = 0; r->at < r->made.object.size && rc == 0; r->at++) {
		rc = store(r, r->made.object.data, r->at, reterr);
		if (rc == 0) {
			kind_count(r, r->at < ET_TAPE_HEADER_SIZE
					      ? refuse(r, r->made.object.data, r->at)
					      : recover(r, records_in(&r->made, r->at), with_key,
							false));
		}
	}
	return rc;
}

/* What a block that was not written holds. */
enum filler { ZEROS, NOISE, OTHER };

static void fill(struct run *r, enum filler filler, uint64_t from, uint64_t size)
{
	uint8_t *p = r->work.data + from;

	if (filler == ZEROS) {
		memset(p, 0, size);
	} else if (filler == NOISE) {
		et_made_content(r->made.seed + r->at, 99, p, size);
	} else {
		for (uint64_t i = 0; i < size; i++) {
			p[i] = from + i < r->other.object.size ? r->other.object.data[from + i] : 0;
		}
	}
}

/* Where r->work first differs from what was written. */
static uint64_t first_difference(const struct run *r, uint64_t from, uint64_t size)
{
	uint64_t at = from;

	while (at < size && r->work.data[at] == r->made.object.data[at]) {
		at++;
	}
	return at;
}

/* An open or a sealed tape whose end, from each byte on, is something else. */
static int tails_all(struct run *r, const char *name, enum filler filler, bool sealed,
		     struct et_error *reterr)
{
	const uint64_t size = sealed ? r->made.object.size : r->made.ends[r->made.records];
	int rc = 0;

	kind_begin(r, name, "exactly the records before it are recovered");
	for (r->at = ET_TAPE_HEADER_SIZE; r->at < size && rc == 0; r->at++) {
		memcpy(r->work.data, r->made.object.data, size);
		fill(r, filler, r->at, size - r->at);
		const uint64_t reached = first_difference(r, r->at, size);
		if (sealed && reached == size) {
			continue; /* Nothing was changed. */
		}
		rc = store(r, r->work.data, size, reterr);
		if (rc == 0) {
			kind_count(r, recover(r, records_in(&r->made, reached), r->at % 2 == 0,
					      false));
		}
	}
	return rc;
}

/* A sealed tape with a hole: a seal that somebody knows is left alone, another one is cut. */
static int holes_all(struct run *r, struct et_error *reterr)
{
	const uint64_t end = r->made.seal.body_bytes;
	int rc = 0;

	kind_begin(r, "a block of zeros in the middle, sealed",
		   "left alone; unpublished: the records before it");
	for (r->at = ET_TAPE_HEADER_SIZE; r->at + HOLE <= end && rc == 0; r->at++) {
		memcpy(r->work.data, r->made.object.data, r->made.object.size);
		fill(r, ZEROS, r->at, HOLE);
		const uint64_t reached = first_difference(r, r->at, r->made.object.size);
		if (reached == r->made.object.size) {
			continue;
		}
		rc = store(r, r->work.data, r->work.size, reterr);
		if (rc == 0) {
			const char *problem = refuse(r, r->work.data, r->work.size);
			kind_count(r, problem[0] != '\0' ? problem
							 : recover(r, records_in(&r->made, reached),
								   r->at % 2 == 0, true));
		}
	}
	return rc;
}

/* ---- Flipped bits ---------------------------------------------------------------------------- */

/* Somebody who can write the file: the CRC of the record that byte `at` is in is made to fit. */
static void crc_mend(struct run *r, uint64_t at)
{
	const uint32_t n = records_in(&r->made, at);
	uint8_t *record = r->work.data + r->made.ends[n];
	const size_t size = (size_t)(r->made.ends[n + 1] - r->made.ends[n]);

	uint32_t crc = et_crc32c(0, r->work.data + 128, 32);
	crc = et_crc32c(crc, record, 16);
	et_put32(record + 16, et_crc32c(crc, record + ET_TAPE_RECORD_HEAD_SIZE,
					size - ET_TAPE_RECORD_HEAD_SIZE));
}

/* Without a key, and without the catalogue: it must not verify, and in a record its place is told.
 */
static const char *verify_flip(struct run *r, bool mended)
{
	const struct et_view view = { r->work.data, r->work.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	struct et_tape_report report;

	if (et_tape_verify(&source, NULL, &report, NULL) >= 0) {
		return "it verifies";
	}
	const bool in_body = r->at >= ET_TAPE_HEADER_SIZE && r->at < r->made.ends[r->made.records];
	const uint32_t n = records_in(&r->made, r->at);
	if (in_body && !mended &&
	    (report.good_records != n || report.bad_offset != r->made.ends[n])) {
		return "it is said to be damaged elsewhere";
	}
	return "";
}

static void flips_verified(struct run *r)
{
	kind_begin(r,
		   r->config->bits ? "every bit flipped, sealed, no key"
				   : "a bit of every byte flipped, sealed, no key",
		   "found, and in the record that it is in");
	memcpy(r->work.data, r->made.object.data, r->made.object.size);
	for (r->at = 0; r->at < r->made.object.size; r->at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			if (r->config->bits || bit == r->at % 8) {
				r->work.data[r->at] ^= (uint8_t)(1U << bit);
				kind_count(r, verify_flip(r, false));
				r->work.data[r->at] ^= (uint8_t)(1U << bit);
			}
		}
	}
}

/* The CRC made to fit: without a key the leaves find it in a sealed tape, with the DEK the tag does
 * in an open one. */
static int flips_mended(struct run *r, bool sealed, struct et_error *reterr)
{
	const uint64_t body = r->made.ends[r->made.records];
	int rc = 0;

	kind_begin(r,
		   sealed ? "flipped, the CRC made to fit, sealed, no key"
			  : "flipped, the CRC made to fit, open, with the DEK",
		   sealed ? "found" : "exactly the records before it are recovered");
	for (r->at = ET_TAPE_HEADER_SIZE; r->at < body && rc == 0; r->at++) {
		const uint32_t n = records_in(&r->made, r->at);
		const uint64_t in_record = r->at - r->made.ends[n];
		if (in_record >= 16 && in_record < 20) {
			continue; /* The CRC itself: mending it takes the flip back. */
		}
		memcpy(r->work.data, r->made.object.data, r->made.object.size);
		r->work.data[r->at] ^= (uint8_t)(1U << r->at % 8);
		crc_mend(r, r->at);
		if (sealed) {
			kind_count(r, verify_flip(r, true));
			continue;
		}
		rc = store(r, r->work.data, body, reterr);
		if (rc == 0) {
			kind_count(r, recover(r, n, true, false));
		}
	}
	return rc;
}

static int flips_open(struct run *r, struct et_error *reterr)
{
	const uint64_t body = r->made.ends[r->made.records];
	int rc = 0;

	kind_begin(r, "a bit of every byte flipped, open",
		   "the records before it are recovered; a bad header is refused");
	for (r->at = 0; r->at < body && rc == 0; r->at++) {
		memcpy(r->work.data, r->made.object.data, body);
		r->work.data[r->at] ^= (uint8_t)(1U << (r->at + 3) % 8);
		rc = store(r, r->work.data, body, reterr);
		if (rc == 0) {
			kind_count(r, r->at < ET_TAPE_HEADER_SIZE
					      ? refuse(r, r->work.data, body)
					      : recover(r, records_in(&r->made, r->at),
							r->at % 2 == 0, false));
		}
	}
	return rc;
}

/* With the key: a record that was changed is never given out. */
static void flips_read(struct run *r)
{
	const uint64_t body = r->made.ends[r->made.records];
	const struct et_view view = { r->work.data, r->work.size };
	const struct et_tape_source source = et_tape_source_memory(&view);

	kind_begin(r, "a bit of every byte flipped, sealed, read",
		   "nothing that was changed is given out");
	memcpy(r->work.data, r->made.object.data, r->made.object.size);
	for (r->at = ET_TAPE_HEADER_SIZE; r->at < body; r->at++) {
		const uint32_t n = records_in(&r->made, r->at);
		const uint64_t in_record = r->at - r->made.ends[n];
		const bool in_crc =
			in_record >= 16 && in_record < 20; /* The tag covers all else. */
		r->work.data[r->at] ^= 0x10;
		const char *problem = read_back(r, &source, r->made.records);
		r->work.data[r->at] ^= 0x10;
		const bool refused = strcmp(problem, "a recovered record does not open") == 0;
		kind_count(r, refused || (in_crc && problem[0] == '\0') ? ""
			      : problem[0] != '\0'			? problem
									: "it was read");
	}
}

/* Sought with the key, by a damaged INDEX, END or head: what is given out is what was written, or
 * nothing is. */
static const char *seek_back(struct run *r, const struct et_tape_source *source, uint32_t ms)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *reader = NULL;
	struct et_tape_record record;

	if (et_tape_reader_new(source, r->made.dek, &reader, NULL) < 0) {
		return "it cannot be opened";
	}
	const int found = et_tape_reader_find(reader, ms, NULL);
	if (found < 0) {
		return "seeking failed";
	}
	if (et_tape_reader_next(reader, &record, NULL) != 1) {
		return "";
	}
	if (record.seq >= r->made.records || record.offset != r->made.ends[record.seq] ||
	    record.plain.size != r->made.sizes[record.seq]) {
		return "a record that is none was given out";
	}
	et_made_plain(&r->made, record.seq, r->plain);
	if (memcmp(record.plain.data, r->plain, record.plain.size) != 0) {
		return "a record is not what was written";
	}
	if (found == 1 && record.kind == ET_TAPE_CHECKPOINT && record.t_ms > ms) {
		return "a later checkpoint was given out";
	}
	return "";
}

static void flips_sought(struct run *r)
{
	const uint64_t body = r->made.ends[r->made.records];
	const struct et_view view = { r->work.data, r->work.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	const uint32_t ms = r->made.records * 1000;

	kind_begin(r, "a bit of every byte flipped, sealed, sought",
		   "what is given out is what was written");
	memcpy(r->work.data, r->made.object.data, r->made.object.size);
	for (r->at = ET_TAPE_HEADER_SIZE; r->at < body; r->at++) {
		r->work.data[r->at] ^= (uint8_t)(1U << r->at % 8);
		kind_count(r, seek_back(r, &source, ms / 2));
		kind_count(r, seek_back(r, &source, ms));
		r->work.data[r->at] ^= (uint8_t)(1U << r->at % 8);
	}
}

/* ---- All of it ------------------------------------------------------------------------------- */

static int run_all(struct run *r, struct et_error *reterr)
{
	int rc = truncate_all(r, false, reterr);
	rc = rc < 0 ? rc : truncate_all(r, true, reterr);
	rc = rc < 0 ? rc : tails_all(r, "zeros from every byte on, open", ZEROS, false, reterr);
	rc = rc < 0 ? rc : tails_all(r, "zeros from every byte on, sealed", ZEROS, true, reterr);
	rc = rc < 0 ? rc : tails_all(r, "noise from every byte on, open", NOISE, false, reterr);
	rc = rc < 0 ? rc
		    : tails_all(r, "another tape's bytes from every byte on", OTHER, false, reterr);
	rc = rc < 0 ? rc : holes_all(r, reterr);
	rc = rc < 0 ? rc : flips_open(r, reterr);
	if (rc == 0) {
		flips_verified(r);
		flips_read(r);
		flips_sought(r);
	}
	rc = rc < 0 ? rc : flips_mended(r, true, reterr);
	return rc < 0 ? rc : flips_mended(r, false, reterr);
}

static int run_begin(struct run *r, struct et_error *reterr)
{
	const struct et_damage_config *c = r->config;

	r->plain = malloc(ET_TAPE_PLAIN_MAX);
	int rc = et_made_tape(r->path, c->seed, c->records, c->bytes, true, &r->made, reterr);
	(void)unlink(r->path);
	rc = rc < 0 ? rc
		    : et_made_tape(r->path, c->seed + 1, c->records, c->bytes, true, &r->other,
				   reterr);
	(void)unlink(r->path);
	et_buffer_add(&r->work, r->made.object.data, r->made.object.size);
	if (rc == 0 && (r->plain == NULL || r->work.failed)) {
		rc = et_fail(reterr, -ENOMEM, "damage");
	}
	r->result->object_bytes = r->made.object.size;
	r->result->body_bytes = r->made.seal.body_bytes;
	r->result->records = r->made.records;
	return rc;
}

int et_damage_run(const struct et_damage_config *config, struct et_damage_result *ret,
		  struct et_error *reterr)
{
	struct run *r = calloc(1, sizeof(*r));
	char folder[200];

	*ret = (struct et_damage_result){ 0 };
	(void)snprintf(folder, sizeof(folder), "%.180s/labtape.XXXXXX", config->folder);
	if (r == NULL || mkdtemp(folder) == NULL) {
		free(r);
		return et_fail(reterr, -errno, "folder in '%s'", config->folder);
	}
	r->config = config;
	r->result = ret;
	(void)snprintf(r->path, sizeof(r->path), "%s/tape.evtm", folder);
	int rc = run_begin(r, reterr);
	rc = rc < 0 ? rc : run_all(r, reterr);
	(void)unlink(r->path);
	(void)rmdir(folder);
	et_made_release(&r->made);
	et_made_release(&r->other);
	et_buffer_release(&r->work);
	free(r->plain);
	free(r);
	return rc;
}
