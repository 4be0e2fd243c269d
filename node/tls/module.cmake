et_module(node/tls
    SOURCES address.c ca.c cert.c conn.c context.c guard.c identity.c pump.c rpc.c rpc_frame.c tls.c
    USES node/base node/io node/crypto
    LIBRARIES PkgConfig::uv PkgConfig::ssl PkgConfig::crypto
    TESTS tls rpc bulk)
