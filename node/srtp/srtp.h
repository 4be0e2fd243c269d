/* SRTP and SRTCP (RFC 3711; RFC 6188 and RFC 7714 for the larger suites): opening what was
 * captured.
 *
 * The only module that uses libsrtp2. One opener has one key and one SSRC. It follows the rollover
 * counter (ROC) through wraps, gaps and reordering as RFC 3711, section 3.3.1, says; and where that
 * is not enough (a stream that was joined in the middle, or a pause of more than 2^15 packets) it
 * looks for the ROC by trying: the authentication tag says which one is right. Tries are bounded,
 * and the wrong key gets fewer of them with every packet that it does not open.
 *
 * A listener opens packets that it kept, so nothing is dropped here: what does not open is said,
 * and the caller still has it.
 *
 * Keys come in as bytes that are borrowed for the call. The session keys that libsrtp2 derives lie
 * in its own memory, which it wipes.
 *
 * Threads: one at a time per opener. Opening takes microseconds, making an opener some tenths of a
 * millisecond, the first one in a process several milliseconds. */
#ifndef ET_NODE_SRTP_SRTP_H
#define ET_NODE_SRTP_SRTP_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_SRTP_MATERIAL_MAX 46	 /* bytes: a master key of 32 and a salt of 14 */
#define ET_SRTP_MKI_MAX 128	 /* bytes */
#define ET_SRTP_OVERHEAD_MAX 148 /* bytes that protection adds at most: MKI, tag, SRTCP index */

/* The values stand in tapes (ops/doc/formats/tape.md): never change them. */
enum et_srtp_suite {
	ET_SRTP_NONE = 0,
	ET_SRTP_AES_CM_128_HMAC_SHA1_80 = 1,
	ET_SRTP_AES_CM_128_HMAC_SHA1_32 = 2,
	ET_SRTP_AES_256_CM_HMAC_SHA1_80 = 3,
	ET_SRTP_AES_256_CM_HMAC_SHA1_32 = 4,
	ET_SRTP_AEAD_AES_128_GCM = 5,
	ET_SRTP_AEAD_AES_256_GCM = 6,
};

/* As SDP names it (RFC 4568, 6188, 7714); "" for none; static. */
const char *et_srtp_suite_name(enum et_srtp_suite suite);
/* By its name in SDP, in any case; the names of older drafts are known too. ET_SRTP_NONE: another.
 */
enum et_srtp_suite et_srtp_suite_find(struct et_view name);
/* By its number in DTLS (RFC 5764, 7714). ET_SRTP_NONE: another. */
enum et_srtp_suite et_srtp_suite_of_profile(uint16_t profile);
/* Bytes of master key and master salt. `suite` is not ET_SRTP_NONE. */
size_t et_srtp_key_size(enum et_srtp_suite suite);
size_t et_srtp_salt_size(enum et_srtp_suite suite);

struct et_srtp_key {
	enum et_srtp_suite suite;
	struct et_view material; /* master key and master salt, one after the other */
	struct et_view mki; /* what stands in every packet (RFC 3711, 3.1), or empty: nothing */
};

struct et_srtp;

/* The caller owns *ret. ET_EUNSUPPORTED: no such suite; ET_EMALFORMED: the sizes are not the
 * suite's; -ENOMEM; -EIO: libsrtp2 refuses. */
int et_srtp_new(const struct et_srtp_key *key, uint32_t ssrc, struct et_srtp **ret,
		struct et_error *reterr) ET_MUST_CHECK;

/* Wipe and release. NULL is allowed. Always returns NULL. */
struct et_srtp *et_srtp_free(struct et_srtp *s);
static inline void et_srtp_freep(struct et_srtp **s)
{
	*s = et_srtp_free(*s);
}

/* How many rollover counters are tried when a stream is found in its midst; 1 to 4096, at first 256
 * (77 hours of packets of 20 ms). */
void et_srtp_set_tries(struct et_srtp *s, uint32_t tries);

/* Open a whole packet of `size` bytes (at most 65535) into `ret` (room for `size`, aligned to 4);
 * *ret_size is that of the plain packet. *ret is not to be looked at after a failure.
 *   ET_ENOKEY      this key does not open it, or it is damaged
 *   ET_EEXISTS     it was opened before, or is older than can be told from that
 *   ET_EMALFORMED  it is no such packet */
int et_srtp_open_rtp(struct et_srtp *s, const uint8_t *packet, size_t size, uint8_t *ret,
		     size_t *ret_size) ET_MUST_CHECK;
int et_srtp_open_rtcp(struct et_srtp *s, const uint8_t *packet, size_t size, uint8_t *ret,
		      size_t *ret_size) ET_MUST_CHECK;

/* Has it opened an RTP packet yet? And the rollover counter of the highest. */
bool et_srtp_has_opened(const struct et_srtp *s);
uint32_t et_srtp_roc(const struct et_srtp *s);

/* The sender's side, for tests and for generators of traffic: protect in place; `packet` has room
 * for ET_SRTP_OVERHEAD_MAX more and is aligned to 4. One opener either opens or seals. `roc` of the
 * first packet: et_srtp_seal_from(). */
int et_srtp_seal_rtp(struct et_srtp *s, uint8_t *packet, size_t *size) ET_MUST_CHECK;
int et_srtp_seal_rtcp(struct et_srtp *s, uint8_t *packet, size_t *size) ET_MUST_CHECK;
void et_srtp_seal_from(struct et_srtp *s, uint32_t roc);

#endif
