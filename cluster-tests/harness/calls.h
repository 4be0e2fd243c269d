/* Made calls: a capture file of N concurrent SIP calls with G.711 both ways, whose audio anyone can
 * compute. Every sample is a byte of a hash of (seed, call, party, sample number): noise, so that a
 * lost or repeated packet can never look like the right one (a tone of a multiple of 50 Hz repeats
 * every 20 ms, and would hide it).
 *
 *   call i: caller 10.1.x.y:10000, callee 10.2.x.y:20000, SIP 5060, SSRC 0xA0000000|i and
 *   0xB0000000|i, Call-ID "call-%06u@made", From caller%06u, To callee%06u.
 *
 * All calls are set up in the first second; media runs from 1.1 s on, a packet of 160 samples every
 * 20 ms each way; then BYE. The file is in the order of time.
 *
 * Threads: pure functions. */
#ifndef ET_CLUSTER_TESTS_HARNESS_CALLS_H
#define ET_CLUSTER_TESTS_HARNESS_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"

#define ET_MADE_SAMPLES 160 /* of a packet */
#define ET_MADE_CALLS_MAX 65536

struct et_made_config {
	uint32_t calls;
	uint32_t seconds;
	uint32_t seed;
	bool alaw;
	uint32_t loss_permille;	   /* packets that are not in the file */
	uint32_t reorder_permille; /* packets that come after the next one */
	uint32_t duplicate_permille;
	uint16_t vlan;	    /* 0: untagged */
	bool without_sip;   /* RTP only */
	bool without_bye;   /* the calls do not end */
	bool answered_late; /* the callee's packets begin before the 200: early media after a 183 */
};

struct et_made_counts {
	uint64_t packets;
	uint64_t sip;
	uint64_t rtp;
	uint64_t lost;
	uint64_t late;
	uint64_t duplicate;
};

/* The code (µ-law or A-law) of a sample. */
uint8_t et_made_code(uint32_t seed, uint32_t call, uint32_t party, uint64_t sample);

/* What became of packet `number` of a stream. */
enum et_made_fate { ET_MADE_SENT, ET_MADE_LOST, ET_MADE_LATE, ET_MADE_TWICE };
enum et_made_fate et_made_fate(const struct et_made_config *config, uint32_t call, uint32_t party,
			       uint32_t number);

/* When the media begins: Unix time in microseconds. */
#define ET_MADE_START_US 1700000000000000LL
#define ET_MADE_MEDIA_US (ET_MADE_START_US + 1100000)

int et_made_write(const char *path, const struct et_made_config *config, struct et_made_counts *ret,
		  struct et_error *reterr) ET_MUST_CHECK;

#endif
