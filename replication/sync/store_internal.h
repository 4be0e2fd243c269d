/* Files of the media folder, as sync uses them. Everything here waits for the disk: workers only.
 *
 *   incoming/<recording>-g<n>-s<n>.part     what has arrived of a segment
 *   tails/<recording>-g<n>-s<n>.tail        of an open segment of another node (tail_file.c)
 *   cache/<recording>-g<n>-s<n>.evtm        fetched for a listener; the oldest go when it is full
 *   quarantine/<unix-us>-<file name>        copies that did not verify, and tails that are longer
 *                                           than what was sealed, kept for the examiner
 *   tapes/...                               verified as a whole, fsynced, then renamed into place
 *
 * Threads: any that may block; no shared state. */
#ifndef ET_REPLICATION_SYNC_STORE_INTERNAL_H
#define ET_REPLICATION_SYNC_STORE_INTERNAL_H

#include <stdbool.h>

#include "node/tape/tape.h"
#include "replication/sync/intake_internal.h"
#include "replication/sync/sync.h"

#define ET_STORE_PATH_MAX 1024 /* bytes, with the NUL */

/* Make incoming/, cache/, quarantine/ and tails/ below `media`; what lies untouched in incoming/
 * for a week goes. */
int et_store_prepare(const char *media, struct et_error *reterr) ET_MUST_CHECK;

/* May a path from the catalogue be used below the media folder? "tapes/" and plain names: no
 * "..", no absolute path, nothing that is not a letter, a digit, '.', '_' or '-'. */
bool et_store_file_ok(const char *file);

/* <media>/<folder>/<recording>-g<n>-s<n><suffix> */
int et_store_path(const char *media, const char *folder, const struct et_expect *expect,
		  const char *suffix, char path[ET_STORE_PATH_MAX]) ET_MUST_CHECK;

/* Open what has arrived for going on (created when missing), without trust: *ret_fd is the
 * caller's, *ret_size its size. */
int et_store_part_open(const char *path, int *ret_fd, uint64_t *ret_size,
		       struct et_error *reterr) ET_MUST_CHECK;

/* Feed the file's bytes to `in` (which has its leaves) as if they arrived now, keep what verifies,
 * cut off the rest. Afterwards in->next == in->good == the size of the file. */
int et_store_part_check(int fd, struct et_intake *in, struct et_error *reterr) ET_MUST_CHECK;

/* Verify the file at `path` against the catalogue, byte for byte. As et_tape_verify(). */
int et_store_verify(const char *path, const struct et_expect *expect, struct et_tape_report *ret,
		    struct et_error *reterr) ET_MUST_CHECK;

/* The same of what is on the disk: what the page cache has of the file is dropped first and
 * afterwards. With a pace (NULL: none) `take` is asked before each read, may wait, and says whether
 * to go on (ET_ECLOSED). */
struct et_store_pace {
	bool (*take)(void *arg, size_t bytes);
	void *arg;
};
int et_store_verify_disk(const char *path, const struct et_expect *expect,
			 const struct et_store_pace *pace, struct et_tape_report *ret,
			 struct et_error *reterr) ET_MUST_CHECK;

/* Is `media` the store of that UUID? A folder on which nothing is mounted is not, nor is a disk
 * that does not answer: its UUID is not taken from the page cache. */
bool et_store_is(const char *media, const char *uuid);

/* Make the folders of `path`, each durably in its parent. */
int et_store_make_folders(const char *path, struct et_error *reterr) ET_MUST_CHECK;

/* Verify `part` as a whole, fsync it, rename it to `path` (folders are made, durably), fsync the
 * folder. ET_EINTEGRITY and the like: nothing was published. */
int et_store_publish(const char *part, const char *path, const struct et_expect *expect,
		     struct et_error *reterr) ET_MUST_CHECK;

/* Move <media>/<file> to quarantine/; `ret` gets its new name below `media`. */
int et_store_quarantine(const char *media, const char *file, int64_t now_us,
			char ret[ET_SYNC_FILE_MAX], struct et_error *reterr) ET_MUST_CHECK;

/* Remove the oldest files of cache/ until `bytes` are left, but none younger than a minute. */
void et_store_cache_trim(const char *media, uint64_t bytes, int64_t now_us);

/* Mark a cached file as used now. false: it is not there. */
bool et_store_cache_touch(const char *path);

/* Is this how a full disk shows? */
bool et_store_is_full(int code);

#endif
