package pades_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tanba/crypto/pades"
	"tanba/crypto/sigalg"
	"tanba/testcerts"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A signer is a person of the throw-away PKI.
type signer struct {
	*testcerts.Leaf
	alg sigalg.Algorithm
}

var pki = sync.OnceValues(func() (*testcerts.PKI, error) {
	return testcerts.New(testcerts.Options{Now: now})
})

var signers = sync.OnceValues(func() (map[sigalg.Algorithm]signer, error) {
	p, err := pki()
	if err != nil {
		return nil, err
	}
	out := map[sigalg.Algorithm]signer{}
	for _, k := range []struct {
		kind testcerts.KeyKind
		algs []sigalg.Algorithm
	}{
		{testcerts.RSA2048, []sigalg.Algorithm{sigalg.RSASHA256, sigalg.RSASHA384, sigalg.RSASHA512, sigalg.RSAPSSSHA256}},
		{testcerts.P256, []sigalg.Algorithm{sigalg.ECDSAP256SHA256}},
		{testcerts.P384, []sigalg.Algorithm{sigalg.ECDSAP384SHA384}},
	} {
		leaf, err := p.Issue(testcerts.LeafSpec{Name: "ЩУКИН ШАМИЛЬ", Organization: "TOO (Altyn)", IIN: "850101300123", BIN: "050140001234", Role: "head", Kind: k.kind})
		if err != nil {
			return nil, err
		}
		for _, a := range k.algs {
			out[a] = signer{leaf, a}
		}
	}
	return out, nil
})

func signerFor(t testing.TB, alg sigalg.Algorithm) signer {
	all, err := signers()
	require.NoError(t, err)
	s, ok := all[alg]
	require.True(t, ok, alg)
	return s
}

func (s signer) options() pades.Options {
	return pades.Options{Certificate: s.Certificate, Chain: s.Chain, Algorithm: s.alg, SigningTime: now}
}

func (s signer) sign(digest []byte) ([]byte, error) {
	return s.Key.Sign(rand.Reader, digest, sigalg.SignerOpts(s.alg))
}

// attempt signs base, or says why not.
func (s signer) attempt(base []byte, change func(*pades.Options)) ([]byte, error) {
	d, err := pades.Open(bytes.NewReader(base), int64(len(base)))
	if err != nil {
		return nil, err
	}
	o := s.options()
	if change != nil {
		change(&o)
	}
	p, err := d.Prepare(o)
	if err != nil {
		return nil, err
	}
	sig, err := s.sign(p.Digest())
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	_, err = p.Finish(context.Background(), sig, &out)
	return out.Bytes(), err
}

func (s signer) must(t testing.TB, base []byte, change func(*pades.Options)) []byte {
	out, err := s.attempt(base, change)
	require.NoError(t, err)
	return out
}

// corpus returns the files of the PDF collection by name.
func corpus(t testing.TB) (names []string, files map[string][]byte) {
	dir := os.Getenv("TANBA_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	list, err := filepath.Glob(filepath.Join(dir, "pdf", "*.pdf"))
	require.NoError(t, err)
	if len(list) == 0 {
		if os.Getenv("TANBA_REQUIRE_DATA") == "1" {
			require.FailNow(t, "no PDF files; set TANBA_TESTDATA")
		}
		t.Skip("no collection of PDF files: set TANBA_TESTDATA")
	}
	files = map[string][]byte{}
	for _, f := range list {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		names = append(names, filepath.Base(f))
		files[filepath.Base(f)] = b
	}
	sort.Strings(names)
	return names, files
}

// nss makes a database that trusts the throw-away root, for pdfsig.
var nss = sync.OnceValues(func() (string, error) {
	p, err := pki()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "tanba-nss")
	if err != nil {
		return "", err
	}
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, []byte(p.Root.Certificate.PEM()), 0o600); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"-N", "-d", "sql:" + dir, "--empty-password"},
		{"-A", "-d", "sql:" + dir, "-n", "root", "-t", "C,C,C", "-i", root},
	} {
		if out, err := exec.Command("certutil", args...).CombinedOutput(); err != nil {
			return "", &exec.Error{Name: string(out), Err: err}
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := nss(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// run starts a program of another author on file and returns what it says.
func run(t testing.TB, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := exec.LookPath(name)
	require.NoError(t, err, "install poppler-utils, qpdf and libnss3-tools")
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

func write(t testing.TB, name string, b []byte) string {
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, b, 0o600))
	return file
}
