#include "node/srtp/dtls.h"

#include "node/crypto/hash.h"

enum {
	RECORD_HEAD = 13,
	HANDSHAKE_HEAD = 12,
	CONTENT_HANDSHAKE = 22,
	CLIENT_HELLO = 1,
	SERVER_HELLO = 2,
	EXTENSION_USE_SRTP = 14,
	EXTENSION_VERSIONS = 43,
	VERSION_1_0 = 0xFEFF,
	VERSION_1_3 = 0xFEFC,
};

static void skip(struct et_reader *r, size_t size)
{
	(void)et_read_bytes(r, size);
}

static struct et_reader inner(struct et_reader *r, size_t size)
{
	const uint8_t *p = et_read_bytes(r, size);
	return p != NULL ? et_reader_of(p, size) : (struct et_reader){ .failed = true };
}

/* Profiles, and an MKI (RFC 5764, section 4.1.1). */
static void read_use_srtp(struct et_reader *r, struct et_dtls_hello *ret)
{
	struct et_reader profiles = inner(r, et_read16(r));
	uint16_t profile = et_read16(&profiles);
	size_t size = et_read8(r);
	const uint8_t *mki = et_read_bytes(r, size);

	if (!profiles.failed && mki != NULL && size <= sizeof(ret->mki)) {
		ret->suite = et_srtp_suite_of_profile(profile);
		memcpy(ret->mki, mki, size);
		ret->mki_size = (uint8_t)size;
	}
}

static void read_server_extensions(struct et_reader *r, struct et_dtls_hello *ret)
{
	struct et_reader list = inner(r, et_read16(r));

	while (!list.failed && et_reader_left(&list) >= 4) {
		uint16_t type = et_read16(&list);
		struct et_reader e = inner(&list, et_read16(&list));
		if (type == EXTENSION_USE_SRTP && !e.failed) {
			read_use_srtp(&e, ret);
		} else if (type == EXTENSION_VERSIONS && !e.failed) {
			uint16_t version = et_read16(&e);
			ret->version = e.failed ? ret->version : version;
		}
	}
}

/* ClientHello to its random; ServerHello to its extensions (RFC 5246, section 7.4.1; RFC
 * 6347, 4.2.1). */
static bool read_hello(struct et_reader r, uint8_t type, struct et_dtls_hello *ret)
{
	*ret = (struct et_dtls_hello){ .is_client = type == CLIENT_HELLO };
	ret->version = et_read16(&r);
	const uint8_t *random = et_read_bytes(&r, ET_DTLS_RANDOM_SIZE);
	skip(&r, et_read8(&r)); /* session */
	if (random == NULL || r.failed || ret->version >> 8 != 0xFE) {
		return false;
	}
	memcpy(ret->random, random, ET_DTLS_RANDOM_SIZE);
	if (ret->is_client) {
		return true;
	}
	ret->cipher = et_read16(&r);
	skip(&r, 1); /* compression */
	if (r.failed) {
		return false;
	}
	if (et_reader_left(&r) > 0) {
		read_server_extensions(&r, ret);
	}
	return true;
}

/* The handshake messages of one record. */
static bool read_record(struct et_reader r, struct et_dtls_hello *ret)
{
	while (!r.failed && et_reader_left(&r) >= HANDSHAKE_HEAD) {
		const uint8_t *head = et_read_bytes(&r, HANDSHAKE_HEAD);
		size_t size = et_get32(head) & 0xFFFFFF;
		size_t offset =
			et_get32(head + 5) & 0xFFFFFF; /* behind a byte of the sequence number */
		size_t part = et_get32(head + 8) & 0xFFFFFF;
		struct et_reader body = inner(&r, part);
		bool whole = !body.failed && offset == 0 && part == size;
		if (whole && (head[0] == CLIENT_HELLO || head[0] == SERVER_HELLO) &&
		    read_hello(body, head[0], ret)) {
			return true;
		}
	}
	return false;
}

bool et_dtls_hello_find(const uint8_t *data, size_t size, struct et_dtls_hello *ret)
{
	struct et_reader r = et_reader_of(data, size);

	while (et_reader_left(&r) >= RECORD_HEAD) {
		const uint8_t *head = et_read_bytes(&r, RECORD_HEAD);
		struct et_reader record = inner(&r, et_get16(head + 11));
		if (record.failed || head[1] != 0xFE) {
			return false;
		}
		/* Epoch 0: not encrypted. */
		if (head[0] == CONTENT_HANDSHAKE && et_get16(head + 3) == 0 &&
		    read_record(record, ret)) {
			return true;
		}
	}
	return false;
}

/* Suites whose PRF has SHA-384 (RFC 5288, 5289, 5487, 5489, 8442); all others have SHA-256. */
static bool has_sha384(uint16_t cipher)
{
	static const uint16_t suites[] = {
		0x009D, 0x009F, 0x00A1, 0x00A3, 0x00A5, 0x00A7, 0x00A9, 0x00AB, 0x00AD,
		0x00AF, 0x00B1, 0x00B3, 0x00B5, 0x00B7, 0x00B9, 0xC024, 0xC026, 0xC028,
		0xC02A, 0xC02C, 0xC02E, 0xC030, 0xC032, 0xC038, 0xC03B, 0xD002,
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(suites); i++) {
		if (suites[i] == cipher) {
			return true;
		}
	}
	return false;
}

int et_dtls_srtp_keys(const struct et_dtls_hello *client, const struct et_dtls_hello *server,
		      struct et_view master_secret, struct et_secret **ret, struct et_error *reterr)
{
	const size_t key = et_srtp_key_size(server->suite);
	const size_t salt = et_srtp_salt_size(server->suite);
	uint8_t seed[2 * ET_DTLS_RANDOM_SIZE];
	ET_CLEANUP(et_secret_freep) struct et_secret *block = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *material = NULL;

	if (server->version == VERSION_1_3) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED, "keys of DTLS 1.3 are not derived");
	}
	memcpy(seed, client->random, ET_DTLS_RANDOM_SIZE);
	memcpy(seed + ET_DTLS_RANDOM_SIZE, server->random, ET_DTLS_RANDOM_SIZE);
	enum et_tls_prf prf = server->version == VERSION_1_0 ? ET_TLS_PRF_MD5_SHA1
			      : has_sha384(server->cipher)   ? ET_TLS_PRF_SHA384
							     : ET_TLS_PRF_SHA256;
	int rc = et_tls_prf(prf, master_secret, "EXTRACTOR-dtls_srtp",
			    (struct et_view){ seed, sizeof(seed) }, 2 * (key + salt), &block,
			    reterr);
	if (rc < 0) {
		return rc;
	}
	material = et_secret_new(2 * (key + salt));
	if (material == NULL) {
		return et_fail(reterr, -ENOMEM, "DTLS-SRTP keys");
	}
	/* client key | server key | client salt | server salt */
	const uint8_t *from = et_secret_bytes(block);
	uint8_t *to = et_secret_edit(material);
	memcpy(to, from, key);
	memcpy(to + key, from + 2 * key, salt);
	memcpy(to + key + salt, from + key, key);
	memcpy(to + 2 * key + salt, from + 2 * key + salt, salt);
	*ret = ET_TAKE(material);
	return 0;
}
