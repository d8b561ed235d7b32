package softtoken_test

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/testcerts"
	"tanba/testcerts/softtoken"
)

// The flags of a PIN in CK_TOKEN_INFO, as the probe prints them.
const (
	pinFine   = "8"
	pinLow    = "10008"
	pinFinal  = "30008"
	pinLocked = "40008"
)

func (p *probe) pinFlags() string { return strings.Fields(p.call("tokeninfo 0"))[1] }

func (b *bed) triesLeft(t *testing.T) int {
	t.Helper()
	n, err := b.r.TriesLeft()
	require.NoError(t, err)
	return n
}

func TestPIN(t *testing.T) {
	b := newBed(t, testcerts.P256)
	p := b.probe(t)
	s := p.open(false)
	assert.Equal(t, "0 8 6 32 Директор", strings.Join(strings.Fields(p.call("tokeninfo 0")), " "))
	assert.Equal(t, 3, b.triesLeft(t))
	assert.Equal(t, "a2", p.call("login %s 1 -", s), "empty")
	assert.Equal(t, "a2", p.call("login %s 1 12345", s), "short")
	assert.Equal(t, "a2", p.call("login %s 1 %s", s, strings.Repeat("1", 33)), "long")
	assert.Equal(t, "103", p.call("login %s 5 %s", s, pin), "nobody")
	assert.Equal(t, "b7", p.call("login %s 0 %s", s, pin), "security officer beside a read-only session")
	assert.Equal(t, pinFine, p.pinFlags(), "none of these counts")

	assert.Equal(t, "a0", p.call("login %s 1 wrong-pin", s))
	assert.Equal(t, pinLow, p.pinFlags())
	assert.Equal(t, 2, b.triesLeft(t))
	assert.Equal(t, "a0", p.call("login %s 1 wrong-pin", s))
	assert.Equal(t, pinFinal, p.pinFlags())
	assert.Equal(t, 1, b.triesLeft(t))
	assert.Equal(t, "0", p.call("login %s 1 %s", s, pin), "the right PIN gives all tries back")
	assert.Equal(t, pinFine, p.pinFlags())
	assert.Equal(t, 3, b.triesLeft(t))

	assert.Equal(t, "100", p.call("login %s 1 %s", s, pin), "already logged in")
	assert.Equal(t, "100", p.call("login %s 1 wrong-pin", s), "and so a wrong PIN does not show")
	assert.Equal(t, pinFine, p.pinFlags())
	assert.Equal(t, "0", p.call("logout %s", s))
	assert.Equal(t, "101", p.call("logout %s", s))

	for _, want := range []string{"a0", "a0", "a4", "a4"} {
		assert.Equal(t, want, p.call("login %s 1 wrong-pin", s))
	}
	assert.Equal(t, pinLocked, p.pinFlags())
	assert.Zero(t, b.triesLeft(t))
	assert.Equal(t, "a4", p.call("login %s 1 %s", s, pin), "the right one comes too late")
	assert.Equal(t, "a4", p.call("login %s 1 -", s))
	p.end()

	p = b.probe(t) // the counter outlives the process
	s = p.open(false)
	assert.Equal(t, "a4", p.call("login %s 1 %s", s, pin))
	require.NoError(t, b.r.Unlock())
	assert.Equal(t, "0", p.call("login %s 1 %s", s, pin))
	p.end()
}

func TestTokenWithoutPIN(t *testing.T) {
	dir := t.TempDir()
	_, err := softtoken.Create(dir, "r", softtoken.Info{Label: "none"})
	require.NoError(t, err)
	p := (&bed{dir: dir}).probe(t)
	s := p.open(false)
	assert.Equal(t, "0", p.pinFlags())
	assert.Equal(t, "102", p.call("login %s 1 %s", s, pin))
	p.end()
}

func TestPINPad(t *testing.T) {
	b := newBed(t, testcerts.P256)
	p := b.probe(t)
	s := p.open(false)
	for _, c := range []struct {
		answer softtoken.PadAnswer
		rv     string
		tries  int
	}{
		{softtoken.PadCancel, "50", 3}, {softtoken.PadWrong, "a0", 2}, {softtoken.PadWrong, "a0", 1}, {softtoken.PadCancel, "50", 1},
		{softtoken.PadRight, "0", 3}, {"nonsense", "30", 3}, {softtoken.NoPad, "a2", 3},
		{softtoken.PadWrong, "a0", 2}, {softtoken.PadWrong, "a0", 1}, {softtoken.PadWrong, "a4", 0}, {softtoken.PadRight, "a4", 0},
	} {
		require.NoError(t, b.r.Pad(c.answer))
		assert.Equal(t, c.rv, p.call("login %s 1 -", s), c.answer)
		assert.Equal(t, c.tries, b.triesLeft(t), c.answer)
		if c.rv == "0" {
			assert.Equal(t, "108", p.pinFlags())
			require.Equal(t, "0", p.call("logout %s", s))
		}
	}
	require.NoError(t, b.r.Unlock())
	assert.Equal(t, "0", p.call("login %s 1 %s", s, pin), "a PIN from the host is taken as well")
	p.end()
}

func TestLoginBelongsToTheProcess(t *testing.T) {
	b := newBed(t, testcerts.P256)
	p, q := b.probe(t), b.probe(t)
	s1, s2, other := p.open(true), p.open(false), q.open(false)
	assert.Equal(t, "0 1", p.call("sessinfo %s", s2), "all sessions of the process share it")
	assert.Equal(t, "0 0", q.call("sessinfo %s", other))
	assert.Len(t, p.find(s2, 3, "-"), 1)
	assert.Empty(t, q.find(other, 3, "-"))
	assert.Len(t, q.find(other, 2, "-"), 1, "public keys are always there")
	assert.Equal(t, "0", p.call("close %s", s1))
	assert.Equal(t, "b3", p.call("close %s", s1))
	assert.Equal(t, "0 1", p.call("sessinfo %s", s2))
	assert.Equal(t, "0", p.call("close %s", s2))
	s2 = p.open(false)
	assert.Equal(t, "0 0", p.call("sessinfo %s", s2), "the last session took it along")
	p.end()
	q.end()
}

func TestObjects(t *testing.T) {
	b := newBed(t, testcerts.RSA2048, testcerts.P384)
	k, err := testcerts.NewKey(testcerts.P256)
	require.NoError(t, err)
	leaf := b.leaves["0a01"]
	require.NoError(t, b.r.Add(softtoken.Object{Label: "CA", ID: []byte{0xca}, Certificate: leaf.Chain[0].Raw}))
	require.NoError(t, b.r.Add(softtoken.Object{Label: "odd", ID: []byte{0x0b}, CertificateID: []byte{0x0c}, Certificate: leaf.Certificate.Raw, Key: k}))
	p := b.probe(t)
	s := p.open(true)
	assert.Len(t, p.find(s, 1, "-"), 4)
	assert.Len(t, p.find(s, 2, "-"), 3)
	assert.Len(t, p.find(s, 3, "-"), 3)
	assert.Len(t, p.find(s, 1, "0c"), 1)
	assert.Empty(t, p.find(s, 1, "0b"))
	assert.Len(t, p.find(s, 3, "0b"), 1)

	attr := func(o, typ string) string { return p.call("attr %s %s %s 1000", s, o, typ) }
	c := p.find(s, 1, "0a01")[0]
	value := func(b []byte) string { return fmt.Sprintf("0 %d %x", len(b), b) }
	x := leaf.Certificate.X509
	assert.Equal(t, value([]byte("Ключ rsa-2048")), attr(c, "3"))
	assert.Equal(t, value(x.RawSubject), attr(c, "101"))
	assert.Equal(t, value(x.RawIssuer), attr(c, "81"))
	assert.Equal(t, value(append([]byte{2, 20}, x.SerialNumber.Bytes()...)), attr(c, "82"))
	assert.Equal(t, fmt.Sprintf("0 %d", len(leaf.Certificate.Raw)), p.call("attr %s %s 11 0", s, c))
	assert.Equal(t, "150 -1", p.call("attr %s %s 11 5", s, c))
	assert.Equal(t, "12 -1", attr(c, "8000abcd"))

	key := p.key(s, "0a01")
	for _, typ := range []string{"123", "124", "125", "128"} {
		assert.Equal(t, "11 -1", attr(key, typ), "the private part")
	}
	assert.Equal(t, "11 -1", attr(p.key(s, "0a02"), "11"))
	assert.Equal(t, "0 1 01", attr(key, "103"), "sensitive")
	assert.Equal(t, "0 1 00", attr(key, "162"), "not extractable")
	assert.Equal(t, "0 1 00", attr(key, "202"), "no PIN for each signature")
	pub := p.find(s, 2, "0a02")[0]
	point, err := b.leaves["0a02"].Key.Public().(*ecdsa.PublicKey).Bytes()
	require.NoError(t, err)
	assert.Equal(t, value(append([]byte{4, byte(len(point))}, point...)), attr(pub, "181"))
	assert.Equal(t, "0 7 06052b81040022", attr(pub, "180"))

	assert.Equal(t, "0", p.call("logout %s", s))
	assert.Equal(t, "82 1000", strings.TrimSpace(attr(key, "102")), "a private key is not there for the logged out")
	a, r := strings.Fields(p.call("random %s", s)), strings.Fields(p.call("random %s", s))
	assert.NotEqual(t, a[1], r[1])
	p.end()
}

func TestRemoval(t *testing.T) {
	b := newBed(t, testcerts.P256)
	p := b.probe(t)
	s := p.open(true)
	key := p.key(s, "0a01")
	require.NoError(t, b.r.Pull())
	assert.Equal(t, "32 0", p.call("sessinfo %s", s))
	assert.Equal(t, "b3", p.call("signinit %s 1041 %s 0 0 0", s, key))
	assert.Equal(t, "e0", strings.Fields(p.call("open 0"))[0])
	assert.Equal(t, "e0", strings.Fields(p.call("tokeninfo 0"))[0])
	assert.Equal(t, "0 2 Reader 01", p.call("slotinfo 0"))
	assert.Equal(t, "0", p.call("slots 1"))
	assert.Equal(t, "0 0", p.call("slots 0"))

	require.NoError(t, b.r.Insert())
	assert.Equal(t, "0 0", p.call("slots 1"))
	assert.Equal(t, "b3", p.call("signinit %s 1041 %s 0 0 0", s, key), "the old session stays dead")
	n := p.open(false)
	assert.Equal(t, "101", p.call("signinit %s 1041 %s 0 0 0", n, key))
	require.Equal(t, "0", p.call("login %s 1 %s", n, pin))
	assert.Equal(t, "60", p.call("signinit %s 1041 %s 0 0 0", n, key), "handles are new too")
	p.sign(n, p.key(n, "0a01"), "1041", noPSS, "aa")

	// Out and in between two calls is a removal all the same.
	require.NoError(t, b.r.Pull())
	require.NoError(t, b.r.Insert())
	assert.Equal(t, "b3", p.call("logout %s", n))
	assert.Equal(t, "0", p.call("closeall 0"))
	assert.Equal(t, "b3 0", p.call("sessinfo %s", n))

	// Pulled while it signs.
	n = p.open(true)
	key = p.key(n, "0a01")
	require.NoError(t, b.r.Fault("delay:700"))
	require.Equal(t, "0", p.call("signinit %s 1041 %s 0 0 0", n, key))
	p.send("sign %s aa 512", n)
	time.Sleep(200 * time.Millisecond)
	require.NoError(t, b.r.Pull())
	assert.Equal(t, "32 512", p.answer(10*time.Second))
	p.end()
}

func TestEvents(t *testing.T) {
	b := newBed(t)
	p := b.probe(t)
	assert.Equal(t, "8 99", p.call("poll"), "nothing has happened")
	require.NoError(t, b.r.Pull())
	assert.Equal(t, "0 0", p.call("poll"))
	assert.Equal(t, "8 99", p.call("poll"), "each once")
	p.send("waitbg")
	assert.Equal(t, "no answer", p.answer(300*time.Millisecond))
	require.NoError(t, b.r.Insert())
	assert.Equal(t, "event 0 0", p.answer(5*time.Second))
	_, err := softtoken.Create(b.dir, "second", softtoken.Info{Label: "2", PIN: pin})
	require.NoError(t, err)
	p.send("waitbg")
	assert.Equal(t, "event 0 1", p.answer(5*time.Second), "a reader that is new")
	p.send("waitbg")
	assert.Equal(t, "no answer", p.answer(300*time.Millisecond))
	p.send("finalwait")
	assert.Equal(t, "event 190 99", p.answer(5*time.Second), "C_Finalize wakes the waiter")
	assert.Equal(t, "0", p.answer(5*time.Second))
	assert.Equal(t, "190", p.call("final"))
	assert.Equal(t, "190", p.call("slots 0"))
	assert.Equal(t, "0", p.call("init"))
	assert.Equal(t, "191", p.call("init"))
	p.end()
}

func TestFaults(t *testing.T) {
	b := newBed(t, testcerts.P256)
	start := func() (*probe, string, string) {
		p := b.probe(t)
		s := p.open(true)
		return p, s, p.key(s, "0a01")
	}
	trySign := func(p *probe, s, key string, within time.Duration) string {
		require.Equal(t, "0", p.call("signinit %s 1041 %s 0 0 0", s, key))
		require.Equal(t, "0 64", p.call("sign %s aa 0", s), "asking for the length is not signing")
		p.send("sign %s aa 512", s)
		return strings.Fields(p.answer(within))[0]
	}
	for order, want := range map[string]string{"segv": "signal: segmentation fault", "abort": "signal: aborted", "exit": "0"} {
		require.NoError(t, b.r.Fault(order))
		p, s, key := start()
		assert.Equal(t, "EOF", trySign(p, s, key, 10*time.Second), order)
		_ = p.cmd.Wait()
		if want == "0" {
			assert.True(t, p.cmd.ProcessState.Success())
		} else {
			assert.Contains(t, p.cmd.ProcessState.String(), want)
		}
	}
	for _, order := range []string{"hang", "spin"} {
		require.NoError(t, b.r.Fault(order))
		p, s, key := start()
		assert.Equal(t, "no", trySign(p, s, key, 500*time.Millisecond), order)
		require.NoError(t, p.cmd.Process.Kill())
		_ = p.cmd.Wait()
	}
	p, s, key := start()
	require.NoError(t, b.r.Fault("deverr"))
	assert.Equal(t, "30", trySign(p, s, key, 10*time.Second))
	require.NoError(t, b.r.Fault("nonsense"))
	assert.Equal(t, "5", trySign(p, s, key, 10*time.Second))
	require.NoError(t, b.r.Fault("delay:300"))
	begin := time.Now()
	assert.Equal(t, "0", trySign(p, s, key, 10*time.Second))
	assert.GreaterOrEqual(t, time.Since(begin), 300*time.Millisecond)

	pub := b.leaves["0a01"].Key.Public().(*ecdsa.PublicKey)
	good := func() bool {
		sig := p.sign(s, key, "1041", noPSS, "aa")
		return ecdsa.Verify(pub, []byte{0xaa}, new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	}
	require.NoError(t, b.r.Fault("badsig"))
	assert.False(t, good())
	require.NoError(t, b.r.Fault(""))
	assert.True(t, good())

	// The seventh C_Sign of this process on the token, and no other.
	require.NoError(t, b.r.Fault("removed@7"))
	assert.Equal(t, "0", trySign(p, s, key, 10*time.Second))
	assert.Equal(t, "32", trySign(p, s, key, 10*time.Second))
	assert.Equal(t, "0", p.call("slots 1"), "and the token is out")
	require.NoError(t, b.r.Insert())
	s = p.open(true)
	key = p.key(s, "0a01")
	assert.Equal(t, "0", trySign(p, s, key, 10*time.Second))
	p.end()
}

func TestThreads(t *testing.T) {
	b := newBed(t, testcerts.RSA2048, testcerts.P256)
	p := b.probe(t)
	s := p.open(true)
	assert.Equal(t, "0", strings.Fields(p.call("bench 0 1041 %s 20 8", p.key(s, "0a02")))[0])
	assert.Equal(t, "0", strings.Fields(p.call("bench 0 1 %s 5 8", p.key(s, "0a01")))[0])
	p.end()
}

// BenchmarkSign reports microseconds a signature as the module makes them in
// one thread and in two: by the wall, and of a processor.
func BenchmarkSign(b *testing.B) {
	exe := filepath.Join(b.TempDir(), "plain")
	require.NoError(b, compileProbe(exe, "-O2", "-funroll-loops"))
	for kind, mech := range map[testcerts.KeyKind]string{testcerts.RSA2048: "1", testcerts.P256: "1041", testcerts.P384: "1041"} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d", kind, threads), func(b *testing.B) {
				p := newBed(b, kind).start(b, exe)
				require.Equal(b, "0", p.call("init"))
				s := p.open(true)
				var rv string
				var wall, cpu int64
				_, err := fmt.Sscan(p.call("bench 0 %s %s %d %d", mech, p.key(s, "0a01"), b.N, threads), &rv, &wall, &cpu)
				require.NoError(b, err)
				require.Equal(b, "0", rv)
				b.ReportMetric(float64(wall)/float64(b.N*threads), "µs/sig")
				b.ReportMetric(float64(cpu)/float64(b.N*threads), "cpu-µs/sig")
			})
		}
	}
}
