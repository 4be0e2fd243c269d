/* A call's life, and how workers answer it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

struct api_call *api_call_new(struct et_api *api)
{
	struct api_call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		return NULL;
	}
	if (pthread_mutex_init(&call->mutex, NULL) != 0) {
		free(call);
		return NULL;
	}
	if (pthread_cond_init(&call->taken, NULL) != 0) {
		(void)pthread_mutex_destroy(&call->mutex);
		free(call);
		return NULL;
	}
	if (pthread_cond_init(&call->came, NULL) != 0) {
		(void)pthread_cond_destroy(&call->taken);
		(void)pthread_mutex_destroy(&call->mutex);
		free(call);
		return NULL;
	}
	call->api = api;
	call->body.secret = true;
	call->length = -1;
	call->read = "local";
	atomic_store(&call->refs, 1);
	return call;
}

void api_call_ref(struct api_call *call)
{
	(void)atomic_fetch_add(&call->refs, 1);
}

void api_call_unref(struct api_call *call)
{
	if (atomic_fetch_sub(&call->refs, 1) > 1) {
		return;
	}
	api_pieces_release(&call->out);
	api_pieces_release(&call->in);
	et_buffer_release(&call->body);
	(void)et_state_view_close(call->view);
	(void)pthread_cond_destroy(&call->came);
	(void)pthread_cond_destroy(&call->taken);
	(void)pthread_mutex_destroy(&call->mutex);
	explicit_bzero(call, sizeof(*call));
	free(call);
}

void api_call_gone(struct api_call *call)
{
	call->wsi = NULL;
	(void)pthread_mutex_lock(&call->mutex);
	call->gone = true;
	(void)pthread_cond_signal(&call->taken);
	(void)pthread_cond_signal(&call->came);
	(void)pthread_mutex_unlock(&call->mutex);
}

/* Once until it has looked. */
void api_notify(struct api_call *call)
{
	if (call->queued_ready || call->gone) {
		return;
	}
	call->queued_ready = true;
	api_call_ref(call);
	if (et_queue_push(&call->api->ready, &call->ready, 1) < 0) {
		call->queued_ready = false;
		(void)atomic_fetch_sub(&call->refs, 1); /* the worker holds another */
	}
}

void api_header(struct api_call *call, const char *name, const char *fmt, ...)
{
	et_assert(call->header_count < API_HEADERS_MAX);
	struct api_header *h = &call->headers[call->header_count++];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(h->value, sizeof(h->value), fmt, ap);
	va_end(ap);
	h->name = name;
	for (char *p = h->value; *p != '\0'; p++) { /* a header is one line of ASCII */
		if ((uint8_t)*p < 0x20 || (uint8_t)*p > 0x7e) {
			*p = '?';
		}
	}
}

void api_begin(struct api_call *call, unsigned status, const char *type, int64_t length)
{
	(void)pthread_mutex_lock(&call->mutex);
	et_assert(!call->begun);
	call->begun = true;
	call->status = status;
	(void)snprintf(call->type, sizeof(call->type), "%s", type);
	call->length = length;
	call->held = false; /* stream.c: what is answered reads no more */
	api_notify(call);
	(void)pthread_mutex_unlock(&call->mutex);
}

int api_write(struct api_call *call, const void *data, size_t size)
{
	if (size == 0) {
		return 0;
	}
	struct api_piece *piece = api_piece_new(data, size);
	if (piece == NULL) {
		return -ENOMEM;
	}

	(void)pthread_mutex_lock(&call->mutex);
	while (call->out.bytes > API_QUEUED_MAX && !call->gone) {
		(void)pthread_cond_wait(&call->taken, &call->mutex);
	}
	bool gone = call->gone || atomic_load(&call->api->stopping);
	if (gone) {
		api_piece_free(piece);
	} else {
		api_pieces_put(&call->out, piece);
		api_notify(call);
	}
	(void)pthread_mutex_unlock(&call->mutex);
	return gone ? ET_ECLOSED : 0;
}

static void call_finish(struct api_call *call, bool broken)
{
	(void)pthread_mutex_lock(&call->mutex);
	call->ended = true;
	call->broken = broken;
	api_notify(call);
	(void)pthread_mutex_unlock(&call->mutex);
}

void api_end(struct api_call *call)
{
	call_finish(call, false);
}

void api_break(struct api_call *call)
{
	call_finish(call, true);
}

int api_json(struct api_call *call, unsigned status, json_t *document)
{
	ET_CLEANUP(et_json_freep) json_t *whole = json_object();
	struct et_buffer text = { .secret = true }; /* a token may be in it */
	et_json_set(whole, "schema", json_string("evertape/v1"));
	if (call->read_index > 0) {
		json_t *read = json_object();
		et_json_set(read, "mode", json_string(call->read));
		et_json_set(read, "index", et_json_u64(call->read_index));
		if (call->read_age_ms >= 0) {
			et_json_set(read, "age_ms", json_integer(call->read_age_ms));
		}
		et_json_set(whole, "read", read);
	}
	(void)json_object_update(whole, document);
	json_decref(document);
	et_json_print(whole, false, &text);
	et_buffer_add8(&text, '\n');
	if (text.failed) {
		et_buffer_release(&text);
		return -ENOMEM;
	}
	api_begin(call, status, "application/json", (int64_t)text.size);
	(void)api_write(call, text.data, text.size); /* the client may be gone: then so be it */
	api_end(call);
	et_buffer_release(&text);
	return 0;
}

unsigned api_http_status(int code)
{
	switch (code) {
	case ET_EUSAGE:
	case ET_EMALFORMED:
	case ET_ETRUNCATED:
	case -EINVAL:
		return 400;
	case ET_EUNTRUSTED:
		return 401;
	case ET_EDENIED:
	case ET_EPOLICY:
	case -EACCES:
	case -EPERM:
		return 403;
	case ET_ENOTFOUND:
	case -ENOENT:
		return 404;
	case ET_EEXISTS:
	case ET_ESTALE:
	case ET_EREFUSED:
	case ET_EUNINITIALISED:
		return 409;
	case ET_ELIMIT:
		return 413;
	case ET_EUNSUPPORTED:
	case ET_EVERSION:
		return 501;
	case ET_ENOQUORUM:
	case ET_ENOTLEADER:
	case ET_EUNKNOWN:
	case ET_EUNREACHABLE:
	case ET_EBUSY:
	case ET_ECLOSED:
	case ET_ENOKEY:
	case -ETIMEDOUT:
		return 503;
	case -ENOSPC:
		return 507;
	default:
		return 500;
	}
}

/* {code, what, where, why, next}: what was asked, where it went wrong, why, and what to type. */
void api_answer_error(struct api_call *call, int code, const struct et_error *e)
{
	const char *next = e->next;
	(void)atomic_fetch_add(&call->api->errors, 1);
	if (code == ET_ENOQUORUM && *next == '\0') {
		next = "evertape status";
	}
	if (code == -ENOSPC && *next == '\0') {
		next = "evertape explain DISK_FULL";
	}
	json_t *o = json_object();
	char what[sizeof(call->request.method) + sizeof(call->request.path) + 2];
	(void)snprintf(what, sizeof(what), "%s %s", call->request.method, call->request.path);
	et_json_set(o, "code", json_string(et_errname(code)));
	et_json_set(o, "what", et_json_text(what));
	et_json_set(o, "where", et_json_text(call->api->config.name));
	et_json_set(o, "why", et_json_text(e->text[0] != '\0' ? e->text : et_strerror(code)));
	et_json_set(o, "next", et_json_text(next));
	/* A path that is known, but not for this method. */
	bool method = call->route == NULL && code == ET_EUNSUPPORTED;
	unsigned status = method ? 405 : api_http_status(code);
	if (status == 401) {
		api_header(call, "www-authenticate:", "Bearer realm=\"evertape\"");
	}
	if (api_json(call, status, o) < 0) {
		api_begin(call, 500, "text/plain", 0);
		api_end(call);
	}
}
