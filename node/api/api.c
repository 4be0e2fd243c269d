/* Life of the API: start, attach, stop. */
#include "node/api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/base/log.h"
#include "node/io/clock.h"

#define QUICK_WORKERS 3
#define SLOW_WORKERS 4

/* All text of the configuration in one block of our own. */
static int config_copy(struct et_api *api, const struct et_api_config *config)
{
	api->config = *config;
	const char **texts[] = {
		&api->config.socket_path, &api->config.listen,	&api->config.certificate,
		&api->config.key,	  &api->config.console, &api->config.media,
		&api->config.version,	  &api->config.cluster, &api->config.name,
		&api->config.site,
	};
	size_t size = 1;
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		size += *texts[i] != NULL ? strlen(*texts[i]) + 1 : 0;
	}
	char *p = malloc(size);
	if (p == NULL) {
		return -ENOMEM;
	}
	api->texts = p;
	*p++ = '\0'; /* the empty text */
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		if (*texts[i] == NULL) {
			*texts[i] = texts[i] == &api->config.console ? NULL : api->texts;
			continue;
		}
		size_t n = strlen(*texts[i]) + 1;
		memcpy(p, *texts[i], n);
		*texts[i] = p;
		p += n;
	}
	return 0;
}

static void api_free(struct et_api *api)
{
	if (api->has_identity) {
		et_identity_release(&api->identity);
	}
	(void)et_api_certificate_free(api->given);
	(void)et_api_certificate_free(api->operators);
	survey_end(&api->survey);
	(void)pthread_cond_destroy(&api->listening);
	(void)pthread_mutex_destroy(&api->mutex);
	(void)pthread_mutex_destroy(&api->late_keys);
	free(api->texts);
	free(api);
}

/* Threads end: the workers first (they may wait for the main loop, which still runs). */
static void api_wind_down(struct et_api *api)
{
	atomic_store(&api->stopping, true);
	api_waits_cancel(api);
	api_pool_close(&api->quick);
	api_pool_close(&api->slow);
	api_server_stop(api); /* closes connections: workers that wait for clients go on */
	api_pool_join(&api->quick);
	api_pool_join(&api->slow);
	survey_stop(&api->survey); /* nobody begins a count any more; it looks at the state */
}

int et_api_start(const struct et_api_config *config, struct et_api **ret, struct et_error *reterr)
{
	struct et_api *api = calloc(1, sizeof(*api));
	if (api == NULL) {
		return et_fail(reterr, -ENOMEM, "API");
	}
	(void)pthread_mutex_init(&api->mutex, NULL);
	(void)pthread_mutex_init(&api->late_keys, NULL);
	(void)pthread_cond_init(&api->listening, NULL);
	survey_init(&api->survey);
	api->started_us = et_clock_mono_us();
	int rc = config_copy(api, config);
	if (rc < 0) {
		api_free(api);
		return et_fail(reterr, rc, "API");
	}
	rc = api_pool_start(&api->quick, QUICK_WORKERS);
	if (rc < 0) {
		api_free(api);
		return et_fail(reterr, rc, "API workers");
	}
	rc = api_pool_start(&api->slow, SLOW_WORKERS);
	if (rc < 0) {
		api_pool_close(&api->quick);
		api_pool_join(&api->quick);
		api_free(api);
		return et_fail(reterr, rc, "API workers");
	}
	rc = api_server_start(api, reterr);
	if (rc < 0) {
		api_wind_down(api);
		api_free(api);
		return rc;
	}
	*ret = api;
	return 0;
}

int et_api_attach(struct et_api *api, const struct et_api_services *services,
		  struct et_error *reterr)
{
	et_assert(!atomic_load(&api->attached));
	et_assert(services->catalog != NULL && services->state != NULL);
	int rc = 0;
	(void)pthread_mutex_lock(&api->mutex);
	api->services = *services;
	rc = et_identity_copy(services->identity, &api->identity);
	api->has_identity = rc == 0;
	api->services.identity = &api->identity;
	atomic_store(&api->attached, rc == 0);
	if (rc == 0 && api->config.listen[0] != '\0') {
		api->want_https = true;
		api_server_wake(api);
		while (api->want_https) {
			(void)pthread_cond_wait(&api->listening, &api->mutex);
		}
		rc = api->https_code;
	}
	(void)pthread_mutex_unlock(&api->mutex);
	if (rc < 0) {
		(void)et_fail(reterr, rc, "HTTPS on %s", api->config.listen);
		return et_fail_next(reterr,
				    "check listen.api, tls.api-certificate and tls.api-key");
	}
	return 0;
}

int et_api_set_identity(struct et_api *api, const struct et_identity *identity,
			struct et_error *reterr)
{
	struct et_identity copy;
	int rc = et_identity_copy(identity, &copy);
	if (rc < 0) {
		return et_fail(reterr, rc, "identity for HTTPS");
	}
	(void)pthread_mutex_lock(&api->mutex);
	if (api->has_identity) {
		et_identity_release(&api->identity);
	}
	api->identity = copy;
	api->has_identity = true;
	api->identity_changed = true;
	api_server_wake(api);
	(void)pthread_mutex_unlock(&api->mutex);
	return 0;
}

uint16_t et_api_port(const struct et_api *api)
{
	return api->port;
}

void et_api_on_applied(struct et_api *api, uint64_t index, const Et__Command *command,
		       const Et__Result *result)
{
	if (result->code != 0) {
		return;
	}
	(void)pthread_mutex_lock(&api->mutex);
	size_t slot = api->change_count++ % API_CHANGES_MAX;
	api->changes[slot].index = index;
	(void)snprintf(api->changes[slot].name, sizeof(api->changes[slot].name), "%s",
		       et_command_name(command));
	api_change_target(command, result, api->changes[slot].target,
			  sizeof(api->changes[slot].target));
	(void)pthread_mutex_unlock(&api->mutex);
}

static void on_closed(struct et_post *post)
{
	struct et_api *api = ET_CONTAINER_OF(post, struct et_api, closed_post);
	void (*closed)(void *arg) = api->closed;
	void *arg = api->closed_arg;
	(void)pthread_join(api->stopper, NULL);
	api_free(api);
	if (closed != NULL) {
		closed(arg);
	}
}

static void *stop_run(void *arg)
{
	struct et_api *api = arg;
	api_wind_down(api);
	/* The main loop waits for this: it is there, and its box has room. */
	int rc = et_post(api->config.postbox, &api->closed_post);
	et_assert(rc == 0);
	return NULL;
}

void et_api_stop(struct et_api *api, void (*closed)(void *arg), void *arg)
{
	api->closed = closed;
	api->closed_arg = arg;
	api->closed_post.fn = on_closed;
	int rc = pthread_create(&api->stopper, NULL, stop_run, api);
	et_assert(rc == 0);
}
