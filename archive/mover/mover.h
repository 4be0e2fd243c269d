/* The mover: runs this node's archive jobs, and reads back what lies in the archive.
 *
 * Happy path of an upload job: hash the members against the catalogue → lay out the pack (its name
 * is its hash) → PUT, several in flight → HEAD and read back every byte, and the lock → the index
 * beside it, the same way → CopyAdd for each member → job done. Of an evict job: CopyEvict; and
 * when this node's own apply of it says 0, and a fresh view still says so, the file is unlinked.
 *
 * Failures
 *   - A kill at any point loses nothing: until CopyAdd is applied the local copies count, and the
 *     job is found again in the catalogue, builds the same pack, and finds its object there.
 *   - A member whose file is missing or does not hash is reported (CopyBad) and left out; the job
 *     then ends as failed with its name, and the others are archived.
 *   - A target that cannot be used now (no answer, folder not mounted, disk full, credentials that
 *     are missing or refused): the job waits and is tried again, with pauses that grow to five
 *     minutes; status says since when and why.
 *   - A target that keeps something else than what was put (content, lock), or that the policy no
 *     longer has: the job fails. A failed job is not tried again; the next plan holds its items.
 *
 * A restore job brings archived segments back to this node's disk: restore.c.
 *
 * Not here yet: tombstones in buckets, Glacier restore jobs, re-packing, legal hold at the target.
 *
 * Threads: the mover has a thread of its own; each function says where it may be called. */
#ifndef ET_ARCHIVE_MOVER_MOVER_H
#define ET_ARCHIVE_MOVER_MOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "archive/bucket/bucket.h"
#include "archive/policy/policy.h"
#include "archive/policy/target.h"
#include "node/base/bytes.h"
#include "node/base/err.h"
#include "raft/command/command.h"
#include "raft/state/state.h"

#define ET_ARCHIVE_POLICY "archive" /* the policy's name in the catalogue */

struct et_mover;

/* Runs once, on any thread. `result` is a view, or NULL: see et_catalog_cb. */
typedef void (*et_mover_proposed_fn)(void *arg, int code, const Et__Result *result);

struct et_mover_config {
	uint64_t node;		/* own id */
	const char *media;	/* media folder; copied */
	struct et_state *state; /* borrowed until et_mover_stop() has returned */

	/* Propose a command, from any thread; it is borrowed for the call, and its op id is the
	 * callee's to fill in. 0: `done` will run, once; else it will not. */
	int (*propose)(void *arg, Et__Command *command, et_mover_proposed_fn done, void *done_arg);
	/* This node's cluster time now, microseconds; any thread. */
	int64_t (*now)(void *arg);
	void *arg;

	/* Of the media filesystem: nothing is restored that would leave less free; 0: none. */
	uint64_t media_reserve_bytes;
	uint32_t parallel;    /* packs in flight; 0: 4 */
	uint32_t interval_ms; /* between looks at the jobs without being told; 0: 10 s */
};

/* Start the thread. It looks for jobs, and for files evicted before the last stop, at once. */
int et_mover_start(const struct et_mover_config *config, struct et_mover **ret,
		   struct et_error *reterr) ET_MUST_CHECK;
/* End what is running and wait for the thread (a PUT in flight is dropped, its job stays). NULL is
 * allowed; returns NULL. */
struct et_mover *et_mover_stop(struct et_mover *m);

/* For the catalogue's on_applied; never waits. Only what concerns the archive is looked at. */
void et_mover_on_applied(struct et_mover *m, uint64_t index, const Et__Command *command,
			 const Et__Result *result);

/* ---- For the API. Any thread that may wait. ---- */

/* Syntax and sense of a policy file, without looking at anything else. */
int et_archive_validate(const char *text, size_t size, const char *file,
			struct et_error *reterr) ET_MUST_CHECK;
/* May it replace the policy in force? ET_EPOLICY: a target that still holds copies would vanish. */
int et_archive_validate_against(const struct et_state_view *view, const char *text, size_t size,
				const char *file, struct et_error *reterr) ET_MUST_CHECK;
/* The policy in force. ET_ENOTFOUND: none was applied. */
int et_archive_policy_of(const struct et_state_view *view, struct et_archive_policy **ret,
			 uint32_t *ret_revision, struct et_error *reterr) ET_MUST_CHECK;

/* What a plan comes to, by action and reason: the rows of `archive plan`. */
#define ET_ARCHIVE_SUMMARY_MAX 64
struct et_archive_summary_row {
	enum et_archive_action action;
	const char *why;		      /* static */
	char rule[ET_ARCHIVE_NAME_MAX + 1];   /* "" : none */
	char target[ET_ARCHIVE_NAME_MAX + 1]; /* "" : none */
	uint64_t recordings;
	uint64_t segments;
	uint64_t bytes;
};
struct et_archive_summary {
	struct et_archive_summary_row rows[ET_ARCHIVE_SUMMARY_MAX];
	size_t row_count;
	uint64_t requests; /* to the stores: per pack PUT, HEAD and GET, of it and its index */
	uint64_t packs;
	bool partial; /* more was found than one plan holds: apply, then plan again */
};
#define ET_ARCHIVE_PLAN_ITEMS_MAX 4096 /* uploads and evictions; oldest calls first */

/* Look at every segment, and say what the policy would do at cluster time `now_us`. Writes nothing.
 * On success the caller owns *ret (et__plan__free_unpacked): id, kind "archive", policy and its
 * revision, made_index, made_us, items (uploads and evictions only) and hash are filled in.
 * `summary` may be NULL. */
int et_archive_plan(const struct et_state_view *view, int64_t now_us, Et__Plan **ret,
		    struct et_archive_summary *summary, struct et_error *reterr) ET_MUST_CHECK;
/* The same by a policy that is not in force, `text`: what it would do if it were. The plan's
 * revision is 0, so that nobody can apply it. ET_EMALFORMED, ...: as et_archive_validate(). */
int et_archive_plan_by(const struct et_state_view *view, const char *text, size_t size,
		       int64_t now_us, Et__Plan **ret, struct et_archive_summary *summary,
		       struct et_error *reterr) ET_MUST_CHECK;
/* What the policy in force decides about one recording, segment by segment, with the reasons.
 * ET_ENOTFOUND: there is no policy. */
int et_archive_plan_of(const struct et_state_view *view, const uint8_t recording[16],
		       int64_t now_us, struct et_archive_summary *ret,
		       struct et_error *reterr) ET_MUST_CHECK;
/* SHA-256 over the packed items, in order: what Plan.hash holds. */
int et_archive_plan_hash(const Et__Plan *plan, uint8_t ret[32]) ET_MUST_CHECK;

/* A plan (items "restore") to bring what is archived of these recordings (16 bytes each) back to
 * the disk of `node`. It may have no items; *told says why. Applied like any other. ET_ELIMIT: more
 * than ET_ARCHIVE_PLAN_ITEMS_MAX segments. */
struct et_archive_restored {
	uint64_t segments, bytes; /* to come back */
	uint64_t here;		  /* have a verified copy at the node */
	uint64_t not_archived;	  /* no target has a verified copy */
};
int et_archive_restore_plan(const struct et_state_view *view, const struct et_buffer *recordings,
			    uint64_t node, int64_t now_us, Et__Plan **ret,
			    struct et_archive_restored *told,
			    struct et_error *reterr) ET_MUST_CHECK;

/* The jobs of a plan: one for each pack ("archive-upload"), and for each node's evictions by up to
 * 256 ("evict"), and so for what comes back ("archive-restore"). On success the caller owns the
 * array and what it points to: et_archive_jobs_free(). */
int et_archive_jobs(const Et__Plan *plan, Et__Job ***ret, size_t *ret_count) ET_MUST_CHECK;
void et_archive_jobs_free(Et__Job **jobs, size_t count);

/* Does a restore job wait because this node's media disk has no room above its reserve? Any thread;
 * never waits. */
bool et_mover_disk_full(const struct et_mover *m);

struct et_mover_target_status {
	char name[ET_ARCHIVE_NAME_MAX + 1];
	uint64_t copies; /* verified, of the whole cluster */
	uint64_t bytes;
	uint64_t bad;
	int64_t newest_us;	   /* when a copy was last verified there, by any node; 0: never */
	uint64_t waiting_segments; /* in upload jobs that are not done */
	uint64_t waiting_bytes;
	uint64_t jobs_failed;
	int64_t job_error_us; /* when the job failed that failed last; 0: none */
	char job_error[256];
	int64_t last_ok_us;    /* this node's last successful upload or read; 0: none since start */
	int64_t last_error_us; /* 0: none since start */
	char last_error[256];
};
struct et_mover_status {
	/* Of the whole cluster, from the catalogue. */
	uint32_t policy_revision; /* 0: no policy */
	uint64_t jobs_waiting;	  /* ready or running */
	uint64_t jobs_failed;
	uint64_t backlog_segments; /* in upload jobs that are not done */
	uint64_t backlog_bytes;
	int64_t oldest_us;    /* call start of the oldest of them; 0: none */
	char last_error[256]; /* of the job that failed last */
	size_t target_count;
	struct et_mover_target_status targets[ET_ARCHIVE_TARGETS_MAX];
};
int et_mover_status(struct et_mover *m, struct et_mover_status *ret,
		    struct et_error *reterr) ET_MUST_CHECK;

/* Hand out `size` bytes at `offset` of an object in a target of the policy in force: one range
 * read, on the calling thread. Nothing is checked but the length: a tape proves itself. */
int et_mover_read(struct et_mover *m, const char *target, const char *object, uint64_t offset,
		  uint64_t size, et_bucket_sink sink, void *arg,
		  struct et_error *reterr) ET_MUST_CHECK;
/* The segment's archive copy into a file at `path` (tmp → fsync → rename), checked against the
 * SHA-256 that the catalogue has with the copy, or with the segment. ET_ENOTFOUND: no verified
 * archive copy; ET_EINTEGRITY. Tries each target that has a copy. */
int et_mover_fetch(struct et_mover *m, const uint8_t recording[16], uint32_t generation,
		   uint32_t segment, const char *path, struct et_error *reterr) ET_MUST_CHECK;

/* Read archived copies back and compare each with the catalogue's hash. A copy that differs is
 * reported with CopyBad. */
struct et_mover_verify {
	const char *target;	  /* NULL: all */
	const uint8_t *recording; /* 16 bytes; NULL: all */
	uint32_t part, parts;	  /* the part-th of `parts` equal parts, by hash; 0, 0: all */
	/* Runs for each copy, in order; `code` 0, or why not. May be NULL. A negative result ends
	 * the run and is returned. */
	int (*each)(void *arg, const Et__Copy *copy, int code, const char *text);
	void *arg;

	/* Result. */
	uint64_t copies, bytes, bad, unreachable;
};
/* 0: every copy that was asked for is good. ET_EINTEGRITY: `bad` are not (the text names the
 * first); ET_EUNREACHABLE: some could not be read, and none was found bad. */
int et_mover_verify(struct et_mover *m, struct et_mover_verify *verify,
		    struct et_error *reterr) ET_MUST_CHECK;

#endif
