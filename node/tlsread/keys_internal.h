/* Suites and keys.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_TLSREAD_KEYS_INTERNAL_H
#define ET_NODE_TLSREAD_KEYS_INTERNAL_H

#include "node/base/bytes.h"

enum {
	HASH_MAX = 48,
	KEY_MAX = 32,
	IV_SIZE = 12,
	RECORD_HEAD = 5,
	RECORD_MAX = 16384 + 2048, /* of a protected one */
};

enum kind { KIND_GCM, KIND_CHACHA, KIND_CBC };

struct suite {
	uint16_t number;
	bool is_tls13;
	enum kind kind;
	uint8_t key_size;
	uint8_t mac_size; /* CBC */
	const char *hash; /* of key derivation */
	const char *mac;  /* CBC */
	uint8_t hash_size;
};

/* NULL: not read here. */
const struct suite *suite_find(uint16_t number);

/* The keys of one direction: lies in secret memory. */
struct keys {
	uint8_t secret[HASH_MAX]; /* TLS 1.3: the traffic secret */
	uint8_t key[KEY_MAX];
	uint8_t iv[IV_SIZE];
	uint8_t mac[HASH_MAX];
};

/* TLS 1.3 (RFC 8446, section 7.3): key and iv from ret->secret. false: OpenSSL failed. */
bool keys_expand(const struct suite *s, struct keys *ret);

/* The secret after a KeyUpdate (section 7.2), with its key and iv. */
bool keys_update(const struct suite *s, const struct keys *from, struct keys *ret);

/* TLS 1.2 (RFC 5246, section 6.3): both directions from the master secret. */
bool keys_block(const struct suite *s, struct et_view master, const uint8_t client_random[32],
		const uint8_t server_random[32], struct keys *client, struct keys *server);

/* One protected record: its header, its payload, its number. On success the content is in `ret`
 * (room for as much as the payload), *ret_size and *ret_type say what it is. false: another key,
 * another number, or forged; `ret` is not to be read then. */
bool record_open(const struct suite *s, const struct keys *k, bool encrypt_then_mac,
		 uint64_t number, const uint8_t head[RECORD_HEAD], const uint8_t *payload,
		 size_t size, uint8_t *ret, size_t *ret_size, uint8_t *ret_type);

#endif
