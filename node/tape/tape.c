#include "node/tape/tape.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "node/tape/block_internal.h"
#include "node/tape/format_internal.h"
#include "node/tape/index_internal.h"

struct et_tape {
	int fd;			 /* owned */
	char *path;		 /* owned; for messages */
	struct et_aead *cipher;	 /* owned */
	struct et_sha256 *leaf;	 /* owned: of each record in turn */
	struct et_buffer own;	 /* owned: where records are put together, or: */
	struct et_buffer *room;	 /* borrowed: et_tape_share(); NULL: `own` */
	uint8_t *record;	 /* a view of that: head, ciphertext, tag of one record */
	struct et_buffer leaves; /* leaf hashes of all records */
	struct et_merkle merkle;
	struct tape_list checkpoints;
	uint8_t header_hash[ET_TAPE_HASH_SIZE];
	uint64_t bytes; /* header and whole records: where the next byte goes */
	uint32_t last_ms;
	int failed; /* what the tape failed with; it takes only its footer then */
	bool ended; /* END is written */
	bool finished;

	uint32_t block_bytes;	/* of the next block; 0: not padded */
	uint32_t block_largest; /* of those that were written; 0: none */
	uint32_t second_ms;	/* begin of the second at hand */
	uint32_t item_ms;	/* t_ms of the last item */
	bool has_media;		/* what comes from now on may tell something by its size */
	bool settled;		/* its last block is written */
	struct et_buffer block; /* what is gathered; wiped */
};

/* One write(2) at the end of what is whole. What did not get there whole is cut off. */
static int tape_write(struct et_tape *t, const void *data, size_t size, struct et_error *reterr)
{
	ssize_t n;

	do {
		n = pwrite(t->fd, data, size, (off_t)t->bytes);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)size) {
		return 0;
	}
	int rc = n < 0 ? -errno : -ENOSPC; /* A short write to a file is a full disk. */
	if (ftruncate(t->fd, (off_t)t->bytes) < 0) {
		return et_fail(reterr, rc,
			       "write tape '%s' (and it could not be cut back to %llu "
			       "bytes)",
			       t->path, (unsigned long long)t->bytes);
	}
	return et_fail(reterr, rc, "write tape '%s'", t->path);
}

static int tape_begin(struct et_tape *t, struct et_tape_header *header, const struct et_secret *dek,
		      struct et_error *reterr)
{
	uint8_t bytes[ET_TAPE_HEADER_SIZE];

	et_random(header->salt, sizeof(header->salt));
	int rc = et_tape_commit(dek, header->salt, header->commitment, reterr);
	if (rc == 0) {
		rc = et_tape_cipher(dek, header->salt, &t->cipher, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et_tape_header_format(header, bytes);
	memcpy(header->hash, bytes + 128, sizeof(header->hash));
	memcpy(t->header_hash, header->hash, sizeof(t->header_hash));
	rc = tape_write(t, bytes, sizeof(bytes), reterr);
	if (rc == 0) {
		t->bytes = sizeof(bytes);
	}
	return rc;
}

int et_tape_create(const char *path, struct et_tape_header *header, const struct et_secret *dek,
		   struct et_tape **ret, struct et_error *reterr)
{
	et_assert(et_secret_size(dek) == ET_AEAD_KEY_SIZE);
	et_assert(header->generation > 0);
	et_assert(header->segment > 0);

	ET_CLEANUP(et_tape_closep) struct et_tape *t = calloc(1, sizeof(*t));
	if (t == NULL) {
		return et_fail(reterr, -ENOMEM, "tape '%s'", path);
	}
	t->fd = -1;
	t->path = strdup(path);
	t->leaf = et_sha256_new();
	if (t->path == NULL || t->leaf == NULL) {
		return et_fail(reterr, -ENOMEM, "tape '%s'", path);
	}
	t->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (t->fd < 0) {
		return et_fail(reterr, -errno, "create tape '%s'", path);
	}
	int rc = tape_begin(t, header, dek, reterr);
	if (rc < 0) {
		(void)unlink(path);
		return rc;
	}
	*ret = ET_TAKE(t);
	return 0;
}

void et_tape_share(struct et_tape *t, struct et_buffer *room)
{
	t->room = room;
}

/* Room for a record of `size` bytes in t->record. */
static int tape_room(struct et_tape *t, size_t size)
{
	struct et_buffer *room = t->room != NULL ? t->room : &t->own;

	t->record = et_buffer_reserve(room, size);
	room->failed = false; /* A smaller record may still find room. */
	if (t->record == NULL) {
		return -ENOMEM;
	}
	return et_buffer_reserve(&t->leaves, ET_TAPE_HASH_SIZE) != NULL ? 0 : -ENOMEM;
}

static int tape_seal_record(struct et_tape *t, enum et_tape_kind kind, uint32_t t_ms,
			    struct et_view plain, struct et_error *reterr)
{
	const uint32_t seq = (uint32_t)t->merkle.count;
	uint8_t aad[ET_TAPE_HASH_SIZE + TAPE_HEAD_CRC_AT];
	uint8_t nonce[ET_AEAD_NONCE_SIZE];
	uint8_t *p = t->record;

	et_put16(p, TAPE_RECORD_MAGIC);
	p[2] = (uint8_t)kind;
	p[3] = kind == ET_TAPE_BLOCK ? ET_TAPE_PADDED : 0;
	et_put32(p + 4, (uint32_t)(plain.size + ET_TAPE_TAG_SIZE));
	et_put32(p + 8, seq);
	et_put32(p + 12, t_ms);
	et_tape_nonce(seq, nonce);
	et_tape_aad(t->header_hash, p, aad);
	int rc = et_aead_seal(t->cipher, nonce, (struct et_view){ aad, sizeof(aad) }, plain.data,
			      plain.size, p + ET_TAPE_RECORD_HEAD_SIZE, reterr);
	if (rc == 0) {
		size_t whole = ET_TAPE_RECORD_HEAD_SIZE + plain.size + ET_TAPE_TAG_SIZE;
		et_put32(p + TAPE_HEAD_CRC_AT, et_tape_crc(t->header_hash, p, whole));
	}
	return rc;
}

static bool tape_has_blocks(const struct et_tape *t)
{
	return t->block_bytes > 0 || t->block_largest > 0;
}

/* The tape takes another record. */
static int tape_takes(struct et_tape *t, size_t size, size_t size_max, struct et_error *reterr)
{
	if (size == 0 || size > size_max) {
		return et_fail(reterr, -EINVAL, "append %zu bytes to tape '%s'", size, t->path);
	}
	if (t->finished || t->ended || (t->settled && size_max < ET_TAPE_PLAIN_MAX)) {
		return et_fail(reterr, ET_ECLOSED, "append to tape '%s'", t->path);
	}
	if (t->failed < 0) {
		return et_fail(reterr, t->failed, "append to tape '%s', which failed before",
			       t->path);
	}
	return 0;
}

static void tape_note(struct et_tape *t, enum et_tape_kind kind, uint32_t t_ms, size_t size)
{
	if (kind == ET_TAPE_CHECKPOINT) {
		const struct tape_checkpoint c = { .offset = t->bytes,
						   .seq = (uint32_t)t->merkle.count,
						   .t_ms = t_ms };
		(void)tape_list_add(&t->checkpoints,
				    c); /* One that is not listed is passed over. */
	} else if (kind == ET_TAPE_BLOCK && size > t->block_largest) {
		t->block_largest = (uint32_t)size;
	}
	t->has_media = t->has_media || kind == ET_TAPE_MEDIA;
	t->ended = kind == ET_TAPE_END;
}

static int tape_record(struct et_tape *t, enum et_tape_kind kind, uint32_t t_ms,
		       struct et_view plain, struct et_error *reterr)
{
	const size_t whole = ET_TAPE_RECORD_HEAD_SIZE + plain.size + ET_TAPE_TAG_SIZE;
	uint8_t leaf[ET_TAPE_HASH_SIZE];

	int rc = tape_takes(t, plain.size, ET_TAPE_PLAIN_MAX, reterr);
	if (rc < 0) {
		return rc;
	}
	if (t->merkle.count == ET_TAPE_RECORDS_MAX) {
		t->failed = ET_ELIMIT;
		return et_fail(reterr, ET_ELIMIT, "tape '%s' is full", t->path);
	}
	rc = tape_room(t, whole);
	if (rc < 0) {
		t->failed = rc; /* From here on a number may be used: a failure is final. */
		return et_fail(reterr, rc, "append to tape '%s'", t->path);
	}
	t_ms = t_ms > t->last_ms ? t_ms : t->last_ms;
	rc = tape_seal_record(t, kind, t_ms, plain, reterr);
	if (rc == 0) { /* While it is in the nearest cache. */
		et_merkle_leaf_in(t->leaf, t->record, whole, leaf);
		rc = tape_write(t, t->record, whole, reterr);
	}
	if (rc < 0) {
		t->failed = rc;
		return rc;
	}
	tape_note(t, kind, t_ms, plain.size);
	et_merkle_add(&t->merkle, leaf);
	et_buffer_add(&t->leaves, leaf, sizeof(leaf));
	t->bytes += whole;
	t->last_ms = t_ms;
	return 0;
}

/* ---- Padding ---------------------------------------------------------------------------------
 */

void et_tape_pad(struct et_tape *t, uint32_t bytes, uint32_t t_ms)
{
	if (t->block_bytes == 0 && t->failed == 0 && !t->ended && !t->finished) {
		t->block.secret = true;
		t->block_bytes = tape_block_size(bytes, 0);
		t->second_ms = t_ms - t_ms % ET_TAPE_BLOCK_MS;
	}
}

bool et_tape_is_padded(const struct et_tape *t)
{
	return t->block_bytes > 0;
}

uint32_t et_tape_second_end(const struct et_tape *t)
{
	const bool is_last = t->second_ms > UINT32_MAX - ET_TAPE_BLOCK_MS;

	return t->block_bytes == 0 || is_last ? UINT32_MAX : t->second_ms + ET_TAPE_BLOCK_MS;
}

/* What is gathered, or nothing, as a record. */
static int block_write(struct et_tape *t, struct et_error *reterr)
{
	tape_block_fill(&t->block, t->block_bytes);
	const struct et_view plain = { t->block.data, t->block.size };
	int rc = t->block.failed ? et_fail(reterr, -ENOMEM, "block of tape '%s'", t->path)
				 : tape_record(t, ET_TAPE_BLOCK, t->second_ms, plain, reterr);
	if (plain.data != NULL) {
		explicit_bzero(t->block.data, t->block.size); /* there may be keys in it */
	}
	t->block.size = 0;
	t->failed = rc; /* What was gathered is lost, whatever it was that failed. */
	return rc;
}

/* Room for an item of `size` bytes in the block: in a larger one, or in the next one. */
static int block_room(struct et_tape *t, size_t size, struct et_error *reterr)
{
	const size_t used = t->block.size > 0 ? t->block.size : TAPE_BLOCK_HEAD;

	if (used + size <= t->block_bytes) {
		return 0;
	}
	const bool waits = t->block.size > 0;
	const uint32_t larger = tape_block_size(t->block_bytes, used + size);
	if (waits && (!t->has_media || larger < used + size)) {
		int rc = block_write(t, reterr);
		return rc < 0 ? rc : block_room(t, size, reterr);
	}
	t->block_bytes = larger;
	return 0;
}

static int block_gather(struct et_tape *t, enum et_tape_kind kind, uint32_t t_ms,
			struct et_view plain, struct et_error *reterr)
{
	const size_t head = TAPE_BLOCK_HEAD + TAPE_ITEM_HEAD;

	int rc = tape_takes(t, plain.size, ET_TAPE_PLAIN_MAX - head, reterr);
	rc = rc < 0 ? rc : block_room(t, TAPE_ITEM_HEAD + plain.size, reterr);
	if (rc < 0) {
		return rc;
	}
	t_ms = t_ms > t->item_ms ? t_ms : t->item_ms;
	tape_block_add(&t->block, kind, t_ms, plain);
	if (t->block.failed) {
		t->failed = -ENOMEM;
		return et_fail(reterr, -ENOMEM, "append to tape '%s'", t->path);
	}
	t->item_ms = t_ms;
	t->has_media = t->has_media || kind == ET_TAPE_MEDIA;
	return 0;
}

int et_tape_tick(struct et_tape *t, uint32_t t_ms, struct et_error *reterr)
{
	int rc = 0;

	if (t->failed < 0 || t->settled || t->ended || t->finished) {
		return 0;
	}
	for (;;) {
		const uint32_t next = et_tape_second_end(t);
		if (rc < 0 || next == UINT32_MAX || t_ms < next) {
			return rc;
		}
		rc = block_write(t, reterr);
		t->second_ms = next;
		if ((t_ms - next) / ET_TAPE_BLOCK_MS >= TAPE_BLOCK_GAP) {
			t->second_ms = t_ms - t_ms % ET_TAPE_BLOCK_MS;
		}
	}
}

int et_tape_settle(struct et_tape *t, struct et_error *reterr)
{
	if (t->block_bytes == 0 || t->failed < 0 || t->ended || t->finished || t->settled) {
		return 0;
	}
	t->settled = true;
	return block_write(t, reterr);
}

/* CHECKPOINT or INDEX of a padded tape. */
static int padded_record(struct et_tape *t, enum et_tape_kind kind, uint32_t t_ms,
			 struct et_view plain, struct et_error *reterr)
{
	struct et_buffer b = { 0 };

	et_buffer_add(&b, plain.data, plain.size);
	if (!b.failed && b.size > 0) {
		tape_checkpoint_pad(&b, kind == ET_TAPE_INDEX ? TAPE_INDEX_MULTIPLE
							      : TAPE_CHECKPOINT_MULTIPLE);
	}
	int rc = b.failed ? et_fail(reterr, -ENOMEM, "append to tape '%s'", t->path)
			  : tape_record(t, kind, t_ms, (struct et_view){ b.data, b.size }, reterr);
	et_buffer_release(&b);
	return rc;
}

/* ---- Records ---------------------------------------------------------------------------------
 */

int et_tape_append(struct et_tape *t, enum et_tape_kind kind, uint32_t t_ms, const void *plain,
		   size_t size, struct et_error *reterr)
{
	const struct et_view v = { plain, size };

	if (t->block_bytes > 0 && !tape_kind_is_own(kind)) {
		return block_gather(t, kind, t_ms, v, reterr);
	}
	if (tape_has_blocks(t) && (kind == ET_TAPE_CHECKPOINT || kind == ET_TAPE_INDEX)) {
		return padded_record(t, kind, t_ms, v, reterr);
	}
	return tape_record(t, kind, t_ms, v, reterr);
}

int et_tape_end(struct et_tape *t, uint32_t t_ms, struct et_view plain, struct et_error *reterr)
{
	struct et_buffer index = { 0 };
	uint8_t end[TAPE_END_SIZE];

	if (t->failed < 0 || t->ended || t->finished) {
		return 0;
	}
	int rc = et_tape_settle(t, reterr);
	if (rc < 0) {
		return rc;
	}
	t_ms = tape_has_blocks(t) ? t->last_ms : t_ms;
	et_buffer_add(&index, plain.data, plain.size);
	tape_list_write(&t->checkpoints, &index);
	tape_end_format(t->bytes, (uint32_t)t->merkle.count, end);
	rc = index.failed ? et_fail(reterr, -ENOMEM, "index of tape '%s'", t->path)
			  : et_tape_append(t, ET_TAPE_INDEX, t_ms, index.data, index.size, reterr);
	if (rc == 0) {
		rc = et_tape_append(t, ET_TAPE_END, t_ms, end, sizeof(end), reterr);
	}
	et_buffer_release(&index);
	return rc;
}

int et_tape_finish(struct et_tape *t, const struct et_tape_signer *signer, struct et_tape_seal *ret,
		   struct et_error *reterr)
{
	struct et_buffer footer = { 0 };

	if (t->finished) {
		return et_fail(reterr, ET_ECLOSED, "finish tape '%s'", t->path);
	}
	int rc = et_tape_settle(t, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_tape_seal seal = { .records = t->merkle.count,
				     .body_bytes = t->bytes,
				     .last_ms = t->last_ms,
				     .block_bytes = t->block_largest };
	et_merkle_root(&t->merkle, seal.root);
	rc = et_tape_footer_make(t->header_hash, t->leaves.data, signer, &seal, &footer, reterr);
	if (rc == 0) {
		rc = tape_write(t, footer.data, footer.size, reterr);
	}
	if (rc == 0) {
		t->finished = true;
		*ret = seal;
	}
	et_buffer_release(&footer);
	return rc;
}

uint64_t et_tape_records(const struct et_tape *t)
{
	return t->merkle.count;
}

uint64_t et_tape_bytes(const struct et_tape *t)
{
	return t->bytes;
}

int et_tape_fd(const struct et_tape *t)
{
	return t->fd;
}

struct et_tape *et_tape_close(struct et_tape *t)
{
	if (t != NULL) {
		if (t->fd >= 0) {
			(void)close(t->fd);
		}
		(void)et_aead_free(t->cipher);
		(void)et_sha256_free(t->leaf);
		et_buffer_release(&t->leaves);
		et_buffer_release(&t->block);
		tape_list_release(&t->checkpoints);
		et_buffer_release(&t->own);
		free(t->path);
		free(t);
	}
	return NULL;
}
