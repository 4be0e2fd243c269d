et_module(node/srtp
    SOURCES suite.c srtp.c
    USES node/base
    LIBRARIES PkgConfig::srtp Threads::Threads
    TESTS srtp
    TEST_LIBRARIES PkgConfig::crypto
    FUZZERS srtp)
