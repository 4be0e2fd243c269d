/* Certificates, bundles and lists of members as a peer or a disk may bring them. */
#include "node/tls/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct et_view bytes = { data, size };
	struct et_cert_info info;
	struct et_member_list list;
	uint8_t hash[32];

	if (et_cert_parse(bytes, &info, NULL) == 0) {
		et_assert(et_name_is_valid(info.cluster) && et_name_is_valid(info.site));
		et_assert(info.node > 0 && info.serial_size <= sizeof(info.serial));
		et_assert(et_cert_spki_hash(bytes, hash) == 0);
		et_assert(memcmp(hash, info.spki_hash, sizeof(hash)) == 0);
	}
	et_assert(et_ca_verify(bytes, (struct et_view){ data, size / 2 },
			       (struct et_view){ data, size / 3 }) < 0);
	et_assert(et_member_list_parse(bytes, bytes, &list, NULL) < 0);
	return 0;
}
