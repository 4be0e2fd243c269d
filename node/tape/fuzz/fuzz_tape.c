/* Any bytes as a tape: verify, prefix, reader (with the key that the corpus was made with) and
 * recovery stay inside them and agree with each other.
 *
 * The first byte says what is repaired before it is read, so that the fuzzer comes behind the
 * checksums (1 the header's hash, 2 every record's CRC), and what is left out (4 verify, 8 the
 * reader, recovery but for 0x70). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/tape/reader.h"
#include "node/tape/tape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int held)
{
	if (!held) {
		abort();
	}
}

static void repair(uint8_t *tape, size_t size, unsigned what)
{
	if (size < ET_TAPE_HEADER_SIZE) {
		return;
	}
	if ((what & 1) != 0) {
		et_sha256(tape, 128, tape + 128);
	}
	for (size_t at = ET_TAPE_HEADER_SIZE; (what & 2) != 0 && size - at >= 36;) {
		const size_t length = et_get32(tape + at + 4);
		if (length > size - at - ET_TAPE_RECORD_HEAD_SIZE) {
			break;
		}
		uint32_t crc = et_crc32c(0, tape + 128, 32);
		crc = et_crc32c(crc, tape + at, 16);
		et_put32(tape + at + 16,
			 et_crc32c(crc, tape + at + ET_TAPE_RECORD_HEAD_SIZE, length));
		at += ET_TAPE_RECORD_HEAD_SIZE + length;
	}
}

/* Recovery works on files, and syncs them: in memory that costs nothing. */
static void recover(const struct et_view *tape, const struct et_tape_report *prefix, int has_prefix,
		    const struct et_secret *seed)
{
	const struct et_tape_signer signer = { .node = 1, .seed = seed, .now_us = 1 };
	struct et_tape_recovery r;
	char path[64];

	(void)snprintf(path, sizeof(path), "/dev/shm/et_fuzz_tape.%d", (int)getpid());
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	check(fd >= 0);
	check(write(fd, tape->data, tape->size) == (ssize_t)tape->size);
	(void)close(fd);
	int rc = et_tape_recover(path, &signer, NULL, &r, NULL);
	check((rc == 0) == (has_prefix != 0) || rc == ET_EINTEGRITY || rc == ET_EVERSION);
	if (rc == 0 && !r.was_sealed) {
		check(r.seal.records == prefix->good_records);
		check(memcmp(r.seal.root, prefix->seal.root, 32) == 0);
	}
	(void)unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct et_secret *key; /* 32 bytes 0x42: of the corpus */
	struct et_tape_report report;
	struct et_tape_report prefix;
	struct et_tape_record record;
	struct et_error e;

	if (key == NULL) {
		uint8_t bytes[32];
		memset(bytes, 0x42, sizeof(bytes));
		key = et_secret_copy(bytes, sizeof(bytes));
	}
	if (size < 1 || size > 8192) {
		return 0;
	}
	uint8_t *bytes = malloc(size);
	check(bytes != NULL);
	memcpy(bytes, data + 1, size - 1);
	repair(bytes, size - 1, data[0]);
	const struct et_view tape = { bytes, size - 1 };
	const struct et_tape_source source = et_tape_source_memory(&tape);

	const int verifies = (data[0] & 0x04) == 0; /* Signatures are slow: every other time. */
	int verified = verifies ? et_tape_verify(&source, NULL, &report, &e) : ET_ETRUNCATED;
	int has_prefix = et_tape_verify_prefix(&source, NULL, &prefix, &e) == 0;
	check(verified < 0 || has_prefix);
	check(prefix.good_bytes <= tape.size);
	if (verified == 0) {
		check(report.seal.size_bytes == tape.size &&
		      prefix.good_records >= report.seal.records);
	}
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	if ((data[0] & 0x08) == 0 && et_tape_reader_new(&source, key, &r, &e) == 0) {
		int rc;
		while ((rc = et_tape_reader_next(r, &record, &e)) == 1) {
			check(record.kind != ET_TAPE_BLOCK &&
			      record.seq < et_tape_reader_records(r));
		}
		check(rc < 0 || et_tape_reader_records(r) <= prefix.good_records ||
		      et_tape_reader_seal(r) != NULL);
		rc = et_tape_reader_find(r, et_get32(bytes + 24), &e);
		check(rc == 0 || rc == 1);
		(void)et_tape_reader_next(r, &record, &e);
		et_tape_reader_rewind(r);
		(void)et_tape_reader_next_of(r, ET_TAPE_KEYS, &record, &e);
		(void)et_tape_reader_index(r, &record, &e);
	}
	if ((data[0] & 0x70) == 0x70) { /* One in eight: files are slow. */
		recover(&tape, &prefix, has_prefix, key);
	}
	free(bytes);
	return 0;
}
