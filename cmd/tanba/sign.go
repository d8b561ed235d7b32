package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"tanba/agent/job"
	"tanba/agent/policy"
	"tanba/agent/sign"
	"tanba/tokens"
	"tanba/tokens/file"
	"tanba/tokens/keyring"
)

// maxFile bounds what tanba sign takes, in bytes.
const maxFile = 64 << 30

type signCmd struct {
	Files    []string `arg:"" name:"file" help:"Files to sign." type:"existingfile"`
	Key      string   `help:"PKCS#11 URI (RFC 7512) or PKCS#12 file; default: the only certificate present." placeholder:"URI|FILE"`
	PINFile  string   `name:"pin-file" help:"File with the PIN or password in its first line; - is standard input; default: ask at the terminal." placeholder:"FILE|-"`
	Format   string   `help:"pades or cades; default: pades for PDF files, cades for others." enum:"pades,cades," default:""`
	Level    string   `help:"Baseline level." enum:"B-B" default:"B-B"`
	Attached bool     `help:"Put the content into the CAdES file."`
	Detached bool     `help:"Leave the content out of the CAdES file (the default)."`
	Out      string   `help:"Output file; for several files: a folder." placeholder:"PATH" type:"path"`
	Force    bool     `help:"Overwrite output files."`
	JSON     bool     `help:"Print one JSON object."`
}

func (c *signCmd) Run(ctx context.Context, e *env) error {
	if c.Attached && (c.Detached || c.Format == "pades") {
		return &usageError{errors.New("--attached goes with cades, and not with --detached")}
	}
	p, f, err := e.settings()
	if err != nil {
		return err
	}
	if err := f.make(); err != nil {
		return err
	}
	pin, err := c.readPIN(e)
	if err != nil {
		return err
	}
	defer pin.Wipe()
	log := slog.New(slog.DiscardHandler)
	ring, choose, err := c.openKey(ctx, p, pin, log)
	if err != nil {
		return err
	}
	defer ring.Close()
	req, inputs, err := c.request(p)
	defer closeAll(inputs)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(f.data, "sign-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	folder := &folderOutbox{work: work, files: c.Files, out: c.Out, force: c.Force}
	for i, d := range req.Documents {
		target := folder.target(i, extension(d))
		if _, err := os.Stat(target); err == nil && !c.Force {
			return fmt.Errorf("%s exists; --force overwrites it", target)
		}
	}
	limits := p.Limits
	limits.Document, limits.Job = maxFile, maxFile // the signer's own files, not a page's
	runner := &job.Runner{
		Preparer: &sign.Preparer{Limits: limits}, Assembler: &sign.Assembler{}, Outbox: folder, Tokens: ring,
		Approver: &terminal{choose: choose, pin: pin}, Limits: limits, Now: e.now, Log: log,
	}
	receipt, err := runner.Run(ctx, req)
	if err != nil {
		return explainSign(err)
	}
	return c.report(e.out, receipt, folder)
}

// request describes the files as a job; each is read from disk as it is used.
func (c *signCmd) request(p policy.Policy) (job.Request, []*job.Spool, error) {
	req := job.Request{ID: "cli", Origin: "tanba sign", Delivery: job.Delivery{URL: "file:"}}
	var inputs []*job.Spool
	for i, name := range c.Files {
		in, err := job.OpenSpool(name)
		if err != nil {
			return req, inputs, err
		}
		inputs = append(inputs, in)
		d := job.Document{ID: strconv.Itoa(i), Name: filepath.Base(name), Attached: c.Attached, Content: job.Content{Blob: in.All()}}
		if d.Format, err = c.format(in.All()); err != nil {
			return req, inputs, err
		}
		req.Documents = append(req.Documents, d)
	}
	return req, inputs, nil
}

func (c *signCmd) format(in *job.Blob) (job.Format, error) {
	if c.Format != "" {
		return job.Format(c.Format), nil
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(in.Reader(), head); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	if bytes.Equal(head, []byte("%PDF-")) && !c.Attached && !c.Detached {
		return job.PAdES, nil
	}
	return job.CAdES, nil
}

// extension is that of the signed file.
func extension(d job.Document) string {
	switch {
	case d.Format == job.PAdES:
		return ".pdf"
	case d.Attached:
		return ".p7m"
	}
	return ".p7s"
}

// readPIN reads the PIN from --pin-file, or asks for it at the terminal
// without showing it.
func (c *signCmd) readPIN(e *env) (tokens.PIN, error) {
	if c.PINFile == "" {
		return askPIN(e)
	}
	r := e.in
	if c.PINFile != "-" {
		f, err := os.Open(c.PINFile)
		if err != nil {
			return tokens.PIN{}, &usageError{err}
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, tokens.MaxPIN+3))
	if err != nil {
		return tokens.PIN{}, err
	}
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	b = bytes.TrimSuffix(b, []byte("\r"))
	if len(b) == 0 || len(b) > tokens.MaxPIN {
		return tokens.PIN{}, &usageError{fmt.Errorf("--pin-file: the first line must be 1 to %d bytes", tokens.MaxPIN)}
	}
	return tokens.NewPIN(b), nil
}

func askPIN(e *env) (tokens.PIN, error) {
	f, ok := e.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return tokens.PIN{}, &usageError{errors.New("no terminal to ask for the PIN: give --pin-file")}
	}
	fmt.Fprint(e.err, "PIN or password: ")
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(e.err)
	if err != nil {
		return tokens.PIN{}, err
	}
	if len(b) == 0 || len(b) > tokens.MaxPIN {
		return tokens.PIN{}, fmt.Errorf("the PIN must be 1 to %d bytes", tokens.MaxPIN)
	}
	return tokens.NewPIN(b), nil
}

// openKey opens the tokens that --key can mean, and returns how to choose.
func (c *signCmd) openKey(ctx context.Context, p policy.Policy, pin tokens.PIN, log *slog.Logger) (*keyring.Keyring, func([]tokens.Token) (tokens.Identity, error), error) {
	if c.Key != "" && !strings.HasPrefix(c.Key, "pkcs11:") {
		path, err := filepath.Abs(c.Key)
		if err != nil {
			return nil, nil, err
		}
		d := file.New(path, log)
		if err := d.Unlock(ctx, tokens.NewPIN(bytes.Clone(pin.Bytes()))); err != nil {
			return nil, nil, explainSign(err)
		}
		return keyring.New([]tokens.Driver{d}, log), keyURI{}.find, nil
	}
	uri := keyURI{}
	if c.Key != "" {
		var err error
		if uri, err = parseKeyURI(c.Key); err != nil {
			return nil, nil, &usageError{fmt.Errorf("--key: %w", err)}
		}
	}
	paths := []string{uri.modulePath}
	if uri.modulePath == "" {
		paths, _ = libraries(p)
	}
	ring, err := openTokens(p, paths, log)
	return ring, uri.find, err
}

// explainSign words the errors that a person at a terminal meets.
func explainSign(err error) error {
	if p, ok := errors.AsType[*tokens.PINError](err); ok {
		s := "the PIN was not accepted: " + string(p.Reason)
		if p.TriesLeft >= 0 {
			s += fmt.Sprintf(", %d tries left", p.TriesLeft)
		}
		return errors.New(s)
	}
	return err
}

// report prints where the results are. A document that failed is an error.
func (c *signCmd) report(w io.Writer, r job.Receipt, f *folderOutbox) error {
	type result struct {
		File        string `json:"file"`
		Out         string `json:"out,omitempty"`
		SHA256      string `json:"sha256,omitempty"`
		Certificate string `json:"certificate,omitempty"`
		Error       string `json:"error,omitempty"`
	}
	var all []result
	var failed []error
	for i, d := range r.Documents {
		one := result{File: c.Files[i], Out: f.written[d.ID], SHA256: d.SHA256, Certificate: d.Fingerprint, Error: string(d.Code)}
		if d.State != job.Delivered {
			failed = append(failed, fmt.Errorf("%s: not signed: %s", c.Files[i], d.Code))
		} else if !c.JSON {
			fmt.Fprintln(w, one.Out)
		}
		all = append(all, one)
	}
	if c.JSON {
		if err := printJSON(w, map[string]any{"files": all}); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func closeAll(inputs []*job.Spool) {
	for _, s := range inputs {
		_ = s.Close() // opened for reading
	}
}

// A terminal is the Approver of tanba sign: who types the command names the
// files and gives the PIN, which is the approval.
type terminal struct {
	choose func([]tokens.Token) (tokens.Identity, error)
	pin    tokens.PIN
}

// Approve implements job.Approver.
func (t *terminal) Approve(ctx context.Context, ask *job.Ask) (job.Answer, error) {
	list, err := ask.Tokens(ctx)
	if err != nil {
		return job.Answer{}, err
	}
	id, err := t.choose(list)
	if err != nil {
		return job.Answer{}, job.Fail(job.CodeNoCertificate, "", err)
	}
	if m := ask.Fit(id); m != "" {
		return job.Answer{}, job.Fail(job.CodeNoCertificate, "", fmt.Errorf("the certificate of %s cannot be used: %s %s", id.Certificate.Profile.Name, m, id.Problem))
	}
	if err := ask.Unlock(ctx, id.ID, tokens.NewPIN(bytes.Clone(t.pin.Bytes()))); err != nil {
		return job.Answer{}, err
	}
	var a job.Answer
	for _, d := range ask.Prepared().Documents {
		a.Approved = append(a.Approved, job.Seen{Document: d.ID, SHA256: d.SHA256})
	}
	return a, nil
}

// A folderOutbox is the Outbox of tanba sign: results go to files.
type folderOutbox struct {
	work    string
	files   []string
	out     string
	force   bool
	written map[string]string
	done    []job.DocumentReceipt
}

// Find implements job.Outbox: nothing is remembered.
func (*folderOutbox) Find(string, string) (job.Receipt, map[string][32]byte, bool, error) {
	return job.Receipt{}, nil, false, nil
}

// Begin implements job.Outbox.
func (o *folderOutbox) Begin(context.Context, job.Request) (job.Batch, error) {
	work, err := job.CreateSpool(filepath.Join(o.work, "work"))
	if err != nil {
		return nil, err
	}
	out, err := job.CreateSpool(filepath.Join(o.work, "out"))
	if err != nil {
		return nil, errors.Join(err, work.Close())
	}
	o.written = map[string]string{}
	return &folderBatch{o: o, work: work, out: out}, nil
}

// Redeliver implements job.Outbox.
func (*folderOutbox) Redeliver(context.Context, string, string, job.Delivery) error {
	return job.Fail(job.CodeUnknownJob, "", nil)
}

// Await implements job.Outbox.
func (o *folderOutbox) Await(context.Context, string, string) (job.Receipt, error) {
	return job.Receipt{Documents: o.done}, nil
}

type folderBatch struct {
	o         *folderOutbox
	work, out *job.Spool
}

// Reserve implements job.Batch: a file that finds no room is not written.
func (b *folderBatch) Reserve(context.Context, int64) error { return nil }

func (b *folderBatch) Work() *job.Spool { return b.work }
func (b *folderBatch) Out() *job.Spool  { return b.out }

// Commit implements job.Batch: each file appears whole or not at all.
func (b *folderBatch) Commit(_ context.Context, signed []*job.Signed) error {
	for _, s := range signed {
		i, err := strconv.Atoi(s.Document.ID)
		if err != nil {
			return err
		}
		target := b.o.target(i, filepath.Ext(s.Name))
		if err := writeWhole(target, s.File, b.o.force); err != nil {
			return err
		}
		b.o.written[s.Document.ID] = target
		b.o.done = append(b.o.done, job.DocumentReceipt{
			ID: s.Document.ID, State: job.Delivered, SHA256: hex.EncodeToString(s.SHA256[:]), Fingerprint: s.Certificate.Fingerprint(),
		})
	}
	return nil
}

func (b *folderBatch) Opened(context.Context, *job.Prepared) error { return nil }

// Reject implements job.Batch; a terminal does not reject.
func (b *folderBatch) Reject(context.Context, *job.Prepared, []string, job.Reason, string, time.Time) error {
	return nil
}

func (b *folderBatch) Close() error { return errors.Join(b.work.Close(), b.out.Close()) }

// target is the output for the i-th file: --out, or in its folder or beside
// the input: name-signed.pdf, name.ext.p7s, name.ext.p7m.
func (o *folderOutbox) target(i int, ext string) string {
	name := filepath.Base(o.files[i]) + ext
	if ext == ".pdf" {
		base := filepath.Base(o.files[i])
		name = strings.TrimSuffix(base, filepath.Ext(base)) + "-signed.pdf"
	}
	st, err := os.Stat(o.out)
	switch {
	case o.out == "":
		return filepath.Join(filepath.Dir(o.files[i]), name)
	case len(o.files) > 1 || (err == nil && st.IsDir()):
		return filepath.Join(o.out, name)
	}
	return o.out
}

// writeWhole writes b beside target, makes it durable, and moves it there.
func writeWhole(target string, b *job.Blob, force bool) error {
	f, err := os.CreateTemp(filepath.Dir(target), ".tanba-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, b.Reader())
	err = errors.Join(err, f.Sync(), f.Chmod(0o644), f.Close())
	if err == nil && !force {
		// Link refuses an existing name; where links are not to be had, look first.
		if err = os.Link(f.Name(), target); err != nil && !errors.Is(err, os.ErrExist) {
			if _, serr := os.Stat(target); serr == nil {
				err = os.ErrExist
			} else {
				err = os.Rename(f.Name(), target)
			}
		}
		if errors.Is(err, os.ErrExist) {
			err = job.Fail(job.CodeInvalid, "", fmt.Errorf("%s exists; --force overwrites it", target))
		}
	} else if err == nil {
		err = os.Rename(f.Name(), target)
	}
	if rerr := os.Remove(f.Name()); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}
