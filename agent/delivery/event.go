package delivery

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"os"
	"time"

	"tanba/agent/job"
	"tanba/crypto/cert"
)

// The metadata of agent/PROTOCOL.md, section 2. It is fixed when the event
// happens and kept as it is, so that every attempt sends the same bytes.

type signedEvent struct {
	Type         Kind             `json:"type"`
	Origin       string           `json:"origin"`
	Job          string           `json:"job"`
	Document     string           `json:"document"`
	Name         string           `json:"name"`
	Format       job.Format       `json:"format"`
	Level        string           `json:"level"`
	Attached     bool             `json:"attached"`
	SHA256       string           `json:"sha256"`
	SignedSHA256 string           `json:"signedSha256"`
	SignedName   string           `json:"signedName"`
	MediaType    string           `json:"mediaType"`
	SigningTime  time.Time        `json:"signingTime"`
	Device       DeviceInfo       `json:"device"`
	Certificate  eventCertificate `json:"certificate"`
}

type eventCertificate struct {
	Subject      string    `json:"subject"`
	Name         string    `json:"name"`
	Organization string    `json:"organization"`
	Title        string    `json:"title"`
	Role         string    `json:"role"`
	IIN          string    `json:"iin"`
	BIN          string    `json:"bin"`
	Country      string    `json:"country"`
	Serial       string    `json:"serial"`
	Issuer       string    `json:"issuer"`
	NotBefore    time.Time `json:"notBefore"`
	NotAfter     time.Time `json:"notAfter"`
	SHA256       string    `json:"sha256"`
	PEM          string    `json:"pem"`
}

type openedEvent struct {
	Type      Kind       `json:"type"`
	Origin    string     `json:"origin"`
	Job       string     `json:"job"`
	Documents []string   `json:"documents"`
	At        time.Time  `json:"at"`
	Device    DeviceInfo `json:"device"`
}

type rejectedEvent struct {
	Type      Kind       `json:"type"`
	Origin    string     `json:"origin"`
	Job       string     `json:"job"`
	Documents []string   `json:"documents"`
	Reason    job.Reason `json:"reason"`
	Text      string     `json:"text"`
	At        time.Time  `json:"at"`
	Device    DeviceInfo `json:"device"`
}

func certificateOf(c *cert.Certificate) eventCertificate {
	return eventCertificate{
		Subject: c.X509.Subject.String(), Name: c.Profile.Name, Organization: c.Profile.Organization,
		Title: c.Profile.Title, Role: c.Profile.Role, IIN: c.Profile.IIN, BIN: c.Profile.BIN, Country: c.Profile.Country,
		Serial: c.Serial(), Issuer: c.X509.Issuer.String(),
		NotBefore: c.X509.NotBefore.UTC(), NotAfter: c.X509.NotAfter.UTC(),
		SHA256: c.Fingerprint(), PEM: c.PEM(),
	}
}

func (o *Outbox) signedMeta(req job.Request, s *job.Signed, c eventCertificate) ([]byte, error) {
	return marshal(signedEvent{
		Type: KindSigned, Origin: req.Origin, Job: req.ID, Document: s.Document.ID, Name: s.Document.Name,
		Format: s.Document.Format, Level: s.Level, Attached: s.Document.Attached,
		SHA256: s.Document.Digest(), SignedSHA256: hex.EncodeToString(s.SHA256[:]), SignedName: s.Name, MediaType: s.MediaType,
		SigningTime: s.At.UTC(), Device: o.cfg.Device, Certificate: c,
	})
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// A message is one event as it goes over the wire. signed is what Standard
// Webhooks signs: "id.timestamp." and, right behind it, the body.
type message struct {
	contentType string
	signed      []byte
	body        []byte
}

// compose builds the message of rec for an attempt at the time at. The body is
// the same each time. dir is the outbox's folder.
func compose(rec record, meta []byte, dir string, at time.Time) (message, error) {
	prefix := fmt.Sprintf("%s.%d.", rec.Key, at.Unix())
	if rec.Kind != KindSigned {
		signed := append([]byte(prefix), meta...)
		return message{contentType: "application/json", signed: signed, body: signed[len(prefix):]}, nil
	}
	f, err := os.Open(dir + string(os.PathSeparator) + rec.Spool)
	if err != nil {
		return message{}, err
	}
	defer f.Close()
	b := bytes.NewBuffer(make([]byte, 0, int64(len(prefix)+len(meta)+len(rec.Name)*3+1024)+rec.Size))
	b.WriteString(prefix)
	w := multipart.NewWriter(b)
	if err := w.SetBoundary(rec.Boundary); err != nil {
		return message{}, err
	}
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="metadata"`},
		"Content-Type":        {"application/json"},
	})
	if err != nil {
		return message{}, err
	}
	if _, err := part.Write(meta); err != nil {
		return message{}, err
	}
	part, err = w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition("file", rec.Name)},
		"Content-Type":        {rec.MediaType},
	})
	if err != nil {
		return message{}, err
	}
	if err := copyChecked(part, f, rec); err != nil {
		return message{}, err
	}
	if err := w.Close(); err != nil {
		return message{}, err
	}
	return message{contentType: w.FormDataContentType(), signed: b.Bytes(), body: b.Bytes()[len(prefix):]}, nil
}

// copyChecked copies the signed file of rec out of its spool. errDamaged means
// that the file is not what was committed.
func copyChecked(w io.Writer, spool io.ReaderAt, rec record) error {
	h := newDigest()
	n, err := io.Copy(io.MultiWriter(w, h), io.NewSectionReader(spool, rec.Offset, rec.Size))
	if err != nil {
		return err
	}
	if n != rec.Size || !bytes.Equal(h.Sum(nil), rec.SHA256) {
		return errDamaged
	}
	return nil
}
