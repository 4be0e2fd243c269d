#include <fcntl.h>
#include <stdio.h>

#include "node/base/fd.h"
#include "node/io/file.h"
#include "raft/journal/journal_internal.h"

#define JOURNAL_VERSION 1

static const uint8_t header_magic[4] = { 'E', 'V', 'T', 'J' };
static const uint8_t record_magic[4] = { 'E', 'T', 'J', 'R' };

static uint32_t record_crc(const uint8_t *record, size_t command_size)
{
	uint32_t crc = et_crc32c(0, record + 4, 4);

	return et_crc32c(crc, record + 12, JOURNAL_RECORD_SIZE - 12 + command_size);
}

static int records_grow(struct journal_file *f)
{
	if (f->count < f->capacity) {
		return 0;
	}
	size_t capacity = f->capacity > 0 ? f->capacity * 2 : 64;
	struct journal_record *p = realloc(f->records, capacity * sizeof(*p));
	if (p == NULL) {
		return -ENOMEM;
	}
	f->records = p;
	f->capacity = capacity;
	return 0;
}

static void record_add(struct journal_file *f, const Et__OpId *op, size_t offset, size_t size)
{
	struct journal_record *r = &f->records[f->count];

	et_assert(f->count < f->capacity);
	*r = (struct journal_record){ .seq = op->seq,
				      .offset = (uint32_t)offset,
				      .size = (uint32_t)size };
	memcpy(r->incarnation, op->incarnation.data, sizeof(r->incarnation));
	f->seq_low = f->count == 0 || op->seq < f->seq_low ? op->seq : f->seq_low;
	f->seq_high = op->seq > f->seq_high ? op->seq : f->seq_high;
	f->count++;
	f->pending++;
}

/* ---- Reading ---- */

/* A whole record at `at`: 1 and it was added; 0: there is none; negative: no memory. */
static int record_read(struct et_view content, size_t at, struct journal_file *f)
{
	size_t left = content.size - at;
	const uint8_t *p = content.data + at;

	if (left < JOURNAL_RECORD_SIZE || memcmp(p, record_magic, sizeof(record_magic)) != 0) {
		return 0;
	}
	uint32_t size = et_get32(p + 4);
	if (size == 0 || size > ET_COMMAND_SIZE_MAX || size > left - JOURNAL_RECORD_SIZE ||
	    record_crc(p, size) != et_get32(p + 8)) {
		return 0;
	}
	Et__Command *command = NULL;
	int rc = et_command_unpack(p + JOURNAL_RECORD_SIZE, size, &command, NULL);
	if (rc < 0) {
		return rc == -ENOMEM ? rc : 0;
	}
	rc = records_grow(f);
	if (rc == 0 && command->op->seq == et_get64(p + 12)) {
		record_add(f, command->op, at + JOURNAL_RECORD_SIZE, size);
		rc = 1;
	}
	et_command_free(command);
	return rc;
}

static bool header_is_good(struct et_view content, const struct journal_file *f)
{
	const uint8_t *p = content.data;

	return content.size >= JOURNAL_HEADER_SIZE &&
	       memcmp(p, header_magic, sizeof(header_magic)) == 0 &&
	       et_get32(p + 4) == JOURNAL_VERSION && et_crc32c(0, p, 44) == et_get32(p + 44) &&
	       memcmp(p + 16, f->incarnation, 16) == 0 && et_get64(p + 32) == f->number;
}

/* Whole records anywhere from `at` on. */
static int records_salvage(struct et_view content, size_t at, struct journal_file *f)
{
	while (at < content.size) {
		const uint8_t *p = memmem(content.data + at, content.size - at, record_magic,
					  sizeof(record_magic));
		if (p == NULL) {
			return 0;
		}
		at = (size_t)(p - content.data);
		int rc = record_read(content, at, f);
		if (rc < 0) {
			return rc;
		}
		at += rc > 0 ? JOURNAL_RECORD_SIZE + f->records[f->count - 1].size : 1;
	}
	return 0;
}

int journal_scan(struct et_view content, struct journal_file *f, enum journal_finding *ret)
{
	bool begun = header_is_good(content, f);
	size_t at = begun ? JOURNAL_HEADER_SIZE : 0;

	if (!begun && content.size <= JOURNAL_HEADER_SIZE) {
		*ret = JOURNAL_UNBEGUN;
		return 0;
	}
	while (begun && at < content.size) {
		int rc = record_read(content, at, f);
		if (rc < 0) {
			return rc;
		}
		if (rc == 0) {
			break;
		}
		at += JOURNAL_RECORD_SIZE + f->records[f->count - 1].size;
	}
	f->size = (int64_t)at;

	size_t good = f->count;
	int rc = records_salvage(content, at, f);
	if (rc < 0) {
		return rc;
	}
	if (!begun || f->count > good) {
		*ret = JOURNAL_DAMAGED;
	} else {
		*ret = at < content.size ? JOURNAL_TORN : JOURNAL_WHOLE;
	}
	return 0;
}

bool journal_name_parse(const char *name, uint64_t *ret_number, uint8_t ret_incarnation[16])
{
	uint8_t number[8];

	if (strlen(name) != 16 + 1 + 32 + 8 || name[16] != '-' ||
	    strcmp(name + 49, ".journal") != 0 || !et_unhex(name, 16, number, sizeof(number)) ||
	    !et_unhex(name + 17, 32, ret_incarnation, 16)) {
		return false;
	}
	*ret_number = et_get64(number);
	return true;
}

/* ---- Writing ---- */

static int header_write(struct journal_file *f, uint64_t node)
{
	uint8_t header[JOURNAL_HEADER_SIZE] = { 0 };

	memcpy(header, header_magic, sizeof(header_magic));
	et_put32(header + 4, JOURNAL_VERSION);
	et_put64(header + 8, node);
	memcpy(header + 16, f->incarnation, 16);
	et_put64(header + 32, f->number);
	et_put32(header + 44, et_crc32c(0, header, 44));
	f->size = sizeof(header);
	return et_file_pwrite(f->fd, header, sizeof(header), 0);
}

int journal_file_begin(const char *folder, uint64_t number, uint64_t node,
		       const uint8_t incarnation[16], struct journal_file **ret,
		       struct et_error *reterr)
{
	char hex[33];
	struct journal_file *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		return et_fail(reterr, -ENOMEM, "journal '%s'", folder);
	}
	et_hex(incarnation, 16, hex);
	f->number = number;
	memcpy(f->incarnation, incarnation, 16);
	f->fd = -1;
	int n = snprintf(f->path, sizeof(f->path), "%s/%016llx-%s.journal", folder,
			 (unsigned long long)number, hex);
	int rc = n < 0 || (size_t)n >= sizeof(f->path) ? -ENAMETOOLONG : 0;
	if (rc == 0) {
		f->fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		rc = f->fd < 0 ? -errno : header_write(f, node);
	}
	if (rc < 0) {
		et_fail(reterr, rc, "begin journal file '%s'", f->path);
		if (f->fd >= 0) {
			(void)unlink(f->path);
		}
		(void)journal_file_free(f);
		return rc;
	}
	*ret = f;
	return 0;
}

struct journal_file *journal_file_free(struct journal_file *f)
{
	if (f != NULL) {
		et_fd_closep(&f->fd);
		free(f->records);
		free(f);
	}
	return NULL;
}

int journal_file_append(struct journal_file *f, struct et_view packed, const Et__OpId *op,
			struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer record = { 0 };

	et_assert(packed.size > 0 && packed.size <= ET_COMMAND_SIZE_MAX);
	et_buffer_add(&record, record_magic, sizeof(record_magic));
	et_buffer_add32(&record, (uint32_t)packed.size);
	et_buffer_add32(&record, 0);
	et_buffer_add64(&record, op->seq);
	et_buffer_add(&record, packed.data, packed.size);
	int rc = record.failed ? -ENOMEM : records_grow(f);
	if (rc == 0) {
		et_put32(record.data + 8, record_crc(record.data, packed.size));
		rc = et_file_pwrite(f->fd, record.data, record.size, f->size);
	}
	if (rc < 0) {
		et_fail(reterr, rc, "append to journal '%s'", f->path);
		/* If the cut fails too, the rest is overwritten by the next append, or is a torn
		 * tail to the next start. */
		if (ftruncate(f->fd, f->size) < 0) {
			et_fail(reterr, rc, "append to journal '%s', and cut it back", f->path);
		}
		return rc;
	}
	record_add(f, op, (size_t)f->size + JOURNAL_RECORD_SIZE, packed.size);
	f->size += (int64_t)record.size;
	return 0;
}
