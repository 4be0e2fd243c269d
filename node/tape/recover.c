#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/io/file.h"
#include "node/tape/format_internal.h"

/*   whole footer? ──yes──▶ verifies? ──yes──▶ was_sealed, nothing is done
 *        │                     │no
 *        │                     ├──▶ ET_EINTEGRITY, nothing is done
 *        ▼no                   ▼ (unpublished)
 *   walk the records ──▶ cut behind the last good one ──▶ footer ──▶ fsync
 * The cut comes before the footer; a crash between the two leaves a tape that is recovered again.
 */

static int fd_read(void *arg, uint64_t offset, void *data, size_t size, struct et_error *reterr)
{
	const int *fd = arg;

	int rc = et_file_pread(*fd, data, size, (int64_t)offset);
	return rc < 0 ? et_fail(reterr, rc, "read tape at %llu", (unsigned long long)offset) : 0;
}

/* 1: sealed, nothing to do. 0: to be recovered. */
static int look_for_seal(const struct et_tape_source *source, bool unpublished,
			 struct et_tape_recovery *ret, struct et_error *reterr)
{
	struct et_tape_report report;
	struct et_tape_seal seal;

	int rc = et_tape_footer_read(source, &ret->header, &seal, reterr);
	if (rc == ET_ETRUNCATED && source->size >= ET_TAPE_HEADER_SIZE) {
		return 0;
	}
	if (rc == ET_EINTEGRITY) {
		return 0; /* A torn footer: of a seal that was never whole on disk. */
	}
	if (rc < 0) {
		return rc;
	}
	rc = et_tape_verify(source, NULL, &report, reterr);
	if (rc == 0) {
		ret->was_sealed = true;
		ret->seal = report.seal;
		return 1;
	}
	return rc == ET_EINTEGRITY && unpublished ? 0 : rc;
}

static int write_footer(int fd, struct et_tape_walk *w, const struct et_tape_signer *signer,
			struct et_tape_seal *seal, struct et_error *reterr)
{
	struct et_buffer footer = { 0 };

	if (ftruncate(fd, (off_t)w->offset) < 0) {
		return et_fail(reterr, -errno, "cut a torn tape");
	}
	int rc = et_tape_footer_make(w->header.hash, w->leaves.data, signer, seal, &footer, reterr);
	if (rc == 0) {
		rc = et_file_pwrite(fd, footer.data, footer.size, (int64_t)w->offset);
		if (rc == 0 && fsync(fd) < 0) {
			rc = -errno;
		}
		if (rc < 0) {
			/* A torn footer is cut off by whoever recovers next; now, if it can be. */
			int cut = ftruncate(fd, (off_t)w->offset);
			rc = et_fail(reterr, rc, "write the footer of a recovered tape%s",
				     cut < 0 ? " (a part of it stays)" : "");
		}
	}
	et_buffer_release(&footer);
	return rc;
}

static int recover(const char *path, const struct et_tape_signer *signer,
		   const struct et_secret *dek, bool unpublished, struct et_tape_recovery *ret,
		   struct et_error *reterr)
{
	ET_CLEANUP(et_tape_walk_release) struct et_tape_walk w = { 0 };
	struct stat st;
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0) {
		return et_fail(reterr, -errno, "open tape '%s'", path);
	}
	if (!S_ISREG(st.st_mode)) {
		return et_fail(reterr, ET_EMALFORMED, "tape '%s' is not a file", path);
	}
	const struct et_tape_source source = { .read = fd_read,
					       .arg = &fd,
					       .size = (uint64_t)st.st_size };

	*ret = (struct et_tape_recovery){ 0 };
	int rc = look_for_seal(&source, unpublished, ret, reterr);
	if (rc != 0) {
		return rc < 0 ? rc : 0;
	}
	rc = et_tape_walk_init(&w, &source, dek, false, reterr);
	w.keep_leaves = true;
	if (rc == 0) {
		rc = et_tape_walk_run(&w, source.size, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	struct et_tape_seal seal = {
		.records = w.merkle.count,
		.body_bytes = w.offset,
		.last_ms = w.last_ms,
		.block_bytes = w.block_bytes,
		.flags = ET_TAPE_RECOVERED | (dek == NULL ? ET_TAPE_UNVERIFIED : 0U),
	};
	et_merkle_root(&w.merkle, seal.root);
	rc = write_footer(fd, &w, signer, &seal, reterr);
	if (rc == 0) {
		ret->header = w.header;
		ret->seal = seal;
		ret->cut_bytes = source.size - w.offset;
	}
	return rc;
}

int et_tape_recover(const char *path, const struct et_tape_signer *signer,
		    const struct et_secret *dek, struct et_tape_recovery *ret,
		    struct et_error *reterr)
{
	return recover(path, signer, dek, false, ret, reterr);
}

int et_tape_recover_unpublished(const char *path, const struct et_tape_signer *signer,
				const struct et_secret *dek, struct et_tape_recovery *ret,
				struct et_error *reterr)
{
	return recover(path, signer, dek, true, ret, reterr);
}
