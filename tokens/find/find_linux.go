package find

// known are the vendors' usual places: Rutoken, JaCarta, ESMART, CryptoPro,
// SafeNet, IDPrime, Athena, YubiKey, Feitian, Bit4id, SafeSign, OpenSC last.
var known = []string{
	"/usr/lib/librtpkcs11ecp.so", "/usr/lib64/librtpkcs11ecp.so", "/usr/lib/*-linux-gnu/librtpkcs11ecp.so", "/usr/lib/pkcs11/librtpkcs11ecp.so",
	"/opt/aktivco/rutokenecp/*/librtpkcs11ecp.so",
	"/usr/lib/libjcPKCS11-2.so", "/usr/lib64/libjcPKCS11-2.so", "/usr/lib64/pkcs11/libjcPKCS11-2.so",
	"/usr/lib*/pkcs11/libisbc_pkcs11_main.so",
	"/opt/cprocsp/lib/amd64/libcppkcs11.so",
	"/usr/lib/libeTPkcs11.so", "/usr/lib64/libeTPkcs11.so", "/usr/lib*/libIDPrimePKCS11.so",
	"/usr/lib/x64-athena/libASEP11.so", "/usr/local/lib/libykcs11.so", "/usr/lib/*-linux-gnu/libykcs11.so",
	"/usr/lib/libcastle.so.1.0.0", "/usr/lib/bit4id/libbit4opki.so", "/usr/lib/libaetpkss.so.3",
	"/usr/lib/*-linux-gnu/opensc-pkcs11.so", "/usr/lib64/opensc-pkcs11.so", "/usr/lib/opensc-pkcs11.so",
}
