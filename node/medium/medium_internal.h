/* Between medium.c and the readers of formats. */
#ifndef ET_NODE_MEDIUM_MEDIUM_INTERNAL_H
#define ET_NODE_MEDIUM_MEDIUM_INTERNAL_H

#include "node/medium/medium.h"

/* What a WAV file's head says, up to its first sample. */
struct wav_head {
	struct et_medium_about about;
	size_t head_bytes;    /* up to the first byte of data */
	uint64_t data_bytes;  /* UINT64_MAX: to the end of the file */
	bool to_the_end;      /* the header does not say how long */
	uint32_t frame_bytes; /* a sample of each channel */
};

/* 1: *ret; 0: more bytes are needed; -1: none that is played here (*ret has format and codec). */
int wav_head_read(struct et_view begin, struct wav_head *ret);

/* A frame header of MPEG audio layer III. */
struct mp3_frame {
	uint32_t size;	  /* bytes, header included */
	uint32_t samples; /* of each channel */
	uint32_t rate;	  /* Hz */
	uint32_t key;	  /* what all frames of a stream have in common */
};

#define MP3_HEAD 4

/* false: no such header. */
bool mp3_frame_read(const uint8_t head[MP3_HEAD], struct mp3_frame *ret);
/* Bytes of an ID3v2 tag at the begin (its head has 10 bytes), or 0. */
uint64_t mp3_tag_size(const uint8_t head[10]);

#define MP3_TAG_HEAD 10

struct et_medium {
	struct et_medium_sink sink;
	struct et_medium_about about;
	bool known;	       /* about is told */
	size_t look_at;	       /* not known: bytes that are needed to look again */
	struct et_buffer held; /* bytes that wait for those behind them */
	uint64_t skip;	       /* bytes that are bytes beside, whatever they say: of a tag */
	/* WAV */
	uint64_t data_left;
	bool to_the_end;
	uint32_t frame_bytes;
	uint32_t packet_frames;
	/* MP3 */
	struct mp3_frame first;
	bool in_step;	 /* behind a frame: the next one begins here */
	uint64_t beside; /* bytes between frames */
	uint16_t sequence;
	uint64_t played; /* samples of each channel */
	uint8_t room[2][ET_MEDIUM_PACKET_MAX];
	char problem[160];
};

/* Give out as bytes beside, in pieces. */
int medium_bytes(struct et_medium *m, const uint8_t *data, size_t size);
/* Take what can be taken of `held`; returns how many bytes, or negative. `last`: nothing follows.
 */
ssize_t wav_take(struct et_medium *m, struct et_view held, bool last);
ssize_t mp3_take(struct et_medium *m, struct et_view held, bool last);

#endif
