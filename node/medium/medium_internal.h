/* Between medium.c and the readers of formats. */
#ifndef ET_NODE_MEDIUM_MEDIUM_INTERNAL_H
#define ET_NODE_MEDIUM_MEDIUM_INTERNAL_H

#include "node/audio/vorbis.h"
#include "node/medium/medium.h"

#define MEDIUM_PIECE 16384 /* bytes that are kept as they are, of one packet */

/* ---- Files of samples ---- */

enum pcm_sample { PCM_SIGNED, PCM_UNSIGNED, PCM_FLOAT, PCM_ALAW, PCM_ULAW };

/* What a head says of its samples. */
struct pcm_kind {
	enum pcm_sample sample;
	uint32_t bits; /* that a sample takes */
	uint32_t channels;
	uint32_t rate;	      /* Hz */
	uint32_t frame_bytes; /* a sample of each channel */
	bool is_little;	      /* a sample's lowest byte comes first */
};

/* What a head says, up to the first sample. */
struct pcm_head {
	struct et_medium_about about;
	size_t head_bytes;    /* up to the first byte of data */
	uint64_t data_bytes;  /* UINT64_MAX: to the end of the file */
	bool to_the_end;      /* the header does not say how long */
	uint32_t frame_bytes; /* a sample of each channel, or a block */
	uint32_t frame_samples;
};

/* One that the decoders of files have (node/audio/codec.h). */
bool medium_rate_is_played(uint32_t rate);
/* Into h->about and the frame; false: none that is played, and about.format says what it is. */
bool pcm_describe(struct pcm_head *h, const char *format, const struct pcm_kind *k);
/* GSM in blocks of 65 bytes. */
bool pcm_describe_gsm(struct pcm_head *h, const char *format, uint32_t channels, uint32_t rate,
		      uint32_t block_bytes);

/* 1: *ret; 0: more bytes are needed; -1: none that is played here (*ret has its format). What is_()
 * says is so. */
bool riff_is(struct et_view v); /* WAV, RF64, BW64 */
int riff_read(struct et_view begin, struct pcm_head *ret);
bool aiff_is(struct et_view v);
int aiff_read(struct et_view begin, struct pcm_head *ret);
bool au_is(struct et_view v);
int au_read(struct et_view begin, struct pcm_head *ret);

/* ---- MP3 ---- */

/* A frame header of MPEG audio layer III. */
struct mp3_frame {
	uint32_t size;	   /* bytes, header included */
	uint32_t samples;  /* of each channel */
	uint32_t rate;	   /* Hz */
	uint32_t channels; /* 1, 2: of this frame */
	uint32_t key;	   /* what all frames of a stream have in common */
};

#define MP3_HEAD 4

/* false: no such header. */
bool mp3_frame_read(const uint8_t head[MP3_HEAD], struct mp3_frame *ret);
/* Bytes of an ID3v2 tag at the begin (its head has 10 bytes), or 0. */
uint64_t mp3_tag_size(const uint8_t head[10]);

#define MP3_TAG_HEAD 10

/* ---- FLAC ---- */

/* What the file's first block says (RFC 9639, section 8.2). */
struct flac_info {
	uint32_t rate; /* Hz */
	uint32_t channels;
	uint32_t bits;
	uint32_t block_min; /* samples of a frame, of each channel */
	uint32_t block_max;
	uint64_t samples; /* of each channel; 0: it does not say */
};

struct flac_state {
	struct flac_info info;
	bool in_sound;	  /* behind the blocks of metadata */
	bool in_step;	  /* a frame begins here */
	size_t scanned;	  /* bytes of the frame at hand that `crc` is of */
	size_t end_maybe; /* where its check sum fits, though no frame follows; 0: nowhere yet */
	uint16_t crc;
	uint16_t crc_table[256];
	uint32_t failures; /* heads behind which no frame was */
	bool has_base;
	uint64_t base;	  /* the place of the first frame, as it says */
	uint64_t missing; /* samples between frames, as they say */
};

/* 1, 0, -1 as above; about and *ret_info. */
int flac_know(struct et_view begin, struct et_medium_about *ret, struct flac_info *ret_info);

/* ---- Ogg ---- */

enum {
	OGG_SPLICES_MAX = 16,
	OGG_TAIL = 8, /* packets of which the end of the file's sound may be one */
};

struct ogg_state {
	uint32_t serial;
	bool is_opus;
	bool over;		  /* behind the last page of the stream */
	bool chained;		  /* ... another one begins */
	bool has_page;		  /* one of the stream was seen: */
	uint32_t page;		  /* its number */
	bool has_gap;		  /* pages are missing: one to come says where it belongs */
	uint32_t heads_left;	  /* packets that are no sound */
	bool passing;		  /* within a packet that is not wanted */
	bool in_packet;		  /* within one whose begin waits in: */
	struct et_buffer part;	  /* its payload so far */
	struct et_buffer between; /* bytes of the file that stand within it */
	struct {
		uint32_t at; /* in the payload */
		uint32_t size;
	} splices[OGG_SPLICES_MAX];
	uint32_t splice_count;
	/* Samples. */
	int64_t total;	     /* Opus: from before the begin */
	uint32_t early_left; /* sequence numbers before that of the begin */
	uint32_t skip;	     /* Opus: samples before the begin */
	bool has_base;
	int64_t base;		 /* what the stream counted before this file */
	uint32_t tail[OGG_TAIL]; /* samples of the last packets */
	uint32_t packets;
	uint64_t said; /* samples that the last page says; 0: it does not */
	bool in_junk;
	uint32_t failures;	  /* pages whose check sum does not fit */
	uint64_t lost;		  /* pages that are missing or damaged */
	uint64_t missing;	  /* samples that were in them, as the next pages say */
	struct et_vorbis *vorbis; /* owned, or NULL */
	uint32_t window;	  /* Vorbis: of the packet before */
	char fmtp[ET_VORBIS_FMTP_MAX];
};

/* 1, 0, -1 as above; with 1 the caller frees *ret_state. -ENOMEM. */
int ogg_know(struct et_view begin, struct et_medium_about *ret, struct ogg_state **ret_state);
struct ogg_state *ogg_free(struct ogg_state *o); /* wipes; NULL is allowed; returns NULL */

/* ---- All ---- */

struct et_medium {
	struct et_medium_sink sink;
	struct et_medium_about about;
	bool known;	       /* about is told */
	size_t look_at;	       /* not known: bytes that are needed to look again */
	struct et_buffer held; /* bytes that wait for those behind them */
	uint64_t skip;	       /* bytes that are bytes beside, whatever they say: of a tag */
	/* Samples */
	uint64_t data_left;
	bool to_the_end;
	uint32_t frame_bytes;
	uint32_t frame_samples;
	uint32_t packet_frames;
	/* MP3 */
	struct mp3_frame first;
	bool in_step;	 /* behind a frame: the next one begins here */
	uint64_t beside; /* bytes between frames, of FLAC too */
	struct flac_state flac;
	struct ogg_state *ogg; /* owned, or NULL */
	uint16_t sequence;
	uint64_t played; /* samples of each channel */
	uint8_t room[2][MEDIUM_PIECE];
	char problem[160];
};

/* Give out as bytes beside, in pieces. */
int medium_bytes(struct et_medium *m, const uint8_t *data, size_t size);
/* Take what can be taken of `held` (`last`: nothing follows it); returns how many bytes, or
 * negative. */
ssize_t pcm_take(struct et_medium *m, struct et_view held, bool last);
ssize_t mp3_take(struct et_medium *m, struct et_view held, bool last);
ssize_t flac_take(struct et_medium *m, struct et_view held, bool last);
ssize_t ogg_take(struct et_medium *m, struct et_view held, bool last);
/* Nothing follows: what waits in a packet goes out. */
int ogg_end(struct et_medium *m);

#endif
