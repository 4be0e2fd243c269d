/* A node that is no service but a source which follows a script: its connections and frames. */
#ifndef ET_REPLICATION_SYNC_TEST_ROGUE_H
#define ET_REPLICATION_SYNC_TEST_ROGUE_H

#include "replication/sync/test/cluster.h"

static inline void rogue_close(struct node *n, struct et_tls_conn *conn, bool flush)
{
	for (size_t i = 0; i < n->conn_count; i++) {
		if (n->conns[i] == conn) {
			n->conns[i] = NULL;
		}
	}
	et_tls_conn_close(conn, flush);
}

static inline void rogue_on_read(void *arg, struct et_tls_conn *conn, const uint8_t *data,
				 size_t size)
{
	struct node *n = arg;
	struct et_wire_parser *p = NULL;

	for (size_t i = 0; i < n->conn_count; i++) {
		p = n->conns[i] == conn ? &n->parsers[i] : p;
	}
	while (size > 0) {
		struct et_wire_frame frame;
		struct et_buffer out = { 0 };
		size_t used = 0;
		int rc = et_wire_parse(p, data, size, &used, &frame, NULL);
		assert_true(rc >= 0); /* What our service says is always well-formed. */
		data += used;
		size -= used;
		if (rc == 0) {
			continue;
		}
		bool go_on = n->rogue_answer(n, &frame, &out);
		et_tls_conn_write(conn, out.data, out.size);
		et_buffer_release(&out);
		free(frame.body);
		if (!go_on) {
			rogue_close(n, conn, true);
			return;
		}
	}
}

static inline void rogue_on_end(void *arg, struct et_tls_conn *conn, int code)
{
	(void)code;
	rogue_close(arg, conn, false);
}

static inline void rogue_on_accept(void *arg, struct et_tls_conn *conn)
{
	struct node *n = arg;
	struct et_buffer out = { 0 };
	const struct et_tls_conn_cb cb = { rogue_on_read, rogue_on_end, n };

	assert_true(n->conn_count < ET_ARRAY_SIZE(n->conns));
	et_wire_parser_init(&n->parsers[n->conn_count], ET_WIRE_PULLER);
	n->conns[n->conn_count++] = conn;
	et_tls_conn_start(conn, &cb);
	et_wire_add_hello(&out, &(struct et_wire_hello){ .node = n->id,
							 .streams = 1,
							 .features = n->rogue_features });
	et_tls_conn_write(conn, out.data, out.size);
	et_buffer_release(&out);
}

/* Each frame that comes is given to `answer`. */
static inline void rogue_listen(struct node *n, rogue_answer_fn answer)
{
	n->rogue_answer = answer;
	et_tls_handle(n->tls, ET_ALPN_SYNC, rogue_on_accept, n);
}

#endif
