package find

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// known are the vendors' usual places, OpenSC last.
var known = []string{
	`${SystemRoot}\System32\rtPKCS11ECP.dll`,
	`${SystemRoot}\System32\jcPKCS11-2.dll`, `${SystemRoot}\System32\jcPKCS11.dll`,
	`${SystemRoot}\System32\isbc_pkcs11_main.dll`,
	`${SystemRoot}\System32\eTPKCS11.dll`, `${ProgramFiles}\SafeNet\Authentication\SAC\x64\IDPrimePKCS1164.dll`,
	`${ProgramFiles}\Gemalto\IDGo 800 PKCS#11\IDPrimePKCS1164.dll`,
	`${SystemRoot}\System32\asepkcs.dll`, `${ProgramFiles}\Yubico\Yubico PIV Tool\bin\libykcs11.dll`,
	`${SystemRoot}\System32\eps2003csp11.dll`, `${SystemRoot}\System32\bit4xpki.dll`, `${SystemRoot}\System32\aetpkss1.dll`,
	`${ProgramFiles}\OpenSC Project\OpenSC\pkcs11\opensc-pkcs11.dll`, `${SystemRoot}\System32\opensc-pkcs11.dll`,
}

// Trusted reports why a library could have been put there by the user: it
// must be below the Windows or the Program Files folder, which only
// administrators can write.
func Trusted(path string) error {
	if !filepath.IsAbs(path) {
		return errRelative
	}
	for _, v := range []string{"SystemRoot", "ProgramFiles"} {
		root := os.Getenv(v)
		if rel, err := filepath.Rel(root, path); root != "" && err == nil && !strings.HasPrefix(rel, "..") {
			return nil
		}
	}
	return errors.New("not below the Windows or the Program Files folder")
}
