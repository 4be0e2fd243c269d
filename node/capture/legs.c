/* The legs of a call: the dialogs that its INVITE made (a fork makes several), and the transactions
 * in which it was sent. They say whom a BYE ends, and when a fork has failed.
 *
 * Whose a message is is told by tags, never by addresses: proxies and NATs change these. A BYE
 * whose tags are of no dialog of the call is kept as a message, and ends nothing; one with the
 * right tags has seen the dialog. Where the tags of the callee are not known (its answers were not
 * seen), the caller's is enough.
 *
 * A proxy that forks shows one transaction above it and one for each branch below, with one more
 * Via. The call has failed when those have that have the fewest: what a branch says is not the end.
 *
 * Bounded: a fork into a thousand branches has ET_CALL_DIALOGS_MAX dialogs here; those that
 * answered stay. Not kept over a restart, after which the caller's tag is enough again. */
#include <stdio.h>

#include "node/capture/engine_internal.h"

enum { TAG_PREFIX = 46 };

/* As it is, or its front and a hash of the whole: tags that are longer and begin alike differ. */
void et_leg_tag(struct et_view tag, char ret[ET_TAG_TEXT])
{
	if (tag.size < ET_TAG_TEXT) {
		et_copy_text(ret, ET_TAG_TEXT, tag);
		return;
	}
	char front[TAG_PREFIX + 1];
	et_copy_text(front, sizeof(front), tag);
	(void)snprintf(ret, ET_TAG_TEXT, "%s#%016llx", front,
		       (unsigned long long)et_hash(0, tag.data, tag.size));
}

static bool is_callers(const struct et_call *c, struct et_view tag)
{
	char text[ET_TAG_TEXT];
	et_leg_tag(tag, text);
	return strcmp(text, c->caller_tag) == 0;
}

bool et_leg_of(const struct et_call *c, const struct et_sip *m, struct et_view *ret)
{
	if (is_callers(c, m->from.tag)) {
		*ret = m->to.tag;
		return true;
	}
	if (is_callers(c, m->to.tag)) {
		*ret = m->from.tag;
		return true;
	}
	return false;
}

uint64_t et_leg_id(const struct et_engine *e, struct et_view tag)
{
	return tag.size == 0 ? 0 : et_hash(e->calls.seed, tag.data, tag.size) | 1;
}

static struct et_dialog *find_dialog(struct et_call *c, uint64_t id)
{
	for (uint8_t i = 0; i < c->dialog_count; i++) {
		if (c->dialogs[i].id == id) {
			return &c->dialogs[i];
		}
	}
	return NULL;
}

static struct et_dialog *new_dialog(struct et_call *c, bool confirmed)
{
	if (c->dialog_count < ET_CALL_DIALOGS_MAX) {
		return &c->dialogs[c->dialog_count++];
	}
	for (uint8_t i = 0; confirmed && i < c->dialog_count; i++) {
		if (!c->dialogs[i].confirmed) {
			return &c->dialogs[i];
		}
	}
	return NULL;
}

void et_leg_note(struct et_call *c, uint64_t id, bool confirmed)
{
	struct et_dialog *d = find_dialog(c, id);
	if (d == NULL && id != 0) {
		d = new_dialog(c, confirmed);
		if (d != NULL) {
			*d = (struct et_dialog){ .id = id };
		}
	}
	if (d != NULL) {
		d->confirmed = d->confirmed || confirmed;
	}
}

bool et_leg_confirmed(const struct et_call *c, uint64_t id)
{
	for (uint8_t i = 0; i < c->dialog_count; i++) {
		if (c->dialogs[i].confirmed && (id == 0 || c->dialogs[i].id == id)) {
			return true;
		}
	}
	return false;
}

bool et_leg_known(const struct et_call *c, uint64_t id)
{
	for (uint8_t i = 0; i < c->dialog_count; i++) {
		if (c->dialogs[i].id == id) {
			return true;
		}
	}
	return false;
}

void et_leg_ack(const struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	struct et_view tag;
	struct et_dialog *d = et_leg_of(c, m, &tag) ? find_dialog(c, et_leg_id(e, tag)) : NULL;
	if (d != NULL && d->confirmed) {
		d->acked = true;
	}
}

/* 2: answered, and the caller took it; 1: answered; 0: early. */
static int firmness(const struct et_dialog *d)
{
	return d->confirmed ? d->acked ? 2 : 1 : 0;
}

/* A dialog that is less firm than another was never the call: an early one beside an answer, an
 * answer that nobody acknowledged beside one that was (some servers answer with one tag, and the
 * hop above them with another). */
static bool goes_on(const struct et_call *c)
{
	int firmest = 0;
	for (uint8_t i = 0; i < c->dialog_count; i++) {
		int firm = firmness(&c->dialogs[i]);
		firmest = firm > firmest ? firm : firmest;
	}
	for (uint8_t i = 0; i < c->dialog_count; i++) {
		if (!c->dialogs[i].over && firmness(&c->dialogs[i]) == firmest) {
			return true;
		}
	}
	return false;
}

bool et_leg_bye(const struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	struct et_view tag;
	if (!et_leg_of(c, m, &tag)) {
		return false;
	}
	struct et_dialog *d = find_dialog(c, et_leg_id(e, tag));
	if (d == NULL) { /* its answer was not seen, or nobody's was, or it has no tag */
		return tag.size == 0 || !et_leg_confirmed(c, 0);
	}
	d->over = true;
	return !goes_on(c);
}

bool et_leg_bye_refused(const struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	struct et_view tag;
	if (m->status < 300 || m->status == 408 || m->status == 481 || !et_leg_of(c, m, &tag)) {
		return false;
	}
	struct et_dialog *d = find_dialog(c, et_leg_id(e, tag));
	if (d != NULL) {
		d->over = false;
	}
	return true;
}

void et_leg_sent(const struct et_engine *e, struct et_call *c, const struct et_sip *m, bool first)
{
	uint64_t branch = et_leg_id(e, m->via_branch);
	if (first || m->via_count < c->sent_vias) {
		c->sent_count = 0;
		c->sent_failed = 0;
		c->sent_vias = m->via_count;
	}
	if (m->via_count > c->sent_vias) {
		return;
	}
	for (uint8_t i = 0; i < c->sent_count; i++) {
		if (c->sent[i] == branch) {
			return;
		}
	}
	if (c->sent_count < ET_CALL_SENT_MAX) {
		c->sent[c->sent_count++] = branch;
	}
}

bool et_leg_failed(const struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	uint64_t branch = et_leg_id(e, m->via_branch);
	if (et_leg_confirmed(c, 0) || (m->has_cseq && m->cseq != c->invite_cseq)) {
		return false; /* of a re-INVITE, or of one that came again with credentials */
	}
	if (c->sent_count == 0) {
		return true;
	}
	if (m->via_count > c->sent_vias) {
		return false;
	}
	bool found = false;
	for (uint8_t i = 0; i < c->sent_count; i++) {
		if (c->sent[i] == branch) {
			c->sent_failed = (uint16_t)(c->sent_failed | 1U << i);
			found = true;
		}
	}
	return found ? c->sent_failed == (1U << c->sent_count) - 1
		     : c->sent_count < ET_CALL_SENT_MAX;
}
