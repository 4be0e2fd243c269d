/* Replication as this node tells it to the others, with its status: what waits for it to fetch, why
 * it does not move, which limits it heeds, how its scrub is doing. Any node can so answer for the
 * whole cluster. And what it does about its copies when it is asked (ask.c).
 *
 * Threads: the loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "replication/limit/limit.h"

#define IDS_MAX 1000	  /* recordings of one question */
#define TAIL_LAG_MS 30000 /* TAIL_LAG */

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

static json_t *tails_json(const struct et_sync_tails *t)
{
	json_t *o = json_object();

	et_json_set(o, "on", json_boolean(t->on));
	et_json_set(o, "tails", et_json_u64(t->count));
	et_json_set(o, "bytes", et_json_u64(t->bytes));
	et_json_set(o, "lag_ms", json_integer(t->lag_ms));
	et_json_set(o, "kept", et_json_u64(t->kept));
	et_json_set(o, "kept_bytes", et_json_u64(t->kept_bytes));
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
	et_json_set(o, "tails", tails_json(&st->tails));
	et_json_set(object, "replication", o);
	const struct {
		bool on;
		const char *code;
	} table[] = { { st->limits_error[0] != '\0', "LIMITS_UNREAD" },
		      { st->tails.lag_ms > TAIL_LAG_MS, "TAIL_LAG" },
		      { scrub.error[0] != '\0', "SCRUB_WAITS" },
		      { scrub.late, "SCRUB_LATE" } };
	for (size_t i = 0; i < ET_ARRAY_SIZE(table); i++) {
		if (table[i].on) {
			et_json_add(codes, json_string(table[i].code));
		}
	}
}

/* ---- What this node is asked ---- */

static int do_repair(struct et_daemon *d, const json_t *question)
{
	const json_t *list = json_object_get(question, "recordings");
	size_t count = json_array_size(list);
	uint8_t *ids = count <= IDS_MAX ? calloc(count + 1, 16) : NULL;

	if (ids == NULL) {
		return count > IDS_MAX ? ET_ELIMIT : -ENOMEM;
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

static int do_what(struct et_daemon *d, const json_t *question, bool *ret_done)
{
	const char *what = et_json_get_text(question, "what", "");
	int64_t rate = et_json_get_int(question, "rate", 0);

	*ret_done = true;
	if (strcmp(what, "repair") == 0) {
		return do_repair(d, question);
	}
	if (strcmp(what, "scrub-stop") == 0) {
		*ret_done = et_sync_scrub_stop(d->sync);
		return 0;
	}
	if (rate < 0) {
		return ET_EMALFORMED;
	}
	et_sync_scrub_start(d->sync, (uint64_t)rate, et_json_get_text(question, "by", ""));
	return 0;
}

int daemon_do_replication(struct et_daemon *d, const json_t *question, json_t **ret,
			  struct et_error *reterr)
{
	struct et_sync_scrub scrub;
	bool done = false;

	if (d->sync == NULL || d->phase == DAEMON_STOPPING) {
		(void)et_fail_plain(reterr, ET_ECLOSED, "%s moves no media now", d->config.name);
		return et_fail_next(reterr, "evertape node show %s", d->config.name), ET_ECLOSED;
	}
	int rc = do_what(d, question, &done);
	if (rc < 0) {
		return et_fail(reterr, rc, "%s", d->config.name);
	}
	et_sync_scrub_status(d->sync, &scrub);
	*ret = json_object();
	et_json_set(*ret, "done", json_boolean(done));
	et_json_set(*ret, "pass", et_json_u64(scrub.pass));
	return 0;
}
