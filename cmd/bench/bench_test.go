// Package bench_test measures the real programs against peers in the same run
// and prints ratios: `make bench`. Nothing here passes or fails on a time.
package bench_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/digitorus/pdfsign/sign"
	"github.com/stretchr/testify/require"

	"tanba/testcerts"
)

// big is the size of the large files, in bytes.
const big = 300 << 20

func TestMain(m *testing.M) {
	if args := os.Getenv("BENCH_PDFSIGN"); args != "" {
		peerPDFSign(strings.Split(args, "|"))
		return
	}
	os.Exit(m.Run())
}

// A row is one line of the table.
type row struct{ what, ours, peer, ratio, aim string }

var table []row

func TestBench(t *testing.T) {
	if os.Getenv("TANBA_BENCH") == "" {
		t.Skip("measures only under make bench")
	}
	bins := t.TempDir()
	for _, p := range []struct{ pkg, cgo string }{{"tanba/cmd/tanba", "0"}, {"tanba/cmd/tokenhost", "1"}} {
		c := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", bins+"/", p.pkg)
		c.Env = append(os.Environ(), "CGO_ENABLED="+p.cgo)
		out, err := c.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	t.Run("start", func(t *testing.T) { benchStart(t, bins) })
	t.Run("batch", func(t *testing.T) { benchBatch(t, bins) })
	t.Run("big", func(t *testing.T) { benchBig(t, bins) })
	fmt.Printf("\n%-46s %-28s %-30s %-8s %s\n", "what", "Tanba", "peer", "ratio", "aim")
	for _, r := range table {
		fmt.Printf("%-46s %-28s %-30s %-8s %s\n", r.what, r.ours, r.peer, r.ratio, r.aim)
	}
	fmt.Printf("\n%s, %d processors, %s\n", runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// A run is what one program took.
type run struct {
	wall time.Duration
	rss  int64 // bytes, the largest
}

func (r run) String() string { return fmt.Sprintf("%.2f s, %d MB", r.wall.Seconds(), r.rss>>20) }

// measure runs a program and returns what it took.
func measure(t *testing.T, env []string, stdin, name string, args ...string) run {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Env = append(os.Environ(), env...)
	c.Stdin = strings.NewReader(stdin)
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	from := time.Now()
	err := c.Run()
	wall := time.Since(from)
	require.NoError(t, err, "%s %v: %s", name, args, said.String())
	use, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	require.True(t, ok)
	return run{wall, use.Maxrss << 10}
}

// best is the fastest of three.
func best(once func() run) run {
	b := once()
	for range 2 {
		if r := once(); r.wall < b.wall {
			b = r
		}
	}
	return b
}

// benchBig signs files of 300 MB.
func benchBig(t *testing.T, bins string) {
	dir := t.TempDir()
	pki, err := testcerts.New(testcerts.Options{Now: time.Now()})
	require.NoError(t, err)
	leaf, err := pki.Issue(testcerts.LeafSpec{Name: "Bench", Kind: testcerts.RSA2048})
	require.NoError(t, err)
	p12, err := leaf.PKCS12("pw")
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
	require.NoError(t, err)
	at := func(n string) string { return filepath.Join(dir, n) }
	for name, b := range map[string][]byte{
		"key.p12": p12, "cert.pem": []byte(leaf.Certificate.PEM()),
		"key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		require.NoError(t, os.WriteFile(at(name), b, 0o600))
	}
	bigPDF(t, at("big.pdf"))
	tanba := filepath.Join(bins, "tanba")
	home := []string{"HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_STATE_HOME=" + dir, "XDG_RUNTIME_DIR=" + dir}
	ours := func(format, out string) func() run {
		return func() run {
			return measure(t, home, "pw\n", tanba, "sign", at("big.pdf"), "--format", format, "--key", at("key.p12"), "--pin-file", "-", "--out", at(out), "--force")
		}
	}
	copying := best(func() run {
		return measure(t, nil, "", "sh", "-c", "sha256sum "+at("big.pdf")+" >/dev/null && cp "+at("big.pdf")+" "+at("copy")+" && sync "+at("copy"))
	})
	pades := best(ours("pades", "out.pdf"))
	peer := best(func() run {
		return measure(t, []string{"BENCH_PDFSIGN=" + strings.Join([]string{at("big.pdf"), at("peer.pdf"), at("cert.pem"), at("key.pem")}, "|")}, "", os.Args[0])
	})
	add("PAdES of 300 MB", pades, "digitorus/pdfsign", peer, "≥ 8×, ≤ 32 MB")
	add("PAdES of 300 MB", pades, "sha256sum + cp + sync", copying, "")
	cades := best(ours("cades", "out.p7s"))
	openssl := best(func() run {
		return measure(t, nil, "", "openssl", "cms", "-sign", "-binary", "-in", at("big.pdf"), "-signer", at("cert.pem"), "-inkey", at("key.pem"), "-outform", "DER", "-out", at("peer.p7s"), "-md", "sha256")
	})
	add("detached CAdES of 300 MB", cades, "openssl cms -sign", openssl, "")
}

func add(what string, ours run, peer string, theirs run, aim string) {
	table = append(table, row{what, ours.String(), peer + " " + theirs.String(), fmt.Sprintf("%.1f×", float64(theirs.wall)/float64(ours.wall)), aim})
}

// bigPDF writes a PDF of one page and a stream that fills it up.
func bigPDF(t *testing.T, path string) {
	f, err := os.Create(path)
	require.NoError(t, err)
	var at [5]int64
	n := int64(0)
	put := func(s string) {
		k, err := io.WriteString(f, s)
		require.NoError(t, err)
		n += int64(k)
	}
	object := func(i int, s string) { at[i] = n; put(fmt.Sprintf("%d 0 obj\n%s\nendobj\n", i, s)) }
	put("%PDF-1.7\n")
	object(1, "<</Type/Catalog/Pages 2 0 R/Filler 4 0 R>>")
	object(2, "<</Type/Pages/Kids[3 0 R]/Count 1>>")
	object(3, "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>")
	at[4] = n
	put(fmt.Sprintf("4 0 obj\n<</Length %d>>\nstream\n", big))
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for range big / len(block) {
		put(string(block))
	}
	put("\nendstream\nendobj\n")
	x := n
	put("xref\n0 5\n0000000000 65535 f \n")
	for _, o := range at[1:] {
		put(fmt.Sprintf("%010d 00000 n \n", o))
	}
	put(fmt.Sprintf("trailer\n<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", x))
	require.NoError(t, f.Close())
}

// peerPDFSign is digitorus/pdfsign as a program: input, output, certificate,
// key.
func peerPDFSign(args []string) {
	die := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	read := func(p string) []byte {
		b, err := os.ReadFile(p)
		die(err)
		block, _ := pem.Decode(b)
		return block.Bytes
	}
	c, err := x509.ParseCertificate(read(args[2]))
	die(err)
	k, err := x509.ParsePKCS8PrivateKey(read(args[3]))
	die(err)
	signer, ok := k.(crypto.Signer)
	if !ok {
		die(errors.New("no signing key"))
	}
	die(sign.SignFile(args[0], args[1], sign.SignData{
		Signature: sign.SignDataSignature{CertType: sign.ApprovalSignature, Info: sign.SignDataSignatureInfo{Name: "Bench", Date: time.Now()}},
		Signer:    signer, DigestAlgorithm: crypto.SHA256, Certificate: c,
	}))
}
