package approve

import (
	"math"
	"net"
	"strings"
	"time"

	"tanba/agent/job"
	"tanba/agent/text"
	"tanba/tokens"
)

// The types below are what the page's script gets, as JSON. Everything is
// text for a person; the script escapes it.

// originView is an origin in its parts, so that the part that somebody
// registered stands out.
type originView struct {
	Whole  string `json:"whole"`
	Scheme string `json:"scheme"` // "https://"
	Before string `json:"before"` // "crm."
	Main   string `json:"main"`   // "example.kz"
	After  string `json:"after"`  // ":8443"
	Plain  bool   `json:"plain"`  // not encrypted
	Puny   bool   `json:"puny"`   // has a label in other letters
}

// secondLevel are labels under which two-letter countries register.
var secondLevel = map[string]bool{"com": true, "org": true, "net": true, "gov": true, "edu": true, "mil": true, "co": true, "ac": true}

// viewOrigin takes an origin apart. The registrable part is the last two
// labels, or three under names such as "com.kz"; it only guides the eye.
func viewOrigin(origin string) originView {
	v := originView{Whole: origin, Main: origin}
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok {
		return v
	}
	v.Scheme, v.Plain = scheme+"://", scheme == "http"
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host, v.After = host[:i], host[i:]
	}
	v.Main = host
	v.Puny = strings.HasPrefix(host, "xn--") || strings.Contains(host, ".xn--")
	labels := strings.Split(host, ".")
	n := 2
	if len(labels) > 2 && len(labels[len(labels)-1]) == 2 && secondLevel[labels[len(labels)-2]] {
		n = 3
	}
	if net.ParseIP(strings.Trim(host, "[]")) == nil && len(labels) > n {
		v.Before = strings.Join(labels[:len(labels)-n], ".") + "."
		v.Main = strings.Join(labels[len(labels)-n:], ".")
	}
	return v
}

// loadView is what does not change while a prompt is open.
type loadView struct {
	Words  map[text.Lang]map[text.Key]string `json:"words"`
	Lang   text.Lang                         `json:"lang"`
	Origin originView                        `json:"origin"`
	// Title, Reference and Counterparty are the site's words.
	Title        string         `json:"title"`
	Reference    string         `json:"reference"`
	Counterparty string         `json:"counterparty"`
	Target       string         `json:"target"` // host that gets the result
	Documents    []documentView `json:"documents"`
	Reasons      []job.Reason   `json:"reasons"`
}

type documentView struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	MediaType  string     `json:"mediaType"`
	Format     job.Format `json:"format"`
	Attached   bool       `json:"attached"`
	Size       int64      `json:"size"` // bytes
	SHA256     string     `json:"sha256"`
	Signatures int        `json:"signatures"`
}

func viewDocuments(p *job.Prepared) []documentView {
	list := make([]documentView, len(p.Documents))
	for i, d := range p.Documents {
		list[i] = documentView{d.ID, clean(d.Name), d.MediaType, d.Format, d.Attached, d.Size, d.Digest(), d.Signatures}
	}
	return list
}

// clean takes control and direction characters out of what a site or a
// certificate says.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r >= 0x7f && r <= 0x9f, r == 0x61c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e,
			r >= 0x2060 && r <= 0x206f, r == 0xfeff, r >= 0xe0000 && r <= 0xe007f:
			return -1
		}
		return r
	}, s)
}

// stateView is what changes. It is sent whole each time.
type stateView struct {
	// Phase is "ask", "unlocking", "working" or "ended".
	Phase string `json:"phase"`
	// Listed is false until the tokens were first read.
	Listed bool        `json:"listed"`
	Failed bool        `json:"failed"` // the tokens could not be read
	Tokens []tokenView `json:"tokens"`
	// Left is the time before the prompt times out, in whole seconds.
	Left int `json:"left"`
	// Problem is why the last attempt did not unlock, empty if none did.
	Problem string `json:"problem"`
	Tries   int    `json:"tries"` // left, -1 if unknown
	// Attempt counts the attempts, so that the page sees a new one.
	Attempt int `json:"attempt"`
	// Step, Done and Total are the progress of an approved job.
	Step  job.Step `json:"step"`
	Done  int      `json:"done"`
	Total int      `json:"total"`
	// End is how it ended: "done", "rejected", "later", "closed" or the
	// job.Code; Counts are the documents by state, Codes why some failed.
	End    string            `json:"end"`
	Counts map[job.State]int `json:"counts"`
	Codes  []job.Code        `json:"codes"`
}

type tokenView struct {
	Label      string          `json:"label"`
	Serial     string          `json:"serial"` // its last four characters
	PIN        tokens.PINState `json:"pin"`
	Factory    bool            `json:"factory"` // the PIN is known to be a factory one
	Pad        bool            `json:"pad"`     // the PIN is typed on the reader
	MinPIN     int             `json:"minPin"`
	MaxPIN     int             `json:"maxPin"`
	Identities []identityView  `json:"identities"`
}

type identityView struct {
	ID           string     `json:"id"`
	Name         string     `json:"name"`
	Organization string     `json:"organization"`
	Title        string     `json:"title"`
	Role         string     `json:"role"`
	IIN          string     `json:"iin"`
	BIN          string     `json:"bin"`
	Issuer       string     `json:"issuer"`
	Until        string     `json:"until"` // RFC 3339, UTC
	Days         int        `json:"days"`  // left; below zero: expired
	Misfit       job.Misfit `json:"misfit"`
}

func viewTokens(list []tokens.Token, pins map[string]tokens.PINState, fit func(tokens.Token, tokens.Identity) job.Misfit, now time.Time) []tokenView {
	out := make([]tokenView, 0, len(list))
	for _, t := range list {
		v := tokenView{Label: clean(t.Label), Serial: tail(clean(t.Serial)), PIN: t.PIN, Factory: t.FactoryPIN, Pad: t.ProtectedPath, MinPIN: t.MinPIN, MaxPIN: t.MaxPIN,
			Identities: make([]identityView, 0, len(t.Identities))}
		if p, ok := pins[t.ID]; ok {
			v.PIN = p
		}
		for _, id := range t.Identities {
			v.Identities = append(v.Identities, viewIdentity(id, fit(t, id), now))
		}
		out = append(out, v)
	}
	return out
}

func viewIdentity(id tokens.Identity, misfit job.Misfit, now time.Time) identityView {
	p, x := id.Certificate.Profile, id.Certificate.X509
	issuer := x.Issuer.CommonName
	if issuer == "" && len(x.Issuer.Organization) > 0 {
		issuer = x.Issuer.Organization[0]
	}
	return identityView{
		ID: id.ID, Name: clean(p.Name), Organization: clean(p.Organization), Title: clean(p.Title), Role: p.Role, IIN: p.IIN, BIN: p.BIN,
		Issuer: clean(issuer), Until: x.NotAfter.UTC().Format(time.RFC3339),
		Days: int(math.Floor(x.NotAfter.Sub(now).Hours() / 24)), Misfit: misfit,
	}
}

func tail(s string) string {
	if r := []rune(s); len(r) > 4 {
		return string(r[len(r)-4:])
	}
	return s
}
