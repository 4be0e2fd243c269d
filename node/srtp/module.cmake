et_module(node/srtp
    SOURCES suite.c srtp.c ring.c given.c dtls.c feed.c
    USES node/base node/crypto node/keylog
    LIBRARIES PkgConfig::srtp Threads::Threads
    TESTS srtp ring dtls feed
    TEST_LIBRARIES PkgConfig::crypto
    FUZZERS srtp given dtls feed)
