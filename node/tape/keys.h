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

#define ET_KEYS_ITEM_MAX                                                                           \
	320 /* bytes that an item of the largest SRTP key takes, version included */

enum et_keys_type {
	ET_KEYS_SRTP = 1, /* a master key and salt (RFC 3711) */
};

struct et_keys_item {
	uint32_t type;	 /* others than enum et_keys_type: nothing below is set */
	int64_t time_us; /* since when it is known */
	uint8_t origin;	 /* 1 SDES, 2 DTLS, 3 given by hand; others may come */
	uint8_t party;	 /* who protects with it: 0 caller, 1 callee, 255 not known */
	uint8_t suite;	 /* enum et_srtp_suite */
	bool has_ssrc;	 /* only for this source: */
	uint32_t ssrc;
	uint32_t tag;		 /* of the crypto line; 0: none */
	struct et_view mki;	 /* at most 128 bytes */
	struct et_view material; /* master key | master salt; at most 64 bytes */
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
