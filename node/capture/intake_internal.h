/* All that a recorder listens to: its interfaces, or files, as one. An interface that goes away is
 * opened again when it is back; what was counted of it goes on.
 *
 * Threads: the owner's. */
#ifndef ET_NODE_CAPTURE_INTAKE_INTERNAL_H
#define ET_NODE_CAPTURE_INTAKE_INTERNAL_H

#include "node/capture/source_internal.h"

struct et_intake {
	/* Told once when a source goes away by an error; runs inside of et_intake_read(). */
	void (*lost)(void *arg, int code, const char *text);
	et_source_fn frames; /* what comes in */
	void *arg;	     /* borrowed: of both */

	bool from_files;
	uint32_t count;
	size_t ring_bytes;
	int64_t reopened_us; /* monotonic: when it was tried last */
	struct {
		struct et_source *source; /* owned; NULL: gone, or read to its end */
		char *name;		  /* owned: of the interface, to open it again */
		char *filter;		  /* owned; NULL: none */
		uint32_t rings;
		uint64_t hidden; /* that libpcap does not show: twins on loopback */
		bool drained;	 /* the last read left nothing in the ring */
		/* Over all times before that it was open. */
		struct et_capture_source_metrics past;
	} of[ET_CAPTURE_SOURCES_MAX];
};

/* What stands in `in` is kept; half of it may be open on failure: et_intake_close(). */
int et_intake_open(struct et_intake *in, const struct et_capture_config *config,
		   struct et_error *reterr) ET_MUST_CHECK;
void et_intake_close(struct et_intake *in);

/* Read each source once. Returns whether there may be more at once. */
bool et_intake_read(struct et_intake *in);
bool et_intake_is_open(const struct et_intake *in); /* is any source? */
/* Until a frame comes, or something at `fd` (-1: none), or a moment has passed. */
void et_intake_wait(const struct et_intake *in, int fd);
/* What is in the kernel's rings, in blocks that are not handed over yet. */
void et_intake_drain(struct et_intake *in);
/* Interfaces that went away: now and then. */
void et_intake_reopen(struct et_intake *in, int64_t mono_us);
/* Counters of each source, and of the kernel's for all. */
void et_intake_tell(struct et_intake *in, struct et_capture_metrics *ret);

#endif
