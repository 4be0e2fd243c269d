/* The index's tail (tail.c): what apply has said of the index and is not written into it yet.
 *
 * Apply says what changes, key by key (index_update()). It is written twice: at once, as one row
 * of family `live` a group, in the group's own WriteBatch; and later, by a thread of its own, in
 * order and in bulk into the index itself, when the row goes. So the rows that a database has are
 * what its index lacks, and nothing else is needed to catch up after a crash.
 *
 * Invariants
 *   - The index, with all rows applied to it in the order of their numbers, is the index of the
 *     records in the same database. Every change is absolute (a key has this value, or is gone), so
 *     a row that is applied again, and all behind it, changes nothing.
 *   - Rows are written with their group, and go with what is made of them, or later: never before.
 * Threads: the state thread, the index thread (started by tail_new()), and whoever waits. They meet
 * in one mutex. Memory: TAIL_MAX_BYTES; behind that apply waits. */
#ifndef ET_RAFT_STATE_TAIL_INTERNAL_H
#define ET_RAFT_STATE_TAIL_INTERNAL_H

#include "raft/state/state_internal.h"

#define TAIL_BULK_BYTES (16UL << 20) /* written as a file: about 28,000 new recordings */
#define TAIL_MAX_BYTES (40UL << 20)  /* apply waits for the index */
#define TAIL_LINGER_MS 5000	     /* nobody asks, and it is not much: written after this time */

enum tail_kind {
	TAIL_DELETE = 0,
	TAIL_NEW = 1,	 /* the key is set; before, it was not there */
	TAIL_CHANGE = 2, /* the key has another value */
};

/* Starts the thread. `database` is borrowed until tail_take() or tail_free(). */
int tail_new(struct et_state *s, struct tail **ret, struct et_error *reterr) ET_MUST_CHECK;
/* Ends the thread: what is being written is; the rest stays in its rows. NULL is allowed. */
void tail_free(struct tail *t);

/* ---- State thread ---- */

/* A database is taken: its rows become the tail, and what was the tail is forgotten (it was of the
 * former database). tail_load() first, which may fail and changes nothing; then tail_take(). */
int tail_load(const struct et_state_view *v, struct tail_chunk **ret) ET_MUST_CHECK;
void tail_chunks_free(struct tail_chunk *list);
void tail_take(struct tail *t, struct database *database, const char *path,
	       struct tail_chunk *list);

/* In a group: a recording changes, and so does a key of the index (which begins with its
 * generation). A failed allocation is told by tail_row(). */
void tail_add_recording(struct tail *t, const uint8_t id[16]);
void tail_add(struct tail *t, enum tail_kind kind, enum state_cf cf, const uint8_t *key,
	      size_t key_size, const uint8_t *value, size_t value_size);
/* The group is being written, as of `index`: its row. Waits while the tail is too long. -ENOMEM, or
 * why the index cannot be written. */
int tail_row(struct tail *t, rocksdb_writebatch_t *batch, uint64_t index,
	     struct et_error *reterr) ET_MUST_CHECK;
/* The group is written (good), or it is not. */
void tail_group_end(struct tail *t, bool good);

/* Wait until nothing is left and nothing is being written. */
int tail_settle(struct tail *t, struct et_error *reterr) ET_MUST_CHECK;

/* ---- Any thread ---- */

/* Wait until the index has all up to `index`. false: the time was over. */
bool tail_wait(struct tail *t, uint64_t index, uint32_t timeout_ms);
void tail_hold(struct tail *t, bool hold);
/* Groups up to this one are in the index of `database`, for any snapshot from now on; 0: it is not
 * known. */
uint64_t tail_has(struct tail *t, const struct database *database);

/* For tests, which cannot bring together thousands of recordings, nor a slow disk, nor a kill at
 * the worst moment. tail_tune() between two groups; it does not wait. */
struct tail_tuning {
	size_t bulk_bytes, max_bytes;
	uint32_t linger_ms;
	bool paused;	/* the thread writes nothing until apply itself waits for it */
	bool rows_stay; /* as if every write were killed before the rows go */
};
struct tail_tuning tail_tuning(struct tail *t);
void tail_tune(struct tail *t, const struct tail_tuning *tuning);
uint64_t tail_files(struct tail *t); /* how many were made */
size_t tail_bytes(struct tail *t);   /* how long it is */

/* ---- Readers ---- */

/* What a view's index lacks: recordings whose entries may be out of date. */
struct tail_view {
	uint64_t first;	    /* index of the first group that is not in; 0: it lacks nothing */
	uint8_t (*ids)[16]; /* owned; sorted */
	size_t count;
};
int tail_view_read(const struct et_state_view *v, struct tail_view *ret) ET_MUST_CHECK;
void tail_view_release(struct tail_view *t);
bool tail_view_has(const struct tail_view *t, const uint8_t id[16]);

/* Rows of an index that is made anew from nothing. */
void tail_rows_drop(rocksdb_writebatch_t *batch, const struct database *d);

#endif
