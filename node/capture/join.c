/* Legs of a B2BUA: recordings of one call (node/rule/join.h).
 *
 * Who has a header's value in common needs no meeting: the call's id is hashed from it, so each
 * node, each restart and each replay makes the same one. Who has only numbers in common must be
 * known here: a table by both numbers, of the calls that live. */
#include <stdio.h>

#include "node/capture/engine_internal.h"
#include "node/crypto/hash.h"

static void id_of_key(const char *key, uint8_t ret[16])
{
	static const char label[] = "evertape join/1";
	char text[sizeof(label) + ET_JOIN_KEY_MAX];
	uint8_t hash[ET_SHA256_SIZE];

	int n = snprintf(text, sizeof(text), "%s%c%s", label, '\0', key);
	et_assert(n > 0 && n < (int)sizeof(text));
	et_sha256(text, (size_t)n, hash);
	memcpy(ret, hash, 16);
	ret[6] = (uint8_t)(0x80 | (ret[6] & 0x0F)); /* UUID version 8 (RFC 9562, section 5.8) */
	ret[8] = (uint8_t)(0x80 | (ret[8] & 0x3F));
}

static bool by_header(struct et_call *c, const struct et_join *j, struct et_view invite)
{
	char key[ET_JOIN_KEY_MAX];
	struct et_view value;

	if (!et_sip_header(invite, j->header, 0, &value) ||
	    !et_join_header_key(j->header, value, key)) {
		return false;
	}
	id_of_key(key, c->facts.call);
	(void)snprintf(c->facts.joined, sizeof(c->facts.joined), "header %.40s", j->header);
	return true;
}

/* ---- Numbers ---- */

static bool key_of_numbers(const struct et_call *c, uint32_t digits, char ret[ET_JOIN_KEY_MAX])
{
	return et_join_numbers_key(c->facts.from, c->facts.to, digits, ret);
}

static uint64_t numbers_hash(const struct et_engine *e, const char *key)
{
	return et_hash(e->joins.seed, key, strlen(key));
}

/* The one call that fits, if there is one. */
static bool by_numbers(struct et_engine *e, struct et_call *c, const struct et_join *j)
{
	char key[ET_JOIN_KEY_MAX];
	char other_key[ET_JOIN_KEY_MAX];
	struct et_call *found = NULL;
	uint32_t steps = 0;

	if (e->joins.buckets == NULL || !key_of_numbers(c, j->digits, key)) {
		return false;
	}
	const uint64_t hash = numbers_hash(e, key);
	for (struct et_link *l = et_table_first(&e->joins, hash); l != NULL; l = l->next) {
		struct et_call *other = ET_CONTAINER_OF(l, struct et_call, join_link);
		int64_t apart_us = c->facts.start_us - other->facts.start_us;
		if (++steps > ET_JOIN_STEPS_MAX) {
			return false; /* a flood of the same numbers: nobody could tell them apart
				       */
		}
		if (l->hash != hash || other == c || apart_us > j->within_us ||
		    apart_us < -j->within_us || !key_of_numbers(other, j->digits, other_key) ||
		    strcmp(key, other_key) != 0) {
			continue;
		}
		if (found != NULL && memcmp(found->facts.call, other->facts.call, 16) != 0) {
			return false;
		}
		found = other;
	}
	if (found == NULL) {
		return false;
	}
	memcpy(c->facts.call, found->facts.call, sizeof(c->facts.call));
	(void)snprintf(c->facts.joined, sizeof(c->facts.joined), "numbers");
	if (found->facts.joined[0] == '\0') {
		(void)snprintf(found->facts.joined, sizeof(found->facts.joined), "numbers");
		found->dirty = true;
	}
	return true;
}

/* Others may be joined with it. One set of digits serves all rules: the first one's. */
static void be_found(struct et_engine *e, struct et_call *c)
{
	char key[ET_JOIN_KEY_MAX];

	for (uint32_t i = 0; i < e->rules.join_count && !c->join_linked; i++) {
		const struct et_join *j = &e->rules.joins[i];
		if (j->by == ET_JOIN_NUMBERS && e->joins.buckets != NULL &&
		    key_of_numbers(c, j->digits, key)) {
			et_table_add(&e->joins, &c->join_link, numbers_hash(e, key));
			c->join_linked = true;
		}
	}
}

void et_call_join(struct et_engine *e, struct et_call *c, const struct et_view *invite)
{
	bool joined = false;

	for (uint32_t i = 0; i < e->rules.join_count && !joined; i++) {
		const struct et_join *j = &e->rules.joins[i];
		joined = j->by == ET_JOIN_HEADER ? invite != NULL && by_header(c, j, *invite)
						 : by_numbers(e, c, j);
	}
	be_found(e, c);
}

void et_call_unjoin(struct et_engine *e, struct et_call *c)
{
	if (c->join_linked) {
		et_table_remove(&e->joins, &c->join_link);
		c->join_linked = false;
	}
}

bool et_joins_make(struct et_engine *e)
{
	for (uint32_t i = 0; i < e->rules.join_count; i++) {
		if (e->rules.joins[i].by == ET_JOIN_NUMBERS) {
			return et_table_init(&e->joins, e->limits.calls, e->streams.seed);
		}
	}
	return true;
}
