package softtoken

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tanba/testcerts"
)

// Info is what a new token says of itself, and its PIN.
type Info struct {
	// Label, Serial, Manufacturer and Model are UTF-8; PKCS#11 shows 32, 16,
	// 32 and 16 bytes of them.
	Label, Serial, Manufacturer, Model string
	// PIN is the user PIN; empty: the token has none and nobody can log in.
	PIN string
	// MinPIN and MaxPIN bound a PIN's length in bytes; 4 and 32 if zero.
	MinPIN, MaxPIN int
	// Tries is how many wrong PINs in a row lock the token; 3 if zero.
	Tries int
	// ToBeChanged makes the token want another PIN (CKF_USER_PIN_TO_BE_CHANGED).
	ToBeChanged bool
	// PUK is the security officer's PIN; empty: there is none. PUKTries is how
	// many wrong ones in a row lock it for good; 3 if zero.
	PUK      string
	PUKTries int
}

// A Reader is one reader of a folder, with its token.
type Reader struct {
	dir string
}

// Bounds of the module: module/token.h and module/os.h.
const (
	maxReaderName = 63
	maxValue      = 255
	maxID         = 128
)

// Create makes the reader name in the folder dir, with a new token in it. The
// name is the slot's description: ASCII letters, digits, spaces, dots, dashes
// and underscores.
func Create(dir, name string, info Info) (*Reader, error) {
	if name == "" || len(name) > maxReaderName || name[0] == '.' || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-") != "" {
		return nil, fmt.Errorf("invalid reader name %q", name)
	}
	if info.MinPIN == 0 {
		info.MinPIN = 4
	}
	if info.MaxPIN == 0 {
		info.MaxPIN = 32
	}
	if info.Tries == 0 {
		info.Tries = 3
	}
	if info.PUKTries == 0 {
		info.PUKTries = 3
	}
	if len(info.PUK) > maxValue || info.PUKTries < 1 || info.PUKTries > 255 {
		return nil, errors.New("invalid token: bounds of the PUK")
	}
	if info.MinPIN < 1 || info.MaxPIN > maxValue || info.MinPIN > info.MaxPIN || info.Tries < 1 || info.Tries > 255 {
		return nil, errors.New("invalid token: bounds of the PIN")
	}
	if n := len(info.PIN); n > 0 && (n < info.MinPIN || n > info.MaxPIN) {
		return nil, errors.New("invalid token: the PIN's length is outside its bounds")
	}
	r := &Reader{filepath.Join(dir, name)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, err
	}
	if info.PIN != "" {
		lines := []string{"pin", info.PIN, "min", strconv.Itoa(info.MinPIN), "max", strconv.Itoa(info.MaxPIN), "tries", strconv.Itoa(info.Tries)}
		if info.ToBeChanged {
			lines = append(lines, "change", "1")
		}
		if err := r.writeLines("pin", lines...); err != nil {
			return nil, err
		}
	}
	if info.PUK != "" {
		if err := r.writeLines("puk", "puk", info.PUK, "tries", strconv.Itoa(info.PUKTries)); err != nil {
			return nil, err
		}
	}
	if err := r.Insert(); err != nil {
		return nil, err
	}
	// The file that makes the folder a reader comes last.
	return r, r.writeLines("token", "label", info.Label, "serial", info.Serial, "manufacturer", info.Manufacturer, "model", info.Model)
}

// Open returns a reader that Create made earlier.
func Open(dir, name string) (*Reader, error) {
	r := &Reader{filepath.Join(dir, name)}
	if _, err := os.Stat(filepath.Join(r.dir, "token")); err != nil {
		return nil, fmt.Errorf("reader %s: %w", name, err)
	}
	return r, nil
}

// An Object is a certificate, a key or both, under one label.
type Object struct {
	Label string
	// ID is CKA_ID, at most 128 bytes.
	ID []byte
	// CertificateID, if set, is the certificate's CKA_ID where it differs from
	// the key's, as some tools leave it.
	CertificateID []byte
	// Certificate is DER; nil: none.
	Certificate []byte
	// Key is an *rsa.PrivateKey or an *ecdsa.PrivateKey; nil: none. It need not
	// fit the certificate.
	Key crypto.PrivateKey
	// AlwaysAuthenticate makes the key want the PIN for every signature.
	AlwaysAuthenticate bool
}

// AddLeaf puts a certificate and its key on the token.
func (r *Reader) AddLeaf(label string, l *testcerts.Leaf, id []byte) error {
	return r.Add(Object{Label: label, ID: id, Certificate: l.Certificate.Raw, Key: l.Key})
}

// Add puts an object on the token. The module reads objects when the first
// session on the token is opened, so an open one does not see it.
func (r *Reader) Add(o Object) error {
	if o.Certificate == nil && o.Key == nil {
		return errors.New("invalid object: neither certificate nor key")
	}
	if len(o.ID) > maxID || len(o.CertificateID) > maxID {
		return fmt.Errorf("invalid object: an id has at most %d bytes", maxID)
	}
	if len(o.Label) > maxValue {
		return fmt.Errorf("invalid object: a label has at most %d bytes", maxValue)
	}
	base, err := r.freeName()
	if err != nil {
		return err
	}
	if o.Key != nil {
		fields, err := keyFields(o.Key)
		if err != nil {
			return err
		}
		if o.AlwaysAuthenticate {
			fields = append(fields, "always", "1")
		}
		if err := r.writeLines(base+".key", append([]string{"id", hex.EncodeToString(o.ID), "label", o.Label}, fields...)...); err != nil {
			return err
		}
	}
	if o.Certificate == nil {
		return nil
	}
	id := o.CertificateID
	if id == nil {
		id = o.ID
	}
	if err := r.writeLines(base+".id", "id", hex.EncodeToString(id), "label", o.Label); err != nil {
		return err
	}
	return r.write(base+".crt", o.Certificate)
}

// freeName finds the next "objNNN" that has no files.
func (r *Reader) freeName() (string, error) {
	for i := 1; i < 1000; i++ {
		base := fmt.Sprintf("obj%03d", i)
		have, err := filepath.Glob(filepath.Join(r.dir, base+".*"))
		if err != nil {
			return "", err
		}
		if len(have) == 0 {
			return base, nil
		}
	}
	return "", errors.New("the token is full")
}

// keyFields gives the lines of a .key file: numbers in big-endian hex.
func keyFields(key crypto.PrivateKey) ([]string, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); n < 2048 || n > 4096 || len(k.Primes) != 2 || k.Primes[0].BitLen() != k.Primes[1].BitLen() {
			return nil, errors.New("unsupported RSA key: 2048 to 4096 bits of two primes of equal length")
		}
		k.Precompute()
		f := []string{"type", "rsa"}
		add := func(name string, b []byte) { f = append(f, name, hex.EncodeToString(b)) }
		add("n", k.N.Bytes())
		add("e", big.NewInt(int64(k.E)).Bytes())
		add("p", k.Primes[0].Bytes())
		add("q", k.Primes[1].Bytes())
		add("dp", k.Precomputed.Dp.Bytes())
		add("dq", k.Precomputed.Dq.Bytes())
		add("qinv", k.Precomputed.Qinv.Bytes())
		return f, nil
	case *ecdsa.PrivateKey:
		var curve string
		switch k.Curve {
		case elliptic.P256():
			curve = "p-256"
		case elliptic.P384():
			curve = "p-384"
		default:
			return nil, fmt.Errorf("unsupported curve %s", k.Params().Name)
		}
		d, err := k.Bytes()
		if err != nil {
			return nil, err
		}
		point, err := k.PublicKey.Bytes() // 04 || x || y
		if err != nil {
			return nil, err
		}
		half := (len(point) - 1) / 2
		return []string{"type", "ec", "curve", curve, "d", hex.EncodeToString(d),
			"x", hex.EncodeToString(point[1 : 1+half]), "y", hex.EncodeToString(point[1+half:])}, nil
	}
	return nil, fmt.Errorf("unsupported key of type %T", key)
}

// Pull takes the token out of its reader: its sessions end.
func (r *Reader) Pull() error { return r.write("absent", nil) }

// Insert puts it back, as a new insertion even if it was not out.
func (r *Reader) Insert() error {
	var b [12]byte
	if _, err := rand.Read(b[:]); err != nil {
		return err
	}
	if err := r.write("inserted", []byte(hex.EncodeToString(b[:]))); err != nil {
		return err
	}
	return r.remove("absent")
}

// Fault makes C_Sign go wrong from now on: segv, abort, exit, hang, spin,
// removed, deverr, delay:MS or badsig, with "@N" behind it for the process'
// Nth C_Sign on this token only. "" makes it work again.
func (r *Reader) Fault(order string) error {
	if order == "" {
		return r.remove("fault")
	}
	return r.write("fault", []byte(order))
}

// A PadAnswer is what is done at a reader's PIN pad.
type PadAnswer string

// The answers. The wrong PIN counts as any other.
const (
	PadRight  PadAnswer = "right"
	PadWrong  PadAnswer = "wrong"
	PadCancel PadAnswer = "cancel"
	NoPad     PadAnswer = ""
)

// Pad gives the reader a PIN pad (CKF_PROTECTED_AUTHENTICATION_PATH), on which
// every C_Login with a NULL PIN is answered so; NoPad takes it away.
func (r *Reader) Pad(a PadAnswer) error {
	if a == NoPad {
		return r.remove("pad")
	}
	return r.write("pad", []byte(a))
}

// TriesLeft returns how many wrong PINs the token still takes; 0: it is locked.
func (r *Reader) TriesLeft() (int, error) { return r.left("pin", "tries") }

// PUKTriesLeft is TriesLeft for the security officer's PIN.
func (r *Reader) PUKTriesLeft() (int, error) { return r.left("puk", "puktries") }

func (r *Reader) left(file, counter string) (int, error) {
	b, err := os.ReadFile(filepath.Join(r.dir, counter))
	if errors.Is(err, fs.ErrNotExist) {
		// No PIN was offered yet: all of them.
		pin, err := os.ReadFile(filepath.Join(r.dir, file))
		if err != nil {
			return 0, err
		}
		_, s, ok := strings.Cut(string(pin), "\ntries=")
		if !ok {
			return 0, fmt.Errorf("malformed %s file", file)
		}
		s, _, _ = strings.Cut(s, "\n")
		b = []byte(s)
	} else if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// Unlock gives the PIN all its tries back, as an administrator's PUK does.
func (r *Reader) Unlock() error { return r.remove("tries") }

// writeLines writes "name=value" lines from pairs.
func (r *Reader) writeLines(file string, pairs ...string) error {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		v := pairs[i+1]
		if strings.ContainsAny(v, "\r\n\x00") || (len(v) > maxValue && pairs[0] != "id") {
			return fmt.Errorf("invalid value of %s", pairs[i])
		}
		b.WriteString(pairs[i] + "=" + v + "\n")
	}
	return r.write(file, []byte(b.String()))
}

// write replaces a file whole, because the module may read it at any time.
func (r *Reader) write(file string, data []byte) error {
	f, err := os.CreateTemp(r.dir, ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), filepath.Join(r.dir, file))
}

func (r *Reader) remove(file string) error {
	err := os.Remove(filepath.Join(r.dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
