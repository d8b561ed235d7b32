package delivery

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tanba/agent/job"
)

// maxURL bounds a target's URL and maxBearer a bearer, in bytes.
const maxURL, maxBearer = 4096, 8192

var errTarget = errors.New("target is neither the site's own nor listed for it")

// parseTarget reads an absolute http or https URL strictly and returns it with
// its origin as a browser writes it.
func parseTarget(raw string) (*url.URL, string, error) {
	if raw == "" || len(raw) > maxURL {
		return nil, "", fmt.Errorf("malformed target: %d bytes", len(raw))
	}
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '#' {
			return nil, "", errors.New("malformed target: character not allowed")
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, "", errors.New("malformed target")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, "", errors.New("unsupported target: neither https nor http")
	case u.User != nil:
		return nil, "", errors.New("invalid target: has user information")
	case u.Opaque != "" || !properHost(host) || strings.HasSuffix(u.Host, ":"):
		return nil, "", errors.New("malformed target: no proper host")
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return nil, "", errors.New("malformed target: port")
		}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	origin := u.Scheme + "://" + host
	if port != "" && !(u.Scheme == "https" && port == "443") && !(u.Scheme == "http" && port == "80") {
		origin += ":" + port
	}
	return u, origin, nil
}

// properHost says whether host, in lower case, is a name or an address without
// a zone.
func properHost(host string) bool {
	if strings.Contains(host, ":") {
		a, err := netip.ParseAddr(host)
		return err == nil && a.Zone() == ""
	}
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}

// checkTarget says whether bytes of the site with this origin may go to, or
// come from, raw. Its error is an *job.Error with CodeTarget.
func (o *Outbox) checkTarget(origin, raw string) (*url.URL, string, error) {
	u, target, err := parseTarget(raw)
	if err != nil {
		return nil, "", job.Fail(job.CodeTarget, "", err)
	}
	allowed := target == origin || (o.cfg.Targets != nil && slices.Contains(o.cfg.Targets(origin), target))
	if u.Scheme == "http" {
		allowed = allowed && o.cfg.HTTPAllowed != nil && o.cfg.HTTPAllowed(origin) && o.cfg.HTTPAllowed(target)
	}
	if !allowed {
		return nil, "", job.Fail(job.CodeTarget, "", errTarget)
	}
	return u, target, nil
}

// checkDelivery checks where a page wants results to go, and its bearer.
func (o *Outbox) checkDelivery(origin string, d job.Delivery) error {
	if _, _, err := o.checkTarget(origin, d.URL); err != nil {
		return err
	}
	return checkBearer(d.Bearer)
}

func checkBearer(s job.Secret) error {
	b := s.Reveal()
	if len(b) > maxBearer {
		return job.Fail(job.CodeInvalid, "", fmt.Errorf("malformed bearer: %d bytes", len(b)))
	}
	for i := range len(b) {
		if b[i] <= ' ' || b[i] >= 0x7f {
			return job.Fail(job.CodeInvalid, "", errors.New("malformed bearer: character not allowed"))
		}
	}
	return nil
}

// checkIDs checks the job's ID and those of its documents. "opened" and
// "rejected" are no documents: their idempotency keys belong to the events.
func checkIDs(req job.Request) error {
	if err := checkID(req.ID); err != nil {
		return err
	}
	for _, d := range req.Documents {
		if err := checkID(d.ID); err != nil {
			return err
		}
		if Kind(d.ID) == KindOpened || Kind(d.ID) == KindRejected {
			return job.Fail(job.CodeInvalid, d.ID, errors.New("invalid document id: taken by an event"))
		}
	}
	return nil
}

// checkID checks a job's or document's ID: 1 to 64 of A–Z a–z 0–9 _ -.
func checkID(id string) error {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	if id == "" || len(id) > 64 || strings.Trim(id, allowed) != "" {
		return job.Fail(job.CodeInvalid, "", errors.New("malformed id"))
	}
	return nil
}
