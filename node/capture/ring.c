/* Calls on demand: what they say goes into a ring, and becomes a recording when somebody keeps it.
 * (Not the kernel's ring, which packets come from.)
 *
 *   ring/<id>-s3.evtm  ring/<id>-s4.evtm  ring/<id>-s5.evtm ◀─ media
 *        │ too old: unlinked, key wiped
 *        ▼
 *   kept: noted as open ─▶ RECORDING_OPEN ─▶ each part: renamed, key wrapped, SEGMENT_OPEN
 *
 * A ring is a chain of tapes, each under a DEK of its own. The DEKs lie in one page of locked
 * memory that no core has, and nowhere else: they are wrapped when the call is kept, and not
 * before. A part is a quarter of the ring's reach long; the oldest goes when all that is in it is
 * older than the reach, so what can be kept is as old as the reach, and up to a quarter more.
 * Nothing is told of the call but ET_CAPTURE_RING, for those who show what goes on; the log of open
 * tapes does not know it.
 *
 * Happy path. A call ends and nobody kept it: its ring waits for `keep-for`, then the keys are
 * wiped and the files unlinked; what the disk still has of them nobody can read. Somebody keeps it:
 * its parts are noted in the log of open tapes, RECORDING_OPEN is told, and then each part moves to
 * tapes/, its DEK is wrapped, SEGMENT_OPEN is told; finished parts wait for the next sync like any
 * other tape, and the open one goes on as the call's tape. What was before the first part is the
 * gap "before-ring".
 *
 * Failures.
 *   - The process is killed, or stops, before the call was kept: the keys are gone. The next start
 *     unlinks what lies in ring/ and says so.
 *   - ... in the midst of keeping: parts that were told of are recovered as any tape that was open;
 *     those that were not are lost. Who asked has no answer yet.
 *   - The log, or the callback at RECORDING_OPEN, refuses: nothing has happened; it is tried again
 *     every five seconds, and the ring goes on as before.
 *   - ... later: it is a recording already; what was not told waits and is tried again, without an
 *     end. Nothing of it is dropped.
 *   - A part gets no footer (disk): it and those before it are given up: what is kept has no hole
 *     that nobody tells of.
 *   - All rings together are larger than their limit: the largest gives its oldest part up, until
 *     they are not; one that has a part only begins that anew. So a large call drives out no small
 *     ones.
 *   - The disk is below its reserve: finished parts of all rings are given up; recordings go first.
 * Parts that were given up early are counted (`demand_cut`).
 *
 * Threads: the writer's. */
#include <stdio.h>
#include <unistd.h>

#include "node/capture/writer_internal.h"
#include "node/crypto/sign.h"
#include "node/io/clock.h"

enum {
	PARTS = 4,			   /* of a reach */
	PART_BYTES_MAX = 16 * 1024 * 1024, /* then the next part begins */
};

static struct et_facts *facts_of(const struct et_ring *r)
{
	return r->slot != NULL ? &r->slot->facts : &r->closing->facts;
}

static uint8_t *key_of(const struct et_ring *r, uint32_t part)
{
	return et_secret_edit(r->keys) + (size_t)part * ET_DEK_SIZE;
}

static uint64_t bytes_of(const struct et_ring *r)
{
	uint64_t n = r->has_open ? et_tape_bytes(r->slot->tape) : 0;
	for (uint32_t i = 0; i < r->count; i++) {
		n += r->parts[i].segment.size_bytes;
	}
	return n;
}

static void tell(struct et_writer *w, const struct et_ring *r, enum et_capture_event_kind kind)
{
	const struct et_closing *c = r->closing;
	(void)et_writer_tell(w, kind, facts_of(r), c != NULL ? c->streams : NULL,
			     c != NULL ? c->count : 0, NULL, false);
}

/* ---- Parts ----------------------------------------------------------------------------------- */

bool et_ring_new(struct et_slot *s)
{
	struct et_ring *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return false;
	}
	r->keys = et_secret_new(ET_SECRET_SIZE_MAX);
	if (r->keys == NULL) {
		free(r);
		return false;
	}
	r->slot = s;
	r->reach_us = s->facts.ring_us;
	s->ring = r;
	return true;
}

/* The oldest part: its key is wiped first. */
static void drop_first(struct et_writer *w, struct et_ring *r)
{
	char path[PATH_MAX];
	et_assert(r->count > 0 && !r->kept);
	et_writer_path(w, r->parts[0].file, path);
	r->count--;
	memmove(key_of(r, 0), key_of(r, 1), (size_t)r->count * ET_DEK_SIZE);
	explicit_bzero(key_of(r, r->count), ET_DEK_SIZE);
	(void)unlink(path);
	memmove(&r->parts[0], &r->parts[1], r->count * sizeof(r->parts[0]));
}

/* Before its time. */
static void cut_first(struct et_writer *w, struct et_ring *r)
{
	drop_first(w, r);
	w->demand_cut++;
	w->demand_cut_us = et_clock_now_us();
}

int et_ring_begin(struct et_writer *w, struct et_slot *s, struct et_capture_segment *segment,
		  struct et_error *reterr)
{
	struct et_ring *r = s->ring;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	et_assert(!r->has_open);
	if (r->count == ET_RING_PARTS_MAX && r->kept) {
		return et_fail_plain(reterr, ET_ELIMIT,
				     "%u tapes of a call that was kept wait for the journal",
				     r->count);
	}
	int rc = et_secret_random(ET_DEK_SIZE, &dek, reterr);
	if (rc < 0) {
		return rc;
	}
	et_random(&segment->dek, sizeof(segment->dek));
	segment->kek_id = w->config.kek_id;
	segment->kek_version =
		et_writer_kek_version(w); /* of today: the wrap has that of its day */
	rc = et_segment_create(w, s, dek, segment, reterr);
	if (rc < 0) {
		return rc;
	}
	if (r->count == ET_RING_PARTS_MAX) {
		cut_first(w, r);
	}
	memcpy(key_of(r, r->count), et_secret_bytes(dek), ET_DEK_SIZE);
	struct et_ring_part *p = &r->parts[r->count++];
	*p = (struct et_ring_part){ .segment = *segment, .last_us = s->t0_us };
	p->segment.file = NULL;
	memcpy(p->file, s->file, sizeof(p->file));
	r->has_open = true;
	r->has_media = false;
	return 0;
}

void et_ring_end(struct et_writer *w, struct et_slot *s)
{
	struct et_ring *r = s->ring;
	et_assert(r->has_open && r->count > 0);
	struct et_ring_part *p = &r->parts[r->count - 1];
	struct et_ack ack = { .tape = ET_TAKE(s->tape), .segment = p->segment };
	int rc = 0;
	r->has_open = false;
	p->last_us = s->last_us > p->last_us ? s->last_us : p->last_us;
	if (w->config.sign_key == NULL) { /* kept, the next start signs */
		p->segment.size_bytes = et_tape_bytes(ack.tape);
	} else {
		rc = et_segment_seal(w, &ack);
		p->sealed = rc == 0;
		p->segment = ack.segment;
	}
	(void)et_tape_close(ack.tape);
	while (rc < 0 && r->count > 0 && !r->kept) {
		cut_first(w, r);
	}
}

/* The next part, which may fail: then it is tried again as with any recording. */
static void begin_next(struct et_writer *w, uint32_t slot)
{
	struct et_slot *s = w->slots[slot];
	if (!et_segment_open(w, slot)) {
		et_slot_break(w, s, w->now_us);
	}
}

void et_ring_turn(struct et_writer *w, uint32_t slot)
{
	struct et_slot *s = w->slots[slot];
	struct et_ring *r = s->ring;
	if (r->kept || !r->has_open || s->state != ET_SLOT_OPEN) {
		return;
	}
	if ((r->has_media && w->now_us - s->t0_us >= r->reach_us / PARTS) ||
	    et_tape_bytes(s->tape) >= PART_BYTES_MAX) {
		et_segment_finish(w, s, NULL);
		if (s->state == ET_SLOT_OPEN) { /* else it failed, and will be tried again */
			begin_next(w, slot);
		}
	}
}

/* ---- Kept ------------------------------------------------------------------------------------ */

/* What the ring does not have any more, in the facts. */
static void state_gap(struct et_writer *w, const struct et_ring *r)
{
	struct et_facts *f = facts_of(r);
	const int64_t from_us = r->count > 0 ? r->parts[0].segment.t0_us : w->now_us;
	for (uint32_t i = 0; i < f->gap_count; i++) {
		if (f->gaps[i].cause == et_gap_before) { /* of a time when it failed */
			f->gaps[i].to_us = from_us;
			return;
		}
	}
	if (from_us > f->start_us) {
		et_facts_gap(f, f->start_us, from_us, et_gap_before);
	}
}

static int log_parts(struct et_writer *w, struct et_ring *r, struct et_error *reterr)
{
	int rc = 0;
	for (uint32_t i = 0; i < r->count && rc == 0; i++) {
		struct et_ring_part *p = &r->parts[i];
		char file[ET_RELATIVE_MAX];
		rc = et_segment_name(w, facts_of(r), p->segment.segment, false, file, reterr);
		if (rc == 0) {
			rc = et_openlog_open(w, file, p->segment.segment, facts_of(r), &p->log);
			if (rc < 0) {
				(void)et_fail(reterr, rc, "log of open tapes in '%s/calls'",
					      w->media);
			}
		}
	}
	return rc;
}

static void unlog_parts(struct et_writer *w, struct et_ring *r)
{
	char file[ET_RELATIVE_MAX];
	for (uint32_t i = 0; i < r->count; i++) {
		struct et_ring_part *p = &r->parts[i];
		if (p->log != NULL &&
		    et_segment_name(w, facts_of(r), p->segment.segment, false, file, NULL) == 0) {
			et_openlog_done(w, p->log, file);
			p->log = NULL;
		}
	}
}

/* It is a recording from here on. */
static int keep_begin(struct et_writer *w, struct et_ring *r, struct et_error *reterr)
{
	state_gap(w, r);
	int rc = log_parts(w, r, reterr);
	if (rc == 0) {
		struct et_facts facts = *facts_of(r);
		facts.end_us = 0; /* its end is told behind its last tape */
		facts.state = ET_CALL_LIVE;
		rc = et_writer_tell(w, ET_CAPTURE_RECORDING_OPEN, &facts, NULL, 0, NULL, false);
		if (rc < 0) {
			w->refused_journal++;
			(void)et_fail(reterr, rc, "the journal takes no recording");
		}
	}
	if (rc < 0) {
		unlog_parts(w, r);
		return rc;
	}
	r->kept = true;
	w->demand_kept++;
	if (r->slot != NULL) {
		r->slot->told = true;
		if (r->has_open) {
			et_note_kept(w, r->slot);
		}
	} else {
		(void)et_writer_tell_session(w, facts_of(r), r->closing->streams, r->closing->count,
					     r->session);
	}
	return 0;
}

static int move(const struct et_writer *w, const char *from, const char *to,
		struct et_error *reterr)
{
	char old[PATH_MAX];
	char new[PATH_MAX];
	et_writer_path(w, from, old);
	et_writer_path(w, to, new);
	return rename(old, new) < 0 ? et_fail(reterr, -errno, "rename '%s' to '%s'", old, new) : 0;
}

static int wrap_and_tell(struct et_writer *w, struct et_ring *r, uint32_t i, const char *file,
			 struct et_error *reterr)
{
	struct et_ring_part *p = &r->parts[i];
	ET_CLEANUP(et_secret_freep)
	struct et_secret *dek = et_secret_copy(key_of(r, i), ET_DEK_SIZE);
	if (dek == NULL) {
		return et_fail(reterr, -ENOMEM, "wrap a key");
	}
	int rc = et_segment_wrap(w, facts_of(r)->id, dek, &p->segment, reterr);
	if (rc == 0) {
		struct et_capture_segment segment = p->segment;
		segment.file = file;
		rc = et_writer_tell(w, ET_CAPTURE_SEGMENT_OPEN, facts_of(r), NULL, 0, &segment,
				    false);
		if (rc < 0) {
			w->refused_journal++;
			(void)et_fail(reterr, rc, "the journal takes no segment");
		}
	}
	et_writer_opened(w);
	return rc;
}

/* The part lies among tapes, its wrapped key is told. */
static int keep_part(struct et_writer *w, struct et_ring *r, uint32_t i, struct et_error *reterr)
{
	struct et_ring_part *p = &r->parts[i];
	char file[ET_RELATIVE_MAX];
	int rc = et_segment_name(w, facts_of(r), p->segment.segment, false, file, reterr);
	if (rc == 0 && p->log == NULL) { /* of a tape that began when it was kept already */
		rc = et_openlog_open(w, file, p->segment.segment, facts_of(r), &p->log);
	}
	rc = rc < 0 ? rc : move(w, p->file, file, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = wrap_and_tell(w, r, i, file, reterr);
	if (rc < 0) {
		(void)move(w, file, p->file, NULL);
		return rc;
	}
	memcpy(p->file, file, sizeof(file));
	explicit_bzero(key_of(r, i), ET_DEK_SIZE);
	return 0;
}

/* What waits for a sync to be told as sealed. The last part of a call that is over takes the
 * call's end with it. */
static void hand_over(struct et_writer *w, struct et_ring *r, uint32_t i)
{
	struct et_ring_part *p = &r->parts[i];
	const bool is_last = r->slot == NULL && i + 1 == r->count;
	if (r->has_open && i + 1 == r->count) {
		r->slot->log = p->log;
		memcpy(r->slot->file, p->file, sizeof(p->file));
		return;
	}
	if (is_last) {
		et_openlog_close(w, p->file, p->segment.segment, r->closing);
	}
	struct et_ack *ack = p->sealed ? calloc(1, sizeof(*ack)) : NULL;
	if (ack == NULL) {
		return; /* the log has it as open: the next start recovers it */
	}
	ack->has_segment = true;
	ack->log = p->log;
	ack->segment = p->segment;
	memcpy(ack->file, p->file, sizeof(p->file));
	ack->segment.file = ack->file;
	ack->closing = is_last ? ET_TAKE(r->closing) : NULL;
	et_ack_push(w, ack);
}

/* All of it, or what was not told before. 0: there is no ring any more, but for its memory. */
static int keep_ring(struct et_writer *w, struct et_ring *r, struct et_error *reterr)
{
	int rc = r->kept ? 0 : keep_begin(w, r, reterr);
	while (rc == 0 && r->told < r->count) {
		rc = keep_part(w, r, r->told, reterr);
		if (rc == 0) {
			hand_over(w, r, r->told++);
		}
	}
	return rc;
}

static void unlink_over(struct et_writer *w, struct et_ring *r)
{
	struct et_ring **at = &w->rings;
	while (*at != r) {
		at = &(*at)->next;
	}
	*at = r->next;
	w->ring_count--;
}

static void tell_failure(struct et_writer *w, const struct et_ring *r, int code,
			 const struct et_error *error)
{
	char id[ET_UUID_TEXT_SIZE];
	char text[sizeof(error->text) + 128];
	et_uuid_format(facts_of(r)->id, id);
	(void)snprintf(text, sizeof(text),
		       "recording %s is to be kept, and is tried again in %d s: %s", id,
		       (int)(ET_RETRY_US / 1000000), error->text);
	et_writer_problem(w, ET_PROBLEM_WRITE, code, text);
}

static int try_keep(struct et_writer *w, struct et_ring *r, struct et_error *reterr)
{
	struct et_facts *f = facts_of(r);
	memcpy(f->kept, r->wanted.who, sizeof(f->kept));
	f->kept_us = r->wanted.at_us;
	int rc = keep_ring(w, r, reterr);
	if (rc < 0) {
		w->demand_failed++;
		r->retry_us = w->now_us + ET_RETRY_US;
		tell_failure(w, r, rc, reterr);
		return rc;
	}
	if (r->slot != NULL) {
		r->slot->ring = NULL;
	} else {
		unlink_over(w, r);
	}
	(void)et_ring_free(w, r);
	return 0;
}

static void tell_result(struct et_ring *r, struct et_capture_kept *ret)
{
	const struct et_facts *f = facts_of(r);
	ret->changed = !r->kept && r->wanted.who[0] == '\0';
	ret->start_us = f->start_us;
	ret->end_us = f->end_us;
	ret->from_us = r->count > 0 ? r->parts[0].segment.t0_us : 0;
}

static int keep_this(struct et_writer *w, struct et_ring *r, const struct et_keep *keep,
		     struct et_capture_kept *result)
{
	struct et_error error = { .text = "" };
	tell_result(r, result);
	if (r->wanted.who[0] == '\0') {
		r->wanted = *keep;
		r->wanted.ask = NULL;
	}
	return try_keep(w, r, &error);
}

/* A call that is recorded: from its beginning, or kept before. */
static void tell_recorded(const struct et_facts *f, struct et_capture_kept *ret)
{
	*ret = (struct et_capture_kept){ .start_us = f->start_us, .from_us = f->start_us };
	for (uint32_t i = 0; i < f->gap_count; i++) {
		if (f->gaps[i].cause == et_gap_before) {
			ret->from_us = f->gaps[i].to_us;
		}
	}
}

static int find_and_keep(struct et_writer *w, const struct et_keep *keep,
			 struct et_capture_kept *result)
{
	for (uint32_t i = 0; i < w->config.calls; i++) {
		struct et_slot *s = w->slots[i];
		if (s == NULL || memcmp(s->facts.id, keep->recording, 16) != 0) {
			continue;
		}
		if (s->ring != NULL) {
			return keep_this(w, s->ring, keep, result);
		}
		tell_recorded(&s->facts, result);
		return s->told ? 0 : ET_ENOTFOUND;
	}
	for (struct et_ring *r = w->rings; r != NULL; r = r->next) {
		if (r->count > 0 && memcmp(facts_of(r)->id, keep->recording, 16) == 0) {
			return keep_this(w, r, keep, result);
		}
	}
	return ET_ENOTFOUND;
}

void et_writer_keep(struct et_writer *w, const struct et_keep *keep)
{
	struct et_capture_kept result = { .changed = false };
	int rc = w->config.media != NULL ? find_and_keep(w, keep, &result) : ET_ENOTFOUND;
	if (keep->ask != NULL) {
		keep->ask->result = rc < 0 ? (struct et_capture_kept){ .start_us = 0 } : result;
		keep->ask->done(keep->ask, rc);
	}
}

/* ---- Lost ------------------------------------------------------------------------------------ */

struct et_ring *et_ring_free(struct et_writer *w, struct et_ring *r)
{
	char path[PATH_MAX];
	if (r == NULL) {
		return NULL;
	}
	r->keys = et_secret_free(r->keys); /* first: whatever happens to the files then */
	for (uint32_t i = r->told; i < r->count; i++) {
		et_writer_path(w, r->parts[i].file, path);
		(void)unlink(path);
	}
	free(r->closing);
	free(r->session);
	free(r);
	return NULL;
}

/* Nobody kept it. */
static void lose(struct et_writer *w, struct et_ring *r)
{
	tell(w, r, ET_CAPTURE_RING_LOST);
	w->demand_dropped += !r->kept;
	if (r->slot != NULL) {
		r->slot->ring = NULL;
	} else {
		unlink_over(w, r);
	}
	(void)et_ring_free(w, r);
}

void et_ring_over(struct et_writer *w, struct et_slot *s, struct et_closing *closing)
{
	struct et_ring *r = s->ring;
	et_segment_finish(w, s, NULL);
	s->ring = NULL;
	r->slot = NULL;
	r->closing = closing;
	r->session = ET_TAKE(s->session);
	r->until_us = w->now_us + closing->facts.keep_for_us;
	struct et_ring **end = &w->rings;
	while (*end != NULL) {
		end = &(*end)->next;
	}
	*end = r;
	w->ring_count++;
	if (!r->kept && (closing->facts.keep_for_us == 0 || r->count == 0)) {
		lose(w, r);
	} else {
		tell(w, r, ET_CAPTURE_RING);
	}
	if (w->ring_count > w->config.calls && !w->rings->kept) {
		lose(w, w->rings);
	}
}

/* ---- Time and limits ------------------------------------------------------------------------- */

/* The ring that has most, among those that may give something up. */
static struct et_ring *largest(struct et_writer *w, uint32_t *ret_slot)
{
	struct et_ring *most = NULL;
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < w->config.calls; i++) {
		struct et_ring *r = w->slots[i] != NULL ? w->slots[i]->ring : NULL;
		if (r != NULL && !r->kept && r->count > 0 && bytes_of(r) > bytes) {
			most = r;
			bytes = bytes_of(r);
			*ret_slot = i;
		}
	}
	for (struct et_ring *r = w->rings; r != NULL; r = r->next) {
		if (!r->kept && r->count > 0 && bytes_of(r) > bytes) {
			most = r;
			bytes = bytes_of(r);
		}
	}
	return most;
}

/* One part less. */
static void cut(struct et_writer *w, struct et_ring *r, uint32_t slot)
{
	const bool begins_anew = r->has_open && r->count == 1;
	if (begins_anew) {
		et_segment_finish(w, r->slot, NULL);
	}
	if (r->count > 0) {
		cut_first(w, r);
	}
	if (begins_anew && r->slot->state == ET_SLOT_OPEN) {
		begin_next(w, slot);
	}
	if (r->slot == NULL && r->count == 0) {
		lose(w, r);
	}
}

static void keep_limit(struct et_writer *w, uint64_t bytes)
{
	uint32_t slot = 0;
	struct et_ring *r = NULL;
	while (bytes > w->config.demand_bytes && (r = largest(w, &slot)) != NULL) {
		const uint64_t first =
			r->count > 1 || !r->has_open ? r->parts[0].segment.size_bytes : bytes_of(r);
		cut(w, r, slot);
		bytes -= first < bytes ? first : bytes;
	}
	w->demand_used = bytes;
}

/* Parts that are too old; all that are finished, when others need the disk. */
static void expire(struct et_writer *w, struct et_ring *r)
{
	const uint32_t open = r->has_open ? 1 : 0;
	while (!r->kept && r->count > open && w->refuse) {
		cut_first(w, r);
	}
	while (!r->kept && r->slot != NULL && r->count > open &&
	       r->parts[0].last_us < w->now_us - r->reach_us) {
		drop_first(w, r);
	}
}

void et_ring_poll(struct et_writer *w)
{
	struct et_error error = { .text = "" };
	struct et_ring *next = NULL;
	uint64_t calls = 0;
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < w->config.calls; i++) {
		struct et_ring *r = w->slots[i] != NULL ? w->slots[i]->ring : NULL;
		if (r == NULL) {
			continue;
		}
		et_ring_turn(w, i);
		expire(w, r);
		if (r->wanted.who[0] != '\0' && w->now_us >= r->retry_us &&
		    try_keep(w, r, &error) == 0) {
			continue;
		}
		calls++;
		bytes += bytes_of(r);
	}
	for (struct et_ring *r = w->rings; r != NULL; r = next) {
		next = r->next;
		expire(w, r);
		const bool wanted = r->wanted.who[0] != '\0';
		if (!r->kept && (r->count == 0 || (!wanted && w->now_us >= r->until_us))) {
			lose(w, r);
			continue;
		}
		if (wanted && w->now_us >= r->retry_us && try_keep(w, r, &error) == 0) {
			continue;
		}
		calls++;
		bytes += bytes_of(r);
	}
	w->demand_calls = calls;
	keep_limit(w, bytes);
}

/* ---- The end of the process ------------------------------------------------------------------ */

void et_ring_finish(struct et_writer *w)
{
	struct et_error error = { .text = "" };
	char text[128];
	uint32_t lost = 0;
	for (uint32_t i = 0; i < w->config.calls; i++) {
		struct et_slot *s = w->slots[i];
		if (s == NULL || s->ring == NULL) {
			continue;
		}
		et_slot_end(w, s);
		if (s->ring->wanted.who[0] == '\0' || try_keep(w, s->ring, &error) < 0) {
			(void)et_ring_free(w, ET_TAKE(s->ring));
			lost++;
		}
	}
	while (w->rings != NULL) {
		struct et_ring *r = w->rings;
		if (r->wanted.who[0] == '\0' || try_keep(w, r, &error) < 0) {
			lose(w, r);
			lost++;
		}
	}
	if (lost > 0) {
		(void)snprintf(text, sizeof(text),
			       "the recorder stops: what the rings of %u calls on demand held is "
			       "lost, for nobody kept it",
			       lost);
		w->problem_us[ET_PROBLEM_WRITE] = 0;
		et_writer_problem(w, ET_PROBLEM_WRITE, ET_ENOKEY, text);
	}
}
