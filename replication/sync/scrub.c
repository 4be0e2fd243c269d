/* Scrub: every copy of this node is read again from its disk, and its hashes are verified, at a
 * bounded rate. It needs no key.
 *
 *   idle ──asked, or its time has come──▶ running ──the last recording──▶ idle
 *    ▲                                     │  ▲
 *    └──────────────stopped────────────────┘  └─ each minute again: the disk is not the store's
 *
 * Happy path: recordings by id, from the cursor on; for each, this node's verified copies -> read
 * at the rate (what the page cache has is dropped first: the disk is meant) -> verified as a whole
 * -> the cursor moves. The cursor is in <media>/scrub.json, saved every 5 s: whatever ends the
 * process, the pass goes on from there, and reads again what lies between.
 *
 * What is bad is verified a second time, and the catalogue asked once more, before it counts: then
 * it goes to quarantine (renamed, never deleted: it may be the last there is), CopyBad is proposed,
 * and placement fetches a good one. The saved cursor stays before it until CopyBad is committed.
 *
 * Possible failure modes are
 *   - the media folder is not the store whose copies these are (unmounted, exchanged), or the disk
 *     as a whole does not answer: nothing counts as missing or bad; it waits for the store, and
 *     says so;
 *   - the catalogue cannot be read, or a leader was not heard since the start, so that it may be
 *     behind: likewise;
 *   - scrub.json is damaged or of another store: a new pass begins when its time comes;
 *   - it cannot be saved: the pass goes on, and a restart repeats more of it.
 *
 * Threads: one of its own, at idle I/O priority, that may wait for the disk; from the start of the
 * service until it stops. `mutex` guards what it shares, and nobody waits for the disk under it:
 * who begins or ends a pass leaves the saving to that thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/text/json.h"
#include "replication/sync/sync_internal.h"

#define BATCH 64
#define SAVE_US (5 * INT64_C(1000000))
#define AGAIN_US (60 * INT64_C(1000000)) /* between looks for a store that is not there */
#define FRESH_US INT64_C(1000000)	 /* between looks whether the catalogue is complete */
#define TOLD_US INT64_C(200000)		 /* between looks whether CopyBad is committed */
#define IDLE_US (3600 * INT64_C(1000000))
#define FILE_MAX 4096 /* bytes of scrub.json */
#define RATE_DEFAULT (UINT64_C(20) << 20)

/* ---- The file ---- */

static int scrub_path(const struct et_sync *s, char path[ET_STORE_PATH_MAX])
{
	int n = snprintf(path, ET_STORE_PATH_MAX, "%s/scrub.json", s->media);
	return n < 0 || n >= ET_STORE_PATH_MAX ? -ENAMETOOLONG : 0;
}

static void scrub_print(const struct et_sync *s, const struct et_sync_scrub *st,
			const uint8_t at[16], struct et_buffer *text)
{
	char id[ET_UUID_TEXT_SIZE];
	json_t *o = json_object();

	et_uuid_format(at, id);
	et_json_set(o, "store", et_json_text(s->store_uuid));
	et_json_set(o, "first_us", json_integer(st->first_us));
	et_json_set(o, "pass", json_integer((json_int_t)st->pass));
	et_json_set(o, "running", json_boolean(st->running));
	et_json_set(o, "begun_us", json_integer(st->begun_us));
	et_json_set(o, "ended_us", json_integer(st->ended_us));
	et_json_set(o, "rate", json_integer((json_int_t)st->rate));
	et_json_set(o, "copies", json_integer((json_int_t)st->copies));
	et_json_set(o, "bytes", json_integer((json_int_t)st->bytes));
	et_json_set(o, "bad", json_integer((json_int_t)st->bad));
	et_json_set(o, "by", et_json_text(st->by));
	et_json_set(o, "at", json_string(id));
	et_json_print(o, true, text);
	json_decref(o);
}

/* With the mutex held, which is free while the disk is waited for. */
static void scrub_save(struct et_sync *s)
{
	struct scrub *c = &s->scrub;
	char path[ET_STORE_PATH_MAX];
	struct et_buffer text = { 0 };
	struct et_error error = { 0 };

	c->unsaved = false;
	if (atomic_load(&s->bads_untold) == 0) {
		memcpy(c->safe, c->st.at, sizeof(c->safe)); /* Nothing is behind it untold. */
	}
	scrub_print(s, &c->st, c->safe, &text);
	(void)pthread_mutex_unlock(&c->mutex);
	int rc = scrub_path(s, path);
	rc = rc < 0	   ? rc
	     : text.failed ? -ENOMEM
			   : et_file_publish(path, text.data, text.size, 0600, &error);
	if (rc < 0 && c->save_code != rc) {
		et_warn("scrub.save", "error=%s", et_errname(rc));
	}
	et_buffer_release(&text);
	(void)pthread_mutex_lock(&c->mutex);
	c->save_code = rc;
	c->saved_us = et_clock_mono_us();
}

static uint64_t count_of(const json_t *o, const char *key)
{
	int64_t n = et_json_get_int(o, key, 0);
	return n > 0 ? (uint64_t)n : 0;
}

static bool scrub_read(struct et_sync *s, const json_t *o)
{
	struct et_sync_scrub *st = &s->scrub.st;

	if (strcmp(et_json_get_text(o, "store", ""), s->store_uuid) != 0 ||
	    !et_uuid_parse(et_json_get_text(o, "at", ""), st->at)) {
		return false;
	}
	st->first_us = et_json_get_int(o, "first_us", st->first_us);
	st->pass = count_of(o, "pass");
	st->running = et_json_get_bool(o, "running", false);
	st->begun_us = et_json_get_int(o, "begun_us", 0);
	st->ended_us = et_json_get_int(o, "ended_us", 0);
	st->rate = count_of(o, "rate") > 0 ? count_of(o, "rate") : st->rate;
	st->copies = count_of(o, "copies");
	st->bytes = count_of(o, "bytes");
	st->bad = count_of(o, "bad");
	(void)snprintf(st->by, sizeof(st->by), "%s", et_json_get_text(o, "by", ""));
	return true;
}

static void scrub_load(struct et_sync *s)
{
	struct scrub *c = &s->scrub;
	char path[ET_STORE_PATH_MAX];
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	ET_CLEANUP(et_json_freep) json_t *o = NULL;

	c->st.first_us = et_clock_now_us();
	c->st.rate = c->rate;
	int rc = scrub_path(s, path);
	rc = rc < 0 ? rc : et_file_read(path, FILE_MAX, &text, NULL);
	rc = rc < 0 ? rc : et_json_parse("scrub.json", text.data, text.size, FILE_MAX, &o, NULL);
	if (rc == 0 && !scrub_read(s, o)) {
		rc = ET_EMALFORMED;
	}
	if (rc < 0 && rc != -ENOENT) {
		et_warn("scrub.load", "error=%s next=\"a new pass begins when its time comes\"",
			et_errname(rc));
	}
	memcpy(c->safe, c->st.at, sizeof(c->safe));
	c->unsaved = true;
}

/* ---- Waiting ---- */

/* With the mutex held, until then (monotonic), until something is asked, or was to be saved. */
static void scrub_wait(struct et_sync *s, int64_t until_us)
{
	struct scrub *c = &s->scrub;
	struct timespec t = { .tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000 };

	if (c->unsaved) {
		scrub_save(s);
	} else {
		(void)pthread_cond_timedwait(&c->asked, &c->mutex, &t);
	}
}

/* With the mutex held: is the pass that the thread is at still wanted? */
static bool scrub_goes_on(const struct scrub *c)
{
	return !c->stop && c->st.running && c->st.pass == c->at_pass;
}

/* May `bytes` be read? Waits until what was read before is paid for. */
static bool scrub_take(void *arg, size_t bytes)
{
	struct et_sync *s = arg;
	struct scrub *c = &s->scrub;

	(void)pthread_mutex_lock(&c->mutex);
	int64_t now = et_clock_mono_us();
	c->free_us = c->free_us > now ? c->free_us : now;
	while (scrub_goes_on(c) && et_clock_mono_us() < c->free_us) {
		scrub_wait(s, c->free_us);
	}
	c->free_us += (int64_t)((double)bytes * 1e6 / (double)c->st.rate);
	bool may = scrub_goes_on(c);
	(void)pthread_mutex_unlock(&c->mutex);
	return may;
}

/* ---- A pass ---- */

struct bad_post {
	struct et_post post;
	struct et_sync *s;
	struct et_look_own own;
	struct et_sync_check check;
};

static void bad_on_sync(struct et_post *post)
{
	struct bad_post *b = ET_CONTAINER_OF(post, struct bad_post, post);
	et_check_tell(b->s, &b->own, &b->check);
	free(b);
}

static bool bad_hand_over(struct et_sync *s, const struct et_look_own *own,
			  const struct et_sync_check *check)
{
	struct bad_post *b = calloc(1, sizeof(*b));

	if (b == NULL) {
		return false;
	}
	b->post.fn = bad_on_sync;
	b->s = s;
	b->own = *own;
	b->check = *check;
	if (et_post(&s->box, &b->post) < 0) {
		free(b);
		return false;
	}
	return true;
}

/* The sync thread tells the catalogue. Until it has taken it, the pass goes no further; when the
 * service stops before, the saved cursor is before it, and it is found missing. */
static void scrub_tell(struct et_sync *s, const struct et_look_own *own,
		       const struct et_sync_check *check)
{
	struct scrub *c = &s->scrub;
	bool told = bad_hand_over(s, own, check);

	(void)pthread_mutex_lock(&c->mutex);
	while (!told && !c->stop) {
		scrub_wait(s, et_clock_mono_us() + TOLD_US);
		(void)pthread_mutex_unlock(&c->mutex);
		told = bad_hand_over(s, own, check);
		(void)pthread_mutex_lock(&c->mutex);
	}
	(void)pthread_mutex_unlock(&c->mutex);
}

/* Is it this node or its store that cannot go on, and not the one copy? */
static bool is_for_now(int code)
{
	return code == ET_ECLOSED || code == -ENODEV || code == -EAGAIN || code == -ENOMEM ||
	       code == -EMFILE || code == -ENFILE;
}

/* One copy: 0, or a negative code that ends the pass for now. Only what was read to its end counts.
 */
static int scrub_copy(struct et_sync *s, const struct et_look_own *own)
{
	struct scrub *c = &s->scrub;
	const struct et_store_pace pace = { scrub_take, s };
	struct et_sync_check check;

	et_check_copy(s, own, &pace, &check);
	if (is_for_now(check.code)) {
		return et_fail_plain(&c->error, check.code, "%s", check.text);
	}
	bool bad = et_check_is_bad(check.code);
	if (check.code < 0 && !bad) {
		char quoted[600];
		et_log(check.code == ET_ESTALE ? ET_LOG_DEBUG : ET_LOG_ERROR, "scrub.unread",
		       "file=%s code=%s error=%s", own->file, et_errname(check.code),
		       et_log_quote(check.text, quoted, sizeof(quoted)));
		return 0;
	}
	if (bad) {
		scrub_tell(s, own, &check);
	}
	(void)pthread_mutex_lock(&c->mutex);
	if (c->st.pass == c->at_pass) {
		c->st.copies++;
		c->st.bytes += own->expect.size_bytes;
		c->st.bad += bad;
	}
	(void)pthread_mutex_unlock(&c->mutex);
	return 0;
}

static int scrub_recording(struct et_sync *s, const uint8_t recording[16])
{
	struct scrub *c = &s->scrub;
	struct et_look_own *owns = NULL;
	size_t count = 0;

	int rc = et_look_own(s->state, s->node, recording, &owns, &count, &c->error);
	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = scrub_copy(s, &owns[i]);
	}
	free(owns);
	if (rc < 0) {
		return rc;
	}
	(void)pthread_mutex_lock(&c->mutex);
	if (c->st.pass == c->at_pass) {
		memcpy(c->st.at, recording, sizeof(c->st.at));
	}
	if (c->unsaved || et_clock_mono_us() - c->saved_us > SAVE_US) {
		scrub_save(s);
	}
	(void)pthread_mutex_unlock(&c->mutex);
	return 0;
}

struct batch {
	uint8_t ids[BATCH][16];
	size_t count;
};

static int batch_add(void *arg, const uint8_t recording[16])
{
	struct batch *b = arg;

	memcpy(b->ids[b->count++], recording, 16);
	return b->count == BATCH;
}

/* The next recordings; a view is not held while they are read. */
static int batch_read(struct et_sync *s, const uint8_t after[16], struct batch *ret)
{
	struct et_state_view *view = et_state_view_open(s->state);
	int rc = view == NULL ? -ENOMEM : 0;

	ret->count = 0;
	rc = rc < 0 ? rc : et_state_each_recorded(view, after, batch_add, ret);
	(void)et_state_view_close(view);
	return rc < 0 ? et_fail(&s->scrub.error, rc, "read the catalogue") : 0;
}

/* Not before all that is bad is known to the catalogue: a restart would forget it. */
static void pass_end(struct et_sync *s)
{
	struct scrub *c = &s->scrub;

	(void)pthread_mutex_lock(&c->mutex);
	while (scrub_goes_on(c) && atomic_load(&s->bads_untold) > 0) {
		(void)snprintf(c->st.error, sizeof(c->st.error),
			       "%u bad copies wait to be committed to the catalogue",
			       atomic_load(&s->bads_untold));
		scrub_wait(s, et_clock_mono_us() + TOLD_US);
	}
	if (scrub_goes_on(c)) {
		c->st.error[0] = '\0';
		c->st.running = false;
		c->st.ended_us = et_clock_now_us();
		et_info("scrub.ended",
			"pass=%" PRIu64 " copies=%" PRIu64 " bytes=%" PRIu64 " bad=%" PRIu64,
			c->st.pass, c->st.copies, c->st.bytes, c->st.bad);
	}
	scrub_save(s);
	(void)pthread_mutex_unlock(&c->mutex);
}

/* Is the catalogue here known to be complete? A log that is replayed would be scrubbed as it was.
 */
static bool scrub_is_fresh(struct et_sync *s)
{
	struct scrub *c = &s->scrub;
	bool fresh = c->fresh_us == NULL || c->fresh_us(c->fresh_arg) != 0;

	if (!fresh) {
		(void)et_fail_plain(
			&c->error, ET_EBUSY,
			"no leader was heard since the start: the catalogue here may be "
			"behind");
	}
	return fresh;
}

/* Until a batch is over: 1, there may be more; 0, that was the last; negative. */
static int pass_batch(struct et_sync *s)
{
	struct batch b;
	uint8_t at[16];

	(void)pthread_mutex_lock(&s->scrub.mutex);
	memcpy(at, s->scrub.st.at, sizeof(at));
	s->scrub.at_pass = s->scrub.st.pass;
	(void)pthread_mutex_unlock(&s->scrub.mutex);
	b.count = 0;
	int rc = scrub_is_fresh(s) ? batch_read(s, at, &b) : ET_EBUSY;
	for (size_t i = 0; i < b.count && rc == 0; i++) {
		rc = scrub_recording(s, b.ids[i]);
	}
	return rc < 0 ? rc : b.count == BATCH;
}

/* With the mutex held: it cannot go on now. A catalogue that is replayed is no news for a minute.
 */
static void pass_pause(struct et_sync *s, int code)
{
	struct scrub *c = &s->scrub;
	char quoted[400];
	int64_t now = et_clock_mono_us();

	if (code == ET_EBUSY && now - c->started_us < AGAIN_US) {
		scrub_wait(s, now + FRESH_US);
		return;
	}
	(void)snprintf(c->st.error, sizeof(c->st.error), "%.150s", c->error.text);
	et_err("scrub.waits", "code=%s error=%s", et_errname(code),
	       et_log_quote(c->st.error, quoted, sizeof(quoted)));
	scrub_wait(s, now + (code == ET_EBUSY ? FRESH_US : AGAIN_US));
}

static void pass_run(struct et_sync *s)
{
	struct scrub *c = &s->scrub;
	int rc = 1;

	while (rc == 1) {
		c->error = (struct et_error){ 0 };
		rc = pass_batch(s);
		(void)pthread_mutex_lock(&c->mutex);
		bool goes_on = !c->stop && c->st.running;
		bool other = c->st.pass != c->at_pass; /* stopped, and begun anew */
		c->st.error[0] = '\0';
		if (rc < 0 && goes_on && !other) {
			pass_pause(s, rc);
		}
		(void)pthread_mutex_unlock(&c->mutex);
		if (!goes_on) {
			return;
		}
		rc = rc < 0 || other ? 1 : rc;
	}
	if (rc == 0) {
		pass_end(s);
	}
}

/* With the mutex held. */
static void pass_begin(struct et_sync *s, uint64_t rate, const char *by)
{
	struct et_sync_scrub *st = &s->scrub.st;

	st->running = true;
	st->pass++;
	st->begun_us = et_clock_now_us();
	st->rate = rate;
	st->copies = st->bytes = st->bad = 0;
	st->error[0] = '\0';
	memset(st->at, 0, sizeof(st->at));
	memset(s->scrub.safe, 0, sizeof(s->scrub.safe));
	(void)snprintf(st->by, sizeof(st->by), "%s", by);
	s->scrub.unsaved = true;
	et_info("scrub.begun", "pass=%" PRIu64 " rate=%" PRIu64 " by=%s", st->pass, st->rate,
		st->by);
}

static int64_t scrub_due_us(const struct scrub *c)
{
	int64_t last = c->st.ended_us > 0 ? c->st.ended_us : c->st.first_us;
	return c->every_us > 0 ? last + c->every_us : 0;
}

/* ---- The thread ---- */

static void *scrub_main(void *arg)
{
	struct et_sync *s = arg;
	struct scrub *c = &s->scrub;

	/* IOPRIO_WHO_PROCESS, this thread, IOPRIO_CLASS_IDLE: what matters goes first. */
	(void)syscall(SYS_ioprio_set, 1, 0, 3 << 13);
	(void)pthread_mutex_lock(&c->mutex);
	while (!c->stop) {
		int64_t due = scrub_due_us(c);
		int64_t now = et_clock_now_us();
		if (!c->st.running && due != 0 && now >= due) {
			pass_begin(s, c->rate, "schedule");
		}
		if (c->st.running) {
			(void)pthread_mutex_unlock(&c->mutex);
			pass_run(s);
			(void)pthread_mutex_lock(&c->mutex);
		} else { /* The clock may be set: it is looked at each hour. */
			int64_t left = due != 0 && due - now < IDLE_US ? due - now : IDLE_US;
			scrub_wait(s, et_clock_mono_us() + left);
		}
	}
	scrub_save(s);
	(void)pthread_mutex_unlock(&c->mutex);
	return NULL;
}

void et_scrub_init(struct et_sync *s, const struct et_sync_config *config)
{
	struct scrub *c = &s->scrub;
	pthread_condattr_t attributes;

	(void)pthread_mutex_init(&c->mutex, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->asked, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	c->every_us = config->scrub_every_us;
	c->rate = config->scrub_rate > 0 ? config->scrub_rate : RATE_DEFAULT;
	c->fresh_us = config->fresh_us;
	c->fresh_arg = config->fresh_arg;
	c->started_us = et_clock_mono_us();
	scrub_load(s);
}

void et_scrub_begin(struct et_sync *s)
{
	int rc = pthread_create(&s->scrub.thread, NULL, scrub_main, s);
	et_assert(rc == 0); /* As for every thread that a process starts with. */
	s->scrub.thread_runs = true;
}

void et_scrub_end(struct et_sync *s)
{
	struct scrub *c = &s->scrub;

	if (!c->thread_runs) {
		return;
	}
	(void)pthread_mutex_lock(&c->mutex);
	c->stop = true;
	(void)pthread_cond_signal(&c->asked);
	(void)pthread_mutex_unlock(&c->mutex);
	(void)pthread_join(c->thread, NULL);
	c->thread_runs = false;
}

void et_scrub_release(struct et_sync *s)
{
	(void)pthread_cond_destroy(&s->scrub.asked);
	(void)pthread_mutex_destroy(&s->scrub.mutex);
}

/* ---- From other threads ---- */

void et_sync_scrub_start(struct et_sync *s, uint64_t rate, const char *by)
{
	struct scrub *c = &s->scrub;

	(void)pthread_mutex_lock(&c->mutex);
	rate = rate > 0 ? rate : c->rate;
	if (c->st.running) {
		c->st.rate = rate;
		c->free_us = 0; /* What was read at the rate before is forgiven. */
		c->unsaved = true;
	} else {
		pass_begin(s, rate, by);
	}
	(void)pthread_cond_signal(&c->asked);
	(void)pthread_mutex_unlock(&c->mutex);
}

bool et_sync_scrub_stop(struct et_sync *s)
{
	struct scrub *c = &s->scrub;

	(void)pthread_mutex_lock(&c->mutex);
	bool ran = c->st.running;
	c->st.running = false;
	c->st.error[0] = '\0';
	if (ran) {
		et_info("scrub.stopped", "pass=%" PRIu64, c->st.pass);
		c->unsaved = true;
	}
	(void)pthread_cond_signal(&c->asked);
	(void)pthread_mutex_unlock(&c->mutex);
	return ran;
}

void et_sync_scrub_status(struct et_sync *s, struct et_sync_scrub *ret)
{
	struct scrub *c = &s->scrub;

	(void)pthread_mutex_lock(&c->mutex);
	*ret = c->st;
	ret->next_us = c->st.running ? 0 : scrub_due_us(c);
	int64_t last = c->st.ended_us > 0 ? c->st.ended_us : c->st.first_us;
	ret->late = c->every_us > 0 && et_clock_now_us() - last > 2 * c->every_us;
	(void)pthread_mutex_unlock(&c->mutex);
}
