/* What lies in the archive, on its way back: ranges for playback, whole segments, and verification.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/mover/mover_internal.h"
#include "node/base/fd.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "node/io/file.h"

/* A bucket of our own for the calling thread. */
static int reader_open(struct et_mover *m, const char *target, struct et_bucket **ret,
		       struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	uint32_t revision = 0;
	struct et_state_view *v = et_state_view_open(m->state);
	if (v == NULL) {
		return et_fail(reterr, -ENOMEM, "archive");
	}
	int rc = et_archive_policy_of(v, &policy, &revision, reterr);
	(void)et_state_view_close(v);
	if (rc < 0) {
		return rc;
	}
	const struct et_archive_target *t = et_archive_target_find(policy, target);
	struct et_bucket_config config;
	if (t == NULL) {
		return et_fail_plain(reterr, ET_ENOTFOUND, "the policy has no target \"%.63s\"",
				     target);
	}
	et_archive_bucket_config(t, &config);
	return et_bucket_open(&config, ret, reterr);
}

int et_mover_read(struct et_mover *m, const char *target, const char *object, uint64_t offset,
		  uint64_t size, et_bucket_sink sink, void *arg, struct et_error *reterr)
{
	ET_CLEANUP(et_bucket_closep) struct et_bucket *b = NULL;
	int rc = reader_open(m, target, &b, reterr);
	return rc < 0 ? rc : et_bucket_get(b, object, offset, size, sink, arg, reterr);
}

/* ---- A whole segment into a file ---- */

/* SHA-256 of the copy's bytes; NULL: the catalogue does not know it. */
static const uint8_t *member_known(const Et__Copy *copy, const Et__Segment *s)
{
	if (s->object_hash.len == 32) {
		return s->object_hash.data;
	}
	return copy->member_hash.len == 32 ? copy->member_hash.data : NULL;
}

struct fetch {
	int fd;
	int64_t at;
	struct et_sha256 *hash;
};

static int fetch_take(void *arg, const void *data, size_t size)
{
	struct fetch *f = arg;
	int rc = et_file_pwrite(f->fd, data, size, f->at);
	if (rc == 0) {
		et_sha256_add(f->hash, data, size);
		f->at += (int64_t)size;
	}
	return rc;
}

static int fetch_copy(struct et_mover *m, const Et__Copy *copy, const Et__Segment *s, int fd,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *hash = et_sha256_new();
	uint8_t found[32];
	if (hash == NULL) {
		return et_fail(reterr, -ENOMEM, "fetch");
	}
	if (ftruncate(fd, 0) < 0) {
		return et_fail(reterr, -errno, "fetch");
	}
	struct fetch f = { .fd = fd, .hash = hash };
	int rc = et_mover_read(m, mover_target_of(copy->place), copy->object, copy->offset,
			       s->size_bytes, fetch_take, &f, reterr);
	if (rc < 0) {
		return rc;
	}
	et_sha256_end(hash, found);
	const uint8_t *known = member_known(copy, s);
	if (known != NULL && memcmp(found, known, 32) != 0) {
		struct mover_segment id = { .generation = s->generation, .segment = s->segment };
		memcpy(id.recording, s->recording.data, 16);
		mover_report_bad(m, &id, copy->place, "the archived copy is not what was recorded");
		return et_fail(reterr, ET_EINTEGRITY, "'%s' at %s", copy->object, copy->place);
	}
	return 0;
}

struct copy_list {
	uint32_t generation;
	uint32_t segment;
	Et__Copy *items[ET_ARCHIVE_TARGETS_MAX]; /* owned */
	size_t count;
};

static int copy_list_take(void *arg, const Et__Copy *copy)
{
	struct copy_list *l = arg;
	if (copy->generation != l->generation || copy->segment != l->segment ||
	    copy->state != ET__COPY__STATE__VERIFIED || mover_target_of(copy->place) == NULL ||
	    l->count == ET_ARRAY_SIZE(l->items)) {
		return 0;
	}
	size_t size = et__copy__get_packed_size(copy);
	uint8_t *packed = malloc(size + 1);
	if (packed == NULL) {
		return -ENOMEM;
	}
	(void)et__copy__pack(copy, packed);
	l->items[l->count] = et__copy__unpack(NULL, size, packed);
	free(packed);
	return l->items[l->count++] == NULL ? -ENOMEM : 0;
}

static int fetch_any(struct et_mover *m, const struct copy_list *l, const Et__Segment *s, int fd,
		     struct et_error *reterr)
{
	int rc = ET_ENOTFOUND;
	if (l->count == 0) {
		return et_fail_plain(reterr, rc, "no target holds a verified copy");
	}
	for (size_t i = 0; i < l->count && rc < 0; i++) {
		rc = fetch_copy(m, l->items[i], s, fd, reterr);
	}
	return rc;
}

static int fetch_into(struct et_mover *m, const struct copy_list *l, const Et__Segment *s,
		      const char *path, struct et_error *reterr)
{
	char temp[MOVER_PATH_MAX];
	uint64_t chance;
	et_random(&chance, sizeof(chance));
	int n = snprintf(temp, sizeof(temp), "%s.%016llx.part", path, (unsigned long long)chance);
	if (n < 0 || n >= (int)sizeof(temp)) {
		return et_fail(reterr, -ENAMETOOLONG, "fetch");
	}
	ET_CLEANUP(et_fd_closep) int fd = open(temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		return et_fail(reterr, -errno, "fetch into '%s'", path);
	}
	int rc = fetch_any(m, l, s, fd, reterr);
	if (rc == 0 && (fsync(fd) < 0 || rename(temp, path) < 0)) {
		rc = et_fail(reterr, -errno, "fetch into '%s'", path);
	}
	if (rc < 0) {
		(void)unlink(temp);
		return rc;
	}
	return et_file_sync_parent(path, reterr);
}

int et_mover_fetch(struct et_mover *m, const uint8_t recording[16], uint32_t generation,
		   uint32_t segment, const char *path, struct et_error *reterr)
{
	struct copy_list l = { .generation = generation, .segment = segment };
	Et__Segment *s = NULL;
	struct et_state_view *v = et_state_view_open(m->state);
	if (v == NULL) {
		return et_fail(reterr, -ENOMEM, "fetch");
	}
	int rc = et_state_get_segment(v, recording, generation, segment, &s);
	rc = rc < 0 ? rc : et_state_each_copy_of(v, recording, copy_list_take, &l);
	(void)et_state_view_close(v);
	rc = rc < 0 ? et_fail(reterr, rc, "fetch") : fetch_into(m, &l, s, path, reterr);
	for (size_t i = 0; i < l.count; i++) {
		et__copy__free_unpacked(l.items[i], NULL);
	}
	if (s != NULL) {
		et__segment__free_unpacked(s, NULL);
	}
	return rc;
}

/* ---- Verify ---- */

/* One archived copy to be read. */
struct check {
	Et__Copy *copy; /* owned */
	uint8_t sha256[32];
	bool has_hash;
	uint64_t size;
};

struct check_list {
	const struct et_state_view *v;
	const struct et_mover_verify *options;
	struct check *items; /* owned */
	size_t count;
	size_t room;
};

/* Which part an object belongs to: all members of a pack to the same. */
static bool is_of_part(const struct et_mover_verify *o, const char *object)
{
	uint8_t hash[32];
	if (o->parts == 0) {
		return true;
	}
	et_sha256(object, strlen(object), hash);
	return et_get64(hash) % o->parts == (o->part - 1) % o->parts;
}

static int check_take(void *arg, const Et__Copy *copy)
{
	struct check_list *l = arg;
	const char *target = mover_target_of(copy->place);
	bool there =
		copy->state == ET__COPY__STATE__VERIFIED || copy->state == ET__COPY__STATE__BAD;
	if (target == NULL || !there || !is_of_part(l->options, copy->object) ||
	    (l->options->target != NULL && strcmp(target, l->options->target) != 0)) {
		return 0;
	}
	if (l->count == l->room) {
		size_t room = l->room == 0 ? 64 : l->room * 2;
		struct check *more = reallocarray(l->items, room, sizeof(*more));
		if (more == NULL) {
			return -ENOMEM;
		}
		l->items = more;
		l->room = room;
	}
	Et__Segment *s = NULL;
	int rc = et_state_get_segment(l->v, copy->recording.data, copy->generation, copy->segment,
				      &s);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	struct check *c = &l->items[l->count];
	const uint8_t *known = member_known(copy, s);
	*c = (struct check){ .size = s->size_bytes, .has_hash = known != NULL };
	if (known != NULL) {
		memcpy(c->sha256, known, 32);
	}
	et__segment__free_unpacked(s, NULL);
	size_t size = et__copy__get_packed_size(copy);
	uint8_t *packed = malloc(size + 1);
	if (packed != NULL) {
		(void)et__copy__pack(copy, packed);
		c->copy = et__copy__unpack(NULL, size, packed);
		free(packed);
	}
	l->count += c->copy != NULL ? 1 : 0;
	return c->copy == NULL ? -ENOMEM : 0;
}

static int check_order(const void *left, const void *right)
{
	const struct check *a = left;
	const struct check *b = right;
	int by = strcmp(a->copy->place, b->copy->place);
	by = by != 0 ? by : strcmp(a->copy->object, b->copy->object);
	if (by == 0 && a->copy->offset != b->copy->offset) {
		by = a->copy->offset < b->copy->offset ? -1 : 1;
	}
	return by;
}

static int check_sink(void *arg, const void *data, size_t size)
{
	et_sha256_add(arg, data, size);
	return 0;
}

static int check_one(struct et_bucket *b, const struct check *c, struct et_error *reterr)
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *hash = et_sha256_new();
	uint8_t found[32];
	if (hash == NULL) {
		return et_fail(reterr, -ENOMEM, "verify");
	}
	int rc = et_bucket_get(b, c->copy->object, c->copy->offset, c->size, check_sink, hash,
			       reterr);
	if (rc < 0) {
		return rc;
	}
	et_sha256_end(hash, found);
	if (!c->has_hash) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED, "the catalogue has no hash of it");
	}
	return memcmp(found, c->sha256, 32) != 0
		       ? et_fail(reterr, ET_EINTEGRITY, "'%s' at %llu", c->copy->object,
				 (unsigned long long)c->copy->offset)
		       : 0;
}

/* What is missing in the bucket is as bad as what differs. */
static bool is_bad(int code)
{
	return code == ET_EINTEGRITY || code == ET_ENOTFOUND || code == ET_EUNSUPPORTED;
}

static void check_count(struct et_mover *m, struct et_mover_verify *o, const struct check *c,
			int code, const struct et_error *e, struct et_error *first)
{
	char text[MOVER_SEGMENT_TEXT_SIZE];
	struct mover_segment id = { .generation = c->copy->generation,
				    .segment = c->copy->segment };
	memcpy(id.recording, c->copy->recording.data, 16);
	o->copies++;
	o->bytes += code == 0 ? c->size : 0;
	if (code == 0) {
		return;
	}
	mover_segment_text(id.recording, id.generation, id.segment, text);
	if (is_bad(code)) {
		if (o->bad++ == 0) {
			(void)et_fail_plain(first, ET_EINTEGRITY, "segment %s at %s: %.300s", text,
					    c->copy->place, e->text);
		}
		if (c->copy->state == ET__COPY__STATE__VERIFIED) {
			mover_report_bad(m, &id, c->copy->place, e->text);
		}
	} else if (o->unreachable++ == 0 && o->bad == 0) {
		(void)et_fail_plain(first, ET_EUNREACHABLE, "segment %s at %s: %.300s", text,
				    c->copy->place, e->text);
	}
}

static int checks_run(struct et_mover *m, struct et_mover_verify *o, struct check_list *l,
		      struct et_error *reterr)
{
	struct et_bucket *b = NULL;
	struct et_error first = { 0 };
	int opened = 0;
	int rc = 0;
	for (size_t i = 0; i < l->count && rc == 0; i++) {
		const struct check *c = &l->items[i];
		struct et_error e = { 0 };
		if (i == 0 || strcmp(l->items[i - 1].copy->place, c->copy->place) != 0) {
			b = et_bucket_close(b);
			opened = reader_open(m, mover_target_of(c->copy->place), &b, &e);
			opened = is_bad(opened) ? ET_EUNREACHABLE
						: opened; /* not the copy's fault */
		}
		int code = opened < 0 ? opened : check_one(b, c, &e);
		check_count(m, o, c, code, &e, &first);
		if (o->each != NULL) {
			rc = o->each(o->arg, c->copy, code, code == 0 ? "" : e.text);
		}
		rc = rc == 0 && atomic_load(&m->stopping) ? et_fail(reterr, ET_ECLOSED, "verify")
							  : rc;
	}
	b = et_bucket_close(b);
	if (rc == 0 && first.code != 0) {
		rc = o->bad > 0 ? ET_EINTEGRITY : ET_EUNREACHABLE;
		if (reterr != NULL) {
			*reterr = first;
		}
	}
	return rc;
}

int et_mover_verify(struct et_mover *m, struct et_mover_verify *verify, struct et_error *reterr)
{
	struct et_state_view *v = et_state_view_open(m->state);
	if (v == NULL) {
		return et_fail(reterr, -ENOMEM, "verify");
	}
	verify->copies = 0;
	verify->bytes = 0;
	verify->bad = 0;
	verify->unreachable = 0;
	struct check_list l = { .v = v, .options = verify };
	int rc = verify->recording != NULL
			 ? et_state_each_copy_of(v, verify->recording, check_take, &l)
			 : et_state_each_copy(v, check_take, &l);
	(void)et_state_view_close(v);
	if (rc == 0 && l.count > 0) {
		qsort(l.items, l.count, sizeof(*l.items), check_order);
	}
	rc = rc < 0 ? et_fail(reterr, rc, "verify") : checks_run(m, verify, &l, reterr);
	for (size_t i = 0; i < l.count; i++) {
		et__copy__free_unpacked(l.items[i].copy, NULL);
	}
	free(l.items);
	return rc;
}
