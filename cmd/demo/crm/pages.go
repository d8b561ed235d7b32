package crm

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"path"
	"time"
)

type pages struct{ t *template.Template }

var statusWords = map[Status]string{
	Unsent: "not sent", Sent: "sent for signing", Opened: "opened by the signer", Signed: "signed", Both: "signed by both", Rejected: "rejected",
}

func parsePages() (*pages, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"word": func(s Status) string { return statusWords[s] },
		"size": func(n int64) string {
			if n < 10<<10 {
				return fmt.Sprintf("%d bytes", n)
			}
			return fmt.Sprintf("%d KB", n>>10)
		},
		"short": func(h string) string {
			if len(h) < 16 {
				return h
			}
			return h[:8] + "…" + h[len(h)-8:]
		},
		"time": func(t time.Time) string { return t.Local().Format("2 Jan 2006, 15:04:05") },
	}).ParseFS(web, "web/*.html")
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	return &pages{t}, nil
}

func (s *Server) show(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := s.pages.t.ExecuteTemplate(&b, name, data); err != nil {
		s.broken(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w)
}

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	s.show(w, "login.html", map[string]any{"People": s.cfg.People})
}

func (s *Server) dealsPage(w http.ResponseWriter, r *http.Request, p Person) {
	deals, err := all[*Deal](s.store, bucketDeals)
	if err != nil {
		s.broken(w, err)
		return
	}
	s.show(w, "deals.html", map[string]any{"Me": p, "Deals": deals, "Tokens": s.softTokens()})
}

// dealView is what the pages of a deal show.
type dealView struct {
	Me                  Person
	Deal                *Deal
	Entries             []Entry
	Waiting             int
	Tokens              []SoftToken
	FirstPort, LastPort int
	// Job is the person's job in this deal that still waits for results.
	Job string
}

// Us is the company whose CRM this is.
func (dealView) Us() string { return us }

// Idle says why there is nothing for the person to sign.
func (v dealView) Idle() string {
	switch {
	case v.Waiting > 0:
		return ""
	case v.Deal.SignedBy(v.Me.Party) == len(v.Deal.Documents):
		return "Your side has signed everything in this deal."
	}
	return us + " signs first."
}

// Rows are the documents that are shown: of a long list the first ones.
func (v dealView) Rows() []*Document { return v.Deal.Documents[:min(len(v.Deal.Documents), maxRows)] }

// More counts those that are not.
func (v dealView) More() int { return len(v.Deal.Documents) - len(v.Rows()) }

// History is shortened likewise.
func (v dealView) History() []Entry { return v.Entries[:min(len(v.Entries), 2*maxRows)] }

const maxRows = 60

func (s *Server) view(w http.ResponseWriter, r *http.Request, p Person) (dealView, bool) {
	deal, err := read[*Deal](s.store, bucketDeals, r.PathValue("deal"))
	if errors.Is(err, errNotFound) {
		http.NotFound(w, r)
		return dealView{}, false
	}
	history, err2 := s.store.history(deal.ID)
	job, err3 := s.waitingJob(deal.ID, p)
	if err := errors.Join(err2, err3); err != nil {
		s.broken(w, err)
		return dealView{}, false
	}
	return dealView{p, deal, history, len(deal.waiting(p.Party)), s.softTokens(), s.cfg.FirstPort, s.cfg.LastPort, job}, true
}

func (s *Server) dealPage(w http.ResponseWriter, r *http.Request, p Person) {
	if v, ok := s.view(w, r, p); ok {
		s.show(w, "deal.html", v)
	}
}

// dealLive is the part of the deal's page that changes.
func (s *Server) dealLive(w http.ResponseWriter, r *http.Request, p Person) {
	if v, ok := s.view(w, r, p); ok {
		s.show(w, "live", v)
	}
}

// download gives a document: "original", "current", or a party's "signed" file
// or "certificate".
func (s *Server) download(w http.ResponseWriter, r *http.Request, _ Person) {
	deal, err := read[Deal](s.store, bucketDeals, r.PathValue("deal"))
	doc := deal.Document(r.PathValue("doc"))
	if err != nil || doc == nil {
		http.NotFound(w, r)
		return
	}
	blob, name, kind := doc.Original, doc.Name, doc.MediaType
	sig := doc.By(Party(r.PathValue("party")))
	switch what := r.PathValue("what"); {
	case what == "original" && r.PathValue("party") == "":
	case what == "current" && r.PathValue("party") == "":
		blob = doc.Current()
	case what == "signed" && sig != nil:
		blob, name, kind = sig.File, sig.Name, sig.MediaType
	case what == "certificate" && sig != nil:
		attach(w, doc.Name+"."+string(sig.Party)+".pem", "application/x-pem-file")
		_, _ = fmt.Fprint(w, sig.Signer.PEM)
		return
	default:
		http.NotFound(w, r)
		return
	}
	data, err := s.files.Get(blob)
	if err != nil {
		s.broken(w, err)
		return
	}
	attach(w, name, kind)
	_, _ = w.Write(data)
}

func attach(w http.ResponseWriter, name, kind string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
}

var staticTypes = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
}

// static serves our own files, and the agent's client as it is shipped.
func (s *Server) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	kind, ok := staticTypes[path.Ext(name)]
	data := s.cfg.Client
	if ok && name != "tanba.js" {
		var err error
		data, err = web.ReadFile("web/" + name)
		ok = err == nil
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(data)
}

func (s *Server) softTokens() []SoftToken {
	if s.cfg.Tools == nil {
		return nil
	}
	return s.cfg.Tools.Tokens()
}

// moveToken is the demo's: it stands for a hand that pulls or inserts a token.
func (s *Server) moveToken(w http.ResponseWriter, r *http.Request, _ Person) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	id := r.PostFormValue("token")
	for _, t := range s.cfg.Tools.Tokens() {
		if t.ID != id {
			continue
		}
		move := s.cfg.Tools.Insert
		if t.In {
			move = s.cfg.Tools.Pull
		}
		if err := move(id); err != nil {
			s.broken(w, err)
			return
		}
		s.live.tell("")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.NotFound(w, r)
}
