/* Going from a base backup to a point in time: the entries that pitr.c shipped are applied as a
 * node would.
 *
 * A time is one of the cluster's clock, which is in the log as ticks: the restored state has all
 * that was committed before the first tick after it, so up to one tick more than was asked for.
 *
 * Entries overlap (several nodes may write into one folder): each index is applied once. Where a
 * log says which digest the state had before its first entry or after its last, the restored state
 * must have it.
 *
 * A restore has the keys of its base. Logs from behind a rotation of the CA or of the KEK are under
 * others: they are refused, with the point where the keys changed and what to restore instead.
 * There is a base from then (pitr.c), which is chosen by itself for all points behind it. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/daemon/daemon_internal.h"
#include "node/daemon/restore_internal.h"
#include "node/io/clock.h"

#define STREAM_MAX (ET_ENTRY_SIZE_MAX + 12 + ET_BACKUP_CHUNK_MAX)

/* ---- Choosing ---- */

static int at_parse(struct restore_log *l, const char *at, struct et_error *reterr)
{
	char *end = NULL;

	if (at == NULL) {
		return 0;
	}
	if (et_time_parse(at, &l->at_us) && strchr(at, '-') != NULL) {
		return 0;
	}
	l->at_us = 0;
	l->at_index = strtoull(at, &end, 10);
	if (*at < '0' || *at > '9' || *end != '\0' || l->at_index == 0) {
		return et_fail_plain(
			reterr, ET_EUSAGE,
			"--at is a log index, or a time such as 2026-11-28T10:00:00Z, not "
			"\"%.60s\"",
			at);
	}
	return 0;
}

static int head_of(const char *path, struct et_backup_head *ret)
{
	struct et_backup_reader *r = NULL;

	int rc = et_backup_open(path, &r, NULL);
	if (rc == 0) {
		*ret = *et_backup_head(r);
		ret->ca = ret->members = (struct et_view){ NULL, 0 };
		ret->grant_count = 0;
	}
	(void)et_backup_close(r);
	return rc;
}

static bool base_fits(const struct restore_log *l, const struct et_backup_head *h)
{
	return h->kind == ET_BACKUP_BASE && (l->at_index == 0 || h->index <= l->at_index) &&
	       (l->at_us == 0 || h->made_us <= l->at_us);
}

int restore_log_choose(struct restore_log *l, const char *path, const char *at,
		       struct et_error *reterr)
{
	struct stat st;
	struct et_backup_head h;
	uint64_t best = 0;

	int rc = at_parse(l, at, reterr);
	if (rc < 0) {
		return rc;
	}
	if (stat(path, &st) < 0) {
		return et_fail(reterr, -errno, "open '%s'", path);
	}
	if (!S_ISDIR(st.st_mode)) {
		(void)snprintf(l->base, sizeof(l->base), "%.4000s", path);
		return at == NULL ? 0
				  : et_fail_plain(reterr, ET_EUSAGE,
						  "--at needs a folder with base backups and logs");
	}
	(void)snprintf(l->folder, sizeof(l->folder), "%.4000s", path);
	DIR *dir = opendir(path);
	for (const struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL;
	     e = readdir(dir)) {
		char one[4400];
		(void)snprintf(one, sizeof(one), "%.4000s/%.255s", path, e->d_name);
		if (e->d_name[0] != '.' && head_of(one, &h) == 0 && base_fits(l, &h) &&
		    h.index >= best) {
			best = h.index;
			(void)snprintf(l->base, sizeof(l->base), "%.4190s", one);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	return l->base[0] != '\0'
		       ? 0
		       : et_fail_plain(reterr, ET_ENOTFOUND,
				       "'%.200s' holds no base backup from before that point",
				       path);
}

/* ---- Applying ---- */

struct log_file {
	char path[4400];
	uint64_t index;
};

static int by_index(const void *a, const void *b)
{
	const struct log_file *x = a;
	const struct log_file *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

static bool is_of_base(const struct et_backup_head *h, const struct et_backup_head *base)
{
	return memcmp(h->cluster_id, base->cluster_id, 16) == 0 && h->epoch == base->epoch;
}

static int logs_find(const struct restore_log *l, struct log_file **ret, size_t *ret_count,
		     struct et_error *reterr)
{
	struct log_file *list = NULL;
	size_t count = 0;

	DIR *dir = opendir(l->folder);
	if (dir == NULL) {
		return et_fail(reterr, -errno, "read '%s'", l->folder);
	}
	for (const struct dirent *e = readdir(dir); e != NULL && count < RESTORE_LOGS_MAX;
	     e = readdir(dir)) {
		struct et_backup_head h;
		struct log_file one;
		(void)snprintf(one.path, sizeof(one.path), "%.4000s/%.255s", l->folder, e->d_name);
		if (e->d_name[0] == '.' || head_of(one.path, &h) < 0 || h.kind != ET_BACKUP_LOG ||
		    !is_of_base(&h, l->from)) {
			continue;
		}
		struct log_file *more = realloc(list, (count + 1) * sizeof(*list));
		if (more == NULL) {
			free(list);
			(void)closedir(dir);
			return et_fail(reterr, -ENOMEM, "read '%s'", l->folder);
		}
		list = more;
		one.index = h.index;
		list[count++] = one;
	}
	(void)closedir(dir);
	if (count > 0) {
		qsort(list, count, sizeof(*list), by_index);
	}
	*ret = list;
	*ret_count = count;
	return 0;
}

/* Does a tick of this entry lie behind the point? */
static int tick_behind(void *arg, uint32_t position, struct et_view packed)
{
	const struct restore_log *l = arg;
	Et__Command *c = NULL;
	bool behind = false;

	(void)position;
	if (et_command_unpack(packed.data, packed.size, &c, NULL) == 0) {
		behind = c->body_case == ET__COMMAND__BODY_TICK && c->tick->time_us > l->at_us;
		et_command_free(c);
	}
	return behind ? ET_EDEGRADED : 0; /* ends the walk */
}

/* The first base of the folder that is not before `from`. */
static uint64_t base_after(const struct restore_log *l, uint64_t from)
{
	uint64_t first = 0;
	DIR *dir = opendir(l->folder);

	for (const struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL;
	     e = readdir(dir)) {
		struct et_backup_head h;
		char one[4400];
		(void)snprintf(one, sizeof(one), "%.4000s/%.255s", l->folder, e->d_name);
		if (e->d_name[0] != '.' && head_of(one, &h) == 0 && h.kind == ET_BACKUP_BASE &&
		    is_of_base(&h, l->from) && h.index >= from && (first == 0 || h.index < first)) {
			first = h.index;
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	return first;
}

/* What is behind index `at` is under other keys than the base: say so, and what can be done. */
static int keys_differ(const struct restore_log *l, const char *what, unsigned long long at,
		       struct et_error *reterr)
{
	unsigned long long next = base_after(l, at + 1);

	int rc = et_fail_plain(
		reterr, ET_ENOKEY,
		"behind index %llu %s: a restore does not go over a rotation of keys", at, what);
	if (next != 0) {
		(void)et_fail_next(reterr,
				   "--at %llu or later: a base backup was made then, under the new "
				   "keys (with shares: those of then); or --at %llu: as far as the "
				   "old ones go",
				   next, at);
	} else {
		(void)et_fail_next(reterr,
				   "--at %llu: as far as these keys go; what is behind it needs a "
				   "base backup from after the rotation",
				   at);
	}
	return rc;
}

/* Number of the CA that issues; 0: it cannot be read. */
static uint32_t issuer_of(struct et_state *state)
{
	struct et_state_view *v = et_state_view_open(state);
	Et__Cluster *cluster = NULL;
	uint32_t number = 0;

	if (v != NULL && et_state_get_cluster(v, &cluster) == 0) {
		number = et_state_ca_number(cluster, 0);
		et__cluster__free_unpacked(cluster, NULL);
	}
	(void)et_state_view_close(v);
	return number;
}

/* May this entry make another CA issue? */
static int ca_moves(void *arg, uint32_t position, struct et_view packed)
{
	Et__Command *c = NULL;
	bool moves = false;

	(void)arg;
	(void)position;
	if (et_command_unpack(packed.data, packed.size, &c, NULL) == 0) {
		moves = c->body_case == ET__COMMAND__BODY_CA_STEP ||
			c->body_case == ET__COMMAND__BODY_CA_ROTATE;
		et_command_free(c);
	}
	return moves ? ET_EDEGRADED : 0; /* ends the walk */
}

static int state_digest(struct et_state *state, uint8_t ret[32])
{
	struct et_state_view *v = et_state_view_open(state);
	int rc = v == NULL ? -ENOMEM : et_state_digest(v, NULL, ret);

	(void)et_state_view_close(v);
	return rc;
}

/* The point is not in these logs: what can be done without what is missing. */
static int as_far_as(int rc, uint64_t index, struct et_error *reterr)
{
	(void)et_fail_next(reterr,
			   "put the log-*.evbk that are missing beside them; or --at %llu: as far "
			   "as these go",
			   (unsigned long long)index);
	return rc;
}

static int entry_apply(struct restore_log *l, struct et_state *state, uint64_t index,
		       struct et_view entry, struct et_error *reterr)
{
	uint64_t applied = et_state_applied(state);

	if (index <= applied || l->reached) {
		return 0;
	}
	if (index != applied + 1) {
		int hole = et_fail_plain(reterr, ET_EINTEGRITY,
					 "the logs have a hole: entry %llu follows %llu",
					 (unsigned long long)index, (unsigned long long)applied);
		return as_far_as(hole, applied, reterr);
	}
	if ((l->at_index != 0 && index > l->at_index) ||
	    (l->at_us != 0 && entry.size > 0 &&
	     et_entry_each(entry.data, entry.size, tick_behind, l) == ET_EDEGRADED)) {
		l->reached = true;
		return 0;
	}
	et_state_begin(state);
	int rc = et_state_apply(state, index, entry, reterr);
	int committed = et_state_commit(state, NULL, NULL, reterr);
	l->applied += rc == 0;
	rc = rc < 0 ? rc : committed;
	if (rc == 0 && entry.size > 0 &&
	    et_entry_each(entry.data, entry.size, ca_moves, NULL) == ET_EDEGRADED &&
	    issuer_of(state) != l->issuer) { /* whose key is not here */
		return keys_differ(l, "another CA issues", index - 1, reterr);
	}
	return rc;
}

/* Whole entries at the front of the stream are applied; what is left stays. */
static int stream_apply(struct restore_log *l, struct et_state *state, struct et_buffer *stream,
			struct et_error *reterr)
{
	size_t at = 0;
	int rc = 0;

	while (rc == 0 && stream->size - at >= 12) {
		uint32_t size = et_get32(stream->data + at + 8);
		if (size > ET_ENTRY_SIZE_MAX) {
			return et_fail(reterr, ET_EINTEGRITY, "an entry of a log");
		}
		if (stream->size - at - 12 < size) {
			break;
		}
		rc = entry_apply(l, state, et_get64(stream->data + at),
				 (struct et_view){ stream->data + at + 12, size }, reterr);
		at += 12 + (size_t)size;
	}
	memmove(stream->data, stream->data + at, stream->size - at);
	stream->size -= at;
	return rc;
}

static int log_read(struct restore_log *l, struct et_backup_reader *r, struct et_state *state,
		    struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer stream = { 0 };
	enum et_backup_type type = ET_BACKUP_ENTRIES;
	struct et_view chunk;
	uint8_t digest[32];
	int rc = 0;

	while (rc == 0 && type != ET_BACKUP_END) {
		rc = et_backup_next(r, &type, &chunk, reterr);
		if (rc < 0 || type == ET_BACKUP_END) {
			break;
		}
		et_buffer_add(&stream, chunk.data, chunk.size);
		rc = type != ET_BACKUP_ENTRIES || stream.failed || stream.size > STREAM_MAX
			     ? et_fail(reterr, ET_EINTEGRITY, "a log of backups")
			     : stream_apply(l, state, &stream, reterr);
	}
	if (rc < 0 || l->reached || et_get64(chunk.data) != et_state_applied(state)) {
		return rc;
	}
	rc = state_digest(state, digest);
	return rc == 0 && memcmp(digest, chunk.data + 8, 32) != 0
		       ? et_fail_plain(
				 reterr, ET_EINTEGRITY,
				 "after index %llu the restored state is not the one that was "
				 "shipped",
				 (unsigned long long)et_state_applied(state))
		       : rc;
}

/* May its entries be applied, by who has made it? ET_EREFUSED: it is passed over. What is from
 * before the base, and under keys of before, nobody needs; nor is a stolen node heard. Others have
 * what comes behind the base, if anybody has: a hole is found. */
static int log_trust(const struct restore_log *l, const struct et_backup_head *h,
		     struct et_state *state, const struct et_secret *ca_key,
		     struct et_error *reterr)
{
	int maker = restore_maker_state(state, h->node, h->sign_public);

	if (h->kek_version < l->from->kek_version || maker == ET__NODE_STATE__REVOKED) {
		return ET_EREFUSED;
	}
	if (maker >= 0 && maker != ET__NODE_STATE__REMOVED) {
		return 0;
	}
	int rc = et_keeper_backup_trust(ca_key, l->from->ca, h->members, h->node, h->sign_public,
					reterr);
	return rc == ET_EUNTRUSTED && h->index < l->from->index ? ET_EREFUSED : rc;
}

static int log_apply(struct restore_log *l, const struct log_file *f, struct et_state *state,
		     const struct et_secret *kek, const struct et_secret *ca_key,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_backup_closep) struct et_backup_reader *r = NULL;
	static const uint8_t unknown[32];
	uint8_t digest[32];

	int rc = et_backup_open(f->path, &r, reterr);
	if (rc < 0) {
		return rc;
	}
	const struct et_backup_head *h = et_backup_head(r);
	rc = log_trust(l, h, state, ca_key, reterr);
	if (rc < 0) {
		return rc == ET_EREFUSED ? 0 : rc;
	}
	if (f->index > et_state_applied(state)) {
		rc = et_fail_plain(
			reterr, ET_EINTEGRITY,
			"the logs have a hole: '%.200s' begins behind index %llu, the state "
			"is at %llu",
			f->path, (unsigned long long)f->index,
			(unsigned long long)et_state_applied(state));
		return as_far_as(rc, et_state_applied(state), reterr);
	}
	rc = et_backup_check(r, reterr);
	if (rc < 0) {
		return rc;
	}
	if (h->kek_version > l->from->kek_version) {
		char what[80];
		(void)snprintf(what, sizeof(what), "the logs are under KEK version %u, not %u",
			       h->kek_version, l->from->kek_version);
		return keys_differ(l, what, et_state_applied(state), reterr);
	}
	rc = et_backup_unlock(r, kek, reterr);
	if (rc == 0 && h->index == et_state_applied(state) && memcmp(h->digest, unknown, 32) != 0) {
		rc = state_digest(state, digest);
		if (rc == 0 && memcmp(digest, h->digest, 32) != 0) {
			rc = et_fail_plain(reterr, ET_EINTEGRITY,
					   "'%.200s' follows another state than the restored one",
					   f->path);
		}
	}
	return rc < 0 ? rc : log_read(l, r, state, reterr);
}

/* The point was not passed: what lies between the end of the logs and it is not known. */
static int time_missed(const struct restore_log *l, struct et_state *state, struct et_error *reterr)
{
	struct et_state_view *v = et_state_view_open(state);
	Et__Cluster *cluster = NULL;

	int rc = v == NULL ? -ENOMEM : et_state_get_cluster(v, &cluster);
	(void)et_state_view_close(v);
	if (rc < 0) {
		return et_fail(reterr, rc, "the restored state");
	}
	rc = et_fail_plain(reterr, ET_ENOTFOUND,
			   "the logs end at index %llu, %lld s before that point in cluster time",
			   (unsigned long long)et_state_applied(state),
			   (long long)((l->at_us - cluster->cluster_time_us) / 1000000));
	et__cluster__free_unpacked(cluster, NULL);
	return et_fail_next(reterr, "the same without --at: as far as the logs go"), rc;
}

int restore_log_apply(struct restore_log *l, const struct et_backup_head *base,
		      struct et_state *state, const struct et_secret *kek,
		      const struct et_secret *ca_key, struct et_error *reterr)
{
	struct log_file *files = NULL;
	size_t count = 0;

	if (l->folder[0] == '\0') {
		return 0;
	}
	l->from = base;
	l->issuer = issuer_of(state);
	int rc = logs_find(l, &files, &count, reterr);
	for (size_t i = 0; i < count && rc == 0 && !l->reached; i++) {
		rc = log_apply(l, &files[i], state, kek, ca_key, reterr);
		l->reached |= l->at_index != 0 && et_state_applied(state) == l->at_index;
	}
	free(files);
	if (rc == 0 && l->at_index != 0 && et_state_applied(state) < l->at_index) {
		rc = et_fail_plain(reterr, ET_ENOTFOUND, "the logs end at index %llu, before %llu",
				   (unsigned long long)et_state_applied(state),
				   (unsigned long long)l->at_index);
		rc = as_far_as(rc, et_state_applied(state), reterr);
	}
	return rc == 0 && l->at_us != 0 && !l->reached ? time_missed(l, state, reterr) : rc;
}
