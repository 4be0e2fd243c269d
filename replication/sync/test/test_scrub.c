/* Scrub: what it finds, where it goes on, and what it leaves alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "replication/sync/test/kit.h"

static struct et_sync_scrub scrub_of(const struct node *n)
{
	static struct et_sync_scrub st;
	et_sync_scrub_status(n->sync, &st);
	return st;
}

static bool pass_over(const struct node *n, uint64_t pass)
{
	struct et_sync_scrub st = scrub_of(n);
	return st.pass == pass && !st.running;
}

/* Segments of prg, with a copy at brq. */
static size_t copied(struct cluster *c, struct node *prg, struct node *brq, size_t count,
		     uint32_t records)
{
	size_t first = 0;
	for (size_t i = 0; i < count; i++) {
		size_t segment = segment_seal(c, prg, records, 1000);
		first = i == 0 ? segment : first;
	}
	for (size_t i = first; i < first + count; i++) {
		run_until(c, fake_has(&c->state, i, brq->id));
	}
	run_until(c, is_settled(brq));
	return first;
}

static void reads_every_copy_and_says_how_many(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	uint64_t bytes = 0;

	sync_start(prg);
	sync_start(brq);
	size_t first = copied(c, prg, brq, 100, 3); /* more than a batch */
	for (size_t i = first; i < first + 100; i++) {
		bytes += c->state.segments[i].expect.size_bytes;
	}
	assert_int_equal(scrub_of(brq).pass, 0);
	assert_int_equal(scrub_of(brq).next_us, 0);
	et_sync_scrub_start(brq->sync, 0, "somebody");
	run_until(c, pass_over(brq, 1));
	struct et_sync_scrub st = scrub_of(brq);
	assert_int_equal(st.copies, 100);
	assert_int_equal(st.bytes, bytes);
	assert_int_equal(st.bad, 0);
	assert_string_equal(st.by, "somebody");
	assert_true(st.ended_us >= st.begun_us && st.begun_us > 0);
	assert_int_equal(c->bad_proposals, 0);
	assert_int_equal(files_in(brq, "quarantine"), 0);
}

static void finds_rot_and_has_it_replaced(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	char path[600];

	sync_start(prg);
	sync_start(brq);
	size_t first = copied(c, prg, brq, 10, 10);
	path_of(c, brq, first + 3, path);
	flip(path, 160 + 3 * 1020 + 500);
	path_of(c, brq, first + 7, path);
	assert_int_equal(unlink(path), 0);
	et_sync_scrub_start(brq->sync, 0, "test");
	run_until(c, pass_over(brq, 1));
	assert_int_equal(scrub_of(brq).copies, 10);
	assert_int_equal(scrub_of(brq).bad, 2);
	run_until(c, c->bad_proposals == 2 && fake_has(&c->state, first + 3, brq->id) &&
			     fake_has(&c->state, first + 7, brq->id));
	assert_same_file(c, prg, brq, first + 3);
	assert_same_file(c, prg, brq, first + 7);
	assert_int_equal(files_in(brq, "quarantine"), 1);
	run_until(c, is_settled(brq));
	et_sync_scrub_start(brq->sync, 0, "test");
	run_until(c, pass_over(brq, 2));
	assert_int_equal(scrub_of(brq).bad, 0);
}

static void the_last_copy_is_kept_though_it_is_bad(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	char path[600];
	uint8_t *before = NULL;
	uint8_t *after = NULL;

	sync_start(prg);
	size_t segment = segment_seal(c, prg, 10, 1000);
	path_of(c, prg, segment, path);
	flip(path, 160 + 3 * 1020 + 500);
	size_t size = file_load(path, &before);
	et_sync_scrub_start(prg->sync, 0, "test");
	run_until(c, pass_over(prg, 1) && c->bad_proposals == 1);
	assert_int_equal(files_in(prg, "quarantine"), 1);
	char folder[300];
	(void)snprintf(folder, sizeof(folder), "%s/quarantine", prg->media);
	DIR *dir = opendir(folder);
	struct dirent *entry;
	while ((entry = readdir(dir)) != NULL && entry->d_name[0] == '.') {
	}
	(void)snprintf(path, sizeof(path), "%s/%.250s", folder, entry->d_name);
	(void)closedir(dir);
	assert_int_equal(file_load(path, &after), size);
	assert_memory_equal(before, after, size);
	free(before);
	free(after);
	run_until(c, status_of(prg).queue.gone_segments == 1); /* And it says so. */
}

/* The state file as it stands, or in its place. */
static size_t saved(const struct node *n, uint8_t **ret)
{
	char path[300];
	(void)snprintf(path, sizeof(path), "%s/scrub.json", n->media);
	return file_load(path, ret);
}

static void put_back(const struct node *n, const uint8_t *data, size_t size)
{
	char path[300];
	(void)snprintf(path, sizeof(path), "%s/scrub.json", n->media);
	assert_int_equal(et_file_publish(path, data, size, 0600, NULL), 0);
}

static void goes_on_where_it_was_after_a_restart(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	uint8_t *text = NULL;
	char path[600];

	sync_start(prg);
	sync_start(brq);
	size_t first = copied(c, prg, brq, 12, 20); /* 20 kB each */
	et_sync_scrub_start(brq->sync, 100000, "test");
	run_until(c, scrub_of(brq).copies >= 3);
	sync_stop(brq);
	sync_start(brq);
	struct et_sync_scrub st = scrub_of(brq);
	assert_true(st.running && st.pass == 1 && st.copies >= 3 && st.copies < 12);
	assert_int_equal(st.rate, 100000);

	/* As after kill -9: what was saved is older than what was done. */
	size_t size = saved(brq, &text);
	uint64_t then = st.copies;
	run_until(c, scrub_of(brq).copies >= then + 2);
	sync_stop(brq);
	put_back(brq, text, size);
	free(text);
	path_of(c, brq, first + 11, path);
	flip(path, 160 + 3 * 1020 + 500);
	sync_start(brq);
	assert_true(scrub_of(brq).copies < 12);		   /* It may have gone on already. */
	et_sync_scrub_start(brq->sync, 100000000, "test"); /* The same pass, faster. */
	run_until(c, pass_over(brq, 1));
	assert_int_equal(scrub_of(brq).copies, 12);
	assert_int_equal(scrub_of(brq).bad, 1);
	run_until(c, fake_has(&c->state, first + 11, brq->id) && c->bad_proposals == 1);
}

static void what_was_found_is_told_after_a_crash(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	char path[600];

	sync_start(prg);
	sync_start(brq);
	size_t first = copied(c, prg, brq, 4, 3);
	path_of(c, brq, first + 1, path);
	flip(path, 160 + 500);
	c->refuse_quorum = 1000000; /* CopyBad is not committed before it crashes. */
	et_sync_scrub_start(brq->sync, 0, "test");
	run_until(c, scrub_of(brq).copies == 4 && scrub_of(brq).error[0] != '\0');
	assert_true(scrub_of(brq).running && scrub_of(brq).bad == 1);
	sync_stop(brq);
	assert_int_equal(c->bad_proposals, 0);
	assert_true(fake_has(&c->state, first + 1, brq->id)); /* the catalogue thinks */
	c->refuse_quorum = 0;
	sync_start(brq);
	/* The saved cursor is not behind what was not told. */
	run_until(c, c->bad_proposals == 1 && fake_has(&c->state, first + 1, brq->id));
	assert_same_file(c, prg, brq, first + 1);
}

static void a_folder_that_is_not_the_store_loses_nothing(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	char tapes[300];
	char away[300];
	char uuid[300];

	sync_start(prg);
	sync_start(brq);
	(void)copied(c, prg, brq, 5, 3);
	(void)snprintf(tapes, sizeof(tapes), "%s/tapes", brq->media);
	(void)snprintf(away, sizeof(away), "%s/away", brq->media);
	(void)snprintf(uuid, sizeof(uuid), "%s/store.uuid", brq->media);
	assert_int_equal(rename(tapes, away), 0); /* As when it is not mounted. */
	assert_int_equal(unlink(uuid), 0);
	et_sync_scrub_start(brq->sync, 0, "test");
	run_until(c, scrub_of(brq).error[0] != '\0');
	assert_true(scrub_of(brq).running);
	assert_int_equal(scrub_of(brq).bad, 0);
	assert_int_equal(c->bad_proposals, 0);
	assert_int_equal(rename(away, tapes), 0);
	store_make(brq->media);
	(void)et_sync_scrub_stop(brq->sync); /* It may have gone on by itself, and be through. */
	assert_false(et_sync_scrub_stop(brq->sync));
	et_sync_scrub_start(brq->sync, 0, "test");
	run_until(c, pass_over(brq, 2));
	assert_int_equal(scrub_of(brq).copies, 5);
	assert_int_equal(scrub_of(brq).error[0], '\0');
	assert_int_equal(c->bad_proposals, 0);
}

static void what_cannot_be_read_is_not_called_verified(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	char path[600];

	sync_start(prg);
	size_t segment = segment_seal(c, prg, 3, 1000);
	(void)segment_seal(c, prg, 3, 1000);
	path_of(c, prg, segment, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/nowhere", path), 0); /* Not followed: it does not open. */
	et_sync_scrub_start(prg->sync, 0, "test");
	run_until(c, pass_over(prg, 1));
	assert_int_equal(scrub_of(prg).copies, 1);
	assert_int_equal(scrub_of(prg).bad, 0);
	assert_int_equal(c->bad_proposals, 0);
}

static int64_t test_fresh_us(void *arg)
{
	return atomic_load((atomic_int *)arg);
}

static void does_not_go_by_a_catalogue_that_is_behind(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	atomic_int fresh = 0;

	c->tuning.fresh_us = test_fresh_us;
	c->tuning.fresh_arg = &fresh;
	sync_start(prg);
	et_sync_scrub_start(prg->sync, 0, "test");
	int64_t until = et_clock_mono_us() + 300000; /* What it does not know of yet. */
	run_until(c, et_clock_mono_us() > until);
	assert_true(scrub_of(prg).running);
	assert_int_equal(scrub_of(prg).error[0], '\0');
	(void)segment_seal(c, prg, 3, 1000);
	atomic_store(&fresh, 1);
	run_until(c, pass_over(prg, 1));
	assert_int_equal(scrub_of(prg).copies, 1);
}

static void begins_by_itself_when_its_time_has_come(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");

	c->tuning.scrub_every_us = 700000;
	sync_start(prg);
	(void)segment_seal(c, prg, 3, 1000);
	assert_true(scrub_of(prg).next_us > 0);
	run_until(c, scrub_of(prg).pass >= 2);
	assert_string_equal(scrub_of(prg).by, "schedule");
	assert_false(scrub_of(prg).late);
	run_until(c, !scrub_of(prg).running);
	assert_int_equal(scrub_of(prg).copies, 1);

	/* What is in the file counts from one start to the next. */
	sync_stop(prg);
	c->tuning.scrub_every_us = INT64_C(3600000000);
	sync_start(prg);
	int64_t next = scrub_of(prg).next_us - et_clock_now_us();
	assert_true(next > INT64_C(3500000000) && next <= INT64_C(3600000000));
}

static void keeps_to_its_rate(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	uint64_t bytes = 0;

	sync_start(prg);
	for (int i = 0; i < 4; i++) {
		size_t segment = segment_seal(c, prg, 20, 10000);
		bytes += c->state.segments[segment].expect.size_bytes; /* 800 kB in all */
	}
	int64_t begin = et_clock_mono_us();
	et_sync_scrub_start(prg->sync, 400000, "test");
	run_until(c, pass_over(prg, 1));
	int64_t took = et_clock_mono_us() - begin;
	assert_true(took > (int64_t)bytes * 1000000 / 400000 / 2);
	assert_int_equal(scrub_of(prg).bytes, bytes);
}

static void a_damaged_file_of_state_is_no_reason_to_stop(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	static const char *const damaged[] = {
		"",
		"{",
		"[]",
		"{\"store\": 5}",
		"{\"store\": \"" STORE_UUID "\", \"at\": \"x\"}",
		"{\"store\": \"another\", \"running\": true, \"at\": "
		"\"018f2b9c-0000-7000-8000-000000000001\"}",
		"{\"store\": \"" STORE_UUID "\", \"pass\": -7, \"rate\": -1, \"at\": "
		"\"018f2b9c-0000-7000-8000-000000000001\"}",
	};

	(void)segment_seal(c, prg, 3, 1000);
	for (size_t i = 0; i < ET_ARRAY_SIZE(damaged); i++) {
		put_back(prg, (const uint8_t *)damaged[i], strlen(damaged[i]));
		sync_start(prg);
		assert_false(scrub_of(prg).running);
		assert_int_equal(scrub_of(prg).pass, 0);
		et_sync_scrub_start(prg->sync, 0, "test");
		run_until(c, pass_over(prg, 1));
		assert_int_equal(scrub_of(prg).copies, 1);
		sync_stop(prg);
	}
}

/* ---- Disks that err ---- */

/* Of one file the page cache has another byte than the disk: until it is dropped. */
static _Atomic ino_t poisoned;
/* The disk as a whole does not answer: what the page cache has of its UUID is all that is left. */
static atomic_bool dead;
static _Atomic ino_t uuid;
static char uuid_path[300];

static ino_t ino_of(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

static bool is_file(int fd, ino_t ino)
{
	struct stat st;
	return ino != 0 && fstat(fd, &st) == 0 && st.st_ino == ino;
}

/* In place of libc's, for all of this program. */
ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
	if (atomic_load(&dead)) {
		errno = EIO;
		return -1;
	}
	ssize_t n = syscall(SYS_pread64, fd, data, size, offset);
	if (n > 0 && is_file(fd, atomic_load(&poisoned))) {
		((uint8_t *)data)[n - 1] ^= 0x08;
	}
	return n;
}

int posix_fadvise(int fd, off_t offset, off_t size, int advice)
{
	if (advice == POSIX_FADV_DONTNEED && is_file(fd, atomic_load(&poisoned))) {
		atomic_store(&poisoned, 0);
	}
	if (advice == POSIX_FADV_DONTNEED && atomic_load(&dead) &&
	    is_file(fd, atomic_load(&uuid))) {
		(void)unlink(uuid_path); /* It cannot be read any more. */
	}
	return syscall(SYS_fadvise64, fd, offset, size, advice) == 0 ? 0 : errno;
}

static void an_error_of_memory_marks_no_copy(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct checked k;
	char path[600];

	sync_start(prg);
	size_t segment = segment_seal(c, prg, 3, 1000);
	path_of(c, prg, segment, path);
	atomic_store(&poisoned, ino_of(path));
	check(c, prg, segment, &k);
	assert_int_equal(k.code, 0);
	assert_int_equal(atomic_load(&poisoned), 0); /* It was read again, from the disk. */
	assert_int_equal(files_in(prg, "quarantine"), 0);
	assert_int_equal(c->bad_proposals, 0);
}

static void a_disk_that_does_not_answer_loses_nothing(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");

	sync_start(prg);
	for (int i = 0; i < 3; i++) {
		(void)segment_seal(c, prg, 3, 1000);
	}
	(void)snprintf(uuid_path, sizeof(uuid_path), "%s/store.uuid", prg->media);
	atomic_store(&uuid, ino_of(uuid_path));
	atomic_store(&dead, true);
	et_sync_scrub_start(prg->sync, 0, "test");
	run_until(c, scrub_of(prg).error[0] != '\0' || c->bad_proposals > 0);
	assert_true(scrub_of(prg).running);
	assert_int_equal(scrub_of(prg).bad, 0);
	assert_int_equal(c->bad_proposals, 0);
	assert_int_equal(files_in(prg, "quarantine"), 0);

	atomic_store(&dead, false); /* And it is back. */
	store_make(prg->media);
	(void)et_sync_scrub_stop(prg->sync); /* As above. */
	et_sync_scrub_start(prg->sync, 0, "test");
	run_until(c, pass_over(prg, 2));
	assert_int_equal(scrub_of(prg).copies, 3);
	assert_int_equal(scrub_of(prg).bad, 0);
}

/* ---- Repair ---- */

struct plan {
	size_t count;
	struct et_sync_repair_item last;
};

static int plan_add(void *arg, const struct et_sync_repair_item *item)
{
	struct plan *p = arg;
	p->count++;
	p->last = *item;
	return 0;
}

static struct plan plan_of(struct cluster *c, size_t segment)
{
	struct plan all = { 0 };
	struct plan one = { 0 };
	bool more = true;
	const uint8_t *id = c->state.segments[segment].expect.recording;

	assert_int_equal(et_sync_repair_each(&c->state, NULL, 0, plan_add, &all, &more, NULL), 0);
	assert_false(more);
	assert_int_equal(et_sync_repair_each(&c->state, id, 1, plan_add, &one, &more, NULL), 0);
	assert_int_equal(one.count, all.count); /* The tests have one at most. */
	return one;
}

static void says_what_can_be_repaired_and_from_where(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	struct node *vie = node_add(c, "vie");

	size_t segment = segment_seal(c, prg, 3, 1000);
	fake_copy_set(&c->state, segment, brq->id, ET__COPY__STATE__VERIFIED);
	fake_copy_set(&c->state, segment, vie->id, ET__COPY__STATE__VERIFIED);
	assert_int_equal(plan_of(c, segment).count, 0);

	fake_copy_set(&c->state, segment, vie->id, ET__COPY__STATE__BAD);
	struct plan p = plan_of(c, segment);
	assert_int_equal(p.count, 1);
	assert_int_equal(p.last.site_count, 1);
	assert_string_equal(p.last.sites[0], "vie");
	assert_int_equal(p.last.source_count, 2);
	assert_int_equal(p.last.sources[0], prg->id); /* the owner first */
	assert_int_equal(p.last.sources[1], brq->id);
	assert_int_equal(p.last.bad_count, 1);
	assert_int_equal(p.last.bad[0], vie->id);
	assert_false(p.last.gone);
	assert_int_equal(p.last.klass, ET_SYNC_REPAIR);

	fake_copy_set(&c->state, segment, prg->id, ET__COPY__STATE__BAD);
	fake_copy_set(&c->state, segment, brq->id, ET__COPY__STATE__BAD);
	p = plan_of(c, segment);
	assert_int_equal(p.count, 1);
	assert_int_equal(p.last.site_count, 3);
	assert_int_equal(p.last.source_count, 0);
	assert_int_equal(p.last.bad_count, 3);
	assert_true(p.last.gone);
}

static void a_repair_waits_for_no_pause(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");

	c->tuning.backoff_ms = 3600000; /* It would not come back in this test. */
	sync_start(brq);
	size_t segment = segment_seal(c, prg, 3, 1000);
	run_until(c, status_of(brq).queue.rows[ET_SYNC_NEW][ET_SYNC_NO_ROUTE].segments == 1);
	sync_start(prg);
	assert_int_equal(et_sync_repair(brq->sync, c->state.segments[segment].expect.recording, 1),
			 0);
	run_until(c, fake_has(&c->state, segment, brq->id));
}

static void what_verifies_again_leaves_quarantine(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	char path[600];

	/* The only two copies: one in quarantine though it is good, one that is bad there. */
	sync_start(prg);
	size_t good = segment_seal(c, prg, 3, 1000);
	size_t bad = segment_seal(c, prg, 3, 1000);
	for (int i = 0; i < 2; i++) {
		path_of(c, prg, i == 0 ? good : bad, path);
		flip(path, 160 + 500);
	}
	et_sync_scrub_start(prg->sync, 0, "test");
	run_until(c, pass_over(prg, 1) && c->bad_proposals == 2);
	assert_int_equal(files_in(prg, "quarantine"), 2);
	char folder[300];
	(void)snprintf(folder, sizeof(folder), "%s/quarantine", prg->media);
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char id[ET_UUID_TEXT_SIZE];
	et_uuid_format(c->state.segments[good].expect.recording, id);
	while ((entry = readdir(dir)) != NULL) {
		if (strstr(entry->d_name, id) != NULL) {
			(void)snprintf(path, sizeof(path), "%s/%.250s", folder, entry->d_name);
			flip(path, 160 + 500); /* As it was: the disk reads it again. */
		}
	}
	(void)closedir(dir);
	run_until(c, status_of(prg).queue.gone_segments == 2);
	assert_int_equal(et_sync_repair(prg->sync, NULL, 0), 0);
	run_until(c, fake_has(&c->state, good, prg->id));
	sync_start(brq);
	run_until(c, fake_has(&c->state, good, brq->id));
	assert_same_file(c, prg, brq, good);
	assert_int_equal(files_in(prg, "quarantine"), 1);
	assert_false(fake_has(&c->state, bad, prg->id));
	run_until(c, status_of(prg).queue.gone_segments == 1);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cluster_open, cluster_close)
	const struct CMUnitTest tests[] = {
		TEST(reads_every_copy_and_says_how_many),
		TEST(finds_rot_and_has_it_replaced),
		TEST(the_last_copy_is_kept_though_it_is_bad),
		TEST(goes_on_where_it_was_after_a_restart),
		TEST(what_was_found_is_told_after_a_crash),
		TEST(a_folder_that_is_not_the_store_loses_nothing),
		TEST(what_cannot_be_read_is_not_called_verified),
		TEST(does_not_go_by_a_catalogue_that_is_behind),
		TEST(begins_by_itself_when_its_time_has_come),
		TEST(keeps_to_its_rate),
		TEST(a_damaged_file_of_state_is_no_reason_to_stop),
		TEST(an_error_of_memory_marks_no_copy),
		TEST(a_disk_that_does_not_answer_loses_nothing),
		TEST(says_what_can_be_repaired_and_from_where),
		TEST(a_repair_waits_for_no_pause),
		TEST(what_verifies_again_leaves_quarantine),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]); /* One of them, by name. */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
