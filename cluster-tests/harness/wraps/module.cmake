et_program(labwraps cluster-tests/harness/wraps
    SOURCES wraps.c
    USES node/base node/io node/crypto node/tape raft/command raft/journal)
