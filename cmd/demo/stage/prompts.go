package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Prompts are the addresses of the pages that the agent opened. The agent
// believes it runs the system's opener; what it runs is a script of ours that
// stands first in its PATH and writes the address to a file.
type Prompts struct {
	path string
	read int // lines taken so far
}

// ErrNoPrompt reports that the agent opened no page in time.
var ErrNoPrompt = errors.New("the agent opened no page")

// Next waits for the next address.
func (p *Prompts) Next(ctx context.Context) (string, error) {
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		lines, err := p.lines()
		if err != nil {
			return "", err
		}
		if len(lines) > p.read {
			p.read++
			return lines[p.read-1], nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w: %w", ErrNoPrompt, ctx.Err())
		case <-tick.C:
		}
	}
}

// Waiting counts the addresses that nobody has taken.
func (p *Prompts) Waiting() (int, error) {
	lines, err := p.lines()
	return len(lines) - p.read, err
}

// lines returns the whole lines of the file.
func (p *Prompts) lines() (out []string, err error) {
	f, err := os.Open(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return out, nil // the rest is not written yet
		}
		out = append(out, strings.TrimSpace(line))
	}
}

// catchPrompts writes openers into bin that write the address to a file.
func catchPrompts(bin, file string) (*Prompts, error) {
	if len(openers) == 0 {
		return nil, errors.New("catching the agent's pages is not supported on this system")
	}
	script := "#!/bin/sh\numask 077\nprintf '%s\\n' \"$1\" >> " + quote(file) + "\n"
	return &Prompts{path: file}, writeOpeners(bin, script)
}

// passPrompts writes openers into bin that run the system's own with the
// person's environment instead of the demo's: their browser, their profile.
func passPrompts(bin string, real []string) error {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, name := range isolated {
		if v, ok := os.LookupEnv(name); ok {
			fmt.Fprintf(&b, "export %s=%s\n", name, quote(v))
		} else {
			fmt.Fprintf(&b, "unset %s\n", name)
		}
	}
	fmt.Fprintf(&b, "PATH=%s\nexport PATH\nexec \"$(basename \"$0\")\" \"$@\"\n", quote(strings.Join(real, string(os.PathListSeparator))))
	return writeOpeners(bin, b.String())
}

func writeOpeners(bin, script string) error {
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return err
	}
	for _, name := range openers {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// quote makes v one word of sh.
func quote(v string) string { return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'" }
