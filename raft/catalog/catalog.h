/* The catalogue: Raft (libraft 0.22.1 with every guard of G1 to G9) over mutual TLS, and the state
 * thread that applies to raft/state. The only module that includes <raft.h>.
 *
 * Happy path: et_catalog_propose() packs waiting commands into one entry; the leader appends, a
 * majority stores, every node's state thread applies; the callback runs on the loop after the local
 * RocksDB write (on a follower: the proposal went to the leader over evertape-rpc/1, and the answer
 * waits until this node has applied it too, so a read that follows sees it).
 *
 * Proposals of one node are applied in the order in which they were proposed. When leadership
 * changes while one waits, it is sent again to the new leader with the same op id, until it is
 * applied or its time is over.
 *
 * Failures, as the callback's code:
 *   ET_ENOQUORUM   no leader, or it did not commit in time: NOT known to be lost (see ET_EUNKNOWN)
 *   ET_EUNKNOWN    it was sent, and there is a leader, but its end was not seen in time: retry with
 *                  the same op id
 *   ET_EREFUSED..  what apply said: result->code and text
 *   ET_ELIMIT      too much is waiting (64 MiB)
 *   -ENOSPC        no majority of voters has room on its disk, or this node has none and would not
 *                  see the end of it: it is not in any log
 *   ET_ECLOSED     the catalogue was stopped
 *   ET_EVERSION    it needs a newer schema than the committed one: evertape cluster upgrade plan
 *   ET_EINTEGRITY  states differ and no majority agrees: nothing destructive is proposed
 * A proposal with the same op id may be repeated for ever: it is applied once.
 *
 * What ends the process (abort, after one line on the log that says why): the Raft log or RocksDB
 * cannot be written, an entry cannot be applied, a snapshot cannot be installed. Each of them would
 * otherwise become a silent divergence; after a restart the node goes on from its disk or says why
 * not. A full disk is none of them: proposals are refused, and it goes on when there is room.
 *
 * A node that fell behind the log pulls a checkpoint from the leader while it goes on serving reads
 * of its old state, then swaps (et_state_replace): the struct et_state stays the same, views that
 * are open keep the old state until they are closed.
 *
 * SIGPIPE is set to be ignored, if nothing handles it.
 *
 * Threads: all functions on the loop's thread, except those marked any. */
#ifndef ET_RAFT_CATALOG_CATALOG_H
#define ET_RAFT_CATALOG_CATALOG_H

#include <uv.h>

#include "node/base/err.h"
#include "node/io/post.h"
#include "raft/command/command.h"
#include "raft/state/state.h"

struct et_catalog;
struct et_tls_node; /* node/tls: identity, listener and peer connections of this process */

struct et_catalog_config {
	uv_loop_t *loop;
	struct et_postbox *postbox; /* of that loop */
	struct et_tls_node *tls;    /* borrowed */
	uint64_t node;
	const char *address; /* own cluster address, "ip:port" */
	const char *folder;  /* <state>; <state>/raft and <state>/db are made here */
	/* LAN 1000 and 50 (0: these), WAN 3000 and 300. At least three heartbeats in an election
	 * timeout, else ET_EUSAGE; a heartbeat not below the round trip to any voter, nor an
	 * election timeout below ten of them, else the status says timing_tight. */
	uint32_t election_ms;
	uint32_t heartbeat_ms;
	uint64_t snapshot_bytes; /* 0: 64 MiB of log between snapshots */
	/* Bytes a second of checkpoints, given to all others together and pulled from others; 0: no
	 * limit. Less than 256 KiB is taken for that: below it the requests' time would be over. */
	uint64_t snapshot_rate;
	uint64_t space_reserve; /* bytes that a pull leaves free on its disk; 0: 256 MiB */
	/* Bytes of the folder's filesystem below which this node takes no further entries; half of
	 * it is preallocated in <state>/reserve. 0: the disk is not watched. */
	uint64_t disk_reserve;
	/* Runs on the loop after the RocksDB write of each command, in log order; not for a command
	 * that was applied before. May be NULL. */
	void (*on_applied)(void *arg, uint64_t index, const Et__Command *command,
			   const Et__Result *result);
	/* Leadership, term or membership changed. May be NULL. */
	void (*on_change)(void *arg);
	/* The state jumped to that of another node (a checkpoint was installed): on_applied was not
	 * called for what lies between. Derive again what you derive from the state. May be NULL.
	 */
	void (*on_replaced)(void *arg);
	/* Where a member is by the catalogue, "ip:port" (at most 63 bytes); false: not known.
	 * Raft's configuration keeps the address that a member was added with; this, and what a
	 * member says itself when it connects, let it move. May be NULL. */
	bool (*address_of)(void *arg, uint64_t node, char ret[64]);
	/* This node's state is not that of the majority: it must stop, and its database be removed
	 * (`why` has the next command). Runs once, on the loop; leadership was handed over, if it
	 * could be. May be NULL: the process ends. */
	void (*on_diverged)(void *arg, const struct et_error *why);
	/* Each applied index with its entry (size 0: none) and the running digest behind it, in log
	 * order, on the STATE THREAD, before the group is written. Cheap. May be NULL. */
	void (*on_entry)(void *arg, uint64_t index, struct et_view entry, const uint8_t digest[32]);
	void *arg;
	uint32_t digest_check_ms; /* how often states are compared while they change; 0: 60 s */
};

/* Make the first voter's log (cluster init only; the folder must be pristine). */
int et_catalog_bootstrap(const struct et_catalog_config *config,
			 struct et_error *reterr) ET_MUST_CHECK;

/* The majority of the voters is lost for ever: let this node go on as the only voter, with the log
 * that it has. What was committed and only the lost ones had is gone. To be done on one node only,
 * the one with the longest log, while no daemon runs on it (ET_EBUSY, -EIO: its database is
 * locked). `confirm` is the cluster's name; another, or NULL: nothing is changed, ret is filled,
 * ET_EPOLICY. Leaves <folder>/raft-recovered, a line of text for the audit log: who starts the node
 * proposes that and takes the file away. */
struct et_catalog_recovery {
	char cluster[64];
	char name[64]; /* of this node */
	char address[64];
	uint64_t node;
	uint64_t applied;    /* up to here the database has everything */
	uint64_t log_end;    /* where the log ends now; 0: nothing was done */
	char others[31][64]; /* members by the catalogue, this one left out */
	size_t other_count;
};
int et_catalog_recover(const char *folder, const char *confirm, struct et_catalog_recovery *ret,
		       struct et_error *reterr) ET_MUST_CHECK;

/* Start. A node that joined is not bootstrapped: the leader adds it. Refuses when the log ends
 * before the database's applied index (ET_ECORRUPT: the log was lost). */
int et_catalog_start(const struct et_catalog_config *config, struct et_catalog **ret,
		     struct et_error *reterr) ET_MUST_CHECK;

/* Stop; `closed` runs once when everything is released. Close all views of its state before, and
 * stop config.tls and the postbox after. Whoever waits for an answer gets one, inside this call. */
void et_catalog_stop(struct et_catalog *c, void (*closed)(void *arg), void *arg);

struct et_state *et_catalog_state(struct et_catalog *c); /* for readers on any thread */

/* Runs once, on the loop, never inside propose. `result` is a view, NULL unless the command was
 * applied (then code == result->code). */
typedef void (*et_catalog_cb)(void *arg, int code, const Et__Result *result);

/* Propose. command->op must be set: by the journal for create commands, else et_catalog_next_op()
 * (NULL: one of this process is given). proposed_us 0 is set to now.
 * The command is packed before the call returns. timeout_ms 0: 10 s. */
void et_catalog_propose(struct et_catalog *c, const Et__Command *command, uint32_t timeout_ms,
			et_catalog_cb cb, void *arg);
/* Packed already. An envelope that asks for a newer schema than the command needs (that of the
 * build which packed it) is put right: other members may know less, and would stop at such an
 * entry. */
void et_catalog_propose_packed(struct et_catalog *c, struct et_view packed, uint32_t timeout_ms,
			       et_catalog_cb cb, void *arg);

/* An op id of this process for a command that is not journalled (own incarnation). Fills op; its
 * incarnation points into `incarnation`. Any thread. */
void et_catalog_next_op(struct et_catalog *c, Et__OpId *op, uint8_t incarnation[16]);

/* The same from another thread: posts to the loop; `cb` runs on the loop. Copies the command. */
int et_catalog_propose_from(struct et_catalog *c, const Et__Command *command, uint32_t timeout_ms,
			    et_catalog_cb cb, void *arg) ET_MUST_CHECK;

/* Linearizable read (ReadIndex): when `cb` runs with 0, a view opened then sees all that was
 * committed before the call. ET_ENOQUORUM otherwise. Batched; no disk. From any thread with _from.
 */
void et_catalog_read_index(struct et_catalog *c, uint32_t timeout_ms,
			   void (*cb)(void *arg, int code, uint64_t index), void *arg);
int et_catalog_read_index_from(struct et_catalog *c, uint32_t timeout_ms,
			       void (*cb)(void *arg, int code, uint64_t index),
			       void *arg) ET_MUST_CHECK;

/* A consistent copy of the state, as hard links in a folder that is the caller's until it is
 * dropped. `fn` runs once, on the loop, unless the call fails; path and digest are views. */
typedef void (*et_catalog_checkpoint_fn)(void *arg, int code, const char *path, uint64_t index,
					 const uint8_t digest[32]);
int et_catalog_checkpoint_from(struct et_catalog *c, et_catalog_checkpoint_fn fn,
			       void *arg) ET_MUST_CHECK; /* any thread */
void et_catalog_checkpoint_drop(const char *path);	 /* any thread that may wait */

/* Make what search reads anew on this node (et_state_index_rebuild(): searches use the old one
 * until the new one is whole). `cb` runs once, on the loop, when it has begun, with the number of
 * recordings that there are; et_state_index_status() tells how far it is. ET_EBUSY: the database
 * comes from another node just now. Any thread. */
int et_catalog_reindex_from(struct et_catalog *c,
			    void (*cb)(void *arg, int code, uint64_t recordings),
			    void *arg) ET_MUST_CHECK;

/* Make a log that begins behind `index`, with this node as the only voter: for a database that was
 * restored and stands there (it must be put into <state>/db/live-1 before the start). Offline; the
 * folder holds no log. */
int et_catalog_bootstrap_at(const struct et_catalog_config *config, uint64_t index,
			    struct et_error *reterr) ET_MUST_CHECK;

/* Membership (leader only: ET_ENOTLEADER). `cb` runs when what was asked for is committed. One at a
 * time: others wait (ET_ELIMIT above 16). Any of them may be repeated: what is so already is 0.
 *
 * A new member becomes spare by et_catalog_add(). Assigning the voter's role to a spare makes it
 * standby first and waits (up to 60 s: ET_EUNREACHABLE, safe to repeat) until it has caught up.
 * Removing the leader hands leadership over and answers ET_ENOTLEADER: repeat at the new one.
 * Refused (ET_EREFUSED): removing or demoting the last voter. */
enum et_catalog_role { ET_CATALOG_STANDBY, ET_CATALOG_VOTER, ET_CATALOG_SPARE };
void et_catalog_add(struct et_catalog *c, uint64_t node, const char *address, et_catalog_cb cb,
		    void *arg);
void et_catalog_assign(struct et_catalog *c, uint64_t node, enum et_catalog_role role,
		       et_catalog_cb cb, void *arg);
void et_catalog_remove(struct et_catalog *c, uint64_t node, et_catalog_cb cb, void *arg);
/* Hand leadership over to a voter (0: any). ET_EUNREACHABLE: it did not take it. */
void et_catalog_transfer(struct et_catalog *c, uint64_t node, et_catalog_cb cb, void *arg);

/* Take a snapshot of this node now, whatever the log's size (any member): a checkpoint, then its
 * manifest, then the log before it goes. `cb` runs on the loop, never inside the call, with the
 * snapshot's index and 0 (at once when nothing was applied since the last one), or
 *   ET_EBUSY     a snapshot of another node is being installed
 *   -ENOSPC,...  it could not be made; the node goes on, and tries again by itself
 *   ET_EUNKNOWN  not in a minute */
void et_catalog_snapshot(struct et_catalog *c, void (*cb)(void *arg, int code, uint64_t index),
			 void *arg);
/* The same from any thread, on any node: another than the leader asks the leader. `cb` runs on the
 * loop. ET_ENOQUORUM: there is no leader to ask. */
int et_catalog_transfer_from(struct et_catalog *c, uint64_t node, et_catalog_cb cb,
			     void *arg) ET_MUST_CHECK;
/* et_catalog_snapshot() from any thread. */
int et_catalog_snapshot_from(struct et_catalog *c, void (*cb)(void *arg, int code, uint64_t index),
			     void *arg) ET_MUST_CHECK;

struct et_catalog_member {
	uint64_t node;
	char address[64];
	enum et_catalog_role role;
	bool reachable;		 /* as this node sees it */
	uint64_t match_index;	 /* on the leader; else 0 */
	int64_t contact_us;	 /* monotonic: when this node last had a message of it; 0 never */
	bool clock_known;	 /* its clock was asked within the last 15 s */
	int64_t clock_offset_us; /* its clock less this node's, when clock_known */
	int64_t rtt_us;		 /* a request and its answer, the least of late, when clock_known */
};
struct et_catalog_status {
	uint64_t node, leader, term, commit_index, applied, last_index;
	bool is_leader;
	bool has_quorum;	   /* heard from a majority within an election timeout */
	int64_t leader_contact_us; /* since when there is (or was) a leader: monotonic; 0 never */
	/* What a local read shows is as of then: all that a leader had said by then was committed
	 * is in the database. Monotonic; 0 never. A leader says now; one that was just cut off
	 * finds out within an election timeout. */
	int64_t fresh_us;
	uint32_t voters, reachable_voters;
	uint32_t member_count;
	struct et_catalog_member members[32];
	int64_t cluster_time_us;
	uint64_t waiting; /* proposals without an answer */

	bool timing_tight;    /* a voter is farther away than election_ms and heartbeat_ms allow:
			       * RAFT_TIMING */
	bool clock_skew;      /* on the leader: no majority agrees on the time: CLOCK_SKEW */
	bool clock_off;	      /* this node's clock is more than 2 s off what a majority agrees on */
	int64_t clock_off_us; /* by how much it is ahead, then */
	bool throttled;	      /* the state thread is behind by 64 MiB: received entries are held */
	bool disk_full;	      /* no majority of voters has room: proposals are refused (-ENOSPC) */
	bool space_full;      /* this node's state disk is below its reserve: it takes no entries */
	bool space_near;      /* below twice the reserve */
	bool installing;      /* pulling a checkpoint: far behind */
	uint64_t installed_bytes, install_bytes; /* of it */
	bool install_no_space;			 /* the disk has no room for it: the pull waits */
	uint64_t snapshot_index;		 /* of the last snapshot taken or installed */
	uint64_t snapshot_pulled_bytes;		 /* came over the network, since the start */
	uint64_t snapshot_reused_bytes;		 /* ... and need not, because they were here */
	uint64_t snapshot_served_bytes;		 /* given to others */
	uint64_t loop_stall_us;	  /* longest turn of the loop within the last one to two minutes */
	uint64_t loop_longest_us; /* ... since the start */
	uint64_t state_queue_bytes; /* committed, not yet in RocksDB */

	uint32_t schema;       /* the committed one */
	bool diverged;	       /* STATE_DIVERGED: this node's state is wrong; it is stopping */
	bool disputed;	       /* STATE_DISPUTED: states differ, and no majority agrees */
	uint64_t agreed_index; /* where a majority was last seen to agree, this node with it */
	uint32_t agreed_nodes; /* how many were seen to have the same there */
	uint64_t odd[32];      /* nodes whose state was another one when they were last heard */
	uint32_t odd_count;
	bool rebuilding; /* the database is gone: another node's is being fetched */
};
/* Any thread: a copy made at most 100 ms ago. */
void et_catalog_status(struct et_catalog *c, struct et_catalog_status *ret);

#endif
