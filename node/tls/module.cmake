et_module(node/tls
    SOURCES address.c ca.c cert.c conn.c context.c guard.c identity.c identity_store.c join.c join_message.c
        join_server.c join_token.c pump.c rpc.c rpc_frame.c server.c tls.c wire.c
    USES node/base node/io node/crypto
    LIBRARIES PkgConfig::uv PkgConfig::ssl PkgConfig::crypto
    TESTS tls rpc bulk identity join server
    FUZZERS rpc_frame join_request join_token cert)
