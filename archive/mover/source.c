/* A pack that is read while it is made: header and tail from memory, members from their files. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/mover/mover_internal.h"
#include "node/base/fd.h"
#include "node/crypto/hash.h"
#include "node/io/file.h"
#include "node/tape/tape.h"

#define CHUNK_SIZE ((size_t)256 * 1024) /* bytes */

void mover_pack_release(struct mover_pack *p)
{
	for (size_t i = 0; i < p->count; i++) {
		et_fd_closep(&p->members[i].fd);
	}
	free(p->members);
	free(p->entries);
	et_buffer_release(&p->tail);
	*p = (struct mover_pack){ 0 };
}

int mover_pack_read(void *pack, uint64_t offset, void *data, size_t size)
{
	const struct mover_pack *p = pack;
	uint8_t *out = data;
	uint64_t tail = p->size - p->tail.size;
	size_t i = 0;
	while (size > 0) {
		size_t n;
		if (offset < ET_PACK_HEADER_SIZE) {
			n = ET_PACK_HEADER_SIZE - (size_t)offset;
			n = n < size ? n : size;
			memcpy(out, p->header + offset, n);
		} else if (offset >= tail) {
			n = size;
			memcpy(out, p->tail.data + (offset - tail), n);
		} else {
			while (offset >= p->members[i].entry.offset + p->members[i].entry.size) {
				i++;
			}
			const struct et_pack_entry *e = &p->members[i].entry;
			uint64_t left = e->offset + e->size - offset;
			n = left < size ? (size_t)left : size;
			int rc = et_file_pread(p->members[i].fd, out, n,
					       (int64_t)(offset - e->offset));
			if (rc < 0) {
				return rc;
			}
		}
		out += n;
		offset += n;
		size -= n;
	}
	return 0;
}

/* ---- Open ---- */

static void problem_note(struct mover_pack *p, const struct mover_segment *id, int code,
			 const char *what)
{
	char text[MOVER_SEGMENT_TEXT_SIZE];
	if (p->problem.code == 0) {
		mover_segment_text(id->recording, id->generation, id->segment, text);
		(void)et_fail(&p->problem, code, "%s: %s", text, what);
	}
}

/* The file of a member. 0; ET_EINTEGRITY: not that size; -ENOENT.. */
static int member_open(struct et_mover *m, const Et__Segment *s, struct mover_member *member)
{
	char path[MOVER_PATH_MAX];
	struct stat st;
	int rc = mover_path(m->media, s->file, path);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0) {
		return -errno;
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != s->size_bytes) {
		return ET_EINTEGRITY;
	}
	member->fd = fd;
	fd = -1;
	member->entry.size = s->size_bytes;
	return 0;
}

/* Read the member once: has it the hash of its bytes that the catalogue knows? */
static int member_compare(struct et_mover *m, const Et__Segment *s, struct mover_member *member)
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *hash = et_sha256_new();
	uint8_t *chunk = malloc(CHUNK_SIZE);
	int rc = hash == NULL || chunk == NULL ? -ENOMEM : 0;
	for (uint64_t at = 0; rc == 0 && at < member->entry.size;) {
		uint64_t left = member->entry.size - at;
		size_t n = left < CHUNK_SIZE ? (size_t)left : CHUNK_SIZE;
		rc = et_file_pread(member->fd, chunk, n, (int64_t)at);
		if (rc == 0) {
			et_sha256_add(hash, chunk, n);
			at += n;
			rc = atomic_load(&m->stopping) ? ET_ECLOSED : 0;
		}
	}
	free(chunk);
	if (rc < 0) {
		return rc;
	}
	et_sha256_end(hash, member->entry.sha256);
	return memcmp(member->entry.sha256, s->object_hash.data, 32) == 0 ? 0 : ET_EINTEGRITY;
}

struct member_source {
	struct et_mover *m;
	int fd;
};

static int member_read(void *arg, uint64_t offset, void *data, size_t size, struct et_error *reterr)
{
	const struct member_source *f = arg;

	int rc = atomic_load(&f->m->stopping) ? ET_ECLOSED
					      : et_file_pread(f->fd, data, size, (int64_t)offset);
	return rc < 0 ? et_fail(reterr, rc, "read a tape") : 0;
}

/* Read the member once: is it the tape that the catalogue knows by root and seal hash? */
static int member_verify(struct et_mover *m, const Et__Segment *s, struct mover_member *member)
{
	struct member_source file = { m, member->fd };
	const struct et_tape_source source = { .read = member_read,
					       .arg = &file,
					       .size = member->entry.size };
	const struct et_tape_expect expect = {
		.recording = s->recording.data,
		.generation = s->generation,
		.segment = s->segment,
		.header_hash = s->header_hash.len == 32 ? s->header_hash.data : NULL,
		.root = s->root.data,
		.seal_hash = s->seal_hash.len == 32 ? s->seal_hash.data : NULL,
		.hash_object = true,
	};
	struct et_tape_report report;

	int rc = et_tape_verify(&source, &expect, &report, NULL);
	if (rc == 0) {
		memcpy(member->entry.sha256, report.object_hash, sizeof(member->entry.sha256));
	}
	/* Whatever is wrong with its form: it is not what was sealed. */
	const bool is_other = rc == ET_ETRUNCATED || rc == ET_EMALFORMED || rc == ET_EVERSION ||
			      rc == ET_ECORRUPT;
	return is_other ? ET_EINTEGRITY : rc;
}

/* Is the member what the catalogue says? The hash of its bytes is filled in. */
static int member_hash(struct et_mover *m, const Et__Segment *s, struct mover_member *member)
{
	member->tell_hash = s->seal_hash.len == 32;
	return s->object_hash.len == 32 ? member_compare(m, s, member)
					: member_verify(m, s, member);
}

/* One member: open and check it. 1: it is to be left out; 0; negative: stop. */
static int member_add(struct et_mover *m, const struct et_state_view *v, const Et__PlanItem *item,
		      struct mover_pack *p, int64_t *t0_us)
{
	Et__Segment *s = NULL;
	struct mover_member *member = &p->members[p->count];
	*member = (struct mover_member){ .fd = -1 };
	memcpy(member->id.recording, item->recording.data, 16);
	member->id.generation = item->generation;
	member->id.segment = item->segment;
	int rc = et_state_get_segment(v, item->recording.data, item->generation, item->segment, &s);
	if (rc == ET_ENOTFOUND) {
		problem_note(p, &member->id, rc, "the segment is not in the catalogue");
		return 1;
	}
	rc = rc < 0 ? rc : member_open(m, s, member);
	rc = rc < 0 ? rc : member_hash(m, s, member);
	if (rc == 0) {
		memcpy(member->entry.recording, member->id.recording, 16);
		member->entry.generation = item->generation;
		member->entry.segment = item->segment;
		*t0_us = p->count == 0 ? s->t0_us : *t0_us;
		p->count++;
	} else if (rc != ET_ECLOSED && rc != -ENOMEM && rc != -EMFILE) {
		const char *what = rc == ET_EINTEGRITY ? "the local copy is not what was recorded"
						       : "the local copy cannot be read";
		problem_note(p, &member->id, rc, what);
		et_fd_closep(&member->fd);
		if (rc == ET_EINTEGRITY || rc == -ENOENT) {
			mover_report_bad(m, &member->id, m->place, what);
		}
		rc = 1;
	} else {
		et_fd_closep(&member->fd);
	}
	if (s != NULL) {
		et__segment__free_unpacked(s, NULL);
	}
	return rc;
}

/* Offsets, header and tail; then the hash of the whole, which reads the members a second time (they
 * are in the page cache). */
static int pack_name(struct et_mover *m, struct mover_pack *p, int64_t t0_us)
{
	p->entries = calloc(p->count, sizeof(*p->entries));
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *hash = et_sha256_new();
	uint8_t *chunk = malloc(CHUNK_SIZE);
	int rc = p->entries == NULL || hash == NULL || chunk == NULL ? -ENOMEM : 0;
	for (size_t i = 0; i < p->count && rc == 0; i++) {
		p->entries[i] = p->members[i].entry;
	}
	rc = rc < 0 ? rc : et_pack_layout(p->entries, p->count, p->header, &p->tail, &p->size);
	for (size_t i = 0; i < p->count && rc == 0; i++) {
		p->members[i].entry.offset = p->entries[i].offset;
	}
	for (uint64_t at = 0; rc == 0 && at < p->size;) {
		size_t n = p->size - at < CHUNK_SIZE ? (size_t)(p->size - at) : CHUNK_SIZE;
		rc = mover_pack_read(p, at, chunk, n);
		if (rc == 0) {
			et_sha256_add(hash, chunk, n);
			at += n;
			rc = atomic_load(&m->stopping) ? ET_ECLOSED : 0;
		}
	}
	free(chunk);
	if (rc == 0) {
		et_sha256_end(hash, p->sha256);
		et_pack_key(p->sha256, t0_us, "evpk", p->key);
	}
	return rc;
}

int mover_pack_open(struct et_mover *m, const struct et_state_view *v, Et__PlanItem *const *items,
		    size_t count, struct mover_pack *ret, struct et_error *reterr)
{
	struct mover_pack p = { 0 };
	int64_t t0_us = 0;
	int rc = 0;
	p.members = calloc(count + 1, sizeof(*p.members));
	if (p.members == NULL) {
		return et_fail(reterr, -ENOMEM, "pack");
	}
	for (size_t i = 0; i < count && rc >= 0; i++) {
		rc = member_add(m, v, items[i], &p, &t0_us);
	}
	if (rc >= 0 && p.count == 0) {
		rc = et_fail_plain(reterr, ET_ENOTFOUND, "%s",
				   p.problem.code != 0 ? p.problem.text : "nothing to pack");
		mover_pack_release(&p);
		return rc;
	}
	rc = rc < 0 ? rc : pack_name(m, &p, t0_us);
	if (rc < 0) {
		mover_pack_release(&p);
		return et_fail(reterr, rc, "pack");
	}
	*ret = p;
	return 0;
}
