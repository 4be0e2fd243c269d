/* The recording server: who may come in. */
#include <string.h>

#include "node/capture/srs_internal.h"

#define SECOND_US 1000000LL

enum {
	HANDSHAKES_PER_SECOND = 50, /* each costs about a millisecond of the ring thread */
	OF_ADDRESS = 10,	    /* of a stranger's address, of IPv6 of its /64 */
};

bool et_srs_may_record(const struct et_srs *s, const uint8_t address[16])
{
	for (uint32_t i = 0; i < s->allow_count; i++) {
		if (et_range_holds(&s->allow[i], address)) {
			return true;
		}
	}
	return s->allow_count == 0;
}

static bool is_known(const struct et_srs *s, const uint8_t address[16])
{
	for (uint32_t i = 0; i < s->known_count; i++) {
		if (memcmp(s->known[i], address, 16) == 0) {
			return true;
		}
	}
	return false;
}

/* Whoever has one address of IPv6 has all of its network. */
static bool is_near(const uint8_t a[16], const uint8_t b[16])
{
	return memcmp(a, b, et_srs_is_ipv4(a) ? 16 : 8) == 0;
}

bool et_srs_may_shake_hands(struct et_srs *s, const uint8_t address[16])
{
	if (s->mono_us - s->handshakes_since_us >= SECOND_US) {
		s->handshakes_since_us = s->mono_us;
		s->handshakes = 0;
		s->stranger_count = 0;
	}
	if (s->handshakes >= HANDSHAKES_PER_SECOND) {
		return false;
	}
	if (!is_known(s, address)) {
		uint32_t near = 0;
		for (uint32_t i = 0; i < s->stranger_count; i++) {
			near += is_near(s->strangers[i], address) ? 1 : 0;
		}
		if (near >= OF_ADDRESS || s->stranger_count >= ET_SRS_STRANGERS) {
			return false;
		}
		memcpy(s->strangers[s->stranger_count++], address, 16);
	}
	s->handshakes++;
	return true;
}

void et_srs_shook_hands(struct et_srs *s, const uint8_t address[16])
{
	uint32_t at = 0;
	while (at < s->known_count && memcmp(s->known[at], address, 16) != 0) {
		at++;
	}
	if (at == s->known_count && at < ET_SRS_KNOWN) {
		s->known_count++;
	} else if (at == s->known_count) {
		at--; /* the last one is forgotten */
	}
	memmove(s->known[1], s->known[0], (size_t)at * 16);
	memcpy(s->known[0], address, 16);
}
