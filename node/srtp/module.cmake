et_module(node/srtp
    SOURCES suite.c srtp.c ring.c given.c
    USES node/base
    LIBRARIES PkgConfig::srtp Threads::Threads
    TESTS srtp ring
    TEST_LIBRARIES PkgConfig::crypto
    FUZZERS srtp given)
