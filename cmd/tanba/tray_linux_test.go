package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A host plays the desktop's part of the tray: it owns the watcher's name and
// takes what registers.
type host struct{ registered chan string }

// RegisterStatusNotifierItem is the method that an icon calls.
func (h *host) RegisterStatusNotifierItem(item string, sender dbus.Sender) *dbus.Error {
	if strings.HasPrefix(item, "/") {
		item = string(sender)
	}
	select {
	case h.registered <- item:
	default:
	}
	return nil
}

// startBus starts a session bus of our own.
func startBus(t *testing.T) (address string, conn *dbus.Conn) {
	c := exec.CommandContext(t.Context(), "dbus-daemon", "--session", "--nofork", "--print-address", "--address=unix:tmpdir="+t.TempDir())
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	address = strings.TrimSpace(line)
	conn, err = dbus.Connect(address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return address, conn
}

func TestTray(t *testing.T) {
	bus, conn := startBus(t)
	h := &host{registered: make(chan string, 1)}
	require.NoError(t, conn.Export(h, "/StatusNotifierWatcher", "org.kde.StatusNotifierWatcher"))
	_, err := conn.RequestName("org.kde.StatusNotifierWatcher", dbus.NameFlagDoNotQueue)
	require.NoError(t, err)

	m := newMachine(t, "DBUS_SESSION_BUS_ADDRESS="+bus, "LANG=ru_RU.UTF-8")
	m.settings("find_modules = false\nport_first = 17760\nport_last = 17769\n")
	opened := filepath.Join(m.dir, "opened")
	require.NoError(t, os.WriteFile(filepath.Join(m.dir, "xdg-open"), []byte("#!/bin/sh\necho \"$1\" >> "+opened+"\n"), 0o700))
	c := exec.CommandContext(t.Context(), filepath.Join(m.bins, "tanba"))
	c.Env = append(m.env, "PATH="+m.dir+":"+os.Getenv("PATH"))
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	require.NoError(t, c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() { _ = c.Process.Kill() })

	var item string
	select {
	case item = <-h.registered:
	case <-time.After(20 * time.Second):
		require.Fail(t, "no icon came")
	}
	icon := conn.Object(item, "/StatusNotifierItem")
	require.Eventually(t, func() bool {
		tip, err := icon.GetProperty("org.kde.StatusNotifierItem.ToolTip")
		return err == nil && strings.Contains(tip.String(), "Готово к работе")
	}, 10*time.Second, 100*time.Millisecond)
	pixels, err := icon.GetProperty("org.kde.StatusNotifierItem.IconPixmap")
	require.NoError(t, err)
	assert.Greater(t, len(pixels.String()), 1000, "the icon is drawn")

	menu := conn.Object(item, "/StatusNotifierItem/menu")
	items := map[string]int32{}
	require.Eventually(t, func() bool {
		var revision uint32
		var layout struct {
			ID         int32
			Properties map[string]dbus.Variant
			Children   []dbus.Variant
		}
		if menu.Call("com.canonical.dbusmenu.GetLayout", 0, int32(0), int32(-1), []string{}).Store(&revision, &layout) != nil {
			return false
		}
		for _, child := range layout.Children {
			parts, ok := child.Value().([]any)
			if !ok || len(parts) < 2 {
				continue
			}
			id, _ := parts[0].(int32)
			if p, ok := parts[1].(map[string]dbus.Variant); ok && p["label"].Value() != nil {
				label, _ := p["label"].Value().(string)
				items[label] = id
			}
		}
		return items["Выход"] != 0
	}, 10*time.Second, 100*time.Millisecond)
	for _, want := range []string{"Открыть запрос на подпись", "Токены и сертификаты", "Отправка документов", "О программе Tanba"} {
		assert.NotZero(t, items[want], want)
	}
	click := func(label string) {
		call := menu.Call("com.canonical.dbusmenu.Event", 0, items[label], "clicked", dbus.MakeVariant(""), uint32(0))
		require.NoError(t, call.Err)
	}
	click("О программе Tanba")
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(opened)
		return err == nil && strings.Contains(string(b), "/desk/#")
	}, 10*time.Second, 50*time.Millisecond, "a page opens")
	click("Выход")
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		require.Fail(t, "it does not quit")
	}
}

func TestWithoutATray(t *testing.T) {
	bus, _ := startBus(t) // a bus on which nobody shows icons
	for name, env := range map[string]string{"no bus": "DBUS_SESSION_BUS_ADDRESS=", "no host": "DBUS_SESSION_BUS_ADDRESS=" + bus, "a dead bus": "DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere"} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, env)
			m.settings("find_modules = false\nport_first = 17760\nport_last = 17769\n")
			c := exec.CommandContext(t.Context(), filepath.Join(m.bins, "tanba"))
			c.Env = m.env
			out, err := c.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, c.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			assert.Contains(t, line, "listening on 127.0.0.1:177")
			said, _, _ := m.run("", "doctor")
			assert.Contains(t, said, "the agent runs on port 177")
			require.NoError(t, c.Process.Signal(os.Interrupt))
			require.NoError(t, c.Wait(), "it ends when it is told to")
		})
	}
}
