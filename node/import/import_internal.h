/* Between the files of node/import. */
#ifndef ET_NODE_IMPORT_IMPORT_INTERNAL_H
#define ET_NODE_IMPORT_IMPORT_INTERNAL_H

#include "node/crypto/hash.h"
#include "node/import/import.h"

#define IMPORT_PATH_MAX 4352 /* the media folder, a job, a tape */

/* A file that is read to its end once; what was announced of it is checked there. */
struct import_input {
	const struct et_import_order *order;
	struct et_sha256 *hash; /* owned */
	uint64_t bytes;
	bool over;
	/* Private: of the reserve. */
	const struct et_import_config *config;
	uint64_t looked; /* at the free space, after so many bytes */
};

/* As order->read, but `size` bytes unless the file ends; hashed. -ENOSPC below the reserve. */
ssize_t import_read(struct import_input *in, void *data, size_t size, struct et_error *reterr);
/* It was read to its end, and is what was announced. */
int import_read_end(struct import_input *in, struct et_error *reterr) ET_MUST_CHECK;

/* "<media>/<job>/<file>", of the job; "<media>/<file>", where it goes. */
void import_job_path(const struct et_import *m, const char *file, char ret[IMPORT_PATH_MAX]);
void import_media_path(const struct et_import *m, const char *file, char ret[IMPORT_PATH_MAX]);

/* audio.c: `begin` was read already. */
int import_audio(const struct et_import_config *config, struct import_input *in,
		 struct et_view begin, struct et_import *m, struct et_error *reterr) ET_MUST_CHECK;
/* capture.c */
int import_capture(const struct et_import_config *config, struct import_input *in,
		   struct et_view begin, struct et_import *m,
		   struct et_error *reterr) ET_MUST_CHECK;

/* check.c: the tape out of the job, opened with its key. `packet` and `file` (a FILE record's
 * plaintext) get what is in it, in order. */
struct import_visitor {
	int (*packet)(void *arg, const struct et_media_packet *p);
	int (*file)(void *arg, struct et_view plain, struct et_error *reterr);
	void *arg;
};
int import_open_tape(const struct et_import *m, const struct et_import_segment *s,
		     const struct import_visitor *visitor, struct et_error *reterr) ET_MUST_CHECK;
/* The file comes out of the tape as it went in. */
int import_check_audio(const struct et_import *m, const struct et_import_segment *s,
		       const uint8_t sha256[32], struct et_error *reterr) ET_MUST_CHECK;

#endif
