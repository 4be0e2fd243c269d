/* Fetching one segment.
 *
 *   OPEN ─▶ CONNECT ─▶ LEAVES ─▶ CHECK ─▶ DATA ─▶ FLUSH ─▶ PUBLISH ─▶ END
 *    │         │  └─ nothing of it here ─▶ ▲ │       │         │       ▲
 *    │         ▲                             ▼       ▼         ▼       │
 *    │         └──────── next source ◀────── CUT ◀─────────────┘       │
 *    └── it is here already; the disk fails; no source is left ────────┘
 *
 * OPEN      worker: is the segment here already? what has arrived of it before?
 * CONNECT   a source is chosen, its connection is being made
 * LEAVES    only when something had arrived: the leaf hashes alone
 * CHECK     worker: which of what had arrived is authentic; the rest is cut off
 * DATA      bytes arrive, are judged (intake.h) and written
 * FLUSH     all has arrived, writes are under way
 * CUT       a source failed: when the last write is done, the file is cut back to what verified
 * PUBLISH   worker: the whole is verified, synced, renamed into place
 *
 * A failure of a source (it lies, lacks it, breaks) leads to the next source; a failure of our own
 * disk ends the pull. In every state at most one thing is in libuv's pool: `writing` or a worker.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

static void pull_source(struct pull *p);
static void pull_finish(struct pull *p, int code);
static void pull_write(struct pull *p);
static void pull_ask(struct pull *p);

/* ---- Small steps ---- */

static void pull_set_error(struct pull *p, int code, const char *text)
{
	p->code = code;
	(void)et_fail_plain(&p->error, code, "%s",
			    text != NULL && text[0] != '\0' ? text : et_strerror(code));
}

static const struct et_look_source *pull_source_of(const struct pull *p)
{
	return &p->look.sources[p->source];
}

/* Leave the connection; the source is told unless it is gone or done. */
static void pull_leave_link(struct pull *p, bool cancel)
{
	struct link *l = p->link;

	if (l == NULL) {
		return;
	}
	for (struct pull **at = &l->pulls; *at != NULL; at = &(*at)->next_on_link) {
		if (*at == p) {
			*at = p->next_on_link;
			break;
		}
	}
	l->pull_count--;
	p->link = NULL;
	et_gate_granted(p->s, l->site, (uint8_t)p->look.klass, -(int64_t)p->granted);
	p->granted = 0;
	if (cancel && p->stream != 0 && l->state == LINK_OPEN) {
		struct et_buffer frame = { 0 };
		et_wire_add_cancel(&frame, p->stream);
		et_link_send(l, &frame);
	}
	p->stream = 0;
}

static void pull_drop_writes(struct pull *p)
{
	struct et_wire_block *keep = p->writing ? p->writes : NULL;
	struct et_wire_block *b = keep != NULL ? keep->next : p->writes;
	while (b != NULL) {
		struct et_wire_block *next = b->next;
		free(b);
		b = next;
	}
	p->writes = keep;
	p->writes_tail = &p->writes;
	if (keep != NULL) {
		keep->next = NULL;
		p->writes_tail = &keep->next;
	}
}

static void pull_free(struct pull *p)
{
	et_assert(!p->writing && p->link == NULL && p->waiters == NULL);
	pull_drop_writes(p);
	if (p->fd >= 0) {
		(void)close(p->fd); /* Synced already, or worth nothing. */
	}
	et_intake_release(&p->intake);
	free(p);
}

/* ---- The end ---- */

static void pull_log(const struct pull *p, int code)
{
	char id[ET_UUID_TEXT_SIZE];
	char text[256];

	et_uuid_format(p->key.recording, id);
	if (code == 0) {
		et_debug("sync.fetched",
			 "recording=%s generation=%" PRIu32 " segment=%" PRIu32 " bytes=%" PRIu64,
			 id, p->key.generation, p->key.segment, p->look.expect.size_bytes);
	} else if (!p->canceled) {
		et_log(p->quiet && !p->lied ? ET_LOG_DEBUG : ET_LOG_WARN, "sync.failed",
		       "recording=%s generation=%" PRIu32 " segment=%" PRIu32 " code=%s error=%s",
		       id, p->key.generation, p->key.segment, et_errname(code),
		       et_log_quote(p->error.text, text, sizeof(text)));
	}
}

static void pull_finish(struct pull *p, int code)
{
	struct et_sync *s = p->s;

	pull_leave_link(p, true);
	p->state = PULL_END;
	for (struct pull **at = &s->pulls; *at != NULL; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			break;
		}
	}
	s->pull_count--;
	pull_log(p, code);
	if (et_store_is_full(code)) {
		s->full_until_us = et_clock_mono_us() + ET_SYNC_FULL_MS * INT64_C(1000);
	}
	while (p->waiters != NULL) {
		struct fetch *f = p->waiters;
		p->waiters = f->next;
		et_fetch_end(f, code, p->path, &p->error);
	}
	if (p->purpose == PULL_REPLICA) {
		s->replica_count--;
		if (code == 0 && !s->stopping) {
			et_ack_add(s, &p->look);
		}
		et_table_pulled(s, &p->key, code, p->intake.good > p->began);
	}
	pull_free(p);
	et_table_run(s);
}

static void pull_end_canceled(struct pull *p)
{
	int code = p->put_back ? -ECANCELED : ET_ECLOSED;
	pull_set_error(p, code, NULL);
	pull_finish(p, code);
}

/* A source failed; when nothing is in flight any more, the file is cut back and the next asked. */
static void pull_cut_done(uv_fs_t *fs)
{
	struct pull *p = ET_CONTAINER_OF(fs, struct pull, fs);
	int rc = (int)fs->result;

	uv_fs_req_cleanup(fs);
	et_sync_work_done(p->s);
	p->writing = false;
	if (p->canceled) {
		pull_end_canceled(p);
	} else if (rc < 0) {
		pull_set_error(p, rc, "cutting back what has arrived");
		pull_finish(p, rc);
	} else {
		p->source++;
		pull_source(p);
	}
}

static void pull_cut(struct pull *p)
{
	et_assert(p->state == PULL_CUT && !p->writing);
	if (p->writes != NULL && !p->canceled) {
		pull_write(p); /* What verified is kept, so it must reach the file. */
		return;
	}
	et_intake_rewind(&p->intake);
	if (p->canceled) {
		pull_end_canceled(p);
		return;
	}
	if (p->has_part) { /* Not even looked at: keep it for the next source. */
		p->source++;
		pull_source(p);
		return;
	}
	int rc =
		uv_fs_ftruncate(&p->s->loop, &p->fs, p->fd, (int64_t)p->intake.good, pull_cut_done);
	if (rc < 0) {
		pull_set_error(p, rc, NULL);
		pull_finish(p, rc);
		return;
	}
	p->s->works++;
	p->writing = true;
}

static void pull_source_failed(struct pull *p, int code, const char *text)
{
	const struct et_look_source *source = pull_source_of(p);

	p->lied = p->lied || code == ET_EINTEGRITY;
	pull_set_error(p, code, text);
	et_sync_site_error(p->s, et_sync_site_of(p->s, source->site), code, text);
	pull_leave_link(p, true);
	p->state = PULL_CUT;
	if (!p->writing) {
		pull_cut(p);
	}
}

void et_pull_link_lost(struct pull *p, int code, const char *text)
{
	if (p->state == PULL_FLUSH || p->state == PULL_CHECK) {
		/* FLUSH has all it needs. CHECK asks again when it is done. */
		pull_leave_link(p, false);
		return;
	}
	pull_set_error(p, code, text);
	pull_leave_link(p, false);
	p->state = PULL_CUT;
	if (!p->writing) {
		pull_cut(p);
	}
}

/* Our own disk failed. */
static void pull_disk_failed(struct pull *p, int code, const char *text)
{
	pull_leave_link(p, true);
	pull_set_error(p, code, text);
	pull_finish(p, code);
}

/* ---- PUBLISH ---- */

static void pull_publish_run(uv_work_t *work)
{
	struct pull *p = ET_CONTAINER_OF(work, struct pull, work);
	p->work_code = et_store_publish(p->part, p->path, &p->look.expect, &p->work_error);
	if (p->purpose == PULL_CACHE) {
		et_store_cache_trim(p->s->media, p->s->cache_bytes, et_clock_now_us());
	}
}

static void pull_publish_after(uv_work_t *work, int status)
{
	struct pull *p = ET_CONTAINER_OF(work, struct pull, work);
	int code = status < 0 ? status : p->work_code;
	struct site *site = et_sync_site_of(p->s, pull_source_of(p)->site);

	et_sync_work_done(p->s);
	p->writing = false;
	if (code == 0) {
		if (site != NULL) {
			site->st.received_segments++;
		}
		pull_finish(p, 0);
	} else if (p->canceled) {
		pull_end_canceled(p);
	} else if (code == ET_EINTEGRITY || code == ET_ETRUNCATED || code == ET_ECORRUPT ||
		   code == ET_EMALFORMED || code == ET_EVERSION) {
		/* Every record was right when it came, so it is the footer that is not, or the
		 * disk: look at the file again before the next source goes on behind it. */
		p->has_part = true;
		pull_source_failed(p, code, p->work_error.text);
	} else {
		pull_disk_failed(p, code, p->work_error.text);
	}
}

/* ---- Writing ---- */

static void pull_grant(struct pull *p)
{
	struct et_buffer frame = { 0 };

	if (p->link == NULL || p->state != PULL_DATA || p->to_credit < p->window / 4 ||
	    p->to_credit == 0 ||
	    !et_gate_may_receive(p->s, p->link->site, (uint8_t)p->look.klass)) {
		return;
	}
	et_wire_add_credit(&frame, p->stream, p->to_credit);
	et_gate_granted(p->s, p->link->site, (uint8_t)p->look.klass, p->to_credit);
	p->granted += p->to_credit;
	p->to_credit = 0;
	et_link_send(p->link, &frame);
}

static void pull_flushed(struct pull *p)
{
	p->state = PULL_PUBLISH;
	p->writing = true;
	int rc = et_sync_work(p->s, &p->work, pull_publish_run, pull_publish_after);
	if (rc < 0) {
		p->writing = false;
		pull_disk_failed(p, rc, "no worker");
	}
}

static void pull_write_done(uv_fs_t *fs)
{
	struct pull *p = ET_CONTAINER_OF(fs, struct pull, fs);
	ssize_t wrote = fs->result;
	struct et_wire_block *b = p->writes;

	uv_fs_req_cleanup(fs);
	et_sync_work_done(p->s);
	p->writing = false;
	if (wrote > 0) {
		p->write_at += (size_t)wrote;
		p->to_credit += (uint32_t)wrote;
		if (p->write_at == b->size - 8) {
			p->writes = b->next;
			p->writes_tail = p->writes == NULL ? &p->writes : p->writes_tail;
			p->write_at = 0;
			free(b);
		}
	}
	if (p->canceled) {
		pull_end_canceled(p);
	} else if (wrote <= 0) {
		pull_disk_failed(p, wrote < 0 ? (int)wrote : -EIO, "writing what arrives");
	} else if (p->state == PULL_CUT) {
		pull_cut(p);
	} else if (p->writes != NULL) {
		pull_grant(p);
		pull_write(p);
	} else if (p->state == PULL_FLUSH) {
		pull_flushed(p);
	} else {
		pull_grant(p);
	}
}

static void pull_write(struct pull *p)
{
	struct et_wire_block *b = p->writes;
	uv_buf_t buf = uv_buf_init((char *)b->data + 8 + p->write_at,
				   (unsigned)(b->size - 8 - p->write_at));
	int rc = uv_fs_write(&p->s->loop, &p->fs, p->fd, &buf, 1,
			     (int64_t)(et_get64(b->data) + p->write_at), pull_write_done);
	if (rc < 0) {
		pull_disk_failed(p, rc, "writing what arrives");
		return;
	}
	p->s->works++;
	p->writing = true;
}

/* ---- What the source says ---- */

static void pull_want(struct pull *p, uint16_t flags)
{
	struct et_buffer frame = { 0 };
	struct et_wire_want want = { .generation = p->key.generation,
				     .segment = p->key.segment,
				     .offset = p->intake.good };
	uint32_t window = p->s->window_bytes;
	uint64_t rate = et_gate_rate(p->s, p->link->site, (uint8_t)p->look.klass);
	uint64_t left = p->look.expect.size_bytes - p->intake.good;

	if (rate != 0 && rate / 4 < window) {
		window = rate / 4 > 65536 ? (uint32_t)(rate / 4) : 65536;
	}
	memcpy(want.recording, p->key.recording, 16);
	memcpy(want.root, p->look.expect.root, 32);
	if ((flags & ET_WIRE_WANT_DATA) != 0) { /* No more than what is missing is owed. */
		want.window_bytes = left < window ? (uint32_t)left : window;
	}
	p->stream = p->link->next_stream++;
	p->window = window;
	p->granted = want.window_bytes;
	p->to_credit = 0;
	p->progress_us = et_clock_mono_us();
	et_gate_granted(p->s, p->link->site, (uint8_t)p->look.klass, p->granted);
	et_wire_add_want(&frame, p->stream, (uint8_t)p->look.klass, flags, &want);
	et_link_send(p->link, &frame);
}

static void pull_check_run(uv_work_t *work)
{
	struct pull *p = ET_CONTAINER_OF(work, struct pull, work);
	p->work_code = et_store_part_check(p->fd, &p->intake, &p->work_error);
}

static void pull_check_after(uv_work_t *work, int status)
{
	struct pull *p = ET_CONTAINER_OF(work, struct pull, work);
	int code = status < 0 ? status : p->work_code;

	et_sync_work_done(p->s);
	p->writing = false;
	if (p->canceled) {
		pull_end_canceled(p);
	} else if (code < 0) {
		pull_disk_failed(p, code, p->work_error.text);
	} else {
		p->has_part = false;
		p->began = p->intake.good;
		if (p->link != NULL) {
			p->state = PULL_CONNECT;
			pull_ask(p);
		} else {
			pull_source(p); /* The same one again: it has done nothing wrong. */
		}
	}
}

static void pull_check(struct pull *p)
{
	p->state = PULL_CHECK;
	p->writing = true;
	int rc = et_sync_work(p->s, &p->work, pull_check_run, pull_check_after);
	if (rc < 0) {
		p->writing = false;
		pull_disk_failed(p, rc, "no worker");
	}
}

/* The connection stands: ask, as soon as there are bytes to be had. */
static void pull_ask(struct pull *p)
{
	et_assert(p->state == PULL_CONNECT && p->link != NULL);
	if (!et_gate_may_receive(p->s, p->link->site, (uint8_t)p->look.klass)) {
		return; /* A tick asks again. */
	}
	if (et_intake_has_leaves(&p->intake) && p->has_part) {
		pull_check(p);
	} else if (et_intake_has_leaves(&p->intake)) {
		p->state = PULL_DATA;
		pull_want(p, ET_WIRE_WANT_DATA);
	} else if (p->has_part) {
		p->state = PULL_LEAVES;
		pull_want(p, ET_WIRE_WANT_LEAVES);
	} else {
		p->state = PULL_DATA;
		pull_want(p, ET_WIRE_WANT_LEAVES | ET_WIRE_WANT_DATA);
	}
}

void et_pull_link_open(struct link *l)
{
	struct pull *next = NULL;
	for (struct pull *p = l->pulls; p != NULL; p = next) {
		next = p->next_on_link;
		if (p->state == PULL_CONNECT && l->state == LINK_OPEN) {
			pull_ask(p);
		}
	}
}

static void pull_on_eof(struct pull *p, const struct et_wire_block *body)
{
	struct et_wire_eof eof;
	struct et_error error = { 0 };

	et_wire_read_eof(body, &eof);
	p->stream = 0; /* It is over: nothing to cancel. */
	if (p->state == PULL_LEAVES) {
		if (!et_intake_has_leaves(&p->intake)) {
			pull_source_failed(p, ET_ETRUNCATED, "it sent no leaf hashes");
			return;
		}
		pull_check(p);
		return;
	}
	int rc = et_intake_eof(&p->intake, &eof, &error);
	if (rc < 0) {
		pull_source_failed(p, rc, error.text);
		return;
	}
	p->state = PULL_FLUSH;
	pull_leave_link(p, false);
	if (!p->writing) {
		et_assert(p->writes == NULL);
		pull_flushed(p);
	}
}

/* Takes the body. */
static void pull_on_data(struct pull *p, struct et_wire_block *body)
{
	struct et_error error = { 0 };
	size_t size = body->size - 8;

	if (size > p->granted) {
		free(body);
		pull_source_failed(p, ET_EMALFORMED, "it sent more than was granted");
		return;
	}
	p->granted -= (uint32_t)size;
	et_sync_count_received(p->s, p->link->site, (uint8_t)p->look.klass, size);
	uint64_t offset = et_get64(body->data);
	int rc = et_intake_data(&p->intake, offset, body->data + 8, size, &error);
	if (rc < 0) {
		/* What verified before the lie counts as good, so it must reach the file. */
		body->size = p->intake.good > offset ? 8 + (size_t)(p->intake.good - offset) : 0;
	}
	if (body->size > 8) {
		body->next = NULL;
		*p->writes_tail = body;
		p->writes_tail = &body->next;
	} else {
		free(body);
	}
	if (rc < 0) {
		pull_source_failed(p, rc, error.text);
	} else if (!p->writing) {
		pull_write(p);
	}
}

static void pull_on_leaves(struct pull *p, const struct et_wire_block *body)
{
	struct et_wire_leaves leaves;
	struct et_error error = { 0 };

	int rc = et_wire_read_leaves(body, &leaves) ? et_intake_leaves(&p->intake, &leaves, &error)
						    : et_fail(&error, ET_EMALFORMED, "leaf hashes");
	if (rc < 0) {
		pull_source_failed(p, rc, error.text);
	}
}

static void pull_on_error(struct pull *p, const struct et_wire_block *body)
{
	char text[ET_WIRE_TEXT_MAX + 1];
	char quoted[160];
	size_t size = body->size - 4;
	int32_t code = (int32_t)et_get32(body->data);

	memcpy(text, body->data + 4, size);
	text[size] = '\0';
	p->stream = 0;
	pull_source_failed(p, code < 0 ? code : ET_EMALFORMED,
			   et_log_quote(text, quoted, sizeof(quoted)));
}

bool et_pull_frame(struct link *l, struct et_wire_frame *frame)
{
	struct pull *p = l->pulls;

	while (p != NULL && p->stream != frame->stream) {
		p = p->next_on_link;
	}
	if (p == NULL) {
		free(frame->body);
		return frame->stream < l->next_stream; /* Canceled, and still on its way. */
	}
	p->progress_us = l->last_in_us;
	if (frame->type == ET_WIRE_DATA && p->state == PULL_DATA) {
		pull_on_data(p, frame->body);
		return true;
	}
	if (frame->type == ET_WIRE_LEAVES) {
		pull_on_leaves(p, frame->body);
	} else if (frame->type == ET_WIRE_EOF) {
		pull_on_eof(p, frame->body);
	} else if (frame->type == ET_WIRE_ERROR) {
		pull_on_error(p, frame->body);
	} else if (frame->type == ET_WIRE_BUSY) {
		p->stream = 0;
		pull_source_failed(p, ET_EBUSY, "the source is busy");
	} else {
		pull_source_failed(p, ET_EMALFORMED, "data that was not asked for");
	}
	free(frame->body);
	return true;
}

/* ---- Sources ---- */

/* Ask source number p->source, or end when there is none. */
static void pull_source(struct pull *p)
{
	for (; p->source < p->look.source_count; p->source++) {
		struct link *l = et_link_get(p->s, pull_source_of(p), p->look.klass);
		if (l == NULL) {
			pull_set_error(p, ET_EUNREACHABLE, "the node did not answer");
			continue;
		}
		p->link = l;
		p->next_on_link = l->pulls;
		l->pulls = p;
		l->pull_count++;
		p->state = PULL_CONNECT;
		p->progress_us = et_clock_mono_us();
		if (l->state == LINK_OPEN) {
			pull_ask(p);
		}
		return;
	}
	if (p->code == 0) {
		pull_set_error(p, ET_ENOTFOUND, "no node holds it");
	}
	pull_finish(p, p->lied ? ET_EINTEGRITY : p->code);
}

void et_pull_tick(struct et_sync *s, int64_t now_us)
{
	struct pull *next = NULL;
	for (struct pull *p = s->pulls; p != NULL; p = next) {
		next = p->next;
		if (p->state == PULL_CONNECT && p->link != NULL && p->link->state == LINK_OPEN) {
			pull_ask(p); /* It may end here. */
			continue;
		}
		pull_grant(p);
		bool waits = p->state == PULL_LEAVES || (p->state == PULL_DATA && p->granted > 0);
		if (waits && now_us - p->progress_us > ET_SYNC_STALL_MS * INT64_C(1000) &&
		    et_gate_may_receive(s, p->link->site, (uint8_t)p->look.klass)) {
			pull_source_failed(p, -ETIMEDOUT, "the source sends nothing");
			return; /* The list may have changed: the others at the next tick. */
		}
	}
}

/* ---- Beginning ---- */

static void pull_open_run(uv_work_t *work)
{
	struct pull *p = ET_CONTAINER_OF(work, struct pull, work);
	struct et_tape_report report;
	struct stat st;
	uint64_t size = 0;

	if (stat(p->path, &st) == 0 &&
	    et_store_verify(p->path, &p->look.expect, &report, NULL) == 0) {
		p->published = true; /* A crash came between the rename and its CopyAdd. */
		return;
	}
	p->work_code = et_store_part_open(p->part, &p->fd, &size, &p->work_error);
	p->has_part = size > 0;
}

static void pull_open_after(uv_work_t *work, int status)
{
	struct pull *p = ET_CONTAINER_OF(work, struct pull, work);
	int code = status < 0 ? status : p->work_code;

	et_sync_work_done(p->s);
	p->writing = false;
	if (p->canceled) {
		pull_end_canceled(p);
	} else if (code < 0) {
		pull_disk_failed(p, code, p->work_error.text);
	} else if (p->published) {
		pull_finish(p, 0);
	} else {
		pull_source(p);
	}
}

static int pull_paths(struct pull *p, struct et_error *reterr)
{
	const struct et_expect *expect = &p->look.expect;
	const char *media = p->s->media;
	bool cache = p->purpose == PULL_CACHE;

	if (!et_store_file_ok(p->look.file)) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "the catalogue's file name cannot be used");
	}
	int rc = et_store_path(media, "incoming", expect, cache ? ".cache" : ".part", p->part);
	if (rc == 0 && cache) {
		rc = et_store_path(media, "cache", expect, ".evtm", p->path);
	} else if (rc == 0) {
		int n = snprintf(p->path, sizeof(p->path), "%s/%s", media, p->look.file);
		rc = n < 0 || (size_t)n >= sizeof(p->path) ? -ENAMETOOLONG : 0;
	}
	return rc < 0 ? et_fail(reterr, rc, "path of the segment") : 0;
}

int et_pull_start(struct et_sync *s, const struct et_look_result *look, enum pull_purpose purpose,
		  struct fetch *waiter, struct et_error *reterr)
{
	struct pull *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return et_fail(reterr, -ENOMEM, "fetch");
	}
	p->s = s;
	p->key = look->key;
	p->purpose = purpose;
	p->look = *look;
	p->look.klass = purpose == PULL_CACHE ? ET_SYNC_REPLAY : look->klass;
	p->fd = -1;
	p->writes_tail = &p->writes;
	int rc = pull_paths(p, reterr);
	if (rc == 0) {
		rc = et_intake_init(&p->intake, &look->expect, reterr);
	}
	if (rc == 0) {
		p->writing = true;
		rc = et_sync_work(s, &p->work, pull_open_run, pull_open_after);
		if (rc < 0) {
			p->writing = false;
			(void)et_fail(reterr, rc, "fetch");
		}
	}
	if (rc < 0) {
		pull_free(p);
		return rc;
	}
	p->waiters = waiter;
	p->next = s->pulls;
	s->pulls = p;
	s->pull_count++;
	s->replica_count += purpose == PULL_REPLICA;
	return 0;
}

struct pull *et_pull_find(struct et_sync *s, const struct et_key *key, enum pull_purpose purpose)
{
	struct pull *p = s->pulls;
	while (p != NULL && (p->purpose != purpose || !et_key_equal(&p->key, key))) {
		p = p->next;
	}
	return p;
}

void et_pull_put_back(struct et_sync *s)
{
	struct pull *next = NULL;
	for (struct pull *p = s->pulls; p != NULL; p = next) {
		next = p->next;
		if (p->purpose != PULL_REPLICA || p->link == NULL || p->canceled ||
		    !et_gate_is_paused(s, p->link->site, (uint8_t)p->look.klass)) {
			continue;
		}
		p->put_back = p->canceled = true;
		if (!p->writing) {
			pull_end_canceled(p);
			next = s->pulls; /* The list may have changed: begin again. */
		}
	}
}

void et_pull_cancel_all(struct et_sync *s)
{
	struct pull *p = s->pulls;
	while (p != NULL) {
		struct pull *next = p->next;
		p->canceled = true;
		if (!p->writing) {
			pull_end_canceled(p);
		}
		p = next;
	}
}
