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
#include "node/capture/capture.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/capture/follow_internal.h"
#include "node/capture/keysock_internal.h"
#include "node/capture/relay_internal.h"
#include "node/capture/source_internal.h"
#include "node/capture/srs_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"

enum {
	READ_MAX = 2048, /* frames of one source before the next one has its turn */
	POLL_MS = 20,
	WRITER_WAIT_MS = 50,
	TABLE_MAX = 256 * 1024 * 1024,
	SMALL_TABLE_CALLS = 256,
	KEYLOG_SECRETS = 1 << 16, /* the oldest are forgotten */
	GIVEN_KEYS = 512,	  /* of tables, through the socket; these, too */
	COMMAND_S = 10,		  /* for a command to be in force and saved */
};

#define TICK_US 1000000LL
#define TABLE_US 100000LL
#define REOPEN_US 5000000LL
#define LATE_US 1000000LL
#define DRAIN_US 60000LL /* above the timeout of a ring's block */
#define DEFAULT_QUEUE_BYTES ((size_t)32 * 1024 * 1024)
#define DEFAULT_RING_BYTES ((size_t)64 * 1024 * 1024)
#define DEFAULT_RESERVE_BYTES ((uint64_t)256 * 1024 * 1024)
#define DEFAULT_DEMAND_BYTES ((uint64_t)8 * 1024 * 1024 * 1024)

enum command_kind { COMMAND_PAUSE, COMMAND_RESUME, COMMAND_KEEP };

/* What somebody waits for. Two hold it: who asks, and the list that it is in (or the writer). */
struct command {
	struct command *next;
	struct et_capture *capture; /* borrowed */
	enum command_kind kind;
	uint8_t recording[16];
	bool done; /* under the mutex, as all that follows */
	int refs;
	int code;
	int64_t max_us;
	struct et_capture_pause result;
	char cause[ET_CAPTURE_CAUSE_MAX]; /* KEEP: who */
	struct et_keep_ask ask;
};

struct et_capture {
	struct et_engine *engine;
	struct et_writer *writer;
	struct et_relay relay;
	bool has_relay;
	bool from_files;
	struct et_source *sources[ET_CAPTURE_SOURCES_MAX]; /* owned; NULL: gone */
	char *names[ET_CAPTURE_SOURCES_MAX];   /* owned: of interfaces, to open them again */
	char *filters[ET_CAPTURE_SOURCES_MAX]; /* owned; NULL: none */
	size_t ring_bytes;
	int64_t reopened_us;	     /* monotonic: when it was tried last */
	int64_t late_us;	     /* monotonic: when secrets of ended calls were looked for */
	struct et_source_stats past; /* of sources that are gone */
	/* Of the ring thread: each source over all times that it was open, and since it is now. */
	struct et_capture_source_metrics told[ET_CAPTURE_SOURCES_MAX];
	uint64_t read[ET_CAPTURE_SOURCES_MAX];
	uint64_t hidden[ET_CAPTURE_SOURCES_MAX]; /* that libpcap does not show: twins on loopback */
	bool drained[ET_CAPTURE_SOURCES_MAX];	 /* the last read left nothing in the ring */
	uint32_t source_count;
	et_capture_event_fn on_event; /* the caller's */
	void *arg;

	struct et_srs *srs;	    /* owned: of the ring thread; NULL: no recording server */
	struct et_keylog *keylog;   /* owned: of the ring thread; NULL: no key log is named */
	struct et_follow *follow;   /* owned: between sync thread and ring thread */
	struct et_keysock *keysock; /* owned; NULL: none */
	struct et_srtp_ring *given; /* owned: of the ring thread; NULL without keysock */

	struct et_agents *agents;		/* owned: of the ring thread */
	_Atomic(struct et_agents *) agents_new; /* owned: not taken yet; NULL: nothing new */

	pthread_t ring_thread;
	pthread_t writer_thread;
	pthread_t sync_thread;
	int threads; /* how many were started */
	_Atomic bool stopping;
	_Atomic int source_code; /* the last source that was lost */
	_Atomic uint64_t kernel_drops;
	_Atomic bool finished;
	_Atomic bool has_asked; /* something is in `asked` */

	pthread_mutex_t mutex;		   /* over what follows */
	pthread_cond_t wake;		   /* of the sync thread */
	pthread_cond_t answered;	   /* of those who asked */
	struct et_capture_metrics metrics; /* the ring thread's part */
	struct et_buffer table;		   /* a call table to be written; empty: none */
	struct command *asked;		   /* owned: for the ring thread */
	struct command *unsaved;	   /* owned: in force, and in `table` */
	struct command *kept;		   /* owned: calls that were kept, and not synced yet */
	bool no_more;			   /* nobody takes `asked` any more */
	char source_text[256];
	bool sync_stop;
	_Atomic bool draining; /* new calls are not recorded */
};

/* ---- Sync thread ----------------------------------------------------------------------------- */

static void command_unref(struct command *cmd)
{
	if (--cmd->refs == 0) {
		free(cmd);
	}
}

/* Answer a list of commands, which gives them up. */
static void answer(struct et_capture *c, struct command *list, int code)
{
	(void)pthread_mutex_lock(&c->mutex);
	while (list != NULL) {
		struct command *next = list->next;
		list->done = true;
		list->code = code;
		command_unref(list);
		list = next;
	}
	(void)pthread_cond_broadcast(&c->answered);
	(void)pthread_mutex_unlock(&c->mutex);
}

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

/* The table that the ring thread left, if there is one. */
static void take_table(struct et_capture *c)
{
	struct et_buffer table = { .data = NULL };
	(void)pthread_mutex_lock(&c->mutex);
	table = c->table;
	c->table = (struct et_buffer){ .data = NULL };
	struct command *unsaved = c->unsaved;
	c->unsaved = NULL;
	(void)pthread_mutex_unlock(&c->mutex);
	if (table.size > 0) {
		int rc = write_table(c, &table, unsaved != NULL);
		answer(c, unsaved, rc);
	}
	et_buffer_release(&table);
}

/* What was kept since the last look, and is durable with a sync. */
static void take_kept(struct et_capture *c)
{
	(void)pthread_mutex_lock(&c->mutex);
	struct command *kept = c->kept;
	c->kept = NULL;
	(void)pthread_mutex_unlock(&c->mutex);
	if (kept != NULL) {
		et_writer_sync(c->writer);
		answer(c, kept, atomic_load(&c->writer->sync_code));
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
			take_table(c);
			take_kept(c);
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

static void lose_source(struct et_capture *c, uint32_t i, int code, const char *text)
{
	struct et_source_stats stats;
	et_source_stats(c->sources[i], &stats);
	c->past.received += stats.received;
	c->past.dropped += stats.dropped;
	c->past.interface_dropped += stats.interface_dropped;
	c->told[i].received += stats.received;
	c->told[i].dropped += stats.dropped;
	c->told[i].interface_dropped += stats.interface_dropped;
	c->told[i].packets += c->read[i];
	c->read[i] = c->hidden[i] = 0;
	c->sources[i] = et_source_close(c->sources[i]);
	if (code != 0) {
		(void)pthread_mutex_lock(&c->mutex);
		(void)snprintf(c->source_text, sizeof(c->source_text), "%s", text);
		(void)pthread_mutex_unlock(&c->mutex);
		c->source_code = code;
	}
}

/* Read each source once. Returns whether there may be more at once. */
static bool read_sources(struct et_capture *c)
{
	bool more = false;
	for (uint32_t i = 0; i < c->source_count; i++) {
		struct et_error error = { .text = "" };
		if (c->sources[i] == NULL) {
			continue;
		}
		int n = et_source_read(c->sources[i], READ_MAX, on_frames, c, &error);
		c->read[i] += n > 0 ? (uint64_t)n : 0;
		c->drained[i] = n < READ_MAX;
		if (n < 0) {
			lose_source(c, i, n, error.text);
		} else if (n == 0 && c->from_files) {
			lose_source(c, i, 0, "");
		}
		more = more || n >= READ_MAX || (c->from_files && n > 0);
	}
	return more;
}

static bool has_source(const struct et_capture *c)
{
	for (uint32_t i = 0; i < c->source_count; i++) {
		if (c->sources[i] != NULL) {
			return true;
		}
	}
	return false;
}

static void wait_for_packets(struct et_capture *c)
{
	struct pollfd fds[ET_CAPTURE_SOURCES_MAX + 1];
	nfds_t count = 0;
	if (c->srs != NULL) {
		fds[count++] = (struct pollfd){ .fd = et_srs_fd(c->srs), .events = POLLIN };
	}
	for (uint32_t i = 0; i < c->source_count; i++) {
		if (c->sources[i] != NULL && et_source_fd(c->sources[i]) >= 0) {
			fds[count++] = (struct pollfd){ .fd = et_source_fd(c->sources[i]),
							.events = POLLIN };
		}
	}
	(void)poll(fds, count, POLL_MS);
}

/* What the kernel counts of a source that is open stands beside what was read of it. */
static void tell_source(struct et_capture *c, uint32_t i, const struct et_source_stats *now,
			struct et_capture_source_metrics *ret)
{
	const uint64_t gone = now->dropped + c->read[i];
	const uint64_t unread = now->received > gone ? now->received - gone : 0;

	if (c->drained[i]) {
		c->hidden[i] = unread;
	}

	*ret = c->told[i];
	ret->open = c->sources[i] != NULL;
	ret->packets += c->read[i];
	ret->received += now->received;
	ret->dropped += now->dropped;
	ret->interface_dropped += now->interface_dropped;
	ret->waiting = unread > c->hidden[i] ? unread - c->hidden[i] : 0;
}

/* Once a second: counters for others to read, and the call table when it changed. `unsaved` (or
 * NULL) is given away: commands that this table is to make durable. */
static void publish(struct et_capture *c, bool with_table, struct command *unsaved)
{
	struct et_capture_metrics metrics = { .calls_live = 0 };
	struct et_source_stats sum = c->past;
	for (uint32_t i = 0; i < c->source_count; i++) {
		struct et_source_stats stats = { .received = 0 };
		if (c->sources[i] != NULL) {
			et_source_stats(c->sources[i], &stats);
			sum.received += stats.received;
			sum.dropped += stats.dropped;
			sum.interface_dropped += stats.interface_dropped;
		}
		tell_source(c, i, &stats, &metrics.sources[i]);
	}
	metrics.source_count = c->source_count;
	c->kernel_drops = sum.dropped;
	et_engine_tell(c->engine, &metrics);
	metrics.kernel_received = sum.received;
	metrics.kernel_dropped = sum.dropped;
	metrics.interface_dropped = sum.interface_dropped;
	if (c->srs != NULL) {
		et_srs_tell(c->srs, &metrics);
		c->kernel_drops = metrics.kernel_dropped;
	}

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
		for (struct command *next = NULL; unsaved != NULL; unsaved = next) {
			next = unsaved->next;
			unsaved->next = c->unsaved;
			c->unsaved = unsaved;
		}
		(void)pthread_cond_signal(&c->wake);
	}
	(void)pthread_mutex_unlock(&c->mutex);
	if (unsaved != NULL) {
		answer(c, unsaved, -ENOMEM);
	}
}

/* On the writer thread: a call was kept, or it was not. */
static void on_kept(struct et_keep_ask *ask, int code)
{
	struct command *cmd = ask->arg;
	struct et_capture *c = cmd->capture;
	cmd->next = NULL;
	if (code < 0) {
		answer(c, cmd, code);
		return;
	}
	(void)pthread_mutex_lock(&c->mutex);
	cmd->next = c->kept;
	c->kept = cmd;
	(void)pthread_cond_signal(&c->wake);
	(void)pthread_mutex_unlock(&c->mutex);
}

/* 0: it is in force, and to be saved; 1: the writer has it; negative: to be answered so. */
static int run_command(struct et_capture *c, struct command *cmd)
{
	struct et_keep keep = { .at_us = c->engine->now_us, .ask = &cmd->ask };
	if (cmd->kind != COMMAND_KEEP) {
		return et_engine_pause(c->engine, cmd->recording, cmd->kind == COMMAND_PAUSE,
				       cmd->cause, cmd->max_us, &cmd->result);
	}
	memcpy(keep.recording, cmd->recording, 16);
	(void)snprintf(keep.who, sizeof(keep.who), "%.*s", ET_CAPTURE_WHO_MAX - 1, cmd->cause);
	cmd->ask = (struct et_keep_ask){ .done = on_kept, .arg = cmd };
	int rc = et_engine_keep(c->engine, &keep);
	return rc < 0 ? rc : rc == 0;
}

/* As asked. Who asked is answered when what says so is durable: the call table, or the tapes of
 * what was kept; what is not here is answered at once. */
static void run_commands(struct et_capture *c)
{
	struct command *unsaved = NULL;
	bool kept = false;
	(void)pthread_mutex_lock(&c->mutex);
	struct command *list = c->asked;
	c->asked = NULL;
	c->has_asked = false;
	(void)pthread_mutex_unlock(&c->mutex);
	if (list != NULL &&
	    !c->from_files) { /* not a wait for packets ago: a pause would end early */
		et_engine_clock(c->engine, et_clock_now_us());
	}
	for (struct command *next = NULL; list != NULL; list = next) {
		next = list->next;
		list->next = NULL;
		int rc = run_command(c, list);
		if (rc < 0) {
			answer(c, list, rc);
		} else if (rc == 0) {
			list->next = unsaved;
			unsaved = list;
		} else {
			kept = true; /* and not ours any more when the queue is flushed */
		}
	}
	if (unsaved != NULL || kept) {
		c->engine->table_changed = true; /* also what was so already may not be saved yet */
		publish(c, true, unsaved);	 /* before the writer's part: one sync takes both */
	}
	et_relay_flush(&c->relay); /* the marks, and the news for the catalogue */
}

/* Interfaces that went away: now and then, until they are back. */
static void reopen_sources(struct et_capture *c, int64_t mono_us)
{
	if (c->from_files || mono_us - c->reopened_us < REOPEN_US) {
		return;
	}
	c->reopened_us = mono_us;
	for (uint32_t i = 0; i < c->source_count; i++) {
		struct et_error error;
		if (c->sources[i] == NULL &&
		    et_source_open_interface(c->names[i], c->filters[i], c->ring_bytes,
					     &c->sources[i], &error) < 0) {
			c->sources[i] = NULL; /* it was told when it went away */
		}
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

static void ring_second(struct et_capture *c, int64_t *published_us)
{
	int64_t mono_us = et_clock_mono_us();
	reopen_sources(c, mono_us);
	if (mono_us - c->late_us >= LATE_US) {
		c->late_us = mono_us;
		et_keys_late(c->engine);
	}
	/* A table of a few calls costs next to nothing: a new call is safe in it sooner. */
	bool soon = c->engine->table_changed && c->engine->call_count <= SMALL_TABLE_CALLS;
	if (mono_us - *published_us >= (soon ? TABLE_US : TICK_US)) {
		*published_us = mono_us;
		publish(c, true, NULL);
	}
}

/* What is in the kernel's rings, in blocks that are not handed over yet. */
static void drain(struct et_capture *c)
{
	int64_t until_us = et_clock_mono_us() + DRAIN_US;
	while (!c->from_files && has_source(c) && et_clock_mono_us() < until_us) {
		if (!read_sources(c)) {
			wait_for_packets(c);
		}
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
		if (c->follow != NULL) {
			(void)et_follow_take(c->follow, c->keylog);
		}
		if (c->keysock != NULL && et_keysock_take(c->keysock, c->keylog, c->given)) {
			et_keys_given_came(c->engine);
		}
		bool more = read_sources(c);
		if (c->srs != NULL) {
			more = et_srs_read(c->srs, et_clock_mono_us()) || more;
		}
		if (!c->from_files) {
			et_engine_clock(c->engine, et_clock_now_us());
		}
		if (c->srs != NULL) {
			et_srs_clock(c->srs, et_clock_mono_us());
		}
		if (!more) {
			et_relay_flush(&c->relay);
			if (c->from_files && !c->finished && !has_source(c)) {
				et_engine_finish(c->engine, true);
				et_relay_flush(&c->relay);
				publish(c, true, NULL);
			}
			c->finished = !has_source(c) && c->srs == NULL;
			wait_for_packets(c);
		}
		if (c->has_asked) {
			run_commands(c);
		}
		ring_second(c, &published_us);
	}
	drain(c);
	if (c->srs != NULL) {
		(void)et_srs_read(c->srs, et_clock_mono_us());
		et_srs_leave(c->srs);
	}
	et_engine_finish(c->engine, false);
	publish(c, true, NULL);
	et_relay_close(&c->relay);
	return NULL;
}

/* ---- Start ----------------------------------------------------------------------------------- */

static int open_sources(struct et_capture *c, const struct et_capture_config *config,
			struct et_error *reterr)
{
	c->ring_bytes =
		config->limits.ring_bytes != 0 ? config->limits.ring_bytes : DEFAULT_RING_BYTES;
	if (config->source_count > ET_CAPTURE_SOURCES_MAX) {
		return et_fail(reterr, ET_EUSAGE, "capture: more than %d sources",
			       ET_CAPTURE_SOURCES_MAX);
	}
	for (uint32_t i = 0; i < config->source_count; i++) {
		const struct et_capture_source *s = &config->sources[i];
		bool is_file = s->file != NULL;
		if (is_file == (s->interface != NULL) || (i > 0 && is_file != c->from_files)) {
			return et_fail(reterr, ET_EUSAGE,
				       "capture: sources are interfaces, or files, not both");
		}
		c->from_files = is_file;
		int rc = is_file ? et_source_open_file(s->file, &c->sources[i], reterr)
				 : et_source_open_interface(s->interface, s->filter, c->ring_bytes,
							    &c->sources[i], reterr);
		if (rc < 0) {
			return rc;
		}
		c->source_count = i + 1;
		const char *name = is_file ? s->file : s->interface;
		const size_t size = strlen(name);
		const size_t most = sizeof(c->told[i].name) - 1;
		(void)snprintf(c->told[i].name, sizeof(c->told[i].name), "%s",
			       size > most ? name + (size - most) : name);
		if (!is_file) {
			c->names[i] = strdup(s->interface);
			c->filters[i] = s->filter != NULL ? strdup(s->filter) : NULL;
			if (c->names[i] == NULL || (s->filter != NULL && c->filters[i] == NULL)) {
				return et_fail(reterr, -ENOMEM, "capture");
			}
		}
	}
	return 0;
}

static bool is_live(void *arg, const uint8_t id[16])
{
	const struct et_engine *e = arg;
	for (uint32_t i = 0; i < e->limits.calls; i++) {
		if (e->slots[i] != NULL && memcmp(e->slots[i]->facts.id, id, 16) == 0) {
			return true;
		}
	}
	return false;
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
	if (!c->from_files && access(path, F_OK) == 0) {
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
			       c->from_files, reterr);
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
		.live = !c->from_files,
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
	if (c->from_files) {
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
	int rc = open_sources(c, config, reterr);
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
		et_writer_sync(c->writer); /* free space is known before the first call */
		publish(c, false, NULL);   /* ... and what is open, to who asks at once */
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
		publish(c, true, NULL);
	}
	(void)pthread_mutex_lock(&c->mutex);
	struct command *left = c->asked;
	c->asked = NULL;
	c->no_more = true;
	(void)pthread_mutex_unlock(&c->mutex);
	answer(c, left, ET_ECLOSED);
	if (c->threads >= 1) {
		(void)pthread_mutex_lock(&c->mutex);
		c->sync_stop = true;
		(void)pthread_cond_signal(&c->wake);
		(void)pthread_mutex_unlock(&c->mutex);
		(void)pthread_join(c->sync_thread, NULL);
	}
	for (uint32_t i = 0; i < ET_CAPTURE_SOURCES_MAX; i++) {
		(void)et_source_close(c->sources[i]);
		free(c->names[i]);
		free(c->filters[i]);
	}
	(void)et_srs_free(c->srs);
	(void)et_agents_free(c->agents);
	(void)et_agents_free(atomic_load(&c->agents_new));
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

/* ---- Agents ---------------------------------------------------------------------------------- */

void et_capture_set_agents(struct et_capture *c, struct et_agents *agents)
{
	(void)et_agents_free(atomic_exchange(&c->agents_new, agents));
}

/* ---- Any thread ------------------------------------------------------------------------------ */

static int command_wait(struct et_capture *c, struct command *cmd)
{
	struct timespec until;
	int rc = 0;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += COMMAND_S;
	while (!cmd->done && rc == 0) {
		rc = -pthread_cond_timedwait(&c->answered, &c->mutex, &until);
	}
	return cmd->done ? cmd->code : rc;
}

/* Two hold it then. NULL: no memory. */
static struct command *command_new(struct et_capture *c, enum command_kind kind,
				   const uint8_t recording[16], const char *cause)
{
	struct command *cmd = calloc(1, sizeof(*cmd));
	if (cmd != NULL) {
		cmd->capture = c;
		cmd->kind = kind;
		memcpy(cmd->recording, recording, 16);
		et_copy_text(cmd->cause, sizeof(cmd->cause),
			     (struct et_view){ (const uint8_t *)cause, strlen(cause) });
	}
	return cmd;
}

/* Ask, and wait for the answer; the mutex is held then. */
static int command_run(struct et_capture *c, struct command *cmd)
{
	(void)pthread_mutex_lock(&c->mutex);
	int rc = c->no_more ? ET_ECLOSED : 0;
	cmd->refs = rc == 0 ? 2 : 1;
	if (rc == 0) {
		cmd->next = c->asked;
		c->asked = cmd;
		c->has_asked = true;
		rc = command_wait(c, cmd);
	}
	return rc;
}

int et_capture_pause(struct et_capture *c, const uint8_t recording[16], bool pause,
		     const char *cause, int64_t max_us, struct et_capture_pause *ret,
		     struct et_error *reterr)
{
	const char *what = pause ? "pause" : "resume";
	struct command *cmd =
		command_new(c, pause ? COMMAND_PAUSE : COMMAND_RESUME, recording, cause);
	if (cmd == NULL) {
		return et_fail(reterr, -ENOMEM, "%s", what);
	}
	cmd->max_us = max_us;
	int rc = command_run(c, cmd);
	bool in_force = cmd->done && cmd->result.from_us != 0;
	if (cmd->done) {
		*ret = cmd->result;
	}
	command_unref(cmd);
	(void)pthread_mutex_unlock(&c->mutex);
	if (rc == 0) {
		return 0;
	}
	return in_force ? et_fail(reterr, rc, "%s is in force, but could not be saved", what)
			: et_fail(reterr, rc, "%s", what);
}

int et_capture_keep(struct et_capture *c, const uint8_t recording[16], const char *who,
		    struct et_capture_kept *ret, struct et_error *reterr)
{
	struct command *cmd = command_new(c, COMMAND_KEEP, recording, who);
	if (cmd == NULL) {
		return et_fail(reterr, -ENOMEM, "keep");
	}
	int rc = command_run(c, cmd);
	if (cmd->done) {
		*ret = cmd->ask.result;
	}
	command_unref(cmd);
	(void)pthread_mutex_unlock(&c->mutex);
	return rc < 0 ? et_fail(reterr, rc, "keep the call") : 0;
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
