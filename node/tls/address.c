#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "node/tls/tls_internal.h"

bool tls_address_parse(const char *text, struct sockaddr_storage *ret, unsigned *ret_size)
{
	char host[ET_ADDRESS_MAX];
	const char *colon = strrchr(text, ':');

	if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof(host)) {
		return false;
	}
	bool is_six = text[0] == '[' && colon[-1] == ']';
	size_t size = (size_t)(colon - text) - (is_six ? 2 : 0);
	memcpy(host, text + (is_six ? 1 : 0), size);
	host[size] = '\0';

	unsigned long port = 0;
	size_t digits = strspn(colon + 1, "0123456789");
	if (digits == 0 || digits > 5 || colon[1 + digits] != '\0') {
		return false;
	}
	port = strtoul(colon + 1, NULL, 10);
	if (port > 65535) {
		return false;
	}

	memset(ret, 0, sizeof(*ret));
	if (is_six) {
		struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)port);
		*ret_size = sizeof(*six);
		return inet_pton(AF_INET6, host, &six->sin6_addr) == 1;
	}
	struct sockaddr_in *four = (struct sockaddr_in *)ret;
	four->sin_family = AF_INET;
	four->sin_port = htons((uint16_t)port);
	*ret_size = sizeof(*four);
	return inet_pton(AF_INET, host, &four->sin_addr) == 1;
}

void tls_address_format(const struct sockaddr_storage *a, char ret[ET_ADDRESS_MAX])
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
		(void)inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof(host));
		(void)snprintf(ret, ET_ADDRESS_MAX, "[%s]:%u", host, ntohs(six->sin6_port));
		return;
	}
	const struct sockaddr_in *four = (const struct sockaddr_in *)a;
	(void)inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host));
	(void)snprintf(ret, ET_ADDRESS_MAX, "%s:%u", host, ntohs(four->sin_port));
}
