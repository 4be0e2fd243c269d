/* Offers of a recording client, and what is answered to them (RFC 3264; RFC 4568 for SRTP). */
#include <stdio.h>

#include "node/capture/srs_internal.h"
#include "node/io/clock.h"

/* The crypto line to take: the first that we can follow; NULL: none. */
static const struct et_sdp_crypto *crypto_of(const struct et_sdp_media *m)
{
	struct et_sdp_key keys[ET_SDP_KEYS_MAX];
	for (uint32_t i = 0; i < m->crypto_count; i++) {
		if (et_srtp_suite_find(m->crypto[i].suite) != ET_SRTP_NONE) {
			uint32_t count = et_sdp_crypto_keys(&m->crypto[i], keys);
			explicit_bzero(keys, sizeof(keys));
			if (count > 0) {
				return &m->crypto[i];
			}
		}
	}
	return NULL;
}

/* Protected without a key that we can follow (DTLS): its client would wait for us in vain. */
static bool is_acceptable(const struct et_sdp_media *m)
{
	return m->port != 0 && m->is_rtp && (m->kind == ET_SDP_AUDIO || m->kind == ET_SDP_VIDEO) &&
	       (!m->is_secure || crypto_of(m) != NULL);
}

/* Base64 with '+', '/' and padding, as SDP has it. */
static void key_text(const uint8_t *key, size_t size, char ret[72])
{
	et_base64(key, size, ret);
	size_t n = strlen(ret);
	for (size_t i = 0; i < n; i++) {
		ret[i] = (char)(ret[i] == '-' ? '+' : ret[i] == '_' ? '/' : ret[i]);
	}
	while (n % 4 != 0) {
		ret[n++] = '=';
	}
	ret[n] = '\0';
}

static void answer_crypto(struct et_srs_media *own, const struct et_sdp_media *m, char ret[160])
{
	const struct et_sdp_crypto *line = crypto_of(m);
	uint8_t key[ET_SRTP_MATERIAL_MAX];
	ret[0] = '\0';
	if (line == NULL) {
		return;
	}
	enum et_srtp_suite suite = et_srtp_suite_find(line->suite);
	if (own->suite != suite) {
		size_t size = et_srtp_key_size(suite) + et_srtp_salt_size(suite);
		et_assert(size <= sizeof(key));
		et_random(key, size);
		key_text(key, size, own->key);
		explicit_bzero(key, sizeof(key));
		own->suite = suite;
	}
	(void)snprintf(ret, 160, "%u %.*s inline:%s", line->tag, (int)line->suite.size,
		       (const char *)line->suite.data, own->key);
}

/* What becomes of the offer in s->sdp. 0; ET_EUNSUPPORTED: nothing in it can be received;
 * ET_ELIMIT: no port is free. */
static int take_offer(struct et_srs *s, struct et_srs_session *x, struct et_sdp_answer *ret)
{
	const struct et_sdp *sdp = &s->sdp;
	uint32_t accepted = 0;
	bool full = false;

	*ret = (struct et_sdp_answer){
		.session = x->sdp_id,
		.version = x->sdp_version,
		.address = s->media_text,
		.ipv6 = strchr(s->media_text, ':') != NULL,
	};
	if (sdp->clipped || sdp->media_count < x->media_count) {
		return ET_EUNSUPPORTED;
	}
	for (uint32_t i = 0; i < sdp->media_count; i++) {
		const struct et_sdp_media *m = &sdp->media[i];
		struct et_srs_media *own = &x->media[i];
		if (!is_acceptable(m)) {
			continue;
		}
		if (own->rtp < 0 && !et_srs_media_open(s, x, i, m->rtcp_mux)) {
			full = true;
			continue;
		}
		ret->media[i].port = own->port;
		ret->media[i].rtcp_mux = m->rtcp_mux;
		ret->media[i].inactive =
			m->direction == ET_SDP_INACTIVE || m->direction == ET_SDP_RECVONLY;
		answer_crypto(own, m, ret->media[i].crypto);
		accepted++;
	}
	if (accepted == 0) {
		return full ? ET_ELIMIT : ET_EUNSUPPORTED;
	}
	x->media_count = sdp->media_count;
	return 0;
}

/* Into x->answer, under a new version where it says something new. */
static int write_answer(struct et_srs *s, struct et_srs_session *x, struct et_view offer,
			struct et_sdp_answer *a)
{
	struct et_buffer b = { .data = NULL };
	et_sdp_answer_write(offer, &s->sdp, a, &b);
	if (x->answer.size > 0 && !view_is(&x->answer, view_of(&b))) {
		if (b.data != NULL) {
			explicit_bzero(b.data, b.size);
		}
		et_buffer_release(&b);
		a->version = ++x->sdp_version;
		et_sdp_answer_write(offer, &s->sdp, a, &b);
	}
	explicit_bzero(a->media, sizeof(a->media));
	if (b.failed) {
		et_buffer_release(&b);
		return -ENOMEM;
	}
	if (x->answer.data != NULL) {
		explicit_bzero(x->answer.data, x->answer.size);
	}
	et_buffer_release(&x->answer);
	x->answer = b;
	return 0;
}

int et_srs_negotiate(struct et_srs *s, struct et_srs_session *x, struct et_view offer)
{
	struct et_sdp_answer a;
	if (et_sdp_parse(offer, &s->sdp) < 0) {
		return ET_EMALFORMED;
	}
	int rc = take_offer(s, x, &a);
	return rc < 0 ? rc : write_answer(s, x, offer, &a);
}
