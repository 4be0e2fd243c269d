/* DTLS-SRTP (RFC 5764): what a handshake that was captured says, and the keys that follow from it
 * and from the master secret in a key log.
 *
 * DTLS 1.2 and 1.0. DTLS 1.3 is recognised and not opened: its exporter needs the transcript's
 * secret, which this does not compute. A hello that comes in fragments is not read.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_SRTP_DTLS_H
#define ET_NODE_SRTP_DTLS_H

#include "node/base/secret.h"
#include "node/srtp/srtp.h"

#define ET_DTLS_RANDOM_SIZE 32 /* bytes */

struct et_dtls_hello {
	bool is_client;
	uint16_t version; /* 0xfefd: 1.2, 0xfeff: 1.0, 0xfefc: 1.3 */
	uint8_t random[ET_DTLS_RANDOM_SIZE];
	uint16_t cipher; /* of the server: what it chose */
	enum et_srtp_suite
		suite; /* of the server: what it chose; ET_SRTP_NONE: no SRTP, or unknown */
	uint8_t mki[16];
	uint8_t mki_size;
};

/* The first hello in a datagram. false: there is none. */
bool et_dtls_hello_find(const uint8_t *data, size_t size, struct et_dtls_hello *ret);

/* The keys of both sides (RFC 5764, section 4.2): *ret holds key and salt of what the client
 * protects, then those of the server; half of its size each. The caller owns it. `server` has a
 * suite. ET_EUNSUPPORTED: DTLS 1.3; -ENOMEM, -EIO */
int et_dtls_srtp_keys(const struct et_dtls_hello *client, const struct et_dtls_hello *server,
		      struct et_view master_secret, struct et_secret **ret,
		      struct et_error *reterr) ET_MUST_CHECK;

#endif
