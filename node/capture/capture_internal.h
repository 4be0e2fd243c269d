/* A live recorder, for the files that it is made of:
 *
 *   capture.c   its threads: start, stop, the sync, what they leave for each other
 *   intake.c    what it listens to
 *   command.c   what others ask of it while it runs: pauses, calls to keep
 *
 * Threads: as each field says; what stands under the mutex, any. */
#ifndef ET_NODE_CAPTURE_CAPTURE_INTERNAL_H
#define ET_NODE_CAPTURE_CAPTURE_INTERNAL_H

#include "node/capture/intake_internal.h"
#include "node/capture/relay_internal.h"

struct et_capture_command; /* command.c */

struct et_capture {
	struct et_engine *engine;
	struct et_writer *writer;
	struct et_relay relay;
	bool has_relay;
	struct et_intake intake;      /* of the ring thread */
	int64_t late_us;	      /* monotonic: when secrets of ended calls were looked for */
	et_capture_event_fn on_event; /* the caller's */
	void *arg;

	struct et_srs *srs;	    /* owned: of the ring thread; NULL: no recording server */
	struct et_keylog *keylog;   /* owned: of the ring thread; NULL: no key log is named */
	struct et_follow *follow;   /* owned: between sync thread and ring thread */
	struct et_keysock *keysock; /* owned; NULL: none */
	struct et_srtp_ring *given; /* owned: of the ring thread; NULL without keysock */

	struct et_agents *agents;		 /* owned: of the ring thread */
	_Atomic(struct et_agents *) agents_new;	 /* owned: not taken yet; NULL: nothing new */
	_Atomic(struct et_tls_server *) tls_new; /* owned: as that */

	pthread_t ring_thread;
	pthread_t writer_thread;
	pthread_t sync_thread;
	int threads; /* how many were started */
	_Atomic bool stopping;
	_Atomic int source_code; /* the last source that was lost */
	_Atomic uint64_t kernel_drops;
	_Atomic bool finished;
	_Atomic bool has_asked; /* something is in `asked` */

	pthread_mutex_t mutex;		    /* over what follows */
	pthread_cond_t wake;		    /* of the sync thread */
	pthread_cond_t answered;	    /* of those who asked */
	struct et_capture_metrics metrics;  /* the ring thread's part */
	struct et_buffer table;		    /* a call table to be written; empty: none */
	struct et_capture_command *asked;   /* owned: for the ring thread */
	struct et_capture_command *unsaved; /* owned: in force, and in `table` */
	struct et_capture_command *kept;    /* owned: calls that were kept, and not synced yet */
	bool no_more;			    /* nobody takes `asked` any more */
	char source_text[256];
	bool sync_stop;
	_Atomic bool draining; /* new calls are not recorded */
};

/* command.c */

/* The ring thread: do what was asked since the last time. */
void et_commands_run(struct et_capture *c);
/* Answer a list of them, which gives them up. Any thread, not under the mutex. */
void et_commands_answer(struct et_capture *c, struct et_capture_command *list, int code);
/* The same of calls that are kept, or will be; the ring thread is told, too. */
void et_commands_kept(struct et_capture *c, struct et_capture_command *list, int code);
/* Put `more` (or NULL) in front of *list. */
void et_commands_join(struct et_capture_command **list, struct et_capture_command *more);
/* The ring thread is gone: what waits for it, and all that comes, is answered with ET_ECLOSED. */
void et_commands_close(struct et_capture *c);

/* capture.c: counters for others to read, and the call table when it changed. `unsaved` (or NULL)
 * is given away: commands that this table is to make durable. The ring thread, or nobody. */
void et_capture_publish(struct et_capture *c, bool with_table, struct et_capture_command *unsaved);

#endif
