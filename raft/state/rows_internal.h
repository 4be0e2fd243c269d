/* Records that pages of hits had lately, packed, in memory (rows.c): who looks at the same calls
 * again asks RocksDB for none of them.
 *
 * Each is known to be what the database has from the log index of the view that read it on, for as
 * long as it is here: who changes a record takes it out before the change is written. So a view may
 * have what was read at its own index or before, and no view sees what is newer than itself.
 *
 * Memory: the bytes that it was made with, touched as they fill, and a fiftieth of that. One mutex:
 * pages take and give what they have under one lock. Any thread. */
#ifndef ET_RAFT_STATE_ROWS_INTERNAL_H
#define ET_RAFT_STATE_ROWS_INTERNAL_H

#include "node/base/bytes.h"

struct rows;

struct rows *rows_new(size_t bytes); /* at least 64 KiB; NULL: no memory */
void rows_free(struct rows *r);	     /* NULL is allowed */

void rows_lock(struct rows *r);
void rows_unlock(struct rows *r);

/* All of these with the lock. */

/* The record as a view at `index` sees it; a view that holds until the unlock. false: ask the
 * database. */
bool rows_get(const struct rows *r, const uint8_t id[16], uint64_t index, struct et_view *ret);
/* A view at `index` has read this. It may be too late or too large: then nothing happens. */
void rows_put(struct rows *r, const uint8_t id[16], uint64_t index, struct et_view packed);
/* A group that ends at `index` changes it, and is not written yet. */
void rows_change(struct rows *r, const uint8_t id[16], uint64_t index);

#endif
