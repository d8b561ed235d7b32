package approve

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
	"tanba/tokens"
)

func TestOpenCopy(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	ctx, _ := h.tab()
	opened := chromedp.WaitNewTarget(ctx, func(i *target.Info) bool { return i.URL != "" })
	run(t, ctx, chromedp.WaitVisible("#pin"), chromedp.Click("#open-copy"))
	var id target.ID
	select {
	case id = <-opened:
	case <-time.After(10 * time.Second):
		require.Fail(t, "no tab with the copy")
	}
	copyTab, closeCopy := chromedp.NewContext(ctx, chromedp.WithTargetID(id))
	defer closeCopy()
	run(t, copyTab, chromedp.Sleep(2*time.Second))
	if dir := os.Getenv("TANBA_PICTURES"); dir != "" {
		png, err := chromedp.Run(copyTab, chromedp.CaptureScreenshot())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(dir+"/copy.png", png, 0o600))
	}
	assert.Equal(t, "application/pdf", eval[string](t, copyTab, "document.contentType"))
	assert.True(t, eval[bool](t, copyTab, "window.opener === null"))
	viewer := false
	all, err := chromedp.Targets(copyTab)
	require.NoError(t, err)
	for _, i := range all {
		viewer = viewer || strings.HasPrefix(i.URL, "chrome-extension://")
	}
	assert.True(t, viewer, "the browser's own viewer shows it")
	status := await(t, copyTab, `fetch(location.href).then((r) => r.status, () => -1)`)
	assert.NotEqual(t, 200, status, "once")
	run(t, ctx, front())
	run(t, ctx, enterPIN(goodPIN), chromedp.Click("#sign"))
	o := wait(t, done)
	require.NoError(t, o.err)
	assert.Equal(t, []job.Seen{{Document: "doc-1", SHA256: f.prepared.Documents[0].SHA256}}, o.answer.Approved)
}

func await(t *testing.T, ctx context.Context, expression string) int {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[int](expression, chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	return v
}

// front brings a tab to the front; opening another one has taken it away.
func front() action {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.BringToFront, cdp.Empty{})
		return err
	})
}
