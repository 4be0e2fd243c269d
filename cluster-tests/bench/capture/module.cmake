et_program(bench-capture cluster-tests/bench/capture
    SOURCES run.c
    USES node/base node/io node/crypto node/sip node/rtp node/tape node/capture cluster-tests/harness ops/cli
    TESTS wavs
    TEST_USES node/audio)
