/* KEYS: what opens protected media of the recording, in a record's plaintext.
 *
 *   keys := version 1 | item*
 *   item := type varint | length varint | value
 *
 * Secrets: plaintexts are wiped by who made them. A reader passes over items of a type it does not
 * know, and over what follows the fields it knows inside an item.
 *
 * Threads: plain values. */
#ifndef ET_NODE_TAPE_KEYS_H
#define ET_NODE_TAPE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_KEYS_ITEM_MAX 320 /* bytes that an item takes, version included */
#define ET_KEYS_RANDOM_SIZE 32

/* Segments from this number on hold nothing but keys that came when the recording was over: they
 * are read before all others. A number is this one, plus 256 times the node that made it (modulo
 * 2^22), plus 0 to 127 (what somebody brings) or 128 to 255 (what came to its recorder): nodes and
 * parts of them that do not hear each other never take the same one. */
#define ET_KEYS_SEGMENT_FIRST (UINT32_C(1) << 30)
#define ET_KEYS_SEGMENTS_MAX 128 /* of each kind: of a node, of one recording */

static inline uint32_t et_keys_segment_base(uint64_t node)
{
	return ET_KEYS_SEGMENT_FIRST + (uint32_t)(node & 0x3FFFFF) * 256;
}

static inline bool et_keys_segment(uint32_t segment)
{
	return segment >= ET_KEYS_SEGMENT_FIRST;
}

/* Do the keys that are known open what is protected? The values stand in the catalogue. */
enum et_keys_state {
	ET_KEYS_UNTOLD = 0, /* nothing is known to be protected */
	ET_KEYS_MISSING = 1,
	ET_KEYS_PARTLY = 2, /* some streams are opened, others not */
	ET_KEYS_COMPLETE = 3,
};

/* In a recording's `problem`, by the recorder; over when keys come. */
#define ET_KEYS_PROBLEM "are protected (SRTP) and no key opens them"

enum et_keys_type {
	ET_KEYS_SRTP = 1, /* a master key and salt (RFC 3711) */
	ET_KEYS_DTLS = 2, /* what a DTLS handshake said in the clear: with its master secret, which
			   * may come later, the SRTP keys of both sides follow (RFC 5764) */
};

struct et_keys_item {
	uint32_t type;	    /* others than enum et_keys_type: nothing below is set */
	int64_t time_us;    /* since when it is known */
	uint8_t party;	    /* who protects with it, or the client of the handshake: 0 caller, 1
			     * callee, 255 not known */
	uint8_t suite;	    /* enum et_srtp_suite */
	struct et_view mki; /* at most 128 bytes */

	/* ET_KEYS_SRTP */
	uint8_t origin; /* 1 SDES, 2 DTLS, 3 given by hand; others may come */
	bool has_ssrc;	/* only for this source: */
	uint32_t ssrc;
	uint32_t tag;		 /* of the crypto line; 0: none */
	struct et_view material; /* master key | master salt; at most 64 bytes */

	/* ET_KEYS_DTLS */
	uint16_t version; /* of the server's hello: 0xfefd is DTLS 1.2 */
	uint16_t cipher;  /* that the server chose */
	uint8_t client_random[ET_KEYS_RANDOM_SIZE];
	uint8_t server_random[ET_KEYS_RANDOM_SIZE];
};

/* Add an item to the plaintext of a KEYS record; an empty `plain` gets the version first. -EINVAL:
 * a field is too long, or the type is unknown; check plain->failed for memory. */
int et_keys_add(struct et_buffer *plain, const struct et_keys_item *item) ET_MUST_CHECK;

struct et_keys_reader {
	struct et_reader reader; /* private */
};

/* Begin to read a KEYS record. ET_EVERSION, ET_EMALFORMED. `plain` must outlive the items. */
int et_keys_reader_init(struct et_keys_reader *r, struct et_view plain,
			struct et_error *reterr) ET_MUST_CHECK;

/* 1 and *ret: the next item. 0: the end. ET_EMALFORMED. */
int et_keys_reader_next(struct et_keys_reader *r, struct et_keys_item *ret,
			struct et_error *reterr) ET_MUST_CHECK;

#endif
