/* libsrtp2 guesses the index of a packet from what it has seen (RFC 3711, 3.3.1) and checks the
 * tag. A session whose guess fails is told another rollover counter (srtp_set_stream_roc()) and
 * asked again; a failed check changes nothing in it.
 *
 * Searches come at failures 1, 2, 4, 8, ... in a row: a damaged packet costs one, a wrong key a
 * few. */
#include "node/srtp/srtp.h"

#include <pthread.h>
#include <srtp2/srtp.h>
#include <stdlib.h>

enum {
	WINDOW = 1024, /* packets that may come late, or twice */
	RTP_SIZE_MIN = 12,
	RTCP_SIZE_MIN = 12, /* header, SSRC, E and index */
	TRIES_DEFAULT = 256,
	TRIES_MAX = 4096,
	PACKET_MAX = 65535,
	RTCP_TAG_SIZE = 10, /* bytes of HMAC-SHA1; of RTP too, but in the suites with 32 bits */
	SHORT_TAG_SIZE = 4,
	LOST_MIN = 2, /* failures in a row before a stream that did open is looked for elsewhere */
};

struct et_srtp {
	srtp_t session; /* owned */
	uint32_t ssrc;
	uint32_t tries;
	uint32_t failures; /* in a row */
	bool has_opened;
	uint8_t rtp_tail; /* bytes of a packet behind its MKI: its tag, or none with GCM */
	uint8_t rtcp_tail;
	uint8_t mki_size;
	uint8_t mki[ET_SRTP_MKI_MAX];
};

static int policy_of(enum et_srtp_suite suite, srtp_policy_t *ret)
{
	switch (suite) {
	case ET_SRTP_AES_CM_128_HMAC_SHA1_80:
		srtp_crypto_policy_set_rtp_default(&ret->rtp);
		srtp_crypto_policy_set_rtcp_default(&ret->rtcp);
		return 0;
	case ET_SRTP_AES_CM_128_HMAC_SHA1_32:
		srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(&ret->rtp);
		srtp_crypto_policy_set_rtcp_default(&ret->rtcp); /* RFC 4568, 6.2.2: 80 bits */
		return 0;
	case ET_SRTP_AES_256_CM_HMAC_SHA1_80:
		srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&ret->rtp);
		srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&ret->rtcp);
		return 0;
	case ET_SRTP_AES_256_CM_HMAC_SHA1_32:
		srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32(&ret->rtp);
		srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&ret->rtcp);
		return 0;
	case ET_SRTP_AEAD_AES_128_GCM:
		srtp_crypto_policy_set_aes_gcm_128_16_auth(&ret->rtp);
		srtp_crypto_policy_set_aes_gcm_128_16_auth(&ret->rtcp);
		return 0;
	case ET_SRTP_AEAD_AES_256_GCM:
		srtp_crypto_policy_set_aes_gcm_256_16_auth(&ret->rtp);
		srtp_crypto_policy_set_aes_gcm_256_16_auth(&ret->rtcp);
		return 0;
	case ET_SRTP_NONE:
	default:
		return ET_EUNSUPPORTED;
	}
}

/* The tag stands behind the MKI (RFC 3711, 3.1), but that of GCM before it (RFC 7714, 8.1 and 9.2).
 */
static uint8_t tail_of(enum et_srtp_suite suite)
{
	if (suite == ET_SRTP_AEAD_AES_128_GCM || suite == ET_SRTP_AEAD_AES_256_GCM) {
		return 0;
	}
	return suite == ET_SRTP_AES_CM_128_HMAC_SHA1_32 || suite == ET_SRTP_AES_256_CM_HMAC_SHA1_32
		       ? SHORT_TAG_SIZE
		       : RTCP_TAG_SIZE;
}

/* libsrtp2 takes pointers to bytes that it may write, and does not. It copies what it needs. */
static int session_new(const struct et_srtp_key *key, uint32_t ssrc, srtp_t *ret,
		       struct et_error *reterr)
{
	uint8_t material[ET_SRTP_MATERIAL_MAX];
	srtp_policy_t policy;

	memset(&policy, 0, sizeof(policy));
	int rc = policy_of(key->suite, &policy);
	if (rc < 0) {
		return et_fail(reterr, rc, "SRTP suite %d", (int)key->suite);
	}
	if (key->material.size != et_srtp_key_size(key->suite) + et_srtp_salt_size(key->suite) ||
	    key->mki.size > ET_SRTP_MKI_MAX) {
		return et_fail(reterr, ET_EMALFORMED, "SRTP key for %s",
			       et_srtp_suite_name(key->suite));
	}
	memcpy(material, key->material.data, key->material.size);
	policy.ssrc = (srtp_ssrc_t){ .type = ssrc_specific, .value = ssrc };
	policy.key = material;
	policy.window_size = WINDOW;
	policy.allow_repeat_tx = 1;
	srtp_err_status_t status = srtp_create(ret, &policy);
	explicit_bzero(material, sizeof(material));
	if (status != srtp_err_status_ok) {
		return et_fail_plain(reterr, status == srtp_err_status_alloc_fail ? -ENOMEM : -EIO,
				     "libsrtp2 takes no key for %s: status %d",
				     et_srtp_suite_name(key->suite), (int)status);
	}
	return 0;
}

/* ---- The library ------------------------------------------------------------------------------
 */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static srtp_err_status_t init_status;
static srtp_t standing; /* owned by the process */

/* Debian's libsrtp2 opens NSS with the first cipher and closes it with the last one, milliseconds
 * each time; a session that stays makes an opener a hundred times cheaper. */
static void library_init(void)
{
	static const uint8_t material[30];
	const struct et_srtp_key key = {
		.suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80,
		.material = { material, sizeof(material) },
	};

	init_status = srtp_init();
	if (init_status == srtp_err_status_ok) {
		(void)session_new(&key, 0, &standing, NULL); /* without it all is slower */
	}
}

int et_srtp_new(const struct et_srtp_key *key, uint32_t ssrc, struct et_srtp **ret,
		struct et_error *reterr)
{
	(void)pthread_once(&once, library_init);
	if (init_status != srtp_err_status_ok) {
		return et_fail_plain(reterr, -EIO, "libsrtp2 does not start: status %d",
				     (int)init_status);
	}
	struct et_srtp *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "SRTP");
	}
	s->ssrc = ssrc;
	s->tries = TRIES_DEFAULT;
	int rc = session_new(key, ssrc, &s->session, reterr);
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->mki_size = (uint8_t)key->mki.size;
	if (key->mki.size > 0) {
		memcpy(s->mki, key->mki.data, key->mki.size);
	}
	s->rtp_tail = tail_of(key->suite);
	s->rtcp_tail = s->rtp_tail == 0 ? 0 : RTCP_TAG_SIZE;
	*ret = s;
	return 0;
}

struct et_srtp *et_srtp_free(struct et_srtp *s)
{
	if (s != NULL) {
		(void)srtp_dealloc(s->session);
		free(s);
	}
	return NULL;
}

void et_srtp_set_tries(struct et_srtp *s, uint32_t tries)
{
	et_assert(tries > 0 && tries <= TRIES_MAX);
	s->tries = tries;
}

static int translate(srtp_err_status_t status)
{
	switch ((int)status) {
	case srtp_err_status_ok:
		return 0;
	case srtp_err_status_replay_fail:
	case srtp_err_status_replay_old:
		return ET_EEXISTS;
	case srtp_err_status_bad_param:
	case srtp_err_status_parse_err:
		return ET_EMALFORMED;
	default:
		return ET_ENOKEY;
	}
}

/* Copy a packet without its MKI, which must be ours. libsrtp2 2.5 looks for it in the wrong place
 * in SRTCP of the suites with short tags, so it never sees one. false: it is another, or too short.
 */
static bool take_packet(const struct et_srtp *s, const uint8_t *packet, size_t *size, uint8_t tail,
			uint8_t *ret)
{
	if (*size < (size_t)RTP_SIZE_MIN + tail + s->mki_size) {
		return false;
	}
	const size_t at = *size - tail - s->mki_size;
	memcpy(ret, packet, *size);
	if (s->mki_size > 0) {
		if (memcmp(packet + at, s->mki, s->mki_size) != 0) {
			return false;
		}
		memmove(ret + at, packet + at + s->mki_size, tail);
		*size -= s->mki_size;
	}
	return true;
}

/* Put it in again, for a sender. */
static void put_mki(const struct et_srtp *s, uint8_t *packet, size_t *size, uint8_t tail)
{
	uint8_t *at = packet + *size - tail;

	memmove(at + s->mki_size, at, tail);
	memcpy(at, s->mki, s->mki_size);
	*size += s->mki_size;
}

/* Once, with the counter that the session holds for right. */
static int try_rtp(struct et_srtp *s, const uint8_t *packet, size_t size, uint8_t *ret,
		   size_t *ret_size)
{
	if (!take_packet(s, packet, &size, s->rtp_tail, ret)) {
		return ET_ENOKEY;
	}
	int n = (int)size;
	int rc = translate(srtp_unprotect(s->session, ret, &n));
	if (rc == 0) {
		*ret_size = (size_t)n;
	}
	return rc;
}

static bool is_power_of_two(uint32_t n)
{
	return (n & (n - 1)) == 0;
}

uint32_t et_srtp_roc(const struct et_srtp *s)
{
	uint32_t roc = 0;
	(void)srtp_get_stream_roc(s->session, s->ssrc, &roc);
	return roc;
}

/* Other rollover counters than the one that was tried, upwards: time does not run back. */
static int search_rtp(struct et_srtp *s, const uint8_t *packet, size_t size, uint8_t *ret,
		      size_t *ret_size)
{
	uint32_t first = s->has_opened ? et_srtp_roc(s) : 0;
	int rc = ET_ENOKEY;

	for (uint32_t i = 1; i <= s->tries && rc == ET_ENOKEY && first + i > first; i++) {
		if (srtp_set_stream_roc(s->session, s->ssrc, first + i) != srtp_err_status_ok) {
			break;
		}
		rc = try_rtp(s, packet, size, ret, ret_size);
	}
	/* The session follows by itself from here; 0 stands for "none is set". */
	(void)srtp_set_stream_roc(s->session, s->ssrc, 0);
	return rc == ET_EEXISTS ? ET_ENOKEY : rc;
}

int et_srtp_open_rtp(struct et_srtp *s, const uint8_t *packet, size_t size, uint8_t *ret,
		     size_t *ret_size)
{
	if (size < RTP_SIZE_MIN || size > PACKET_MAX) {
		return ET_EMALFORMED;
	}
	int rc = try_rtp(s, packet, size, ret, ret_size);
	if (rc == ET_ENOKEY) {
		s->failures++;
		if (is_power_of_two(s->failures) && (!s->has_opened || s->failures >= LOST_MIN) &&
		    et_get32(packet + 8) == s->ssrc) {
			rc = search_rtp(s, packet, size, ret, ret_size);
		}
	}
	if (rc == 0) {
		s->has_opened = true;
		s->failures = 0;
	}
	return rc;
}

int et_srtp_open_rtcp(struct et_srtp *s, const uint8_t *packet, size_t size, uint8_t *ret,
		      size_t *ret_size)
{
	if (size < RTCP_SIZE_MIN || size > PACKET_MAX) {
		return ET_EMALFORMED;
	}
	if (!take_packet(s, packet, &size, s->rtcp_tail, ret)) {
		return ET_ENOKEY;
	}
	int n = (int)size;
	int rc = translate(srtp_unprotect_rtcp(s->session, ret, &n));
	if (rc == 0) {
		*ret_size = (size_t)n;
	}
	return rc;
}

bool et_srtp_has_opened(const struct et_srtp *s)
{
	return s->has_opened;
}

int et_srtp_seal_rtp(struct et_srtp *s, uint8_t *packet, size_t *size)
{
	int n = (int)*size;
	int rc = translate(srtp_protect(s->session, packet, &n));
	if (rc == 0) {
		*size = (size_t)n;
		put_mki(s, packet, size, s->rtp_tail);
	}
	return rc;
}

int et_srtp_seal_rtcp(struct et_srtp *s, uint8_t *packet, size_t *size)
{
	int n = (int)*size;
	int rc = translate(srtp_protect_rtcp(s->session, packet, &n));
	if (rc == 0) {
		*size = (size_t)n;
		put_mki(s, packet, size, s->rtcp_tail);
	}
	return rc;
}

void et_srtp_seal_from(struct et_srtp *s, uint32_t roc)
{
	(void)srtp_set_stream_roc(s->session, s->ssrc, roc);
}
