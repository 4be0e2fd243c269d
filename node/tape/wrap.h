/* The wrapped DEK: how the recorder seals a segment's key to the KEK's public half, and what the
 * keeper must name to open it (HPKE, RFC 9180). Both sides take `info` and `aad` from here.
 *
 *   info := "evertape dek/1"
 *   aad  := recording 16 | DEK id 8 | KEK version 4          (big-endian)
 *
 * A wrap moved to another recording, DEK id or KEK version does not open.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_TAPE_WRAP_H
#define ET_NODE_TAPE_WRAP_H

#include "node/crypto/hpke.h"

#define ET_DEK_SIZE 32	       /* bytes */
#define ET_DEK_WRAPPED_SIZE 48 /* bytes of ciphertext */
#define ET_DEK_AAD_SIZE 28

static inline void et_dek_aad(const uint8_t recording[16], uint64_t dek_id, uint32_t kek_version,
			      uint8_t ret[ET_DEK_AAD_SIZE])
{
	memcpy(ret, recording, 16);
	et_put64(ret + 16, dek_id);
	et_put32(ret + 24, kek_version);
}

static inline struct et_view et_dek_info(void)
{
	return (struct et_view){ (const uint8_t *)"evertape dek/1", 14 };
}

/* Seal `dek` (ET_DEK_SIZE) to a KEK version. */
ET_MUST_CHECK static inline int et_dek_wrap(const uint8_t kek_public[ET_HPKE_KEY_SIZE],
					    uint32_t kek_version, const uint8_t recording[16],
					    uint64_t dek_id, const struct et_secret *dek,
					    uint8_t ret_enc[ET_HPKE_ENC_SIZE],
					    uint8_t ret_ciphertext[ET_DEK_WRAPPED_SIZE],
					    struct et_error *reterr)
{
	uint8_t aad[ET_DEK_AAD_SIZE];
	et_dek_aad(recording, dek_id, kek_version, aad);
	return et_hpke_seal(kek_public, et_dek_info(), (struct et_view){ aad, sizeof(aad) }, dek,
			    ret_enc, ret_ciphertext, reterr);
}

/* Open it with the KEK's secret half. The caller owns *ret. ET_EINTEGRITY: not that wrap. */
ET_MUST_CHECK static inline int et_dek_unwrap(const struct et_secret *kek, uint32_t kek_version,
					      const uint8_t recording[16], uint64_t dek_id,
					      const uint8_t enc[ET_HPKE_ENC_SIZE],
					      struct et_view ciphertext, struct et_secret **ret,
					      struct et_error *reterr)
{
	uint8_t aad[ET_DEK_AAD_SIZE];
	et_dek_aad(recording, dek_id, kek_version, aad);
	return et_hpke_open(kek, enc, et_dek_info(), (struct et_view){ aad, sizeof(aad) },
			    ciphertext, ret, reterr);
}

#endif
