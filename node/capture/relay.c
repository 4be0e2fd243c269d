#include "node/capture/relay_internal.h"

enum { BATCHES_MIN = 32, BATCHES_KEPT = 8 /* for what must not be lost */ };

enum op_kind {
	OP_OPEN,
	OP_STREAM,
	OP_MEDIA,
	OP_META,
	OP_KEYS,
	OP_KEEP,
	OP_LATE,
	OP_SESSION,
	OP_UPDATE,
	OP_CLOSE
};

/* One operation in a batch, followed by `extra` bytes; the next one begins at a multiple of 8. */
struct op {
	uint32_t size; /* of head and extra, without the padding */
	uint32_t slot;
	uint8_t kind;
	uint8_t flags; /* OPEN: restored; CLOSE: opened */
	uint8_t payload_type;
	uint8_t bits;	 /* MEDIA: marker 1, whole 2, rtcp 4 */
	uint32_t stream; /* UPDATE, CLOSE: how many follow the facts */
	uint16_t sequence;
	uint32_t timestamp;
	int64_t arrival_us;
};

static size_t aligned(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

int et_relay_init(struct et_relay *r, size_t bytes, bool patient, struct et_error *reterr)
{
	*r = (struct et_relay){ .patient = patient };
	r->count = (uint32_t)(bytes / sizeof(struct et_batch));
	if (r->count < BATCHES_MIN) {
		r->count = BATCHES_MIN;
	}
	int rc = et_queue_init(&r->full, r->count, SIZE_MAX, NULL, NULL);
	if (rc < 0) {
		return et_fail(reterr, rc, "capture queue");
	}
	rc = et_queue_init(&r->empty, r->count, SIZE_MAX, NULL, NULL);
	if (rc < 0) {
		et_queue_destroy(&r->full);
		return et_fail(reterr, rc, "capture queue");
	}
	r->batches = calloc(r->count, sizeof(struct et_batch *));
	for (uint32_t i = 0; r->batches != NULL && i < r->count; i++) {
		r->batches[i] = malloc(sizeof(struct et_batch));
		if (r->batches[i] == NULL) {
			et_relay_release(r);
			return et_fail(reterr, -ENOMEM, "capture queue");
		}
		r->batches[i]->node.next = r->spare;
		r->spare = &r->batches[i]->node;
		r->spare_count++;
	}
	if (r->batches == NULL) {
		et_relay_release(r);
		return et_fail(reterr, -ENOMEM, "capture queue");
	}
	return 0;
}

void et_relay_release(struct et_relay *r)
{
	(void)et_queue_take(&r->full);
	(void)et_queue_take(&r->empty);
	et_queue_destroy(&r->full);
	et_queue_destroy(&r->empty);
	for (uint32_t i = 0; r->batches != NULL && i < r->count; i++) {
		free(r->batches[i]);
	}
	free(r->batches);
	r->batches = NULL;
}

/* ---- The ring thread's side ------------------------------------------------------------------ */

void et_relay_flush(struct et_relay *r)
{
	if (r->current != NULL && r->current->used > 0) {
		int rc = et_queue_push(&r->full, &r->current->node, r->current->used);
		et_assert(rc == 0); /* there are as many places as batches */
		r->current = NULL;
	}
}

void et_relay_close(struct et_relay *r)
{
	et_relay_flush(r);
	et_queue_close(&r->full);
}

static void take_empty(struct et_relay *r, struct et_queue_node *chain)
{
	while (chain != NULL) {
		struct et_queue_node *node = chain;
		chain = node->next;
		node->next = r->spare;
		r->spare = node;
		r->spare_count++;
	}
}

/* Another batch; NULL: all are on their way, or only those kept for what must not be lost. */
static struct et_batch *next_batch(struct et_relay *r, bool must)
{
	uint32_t keep = must ? 0 : BATCHES_KEPT;
	take_empty(r, et_queue_take(&r->empty));
	while (r->spare_count <= keep && r->patient) {
		take_empty(r, et_queue_wait(&r->empty, 100));
	}
	if (r->spare_count <= keep) {
		return NULL;
	}
	struct et_batch *b = ET_CONTAINER_OF(r->spare, struct et_batch, node);
	r->spare = b->node.next;
	r->spare_count--;
	r->in_use++;
	b->used = 0;
	return b;
}

/* Room for an operation with `extra` bytes behind it. NULL: none. */
static struct op *reserve(struct et_relay *r, enum op_kind kind, uint32_t slot, size_t extra)
{
	size_t size = aligned(sizeof(struct op) + extra);
	if (size > ET_BATCH_BYTES) {
		return NULL;
	}
	if (r->current == NULL || r->current->used + size > ET_BATCH_BYTES) {
		struct et_batch *b = next_batch(r, kind != OP_MEDIA && kind != OP_META);
		if (b == NULL) {
			return NULL;
		}
		et_relay_flush(r);
		r->current = b;
	}
	struct op *op = (struct op *)(void *)(r->current->data + r->current->used);
	*op = (struct op){ .size = (uint32_t)(sizeof(*op) + extra), .slot = slot };
	op->kind = (uint8_t)kind;
	r->current->used += size;
	return op;
}

static int relay_open(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	struct op *op = reserve(arg, OP_OPEN, slot, sizeof(*facts));
	if (op == NULL) {
		return ET_ELIMIT;
	}
	op->flags = restored;
	memcpy(op + 1, facts, sizeof(*facts));
	return 0;
}

static int relay_stream(void *arg, uint32_t slot, const struct et_capture_stream *stream)
{
	struct op *op = reserve(arg, OP_STREAM, slot, sizeof(*stream));
	if (op == NULL) {
		return ET_ELIMIT;
	}
	memcpy(op + 1, stream, sizeof(*stream));
	return 0;
}

static int push_packet(struct et_relay *r, uint32_t slot, const struct et_media_packet *packet)
{
	struct op *op = reserve(r, OP_MEDIA, slot, packet->payload.size);
	if (op == NULL) {
		return ET_ELIMIT;
	}
	op->stream = packet->stream;
	op->payload_type = packet->payload_type;
	op->bits = (uint8_t)((packet->marker ? 1 : 0) | (packet->whole ? 2 : 0) |
			     (packet->rtcp ? 4 : 0));
	op->sequence = packet->sequence;
	op->timestamp = packet->timestamp;
	op->arrival_us = packet->arrival_us;
	memcpy(op + 1, packet->payload.data, packet->payload.size);
	return 0;
}

static int relay_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
		       const struct et_packet *packet)
{
	struct et_media_packet p = et_writer_packet(stream, rtp, packet);
	return push_packet(arg, slot, &p);
}

static int relay_rtcp(void *arg, uint32_t slot, uint32_t stream, const struct et_packet *packet)
{
	struct et_media_packet p = et_writer_rtcp(stream, packet);
	return push_packet(arg, slot, &p);
}

static int relay_meta(void *arg, uint32_t slot, struct et_view plain)
{
	struct op *op = reserve(arg, OP_META, slot, plain.size);
	if (op == NULL) {
		return ET_ELIMIT;
	}
	memcpy(op + 1, plain.data, plain.size);
	return 0;
}

static int relay_keys(void *arg, uint32_t slot, struct et_view plain)
{
	struct op *op = reserve(arg, OP_KEYS, slot, plain.size);
	if (op == NULL) {
		return ET_ELIMIT;
	}
	memcpy(op + 1, plain.data, plain.size);
	return 0;
}

static int relay_keep(void *arg, const struct et_keep *keep)
{
	struct op *op = reserve(arg, OP_KEEP, 0, sizeof(*keep));
	if (op == NULL) {
		return ET_ELIMIT;
	}
	memcpy(op + 1, keep, sizeof(*keep));
	return 0;
}

static int relay_late(void *arg, const struct et_late_keys *late, struct et_view plain)
{
	struct op *op = reserve(arg, OP_LATE, 0, sizeof(*late) + plain.size);
	if (op == NULL) {
		return ET_ELIMIT;
	}
	memcpy(op + 1, late, sizeof(*late));
	memcpy((uint8_t *)(op + 1) + sizeof(*late), plain.data, plain.size);
	return 0;
}

static int relay_session(void *arg, uint32_t slot, const struct et_capture_session *session)
{
	struct op *op = reserve(arg, OP_SESSION, slot, sizeof(*session));
	if (op == NULL) {
		return ET_ELIMIT;
	}
	memcpy(op + 1, session, sizeof(*session));
	return 0;
}

static int push_facts(struct et_relay *r, enum op_kind kind, uint32_t slot,
		      const struct et_facts *facts, const struct et_capture_stream *streams,
		      uint32_t count)
{
	size_t bytes = count * sizeof(*streams);
	struct op *op = reserve(r, kind, slot, sizeof(*facts) + bytes);
	if (op == NULL) {
		return ET_ELIMIT;
	}
	op->stream = count;
	memcpy(op + 1, facts, sizeof(*facts));
	if (bytes > 0) {
		memcpy((uint8_t *)(op + 1) + sizeof(*facts), streams, bytes);
	}
	return 0;
}

static int relay_update(void *arg, uint32_t slot, const struct et_facts *facts,
			const struct et_capture_stream *streams, uint32_t count)
{
	return push_facts(arg, OP_UPDATE, slot, facts, streams, count);
}

static int relay_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
		       const struct et_capture_stream *streams, uint32_t count)
{
	return opened ? push_facts(arg, OP_CLOSE, slot, facts, streams, count) : 0;
}

struct et_sink et_relay_sink(struct et_relay *r)
{
	return (struct et_sink){
		.arg = r,
		.open = relay_open,
		.stream = relay_stream,
		.media = relay_media,
		.rtcp = relay_rtcp,
		.meta = relay_meta,
		.keys = relay_keys,
		.keep = relay_keep,
		.late = relay_late,
		.session = relay_session,
		.update = relay_update,
		.close = relay_close,
	};
}

/* ---- The writer thread's side ---------------------------------------------------------------- */

static void run_media(struct et_writer *w, const struct op *op)
{
	struct et_media_packet packet = {
		.stream = op->stream,
		.marker = (op->bits & 1) != 0,
		.whole = (op->bits & 2) != 0,
		.rtcp = (op->bits & 4) != 0,
		.payload_type = op->payload_type,
		.sequence = op->sequence,
		.timestamp = op->timestamp,
		.arrival_us = op->arrival_us,
		.payload = { (const uint8_t *)(op + 1), op->size - sizeof(*op) },
	};
	et_writer_media(w, op->slot, &packet);
}

static void run_op(struct et_writer *w, const struct op *op)
{
	const void *extra = op + 1;
	const struct et_facts *facts = extra;
	const struct et_capture_stream *streams = (const void *)(facts + 1);
	switch ((enum op_kind)op->kind) {
	case OP_OPEN:
		et_writer_open(w, op->slot, facts, op->flags != 0);
		break;
	case OP_STREAM:
		et_writer_stream(w, op->slot, extra);
		break;
	case OP_MEDIA:
		run_media(w, op);
		break;
	case OP_META:
		et_writer_meta(w, op->slot, (struct et_view){ extra, op->size - sizeof(*op) });
		break;
	case OP_KEYS:
		et_writer_keys(w, op->slot, (struct et_view){ extra, op->size - sizeof(*op) });
		break;
	case OP_KEEP:
		et_writer_keep(w, extra);
		break;
	case OP_LATE:
		et_writer_late(
			w, extra,
			(struct et_view){ (const uint8_t *)extra + sizeof(struct et_late_keys),
					  op->size - sizeof(*op) - sizeof(struct et_late_keys) });
		break;
	case OP_SESSION:
		et_writer_session(w, op->slot, extra);
		break;
	case OP_UPDATE:
		et_writer_update(w, op->slot, facts, streams, op->stream);
		break;
	case OP_CLOSE:
		et_writer_close(w, op->slot, facts, streams, op->stream);
		break;
	default:
		et_unreachable();
	}
}

/* The next operations: what their packets will touch is fetched before the first of them is run, as
 * ahead.c does it on the other side. Returns where the next one begins. */
static size_t run_some(struct et_writer *w, struct et_batch *b, size_t at)
{
	struct op *ops[ET_ENGINE_BATCH];
	size_t count = 0;

	while (count < ET_ENGINE_BATCH && at < b->used) {
		ops[count] = (struct op *)(void *)(b->data + at);
		at += aligned(ops[count++]->size);
	}
	for (int step = 0; step < ET_SINK_STEPS; step++) {
		for (size_t i = 0; i < count; i++) {
			if (ops[i]->kind == OP_MEDIA) {
				et_writer_ahead(w, ops[i]->slot, ops[i]->stream, step);
			}
		}
	}
	for (size_t i = 0; i < count; i++) {
		run_op(w, ops[i]);
		if (ops[i]->kind == OP_KEYS || ops[i]->kind == OP_LATE) {
			explicit_bzero(ops[i], ops[i]->size);
		}
	}
	return at;
}

bool et_relay_run(struct et_relay *r, struct et_writer *w, int timeout_ms)
{
	bool closed = et_queue_is_closed(&r->full);
	struct et_queue_node *chain = et_queue_wait(&r->full, timeout_ms);
	if (chain == NULL) {
		return !closed;
	}
	while (chain != NULL) {
		struct et_batch *b = ET_CONTAINER_OF(chain, struct et_batch, node);
		chain = chain->next;
		for (size_t at = 0; at < b->used;) {
			at = run_some(w, b, at);
		}
		r->in_use--;
		int rc = et_queue_push(&r->empty, &b->node, 0);
		et_assert(rc == 0);
	}
	return true;
}

size_t et_relay_used(const struct et_relay *r)
{
	return (size_t)r->in_use * sizeof(struct et_batch);
}

size_t et_relay_limit(const struct et_relay *r)
{
	return (size_t)r->count * sizeof(struct et_batch);
}
