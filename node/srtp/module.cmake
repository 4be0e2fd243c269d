et_module(node/srtp
    SOURCES suite.c srtp.c ring.c given.c dtls.c
    USES node/base node/crypto
    LIBRARIES PkgConfig::srtp Threads::Threads
    TESTS srtp ring dtls
    TEST_LIBRARIES PkgConfig::crypto
    FUZZERS srtp given dtls)
