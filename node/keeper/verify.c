/* Tapes that a crash of this node left, and whose tags nobody could check: a vault node checks its
 * own. (The catalogue lets only the node that sealed a tape seal it again; tapes of capture-only
 * nodes stay recovered-unverified, and are checked whenever they are played.)
 *
 *   seen (applied, or found by the scan at start) ─▶ waiting ─▶ AuditAdd segment.verify committed
 *       ─▶ DEK opened ─▶ every record opened (thread pool) ─▶ SegmentSeal RECOVERED proposed
 *
 * One at a time, and only while there is nothing wrong: what fails is tried again at the next scan.
 * A tape whose tags do not fit stays recovered-unverified, is counted and logged. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/keeper/keeper_internal.h"
#include "node/tape/reader.h"

#define WAITING_MAX 4096
#define SCAN_US (3600LL * 1000000)

struct candidate {
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
};

struct verify {
	struct et_keeper *k;
	struct candidate waiting[WAITING_MAX];
	size_t count;
	bool busy;
	int64_t scan_again_us; /* monotonic */

	/* The one under way. */
	struct candidate now;
	Et__Segment *segment;  /* owned */
	struct et_secret *dek; /* owned */
	char path[2 * PATH_BYTES];
	uv_work_t work;
	int code;
	struct et_error why;
	uint64_t records;

	/* The scan under way. */
	uv_work_t scan;
	struct candidate found[WAITING_MAX];
	size_t found_count;
};

struct verify *verify_new(struct et_keeper *k)
{
	struct verify *v = calloc(1, sizeof(*v));

	if (v != NULL) {
		v->k = k;
	}
	return v;
}

void verify_free(struct verify *v)
{
	if (v != NULL) {
		et__segment__free_unpacked(v->segment, NULL);
		(void)et_secret_free(v->dek);
		free(v);
	}
}

static void verify_start(void *arg)
{
	verify_round(arg);
}

void verify_look_at(struct et_keeper *k, const uint8_t recording[16], uint32_t generation,
		    uint32_t segment)
{
	struct verify *v = k->verify;
	Et__Segment *record = NULL;

	if (!atomic_load(&k->health.is_vault) || v->count >= WAITING_MAX) {
		return; /* The next scan finds it. */
	}
	struct et_state_view *view = et_state_view_open(k->state);
	bool waits = et_state_get_segment(view, recording, generation, segment, &record) == 0 &&
		     record->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED;
	(void)et_state_view_close(view);
	et__segment__free_unpacked(record, NULL);
	if (!waits) {
		return;
	}
	struct candidate *c = &v->waiting[v->count++];
	memcpy(c->recording, recording, 16);
	c->generation = generation;
	c->segment = segment;
	keeper_defer(k, verify_start, k);
}

static void verify_done(struct verify *v)
{
	struct et_keeper *k = v->k;

	et__segment__free_unpacked(v->segment, NULL);
	v->segment = NULL;
	v->dek = et_secret_free(v->dek);
	v->busy = false;
	keeper_end(k);
}

static void on_sealed(void *arg, int code, const Et__Result *result)
{
	struct verify *v = arg;

	(void)result;
	if (code == 0) {
		(void)atomic_fetch_add(&v->k->health.tapes_verified, 1);
	}
	verify_done(v);
}

static void propose_verified(struct verify *v)
{
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;
	Et__Command command = ET__COMMAND__INIT;
	char principal[32];
	char reason[] = "every tag of the recovered tape was checked";

	(void)snprintf(principal, sizeof(principal), "node:%llu",
		       (unsigned long long)v->k->identity.node);
	seal.recording = v->segment->recording;
	seal.generation = v->segment->generation;
	seal.segment = v->segment->segment;
	seal.state = ET__SEGMENT_STATE__SEGMENT_RECOVERED;
	seal.root = v->segment->root;
	seal.records = v->segment->records;
	seal.size_bytes = v->segment->size_bytes;
	seal.sealed_us = v->segment->sealed_us;
	seal.object_hash = v->segment->object_hash;
	seal.seal_hash = v->segment->seal_hash;
	seal.block_bytes = v->segment->block_bytes;
	command.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	command.segment_seal = &seal;
	command.principal = principal;
	command.reason = reason;
	command.schema = ET_COMMAND_SCHEMA;
	et_catalog_propose(v->k->catalog, &command, PROPOSE_TIMEOUT_MS, on_sealed, v);
}

static int check_tags(struct verify *v)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *reader = NULL;
	struct et_tape_source source;
	struct et_tape_record record;
	struct et_tape_report report;
	const struct et_tape_expect expect = {
		.recording = v->segment->recording.data,
		.generation = v->segment->generation,
		.segment = v->segment->segment,
		.root = v->segment->root.len == 32 ? v->segment->root.data : NULL,
		.seal_hash = v->segment->seal_hash.len == 32 ? v->segment->seal_hash.data : NULL
	};

	int rc = et_tape_source_open(v->path, &source, &v->why);
	if (rc < 0) {
		return rc;
	}
	rc = et_tape_verify(&source, &expect, &report, &v->why);
	rc = rc < 0 ? rc : et_tape_reader_new(&source, v->dek, &reader, &v->why);
	while (rc == 0) {
		int more = et_tape_reader_next(reader, &record, &v->why);
		if (more <= 0) {
			rc = more;
			break;
		}
	}
	v->records = reader != NULL ? et_tape_reader_records(reader) : 0;
	reader = et_tape_reader_free(reader);
	et_tape_source_close(&source);
	if (rc == 0 && v->records != v->segment->records) {
		rc = et_fail_plain(&v->why, ET_EINTEGRITY, "%llu records instead of %llu",
				   (unsigned long long)v->records,
				   (unsigned long long)v->segment->records);
	}
	return rc;
}

static void on_work(uv_work_t *work)
{
	struct verify *v = work->data;
	v->code = check_tags(v);
}

static void on_worked(uv_work_t *work, int status)
{
	struct verify *v = work->data;

	v->dek = et_secret_free(v->dek);
	if (status == 0 && v->code == 0) {
		propose_verified(v);
		return;
	}
	if (v->code == ET_EINTEGRITY || v->code == ET_ENOKEY || v->code == ET_ECORRUPT) {
		(void)atomic_fetch_add(&v->k->health.tapes_bad, 1);
	}
	et_warn("tape.unverified", "file=%s detail=\"%s\"", v->path, v->why.text);
	verify_done(v);
}

static void on_dek(void *arg, int code, const struct et_secret *dek, const struct et_error *why)
{
	struct verify *v = arg;

	if (code < 0) {
		et_warn("tape.unverified", "file=%s detail=\"%s\"", v->path, why->text);
		verify_done(v);
		return;
	}
	v->dek = et_secret_copy(et_secret_bytes(dek), et_secret_size(dek));
	v->work.data = v;
	if (v->dek == NULL || uv_queue_work(v->k->loop, &v->work, on_work, on_worked) < 0) {
		verify_done(v);
	}
}

static void on_audited(void *arg, int code, const Et__Result *result)
{
	struct verify *v = arg;

	if (code < 0 || result == NULL || v->k->stopping) {
		verify_done(v);
		return;
	}
	et_keeper_open_dek(v->k, v->now.recording, v->now.generation, v->now.segment,
			   result->number, on_dek, v);
}

static void propose_audit(struct verify *v)
{
	Et__AuditAdd audit = ET__AUDIT_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	char principal[32];
	char action[] = "segment.verify";
	char target[ET_UUID_TEXT_SIZE];
	char reason[] = "check the tags of a recovered tape";

	(void)snprintf(principal, sizeof(principal), "node:%llu",
		       (unsigned long long)v->k->identity.node);
	et_uuid_format(v->now.recording, target);
	audit.action = action;
	audit.target = target;
	command.body_case = ET__COMMAND__BODY_AUDIT_ADD;
	command.audit_add = &audit;
	command.principal = principal;
	command.reason = reason;
	command.schema = ET_COMMAND_SCHEMA;
	et_catalog_propose(v->k->catalog, &command, PROPOSE_TIMEOUT_MS, on_audited, v);
}

struct copy_search {
	const struct candidate *c;
	const char *place;
	bool here;
};

static int copy_look(void *arg, const Et__Copy *copy)
{
	struct copy_search *s = arg;

	s->here = s->here ||
		  (copy->generation == s->c->generation && copy->segment == s->c->segment &&
		   copy->state == ET__COPY__STATE__VERIFIED && strcmp(copy->place, s->place) == 0);
	return 0;
}

/* Does this one still wait for its check, and is its file here? */
static bool candidate_is_good(struct verify *v, const struct et_state_view *view)
{
	char place[32];
	struct copy_search s = { .c = &v->now, .place = place };

	(void)snprintf(place, sizeof(place), "node:%llu", (unsigned long long)v->k->identity.node);
	et__segment__free_unpacked(v->segment, NULL);
	v->segment = NULL;
	if (et_state_get_segment(view, v->now.recording, v->now.generation, v->now.segment,
				 &v->segment) < 0 ||
	    v->segment == NULL ||
	    v->segment->state != ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED ||
	    v->segment->node != v->k->identity.node) { /* Only who sealed it may seal it again. */
		return false;
	}
	(void)et_state_each_copy_of(view, v->now.recording, copy_look, &s);
	int n = snprintf(v->path, sizeof(v->path), "%s/%s", v->k->media_folder, v->segment->file);
	return s.here && n > 0 && (size_t)n < sizeof(v->path) &&
	       strstr(v->segment->file, "..") == NULL;
}

static void verify_next(struct verify *v)
{
	bool found = false;

	struct et_state_view *view = et_state_view_open(v->k->state);
	while (!found && v->count > 0) {
		v->now = v->waiting[--v->count];
		found = candidate_is_good(v, view);
	}
	(void)et_state_view_close(view);
	if (found) {
		v->busy = true;
		keeper_begin(v->k);
		propose_audit(v);
	}
}

/* ---- The scan ---- */

static int scan_look(void *arg, const Et__Segment *segment)
{
	struct verify *v = arg;

	if (segment->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED &&
	    segment->recording.len == 16 && v->found_count < WAITING_MAX) {
		struct candidate *c = &v->found[v->found_count++];
		memcpy(c->recording, segment->recording.data, 16);
		c->generation = segment->generation;
		c->segment = segment->segment;
	}
	return v->found_count >= WAITING_MAX;
}

static void on_scan(uv_work_t *work)
{
	struct verify *v = work->data;

	struct et_state_view *view = et_state_view_open(v->k->state);
	(void)et_state_each_segment(view, scan_look, v);
	(void)et_state_view_close(view);
}

static void on_scanned(uv_work_t *work, int status)
{
	struct verify *v = work->data;
	struct et_keeper *k = v->k;

	for (size_t i = 0; status == 0 && i < v->found_count; i++) {
		verify_look_at(k, v->found[i].recording, v->found[i].generation,
			       v->found[i].segment);
	}
	v->busy = false;
	keeper_end(k);
}

void verify_round(struct et_keeper *k)
{
	struct verify *v = k->verify;
	int64_t now_us = et_clock_mono_us();

	if (v->busy || k->stopping || !atomic_load(&k->health.is_vault)) {
		return;
	}
	if (v->count > 0) {
		verify_next(v);
	} else if (now_us >= v->scan_again_us) {
		v->scan_again_us = now_us + SCAN_US;
		v->found_count = 0;
		v->scan.data = v;
		if (uv_queue_work(k->loop, &v->scan, on_scan, on_scanned) == 0) {
			v->busy = true;
			keeper_begin(k);
		}
	}
}

void verify_rescan(struct et_keeper *k)
{
	k->verify->scan_again_us = 0;
}
