/* Media: what an audio file is, and its bytes in order, cut into what can be heard and what cannot.
 *
 * A file is pushed through in pieces of any size; nothing of it is kept but what has to be known
 * before the next step (a WAV file's head, an MP3 tag: 1 MiB at most). Whatever the bytes are,
 * all of them come out again, each once, in order: as packets or as bytes beside them
 * (node/tape/file.h puts them together again).
 *
 *   WAV   PCM of 8 and 16 bits, G.711 µ-law and A-law, one or two channels (RIFF; WAVE_FORMAT_
 *         EXTENSIBLE too): a packet is about 20 ms; of two channels the left one is the caller.
 *         Codecs are those of RFC 3551: L8, L16, PCMU, PCMA.
 *   MP3   MPEG audio layer III (ISO 11172-3, 13818-3): a packet is a frame. ID3 tags and what lies
 *         between frames are bytes beside them.
 *   Anything else that is known to be audio (other codecs in WAV, FLAC, Ogg, MP4, AMR, AIFF, AU,
 *         ASF) is kept as it is, as packets without time: "untimed".
 *   A capture file (pcap, pcapng) is told apart, and not read here: node/capture does that.
 *
 * Every byte is a stranger's. A header that lies is believed where that harms nobody: a data chunk
 * that is longer than the file, or says 0, ends with the file, and `problem` says so.
 *
 * Threads: one owner at a time. */
#ifndef ET_NODE_MEDIUM_MEDIUM_H
#define ET_NODE_MEDIUM_MEDIUM_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_MEDIUM_PEEK 1048576	   /* bytes that are looked at to know what it is */
#define ET_MEDIUM_PACKET_MAX 16384 /* bytes of a payload */

enum et_medium_kind {
	ET_MEDIUM_UNKNOWN, /* no audio that is known here */
	ET_MEDIUM_WAV,
	ET_MEDIUM_MP3,
	ET_MEDIUM_OTHER,   /* audio, kept as it is */
	ET_MEDIUM_CAPTURE, /* pcap, pcapng */
};

struct et_medium_about {
	enum et_medium_kind kind;
	char format[32]; /* "WAV", "MP3", "FLAC", "WAV 24 bit", ... */
	char codec[16];	 /* as a stream has it: "L16", "PCMU", "MP3"; of OTHER: its format's name */
	uint8_t payload_type;
	uint32_t clock_rate;  /* Hz of the timestamps; 0: untimed */
	uint8_t channels;     /* streams: 1, 2 */
	uint8_t sample_bytes; /* 1, 2: of a sample in a payload */
	bool swapped;	      /* the file has a sample's bytes the other way round */
};

struct et_medium_packet {
	uint32_t stream; /* 0, 1 */
	uint16_t sequence;
	uint32_t timestamp;
	int64_t offset_us; /* since the begin of the medium */
	struct et_view payload;
};

/* A negative result ends the reading and is returned. */
struct et_medium_sink {
	int (*about)(void *arg, const struct et_medium_about *about); /* once, first of all */
	int (*packet)(void *arg, const struct et_medium_packet *packet);
	int (*bytes)(void *arg, struct et_view bytes); /* at most ET_MEDIUM_PACKET_MAX */
	void *arg;				       /* borrowed */
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
