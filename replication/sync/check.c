/* Verifying this node's copies of a recording, and what follows when one is bad. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

bool et_check_is_bad(int code)
{
	return code == ET_EINTEGRITY || code == ET_ETRUNCATED || code == ET_ECORRUPT ||
	       code == ET_EMALFORMED || code == ET_EVERSION || code == -EIO || code == ET_ENOTFOUND;
}

/* Memory and cables err, too: what does not verify is read once more, from the disk. */
static int check_verify(const char *path, const char *file, const struct et_expect *expect,
			const struct et_store_pace *pace, struct et_tape_report *report,
			struct et_error *error)
{
	int first = pace != NULL ? et_store_verify_disk(path, expect, pace, report, error)
				 : et_store_verify(path, expect, report, error);
	if (first != -ENOENT && !et_check_is_bad(first)) {
		return first;
	}
	*error = (struct et_error){ 0 };
	int rc = et_store_verify_disk(path, expect, pace, report, error);
	if (rc == 0) {
		et_warn("sync.read_differs", "file=%s code=%s", file, et_errname(first));
	}
	return rc == -ENOENT ? ET_ENOTFOUND : rc;
}

/* Does the catalogue still count it? It may have been evicted, erased or replaced meanwhile. 0 or
 * negative. */
static int check_is_ours(struct et_sync *s, const struct et_expect *expect)
{
	struct et_look_own *owns = NULL;
	size_t count = 0;
	bool ours = false;
	int rc = et_look_own(s->state, s->node, expect->recording, &owns, &count, NULL);

	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < count; i++) {
		ours = ours || (owns[i].expect.generation == expect->generation &&
				owns[i].expect.segment == expect->segment &&
				memcmp(owns[i].expect.root, expect->root, 32) == 0);
	}
	free(owns);
	return ours ? 0 : ET_ESTALE;
}

static void check_say(struct et_sync_check *ret, int code, const char *text)
{
	ret->code = code;
	(void)snprintf(ret->text, sizeof(ret->text), "%s", text);
}

/* It is bad. Out of the way, so that a good one can take its place; kept, as evidence, and because
 * it may be the last there is. */
static void check_quarantine(struct et_sync *s, const struct et_look_own *own,
			     struct et_sync_check *ret)
{
	struct et_error error = { 0 };

	(void)atomic_fetch_add(&s->bads_untold, 1);
	if (ret->code == ET_ENOTFOUND) {
		return;
	}
	ret->code = ret->code == -EIO ? -EIO : ET_EINTEGRITY;
	if (et_store_quarantine(s->media, own->file, et_clock_now_us(), ret->quarantine, &error) <
	    0) {
		et_warn("sync.quarantine", "file=%s error=%s", own->file, et_errname(error.code));
	}
}

void et_check_copy(struct et_sync *s, const struct et_look_own *own,
		   const struct et_store_pace *pace, struct et_sync_check *ret)
{
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
		check_say(ret, ET_EUSAGE, "the catalogue's file name cannot be used");
		return;
	}
	ret->code = check_verify(path, own->file, &own->expect, pace, &report, &error);
	ret->block_bytes = report.seal.block_bytes;
	if (ret->code == 0) {
		return;
	}
	(void)snprintf(ret->text, sizeof(ret->text), "%.*s", (int)sizeof(ret->text) - 1,
		       report.problem[0] != '\0' ? report.problem : error.text);
	ret->offset = report.bad_offset;
	if (report.has_header && report.good_records < own->expect.records) {
		ret->record = (int64_t)report.good_records;
	}
	if (!et_check_is_bad(ret->code)) {
		return;
	}
	if (!et_store_is(s->media, s->store_uuid)) {
		check_say(ret, -ENODEV,
			  "the media folder is not this node's store, or cannot be read");
		return;
	}
	int rc = check_is_ours(s, &own->expect);
	if (rc == 0) {
		check_quarantine(s, own, ret);
	} else {
		check_say(ret, rc == ET_ESTALE ? rc : -EAGAIN,
			  rc == ET_ESTALE ? "the catalogue does not count it any more"
					  : "the catalogue cannot be asked whether it counts");
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
		if (atomic_load(&c->s->stopping)) {
			c->code = ET_ECLOSED;
			c->count = i; /* What is bad among these is told all the same. */
			return;
		}
		et_check_copy(c->s, &c->owns[i], NULL, &c->checks[i]);
	}
}

void et_check_tell(struct et_sync *s, const struct et_look_own *own,
		   const struct et_sync_check *check)
{
	char id[ET_UUID_TEXT_SIZE];
	char text[300];

	et_uuid_format(own->expect.recording, id);
	et_err("sync.bad_copy",
	       "recording=%s generation=%u segment=%u file=%s record=%lld offset=%llu "
	       "code=%s problem=%s quarantine=%s",
	       id, check->generation, check->segment, check->file, (long long)check->record,
	       (unsigned long long)check->offset, et_errname(check->code),
	       et_log_quote(check->text, text, sizeof(text)), check->quarantine);
	s->bad_copies++;
	et_ack_bad(s, &own->expect, check->text);
}

/* Tell the catalogue which copies are bad, and return what the whole comes to. */
static int check_report(struct check *c)
{
	int code = 0;

	for (size_t i = 0; i < c->count; i++) {
		const struct et_sync_check *k = &c->checks[i];
		if (et_check_is_bad(k->code)) {
			code = ET_EINTEGRITY;
			et_check_tell(c->s, &c->owns[i], k);
		} else if (code == 0 && k->code != ET_ESTALE) {
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
	if (code == 0 || c->checks != NULL) {
		int found = check_report(c);
		code = code == 0 ? found : code;
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
