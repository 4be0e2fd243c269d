/* CHECKPOINT and INDEX: what a reader needs to begin in the midst of a tape.
 *
 *   checkpoint := version 1 | item*
 *   index      := checkpoint, with the list of the tape's CHECKPOINT records among its items
 *   item       := type varint | length varint | value
 *
 * A state sees what is written into a tape (META plaintexts, packets) and writes down what of that
 * still holds: the streams with their codecs, a pause that goes on, the payload types that were
 * seen, where the clock of each stream stands (node/rtp/clock.h), and whether there are KEYS
 * records, which are found by their heads. The recorder keeps a state for each tape; who writes a
 * tape anew makes another one.
 *
 * Byte by byte in ops/doc/formats/tape.md. A reader passes over items of a type that it does not
 * know, and over what follows the fields it knows inside an item.
 *
 * Threads: plain values, one owner each. */
#ifndef ET_NODE_TAPE_CHECKPOINT_H
#define ET_NODE_TAPE_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/rtp/clock.h"
#include "node/tape/media.h"

#define ET_CHECKPOINT_EVERY_US 30000000 /* a recorder writes one after so much media */
#define ET_CHECKPOINTS_MAX 4096		/* that an INDEX lists; of more, every second one */

/* ---- Writing ---- */

/* Bounded: 64 streams, 32 KiB of descriptions. What has more is not written (et_tape_state_write()
 * says so), and its tape is read from the begin. */
struct et_tape_state;

/* `begin_us`: what arrives just before it plays at it: t0 of a recording's first segment;
 * INT64_MIN in the others. NULL: no memory. The caller owns it. */
struct et_tape_state *et_tape_state_new(int64_t begin_us) ET_MUST_CHECK;
struct et_tape_state *et_tape_state_free(struct et_tape_state *s); /* NULL is allowed */
static inline void et_tape_state_freep(struct et_tape_state **s)
{
	*s = et_tape_state_free(*s);
}

/* The plaintext of a META record, a KEYS record, the plaintext of a MEDIA record, or one packet of
 * such a record goes into the tape. A MEDIA plaintext that no decoder reads leaves the state
 * incomplete. */
void et_tape_state_meta(struct et_tape_state *s, struct et_view plain);
void et_tape_state_keys(struct et_tape_state *s);
void et_tape_state_media(struct et_tape_state *s, struct et_view plain);
void et_tape_state_packet(struct et_tape_state *s, const struct et_media_packet *packet);

/* Add the plaintext of a CHECKPOINT to `plain`, which is empty. ET_ELIMIT: it would not be
 * complete; check plain->failed for memory. */
int et_tape_state_write(const struct et_tape_state *s, struct et_buffer *plain) ET_MUST_CHECK;

/* ---- Reading ---- */

enum et_checkpoint_type {
	ET_CHECKPOINT_META = 1,	 /* a META plaintext: streams, codecs, a pause that goes on */
	ET_CHECKPOINT_CLOCK = 2, /* of a stream */
	ET_CHECKPOINT_TYPES = 3, /* payload types that were seen in a stream */
	ET_CHECKPOINT_LIST = 4,	 /* of an INDEX: reader.h reads it */
	ET_CHECKPOINT_KEYS = 5,	 /* how many KEYS records are before it; none: it is not there */
	ET_CHECKPOINT_PAD = 6,	 /* zeros: of a padded tape. Readers pass over it */
};

struct et_checkpoint_item {
	uint32_t type;	    /* others than enum et_checkpoint_type: only `raw` is set */
	struct et_view raw; /* the item's value: all there is of META and LIST */
	uint32_t stream;    /* < ET_MEDIA_STREAMS_MAX; of CLOCK and TYPES */
	struct et_rtp_clock clock;
	struct et_view types; /* a byte each, below 128 */
	uint32_t keys;
};

struct et_checkpoint_reader {
	struct et_reader reader; /* private */
};

/* Begin to read a CHECKPOINT or an INDEX. ET_EVERSION, ET_EMALFORMED. `plain` must outlive the
 * items. */
int et_checkpoint_reader_init(struct et_checkpoint_reader *r, struct et_view plain,
			      struct et_error *reterr) ET_MUST_CHECK;

/* 1 and *ret: the next item. 0: the end. ET_EMALFORMED. */
int et_checkpoint_reader_next(struct et_checkpoint_reader *r, struct et_checkpoint_item *ret,
			      struct et_error *reterr) ET_MUST_CHECK;

#endif
