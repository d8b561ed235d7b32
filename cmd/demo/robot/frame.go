package robot

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// InFrame returns what an expression gives, as text, in the frame of the page
// whose address begins with prefix, as if a person had touched it just now.
func (p *Page) InFrame(prefix, expression string) (string, error) {
	ctx, cancel := context.WithTimeout(p.tab, p.robot.opts.Patience)
	defer cancel()
	return chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (string, error) {
		tree, err := cdp.Call(ctx, t, page.GetFrameTree, cdp.Empty{})
		if err != nil {
			return "", err
		}
		for _, f := range tree.FrameTree.ChildFrames {
			if strings.HasPrefix(f.Frame.URL, prefix) {
				return inFrame(ctx, t, f.Frame.ID, expression)
			}
		}
		return "", fmt.Errorf("no frame at %s", prefix)
	})
}

func inFrame(ctx context.Context, t *chromedp.Target, id cdp.FrameID, expression string) (string, error) {
	world, err := cdp.Call(ctx, t, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: id})
	if err != nil {
		return "", err
	}
	yes := true
	got, err := cdp.Call(ctx, t, runtime.Evaluate, runtime.EvaluateParams{
		Expression: expression, ContextID: world.ExecutionContextID, ReturnByValue: &yes, UserGesture: &yes,
	})
	if err != nil {
		return "", err
	}
	if got.ExceptionDetails != nil {
		return "", fmt.Errorf("in the frame: %s", got.ExceptionDetails.Text)
	}
	var s string
	return s, json.Unmarshal(got.Result.Value, &s)
}
