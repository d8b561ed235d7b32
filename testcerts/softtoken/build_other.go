//go:build !windows

package softtoken

const libraryName = "softtoken.so"

var (
	nativeCompilers = []string{"cc", "gcc", "clang"}
	nativeFlags     = []string{"-shared", "-fPIC", "-fvisibility=hidden", "-pthread"}
)
