/* Changes of the index (changes.c): how a row of the tail holds them, and the last of each key.
 *
 *   row      n 4, n recordings 16 each, then changes to the end
 *   change   kind 1 (enum tail_kind), family 1 (0 find, 1 live), key size 2, value size 4, key,
 *            value */
#ifndef ET_RAFT_STATE_CHANGES_INTERNAL_H
#define ET_RAFT_STATE_CHANGES_INTERNAL_H

#include "raft/state/sort_internal.h"
#include "raft/state/tail_internal.h"

/* ---- Rows ---- */

#define ROW_ID_SIZE 16

/* A change, at the end of `to`. A failed allocation is sticky in it. */
void change_add(struct et_buffer *to, enum tail_kind kind, enum state_cf cf, const uint8_t *key,
		size_t key_size, const uint8_t *value, size_t value_size);
/* A whole row of these parts, at the end of `row`. */
void row_make(struct et_buffer *row, const struct et_buffer *ids, const struct et_buffer *changes);
/* Its recordings, of which there are *ret_count; its changes are what is behind them. NULL: that is
 * no row. */
const uint8_t *row_ids(struct et_view row, size_t *ret_count);

/* ---- In order ---- */

struct change {
	enum tail_kind kind;
	const char *key; /* views into the row */
	size_t key_size;
	const char *value;
	size_t value_size;
};

struct change_list {
	struct sort_key *list; /* owned; keys are views into rows */
	size_t count, capacity;
};

/* Zero-initialised is empty. */
struct changes {
	struct change_list find, live; /* by family */
	struct change_list spare;
};

/* The changes of a row, which stays until changes_clear(). `again`: the index may have some of them
 * already. -ENOMEM, ET_ECORRUPT. */
int changes_read(struct changes *x, struct et_view row, bool again) ET_MUST_CHECK;
/* All rows are read, in the order of the log: in the order of keys, the last change of each. A key
 * that came and went in between was never there, and is left out; but where the index may have some
 * of it from before a crash, it is deleted all the same. -ENOMEM. */
int changes_settle(struct changes *x) ET_MUST_CHECK;
/* In a loop over a list: what comes a few places further is fetched meanwhile. */
struct change change_at(const struct change_list *list, size_t i);
/* Forget all of them, and keep the memory for the next ones. */
void changes_clear(struct changes *x);
void changes_release(struct changes *x);

#endif
