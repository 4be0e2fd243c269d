/* Sites and the status that other threads may read. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

#define COUNT_EASY 10000		     /* segments that are counted at every tick */
#define COUNT_HARD_US (2 * INT64_C(1000000)) /* more of them are counted this often */

struct site *et_sync_site_of(struct et_sync *s, const char *name)
{
	for (uint32_t i = 0; i < s->site_count; i++) {
		if (strcmp(s->sites[i].st.site, name) == 0) {
			return &s->sites[i];
		}
	}
	if (s->site_count == ET_SYNC_SITES_MAX) {
		return NULL;
	}
	struct site *site = &s->sites[s->site_count++];
	memset(site, 0, sizeof(*site));
	(void)snprintf(site->st.site, sizeof(site->st.site), "%s", name);
	return site;
}

void et_sync_site_error(struct et_sync *s, struct site *site, int code, const char *text)
{
	(void)s;
	if (site == NULL) {
		return;
	}
	site->st.errors++;
	site->st.last_error_us = et_clock_now_us();
	(void)snprintf(site->st.last_error, sizeof(site->st.last_error), "%s",
		       text != NULL && text[0] != '\0' ? text : et_strerror(code));
}

void et_sync_count_received(struct et_sync *s, struct site *site, uint8_t klass, uint64_t bytes)
{
	s->class_bytes[klass] += bytes;
	if (site != NULL) {
		site->st.received_bytes += bytes;
	}
}

/* Half of the new value in every second or so. */
static uint64_t smooth(uint64_t rate, uint64_t bytes, int64_t elapsed_us)
{
	double now = (double)bytes * 1e6 / (double)elapsed_us;
	double part = (double)elapsed_us / 1e6;
	part = part < 1 ? part : 1;
	return (uint64_t)((double)rate * (1 - part) + now * part);
}

void et_sync_status_tick(struct et_sync *s)
{
	int64_t now = et_clock_mono_us();
	int64_t elapsed = now - s->ticked_us;

	if (elapsed <= 0) {
		return;
	}
	for (uint32_t i = 0; i < s->site_count; i++) {
		struct site *site = &s->sites[i];
		struct et_sync_site *st = &site->st;
		st->receive_bytes_per_s = smooth(st->receive_bytes_per_s,
						 st->received_bytes - site->last_in, elapsed);
		st->send_bytes_per_s =
			smooth(st->send_bytes_per_s, st->sent_bytes - site->last_out, elapsed);
		site->last_in = st->received_bytes;
		site->last_out = st->sent_bytes;
	}
	for (int k = 0; k < ET_SYNC_CLASSES; k++) {
		uint64_t *rate = &s->queue.bytes_per_s[k];
		*rate = smooth(*rate, s->class_bytes[k], elapsed);
		s->class_bytes[k] = 0;
	}
	et_gate_tick(s, now, elapsed);
	s->ticked_us = now;
}

void et_sync_status_publish(struct et_sync *s)
{
	int64_t now = et_clock_mono_us();
	if (s->table.count < COUNT_EASY || now - s->counted_us > COUNT_HARD_US) {
		et_sync_queue_count(s);
		s->counted_us = now;
	}
	(void)pthread_mutex_lock(&s->status_mutex);
	struct et_sync_status *st = &s->status;
	st->site_count = s->site_count;
	for (uint32_t i = 0; i < s->site_count; i++) {
		st->sites[i] = s->sites[i].st;
	}
	st->transfers = s->pull_count;
	st->serving = s->serving;
	st->connections = s->link_count;
	st->unacknowledged = s->acks.count + s->acks.unanswered;
	st->scanned_index = s->table.scan_index;
	st->bad_copies = s->bad_copies;
	st->disk_full = s->full_until_us != 0;
	st->queue = s->queue;
	st->tails = s->tails.st;
	st->limits_revision = s->limits.revision;
	memcpy(st->limits_error, s->limits.error, sizeof(st->limits_error));
	(void)pthread_mutex_unlock(&s->status_mutex);
}

void et_sync_get_status(struct et_sync *s, struct et_sync_status *ret)
{
	(void)pthread_mutex_lock(&s->status_mutex);
	*ret = s->status;
	(void)pthread_mutex_unlock(&s->status_mutex);
}
