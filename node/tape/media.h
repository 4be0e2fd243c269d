/* MEDIA: packets as they were received, in a record's plaintext.
 *
 *   media  := version 1 | base arrival_us 8 | packet*
 *   packet := stream varint | flags 1 | arrival delta | [pt 1] | [sequence] | [timestamp] | [size]
 *             | payload
 *
 * Deltas run per stream and begin anew in each record, so that every record can be read alone: the
 * first packet of a stream in a record carries absolute values. A G.711 packet costs 5 bytes.
 * Nothing is lost: payload, sequence number, timestamp, marker, payload type and arrival come back
 * exactly; with the stream table (META) so does the RTP packet. A packet whose header has more than
 * that (CSRC, extension, padding) is kept whole, and so is RTCP.
 *
 * Threads: plain values, one owner each. */
#ifndef ET_NODE_TAPE_MEDIA_H
#define ET_NODE_TAPE_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_MEDIA_STREAMS_MAX 64	    /* streams of one recording: numbers 0..63 */
#define ET_MEDIA_PACKET_MAX 65535   /* bytes of payload */
#define ET_MEDIA_PACKET_OVERHEAD 32 /* bytes that a packet can cost above its payload, at most */

struct et_media_packet {
	uint32_t stream; /* number in the stream table; < ET_MEDIA_STREAMS_MAX */
	bool marker;
	bool whole;	      /* `payload` is the whole RTP packet, header included */
	bool rtcp;	      /* `payload` is a whole RTCP packet; the RTP fields are 0 */
	uint8_t payload_type; /* 0..127 */
	uint16_t sequence;
	uint32_t timestamp;
	int64_t arrival_us;	/* UTC */
	struct et_view payload; /* a view */
};

/* Private: what the next packet of a stream is told against. */
struct et_media_stream_state {
	uint32_t timestamp;
	uint32_t step;
	uint32_t size;
	uint16_t sequence;
	uint8_t payload_type;
	bool known;
};

/* Zero-initialised is empty. Release with et_media_encoder_release(). */
struct et_media_encoder {
	struct et_buffer plain; /* the plaintext so far: hand plain.data, plain.size to the tape */
	uint32_t packets;
	int64_t first_us; /* arrival of the first packet in it */
	int64_t last_us;  /* arrival of the last one */
	struct et_media_stream_state streams[ET_MEDIA_STREAMS_MAX]; /* private */
};

/* Empty it for the next record; keeps the memory. */
void et_media_encoder_reset(struct et_media_encoder *e);
void et_media_encoder_release(struct et_media_encoder *e);

/* Add a packet. -EINVAL: a field is out of its bounds; ET_ELIMIT: the record would be longer than
 * `size_max` bytes: seal it, reset, and add again; -ENOMEM. The encoder is unchanged then. */
int et_media_encoder_add(struct et_media_encoder *e, const struct et_media_packet *packet,
			 size_t size_max) ET_MUST_CHECK;

struct et_media_decoder {
	struct et_reader reader; /* private */
	int64_t arrival_us;
	struct et_media_stream_state streams[ET_MEDIA_STREAMS_MAX];
};

/* Begin to read a MEDIA record. ET_EVERSION: written by a newer version; ET_EMALFORMED. `plain`
 * must outlive the packets. */
int et_media_decoder_init(struct et_media_decoder *d, struct et_view plain,
			  struct et_error *reterr) ET_MUST_CHECK;

/* 1 and *ret: the next packet, in the order of recording. 0: the end. ET_EMALFORMED. */
int et_media_decoder_next(struct et_media_decoder *d, struct et_media_packet *ret,
			  struct et_error *reterr) ET_MUST_CHECK;

#endif
