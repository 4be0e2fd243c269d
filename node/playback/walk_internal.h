/* The walk over the segments of a recording that rendering and exporting share: opening, checking,
 * decrypting, and reading the stream table; what is done with a packet is the visitor's. */
#ifndef ET_NODE_PLAYBACK_WALK_INTERNAL_H
#define ET_NODE_PLAYBACK_WALK_INTERNAL_H

#include "node/audio/codec.h"
#include "node/playback/playback.h"
#include "node/rtp/rtp.h"
#include "node/srtp/ring.h"
#include "node/tape/checkpoint.h"
#include "node/tape/keys.h"
#include "node/tape/media.h"
#include "node/tape/reader.h"

enum {
	WALK_TYPES_MAX = 16, /* payload types of one stream */
	WALK_NAME_MAX = 24,  /* bytes of a codec's name, with the NUL */
	WALK_ADDRESS_MAX = 64,
	WALK_FMTP_MAX = 32768, /* a longer one is cut: no decoder takes it */
};

/* When frame 0 is. */
static inline int64_t et_playback_origin(const struct et_playback_config *config)
{
	return config->origin_us != 0 || config->segment_count == 0 ? config->origin_us
								    : config->segments[0].t0_us;
}

/* What a payload type of a stream is. */
struct walk_type {
	uint8_t payload_type;
	bool audio;		      /* false: telephone-event, comfort noise */
	const struct et_codec *codec; /* or NULL: no decoder */
	char name[WALK_NAME_MAX];
	char *fmtp;	 /* owned by the segment; NULL: none */
	bool has_voices; /* two channels: the caller's is the left one */
};

/* A stream of the segment at hand. */
struct walk_stream {
	bool described; /* by META; without it party is the stream's number modulo 2 */
	bool seen;	/* has packets */
	bool deaf;	/* has packets that nothing here decodes */
	uint32_t ssrc;
	uint8_t party;
	bool is_protected;	       /* META says so, or a key opens it */
	bool closed;		       /* has packets that no key opens */
	struct et_srtp_stream opening; /* of a visitor that opens */
	char src[WALK_ADDRESS_MAX];
	char dst[WALK_ADDRESS_MAX];
	struct walk_type types[WALK_TYPES_MAX];
	size_t type_count;
};

struct walk_segment {
	const struct et_playback_segment *known; /* what the catalogue says */
	const struct et_tape_header *header;	 /* what the tape says */
	int64_t last_us;			 /* of its last record, as far as it was come to */
	struct walk_stream streams[ET_PLAYBACK_STREAMS_MAX];
};

/* Each of the functions may be NULL. A negative result of begin(), meta(), packet(), end() or
 * clock() ends the walk and is returned; one of file() or keys() is damage of the segment. */
struct walk_visitor {
	int (*begin)(void *arg, struct walk_segment *segment, struct et_error *reterr);
	int (*meta)(void *arg, struct walk_segment *segment, const struct et_meta_item *item,
		    struct et_error *reterr);
	/* `type` may be NULL: the payload type is not described and not a static one. */
	int (*packet)(void *arg, struct walk_segment *segment, const struct walk_type *type,
		      const struct et_media_packet *packet, struct et_error *reterr);
	/* Also after a segment that broke off in the middle. */
	int (*end)(void *arg, struct walk_segment *segment, struct et_error *reterr);
	/* The plaintext of each FILE record (node/tape/file.h). */
	int (*file)(void *arg, struct et_view plain, struct et_error *reterr);
	/* The plaintext of each KEYS record: first those of keys that came late. */
	int (*keys)(void *arg, struct et_view plain, struct et_error *reterr);
	bool opens; /* packets of SRTP come opened; those that no key opens do not come */

	/* Packets that arrived before this are of no interest, and need not come: their segments
	 * are opened, and of them a checkpoint is read, where there is one. 0: all come;
	 * INT64_MAX: the summary and what follows are all that is wanted. */
	int64_t from_us;
	/* A checkpoint says where the stream's clock stands. */
	int (*clock)(void *arg, struct walk_segment *segment, uint32_t stream,
		     const struct et_rtp_clock *clock, struct et_error *reterr);
	/* ... and that there were packets of this type; as in packet(). */
	void (*seen)(void *arg, const struct walk_type *type);
	void *arg;
};

/* marks.c: of a mix that conceals, leave alone what marks say is silent for a reason; of the
 * segments up to `until_us`, and as far as they are not passed by (from_us: as in a visitor).
 * `config` has an origin. -ENOMEM. */
int et_playback_leave(const struct et_playback_config *config, struct et_mix *mix, uint32_t rate,
		      int64_t from_us, int64_t until_us) ET_MUST_CHECK;

/* The whole packet as it was sent: a header that was not kept is put before it, in `room` (of
 * WALK_ROOM bytes). A view into it or into the packet. */
#define WALK_ROOM (ET_MEDIA_PACKET_MAX + ET_RTP_HEADER_SIZE)
struct et_view et_playback_whole(uint32_t ssrc, const struct et_media_packet *p, uint8_t *room);

/* ---- Between walk.c, protected.c and seek.c ---------------------------------------------------
 */

struct walk {
	const struct et_playback_config *config;
	const struct walk_visitor *visitor;
	struct et_playback_summary *summary;
	struct walk_segment *segment; /* owned by et_playback_walk() */
	struct et_srtp_ring *keys;    /* owned; NULL: none so far */
	uint32_t *room;		      /* owned: a packet before and after it is opened; or NULL */
	const struct et_tape_source *source; /* of the segment; borrowed */
	const struct et_secret *dek;	     /* as well */
	bool looked_ahead;		     /* all keys of the segment are in `keys` */
	bool stopped;			     /* the visitor ended it: not the segment's fault */
};

int walk_meta(struct walk *w, struct et_view plain, struct et_error *reterr) ET_MUST_CHECK;
/* There is a packet of this type in the stream; *ret may be NULL, as in packet(). */
void walk_note_stream(struct walk *w, uint32_t stream);
const struct walk_type *walk_note_type(struct walk *w, uint32_t stream, uint8_t payload_type);
/* The stream has packets that are not heard: `count` more of them. */
void walk_note_deaf(struct walk *w, struct walk_stream *s, uint64_t count);

/* A key of a KEYS record as a ring takes it; views of the item. */
struct et_srtp_entry walk_key_entry(const struct et_keys_item *item);

/* A KEYS record. */
int walk_keys(struct walk *w, struct et_view plain, struct et_error *reterr) ET_MUST_CHECK;
/* A key may stand behind the media that it opens: it came to the recorder only then. Or before the
 * place where the walk began. All of the segment are taken. */
int walk_look_ahead(struct walk *w, struct et_error *reterr) ET_MUST_CHECK;
/* A packet of a visitor that opens; *ret_skip: it is not for it. */
int walk_protected(struct walk *w, struct walk_stream *s, struct et_media_packet *p, bool *ret_skip,
		   struct et_error *reterr) ET_MUST_CHECK;
void walk_protected_release(struct walk *w);

/* Bring the reader to where the walk of a tape begins: with `last`, behind its last checkpoint,
 * else behind the last one of before `t_ms`; what that says was told. 1: there. 0: there is none
 * that can be read, nothing was told, and the reader is at the first record. 2: there is nothing
 * left to be read. Others: of the source, of the visitor. */
int walk_seek(struct walk *w, struct et_tape_reader *reader, bool last, uint32_t t_ms,
	      struct et_error *reterr) ET_MUST_CHECK;

/* Walk all segments in order. Segments of keys that came late are read before all others, for those
 * who open or ask for keys; nobody else sees them. A negative result of the visitor ends the walk
 * and is returned; what is wrong with a segment goes into *ret. ET_ENOTFOUND, ET_ENOKEY,
 * ET_EINTEGRITY: none could be read. */
int et_playback_walk(const struct et_playback_config *config, const struct walk_visitor *visitor,
		     struct et_playback_summary *ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
