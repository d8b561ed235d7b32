package find

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// system is a stand-in for folders of the administrator's. Only root can make
// one; for another user every folder of the test's is the user's own.
func system(t *testing.T) string {
	if os.Geteuid() != 0 {
		t.Skip("only the administrator can make a folder that the user cannot write")
	}
	dir, err := os.MkdirTemp("/var/lib", "tanba-find-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

func put(t *testing.T, path, text string) string {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func TestPlantedLibrariesAreRefused(t *testing.T) {
	sys, own := system(t), t.TempDir()
	good := put(t, filepath.Join(sys, "good.so"), "x")
	planted := put(t, filepath.Join(own, "planted.so"), "x")
	link := filepath.Join(sys, "link.so")
	require.NoError(t, os.Symlink(planted, link))
	open := put(t, filepath.Join(sys, "open.so"), "x")
	require.NoError(t, os.Chmod(open, 0o666))
	folder := put(t, filepath.Join(sys, "folder", "f.so"), "x")
	require.NoError(t, os.Chmod(filepath.Dir(folder), 0o777))
	foreign := put(t, filepath.Join(sys, "foreign.so"), "x")
	require.NoError(t, os.Chown(foreign, 65534, 65534))

	found, refused := installed([]string{filepath.Join(sys, "*.so"), filepath.Join(sys, "*", "*.so"), planted, good, "relative.so", filepath.Join(sys, "absent.so")})
	assert.Equal(t, []string{good}, found)
	assert.Len(t, refused, 4, "planted behind a link, open file, open folder, another owner: %v", refused)

	t.Chdir(own)
	found, _ = installed([]string{"planted.so"})
	assert.Empty(t, found, "nothing of the working directory")
}

func TestP11Kit(t *testing.T) {
	sys := system(t)
	lib := put(t, filepath.Join(sys, "pkcs11", "vendor.so"), "x")
	lists, folders := p11kitLists, p11kitFolders
	t.Cleanup(func() { p11kitLists, p11kitFolders = lists, folders })
	p11kitLists = []string{filepath.Join(sys, "etc"), filepath.Join(sys, "share")}
	p11kitFolders = []string{filepath.Join(sys, "pkcs11")}
	put(t, filepath.Join(sys, "etc", "vendor.module"), "# ours\nmodule: vendor.so\nmanaged: yes\n")
	put(t, filepath.Join(sys, "share", "vendor.module"), "module: /elsewhere.so\n")
	put(t, filepath.Join(sys, "share", "trust.module"), "module: p11-kit-trust.so\n")
	put(t, filepath.Join(sys, "share", "limited.module"), "module: limited.so\nenable-in: firefox\n")
	put(t, filepath.Join(sys, "share", "remote.module"), "remote: |ssh host p11-kit remote\n")
	put(t, filepath.Join(sys, "share", "climbs.module"), "module: ../evil.so\n")
	open := put(t, filepath.Join(sys, "share", "open.module"), "module: vendor.so\n")
	require.NoError(t, os.Chmod(open, 0o666))

	paths, refused := listed()
	assert.Equal(t, []string{lib}, paths)
	assert.Len(t, refused, 2)
	found, _ := installed(paths)
	assert.Equal(t, []string{lib}, found)
}
