/* Replication as this node tells it to the others, with its status: what waits for it to fetch, why
 * it does not move, which limits it heeds, how its scrub is doing. Any node can so answer for the
 * whole cluster.
 *
 * And what one node asks of another (ET_RPC_SYNC): a JSON object of at most ASK_MAX bytes.
 *   {"do": "scrub", "rate": BYTES (0: as configured), "by": TEXT}   begin a pass, or change its
 * rate
 *   {"do": "scrub-stop"}
 *   {"do": "repair", "recordings": [UUID...]}   ([]: all) try at once what waits after a failure,
 *                                               and what quarantine has that verifies again
 * The answer is {"done": BOOL, "pass": N}. Who may ask is the API's to say, and the audit log's to
 * keep, before; members believe each other.
 *
 * Threads: the loop, but for daemon_replicate(): API workers. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/tls/rpc.h"
#include "replication/limit/limit.h"

#define ASK_MAX (64 * 1024) /* bytes of a question */
#define ASK_IDS_MAX 1000    /* recordings of one */
#define ANSWER_MAX 4096
#define ASK_TIMEOUT_MS 5000

static json_t *queue_rows(const struct et_sync_queue *q)
{
	json_t *rows = json_array();

	for (int k = 0; k < ET_SYNC_CLASSES; k++) {
		for (int w = 0; w < ET_SYNC_WHYS; w++) {
			const struct et_sync_queued *queued = &q->rows[k][w];
			if (queued->segments == 0) {
				continue;
			}
			json_t *row = json_object();
			et_json_set(row, "class", json_string(et_limit_class_name(k)));
			et_json_set(row, "why", json_string(et_sync_why_name((enum et_sync_why)w)));
			et_json_set(row, "segments", et_json_u64(queued->segments));
			et_json_set(row, "bytes", et_json_u64(queued->bytes));
			et_json_set(row, "oldest_us", json_integer(queued->oldest_us));
			et_json_set(row, "bytes_per_s", et_json_u64(q->bytes_per_s[k]));
			et_json_add(rows, row);
		}
	}
	return rows;
}

static json_t *queue_oldest(const struct et_sync_queue *q)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < q->oldest_count; i++) {
		const struct et_sync_waiting *w = &q->oldest[i];
		char id[ET_UUID_TEXT_SIZE];
		char segment[32];
		json_t *o = json_object();
		et_uuid_format(w->recording, id);
		(void)snprintf(segment, sizeof(segment), "g%u-s%u", w->generation, w->segment);
		et_json_set(o, "recording", json_string(id));
		et_json_set(o, "segment", json_string(segment));
		et_json_set(o, "class", json_string(et_limit_class_name((int)w->klass)));
		et_json_set(o, "why", json_string(et_sync_why_name(w->why)));
		et_json_set(o, "bytes", et_json_u64(w->size_bytes));
		et_json_set(o, "done_bytes", et_json_u64(w->done_bytes));
		et_json_set(o, "sealed_us", json_integer(w->sealed_us));
		et_json_set(o, "from", et_json_u64(w->from));
		et_json_set(o, "code", json_string(w->code < 0 ? et_errname(w->code) : ""));
		et_json_set(o, "detail", json_string(w->code < 0 ? et_strerror(w->code) : ""));
		et_json_add(list, o);
	}
	return list;
}

static json_t *scrub_json(const struct et_sync_scrub *st)
{
	char id[ET_UUID_TEXT_SIZE];
	json_t *o = json_object();

	et_uuid_format(st->at, id);
	et_json_set(o, "running", json_boolean(st->running));
	et_json_set(o, "pass", et_json_u64(st->pass));
	et_json_set(o, "by", et_json_text(st->by));
	et_json_set(o, "begun_us", json_integer(st->begun_us));
	et_json_set(o, "ended_us", json_integer(st->ended_us));
	et_json_set(o, "next_us", json_integer(st->next_us));
	et_json_set(o, "rate", et_json_u64(st->rate));
	et_json_set(o, "copies", et_json_u64(st->copies));
	et_json_set(o, "bytes", et_json_u64(st->bytes));
	et_json_set(o, "bad", et_json_u64(st->bad));
	et_json_set(o, "at", json_string(id));
	et_json_set(o, "error", et_json_text(st->error));
	return o;
}

void daemon_add_replication(const struct et_daemon *d, const struct et_sync_status *st,
			    json_t *object, json_t *codes)
{
	struct et_sync_scrub scrub;
	json_t *o = json_object();

	et_sync_scrub_status(d->sync, &scrub);
	et_json_set(o, "queue", queue_rows(&st->queue));
	et_json_set(o, "oldest", queue_oldest(&st->queue));
	et_json_set(o, "sync_rate", et_json_u64(d->config.limits.sync_rate_bytes));
	et_json_set(o, "limits_revision", json_integer(st->limits_revision));
	et_json_set(o, "limits_error", et_json_text(st->limits_error));
	et_json_set(o, "scrub", scrub_json(&scrub));
	et_json_set(object, "replication", o);
	const struct {
		bool on;
		const char *code;
	} table[] = { { st->limits_error[0] != '\0', "LIMITS_UNREAD" },
		      { scrub.error[0] != '\0', "SCRUB_WAITS" },
		      { scrub.late, "SCRUB_LATE" } };
	for (size_t i = 0; i < ET_ARRAY_SIZE(table); i++) {
		if (table[i].on) {
			et_json_add(codes, json_string(table[i].code));
		}
	}
}

/* ---- What this node is asked ---- */

static int do_repair(struct et_daemon *d, const json_t *ask)
{
	const json_t *list = json_object_get(ask, "recordings");
	size_t count = json_array_size(list);
	uint8_t *ids = count <= ASK_IDS_MAX ? calloc(count + 1, 16) : NULL;

	if (ids == NULL) {
		return count > ASK_IDS_MAX ? ET_ELIMIT : -ENOMEM;
	}
	int rc = json_is_array(list) ? 0 : ET_EMALFORMED;
	for (size_t i = 0; i < count && rc == 0; i++) {
		const char *text = json_string_value(json_array_get(list, i));
		rc = text != NULL && et_uuid_parse(text, ids + i * 16) ? 0 : ET_EMALFORMED;
	}
	rc = rc < 0 ? rc : et_sync_repair(d->sync, ids, count);
	free(ids);
	return rc;
}

static int do_what(struct et_daemon *d, const json_t *ask, bool *ret_done)
{
	const char *what = et_json_get_text(ask, "do", "");
	int64_t rate = et_json_get_int(ask, "rate", 0);

	*ret_done = true;
	if (d->sync == NULL || d->phase == DAEMON_STOPPING) {
		return ET_ECLOSED;
	}
	if (strcmp(what, "scrub") == 0 && rate >= 0) {
		et_sync_scrub_start(d->sync, (uint64_t)rate, et_json_get_text(ask, "by", ""));
		return 0;
	}
	if (strcmp(what, "scrub-stop") == 0) {
		*ret_done = et_sync_scrub_stop(d->sync);
		return 0;
	}
	return strcmp(what, "repair") == 0 ? do_repair(d, ask) : ET_EUNSUPPORTED;
}

/* The answer is added to `ret`. */
static int do_ask(struct et_daemon *d, struct et_view body, struct et_buffer *ret)
{
	ET_CLEANUP(et_json_freep) json_t *ask = NULL;
	ET_CLEANUP(et_json_freep) json_t *answer = json_object();
	struct et_sync_scrub scrub;
	bool done = false;

	int rc = et_json_parse("question", body.data, body.size, ASK_MAX, &ask, NULL);
	rc = rc < 0 ? rc : do_what(d, ask, &done);
	if (rc < 0) {
		return rc;
	}
	et_sync_scrub_status(d->sync, &scrub);
	et_json_set(answer, "done", json_boolean(done));
	et_json_set(answer, "pass", et_json_u64(scrub.pass));
	et_json_print(answer, false, ret);
	return ret->failed ? -ENOMEM : 0;
}

static void on_ask(void *arg, const struct et_tls_peer *peer, struct et_view body,
		   struct et_rpc_reply *reply)
{
	struct et_buffer answer = { 0 };

	(void)peer;
	int rc = do_ask(arg, body, &answer);
	et_rpc_reply(reply, rc, rc == 0 ? answer.data : NULL, rc == 0 ? answer.size : 0);
	et_buffer_release(&answer);
}

void daemon_serve_replication(struct et_daemon *d)
{
	et_rpc_serve(d->tls, ET_RPC_SYNC, on_ask, d);
}

/* ---- Asking ---- */

struct asking {
	struct et_daemon *daemon;
	uint64_t node;
	struct et_buffer body; /* owned */

	pthread_mutex_t mutex;
	pthread_cond_t answered;
	bool done;
	int code;
	struct et_buffer answer; /* owned */
};

static void asking_end(struct asking *a, int code)
{
	(void)pthread_mutex_lock(&a->mutex);
	a->code = code;
	a->done = true;
	(void)pthread_cond_signal(&a->answered);
	(void)pthread_mutex_unlock(&a->mutex);
}

static void on_answer(void *arg, int code, struct et_view body)
{
	struct asking *a = arg;

	if (code == 0 && body.size <= ANSWER_MAX) {
		et_buffer_add(&a->answer, body.data, body.size);
	}
	asking_end(a, code);
}

static void ask_on_loop(void *arg)
{
	struct asking *a = arg;
	struct et_daemon *d = a->daemon;
	const struct et_view body = { a->body.data, a->body.size };
	Et__Node *node = NULL;

	if (d->tls == NULL || d->state == NULL || d->phase == DAEMON_STOPPING) {
		asking_end(a, ET_ECLOSED);
		return;
	}
	if (a->node == d->identity.node) {
		asking_end(a, do_ask(d, body, &a->answer));
		return;
	}
	struct et_state_view *view = et_state_view_open(d->state);
	int rc = view == NULL ? -ENOMEM : et_state_get_node(view, a->node, &node);
	(void)et_state_view_close(view);
	if (rc < 0) {
		asking_end(a, rc);
		return;
	}
	et_rpc_call(d->tls, node->id, node->address, ET_RPC_SYNC, body.data, body.size,
		    ASK_TIMEOUT_MS, on_answer, a);
	et__node__free_unpacked(node, NULL);
}

static int ask_wait(struct asking *a, json_t **ret, struct et_error *reterr)
{
	int rc = daemon_on_loop(a->daemon, ask_on_loop, a);

	if (rc < 0) {
		return et_fail(reterr, rc, "ask node %llu", (unsigned long long)a->node);
	}
	(void)pthread_mutex_lock(&a->mutex);
	while (!a->done) { /* The call ends by its own timeout. */
		(void)pthread_cond_wait(&a->answered, &a->mutex);
	}
	(void)pthread_mutex_unlock(&a->mutex);
	rc = a->code;
	if (rc == 0) {
		rc = et_json_parse("answer", a->answer.data, a->answer.size, ANSWER_MAX, ret, NULL);
	}
	return rc < 0 ? et_fail(reterr, rc, "ask node %llu", (unsigned long long)a->node) : 0;
}

int daemon_replicate(void *arg, uint64_t node, const json_t *ask, json_t **ret,
		     struct et_error *reterr)
{
	struct asking a = { .daemon = arg, .node = node };

	et_json_print(ask, false, &a.body);
	(void)pthread_mutex_init(&a.mutex, NULL);
	(void)pthread_cond_init(&a.answered, NULL);
	int rc = a.body.failed ? et_fail(reterr, -ENOMEM, "ask") : ask_wait(&a, ret, reterr);
	(void)pthread_cond_destroy(&a.answered);
	(void)pthread_mutex_destroy(&a.mutex);
	et_buffer_release(&a.body);
	et_buffer_release(&a.answer);
	return rc;
}
