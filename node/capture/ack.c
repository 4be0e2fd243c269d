/* What waits for a sync, and the sync. A footer counts as durable when a syncfs(2) succeeded that
 * began after its write had returned. After a failed one nothing is told any more: the kernel may
 * have dropped dirty pages, and would not say so twice. */
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "node/capture/writer_internal.h"
#include "node/io/clock.h"

#define FINISH_US 1000000LL

void et_ack_free(struct et_ack *ack)
{
	(void)et_tape_close(ack->tape);
	free(ack->closing);
	free(ack);
}

void et_ack_push(struct et_writer *w, struct et_ack *ack)
{
	ack->next = NULL;
	ack->sequence = atomic_fetch_add(&w->written, 1) + 1;
	*w->acks_end = ack;
	w->acks_end = &ack->next;
}

static void tell(struct et_writer *w, struct et_ack *ack)
{
	if (ack->has_segment) {
		(void)et_writer_tell(w, ET_CAPTURE_SEGMENT_SEALED, NULL, NULL, 0, &ack->segment,
				     false);
	}
	if (ack->closing != NULL) {
		(void)et_writer_tell(w, ET_CAPTURE_RECORDING_CLOSE, &ack->closing->facts,
				     ack->closing->streams, ack->closing->count, NULL, false);
	}
	et_openlog_done(w, ack->log, ack->file);
}

static void tell_tick(struct et_writer *w)
{
	int64_t synced_us = atomic_load(&w->synced_us);
	if (synced_us == w->told_tick_us || w->config.on_event == NULL) {
		return;
	}
	w->told_tick_us = synced_us;
	struct et_capture_event ev = { .kind = ET_CAPTURE_TICK, .time_us = synced_us };
	(void)w->config.on_event(w->config.arg, &ev);
}

/* Footers that found no room: again, all of them, once a second. */
static void finish_again(struct et_writer *w)
{
	struct et_ack *list = w->unfinished;
	w->unfinished = NULL;
	w->unfinished_count = 0;
	while (list != NULL) {
		struct et_ack *ack = list;
		list = ack->next;
		if (et_segment_seal(w, ack) == 0) {
			et_ack_push(w, ack);
		} else {
			ack->next = w->unfinished;
			w->unfinished = ack;
			w->unfinished_count++;
		}
	}
}

void et_ack_poll(struct et_writer *w)
{
	int code = atomic_load(&w->sync_code);
	if (code != 0) {
		if (!w->told_failure) {
			w->told_failure = true;
			et_writer_problem(w, ET_PROBLEM_SYNC, code,
					  "syncing the media filesystem failed: nothing is "
					  "acknowledged until the store was checked by a restart");
		}
		return;
	}
	uint64_t synced = atomic_load(&w->synced);
	while (w->acks != NULL && w->acks->sequence <= synced) {
		struct et_ack *ack = w->acks;
		w->acks = ack->next;
		if (w->acks == NULL) {
			w->acks_end = &w->acks;
		}
		tell(w, ack);
		et_ack_free(ack);
	}
	et_openlog_sweep(w);
	tell_tick(w);
	if (w->unfinished != NULL &&
	    et_clock_mono_us() - w->problem_us[ET_PROBLEM_WRITE] > FINISH_US) {
		finish_again(w);
	}
	if (w->reserve_used && w->free_bytes > 2 * w->config.free_reserve_bytes &&
	    w->config.media != NULL) {
		et_reserve_make(w);
	}
}

/* Two may sync at the same time, at the end: never back. */
static void raise_synced(struct et_writer *w, uint64_t written)
{
	uint64_t before = atomic_load(&w->synced);
	while (before < written && !atomic_compare_exchange_weak(&w->synced, &before, written)) {
	}
}

void et_writer_sync(struct et_writer *w)
{
	struct statvfs fs;
	if (w->media_fd < 0) {
		return;
	}
	uint64_t written = atomic_load(&w->written);
	int64_t began_us = et_clock_now_us();
	if (syncfs(w->media_fd) < 0) {
		int code = -errno;
		int none = 0;
		w->sync_failures++;
		(void)atomic_compare_exchange_strong(&w->sync_code, &none, code);
	} else if (atomic_load(&w->sync_code) == 0) {
		raise_synced(w, written);
		atomic_store(&w->synced_us, began_us);
	}
	if (fstatvfs(w->media_fd, &fs) == 0) {
		uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
		w->free_bytes = free_bytes;
		w->refuse = free_bytes < w->config.free_reserve_bytes;
	}
}
