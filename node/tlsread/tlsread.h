/* What two others said over TLS, for a listener who has their secrets from a key log.
 *
 *   hello ──ServerHello──▶ keyed (once the key log has the secrets) ──▶ records are opened
 *     └──a version or suite that is not read, or no key in time──▶ refused
 *
 * TLS 1.3 (RFC 8446) with its AES-GCM and ChaCha20-Poly1305 suites, from the traffic secrets; TLS
 * 1.2 (RFC 5246) with AES-GCM (RFC 5288), ChaCha20-Poly1305 (RFC 7905), and AES-CBC with HMAC, also
 * encrypt-then-MAC (RFC 7366), from the master secret. A private key opens nothing here: with
 * forward secrecy there is nothing that it could open. The handshake must have been seen from its
 * ClientHello. Not read: older versions, CCM, early data, renegotiation in TLS 1.2.
 *
 * Every record is authenticated before a byte of it is believed. That is also how the listener
 * finds its way: where an epoch ends (Finished, KeyUpdate) and how many records a gap has swallowed
 * is tried out, up to 32 records ahead, and the authentication tag says what is right. A connection
 * with 32 records in a row that no key opens is given up.
 * Records that come before their secrets wait, bounded.
 *
 * Derived keys lie in secret memory; plaintexts of records are wiped when they are handed out.
 *
 * Threads: one owner. */
#ifndef ET_NODE_TLSREAD_TLSREAD_H
#define ET_NODE_TLSREAD_TLSREAD_H

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/keylog/keylog.h"

#define ET_TLSREAD_CLIENT 0
#define ET_TLSREAD_SERVER 1

/* What became of what was fed; bits. */
enum {
	ET_TLSREAD_DATA = 1,	  /* application data was handed out */
	ET_TLSREAD_HANDSHAKE = 2, /* handshake, alerts: opened or in clear */
	ET_TLSREAD_FAILED = 4,	  /* a record that no key opened, or no record at all */
	ET_TLSREAD_NO_KEY = 8,	  /* given up: the key log does not have it */
	ET_TLSREAD_REFUSED = 16,  /* given up: a version or a suite that is not read */
};

struct et_tlsread;

/* `from` said `plain`: a view, valid for the call, wiped behind it. `time_us` came with the feed
 * that completed its record. */
typedef void (*et_tlsread_fn)(void *arg, int from, int64_t time_us, struct et_view plain);

/* Does a client begin to speak TLS here? */
bool et_tlsread_recognise(const uint8_t *data, size_t size);

/* A connection of which nothing was seen yet. -ENOMEM */
int et_tlsread_new(struct et_tlsread **ret) ET_MUST_CHECK;

/* Wipe and release. NULL is allowed. Always returns NULL. */
struct et_tlsread *et_tlsread_free(struct et_tlsread *t);

/* The next bytes that `from` sent; size 0: look again whether the key log has the secrets. Returns
 * bits of ET_TLSREAD_*; `fn` may be called for both ends, in the order in which they spoke. */
unsigned et_tlsread_feed(struct et_tlsread *t, const struct et_keylog *keylog, int from,
			 int64_t time_us, const uint8_t *data, size_t size, et_tlsread_fn fn,
			 void *arg);

/* Bytes are missing here. */
void et_tlsread_gap(struct et_tlsread *t, int from);

/* No key will come: as refused. What waits is dropped. */
void et_tlsread_give_up(struct et_tlsread *t);

/* Nothing will be read any more. */
bool et_tlsread_is_refused(const struct et_tlsread *t);

/* It waits for its secrets. */
bool et_tlsread_is_waiting(const struct et_tlsread *t);

/* Memory that it holds for records that are not whole or not opened, of one end. */
size_t et_tlsread_held(const struct et_tlsread *t, int from);

#endif
