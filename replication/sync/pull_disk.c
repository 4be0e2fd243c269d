/* A fetch at its disk: what has arrived before, writes, cutting back, publishing. What a worker or
 * the file system says here leads on, as pull.c shows; in each state one thing at most is under way
 * (`writing`). */
#include <stdlib.h>
#include <sys/stat.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/pull_internal.h"

static int pull_work(struct pull *p, uv_work_cb run, uv_after_work_cb after)
{
	p->writing = true;
	int rc = et_sync_work(p->s, &p->work, run, after);
	if (rc < 0) {
		p->writing = false;
	}
	return rc;
}

/* ---- OPEN ---- */

/* What lies at its place and is not it (rot, an older seal, the tail of a lost node of which
 * another was sealed) is not written over. */
static int pull_set_aside(struct pull *p)
{
	char name[ET_SYNC_FILE_MAX];

	int rc = et_store_quarantine(p->s->media, p->look.file, et_clock_now_us(), name,
				     &p->work_error);
	if (rc == 0) {
		et_warn("sync.set_aside", "file=%s as=%s", p->look.file, name);
	}
	return rc;
}

static void pull_open_run(uv_work_t *work)
{
	struct pull *p = ET_CONTAINER_OF(work, struct pull, work);
	struct et_tape_report report;
	struct stat st;
	uint64_t size = 0;

	int rc = stat(p->path, &st) < 0 ? -ENOENT
					: et_store_verify(p->path, &p->look.expect, &report, NULL);
	if (rc == 0) {
		p->published = true; /* A crash came between the rename and its CopyAdd. */
		return;
	}
	if (p->purpose == PULL_REPLICA && et_check_is_bad(rc)) {
		p->work_code = pull_set_aside(p);
		if (p->work_code < 0) {
			return;
		}
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
		et_pull_end_canceled(p);
	} else if (code < 0) {
		et_pull_disk_failed(p, code, p->work_error.text);
	} else if (p->published) {
		et_pull_finish(p, 0);
	} else {
		et_pull_source(p);
	}
}

int et_pull_open(struct pull *p)
{
	return pull_work(p, pull_open_run, pull_open_after);
}

/* ---- CHECK ---- */

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
		et_pull_end_canceled(p);
	} else if (code < 0) {
		et_pull_disk_failed(p, code, p->work_error.text);
	} else {
		p->has_part = false;
		p->began = p->intake.good;
		if (p->link != NULL) {
			p->state = PULL_CONNECT;
			et_pull_ask(p);
		} else {
			et_pull_source(p); /* The same one again: it has done nothing wrong. */
		}
	}
}

void et_pull_check(struct pull *p)
{
	p->state = PULL_CHECK;
	int rc = pull_work(p, pull_check_run, pull_check_after);
	if (rc < 0) {
		et_pull_disk_failed(p, rc, "no worker");
	}
}

/* ---- CUT ---- */

/* A source failed; when nothing is in flight any more, the file is cut back and the next asked. */
static void pull_cut_done(uv_fs_t *fs)
{
	struct pull *p = ET_CONTAINER_OF(fs, struct pull, fs);
	int rc = (int)fs->result;

	uv_fs_req_cleanup(fs);
	et_sync_work_done(p->s);
	p->writing = false;
	if (p->canceled) {
		et_pull_end_canceled(p);
	} else if (rc < 0) {
		et_pull_set_error(p, rc, "cutting back what has arrived");
		et_pull_finish(p, rc);
	} else {
		p->source++;
		et_pull_source(p);
	}
}

void et_pull_cut(struct pull *p)
{
	et_assert(p->state == PULL_CUT && !p->writing);
	if (p->writes != NULL && !p->canceled) {
		et_pull_write(p); /* What verified is kept, so it must reach the file. */
		return;
	}
	et_intake_rewind(&p->intake);
	if (p->canceled) {
		et_pull_end_canceled(p);
		return;
	}
	if (p->has_part) { /* Not even looked at: keep it for the next source. */
		p->source++;
		et_pull_source(p);
		return;
	}
	int rc =
		uv_fs_ftruncate(&p->s->loop, &p->fs, p->fd, (int64_t)p->intake.good, pull_cut_done);
	if (rc < 0) {
		et_pull_set_error(p, rc, NULL);
		et_pull_finish(p, rc);
		return;
	}
	p->s->works++;
	p->writing = true;
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
	struct site *site = et_sync_site_of(p->s, et_pull_source_of(p)->site);

	et_sync_work_done(p->s);
	p->writing = false;
	if (code == 0) {
		if (site != NULL) {
			site->st.received_segments++;
		}
		et_pull_finish(p, 0);
	} else if (p->canceled) {
		et_pull_end_canceled(p);
	} else if (code == ET_EINTEGRITY || code == ET_ETRUNCATED || code == ET_ECORRUPT ||
		   code == ET_EMALFORMED || code == ET_EVERSION) {
		/* Every record was right when it came, so it is the footer that is not, or the
		 * disk: look at the file again before the next source goes on behind it. */
		p->has_part = true;
		et_pull_source_failed(p, code, p->work_error.text);
	} else {
		et_pull_disk_failed(p, code, p->work_error.text);
	}
}

/* ---- Writing ---- */

void et_pull_drop_writes(struct pull *p)
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

void et_pull_flushed(struct pull *p)
{
	p->state = PULL_PUBLISH;
	int rc = pull_work(p, pull_publish_run, pull_publish_after);
	if (rc < 0) {
		et_pull_disk_failed(p, rc, "no worker");
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
		et_pull_end_canceled(p);
	} else if (wrote <= 0) {
		et_pull_disk_failed(p, wrote < 0 ? (int)wrote : -EIO, "writing what arrives");
	} else if (p->state == PULL_CUT) {
		et_pull_cut(p);
	} else if (p->writes != NULL) {
		et_pull_grant(p);
		et_pull_write(p);
	} else if (p->state == PULL_FLUSH) {
		et_pull_flushed(p);
	} else {
		et_pull_grant(p);
	}
}

void et_pull_write(struct pull *p)
{
	struct et_wire_block *b = p->writes;
	uv_buf_t buf = uv_buf_init((char *)b->data + 8 + p->write_at,
				   (unsigned)(b->size - 8 - p->write_at));
	int rc = uv_fs_write(&p->s->loop, &p->fs, p->fd, &buf, 1,
			     (int64_t)(et_get64(b->data) + p->write_at), pull_write_done);
	if (rc < 0) {
		et_pull_disk_failed(p, rc, "writing what arrives");
		return;
	}
	p->s->works++;
	p->writing = true;
}
