/* HPKE's inner steps, for the test vectors of RFC 9180, appendix A. */
#ifndef ET_NODE_CRYPTO_HPKE_INTERNAL_H
#define ET_NODE_CRYPTO_HPKE_INTERNAL_H

#include <stdbool.h>

#include "node/crypto/hpke.h"

enum { HPKE_AES_128_GCM = 1, HPKE_AES_256_GCM = 2 }; /* RFC 9180, section 7.3 */

/* What the key schedule gives (section 5.1). `key` has 16 or 32 bytes. */
struct et_hpke_schedule {
	struct et_secret *key;	   /* owned */
	uint8_t shared_secret[32]; /* wiped by et_hpke_schedule_release() */
	uint8_t exporter_secret[32];
	uint8_t base_nonce[12];
	uint16_t aead;
};
void et_hpke_schedule_release(struct et_hpke_schedule *s);

/* The sender's side with a given ephemeral key, and the receiver's. */
int et_hpke_sender(uint16_t aead, const uint8_t public_key[32], const struct et_secret *ephemeral,
		   struct et_view info, uint8_t ret_enc[32], struct et_hpke_schedule *ret,
		   struct et_error *reterr) ET_MUST_CHECK;
int et_hpke_receiver(uint16_t aead, const struct et_secret *private_key, const uint8_t enc[32],
		     struct et_view info, struct et_hpke_schedule *ret,
		     struct et_error *reterr) ET_MUST_CHECK;

/* Message 0 of the context: `size` in, size + 16 out (sealing), or size - 16 (opening). */
int et_hpke_crypt(const struct et_hpke_schedule *s, bool seal, struct et_view aad, const void *in,
		  size_t size, uint8_t *ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
