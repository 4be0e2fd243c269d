et_program(bench-commit cluster-tests/bench/commit
    SOURCES run.c apply.c commands.c node.c relay.c etcd.c grpc.c stats.c
    USES node/base node/io node/crypto node/tls raft/command raft/state raft/catalog)
