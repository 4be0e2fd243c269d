et_module(archive/bucket
    SOURCES bucket.c credentials.c dir.c s3.c s3_http.c s3_judge.c s3_sign.c s3_xml.c
    USES node/base node/io node/crypto
    LIBRARIES PkgConfig::curl PkgConfig::expat)
