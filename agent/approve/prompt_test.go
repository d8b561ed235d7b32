package approve

import (
	"testing"

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
	run(t, ctx, enterPIN(goodPIN), chromedp.Click("#sign"))
	o := wait(t, done)
	require.NoError(t, o.err)
	assert.Equal(t, []job.Seen{{Document: "doc-1", SHA256: f.prepared.Documents[0].SHA256}}, o.answer.Approved)
	assert.Equal(t, []string{goodPIN}, f.offered())
	assert.Equal(t, 1, f.opened)
	run(t, ctx, chromedp.WaitVisible("#working"))
	h.approver.Progress("https://crm.altyn.kz", job.Progress{Job: "d41", Step: job.StepDelivering, Done: 1, Total: 1})
	h.approver.Ended("https://crm.altyn.kz", "d41", job.Receipt{Job: "d41", Documents: []job.DocumentReceipt{{ID: "doc-1", State: job.Delivered}}}, nil)
	run(t, ctx, chromedp.WaitVisible("#last.good"))
	assert.Contains(t, pageText(t, ctx), "Документ подписан")
}

