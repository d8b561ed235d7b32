package approve

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
	"tanba/agent/text"
	"tanba/tokens"
)

// look is how a picture is taken.
type look struct {
	lang          text.Lang
	dark          bool
	width, height int64
}

func (l look) suffix() string {
	s := string(l.lang)
	if l.dark {
		s += "-dark"
	}
	if l.width < 600 {
		s += "-narrow"
	}
	return s
}

// TestPictures takes pictures of every state into the folder that
// TANBA_PICTURES names, to be looked at. prompt.png is one of them.
func TestPictures(t *testing.T) {
	dir := os.Getenv("TANBA_PICTURES")
	if dir == "" {
		t.Skip("TANBA_PICTURES names no folder")
	}
	wide := look{text.Russian, false, 1180, 760}
	dark, narrow, kk, en := wide, wide, wide, wide
	dark.dark = true
	narrow.width, narrow.height = 400, 860
	kk.lang, en.lang = text.Kazakh, text.English
	misfits := func(t *testing.T) *fakeAsk {
		old, other := director(), director()
		old.until = time.Now().AddDate(0, 0, -20)
		other.organization, other.bin, other.until = "ТОО «АЛТЫН ДАЛА»", "180240011223", time.Now().AddDate(0, 0, 21)
		f := newAsk(1, token(t, tokens.PINOK, director(), other, old, holder{"СЕРІКҰЛЫ АСҚАР", "", "800101300123", "", rolePerson, time.Now().AddDate(0, 5, 0)}))
		ids := f.tokens[0].Identities
		f.misfits[ids[2].ID], f.misfits[ids[3].ID] = "expired", job.OtherOrganization
		return f
	}
	one := func(pin tokens.PINState) func(t *testing.T) *fakeAsk {
		return func(t *testing.T) *fakeAsk { return newAsk(1, token(t, pin, director())) }
	}
	ready := chromedp.WaitVisible("#sign")
	for _, p := range []struct {
		name  string
		ask   func(t *testing.T) *fakeAsk
		looks []look
		then  action
	}{
		{"prompt", one(tokens.PINOK), []look{{text.English, false, 1180, 740}}, enterPIN("123456")},
		{"one", one(tokens.PINOK), []look{wide, dark, narrow, kk, en}, chromedp.Steps(chromedp.WaitVisible("#pin"), enterPIN("123456"))},
		{"misfits", misfits, []look{wide, dark, narrow}, chromedp.WaitVisible(".misfit")},
		{"chosen", misfits, []look{wide, dark}, chromedp.Click(".identity:nth-child(2)")},
		{"batch", func(t *testing.T) *fakeAsk { return newAsk(12, token(t, tokens.PINOK, director())) }, []look{wide, dark, narrow}, chromedp.Click(".row:nth-child(3) input")},
		{"no-token", func(*testing.T) *fakeAsk { return newAsk(1) }, []look{wide, kk, narrow}, ready},
		{"wrong-pin", one(tokens.PINOK), []look{wide, dark}, chromedp.Steps(enterPIN("0000"), chromedp.Click("#sign"), chromedp.WaitVisible("#pin-note"))},
		{"locked", one(tokens.PINLocked), []look{wide, en}, chromedp.WaitVisible("#pin-note")},
		{"final-try", one(tokens.PINFinalTry), []look{wide, kk, dark}, chromedp.WaitVisible("#final-tick")},
		{"reject", one(tokens.PINOK), []look{wide, narrow, dark}, chromedp.Steps(chromedp.Click("#reject"), chromedp.Click(`input[value="wrong_terms"]`))},
	} {
		for _, l := range p.looks {
			h := newHouse(t, withLang(l.lang))
			ctx, stop := context.WithCancel(t.Context())
			done := h.ask(ctx, p.ask(t))
			shoot(t, h, dir, p.name, l, p.then)
			stop()
			wait(t, done)
		}
	}
	t.Run("access", func(t *testing.T) {
		for _, l := range []look{wide, kk, narrow, dark} {
			h := newHouse(t, withLang(l.lang))
			ctx, stop := context.WithCancel(t.Context())
			go func() { _, _ = h.approver.AskSite(ctx, "http://crm.xn--80ak6aa92e.kz:8080") }()
			shoot(t, h, dir, "access", l, chromedp.WaitVisible(`#allow[aria-disabled="false"]`))
			stop()
		}
	})
	t.Run("timed out", func(t *testing.T) {
		h := newHouse(t, withPrompt(3*time.Second))
		done := h.ask(t.Context(), one(tokens.PINOK)(t))
		shoot(t, h, dir, "time-warning", wide, chromedp.WaitVisible("#extend"))
		wait(t, done)
		h = newHouse(t, withPrompt(3*time.Second))
		done = h.ask(t.Context(), one(tokens.PINOK)(t))
		shoot(t, h, dir, "timed-out", wide, chromedp.WaitVisible("#last"))
		wait(t, done)
	})
	t.Run("working", func(t *testing.T) {
		for _, l := range []look{wide, dark} {
			h := newHouse(t)
			done := h.ask(t.Context(), newAsk(50, token(t, tokens.PINOK, director())))
			go func() {
				wait(t, done)
				h.approver.Progress("https://crm.altyn.kz", job.Progress{Job: "d41", Step: job.StepSigning, Done: 3, Total: 50})
			}()
			shoot(t, h, dir, "working", l, chromedp.Steps(enterPIN(goodPIN), chromedp.Click("#sign"), chromedp.WaitVisible("#working"), chromedp.Sleep(300*time.Millisecond)))
			for name, r := range map[string]job.Receipt{
				"done": {Documents: []job.DocumentReceipt{{State: job.Delivered}}},
				"part": {Documents: []job.DocumentReceipt{{State: job.Delivered}, {State: job.Failed, Code: job.CodeTokenRemoved}}},
			} {
				h := newHouse(t)
				done := h.ask(t.Context(), newAsk(len(r.Documents), token(t, tokens.PINOK, director())))
				go func() {
					wait(t, done)
					h.approver.Ended("https://crm.altyn.kz", "d41", r, nil)
				}()
				shoot(t, h, dir, name, l, chromedp.Steps(enterPIN(goodPIN), chromedp.Click("#sign"), chromedp.WaitVisible("#last")))
			}
		}
	})
	t.Run("gone", func(t *testing.T) {
		h := newHouse(t)
		done := h.ask(t.Context(), one(tokens.PINOK)(t))
		shoot(t, h, dir, "reloaded", wide, chromedp.Steps(ready, chromedp.Reload(), chromedp.WaitVisible("#last")))
		_ = done
	})
}

func shoot(t *testing.T, h *house, dir, name string, l look, then action) {
	t.Helper()
	ctx, cancel := h.tab(chromedp.EmulateViewport(l.width, l.height), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		scheme := "light"
		if l.dark {
			scheme = "dark"
		}
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
	defer cancel()
	run(t, ctx, then)
	shot := chromedp.CaptureScreenshot()
	if l.width < 600 {
		shot = chromedp.FullScreenshot(100)
	}
	png, err := chromedp.Run(ctx, shot)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+"-"+l.suffix()+".png"), png, 0o600))
}
