#include "node/capture/replay.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "node/capture/source_internal.h"
#include "node/capture/writer_internal.h"
#include "node/io/clock.h"

enum { READ_MAX = 4096, POLL_MS = 100 };

#define RING_BYTES ((size_t)64 * 1024 * 1024)

#define TICK_US 1000000LL

struct replay {
	const struct et_replay_config *config;
	struct et_replay_summary *summary;
	struct et_engine *engine;
	struct et_writer *writer; /* NULL: only count */
	uint8_t (*ids)[16];	  /* owned; by slot */
	uint32_t room;		  /* of summary->calls */
	int64_t ticked_us;
	int rc; /* out of memory in a callback */
};

/* ---- The sink -------------------------------------------------------------------------------- */

static int replay_open(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	struct replay *r = arg;
	struct et_facts all = *facts;
	all.ring_us = 0; /* nobody is there to keep a call on demand: all of it is shown */
	memcpy(r->ids[slot], facts->id, 16);
	if (r->writer != NULL) {
		et_writer_open(r->writer, slot, &all, restored);
	}
	return 0;
}

static int replay_stream(void *arg, uint32_t slot, const struct et_capture_stream *stream)
{
	struct replay *r = arg;
	if (r->writer != NULL) {
		et_writer_stream(r->writer, slot, stream);
	}
	return 0;
}

static void packet_give(struct replay *r, uint32_t slot, const struct et_media_packet *p)
{
	if (r->config->on_packet != NULL) {
		r->config->on_packet(r->config->packet_arg, r->ids[slot], p);
	}
	if (r->writer != NULL) {
		et_writer_media(r->writer, slot, p);
	}
}

static int replay_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
			const struct et_packet *packet)
{
	struct replay *r = arg;
	if (r->config->on_media != NULL) {
		struct et_rtp plain = *rtp;
		bool opened = et_engine_plain(r->engine, slot, stream, packet, &plain);
		struct et_replay_media media = {
			.recording = r->ids[slot],
			.stream = stream,
			.ssrc = rtp->ssrc,
			.sequence = rtp->sequence,
			.timestamp = rtp->timestamp,
			.arrival_us = packet->time_us,
			.payload_type = rtp->payload_type,
			.marker = rtp->marker,
			.closed = !opened,
			.payload = plain.payload,
			.payload_size = plain.payload_size,
			.slot = slot,
		};
		r->config->on_media(r->config->media_arg, &media);
	}
	const struct et_media_packet p = et_writer_packet(stream, rtp, packet);
	packet_give(r, slot, &p);
	return 0;
}

static int replay_rtcp(void *arg, uint32_t slot, uint32_t stream, const struct et_packet *packet)
{
	const struct et_media_packet p = et_writer_rtcp(stream, packet);
	packet_give(arg, slot, &p);
	return 0;
}

static int replay_meta(void *arg, uint32_t slot, struct et_view plain)
{
	struct replay *r = arg;
	if (r->writer != NULL) {
		et_writer_meta(r->writer, slot, plain);
	}
	return 0;
}

static int replay_keys(void *arg, uint32_t slot, struct et_view plain)
{
	struct replay *r = arg;
	if (r->writer != NULL) {
		et_writer_keys(r->writer, slot, plain);
	}
	return 0;
}

static int replay_update(void *arg, uint32_t slot, const struct et_facts *facts,
			 const struct et_capture_stream *streams, uint32_t count)
{
	struct replay *r = arg;
	if (r->writer != NULL) {
		et_writer_update(r->writer, slot, facts, streams, count);
	}
	return 0;
}

/* The facts live as long as the summary: one block with the streams behind them. */
static int keep_call(struct replay *r, const struct et_facts *facts,
		     const struct et_capture_stream *streams, uint32_t count)
{
	struct et_replay_summary *s = r->summary;
	if (s->call_count == r->room) {
		uint32_t room = r->room == 0 ? 64 : r->room * 2;
		struct et_replay_call *calls = realloc(s->calls, room * sizeof(*calls));
		if (calls == NULL) {
			return -ENOMEM;
		}
		s->calls = calls;
		r->room = room;
	}
	struct et_closing *kept = malloc(sizeof(*kept) + count * sizeof(*streams));
	if (kept == NULL) {
		return -ENOMEM;
	}
	kept->facts = *facts;
	kept->count = count;
	if (count > 0) {
		memcpy(kept->streams, streams, count * sizeof(*streams));
	}
	struct et_replay_call *call = &s->calls[s->call_count++];
	et_facts_tell(&kept->facts, kept->streams, count, r->config->capture.node, "",
		      &call->recording);
	call->kept = kept;
	return 0;
}

static int replay_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
			const struct et_capture_stream *streams, uint32_t count)
{
	struct replay *r = arg;
	if (opened && r->writer != NULL) {
		et_writer_close(r->writer, slot, facts, streams, count);
	}
	int rc = keep_call(r, facts, streams, count);
	if (rc < 0) {
		r->rc = rc;
	} else if (opened && r->config->on_close != NULL) {
		const struct et_replay_summary *s = r->summary;
		r->config->on_close(r->config->media_arg, slot,
				    &s->calls[s->call_count - 1].recording);
	}
	return 0;
}

static void replay_ahead(void *arg, uint32_t slot, uint32_t stream, int step)
{
	const struct replay *r = arg;
	if (r->writer != NULL) {
		et_writer_ahead(r->writer, slot, stream, step);
	}
}

static struct et_sink replay_sink(struct replay *r)
{
	return (struct et_sink){
		.arg = r,
		.open = replay_open,
		.stream = replay_stream,
		.media = replay_media,
		.rtcp = replay_rtcp,
		.meta = replay_meta,
		.keys = replay_keys,
		.update = replay_update,
		.close = replay_close,
		.ahead = replay_ahead,
	};
}

/* ---- Running --------------------------------------------------------------------------------- */

static void on_frames(void *arg, const struct et_frame *frames, size_t count)
{
	struct replay *r = arg;
	for (size_t i = 0; i < count; i++) {
		r->summary->bytes += frames[i].wire_size;
	}
	et_engine_frames(r->engine, frames, count);
}

/* What the threads of a live capture do by the clock. */
static void tick(struct replay *r, bool now)
{
	int64_t mono_us = et_clock_mono_us();
	if (r->writer == NULL || (!now && mono_us - r->ticked_us < TICK_US)) {
		return;
	}
	r->ticked_us = mono_us;
	et_writer_poll(r->writer, 0);
	et_writer_sync(r->writer);
	et_writer_poll(r->writer, 0);
}

static void add_error(struct et_replay_summary *s, int code, const char *text)
{
	if (s->error_count == ET_ARRAY_SIZE(s->errors)) {
		s->errors[s->error_count - 1].count++;
		return;
	}
	struct et_replay_error *e = &s->errors[s->error_count++];
	e->code = et_errname(code);
	e->count = 1;
	(void)snprintf(e->text, sizeof(e->text), "%s", text);
}

static int read_file(struct replay *r, const char *path, struct et_error *reterr)
{
	struct et_source *source = NULL;
	struct et_error error = { .text = "" };
	int rc = et_source_open_file(path, &source, reterr);
	if (rc < 0) {
		return rc;
	}
	do {
		rc = et_source_read(source, READ_MAX, on_frames, r, &error);
		tick(r, false);
	} while (rc > 0 && r->rc == 0);
	(void)et_source_close(source);
	if (rc < 0) {
		r->summary->truncated = true;
		add_error(r->summary, rc, error.text);
	}
	return 0;
}

/* What the kernel has is read to its end: a frame that came in time counts. */
static int watch(struct replay *r, struct et_source *source, int64_t until_us,
		 struct et_error *reterr)
{
	struct pollfd fd = { .fd = et_source_fd(source), .events = POLLIN };
	int n;
	do {
		bool over = et_clock_mono_us() >= until_us;
		n = et_source_read(source, READ_MAX, on_frames, r, reterr);
		if (n == 0 && over) {
			return 0;
		}
		if (n == 0 && poll(&fd, 1, POLL_MS) < 0 && errno != EINTR) {
			n = et_fail(reterr, -errno, "interface '%s'", r->config->interface);
		}
	} while (n >= 0 && r->rc == 0 && et_clock_mono_us() < until_us + TICK_US);
	return n < 0 ? n : 0;
}

static int read_interface(struct replay *r, struct et_error *reterr)
{
	const struct et_replay_config *c = r->config;
	struct et_source *source = NULL;
	struct et_source_stats stats;
	struct et_error error = { .text = "" };
	int rc = et_source_open_interface(c->interface, c->filter, RING_BYTES, 1, &source, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = watch(r, source, et_clock_mono_us() + c->duration_us, &error);
	et_source_stats(source, &stats);
	(void)et_source_close(source);
	r->summary->metrics.kernel_received = stats.received;
	r->summary->metrics.kernel_dropped = stats.dropped;
	r->summary->metrics.interface_dropped = stats.interface_dropped;
	if (rc < 0) {
		add_error(r->summary, rc, error.text);
	}
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct et_replay_call *x = a;
	const struct et_replay_call *y = b;
	if (x->recording.start_us != y->recording.start_us) {
		return x->recording.start_us < y->recording.start_us ? -1 : 1;
	}
	return memcmp(x->recording.id, y->recording.id, 16);
}

static int run(struct replay *r, struct et_error *reterr)
{
	int rc = r->config->interface != NULL ? read_interface(r, reterr) : 0;
	for (uint32_t i = 0; i < r->config->file_count && rc == 0; i++) {
		rc = read_file(r, r->config->files[i], reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et_engine_finish(r->engine, true);
	tick(r, true);
	if (r->rc < 0) {
		return et_fail(reterr, r->rc, "replay");
	}
	et_engine_tell(r->engine, &r->summary->metrics);
	if (r->writer != NULL) {
		et_writer_tell_metrics(r->writer, &r->summary->metrics);
	}
	r->summary->packets = r->engine->packets;
	if (r->summary->call_count > 0) {
		qsort(r->summary->calls, r->summary->call_count, sizeof(*r->summary->calls),
		      by_start);
	}
	return 0;
}

static int replay_init(struct replay *r, struct et_error *reterr)
{
	const struct et_capture_config *c = &r->config->capture;
	struct et_sink sink = replay_sink(r);
	struct et_engine_config config = {
		.capture = c,
		.sink = &sink,
		.deterministic = true,
		.origin = r->config->origin,
		.given = r->config->srtp_keys,
		.keylog = r->config->keylog,
		.keep_openers = r->config->on_media != NULL,
		.decided = r->config->on_decided,
		.decided_arg = r->config->decided_arg,
	};
	int rc = et_engine_new(&config, &r->engine, reterr);
	if (rc < 0) {
		return rc;
	}
	r->ids = calloc(r->engine->limits.calls, sizeof(*r->ids));
	if (r->ids == NULL) {
		return et_fail(reterr, -ENOMEM, "replay");
	}
	if (c->media == NULL) {
		return 0;
	}
	struct et_writer_config writer = {
		.media = c->media,
		.node = c->node,
		.site = c->site,
		.sign_key = c->sign_key,
		.kek_id = c->kek_id,
		.kek_version = c->kek_version,
		.calls = r->engine->limits.calls,
		.free_reserve_bytes = c->limits.free_reserve_bytes,
		.padding = c->padding,
		.on_event = c->on_event,
		.arg = c->arg,
	};
	memcpy(writer.kek_public, c->kek_public, sizeof(writer.kek_public));
	rc = et_writer_new(&writer, &r->writer, reterr);
	if (rc == 0) { /* a folder that a capture uses keeps what it has to recover */
		struct et_recovery before;
		rc = et_openlog_start(r->writer, &before, reterr);
		if (rc == 0) {
			et_recovery_release(&before);
		}
	}
	return rc;
}

int et_replay(const struct et_replay_config *config, struct et_replay_summary *ret,
	      struct et_error *reterr)
{
	struct replay r = { .config = config, .summary = ret };
	*ret = (struct et_replay_summary){ .call_count = 0 };
	r.ticked_us = et_clock_mono_us();
	int rc = replay_init(&r, reterr);
	if (rc == 0) {
		rc = run(&r, reterr);
	}
	(void)et_writer_free(r.writer);
	(void)et_engine_free(r.engine);
	free(r.ids);
	if (rc < 0) {
		et_replay_summary_release(ret);
	}
	return rc;
}

void et_replay_summary_release(struct et_replay_summary *s)
{
	for (uint32_t i = 0; i < s->call_count; i++) {
		free(s->calls[i].kept);
	}
	free(s->calls);
	*s = (struct et_replay_summary){ .call_count = 0 };
}
