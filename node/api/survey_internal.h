/* Where sealed segments lie, counted by the set of nodes that hold them: what `survives` needs.
 *
 * Counting reads every copy (it grows with the catalogue), so it is done beside the requests, by a
 * thread of its own that ends when it is through, and its result is kept until copies went away or
 * new ones came; then it is counted again when somebody asks, but never for more than a twentieth
 * of the time.
 *
 * Threads: any worker asks; the counting thread meets them under `mutex`. */
#ifndef ET_NODE_API_SURVEY_INTERNAL_H
#define ET_NODE_API_SURVEY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/api/survives_internal.h"
#include "raft/state/state.h"

struct survey_result {
	bool complete;			   /* everything was counted: what follows is the whole */
	uint64_t index;			   /* as of this log index */
	uint64_t segments;		   /* that had been opened by then */
	uint64_t copies;		   /* verified, at members and targets */
	uint64_t nodes[SURVIVE_NODES_MAX]; /* ids, ascending: the bits of `places` */
	size_t node_count;
	struct survive_place *places; /* owned */
	size_t place_count;
};

/* Count, here and now. `stop` ends it early (-ECANCELED). The caller releases *ret. */
int survey_count(const struct et_state_view *v, const atomic_bool *stop,
		 struct survey_result *ret) ET_MUST_CHECK;
void survey_release(struct survey_result *r);

struct survey {
	pthread_mutex_t mutex; /* for what follows */
	pthread_cond_t counted;
	pthread_t thread;
	bool started; /* the thread is to be joined */
	bool running;
	int64_t began_us, ended_us; /* monotonic: of the last count */
	struct survey_result last;  /* owned */
	struct et_state *state;	    /* borrowed: of the running count */
	atomic_bool stop;
};

void survey_init(struct survey *s);
/* The last count that still holds for `v`, with places of its own; complete is false when there is
 * none yet. Begins a count if that is due, and waits for it up to 300 ms. */
int survey_get(struct survey *s, struct et_state *state, const struct et_state_view *v,
	       struct survey_result *ret) ET_MUST_CHECK;
void survey_stop(struct survey *s); /* waits for the thread; nothing is counted from then on */
void survey_end(struct survey *s);

#endif
