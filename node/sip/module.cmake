et_module(node/sip
    SOURCES sip.c uri.c sdp.c framer.c websocket.c
    USES node/base
    TESTS sip torture sdp framer
    FUZZERS sip sdp framer)
