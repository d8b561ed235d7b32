//go:build linux || windows

package tray

import (
	"context"
	"time"

	"fyne.io/systray"

	"tanba/agent/text"
)

func run(ctx context.Context, status <-chan Status, first Status, do func(Action)) error {
	systray.Run(func() {
		m := newMenu(first, do)
		go func() {
			defer systray.Quit()
			// What is set while the library still registers the icon can be lost.
			settled := time.After(2 * time.Second)
			for {
				select {
				case <-ctx.Done():
					return
				case s := <-status:
					m.show(s)
				case <-settled:
					s := m.shown
					m.shown = Status{}
					m.show(s)
				}
			}
		}()
	}, nil)
	return nil
}

// A menu is the icon with its items.
type menu struct {
	line  *systray.MenuItem
	open  *systray.MenuItem
	items map[Action]*systray.MenuItem
	shown Status
}

func newMenu(s Status, do func(Action)) *menu {
	m := &menu{items: map[Action]*systray.MenuItem{}}
	m.line = systray.AddMenuItem(s.Line(), "")
	m.line.Disable()
	systray.AddSeparator()
	for _, a := range []Action{OpenPrompt, ShowTokens, ShowOutbox, About, Quit} {
		if a == Quit {
			systray.AddSeparator()
		}
		item := systray.AddMenuItem(text.Get(s.Lang, text.Key("tray."+a)), "")
		m.items[a] = item
		go func() {
			for range item.ClickedCh {
				do(a)
			}
		}()
	}
	m.open = m.items[OpenPrompt]
	m.show(s)
	return m
}

func (m *menu) show(s Status) {
	if s.State() != m.shown.State() || m.shown == (Status{}) {
		systray.SetIcon(iconFile(s.State()))
	}
	systray.SetTooltip("Tanba: " + s.Line())
	m.line.SetTitle(s.Line())
	if s.Lang != m.shown.Lang {
		for a, item := range m.items {
			item.SetTitle(text.Get(s.Lang, text.Key("tray."+a)))
		}
	}
	if s.Waiting > 0 {
		m.open.Enable()
	} else {
		m.open.Disable()
	}
	m.shown = s
}
