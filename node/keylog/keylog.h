/* TLS key logs: the secrets of other people's handshakes, as NSS and OpenSSL write them (the format
 * of SSLKEYLOGFILE), to open what was captured: SIP over TLS, and DTLS-SRTP.
 *
 *   line := label ' ' client random (64 hex digits) ' ' secret (hex digits)
 *
 * A key log grows while calls run: it may be fed in pieces that end anywhere, and a file may be
 * read on after it grew. Lines of labels that nothing here can use are passed over and counted, as
 * are malformed ones. What is kept is bounded: when it is full, the secret that came first is
 * forgotten.
 *
 * Secrets lie in secret memory; text that has passed through is wiped.
 *
 * Threads: one at a time. */
#ifndef ET_NODE_KEYLOG_KEYLOG_H
#define ET_NODE_KEYLOG_KEYLOG_H

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_KEYLOG_RANDOM_SIZE 32 /* bytes */
#define ET_KEYLOG_SECRET_MAX 64	 /* bytes; no hash of TLS is longer */
#define ET_KEYLOG_ENTRIES_MAX (1U << 20)

enum et_keylog_label {
	ET_KEYLOG_MASTER_SECRET,    /* CLIENT_RANDOM: the 48 bytes of (D)TLS 1.2 and older */
	ET_KEYLOG_CLIENT_HANDSHAKE, /* CLIENT_HANDSHAKE_TRAFFIC_SECRET, and so on: TLS 1.3 */
	ET_KEYLOG_SERVER_HANDSHAKE,
	ET_KEYLOG_CLIENT_TRAFFIC, /* CLIENT_TRAFFIC_SECRET_0 */
	ET_KEYLOG_SERVER_TRAFFIC,
	ET_KEYLOG_EXPORTER, /* EXPORTER_SECRET */
};

struct et_keylog_counts {
	uint64_t kept; /* secrets that were new, or replaced another of the same label and random */
	uint64_t other;	    /* lines of other labels, comments, empty lines */
	uint64_t malformed; /* lines of our labels that are not what they should be, lines too long
			     */
	uint64_t forgotten; /* secrets that gave way to newer ones */
};

struct et_keylog;

/* An empty log of at most `max` secrets (1 to ET_KEYLOG_ENTRIES_MAX). `seed` keeps those who choose
 * their random from choosing where it is looked up too. The caller owns *ret. -ENOMEM */
int et_keylog_new(uint32_t max, uint64_t seed, struct et_keylog **ret,
		  struct et_error *reterr) ET_MUST_CHECK;

/* Wipe and release. NULL is allowed. Always returns NULL. */
struct et_keylog *et_keylog_free(struct et_keylog *k);
static inline void et_keylog_freep(struct et_keylog **k)
{
	*k = et_keylog_free(*k);
}

/* The next bytes of the log. A last line without its end waits for the rest.
 * -ENOMEM: secrets of these bytes were not kept. */
int et_keylog_add(struct et_keylog *k, const void *data, size_t size) ET_MUST_CHECK;

/* Nothing follows: the last line is whole without its end. -ENOMEM */
int et_keylog_end(struct et_keylog *k) ET_MUST_CHECK;

/* Add what is between the position of `fd` and the end of its file. May be called again after the
 * file has grown. -errno of read(2), -ENOMEM */
int et_keylog_read(struct et_keylog *k, int fd, struct et_error *reterr) ET_MUST_CHECK;

/* The secret of the handshake with this client random. *ret is borrowed until the log is touched
 * again or freed. false: it is not there (yet). */
bool et_keylog_find(const struct et_keylog *k, enum et_keylog_label label,
		    const uint8_t random[ET_KEYLOG_RANDOM_SIZE], struct et_view *ret);

struct et_keylog_counts et_keylog_counts(const struct et_keylog *k);

#endif
