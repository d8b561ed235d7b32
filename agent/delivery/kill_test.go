package delivery

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

const childVar = "TANBA_DELIVERY_CHILD" // dir|origin|root|prefix

// TestMain plays the agent that is killed when the variable is set.
func TestMain(m *testing.M) {
	if v := os.Getenv(childVar); v != "" {
		if err := child(strings.Split(v, "|")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child commits jobs of three documents, says so on stdout, and delivers.
func child(args []string) error {
	t := &testing.T{}
	o, err := Open(testConfig(t, args[0], args[2]))
	if err != nil {
		return err
	}
	go func() { _ = o.Run(context.Background()) }()
	for i := range 500 {
		req := request(args[1], fmt.Sprintf("%s-%d", args[3], i), "/in")
		b, err := o.Begin(context.Background(), req)
		if err != nil {
			return err
		}
		p := prepared(req, "a", "b", "c")
		if err := b.Opened(context.Background(), p); err != nil {
			return err
		}
		if err := b.Commit(context.Background(), put(t, b, p, 1+rand.IntN(60_000))); err != nil {
			return err
		}
		fmt.Println(req.ID)
		if err := b.Close(); err != nil {
			return err
		}
	}
	return nil
}

func TestKilledAnywhere(t *testing.T) {
	c := newCRM(t, nil)
	root, dir := c.rootFile(t), t.TempDir()
	var said []string
	for round := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%s|r%d", childVar, dir, c.URL, root, round))
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		killAfter := func(d time.Duration) { time.AfterFunc(d, func() { _ = cmd.Process.Kill() }) }
		if round%4 == 3 {
			killAfter(time.Duration(rand.IntN(100)) * time.Millisecond) // while it starts, perhaps
		}
		enough := 1 + rand.IntN(12)
		sc := bufio.NewScanner(out)
		for n := 1; sc.Scan(); n++ {
			said = append(said, sc.Text())
			if n == enough {
				killAfter(time.Duration(rand.IntN(15_000)) * time.Microsecond)
			}
		}
		_ = cmd.Wait()
		require.Empty(t, errs.String())
	}
	require.Greater(t, len(said), 20, "the children got somewhere")

	o := openOutbox(t, testConfig(t, dir, root))
	left := len(o.List(t.Context()))
	run(t, o)
	require.Eventually(t, func() bool { return len(o.List(t.Context())) == 0 }, 20*time.Second, 10*time.Millisecond)
	bodies := map[string][]byte{}
	twice := 0
	for _, p := range c.got(t) { // got fails if a file has not its digest
		if old, ok := bodies[p.key]; ok {
			twice++
			assert.True(t, bytes.Equal(old, p.body), "one key, one body")
		}
		bodies[p.key] = p.body
	}
	for _, id := range said {
		for _, d := range []string{"a", "b", "c"} {
			assert.Contains(t, bodies, id+":"+d)
		}
		r, _, ok, err := o.Find(c.URL, id)
		require.NoError(t, err)
		require.True(t, ok)
		for _, d := range r.Documents {
			assert.Equal(t, job.Delivered, d.State)
		}
	}
	require.Eventually(t, func() bool { return len(spools(t, dir)) == 0 }, 5*time.Second, 5*time.Millisecond)
	t.Logf("%d jobs committed by 12 killed processes, %d items left at the end, %d sent twice", len(said), left, twice)
}
