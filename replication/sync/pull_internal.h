/* A fetch, between the two files that make it: pull.c asks sources, pull_disk.c keeps what they
 * send. Each function moves the machine that is drawn in pull.c; those that may end the fetch say
 * so, and the caller touches it no more.
 *
 * Threads: the sync thread. */
#ifndef ET_REPLICATION_SYNC_PULL_INTERNAL_H
#define ET_REPLICATION_SYNC_PULL_INTERNAL_H

#include "replication/sync/sync_internal.h"

/* ---- pull.c ---- */

const struct et_look_source *et_pull_source_of(const struct pull *p); /* that is being asked */
void et_pull_source(struct pull *p); /* ask it, or end when there is none; may end */
void et_pull_ask(struct pull *p);    /* its connection stands; may end */
void et_pull_grant(struct pull *p);  /* credit for what was written */
void et_pull_set_error(struct pull *p, int code, const char *text);
void et_pull_source_failed(struct pull *p, int code, const char *text); /* the next; may end */
void et_pull_disk_failed(struct pull *p, int code, const char *text);	/* our own; ends */
void et_pull_finish(struct pull *p, int code);				/* ends */
void et_pull_end_canceled(struct pull *p);				/* ends */

/* ---- pull_disk.c ---- */

int et_pull_open(struct pull *p) ET_MUST_CHECK; /* OPEN */
void et_pull_check(struct pull *p);		/* CHECK; may end */
void et_pull_write(struct pull *p);		/* the first block that waits; may end */
void et_pull_flushed(struct pull *p);		/* PUBLISH; may end */
void et_pull_cut(struct pull *p);		/* CUT; may end */
void et_pull_drop_writes(struct pull *p);	/* all but the one under way */

#endif
