/* Durable files for threads that may wait (never on a loop that serves: use publish.h there).
 *
 * Threads: any that may block. */
#ifndef ET_NODE_IO_FILE_H
#define ET_NODE_IO_FILE_H

#include <stdint.h>
#include <sys/stat.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

/* Replace the file at `path` by `data`, durably and atomically: temporary file, fsync, rename,
 * fsync of the folder. `mode` is that of the new file. On failure the old content stays. */
int et_file_publish(const char *path, const void *data, size_t size, mode_t mode,
		    struct et_error *reterr) ET_MUST_CHECK;

/* The whole file, at most `size_max` bytes (ET_ELIMIT if longer), added to `ret`. */
int et_file_read(const char *path, size_t size_max, struct et_buffer *ret,
		 struct et_error *reterr) ET_MUST_CHECK;

/* Make the folder and its parents, 0700; existing ones are kept as they are. */
int et_file_mkdirs(const char *path, struct et_error *reterr) ET_MUST_CHECK;

/* The folder that holds `path`, and its parents. */
int et_file_mkdirs_of(const char *path, struct et_error *reterr) ET_MUST_CHECK;

/* fsync the folder that holds `path`. */
int et_file_sync_parent(const char *path, struct et_error *reterr) ET_MUST_CHECK;

/* All of `size` bytes at `offset`; short writes go on. */
int et_file_pwrite(int fd, const void *data, size_t size, int64_t offset) ET_MUST_CHECK;

/* All of `size` bytes at `offset`; ET_ETRUNCATED: the file ends before. */
int et_file_pread(int fd, void *data, size_t size, int64_t offset) ET_MUST_CHECK;

#endif
