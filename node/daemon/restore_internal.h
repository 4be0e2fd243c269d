/* Which base and logs a restore takes. */
#ifndef ET_NODE_DAEMON_RESTORE_INTERNAL_H
#define ET_NODE_DAEMON_RESTORE_INTERNAL_H

#include "raft/backup/backup.h"
#include "raft/state/state.h"

#define RESTORE_LOGS_MAX 65536

struct restore_log {
	char base[4200];   /* path of the base backup */
	char folder[4096]; /* with logs; "": none */
	uint64_t at_index; /* 0: not by index */
	int64_t at_us;	   /* cluster time; 0: not by time */
	uint64_t applied;  /* entries that were applied from logs */
	bool reached;	   /* the point was reached */
};

/* Read --at and, of a folder, find the newest base that is not behind it. */
int restore_log_choose(struct restore_log *l, const char *path, const char *at,
		       struct et_error *reterr) ET_MUST_CHECK;
/* Apply entries behind the base, up to the point. */
int restore_log_apply(struct restore_log *l, const struct et_backup_head *base,
		      struct et_state *state, const struct et_secret *kek,
		      const struct et_secret *ca_key, struct et_error *reterr) ET_MUST_CHECK;

#endif
