/* The ledger of erasures: outside of the catalogue, so that a backup of the catalogue cannot
 * forget. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "raft/backup/backup_internal.h"

#define FILE_MAX (1024UL * 1024 * 1024)

struct et_ledger {
	int fd;
	char path[4096];
	const struct et_secret *sign_key; /* borrowed */
	uint8_t head_hash[ET_SHA256_SIZE];
	uint8_t last[ET_SIGNATURE_SIZE]; /* of the last record; zeros: none yet */
	uint64_t size;
	uint8_t (*known)[16]; /* owned: open addressing */
	size_t slots;
	size_t count;
};

/* ---- What it holds ---- */

static size_t slot_of(const struct et_ledger *l, const uint8_t id[16])
{
	size_t at = (size_t)(et_get64(id + 8) ^ et_get64(id)) & (l->slots - 1);
	static const uint8_t none[16];

	while (memcmp(l->known[at], none, 16) != 0 && memcmp(l->known[at], id, 16) != 0) {
		at = (at + 1) & (l->slots - 1);
	}
	return at;
}

static int known_add(struct et_ledger *l, const uint8_t id[16])
{
	static const uint8_t none[16];

	if ((l->count + 1) * 2 > l->slots) {
		struct et_ledger bigger = { .slots = l->slots == 0 ? 256 : l->slots * 2 };
		bigger.known = calloc(bigger.slots, 16);
		if (bigger.known == NULL) {
			return -ENOMEM;
		}
		for (size_t i = 0; i < l->slots; i++) {
			if (memcmp(l->known[i], none, 16) != 0) {
				memcpy(bigger.known[slot_of(&bigger, l->known[i])], l->known[i],
				       16);
			}
		}
		free(l->known);
		l->known = bigger.known;
		l->slots = bigger.slots;
	}
	size_t at = slot_of(l, id);
	l->count += memcmp(l->known[at], none, 16) == 0;
	memcpy(l->known[at], id, 16);
	return 0;
}

bool et_ledger_has(const struct et_ledger *l, const uint8_t recording[16])
{
	return l->slots > 0 && memcmp(l->known[slot_of(l, recording)], recording, 16) == 0;
}

uint64_t et_ledger_size(const struct et_ledger *l)
{
	return l->size;
}

/* ---- Records ---- */

static void signed_bytes(const uint8_t head_hash[32], const uint8_t last[64],
			 const uint8_t record[LEDGER_SIGNED], uint8_t ret[32 + 64 + LEDGER_SIGNED])
{
	memcpy(ret, head_hash, 32);
	memcpy(ret + 32, last, 64);
	memcpy(ret + 96, record, LEDGER_SIGNED);
}

/* The head, and where the records begin. */
static int head_parse(struct et_view file, struct et_ledger_head *ret, size_t *ret_size,
		      struct et_error *reterr)
{
	uint8_t hash[ET_SHA256_SIZE];

	if (file.size < LEDGER_FIXED) {
		return et_fail(reterr, ET_ETRUNCATED, "ledger of erasures");
	}
	if (memcmp(file.data, LEDGER_MAGIC, 4) != 0) {
		return et_fail_plain(reterr, ET_EMALFORMED, "this is no ledger of erasures");
	}
	if (file.data[4] != LEDGER_VERSION) {
		return et_fail(reterr, ET_EVERSION, "a ledger of format %u", file.data[4]);
	}
	uint32_t members = et_get32(file.data + LEDGER_FIXED - 4);
	if (members > LEDGER_MEMBERS_MAX) {
		return et_fail(reterr, ET_EMALFORMED, "ledger of erasures");
	}
	size_t size = LEDGER_FIXED + members;
	if (file.size < size + sizeof(hash)) {
		return et_fail(reterr, ET_ETRUNCATED, "ledger of erasures");
	}
	et_sha256(file.data, size, hash);
	if (memcmp(hash, file.data + size, sizeof(hash)) != 0) {
		return et_fail(reterr, ET_EINTEGRITY, "head of a ledger of erasures");
	}
	memcpy(ret->cluster_id, file.data + 8, 16);
	ret->node = et_get64(file.data + 24);
	memcpy(ret->sign_public, file.data + 32, 32);
	ret->members = (struct et_view){ file.data + LEDGER_FIXED, members };
	*ret_size = size + sizeof(hash);
	return 0;
}

int et_ledger_read(struct et_view file,
		   int (*trust)(void *arg, const struct et_ledger_head *head,
				struct et_error *reterr),
		   int (*fn)(void *arg, const uint8_t recording[16], uint64_t index,
			     int64_t time_us),
		   void *arg, struct et_ledger_info *ret, struct et_error *reterr)
{
	uint8_t bytes[32 + 64 + LEDGER_SIGNED];
	uint8_t last[ET_SIGNATURE_SIZE] = { 0 };
	struct et_ledger_head head;
	size_t at = 0;

	int rc = head_parse(file, &head, &at, reterr);
	rc = rc < 0 || trust == NULL ? rc : trust(arg, &head, reterr);
	if (rc < 0) {
		return rc;
	}
	const uint8_t *head_hash = file.data + at - 32;
	*ret = (struct et_ledger_info){ .node = head.node };
	memcpy(ret->sign_public, head.sign_public, 32);
	memcpy(ret->cluster_id, head.cluster_id, 16);
	for (; file.size - at >= LEDGER_RECORD; at += LEDGER_RECORD) {
		const uint8_t *record = file.data + at;
		signed_bytes(head_hash, last, record, bytes);
		rc = et_ed25519_verify(head.sign_public, (struct et_view){ bytes, sizeof(bytes) },
				       record + LEDGER_SIGNED, NULL);
		if (rc < 0 || (record[0] != LEDGER_ERASURE && record[0] != LEDGER_MARK)) {
			return et_fail(reterr, ET_EINTEGRITY,
				       "record %zu of the ledger of erasures of node %llu",
				       (at - (size_t)(head_hash + 32 - file.data)) / LEDGER_RECORD +
					       1,
				       (unsigned long long)head.node);
		}
		memcpy(last, record + LEDGER_SIGNED, sizeof(last));
		ret->index = et_get64(record + 1);
		ret->time_us = (int64_t)et_get64(record + 9);
		if (record[0] == LEDGER_ERASURE) {
			ret->erasures++;
			rc = fn != NULL ? fn(arg, record + 17, ret->index, ret->time_us) : 0;
			if (rc < 0) {
				return et_fail(reterr, rc, "ledger of erasures");
			}
		}
	}
	return 0;
}

/* ---- Appending ---- */

static int open_add(void *arg, const uint8_t recording[16], uint64_t index, int64_t time_us)
{
	(void)index;
	(void)time_us;
	return known_add(arg, recording);
}

static int ledger_make(struct et_ledger *l, const struct et_ledger_head *head,
		       struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	uint8_t hash[ET_SHA256_SIZE];

	et_buffer_add(&b, LEDGER_MAGIC, 4);
	et_buffer_add8(&b, LEDGER_VERSION);
	et_buffer_add8(&b, 0);
	et_buffer_add16(&b, 0);
	et_buffer_add(&b, head->cluster_id, 16);
	et_buffer_add64(&b, head->node);
	et_buffer_add(&b, head->sign_public, 32);
	et_buffer_add32(&b, (uint32_t)head->members.size);
	et_buffer_add(&b, head->members.data, head->members.size);
	if (b.failed || head->members.size > LEDGER_MEMBERS_MAX) {
		return et_fail(reterr, -ENOMEM, "'%s'", l->path);
	}
	et_sha256(b.data, b.size, hash);
	et_buffer_add(&b, hash, sizeof(hash));
	memcpy(l->head_hash, hash, sizeof(hash));
	l->size = b.size;
	return b.failed ? et_fail(reterr, -ENOMEM, "'%s'", l->path)
			: et_file_publish(l->path, b.data, b.size, 0600, reterr);
}

static int ledger_load(struct et_ledger *l, const struct et_ledger_head *head,
		       struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer file = { 0 };
	struct et_ledger_head found;
	struct et_ledger_info info;
	size_t at = 0;

	int rc = et_file_read(l->path, FILE_MAX, &file, reterr);
	if (rc == -ENOENT) {
		return ledger_make(l, head, reterr);
	}
	struct et_view view = { file.data, file.size };
	rc = rc < 0 ? rc : head_parse(view, &found, &at, reterr);
	rc = rc < 0 ? rc : et_ledger_read(view, NULL, open_add, l, &info, reterr);
	if (rc < 0) {
		return rc;
	}
	if (found.node != head->node || memcmp(found.cluster_id, head->cluster_id, 16) != 0 ||
	    memcmp(found.sign_public, head->sign_public, 32) != 0) {
		return et_fail_plain(
			reterr, ET_EREFUSED,
			"the ledger of erasures '%.200s' is of another node or cluster", l->path);
	}
	size_t records = (file.size - at) / LEDGER_RECORD;
	memcpy(l->head_hash, file.data + at - 32, 32);
	l->size = at + records * LEDGER_RECORD;
	if (records > 0) {
		memcpy(l->last, file.data + l->size - ET_SIGNATURE_SIZE, ET_SIGNATURE_SIZE);
	}
	return 0;
}

int et_ledger_open(const char *path, const struct et_ledger_head *head,
		   const struct et_secret *sign_key, struct et_ledger **ret,
		   struct et_error *reterr)
{
	struct et_ledger *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		return et_fail(reterr, -ENOMEM, "'%s'", path);
	}
	l->fd = -1;
	l->sign_key = sign_key;
	(void)snprintf(l->path, sizeof(l->path), "%s", path);
	int rc = ledger_load(l, head, reterr);
	if (rc == 0) {
		l->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
		/* What a crash has cut goes. */
		if (l->fd < 0 || ftruncate(l->fd, (off_t)l->size) < 0 || fsync(l->fd) < 0) {
			rc = et_fail(reterr, -errno, "'%s'", path);
		}
	}
	if (rc < 0) {
		(void)et_ledger_close(l);
		return rc;
	}
	*ret = l;
	return 0;
}

struct et_ledger *et_ledger_close(struct et_ledger *l)
{
	if (l != NULL) {
		if (l->fd >= 0) {
			(void)close(l->fd);
		}
		free(l->known);
		free(l);
	}
	return NULL;
}

int et_ledger_add(struct et_ledger *l, const uint8_t recording[16], uint64_t index, int64_t time_us,
		  struct et_error *reterr)
{
	uint8_t record[LEDGER_RECORD] = { recording != NULL ? LEDGER_ERASURE : LEDGER_MARK };
	uint8_t bytes[32 + 64 + LEDGER_SIGNED];

	et_put64(record + 1, index);
	et_put64(record + 9, (uint64_t)time_us);
	if (recording != NULL) {
		memcpy(record + 17, recording, 16);
	}
	signed_bytes(l->head_hash, l->last, record, bytes);
	int rc = et_ed25519_sign(l->sign_key, (struct et_view){ bytes, sizeof(bytes) },
				 record + LEDGER_SIGNED, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_file_pwrite(l->fd, record, sizeof(record), (int64_t)l->size);
	if (rc == 0 && fdatasync(l->fd) < 0) {
		rc = -errno;
	}
	rc = rc == 0 && recording != NULL ? known_add(l, recording) : rc;
	if (rc < 0) { /* the next one is written over it */
		return et_fail(reterr, rc, "write '%s'", l->path);
	}
	memcpy(l->last, record + LEDGER_SIGNED, sizeof(l->last));
	l->size += sizeof(record);
	return 0;
}
