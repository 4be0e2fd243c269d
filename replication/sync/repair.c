/* Repair: what has fewer good copies than placement wants, and what to do about it now.
 *
 * Placement repairs by itself, for ever, with pauses between attempts (table.c). A repair that is
 * asked for ends these pauses, and looks into quarantine: a file there that verifies again (its
 * disk failed to read it, memory erred) takes its old place, when its site still lacks a copy.
 *
 * Possible failure modes are those of a fetch; what no node and no archive holds stays as it is,
 * and et_sync_repair_each() says so.
 *
 * Threads: noted at each part. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "replication/sync/sync_internal.h"

#define PLAN_MAX (1024 * 1024) /* segments that one look takes; more: *ret_more */

/* ---- What is to be repaired: any thread that may wait ---- */

static void item_fill(const struct et_look *look, const struct et_look_result *r,
		      struct et_sync_repair_item *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->recording, r->key.recording, sizeof(ret->recording));
	ret->generation = r->key.generation;
	ret->segment = r->key.segment;
	ret->size_bytes = r->expect.size_bytes;
	ret->klass = r->klass;
	ret->archived = r->archived;
	for (uint32_t i = 0; i < look->site_count; i++) {
		if ((r->missing >> i & 1) != 0 && ret->site_count < ET_SYNC_REPAIR_SITES) {
			(void)snprintf(ret->sites[ret->site_count++], sizeof(ret->sites[0]), "%s",
				       look->sites[i]);
		}
	}
	ret->source_count = r->source_count;
	for (uint32_t i = 0; i < r->source_count; i++) {
		ret->sources[i] = r->sources[i].node;
	}
	ret->bad_count = r->bad_count;
	memcpy(ret->bad, r->bad, sizeof(ret->bad));
	ret->gone = r->source_count == 0 && !r->archived;
}

/* Every one of them that has to be somewhere. A result of `fn` that is not 0 ends it. */
static int keys_look(struct et_state *state, uint64_t node, const struct et_key *keys, size_t count,
		     int (*fn)(void *arg, const struct et_look *look,
			       const struct et_look_result *r),
		     void *arg)
{
	struct et_look look = { .state = state, .node = node };
	int rc = 0;

	look.results = calloc(ET_LOOK_BATCH, sizeof(*look.results));
	if (look.results == NULL) {
		return -ENOMEM;
	}
	for (size_t at = 0; at < count && rc == 0; at += look.count) {
		look.count = count - at < ET_LOOK_BATCH ? (uint32_t)(count - at) : ET_LOOK_BATCH;
		for (uint32_t i = 0; i < look.count; i++) {
			look.results[i].key = keys[at + i];
		}
		et_look_run(&look);
		for (uint32_t i = 0; i < look.count && rc == 0; i++) {
			const struct et_look_result *r = &look.results[i];
			rc = r->code == 0	       ? fn(arg, &look, r)
			     : r->code == ET_ENOTFOUND ? 0
						       : r->code;
		}
	}
	free(look.results);
	return rc;
}

struct keys {
	struct et_key *list; /* owned */
	size_t count;
};

static int keys_add(void *arg, const Et__Segment *segment)
{
	struct keys *k = arg;
	struct et_key *list = realloc(k->list, (k->count + 1) * sizeof(*list));

	if (list == NULL) {
		return -ENOMEM;
	}
	k->list = list;
	memcpy(list[k->count].recording, segment->recording.data, 16);
	list[k->count].generation = segment->generation;
	list[k->count++].segment = segment->segment;
	return 0;
}

static int keys_of(struct et_state *state, const uint8_t *ids, size_t count, struct keys *ret)
{
	struct et_state_view *view = et_state_view_open(state);
	int rc = view == NULL ? -ENOMEM : 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = et_state_each_segment_of(view, ids + i * 16, keys_add, ret);
	}
	(void)et_state_view_close(view);
	return rc;
}

struct listing {
	int (*fn)(void *arg, const struct et_sync_repair_item *item);
	void *arg;
};

static int listing_add(void *arg, const struct et_look *look, const struct et_look_result *r)
{
	const struct listing *l = arg;
	struct et_sync_repair_item item;

	if (r->missing == 0) {
		return 0; /* It was just repaired. */
	}
	item_fill(look, r, &item);
	return l->fn(l->arg, &item);
}

int et_sync_repair_each(struct et_state *state, const uint8_t *ids, size_t count,
			int (*fn)(void *arg, const struct et_sync_repair_item *item), void *arg,
			bool *ret_more, struct et_error *reterr)
{
	struct keys keys = { 0 };
	struct et_scan scan = { .state = state, .max = PLAN_MAX };
	int rc = 0;

	if (count > 0) {
		rc = keys_of(state, ids, count, &keys);
	} else {
		rc = et_look_scan(&scan, reterr);
		keys = (struct keys){ scan.keys, scan.count };
	}
	*ret_more = scan.more;
	struct listing listing = { fn, arg };
	rc = rc < 0 ? rc : keys_look(state, 0, keys.list, keys.count, listing_add, &listing);
	free(keys.list);
	return rc < 0 ? et_fail(reterr, rc, "look for what lacks copies") : rc;
}

/* ---- Files in quarantine that verify again: a worker ---- */

struct repair {
	struct et_post post;
	struct et_sync *s; /* borrowed */
	uv_work_t work;
	struct et_look_result *adopted; /* owned: in place again, to be acknowledged */
	size_t adopted_count;
	size_t count;  /* of ids; 0: all */
	uint8_t ids[]; /* 16 bytes each */
};

static bool repair_means(const struct repair *r, const uint8_t recording[16])
{
	bool is = r->count == 0;
	for (size_t i = 0; i < r->count && !is; i++) {
		is = memcmp(r->ids + i * 16, recording, 16) == 0;
	}
	return is;
}

/* "<us>-<recording>-...": the recording, and the name that the file had. */
static bool quarantine_name(const char *name, uint8_t recording[16], const char **ret_was)
{
	char id[ET_UUID_TEXT_SIZE];
	const char *was = name + strspn(name, "0123456789");

	if (was == name || *was++ != '-' || strlen(was) < ET_UUID_TEXT_SIZE) {
		return false;
	}
	(void)snprintf(id, sizeof(id), "%.36s", was);
	*ret_was = was;
	return et_uuid_parse(id, recording);
}

/* Is it wanted here, does it verify, is its place free? Then it is there again. */
static void quarantine_try(struct repair *r, const struct et_look_result *look, const char *path)
{
	char place[ET_STORE_PATH_MAX];
	struct et_error error = { 0 };
	struct stat st;

	int n = snprintf(place, sizeof(place), "%s/%s", r->s->media, look->file);
	if (n < 0 || (size_t)n >= sizeof(place) || !et_store_file_ok(look->file) ||
	    look->turn == ET_PLAN_NO_TURN || lstat(place, &st) == 0 ||
	    et_store_publish(path, place, &look->expect, &error) < 0) {
		return;
	}
	struct et_look_result *more = realloc(r->adopted, (r->adopted_count + 1) * sizeof(*more));
	if (more == NULL) {
		return; /* It is there: a look finds it, verifies it, and says so. */
	}
	r->adopted = more;
	r->adopted[r->adopted_count++] = *look;
	et_info("repair.adopted", "file=%s", look->file);
}

struct quarantined {
	struct repair *r;
	const char *was;  /* the name that the file had */
	const char *path; /* where it is */
};

static int quarantined_look(void *arg, const struct et_look *look, const struct et_look_result *one)
{
	const struct quarantined *q = arg;
	const char *slash = strrchr(one->file, '/');

	(void)look;
	if (slash != NULL && strcmp(slash + 1, q->was) == 0) {
		quarantine_try(q->r, one, q->path);
	}
	return 0;
}

/* The segments of the recording whose file had that name. */
static void quarantine_one(struct quarantined *q, const uint8_t recording[16])
{
	struct et_sync *s = q->r->s;
	struct keys keys = { 0 };

	int rc = keys_of(s->state, recording, 1, &keys);
	rc = rc < 0 ? rc : keys_look(s->state, s->node, keys.list, keys.count, quarantined_look, q);
	if (rc < 0) {
		et_warn("repair.look", "file=%s error=%s", q->was, et_errname(rc));
	}
	free(keys.list);
}

static void repair_run(uv_work_t *work)
{
	struct repair *r = ET_CONTAINER_OF(work, struct repair, work);
	char folder[ET_STORE_PATH_MAX];
	struct dirent *entry;

	(void)snprintf(folder, sizeof(folder), "%s/quarantine", r->s->media);
	DIR *dir = et_store_is(r->s->media, r->s->store_uuid) ? opendir(folder) : NULL;
	while (dir != NULL && !atomic_load(&r->s->stopping) && (entry = readdir(dir)) != NULL) {
		char path[ET_STORE_PATH_MAX + NAME_MAX + 2];
		uint8_t recording[16];
		const char *was = NULL;
		if (!quarantine_name(entry->d_name, recording, &was) ||
		    !repair_means(r, recording)) {
			continue;
		}
		(void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		struct quarantined q = { r, was, path };
		quarantine_one(&q, recording);
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
}

/* ---- The sync thread ---- */

static void repair_free(struct repair *r)
{
	free(r->adopted);
	free(r);
}

static void repair_after(uv_work_t *work, int status)
{
	struct repair *r = ET_CONTAINER_OF(work, struct repair, work);
	struct et_sync *s = r->s;

	et_sync_work_done(s);
	for (size_t i = 0; status == 0 && i < r->adopted_count; i++) {
		et_ack_add(s, &r->adopted[i]);
	}
	if (!s->stopping) {
		s->full_until_us = 0;
		et_table_hurry(s, r->count > 0 ? r->ids : NULL, r->count);
		et_table_scan_soon(s, 0);
		et_table_run(s);
	}
	repair_free(r);
}

static void repair_on_sync(struct et_post *post)
{
	struct repair *r = ET_CONTAINER_OF(post, struct repair, post);

	if (r->s->stopping || et_sync_work(r->s, &r->work, repair_run, repair_after) < 0) {
		repair_free(r);
	}
}

int et_sync_repair(struct et_sync *s, const uint8_t *ids, size_t count)
{
	struct repair *r = calloc(1, sizeof(*r) + count * 16);

	if (r == NULL) {
		return -ENOMEM;
	}
	r->s = s;
	r->count = count;
	if (count > 0) {
		memcpy(r->ids, ids, count * 16);
	}
	r->post.fn = repair_on_sync;
	int rc = et_post(&s->box, &r->post);
	if (rc < 0) {
		repair_free(r);
	}
	return rc;
}
