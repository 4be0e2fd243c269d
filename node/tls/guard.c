#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/tls/tls_internal.h"

#define ADDRESSES 256 /* remembered; the one seen longest ago without a handshake makes room */
#define LOG_EVERY_US (60LL * 1000000)

struct guard_entry {
	char ip[ET_ADDRESS_MAX]; /* "" : free */
	unsigned handshakes;	 /* under way */
	double tokens;		 /* handshakes that it may begin */
	int64_t seen_us;
	int64_t logged_us; /* 0: never */
	uint64_t silent;   /* refusals since, not logged */
};

struct tls_guard {
	struct guard_entry entries[ADDRESSES];
	unsigned handshakes;
};

struct tls_guard *tls_guard_new(void)
{
	return calloc(1, sizeof(struct tls_guard));
}

void tls_guard_free(struct tls_guard *g)
{
	free(g);
}

/* The entry of the address without its port; NULL: all are busy with handshakes. */
static struct guard_entry *guard_find(struct tls_guard *g, const char *address, bool make)
{
	char ip[ET_ADDRESS_MAX];
	struct guard_entry *oldest = NULL;

	(void)snprintf(ip, sizeof(ip), "%s", address);
	char *colon = strrchr(ip, ':');
	if (colon != NULL) {
		*colon = '\0';
	}
	for (size_t i = 0; i < ADDRESSES; i++) {
		struct guard_entry *e = &g->entries[i];
		if (strcmp(e->ip, ip) == 0) {
			return e;
		}
		if (e->handshakes == 0 && (oldest == NULL || e->seen_us < oldest->seen_us)) {
			oldest = e;
		}
	}
	if (!make || oldest == NULL) {
		return NULL;
	}
	*oldest = (struct guard_entry){ .tokens = HANDSHAKES_BURST, .seen_us = et_clock_mono_us() };
	memcpy(oldest->ip, ip, sizeof(ip));
	return oldest;
}

bool tls_guard_admit(struct tls_guard *g, const char *address)
{
	struct guard_entry *e = guard_find(g, address, true);
	int64_t now_us = et_clock_mono_us();

	if (e == NULL) {
		return false;
	}
	e->tokens += (double)(now_us - e->seen_us) * HANDSHAKES_PER_S / 1e6;
	if (e->tokens > HANDSHAKES_BURST) {
		e->tokens = HANDSHAKES_BURST;
	}
	e->seen_us = now_us;
	if (e->tokens < 1 || e->handshakes >= HANDSHAKES_OF_ADDRESS_MAX ||
	    g->handshakes >= HANDSHAKES_MAX) {
		return false;
	}
	e->tokens -= 1;
	e->handshakes++;
	g->handshakes++;
	return true;
}

void tls_guard_done(struct tls_guard *g, const char *address)
{
	struct guard_entry *e = guard_find(g, address, false);

	et_assert(e != NULL && e->handshakes > 0);
	e->handshakes--;
	g->handshakes--;
}

void tls_guard_log(struct tls_guard *g, const char *address, const char *cause,
		   const struct et_error *why)
{
	struct guard_entry *e = guard_find(g, address, true);
	int64_t now_us = et_clock_mono_us();
	char text[600];

	if (e != NULL && e->logged_us != 0 && now_us - e->logged_us < LOG_EVERY_US) {
		e->silent++;
		return;
	}
	et_warn("tls.refused", "peer=%s cause=%s silent=%llu detail=%s", address, cause,
		(unsigned long long)(e != NULL ? e->silent : 0),
		et_log_quote(why != NULL ? why->text : "", text, sizeof(text)));
	if (e != NULL) {
		e->logged_us = now_us;
		e->silent = 0;
	}
}
