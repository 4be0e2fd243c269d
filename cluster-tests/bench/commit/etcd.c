#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cluster-tests/bench/commit/commit.h"
#include "node/base/defs.h"
#include "node/io/clock.h"

struct bench_etcd {
	pid_t pid[BENCH_NODES];
	int client[BENCH_NODES]; /* ports */
	struct bench_hop peer[BENCH_NODES];
	unsigned rtt_ms;
	pid_t relay;
};

int bench_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	et_assert(fd >= 0);
	et_assert(bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	et_assert(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
	(void)close(fd);
	return ntohs(address.sin_port);
}

/* P-256, as ours are. */
static int certificates_make(const char *folder)
{
	char command[2048];

	int n = snprintf(
		command, sizeof(command),
		"cd '%s' && exec 2>openssl.log && "
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
		"-subj /CN=bench-ca -keyout ca.key -out ca.crt && "
		"openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
		"-subj /CN=peer -keyout peer.key -out peer.csr && "
		"printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' "
		">ext && openssl x509 -req -in peer.csr -CA ca.crt -CAkey ca.key -CAcreateserial "
		"-days 2 -extfile ext -out peer.crt",
		folder);
	return n > 0 && (size_t)n < sizeof(command) && system(command) == 0 ? 0 : -1;
}

static void etcd_exec(const struct bench_etcd *e, const char *folder, int i)
{
	char name[16], data[600], client[64], peer[64], cluster[256], ca[600], cert[600], key[600];
	char log[600], advertised[64], heartbeat[16], election[16];

	(void)snprintf(name, sizeof(name), "n%d", i);
	(void)snprintf(data, sizeof(data), "%s/n%d", folder, i);
	(void)snprintf(log, sizeof(log), "%s/n%d.log", folder, i);
	(void)snprintf(client, sizeof(client), "http://127.0.0.1:%d", e->client[i]);
	(void)snprintf(peer, sizeof(peer), "https://127.0.0.1:%d", e->peer[i].to);
	(void)snprintf(advertised, sizeof(advertised), "https://127.0.0.1:%d", e->peer[i].port);
	(void)snprintf(heartbeat, sizeof(heartbeat), "%d",
		       e->rtt_ms > 0 ? BENCH_WAN_HEARTBEAT_MS : 100);
	(void)snprintf(election, sizeof(election), "%d",
		       e->rtt_ms > 0 ? BENCH_WAN_ELECTION_MS : 1000); /* its defaults */
	(void)snprintf(cluster, sizeof(cluster),
		       "n0=https://127.0.0.1:%d,n1=https://127.0.0.1:%d,n2=https://127.0.0.1:%d",
		       e->peer[0].port, e->peer[1].port, e->peer[2].port);
	(void)snprintf(ca, sizeof(ca), "%s/ca.crt", folder);
	(void)snprintf(cert, sizeof(cert), "%s/peer.crt", folder);
	(void)snprintf(key, sizeof(key), "%s/peer.key", folder);
	int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	(void)dup2(fd, 1);
	(void)dup2(fd, 2);
	(void)execlp("etcd", "etcd", "--name", name, "--data-dir", data, "--listen-client-urls",
		     client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
		     "--initial-advertise-peer-urls", advertised, "--heartbeat-interval", heartbeat,
		     "--election-timeout", election, "--initial-cluster", cluster,
		     "--initial-cluster-state", "new", "--peer-client-cert-auth",
		     "--peer-trusted-ca-file", ca, "--peer-cert-file", cert, "--peer-key-file", key,
		     "--quota-backend-bytes", "8589934592", "--logger", "zap", (char *)NULL);
	_exit(127);
}

static int leader_port(const struct bench_etcd *e)
{
	for (int i = 0; i < BENCH_NODES; i++) {
		if (bench_grpc_leads(e->client[i]) == 1) {
			return e->client[i];
		}
	}
	return -1;
}

struct bench_etcd *bench_etcd_start(const char *folder, unsigned rtt_ms)
{
	struct bench_etcd *e = calloc(1, sizeof(*e));
	struct timespec pause = { .tv_nsec = 100 * 1000 * 1000 };

	if (e == NULL || certificates_make(folder) < 0) {
		(void)fprintf(stderr, "bench-commit: openssl failed, see %s/openssl.log\n", folder);
		free(e);
		return NULL;
	}
	for (int i = 0; i < BENCH_NODES; i++) {
		e->client[i] = bench_port();
		e->peer[i].to = bench_port();
		e->peer[i].port = rtt_ms > 0 ? bench_port() : e->peer[i].to;
	}
	e->rtt_ms = rtt_ms;
	if (rtt_ms > 0) {
		e->relay = bench_relay_start(e->peer, BENCH_NODES, rtt_ms);
	}
	for (int i = 0; i < BENCH_NODES; i++) {
		e->pid[i] = fork();
		if (e->pid[i] == 0) {
			etcd_exec(e, folder, i);
		}
	}
	/* It has no way to tell when it is ready: ask. */
	int64_t end_us = et_clock_mono_us() + INT64_C(30) * 1000000;
	while (leader_port(e) < 0) {
		if (et_clock_mono_us() > end_us) {
			(void)fprintf(stderr, "bench-commit: etcd has no leader, see %s/n0.log\n",
				      folder);
			bench_etcd_stop(e);
			return NULL;
		}
		(void)nanosleep(&pause, NULL);
	}
	return e;
}

int bench_etcd_run(struct bench_etcd *e, struct bench_cell cell, unsigned seconds,
		   struct bench_result *ret)
{
	int port = leader_port(e);
	if (port < 0) {
		return -EHOSTUNREACH;
	}
	double cpu_us = bench_cpu_us(e->pid, BENCH_NODES);
	int rc = bench_grpc_load(port, cell, seconds, ret);
	cpu_us = bench_cpu_us(e->pid, BENCH_NODES) - cpu_us;
	ret->cpu_us = ret->count > 0 ? cpu_us / (double)ret->count : 0;
	return rc;
}

void bench_etcd_stop(struct bench_etcd *e)
{
	for (int i = 0; i < BENCH_NODES; i++) {
		(void)kill(e->pid[i], SIGTERM);
	}
	for (int i = 0; i < BENCH_NODES; i++) {
		(void)waitpid(e->pid[i], NULL, 0);
	}
	bench_relay_stop(e->relay);
	free(e);
}
