/* META: what is to be known about the media, in a record's plaintext.
 *
 *   meta := version 1 | item*
 *   item := type varint | length varint | value
 *
 * A reader passes over items of a type it does not know, and over what follows the fields it knows
 * inside an item: both are how later versions add to this one.
 *
 * Texts are views, not NUL-terminated, and come from outside: nothing is promised about what is in
 * them but their bounds.
 *
 * Threads: plain values. */
#ifndef ET_NODE_TAPE_META_H
#define ET_NODE_TAPE_META_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_META_TEXT_MAX 65535 /* bytes of one text; a SIP message over UDP fits */

enum et_meta_type {
	ET_META_STREAM = 1, /* a stream begins: before its first packet */
	ET_META_CODEC = 2,  /* a further payload type of a stream */
	ET_META_SDP = 3,    /* a session description, as received */
	ET_META_SIP = 4,    /* a SIP message, as received */
	ET_META_FACT = 5,   /* a fact about a party or the call: key and value */
	ET_META_MARK = 6,   /* a span or moment: pause, resume, gap, dropped digits */
};

/* Values of et_meta_item.mark.what; others may come. */
enum et_meta_mark {
	ET_MARK_PAUSE = 1,  /* nothing was written from from_us on, by policy or command */
	ET_MARK_RESUME = 2, /* written again from from_us on */
	ET_MARK_GAP = 3,    /* the recorder was not there from from_us to to_us */
	ET_MARK_DROPPED =
		4, /* packets between were dropped by policy (digits) or were lost inside */
	ET_MARK_REDACTED = 5, /* what was between was destroyed: a newer generation without it */
};
/* The cause of ET_MARK_DROPPED where a key press was that came as a telephone event (RFC 4733). */
#define ET_MARK_DIGIT_EVENT "digit: telephone-event"
/* Key of a fact about a party: from there on it was known that it sends nothing in silence. */
#define ET_FACT_SILENCE "silence"
/* How the cause begins where a key press in the audio is silence on the tape. "caller": it begins
 * at from_us. "caller, 7 packets": it was from from_us to to_us, and so many were changed. */
#define ET_MARK_TONES "tones: "

struct et_meta_item {
	uint32_t type; /* enum et_meta_type, or one that this version does not know: only `raw` then
			*/
	struct et_view raw; /* the item's value; set by the reader */
	union {
		struct {
			uint32_t stream; /* < ET_MEDIA_STREAMS_MAX */
			uint32_t ssrc;
			uint8_t party; /* 0 caller, 1 callee */
			uint8_t payload_type;
			uint8_t channels;
			uint32_t clock_rate;  /* Hz of the RTP timestamp; 0: unknown */
			struct et_view codec; /* "PCMU"; "" when unknown */
			struct et_view src;   /* "ip:port" */
			struct et_view dst;
			struct et_view srtp; /* suite, "" when it is not known to be protected */
		} stream;
		struct {
			uint32_t stream;
			uint8_t payload_type;
			uint8_t channels;
			uint32_t clock_rate;
			struct et_view codec; /* "telephone-event" */
			struct et_view fmtp;  /* or "" */
		} codec;
		struct {
			int64_t time_us;
			uint8_t party; /* who described itself */
			struct et_view text;
		} sdp;
		struct {
			int64_t time_us;
			struct et_view src; /* "ip:port" */
			struct et_view dst;
			struct et_view text;
		} sip;
		struct {
			int64_t time_us;
			uint8_t party; /* 0 or 1; 255: the call */
			struct et_view key;
			struct et_view value;
		} fact;
		struct {
			uint8_t what; /* enum et_meta_mark */
			int64_t from_us;
			int64_t to_us;	      /* 0: a moment, or not yet known */
			struct et_view cause; /* "recorder-restart", ... */
		} mark;
	};
};

/* Add one item to the plaintext of a META record; an empty `plain` gets the version first. -EINVAL:
 * a text is longer than ET_META_TEXT_MAX or the type is unknown; check plain->failed for memory.
 * The caller keeps plain->size <= ET_TAPE_PLAIN_MAX: each item costs at most 64 bytes and its
 * texts.
 */
int et_meta_add(struct et_buffer *plain, const struct et_meta_item *item) ET_MUST_CHECK;

struct et_meta_reader {
	struct et_reader reader; /* private */
};

/* Begin to read a META record. ET_EVERSION, ET_EMALFORMED. `plain` must outlive the items. */
int et_meta_reader_init(struct et_meta_reader *r, struct et_view plain,
			struct et_error *reterr) ET_MUST_CHECK;

/* 1 and *ret: the next item. 0: the end. ET_EMALFORMED. */
int et_meta_reader_next(struct et_meta_reader *r, struct et_meta_item *ret,
			struct et_error *reterr) ET_MUST_CHECK;

#endif
