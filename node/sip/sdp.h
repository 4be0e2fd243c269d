/* Session descriptions (RFC 8866; RFC 3264 for what they mean), read in place, lenient, bounded.
 *
 * More than ET_SDP_MEDIA_MAX media, ET_SDP_FORMATS_MAX formats, ... : the first ones count and
 * `clipped` is set. All views point into the body.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_SIP_SDP_H
#define ET_NODE_SIP_SDP_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"

#define ET_SDP_MEDIA_MAX 8
#define ET_SDP_FORMATS_MAX 24
#define ET_SDP_SSRC_MAX 8
#define ET_SDP_CRYPTO_MAX 4

enum et_sdp_kind { ET_SDP_AUDIO, ET_SDP_VIDEO, ET_SDP_IMAGE, ET_SDP_OTHER };

enum et_sdp_direction { ET_SDP_SENDRECV, ET_SDP_SENDONLY, ET_SDP_RECVONLY, ET_SDP_INACTIVE };

struct et_sdp_format {
	uint8_t payload_type;
	struct et_view name; /* "PCMU"; empty: no rtpmap */
	uint32_t clock_hz;
	uint32_t channels; /* 1 when not told */
};

struct et_sdp_crypto { /* RFC 4568 */
	uint32_t tag;
	struct et_view suite;
	struct et_view key;	/* "inline:…": a secret; never log it */
	struct et_view session; /* session parameters, "KDR=1 UNENCRYPTED_SRTCP" */
};

#define ET_SDP_KEYS_MAX 4 /* of one crypto line */

/* A key of a crypto line, decoded: a secret. */
struct et_sdp_key {
	uint8_t material[48]; /* master key | master salt */
	uint32_t material_size;
	uint8_t mki[16]; /* what stands in the packets, or nothing */
	uint32_t mki_size;
};

struct et_sdp_media {
	enum et_sdp_kind kind;
	uint16_t port; /* 0: refused or ended */
	struct et_view protocol;
	bool is_rtp;	/* RTP/AVP, RTP/SAVP, RTP/AVPF, UDP/TLS/RTP/SAVPF, ... */
	bool is_srtp;	/* SAVP or SAVPF, or a crypto line, or a fingerprint */
	bool is_secure; /* SAVP or SAVPF: it cannot be plain RTP */
	bool has_address;
	uint8_t address[16]; /* IPv6, or IPv4 mapped into it (::ffff:0:0/96) */
	enum et_sdp_direction direction;
	bool rtcp_mux;
	uint16_t rtcp_port; /* a=rtcp, or 0 */
	uint32_t ptime_ms;  /* 0: not told */
	struct et_sdp_format formats[ET_SDP_FORMATS_MAX];
	uint32_t format_count;
	uint32_t ssrcs[ET_SDP_SSRC_MAX];
	uint32_t ssrc_count;
	struct et_sdp_crypto crypto[ET_SDP_CRYPTO_MAX];
	uint32_t crypto_count;
	struct et_view fingerprint; /* DTLS-SRTP */
	struct et_view label;	    /* RFC 4574 */
};

struct et_sdp {
	struct et_view origin;
	struct et_sdp_media media[ET_SDP_MEDIA_MAX];
	uint32_t media_count;
	bool clipped;
};

/* The session description in a message body: the body itself, or the part of a multipart body.
 * false: there is none. */
bool et_sdp_find(struct et_view content_type, struct et_view body, struct et_view *ret);

/* Read it. ET_EMALFORMED and *ret untouched: it does not begin with "v=". */
int et_sdp_parse(struct et_view text, struct et_sdp *ret) ET_MUST_CHECK;

/* The keys of a crypto line (RFC 4568, section 6.1), in its order; those that are none are left
 * out, and so are all of a line whose session parameters turn encryption or authentication of RTP
 * off, or ask for keys to be derived again. Returns how many; the caller wipes them. */
uint32_t et_sdp_crypto_keys(const struct et_sdp_crypto *crypto,
			    struct et_sdp_key ret[ET_SDP_KEYS_MAX]);

#endif
