et_program(labkeys cluster-tests/harness/keys
    SOURCES keys.c image.c
    USES node/base node/io node/crypto node/root node/tls node/tape node/keeper raft/command raft/state)
