/* The tails of a node that is gone.
 *
 * Promise: when a node was removed (by an operator, with a quorum; never by a time limit), what
 * this node kept of its open segments becomes those segments: the longest prefix whose CRCs fit
 * gets a footer of this node, flagged as recovered and unverified, lies where copies lie, and is
 * committed as the seal; the recording is closed over it. Then it is played, copied and kept as any
 * other.
 *
 *   KEPT ──its source is gone──▶ FILE ──footer, synced, renamed──▶ SEAL ──committed──▶ CLOSE ─┐
 *    ▲ ▲                          │                                 └──refused──▶ ASIDE ───────┤
 *    │ └────── the disk fails ────┘                                                            │
 *    └─────────────────────────────────── a look ──────────────────────────────────────────────┘
 *
 * Of several segments of one recording the last goes first: with it the recording is closed, and
 * ends where it ends. For the others RecordingClose is refused, which is no matter.
 *
 * Possible failure modes are
 *   - this process dies: what lies in tails/, or already where copies lie, is found again and told
 *     again, also what is sealed and not closed yet (a scan finds that in the catalogue); a tape
 *     that has its footer keeps it, so it is the same seal;
 *   - no quorum: the command is repeated with its op id until it is answered;
 *   - another node kept a tail, too, and was first: its seal counts. What is here goes into
 *     quarantine, which is never emptied: it may be the longer one (a person can compare). Nothing
 *     is fetched to that place while a tail is here (table.c), so it is no published copy;
 *   - the cluster's schema is older than 3: nothing is sealed until it is raised.
 *
 * ET_SYNC_TAIL_SEALS at once. Threads: the sync thread; the file, in a worker. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "replication/sync/sync_internal.h"

#define RETRY_US (30 * INT64_C(1000000))

struct tail_seal {
	struct et_sync *s;	/* borrowed */
	struct tail_seal *next; /* in s->tails.seals */
	struct tail *tail;	/* borrowed: TAIL_SEAL meanwhile */
	struct et_key key;
	char file[ET_SYNC_FILE_MAX];
	char path[ET_STORE_PATH_MAX];
	uv_work_t work;
	int code;
	struct et_error error;
	struct et_tape_recovery recovery;
};

/* ---- The file (worker) ---- */

/* Its footer, and to where copies lie; what a crash left there is taken as it is. */
static int seal_file(struct tail_seal *j, struct et_error *reterr)
{
	const struct et_sync *s = j->s;
	char tail[ET_STORE_PATH_MAX];
	const struct et_tape_signer signer = {
		.node = s->node,
		.seed = s->sign_key,
		.now_us = et_clock_now_us(),
	};

	et_tail_file_path(s->media, &j->key, tail);
	if (access(tail, F_OK) < 0) {
		return et_tape_recover(j->path, &signer, NULL, &j->recovery, reterr);
	}
	/* Nobody was told of a seal of it: what is behind the last whole record goes. */
	int rc = et_tape_recover_unpublished(tail, &signer, NULL, &j->recovery, reterr);
	rc = rc < 0 ? rc : et_store_make_folders(j->path, reterr);
	if (rc < 0) {
		return rc;
	}
	if (renameat2(AT_FDCWD, tail, AT_FDCWD, j->path, RENAME_NOREPLACE) < 0) {
		return et_fail(reterr, -errno, "rename '%s' to '%s'", tail, j->path);
	}
	return et_file_sync_parent(j->path, reterr);
}

static void seal_run(uv_work_t *work)
{
	struct tail_seal *j = ET_CONTAINER_OF(work, struct tail_seal, work);
	j->code = seal_file(j, &j->error);
}

/* ---- The end ---- */

static void seal_over(struct tail_seal *j, int64_t retry_us)
{
	struct et_sync *s = j->s;
	struct tail_seal **at = &s->tails.seals;

	while (*at != j) {
		at = &(*at)->next;
	}
	*at = j->next;
	s->tails.seal_count--;
	j->tail->state = TAIL_KEPT;
	j->tail->stale = true;
	j->tail->due_us = et_clock_mono_us() + retry_us;
	free(j);
	if (!s->stopping) {
		et_tail_run(s);
	}
}

static void aside_run(uv_work_t *work)
{
	struct tail_seal *j = ET_CONTAINER_OF(work, struct tail_seal, work);
	struct et_look_tail look = { .key = j->key };
	char name[ET_SYNC_FILE_MAX];

	et_look_tails(j->s->state, j->s->node, &look, 1);
	if (look.code < 0 || look.verdict == ET_LOOK_TAIL_KEEP) {
		j->code = -EAGAIN; /* Nobody has sealed it: it was refused for another reason. */
		return;
	}
	j->code = et_store_quarantine(j->s->media, j->file, et_clock_now_us(), name, &j->error);
}

static void seal_failed(struct tail_seal *j, int code)
{
	char text[256];

	et_warn("sync.tail_seal", "code=%s error=%s", et_errname(code),
		et_log_quote(j->error.text, text, sizeof(text)));
	j->s->tails.st.errors++;
	seal_over(j, RETRY_US);
}

static void aside_after(uv_work_t *work, int status)
{
	struct tail_seal *j = ET_CONTAINER_OF(work, struct tail_seal, work);
	int code = status < 0 ? status : j->code;

	et_sync_work_done(j->s);
	if (code < 0 && code != -EAGAIN) {
		seal_failed(j, code);
	} else {
		seal_over(j, code < 0 ? RETRY_US : 0);
	}
}

/* ---- Telling it ---- */

/* Refused: it is closed. Whatever the answer, a look says whether it is. */
static void close_answered(struct et_sync *s, void *arg, int code)
{
	(void)s;
	seal_over(arg, code == 0 ? 0 : RETRY_US);
}

/* Nobody else tells that its call is over. */
static void seal_close_recording(struct tail_seal *j)
{
	static char problem[] =
		"its recorder was lost: what another site had kept of the call in progress";
	static char partial[] = "partial";
	Et__Command command = ET__COMMAND__INIT;
	Et__RecordingClose close = ET__RECORDING_CLOSE__INIT;
	Et__Recording r = ET__RECORDING__INIT;

	r.id = (ProtobufCBinaryData){ 16, j->key.recording };
	r.state = ET__RECORDING_STATE__SEALED;
	r.end_us = j->recovery.header.t0_us + (int64_t)j->recovery.seal.last_ms * 1000;
	r.problem = problem;
	r.call_state = partial;
	close.recording = &r;
	command.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
	command.recording_close = &close;
	if (!et_ack_command(j->s, &command, close_answered, j)) {
		seal_over(j, RETRY_US);
	}
}

static void seal_answered(struct et_sync *s, void *arg, int code)
{
	struct tail_seal *j = arg;
	char id[ET_UUID_TEXT_SIZE];

	et_uuid_format(j->key.recording, id);
	if (code == 0) {
		s->tails.st.sealed++;
		et_warn("sync.tail_sealed",
			"recording=%s segment=%" PRIu32 " records=%" PRIu64 " last_ms=%" PRIu32, id,
			j->key.segment, j->recovery.seal.records, j->recovery.seal.last_ms);
		seal_close_recording(j);
		return;
	}
	et_warn("sync.tail_refused", "recording=%s segment=%" PRIu32 " records=%" PRIu64 " code=%s",
		id, j->key.segment, j->recovery.seal.records, et_errname(code));
	if (et_sync_work(s, &j->work, aside_run, aside_after) < 0) {
		seal_over(j, RETRY_US);
	}
}

static void seal_tell(struct tail_seal *j)
{
	const struct et_tape_seal *seal = &j->recovery.seal;
	Et__Command command = ET__COMMAND__INIT;
	Et__SegmentSeal m = ET__SEGMENT_SEAL__INIT;

	m.recording = (ProtobufCBinaryData){ 16, j->key.recording };
	m.generation = j->key.generation;
	m.segment = j->key.segment;
	m.state = ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED;
	m.root = (ProtobufCBinaryData){ 32, (uint8_t *)(uintptr_t)seal->root };
	m.block_bytes = seal->block_bytes;
	m.seal_hash = (ProtobufCBinaryData){ 32, (uint8_t *)(uintptr_t)seal->seal_hash };
	m.records = seal->records;
	m.size_bytes = seal->size_bytes;
	m.sealed_us = seal->signed_us;
	m.store_uuid = j->s->store_uuid;
	command.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	command.segment_seal = &m;
	if (!et_ack_command(j->s, &command, seal_answered, j)) {
		seal_over(j, RETRY_US);
	}
}

static void seal_after(uv_work_t *work, int status)
{
	struct tail_seal *j = ET_CONTAINER_OF(work, struct tail_seal, work);
	struct et_sync *s = j->s;
	int code = status < 0 ? status : j->code;

	et_sync_work_done(s);
	if (s->stopping) {
		seal_over(j, 0);
	} else if (code < 0) {
		seal_failed(j, code);
	} else {
		seal_tell(j);
	}
}

/* ---- Beginning ---- */

static void seal_start(struct et_sync *s, struct tail *t)
{
	struct tail_seal *j = calloc(1, sizeof(*j));
	if (j == NULL) {
		return;
	}
	j->s = s;
	j->tail = t;
	j->key = t->key;
	memcpy(j->file, t->file, sizeof(j->file));
	int n = snprintf(j->path, sizeof(j->path), "%s/%s", s->media, j->file);
	if (!et_store_file_ok(j->file) || n < 0 || (size_t)n >= sizeof(j->path) ||
	    et_sync_work(s, &j->work, seal_run, seal_after) < 0) {
		free(j);
		t->due_us = et_clock_mono_us() + RETRY_US;
		return;
	}
	t->state = TAIL_SEAL;
	j->next = s->tails.seals;
	s->tails.seals = j;
	s->tails.seal_count++;
}

static bool tail_is_to_seal(const struct tail *t, int64_t now_us)
{
	return t->state == TAIL_KEPT && t->lost && !t->stale && t->due_us <= now_us;
}

/* Does a later segment of its recording go first? */
static bool tail_waits(const struct et_sync *s, const struct tail *t, int64_t now_us)
{
	for (const struct tail *o = s->tails.list; o != NULL; o = o->next) {
		if (o->key.segment > t->key.segment &&
		    memcmp(o->key.recording, t->key.recording, 16) == 0 &&
		    (o->state == TAIL_SEAL || tail_is_to_seal(o, now_us))) {
			return true;
		}
	}
	return false;
}

void et_tail_seal_next(struct et_sync *s)
{
	int64_t now = et_clock_mono_us();

	for (struct tail *t = s->tails.list; t != NULL; t = t->next) {
		if (s->sign_key == NULL || s->stopping ||
		    s->tails.seal_count == ET_SYNC_TAIL_SEALS) {
			return;
		}
		if (tail_is_to_seal(t, now) && !tail_waits(s, t, now)) {
			seal_start(s, t);
		}
	}
}

/* They waited for an answer: a start finds their files. */
void et_tail_seal_release(struct et_sync *s)
{
	while (s->tails.seals != NULL) {
		struct tail_seal *j = s->tails.seals;
		s->tails.seals = j->next;
		free(j);
	}
}
