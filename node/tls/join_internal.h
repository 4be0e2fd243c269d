/* What the sources of joining share. */
#ifndef ET_NODE_TLS_JOIN_INTERNAL_H
#define ET_NODE_TLS_JOIN_INTERNAL_H

#include "node/tls/join.h"

#define JOIN_SIGNED_LABEL "evertape join/1"
#define JOIN_SIGNED_BYTES (sizeof(JOIN_SIGNED_LABEL) - 1 + 64)
#define JOIN_EXPORTER_LABEL "EXPORTER-evertape-join"

/* What the token's key signs. */
void join_signed_bytes(const uint8_t exporter[32], const uint8_t hash[32],
		       uint8_t ret[JOIN_SIGNED_BYTES]);

#endif
