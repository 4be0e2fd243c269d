#include <stdio.h>

#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

/* Membership changes, one at a time, in the order in which they were asked for.
 *
 *   CHECK ─┬─> CATCH_UP ─┬─> QUIET ─> BARRIER ─> SUBMIT ─> (CHECK again, or the end)
 *          └─────────────┘     └─────── transfer ──┘
 *
 * CHECK     what is so already is done; what cannot be is refused
 * CATCH_UP  before the voter's role: until the member has nearly all of the log
 * QUIET     proposals pause, until none is in flight: the change travels alone (G6)
 * BARRIER   an entry of the own term is committed: without it two changes of two leaders could
 *           both count as committed (G5)
 * SUBMIT    libraft's own call; afterwards the configuration itself is looked at
 *
 * G7: a leader whose disk has taken nothing for two election timeouts hands over. */

enum {
	CHANGE_US = 60 * 1000 * 1000,
	QUIET_US = 5 * 1000 * 1000,
	TRANSFER_TRIES = 5,
	NEARLY = 256, /* entries */
	HAND_OVER_EVERY_US = 5 * 1000 * 1000,
};

static struct cat_change *current(struct et_catalog *c)
{
	return cat_list_is_empty(&c->changes)
		       ? NULL
		       : ET_CONTAINER_OF(c->changes.next, struct cat_change, link);
}

static void change_end(struct et_catalog *c, struct cat_change *ch, int code)
{
	cat_list_take(&ch->link);
	c->paused = false;
	if (ch->cb != NULL) {
		ch->cb(ch->arg, code, NULL);
	}
	free(ch);
	et_cat_schedule(c);
}

static unsigned voters(const struct et_catalog *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		n += c->raft.configuration.servers[i].role == RAFT_VOTER;
	}
	return n;
}

static void stage_quiet(struct cat_change *ch)
{
	ch->stage = CAT_STAGE_QUIET;
	ch->quiet_deadline_us = et_clock_mono_us() + QUIET_US;
}

/* ---- CHECK ---- */

static void check_assign(struct et_catalog *c, struct cat_change *ch, const struct raft_server *s)
{
	if (s == NULL) {
		change_end(c, ch, ET_ENOTFOUND);
		return;
	}
	if (s->role == ch->role) {
		change_end(c, ch, 0);
		return;
	}
	if (s->role == RAFT_VOTER && voters(c) == 1) {
		change_end(c, ch, ET_EREFUSED);
		return;
	}
	if (ch->role == RAFT_VOTER && s->role == RAFT_SPARE) {
		ch->step = RAFT_STANDBY;
		stage_quiet(ch);
		return;
	}
	ch->step = ch->role;
	if (ch->role == RAFT_VOTER) {
		ch->stage = CAT_STAGE_CATCH_UP;
	} else {
		stage_quiet(ch);
	}
}

static void change_check(struct et_catalog *c, struct cat_change *ch)
{
	const struct raft_server *s = et_cat_server(c, ch->node);

	switch (ch->kind) {
	case CAT_ADD:
		if (s == NULL) {
			stage_quiet(ch);
		} else {
			change_end(c, ch, strcmp(s->address, ch->address) == 0 ? 0 : ET_EEXISTS);
		}
		break;
	case CAT_ASSIGN:
		check_assign(c, ch, s);
		break;
	case CAT_REMOVE:
		if (s == NULL) {
			change_end(c, ch, 0);
		} else if (s->role == RAFT_VOTER && voters(c) == 1) {
			change_end(c, ch, ET_EREFUSED);
		} else {
			stage_quiet(ch);
		}
		break;
	case CAT_TRANSFER:
		if (ch->node == c->node) {
			change_end(c, ch, 0);
		} else if (ch->node != 0 && (s == NULL || s->role != RAFT_VOTER)) {
			change_end(c, ch, ET_ENOTFOUND);
		} else {
			stage_quiet(ch);
		}
		break;
	}
}

/* ---- CATCH_UP, QUIET ---- */

static void change_catch_up(struct et_catalog *c, struct cat_change *ch)
{
	raft_index match = 0;

	if (raft_match_index(&c->raft, ch->node, &match) != 0) {
		ch->stage = CAT_STAGE_CHECK;
	} else if (match + NEARLY >= raft_last_index(&c->raft)) {
		stage_quiet(ch);
	}
}

/* Does this change take the leader's own vote? Then leadership goes first. */
static bool hands_over(const struct et_catalog *c, const struct cat_change *ch)
{
	return ch->kind == CAT_TRANSFER ||
	       (ch->node == c->node && (ch->kind == CAT_REMOVE || ch->kind == CAT_ASSIGN));
}

static void change_on_barrier(struct raft_barrier *req, int status)
{
	struct et_catalog *c = req->data;
	struct cat_change *ch = current(c);

	c->change_busy = false;
	if (ch == NULL || c->stopping) {
		return;
	}
	if (status != 0) {
		change_end(c, ch, et_cat_code(status));
		return;
	}
	ch->stage = CAT_STAGE_SUBMIT;
	et_cat_schedule(c);
}

static void change_quiet(struct et_catalog *c, struct cat_change *ch)
{
	c->paused = true;
	if (c->inflight_count > 0 || c->change_busy) {
		return;
	}
	if (hands_over(c, ch)) {
		ch->stage = CAT_STAGE_SUBMIT;
		et_cat_schedule(c);
		return;
	}
	c->change_barrier.data = c;
	int rv = raft_barrier(&c->raft, &c->change_barrier, change_on_barrier);
	if (rv != 0) {
		change_end(c, ch, et_cat_code(rv));
		return;
	}
	c->change_busy = true;
	ch->stage = CAT_STAGE_BARRIER;
}

/* ---- SUBMIT ---- */

/* Is the configuration now what this step asked for? */
static bool step_is_done(const struct et_catalog *c, const struct cat_change *ch)
{
	const struct raft_server *s = et_cat_server(c, ch->node);

	switch (ch->kind) {
	case CAT_ADD:
		return s != NULL && strcmp(s->address, ch->address) == 0;
	case CAT_ASSIGN:
		return s != NULL && s->role == ch->step;
	case CAT_REMOVE:
		return s == NULL;
	case CAT_TRANSFER:
		break;
	}
	return true;
}

static void change_on_done(struct raft_change *req, int status)
{
	struct et_catalog *c = req->data;
	struct cat_change *ch = current(c);

	c->change_busy = false;
	if (ch == NULL || c->stopping) {
		return;
	}
	if (status != 0) {
		change_end(c, ch, et_cat_code(status));
	} else if (!step_is_done(c, ch)) {
		change_end(c, ch, ET_EUNKNOWN);
	} else if (ch->kind == CAT_ASSIGN && ch->step != ch->role) {
		c->paused = false;
		ch->stage = CAT_STAGE_CHECK;
		et_cat_schedule(c);
	} else {
		change_end(c, ch, 0);
	}
}

static void change_on_transferred(struct raft_transfer *req)
{
	struct et_catalog *c = req->data;
	struct cat_change *ch = current(c);

	c->change_busy = false;
	if (ch == NULL || c->stopping) {
		return;
	}
	if (!et_cat_is_leader(c)) {
		change_end(c, ch, ch->kind == CAT_TRANSFER ? 0 : ET_ENOTLEADER);
	} else if (++ch->tries < TRANSFER_TRIES) {
		stage_quiet(ch); /* libraft asks the other node once only: ask again. */
		et_cat_schedule(c);
	} else {
		change_end(c, ch, ET_EUNREACHABLE);
	}
}

static void change_submit(struct et_catalog *c, struct cat_change *ch)
{
	int rv;

	if (c->change_busy) {
		return;
	}
	c->change_busy = true;
	if (hands_over(c, ch)) {
		c->raft_transfer.data = c;
		rv = raft_transfer(&c->raft, &c->raft_transfer,
				   ch->kind == CAT_TRANSFER ? ch->node : 0, change_on_transferred);
	} else {
		c->raft_change.data = c;
		if (ch->kind == CAT_ADD) {
			rv = raft_add(&c->raft, &c->raft_change, ch->node, ch->address,
				      change_on_done);
		} else if (ch->kind == CAT_ASSIGN) {
			rv = raft_assign(&c->raft, &c->raft_change, ch->node, ch->step,
					 change_on_done);
		} else {
			rv = raft_remove(&c->raft, &c->raft_change, ch->node, change_on_done);
		}
		if (rv != 0) {
			c->raft.legacy.change = NULL; /* raft_assign() leaves it behind. */
		}
	}
	if (rv != 0) {
		c->change_busy = false;
		change_end(c, ch, et_cat_code(rv));
	}
}

void et_cat_member_turn(struct et_catalog *c)
{
	struct cat_change *ch = current(c);

	if (ch == NULL) {
		return;
	}
	if (!et_cat_is_leader(c)) {
		if (!c->change_busy) {
			change_end(c, ch, ET_ENOTLEADER);
		}
		return; /* Else libraft calls back, now that leadership is lost. */
	}
	if (c->ready_term != c->raft.current_term) {
		return;
	}
	switch (ch->stage) {
	case CAT_STAGE_CHECK:
		change_check(c, ch);
		et_cat_schedule(c);
		break;
	case CAT_STAGE_CATCH_UP:
		change_catch_up(c, ch);
		break;
	case CAT_STAGE_QUIET:
		change_quiet(c, ch);
		break;
	case CAT_STAGE_BARRIER:
		break;
	case CAT_STAGE_SUBMIT:
		change_submit(c, ch);
		break;
	}
}

static void disk_watch(struct et_catalog *c, int64_t now_us)
{
	int64_t patience_us = (int64_t)c->election_ms * 2000;

	if (c->unstored_bytes == 0 || !et_cat_is_leader(c) || voters(c) < 2) {
		return;
	}
	if (now_us - c->stored_at_us < patience_us || now_us < c->hand_over_at_us ||
	    !cat_list_is_empty(&c->changes)) {
		return;
	}
	c->hand_over_at_us = now_us + HAND_OVER_EVERY_US;
	et_warn("catalog.disk.slow", "node=%llu unstored_bytes=%zu next=hand-over",
		(unsigned long long)c->node, c->unstored_bytes);
	et_catalog_transfer(c, 0, NULL, NULL);
}

void et_cat_member_timer(struct et_catalog *c, int64_t now_us)
{
	struct cat_change *ch = current(c);

	disk_watch(c, now_us);
	if (ch == NULL || c->change_busy) {
		return;
	}
	if (ch->stage == CAT_STAGE_QUIET && now_us >= ch->quiet_deadline_us) {
		change_end(c, ch, ET_EBUSY);
	} else if (now_us >= ch->deadline_us) {
		change_end(c, ch, ET_EUNREACHABLE);
	}
}

void et_cat_member_fail_all(struct et_catalog *c, int code)
{
	while (current(c) != NULL) {
		change_end(c, current(c), code);
	}
}

static void change_add(struct et_catalog *c, const struct cat_change *what)
{
	size_t count = 0;

	for (struct cat_link *l = c->changes.next; l != &c->changes; l = l->next) {
		count++;
	}
	if (c->stopping || !et_cat_is_leader(c) || count >= CAT_CHANGES_MAX) {
		et_cat_later(c, what->cb, what->arg,
			     c->stopping		? ET_ECLOSED
			     : count >= CAT_CHANGES_MAX ? ET_ELIMIT
							: ET_ENOTLEADER);
		return;
	}
	struct cat_change *ch = et_cat_alloc(sizeof(*ch));
	*ch = *what;
	ch->deadline_us = et_clock_mono_us() + CHANGE_US;
	cat_list_add(&c->changes, &ch->link);
	et_cat_schedule(c);
}

void et_catalog_add(struct et_catalog *c, uint64_t node, const char *address, et_catalog_cb cb,
		    void *arg)
{
	struct cat_change ch = { .kind = CAT_ADD, .node = node, .cb = cb, .arg = arg };

	if (node == 0 || strlen(address) >= sizeof(ch.address) || strchr(address, ':') == NULL) {
		et_cat_later(c, cb, arg, ET_EMALFORMED);
		return;
	}
	(void)snprintf(ch.address, sizeof(ch.address), "%s", address);
	change_add(c, &ch);
}

void et_catalog_assign(struct et_catalog *c, uint64_t node, enum et_catalog_role role,
		       et_catalog_cb cb, void *arg)
{
	static const int roles[] = { [ET_CATALOG_STANDBY] = RAFT_STANDBY,
				     [ET_CATALOG_VOTER] = RAFT_VOTER,
				     [ET_CATALOG_SPARE] = RAFT_SPARE };
	struct cat_change ch = {
		.kind = CAT_ASSIGN, .node = node, .role = roles[role], .cb = cb, .arg = arg
	};

	change_add(c, &ch);
}

void et_catalog_remove(struct et_catalog *c, uint64_t node, et_catalog_cb cb, void *arg)
{
	struct cat_change ch = { .kind = CAT_REMOVE, .node = node, .cb = cb, .arg = arg };

	change_add(c, &ch);
}

void et_catalog_transfer(struct et_catalog *c, uint64_t node, et_catalog_cb cb, void *arg)
{
	struct cat_change ch = { .kind = CAT_TRANSFER, .node = node, .cb = cb, .arg = arg };

	change_add(c, &ch);
}
