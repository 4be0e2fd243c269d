#include "node/rtp/rtp.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "node/base/bytes.h"

enum {
	RTP_VERSION = 2,
	WORD_SIZE = 4,
	RTCP_TYPE_FIRST = 192, /* RFC 5761, section 4: 64..95 with the marker's bit are RTCP */
	RTCP_TYPE_LAST = 223,
	STUN_HEADER_SIZE = 20,
	DTLS_HEADER_SIZE = 13,
	DTLS_TYPE_FIRST = 20,
	DTLS_TYPE_LAST = 63,
};

#define STUN_COOKIE 0x2112A442U

int et_rtp_parse(const uint8_t *packet, uint32_t size, struct et_rtp *ret)
{
	if (size < ET_RTP_HEADER_SIZE || packet[0] >> 6 != RTP_VERSION) {
		return -EBADMSG;
	}
	bool has_padding = (packet[0] & 0x20) != 0;
	bool has_extension = (packet[0] & 0x10) != 0;
	uint32_t start = ET_RTP_HEADER_SIZE + (packet[0] & 0x0FU) * WORD_SIZE;
	uint32_t end = size;

	if (has_extension) {
		if (size < start + WORD_SIZE) {
			return -EBADMSG;
		}
		start += WORD_SIZE + (uint32_t)et_get16(packet + start + 2) * WORD_SIZE;
	}
	if (has_padding) {
		uint32_t padding = packet[size - 1];
		if (padding == 0) {
			return -EBADMSG;
		}
		end = padding <= end ? end - padding : 0;
	}
	if (start > end) {
		return -EBADMSG;
	}

	*ret = (struct et_rtp){
		.payload = packet + start,
		.payload_size = end - start,
		.timestamp = et_get32(packet + 4),
		.ssrc = et_get32(packet + 8),
		.sequence = et_get16(packet + 2),
		.payload_type = packet[1] & 0x7F,
		.marker = (packet[1] & 0x80) != 0,
	};
	return 0;
}

struct static_codec {
	const char *name;
	uint32_t clock_hz;
};

/* G722's clock is 8000 by an old mistake that RFC 3551 (section 4.5.2) keeps. */
static const struct static_codec static_codecs[] = {
	[0] = { "PCMU", 8000 },	  [3] = { "GSM", 8000 },    [4] = { "G723", 8000 },
	[5] = { "DVI4", 8000 },	  [6] = { "DVI4", 16000 },  [7] = { "LPC", 8000 },
	[8] = { "PCMA", 8000 },	  [9] = { "G722", 8000 },   [10] = { "L16", 44100 },
	[11] = { "L16", 44100 },  [12] = { "QCELP", 8000 }, [13] = { "CN", 8000 },
	[14] = { "MPA", 90000 },  [15] = { "G728", 8000 },  [16] = { "DVI4", 11025 },
	[17] = { "DVI4", 22050 }, [18] = { "G729", 8000 },  [25] = { "CelB", 90000 },
	[26] = { "JPEG", 90000 }, [28] = { "nv", 90000 },   [31] = { "H261", 90000 },
	[32] = { "MPV", 90000 },  [33] = { "MP2T", 90000 }, [34] = { "H263", 90000 },
};

const char *et_rtp_static_codec(uint8_t payload_type, uint32_t *ret_clock_hz)
{
	if (payload_type >= ET_ARRAY_SIZE(static_codecs) ||
	    static_codecs[payload_type].name == NULL) {
		return NULL;
	}
	*ret_clock_hz = static_codecs[payload_type].clock_hz;
	return static_codecs[payload_type].name;
}

bool et_rtp_codec_is_steady(const char *name)
{
	static const char *const steady[] = { "PCMU",	 "PCMA",    "G722",    "L8",
					      "L16",	 "L24",	    "DVI4",    "GSM",
					      "G726-16", "G726-24", "G726-32", "G726-40",
					      "iLBC",	 "G728",    "S8",      "L32",
					      "F32",	 "F64",	    "GSM-WAV", "telephone-event",
					      "tone" };
	const size_t size = strcspn(name, "/");

	for (size_t i = 0; i < ET_ARRAY_SIZE(steady); i++) {
		if (strlen(steady[i]) == size && strncasecmp(steady[i], name, size) == 0) {
			return true;
		}
	}
	return false;
}

static bool looks_like_stun(const uint8_t *packet, uint32_t size)
{
	return size >= STUN_HEADER_SIZE && packet[0] <= 3 && et_get32(packet + 4) == STUN_COOKIE &&
	       (uint32_t)et_get16(packet + 2) + STUN_HEADER_SIZE <= size;
}

static bool looks_like_dtls(const uint8_t *packet, uint32_t size)
{
	return size >= DTLS_HEADER_SIZE && packet[0] >= DTLS_TYPE_FIRST &&
	       packet[0] <= DTLS_TYPE_LAST && packet[1] == 0xFE &&
	       (packet[2] == 0xFF || packet[2] == 0xFD);
}

enum et_rtp_kind et_rtp_classify(const uint8_t *packet, uint32_t size)
{
	if (size < 2) {
		return ET_RTP_KIND_NONE;
	}
	if (packet[0] >> 6 == RTP_VERSION) {
		if (packet[1] >= RTCP_TYPE_FIRST && packet[1] <= RTCP_TYPE_LAST) {
			return size >= 8 ? ET_RTP_KIND_RTCP : ET_RTP_KIND_NONE;
		}
		return size >= ET_RTP_HEADER_SIZE ? ET_RTP_KIND_RTP : ET_RTP_KIND_NONE;
	}
	if (looks_like_stun(packet, size)) {
		return ET_RTP_KIND_STUN;
	}
	if (looks_like_dtls(packet, size)) {
		return ET_RTP_KIND_DTLS;
	}
	return ET_RTP_KIND_NONE;
}
