/* Live capture: the threads around the engine and the writer.
 *
 *   ring thread ──batches──▶ writer thread ──footers──▶ sync thread (once a second)
 *        ├──────────── call table, when it changed ────────▲
 *        ◀──────────── new lines of key logs ──────────────┘
 *
 * Happy path: et_capture_start() recovers, restores, opens the sources and starts the threads;
 * et_capture_stop() stops the ring thread, lets the writer drain its queue and write footers,
 * syncs, lets it tell what is durable, and joins. Failures: a source that goes away is told
 * (PROBLEM) and the others go on; a failed sync ends acknowledgements; a full disk is the writer's
 * business (segment.c). */
#include "node/capture/capture_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/capture/follow_internal.h"
#include "node/capture/keysock_internal.h"
#include "node/capture/srs_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"

enum {
	WRITER_WAIT_MS = 50,
	TABLE_MAX = 256 * 1024 * 1024,
	SMALL_TABLE_CALLS = 256,
	KEYLOG_SECRETS = 1 << 16, /* the oldest are forgotten */
	GIVEN_KEYS = 512,	  /* of tables, through the socket; these, too */
};

#define TICK_US 1000000LL
#define TABLE_US 100000LL
#define LATE_US 1000000LL
#define DEFAULT_QUEUE_BYTES ((size_t)32 * 1024 * 1024)
#define DEFAULT_RESERVE_BYTES ((uint64_t)256 * 1024 * 1024)
#define DEFAULT_DEMAND_BYTES ((uint64_t)8 * 1024 * 1024 * 1024)

/* ---- Sync thread ----------------------------------------------------------------------------- */

/* What a rename did is durable with its folder. */
static int sync_folder(struct et_capture *c)
{
	char path[PATH_MAX];
	et_writer_path(c->writer, "calls", path);
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Replaced by rename before the tick: durable with it; with `now`, when this returns 0. */
static int write_table(struct et_capture *c, struct et_buffer *table, bool now)
{
	char path[PATH_MAX];
	char temp[PATH_MAX];
	et_writer_path(c->writer, "calls/table", path);
	et_writer_path(c->writer, "calls/table.new", temp);
	ET_CLEANUP(et_fd_closep)
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) {
		return -errno;
	}
	/* On failure the older table stays: calls of the last second are not continued. */
	int rc = et_file_pwrite(fd, table->data, table->size, 0);
	if (rc == 0 && now && fdatasync(fd) < 0) {
		rc = -errno;
	}
	if (rc == 0 && rename(temp, path) < 0) {
		rc = -errno;
	}
	return rc == 0 && now ? sync_folder(c) : rc;
}

/* What the other threads left: a call table, which makes pauses durable, and what was kept, which a
 * sync does. Taken together: the table that says that a call is kept was left before the writer
 * kept it, and is under the same sync. */
static void take_left(struct et_capture *c)
{
	(void)pthread_mutex_lock(&c->mutex);
	struct et_buffer table = c->table;
	struct et_capture_command *unsaved = c->unsaved;
	struct et_capture_command *kept = c->kept;
	c->table = (struct et_buffer){ .data = NULL };
	c->unsaved = NULL;
	c->kept = NULL;
	(void)pthread_mutex_unlock(&c->mutex);
	if (table.size > 0) {
		int rc = write_table(c, &table, unsaved != NULL);
		et_commands_answer(c, unsaved, rc);
	}
	et_buffer_release(&table);
	if (kept != NULL) {
		et_writer_sync(c->writer);
		et_commands_kept(c, kept, atomic_load(&c->writer->sync_code));
	}
}

static bool is_past(const struct timespec *until)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > until->tv_sec ||
	       (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec);
}

/* Once a second a sync. A table is written as soon as it is there: after kill -9 of the process the
 * page cache has it, and calls that began since the last tick are continued too. */
static void *sync_main(void *arg)
{
	struct et_capture *c = arg;
	bool stop = false;
	while (!stop) {
		struct timespec until;
		bool due = false;
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		while (!due && !stop) {
			(void)pthread_mutex_lock(&c->mutex);
			while (!c->sync_stop && c->table.size == 0 && c->kept == NULL && !due) {
				due = pthread_cond_timedwait(&c->wake, &c->mutex, &until) != 0;
			}
			stop = c->sync_stop;
			(void)pthread_mutex_unlock(&c->mutex);
			take_left(c);
			due = due || is_past(&until);
		}
		et_writer_sync(c->writer);
		if (c->follow != NULL) {
			(void)et_follow_read(c->follow);
		}
	}
	return NULL;
}

/* ---- Writer thread --------------------------------------------------------------------------- */

static void tell_lost_source(struct et_capture *c)
{
	char text[sizeof(c->source_text)];
	int code = atomic_exchange(&c->source_code, 0);
	if (code != 0 && c->on_event != NULL) {
		(void)pthread_mutex_lock(&c->mutex);
		memcpy(text, c->source_text, sizeof(text));
		(void)pthread_mutex_unlock(&c->mutex);
		struct et_capture_event ev = {
			.kind = ET_CAPTURE_PROBLEM,
			.time_us = et_clock_now_us(),
			.code = code,
			.text = text,
		};
		(void)c->on_event(c->arg, &ev);
	}
}

static void *writer_main(void *arg)
{
	struct et_capture *c = arg;
	while (et_relay_run(&c->relay, c->writer, WRITER_WAIT_MS)) {
		et_writer_poll(c->writer, et_clock_now_us());
		tell_lost_source(c);
	}
	et_writer_finish(c->writer);
	et_writer_sync(c->writer);
	et_writer_poll(c->writer, et_clock_now_us());
	tell_lost_source(c);
	return NULL;
}

/* ---- Ring thread ----------------------------------------------------------------------------- */

static void on_frames(void *arg, const struct et_frame *frames, size_t count)
{
	struct et_capture *c = arg;
	et_engine_frames(c->engine, frames, count);
}

static void on_lost(void *arg, int code, const char *text)
{
	struct et_capture *c = arg;
	(void)pthread_mutex_lock(&c->mutex);
	(void)snprintf(c->source_text, sizeof(c->source_text), "%s", text);
	(void)pthread_mutex_unlock(&c->mutex);
	c->source_code = code;
}

void et_capture_publish(struct et_capture *c, bool with_table, struct et_capture_command *unsaved)
{
	struct et_capture_metrics metrics = { .calls_live = 0 };
	et_intake_tell(&c->intake, &metrics);
	et_engine_tell(c->engine, &metrics);
	if (c->srs != NULL) {
		et_srs_tell(c->srs, &metrics);
	}
	c->kernel_drops = metrics.kernel_dropped;

	struct et_buffer table = { .data = NULL };
	if (with_table && c->engine->table_changed) {
		et_engine_save(c->engine, &table);
		if (table.failed) {
			et_buffer_release(&table);
			c->engine->table_changed = true;
		}
	}
	(void)pthread_mutex_lock(&c->mutex);
	c->metrics = metrics;
	if (table.size > 0) {
		et_buffer_release(&c->table);
		c->table = table;
		et_commands_join(&c->unsaved, unsaved);
		unsaved = NULL;
		(void)pthread_cond_signal(&c->wake);
	}
	(void)pthread_mutex_unlock(&c->mutex);
	if (unsaved != NULL) {
		et_commands_answer(c, unsaved, -ENOMEM);
	}
}

static void take_agents(struct et_capture *c)
{
	struct et_agents *fresh = atomic_exchange(&c->agents_new, NULL);
	if (fresh != NULL) {
		c->engine->agents = fresh;
		(void)et_agents_free(c->agents);
		c->agents = fresh;
	}
}

static void take_tls(struct et_capture *c)
{
	struct et_tls_server *fresh = atomic_exchange(&c->tls_new, NULL);
	if (fresh != NULL && c->srs != NULL) {
		et_srs_set_tls(c->srs, fresh);
	} else {
		(void)et_tls_server_free(fresh);
	}
}

static void ring_second(struct et_capture *c, int64_t *published_us)
{
	int64_t mono_us = et_clock_mono_us();
	et_intake_reopen(&c->intake, mono_us);
	if (mono_us - c->late_us >= LATE_US) {
		c->late_us = mono_us;
		et_keys_late(c->engine);
	}
	/* A table of a few calls costs next to nothing: a new call is safe in it sooner. */
	bool soon = c->engine->table_changed && c->engine->call_count <= SMALL_TABLE_CALLS;
	if (mono_us - *published_us >= (soon ? TABLE_US : TICK_US)) {
		*published_us = mono_us;
		et_capture_publish(c, true, NULL);
	}
}

static void *ring_main(void *arg)
{
	struct et_capture *c = arg;
	int64_t published_us = 0;
	while (!c->stopping) {
		if (atomic_load(&c->agents_new) != NULL) {
			take_agents(c);
		}
		if (atomic_load(&c->tls_new) != NULL) {
			take_tls(c);
		}
		if (c->follow != NULL) {
			(void)et_follow_take(c->follow, c->keylog);
		}
		if (c->keysock != NULL && et_keysock_take(c->keysock, c->keylog, c->given)) {
			et_keys_given_came(c->engine);
		}
		bool more = et_intake_read(&c->intake);
		if (c->srs != NULL) {
			more = et_srs_read(c->srs, et_clock_mono_us()) || more;
		}
		if (!c->intake.from_files) {
			et_engine_clock(c->engine, et_clock_now_us());
		}
		if (c->srs != NULL) {
			et_srs_clock(c->srs, et_clock_mono_us());
		}
		if (!more) {
			et_relay_flush(&c->relay);
			if (c->intake.from_files && !c->finished &&
			    !et_intake_is_open(&c->intake)) {
				et_engine_finish(c->engine, true);
				et_relay_flush(&c->relay);
				et_capture_publish(c, true, NULL);
			}
			c->finished = !et_intake_is_open(&c->intake) && c->srs == NULL;
			et_intake_wait(&c->intake, c->srs != NULL ? et_srs_fd(c->srs) : -1);
		}
		if (c->has_asked) {
			et_commands_run(c);
		}
		ring_second(c, &published_us);
	}
	et_intake_drain(&c->intake);
	if (c->srs != NULL) {
		(void)et_srs_read(c->srs, et_clock_mono_us());
		et_srs_leave(c->srs);
	}
	et_engine_finish(c->engine, false);
	et_capture_publish(c, true, NULL);
	et_relay_close(&c->relay);
	return NULL;
}

/* ---- Start ----------------------------------------------------------------------------------- */

static bool is_live(void *arg, const uint8_t id[16])
{
	return et_call_of(arg, id) != NULL;
}

/* What the last process left: open tapes, and calls to go on with. */
static int take_over(struct et_capture *c, struct et_error *reterr)
{
	char path[PATH_MAX];
	struct et_recovery recovery;
	struct et_buffer table = { .data = NULL };
	struct et_error error = { .text = "" };
	int rc = et_writer_recover(c->writer, &recovery, reterr);
	if (rc < 0) {
		return rc;
	}
	et_engine_clock(c->engine, et_clock_now_us());
	et_writer_path(c->writer, "calls/table", path);
	if (!c->intake.from_files && access(path, F_OK) == 0) {
		rc = et_file_read(path, TABLE_MAX, &table, &error);
		if (rc == 0) {
			rc = et_engine_restore(c->engine,
					       (struct et_view){ table.data, table.size },
					       et_recovery_gap, &recovery, &error);
		}
		if (rc <
		    0) { /* costs the continuation of live calls: told, and no reason to fail */
			et_writer_problem(c->writer, 0, rc, error.text);
		}
		et_buffer_release(&table);
		/* With the segments that were recovered, before the log of open tapes lets go of
		 * them: a kill in the next second must not start from older numbers. */
		et_engine_save(c->engine, &table);
		if (!table.failed) {
			(void)write_table(c, &table, false);
		}
		et_buffer_release(&table);
		c->engine->table_changed = true;
	}
	et_writer_close_orphans(c->writer, &recovery, is_live, c->engine);
	et_recovery_release(&recovery);
	return 0;
}

/* The key logs that the sources name; what is in them already is read. */
static int open_keylogs(struct et_capture *c, const struct et_capture_config *config,
			struct et_error *reterr)
{
	const char *paths[ET_CAPTURE_SOURCES_MAX];
	uint32_t count = 0;
	uint64_t seed = 0;
	for (uint32_t i = 0; i < config->source_count; i++) {
		if (config->sources[i].keylog != NULL) {
			paths[count++] = config->sources[i].keylog;
		}
	}
	const bool has_socket = config->key_socket.path != NULL;
	if (count == 0 && !has_socket) {
		return 0;
	}
	et_random(&seed, sizeof(seed));
	int rc = et_keylog_new(KEYLOG_SECRETS, seed, &c->keylog, reterr);
	if (rc == 0 && count > 0) {
		rc = et_follow_new(paths, count, &c->follow, reterr);
	}
	while (rc == 0 && count > 0 && et_follow_read(c->follow)) {
		(void)et_follow_take(c->follow, c->keylog);
	}
	if (rc == 0 && has_socket) {
		rc = et_srtp_ring_new(GIVEN_KEYS, &c->given, reterr);
	}
	if (rc == 0 && has_socket) {
		rc = et_keysock_new(&config->key_socket, &c->keysock, reterr);
	}
	return rc;
}

static int make_parts(struct et_capture *c, const struct et_capture_config *config,
		      struct et_error *reterr)
{
	uint64_t reserve = config->limits.free_reserve_bytes;
	size_t queue_bytes = config->limits.queue_bytes;
	int rc = et_relay_init(&c->relay, queue_bytes != 0 ? queue_bytes : DEFAULT_QUEUE_BYTES,
			       c->intake.from_files, reterr);
	if (rc < 0) {
		return rc;
	}
	c->has_relay = true;
	struct et_writer_config writer = {
		.media = config->media,
		.node = config->node,
		.site = config->site,
		.sign_key = config->sign_key,
		.kek_id = config->kek_id,
		.kek_version = config->kek_version,
		.calls = config->limits.calls != 0 ? config->limits.calls : ET_CALLS_DEFAULT,
		.free_reserve_bytes = reserve != 0 ? reserve : DEFAULT_RESERVE_BYTES,
		.demand_bytes = config->limits.demand_bytes != 0 ? config->limits.demand_bytes
								 : DEFAULT_DEMAND_BYTES,
		.live = !c->intake.from_files,
		.padding = config->padding,
		.on_event = config->on_event,
		.arg = config->arg,
	};
	memcpy(writer.kek_public, config->kek_public, sizeof(writer.kek_public));
	rc = et_writer_new(&writer, &c->writer, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_sink sink = et_relay_sink(&c->relay);
	struct et_engine_config engine = {
		.capture = config,
		.sink = &sink,
		.refuse = &c->writer->refuse,
		.draining = &c->draining,
		.kernel_drops = &c->kernel_drops,
		.segments = c->writer->segments,
		.given = c->given,
		.keylog = c->keylog,
		.keylog_grows = true,
	};
	return et_engine_new(&engine, &c->engine, reterr);
}

static int open_siprec(struct et_capture *c, const struct et_capture_config *config,
		       struct et_error *reterr)
{
	if (c->intake.from_files) {
		return et_fail(reterr, ET_EUSAGE,
			       "capture: a recording server and capture files do not go together");
	}
	return et_srs_new(&config->siprec, c->engine, et_clock_mono_us(), &c->srs, reterr);
}

static int start_threads(struct et_capture *c, struct et_error *reterr)
{
	int rc = pthread_create(&c->sync_thread, NULL, sync_main, c);
	if (rc == 0) {
		c->threads = 1;
		rc = pthread_create(&c->writer_thread, NULL, writer_main, c);
	}
	if (rc == 0) {
		c->threads = 2;
		rc = pthread_create(&c->ring_thread, NULL, ring_main, c);
	}
	if (rc == 0) {
		c->threads = 3;
		return 0;
	}
	return et_fail(reterr, -rc, "start capture's threads");
}

int et_capture_start(const struct et_capture_config *config, struct et_capture **ret,
		     struct et_error *reterr)
{
	pthread_condattr_t attr;
	if (config->media == NULL ||
	    (config->source_count == 0 && config->siprec.listen_count == 0)) {
		return et_fail(reterr, ET_EUSAGE, "capture needs a media folder and a source");
	}
	struct et_capture *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return et_fail(reterr, -ENOMEM, "capture");
	}
	(void)pthread_mutex_init(&c->mutex, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->wake, &attr);
	(void)pthread_cond_init(&c->answered, &attr);
	(void)pthread_condattr_destroy(&attr);
	c->on_event = config->on_event;
	c->arg = config->arg;
	c->intake = (struct et_intake){ .lost = on_lost, .frames = on_frames, .arg = c };
	int rc = et_intake_open(&c->intake, config, reterr);
	if (rc == 0) {
		rc = open_keylogs(c, config, reterr);
	}
	if (rc == 0) {
		rc = make_parts(c, config, reterr);
	}
	if (rc == 0) {
		rc = take_over(c, reterr);
	}
	if (rc == 0 && config->siprec.listen_count > 0) {
		rc = open_siprec(c, config, reterr);
	}
	if (rc == 0) {
		et_writer_sync(c->writer);	    /* free space is known before the first call */
		et_capture_publish(c, false, NULL); /* ... and what is open, to who asks at once */
		rc = start_threads(c, reterr);
	}
	if (rc < 0) {
		et_capture_stop(c);
		return rc;
	}
	*ret = c;
	return 0;
}

struct et_capture *et_capture_stop(struct et_capture *c)
{
	if (c == NULL) {
		return NULL;
	}
	c->stopping = true;
	if (c->threads == 3) {
		(void)pthread_join(c->ring_thread, NULL);
	} else if (c->has_relay) {
		et_relay_close(&c->relay);
	}
	if (c->threads >= 2) {
		(void)pthread_join(c->writer_thread, NULL);
	}
	if (c->threads == 3) { /* once more: now the writer's segment numbers are final */
		c->engine->table_changed = true;
		et_capture_publish(c, true, NULL);
	}
	et_commands_close(c);
	if (c->threads >= 1) {
		(void)pthread_mutex_lock(&c->mutex);
		c->sync_stop = true;
		(void)pthread_cond_signal(&c->wake);
		(void)pthread_mutex_unlock(&c->mutex);
		(void)pthread_join(c->sync_thread, NULL);
	}
	et_intake_close(&c->intake);
	(void)et_srs_free(c->srs);
	(void)et_agents_free(c->agents);
	(void)et_agents_free(atomic_load(&c->agents_new));
	(void)et_tls_server_free(atomic_load(&c->tls_new));
	(void)et_engine_free(c->engine);
	(void)et_keysock_free(c->keysock);
	(void)et_follow_free(c->follow);
	(void)et_keylog_free(c->keylog);
	(void)et_srtp_ring_free(c->given);
	(void)et_writer_free(c->writer);
	if (c->has_relay) {
		et_relay_release(&c->relay);
	}
	et_buffer_release(&c->table);
	(void)pthread_cond_destroy(&c->answered);
	(void)pthread_cond_destroy(&c->wake);
	(void)pthread_mutex_destroy(&c->mutex);
	free(c);
	return NULL;
}

/* ---- Any thread ------------------------------------------------------------------------------ */

void et_capture_set_agents(struct et_capture *c, struct et_agents *agents)
{
	(void)et_agents_free(atomic_exchange(&c->agents_new, agents));
}

void et_capture_set_tls(struct et_capture *c, struct et_tls_server *server)
{
	(void)et_tls_server_free(atomic_exchange(&c->tls_new, server));
}

void et_capture_set_kek(struct et_capture *c, uint32_t kek_version, const uint8_t kek_public[32])
{
	et_writer_set_kek(c->writer, kek_version, kek_public);
}

bool et_capture_kek_settled(struct et_capture *c, uint32_t kek_version)
{
	return et_writer_kek_settled(c->writer, kek_version);
}

void et_capture_set_draining(struct et_capture *c, bool draining)
{
	c->draining = draining;
}

void et_capture_metrics(struct et_capture *c, struct et_capture_metrics *ret)
{
	(void)pthread_mutex_lock(&c->mutex);
	*ret = c->metrics;
	(void)pthread_mutex_unlock(&c->mutex);
	et_writer_tell_metrics(c->writer, ret);
	if (c->keysock != NULL) {
		const struct et_keysock_counts keys = et_keysock_counts(c->keysock);
		ret->keys_given = keys.keys;
		ret->keys_wrong = keys.wrong;
		ret->keys_refused = keys.refused;
	}
	ret->queue_bytes = et_relay_used(&c->relay);
	ret->queue_limit_bytes = et_relay_limit(&c->relay);
	ret->sources_finished = c->finished;
}
