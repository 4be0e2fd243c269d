/* The mover on the real catalogue state and a real directory store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "archive/mover/test/world.h"

/* ---- Tests ---- */

static void plans_nothing_without_a_policy(void **state)
{
	struct world *w = *state;
	struct et_state_view *v = et_state_view_open(w->state);
	struct et_error e = { 0 };
	Et__Plan *plan = NULL;
	assert_int_equal(et_archive_plan(v, NOW_US, &plan, NULL, &e), ET_ENOTFOUND);
	assert_non_null(strstr(e.next, "policy apply"));
	(void)et_state_view_close(v);
}

static void plans_what_is_due_and_says_why(void **state)
{
	struct world *w = *state;
	struct et_archive_summary summary;
	struct tape a = tape_record(w, 1, 1000);
	struct tape b = tape_record(w, 2, 2000);
	struct tape live = tape_make(w, 3, 10);
	tape_open(w, &live);
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	Et__Plan *plan = plan_now(w, &summary);
	assert_int_equal(plan->n_items, 2);
	assert_int_equal(plan->policy_revision, 1);
	assert_string_equal(plan->items[0]->action, "upload");
	assert_memory_equal(plan->items[0]->recording.data, a.id, 16);
	assert_int_equal(plan->items[0]->node, 1);
	assert_int_equal(plan->items[0]->pack, 1);
	assert_int_equal(plan->items[1]->pack, 1);
	assert_int_equal(summary.row_count, 2);
	assert_int_equal(summary.rows[0].action, ET_ARCHIVE_UPLOAD);
	assert_int_equal(summary.rows[0].recordings, 2);
	assert_int_equal(summary.rows[0].bytes, 3000);
	assert_int_equal(summary.rows[1].action, ET_ARCHIVE_SKIP);
	assert_int_equal(summary.packs, 1);
	assert_false(summary.partial);
	et__plan__free_unpacked(plan, NULL);
	free(a.bytes);
	free(b.bytes);
	free(live.bytes);
}

static void archives_a_pack_and_reads_it_back(void **state)
{
	struct world *w = *state;
	struct tape t[3] = { tape_record(w, 1, 100000), tape_record(w, 2, 1),
			     tape_record(w, 3, 300000) };
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	for (size_t i = 0; i < 3; i++) {
		expect_archived(w, &t[i]);
		expect_readable(w, &t[i]);
		assert_int_equal(access(t[i].path, F_OK), 0);
	}
	struct et_mover_status s = status_of(w);
	assert_int_equal(s.jobs_waiting, 0);
	assert_int_equal(s.jobs_failed, 0);
	assert_int_equal(s.target_count, 1);
	assert_int_equal(s.targets[0].copies, 3);
	assert_int_equal(s.targets[0].bytes, 400001);
	assert_true(s.targets[0].last_ok_us > 0);
	Et__Plan *plan = plan_now(w, NULL);
	assert_int_equal(plan->n_items, 0);
	et__plan__free_unpacked(plan, NULL);
	for (size_t i = 0; i < 3; i++) {
		free(t[i].bytes);
	}
}

static void packs_are_filled_up_to_their_size(void **state)
{
	struct world *w = *state;
	struct tape t[5];
	for (uint8_t i = 0; i < 5; i++) {
		t[i] = tape_record(w, (uint8_t)(i + 1), 400 * 1024);
	}
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	Et__Plan *plan = plan_now(w, NULL);
	const uint32_t packs[] = { 1, 1, 2, 2, 3 };
	Et__Job **jobs = NULL;
	size_t job_count = 0;
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(plan->items[i]->pack, packs[i]);
	}
	assert_int_equal(et_archive_jobs(plan, &jobs, &job_count), 0);
	assert_int_equal(job_count, 3);
	assert_int_equal(jobs[0]->n_items, 2);
	assert_string_equal(jobs[0]->kind, "archive-upload");
	et_archive_jobs_free(jobs, job_count);
	et__plan__free_unpacked(plan, NULL);
	for (size_t i = 0; i < 5; i++) {
		free(t[i].bytes);
	}
}

static void drops_the_file_only_after_the_eviction_is_applied(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	char fetched[256];
	struct et_error e = { 0 };
	struct et_buffer bytes = { 0 };
	assert_int_equal(policy_set(w, GO, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	assert_int_equal(access(t.path, F_OK), 0);
	Et__Plan *plan = plan_now(w, NULL);
	assert_int_equal(plan->n_items, 1);
	assert_string_equal(plan->items[0]->action, "evict");
	plan_apply(w, plan);
	et__plan__free_unpacked(plan, NULL);
	wait_for(w, two_jobs_ended);
	mover_end(w); /* Takes what was applied with it. */
	assert_int_equal(access(t.path, F_OK), -1);
	assert_int_equal(copy_at(w, &t, "node:1").state, ET__COPY__STATE__EVICTED);
	mover_begin(w);
	expect_readable(w, &t);
	(void)snprintf(fetched, sizeof(fetched), "%s/fetched", w->media);
	if (et_mover_fetch(w->mover, t.id, 1, 1, fetched, &e) < 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(et_file_read(fetched, t.size + 1, &bytes, &e), 0);
	assert_int_equal(bytes.size, t.size);
	assert_memory_equal(bytes.data, t.bytes, t.size);
	et_buffer_release(&bytes);
	free(t.bytes);
}

static Et__Plan *restore_plan(struct world *w, const struct tape *t,
			      struct et_archive_restored *told)
{
	struct et_buffer ids = { 0 };
	struct et_error e = { 0 };
	Et__Plan *plan = NULL;
	struct et_state_view *v = et_state_view_open(w->state);
	et_buffer_add(&ids, t->id, 16);
	if (et_archive_restore_plan(v, &ids, 1, now(w), &plan, told, &e) < 0) {
		fail_msg("%s", e.text);
	}
	(void)et_state_view_close(v);
	et_buffer_release(&ids);
	return plan;
}

/* Two jobs have ended when this begins: the recording is in the archive only. */
static bool three_jobs_ended(const struct world *w)
{
	return w->job_ends >= 3;
}

static void brings_back_what_was_evicted(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	struct et_archive_restored told;
	struct et_buffer bytes = { 0 };
	struct et_error e = { 0 };
	assert_int_equal(policy_set(w, GO, 0), 0);
	Et__Plan *plan = restore_plan(w, &t, &told);
	assert_int_equal(plan->n_items, 0);
	assert_int_equal(told.here, 1);
	et__plan__free_unpacked(plan, NULL);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	plan_and_apply(w);
	wait_for(w, two_jobs_ended);
	mover_end(w);
	assert_int_equal(access(t.path, F_OK), -1);

	plan = restore_plan(w, &t, &told);
	assert_int_equal(plan->n_items, 1);
	assert_int_equal(told.segments, 1);
	assert_int_equal(told.bytes, 5000);
	mover_begin(w);
	plan_apply(w, plan);
	et__plan__free_unpacked(plan, NULL);
	wait_for(w, three_jobs_ended);
	assert_int_equal(status_of(w).jobs_failed, 0);
	assert_int_equal(copy_at(w, &t, "node:1").state, ET__COPY__STATE__VERIFIED);
	assert_int_equal(et_file_read(t.path, t.size + 1, &bytes, &e), 0);
	assert_int_equal(bytes.size, t.size);
	assert_memory_equal(bytes.data, t.bytes, t.size);
	expect_archived(w, &t);
	plan = restore_plan(w, &t, &told);
	assert_int_equal(plan->n_items, 0); /* it is here */
	et__plan__free_unpacked(plan, NULL);
	et_buffer_release(&bytes);
	free(t.bytes);
}

/* Each job before said once that it runs. This one says so, and then what it waits for. */
static bool the_disk_is_told_to_be_full(const struct world *w)
{
	return w->jobs_running >= 4 && et_mover_disk_full(w->mover);
}

static int job_find(void *arg, const Et__Job *job)
{
	char *error = arg;
	if (strcmp(job->kind, "archive-restore") == 0) {
		assert_string_equal(job->state, "running");
		(void)snprintf(error, 256, "%.255s", job->error);
	}
	return 0;
}

/* What is below the reserve is the recorder's: nothing comes back into it, the job waits, and says
 * what for. */
static void waits_for_room_above_the_reserve(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	struct et_archive_restored told;
	char error[256] = "";
	assert_int_equal(policy_set(w, GO, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	plan_and_apply(w);
	wait_for(w, two_jobs_ended);
	mover_end(w);
	Et__Plan *plan = restore_plan(w, &t, &told);
	assert_int_equal(plan->n_items, 1);
	w->reserve_bytes = UINT64_MAX / 2;
	mover_begin(w);
	plan_apply(w, plan);
	et__plan__free_unpacked(plan, NULL);
	wait_for(w, the_disk_is_told_to_be_full);
	struct et_state_view *v = et_state_view_open(w->state);
	assert_int_equal(et_state_each_job_of(v, 1, job_find, error), 0);
	(void)et_state_view_close(v);
	assert_non_null(strstr(error, "DISK_FULL"));
	assert_int_equal(access(t.path, F_OK), -1);
	assert_int_equal(status_of(w).targets[0].last_error_us,
			 0); /* it is not the target's fault */
	mover_end(w);
	assert_int_equal(w->job_ends, 2);

	w->reserve_bytes = 1;
	mover_begin(w);
	wait_for(w, three_jobs_ended);
	assert_false(et_mover_disk_full(w->mover));
	assert_int_equal(status_of(w).jobs_failed, 0);
	assert_int_equal(copy_at(w, &t, "node:1").state, ET__COPY__STATE__VERIFIED);
	assert_int_equal(access(t.path, F_OK), 0);
	free(t.bytes);
}

/* Of all that started after 1970. */
static void hold_all(struct world *w, bool release)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__HoldAdd add = ET__HOLD_ADD__INIT;
	Et__HoldRelease rel = ET__HOLD_RELEASE__INIT;
	Et__Hold h = ET__HOLD__INIT;
	Et__HoldScope scope = ET__HOLD_SCOPE__INIT;
	static uint8_t id[16] = { 7 };
	scope.from_us = 1;
	h.id = rel.id = (ProtobufCBinaryData){ sizeof(id), id };
	h.scope = &scope;
	add.hold = &h;
	c.body_case = release ? ET__COMMAND__BODY_HOLD_RELEASE : ET__COMMAND__BODY_HOLD_ADD;
	if (release) {
		c.hold_release = &rel;
	} else {
		c.hold_add = &add;
	}
	assert_int_equal(apply(w, &c), 0);
}

static void a_hold_of_a_scope_keeps_local_copies(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	Et__Command c = ET__COMMAND__INIT;
	Et__PlanPut put = ET__PLAN_PUT__INIT;
	Et__PlanApply apply_plan = ET__PLAN_APPLY__INIT;
	assert_int_equal(policy_set(w, GO, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	mover_end(w);
	Et__Plan *plan = plan_now(w, NULL);
	assert_string_equal(plan->items[0]->action, "evict");
	put.plan = plan;
	c.body_case = ET__COMMAND__BODY_PLAN_PUT;
	c.plan_put = &put;
	assert_int_equal(apply(w, &c), 0);
	hold_all(w, false);
	apply_plan.plan = plan->id;
	apply_plan.hash = plan->hash;
	c.body_case = ET__COMMAND__BODY_PLAN_APPLY;
	c.plan_apply = &apply_plan;
	assert_int_equal(apply(w, &c), ET_ESTALE); /* it was made before the hold */
	et__plan__free_unpacked(plan, NULL);
	plan = plan_now(w, NULL);
	assert_int_equal(plan->n_items, 0);
	et__plan__free_unpacked(plan, NULL);
	hold_all(w, true);
	plan = plan_now(w, NULL);
	assert_int_equal(plan->n_items, 1);
	et__plan__free_unpacked(plan, NULL);
	free(t.bytes);
}

static void removes_what_was_evicted_before_a_crash(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	struct tape kept = tape_record(w, 2, 5000);
	assert_int_equal(policy_set(w, GO, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	mover_end(w);
	Et__Command c = ET__COMMAND__INIT;
	Et__CopyEvict evict = ET__COPY_EVICT__INIT;
	Et__Copy copy = ET__COPY__INIT;
	Et__Copy *list[] = { &copy };
	char place[] = "node:1";
	copy.recording = (ProtobufCBinaryData){ 16, t.id };
	copy.generation = 1;
	copy.segment = 1;
	copy.place = place;
	evict.copies = list;
	evict.n_copies = 1;
	c.body_case = ET__COMMAND__BODY_COPY_EVICT;
	c.copy_evict = &evict;
	assert_int_equal(apply(w, &c), 0); /* committed, and the process died before the unlink */
	assert_int_equal(access(t.path, F_OK), 0);
	assert_int_equal(policy_set(w, KEEP, 1), 0);
	struct tape later = tape_record(w, 3, 10);
	w->job_ends = 0;
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended); /* Jobs come after what is done at the start. */
	assert_int_equal(access(t.path, F_OK), -1);
	assert_int_equal(access(kept.path, F_OK), 0);
	assert_int_equal(access(later.path, F_OK), 0);
	free(t.bytes);
	free(kept.bytes);
	free(later.bytes);
}

static unsigned files_in_store(const struct world *w)
{
	char path[160];
	unsigned n = 0;
	(void)snprintf(path, sizeof(path), "%s/packs/2026/11", w->store);
	DIR *dir = opendir(path);
	const struct dirent *e;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		n += e->d_name[0] != '.' ? 1 : 0;
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	return n;
}

static void finds_its_pack_again_after_a_crash(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 70000);
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	(void)pthread_mutex_lock(&w->lock);
	w->no_copy_add = true;
	(void)pthread_mutex_unlock(&w->lock);
	plan_and_apply(w);
	wait_for(w, copy_add_was_lost);
	mover_end(w); /* uploaded, and the catalogue does not know */
	assert_int_equal(files_in_store(w), 2);
	assert_false(copy_at(w, &t, "target:cold").found);
	assert_int_equal(w->job_ends, 0);
	w->no_copy_add = false;
	mover_begin(w);
	wait_for(w, one_job_ended);
	assert_int_equal(files_in_store(w), 2); /* the same names */
	expect_archived(w, &t);
	expect_readable(w, &t);
	free(t.bytes);
}

static void leaves_out_a_member_that_is_missing(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 70000);
	struct tape missing = tape_record(w, 2, 10);
	assert_int_equal(remove(missing.path), 0);
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	expect_archived(w, &t);
	assert_false(copy_at(w, &missing, "target:cold").found);
	struct et_mover_status s = status_of(w);
	assert_int_equal(s.jobs_failed, 1);
	assert_non_null(strstr(s.last_error, "02020202"));
	assert_int_equal(copy_at(w, &missing, "node:1").state, ET__COPY__STATE__BAD);
	free(t.bytes);
	free(missing.bytes);
}

static void goes_on_when_there_is_a_quorum_again(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 70000);
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	(void)pthread_mutex_lock(&w->lock);
	w->no_quorum = 3;
	(void)pthread_mutex_unlock(&w->lock);
	plan_and_apply(w);
	wait_for(w, quorum_is_back);
	wait_for(w, one_job_ended);
	expect_archived(w, &t);
	free(t.bytes);
}

static void waits_for_a_target_that_is_not_mounted(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 7000);
	char away[160];
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	(void)snprintf(away, sizeof(away), "%s.away", w->store);
	assert_int_equal(rename(w->store, away), 0);
	plan_and_apply(w);
	mover_begin(w);
	struct et_mover_status s = status_of(w);
	for (int64_t begin = et_clock_mono_us();
	     s.targets[0].last_error_us == 0 && et_clock_mono_us() - begin < WAIT_US;) {
		(void)usleep(10000);
		s = status_of(w);
	}
	assert_non_null(strstr(s.targets[0].last_error, w->store));
	assert_int_equal(s.jobs_waiting, 1);
	assert_int_equal(s.jobs_failed, 0);
	assert_int_equal(s.backlog_segments, 1);
	assert_int_equal(s.backlog_bytes, 7000);
	assert_true(s.oldest_us == START_US);
	assert_int_equal(access(t.path, F_OK), 0);
	assert_int_equal(rename(away, w->store), 0);
	wait_for(w, one_job_ended);
	expect_archived(w, &t);
	free(t.bytes);
}

static void never_archives_what_rotted_here(void **state)
{
	struct world *w = *state;
	struct tape good = tape_record(w, 1, 5000);
	struct tape rotten = tape_record(w, 2, 5000);
	int fd = open(rotten.path, O_RDWR | O_CLOEXEC);
	uint8_t byte = (uint8_t)(rotten.bytes[77] ^ 1);
	assert_int_equal(pwrite(fd, &byte, 1, 77), 1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(policy_set(w, GO, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	expect_archived(w, &good);
	assert_false(copy_at(w, &rotten, "target:cold").found);
	assert_int_equal(copy_at(w, &rotten, "node:1").state, ET__COPY__STATE__BAD);
	assert_int_equal(access(rotten.path, F_OK), 0);
	free(good.bytes);
	free(rotten.bytes);
}

/* ---- Verify ---- */

static char *pack_path(struct world *w, const struct tape *t)
{
	struct copy_seen s = copy_at(w, t, "target:cold");
	char *path = NULL;
	assert_true(asprintf(&path, "%s/%s", w->store, s.object) > 0);
	return path;
}

static void verifies_and_names_what_rotted_there(void **state)
{
	struct world *w = *state;
	struct tape a = tape_record(w, 1, 5000);
	struct tape b = tape_record(w, 2, 5000);
	struct et_error e = { 0 };
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	struct et_mover_verify verify = { 0 };
	assert_int_equal(et_mover_verify(w->mover, &verify, &e), 0);
	assert_int_equal(verify.copies, 2);
	assert_int_equal(verify.bytes, 10000);
	char *path = pack_path(w, &b);
	off_t at = (off_t)copy_at(w, &b, "target:cold").offset + 4321;
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte = (uint8_t)(b.bytes[4321] ^ 0x10);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	assert_int_equal(close(fd), 0);
	free(path);
	assert_int_equal(et_mover_verify(w->mover, &verify, &e), ET_EINTEGRITY);
	assert_int_equal(verify.copies, 2);
	assert_int_equal(verify.bad, 1);
	assert_non_null(strstr(e.text, "02020202-0202"));
	assert_int_equal(copy_at(w, &b, "target:cold").state, ET__COPY__STATE__BAD);
	expect_archived(w, &a);
	verify = (struct et_mover_verify){ .recording = a.id };
	assert_int_equal(et_mover_verify(w->mover, &verify, &e), 0);
	assert_int_equal(verify.copies, 1);
	free(a.bytes);
	free(b.bytes);
}

static void parts_of_a_verification_are_the_whole(void **state)
{
	struct world *w = *state;
	struct tape t[6];
	uint64_t seen = 0;
	for (uint8_t i = 0; i < 6; i++) {
		t[i] = tape_record(w, (uint8_t)(i + 1), 600 * 1024);
	}
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	for (int64_t begin = et_clock_mono_us();
	     status_of(w).jobs_waiting > 0 && et_clock_mono_us() - begin < WAIT_US;) {
		(void)usleep(10000);
	}
	for (uint32_t part = 1; part <= 3; part++) {
		struct et_mover_verify verify = { .part = part, .parts = 3 };
		assert_int_equal(et_mover_verify(w->mover, &verify, NULL), 0);
		seen += verify.copies;
	}
	assert_int_equal(seen, 6);
	for (size_t i = 0; i < 6; i++) {
		free(t[i].bytes);
	}
}

static void says_that_a_store_cannot_be_reached(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	char away[160];
	struct et_error e = { 0 };
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	(void)snprintf(away, sizeof(away), "%s.away", w->store);
	assert_int_equal(rename(w->store, away), 0);
	struct et_mover_verify verify = { 0 };
	assert_int_equal(et_mover_verify(w->mover, &verify, &e), ET_EUNREACHABLE);
	assert_int_equal(verify.unreachable, 1);
	assert_int_equal(verify.bad, 0);
	expect_archived(w, &t); /* Nothing was proved against it. */
	assert_int_equal(rename(away, w->store), 0);
	free(t.bytes);
}

/* ---- Policies ---- */

static void refuses_a_policy_that_forgets_a_target_in_use(void **state)
{
	struct world *w = *state;
	struct tape t = tape_record(w, 1, 5000);
	struct et_error e = { 0 };
	const char other[] = "targets: {new: {type: dir, path: /srv/a}}\n"
			     "rules: [{name: all, to: new}]\n";
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	struct et_state_view *v = et_state_view_open(w->state);
	assert_int_equal(et_archive_validate_against(v, other, strlen(other), "f", &e), 0);
	(void)et_state_view_close(v);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	v = et_state_view_open(w->state);
	assert_int_equal(et_archive_validate_against(v, other, strlen(other), "f", &e), ET_EPOLICY);
	assert_non_null(strstr(e.text, "cold"));
	(void)et_state_view_close(v);
	free(t.bytes);
}

static void refuses_targets_that_no_store_would_take(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *what;
	} cases[] = {
		{ "targets: {c: {type: dir, path: srv}}\nrules: [{name: a, to: c}]\n", "absolute" },
		{ "targets: {c: {type: s3, endpoint: 'ftp://x', bucket: abc, credentials: "
		  "'file:/x'}}\nrules: [{name: a, to: c}]\n",
		  "endpoint" },
		{ "targets: {c: {type: s3v2, endpoint: 'https://x', bucket: abc, credentials: "
		  "'file:/x'}}\nrules: [{name: a, to: c}]\n",
		  "s3v2 cannot verify" },
		{ "targets: {c: {type: s3, endpoint: 'https://x', bucket: B, credentials: "
		  "'file:/x'}}\nrules: [{name: a, to: c}]\n",
		  "bucket" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		struct et_error e = { 0 };
		assert_int_equal(
			et_archive_validate(cases[i].text, strlen(cases[i].text), "p.yaml", &e),
			ET_EMALFORMED);
		assert_ptr_equal(strstr(e.text, "p.yaml:1:"), e.text);
		assert_non_null(strstr(e.text, cases[i].what));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(plans_nothing_without_a_policy),
		TEST(plans_what_is_due_and_says_why),
		TEST(archives_a_pack_and_reads_it_back),
		TEST(packs_are_filled_up_to_their_size),
		TEST(drops_the_file_only_after_the_eviction_is_applied),
		TEST(brings_back_what_was_evicted),
		TEST(waits_for_room_above_the_reserve),
		TEST(a_hold_of_a_scope_keeps_local_copies),
		TEST(removes_what_was_evicted_before_a_crash),
		TEST(finds_its_pack_again_after_a_crash),
		TEST(leaves_out_a_member_that_is_missing),
		TEST(goes_on_when_there_is_a_quorum_again),
		TEST(waits_for_a_target_that_is_not_mounted),
		TEST(never_archives_what_rotted_here),
		TEST(verifies_and_names_what_rotted_there),
		TEST(parts_of_a_verification_are_the_whole),
		TEST(says_that_a_store_cannot_be_reached),
		TEST(refuses_a_policy_that_forgets_a_target_in_use),
		cmocka_unit_test(refuses_targets_that_no_store_would_take),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
