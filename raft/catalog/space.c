#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

/* Space: neither RocksDB (which would end the process) nor the log ever meets a full disk.
 *
 *   <state>/reserve    half of the reserve, preallocated: space that nobody else can take. It is
 *                      given up when others have taken nearly all the rest, so that what was
 *                      accepted can still be flushed; and made again when there is room.
 *
 *   room = free space + what the file holds
 *
 *            room < reserve       FULL: this node takes no further entries. As a follower it holds
 *                                 them back and answers heartbeats (guards.c); as a leader it hands
 *                                 over to a voter that has room.
 *   9/8 of the reserve <= room    no longer.
 *            room < 2 * reserve   near: a health code, nothing else.
 *
 * What is under way when that begins fits into the reserve: 64 MiB of entries in flight, two
 * preallocated segments of 8 MiB, memtables of 64 MiB, a compaction of a few tables. Meanwhile no
 * checkpoint is made, no file for the index, and stopping does not flush.
 *
 * The leader asks every member for its state with its clock (tick.c), and refuses proposals with
 * -ENOSPC when no majority of voters has room, or when it has none itself and nobody takes over. */

enum {
	LOOK_US = 100 * 1000,
	PEER_STALE_US = 15 * 1000 * 1000,
	HAND_OVER_US = 2 * 1000 * 1000,
	REFUSED_US = 1500 * 1000, /* how long a leader's refusal is believed */
};

static uint64_t free_bytes(const struct et_catalog *c)
{
	struct statvfs fs;

	if (c->space.probe != NULL) {
		return c->space.probe(c);
	}
	return statvfs(c->db_folder, &fs) < 0 ? UINT64_MAX / 2
					      : (uint64_t)fs.f_bavail * fs.f_frsize;
}

static uint64_t file_bytes(const struct et_catalog *c)
{
	return c->space.reserve / 2;
}

static int file_make(const char *path, uint64_t bytes)
{
	ET_CLEANUP(et_fd_closep)
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = fd < 0 ? -errno : -posix_fallocate(fd, 0, (off_t)bytes);

	if (rc == 0 && ftruncate(fd, (off_t)bytes) < 0) { /* It was of another size. */
		rc = -errno;
	}
	if (rc < 0) {
		(void)unlink(path);
	}
	return rc;
}

/* What was there before the database opens: it may need the space. */
void et_cat_space_init(struct et_catalog *c, uint64_t reserve)
{
	int n = snprintf(c->space.path, sizeof(c->space.path), "%.*sreserve",
			 (int)(strlen(c->db_folder) - 2), c->db_folder);

	et_assert(n > 0 && n < (int)sizeof(c->space.path)); /* db_folder is longer. */
	c->space.reserve = reserve;
	if (reserve == 0) {
		return;
	}
	(void)unlink(c->space.path);
	uint64_t room = free_bytes(c);
	c->space.full = room < reserve;
	c->space.near = room < 2 * reserve;
	c->space.held = !c->space.full && file_make(c->space.path, file_bytes(c)) == 0;
	atomic_store(&c->space.no_flush, c->space.full);
	if (c->space.full) {
		et_warn("catalog.disk.full", "node=%llu room_bytes=%llu reserve_bytes=%llu",
			(unsigned long long)c->node, (unsigned long long)room,
			(unsigned long long)reserve);
	}
}

struct making {
	struct cat_work work;
	char path[CAT_PATH_SIZE];
	uint64_t bytes;
	int code;
};

static void making_run(struct cat_work *w)
{
	struct making *m = ET_CONTAINER_OF(w, struct making, work);
	m->code = file_make(m->path, m->bytes);
}

static void making_after(struct cat_work *w)
{
	struct making *m = ET_CONTAINER_OF(w, struct making, work);

	w->c->space.making = false;
	w->c->space.held = m->code == 0;
	free(m);
}

static void file_make_later(struct et_catalog *c)
{
	struct making *m = et_cat_alloc(sizeof(*m));

	c->space.making = true;
	memcpy(m->path, c->space.path, sizeof(m->path));
	m->bytes = file_bytes(c);
	m->work.run = making_run;
	m->work.after = making_after;
	et_cat_work(c, &m->work);
}

static void full_set(struct et_catalog *c, bool full, uint64_t room)
{
	if (full == c->space.full) {
		return;
	}
	c->space.full = full;
	c->space.full_since_us = et_clock_mono_us();
	atomic_store(&c->space.no_flush, full);
	et_state_index_hold(c->state, full);
	if (full) {
		et_warn("catalog.disk.full", "node=%llu room_bytes=%llu reserve_bytes=%llu",
			(unsigned long long)c->node, (unsigned long long)room,
			(unsigned long long)c->space.reserve);
	} else {
		et_info("catalog.disk.room", "node=%llu room_bytes=%llu",
			(unsigned long long)c->node, (unsigned long long)room);
	}
	et_cat_schedule(c); /* What was held back goes on. */
}

static void look(struct et_catalog *c)
{
	uint64_t reserve = c->space.reserve;
	uint64_t left = free_bytes(c);
	uint64_t room = left + (c->space.held ? file_bytes(c) : 0);

	full_set(c, c->space.full ? room < reserve + reserve / 8 : room < reserve, room);
	c->space.near = room < 2 * reserve;
	if (c->space.held && left < reserve / 4) {
		(void)unlink(c->space.path);
		c->space.held = false;
		et_warn("catalog.disk.reserve", "node=%llu state=given-up free_bytes=%llu",
			(unsigned long long)c->node, (unsigned long long)left);
	} else if (!c->space.held && !c->space.making && !c->space.full) {
		file_make_later(c);
	}
}

/* ---- What voters have ---- */

void et_cat_space_of_peer(struct et_catalog *c, uint64_t node, bool full)
{
	struct cat_room *slot = &c->space.peers[0];

	for (size_t i = 0; i < ET_ARRAY_SIZE(c->space.peers); i++) {
		struct cat_room *r = &c->space.peers[i];
		if (r->node == node) {
			slot = r;
			break;
		}
		slot = r->at_us < slot->at_us ? r : slot;
	}
	*slot = (struct cat_room){ .node = node, .full = full, .at_us = et_clock_mono_us() };
}

static bool peer_is_full(const struct et_catalog *c, uint64_t node, int64_t now_us)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(c->space.peers); i++) {
		const struct cat_room *r = &c->space.peers[i];
		if (r->node == node && r->at_us != 0 && now_us - r->at_us < PEER_STALE_US) {
			return r->full;
		}
	}
	return false; /* Not known: what it does not store, it does not acknowledge. */
}

bool et_cat_space_is_short(const struct et_catalog *c)
{
	bool any = c->space.full;

	for (size_t i = 0; i < ET_ARRAY_SIZE(c->space.peers); i++) {
		any |= c->space.peers[i].full;
	}
	return any;
}

static void leader_look(struct et_catalog *c, int64_t now_us)
{
	unsigned voters = 0;
	unsigned with_room = 0;
	uint64_t other = 0;

	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		const struct raft_server *s = &c->raft.configuration.servers[i];
		if (s->role != RAFT_VOTER) {
			continue;
		}
		bool full = s->id == c->node ? c->space.full : peer_is_full(c, s->id, now_us);
		voters++;
		with_room += !full;
		if (!full && s->id != c->node && et_rpc_is_connected(c->tls, s->id)) {
			other = s->id;
		}
	}
	bool enough = with_room > voters / 2;
	bool stuck = c->space.full && now_us - c->space.full_since_us > HAND_OVER_US;
	c->disk_full = !enough || (stuck && raft_transferee(&c->raft) == 0);
	if (c->space.full && enough && other != 0 && now_us >= c->hand_over_at_us &&
	    cat_list_is_empty(&c->changes)) {
		c->hand_over_at_us = now_us + HAND_OVER_US;
		et_warn("catalog.disk.full", "node=%llu next=hand-over to=%llu",
			(unsigned long long)c->node, (unsigned long long)other);
		et_catalog_transfer(c, other, NULL, NULL);
	}
}

void et_cat_space_refused(struct et_catalog *c)
{
	c->space.refused_until_us = et_clock_mono_us() + REFUSED_US;
	c->disk_full = true;
}

void et_cat_space_timer(struct et_catalog *c, int64_t now_us)
{
	if (now_us - c->space.looked_us < LOOK_US) {
		return;
	}
	c->space.looked_us = now_us;
	if (c->space.reserve > 0) {
		look(c);
	}
	if (et_cat_is_leader(c)) {
		leader_look(c, now_us);
	} else {
		c->disk_full = now_us < c->space.refused_until_us;
	}
}
