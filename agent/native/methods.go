package native

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"

	"tanba/agent/job"
)

// dispatch handles one request. What takes long is answered by a goroutine of
// its own. An error is for the caller to answer.
func (k *socket) dispatch(req request, allowed bool) *problem {
	if !allowed && req.method != "requestAccess" {
		return fail(job.CodeSiteNotAllowed)
	}
	f := &fields{v: req.params}
	switch req.method {
	case "hello":
		return k.hello(req, f)
	case "requestAccess":
		return k.requestAccess(req, f, allowed)
	case "upload":
		return k.upload(req, f)
	case "sign":
		return k.sign(req)
	case "state":
		return k.state(req, f)
	case "deliver":
		return k.deliver(req, f)
	case "cancel":
		return k.cancelJob(req, f)
	}
	return fail(codeMethod)
}

// nonce reads the 32 random bytes that are signed, as they were sent.
func nonce(f *fields) string {
	s := f.string("nonce", true)
	if b, err := base64.RawURLEncoding.Strict().DecodeString(s); (err != nil || len(b) != 32 || len(s) != 43) && f.err == nil {
		f.fault("nonce")
	}
	return s
}

func (k *socket) hello(req request, f *fields) *problem {
	n := nonce(f)
	if err := f.end(); err != nil {
		return err
	}
	k.answer(req.id, k.whoWeAre(n), nil)
	return nil
}

// whoWeAre proves the key that this site knows us by, for this port alone: a
// proof that a program on another port passes on does not fit.
func (k *socket) whoWeAre(nonce string) helloResult {
	key := k.s.cfg.Sites.Key(k.origin)
	signed := fmt.Sprintf("tanba.v1 hello\n%s\n%s\n%d", nonce, k.origin, k.s.cfg.Port)
	l := k.s.cfg.Limits
	return helloResult{
		Protocol:  Version,
		Key:       base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey)),
		Signature: base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signed))),
		Version:   k.s.cfg.Version,
		Tokens:    k.s.cfg.Tokens(),
		Limits:    helloLimits{l.Document, l.Job, l.Documents, l.Frame, l.Chunk},
	}
}

func (k *socket) requestAccess(req request, f *fields, allowed bool) *problem {
	n := nonce(f)
	if err := f.end(); err != nil {
		return err
	}
	if allowed {
		k.answer(req.id, k.whoWeAre(n), nil)
		return nil
	}
	t, err := k.s.askAccess(k)
	if err != nil {
		return err
	}
	go func() {
		if !t.wait(k) {
			return
		}
		if t.allowed && k.allowed() {
			k.answer(req.id, k.whoWeAre(n), nil)
			return
		}
		k.answer(req.id, nil, fail(job.CodeAccessRefused))
	}()
	return nil
}

func (k *socket) upload(req request, f *fields) *problem {
	size := f.int("size")
	if err := f.end(); err != nil {
		return err
	}
	stream, err := k.uploads.announce(size)
	if err != nil {
		return err
	}
	k.answer(req.id, uploadResult{stream}, nil)
	return nil
}

func (k *socket) sign(req request) *problem {
	p, err := decodeSign(req.params, k.origin, k.s.limits())
	if err != nil {
		return err
	}
	release, sums, err := k.uploads.take(p, k.s.limits())
	if err != nil {
		return err
	}
	t, err := k.s.runJob(k, p, sums, release)
	if err != nil {
		return err
	}
	go func() {
		if !t.wait(k) {
			return
		}
		if t.problem != nil {
			k.answer(req.id, nil, t.problem)
			return
		}
		k.answer(req.id, receiptOf(t.receipt), nil)
	}()
	return nil
}

// jobID reads the job's identifier.
func jobID(f *fields) string {
	id := f.string("job", true)
	if f.err == nil && !validID(id) {
		f.fault("job")
	}
	return id
}

func (k *socket) state(req request, f *fields) *problem {
	id := jobID(f)
	if err := f.end(); err != nil {
		return err
	}
	if k.s.running(k, id) {
		return fail(job.CodeRunning)
	}
	r, err := k.s.cfg.Jobs.State(k.ctx, k.origin, id)
	if err != nil {
		return asProblem(err)
	}
	k.answer(req.id, receiptOf(r), nil)
	return nil
}

func (k *socket) deliver(req request, f *fields) *problem {
	id := jobID(f)
	delivery := f.member("delivery", kindObject, true)
	if err := f.end(); err != nil {
		return err
	}
	d, err := decodeDelivery(delivery)
	if err != nil {
		return err
	}
	if k.s.running(k, id) {
		return fail(job.CodeRunning)
	}
	go func() {
		r, err := k.s.cfg.Jobs.Redeliver(k.ctx, k.origin, id, d)
		if err != nil {
			k.answer(req.id, nil, asProblem(err))
			return
		}
		k.answer(req.id, receiptOf(r), nil)
	}()
	return nil
}

func (k *socket) cancelJob(req request, f *fields) *problem {
	id := jobID(f)
	if err := f.end(); err != nil {
		return err
	}
	told, err := k.s.cancelJob(k.origin, id)
	if err != nil {
		return err
	}
	defer told()
	k.answer(req.id, struct{}{}, nil)
	return nil
}
