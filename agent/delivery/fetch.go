package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"tanba/agent/job"
)

var errNoDocument = errors.New("server gave no document")

// Fetch implements job.Fetcher: one GET under the rules for targets, without
// compression, at most max bytes. Redirects (at most three) stay within the
// allowed origins; bearer goes to the first URL's origin only. A reader that
// passes max fails with CodeTooLarge, one that ends early with CodeFetch. The
// caller closes the reader.
func (o *Outbox) Fetch(ctx context.Context, origin, raw string, bearer job.Secret, max int64) (io.ReadCloser, error) {
	if err := checkBearer(bearer); err != nil {
		return nil, err
	}
	u, first, err := o.checkTarget(origin, raw)
	if err != nil {
		return nil, err
	}
	dog := watch(ctx, o.timeout)
	for hop := 0; ; hop++ {
		_, at, err := o.checkTarget(origin, u.String())
		if err != nil {
			dog.stop()
			return nil, err
		}
		if at != first {
			bearer = job.Secret{}
		}
		resp, err := o.get(dog, u, bearer)
		if err != nil {
			dog.stop()
			return nil, job.Fail(job.CodeFetch, "", err)
		}
		dog.alive()
		next, err := redirect(u, resp, hop)
		if next != nil {
			_ = resp.Body.Close()
			u = next
			continue
		}
		if err == nil {
			err = acceptable(resp, max)
		}
		if err != nil {
			dog.stop()
			return nil, errors.Join(err, resp.Body.Close())
		}
		return &document{body: resp.Body, left: max, max: max, dog: dog}, nil
	}
}

func (o *Outbox) get(dog *watchdog, u *url.URL, bearer job.Secret) (*http.Response, error) {
	req, err := http.NewRequestWithContext(dog.ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errTarget
	}
	req.Header.Set("User-Agent", "Tanba/"+o.cfg.Device.Agent)
	req.Header.Set("Accept-Encoding", "identity")
	if b := bearer.Reveal(); b != "" {
		req.Header.Set("Authorization", "Bearer "+b)
	}
	resp, err := o.client.Do(req)
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("%s: %w", dog.trouble(err), ue.Err) // the URL may hold a secret
	}
	return resp, err
}

// redirect returns where resp sends us, nil if it does not.
func redirect(u *url.URL, resp *http.Response, hop int) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	next, err := u.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" || hop == maxHops {
		return nil, job.Fail(job.CodeFetch, "", fmt.Errorf("%w: redirected in circles or nowhere", errNoDocument))
	}
	return next, nil
}

// acceptable checks a final answer's header.
func acceptable(resp *http.Response, max int64) error {
	switch {
	case resp.StatusCode != http.StatusOK:
		return job.Fail(job.CodeFetch, "", fmt.Errorf("%w: status %d", errNoDocument, resp.StatusCode))
	case resp.Header.Get("Content-Encoding") != "" && resp.Header.Get("Content-Encoding") != "identity":
		return job.Fail(job.CodeFetch, "", fmt.Errorf("%w: unsupported content coding", errNoDocument))
	case resp.ContentLength > max:
		return tooLarge(max)
	}
	return nil
}

func tooLarge(max int64) error {
	return job.Fail(job.CodeTooLarge, "", fmt.Errorf("more than %d bytes: %w", max, job.ErrTooLarge))
}

// A document is the body of a fetched document with its bound.
type document struct {
	body      io.ReadCloser
	left, max int64
	dog       *watchdog
}

func (d *document) Read(p []byte) (int, error) {
	if d.left < 0 {
		return 0, tooLarge(d.max)
	}
	if int64(len(p)) > d.left+1 {
		p = p[:d.left+1]
	}
	n, err := d.body.Read(p)
	d.dog.alive()
	d.left -= int64(n)
	if d.left < 0 {
		return n - 1, tooLarge(d.max)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = job.Fail(job.CodeFetch, "", err)
	} else if err != nil {
		err = io.EOF
	}
	return n, err
}

func (d *document) Close() error {
	d.dog.stop()
	return d.body.Close()
}
