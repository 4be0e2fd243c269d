#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tests/bench/live/live.h"
#include "node/capture/capture.h"
#include "node/crypto/sign.h"

enum { QUIET_MS = 1000, SAMPLE_S = 5, END_S = 60 };

static int say_ready(int fd, struct et_error *reterr)
{
	return write(fd, "r", 1) == 1 ? 0 : et_fail(reterr, -errno, "tell that it has begun");
}

/* ---- Count only --------------------------------------------------------------------------------
 */

static void count_one(u_char *arg, const struct pcap_pkthdr *head, const u_char *data)
{
	uint64_t *count = (uint64_t *)(void *)arg;
	(void)head;
	(void)data;
	(*count)++;
}

static int count_until(pcap_t *pcap, int stop_fd, uint64_t *ret)
{
	struct pollfd fds[2] = { { .fd = pcap_get_selectable_fd(pcap), .events = POLLIN },
				 { .fd = stop_fd, .events = POLLIN } };
	bool stopping = false;
	for (;;) {
		int n = pcap_dispatch(pcap, 4096, count_one, (u_char *)ret);
		if (n < 0) {
			return -EIO;
		}
		if (n > 0) {
			continue;
		}
		/* After the stop: until nothing came for a while. */
		int ready = poll(fds, stopping ? 1 : 2, QUIET_MS);
		if (stopping && ready == 0) {
			return 0;
		}
		stopping = stopping || fds[1].revents != 0;
	}
}

int live_count(const struct live_plan *plan, const char *name, int ready_fd, int stop_fd,
	       struct live_got *ret, struct et_error *reterr)
{
	char text[PCAP_ERRBUF_SIZE];
	struct pcap_stat stat;
	*ret = (struct live_got){ .received = 0 };
	pcap_t *pcap = pcap_create(name, text);
	if (pcap == NULL) {
		return et_fail(reterr, -ENODEV, "'%s': %s", name, text);
	}
	/* As node/capture opens it. */
	(void)pcap_set_snaplen(pcap, 65535);
	(void)pcap_set_promisc(pcap, 1);
	(void)pcap_set_timeout(pcap, 20);
	(void)pcap_set_buffer_size(pcap, (int)plan->ring_bytes);
	int rc = pcap_activate(pcap) < 0 || pcap_setnonblock(pcap, 1, text) < 0 ? -EIO : 0;
	rc = rc == 0 ? say_ready(ready_fd, reterr) : rc;
	rc = rc == 0 ? count_until(pcap, stop_fd, &ret->received) : rc;
	if (rc == 0 && pcap_stats(pcap, &stat) == 0) {
		ret->kernel_dropped = stat.ps_drop;
	}
	pcap_close(pcap);
	return rc < 0 ? et_fail(reterr, rc, "count on '%s'", name) : 0;
}

/* ---- Record ------------------------------------------------------------------------------------
 */

/* Runs on the writer thread; read when that has ended. */
static int on_event(void *arg, const struct et_capture_event *ev)
{
	struct live_got *got = arg;
	got->opened += ev->kind == ET_CAPTURE_SEGMENT_OPEN;
	got->sealed += ev->kind == ET_CAPTURE_SEGMENT_SEALED;
	got->problems += ev->kind == ET_CAPTURE_PROBLEM;
	return 0;
}

static uint64_t resident(void)
{
	unsigned long pages[2] = { 0, 0 };
	FILE *f = fopen("/proc/self/statm", "re");
	if (f != NULL) {
		if (fscanf(f, "%lu %lu", &pages[0], &pages[1]) != 2) {
			pages[1] = 0;
		}
		(void)fclose(f);
	}
	return (uint64_t)pages[1] * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void sample_until(int stop_fd, struct live_got *got)
{
	struct pollfd fd = { .fd = stop_fd, .events = POLLIN };
	got->rss_idle = resident();
	while (poll(&fd, 1, SAMPLE_S * 1000) == 0) {
		if (got->rss_count < LIVE_RSS_MAX) {
			got->rss[got->rss_count++] = resident();
		}
	}
}

/* All calls are over, and what they sent is written. */
static void await_end(struct et_capture *c, struct et_capture_metrics *m)
{
	for (int i = 0; i < END_S; i++) {
		et_capture_metrics(c, m);
		if (m->calls_live == 0 && m->packets.pending == 0 && m->queue_bytes == 0) {
			break;
		}
		(void)poll(NULL, 0, QUIET_MS);
	}
	(void)poll(NULL, 0, 2 * QUIET_MS); /* counters are published once a second */
	et_capture_metrics(c, m);
}

static void tell(const struct et_capture_metrics *m, struct live_got *ret)
{
	ret->received = m->kernel_received;
	ret->kernel_dropped = m->kernel_dropped;
	ret->total = m->packets.total;
	ret->sip = m->packets.sip;
	ret->rtp = m->packets.rtp;
	ret->rtcp = m->packets.rtcp;
	for (int i = 0; i < ET_OTHER_COUNT; i++) {
		ret->other += m->packets.other[i];
	}
	for (int i = 0; i < ET_UNCLAIMED_COUNT; i++) {
		ret->unclaimed += m->packets.unclaimed[i];
	}
	ret->pending = m->packets.pending;
	ret->media_dropped = m->media_dropped;
	ret->tape_packets = m->tape_packets;
	ret->tape_bytes = m->tape_bytes;
	ret->calls = m->calls_total;
}

int live_record(const struct live_plan *plan, const char *name, const char *media, int ready_fd,
		int stop_fd, struct live_got *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *sign = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *kek = NULL;
	uint8_t sign_public[32];
	struct et_capture *capture = NULL;
	struct et_capture_metrics metrics;
	*ret = (struct live_got){ .received = 0 };
	struct et_capture_config config = {
		.sources = { { .interface = name, .rings = plan->rings } },
		.source_count = 1,
		.media = media,
		.node = 1,
		.site = "bench",
		.kek_version = 1,
		/* What a flood began ends before its end is waited for. */
		.limits = { .ring_bytes = plan->ring_bytes,
			    .setup_timeout_s = plan->flood > 0 ? 5 : 0 },
		.on_event = on_event,
		.arg = ret,
	};
	int rc = et_ed25519_generate(&sign, sign_public, reterr);
	rc = rc == 0 ? et_x25519_generate(&kek, config.kek_public, reterr) : rc;
	config.sign_key = sign;
	rc = rc == 0 ? et_capture_start(&config, &capture, reterr) : rc;
	if (rc < 0) {
		return rc;
	}
	rc = say_ready(ready_fd, reterr);
	if (rc == 0) {
		sample_until(stop_fd, ret);
		await_end(capture, &metrics);
	}
	(void)et_capture_stop(capture);
	if (rc == 0) {
		tell(&metrics, ret);
	}
	return rc;
}
