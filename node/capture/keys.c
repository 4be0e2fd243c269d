/* SRTP: the keys that signalling names, where they go, and whether one fits.
 *
 * A description's crypto lines are the keys of what its sender sends (RFC 4568, section 6.1). All
 * are kept, in the tape too, and the first packets of a stream tell which one it uses; the others
 * are not opened here: that is done when somebody reads (node/playback). A description that allows
 * protection and does not demand it (RTP/AVP with crypto lines) is decided by the same packets.
 *
 * The call table has no keys: after a restart, those of the segments before open the later ones,
 * and nothing is said about new streams until a description comes. */
#include <stdio.h>

#include "node/capture/keys_internal.h"

enum {
	CHECK_PACKETS = 4,	  /* of a stream, before it is said that no key opens it */
	OPENERS_PER_SECOND = 200, /* live, of all streams: each costs up to two milliseconds */
	GIVEN_PER_PACKET = 8,	  /* live: keys by hand that are tried on one */
	CALL_KEYS_MAX = 16,
	SECRET_LOOK_US =
		250000, /* between looks for a handshake's secret in a key log that grows */
	SECRET_LATE_US = 1000000,      /* ... when the stream is older than this: */
	SECRET_PATIENCE_US = 30000000, /* since it began */
};

static bool ring_make(struct et_call *c)
{
	return c->keys != NULL || et_srtp_ring_new(CALL_KEYS_MAX, &c->keys, NULL) == 0;
}

/* ---- To the tape ----------------------------------------------------------------------------- */

int et_keys_tell_item(struct et_engine *e, const struct et_call *c, const struct et_keys_item *item)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer plain = { .secret = true };
	int rc = et_keys_add(&plain, item);

	et_assert(rc == 0 && plain.size <= ET_KEYS_ITEM_MAX);
	return plain.failed ? -ENOMEM
			    : e->sink.keys(e->sink.arg, c->slot,
					   (struct et_view){ plain.data, plain.size });
}

struct et_keys_item et_keys_item_of(const struct et_srtp_entry *entry)
{
	return (struct et_keys_item){
		.type = ET_KEYS_SRTP,
		.time_us = entry->time_us,
		.origin = (uint8_t)entry->origin,
		.party = entry->party,
		.suite = (uint8_t)entry->key.suite,
		.has_ssrc = entry->has_ssrc,
		.ssrc = entry->ssrc,
		.tag = entry->tag,
		.mki = entry->key.mki,
		.material = entry->key.material,
	};
}

void et_keys_tell(struct et_engine *e, struct et_call *c)
{
	uint64_t serial = et_srtp_ring_serial(c->keys);
	uint32_t count = et_srtp_ring_count(c->keys);

	for (uint32_t i = 0; i < count && c->opened; i++) {
		if (serial - count + i + 1 <= c->keys_told) {
			continue;
		}
		struct et_srtp_entry entry = et_srtp_ring_at(c->keys, i);
		const struct et_keys_item item = et_keys_item_of(&entry);
		if (et_keys_tell_item(e, c, &item) < 0) {
			return; /* no room: the next sweep tries again */
		}
		c->keys_told = serial - count + i + 1;
	}
}

/* ---- From signalling ------------------------------------------------------------------------- */

void et_keys_add_to(struct et_engine *e, struct et_call *c, const struct et_srtp_entry *entry)
{
	if (c->decision != ET_DECISION_RECORD || !ring_make(c) ||
	    et_srtp_ring_add(c->keys, entry) != 1) {
		return;
	}
	for (struct et_stream *s = c->streams; s != NULL; s = s->next) {
		if (!s->frozen && s->opened != ET_OPENED_YES &&
		    (entry->party == s->party || entry->party == ET_SRTP_PARTY_ANY)) {
			s->checks = CHECK_PACKETS;
			s->given.above = s->given.below = 0;
			s->given.passes = 0;
		}
	}
	et_keys_tell(e, c);
}

void et_keys_from_description(struct et_engine *e, struct et_call *c, uint8_t side,
			      const struct et_sdp_media *m)
{
	struct et_sdp_key keys[ET_SDP_KEYS_MAX];

	if (c->session != NULL && side != 0) {
		return; /* ours: nothing is sent with it */
	}
	for (uint32_t i = m->crypto_count; i > 0; i--) { /* the one that is preferred, last */
		const struct et_sdp_crypto *line = &m->crypto[i - 1];
		enum et_srtp_suite suite = et_srtp_suite_find(line->suite);
		uint32_t count = suite != ET_SRTP_NONE ? et_sdp_crypto_keys(line, keys) : 0;
		for (uint32_t k = 0; k < count; k++) {
			struct et_srtp_entry entry = {
				.key = {
					.suite = suite,
					.material = { keys[k].material, keys[k].material_size },
					.mki = { keys[k].mki, keys[k].mki_size },
				},
				.origin = ET_SRTP_ORIGIN_SDES,
				/* One side sends for all participants. */
				.party = c->session != NULL ? ET_SRTP_PARTY_ANY : side,
				.tag = line->tag,
				.time_us = e->packet_us,
			};
			et_keys_add_to(e, c, &entry);
		}
	}
	explicit_bzero(keys, sizeof(keys));
}

/* ---- Fitness --------------------------------------------------------------------------------- */

/* What says that it is protected, and no key opens it. A restarted recorder cannot know. */
static void closed_so_far(struct et_stream *s)
{
	if (s->srtp[0] != '\0' && !s->call->restored && s->opened != ET_OPENED_NO) {
		s->opened = ET_OPENED_NO;
		s->call->dirty = true;
	}
}

/* Who writes a key log does it at the end of the handshake, and it is read once a second: by then
 * the stream's first packets are gone by. It is looked for now and then, as long as it lasts. */
static bool waits_for_secret(const struct et_engine *e, struct et_stream *s)
{
	if (!e->config.keylog_grows || et_srtp_ring_has(s->call->keys, s->party, s->key.ssrc)) {
		return false;
	}
	bool is_late = e->packet_us - s->first_us > SECRET_PATIENCE_US;
	s->checks_wait_us = e->packet_us + (is_late ? SECRET_LATE_US : SECRET_LOOK_US);
	closed_so_far(s);
	return true;
}

/* What SDP says of the stream's sender is in `own` (or NULL). */
void et_keys_begin_stream(struct et_engine *e, struct et_stream *s, const struct et_endpoint *own)
{
	bool named = own != NULL && own->is_srtp;

	if (named && own->is_secure) {
		memcpy(s->srtp, own->suite, sizeof(s->srtp));
	}
	if (named || et_srtp_ring_count(e->config.given) > 0 || e->handshakes != NULL) {
		s->checks = CHECK_PACKETS;
	}
}

static bool may_check(struct et_engine *e)
{
	if (e->config.deterministic) {
		return true;
	}
	if (e->now_us - e->openers_since_us >= 1000000) {
		e->openers_since_us = e->now_us;
		e->openers_made = 0;
	}
	return e->openers_made < OPENERS_PER_SECOND;
}

static bool open_with_call(struct et_engine *e, struct et_stream *s, const struct et_packet *p)
{
	const uint32_t made = s->opening.made;
	int rc = et_srtp_stream_open(&s->opening, s->call->keys, s->party, s->key.ssrc, p->payload,
				     p->size, (uint8_t *)e->plain_room, &e->plain_size);

	e->openers_made += s->opening.made - made;
	if (rc < 0) {
		et_srtp_stream_release(&s->opening);
		s->opening = (struct et_srtp_stream){ .opener = NULL };
	}
	return rc == 0;
}

/* Of the keys by hand the next that were not tried on it, newest first. Live, a packet costs no
 * more than a few of them, and a stream that nothing says to be protected those that name it: a key
 * for any source is in question for all of them. */
static int try_given(struct et_engine *e, struct et_stream *s, const struct et_packet *p)
{
	const struct et_srtp_ring *ring = e->config.given;
	const bool live = !e->config.deterministic;

	if (et_srtp_ring_serial(ring) <= s->given.above) {
		return ET_ENOKEY;
	}
	const uint32_t made = s->opening.made;
	s->opening.most = live ? GIVEN_PER_PACKET : 0;
	s->opening.above = s->given.above;
	s->opening.below = s->given.below;
	s->opening.named_only = live && s->srtp[0] == '\0';
	int rc = et_srtp_stream_open(&s->opening, ring, s->party, s->key.ssrc, p->payload, p->size,
				     (uint8_t *)e->plain_room, &e->plain_size);
	e->openers_made += s->opening.made - made;
	s->given.below = rc < 0 ? s->opening.below : 0;
	if (rc < 0 && s->given.below == 0 && ++s->given.passes == CHECK_PACKETS) {
		s->given.above = s->opening.named_only ? 0 : et_srtp_ring_serial(ring);
		s->given.passes = 0;
	}
	return rc;
}

/* A key that was given by hand and fits becomes one of the call's. */
static bool open_with_given(struct et_engine *e, struct et_stream *s, const struct et_packet *p)
{
	struct et_srtp_entry entry;
	const bool opens = try_given(e, s, p) == 0;
	const bool fits = opens && et_srtp_stream_entry(&s->opening, e->config.given, &entry);

	if (fits && !et_srtp_stream_is_sure(&s->opening)) {
		return false; /* the next packet says whether it is */
	}
	et_srtp_stream_release(&s->opening);
	s->opening = (struct et_srtp_stream){ .opener = NULL };
	if (!fits) {
		return false;
	}
	entry.party = s->party;
	entry.has_ssrc = true;
	entry.ssrc = s->key.ssrc;
	entry.time_us = e->packet_us;
	et_keys_add_to(e, s->call, &entry);
	return open_with_call(e, s, p);
}

/* While its handshake's secret is waited for, keys by hand are tried, and no packet counts. */
void et_keys_check(struct et_engine *e, struct et_stream *s, const struct et_packet *p)
{
	int64_t wait_us = s->checks_wait_us - e->packet_us;
	if (wait_us > 0 && wait_us <= SECRET_LATE_US) { /* more: the clock was set back */
		return;
	}
	const bool waits =
		e->handshakes != NULL && !et_handshake_add_key(e, s) && waits_for_secret(e, s);
	if (!may_check(e) || p->size > ET_PACKET_SIZE_MAX) {
		return;
	}
	const bool begins = s->given.below == 0 && s->opening.opener == NULL;
	if ((!waits && begins && open_with_call(e, s, p)) || open_with_given(e, s, p)) {
		e->plain_of = p;
		s->checks = 0;
		s->opened = ET_OPENED_YES;
		(void)snprintf(s->srtp, sizeof(s->srtp), "%s",
			       et_srtp_suite_name(s->opening.suite));
		s->call->dirty = true;
		if (!e->config.keep_openers && s->call->by_keys == NULL &&
		    s->call->keep_keys == NULL) {
			et_srtp_stream_release(&s->opening);
		}
	} else if (!waits && s->given.below == 0 && s->opening.opener == NULL && --s->checks == 0) {
		closed_so_far(s);
	}
}

bool et_engine_plain(struct et_engine *e, uint32_t slot, uint32_t stream, const struct et_packet *p,
		     struct et_rtp *ret)
{
	struct et_stream *s = e->slots[slot]->streams;

	while (s != NULL && (s->frozen || s->number != stream)) {
		s = s->next;
	}
	if (s == NULL || s->srtp[0] == '\0') {
		return true;
	}
	if (s->opened != ET_OPENED_YES) {
		return false;
	}
	if (e->plain_of != p &&
	    et_srtp_stream_open(&s->opening, s->call->keys, s->party, s->key.ssrc, p->payload,
				p->size, (uint8_t *)e->plain_room, &e->plain_size) < 0) {
		return false;
	}
	return et_rtp_parse((uint8_t *)e->plain_room, (uint32_t)e->plain_size, ret) == 0;
}

void et_keys_given_came(struct et_engine *e)
{
	for (uint32_t i = 0; i < e->limits.calls; i++) {
		struct et_stream *s = e->slots[i] != NULL ? e->slots[i]->streams : NULL;
		for (; s != NULL; s = s->next) {
			if (!s->frozen && s->srtp[0] != '\0' && s->opened != ET_OPENED_YES) {
				s->checks = CHECK_PACKETS;
				s->checks_wait_us = 0;
				s->given.below = 0;
				s->given.passes = 0;
			}
		}
	}
}

/* A sentence for who will listen. */
void et_keys_problem(struct et_call *c)
{
	uint32_t closed = 0;
	uint32_t opened = 0;

	for (const struct et_stream *s = c->streams; s != NULL; s = s->next) {
		closed += !s->frozen && s->opened == ET_OPENED_NO;
		opened += !s->frozen && s->opened == ET_OPENED_YES;
	}
	if (closed + opened > 0) {
		c->facts.keys = closed == 0   ? ET_KEYS_COMPLETE
				: opened == 0 ? ET_KEYS_MISSING
					      : ET_KEYS_PARTLY;
	}
	if (closed > 0 && (c->facts.problem[0] == '\0' || c->facts.problem_srtp)) {
		(void)snprintf(c->facts.problem, sizeof(c->facts.problem),
			       "%u streams " ET_KEYS_PROBLEM ": they are kept as received", closed);
		c->facts.problem_srtp = true;
	} else if (closed == 0 && c->facts.problem_srtp) {
		c->facts.problem[0] = '\0';
		c->facts.problem_srtp = false;
	}
}
