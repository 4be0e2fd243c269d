/* siprec: the recording server. */
#include "node/config/config_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The IP address of "ip:port" or "[ip]:port". */
static void copy_ip(const char *address, char *ret, size_t size)
{
	const char *start = address[0] == '[' ? address + 1 : address;
	int n = (int)strcspn(start, address[0] == '[' ? "]" : ":");
	(void)snprintf(ret, size, "%.*s", n, start);
}

static bool is_wildcard(const char *ip)
{
	return strcmp(ip, "0.0.0.0") == 0 || strspn(ip, "0:") == strlen(ip);
}

static int parse_siprec_address(const struct et_yaml_node *item, struct et_config_siprec *s,
				struct et_error *reterr)
{
	static const char *const schemes[] = { "udp://", "tcp://", "tls://" };
	char text[ET_CONFIG_ADDRESS_MAX + 8];
	char ip[ET_CONFIG_ADDRESS_MAX + 1];
	int rc = config_text(item, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(schemes); i++) {
		size_t size = strlen(schemes[i]);
		const char *address = text + size;
		if (strncmp(text, schemes[i], size) != 0 ||
		    strlen(address) > ET_CONFIG_ADDRESS_MAX ||
		    !et_address_is_valid(address, false)) {
			continue;
		}
		copy_ip(address, ip, sizeof(ip));
		if (is_wildcard(ip)) {
			return et_yaml_fail(item, reterr, ET_EMALFORMED,
					    "siprec: clients are told this address: name one of "
					    "this machine, not %s",
					    ip);
		}
		s->listens[s->listen_count].transport = (enum et_config_transport)i;
		memcpy(s->listens[s->listen_count].address, address, strlen(address) + 1);
		s->listen_count++;
		return 0;
	}
	return et_yaml_fail(item, reterr, ET_EMALFORMED,
			    "siprec: listen is udp://ADDRESS:PORT, tcp:// or tls://, not "
			    "\"%.64s\"",
			    text);
}

static int parse_siprec_listen(const struct et_yaml_node *list, struct et_config_siprec *s,
			       struct et_error *reterr)
{
	int rc = et_yaml_is_list(list, reterr);
	if (rc == 0 && (list->count == 0 || list->count > ET_CONFIG_LISTENS_MAX)) {
		return et_yaml_fail_key(list, reterr, ET_EMALFORMED,
					"siprec: listen needs 1 to %d addresses",
					ET_CONFIG_LISTENS_MAX);
	}
	if (rc == 0) {
		ET_YAML_EACH(item, list)
		{
			rc = parse_siprec_address(item, s, reterr);
			if (rc < 0) {
				return rc;
			}
		}
	}
	return rc;
}

/* "20000-24999" */
static int parse_media_ports(const struct et_yaml_node *node, struct et_config_siprec *s,
			     struct et_error *reterr)
{
	char text[16];
	unsigned first = 0;
	unsigned last = 0;
	int end = 0;
	int rc = config_text(node, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	if (sscanf(text, "%5u-%5u%n", &first, &last, &end) != 2 || text[end] != '\0' ||
	    first < 1024 || last > 65535 || first + first % 2 + 1 > last) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "siprec: media-ports is FIRST-LAST, 1024 to 65535, such as "
				    "20000-24999, not \"%.15s\"",
				    text);
	}
	s->port_first = (uint16_t)first;
	s->port_last = (uint16_t)last;
	return 0;
}

static int parse_siprec_media(const struct et_yaml_node *map, struct et_config_siprec *s,
			      struct et_error *reterr)
{
	const struct et_yaml_node *node = et_yaml_get(map, "media");
	char text[ET_CONFIG_ADDRESS_MAX + 8];
	copy_ip(s->listens[0].address, s->media, sizeof(s->media));
	int rc = node != NULL ? config_text(node, s->media, sizeof(s->media), reterr) : 0;
	if (rc < 0) {
		return rc;
	}
	bool ipv6 = strchr(s->media, ':') != NULL;
	(void)snprintf(text, sizeof(text), ipv6 ? "[%s]:1" : "%s:1", s->media);
	if (!et_address_is_valid(text, false) || is_wildcard(s->media)) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "siprec: media is an IP address of this machine, not \"%s\"",
				    s->media);
	}
	node = et_yaml_get(map, "media-ports");
	return node != NULL ? parse_media_ports(node, s, reterr) : 0;
}

/* Addresses that may record here. */
static int parse_siprec_allow(const struct et_yaml_node *map, struct et_config_siprec *s,
			      struct et_error *reterr)
{
	const struct et_yaml_node *list = et_yaml_get(map, "allow");
	int rc = list != NULL ? et_yaml_is_list(list, reterr) : 0;

	if (rc < 0 || list == NULL) {
		return rc;
	}
	if (list->count == 0 || list->count > ET_CONFIG_ALLOW_MAX) {
		return et_yaml_fail_key(list, reterr, ET_EMALFORMED,
					"siprec: allow needs 1 to %d addresses or ranges; without "
					"it any address may record",
					ET_CONFIG_ALLOW_MAX);
	}
	ET_YAML_EACH(item, list)
	{
		char text[64];
		rc = config_text(item, text, sizeof(text), reterr);
		if (rc < 0) {
			return rc;
		}
		if (!et_range_parse(text, &s->allow[s->allow_count++])) {
			return et_yaml_fail(item, reterr, ET_EMALFORMED,
					    "siprec: allow is an IP address or a range such as "
					    "10.1.0.0/24, whose bits behind the prefix are 0, not "
					    "\"%s\"",
					    text);
		}
	}
	return 0;
}

/* The certificate that clients over TLS are shown. */
static int parse_siprec_files(const struct et_yaml_node *map, struct et_config_siprec *s,
			      struct et_error *reterr)
{
	const struct et_yaml_node *certificate = et_yaml_get(map, "certificate");
	const struct et_yaml_node *key = et_yaml_get(map, "key");
	const struct et_yaml_node *ca = et_yaml_get(map, "client-ca");
	bool tls = false;
	for (uint32_t i = 0; i < s->listen_count; i++) {
		tls = tls || s->listens[i].transport == ET_CONFIG_TLS;
	}
	if ((certificate != NULL) != tls || (key != NULL) != tls) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"siprec: a listen of tls:// goes with certificate and key");
	}
	if (ca != NULL && !tls) {
		return et_yaml_fail_key(ca, reterr, ET_EMALFORMED,
					"siprec: client-ca goes with a listen of tls://");
	}
	if (!tls) {
		return 0;
	}
	int rc = config_path(certificate, s->certificate, reterr);
	rc = rc < 0 ? rc : config_path(key, s->key, reterr);
	return rc < 0 || ca == NULL ? rc : config_path(ca, s->client_ca, reterr);
}

int config_siprec(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	static const char *const known[] = { "listen",	 "media",	"media-ports",
					     "sessions", "connections", "certificate",
					     "key",	 "allow",	"client-ca" };
	const struct et_yaml_node *listen;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = et_yaml_need(map, "listen", &listen, reterr);
	}
	if (rc == 0) {
		rc = parse_siprec_listen(listen, &c->siprec, reterr);
	}
	if (rc == 0) {
		rc = parse_siprec_media(map, &c->siprec, reterr);
	}
	if (rc == 0) {
		rc = config_fields_read(map, "siprec", c, reterr);
	}
	if (rc == 0) {
		rc = parse_siprec_allow(map, &c->siprec, reterr);
	}
	if (rc == 0) {
		rc = parse_siprec_files(map, &c->siprec, reterr);
	}
	if (rc == 0 && (c->roles & ET_ROLE_CAPTURE) == 0) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"this node takes recording sessions, but its roles lack "
					"capture");
	}
	return rc;
}
