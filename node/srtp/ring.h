/* The keys of a recording, and the openers of its streams.
 *
 * Signalling names keys before it is known which of them is used: several lines of an offer, an
 * early answer, a re-INVITE. A ring holds them all; a stream tries those that may be its own,
 * newest first, and stays with the one that opens until it opens no more.
 *
 * Key material lies in secret memory.
 *
 * Threads: one at a time per ring and its streams. */
#ifndef ET_NODE_SRTP_RING_H
#define ET_NODE_SRTP_RING_H

#include "node/srtp/srtp.h"

#define ET_SRTP_PARTY_ANY 255
#define ET_SRTP_RING_MAX 1024 /* keys, at most */

/* Where a key came from. The values stand in tapes: never change them. */
enum et_srtp_origin {
	ET_SRTP_ORIGIN_SDES = 1,  /* a crypto line of SDP */
	ET_SRTP_ORIGIN_DTLS = 2,  /* a DTLS handshake and its key log */
	ET_SRTP_ORIGIN_GIVEN = 3, /* by hand, with the media */
};

struct et_srtp_entry {
	struct et_srtp_key key; /* views: into the ring, until its next key is added */
	enum et_srtp_origin origin;
	uint8_t party; /* who protects with it: 0 caller, 1 callee, ET_SRTP_PARTY_ANY */
	bool has_ssrc; /* only for this source: */
	uint32_t ssrc;
	uint32_t tag;	 /* of the crypto line; 0: none */
	int64_t time_us; /* since when it is known */
};

struct et_srtp_ring;

/* Room for `max` keys (1 to ET_SRTP_RING_MAX); when it is full the key that came first gives way.
 * The caller owns *ret. -ENOMEM */
int et_srtp_ring_new(uint32_t max, struct et_srtp_ring **ret,
		     struct et_error *reterr) ET_MUST_CHECK;
struct et_srtp_ring *et_srtp_ring_free(struct et_srtp_ring *r); /* NULL is allowed; returns NULL */

/* Add a key; what the entry points to is copied. 1: it is new. 0: it was there. ET_EUNSUPPORTED,
 * ET_EMALFORMED: no key; ET_ELIMIT: its MKI is longer than 16 bytes; -ENOMEM. */
int et_srtp_ring_add(struct et_srtp_ring *r, const struct et_srtp_entry *entry) ET_MUST_CHECK;

/* How many there are, and the i-th, oldest first. `r` may be NULL: none. */
uint32_t et_srtp_ring_count(const struct et_srtp_ring *r);
struct et_srtp_entry et_srtp_ring_at(const struct et_srtp_ring *r, uint32_t i);

/* How many keys were ever added: the number of the newest, from 1. */
uint64_t et_srtp_ring_serial(const struct et_srtp_ring *r);

/* Might one of its keys be for this source? */
bool et_srtp_ring_has(const struct et_srtp_ring *r, uint8_t party, uint32_t ssrc);

/* One stream. Zero-initialised is new; et_srtp_stream_release() ends it. */
struct et_srtp_stream {
	struct et_srtp *opener;	  /* owned; NULL: none has opened it */
	enum et_srtp_suite suite; /* of the key that opens */
	uint64_t serial;	  /* private: which key it is */
	uint64_t seen_serial;	  /* private: the newest key that was tried */
	uint32_t failures;	  /* in a row */
	uint64_t opened;	  /* packets */
	uint32_t agreed;	  /* of them by the present key, in a row */
	uint32_t made;		  /* openers, to try keys: each may take some milliseconds */

	/* Which keys a call may try, and how many of them. Zeros: all. */
	uint32_t most;	 /* openers that it makes */
	uint64_t above;	 /* only keys with a higher number, */
	uint64_t below;	 /* and a lower one; set to where `most` ended it, or to 0: it did not */
	bool named_only; /* only keys that name the source */
};

void et_srtp_stream_release(struct et_srtp_stream *s);

/* Open a packet of the source: as et_srtp_open_rtp(). All keys are tried for the first packets,
 * when keys have come since, and after failures 1, 2, 4, 8, ... in a row. */
int et_srtp_stream_open(struct et_srtp_stream *s, const struct et_srtp_ring *r, uint8_t party,
			uint32_t ssrc, const uint8_t *packet, size_t size, uint8_t *ret,
			size_t *ret_size) ET_MUST_CHECK;

/* Is what opens it its key? A tag of 32 bits fits a wrong one by chance, under one of the rollover
 * counters that are tried: two packets must agree. */
bool et_srtp_stream_is_sure(const struct et_srtp_stream *s);

/* The key that opens it. false: none does, or it has given way in the ring. */
bool et_srtp_stream_entry(const struct et_srtp_stream *s, const struct et_srtp_ring *r,
			  struct et_srtp_entry *ret);

#endif
