package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// bundleLines is how many lines of the log go into a bundle.
const bundleLines = 200

// writeBundle writes what support needs into a new zip file: the findings that
// name nobody, the settings in force, the end of the log. What goes in is
// shown first.
func writeBundle(e *env, path string, all []finding) error {
	files, err := bundleFiles(e, all)
	if err != nil {
		return err
	}
	if home, err := os.UserHomeDir(); err == nil && len(home) > 1 { // it holds the user's name
		for i := range files {
			files[i].data = bytes.ReplaceAll(files[i].data, []byte(home), []byte("~"))
		}
	}
	fmt.Fprintf(e.out, "\nThe bundle %s holds:\n", path)
	for _, f := range files {
		fmt.Fprintf(e.out, "--- %s, %d bytes\n%s\n", f.name, len(f.data), f.data)
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	z := zip.NewWriter(out)
	for _, f := range files {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: e.now().UTC().Truncate(time.Second)})
		if err == nil {
			_, err = w.Write(f.data)
		}
		if err != nil {
			return errors.Join(err, out.Close(), os.Remove(path))
		}
	}
	return errors.Join(z.Close(), out.Close())
}

type bundled struct {
	name string
	data []byte
}

func bundleFiles(e *env, all []finding) ([]bundled, error) {
	var told []finding
	for _, f := range all {
		if !f.private {
			told = append(told, f)
		}
	}
	findings, err := json.MarshalIndent(map[string]any{
		"version": Version, "os": runtime.GOOS, "arch": runtime.GOARCH, "go": runtime.Version(), "findings": told,
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	files := []bundled{{"doctor.json", findings}}
	p, f, err := e.settings()
	if err != nil {
		return files, nil // a finding says so
	}
	settings, err := toml.Marshal(p)
	if err != nil {
		return nil, err
	}
	files = append(files, bundled{"settings.toml", settings})
	log, err := os.ReadFile(filepath.Join(f.state, "tanba.log"))
	if errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	if err != nil {
		return nil, err
	}
	lines := bytes.SplitAfter(log, []byte("\n"))
	return append(files, bundled{"tanba.log", bytes.Join(lines[max(0, len(lines)-1-bundleLines):], nil)}), nil
}
