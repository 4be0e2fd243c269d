/* Plain capture files: the ones that most programs write (pcap version 2.4, times in microseconds,
 * in this machine's byte order, of a link layer whose number libpcap does not translate). They are
 * read in pieces of 64 KiB, and their frames are views of these: libpcap copies each frame twice
 * and reads its head apart, which cost more than to decode it. All other files are libpcap's.
 *
 *   file  := magic 4 | major 2 | minor 2 | zone 4 | accuracy 4 | snapshot length 4 | link layer 4
 *            | frame*
 *   frame := seconds 4 | microseconds 4 | captured 4 | on the wire 4 | data
 *
 * What is read is what libpcap reads, to the frame and the kind of failure (fuzz/fuzz_pcapfile.c
 * compares): at most 262,144 bytes a frame, and of each what the snapshot length promises.
 *
 * Threads: one owner. */
#ifndef ET_NODE_CAPTURE_PCAPFILE_INTERNAL_H
#define ET_NODE_CAPTURE_PCAPFILE_INTERNAL_H

#include <sys/time.h>

#include "node/capture/packet_internal.h"

struct et_pcapfile;

/* 1: *ret reads the file, and owns `fd` from here on. 0: it is another kind of file (or none to
 * seek in); `fd` stays the caller's, and where it was. -ENOMEM. */
int et_pcapfile_open(int fd, struct et_pcapfile **ret) ET_MUST_CHECK;
struct et_pcapfile *et_pcapfile_close(struct et_pcapfile *f); /* NULL is allowed */

int et_pcapfile_link(const struct et_pcapfile *f); /* DLT_* */

/* True: the next frame, but for its link type and time, which is in *ret_time as the file has it.
 * Its data is a view until et_pcapfile_fill(). False: there is no whole one. */
bool et_pcapfile_next(struct et_pcapfile *f, struct et_frame *ret, struct timeval *ret_time);

/* There is no next frame: read more. 1: try again. 0: the end. ET_ETRUNCATED: the file ends in the
 * midst of a frame; ET_EMALFORMED: its next frame is none; -EIO, ... `name` is for the message. */
int et_pcapfile_fill(struct et_pcapfile *f, const char *name,
		     struct et_error *reterr) ET_MUST_CHECK;

#endif
