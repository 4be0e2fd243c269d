#include "cluster-tests/harness/wraps/wraps.h"

#include <string.h>

#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/tape/wrap.h"
#include "raft/journal/journal.h"

static int segment_write(struct et_journal *j, const struct et_labwraps *w, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	Et__SegmentOpen body = ET__SEGMENT_OPEN__INIT;
	Et__Segment segment = ET__SEGMENT__INIT;
	Et__Wrap wrap = ET__WRAP__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	uint8_t id[16];
	uint8_t enc[ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_DEK_WRAPPED_SIZE];
	char file[] = "none.evtm";
	char principal[] = "labwraps";

	et_uuid7(id);
	et_random(&wrap.dek, sizeof(wrap.dek));
	int rc = et_secret_random(ET_DEK_SIZE, &dek, reterr);
	rc = rc < 0 ? rc
		    : et_dek_wrap(w->kek_public, w->kek_version, id, wrap.dek, dek, enc, ciphertext,
				  reterr);
	if (rc < 0) {
		return rc;
	}
	wrap.kek_version = w->kek_version;
	wrap.enc = (ProtobufCBinaryData){ sizeof(enc), enc };
	wrap.ciphertext = (ProtobufCBinaryData){ sizeof(ciphertext), ciphertext };
	segment.recording = (ProtobufCBinaryData){ sizeof(id), id };
	segment.generation = segment.segment = 1;
	segment.node = w->node;
	segment.wrap = &wrap;
	segment.file = file;
	body.segment = &segment;
	command.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	command.segment_open = &body;
	command.principal = principal;
	command.proposed_us = et_clock_now_us();
	command.schema = et_schema_needed(&command);
	command.op = &op;
	return et_journal_append(j, &command, NULL, reterr);
}

int et_labwraps_write(const struct et_labwraps *w, struct et_error *reterr)
{
	struct et_journal *j = NULL;

	int rc = et_journal_open(w->journal, w->node, &j, reterr);
	for (unsigned long i = 0; i < w->count && rc == 0; i++) {
		rc = segment_write(j, w, reterr);
	}
	j = et_journal_close(j);
	return rc;
}
