et_module(archive/bucket
    SOURCES bucket.c credentials.c dir.c probe.c s3.c s3_http.c s3_judge.c s3_sign.c s3_xml.c s3v2.c
    USES node/base node/io node/crypto
    LIBRARIES PkgConfig::curl PkgConfig::expat PkgConfig::crypto ${S3_LIBRARY}
    TESTS sign parse faults conformance
    FUZZERS xml credentials answer)

# The same suite on a real Ceph. 77: it is not installed (ops/packages s3).
add_test(NAME archive/bucket/conformance-s3 COMMAND test_archive_bucket_conformance s3
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}/archive/bucket/test")
set_tests_properties(archive/bucket/conformance-s3 PROPERTIES LABELS unit TIMEOUT 300 SKIP_RETURN_CODE 77)
