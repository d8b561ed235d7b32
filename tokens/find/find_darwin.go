package find

// known are the vendors' usual places, OpenSC last.
var known = []string{
	"/Library/Frameworks/rtpkcs11ecp.framework/rtpkcs11ecp", "/usr/local/lib/librtpkcs11ecp.dylib",
	"/Library/Frameworks/jcPKCS11-2.framework/jcPKCS11-2", "/usr/local/lib/libjcPKCS11.dylib",
	"/usr/local/lib/libeTPkcs11.dylib", "/usr/local/lib/libidprimepkcs11.0.dylib",
	"/Library/Application Support/Athena/libASEP11.dylib", "/usr/local/lib/libykcs11.dylib",
	"/usr/local/lib/libcastle.1.0.0.dylib", "/System/Library/bit4id/libbit4xpki.dylib", "/usr/local/lib/libaetpkss.dylib",
	"/Library/OpenSC/lib/pkcs11/opensc-pkcs11.so", "/Library/OpenSC/lib/opensc-pkcs11.so",
}
