/* Proofs of a recording: its sealed records, or a span of them, under the signed roots. No key is
 * opened: who gets a proof hears nothing by it. */
#include <inttypes.h>
#include <string.h>

#include "node/api/playback_internal.h"
#include "node/tape/proof.h"

struct proof {
	struct api_playback playback;
	uint64_t from_ms; /* since the first segment's begin */
	uint64_t to_ms;	  /* UINT32_MAX: to the end */
	bool leaves;
	uint32_t parts;
	struct et_buffer bytes;
};

static void proof_release(struct proof *p)
{
	api_playback_release(&p->playback);
	et_buffer_release(&p->bytes);
}

/* The span within a segment; false: it is all before or behind it. */
static bool span_in(const struct proof *p, const struct et_playback_segment *s,
		    struct et_proof_span *ret)
{
	const int64_t begin_ms = (s->t0_us - p->playback.segments[0].t0_us) / 1000;
	const int64_t from = (int64_t)p->from_ms - begin_ms;
	const int64_t to = (int64_t)p->to_ms - begin_ms;

	*ret = (struct et_proof_span){ .from_ms = from > 0 ? (uint32_t)from : 0,
				       .to_ms = UINT32_MAX,
				       .leaves = p->leaves };
	if (p->to_ms < UINT32_MAX) {
		if (to <= 0) {
			return false;
		}
		ret->to_ms = to < UINT32_MAX ? (uint32_t)to : UINT32_MAX;
	}
	return from < UINT32_MAX && ret->from_ms < ret->to_ms;
}

/* The key that signed must be the one that the catalogue has of that node. */
static int signer_check(const struct api_call *call, const struct et_tape_source *source,
			struct et_error *reterr)
{
	struct et_tape_header header;
	struct et_tape_seal seal;
	Et__Node *node = NULL;

	int rc = et_tape_footer_read(source, &header, &seal, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_state_view *view = et_state_view_open(call->api->services.state);
	rc = view == NULL ? -ENOMEM : et_state_get_node(view, seal.signer, &node);
	(void)et_state_view_close(view);
	if (rc < 0) {
		return et_fail(reterr, rc, "node %" PRIu64 ", which signed segment %u", seal.signer,
			       header.segment);
	}
	const bool same =
		node->sign_public.len == sizeof(seal.signer_public) &&
		memcmp(node->sign_public.data, seal.signer_public, sizeof(seal.signer_public)) == 0;
	et__node__free_unpacked(node, NULL);
	return same ? 0
		    : et_fail_plain(
			      reterr, ET_EINTEGRITY,
			      "segment %u is signed by another key than that of node %" PRIu64,
			      header.segment, seal.signer);
}

static int part_add(struct proof *p, const struct et_playback_segment *s, struct et_error *reterr)
{
	static const uint8_t none[32];
	const struct et_playback_supply *supply = &p->playback.config.supply;
	const struct et_tape_expect expect = {
		.recording = p->playback.recording,
		.generation = s->generation,
		.segment = s->segment,
		.header_hash = memcmp(s->header_hash, none, 32) != 0 ? s->header_hash : NULL,
		.root = s->has_root ? s->root : NULL,
		.seal_hash = memcmp(s->seal_hash, none, 32) != 0 ? s->seal_hash : NULL,
	};
	struct et_tape_source source;
	struct et_proof_span span;

	if (!span_in(p, s, &span)) {
		return 0;
	}
	int rc = supply->open_segment(supply->arg, s, &source, reterr);
	if (rc < 0) {
		return rc;
	}
	const size_t before = p->bytes.size;
	rc = signer_check(p->playback.call, &source, reterr);
	rc = rc < 0 ? rc : et_tape_prove(&source, &span, &expect, &p->bytes, reterr);
	supply->close_segment(supply->arg, &source);
	if (rc == ET_ENOTFOUND) {
		p->bytes.size = before; /* It ends before the span, or has nothing in it. */
		return 0;
	}
	if (rc == ET_ETRUNCATED) {
		return et_fail_plain(
			reterr, ET_EREFUSED,
			"segment %u is not sealed yet: its signed root comes with its end",
			s->segment);
	}
	p->parts += rc == 0;
	return rc < 0 ? rc
	       : p->bytes.size > ET_PROOF_BYTES_MAX
		       ? et_fail_plain(reterr, ET_ELIMIT,
				       "the excerpt is longer than 1 GiB: ask for less of it")
		       : 0;
}

static int proof_make(struct proof *p, struct et_error *reterr)
{
	const struct api_playback *playback = &p->playback;
	uint8_t head[ET_PROOF_FILE_HEAD_SIZE] = { 0 };
	int rc = 0;

	et_buffer_add(&p->bytes, head, sizeof(head));
	for (size_t i = 0; i < playback->count && rc == 0; i++) {
		rc = part_add(p, &playback->segments[i], reterr);
	}
	if (rc == 0 && p->bytes.failed) {
		return et_fail(reterr, -ENOMEM, "proof");
	}
	if (rc == 0 && p->parts == 0) {
		return et_fail_plain(reterr, ET_ENOTFOUND,
				     "the recording has nothing of that span");
	}
	if (rc == 0) {
		et_proof_head(p->parts, p->bytes.data);
	}
	return rc;
}

int api_recording_proof(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "from_ms", "to_ms", "leaves", "reason", "read" };
	ET_CLEANUP(proof_release) struct proof p = { .parts = 0 };

	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc
		    : api_param_uint(&call->request, "from_ms", 0, UINT32_MAX, 0, &p.from_ms,
				     reterr);
	rc = rc < 0 ? rc
		    : api_param_uint(&call->request, "to_ms", 1, UINT32_MAX, UINT32_MAX, &p.to_ms,
				     reterr);
	rc = rc < 0 ? rc : api_param_bool(&call->request, "leaves", &p.leaves, reterr);
	if (rc == 0 && p.from_ms >= p.to_ms) {
		rc = et_fail_plain(reterr, ET_EUSAGE, "to_ms is to be later than from_ms");
	}
	rc = rc < 0 ? rc
		    : api_playback_open(call, &p.playback, "recording.proof",
					p.leaves ? "leaves" : "records", reterr);
	rc = rc < 0 ? rc : proof_make(&p, reterr);
	if (rc < 0) {
		return rc;
	}
	api_begin(call, 200, "application/octet-stream", (int64_t)p.bytes.size);
	rc = api_write(call, p.bytes.data, p.bytes.size);
	if (rc == 0) {
		api_end(call);
	}
	return rc;
}
