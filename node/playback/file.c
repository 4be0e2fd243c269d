/* The file that a recording was made of, out of its tape. */
#include <string.h>

#include "node/crypto/hash.h"
#include "node/playback/walk_internal.h"
#include "node/tape/file.h"

struct file {
	struct et_weave weave;
	struct et_sha256 *hash; /* owned */
	et_weave_sink sink;
	void *arg; /* borrowed */
	int given; /* what the sink said last: it is not asked again after a negative result */
};

static int file_give(void *arg, const void *data, size_t size)
{
	struct file *f = arg;

	if (f->given >= 0) {
		et_sha256_add(f->hash, data, size);
		f->given = f->sink(f->arg, data, size);
	}
	return f->given;
}

static int file_record(void *arg, struct et_view plain, struct et_error *reterr)
{
	struct file *f = arg;
	return et_weave_file(&f->weave, plain, reterr);
}

static int file_packet(void *arg, struct walk_segment *segment, const struct walk_type *type,
		       const struct et_media_packet *packet, struct et_error *reterr)
{
	struct file *f = arg;

	(void)segment;
	(void)type;
	(void)reterr;
	return et_weave_packet(&f->weave, packet);
}

static int file_check(struct file *f, const struct et_playback_summary *s, struct et_error *reterr)
{
	uint8_t found[32];

	et_sha256_end(f->hash, found);
	if (et_weave_is_whole(&f->weave) && memcmp(found, f->weave.medium.sha256, 32) == 0) {
		return 0;
	}
	return et_fail_plain(reterr, ET_EINTEGRITY, "the file cannot be put together again%s%s",
			     s->problem[0] != '\0' ? ": " : "", s->problem);
}

int et_playback_file(const struct et_playback_config *config, et_weave_sink sink, void *sink_arg,
		     struct et_playback_summary *ret, struct et_error *reterr)
{
	struct file f = { .weave = { .sink = file_give },
			  .hash = et_sha256_new(),
			  .sink = sink,
			  .arg = sink_arg };
	const struct walk_visitor visitor = { .packet = file_packet,
					      .file = file_record,
					      .arg = &f };

	if (f.hash == NULL) {
		return et_fail(reterr, -ENOMEM, "export");
	}
	f.weave.arg = &f;
	int rc = et_playback_walk(config, &visitor, ret, reterr);
	rc = f.given < 0 ? f.given : rc < 0 ? rc : file_check(&f, ret, reterr);
	et_weave_release(&f.weave);
	f.hash = et_sha256_free(f.hash);
	return rc;
}
