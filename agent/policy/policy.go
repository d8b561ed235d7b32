// Package policy is what the signer or IT has set: one documented struct, its
// defaults, and where each value came from.
//
// Values come in layers: the defaults, the user's config file, the machine's
// managed policy. A later layer wins. A file with an unknown key or a value of
// the wrong type is refused whole, so that a slip never loosens anything.
package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// MaxFile bounds a config or policy file, in bytes.
const MaxFile = 1 << 20

// A Policy is every setting of the agent.
type Policy struct {
	// Language of everything the signer reads: "kk", "ru", "en"; empty: the
	// system's.
	Language string `toml:"language"`
	// AllowedSites are exact origins allowed without asking.
	AllowedSites []string `toml:"allowed_sites"`
	// BlockedSites are exact origins that always get 403.
	BlockedSites []string `toml:"blocked_sites"`
	// SitesLocked: only AllowedSites may connect; others get 403 and the signer
	// is not asked.
	SitesLocked bool `toml:"sites_locked"`
	// HTTPOrigins are exact http origins that may connect although they are not
	// https: an intranet, the demo.
	HTTPOrigins []string `toml:"http_origins"`
	// Targets lists, per origin, further origins to which its documents and
	// results may go, and from which documents may come.
	Targets map[string][]string `toml:"targets"`
	// PINEntry is where the PIN may be typed: "page", the prompt, or "pad", the
	// reader's own keys alone.
	PINEntry string `toml:"pin_entry"`
	// Modules are absolute paths of PKCS#11 libraries to load besides those
	// that are found.
	Modules []string `toml:"modules"`
	// FindModules: load the known libraries that are installed.
	FindModules bool `toml:"find_modules"`
	// PortFirst and PortLast bound the ports tried for the pages' socket.
	PortFirst int `toml:"port_first"`
	PortLast  int `toml:"port_last"`
	// LogLevel is "error", "warn", "info" or "debug".
	LogLevel string `toml:"log_level"`
	// ExtraRoots are files with certificates (PEM) that delivery trusts for TLS
	// besides the system's.
	ExtraRoots []string `toml:"extra_roots"`
	// Limits bound everything that comes from outside.
	Limits Limits `toml:"limits"`

	// Sources tells for each key (TOML name) the layer that set it; a key that
	// is not there has its default.
	Sources map[string]string `toml:"-"`
}

// Limits bound everything that comes from outside. Sizes are in bytes.
type Limits struct {
	// Frame is the largest text frame of a site that is allowed, FrameStranger
	// of one that is not (yet).
	Frame         int64 `toml:"frame"`
	FrameStranger int64 `toml:"frame_stranger"`
	// Chunk is the largest binary frame.
	Chunk int64 `toml:"chunk"`
	// Document and Job are the largest document and the largest sum of a job.
	Document int64 `toml:"document"`
	Job      int64 `toml:"job"`
	// Documents is the largest number of documents in a job.
	Documents int `toml:"documents"`
	// JSONDepth is the deepest nesting of a message.
	JSONDepth int `toml:"json_depth"`
	// Reply is the largest reply of a CRM.
	Reply int64 `toml:"reply"`
	// Sockets and SocketsPerOrigin bound open connections.
	Sockets          int `toml:"sockets"`
	SocketsPerOrigin int `toml:"sockets_per_origin"`
	// Queue bounds jobs waiting for a prompt, over all sites.
	Queue int `toml:"queue"`
	// StrangerTabs is the time between two tabs opened for one site that is
	// not yet allowed; StrangerRefusals how many refusals end them.
	StrangerTabs     Duration `toml:"stranger_tabs"`
	StrangerRefusals int      `toml:"stranger_refusals"`
	// Header is the time in which a request's header must have arrived.
	Header Duration `toml:"header"`
	// Prompt is the time the signer has before a prompt times out.
	Prompt Duration `toml:"prompt"`
	// Token is the time a token's process has for one call, Login and Sign for
	// those two, which may wait for a person or a slow card.
	Token Duration `toml:"token"`
	Login Duration `toml:"login"`
	Sign  Duration `toml:"sign"`
}

// A Duration is a time.Duration that TOML writes as "10m".
type Duration time.Duration

// UnmarshalText reads a duration such as "10m".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// MarshalText writes it as UnmarshalText reads it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Default returns the settings of a computer on which nobody has set anything.
func Default() Policy {
	return Policy{
		PINEntry:    "page",
		FindModules: true,
		PortFirst:   17650,
		PortLast:    17659,
		LogLevel:    "info",
		Limits: Limits{
			Frame:            32 << 20,
			FrameStranger:    64 << 10,
			Chunk:            256 << 10,
			Document:         512 << 20,
			Job:              2 << 30,
			Documents:        1000,
			JSONDepth:        32,
			Reply:            64 << 10,
			Sockets:          16,
			SocketsPerOrigin: 4,
			Queue:            5,
			StrangerTabs:     Duration(10 * time.Minute),
			StrangerRefusals: 3,
			Header:           Duration(5 * time.Second),
			Prompt:           Duration(10 * time.Minute),
			Token:            Duration(20 * time.Second),
			Login:            Duration(60 * time.Second),
			Sign:             Duration(60 * time.Second),
		},
		Sources: map[string]string{},
	}
}

// A Layer is one file of settings.
type Layer struct {
	// Name says whose it is, for doctor: "user", "machine".
	Name string
	Path string
}

// Load returns the defaults with the layers over them, in order. A missing
// file is no error, a file that cannot be read or understood is.
func Load(layers ...Layer) (Policy, error) {
	p := Default()
	for _, l := range layers {
		if err := p.read(l); err != nil {
			return Policy{}, fmt.Errorf("%s settings %s: %w", l.Name, l.Path, err)
		}
	}
	return p, p.check()
}

func (p *Policy) read(l Layer) error {
	st, err := os.Stat(l.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Size() > MaxFile {
		return fmt.Errorf("malformed: %d bytes, the bound is %d", st.Size(), MaxFile)
	}
	data, err := os.ReadFile(l.Path)
	if err != nil {
		return err
	}
	dec := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(strict.Errors) > 0 {
			return fmt.Errorf("unknown key %s", strings.Join(strict.Errors[0].Key(), "."))
		}
		return err
	}
	var keys map[string]any
	if err := toml.Unmarshal(data, &keys); err != nil {
		return err
	}
	for k := range keys {
		p.Sources[k] = l.Name
	}
	return nil
}

func (p *Policy) check() error {
	for _, list := range [][]string{p.AllowedSites, p.BlockedSites, p.HTTPOrigins} {
		for _, o := range list {
			if err := CheckOrigin(o); err != nil {
				return err
			}
		}
	}
	for o, ts := range p.Targets {
		for _, t := range append([]string{o}, ts...) {
			if err := CheckOrigin(t); err != nil {
				return err
			}
		}
	}
	switch {
	case p.Language != "" && p.Language != "kk" && p.Language != "ru" && p.Language != "en":
		return fmt.Errorf("invalid language %q: kk, ru or en", p.Language)
	case p.PINEntry != "page" && p.PINEntry != "pad":
		return fmt.Errorf("invalid pin_entry %q: page or pad", p.PINEntry)
	case p.PortFirst < 1024 || p.PortLast > 65535 || p.PortFirst > p.PortLast || p.PortLast-p.PortFirst > 99:
		return fmt.Errorf("invalid ports %d to %d", p.PortFirst, p.PortLast)
	case p.LogLevel != "error" && p.LogLevel != "warn" && p.LogLevel != "info" && p.LogLevel != "debug":
		return fmt.Errorf("invalid log_level %q: error, warn, info or debug", p.LogLevel)
	}
	return p.Limits.check()
}

func (l *Limits) check() error {
	for name, v := range map[string]int64{
		"frame": l.Frame, "frame_stranger": l.FrameStranger, "chunk": l.Chunk, "document": l.Document, "job": l.Job,
		"documents": int64(l.Documents), "json_depth": int64(l.JSONDepth), "reply": l.Reply, "sockets": int64(l.Sockets),
		"sockets_per_origin": int64(l.SocketsPerOrigin), "queue": int64(l.Queue), "stranger_tabs": int64(l.StrangerTabs),
		"stranger_refusals": int64(l.StrangerRefusals), "header": int64(l.Header), "prompt": int64(l.Prompt),
		"token": int64(l.Token), "login": int64(l.Login), "sign": int64(l.Sign),
	} {
		if v <= 0 {
			return fmt.Errorf("invalid limits.%s: must be above zero", name)
		}
	}
	return nil
}

// CheckOrigin reports what is wrong with an origin as browsers write it:
// scheme://host[:port], lower case, no path, no default port.
func CheckOrigin(o string) error {
	u, err := url.Parse(o)
	if err != nil {
		return fmt.Errorf("malformed origin %q", o)
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.Scheme+"://"+u.Host != o || strings.ToLower(o) != o ||
		strings.Contains(o, "*") {
		return fmt.Errorf("malformed origin %q: want scheme://host[:port] in lower case, without a path", o)
	}
	if (u.Scheme == "https" && u.Port() == "443") || (u.Scheme == "http" && u.Port() == "80") {
		return fmt.Errorf("malformed origin %q: leave the default port out", o)
	}
	return nil
}
