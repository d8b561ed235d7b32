package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tanba/crypto/cert"
	"tanba/crypto/verify"
)

type verifyCmd struct {
	Files      []string `arg:"" name:"file" help:"Signed PDF files or signature files (CMS in DER, PEM or base64)." type:"existingfile"`
	Content    string   `help:"The content of a detached signature; default: the signature's name without .p7s or .sig." placeholder:"FILE" type:"existingfile"`
	Trust      []string `help:"Trusted root certificates, PEM or DER: files or folders." placeholder:"FILE|DIR" type:"path"`
	At         string   `help:"Judge as of this time (RFC 3339); default: now." placeholder:"TIME"`
	Revocation string   `help:"Whether revocation must be shown: require or skip." enum:"require,skip" default:"require"`
	JSON       bool     `help:"Print one JSON object."`
}

// A verified is the verdict over one file in verify's JSON.
type verified struct {
	File string `json:"file"`
	*verify.Report
	// Error is why the file could not be judged at all.
	Error string `json:"error,omitempty"`
}

func (c *verifyCmd) Run(ctx context.Context, e *env) error {
	o := verify.Options{At: e.now(), Revocation: verify.Revocation(c.Revocation)}
	if c.At != "" {
		t, err := time.Parse(time.RFC3339, c.At)
		if err != nil {
			return &usageError{fmt.Errorf("--at: %w", err)}
		}
		o.At = t
	}
	for _, path := range c.Trust {
		roots, err := readCertificates(path)
		if err != nil {
			return &usageError{fmt.Errorf("--trust %s: %w", path, err)}
		}
		o.Roots = append(o.Roots, roots...)
	}
	if c.Content != "" && len(c.Files) > 1 {
		return &usageError{errors.New("--content goes with one file")}
	}
	all := make([]verified, 0, len(c.Files))
	good := true
	for _, f := range c.Files {
		v := verified{File: f}
		r, err := c.verify(ctx, f, o)
		if err != nil {
			v.Error = err.Error()
		}
		v.Report = r
		good = good && err == nil && r.Passed()
		all = append(all, v)
	}
	if err := c.print(e.out, all); err != nil {
		return err
	}
	if !good {
		return errSilent
	}
	return nil
}

func (c *verifyCmd) verify(ctx context.Context, path string, o verify.Options) (*verify.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var head [5]byte
	if n, err := f.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	} else if string(head[:n]) == "%PDF-" {
		return verify.PDF(ctx, f, st.Size(), o)
	}
	content, err := c.content(path)
	if err != nil {
		return nil, err
	}
	if content == nil {
		return verify.CMS(ctx, f, st.Size(), nil, o)
	}
	defer content.Close()
	return verify.CMS(ctx, f, st.Size(), content, o)
}

// content opens what a detached signature is about, nil if there is nothing.
func (c *verifyCmd) content(path string) (*os.File, error) {
	name := c.Content
	if name == "" {
		for _, ext := range []string{".p7s", ".sig"} {
			if base, ok := strings.CutSuffix(path, ext); ok {
				if _, err := os.Stat(base); err == nil {
					name = base
				}
			}
		}
	}
	if name == "" {
		return nil, nil
	}
	return os.Open(name)
}

func (c *verifyCmd) print(w io.Writer, all []verified) error {
	if c.JSON {
		return printJSON(w, map[string]any{"files": all})
	}
	for _, v := range all {
		fmt.Fprintln(w, v.File)
		if v.Error != "" {
			fmt.Fprintf(w, "  cannot be judged: %s\n", v.Error)
			continue
		}
		for i, s := range v.Signatures {
			fmt.Fprintf(w, "  %d. %s", i+1, s.Indication)
			if s.SubIndication != "" {
				fmt.Fprintf(w, " %s", s.SubIndication)
			}
			fmt.Fprintf(w, "  %s %s\n", s.Format, s.Level)
			if s.Reason != "" {
				fmt.Fprintf(w, "     %s\n", s.Reason)
			}
			if p := s.Certificate; p != nil {
				fmt.Fprintf(w, "     signer  %s\n     issuer  %s\n     valid   %s to %s\n", person(p), p.Issuer, day(p.NotBefore), day(p.NotAfter))
			}
			if !s.SigningTime.IsZero() {
				fmt.Fprintf(w, "     time    %s, as the signature claims\n", s.SigningTime.Format(time.RFC3339))
			}
			for _, b := range s.Violations {
				fmt.Fprintf(w, "     form    %s %s\n", b.ID, b.Reason)
			}
		}
	}
	return nil
}

// person is a signer in one line.
func person(p *verify.Certificate) string {
	parts := []string{p.Name}
	for _, s := range []struct{ label, value string }{
		{"", p.Title}, {"", p.Organization}, {"IIN ", p.IIN}, {"BIN ", p.BIN}, {"role ", p.Role},
	} {
		if s.value != "" {
			parts = append(parts, s.label+s.value)
		}
	}
	return strings.Join(parts, ", ")
}

func day(t time.Time) string { return t.Format(time.DateOnly) }

// readCertificates reads a file of certificates, or every file of a folder
// that holds some.
func readCertificates(path string) ([]*cert.Certificate, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return readCertificateFile(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var out []*cert.Certificate
	for _, d := range entries {
		switch strings.ToLower(filepath.Ext(d.Name())) {
		case ".pem", ".crt", ".cer", ".der":
			cs, err := readCertificateFile(filepath.Join(path, d.Name()))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", d.Name(), err)
			}
			out = append(out, cs...)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no .pem, .crt, .cer or .der file in the folder")
	}
	return out, nil
}

func readCertificateFile(path string) ([]*cert.Certificate, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 1 << 20
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > most:
		return nil, fmt.Errorf("malformed certificate file: more than %d bytes", most)
	case strings.Contains(string(data), "-----BEGIN"):
		return cert.ParsePEM(data)
	}
	c, err := cert.Parse(data)
	if err != nil {
		return nil, err
	}
	return []*cert.Certificate{c}, nil
}
