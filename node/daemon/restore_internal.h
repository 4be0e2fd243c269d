/* Parts of a restore: which base and logs it takes, and what was erased since. */
#ifndef ET_NODE_DAEMON_RESTORE_INTERNAL_H
#define ET_NODE_DAEMON_RESTORE_INTERNAL_H

#include "archive/bucket/bucket.h"
#include "node/config/config.h"
#include "raft/backup/backup.h"
#include "raft/state/state.h"

#define RESTORE_LOGS_MAX 65536

struct restore_log {
	char base[4200];		   /* path of the base backup */
	char folder[4096];		   /* with logs; "": none */
	uint64_t at_index;		   /* 0: not by index */
	int64_t at_us;			   /* cluster time; 0: not by time */
	uint64_t applied;		   /* entries that were applied from logs */
	bool reached;			   /* the point was reached */
	uint32_t issuer;		   /* number of the CA whose key is here */
	const struct et_backup_head *from; /* borrowed: of the base */
};

/* Read --at and, of a folder, find the newest base that is not behind it. */
int restore_log_choose(struct restore_log *l, const char *path, const char *at,
		       struct et_error *reterr) ET_MUST_CHECK;
/* Apply entries behind the base, up to the point. */
int restore_log_apply(struct restore_log *l, const struct et_backup_head *base,
		      struct et_state *state, const struct et_secret *kek,
		      const struct et_secret *ca_key, struct et_error *reterr) ET_MUST_CHECK;

/* What the restored catalogue says of the node that made a file (enum Et__NodeState); -1: nothing,
 * or it has another key there. That says more than the CA that the maker was signed by: the base
 * may know another one. Of a removed node the number and key are kept. */
int restore_maker_state(struct et_state *state, uint64_t node, const uint8_t sign_public[32]);

/* ---- Ledgers of erasures ---- */

struct restore_erasure {
	uint8_t recording[16];
	uint64_t index;
	int64_t time_us;
};

struct restore_ledgers {
	struct restore_erasure *erasures; /* owned by whoever holds this: free() */
	size_t erasure_count;
	size_t count;	/* ledgers that were read */
	size_t bad;	/* damaged, or signed by nobody that the backup knows */
	uint64_t index; /* erasures up to here are known */
	uint64_t node;	/* the highest number that wrote one */
	int64_t time_us;
	unsigned targets_failed; /* archive targets that could not be asked */
	char target_why[200];	 /* of the last of them */
};

struct restore_ledgers_from {
	const struct et_backup_head *backup;
	const struct et_secret *ca_key;
	struct et_state *state; /* the restored catalogue: its archive policy names the targets */
	const struct et_config *config;
	const char *const *named; /* files and folders */
	unsigned named_count;
};

#define RESTORE_LEDGER_NODES_MAX 4096 /* with ledgers in a target; numbers are not used again */

/* Those of one archive target: the newest of each node. What is no ledger by its name is passed
 * over; one that is damaged, or of nobody, is told and counted, and one that cannot be read is the
 * target's failure: neither keeps the others back. ET_ELIMIT: more than a cluster can have. */
int restore_ledgers_of_bucket(struct restore_ledgers *l, const struct restore_ledgers_from *from,
			      struct et_bucket *bucket, const char *target,
			      struct et_error *reterr) ET_MUST_CHECK;

/* Read all ledgers that can be found: those named, those of this machine, and those in the archive
 * targets of the backup's own policy, with the credentials that lie where it says. What cannot be
 * read is told on standard error and counted; only -ENOMEM fails. */
int restore_ledgers_find(struct restore_ledgers *l, const struct restore_ledgers_from *from,
			 struct et_error *reterr) ET_MUST_CHECK;

#endif
