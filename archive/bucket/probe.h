/* A round trip to a store with a small object of our own, step by step: is all there that the
 * archive needs, before the first recording depends on it?
 *
 * Happy path: settings → credentials (or folder) → endpoint, TLS, access and bucket by one list →
 * clock → put of PROBE_SIZE random bytes at "test/UUID" → head → get (hash) → range → list →
 * storage class → with a lock: a second object, locked for seconds, whose lock is read back and
 * must refuse a deletion → delete, and the objects must be gone.
 *
 * Failures: each step has its code, text and the next command to type; what a failed step makes
 * impossible is skipped and says so. What cannot be deleted again is named in `left`; of a
 * versioned bucket the version itself is deleted, so that no marker stays.
 *
 * Nothing of the credentials is in any text.
 *
 * Threads: may be called on any thread that may wait: seconds, longer when nobody answers. */
#ifndef ET_ARCHIVE_BUCKET_PROBE_H
#define ET_ARCHIVE_BUCKET_PROBE_H

#include "archive/bucket/bucket.h"

#define ET_PROBE_STEPS_MAX 16
#define ET_PROBE_CLOCK_MAX_S 60 /* more between the clocks is a failure */

enum et_probe_result { ET_PROBE_OK, ET_PROBE_FAILED, ET_PROBE_SKIPPED };

struct et_probe_step {
	const char *name; /* static: "credentials", "tls", ... */
	enum et_probe_result result;
	int code;	 /* of a failure */
	int64_t took_us; /* 0: no request was made for it alone */
	char text[512];	 /* what was found, or why not */
	char next[192];	 /* of a failure; or "" */
};

struct et_probe {
	/* Given by the caller; borrowed. */
	const struct et_bucket_config *config; /* its timeouts and attempts are cut to seconds */
	enum et_bucket_lock lock;	       /* what the policy asks of this store */

	/* Result. */
	struct et_probe_step steps[ET_PROBE_STEPS_MAX];
	size_t step_count;
	char left[1024]; /* what lies in the store now, and until when; "": nothing */
};

/* Runs all of it. 0, or the code of the first step that failed. */
int et_bucket_probe(struct et_probe *p) ET_MUST_CHECK;

/* "ok", "failed", "skipped". */
const char *et_probe_result_name(enum et_probe_result result);

#endif
