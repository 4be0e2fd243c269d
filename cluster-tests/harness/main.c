/* gencalls: a capture file of made calls. See calls.h.
 *
 *   gencalls FILE CALLS SECONDS [alaw] [loss=N] [reorder=N] [dup=N] [seed=N] [vlan=N] [nosip]
 * [nobye] [early]                                                    (N of loss.. in permille) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/harness/calls.h"

static int usage(void)
{
	(void)fputs("usage: gencalls FILE CALLS SECONDS [alaw] [loss=N] [reorder=N] [dup=N] "
		    "[seed=N] [vlan=N] [nosip] [nobye] [early]\n",
		    stderr);
	return 2;
}

static bool number_of(const char *text, unsigned long max, uint32_t *ret)
{
	char *end = NULL;
	unsigned long v = strtoul(text, &end, 10);
	*ret = (uint32_t)v;
	return *text >= '0' && *text <= '9' && *end == '\0' && v <= max;
}

static bool read_option(const char *text, struct et_made_config *config)
{
	const struct {
		const char *name;
		uint32_t *value;
		unsigned long max;
	} numbers[] = {
		{ "loss=", &config->loss_permille, 1000 },
		{ "reorder=", &config->reorder_permille, 1000 },
		{ "dup=", &config->duplicate_permille, 1000 },
		{ "seed=", &config->seed, UINT32_MAX },
	};
	const struct {
		const char *name;
		bool *value;
	} flags[] = {
		{ "alaw", &config->alaw },
		{ "nosip", &config->without_sip },
		{ "nobye", &config->without_bye },
		{ "early", &config->answered_late },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(numbers); i++) {
		size_t size = strlen(numbers[i].name);
		if (strncmp(text, numbers[i].name, size) == 0) {
			return number_of(text + size, numbers[i].max, numbers[i].value);
		}
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(flags); i++) {
		if (strcmp(text, flags[i].name) == 0) {
			*flags[i].value = true;
			return true;
		}
	}
	uint32_t vlan = 0;
	if (strncmp(text, "vlan=", 5) == 0 && number_of(text + 5, 4094, &vlan)) {
		config->vlan = (uint16_t)vlan;
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct et_made_config config = { .seed = 1 };
	struct et_made_counts counts;
	struct et_error error;
	if (argc < 4 || !number_of(argv[2], ET_MADE_CALLS_MAX, &config.calls) ||
	    !number_of(argv[3], 86400, &config.seconds)) {
		return usage();
	}
	for (int i = 4; i < argc; i++) {
		if (!read_option(argv[i], &config)) {
			return usage();
		}
	}
	int rc = et_made_write(argv[1], &config, &counts, &error);
	if (rc < 0) {
		(void)fprintf(stderr, "gencalls: %s\n", error.text);
		return et_exit_code(rc);
	}
	(void)printf("{\"packets\":%llu,\"sip\":%llu,\"rtp\":%llu,\"lost\":%llu,\"late\":%llu,"
		     "\"duplicate\":%llu}\n",
		     (unsigned long long)counts.packets, (unsigned long long)counts.sip,
		     (unsigned long long)counts.rtp, (unsigned long long)counts.lost,
		     (unsigned long long)counts.late, (unsigned long long)counts.duplicate);
	return 0;
}
