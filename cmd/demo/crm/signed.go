package crm

import (
	"context"
	"fmt"
)

// A SignedFile is a signature that the CRM holds, verified anew.
type SignedFile struct {
	Document, Name string
	Party          Party
	// Original and Path are the files: what was to be signed at first, and the
	// signed PDF or the CMS.
	Original, Path string
	// Verdict is in the words of ETSI EN 319 102-1, Signer the certificate's
	// name.
	Verdict, Signer string
}

// SignedFiles lists a deal's signatures and verifies each again from the disk.
// The error is for a deal without one, or for one that does not verify.
func (s *Server) SignedFiles(ctx context.Context, deal string) ([]SignedFile, error) {
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
			out = append(out, SignedFile{
				Document: doc.ID, Name: sig.Name, Party: sig.Party, Original: s.files.Path(doc.Original), Path: s.files.Path(sig.File),
				Verdict: "TOTAL-PASSED", Signer: signer.Profile.Name,
			})
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
