package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An Agent is a tanba that runs as our child. Its methods are for one
// goroutine at a time.
type Agent struct {
	// Binary and Args are what is run, Env its whole environment.
	Binary string
	Args   []string
	Env    []string
	// LogPath is the file to which its output goes.
	LogPath string
	// FirstPort and LastPort are the ports that it may listen on.
	FirstPort, LastPort int

	// Port is where it listens, after Start.
	Port int

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts the agent and returns when it listens.
func (a *Agent) Start(ctx context.Context) error {
	log, err := os.OpenFile(a.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(a.Binary, a.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = a.Env, log, log
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	a.mu.Lock()
	a.cmd, a.done = cmd, done
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if port, ok := listening(cmd.Process.Pid, a.FirstPort, a.LastPort); ok {
			a.Port = port
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("the agent ended at once: %s", a.lastWords())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the agent does not listen: %s", a.lastWords()), a.Kill9())
		case <-tick.C:
		}
	}
}

// lastWords returns the end of what the agent wrote.
func (a *Agent) lastWords() string {
	b, err := os.ReadFile(a.LogPath)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}

// PID returns the process ID, 0 before the first Start.
func (a *Agent) PID() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cmd == nil {
		return 0
	}
	return a.cmd.Process.Pid
}

// Exited returns a channel that is closed when the running agent has ended.
func (a *Agent) Exited() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done
}

// Kill9 ends the agent without a word, as a crash or a power cut would, and
// waits until it is gone. Its children end by themselves.
func (a *Agent) Kill9() error { return a.end(func(c *exec.Cmd) error { return c.Process.Kill() }) }

// Stop asks the agent to end, and kills it when it does not.
func (a *Agent) Stop() error { return a.end(terminate) }

func (a *Agent) end(how func(*exec.Cmd) error) error {
	a.mu.Lock()
	cmd, done := a.cmd, a.done
	a.mu.Unlock()
	if cmd == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	default:
	}
	if err := how(cmd); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending the agent: %w", err)
	}
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		_ = cmd.Process.Kill()
		<-done
	}
	return nil
}

// Restart is Kill9 (if it still runs) and Start.
func (a *Agent) Restart(ctx context.Context) error {
	if err := a.Kill9(); err != nil {
		return err
	}
	return a.Start(ctx)
}

// Command returns a tanba command line run in the agent's environment, for
// such as "outbox list" beside the running agent.
func (a *Agent) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, a.Binary, args...)
	cmd.Env = a.Env
	return cmd
}

// Build compiles tanba and tokenhost side by side into dir, which exists. The
// working directory must be inside Tanba's source tree.
func Build(ctx context.Context, dir string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	for name, cgo := range map[string]string{"tanba": "0", "tokenhost": "1"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, name+exeSuffix), "./cmd/"+name)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, text)
		}
	}
	return nil
}

// FreePorts finds n ports in a row on which nothing listens, for an agent
// beside others.
func FreePorts(n int) (first, last int, err error) {
	for first = 21000 + os.Getpid()%500*20; first < 60000; first += n {
		free := true
		for p := first; p < first+n && free; p++ {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
			if free = err == nil; free {
				_ = l.Close()
			}
		}
		if free {
			return first, first + n - 1, nil
		}
	}
	return 0, 0, errors.New("no free ports")
}

// moduleRoot finds the folder of go.mod from the working directory up.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("run the demo inside Tanba's source tree")
		}
		dir = up
	}
}
