/* Escrow: KEK secret and CA key, shared k of n, as text that people can type.
 *
 *   payload := version 1 | KEK version 4 | KEK secret 32 | CA private number 32
 *   text    := "evs1-" groups of five of base32 (RFC 4648, small letters), joined by dashes
 *
 * The share itself (node/crypto/shamir.h) carries threshold, set and check. */
#include <ctype.h>
#include <string.h>

#include "node/crypto/shamir.h"
#include "node/keeper/keeper_internal.h"

#define PREFIX "evs1-"
#define PREFIX_BYTES (sizeof(PREFIX) - 1)
#define PAYLOAD_VERSION 1
#define PAYLOAD_BYTES (1 + 4 + 32 + 32)
#define SHARE_BYTES (PAYLOAD_BYTES + ET_SHAMIR_OVERHEAD_SIZE)
#define GROUP 5

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

/* Text of a share. The caller owns it. */
static struct et_secret *share_format(const struct et_secret *share)
{
	size_t digits = (et_secret_size(share) * 8 + 4) / 5;
	size_t size = PREFIX_BYTES + digits + (digits - 1) / GROUP;
	const uint8_t *in = et_secret_bytes(share);
	unsigned bits = 0;
	unsigned held = 0;
	size_t next = 0;

	struct et_secret *text = et_secret_new(size);
	if (text == NULL) {
		return NULL;
	}
	uint8_t *out = et_secret_edit(text);
	memcpy(out, PREFIX, PREFIX_BYTES);
	out += PREFIX_BYTES;
	for (size_t i = 0; i < digits; i++) {
		if (i > 0 && i % GROUP == 0) {
			*out++ = '-';
		}
		if (bits < 5) {
			held = held << 8 | (next < et_secret_size(share) ? in[next] : 0U);
			next++;
			bits += 8;
		}
		bits -= 5;
		*out++ = (uint8_t)alphabet[held >> bits & 31];
		held &= (1U << bits) - 1;
	}
	return text;
}

/* Read a text as a person typed it: case, spaces and dashes do not matter. */
static int share_parse(const char *text, size_t number, struct et_secret **ret,
		       struct et_error *reterr)
{
	size_t size = 0;
	unsigned bits = 0;
	unsigned held = 0;
	char prefix[PREFIX_BYTES];

	for (size_t i = 0; i < PREFIX_BYTES; i++) {
		prefix[i] = (char)tolower((unsigned char)text[i]);
		if (prefix[i] != PREFIX[i]) {
			return et_fail_plain(reterr, ET_EMALFORMED,
					     "share %zu does not begin with '" PREFIX "'", number);
		}
	}
	ET_CLEANUP(et_secret_freep) struct et_secret *share = et_secret_new(SHARE_BYTES);
	if (share == NULL) {
		return et_fail(reterr, -ENOMEM, "read share %zu", number);
	}
	uint8_t *out = et_secret_edit(share);
	for (const char *p = text + PREFIX_BYTES; *p != '\0'; p++) {
		if (*p == '-' || *p == ' ' || *p == '\n') {
			continue;
		}
		const char *digit = strchr(alphabet, tolower((unsigned char)*p));
		if (digit == NULL || size > SHARE_BYTES) {
			return et_fail_plain(reterr, ET_EMALFORMED, "share %zu is mistyped: %s",
					     number,
					     digit == NULL ? "a character does not belong there"
							   : "it is too long");
		}
		held = held << 5 | (unsigned)(digit - alphabet);
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			if (size < SHARE_BYTES) {
				out[size] = (uint8_t)(held >> bits);
			}
			size++;
			held &= (1U << bits) - 1;
		}
	}
	if (size != SHARE_BYTES) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "share %zu is mistyped: it has %zu of "
				     "%d bytes",
				     number, size, SHARE_BYTES);
	}
	*ret = ET_TAKE(share);
	return 0;
}

int escrow_split(uint32_t kek_version, const struct et_secret *kek, const struct et_secret *ca_key,
		 unsigned threshold, unsigned count, struct et_secret **shares,
		 struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *payload = et_secret_new(PAYLOAD_BYTES);
	ET_CLEANUP(et_secret_freep) struct et_secret *number = NULL;
	struct et_secret *raw[ET_ESCROW_SHARES_MAX] = { NULL };

	if (payload == NULL) {
		return et_fail(reterr, -ENOMEM, "make the escrow");
	}
	et_assert(et_secret_size(kek) == 32 && count <= ET_ESCROW_SHARES_MAX);
	int rc = et_ca_key_number(ca_key, &number, reterr);
	if (rc < 0) {
		return rc;
	}
	uint8_t *p = et_secret_edit(payload);
	p[0] = PAYLOAD_VERSION;
	et_put32(p + 1, kek_version);
	memcpy(p + 5, et_secret_bytes(kek), 32);
	memcpy(p + 37, et_secret_bytes(number), 32);
	rc = et_shamir_split(payload, threshold, count, raw, reterr);
	for (unsigned i = 0; i < count && rc == 0; i++) {
		shares[i] = share_format(raw[i]);
		if (shares[i] == NULL) {
			rc = et_fail(reterr, -ENOMEM, "make the escrow");
		}
	}
	for (unsigned i = 0; i < count; i++) {
		(void)et_secret_free(raw[i]);
		if (rc < 0) {
			shares[i] = et_secret_free(shares[i]);
		}
	}
	return rc;
}

int et_keeper_escrow_join(const char *const *shares, size_t count, uint32_t *ret_kek_version,
			  struct et_secret **ret_kek, struct et_secret **ret_ca_key,
			  struct et_error *reterr)
{
	struct et_secret *raw[ET_ESCROW_SHARES_MAX] = { NULL };
	ET_CLEANUP(et_secret_freep) struct et_secret *payload = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *number = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *kek = NULL;
	int rc = 0;

	if (count == 0 || count > ET_ESCROW_SHARES_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE, "%zu shares: give 2 to %d", count,
				     ET_ESCROW_SHARES_MAX);
	}
	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = share_parse(shares[i], i + 1, &raw[i], reterr);
	}
	if (rc == 0) {
		rc = et_shamir_join((const struct et_secret *const *)raw, (unsigned)count, &payload,
				    reterr);
	}
	for (size_t i = 0; i < count; i++) {
		(void)et_secret_free(raw[i]);
	}
	if (rc < 0) {
		return rc;
	}
	const uint8_t *p = et_secret_bytes(payload);
	if (et_secret_size(payload) != PAYLOAD_BYTES || p[0] != PAYLOAD_VERSION) {
		return et_fail(reterr, ET_EVERSION, "the escrow");
	}
	kek = et_secret_copy(p + 5, 32);
	number = et_secret_copy(p + 37, 32);
	if (kek == NULL || number == NULL) {
		return et_fail(reterr, -ENOMEM, "join the escrow");
	}
	rc = et_ca_key_of_number(number, ret_ca_key, reterr);
	if (rc == 0) {
		*ret_kek_version = et_get32(p + 1);
		*ret_kek = ET_TAKE(kek);
	}
	return rc;
}
