/* From the ring thread to the writer thread: a sink that writes operations into batches, and the
 * reader of batches. Batches are a fixed number; the last ones are kept for what must not be lost
 * (open, close, update), so that media is dropped first.
 *
 * Threads: the sink's functions and et_relay_flush() the ring thread; et_relay_run() the writer
 * thread; et_relay_used() and et_relay_limit() any. */
#ifndef ET_NODE_CAPTURE_RELAY_INTERNAL_H
#define ET_NODE_CAPTURE_RELAY_INTERNAL_H

#include "node/base/queue.h"
#include "node/capture/writer_internal.h"

enum { ET_BATCH_BYTES = 128 * 1024 };

struct et_batch {
	struct et_queue_node node;
	size_t used;
	uint8_t data[ET_BATCH_BYTES] __attribute__((aligned(8)));
};

struct et_relay {
	struct et_queue full;	   /* ring to writer */
	struct et_queue empty;	   /* writer to ring */
	struct et_batch **batches; /* owned: all of them */
	uint32_t count;
	_Atomic uint32_t in_use;     /* batches that are not empty */
	struct et_queue_node *spare; /* the ring thread's own empty ones */
	uint32_t spare_count;
	struct et_batch *current;
	bool patient; /* a file is read: wait for room instead of dropping */
};

int et_relay_init(struct et_relay *r, size_t bytes, bool patient,
		  struct et_error *reterr) ET_MUST_CHECK;
void et_relay_release(struct et_relay *r);
struct et_sink et_relay_sink(struct et_relay *r);

/* Give away what is begun. */
void et_relay_flush(struct et_relay *r);
/* No more comes. */
void et_relay_close(struct et_relay *r);

/* Run what is there, waiting up to `timeout_ms`. False: closed and empty. */
bool et_relay_run(struct et_relay *r, struct et_writer *w, int timeout_ms);
size_t et_relay_used(const struct et_relay *r);	 /* bytes */
size_t et_relay_limit(const struct et_relay *r); /* bytes: of all batches */

#endif
