package approve

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
	"tanba/tokens"
)

func TestApprove(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	run(t, ctx, chromedp.WaitVisible("#pin"))
	assert.NotContains(t, eval[string](t, ctx, "location.href"), "#", "the secret stays in no address bar")
	assert.Equal(t, 1, h.approver.Waiting())
	shown := pageText(t, ctx)
	for _, s := range []string{"https://crm.altyn.kz", "Поставка проката, спецификация № 7", "Д-41/2026", "ТОО «Алтын Металл»", "Договор поставки № 41.pdf",
		"СЕРІКҰЛЫ АСҚАР", "ТОО «ҚҰРЫЛЫС СЕРВИС»", "Первый руководитель", "800101300123", "150340012345", "ҰЛТТЫҚ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ", "KAZTOKEN …2741", "дней", "249 КБ"} {
		assert.Contains(t, shown, s)
	}
	assert.Equal(t, f.prepared.Documents[0].Digest(), eval[string](t, ctx, `document.querySelector(".hex").textContent`))
	run(t, ctx, enterPIN(goodPIN), chromedp.DoubleClick("#sign"))
	o := wait(t, done)
	require.NoError(t, o.err)
	assert.Equal(t, []job.Seen{{Document: "doc-1", SHA256: f.prepared.Documents[0].SHA256}}, o.answer.Approved)
	assert.Equal(t, []string{goodPIN}, f.offered(), "a double click is one click")
	assert.Equal(t, 1, f.opened)
	assert.Zero(t, h.approver.Waiting())
	h.approver.Progress("https://crm.altyn.kz", job.Progress{Job: "d41", Step: job.StepSigning, Done: 0, Total: 1})
	run(t, ctx, chromedp.WaitVisible("#working"))
	h.approver.Progress("https://crm.altyn.kz", job.Progress{Job: "d41", Step: job.StepDelivering, Done: 1, Total: 1})
	h.approver.Ended("https://crm.altyn.kz", "d41", job.Receipt{Job: "d41", Documents: []job.DocumentReceipt{{ID: "doc-1", State: job.Delivered}}}, nil)
	run(t, ctx, chromedp.WaitVisible("#last.good"))
	assert.Contains(t, pageText(t, ctx), "Документ подписан")
}

func TestWrongPINThenRight(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	f.unlock = func(_, pin string) error {
		if pin != goodPIN {
			return &tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 2, State: tokens.PINCountLow}
		}
		return nil
	}
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	run(t, ctx, enterPIN("0000"), chromedp.Click("#sign"), chromedp.WaitVisible("#pin-note"))
	shown := pageText(t, ctx)
	assert.Contains(t, shown, "Неверный PIN-код. Осталось 2 попытки.")
	assert.Contains(t, shown, "Осталось мало попыток")
	assert.Empty(t, eval[string](t, ctx, `document.getElementById("pin").value`), "the field is emptied")
	time.Sleep(1500 * time.Millisecond)
	assert.Equal(t, []string{"0000"}, f.offered(), "nothing is tried again by itself")
	run(t, ctx, enterPIN(goodPIN), chromedp.Click("#sign"))
	require.NoError(t, wait(t, done).err)
	assert.Equal(t, []string{"0000", goodPIN}, f.offered())
}

func TestEnterNeverApproves(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	run(t, ctx, enterPIN(goodPIN), chromedp.Focus("#pin"))
	for range 12 {
		run(t, ctx, chromedp.KeyEvent("\r"))
	}
	assert.Equal(t, "sign", eval[string](t, ctx, "document.activeElement.id"), "Enter leads from the PIN to the button")
	run(t, ctx, chromedp.Sleep(500*time.Millisecond))
	assert.Empty(t, f.offered())
	assert.Len(t, done, 0)
	run(t, ctx, chromedp.Evaluate[chromedp.Void](`document.getElementById("sign").click()`), chromedp.Sleep(300*time.Millisecond))
	assert.Empty(t, f.offered(), "a click that no person made")
	run(t, ctx, chromedp.KeyEvent(" "))
	require.NoError(t, wait(t, done).err)
}

func TestReject(t *testing.T) {
	h, f := newHouse(t), newAsk(3, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	run(t, ctx, chromedp.Click(".row:nth-child(2) input"), chromedp.Click("#reject"), chromedp.WaitVisible("#reject-dialog"),
		chromedp.Click(`input[value="wrong_terms"]`), chromedp.SendKeys("#reject-words", "Срок поставки другой"), chromedp.Click("#reject-confirm"))
	o := wait(t, done)
	require.NoError(t, o.err)
	assert.Equal(t, job.Answer{Rejected: []string{"doc-1", "doc-3"}, Reason: job.ReasonWrongTerms, Text: "Срок поставки другой"}, o.answer)
	assert.NotContains(t, pageText(t, ctx), "Вы отклонили", "not before it is kept")
	r := f.prepared.Request
	h.approver.Progress(r.Origin, job.Progress{Job: r.ID, Step: job.StepDelivering})
	run(t, ctx, chromedp.WaitVisible("#last"))
	assert.Contains(t, pageText(t, ctx), "Вы отклонили")
	assert.Empty(t, f.offered())
}

// A rejection that the disk did not take is not called one.
func TestRejectionThatCannotBeKept(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	run(t, ctx, chromedp.Click("#reject"), chromedp.WaitVisible("#reject-dialog"), chromedp.Click(`input[value="other"]`), chromedp.Click("#reject-confirm"))
	require.NoError(t, wait(t, done).err)
	r := f.prepared.Request
	h.approver.Ended(r.Origin, r.ID, job.Receipt{}, job.Fail(job.CodeDisk, "", nil))
	run(t, ctx, chromedp.WaitVisible("#last"))
	assert.NotContains(t, pageText(t, ctx), "Вы отклонили")
	assert.Contains(t, pageText(t, ctx), "На диске не хватает места")
}

func TestLater(t *testing.T) {
	h, f := newHouse(t), newAsk(1)
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	run(t, ctx, chromedp.Click("#later"), chromedp.WaitVisible("#last"))
	o := wait(t, done)
	require.NoError(t, o.err)
	assert.Equal(t, job.Answer{Later: true}, o.answer)
	assert.Contains(t, pageText(t, ctx), "Отложено")
}

func TestCloseTab(t *testing.T) {
	h := newHouse(t)
	done := h.ask(t.Context(), newAsk(1))
	ctx, cancel := h.tab()
	run(t, ctx, chromedp.WaitVisible("#sign"))
	cancel()
	assertCode(t, job.CodeClosed, wait(t, done).err)
}

func TestTimeoutAndExtension(t *testing.T) {
	h := newHouse(t, withPrompt(4*time.Second))
	began := time.Now()
	done := h.ask(t.Context(), newAsk(1))
	ctx, _ := h.tab()
	run(t, ctx, chromedp.WaitVisible("#extend"), chromedp.Sleep(2*time.Second), chromedp.Click("#extend"))
	assertCode(t, job.CodeTimeout, wait(t, done).err)
	assert.Greater(t, time.Since(began), 6*time.Second, "the extension counts")
	run(t, ctx, chromedp.WaitVisible("#last"))
	assert.Contains(t, pageText(t, ctx), "Время вышло")
}

func TestCancelled(t *testing.T) {
	h := newHouse(t)
	ask, stop := context.WithCancel(t.Context())
	done := h.ask(ask, newAsk(1))
	ctx, _ := h.tab()
	run(t, ctx, chromedp.WaitVisible("#sign"))
	stop()
	assertCode(t, job.CodeCancelled, wait(t, done).err)
	run(t, ctx, chromedp.WaitVisible("#last"))
	assert.Contains(t, pageText(t, ctx), "Сайт отозвал запрос")
}

func TestAgentGoes(t *testing.T) {
	h := newHouse(t)
	done := h.ask(t.Context(), newAsk(1))
	ctx, _ := h.tab()
	run(t, ctx, chromedp.WaitVisible("#sign"))
	require.NoError(t, h.approver.cfg.Pages.Close())
	assertCode(t, job.CodeClosed, wait(t, done).err)
	run(t, ctx, chromedp.WaitVisible("#last"))
	assert.Contains(t, pageText(t, ctx), "Tanba не отвечает")
}

// TestMarkupIsText shows what a hostile site and certificate can put on the
// page: letters.
func TestMarkupIsText(t *testing.T) {
	const evil = `<img id="evil" src="x" onerror="document.title='evil'"><script>document.title='evil'</script>`
	who := director()
	who.name, who.organization = evil[:60], evil[:60]
	k := token(t, tokens.PINOK, who)
	k.Label = evil
	h, f := newHouse(t), newAsk(2, k)
	r := &f.prepared.Request
	r.Title, r.Reference, r.Counterparty = evil, evil, "counter\u202eparty"
	f.prepared.Documents[0].Name = evil
	f.prepared.Documents[1].MediaType = evil
	ask, stop := context.WithCancel(t.Context())
	done := h.ask(ask, f)
	ctx, _ := h.tab()
	run(t, ctx, chromedp.WaitVisible("#pin"), chromedp.Sleep(200*time.Millisecond))
	assert.Equal(t, 1, eval[int](t, ctx, `document.images.length`), "our own mark")
	assert.NotEqual(t, "evil", eval[string](t, ctx, "document.title"))
	shown := pageText(t, ctx)
	assert.Contains(t, shown, evil)
	assert.Contains(t, shown, "counterparty", "the direction is not turned")
	stop()
	wait(t, done)
}

func TestTokenComesAndGoes(t *testing.T) {
	k := token(t, tokens.PINOK, director())
	h, f := newHouse(t), newAsk(1)
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	run(t, ctx, chromedp.WaitVisible(".empty"))
	assert.Contains(t, pageText(t, ctx), "Вставьте токен")
	f.plug(k)
	run(t, ctx, enterPIN(goodPIN))
	f.plug()
	run(t, ctx, chromedp.WaitVisible(".empty"), chromedp.WaitNotPresent("#pin"), chromedp.Click("#sign"), chromedp.Sleep(200*time.Millisecond))
	assert.Empty(t, f.offered())
	f.plug(k)
	run(t, ctx, chromedp.WaitVisible("#pin"), chromedp.Sleep(100*time.Millisecond), chromedp.WaitVisible(armedSign), chromedp.Click("#sign"))
	require.NoError(t, wait(t, done).err)
	assert.Equal(t, []string{goodPIN}, f.offered(), "what was typed is still there")
}

func TestBatchOfAThousand(t *testing.T) {
	h, f := newHouse(t), newAsk(1000, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	began := time.Now()
	ctx, _ := h.tab()
	run(t, ctx, chromedp.WaitVisible("#pin"))
	assert.Less(t, time.Since(began), 8*time.Second)
	ms := eval[float64](t, ctx, `(() => { const s = performance.now(); const b = document.getElementById("choose-all"); b.click(); b.click(); document.body.getBoundingClientRect(); return performance.now() - s })()`)
	assert.Less(t, ms, 1500.0, "choosing none and all, in ms")
	run(t, ctx, chromedp.Click(".row:nth-child(1) input"), chromedp.Click(".row:nth-child(2) input"), enterPIN(goodPIN))
	assert.Equal(t, "Подписать 998 документов", eval[string](t, ctx, `document.getElementById("sign").textContent`))
	run(t, ctx, chromedp.Click("#sign"))
	o := wait(t, done)
	require.NoError(t, o.err)
	require.Len(t, o.answer.Approved, 998)
	assert.Equal(t, "doc-3", o.answer.Approved[0].Document)
}

func TestSecondTabTakesOver(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	first, _ := h.tab()
	run(t, first, chromedp.WaitVisible("#pin"))
	require.NoError(t, h.approver.Reopen(t.Context()))
	second, _ := h.tab()
	run(t, second, chromedp.WaitVisible("#pin"))
	run(t, first, chromedp.WaitVisible("#last"))
	assert.Contains(t, pageText(t, first), "Запрос открыт в другой вкладке")
	run(t, second, enterPIN(goodPIN), chromedp.Click("#sign"))
	require.NoError(t, wait(t, done).err)
	assert.Equal(t, 1, f.opened)
}

func TestReloadCannotGetIn(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	run(t, ctx, chromedp.WaitVisible("#pin"), chromedp.Reload(), chromedp.WaitVisible("#last"), chromedp.Click("#lang-ru"))
	assert.Contains(t, pageText(t, ctx), "Эту страницу нельзя открыть второй раз")
	time.Sleep(9 * time.Second)
	assert.Len(t, done, 0, "after a reload there is time to find the tray")
	require.NoError(t, h.approver.Reopen(t.Context()))
	again, _ := h.tab()
	run(t, again, enterPIN(goodPIN), chromedp.Click("#sign"))
	require.NoError(t, wait(t, done).err)
}

func TestLanguageSwitch(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	run(t, ctx, enterPIN(goodPIN), chromedp.Click("#lang-kk"))
	assert.Contains(t, pageText(t, ctx), "Бірінші басшы")
	assert.Equal(t, "kk", eval[string](t, ctx, "document.documentElement.lang"))
	run(t, ctx, chromedp.Click("#lang-en"))
	assert.Contains(t, pageText(t, ctx), "Head of the organisation")
	assert.NotContains(t, pageText(t, ctx), "<prompt.")
	run(t, ctx, chromedp.WaitVisible(armedSign), chromedp.Click("#sign"))
	require.NoError(t, wait(t, done).err)
	assert.Equal(t, []string{goodPIN}, f.offered(), "what was typed outlives the switch")
}

func TestNotInFrontNotArmed(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	run(t, ctx, enterPIN(goodPIN))
	// A headless browser gives every tab the focus, so that the page is told.
	focus := func(on string) action {
		return chromedp.Evaluate[chromedp.Void](`document.hasFocus = () => ` + on + `; window.dispatchEvent(new Event(` + on + ` ? "focus" : "blur"))`)
	}
	run(t, ctx, focus("false"), chromedp.WaitReady(`#sign[aria-disabled="true"]`), chromedp.Click("#sign"), chromedp.Sleep(200*time.Millisecond))
	assert.Contains(t, pageText(t, ctx), "нажмите на эту страницу")
	assert.Empty(t, f.offered())
	run(t, ctx, focus("true"))
	assert.Equal(t, "true", eval[string](t, ctx, `document.getElementById("sign").getAttribute("aria-disabled")`), "armed anew, after a second")
	run(t, ctx, chromedp.WaitVisible(armedSign), chromedp.Click("#sign"))
	require.NoError(t, wait(t, done).err)
}

func TestAccess(t *testing.T) {
	for button, want := range map[string]bool{`#allow[aria-disabled="false"]`: true, "#refuse": false} {
		h := newHouse(t)
		type reply struct {
			allowed bool
			err     error
		}
		done := make(chan reply, 1)
		go func() {
			ok, err := h.approver.AskSite(t.Context(), "https://xn--80ak6aa92e.kz")
			done <- reply{ok, err}
		}()
		ctx, _ := h.tab()
		run(t, ctx, chromedp.WaitVisible("#refuse"), chromedp.KeyEvent("\r"))
		assert.Contains(t, pageText(t, ctx), "https://xn--80ak6aa92e.kz")
		run(t, ctx, chromedp.Click(button))
		r := <-done
		require.NoError(t, r.err)
		assert.Equal(t, want, r.allowed)
		run(t, ctx, chromedp.WaitVisible("#last"))
	}
}

func TestAccessBeforeArmed(t *testing.T) {
	h := newHouse(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := h.approver.AskSite(ctx, "https://crm.altyn.kz")
		done <- err
	}()
	c := h.client()
	assert.Equal(t, "not_armed", c.call("allow", struct{}{}))
	c.call("focus", map[string]bool{"on": true})
	assert.Equal(t, "not_armed", c.call("allow", struct{}{}))
	assert.Equal(t, "invalid", c.call("approve", struct{}{}), "another page's right")
	stop()
	assertCode(t, job.CodeCancelled, <-done)
}
