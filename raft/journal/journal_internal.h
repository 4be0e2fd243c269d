/* Inside raft/journal: one file and what of it is pending. */
#ifndef ET_RAFT_JOURNAL_JOURNAL_INTERNAL_H
#define ET_RAFT_JOURNAL_JOURNAL_INTERNAL_H

#include "raft/journal/journal.h"

#define JOURNAL_HEADER_SIZE 48
#define JOURNAL_RECORD_SIZE 20 /* before the command */

struct journal_record {
	uint64_t seq;
	uint8_t incarnation[16];
	uint32_t offset; /* of the command's bytes in the file */
	uint32_t size;	 /* of the command */
	bool committed;
};

/* Invariant: records stand in the order of their offsets; 0 <= pending <= count; every seq of a
 * record is within [seq_low, seq_high]. */
struct journal_file {
	struct journal_file *next; /* owned: the next newer one */
	int fd;
	uint64_t number;
	uint8_t incarnation[16];
	int64_t size;			/* bytes: up to the end of the last whole record */
	struct journal_record *records; /* owned */
	size_t count;
	size_t capacity;
	size_t pending; /* records not committed */
	size_t first;	/* all before it are committed */
	uint64_t seq_low;
	uint64_t seq_high;
	char path[512];
};

/* What reading found. */
enum journal_finding { JOURNAL_WHOLE, JOURNAL_TORN, JOURNAL_DAMAGED, JOURNAL_UNBEGUN };

/* Begin the file `number` in `folder`. */
int journal_file_begin(const char *folder, uint64_t number, uint64_t node,
		       const uint8_t incarnation[16], struct journal_file **ret,
		       struct et_error *reterr) ET_MUST_CHECK;
struct journal_file *journal_file_free(struct journal_file *f); /* returns NULL */

/* Take the file's name apart: false: it is not a journal's. */
bool journal_name_parse(const char *name, uint64_t *ret_number, uint8_t ret_incarnation[16]);

/* Find the whole records in `content`: fills `f`'s records and size (that of the good beginning).
 */
int journal_scan(struct et_view content, struct journal_file *f,
		 enum journal_finding *ret) ET_MUST_CHECK;

/* Write one record at the file's end, cut back on failure. `op` is that of `packed`. */
int journal_file_append(struct journal_file *f, struct et_view packed, const Et__OpId *op,
			struct et_error *reterr) ET_MUST_CHECK;

#endif
