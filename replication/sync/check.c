/* Verifying this node's copies of a recording, and what follows when one is bad. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

/* Is it the bytes that are wrong (and not this moment's disk or memory)? */
static bool check_is_bad(int code)
{
	return code == ET_EINTEGRITY || code == ET_ETRUNCATED || code == ET_ECORRUPT ||
	       code == ET_EMALFORMED || code == ET_EVERSION || code == -EIO;
}

static void check_one(struct check *c, const struct et_look_own *own, struct et_sync_check *ret)
{
	const struct et_sync *s = c->s;
	char path[ET_STORE_PATH_MAX];
	struct et_tape_report report;
	struct et_error error = { 0 };

	memset(ret, 0, sizeof(*ret));
	ret->generation = own->expect.generation;
	ret->segment = own->expect.segment;
	ret->size_bytes = own->expect.size_bytes;
	ret->record = -1;
	(void)snprintf(ret->file, sizeof(ret->file), "%s", own->file);
	int n = snprintf(path, sizeof(path), "%s/%s", s->media, own->file);
	if (!et_store_file_ok(own->file) || n < 0 || (size_t)n >= sizeof(path)) {
		ret->code = ET_EMALFORMED;
		(void)snprintf(ret->text, sizeof(ret->text),
			       "the catalogue's file name cannot be used");
		return;
	}
	ret->code = et_store_verify(path, &own->expect, &report, &error);
	if (ret->code == 0) {
		return;
	}
	(void)snprintf(ret->text, sizeof(ret->text), "%.*s", (int)sizeof(ret->text) - 1,
		       report.problem[0] != '\0' ? report.problem : error.text);
	if (ret->code == -ENOENT || ret->code == ET_ENOTFOUND) {
		ret->code = ET_ENOTFOUND;
		return;
	}
	ret->offset = report.bad_offset;
	if (report.has_header && report.good_records < own->expect.records) {
		ret->record = (int64_t)report.good_records;
	}
	if (check_is_bad(ret->code)) {
		if (ret->code != -EIO) {
			ret->code = ET_EINTEGRITY;
		}
		/* Out of the way, so that a good one can take its place; kept, as evidence. */
		if (et_store_quarantine(s->media, own->file, et_clock_now_us(), ret->quarantine,
					&error) < 0) {
			et_warn("sync.quarantine", "file=%s error=%s", own->file,
				et_errname(error.code));
		}
	}
}

static void check_work_run(uv_work_t *work)
{
	struct check *c = ET_CONTAINER_OF(work, struct check, work);

	c->code =
		et_look_own(c->s->state, c->s->node, c->recording, &c->owns, &c->count, &c->error);
	if (c->code < 0 || c->count == 0) {
		c->code = c->code < 0 ? c->code : ET_ENOTFOUND;
		return;
	}
	c->checks = calloc(c->count, sizeof(*c->checks));
	if (c->checks == NULL) {
		c->code = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < c->count; i++) {
		check_one(c, &c->owns[i], &c->checks[i]);
	}
}

/* Tell the catalogue which copies are bad, and return what the whole comes to. */
static int check_report(struct check *c)
{
	char id[ET_UUID_TEXT_SIZE];
	char text[300];
	int code = 0;

	et_uuid_format(c->recording, id);
	for (size_t i = 0; i < c->count; i++) {
		const struct et_sync_check *k = &c->checks[i];
		if (k->code == 0) {
			continue;
		}
		et_err("sync.bad_copy",
		       "recording=%s generation=%u segment=%u file=%s record=%lld offset=%llu "
		       "code=%s problem=%s quarantine=%s",
		       id, k->generation, k->segment, k->file, (long long)k->record,
		       (unsigned long long)k->offset, et_errname(k->code),
		       et_log_quote(k->text, text, sizeof(text)), k->quarantine);
		if (check_is_bad(k->code) || k->code == ET_ENOTFOUND) {
			code = ET_EINTEGRITY;
			c->s->bad_copies++;
			et_ack_bad(c->s, &c->owns[i].expect, k->text);
		} else if (code == 0) {
			code = k->code;
		}
	}
	return code;
}

static void check_end(struct check *c, int code)
{
	c->cb(c->arg, code, c->checks, c->checks != NULL ? c->count : 0);
	free(c->checks);
	free(c->owns);
	free(c);
}

static void check_work_after(uv_work_t *work, int status)
{
	struct check *c = ET_CONTAINER_OF(work, struct check, work);
	struct et_sync *s = c->s;
	int code = status < 0 ? status : c->code;

	et_sync_work_done(s);
	if (code == 0) {
		code = check_report(c);
	}
	check_end(c, code);
}

void et_check_run(struct check *c)
{
	int rc = c->s->stopping ? ET_ECLOSED
				: et_sync_work(c->s, &c->work, check_work_run, check_work_after);
	if (rc < 0) {
		check_end(c, rc);
	}
}
