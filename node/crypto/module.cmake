et_module(node/crypto
    SOURCES aead.c hash.c md5.c sign.c hpke.c merkle.c shamir.c box.c harden.c ossl.c
    USES node/base
    LIBRARIES PkgConfig::crypto
    TESTS aead hash sign hpke merkle shamir box harden
    FUZZERS share box)
