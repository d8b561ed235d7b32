package crm

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// cookieName is the session's cookie. Cookies of 127.0.0.1 are seen by every
// local service whatever its port; a CRM on the network has no such neighbours.
const cookieName = "tanba_demo_crm"

const sessionTime = 12 * time.Hour

type session struct {
	Person  string    `json:"person"`
	Expires time.Time `json:"expires"`
}

// newSecret returns 256 random bits, and the digest under which they are kept.
func newSecret() (secret string, digest []byte) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand
	secret = base64.RawURLEncoding.EncodeToString(b)
	return secret, digestOf(secret)
}

func digestOf(secret string) []byte {
	s := sha256.Sum256([]byte(secret))
	return s[:]
}

// sameSecret compares in constant time. An empty digest fits nothing.
func sameSecret(digest []byte, secret string) bool {
	return subtle.ConstantTimeCompare(digest, digestOf(secret)) == 1
}

// bearer returns the request's bearer, empty if it has none.
func bearer(r *http.Request) string {
	b, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || len(r.Header.Values("Authorization")) != 1 {
		return ""
	}
	return b
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	p, err := read[Person](s.store, bucketPeople, r.PostFormValue("person"))
	if err != nil {
		http.Error(w, "unknown person", http.StatusBadRequest)
		return
	}
	secret, digest := newSecret()
	expires := s.cfg.Now().Add(sessionTime)
	err = s.store.db.Update(func(tx *bbolt.Tx) error {
		if err := s.endOldSessions(tx); err != nil {
			return err
		}
		return put(tx, bucketSessions, hex.EncodeToString(digest), session{p.ID, expires})
	})
	if err != nil {
		s.broken(w, err)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: secret, Path: "/", Expires: expires,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: strings.HasPrefix(s.cfg.Origin, "https:"),
	})
	http.Redirect(w, r, "/deals", http.StatusSeeOther)
}

// endOldSessions removes those that have expired.
func (s *Server) endOldSessions(tx *bbolt.Tx) error {
	c := tx.Bucket([]byte(bucketSessions)).Cursor()
	for k, raw := c.First(); k != nil; k, raw = c.Next() {
		var ses session
		if err := json.Unmarshal(raw, &ses); err != nil {
			return err
		}
		if s.cfg.Now().After(ses.Expires) {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		err := s.store.db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bucketSessions)).Delete([]byte(hex.EncodeToString(digestOf(c.Value))))
		})
		if err != nil {
			s.broken(w, err)
			return
		}
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// who returns the person that is logged in.
func (s *Server) who(r *http.Request) (Person, error) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return Person{}, err
	}
	ses, err := read[session](s.store, bucketSessions, hex.EncodeToString(digestOf(c.Value)))
	if err != nil {
		return Person{}, err
	}
	if s.cfg.Now().After(ses.Expires) {
		return Person{}, errors.New("session expired")
	}
	return read[Person](s.store, bucketPeople, ses.Person)
}

// person lets only people who are logged in pass.
func (s *Server) person(h func(http.ResponseWriter, *http.Request, Person)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := s.who(r)
		switch {
		case err == nil:
			h(w, r, p)
		case r.Method == http.MethodGet:
			http.Redirect(w, r, "/", http.StatusSeeOther)
		default:
			http.Error(w, "not logged in", http.StatusUnauthorized)
		}
	}
}

// enrol pins the agent's key for a person. The page sends the key that its
// client has checked and pinned; from then on only results signed with it are
// taken for this person. Another key needs the person's own word.
func (s *Server) enrol(w http.ResponseWriter, r *http.Request, p Person) {
	var in struct {
		Key     string `json:"key"`
		Replace bool   `json:"replace"`
	}
	if !decode(w, r, &in) {
		return
	}
	key, err := base64.RawURLEncoding.DecodeString(in.Key)
	if err != nil || len(key) != ed25519.PublicKeySize {
		http.Error(w, "malformed key", http.StatusBadRequest)
		return
	}
	other := false
	err = s.store.db.Update(func(tx *bbolt.Tx) error {
		now, err := get[Person](tx, bucketPeople, p.ID)
		if err != nil {
			return err
		}
		if len(now.Key) > 0 && subtle.ConstantTimeCompare(now.Key, key) != 1 && !in.Replace {
			other = true
			return nil
		}
		now.Key = key
		return put(tx, bucketPeople, p.ID, now)
	})
	switch {
	case err != nil:
		s.broken(w, err)
	case other:
		http.Error(w, "another computer is enrolled for you", http.StatusConflict)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// decode reads a small JSON body, answering 400 when it cannot.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		http.Error(w, "malformed request", http.StatusBadRequest)
		return false
	}
	return true
}

// broken answers 500 and keeps the cause for the log.
func (s *Server) broken(w http.ResponseWriter, err error) {
	s.cfg.Log.Error("request failed", "err", err)
	http.Error(w, "the CRM is in trouble", http.StatusInternalServerError)
}
