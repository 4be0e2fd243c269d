/* Playback: the tapes of a recording to samples, audio files, peaks or the original payload.
 *
 * Where tapes and keys come from is the caller's: a local file, a cache filled by a peer or a range
 * of an archive pack; a DEK opened here or by another node. Nothing is given out that was not
 * authenticated: every record's tag is checked, and with `verify` the whole object beforehand
 * (root, signature and what the catalogue expects).
 *
 * SRTP is opened here, with the keys that lie in the tapes (KEYS records; those of a segment hold
 * for the ones behind it too): a stream that no key opens is silent, and the summary says so. An
 * original export has the packets as received, protected, and no keys.
 *
 * A segment that is missing, damaged or cannot be opened does not end the playback: its span is
 * silence and the summary says why. The caller decides whether that is good enough (exit code 6).
 *
 * A range is cut from the samples of the whole, without reading what lies before it: a tape's
 * CHECKPOINT (node/tape/checkpoint.h) says how to go on from there. For codecs without a memory
 * (G.711, L16) that is so to the bit; decoders of others get ten seconds before the range.
 *
 * Threads: one owner at a time; calls wait for sources. */
#ifndef ET_NODE_PLAYBACK_PLAYBACK_H
#define ET_NODE_PLAYBACK_PLAYBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "node/audio/format.h"
#include "node/audio/mask.h"
#include "node/audio/mix.h"
#include "node/audio/wav.h"
#include "node/base/err.h"
#include "node/base/secret.h"
#include "node/tape/file.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"
#include "node/tape/tape.h"

#define ET_PLAYBACK_SEGMENTS_MAX 4096
#define ET_PLAYBACK_STREAMS_MAX ET_MEDIA_STREAMS_MAX /* per segment */

/* A segment as the catalogue knows it, in order of play. */
struct et_playback_segment {
	uint32_t generation;
	uint32_t segment;
	int64_t t0_us;
	bool has_root;
	uint8_t root[32];	 /* expected, if has_root */
	uint8_t header_hash[32]; /* expected, unless all zeros */
	uint8_t seal_hash[32];	 /* likewise, of a sealed one */
	uint8_t object_hash[32]; /* expected when verifying, unless all zeros */
};

/* The supplier of tapes and keys. */
struct et_playback_supply {
	/* Open the bytes of a segment; they stay readable until close_segment(). ET_ENOTFOUND: no
	 * copy can be had. */
	int (*open_segment)(void *arg, const struct et_playback_segment *segment,
			    struct et_tape_source *ret, struct et_error *reterr);
	void (*close_segment)(void *arg, struct et_tape_source *source);
	/* The DEK of a segment, whose header was read and checked; owned by the callee of this
	 * table from then on (freed with et_secret_free()). ET_ENOKEY: erased or not to be had. */
	int (*open_key)(void *arg, const struct et_tape_header *header, struct et_secret **ret,
			struct et_error *reterr);
	void *arg;
};

struct et_playback_config {
	uint8_t recording[16];
	const struct et_playback_segment *segments; /* borrowed for the playback */
	size_t segment_count;
	struct et_playback_supply supply;
	int64_t origin_us; /* frame 0; 0: the first segment's t0 */
	int64_t end_us;	   /* silence is added up to there; 0: ends with the last sample */
	bool verify;	   /* the whole of each object before its first sample */
	bool mask_tones;   /* key presses in the audio are silence (node/audio/mask.h), and so is
			    * what telephone events say to be one; originals are what they are */
	bool conceal;	   /* what was lost is made up (node/audio/mix.h), but for what lies at a
			    * stated gap or pause: no evidence then. It takes one more reading of the
			    * tapes, for their marks. Of samples only: not of peaks, of originals */
	uint32_t rate;	   /* Hz of the samples; 0: the lowest that loses nothing of
			    * its codecs (from the INDEX of each tape; one without is read) */
};

/* What a listener must know. */
struct et_playback_summary {
	uint64_t frames; /* given out, of `rate` */
	uint32_t rate;	 /* Hz */
	uint32_t segments;
	uint32_t segments_missing;   /* no copy could be had */
	uint32_t segments_no_key;    /* copy there, key not */
	uint32_t segments_damaged;   /* fails verification: not played; or a tag: played up to it */
	uint32_t segments_recovered; /* closed after a crash */
	uint32_t segments_unsealed;  /* no footer: live or torn */
	uint32_t streams;
	uint32_t streams_no_decoder; /* recorded, exportable, not heard */
	uint64_t packets;	     /* media packets read */
	uint64_t packets_no_decoder; /* those that no key opens among them */
	uint32_t streams_protected;  /* SRTP */
	uint32_t streams_closed;     /* of them, those with packets that no key opens */
	uint64_t packets_closed;
	uint64_t gaps;	 /* ET_MARK_GAP marks */
	uint64_t pauses; /* ET_MARK_PAUSE marks */
	struct et_mix_stats mix;
	struct et_mask_stats masked; /* also of what was read before a range */
	uint64_t concealed;	     /* frames of a channel that are made up; of the range */
	char problem[256];	     /* the first thing wrong, "" if nothing */
};

/* Render the samples [first_frame, first_frame + frame_count) in chunks to `sink` (frame_count
 * UINT64_MAX: to the end). A negative result of the sink ends it and is returned. The summary tells
 * of what was read: of segments before the range their checkpoint, of those behind it nothing.
 * 0 also when the summary has problems; ET_ENOTFOUND, ET_ENOKEY, ET_EINTEGRITY: not one segment
 * could be played. */
int et_playback_render(const struct et_playback_config *config, uint64_t first_frame,
		       uint64_t frame_count, et_mix_sink sink, void *sink_arg,
		       struct et_playback_summary *ret, struct et_error *reterr) ET_MUST_CHECK;

/* As above without samples: how many frames there are, and the summary. Reads all. */
int et_playback_measure(const struct et_playback_config *config, struct et_playback_summary *ret,
			struct et_error *reterr) ET_MUST_CHECK;

/* How many frames there are and at which rate, by INDEX and the last seconds. Of the rest the
 * summary tells which segments can be had and opened, and whether there are streams that nothing
 * here decodes (then packets_no_decoder is not 0); not whether every record checks. */
int et_playback_survey(const struct et_playback_config *config, struct et_playback_summary *ret,
		       struct et_error *reterr) ET_MUST_CHECK;

/* Was all of it there, and could all of it be decoded? */
bool et_playback_is_complete(const struct et_playback_summary *s);

/* A span of the recording's sound. */
struct et_playback_part {
	uint64_t first_frame; /* of the recording */
	uint64_t frames;
	uint32_t rate; /* Hz */
	/* What et_playback_read() finds: */
	uint8_t md5[16];  /* of its samples as WAV has them */
	bool is_settled;  /* of sealed segments: whoever reads it again gets the same */
	bool is_complete; /* et_playback_is_complete() */
};

/* Read a part once, before it is exported. With `to_end` the summary is that of all behind it, too;
 * otherwise as et_playback_render(). ET_EUNSUPPORTED: as et_md5_new(). */
int et_playback_read(const struct et_playback_config *config, struct et_playback_part *part,
		     bool to_end, struct et_playback_summary *ret,
		     struct et_error *reterr) ET_MUST_CHECK;

/* The part that was read as a file, in pieces (node/audio/format.h; failures are those of its
 * writers, and of et_playback_render()). What cannot be had this time is silence, and unless the
 * part may change while it is recorded (is_settled), ET_ESTALE: it is not the file that its head
 * announced. After a failure what the sink got is no file: it is to be removed. */
int et_playback_export(const struct et_playback_config *config, const struct et_playback_part *part,
		       const struct et_audio_format *format, et_audio_sink sink, void *arg,
		       struct et_error *reterr) ET_MUST_CHECK;

/* Peaks of the span [from_ms, to_ms) since frame 0, `count` per channel; to_ms UINT64_MAX: to the
 * end. *ret_frames: how many frames the span has. */
int et_playback_peaks(const struct et_playback_config *config, uint64_t from_ms, uint64_t to_ms,
		      struct et_peak *ret, uint32_t count, uint64_t *ret_frames,
		      struct et_playback_summary *ret_summary,
		      struct et_error *reterr) ET_MUST_CHECK;

/* The frames of a span, as far as there are `frames` of them. */
void et_playback_span(uint64_t from_ms, uint64_t to_ms, uint32_t rate, uint64_t frames,
		      uint64_t *ret_first, uint64_t *ret_count);

/* One file of an original export. */
struct et_playback_file {
	char name[96]; /* "s001-stream00-PCMU.raw" */
	uint64_t size_bytes;
	uint8_t sha256[32];
};

/* The original payload into `folder` (must exist), for each stream of each segment:
 *   sSSS-streamNN-CODEC.raw   the payloads one after the other, as received
 *   sSSS-streamNN-CODEC.csv   seq,timestamp,arrival_us,payload_type,marker,offset,length,kind
 *                             (kind: rtp, whole, rtcp)
 *   sSSS-meta.txt             stream table, SDP, SIP messages, facts and marks
 * `each` (may be NULL) is called for every finished, synced file, for the manifest. No file may
 * exist before; nothing is left out silently: the summary says what could not be had. On failure
 * the files that were told of are whole, others may be cut: remove the folder. SRTP is exported as
 * it was received, protected. SDP and SIP are exported as received, but for the keys in crypto
 * lines: each character of them is a '*'. */
int et_playback_export_original(const struct et_playback_config *config, const char *folder,
				int (*each)(void *arg, const struct et_playback_file *file),
				void *arg, struct et_playback_summary *ret,
				struct et_error *reterr) ET_MUST_CHECK;

/* The file that a recording was made of (an import), in pieces, as it was to the last byte. A
 * negative result of the sink ends it and is returned. ET_EINTEGRITY: not all of it could be had,
 * or it is not the one that was imported; what the sink got before is worth nothing then. */
int et_playback_file(const struct et_playback_config *config, et_weave_sink sink, void *sink_arg,
		     struct et_playback_summary *ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
