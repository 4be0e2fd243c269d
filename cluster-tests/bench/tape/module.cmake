et_program(bench-tape cluster-tests/bench/tape
    SOURCES run.c seek.c peer.c
    USES node/base node/io node/crypto node/rtp node/tape node/audio node/playback)
