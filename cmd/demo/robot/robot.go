// Package robot plays people in a real Chromium: the one who uses the CRM's
// page, and the one who answers the agent's prompt. It has no hook in either:
// it clicks and types, and gets the prompt's address as the system's opener
// would.
package robot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// Prompts yields the addresses of the pages that the agent opens.
type Prompts interface {
	Next(ctx context.Context) (string, error)
}

// Options say how the browser is started.
type Options struct {
	// Dir is a folder for the browser's profile and for pictures.
	Dir string
	// Prompts yields the agent's pages.
	Prompts Prompts
	// Visible shows the browser.
	Visible bool
	// Flags are further switches, without the two dashes; a value follows "=".
	Flags []string
	// Patience bounds each wait, 30 s if zero.
	Patience time.Duration
}

// A Robot is a browser with one tab on the CRM.
type Robot struct {
	opts  Options
	tab   context.Context // the CRM's
	stop  func()
	shots atomic.Int64
	url   string
}

// New starts a browser. Close ends it.
func New(ctx context.Context, opts Options) (*Robot, error) {
	if opts.Patience == 0 {
		opts.Patience = 30 * time.Second
	}
	profile, err := os.MkdirTemp(opts.Dir, "profile-")
	if err != nil {
		return nil, err
	}
	flags := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.UserDataDir(profile), chromedp.WindowSize(1180, 1000),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-gpu", true))
	if os.Geteuid() == 0 {
		flags = append(flags, chromedp.NoSandbox) // Chromium's does not start for root
	}
	if opts.Visible {
		flags = append(flags, chromedp.VisibleWindow)
	}
	for _, f := range opts.Flags {
		name, value, has := strings.Cut(f, "=")
		if has {
			flags = append(flags, chromedp.Flag(name, value))
		} else {
			flags = append(flags, chromedp.Flag(name, true))
		}
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(ctx, flags...)
	tab, stopTab := chromedp.NewContext(alloc)
	r := &Robot{opts: opts, tab: tab, stop: func() { stopTab(); stopAlloc() }}
	if err := chromedp.Do(tab, focused); err != nil {
		r.stop()
		return nil, fmt.Errorf("starting the browser: %w", err)
	}
	return r, nil
}

// Close ends the browser.
func (r *Robot) Close() { r.stop() }

// Tab is the CRM's tab, for chromedp.
func (r *Robot) Tab() context.Context { return r.tab }

// A step is something done in a tab.
type step = chromedp.Action[chromedp.Void]

// do runs steps in a tab within the robot's patience. The error says what was
// being done.
func (r *Robot) do(tab context.Context, what string, actions ...step) error {
	ctx, cancel := context.WithTimeout(tab, r.opts.Patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Picture saves a screenshot of the CRM's tab into Options.Dir and returns its
// path.
func (r *Robot) Picture(name string) (string, error) { return r.picture(r.tab, name) }

func (r *Robot) picture(tab context.Context, name string) (string, error) {
	ctx, cancel := context.WithTimeout(tab, 10*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return "", fmt.Errorf("screenshot: %w", err)
	}
	path := filepath.Join(r.opts.Dir, fmt.Sprintf("%02d-%s.png", r.shots.Add(1), name))
	return path, os.WriteFile(path, png, 0o600)
}

// A Page is a page of the agent in a tab of its own.
type Page struct {
	robot *Robot
	tab   context.Context
	stop  func()
}

// ErrNoPage reports that the agent opened no page in time.
var ErrNoPage = errors.New("the agent opened no page")

// OpenPage waits for the agent's next page and opens it, as the system's
// opener would.
func (r *Robot) OpenPage() (*Page, error) {
	ctx, cancel := context.WithTimeout(r.tab, r.opts.Patience)
	defer cancel()
	address, err := r.opts.Prompts.Next(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoPage, err)
	}
	return r.Visit(address)
}

// Visit opens an address in a tab of its own.
func (r *Robot) Visit(address string) (*Page, error) {
	tab, stop := chromedp.NewContext(r.tab)
	p := &Page{r, tab, stop}
	// The first Run makes the tab, and with it its lifetime: no time-out here.
	if err := chromedp.Do(tab, focused); err != nil {
		stop()
		return nil, fmt.Errorf("opening a tab: %w", err)
	}
	if err := r.do(tab, "opening the page", front, chromedp.Navigate(address)); err != nil {
		stop()
		return nil, err
	}
	return p, nil
}

// Close closes the tab.
func (p *Page) Close() { p.stop() }

// Tab is the page's tab, for chromedp.
func (p *Page) Tab() context.Context { return p.tab }

// Picture saves a screenshot.
func (p *Page) Picture(name string) (string, error) { return p.robot.picture(p.tab, name) }

func (p *Page) do(what string, actions ...step) error {
	return p.robot.do(p.tab, what, actions...)
}

// focused makes a tab believe that it has the keyboard: several tabs of a
// headless browser do not take turns by themselves.
func focused(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
	_, err := cdp.Call(ctx, t, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	return chromedp.Void{}, err
}

// front shows the tab.
func front(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
	_, err := cdp.Call(ctx, t, page.BringToFront, cdp.Empty{})
	return chromedp.Void{}, err
}

// settled waits until an expression is true in the tab. It asks again and
// again from outside, so that the page may be loaded anew meanwhile and its
// content policy need not allow eval.
func settled(expression string) step {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			ok, err := chromedp.Evaluate[bool]("!!("+expression+")")(ctx, t)
			if ok {
				return chromedp.Void{}, nil
			}
			select {
			case <-ctx.Done():
				return chromedp.Void{}, errors.Join(fmt.Errorf("still not true: %s: %w", expression, ctx.Err()), err)
			case <-tick.C:
			}
		}
	}
}

// click clicks the element that a CSS selector finds, when it can be seen.
func click(css chromedp.CSS) step { return chromedp.Click(css) }

// visible waits until the element can be seen.
func visible(css chromedp.CSS) step { return chromedp.WaitVisible(css) }

// evaluate returns what an expression gives in the tab.
func evaluate[T any](r *Robot, tab context.Context, what, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(tab, r.opts.Patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		return v, fmt.Errorf("%s: %w", what, err)
	}
	return v, nil
}
