package softtoken

const libraryName = "softtoken.dll"

var (
	nativeCompilers = []string{"gcc", "x86_64-w64-mingw32-gcc"}
	nativeFlags     = windowsFlags
)
