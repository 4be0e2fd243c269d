/* The server's side of TLS 1.2 and 1.3 for strangers (SIP over TLS): bytes in, bytes out. No
 * socket, no loop; nothing blocks. Peers show no certificate: who they are is not what TLS decides
 * here.
 *
 * Threads: one owner for each connection; a server may be shared by connections of one thread. */
#ifndef ET_NODE_TLS_SERVER_H
#define ET_NODE_TLS_SERVER_H

#include "node/base/bytes.h"
#include "node/base/err.h"

struct et_tls_server;	  /* certificate and key */
struct et_tls_server_end; /* one connection's end */

/* PEM files, read now only: the certificate with its chain, and its key; the CAs, roots
 * or not, of one of which a client must have a certificate (for clients, in force, with its chain
 * at most 16 KiB; that it was revoked is not looked up), or NULL: clients are not asked. A client's
 * own certificate in that file names just that client. -ENOENT, -EACCES, ...; ET_EMALFORMED: they
 * cannot be read, or do not belong together. */
int et_tls_server_new(const char *certificate, const char *key, const char *client_ca,
		      struct et_tls_server **ret, struct et_error *reterr) ET_MUST_CHECK;
struct et_tls_server *et_tls_server_free(struct et_tls_server *s);

/* NULL: no memory. It may outlive the server. */
struct et_tls_server_end *et_tls_server_accept(struct et_tls_server *s);
struct et_tls_server_end *et_tls_server_close(struct et_tls_server_end *e);

/* Bytes from the peer. What they hold goes to `fn` (a view for the call; it may call
 * et_tls_server_write()). 0; ET_ECLOSED: the peer ends it, breaks the protocol, or asked more than
 * 64 times for other keys or another handshake (which it does not get); ET_EDENIED: it
 * has no certificate, or one that does not check. Then take what is to be sent, and close. */
int et_tls_server_read(struct et_tls_server_end *e, struct et_view bytes,
		       void (*fn)(void *arg, struct et_view plain), void *arg) ET_MUST_CHECK;
/* Bytes to the peer, after the handshake. 0; ET_ECLOSED. */
int et_tls_server_write(struct et_tls_server_end *e, struct et_view plain) ET_MUST_CHECK;
/* What is to be sent now goes to the end of `ret`. */
void et_tls_server_take(struct et_tls_server_end *e, struct et_buffer *ret);

bool et_tls_server_is_open(const struct et_tls_server_end *e); /* the handshake is over */

#endif
