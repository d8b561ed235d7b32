package crm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tanba/crypto/verify"
)

// A SignedFile is a signature that the CRM holds, verified anew.
type SignedFile struct {
	Document, Name string
	Party          Party
	// Original and Path are the files, written into the folder that was asked
	// for: what was to be signed at first, and the signed PDF or the CMS.
	Original, Path string
	// Verdict is in the words of ETSI EN 319 102-1, Signer the certificate's
	// name.
	Verdict, Signer string
}

// SignedFiles verifies a deal's signatures again from the disk and writes their
// files into dir under the documents' names. The error is for a deal without a
// signature, or for one that does not verify.
func (s *Server) SignedFiles(ctx context.Context, deal, dir string) ([]SignedFile, error) {
	d, err := read[Deal](s.store, bucketDeals, deal)
	if err != nil {
		return nil, err
	}
	var out []SignedFile
	for _, doc := range d.Documents {
		base := doc.Original
		for _, sig := range doc.Signatures {
			original, err := s.files.Get(base)
			if err != nil {
				return nil, err
			}
			file, err := s.files.Get(sig.File)
			if err != nil {
				return nil, err
			}
			signer, _, err := s.verify(ctx, original, file, doc.Format)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sig.Name, err)
			}
			f := SignedFile{
				Document: doc.ID, Name: sig.Name, Party: sig.Party, Verdict: string(verify.TotalPassed), Signer: signer.Profile.Name,
				Original: filepath.Join(dir, doc.Name), Path: filepath.Join(dir, sig.Name),
			}
			first, err := s.files.Get(doc.Original)
			if err = errors.Join(err, os.WriteFile(f.Original, first, 0o600), os.WriteFile(f.Path, file, 0o600)); err != nil {
				return nil, err
			}
			out = append(out, f)
			if doc.Format == formatPAdES {
				base = sig.File
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("deal %s: nothing is signed", deal)
	}
	return out, nil
}
