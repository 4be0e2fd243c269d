/* RTCP packets (RFC 3550, section 6), read in place: the compound, sender and receiver reports,
 * BYE.
 *
 * A datagram holds several packets one after another. Of SRTCP (RFC 3711, section 3.4) only the
 * first header is readable: the walk ends at the first packet that does not check.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_RTP_RTCP_H
#define ET_NODE_RTP_RTCP_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/defs.h"

enum et_rtcp_type {
	ET_RTCP_SR = 200,
	ET_RTCP_RR = 201,
	ET_RTCP_SDES = 202,
	ET_RTCP_BYE = 203,
	ET_RTCP_APP = 204,
};

/* One packet of a compound. Views into the datagram. */
struct et_rtcp {
	uint8_t type;
	uint8_t count; /* report blocks, chunks or sources */
	uint32_t ssrc; /* of the sender; 0 where there is none */
	const uint8_t *body;
	uint32_t body_size;  /* bytes after the first 8 */
	const uint8_t *rest; /* the next packet of the compound */
	uint32_t rest_size;
};

/* Sender's information (section 6.4.1): wall clock and RTP clock at one instant. */
struct et_rtcp_sender {
	uint64_t ntp; /* 32.32, seconds since 1900 */
	uint32_t timestamp;
	uint32_t packets;
	uint32_t octets;
};

/* A report block. */
struct et_rtcp_report {
	uint32_t ssrc; /* of the source that is reported on */
	uint8_t fraction_lost;
	int32_t lost; /* cumulative; negative with duplicates */
	uint32_t highest;
	uint32_t jitter;
};

/* Read the packet at the front. -EBADMSG and *ret untouched: it is not RTCP. */
int et_rtcp_parse(const uint8_t *data, uint32_t size, struct et_rtcp *ret) ET_MUST_CHECK;

/* false: it is not a sender report, or cut. */
bool et_rtcp_sender(const struct et_rtcp *rtcp, struct et_rtcp_sender *ret);

/* Report block `i` of a sender or receiver report. false: there is none. */
bool et_rtcp_report(const struct et_rtcp *rtcp, uint32_t i, struct et_rtcp_report *ret);

#endif
