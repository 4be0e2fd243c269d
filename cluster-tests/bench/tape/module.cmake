et_program(bench-tape cluster-tests/bench/tape
    SOURCES run.c peer.c
    USES node/base node/io node/crypto node/tape)
