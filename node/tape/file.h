/* FILE: an imported file, in records of a tape of its own kind.
 *
 *   file := version 1 | item*
 *   item := type varint | length varint | value
 *
 * A tape that was made of an audio file holds that file whole. What can be heard of it stands in
 * MEDIA records, as packets that nobody sent; what cannot (headers, tags, what lies between) in
 * BYTES items, or in SPLICE items when it stands within the next packet (a page's head in Ogg). Put
 * together in the order of the tape they are the file, byte for byte:
 *
 *   MEDIUM (first of all)  BYTES "RIFF...data"  packet packet packet ...  BYTES "LIST..."
 *
 * The weave below does that. Of a tape from which a span was cut it cannot, and says so.
 *
 * A reader passes over items of a type it does not know, and over what follows the fields it knows
 * inside an item. Byte by byte in ops/doc/formats/tape.md.
 *
 * Threads: plain values, one owner each. */
#ifndef ET_NODE_TAPE_FILE_H
#define ET_NODE_TAPE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/tape/media.h"

#define ET_FILE_TEXT_MAX 255	/* bytes of name and format */
#define ET_FILE_BYTES_MAX 65536 /* of one BYTES item */

enum et_file_type {
	ET_FILE_MEDIUM = 1, /* what file it is */
	ET_FILE_BYTES = 2,  /* some of its bytes that are no payload */
	ET_FILE_SPLICE = 3, /* ... and stand within the payload of the next packet */
};

/* How packets become the file's bytes: `channels` streams (numbers from 0) of samples of
 * `sample_bytes` each, one sample of each in turn. One stream of single bytes: payloads as they
 * are. */
struct et_file_medium {
	uint64_t size_bytes;
	uint8_t sha256[32];
	uint8_t channels;      /* 1, 2 */
	uint8_t sample_bytes;  /* 1, 2, 3, 4, 8 */
	bool swapped;	       /* a sample's bytes stand in the file the other way round */
	struct et_view format; /* "WAV", "MP3", ...; not NUL-terminated, as the name */
	struct et_view name;   /* of the file, without its folder: foreign text */
};

struct et_file_item {
	uint32_t type; /* enum et_file_type, or one that this version does not know */
	struct et_file_medium medium;
	uint64_t offset;      /* BYTES: where they stand in the file; SPLICE: behind so many bytes
			       * of the payload, not before what came before it */
	struct et_view bytes; /* BYTES, SPLICE: 1 to ET_FILE_BYTES_MAX */
};

/* Add one item; an empty `plain` gets the version first. -EINVAL: a field is out of its bounds.
 * Check plain->failed for memory. */
int et_file_add(struct et_buffer *plain, const struct et_file_item *item) ET_MUST_CHECK;

struct et_file_reader {
	struct et_reader reader; /* private */
};

/* Begin to read a FILE record. ET_EVERSION, ET_EMALFORMED. `plain` must outlive the items. */
int et_file_reader_init(struct et_file_reader *r, struct et_view plain,
			struct et_error *reterr) ET_MUST_CHECK;
/* 1 and *ret: the next item. 0: the end. ET_EMALFORMED. */
int et_file_reader_next(struct et_file_reader *r, struct et_file_item *ret,
			struct et_error *reterr) ET_MUST_CHECK;

/* The id of the recording that is made of a file: of an audio file `part` is 1, of a capture file
 * the number of the call in it. The same file always makes the same recordings. (UUID version 8:
 * its first 48 bits are a time in the years 2000 to 2019, before all that was captured.) */
void et_file_recording_id(const uint8_t sha256[32], uint32_t part, uint8_t ret[16]);

/* ---- The file, out of its tape ---- */

/* Gets the file's bytes in order; a negative result ends the weave and is returned. */
typedef int (*et_weave_sink)(void *arg, const void *data, size_t size);

/* Zero-initialised has seen nothing; give it the sink, then what the tape has, in its order. */
struct et_weave {
	et_weave_sink sink;
	void *arg; /* borrowed */
	/* Set by what it was given. */
	bool has_medium;
	struct et_file_medium medium; /* without texts */
	char format[ET_FILE_TEXT_MAX + 1];
	char name[ET_FILE_TEXT_MAX + 1];
	uint64_t size_bytes; /* given out so far */
	bool broken;	     /* something is missing: the file cannot be had any more */
	/* Private. */
	bool has_left;
	uint32_t left_timestamp;
	struct et_buffer left; /* a payload of stream 0 that waits for that of stream 1 */
	struct et_buffer room;
	struct et_buffer spliced; /* bytes that wait for their packet: where, how many, they */
};

/* The plaintext of a FILE record. ET_EVERSION, ET_EMALFORMED; of the sink. */
int et_weave_file(struct et_weave *w, struct et_view plain, struct et_error *reterr) ET_MUST_CHECK;
/* A packet of a MEDIA record. -ENOMEM; of the sink. Without a medium before it: nothing. */
int et_weave_packet(struct et_weave *w, const struct et_media_packet *p) ET_MUST_CHECK;
/* All is there: a medium, no hole, as many bytes as it had. That they are the ones is for who
 * hashes them. */
bool et_weave_is_whole(const struct et_weave *w);
/* Wipes. */
void et_weave_release(struct et_weave *w);

#endif
