#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "node/io/clock.h"
#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* Is this node's state the same as the others'?
 *
 * The leader commits "at index I my running digest is D" (DigestCheck): once a minute while
 * commands are applied, or when `doctor --deep` asks. Apply changes nothing for it. Each node
 * compares with what it had at I, and who differs, leads, or is asked by somebody who differs, asks
 * all members for theirs (ET_RPC_DIGEST; a spare keeps no catalogue). Each judges only itself:
 *
 *   a majority of the voters has what I have      well; who differs is named
 *   a majority of the voters has something else   I am wrong: mark the database, hand over
 *                                                 leadership, stop
 *   no majority has the same                      disputed: nothing destructive is proposed
 *
 * A database that is marked is not opened again. Without it the node takes the state of another one
 * (rebuild.c); its Raft log is good: only what was made of it was wrong. */

enum {
	CHECK_MS = 60 * 1000,
	POLL_US = 20 * 1000 * 1000,
	ASK_US = 300 * 1000,
	ASK_TIMEOUT_MS = 2000,
	HAND_OVER_US = 3 * 1000 * 1000,
	CHECK_ENTRIES = 4096, /* sooner than by time */
};

#define MARKER "DIVERGED"

/* ---- The verdict ---- */

static size_t same_votes(const uint8_t digest[32], const uint8_t own[32], bool is_voter,
			 const struct cat_vote *votes, size_t count)
{
	size_t n = is_voter && memcmp(digest, own, 32) == 0;

	for (size_t i = 0; i < count; i++) {
		n += votes[i].is_voter && votes[i].answered &&
		     memcmp(votes[i].digest, digest, 32) == 0;
	}
	return n;
}

enum cat_verdict et_cat_digest_judge(const uint8_t own[32], bool is_voter,
				     const struct cat_vote *votes, size_t count, size_t voters,
				     bool ended)
{
	size_t majority = voters / 2 + 1;
	size_t answers = is_voter;
	bool differ = false;

	if (same_votes(own, own, is_voter, votes, count) >= majority) {
		return CAT_VERDICT_AGREES;
	}
	for (size_t i = 0; i < count; i++) {
		const struct cat_vote *v = &votes[i];
		if (!v->answered || !v->is_voter) {
			continue;
		}
		answers++;
		differ |= memcmp(v->digest, own, 32) != 0;
		if (memcmp(v->digest, own, 32) != 0 &&
		    same_votes(v->digest, own, is_voter, votes, count) >= majority) {
			return CAT_VERDICT_WRONG;
		}
	}
	return differ && (ended || answers >= voters) ? CAT_VERDICT_DISPUTED : CAT_VERDICT_WAIT;
}

/* ---- Being wrong ---- */

static void marker_path(const struct et_catalog *c, char path[CAT_PATH_SIZE])
{
	int n = snprintf(path, CAT_PATH_SIZE, "%s/" MARKER, c->db_folder);
	et_assert(n > 0 && n < CAT_PATH_SIZE); /* config_copy() leaves room for a name. */
}

int et_cat_digest_check_marker(const struct et_catalog *c, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	char path[CAT_PATH_SIZE];

	marker_path(c, path);
	if (access(path, F_OK) != 0) {
		return 0;
	}
	if (et_file_read(path, 300, &text, NULL) < 0) {
		text.size = 0;
	}
	(void)et_fail_plain(reterr, ET_EINTEGRITY,
			    "STATE_DIVERGED: the catalogue in '%.200s' is not that of the cluster "
			    "(%.*s)",
			    c->db_folder, (int)text.size, (const char *)text.data);
	return et_fail_next(reterr, "rm -r %.140s; start again: it takes the others' state",
			    c->db_folder);
}

static void diverged_tell(struct et_catalog *c)
{
	struct cat_digests *d = &c->digests;

	if (d->told) {
		return;
	}
	d->told = true;
	if (c->on_diverged == NULL) {
		et_cat_fatal(c, "%s", d->why.text);
	}
	c->on_diverged(c->arg, &d->why);
}

static void diverged_on_transfer(void *arg, int code, const Et__Result *result)
{
	(void)code;
	(void)result;
	((struct et_catalog *)arg)->digests.tell_at_us = 1;
	et_cat_schedule(arg);
}

static void diverged(struct et_catalog *c)
{
	struct cat_digests *d = &c->digests;
	char path[CAT_PATH_SIZE];
	char text[200];
	char own[17];

	if (d->diverged) {
		return;
	}
	d->diverged = true;
	et_hex(d->own, 8, own);
	int n = snprintf(text, sizeof(text),
			 "at index %" PRIu64 " its digest is %s..., a majority "
			 "of the voters has another",
			 d->index, own);
	marker_path(c, path);
	int rc = et_file_publish(path, text, (size_t)n, 0600, NULL);
	et_err("catalog.diverged", "node=%" PRIu64 " index=%" PRIu64 " digest=%s marked=%s",
	       c->node, d->index, own, rc == 0 ? "yes" : et_errname(rc));
	(void)et_fail_plain(
		&d->why, ET_EINTEGRITY,
		"STATE_DIVERGED: the catalogue of this node is not that of the cluster: "
		"%s",
		text);
	(void)et_fail_next(&d->why, "rm -r %.140s; start again: it takes the others' state",
			   c->db_folder);
	d->tell_at_us = 1;
	if (et_cat_is_leader(c)) { /* Who is wrong does not lead. */
		d->tell_at_us = et_clock_mono_us() + HAND_OVER_US;
		et_catalog_transfer(c, 0, diverged_on_transfer, c);
	}
	et_cat_status_update(c);
}

/* ---- Asking ---- */

static void odd_set(struct cat_digests *d, uint64_t node, bool is_odd)
{
	for (size_t i = 0; i < d->odd_count; i++) {
		if (d->odd[i] == node) {
			if (!is_odd) {
				d->odd[i] = d->odd[--d->odd_count];
			}
			return;
		}
	}
	if (is_odd && d->odd_count < ET_ARRAY_SIZE(d->odd)) {
		d->odd[d->odd_count++] = node;
	}
}

static size_t voters_of(const struct et_catalog *c, bool *ret_is_voter)
{
	size_t n = 0;

	*ret_is_voter = false;
	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		const struct raft_server *s = &c->raft.configuration.servers[i];
		n += s->role == RAFT_VOTER;
		*ret_is_voter |= s->id == c->node && s->role == RAFT_VOTER;
	}
	return n;
}

/* All have answered, or the time is over: what was learnt of the others. */
static void poll_end(struct et_catalog *c, enum cat_verdict verdict)
{
	struct cat_digests *d = &c->digests;
	unsigned same = 1;

	d->polling = false;
	if (verdict == CAT_VERDICT_DISPUTED && !d->disputed) {
		et_err("catalog.disputed",
		       "node=%" PRIu64 " index=%" PRIu64
		       " why=\"states differ, and no majority of the voters agrees\"",
		       c->node, d->index);
	}
	d->disputed =
		verdict == CAT_VERDICT_DISPUTED || (d->disputed && verdict != CAT_VERDICT_AGREES);
	for (size_t i = 0; i < d->vote_count; i++) {
		const struct cat_vote *v = &d->votes[i];
		bool is_odd = v->answered && memcmp(v->digest, d->own, 32) != 0;
		same += v->answered && !is_odd;
		if (v->answered && verdict != CAT_VERDICT_WAIT) {
			odd_set(d, v->node, is_odd);
		}
		if (is_odd) {
			et_warn("catalog.digest.differs",
				"node=%" PRIu64 " other=%" PRIu64 " index=%" PRIu64, c->node,
				v->node, d->index);
		}
	}
	if (verdict == CAT_VERDICT_AGREES) {
		d->agreed_index = d->index;
		d->agreed_nodes = same;
	}
	et_cat_status_update(c);
}

static void poll_judge(struct et_catalog *c, bool ended)
{
	struct cat_digests *d = &c->digests;
	bool is_voter;
	bool all = true;

	if (!d->polling) {
		return;
	}
	for (size_t i = 0; i < d->vote_count; i++) {
		all &= d->votes[i].answered;
	}
	size_t voters = voters_of(c, &is_voter);
	enum cat_verdict verdict = et_cat_digest_judge(d->own, is_voter, d->votes, d->vote_count,
						       voters, ended || all);
	if (verdict == CAT_VERDICT_WRONG) {
		diverged(c);
	}
	if (verdict == CAT_VERDICT_WRONG || ended || all) {
		poll_end(c, verdict);
	}
}

static void poll_on_answer(struct et_catalog *c, struct cat_call *call, int code,
			   struct et_view body)
{
	struct cat_digests *d = &c->digests;

	for (size_t i = 0; d->polling && d->index == call->tag && i < d->vote_count; i++) {
		struct cat_vote *v = &d->votes[i];
		if (v->node != call->node) {
			continue;
		}
		v->asking = false;
		if (code == 0 && body.size == 32) {
			v->answered = true;
			memcpy(v->digest, body.data, 32);
		}
	}
	poll_judge(c, false);
}

static void poll_ask(struct et_catalog *c, int64_t now_us)
{
	struct cat_digests *d = &c->digests;
	uint8_t body[40];

	d->ask_at_us = now_us + ASK_US;
	et_put64(body, d->index);
	memcpy(body + 8, d->own, 32);
	for (size_t i = 0; i < d->vote_count; i++) {
		struct cat_vote *v = &d->votes[i];
		if (!v->answered && !v->asking) {
			v->asking = true;
			et_cat_call(c, v->node, v->address, ET_RPC_DIGEST, body, sizeof(body),
				    ASK_TIMEOUT_MS, poll_on_answer, d->index);
		}
	}
}

static void poll_start(struct et_catalog *c, uint64_t index, const uint8_t own[32])
{
	struct cat_digests *d = &c->digests;
	int64_t now_us = et_clock_mono_us();

	if (d->diverged || d->polling) { /* One after the other: another check comes. */
		return;
	}
	d->polling = true;
	d->index = index;
	memcpy(d->own, own, 32);
	d->deadline_us = now_us + POLL_US;
	d->vote_count = 0;
	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		const struct raft_server *s = &c->raft.configuration.servers[i];
		if (s->id != c->node && s->role != RAFT_SPARE &&
		    d->vote_count < ET_ARRAY_SIZE(d->votes)) {
			struct cat_vote *v = &d->votes[d->vote_count++];
			*v = (struct cat_vote){ .node = s->id, .is_voter = s->role == RAFT_VOTER };
			(void)snprintf(v->address, sizeof(v->address), "%s", s->address);
		}
	}
	poll_ask(c, now_us);
	poll_judge(c, false); /* The only node. */
}

/* ---- A check is applied ---- */

void et_cat_digest_applied(struct et_catalog *c, const struct cat_outcome *o)
{
	struct cat_digests *d = &c->digests;

	d->last_check = o->check_index;
	d->propose_at_us = et_clock_mono_us() + (int64_t)c->digest_check_ms * 1000;
	d->proposed_applied = o->index;
	if (!o->check_known || o->result->code != 0) {
		return;
	}
	size_t slot = d->check_count++ % CAT_CHECKS;
	d->checks[slot].index = o->check_index;
	memcpy(d->checks[slot].digest, o->check_own, 32);
	if (et_cat_is_leader(c) || o->op.node == c->node ||
	    memcmp(o->check_own, o->check_told, 32) != 0) {
		poll_start(c, o->check_index, o->check_own);
	}
}

/* Body: index64, the asker's digest 32. Answer: this node's. ET_EBUSY: not applied yet;
 * ET_ENOTFOUND: no longer known. */
void et_cat_serve_digest(void *arg, const struct et_tls_peer *peer, struct et_view body,
			 struct et_rpc_reply *reply)
{
	struct et_catalog *c = arg;
	struct cat_digests *d = &c->digests;

	(void)peer;
	if (body.size != 40) {
		et_rpc_reply(reply, ET_EMALFORMED, NULL, 0);
		return;
	}
	uint64_t index = et_get64(body.data);
	for (size_t i = 0; i < CAT_CHECKS; i++) {
		if (index != 0 && d->checks[i].index == index) {
			et_rpc_reply(reply, 0, d->checks[i].digest, 32);
			if (memcmp(d->checks[i].digest, body.data + 8, 32) != 0) {
				poll_start(c, index, d->checks[i].digest);
			}
			return;
		}
	}
	et_rpc_reply(reply, index > d->last_check ? ET_EBUSY : ET_ENOTFOUND, NULL, 0);
}

/* ---- Proposing checks ---- */

static void check_on_answer(void *arg, int code, const Et__Result *result)
{
	struct et_catalog *c = arg;

	(void)code;
	(void)result;
	c->digests.proposing = false;
}

static void check_propose(struct et_catalog *c)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__DigestCheck check = ET__DIGEST_CHECK__INIT;
	uint8_t digest[32];
	char principal[32];
	uint64_t index = 0;

	struct et_state_view *view = et_state_view_open(c->state);
	int rc = view == NULL ? -ENOMEM : et_state_digest(view, &index, digest);
	et_state_view_close(view);
	if (rc < 0 || index == 0) {
		return;
	}
	(void)snprintf(principal, sizeof(principal), "node:%" PRIu64, c->node);
	check.index = index;
	check.digest = (ProtobufCBinaryData){ sizeof(digest), digest };
	command.principal = principal;
	command.body_case = ET__COMMAND__BODY_DIGEST_CHECK;
	command.digest_check = &check;
	c->digests.proposing = true;
	et_catalog_propose(c, &command, 0, check_on_answer, c);
}

void et_cat_digest_timer(struct et_catalog *c, int64_t now_us)
{
	struct cat_digests *d = &c->digests;

	if (d->diverged) {
		if (now_us >= d->tell_at_us) {
			diverged_tell(c);
		}
		return;
	}
	if (d->polling && now_us >= d->deadline_us) {
		poll_judge(c, true);
	} else if (d->polling && now_us >= d->ask_at_us) {
		poll_ask(c, now_us);
	}
	bool leads = et_cat_is_leader(c) && c->ready_term == c->raft.current_term;
	if (!leads || d->proposing || !c->cluster_exists || c->rebuild.active) {
		return;
	}
	uint64_t entries = c->applied - d->proposed_applied;
	if (d->propose_at_us == 0) {
		d->propose_at_us = now_us + (int64_t)c->digest_check_ms * 1000;
	}
	if ((now_us >= d->propose_at_us && entries > 1) || entries >= CHECK_ENTRIES) {
		check_propose(c);
	}
}
