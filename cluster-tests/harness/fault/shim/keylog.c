/* Preloaded into a program that uses OpenSSL and has no key log of its own (baresip): the secrets
 * of its TLS and DTLS connections are appended to the file that ET_KEYLOG_FILE names (mode 0600), a
 * line at a time, in the format of SSLKEYLOGFILE. For telephones of tests only: whoever reads the
 * file reads their calls. */
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))

typedef SSL_CTX *(*new_fn)(const SSL_METHOD *method);
typedef void (*set_fn)(SSL_CTX *context, SSL_CTX_keylog_cb_func callback);

/* One write a line: several programs append to one file. */
static void on_line(const SSL *ssl, const char *text)
{
	char line[512];
	const char *path = getenv("ET_KEYLOG_FILE");
	int size = snprintf(line, sizeof(line), "%s\n", text);
	int fd;

	(void)ssl;
	if (path == NULL || size < 0 || (size_t)size >= sizeof(line)) {
		return;
	}
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, (size_t)size) != size) {
		perror("keylogshim");
	}
	if (fd >= 0) {
		(void)close(fd);
	}
}

SHOWN SSL_CTX *SSL_CTX_new(const SSL_METHOD *method)
{
	new_fn next = (new_fn)dlsym(RTLD_NEXT, "SSL_CTX_new");
	set_fn set = (set_fn)dlsym(RTLD_NEXT, "SSL_CTX_set_keylog_callback");
	SSL_CTX *context = next == NULL ? NULL : next(method);

	if (context != NULL && set != NULL) {
		set(context, on_line);
	}
	return context;
}
