package delivery

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

func TestFetch(t *testing.T) {
	pki := newPKI(t)
	var otherAuth []string
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		otherAuth = append(otherAuth, r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, "from the other")
	}))
	stranger := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("bytes from a stranger") }))
	release := make(chan struct{})
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer b1" || len(r.Cookies()) > 0 {
			w.WriteHeader(403)
			return
		}
		w.Header().Set("Set-Cookie", "a=b")
		switch r.URL.Path {
		case "/ok":
			_, _ = io.WriteString(w, "content")
		case "/exact":
			_, _ = io.WriteString(w, strings.Repeat("x", 100))
		case "/long":
			_, _ = io.WriteString(w, strings.Repeat("x", 101))
		case "/endless":
			for range 50 {
				if _, err := io.WriteString(w, strings.Repeat("x", 50)); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
			}
		case "/cut":
			w.Header().Set("Content-Length", "90")
			_, _ = io.WriteString(w, "half")
		case "/hang":
			_ = http.NewResponseController(w).Flush()
			<-release
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "x")
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/circle":
			http.Redirect(w, r, "/circle", http.StatusFound)
		case "/other":
			http.Redirect(w, r, other.URL+"/x", http.StatusTemporaryRedirect)
		case "/stranger":
			http.Redirect(w, r, stranger.URL, http.StatusFound)
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		case "/nowhere":
			w.WriteHeader(302)
		default:
			w.WriteHeader(404)
		}
	}))
	for _, s := range []*httptest.Server{other, stranger, site} {
		s.TLS = pkiConfig(t, pki)
		s.StartTLS()
		t.Cleanup(s.Close)
	}
	t.Cleanup(func() { close(release) })
	cfg := testConfig(t, t.TempDir(), pki.file)
	cfg.Targets = func(string) []string { return []string{other.URL} }
	o := openOutbox(t, cfg)
	o.timeout = 300 * time.Millisecond
	tests := []struct {
		path, bearer string
		want         string
		code         job.Code
	}{
		{"/ok", "b1", "content", ""},
		{"/exact", "b1", strings.Repeat("x", 100), ""},
		{"/long", "b1", "", job.CodeTooLarge},
		{"/endless", "b1", "", job.CodeTooLarge},
		{"/cut", "b1", "", job.CodeFetch},
		{"/hang", "b1", "", job.CodeFetch},
		{"/gzip", "b1", "", job.CodeFetch},
		{"/moved", "b1", "content", ""},
		{"/circle", "b1", "", job.CodeFetch},
		{"/nowhere", "b1", "", job.CodeFetch},
		{"/other", "b1", "from the other", ""},
		{"/stranger", "b1", "", job.CodeTarget},
		{"/metadata", "b1", "", job.CodeTarget},
		{"/none", "b1", "", job.CodeFetch},
		{"/ok", "wrong", "", job.CodeFetch},
		{"/ok", "a\nb", "", job.CodeInvalid},
	}
	for _, tt := range tests {
		t.Run(strings.TrimPrefix(tt.path, "/")+tt.bearer, func(t *testing.T) {
			r, err := o.Fetch(t.Context(), site.URL, site.URL+tt.path, job.NewSecret(tt.bearer), 100)
			var data []byte
			if err == nil {
				data, err = io.ReadAll(r)
				err = errors.Join(err, r.Close())
			}
			if tt.code != "" {
				require.Error(t, err)
				assert.Equal(t, tt.code, codeOf(t, err))
				assert.LessOrEqual(t, len(data), 100)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(data))
		})
	}
	assert.Equal(t, []string{""}, otherAuth, "the bearer stays with its origin")
}
