//go:build !windows

package softtoken

const libraryName = "softtoken.so"

var (
	nativeCompilers = []string{"cc", "gcc", "clang"}
	nativeFlags     = unixFlags
)
