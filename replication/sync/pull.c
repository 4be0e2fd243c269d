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
 * What waits for our own disk (OPEN, CHECK, writes, CUT, PUBLISH) is in pull_disk.c.
 *
 * A failure of a source (it lies, lacks it, breaks) leads to the next source; a failure of our own
 * disk ends the pull. In every state at most one thing is in libuv's pool: `writing` or a worker.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/pull_internal.h"

/* ---- Small steps ---- */

void et_pull_set_error(struct pull *p, int code, const char *text)
{
	p->code = code;
	(void)et_fail_plain(&p->error, code, "%s",
			    text != NULL && text[0] != '\0' ? text : et_strerror(code));
}

const struct et_look_source *et_pull_source_of(const struct pull *p)
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

static void pull_free(struct pull *p)
{
	et_assert(!p->writing && p->link == NULL && p->waiters == NULL);
	et_pull_drop_writes(p);
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

void et_pull_finish(struct pull *p, int code)
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

void et_pull_end_canceled(struct pull *p)
{
	int code = p->put_back ? -ECANCELED : ET_ECLOSED;
	et_pull_set_error(p, code, NULL);
	et_pull_finish(p, code);
}

void et_pull_source_failed(struct pull *p, int code, const char *text)
{
	const struct et_look_source *source = et_pull_source_of(p);

	p->lied = p->lied || code == ET_EINTEGRITY;
	et_pull_set_error(p, code, text);
	et_sync_site_error(p->s, et_sync_site_of(p->s, source->site), code, text);
	pull_leave_link(p, true);
	p->state = PULL_CUT;
	if (!p->writing) {
		et_pull_cut(p);
	}
}

void et_pull_link_lost(struct pull *p, int code, const char *text)
{
	if (p->state == PULL_FLUSH || p->state == PULL_CHECK) {
		/* FLUSH has all it needs. CHECK asks again when it is done. */
		pull_leave_link(p, false);
		return;
	}
	et_pull_set_error(p, code, text);
	pull_leave_link(p, false);
	p->state = PULL_CUT;
	if (!p->writing) {
		et_pull_cut(p);
	}
}

/* Our own disk failed. */
void et_pull_disk_failed(struct pull *p, int code, const char *text)
{
	pull_leave_link(p, true);
	et_pull_set_error(p, code, text);
	et_pull_finish(p, code);
}

/* ---- Credit ---- */

void et_pull_grant(struct pull *p)
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

/* The connection stands: ask, as soon as there are bytes to be had. */
void et_pull_ask(struct pull *p)
{
	et_assert(p->state == PULL_CONNECT && p->link != NULL);
	if (!et_gate_may_receive(p->s, p->link->site, (uint8_t)p->look.klass)) {
		return; /* A tick asks again. */
	}
	if (et_intake_has_leaves(&p->intake) && p->has_part) {
		et_pull_check(p);
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
			et_pull_ask(p);
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
			et_pull_source_failed(p, ET_ETRUNCATED, "it sent no leaf hashes");
			return;
		}
		et_pull_check(p);
		return;
	}
	int rc = et_intake_eof(&p->intake, &eof, &error);
	if (rc < 0) {
		et_pull_source_failed(p, rc, error.text);
		return;
	}
	p->state = PULL_FLUSH;
	pull_leave_link(p, false);
	if (!p->writing) {
		et_assert(p->writes == NULL);
		et_pull_flushed(p);
	}
}

/* Takes the body. */
static void pull_on_data(struct pull *p, struct et_wire_block *body)
{
	struct et_error error = { 0 };
	size_t size = body->size - 8;

	if (size > p->granted) {
		free(body);
		et_pull_source_failed(p, ET_EMALFORMED, "it sent more than was granted");
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
		et_pull_source_failed(p, rc, error.text);
	} else if (!p->writing) {
		et_pull_write(p);
	}
}

static void pull_on_leaves(struct pull *p, const struct et_wire_block *body)
{
	struct et_wire_leaves leaves;
	struct et_error error = { 0 };

	int rc = et_wire_read_leaves(body, &leaves) ? et_intake_leaves(&p->intake, &leaves, &error)
						    : et_fail(&error, ET_EMALFORMED, "leaf hashes");
	if (rc < 0) {
		et_pull_source_failed(p, rc, error.text);
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
	et_pull_source_failed(p, code < 0 ? code : ET_EMALFORMED,
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
		et_pull_source_failed(p, ET_EBUSY, "the source is busy");
	} else {
		et_pull_source_failed(p, ET_EMALFORMED, "data that was not asked for");
	}
	free(frame->body);
	return true;
}

/* ---- Sources ---- */

/* Ask source number p->source, or end when there is none. */
void et_pull_source(struct pull *p)
{
	for (; p->source < p->look.source_count; p->source++) {
		struct link *l = et_link_get(p->s, et_pull_source_of(p), p->look.klass);
		if (l == NULL) {
			et_pull_set_error(p, ET_EUNREACHABLE, "the node did not answer");
			continue;
		}
		p->link = l;
		p->next_on_link = l->pulls;
		l->pulls = p;
		l->pull_count++;
		p->state = PULL_CONNECT;
		p->progress_us = et_clock_mono_us();
		if (l->state == LINK_OPEN) {
			et_pull_ask(p);
		}
		return;
	}
	if (p->code == 0) {
		et_pull_set_error(p, ET_ENOTFOUND, "no node holds it");
	}
	et_pull_finish(p, p->lied ? ET_EINTEGRITY : p->code);
}

void et_pull_tick(struct et_sync *s, int64_t now_us)
{
	struct pull *next = NULL;
	for (struct pull *p = s->pulls; p != NULL; p = next) {
		next = p->next;
		if (p->state == PULL_CONNECT && p->link != NULL && p->link->state == LINK_OPEN) {
			et_pull_ask(p); /* It may end here. */
			continue;
		}
		et_pull_grant(p);
		bool waits = p->state == PULL_LEAVES || (p->state == PULL_DATA && p->granted > 0);
		if (waits && now_us - p->progress_us > ET_SYNC_STALL_MS * INT64_C(1000) &&
		    et_gate_may_receive(s, p->link->site, (uint8_t)p->look.klass)) {
			et_pull_source_failed(p, -ETIMEDOUT, "the source sends nothing");
			return; /* The list may have changed: the others at the next tick. */
		}
	}
}

/* ---- Beginning ---- */

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
		rc = et_pull_open(p);
		if (rc < 0) {
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

bool et_pull_has_room(const struct et_sync *s, uint8_t klass, uint32_t more)
{
	uint32_t count = more;

	for (const struct pull *p = s->pulls; p != NULL; p = p->next) {
		count += p->purpose == PULL_REPLICA && !p->canceled &&
			 (uint8_t)p->look.klass == klass;
	}
	return !et_gate_is_named(s, klass) || count <= (s->transfers + 1) / 2;
}

static bool pull_is_to_go(struct et_sync *s, const struct pull *p)
{
	uint8_t klass = (uint8_t)p->look.klass;

	return p->purpose == PULL_REPLICA && !p->canceled &&
	       ((p->link != NULL && et_gate_is_paused(s, p->link->site, klass)) ||
		!et_pull_has_room(s, klass, 0));
}

void et_pull_put_back(struct et_sync *s)
{
	struct pull *next = NULL;
	for (struct pull *p = s->pulls; p != NULL; p = next) {
		next = p->next;
		if (!pull_is_to_go(s, p)) {
			continue;
		}
		p->put_back = p->canceled = true;
		if (!p->writing) {
			et_pull_end_canceled(p);
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
			et_pull_end_canceled(p);
		}
		p = next;
	}
}
