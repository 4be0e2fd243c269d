/* Media: what an audio file is, and its bytes in order, cut into what can be heard and what cannot.
 *
 * A file is pushed through in pieces of any size; nothing of it is kept but what has to be known
 * before the next step (a file's head, a tag, a frame: 1 MiB at most). Whatever the bytes are,
 * all of them come out again, each once, in order: as packets, as bytes beside them or as bytes
 * within the next packet (node/tape/file.h puts them together again). Nothing is decoded here.
 *
 *   WAV, RF64, BW64, AIFF, AIFF-C, AU
 *         samples of 8, 16, 24 and 32 bits, floating point of 32 and 64, G.711 µ-law and A-law,
 *         one or two channels (of WAV also GSM 06.10): a packet is about 20 ms; of two channels
 *         the left one is the caller. Codecs are those of RFC 3551 and node/audio: L16, L8, PCMU,
 *         F32, ...
 *   MP3   MPEG audio layer III (ISO 11172-3, 13818-3): a packet is a frame. ID3 tags and what lies
 *         between frames are bytes beside them.
 *   FLAC  (RFC 9639) a packet is a frame, found by both its check sums: blocks of up to 16384
 *         samples.
 *   Ogg   (RFC 3533) Opus (RFC 7845: of one stream, or of two that are not coupled) and Vorbis: a
 *         packet is a packet; heads of pages are bytes beside them, or within one that goes over
 *         the end of a page. The first packet is empty: there the sound begins (what Opus has
 *         before it has smaller timestamps, and sequence numbers); if the file says that it ends
 *         within what was decoded, an empty packet stands there. Behind pages that are damaged or
 *         missing the sound goes on where the next page says that it belongs.
 *   Of MP3, FLAC and Ogg two channels are two voices in one stream: the left one is the caller.
 *   Anything else that is known to be audio (other codecs and rates, more channels, MP4, AMR, CAF,
 *         W64, ASF) is kept as it is, as packets without time: "untimed".
 *   A capture file (pcap, pcapng) is told apart, and not read here: node/capture does that.
 *
 * Every byte is a stranger's. A header that lies is believed where that harms nobody: a data chunk
 * that is longer than the file, or says 0, ends with the file, and `problem` says so; it says too
 * how many samples a file claims when others are in it.
 *
 * Threads: one owner at a time. */
#ifndef ET_NODE_MEDIUM_MEDIUM_H
#define ET_NODE_MEDIUM_MEDIUM_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_MEDIUM_PEEK 1048576	   /* bytes that are looked at to know what it is */
#define ET_MEDIUM_PACKET_MAX 65535 /* bytes of a payload */

enum et_medium_kind {
	ET_MEDIUM_UNKNOWN, /* no audio that is known here */
	ET_MEDIUM_PCM,	   /* samples as they are: WAV, RF64, AIFF, AU */
	ET_MEDIUM_MP3,
	ET_MEDIUM_FLAC,
	ET_MEDIUM_OGG,
	ET_MEDIUM_OTHER,   /* audio, kept as it is */
	ET_MEDIUM_CAPTURE, /* pcap, pcapng */
};

struct et_medium_about {
	enum et_medium_kind kind;
	char format[32]; /* "WAV", "MP3", "Ogg Opus", "WAV 96000 Hz 24 bit 2 ch", ... */
	char codec[16];	 /* as a stream has it: "L16", "PCMU", "MP3"; of OTHER: its format's name */
	uint8_t payload_type;
	uint32_t clock_rate;  /* Hz of the timestamps; 0: untimed */
	uint8_t channels;     /* streams: 1, 2 */
	uint8_t voices;	      /* channels in a stream: 1, 2 */
	uint8_t sample_bytes; /* 1 to 8: of a sample in a payload; 1: payloads are no samples */
	bool swapped;	      /* the file has a sample's bytes the other way round */
	const char *fmtp;     /* what its decoder has to know, or NULL: a view into the medium */
};

struct et_medium_packet {
	uint32_t stream; /* 0, 1 */
	uint16_t sequence;
	uint32_t timestamp;
	int64_t offset_us;	/* since the begin of the medium */
	struct et_view payload; /* empty: the sound begins or ends here */
};

/* A negative result ends the reading and is returned. */
struct et_medium_sink {
	int (*about)(void *arg, const struct et_medium_about *about); /* once, first of all */
	int (*packet)(void *arg, const struct et_medium_packet *packet);
	int (*bytes)(void *arg, struct et_view bytes); /* at most ET_MEDIUM_PACKET_MAX */
	/* Bytes that stand within the payload of the next packet, behind `at` bytes of it; perhaps
	 * more than once before it. */
	int (*splice)(void *arg, uint32_t at, struct et_view bytes);
	void *arg; /* borrowed */
};

struct et_medium;

/* Does a capture file (pcap, pcapng) begin so? Needs 4 bytes. */
bool et_medium_is_capture(struct et_view begin);

int et_medium_new(const struct et_medium_sink *sink, struct et_medium **ret) ET_MUST_CHECK;
struct et_medium *et_medium_free(struct et_medium *m); /* wipes; NULL is allowed; returns NULL */
static inline void et_medium_freep(struct et_medium **m)
{
	*m = et_medium_free(*m);
}

/* The next bytes of the file. ET_EUNSUPPORTED: no audio that is known, or a capture file; -ENOMEM;
 * what the sink says, and then *reterr is untouched. */
int et_medium_feed(struct et_medium *m, struct et_view bytes,
		   struct et_error *reterr) ET_MUST_CHECK;
/* The file is over. As above. */
int et_medium_end(struct et_medium *m, struct et_error *reterr) ET_MUST_CHECK;

/* After the end. */
int64_t et_medium_duration_us(const struct et_medium *m); /* 0: untimed */
const char *et_medium_problem(const struct et_medium *m); /* "", or what a listener must know */

#endif
