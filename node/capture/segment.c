/* A tape's life. See writer_internal.h for the states. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/capture/writer_internal.h"
#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/io/file.h"

enum {
	UNFINISHED_MAX = 16384,
	RESERVE_BYTES = 16 * 1024 * 1024,
};

void et_writer_path(const struct et_writer *w, const char *relative, char ret[PATH_MAX])
{
	int n = snprintf(ret, PATH_MAX, "%s/%s", w->media, relative);
	et_assert(n > 0 && n < PATH_MAX); /* the media folder leaves room for it */
}

/* ---- The reserve ----------------------------------------------------------------------------- */

/* Space that nobody uses until the disk is full: then footers get it. */
void et_reserve_make(struct et_writer *w)
{
	char path[PATH_MAX];
	et_writer_path(w, "calls/reserve", path);
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	w->reserve_used = fd < 0 || posix_fallocate(fd, 0, RESERVE_BYTES) != 0;
	if (w->reserve_used) { /* what there was of it must not take the last space */
		(void)unlink(path);
	}
}

void et_reserve_use(struct et_writer *w)
{
	char path[PATH_MAX];
	et_writer_path(w, "calls/reserve", path);
	if (!w->reserve_used) {
		w->reserve_used = true;
		if (truncate(path, 0) < 0) {
			(void)unlink(path);
		}
	}
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* All segments of a recording lie in the folder of the day on which it began. */
static int make_day(struct et_writer *w, const struct et_facts *f, char ret[ET_RELATIVE_MAX],
		    struct et_error *reterr)
{
	char path[PATH_MAX];
	struct tm tm;
	time_t seconds = (time_t)(f->start_us / 1000000);
	if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year < -1900 || tm.tm_year > 8099) {
		memset(&tm, 0, sizeof(tm));
	}
	(void)snprintf(ret, ET_RELATIVE_MAX, "tapes/%04d/%02d/%02d", tm.tm_year + 1900,
		       tm.tm_mon + 1, tm.tm_mday);
	if (strcmp(ret, w->day) == 0) {
		return 0;
	}
	et_writer_path(w, ret, path);
	int rc = et_file_mkdirs(path, reterr);
	if (rc == 0) {
		memcpy(w->day, ret, sizeof(w->day));
	}
	return rc;
}

int et_segment_name(struct et_writer *w, const struct et_facts *f, uint32_t segment, bool ring,
		    char ret[ET_RELATIVE_MAX], struct et_error *reterr)
{
	char id[ET_UUID_TEXT_SIZE];
	char folder[ET_RELATIVE_MAX] = "ring";
	int rc = ring ? 0 : make_day(w, f, folder, reterr);
	if (rc < 0) {
		return rc;
	}
	et_uuid_format(f->id, id);
	int n = snprintf(ret, ET_RELATIVE_MAX, "%.20s/%s-g%d-s%u.evtm", folder, id, ET_GENERATION,
			 (unsigned)segment);
	et_assert(n > 0 && n < ET_RELATIVE_MAX);
	return 0;
}

int et_segment_wrap(struct et_writer *w, const uint8_t recording[16], const struct et_secret *dek,
		    struct et_capture_segment *ret, struct et_error *reterr)
{
	uint8_t kek_public[32];
	(void)pthread_mutex_lock(&w->kek_mutex);
	ret->kek_version = w->kek_version;
	w->kek_opening = w->kek_version;
	memcpy(kek_public, w->kek_public, sizeof(kek_public));
	(void)pthread_mutex_unlock(&w->kek_mutex);
	ret->kek_id = w->config.kek_id;
	return et_dek_wrap(kek_public, ret->kek_version, recording, ret->dek, dek, ret->wrap_enc,
			   ret->wrap_sealed, reterr);
}

int et_segment_create(struct et_writer *w, struct et_slot *s, const struct et_secret *dek,
		      struct et_capture_segment *ret, struct et_error *reterr)
{
	char path[PATH_MAX];
	struct et_tape_header header = {
		.generation = ET_GENERATION,
		.segment = s->segment,
		.kek_id = ret->kek_id,
		.kek_version = ret->kek_version,
		.dek_id = ret->dek,
		.node = w->config.node,
		.t0_us = s->t0_us,
	};
	memcpy(header.recording, s->facts.id, 16);
	et_writer_path(w, s->file, path);
	int rc = et_tape_create(path, &header, dek, &s->tape, reterr);
	if (rc == 0) {
		et_tape_share(s->tape, &w->record);
		memcpy(ret->header_hash, header.hash, sizeof(ret->header_hash));
	}
	return rc;
}

/* A new DEK, its wrap, the tape with its header. The DEK is gone afterwards. */
static int create_tape(struct et_writer *w, struct et_slot *s, struct et_capture_segment *ret,
		       struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	int rc = et_secret_random(ET_DEK_SIZE, &dek, reterr);
	if (rc < 0) {
		return rc;
	}
	et_random(&ret->dek, sizeof(ret->dek));
	rc = et_segment_wrap(w, s->facts.id, dek, ret, reterr);
	return rc < 0 ? rc : et_segment_create(w, s, dek, ret, reterr);
}

static void describe(const struct et_slot *s, struct et_capture_segment *ret)
{
	memcpy(ret->recording, s->facts.id, 16);
	ret->generation = ET_GENERATION;
	ret->segment = s->segment;
	ret->t0_us = s->t0_us;
	ret->file = s->file;
}

/* The tape that was created is not wanted: nothing of it may stay. */
static void abandon(struct et_writer *w, struct et_slot *s)
{
	char path[PATH_MAX];
	if (s->tape != NULL) {
		s->tape = et_tape_close(s->tape);
		et_writer_path(w, s->file, path);
		(void)unlink(path);
	}
	et_openlog_done(w, s->log, s->file);
	s->log = NULL;
}

/* Tell of it, before its first record. */
static int tell_open(struct et_writer *w, struct et_slot *s, struct et_capture_segment *segment)
{
	int rc = 0;
	if (!s->told) {
		rc = et_writer_tell(w, ET_CAPTURE_RECORDING_OPEN, &s->facts, NULL, 0, NULL, false);
	}
	if (rc >= 0) {
		rc = et_writer_tell(w, ET_CAPTURE_SEGMENT_OPEN, &s->facts, NULL, 0, segment,
				    s->restored);
	}
	if (rc < 0) {
		w->refused_journal++;
	}
	return rc;
}

/* The next number that no tape has. A call table that was saved before the last segment began (the
 * process was killed in between) counts from too low: that tape is another one, under another key.
 */
static int next_segment(struct et_writer *w, struct et_slot *s, struct et_error *reterr)
{
	char path[PATH_MAX];
	int rc = 0;
	do {
		s->segment++;
		rc = et_segment_name(w, &s->facts, s->segment, s->ring != NULL, s->file, reterr);
		if (rc < 0) {
			return rc;
		}
		et_writer_path(w, s->file, path);
	} while (access(path, F_OK) == 0);
	return 0;
}

/* Noted as open, and there. */
static int segment_make(struct et_writer *w, struct et_slot *s, struct et_capture_segment *segment,
			struct et_error *reterr)
{
	int rc = next_segment(w, s, reterr);
	s->t0_us = s->segment == 1 ? s->facts.start_us : w->now_us;
	if (rc == 0 && s->ring == NULL) {
		rc = et_openlog_open(w, s->file, s->segment, &s->facts, &s->log);
		if (rc < 0) {
			(void)et_fail(reterr, rc, "log of open tapes in '%s/calls'", w->media);
		}
	}
	if (rc < 0) {
		return rc;
	}
	describe(s, segment);
	return s->ring != NULL ? et_ring_begin(w, s, segment, reterr)
			       : create_tape(w, s, segment, reterr);
}

/* The slot's next tape, told of. */
static bool segment_begin(struct et_writer *w, struct et_slot *s, enum et_keys_state keys)
{
	struct et_capture_segment segment = { .generation = ET_GENERATION, .keys = keys };
	struct et_error error = { .text = "" };
	s->second_us = INT64_MAX;
	s->gathered = 0;
	int rc = segment_make(w, s, &segment, &error);
	if (rc < 0) {
		w->refused_writer++;
		abandon(w, s);
		et_writer_opened(w);
		et_writer_problem(w, ET_PROBLEM_WRITE, rc, error.text);
		return false;
	}
	if (s->ring == NULL) {
		rc = tell_open(w, s, &segment);
		et_writer_opened(w);
		if (rc < 0) {
			abandon(w, s);
			return false;
		}
		s->told = true;
	}
	s->state = ET_SLOT_OPEN;
	return true;
}

bool et_segment_open(struct et_writer *w, uint32_t slot)
{
	struct et_slot *s = w->slots[slot];
	bool open = segment_begin(w, s, ET_KEYS_UNTOLD);
	w->segments[slot] = s->segment;
	if (!open) {
		return false;
	}
	s->course = et_tape_state_new(s->segment == 1 ? s->t0_us : INT64_MIN);
	s->checkpoint_us = s->t0_us;
	et_media_encoder_reset(&s->encoder);
	if (s->encoder.plain.data == NULL) {
		s->encoder.plain = (struct et_buffer){ .data = s->room,
						       .capacity = sizeof(s->room),
						       .lent = true };
	}
	et_segment_pad(w, s);
	et_note_begin(w, s);
	return true;
}

/* A number of this node's own that no tape of the recording has, from the salt on: what lies behind
 * them is another node's. */
static int late_number(struct et_writer *w, struct et_slot *s, uint8_t salt,
		       struct et_error *reterr)
{
	const uint32_t first = et_keys_segment_base(w->config.node) + ET_KEYS_SEGMENTS_MAX;
	char path[PATH_MAX];
	for (uint32_t i = 0; i < ET_KEYS_SEGMENTS_MAX; i++) {
		s->segment = first + (salt + i) % ET_KEYS_SEGMENTS_MAX;
		int rc = et_segment_name(w, &s->facts, s->segment, false, s->file, reterr);
		if (rc < 0) {
			return rc;
		}
		et_writer_path(w, s->file, path);
		if (access(path, F_OK) != 0) {
			s->segment--; /* the next one is taken */
			return 0;
		}
	}
	return et_fail_plain(reterr, ET_ELIMIT,
			     "keys came to a recording %d times: what comes now is not kept",
			     ET_KEYS_SEGMENTS_MAX);
}

void et_writer_late(struct et_writer *w, const struct et_late_keys *late, struct et_view plain)
{
	struct et_error error = { .text = "" };
	struct et_slot *s = w->config.media != NULL ? et_pool_take(&w->slot_pool) : NULL;
	if (s == NULL) {
		return;
	}
	memcpy(s->facts.id, late->recording, sizeof(s->facts.id));
	s->facts.start_us = late->start_us;
	s->told = true;
	int rc = late_number(w, s, late->salt, &error);
	if (rc < 0) {
		et_writer_problem(w, ET_PROBLEM_WRITE, rc, error.text);
	} else if (segment_begin(w, s, late->state)) {
		et_segment_append(w, s, ET_TAPE_KEYS, s->t0_us, plain.data, plain.size);
		et_segment_finish(w, s, NULL);
	}
	et_pool_give(&w->slot_pool, s);
}

/* ---- Records --------------------------------------------------------------------------------- */

/* This tape takes nothing any more: its footer, and later a new segment. */
void et_segment_fail(struct et_writer *w, struct et_slot *s, int code, const struct et_error *error)
{
	const uint32_t lost = s->encoder.packets + s->gathered;
	int64_t since_us = s->gathered > 0	    ? s->second_us - ET_TAPE_BLOCK_MS * 1000LL
			   : s->encoder.packets > 0 ? s->encoder.first_us
						    : s->last_us;
	et_writer_problem(w, ET_PROBLEM_WRITE, code, error->text);
	w->dropped += lost;
	w->tape_packets -= lost;
	s->gathered = 0;
	s->second_us = INT64_MAX;
	et_media_encoder_reset(&s->encoder);
	s->course = et_tape_state_free(s->course);
	(void)snprintf(s->facts.problem, sizeof(s->facts.problem),
		       "part of it could not be written: %s", et_strerror(code));
	if (code == -ENOSPC) {
		et_reserve_use(w);
	}
	et_segment_finish(w, s, NULL);
	et_slot_break(w, s, since_us);
}

/* What the course makes of a record, as a reader of the tape will see it. */
static void course_follow(struct et_slot *s, enum et_tape_kind kind, struct et_view plain)
{
	if (s->course == NULL) {
		return;
	}
	if (kind == ET_TAPE_META) {
		et_tape_state_meta(s->course, plain);
	} else if (kind == ET_TAPE_KEYS) {
		et_tape_state_keys(s->course);
	} else if (kind == ET_TAPE_MEDIA) {
		et_tape_state_media(s->course, plain);
	}
}

uint32_t et_segment_ms(const struct et_slot *s, int64_t at_us)
{
	const int64_t ms = (at_us - s->t0_us) / 1000;

	return ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

void et_segment_append(struct et_writer *w, struct et_slot *s, enum et_tape_kind kind,
		       int64_t at_us, const void *plain, size_t size)
{
	struct et_error error = { .text = "" };
	if (s->tape == NULL || s->state != ET_SLOT_OPEN) {
		return;
	}
	int rc = et_tape_append(s->tape, kind, et_segment_ms(s, at_us), plain, size, &error);
	if (rc < 0) {
		et_segment_fail(w, s, rc, &error);
		return;
	}
	w->tape_bytes += size;
	course_follow(s, kind, (struct et_view){ plain, size });
}

void et_segment_checkpoint(struct et_writer *w, struct et_slot *s, int64_t at_us)
{
	struct et_buffer plain = { 0 };

	s->checkpoint_us = at_us;
	if (s->course != NULL && et_tape_state_write(s->course, &plain) == 0 && !plain.failed) {
		et_segment_append(w, s, ET_TAPE_CHECKPOINT, at_us, plain.data, plain.size);
	}
	et_buffer_release(&plain);
}

void et_segment_flush(struct et_writer *w, struct et_slot *s)
{
	struct et_media_encoder *e = &s->encoder;
	if (e->packets > 0) {
		struct et_view plain = { e->plain.data, e->plain.size };
		const int64_t at_us = e->first_us;
		const bool gathers = s->second_us != INT64_MAX;
		s->gathered += gathers ? e->packets : 0;
		et_segment_append(w, s, ET_TAPE_MEDIA, at_us, plain.data, plain.size);
		et_media_encoder_reset(e);
		if (!gathers && at_us - s->checkpoint_us >= ET_CHECKPOINT_EVERY_US) {
			et_segment_checkpoint(w, s, at_us);
		}
	}
}

/* INDEX and END. What fails here costs a later reader time, and nothing else. */
static void segment_end(struct et_writer *w, struct et_slot *s)
{
	struct et_buffer plain = { 0 };
	struct et_error error = { .text = "" };

	if (s->course != NULL && et_tape_state_write(s->course, &plain) == 0 && !plain.failed) {
		int rc = et_tape_end(s->tape, et_segment_ms(s, s->last_us),
				     (struct et_view){ plain.data, plain.size }, &error);
		if (rc < 0) {
			et_writer_problem(w, ET_PROBLEM_WRITE, rc, error.text);
		}
	}
	et_buffer_release(&plain);
}

/* ---- Footers --------------------------------------------------------------------------------- */

/* Write the footer of ack->tape. On success the tape is closed and the ack tells of it. */
int et_segment_seal(struct et_writer *w, struct et_ack *ack)
{
	struct et_tape_seal seal;
	struct et_error error = { .text = "" };
	struct et_tape_signer signer = {
		.node = w->config.node,
		.seed = w->config.sign_key,
		.now_us = et_clock_now_us(),
		.public_key = w->has_sign_public ? w->sign_public : NULL,
	};
	int rc = et_tape_finish(ack->tape, &signer, &seal, &error);
	if (rc == -ENOSPC) {
		et_reserve_use(w);
		rc = et_tape_finish(ack->tape, &signer, &seal, &error);
	}
	if (rc < 0) {
		et_writer_problem(w, ET_PROBLEM_WRITE, rc, error.text);
		return rc;
	}
	ack->tape = et_tape_close(ack->tape);
	ack->segment.seal = ET_SEAL_SEALED;
	ack->segment.block_bytes = seal.block_bytes;
	memcpy(ack->segment.root, seal.root, 32);
	memcpy(ack->segment.seal_hash, seal.seal_hash, 32);
	ack->segment.records = seal.records;
	ack->segment.size_bytes = seal.size_bytes;
	ack->segment.sealed_us = seal.signed_us;
	return 0;
}

/* Its last records. false: there is no tape, or it failed now, and was finished then. */
static bool wind_up(struct et_writer *w, struct et_slot *s)
{
	if (s->tape != NULL && s->state == ET_SLOT_OPEN) {
		et_segment_flush(w, s);
		et_segment_settle(w, s);
	}
	s->second_us = INT64_MAX;
	if (s->tape == NULL) {
		return false;
	}
	if (s->state == ET_SLOT_OPEN) {
		segment_end(w, s);
	}
	s->course = et_tape_state_free(s->course);
	return true;
}

void et_segment_finish(struct et_writer *w, struct et_slot *s, struct et_closing *closing)
{
	if (s->ring != NULL) {
		et_assert(closing == NULL); /* of et_ring_over() */
		if (wind_up(w, s)) {
			et_ring_end(w, s);
		}
		return;
	}
	struct et_ack *ack = calloc(1, sizeof(*ack));
	if (ack == NULL) { /* the log has it as open: the next start recovers it */
		free(closing);
		s->tape = et_tape_close(s->tape);
		return;
	}
	ack->closing = closing;
	if (!wind_up(w, s)) {
		et_ack_push(w, ack);
		return;
	}
	if (closing != NULL) {
		et_openlog_close(w, s->file, s->segment, closing);
	}
	describe(s, &ack->segment);
	memcpy(ack->file, s->file, sizeof(ack->file));
	ack->segment.file = ack->file;
	ack->has_segment = true;
	ack->log = ET_TAKE(s->log);
	ack->tape = ET_TAKE(s->tape);
	if (w->config.sign_key == NULL) {
		et_ack_free(ack); /* The log has it as open: the next start signs. */
		return;
	}
	if (et_segment_seal(w, ack) == 0) {
		et_ack_push(w, ack);
	} else if (w->unfinished_count < UNFINISHED_MAX) {
		ack->next = w->unfinished;
		w->unfinished = ack;
		w->unfinished_count++;
	} else {
		et_ack_free(ack); /* the log has it as open */
	}
}
