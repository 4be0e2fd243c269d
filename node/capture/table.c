/* The call table on disk: dialogs, addresses and counts, no keys, no media.
 *
 *   file := "EVCT" version 1 | saved_us 8 | count 4 | { size 4 | call }* | crc32c 4
 *
 * A call's pause, whether its digits and tones are dropped, whether it is on demand and who keeps
 * it, how many packets of its streams were silenced, and from what tones could not be dropped stand
 * behind its streams; what follows is passed over.
 *
 * It is rewritten as a whole when dialogs changed, at most once a second. A restart reads it to go
 * on with live recordings. It is a cache of what the wire told: a damaged one is refused as a whole
 * and costs the continuation of live calls, nothing that was recorded. */
#include "node/capture/engine_internal.h"

enum { VERSION = 1, HEAD_SIZE = 17 };

enum {
	FLAG_MEDIA_ONLY = 1,
	FLAG_ANSWERED = 2,
	FLAG_CANCELLED = 4,
	FLAG_ENDED = 8,
	FLAG_BYE = 16,
	FLAG_OPENED = 32,
	FLAG_LINKED = 64,
	FLAG_PROVISIONAL = 128,
};

static const char gap_restart[] = "recorder-restart";

/* ---- Saving ---------------------------------------------------------------------------------- */

void et_table_add_text(struct et_buffer *b, const char *text)
{
	size_t size = strlen(text);
	et_buffer_add16(b, (uint16_t)size);
	et_buffer_add(b, text, size);
}

static void save_endpoint(struct et_buffer *b, const struct et_endpoint *ep)
{
	et_buffer_add(b, ep->address, 16);
	et_buffer_add(b, ep->told_by, 16);
	et_buffer_add16(b, ep->port);
	et_buffer_add16(b, ep->rtcp_port);
	et_buffer_add8(b, ep->side);
	et_buffer_add8(b, ep->media);
	et_buffer_add8(
		b, (uint8_t)((ep->fax ? 1 : 0) | (ep->is_srtp ? 2 : 0) | (ep->is_secure ? 4 : 0)));
	et_buffer_add64(b, (uint64_t)ep->until_us);
	et_table_add_text(b, ep->suite);
	et_buffer_add8(b, (uint8_t)ep->format_count);
	for (uint32_t i = 0; i < ep->format_count; i++) {
		et_table_add_text(b, ep->formats[i].name);
		et_buffer_add32(b, ep->formats[i].clock_hz);
		et_buffer_add8(b, ep->formats[i].payload_type);
		et_buffer_add8(b, ep->formats[i].channels);
	}
	et_buffer_add8(b, (uint8_t)ep->ssrc_count);
	for (uint32_t i = 0; i < ep->ssrc_count; i++) {
		et_buffer_add32(b, ep->ssrcs[i]);
	}
}

void et_stream_save(struct et_buffer *b, const struct et_capture_stream *s)
{
	et_buffer_add32(b, s->number);
	et_buffer_add32(b, s->ssrc);
	et_table_add_text(b, s->src);
	et_table_add_text(b, s->dst);
	et_table_add_text(b, s->codec);
	et_table_add_text(b, s->srtp);
	/* Two in a byte: 0 in the upper half is what was written before there was anything to say.
	 */
	et_buffer_add8(b, (uint8_t)((unsigned)s->association | (unsigned)s->opened << 4));
	et_buffer_add8(b, s->payload_type);
	et_buffer_add8(b, s->party);
	et_buffer_add32(b, s->clock_hz);
	et_buffer_add64(b, s->packets);
	et_buffer_add64(b, s->lost);
	et_buffer_add64(b, s->duplicate);
	et_buffer_add64(b, s->late);
	et_buffer_add32(b, s->jitter_us);
	et_buffer_add64(b, (uint64_t)s->first_us);
	et_buffer_add64(b, (uint64_t)s->last_us);
}

void et_facts_save(struct et_buffer *b, const struct et_facts *f)
{
	et_buffer_add(b, f->id, 16);
	et_buffer_add(b, f->call, 16);
	et_buffer_add64(b, (uint64_t)f->start_us);
	et_buffer_add64(b, (uint64_t)f->answer_us);
	et_buffer_add64(b, (uint64_t)f->end_us);
	et_buffer_add8(b, (uint8_t)f->state);
	et_table_add_text(b, f->from);
	et_table_add_text(b, f->to);
	et_table_add_text(b, f->from_uri);
	et_table_add_text(b, f->to_uri);
	et_table_add_text(b, f->sip_call_id);
	et_table_add_text(b, f->rule);
	et_buffer_add8(b, (uint8_t)f->gap_count);
	for (uint32_t i = 0; i < f->gap_count; i++) {
		et_buffer_add64(b, (uint64_t)f->gaps[i].from_us);
		et_buffer_add64(b, (uint64_t)f->gaps[i].to_us);
		et_table_add_text(b, f->gaps[i].cause);
	}
}

static uint8_t flags_of(const struct et_call *c)
{
	return (uint8_t)((c->media_only ? FLAG_MEDIA_ONLY : 0) | (c->answered ? FLAG_ANSWERED : 0) |
			 (c->cancelled ? FLAG_CANCELLED : 0) | (c->ended ? FLAG_ENDED : 0) |
			 (c->bye ? FLAG_BYE : 0) | (c->opened ? FLAG_OPENED : 0) |
			 (c->linked ? FLAG_LINKED : 0) | (c->provisional ? FLAG_PROVISIONAL : 0));
}

static void save_call(struct et_engine *e, struct et_buffer *b, const struct et_call *c)
{
	uint32_t segment = c->facts.segment;
	if (e->config.segments != NULL && e->config.segments[c->slot] > segment) {
		segment = e->config.segments[c->slot];
	}
	et_buffer_add8(b, flags_of(c));
	et_buffer_add8(b, (uint8_t)c->decision);
	et_buffer_add32(b, segment);
	et_buffer_add32(b, (uint32_t)c->call_id_size);
	et_buffer_add32(b, c->invite_cseq);
	et_table_add_text(b, c->caller_tag);
	et_facts_save(b, &c->facts);
	et_buffer_add8(b, (uint8_t)c->endpoint_count);
	for (const struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		save_endpoint(b, ep);
	}
	et_buffer_add8(b, (uint8_t)c->stream_count);
	for (const struct et_stream *s = c->streams; s != NULL; s = s->next) {
		struct et_capture_stream description;
		et_stream_describe(s, &description);
		et_stream_save(b, &description);
	}
	/* Later than version 1, which passes over what is behind the streams. */
	et_buffer_add64(b, (uint64_t)c->pause.from_us);
	et_buffer_add64(b, (uint64_t)c->pause.to_us);
	et_buffer_add64(b, (uint64_t)c->pause.until_us);
	et_buffer_add64(b, c->pause.packets);
	et_table_add_text(b, c->facts.pause_cause);
	et_buffer_add8(b, c->drop_digits);
	et_buffer_add8(b, (uint8_t)c->facts.tones);
	et_buffer_add64(b, (uint64_t)c->facts.ring_us);
	et_buffer_add64(b, (uint64_t)c->facts.keep_for_us);
	et_table_add_text(b, c->facts.kept);
	et_buffer_add64(b, (uint64_t)c->facts.kept_us);
	et_buffer_add8(b, (uint8_t)c->stream_count);
	for (const struct et_stream *s = c->streams; s != NULL; s = s->next) {
		et_buffer_add32(b, s->number);
		et_buffer_add64(b, s->frozen ? s->old->silenced : s->silenced);
	}
	et_table_add_text(b, c->cannot_drop != NULL ? c->cannot_drop : "");
}

void et_engine_save(struct et_engine *e, struct et_buffer *ret)
{
	size_t start = ret->size;
	et_buffer_add(ret, "EVCT", 4);
	et_buffer_add8(ret, VERSION);
	et_buffer_add64(ret, (uint64_t)e->now_us);
	et_buffer_add32(ret, e->call_count);
	for (uint32_t i = 0; i < e->limits.calls; i++) {
		if (e->slots[i] == NULL) {
			continue;
		}
		size_t at = ret->size;
		et_buffer_add32(ret, 0);
		save_call(e, ret, e->slots[i]);
		if (!ret->failed) {
			et_put32(ret->data + at, (uint32_t)(ret->size - at - 4));
		}
	}
	if (!ret->failed) {
		et_buffer_add32(ret, et_crc32c(0, ret->data + start, ret->size - start));
	}
	e->table_changed = false;
}

/* ---- Restoring ------------------------------------------------------------------------------- */

void et_table_read_text(struct et_reader *r, char *ret, size_t size)
{
	size_t length = et_read16(r);
	const uint8_t *p = et_read_bytes(r, length);
	et_copy_text(ret, size, (struct et_view){ p, p != NULL ? length : 0 });
}

static void restore_endpoint(struct et_engine *e, struct et_call *c, struct et_reader *r)
{
	uint8_t zero[16] = { 0 };
	const uint8_t *address = et_read_bytes(r, 16);
	const uint8_t *told_by = et_read_bytes(r, 16);
	uint16_t port = et_read16(r);
	uint16_t rtcp_port = et_read16(r);
	uint8_t side = et_read8(r) & 1;
	struct et_endpoint scratch = { .port = 0 };
	struct et_endpoint *ep = r->failed ? NULL : et_endpoint_add(e, c, side, address, port);
	if (ep == NULL) { /* read on, into nothing */
		ep = &scratch;
	}
	memcpy(ep->told_by, told_by != NULL ? told_by : zero, 16);
	ep->rtcp_port = rtcp_port;
	ep->media = et_read8(r);
	uint8_t bits = et_read8(r);
	ep->fax = (bits & 1) != 0;
	ep->is_srtp = (bits & 2) != 0;
	ep->is_secure = (bits & 4) != 0;
	ep->until_us = (int64_t)et_read64(r);
	et_table_read_text(r, ep->suite, sizeof(ep->suite));
	uint32_t count = et_read8(r);
	ep->format_count = 0;
	for (uint32_t i = 0; i < count && !r->failed; i++) {
		struct et_format f = { .name = "" };
		et_table_read_text(r, f.name, sizeof(f.name));
		f.clock_hz = et_read32(r);
		f.payload_type = et_read8(r);
		f.channels = et_read8(r);
		if (ep->format_count < ET_ENDPOINT_FORMATS_MAX) {
			ep->formats[ep->format_count++] = f;
		}
	}
	count = et_read8(r);
	ep->ssrc_count = 0;
	for (uint32_t i = 0; i < count && !r->failed; i++) {
		uint32_t ssrc = et_read32(r);
		if (ep->ssrc_count < ET_ENDPOINT_SSRCS_MAX) {
			ep->ssrcs[ep->ssrc_count++] = ssrc;
		}
	}
}

void et_stream_read(struct et_reader *r, struct et_capture_stream *ret)
{
	ret->number = et_read32(r);
	ret->ssrc = et_read32(r);
	et_table_read_text(r, ret->src, sizeof(ret->src));
	et_table_read_text(r, ret->dst, sizeof(ret->dst));
	et_table_read_text(r, ret->codec, sizeof(ret->codec));
	et_table_read_text(r, ret->srtp, sizeof(ret->srtp));
	uint8_t byte = et_read8(r);
	uint8_t association = byte & 15;
	ret->opened = byte >> 4 <= ET_OPENED_YES ? (enum et_capture_opened)(byte >> 4)
						 : ET_OPENED_UNKNOWN;
	ret->association = association <= ET_ASSOCIATION_INFERRED
				   ? (enum et_capture_association)association
				   : ET_ASSOCIATION_INFERRED;
	ret->payload_type = et_read8(r);
	ret->party = et_read8(r);
	ret->clock_hz = et_read32(r);
	ret->packets = et_read64(r);
	ret->lost = et_read64(r);
	ret->duplicate = et_read64(r);
	ret->late = et_read64(r);
	ret->jitter_us = et_read32(r);
	ret->first_us = (int64_t)et_read64(r);
	ret->last_us = (int64_t)et_read64(r);
}

/* A stream of before: its counts stay, its packets are a new stream. */
static bool restore_stream(struct et_engine *e, struct et_call *c, struct et_reader *r)
{
	struct et_stream *s = et_pool_take(&e->stream_pool);
	struct et_capture_stream *old = calloc(1, sizeof(*old));
	if (s == NULL || old == NULL) {
		et_pool_give(&e->stream_pool, s);
		free(old);
		return false;
	}
	et_stream_read(r, old);
	s->call = c;
	s->frozen = true;
	s->old = old;
	s->party = old->party;
	s->number = old->number;
	/* They were saved newest first: keep that order. */
	struct et_stream **end = &c->streams;
	while (*end != NULL) {
		end = &(*end)->next;
	}
	*end = s;
	return true;
}

static void read_gaps(struct et_reader *r, struct et_facts *f)
{
	const char *const causes[] = { gap_restart, "disk-full", "writer_full", et_gap_paused,
				       et_gap_before };
	uint32_t count = et_read8(r);
	for (uint32_t i = 0; i < count && !r->failed; i++) {
		char text[32];
		int64_t from_us = (int64_t)et_read64(r);
		int64_t to_us = (int64_t)et_read64(r);
		et_table_read_text(r, text, sizeof(text));
		for (size_t k = 0; k < ET_ARRAY_SIZE(causes); k++) {
			if (strcmp(text, causes[k]) == 0) {
				et_facts_gap(f, from_us, to_us, causes[k]);
			}
		}
	}
}

void et_facts_read(struct et_reader *r, struct et_facts *f)
{
	const uint8_t *id = et_read_bytes(r, 16);
	const uint8_t *call = et_read_bytes(r, 16);
	if (id != NULL && call != NULL) {
		memcpy(f->id, id, 16);
		memcpy(f->call, call, 16);
	}
	f->start_us = (int64_t)et_read64(r);
	f->answer_us = (int64_t)et_read64(r);
	f->end_us = (int64_t)et_read64(r);
	uint8_t state = et_read8(r);
	f->state = state <= ET_CALL_MEDIA_ONLY ? (enum et_capture_state)state : ET_CALL_PARTIAL;
	et_table_read_text(r, f->from, sizeof(f->from));
	et_table_read_text(r, f->to, sizeof(f->to));
	et_table_read_text(r, f->from_uri, sizeof(f->from_uri));
	et_table_read_text(r, f->to_uri, sizeof(f->to_uri));
	et_table_read_text(r, f->sip_call_id, sizeof(f->sip_call_id));
	et_table_read_text(r, f->rule, sizeof(f->rule));
	read_gaps(r, f);
}

static void restore_link(struct et_engine *e, struct et_call *c, uint8_t flags, size_t id_size)
{
	size_t kept = strlen(c->facts.sip_call_id);
	if ((flags & FLAG_LINKED) != 0 && kept == id_size && kept > 0) {
		struct et_view id = { (const uint8_t *)c->facts.sip_call_id, kept };
		if (et_call_find(e, id) == NULL) {
			et_call_link(e, c, id);
		}
	}
}

/* Of today's rules: those of before the restart may have been others. */
static int rule_number(const struct et_engine *e, const char *name)
{
	for (uint32_t i = 0; i < e->rules.count; i++) {
		if (strcmp(e->rules.rules[i].name, name) == 0) {
			return (int)i;
		}
	}
	return -1;
}

/* On demand: what it held is lost if nobody kept it, and it can be kept from now on. */
static void restore_demand(struct et_engine *e, struct et_call *c, struct et_reader *r)
{
	const struct et_rule_ring *ring = et_rules_ring(&e->rules, c->rule);
	uint64_t reach_us = et_read64(r);
	uint64_t keep_for_us = et_read64(r);

	et_table_read_text(r, c->facts.kept, sizeof(c->facts.kept));
	c->facts.kept_us = (int64_t)et_read64(r);
	if (r->failed || reach_us == 0 || reach_us > ET_RULE_RING_MAX_US ||
	    keep_for_us > ET_RULE_KEEP_FOR_MAX_US) {
		return;
	}
	c->facts.ring_us = (int64_t)reach_us;
	c->facts.keep_for_us = (int64_t)keep_for_us;
	c->keep_keys = ring != NULL && ring->keep[0] != '\0' ? ring : NULL;
}

static void restore_silenced(struct et_call *c, struct et_reader *r)
{
	const uint8_t count = et_read8(r);

	for (uint8_t i = 0; i < count && !r->failed; i++) {
		const uint32_t number = et_read32(r);
		const uint64_t silenced = et_read64(r);
		for (struct et_stream *s = c->streams; s != NULL; s = s->next) {
			if (s->old->number == number) {
				s->old->silenced = silenced;
			}
		}
	}
}

/* What is later than version 1: of each, as much as the build wrote that saved it. */
static void restore_later(struct et_engine *e, struct et_call *c, struct et_reader *r)
{
	if (!r->failed && et_reader_left(r) > 0) {
		c->pause.from_us = (int64_t)et_read64(r);
		c->pause.to_us = (int64_t)et_read64(r);
		c->pause.until_us = (int64_t)et_read64(r);
		c->pause.packets = et_read64(r);
		et_table_read_text(r, c->facts.pause_cause, sizeof(c->facts.pause_cause));
		c->drop_digits = et_read8(r) != 0;
	}
	if (!r->failed && et_reader_left(r) > 0) {
		const uint8_t tones = et_read8(r);
		/* What it means that this build does not know, it is not less. */
		c->facts.tones = tones <= ET_RULE_TONES_STRICT ? (enum et_rule_tones)tones
							       : ET_RULE_TONES_STRICT;
		c->drop_tones = c->facts.tones >= ET_RULE_TONES_DROP;
	}
	if (!r->failed && et_reader_left(r) > 0) {
		restore_demand(e, c, r);
	}
	if (!r->failed && et_reader_left(r) > 0) {
		restore_silenced(c, r);
	}
	if (!r->failed && et_reader_left(r) > 0) {
		char text[32];
		et_table_read_text(r, text, sizeof(text));
		c->cannot_drop = et_tones_hindrance(text);
	}
}

static bool restore_call(struct et_engine *e, struct et_reader *r)
{
	struct et_call *c = et_call_new(e, true);
	if (c == NULL) {
		return true; /* counted as refused by the limit */
	}
	uint8_t flags = et_read8(r);
	uint8_t decision = et_read8(r);
	c->decision =
		decision <= ET_DECISION_REFUSED ? (enum et_decision)decision : ET_DECISION_REFUSED;
	c->facts.segment = et_read32(r);
	size_t id_size = et_read32(r);
	c->invite_cseq = et_read32(r);
	et_table_read_text(r, c->caller_tag, sizeof(c->caller_tag));
	et_facts_read(r, &c->facts);
	c->media_only = (flags & FLAG_MEDIA_ONLY) != 0;
	e->media_only_count += c->media_only ? 1 : 0;
	c->answered = (flags & FLAG_ANSWERED) != 0;
	c->cancelled = (flags & FLAG_CANCELLED) != 0;
	c->ended = (flags & FLAG_ENDED) != 0;
	c->bye = (flags & FLAG_BYE) != 0;
	c->restored = (flags & FLAG_OPENED) != 0;
	c->provisional = (flags & FLAG_PROVISIONAL) != 0;
	c->rule = rule_number(e, c->facts.rule);
	c->by_keys = et_rules_pause(&e->rules, c->rule);
	c->facts.direction = et_rules_direction(&e->rules, c->facts.from, c->facts.to);
	restore_link(e, c, flags, id_size);
	uint32_t count = et_read8(r);
	for (uint32_t i = 0; i < count && !r->failed; i++) {
		restore_endpoint(e, c, r);
	}
	count = et_read8(r);
	for (uint32_t i = 0; i < count && i < ET_CAPTURE_STREAMS_MAX && !r->failed; i++) {
		if (!restore_stream(e, c, r)) {
			return false;
		}
		c->stream_count++;
	}
	restore_later(e, c, r);
	return !r->failed;
}

/* What a restart did to a recording. */
static void tell_gaps(struct et_engine *e, int64_t saved_us,
		      int64_t (*gap_from)(void *arg, const uint8_t id[16], uint32_t *segment),
		      void *arg)
{
	for (uint32_t i = 0; i < e->limits.calls; i++) {
		struct et_call *c = e->slots[i];
		if (c == NULL || !c->restored) {
			continue;
		}
		uint32_t segment = 0;
		int64_t from_us = gap_from(arg, c->facts.id, &segment);
		if (segment > c->facts.segment) {
			c->facts.segment = segment;
		}
		if (et_call_is_waiting(c) && segment == 0) {
			/* Not the first part of its ring: the gap before it is stated. */
			c->facts.segment = c->facts.segment != 0 ? c->facts.segment : 1;
			e->demand_lost++;
			continue;
		}
		if (et_call_is_waiting(c)) { /* it was kept just before: tapes of it are known */
			c->facts.ring_us = 0;
			c->keep_keys = NULL;
		}
		et_facts_gap(&c->facts, from_us != 0 ? from_us : saved_us, e->now_us, gap_restart);
		c->dirty = true;
	}
}

int et_engine_restore(struct et_engine *e, struct et_view saved,
		      int64_t (*gap_from)(void *arg, const uint8_t id[16], uint32_t *segment),
		      void *arg, struct et_error *reterr)
{
	et_assert(e->call_count == 0);
	if (saved.size < HEAD_SIZE + 4 || memcmp(saved.data, "EVCT", 4) != 0 ||
	    et_crc32c(0, saved.data, saved.size - 4) != et_get32(saved.data + saved.size - 4)) {
		return et_fail(reterr, ET_ECORRUPT, "call table");
	}
	struct et_reader r = et_reader_of(saved.data + 4, saved.size - 8);
	if (et_read8(&r) != VERSION) {
		return et_fail(reterr, ET_EVERSION, "call table");
	}
	int64_t saved_us = (int64_t)et_read64(&r);
	uint32_t count = et_read32(&r);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t size = et_read32(&r);
		const uint8_t *p = et_read_bytes(&r, size);
		if (p == NULL) {
			return et_fail(reterr, ET_ECORRUPT, "call table");
		}
		struct et_reader call = et_reader_of(p, size);
		if (!restore_call(e, &call)) {
			return et_fail(reterr, ET_ECORRUPT, "call table");
		}
	}
	tell_gaps(e, saved_us, gap_from, arg);
	return 0;
}
