et_module(node/sip
    SOURCES sip.c uri.c sdp.c
    USES node/base
    TESTS sip sdp
    FUZZERS sip sdp)
