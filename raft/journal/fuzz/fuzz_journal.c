/* A journal file of any content: read, and what is found in it must be what reading its records one
 * by one finds. */
#include <stdlib.h>

#include "raft/journal/journal_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal_file *f = calloc(1, sizeof(*f));
	enum journal_finding finding;

	if (f == NULL) {
		return 0;
	}
	f->fd = -1;
	f->number = 1;
	memset(f->incarnation, 7, sizeof(f->incarnation));
	int rc = journal_scan((struct et_view){ data, size }, f, &finding);
	et_assert(rc == 0);
	et_assert(f->size >= 0 && (size_t)f->size <= size);
	et_assert(finding != JOURNAL_UNBEGUN || f->count == 0);
	et_assert(finding != JOURNAL_WHOLE || (size_t)f->size == size);
	size_t end = 0;
	for (size_t i = 0; i < f->count; i++) {
		const struct journal_record *r = &f->records[i];
		Et__Command *c = NULL;
		et_assert(r->offset >= end && r->size <= size - r->offset);
		rc = et_command_unpack(data + r->offset, r->size, &c, NULL);
		et_assert(rc == 0 && c->op->seq == r->seq);
		et_command_free(c);
		end = r->offset + r->size;
	}
	(void)journal_file_free(f);
	return 0;
}
