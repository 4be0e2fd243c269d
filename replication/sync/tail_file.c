/* Tails on the disk: <media>/tails/<recording>-g<n>-s<n>.tail holds the header and whole records.
 *
 * What came is judged without a key: is it the header that the catalogue names, is each record one
 * of that tape with the next number (CRC). Nothing is synced: the loss of a tail loses nothing. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "replication/sync/sync_internal.h"

#define FOOTER_MAGIC "EVTF"

static void tail_path(const char *media, const char *folder, const struct et_key *key,
		      const char *suffix, char path[ET_STORE_PATH_MAX])
{
	struct et_expect expect = { .generation = key->generation, .segment = key->segment };

	memcpy(expect.recording, key->recording, 16);
	/* The media folder's name was short enough when the service began (et_store_prepare()). */
	int rc = et_store_path(media, folder, &expect, suffix, path);
	et_assert(rc == 0);
}

void et_tail_file_path(const char *media, const struct et_key *key, char path[ET_STORE_PATH_MAX])
{
	tail_path(media, "tails", key, ".tail", path);
}

bool et_tail_file_is_placed(const char *media, const char *file)
{
	char path[ET_STORE_PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", media, file);
	return et_store_file_ok(file) && n > 0 && (size_t)n < sizeof(path) &&
	       access(path, F_OK) == 0;
}

/* ---- What came ---- */

/* The header; fills the tail's hash. */
static int part_header(struct tail *t, struct et_view bytes)
{
	struct et_tape_header h;

	if (bytes.size < ET_TAPE_HEADER_SIZE) {
		return ET_ETRUNCATED; /* It is being written. */
	}
	int rc = et_tape_header_parse(bytes.data, &h, NULL);
	if (rc < 0) {
		return rc;
	}
	if (memcmp(h.recording, t->key.recording, 16) != 0 || h.generation != t->key.generation ||
	    h.segment != t->key.segment ||
	    (t->has_expected && memcmp(h.hash, t->expected, sizeof(h.hash)) != 0)) {
		return ET_EINTEGRITY;
	}
	memcpy(t->header_hash, h.hash, sizeof(t->header_hash));
	t->has_header = true;
	return 0;
}

size_t et_tail_judge(struct tail_part *part, struct et_view bytes)
{
	struct tail *t = part->tail;
	size_t good = 0;

	if (part->good == 0) {
		int rc = part_header(t, bytes);
		if (rc < 0) {
			part->code = rc == ET_ETRUNCATED ? 0 : rc;
			return 0;
		}
		good = ET_TAPE_HEADER_SIZE;
	}
	while (good < bytes.size) {
		const struct et_view rest = { bytes.data + good, bytes.size - good };
		struct et_tape_record_head head;
		int rc = et_tape_record_check(t->header_hash, part->records, rest, &head);
		if (rc == ET_ETRUNCATED) {
			break; /* The rest of it comes with the next question. */
		}
		if (rc < 0) {
			part->whole = rest.size >= 4 && memcmp(rest.data, FOOTER_MAGIC, 4) == 0;
			part->code = part->whole ? 0 : ET_ECORRUPT;
			break;
		}
		good += head.size;
		part->records++;
	}
	return good;
}

static int part_write(const char *media, const struct tail_part *part, struct et_view bytes)
{
	char path[ET_STORE_PATH_MAX];

	tail_path(media, "tails", &part->tail->key, ".tail", path);
	int create = part->good == 0 ? O_CREAT | O_TRUNC : 0;
	ET_CLEANUP(et_fd_closep)
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | create, 0600);
	if (fd < 0) {
		return -errno;
	}
	return et_file_pwrite(fd, bytes.data, bytes.size, (int64_t)part->good);
}

void et_tail_file_take(const char *media, struct tail_part *part)
{
	struct tail *t = part->tail;
	struct et_wire_grown g;

	part->good = t->good;
	part->records = t->records;
	part->whole = false;
	if (!et_wire_read_grown(part->body, &g) || g.code < 0) {
		part->code = g.code < 0 ? g.code : ET_EMALFORMED;
		return;
	}
	size_t good = et_tail_judge(part, g.bytes);
	if (good == 0) {
		return;
	}
	int rc = part_write(media, part, (struct et_view){ g.bytes.data, good });
	if (rc == -ENOENT && part->good > 0) { /* Somebody has removed it: from the begin. */
		part->good = part->records = 0;
	} else if (rc < 0) {
		part->disk_code = rc;
		part->records = t->records;
		part->whole = false;
	} else {
		part->good += good;
	}
}

/* ---- What is here ---- */

int et_tail_file_open(const char *media, struct tail *t)
{
	char path[ET_STORE_PATH_MAX];
	struct et_tape_source source;
	struct et_tape_report report;
	const struct et_tape_expect expect = {
		.recording = t->key.recording,
		.generation = t->key.generation,
		.segment = t->key.segment,
		.header_hash = t->has_expected ? t->expected : NULL,
	};

	t->good = t->records = 0;
	tail_path(media, "tails", &t->key, ".tail", path);
	int rc = et_tape_source_open(path, &source, NULL);
	if (rc < 0) {
		return rc == -ENOENT ? 0 : rc;
	}
	rc = et_tape_verify_prefix(&source, &expect, &report, NULL);
	et_tape_source_close(&source);
	if (rc < 0) {
		/* The disk that does not answer may do so later. */
		bool other = rc != -EIO && et_check_is_bad(rc);
		return other && unlink(path) == 0 ? 0 : rc;
	}
	if (report.good_records > UINT32_MAX) {
		return ET_ELIMIT;
	}
	memcpy(t->header_hash, report.header.hash, sizeof(t->header_hash));
	t->has_header = true;
	t->good = report.good_bytes;
	t->records = (uint32_t)report.good_records;
	return 0;
}

void et_tail_file_set_aside(const char *media, const struct et_key *key)
{
	char path[ET_STORE_PATH_MAX];
	char name[ET_SYNC_FILE_MAX];

	tail_path(media, "tails", key, ".tail", path);
	int rc =
		et_store_quarantine(media, path + strlen(media) + 1, et_clock_now_us(), name, NULL);
	et_warn("sync.tail_aside", "file=%s code=%s", rc < 0 ? path : name, et_errname(rc));
}

void et_tail_file_hand_over(const char *media, const struct et_key *key)
{
	char from[ET_STORE_PATH_MAX];
	char to[ET_STORE_PATH_MAX];

	tail_path(media, "tails", key, ".tail", from);
	tail_path(media, "incoming", key, ".part", to);
	/* What a fetch has begun stays: it has it open. */
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0) {
		(void)unlink(from);
	}
}

void et_tail_file_drop(const char *media, const struct et_key *key)
{
	char path[ET_STORE_PATH_MAX];

	tail_path(media, "tails", key, ".tail", path);
	(void)unlink(path);
}

/* "<uuid>-g<n>-s<n>.tail" */
static bool tail_name(const char *name, struct et_key *ret)
{
	char id[ET_UUID_TEXT_SIZE];
	char again[64];

	if (strlen(name) < ET_UUID_TEXT_SIZE) {
		return false;
	}
	memcpy(id, name, ET_UUID_TEXT_SIZE - 1);
	id[ET_UUID_TEXT_SIZE - 1] = '\0';
	if (!et_uuid_parse(id, ret->recording) ||
	    sscanf(name + ET_UUID_TEXT_SIZE - 1, "-g%" SCNu32 "-s%" SCNu32 ".tail",
		   &ret->generation, &ret->segment) != 2) {
		return false;
	}
	(void)snprintf(again, sizeof(again), "-g%" PRIu32 "-s%" PRIu32 ".tail", ret->generation,
		       ret->segment);
	return strcmp(again, name + ET_UUID_TEXT_SIZE - 1) == 0;
}

int et_tail_file_each(const char *media, void (*fn)(void *arg, const struct et_key *key), void *arg,
		      struct et_error *reterr)
{
	char path[ET_STORE_PATH_MAX];
	const struct dirent *entry = NULL;
	struct et_key key;

	(void)snprintf(path, sizeof(path), "%s/tails", media);
	DIR *dir = opendir(path);
	if (dir == NULL) {
		return et_fail(reterr, -errno, "open folder '%s'", path);
	}
	while ((entry = readdir(dir)) != NULL) {
		if (tail_name(entry->d_name, &key)) {
			fn(arg, &key);
		}
	}
	(void)closedir(dir);
	return 0;
}
