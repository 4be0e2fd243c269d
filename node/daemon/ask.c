/* What an operator asks of one node, whichever node he is at.
 *
 *   worker ─▶ loop ─┬─ this node ─────────▶ answered ─▶ worker
 *                   └─ a member: ET_RPC_ASK ─▶ answered there ─▶ worker
 *
 *   question := {"what": "config"}               settings in force, with their sources
 *             | {"what": "capture", "calls": N}  what capture does now, N calls of it at most
 *             | {"what": "renew"}                a new certificate, and the operator's read again
 *             | {"what": "scrub", "rate": N, "by": TEXT}  a pass of N bytes/s; 0: as configured
 *             | {"what": "scrub-stop"}           end it
 *             | {"what": "repair", "recordings": [ID...]}  at once what waits after a failure,
 *                                                and what of quarantine verifies; []: of all
 *   answer   := an object; or with a negative code {"why", "next"}
 *
 * Any member may ask: what is answered is no secret, and a renewal is refused more than once a
 * minute. Who may ask the API is the API's business, and so is the audit log. Possible failure
 * modes are
 *   - no such member, or it does not answer in time: ET_EUNREACHABLE;
 *   - a build that knows no questions: ET_EUNSUPPORTED;
 *   - a renewal that fails: the reason of the node that tried it.
 *
 * Threads: daemon_ask() on API workers; the rest on the loop. */
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/text/json.h"
#include "node/tls/rpc.h"

#define QUESTION_MAX (64 * 1024) /* bytes: a repair names 1000 recordings */
#define LOOK_TIMEOUT_MS 3000
#define RENEW_TIMEOUT_MS 30000
#define RENEW_EVERY_US (INT64_C(60) * 1000000)

/* `answer` is given away; NULL with a negative code, which `why` explains. */
typedef void (*answer_fn)(void *arg, int code, json_t *answer, const struct et_error *why);

/* ---- Renewal ---- */

struct renewing {
	struct et_daemon *d;
	int64_t before_us;
	int64_t after_us;
	answer_fn fn;
	void *arg;
};

/* The operator's certificate for HTTPS, if there is one, was read again. */
static void on_certificate(void *arg, int code, int64_t not_after_us, const char *why)
{
	struct renewing *r = arg;
	json_t *o = json_object();
	json_t *operators = json_null();

	if (code != ET_ENOTFOUND) {
		operators = json_object();
		et_json_set(operators, "file", et_json_text(r->d->config.tls.api_certificate));
		et_json_set(operators, "reloaded", json_boolean(code == 0));
		et_json_set(operators, "not_after", daemon_time_json(not_after_us));
		et_json_set(operators, "why", et_json_text(code < 0 ? why : ""));
	}
	et_json_set(o, "node", et_json_text(r->d->config.name));
	et_json_set(o, "old_not_after", daemon_time_json(r->before_us));
	et_json_set(o, "new_not_after", daemon_time_json(r->after_us));
	et_json_set(o, "api_certificate", operators);
	r->fn(r->arg, 0, o, NULL);
	free(r);
}

static void on_renewed(void *arg, int code, const char *why)
{
	struct renewing *r = arg;
	struct et_daemon *d = r->d;
	struct et_keeper_health health = { 0 };
	struct et_error e = { 0 };

	if (code < 0) {
		(void)et_fail_plain(&e, code, "%s: %.300s", d->config.name, why);
		(void)et_fail_next(&e, "evertape status");
		r->fn(r->arg, code, NULL, &e);
		free(r);
		return;
	}
	d->renewed_us = et_clock_mono_us();
	if (d->keeper != NULL) {
		et_keeper_health(d->keeper, &health);
	}
	r->after_us = health.cert_not_after_us;
	daemon_read_certificate(d, on_certificate, r);
}

/* May it be renewed now? */
static int renewal_check(const struct et_daemon *d, struct et_error *reterr)
{
	int64_t since_us = et_clock_mono_us() - d->renewed_us;

	if (d->keeper == NULL) {
		return et_fail_plain(reterr, ET_EUNINITIALISED, "%s is no member of a cluster now",
				     d->config.name);
	}
	if (et_keeper_is_renewing(d->keeper)) {
		return et_fail_plain(reterr, ET_EBUSY, "%s is renewing its certificate right now",
				     d->config.name);
	}
	if (d->renewed_us != 0 && since_us < RENEW_EVERY_US) {
		(void)et_fail_plain(reterr, ET_EBUSY,
				    "%s has renewed its certificate %d s ago: once a minute is "
				    "enough",
				    d->config.name, (int)(since_us / 1000000));
		return et_fail_next(reterr, "evertape cert list");
	}
	return 0;
}

static void renew(struct et_daemon *d, answer_fn fn, void *arg)
{
	struct et_keeper_health health = { 0 };
	struct et_error e = { 0 };
	struct renewing *r = NULL;
	int rc = renewal_check(d, &e);

	if (rc == 0) {
		r = calloc(1, sizeof(*r));
		rc = r == NULL ? et_fail(&e, -ENOMEM, "renew") : 0;
	}
	if (rc < 0) {
		fn(arg, rc, NULL, &e);
		return;
	}
	et_keeper_health(d->keeper, &health);
	*r = (struct renewing){
		.d = d, .before_us = health.cert_not_after_us, .fn = fn, .arg = arg
	};
	et_keeper_renew(d->keeper, on_renewed, r);
}

/* ---- Answering ---- */

/* `fn` runs exactly once, perhaps inside the call. */
static void answer(struct et_daemon *d, const json_t *question, answer_fn fn, void *arg)
{
	const char *what = et_json_get_text(question, "what", "");
	int64_t calls = et_json_get_int(question, "calls", 0);
	struct et_error e = { 0 };

	if (strcmp(what, "config") == 0) {
		fn(arg, 0, daemon_config_json(d), NULL);
	} else if (strcmp(what, "capture") == 0) {
		calls = calls < 0 ? 0 : calls > ET_API_CALLS_MAX ? ET_API_CALLS_MAX : calls;
		fn(arg, 0, daemon_capture_json(d, (size_t)calls), NULL);
	} else if (strcmp(what, "renew") == 0) {
		renew(d, fn, arg);
	} else if (strcmp(what, "scrub") == 0 || strcmp(what, "scrub-stop") == 0 ||
		   strcmp(what, "repair") == 0) {
		json_t *o = NULL;
		int rc = daemon_do_replication(d, question, &o, &e);
		fn(arg, rc, o, &e);
	} else {
		int rc = et_fail_plain(&e, ET_EUNSUPPORTED,
				       "evertaped %s of %s does not know the question", d->version,
				       d->config.name);
		fn(arg, rc, NULL, &e);
	}
}

static void on_answered_for_peer(void *arg, int code, json_t *o, const struct et_error *why)
{
	struct et_buffer text = { 0 };

	if (o == NULL) {
		o = json_object();
		et_json_set(o, "why", et_json_text(why != NULL ? why->text : ""));
		et_json_set(o, "next", et_json_text(why != NULL ? why->next : ""));
	}
	et_json_print(o, false, &text);
	json_decref(o);
	et_rpc_reply(arg, text.failed ? -ENOMEM : code, text.data, text.size);
	et_buffer_release(&text);
}

static void on_question(void *arg, const struct et_tls_peer *peer, struct et_view body,
			struct et_rpc_reply *reply)
{
	struct et_daemon *d = arg;
	json_t *question = NULL;

	(void)peer;
	if (d->phase == DAEMON_STOPPING) {
		et_rpc_reply(reply, ET_ECLOSED, NULL, 0);
		return;
	}
	int rc = et_json_parse("question", body.data, body.size, QUESTION_MAX, &question, NULL);
	if (rc < 0) {
		et_rpc_reply(reply, rc, NULL, 0);
		return;
	}
	answer(d, question, on_answered_for_peer, reply);
	json_decref(question);
}

void daemon_serve_questions(struct et_daemon *d)
{
	et_rpc_serve(d->tls, ET_RPC_ASK, on_question, d);
}

/* ---- Asking ---- */

struct asking {
	struct et_daemon *d;
	uint64_t node;
	const char *address;
	const json_t *question;
	json_t *answer;	       /* owned by who asks, after it was woken: of this node, */
	struct et_buffer text; /* owned: or, of another, as it came: he reads it, not the loop */
	struct daemon_waiter waiter;
};

static void on_answered(void *arg, int code, json_t *o, const struct et_error *why)
{
	struct asking *a = arg;

	a->answer = o;
	if (why != NULL) {
		a->waiter.error = *why;
	}
	daemon_waiter_wake(&a->waiter, code);
}

static void on_reply(void *arg, int code, struct et_view body)
{
	struct asking *a = arg;

	et_buffer_add(&a->text, body.data, body.size);
	code = code == ET_EUNKNOWN ? ET_EUNREACHABLE : code; /* asked, and no answer */
	daemon_waiter_wake(&a->waiter, code == 0 && a->text.failed ? -ENOMEM : code);
}

static void ask_on_loop(void *arg)
{
	struct asking *a = arg;
	struct et_daemon *d = a->d;
	struct et_buffer text = { 0 };
	bool renews = strcmp(et_json_get_text(a->question, "what", ""), "renew") == 0;

	if (a->node == 0 || a->node == d->identity.node) {
		answer(d, a->question, on_answered, a);
		return;
	}
	et_json_print(a->question, false, &text);
	if (d->tls == NULL || text.failed) {
		daemon_waiter_wake(&a->waiter, d->tls == NULL ? ET_EUNINITIALISED : -ENOMEM);
	} else {
		et_rpc_call(d->tls, a->node, a->address, ET_RPC_ASK, text.data, text.size,
			    renews ? RENEW_TIMEOUT_MS : LOOK_TIMEOUT_MS, on_reply, a);
	}
	et_buffer_release(&text);
}

/* What another node said, of which nothing is believed but that it is JSON of bounded size: an
 * answer, or with `code` < 0 why there is none. */
static int answer_read(struct asking *a, int code)
{
	ET_CLEANUP(et_json_freep) json_t *o = NULL;
	struct et_error *e = &a->waiter.error;

	int rc = a->text.size > 0 ? et_json_parse("answer", a->text.data, a->text.size,
						  ET_RPC_BODY_MAX, &o, NULL)
				  : 0;
	if (code == 0 && rc == 0 && json_is_object(o)) {
		a->answer = ET_TAKE(o);
		return 0;
	}
	if (code == 0) {
		(void)et_fail_plain(e, ET_EMALFORMED, "node %llu answered what is no JSON object",
				    (unsigned long long)a->node);
		return et_fail_next(e, "evertape node list");
	}
	const char *why = et_json_get_text(o, "why", "");
	(void)et_fail_plain(e, code, "%.400s", *why != '\0' ? why : et_strerror(code));
	return et_fail_next(e, "%.180s", et_json_get_text(o, "next", "evertape node list"));
}

int daemon_ask(void *arg, uint64_t node, const char *address, const json_t *question, json_t **ret,
	       struct et_error *reterr)
{
	struct asking a = { .d = arg, .node = node, .address = address, .question = question };

	daemon_waiter_init(&a.waiter);
	int rc = daemon_on_loop(arg, ask_on_loop, &a);
	rc = rc < 0 ? rc : daemon_waiter_wait(&a.waiter);
	if (a.answer == NULL && a.waiter.error.code == 0) {
		rc = answer_read(&a, rc);
	}
	if (rc < 0 && reterr != NULL) {
		*reterr = a.waiter.error;
	}
	et_buffer_release(&a.text);
	daemon_waiter_destroy(&a.waiter);
	*ret = a.answer;
	return rc;
}
