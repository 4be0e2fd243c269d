/* Keys that pause a recording, or keep one that is on demand: telephone events (RFC 4733) and SIP
 * INFO, where the call's rule has a `pause` or a `keep`.
 *
 *   event ──▶ (SRTP: opened, of events only) ──▶ a new press? ──▶ the last keys are `start`: pause
 *                     │ no key                                    ... are `stop`: go on
 *                     │                                           ... are `keep`: it is kept
 *                     └──▶ cannot fire: said in `problem`; recorded, or paused, as the rule says
 *
 * What counts are the keys of one party, each within ten seconds of the one before. Events are
 * looked at in a pause, too; that is how it ends. A pause by keys is as one by the API: it ends by
 * itself, who asks by the API ends it, and the tape says that a rule's keys did it and not which.
 *
 * Not seen: tones in the audio, events inside of RED (RFC 2198), those of a call without
 * signalling, and, after a restart, of protected streams until a description brings keys. */
#include <stdio.h>
#include <strings.h>

#include "node/capture/engine_internal.h"

#define LACK_MAX_US (24 * 3600 * 1000000LL)

static void begin(struct et_engine *e, struct et_call *c, int64_t at_us, const char *why,
		  int64_t max_us)
{
	char cause[ET_CAPTURE_CAUSE_MAX];

	(void)snprintf(cause, sizeof(cause), "rule %.63s: %s", c->facts.rule, why);
	et_call_pause_begin(e, c, at_us, cause, max_us);
}

static bool is_theirs(enum et_rule_by by, uint8_t side)
{
	return by == ET_RULE_BY_ANY || (by == ET_RULE_BY_CALLER) == (side == 0);
}

static void pressed(struct et_engine *e, struct et_call *c, uint8_t side, char key, int64_t at_us)
{
	const struct et_rule_pause *by = c->by_keys;
	struct et_rule_presses *last = &c->presses[side & 1];
	const bool paused = et_call_is_paused(c);

	et_rule_press(last, key, at_us);
	if (c->keep_keys != NULL && is_theirs(c->keep_keys->by, side) &&
	    et_rule_pressed(last, c->keep_keys->keep)) {
		et_call_keep_by_keys(e, c, side, at_us);
	} else if (by == NULL || !is_theirs(by->by, side) ||
		   !et_rule_pressed(last, paused ? by->stop : by->start)) {
		return;
	} else if (!paused) {
		begin(e, c, at_us, "keys", by->max_us);
	} else if (!c->paused_by_lack) {
		et_call_pause_end(e, c, at_us);
	}
}

/* ---- Without a key ---- */

static bool is_closed(const struct et_call *c)
{
	for (const struct et_stream *s = c->streams; s != NULL; s = s->next) {
		if (!s->frozen && s->srtp[0] != '\0' && s->opened != ET_OPENED_YES) {
			return true;
		}
	}
	return false;
}

/* A stream of the call may hold keys that nobody here can see, or does no more. */
static void look_for_lack(struct et_engine *e, struct et_call *c, int64_t at_us)
{
	const bool closed = is_closed(c);

	if (closed == c->cannot_fire) {
		return;
	}
	c->cannot_fire = closed;
	c->dirty = true;
	if (closed && c->by_keys != NULL && c->by_keys->without_key && !et_call_is_paused(c)) {
		c->paused_by_lack = true;
		begin(e, c, at_us, "its keys cannot be seen (cannot_fire)", LACK_MAX_US);
	} else if (!closed && c->paused_by_lack) {
		c->paused_by_lack = false;
		if (et_call_is_paused(c)) {
			et_call_pause_end(e, c, at_us);
		}
	}
}

/* ---- Where keys come from ---- */

void et_press_rtp(struct et_engine *e, struct et_stream *s, const struct et_rtp *rtp,
		  const struct et_packet *p)
{
	static const char keys[] = "0123456789*#ABCD";
	struct et_call *c = s->call;
	struct et_rtp plain = *rtp;

	if (c->by_keys == NULL && c->keep_keys == NULL) {
		return;
	}
	if (s->srtp[0] != '\0' && (s->opened != ET_OPENED_YES || c->cannot_fire)) {
		look_for_lack(e, c, p->time_us);
	}
	if (!et_digits_is_event(s, rtp->payload_type) ||
	    (s->has_press && s->press_timestamp == rtp->timestamp) ||
	    !et_engine_plain(e, c->slot, s->number, p, &plain) || plain.payload_size < 4) {
		return;
	}
	/* All packets of one press have its timestamp (RFC 4733, section 2.5.1.2). */
	s->has_press = true;
	s->press_timestamp = rtp->timestamp;
	if (plain.payload[0] < sizeof(keys) - 1) {
		pressed(e, c, s->party, keys[plain.payload[0]], p->time_us);
	}
}

static bool type_is(const struct et_sip *m, const char *type)
{
	return m->content_type.size >= strlen(type) &&
	       strncasecmp((const char *)m->content_type.data, type, strlen(type)) == 0;
}

/* "Signal=5\r\nDuration=160" (application/dtmf-relay), or "5" (application/dtmf). 0: no key. */
static char key_of(const struct et_sip *m)
{
	static const char name[] = "signal";
	const uint8_t *p = m->body.data;
	const uint8_t *end = p + m->body.size;

	if (type_is(m, "application/dtmf-relay")) {
		while (p + sizeof(name) - 1 <= end &&
		       strncasecmp((const char *)p, name, sizeof(name) - 1) != 0) {
			const uint8_t *line = memchr(p, '\n', (size_t)(end - p));
			p = line != NULL ? line + 1 : end;
		}
		p = end - p >= (ptrdiff_t)sizeof(name) - 1 ? p + sizeof(name) - 1 : end;
		while (p < end && (*p == ' ' || *p == '=')) {
			p++;
		}
	} else if (!type_is(m, "application/dtmf")) {
		return '\0';
	}
	char key = p < end ? (char)*p : '\0';
	key = key >= 'a' && key <= 'd' ? (char)(key - 'a' + 'A') : key;
	bool single = p + 1 >= end || p[1] == '\r' || p[1] == '\n' || p[1] == ' ';
	return single && key != '\0' && strchr("0123456789*#ABCD", key) != NULL ? key : '\0';
}

void et_press_message(struct et_engine *e, struct et_call *c, uint8_t side, int64_t time_us,
		      const struct et_sip *m)
{
	if ((c->by_keys == NULL && c->keep_keys == NULL) || !m->is_request ||
	    m->method != ET_SIP_INFO || m->body.size == 0 || c->pressed_cseq == m->cseq) {
		return;
	}
	c->pressed_cseq = m->cseq; /* sent again, or seen at another hop: the same */
	char key = key_of(m);
	if (key != '\0') {
		pressed(e, c, side, key, time_us);
	}
}
