/* A call's life: rule and admission, opening, facts, updates, closing.
 *
 *   new ──▶ (decided) ──▶ opened, at the first media or the answer ──▶ ended ──▶ closed
 *
 * A call that never has media nor an answer is never opened: it costs no tape. */
#include <stdio.h>

#include "node/capture/engine_internal.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "node/tape/file.h"

#define SECOND_US 1000000LL
#define LINGER_US (2 * SECOND_US)      /* after the end: late packets are still its own */
#define LINGER_MAX_US (30 * SECOND_US) /* a sender that does not hear the BYE */
#define AUTH_US (32 * SECOND_US)       /* a refused INVITE may come again with credentials */
#define UPDATE_US (5 * SECOND_US)
#define HALF_OPEN_US (5 * SECOND_US)
#define RESTORED_US (300 * SECOND_US) /* a call of before a restart shows itself, or ends */
#define SILENT_US (60 * SECOND_US)    /* an answered call that never had media */
#define HAND_STEPS 64
#define PENDING_TOTAL_MAX ((size_t)32 * 1024 * 1024)

void et_copy_text(char *ret, size_t size, struct et_view text)
{
	size_t n = text.size < size - 1 ? text.size : size - 1;
	/* A NUL or a control character from outside would cut or break the text further up. */
	for (size_t i = 0; i < n; i++) {
		uint8_t c = text.data[i];
		ret[i] = (char)(c < 0x20 || c == 0x7F ? '?' : c);
	}
	/* Never the first bytes of a UTF-8 character that was cut. */
	while (n < text.size && n > 0 && (text.data[n] & 0xC0) == 0x80) {
		n--;
	}
	ret[n] = '\0';
}

#define CALL_IDS 0x80000000U

/* Random (UUID version 7), or hashed from the input (version 8, RFC 9562 section 5.8). */
void et_make_id(struct et_engine *e, const struct et_call *c, uint8_t ret[16])
{
	if (!e->config.deterministic) {
		et_uuid7(ret);
		return;
	}
	uint64_t count = ++e->id_count;
	if (e->config.origin != NULL) { /* of a recording and of its call, in turn */
		const uint32_t call = (uint32_t)(count + 1) / 2;
		et_file_recording_id(e->config.origin, count % 2 == 1 ? call : call | CALL_IDS,
				     ret);
		return;
	}
	uint64_t high = et_hash(count, c->facts.sip_call_id, strlen(c->facts.sip_call_id));
	uint64_t low = et_hash(high, &c->facts.start_us, sizeof(c->facts.start_us));
	et_put64(ret, (uint64_t)(c->facts.start_us / 1000) << 16 | (high & 0xFFFF));
	et_put64(ret + 8, low);
	ret[6] = (uint8_t)(0x80 | (ret[6] & 0x0F));
	ret[8] = (uint8_t)(0x80 | (ret[8] & 0x3F));
}

/* ---- Table ----------------------------------------------------------------------------------- */

static uint64_t id_hash(const struct et_engine *e, struct et_view call_id)
{
	return et_hash(e->calls.seed, call_id.data, call_id.size);
}

struct et_call *et_call_find(struct et_engine *e, struct et_view call_id)
{
	char text[sizeof(((struct et_facts *)NULL)->sip_call_id)];
	uint64_t hash = id_hash(e, call_id);
	et_copy_text(text, sizeof(text), call_id);
	for (struct et_link *l = et_table_first(&e->calls, hash); l != NULL; l = l->next) {
		struct et_call *c = ET_CONTAINER_OF(l, struct et_call, link);
		if (l->hash == hash && c->call_id_size == call_id.size &&
		    strcmp(c->facts.sip_call_id, text) == 0) {
			return c;
		}
	}
	return NULL;
}

void et_call_link(struct et_engine *e, struct et_call *c, struct et_view call_id)
{
	et_copy_text(c->facts.sip_call_id, sizeof(c->facts.sip_call_id), call_id);
	c->call_id_size = call_id.size;
	c->call_id_hash = id_hash(e, call_id);
	c->linked = true;
	et_table_add(&e->calls, &c->link, c->call_id_hash);
}

/* May it be given up for another one? Half-open calls, and those that were answered and never had
 * media: a scan, a flood, both sides of which may be forged. Calls without signalling, which two
 * packets make, give way to one with it where they have more than half of the table: then neither
 * flood pushes out what is recorded. */
static bool may_give_way(const struct et_engine *e, const struct et_call *c, bool to_signalled)
{
	if (c->media_only) {
		return to_signalled && e->media_only_count > e->limits.calls / 2;
	}
	if (c->answered) {
		return !c->restored && c->media_us == 0 && e->now_us - c->seen_us > SILENT_US;
	}
	return !c->opened && e->now_us - c->facts.start_us > HALF_OPEN_US;
}

/* Give up a call to make room: the clock's hand moves on. */
static bool make_room(struct et_engine *e, bool to_signalled)
{
	for (uint32_t i = 0; i < HAND_STEPS; i++) {
		e->hand = (e->hand + 1) % e->limits.calls;
		struct et_call *c = e->slots[e->hand];
		if (c != NULL && may_give_way(e, c, to_signalled)) {
			et_call_close(e, c);
			return e->free_count > 0;
		}
	}
	return false;
}

struct et_call *et_call_of(const struct et_engine *e, const uint8_t recording[16])
{
	for (uint32_t i = 0; i < e->limits.calls; i++) {
		if (e->slots[i] != NULL && memcmp(e->slots[i]->facts.id, recording, 16) == 0) {
			return e->slots[i];
		}
	}
	return NULL;
}

struct et_call *et_call_new(struct et_engine *e, bool signalled)
{
	if (e->free_count == 0 && !make_room(e, signalled)) {
		e->calls_refused_limit++;
		return NULL;
	}
	struct et_call *c = et_pool_take(&e->call_pool);
	if (c == NULL) {
		e->calls_refused_limit++;
		return NULL;
	}
	c->slot = e->free_slots[--e->free_count];
	c->facts.start_us = e->packet_us;
	c->facts.state = ET_CALL_LIVE;
	c->seen_us = e->now_us;
	c->updated_us = e->now_us;
	c->drops_before = e->config.kernel_drops != NULL ? *e->config.kernel_drops : 0;
	e->slots[c->slot] = c;
	e->call_count++;
	e->calls_total++;
	e->table_changed = true;
	return c;
}

/* ---- Rule and admission ---------------------------------------------------------------------- */

static bool find_header(const void *arg, const char *name, uint32_t n, struct et_view *ret)
{
	const struct et_view *invite = arg;
	return et_sip_header(*invite, name, n, ret);
}

/* Calls without signalling have no Call-ID: their addresses stand for it. */
static uint64_t sample_of(const struct et_call *c)
{
	uint8_t hash[ET_SHA256_SIZE];
	char text[2 * sizeof(c->facts.from) + 2];
	const char *id = c->facts.sip_call_id;
	if (c->media_only) {
		(void)snprintf(text, sizeof(text), "%s %s", c->facts.from, c->facts.to);
		id = text;
	}
	et_sha256(id, strlen(id), hash);
	return et_rule_sample(hash);
}

static struct et_rule_decision ask_rules(struct et_engine *e, const struct et_call *c,
					 const struct et_view *invite)
{
	struct et_rule_facts facts = {
		.from = c->facts.from,
		.to = c->facts.to,
		.site = e->site,
		.start_us = c->facts.start_us,
		.sample = e->has_sample ? sample_of(c) : 0,
		.media_only = c->media_only,
		.agents = e->agents,
		.header = invite != NULL ? find_header : NULL,
		.arg = invite,
	};
	if (e->config.decided != NULL) {
		e->config.decided(e->config.decided_arg, &facts, c->facts.sip_call_id);
	}
	return et_rules_decide(&e->rules, &facts);
}

static uint64_t *calls_of_rule(struct et_engine *e, int rule)
{
	return &e->rule_calls[rule >= 0 ? (uint32_t)rule : e->rules.count];
}

/* Admission of a call that the rules want. */
static void admit(struct et_engine *e, struct et_call *c)
{
	if (e->config.draining != NULL && *e->config.draining) {
		c->decision = ET_DECISION_REFUSED;
		e->calls_refused_drain++;
	} else if (e->config.refuse != NULL && *e->config.refuse) {
		c->decision = ET_DECISION_REFUSED;
		e->calls_refused_disk++;
	} else {
		c->decision = ET_DECISION_RECORD;
	}
}

static void take_rule(struct et_engine *e, struct et_call *c, const struct et_rule_decision *d)
{
	(void)snprintf(c->facts.rule, sizeof(c->facts.rule), "%s",
		       et_rules_name(&e->rules, d->rule));
	(*calls_of_rule(e, d->rule))++;
	c->rule = d->rule;
	c->counted = true;
	c->drop_digits = et_rules_drop_digits(&e->rules, d->rule);
	c->facts.tones = et_rules_tones(&e->rules, d->rule);
	c->drop_tones = c->facts.tones >= ET_RULE_TONES_DROP;
	c->by_keys = et_rules_pause(&e->rules, d->rule);
	et_call_on_demand(c, et_rules_ring(&e->rules, d->rule));
	if (d->action == ET_RULE_SKIP) {
		c->decision = ET_DECISION_RULE;
		e->calls_refused_rule++;
	} else {
		admit(e, c);
	}
}

void et_call_decide(struct et_engine *e, struct et_call *c, const struct et_view *invite)
{
	struct et_rule_decision d = ask_rules(e, c, invite);
	c->facts.direction = et_rules_direction(&e->rules, c->facts.from, c->facts.to);
	/* Without signalling there are no headers, and never will be. */
	c->provisional = d.provisional && !c->media_only;
	take_rule(e, c, &d);
}

void et_call_decide_again(struct et_engine *e, struct et_call *c, const struct et_view *invite)
{
	struct et_rule_decision d = ask_rules(e, c, invite);
	c->provisional = false;
	e->table_changed = true;
	et_tones_flush_call(e, c); /* what the rule of before had held back */
	/* What is being recorded goes on; what was refused by admission stays so. */
	if (c->opened || c->restored || c->decision == ET_DECISION_REFUSED || d.rule == c->rule) {
		return;
	}
	if (c->counted) {
		(*calls_of_rule(e, c->rule))--;
		e->calls_refused_rule -= c->decision == ET_DECISION_RULE;
	}
	take_rule(e, c, &d);
	c->dirty = true;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* META that came before the recording was opened. */
static void flush_pending(struct et_engine *e, struct et_call *c)
{
	size_t at = 0;
	while (at + 4 <= c->pending.size) {
		uint32_t size = et_get32(c->pending.data + at);
		struct et_view plain = { c->pending.data + at + 4, size };
		if (e->sink.meta(e->sink.arg, c->slot, plain) < 0) {
			e->sip_not_kept++;
		}
		at += 4 + size;
	}
	e->pending_bytes -= c->pending.size;
	et_buffer_release(&c->pending);
}

bool et_call_open(struct et_engine *e, struct et_call *c)
{
	if (c->opened) {
		return true;
	}
	if (c->decision != ET_DECISION_RECORD) {
		return false;
	}
	/* What the sink knew of a call that nobody kept died with it. */
	const bool goes_on = c->restored && !et_call_is_waiting(c);
	if (e->sink.open(e->sink.arg, c->slot, &c->facts, goes_on) < 0) {
		return false; /* no room now: the next packet tries again */
	}
	c->opened = true;
	e->table_changed = true;
	flush_pending(e, c);
	et_keys_tell(e, c);
	et_session_tell(e, c);
	return true;
}

void et_call_meta(struct et_engine *e, struct et_call *c, const struct et_meta_item *item)
{
	struct et_buffer plain = { .data = NULL };
	if (c->decision != ET_DECISION_RECORD) {
		return;
	}
	if (et_meta_add(&plain, item) < 0 || plain.failed) {
		e->sip_not_kept++;
	} else if (c->opened) {
		struct et_view view = { plain.data, plain.size };
		if (e->sink.meta(e->sink.arg, c->slot, view) < 0) {
			e->sip_not_kept++;
		}
	} else if (c->pending.size + plain.size + 4 > ET_CALL_PENDING_BYTES_MAX ||
		   e->pending_bytes + plain.size + 4 > PENDING_TOTAL_MAX) {
		e->sip_not_kept++;
	} else {
		et_buffer_add32(&c->pending, (uint32_t)plain.size);
		et_buffer_add(&c->pending, plain.data, plain.size);
		e->pending_bytes += plain.size + 4;
		et_assert(!c->pending.failed);
	}
	et_buffer_release(&plain);
}

const struct et_capture_gap *et_facts_find_gap(const struct et_facts *f,
					       const struct et_capture_gap *like)
{
	for (uint32_t i = 0; i < f->gap_count; i++) {
		if (f->gaps[i].from_us == like->from_us &&
		    strcmp(f->gaps[i].cause, like->cause) == 0) {
			return &f->gaps[i];
		}
	}
	return NULL;
}

void et_facts_gap(struct et_facts *f, int64_t from_us, int64_t to_us, const char *cause)
{
	if (f->gap_count < ET_CAPTURE_GAPS_MAX) {
		f->gaps[f->gap_count++] = (struct et_capture_gap){
			.from_us = from_us,
			.to_us = to_us,
			.cause = cause,
		};
	}
}

/* ---- Telling --------------------------------------------------------------------------------- */

/* Streams into the engine's scratch, oldest first. */
static uint32_t describe(struct et_engine *e, struct et_call *c)
{
	uint32_t count = 0;
	for (struct et_stream *s = c->streams; s != NULL; s = s->next) {
		count++;
	}
	et_assert(count <= ET_CAPTURE_STREAMS_MAX);
	uint32_t i = count;
	for (struct et_stream *s = c->streams; s != NULL; s = s->next) {
		et_stream_describe(s, &e->scratch[--i]);
	}
	if (e->config.kernel_drops != NULL) {
		c->facts.capture_drops = *e->config.kernel_drops - c->drops_before;
	}
	if (c->dropped > 0) {
		(void)snprintf(
			c->facts.problem, sizeof(c->facts.problem),
			"%llu packets were lost inside the recorder: its writer was too slow",
			(unsigned long long)c->dropped);
		c->facts.problem_srtp = false;
	}
	et_keys_problem(c);
	if (c->cannot_fire && c->facts.problem_srtp) {
		size_t size = strlen(c->facts.problem);
		(void)snprintf(c->facts.problem + size, sizeof(c->facts.problem) - size,
			       "; its rule cannot %s by keys (cannot_fire)",
			       c->by_keys != NULL ? "pause" : "keep");
	}
	et_tones_problem(c);
	return count;
}

void et_call_update(struct et_engine *e, struct et_call *c)
{
	if (!c->opened) {
		return; /* it is told when it opens */
	}
	uint32_t count = describe(e, c);
	if (e->sink.update(e->sink.arg, c->slot, &c->facts, e->scratch, count) == 0) {
		c->updated_us = e->now_us;
		c->dirty = false;
	}
}

/* ---- Closing --------------------------------------------------------------------------------- */

static enum et_capture_state final_state(const struct et_call *c)
{
	if (c->media_only) {
		return ET_CALL_MEDIA_ONLY;
	}
	if (c->answered) {
		return c->bye ? ET_CALL_ANSWERED : ET_CALL_PARTIAL;
	}
	if (c->facts.state == ET_CALL_LIVE || c->bye) {
		return ET_CALL_PARTIAL;
	}
	return c->facts.state;
}

void et_call_close(struct et_engine *e, struct et_call *c)
{
	/* It ended while nobody recorded, or just before: its recording stands open all the same.
	 */
	if (c->restored && !et_call_is_waiting(c) && c->decision == ET_DECISION_RECORD &&
	    !et_call_open(e, c)) {
		return; /* no room: the next sweep tries again */
	}
	et_tones_flush_call(e, c);
	enum et_capture_state before = c->facts.state;
	int64_t end_before = c->facts.end_us;
	uint32_t count = describe(e, c);
	c->facts.state = final_state(c);
	if (c->facts.end_us == 0) {
		c->facts.end_us = c->media_us > c->seen_us ? c->media_us : c->seen_us;
	}
	if (et_call_is_paused(c)) {
		et_call_pause_end(e, c, c->facts.end_us);
	}
	if (e->sink.close(e->sink.arg, c->slot, c->opened, &c->facts, e->scratch, count) < 0) {
		c->facts.state = before; /* no room: the next sweep tries again */
		c->facts.end_us = end_before;
		return;
	}
	et_keys_call_over(e, c);
	while (c->endpoints != NULL) {
		et_endpoint_remove(e, c->endpoints);
	}
	while (c->streams != NULL) {
		et_stream_remove(e, c->streams);
	}
	if (c->linked) {
		et_table_remove(&e->calls, &c->link);
	}
	et_call_unjoin(e, c);
	e->pending_bytes -= c->pending.size;
	et_buffer_release(&c->pending);
	c->keys = et_srtp_ring_free(c->keys);
	free(c->session);
	e->slots[c->slot] = NULL;
	e->free_slots[e->free_count++] = c->slot;
	e->call_count--;
	e->media_only_count -= c->media_only ? 1 : 0;
	e->table_changed = true;
	et_pool_give(&e->call_pool, c);
}

/* Is it over? */
static bool is_over(const struct et_engine *e, const struct et_call *c)
{
	int64_t now = e->now_us;
	int64_t last = c->media_us > c->seen_us ? c->media_us : c->seen_us;
	if (c->ended) {
		int64_t wait = c->facts.state == ET_CALL_FAILED && !c->bye ? AUTH_US : LINGER_US;
		int64_t quiet = c->media_us > c->facts.end_us ? c->media_us : c->facts.end_us;
		return now - quiet > wait || now - c->facts.end_us > LINGER_MAX_US + AUTH_US;
	}
	if (c->media_only) {
		return now - last > (int64_t)e->limits.media_only_timeout_s * SECOND_US;
	}
	if (c->restored && c->media_us == 0) { /* it may have ended while we were away */
		return now - last > RESTORED_US;
	}
	if (c->answered) {
		return now - last > (int64_t)e->limits.media_timeout_s * SECOND_US;
	}
	return now - last > (int64_t)e->limits.setup_timeout_s * SECOND_US;
}

void et_call_sweep(struct et_engine *e, struct et_call *c)
{
	if (is_over(e, c)) {
		et_call_close(e, c);
		return;
	}
	struct et_endpoint *next = NULL;
	for (struct et_endpoint *ep = c->endpoints; ep != NULL; ep = next) {
		next = ep->next;
		if (ep->until_us != 0 && ep->until_us < e->now_us) {
			et_endpoint_remove(e, ep);
		}
	}
	if ((c->answered || c->restored) && !c->opened) {
		(void)et_call_open(e, c);
	}
	et_keys_tell(e, c);
	et_session_tell(e, c);
	et_call_pause_sweep(e, c);
	et_call_keep_sweep(e, c);
	et_tones_sweep(e, c);
	if (c->opened && e->now_us - c->updated_us >= UPDATE_US &&
	    (c->dirty || c->media_us >= c->updated_us)) {
		et_call_update(e, c);
	}
}
