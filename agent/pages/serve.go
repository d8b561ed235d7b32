package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"tanba/agent/text"
)

//go:embed client
var client embed.FS

// policies of our own pages and of a document's copy. A PDF is shown by the
// browser's own viewer, which needs its style and plug-in frame.
const (
	cspPage = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	cspCopy = "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// A page carries no more of the browser than it needs.
const permissions = "clipboard-write=(self), camera=(), microphone=(), geolocation=(), usb=(), hid=(), serial=(), payment=(), " +
	"publickey-credentials-get=(), display-capture=(), fullscreen=()"

func (s *Server) handler(port int) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pages.js", s.common)
	mux.HandleFunc("GET /pages.css", s.common)
	mux.HandleFunc("GET /pages.svg", s.common)
	mux.HandleFunc("GET /file/{token}", s.file)
	mux.HandleFunc("GET /file/{token}/{name}", s.file)
	mux.HandleFunc("GET /{page}/{file...}", s.asset)
	mux.HandleFunc("POST /api/redeem", s.redeem)
	mux.HandleFunc("POST /api/call/{method}", s.call)
	mux.HandleFunc("POST /api/raw/{method}", s.raw)
	mux.HandleFunc("POST /api/stream", s.stream)
	cross := http.NewCrossOriginProtection()
	host, origin := strings.TrimPrefix(originOf(port), "http://"), originOf(port)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reason := ""
		switch {
		case r.Host != host:
			reason = "host"
		case s.cfg.Check(r, port) != nil:
			reason = "peer"
		case framed(r):
			reason = "framed"
		case r.Method == http.MethodGet:
		case r.Method != http.MethodPost:
			reason = "method"
		case len(r.Header.Values("Origin")) != 1 || r.Header.Get("Origin") != origin:
			reason = "origin"
		case cross.Check(r) != nil:
			reason = "cross_origin"
		}
		secure(w.Header())
		if reason != "" {
			s.cfg.Log.Warn("page request refused", "reason", reason)
			forbid(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// framed reports a request for a frame, an image or whatever else is not a
// tab, a script, a style sheet or a fetch of ours.
func framed(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "frame", "iframe", "embed", "object", "fencedframe", "portal":
		return true
	}
	return false
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", cspPage)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Embedder-Policy", "require-corp")
	h.Set("Permissions-Policy", permissions)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

func forbid(w http.ResponseWriter) { http.Error(w, "forbidden", http.StatusForbidden) }

func (s *Server) common(w http.ResponseWriter, r *http.Request) {
	s.send(w, client, "client"+r.URL.Path)
}

// asset serves the files of a page. The bare folder is its index.html.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	name, file := r.PathValue("page"), r.PathValue("file")
	s.mu.Lock()
	assets := s.assets[name]
	s.mu.Unlock()
	if assets == nil {
		forbid(w)
		return
	}
	if file == "" {
		file = "index.html"
		for _, sh := range s.all() {
			if sh.page.Name == name {
				sh.reloaded()
			}
		}
	}
	s.send(w, assets, file)
}

func (s *Server) send(w http.ResponseWriter, files fs.FS, name string) {
	data, err := fs.ReadFile(files, name)
	if err != nil {
		forbid(w)
		return
	}
	types := map[string]string{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png"}
	t, ok := types[path.Ext(name)]
	if !ok {
		forbid(w)
		return
	}
	w.Header().Set("Content-Type", t)
	_, _ = w.Write(data)
}

// redeem exchanges a secret for a bearer. A refusal carries the few words that
// the page needs to say so, in every language: it has no others.
func (s *Server) redeem(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Secret string `json:"secret"`
	}
	if !s.decode(w, r, maxRedeem, &in) {
		return
	}
	sum := sha256.Sum256([]byte(in.Secret))
	for _, sh := range s.all() {
		if bearer, key, ok := sh.redeem(sum); ok {
			answer(w, http.StatusOK, map[string]string{"bearer": bearer, "key": key})
			return
		}
	}
	words := map[text.Lang]map[text.Key]string{}
	for _, l := range text.Langs {
		words[l] = text.Table(l, "page.")
	}
	answer(w, http.StatusForbidden, map[string]any{"error": "gone", "words": words})
}

// mine returns the page whose bearer the request carries.
func (s *Server) mine(w http.ResponseWriter, r *http.Request) *Shown {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if ok {
		sum := sha256.Sum256([]byte(bearer))
		for _, sh := range s.all() {
			if sh.holds(sum) {
				return sh
			}
		}
	}
	forbid(w)
	return nil
}

func (s *Server) call(w http.ResponseWriter, r *http.Request) {
	sh := s.mine(w, r)
	if sh == nil {
		return
	}
	var body json.RawMessage
	if !s.decode(w, r, MaxCall, &body) {
		return
	}
	if !sh.callable() || sh.page.Handle == nil {
		answer(w, http.StatusConflict, map[string]string{"error": "over"})
		return
	}
	patient(w)
	v, err := sh.page.Handle(r.Context(), r.PathValue("method"), body)
	s.reply(w, v, err)
}

func (s *Server) raw(w http.ResponseWriter, r *http.Request) {
	sh := s.mine(w, r)
	if sh == nil {
		return
	}
	if !sh.callable() || sh.page.Raw == nil {
		answer(w, http.StatusConflict, map[string]string{"error": "over"})
		return
	}
	if r.Header.Get("Content-Type") != "application/octet-stream" || r.ContentLength < 1 || r.ContentLength > sh.page.MaxRaw {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid"})
		return
	}
	// Exactly one buffer, so that whoever takes it over can wipe it.
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		clear(body)
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid"})
		return
	}
	patient(w)
	v, err := sh.page.Raw(r.Context(), r.PathValue("method"), body)
	s.reply(w, v, err)
}

// patient lifts the time in which a request must have arrived, now that it
// has: its answer may wait for a token.
func patient(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a connection that is gone shows soon enough
}

// decode reads a JSON body of at most max bytes into v, or answers.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, max int64, v any) bool {
	if r.Header.Get("Content-Type") != "application/json" {
		answer(w, http.StatusUnsupportedMediaType, map[string]string{"error": "invalid"})
		return false
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, max))
	if err == nil {
		err = Decode(data, v)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid"})
		return false
	}
	return true
}

// Decode reads one JSON value into v. Unknown keys and anything after the
// value are errors.
func Decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("malformed call: more than one value")
	}
	return nil
}

func (s *Server) reply(w http.ResponseWriter, v any, err error) {
	if refusal, ok := errors.AsType[Refusal](err); ok {
		answer(w, http.StatusConflict, map[string]string{"error": string(refusal)})
		return
	}
	if err != nil {
		s.cfg.Log.Warn("page call failed", "err", err)
		answer(w, http.StatusConflict, map[string]string{"error": "internal"})
		return
	}
	answer(w, http.StatusOK, v)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// stream sends events until the page goes, is replaced or ends.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	sh := s.mine(w, r)
	if sh == nil {
		return
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		forbid(w)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	n := sh.join()
	defer sh.leave(n)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	write := func(b []byte) error {
		if err := rc.SetWriteDeadline(s.cfg.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return rc.Flush()
	}
	if p := sh.proof(r); p != nil {
		if err := write(p); err != nil {
			return
		}
	}
	var seq uint64
	for {
		lines, last, word, wait := sh.next(n, seq)
		seq = last
		if word != "" {
			lines = append(lines, []byte(`{"event":"`+word+`"}`+"\n")...)
		}
		if len(lines) > 0 {
			if err := write(lines); err != nil {
				return
			}
		}
		if word != "" {
			return
		}
		select {
		case <-wait:
		case <-tick.C:
			if err := write([]byte(`{"event":"beat"}` + "\n")); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// file serves a file that a page was offered, once.
func (s *Server) file(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256([]byte(r.PathValue("token")))
	for _, sh := range s.all() {
		f, ok := sh.take(sum)
		if !ok {
			continue
		}
		h := w.Header()
		h.Set("Content-Security-Policy", cspCopy)
		h.Del("Cross-Origin-Embedder-Policy")
		h.Set("Accept-Ranges", "none")
		h.Set("Content-Length", strconv.FormatInt(f.Size, 10))
		kind, mediaType := "attachment", "application/octet-stream"
		if f.MediaType == "application/pdf" {
			kind, mediaType = "inline", f.MediaType
		}
		h.Set("Content-Type", mediaType)
		h.Set("Content-Disposition", mime.FormatMediaType(kind, map[string]string{"filename": f.Name}))
		if _, err := io.Copy(w, io.NewSectionReader(f.Content, 0, f.Size)); err != nil {
			s.cfg.Log.Debug("copy not sent", "err", err)
		}
		return
	}
	forbid(w)
}
