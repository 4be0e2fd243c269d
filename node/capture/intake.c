#include "node/capture/intake_internal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/io/clock.h"

enum {
	READ_MAX = 2048, /* frames of one source before the next one has its turn */
	POLL_MS = 20,
};

#define REOPEN_US 5000000LL
#define DRAIN_US 60000LL /* above the timeout of a ring's block */
#define DEFAULT_RING_BYTES ((size_t)64 * 1024 * 1024)

/* ---- Life ------------------------------------------------------------------------------------ */

static int open_one(struct et_intake *in, uint32_t i, const struct et_capture_source *s,
		    struct et_error *reterr)
{
	struct et_capture_source_metrics *past = &in->of[i].past;
	const char *name = s->file != NULL ? s->file : s->interface;
	int rc = s->file != NULL ? et_source_open_file(s->file, &in->of[i].source, reterr)
				 : et_source_open_interface(s->interface, s->filter, in->ring_bytes,
							    s->rings, &in->of[i].source, reterr);
	if (rc < 0) {
		return rc;
	}
	in->count = i + 1;
	const size_t size = strlen(name);
	const size_t most = sizeof(past->name) - 1;
	(void)snprintf(past->name, sizeof(past->name), "%s",
		       size > most ? name + (size - most) : name);
	if (s->interface != NULL) {
		in->of[i].rings = s->rings;
		in->of[i].name = strdup(s->interface);
		in->of[i].filter = s->filter != NULL ? strdup(s->filter) : NULL;
		if (in->of[i].name == NULL || (s->filter != NULL && in->of[i].filter == NULL)) {
			return et_fail(reterr, -ENOMEM, "capture");
		}
	}
	return 0;
}

int et_intake_open(struct et_intake *in, const struct et_capture_config *config,
		   struct et_error *reterr)
{
	in->ring_bytes =
		config->limits.ring_bytes != 0 ? config->limits.ring_bytes : DEFAULT_RING_BYTES;
	if (config->source_count > ET_CAPTURE_SOURCES_MAX) {
		return et_fail(reterr, ET_EUSAGE, "capture: more than %d sources",
			       ET_CAPTURE_SOURCES_MAX);
	}
	for (uint32_t i = 0; i < config->source_count; i++) {
		const struct et_capture_source *s = &config->sources[i];
		const bool is_file = s->file != NULL;
		if (is_file == (s->interface != NULL) || (i > 0 && is_file != in->from_files)) {
			return et_fail(reterr, ET_EUSAGE,
				       "capture: sources are interfaces, or files, not both");
		}
		in->from_files = is_file;
		int rc = open_one(in, i, s, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

void et_intake_close(struct et_intake *in)
{
	for (uint32_t i = 0; i < in->count; i++) {
		in->of[i].source = et_source_close(in->of[i].source);
		free(in->of[i].name);
		free(in->of[i].filter);
	}
	in->count = 0;
}

bool et_intake_is_open(const struct et_intake *in)
{
	for (uint32_t i = 0; i < in->count; i++) {
		if (in->of[i].source != NULL) {
			return true;
		}
	}
	return false;
}

void et_intake_reopen(struct et_intake *in, int64_t mono_us)
{
	if (in->from_files || mono_us - in->reopened_us < REOPEN_US) {
		return;
	}
	in->reopened_us = mono_us;
	for (uint32_t i = 0; i < in->count; i++) {
		struct et_error error;
		if (in->of[i].source == NULL &&
		    et_source_open_interface(in->of[i].name, in->of[i].filter, in->ring_bytes,
					     in->of[i].rings, &in->of[i].source, &error) < 0) {
			in->of[i].source = NULL; /* it was told when it went away */
		}
	}
}

/* ---- Counters -------------------------------------------------------------------------------- */

static void add(struct et_capture_source_metrics *to, const struct et_source_stats *now)
{
	to->packets += now->read;
	to->received += now->received;
	to->dropped += now->dropped;
	to->interface_dropped += now->interface_dropped;
}

/* What the kernel counts of a source that is open stands beside what was read of it. */
static void tell_one(struct et_intake *in, uint32_t i, struct et_capture_source_metrics *ret)
{
	struct et_source_stats now = { .received = 0 };

	*ret = in->of[i].past;
	ret->open = in->of[i].source != NULL;
	if (ret->open) {
		et_source_stats(in->of[i].source, &now);
		add(ret, &now);
	}
	const uint64_t gone = now.dropped + now.read;
	const uint64_t unread = now.received > gone ? now.received - gone : 0;
	if (in->of[i].drained) {
		in->of[i].hidden = unread;
	}
	ret->waiting = unread > in->of[i].hidden ? unread - in->of[i].hidden : 0;
}

void et_intake_tell(struct et_intake *in, struct et_capture_metrics *ret)
{
	ret->source_count = in->count;
	for (uint32_t i = 0; i < in->count; i++) {
		tell_one(in, i, &ret->sources[i]);
		ret->kernel_received += ret->sources[i].received;
		ret->kernel_dropped += ret->sources[i].dropped;
		ret->interface_dropped += ret->sources[i].interface_dropped;
	}
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void source_over(struct et_intake *in, uint32_t i)
{
	struct et_source_stats stats;
	et_source_stats(in->of[i].source, &stats);
	add(&in->of[i].past, &stats);
	in->of[i].hidden = 0;
	in->of[i].source = et_source_close(in->of[i].source);
}

bool et_intake_read(struct et_intake *in)
{
	bool more = false;
	for (uint32_t i = 0; i < in->count; i++) {
		struct et_error error = { .text = "" };
		if (in->of[i].source == NULL) {
			continue;
		}
		int n = et_source_read(in->of[i].source, READ_MAX, in->frames, in->arg, &error);
		in->of[i].drained = n < READ_MAX;
		if (n < 0) {
			source_over(in, i);
			in->lost(in->arg, n, error.text);
		} else if (n == 0 && in->from_files) {
			source_over(in, i);
		}
		more = more || n >= READ_MAX || (in->from_files && n > 0);
	}
	return more;
}

void et_intake_wait(const struct et_intake *in, int fd)
{
	struct pollfd fds[ET_CAPTURE_SOURCES_MAX + 1];
	nfds_t count = 0;
	if (fd >= 0) {
		fds[count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	for (uint32_t i = 0; i < in->count; i++) {
		if (in->of[i].source != NULL && et_source_fd(in->of[i].source) >= 0) {
			fds[count++] = (struct pollfd){ .fd = et_source_fd(in->of[i].source),
							.events = POLLIN };
		}
	}
	(void)poll(fds, count, POLL_MS);
}

void et_intake_drain(struct et_intake *in)
{
	int64_t until_us = et_clock_mono_us() + DRAIN_US;
	while (!in->from_files && et_intake_is_open(in) && et_clock_mono_us() < until_us) {
		if (!et_intake_read(in)) {
			et_intake_wait(in, -1);
		}
	}
}
