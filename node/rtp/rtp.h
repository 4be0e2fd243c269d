/* RTP packets (RFC 3550, section 5.1), read in place.
 *
 *    0                   1                   2                   3
 *   |V=2|P|X|  CC   |M|     PT      |       sequence number         |
 *   |                           timestamp                           |
 *   |                             SSRC                              |
 *   |            CSRC list: CC words; extension if X = 1            |
 *
 * Threads: pure functions. */
#ifndef ET_NODE_RTP_RTP_H
#define ET_NODE_RTP_RTP_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/defs.h"

#define ET_RTP_HEADER_SIZE 12

/* A view: `payload` points into the packet that was parsed, and lives as long as it. */
struct et_rtp {
	const uint8_t *payload;
	uint32_t payload_size; /* bytes, without padding */
	uint32_t timestamp;    /* in units of the codec's clock */
	uint32_t ssrc;
	uint16_t sequence;
	uint8_t payload_type; /* 0..127 */
	bool marker;
};

/* Read the packet of `size` bytes. -EBADMSG and *ret untouched: it is not RTP. Never reads past
 * `size`, allocates nothing, keeps no pointer. Bytes come from the network: nothing is asserted. */
int et_rtp_parse(const uint8_t *packet, uint32_t size, struct et_rtp *ret) ET_MUST_CHECK;

/* What RFC 3551, section 6, fixes for a payload type: "PCMU", 8000. NULL: nothing (dynamic). */
const char *et_rtp_static_codec(uint8_t payload_type, uint32_t *ret_clock_hz);

/* Does this codec send packets of one size at one rate, whatever is said? Then how much came when
 * tells nothing of it. `name` as SDP has it (RFC 4566, rtpmap), what follows a slash is not looked
 * at. False of a name that is not known, and of those that may fall silent by themselves (G.729
 * with annex B, comfort noise); true of key presses (RFC 4733), which go with a codec. */
bool et_rtp_codec_is_steady(const char *name);

/* What a datagram on a media address is, by its first bytes (RFC 7983, RFC 5761 section 4). */
enum et_rtp_kind {
	ET_RTP_KIND_NONE,
	ET_RTP_KIND_RTP,
	ET_RTP_KIND_RTCP,
	ET_RTP_KIND_STUN,
	ET_RTP_KIND_DTLS,
};

enum et_rtp_kind et_rtp_classify(const uint8_t *packet, uint32_t size);

#endif
