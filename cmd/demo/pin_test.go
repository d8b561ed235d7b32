package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/cmd/demo/robot"
	"tanba/cmd/demo/stage"
)

// ownPage opens the signer's own page, whose first tab are the tokens.
func ownPage(t *testing.T, s *stage.Stage, r *robot.Robot) *robot.Page {
	t.Helper()
	require.NoError(t, s.Agent.Command(t.Context()).Run())
	p, err := r.OpenPage()
	require.NoError(t, err)
	t.Cleanup(p.Close)
	text(t, p, "Altyn Metall")
	return p
}

// press clicks the element that a selector finds, as soon as it can be seen.
func press(t *testing.T, p *robot.Page, css string) {
	t.Helper()
	require.NoError(t, chromedp.Do(p.Tab(), chromedp.Click(chromedp.CSS(css))))
}

// first is the card of the first token, which is Altyn Metall's.
const first = ".token:first-child "

// fill types into the fields of an open form, in place of what is in them.
func fill(t *testing.T, p *robot.Page, given, fresh, again string) {
	t.Helper()
	for css, v := range map[string]string{"#pin-given": given, "#pin-fresh": fresh, "#pin-again": again} {
		// Again when the page was drawn anew in between.
		require.Eventually(t, func() bool {
			_, err := chromedp.Run(p.Tab(), chromedp.Evaluate[string](fmt.Sprintf(`(document.querySelector(%q).value = '')`, css)))
			if err != nil || v == "" {
				return err == nil
			}
			if chromedp.Do(p.Tab(), chromedp.Focus(chromedp.CSS(css)), chromedp.SendKeys(chromedp.CSS(css), v)) != nil {
				return false
			}
			n, err := chromedp.Run(p.Tab(), chromedp.Evaluate[int](fmt.Sprintf(`document.querySelector(%q).value.length`, css)))
			return err == nil && n == len(v)
		}, 20*time.Second, 20*time.Millisecond)
	}
}

// submit presses the form's button when it is armed.
func submit(t *testing.T, p *robot.Page) {
	t.Helper()
	require.Eventually(t, func() bool { return enabled(t, p, "#pin-go") }, 10*time.Second, 50*time.Millisecond, "the button is armed")
	press(t, p, "#pin-go")
}

// snap keeps pictures of a page, light and dark and narrow, for people to look
// at.
func snap(t *testing.T, p *robot.Page, name string) {
	t.Helper()
	dir := os.Getenv("TANBA_PICTURES")
	if dir == "" {
		return
	}
	look := func(scheme string, width int64) {
		require.NoError(t, chromedp.Do(p.Tab(), chromedp.EmulateViewport(width, 1000), func(ctx context.Context, tab *chromedp.Target) (chromedp.Void, error) {
			_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			return chromedp.Void{}, err
		}))
	}
	for suffix, l := range map[string]struct {
		scheme string
		width  int64
	}{"": {"light", 1180}, "-dark": {"dark", 1180}, "-narrow": {"light", 400}} {
		look(l.scheme, l.width)
		path, err := p.Picture(name)
		require.NoError(t, err)
		require.NoError(t, os.Rename(path, filepath.Join(dir, name+suffix+".png")))
	}
	look("light", 1180)
}

func TestChangePIN(t *testing.T) {
	s, r := play(t, nil)
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.SignDeal("44", s.PIN, stage.DirectorName, "signed"))
	desk := ownPage(t, s, r)
	assert.Contains(t, text(t, desk, "Сменить PIN-код"), "заводским PIN-кодом", "the demo's PIN is one of those")
	token := s.Tokens.Reader("altyn")
	const fresh = "24681357"
	snap(t, desk, "pin-closed")
	press(t, desk, first+".pin-openers button:first-child")
	text(t, desk, "От 4 до 32 символов")
	assert.False(t, enabled(t, desk, "#pin-go"), "nothing is filled in")

	for _, c := range []struct{ given, fresh, again, says string }{
		{s.PIN, fresh, "24681358", "не совпадают"},
		{s.PIN, "123", "123", "длина нового"},
		{s.PIN, s.PIN, s.PIN, "совпадает с текущим"},
		{"", fresh, fresh, "Введите текущий"},
	} {
		fill(t, desk, c.given, c.fresh, c.again)
		press(t, desk, "#pin-go")
		text(t, desk, c.says)
		assert.False(t, enabled(t, desk, "#pin-go"))
	}
	snap(t, desk, "pin-mismatch")
	fill(t, desk, s.PIN, "1234567890", "1234567890")
	submit(t, desk)
	text(t, desk, "на заводе")
	left := func() int {
		n, err := token.TriesLeft()
		require.NoError(t, err)
		return n
	}
	assert.Equal(t, 3, left(), "the token saw none of these")

	fill(t, desk, "00000001", fresh, fresh)
	submit(t, desk)
	text(t, desk, "Текущий PIN-код неверный")
	assert.Equal(t, 2, left(), "one try for one entry")
	fill(t, desk, "00000001", fresh, fresh)
	submit(t, desk)
	text(t, desk, "последняя попытка")
	assert.Equal(t, 1, left())
	fill(t, desk, s.PIN, fresh, fresh)
	press(t, desk, "#pin-go")
	text(t, desk, "Отметьте")
	assert.False(t, enabled(t, desk, "#pin-go"), "the last try needs a tick")
	assert.Equal(t, 1, left())
	snap(t, desk, "pin-final")
	press(t, desk, "#pin-final")
	submit(t, desk)
	text(t, desk, "PIN-код сменён")
	snap(t, desk, "pin-changed")
	assert.Equal(t, 3, left())
	shown := text(t, desk, "Altyn Metall")
	assert.NotContains(t, shown, "последняя попытка", "the page shows the new state")
	assert.NotContains(t, shown, "заводским")

	p := begin(t, s, r, "41")
	require.NoError(t, p.Enter(s.PIN))
	said, err := p.Problem()
	require.NoError(t, err)
	assert.Contains(t, said, "Неверный", "the old PIN opens nothing")
	require.NoError(t, p.Enter(fresh))
	_, err = p.Ended()
	require.NoError(t, err)
	outcome(t, r, "signed")
}

func TestUnlockWithPUK(t *testing.T) {
	s, r := play(t, func(o *stage.Options) { o.Config = "log_level = \"debug\"\n" })
	const fresh, wrongPIN, wrongPUK = "86427531", "0011223", "9988776"
	token := s.Tokens.Reader("altyn")
	p := begin(t, s, r, "41")
	for left := 2; left >= 0; left-- {
		if left == 0 {
			press(t, p, "#final-tick")
		}
		require.NoError(t, p.Enter(wrongPIN))
		require.Eventually(t, func() bool {
			n, err := token.TriesLeft()
			return err == nil && n == left
		}, 10*time.Second, 20*time.Millisecond)
		_, err := p.Problem()
		require.NoError(t, err)
	}
	assert.Contains(t, text(t, p, "заблокирован"), "PUK", "the prompt says what to do")
	require.NoError(t, p.Later())
	outcome(t, r, "left")

	desk := ownPage(t, s, r)
	text(t, desk, "Разблокируйте его PUK-кодом")
	snap(t, desk, "pin-locked")
	press(t, desk, first+".pin-openers button")
	text(t, desk, "PIN-кодом администратора")
	snap(t, desk, "pin-unblock")
	fill(t, desk, wrongPUK, fresh, fresh)
	submit(t, desk)
	text(t, desk, "Неверный PUK-код")
	n, err := token.PUKTriesLeft()
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	fill(t, desk, s.PUK, fresh, fresh)
	submit(t, desk)
	text(t, desk, "PIN-код разблокирован")
	snap(t, desk, "pin-unblocked")
	n, err = token.PUKTriesLeft()
	require.NoError(t, err)
	assert.Equal(t, 3, n)
	require.NoError(t, r.OpenDeal("41"))
	require.NoError(t, r.SignDeal("41", fresh, stage.DirectorName, "signed"))
	require.NoError(t, s.Agent.Stop())

	searched := 0
	for _, d := range []string{"home", "config", "data", "state", "cache", "run", "agent.log"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(s.Dir, d), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			searched++
			for _, c := range []string{fresh, wrongPIN, wrongPUK, s.PUK} {
				lookFor(t, path, b, []byte(c))
			}
			return nil
		}))
	}
	require.Greater(t, searched, 3)
	log, err := os.ReadFile(filepath.Join(s.Dir, "state", "tanba", "tanba.log"))
	require.NoError(t, err)
	assert.True(t, bytes.Contains(log, []byte("PIN not set")) && bytes.Contains(log, []byte("PIN set")), "the log tells that it was done")
	assert.Contains(t, string(log), "CKR_PIN_INCORRECT")
}

// A script's click, or one that comes too early, sets no PIN; and the page's
// own calls cannot approve anything.
func TestOwnPageIsArmed(t *testing.T) {
	s, r := play(t, nil)
	desk := ownPage(t, s, r)
	token := s.Tokens.Reader("altyn")
	press(t, desk, first+".pin-openers button:first-child")
	fill(t, desk, "00000001", "24681357", "24681357")
	require.Eventually(t, func() bool { return enabled(t, desk, "#pin-go") }, 10*time.Second, 50*time.Millisecond)
	_, err := chromedp.Run(desk.Tab(), chromedp.Evaluate[bool](`(document.querySelector('#pin-go').click(), true)`))
	require.NoError(t, err)
	require.NoError(t, chromedp.Do(desk.Tab(), chromedp.Focus(chromedp.CSS("#pin-go")), chromedp.SendKeys(chromedp.CSS("#pin-go"), "\r")))
	time.Sleep(300 * time.Millisecond)
	n, err := token.TriesLeft()
	require.NoError(t, err)
	assert.Equal(t, 3, n)
	press(t, desk, "#pin-cancel")
	require.Eventually(t, func() bool {
		gone, err := chromedp.Run(desk.Tab(), chromedp.Evaluate[bool](`document.querySelector('#pin-form') === null`))
		return err == nil && gone
	}, 5*time.Second, 20*time.Millisecond)
	press(t, desk, first+".pin-openers button:first-child")
	empty, err := chromedp.Run(desk.Tab(), chromedp.Evaluate[bool](`[...document.querySelectorAll('.pin-form input')].every((i) => i.value === '')`))
	require.NoError(t, err)
	assert.True(t, empty, "what was typed is gone")
	require.NoError(t, s.Tokens.Pull("altyn"))
	require.Eventually(t, func() bool {
		gone, err := chromedp.Run(desk.Tab(), chromedp.Evaluate[bool](`document.querySelector('#pin-form') === null`))
		return err == nil && gone
	}, 10*time.Second, 50*time.Millisecond, "the form goes with its token")
}

// The prompt may stay open: what was done on the signer's own page shows in it.
func TestUnlockBesideThePrompt(t *testing.T) {
	s, r := play(t, nil)
	const fresh = "86427531"
	face := func(p *robot.Page) {
		require.NoError(t, chromedp.Do(p.Tab(), func(ctx context.Context, tab *chromedp.Target) (chromedp.Void, error) {
			_, err := cdp.Call(ctx, tab, page.BringToFront, cdp.Empty{})
			return chromedp.Void{}, err
		}))
	}
	desk := ownPage(t, s, r)
	p := begin(t, s, r, "41")
	for left := 2; left >= 0; left-- {
		if left == 0 {
			press(t, p, "#final-tick")
		}
		require.NoError(t, p.Enter("0011223"))
		require.Eventually(t, func() bool {
			n, err := s.Tokens.Reader("altyn").TriesLeft()
			return err == nil && n == left
		}, 10*time.Second, 20*time.Millisecond)
		_, err := p.Problem()
		require.NoError(t, err)
	}
	text(t, p, "заблокирован")

	face(desk)
	text(t, desk, "Разблокируйте его PUK-кодом")
	press(t, desk, first+".pin-openers button")
	fill(t, desk, s.PUK, fresh, fresh)
	submit(t, desk)
	text(t, desk, "PIN-код разблокирован")

	face(p)
	require.NoError(t, p.Approve(fresh, stage.DirectorName))
	outcome(t, r, "signed")
}
