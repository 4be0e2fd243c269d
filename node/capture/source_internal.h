/* Where packets come from: an interface (TPACKET_V3 through libpcap) or a capture file.
 *
 * Threads: one owner. */
#ifndef ET_NODE_CAPTURE_SOURCE_INTERNAL_H
#define ET_NODE_CAPTURE_SOURCE_INTERNAL_H

#include "node/capture/packet_internal.h"

struct et_source;

enum { ET_SOURCE_BATCH = 16 }; /* what the frames of one call touch fits the first cache */

/* Some frames, in order: at least one, at most ET_SOURCE_BATCH. They are gone after the call. Their
 * times are from 1970 to the end of the year 9999, whatever a file says. */
typedef void (*et_source_fn)(void *arg, const struct et_frame *frames, size_t count);

int et_source_open_file(const char *path, struct et_source **ret,
			struct et_error *reterr) ET_MUST_CHECK;
/* With more than one ring (up to ET_CAPTURE_RINGS_MAX; 0: one) the kernel has a fanout group of
 * them (packet(7)): both ways of a flow, and all fragments of a datagram, come through the same
 * one. So the frames of a flow are in order, those of two flows may be out of it by the time-out of
 * a block (20 ms), and so may fragments and whole datagrams of one: what says no ports is spread by
 * its addresses. The kernel puts no fragments together: all rings are read here, and what is
 * missing of a datagram is counted. Frames of before the group was whole come once. */
int et_source_open_interface(const char *name, const char *filter, size_t ring_bytes,
			     uint32_t rings, struct et_source **ret,
			     struct et_error *reterr) ET_MUST_CHECK;
struct et_source *et_source_close(struct et_source *s);

/* Up to `max` frames into `fn`, some at a time. Returns how many; 0: none now (interface) or the
 * end (file). ET_ETRUNCATED: the file ends in the middle of a frame; ET_EMALFORMED: it cannot be
 * read on; -ENODEV: the interface is gone, and all that it gave was read. One that is down gives
 * none until it is up again. */
int et_source_read(struct et_source *s, int max, et_source_fn fn, void *arg,
		   struct et_error *reterr) ET_MUST_CHECK;

int et_source_fd(const struct et_source *s); /* to poll; -1: a file */

struct et_source_stats {
	uint64_t read;	   /* frames that `fn` got */
	uint64_t received; /* by the kernel, as the next two: 0 of a file */
	uint64_t dropped;
	uint64_t interface_dropped;
};

void et_source_stats(struct et_source *s, struct et_source_stats *ret);

#endif
